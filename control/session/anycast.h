#pragma once
// Stateless anycast between our endpoints: each message names a service, the node picks one of its instances, and with a
// timeout the instance that took it acknowledges.
//
// On the wire (upstream-compatible frames, upstream nodes balance them): a MSG of session type POINT_TO_POINT to the
// service's three components and kAnycastId, fan-out 1. Our endpoints subscribe to that id besides their own; upstream's
// never do, so they never get what they would drop. Message id 0 asks for no acknowledgement; ids from 1 ask for one, and
// a repetition keeps its id: an instance that sees one twice delivers it once, two instances may each see it.
// An answer goes to the source itself with the same session id, and is acknowledged likewise.
//
// The application learns kNoAnswer when all tries went unanswered. There is no group and no MLS.

#include <cstdint>
#include <deque>
#include <expected>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <unordered_map>

#include "session/session_output.h"
#include "session/timer_line.h"

namespace slipway {

inline constexpr NameId kAnycastId{.high = 0x736c'6970'2d61'6e79u, .low = 0x6361'7374'2d76'3100u};  // "slip-anycast-v1"

// Settings of an anycast session: without timers best effort.
struct AnycastConfig {
  std::optional<TimerSettings> reliability;
};

class Anycast {
 public:
  Anycast(FullName local, Actions& actions, SessionRefusals& refusals) : local_(std::move(local)), actions_(actions), refusals_(refusals) {}

  // To any instance of a service, or, for an answer, to the very instance that a message came from.
  std::expected<std::uint32_t, SessionError> publish(TimeMs now, std::uint32_t session_id, const AnycastConfig& config,
                                                     const FullName& destination, Outgoing content, OperationId operation);
  // MSG or MSG_ACK that is no session's: sent to kAnycastId, or with the id of an anycast session of this application.
  void on_message(SessionMessage message);
  void advance(TimeMs now);
  [[nodiscard]] std::optional<TimeMs> next_deadline() const;
  // Ends what is open of this session.
  void close(std::uint32_t session_id);

  [[nodiscard]] std::size_t open() const { return open_.size(); }
  [[nodiscard]] std::size_t sources() const { return sources_.size(); }

 private:
  struct Open {
    SessionMessage message;
    OperationId operation;
    TimerSettings timers;
    std::uint32_t tries_left;
    TimeMs deadline;
  };
  struct Key {
    Name name;
    std::uint32_t session_id;
    friend bool operator==(const Key&, const Key&) = default;
  };
  struct KeyHash {
    std::size_t operator()(const Key& key) const { return NameHash{}(key.name) ^ (std::size_t{key.session_id} << 17); }
  };

  bool first_time(const SessionMessage& message);
  void finish(std::unordered_map<std::uint32_t, Open>::iterator at, std::optional<SessionError> error);

  FullName local_;
  Actions& actions_;
  SessionRefusals& refusals_;
  std::uint32_t last_id_ = 0;
  std::unordered_map<std::uint32_t, Open> open_;  // by message id
  std::set<std::pair<TimeMs, std::uint32_t>> deadlines_;  // of open_: when, message id
  std::unordered_map<Key, std::deque<std::uint32_t>, KeyHash> sources_;
  std::deque<Key> source_order_;                  // the oldest source is forgotten first
};

}  // namespace slipway
