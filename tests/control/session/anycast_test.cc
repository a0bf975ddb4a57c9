// Anycast: stateless among ours; over lines with applications that take messages in sessions only, in both directions.
#include <gtest/gtest.h>

#include <set>

#include "harness.h"
#include "session/session_bounds.h"

namespace slipway::testing {
namespace {

using T = MessageType;

class AnycastFlow : public ::testing::Test {
 protected:
  Wire wire;
  Endpoint& a = wire.add("alice", 1);
  SessionHandle session{};
  OperationId last = 0;

  void open(bool reliable = true) {
    session = *a.layer.create_anycast(wire.now, reliable ? SessionConfig{.reliability = kQuick} : SessionConfig{});
  }
  OperationId publish(const std::string& text, const FullName& to = service_of("pool")) {
    const auto published = a.layer.publish_with_destination(wire.now, session, to, {.payload = bytes_of(text)}, ++last);
    EXPECT_TRUE(published) << (published ? "" : published.error().message());
    wire.run();
    return last;
  }
  Endpoint& worker(std::uint64_t id, bool theirs) {
    Endpoint& added = wire.add("pool", id);
    added.theirs = theirs;
    return added;
  }
  static std::string shown(const Resolve* result) { return result == nullptr ? "none" : result->error ? result->error->message() : "ok"; }
};

// --- among ours ------------------------------------------------------------------------------------------------------

TEST_F(AnycastFlow, AcknowledgedByOneInstanceAndAnswered) {
  Endpoint& one = worker(2, false);
  Endpoint& two = worker(3, false);
  open();
  publish("job");
  EXPECT_EQ(wire.types(), (std::vector{T::kMsg, T::kMsgAck}));
  EXPECT_EQ(wire.log[0].destination, service_of("pool").with_id(kAnycastId));
  EXPECT_EQ(wire.log[0].session_type, SessionType::kPointToPoint);
  EXPECT_TRUE(a.succeeded(1));
  ASSERT_EQ(one.got.size() + two.got.size(), 1u);
  EXPECT_TRUE(one.got[0].anycast);
  EXPECT_TRUE(one.layer.answer_anycast(wire.now, one.got[0], {.reliability = kQuick}, {.payload = bytes_of("done")}, 1));
  wire.run();
  EXPECT_EQ(a.texts(), std::vector<std::string>{"done"});
  EXPECT_EQ(a.got[0].source, one.name);
  EXPECT_TRUE(one.succeeded(1));
  EXPECT_FALSE(a.layer.next_deadline());
}

TEST_F(AnycastFlow, RetriedWithTheSameIdAndDeliveredOnceByAnInstance) {
  Endpoint& one = worker(2, false);
  open();
  int left = 2;
  wire.lose = [&](const SessionMessage& m) { return m.type == T::kMsgAck && left-- > 0; };
  publish("job");
  wire.pass(1'000);
  EXPECT_EQ(wire.count(T::kMsg), 3u);
  EXPECT_EQ(wire.log[0].message_id, wire.last(T::kMsg).message_id);
  EXPECT_EQ(wire.count(T::kJoinRequest), 0u);  // ours answered the discovery: no line
  EXPECT_EQ(one.texts(), std::vector<std::string>{"job"});
  EXPECT_TRUE(a.succeeded(1));
  EXPECT_FALSE(a.layer.next_deadline());
}

TEST_F(AnycastFlow, NobodyThereIsSaid) {
  open();
  publish("job");
  wire.pass(2'000);
  EXPECT_EQ(wire.count(T::kMsg), 1 + kQuick.max_retries);
  ASSERT_NE(a.result(1), nullptr);
  EXPECT_EQ(a.result(1)->error->fault, SessionFault::kNoAnswer);
  EXPECT_EQ(a.layer.anycast().open(), 0u);
  EXPECT_EQ(a.layer.anycast().open_bytes(), 0u);
  EXPECT_EQ(a.layer.anycast().services(), 0u);
  EXPECT_FALSE(a.layer.next_deadline());
}

TEST_F(AnycastFlow, BestEffortAsksOnceWhoIsThereAndThenForNothing) {
  Endpoint& one = worker(2, false);
  open(false);
  publish("note");
  EXPECT_EQ(wire.types(), (std::vector{T::kMsg, T::kMsgAck}));  // silence would have told
  EXPECT_EQ(one.got[0].message_id, 0u);                         // who gets it sees best effort, and answers so
  EXPECT_TRUE(one.got[0].metadata.empty());
  publish("another");
  EXPECT_EQ(wire.count(T::kMsgAck), 1u);
  EXPECT_EQ(wire.last(T::kMsg).message_id, 0u);
  EXPECT_TRUE(a.succeeded(1) && a.succeeded(2));
  EXPECT_EQ(one.texts(), (std::vector<std::string>{"note", "another"}));
  EXPECT_TRUE(a.layer.close(wire.now, session, 3));
  wire.run();
  EXPECT_TRUE(a.succeeded(3));
  EXPECT_FALSE(a.layer.next_deadline());
}

// --- towards theirs ----------------------------------------------------------------------------------------------------

TEST_F(AnycastFlow, TheirsAreReachedOverALineAndAnswerOnIt) {
  Endpoint& one = worker(2, true);
  open();
  publish("job");
  EXPECT_FALSE(a.succeeded(1));
  wire.pass(kAnycastPatienceMs + 1);
  EXPECT_TRUE(a.succeeded(1)) << shown(a.result(1));
  EXPECT_EQ(one.texts(), std::vector<std::string>{"job"});
  const SessionMessage& join = wire.last(T::kJoinRequest);
  EXPECT_FALSE(std::get<JoinRequest>(join.payload).mls);
  EXPECT_EQ(std::get<JoinRequest>(join.payload).timers, kQuick);
  EXPECT_EQ(join.metadata.at("slim-anycast"), "1");
  EXPECT_EQ(join.destination, one.name);
  EXPECT_EQ(wire.count(T::kDiscoveryRequest), 1u);
  EXPECT_EQ(one.got[0].metadata.at("slim-anycast-id"), std::to_string(*a.layer.anycast_id(session)) + ":1");
  EXPECT_TRUE(a.layer.sessions().empty());  // the application sees its own session only
  EXPECT_TRUE(a.opened.empty() && a.presence.empty() && a.closed.empty());
  // The answer comes as if there were no line.
  EXPECT_TRUE(one.layer.publish(wire.now, one.opened[0], {.payload = bytes_of("done")}, 7));
  wire.run();
  EXPECT_TRUE(one.succeeded(7));
  ASSERT_EQ(a.got.size(), 1u);
  EXPECT_TRUE(a.got[0].anycast);
  EXPECT_EQ(a.got[0].source, one.name);
  EXPECT_EQ(a.got[0].session_id, *a.layer.anycast_id(session));
  EXPECT_EQ(a.got[0].destination, a.name);
  // And can be answered again.
  EXPECT_TRUE(a.layer.answer_anycast(wire.now, a.got[0], {.reliability = kQuick}, {.payload = bytes_of("thanks")}, 8));
  wire.run();
  EXPECT_TRUE(a.succeeded(8));
  EXPECT_EQ(one.texts(), (std::vector<std::string>{"job", "thanks"}));
  // The next goes straight.
  publish("more");
  EXPECT_TRUE(a.succeeded(2)) << shown(a.result(2));
  EXPECT_EQ(wire.count(T::kDiscoveryRequest), 1u);
}

TEST_F(AnycastFlow, TheLoadSpreadsOverTheirInstances) {
  wire.in_turn = true;
  std::vector<Endpoint*> workers;
  for (std::uint64_t id = 2; id < 6; ++id) {
    workers.push_back(&worker(id, true));
  }
  open();
  for (int i = 0; i < 200; ++i) {
    publish("job " + std::to_string(i));
    wire.pass(5);
  }
  wire.pass(1'000);
  std::set<std::string> all;
  for (Endpoint* one : workers) {
    EXPECT_GT(one->got.size(), 20u);
    EXPECT_EQ(one->opened.size(), 1u);  // one line each
    for (const std::string& text : one->texts()) {
      EXPECT_TRUE(all.insert(text).second) << text;
    }
  }
  EXPECT_EQ(all.size(), 200u);
  for (OperationId i = 1; i <= 200; ++i) {
    EXPECT_TRUE(a.succeeded(i)) << i << shown(a.result(i));
  }
  EXPECT_EQ(a.layer.anycast().lines(), 4u);
}

TEST_F(AnycastFlow, WhatASilentInstanceHadGoesToAnother) {
  wire.in_turn = true;
  Endpoint& one = worker(2, true);
  Endpoint& two = worker(3, true);
  open();
  for (int i = 0; i < 40; ++i) {
    publish("before " + std::to_string(i));
    wire.pass(5);
  }
  wire.pass(500);
  ASSERT_GT(one.got.size(), 5u);
  ASSERT_GT(two.got.size(), 5u);
  const std::size_t had = one.got.size() + two.got.size();
  one.deaf = true;
  for (int i = 0; i < 20; ++i) {
    publish("after " + std::to_string(i));
  }
  wire.pass(1'000);
  for (OperationId i = 1; i <= last; ++i) {
    EXPECT_TRUE(a.succeeded(i)) << i << " " << shown(a.result(i));
  }
  EXPECT_EQ(one.got.size() + two.got.size(), had + 20);
  const std::vector<std::string> texts = two.texts();
  EXPECT_EQ(std::set<std::string>(texts.begin(), texts.end()).size(), texts.size());  // none twice
  // Back again, and found again.
  one.deaf = false;
  const std::size_t then = one.got.size();
  for (int i = 0; i < 200; ++i) {
    publish("later " + std::to_string(i));
    wire.pass(5);
  }
  wire.pass(1'000);
  EXPECT_GT(one.got.size(), then + 20);
}

TEST_F(AnycastFlow, TheOnlyInstanceMayFailAndAnotherCome) {
  Endpoint& one = worker(2, true);
  open();
  publish("first");
  wire.pass(200);
  EXPECT_TRUE(a.succeeded(1));
  one.deaf = true;
  one.name = named("gone", 99);  // its node does not find it any more
  Endpoint& two = worker(3, true);
  publish("second");
  wire.pass(1'000);
  EXPECT_TRUE(a.succeeded(2)) << shown(a.result(2));
  EXPECT_EQ(two.texts(), std::vector<std::string>{"second"});
}

TEST_F(AnycastFlow, LostMessagesOnALineAreRepeatedAndNeverTwice) {
  Endpoint& one = worker(2, true);
  open();
  int n = 0;
  wire.lose = [&](const SessionMessage& m) { return !is_command(m.type) && ++n % 3 == 0; };
  for (int i = 0; i < 50; ++i) {
    publish(std::to_string(i));
    wire.pass(20);
  }
  wire.pass(2'000);
  std::multiset<std::string> got;
  for (const std::string& text : one.texts()) {
    got.insert(text);
  }
  for (OperationId i = 1; i <= 50; ++i) {
    EXPECT_TRUE(a.succeeded(i)) << i << " " << shown(a.result(i));
    EXPECT_EQ(got.count(std::to_string(i - 1)), 1u) << i;
  }
}

TEST_F(AnycastFlow, FailuresTowardsTheirsAreTyped) {
  Endpoint& one = worker(2, true);
  open();
  wire.lose = [](const SessionMessage& m) { return m.type == T::kJoinReply; };
  publish("job");
  wire.pass(3'000);
  ASSERT_NE(a.result(1), nullptr);
  ASSERT_TRUE(a.result(1)->error);
  EXPECT_TRUE(a.result(1)->error->fault == SessionFault::kJoinUnanswered || a.result(1)->error->fault == SessionFault::kNoAnswer);
  EXPECT_TRUE(one.got.empty());
  EXPECT_EQ(a.layer.anycast().open(), 0u);
  // Unverified answers are nobody's.
  wire.lose = nullptr;
  wire.pass(kTombstoneMs + kWelcomeDeadlineMs);
  wire.authentic = false;
  const std::uint64_t before = a.layer.refusals().unauthenticated;
  publish("forged", service_of("pool"));
  wire.pass(1'000);
  EXPECT_EQ(a.layer.refusals().unauthenticated, before);  // the worker heard no question that it could trust
  EXPECT_EQ(a.result(2)->error->fault, SessionFault::kNoAnswer);
}

TEST_F(AnycastFlow, ForgedAnswersToQuestionsChangeNothing) {
  open();
  publish("job");
  wire.pass(kAnycastPatienceMs + 1);
  ASSERT_EQ(wire.count(T::kDiscoveryRequest), 1u);
  const SessionMessage question = wire.last(T::kDiscoveryRequest);
  SessionMessage forged;
  forged.session_type = SessionType::kPointToPoint;
  forged.type = T::kDiscoveryReply;
  forged.session_id = question.session_id;
  forged.message_id = question.message_id;
  forged.destination = a.name;
  forged.payload = DiscoveryReply{};
  wire.from_slipway = false;
  forged.source = named("mallory", 66);  // another service
  wire.inject(a, forged);
  forged.source = service_of("pool");    // no instance
  wire.inject(a, forged);
  forged.source = named("pool", 66);
  forged.message_id ^= 1;                // another question
  wire.inject(a, forged);
  forged.message_id = question.message_id;
  wire.authentic = false;
  wire.inject(a, forged);
  EXPECT_EQ(a.layer.anycast().lines(), 0u);
  EXPECT_EQ(wire.count(T::kJoinRequest), 0u);
  EXPECT_EQ(a.layer.refusals().unauthenticated, 1u);
  EXPECT_EQ(a.layer.refusals().unknown_session, 3u);
  wire.authentic = true;
  wire.inject(a, forged);
  EXPECT_EQ(a.layer.anycast().lines(), 1u);
}

TEST_F(AnycastFlow, BestEffortReachesTheirsToo) {
  Endpoint& one = worker(2, true);
  open(false);
  publish("first");
  EXPECT_TRUE(a.succeeded(1));
  wire.pass(kAnycastPatienceMs + 1);
  publish("second");
  EXPECT_TRUE(a.succeeded(2));
  EXPECT_EQ(one.texts(), (std::vector<std::string>{"first", "second"}));
  EXPECT_FALSE(std::get<JoinRequest>(wire.last(T::kJoinRequest).payload).timers);
  EXPECT_EQ(wire.count(T::kMsgAck), 0u);
  EXPECT_EQ(a.layer.anycast().open(), 0u);
  one.deaf = true;
  one.name = named("gone", 99);
  wire.pass(kTakerKnownMs + kLineIdleMs);  // its silence ended the line
  EXPECT_EQ(a.layer.anycast().lines(), 0u);
}

TEST_F(AnycastFlow, IdleLinesAreClosedAndSoAreThoseOfAClosedSession) {
  Endpoint& one = worker(2, true);
  open();
  publish("job");
  wire.pass(1'000);
  EXPECT_EQ(a.layer.anycast().lines(), 1u);
  wire.pass(kLineIdleMs);
  EXPECT_EQ(a.layer.anycast().lines(), 0u);
  EXPECT_EQ(a.layer.anycast().services(), 0u);
  ASSERT_EQ(one.closed.size(), 1u);
  EXPECT_EQ(one.closed[0].reason, CloseReason::kByModerator);
  publish("again");
  wire.pass(1'000);
  EXPECT_EQ(one.texts(), (std::vector<std::string>{"job", "again"}));
  EXPECT_TRUE(a.layer.close(wire.now, session, 90));
  wire.run();
  EXPECT_TRUE(a.succeeded(90));
  EXPECT_EQ(one.closed.size(), 2u);
  EXPECT_EQ(a.layer.anycast().lines(), 0u);
  wire.pass(kTombstoneMs + 1);
  EXPECT_FALSE(a.layer.next_deadline());
  EXPECT_EQ(a.closed.size(), 1u);  // the application's own
}

TEST_F(AnycastFlow, LinesAreBounded) {
  wire.in_turn = true;
  for (std::uint64_t id = 2; id < 2 + 2 * kMaxLinesOut; ++id) {
    worker(id, true);
  }
  open();
  for (int i = 0; i < 1'000; ++i) {
    publish("job");
    EXPECT_LE(a.layer.anycast().lines(), kMaxLinesOut);
    wire.pass(1);
  }
  EXPECT_EQ(a.layer.anycast().lines(), kMaxLinesOut);
  const auto large = std::make_shared<const Bytes>(kMaxSessionPayloadBytes);
  std::size_t taken = 0;
  std::expected<std::uint32_t, SessionError> result;
  while ((result = a.layer.publish_with_destination(wire.now, session, service_of("nobody"), {.payload = large}, kNoOperation)) && taken < 100) {
    ++taken;
  }
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().fault, SessionFault::kWindowFull);
  EXPECT_EQ(taken, kMaxAnycastBytes / kMaxSessionPayloadBytes);
}

TEST_F(AnycastFlow, OursAnswerForANameThatTheirsServeToo) {
  wire.in_turn = true;
  Endpoint& one = worker(2, false);
  Endpoint& two = worker(3, true);
  open();
  for (int i = 0; i < 20; ++i) {
    publish("job");
    wire.pass(100);
  }
  EXPECT_EQ(one.got.size(), 20u);  // it acknowledges at once, so nobody is asked for
  one.deaf = true;
  one.name = named("gone", 99);
  publish("last");
  wire.pass(1'000);
  EXPECT_TRUE(a.succeeded(last)) << shown(a.result(last));
  EXPECT_EQ(two.texts(), std::vector<std::string>{"last"});
}

// --- from theirs ---------------------------------------------------------------------------------------------------------

class AnycastIn : public AnycastFlow {
 protected:
  // An application of theirs that marks its session, and one of ours behind the name.
  Endpoint& client = wire.add("client", 8);
  SessionHandle theirs(bool reliable, bool mls = false) {
    SessionConfig config{.metadata = {{"slim-anycast", "1"}}};
    if (reliable) {
      config.reliability = kQuick;
    }
    if (mls) {
      config.mls = MlsSettings{};
    }
    const SessionHandle handle = *client.layer.create_unicast(wire.now, service_of("alice"), config, ++last);
    wire.run();
    EXPECT_TRUE(client.succeeded(last));
    return handle;
  }
  void say(SessionHandle handle, const std::string& text) {
    EXPECT_TRUE(client.layer.publish(wire.now, handle, {.payload = bytes_of(text)}, ++last));
    wire.run();
  }
};

TEST_F(AnycastIn, MarkedSessionsAreHeardAsAnycastOfTheirSource) {
  for (const bool reliable : {true, false}) {
    a.got.clear();
    client.got.clear();
    const SessionHandle first = theirs(reliable);
    const SessionHandle second = theirs(reliable);
    EXPECT_TRUE(a.opened.empty() && a.presence.empty());
    EXPECT_TRUE(a.layer.sessions().empty());
    say(first, "one");
    say(second, "two");
    ASSERT_EQ(a.texts(), (std::vector<std::string>{"one", "two"}));
    for (const AppMessage& message : a.got) {
      EXPECT_TRUE(message.anycast);
      EXPECT_EQ(message.session_id, 0u);  // one and the same for the application
      EXPECT_EQ(message.source, client.name);
      EXPECT_EQ(message.message_id != 0, reliable);
    }
    // Each answer goes to the session that the question came on.
    const SessionConfig config = reliable ? SessionConfig{.reliability = kQuick} : SessionConfig{};
    EXPECT_TRUE(a.layer.answer_anycast(wire.now, a.got[1], config, {.payload = bytes_of("2")}, ++last));
    wire.run();
    EXPECT_TRUE(a.succeeded(last));
    ASSERT_EQ(client.got.size(), 1u);
    EXPECT_EQ(client.got[0].session_id, client.layer.find(second)->facts().id);
    EXPECT_TRUE(client.layer.close(wire.now, second, ++last));
    wire.run();
    const auto late = a.layer.answer_anycast(wire.now, a.got[1], config, {.payload = bytes_of("late")}, ++last);
    ASSERT_FALSE(late);
    EXPECT_EQ(late.error().fault, SessionFault::kPeerLeft);
    EXPECT_TRUE(client.layer.close(wire.now, first, ++last));
    wire.run();
    EXPECT_EQ(a.layer.anycast().lines(), 0u);
    EXPECT_TRUE(a.closed.empty());
  }
}

TEST_F(AnycastIn, AnEncryptedSessionStaysASession) {
  const SessionHandle handle = theirs(true, true);
  EXPECT_EQ(a.opened.size(), 1u);
  EXPECT_EQ(a.layer.anycast().lines(), 0u);
  say(handle, "secret");
  ASSERT_EQ(a.got.size(), 1u);
  EXPECT_FALSE(a.got[0].anycast);
}

TEST_F(AnycastIn, AMessageComesOnceOnWhateverWay) {
  const SessionHandle line = theirs(true);
  // What another endpoint's shim sends: the same message without a line, and on one.
  SessionMessage stateless;
  stateless.session_type = SessionType::kPointToPoint;
  stateless.session_id = 77;
  stateless.message_id = 5;
  stateless.source = client.name;
  stateless.destination = service_of("alice").with_id(kAnycastId);
  stateless.payload = AppPayload{"msg", bytes_of("job")};
  wire.inject(a, stateless);
  wire.lose = nullptr;
  Outgoing again{.payload = bytes_of("job")};
  again.metadata.emplace("slim-anycast-id", "77:5");
  SessionMessage marked;
  marked.session_type = SessionType::kPointToPoint;
  marked.session_id = client.layer.find(line)->facts().id;
  marked.message_id = 1;
  marked.source = client.name;
  marked.destination = a.name;
  marked.metadata = again.metadata;
  marked.payload = AppPayload{"msg", bytes_of("job")};
  wire.inject(a, marked);
  EXPECT_EQ(a.texts(), std::vector<std::string>{"job"});
  EXPECT_EQ(a.layer.refusals().duplicate, 1u);
  marked.message_id = 2;
  marked.metadata["slim-anycast-id"] = "77:6";
  wire.inject(a, marked);
  ASSERT_EQ(a.got.size(), 2u);
  EXPECT_EQ(a.got[1].session_id, 77u);
  EXPECT_EQ(a.got[1].message_id, 6u);
  EXPECT_FALSE(a.got[1].metadata.contains("slim-anycast-id"));
  marked.message_id = 3;
  marked.metadata["slim-anycast-id"] = "77:x";  // no mark at all
  wire.inject(a, marked);
  ASSERT_EQ(a.got.size(), 3u);
  EXPECT_EQ(a.got[2].session_id, 0u);
}

TEST_F(AnycastIn, LinesOfPeersAreBoundedInNumberAndIdleTime) {
  (void)theirs(true);
  EXPECT_EQ(a.layer.anycast().lines(), 1u);
  wire.pass(kLineInIdleMs + 1'000);
  EXPECT_EQ(a.layer.anycast().lines(), 0u);
  SessionMessage join;
  join.session_type = SessionType::kPointToPoint;
  join.type = T::kJoinRequest;
  join.message_id = 3;
  join.source = client.name;
  join.destination = a.name;
  join.metadata = {{"slim-anycast", "1"}};
  join.payload = JoinRequest{};
  for (std::uint32_t i = 0; i <= kMaxAnycastLinesIn; ++i) {
    join.session_id = 1'000 + i;
    wire.inject(a, join);
  }
  EXPECT_EQ(a.layer.anycast().lines(), kMaxAnycastLinesIn);
  EXPECT_EQ(a.layer.refusals().no_room, 1u);
  wire.pass(kWelcomeDeadlineMs + 1'000);  // nobody welcomed them
  EXPECT_EQ(a.layer.anycast().lines(), 0u);
}

}  // namespace
}  // namespace slipway::testing
