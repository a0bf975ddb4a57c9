// How a moderator outlives its process.
#include <algorithm>

#include "session/moderator.h"
#include "session/session_bounds.h"

namespace slipway {

void Moderator::describe(SessionRecord& record) const {
  record.is_moderator = true;
  record.last_commit = last_commit_;
  record.group_created = group_created_;
  for (MemberRecord& member : record.members) {
    member.confirmed = std::ranges::none_of(candidates_, [&](const Candidate& candidate) {
      return candidate.stage == Stage::kWelcome && candidate.found == member.info.name;
    });
  }
  for (const Task& task : tasks_) {  // whose leaf is still to be taken out
    if (task.kind == TaskKind::kDisconnect && !roster_.contains(task.who) && record.members.size() < kMaxSessionMembers) {
      record.members.push_back({{task.who, {}, MemberStatus::kOffline}, true, false, 0});
    }
  }
}

Moderator::Moderator(TimeMs now, SessionParts parts, const SessionRecord& record, const SessionProgress& progress)
    : Session(now, std::move(parts)) {
  take_up(now, record, progress);
  roster_version_ = ((record.roster_version >> kRosterLifeBit) + 1) << kRosterLifeBit;
  last_commit_ = record.last_commit;
  group_created_ = record.group_created;
  for (const MemberRecord& member : record.members) {
    const MemberSlot slot = roster_.find(member.info.name.hashed());
    if (!member.confirmed && slot != kNoSlot && !is_self(member.info.name)) {
      drop_member(slot, PresenceChange::kRemoved);
      tasks_.push_back({TaskKind::kDisconnect, member.info.name});
    }
  }
  tasks_.push_front({TaskKind::kReturn, facts_.local});
}

std::unique_ptr<Moderator> Moderator::restore(TimeMs now, SessionParts parts, const SessionRecord& record, const SessionProgress& progress) {
  std::unique_ptr<Moderator> moderator(new Moderator(now, std::move(parts), record, progress));
  // A write may have got lost with what it said of subscriptions: who is in without our knowing is heard there.
  if (moderator->facts_.is_group()) {
    moderator->returning_ = true;
    moderator->subscribe_names();
  } else {
    moderator->come_again(now);
  }
  return moderator;
}

// What was kept stays: perhaps the next start finds a node that lets us in.
void Moderator::give_up_returning() {
  keep_for_later();
  finish(CloseReason::kSetupFailed);
}

void Moderator::come_again(TimeMs now) {
  returning_ = false;
  for (const Task& task : tasks_) {
    if (task.kind == TaskKind::kDisconnect) {
      evict(now, task.who);
    }
  }
  run_tasks(now);
}

// Before the own keys are new nothing may be encrypted: what was sent after the last write used the keys that we have.
void Moderator::begin_return(TimeMs now) {
  SharedBytes commit;
  if (group_ && group_created_) {
    auto refreshed = group_->refresh();
    if (!refreshed) {
      ++out_.refused().bad_commit;
      try_again_later(now);
      return;
    }
    commit = std::move(refreshed->commit);
  }
  last_commit_ += commit || !group_;
  ++roster_version_;
  store(true);
  resume(now);
  if (facts_.is_group() || commit) {
    announce_self(now, std::move(commit));
  } else {
    end_task();
  }
}

}  // namespace slipway
