// Numbering, acknowledgements, retransmission, order, gaps, bounds: sender and receiver of one session's data.
#include <gtest/gtest.h>

#include <algorithm>

#include "harness.h"
#include "session/channel_names.h"
#include "session/data_stream.h"
#include "session/session_bounds.h"

namespace slipway::testing {
namespace {

using T = MessageType;

// --- one stream ------------------------------------------------------------------------------------------------------

class Stream : public ::testing::Test {
 protected:
  StreamEffects effects;
  static AppMessage message(std::uint32_t id, std::size_t bytes = 1) {
    return {.message_id = id, .payload = std::make_shared<const Bytes>(bytes)};
  }
  std::vector<std::uint32_t> ready() {
    std::vector<std::uint32_t> ids;
    for (const AppMessage& m : effects.ready) {
      ids.push_back(m.message_id);
    }
    effects.ready.clear();
    return ids;
  }
  std::vector<std::uint32_t> requests() { return std::exchange(effects.requests, {}); }
};
using Ids = std::vector<std::uint32_t>;
using Verdict = DataStream::Verdict;

TEST_F(Stream, DeliversInOrderAndAsksForEachGapOnce) {
  DataStream stream(StreamStart::kFromOne, 100, 2);
  EXPECT_EQ(stream.on_message(0, message(1), effects), Verdict::kTaken);
  EXPECT_EQ(stream.on_message(0, message(4), effects), Verdict::kTaken);
  EXPECT_EQ(requests(), (Ids{2, 3}));
  EXPECT_EQ(stream.on_message(0, message(3), effects), Verdict::kTaken);
  EXPECT_EQ(stream.on_message(0, message(3), effects), Verdict::kDuplicate);
  EXPECT_EQ(ready(), Ids{1});
  EXPECT_EQ(stream.on_message(0, message(2), effects), Verdict::kTaken);
  EXPECT_EQ(ready(), (Ids{2, 3, 4}));
  EXPECT_EQ(stream.on_message(0, message(2), effects), Verdict::kDuplicate);
  EXPECT_TRUE(requests().empty());
  EXPECT_FALSE(stream.next_deadline());
}

TEST_F(Stream, GapIsAskedForAgainThenLostAndNotTakenLater) {
  DataStream stream(StreamStart::kFromOne, 100, 2);
  stream.on_message(0, message(2), effects);
  EXPECT_EQ(requests(), Ids{1});
  for (const TimeMs at : {100u, 200u}) {
    stream.advance(at - 1, effects);
    EXPECT_TRUE(requests().empty());
    stream.advance(at, effects);
    EXPECT_EQ(requests(), Ids{1});
  }
  stream.advance(300, effects);
  ASSERT_EQ(effects.lost.size(), 1u);
  EXPECT_EQ(effects.lost[0], std::pair(1u, 1u));
  EXPECT_EQ(ready(), Ids{2});
  EXPECT_EQ(stream.on_message(301, message(1), effects), Verdict::kGivenUp);  // its sender must not take it for delivered
  EXPECT_FALSE(stream.next_deadline());
}

TEST_F(Stream, EachOfManyLossesStaysOne) {
  DataStream stream(StreamStart::kFromOne, 100, 0);
  for (std::uint32_t id = 2; id <= kSendWindow; id += 2) {  // each second one got lost
    stream.on_message(0, message(id), effects);
  }
  stream.advance(100, effects);
  EXPECT_EQ(effects.lost.size(), kSendWindow / 2);
  EXPECT_EQ(stream.on_message(101, message(1), effects), Verdict::kGivenUp);
  EXPECT_EQ(stream.on_message(101, message(kSendWindow - 1), effects), Verdict::kGivenUp);
}

TEST_F(Stream, UnavailableReleasesWhatWaited) {
  DataStream stream(StreamStart::kFromOne, 100, 2);
  stream.on_message(0, message(3), effects);
  stream.on_unavailable(1, 2, effects);
  EXPECT_TRUE(ready().empty());
  stream.on_unavailable(1, 1, effects);
  EXPECT_EQ(ready(), Ids{3});
  EXPECT_EQ(effects.lost, (std::vector<std::pair<std::uint32_t, std::uint32_t>>{{1, 2}}));
}

TEST_F(Stream, FirstArrivalSetsTheBaseline) {
  DataStream stream(StreamStart::kFirstArrival, 100, 2);
  EXPECT_EQ(stream.on_message(0, message(7), effects), Verdict::kTaken);
  EXPECT_EQ(ready(), Ids{7});
  EXPECT_EQ(stream.on_message(0, message(6), effects), Verdict::kDuplicate);
}

TEST_F(Stream, ProbeFindsWhatWasSentJustBefore) {
  DataStream stream(StreamStart::kProbe, 100, 2);
  stream.on_message(0, message(7), effects);
  EXPECT_EQ(requests(), Ids{6});
  EXPECT_TRUE(ready().empty());
  stream.on_message(1, message(6), effects);  // it was for us: and the one before?
  EXPECT_EQ(requests(), Ids{5});
  stream.on_unavailable(2, 5, effects);
  EXPECT_EQ(ready(), (Ids{6, 7}));
  EXPECT_TRUE(effects.lost.empty());  // nothing was lost that concerned us
}

TEST_F(Stream, WhatCameBeforeAnUnansweredProbeIsNotAcknowledged) {
  DataStream stream(StreamStart::kProbe, 100, 1);
  EXPECT_EQ(stream.on_message(0, message(6), effects), Verdict::kTaken);
  EXPECT_EQ(requests(), Ids{5});
  stream.advance(100, effects);
  stream.advance(200, effects);
  EXPECT_EQ(ready(), Ids{6});
  EXPECT_EQ(stream.on_message(200, message(5), effects), Verdict::kGivenUp);
  EXPECT_EQ(stream.on_message(200, message(3), effects), Verdict::kGivenUp);
  EXPECT_EQ(stream.on_message(200, message(6), effects), Verdict::kDuplicate);
  EXPECT_TRUE(ready().empty());
}

TEST_F(Stream, WhatASenderSaysIsNotForUsIsAcknowledged) {
  DataStream stream(StreamStart::kProbe, 100, 1);
  stream.on_message(0, message(6), effects);
  stream.on_unavailable(0, 5, effects);
  EXPECT_EQ(ready(), Ids{6});
  EXPECT_EQ(stream.on_message(0, message(5), effects), Verdict::kDuplicate);
}

TEST_F(Stream, OlderMessageWhileProbingIsTakenInOrder) {
  DataStream stream(StreamStart::kProbe, 100, 2);
  stream.on_message(0, message(9), effects);
  stream.on_message(0, message(6), effects);
  EXPECT_EQ(requests(), (Ids{8, 7, 5}));
  stream.on_message(0, message(7), effects);
  stream.on_message(0, message(8), effects);
  stream.on_unavailable(0, 5, effects);
  EXPECT_EQ(ready(), (Ids{6, 7, 8, 9}));
}

TEST_F(Stream, IdsWrapAround) {
  DataStream stream(StreamStart::kFirstArrival, 100, 2);
  for (const std::uint32_t id : {kMaxDataId - 1, kMaxDataId, 0u, 1u}) {
    EXPECT_EQ(stream.on_message(0, message(id), effects), Verdict::kTaken);
  }
  EXPECT_EQ(ready(), (Ids{kMaxDataId - 1, kMaxDataId, 0, 1}));
}

TEST_F(Stream, HugeJumpGivesUpTheOldGapsAtOnce) {
  DataStream stream(StreamStart::kFromOne, 100, 2);
  stream.on_message(0, message(1), effects);
  stream.on_message(0, message(1'000'000), effects);
  EXPECT_EQ(effects.lost, (std::vector<std::pair<std::uint32_t, std::uint32_t>>{{2, 1'000'000 - kReorderWindow - 1}}));
  EXPECT_EQ(requests().size(), kReorderWindow - 1);
  EXPECT_EQ(stream.waiting(), kReorderWindow);
}

TEST_F(Stream, BytesThatWaitAreBounded) {
  DataStream stream(StreamStart::kFromOne, 100, 2);
  EXPECT_EQ(stream.on_message(0, message(2, kMaxReorderBytes), effects), Verdict::kTaken);
  EXPECT_EQ(stream.on_message(0, message(3, 1), effects), Verdict::kNoRoom);
  EXPECT_EQ(stream.on_message(0, message(1, 1), effects), Verdict::kTaken);  // what comes in order always passes
  EXPECT_EQ(stream.waiting_bytes(), 0u);
}

TEST_F(Stream, LateCopiesOfAnEarlierMembershipAreKnown) {
  DataStream before(StreamStart::kFirstArrival, 100, 2);
  before.on_message(0, message(5), effects);
  DataStream stream(StreamStart::kProbe, 100, 2);
  stream.remember(before);
  effects = {};
  EXPECT_EQ(stream.on_message(0, message(5), effects), Verdict::kDuplicate);
  EXPECT_EQ(stream.on_message(0, message(6), effects), Verdict::kTaken);
  EXPECT_EQ(ready(), Ids{6});
  EXPECT_TRUE(requests().empty());
}

// --- a session's data ------------------------------------------------------------------------------------------------

class Data : public ::testing::TestWithParam<bool> {
 protected:
  Wire wire;
  Endpoint& a = wire.add("alice", 1);
  Endpoint& b = wire.add("bob", 2);
  Endpoint& c = wire.add("carol", 3);
  SessionHandle group = *a.layer.create_group(wire.now, data_channel(), control_channel(), reliable(GetParam()));

