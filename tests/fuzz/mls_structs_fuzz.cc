// Every other struct on the wire; the first byte chooses which. What decodes must encode to the same
// bytes.
#include "message/mls_message.h"
#include "message/tree_node.h"
#include "require.h"

using namespace slipway::mls;

namespace {

template <class T>
void round_trip(View input) {
  if (auto value = decode<T>(input)) {
    FUZZ_REQUIRE(equal(encode(*value), input));
  }
}

void group_secrets(View input) {
  if (auto value = decode<GroupSecrets>(input)) {
    FUZZ_REQUIRE(equal(encode_secret(*value), input));
  }
}

void leaf(View input) {
  round_trip<LeafNode>(input);
  round_trip<LeafNodeView>(input);
  if (auto owned = decode<LeafNode>(input)) {
    auto view = decode<LeafNodeView>(input);
    FUZZ_REQUIRE(view);
    Bytes context, joined = to_bytes(leaf_node_signed_part(input, *view));
    leaf_node_tbs_context(view->source, as_view("group"), 3, context);
    append(joined, context);
    FUZZ_REQUIRE(joined == leaf_node_tbs(*owned, as_view("group"), 3));
  }
}

void credential(View input) {
  if (auto value = decode<Credential>(input)) {
    FUZZ_REQUIRE(equal(encode(*value), input));
    if (value->type == CredentialType::kX509) {
      FUZZ_REQUIRE(x509_credential(certificates_of(*value).value()) == *value);
    }
  }
}

using Check = void (*)(View);
constexpr Check kChecks[] = {
    leaf, credential, group_secrets, round_trip<KeyPackage>, round_trip<Welcome>,
    round_trip<GroupInfo>, round_trip<Commit>, round_trip<Proposal>, round_trip<UpdatePath>,
    round_trip<AuthenticatedContent>, round_trip<PreSharedKeyId>, round_trip<RequiredCapabilities>,
    round_trip<ExternalSenders>, round_trip<ExternalPub>, round_trip<ParentNode>,
    round_trip<GroupContext>,
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size > 0 && data[0] < std::size(kChecks)) {
    kChecks[data[0]]({data + 1, size - 1});
  }
  return 0;
}
