#pragma once
// Anycast: each message names a service, one of its instances takes it, and with a timeout that instance acknowledges.
//
// Between our endpoints it is stateless. On the wire (upstream-compatible frames, upstream nodes balance them): a MSG of session type
// POINT_TO_POINT to the service's three components and kAnycastId, fan-out 1. Our endpoints subscribe to that id besides their own;
// upstream's never do, so they never get what they would drop. Message id 0 asks for no acknowledgement; ids from 1 ask for one, and
// a repetition keeps its id: an instance that sees one twice delivers it once, two instances may each see it.
// An answer goes to the source itself with the same session id, and is acknowledged likewise.
//
// Upstream's applications take messages in sessions only. When nobody acknowledges at first, somebody is looked for (a discovery
// to any instance); if an application answers that is not ours, messages go over lines: point-to-point sessions of this layer, without
// MLS, one to each instance that was found (anycast_lines.cc, README.md). A line is never seen by the application. An instance that
// is silent for a timeout loses its line, and what it had not acknowledged goes to another. Lines that others open towards us
// (metadata slim-anycast) are heard as anycast messages of their source, and are answered on.
//
// The application learns kNoAnswer when all tries went unanswered. There is no group and no MLS, on lines neither.

#include <cstdint>
#include <deque>
#include <expected>
#include <map>
#include <optional>
#include <tuple>
#include <unordered_map>
#include <utility>
#include <vector>

#include "session/deadlines.h"
#include "session/session_bounds.h"
#include "session/session_group.h"
#include "session/session_output.h"
#include "session/timer_line.h"

namespace slipway {

inline constexpr NameId kAnycastId{.high = 0x736c'6970'2d61'6e79u, .low = 0x6361'7374'2d76'3100u};  // "slip-anycast-v1"

// Settings of an anycast session: without timers best effort.
struct AnycastConfig {
  std::optional<TimerSettings> reliability;
};

// The sessions behind lines. Their actions come back as Anycast::on_line_action, after the call.
class LineSessions {
 public:
  using Opened = std::expected<SessionHandle, SessionError>;
  // To this very instance; the operation ends when it is in.
  virtual Opened open_line(TimeMs now, const FullName& instance, const AnycastConfig& config, OperationId operation) = 0;
  virtual std::expected<std::uint32_t, SessionError> publish_on(TimeMs now, SessionHandle line, Outgoing content, OperationId operation) = 0;
  // Abandoned: nothing is waited for; what is not acknowledged ends undelivered.
  virtual void close_line(TimeMs now, SessionHandle line, bool abandoned) = 0;

 protected:
  ~LineSessions() = default;
};

class Anycast {
 public:
  // An anycast session of this application, for all that goes out on it.
  struct Sender {
    SessionHandle session{};  // kNone: a peer's, that is being answered
    std::uint32_t id = 0;     // that its messages carry
    AnycastConfig config;
  };
  using Published = std::expected<std::uint32_t, SessionError>;

  Anycast(FullName local, Actions& actions, SessionRefusals& refusals, RandomSource& random, LineSessions& sessions)
      : local_(std::move(local)), actions_(actions), refusals_(refusals), random_(random), sessions_(sessions) {}

  // To any instance of a service.
  Published publish(TimeMs now, const Sender& sender, const FullName& service, Outgoing content, OperationId operation);
  // To the very instance that a message came from, on the way that it came.
  Published answer(TimeMs now, const Sender& sender, const AppMessage& message, Outgoing content, OperationId operation);
  // MSG or MSG_ACK that is no session's: sent to kAnycastId, or with the id of an anycast session of this application.
  void on_message(TimeMs now, SessionMessage message);
  // An answer to a question of ours, if it is one.
  bool on_discovery_reply(TimeMs now, const SessionMessage& message);
  void on_network(TimeMs now, bool there);
  void advance(TimeMs now);
  [[nodiscard]] std::optional<TimeMs> next_deadline() const;
  // Ends what is open of this session.
  void close(TimeMs now, std::uint32_t session_id);

  // --- lines: sessions that the layer keeps for us
  [[nodiscard]] bool is_line(SessionHandle session) const { return lines_.contains(session); }
  [[nodiscard]] bool room_for_line_in() const { return lines_in_ < kMaxAnycastLinesIn; }
  // A peer opened one towards us.
  void on_line_in(TimeMs now, SessionHandle session, const FullName& peer, bool reliable);
  void on_line_heard(TimeMs now, SessionHandle session);
  void on_line_action(TimeMs now, Action& action);

  [[nodiscard]] std::size_t open() const { return open_.size(); }
  [[nodiscard]] std::size_t open_bytes() const { return open_bytes_; }
  [[nodiscard]] std::size_t sources() const { return sources_.size(); }
  [[nodiscard]] std::size_t lines() const { return lines_.size(); }
  [[nodiscard]] std::size_t services() const { return services_.size(); }

