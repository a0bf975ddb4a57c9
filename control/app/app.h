#pragma once
// An application on a SLIM network: a name that its identity proves, connections to nodes, sessions.
//
//   auto loop = Loop::create().value();
//   auto identity = shared_secret_identity({.base = "org/team/alice", .secret = secret}).value();
//   auto app = App::create(*loop, {.name = parse_name("org/team/alice").value(), .identity = identity}).value();
//   app->connect({.address = "tcp://127.0.0.1:46367"}, [&](auto connected) {
//     app->create_session(UnicastOptions{.peer = bob}, [](auto session) { session.value()->publish(shared_bytes("hello")); });
//   });
//   loop->run();
//
// Threads: an App, its sessions, its connections and the loop belong to one thread; other threads reach them by Loop::post.
// Callbacks run inside Loop::turn, never inside the call that they answer. They must not throw and must not destroy the App.
// For programs that would rather wait: blocking.h.
//
// Connections. The first that is up carries what is sent, unless set_route names another for a service, or the receiver was heard
// on another: answers go where the question came from. Whoever is to be invited is looked for on all of them; a channel's messages
// go over one, so its members must be reachable there (nodes that are linked to each other, as a rule). The name is subscribed on
// all. While nothing is up, sessions live on: they repeat what was not acknowledged, as their settings say; when the node is back,
// what may have been lost meanwhile is repeated at once.

#include <array>
#include <cstdint>
#include <deque>
#include <expected>
#include <functional>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "app/app_bounds.h"
#include "app/app_identity.h"
#include "app/app_session.h"
#include "app/connected_group.h"
#include "app/connection.h"
#include "group/mls_group.h"
#include "identity/command_guard.h"
#include "loop/loop.h"
#include "session/session_layer.h"
#include "wire/data_frames.h"
#include "wire/session_wire.h"

namespace slipway {

enum class ConnectionId : std::uint32_t { kNone = 0 };

struct AppCounters {
  std::uint64_t sent = 0;            // session messages given to a connection
  std::uint64_t sent_bytes = 0;      //   as native frames
  std::uint64_t received = 0;        // session messages understood
  std::uint64_t received_bytes = 0;
  std::uint64_t malformed = 0;       // publishes that are no session messages
  std::uint64_t unverified = 0;      // commands whose token or signatures did not verify
  std::uint64_t untimely = 0;        //   of these, for their token's time: it has expired, or is from the future
  std::uint64_t not_connected = 0;   // messages that had no connection; sessions repeat them
  std::uint64_t too_big = 0;         // messages that were larger than the connection takes
  std::uint64_t overflowed = 0;      // messages that waited for a full connection and had no more room
};

// What keeps sessions over a restart: kept_sessions/kept_sessions.h does it in a file.
class SessionKeeper {
 public:
  virtual ~SessionKeeper() = default;
  // Replaces what is kept under the key; a part that is null stays as it is. Nothing that is sent from here on may leave before
  // this would survive the process.
  virtual void keep(SessionHandle session, std::uint64_t key, StoredSession parts) = 0;
  virtual void forget(std::uint64_t key) = 0;
  // What was kept before; asked once, in the first turn of the application. Each comes back as a session that others open does.
  virtual std::vector<std::pair<std::uint64_t, StoredSession>> take_kept() { return {}; }
  virtual void not_restored(std::uint64_t /*key*/, const std::string& /*why*/) {}
  // Calls of `keep` so far, and how many of these would survive the process by now: what is sent behind those that would not waits.
  // `call` whenever there are more, in a turn of its own. Keepers that hold messages back by themselves leave this out.
  [[nodiscard]] virtual std::uint64_t begun() const { return 0; }
  [[nodiscard]] virtual std::uint64_t durable() const { return 0; }
  virtual void on_durable(std::function<void()> /*call*/) {}
};

struct AppOptions {
  TextName name;                     // three parts; its id is made from the identity
  Identity identity;
  Direction direction;               // only sends, only receives, both
  IdentityBinding binding = IdentityBinding::kWarn;
  MlsGroupOptions groups{.hasten_senders = true};
  SessionKeeper* keeper = nullptr;   // outlives the application; null: sessions end with it
};

class App {
 public:
  using Call = std::expected<void, AppError>;
  using Connected = std::function<void(std::expected<ConnectionId, AppError>)>;
  using Created = std::move_only_function<void(std::expected<std::shared_ptr<AppSession>, AppError>)>;
  struct Handlers {
    // Somebody invited us, or sent anycast messages: a session that is open. Without a handler they wait for take_session.
    std::function<void(std::shared_ptr<AppSession>)> on_session;
    std::function<void(ConnectionId, ConnectionState, const std::string& why)> on_connection;
    std::function<void()> on_writable;  // after kBusy
  };

