#include "session/participant.h"

#include <algorithm>

#include "session/large_channels.h"
#include "session/roster_delta.h"
#include "session/session_bounds.h"

namespace slipway {

Participant::Participant(TimeMs now, SessionParts parts, const SessionMessage& request) : Session(now, std::move(parts)) {
  const auto& join = std::get<JoinRequest>(request.payload);
  moderator_ = request.source;
  channel_ = join.channel ? *join.channel : request.source;
  control_ = join.control ? *join.control : request.source;
  sender_.set_destination(channel_);
  give_up_at_ = now + kWelcomeDeadlineMs;
}

std::unique_ptr<Participant> Participant::join(TimeMs now, SessionParts parts, const SessionMessage& request) {
  std::unique_ptr<Participant> participant(new Participant(now, std::move(parts), request));
  return participant->answer_join(request) ? std::move(participant) : nullptr;
}

bool Participant::answer_join(const SessionMessage& request) {
  if (group_ && (!key_package_ || state_ != State::kJoining)) {
    auto package = group_->key_package();
    if (!package) {
      ++out_.refused().bad_commit;
      return false;
    }
    key_package_ = std::move(*package);
  }
  first_time(request);
  reply(request, MessageType::kJoinReply, JoinReply{key_package_, {facts_.local, facts_.direction, MemberStatus::kOnline}});
  return true;
}

void Participant::on_role_command(TimeMs now, const SessionMessage& message, MemberSlot) {
  const MessageType type = message.type;
  if (type == MessageType::kDiscoveryRequest || type == MessageType::kDiscoveryReply || type == MessageType::kJoinReply ||
      type == MessageType::kRejoinRequest || type == MessageType::kGroupProposal) {
    ++out_.refused().wrong_role;
    return;
  }
  if (!(message.source == moderator_)) {
    ++out_.refused().not_moderator;
    return;
  }
  switch (type) {
    case MessageType::kJoinRequest:
      if (state_ == State::kJoining) {
        give_up_at_ = now + kWelcomeDeadlineMs;  // we are still wanted: others go first
      }
      answer_join(message);
      break;
    case MessageType::kGroupWelcome: on_welcome(now, message); break;
    case MessageType::kGroupUpdate: on_update(now, message); break;
    case MessageType::kLeaveRequest: on_leave_request(now, message); break;
    case MessageType::kGroupClose: on_close(now, message); break;
    case MessageType::kRejoinReply: on_rejoin_reply(now, message); break;
    case MessageType::kLeaveReply:
      if (!commands_.answered(CommandPurpose::kLeave, message.source, message.message_id)) {
        ++out_.refused().unexpected_answer;
      }
      break;
    default: ++out_.refused().wrong_role;
  }
}

// --- joining -----------------------------------------------------------------------------------------------------

void Participant::on_welcome(TimeMs now, const SessionMessage& message) {
  const auto& welcome = std::get<GroupWelcome>(message.payload);
  const bool lists_moderator = std::ranges::any_of(welcome.participants, [this](const auto& p) { return p.name == moderator_; });
  if (phase_ == Phase::kLeaving || state_ == State::kSubscribing || !lists_moderator || welcome.mls.has_value() != facts_.mls.has_value() ||
      welcome.participants.size() > kMaxSessionMembers) {
    ++out_.refused().wrong_state;
    return;
  }
  if (version_of(message) != 0 && version_of(message) <= roster_version_) {  // a late copy of one that was outrun
    ++out_.refused().wrong_state;
    return;
  }
  if (group_) {
    std::vector<FullName> members;
    for (const ParticipantInfo& info : welcome.participants) {
      members.push_back(info.name);
    }
    if (!welcome.mls->content || !group_->join(*welcome.mls->content, members)) {
      ++out_.refused().bad_commit;
      return;
    }
    last_commit_ = welcome.mls->commit_id;
    std::erase_if(stored_, [this](const auto& kept) { return kept.first <= last_commit_; });
  }
  first_time(message);
  if (const std::uint64_t after = number_in(message, metadata_key::kDataAfter); after <= kMaxDataId && after > sender_.last_id()) {
    sender_.continue_after(static_cast<std::uint32_t>(after));
  }
  key_package_ = nullptr;
  behind_ = false;
  forget_rejoin();
  roster_version_ = version_of(message);
  life_ = roster_version_ >> kRosterLifeBit;
  apply_roster(now, welcome.participants, {}, true);
  if (const MemberSlot slot = roster_.find(moderator_.hashed()); slot != kNoSlot) {
    roster_[slot].from_slipway = message.from_slipway;
  }
  if (has_mark(message.metadata, kAllOursKey)) {
    roster_.for_each([](MemberSlot, Member& member) { member.from_slipway = true; });
    if (state_ == State::kJoining) {
      begin_beats(now);
    }
  }
  welcome_ = message;
  if (resuming()) {
    resume(now);
  }
  if (!facts_.is_group() || state_ == State::kActive) {  // let in again without having noticed that we were out
    stopped_.reset();
    enter(now);
    return;
  }
  state_ = State::kSubscribing;
  subscribed_ = true;
  subscriptions_left_ = 2;
  out_.push(SubscribeName{facts_.handle, channel_});
  out_.push(SubscribeName{facts_.handle, control_});
}

void Participant::on_role_subscription(TimeMs now, const FullName& name, bool accepted) {
  if (state_ != State::kSubscribing || phase_ == Phase::kLeaving || !(name == channel_ || name == control_)) {
    return;
  }
  if (!accepted && resuming()) {
    keep_for_later();  // perhaps the next start finds a node that lets us in
    finish(CloseReason::kSetupFailed);
  } else if (!accepted) {
    phase_ = Phase::kLeaving;
    begin_leaving(now);
  } else if (--subscriptions_left_ == 0) {
    resuming() ? come_again(now) : enter(now);
  }
}

void Participant::enter(TimeMs now) {
  const bool opened = state_ != State::kActive;
  state_ = State::kActive;
  give_up_at_ = 0;
  gap_deadline_ = 0;
  enter_group_traffic();
  reply(*welcome_, MessageType::kGroupAck, GroupAck{});
  welcome_.reset();
  store(false);
  if (opened) {
    out_.push(SessionOpened{facts_.handle});
  }
  follow_stored(now);
}

// --- the moderator's changes -----------------------------------------------------------------------------------------

void Participant::on_update(TimeMs now, const SessionMessage& message) {
  const auto& update = std::get<GroupUpdate>(message.payload);
  if (state_ == State::kJoining || phase_ == Phase::kLeaving || stopped_ == SessionFault::kRemoved) {
    ++out_.refused().wrong_state;
    return;
  }
  if (!facts_.is_group() && update.operation != GroupOperation::kRejoin) {
    ++out_.refused().wrong_kind;
    return;
  }
  const bool about_self = is_self(update.participant.name);
  if (about_self && update.operation == GroupOperation::kRejoin) {
    first_time(message);
    apply_update(now, message);
    if (message.from_slipway) {
      reply(message, MessageType::kGroupAck, GroupAck{});
    }
    if (readmission_ && update.mls && update.mls->commit_id >= readmission_->answer.commit_id && !let_in_again(now)) {
      not_let_in(now);
    }
    return;
  }
  if (group_ && !follow_commit(now, message)) {
    return;
  }
  first_time(message);
  apply_update(now, message);
  reply(message, MessageType::kGroupAck, GroupAck{});
  follow_stored(now);
}

// True: the update's commit is processed, now or before. False: it waits, or was refused.
bool Participant::follow_commit(TimeMs now, const SessionMessage& message) {
  const auto& update = std::get<GroupUpdate>(message.payload);
  if (!update.mls || !update.mls->content) {
    ++out_.refused().malformed;
    return false;
  }
  const std::uint32_t commit_id = update.mls->commit_id;
  const std::uint64_t life = version_of(message) >> kRosterLifeBit;
  if (commit_id <= last_commit_ && life > life_) {  // that number was another commit's
    on_behind(now);
    return false;
  }
  if (commit_id <= last_commit_) {
    return true;
  }
  if (commit_id != last_commit_ + 1 || state_ != State::kActive || resuming()) {
    if (stored_.size() < kStoredCommits || stored_.contains(commit_id)) {
      stored_.insert_or_assign(commit_id, message);
    } else {
      ++out_.refused().no_room;
    }
    if (gap_deadline_ == 0 && state_ == State::kActive && !resuming()) {
      gap_deadline_ = now + kCommitGapMs;
    }
    return false;
  }
  std::vector<FullName> named;
  if (update.operation != GroupOperation::kRemove) {
    named.push_back(update.participant.name);
    for (const ParticipantInfo& info : update.participants) {
      named.push_back(info.name);
    }
  }
  const auto effect = group_->process(*update.mls->content, named);
  if (!effect) {
    ++out_.refused().bad_commit;
    on_behind(now);
    return false;
  }
  last_commit_ = commit_id;
  life_ = std::max(life_, life);
  note_change();
  if (*effect == CommitEffect::kRemovedSelf) {
    removed_from_group(now);
  }
  return true;
}

void Participant::follow_stored(TimeMs now) {
  while (!closed() && state_ == State::kActive && !resuming()) {
    const auto next = stored_.begin();
    if (next == stored_.end()) {
      gap_deadline_ = 0;
      return;
    }
    if (next->first > last_commit_ + 1) {
      if (gap_deadline_ == 0 && !stopped_) {
        gap_deadline_ = now + kCommitGapMs;
      }
      return;
    }
    const SessionMessage message = std::move(next->second);
    stored_.erase(next);
    if (message.source == moderator_ && !replies_.has_seen(message) && follow_commit(now, message)) {
      first_time(message);
      apply_update(now, message);
      reply(message, MessageType::kGroupAck, GroupAck{});
    }
  }
}

void Participant::apply_update(TimeMs now, const SessionMessage& message) {
  const auto& update = std::get<GroupUpdate>(message.payload);
  const std::uint64_t version = version_of(message);
  if (version != 0 && version <= roster_version_) {
    return;  // a late copy: what it says is older than what we have
  }
  if (const std::uint64_t added = number_in(message, kRosterAddedKey); added != 0) {
    take_in_added(now, message, added);
    return;
  }
  note_change();
  const bool next_version = version == roster_version_ + 1;  // nothing was missed: the change says all
  roster_version_ = std::max(roster_version_, version);
  const FullName& subject = update.participant.name;
  const bool removal = update.operation == GroupOperation::kRemove;
  if (removal && is_self(subject)) {
    removed_from_group(now);
    return;
  }
  if (update.participants.size() > kMaxSessionMembers) {
    ++out_.refused().oversized;
    return;
  }
  if (!update.participants.empty() && (!next_version || is_self(subject))) {
    apply_roster(now, update.participants, removal ? subject : FullName{}, false);
  } else if (removal) {
    if (const MemberSlot slot = roster_.find(subject.hashed()); slot != kNoSlot) {
      drop_member(slot, PresenceChange::kRemoved);
    }
  }
  if (!removal && !is_self(subject)) {
    const MemberSlot slot = add_member(now, {subject, update.participant.settings, MemberStatus::kOnline}, update.operation == GroupOperation::kAdd);
    if (slot != kNoSlot) {
      set_status(now, slot, MemberStatus::kOnline, true);
    }
  }
  beat_in_time(now);
}

void Participant::take_in_added(TimeMs now, const SessionMessage& message, std::uint64_t added) {
  const auto& update = std::get<GroupUpdate>(message.payload);
  if (version_of(message) != roster_version_ + added || update.operation != GroupOperation::kAdd || update.participants.size() != added) {
    return;  // something was missed: our next heartbeat says so, and we are told all
  }
  note_change();
  roster_version_ = version_of(message);
  for (const ParticipantInfo& info : update.participants) {
    const MemberSlot slot = is_self(info.name) ? kNoSlot : add_member(now, info, true);
    if (slot != kNoSlot) {
      roster_[slot].from_slipway = true;
      set_status(now, slot, MemberStatus::kOnline, true);
    }
  }
}

void Participant::removed_from_group(TimeMs now) {
  if (stopped_ != SessionFault::kRemoved) {
    stop_sending(SessionFault::kRemoved);
    commands_.cancel(CommandPurpose::kRejoin);
    forget_rejoin();
    behind_ = false;
    gap_deadline_ = 0;
    give_up_at_ = now + kRemovedDeadlineMs;  // the moderator's leave request ends it sooner
  }
}

void Participant::on_leave_request(TimeMs, const SessionMessage& message) {
  // A copy from before we were let in again must not end the new membership.
  if (has_mark(message.metadata, metadata_key::kLeaving) || (version_of(message) != 0 && version_of(message) < roster_version_)) {
    ++out_.refused().wrong_state;
    return;
  }
  first_time(message);
  reply(message, MessageType::kLeaveReply, LeaveReply{});
  finish(close_operation_ != kNoOperation ? CloseReason::kByUs : CloseReason::kRemoved);
}

void Participant::on_close(TimeMs, const SessionMessage& message) {
  first_time(message);
  reply(message, MessageType::kGroupAck, GroupAck{});
  finish(close_operation_ != kNoOperation ? CloseReason::kByUs : CloseReason::kByModerator);
}

// --- leaving and time ----------------------------------------------------------------------------------------------

void Participant::begin_leaving(TimeMs now) {
  if (subscribed_) {
    subscribed_ = false;
    out_.push(UnsubscribeName{facts_.handle, channel_});
    out_.push(UnsubscribeName{facts_.handle, control_});
  }
  if (state_ == State::kJoining) {
    finish(CloseReason::kByUs);
    return;
  }
  commands_.cancel_all();
  forget_rejoin();
  SessionMessage farewell = command(MessageType::kLeaveRequest, moderator_, LeaveRequest{});
  farewell.metadata.emplace(metadata_key::kLeaving, metadata_key::kTrue);
  stamp_version(farewell);
  commands_.send(now, CommandPurpose::kLeave, std::move(farewell), {moderator_});
}

void Participant::on_result(TimeMs now, const CommandResult& result) {
  if (result.purpose == CommandPurpose::kLeave) {
    finish(state_ == State::kActive ? CloseReason::kByUs : CloseReason::kSetupFailed);
  } else if (result.purpose == CommandPurpose::kRejoin && !result.missing.empty()) {
    unanswered_rejoin_ = result.id;
    rejoin_failed(now, "asking the moderator to be let in again");
  }
}

void Participant::on_time(TimeMs now) {
  if (give_up_at_ != 0 && now >= give_up_at_) {
    finish(stopped_ == SessionFault::kRemoved ? CloseReason::kRemoved : CloseReason::kSetupFailed);
    return;
  }
  if (gap_deadline_ != 0 && now >= gap_deadline_) {
    gap_deadline_ = 0;
    on_behind(now);
  }
  if (readmission_ && now >= readmission_->until) {
    not_let_in(now);  // who is in was never said
  }
  if (behind_ && !offline_ && next_rejoin_ != 0 && now >= next_rejoin_) {
    next_rejoin_ = 0;
    start_rejoin(now);
  }
}

std::optional<TimeMs> Participant::role_deadline() const {
  std::optional<TimeMs> best;
  for (const TimeMs at : {give_up_at_, gap_deadline_, behind_ && !offline_ ? next_rejoin_ : TimeMs{0},
                          readmission_ ? readmission_->until : TimeMs{0}}) {
    if (at != 0) {
      sooner(best, at);
    }
  }
  return best;
}

void Participant::on_end() {
  for (const OperationId operation : std::exchange(rejoin_operations_, {})) {
    out_.resolve(operation, SessionError{SessionFault::kClosed, "joining again"});
  }
}

}  // namespace slipway
