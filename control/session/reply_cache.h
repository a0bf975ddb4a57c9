#pragma once
// Commands seen, by sender, type and id, and the last answers: a command that comes again is not carried out again, its
// answer is repeated.
//
// Bounds: kReplayIdsKept ids and kRepliesKept answers a sender, kMaxReplaySenders senders, of which the one that came first is
// forgotten first. Those who left are remembered too: a late copy of their farewell must not end their next membership.

#include <cstdint>
#include <deque>
#include <optional>
#include <unordered_map>
#include <utility>

#include "session/session_message.h"

namespace slipway {

class ReplyCache {
 public:
  enum class Seen : std::uint8_t { kNew, kBefore };

  // Remembers the command.
  Seen note(const SessionMessage& command);
  [[nodiscard]] bool has_seen(const SessionMessage& command) const;
  // This answers that command; a repetition of it gets the same.
  void keep(const SessionMessage& command, const SessionMessage& reply);
  [[nodiscard]] const SessionMessage* reply_to(const SessionMessage& command) const;
  [[nodiscard]] std::size_t senders() const { return senders_.size(); }

 private:
  using Key = std::uint64_t;  // type, id
  static Key key_of(const SessionMessage& m) { return std::uint64_t{static_cast<std::uint8_t>(m.type)} << 32 | m.message_id; }
  struct Sender {
    std::deque<Key> ids;
    std::deque<std::pair<Key, SessionMessage>> replies;
  };
  Sender& sender_of(const Name& name);
  std::unordered_map<Name, Sender, NameHash> senders_;
  std::deque<Name> order_;
};

}  // namespace slipway
