// A worker's table by itself: updates made by hand, bursts, choice and fan-out. What the control thread makes of it is
// tested against a model in tests/control/routing.
#include "route/route_table.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <map>
#include <set>
#include <vector>

#include "frame/frame.h"

namespace slipway {
namespace {

const RouteSecret kSecret = RouteSecret::from_seed(42);

Name nth_name(std::uint64_t i) { return {{1, 2, i / 10}, {i, i}}; }

RouteTable make_table(std::uint32_t max_names = 4096) {
  auto table = RouteTable::create(kSecret, max_names);
  EXPECT_TRUE(table.has_value()) << table.error();
  return std::move(*table);
}

void set_slot(RouteTable& table, std::uint32_t slot, const Name& name, RouteMatch match) {
  const RouteEvidence evidence = mix_name(kSecret, name);
  RouteUpdate update;
  update.op = RouteOp::kSetSlot;
  update.place = {.evidence = evidence.bits, .slot = slot, .target = 0, .value = match.value()};
  table.apply(update);
}

void place(RouteTable& table, RouteOp op, std::uint32_t slot, std::uint32_t target = 0, std::uint16_t filter = 0,
           std::uint8_t mask = 0, std::uint16_t target_filter = 0, RouteMatch match = {}) {
  RouteUpdate update;
  update.op = op;
  update.filter = filter;
  update.mask = mask;
  update.target_filter = target_filter;
  update.place = {.evidence = 0, .slot = slot, .target = target, .value = match.value()};
  table.apply(update);
}

void words(RouteTable& table, std::uint32_t line, std::map<std::uint32_t, std::uint32_t> values) {
  for (const auto& [word, value] : values) {
    RouteUpdate update;
    update.count = 1;
    update.words[0] = {line * RouteTable::kLineWords + word, value};
    table.apply(update);
  }
}

// A group inline: links in order of rank, and how many of each rank.
RouteMatch inline_group(RouteTable& table, std::uint32_t line, const std::vector<LinkIndex>& links,
                        std::array<std::uint32_t, 4> counts) {
  words(table, line, {{group_word::kRoot, 0}, {group_word::kDepth, 0}, {group_word::kCounts, counts[0] | counts[1] << 16},
                      {group_word::kCounts + 1, counts[2] | counts[3] << 16}, {group_word::kCursors, 0}, {group_word::kCursors + 1, 0}});
  for (std::uint32_t i = 0; i < links.size(); ++i) {
    words(table, line, {{group_word::kInline + i, links[i]}});
  }
  return RouteMatch::group(line);
}

TEST(RouteKey, WireAndNameMixAlike) {
  auto table = make_table();
  const Name name = nth_name(5);
  const RouteEvidence evidence = mix_name(kSecret, name);
  set_slot(table, BucketRange::of(table.buckets()).at(evidence.home_hash()) * RouteTable::kSlots + 2, name, RouteMatch::single(9, LinkClass::kPeer));
  std::array<std::byte, 48> bytes;
  for (std::size_t shift = 0; shift < 8; ++shift) {
    store_name(bytes.data() + shift, name);
    const std::byte* at = bytes.data() + shift;
    RouteMatch match;
    table.lookup({&at, 1}, &match);
    EXPECT_EQ(match, RouteMatch::single(9, LinkClass::kPeer));
    EXPECT_EQ(match.link(), 9u);
    EXPECT_EQ(match.link_class(), LinkClass::kPeer);
  }
  EXPECT_NE(mix_name(RouteSecret::from_seed(43), name), evidence);
  EXPECT_NE(mix_name(RouteSecret::random(), name), mix_name(RouteSecret::random(), name));
}

TEST(RouteKey, EveryBitOfANameChangesTheEvidence) {
  const Name name = nth_name(1);
  std::set<std::uint64_t> seen;
  for (int word = 0; word < 5; ++word) {
    for (int bit = 0; bit < 64; ++bit) {
      Name other = name;
      const std::uint64_t flip = std::uint64_t{1} << bit;
      (word < 3 ? other.component[static_cast<std::size_t>(word)] : word == 3 ? other.id.high : other.id.low) ^= flip;
      const auto evidence = mix_name(kSecret, other);
      EXPECT_TRUE(seen.insert(evidence.bits).second);
    }
  }
  EXPECT_EQ(seen.size(), 320u);
}

TEST(BucketRange, GrowsByOneAndMovesNothingElse) {
  std::vector<std::uint32_t> hashes;
  for (std::uint32_t i = 0; i < 2000; ++i) {
    hashes.push_back(i * 2654435761u);
  }
  for (std::uint32_t n = 1; n < 300; ++n) {
    const auto before = BucketRange::of(n);
    const auto after = BucketRange::of(n + 1);
    for (const auto hash : hashes) {
      ASSERT_LT(before.at(hash), n);
      if (after.at(hash) != before.at(hash)) {
        ASSERT_EQ(after.at(hash), n);
        ASSERT_EQ(before.at(hash), before.next_split());
      }
    }
  }
}

TEST(RouteTable, AnEmptyTableKnowsNobody) {
  auto table = make_table();
  std::array<std::array<std::byte, 40>, kMaxBurst> names;
  std::array<const std::byte*, kMaxBurst> at;
  std::array<RouteMatch, kMaxBurst> matches;
  for (std::size_t i = 0; i < kMaxBurst; ++i) {
    store_name(names[i].data(), nth_name(i));
    at[i] = names[i].data();
    matches[i] = RouteMatch::group(3);
  }
  table.lookup(at, matches.data());
  for (const auto match : matches) {
    EXPECT_FALSE(match.found());
  }
  table.lookup({}, matches.data());
  EXPECT_EQ(table.choose_one({}, 1, {}), kNoLink);
  FanoutPosition position;
  std::array<LinkIndex, 4> out;
  EXPECT_EQ(table.collect_links({}, 1, kAllClasses, position, out), 0u);
  EXPECT_TRUE(position.finished);
}

// A full burst, half of it outside the home bucket, half unknown; with and without the filter bit.
TEST(RouteTable, TheFilterDecidesWhetherTheOtherBucketIsRead) {
  auto table = make_table();
  const auto range = BucketRange::of(table.buckets());
  Name name = nth_name(0);
  for (std::uint64_t i = 1; range.at(mix_name(kSecret, name).home_hash()) == range.at(mix_name(kSecret, name).other_hash()); ++i) {
    name = nth_name(i);
  }
  const auto evidence = mix_name(kSecret, name);
  const std::uint32_t home = range.at(evidence.home_hash());
  const std::uint32_t other = range.at(evidence.other_hash());
  set_slot(table, other * RouteTable::kSlots + 3, name, RouteMatch::single(5, LinkClass::kEdge));
  EXPECT_FALSE(table.lookup_one(name).found());
  const std::uint16_t bit = filter_bits(evidence.home_hash());
  place(table, RouteOp::kFilter, home, 0, static_cast<std::uint16_t>(~bit));
  EXPECT_FALSE(table.lookup_one(name).found());
  place(table, RouteOp::kFilter, home, 0, bit);
  std::array<std::byte, 40> bytes;
  store_name(bytes.data(), name);
  std::array<const std::byte*, kMaxBurst> at;
  at.fill(bytes.data());
  std::array<RouteMatch, kMaxBurst> matches;
  table.lookup(at, matches.data());
  for (const auto match : matches) {
    EXPECT_EQ(match, RouteMatch::single(5, LinkClass::kEdge));
  }
  // Home again: the filter of a bucket survives what happens to its slots.
  place(table, RouteOp::kMove, other * RouteTable::kSlots + 3, home * RouteTable::kSlots);
  EXPECT_EQ(table.lookup_one(name).link(), 5u);
  place(table, RouteOp::kValue, home * RouteTable::kSlots, 0, 0, 0, 0, RouteMatch::single(6, LinkClass::kLocal));
  EXPECT_EQ(table.lookup_one(name), RouteMatch::single(6, LinkClass::kLocal));
  place(table, RouteOp::kMove, home * RouteTable::kSlots, other * RouteTable::kSlots + 1);
  EXPECT_EQ(table.lookup_one(name).link(), 6u);
  place(table, RouteOp::kClear, other * RouteTable::kSlots + 1);
  EXPECT_FALSE(table.lookup_one(name).found());
}

// Names at home, in their other bucket, and unknown ones with the short form of a known one; bursts of every size.
TEST(RouteTable, BurstsOfEverySizeFindTheSameBothWays) {
  auto table = make_table();
  const auto range = BucketRange::of(table.buckets());
  std::vector<Name> names;
  std::vector<std::uint32_t> used(range.buckets);
  std::map<std::pair<std::uint32_t, std::uint32_t>, Name> by_short_form;  // bucket, short form
  std::vector<std::uint16_t> filter(range.buckets);
  for (std::uint64_t i = 0; names.size() < 220; ++i) {
    const Name name = nth_name(i);
    const auto evidence = mix_name(kSecret, name);
    const std::uint32_t home = range.at(evidence.home_hash());
    const std::uint32_t bucket = i % 3 == 0 ? range.at(evidence.other_hash()) : home;
    if (used[bucket] == RouteTable::kSlots) {
      continue;
    }
    set_slot(table, bucket * RouteTable::kSlots + used[bucket]++, name, RouteMatch::single(static_cast<LinkIndex>(1 + i), LinkClass::kEdge));
    if (bucket != home) {
      filter[home] |= filter_bits(evidence.home_hash());
      place(table, RouteOp::kFilter, home, 0, filter[home]);
    }
    by_short_form.emplace(std::pair(bucket, evidence.short_form()), name);
    names.push_back(name);
  }
  std::uint32_t lookalikes = 0;
  const std::size_t known = names.size();
  for (std::uint64_t i = 1'000'000; lookalikes < 40; ++i) {
    const auto evidence = mix_name(kSecret, nth_name(i));
    const bool alike = by_short_form.contains({range.at(evidence.home_hash()), evidence.short_form()}) ||
                       by_short_form.contains({range.at(evidence.other_hash()), evidence.short_form()});
    if (alike || i % 4000 == 0) {
      names.push_back(nth_name(i));
      lookalikes += alike ? 1 : 0;
    }
  }
  std::vector<std::array<std::byte, 40>> bytes(names.size());
  for (std::size_t i = 0; i < names.size(); ++i) {
    store_name(bytes[i].data(), names[i]);
  }
  for (const bool wide : {false, true}) {
    table.allow_wide(wide);
    for (std::size_t size = 1; size <= kMaxBurst; ++size) {
      for (std::size_t first = 0; first < names.size(); ++first) {
        std::array<const std::byte*, kMaxBurst> at;
        std::array<RouteMatch, kMaxBurst + 1> matches;
        matches.fill(RouteMatch::group(7));
        for (std::size_t i = 0; i < size; ++i) {
          at[i] = bytes[(first + i * 37) % names.size()].data();
        }
        table.lookup({at.data(), size}, matches.data());
        for (std::size_t i = 0; i < size; ++i) {
          const std::size_t which = (first + i * 37) % names.size();
          ASSERT_EQ(matches[i], table.lookup_one(names[which])) << "wide " << wide << ", burst of " << size;
          ASSERT_EQ(matches[i].found(), which < known);
        }
        ASSERT_EQ(matches[size], RouteMatch::group(7)) << "wrote behind the burst";
      }
    }
  }
}

TEST(RouteTable, ASplitMovesWhatItsMaskSays) {
  auto table = make_table();
  const auto before = BucketRange::of(table.buckets());
  const auto after = BucketRange::of(table.buckets() + 1);
  Name stays = nth_name(0);
  Name goes = nth_name(0);
  const auto home = [](const BucketRange& range, const Name& name) { return range.at(mix_name(kSecret, name).home_hash()); };
  for (std::uint64_t i = 0; home(before, stays) != 0 || home(after, stays) != 0; ++i) {
    stays = nth_name(i);
  }
  for (std::uint64_t i = 0; home(before, goes) != 0 || home(after, goes) != table.buckets(); ++i) {
    goes = nth_name(i);
  }
  set_slot(table, 0, stays, RouteMatch::single(1, LinkClass::kEdge));
  set_slot(table, 1, goes, RouteMatch::single(2, LinkClass::kEdge));
  place(table, RouteOp::kSplit, before.next_split(), table.buckets(), 0, 0b10);
  EXPECT_EQ(table.buckets(), RouteTable::kFirstBuckets + 1);
  EXPECT_EQ(table.lookup_one(stays).link(), 1u);
  EXPECT_EQ(table.lookup_one(goes).link(), 2u);
}

TEST(Choice, ClassesInBothOrders) {
  auto table = make_table();
  // local 1; edge 2, 3; peer 4; remote 5
  const auto group = inline_group(table, 1, {1, 2, 3, 4, 5}, {1, 2, 1, 1});
  const auto chosen = [&](AnycastOrder order, LinkIndex ingress, ClassMask classes) {
    std::multiset<LinkIndex> links;
    for (int i = 0; i < 6; ++i) {
      links.insert(table.choose_one(group, ingress, {.order = order, .classes = classes}));
    }
    return links;
  };
  using Links = std::multiset<LinkIndex>;
  const auto kNear = AnycastOrder::kNearest;
  const auto kUp = AnycastOrder::kUpstream;
  EXPECT_EQ(chosen(kNear, kNoLink, kAllClasses), (Links{1, 1, 2, 2, 3, 3})) << "local and edge alike, in turn";
  EXPECT_EQ(chosen(kNear, 2, kAllClasses), (Links{1, 1, 1, 3, 3, 3})) << "the others evenly";
  const auto edge_only = class_bit(LinkClass::kEdge);
  EXPECT_EQ(chosen(kNear, kNoLink, edge_only), (Links{2, 2, 2, 3, 3, 3}));
  const ClassMask far = class_bit(LinkClass::kPeer) | class_bit(LinkClass::kRemote);
  EXPECT_EQ(chosen(kNear, kNoLink, far), (Links{4, 4, 4, 4, 4, 4}));
  EXPECT_EQ(chosen(kNear, 4, far), (Links{5, 5, 5, 5, 5, 5}));
  EXPECT_EQ(chosen(kUp, kNoLink, kAllClasses), (Links{1, 1, 1, 1, 1, 1}));
  EXPECT_EQ(chosen(kUp, 1, kAllClasses), (Links{5, 5, 5, 5, 5, 5}));
  EXPECT_EQ(chosen(kUp, 1, kAllClasses & ~class_bit(LinkClass::kRemote)), (Links{4, 4, 4, 4, 4, 4}));
  EXPECT_EQ(chosen(kUp, 4, class_bit(LinkClass::kPeer) | edge_only), (Links{2, 2, 2, 3, 3, 3}));
  EXPECT_EQ(chosen(kNear, kNoLink, 0), (Links{0, 0, 0, 0, 0, 0}));
  const auto single = RouteMatch::single(7, LinkClass::kPeer);
  EXPECT_EQ(table.choose_one(single, 7, {}), kNoLink) << "never back";
  EXPECT_EQ(table.choose_one(single, kNoLink, {.classes = kAllButPeer}), kNoLink);
  EXPECT_EQ(table.choose_one(single, 6, {}), 7u);
}

TEST(Choice, LeastLoadedTakesTheLeastAndTakesTurnsOnTies) {
  auto table = make_table();
  const auto group = inline_group(table, 1, {10, 11, 12, 13}, {0, 4, 0, 0});
  std::vector<std::uint32_t> load(kMaxLinks, 5);
  const AnycastRules rules{.policy = AnycastPolicy::kLeastLoaded, .load = load.data()};
  std::multiset<LinkIndex> links;
  for (int i = 0; i < 8; ++i) {
    links.insert(table.choose_one(group, kNoLink, rules));
  }
  EXPECT_EQ(links, (std::multiset<LinkIndex>{10, 10, 11, 11, 12, 12, 13, 13}));
  load[12] = 1;
  for (int i = 0; i < 8; ++i) {
    EXPECT_EQ(table.choose_one(group, kNoLink, rules), 12u);
    EXPECT_NE(table.choose_one(group, 12, rules), 12u);
  }
}

// A tree of depth two: two leaves under one index line.
TEST(Fanout, InPartsRotatedEachOnce) {
  auto table = make_table();
  constexpr std::uint32_t kMembers = 25;
  words(table, 1, {{group_word::kRoot, 2}, {group_word::kDepth, 2}, {group_word::kCounts, 5 | 10u << 16},
                   {group_word::kCounts + 1, 10}, {group_word::kCursors, 0}, {group_word::kCursors + 1, 0}});
  words(table, 2, {{0, 3}, {1, 4}});
  for (std::uint32_t i = 0; i < kMembers; ++i) {
    words(table, 3 + i / 16, {{i % 16, 100 + i}});
  }
  const auto group = RouteMatch::group(1);
  EXPECT_EQ(table.link_count(group), kMembers);
  EXPECT_EQ(table.link_count(group, class_bit(LinkClass::kPeer)), 10u);
  EXPECT_EQ(table.link_count(group, class_bit(LinkClass::kRemote)), 0u);
  for (std::uint32_t start = 0; start < 60; ++start) {
    for (std::size_t part = 1; part <= 30; part += 3) {
      std::vector<LinkIndex> got;
      std::vector<LinkIndex> out(part);
      FanoutPosition at{.start = start};
      while (!at.finished) {
        const auto n = table.collect_links(group, 103, kAllClasses, at, out);
        got.insert(got.end(), out.begin(), out.begin() + n);
      }
      if (start % kMembers != 3) {
        ASSERT_EQ(got.front(), 100 + start % kMembers) << "who is first rotates";
      }
      std::sort(got.begin(), got.end());
      ASSERT_EQ(got.size(), kMembers - 1);
      ASSERT_EQ(std::unique(got.begin(), got.end()), got.end());
      ASSERT_EQ(std::count(got.begin(), got.end(), 103), 0);
    }
  }
  // No room: nothing is passed over.
  FanoutPosition at;
  EXPECT_EQ(table.collect_links(group, kNoLink, kAllClasses, at, {}), 0u);
  EXPECT_FALSE(at.finished);
}

TEST(Memory, GrowsOnlyAsToldAndWithinItsLimit) {
  auto table = make_table(150'000);
  const auto limits = table.limits();
  const auto start = table.memory({table.buckets(), 1});
  EXPECT_EQ(start.used_bytes, 64u * 72 + 64);
  EXPECT_EQ(start.mapped_bytes, 3u * (2u << 20)) << "one step of each area";
  ASSERT_TRUE(table.extend({33'000, 1}).has_value());
  EXPECT_EQ(table.memory({}).mapped_bytes, 4u * (2u << 20));
  const auto refused = table.extend({limits.buckets + 1, 1});
  ASSERT_FALSE(refused.has_value());
  EXPECT_NE(refused.error().find("raise the limit on routes"), std::string::npos);
  EXPECT_EQ(table.memory({}).mapped_bytes, 4u * (2u << 20));
  RouteTable moved = std::move(table);
  EXPECT_EQ(moved.buckets(), RouteTable::kFirstBuckets);
  EXPECT_FALSE(moved.lookup_one(nth_name(1)).found());
}

}  // namespace
}  // namespace slipway
