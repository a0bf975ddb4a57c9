// What applications do in a run, and how it ends.
#include <algorithm>

#include "session/session_bounds.h"
#include "world.h"

namespace slipway::sim {

SessionConfig World::config() const {
  SessionConfig config;
  if (plan_.reliable) {
    config.reliability = plan_.timers;
  }
  if (plan_.mls) {
    config.mls = MlsSettings{};
  }
  return config;
}

// Most runs have a group from the start.
void World::first_operations() {
  if (random_.chance(0.2)) {
    return;
  }
  App& app = apps_[0];
  const auto handle = app.layer->create_group(clock_of(app), channels_[0].first, channels_[0].second, config());
  for (std::uint32_t i = 1; i < apps_.size(); ++i) {
    const FullName& whom = random_.chance(0.5) ? apps_[i].name : apps_[i].service;
    const OperationId operation = checks_.begin(OperationKind::kInvite, app.name.hashed(), now_);
    checks_.about(operation, whom);
    if (!app.layer->invite(clock_of(app), *handle, whom, operation)) {
      checks_.refused(operation);
    }
  }
  carry_out(0);
}

// Repeats something that was sent, or sends it as somebody else. What is forged does not verify.
void World::meddle() {
  if (overheard_.empty()) {
    return;
  }
  const auto index = static_cast<std::uint32_t>(random_.below(apps_.size()));
  App& app = apps_[index];
  if (!app.up) {
    return;
  }
  SessionMessage message = overheard_[random_.below(overheard_.size())];
  // Acknowledgements and anycast are bound to nobody: the protocol signs and encrypts neither.
  const bool bound = is_command(message.type) || (carries_data(message.type) && message.destination.id() != kAnycastId);
  if (bound && random_.chance(0.3)) {
    message.source = apps_[random_.below(apps_.size())].name;
    message.authentic = false;
    message.message_id = static_cast<std::uint32_t>(random_.next64());
  }
  say("meddling: " + std::string(message_type_text(message.type)) + " of " + message.source.shown() + " to " + std::to_string(index));
  const bool forged = !message.authentic;
  const std::string what(message_type_text(message.type));
  hear(index, std::move(message));
  if (forged && !app.layer->actions().empty()) {
    checks_.fail("a forged " + what + " had an effect");
  }
  carry_out(index);
}

void World::random_operation() {
  if (plan_.meddles && random_.chance(0.4)) {
    meddle();
    return;
  }
  const auto index = static_cast<std::uint32_t>(random_.below(apps_.size()));
  if (!apps_[index].up) {
    return;
  }
  const std::uint64_t die = random_.below(100);
  if (die < 55) {
    publish_somewhere(index);
  } else if (die < 62) {
    publish_anycast(index);
  } else if (die < 78) {
    change_membership(index);
  } else if (die < 85) {
    change_status(index);
  } else if (die < 94) {
    make_session(index);
  } else {
    close_something(index);
  }
  carry_out(index);
}

std::optional<SessionHandle> World::pick_session(std::uint32_t index) {
  const auto handles = apps_[index].layer->sessions();
  if (handles.empty()) {
    return std::nullopt;
  }
  return handles[random_.below(handles.size())];
}

void World::publish_somewhere(std::uint32_t index) {
  const auto handle = pick_session(index);
  if (!handle) {
    return;
  }
  const bool directed = random_.chance(0.15);
  for (std::uint64_t i = 0, count = random_.chance(0.3) ? random_.between(2, 12) : 1; i < count; ++i) {
    std::optional<FullName> to;
    const auto members = apps_[index].layer->find(*handle)->participants();
    if (directed && !members.empty()) {
      to = members[random_.below(members.size())].name;
    }
    publish(index, *handle, to);
  }
}

// More than a sender keeps, at once: the window fills up.
void World::burst() {
  const auto index = static_cast<std::uint32_t>(random_.below(apps_.size()));
  const auto handle = apps_[index].up ? pick_session(index) : std::nullopt;
  if (!handle) {
    return;
  }
  say(std::to_string(index) + " bursts");
  for (std::uint64_t i = 0, count = kSendWindow + random_.between(1, 64); i < count; ++i) {
    publish(index, *handle, std::nullopt);
  }
  carry_out(index);
}

void World::publish(std::uint32_t index, SessionHandle handle, std::optional<FullName> to) {
  App& app = apps_[index];
  const Session& session = *app.layer->find(handle);
  std::vector<Name> expected;
  session.roster().for_each([&](MemberSlot slot, const Member& member) {
    if (session.sender().concerns(slot) && (!to || *to == member.name)) {
      expected.push_back(member.name.hashed());
    }
  });
  const bool reliable = session.facts().reliability.has_value();
  const OperationId operation = checks_.begin(to ? OperationKind::kDirected : OperationKind::kPublish, app.name.hashed(), now_);
  const bool waits = session.epoch() == 0 || !session.sender().started();  // for the first member, or until a restored session is back
  checks_.published(operation, session.facts().id, reliable, std::move(expected), waits);
  const Outgoing content{.payload = payload_of(operation)};
  const auto result = to ? app.layer->publish_to(clock_of(app), handle, *to, content, operation)
                         : app.layer->publish(clock_of(app), handle, content, operation);
  if (!result) {
    checks_.refused(operation);
    return;
  }
  ++outcome_.published;
  say(std::to_string(index) + " publishes " + std::to_string(operation) + " as " + std::to_string(*result));
}

void World::publish_anycast(std::uint32_t index) {
  App& app = apps_[index];
  if (!app.anycast) {
    const auto created = app.layer->create_anycast(clock_of(app), SessionConfig{.reliability = plan_.timers});
    if (!created) {
      return;
    }
    app.anycast = *created;
  }
  const OperationId operation = checks_.begin(OperationKind::kAnycast, app.name.hashed(), now_);
  checks_.published(operation, 0, true, {});
  const FullName& to = apps_[random_.below(apps_.size())].service;
  if (!app.layer->publish_with_destination(clock_of(app), *app.anycast, to, Outgoing{.payload = payload_of(operation)}, operation)) {
    checks_.refused(operation);
  }
}

void World::change_membership(std::uint32_t index) {
  App& app = apps_[index];
  const auto handle = pick_session(index);
  if (!handle) {
    return;
  }
  const TimeMs clock = clock_of(app);
  const std::uint64_t die = random_.below(10);
  const App& other = apps_[random_.below(apps_.size())];
  const FullName& whom = random_.chance(0.5) ? other.name : other.service;
  const OperationKind kind = die < 5 ? OperationKind::kInvite : die < 8 ? OperationKind::kRemove : OperationKind::kKeys;
  const OperationId operation = checks_.begin(kind, app.name.hashed(), now_);
  checks_.about(operation, whom);
  say(std::to_string(index) + (die < 5 ? " invites " : die < 8 ? " removes " : " renews keys, not of ") + whom.shown() + " as " +
      std::to_string(operation));
  const auto result = die < 5   ? app.layer->invite(clock, *handle, whom, operation)
                      : die < 8 ? app.layer->remove(clock, *handle, whom, operation)
                                : app.layer->refresh_keys(clock, *handle, operation);
  asked_[index] = asked_[index] || kind == OperationKind::kKeys;
  if (!result) {
    checks_.refused(operation);
  }
}

// Whoever moderates it knows that it has forgotten all.
void World::invite_again(const FullName& name) {
  for (std::uint32_t i = 0; i < apps_.size(); ++i) {
    App& app = apps_[i];
    if (!app.up || app.name == name) {
      continue;
    }
    for (const SessionHandle handle : app.layer->sessions()) {
      const Session& session = *app.layer->find(handle);
      if (!session.is_moderator() || !session.facts().is_group() || !session.roster().contains(name)) {
        continue;
      }
      for (const OperationKind kind : {OperationKind::kRemove, OperationKind::kInvite}) {
        const OperationId operation = checks_.begin(kind, app.name.hashed(), now_);
        checks_.about(operation, name);
        const TimeMs clock = clock_of(app);
        if (!(kind == OperationKind::kRemove ? app.layer->remove(clock, handle, name, operation) : app.layer->invite(clock, handle, name, operation))) {
          checks_.refused(operation);
        }
      }
      say(std::to_string(i) + " takes " + name.shown() + " out and in again");
    }
    carry_out(i);
  }
}

void World::change_status(std::uint32_t index) {
  App& app = apps_[index];
  const auto handle = pick_session(index);
  if (!handle) {
    return;
  }
  const OperationId operation = checks_.begin(OperationKind::kStatus, app.name.hashed(), now_);
  const bool offline = app.layer->find(*handle)->offline();
  asked_[index] = true;
  const auto result = offline ? app.layer->come_back(clock_of(app), *handle, operation) : app.layer->go_offline(clock_of(app), *handle, operation);
  if (!result) {
    checks_.refused(operation);
  } else {
    say(std::to_string(index) + (offline ? " comes back as " : " goes offline as ") + std::to_string(operation));
  }
}

void World::make_session(std::uint32_t index) {
  App& app = apps_[index];
  const App& other = apps_[random_.below(apps_.size())];
  if (random_.chance(0.15)) {
    (void)app.layer->create_group(clock_of(app), channels_[1].first, channels_[1].second, config());
    return;
  }
  const OperationId operation = checks_.begin(OperationKind::kCreate, app.name.hashed(), now_);
  const FullName& whom = random_.chance(0.5) ? other.name : other.service;
  if (app.layer->create_unicast(clock_of(app), whom, config(), operation)) {
    say(std::to_string(index) + " makes a session with " + whom.shown() + " as " + std::to_string(operation));
  } else {
    checks_.refused(operation);
  }
}

void World::close_something(std::uint32_t index) {
  App& app = apps_[index];
  const auto handle = pick_session(index);
  if (!handle) {
    return;
  }
  const OperationId operation = checks_.begin(OperationKind::kClose, app.name.hashed(), now_);
  closing_.insert_or_assign({app.layer->find(*handle)->facts().id, app.name.id()}, *handle);
  if (app.layer->close(clock_of(app), *handle, operation)) {
    say(std::to_string(index) + " closes " + std::to_string(static_cast<std::uint64_t>(*handle)) + " as " + std::to_string(operation));
  } else {
    checks_.refused(operation);
  }
}

// --- the end -------------------------------------------------------------------------------------------------------

// The network is well again and nobody asks for anything: everything under way must end, and members find each other.
void World::calm_down() {
  constexpr TimeMs kStep = 20'000;
  constexpr TimeMs kSettling = 100'000;
  constexpr TimeMs kPatience = 3'000'000;
  say("calm");
  for (const Fault& fault : plan_.faults) {
    end(fault);
  }
  run_until(now_ + kFirstOperation);  // the last of them may still be to come
  const TimeMs begun = now_;
  while (!checks_.failed() && !checks_.all_resolved() && now_ < begun + kPatience) {
    bring_back();
    run_until(now_ + kStep);
  }
  for (TimeMs until = now_ + kPatience; !checks_.failed() && somebody_offline() && now_ < until;) {
    bring_back();
    run_until(now_ + kStep);
  }
  if (somebody_offline()) {
    checks_.fail("somebody cannot come back");
  }
  run_until(now_ + kSettling);
  if (!checks_.failed()) {
    judge_agreement();
  }
}

bool World::somebody_offline() const {
  return std::ranges::any_of(apps_, [](const App& app) {
    return std::ranges::any_of(app.layer->sessions(), [&](SessionHandle handle) { return app.layer->find(handle)->offline(); });
  });
}

void World::bring_back() {
  for (std::uint32_t i = 0; i < apps_.size(); ++i) {
    for (const SessionHandle handle : apps_[i].layer->sessions()) {
      if (apps_[i].layer->find(handle)->offline()) {
        const OperationId operation = checks_.begin(OperationKind::kStatus, apps_[i].name.hashed(), now_);
        if (!apps_[i].layer->come_back(clock_of(apps_[i]), handle, operation)) {
          checks_.refused(operation);
        }
      }
    }
    carry_out(i);
  }
}

void World::judge_agreement() {
  for (std::uint32_t i = 0; i < apps_.size(); ++i) {
    checks_.judge_bounds(*apps_[i].layer);
    for (const SessionHandle handle : apps_[i].layer->sessions()) {
      const Session& session = *apps_[i].layer->find(handle);
      if (session.is_moderator()) {
        judge_group(i, session);
      }
    }
  }
}

// All applications that hold this session, against its moderator.
void World::judge_group(std::uint32_t index, const Session& moderator) {
  const std::string which = "session " + std::to_string(moderator.facts().id) + " of app " + std::to_string(index) + ": ";
  for (std::uint32_t i = 0; i < apps_.size(); ++i) {
    if (i == index) {
      continue;
    }
    const std::string member_text = "app " + std::to_string(i);
    const Session* held = nullptr;
    for (const SessionHandle handle : apps_[i].layer->sessions()) {
      const Session& session = *apps_[i].layer->find(handle);
      if (session.facts().id == moderator.facts().id && session.moderator() == moderator.moderator()) {
        held = &session;
      }
    }
    const MemberSlot slot = moderator.roster().find(apps_[i].name.hashed());
    if (moderator.offline() || (held != nullptr && held->offline())) {
      continue;
    }
    // Whoever left while nobody heard it is held to be offline: that is all that can be known.
    const bool listed = slot != kNoSlot && moderator.roster()[slot].status == MemberStatus::kOnline;
    if ((held != nullptr && slot == kNoSlot) || (held == nullptr && listed)) {
      checks_.fail(which + member_text + (held != nullptr ? " thinks it is in" : " is listed and knows nothing"));
      return;
    }
    if (held == nullptr) {
      continue;
    }
    if (held->epoch() != moderator.epoch()) {
      checks_.fail(which + member_text + " is in epoch " + std::to_string(held->epoch()) + " and not " + std::to_string(moderator.epoch()));
    }
    if (moderator.roster()[slot].status != MemberStatus::kOnline) {
      checks_.fail(which + member_text + " is there and held to be offline");
    }
    if (held->roster().size() != moderator.roster().size()) {
      checks_.fail(which + member_text + " knows " + std::to_string(held->roster().size()) + " members and not " +
                   std::to_string(moderator.roster().size()));
    }
    moderator.roster().for_each([&](MemberSlot, const Member& member) {
      const MemberSlot there = held->roster().find(member.name.hashed());
      if (there == kNoSlot) {
        checks_.fail(which + member_text + " does not know " + member.name.shown());
        return;
      }
      const bool alive = std::ranges::any_of(apps_, [&](const App& app) { return app.name == member.name; });
      if (alive && held->roster()[there].status != MemberStatus::kOnline && moderator.roster()[moderator.roster().find(member.name.hashed())].status == MemberStatus::kOnline) {
        checks_.fail(which + member_text + " holds " + member.name.shown() + " to be offline");
      }
    });
  }
}

void World::close_all() {
  constexpr TimeMs kEnough = 700'000;
  say("close all");
  for (std::uint32_t i = 0; i < apps_.size(); ++i) {
    for (const SessionHandle handle : apps_[i].layer->sessions()) {
      const OperationId operation = checks_.begin(OperationKind::kClose, apps_[i].name.hashed(), now_);
      closing_.insert_or_assign({apps_[i].layer->find(handle)->facts().id, apps_[i].name.id()}, handle);
      if (!apps_[i].layer->close(clock_of(apps_[i]), handle, operation)) {
        checks_.refused(operation);
      }
    }
    carry_out(i);
  }
  run_until(now_ + kEnough);
  for (std::uint32_t i = 0; i < apps_.size(); ++i) {
    const SessionLayer& layer = *apps_[i].layer;
    if (!layer.sessions().empty()) {
      checks_.fail("app " + std::to_string(i) + " still has a session after all were closed");
    }
    if (layer.next_deadline() || layer.anycast().open() != 0) {
      checks_.fail("app " + std::to_string(i) + " still has a timer after all is over");
    }
  }
}

}  // namespace slipway::sim
