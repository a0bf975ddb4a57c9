// The database and the tables it feeds, against a model that is too simple to be wrong: millions of random
// subscriptions, repeated, crossing, static, restored; links that go in slices; changes taken back; and after each
// record of a change a look at what a worker would see between two bursts. A failure prints the seed.
#include <gtest/gtest.h>

#include <map>
#include <random>
#include <set>

#include "routing_fixture.h"

namespace slipway {
namespace {

struct ModelMember {
  std::set<std::uint64_t> ids;
  bool is_static = false;
  [[nodiscard]] std::size_t records() const { return ids.size() + (is_static ? 1 : 0); }
};

struct NameLess {
  bool operator()(const Name& a, const Name& b) const {
    return a.component != b.component ? a.component < b.component : a.id < b.id;
  }
};

class Model {
 public:
  std::map<Name, std::map<LinkIndex, ModelMember>, NameLess> names;
  std::map<LinkIndex, LinkClass> links;

  // Links on exactly this subscription name (for the null id: on the null id alone).
  [[nodiscard]] std::vector<LinkIndex> on(const Name& name, ClassMask classes = kAllClasses) const {
    std::vector<LinkIndex> result;
    if (const auto found = names.find(name); found != names.end()) {
      for (const auto& [link, member] : found->second) {
        if ((classes & class_bit(links.at(link))) != 0) {
          result.push_back(link);
        }
      }
    }
    return result;
  }
  // Links that a publish to this destination reaches.
  [[nodiscard]] std::vector<LinkIndex> reached(const Name& name) const {
    if (!name.id.is_null()) {
      return on(name);
    }
    std::set<LinkIndex> result;
    Name first = name;
    first.id = {0, 0};
    for (auto it = names.lower_bound(first); it != names.end() && it->first.component == name.component; ++it) {
      for (const auto& [link, member] : it->second) {
        result.insert(link);
      }
    }
    return {result.begin(), result.end()};
  }
  [[nodiscard]] bool knows_prefix(const Name& name) const { return !reached({name.component, kNullId}).empty(); }

  [[nodiscard]] std::string unsubscribe_error(LinkIndex link, const Name& name, std::uint64_t id, std::uint64_t* removed) const {
    if (!knows_prefix(name)) {
      return "subscription not found";
    }
    const auto found = names.find(name);
    if (found == names.end()) {
      return "id not found: " + id_text(name.id);
    }
    const auto member = found->second.find(link);
    *removed = id;
    if (member != found->second.end() && member->second.ids.contains(id)) {
      return {};
    }
    *removed = 0;
    if (member != found->second.end() && member->second.ids == std::set<std::uint64_t>{0}) {
      return {};
    }
    return "subscription id not found: " + std::to_string(id);
  }
  void add(LinkIndex link, const Name& name, std::uint64_t id, bool is_static) {
    auto& member = names[name][link];
    if (is_static) {
      member.is_static = true;
    } else {
      member.ids.insert(id);
    }
  }
  void remove(LinkIndex link, const Name& name, std::uint64_t id, bool is_static) {
    auto& members = names.at(name);
    auto& member = members.at(link);
    if (is_static) {
      member.is_static = false;
    } else {
      member.ids.erase(id);
    }
    if (member.records() == 0) {
      members.erase(link);
    }
    if (members.empty()) {
      names.erase(name);
    }
  }
  [[nodiscard]] std::size_t records() const {
    std::size_t sum = 0;
    for (const auto& [name, members] : names) {
      for (const auto& [link, member] : members) {
        sum += member.records();
      }
    }
    return sum;
  }
};

struct Universe {
  std::uint32_t prefixes;
  std::uint32_t ids;        // per prefix, besides the null id
  std::uint32_t links;
  std::uint32_t operations;
  std::uint32_t keep_percent;  // share of additions among changes: how full it gets
  AnycastOrder order;
  std::uint32_t check_every = 1;
};

class ModelRun {
 public:
  ModelRun(const Universe& universe, std::uint64_t seed) : universe_(universe), random_(seed), node_({.max_routes = 1u << 18}, 2, seed) {
    node_.database->set_post([this](const RouteUpdate& update) { on_update(update); });
    for (LinkIndex link = 1; link <= universe.links; ++link) {
      add_link(link);
    }
  }

  void go() {
    for (std::uint32_t i = 0; i < universe_.operations && !::testing::Test::HasFailure(); ++i) {
      step();
      if (i % 20'000 == 0) {
        check_all();
      }
    }
    check_all();
    empty_out();
  }

