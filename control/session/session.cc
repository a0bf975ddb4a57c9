#include "session/session.h"

#include <algorithm>
#include <charconv>
#include <unordered_set>

#include "session/large_channels.h"
#include "session/session_bounds.h"

namespace slipway {

Session::Session(TimeMs now, SessionParts parts)
    : facts_(std::move(parts.facts)),
      out_(facts_, parts.actions, parts.refusals),
      group_(std::move(parts.group)),
      sender_(facts_, out_, parts.random),
      receiver_(facts_, out_),
      commands_(facts_, out_, parts.random),
      verify_commands_(parts.verify_commands || facts_.mls.has_value()),
      store_key_(parts.store_key),
      next_tick_(now + kHeartbeatMs) {
  out_.use_group(group_.get());
}

// --- messages --------------------------------------------------------------------------------------------------

void Session::on_message(TimeMs now, SessionMessage message) {
  if (closed()) {
    ++out_.refused().unknown_session;
    return;
  }
  if (!payload_fits(message) || is_self(message.source)) {
    ++out_.refused().malformed;
    return;
  }
  if (!is_for_us(message.destination)) {
    ++out_.refused().foreign_destination;
    return;
  }
  if (message.session_type != facts_.type) {
    ++out_.refused().wrong_kind;
    return;
  }
  if (!message.metadata.empty()) {
    message.metadata.erase(std::string(metadata_key::kPayloadSignature));
    message.metadata.erase(std::string(metadata_key::kPeerSubject));
  }
  if (is_command(message.type)) {
    on_command_message(now, message);
  } else {
    on_data_message(now, std::move(message));
  }
  settle(now);
}

// What was said to another member says nothing to us: an acknowledgement of another's message has the id of one of ours.
bool Session::is_for_us(const FullName& destination) const {
  return is_self(destination) || (destination.id().is_null() && destination.same_service(facts_.local)) ||
         (facts_.is_group() && (destination == channel_ || destination == control_));
}

bool Session::passes_while_offline(MessageType type) const {
  // The first three as upstream; an end is an end, whether one is there or not.
  return type == MessageType::kGroupAck || type == MessageType::kGroupNack || type == MessageType::kRejoinReply ||
         type == MessageType::kLeaveRequest || type == MessageType::kLeaveReply || type == MessageType::kGroupClose ||
         (type == MessageType::kGroupUpdate && awaits_roster());
}

void Session::on_command_message(TimeMs now, const SessionMessage& message) {
  if (verify_commands_ && !message.authentic) {
    ++out_.refused().unauthenticated;
    return;
  }
  if (message.message_id == 0) {
    ++out_.refused().malformed;
    return;
  }
  if (replies_.has_seen(message)) {
    ++out_.refused().replayed;
    if (const SessionMessage* again = replies_.reply_to(message)) {
      out_.send(*again);
    }
    return;
  }
  const MemberSlot slot = roster_.find(message.source.hashed());
  if (slot != kNoSlot) {
    roster_[slot].misses = 0;
    roster_[slot].from_slipway = message.from_slipway;
    sender_.heard_from(now, slot);
  }
  if (offline_ && !passes_while_offline(message.type)) {
    ++out_.refused().offline;
    return;
  }
  switch (message.type) {
    case MessageType::kHeartbeat: on_heartbeat(now, message, slot); break;
    case MessageType::kUpdateParticipantState: on_state_update(now, message, slot); break;
    case MessageType::kGroupAck:
    case MessageType::kGroupNack: on_group_answer(now, message, slot); break;
    default: on_role_command(now, message, slot);
  }
}

void Session::on_data_message(TimeMs now, SessionMessage message) {
  const MemberSlot slot = roster_.find(message.source.hashed());
  if (slot == kNoSlot) {
    ++out_.refused().not_a_member;
    return;
  }
  if (!in_traffic()) {
    ++out_.refused().wrong_state;
    return;
  }
  if (offline_) {
    ++out_.refused().offline;
    return;
  }
  roster_[slot].from_slipway = message.from_slipway;
  if (carries_data(message.type)) {
    take_data(now, slot, std::move(message));
    return;
  }
  roster_[slot].misses = 0;
  sender_.heard_from(now, slot);
  if (message.type == MessageType::kMsgAck) {
    sender_.on_ack(now, slot, message.message_id);
  } else {
    sender_.on_rtx_request(slot, message.source, message.message_id);
  }
}

MemberSlot Session::data_slot(const SessionMessage& message) const {
  if (facts_.reliability || group_ || message.session_type != facts_.type || !is_for_us(message.destination)) {
    return kNoSlot;
  }
  return roster_.find(message.source.hashed());
}

bool Session::hands_on(MemberSlot slot, const Name& source, bool from_slipway) {
  if (!in_traffic() || offline_ || !facts_.direction.receives || !roster_.is(slot, source)) {
    return false;
  }
  Member& member = roster_[slot];
  if (!member.direction.sends || member.status != MemberStatus::kOnline) {
    return false;
  }
  member.misses = 0;
  member.from_slipway = from_slipway;
  return true;
}

void Session::take_data(TimeMs now, MemberSlot slot, SessionMessage message) {
  if (!facts_.direction.receives) {
    ++out_.refused().not_receiving;
    return;
  }
  if (!roster_[slot].direction.sends) {
    ++out_.refused().not_sending;
    return;
  }
  std::uint64_t epoch = kNoEpoch;
  if (group_) {
    const auto opened = group_->unprotect(message);
    if (!opened) {
      ++out_.refused().undecipherable;
      return;
    }
    epoch = *opened;
  }
  if (size_of(std::get<AppPayload>(message.payload).blob) > kMaxSessionPayloadBytes) {
    ++out_.refused().oversized;
    return;
  }
  roster_[slot].misses = 0;
  sender_.heard_from(now, slot);
  if (roster_[slot].status == MemberStatus::kOffline && !roster_[slot].said_offline && (!group_ || epoch == group_->epoch())) {
    set_status(now, slot, MemberStatus::kOnline, false);
  }
  receiver_.on_message(now, slot, std::move(message), epoch);
}

// --- commands of both roles --------------------------------------------------------------------------------------

bool Session::first_time(const SessionMessage& message) { return replies_.note(message) == ReplyCache::Seen::kNew; }

void Session::reply(const SessionMessage& request, MessageType type, Payload payload) {
  SessionMessage answer = out_.compose(type, request.message_id, request.source);
  answer.payload = std::move(payload);
  reply(request, std::move(answer));
}

void Session::reply(const SessionMessage& request, SessionMessage answer) {
  replies_.keep(request, answer);
  out_.send(std::move(answer));
}

SessionMessage Session::command(MessageType type, const FullName& to, Payload payload) {
  SessionMessage message = out_.compose(type, commands_.next_id(), to);
  message.payload = std::move(payload);
  return message;
}

SessionMessage Session::group_command(MessageType type, Payload payload) {
  SessionMessage message = command(type, control_, std::move(payload));
  message.fanout = facts_.is_group() ? kAllReceivers : kOneReceiver;
  return message;
}

void Session::stamp_version(SessionMessage& message) const {
  if (facts_.is_group()) {
    message.metadata.insert_or_assign(std::string(metadata_key::kRosterVersion), std::to_string(roster_version_));
  }
}

std::uint64_t Session::version_of(const SessionMessage& message) { return number_in(message, metadata_key::kRosterVersion); }

std::uint64_t Session::number_in(const SessionMessage& message, std::string_view key) {
  const auto at = message.metadata.find(key);
  std::uint64_t version = 0;
  if (at != message.metadata.end()) {
    std::from_chars(at->second.data(), at->second.data() + at->second.size(), version);
  }
  return version;
}

void Session::on_heartbeat(TimeMs now, const SessionMessage& message, MemberSlot slot) {
  const auto& heartbeat = std::get<Heartbeat>(message.payload);
  if (!first_time(message)) {
    return;
  }
  if (slot == kNoSlot) {
    ++out_.refused().not_a_member;
    on_stranger(now, message);
    return;
  }
  if (const std::uint64_t sent = number_in(message, metadata_key::kDataSent); !facts_.direction.receives && sent != 0 && sent <= kMaxDataId) {
    const auto id = static_cast<std::uint32_t>(sent);
    if (((id - receiver_.last_id(slot).value_or(0)) & kMaxDataId) <= kMaxDataId / 2) {  // not a late one, of an earlier membership
      receiver_.continue_after(slot, message.source, id);
    }
  }
  if (group_ && heartbeat.epoch != kNoEpoch && heartbeat.epoch > group_->epoch()) {
    on_behind(now);
  }
  const bool same_epoch = !group_ || heartbeat.epoch == group_->epoch();
  if (roster_[slot].status == MemberStatus::kOffline) {
    force_heartbeat_ = true;  // so that it learns that we are here, and in which epoch
    if (same_epoch) {
      set_status(now, slot, MemberStatus::kOnline, true);
    }
  }
  on_member_heartbeat(now, slot, heartbeat, version_of(message));
}

void Session::on_state_update(TimeMs now, const SessionMessage& message, MemberSlot slot) {
  const auto& update = std::get<UpdateParticipantState>(message.payload);
  const bool own_word = update.participant == message.source;
  if (!facts_.is_group() || (!own_word && !(message.source == moderator_)) || is_self(update.participant)) {
    ++out_.refused().wrong_role;
    return;
  }
  if (slot == kNoSlot) {
    ++out_.refused().not_a_member;
    if (update.new_state == MemberStatus::kOffline) {
      first_time(message);
      reply(message, MessageType::kGroupAck, GroupAck{});  // so that its soft close need not wait for us
    } else {
      on_stranger(now, message);
    }
    return;
  }
  if (!first_time(message)) {
    return;
  }
  const MemberSlot subject = roster_.find(update.participant.hashed());
  if (update.new_state == MemberStatus::kOnline && group_ && update.epoch != group_->epoch()) {
    if (update.epoch < group_->epoch()) {
      reply(message, MessageType::kGroupNack, GroupNack{});
      return;
    }
    on_behind(now);
  }
  if (subject != kNoSlot) {
    set_status(now, subject, update.new_state, true);
  }
  reply(message, MessageType::kGroupAck, GroupAck{});
}

void Session::on_group_answer(TimeMs now, const SessionMessage& message, MemberSlot slot) {
  if (commands_.awaits(CommandPurpose::kStatus, message.source, message.message_id)) {
    if (message.type == MessageType::kGroupNack) {
      on_nack(now, message);
      return;
    }
    if (slot != kNoSlot && status_change_ == MemberStatus::kOnline) {
      set_status(now, slot, MemberStatus::kOnline, true);
    }
  }
  for (const CommandPurpose purpose : {CommandPurpose::kUpdate, CommandPurpose::kWelcome, CommandPurpose::kStatus, CommandPurpose::kResync,
                                       CommandPurpose::kClose}) {
    if (commands_.answered(purpose, message.source, message.message_id)) {
      return;
    }
  }
  ++out_.refused().unexpected_answer;
}

// --- members -----------------------------------------------------------------------------------------------------

MemberSlot Session::add_member(TimeMs now, const ParticipantInfo& info, bool fresh) {
  const bool there = roster_.contains(info.name);
  const MemberSlot slot = roster_.add(info);
  if (slot == kNoSlot || is_self(info.name)) {
    return slot;
  }
  if (!there) {
    out_.presence(info.name, PresenceChange::kJoined);
  }
  if (info.settings.receives && (!there || fresh)) {
    sender_.add_receiver(now, slot, info.name, fresh);
    sender_.set_online(now, slot, roster_[slot].status == MemberStatus::kOnline);
  }
  return slot;
}

void Session::drop_member(MemberSlot slot, PresenceChange change) {
  const FullName name = roster_[slot].name;
  sender_.remove_receiver(slot);
  receiver_.forget(slot, name, roster_[slot].from_slipway);
  commands_.forget(name);
  roster_.remove(slot);
  out_.presence(name, change);
}

void Session::apply_roster(TimeMs now, const std::vector<ParticipantInfo>& participants, const FullName& without, bool fresh) {
  std::unordered_set<Name, NameHash> listed;
  for (const ParticipantInfo& info : participants) {
    if (!(info.name == without)) {
      listed.insert(info.name.hashed());
    }
  }
  std::vector<MemberSlot> gone;
  roster_.for_each([&](MemberSlot slot, const Member& member) {
    if (!listed.contains(member.name.hashed()) && !is_self(member.name)) {
      gone.push_back(slot);
    }
  });
  for (const MemberSlot slot : gone) {
    drop_member(slot, roster_[slot].name == without ? PresenceChange::kRemoved : PresenceChange::kLeft);
  }
  for (const ParticipantInfo& info : participants) {
    if (!(info.name == without)) {
      add_member(now, info, fresh || !roster_.contains(info.name));
    }
  }
  beat_in_time(now);
}

void Session::beat_in_time(TimeMs now) { next_tick_ = std::min(next_tick_, now + heartbeat_ms(roster_, facts_.local)); }
void Session::begin_beats(TimeMs now) {
  if (const TimeMs wait = heartbeat_ms(roster_, facts_.local); wait > kHeartbeatMs) {
    next_tick_ = now + wait;
  }
}

void Session::set_status(TimeMs now, MemberSlot slot, MemberStatus status, bool by_own_word) {
  Member& member = roster_[slot];
  member.said_offline = by_own_word && status == MemberStatus::kOffline;
  if (member.status == status) {
    return;
  }
  member.status = status;
  member.misses = 0;
  sender_.set_online(now, slot, status == MemberStatus::kOnline);
  if (member.said_offline) {  // it will not answer these
    for (const CommandPurpose purpose : {CommandPurpose::kUpdate, CommandPurpose::kStatus, CommandPurpose::kResync}) {
      commands_.forget(member.name, purpose);
    }
  }
  out_.presence(member.name, status == MemberStatus::kOnline ? PresenceChange::kOnline : PresenceChange::kOffline);
}

std::vector<FullName> Session::online_others(const FullName& but) const {
  std::vector<FullName> names;
  roster_.for_each([&](MemberSlot, const Member& member) {
    if (member.status == MemberStatus::kOnline && !is_self(member.name) && !(member.name == but)) {
      names.push_back(member.name);
    }
  });
  return names;
}

// --- time ---------------------------------------------------------------------------------------------------------

void Session::advance(TimeMs now) {
  if (closed()) {
    return;
  }
  if (next_tick_ <= now) {
    next_tick_ = now + heartbeat_ms(roster_, facts_.local);
    tick(now);
  }
  sender_.advance(now);
  put_unreachable_offline(now);
  if (!offline_) {
    receiver_.advance(now);
  }
  commands_.advance(now);
  on_time(now);
  settle(now);
}

void Session::put_unreachable_offline(TimeMs now) {
  for (const MemberSlot slot : sender_.take_unreachable()) {
    if (roster_[slot].status == MemberStatus::kOnline) {
      set_status(now, slot, MemberStatus::kOffline, false);
    }
  }
}

void Session::tick(TimeMs now) {
  if (receiver_.delivered() != stored_delivered_) {
    store_progress();
  }
  bool all_take_data = true;
  roster_.for_each([&](MemberSlot, const Member& member) { all_take_data = all_take_data && (member.direction.receives || is_self(member.name)); });
  const bool reached_all = out_.take_reached_all(all_take_data);
  if (offline_ || !in_traffic()) {
    return;
  }
  roster_.for_each([&](MemberSlot slot, Member& member) {
    if (!is_self(member.name) && member.status == MemberStatus::kOnline && ++member.misses >= kHeartbeatMisses) {
      set_status(now, slot, MemberStatus::kOffline, false);
    }
  });
  if ((!reached_all || force_heartbeat_) && !control_.empty()) {
    SessionMessage beat = group_command(MessageType::kHeartbeat, Heartbeat{epoch()});
    stamp_version(beat);
    const MemberSlot moderator = roster_.find(moderator_.hashed());
    if (facts_.direction.sends && sender_.last_id() != 0 && moderator != kNoSlot && !roster_[moderator].direction.receives) {
      beat.metadata.insert_or_assign(std::string(metadata_key::kDataSent), std::to_string(sender_.last_id()));
    }
    out_.send(std::move(beat));
    force_heartbeat_ = false;
  }
}

std::optional<TimeMs> Session::next_deadline() {
  if (closed()) {
    return std::nullopt;
  }
  std::optional<TimeMs> best = next_tick_;
  sooner(best, sender_.next_deadline());
  if (!offline_) {
    sooner(best, receiver_.next_deadline());
  }
  sooner(best, commands_.next_deadline());
  sooner(best, role_deadline());
  if (drain_until_ != 0) {
    sooner(best, drain_until_);
  }
  return best;
}

void Session::settle(TimeMs now) {
  while (!closed()) {
    drain(now);
    after_event(now);
    const auto result = commands_.take_result();
    if (!result) {
      if (drain(now)) {  // a member that was taken out just now was the last that a message waited for
        continue;
      }
      store_what_changed();
      return;
    }
    if (result->purpose == CommandPurpose::kStatus) {
      status_changed(now);
    } else {
      on_result(now, *result);
    }
  }
}

bool Session::drain(TimeMs now) {
  const bool drained = sender_.idle() || (drain_until_ != 0 && now >= drain_until_);
  if (phase_ == Phase::kDraining && drained) {
    phase_ = Phase::kLeaving;
    drain_until_ = 0;
    begin_leaving(now);
    return true;
  }
  if (phase_ == Phase::kOpen && status_change_ && !status_sent_ && drained) {
    drain_until_ = 0;
    send_status(now);
    return true;
  }
  return false;
}

void Session::on_subscription(TimeMs now, const FullName& name, bool accepted) {
  if (!closed()) {
    on_role_subscription(now, name, accepted);
    settle(now);
  }
}

void Session::stop_sending(SessionFault fault) {
  stopped_ = fault;
  sender_.close(fault);
}

void Session::finish(CloseReason reason) {
  if (closed()) {
    return;
  }
  sender_.close(SessionFault::kClosed);
  commands_.cancel_all();
  on_end();
  if (status_change_) {
    out_.resolve(take_status_operation(), SessionError{SessionFault::kClosed, "changing the status"});
    status_change_.reset();
  }
  if (subscribed_) {
    subscribed_ = false;
    out_.push(UnsubscribeName{facts_.handle, channel_});
    out_.push(UnsubscribeName{facts_.handle, control_});
  }
  receiver_.end();
  phase_ = Phase::kClosed;
  out_.resolve(std::exchange(close_operation_, kNoOperation));
  if (std::exchange(kept_, false)) {  // nothing is written after this
    out_.push(ForgetSession{facts_.handle, store_key_});
  }
  out_.push(SessionClosed{facts_.handle, reason});
  out_.use_group(nullptr);
  group_.reset();
}

}  // namespace slipway
