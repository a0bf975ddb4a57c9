// Streams of the socket engine, stepped by hand: every size, every cut, closes of every kind.

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <random>

#include "socket_rig.h"

namespace slipway::test {
namespace {

class SocketStream : public testing::TestWithParam<PairKind> {};

// Writes all of it while the rig runs, then runs until `frames` have come out without a route.
void feed(Rig& rig, Peer& peer, const Bytes& bytes, std::size_t frames) {
  std::size_t done = 0;
  ASSERT_TRUE(rig.run_until([&] {
    done += peer.write_some(std::span(bytes).subspan(done));
    return done == bytes.size() && rig.received.size() >= frames;
  })) << rig.received.size() << " of " << frames << " frames, " << done << " of " << bytes.size() << " bytes written";
}

void append(Bytes& to, const Bytes& more) { to.insert(to.end(), more.begin(), more.end()); }

TEST_P(SocketStream, EverySizeComesWhole) {
  Rig rig;
  LinkIndex link = 0;
  auto peer = rig.add_peer(link, GetParam());
  const std::uint32_t sizes[] = {104,   105,   107,   108,   111,    200,    615,     616,     617,     1000,    2047,   2048,     2049,
                                 2052,  4096,  32760, 32764, 32768,  32772,  65536,   100'000, 500'000, 1 << 20, 2'097'151, 4u << 20};
  std::uint32_t number = 0;
  for (const std::uint32_t size : sizes) {
    const Bytes frame = make_frame_bytes(size, ++number);
    feed(rig, *peer, prefixed(frame), number);
    ASSERT_EQ(rig.received.back(), frame) << size;
  }
  EXPECT_EQ(rig.counters->frames_in.get(), number);
  EXPECT_EQ(rig.link_counters[link].frames_in.get(), number);
}

TEST_P(SocketStream, AllSizesInOneGo) {
  Rig rig;
  LinkIndex link = 0;
  auto peer = rig.add_peer(link, GetParam());
  Bytes all;
  std::mt19937 random(7);
  std::uint32_t count = 0;
  while (all.size() < (6u << 20)) {
    const std::uint32_t kind = random() % 10;
    const std::uint32_t size = kind < 6 ? 104 + random() % 400 : kind < 9 ? 104 + random() % 5000 : 104 + random() % 200'000;
    append(all, prefixed(make_frame_bytes(size, ++count)));
  }
  feed(rig, *peer, all, count);
  ASSERT_EQ(rig.received.size(), count);
  for (std::uint32_t i = 0; i < count; ++i) {
    ASSERT_TRUE(intact(rig.received[i]));
    ASSERT_EQ(number_of(rig.received[i]), i + 1);
  }
}

TEST_P(SocketStream, CutAtEveryByte) {
  Rig rig;
  LinkIndex link = 0;
  auto peer = rig.add_peer(link, GetParam());
  const Bytes pair = [] {
    Bytes both = prefixed(make_frame_bytes(150, 1));
    append(both, prefixed(make_frame_bytes(700, 2)));
    return both;
  }();
  for (std::size_t cut = 1; cut < 300; ++cut) {
    rig.received.clear();
    ASSERT_EQ(peer->write_some(std::span(pair).first(cut)), cut);
    rig.steps(3);
    feed(rig, *peer, Bytes(pair.begin() + static_cast<std::ptrdiff_t>(cut), pair.end()), 2);
    ASSERT_EQ(rig.received.size(), 2u);
    ASSERT_TRUE(intact(rig.received[0]) && intact(rig.received[1])) << cut;
  }
}

TEST_P(SocketStream, ByteByByte) {
  Rig rig;
  LinkIndex link = 0;
  auto peer = rig.add_peer(link, GetParam());
  const Bytes frame = make_frame_bytes(3000, 5);
  const Bytes wire = prefixed(frame);
  for (std::size_t i = 0; i + 1 < wire.size(); ++i) {
    ASSERT_EQ(peer->write_some(std::span(wire).subspan(i, 1)), 1u);
    rig.step();
    ASSERT_TRUE(rig.received.empty());
  }
  EXPECT_GT(rig.counters->partial_bytes.get(), 0u);
  feed(rig, *peer, {wire.back()}, 1);
  EXPECT_EQ(rig.received.front(), frame);
  EXPECT_EQ(rig.counters->partial_bytes.get(), 0u);
  EXPECT_EQ(rig.budget->used() > BudgetShare::kStepBytes * 2, false);
}

TEST_P(SocketStream, ThousandsOfSmallFramesRelayed) {
  Rig rig;
  LinkIndex in = 0;
  LinkIndex out = 0;
  auto sender = rig.add_peer(in, GetParam());
  auto receiver = rig.add_peer(out, GetParam());
  rig.routes[in] = {out};
  Bytes all;
  constexpr std::uint32_t kCount = 20'000;
  for (std::uint32_t i = 0; i < kCount; ++i) {
    append(all, prefixed(make_frame_bytes(104 + i % 256, i)));
  }
  std::size_t done = 0;
  ASSERT_TRUE(rig.run_until([&] {
    done += sender->write_some(std::span(all).subspan(done));
    receiver->read_some();
    return receiver->frames.size() == kCount;
  }));
  for (std::uint32_t i = 0; i < kCount; ++i) {
    ASSERT_EQ(number_of(receiver->frames[i]), i);
    ASSERT_TRUE(intact(receiver->frames[i]));
  }
  rig.steps(2);
  EXPECT_EQ(rig.counters->sent.get(), kCount);
  EXPECT_EQ(rig.engine->held_frames(), 0u);
  rig.check_books();
}

TEST_P(SocketStream, FanOutOfAllSizes) {
  Rig rig;
  LinkIndex in = 0;
  auto sender = rig.add_peer(in, GetParam());
  std::vector<std::unique_ptr<Peer>> receivers;
  for (int i = 0; i < 5; ++i) {
    LinkIndex out = 0;
    receivers.push_back(rig.add_peer(out, GetParam()));
    rig.routes[in].push_back(out);
  }
  Bytes all;
  std::mt19937 random(3);
  constexpr std::uint32_t kCount = 800;
  for (std::uint32_t i = 0; i < kCount; ++i) {
    append(all, prefixed(make_frame_bytes(104 + random() % (i % 50 == 0 ? 300'000 : 3000), i)));
  }
  std::size_t done = 0;
  ASSERT_TRUE(rig.run_until([&] {
    done += sender->write_some(std::span(all).subspan(done));
    for (auto& receiver : receivers) {
      receiver->read_some(100'000);
    }
    return std::ranges::all_of(receivers, [](const auto& r) { return r->frames.size() == kCount; });
  }));
  for (const auto& receiver : receivers) {
    for (std::uint32_t i = 0; i < kCount; ++i) {
      ASSERT_EQ(number_of(receiver->frames[i]), i);
      ASSERT_TRUE(intact(receiver->frames[i]));
    }
  }
  rig.check_books();
}

TEST_P(SocketStream, GarbageLengthCloses) {
  for (const std::uint32_t length : {0u, 1u, 103u, static_cast<std::uint32_t>(kMaxFrameBytes) + 1, 0xFFFFFFFFu}) {
    Rig rig;
    LinkIndex link = 0;
    auto peer = rig.add_peer(link, GetParam());
    Bytes wire = prefixed(make_frame_bytes(200, 1));
    Bytes bad(300);
    store_le(bad.data(), length);
    append(wire, bad);
    peer->write_some(wire);
    ASSERT_TRUE(rig.run_until([&] { return rig.drops(DropReason::kStreamLength) == 1; }));
    rig.steps(3);
    EXPECT_EQ(rig.received.size(), 1u) << "what came before it counts";
    EXPECT_EQ(rig.counters->frames_in.get(), 2u);
    EXPECT_EQ(rig.counters->dropped_frames.get(), 1u);
    const auto events = rig.events();
    ASSERT_EQ(events.size(), 2u);
    EXPECT_EQ(events[0].type, Event::kLinkClosed);
    EXPECT_EQ(events[0].as<LinkClosed>().reason, CloseReason::kStreamLength);
    EXPECT_EQ(events[0].as<LinkClosed>().link, link);
    EXPECT_EQ(events[1].type, Event::kLinkReleased);
  }
}

TEST_P(SocketStream, PartialFrameHasADeadline) {
  Rig rig;
  LinkIndex link = 0;
  auto peer = rig.add_peer(link, GetParam());
  const Bytes wire = prefixed(make_frame_bytes(5000, 1));
  peer->write_some(std::span(wire).first(2000));
  ASSERT_TRUE(rig.run_until([&] { return rig.counters->partial_bytes.get() == 2000; }));
  rig.advance_ms(kPartialDeadlineMs - 100);
  rig.steps(3);
  EXPECT_TRUE(rig.events().empty());
  rig.advance_ms(200);
  ASSERT_TRUE(rig.run_until([&] { return rig.drops(DropReason::kPartialTimeout) == 1; }));
  rig.steps(3);
  const auto events = rig.events();
  ASSERT_EQ(events.size(), 2u);
  EXPECT_EQ(events[0].as<LinkClosed>().reason, CloseReason::kPartialTimeout);
  EXPECT_EQ(rig.counters->partial_bytes.get(), 0u);
}

TEST_P(SocketStream, PeerEndsAfterItsLastFrame) {
  Rig rig;
  LinkIndex in = 0;
  LinkIndex out = 0;
  auto sender = rig.add_peer(in, GetParam());
  auto receiver = rig.add_peer(out, GetParam());
  rig.routes[in] = {out};
  Bytes all;
  for (std::uint32_t i = 0; i < 120; ++i) {
    append(all, prefixed(make_frame_bytes(1000, i)));
  }
  ASSERT_EQ(sender->write_some(all), all.size());
  sender->close_now();
  ASSERT_TRUE(rig.run_until([&] {
    receiver->read_some();
    return receiver->frames.size() == 120;
  }));
  rig.steps(3);
  const auto events = rig.events();
  ASSERT_EQ(events.size(), 2u);
  EXPECT_EQ(events[0].as<LinkClosed>().reason, CloseReason::kPeerClosed);
  EXPECT_EQ(events[1].as<LinkReleased>().link, in);
}

TEST_P(SocketStream, PeerGoesInTheMiddleOfAFrame) {
  Rig rig;
  LinkIndex link = 0;
  auto peer = rig.add_peer(link, GetParam());
  const Bytes wire = prefixed(make_frame_bytes(200'000, 1));
  peer->write_some(std::span(wire).first(100'000));
  ASSERT_TRUE(rig.run_until([&] { return rig.counters->partial_bytes.get() == 100'000; }));
  peer->reset();
  ASSERT_TRUE(rig.run_until([&] { return rig.counters->partial_bytes.get() == 0; }));
  rig.steps(3);
  EXPECT_EQ(rig.events().size(), 2u);
}

TEST_P(SocketStream, ResetWithSendsInFlightReleasesEverything) {
  Rig rig;
  LinkIndex link = 0;
  auto peer = rig.add_peer(link, GetParam());
  for (std::uint32_t i = 0; i < 40; ++i) {
    rig.send(link, make_frame_bytes(100'000, i));
    rig.engine->flush();
  }
  rig.steps(5);
  EXPECT_GT(rig.engine->held_frames(), 0u);
  peer->reset();
  ASSERT_TRUE(rig.run_until([&] { return rig.engine->held_frames() == 0; }));
  rig.steps(3);
  EXPECT_GT(rig.drops(DropReason::kLinkGone), 0u);
  const auto events = rig.events();
  ASSERT_EQ(events.size(), 2u);
  EXPECT_EQ(events[0].type, Event::kLinkClosed);
  EXPECT_EQ(events[1].type, Event::kLinkReleased);
  rig.send(link, make_frame_bytes(200, 1));
  EXPECT_EQ(rig.engine->held_frames(), 0u);
}

TEST_P(SocketStream, CloseDrainsWhatIsQueued) {
  Rig rig;
  LinkIndex link = 0;
  auto peer = rig.add_peer(link, GetParam());
  for (std::uint32_t i = 0; i < 40; ++i) {
    rig.send(link, make_frame_bytes(100'000, i));
  }
  peer->write_some(prefixed(make_frame_bytes(300, 99)));  // unread bytes of the peer must not reset the connection
  rig.step();
  rig.close_link(link, 5000);
  ASSERT_TRUE(rig.run_until([&] {
    peer->read_some(50'000);
    return peer->ended();
  }));
  ASSERT_EQ(peer->frames.size(), 40u);
  EXPECT_TRUE(std::ranges::all_of(peer->frames, [](const Bytes& f) { return intact(f); }));
  peer->close_now();
  std::vector<Rig::SeenEvent> events;
  ASSERT_TRUE(rig.run_until([&] {
    for (auto& e : rig.events()) {
      events.push_back(e);
    }
    return events.size() == 2;
  }));
  EXPECT_EQ(events[0].as<LinkClosed>().reason, CloseReason::kAsked);
  EXPECT_EQ(rig.counters->sent.get(), 40u);
}

TEST_P(SocketStream, DrainHasADeadline) {
  Rig rig;
  LinkIndex link = 0;
  auto peer = rig.add_peer(link, GetParam());
  for (std::uint32_t i = 0; i < 60; ++i) {
    rig.send(link, make_frame_bytes(100'000, i));
  }
  rig.steps(3);
  rig.close_link(link, 500);
  rig.steps(3);
  EXPECT_TRUE(rig.events().empty());
  rig.advance_ms(600);
  ASSERT_TRUE(rig.run_until([&] { return rig.engine->held_frames() == 0; }));
  EXPECT_GT(rig.drops(DropReason::kLinkGone), 0u);
  EXPECT_EQ(rig.events().size(), 2u);
}

TEST_P(SocketStream, NothingIsReadBeforeTheLinkIsGreeting) {
  Rig rig;
  const auto [ours, theirs] = make_pair_of(GetParam());
  Peer peer(theirs);
  rig.engine->open_stream({.link = 9, .generation = 5, .fd = ours, .max_frame_bytes = kMaxFrameBytes});
  peer.write_some(prefixed(make_frame_bytes(200, 1)));
  rig.steps(20);
  EXPECT_TRUE(rig.received.empty());
  rig.engine->set_link({.index = 9, .generation = 5, .state = LinkState::kGreeting});
  ASSERT_TRUE(rig.run_until([&] { return rig.received.size() == 1; }));
  rig.engine->set_link({.index = 9, .generation = 4, .state = LinkState::kFree});  // of the one before: not ours
  rig.steps(2);
  EXPECT_TRUE(rig.events().empty());
  rig.engine->set_link({.index = 9, .generation = 5, .state = LinkState::kFree});
  rig.steps(5);
  EXPECT_EQ(rig.events().size(), 2u);
}

TEST_P(SocketStream, LinkIndexIsUsedAgain) {
  Rig rig;
  for (std::uint32_t round = 1; round <= 50; ++round) {
    const auto [ours, theirs] = make_pair_of(GetParam());
    Peer peer(theirs);
    rig.received.clear();
    rig.engine->open_stream({.link = 4, .generation = round, .fd = ours, .max_frame_bytes = kMaxFrameBytes});
    rig.engine->set_link({.index = 4, .generation = round, .state = LinkState::kUp});
    Bytes wire = prefixed(make_frame_bytes(300, round));
    append(wire, Bytes(wire.begin(), wire.begin() + 50));
    peer.write_some(wire);
    ASSERT_TRUE(rig.run_until([&] { return rig.received.size() == 1; }));
    EXPECT_EQ(number_of(rig.received[0]), round);
    if (round % 2 == 0) {
      peer.reset();
    } else {
      rig.engine->close_link({.link = 4, .generation = round, .drain_ms = 0});
    }
    std::size_t events = 0;
    ASSERT_TRUE(rig.run_until([&] { return (events += rig.events().size()) == 2; }));
  }
}

INSTANTIATE_TEST_SUITE_P(Kinds, SocketStream, testing::Values(PairKind::kUnix, PairKind::kTcp),
                         [](const auto& param) { return param.param == PairKind::kUnix ? "Unix" : "Tcp"; });

// Events that must not be lost wait until the ring has room.
TEST(SocketStreamEvents, AreToldLaterWhenTheRingIsFull) {
  Rig rig;
  LinkIndex link = 0;
  auto peer = rig.add_peer(link);
  rig.steps(3);
  const Bytes filler(60'000);
  while (rig.ring.push(0xFF, filler)) {
  }
  while (rig.ring.push(0xFF, {})) {
  }
  peer->reset();
  rig.steps(50);
  auto events = rig.events();
  EXPECT_TRUE(std::ranges::all_of(events, [](const auto& e) { return e.type == static_cast<Event>(0xFF); }));
  rig.advance_ms(20);
  rig.steps(3);
  events = rig.events();
  ASSERT_EQ(events.size(), 2u);
  EXPECT_EQ(events[0].type, Event::kLinkClosed);
  EXPECT_EQ(events[1].type, Event::kLinkReleased);
}

TEST(SocketStreamWait, WakesForDataDeadlineAndStaysQuietOtherwise) {
  Rig rig;
  LinkIndex link = 0;
  auto peer = rig.add_peer(link);
  rig.steps(3);
  EXPECT_FALSE(rig.engine->wait(1'000'000));
  EXPECT_EQ(rig.step(), 0u);
  peer->write_some(prefixed(make_frame_bytes(200, 1)));
  EXPECT_FALSE(rig.engine->wait(5'000'000'000));
  EXPECT_EQ(rig.step(), 1u);
}

}  // namespace
}  // namespace slipway::test
