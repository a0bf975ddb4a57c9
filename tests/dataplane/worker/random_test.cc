// Random traffic against a naive model: who should get each frame, while links and routes come and go and ports
// lose their carrier. The books are checked after each round. A failure prints its seed.
#include <gtest/gtest.h>

#include <cstdlib>
#include <random>
#include <set>

#include "test_node.h"

namespace slipway::test {
namespace {

// What the node should know, in the plainest form.
struct Model {
  std::map<Name, std::set<LinkIndex>, decltype([](const Name& a, const Name& b) {
             return std::tie(a.component, a.id) < std::tie(b.component, b.id);
           })> exact;

  [[nodiscard]] std::set<LinkIndex> receivers(const Name& to, LinkIndex from) const {
    std::set<LinkIndex> all;
    for (const auto& [name, links] : exact) {
      if (name == to || (to.id.is_null() && name.component == to.component)) {
        all.insert(links.begin(), links.end());
      }
    }
    all.erase(from);
    return all;
  }
};

class RandomTraffic : public ::testing::TestWithParam<int> {};

TEST_P(RandomTraffic, GoesWhereTheModelSays) {
  const char* given = std::getenv("SLIPWAY_SEED");
  const std::uint64_t seed = given != nullptr ? std::strtoull(given, nullptr, 10) : std::random_device{}();
  SCOPED_TRACE("SLIPWAY_SEED=" + std::to_string(seed));
  std::mt19937_64 random(seed);
  const auto below = [&random](std::uint64_t n) { return random() % n; };

  const bool two_workers = GetParam() == 2;
  NodeSpec spec{.mbufs = 16'384, .punts_per_second = 1'000'000'000};
  spec.workers = two_workers ? std::vector<WorkerSpec>{{.rx_ports = {0}, .tx_ports = {0}}, {.rx_ports = {1}, .tx_ports = {1}}}
                             : std::vector<WorkerSpec>{{.rx_ports = {0, 1}, .tx_ports = {0, 1}}};
  TestNode node(spec);
  Model model;
  std::vector<LinkIndex> links;
  const auto add = [&] {
    const auto side = static_cast<std::uint16_t>(below(2));
    links.push_back(node.add_ethernet(side, two_workers ? side : std::uint16_t{0}));
  };
  for (int i = 0; i < 8; ++i) {
    add();
  }
  const auto random_name = [&] { return test_name(below(6), below(2) == 0); };

  for (int round = 0; round < 400; ++round) {
    // A few changes of links and routes.
    for (std::uint64_t changes = below(4); changes != 0; --changes) {
      const LinkIndex link = links[below(links.size())];
      switch (below(8)) {
        case 0:
          if (links.size() < 20) {
            add();
          }
          break;
        case 1:
          if (links.size() > 4) {
            std::erase(links, link);
            node.remove(link);
            for (auto& [name, set] : model.exact) {
              set.erase(link);
            }
          }
          break;
        default: {
          const Name name = random_name();
          if (model.exact[name].insert(link).second) {
            node.subscribe(link, name);
          } else {
            model.exact[name].erase(link);
            node.unsubscribe(link, name);
          }
        }
      }
    }
    node.settle();
    // One port may be without carrier for a round: copies to it are dropped, and counted.
    const bool lost = below(10) == 0;
    const auto lost_port = static_cast<std::uint16_t>(below(2));
    auto& state = const_cast<PortState&>(node.port(lost_port).state());
    state.carrier = !lost;

    // A burst of frames, and what should come of it.
    struct Sent {
      LinkIndex from;
      Name to;
      bool one;
      bool hopless;
    };
    std::map<std::uint32_t, Sent> sent;
    for (std::uint32_t i = 1 + static_cast<std::uint32_t>(below(20)); i != 0; --i) {
      const Sent s{links[below(links.size())], random_name(), below(2) == 0, below(12) == 0};
      sent[i] = s;
      const std::size_t sizes[] = {0, 64, 512, 513, 1400, 4000};
      node.send(s.from, make_publish({.to = s.to, .fanout = s.one ? 1u : 256u, .message = i, .session = i, .body_bytes = sizes[below(6)],
                                      .hops = static_cast<std::uint8_t>(s.hopless ? below(2) : 5)}));
      if (below(3) == 0) {
        node.step(below(node.group().size()));
      }
    }
    node.settle();
    std::map<std::uint32_t, std::multiset<LinkIndex>> got;
    for (const Delivered& d : node.take()) {
      got[message_of(d.frame)].insert(d.link);
      ASSERT_EQ(frame_hop_limit(d.frame.data()), 4);
    }
    for (const auto& [message, s] : sent) {
      const std::set<LinkIndex> may = model.receivers(s.to, s.from);
      const auto& links_got = got[message];
      std::size_t unreachable = 0;
      for (const LinkIndex link : links_got) {
        ASSERT_TRUE(may.contains(link)) << "round " << round << ": message " << message << " to link " << link;
        ASSERT_EQ(links_got.count(link), 1u) << "round " << round << ": message " << message << " twice to link " << link;
      }
      for (const LinkIndex link : may) {
        unreachable += lost && node.record(link).port == lost_port ? 1 : 0;
      }
      const std::size_t reachable = s.hopless ? 0 : may.size() - unreachable;
      if (s.one && unreachable != 0) {
        ASSERT_LE(links_got.size(), 1u);  // the one that was chosen may be behind the lost port
      } else {
        ASSERT_EQ(links_got.size(), s.one ? std::min<std::size_t>(reachable, 1) : reachable) << "round " << round << ": message " << message;
      }
    }
    state.carrier = true;
    ASSERT_EQ(node.books(), "") << "round " << round;
    node.events();
    if (two_workers) {
      node.events(1);
    }
  }
  EXPECT_EQ(node.total(&WorkerCounters::held), 0u);
}
INSTANTIATE_TEST_SUITE_P(Workers, RandomTraffic, ::testing::Values(1, 2));

}  // namespace
}  // namespace slipway::test