 private:
  std::uint32_t below(std::uint32_t n) { return static_cast<std::uint32_t>(random_() % n); }

  void add_link(LinkIndex link) {
    const auto link_class = static_cast<LinkClass>(below(4));
    model_.links[link] = link_class;
    node_.database->add_link(link, link_class);
  }

  Name some_name() {
    // A few services hold most of it, so that groups of every depth come and go.
    const std::uint32_t prefix = below(4) == 0 ? below(universe_.prefixes) : below(std::max(1u, universe_.prefixes / 16));
    const std::uint32_t id = below(universe_.ids + 1);
    return test_name(prefix, id == 0 ? kNullId : NameId{id % 3, id});
  }

  // Between any two records a worker may look: it finds the old links of a name or its new ones.
  void on_update(const RouteUpdate& update) {
    ++node_.updates;
    for (auto& table : node_.tables) {
      table->apply(update);
    }
    if (!watched_.has_value()) {
      return;
    }
    for (std::size_t i = 0; i < 2; ++i) {
      const Name name = i == 0 ? *watched_ : Name{watched_->component, kNullId};
      const auto now = node_.links(name);
      ASSERT_TRUE(now == before_[i] || now == after_[i]) << "a reader saw neither the old nor the new links";
    }
  }

  // Changes the model; now and then also notes what a reader may see meanwhile.
  void change_model(const Name& name, LinkIndex link, bool add, std::uint64_t id, bool is_static) {
    const bool watch = below(4 * universe_.check_every) == 0;
    const Name prefix{name.component, kNullId};
    if (watch) {
      before_ = {model_.reached(name), model_.reached(prefix)};
    }
    if (add) {
      model_.add(link, name, id, is_static);
    } else {
      model_.remove(link, name, id, is_static);
    }
    if (watch) {
      after_ = {model_.reached(name), model_.reached(prefix)};
      watched_ = name;
    }
  }

  void check_transition(const std::optional<Transition>& transition, const Name& name, LinkIndex link, std::size_t before) {
    const ClassMask mask = class_bit(model_.links.at(link));
    const std::size_t after = model_.on(name, mask).size();
    ASSERT_EQ(transition.has_value(), (before == 0) != (after == 0));
    if (transition) {
      ASSERT_EQ(transition->name, name);
      ASSERT_EQ(transition->reachable, after != 0);
      ASSERT_EQ(transition->still_matched, !model_.reached(name).empty());
    }
  }

  void add(LinkIndex link, const Name& name, std::uint64_t id, bool is_static) {
    const std::size_t before = model_.on(name, class_bit(model_.links.at(link))).size();
    const auto old_records = model_.names.contains(name) && model_.names.at(name).contains(link)
                                 ? model_.names.at(name).at(link).records()
                                 : 0;
    change_model(name, link, true, id, is_static);
    const auto change = is_static ? node_.database->add_static(link, name, {})
                                  : node_.database->subscribe({.link = link, .name = name, .subscription_id = id});
    watched_.reset();
    ASSERT_TRUE(change.has_value()) << change.error();
    const bool added = model_.names.at(name).at(link).records() != old_records;
    ASSERT_EQ(change->kind, added ? Change::Kind::kAdded : Change::Kind::kNothing);
    check_transition(change->transition, name, link, before);
    maybe_undo(*change);
  }

  void remove(LinkIndex link, const Name& name, std::uint64_t id) {
    std::uint64_t removed = 0;
    const std::string error = model_.unsubscribe_error(link, name, id, &removed);
    const Subscription subscription{.link = link, .name = name, .subscription_id = id};
    if (!error.empty()) {
      const auto refused = node_.database->unsubscribe(subscription);
      ASSERT_FALSE(refused.has_value());
      ASSERT_EQ(refused.error(), error);
      return;
    }
    const std::size_t before = model_.on(name, class_bit(model_.links.at(link))).size();
    change_model(name, link, false, removed, false);
    const auto change = node_.database->unsubscribe(subscription);
    watched_.reset();
    ASSERT_TRUE(change.has_value()) << change.error();
    ASSERT_EQ(change->subscription_id, removed);
    check_transition(change->transition, name, link, before);
    maybe_undo(*change);
  }

  void remove_static(LinkIndex link, const Name& name) {
    const auto found = model_.names.find(name);
    const bool there = found != model_.names.end() && found->second.contains(link) && found->second.at(link).is_static;
    const std::size_t before = model_.on(name, class_bit(model_.links.at(link))).size();
    if (there) {
      change_model(name, link, false, 0, true);
    }
    const auto change = node_.database->remove_static(link, name);
    watched_.reset();
    ASSERT_EQ(change.has_value(), there);
    if (there) {
      check_transition(change->transition, name, link, before);
      maybe_undo(*change);
    }
  }

