// Forwarding through whole workers: packets in at one end, packets and stream bytes out at the other.
#include <gtest/gtest.h>
#include <rte_mbuf.h>

#include <algorithm>
#include <set>

#include "test_node.h"

namespace slipway::test {
namespace {

// The frame that a receiver should see: one hop less.
Bytes one_hop_on(Bytes frame) {
  set_frame_hop_limit(frame.data(), static_cast<std::uint8_t>(frame_hop_limit(frame.data()) - 1));
  return frame;
}

std::map<LinkIndex, int> count_by_link(const std::vector<Delivered>& delivered) {
  std::map<LinkIndex, int> count;
  for (const Delivered& d : delivered) {
    ++count[d.link];
  }
  return count;
}

TEST(Forward, UnicastArrivesWithOneHopLess) {
  TestNode node({});
  const auto a = node.add_ethernet(0);
  const auto b = node.add_ethernet(1);
  node.subscribe(b, test_name(1, true));
  for (const std::size_t body : {0u, 1u, 64u, 512u, 513u, 1300u}) {
    const Bytes frame = make_publish({.to = test_name(1, true), .body_bytes = body});
    node.send(a, frame);
    node.settle();
    const auto out = node.take();
    ASSERT_EQ(out.size(), 1u) << body;
    EXPECT_EQ(out[0].link, b);
    EXPECT_EQ(out[0].frame, one_hop_on(frame)) << body;
  }
  EXPECT_EQ(node.total(&WorkerCounters::forwarded), 6u);
  EXPECT_EQ(node.total(&WorkerCounters::sent), 6u);
  EXPECT_EQ(node.books(), "");
}

TEST(Forward, LargeFramesAreCutAndJoined) {
  TestNode node({});
  const auto a = node.add_ethernet(0);
  const auto b = node.add_ethernet(1);
  node.subscribe(b, test_name(1));
  for (const std::size_t body : {1400u, 3000u, 20'000u, 60'000u}) {
    const Bytes frame = make_publish({.to = test_name(1), .body_bytes = body});
    node.send(a, frame);
    node.settle();
    const auto out = node.take();
    ASSERT_EQ(out.size(), 1u) << body;
    EXPECT_EQ(out[0].frame, one_hop_on(frame)) << body;
  }
  EXPECT_GT(node.total(&WorkerCounters::fragments_in), 40u);
  EXPECT_GT(node.total(&WorkerCounters::fragments_out), 40u);
  EXPECT_EQ(node.books(), "");
}

TEST(Forward, ExactIdDoesNotFallBackToTheService) {
  TestNode node({});
  const auto a = node.add_ethernet(0);
  const auto b = node.add_ethernet(1);
  node.subscribe(b, test_name(1));  // the null id
  node.send(a, make_publish({.to = test_name(1, true)}));
  node.settle();
  EXPECT_TRUE(node.take().empty());
  EXPECT_EQ(node.drops(DropReason::kNoRoute), 1u);
  node.send(a, make_publish({.to = test_name(1)}));
  node.settle();
  EXPECT_EQ(node.take().size(), 1u);
  EXPECT_EQ(node.books(), "");
}

TEST(Forward, AnycastSpreadsEvenlyAndNeverGoesBack) {
  TestNode node({});
  const auto sender = node.add_ethernet(0);
  std::vector<LinkIndex> receivers;
  for (int i = 0; i < 3; ++i) {
    receivers.push_back(node.add_ethernet(1));
    node.subscribe(receivers.back(), test_name(1));
  }
  for (int i = 0; i < 300; ++i) {
    node.send(sender, make_publish({.to = test_name(1), .message = static_cast<std::uint32_t>(i)}));
    node.settle();
  }
  auto count = count_by_link(node.take());
  for (const auto link : receivers) {
    EXPECT_EQ(count[link], 100);
  }
  for (int i = 0; i < 100; ++i) {
    node.send(receivers[0], make_publish({.to = test_name(1)}));
    node.settle();
  }
  count = count_by_link(node.take());
  EXPECT_EQ(count[receivers[0]], 0);
  EXPECT_EQ(count[receivers[1]], 50);
  EXPECT_EQ(count[receivers[2]], 50);
  EXPECT_EQ(node.books(), "");
}

TEST(Forward, AnycastPrefersTheNearestClassOrUpstreams) {
  for (const auto order : {AnycastOrder::kNearest, AnycastOrder::kUpstream}) {
    TestNode node({.order = order});
    const auto sender = node.add_ethernet(0);
    const auto edge = node.add_ethernet(1, 0, LinkClass::kEdge);
    const auto peer = node.add_ethernet(1, 0, LinkClass::kPeer);
    const auto remote = node.add_ethernet(1, 0, LinkClass::kRemote);
    for (const auto link : {edge, peer, remote}) {
      node.subscribe(link, test_name(1));
    }
    for (int i = 0; i < 10; ++i) {
      node.send(sender, make_publish({.to = test_name(1)}));
    }
    node.settle();
    const auto count = count_by_link(node.take());
    ASSERT_EQ(count.size(), 1u);
    EXPECT_EQ(count.begin()->first, order == AnycastOrder::kNearest ? edge : remote);
  }
}

TEST(Forward, LeastLoadedSpreadsToo) {
  TestNode node({.policy = AnycastPolicy::kLeastLoaded});
  const auto sender = node.add_ethernet(0);
  const auto b = node.add_ethernet(1);
  const auto c = node.add_ethernet(1);
  node.subscribe(b, test_name(1));
  node.subscribe(c, test_name(1));
  node.subscribe(b, test_name(2));
  for (int i = 0; i < 20; ++i) {
    node.send(sender, make_publish({.to = test_name(2)}));  // only b: it is the busier one
  }
  node.settle(10);
  node.take();
  for (int i = 0; i < 20; ++i) {
    node.send(sender, make_publish({.to = test_name(1)}));
  }
  node.settle(10);
  auto count = count_by_link(node.take());
  EXPECT_EQ(count[b] + count[c], 20);
  EXPECT_GE(count[c], 18);
}

TEST(Forward, FullMeshPeersDoNotRelayToPeers) {
  TestNode node({.peers_full_mesh = true});
  const auto p = node.add_ethernet(0, 0, LinkClass::kPeer);
  const auto q = node.add_ethernet(1, 0, LinkClass::kPeer);
  const auto e = node.add_ethernet(1, 0, LinkClass::kEdge);
  node.subscribe(q, test_name(1));
  node.subscribe(e, test_name(1));
  node.send(p, make_publish({.to = test_name(1), .fanout = 256}));
  node.send(e, make_publish({.to = test_name(1), .fanout = 256}));
  node.settle();
  const auto count = count_by_link(node.take());
  EXPECT_EQ(count, (std::map<LinkIndex, int>{{e, 1}, {q, 1}}));
  EXPECT_EQ(node.books(), "");
}

TEST(Forward, ChannelReachesAllButTheSender) {
  TestNode node({});
  std::vector<LinkIndex> members;
  for (int i = 0; i < 16; ++i) {
    members.push_back(node.add_ethernet(static_cast<std::uint16_t>(i % 2)));
    node.subscribe(members.back(), test_name(9, true));
  }
  for (const std::size_t body : {64u, 512u, 513u, 1200u, 5000u}) {
    const Bytes frame = make_publish({.to = test_name(9, true), .fanout = 256, .body_bytes = body});
    node.send(members[3], frame);
    node.settle();
    const auto out = node.take();
    EXPECT_EQ(out.size(), 15u);
    auto count = count_by_link(out);
    EXPECT_EQ(count.size(), 15u);
    EXPECT_EQ(count[members[3]], 0);
    for (const Delivered& d : out) {
      EXPECT_EQ(d.frame, one_hop_on(frame)) << body;
    }
  }
  EXPECT_EQ(node.total(&WorkerCounters::forwarded), 5u);
  EXPECT_EQ(node.total(&WorkerCounters::copies_made), 75u);
  EXPECT_EQ(node.books(), "");
}

TEST(Forward, HopLimit) {
  TestNode node({});
  const auto a = node.add_ethernet(0);
  const auto b = node.add_ethernet(1);
  node.subscribe(b, test_name(1));
  for (const std::uint8_t hops : {0, 1}) {
    node.send(a, make_publish({.to = test_name(1), .hops = hops}));
  }
  node.settle();
  EXPECT_TRUE(node.take().empty());
  EXPECT_EQ(node.drops(DropReason::kHopLimit), 2u);
  for (const std::uint8_t hops : {2, 8, 255}) {
    node.send(a, make_publish({.to = test_name(1), .hops = hops}));
    node.settle();
    const auto out = node.take();
    ASSERT_EQ(out.size(), 1u);
    EXPECT_EQ(frame_hop_limit(out[0].frame.data()), hops - 1);
  }
  node.send(a, make_control(FrameKind::kSubscribe, test_name(2), 32, 1));
  node.settle();
  EXPECT_EQ(node.drops(DropReason::kHopLimit), 3u);
  EXPECT_EQ(node.total(&WorkerCounters::punted), 0u);
  EXPECT_EQ(node.books(), "");
}

TEST(Forward, BadHeadersHaveTheirReasons) {
  TestNode node({});
  const auto a = node.add_ethernet(0);
  const Bytes good = make_publish({.to = test_name(1)});
  const auto with = [&good](std::size_t at, std::uint8_t value) {
    Bytes frame = good;
    frame[at] = static_cast<std::byte>(value);
    return frame;
  };
  struct Case {
    Bytes frame;
    DropReason reason;
  };
  const std::vector<Case> cases = {
      {with(frame_offset::kVersion, 2), DropReason::kFrameVersion},
      {with(frame_offset::kKind, 0), DropReason::kFrameKind},
      {with(frame_offset::kKind, 6), DropReason::kFrameKind},
      {with(97, 1), DropReason::kFrameFlags},
      {with(98, 0x80), DropReason::kFrameFlags},
      {with(98, 0x0C), DropReason::kFrameFlags},  // error false and true
      {with(99, 1), DropReason::kFrameFlags},
      {with(103, 1), DropReason::kFrameFlags},
      {make_control(FrameKind::kSubscribe, test_name(1), kMaxControlFrameBytes), DropReason::kControlTooBig},
  };
  for (const Case& c : cases) {
    const auto before = node.drops(c.reason);
    node.send(a, c.frame);
    node.settle();
    EXPECT_EQ(node.drops(c.reason), before + 1) << drop_reason_text(c.reason).name;
    EXPECT_EQ(node.books(), "");
  }
  EXPECT_EQ(node.total(&WorkerCounters::dropped_frames), cases.size());
}

TEST(Forward, LinkStates) {
  TestNode node({});
  const auto a = node.add_ethernet(0);
  const auto b = node.add_ethernet(1);
  node.subscribe(b, test_name(1));
  node.record(a).state = LinkState::kGreeting;
  node.post_link(a);
  node.send(a, make_publish({.to = test_name(1)}));
  node.send(a, make_control(FrameKind::kSubscribe, test_name(1)));
  node.send(a, make_control(FrameKind::kLink, {}));
  node.settle();
  EXPECT_EQ(node.drops(DropReason::kLinkNotReady), 2u);
  EXPECT_EQ(node.total(&WorkerCounters::punted), 1u);
  EXPECT_TRUE(node.take().empty());
  node.record(a).state = LinkState::kUp;
  node.post_link(a);
  // Nothing goes to a link that is closing; what it sent is still read.
  node.record(b).state = LinkState::kClosing;
  node.post_link(b);
  node.subscribe(a, test_name(2));
  node.send(a, make_publish({.to = test_name(1)}));
  node.send(b, make_publish({.to = test_name(2)}));
  node.settle();
  const auto out = node.take();
  ASSERT_EQ(out.size(), 1u);
  EXPECT_EQ(out[0].link, a);
  EXPECT_EQ(node.drops(DropReason::kLinkGone), 1u);
  EXPECT_EQ(node.books(), "");
}

TEST(Forward, OnlyIngressAndTooBig) {
  TestNode node({});
  const auto a = node.add_ethernet(0);
  const auto b = node.add_ethernet(1);
  node.subscribe(a, test_name(1));
  node.send(a, make_publish({.to = test_name(1)}));
  node.send(a, make_publish({.to = test_name(1), .fanout = 0}));
  node.settle();
  EXPECT_EQ(node.drops(DropReason::kOnlyIngress), 2u);
  node.record(b).max_frame_bytes = 500;
  node.post_link(b);
  node.subscribe(b, test_name(2));
  node.send(a, make_publish({.to = test_name(2), .body_bytes = 500}));                 // nobody else: a dropped frame
  node.send(a, make_publish({.to = test_name(2), .fanout = 9, .body_bytes = 500}));    // a dropped copy
  node.settle();
  EXPECT_EQ(node.drops(DropReason::kTooBigForLink), 2u);
  EXPECT_EQ(node.total(&WorkerCounters::dropped_copies), 1u);
  EXPECT_TRUE(node.take().empty());
  EXPECT_EQ(node.books(), "");
}

TEST(Forward, StaleGenerationsAreUnknown) {
  TestNode node({});
  const auto a = node.add_ethernet(0);
  const auto b = node.add_ethernet(1);
  node.subscribe(b, test_name(1));
  node.settle();
  const LinkRecord old = node.record(a);
  node.record(a).generation += 7;
  node.send(a, make_publish({.to = test_name(1)}));  // the peer already speaks the new one
  node.settle();
  EXPECT_EQ(node.drops(DropReason::kUnknownLink), 1u);
  node.post_link(a);
  node.send(a, make_publish({.to = test_name(1)}));
  node.settle();
  EXPECT_EQ(node.take().size(), 1u);
  // A removal of the old generation does not touch the new one.
  LinkRecord gone = old;
  gone.state = LinkState::kFree;
  node.worker().post(Command::kLink, gone);
  node.send(a, make_publish({.to = test_name(1)}));
  node.settle();
  EXPECT_EQ(node.take().size(), 1u);
  EXPECT_EQ(node.books(), "");
}

TEST(Forward, RemovedLinkIsReleased) {
  TestNode node({});
  const auto a = node.add_ethernet(0);
  const auto b = node.add_ethernet(1);
  node.subscribe(b, test_name(1));
  node.settle();
  node.events();
  node.remove(b);
  node.send(a, make_publish({.to = test_name(1)}));
  node.settle();
  EXPECT_EQ(node.drops(DropReason::kNoRoute), 1u);
  int released = 0;
  for (const auto& [event, bytes] : node.events()) {
    if (event == Event::kLinkReleased) {
      LinkReleased record;
      std::memcpy(&record, bytes.data(), sizeof record);
      EXPECT_EQ(record.link, b);
      ++released;
    }
  }
  EXPECT_EQ(released, 1);
  EXPECT_EQ(node.books(), "");
}

TEST(Forward, OrderIsKept) {
  TestNode node({});
  const auto a = node.add_ethernet(0);
  const auto b = node.add_ethernet(1);
  std::vector<LinkIndex> crowd;
  for (int i = 0; i < 60; ++i) {
    crowd.push_back(node.add_ethernet(1));
    node.subscribe(crowd.back(), test_name(5));
  }
  node.subscribe(b, test_name(5));
  // Fan-outs that take several loops, with frames to one of the same flow between them.
  std::uint32_t message = 0;
  std::vector<Delivered> out;
  for (int round = 0; round < 20; ++round) {
    for (int i = 0; i < 30; ++i) {
      node.send(a, make_publish({.to = test_name(5), .fanout = i % 3 == 0 ? 1u : 256u, .message = ++message}));
    }
    node.step();
    for (const Delivered& d : node.take()) {
      out.push_back(d);
    }
  }
  for (int i = 0; i < 100; ++i) {
    node.step();
    for (const Delivered& d : node.take()) {
      out.push_back(d);
    }
  }
  std::map<LinkIndex, std::uint32_t> last;
  for (const Delivered& d : out) {
    EXPECT_GT(message_of(d.frame), last[d.link]);
    last[d.link] = message_of(d.frame);
  }
  EXPECT_EQ(out.size(), 600u / 3 * 2 * 61 + 600 / 3);
  EXPECT_EQ(node.books(), "");
}

TEST(Forward, GroupOfFourThousandIsSplitAndServedOnce) {
  TestNode node({.mbufs = 16'384, .max_link_subscriptions = 100'000});
  const auto sender = node.add_ethernet(0);
  constexpr int kMembers = 4096;
  for (int i = 0; i < kMembers; ++i) {
    node.subscribe(node.add_ethernet(1), test_name(3));
    if (i % 200 == 0) {
      node.settle();
    }
  }
  node.settle();
  node.send(sender, make_publish({.to = test_name(3), .fanout = 256}));
  std::map<LinkIndex, int> count;
  std::uint32_t loops = 0;
  while (node.step() != 0) {
    ++loops;
    std::size_t in_loop = 0;
    for (const Delivered& d : node.take()) {
      ++count[d.link];
      ++in_loop;
    }
    EXPECT_LE(in_loop, kFanoutPerLoop);
    EXPECT_EQ(node.books(), "");
  }
  EXPECT_GE(loops, kMembers / kFanoutPerLoop);
  EXPECT_EQ(count.size(), static_cast<std::size_t>(kMembers));
  EXPECT_TRUE(std::all_of(count.begin(), count.end(), [](const auto& c) { return c.second == 1; }));
  // Another frame passes a fan-out that is under way.
  const auto other = node.add_ethernet(1);
  node.subscribe(other, test_name(4));
  node.settle();
  node.take();
  node.send(sender, make_publish({.to = test_name(3), .fanout = 256}));
  node.send(sender, make_publish({.to = test_name(4), .session = 99}));
  node.step();
  const auto first = count_by_link(node.take());
  EXPECT_EQ(first.count(other), 1u);
  while (node.step() != 0) {
    node.take();
  }
}

TEST(Forward, MembersWhoLeaveDuringAFanoutAreNotServedAndNothingLeaks) {
  TestNode node({.mbufs = 16'384});
  const auto sender = node.add_ethernet(0);
  std::vector<LinkIndex> members;
  for (int i = 0; i < 3000; ++i) {
    members.push_back(node.add_ethernet(1));
    node.subscribe(members.back(), test_name(3));
    if (i % 200 == 0) {
      node.settle();
    }
  }
  node.settle();
  node.send(sender, make_publish({.to = test_name(3), .fanout = 256}));
  node.send(sender, make_publish({.to = test_name(3), .fanout = 256, .message = 2}));
  node.step();
  for (const auto link : members) {
    node.remove(link);  // all of them
  }
  for (int i = 0; i < 60; ++i) {
    node.step();
    EXPECT_EQ(node.books(), "");
  }
  node.take();
  EXPECT_EQ(node.mbufs_out(), 0u);
}

TEST(Forward, EmptyPoolMidFanoutServesMembersInTurns) {
  TestNode node({.mbufs = 1024});
  const auto sender = node.add_ethernet(0);
  constexpr int kMembers = 200;
  for (int i = 0; i < kMembers; ++i) {
    node.subscribe(node.add_ethernet(1), test_name(3));
  }
  node.settle();
  // Buffers leave through the ring only when the test takes them: with 112 of 1,024 left a fan-out runs dry half-way.
  std::vector<rte_mbuf*> taken(912);
  ASSERT_EQ(rte_pktmbuf_alloc_bulk(node.pool(), taken.data(), 912), 0);
  std::map<LinkIndex, int> count;
  constexpr int kFrames = 400;
  for (int i = 0; i < kFrames; ++i) {
    node.send(sender, make_publish({.to = test_name(3), .fanout = 256}));
    while (node.step() != 0) {
    }
    EXPECT_EQ(node.books(), "");
    for (const Delivered& d : node.take()) {
      ++count[d.link];
    }
  }
  rte_pktmbuf_free_bulk(taken.data(), 912);
  EXPECT_GT(node.drops(DropReason::kNoBuffer), 1000u);
  EXPECT_EQ(node.drops(DropReason::kNoBuffer) + node.total(&WorkerCounters::sent), std::uint64_t{kFrames} * kMembers);
  ASSERT_EQ(count.size(), static_cast<std::size_t>(kMembers));
  int least = kFrames;
  int most = 0;
  for (const auto& [link, n] : count) {
    least = std::min(least, n);
    most = std::max(most, n);
  }
  EXPECT_GT(least, most / 2) << "least " << least << ", most " << most;
}

TEST(Forward, FullTransmitQueueDropsAndBalances) {
  TestNode node({.mbufs = 8192});
  const auto a = node.add_ethernet(0);
  const auto b = node.add_ethernet(1);
  node.subscribe(b, test_name(1));
  for (int i = 0; i < 2000; ++i) {  // the ring behind the port holds 1,023 packets, and nobody takes any
    node.send(a, make_publish({.to = test_name(1), .body_bytes = i % 7 == 0 ? 3000u : 64u}));
    if (i % 8 == 7) {
      node.step();
    }
  }
  node.settle();
  EXPECT_GT(node.drops(DropReason::kTxFull), 500u);
  EXPECT_EQ(node.books(), "");
  // What was not taken was taken back from the bytes, too: these are sums of the two lengths.
  const std::uint64_t small = kFrameHeaderBytes + 64;
  EXPECT_EQ((node.total(&WorkerCounters::bytes_sent) - node.total(&WorkerCounters::sent) * small) % (3000 - 64), 0u);
  node.take_packets(1);
}

TEST(Forward, PortThatGoesAwayIsNotTouched) {
  TestNode node({});
  const auto a = node.add_ethernet(0);
  const auto b = node.add_ethernet(1);
  node.subscribe(b, test_name(1));
  node.settle();
  auto& state = const_cast<PortState&>(node.port(1).state());
  state.carrier = false;
  for (int i = 0; i < 5; ++i) {
    node.send(a, make_publish({.to = test_name(1)}));
  }
  node.settle();
  EXPECT_TRUE(node.take().empty());
  EXPECT_EQ(node.drops(DropReason::kPortDown), 5u);
  EXPECT_EQ(node.books(), "");
  state.carrier = true;
  node.send(a, make_publish({.to = test_name(1)}));
  node.settle();
  EXPECT_EQ(node.take().size(), 1u);
  auto& ingress = const_cast<PortState&>(node.port(0).state());
  ingress.open = false;
  node.send(a, make_publish({.to = test_name(1)}));
  node.settle();
  EXPECT_TRUE(node.take().empty());
  ingress.open = true;
  node.settle();
  EXPECT_EQ(node.take().size(), 1u);
  EXPECT_EQ(node.books(), "");
}

TEST(Hold, FramesWaitForTheNextHopInOrder) {
  TestNode node({});
  const auto a = node.add_ethernet(0);
  const auto b = node.add_ethernet(1);
  const OuterTemplate resolved = node.record(b).outer;
  node.record(b).outer.length = 0;
  node.post_link(b);
  node.subscribe(b, test_name(1));
  for (std::uint32_t i = 1; i <= kMaxHeldPerLink + 10; ++i) {
    node.send(a, make_publish({.to = test_name(1), .message = i}));
    node.settle(4);
  }
  EXPECT_TRUE(node.take().empty());
  EXPECT_EQ(node.drops(DropReason::kHeldTooMany), 10u);
  EXPECT_EQ(node.worker().held(), kMaxHeldPerLink);
  EXPECT_EQ(node.worker().link_counters()[b].queued_frames.get(), kMaxHeldPerLink);
  EXPECT_EQ(node.books(), "");
  node.record(b).outer = resolved;
  node.post_link(b);
  node.settle();
  const auto out = node.take();
  ASSERT_EQ(out.size(), std::size_t{kMaxHeldPerLink});
  for (std::size_t i = 0; i < out.size(); ++i) {
    EXPECT_EQ(message_of(out[i].frame), i + 1);
  }
  EXPECT_EQ(node.worker().held(), 0u);
  EXPECT_EQ(node.worker().counters().held_bytes.get(), 0u);
  EXPECT_EQ(node.books(), "");
}

TEST(Hold, ExpiresAndGoesWithTheLink) {
  TestNode node({});
  const auto a = node.add_ethernet(0);
  const auto b = node.add_ethernet(1);
  const auto c = node.add_ethernet(1);
  for (const auto link : {b, c}) {
    node.record(link).outer.length = 0;
    node.post_link(link);
  }
  node.subscribe(b, test_name(1));
  node.subscribe(c, test_name(2));
  for (int i = 0; i < 5; ++i) {
    node.send(a, make_publish({.to = test_name(1)}));
    node.send(a, make_publish({.to = test_name(2)}));
  }
  node.settle();
  node.remove(c);
  node.settle();
  EXPECT_EQ(node.drops(DropReason::kLinkGone), 5u);
  EXPECT_EQ(node.worker().held(), 5u);
  node.pass_ms(kHoldMs + 1);
  for (std::uint32_t i = 0; i <= kHousekeepingLoops; ++i) {
    node.step();
  }
  EXPECT_EQ(node.drops(DropReason::kUnresolved), 5u);
  EXPECT_EQ(node.worker().held(), 0u);
  EXPECT_EQ(node.books(), "");
}

TEST(Hold, StaysInTheBudget) {
  TestNode node({.budget_bytes = 4000});
  const auto a = node.add_ethernet(0);
  const auto b = node.add_ethernet(1);
  node.record(b).outer.length = 0;
  node.post_link(b);
  node.subscribe(b, test_name(1));
  for (int i = 0; i < 10; ++i) {
    node.send(a, make_publish({.to = test_name(1), .body_bytes = 1000}));
  }
  node.settle();
  EXPECT_EQ(node.drops(DropReason::kNodeBudget), 7u);
  EXPECT_EQ(node.books(), "");
}

}  // namespace
}  // namespace slipway::test
