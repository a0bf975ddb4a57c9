// Some seeds of every run of the tests, and every seed that ever failed.
#include <gtest/gtest.h>

#include <cstdlib>

#include "fake_group.h"
#include "world.h"

namespace slipway::sim {
namespace {

TEST(Simulation, FirstSeedsHold) {
  constexpr std::uint64_t kSeeds = 300;
  std::uint64_t joins = 0;
  std::uint64_t delivered = 0;
  for (std::uint64_t seed = 1; seed <= kSeeds; ++seed) {
    const Outcome outcome = World(seed, false).run();
    EXPECT_EQ(outcome.failure, "") << "replay: simulate --first-seed " << seed << " --seeds 1 --trace";
    joins += outcome.joins;
    delivered += outcome.delivered;
  }
  EXPECT_GT(joins, kSeeds);  // the schedules do something
  EXPECT_GT(delivered, kSeeds * 5);
}

// Each found something once. What a seed draws changes when plans or workloads change; these cost little all the same.
TEST(Simulation, SeedsThatFailedOnceHold) {
  for (const std::uint64_t seed : std::initializer_list<std::uint64_t>{
                                  60u, 86u, 172u, 434u, 621u, 630u, 1173u, 1272u, 1502u, 2436u, 2555u, 4042u, 7075u, 12143u, 14615u,
                                  2013339u, 2014314u, 2024809u, 2037087u, 3052595u, 3054201u, 3055604u,
                                  10050363u, 10070203u, 10125273u, 10220139u, 40010858u, 40016564u,
                                  60287742u, 60300761u, 60790044u,
                                  83u, 97u, 1205u, 1274u, 2310u, 2653u, 70027024u, 80005114u, 81027721u,
                                  91037104u, 23712u, 61133u, 52307u, 8485u,
                                  200003113u, 200028987u, 200029589u, 200030604u, 200061387u, 1400109008u, 1400164068u,
                                  2000548732u, 2000733871u, 2200030602u, 2300689918u, 2500512811u,
                                  6000117411u, 6000126921u, 6000254451u, 6000283901u}) {
    EXPECT_EQ(World(seed, false).run().failure, "") << "seed " << seed;
  }
}

TEST(Simulation, SeedsHoldWithMls) {
  constexpr std::uint64_t kSeeds = 25;
  for (std::uint64_t seed = 1; seed <= kSeeds; ++seed) {
    EXPECT_EQ(World(seed, false, Mls::kReal).run().failure, "") << "replay: simulate --mls --first-seed " << seed << " --seeds 1 --trace";
  }
}

TEST(Simulation, SameSeedSameRun) {
  const Outcome first = World(11, false).run();
  const Outcome again = World(11, false).run();
  EXPECT_EQ(first.events, again.events);
  EXPECT_EQ(first.delivered, again.delivered);
}

class FakeGroupTest : public ::testing::Test {
 protected:
  static FullName named(const char* service) { return FullName(TextName{{"o", "n", service}, NameId{.high = 1, .low = 2}}); }
  FullName alice = named("alice");
  FullName bob = named("bob");
  FakeGroup a{alice, 1};
  FakeGroup b{bob, 2};

  static SessionMessage data(const FullName& from) {
    SessionMessage m;
    m.source = from;
    m.payload = AppPayload{"msg", std::make_shared<const Bytes>(3)};
    return m;
  }
  void let_bob_in() {
    ASSERT_TRUE(a.create());
    const JoiningMember joiner{bob, *b.key_package()};
    const auto commit = a.add({&joiner, 1});
    ASSERT_TRUE(commit && b.join(*commit->welcome, std::vector{alice, bob}));
  }
};

TEST_F(FakeGroupTest, OpensEachCiphertextOnceAndOnlyUnchanged) {
  let_bob_in();
  SessionMessage m = data(alice);
  ASSERT_TRUE(a.protect(m));
  SessionMessage changed = m;
  changed.message_id = 5;
  EXPECT_FALSE(b.unprotect(changed));
  SessionMessage copy = m;
  EXPECT_TRUE(b.unprotect(m));
  EXPECT_FALSE(b.unprotect(copy));
}

TEST_F(FakeGroupTest, RefusesWrongEpochsAndRemovedMembers) {
  let_bob_in();
  const auto first = a.refresh();
  const auto second = a.refresh();
  EXPECT_FALSE(b.process(*second->commit, std::vector{alice}));
  EXPECT_TRUE(b.process(*first->commit, std::vector{alice}));
  EXPECT_TRUE(b.process(*second->commit, std::vector{alice}));
  EXPECT_EQ(a.epoch(), b.epoch());
  const auto removal = a.remove(bob);
  EXPECT_EQ(b.process(*removal->commit, {}), CommitEffect::kRemovedSelf);
  SessionMessage m = data(alice);
  ASSERT_TRUE(a.protect(m));
  EXPECT_FALSE(b.unprotect(m));
  SessionMessage late = data(bob);
  EXPECT_FALSE(b.protect(late));
}

TEST_F(FakeGroupTest, RefusesALeafOfSomebodyWhoIsNotNamed) {
  let_bob_in();
  const FullName carol = named("carol");
  FakeGroup c{carol, 3};
  const JoiningMember joiner{carol, *c.key_package()};
  const auto commit = a.add({&joiner, 1});
  ASSERT_TRUE(commit);
  EXPECT_FALSE(b.process(*commit->commit, std::vector{alice, bob}));
  EXPECT_TRUE(b.process(*commit->commit, std::vector{carol}));
}

TEST_F(FakeGroupTest, KeepsAFewEpochs) {
  let_bob_in();
  SessionMessage m = data(bob);
  ASSERT_TRUE(b.protect(m));
  SessionMessage copy = m;
  for (std::size_t i = 0; i + 1 < FakeGroup::kKeptEpochs; ++i) {
    ASSERT_TRUE(a.refresh());
  }
  EXPECT_TRUE(a.unprotect(m));
  ASSERT_TRUE(a.refresh());
  EXPECT_FALSE(a.unprotect(copy));
}

}  // namespace
}  // namespace slipway::sim
