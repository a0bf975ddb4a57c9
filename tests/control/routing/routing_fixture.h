#pragma once
// A database with worker copies fed by it, and short ways to ask them.

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "frame/frame.h"
#include "route/route_table.h"
#include "routing/subscription_database.h"

namespace slipway {

inline std::vector<LinkIndex> links_of(const RouteTable& table, RouteMatch match, ClassMask classes = kAllClasses,
                                       LinkIndex ingress = kNoLink, std::uint32_t start = 0, std::size_t part = 64) {
  std::vector<LinkIndex> links;
  std::vector<LinkIndex> out(part);
  FanoutPosition at{.start = start};
  while (!at.finished) {
    const auto n = table.collect_links(match, ingress, classes, at, out);
    links.insert(links.end(), out.begin(), out.begin() + n);
  }
  return links;
}

inline std::vector<LinkIndex> sorted(std::vector<LinkIndex> links) {
  std::sort(links.begin(), links.end());
  return links;
}

// Through the burst path, from bytes as they lie in a frame.
inline RouteMatch burst_lookup(const RouteTable& table, const Name& name) {
  std::array<std::byte, 41> bytes;
  store_name(bytes.data() + 1, name);  // packets are not aligned
  const std::byte* at = bytes.data() + 1;
  RouteMatch match;
  table.lookup({&at, 1}, &match);
  return match;
}

struct Node {
  explicit Node(RoutingLimits limits = {.max_routes = 1u << 20}, std::size_t workers = 1, std::uint64_t seed = 1) {
    auto made = SubscriptionDatabase::create(RouteSecret::from_seed(seed), limits);
    EXPECT_TRUE(made.has_value()) << made.error();
    database = std::move(*made);
    for (std::size_t i = 0; i < workers; ++i) {
      auto table = database->make_table();
      EXPECT_TRUE(table.has_value()) << table.error();
      tables.push_back(std::make_unique<RouteTable>(std::move(*table)));
      auto attached = database->attach(*tables.back());
      EXPECT_TRUE(attached.has_value());
    }
    database->set_post([this](const RouteUpdate& update) {
      ++updates;
      for (auto& table : tables) {
        table->apply(update);
      }
    });
  }
  [[nodiscard]] std::vector<LinkIndex> links(const Name& name) const {
    return sorted(links_of(*tables[0], burst_lookup(*tables[0], name)));
  }

  std::unique_ptr<SubscriptionDatabase> database;
  std::vector<std::unique_ptr<RouteTable>> tables;
  std::uint64_t updates = 0;
};

inline Name test_name(std::uint64_t service, NameId id = kNullId) {
  Name name;
  name.component = {0x1111, 0x2222, service * 0x9E3779B97F4A7C15u + 1};
  name.id = id;
  return name;
}

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
inline constexpr bool kSanitized = true;
#else
inline constexpr bool kSanitized = false;
#endif

}  // namespace slipway