  void SetUp() override {
    EXPECT_TRUE(a.layer.invite(wire.now, group, b.name, 1));
    EXPECT_TRUE(a.layer.invite(wire.now, group, c.name, 2));
    wire.run();
    ASSERT_TRUE(a.succeeded(1) && a.succeeded(2));
  }
  std::uint32_t say(std::string_view text, OperationId operation) {
    const auto id = a.layer.publish(wire.now, group, {.payload = bytes_of(text)}, operation);
    EXPECT_TRUE(id);
    wire.run();
    return id.value_or(0);
  }
};
INSTANTIATE_TEST_SUITE_P(MlsOffAndOn, Data, ::testing::Bool());

TEST_P(Data, MissingMemberAloneGetsAnotherCopyEncryptedAnew) {
  wire.lose = [this](const SessionMessage& m) { return m.type == T::kMsgAck && m.source == b.name; };
  say("once", 10);
  const SharedBytes first = std::get<AppPayload>(wire.last(T::kMsg).payload).blob;
  wire.lose = nullptr;
  wire.pass(150);
  const SessionMessage& again = wire.last(T::kMsg);
  EXPECT_EQ(again.destination, b.name);
  EXPECT_EQ(again.fanout, kOneReceiver);
  EXPECT_EQ(again.message_id, 1u);
  if (GetParam()) {
    EXPECT_NE(*std::get<AppPayload>(again.payload).blob, *first);
  }
  EXPECT_TRUE(a.succeeded(10));
  EXPECT_EQ(b.texts(), std::vector<std::string>{"once"});
  EXPECT_EQ(c.texts(), std::vector<std::string>{"once"});
}

TEST_P(Data, LossIsReportedAndTheSessionGoesOn) {
  wire.lose = [this](const SessionMessage& m) { return m.source == b.name; };
  say("unacknowledged", 10);
  wire.pass(1'000);
  const Resolve* resolve = a.result(10);
  ASSERT_NE(resolve, nullptr);
  ASSERT_EQ(resolve->undelivered.size(), 1u);
  EXPECT_EQ(resolve->undelivered[0].member, b.name);
  EXPECT_EQ(resolve->undelivered[0].reason, LossReason::kNoAck);
  EXPECT_EQ(a.presence.back().change, PresenceChange::kOffline);
  wire.lose = nullptr;
  wire.pass(25'000);
  say("again", 11);
  wire.pass(1'000);
  EXPECT_TRUE(a.succeeded(11));
  EXPECT_EQ(b.texts(), (std::vector<std::string>{"unacknowledged", "again"}));
  EXPECT_EQ(c.texts(), (std::vector<std::string>{"unacknowledged", "again"}));
}

TEST_P(Data, LostRequestAnswerIsNoSilentLoss) {
  int dropped = 0;
  wire.lose = [&](const SessionMessage& m) {
    const bool lost = (m.type == T::kMsg && m.message_id == 1 && m.destination == data_channel()) || (m.type == T::kRtxReply && m.destination == b.name);
    dropped += lost;
    return lost;
  };
  say("one", 10);
  say("two", 11);
  wire.pass(2'000);
  EXPECT_GE(dropped, 2);
  EXPECT_TRUE(a.succeeded(10) && a.succeeded(11));
  EXPECT_EQ(b.texts(), (std::vector<std::string>{"one", "two"}));
}

TEST_P(Data, LateJoinerGetsNothingOfBefore) {
  say("before dave", 10);
  Endpoint& d = wire.add("dave", 4);
  EXPECT_TRUE(a.layer.invite(wire.now, group, d.name, 3));
  wire.run();
  say("with dave", 11);
  wire.pass(1'000);
  EXPECT_EQ(d.texts(), std::vector<std::string>{"with dave"});
  EXPECT_TRUE(d.lost.empty());
  EXPECT_GE(wire.count(T::kRtxRequest), 1u);  // it asked, and was told that this is none of its business
  EXPECT_TRUE(wire.last(T::kRtxReply).error);
}

TEST_P(Data, FullWindowIsRefusedUntilAcknowledgedAndAStalledMemberDoesNotHoldIt) {
  wire.lose = [this](const SessionMessage& m) { return m.type == T::kMsgAck && m.source == b.name; };
  for (OperationId i = 0; i < kSendWindow; ++i) {
    say("x", 100 + i);
  }
  EXPECT_EQ(a.layer.publish(wire.now, group, {.payload = bytes_of("x")}, 5).error().fault, SessionFault::kWindowFull);
  EXPECT_LE(a.layer.find(group)->sender().kept_messages(), kSendWindow);
  wire.pass(kStalledIntervals * kQuick.timeout_ms + 1);
  for (OperationId i = 0; i < 100; ++i) {
    say("y", 1'000 + i);
  }
  ASSERT_NE(a.result(100), nullptr);
  ASSERT_EQ(a.result(100)->undelivered.size(), 1u);
  EXPECT_EQ(a.result(100)->undelivered[0].reason, LossReason::kStalled);
  EXPECT_EQ(c.got.size(), kSendWindow + 100);
}

TEST_P(Data, RemovalEndsWhatTheMemberStillOwed) {
  wire.lose = [this](const SessionMessage& m) { return m.type == T::kMsgAck && m.source == b.name; };
  say("owed", 10);
  wire.lose = nullptr;
  EXPECT_EQ(a.result(10), nullptr);
  EXPECT_TRUE(a.layer.remove(wire.now, group, b.name, 11));
  wire.run();
  ASSERT_NE(a.result(10), nullptr);
  EXPECT_EQ(a.result(10)->undelivered.at(0).reason, LossReason::kLeft);
}

// A number without a message: from the same count as those that are published, and only where publishing does nothing else.
TEST(BestEffort, GivesNumbersToWhoeverSendsByItself) {
  Wire wire;
  Endpoint& a = wire.add("alice", 1);
  std::destroy_at(&a.layer);  // one that keeps nothing
  std::construct_at(&a.layer, LayerConfig{.local = a.name}, a.random, a.groups);
  Endpoint& b = wire.add("bob", 2);
  const auto number = [&](SessionHandle session, std::size_t bytes = 1, std::size_t type_bytes = 3) {
    return a.layer.number_data(wire.now, session, bytes, type_bytes);
  };
  const SessionHandle one = *a.layer.create_unicast(wire.now, service_of("bob"), {}, 1);
  EXPECT_FALSE(number(one));  // nobody is there yet
  wire.run();
  EXPECT_EQ(*a.layer.publish(wire.now, one, {.payload = bytes_of("!")}, 2), 1u);
  wire.run();
  const auto second = number(one);
  ASSERT_TRUE(second);
  EXPECT_EQ(second->message_id, 2u);
  EXPECT_EQ(second->fanout, kOneReceiver);
  EXPECT_EQ(second->facts->local, a.name);
  EXPECT_EQ(second->facts->handle, one);
  EXPECT_EQ(*second->destination, b.name);
  EXPECT_TRUE(a.layer.actions().empty());
  EXPECT_EQ(*a.layer.publish(wire.now, one, {.payload = bytes_of("?")}, 3), 3u);
  EXPECT_FALSE(number(one, kMaxSessionPayloadBytes + 1));
  EXPECT_FALSE(number(one, 1, kMaxPayloadTypeBytes + 1));
  EXPECT_FALSE(number(SessionHandle{4'711}));
  const SessionHandle reliable = *a.layer.create_unicast(wire.now, service_of("bob"), {.reliability = TimerSettings{1'000, 3}}, 4);
  const SessionHandle secret = *a.layer.create_unicast(wire.now, service_of("bob"), {.mls = MlsSettings{}}, 5);
  wire.run();
  EXPECT_TRUE(a.succeeded(4));
  EXPECT_TRUE(a.succeeded(5));
  EXPECT_FALSE(number(reliable));
  EXPECT_FALSE(number(secret));
  EXPECT_EQ(number(one)->message_id, 4u);
  EXPECT_TRUE(a.layer.close(wire.now, one, 6));
  EXPECT_FALSE(number(one));
}

TEST(BestEffort, GivesNoNumbersWhereTheyAreKept) {
  Wire wire;
  Endpoint& a = wire.add("alice", 1);
  wire.add("bob", 2);
  const SessionHandle session = *a.layer.create_unicast(wire.now, service_of("bob"), {}, 1);
  wire.run();
  EXPECT_EQ(*a.layer.publish(wire.now, session, {.payload = bytes_of("!")}, 2), 1u);
  EXPECT_FALSE(a.layer.number_data(wire.now, session, 1, 3));
}

TEST(BestEffort, NothingIsAcknowledgedOrAskedFor) {
  Wire wire;
  Endpoint& a = wire.add("alice", 1);
  Endpoint& b = wire.add("bob", 2);
  const SessionHandle session = *a.layer.create_unicast(wire.now, service_of("bob"), {}, 1);
  EXPECT_EQ(a.layer.publish(wire.now, session, {.payload = bytes_of("?")}, 2).error().fault, SessionFault::kNotReady);
  wire.run();
  const std::size_t before = wire.log.size();
  EXPECT_EQ(*a.layer.publish(wire.now, session, {.payload = bytes_of("!")}, 3), 1u);
  wire.run();
  EXPECT_EQ(wire.types(before), std::vector{T::kMsg});
  EXPECT_TRUE(a.succeeded(3));
  EXPECT_EQ(b.texts(), std::vector<std::string>{"!"});
}

// --- names -----------------------------------------------------------------------------------------------------------

TEST(ChannelNames, AreUpstreams) {
  const auto names = channel_names("alice_AbCd1234", TextName{{"agntcy", "ns", "chat"}, kNullId});
  EXPECT_EQ(id_text(names.data.id()), "ebe82331-fb32-a3e8-3817-3e9767224162");
  EXPECT_EQ(id_text(names.control.id()), "67cc7a19-9a06-03ba-f192-6e2a077dd3ef");
  EXPECT_TRUE(names.data.same_service(names.control));
}

}  // namespace
}  // namespace slipway::testing
