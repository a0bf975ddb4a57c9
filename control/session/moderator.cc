// The moderator's calls, its queue, and what it hears.
#include "session/moderator.h"

#include <algorithm>

#include "session/session_bounds.h"

namespace slipway {

Moderator::Moderator(TimeMs now, SessionParts parts, const FullName& channel, const FullName& control)
    : Session(now, std::move(parts)) {
  moderator_ = facts_.local;
  channel_ = channel;
  control_ = control;
  roster_version_ = 1;  // 0 is none: what was said before anybody came in would never be old
  sender_.set_destination(channel_);
  roster_.add({facts_.local, facts_.direction, MemberStatus::kOnline});
  store(false);
}

Moderator::Moderator(TimeMs now, SessionParts parts, const FullName& peer, OperationId operation, bool found) : Session(now, std::move(parts)) {
  moderator_ = facts_.local;
  channel_ = peer;
  roster_.add({facts_.local, facts_.direction, MemberStatus::kOnline});
  tasks_.push_back({.kind = TaskKind::kInvite, .who = peer, .operation = operation, .key_package = nullptr, .request = {}, .found = found});
  run_tasks(now);
}

// --- calls -----------------------------------------------------------------------------------------------------

Session::Call Moderator::check_change(const char* doing, const FullName& name) const {
  const std::string about = std::string(doing) + " " + name.shown();
  if (!facts_.is_group()) {
    return std::unexpected(SessionError{SessionFault::kWrongKind, about});
  }
  if (phase_ != Phase::kOpen) {
    return std::unexpected(SessionError{closed() ? SessionFault::kClosed : SessionFault::kClosing, about});
  }
  if (offline_) {
    return std::unexpected(SessionError{SessionFault::kOffline, about});
  }
  if (name.empty() || is_self(name)) {
    return std::unexpected(SessionError{SessionFault::kBadName, about});
  }
  return {};
}

Session::Call Moderator::enqueue(Task task) {
  if (tasks_.size() >= kMaxTasks) {
    return std::unexpected(SessionError{SessionFault::kQueueFull, "changing the group"});
  }
  tasks_.push_back(std::move(task));
  return {};
}

Session::Call Moderator::invite(TimeMs now, const FullName& name, OperationId operation) {
  if (auto fits = check_change("inviting", name); !fits) {
    return fits;
  }
  if (auto queued = enqueue({TaskKind::kInvite, name, operation}); !queued) {
    return queued;
  }
  run_tasks(now);
  return {};
}

Session::Call Moderator::remove(TimeMs now, const FullName& name, OperationId operation) {
  if (auto fits = check_change("removing", name); !fits) {
    return fits;
  }
  if (auto queued = enqueue({TaskKind::kRemove, name, operation}); !queued) {
    return queued;
  }
  run_tasks(now);
  return {};
}

Session::Call Moderator::refresh_keys(TimeMs now, OperationId operation) {
  if (!group_) {
    return std::unexpected(SessionError{SessionFault::kWrongKind, "refreshing the keys of a session without MLS"});
  }
  if (phase_ != Phase::kOpen || offline_ || !group_created_) {
    const SessionFault fault = closed() ? SessionFault::kClosed : offline_ ? SessionFault::kOffline : SessionFault::kNotReady;
    return std::unexpected(SessionError{phase_ == Phase::kOpen || closed() ? fault : SessionFault::kClosing, "refreshing the keys"});
  }
  if (auto queued = enqueue({TaskKind::kRefresh, facts_.local, operation}); !queued) {
    return queued;
  }
  run_tasks(now);
  return {};
}

// --- the queue ---------------------------------------------------------------------------------------------------

void Moderator::run_tasks(TimeMs now) {
  // Not while we are about to go: a change would be left half-way.
  while (!task_ && !tasks_.empty() && !offline_ && !returning_ && !status_changing() && (phase_ == Phase::kOpen || phase_ == Phase::kDraining)) {
    const auto next = std::ranges::find_if(tasks_, [&](const Task& task) { return now >= retry_at_ || task.kind != TaskKind::kDisconnect; });
    if (next == tasks_.end() || (next->kind == TaskKind::kReturn && now < retry_at_)) {
      return;
    }
    task_ = std::move(*next);
    tasks_.erase(next);
    subject_ = {};
    update_done_ = false;
    switch (task_->kind) {
      case TaskKind::kInvite: begin_invites(now); break;
      case TaskKind::kRemove: begin_remove(now); break;
      case TaskKind::kDisconnect: begin_disconnect(now); break;
      case TaskKind::kRejoin: begin_rejoin(now); break;
      case TaskKind::kRefresh: begin_refresh(now); break;
      case TaskKind::kReturn: begin_return(now); break;
    }
  }
}

std::optional<TimeMs> Moderator::role_deadline() const {
  std::optional<TimeMs> best;
  if (put_off_at_ != 0) {
    best = put_off_at_;
  }
  const auto waits = [](const Task& task) { return task.kind == TaskKind::kDisconnect || task.kind == TaskKind::kReturn; };
  if (retry_at_ != 0 && !task_ && std::ranges::any_of(tasks_, waits)) {
    sooner(best, retry_at_);
  }
  return best;
}

void Moderator::end_task(std::optional<SessionError> error) {
  out_.resolve(task_->operation, std::move(error));
  task_.reset();
  step_ = Step::kIdle;
}

void Moderator::fail_task(SessionFault fault, const char* doing, std::string detail) {
  std::string about = std::string(doing) + " " + task_->who.shown();
  if (!detail.empty()) {
    about += ": " + detail;
  }
  end_task(SessionError{fault, std::move(about)});
}

// --- what is heard -----------------------------------------------------------------------------------------------

void Moderator::on_role_command(TimeMs now, const SessionMessage& message, MemberSlot slot) {
  switch (message.type) {
    case MessageType::kDiscoveryReply: on_discovery_reply(now, message); break;
    case MessageType::kJoinReply: on_join_reply(now, message); break;
    case MessageType::kLeaveReply:
      if (!commands_.answered(CommandPurpose::kLeave, message.source, message.message_id) &&
          !commands_.answered(CommandPurpose::kEvict, message.source, message.message_id)) {
        ++out_.refused().unexpected_answer;
      }
      break;
    case MessageType::kLeaveRequest:
      if (has_mark(message.metadata, metadata_key::kLeaving)) {
        on_member_leaves(now, message, slot);
      } else {
        ++out_.refused().wrong_role;
      }
      break;
    case MessageType::kRejoinRequest: on_rejoin_request(now, message, slot); break;
    default: ++out_.refused().wrong_role;
  }
}

void Moderator::on_result(TimeMs now, const CommandResult& result) {
  const bool answered = result.missing.empty();
  switch (result.purpose) {
    case CommandPurpose::kDiscovery:
    case CommandPurpose::kJoin:
    case CommandPurpose::kWelcome: on_invite_result(now, result); break;
    case CommandPurpose::kUpdate: on_update_result(now, result); break;
    case CommandPurpose::kLeave:
      if (step_ == Step::kRemoveLeave) {
        answered ? end_task() : fail_task(SessionFault::kLeaveUnconfirmed, "removing");
      }
      break;
    case CommandPurpose::kResync:
      if (!answered) {
        for (const FullName& name : result.missing) {
          if (const MemberSlot slot = roster_.find(name.hashed()); slot != kNoSlot) {
            roster_[slot].missed_update = true;
          }
        }
      }
      break;
    case CommandPurpose::kClose: finish(CloseReason::kByUs); break;
    case CommandPurpose::kEvict:
    case CommandPurpose::kStatus:
    case CommandPurpose::kRejoin: break;
  }
}

void Moderator::on_update_result(TimeMs now, const CommandResult& result) {
  for (const FullName& name : result.missing) {
    if (const MemberSlot slot = roster_.find(name.hashed()); slot != kNoSlot) {
      roster_[slot].missed_update = true;
      set_status(now, slot, MemberStatus::kOffline, false);
    }
  }
  update_done_ = true;
  switch (step_) {
    case Step::kAdd: finish_invites(); break;
    case Step::kRemoveCommit: send_leave(now); break;
    case Step::kUpdate: end_task(); break;
    default: break;
  }
}

void Moderator::on_member_heartbeat(TimeMs now, MemberSlot slot, const Heartbeat& heartbeat, std::uint64_t version) {
  Member& member = roster_[slot];
  const bool out_of_step = version != 0 ? version < roster_version_ : member.missed_update && !group_;
  const bool same_epoch = !group_ || heartbeat.epoch == group_->epoch();
  if (!facts_.is_group() || !out_of_step || !same_epoch || busy() || commands_.open(CommandPurpose::kResync) || phase_ != Phase::kOpen) {
    return;
  }
  member.missed_update = false;
  GroupUpdate update{GroupOperation::kRejoin, {member.name, member.direction, MemberStatus::kOnline}, roster_.participants(), std::nullopt};
  const FullName name = member.name;
  SessionMessage message = command(MessageType::kGroupUpdate, name, std::move(update));
  stamp_version(message);
  commands_.send(now, CommandPurpose::kResync, std::move(message), {name});
}

void Moderator::on_stranger(TimeMs now, const SessionMessage& message) {
  const auto about_it = [&](const Task& task) {
    return task.kind == TaskKind::kInvite && task.who.same_service(message.source);
  };
  const auto being_invited = [&](const Candidate& candidate) { return about_it(candidate.task); };
  if (std::ranges::any_of(candidates_, being_invited) || std::ranges::any_of(tasks_, about_it) || phase_ != Phase::kOpen ||
      (evicted_at_ != 0 && now < evicted_at_ + kEvictionPauseMs)) {
    return;
  }
  evict(now, message.source);
}

void Moderator::evict(TimeMs now, const FullName& name) {
  commands_.forget(name, CommandPurpose::kEvict);
  if (commands_.open_count(CommandPurpose::kEvict) >= kMaxInvitesTogether) {
    commands_.cancel(CommandPurpose::kEvict);
  }
  evicted_at_ = now;
  SessionMessage message = command(MessageType::kLeaveRequest, name, LeaveRequest{});
  stamp_version(message);
  commands_.send(now, CommandPurpose::kEvict, std::move(message), {name});
}

void Moderator::on_nack(TimeMs, const SessionMessage& message) {
  // Whoever says so is behind us, not we behind it.
  commands_.answered(CommandPurpose::kStatus, message.source, message.message_id);
}

// --- the end -------------------------------------------------------------------------------------------------------

void Moderator::begin_leaving(TimeMs now) {
  end_invites(SessionFault::kClosed);
  if (task_ && facts_.is_group()) {
    fail_task(SessionFault::kClosed, "changing the group");
  }
  commands_.cancel_all();
  std::vector<FullName> awaited = online_others();
  if (awaited.empty()) {
    finish(CloseReason::kByUs);
    return;
  }
  std::vector<FullName> names;
  roster_.for_each([&](MemberSlot, const Member& member) { names.push_back(member.name); });
  commands_.send(now, CommandPurpose::kClose, group_command(MessageType::kGroupClose, GroupClose{std::move(names)}), std::move(awaited));
}

void Moderator::on_end() {
  const auto closed_error = [](const Task& task) { return SessionError{SessionFault::kClosed, "changing the group: " + task.who.shown()}; };
  for (Candidate& candidate : candidates_) {
    out_.resolve(std::exchange(candidate.task.operation, kNoOperation), closed_error(candidate.task));
  }
  if (task_) {
    out_.resolve(task_->operation, closed_error(*task_));
    task_.reset();
  }
  for (const Task& task : tasks_) {
    out_.resolve(task.operation, closed_error(task));
  }
  tasks_.clear();
  step_ = Step::kIdle;
}

}  // namespace slipway
