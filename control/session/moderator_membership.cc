// How the moderator takes out, brings back, and renews keys.
#include <algorithm>

#include "session/moderator.h"
#include "session/session_bounds.h"

namespace slipway {

// --- taking out --------------------------------------------------------------------------------------------------

bool Moderator::commit_removal(TimeMs now, const ParticipantInfo& gone) {
  SharedBytes commit;
  if (group_) {
    auto removed = group_->remove(gone.name);
    if (removed) {
      commit = std::move(removed->commit);
    } else {
      ++out_.refused().bad_commit;
    }
    if (!commit) {
      return false;  // not in the tree: nobody's epoch changes
    }
  }
  ++last_commit_;
  ++roster_version_;
  if (roster_.size() < 2) {
    return false;
  }
  std::vector<ParticipantInfo> all = roster_.participants();
  all.push_back(gone);  // a removal's list still holds the removed
  send_update(now, {GroupOperation::kRemove, gone, std::move(all), std::nullopt}, commit, online_others());
  return true;
}

void Moderator::begin_remove(TimeMs now) {
  const MemberSlot slot = roster_.find_instance(task_->who);
  if (slot == kNoSlot || is_self(roster_[slot].name)) {
    fail_task(roster_.instances_of(task_->who) > 1 ? SessionFault::kAmbiguousName : SessionFault::kNotMember, "removing");
    return;
  }
  const ParticipantInfo gone{roster_[slot].name, roster_[slot].direction, roster_[slot].status};
  subject_ = gone.name;
  drop_member(slot, PresenceChange::kRemoved);
  step_ = Step::kRemoveCommit;
  if (!commit_removal(now, gone)) {
    send_leave(now);
  }
}

void Moderator::send_leave(TimeMs now) {
  step_ = Step::kRemoveLeave;
  SessionMessage message = command(MessageType::kLeaveRequest, subject_, LeaveRequest{});
  stamp_version(message);
  commands_.send(now, CommandPurpose::kLeave, std::move(message), {subject_});
}

void Moderator::on_member_leaves(TimeMs, const SessionMessage& message, MemberSlot slot) {
  first_time(message);
  reply(message, MessageType::kLeaveReply, LeaveReply{});  // also to who is none any more: so that it stops asking
  if (slot == kNoSlot) {
    return;
  }
  const ParticipantInfo gone{roster_[slot].name, roster_[slot].direction, MemberStatus::kOffline};
  drop_member(slot, PresenceChange::kLeft);
  if (!facts_.is_group()) {
    finish(close_operation_ != kNoOperation ? CloseReason::kByUs : CloseReason::kPeerLeft);
    return;
  }
  std::erase_if(tasks_, [&](const Task& task) { return task.kind == TaskKind::kRejoin && task.who == gone.name; });
  // Before what waits, which may be its return. As many as there are members at most.
  tasks_.push_front({TaskKind::kDisconnect, gone.name});
}

void Moderator::begin_disconnect(TimeMs now) {
  step_ = Step::kUpdate;
  if (!commit_removal(now, {task_->who, {}, MemberStatus::kOffline})) {
    end_task();
  }
}

// --- bringing back -----------------------------------------------------------------------------------------------

void Moderator::on_rejoin_request(TimeMs now, const SessionMessage& message, MemberSlot slot) {
  const auto& request = std::get<RejoinRequest>(message.payload);
  if (!(request.participant == message.source) || !group_ || !request.key_package) {
    ++out_.refused().malformed;
    return;
  }
  if (slot == kNoSlot) {
    ++out_.refused().not_a_member;
    on_stranger(now, message);
    return;
  }
  first_time(message);
  std::erase_if(tasks_, [&](const Task& task) { return task.kind == TaskKind::kRejoin && task.who == message.source; });
  Task task{TaskKind::kRejoin, message.source, kNoOperation, request.key_package, message};
  tasks_.push_back(std::move(task));
}

void Moderator::begin_rejoin(TimeMs now) {
  const MemberSlot slot = roster_.find(task_->who.hashed());
  if (slot == kNoSlot) {
    end_task();
    return;
  }
  auto replaced = group_->replace({task_->who, task_->key_package});
  if (!replaced) {
    ++out_.refused().bad_commit;
    end_task();  // it asks again
    return;
  }
  const ParticipantInfo was{roster_[slot].name, roster_[slot].direction, roster_[slot].status};
  ++last_commit_;
  ++roster_version_;
  reply(*task_->request, MessageType::kRejoinReply, RejoinReply{last_commit_, replaced->welcome});
  roster_[slot].missed_update = false;
  set_status(now, slot, MemberStatus::kOnline, true);
  step_ = Step::kUpdate;
  send_update(now, {GroupOperation::kRejoin, was, roster_.participants(), std::nullopt}, replaced->commit, online_others());
}

void Moderator::begin_refresh(TimeMs now) {
  auto refreshed = group_->refresh();
  if (!refreshed) {
    fail_task(SessionFault::kGroupRefused, "refreshing the keys of", std::move(refreshed.error()));
    return;
  }
  ++last_commit_;
  if (roster_.size() < 2) {
    end_task();
    return;
  }
  ++roster_version_;
  step_ = Step::kUpdate;
  const ParticipantInfo self{facts_.local, facts_.direction, MemberStatus::kOnline};
  send_update(now, {GroupOperation::kRejoin, self, roster_.participants(), std::nullopt}, refreshed->commit, online_others());
}

void Moderator::send_update(TimeMs now, GroupUpdate update, SharedBytes commit, std::vector<FullName> awaited) {
  if (group_) {
    update.mls = MlsPayload{last_commit_, std::move(commit)};
  }
  SessionMessage message = group_command(MessageType::kGroupUpdate, std::move(update));
  stamp_version(message);
  commands_.send(now, CommandPurpose::kUpdate, std::move(message), std::move(awaited));
}

}  // namespace slipway
