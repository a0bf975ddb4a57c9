#include "group/mls_policy.h"

#include <algorithm>
#include <bit>
#include <utility>

#include "message/proposal.h"
#include "session/session_bounds.h"

namespace slipway {

using mls::ErrorCode;
using mls::LeafUse;

namespace {
// Twice the members: who leaves and who comes lie side by side for a while.
constexpr std::size_t kTokensRemembered = 2 * kMaxSessionMembers;
}  // namespace

void MlsPolicy::trim() {
  if (owners_.size() > kTokensRemembered) {
    owners_.clear();
  }
}

const MlsPolicy::Owner* MlsPolicy::owner(const mls::Leaf& leaf) {
  if (leaf.credential_type() != mls::CredentialType::kBasic) {
    return nullptr;
  }
  std::string token(mls::as_text(leaf.credential_content()));
  if (const auto known = owners_.find(token); known != owners_.end()) {
    return &known->second;
  }
  auto claims = identity_.verify(token, TokenExpiry::kIgnore);
  if (!claims) {
    refusal_ = std::move(claims.error());
    return nullptr;
  }
  const NameId id = id_of_identity(claims->subject);
  return &owners_.emplace(std::move(token), Owner{std::move(*claims), id}).first->second;
}

bool MlsPolicy::speaks_for(const Owner& owner, const mls::Leaf& leaf) {
  return std::ranges::equal(owner.claims.public_key, leaf.signature_key());
}

NameId MlsPolicy::owner_of(const mls::Leaf& leaf) {
  const Owner* known = owner(leaf);
  return known == nullptr ? kNullId : known->id;
}

mls::Status MlsPolicy::refuse(std::string why) {
  refusal_ = std::move(why);
  return mls::fail(ErrorCode::kInvalidCredential, "checking a member's token");
}

mls::Status MlsPolicy::check_credential(const mls::LeafCheck& check) {
  const mls::Leaf& leaf = *check.leaf;
  if (leaf.credential_type() != mls::CredentialType::kBasic) {
    return refuse("the credential is no token: SLIM members carry basic credentials");
  }
  if (check.use == LeafUse::kUpdate || check.use == LeafUse::kExternalCommit) {
    return refuse("members come in and change by the moderator's commits only");
  }
  // Whom we let in ourselves must be valid now. What others did was checked by them, and may reach us late.
  if (check.use == LeafUse::kOwnAdd || strict_) {
    if (auto now = identity_.verify(mls::as_text(leaf.credential_content()), TokenExpiry::kEnforce); !now) {
      return refuse(std::move(now.error()));
    }
  }
  const Owner* known = owner(leaf);
  if (known == nullptr) {
    return refuse(refusal_.empty() ? "the token does not verify" : std::move(refusal_));
  }
  if (!speaks_for(*known, leaf)) {
    return refuse("the token of " + known->claims.subject + " is for another key than the leaf's");
  }
  return {};
}

mls::Status MlsPolicy::check_external_sender(const mls::ExternalSender&, uint64_t) {
  return mls::fail(ErrorCode::kPolicyRefused, "checking an external sender: SLIM groups have none");
}

bool MlsPolicy::valid_successor(const mls::Leaf& before, const mls::Leaf& after, uint64_t) {
  const Owner* old = owner(before);
  const Owner* fresh = owner(after);
  return old != nullptr && fresh != nullptr && old->claims.subject == fresh->claims.subject;
}

mls::View MlsPolicy::client_id(const mls::Leaf& leaf) {
  const Owner* known = owner(leaf);
  return known == nullptr ? mls::View{} : mls::as_view(known->claims.subject);
}

// Nobody reads it: who sent a message is looked up by its leaf.
mls::View MlsPolicy::identity(const mls::Leaf&) { return {}; }

// Only who lets a member in looks at its lifetime, as upstream does: clocks differ.
bool MlsPolicy::check_lifetime(LeafUse) { return false; }

mls::Status MlsPolicy::check_proposal(const mls::ProposalCheck& check) {
  const bool known = check.proposal->as<mls::AddProposal>() != nullptr || check.proposal->as<mls::RemoveProposal>() != nullptr;
  if (check.stage == mls::ProposalStage::kReceive || !known) {
    return mls::fail(ErrorCode::kPolicyRefused, "checking a proposal: a SLIM group knows additions and removals in commits only");
  }
  return {};
}

mls::WireFormat MlsPolicy::handshake_wire_format() { return mls::WireFormat::kPublicMessage; }

// Upstream's steps: sizes are rounded up to an eighth of the next power of two, 32 at least.
size_t MlsPolicy::padding(mls::ContentType, size_t content_size) {
  const std::size_t step = std::bit_ceil(std::max<std::size_t>(content_size + 1, 256)) / 8;
  return (content_size | (step - 1)) + 1 - content_size;
}

}  // namespace slipway
