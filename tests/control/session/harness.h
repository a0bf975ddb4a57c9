// Session layers on a wire that the test holds in its hands: everything sent is written down, anything can be lost, time moves when
// the test says so.
#pragma once

#include <algorithm>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "fake_group.h"
#include "session/session_layer.h"
#include "sim_random.h"

namespace slipway::testing {

inline FullName named(const std::string& service, std::uint64_t id) {
  return FullName(TextName{{"org", "ns", service}, NameId{.high = 1, .low = id}});
}
inline FullName service_of(const std::string& service) { return FullName(TextName{{"org", "ns", service}, kNullId}); }
inline SharedBytes bytes_of(std::string_view text) {
  const auto* data = reinterpret_cast<const std::byte*>(text.data());
  return std::make_shared<const Bytes>(data, data + text.size());
}
inline std::string text_of(const SharedBytes& bytes) {
  return bytes ? std::string(reinterpret_cast<const char*>(bytes->data()), bytes->size()) : std::string();
}

struct Endpoint {
  FullName name;
  sim::Random random;
  sim::FakeGroups groups;
  SessionLayer layer;
  std::vector<FullName> subscribed;
  std::vector<AppMessage> got;
  std::vector<Resolve> resolved;
  std::vector<MessagesLost> lost;
  std::vector<Presence> presence;
  std::vector<SessionHandle> opened;
  std::vector<SessionClosed> closed;
  std::map<std::uint64_t, StoredSession> kept;         // over a restart
  std::map<std::uint64_t, StoredSession> kept_before;  // the last write
  std::size_t writes = 0;
  Direction direction;
  bool theirs = false;                                 // like upstream's: takes no stateless messages, knows of no lines
  bool deaf = false;                                   // nothing reaches it

  Endpoint(const std::string& service, std::uint64_t id, Direction directed = {}, sim::GroupLog* log = nullptr)
      : name(named(service, id)), random(id * 7919), groups(name, id, log), layer(config_of(name, directed), random, groups), direction(directed) {}
  static LayerConfig config_of(const FullName& name, Direction direction) { return {.local = name, .direction = direction, .keep_sessions = true}; }
  // The process dies: nothing is left but what was kept.
  void crash() {
    std::destroy_at(&layer);
    std::construct_at(&layer, config_of(name, direction), random, groups);
    subscribed.clear();
    opened.clear();
  }
  // Begins again from it; the handles of what is back, in the order of their keys.
  std::vector<SessionHandle> restore(TimeMs now, const std::map<std::uint64_t, StoredSession>& from) {
    std::vector<SessionHandle> handles;
    for (const auto& [key, parts] : std::map(from)) {
      if (const auto handle = layer.restore(now, key, parts)) {
        handles.push_back(*handle);
      }
    }
    return handles;
  }
  void write(const StoreSession& wish) {
    kept_before = kept;
    ++writes;
    StoredSession& parts = kept[wish.key];
    for (SharedBytes StoredSession::*part : {&StoredSession::record, &StoredSession::progress, &StoredSession::group}) {
      if (wish.parts.*part) {
        parts.*part = wish.parts.*part;
      }
    }
  }

  [[nodiscard]] const Resolve* result(OperationId operation) const {
    const Resolve* found = nullptr;
    for (const Resolve& resolve : resolved) {
      if (resolve.operation == operation) {
        found = found == nullptr ? &resolve : nullptr;  // twice is as bad as never
      }
    }
    return found;
  }
  [[nodiscard]] bool succeeded(OperationId operation) const {
    const Resolve* resolve = result(operation);
    return resolve != nullptr && !resolve->error && resolve->undelivered.empty();
  }
  [[nodiscard]] std::vector<std::string> texts() const {
    std::vector<std::string> all;
    for (const AppMessage& message : got) {
      all.push_back(text_of(message.payload));
    }
    return all;
  }
};

class Wire {
 public:
  TimeMs now = 1'000;
  std::vector<SessionMessage> log;                                // all that was sent, lost or not
  std::function<bool(const SessionMessage&)> lose;                // true: this one does not arrive
  std::function<void(SessionMessage&)> change;                    // what arrives is not what was sent
  bool authentic = true;
  bool from_slipway = true;
  bool in_turn = false;                                           // any instance: each in its turn

  sim::GroupLog group_log;                                        // who may open what; no key serves twice

