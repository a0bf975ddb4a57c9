#pragma once
// The side that made the session: the only one that changes the group. Finds whom to invite, lets in, takes out, and brings
// members that fell out of step back.
//
// One change at a time, the others wait in order; each step has a timer, so that a member that never answers holds the
// queue for one command's tries at most.
//
//   invite: discovery -> (first time: subscribe the channel) -> join -> commit to the channel and welcome, at once -> all acks.
//           Invites that wait in a row go these steps together and share one commit, where all are ours: upstream's members take
//           one newcomer an update.
//   remove: commit to the channel -> acks of those who stay -> leave request -> leave reply
//   leave:  leave reply at once -> commit to the channel -> acks
//   rejoin: one commit swaps the member's leaf -> answer with the welcome, commit to the channel -> acks
//   keys:   own leaf anew, commit to the channel -> acks
//   return: after a restart: own leaf anew, commit and roster to the channel -> acks; before it nothing is encrypted
// Without MLS the same messages carry no commit. With two members nothing goes to the channel but the welcome.
//
// Differs from upstream: members are full names, so several instances of a service may be in; a member that did not confirm
// its welcome is taken out again; a removal goes on although somebody did not acknowledge its commit; a group whose last
// member left stays open; whoever is no member but still thinks so is told to leave; members that missed an update are
// brought up to date (metadata slipway-roster).
//
// Kept over a restart: the group at each commit, before the commit goes out; the roster and what is half done. Each life of a
// moderator counts its rosters 2^32 further on, so that whatever it says is newer than all it has forgotten.

#include <deque>

#include "session/session.h"

namespace slipway {

class Moderator final : public Session {
 public:
  // A group: data and control channel names. Nothing is sent before the first invite.
  Moderator(TimeMs now, SessionParts parts, const FullName& channel, const FullName& control);
  // Point to point: the peer's service, or one instance of it. The operation ends when the peer is there.
  // Found: the instance answered a discovery already.
  Moderator(TimeMs now, SessionParts parts, const FullName& peer, OperationId operation, bool found = false);

  // As it was kept; the group is restored. Subscribes, renews its keys, tells the members, takes out whose welcome is not known
  // to have arrived.
  static std::unique_ptr<Moderator> restore(TimeMs now, SessionParts parts, const SessionRecord& record, const SessionProgress& progress);

  Call invite(TimeMs now, const FullName& name, OperationId operation) override;
  Call remove(TimeMs now, const FullName& name, OperationId operation) override;
  Call refresh_keys(TimeMs now, OperationId operation) override;
  [[nodiscard]] bool is_moderator() const override { return true; }
  [[nodiscard]] bool active() const override { return roster_.size() > 1 || facts_.is_group(); }
  [[nodiscard]] std::uint32_t last_commit() const { return last_commit_; }

 private:
  enum class TaskKind : std::uint8_t { kInvite, kRemove, kDisconnect, kRejoin, kRefresh, kReturn };
  struct Task {
    TaskKind kind;
    FullName who;
    OperationId operation = kNoOperation;
    SharedBytes key_package;                // rejoin
    std::optional<SessionMessage> request;  // rejoin: what to answer
    bool alone = false;                     // invite: not together with others
    bool found = false;                     // invite: this instance, without a discovery
    bool late = false;                      // invite: it held others up once; goes with such as it, and then alone
  };
  enum class Step : std::uint8_t { kIdle, kInvite, kAdd, kRemoveCommit, kRemoveLeave, kUpdate };
  // Somebody who is being invited.
  struct Candidate {
    enum class Stage : std::uint8_t { kDiscovery, kSubscribing, kJoin, kReady, kWelcome, kDone };
    Task task;
    Stage stage = Stage::kDiscovery;
    std::uint32_t command = 0;   // the open command's first id
    FullName found;              // the instance that answered
    Direction settings;
    SharedBytes key_package;
    bool from_slipway = false;
    std::optional<std::uint32_t> data_after;  // of its data ids: where it goes on
  };
  using Stage = Candidate::Stage;

  Moderator(TimeMs now, SessionParts parts, const SessionRecord& record, const SessionProgress& progress);

