#pragma once
// Commands that want an answer: sent, repeated until everybody who should has answered or the tries are used up, then
// reported with those who did not.
//
// A repetition keeps its id, so that who has seen it only repeats its answer. Upstream's receivers do not even do that:
// they drop the repetition, and a lost answer stays lost. Commands that may be carried out twice without harm (discovery,
// join) can therefore take a fresh id each time; answers to any of the ids count.

#include <cstdint>
#include <deque>
#include <optional>
#include <utility>
#include <vector>

#include "session/session_output.h"
#include "session/timer_line.h"

namespace slipway {

enum class CommandPurpose : std::uint8_t {
  kDiscovery,
  kJoin,
  kWelcome,
  kUpdate,   // a group update of the moderator's current task
  kResync,   // the roster once more, to one member that missed an update
  kLeave,    // to a member: leave; to the moderator: we leave
  kEvict,    // to somebody who is no member and does not know it
  kClose,
  kStatus,   // own soft close or return
  kRejoin,
};

struct CommandResult {
  CommandPurpose purpose;
  std::uint32_t id;               // the first one
  std::vector<FullName> missing;  // empty: everybody answered
};

class CommandSender {
 public:
  enum class Ids : std::uint8_t { kSame, kFreshEachTry };

  CommandSender(const SessionFacts& facts, SessionOutput& out, RandomSource& random) : facts_(facts), out_(out), random_(random) {}

  // A fresh id: not 0, and of no open command.
  std::uint32_t next_id();
  // Sends. With nobody to wait for it is complete at once. The message's id is `next_id()`.
  void send(TimeMs now, CommandPurpose purpose, SessionMessage message, std::vector<FullName> awaited, Ids ids = Ids::kSame);
  // An open command of this purpose waits for this source under this id.
  [[nodiscard]] bool awaits(CommandPurpose purpose, const FullName& source, std::uint32_t id) const;
  // The source answered; false if nothing waited for it.
  bool answered(CommandPurpose purpose, const FullName& source, std::uint32_t id);
  // Ends the command without a result.
  void cancel(CommandPurpose purpose);
  void cancel_all() { open_.clear(), results_.clear(); }
  // Nobody waits for this member any more.
  void forget(const FullName& member);
  void forget(const FullName& member, CommandPurpose purpose);
  [[nodiscard]] bool open(CommandPurpose purpose) const;

  void advance(TimeMs now);
  [[nodiscard]] std::optional<TimeMs> next_deadline() const;
  [[nodiscard]] std::optional<CommandResult> take_result();
  // How many answers to this command are still to come.
  [[nodiscard]] std::size_t awaited(std::uint32_t id) const;
  [[nodiscard]] std::size_t open_count() const { return open_.size(); }
  [[nodiscard]] std::size_t open_count(CommandPurpose purpose) const;

 private:
  struct Open {
    CommandPurpose purpose;
    SessionMessage message;
    std::vector<FullName> awaited;
    std::vector<std::uint32_t> ids;
    Ids policy;
    std::uint32_t tries_left;
    TimeMs deadline;
  };
  [[nodiscard]] const Open* find(CommandPurpose purpose, std::uint32_t id) const;
  void transmit(const Open& open);
  void finish_answered();

  const SessionFacts& facts_;
  SessionOutput& out_;
  RandomSource& random_;
  std::vector<Open> open_;
  std::deque<CommandResult> results_;
};

}  // namespace slipway
