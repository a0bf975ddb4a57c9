// Members that come again under their name: where their data goes on counting, whatever their moderator has heard of it.
#include <gtest/gtest.h>

#include "harness.h"
#include "session/session_bounds.h"

namespace slipway::testing {
namespace {

using T = MessageType;

class ComesAgain : public ::testing::TestWithParam<bool> {
 protected:
  Wire wire;
  Endpoint& a = wire.add("moderator", 1);
  Endpoint& b = wire.add("bob", 2);
  Endpoint& c = wire.add("carol", 3);
  SessionHandle group{};
  OperationId operation = 100;

  void SetUp() override {
    group = *a.layer.create_group(wire.now, data_channel(), control_channel(), reliable(GetParam()));
    invite(b);
    invite(c);
  }
  void invite(Endpoint& e) {
    EXPECT_TRUE(a.layer.invite(wire.now, group, e.name, ++operation));
    wire.pass(2'000);
    EXPECT_TRUE(a.succeeded(operation));
  }
  void remove(Endpoint& e) {
    EXPECT_TRUE(a.layer.remove(wire.now, group, e.name, ++operation));
    wire.pass(10'000);
  }
  void say(Endpoint& from, const std::string& text) {
    EXPECT_TRUE(from.layer.publish(wire.now, from.layer.sessions().front(), {"", bytes_of(text), {}}, ++operation));
    wire.pass(2'000);
  }
};

INSTANTIATE_TEST_SUITE_P(MlsOffAndOn, ComesAgain, ::testing::Bool());

TEST_P(ComesAgain, ToAModeratorThatHasHeardNothingOfIt) {
  EXPECT_TRUE(a.layer.go_offline(wire.now, group, ++operation));
  wire.pass(2'000);
  for (const char* text : {"one", "two", "three"}) {
    say(b, text);
  }
  EXPECT_TRUE(a.layer.come_back(wire.now, group, ++operation));
  wire.pass(2'000);
  EXPECT_TRUE(a.got.empty());
  b.crash();
  remove(b);
  invite(b);
  say(b, "four");
  EXPECT_TRUE(b.succeeded(operation));
  EXPECT_EQ(c.texts(), (std::vector<std::string>{"one", "two", "three", "four"}));
}

TEST_P(ComesAgain, ToAModeratorThatWasAwayForLong) {
  say(b, "zero");
  EXPECT_TRUE(a.layer.go_offline(wire.now, group, ++operation));
  wire.pass(2'000);
  for (std::uint32_t i = 0; i < 3 * kSendWindow; ++i) {
    EXPECT_TRUE(b.layer.publish(wire.now, b.opened.back(), {"", bytes_of("x"), {}}, kNoOperation));
    wire.run();
  }
  EXPECT_TRUE(a.layer.come_back(wire.now, group, ++operation));
  wire.pass(2'000);
  b.crash();
  remove(b);
  invite(b);
  say(b, "last");
  EXPECT_TRUE(b.succeeded(operation));
  EXPECT_EQ(c.texts().back(), "last");
}

// What it publishes before it is welcomed has numbers that may be others then; all of it is delivered, acknowledged, and known to be.
TEST_P(ComesAgain, AndPublishesBeforeItIsIn) {
  for (const bool forgets : {false, true}) {
    say(b, "before");
    if (forgets) {
      b.crash();
    }
    remove(b);
    wire.lose = [](const SessionMessage& message) { return message.type == T::kGroupWelcome; };
    EXPECT_TRUE(a.layer.invite(wire.now, group, b.name, ++operation));
    wire.run();
    ASSERT_EQ(b.layer.sessions().size(), 1u);
    const SessionHandle session = b.layer.sessions().front();
    const OperationId early = ++operation, later = ++operation;
    EXPECT_TRUE(b.layer.publish(wire.now, session, {"", bytes_of("early"), {}}, early));
    wire.lose = nullptr;
    wire.pass(2'000);
    EXPECT_TRUE(b.layer.publish(wire.now, session, {"", bytes_of("later"), {}}, later));
    wire.pass(2'000);
    EXPECT_TRUE(b.succeeded(early));
    EXPECT_TRUE(b.succeeded(later));
    const auto heard = c.texts();
    ASSERT_GE(heard.size(), 3u);
    EXPECT_EQ(std::vector(heard.end() - 3, heard.end()), (std::vector<std::string>{"before", "early", "later"})) << forgets;
    EXPECT_EQ(b.result(later)->message_id, b.result(early)->message_id + 1);
  }
}

}  // namespace
}  // namespace slipway::testing
