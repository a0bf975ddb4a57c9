#pragma once
// The one way out of a session's parts: actions in order, encryption where the session has a group, and a note of what
// reached the whole session, since that replaces a heartbeat.

#include <cstdint>
#include <optional>
#include <utility>

#include "session/session_actions.h"
#include "session/session_bounds.h"
#include "session/session_group.h"

namespace slipway {

// What does not change while a session lives, for all its parts.
struct SessionFacts {
  SessionHandle handle{};
  SessionType type = SessionType::kUnspecified;
  std::uint32_t id = 0;
  FullName local;                            // own full name
  Direction direction;                       // own
  std::optional<TimerSettings> reliability;  // empty: best effort
  TimerSettings control{kDefaultControlIntervalMs, kDefaultControlRetries};
  std::optional<MlsSettings> mls;
  Metadata metadata;                         // of the session

  [[nodiscard]] bool is_group() const { return type == SessionType::kMulticast; }
};

// A data message without MLS that has its number: what its headers say. The pointers live as long as the session.
struct DataOut {
  std::uint32_t message_id = 0;
  std::uint32_t fanout = kOneReceiver;
  const SessionFacts* facts = nullptr;     // whose `local` is the source
  const FullName* destination = nullptr;
};

class SessionOutput {
 public:
  SessionOutput(const SessionFacts& facts, Actions& actions, SessionRefusals& refusals)
      : facts_(facts), actions_(actions), refusals_(refusals) {}

  void use_group(SessionGroup* group) { group_ = group; }

  // A message of this session with its headers filled in; the payload is the caller's.
  [[nodiscard]] SessionMessage compose(MessageType type, std::uint32_t message_id, const FullName& destination) const;
  // MSG and RTX_REPLY: encrypted for this transmission. False: the group refused, nothing was sent.
  bool send_data(SessionMessage message, bool to_all);
  void send(SessionMessage message, bool to_all = false);
  void note_data_to_all() { data_to_all_ = true; }  // of what others compose and send

  void resolve(OperationId operation, std::optional<SessionError> error = std::nullopt, std::uint32_t message_id = 0,
               std::vector<Undelivered> undelivered = {});
  void deliver(AppMessage message);
  void lost(const FullName& source, std::uint32_t first_id, std::uint32_t count);
  void presence(const FullName& member, PresenceChange change);
  void push(Action action) { actions_.push_back(std::move(action)); }

  // Something went to all members since the last call; data counts where all of them take it.
  [[nodiscard]] bool take_reached_all(bool by_data) {
    const bool data = std::exchange(data_to_all_, false);
    return std::exchange(reached_all_, false) || (data && by_data);
  }
  [[nodiscard]] SessionRefusals& refused() { return refusals_; }

 private:
  const SessionFacts& facts_;
  Actions& actions_;
  SessionRefusals& refusals_;
  SessionGroup* group_ = nullptr;  // owned by the session
  bool reached_all_ = false;
  bool data_to_all_ = false;
};

}  // namespace slipway
