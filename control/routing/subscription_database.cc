// The database itself: its making, the tables that hang on it, and how its records find each other.
#include "routing/subscription_database.h"

#include <fmt/format.h>

#include <algorithm>
#include <cassert>
#include <utility>

#include "routing/subscription_index.h"

namespace slipway {
namespace {
constexpr std::size_t kTextBytesPerRoute = 256;  // address space; what is used is backed
constexpr std::size_t kLeastTextBytes = 64u << 20;
constexpr std::uint32_t kLinesPerStep = (2u << 20) / sizeof(RouteTable::Line);  // tables grow by 2 MiB
static_assert(sizeof(RouteTable::Line) == sizeof(RouteTable::Bucket));
static_assert(std::size_t{kMaxMaxRoutes} * kTextBytesPerRoute / 8 <= ~std::uint32_t{0}, "a text reference has 32 bits");
static_assert(kMaxMaxRoutes < 1u << 29, "an entry's set is a member's number or a group's line");
}  // namespace

std::expected<std::unique_ptr<SubscriptionDatabase>, std::string> SubscriptionDatabase::create(const RouteSecret& secret,
                                                                                               const RoutingLimits& limits) {
  if (limits.max_routes < 64 || limits.max_routes > kMaxMaxRoutes) {
    return std::unexpected(fmt::format("the limit on routes is {}; it can be 64 to {}", limits.max_routes, kMaxMaxRoutes));
  }
  const TableExtent table_limits = RouteTable::limits_for(2 * limits.max_routes);
  std::unique_ptr<SubscriptionDatabase> database(new SubscriptionDatabase(secret, limits, table_limits));
  if (!database->valid()) {
    return std::unexpected(fmt::format(
        "reserving address space for {} routes: the kernel refused; lower the limit on routes, or raise `ulimit -v` or "
        "vm.overcommit_memory",
        limits.max_routes));
  }
  return database;
}

SubscriptionDatabase::SubscriptionDatabase(const RouteSecret& secret, const RoutingLimits& limits,
                                           const TableExtent& table_limits)
    : limits_(limits),
      secret_(secret),
      post_([](const RouteUpdate&) {}),
      extent_{RouteTable::kFirstBuckets, 1},
      names_(secret, 2 * limits.max_routes, table_limits.buckets),
      groups_(table_limits.lines),
      prefixes_(limits.max_routes),
      entries_(limits.max_routes),
      members_(limits.max_routes),
      prefix_members_(limits.max_routes),
      member_index_(limits.max_routes),
      prefix_member_index_(limits.max_routes),
      texts_(std::max(kLeastTextBytes, std::size_t{limits.max_routes} * kTextBytesPerRoute), secret.round_key[0][0]),
      links_(kMaxLinks) {
  const auto post = [this](const RouteUpdate& update) { post_(update); };
  names_.connect(this, post, [this](std::uint32_t buckets) { return extend({buckets, 0}); });
  groups_.connect(post, [this](std::uint32_t lines) { return extend({0, lines}); });
}

bool SubscriptionDatabase::valid() const {
  return names_.valid() && groups_.valid() && prefixes_.valid() && entries_.valid() && members_.valid() &&
         prefix_members_.valid() && member_index_.valid() && prefix_member_index_.valid() && texts_.valid();
}

void SubscriptionDatabase::set_post(Post post) { post_ = std::move(post); }

std::expected<RouteTable, std::string> SubscriptionDatabase::make_table() const {
  return RouteTable::create(secret_, 2 * limits_.max_routes);
}

std::expected<void, std::string> SubscriptionDatabase::attach(RouteTable& table) {
  if (auto backed = table.extend(extent_); !backed) {
    return backed;
  }
  groups_.fill(table);
  names_.fill(table);
  tables_.push_back(&table);
  return {};
}

void SubscriptionDatabase::detach(RouteTable& table) { std::erase(tables_, &table); }

void SubscriptionDatabase::reattach(const RouteTable* old_place, RouteTable& table) {
  std::replace(tables_.begin(), tables_.end(), const_cast<RouteTable*>(old_place), &table);
}

// Backs all tables in steps, so that most calls find it done.
bool SubscriptionDatabase::extend(const TableExtent& wanted) {
  if (wanted.buckets <= extent_.buckets && wanted.lines <= extent_.lines) {
    return true;
  }
  const TableExtent most = RouteTable::limits_for(2 * limits_.max_routes);
  const auto step_up = [](std::uint32_t now, std::uint32_t want, std::uint32_t limit) {
    return want <= now ? now : std::min(limit, (want + kLinesPerStep - 1) / kLinesPerStep * kLinesPerStep);
  };
  const TableExtent next{step_up(extent_.buckets, wanted.buckets, most.buckets),
                         step_up(extent_.lines, wanted.lines, most.lines)};
  for (RouteTable* table : tables_) {
    if (!table->extend(next)) {
      return false;
    }
  }
  extent_ = next;
  return wanted.buckets <= next.buckets && wanted.lines <= next.lines;
}

Name SubscriptionDatabase::name_of_entry(std::uint32_t entry) const {
  return {prefixes_[entries_[entry].prefix].component, entries_[entry].id};
}

RouteMatch SubscriptionDatabase::match_of_entry(std::uint32_t entry) const {
  const RouteMatch set(entries_[entry].set);
  if (set.is_group()) {
    return set;
  }
  const LinkIndex link = members_[entries_[entry].set].link;
  return RouteMatch::single(link, links_[link].link_class);
}

Name SubscriptionDatabase::name_of(NameOwner owner) const {
  return (owner & 1) != 0 ? Name{prefixes_[owner >> 1].component, kNullId} : name_of_entry(owner >> 1);
}

RouteMatch SubscriptionDatabase::match_of(NameOwner owner) const {
  return (owner & 1) != 0 ? RouteMatch(prefixes_[owner >> 1].match) : match_of_entry(owner >> 1);
}

std::uint32_t SubscriptionDatabase::find_prefix(const Name& name) const {
  return names_.find({name.component, kNullId}) >> 1;
}

std::uint32_t SubscriptionDatabase::find_entry(std::uint32_t prefix, const Name& name) const {
  if (name.id.is_null()) {
    const std::uint32_t first = prefixes_[prefix].first_entry;
    return first != 0 && entries_[first].id.is_null() ? first : 0;
  }
  return names_.find(name) >> 1;
}

std::uint32_t SubscriptionDatabase::find_member(std::uint32_t entry, LinkIndex link) const {
  const std::uint32_t set = entries_[entry].set;
  if (!RouteMatch(set).is_group()) {
    return members_[set].link == link ? set : 0;
  }
  return member_index_.find(MemberAccess{members_}, pair_hash(entry, link), [&](std::uint32_t member) {
    return members_[member].entry == entry && members_[member].link == link;
  });
}

std::uint32_t SubscriptionDatabase::find_prefix_member(std::uint32_t prefix, LinkIndex link) const {
  return prefix_member_index_.find(PrefixMemberAccess{prefix_members_}, pair_hash(prefix, link), [&](std::uint32_t member) {
    return prefix_members_[member].prefix == prefix && prefix_members_[member].link == link;
  });
}

std::uint32_t SubscriptionDatabase::links_of_class(std::uint32_t entry, LinkClass link_class) const {
  const RouteMatch match = match_of_entry(entry);
  if (match.is_group()) {
    return groups_.count(match.line(), link_class);
  }
  return match.link_class() == link_class ? 1 : 0;
}

std::string SubscriptionDatabase::fault_text(InsertFault fault, const Name& name) const {
  if (fault == InsertFault::kCollision) {
    return fmt::format("name refused: {} has the routing hash of another name; use another name or id", text_of(name));
  }
  return fmt::format("the route table is full: {} names held, limit on routes {}; raise `limits.routes` or free memory",
                     names_.names(), limits_.max_routes);
}

void SubscriptionDatabase::add_link(LinkIndex link, LinkClass link_class) {
  assert(link != kNoLink && link < kMaxLinks && !links_[link].known);
  links_[link] = {.known = true, .leaving = false, .link_class = link_class, .first_member = 0, .records = 0};
}

bool SubscriptionDatabase::remove_link(LinkIndex link, std::uint32_t budget, const OnTransition& on_transition) {
  assert(link != kNoLink && link < kMaxLinks);
  Link& state = links_[link];
  state.leaving = true;
  for (; state.first_member != 0 && budget != 0; --budget) {
    if (const auto transition = remove_member(state.first_member); transition && on_transition) {
      on_transition(*transition);
    }
  }
  if (state.first_member != 0) {
    return false;
  }
  assert(state.records == 0);
  state = {};
  return true;
}

std::uint32_t SubscriptionDatabase::link_subscriptions(LinkIndex link) const {
  return link < kMaxLinks ? links_[link].records : 0;
}

RoutingMemory SubscriptionDatabase::memory() const {
  RoutingMemory memory;
  memory.routes = records_;
  memory.route_limit = limits_.max_routes;
  memory.names = names_.names();
  memory.table = {names_.buckets(), groups_.high_water()};
  memory.table_bytes = memory.table.buckets * RouteTable::kBucketBytes + memory.table.lines * sizeof(RouteTable::Line);
  memory.text_bytes = texts_.bytes();
  // A node of the standard library's map: two pointers, the key, the vector, its block.
  constexpr std::size_t kMoreRecordBytes = 96;
  memory.database_bytes = names_.bytes() + groups_.bytes() + prefixes_.bytes() + entries_.bytes() + members_.bytes() +
                          prefix_members_.bytes() + member_index_.bytes() + prefix_member_index_.bytes() + texts_.bytes() +
                          more_records_.size() * kMoreRecordBytes + links_.size() * sizeof(Link);
  if (records_ != 0) {
    memory.table_bytes_per_route = static_cast<double>(memory.table_bytes) / records_;
    memory.bytes_per_route = static_cast<double>(memory.table_bytes + memory.database_bytes) / records_;
  }
  return memory;
}

}  // namespace slipway
