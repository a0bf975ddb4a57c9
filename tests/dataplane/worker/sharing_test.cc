// Several workers, stepped by hand: handoff, streams and Ethernet links that meet, pressure across workers.
#include <gtest/gtest.h>
#include <rte_mbuf.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>

#include "test_node.h"

namespace slipway::test {
namespace {

Bytes one_hop_on(Bytes frame) {
  set_frame_hop_limit(frame.data(), static_cast<std::uint8_t>(frame_hop_limit(frame.data()) - 1));
  return frame;
}

// Two poll workers, one port each; or a poll worker with both ports beside a socket worker.
NodeSpec two_poll_workers() { return {.workers = {{.rx_ports = {0}, .tx_ports = {0}}, {.rx_ports = {1}, .tx_ports = {1}}}}; }
NodeSpec poll_and_sockets() {
  return {.workers = {{.rx_ports = {0, 1}, .tx_ports = {0, 1}}, {.sockets = true}}, .mbufs = 16'384};
}
NodeSpec two_socket_workers() { return {.workers = {{.sockets = true}, {.sockets = true}}, .ports = 0, .mbufs = 16'384}; }

// Steps until `count` deliveries have come or it takes too long.
std::vector<Delivered> wait_for(TestNode& node, std::size_t count, int rounds = 2000) {
  std::vector<Delivered> out;
  for (int i = 0; i < rounds && out.size() < count; ++i) {
    node.settle(4);
    for (Delivered& d : node.take()) {
      out.push_back(std::move(d));
    }
    if (out.size() < count) {
      usleep(200);
    }
  }
  return out;
}

TEST(Handoff, CopiesCrossToTheWorkerThatSends) {
  TestNode node(two_poll_workers());
  const auto a = node.add_ethernet(0, 0);
  const auto b = node.add_ethernet(1, 1);
  node.subscribe(b, test_name(1));
  node.settle();
  const Bytes frame = make_publish({.to = test_name(1), .body_bytes = 700});
  node.send(a, frame);
  node.step(0);
  EXPECT_TRUE(node.take().empty());
  EXPECT_EQ(node.worker(0).counters().handoff_out.get(), 1u);
  EXPECT_EQ(node.group().in_handoff(), 1u);
  EXPECT_EQ(node.books(), "");
  node.step(1);
  const auto out = node.take();
  ASSERT_EQ(out.size(), 1u);
  EXPECT_EQ(out[0].frame, one_hop_on(frame));
  EXPECT_EQ(node.group().in_handoff(), 0u);
  EXPECT_EQ(node.books(), "");
}

TEST(Handoff, ChannelOverTwoWorkersSharesTheFrame) {
  TestNode node(two_poll_workers());
  std::vector<LinkIndex> members;
  for (std::uint16_t i = 0; i < 20; ++i) {
    const std::uint16_t side = i % 2;
    members.push_back(node.add_ethernet(side, side));
    node.subscribe(members.back(), test_name(1));
  }
  node.settle();
  for (const std::size_t body : {64u, 900u, 6000u}) {
    const Bytes frame = make_publish({.to = test_name(1), .fanout = 2, .body_bytes = body});
    node.send(members[0], frame);
    node.settle();
    const auto out = node.take();
    EXPECT_EQ(out.size(), 19u);
    EXPECT_TRUE(std::all_of(out.begin(), out.end(), [&](const Delivered& d) { return d.frame == one_hop_on(frame); }));
    EXPECT_EQ(node.books(), "");
  }
}

TEST(Handoff, FramesInFlightToARemovedLinkAreLinkGone) {
  TestNode node(two_poll_workers());
  const auto a = node.add_ethernet(0, 0);
  const auto b = node.add_ethernet(1, 1);
  node.subscribe(b, test_name(1));
  node.settle();
  for (int i = 0; i < 10; ++i) {
    node.send(a, make_publish({.to = test_name(1)}));
  }
  node.step(0);
  EXPECT_EQ(node.group().in_handoff(), 10u);
  // The link goes, and its index comes back with another generation before the frames are taken over.
  node.remove(b);
  node.record(b).generation += 5;
  node.post_link(b);
  node.step(1);
  EXPECT_EQ(node.drops(DropReason::kLinkGone), 10u);
  EXPECT_TRUE(node.take().empty());
  EXPECT_EQ(node.books(), "");
}

TEST(Handoff, FullRingDropsAndBalances) {
  NodeSpec spec = two_poll_workers();
  spec.mbufs = 16'384;
  TestNode node(spec);
  const auto a = node.add_ethernet(0, 0);
  const auto b = node.add_ethernet(1, 1);
  node.subscribe(b, test_name(1));
  node.settle();
  for (std::uint32_t i = 0; i < kHandoffRingFrames + 500; ++i) {
    node.send(a, make_publish({.to = test_name(1)}));
    if (i % 32 == 31) {
      node.step(0);
    }
  }
  node.step(0);
  EXPECT_GT(node.drops(DropReason::kHandoffFull), 400u);
  EXPECT_EQ(node.books(), "");
}

TEST(Handoff, WhatLiesInRingsAtTheEndIsFreed) {
  TestNode node(two_poll_workers());
  const auto a = node.add_ethernet(0, 0);
  const auto b = node.add_ethernet(1, 1);
  node.subscribe(b, test_name(1));
  node.settle();
  for (int i = 0; i < 30; ++i) {
    node.send(a, make_publish({.to = test_name(1)}));
  }
  node.step(0);
  EXPECT_EQ(node.group().in_handoff(), 30u);
}

TEST(Mixed, StreamToEthernetAndBack) {
  TestNode node(poll_and_sockets());
  const auto ethernet = node.add_ethernet(1, 0);
  const auto stream = node.add_stream(1);
  node.subscribe(ethernet, test_name(1));
  node.subscribe(stream, test_name(2));
  node.settle();
  for (const std::size_t body : {0u, 64u, 512u, 513u, 1400u, 20'000u, 60'000u}) {
    const Bytes down = make_publish({.to = test_name(1), .body_bytes = body});
    node.send(stream, down);
    auto out = wait_for(node, 1);
    ASSERT_EQ(out.size(), 1u) << body;
    EXPECT_EQ(out[0].link, ethernet);
    EXPECT_EQ(out[0].frame, one_hop_on(down)) << body;
    const Bytes up = make_publish({.to = test_name(2), .body_bytes = body});
    node.send(ethernet, up);
    out = wait_for(node, 1);
    ASSERT_EQ(out.size(), 1u) << body;
    EXPECT_EQ(out[0].link, stream);
    EXPECT_EQ(out[0].frame, one_hop_on(up)) << body;
  }
  node.settle();
  EXPECT_EQ(node.books(), "");
}

TEST(Mixed, ChannelOfAllKindsSharesOneFrame) {
  TestNode node(poll_and_sockets());
  std::vector<LinkIndex> members;
  for (int i = 0; i < 4; ++i) {
    members.push_back(node.add_ethernet(static_cast<std::uint16_t>(i % 2), 0));
    members.push_back(node.add_stream(1));
  }
  for (const auto link : members) {
    node.subscribe(link, test_name(1));
  }
  node.settle();
  for (const std::size_t body : {64u, 513u, 3000u, 50'000u}) {
    for (const std::size_t from : {0u, 1u}) {  // an Ethernet link, a stream
      const Bytes frame = make_publish({.to = test_name(1), .fanout = 9, .body_bytes = body});
      node.send(members[from], frame);
      const auto out = wait_for(node, 7);
      EXPECT_EQ(out.size(), 7u) << body << " from " << from;
      for (const Delivered& d : out) {
        EXPECT_NE(d.link, members[from]);
        EXPECT_EQ(d.frame, one_hop_on(frame));
      }
    }
  }
  node.settle();
  EXPECT_EQ(node.books(), "");
}

TEST(Mixed, TooLargeForADatagramLinkIsTold) {
  TestNode node(poll_and_sockets());
  const auto ethernet = node.add_ethernet(1, 0);
  const auto stream = node.add_stream(1);
  node.subscribe(ethernet, test_name(1));
  node.settle();
  node.events(1);
  node.send(stream, make_publish({.to = test_name(1), .body_bytes = 200'000}));
  for (int i = 0; i < 200 && node.drops(DropReason::kTooBigForLink) == 0; ++i) {
    node.settle(4);
    usleep(200);
  }
  EXPECT_EQ(node.drops(DropReason::kTooBigForLink), 1u);
  const auto events = node.events(1);
  EXPECT_EQ(std::count_if(events.begin(), events.end(), [](const auto& e) { return e.first == Event::kNoRoute; }), 1);
  EXPECT_EQ(node.books(), "");
}

TEST(Mixed, StreamsOverTwoWorkersKeepOrder) {
  TestNode node(two_socket_workers());
  const auto a = node.add_stream(0);
  const auto b = node.add_stream(1);
  const auto c = node.add_stream(0);
  node.subscribe(b, test_name(1));
  node.subscribe(c, test_name(1));
  node.settle();
  constexpr std::uint32_t kFrames = 2000;
  std::vector<Delivered> out;
  for (std::uint32_t i = 1; i <= kFrames; ++i) {
    node.send(a, make_publish({.to = test_name(1), .fanout = i % 5 == 0 ? 1u : 7u, .message = i, .body_bytes = i % 700}));
    if (i % 50 == 0) {
      node.settle(6);
      for (Delivered& d : node.take()) {
        out.push_back(std::move(d));
      }
    }
  }
  const std::size_t want = kFrames / 5 + (kFrames - kFrames / 5) * 2;
  for (Delivered& d : wait_for(node, want - out.size())) {
    out.push_back(std::move(d));
  }
  EXPECT_EQ(out.size(), want);
  std::map<LinkIndex, std::uint32_t> last;
  for (const Delivered& d : out) {
    EXPECT_GT(message_of(d.frame), last[d.link]);
    last[d.link] = message_of(d.frame);
  }
  node.settle();
  EXPECT_EQ(node.books(), "");
}

// A receiver on another worker that does not read: its sender is paused there, nothing is lost, and all of it
// arrives when the receiver reads again.
TEST(Pressure, SenderOfASlowReceiverOnAnotherWorkerIsPaused) {
  TestNode node(two_socket_workers());
  const auto a = node.add_stream(0);
  const auto slow = node.add_stream(1);
  node.record(slow).queue_bytes = 256 << 10;
  node.record(slow).overflow = OverflowPolicy::kPause;
  node.post_link(slow);
  node.subscribe(slow, test_name(1));
  node.settle();
  const Bytes frame = make_publish({.to = test_name(1), .body_bytes = 8000});
  Bytes bytes(kStreamPrefixBytes);
  store_le(bytes.data(), static_cast<std::uint32_t>(frame.size()));
  bytes.insert(bytes.end(), frame.begin(), frame.end());
  // Writes as long as the socket takes whole frames; the receiver does not read.
  std::size_t written = 0;
  std::size_t partial = 0;
  int full = 0;
  while (full < 200 && written < 100'000) {
    const ssize_t n = write(node.socket_of(a), bytes.data() + partial, bytes.size() - partial);
    if (n > 0) {
      full = 0;
      partial = (partial + static_cast<std::size_t>(n)) % bytes.size();
      written += partial == 0 ? 1 : 0;
    } else {
      ++full;
    }
    node.settle(4);
    EXPECT_EQ(node.books(), "");
  }
  EXPECT_LT(written, 100'000u) << "the sender was never held back";
  EXPECT_GT(node.worker(0).counters().pauses.get(), 0u);
  const std::size_t whole = written;
  std::size_t received = 0;
  for (int i = 0; i < 5000 && received < whole; ++i) {
    received += node.take().size();
    node.settle(4);
    usleep(100);
  }
  EXPECT_EQ(received, whole);
  EXPECT_EQ(node.total(&WorkerCounters::dropped_copies) + node.total(&WorkerCounters::dropped_frames), 0u);
  EXPECT_EQ(node.books(), "");
}

TEST(Pressure, DatagramsToASlowReceiverAreDroppedAlone) {
  TestNode node(poll_and_sockets());
  const auto loud = node.add_ethernet(0, 0);
  const auto slow = node.add_stream(1);
  const auto quick = node.add_stream(1);
  node.record(slow).queue_bytes = 64 << 10;
  node.post_link(slow);
  node.subscribe(slow, test_name(1));
  node.subscribe(quick, test_name(2));
  node.settle();
  std::size_t quick_got = 0;
  constexpr std::size_t kRounds = 3000;
  for (std::size_t i = 0; i < kRounds; ++i) {
    node.send(loud, make_publish({.to = test_name(1), .body_bytes = 1000}));
    node.send(loud, make_publish({.to = test_name(2), .session = 5, .body_bytes = 100}));
    node.settle(3);
    std::array<std::byte, 4096> buffer;
    ssize_t n = 0;
    while ((n = read(node.socket_of(quick), buffer.data(), buffer.size())) > 0) {
      quick_got += static_cast<std::size_t>(n);
    }
  }
  for (int i = 0; i < 50; ++i) {
    node.settle(3);
    std::array<std::byte, 4096> buffer;
    ssize_t n = 0;
    while ((n = read(node.socket_of(quick), buffer.data(), buffer.size())) > 0) {
      quick_got += static_cast<std::size_t>(n);
    }
  }
  EXPECT_EQ(quick_got, kRounds * (kStreamPrefixBytes + kFrameHeaderBytes + 100));
  EXPECT_GT(node.drops(DropReason::kQueueFull) + node.drops(DropReason::kReceiverStalled), 1000u);
  EXPECT_EQ(node.books(), "");
}

TEST(Mixed, CloseOfAStreamReleasesItsLink) {
  TestNode node(poll_and_sockets());
  const auto ethernet = node.add_ethernet(0, 0);
  const auto stream = node.add_stream(1);
  node.subscribe(stream, test_name(1));
  node.settle();
  node.events(1);
  shutdown(node.socket_of(stream), SHUT_RDWR);
  bool closed = false;
  bool released = false;
  for (int i = 0; i < 500 && !(closed && released); ++i) {
    node.settle(4);
    for (const auto& [event, bytes] : node.events(1)) {
      closed |= event == Event::kLinkClosed;
      released |= event == Event::kLinkReleased;
    }
    usleep(200);
  }
  EXPECT_TRUE(closed);
  EXPECT_TRUE(released);
  node.remove(stream);
  node.send(ethernet, make_publish({.to = test_name(1)}));
  node.settle();
  EXPECT_EQ(node.drops(DropReason::kNoRoute), 1u);
  EXPECT_EQ(node.books(), "");
}

}  // namespace
}  // namespace slipway::test