  static std::expected<std::unique_ptr<App>, AppError> create(Loop& loop, AppOptions options, Handlers handlers = {});
  // At once: members notice after a while. Close sessions first to say good-bye. What was begun and is not done ends here with
  // kClosed, sessions with SessionClosed: their callbacks run inside of this call.
  ~App();
  App(const App&) = delete;
  App& operator=(const App&) = delete;

  // --- connections ---------------------------------------------------------------------------------------------------
  // `done` once: when the node has taken our name, or will not.
  std::expected<ConnectionId, AppError> connect(ConnectOptions options, Connected done = {});
  // One that other applications of this process use too: they find each other on it.
  std::expected<ConnectionId, AppError> use(std::shared_ptr<Connection> connection, Connected done = {});
  Call disconnect(ConnectionId connection);
  [[nodiscard]] std::shared_ptr<Connection> connection(ConnectionId id) const;

  // --- names ---------------------------------------------------------------------------------------------------------
  [[nodiscard]] const FullName& name() const { return name_; }
  [[nodiscard]] const std::string& subject() const { return identity_.provider().subject(); }
  // Another service that this application answers for. `done` when a node has taken it.
  Call subscribe(const TextName& service, Done done = {});
  Call unsubscribe(const TextName& service);
  // Optional: what goes to this service goes over that connection. Wherever a name can be found, inviting works without.
  Call set_route(const TextName& service, ConnectionId connection);
  Call remove_route(const TextName& service);

  // --- sessions ------------------------------------------------------------------------------------------------------
  // `created`: unicast when the other side is there; the others in the next turn.
  Call create_session(const SessionOptions& options, Created created);
  // One that a keeper has kept; it comes back by itself. The identity must be the one that it was kept under.
  std::expected<std::shared_ptr<AppSession>, AppError> restore(std::uint64_t key, const StoredSession& stored);
  [[nodiscard]] std::shared_ptr<AppSession> take_session();  // the oldest that waits; null: none
  void on_session(std::function<void(std::shared_ptr<AppSession>)> handler);
  [[nodiscard]] std::size_t session_count() const { return sessions_.size(); }

  [[nodiscard]] const AppCounters& counters() const { return counters_; }
  [[nodiscard]] const SessionRefusals& refusals() const { return layer_.refusals(); }
  [[nodiscard]] const SessionLayer& layer() const { return layer_; }
  [[nodiscard]] Loop& loop() { return loop_; }

 private:
  friend class AppSession;
  struct Waiting {
    FrameHeader header;
    std::string body;
  };
  // What waits until what was kept before it is on the disk.
  struct Held {
    std::uint64_t behind;
    ConnectionId to;
    Waiting frame;
  };
  struct Attached {
    ConnectionId id{};
    std::shared_ptr<Connection> connection;
    std::unique_ptr<AppPort> port;
    Connected done;
    std::deque<Waiting> waiting;     // the connection was full
    std::size_t waiting_bytes = 0;
    std::unordered_map<Name, std::uint64_t, NameHash> subscriptions;
  };
  // A name that is to be subscribed on every connection.
  struct Wanted {
    TextName name;
    SessionHandle session{};         // asks for the answer; kNone: `done` does
    Done done;
    bool answered = false;
    std::uint32_t refusals = 0;
  };
  // What is known of data that came before: from whom, in which session, with which headers.
  struct DataLane {
    std::string known;               // all of a frame that stands before its payload, but for the message's id, which differs
    std::size_t known_bytes = 0;     // of the whole frame
    std::size_t other_bytes = 0;     // of the last one that was not like it
    std::string payload_type;
    std::array<std::byte, frame_offset::kSessionMessageType - frame_offset::kDestination> names;  // destination and source as they lie in a frame
    std::uint32_t session_id = 0;
    std::uint8_t session_type = 0;
    std::string header;
    FullName source;
    FullName destination;
    SessionLayer::DataWay way;
  };
  // Data that lies where it was received, until it is told (keep_lent).
  struct LentData {
    const DataLane* lane;
    const std::byte* frame;
    std::uint32_t frame_bytes;
    std::uint32_t payload_at;
  };
  // What the application is told at the end of the turn. An answer is told in any case, also when the App goes first.
  using Notice = std::move_only_function<void()>;
  struct Answer {
    Notice call;
  };
  using AnyNotice = std::variant<LentData, std::unique_ptr<DeliverMessage>, Notice, Answer>;
  // Whom the message before was for.
  struct Told {
    std::uint64_t handle = 0;
    std::uint64_t generation = 0;
    std::shared_ptr<AppSession> session;  // null: nobody
  };
  class Random;

