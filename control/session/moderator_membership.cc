// How the moderator lets in, takes out and brings back.
#include <algorithm>

#include "session/moderator.h"
#include "session/session_bounds.h"

namespace slipway {

// --- letting in --------------------------------------------------------------------------------------------------

void Moderator::begin_invite(TimeMs now) {
  const FullName& who = task_->who;
  const bool there = who.id().is_null() ? roster_.instances_of(who) > (facts_.local.same_service(who) ? 1 : 0) : roster_.contains(who);
  if (there) {
    fail_task(SessionFault::kAlreadyMember, "inviting");
    return;
  }
  if (roster_.full()) {
    fail_task(SessionFault::kTooManyMembers, "inviting");
    return;
  }
  step_ = Step::kDiscovery;
  commands_.send(now, CommandPurpose::kDiscovery, command(MessageType::kDiscoveryRequest, who, DiscoveryRequest{}), {who});
}

void Moderator::on_discovery_reply(TimeMs now, const SessionMessage& message) {
  const FullName& found = message.source;
  if (step_ != Step::kDiscovery || !commands_.awaits_any(CommandPurpose::kDiscovery, message.message_id) || !found.same_service(task_->who) ||
      found.id().is_null() || (!task_->who.id().is_null() && !(found == task_->who))) {
    ++out_.refused().unexpected_answer;
    return;
  }
  commands_.cancel(CommandPurpose::kDiscovery);
  if (roster_.contains(found)) {
    fail_task(SessionFault::kAlreadyMember, "inviting");
    return;
  }
  subject_ = found;
  if (group_ && !group_created_) {
    if (auto created = group_->create(); !created) {
      fail_task(SessionFault::kGroupRefused, "inviting", std::move(created.error()));
      return;
    }
    group_created_ = true;
  }
  if (!facts_.is_group()) {
    channel_ = control_ = found;
    sender_.set_destination(found);
    send_join(now);
  } else if (subscribed_) {
    send_join(now);
  } else {
    step_ = Step::kSubscribing;
    subscribed_ = true;
    subscriptions_left_ = 2;
    out_.push(SubscribeName{facts_.handle, channel_});
    out_.push(SubscribeName{facts_.handle, control_});
  }
}

void Moderator::on_role_subscription(TimeMs now, const FullName& name, bool accepted) {
  if (step_ != Step::kSubscribing || !(name == channel_ || name == control_)) {
    return;
  }
  if (!accepted) {
    subscribed_ = false;
    out_.push(UnsubscribeName{facts_.handle, channel_});
    out_.push(UnsubscribeName{facts_.handle, control_});
    fail_task(SessionFault::kSubscriptionRefused, "inviting");
  } else if (--subscriptions_left_ == 0) {
    send_join(now);
  }
}

void Moderator::send_join(TimeMs now) {
  enter_group_traffic();
  commands_.cancel(CommandPurpose::kEvict);
  step_ = Step::kJoin;
  JoinRequest join{.timers = facts_.reliability, .mls = facts_.mls};
  if (facts_.is_group()) {
    join.channel = channel_;
    join.control = control_;
  }
  SessionMessage message = command(MessageType::kJoinRequest, subject_, std::move(join));
  message.metadata = facts_.metadata;
  commands_.send(now, CommandPurpose::kJoin, std::move(message), {subject_}, CommandSender::Ids::kFreshEachTry);
}

void Moderator::on_join_reply(TimeMs now, const SessionMessage& message) {
  const auto& answer = std::get<JoinReply>(message.payload);
  if (step_ != Step::kJoin || !commands_.awaits(CommandPurpose::kJoin, message.source, message.message_id)) {
    ++out_.refused().unexpected_answer;
    return;
  }
  if (!(answer.participant.name == message.source) || (answer.key_package != nullptr) != (group_ != nullptr)) {
    ++out_.refused().malformed;
    return;
  }
  commands_.cancel(CommandPurpose::kJoin);
  std::optional<GroupCommit> commit;
  if (group_) {
    const JoiningMember joiner{message.source, answer.key_package};
    auto added = std::erase_if(tasks_, [&](const Task& task) { return task.kind == TaskKind::kDisconnect && task.who == joiner.name; }) != 0
                     ? group_->replace(joiner)  // it left a moment ago, and its old leaf is still there
                     : group_->add({&joiner, 1});
    if (!added) {
      ++out_.refused().bad_commit;
      const FullName name = subject_;
      fail_task(SessionFault::kGroupRefused, "inviting", std::move(added.error()));
      if (!closed()) {
        evict(now, name);
      }
      return;
    }
    commit = std::move(*added);
  } else {
    std::erase_if(tasks_, [&](const Task& task) { return task.kind == TaskKind::kDisconnect && task.who == message.source; });
  }
  const MemberSlot slot = roster_.add({answer.participant.name, answer.participant.settings, MemberStatus::kOnline});
  roster_[slot].from_slipway = message.from_slipway;
  send_add(now, {answer.participant.name, answer.participant.settings, MemberStatus::kOnline}, std::move(commit));
}

void Moderator::send_add(TimeMs now, const ParticipantInfo& joiner, std::optional<GroupCommit> commit) {
  step_ = Step::kAdd;
  ++last_commit_;
  ++roster_version_;
  told_others_ = roster_.size() > 2;
  update_done_ = !told_others_;
  if (told_others_) {
    send_update(now, {GroupOperation::kAdd, joiner, roster_.participants(), std::nullopt}, commit ? commit->commit : nullptr,
                online_others(joiner.name));
  }
  GroupWelcome welcome{roster_.participants(), std::nullopt};
  if (commit) {
    welcome.mls = MlsPayload{last_commit_, commit->welcome};
  }
  SessionMessage message = command(MessageType::kGroupWelcome, joiner.name, std::move(welcome));
  stamp_version(message);
  if (const auto before = receiver_.last_id_before(joiner.name)) {
    // Others may have heard more of it than we: a window more at most, on either side of what we know.
    message.metadata.insert_or_assign(std::string(metadata_key::kDataAfter), std::to_string((*before + 2 * kSendWindow) & kMaxDataId));
  }
  commands_.send(now, CommandPurpose::kWelcome, std::move(message), {joiner.name});
}

void Moderator::welcomed(TimeMs now) {
  welcome_done_ = true;
  if (const MemberSlot slot = roster_.find(subject_.hashed()); slot != kNoSlot) {
    out_.presence(subject_, PresenceChange::kJoined);
    if (roster_[slot].direction.receives) {
      sender_.add_receiver(now, slot, subject_, true);
      sender_.set_online(now, slot, roster_[slot].status == MemberStatus::kOnline);
    }
  }
  if (update_done_) {
    end_task();
  }
}

// The welcome was never confirmed. Whether it was taken is not known: out again.
void Moderator::take_out_again(TimeMs now) {
  const FullName name = subject_;
  const MemberSlot slot = roster_.find(name.hashed());
  out_.resolve(std::exchange(task_->operation, kNoOperation), SessionError{SessionFault::kWelcomeUnanswered, "inviting " + name.shown()});
  if (!facts_.is_group()) {
    end_task();
    finish(CloseReason::kSetupFailed);
    return;
  }
  if (slot == kNoSlot) {
    end_task();
    return;
  }
  const ParticipantInfo gone{name, roster_[slot].direction, MemberStatus::kOffline};
  drop_member(slot, PresenceChange::kRemoved);
  step_ = Step::kUpdate;
  const bool others = commit_removal(now, gone);
  evict(now, name);
  if (!others) {
    end_task();
  }
}

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
