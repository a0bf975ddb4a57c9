#pragma once
// All sessions of one application: makes them, lets peers make them, and hands each message to the one that it is for.
//
// A state machine: messages, answers to subscriptions, calls and the time go in; actions come out, in order, and are carried out
// before the next event goes in. It never does I/O and reads no clock. The time may come from any clock: steps back are
// taken out, and after a step forward each timer fires once. One thread at a time.
//
// Before on_message the caller verifies commands (token, both signatures, source id = hash of the token's subject) and says
// so in `authentic`; what did not verify may come in all the same and is refused and counted where it matters.

#include <deque>
#include <expected>
#include <map>
#include <optional>
#include <set>
#include <unordered_map>
#include <utility>
#include <vector>

#include "session/anycast.h"
#include "session/moderator.h"
#include "session/participant.h"

namespace slipway {

struct SessionConfig {
  std::optional<TimerSettings> reliability;  // empty: best effort
  std::optional<MlsSettings> mls;            // empty: no MLS
  Metadata metadata;                         // the members get it with the join request
};

struct LayerConfig {
  FullName local;                  // own full name, with id
  Direction direction;
  bool enforce_identity = false;   // refuse commands without a valid signature in sessions without MLS too; upstream's `enforce`
  bool keep_sessions = false;      // StoreSession and ForgetSession say what is to be kept over a restart
};

class SessionLayer final : private LineSessions {
 public:
  using Call = std::expected<void, SessionError>;
  using Published = std::expected<std::uint32_t, SessionError>;

  // The random source and the groups outlive the layer.
  SessionLayer(LayerConfig config, RandomSource& random, SessionGroupFactory& groups);

  // --- making sessions -------------------------------------------------------------------------------------------
  // Starts at once; the operation ends when the peer is there, or failed and the session closed.
  std::expected<SessionHandle, SessionError> create_unicast(TimeMs now, const FullName& peer, const SessionConfig& config, OperationId operation);
  // Names as channel_names makes them. Nothing is sent before the first invite.
  std::expected<SessionHandle, SessionError> create_group(TimeMs now, const FullName& channel, const FullName& control, const SessionConfig& config);
  // Its messages name their destinations; no other end is set up. MLS is refused. Towards applications that take messages in sessions
  // only, sessions inside carry them (anycast.h), without MLS too; nothing here shows them.
  std::expected<SessionHandle, SessionError> create_anycast(TimeMs now, const SessionConfig& config);
  // A session as it was kept under the key, after a restart. It subscribes by itself and comes back: a member asks to be let in with
  // new keys, a moderator renews its own. What is published until then waits, if reliable. What was delivered since the last write
  // (kStoredDataIds messages of all sources, or ten seconds, at most) may be delivered again; what was not acknowledged to us is
  // not sent again.
  // kBadRecord, kForeignRecord, kGroupRefused; kTooManySessions; kClosed: there is such a session already.
  std::expected<SessionHandle, SessionError> restore(TimeMs now, std::uint64_t key, const StoredSession& stored);
  // Another service that this application answers for, besides its own name.
  bool serve(const FullName& service);
  void stop_serving(const FullName& service);

  // --- calls: see Session and Anycast ----------------------------------------------------------------------------
  Published publish(TimeMs now, SessionHandle session, Outgoing content, OperationId operation);
  [[nodiscard]] std::optional<DataOut> number_data(TimeMs now, SessionHandle session, std::size_t payload_bytes, std::size_t payload_type_bytes);
  Published publish_to(TimeMs now, SessionHandle session, const FullName& member, Outgoing content, OperationId operation);
  Published publish_with_destination(TimeMs now, SessionHandle anycast, const FullName& destination, Outgoing content, OperationId operation);
  // To the instance that an anycast message came from, on its session.
  Published answer_anycast(TimeMs now, const AppMessage& message, const SessionConfig& config, Outgoing content, OperationId operation);
  Call invite(TimeMs now, SessionHandle session, const FullName& name, OperationId operation);
  Call remove(TimeMs now, SessionHandle session, const FullName& name, OperationId operation);
  Call refresh_keys(TimeMs now, SessionHandle session, OperationId operation);
  Call go_offline(TimeMs now, SessionHandle session, OperationId operation);
  Call come_back(TimeMs now, SessionHandle session, OperationId operation);
  Call close(TimeMs now, SessionHandle session, OperationId operation);

