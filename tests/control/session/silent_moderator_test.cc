// Groups whose moderator neither sends nor receives data, as channels that a node hosts: what it must know of the data it never sees.
#include <gtest/gtest.h>

#include "harness.h"
#include "session/session_bounds.h"

namespace slipway::testing {
namespace {

using T = MessageType;

class SilentModerator : public ::testing::TestWithParam<bool> {
 protected:
  Wire wire;
  Endpoint& a = wire.add("moderator", 1, {.sends = false, .receives = false});
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
  // Its process dies, is taken out, and comes again under its old name: all that it knew is gone.
  void come_again(Endpoint& e) {
    e.crash();
    EXPECT_TRUE(a.layer.remove(wire.now, group, e.name, ++operation));
    wire.pass(10'000);
    invite(e);
  }
  void expect_heard(Endpoint& from, Endpoint& by, const std::string& text) {
    EXPECT_TRUE(from.layer.publish(wire.now, from.opened.back(), {"", bytes_of(text), {}}, ++operation));
    wire.pass(2'000);
    EXPECT_TRUE(from.succeeded(operation));
    ASSERT_FALSE(by.got.empty());
    EXPECT_EQ(text_of(by.got.back().payload), text);
  }
  [[nodiscard]] std::uint32_t last_data_id() const { return wire.last(T::kMsg).message_id; }
  [[nodiscard]] MemberStatus status_of(const Endpoint& e) {
    const Roster& roster = a.layer.find(group)->roster();
    return roster[roster.find(e.name.hashed())].status;
  }
};

INSTANTIATE_TEST_SUITE_P(MlsOffAndOn, SilentModerator, ::testing::Bool());

TEST_P(SilentModerator, WhoComesAgainIsHeard) {
  for (int life = 0; life < 4; ++life) {
    for (int i = 0; i < 5; ++i) {
      expect_heard(b, c, "life " + std::to_string(life) + ", " + std::to_string(i));
    }
    come_again(b);
  }
  EXPECT_EQ(c.got.size(), 20u);
}

TEST_P(SilentModerator, WhoSaidNothingAndComesAgainIsHeard) {
  come_again(b);
  expect_heard(b, c, "first");
  come_again(c);
  come_again(b);
  expect_heard(b, c, "second");
}

TEST_P(SilentModerator, RemembersOverARestart) {
  for (int life = 0; life < 3; ++life) {
    expect_heard(b, c, "before " + std::to_string(life));
    come_again(b);
  }
  expect_heard(b, c, "before");
  const auto kept = a.kept;
  a.crash();
  const auto handles = a.restore(wire.now, kept);
  ASSERT_EQ(handles.size(), 1u);
  group = handles.front();
  wire.pass(5'000);
  expect_heard(b, c, "between");
  come_again(b);
  expect_heard(b, c, "after");
}

// However many messages it sent: its heartbeats say.
TEST_P(SilentModerator, HearsHowFarMembersHaveCounted) {
  constexpr std::uint32_t kMessages = 300;
  for (std::uint32_t i = 0; i < kMessages; ++i) {
    EXPECT_TRUE(b.layer.publish(wire.now, b.opened.back(), {"", bytes_of("x"), {}}, kNoOperation));
    wire.run();
  }
  wire.pass(2 * kHeartbeatMs);
  come_again(b);
  expect_heard(b, c, "again");
  EXPECT_EQ(last_data_id(), kMessages + kDataIdsALife + 1);
}

TEST_P(SilentModerator, KnowsThatThoseWhoTalkAreThere) {
  for (int i = 0; i < 30; ++i) {
    wire.pass(kHeartbeatMs / 4);
    EXPECT_TRUE(b.layer.publish(wire.now, b.opened.back(), {"", bytes_of("x"), {}}, kNoOperation));
  }
  EXPECT_EQ(status_of(b), MemberStatus::kOnline);
  EXPECT_EQ(status_of(c), MemberStatus::kOnline);
}

}  // namespace
}  // namespace slipway::testing
