// Into which group a member lets itself be let in again: one whose leaves all belong to those whom the moderator names as members.
#include <gtest/gtest.h>

#include "harness.h"
#include "session/session_bounds.h"

namespace slipway::testing {
namespace {

using T = MessageType;

class Return : public ::testing::Test {
 protected:
  Wire wire;
  Endpoint& a = wire.add("alice", 1);
  Endpoint& b = wire.add("bob", 2);
  Endpoint& c = wire.add("carol", 3);
  Endpoint& d = wire.add("dave", 4);
  SessionHandle group{};
  std::uint64_t old_epoch = 0;
  std::optional<SessionMessage> lost_answer;

  void SetUp() override {
    group = *a.layer.create_group(wire.now, data_channel(), control_channel(), reliable(true));
    EXPECT_TRUE(a.layer.invite(wire.now, group, b.name, 1));
    EXPECT_TRUE(a.layer.invite(wire.now, group, c.name, 2));
    wire.run();
    ASSERT_TRUE(a.succeeded(1) && a.succeeded(2));
    old_epoch = at(b).epoch();
  }
  const Session& at(const Endpoint& e) { return *e.layer.find(e.layer.sessions().front()); }
  // Dave comes in while bob hears nothing.
  void bob_misses_dave() {
    b.deaf = true;
    EXPECT_TRUE(a.layer.invite(wire.now, group, d.name, 3));
    wire.pass(1'000);
    ASSERT_TRUE(a.succeeded(3));
    ASSERT_EQ(at(b).epoch(), old_epoch);
    b.deaf = false;
  }
  // The last of them stays in hand.
  void lose_answers() {
    wire.lose = [this](const SessionMessage& m) {
      if (m.type == T::kRejoinReply) {
        lost_answer = m;
      }
      return m.type == T::kRejoinReply;
    };
  }
  void ask() {
    EXPECT_TRUE(b.layer.refresh_keys(wire.now, b.opened[0], 10));
    wire.run();
  }
  // Whatever a list says, it does not name dave, or names somebody else in his place.
  static void forge(SessionMessage& message, const std::function<void(std::vector<ParticipantInfo>&)>& how) {
    if (auto* update = std::get_if<GroupUpdate>(&message.payload); update != nullptr && update->operation == GroupOperation::kRejoin) {
      how(update->participants);
    }
  }
  void expect_refused(const std::function<void(std::vector<ParticipantInfo>&)>& how) {
    wire.change = [&](SessionMessage& message) { forge(message, how); };
    ask();
    wire.pass(1);
    ASSERT_NE(b.result(10), nullptr);
    ASSERT_TRUE(b.result(10)->error);
    EXPECT_EQ(b.result(10)->error->fault, SessionFault::kRejoinFailed);
    EXPECT_EQ(at(b).epoch(), old_epoch);
    EXPECT_GE(b.layer.refusals().bad_commit, 1u);
    wire.change = nullptr;
    wire.pass(kRejoinBackoffMinMs + 1'000);  // it asks again, and is told the truth
    expect_in_step();
  }
  void expect_in_step() {
    wire.pass(2 * kHeartbeatMs);  // by then all know who is there
    EXPECT_EQ(at(b).epoch(), at(a).epoch());
    EXPECT_EQ(at(b).roster().size(), at(a).roster().size());
    EXPECT_TRUE(b.layer.publish(wire.now, b.opened[0], {"", bytes_of("back"), {}}, 20));
    wire.pass(1'000);
    EXPECT_TRUE(b.succeeded(20));
    EXPECT_EQ(c.texts(), std::vector<std::string>{"back"});
  }
};

TEST_F(Return, IsTakenAtOnceIfNothingWasMissed) {
  wire.lose = [](const SessionMessage& m) { return m.type == T::kGroupUpdate; };
  ask();
  EXPECT_TRUE(b.succeeded(10));
  EXPECT_GT(at(b).epoch(), old_epoch);
  wire.lose = nullptr;
  wire.pass(1'000);
  expect_in_step();
}

TEST_F(Return, WaitsForTheListIfMembersCameMeanwhile) {
  bob_misses_dave();
  wire.lose = [](const SessionMessage& m) { return m.type == T::kGroupUpdate; };
  ask();
  EXPECT_EQ(wire.count(T::kRejoinReply), 1u);
  EXPECT_EQ(b.result(10), nullptr);
  EXPECT_EQ(at(b).epoch(), old_epoch);
  const auto busy = b.layer.go_offline(wire.now, b.opened[0], 11);
  ASSERT_FALSE(busy);
  EXPECT_EQ(busy.error().fault, SessionFault::kStatusChanging);
  wire.lose = nullptr;
  wire.pass(200);  // the update is repeated
  EXPECT_TRUE(b.succeeded(10));
  EXPECT_EQ(wire.count(T::kRejoinRequest), 1u);
  expect_in_step();
}

// Else many that ask and give up at the same times might never be let in.
TEST_F(Return, AnswerIsTakenThoughItComesLate) {
  lose_answers();
  ask();
  for (int i = 0; i < 100 && b.result(10) == nullptr; ++i) {
    wire.pass(100);
  }
  ASSERT_NE(b.result(10), nullptr);
  EXPECT_TRUE(b.result(10)->error);
  const auto asked = wire.count(T::kRejoinRequest);
  wire.lose = nullptr;
  wire.inject(b, *lost_answer);
  EXPECT_GT(at(b).epoch(), old_epoch);
  expect_in_step();
  EXPECT_EQ(wire.count(T::kRejoinRequest), asked);
}

TEST_F(Return, WhoAsksIsNotAwaitedByOthers) {
  b.deaf = true;
  EXPECT_TRUE(a.layer.invite(wire.now, group, d.name, 3));
  wire.run();
  EXPECT_EQ(a.result(3), nullptr);
  b.deaf = false;
  ask();
  EXPECT_TRUE(a.succeeded(3));
  EXPECT_EQ(wire.count(T::kRejoinReply), 1u);
  wire.pass(200);
  EXPECT_TRUE(b.succeeded(10));
  expect_in_step();
}

TEST_F(Return, ListMayComeBeforeTheAnswer) {
  bob_misses_dave();
  lose_answers();
  ask();
  ASSERT_TRUE(lost_answer);
  EXPECT_TRUE(at(b).roster().contains(d.name));
  EXPECT_EQ(at(b).epoch(), old_epoch);
  wire.lose = nullptr;
  wire.inject(b, *lost_answer);
  EXPECT_TRUE(b.succeeded(10));
  expect_in_step();
}

TEST_F(Return, AsksAgainIfTheListNeverComes) {
  bob_misses_dave();
  wire.lose = [](const SessionMessage& m) { return m.type == T::kGroupUpdate; };
  ask();
  wire.pass(kCommitGapMs + kQuick.timeout_ms - 1);
  EXPECT_EQ(b.result(10), nullptr);
  wire.pass(1);
  ASSERT_NE(b.result(10), nullptr);
  EXPECT_TRUE(b.result(10)->error);
  wire.lose = nullptr;
  wire.pass(kRejoinBackoffMinMs + 1'000);
  EXPECT_EQ(wire.count(T::kRejoinRequest), 2u);
  expect_in_step();
}

TEST_F(Return, GroupWithALeafThatIsOnNoListIsRefused) {
  bob_misses_dave();
  expect_refused([this](auto& list) { std::erase_if(list, [this](const auto& info) { return info.name == d.name; }); });
}

TEST_F(Return, LeafOfAnotherIdentityIsRefused) {
  bob_misses_dave();
  expect_refused([this](auto& list) { std::ranges::find(list, d.name, &ParticipantInfo::name)->name = named("dave", 5); });
}

TEST_F(Return, ListWithoutTheModeratorIsRefused) {
  bob_misses_dave();
  expect_refused([this](auto& list) { std::erase_if(list, [this](const auto& info) { return info.name == a.name; }); });
}

TEST_F(Return, AnswerWithoutAWelcomeIsRefused) {
  bob_misses_dave();
  wire.change = [](SessionMessage& message) {
    if (auto* answer = std::get_if<RejoinReply>(&message.payload)) {
      answer->mls_content = nullptr;
    }
  };
  ask();
  ASSERT_NE(b.result(10), nullptr);
  EXPECT_TRUE(b.result(10)->error);
  EXPECT_EQ(at(b).epoch(), old_epoch);
  wire.change = nullptr;
  wire.pass(kRejoinBackoffMinMs + 1'000);
  expect_in_step();
}

// Its leaf is still in the group: newcomers and those who return are told whose it is.
TEST_F(Return, LeafOfWhoLeftAMomentAgoIsListed) {
  bob_misses_dave();
  a.groups.refusals = 1;  // so that dave's leaf stays
  EXPECT_TRUE(d.layer.close(wire.now, d.opened[0], 4));
  wire.run();
  a.groups.refusals = 0;
  EXPECT_FALSE(at(a).roster().contains(d.name));
  ask();
  EXPECT_TRUE(b.succeeded(10));
  EXPECT_EQ(at(b).epoch(), at(a).epoch());
  wire.pass(kRefusedCommitMs);
  expect_in_step();
}

// Upstream's moderators give no versions: what we know of is taken at once, the rest when their list has come.
TEST_F(Return, ModeratorsWithoutVersionsAreWaitedForToo) {
  wire.change = [](SessionMessage& message) { message.metadata.erase(std::string(metadata_key::kRosterVersion)); };
  wire.from_slipway = false;
  ask();
  EXPECT_TRUE(b.succeeded(10));
  old_epoch = at(b).epoch();
  bob_misses_dave();
  wire.lose = [](const SessionMessage& m) { return m.type == T::kGroupUpdate; };
  EXPECT_TRUE(b.layer.refresh_keys(wire.now, b.opened[0], 12));
  wire.run();
  EXPECT_EQ(b.result(12), nullptr);
  wire.lose = nullptr;
  wire.pass(200);
  EXPECT_TRUE(b.succeeded(12));
  EXPECT_EQ(at(b).epoch(), at(a).epoch());
  EXPECT_TRUE(at(b).roster().contains(d.name));
}

// Offline by own wish, and the group has changed: what tells who is in is heard all the same.
TEST_F(Return, ListIsHeardByWhoComesBack) {
  EXPECT_TRUE(b.layer.go_offline(wire.now, b.opened[0], 11));
  wire.run();
  EXPECT_TRUE(a.layer.invite(wire.now, group, d.name, 3));
  wire.pass(1'000);
  EXPECT_TRUE(b.layer.come_back(wire.now, b.opened[0], 12));
  wire.run();
  EXPECT_TRUE(b.succeeded(12));
  EXPECT_FALSE(at(b).offline());
  expect_in_step();
}

// A commit lets in whom the update names, and nobody else: whoever is told otherwise does not follow, and asks to be let in again.
class Smuggled : public Return {
 protected:
  void expect_not_followed(const std::function<void(GroupUpdate&)>& how) {
    wire.change = [&](SessionMessage& message) {
      auto* update = std::get_if<GroupUpdate>(&message.payload);
      if (update != nullptr && update->operation == GroupOperation::kAdd) {
        how(*update);
      }
    };
    wire.lose = [](const SessionMessage& m) { return m.type == T::kRejoinRequest; };
    const auto members = at(c).roster().size();
    EXPECT_TRUE(a.layer.invite(wire.now, group, d.name, 3));
    wire.run();
    for (const Endpoint* e : {&b, &c}) {
      EXPECT_GE(e->layer.refusals().bad_commit, 1u);
      EXPECT_EQ(at(*e).epoch(), old_epoch);
      EXPECT_EQ(at(*e).roster().size(), members);
    }
    wire.change = nullptr;
    wire.lose = nullptr;
    wire.pass(30'000);  // they come back, and are told the truth
    EXPECT_TRUE(a.succeeded(3));
    EXPECT_GE(wire.count(T::kRejoinRequest), 2u);
    EXPECT_TRUE(at(b).roster().contains(d.name) && at(c).roster().contains(d.name));
    expect_in_step();
  }
};

TEST_F(Smuggled, UnderAnothersName) {
  expect_not_followed([&](GroupUpdate& update) {
    update.participant.name = d.name.with_id(NameId{7, 7});
    for (ParticipantInfo& info : update.participants) {
      info.name = info.name == d.name ? update.participant.name : info.name;
    }
  });
}

TEST_F(Smuggled, UnderANameThatIsInAlready) {
  expect_not_followed([&](GroupUpdate& update) {
    update.participant.name = c.name;
    update.participants = {{a.name, {}}, {b.name, {}}, {c.name, {}}};
  });
}

TEST_F(Smuggled, InARemoval) {
  expect_not_followed([&](GroupUpdate& update) { update.operation = GroupOperation::kRemove; });
}

}  // namespace
}  // namespace slipway::testing
