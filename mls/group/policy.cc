#include "group/policy.h"

#include "group/state.h"

namespace slipway::mls {

Status Policy::check_credential(const LeafCheck&) { return {}; }

Status Policy::check_external_sender(const ExternalSender&, uint64_t) { return {}; }

bool Policy::valid_successor(const Leaf& before, const Leaf& after, uint64_t) {
  return before.credential_type() == after.credential_type() &&
         equal(before.credential_content(), after.credential_content());
}

View Policy::client_id(const Leaf&) { return {}; }

bool Policy::same_client(const Leaf& before, const Leaf& after) {
  const View id = client_id(before);
  if (!id.empty()) {
    return equal(id, client_id(after));
  }
  return before.credential_type() == after.credential_type() &&
         equal(before.credential_content(), after.credential_content());
}

View Policy::identity(const Leaf& leaf) { return leaf.credential_content(); }

bool Policy::check_lifetime(LeafUse use) { return use != LeafUse::kWelcome; }

Status Policy::check_proposal(const ProposalCheck&) { return {}; }

bool Policy::group_exists(View) { return false; }

WireFormat Policy::handshake_wire_format() { return WireFormat::kPrivateMessage; }

size_t Policy::padding(ContentType, size_t) { return 0; }

bool Policy::path_always() { return false; }

std::optional<Secret> PskStore::resumption_psk(View, uint64_t) { return std::nullopt; }

Policy& default_policy() {
  static Policy policy;
  return policy;
}

}  // namespace slipway::mls