  // --- events ----------------------------------------------------------------------------------------------------
  void on_message(TimeMs now, SessionMessage message);
  // Of messages that a session does nothing with but hand them on: no MLS, no acknowledgements, an ordinary member that is there. What
  // on_message would deliver of the same source, destination and session may then be delivered without it.
  struct DataWay {
    SessionHandle handle{};
    Session* session = nullptr;
    MemberSlot slot = kNoSlot;
    bool from_slipway = false;
    std::uint64_t generation = 0;
  };
  [[nodiscard]] std::optional<DataWay> data_way(const SessionMessage& message) const;
  // One more message on the way, of this source: true, it is the caller's to deliver; false: on_message decides.
  [[nodiscard]] bool passes(const DataWay& way, const Name& source) const {
    return way.generation == generation_ && way.session->hands_on(way.slot, source, way.from_slipway);
  }
  void on_subscription(TimeMs now, SessionHandle session, const FullName& name, bool accepted);
  // The way to the network was lost, or is back; there is one at the beginning. Optional: without it losses are repaired by timeouts.
  void on_network(TimeMs now, bool there);
  void advance(TimeMs now);
  // In the clock of the last event. Empty: nothing waits for time.
  [[nodiscard]] std::optional<TimeMs> next_deadline() const;

  // What is to be done; the caller empties it.
  [[nodiscard]] Actions& actions() { return actions_; }

  // --- what there is to see --------------------------------------------------------------------------------------
  [[nodiscard]] const Session* find(SessionHandle session) const;
  [[nodiscard]] std::vector<SessionHandle> sessions() const;
  // The session id that messages of an anycast session carry; empty: it is none.
  [[nodiscard]] std::optional<std::uint32_t> anycast_id(SessionHandle session) const {
    const auto at = anycast_sessions_.find(session);
    return at == anycast_sessions_.end() ? std::nullopt : std::optional(at->second.first);
  }
  [[nodiscard]] const Anycast& anycast() const { return anycast_; }
  [[nodiscard]] const SessionRefusals& refusals() const { return refusals_; }
  [[nodiscard]] std::size_t tombstones() const { return tombstones_.size(); }

 private:
  struct Entry {
    std::unique_ptr<Session> session;
    std::optional<TimeMs> deadline;
  };
  // Of a closed session: its answers, for commands that come again.
  struct Tombstone {
    std::uint32_t session_id;
    ReplyCache replies;
    TimeMs until;
  };

  // Of a group left before. Who comes again goes on counting, so that members that did not notice take nothing new for old,
  // and takes late copies of old messages for what they are (with MLS they do not open any more).
  struct LeftGroup {
    std::uint32_t session_id;
    Name moderator;
    std::uint32_t last_data_id;
    DataReceiver::Memory heard;
  };

  TimeMs steady(TimeMs now);
  [[nodiscard]] std::expected<SessionFacts, SessionError> facts_of(SessionType type, const SessionConfig& config, const char* doing);
  [[nodiscard]] SessionParts parts_of(SessionFacts facts);
  [[nodiscard]] SessionParts parts_of_line(SessionFacts facts);
  SessionHandle keep(std::unique_ptr<Session> session);
  void touched(SessionHandle handle);
  template <class F>
  auto with(TimeMs now, SessionHandle handle, F&& call) -> decltype(call(std::declval<Session&>(), now));
  [[nodiscard]] bool serves(const FullName& name) const;
  [[nodiscard]] bool is_for_another(const FullName& destination) const;
  [[nodiscard]] bool is_anycast(const SessionMessage& message) const;
  [[nodiscard]] SessionHandle session_for(const SessionMessage& message) const;
  bool answer_from_grave(const SessionMessage& message);
  void on_discovery(const SessionMessage& message);
  void on_join_request(TimeMs now, const SessionMessage& message);
  [[nodiscard]] bool opens_line(const SessionMessage& message) const;
  // Sessions behind lines: what they want done is for anycast_ first.
  Opened open_line(TimeMs now, const FullName& instance, const AnycastConfig& config, OperationId operation) override;
  Published publish_on(TimeMs now, SessionHandle line, Outgoing content, OperationId operation) override;
  void close_line(TimeMs now, SessionHandle line, bool abandoned) override;
  void carry_line_actions(TimeMs now);

  LayerConfig config_;
  RandomSource& random_;
  SessionGroupFactory& groups_;
  Actions actions_;
  Actions line_actions_;     // of sessions behind lines
  SessionRefusals refusals_;
  Anycast anycast_;
  std::vector<FullName> served_;
  std::map<SessionHandle, Entry> sessions_;
  std::multimap<std::uint32_t, SessionHandle> by_id_;
  // Not a Deadlines<>: the time lies in the Entry, so that an event that leaves it as it was, as nearly all do, looks nothing up.
  std::set<std::pair<TimeMs, SessionHandle>> deadlines_;
  std::map<SessionHandle, std::pair<std::uint32_t, AnycastConfig>> anycast_sessions_;  // session id
  std::deque<Tombstone> tombstones_;
  std::deque<LeftGroup> left_;
  std::uint64_t last_handle_ = 0;
  std::uint64_t generation_ = 1;  // of which sessions there are: ways of before are not valid
  TimeMs last_now_ = 0;      // as given
  TimeMs taken_back_ = 0;    // sum of the clock's steps back
};

}  // namespace slipway