  App(Loop& loop, AppOptions options, Handlers handlers);

  // Connections (app_connections.cc).
  Attached* find(ConnectionId id);
  [[nodiscard]] bool any_up() const;
  void attach_names(Attached& attached);
  void subscribe_on(Attached& attached, const TextName& name);
  void want(TextName name, SessionHandle session, Done done);
  void unwant(const Name& name);
  void on_subscribed(ConnectionId connection, const Name& name, const std::expected<void, std::string>& result);
  void answer_wanted(Wanted& wanted, bool accepted, const std::string& why);
  void on_connection_state(ConnectionId id, ConnectionState state, const std::string& why);
  void tell_network(ConnectionState state);
  void on_port_writable(ConnectionId id);
  Attached* way_to(const Name& to);
  [[nodiscard]] bool has_route(const Name& to) const;
  void remember_way(const Name& source, ConnectionId id);
  void count_sent(std::size_t body_bytes);
  // Behind what the keeper must have first.
  void transmit(Attached& attached, const FrameHeader& header, std::span<const std::byte> body, std::span<const std::byte> rest = {});
  void give(Attached& attached, const FrameHeader& header, std::span<const std::byte> body, std::span<const std::byte> rest);
  void release_held();
  void take_up_kept();

  // The short way of data (app_datapath.cc).
  bool take_data(Attached& from, std::span<const std::byte> frame);
  void remember_data(const SessionMessage& message, std::span<const std::byte> frame);
  void know(DataLane& lane, std::span<const std::byte> frame, std::size_t payload_at, std::string_view payload_type);
  // Data that session and layer have nothing to do with but give it a number: the number. Empty: it goes the long way.
  std::optional<std::uint32_t> send_plain(AppSession& session, std::string_view payload_type, const SharedBytes& payload);
  static AppMessage lent_message(const LentData& lent);
  // Copies what lies in a connection's memory: that is about to go.
  void keep_lent();
  static void keep_lent_of(std::span<AnyNotice> notices);

  // Messages (app_messages.cc).
  void on_frame(Attached& from, std::span<const std::byte> frame);
  void note_unbelieved(const SessionMessage& message, const IdentityError& error);
  // What is said of nobody having answered since a call began says too that somebody did.
  [[nodiscard]] AppError with_unbelieved(const FullName& whom, TimeMs since, AppError error) const;
  void send(SessionMessage message);
  void send_data(Attached& attached, const SessionMessage& message);
  void carry_out();
  // As many of them as the turn has time for; the others go in the next turns, before what comes after them.
  void carry_out_in_turn(Actions& actions);
  void postpone(Actions& actions, Actions::iterator from, Actions::iterator before);
  void carry_out_postponed();
  void carry_out_one(Action& action);
  // Commands cost milliseconds where there are many members, or newcomers. From the first of a turn on its time is measured,
  void begin_turn();
  [[nodiscard]] bool turn_is_long();  //   until it has had enough of them
  void notify(Notice notice);
  void answer(Notice notice);
  void schedule_notices();
  void answer_everything_open();
  void run_notices();
  void arm_timer();
  void deliver(DeliverMessage& delivery, Told& told);
  AppSession* session_told(SessionHandle handle, Told& told);
  void resolved(Resolve& resolve);
  void opened(SessionHandle handle);
  void renew_keys();
  [[nodiscard]] TimeMs now_ms() const { return loop_.now_ns() / 1'000'000; }

