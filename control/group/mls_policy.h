#pragma once
// The MLS profile of SLIM as rules (upstream-session 10): a leaf's credential is its owner's identity token, whose key claim
// is the leaf's signature key and whose subject is who it is; handshakes are public messages; only adds and removals exist,
// and nobody proposes. Remembers what tokens say, since each is asked about many times.

#include <cstddef>
#include <string>
#include <unordered_map>

#include "frame/name.h"
#include "group/group_identity.h"
#include "group/policy.h"

namespace slipway {

class MlsPolicy final : public mls::Policy {
 public:
  // `strict`: refuse expired tokens of members that were in before us too.
  MlsPolicy(GroupIdentity& identity, bool strict) : identity_(identity), strict_(strict) {}

  // The id that the names of this leaf's owner have; null if its token does not verify at all.
  [[nodiscard]] NameId owner_of(const mls::Leaf& leaf);
  // Forgets what more tokens than a group can have members said. Not inside a call to the group.
  void trim();
  // Why the last leaf was refused; empty if none was since the last call.
  [[nodiscard]] std::string take_refusal() { return std::exchange(refusal_, {}); }

  mls::Status check_credential(const mls::LeafCheck& check) override;
  mls::Status check_external_sender(const mls::ExternalSender& sender, uint64_t now_s) override;
  bool valid_successor(const mls::Leaf& before, const mls::Leaf& after, uint64_t now_s) override;
  mls::View client_id(const mls::Leaf& leaf) override;
  mls::View identity(const mls::Leaf& leaf) override;
  bool check_lifetime(mls::LeafUse use) override;
  mls::Status check_proposal(const mls::ProposalCheck& check) override;
  mls::WireFormat handshake_wire_format() override;
  size_t padding(mls::ContentType type, size_t content_size) override;

 private:
  struct Owner {
    TokenClaims claims;
    NameId id;
  };
  [[nodiscard]] const Owner* owner(const mls::Leaf& leaf);
  [[nodiscard]] bool speaks_for(const Owner& owner, const mls::Leaf& leaf);
  mls::Status refuse(std::string why);

  GroupIdentity& identity_;
  bool strict_;
  std::unordered_map<std::string, Owner> owners_;  // by token; views into it live until trim
  std::string refusal_;
};

}  // namespace slipway
