// What each message may change, and what must follow it.
#include <algorithm>

#include "session/session_bounds.h"
#include "world.h"

namespace slipway::sim {

// Of a session: what a copy of a command must not change.
struct World::Standing {
  std::uint64_t epoch = 0;
  std::uint32_t last_data_id = 0;
  std::vector<std::pair<Name, MemberStatus>> members;
  friend bool operator==(const Standing&, const Standing&) = default;
};

World::Standing World::standing_of(const Session& session) {
  Standing out{.epoch = session.epoch(), .last_data_id = session.sender().last_id(), .members = {}};
  session.roster().for_each([&](MemberSlot, const Member& member) { out.members.emplace_back(member.name.hashed(), member.status); });
  return out;
}

// Two moderators may have drawn the same id: then it is not known which is meant.
const Session* World::only_session(const App& app, std::uint32_t session_id) {
  const Session* found = nullptr;
  for (const SessionHandle handle : app.layer->sessions()) {
    const Session* session = app.layer->find(handle);
    if (session->facts().id == session_id) {
      if (found != nullptr) {
        return nullptr;
      }
      found = session;
    }
  }
  return found;
}

void World::take(std::uint32_t index, SessionMessage message) { apps_[index].layer->on_message(clock_of(apps_[index]), std::move(message)); }

// Whoever comes back hears with its return what it was to acknowledge.
void World::excuse(std::uint32_t index, const Session* session, const SessionMessage& message) {
  for (auto& [key, open] : updates_) {
    if (key.first == index && session != nullptr && open.session == session->facts().handle && !session->replies().has_seen(message)) {
      open.excused.push_back(message.source.hashed());
    }
  }
}

void World::hear(std::uint32_t index, SessionMessage message) {
  if (message.type == MessageType::kRejoinRequest && message.authentic) {
    excuse(index, only_session(apps_[index], message.session_id), message);
  }
  if (message.type == MessageType::kGroupAck && message.authentic) {
    hear_answer(index, std::move(message));
  } else if (carries_data(message.type)) {
    hear_data(index, std::move(message));
  } else if (message.type == MessageType::kUpdateParticipantState && message.authentic) {
    hear_return(index, std::move(message));
  } else if (message.type == MessageType::kGroupUpdate && message.authentic) {
    hear_update(index, std::move(message));
  } else {
    hear_command(index, std::move(message));
  }
}

// What comes while the application is offline is not for it: it asks again when it is back.
void World::hear_data(std::uint32_t index, SessionMessage message) {
  App& app = apps_[index];
  const Session* session = only_session(app, message.session_id);
  const bool offline = session != nullptr && session->offline();
  take(index, std::move(message));
  const auto delivers = [](const Action& action) { return std::holds_alternative<DeliverMessage>(action); };
  if (offline && std::ranges::any_of(app.layer->actions(), delivers)) {
    checks_.fail("app " + std::to_string(index) + " hears messages while it is offline");
  }
}

// An answer of one member is that member's alone.
void World::hear_answer(std::uint32_t index, SessionMessage message) {
  App& app = apps_[index];
  const Session* session = only_session(app, message.session_id);
  const std::size_t before = session == nullptr ? 0 : session->awaited(message.message_id);
  const SessionHandle handle = session == nullptr ? SessionHandle::kNone : session->facts().handle;
  const std::uint32_t id = message.message_id;
  const FullName who = message.source;
  if (const auto open = updates_.find({index, id}); open != updates_.end()) {
    open->second.excused.push_back(who.hashed());
  }
  take(index, std::move(message));
  const Session* now = app.layer->find(handle);
  const bool leaves = std::ranges::any_of(app.layer->actions(), [](const Action& action) {
    const auto* out = std::get_if<SendMessage>(&action);
    return out != nullptr && (out->message.type == MessageType::kGroupClose || out->message.type == MessageType::kLeaveRequest);
  });
  if (now != nullptr && !leaves && now->awaited(id) + 1 < before) {
    checks_.fail("app " + std::to_string(index) + " takes an answer of " + who.shown() + " for those of others");
  }
}

bool World::answers(const App& app, const SessionMessage& message, std::optional<MessageType> how) {
  return std::ranges::any_of(app.layer->actions(), [&](const Action& action) {
    const auto* out = std::get_if<SendMessage>(&action);
    return out != nullptr && (!how || out->message.type == *how) && out->message.message_id == message.message_id &&
           out->message.destination == message.source;
  });
}

// Whoever comes back in an old epoch is told so. A copy of what was answered before, perhaps in a membership that is over, gets that
// answer again.
void World::hear_return(std::uint32_t index, SessionMessage message) {
  App& app = apps_[index];
  const auto& update = std::get<UpdateParticipantState>(message.payload);
  const Session* session = only_session(app, message.session_id);
  excuse(index, session, message);
  const bool copied = (session != nullptr && session->replies().has_seen(message)) ||
                      answered_.contains({index, app.life, message.session_id, message.message_id, message.source.hashed()});
  const bool told = session != nullptr && !copied && session->facts().mls && session->facts().is_group() && !session->offline() &&
                    update.new_state == MemberStatus::kOnline && update.participant == message.source && !(message.source == app.name) &&
                    update.epoch < session->epoch() && session->roster().contains(message.source);
  const SessionMessage copy = message;
  hear_command(index, std::move(message));
  if (told && !answers(app, copy, MessageType::kGroupNack)) {
    checks_.fail("app " + std::to_string(index) + " does not tell " + copy.source.shown() + " that its epoch is old");
  }
}

void World::hear_update(std::uint32_t index, SessionMessage message) {
  const auto& update = std::get<GroupUpdate>(message.payload);
  const std::uint32_t session_id = message.session_id;
  const std::uint32_t commit = update.mls && !(update.participant.name == apps_[index].name) ? update.mls->commit_id : 0;
  const FullName moderator = message.source;
  hear_command(index, std::move(message));
  const Session* session = only_session(apps_[index], session_id);
  if (commit != 0 && session != nullptr && session->moderator() == moderator) {
    note_gap(index, *session, commit);
  }
}

// A command that was carried out and answered: a copy of it gets the same answer, and changes nothing.
void World::hear_command(std::uint32_t index, SessionMessage message) {
  App& app = apps_[index];
  const auto known = is_command(message.type) && message.authentic
                         ? answered_.find({index, app.life, message.session_id, message.message_id, message.source.hashed()})
                         : answered_.end();
  const Session* session = known == answered_.end() ? nullptr : only_session(app, message.session_id);
  const NameId& to = message.destination.id();
  const bool for_another = message.destination.same_service(app.service) && !to.is_null() && !(to == app.name.id());
  if (session == nullptr || for_another || session->facts().handle != known->second.session) {
    take(index, std::move(message));
    return;
  }
  // What is due by the clock is not the copy's doing.
  app.layer->advance(clock_of(app));
  carry_out(index);
  if (app.layer->find(known->second.session) == nullptr) {
    take(index, std::move(message));
    return;
  }
  const Standing before = standing_of(*session);
  // What a session of before answered, while this one was there, is forgotten after a while.
  const bool remembered = session->replies().has_seen(message) || clock_of(app) < known->second.at + kTombstoneMs;
  const SessionMessage copy = message;
  take(index, std::move(message));
  if (remembered) {
    judge_copy(index, copy, known->second, before);
  }
}

void World::note_answer(std::uint32_t index, const SessionMessage& message) {
  const bool is_answer = message.type == MessageType::kJoinReply || message.type == MessageType::kLeaveReply || message.type == MessageType::kGroupAck ||
                         message.type == MessageType::kGroupNack || message.type == MessageType::kRejoinReply;
  const App& app = apps_[index];
  const Session* session = is_answer ? only_session(app, message.session_id) : nullptr;
  if (session == nullptr) {
    return;
  }
  const Name& asker = message.destination.hashed();
  const SessionHandle handle = session->facts().handle;
  const auto [at, first] = answered_.try_emplace({index, app.life, message.session_id, message.message_id, asker}, Answer{handle, 0, clock_of(app)});
  if (first) {
    at->second.number = ++answer_counts_[{index, handle, asker.id}];
  }
}

void World::judge_copy(std::uint32_t index, const SessionMessage& copy, const Answer& answer, const Standing& before) {
  const App& app = apps_[index];
  const Session* session = app.layer->find(answer.session);
  const std::string what = "app " + std::to_string(index) + ": a copy of " + std::string(message_type_text(copy.type)) + " " + std::to_string(copy.message_id);
  if (session == nullptr || !(standing_of(*session) == before)) {
    checks_.fail(what + " was carried out again");
    return;
  }
  const std::uint32_t since = answer_counts_[{index, answer.session, copy.source.hashed().id}] - answer.number;
  if (!answers(app, copy) && since < kRepliesKept) {
    checks_.fail(what + " was not answered again");
  }
}

}  // namespace slipway::sim
