// Rules whose breach does not show at once: what a refused commit must leave alone, what is late, what is repeated, what must not wait.
#include <gtest/gtest.h>

#include "harness.h"
#include "session/session_bounds.h"

namespace slipway::testing {
namespace {

using T = MessageType;

class Rules : public ::testing::TestWithParam<bool> {
 protected:
  Wire wire;
  Endpoint& a = wire.add("alice", 1);
  Endpoint& b = wire.add("bob", 2);
  Endpoint& c = wire.add("carol", 3);
  SessionHandle group{};

  void three() {
    group = *a.layer.create_group(wire.now, data_channel(), control_channel(), reliable(GetParam()));
    EXPECT_TRUE(a.layer.invite(wire.now, group, b.name, 1));
    EXPECT_TRUE(a.layer.invite(wire.now, group, c.name, 2));
    wire.run();
    ASSERT_TRUE(a.succeeded(1) && a.succeeded(2));
  }
  const Session& at(const Endpoint& e) { return *e.layer.find(e.layer.sessions().front()); }
  std::uint32_t commits() { return dynamic_cast<const Moderator&>(at(a)).last_commit(); }
  std::optional<SessionFault> fault(const Endpoint& e, OperationId operation) {
    const Resolve* resolve = e.result(operation);
    return resolve != nullptr && resolve->error ? std::optional(resolve->error->fault) : std::nullopt;
  }
  // The first copy of a command that went from one to the other.
  SessionMessage first(T type, const Endpoint& from, const Endpoint& to) {
    const auto found = std::ranges::find_if(wire.log, [&](const SessionMessage& m) {
      return m.type == type && m.source == from.name && m.destination == to.name;
    });
    EXPECT_NE(found, wire.log.end());
    return *found;
  }
};

INSTANTIATE_TEST_SUITE_P(MlsOffAndOn, Rules, ::testing::Bool());

TEST_P(Rules, WhatTheGroupRefusesTakesNoCommitNumber) {
  if (!GetParam()) {
    GTEST_SKIP() << "without MLS there is nothing to refuse";
  }
  three();
  Endpoint& d = wire.add("dave", 4);
  const std::uint32_t before = commits();
  a.groups.refusals = 1;
  EXPECT_TRUE(a.layer.refresh_keys(wire.now, group, 10));
  EXPECT_TRUE(a.layer.remove(wire.now, group, c.name, 11));
  EXPECT_TRUE(a.layer.invite(wire.now, group, d.name, 12));
  EXPECT_TRUE(b.layer.refresh_keys(wire.now, b.opened[0], 13));
  wire.pass(3'000);
  for (const OperationId operation : {10, 11, 12}) {
    EXPECT_EQ(fault(a, operation), SessionFault::kGroupRefused) << operation;
  }
  EXPECT_EQ(fault(b, 13), SessionFault::kRejoinFailed);
  EXPECT_EQ(commits(), before);
  EXPECT_TRUE(at(a).roster().contains(c.name));  // still a member, since it still has keys
  const std::size_t rejoins = wire.count(T::kRejoinRequest);
  a.groups.refusals = 0;
  EXPECT_TRUE(a.layer.refresh_keys(wire.now, group, 14));
  wire.pass(5'000);
  EXPECT_TRUE(a.succeeded(14));
  EXPECT_EQ(std::get<GroupUpdate>(wire.last(T::kGroupUpdate).payload).mls->commit_id, before + 1);
  EXPECT_EQ(wire.count(T::kRejoinRequest), rejoins);  // nobody missed anything
  EXPECT_EQ(at(c).epoch(), at(a).epoch());
}

TEST_P(Rules, LeafOfWhoLeftGoesThoughTheGroupRefusedAtFirst) {
  three();
  const std::uint32_t before = commits();
  a.groups.refusals = 1;
  EXPECT_TRUE(c.layer.close(wire.now, c.opened[0], 3));
  wire.pass(1'000);
  EXPECT_TRUE(c.succeeded(3));
  a.groups.refusals = 0;
  if (GetParam()) {
    EXPECT_EQ(commits(), before);
  }
  wire.pass(kRefusedCommitMs);
  EXPECT_EQ(commits(), before + 1);
  EXPECT_EQ(at(b).roster().size(), 2u);
  EXPECT_EQ(at(b).epoch(), at(a).epoch());
}

// Two commits are missing, and one of them comes: the other is asked for no later than both would have been.
TEST_P(Rules, WhoMissesACommitAsksThoughAnotherCameLate) {
  if (!GetParam()) {
    GTEST_SKIP() << "without MLS nothing must be followed in order";
  }
  three();
  const std::size_t before = wire.log.size();
  wire.lose = [](const SessionMessage& m) { return m.type == T::kGroupUpdate; };
  for (const OperationId operation : {10, 11, 12}) {
    EXPECT_TRUE(a.layer.refresh_keys(wire.now, group, operation));
    wire.pass(500);
    EXPECT_TRUE(a.succeeded(operation));
  }
  std::map<std::uint32_t, SessionMessage> updates;  // by commit
  for (std::size_t i = before; i < wire.log.size(); ++i) {
    if (const auto* update = std::get_if<GroupUpdate>(&wire.log[i].payload)) {
      updates.emplace(update->mls->commit_id, wire.log[i]);
    }
  }
  ASSERT_EQ(updates.size(), 3u);
  wire.inject(b, updates.rbegin()->second);
  wire.pass(kCommitGapMs - 100);
  wire.inject(b, updates.begin()->second);
  wire.pass(99);
  EXPECT_EQ(wire.count(T::kRejoinRequest), 0u);
  wire.lose = nullptr;
  wire.pass(1);
  EXPECT_EQ(wire.count(T::kRejoinRequest), 1u);
  EXPECT_EQ(at(b).epoch(), at(a).epoch());
}

// What closing waits for ends with the removal, not with whatever happens next.
TEST_P(Rules, ClosesWhenTheLastMemberThatAMessageWaitedForIsTakenOut) {
  group = *a.layer.create_group(wire.now, data_channel(), control_channel(), reliable(GetParam()));
  EXPECT_TRUE(a.layer.invite(wire.now, group, b.name, 1));
  wire.run();
  ASSERT_TRUE(a.succeeded(1));
  b.deaf = true;
  EXPECT_TRUE(a.layer.invite(wire.now, group, service_of("nobody"), 2));
  EXPECT_TRUE(a.layer.remove(wire.now, group, b.name, 3));
  wire.pass(300);
  EXPECT_TRUE(a.layer.publish(wire.now, group, {"", bytes_of("unheard"), {}}, 4));
  EXPECT_TRUE(a.layer.close(wire.now, group, 5));
  wire.run();
  EXPECT_TRUE(a.closed.empty());
  wire.pass(100);  // nobody has answered to the end, so that the removal has its turn
  EXPECT_EQ(fault(a, 2), SessionFault::kNotFound);
  EXPECT_TRUE(a.succeeded(5));
  ASSERT_EQ(a.closed.size(), 1u);
  ASSERT_NE(a.result(4), nullptr);
  EXPECT_EQ(a.result(4)->undelivered.size(), 1u);
}

TEST_P(Rules, LateOrderToLeaveDoesNotEndTheNextMembership) {
  three();
  wire.lose = [this](const SessionMessage& m) { return m.destination == b.name; };
  EXPECT_TRUE(a.layer.remove(wire.now, group, b.name, 3));
  wire.pass(2'000);
  EXPECT_EQ(fault(a, 3), SessionFault::kLeaveUnconfirmed);
  const SessionMessage order = first(T::kLeaveRequest, a, b);
  wire.lose = nullptr;
  EXPECT_TRUE(a.layer.invite(wire.now, group, b.name, 4));
  wire.pass(2'000);
  ASSERT_TRUE(a.succeeded(4));
  const std::uint64_t refused = b.layer.refusals().wrong_state;
  wire.inject(b, order);
  EXPECT_EQ(b.layer.sessions().size(), 1u);
  EXPECT_EQ(b.layer.refusals().wrong_state, refused + 1);
}

TEST_P(Rules, LateFarewellDoesNotEndTheNextMembership) {
  three();
  wire.lose = [this](const SessionMessage& m) { return m.source == b.name && m.type == T::kLeaveRequest; };
  EXPECT_TRUE(b.layer.close(wire.now, b.opened[0], 3));
  wire.pass(2'000);
  EXPECT_TRUE(b.layer.sessions().empty());
  const SessionMessage farewell = first(T::kLeaveRequest, b, a);
  wire.lose = nullptr;
  EXPECT_TRUE(a.layer.remove(wire.now, group, b.name, 4));
  wire.pass(2'000);
  EXPECT_TRUE(a.layer.invite(wire.now, group, b.name, 5));
  wire.pass(2'000);
  ASSERT_TRUE(a.succeeded(5));
  wire.inject(a, farewell);
  wire.pass(1'000);
  EXPECT_TRUE(at(a).roster().contains(b.name));
  EXPECT_EQ(at(a).roster().size(), 3u);
  EXPECT_TRUE(b.layer.close(wire.now, b.layer.sessions().front(), 6));  // a new one does
  wire.pass(1'000);
  EXPECT_FALSE(at(a).roster().contains(b.name));
}

TEST_P(Rules, RepeatedCommandsAreAnsweredAgainAndNotCarriedOutAgain) {
  three();
  const auto repeat = [&](Endpoint& to, const SessionMessage& command, T answer) {
    const std::size_t before = wire.log.size();
    const std::uint64_t replayed = to.layer.refusals().replayed;
    wire.inject(to, command);
    EXPECT_EQ(wire.types(before).front(), answer) << message_type_text(command.type);
    EXPECT_EQ(to.layer.refusals().replayed, replayed + 1);
    return wire.log[before];
  };
  const SessionMessage reply = first(T::kJoinReply, b, a);
  const SessionMessage again = repeat(b, first(T::kJoinRequest, a, b), T::kJoinReply);
  EXPECT_EQ(std::get<JoinReply>(again.payload).key_package, std::get<JoinReply>(reply.payload).key_package);
  repeat(b, first(T::kGroupWelcome, a, b), T::kGroupAck);
  repeat(b, wire.last(T::kGroupUpdate), T::kGroupAck);
  if (GetParam()) {
    EXPECT_TRUE(b.layer.refresh_keys(wire.now, b.opened[0], 5));
    wire.run();
    ASSERT_TRUE(b.succeeded(5));
    const std::uint64_t epoch = at(a).epoch();
    const std::uint32_t commit = commits();
    repeat(a, first(T::kRejoinRequest, b, a), T::kRejoinReply);
    EXPECT_EQ(at(a).epoch(), epoch);
    EXPECT_EQ(commits(), commit);
  }
}

TEST_P(Rules, GoingOfflineEndsWhatNobodyWasThereToGet) {
  group = *a.layer.create_group(wire.now, data_channel(), control_channel(), reliable(GetParam()));
  EXPECT_TRUE(a.layer.publish(wire.now, group, {.payload = bytes_of("to nobody")}, 3));
  EXPECT_TRUE(a.layer.go_offline(wire.now, group, 4));
  wire.run();
  EXPECT_EQ(fault(a, 3), SessionFault::kOffline);
  EXPECT_TRUE(a.succeeded(4));
}

TEST_P(Rules, WhoGoesOfflineOwesNothing) {
  three();
  wire.lose = [this](const SessionMessage& m) { return m.source == b.name && m.type == T::kMsgAck; };
  EXPECT_TRUE(a.layer.publish(wire.now, group, {.payload = bytes_of("unconfirmed")}, 3));
  EXPECT_TRUE(a.layer.publish_to(wire.now, group, b.name, {.payload = bytes_of("this too")}, 4));
  wire.run();
  EXPECT_EQ(a.result(3), nullptr);
  const MemberSlot slot = at(a).roster().find(b.name.hashed());
  EXPECT_EQ(at(a).sender().owed_by(slot), 2u);
  EXPECT_TRUE(b.layer.go_offline(wire.now, b.opened[0], 5));
  wire.run();
  for (const OperationId operation : {3, 4}) {
    ASSERT_NE(a.result(operation), nullptr);
    ASSERT_EQ(a.result(operation)->undelivered.size(), 1u);
    EXPECT_EQ(a.result(operation)->undelivered[0].reason, LossReason::kOffline);
  }
  EXPECT_EQ(at(a).sender().owed_by(slot), 0u);
}

TEST_P(Rules, WelcomeWithAMemberThatIsOnNoListIsRefused) {
  three();
  Endpoint& d = wire.add("dave", 4);
  wire.lose = [](const SessionMessage& m) { return m.type == T::kGroupWelcome; };
  EXPECT_TRUE(a.layer.invite(wire.now, group, d.name, 3));
  wire.run();
  wire.lose = nullptr;
  SessionMessage welcome = wire.last(T::kGroupWelcome);
  const SessionMessage right = welcome;
  std::erase_if(std::get<GroupWelcome>(welcome.payload).participants, [this](const ParticipantInfo& info) { return info.name == c.name; });
  welcome.message_id += 1;
  const std::size_t before = wire.log.size();
  const std::uint64_t refused = d.layer.refusals().bad_commit;
  wire.inject(d, welcome);
  EXPECT_EQ(d.layer.refusals().bad_commit, refused + (GetParam() ? 1 : 0));
  EXPECT_EQ(wire.types(before).empty(), GetParam());  // without MLS there are no leaves
  EXPECT_EQ(d.opened.empty(), GetParam());
  wire.inject(d, right);
  EXPECT_EQ(d.opened.size(), 1u);
}

TEST_P(Rules, NewcomerLearnsOfWhoseLeafIsStillThere) {
  three();
  Endpoint& d = wire.add("dave", 4);
  wire.lose = [](const SessionMessage& m) { return m.type == T::kJoinReply; };
  EXPECT_TRUE(a.layer.invite(wire.now, group, d.name, 3));
  wire.run();
  EXPECT_TRUE(c.layer.close(wire.now, c.opened[0], 4));  // its leaf is taken out after dave's invite
  wire.lose = nullptr;
  wire.pass(3'000);
  EXPECT_TRUE(a.succeeded(3));
  EXPECT_EQ(at(d).roster().size(), 3u);
  EXPECT_EQ(at(b).roster().size(), 3u);
  EXPECT_EQ(at(d).epoch(), at(a).epoch());
  if (GetParam()) {
    EXPECT_EQ(wire.count(T::kRejoinRequest), 0u);
  }
}

}  // namespace
}  // namespace slipway::testing
