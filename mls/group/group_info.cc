#include "group/state.h"

namespace slipway::mls {

Result<Bytes> write_group_info(const EpochState& epoch, View tree, View external_pub,
                               const Extensions& more, LeafIndex signer_leaf) {
  if (has_duplicate_types(more) ||
      find_extension(more, ExtensionType::kRatchetTree) != nullptr ||
      find_extension(more, ExtensionType::kExternalPub) != nullptr) {
    return fail(ErrorCode::kInvalidArgument,
                "making a GroupInfo: an extension twice, or one that it makes itself");
  }
  Bytes out;
  out.reserve(epoch.encoded_context.size() + tree.size() + external_pub.size() + 512);
  Writer writer(out);
  writer.write_bytes(epoch.encoded_context);
  const size_t list = writer.begin_vector();
  if (!tree.empty()) {
    writer(ExtensionType::kRatchetTree, tree);
  }
  if (!external_pub.empty()) {
    writer(ExtensionType::kExternalPub, encode(ExternalPub{to_bytes(external_pub)}));
  }
  for (const Extension& extension : more) {
    writer(extension);
  }
  writer.end_vector(list);
  writer(epoch.confirmation_tag, signer_leaf);
  return out;
}

void append_signature(Bytes& group_info, View signature) {
  Writer writer(group_info);
  writer.write_vector(signature);
}

}  // namespace slipway::mls
