// How a participant comes back: out of step with its group, or after a restart.
#include <algorithm>

#include "session/participant.h"
#include "session/session_bounds.h"

namespace slipway {

// --- back into step ----------------------------------------------------------------------------------------------

Session::Call Participant::refresh_keys(TimeMs now, OperationId operation) {
  if (!group_) {
    return std::unexpected(SessionError{SessionFault::kWrongKind, "refreshing the keys of a session without MLS"});
  }
  if (phase_ != Phase::kOpen || stopped_ || state_ != State::kActive || offline_) {
    return std::unexpected(SessionError{offline_ ? SessionFault::kOffline : stopped_.value_or(SessionFault::kNotReady), "refreshing the keys"});
  }
  if (rejoin_operations_.size() >= kMaxOpenCommands) {
    return std::unexpected(SessionError{SessionFault::kQueueFull, "refreshing the keys"});
  }
  if (operation != kNoOperation) {
    rejoin_operations_.push_back(operation);
  }
  start_rejoin(now);
  return {};
}

void Participant::on_behind(TimeMs now) {
  if (!behind_) {
    behind_ = true;
    if (!busy() && next_rejoin_ <= now) {
      start_rejoin(now);
    }
  }
}

void Participant::on_nack(TimeMs now, const SessionMessage&) {
  commands_.cancel(CommandPurpose::kStatus);
  abandon_status_change();
  if (const OperationId operation = take_status_operation(); operation != kNoOperation) {
    rejoin_operations_.push_back(operation);
  }
  behind_ = true;
  start_rejoin(now);
}

void Participant::start_rejoin(TimeMs now) {
  if (busy() || !group_ || phase_ == Phase::kLeaving || stopped_) {
    return;
  }
  const auto package = group_->key_package();
  if (!package) {
    rejoin_failed(now, "making a key package");
    return;
  }
  next_rejoin_ = 0;
  unanswered_rejoin_.reset();
  commands_.send(now, CommandPurpose::kRejoin, command(MessageType::kRejoinRequest, moderator_, RejoinRequest{facts_.local, *package}),
                 {moderator_});
}

void Participant::on_rejoin_reply(TimeMs now, const SessionMessage& message) {
  // A moderator that has others to let in before us answers late, and with keys for what we asked then: asking anew when many do
  // could go on for ever.
  const bool late = unanswered_rejoin_ == message.message_id && message.source == moderator_;
  if (!late && !commands_.answered(CommandPurpose::kRejoin, message.source, message.message_id)) {
    ++out_.refused().unexpected_answer;
    return;
  }
  unanswered_rejoin_.reset();
  commands_.cancel(CommandPurpose::kRejoin);
  first_time(message);
  reply(message, MessageType::kGroupAck, GroupAck{});
  const std::uint64_t version = version_of(message);
  readmission_ = {std::get<RejoinReply>(message.payload), version >> kRosterLifeBit, now + kCommitGapMs + facts_.control.timeout_ms};
  const bool changes_missed = version > roster_version_ + 1;  // more than our own return
  if (!changes_missed && let_in_again(now)) {
    return;
  }
  const bool list_is_to_come = facts_.is_group() && (version == 0 || version > roster_version_);  // upstream's say no version
  if (!list_is_to_come || !readmission_->answer.mls_content) {
    not_let_in(now);
  }
}

bool Participant::let_in_again(TimeMs now) {
  std::vector<FullName> members;
  roster_.for_each([&](MemberSlot, const Member& member) { members.push_back(member.name); });
  const RejoinReply& answer = readmission_->answer;
  if (!answer.mls_content || !group_->join(*answer.mls_content, members)) {
    return false;
  }
  last_commit_ = answer.commit_id;
  life_ = std::max(life_, readmission_->life);
  readmission_.reset();
  note_change();
  behind_ = false;
  offline_ = false;
  gap_deadline_ = 0;
  rejoin_pause_ms_ = 0;
  next_rejoin_ = 0;
  if (resuming()) {
    resume(now);
  }
  for (const OperationId operation : std::exchange(rejoin_operations_, {})) {
    out_.resolve(operation);
  }
  std::erase_if(stored_, [this](const auto& kept) { return kept.first <= last_commit_; });
  follow_stored(now);
  return true;
}

void Participant::not_let_in(TimeMs now) {
  ++out_.refused().bad_commit;
  readmission_.reset();
  behind_ = true;
  rejoin_failed(now, "joining again");
}

void Participant::rejoin_failed(TimeMs now, const char* why) {
  for (const OperationId operation : std::exchange(rejoin_operations_, {})) {
    out_.resolve(operation, SessionError{SessionFault::kRejoinFailed, why});
  }
  rejoin_pause_ms_ = std::clamp(rejoin_pause_ms_ * 2, kRejoinBackoffMinMs, kRejoinBackoffMaxMs);
  next_rejoin_ = now + rejoin_pause_ms_;
}

void Participant::forget_rejoin() {
  unanswered_rejoin_.reset();
  readmission_.reset();
}

void Participant::on_member_heartbeat(TimeMs now, MemberSlot slot, const Heartbeat&, std::uint64_t version) {
  // Its first commit of this life is on the way to us, or got lost, or does not follow what we know.
  if (group_ && roster_[slot].name == moderator_ && version >> kRosterLifeBit > life_ && gap_deadline_ == 0 && !resuming()) {
    gap_deadline_ = now + kCommitGapMs;
  }
}

// --- after a restart -----------------------------------------------------------------------------------------------

Participant::Participant(TimeMs now, SessionParts parts, const SessionRecord& record, const SessionProgress& progress)
    : Session(now, std::move(parts)) {
  take_up(now, record, progress);
  last_commit_ = record.last_commit;
  life_ = record.roster_version >> kRosterLifeBit;
}

std::unique_ptr<Participant> Participant::restore(TimeMs now, SessionParts parts, const SessionRecord& record, const SessionProgress& progress) {
  std::unique_ptr<Participant> participant(new Participant(now, std::move(parts), record, progress));
  if (participant->facts_.is_group()) {
    participant->state_ = State::kSubscribing;
    participant->subscribed_ = true;
    participant->subscriptions_left_ = 2;
    participant->out_.push(SubscribeName{participant->facts_.handle, participant->channel_});
    participant->out_.push(SubscribeName{participant->facts_.handle, participant->control_});
  } else {
    participant->come_again(now);
  }
  return participant;
}

void Participant::come_again(TimeMs now) {
  state_ = State::kActive;
  if (group_) {
    behind_ = true;
    start_rejoin(now);  // what we send waits until we have keys again
    return;
  }
  resume(now);
  if (facts_.is_group()) {
    say_online(now);
  }
}

}  // namespace slipway
