// Processes that die and begin again from what was kept: each role and kind, with MLS and without, in time and a write too late.
#include <gtest/gtest.h>

#include "harness.h"
#include "session/session_bounds.h"
#include "session/session_record.h"

namespace slipway::testing {
namespace {

using T = MessageType;

class Restarts : public ::testing::TestWithParam<bool> {
 protected:
  Wire wire;
  Endpoint& a = wire.add("alice", 1);
  Endpoint& b = wire.add("bob", 2);
  Endpoint& c = wire.add("carol", 3);

  SessionHandle group_of_three() {
    const SessionHandle handle = *a.layer.create_group(wire.now, data_channel(), control_channel(), reliable(GetParam()));
    EXPECT_TRUE(a.layer.invite(wire.now, handle, b.name, 1));
    EXPECT_TRUE(a.layer.invite(wire.now, handle, c.name, 2));
    wire.run();
    EXPECT_TRUE(a.succeeded(1) && a.succeeded(2));
    return handle;
  }
  SessionHandle restart(Endpoint& e, const std::map<std::uint64_t, StoredSession>& from) {
    e.crash();
    const auto handles = e.restore(wire.now, from);
    EXPECT_EQ(handles.size(), 1u);
    return handles.empty() ? SessionHandle::kNone : handles.front();
  }
  SessionHandle restart(Endpoint& e) { return restart(e, std::map(e.kept)); }
  SessionHandle session_of(const Endpoint& e) { return e.layer.sessions().empty() ? SessionHandle::kNone : e.layer.sessions().front(); }
  void expect_talk(Endpoint& from, std::vector<Endpoint*> to, OperationId operation) {
    const std::string text = "after all " + std::to_string(operation);
    ASSERT_TRUE(from.layer.publish(wire.now, session_of(from), {.payload = bytes_of(text)}, operation));
    wire.pass(2'000);
    EXPECT_TRUE(from.succeeded(operation));
    for (const Endpoint* e : to) {
      ASSERT_FALSE(e->got.empty());
      EXPECT_EQ(text_of(e->got.back().payload), text);
    }
  }
  void expect_agreement(std::initializer_list<Endpoint*> members) {
    const Session& first = *a.layer.find(session_of(a));
    for (Endpoint* e : members) {
      const Session* session = e->layer.find(session_of(*e));
      ASSERT_NE(session, nullptr);
      EXPECT_EQ(session->epoch(), first.epoch());
      EXPECT_EQ(session->roster().size(), members.size());
    }
    EXPECT_EQ(wire.group_log.breaches(), "");
  }
};

INSTANTIATE_TEST_SUITE_P(MlsOffAndOn, Restarts, ::testing::Bool());

TEST_P(Restarts, ModeratorGoesOnWithItsGroup) {
  group_of_three();
  expect_talk(a, {&b, &c}, 10);
  const std::uint64_t epoch = a.layer.find(session_of(a))->epoch();
  restart(a);
  wire.pass(1'000);
  expect_agreement({&a, &b, &c});
  if (GetParam()) {
    EXPECT_EQ(a.layer.find(session_of(a))->epoch(), epoch + 1);  // new keys before anything else
    EXPECT_EQ(wire.count(T::kRejoinRequest), 0u);                // and nobody had to come in again for them
  }
  expect_talk(a, {&b, &c}, 11);
  expect_talk(b, {&a, &c}, 12);
  EXPECT_TRUE(a.layer.remove(wire.now, session_of(a), c.name, 13));
  wire.pass(1'000);
  EXPECT_TRUE(a.succeeded(13));
  expect_agreement({&a, &b});
}

// What was written after the end would come back as a session whose group is gone.
TEST_P(Restarts, NothingIsKeptOfASessionThatEndsWithItsLastMember) {
  const SessionHandle handle = *a.layer.create_group(wire.now, data_channel(), control_channel(), reliable(GetParam()));
  EXPECT_TRUE(a.layer.invite(wire.now, handle, b.name, 1));
  wire.run();
  wire.lose = [](const SessionMessage& m) { return m.type == T::kMsgAck; };
  EXPECT_TRUE(a.layer.publish(wire.now, handle, {.payload = bytes_of("unanswered")}, 2));
  EXPECT_TRUE(a.layer.close(wire.now, handle, 3));
  wire.run();
  EXPECT_EQ(a.kept.size(), 1u);
  EXPECT_TRUE(b.layer.close(wire.now, session_of(b), 4));  // its farewell is all that was waited for
  wire.run();
  EXPECT_TRUE(a.succeeded(3) && b.succeeded(4));
  EXPECT_TRUE(a.kept.empty() && b.kept.empty());
}

TEST_P(Restarts, ModeratorThatForgotItsLastCommitIsNoticed) {
  group_of_three();
  expect_talk(a, {&b, &c}, 10);
  if (GetParam()) {
    EXPECT_TRUE(a.layer.refresh_keys(wire.now, session_of(a), 11));
  } else {
    EXPECT_TRUE(a.layer.remove(wire.now, session_of(a), c.name, 11));
  }
  const std::map<std::uint64_t, StoredSession> before = a.kept;
  wire.run();
  restart(a, before);
  wire.pass(60'000);  // without MLS a heartbeat of carol's shows that she knows nothing of it
  if (GetParam()) {
    expect_agreement({&a, &b, &c});
    expect_talk(b, {&a, &c}, 12);
    expect_talk(a, {&b, &c}, 13);
  } else {
    EXPECT_EQ(b.layer.find(session_of(b))->roster().size(), a.layer.find(session_of(a))->roster().size());
    EXPECT_EQ(a.layer.find(session_of(a))->participants()[2].status, MemberStatus::kOffline);
  }
}

TEST_P(Restarts, MemberComesBackWithNewKeys) {
  group_of_three();
  expect_talk(b, {&a, &c}, 10);
  restart(b);
  EXPECT_TRUE(b.layer.publish(wire.now, session_of(b), {.payload = bytes_of("at once")}, 11));  // waits until it may
  wire.pass(2'000);
  EXPECT_TRUE(b.succeeded(11));
  EXPECT_EQ(wire.count(T::kRejoinRequest), GetParam() ? 1u : 0u);
  EXPECT_EQ(a.texts().back(), "at once");
  EXPECT_EQ(c.texts().back(), "at once");
  expect_agreement({&a, &b, &c});
  expect_talk(a, {&b, &c}, 12);
}

TEST_P(Restarts, WhatMembersSentMeanwhileIsTaken) {
  const SessionHandle handle = group_of_three();
  expect_talk(a, {&b, &c}, 10);
  wire.pass(kHeartbeatMs);
  b.crash();
  EXPECT_TRUE(a.layer.publish(wire.now, handle, {.payload = bytes_of("while bob was gone")}, 11));
  wire.pass(150);
  EXPECT_EQ(b.restore(wire.now, b.kept).size(), 1u);
  wire.pass(2'000);
  EXPECT_TRUE(a.succeeded(11));
  EXPECT_EQ(b.texts(), (std::vector<std::string>{"after all 10", "while bob was gone"}));
}

TEST_P(Restarts, UnicastOfEitherSide) {
  ASSERT_TRUE(a.layer.create_unicast(wire.now, b.name, reliable(GetParam()), 1));
  wire.run();
  expect_talk(a, {&b}, 10);
  expect_talk(b, {&a}, 11);
  restart(a);
  wire.pass(1'000);
  expect_talk(a, {&b}, 12);
  expect_talk(b, {&a}, 13);
  wire.pass(kHeartbeatMs);  // what was delivered since the last write would come again
  restart(b);
  wire.pass(1'000);
  expect_talk(a, {&b}, 14);
  expect_talk(b, {&a}, 15);
  expect_agreement({&a, &b});
  EXPECT_EQ(b.texts(), (std::vector<std::string>{"after all 10", "after all 12", "after all 14"}));
}

TEST_P(Restarts, CostAWriteInSixtyFourMessages) {
  group_of_three();
  wire.pass(kHeartbeatMs);
  const std::size_t before = a.writes;
  for (OperationId operation = 100; operation < 100 + 4 * kStoredDataIds; ++operation) {
    ASSERT_TRUE(a.layer.publish(wire.now, session_of(a), {.payload = bytes_of("x")}, operation));
    wire.run();
  }
  EXPECT_EQ(a.writes - before, 4u);
  EXPECT_LE(b.writes, 12u);
}

TEST_P(Restarts, ASendersIdsGoOnBehindAllThatItMayHaveUsed) {
  group_of_three();
  for (OperationId operation = 100; operation < 140; ++operation) {
    ASSERT_TRUE(b.layer.publish(wire.now, session_of(b), {.payload = bytes_of("x")}, operation));
  }
  wire.run();
  const std::uint32_t used = b.layer.find(session_of(b))->sender().last_id();
  restart(b, b.kept_before);
  EXPECT_GE(b.layer.find(session_of(b))->sender().last_id(), used);
  wire.pass(3'000);
  expect_talk(b, {&a, &c}, 200);
  EXPECT_EQ(a.texts().size(), 41u);
  const std::uint32_t used_then = b.layer.find(session_of(b))->sender().last_id();
  restart(b, b.kept_before);  // that write was the first that allowed for any of these
  EXPECT_GE(b.layer.find(session_of(b))->sender().last_id(), used_then);
  wire.pass(3'000);
  expect_talk(b, {&a, &c}, 201);
}

TEST_P(Restarts, WhoWasStillOnTheWayInIsTakenOutAgain) {
  const SessionHandle handle = *a.layer.create_group(wire.now, data_channel(), control_channel(), reliable(GetParam()));
  EXPECT_TRUE(a.layer.invite(wire.now, handle, b.name, 1));
  wire.run();
  wire.lose = [this](const SessionMessage& m) { return m.source == c.name && m.type == T::kGroupAck; };
  EXPECT_TRUE(a.layer.invite(wire.now, handle, c.name, 2));
  wire.pass(50);
  restart(a);
  wire.lose = nullptr;
  wire.pass(3'000);
  expect_agreement({&a, &b});
  EXPECT_TRUE(c.layer.sessions().empty());
}

TEST_P(Restarts, LeafOfWhoJustLeftIsTakenOutAllTheSame) {
  const SessionHandle handle = group_of_three();
  wire.lose = [](const SessionMessage& m) { return m.type == T::kGroupAck; };
  (void)a.layer.refresh_keys(wire.now, handle, 3);  // keeps the queue busy
  EXPECT_TRUE(a.layer.remove(wire.now, handle, service_of("nobody"), 4));
  EXPECT_TRUE(c.layer.close(wire.now, session_of(c), 5));
  wire.run();
  restart(a);
  wire.lose = nullptr;
  wire.pass(5'000);
  expect_agreement({&a, &b});
  EXPECT_TRUE(a.layer.invite(wire.now, session_of(a), c.name, 6));
  wire.pass(1'000);
  EXPECT_TRUE(a.succeeded(6));
  expect_agreement({&a, &b, &c});
}

TEST_P(Restarts, WhatIsOverIsForgotten) {
  const SessionHandle handle = group_of_three();
  EXPECT_EQ(a.kept.size(), 1u);
  EXPECT_EQ(b.kept.size(), 1u);
  EXPECT_TRUE(b.layer.close(wire.now, session_of(b), 3));
  wire.run();
  EXPECT_TRUE(b.kept.empty());
  EXPECT_TRUE(a.layer.close(wire.now, handle, 4));
  wire.run();
  EXPECT_TRUE(a.kept.empty());
  EXPECT_TRUE(c.kept.empty());
}

TEST_P(Restarts, MemberThatIsNoneAnyMoreIsTold) {
  const SessionHandle handle = group_of_three();
  b.crash();
  EXPECT_TRUE(a.layer.remove(wire.now, handle, b.name, 3));
  wire.pass(5'000);
  EXPECT_EQ(b.restore(wire.now, b.kept).size(), 1u);
  wire.pass(30'000);
  EXPECT_TRUE(b.layer.sessions().empty());
  EXPECT_TRUE(b.kept.empty());
  ASSERT_EQ(b.closed.size(), 1u);
  EXPECT_EQ(b.closed[0].reason, CloseReason::kRemoved);
}

TEST_P(Restarts, BadBytesAndForeignOnesAreRefused) {
  group_of_three();
  const auto [key, parts] = *a.kept.begin();
  const auto fault = [&](Endpoint& e, const StoredSession& stored) {
    const auto restored = e.layer.restore(wire.now, key, stored);
    return restored ? std::nullopt : std::optional(restored.error().fault);
  };
  EXPECT_EQ(fault(a, parts), SessionFault::kClosed);  // it is open
  EXPECT_EQ(fault(b, parts), SessionFault::kForeignRecord);
  a.crash();
  EXPECT_EQ(fault(a, {}), SessionFault::kBadRecord);
  for (std::size_t size = 0; size < parts.record->size(); ++size) {
    const auto cut = std::make_shared<const Bytes>(parts.record->begin(), parts.record->begin() + static_cast<std::ptrdiff_t>(size));
    EXPECT_EQ(fault(a, {cut, parts.progress, parts.group}), SessionFault::kBadRecord) << size;
  }
  if (GetParam()) {
    EXPECT_EQ(fault(a, {parts.record, parts.progress, nullptr}), SessionFault::kBadRecord);
    EXPECT_EQ(fault(a, {parts.record, parts.progress, parts.record}), SessionFault::kGroupRefused);
  }
  EXPECT_EQ(fault(a, parts), std::nullopt);
}

TEST(SessionRecords, ReadAsWritten) {
  SessionRecord record{.is_moderator = true, .type = SessionType::kMulticast, .session_id = 7, .local = named("alice", 1)};
  record.direction = {.sends = false, .receives = true};
  record.reliability = kQuick;
  record.mls = MlsSettings{50};
  record.metadata = {{"topic", "weather"}};
  record.moderator = record.local;
  record.channel = data_channel();
  record.control = FullName(control_channel().hashed(), nullptr);
  record.roster_version = std::uint64_t{3} << 32 | 9;
  record.last_commit = 12;
  record.subscribed = record.group_created = true;
  record.members = {{{named("bob", 2), {true, false}, MemberStatus::kOffline}, true, false, 5}};
  record.departed = {{named("carol", 3), kMaxDataId}};
  const auto read = decode_record(encode(record));
  ASSERT_TRUE(read);
  EXPECT_EQ(*encode(*read), *encode(record));
  EXPECT_EQ(read->members[0].info, record.members[0].info);
  EXPECT_EQ(read->channel.shown(), record.channel.shown());
  EXPECT_EQ(read->metadata, record.metadata);
  const SessionProgress progress{.sent = 99, .heard = {{named("bob", 2).hashed(), 4}}};
  const auto heard = decode_progress(encode(progress));
  ASSERT_TRUE(heard);
  EXPECT_EQ(heard->sent, 99u);
  EXPECT_EQ(heard->heard, progress.heard);
}

}  // namespace
}  // namespace slipway::testing
