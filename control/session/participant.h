#pragma once
// The side that was invited: joins, follows the moderator's changes, comes back into step when it missed some, leaves.
//
//   join request -> kJoining -> welcome -> kSubscribing (groups) -> kActive -> leave request, close, or own leave -> closed
//
// With MLS, changes are applied in the order of their commit ids. A commit that is missing, or that the group refuses, makes this
// member ask to be let in again (rejoin), with growing pauses, until its epoch is right. An update that was applied is
// acknowledged again when it is repeated.
//
// As at first, a member is let in again only into a group whose leaves all belong to members. If it missed changes it takes the
// answer when the update that goes with it has said who they are.
//
// Kept over a restart: who is in and which commit came last, but no keys: a member that begins again asks to be let in with new
// ones (without MLS it says that it is online), so that none is used twice. What came meanwhile is repeated by its senders.
//
// A moderator that was restored says so in its roster versions. If its commits then do not follow what we know, it has forgotten
// one that we processed, and we ask to be let in again.
//
// A group update that re-adds ourselves is acknowledged to a moderator of ours only: upstream's waits for ever after it has
// dropped our acknowledgement of the rejoin as a replay (its own timer clears that up if we stay silent).

#include <map>
#include <optional>

#include "session/session.h"

namespace slipway {

class Participant final : public Session {
 public:
  // From a join request that was verified and makes sense; answers it. Null if the group gives no key package.
  static std::unique_ptr<Participant> join(TimeMs now, SessionParts parts, const SessionMessage& request);

  // As it was kept. Subscribes, then comes back.
  static std::unique_ptr<Participant> restore(TimeMs now, SessionParts parts, const SessionRecord& record, const SessionProgress& progress);

  Call refresh_keys(TimeMs now, OperationId operation) override;
  [[nodiscard]] bool is_moderator() const override { return false; }
  [[nodiscard]] bool active() const override { return state_ == State::kActive; }
  // At once after join: what an earlier membership in the same group left behind.
  void go_on_from(std::uint32_t last_data_id, DataReceiver::Memory heard) {
    sender_.continue_after(last_data_id);
    receiver_.remember(std::move(heard));
  }
  [[nodiscard]] std::uint32_t last_commit() const { return last_commit_; }

 private:
  enum class State : std::uint8_t { kJoining, kSubscribing, kActive };
  // The answer to a rejoin request, until it is taken.
  struct Readmission {
    RejoinReply answer;
    std::uint64_t life;   // of the moderator
    TimeMs until;
  };

  Participant(TimeMs now, SessionParts parts, const SessionMessage& request);
  Participant(TimeMs now, SessionParts parts, const SessionRecord& record, const SessionProgress& progress);

  void on_role_command(TimeMs now, const SessionMessage& message, MemberSlot slot) override;
  void on_result(TimeMs now, const CommandResult& result) override;
  void on_role_subscription(TimeMs now, const FullName& name, bool accepted) override;
  void on_time(TimeMs now) override;
  [[nodiscard]] std::optional<TimeMs> role_deadline() const override;
  void describe(SessionRecord& record) const override { record.last_commit = last_commit_; }
  void begin_leaving(TimeMs now) override;
  void on_stranger(TimeMs, const SessionMessage&) override {}
  void on_member_heartbeat(TimeMs now, MemberSlot slot, const Heartbeat& heartbeat, std::uint64_t version) override;
  void on_nack(TimeMs now, const SessionMessage& message) override;
  void on_behind(TimeMs now) override;
  void on_end() override;
  [[nodiscard]] bool busy() const override { return commands_.open(CommandPurpose::kRejoin) || readmission_; }
  [[nodiscard]] bool awaits_roster() const override { return readmission_.has_value(); }

  bool answer_join(const SessionMessage& request);
  void on_welcome(TimeMs now, const SessionMessage& message);
  void enter(TimeMs now);
  void come_again(TimeMs now);
  void on_update(TimeMs now, const SessionMessage& message);
  bool follow_commit(TimeMs now, const SessionMessage& message);
  void apply_update(TimeMs now, const SessionMessage& message);
  void follow_stored(TimeMs now);
  void take_in_added(TimeMs now, const SessionMessage& message, std::uint64_t added);
  void removed_from_group(TimeMs now);
  void on_leave_request(TimeMs now, const SessionMessage& message);
  void on_close(TimeMs now, const SessionMessage& message);
  void start_rejoin(TimeMs now);
  void on_rejoin_reply(TimeMs now, const SessionMessage& message);
  bool let_in_again(TimeMs now);
  void not_let_in(TimeMs now);
  void rejoin_failed(TimeMs now, const char* why);
  void forget_rejoin();  // no answer is taken any more, nor one that waits for its list

  State state_ = State::kJoining;
  SharedBytes key_package_;              // of the join reply
  std::optional<SessionMessage> welcome_;  // acknowledged when the subscriptions are
  int subscriptions_left_ = 0;
  std::uint32_t last_commit_ = 0;
  std::uint64_t life_ = 0;               // of the moderator, whose commits we follow
  std::map<std::uint32_t, SessionMessage> stored_;  // updates behind a gap, by commit id
  TimeMs give_up_at_ = 0;                // no welcome, or nobody tells us to leave
  TimeMs gap_deadline_ = 0;
  bool behind_ = false;                  // our epoch is known to be old
  TimeMs next_rejoin_ = 0;
  TimeMs rejoin_pause_ms_ = 0;
  std::optional<std::uint32_t> unanswered_rejoin_;  // the request that we gave up last, until we ask anew
  std::optional<Readmission> readmission_;
  std::vector<OperationId> rejoin_operations_;
};

}  // namespace slipway
