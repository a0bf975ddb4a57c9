// Links from open to closed, with a clock set by hand.
#include "link/links.h"

#include <gtest/gtest.h>

#include <set>

#include "sim_nodes.h"

namespace slipway {
namespace {

TEST(LinkTable, GenerationsTellUsesOfOneIndexApart) {
  LinkTable table(3, 42);
  auto a = table.allocate();
  ASSERT_TRUE(a);
  const auto index = (*a)->record.index;
  const auto id = (*a)->record.id();
  ASSERT_TRUE(table.allocate());
  ASSERT_TRUE(table.allocate());
  const auto full = table.allocate();
  ASSERT_FALSE(full);
  EXPECT_NE(full.error().find("limits.links"), std::string::npos);
  EXPECT_EQ(table.find(index, link_index_of(id) == index ? id >> kLinkIndexBits : 0), *a);
  table.free(index);
  EXPECT_EQ(table.find(index), nullptr);
  EXPECT_TRUE(table.allocate());
}

TEST(LinkTable, EveryIndexIsUsedBeforeOneIsUsedAgainAndIdsNeverRepeatSoon) {
  LinkTable table(kMaxLinks - 1, 1);
  std::set<std::uint32_t> ids;
  std::set<LinkIndex> indexes;
  for (std::uint32_t i = 0; i < 3 * kMaxLinks; ++i) {
    auto link = table.allocate();
    ASSERT_TRUE(link);
    EXPECT_NE((*link)->record.generation, 0u);
    EXPECT_TRUE(ids.insert((*link)->record.id()).second);
    indexes.insert((*link)->record.index);
    table.free((*link)->record.index);
  }
  EXPECT_EQ(indexes.size(), kMaxLinks - 1);
  EXPECT_EQ(*indexes.begin(), 1u);
}

TEST(Cookie, GoodFromTheSameAddressForAWhile) {
  CookieJar jar;
  IpEndpoint from{.address = {10, 0, 0, 1}, .port = 1234, .family = 4};
  const std::uint64_t now = 10 * kCookieSeconds * 1000;
  const auto cookie = jar.make(from, true, now);
  EXPECT_TRUE(jar.good(cookie, from, true, now));
  EXPECT_TRUE(jar.good(cookie, from, true, now + kCookieSeconds * 1000));
  EXPECT_FALSE(jar.good(cookie, from, true, now + 2 * kCookieSeconds * 1000));
  auto other = from;
  other.port = 1235;
  EXPECT_FALSE(jar.good(cookie, other, true, now));
  EXPECT_FALSE(jar.good(cookie, from, false, now));
  EXPECT_TRUE(jar.good(jar.make(from, false, now), other, false, now));
  other.address[3] = 2;
  EXPECT_FALSE(jar.good(jar.make(from, false, now), other, false, now));
  for (std::size_t i = 0; i < cookie.size(); ++i) {
    auto forged = cookie;
    forged[i] ^= std::byte{1};
    EXPECT_FALSE(jar.good(forged, from, true, now)) << i;
  }
  EXPECT_FALSE(jar.good({}, from, true, now));
  EXPECT_FALSE(CookieJar{}.good(cookie, from, true, now));
}

class LinksTest : public testing::Test {
 protected:
  void wait(std::uint64_t ms) {
    for (; ms > 0; ms -= std::min(ms, kLinkTickMs)) {
      network.now_ms += std::min(ms, kLinkTickMs);
      for (auto* each : network.nodes) {
        each->tick();
      }
      network.run();
    }
  }
  SimNetwork network;
  SimNode node{network, "node-a"};
};

TEST_F(LinksTest, HelloIsAnsweredWhenEveryWorkerKnowsTheLink) {
  node.hold_applied = true;
  SimClient client(network, node);
  client.hello();
  EXPECT_TRUE(client.next().empty());
  EXPECT_EQ(node.records[client.end().link].state, LinkState::kUp);
  node.hold_applied = false;
  const auto reply = client.next_link<HelloReplyBody>();
  EXPECT_TRUE(reply.accepted);
  EXPECT_EQ(reply.node_id, "node-a");
  EXPECT_EQ(reply.max_subscriptions, 1'000u);
  EXPECT_EQ(reply.keepalive_ms, 1'000u);
  EXPECT_EQ(node.links.half_open(), 0u);
}

TEST_F(LinksTest, HalfOpenLinksAreBoundedAndTimedOut) {
  std::vector<SimClient> clients;
  for (int i = 0; i < 5; ++i) {
    clients.emplace_back(network, node);
    EXPECT_EQ(clients.back().accepted(), i < 4);
  }
  wait(kHelloDeadlineMs + kLinkTickMs);
  EXPECT_TRUE(clients[0].closed());
  EXPECT_EQ(node.links.half_open(), 0u);
  EXPECT_EQ(node.links.table().size(), 0u);  // indexes are free again
  EXPECT_EQ(node.gone, 4);
  EXPECT_EQ(node.links.recently_closed().back().reason, "no hello in time");
  EXPECT_TRUE(SimClient(network, node).accepted());
}

TEST_F(LinksTest, FirstFrameMustBeAHello) {
  SimClient client(network, node);
  client.send(encode_link(KeepaliveBody{.stamp = 1}));
  EXPECT_TRUE(client.closed());
  EXPECT_EQ(node.links.table().size(), 0u);
}

TEST_F(LinksTest, NonsenseInALinkFrameClosesTheLink) {
  SimClient client(network, node);
  client.hello();
  auto frame = encode_link(KeepaliveBody{.stamp = 1});
  frame.resize(kFrameHeaderBytes);
  frame.push_back(std::byte{0xFF});
  client.send(frame);
  EXPECT_TRUE(client.closed());
  EXPECT_NE(node.links.recently_closed().back().reason.find("makes no sense"), std::string::npos);
}

TEST_F(LinksTest, RefusalsSayWhy) {
  struct Case {
    std::uint8_t link_class;
    std::string id;
    std::string deployment;
    std::string expected;
  };
  for (const auto& c : {Case{0, "x", "", "does not exist"}, Case{9, "x", "", "does not exist"}, Case{2, "", "", "node id"},
                        Case{2, "node-a", "", "own"}, Case{2, "x", "other", "deployment"}}) {
    SimClient client(network, node);
    client.hello(c.id, c.link_class, c.deployment);
    const auto reply = client.next_link<HelloReplyBody>();
    EXPECT_FALSE(reply.accepted);
    EXPECT_NE(reply.error.find(c.expected), std::string::npos) << reply.error;
    EXPECT_TRUE(client.closed());
  }
  EXPECT_EQ(node.links.table().size(), 0u);
}

TEST_F(LinksTest, SilentLinkIsProbedThenDead) {
  SimClient client(network, node);
  client.hello();
  client.next();
  client.subscribe(*parse_name("a/b/c"), 5);
  EXPECT_TRUE(client.next_ack().success);
  EXPECT_TRUE(node.knows(parse_name("a/b/c")->hashed()));
  wait(1'400);
  const auto probe = client.next_link<KeepaliveBody>();
  EXPECT_NE(probe.stamp, 0u);
  EXPECT_FALSE(probe.answer);
  client.send(encode_link(KeepaliveBody{.stamp = probe.stamp, .answer = true}));
  wait(2'000);
  EXPECT_FALSE(client.closed());
  wait(2'000);
  EXPECT_TRUE(client.closed());
  EXPECT_NE(node.links.recently_closed().back().reason.find("dead: silent"), std::string::npos);
  EXPECT_FALSE(node.knows(parse_name("a/b/c")->hashed()));
  EXPECT_EQ(node.database->routes(), 0u);
  EXPECT_EQ(node.links.table().size(), 0u);
}

TEST_F(LinksTest, ProbesAreAnswered) {
  SimClient client(network, node);
  client.hello();
  client.next();
  client.send(encode_link(KeepaliveBody{.stamp = 77}));
  const auto answer = client.next_link<KeepaliveBody>();
  EXPECT_TRUE(answer.answer);
  EXPECT_EQ(answer.stamp, 77u);
}

TEST_F(LinksTest, PeerThatWantsToHearSomethingHearsIt) {
  node.links.policy().keepalive_ms = 0;  // we do not probe for our own sake
  SimClient client(network, node);
  HelloBody body;
  body.node_id = "app";
  body.keepalive_ms = 600;
  client.send(encode_link(body));
  client.next();
  int heard = 0;
  for (int i = 0; i < 10; ++i) {
    wait(600);
    heard += client.next_link<KeepaliveBody>().stamp != 0;
  }
  EXPECT_GE(heard, 9);
  EXPECT_FALSE(client.closed());
}

TEST_F(LinksTest, InstancesQuery) {
  SimClient client(network, node);
  client.hello();
  client.next();
  client.send(encode_link(InstancesRequestBody{.request = 9, .name = {}}));
  const auto reply = client.next_link<InstancesReplyBody>();
  EXPECT_EQ(reply.request, 9u);
  EXPECT_EQ(reply.ids.size(), 1u);
  EXPECT_TRUE(reply.truncated);
}

TEST_F(LinksTest, GoodbyeIsKeptAsReason) {
  SimClient client(network, node);
  client.hello();
  client.send(encode_link(ByeBody{"going home\x1b[2J"}));
  EXPECT_EQ(node.links.recently_closed().back().reason, "the peer said goodbye: going home?[2J");
}

TEST_F(LinksTest, CloseTellsThePeerAndFreesTheIndex) {
  SimClient client(network, node);
  client.hello();
  client.next();
  node.links.close(client.end().link, "enough", network.now_ms);
  EXPECT_EQ(client.next_link<ByeBody>().reason, "enough");
  network.run();
  EXPECT_TRUE(client.closed());
  EXPECT_EQ(node.records[client.end().link].state, LinkState::kFree);
  EXPECT_EQ(node.links.table().size(), 0u);
}

// --- links that the node makes -----------------------------------------------------------------------------------

TEST_F(LinksTest, DialsAgainWithGrowingWaits) {
  SimNode other(network, "node-b");
  node.reachable = false;
  const auto target = node.connect_to(other);
  wait(60'000);
  EXPECT_GE(node.dials, 10);
  EXPECT_LE(node.dials, 20);
  EXPECT_EQ(node.links.targets()[target].state, LinkTarget::State::kWaiting);
  EXPECT_NE(node.links.targets()[target].last_error.find("refused"), std::string::npos);
  node.reachable = true;
  wait(15'000);
  EXPECT_EQ(node.links.targets()[target].state, LinkTarget::State::kUp);
  EXPECT_EQ(node.links.targets()[target].attempts, 0u);
  const auto link = node.links.targets()[target].link;
  EXPECT_EQ(node.links.table().find(link)->node_id, "node-b");
  EXPECT_EQ(node.records[link].link_class, LinkClass::kPeer);
  node.links.close(link, "test", network.now_ms);
  network.run();
  EXPECT_EQ(node.links.targets()[target].state, LinkTarget::State::kWaiting);
  wait(2'000);
  EXPECT_EQ(node.links.targets()[target].state, LinkTarget::State::kUp);
  node.links.remove_target(target, network.now_ms);
  network.run();
  wait(5'000);
  EXPECT_EQ(node.links.targets()[target].state, LinkTarget::State::kRemoved);
  EXPECT_EQ(node.links.table().size(), 0u);
  EXPECT_EQ(other.links.table().size(), 0u);
}

TEST_F(LinksTest, NodesThatDialEachOtherKeepOneLink) {
  SimNode other(network, "node-b");
  const auto there = node.connect_to(other);
  other.connect_to(node);
  wait(30'000);
  std::uint32_t up = 0;
  node.links.table().each([&](NodeLink& link) { up += link.record.state == LinkState::kUp; });
  EXPECT_EQ(up, 1u);
  // The smaller id's link is the one that stays.
  EXPECT_EQ(node.links.targets()[there].state, LinkTarget::State::kUp);
}

TEST_F(LinksTest, RefusedByTheOtherNodeIsNotUp) {
  SimNode other(network, "node-b", "elsewhere");
  const auto target = node.connect_to(other);
  wait(1'000);
  EXPECT_EQ(node.links.targets()[target].state, LinkTarget::State::kWaiting);
  EXPECT_NE(node.links.targets()[target].last_error.find("the peer refused: this node belongs to deployment `elsewhere`"), std::string::npos);
}

// --- datagrams ------------------------------------------------------------------------------------------------------

class DatagramHello : public LinksTest {
 protected:
  Hello from{.port = 31,
             .transport = static_cast<std::uint8_t>(LinkTransport::kDatagram),
             .worker = 0,
             .from = {.address = {10, 0, 0, 9}, .port = 999, .family = 4},
             .to = {},
             .from_mac = {}};
  HelloBody hello;
  void SetUp() override {
    hello.node_id = "app";
    hello.receive_link_id = 0x1234;
    hello.datagram_bytes = 1'200;
  }
  void say() {
    node.links.on_hello(from, encode_link(hello), network.now_ms);
    network.run();
  }
  HelloReplyBody last_answer() {
    auto body = decode_link(node.answers.back().frame);
    return std::get<HelloReplyBody>(*body);
  }
};

TEST_F(DatagramHello, NothingIsKeptBeforeTheCookieComesBack) {
  say();
  ASSERT_EQ(node.answers.size(), 1u);
  EXPECT_EQ(node.answers[0].link_id, 0x1234u);
  EXPECT_FALSE(last_answer().challenge.empty());
  EXPECT_EQ(node.links.table().size(), 0u);
  EXPECT_LE(node.answers[0].frame.size(), encode_link(hello).size() + 32);  // no amplifier
  hello.cookie = last_answer().challenge;
  say();
  ASSERT_EQ(node.links.table().size(), 1u);
  ASSERT_EQ(node.datagrams.size(), 1u);
  const auto& [record, frame] = node.datagrams[0];
  EXPECT_EQ(record.peer_link_id, 0x1234u);
  EXPECT_EQ(record.datagram_bytes, 1'200u);
  EXPECT_TRUE(record.check_source_port);
  const auto reply = std::get<HelloReplyBody>(*decode_link(frame));
  EXPECT_TRUE(reply.accepted);
  EXPECT_EQ(reply.receive_link_id, record.id());
}

TEST_F(DatagramHello, RepeatedHelloIsAnsweredAgainAndMakesNoSecondLink) {
  say();
  hello.cookie = last_answer().challenge;
  say();
  say();
  EXPECT_EQ(node.links.table().size(), 1u);
  EXPECT_EQ(node.datagrams.size(), 2u);
  hello.receive_link_id = 0x9999;  // the peer has started again
  say();
  network.run();
  EXPECT_EQ(node.links.table().size(), 1u);
  EXPECT_EQ(node.datagrams.back().first.peer_link_id, 0x9999u);
}

TEST_F(DatagramHello, PeerWhoseSourcePortVariesIsAnsweredWhereItListens) {
  hello.entropy_ports = true;
  hello.receive_udp_port = 46'367;
  say();
  EXPECT_EQ(node.answers.back().hello.from.port, 46'367);
  hello.cookie = last_answer().challenge;
  from.from.port = 31'000;  // another one each time
  say();
  ASSERT_EQ(node.links.table().size(), 1u);
  EXPECT_EQ(node.datagrams.back().first.peer.port, 46'367);
  EXPECT_FALSE(node.datagrams.back().first.check_source_port);
  from.from.port = 32'000;
  say();
  EXPECT_EQ(node.links.table().size(), 1u);
}

TEST_F(DatagramHello, CookieOfAnotherAddressMakesNoLink) {
  say();
  hello.cookie = last_answer().challenge;
  from.from.address[3] = 10;
  say();
  EXPECT_EQ(node.links.table().size(), 0u);
}

TEST_F(DatagramHello, NoWayIsToldAndKeepsNothing) {
  say();
  hello.cookie = last_answer().challenge;
  node.way_fault = "no route";
  say();
  EXPECT_FALSE(last_answer().accepted);
  EXPECT_EQ(last_answer().error, "no route");
  EXPECT_EQ(node.links.table().size(), 0u);
  EXPECT_EQ(node.links.half_open(), 0u);
}

TEST_F(DatagramHello, SilentDatagramLinkIsForgotten) {
  say();
  hello.cookie = last_answer().challenge;
  say();
  wait(5'000);
  EXPECT_EQ(node.links.table().size(), 0u);
}

TEST_F(LinksTest, DatagramTargetSaysHelloAgainUntilItIsAnswered) {
  LinkTarget target;
  target.name = "far";
  target.link_class = LinkClass::kRemote;
  const auto number = node.links.add_target(target, network.now_ms);
  node.reachable = false;
  SimNode other(network, "node-b");
  wait(100);
  // The sink of this test knows no way to dial it by itself: as if the socket were open now.
  const_cast<LinkTarget&>(node.links.targets()[number]).state = LinkTarget::State::kDialing;
  LinkRecord way;
  way.transport = LinkTransport::kDatagram;
  way.port = 30;
  way.datagram_bytes = 1'400;
  ASSERT_TRUE(node.links.dialed_datagram(number, way, 0, "udp", network.now_ms));
  wait(1'200);
  ASSERT_GE(node.datagrams.size(), 3u);
  EXPECT_EQ(node.datagrams[0].first.peer_link_id, 0u);  // so that it leaves as a hello
  const auto link = node.links.targets()[number].link;
  const auto generation = node.links.table().find(link)->record.generation;
  HelloReplyBody reply;
  reply.challenge = {std::byte{7}};
  node.links.on_link_frame(link, generation, encode_link(reply), network.now_ms);
  EXPECT_EQ(std::get<HelloBody>(*decode_link(node.datagrams.back().second)).cookie, reply.challenge);
  reply = {.accepted = true, .version = "1", .node_id = "node-b", .link_class = 1, .receive_link_id = 55};
  node.links.on_link_frame(link, generation, encode_link(reply), network.now_ms);
  network.run();
  EXPECT_EQ(node.links.targets()[number].state, LinkTarget::State::kUp);
  EXPECT_EQ(node.records[link].peer_link_id, 55u);
  EXPECT_EQ(node.records[link].link_class, LinkClass::kRemote);
}

}  // namespace
}  // namespace slipway