  void maybe_undo(const Change& change) {
    if (change.kind == Change::Kind::kNothing || below(16) != 0) {
      return;
    }
    const std::size_t before = model_.on(change.name, class_bit(model_.links.at(change.link))).size();
    change_model(change.name, change.link, change.kind == Change::Kind::kRemoved, change.subscription_id, change.is_static);
    const auto undone = node_.database->undo(change);
    watched_.reset();
    ASSERT_TRUE(undone.has_value()) << undone.error();
    check_transition(*undone, change.name, change.link, before);
  }

  void lose_link(LinkIndex link) {
    std::vector<Transition> transitions;
    while (!node_.database->remove_link(link, 1 + below(50), [&](const Transition& t) { transitions.push_back(t); })) {
      const auto refused = node_.database->subscribe({.link = link, .name = test_name(1), .subscription_id = 1});
      ASSERT_FALSE(refused.has_value());
    }
    const ClassMask mask = class_bit(model_.links.at(link));
    std::set<Name, NameLess> lost;
    for (auto it = model_.names.begin(); it != model_.names.end();) {
      const bool was_on = it->second.erase(link) != 0;
      const Name name = it->first;
      it = it->second.empty() ? model_.names.erase(it) : std::next(it);
      if (was_on && model_.on(name, mask).empty()) {
        lost.insert(name);
      }
    }
    ASSERT_EQ(transitions.size(), lost.size());
    for (const auto& t : transitions) {
      ASSERT_TRUE(lost.contains(t.name) && !t.reachable && t.link_class == model_.links.at(link));
    }
    add_link(link);
  }

