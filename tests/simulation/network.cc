// The simulated node and the links to it.
#include <algorithm>

#include "world.h"

namespace slipway::sim {

bool World::passes(std::uint32_t from, std::uint32_t to) const {
  const App& a = apps_[from];
  const App& b = apps_[to];
  const bool same_side = side_ == 0 || ((side_ >> from ^ side_ >> to) & 1) == 0;
  return node_up_ && a.up && b.up && !a.cut_off && !b.cut_off && same_side;
}

void World::send(std::uint32_t from, SessionMessage message) {
  judge_repair(from, message);
  judge_repetition(from, message);
  const bool is_ack = message.type == MessageType::kMsgAck || message.type == MessageType::kGroupAck || message.type == MessageType::kJoinReply ||
                      message.type == MessageType::kLeaveReply;
  if (!node_up_ || (is_ack && apps_[from].loses_acks)) {
    return;
  }
  message.authentic = true;
  message.from_slipway = true;
  if (plan_.meddles) {
    constexpr std::size_t kOverheard = 64;
    if (overheard_.size() < kOverheard) {
      overheard_.push_back(message);
    } else if (random_.chance(0.2)) {
      overheard_[random_.below(kOverheard)] = message;
    }
  }
  const Name& to = message.destination.hashed();
  std::uint64_t seen = 0;
  std::vector<std::uint32_t> matches;
  for (const Subscription& entry : table_) {
    const bool match = to.id.is_null() ? entry.name.component == to.component : entry.name == to;
    if (match && entry.app != from && (seen >> entry.app & 1) == 0 && entry.life == apps_[entry.app].life) {
      seen |= std::uint64_t{1} << entry.app;
      matches.push_back(entry.app);
    }
  }
  if (matches.empty()) {
    return;
  }
  if (message.fanout == kOneReceiver) {
    deliver_later(from, matches[random_.below(matches.size())], message);
    return;
  }
  for (const std::uint32_t app : matches) {
    deliver_later(from, app, message);
  }
}

void World::deliver_later(std::uint32_t from, std::uint32_t to, const SessionMessage& message) {
  if (!passes(from, to)) {
    return;
  }
  const bool quiet = now_ >= busy_until_;
  int copies = !quiet && random_.chance(plan_.duplication) ? 2 : 1;
  for (; copies > 0; --copies) {
    if (!quiet && plan_.loss > 0 && random_.chance(plan_.loss)) {
      continue;
    }
    TimeMs at = now_ + random_.between(plan_.delay_min, quiet ? plan_.delay_min + 2 : plan_.delay_max) + apps_[to].slow_ms;
    if (!quiet && plan_.late_max > 0 && random_.chance(0.05)) {
      at += random_.below(plan_.late_max + 1);
    }
    const auto late = apps_[to].late.find(message.type);
    if (late != apps_[to].late.end()) {
      at += late->second;
    } else if (!plan_.reorders) {
      TimeMs& last = last_arrival_[from * apps_.size() + to];
      at = std::max(at, last);
      last = at;
    }
    std::size_t index = messages_.size();
    if (free_messages_.empty()) {
      messages_.push_back(message);
    } else {
      index = free_messages_.back();
      free_messages_.pop_back();
      messages_[index] = message;
    }
    schedule(at, EventKind::kArrival, to, index);
  }
}

void World::subscribe(std::uint32_t app, SessionHandle session, const FullName& name) {
  apps_[app].wanted.push_back({session, name, false});
  subscribe_later(app, session, name);
}

void World::subscribe_later(std::uint32_t app, SessionHandle session, const FullName& name) {
  pending_.push_back({session, name});
  schedule(now_ + random_.between(1, 3), EventKind::kSubscription, app, pending_.size() - 1);
}

// An application goes on asking until the node has answered: its client library does that.
void World::on_subscribed(std::uint32_t index, const PendingSubscription& what) {
  App& app = apps_[index];
  const auto wanted = std::ranges::find_if(app.wanted, [&](const App::Wanted& w) { return w.session == what.session && w.name == what.name; });
  if (wanted == app.wanted.end()) {
    return;
  }
  if (!node_up_ || app.cut_off) {
    pending_.push_back(what);
    schedule(now_ + 200, EventKind::kSubscription, index, pending_.size() - 1);
    return;
  }
  table_.push_back({index, app.life, what.name.hashed()});
  if (!wanted->answered && what.session != SessionHandle::kNone) {
    wanted->answered = true;
    app.layer->on_subscription(clock_of(app), what.session, what.name, true);
  }
}

void World::unsubscribe(std::uint32_t index, SessionHandle session, const FullName& name) {
  App& app = apps_[index];
  std::erase_if(app.wanted, [&](const App::Wanted& w) { return w.session == session && w.name == name; });
  const bool still = std::ranges::any_of(app.wanted, [&](const App::Wanted& w) { return w.name == name; });
  if (!still) {
    std::erase_if(table_, [&](const Subscription& s) { return s.app == index && s.name == name.hashed(); });
  }
}

}  // namespace slipway::sim