  // Sessions (app.cc).
  std::shared_ptr<AppSession> adopt(SessionHandle handle, SessionKind kind);
  std::shared_ptr<AppSession> anycast_session(const AppMessage& message);
  void offer(std::shared_ptr<AppSession> session);
  OperationId expect(Done done);
  void forget(OperationId operation);
  [[nodiscard]] std::expected<void, AppError> room_for(std::size_t payload_bytes) const;
  AppSession::Published published(OperationId operation, SessionLayer::Published result);
  AppSession::Call called(OperationId operation, SessionLayer::Call result);

  Loop& loop_;
  AppIdentity identity_;
  FullName name_;
  IdentityBinding binding_;
  Handlers handlers_;
  SessionKeeper* keeper_;
  std::unique_ptr<Random> random_;
  MlsGroups mls_groups_;
  ConnectedGroups groups_;
  SessionLayer layer_;
  AppCounters counters_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);

  std::uint32_t last_connection_ = 0;
  std::vector<std::unique_ptr<Attached>> attached_;
  std::vector<Wanted> wanted_;
  std::unordered_map<Name, ConnectionId, NameHash> routes_;   // by service
  std::unordered_map<Name, ConnectionId, NameHash> ways_;     // by who was heard
  bool busy_ = false;
  std::deque<Held> held_;
  std::size_t held_bytes_ = 0;
  bool network_ = true;  // as the layer was told

  struct Unbelieved {
    FullName source;
    TimeMs at;
    std::string why;
  };
  std::deque<Unbelieved> unbelieved_;  // answers of late, the newest of each source

  OperationId last_operation_ = 0;
  std::unordered_map<OperationId, Done> pending_;
  std::unordered_map<std::uint64_t, std::shared_ptr<AppSession>> sessions_;  // by handle
  std::uint64_t sessions_generation_ = 1;                                    // of which sessions there are
  std::unordered_map<OperationId, std::pair<SessionHandle, Created>> creating_;
  struct AnycastPeer {
    Name source;
    std::uint32_t session_id;
    friend bool operator==(const AnycastPeer&, const AnycastPeer&) = default;
  };
  struct AnycastPeerHash {
    std::size_t operator()(const AnycastPeer& peer) const { return NameHash{}(peer.source) ^ (std::size_t{peer.session_id} << 17); }
  };
  std::unordered_map<std::uint32_t, std::shared_ptr<AppSession>> own_anycast_;  // by session id
  std::unordered_map<AnycastPeer, std::shared_ptr<AppSession>, AnycastPeerHash> anycast_peers_;
  std::deque<AnycastPeer> anycast_order_;  // the oldest first
  std::deque<std::shared_ptr<AppSession>> unclaimed_;

  std::vector<AnyNotice> notices_;
  std::size_t kept_notices_ = 0;               // of these, none of which is lent
  std::vector<AnyNotice> told_;                // its room is used again
  std::vector<AnyNotice>* telling_ = nullptr;  // those that the application is being told
  std::vector<std::unique_ptr<DataLane>> lanes_;             // kDataLanes, or none yet; by names and session id
  std::array<DataHeader, kDataHeaders> data_headers_;        // by destination
  std::string lead_;                                         // of the message that goes out
  Actions spare_;  // its room is used again
  Actions postponed_;
  std::size_t postponed_bytes_ = 0;
  bool postponed_scheduled_ = false;
  bool turn_began_ = false;           // with the first command of the turn,
  std::uint64_t turn_began_ns_ = 0;   //   at this time
  std::function<void()> between_;     // messages: see MlsGroupOptions
  bool notices_scheduled_ = false;
  TimerId timer_ = TimerId::kNone;
  TimeMs timer_at_ms_ = 0;
  TimerId key_timer_ = TimerId::kNone;
  std::unordered_map<std::uint64_t, std::uint64_t> keys_made_s_;  // by handle: when the session's own keys were last renewed
};

}  // namespace slipway
