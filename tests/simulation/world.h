#pragma once
// A run: applications with their session layers, one node between them, a network and clocks that misbehave as planned. All
// of it in one thread, in simulated time, from one seed.

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <map>
#include <queue>
#include <set>
#include <string>
#include <tuple>
#include <unordered_map>
#include <utility>
#include <vector>

#include "checks.h"
#include "fake_group.h"
#include "plan.h"
#include "real_groups.h"
#include "session/session_layer.h"

namespace slipway::sim {

struct App {
  FullName service;
  FullName name;                 // of this life
  std::uint32_t life = 0;
  bool up = true;
  bool cut_off = false;
  bool loses_acks = false;
  TimeMs slow_ms = 0;
  std::map<MessageType, TimeMs> late;   // messages to it that come so much later
  std::int64_t clock_ms = 0;     // its clock less the world's
  TimeMs wake_at = 0;            // 0: none planned
  std::unique_ptr<Random> random;
  std::unique_ptr<SessionGroupFactory> groups;
  std::string subject;           // of its identity
  std::map<std::uint64_t, StoredSession> kept;   // what it is to have after a restart
  std::function<void()> last_write_undone;
  std::unique_ptr<SessionLayer> layer;
  std::optional<SessionHandle> anycast;
  struct Wanted {
    SessionHandle session;       // kNone: the application's own
    FullName name;
    bool answered;
  };
  std::vector<Wanted> wanted;    // what it subscribes again when the node is back
};

struct Outcome {
  std::string failure;           // empty: none
  std::uint64_t events = 0;
  std::uint64_t published = 0;
  std::uint64_t delivered = 0;
  std::uint64_t reported_lost = 0;
  std::uint64_t joins = 0;
};

enum class Mls : std::uint8_t { kFake, kReal };

class World {
 public:
  World(std::uint64_t seed, bool trace, Mls mls = Mls::kFake);
  Outcome run();

 private:
  struct KeyOrder {
    using Key = std::pair<Name, SessionHandle>;
    bool operator()(const Key& a, const Key& b) const { return std::tie(a.first.id, a.second) < std::tie(b.first.id, b.second); }
  };
  enum class EventKind : std::uint8_t { kArrival, kSubscription, kWake, kOperation, kBurst, kFaultBegins, kFaultEnds };
  struct Event {
    TimeMs at;
    std::uint64_t order;
    EventKind kind;
    std::uint32_t app;
    std::uint32_t life;
    std::uint64_t node_life;
    std::size_t index;           // of a message, a fault, or what is subscribed
    friend bool operator<(const Event& a, const Event& b) { return a.at != b.at ? a.at > b.at : a.order > b.order; }
  };
  struct Subscription {
    std::uint32_t app;
    std::uint32_t life;
    Name name;
  };
  struct PendingSubscription {
    SessionHandle session;
    FullName name;
  };

  // --- the machine: world.cc
  static constexpr TimeMs kFirstOperation = 50;   // after so long operations begin; they go on for as long as a run is busy
  void schedule(TimeMs at, EventKind kind, std::uint32_t app = 0, std::size_t index = 0);
  void step(const Event& event);
  void run_until(TimeMs end);
  void start_app(std::uint32_t index);
  void begin_life(std::uint32_t index);
  void crash_app(std::uint32_t index);
  void restart_app(std::uint32_t index);
  void keep(std::uint32_t index, const StoreSession& wish);
  void forget(std::uint32_t index, std::uint64_t key);
  void begin(const Fault& fault);
  void end(const Fault& fault);
  [[nodiscard]] TimeMs clock_of(const App& app) const { return static_cast<TimeMs>(static_cast<std::int64_t>(now_) + app.clock_ms); }
  void carry_out(std::uint32_t index);
  void wake_later(std::uint32_t index);

  // --- the network: network.cc
  void send(std::uint32_t from, SessionMessage message);
  void deliver_later(std::uint32_t from, std::uint32_t to, const SessionMessage& message);
  [[nodiscard]] bool passes(std::uint32_t from, std::uint32_t to) const;
  void subscribe(std::uint32_t app, SessionHandle session, const FullName& name);
  void subscribe_later(std::uint32_t app, SessionHandle session, const FullName& name);
  void on_subscribed(std::uint32_t app, const PendingSubscription& what);
  void unsubscribe(std::uint32_t app, SessionHandle session, const FullName& name);

  // --- what applications do: workload.cc
  void make_channels();
  void first_operations();
  void random_operation();
  void meddle();
  void burst();
  void publish_somewhere(std::uint32_t index);
  void publish(std::uint32_t index, SessionHandle handle, std::optional<FullName> to);
  void publish_anycast(std::uint32_t index);
  void change_membership(std::uint32_t index);
  void invite_again(const FullName& name);
  void change_status(std::uint32_t index);
  void make_session(std::uint32_t index);
  void close_something(std::uint32_t index);
  [[nodiscard]] SessionConfig config() const;
  [[nodiscard]] std::optional<SessionHandle> pick_session(std::uint32_t index);
  void calm_down();
  void bring_back();
  [[nodiscard]] bool somebody_offline() const;
  void judge_agreement();
  void judge_group(std::uint32_t index, const Session& session);
  void close_all();

