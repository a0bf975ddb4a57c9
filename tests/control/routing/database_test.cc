// What the database says and promises: error texts, restored records, limits, undoing, explanations, lists, memory,
// refusal of names with equal hashes, tables that join late.
#include <gtest/gtest.h>
#include <immintrin.h>

#include <random>

#include "route/route_mix.h"
#include "routing_fixture.h"

namespace slipway {
namespace {

constexpr NameText kText = {"org", "ns", "svc"};

Subscription sub(LinkIndex link, const Name& name, std::uint64_t id) {
  return {.link = link, .name = name, .text = kText, .subscription_id = id};
}

TEST(Database, ErrorTextsAreUpstreams) {
  Node node;
  auto& db = *node.database;
  const Name name = hash_name("org", "ns", "svc", {0, 7});
  EXPECT_EQ(db.subscribe(sub(3, name, 1)).error(), "connection not found: 3");
  EXPECT_EQ(db.subscribe(sub(0, name, 1)).error(), "connection not found: 0");
  EXPECT_EQ(db.subscribe(sub(kMaxLinks, name, 1)).error(), "connection not found: 16384");
  db.add_link(3, LinkClass::kEdge);
  db.add_link(4, LinkClass::kEdge);
  EXPECT_EQ(db.unsubscribe(sub(3, name, 1)).error(), "subscription not found");
  ASSERT_TRUE(db.subscribe(sub(3, name, 1)).has_value());
  EXPECT_EQ(db.unsubscribe(sub(3, hash_name("org", "ns", "svc", {0, 8}), 1)).error(),
            "id not found: 00000000-0000-0000-0000-000000000008");
  EXPECT_EQ(db.unsubscribe(sub(3, hash_name("org", "ns", "svc"), 1)).error(), "id not found: NULL_COMPONENT");
  EXPECT_EQ(db.unsubscribe(sub(3, name, 2)).error(), "subscription id not found: 2");
  EXPECT_EQ(db.unsubscribe(sub(4, name, 1)).error(), "subscription id not found: 1");
  EXPECT_EQ(node.links(name), std::vector<LinkIndex>{3});
}

TEST(Database, RepeatedAndRestoredRecords) {
  Node node;
  auto& db = *node.database;
  const Name name = hash_name("org", "ns", "svc", {0, 7});
  db.add_link(3, LinkClass::kEdge);
  EXPECT_EQ(db.subscribe(sub(3, name, 5))->kind, Change::Kind::kAdded);
  EXPECT_EQ(db.subscribe(sub(3, name, 5))->kind, Change::Kind::kNothing);
  EXPECT_EQ(db.link_subscriptions(3), 1u);
  EXPECT_TRUE(db.unsubscribe(sub(3, name, 5)).has_value());
  EXPECT_FALSE(db.matches(name));

  // Restored with id 0 after a reconnect, then given up under the id first used.
  ASSERT_TRUE(db.subscribe(sub(3, name, 0)).has_value());
  const auto change = db.unsubscribe(sub(3, name, 5));
  ASSERT_TRUE(change.has_value());
  EXPECT_EQ(change->subscription_id, 0u);
  EXPECT_FALSE(db.matches(name));

  // Not when another record stands beside the restored one.
  ASSERT_TRUE(db.subscribe(sub(3, name, 0)).has_value());
  ASSERT_TRUE(db.subscribe(sub(3, name, 9)).has_value());
  EXPECT_EQ(db.unsubscribe(sub(3, name, 5)).error(), "subscription id not found: 5");
  EXPECT_TRUE(db.unsubscribe(sub(3, name, 9)).has_value());
  EXPECT_TRUE(db.matches(name));
}

TEST(Database, LimitsAreToldAndHold) {
  Node node({.max_routes = 64, .max_link_subscriptions = 40});
  auto& db = *node.database;
  db.add_link(1, LinkClass::kEdge);
  db.add_link(2, LinkClass::kEdge);
  for (std::uint64_t i = 0; i < 40; ++i) {
    ASSERT_TRUE(db.subscribe({.link = 1, .name = test_name(i), .subscription_id = i + 1}).has_value());
  }
  const auto too_many = db.subscribe({.link = 1, .name = test_name(99), .subscription_id = 99});
  ASSERT_FALSE(too_many.has_value());
  EXPECT_NE(too_many.error().find("this link holds 40"), std::string::npos) << too_many.error();
  EXPECT_EQ(db.subscribe({.link = 1, .name = test_name(3), .subscription_id = 4})->kind, Change::Kind::kNothing);
  for (std::uint64_t i = 0; i < 24; ++i) {
    ASSERT_TRUE(db.subscribe({.link = 2, .name = test_name(100 + i), .subscription_id = 1}).has_value());
  }
  const auto full = db.subscribe({.link = 2, .name = test_name(200), .subscription_id = 1});
  ASSERT_FALSE(full.has_value());
  EXPECT_NE(full.error().find("the node holds 64"), std::string::npos) << full.error();
  ASSERT_TRUE(db.unsubscribe({.link = 1, .name = test_name(0), .subscription_id = 1}).has_value());
  EXPECT_TRUE(db.subscribe({.link = 2, .name = test_name(200), .subscription_id = 1}).has_value());
}

TEST(Database, BadLimitsAreRefused) {
  EXPECT_FALSE(SubscriptionDatabase::create(RouteSecret::from_seed(1), {.max_routes = 0}).has_value());
  EXPECT_FALSE(SubscriptionDatabase::create(RouteSecret::from_seed(1), {.max_routes = kMaxMaxRoutes + 1}).has_value());
}

// With a known secret two names of equal evidence can be computed; with a secret nobody can aim at one.
TEST(Database, RefusesANameWithTheHashOfAnother) {
  const auto secret = RouteSecret::from_seed(1);
  Node node({.max_routes = 1024}, 1, 1);
  auto& db = *node.database;
  db.add_link(1, LinkClass::kEdge);
  db.add_link(2, LinkClass::kEdge);
  const auto key = [&](int i) { return _mm_load_si128(reinterpret_cast<const __m128i*>(&secret.round_key[i])); };
  const auto first_rounds = [&](const Name& name) {
    const __m128i block = _mm_set_epi64x(static_cast<long long>(name.component[1]), static_cast<long long>(name.component[0]));
    return _mm_aesenc_si128(_mm_aesenc_si128(_mm_xor_si128(block, key(0)), key(1)), key(2));
  };
  const Name victim{{1, 2, 3}, {4, 5}};
  Name evil{{6, 7, 3}, {}};
  const __m128i difference = _mm_xor_si128(first_rounds(victim), first_rounds(evil));
  evil.id.low = victim.id.low ^ static_cast<std::uint64_t>(_mm_cvtsi128_si64(difference));
  evil.id.high = victim.id.high ^ static_cast<std::uint64_t>(_mm_extract_epi64(difference, 1));
  ASSERT_EQ(mix_name(secret, victim), mix_name(secret, evil));

  ASSERT_TRUE(db.subscribe({.link = 1, .name = victim, .subscription_id = 1}).has_value());
  const auto before = db.memory();
  const auto refused = db.subscribe({.link = 2, .name = evil, .text = {"a", "b", "c"}, .subscription_id = 1});
  ASSERT_FALSE(refused.has_value());
  EXPECT_NE(refused.error().find("has the routing hash of another name"), std::string::npos) << refused.error();
  EXPECT_EQ(node.links(victim), std::vector<LinkIndex>{1});
  EXPECT_FALSE(db.matches({evil.component, kNullId})) << "nothing is left of the refused name";
  EXPECT_EQ(db.memory().names, before.names);
  EXPECT_EQ(db.routes(), 1u);
  ASSERT_TRUE(db.unsubscribe({.link = 1, .name = victim, .subscription_id = 1}).has_value());
  EXPECT_TRUE(db.subscribe({.link = 2, .name = evil, .subscription_id = 1}).has_value());
}

TEST(Database, UndoingARemovalBringsTextBack) {
  Node node;
  auto& db = *node.database;
  db.add_link(1, LinkClass::kPeer);
  const Name name = hash_name("org", "ns", "svc", {0, 7});
  ASSERT_TRUE(db.subscribe(sub(1, name, 5)).has_value());
  const auto removed = db.unsubscribe(sub(1, name, 5));
  ASSERT_TRUE(removed.has_value() && removed->transition.has_value());
  EXPECT_FALSE(removed->transition->still_matched);
  EXPECT_NE(db.text_of(name).find('#'), std::string::npos);
  const auto undone = db.undo(*removed);
  ASSERT_TRUE(undone.has_value() && undone->has_value());
  EXPECT_TRUE((*undone)->reachable);
  EXPECT_EQ(db.text_of(name), "org/ns/svc/00000000-0000-0000-0000-000000000007");
  EXPECT_EQ(node.links(name), std::vector<LinkIndex>{1});
  // After the link is gone there is nothing to undo.
  const auto added = db.subscribe(sub(1, name, 6));
  ASSERT_TRUE(db.remove_link(1, 100, {}));
  EXPECT_FALSE(db.undo(*added)->has_value());
}

TEST(Database, ExplainsChoiceAndDrops) {
  Node node;
  auto& db = *node.database;
  const Name service = hash_name("org", "ns", "svc");
  const Name one{service.component, {0, 1}};
  const Name two{service.component, {0, 2}};
  db.add_link(1, LinkClass::kEdge);
  db.add_link(2, LinkClass::kPeer);
  db.add_link(3, LinkClass::kRemote);
  EXPECT_NE(db.explain({.name = service}).drop.find("no_route: nobody"), std::string::npos);
  ASSERT_TRUE(db.subscribe(sub(1, one, 1)).has_value());
  ASSERT_TRUE(db.subscribe(sub(1, two, 2)).has_value());
  ASSERT_TRUE(db.subscribe(sub(2, two, 1)).has_value());
  ASSERT_TRUE(db.subscribe(sub(3, one, 1)).has_value());

  auto e = db.explain({.name = service});
  EXPECT_EQ(e.name, "org/ns/svc");
  EXPECT_EQ(e.total, 3u);
  EXPECT_TRUE(e.drop.empty());
  EXPECT_NE(e.anycast.find("link 1 (edge)"), std::string::npos) << e.anycast;
  EXPECT_EQ(e.multicast, "3 links, each once");
  for (const auto& match : e.matches) {
    EXPECT_EQ(match.ids, match.link == 1 ? 2u : 1u);
    EXPECT_EQ(match.candidate, match.link == 1);
  }
  e = db.explain({.name = service, .order = AnycastOrder::kUpstream});
  EXPECT_NE(e.anycast.find("link 3 (remote)"), std::string::npos) << e.anycast;
  e = db.explain({.name = service, .from = 1});
  EXPECT_NE(e.anycast.find("link 2 (peer)"), std::string::npos) << e.anycast;
  e = db.explain({.name = service, .hop_limit = 1});
  EXPECT_NE(e.drop.find("hop_limit"), std::string::npos);
  EXPECT_EQ(e.anycast, "nobody");
  e = db.explain({.name = {service.component, {0, 3}}});
  EXPECT_NE(e.drop.find("2 ids of this service are known, but not this one"), std::string::npos) << e.drop;
  ASSERT_TRUE(db.unsubscribe(sub(1, two, 2)).has_value());
  e = db.explain({.name = two, .from = 2});
  EXPECT_NE(e.drop.find("only_ingress"), std::string::npos) << e.drop;
  db.add_link(5, LinkClass::kPeer);
  e = db.explain({.name = two, .from = 5, .classes = kAllButPeer});
  EXPECT_NE(e.drop.find("only peers"), std::string::npos) << e.drop;
}

TEST(Database, ListsInstancesAndLinksInPages) {
  Node node;
  auto& db = *node.database;
  db.add_link(1, LinkClass::kEdge);
  db.add_link(2, LinkClass::kEdge);
  const Name service = hash_name("org", "ns", "svc");
  std::set<std::uint64_t> expected;
  for (std::uint64_t i = 1; i <= 25; ++i) {
    ASSERT_TRUE(db.subscribe(sub(static_cast<LinkIndex>(1 + i % 2), {service.component, {0, i}}, i)).has_value());
    expected.insert(i);
  }
  ASSERT_TRUE(db.subscribe(sub(1, hash_name("org", "ns", "other"), 1)).has_value());
  std::set<std::uint64_t> seen;
  std::uint32_t from = 0;
  do {
    const auto page = db.instances(service, from, 10);
    EXPECT_LE(page.rows.size(), 10u);
    for (const auto& row : page.rows) {
      EXPECT_TRUE(seen.insert(row.name.id.low).second);
      EXPECT_EQ(row.only_link, 1 + row.name.id.low % 2);
    }
    from = page.next;
  } while (from != 0);
  EXPECT_EQ(seen, expected);
  EXPECT_TRUE(db.instances(hash_name("a", "b", "c"), 0, 10).rows.empty());
  EXPECT_EQ(db.names_of_link(2, 0, 100).rows.size(), 13u);
  EXPECT_EQ(db.names_of_link(7, 0, 100).rows.size(), 0u);
  EXPECT_EQ(db.list(0, 100).rows.size(), 26u);
}

// 4,096 members and more: one joins and leaves at the same number of updates as the second did, within a few.
TEST(Database, TheLargestGroupCostsNoMoreThanASmallOne) {
  Node node;
  auto& db = *node.database;
  const Name name = hash_name("org", "ns", "channel", {0, 7});
  std::uint64_t most = 0;
  constexpr LinkIndex kMembers = kMaxLinks - 1;
  for (LinkIndex link = 1; link <= kMembers; ++link) {
    db.add_link(link, static_cast<LinkClass>(link % 4));
    const std::uint64_t before = node.updates;
    ASSERT_TRUE(db.subscribe(sub(link, name, 1)).has_value());
    most = std::max(most, node.updates - before);
  }
  EXPECT_EQ(node.links(name).size(), kMembers);
  EXPECT_EQ(node.tables[0]->link_count(burst_lookup(*node.tables[0], name), class_bit(LinkClass::kPeer)), kMaxLinks / 4);
  std::vector<LinkIndex> order(kMembers);
  for (LinkIndex i = 0; i < kMembers; ++i) {
    order[i] = i + 1;
  }
  std::shuffle(order.begin(), order.end(), std::mt19937(5));
  for (const LinkIndex link : order) {
    const std::uint64_t before = node.updates;
    ASSERT_TRUE(db.remove_link(link, 10, {}));
    most = std::max(most, node.updates - before);
    if (link % 1024 == 0) {
      ASSERT_EQ(node.links(name).size(), db.routes());
    }
  }
  EXPECT_LE(most, 16u);
  EXPECT_EQ(db.routes(), 0u);
  EXPECT_LE(db.memory().table.lines, 3000u) << "lines are used again";
}

void expect_bytes(const Node& node, double table_bound, double total_bound) {
  const auto memory = node.database->memory();
  EXPECT_EQ(memory.route_limit, 1'100'000u);
  EXPECT_LE(memory.table_bytes_per_route, table_bound);
  EXPECT_LE(memory.bytes_per_route, total_bound);
  const auto table = node.tables[0]->memory(memory.table);
  EXPECT_EQ(table.used_bytes, memory.table_bytes);
  EXPECT_LE(table.mapped_bytes, table.used_bytes + 3 * (2u << 20)) << "backed in steps of 2 MiB for each of three areas";
  ::testing::Test::RecordProperty("table_bytes_per_route", std::to_string(memory.table_bytes_per_route));
  ::testing::Test::RecordProperty("bytes_per_route", std::to_string(memory.bytes_per_route));
}

constexpr std::uint32_t kScale = kSanitized ? 10 : 1;

TEST(Memory, ThousandServicesOfThousandInstances) {
  for (const bool own_link : {true, false}) {
    Node node({.max_routes = 1'100'000});
    auto& db = *node.database;
    for (LinkIndex link = 1; link <= 1000; ++link) {
      db.add_link(link, LinkClass::kEdge);
    }
    for (std::uint32_t s = 0; s < 1000 / kScale; ++s) {
      const std::string service = "service-" + std::to_string(s);
      const Name prefix = hash_name("organization", "namespace", service);
      for (std::uint32_t i = 0; i < 1000; ++i) {
        const LinkIndex link = own_link ? 1 + i : 1 + s % 1000;
        const NameId id{(std::uint64_t{s} + 1) * 0x9E3779B97F4A7C15u, i};
        ASSERT_TRUE(db.subscribe({.link = link, .name = {prefix.component, id}, .text = {"organization", "namespace", service},
                                  .subscription_id = i + 1})
                        .has_value());
      }
    }
    expect_bytes(node, 24, 200);
  }
}

TEST(Memory, MillionServicesOfOneInstance) {
  Node node({.max_routes = 1'100'000});
  auto& db = *node.database;
  for (LinkIndex link = 1; link <= 100; ++link) {
    db.add_link(link, LinkClass::kEdge);
  }
  for (std::uint32_t s = 0; s < 1'000'000 / kScale; ++s) {
    const std::string service = "service-" + std::to_string(s);
    const Name name = hash_name("organization", "namespace", service, {s, s});
    ASSERT_TRUE(db.subscribe({.link = 1 + s % 100, .name = name, .text = {"organization", "namespace", service},
                              .subscription_id = s + 1})
                    .has_value());
  }
  expect_bytes(node, 48, 200);
}

// Subscribing and unsubscribing at length with two copies; in the end all agree.
TEST(Database, ChurnThroughTwoCopies) {
  Node node({.max_routes = 400'000}, 2);
  auto& db = *node.database;
  constexpr std::uint64_t kChanges = 500'000 / kScale;
  for (LinkIndex link = 1; link <= 50; ++link) {
    db.add_link(link, LinkClass::kEdge);
  }
  const auto nth = [](std::uint64_t i) { return test_name(i / 3, {i, i * 7}); };
  constexpr std::uint64_t kHeld = 100'000 / kScale;
  for (std::uint64_t i = 0; i < kChanges; ++i) {
    ASSERT_TRUE(db.subscribe({.link = static_cast<LinkIndex>(1 + i % 50), .name = nth(i), .subscription_id = i}).has_value());
    if (i >= kHeld) {
      const std::uint64_t old = i - kHeld;
      ASSERT_TRUE(db.unsubscribe({.link = static_cast<LinkIndex>(1 + old % 50), .name = nth(old), .subscription_id = old}).has_value());
    }
  }
  EXPECT_EQ(db.routes(), kHeld);
  for (std::uint64_t i = kChanges - kHeld; i < kChanges; i += 97) {
    for (const auto& table : node.tables) {
      EXPECT_EQ(burst_lookup(*table, nth(i)), RouteMatch::single(static_cast<LinkIndex>(1 + i % 50), LinkClass::kEdge));
    }
    EXPECT_FALSE(burst_lookup(*node.tables[1], nth(i - kHeld)).found());
  }
}

}  // namespace
}  // namespace slipway
