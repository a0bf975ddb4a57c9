#pragma once
// The sending half of a session's data: numbers messages, keeps them until every receiver has acknowledged, sends again what
// is missing, answers requests for lost ones.
//
// Reliable: the first copy goes to the session's destination (the channel, or the peer); each later one to each missing
// member alone, encrypted anew. Every publish resolves exactly once: with nothing undelivered, or with the members that
// did not acknowledge and why. A member that is offline when a message is published is named there too.
// Best effort: numbered, sent once, resolved at once.
//
// Bounds: kSendWindow messages and kMaxSendBytes. When they are full and all that the oldest message waits for are members
// that acknowledged nothing for kStalledIntervals, it is given up for them: one stalled member does not hold the others.
//
// Differs from upstream: a request for a lost message is no acknowledgement (its answer may be lost as well), and a member
// that was heard meanwhile is not put offline for a message that it did not acknowledge.

#include <cstdint>
#include <deque>
#include <expected>
#include <optional>
#include <vector>

#include "session/member_set.h"
#include "session/session_output.h"
#include "session/timer_line.h"

namespace slipway {

class DataSender {
 public:
  DataSender(const SessionFacts& facts, SessionOutput& out, RandomSource& random) : facts_(facts), out_(out), random_(random) {}

  // Where first copies go; until it is set, reliable messages wait.
  void set_destination(const FullName& name) { destination_ = name; }
  // The same, later: what waited goes out.
  void start(TimeMs now, const FullName& name) {
    destination_ = name;
    if (receiver_count_ > 0) {
      send_unsent(now);
    }
  }
  // Of a restored session: the id last used.
  // What was published before it was known waits still, and gets other ids.
  void continue_after(std::uint32_t last_id);

  // A member that takes data. Fresh: new to the session, so that nothing sent before concerns it.
  void add_receiver(TimeMs now, MemberSlot slot, const FullName& name, bool fresh);
  void set_online(TimeMs now, MemberSlot slot, bool online);
  void remove_receiver(MemberSlot slot);
  void heard_from(TimeMs now, MemberSlot slot);

  // The id of the message. The checks that concern the session as a whole were made.
  std::expected<std::uint32_t, SessionError> publish(TimeMs now, Outgoing content, OperationId operation);
  // The number of a message that goes out at once, once, and is composed by the caller. Empty: it does not.
  [[nodiscard]] std::optional<std::uint32_t> number();
  // To one member, outside the order.
  std::expected<std::uint32_t, SessionError> publish_to(TimeMs now, MemberSlot slot, Outgoing content, OperationId operation);

  void on_ack(TimeMs now, MemberSlot from, std::uint32_t id);
  void on_rtx_request(MemberSlot from, const FullName& source, std::uint32_t id);
  // The way to the network: without one nobody is taken for stalled; when it is back, what may have been lost meanwhile is repeated
  // soon and does not count as a try.
  void on_network(TimeMs now, bool there);
  void advance(TimeMs now);
  [[nodiscard]] std::optional<TimeMs> next_deadline() const { return timers_.next(); }
  // Members that answered nothing since a message that they never acknowledged was sent: they should be put offline.
  [[nodiscard]] std::vector<MemberSlot> take_unreachable() { return std::exchange(unreachable_, {}); }

  [[nodiscard]] const FullName& destination() const { return destination_; }
  // There is somewhere to send to: what is published now goes out, or waits for nothing but receivers.
  [[nodiscard]] bool started() const { return !destination_.empty(); }
  // Nothing waits for an acknowledgement.
  [[nodiscard]] bool idle() const { return open_ == 0; }
  // Ends what is open: with the fault if it was never sent, else as undelivered.
  void close(SessionFault fault);
  // What was never sent, because there is nobody, ends with the fault.
  void drop_unsent(SessionFault fault);

  // What is published now is for this member too.
  [[nodiscard]] bool concerns(MemberSlot slot) const { return slot < receivers_.size() && receivers_[slot].present; }
  // Messages that this member has not acknowledged and may still.
  [[nodiscard]] std::uint32_t owed_by(MemberSlot slot) const { return slot < receivers_.size() ? receivers_[slot].owes : 0; }
  [[nodiscard]] std::uint32_t last_id() const { return last_id_; }
  [[nodiscard]] std::size_t kept_messages() const { return ring_.size() + directed_.size(); }
  [[nodiscard]] std::size_t kept_bytes() const { return bytes_; }

 private:
  struct Receiver {
    FullName name;
    bool present = false;
    bool online = false;
    std::uint32_t first_id = 1;   // of what concerns it
    std::uint32_t owes = 0;       // messages that it has not acknowledged
    TimeMs owes_since = 0;
    TimeMs acked_at = 0;
    TimeMs heard_at = 0;
  };
  struct Kept {
    std::uint32_t id = 0;
    OperationId operation = kNoOperation;
    Outgoing content;
    MemberSet missing;
    std::vector<Undelivered> undelivered;
    std::uint32_t tries_left = 0;
    TimeMs sent_at = 0;
    TimeMs deadline = 0;
    bool open = true;     // not resolved
    bool sent = false;
  };

  [[nodiscard]] bool reliable() const { return facts_.reliability.has_value(); }
  [[nodiscard]] Kept* find(std::uint32_t id);
  [[nodiscard]] bool is_running(std::uint32_t id, TimeMs deadline);
  [[nodiscard]] SessionMessage compose(const Kept& kept, MessageType type, const FullName& to) const;
  bool make_room(TimeMs now, std::size_t bytes);
  [[nodiscard]] bool give_up_on_stalled(TimeMs now, Kept& kept);
  void first_copy(TimeMs now, Kept& kept);
  void start_timer(TimeMs now, Kept& kept);
  [[nodiscard]] bool hasty(TimeMs now) const { return now < hasty_until_; }
  void send_unsent(TimeMs now);
  void owe(TimeMs now, Kept& kept, MemberSlot slot);
  void settle(Kept& kept, MemberSlot slot);  // no longer missing; resolves with the last
  void lose(Kept& kept, MemberSlot slot, LossReason reason);
  void lose_everywhere(MemberSlot slot, LossReason reason);
  void retransmit(TimeMs now, Kept& kept);
  void resolve(Kept& kept, std::optional<SessionError> error = std::nullopt);
  void trim();

  const SessionFacts& facts_;
  SessionOutput& out_;
  RandomSource& random_;
  FullName destination_;
  std::uint32_t last_id_ = 0;
  std::vector<Receiver> receivers_;   // by slot
  std::size_t receiver_count_ = 0;
  std::deque<Kept> ring_;             // consecutive ids
  std::vector<Kept> directed_;
  TimerLine<std::uint32_t> timers_;
  std::vector<MemberSlot> unreachable_;
  std::size_t bytes_ = 0;
  std::size_t open_ = 0;
  bool network_ = true;
  TimeMs hasty_until_ = 0;
};

}  // namespace slipway
