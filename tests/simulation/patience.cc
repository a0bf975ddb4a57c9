// What must have come of something before too long.
#include <algorithm>

#include "session/participant.h"
#include "session/session_bounds.h"
#include "world.h"

namespace slipway::sim {

void World::note_sent(std::uint32_t index, const SessionMessage& message) {
  note_answer(index, message);
  const Session* session = only_session(apps_[index], message.session_id);
  if (session == nullptr) {
    return;
  }
  const SessionHandle handle = session->facts().handle;
  if (message.type == MessageType::kGroupUpdate && message.fanout == kAllReceivers) {
    note_update(index, *session, message);
  } else if (message.type == MessageType::kRejoinReply) {
    for (auto& [key, open] : updates_) {
      if (key.first == index && open.session == handle) {
        open.excused.push_back(message.destination.hashed());
      }
    }
  } else if (message.type == MessageType::kRejoinRequest) {
    asked_again_[{index, handle}] = now_;
    if (const auto gap = gaps_.find({index, handle}); gap != gaps_.end() && now_ <= gap->second.until) {
      gap->second.asked = true;
    }
  }
}

// An update for the whole group goes out; those who are online are to acknowledge it, but for whoever comes in with it.
void World::note_update(std::uint32_t index, const Session& session, const SessionMessage& message) {
  const auto [at, first] = updates_.try_emplace({index, message.message_id}, Update{session.facts().handle, session.roster_version(), {}, {}});
  if (!first) {
    // Nothing gets lost: somebody was waited for who could not answer.
    if (fair_ && std::ranges::find(asked_, true) == asked_.end()) {
      checks_.fail("app " + std::to_string(index) + " repeats an update of the group that nobody missed");
    }
    return;
  }
  session.roster().for_each([&](MemberSlot, const Member& member) {
    if (member.status == MemberStatus::kOnline && !(member.name == apps_[index].name) && member.since_version < session.roster_version()) {
      at->second.awaited.push_back(member.name.hashed());
    }
  });
}

// Whoever did not acknowledge a change of the group to the end is held to be offline: it may have missed it.
void World::judge_updates(std::uint32_t index) {
  const App& app = apps_[index];
  for (auto at = updates_.lower_bound({index, 0}); at != updates_.end() && at->first.first == index;) {
    const Update& update = at->second;
    const Session* session = app.layer->find(update.session);
    if (session != nullptr && session->awaited(at->first.second) != 0) {
      ++at;
      continue;
    }
    const bool leaves = session == nullptr || closing_.contains({session->facts().id, app.name.id()});
    for (const Name& name : leaves ? std::vector<Name>{} : update.awaited) {
      const MemberSlot slot = session->roster().find(name);
      if (slot != kNoSlot && session->roster()[slot].status == MemberStatus::kOnline && session->roster()[slot].since_version < update.version &&
          std::ranges::find(update.excused, name) == update.excused.end()) {
        checks_.fail("app " + std::to_string(index) + " holds " + session->roster()[slot].name.shown() +
                     " to be online, which never acknowledged a change of the group");
      }
    }
    at = updates_.erase(at);
  }
}

// The member has heard of a later commit than it can follow.
void World::note_gap(std::uint32_t index, const Session& session, std::uint32_t commit) {
  if (session.is_moderator() || !session.facts().mls || !session.active() || session.offline() || session.removed() ||
      static_cast<const Participant&>(session).last_commit() >= commit) {
    return;
  }
  const auto asked = asked_again_.find({index, session.facts().handle});
  const bool asks = asked != asked_again_.end() && now_ < asked->second + kDrainMs;  // and waits, or pauses
  const bool jumps = std::ranges::any_of(plan_.faults, [index](const Fault& fault) {
    return fault.app == index && (fault.kind == FaultKind::kClockForward || fault.kind == FaultKind::kClockBack);
  });
  if (!asks && !jumps) {
    constexpr TimeMs kSlack = 20;
    gaps_.try_emplace({index, session.facts().handle}, Gap{commit, now_ + kCommitGapMs + kSlack});
  }
}

// Then it asks to be let in again.
void World::judge_gaps(std::uint32_t index) {
  const App& app = apps_[index];
  for (auto at = gaps_.lower_bound({index, SessionHandle::kNone}); at != gaps_.end() && at->first.first == index;) {
    const Session* session = app.layer->find(at->first.second);
    const bool over = session == nullptr || session->offline() || session->removed() || closing_.contains({session->facts().id, app.name.id()}) ||
                      static_cast<const Participant*>(session)->last_commit() >= at->second.commit;
    if (!over && !at->second.asked && now_ > at->second.until) {
      checks_.fail("app " + std::to_string(index) + " misses a commit and does not ask for it");
    }
    at = over || at->second.asked || now_ > at->second.until ? gaps_.erase(at) : std::next(at);
  }
}

// The application begins another life: nothing of this one is waited for.
void World::forget_waits(std::uint32_t index) {
  std::erase_if(updates_, [index](const auto& entry) { return entry.first.first == index; });
  std::erase_if(gaps_, [index](const auto& entry) { return entry.first.first == index; });
  std::erase_if(asked_again_, [index](const auto& entry) { return entry.first.first == index; });
}

}  // namespace slipway::sim
