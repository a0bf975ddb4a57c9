// What an application asks of a session, whatever its role.
#include <algorithm>

#include "session/session.h"
#include "session/session_bounds.h"

namespace slipway {

namespace {
std::unexpected<SessionError> refuse(SessionFault fault, std::string about) {
  return std::unexpected(SessionError{fault, std::move(about)});
}
}  // namespace

std::optional<SessionFault> Session::not_now() const {
  if (phase_ != Phase::kOpen) {
    return closed() ? SessionFault::kClosed : SessionFault::kClosing;
  }
  if (stopped_) {
    return *stopped_;
  }
  if (offline_) {
    return SessionFault::kOffline;
  }
  if (status_change_) {
    return SessionFault::kStatusChanging;
  }
  return facts_.direction.sends ? std::nullopt : std::optional(SessionFault::kNotSender);
}

Session::Call Session::check_outgoing(const Outgoing& content, const char* doing) const {
  if (const auto fault = not_now()) {
    return refuse(*fault, doing);
  }
  std::size_t bytes = 0;
  for (const auto& [key, value] : content.metadata) {
    bytes += key.size() + value.size();
    if (is_reserved_metadata(key)) {
      return refuse(SessionFault::kReservedMetadata, std::string(doing) + " with metadata '" + key + "'");
    }
  }
  if (size_of(content.payload) > kMaxSessionPayloadBytes || content.payload_type.size() > kMaxPayloadTypeBytes ||
      content.metadata.size() > kMaxMetadataEntries || bytes > kMaxMetadataBytes) {
    return refuse(SessionFault::kTooLarge, doing);
  }
  return {};
}

std::expected<std::uint32_t, SessionError> Session::publish(TimeMs now, Outgoing content, OperationId operation) {
  if (auto fits = check_outgoing(content, "publishing"); !fits) {
    return std::unexpected(std::move(fits.error()));
  }
  use_data_id();
  return sender_.publish(now, std::move(content), operation);
}

std::optional<DataOut> Session::number_data(std::size_t payload_bytes, std::size_t payload_type_bytes) {
  if (group_ || kept_ || not_now() || payload_bytes > kMaxSessionPayloadBytes || payload_type_bytes > kMaxPayloadTypeBytes) {
    return std::nullopt;
  }
  const auto id = sender_.number();
  if (!id) {
    return std::nullopt;
  }
  return DataOut{.message_id = *id,
                 .fanout = facts_.is_group() ? kAllReceivers : kOneReceiver,
                 .facts = &facts_,
                 .destination = &sender_.destination()};
}

std::expected<std::uint32_t, SessionError> Session::publish_to(TimeMs now, const FullName& member, Outgoing content,
                                                               OperationId operation) {
  if (auto fits = check_outgoing(content, "publishing to one member"); !fits) {
    return std::unexpected(std::move(fits.error()));
  }
  const MemberSlot slot = roster_.find_instance(member);
  if (slot == kNoSlot || is_self(roster_[slot].name)) {
    return refuse(roster_.instances_of(member) > 1 && member.id().is_null() ? SessionFault::kAmbiguousName : SessionFault::kNotMember,
                  "publishing to " + member.shown());
  }
  if (!facts_.is_group()) {
    use_data_id();
    return sender_.publish(now, std::move(content), operation);
  }
  if (resuming_) {
    return refuse(SessionFault::kNotReady, "publishing to " + member.shown());
  }
  return sender_.publish_to(now, slot, std::move(content), operation);
}

Session::Call Session::invite(TimeMs, const FullName& name, OperationId) {
  return refuse(facts_.is_group() ? SessionFault::kNotModerator : SessionFault::kWrongKind, "inviting " + name.shown());
}

Session::Call Session::remove(TimeMs, const FullName& name, OperationId) {
  return refuse(facts_.is_group() ? SessionFault::kNotModerator : SessionFault::kWrongKind, "removing " + name.shown());
}

Session::Call Session::close(TimeMs now, OperationId operation) {
  if (phase_ != Phase::kOpen) {
    return refuse(closed() ? SessionFault::kClosed : SessionFault::kClosing, "closing");
  }
  close_operation_ = operation;
  phase_ = Phase::kDraining;
  drain_until_ = now + kDrainMs;
  sender_.drop_unsent(SessionFault::kClosed);
  if (offline_) {
    sender_.close(SessionFault::kClosed);  // no acknowledgement would be heard
  }
  settle(now);
  return {};
}

void Session::abandon(TimeMs now) {
  if (phase_ == Phase::kOpen) {
    (void)close(now, kNoOperation);
  }
  if (phase_ == Phase::kDraining) {
    sender_.close(SessionFault::kClosed);
    settle(now);
  }
}

// --- soft close and return -------------------------------------------------------------------------------------

Session::Call Session::go_offline(TimeMs now, OperationId operation) { return change_status(now, MemberStatus::kOffline, operation); }
Session::Call Session::come_back(TimeMs now, OperationId operation) { return change_status(now, MemberStatus::kOnline, operation); }

Session::Call Session::change_status(TimeMs now, MemberStatus status, OperationId operation) {
  const char* doing = status == MemberStatus::kOffline ? "going offline" : "coming back";
  if (!facts_.is_group()) {
    return refuse(SessionFault::kWrongKind, doing);
  }
  if (phase_ != Phase::kOpen) {
    return refuse(closed() ? SessionFault::kClosed : SessionFault::kClosing, doing);
  }
  if (stopped_) {
    return refuse(*stopped_, doing);
  }
  if (!active()) {
    return refuse(SessionFault::kNotReady, doing);
  }
  if (status_change_ || busy()) {
    return refuse(SessionFault::kStatusChanging, doing);
  }
  if (offline_ == (status == MemberStatus::kOffline)) {
    out_.resolve(operation);
    return {};
  }
  status_change_ = status;
  status_sent_ = false;
  status_operation_ = operation;
  drain_until_ = now + kDrainMs;
  sender_.drop_unsent(SessionFault::kOffline);
  settle(now);
  return {};
}

void Session::send_status(TimeMs now) {
  status_sent_ = true;
  std::vector<FullName> awaited = online_others();
  if (*status_change_ == MemberStatus::kOnline) {
    // Who does not answer is not there.
    roster_.for_each([&](MemberSlot slot, const Member& member) {
      if (!is_self(member.name)) {
        set_status(now, slot, MemberStatus::kOffline, false);
      }
    });
  }
  commands_.cancel(CommandPurpose::kStatus);
  SessionMessage update = group_command(MessageType::kUpdateParticipantState,
                                        UpdateParticipantState{facts_.local, *status_change_, group_ ? group_->epoch() : 0});
  commands_.send(now, CommandPurpose::kStatus, std::move(update), std::move(awaited));
}

void Session::status_changed(TimeMs now) {
  if (!status_change_) {
    return;
  }
  offline_ = *status_change_ == MemberStatus::kOffline;
  status_change_.reset();
  if (offline_) {
    sender_.close(SessionFault::kOffline);
  } else {
    force_heartbeat_ = true;
    next_tick_ = std::min(next_tick_, now + kHeartbeatMs);
  }
  out_.resolve(take_status_operation());
}

}  // namespace slipway
