#pragma once
// Why a call on a session was refused, or how an operation that it started ended badly. One list makes the enum and the
// texts; a text says what to do.

#include <cstdint>
#include <string>
#include <string_view>

namespace slipway {

// X(name, what a person reads)
#define SLIPWAY_SESSION_FAULTS(X)                                                                                        \
  X(kUnknownSession, "no such session: it was closed, or never existed")                                                 \
  X(kClosed, "the session is closed: create or join another")                                                            \
  X(kClosing, "the session is being closed and takes nothing new")                                                       \
  X(kWrongKind, "this call does not fit the session's kind")                                                             \
  X(kNotModerator, "only the creator of the session may do this")                                                        \
  X(kBadConfig, "the settings make no sense")                                                                            \
  X(kBadName, "the name is not usable here")                                                                             \
  X(kAlreadyMember, "already a member: remove it first, or name another instance")                                       \
  X(kNotMember, "no such member: `participants` lists who is there")                                                     \
  X(kAmbiguousName, "several instances of this service are members: name one with its id")                               \
  X(kNotFound, "nobody answered the discovery: check the name, and that the application runs and is subscribed")         \
  X(kJoinUnanswered, "found, but it did not answer the join request: try again")                                         \
  X(kWelcomeUnanswered, "joined, but it did not confirm the welcome, so it was taken out again: try again")              \
  X(kLeaveUnconfirmed, "removed from the group, but it never confirmed that it left")                                    \
  X(kGroupRefused, "the group refused: see the text")                                                                    \
  X(kSubscriptionRefused, "the node refused the channel's subscription: see its policy")                                 \
  X(kOffline, "this member said that it is offline: rejoin first")                                                       \
  X(kStatusChanging, "another change of status is under way: wait for it")                                               \
  X(kRejoinFailed, "the moderator did not let us in again: try again, or join anew")                                     \
  X(kRemoved, "removed from the group by its moderator")                                                                 \
  X(kNotSender, "this member only receives: its direction says so")                                                      \
  X(kNotReady, "the session has no receiver yet: wait until it is set up")                                               \
  X(kWindowFull, "too much is unacknowledged: wait for acknowledgements, then publish again")                            \
  X(kQueueFull, "too many operations wait: let some finish first")                                                       \
  X(kTooManyMembers, "the session has as many members as it can")                                                        \
  X(kTooManySessions, "as many sessions are open as there can be: close some")                                           \
  X(kTooLarge, "payload, type or metadata is too large")                                                                 \
  X(kReservedMetadata, "a metadata key belongs to the session layer: use another")                                       \
  X(kNoAnswer, "no instance acknowledged the message: it may or may not have been taken")                                \
  X(kBadRecord, "what was kept of the session cannot be read: it is damaged, or another version wrote it")                \
  X(kForeignRecord, "the session was kept by another application: restore it under the identity that it had")            \
  X(kPeerLeft, "the other side left")                                                                                    \
  X(kMlsOnAnycast, "anycast has no group and so no MLS: use a unicast session for encrypted messages")

enum class SessionFault : std::uint8_t {
#define X(name, text) name,
  SLIPWAY_SESSION_FAULTS(X)
#undef X
};

[[nodiscard]] std::string_view fault_text(SessionFault fault);

struct SessionError {
  SessionFault fault;
  std::string about;  // what was being done, to whom; may be empty

  [[nodiscard]] std::string message() const;
};

// Why what came from the network was refused. Counted, never answered; state is unchanged.
// X(field, what it counts)
#define SLIPWAY_SESSION_REFUSALS(X)                                                             \
  X(malformed, "payload and type do not fit, or a field is out of range")                       \
  X(foreign_destination, "said to another instance of the service, or on another channel")      \
  X(unknown_session, "no session for the id")                                                   \
  X(unauthenticated, "a command whose token or signatures did not verify")                      \
  X(replayed, "a command seen before; its answer was repeated if there was one")                \
  X(not_a_member, "the source is no member")                                                    \
  X(not_moderator, "only the moderator may say this")                                           \
  X(wrong_role, "a message that this side never takes")                                         \
  X(wrong_state, "a message that does not fit the state")                                       \
  X(wrong_kind, "a message of another kind of session")                                         \
  X(unexpected_answer, "an answer to nothing")                                                  \
  X(undecipherable, "data that the group could not open: wrong epoch, forged, or repeated")     \
  X(bad_commit, "a commit, welcome or key package that the group refused")                      \
  X(offline, "heard while offline by own wish")                                                 \
  X(not_receiving, "data for a member that only sends")                                         \
  X(not_sending, "data from a member that only receives")                                       \
  X(duplicate, "data that had arrived before")                                                  \
  X(given_up, "data that had been reported lost before it came")                                \
  X(no_room, "a buffer was at its bound")                                                       \
  X(oversized, "larger than a session takes")

struct SessionRefusals {
#define X(field, text) std::uint64_t field = 0;
  SLIPWAY_SESSION_REFUSALS(X)
#undef X
};

}  // namespace slipway
