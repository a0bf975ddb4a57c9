// Applications inside the node: what they publish is forwarded as a link's, and what is for them comes up the event ring.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>

#include "test_node.h"

namespace slipway::test {
namespace {

void inject(TestNode& node, LinkIndex from, const Bytes& frame, std::size_t piece_bytes = kInjectPieceBytes, std::size_t worker = 0) {
  for (std::size_t at = 0; at < frame.size(); at += piece_bytes) {
    const std::span piece(frame.data() + at, std::min(piece_bytes, frame.size() - at));
    const InjectPublish record{from, node.record(from).generation, static_cast<std::uint32_t>(at), static_cast<std::uint32_t>(frame.size())};
    ASSERT_NE(node.worker(worker).post(Command::kInjectPublish, record, piece), 0u);
  }
}

std::vector<std::pair<LinkIndex, Bytes>> local_frames(TestNode& node, std::size_t worker = 0) {
  std::vector<std::pair<LinkIndex, Bytes>> out;
  for (const auto& [event, bytes] : node.events(worker)) {
    if (event == Event::kLocalFrame) {
      PuntedFrame head;
      std::memcpy(&head, bytes.data(), sizeof head);
      EXPECT_EQ(head.generation, node.record(head.link).generation);
      out.emplace_back(head.link, Bytes(bytes.begin() + sizeof head, bytes.end()));
    }
  }
  return out;
}

Bytes one_hop_less(Bytes frame) {
  set_frame_hop_limit(frame.data(), static_cast<std::uint8_t>(frame_hop_limit(frame.data()) - 1));
  return frame;
}

TEST(Local, PublishesAreForwardedWholeHoweverManyPieces) {
  TestNode node({.workers = {{.sockets = true}}, .ports = 0});
  const auto app = node.add_control();
  const auto far = node.add_stream();
  node.subscribe(far, test_name(1));
  node.settle();
  for (const std::size_t body : {0u, 64u, 5'000u, 100'000u, 1'500'000u}) {
    const Bytes frame = make_publish({.to = test_name(1), .body_bytes = std::max<std::size_t>(body, 8)});
    inject(node, app, frame, body > 1000 ? 1'999 + body / 40 : kInjectPieceBytes);
    auto got = node.take();
    for (int i = 0; i < 100 && got.empty(); ++i) {  // a socket takes so much at a time
      node.settle();
      got = node.take();
    }
    ASSERT_EQ(got.size(), 1u) << body;
    EXPECT_EQ(got[0].link, far);
    EXPECT_EQ(got[0].frame, one_hop_less(frame)) << body;
  }
  EXPECT_EQ(node.total(&WorkerCounters::frames_in), 5u);
  EXPECT_EQ(node.books(), "");
}

TEST(Local, FramesForItComeUpAndNeverBack) {
  TestNode node({.workers = {{.sockets = true}}, .ports = 0});
  const auto app = node.add_control();
  const auto other = node.add_control();
  const auto far = node.add_stream();
  node.subscribe(app, test_name(1));
  node.subscribe(other, test_name(1));
  node.settle();
  const Bytes frame = make_publish({.to = test_name(1), .fanout = 256, .body_bytes = 20'000});
  node.send(far, frame);
  node.settle();
  auto got = local_frames(node);
  ASSERT_EQ(got.size(), 2u);
  EXPECT_EQ(got[0].second, one_hop_less(frame));
  EXPECT_NE(got[0].first, got[1].first);
  inject(node, app, frame);
  node.settle();
  got = local_frames(node);
  ASSERT_EQ(got.size(), 1u);
  EXPECT_EQ(got[0].first, other);
  EXPECT_TRUE(node.take().empty());
  EXPECT_EQ(node.books(), "");
}

TEST(Local, AnotherWorkersSocketReachesItWithoutAWayRound) {
  TestNode node({.workers = {{.sockets = true}, {.sockets = true}}, .ports = 0});
  const auto app = node.add_control(0);
  const auto far = node.add_stream(1);
  node.subscribe(app, test_name(1));
  node.subscribe(far, test_name(2));
  node.settle();
  node.send(far, make_publish({.to = test_name(1)}));
  node.settle();
  EXPECT_EQ(local_frames(node, 1).size(), 1u);
  inject(node, app, make_publish({.to = test_name(2), .body_bytes = 70'000}));
  node.settle();
  EXPECT_EQ(node.take().size(), 1u);
  EXPECT_EQ(node.books(), "");
}

TEST(Local, WhatCannotGoIsDroppedWithItsReason) {
  TestNode node({.workers = {{.sockets = true}}, .ports = 0, .punts_per_second = 1'000});
  const auto app = node.add_control();
  const auto far = node.add_stream();
  node.subscribe(app, test_name(1));
  node.settle();
  inject(node, app, make_publish({.to = test_name(9)}));
  node.settle();
  EXPECT_EQ(node.drops(DropReason::kNoRoute), 1u);
  node.send(far, make_publish({.to = test_name(1), .body_bytes = kMaxLocalFrameBytes}));
  node.settle();
  EXPECT_EQ(node.drops(DropReason::kTooBigForLink), 1u);
  for (int i = 0; i < 400; ++i) {
    node.send(far, make_publish({.to = test_name(1)}));
    node.step();
  }
  node.settle();
  EXPECT_GT(node.drops(DropReason::kPuntLimit), 100u) << "a flood is cut before it reaches the control thread";
  (void)node.events();
  // Its link goes while a frame of it is on its way: the rest is thrown away, once.
  const Bytes frame = make_publish({.to = test_name(1), .body_bytes = 100'000});
  const InjectPublish first{app, node.record(app).generation, 0, static_cast<std::uint32_t>(frame.size())};
  ASSERT_NE(node.worker().post(Command::kInjectPublish, first, std::span(frame).first(50'000)), 0u);
  node.settle();
  node.remove(app);
  const InjectPublish rest{app, node.record(app).generation, 50'000, static_cast<std::uint32_t>(frame.size())};
  ASSERT_NE(node.worker().post(Command::kInjectPublish, rest, std::span(frame).subspan(50'000)), 0u);
  node.settle();
  EXPECT_EQ(node.drops(DropReason::kLinkGone), 1u);
  bool released = false;
  for (const auto& [event, bytes] : node.events()) {
    released |= event == Event::kLinkReleased;
  }
  EXPECT_TRUE(released);
  EXPECT_EQ(node.books(), "");
}

TEST(Local, StoppedInTheMiddleOfAFrame) {
  TestNode node({.workers = {{.sockets = true}}, .ports = 0});
  const auto app = node.add_control();
  node.settle();
  const Bytes frame = make_publish({.to = test_name(1), .body_bytes = 100'000});
  const InjectPublish first{app, node.record(app).generation, 0, static_cast<std::uint32_t>(frame.size())};
  ASSERT_NE(node.worker().post(Command::kInjectPublish, first, std::span(frame).first(40'000)), 0u);
  node.settle();  // ~TestNode checks that every buffer came home
}

}  // namespace
}  // namespace slipway::test
