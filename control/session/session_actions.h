#pragma once
// What the session layer wants done. Actions are carried out in the order given, before the next event goes in.

#include <cstdint>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "session/session_error.h"
#include "session/session_message.h"

namespace slipway {

// A session of this application: never reused, so that an old handle cannot reach a new session.
enum class SessionHandle : std::uint64_t { kNone = 0 };
// Chosen by the caller of an operation; comes back in exactly one Resolve, unless the call itself returned an error.
using OperationId = std::uint64_t;
inline constexpr OperationId kNoOperation = 0;  // nobody waits: no Resolve

// Sign (commands) and send.
struct SendMessage {
  SessionMessage message;
};
struct AppMessage {
  FullName source;
  FullName destination;     // the channel, or the own name for what was sent to this member alone
  std::uint32_t message_id = 0;
  std::uint32_t session_id = 0;
  std::uint64_t epoch = kNoEpoch;  // of the group that it was encrypted in
  bool directed = false;    // sent by publish_to
  bool anycast = false;
  SessionHandle line{};     // anycast: the session inside that it came on; kNone: on none
  std::string payload_type;
  Metadata metadata;
  SharedBytes payload;
};
struct DeliverMessage {
  SessionHandle session{};  // kNone: anycast
  AppMessage message;
};
// Messages of a sender that will not come: `count` ids from `first_id`.
struct MessagesLost {
  SessionHandle session{};
  FullName source;
  std::uint32_t first_id = 0;
  std::uint32_t count = 0;
};
enum class LossReason : std::uint8_t {
  kNoAck,    // all retries went unanswered
  kStalled,  // the window was needed and this member acknowledged nothing for long
  kOffline,  // offline when it was published, or went so
  kLeft,     // left or was removed before it acknowledged
};
struct Undelivered {
  FullName member;
  LossReason reason;
};
// How an operation ended. A publish that some members did not acknowledge ends well and says which.
struct Resolve {
  SessionHandle session{};
  OperationId operation = kNoOperation;
  std::optional<SessionError> error;
  std::uint32_t message_id = 0;
  std::vector<Undelivered> undelivered;
};
enum class PresenceChange : std::uint8_t { kJoined, kLeft, kRemoved, kOnline, kOffline };
struct Presence {
  SessionHandle session{};
  FullName member;
  PresenceChange change;
};
// Channel names. The answer comes in as SessionLayer::on_subscription.
struct SubscribeName {
  SessionHandle session{};
  FullName name;
};
struct UnsubscribeName {
  SessionHandle session{};
  FullName name;
};
// Somebody invited this application, and all is set up.
struct SessionOpened {
  SessionHandle session{};
};
enum class CloseReason : std::uint8_t { kByUs, kByModerator, kRemoved, kPeerLeft, kSetupFailed };
// The last action of a session.
struct SessionClosed {
  SessionHandle session{};
  CloseReason reason;
};

// A session as it must outlive the process: replaces what was kept under its key. A part that is null stays as it was kept.
// Durable before the next action is carried out: otherwise others know of a commit that we forgot. All parts at once.
struct StoredSession {
  SharedBytes record;    // see session_record.h
  SharedBytes progress;
  SharedBytes group;     // MLS state of a moderator: secret, wiped when let go
};
struct StoreSession {
  SessionHandle session{};
  std::uint64_t key = 0;  // of the session: the same after it was restored
  StoredSession parts;
};
// The session is over: what was kept under its key is for nobody.
struct ForgetSession {
  SessionHandle session{};
  std::uint64_t key = 0;
};

using Action = std::variant<SendMessage, DeliverMessage, MessagesLost, Resolve, Presence, SubscribeName, UnsubscribeName,
                            SessionOpened, SessionClosed, StoreSession, ForgetSession>;
using Actions = std::vector<Action>;

// What an application publishes.
struct Outgoing {
  std::string payload_type = "msg";
  SharedBytes payload;
  Metadata metadata;
};

}  // namespace slipway
