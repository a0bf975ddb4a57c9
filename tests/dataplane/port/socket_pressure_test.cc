// Slow, stalled and hostile peers; budgets, pools and slabs that run out. All time is the rig's.

#include <gtest/gtest.h>

#include <algorithm>

#include "port/mbuf.h"
#include "socket_rig.h"

namespace slipway::test {
namespace {

constexpr std::uint32_t kSmallQueue = 256 << 10;
// What may lie in a queue beyond its bound: what the kernel had received when its senders were paused.
constexpr std::uint64_t kOvershoot = (1 << 20) + (64 << 10);

// A sender that writes numbered frames of one size for as long as it is asked to.
struct Source {
  Peer& peer;
  std::uint32_t frame_bytes;
  std::uint32_t next = 0;
  Bytes rest;
  // Writes until the socket takes no more, at most up to frame `end`.
  void pump(std::uint32_t end) {
    for (;;) {
      if (rest.empty()) {
        if (next == end) {
          return;
        }
        rest = prefixed(make_frame_bytes(frame_bytes, next++));
      }
      const std::size_t n = peer.write_some(rest);
      rest.erase(rest.begin(), rest.begin() + static_cast<std::ptrdiff_t>(n));
      if (!rest.empty()) {
        return;
      }
    }
  }
  [[nodiscard]] bool done(std::uint32_t end) const { return next == end && rest.empty(); }
};

void expect_numbered(const Peer& peer, std::uint32_t count) {
  ASSERT_EQ(peer.frames.size(), count);
  for (std::uint32_t i = 0; i < count; ++i) {
    ASSERT_EQ(number_of(peer.frames[i]), i);
    ASSERT_TRUE(intact(peer.frames[i]));
  }
}

std::vector<Rig::SeenEvent> of_type(const std::vector<Rig::SeenEvent>& events, Event type) {
  std::vector<Rig::SeenEvent> out;
  std::ranges::copy_if(events, std::back_inserter(out), [&](const auto& e) { return e.type == type; });
  return out;
}

class SlowReader : public testing::TestWithParam<std::tuple<PairKind, std::uint32_t>> {};

TEST_P(SlowReader, PausesItsSenderAndLosesNothing) {
  const auto [kind, frame_bytes] = GetParam();
  Rig rig({.mbufs = 16384});
  LinkIndex in = 0;
  LinkIndex out = 0;
  auto sender = rig.add_peer(in, kind);
  auto receiver = rig.add_peer(out, kind, kSmallQueue);
  rig.routes[in] = {out};
  const std::uint32_t count = (8u << 20) / frame_bytes;
  Source source{*sender, frame_bytes};
  for (int i = 0; i < 2000; ++i) {
    source.pump(count);
    rig.step();
  }
  EXPECT_FALSE(source.done(count)) << "the sender is held back";
  EXPECT_TRUE(rig.congestion->congested(out));
  EXPECT_GE(rig.counters->pauses.get(), 1u);
  EXPECT_GE(rig.link_counters[in].pauses.get(), 1u);
  EXPECT_LE(rig.counters->held_bytes.get(), kSmallQueue + kOvershoot + frame_bytes);
  EXPECT_TRUE(rig.run_until([&] {
    source.pump(count);
    receiver->read_some(100'000);
    return receiver->frames.size() == count;
  }));
  expect_numbered(*receiver, count);
  rig.steps(3);
  EXPECT_FALSE(rig.congestion->congested(out));
  EXPECT_TRUE(rig.engine->take_uncongested());
  EXPECT_EQ(rig.counters->dropped_copies.get(), 0u);
  EXPECT_TRUE(rig.events().empty());
}

INSTANTIATE_TEST_SUITE_P(Kinds, SlowReader,
                         testing::Combine(testing::Values(PairKind::kUnix, PairKind::kTcp), testing::Values(150u, 1000u, 20'000u, 1u << 20)));

struct StalledReader : testing::Test {
  Rig rig{{.mbufs = 16384}};
  LinkIndex in = 0;
  LinkIndex stuck = 0;
  LinkIndex healthy = 0;
  std::unique_ptr<Peer> sender = rig.add_peer(in);
  std::unique_ptr<Peer> slow = rig.add_peer(stuck, PairKind::kTcp, kSmallQueue);
  std::unique_ptr<Peer> fast = rig.add_peer(healthy);
  Source source{*sender, 1000};
  std::vector<Rig::SeenEvent> seen;

  void SetUp() override { rig.routes[in] = {stuck, healthy}; }
  void run(int steps, std::uint64_t ms, std::uint32_t end, std::size_t slow_bytes = 0) {
    for (int i = 0; i < steps; ++i) {
      source.pump(end);
      rig.step();
      fast->read_some();
      if (slow_bytes != 0) {
        slow->read_some(slow_bytes);
      }
      rig.advance_ms(ms);
      for (auto& e : rig.events()) {
        seen.push_back(e);
      }
    }
  }
};

TEST_F(StalledReader, IsNamedLosesOnlyItsOwnAndIsDisconnected) {
  constexpr std::uint32_t kCount = 60'000;
  run(300, 0, kCount);
  EXPECT_FALSE(source.done(kCount)) << "both wait for the slow one at first";
  run(60, 10, kCount);  // 600 ms: no byte for 250
  ASSERT_EQ(of_type(seen, Event::kStalled).size(), 1u);
  EXPECT_EQ(of_type(seen, Event::kStalled)[0].as<LinkStalled>().link, stuck);
  EXPECT_EQ(rig.congestion->flags(stuck), congestion_flag::kStalled);
  for (int i = 0; i < 300 && fast->frames.size() < kCount; ++i) {
    run(20, 0, kCount);
  }
  expect_numbered(*fast, kCount);
  EXPECT_GT(rig.drops(DropReason::kReceiverStalled), 0u);
  EXPECT_EQ(rig.link_counters[stuck].drops[static_cast<std::size_t>(DropReason::kReceiverStalled)].get(), rig.drops(DropReason::kReceiverStalled));
  EXPECT_EQ(rig.link_counters[healthy].drops[static_cast<std::size_t>(DropReason::kReceiverStalled)].get(), 0u);
  EXPECT_TRUE(of_type(seen, Event::kLinkClosed).empty());
  run(310, 100, kCount);
  ASSERT_EQ(of_type(seen, Event::kLinkClosed).size(), 1u);
  EXPECT_EQ(of_type(seen, Event::kLinkClosed)[0].as<LinkClosed>().reason, CloseReason::kStalled);
  EXPECT_EQ(of_type(seen, Event::kLinkClosed)[0].as<LinkClosed>().link, stuck);
  EXPECT_EQ(of_type(seen, Event::kLinkReleased).size(), 1u);
  EXPECT_EQ(rig.congestion->flags(stuck), 0);
}

TEST_F(StalledReader, TimeInWhichTheWorkerDidNotRunIsNotHeldAgainstIt) {
  run(300, 0, 60'000);
  run(5, 1'000, 60'000);
  EXPECT_TRUE(of_type(seen, Event::kStalled).empty());
  run(60, 10, 60'000);
  EXPECT_EQ(of_type(seen, Event::kStalled).size(), 1u);
}

TEST_F(StalledReader, RecoversWhenItReadsAgain) {
  constexpr std::uint32_t kCount = 20'000;
  run(300, 0, kCount);
  run(60, 10, kCount);
  ASSERT_EQ(of_type(seen, Event::kStalled).size(), 1u);
  for (int i = 0; i < 500 && of_type(seen, Event::kUnstalled).empty(); ++i) {
    run(1, 1, source.next, 1 << 20);
  }
  ASSERT_EQ(of_type(seen, Event::kUnstalled).size(), 1u);
  EXPECT_EQ(rig.congestion->flags(stuck), 0);
  run(400, 100, source.next, 1 << 20);
  EXPECT_TRUE(of_type(seen, Event::kLinkClosed).empty());
}

TEST_F(StalledReader, TooLittleInASecondIsStalled) {
  run(300, 0, 100'000);
  run(130, 10, 100'000, 5'000);  // 0.5 MiB a second; when its queue has shrunk it recovers, and may stall again
  EXPECT_FALSE(of_type(seen, Event::kStalled).empty());
}

TEST_F(StalledReader, EnoughInASecondIsNot) {
  run(300, 0, 100'000);
  run(250, 10, 100'000, 25'000);  // 2.4 MiB a second
  EXPECT_TRUE(of_type(seen, Event::kStalled).empty());
  EXPECT_EQ(rig.counters->dropped_copies.get(), 0u);
}

TEST_F(StalledReader, PolicyPauseNeverStalls) {
  rig.record(stuck).overflow = OverflowPolicy::kPause;
  rig.engine->set_link(rig.record(stuck));
  run(300, 0, 100'000);
  run(400, 100, 100'000);
  EXPECT_TRUE(seen.empty());
  EXPECT_EQ(rig.counters->dropped_copies.get(), 0u);
  EXPECT_FALSE(source.done(100'000));
}

TEST(SocketPressure, FramesThatCannotWaitAreDroppedWhenTheQueueIsFull) {
  Rig rig;
  LinkIndex out = 0;
  auto peer = rig.add_peer(out, PairKind::kTcp, kSmallQueue);
  for (std::uint32_t i = 0; i < 3000; ++i) {
    rig.send(out, make_frame_bytes(1000, i));
    rig.step();
  }
  EXPECT_GT(rig.drops(DropReason::kQueueFull), 0u);
  EXPECT_LE(rig.counters->held_bytes.get(), kSmallQueue);
  rig.check_books();
  std::uint32_t seen = 0;
  ASSERT_TRUE(rig.run_until([&] {
    peer->read_some();
    seen = static_cast<std::uint32_t>(peer->frames.size());
    return rig.engine->held_frames() == 0 && seen == rig.counters->sent.get();
  }));
}

TEST(SocketPressure, NodeBudgetHoldsSendersBack) {
  constexpr std::size_t kBudget = 2u << 20;
  Rig rig({.mbufs = 16384, .budget_bytes = kBudget});
  std::vector<std::unique_ptr<Peer>> senders;
  std::vector<std::unique_ptr<Peer>> receivers;
  std::vector<Source> sources;
  for (int i = 0; i < 4; ++i) {
    LinkIndex in = 0;
    LinkIndex out = 0;
    senders.push_back(rig.add_peer(in));
    receivers.push_back(rig.add_peer(out, PairKind::kTcp, 8u << 20, OverflowPolicy::kPause));
    rig.routes[in] = {out};
    sources.push_back({*senders.back(), 2000});
  }
  constexpr std::uint32_t kCount = 4000;
  for (int i = 0; i < 3000; ++i) {
    for (Source& source : sources) {
      source.pump(kCount);
    }
    rig.step();
  }
  EXPECT_GT(rig.counters->pauses.get(), 0u);
  EXPECT_GT(rig.counters->held_bytes.get(), kBudget / 2);
  EXPECT_LE(rig.counters->held_bytes.get(), kBudget + 4 * kOvershoot);
  LinkIndex other = 0;
  auto silent = rig.add_peer(other, PairKind::kTcp, 8u << 20, OverflowPolicy::kPause);
  for (std::uint32_t i = 0; i < 2000; ++i) {
    rig.send(other, make_frame_bytes(2000, i));
    rig.step();
  }
  EXPECT_GT(rig.drops(DropReason::kNodeBudget), 0u) << "what cannot wait is dropped";
  EXPECT_EQ(rig.drops(DropReason::kQueueFull), 0u);
  ASSERT_TRUE(rig.run_until([&] {
    rig.advance_ms(1);
    for (Source& source : sources) {
      source.pump(kCount);
    }
    for (auto& receiver : receivers) {
      receiver->read_some(200'000);
    }
    return std::ranges::all_of(receivers, [&](const auto& r) { return r->frames.size() == kCount; });
  }));
  for (const auto& receiver : receivers) {
    expect_numbered(*receiver, kCount);
  }
}

TEST(SocketPressure, APartialFrameThatTheBudgetCannotHoldEndsWithItsDeadline) {
  Rig rig({.budget_bytes = 1u << 20});
  LinkIndex in = 0;
  auto sender = rig.add_peer(in);
  const Bytes wire = prefixed(make_frame_bytes(3u << 20, 1));
  std::size_t done = 0;
  for (int i = 0; i < 500; ++i) {
    done += sender->write_some(std::span(wire).subspan(done));
    rig.step();
    rig.advance_ms(1);
  }
  EXPECT_LE(rig.counters->partial_bytes.get(), 1u << 20);
  EXPECT_LT(done, wire.size());
  rig.advance_ms(kPartialDeadlineMs);
  ASSERT_TRUE(rig.run_until([&] { return rig.drops(DropReason::kPartialTimeout) == 1; }));
  EXPECT_EQ(rig.counters->partial_bytes.get(), 0u);
}

TEST(SocketPressure, APausedStreamKeepsItsPartialFrame) {
  Rig rig;
  LinkIndex in = 0;
  LinkIndex out = 0;
  auto sender = rig.add_peer(in);
  auto receiver = rig.add_peer(out, PairKind::kTcp, kSmallQueue, OverflowPolicy::kPause);
  rig.routes[in] = {out};
  Source source{*sender, 100'000};
  for (int i = 0; i < 500; ++i) {
    source.pump(60);
    rig.step();
  }
  EXPECT_GT(rig.counters->partial_bytes.get(), 0u);
  for (int i = 0; i < 300; ++i) {
    rig.advance_ms(100);
    rig.step();
  }
  ASSERT_TRUE(rig.run_until([&] {
    source.pump(60);
    receiver->read_some();
    return receiver->frames.size() == 60;
  }));
  expect_numbered(*receiver, 60);
}

TEST(SocketPressure, NoBufferMakesStreamsWaitAndLosesNothing) {
  Rig rig({.mbufs = 1024});
  LinkIndex in = 0;
  auto sender = rig.add_peer(in);
  std::vector<rte_mbuf*> kept;
  rig.on_frame = [&](rte_mbuf* frame) {
    kept.push_back(frame);
    return true;
  };
  Source source{*sender, 300};
  constexpr std::uint32_t kCount = 5000;
  for (int i = 0; i < 1000; ++i) {
    source.pump(kCount);
    rig.step();
  }
  EXPECT_LT(kept.size(), 1024u);
  EXPECT_GT(kept.size(), 800u);
  std::uint32_t expected = 0;
  ASSERT_TRUE(rig.run_until([&] {
    source.pump(kCount);
    for (rte_mbuf* frame : kept) {
      EXPECT_EQ(load_header(data_of(frame)).message_id, expected++);
      rte_pktmbuf_free(frame);
    }
    kept.clear();
    return expected == kCount;
  }));
}

TEST(SocketPressure, FewPiecesLeftMeansCopies) {
  Rig rig({.mbufs = 16384, .slab_pieces = 64});
  LinkIndex in = 0;
  auto sender = rig.add_peer(in);
  std::vector<rte_mbuf*> kept;
  rig.on_frame = [&](rte_mbuf* frame) {
    kept.push_back(frame);
    return true;
  };
  Source source{*sender, 1500};
  constexpr std::uint32_t kCount = 6000;  // 9 MB: four slabs
  ASSERT_TRUE(rig.run_until([&] {
    source.pump(kCount);
    return kept.size() == kCount;
  }));
  const auto referring = std::ranges::count_if(kept, [](rte_mbuf* m) { return RTE_MBUF_HAS_EXTBUF(m); });
  EXPECT_GT(referring, 0);
  EXPECT_LT(referring, kCount);
  EXPECT_GE(rig.engine->slab_free(), 16u);
  for (std::uint32_t i = 0; i < kCount; ++i) {
    EXPECT_EQ(load_header(data_of(kept[i])).message_id, i);
    rte_pktmbuf_free(kept[i]);
  }
}

TEST(SocketPressure, WaitsForReceiversOfOtherWorkers) {
  Rig rig;
  LinkIndex in = 0;
  auto sender = rig.add_peer(in);
  constexpr LinkIndex kElsewhere = 5000;
  constexpr LinkIndex kAlsoElsewhere = 16000;
  rig.congestion->set(kElsewhere, congestion_flag::kCongested);
  rig.congestion->set(kAlsoElsewhere, congestion_flag::kCongested);
  rig.steps(3);
  rig.engine->pause(in, kElsewhere);
  rig.engine->pause(in, kAlsoElsewhere);
  rig.engine->flush();
  rig.steps(3);
  sender->write_some(prefixed(make_frame_bytes(200, 1)));
  rig.steps(20);
  EXPECT_TRUE(rig.received.empty());
  rig.congestion->set(kElsewhere, 0);
  rig.steps(20);
  EXPECT_TRUE(rig.received.empty()) << "the other one is still congested";
  rig.congestion->set(kAlsoElsewhere, congestion_flag::kStalled);
  ASSERT_TRUE(rig.run_until([&] { return rig.received.size() == 1; }));
  EXPECT_EQ(rig.counters->pauses.get(), 1u);
}

TEST(SocketPressure, PauseThatComesTooLateEndsByItself) {
  Rig rig;
  LinkIndex in = 0;
  auto sender = rig.add_peer(in);
  rig.steps(3);
  rig.engine->pause(in, 77);  // relieved before we looked
  sender->write_some(prefixed(make_frame_bytes(200, 1)));
  ASSERT_TRUE(rig.run_until([&] { return rig.received.size() == 1; }));
}

TEST(SocketPressure, PausedSenderThatGoesIsReleased) {
  Rig rig;
  LinkIndex in = 0;
  LinkIndex out = 0;
  auto sender = rig.add_peer(in);
  auto receiver = rig.add_peer(out, PairKind::kTcp, kSmallQueue);
  rig.routes[in] = {out};
  Source source{*sender, 1000};
  for (int i = 0; i < 500; ++i) {
    source.pump(100'000);
    rig.step();
  }
  ASSERT_TRUE(rig.congestion->congested(out));
  rig.close_link(in);
  ASSERT_TRUE(rig.run_until([&] { return of_type(rig.events(), Event::kLinkReleased).size() == 1; }));
  receiver->reset();
  ASSERT_TRUE(rig.run_until([&] { return rig.engine->held_frames() == 0; }));
  EXPECT_EQ(rig.congestion->flags(out), 0);
}

// A frame for the control thread, told apart by `number`.
Bytes make_control_bytes(std::uint32_t bytes, std::uint32_t number) {
  Bytes frame = make_frame_bytes(bytes, number);
  frame[1] = static_cast<std::byte>(FrameKind::kSubscribe);
  return frame;
}

std::vector<std::uint32_t> numbers_of(const std::vector<Bytes>& frames) {
  std::vector<std::uint32_t> out;
  std::ranges::transform(frames, std::back_inserter(out), [](const Bytes& f) { return number_of(f); });
  return out;
}

class HeldControl : public testing::TestWithParam<std::size_t> {};

// However the bytes are cut on their way: what comes before the frame passes, it and all behind it wait.
TEST_P(HeldControl, WaitsInItsStreamInOrder) {
  Rig rig;
  LinkIndex in = 0;
  LinkIndex other = 0;
  auto sender = rig.add_peer(in);
  auto bystander = rig.add_peer(other);
  rig.steps(3);
  rig.engine->hold_control(true);
  Bytes all;
  for (const auto& frame : {make_frame_bytes(300, 0), make_control_bytes(400, 1), make_frame_bytes(300, 2), make_control_bytes(5000, 3)}) {
    const Bytes bytes = prefixed(frame);
    all.insert(all.end(), bytes.begin(), bytes.end());
  }
  for (std::size_t at = 0; at < all.size(); at += GetParam()) {
    sender->write_some(std::span(all).subspan(at, std::min(GetParam(), all.size() - at)));
    rig.steps(2);
  }
  bystander->write_some(prefixed(make_frame_bytes(200, 9)));
  ASSERT_TRUE(rig.run_until([&] { return rig.received.size() == 2; }));
  rig.advance_ms(2 * kPartialDeadlineMs);  // it is not the sender's fault that its frame is not whole
  rig.steps(50);
  EXPECT_EQ(numbers_of(rig.received), (std::vector<std::uint32_t>{0, 9}));
  EXPECT_EQ(rig.link_counters[in].pauses.get(), 1u);
  rig.engine->hold_control(false);
  ASSERT_TRUE(rig.run_until([&] { return rig.received.size() == 5; }));
  EXPECT_EQ(numbers_of(rig.received), (std::vector<std::uint32_t>{0, 9, 1, 2, 3}));
  EXPECT_TRUE(of_type(rig.events(), Event::kLinkClosed).empty());
}
INSTANTIATE_TEST_SUITE_P(Cuts, HeldControl, testing::Values(1u << 20, 997, 406, 7, 305));

TEST(SocketPressure, OneStreamsControlFramesWaitForATick) {
  Rig rig;
  LinkIndex in = 0;
  LinkIndex other = 0;
  auto sender = rig.add_peer(in);
  auto bystander = rig.add_peer(other);
  rig.steps(3);
  rig.engine->hold_control(in);
  sender->write_some(prefixed(make_control_bytes(200, 1)));
  bystander->write_some(prefixed(make_control_bytes(200, 2)));
  ASSERT_TRUE(rig.run_until([&] { return rig.received.size() == 1; }));
  rig.steps(20);
  EXPECT_EQ(numbers_of(rig.received), (std::vector<std::uint32_t>{2}));
  ASSERT_TRUE(rig.run_until([&] {
    rig.advance_ms(1);
    return rig.received.size() == 2;
  }));
  EXPECT_EQ(numbers_of(rig.received), (std::vector<std::uint32_t>{2, 1}));
}

TEST(SocketPressure, WhoDoesNotTakeAnswersIsNotAskedForMore) {
  Rig rig({.mbufs = 16384});
  LinkIndex link = 0;
  auto peer = rig.add_peer(link, PairKind::kTcp, kSmallQueue);
  rig.steps(3);
  std::uint32_t sent = 0;
  // Until the kernel takes no more for good: its buffers grow while they are being filled.
  const auto fill = [&] {
    for (int quiet = 0; quiet < 300;) {
      rig.step();
      quiet = rig.congestion->congested(link) ? quiet + 1 : 0;
      if (quiet == 0) {
        rig.send(link, make_frame_bytes(4000, sent++));
      }
    }
  };
  fill();
  peer->write_some(prefixed(make_control_bytes(200, 1)));
  rig.steps(5);
  EXPECT_TRUE(rig.received.empty());
  ASSERT_TRUE(rig.run_until([&] {
    peer->read_some();
    return peer->frames.size() == sent;
  }));
  ASSERT_TRUE(rig.run_until([&] { return rig.received.size() == 1; }));
  // When it takes nothing at all, its answers are dropped, but it is heard: it may say goodbye.
  fill();
  for (std::uint64_t ms = 0; ms < kStallNoByteMs + 40; ms += 10) {
    rig.advance_ms(10);
    rig.step();
  }
  EXPECT_EQ(rig.congestion->flags(link), congestion_flag::kStalled);
  peer->write_some(prefixed(make_control_bytes(200, 2)));
  EXPECT_TRUE(rig.run_until([&] { return rig.received.size() == 2; }));
}

TEST(SocketPressure, WhatALeavingStreamSaidLastIsTaken) {
  Rig rig;
  LinkIndex in = 0;
  auto sender = rig.add_peer(in);
  rig.steps(3);
  rig.engine->hold_control(true);
  for (std::uint32_t i = 0; i < 3; ++i) {
    sender->write_some(prefixed(make_control_bytes(200, i)));
  }
  rig.steps(5);
  EXPECT_TRUE(rig.received.empty());
  rig.close_link(in);
  ASSERT_TRUE(rig.run_until([&] { return of_type(rig.events(), Event::kLinkReleased).size() == 1; }));
  EXPECT_TRUE(rig.received.empty()) << "closed by us: thrown away";
  auto again = rig.add_peer(in);
  rig.steps(3);
  again->write_some(prefixed(make_control_bytes(200, 7)));
  rig.steps(3);
  again->close_now();
  rig.engine->hold_control(false);
  bool closed_first = false;
  rig.on_frame = [&](rte_mbuf*) {
    closed_first = !of_type(rig.events(), Event::kLinkClosed).empty();
    return false;
  };
  ASSERT_TRUE(rig.run_until([&] { return of_type(rig.events(), Event::kLinkReleased).size() == 1; }));
  EXPECT_FALSE(closed_first) << "that it is closed is told after its last frame";
  EXPECT_EQ(numbers_of(rig.received), (std::vector<std::uint32_t>{7})) << "closed by it: taken first";
}

TEST(SocketPressure, StopReadingGoesOnSending) {
  Rig rig;
  LinkIndex in = 0;
  LinkIndex out = 0;
  auto sender = rig.add_peer(in);
  auto receiver = rig.add_peer(out);
  rig.routes[in] = {out};
  rig.steps(3);
  for (std::uint32_t i = 0; i < 50; ++i) {
    rig.send(out, make_frame_bytes(50'000, i));
  }
  rig.engine->stop_reading();
  rig.steps(3);
  sender->write_some(prefixed(make_frame_bytes(200, 1)));
  ASSERT_TRUE(rig.run_until([&] {
    receiver->read_some();
    return rig.engine->held_frames() == 0 && receiver->frames.size() == 50;
  }));
  EXPECT_EQ(rig.counters->frames_in.get(), 0u);
}

}  // namespace
}  // namespace slipway::test
