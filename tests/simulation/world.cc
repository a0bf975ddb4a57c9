// The machine: events in the order of time, applications, faults.
#include "world.h"

#include <algorithm>
#include <cstdio>
#include <utility>

#include "session/session_bounds.h"

namespace slipway::sim {

namespace {

FullName service_name(std::uint32_t number) { return FullName(TextName{{"sim", "apps", "s" + std::to_string(number)}, kNullId}); }

// Names cost strings and hashes; runs share them.
const FullName& service(std::uint32_t number) {
  static const std::vector<FullName> names = [] {
    std::vector<FullName> all;
    for (std::uint32_t i = 0; i < 16; ++i) {
      all.push_back(service_name(i));
    }
    return all;
  }();
  return names[number];
}

const FullName& channel_service() {
  static const FullName name(TextName{{"sim", "apps", "channel"}, kNullId});
  return name;
}

}  // namespace

World::World(std::uint64_t seed, bool trace, Mls mls)
    : random_(seed ^ 0x5eed),
      trace_(trace),
      mls_(mls),
      suite_(seed % 2 == 0 ? mls::CipherSuite::kP256Aes128Sha256P256 : mls::CipherSuite::kX25519Aes128Sha256Ed25519) {
  plan_ = draw_plan(random_);
  Random extras(seed ^ 0xe87a5);
  draw_extras(plan_, extras);
  busy_until_ = now_ + plan_.busy_ms;
  apps_.resize(plan_.apps);
  fair_ = plan_.loss == 0 && plan_.duplication == 0 && !plan_.reorders && !plan_.meddles && plan_.faults.empty();
  asked_.assign(plan_.apps, false);
  last_arrival_.assign(std::size_t{plan_.apps} * plan_.apps, 0);
  for (std::uint32_t i = 0; i < plan_.apps; ++i) {
    apps_[i].service = service(i % plan_.services);
    start_app(i);
  }
  make_channels();
  for (std::size_t i = 0; i < plan_.faults.size(); ++i) {
    schedule(now_ + plan_.faults[i].from, EventKind::kFaultBegins, 0, i);
    schedule(now_ + std::min(plan_.faults[i].until, plan_.busy_ms), EventKind::kFaultEnds, 0, i);
  }
  for (std::uint32_t i = 0; i < plan_.operations; ++i) {
    schedule(now_ + kFirstOperation + random_.below(plan_.busy_ms), EventKind::kOperation);
  }
  for (std::uint32_t i = 0; i < plan_.bursts; ++i) {
    schedule(now_ + kFirstOperation + extras.below(plan_.busy_ms), EventKind::kBurst);
  }
  say("mls " + std::to_string(plan_.mls) + " reliable " + std::to_string(plan_.reliable) + " apps " + std::to_string(plan_.apps) + " timers " +
      std::to_string(plan_.timers.timeout_ms) + "x" + std::to_string(plan_.timers.max_retries) + " loss " + std::to_string(plan_.loss));
}

void World::make_channels() {
  for (int i = 0; i < 2; ++i) {
    channels_.emplace_back(channel_service().with_id({random_.next64() >> 1, random_.next64()}),
                           channel_service().with_id({random_.next64() >> 1, random_.next64()}));
  }
}

void World::say(const std::string& text) const {
  if (trace_) {
    std::fprintf(stderr, "%8llu  %s\n", static_cast<unsigned long long>(now_ - 1'000'000), text.c_str());
  }
}

void World::schedule(TimeMs at, EventKind kind, std::uint32_t app, std::size_t index) {
  events_.push({at, ++order_, kind, app, apps_[app].life, node_life_, index});
}

// --- applications ------------------------------------------------------------------------------------------------

void World::start_app(std::uint32_t index) {
  App& app = apps_[index];
  NameId id{random_.next64() >> 1, random_.next64()};
  if (mls_ == Mls::kReal) {
    app.subject = "app" + std::to_string(index) + "_" + std::to_string(id.low);
    id = id_of_identity(app.subject);
  }
  app.name = app.service.with_id(id);
  app.kept.clear();
  app.last_write_undone = nullptr;
  begin_life(index);
}

// As whoever it is. Its keys are others than in the life before.
void World::begin_life(std::uint32_t index) {
  App& app = apps_[index];
  app.up = true;
  ++app.life;
  app.random = std::make_unique<Random>(random_.next64());
  const std::uint64_t seed = random_.next64();
  if (mls_ == Mls::kReal) {
    app.groups = std::make_unique<RealGroups>(app.name, app.subject, suite_, seed, group_log_);
  } else {
    auto groups = std::make_unique<FakeGroups>(app.name, seed, &group_log_);
    groups->refusals = plan_.refusals;
    app.groups = std::move(groups);
  }
  const bool silent = plan_.silent && index == 0;
  app.layer = std::make_unique<SessionLayer>(LayerConfig{.local = app.name, .direction = {!silent, !silent}, .keep_sessions = true}, *app.random, *app.groups);
  app.anycast.reset();
  app.wake_at = 0;
  app.wanted.clear();
  for (const FullName& name : {app.name, app.service.with_id(kAnycastId)}) {
    app.wanted.push_back({SessionHandle::kNone, name, true});
    table_.push_back({index, app.life, name.hashed()});
  }
  say("app " + std::to_string(index) + " is " + app.name.shown());
}

void World::crash_app(std::uint32_t index) {
  App& app = apps_[index];
  if (!app.up) {
    return;
  }
  say("app " + std::to_string(index) + " crashes");
  checks_.crashed(app.name.hashed(), now_);
  app.up = false;
  ++app.life;  // what is under way to it is for nobody
  forget_waits(index);
  app.layer.reset();
  std::erase_if(table_, [index](const Subscription& s) { return s.app == index; });
}

// With what it kept, which may be a write behind.
void World::restart_app(std::uint32_t index) {
  App& app = apps_[index];
  std::vector<Held> before;
  std::erase_if(held_, [&](const auto& entry) {
    const bool own = entry.first.first == app.name.hashed();
    if (own) {
      before.push_back(entry.second);
    }
    return own;
  });
  begin_life(index);
  for (const auto& [key, parts] : std::map(app.kept)) {
    const auto restored = app.layer->restore(clock_of(app), key, parts);
    if (!restored) {
      checks_.fail("app " + std::to_string(index) + " cannot go on with what it kept: " + restored.error().message());
      return;
    }
    const Session& session = *app.layer->find(*restored);
    say("  " + std::to_string(index) + " restores session " + std::to_string(static_cast<std::uint64_t>(*restored)));
    for (const Held& held : before) {
      if (held.session_id == session.facts().id && held.moderator == session.moderator()) {
        held_.insert_or_assign({app.name.hashed(), *restored}, held).first->second.version = 0;  // the last write may be lost
      }
    }
  }
  carry_out(index);
}

void World::keep(std::uint32_t index, const StoreSession& wish) {
  App& app = apps_[index];
  if (trace_) {
    say("  " + std::to_string(index) + " writes" + (wish.parts.record ? " record" : "") + (wish.parts.progress ? " progress" : "") +
        (wish.parts.group ? " group" : "") + " of session " + std::to_string(static_cast<std::uint64_t>(wish.session)));
  }
  const auto at = app.kept.find(wish.key);
  app.last_write_undone = [&kept = app.kept, key = wish.key, was = at == app.kept.end() ? std::nullopt : std::optional(at->second)] {
    if (was) {
      kept.insert_or_assign(key, *was);
    } else {
      kept.erase(key);
    }
  };
  StoredSession& parts = app.kept[wish.key];
  for (SharedBytes StoredSession::*part : {&StoredSession::record, &StoredSession::progress, &StoredSession::group}) {
    if (wish.parts.*part) {
      parts.*part = wish.parts.*part;
    }
  }
}

void World::forget(std::uint32_t index, std::uint64_t key) {
  App& app = apps_[index];
  if (const auto at = app.kept.find(key); at != app.kept.end()) {
    app.last_write_undone = [&kept = app.kept, key, was = at->second] { kept.insert_or_assign(key, was); };
    app.kept.erase(at);
  }
}

void World::wake_later(std::uint32_t index) {
  App& app = apps_[index];
  const auto deadline = app.layer->next_deadline();
  if (!deadline) {
    return;
  }
  const TimeMs at = std::max<std::int64_t>(static_cast<std::int64_t>(*deadline) - app.clock_ms, static_cast<std::int64_t>(now_));
  if (app.wake_at == 0 || at < app.wake_at || app.wake_at < now_) {
    app.wake_at = at;
    schedule(at, EventKind::kWake, index);
  }
}

void World::carry_out(std::uint32_t index) {
  App& app = apps_[index];
  Actions actions;
  while (!app.layer->actions().empty()) {
    actions.clear();
    std::swap(actions, app.layer->actions());
    for (Action& action : actions) {
      if (auto* out = std::get_if<SendMessage>(&action)) {
        if (trace_) {
          say("  " + std::to_string(index) + " -> " + out->message.destination.shown() + " " +
              std::string(message_type_text(out->message.type)) + " " + std::to_string(out->message.message_id));
        }
        note_sent(index, out->message);
        send(index, std::move(out->message));
      } else if (auto* delivery = std::get_if<DeliverMessage>(&action)) {
        const Session* session = app.layer->find(delivery->session);
        const bool reliable = session != nullptr && session->facts().reliability.has_value();
        say("  " + std::to_string(index) + " delivers " + std::to_string(number_in(delivery->message.payload)));
        const auto held = held_.find({app.name.hashed(), delivery->session});
        checks_.delivered(app.name.hashed(), app.life, *delivery, held == held_.end() ? 0 : held->second.since, reliable, session != nullptr && session->facts().mls.has_value());
      } else if (auto* resolve = std::get_if<Resolve>(&action)) {
        say("  " + std::to_string(index) + " operation " + std::to_string(resolve->operation) + " ends" +
            (resolve->error ? ": " + resolve->error->message() : std::string()) +
            (resolve->undelivered.empty() ? "" : ", undelivered " + std::to_string(resolve->undelivered.size())));
        checks_.resolved(resolve->operation, *resolve);
        const auto asked_at = checks_.status_asked_at(resolve->operation);
        if (fair_ && asked_at && now_ - *asked_at >= kDrainMs) {
          checks_.fail("a change of status waited for what nobody could answer");
        }
        if (const Session* session = app.layer->find(resolve->session)) {
          checks_.judge_change(*resolve, *session);
        }
      } else if (auto* wish = std::get_if<SubscribeName>(&action)) {
        subscribe(index, wish->session, wish->name);
      } else if (auto* end = std::get_if<UnsubscribeName>(&action)) {
        unsubscribe(index, end->session, end->name);
      } else if (auto* closed = std::get_if<SessionClosed>(&action)) {
        say("  " + std::to_string(index) + " session " + std::to_string(static_cast<std::uint64_t>(closed->session)) + " closed, reason " +
            std::to_string(static_cast<int>(closed->reason)));
        const auto held = held_.find({app.name.hashed(), closed->session});
        if (held != held_.end()) {
          checks_.interrupted(held->second.session_id, app.name.hashed(), now_);
          if (closed->reason == CloseReason::kRemoved) {
            judge_throwing_out(held->second, app.name);
          }
        }
      } else if (auto* presence = std::get_if<Presence>(&action)) {
        const bool gone = presence->change == PresenceChange::kLeft || presence->change == PresenceChange::kRemoved;
        say("  " + std::to_string(index) + " sees " + presence->member.shown() + " change " + std::to_string(static_cast<int>(presence->change)));
        const Session* session = app.layer->find(presence->session);
        if (presence->change == PresenceChange::kOffline && session != nullptr) {
          judge_absence(index, *session, presence->member);
        }
        if (session != nullptr && session->is_moderator() && presence->change == PresenceChange::kLeft) {
          judge_farewell(*session, presence->member);
        }
        if (session != nullptr && session->is_moderator() && gone) {
          confirmed_.erase({session->facts().id, presence->member.id()});
        } else if (session != nullptr && session->is_moderator() && presence->change == PresenceChange::kJoined) {
          confirmed_.emplace(session->facts().id, presence->member.id());
        }
        if (gone && session != nullptr) {
          checks_.interrupted(session->facts().id, presence->member.hashed(), now_);
          checks_.stream_ends(app.name.hashed(), presence->session, presence->member.hashed());
        }
      } else if (auto* opened = std::get_if<SessionOpened>(&action)) {
        ++outcome_.joins;
        std::erase_if(closing_, [&](const auto& entry) {
          return entry.first == std::pair(app.layer->find(opened->session)->facts().id, app.name.id()) && entry.second != opened->session;
        });
        say("  " + std::to_string(index) + " session " + std::to_string(static_cast<std::uint64_t>(opened->session)) + " opened");
      } else if (auto* write = std::get_if<StoreSession>(&action)) {
        keep(index, *write);
      } else if (auto* over = std::get_if<ForgetSession>(&action)) {
        forget(index, over->key);
      } else if (auto* lost = std::get_if<MessagesLost>(&action)) {
        say("  " + std::to_string(index) + " lost " + std::to_string(lost->first_id) + " and " + std::to_string(lost->count - 1) + " more of " +
            lost->source.shown());
      }
    }
  }
  judge_updates(index);
  judge_gaps(index);
  for (const SessionHandle handle : app.layer->sessions()) {
    const Session& session = *app.layer->find(handle);
    const auto [held, first] = held_.try_emplace({app.name.hashed(), handle}, Held{session.facts().id, now_, session.moderator()});
    if (session.roster_version() < held->second.version) {
      checks_.fail("app " + std::to_string(index) + " takes an old roster for news");
    }
    held->second.version = session.roster_version();
  }
  wake_later(index);
}

// Rejoins, and rosters sent again, are for what went wrong.
void World::judge_repair(std::uint32_t from, const SessionMessage& message) {
  if (!fair_ || std::ranges::find(asked_, true) != asked_.end()) {
    return;
  }
  const auto* update = std::get_if<GroupUpdate>(&message.payload);
  const bool roster_again = update != nullptr && message.fanout == kOneReceiver && message.session_type == SessionType::kMulticast;
  if (message.type == MessageType::kRejoinRequest || roster_again) {
    checks_.fail("app " + std::to_string(from) + " repairs what nothing had broken: " + std::string(message_type_text(message.type)));
  }
}

// Whoever asks again gets the answer that it got.
void World::judge_repetition(std::uint32_t from, const SessionMessage& message) {
  const auto* join = std::get_if<JoinReply>(&message.payload);
  const auto* rejoin = std::get_if<RejoinReply>(&message.payload);
  const SharedBytes answer = join != nullptr ? join->key_package : rejoin != nullptr ? rejoin->mls_content : nullptr;
  if (!answer) {
    return;
  }
  const TimeMs now = clock_of(apps_[from]);
  const auto [before, first] = answers_.try_emplace({from, apps_[from].life, message.message_id, message.destination.id()}, answer, now);
  // What was answered in a session that is over is forgotten after a while; of a clock that jumps nobody can say when.
  const bool jumps = std::ranges::any_of(plan_.faults, [from](const Fault& fault) {
    return fault.app == from && (fault.kind == FaultKind::kClockForward || fault.kind == FaultKind::kClockBack);
  });
  const bool remembered = !jumps && now < before->second.second + kTombstoneMs;
  if (!first && remembered && *before->second.first != *answer) {
    checks_.fail("app " + std::to_string(from) + " carried out again what was asked once: " + std::string(message_type_text(message.type)));
  }
}

// Somebody is held to be offline: then something went wrong, or it is not there.
void World::judge_absence(std::uint32_t index, const Session& session, const FullName& member) {
  const auto holds = [&](const App& app) { return app.up && app.name == member && only_session(app, session.facts().id) != nullptr; };
  if (fair_ && std::ranges::find(asked_, true) == asked_.end() && std::ranges::any_of(apps_, holds)) {
    checks_.fail("app " + std::to_string(index) + " misses " + member.shown() + ", which is there");
  }
}

// Who left had asked for it since it came.
void World::judge_farewell(const Session& session, const FullName& member) {
  const bool there = std::ranges::any_of(apps_, [&](const App& app) { return app.up && app.name == member; });
  if (there && !closing_.contains({session.facts().id, member.id()})) {
    checks_.fail(member.shown() + " was taken out by a farewell from before it came");
  }
}

// A member was told to leave: then its moderator has let it go since it let it in.
void World::judge_throwing_out(const Held& held, const FullName& member) {
  if (!confirmed_.contains({held.session_id, member.id()})) {
    return;
  }
  for (const App& app : apps_) {
    if (!app.up || !(app.name == held.moderator)) {
      continue;
    }
    for (const SessionHandle handle : app.layer->sessions()) {
      const Session& session = *app.layer->find(handle);
      if (session.facts().id == held.session_id && session.is_moderator() && session.roster().contains(member)) {
        checks_.fail(member.shown() + " was thrown out by what was said before it came");
      }
    }
  }
}

// --- faults ------------------------------------------------------------------------------------------------------

void World::begin(const Fault& fault) {
  say("fault " + std::to_string(static_cast<int>(fault.kind)) + " of app " + std::to_string(fault.app) + " amount " + std::to_string(fault.amount));
  App& app = apps_[fault.app];
  switch (fault.kind) {
    case FaultKind::kPartition: side_ = fault.amount; break;
    case FaultKind::kNodeCrash:
      node_up_ = false;
      ++node_life_;
      std::erase_if(table_, [](const Subscription&) { return true; });
      break;
    case FaultKind::kAppCrash:
    case FaultKind::kAppForgets: crash_app(fault.app); break;
    case FaultKind::kAppRestart:
      if (app.up) {
        crash_app(fault.app);
        if (fault.amount % 2 != 0 && app.last_write_undone) {
          say("its last write is lost");
          app.last_write_undone();
        }
        app.last_write_undone = nullptr;
      }
      break;
    case FaultKind::kCutOff: app.cut_off = true; break;
    case FaultKind::kSlow: app.slow_ms = fault.amount; break;
    case FaultKind::kClockForward:
      app.clock_ms += static_cast<std::int64_t>(fault.amount);
      if (app.up) {
        schedule(now_, EventKind::kWake, fault.app);
      }
      break;
    case FaultKind::kClockBack: app.clock_ms = std::max<std::int64_t>(app.clock_ms - static_cast<std::int64_t>(fault.amount), -900'000); break;
    case FaultKind::kAckLoss: app.loses_acks = true; break;
    case FaultKind::kKindLate: app.late[late_kind(fault)] = late_by(fault); break;
  }
}

void World::end(const Fault& fault) {
  App& app = apps_[fault.app];
  switch (fault.kind) {
    case FaultKind::kPartition: side_ = 0; break;
    case FaultKind::kNodeCrash:
      if (!node_up_) {
        node_up_ = true;
        for (std::uint32_t i = 0; i < apps_.size(); ++i) {
          if (apps_[i].up) {
            for (const App::Wanted& wanted : apps_[i].wanted) {
              subscribe_later(i, wanted.session, wanted.name);
            }
          }
        }
      }
      break;
    case FaultKind::kAppCrash:
      if (!app.up) {
        start_app(fault.app);
      }
      break;
    case FaultKind::kAppRestart:
      if (!app.up) {
        restart_app(fault.app);
      }
      break;
    case FaultKind::kAppForgets:
      if (!app.up) {
        app.kept.clear();
        app.last_write_undone = nullptr;
        restart_app(fault.app);
        invite_again(app.name);
      }
      break;
    case FaultKind::kCutOff: app.cut_off = false; break;
    case FaultKind::kSlow: app.slow_ms = 0; break;
    case FaultKind::kAckLoss: app.loses_acks = false; break;
    case FaultKind::kKindLate: app.late.erase(late_kind(fault)); break;
    case FaultKind::kClockForward:
    case FaultKind::kClockBack: break;
  }
}

// --- the loop ----------------------------------------------------------------------------------------------------

void World::step(const Event& event) {
  const bool of_app = event.kind == EventKind::kArrival || event.kind == EventKind::kSubscription || event.kind == EventKind::kWake;
  const bool stale = of_app && (!apps_[event.app].up || apps_[event.app].life != event.life);
  App& app = apps_[event.app];
  switch (event.kind) {
    case EventKind::kArrival: {
      SessionMessage message = std::move(messages_[event.index]);
      messages_[event.index] = {};
      free_messages_.push_back(event.index);
      if (stale || event.node_life != node_life_) {
        return;
      }
      if (trace_) {
        say(std::to_string(event.app) + " hears " + std::string(message_type_text(message.type)) + " " + std::to_string(message.message_id) +
            " of " + message.source.shown());
      }
      hear(event.app, std::move(message));
      break;
    }
    case EventKind::kSubscription:
      if (stale) {
        return;
      }
      on_subscribed(event.app, PendingSubscription(pending_[event.index]));
      break;
    case EventKind::kWake:
      if (stale) {
        return;
      }
      if (app.wake_at <= now_) {
        app.wake_at = 0;
      }
      app.layer->advance(clock_of(app));
      break;
    case EventKind::kOperation: random_operation(); return;
    case EventKind::kBurst: burst(); return;
    case EventKind::kFaultBegins: begin(plan_.faults[event.index]); return;
    case EventKind::kFaultEnds: end(plan_.faults[event.index]); return;
  }
  carry_out(event.app);
}

void World::run_until(TimeMs end) {
  while (!events_.empty() && events_.top().at <= end && !checks_.failed()) {
    const Event event = events_.top();
    events_.pop();
    now_ = event.at;
    ++outcome_.events;
    step(event);
    if (outcome_.events % 256 == 0) {
      for (const App& app : apps_) {
        if (app.layer) {
          checks_.judge_bounds(*app.layer);
        }
      }
    }
  }
  now_ = end;
}

Outcome World::run() {
  first_operations();
  run_until(busy_until_);
  calm_down();
  if (!checks_.failed()) {
    checks_.judge_losses();  // before members leave, which excuses what they did not get
  }
  if (!checks_.failed()) {
    close_all();
  }
  if (!checks_.failed()) {
    checks_.judge();
  }
  if (!group_log_.breaches().empty()) {
    checks_.fail(group_log_.breaches());
  }
  outcome_.failure = checks_.failure();
  outcome_.delivered = checks_.deliveries;
  outcome_.reported_lost = checks_.losses;
  return outcome_;
}

}  // namespace slipway::sim
