// Bad input: every type at every state, from strangers, from removed members, repeated, forged. Refused, counted, and nothing changes.
#include <gtest/gtest.h>

#include "harness.h"
#include "session/session_bounds.h"

namespace slipway::testing {
namespace {

using T = MessageType;

class Refusals : public ::testing::Test {
 protected:
  Wire wire;
  Endpoint& a = wire.add("alice", 1);
  Endpoint& b = wire.add("bob", 2);
  Endpoint& stranger = wire.add("mallory", 9);
  SessionHandle group{};
  OperationId invitation = 10'000;

  void open(bool mls) {
    group = *a.layer.create_group(wire.now, data_channel(), control_channel(), reliable(mls));
    EXPECT_TRUE(a.layer.invite(wire.now, group, b.name, ++invitation));
    wire.run();
    ASSERT_TRUE(a.succeeded(invitation));
  }
  SessionMessage from(const Endpoint& source, const Endpoint& to, T type, std::uint32_t id = 77) {
    SessionMessage m;
    m.session_type = SessionType::kMulticast;
    m.type = type;
    m.session_id = a.layer.find(group)->facts().id;
    m.message_id = id;
    m.source = source.name;
    m.destination = to.name;
    switch (type) {
      case T::kDiscoveryRequest: m.payload = DiscoveryRequest{}; break;
      case T::kDiscoveryReply: m.payload = DiscoveryReply{}; break;
      case T::kJoinRequest: m.payload = JoinRequest{}; break;
      case T::kJoinReply: m.payload = JoinReply{bytes_of("kp"), {source.name, {}, MemberStatus::kOnline}}; break;
      case T::kLeaveRequest: m.payload = LeaveRequest{}; break;
      case T::kLeaveReply: m.payload = LeaveReply{}; break;
      case T::kGroupUpdate: m.payload = GroupUpdate{GroupOperation::kAdd, {source.name, {}, MemberStatus::kOnline}, {{source.name, {}, MemberStatus::kOnline}}, {}}; break;
      case T::kGroupWelcome: m.payload = GroupWelcome{{{source.name, {}, MemberStatus::kOnline}}, {}}; break;
      case T::kGroupClose: m.payload = GroupClose{}; break;
      case T::kGroupAck: m.payload = GroupAck{}; break;
      case T::kGroupNack: m.payload = GroupNack{}; break;
      case T::kHeartbeat: m.payload = Heartbeat{99}; break;
      case T::kUpdateParticipantState: m.payload = UpdateParticipantState{source.name, MemberStatus::kOnline, 0}; break;
      case T::kRejoinRequest: m.payload = RejoinRequest{source.name, bytes_of("kp")}; break;
      case T::kRejoinReply: m.payload = RejoinReply{5, bytes_of("welcome")}; break;
      default: m.payload = AppPayload{"msg", bytes_of("forged")}; break;
    }
    return m;
  }
  static std::uint64_t total(const SessionRefusals& r) {
    std::uint64_t sum = 0;
#define X(field, text) sum += r.field;
    SLIPWAY_SESSION_REFUSALS(X)
#undef X
    return sum;
  }
  struct State {
    std::size_t members, commands, sessions;
    std::uint64_t epoch;
    friend bool operator==(const State&, const State&) = default;
  };
  State state(const Endpoint& e) {
    const auto handles = e.layer.sessions();
    const Session* session = handles.empty() ? nullptr : e.layer.find(handles.front());
    return {session ? session->participants().size() : 0, session ? session->open_commands() : 0, handles.size(), session ? session->epoch() : 0};
  }
};

TEST_F(Refusals, EveryTypeFromAStrangerChangesNothing) {
  for (const bool mls : {false, true}) {
    open(mls);
    for (int type = 1; type <= 20; ++type) {
      for (Endpoint* target : {&a, &b}) {
        const State before = state(*target);
        const std::uint64_t refused = total(target->layer.refusals());
        const std::size_t delivered = target->got.size();
        // Answers to what was never asked, commands of no member. A discovery is answered whoever asks; a stranger's
        // heartbeat, return or rejoin at the moderator is told off. Both are no change.
        wire.inject(*target, from(stranger, *target, static_cast<T>(type), 1'000u + static_cast<std::uint32_t>(type)));
        State after = state(*target);
        after.commands = before.commands;
        EXPECT_EQ(after, before) << "type " << type;
        EXPECT_EQ(target->got.size(), delivered);
        if (static_cast<T>(type) != T::kDiscoveryRequest && static_cast<T>(type) != T::kLeaveRequest) {
          EXPECT_GT(total(target->layer.refusals()), refused) << "type " << type;
        }
      }
    }
    EXPECT_TRUE(a.layer.publish(wire.now, group, {.payload = bytes_of("still here")}, 5 + mls));
    wire.pass(1'000);
    EXPECT_TRUE(a.succeeded(5 + mls));
    EXPECT_TRUE(a.layer.close(wire.now, group, 50 + mls));
    wire.run();
  }
}

TEST_F(Refusals, CommandsThatAreNotAuthenticAreDroppedWithMls) {
  open(true);
  wire.authentic = false;
  const std::uint64_t before = b.layer.refusals().unauthenticated;
  wire.inject(b, from(a, b, T::kGroupClose));
  wire.inject(b, from(a, b, T::kLeaveRequest, 78));
  wire.inject(b, from(stranger, b, T::kDiscoveryRequest, 79));
  EXPECT_EQ(b.layer.refusals().unauthenticated, before + 3);
  EXPECT_EQ(b.layer.sessions().size(), 1u);
}

TEST_F(Refusals, OnlyTheModeratorChangesOrEndsTheGroup) {
  open(true);
  Endpoint& c = wire.add("carol", 3);
  EXPECT_TRUE(a.layer.invite(wire.now, group, c.name, 2));
  wire.run();
  const std::uint64_t before = c.layer.refusals().not_moderator;
  for (const T type : {T::kGroupUpdate, T::kGroupWelcome, T::kGroupClose, T::kLeaveRequest, T::kRejoinReply}) {
    wire.inject(c, from(b, c, type, 100u + static_cast<std::uint32_t>(type)));
  }
  EXPECT_EQ(c.layer.refusals().not_moderator, before + 5);
  EXPECT_EQ(c.layer.sessions().size(), 1u);
  wire.inject(a, from(b, a, T::kLeaveRequest, 500));  // without the mark of an own leave
  EXPECT_EQ(a.layer.find(group)->participants().size(), 3u);
}

TEST_F(Refusals, ForgedDataIsNotDeliveredNorAcknowledged) {
  open(true);
  const std::size_t acks = wire.count(T::kMsgAck);
  wire.inject(b, from(a, b, T::kMsg, 1));
  EXPECT_EQ(b.layer.refusals().undecipherable, 1u);
  EXPECT_EQ(wire.count(T::kMsgAck), acks);
  EXPECT_TRUE(b.got.empty());
}

TEST_F(Refusals, RemovedMemberIsHeardNoMore) {
  for (const bool mls : {false, true}) {
    open(mls);
    SessionMessage late = from(b, a, T::kMsg, 1);
    EXPECT_TRUE(a.layer.remove(wire.now, group, b.name, 20 + mls));
    wire.run();
    const std::size_t got = a.got.size();
    wire.inject(a, late);
    EXPECT_EQ(a.got.size(), got);
    EXPECT_GE(a.layer.refusals().not_a_member, 1u);
    EXPECT_TRUE(a.layer.close(wire.now, group, 30 + mls));
    wire.run();
  }
}

TEST_F(Refusals, RepeatedCommandsAreAnsweredAgainAndNotCarriedOut) {
  open(true);
  const SessionMessage welcome = wire.last(T::kGroupWelcome);
  const std::size_t acks = wire.count(T::kGroupAck);
  wire.inject(b, welcome);
  EXPECT_EQ(wire.count(T::kGroupAck), acks + 1);
  EXPECT_EQ(b.opened.size(), 1u);
  EXPECT_TRUE(b.layer.close(wire.now, b.opened[0], 1));
  wire.run();
  const SessionMessage leave = wire.last(T::kLeaveRequest);
  const std::size_t replies = wire.count(T::kLeaveReply);
  wire.inject(a, leave);
  EXPECT_EQ(wire.count(T::kLeaveReply), replies + 1);
  EXPECT_EQ(b.closed.size(), 1u);
}

TEST_F(Refusals, PayloadOfAnotherTypeAndForeignKindsAreMalformed) {
  open(false);
  SessionMessage odd = from(a, b, T::kGroupClose);
  odd.payload = GroupAck{};
  wire.inject(b, odd);
  EXPECT_EQ(b.layer.refusals().malformed, 1u);
  SessionMessage kind = from(a, b, T::kGroupClose);
  kind.session_type = SessionType::kPointToPoint;
  wire.inject(b, kind);
  EXPECT_EQ(b.layer.refusals().wrong_kind, 1u);
  SessionMessage unknown = from(a, b, T::kGroupClose);
  unknown.session_id ^= 1;
  wire.inject(b, unknown);
  EXPECT_EQ(b.layer.refusals().unknown_session, 1u);
  SessionMessage elsewhere = from(a, stranger, T::kGroupClose);
  wire.inject(b, elsewhere);
  EXPECT_EQ(b.layer.refusals().foreign_destination, 1u);
  SessionMessage zero = from(a, b, T::kGroupClose, 0);
  wire.inject(b, zero);
  EXPECT_EQ(b.layer.refusals().malformed, 2u);
  EXPECT_EQ(b.layer.sessions().size(), 1u);
}

TEST_F(Refusals, JoinRequestsThatMakeNoSenseOpenNothing) {
  const auto request = [&](SessionType type, JoinRequest join, std::uint32_t session = 5) {
    SessionMessage m;
    m.session_type = type;
    m.type = T::kJoinRequest;
    m.session_id = session;
    m.message_id = 3;
    m.source = a.name;
    m.destination = b.name;
    m.payload = std::move(join);
    wire.inject(b, m);
  };
  request(SessionType::kMulticast, {});                                                              // a group without a channel
  request(SessionType::kPointToPoint, {.channel = data_channel(), .control = control_channel()});
  request(SessionType::kUnspecified, {});
  request(SessionType::kPointToPoint, {}, kMaxSessionId + 1);
  request(SessionType::kPointToPoint, {.timers = TimerSettings{0, 1}});
  EXPECT_EQ(b.layer.refusals().malformed, 5u);
  EXPECT_TRUE(b.layer.sessions().empty());
  request(SessionType::kPointToPoint, {});
  EXPECT_EQ(b.layer.sessions().size(), 1u);
  wire.pass(kWelcomeDeadlineMs + kTombstoneMs + 1);  // nobody welcomes it
  EXPECT_TRUE(b.layer.sessions().empty());
  EXPECT_FALSE(b.layer.next_deadline());
}

TEST_F(Refusals, WhatIsForAnotherInstanceOpensNothing) {
  SessionMessage m;
  m.session_type = SessionType::kPointToPoint;
  m.type = T::kJoinRequest;
  m.session_id = 5;
  m.message_id = 3;
  m.source = a.name;
  m.payload = JoinRequest{};
  m.destination = b.name.with_id({.high = 7, .low = 7});
  wire.inject(b, m);
  m.type = T::kDiscoveryRequest;
  m.payload = DiscoveryRequest{};
  wire.inject(b, m);
  EXPECT_EQ(b.layer.refusals().foreign_destination, 2u);
  EXPECT_TRUE(b.layer.sessions().empty());
  EXPECT_EQ(wire.log.size(), 0u);
  m.destination = b.name.with_id(kNullId);  // any instance
  wire.inject(b, m);
  EXPECT_EQ(wire.count(T::kDiscoveryReply), 1u);
}

TEST_F(Refusals, TwoModeratorsMayDrawTheSameSessionId) {
  open(false);
  SessionMessage m;
  m.session_type = SessionType::kPointToPoint;
  m.type = T::kJoinRequest;
  m.session_id = a.layer.find(group)->facts().id;
  m.message_id = 3;
  m.source = stranger.name;
  m.destination = b.name;
  m.payload = JoinRequest{};
  wire.inject(b, m);
  EXPECT_EQ(b.layer.sessions().size(), 2u);
  EXPECT_TRUE(a.layer.publish(wire.now, group, {.payload = bytes_of("to the group")}, 4));
  wire.run();
  EXPECT_EQ(b.texts(), std::vector<std::string>{"to the group"});
}

TEST_F(Refusals, ClockThatGoesBackOrJumpsBreaksNothing) {
  open(true);
  const TimeMs real = wire.now;
  wire.now = 10;
  EXPECT_TRUE(a.layer.publish(wire.now, group, {.payload = bytes_of("back")}, 4));
  wire.pass(500);
  EXPECT_TRUE(a.succeeded(4));
  wire.now = real + 86'400'000;
  for (Endpoint* e : {&a, &b}) {
    e->layer.advance(wire.now);
  }
  wire.pass(30'000);
  EXPECT_EQ(a.layer.find(group)->participants()[1].status, MemberStatus::kOnline);
  EXPECT_TRUE(a.layer.publish(wire.now, group, {.payload = bytes_of("forth")}, 5));
  wire.pass(1'000);
  EXPECT_TRUE(a.succeeded(5));
  EXPECT_EQ(b.texts(), (std::vector<std::string>{"back", "forth"}));
}

}  // namespace
}  // namespace slipway::testing