  void say(const std::string& text) const;

  Random random_;
  Plan plan_;
  bool trace_;
  Mls mls_;
  mls::CipherSuite suite_;
  TimeMs now_ = 1'000'000;
  TimeMs busy_until_ = 0;
  std::uint64_t order_ = 0;
  std::priority_queue<Event> events_;
  std::vector<SessionMessage> messages_;
  std::vector<std::size_t> free_messages_;
  std::vector<PendingSubscription> pending_;
  std::vector<App> apps_;
  std::vector<Subscription> table_;
  bool node_up_ = true;
  bool fair_ = false;                    // nothing gets lost or late, and nobody fails
  std::vector<bool> asked_;              // by application: changed its status, or its keys
  std::uint64_t node_life_ = 0;
  std::uint64_t side_ = 0;               // of a partition; 0: none
  std::vector<SessionMessage> overheard_;  // by whoever meddles
  std::vector<TimeMs> last_arrival_;     // by pair, to keep the order
  std::vector<std::pair<FullName, FullName>> channels_;
  struct Held {
    std::uint32_t session_id;
    TimeMs since;
    FullName moderator;
    std::uint64_t version = 0;   // of its roster
  };
  void judge_repair(std::uint32_t from, const SessionMessage& message);
  void judge_repetition(std::uint32_t from, const SessionMessage& message);
  void judge_absence(std::uint32_t index, const Session& session, const FullName& member);
  void judge_farewell(const Session& session, const FullName& member);
  void judge_throwing_out(const Held& held, const FullName& member);


  // --- what each message may change: watch.cc
  struct Answered {
    std::uint32_t app;
    std::uint32_t life;
    std::uint32_t session_id;
    std::uint32_t message_id;
    Name asker;
    friend bool operator==(const Answered&, const Answered&) = default;
  };
  struct AnsweredHash {
    std::size_t operator()(const Answered& a) const {
      return NameHash{}(a.asker) ^ (std::size_t{a.app} << 40) ^ (std::size_t{a.message_id} << 8) ^ (std::size_t{a.session_id} << 20);
    }
  };
  struct Answer {
    SessionHandle session;
    std::uint32_t number;   // of those to this asker in this session
    TimeMs at;              // by the application's clock
  };
  struct Standing;
  void hear(std::uint32_t index, SessionMessage message);
  void hear_answer(std::uint32_t index, SessionMessage message);
  void hear_data(std::uint32_t index, SessionMessage message);
  void hear_return(std::uint32_t index, SessionMessage message);
  void excuse(std::uint32_t index, const Session* session, const SessionMessage& message);
  void hear_update(std::uint32_t index, SessionMessage message);
  void hear_command(std::uint32_t index, SessionMessage message);
  void take(std::uint32_t index, SessionMessage message);
  void note_answer(std::uint32_t index, const SessionMessage& message);
  void judge_copy(std::uint32_t index, const SessionMessage& copy, const Answer& answer, const Standing& before);
  [[nodiscard]] static bool answers(const App& app, const SessionMessage& message, std::optional<MessageType> how = std::nullopt);
  [[nodiscard]] static const Session* only_session(const App& app, std::uint32_t session_id);
  [[nodiscard]] static Standing standing_of(const Session& session);
  std::unordered_map<Answered, Answer, AnsweredHash> answered_;
  std::map<std::tuple<std::uint32_t, SessionHandle, NameId>, std::uint32_t> answer_counts_;   // application, session, asker

  // --- what must come of something: patience.cc
  struct Update {
    SessionHandle session;
    std::uint64_t version;
    std::vector<Name> awaited;
    std::vector<Name> excused;   // acknowledged it, or came back meanwhile
  };
  struct Gap {
    std::uint32_t commit;
    TimeMs until;
    bool asked = false;
  };
  void note_sent(std::uint32_t index, const SessionMessage& message);
  void note_update(std::uint32_t index, const Session& session, const SessionMessage& message);
  void judge_updates(std::uint32_t index);
  void note_gap(std::uint32_t index, const Session& session, std::uint32_t commit);
  void judge_gaps(std::uint32_t index);
  void forget_waits(std::uint32_t index);
  std::map<std::pair<std::uint32_t, std::uint32_t>, Update> updates_;       // application, message
  std::map<std::pair<std::uint32_t, SessionHandle>, Gap> gaps_;             // application
  std::map<std::pair<std::uint32_t, SessionHandle>, TimeMs> asked_again_;   // application: when it asked to be let in again

  std::map<std::pair<Name, SessionHandle>, Held, KeyOrder> held_;  // sessions that were seen, also closed ones
  std::map<std::tuple<std::uint32_t, std::uint32_t, std::uint32_t, NameId>, std::pair<SharedBytes, TimeMs>> answers_;  // app, life, request, asker
  std::map<std::pair<std::uint32_t, NameId>, SessionHandle> closing_;  // session, member: it asked to leave, and did not come again
  std::set<std::pair<std::uint32_t, NameId>> confirmed_;   // session, member: its moderator knows that it is in
  GroupLog group_log_;
  Checks checks_;
  Outcome outcome_;
};

}  // namespace slipway::sim