  void on_role_command(TimeMs now, const SessionMessage& message, MemberSlot slot) override;
  void on_result(TimeMs now, const CommandResult& result) override;
  void on_role_subscription(TimeMs now, const FullName& name, bool accepted) override;
  void on_time(TimeMs now) override;
  void after_event(TimeMs now) override { run_tasks(now); }
  [[nodiscard]] std::optional<TimeMs> role_deadline() const override;
  void describe(SessionRecord& record) const override;
  void begin_leaving(TimeMs now) override;
  void on_stranger(TimeMs now, const SessionMessage& message) override;
  void on_member_heartbeat(TimeMs now, MemberSlot slot, const Heartbeat& heartbeat, std::uint64_t version) override;
  void on_nack(TimeMs now, const SessionMessage& message) override;
  void on_behind(TimeMs) override {}  // nobody is ahead of who makes the epochs
  void on_end() override;
  [[nodiscard]] bool busy() const override { return returning_ || task_ || (!offline_ && !tasks_.empty()); }

  Call check_change(const char* doing, const FullName& name) const;
  Call enqueue(Task task);
  void run_tasks(TimeMs now);
  void end_task(std::optional<SessionError> error = std::nullopt);
  void fail_task(SessionFault fault, const char* doing, std::string detail = {});

  // --- letting in: moderator_invites.cc
  void begin_invites(TimeMs now);
  [[nodiscard]] bool may_come_along(const Task& task) const;
  void discover(TimeMs now, Candidate& candidate);
  void on_discovery_reply(TimeMs now, const SessionMessage& message);
  void found(TimeMs now, Candidate& candidate);
  void subscribe_names();
  void send_join(TimeMs now, Candidate& candidate);
  void on_join_reply(TimeMs now, const SessionMessage& message);
  void on_invite_result(TimeMs now, const CommandResult& result);
  // Whoever cannot come is done with; when nobody is waited for, the rest comes in.
  void fail_invite(Candidate& candidate, SessionFault fault, const std::string& detail = {});
  void go_on_inviting(TimeMs now);
  void let_in(TimeMs now);
  void put_off(Candidate& candidate, bool alone = true);
  void put_off_slow(TimeMs now);
  void send_welcome(TimeMs now, Candidate& candidate, const std::optional<GroupCommit>& commit);
  [[nodiscard]] std::optional<std::uint32_t> data_ids_before(const FullName& name) const;
  void welcomed(TimeMs now, Candidate& candidate);
  void take_out_again(TimeMs now, Candidate& candidate);
  void finish_invites();
  void end_invites(SessionFault fault);

  void begin_remove(TimeMs now);
  void send_leave(TimeMs now);
  void on_member_leaves(TimeMs now, const SessionMessage& message, MemberSlot slot);
  void begin_disconnect(TimeMs now);
  // The commit that takes the leaf out: null without MLS, or if there is no leaf.
  std::expected<SharedBytes, std::string> take_leaf_out(const FullName& name);
  // Tells who stays; false if there is nobody to tell.
  bool announce_removal(TimeMs now, const ParticipantInfo& gone, SharedBytes commit);
  // The commit must be, and the group refused: once more later.
  void try_again_later(TimeMs now);
  [[nodiscard]] std::vector<ParticipantInfo> participants_and_leaves() const;

  void on_rejoin_request(TimeMs now, const SessionMessage& message, MemberSlot slot);
  void begin_rejoin(TimeMs now);
  void begin_refresh(TimeMs now);
  void announce_self(TimeMs now, SharedBytes commit);
  void give_up_returning();
  void come_again(TimeMs now);
  void begin_return(TimeMs now);
  // `added`: the update lists so many newcomers and nobody else (roster_delta.h).
  void send_update(TimeMs now, GroupUpdate update, SharedBytes commit, std::vector<FullName> awaited, std::size_t added = 0);
  void on_update_result(TimeMs now, const CommandResult& result);
  void evict(TimeMs now, const FullName& name);

  std::deque<Task> tasks_;
  std::optional<Task> task_;
  Step step_ = Step::kIdle;
  FullName subject_;               // the instance that the current task is about
  std::vector<Candidate> candidates_;
  TimeMs put_off_at_ = 0;          // those who are not ready then come after the others
  bool update_done_ = false;       // the channel knows of the newcomers
  bool group_created_ = false;
  bool returning_ = false;         // restored, and not yet subscribed
  TimeMs retry_at_ = 0;            // what the group refused is put off until then
  int subscriptions_left_ = 0;
  std::uint32_t last_commit_ = 0;
  TimeMs evicted_at_ = 0;
};

}  // namespace slipway