  Endpoint& add(const std::string& service, std::uint64_t id, Direction direction = {}) {
    return *endpoints_.emplace_back(std::make_unique<Endpoint>(service, id, direction, &group_log));
  }
  // Carries out and delivers until nothing moves.
  void run() {
    for (bool moved = true; moved;) {
      moved = false;
      for (auto& endpoint : endpoints_) {
        moved = carry_out(*endpoint) || moved;
      }
    }
  }
  // Moves the clock, waking whoever is due on the way.
  void pass(TimeMs ms) {
    const TimeMs end = now + ms;
    run();
    for (;;) {
      std::optional<TimeMs> next;
      for (auto& endpoint : endpoints_) {
        sooner(next, endpoint->layer.next_deadline());
      }
      if (!next || *next > end) {
        break;
      }
      now = std::max(now, *next);
      for (auto& endpoint : endpoints_) {
        endpoint->layer.advance(now);
      }
      run();
    }
    now = end;
  }
  void inject(Endpoint& to, SessionMessage message) {
    message.authentic = authentic;
    message.from_slipway = from_slipway;
    to.layer.on_message(now, std::move(message));
    run();
  }
  [[nodiscard]] std::vector<MessageType> types(std::size_t from = 0) const {
    std::vector<MessageType> all;
    for (std::size_t i = from; i < log.size(); ++i) {
      all.push_back(log[i].type);
    }
    return all;
  }
  [[nodiscard]] std::size_t count(MessageType type) const {
    std::size_t n = 0;
    for (const SessionMessage& message : log) {
      n += message.type == type;
    }
    return n;
  }
  [[nodiscard]] const SessionMessage& last(MessageType type) const {
    for (std::size_t i = log.size(); i-- > 0;) {
      if (log[i].type == type) {
        return log[i];
      }
    }
    static const SessionMessage none;
    return none;
  }

 private:
  bool carry_out(Endpoint& from) {
    Actions actions;
    std::swap(actions, from.layer.actions());
    for (Action& action : actions) {
      if (auto* out = std::get_if<SendMessage>(&action)) {
        log.push_back(out->message);
        if (!lose || !lose(out->message)) {
          if (change) {
            change(out->message);
          }
          route(from, out->message);
        }
      } else if (auto* wish = std::get_if<SubscribeName>(&action)) {
        from.subscribed.push_back(wish->name);
        from.layer.on_subscription(now, wish->session, wish->name, true);
      } else if (auto* end = std::get_if<UnsubscribeName>(&action)) {
        std::erase(from.subscribed, end->name);
      } else if (auto* delivery = std::get_if<DeliverMessage>(&action)) {
        from.got.push_back(delivery->message);
      } else if (auto* resolve = std::get_if<Resolve>(&action)) {
        from.resolved.push_back(*resolve);
      } else if (auto* lost = std::get_if<MessagesLost>(&action)) {
        from.lost.push_back(*lost);
      } else if (auto* presence = std::get_if<Presence>(&action)) {
        from.presence.push_back(*presence);
      } else if (auto* opened = std::get_if<SessionOpened>(&action)) {
        from.opened.push_back(opened->session);
      } else if (auto* closed = std::get_if<SessionClosed>(&action)) {
        from.closed.push_back(*closed);
      } else if (auto* write = std::get_if<StoreSession>(&action)) {
        from.write(*write);
      } else if (auto* over = std::get_if<ForgetSession>(&action)) {
        from.kept_before = from.kept;
        from.kept.erase(over->key);
      }
    }
    return !actions.empty();
  }
  void route(const Endpoint& from, SessionMessage message) {
    message.authentic = authentic;
    message.from_slipway = from_slipway && !from.theirs;
    const FullName to = message.destination;
    if (in_turn && to.id().is_null()) {
      std::ranges::rotate(endpoints_, endpoints_.begin() + 1);
    }
    for (auto& endpoint : endpoints_) {
      if (endpoint->deaf || (endpoint->theirs && to.id() == kAnycastId)) {
        continue;
      }
      const bool own = to.id().is_null() || to.id() == kAnycastId ? to.same_service(endpoint->name) : to == endpoint->name;
      if (endpoint->theirs) {
        message.metadata.erase(std::string(metadata_key::kAnycast));
      }
      const bool channel = std::ranges::find(endpoint->subscribed, to) != endpoint->subscribed.end();
      if (endpoint.get() != &from && (own || channel)) {
        endpoint->layer.on_message(now, message);
        if (message.fanout == kOneReceiver) {
          return;
        }
      }
    }
  }

  std::vector<std::unique_ptr<Endpoint>> endpoints_;
};

inline const TimerSettings kQuick{.timeout_ms = 100, .max_retries = 3};
inline SessionConfig reliable(bool mls) {
  SessionConfig config{.reliability = kQuick};
  if (mls) {
    config.mls = MlsSettings{};
  }
  return config;
}
inline FullName data_channel() { return FullName(TextName{{"org", "ns", "channel"}, NameId{.high = 9, .low = 1}}); }
inline FullName control_channel() { return FullName(TextName{{"org", "ns", "channel"}, NameId{.high = 9, .low = 2}}); }

}  // namespace slipway::testing
