// Subscriptions with acknowledgements, and nodes in line that tell each other what they know.
#include "link/subscriptions.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <set>

#include "sim_nodes.h"

namespace slipway {
namespace {

const TextName kName = *parse_name("org/ns/svc");

class SubscriptionsTest : public testing::Test {
 protected:
  void wait(std::uint64_t ms) {
    for (; ms > 0; ms -= std::min(ms, kLinkTickMs)) {
      network.now_ms += std::min(ms, kLinkTickMs);
      for (auto* node : network.nodes) {
        node->tick();
      }
      network.run();
    }
  }
  SimClient client_of(SimNode& node, std::string id = "app") {
    SimClient client(network, node);
    client.hello(std::move(id));
    EXPECT_TRUE(client.next_link<HelloReplyBody>().accepted);
    return client;
  }
  SimNetwork network;
  SimNode a{network, "a"};
};

TEST_F(SubscriptionsTest, AckComesWhenAllWorkersHaveApplied) {
  auto client = client_of(a);
  a.hold_applied = true;
  client.subscribe(kName, 7);
  EXPECT_TRUE(client.next().empty());
  EXPECT_TRUE(a.knows(kName.hashed()));
  a.hold_applied = false;
  const auto ack = client.next_ack();
  EXPECT_TRUE(ack.success);
  EXPECT_EQ(ack.subscription_id, 7u);
  client.subscribe(kName, 7, false);
  EXPECT_TRUE(client.next_ack().success);
  EXPECT_FALSE(a.knows(kName.hashed()));
}

TEST_F(SubscriptionsTest, WorkerThatDoesNotApplyIsNamedAndTheChangeTakenBack) {
  auto client = client_of(a);
  a.hold_applied = true;
  client.subscribe(kName, 7);
  client.subscribe(*parse_name("org/ns/other"), 8);
  a.late("w3");
  const auto first = client.next_ack();
  const auto second = client.next_ack();
  EXPECT_FALSE(first.success);
  EXPECT_FALSE(second.success);
  EXPECT_NE(first.error.find("worker w3"), std::string::npos);
  EXPECT_EQ(first.subscription_id + second.subscription_id, 15u);
  EXPECT_EQ(a.database->routes(), 0u);
  EXPECT_EQ(a.counters.subscriptions_undone, 2u);
}

TEST_F(SubscriptionsTest, UndoneSubscriptionIsWithdrawnFromPeers) {
  SimNode b(network, "b");
  a.connect_to(b);
  wait(1'000);
  auto client = client_of(a);
  a.hold_applied = true;
  client.subscribe(kName, 7);
  EXPECT_TRUE(b.knows(kName.hashed()));
  a.late("w0");
  network.run();
  EXPECT_FALSE(b.knows(kName.hashed()));
}

TEST_F(SubscriptionsTest, IdZeroIsNeverAnswered) {
  auto client = client_of(a);
  client.subscribe(kName, 0);
  EXPECT_TRUE(client.next().empty());
  EXPECT_TRUE(a.knows(kName.hashed()));
}

TEST_F(SubscriptionsTest, FaultsAreToldToTheSender) {
  auto client = client_of(a);
  client.subscribe(kName, 7, false);
  EXPECT_EQ(client.next_ack().error, "subscription not found");
  for (std::uint64_t i = 1; i <= 1'000; ++i) {
    client.subscribe(*parse_name(fmt::format("org/ns/s{}", i)), i);
    EXPECT_TRUE(client.next_ack().success);
  }
  client.subscribe(kName, 5'000);
  const auto ack = client.next_ack();
  EXPECT_FALSE(ack.success);
  EXPECT_FALSE(ack.error.empty());
  a.behind = "w9";
  client.subscribe(kName, 5'001);
  EXPECT_NE(client.next_ack().error.find("w9"), std::string::npos);
}

TEST_F(SubscriptionsTest, FramesOfLinksThatAreGoneChangeNothing) {
  auto client = client_of(a);
  const auto at = client.end();
  client.leave();
  FrameHeader header;
  header.kind = FrameKind::kSubscribe;
  header.destination = kName.hashed();
  a.deliver(at.link, at.generation, encode_subscribe(header, {.subscription_id = 3}));
  network.run();
  EXPECT_EQ(a.database->routes(), 0u);
  EXPECT_EQ(a.counters.frames_stale, 1u);
}

TEST_F(SubscriptionsTest, LostLinkTakesAllItsSubscriptions) {
  auto client = client_of(a);
  for (std::uint64_t i = 1; i <= 900; ++i) {
    client.subscribe(*parse_name(fmt::format("org/ns/s{}", i)), i);
  }
  EXPECT_EQ(a.database->routes(), 900u);
  client.leave();
  EXPECT_EQ(a.database->routes(), 0u);
  EXPECT_EQ(a.links.table().size(), 0u);
}

// --- nodes -----------------------------------------------------------------------------------------------------------

class PeersTest : public SubscriptionsTest {
 protected:
  SimNode b{network, "b"};
  SimNode c{network, "c"};
};

TEST_F(PeersTest, InLineSubscriptionsReachTheFarNode) {
  b.connect_to(a);
  c.connect_to(b);
  wait(1'000);
  auto client = client_of(a);
  client.subscribe(kName, 7);
  EXPECT_TRUE(client.next_ack().success);
  EXPECT_TRUE(b.knows(kName.hashed()));
  EXPECT_TRUE(c.knows(kName.hashed()));
  EXPECT_NE(c.database->text_of(kName.hashed()).find("org/ns/svc"), std::string::npos);
  client.subscribe(kName, 7, false);
  EXPECT_FALSE(b.knows(kName.hashed()));
  EXPECT_FALSE(c.knows(kName.hashed()));
  EXPECT_EQ(a.subscriptions.peers().announced_names() + b.subscriptions.peers().relayed_names() + c.subscriptions.peers().relayed_names(), 0u);
}

TEST_F(PeersTest, WhatWasThereBeforeIsToldAtLinkUp) {
  auto client = client_of(a);
  for (std::uint64_t i = 1; i <= 900; ++i) {
    client.subscribe(*parse_name(fmt::format("org/ns/s{}", i)), i);
  }
  b.connect_to(a);
  wait(1'000);
  EXPECT_EQ(b.database->routes(), 900u);
  c.connect_to(b);  // learns through b
  wait(1'000);
  EXPECT_EQ(c.database->routes(), 900u);
  EXPECT_EQ(b.counters.names_looped + c.counters.names_looped, 0u);  // each was told once
  client.leave();
  EXPECT_EQ(b.database->routes(), 0u);
  EXPECT_EQ(c.database->routes(), 0u);
}

TEST_F(PeersTest, TriangleEndsAndEmptiesItself) {
  b.connect_to(a);
  c.connect_to(b);
  c.connect_to(a);
  wait(1'000);
  auto client = client_of(a);
  client.subscribe(kName, 7);
  EXPECT_TRUE(b.knows(kName.hashed()));
  EXPECT_TRUE(c.knows(kName.hashed()));
  // Nobody sends to a what a itself has announced: the only route there is the client's.
  EXPECT_EQ(a.database->routes(), 1u);
  client.leave();
  EXPECT_EQ(a.database->routes() + b.database->routes() + c.database->routes(), 0u);
}

TEST_F(PeersTest, InAFullMeshNothingIsPassedOn) {
  for (auto* node : network.nodes) {
    node->subscriptions.set_full_mesh();
  }
  b.connect_to(a);
  c.connect_to(b);
  wait(1'000);
  auto client = client_of(a);
  client.subscribe(kName, 7);
  EXPECT_TRUE(b.knows(kName.hashed()));
  EXPECT_FALSE(c.knows(kName.hashed()));
  c.connect_to(a);
  wait(1'000);
  EXPECT_TRUE(c.knows(kName.hashed()));
  client.leave();
  EXPECT_EQ(a.database->routes() + b.database->routes() + c.database->routes(), 0u);
  EXPECT_EQ(a.counters.names_relayed + b.counters.names_relayed + c.counters.names_relayed, 0u);
}

TEST_F(PeersTest, SecondSubscriberIsNotAnnouncedAgainAndKeepsTheName) {
  b.connect_to(a);
  wait(1'000);
  auto one = client_of(a, "one");
  auto two = client_of(a, "two");
  one.subscribe(kName, 7);
  two.subscribe(kName, 7);  // ids of different clients may collide
  EXPECT_EQ(b.database->routes(), 1u);
  EXPECT_EQ(a.counters.names_announced, 1u);
  EXPECT_EQ(b.counters.names_looped, 0u);  // nothing is told twice
  one.leave();
  EXPECT_TRUE(b.knows(kName.hashed()));
  two.leave();
  EXPECT_FALSE(b.knows(kName.hashed()));
}

TEST_F(PeersTest, LostPeerTakesWhatItToldAndTheOthersHearOfIt) {
  b.connect_to(a);
  c.connect_to(b);
  wait(1'000);
  auto client = client_of(a);
  client.subscribe(kName, 7);
  LinkIndex to_a = kNoLink;
  b.links.table().each([&](NodeLink& link) { to_a = link.node_id == "a" ? link.record.index : to_a; });
  b.reachable = false;
  b.links.close(to_a, "test", network.now_ms);
  network.run();
  EXPECT_FALSE(b.knows(kName.hashed()));
  EXPECT_FALSE(c.knows(kName.hashed()));
  b.reachable = true;
  wait(2'000);
  EXPECT_TRUE(c.knows(kName.hashed()));
}

TEST_F(PeersTest, HopLimitEndsTheRelay) {
  b.connect_to(a);
  wait(1'000);
  SimClient peer(network, a);
  peer.hello("test-peer", 2);
  peer.next();
  peer.subscribe(*parse_name("org/ns/near"), 70, true, 2);  // arrives with 1: taken, not passed on
  peer.subscribe(*parse_name("org/ns/far"), 71, true, 3);
  EXPECT_TRUE(a.knows(parse_name("org/ns/near")->hashed()));
  EXPECT_FALSE(b.knows(parse_name("org/ns/near")->hashed()));
  EXPECT_TRUE(b.knows(parse_name("org/ns/far")->hashed()));
}

// Upstream's node announces a name under the id of its first subscriber and withdraws it under that of its last.
TEST_F(PeersTest, NameIsWithdrawnUnderAnIdThatWasNeverAnnounced) {
  b.connect_to(a);
  wait(1'000);
  SimClient peer(network, a);
  peer.hello("test-peer", 2);
  peer.next();
  peer.subscribe(kName, 70, true, kStandaloneSyncHops);
  EXPECT_TRUE(peer.next_ack().success);
  EXPECT_TRUE(b.knows(kName.hashed()));
  peer.subscribe(kName, 99, false, kStandaloneSyncHops - 3);  // passed on for somebody else, who may have announced another
  EXPECT_FALSE(peer.next_ack().success);
  EXPECT_TRUE(a.knows(kName.hashed()));
  peer.subscribe(kName, 71, true, kStandaloneSyncHops);
  EXPECT_TRUE(peer.next_ack().success);
  peer.subscribe(kName, 99, false, kStandaloneSyncHops);  // which of the two is not to be known
  EXPECT_FALSE(peer.next_ack().success);
  peer.subscribe(kName, 71, false, kStandaloneSyncHops);
  EXPECT_TRUE(peer.next_ack().success);
  EXPECT_TRUE(b.knows(kName.hashed()));
  peer.subscribe(kName, 99, false, kStandaloneSyncHops);
  EXPECT_TRUE(peer.next_ack().success);
  EXPECT_FALSE(a.knows(kName.hashed()));
  EXPECT_FALSE(b.knows(kName.hashed()));  // told under the id that it knows
  EXPECT_FALSE(a.answers_wait);
}

TEST_F(PeersTest, PeerIsToldNothingBeforeItIsReady) {
  auto client = client_of(a);
  client.subscribe(kName, 7);
  SimClient peer(network, a);
  peer.hello("test-peer", 2);
  EXPECT_TRUE(peer.next_link<HelloReplyBody>().accepted);
  EXPECT_TRUE(peer.next().empty());
  peer.send(encode_link(KeepaliveBody{.stamp = 1}));
  EXPECT_TRUE(peer.next_link<KeepaliveBody>().answer);
  const auto frame = peer.next();
  ASSERT_FALSE(frame.empty());
  EXPECT_EQ(frame_kind(frame.data()), static_cast<std::uint8_t>(FrameKind::kSubscribe));
  SimClient silent(network, a);
  silent.hello("silent-peer", 2);
  silent.next();
  wait(kReadyMs + kLinkTickMs);
  EXPECT_FALSE(silent.next().empty());
}

TEST_F(PeersTest, RemoteLinksAreToldNothing) {
  b.connect_to(a, LinkClass::kRemote);
  wait(1'000);
  auto client = client_of(a);
  client.subscribe(kName, 7);
  EXPECT_FALSE(b.knows(kName.hashed()));
  // A static route is what leads there.
  LinkIndex link = kNoLink;
  b.links.table().each([&](NodeLink& l) { link = l.record.index; });
  ASSERT_TRUE(b.subscriptions.add_static(link, kName));
  EXPECT_TRUE(b.knows(kName.hashed()));
  ASSERT_TRUE(b.subscriptions.remove_static(link, kName));
  EXPECT_FALSE(b.knows(kName.hashed()));
}

// Random subscriptions and losses; afterwards every node knows exactly what somebody subscribed to.
TEST_F(PeersTest, RandomChangesEndInAgreement) {
  for (std::uint64_t seed = 1; seed <= 20; ++seed) {
    SimNetwork net;
    SimNode nodes[4] = {{net, "n0"}, {net, "n1"}, {net, "n2"}, {net, "n3"}};
    for (int i = 1; i < 4; ++i) {
      nodes[i].connect_to(nodes[i - 1]);
    }
    const auto pass = [&](std::uint64_t ms) {
      for (; ms > 0; ms -= std::min(ms, kLinkTickMs)) {
        net.now_ms += std::min(ms, kLinkTickMs);
        for (auto* node : net.nodes) {
          node->links.policy().keepalive_ms = 0;
          node->tick();
        }
        net.run();
      }
    };
    pass(1'000);
    std::mt19937_64 random(seed);
    struct Held {
      std::unique_ptr<SimClient> client;
      std::set<int> names;
    };
    std::vector<Held> held;
    for (int step = 0; step < 200; ++step) {
      const auto what = random() % 10;
      if (held.size() < 3 || what == 0) {
        auto client = std::make_unique<SimClient>(net, nodes[random() % 4]);
        client->hello("app");
        if (client->accepted()) {
          held.push_back({std::move(client), {}});
        }
      } else if (what == 1) {
        const auto at = random() % held.size();
        held[at].client->leave();
        held.erase(held.begin() + static_cast<std::ptrdiff_t>(at));
      } else if (what == 2) {
        auto& node = nodes[1 + random() % 3];
        node.links.close(node.links.targets()[0].link, "test", net.now_ms);
        net.run();
      } else {
        auto& one = held[random() % held.size()];
        const int name = static_cast<int>(random() % 12);
        const bool add = !one.names.contains(name);
        one.client->subscribe(*parse_name(fmt::format("org/ns/s{}", name)), static_cast<std::uint64_t>(name) + 1, add);
        add ? (void)one.names.insert(name) : (void)one.names.erase(name);
      }
    }
    pass(20'000);
    for (int name = 0; name < 12; ++name) {
      const bool wanted = std::ranges::any_of(held, [&](const auto& h) { return h.names.contains(name); });
      for (auto& node : nodes) {
        EXPECT_EQ(node.knows(parse_name(fmt::format("org/ns/s{}", name))->hashed()), wanted)
            << "seed " << seed << " name " << name << " node " << node.links.policy().node_id;
      }
    }
  }
}

}  // namespace
}  // namespace slipway