 private:
  // Who takes what is sent to a name, as far as is known: nothing; ours; upstream's, over lines.
  enum class Taker : std::uint8_t { kUnknown, kOurs, kTheirs };
  struct Key {
    Name name;
    std::uint32_t session_id;
    friend bool operator==(const Key&, const Key&) = default;
    friend auto operator<=>(const Key& a, const Key& b) {
      return std::tie(a.session_id, a.name.component, a.name.id.high, a.name.id.low) <=> std::tie(b.session_id, b.name.component, b.name.id.high, b.name.id.low);
    }
  };
  struct KeyHash {
    std::size_t operator()(const Key& key) const { return NameHash{}(key.name) ^ (std::size_t{key.session_id} << 17); }
  };
  struct Open {
    SessionMessage message;
    Sender sender;
    OperationId operation;
    std::uint32_t tries_left = 0;
    TimeMs next_try = 0;                 // best effort: then it is given up
    TimeMs patient_until = 0;            // then somebody is looked for; 0: no
    SessionHandle line{};                // that it went out on
    bool sent = false;                   // to kAnycastId
    SessionFault failure = SessionFault::kNoAnswer;
  };
  // A name that lines lead to: a service, or one instance that is answered.
  struct Service {
    FullName target;
    Sender sender;
    std::deque<std::uint32_t> waiting;   // messages, for a line
    std::vector<SessionHandle> lines;    // not those that are being closed
    std::uint32_t question = 0;          // the open discovery; 0: none
    std::uint32_t asked = 0;             // how often
    std::uint32_t since_question = 0;    // messages
    std::uint32_t fruitless = 0;         // answers in a row of instances that have a line
  };
  struct Line {
    FullName peer;
    Key service;                         // ours
    bool in = false;                     // the peer's
    bool reliable = false;
    bool ready = false;
    bool closing = false;
    TimeMs timeout_ms = 0;               // ours: silence for so long tells
    std::uint32_t unacknowledged = 0;
    std::uint32_t silences = 0;          // timeouts without a word, in a row
    TimeMs last_used = 0;
    TimeMs awaited_since = 0;            // something is, and nothing was heard since
  };
  // An operation on a line: of a message of ours, or of an answer on a peer's.
  struct OnLine {
    std::uint32_t message_id = 0;        // 0: an answer, or the line itself
    OperationId operation = kNoOperation;
    bool opening = false;
  };
  struct Learned {
    Taker taker;
    TimeMs until;
  };

  // anycast.cc
  [[nodiscard]] static bool reliable(const Open& open) { return open.sender.config.reliability.has_value(); }
  [[nodiscard]] static FullName target_of(const SessionMessage& message) {
    return message.destination.id() == kAnycastId ? message.destination.service() : message.destination;
  }
  [[nodiscard]] SessionMessage compose(std::uint32_t session_id, const FullName& destination, Outgoing content) const;
  Published send_unacknowledged(SessionMessage message, OperationId operation);
  Published keep(TimeMs now, const Sender& sender, SessionMessage message, OperationId operation, Taker taker);
  void send_to_ours(Open& open);
  void schedule(std::uint32_t id, const Open& open);
  void on_due(TimeMs now, std::uint32_t id);
  void try_again(TimeMs now, std::uint32_t id, Open& open);
  bool first_time(const Key& from, std::uint32_t message_id);
  void finish(std::unordered_map<std::uint32_t, Open>::iterator at, std::optional<SessionError> error);
  void give_up(std::uint32_t id);

  // anycast_lines.cc
  [[nodiscard]] Taker taker_of(TimeMs now, const FullName& target) const;
  void learn(TimeMs now, const FullName& target, Taker taker);
  void want_line(TimeMs now, std::uint32_t id, Open& open);
  void ask(TimeMs now, const Key& key, Service& service);
  void send_question(TimeMs now, const Key& key, Service& service);
  void on_question_due(TimeMs now, const Key& key);
  void found_ours(TimeMs now, Service& service);
  void found_theirs(TimeMs now, const Key& key, Service& service, const FullName& instance);
  bool make_room_for_line(TimeMs now, Service& service);
  void hand_out(TimeMs now, const Key& key);
  [[nodiscard]] SessionHandle pick_line(const Service& service) const;
  [[nodiscard]] bool may_ask(const Service& service) const;
  bool publish_on(TimeMs now, SessionHandle handle, std::uint32_t id, Open& open);
  void on_line_result(TimeMs now, SessionHandle handle, Resolve& result);
  void on_line_message(TimeMs now, SessionHandle handle, AppMessage message);
  void on_line_closed(TimeMs now, SessionHandle handle);
  void watch(SessionHandle handle, const Line& line);
  void on_line_due(TimeMs now, SessionHandle handle);
  void close_line(TimeMs now, SessionHandle handle, bool abandoned);
  void tidy(const Key& key);
  [[nodiscard]] TimeMs silence_ms(const Line& line) const;

  FullName local_;
  Actions& actions_;
  SessionRefusals& refusals_;
  RandomSource& random_;
  LineSessions& sessions_;
  bool network_ = true;
  std::uint32_t last_id_ = 0;
  std::unordered_map<std::uint32_t, Open> open_;  // by message id
  std::size_t open_bytes_ = 0;
  Deadlines<std::uint32_t> due_;                  // of open_
  std::unordered_map<Key, std::deque<std::uint32_t>, KeyHash> sources_;
  std::deque<Key> source_order_;                  // the oldest source is forgotten first

  std::map<Key, Service> services_;
  Deadlines<Key> questions_due_;
  std::map<SessionHandle, Line> lines_;
  Deadlines<SessionHandle> lines_due_;
  std::size_t lines_in_ = 0;
  std::unordered_map<OperationId, OnLine> on_lines_;
  OperationId last_operation_ = 0;
  std::unordered_map<Name, Learned, NameHash> learned_;
  std::deque<Name> learned_order_;
};

}  // namespace slipway