  void step() {
    const LinkIndex link = 1 + below(universe_.links);
    const Name name = some_name();
    const std::uint64_t id = below(3) == 0 ? 0 : below(3);
    const std::uint32_t what = below(10'000);
    if (what == 0) {
      lose_link(link);
    } else if (what < 300) {
      below(2) == 0 ? add(link, name, 0, true) : remove_static(link, name);
    } else if (below(100) < universe_.keep_percent) {
      add(link, name, id, false);
    } else {
      remove(link, name, id);
    }
    if (below(universe_.check_every) == 0 && !::testing::Test::HasFatalFailure()) {
      check(name, node_.tables[0].get());
      check_choice(name);
    }
  }

  void check(const Name& name, const RouteTable* table) {
    for (const Name& asked : {name, Name{name.component, kNullId}}) {
      const RouteMatch match = burst_lookup(*table, asked);
      ASSERT_EQ(match, table->lookup_one(asked));
      const auto expected = model_.reached(asked);
      ASSERT_EQ(sorted(links_of(*table, match, kAllClasses, kNoLink, below(1000), 1 + below(20))), expected);
      ASSERT_EQ(node_.database->matches(asked), !expected.empty());
      const LinkIndex ingress = 1 + below(universe_.links);
      const auto classes = static_cast<ClassMask>(below(16));
      std::vector<LinkIndex> allowed;
      for (const LinkIndex link : expected) {
        if (link != ingress && (classes & class_bit(model_.links.at(link))) != 0) {
          allowed.push_back(link);
        }
      }
      ASSERT_EQ(sorted(links_of(*table, match, classes, ingress, below(1000), 1 + below(20))), allowed);
    }
  }

  static std::uint32_t tier(LinkClass c, AnycastOrder order) {
    if (order == AnycastOrder::kUpstream) {
      return static_cast<std::uint32_t>(c);
    }
    return c == LinkClass::kLocal || c == LinkClass::kEdge ? 0 : c == LinkClass::kPeer ? 1 : 2;
  }

  void check_choice(const Name& name) {
    const Name asked = below(2) == 0 ? name : Name{name.component, kNullId};
    const LinkIndex ingress = 1 + below(universe_.links);
    const AnycastRules rules{.order = universe_.order, .classes = static_cast<ClassMask>(below(3) == 0 ? below(16) : kAllClasses)};
    std::set<LinkIndex> best;
    std::uint32_t best_tier = 99;
    for (const LinkIndex link : model_.reached(asked)) {
      const LinkClass c = model_.links.at(link);
      if (link == ingress || (rules.classes & class_bit(c)) == 0 || tier(c, rules.order) > best_tier) {
        continue;
      }
      if (tier(c, rules.order) < best_tier) {
        best.clear();
        best_tier = tier(c, rules.order);
      }
      best.insert(link);
    }
    auto& table = *node_.tables[0];
    const RouteMatch match = burst_lookup(table, asked);
    if (best.empty()) {
      ASSERT_EQ(table.choose_one(match, ingress, rules), kNoLink);
      return;
    }
    std::set<LinkIndex> chosen;
    for (std::size_t i = 0; i < best.size(); ++i) {
      chosen.insert(table.choose_one(match, ingress, rules));
    }
    ASSERT_EQ(chosen, best) << "as many choices as there are links reach each once";
  }

  void check_all() {
    auto fresh = node_.database->make_table();
    ASSERT_TRUE(fresh.has_value());
    ASSERT_TRUE(node_.database->attach(*fresh).has_value());
    for (std::uint32_t prefix = 0; prefix < universe_.prefixes; ++prefix) {
      for (std::uint32_t id = 0; id <= universe_.ids; id += 1 + below(4)) {
        const Name name = test_name(prefix, id == 0 ? kNullId : NameId{id % 3, id});
        check(name, &*fresh);
        check(name, node_.tables[1].get());
        if (::testing::Test::HasFatalFailure()) {
          return;
        }
      }
    }
    node_.database->detach(*fresh);
    ASSERT_EQ(node_.database->routes(), model_.records());
    std::size_t listed = 0;
    for (NamePage page{.rows = {}, .next = 1}; page.next != 0;) {
      page = node_.database->list(page.next, 100);
      for (const auto& row : page.rows) {
        std::uint32_t links = 0;
        for (std::size_t c = 0; c < kLinkClasses; ++c) {
          ASSERT_EQ(row.links[c], model_.on(row.name, class_bit(static_cast<LinkClass>(c))).size());
          links += row.links[c];
        }
        ASSERT_NE(links, 0u);
      }
      listed += page.rows.size();
    }
    ASSERT_EQ(listed, model_.names.size());
  }

  void empty_out() {
    for (LinkIndex link = 1; link <= universe_.links; ++link) {
      while (!node_.database->remove_link(link, 1000, {})) {
      }
    }
    EXPECT_EQ(node_.database->routes(), 0u);
    EXPECT_EQ(node_.database->memory().names, 0u);
    EXPECT_TRUE(node_.database->list(0, 10).rows.empty());
  }

  Universe universe_;
  std::mt19937_64 random_;
  Model model_;
  Node node_;
  std::optional<Name> watched_;
  std::array<std::vector<LinkIndex>, 2> before_;
  std::array<std::vector<LinkIndex>, 2> after_;
};

constexpr std::uint32_t kShare = kSanitized ? 20 : 1;

class Seeds : public ::testing::TestWithParam<std::uint64_t> {};

// Small: the same names and links meet all the time.
TEST_P(Seeds, FewNames) {
  SCOPED_TRACE("seed " + std::to_string(GetParam()));
  ModelRun({.prefixes = 6, .ids = 4, .links = 12, .operations = 200'000 / kShare, .keep_percent = 52, .order = AnycastOrder::kNearest},
      GetParam())
      .go();
}
TEST_P(Seeds, FewNamesUpstreamOrder) {
  SCOPED_TRACE("seed " + std::to_string(GetParam()));
  ModelRun({.prefixes = 6, .ids = 4, .links = 12, .operations = 200'000 / kShare, .keep_percent = 45, .order = AnycastOrder::kUpstream},
      GetParam() + 1000)
      .go();
}
// Large groups: trees of depth two and three.
TEST_P(Seeds, LargeGroups) {
  SCOPED_TRACE("seed " + std::to_string(GetParam()));
  ModelRun({.prefixes = 2, .ids = 2, .links = 700, .operations = 20'000 / kShare, .keep_percent = 60, .order = AnycastOrder::kNearest,
       .check_every = 40},
      GetParam() + 2000)
      .go();
}
// Many names: buckets fill, split and overflow.
TEST_P(Seeds, ManyNames) {
  SCOPED_TRACE("seed " + std::to_string(GetParam()));
  ModelRun({.prefixes = 1500, .ids = 12, .links = 30, .operations = 100'000 / kShare, .keep_percent = 65,
       .order = AnycastOrder::kNearest},
      GetParam() + 3000)
      .go();
}

INSTANTIATE_TEST_SUITE_P(Model, Seeds, ::testing::Values(1, 2, 3, 4));

}  // namespace
}  // namespace slipway
