// How the moderator takes out, brings back, and renews keys.
#include <algorithm>

#include "session/moderator.h"
#include "session/roster_delta.h"
#include "session/session_bounds.h"

namespace slipway {

// --- taking out --------------------------------------------------------------------------------------------------

std::expected<SharedBytes, std::string> Moderator::take_leaf_out(const FullName& name) {
  if (!group_) {
    return nullptr;
  }
  auto removed = group_->remove(name);
  if (!removed) {
    ++out_.refused().bad_commit;
    return std::unexpected(std::move(removed.error()));
  }
  return std::move(removed->commit);
}

bool Moderator::announce_removal(TimeMs now, const ParticipantInfo& gone, SharedBytes commit) {
  beat_in_time(now);
  if (group_ && !commit) {
    return false;  // it was not in the tree: nobody's epoch changes
  }
  ++last_commit_;
  ++roster_version_;
  store(true);
  if (roster_.size() < 2) {
    return false;
  }
  std::vector<ParticipantInfo> all = roster_.participants();
  all.push_back(gone);  // a removal's list still holds the removed
  send_update(now, {GroupOperation::kRemove, gone, std::move(all), std::nullopt}, std::move(commit), online_others());
  return true;
}

void Moderator::try_again_later(TimeMs now) {
  retry_at_ = now + kRefusedCommitMs;
  tasks_.push_front(std::move(*task_));
  task_.reset();
  step_ = Step::kIdle;
}

// Whoever left a moment ago may still have a leaf: those who come in, or in again, are told whose it is.
std::vector<ParticipantInfo> Moderator::participants_and_leaves() const {
  std::vector<ParticipantInfo> all = roster_.participants();
  for (const Task& task : tasks_) {
    if (task.kind == TaskKind::kDisconnect && all.size() < kMaxSessionMembers && !roster_.contains(task.who)) {
      all.push_back({task.who, {}, MemberStatus::kOffline});
    }
  }
  return all;
}

void Moderator::begin_remove(TimeMs now) {
  const MemberSlot slot = roster_.find_instance(task_->who);
  if (slot == kNoSlot || is_self(roster_[slot].name)) {
    fail_task(roster_.instances_of(task_->who) > 1 ? SessionFault::kAmbiguousName : SessionFault::kNotMember, "removing");
    return;
  }
  const ParticipantInfo gone{roster_[slot].name, roster_[slot].direction, roster_[slot].status};
  auto commit = take_leaf_out(gone.name);
  if (!commit) {
    fail_task(SessionFault::kGroupRefused, "removing", std::move(commit.error()));
    return;
  }
  subject_ = gone.name;
  drop_member(slot, PresenceChange::kRemoved);
  step_ = Step::kRemoveCommit;
  if (!announce_removal(now, gone, std::move(*commit))) {
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
  // A copy from before it was let in again must not end the new membership.
  if (slot == kNoSlot || (version_of(message) != 0 && version_of(message) < roster_[slot].since_version)) {
    return;
  }
  const ParticipantInfo gone{roster_[slot].name, roster_[slot].direction, MemberStatus::kOffline};
  note_change();
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
  auto commit = take_leaf_out(task_->who);
  if (!commit) {
    try_again_later(now);
  } else if (!announce_removal(now, {task_->who, {}, MemberStatus::kOffline}, std::move(*commit))) {
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
  // Whoever is behind, or was restarted, cannot acknowledge what the others wait for: its own return tells it all of that.
  commands_.forget(message.source, CommandPurpose::kUpdate);
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
  store(true);
  SessionMessage answer = out_.compose(MessageType::kRejoinReply, task_->request->message_id, task_->request->source);
  answer.payload = RejoinReply{last_commit_, replaced->welcome};
  stamp_version(answer);
  reply(*task_->request, std::move(answer));
  roster_[slot].missed_update = false;
  set_status(now, slot, MemberStatus::kOnline, true);
  step_ = Step::kUpdate;
  send_update(now, {GroupOperation::kRejoin, was, participants_and_leaves(), std::nullopt}, replaced->commit, online_others());
}

void Moderator::begin_refresh(TimeMs now) {
  auto refreshed = group_->refresh();
  if (!refreshed) {
    fail_task(SessionFault::kGroupRefused, "refreshing the keys of", std::move(refreshed.error()));
    return;
  }
  ++last_commit_;
  ++roster_version_;
  store(true);
  announce_self(now, refreshed->commit);
}

void Moderator::announce_self(TimeMs now, SharedBytes commit) {
  if (roster_.size() < 2) {
    end_task();
    return;
  }
  step_ = Step::kUpdate;
  const ParticipantInfo self{facts_.local, facts_.direction, MemberStatus::kOnline};
  send_update(now, {GroupOperation::kRejoin, self, roster_.participants(), std::nullopt}, std::move(commit), online_others());
}

void Moderator::send_update(TimeMs now, GroupUpdate update, SharedBytes commit, std::vector<FullName> awaited, std::size_t added) {
  if (group_) {
    update.mls = MlsPayload{last_commit_, std::move(commit)};
  }
  SessionMessage message = group_command(MessageType::kGroupUpdate, std::move(update));
  stamp_version(message);
  if (added != 0) {
    message.metadata.insert_or_assign(std::string(kRosterAddedKey), std::to_string(added));
  }
  commands_.send(now, CommandPurpose::kUpdate, std::move(message), std::move(awaited));
}

}  // namespace slipway
