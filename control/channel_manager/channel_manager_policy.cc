#include "channel_manager/channel_manager_policy.h"

#include <fmt/format.h>

#include "channel_manager/channel_manager_bounds.h"

namespace slipway {
namespace {

constexpr const char* kCreation = "signed create request";
constexpr const char* kDeletion = "signed delete request";
constexpr const char* kGrant = "grant";

// As upstream shows a text that somebody else wrote.
std::string quoted(std::string_view text) {
  std::string out = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') {
      out += {'\\', c};
    } else if (static_cast<unsigned char>(c) < 0x20 || c == 0x7F) {
      out += fmt::format("\\u{{{:x}}}", static_cast<unsigned>(c));
    } else {
      out += c;
    }
  }
  return out + '"';
}

std::expected<void, std::string> check_request(const ManagerPolicy& policy, std::string_view audience, std::uint64_t not_after_s, const char* what,
                                               std::uint64_t now_s) {
  if (audience != policy.audience) {
    return std::unexpected(fmt::format("{} is for {}, not this channel manager ({})", what, quoted(audience), quoted(policy.audience)));
  }
  if (not_after_s > now_s + kSignedRequestAheadS) {
    return std::unexpected(fmt::format("{} is valid for too long: not_after may be at most 24 hours ahead", what));
  }
  return {};
}

std::expected<Spend, std::string> spend(std::string channel, std::string nonce, std::uint64_t not_after_s, const char* what, std::uint64_t now_s) {
  if (not_after_s < now_s) {
    return std::unexpected(fmt::format("{} has expired", what));
  }
  return Spend{.nonce = {.channel = std::move(channel), .nonce = std::move(nonce), .not_after_s = not_after_s}, .what = what};
}

// Who of those that may has signed; a failure is told as it is with the first of them.
std::expected<std::pair<std::string, SignedDeletion>, std::string> find_signer(const ManagerPolicy& policy, const std::string& channel,
                                                                                const std::optional<std::string>& owner, std::string_view proof) {
  std::optional<std::string> first_fault;
  std::vector<std::string> may = policy.operators;
  if (owner) {
    may.insert(may.begin(), *owner);
  }
  for (const auto& signer : may) {
    auto deletion = verify_deletion(signer, proof);
    if (deletion) {
      return std::pair(signer, *std::move(deletion));
    }
    if (!first_fault) {
      first_fault = std::move(deletion.error());
    }
  }
  return std::unexpected(first_fault ? fmt::format("invalid signed delete request: {}", *first_fault)
                                     : fmt::format("channel {} has no owner and this channel manager has no operators, so it can't be deleted", channel));
}

}  // namespace

std::expected<CreationAllowed, std::string> allow_creation(const ManagerPolicy& policy, const CreateChannelRequest& request, std::uint64_t now_s) {
  if (!request.owner_proof) {
    if (policy.require_signatures) {
      return std::unexpected("this channel manager requires a create request signed by the channel's owner");
    }
    if (request.owner_callback_name) {
      return std::unexpected("owner-callback-name needs a signed create request: a channel with no owner has no one to ask");
    }
    return CreationAllowed{};
  }
  const auto creation = verify_creation(*request.owner_proof);
  if (!creation) {
    return std::unexpected(fmt::format("invalid signed create request: {}", creation.error()));
  }
  if (creation->channel != request.channel_name || creation->mls_enabled != request.mls_enabled || creation->ttl_seconds != request.ttl_seconds ||
      creation->owner_callback_name != request.owner_callback_name) {
    return std::unexpected("signed create request does not match this request");
  }
  if (auto done = check_request(policy, creation->audience, creation->not_after_s, kCreation, now_s); !done) {
    return std::unexpected(done.error());
  }
  auto spent = spend(creation->channel, creation->nonce, creation->not_after_s, kCreation, now_s);
  if (!spent) {
    return std::unexpected(spent.error());
  }
  return CreationAllowed{.owner = creation->owner, .spend = *std::move(spent)};
}

std::expected<DeletionAllowed, std::string> allow_deletion(const ManagerPolicy& policy, const std::string& channel, const std::optional<std::string>& owner,
                                                           const std::optional<std::string>& proof, std::uint64_t now_s) {
  if (!owner && !policy.require_signatures) {
    return DeletionAllowed{};
  }
  if (!proof) {
    return std::unexpected(owner ? fmt::format("channel {} can only be deleted with a request signed by its owner", channel)
                                 : fmt::format("channel {} has no owner: only a delete request signed by an operator can delete it", channel));
  }
  auto signer = find_signer(policy, channel, owner, *proof);
  if (!signer) {
    return std::unexpected(signer.error());
  }
  const auto& deletion = signer->second;
  if (deletion.channel != channel) {
    return std::unexpected("signed delete request is for a different channel");
  }
  if (auto done = check_request(policy, deletion.audience, deletion.not_after_s, kDeletion, now_s); !done) {
    return std::unexpected(done.error());
  }
  auto spent = spend(channel, deletion.nonce, deletion.not_after_s, kDeletion, now_s);
  if (!spent) {
    return std::unexpected(spent.error());
  }
  return DeletionAllowed{.signer = signer->first, .spend = *std::move(spent)};
}

std::expected<Spend, std::string> allow_change(const std::string& owner, const ParticipantChange& change, std::string_view grant, std::uint64_t now_s) {
  const auto parsed = verify_grant(owner, grant);
  if (!parsed) {
    return std::unexpected(fmt::format("invalid grant: {}", parsed.error()));
  }
  if (parsed->channel != change.channel || parsed->invitee != change.participant || parsed->action != change.action) {
    return std::unexpected("grant does not authorize this change");
  }
  return spend(parsed->channel, parsed->nonce, parsed->not_after_s, kGrant, now_s);
}

}  // namespace slipway
