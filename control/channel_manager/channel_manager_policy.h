#pragma once
// Who may do what to a channel (upstream-control 7.1): the owner is whoever signed the request that made it, never who is
// connected. Pure: what was signed, the request and the time decide; whether a statement was used before is known to
// manager_records.h. Error texts are upstream's.

#include <cstdint>
#include <expected>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "channel_manager/manager_messages.h"
#include "channel_manager/signed_request.h"
#include "channel_manager/used_nonces.h"

namespace slipway {

struct ManagerPolicy {
  std::string audience;                 // what signed requests must be for
  bool require_signatures = false;
  std::vector<std::string> operators;   // did:keys that may delete any channel, and change nothing else
};

// A statement to be marked as used before what it allows is done.
struct Spend {
  UsedNonce nonce;
  const char* what = "";                // "grant", for texts
};

struct CreationAllowed {
  std::optional<std::string> owner;
  std::optional<Spend> spend;
};
struct DeletionAllowed {
  std::optional<std::string> signer;
  std::optional<Spend> spend;
};
struct ParticipantChange {
  std::string channel;
  std::string participant;
  GrantAction action = GrantAction::kAdd;
};

[[nodiscard]] std::expected<CreationAllowed, std::string> allow_creation(const ManagerPolicy& policy, const CreateChannelRequest& request,
                                                                         std::uint64_t now_s);
[[nodiscard]] std::expected<DeletionAllowed, std::string> allow_deletion(const ManagerPolicy& policy, const std::string& channel,
                                                                         const std::optional<std::string>& owner,
                                                                         const std::optional<std::string>& proof, std::uint64_t now_s);
[[nodiscard]] std::expected<Spend, std::string> allow_change(const std::string& owner, const ParticipantChange& change, std::string_view grant,
                                                             std::uint64_t now_s);

}  // namespace slipway
