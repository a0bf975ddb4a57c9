#include "channel_manager/manager_records.h"

#include <gtest/gtest.h>

#include "channel_manager/channel_manager_bounds.h"
#include "fakes.h"

namespace slipway::test {
namespace {

constexpr std::uint64_t kNow = 1'000;

std::string use(ManagerRecords& records, FakeStore* store, UsedNonce nonce, std::uint64_t now_s = kNow) {
  std::string out = "waits";
  records.use(std::move(nonce), now_s, [&](std::expected<void, UseError> used) {
    out = used ? "first" : used.error().fault == UseFault::kUsedBefore ? "again" : "not recorded: " + used.error().why;
  });
  if (store != nullptr) {
    store->turn();
  }
  return out;
}

TEST(ManagerRecords, ANonceIsGoodOnceAChannelUntilItEnds) {
  ManagerRecords records(nullptr);
  EXPECT_EQ(use(records, nullptr, {"a", "n", 2'000}), "first");
  EXPECT_EQ(use(records, nullptr, {"a", "n", 2'000}), "again");
  EXPECT_EQ(use(records, nullptr, {"b", "n", 2'000}), "first");
  EXPECT_EQ(use(records, nullptr, {"a", "n", 2'000}, 2'000), "again") << "still good in its last second";
  EXPECT_EQ(records.used(), 2u);
  EXPECT_EQ(use(records, nullptr, {"c", "n", 9'000}, 2'001), "first");
  EXPECT_EQ(records.used(), 1u) << "those that ended are forgotten";
}

TEST(ManagerRecords, ChannelAndNonceAreKeptApart) {
  FakeStore store;
  ManagerRecords records(&store);
  EXPECT_EQ(use(records, &store, {"ab", "c", 2'000}), "first");
  EXPECT_EQ(use(records, &store, {"a", "bc", 2'000}), "first");
  EXPECT_EQ(store.disk.size(), 2u);
}

TEST(ManagerRecords, WhatIsFullRefuses) {
  ManagerRecords records(nullptr);
  for (std::size_t i = 0; i < kUsedNonces; ++i) {
    ASSERT_EQ(use(records, nullptr, {"a", std::to_string(i), 2'000}), "first");
  }
  EXPECT_TRUE(use(records, nullptr, {"a", "x", 2'000}).starts_with("not recorded"));
  EXPECT_EQ(use(records, nullptr, {"a", "x", 3'000}, 2'001), "first");
}

TEST(ManagerRecords, SurviveARestart) {
  FakeStore store;
  {
    ManagerRecords records(&store);
    bool stored = false;
    records.put({"org/ns/room", "did:key:z1", "org/ns/me", 5'000}, [&](auto result) { stored = result.has_value(); });
    records.put({"org/ns/gone", "did:key:z1", std::nullopt, std::nullopt}, [](auto) {});
    EXPECT_FALSE(stored);
    store.turn();
    EXPECT_TRUE(stored);
    EXPECT_EQ(use(records, &store, {"org/ns/room", "n", 2'000}), "first");
    EXPECT_EQ(use(records, &store, {"org/ns/room", "short", 1'100}), "first");
  }
  for (const auto& [name, value] : store.disk) {
    EXPECT_EQ(name.find("room"), std::string::npos) << "names in the store are not sealed";
  }
  ManagerRecords records(&store);
  ASSERT_TRUE(records.load([](const std::string& channel) { return channel == "org/ns/room"; }, 1'500));
  store.turn();
  ASSERT_NE(records.find("org/ns/room"), nullptr);
  EXPECT_EQ(records.find("org/ns/room")->owner, "did:key:z1");
  EXPECT_EQ(records.find("org/ns/room")->callback_name, "org/ns/me");
  EXPECT_EQ(records.find("org/ns/room")->expires_at_s, 5'000u);
  EXPECT_EQ(records.find("org/ns/gone"), nullptr) << "of a channel that is no more";
  EXPECT_EQ(use(records, &store, {"org/ns/room", "n", 2'000}, 1'500), "again");
  EXPECT_EQ(records.used(), 1u);
  EXPECT_EQ(store.disk.size(), 2u) << "the others are gone from the disk too";
}

TEST(ManagerRecords, ANonceThatCannotBeStoredIsNotUsed) {
  FakeStore store;
  ManagerRecords records(&store);
  store.broken = "disk full";
  EXPECT_EQ(use(records, &store, {"a", "n", 2'000}), "not recorded: disk full");
  store.broken.clear();
  EXPECT_EQ(use(records, &store, {"a", "n", 2'000}), "first");
}

TEST(ManagerRecords, OfTwoThatComeTogetherOneIsRefused) {
  FakeStore store;
  ManagerRecords records(&store);
  int first = 0;
  int again = 0;
  for (int i = 0; i < 2; ++i) {
    records.use({"a", "n", 2'000}, kNow, [&](auto used) { ++(used ? first : again); });
  }
  store.turn();
  EXPECT_EQ(first, 1);
  EXPECT_EQ(again, 1);
}

TEST(ManagerRecords, ARecordThatCannotBeReadStopsTheStart) {
  for (const char* name : {"manager/channel/x", "manager/nonce/x"}) {
    FakeStore store;
    store.disk[name] = "\xff\xff";
    ManagerRecords records(&store);
    const auto loaded = records.load([](const std::string&) { return true; }, kNow);
    ASSERT_FALSE(loaded);
    EXPECT_NE(loaded.error().find(name), std::string::npos);
  }
}

}  // namespace
}  // namespace slipway::test
