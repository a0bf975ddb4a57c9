#include "channel_manager/channel_manager.h"

#include <fmt/format.h>

#include <utility>

#include "channel_manager/channel_manager_bounds.h"
#include "edge/grpc_status.h"

namespace slipway {
namespace {

constexpr const char* kFileManagedText =
    "channel manager is running in config mode; modify the config file and restart to change channels or participants";

std::expected<TextName, std::string> plain_name(const std::string& text) {
  auto name = parse_name(text);
  if (!name || !name->id.is_null() || name->text() != text) {
    return std::unexpected(fmt::format("invalid name format: {}", text));
  }
  return name;
}

std::string not_found(const std::string& channel) { return fmt::format("channel {} not found", channel); }

// What the channels say, in upstream's words where it has some.
std::string text_of(const ChannelError& error, const std::string& channel, const std::string& doing) {
  switch (error.fault) {
    case ChannelFault::kExists:
      return fmt::format("channel {} already exists", channel);
    case ChannelFault::kUnknown:
      return not_found(channel);
    case ChannelFault::kFileManaged:
      return kFileManagedText;
    default:
      return fmt::format("{}: {}", doing, error.message());
  }
}

ChannelAsker asker(const std::string& caller) { return {.who = caller.empty() ? "channel manager" : "channel manager: " + caller}; }

std::optional<std::string> granted(const ApprovalOutcome& outcome) {
  const auto* decision = std::get_if<ApprovalDecision>(&outcome);
  const auto* grant = decision == nullptr ? nullptr : std::get_if<ApprovalGranted>(decision);
  return grant == nullptr ? std::nullopt : std::optional(grant->grant);
}

std::string refusal(const ApprovalOutcome& outcome) {
  if (std::holds_alternative<ApprovalTimedOut>(outcome)) {
    return "channel owner did not answer the approval request in time";
  }
  if (const auto* failed = std::get_if<ApprovalFailed>(&outcome); failed != nullptr) {
    return fmt::format("could not ask the channel owner for approval: {}", failed->why);
  }
  return fmt::format("channel owner denied the request: {}", std::get<ApprovalDenied>(std::get<ApprovalDecision>(outcome)).reason);
}

template <class Request>
std::unexpected<ManagerCallError> malformed(const std::expected<Request, std::string>& request) {
  return std::unexpected(ManagerCallError{grpc_status::kInvalidArgument, request.error()});
}

}  // namespace

ChannelManager::ChannelManager(Channels& channels, SealedStore* store, OwnerApprover* approver, ManagerPolicy policy, Log log)
    : channels_(channels), approver_(approver), policy_(std::move(policy)), log_(std::move(log)), records_(store) {}

std::expected<void, std::string> ChannelManager::load(std::uint64_t now_s) {
  return records_.load([this](const std::string& channel) { return exists(channel); }, now_s);
}

bool ChannelManager::exists(const std::string& channel) const {
  const auto name = plain_name(channel);
  return name && channels_.show(*name);
}

std::optional<std::string> ChannelManager::owner(const std::string& channel) const {
  const auto* record = records_.find(channel);
  return record == nullptr ? std::nullopt : record->owner;
}

ChannelManager::Answer ChannelManager::tracked(Answer answer) {
  ++under_way_;
  return [this, alive = std::weak_ptr(alive_), answer = std::move(answer)](std::expected<std::string, ManagerCallError> result) mutable {
    if (!alive.expired()) {
      --under_way_;
    }
    answer(std::move(result));
  };
}

void ChannelManager::handle(std::string_view method, std::span<const std::byte> request, const std::string& caller, std::uint64_t now_s, Answer answer) {
  ++counters_.requests;
  if (under_way_ >= kManagerOperations) {
    answer(std::unexpected(ManagerCallError{grpc_status::kResourceExhausted, fmt::format("{} requests are under way", under_way_)}));
    return;
  }
  const auto command = [this](Answer to) -> Result {
    return [to = tracked(std::move(to))](std::expected<void, std::string> result) mutable {
      to(encode_command_response(result ? std::nullopt : std::optional(result.error())));
    };
  };
  const auto begin = [&](auto decoded, auto call) {
    if (!decoded) {
      ++counters_.malformed;
      answer(malformed(decoded));
      return;
    }
    call(*std::move(decoded));
  };
  if (method == "CreateChannel") {
    begin(decode_create_channel(request), [&](CreateChannelRequest r) { create(std::move(r), caller, now_s, command(std::move(answer))); });
  } else if (method == "DeleteChannel") {
    begin(decode_delete_channel(request), [&](DeleteChannelRequest r) { remove(std::move(r), caller, now_s, command(std::move(answer))); });
  } else if (method == "AddParticipant" || method == "DeleteParticipant") {
    const auto action = method == "AddParticipant" ? GrantAction::kAdd : GrantAction::kDelete;
    begin(decode_participant_request(request), [&](ParticipantRequest r) { change(std::move(r), action, caller, now_s, command(std::move(answer))); });
  } else if (method == "ListChannels") {
    if (auto decoded = decode_list_channels(request); decoded) {
      answer(list_channels());
    } else {
      ++counters_.malformed;
      answer(malformed(decoded));
    }
  } else if (method == "ListParticipants") {
    begin(decode_list_participants(request), [&](const ListParticipantsRequest& r) {
      auto bytes = encode_participants(list_participants(r.channel_name));
      if (bytes.size() > kManagerMessageBytes) {
        bytes = encode_participants(std::unexpected(fmt::format("channel {} has more participants than one answer takes", r.channel_name)));
      }
      answer(std::move(bytes));
    });
  } else {
    answer(std::unexpected(ManagerCallError{grpc_status::kUnimplemented, fmt::format("there is no method {}", method)}));
  }
}

// A statement counts as used before what it allows is done: a crash in between costs its owner a signature, and never lets it be
// used twice.
void ChannelManager::spend(std::optional<Spend> spend, std::uint64_t now_s, Result done) {
  if (!spend) {
    done({});
    return;
  }
  records_.use(std::move(spend->nonce), now_s, [this, what = spend->what, done = std::move(done)](std::expected<void, UseError> used) mutable {
    if (used) {
      done({});
      return;
    }
    ++counters_.refused;
    done(std::unexpected(used.error().fault == UseFault::kUsedBefore ? fmt::format("{} has already been used", what)
                                                                     : fmt::format("could not record the {}'s use: {}", what, used.error().why)));
  });
}

// --- channels ----------------------------------------------------------------------------------------

void ChannelManager::create(CreateChannelRequest request, const std::string& caller, std::uint64_t now_s, Result done) {
  if (channels_.file_managed()) {
    return done(std::unexpected(kFileManagedText));
  }
  const auto& channel = request.channel_name;
  if (exists(channel) || creating_.contains(channel)) {
    return done(std::unexpected(fmt::format("channel {} already exists", channel)));
  }
  if (request.ttl_seconds == 0u) {
    return done(std::unexpected("ttl-seconds must be positive"));
  }
  if (const auto name = plain_name(channel); !name) {
    return done(std::unexpected(fmt::format("invalid channel name: {}", name.error())));
  }
  if (request.owner_callback_name) {
    if (const auto name = plain_name(*request.owner_callback_name); !name) {
      return done(std::unexpected(fmt::format("invalid owner callback name: {}", name.error())));
    }
  }
  auto allowed = allow_creation(policy_, request, now_s);
  if (!allowed) {
    ++counters_.refused;
    return done(std::unexpected(allowed.error()));
  }
  creating_.insert(channel);
  spend(std::move(allowed->spend), now_s,
        [this, request = std::move(request), owner = std::move(allowed->owner), caller, now_s, done = std::move(done)](auto spent) mutable {
          if (!spent) {
            creating_.erase(request.channel_name);
            return done(std::move(spent));
          }
          create_now(std::move(request), std::move(owner), caller, now_s, std::move(done));
        });
}

// The record first: a channel that came back from a restart without its owner would be open to everybody.
void ChannelManager::create_now(CreateChannelRequest request, std::optional<std::string> owner, const std::string& caller, std::uint64_t now_s,
                                Result done) {
  const std::string channel = request.channel_name;
  auto make = [this, alive = std::weak_ptr(alive_), channel, mls = request.mls_enabled, owner, caller, done = std::move(done)](
                  std::expected<void, std::string> recorded) mutable {
    if (alive.expired()) {
      return;
    }
    if (!recorded) {
      creating_.erase(channel);
      records_.erase(channel);
      return done(std::unexpected(fmt::format("failed to record state of channel {}: {}", channel, recorded.error())));
    }
    channels_.create(*plain_name(channel), {.mls = mls}, asker(caller),
                     [this, alive, channel, owner, caller, done = std::move(done)](std::expected<void, ChannelError> made) mutable {
                       if (alive.expired()) {
                         return;
                       }
                       creating_.erase(channel);
                       if (!made) {
                         records_.erase(channel);
                         return done(std::unexpected(text_of(made.error(), channel, fmt::format("failed to create channel {}", channel))));
                       }
                       log_(fmt::format("channel manager: {} made by {}, owner {}", channel, caller.empty() ? "somebody" : caller, owner.value_or("none")));
                       done({});
                     });
  };
  if (!owner && !request.ttl_seconds) {
    return make({});
  }
  if (records_.full()) {
    return make(std::unexpected(fmt::format("{} channels have owners or an end, which is the limit", kManagerOwners)));
  }
  std::optional<std::uint64_t> expires_at_s;
  if (request.ttl_seconds) {
    expires_at_s = *request.ttl_seconds > ~now_s ? ~std::uint64_t{0} : now_s + *request.ttl_seconds;
  }
  records_.put({.channel = channel, .owner = std::move(owner), .callback_name = std::move(request.owner_callback_name), .expires_at_s = expires_at_s},
               std::move(make));
}

void ChannelManager::remove(DeleteChannelRequest request, const std::string& caller, std::uint64_t now_s, Result done) {
  if (channels_.file_managed()) {
    return done(std::unexpected(kFileManagedText));
  }
  auto allowed = allow_deletion(policy_, request.channel_name, owner(request.channel_name), request.owner_proof, now_s);
  if (!allowed) {
    ++counters_.refused;
    return done(std::unexpected(allowed.error()));
  }
  spend(std::move(allowed->spend), now_s,
        [this, channel = std::move(request.channel_name), signer = std::move(allowed->signer), caller, done = std::move(done)](auto spent) mutable {
          if (!spent) {
            return done(std::move(spent));
          }
          const auto name = plain_name(channel);
          if (!name || creating_.contains(channel)) {
            return done(std::unexpected(not_found(channel)));
          }
          channels_.remove(*name, asker(signer.value_or(caller)),
                           [this, alive = std::weak_ptr(alive_), channel, done = std::move(done)](std::expected<void, ChannelError> removed) mutable {
                             if (alive.expired()) {
                               return;
                             }
                             if (!removed) {
                               return done(std::unexpected(text_of(removed.error(), channel, fmt::format("failed to delete session for {}", channel))));
                             }
                             if (!exists(channel) && !creating_.contains(channel)) {
                               records_.erase(channel);
                             }
                             done({});
                           });
        });
}

void ChannelManager::sweep(std::uint64_t now_s) {
  for (const auto& channel : records_.expired(now_s)) {
    const auto name = plain_name(channel);
    if (!name || creating_.contains(channel)) {
      continue;
    }
    log_(fmt::format("channel manager: {} has expired", channel));
    ++counters_.expired;
    // Forgotten at once: what is being closed is not closed again by the next sweep.
    records_.erase(channel);
    channels_.remove(*name, {.who = "channel manager: expired"}, [this, alive = std::weak_ptr(alive_), channel](std::expected<void, ChannelError> removed) {
      if (!alive.expired() && !removed) {
        log_(fmt::format("channel manager: {}", text_of(removed.error(), channel, "failed to delete the expired channel " + channel)));
      }
    });
  }
}

void ChannelManager::on_event(const ChannelEvent& event) {
  if (event.change != ChannelChange::kRemoved) {
    return;
  }
  const auto channel = event.channel.text();
  if (!exists(channel) && !creating_.contains(channel)) {
    records_.erase(channel);
  }
}

// --- participants ------------------------------------------------------------------------------------

void ChannelManager::change(ParticipantRequest request, GrantAction action, const std::string& caller, std::uint64_t now_s, Result done) {
  if (channels_.file_managed()) {
    return done(std::unexpected(kFileManagedText));
  }
  if (!exists(request.channel_name)) {
    return done(std::unexpected(not_found(request.channel_name)));
  }
  ParticipantChange change{.channel = std::move(request.channel_name), .participant = std::move(request.participant_name), .action = action};
  const auto* record = records_.find(change.channel);
  if (record == nullptr || !record->owner) {
    if (policy_.require_signatures) {
      ++counters_.refused;
      return done(std::unexpected(
          fmt::format("channel {} has no owner to sign for changes, and this channel manager refuses unsigned ones", change.channel)));
    }
    return change_now(change, caller, std::move(done));
  }
  if (request.grant) {
    return use_grant(change, *request.grant, caller, now_s, std::move(done));
  }
  ask_owner(*record, std::move(change), caller, std::move(done));
}

void ChannelManager::ask_owner(const ChannelRecord& record, ParticipantChange change, const std::string& caller, Result done) {
  ++counters_.refused;
  if (!record.callback_name) {
    return done(std::unexpected(fmt::format("channel {} requires a grant from its owner", change.channel)));
  }
  const auto callback = plain_name(*record.callback_name);
  if (approver_ == nullptr || !callback) {
    return done(std::unexpected("could not ask the channel owner for approval: this node has no application that could ask"));
  }
  if (asking_ >= kManagerApprovals) {
    return done(std::unexpected(fmt::format("could not ask the channel owner for approval: {} other requests wait for theirs", asking_)));
  }
  --counters_.refused;
  ++counters_.approvals_asked;
  ++asking_;
  const ApprovalRequest request{.channel_name = change.channel, .participant_name = change.participant,
                                .action = change.action == GrantAction::kAdd ? ParticipantAction::kAdd : ParticipantAction::kDelete,
                                .requester = caller.empty() ? std::nullopt : std::optional(caller)};
  approver_->ask(*callback, request,
                 [this, alive = std::weak_ptr(alive_), change = std::move(change), caller, done = std::move(done)](ApprovalOutcome outcome,
                                                                                                               std::uint64_t answered_s) mutable {
                   if (alive.expired()) {
                     return;
                   }
                   --asking_;
                   if (const auto grant = granted(outcome); grant) {
                     return use_grant(change, *grant, caller, answered_s, std::move(done));
                   }
                   ++counters_.refused;
                   done(std::unexpected(refusal(outcome)));
                 });
}

void ChannelManager::use_grant(const ParticipantChange& change, std::string_view grant, const std::string& caller, std::uint64_t now_s, Result done) {
  // Looked up anew: the owner may have been asked about a channel that has another one by now.
  const auto* record = records_.find(change.channel);
  if (record == nullptr || !record->owner) {
    return done(std::unexpected(not_found(change.channel)));
  }
  auto allowed = allow_change(*record->owner, change, grant, now_s);
  if (!allowed) {
    ++counters_.refused;
    return done(std::unexpected(allowed.error()));
  }
  spend(*std::move(allowed), now_s, [this, change, caller, done = std::move(done)](auto spent) mutable {
    if (!spent) {
      return done(std::move(spent));
    }
    change_now(change, caller, std::move(done));
  });
}

void ChannelManager::change_now(const ParticipantChange& change, const std::string& caller, Result done) {
  const auto channel = plain_name(change.channel);
  const auto participant = plain_name(change.participant);
  if (!participant) {
    return done(std::unexpected(fmt::format("invalid participant name: {}", participant.error())));
  }
  const bool add = change.action == GrantAction::kAdd;
  auto doing = add ? fmt::format("failed to invite participant {} to channel {}", change.participant, change.channel)
                   : fmt::format("failed to remove participant {} from channel {}", change.participant, change.channel);
  auto finish = [name = change.channel, doing = std::move(doing), done = std::move(done)](std::expected<void, ChannelError> result) mutable {
    done(result ? std::expected<void, std::string>() : std::unexpected(text_of(result.error(), name, doing)));
  };
  if (add) {
    channels_.invite(*channel, *participant, asker(caller), std::move(finish));
  } else {
    channels_.remove_participant(*channel, *participant, asker(caller), std::move(finish));
  }
}

// --- lists -------------------------------------------------------------------------------------------

std::string ChannelManager::list_channels() const {
  std::vector<ChannelInfo> rows;
  for (const auto& channel : channels_.list()) {
    ChannelInfo row{.channel_name = channel.name.text(), .owner = {}, .expires_at_s = {}};
    if (const auto* record = records_.find(row.channel_name); record != nullptr) {
      row.owner = record->owner;
      row.expires_at_s = record->expires_at_s;
    }
    rows.push_back(std::move(row));
  }
  auto bytes = encode_channels(rows);
  return bytes.size() <= kManagerMessageBytes ? bytes : encode_channels_error("there are more channels than one answer takes: `slipwayctl channel list` shows them");
}

std::expected<std::vector<std::string>, std::string> ChannelManager::list_participants(const std::string& channel) const {
  const auto name = plain_name(channel);
  if (!name) {
    return std::unexpected(not_found(channel));
  }
  const auto row = channels_.show(*name);
  if (!row) {
    return std::unexpected(row.error().fault == ChannelFault::kUnknown
                               ? not_found(channel)
                               : fmt::format("failed to list participants for channel {}: {}", channel, row.error().message()));
  }
  std::vector<std::string> out;
  for (const auto& member : row->members) {
    out.push_back(member.name.text());
  }
  return out;
}

}  // namespace slipway
