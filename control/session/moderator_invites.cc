// How the moderator lets in: one, or several that wait together.
#include <algorithm>

#include "session/large_channels.h"
#include "session/moderator.h"
#include "session/session_bounds.h"

namespace slipway {

// The current task and those right behind it that can go with it.
void Moderator::begin_invites(TimeMs now) {
  step_ = Step::kInvite;
  candidates_.clear();
  candidates_.push_back({.task = *task_});
  task_->operation = kNoOperation;
  const bool together = facts_.is_group() && subscribed_ && !candidates_.front().task.alone && all_ours(roster_, facts_.local);
  while (together && !tasks_.empty() && may_come_along(tasks_.front())) {
    candidates_.push_back({.task = std::move(tasks_.front())});
    tasks_.pop_front();
  }
  for (Candidate& candidate : candidates_) {
    discover(now, candidate);
  }
  go_on_inviting(now);
}

// Two that may turn out to be one and the same go one after the other.
bool Moderator::may_come_along(const Task& task) const {
  if (task.kind != TaskKind::kInvite || task.alone || task.late != candidates_.front().task.late || candidates_.size() >= kMaxInvitesTogether ||
      roster_.size() + candidates_.size() >= kMaxSessionMembers) {
    return false;
  }
  return std::ranges::none_of(candidates_, [&](const Candidate& other) {
    const FullName& who = other.task.who;
    return who.same_service(task.who) && (who.id().is_null() || task.who.id().is_null() || who == task.who);
  });
}

void Moderator::discover(TimeMs now, Candidate& candidate) {
  const FullName& who = candidate.task.who;
  const bool there = who.id().is_null() ? roster_.instances_of(who) > (facts_.local.same_service(who) ? 1 : 0) : roster_.contains(who);
  if (there) {
    fail_invite(candidate, SessionFault::kAlreadyMember);
    return;
  }
  if (roster_.full()) {
    fail_invite(candidate, SessionFault::kTooManyMembers);
    return;
  }
  if (candidate.task.found) {
    candidate.found = who;
    found(now, candidate);
    return;
  }
  SessionMessage message = command(MessageType::kDiscoveryRequest, who, DiscoveryRequest{});
  candidate.command = message.message_id;
  commands_.send(now, CommandPurpose::kDiscovery, std::move(message), {who});
}

void Moderator::on_discovery_reply(TimeMs now, const SessionMessage& message) {
  const FullName& instance = message.source;
  const auto at = std::ranges::find_if(candidates_, [&](const Candidate& candidate) {
    const FullName& who = candidate.task.who;
    return candidate.stage == Stage::kDiscovery && candidate.command == message.message_id && instance.same_service(who) &&
           !instance.id().is_null() && (who.id().is_null() || instance == who);
  });
  if (step_ != Step::kInvite || at == candidates_.end() || !commands_.answered(CommandPurpose::kDiscovery, at->task.who, message.message_id)) {
    ++out_.refused().unexpected_answer;
    return;
  }
  at->found = instance;
  found(now, *at);
  go_on_inviting(now);
}

void Moderator::found(TimeMs now, Candidate& candidate) {
  if (roster_.contains(candidate.found)) {
    fail_invite(candidate, SessionFault::kAlreadyMember);
    return;
  }
  if (group_ && !group_created_) {
    if (auto created = group_->create(); !created) {
      fail_invite(candidate, SessionFault::kGroupRefused, created.error());
      return;
    }
    group_created_ = true;
  }
  if (!facts_.is_group()) {
    channel_ = control_ = candidate.found;
    sender_.set_destination(candidate.found);
    send_join(now, candidate);
  } else if (subscribed_) {
    send_join(now, candidate);
  } else {
    candidate.stage = Stage::kSubscribing;
    subscribe_names();
  }
}

// A moderator that receives no data has no use for the channel's: commands all go to the control name.
void Moderator::subscribe_names() {
  subscribed_ = true;
  subscriptions_left_ = facts_.direction.receives ? 2 : 1;
  if (facts_.direction.receives) {
    out_.push(SubscribeName{facts_.handle, channel_});
  }
  out_.push(SubscribeName{facts_.handle, control_});
}

void Moderator::on_role_subscription(TimeMs now, const FullName& name, bool accepted) {
  const auto waiting = std::ranges::find(candidates_, Stage::kSubscribing, &Candidate::stage);
  if (returning_ && (name == channel_ || name == control_)) {
    if (!accepted) {
      give_up_returning();
    } else if (--subscriptions_left_ == 0) {
      come_again(now);
    }
    return;
  }
  if (waiting == candidates_.end() || !(name == channel_ || name == control_)) {
    return;
  }
  if (!accepted) {
    subscribed_ = false;
    out_.push(UnsubscribeName{facts_.handle, channel_});
    out_.push(UnsubscribeName{facts_.handle, control_});
    fail_invite(*waiting, SessionFault::kSubscriptionRefused);
    go_on_inviting(now);
  } else if (--subscriptions_left_ == 0) {
    send_join(now, *waiting);
  }
}

void Moderator::send_join(TimeMs now, Candidate& candidate) {
  enter_group_traffic();
  commands_.forget(candidate.found, CommandPurpose::kEvict);
  candidate.stage = Stage::kJoin;
  JoinRequest join{.timers = facts_.reliability, .mls = facts_.mls};
  if (facts_.is_group()) {
    join.channel = channel_;
    join.control = control_;
  }
  SessionMessage message = command(MessageType::kJoinRequest, candidate.found, std::move(join));
  message.metadata = facts_.metadata;
  candidate.command = message.message_id;
  commands_.send(now, CommandPurpose::kJoin, std::move(message), {candidate.found}, CommandSender::Ids::kFreshEachTry);
}

void Moderator::on_join_reply(TimeMs now, const SessionMessage& message) {
  const auto& answer = std::get<JoinReply>(message.payload);
  const auto at = std::ranges::find_if(candidates_, [&](const Candidate& candidate) {
    return candidate.stage == Stage::kJoin && candidate.found == message.source;
  });
  if (step_ != Step::kInvite || at == candidates_.end() || !commands_.awaits(CommandPurpose::kJoin, message.source, message.message_id)) {
    ++out_.refused().unexpected_answer;
    return;
  }
  if (!(answer.participant.name == message.source) || (answer.key_package != nullptr) != (group_ != nullptr)) {
    ++out_.refused().malformed;
    return;
  }
  commands_.answered(CommandPurpose::kJoin, message.source, message.message_id);
  at->stage = Stage::kReady;
  at->settings = answer.participant.settings;
  at->key_package = answer.key_package;
  at->from_slipway = message.from_slipway;
  if (put_off_at_ == 0 && candidates_.size() > 1) {
    put_off_at_ = now + kInvitePatienceMs;
  }
  go_on_inviting(now);
}

void Moderator::on_time(TimeMs now) {
  if (put_off_at_ != 0 && now >= put_off_at_) {
    put_off_slow(now);
  }
  if (now >= retry_at_) {
    retry_at_ = 0;
  }
}

// Those who answered wait for a welcome, and not for ever.
void Moderator::put_off_slow(TimeMs now) {
  for (std::size_t i = candidates_.size(); i-- > 0;) {
    Candidate& candidate = candidates_[i];
    if (candidate.stage == Stage::kDiscovery || candidate.stage == Stage::kJoin) {
      const bool joining = candidate.stage == Stage::kJoin;
      const FullName awaited = joining ? candidate.found : candidate.task.who;
      put_off(candidate, false);
      commands_.forget(awaited, joining ? CommandPurpose::kJoin : CommandPurpose::kDiscovery);
    }
  }
  go_on_inviting(now);
}

// What was not answered. Whose answers came was seen when they came.
void Moderator::on_invite_result(TimeMs now, const CommandResult& result) {
  const auto at = std::ranges::find_if(candidates_, [&](const Candidate& candidate) {
    const Stage stage = result.purpose == CommandPurpose::kDiscovery ? Stage::kDiscovery
                        : result.purpose == CommandPurpose::kJoin    ? Stage::kJoin
                                                                     : Stage::kWelcome;
    return candidate.stage == stage && candidate.command == result.id;
  });
  if (at == candidates_.end()) {
    return;
  }
  if (at->stage == Stage::kWelcome) {
    result.missing.empty() ? welcomed(now, *at) : take_out_again(now, *at);
    finish_invites();
    return;
  }
  if (result.missing.empty()) {
    return;
  }
  const bool joining = at->stage == Stage::kJoin;
  const FullName name = at->found;
  fail_invite(*at, joining ? SessionFault::kJoinUnanswered : SessionFault::kNotFound);
  if (joining && !closed()) {
    evict(now, name);  // it may have taken the request and still wait for a welcome
  }
  go_on_inviting(now);
}

void Moderator::fail_invite(Candidate& candidate, SessionFault fault, const std::string& detail) {
  candidate.stage = Stage::kDone;
  const std::string about = "inviting " + candidate.task.who.shown() + (detail.empty() ? "" : ": " + detail);
  out_.resolve(std::exchange(candidate.task.operation, kNoOperation), SessionError{fault, about});
  if (!facts_.is_group()) {
    finish(CloseReason::kSetupFailed);
  }
}

// Waits for another turn.
void Moderator::put_off(Candidate& candidate, bool alone) {
  candidate.stage = Stage::kDone;
  candidate.task.alone = alone || candidate.task.late;
  candidate.task.late = true;
  tasks_.push_front(std::exchange(candidate.task, {TaskKind::kInvite, candidate.task.who}));
}

void Moderator::go_on_inviting(TimeMs now) {
  if (closed() || step_ != Step::kInvite) {
    return;
  }
  const bool all_known = std::ranges::all_of(candidates_, [](const Candidate& candidate) {
    return candidate.stage == Stage::kReady || candidate.stage == Stage::kDone;
  });
  if (!all_known) {
    return;
  }
  put_off_at_ = 0;
  std::erase_if(candidates_, [](const Candidate& candidate) { return candidate.stage == Stage::kDone; });
  for (std::size_t i = candidates_.size(); i-- > 1;) {  // upstream's join one at a time
    if (!candidates_[i].from_slipway || !candidates_.front().from_slipway) {
      put_off(candidates_[i]);
    }
  }
  std::erase_if(candidates_, [](const Candidate& candidate) { return candidate.stage == Stage::kDone; });
  if (candidates_.empty()) {
    end_task();
    return;
  }
  let_in(now);
}

void Moderator::let_in(TimeMs now) {
  std::vector<JoiningMember> joiners;
  for (const Candidate& candidate : candidates_) {
    // It left a moment ago, and its old leaf is still there.
    const bool returns =
        std::erase_if(tasks_, [&](const Task& task) { return task.kind == TaskKind::kDisconnect && task.who == candidate.found; }) != 0;
    joiners.push_back({candidate.found, candidate.key_package, returns});
  }
  std::optional<GroupCommit> commit;
  if (group_) {
    auto added = group_->add(joiners);
    if (!added) {
      ++out_.refused().bad_commit;
      for (std::size_t i = candidates_.size(); i-- > 1;) {
        put_off(candidates_[i]);  // whose fault it was shows when they come one by one
        if (joiners[i].returns) {
          tasks_.push_front({TaskKind::kDisconnect, joiners[i].name});
        }
      }
      if (joiners.front().returns) {
        tasks_.push_front({TaskKind::kDisconnect, joiners.front().name});
      }
      if (joiners.size() > 1) {
        put_off(candidates_.front());
      } else {
        fail_invite(candidates_.front(), SessionFault::kGroupRefused, added.error());
        if (!closed()) {
          evict(now, joiners.front().name);
        }
      }
      candidates_.clear();
      if (task_) {
        end_task();
      }
      return;
    }
    commit = std::move(*added);
  }
  for (Candidate& candidate : candidates_) {
    const MemberSlot slot = roster_.add({candidate.found, candidate.settings, MemberStatus::kOnline});
    roster_[slot].from_slipway = candidate.from_slipway;
    candidate.data_after = data_ids_before(candidate.found);
    if (!facts_.direction.receives && facts_.is_group()) {  // nothing is heard of its data: this is what is known when it comes again
      receiver_.continue_after(slot, candidate.found, candidate.data_after.value_or(0));
    }
  }
  beat_in_time(now);
  step_ = Step::kAdd;
  ++last_commit_;
  roster_version_ += candidates_.size();  // more than one: members take the whole list
  for (Candidate& candidate : candidates_) {
    candidate.stage = Stage::kWelcome;
    roster_[roster_.find(candidate.found.hashed())].since_version = roster_version_;
  }
  if (facts_.is_group()) {
    store(true);
  }
  update_done_ = roster_.size() <= 1 + candidates_.size();
  if (!update_done_) {
    std::vector<FullName> awaited = online_others();
    std::erase_if(awaited, [&](const FullName& name) { return std::ranges::find(candidates_, name, &Candidate::found) != candidates_.end(); });
    const Candidate& first = candidates_.front();
    GroupUpdate update{GroupOperation::kAdd, {first.found, first.settings, MemberStatus::kOnline}, {}, std::nullopt};
    const bool ours = facts_.is_group() && all_ours(roster_, facts_.local);
    if (ours) {
      for (const Candidate& candidate : candidates_) {
        update.participants.push_back({candidate.found, candidate.settings, MemberStatus::kOnline});
      }
    } else {
      update.participants = participants_and_leaves();
    }
    send_update(now, std::move(update), commit ? commit->commit : nullptr, std::move(awaited), ours ? candidates_.size() : 0);
  }
  for (Candidate& candidate : candidates_) {
    send_welcome(now, candidate, commit);
  }
}

// Ids that somebody may have used in an earlier membership, as others may remember.
std::optional<std::uint32_t> Moderator::data_ids_before(const FullName& name) const {
  if (const auto before = receiver_.last_id_before(name)) {
    // Others may have heard more of it than we: a window on either side of what we know, and all while we were away; or, where we take
    // no data, all since its last heartbeat. Members of upstream's would ask for each id of a gap.
    const bool far = !facts_.direction.receives || all_ours(roster_, facts_.local);
    return (*before + (far ? kDataIdsALife : 2 * kSendWindow)) & kMaxDataId;
  }
  if (const std::uint64_t life = roster_version_ >> kRosterLifeBit; life != 0 && facts_.is_group()) {
    // It may have been in before we were restored, and others may remember what we have forgotten.
    return static_cast<std::uint32_t>((life * kDataIdsALife) & kMaxDataId);
  }
  return std::nullopt;
}

void Moderator::send_welcome(TimeMs now, Candidate& candidate, const std::optional<GroupCommit>& commit) {
  GroupWelcome welcome{participants_and_leaves(), std::nullopt};
  if (commit) {
    welcome.mls = MlsPayload{last_commit_, commit->welcome};
  }
  SessionMessage message = command(MessageType::kGroupWelcome, candidate.found, std::move(welcome));
  stamp_version(message);
  if (candidate.data_after) {
    message.metadata.insert_or_assign(std::string(metadata_key::kDataAfter), std::to_string(*candidate.data_after));
  }
  if (facts_.is_group() && all_ours(roster_, facts_.local)) {
    message.metadata.insert_or_assign(std::string(kAllOursKey), std::string(metadata_key::kTrue));
  }
  candidate.stage = Stage::kWelcome;
  candidate.command = message.message_id;
  commands_.send(now, CommandPurpose::kWelcome, std::move(message), {candidate.found});
}

void Moderator::welcomed(TimeMs now, Candidate& candidate) {
  candidate.stage = Stage::kDone;
  facts_.is_group() ? note_change() : store(true);
  if (const MemberSlot slot = roster_.find(candidate.found.hashed()); slot != kNoSlot) {
    out_.presence(candidate.found, PresenceChange::kJoined);
    if (roster_[slot].direction.receives) {
      sender_.add_receiver(now, slot, candidate.found, true);
      sender_.set_online(now, slot, roster_[slot].status == MemberStatus::kOnline);
    }
  }
}

// The welcome was never confirmed. Whether it was taken is not known: out again.
void Moderator::take_out_again(TimeMs now, Candidate& candidate) {
  fail_invite(candidate, SessionFault::kWelcomeUnanswered);
  if (closed()) {
    return;
  }
  if (const MemberSlot slot = roster_.find(candidate.found.hashed()); slot != kNoSlot) {
    drop_member(slot, PresenceChange::kRemoved);
    tasks_.push_front({TaskKind::kDisconnect, candidate.found});
    evict(now, candidate.found);
  }
}

void Moderator::finish_invites() {
  if (closed() || step_ != Step::kAdd || !update_done_) {
    return;
  }
  bool all_done = true;
  for (Candidate& candidate : candidates_) {
    if (candidate.stage == Stage::kDone) {
      out_.resolve(std::exchange(candidate.task.operation, kNoOperation));
    } else {
      all_done = false;
    }
  }
  if (all_done) {
    candidates_.clear();
    end_task();
  }
}

void Moderator::end_invites(SessionFault fault) {
  put_off_at_ = 0;
  for (Candidate& candidate : candidates_) {
    out_.resolve(std::exchange(candidate.task.operation, kNoOperation), SessionError{fault, "inviting " + candidate.task.who.shown()});
  }
  candidates_.clear();
}

}  // namespace slipway
