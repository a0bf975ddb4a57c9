// The flows of the protocol, message by message, and what applications see of them. Each with MLS and without.
#include <gtest/gtest.h>

#include "harness.h"
#include "session/large_channels.h"
#include "session/roster_delta.h"
#include "session/session_bounds.h"

namespace slipway::testing {
namespace {

using T = MessageType;

class Flows : public ::testing::TestWithParam<bool> {
 protected:
  Wire wire;
  Endpoint& a = wire.add("alice", 1);
  Endpoint& b = wire.add("bob", 2);
  Endpoint& c = wire.add("carol", 3);

  SessionHandle group() { return *a.layer.create_group(wire.now, data_channel(), control_channel(), reliable(GetParam())); }
  SessionHandle group_of_three() {
    const SessionHandle handle = group();
    EXPECT_TRUE(a.layer.invite(wire.now, handle, service_of("bob"), 1));
    EXPECT_TRUE(a.layer.invite(wire.now, handle, service_of("carol"), 2));
    wire.run();
    EXPECT_TRUE(a.succeeded(1) && a.succeeded(2));
    return handle;
  }
  static Outgoing say(std::string_view text) { return {.payload = bytes_of(text)}; }
};

INSTANTIATE_TEST_SUITE_P(MlsOffAndOn, Flows, ::testing::Bool());

TEST_P(Flows, UnicastSetUpIsDiscoveryJoinWelcome) {
  const auto session = a.layer.create_unicast(wire.now, service_of("bob"), reliable(GetParam()), 7);
  ASSERT_TRUE(session);
  wire.run();
  EXPECT_EQ(wire.types(), (std::vector{T::kDiscoveryRequest, T::kDiscoveryReply, T::kJoinRequest, T::kJoinReply, T::kGroupWelcome, T::kGroupAck}));
  EXPECT_TRUE(a.succeeded(7));
  ASSERT_EQ(b.opened.size(), 1u);
  const auto& join = wire.log[2];
  const auto& payload = std::get<JoinRequest>(join.payload);
  EXPECT_EQ(join.destination, b.name);
  EXPECT_FALSE(payload.channel || payload.control);
  EXPECT_EQ(payload.timers, kQuick);
  EXPECT_EQ(payload.mls.has_value(), GetParam());
  EXPECT_EQ(std::get<JoinReply>(wire.log[3].payload).key_package != nullptr, GetParam());
  const auto& welcome = std::get<GroupWelcome>(wire.log[4].payload);
  ASSERT_EQ(welcome.participants.size(), 2u);
  EXPECT_EQ(welcome.participants[0].name, a.name);  // upstream's joiner learns whom it talks to from this list alone
  EXPECT_EQ(welcome.mls.has_value(), GetParam());
  if (welcome.mls) {
    EXPECT_EQ(welcome.mls->commit_id, 1u);
  }
  for (std::size_t i = 0; i < wire.log.size(); i += 2) {
    EXPECT_EQ(wire.log[i].message_id, wire.log[i + 1].message_id);
    EXPECT_EQ(wire.log[i].session_id, wire.log[0].session_id);
    EXPECT_NE(wire.log[i].message_id, 0u);
    EXPECT_EQ(wire.log[i].fanout, kOneReceiver);
  }
}

TEST_P(Flows, UnicastMessagesGoBothWaysInOrderAndAreAcknowledged) {
  const SessionHandle session = *a.layer.create_unicast(wire.now, service_of("bob"), reliable(GetParam()), 1);
  EXPECT_TRUE(a.layer.publish(wire.now, session, say("early"), 2));  // before there is a peer: waits
  wire.run();
  EXPECT_EQ(*a.layer.publish(wire.now, session, say("second"), 3), 2u);
  EXPECT_EQ(*b.layer.publish(wire.now, b.opened[0], say("back"), 1), 1u);
  wire.run();
  EXPECT_EQ(b.texts(), (std::vector<std::string>{"early", "second"}));
  EXPECT_EQ(a.texts(), std::vector<std::string>{"back"});
  EXPECT_TRUE(a.succeeded(2) && a.succeeded(3) && b.succeeded(1));
  EXPECT_EQ(wire.count(T::kMsgAck), 3u);
}

TEST_P(Flows, UnicastCloseTellsThePeerItself) {
  const SessionHandle session = *a.layer.create_unicast(wire.now, service_of("bob"), reliable(GetParam()), 1);
  wire.run();
  EXPECT_TRUE(a.layer.close(wire.now, session, 2));
  wire.run();
  EXPECT_EQ(wire.last(T::kGroupClose).destination, b.name);
  EXPECT_TRUE(a.succeeded(2));
  ASSERT_EQ(b.closed.size(), 1u);
  EXPECT_EQ(b.closed[0].reason, CloseReason::kByModerator);
  wire.pass(kTombstoneMs + 1);
  EXPECT_FALSE(a.layer.next_deadline() || b.layer.next_deadline());
}

TEST_P(Flows, UnicastPeerLeaves) {
  const SessionHandle session = *a.layer.create_unicast(wire.now, service_of("bob"), reliable(GetParam()), 1);
  wire.run();
  EXPECT_TRUE(b.layer.close(wire.now, b.opened[0], 1));
  wire.run();
  EXPECT_TRUE(has_mark(wire.last(T::kLeaveRequest).metadata, metadata_key::kLeaving));
  EXPECT_TRUE(b.succeeded(1));
  ASSERT_EQ(a.closed.size(), 1u);
  EXPECT_EQ(a.closed[0].reason, CloseReason::kPeerLeft);
  EXPECT_EQ(a.layer.publish(wire.now, session, say("?"), 2).error().fault, SessionFault::kUnknownSession);
}

TEST_P(Flows, SecondMemberIsAnnouncedToTheFirst) {
  const SessionHandle handle = group();
  EXPECT_TRUE(a.layer.invite(wire.now, handle, service_of("bob"), 1));
  wire.run();
  EXPECT_EQ(wire.count(T::kGroupUpdate), 0u);  // two members: the welcome says all
  const std::size_t before = wire.log.size();
  EXPECT_TRUE(a.layer.invite(wire.now, handle, service_of("carol"), 2));
  wire.run();
  EXPECT_EQ(wire.types(before), (std::vector{T::kDiscoveryRequest, T::kDiscoveryReply, T::kJoinRequest, T::kJoinReply, T::kGroupUpdate,
                                             T::kGroupWelcome, T::kGroupAck, T::kGroupAck}));
  const SessionMessage& update = wire.last(T::kGroupUpdate);
  EXPECT_EQ(update.destination, control_channel());
  EXPECT_EQ(update.fanout, kAllReceivers);
  const auto& payload = std::get<GroupUpdate>(update.payload);
  EXPECT_EQ(payload.operation, GroupOperation::kAdd);
  EXPECT_EQ(payload.participant.name, c.name);
  ASSERT_EQ(payload.participants.size(), 1u);  // all are ours: the newcomer alone
  EXPECT_EQ(payload.participants[0].name, c.name);
  EXPECT_EQ(update.metadata.at(std::string(kRosterAddedKey)), "1");
  if (GetParam()) {
    EXPECT_EQ(payload.mls->commit_id, std::get<GroupWelcome>(wire.last(T::kGroupWelcome).payload).mls->commit_id);
  }
  for (const Endpoint* e : {&a, &b, &c}) {
    const Session* session = e->layer.find(e == &a ? handle : e->opened[0]);
    EXPECT_EQ(session->participants().size(), 3u);
    EXPECT_EQ(session->epoch(), a.layer.find(handle)->epoch());
  }
}

TEST_P(Flows, GroupMessagesReachAllOthersOnce) {
  const SessionHandle handle = group_of_three();
  EXPECT_TRUE(b.layer.publish(wire.now, b.opened[0], say("hello all"), 5));
  wire.run();
  EXPECT_EQ(a.texts(), std::vector<std::string>{"hello all"});
  EXPECT_EQ(c.texts(), std::vector<std::string>{"hello all"});
  EXPECT_TRUE(b.succeeded(5));
  EXPECT_EQ(wire.last(T::kMsg).destination, data_channel());
  EXPECT_EQ(wire.last(T::kMsg).fanout, kAllReceivers);
  EXPECT_TRUE(a.layer.publish_to(wire.now, handle, c.name, say("carol only"), 6));
  wire.run();
  EXPECT_EQ(c.texts().back(), "carol only");
  EXPECT_TRUE(c.got.back().directed);
  EXPECT_EQ(b.texts().size(), 0u);
  EXPECT_GT(wire.last(T::kMsg).message_id, kMaxDataId);
  EXPECT_TRUE(has_mark(wire.last(T::kMsgAck).metadata, metadata_key::kPublishTo));
}

TEST_P(Flows, RemovalIsCommittedThenTheMemberToldToLeave) {
  const SessionHandle handle = group_of_three();
  const std::size_t before = wire.log.size();
  EXPECT_TRUE(a.layer.remove(wire.now, handle, service_of("bob"), 3));
  wire.run();
  EXPECT_EQ(wire.types(before), (std::vector{T::kGroupUpdate, T::kGroupAck, T::kGroupAck, T::kLeaveRequest, T::kLeaveReply}));
  const auto& payload = std::get<GroupUpdate>(wire.log[before].payload);
  EXPECT_EQ(payload.operation, GroupOperation::kRemove);
  EXPECT_EQ(payload.participants.size(), 3u);  // the list still holds the removed
  EXPECT_TRUE(a.succeeded(3));
  ASSERT_EQ(b.closed.size(), 1u);
  EXPECT_EQ(b.closed[0].reason, CloseReason::kRemoved);
  EXPECT_TRUE(b.subscribed.empty());
  EXPECT_EQ(c.layer.find(c.opened[0])->participants().size(), 2u);
  EXPECT_TRUE(a.layer.invite(wire.now, handle, service_of("bob"), 4));  // and in again
  wire.run();
  EXPECT_TRUE(a.succeeded(4));
}

TEST_P(Flows, LeaverIsAnsweredAtOnceAndTakenOut) {
  const SessionHandle handle = group_of_three();
  const std::size_t before = wire.log.size();
  EXPECT_TRUE(b.layer.close(wire.now, b.opened[0], 9));
  wire.run();
  EXPECT_EQ(wire.types(before), (std::vector{T::kLeaveRequest, T::kLeaveReply, T::kGroupUpdate, T::kGroupAck}));
  EXPECT_TRUE(b.succeeded(9));
  EXPECT_EQ(a.layer.find(handle)->participants().size(), 2u);
  EXPECT_EQ(c.layer.find(c.opened[0])->participants().size(), 2u);
  EXPECT_EQ(a.presence.back().change, PresenceChange::kLeft);
}

TEST_P(Flows, CloseEndsAllMembersAndLeavesNoTimer) {
  const SessionHandle handle = group_of_three();
  EXPECT_TRUE(a.layer.close(wire.now, handle, 3));
  wire.run();
  EXPECT_EQ(wire.last(T::kGroupClose).destination, control_channel());
  EXPECT_TRUE(a.succeeded(3));
  EXPECT_EQ(b.closed.size() + c.closed.size() + a.closed.size(), 3u);
  wire.pass(kTombstoneMs + 1);
  EXPECT_FALSE(a.layer.next_deadline() || b.layer.next_deadline() || c.layer.next_deadline());
}

TEST_P(Flows, SoftCloseAndReturnAtTheSameEpoch) {
  const SessionHandle handle = group_of_three();
  EXPECT_TRUE(b.layer.go_offline(wire.now, b.opened[0], 1));
  wire.run();
  EXPECT_TRUE(b.succeeded(1));
  EXPECT_EQ(b.layer.publish(wire.now, b.opened[0], say("?"), 2).error().fault, SessionFault::kOffline);
  EXPECT_TRUE(a.layer.publish(wire.now, handle, say("while bob is away"), 3));
  wire.run();
  ASSERT_NE(a.result(3), nullptr);
  ASSERT_EQ(a.result(3)->undelivered.size(), 1u);  // the sender is told whom it did not reach
  EXPECT_EQ(a.result(3)->undelivered[0].reason, LossReason::kOffline);
  EXPECT_TRUE(b.layer.come_back(wire.now, b.opened[0], 4));
  wire.run();
  EXPECT_TRUE(b.succeeded(4));
  EXPECT_TRUE(a.layer.publish(wire.now, handle, say("back"), 5));
  wire.pass(1'000);
  EXPECT_TRUE(a.succeeded(5));
  EXPECT_EQ(b.texts(), (std::vector<std::string>{"while bob is away", "back"}));  // the gap was asked for
}

TEST_P(Flows, ReturnAfterTheEpochChangedGoesByRejoin) {
  const SessionHandle handle = group_of_three();
  EXPECT_TRUE(b.layer.go_offline(wire.now, b.opened[0], 1));
  wire.run();
  EXPECT_TRUE(a.layer.remove(wire.now, handle, service_of("carol"), 3));
  wire.pass(2'000);
  const std::size_t before = wire.log.size();
  EXPECT_TRUE(b.layer.come_back(wire.now, b.opened[0], 4));
  wire.pass(15'000);  // without MLS the moderator's heartbeat shows that the roster is old
  EXPECT_TRUE(b.succeeded(4));
  if (GetParam()) {
    const auto types = wire.types(before);
    EXPECT_EQ(std::vector(types.begin(), types.begin() + 4),
              (std::vector{T::kUpdateParticipantState, T::kGroupNack, T::kRejoinRequest, T::kRejoinReply}));
  }
  const Session& at_b = *b.layer.find(b.opened[0]);
  EXPECT_EQ(at_b.epoch(), a.layer.find(handle)->epoch());
  EXPECT_EQ(at_b.participants().size(), 2u);
  EXPECT_TRUE(b.layer.publish(wire.now, b.opened[0], say("here again"), 5));
  wire.run();
  EXPECT_EQ(a.texts(), std::vector<std::string>{"here again"});
}

TEST_P(Flows, KeysAreRenewedByEitherSide) {
  const SessionHandle handle = group_of_three();
  const std::uint64_t before = a.layer.find(handle)->epoch();
  const auto at_a = a.layer.refresh_keys(wire.now, handle, 10);
  const auto at_b = b.layer.refresh_keys(wire.now, b.opened[0], 11);
  if (!GetParam()) {
    EXPECT_EQ(at_a.error().fault, SessionFault::kWrongKind);
    EXPECT_EQ(at_b.error().fault, SessionFault::kWrongKind);
    return;
  }
  wire.pass(1'000);
  EXPECT_TRUE(a.succeeded(10) && b.succeeded(11));
  EXPECT_EQ(a.layer.find(handle)->epoch(), before + 2);
  EXPECT_EQ(b.layer.find(b.opened[0])->epoch(), before + 2);
  EXPECT_EQ(c.layer.find(c.opened[0])->epoch(), before + 2);
  EXPECT_TRUE(c.layer.publish(wire.now, c.opened[0], say("still here"), 1));
  wire.run();
  EXPECT_EQ(b.texts(), std::vector<std::string>{"still here"});
}

TEST_P(Flows, WhoNeverAnswersHoldsNobody) {
  const SessionHandle handle = group();
  wire.lose = [this](const SessionMessage& m) { return m.source == b.name && m.type == T::kJoinReply; };
  EXPECT_TRUE(a.layer.invite(wire.now, handle, service_of("bob"), 1));
  EXPECT_TRUE(a.layer.invite(wire.now, handle, service_of("nobody"), 2));
  EXPECT_TRUE(a.layer.invite(wire.now, handle, service_of("carol"), 3));
  wire.pass(5'000);
  ASSERT_TRUE(a.result(1) && a.result(2));
  EXPECT_EQ(a.result(1)->error->fault, SessionFault::kJoinUnanswered);
  EXPECT_EQ(a.result(2)->error->fault, SessionFault::kNotFound);
  EXPECT_TRUE(a.succeeded(3));
  EXPECT_EQ(a.layer.find(handle)->participants().size(), 2u);
  EXPECT_EQ(b.layer.sessions().size(), 0u);  // it was told to leave
}

class WaitingInvites : public Flows {
 protected:
  std::vector<Endpoint*> more;
  SessionHandle handle{};

  // Bob is in; the others are invited in one breath.
  void invite_all(std::size_t count) {
    handle = group();
    EXPECT_TRUE(a.layer.invite(wire.now, handle, service_of("bob"), 1));
    wire.run();
    for (std::size_t i = 0; i < count; ++i) {
      more.push_back(&wire.add("more" + std::to_string(i), 100 + i));
      EXPECT_TRUE(a.layer.invite(wire.now, handle, i % 2 == 0 ? more.back()->name : more.back()->name.service(), 10 + i));
    }
  }
  void expect_agreement() {
    const Session& moderator = *a.layer.find(handle);
    for (const Endpoint* member : more) {
      if (!moderator.roster().contains(member->name)) {
        continue;
      }
      ASSERT_EQ(member->layer.sessions().size(), 1u);
      const Session& held = *member->layer.find(member->layer.sessions()[0]);
      EXPECT_EQ(held.roster().size(), moderator.roster().size());
      EXPECT_EQ(held.epoch(), moderator.epoch());
    }
    EXPECT_EQ(b.layer.find(b.opened[0])->roster().size(), moderator.roster().size());
  }
};
INSTANTIATE_TEST_SUITE_P(MlsOffAndOn, WaitingInvites, ::testing::Bool());

TEST_P(WaitingInvites, ShareOneCommit) {
  invite_all(5);
  wire.run();
  // The first found nobody to wait for and went alone.
  EXPECT_EQ(wire.count(T::kGroupUpdate), 2u);
  EXPECT_EQ(wire.count(T::kGroupWelcome), 6u);
  for (OperationId operation = 10; operation < 15; ++operation) {
    EXPECT_TRUE(a.succeeded(operation));
  }
  if (GetParam()) {
    EXPECT_EQ(a.layer.find(handle)->epoch(), 3u);
  }
  expect_agreement();
  EXPECT_TRUE(more[4]->layer.publish(wire.now, more[4]->opened[0], say("hello all"), 50));
  wire.run();
  EXPECT_TRUE(more[4]->succeeded(50));
  EXPECT_EQ(more[0]->texts(), std::vector<std::string>{"hello all"});
}

TEST_P(WaitingInvites, OneThatFailsTakesNobodyAlong) {
  invite_all(5);
  wire.lose = [this](const SessionMessage& m) {
    return (m.source == more[2]->name && m.type == T::kJoinReply) || (m.source == more[3]->name && m.type == T::kGroupAck) ||
           m.source == more[4]->name;
  };
  wire.pass(10'000);
  EXPECT_TRUE(a.succeeded(10) && a.succeeded(11));
  EXPECT_EQ(a.result(12)->error->fault, SessionFault::kJoinUnanswered);
  EXPECT_EQ(a.result(13)->error->fault, SessionFault::kWelcomeUnanswered);
  EXPECT_EQ(a.result(14)->error->fault, SessionFault::kNotFound);
  EXPECT_EQ(a.layer.find(handle)->roster().size(), 4u);
  expect_agreement();
}

TEST_P(WaitingInvites, WhoIsReadyDoesNotWaitForTheSlow) {
  constexpr std::uint32_t kInterval = 10'000;
  SessionConfig config = reliable(GetParam());
  config.reliability = TimerSettings{kInterval, 10};
  handle = *a.layer.create_group(wire.now, data_channel(), control_channel(), config);
  EXPECT_TRUE(a.layer.invite(wire.now, handle, service_of("bob"), 1));
  EXPECT_TRUE(a.layer.invite(wire.now, handle, service_of("nobody"), 2));
  EXPECT_TRUE(a.layer.invite(wire.now, handle, service_of("carol"), 3));
  wire.pass(kInvitePatienceMs + 1);
  EXPECT_EQ(c.opened.size(), 1u);
  EXPECT_TRUE(a.succeeded(3));
  EXPECT_EQ(a.result(2), nullptr);
  wire.pass(11 * kInterval);
  EXPECT_EQ(a.result(2)->error->fault, SessionFault::kNotFound);
}

TEST_P(WaitingInvites, UpstreamsMembersGetOneNewcomerAnUpdate) {
  wire.from_slipway = false;
  invite_all(3);
  wire.run();
  EXPECT_EQ(wire.count(T::kGroupUpdate), 3u);
  for (const SessionMessage& message : wire.log) {
    if (message.type == T::kGroupUpdate) {
      EXPECT_EQ(std::get<GroupUpdate>(message.payload).operation, GroupOperation::kAdd);
      EXPECT_GE(std::get<GroupUpdate>(message.payload).participants.size(), 3u);  // everybody
      EXPECT_FALSE(message.metadata.contains(kRosterAddedKey));
    }
  }
  expect_agreement();
}

TEST_P(WaitingInvites, LargeChannelsOfOursBeatLessOften) {
  invite_all(98);  // a hundred with the moderator and bob
  wire.pass(60'000);
  ASSERT_EQ(a.layer.find(handle)->roster().size(), 100u);
  const std::size_t before = wire.count(T::kHeartbeat);
  wire.pass(300'000);
  const std::size_t beats = wire.count(T::kHeartbeat) - before;
  EXPECT_GE(beats, 900u);    // each every thirty seconds
  EXPECT_LE(beats, 1'100u);
  for (Endpoint* member : more) {
    const Session& held = *member->layer.find(member->layer.sessions()[0]);
    for (const ParticipantInfo& other : held.participants()) {
      EXPECT_EQ(other.status, MemberStatus::kOnline);
    }
  }
  // One that is gone is missed, later than in a small channel.
  wire.lose = [this](const SessionMessage& m) { return m.source == more[0]->name; };
  wire.pass(130'000);
  wire.lose = {};
  EXPECT_FALSE(std::ranges::all_of(a.layer.find(handle)->participants(), [](const auto& one) { return one.status == MemberStatus::kOnline; }));
}

// Who comes into a large channel was told of by the moderator; its own first heartbeat to all can wait as long as later ones.
TEST_P(WaitingInvites, NewcomersOfLargeChannelsBeatAsSeldomAsTheOthers) {
  invite_all(198);
  wire.run();
  ASSERT_EQ(a.layer.find(handle)->roster().size(), 200u);
  wire.pass(19'000);
  EXPECT_LE(wire.count(T::kHeartbeat), 2 * kMembersABeat);  // those who came while it was small
  EXPECT_GE(wire.count(T::kHeartbeat), kMembersABeat);
  wire.pass(60'000);
  std::size_t of_the_last = 0;
  for (const SessionMessage& message : wire.log) {
    of_the_last += message.type == T::kHeartbeat && message.source == more.back()->name ? 1 : 0;
  }
  EXPECT_EQ(of_the_last, 1u);
  for (Endpoint* member : {&b, more.front(), more.back()}) {
    const Session& held = *member->layer.find(member->layer.sessions()[0]);
    EXPECT_TRUE(std::ranges::all_of(held.participants(), [](const auto& one) { return one.status == MemberStatus::kOnline; }));
  }
}

// Upstream's members expect a heartbeat every ten seconds, and give up who misses three.
TEST_P(WaitingInvites, LargeChannelsBeatInTimeOnceAMemberOfUpstreamsComesIn) {
  invite_all(98);
  wire.pass(95'000);
  Endpoint& theirs = wire.add("theirs", 900);
  theirs.theirs = true;
  EXPECT_TRUE(a.layer.invite(wire.now, handle, theirs.name, 900));
  wire.run();
  ASSERT_TRUE(a.succeeded(900));
  const std::size_t before = wire.count(T::kHeartbeat);
  wire.pass(kHeartbeatMs + 500);
  EXPECT_GE(wire.count(T::kHeartbeat) - before, 100u);  // all but the moderator, who told all of the newcomer
  wire.pass(3 * kHeartbeatMs);
  const Session& held = *theirs.layer.find(theirs.layer.sessions()[0]);
  EXPECT_TRUE(std::ranges::all_of(held.participants(), [](const auto& one) { return one.status == MemberStatus::kOnline; }));
}

// A channel that gets small beats often again, and nobody who is there is missed on the way.
TEST_P(WaitingInvites, ChannelsThatGetSmallMissNobody) {
  invite_all(98);
  wire.pass(65'000);
  for (std::size_t i = 0; i < 80; ++i) {
    EXPECT_TRUE(a.layer.remove(wire.now, handle, more[i]->name, 500 + i));
  }
  wire.run();
  ASSERT_EQ(a.layer.find(handle)->roster().size(), 20u);
  b.presence.clear();
  wire.pass(60'000);
  EXPECT_TRUE(std::ranges::none_of(b.presence, [](const Presence& one) { return one.change == PresenceChange::kOffline; }));
}

TEST_P(WaitingInvites, WhoMissedNewcomersIsToldOfAll) {
  invite_all(1);
  wire.lose = [](const SessionMessage& m) { return m.type == T::kGroupUpdate; };
  wire.pass(10'000);
  EXPECT_TRUE(a.succeeded(10));  // whoever missed it does not hold the newcomer up
  wire.lose = {};
  EXPECT_TRUE(a.layer.invite(wire.now, handle, service_of("carol"), 20));
  wire.pass(60'000);
  EXPECT_TRUE(a.succeeded(20));
  EXPECT_EQ(b.layer.find(b.opened[0])->roster().size(), 4u);
  expect_agreement();
}

// Its session is there, and waits for a welcome: the second time that it is asked, its time begins anew.
TEST_P(Flows, WhoIsAskedAgainHasItsTimeAnew) {
  const SessionHandle handle = group();
  wire.lose = [](const SessionMessage& m) { return m.type == T::kJoinReply || m.type == T::kLeaveRequest; };
  EXPECT_TRUE(a.layer.invite(wire.now, handle, service_of("bob"), 1));
  wire.run();
  ASSERT_EQ(b.layer.sessions().size(), 1u);
  wire.pass(kWelcomeDeadlineMs - 200);
  ASSERT_NE(a.result(1), nullptr);
  wire.lose = [](const SessionMessage& m) { return m.type == T::kGroupWelcome; };
  EXPECT_TRUE(a.layer.invite(wire.now, handle, service_of("bob"), 2));
  wire.pass(250);  // beyond the first deadline
  wire.lose = {};
  wire.pass(2'000);
  EXPECT_TRUE(a.succeeded(2));
  EXPECT_EQ(b.opened.size(), 1u);
}

TEST_P(WaitingInvites, OneServiceTwiceIsTwoInstancesOneAfterTheOther) {
  handle = group();
  EXPECT_TRUE(a.layer.invite(wire.now, handle, service_of("bob"), 1));
  wire.run();
  EXPECT_TRUE(a.layer.invite(wire.now, handle, service_of("carol"), 2));
  EXPECT_TRUE(a.layer.invite(wire.now, handle, c.name, 3));
  wire.pass(1'000);
  EXPECT_TRUE(a.succeeded(2));
  EXPECT_EQ(a.result(3)->error->fault, SessionFault::kAlreadyMember);
  EXPECT_EQ(c.opened.size(), 1u);
}

TEST_P(Flows, UnconfirmedWelcomeIsTakenBack) {
  const SessionHandle handle = group();
  EXPECT_TRUE(a.layer.invite(wire.now, handle, service_of("carol"), 1));
  wire.run();
  wire.lose = [this](const SessionMessage& m) { return m.source == b.name && m.type == T::kGroupAck; };
  EXPECT_TRUE(a.layer.invite(wire.now, handle, service_of("bob"), 2));
  wire.pass(3'000);
  ASSERT_NE(a.result(2), nullptr);
  EXPECT_EQ(a.result(2)->error->fault, SessionFault::kWelcomeUnanswered);
  EXPECT_EQ(c.layer.find(c.opened[0])->participants().size(), 2u);
  EXPECT_EQ(c.layer.find(c.opened[0])->epoch(), a.layer.find(handle)->epoch());
  EXPECT_EQ(b.layer.sessions().size(), 0u);
}

TEST_P(Flows, LostReplyIsRepeatedAndNothingDoneTwice) {
  const SessionHandle handle = group();
  int left = 2;
  wire.lose = [&](const SessionMessage& m) { return (m.type == T::kJoinReply || m.type == T::kGroupAck) && left-- > 0; };
  EXPECT_TRUE(a.layer.invite(wire.now, handle, service_of("bob"), 1));
  wire.pass(2'000);
  EXPECT_TRUE(a.succeeded(1));
  EXPECT_EQ(b.opened.size(), 1u);
  EXPECT_EQ(b.layer.sessions().size(), 1u);
}

TEST_P(Flows, ModeratorComesBackAlthoughSomebodyLeftMeanwhile) {
  const SessionHandle handle = group_of_three();
  EXPECT_TRUE(a.layer.go_offline(wire.now, handle, 10));
  wire.pass(1'000);
  EXPECT_TRUE(b.layer.close(wire.now, b.opened[0], 11));
  wire.pass(1'000);
  EXPECT_TRUE(b.succeeded(11));
  EXPECT_TRUE(a.layer.come_back(wire.now, handle, 12));
  wire.pass(2'000);
  EXPECT_TRUE(a.succeeded(12));
  EXPECT_EQ(a.layer.find(handle)->participants().size(), 2u);
  EXPECT_EQ(c.layer.find(c.opened[0])->participants().size(), 2u);
}

TEST_P(Flows, ChangeThatWaitsForNobodyEndsAtOnce) {
  const SessionHandle handle = group_of_three();
  EXPECT_TRUE(b.layer.go_offline(wire.now, b.opened[0], 10));
  EXPECT_TRUE(c.layer.go_offline(wire.now, c.opened[0], 11));
  wire.pass(1'000);
  if (GetParam()) {
    EXPECT_TRUE(a.layer.refresh_keys(wire.now, handle, 12));
    wire.run();
    EXPECT_TRUE(a.succeeded(12));
  }
}

TEST_P(Flows, SilentMemberGoesOfflineAndComesBackByItsHeartbeat) {
  const SessionHandle handle = group_of_three();
  wire.lose = [this](const SessionMessage& m) { return m.source == b.name || m.destination == b.name; };
  wire.pass(45'000);
  const auto status_of_b = [&] { return a.layer.find(handle)->participants()[1].status; };
  EXPECT_EQ(status_of_b(), MemberStatus::kOffline);
  EXPECT_EQ(a.presence.back().change, PresenceChange::kOffline);
  wire.lose = nullptr;
  wire.pass(25'000);
  EXPECT_EQ(status_of_b(), MemberStatus::kOnline);
}

TEST_P(Flows, MemberThatMissedItsRemovalIsTold) {
  const SessionHandle handle = group_of_three();
  wire.lose = [this](const SessionMessage& m) { return m.destination == b.name || m.type == T::kGroupUpdate; };
  EXPECT_TRUE(a.layer.remove(wire.now, handle, service_of("bob"), 3));
  wire.pass(3'000);
  EXPECT_EQ(a.result(3)->error->fault, SessionFault::kLeaveUnconfirmed);
  EXPECT_EQ(b.layer.sessions().size(), 1u);
  wire.lose = nullptr;
  wire.pass(60'000);
  EXPECT_EQ(b.layer.sessions().size(), 0u);
  EXPECT_EQ(c.layer.find(c.opened[0])->participants().size(), 2u);
  EXPECT_EQ(c.layer.find(c.opened[0])->epoch(), a.layer.find(handle)->epoch());
}

TEST_P(Flows, CallsThatDoNotFitSendNothing) {
  const SessionHandle unicast = *a.layer.create_unicast(wire.now, service_of("bob"), reliable(GetParam()), 31);
  const SessionHandle handle = group_of_three();
  const SessionHandle anycast = *a.layer.create_anycast(wire.now, {.reliability = kQuick});
  const std::size_t before = wire.log.size();
  const auto fault = [](const auto& result) { return result.error().fault; };
  EXPECT_EQ(fault(a.layer.invite(wire.now, unicast, c.name, 20)), SessionFault::kWrongKind);
  EXPECT_EQ(fault(a.layer.remove(wire.now, unicast, b.name, 20)), SessionFault::kWrongKind);
  EXPECT_EQ(fault(a.layer.go_offline(wire.now, unicast, 20)), SessionFault::kWrongKind);
  EXPECT_EQ(fault(b.layer.invite(wire.now, b.opened.back(), c.name, 20)), SessionFault::kNotModerator);
  EXPECT_EQ(fault(a.layer.publish(wire.now, anycast, say("?"), 20)), SessionFault::kWrongKind);
  EXPECT_EQ(fault(a.layer.publish_with_destination(wire.now, handle, b.name, say("?"), 20)), SessionFault::kWrongKind);
  EXPECT_EQ(fault(a.layer.publish_to(wire.now, handle, named("dave", 4), say("?"), 20)), SessionFault::kNotMember);
  EXPECT_EQ(fault(a.layer.publish(wire.now, handle, {.payload = nullptr, .metadata = {{"PUBLISH_TO", "TRUE"}}}, 20)), SessionFault::kReservedMetadata);
  EXPECT_EQ(fault(a.layer.create_anycast(wire.now, reliable(true))), SessionFault::kMlsOnAnycast);
  EXPECT_EQ(fault(a.layer.create_group(wire.now, data_channel(), data_channel(), {})), SessionFault::kBadName);
  EXPECT_EQ(fault(a.layer.create_unicast(wire.now, service_of("bob"), {.reliability = TimerSettings{1, 1}}, 20)), SessionFault::kBadConfig);
  EXPECT_EQ(fault(a.layer.invite(wire.now, SessionHandle{999}, b.name, 20)), SessionFault::kUnknownSession);
  wire.run();
  EXPECT_EQ(wire.log.size(), before);
  EXPECT_EQ(a.result(20), nullptr);
  EXPECT_TRUE(a.layer.invite(wire.now, handle, b.name, 21));
  EXPECT_TRUE(a.layer.remove(wire.now, handle, service_of("dave"), 22));
  wire.run();
  EXPECT_EQ(a.result(21)->error->fault, SessionFault::kAlreadyMember);
  EXPECT_EQ(a.result(22)->error->fault, SessionFault::kNotMember);
}

TEST(Roles, MembersThatOnlySendOrOnlyReceive) {
  Wire wire;
  Endpoint& a = wire.add("alice", 1);
  Endpoint& talker = wire.add("talker", 2, {.sends = true, .receives = false});
  Endpoint& listener = wire.add("listener", 3, {.sends = false, .receives = true});
  const SessionHandle handle = *a.layer.create_group(wire.now, data_channel(), control_channel(), reliable(true));
  EXPECT_TRUE(a.layer.invite(wire.now, handle, talker.name, 1));
  EXPECT_TRUE(a.layer.invite(wire.now, handle, listener.name, 2));
  wire.run();
  EXPECT_EQ(listener.layer.publish(wire.now, listener.opened[0], {.payload = bytes_of("?")}, 1).error().fault, SessionFault::kNotSender);
  EXPECT_TRUE(a.layer.publish(wire.now, handle, {.payload = bytes_of("news")}, 3));
  EXPECT_TRUE(talker.layer.publish(wire.now, talker.opened[0], {.payload = bytes_of("talk")}, 3));
  wire.run();
  EXPECT_TRUE(a.succeeded(3) && talker.succeeded(3));  // who does not receive owes no acknowledgement
  EXPECT_TRUE(talker.got.empty());
  EXPECT_EQ(listener.got.size(), 2u);
}

}  // namespace
}  // namespace slipway::testing
