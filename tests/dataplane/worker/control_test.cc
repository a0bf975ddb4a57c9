// What passes between workers and the control thread: punts, notices, injected frames, snapshots, traces.
#include <gtest/gtest.h>

#include <cstring>

#include "test_node.h"

namespace slipway::test {
namespace {

template <class T>
T head_of_event(const Bytes& bytes) {
  T value;
  EXPECT_GE(bytes.size(), sizeof value);
  std::memcpy(&value, bytes.data(), sizeof value);
  return value;
}
template <class T>
Bytes tail_of_event(const Bytes& bytes) {
  return {bytes.begin() + sizeof(T), bytes.end()};
}
int count_events(const std::vector<std::pair<Event, Bytes>>& events, Event which) {
  return static_cast<int>(std::count_if(events.begin(), events.end(), [which](const auto& e) { return e.first == which; }));
}

TEST(Punt, ControlFramesComeWhole) {
  TestNode node({});
  const auto a = node.add_ethernet(0);
  node.settle();
  for (const auto kind : {FrameKind::kSubscribe, FrameKind::kUnsubscribe, FrameKind::kSubscriptionAck, FrameKind::kLink}) {
    const Bytes frame = make_control(kind, test_name(1), 3000);  // cut and joined on the way in
    node.send(a, frame);
    node.settle();
    const auto events = node.events();
    ASSERT_EQ(events.size(), 1u);
    ASSERT_EQ(events[0].first, Event::kPuntedFrame);
    EXPECT_EQ(head_of_event<PuntedFrame>(events[0].second).link, a);
    EXPECT_EQ(head_of_event<PuntedFrame>(events[0].second).generation, node.record(a).generation);
    Bytes want = frame;
    if (kind == FrameKind::kSubscribe || kind == FrameKind::kUnsubscribe) {
      set_frame_hop_limit(want.data(), kDefaultHopLimit - 1);
    }
    EXPECT_EQ(tail_of_event<PuntedFrame>(events[0].second), want);
  }
  EXPECT_EQ(node.total(&WorkerCounters::punted), 4u);
  EXPECT_EQ(node.books(), "");
}

TEST(Punt, FloodOfOneLinkLeavesOthersTheirShare) {
  TestNode node({.punts_per_second = 1000});
  const auto loud = node.add_ethernet(0);
  const auto quiet = node.add_ethernet(0);
  for (int i = 0; i < 1000; ++i) {
    node.send(loud, make_control(FrameKind::kSubscribe, test_name(1)));
    if (i % 16 == 15) {
      node.step();
    }
  }
  node.send(quiet, make_control(FrameKind::kSubscribe, test_name(1)));
  node.settle();
  EXPECT_GT(node.drops(DropReason::kPuntLimit), 800u);
  bool heard = false;
  for (const auto& [event, bytes] : node.events()) {
    heard |= event == Event::kPuntedFrame && head_of_event<PuntedFrame>(bytes).link == quiet;
  }
  EXPECT_TRUE(heard);
  EXPECT_EQ(node.books(), "");
  node.pass_ms(1000);  // the rate comes back
  const auto before = node.total(&WorkerCounters::punted);
  node.send(loud, make_control(FrameKind::kSubscribe, test_name(1)));
  node.settle();
  EXPECT_EQ(node.total(&WorkerCounters::punted), before + 1);
}

TEST(Punt, FullRingKeepsItsReserve) {
  TestNode node({.punts_per_second = 1'000'000'000});
  const auto a = node.add_ethernet(0);
  for (int i = 0; i < 400; ++i) {
    node.send(a, make_control(FrameKind::kSubscribe, test_name(1), 16'000));
    node.step();
  }
  EXPECT_GT(node.drops(DropReason::kPuntFull), 100u);
  EXPECT_EQ(node.books(), "");
  // What must not be lost still has room.
  node.worker().post(Command::kSnapshot, Snapshot{7});
  node.settle();
  EXPECT_EQ(count_events(node.events(), Event::kSnapshotDone), 1);
  EXPECT_EQ(node.total(&WorkerCounters::events_lost), 0u);
}

TEST(Notice, NativeSendersAreToldAtABoundedRate) {
  TestNode node({.notices_per_second = 10});
  const auto native = node.add_ethernet(0);
  const auto foreign = node.add_ethernet(0);
  node.record(foreign).native = false;
  node.post_link(foreign);
  node.settle();
  node.events();
  node.send(foreign, make_publish({.to = test_name(1)}));
  node.settle();
  EXPECT_EQ(count_events(node.events(), Event::kNoRoute), 0);
  node.send(native, make_publish({.to = test_name(1, true), .message = 5, .session = 6}));
  node.settle();
  const auto events = node.events();
  ASSERT_EQ(count_events(events, Event::kNoRoute), 1);
  const auto notice = head_of_event<NoRoute>(events[0].second);
  EXPECT_EQ(notice.link, native);
  EXPECT_EQ(notice.message_id, 5u);
  EXPECT_EQ(notice.session_id, 6u);
  EXPECT_EQ(notice.destination, test_name(1, true));
  EXPECT_EQ(notice.drop_reason, static_cast<std::uint8_t>(DropReason::kNoRoute));
  for (int i = 0; i < 500; ++i) {
    node.send(native, make_publish({.to = test_name(1)}));
    node.settle(4);
  }
  const auto many = node.events();
  EXPECT_LT(count_events(many, Event::kNoRoute), 30);
  EXPECT_EQ(node.drops(DropReason::kNoRoute), 502u);
  // What the rate held back is told together, soon after: every frame is told of once.
  node.pass_ms(kNoticeDelayMs);
  node.settle();
  const auto rest = node.events();
  EXPECT_LE(count_events(rest, Event::kNoRoute), 1);
  std::uint64_t told = 0;
  for (const auto* events_of : {&many, &rest}) {
    for (const auto& [event, bytes] : *events_of) {
      told += event == Event::kNoRoute ? 1 + head_of_event<NoRoute>(bytes).more : 0;
    }
  }
  EXPECT_EQ(told, 500u);
  // Never for an acknowledgement of a session.
  node.pass_ms(5000);
  Bytes ack = make_publish({.to = test_name(1)});
  ack[frame_offset::kSessionMessageType] = std::byte{2};
  node.send(native, ack);
  node.settle();
  EXPECT_EQ(count_events(node.events(), Event::kNoRoute), 0);
  EXPECT_EQ(node.books(), "");
}

TEST(Inject, FramesGoToTheirLink) {
  TestNode node({});
  const auto a = node.add_ethernet(0);
  node.record(a).state = LinkState::kGreeting;
  node.post_link(a);
  for (const std::size_t body : {0u, 100u, 3000u, 10'000u}) {
    const Bytes frame = make_control(FrameKind::kLink, {}, body);
    EXPECT_NE(node.worker().post(Command::kInjectFrame, InjectFrame{a, node.record(a).generation}, frame), 0u);
    node.settle();
    const auto out = node.take();
    ASSERT_EQ(out.size(), 1u) << body;
    EXPECT_EQ(out[0].frame, frame);
  }
  node.worker().post(Command::kInjectFrame, InjectFrame{a, node.record(a).generation + 1}, make_control(FrameKind::kLink, {}));
  node.settle();
  EXPECT_EQ(node.drops(DropReason::kLinkGone), 1u);
  EXPECT_EQ(node.total(&WorkerCounters::injected), 5u);
  EXPECT_EQ(node.books(), "");
}

TEST(Inject, PacketsGoAsTheyAre) {
  TestNode node({});
  const Bytes packet(60, std::byte{0x5A});
  node.worker().post(Command::kInjectPacket, InjectPacket{1}, packet);
  node.worker().post(Command::kInjectPacket, InjectPacket{31}, packet);  // no such port: nothing happens
  node.settle();
  const auto out = node.take_packets(1);
  ASSERT_EQ(out.size(), 1u);
  EXPECT_EQ(out[0], packet);
  EXPECT_EQ(node.books(), "");
}

TEST(Ports, AnswersArpItselfAndPuntsReplies) {
  TestNode node({});
  const auto a = node.add_ethernet(0);
  const EthernetPort& ours = node.port(0).ethernet();
  EthernetPort peer{.address_count = 1};
  peer.mac = {2, 1, 1, 1, 1, 1};
  peer.addresses[0] = address_of(node.record(a).peer);
  node.send_packet(0, make_solicitation(peer, peer.addresses[0], ours.addresses[0], nullptr));
  node.settle();
  EXPECT_EQ(node.total(&WorkerCounters::packets_answered), 1u);
  const auto replies = node.take_packets(0);
  ASSERT_EQ(replies.size(), 1u);
  // The reply, sent by somebody to us, is what the control thread learns from.
  Bytes reply = replies[0];
  std::swap_ranges(reply.begin(), reply.begin() + 6, reply.begin() + 6);
  std::swap_ranges(reply.begin() + 22, reply.begin() + 32, reply.begin() + 32);
  node.events();
  node.send_packet(0, reply);
  node.settle();
  const auto events = node.events();
  ASSERT_EQ(count_events(events, Event::kPuntedPacket), 1);
  EXPECT_EQ(head_of_event<PuntedPacket>(events[0].second).port, 0);
  EXPECT_EQ(node.total(&WorkerCounters::packets_punted), 1u);
  EXPECT_EQ(node.books(), "");
}

TEST(Ports, HelloOnAnUnknownLinkIsAnEvent) {
  TestNode node({});
  const auto a = node.add_ethernet(0);
  node.settle();
  node.events();
  const Bytes frame = make_control(FrameKind::kLink, {});
  Bytes payload(kShimBytes + frame.size());
  store_shim(payload.data(), {.link_id = 0, .total_bytes = static_cast<std::uint32_t>(frame.size())});
  std::memcpy(payload.data() + kShimBytes, frame.data(), frame.size());
  node.send_packet(0, node.packet_of(a, payload));
  node.settle();
  const auto events = node.events();
  ASSERT_EQ(events.size(), 1u);
  ASSERT_EQ(events[0].first, Event::kHello);
  EXPECT_EQ(tail_of_event<Hello>(events[0].second), frame);
  EXPECT_EQ(head_of_event<Hello>(events[0].second).from, node.record(a).peer);
  EXPECT_EQ(node.books(), "");
}

TEST(Snapshot, IsACopyAtALoopsEnd) {
  TestNode node({});
  const auto a = node.add_ethernet(0);
  const auto b = node.add_ethernet(1);
  node.subscribe(b, test_name(1));
  for (int i = 0; i < 5; ++i) {
    node.send(a, make_publish({.to = test_name(1)}));
  }
  node.send(a, make_publish({.to = test_name(2)}));
  node.worker().post(Command::kSnapshot, Snapshot{42});
  node.step();
  const auto events = node.events();
  ASSERT_EQ(count_events(events, Event::kSnapshotDone), 1);
  const WorkerCounters& s = node.worker().snapshot();
  EXPECT_EQ(s.frames_in.get(), 6u);
  EXPECT_EQ(s.frames_in.get() + s.injected.get(), s.forwarded.get() + s.punted.get() + s.consumed.get() + s.dropped_frames.get());
  EXPECT_EQ(s.drops[static_cast<std::size_t>(DropReason::kNoRoute)].get(), 1u);
  EXPECT_EQ(s.burst_fill[6].get(), 1u);
  node.send(a, make_publish({.to = test_name(1)}));
  node.settle();
  EXPECT_EQ(s.frames_in.get(), 6u);
  node.take();
}

TEST(Watch, TraceTellsWhatBecameOfAFrame) {
  TestNode node({});
  const auto a = node.add_ethernet(0);
  const auto b = node.add_ethernet(1);
  const auto c = node.add_ethernet(1, 0, LinkClass::kRemote);
  node.subscribe(b, test_name(1));
  node.subscribe(c, test_name(1));
  node.settle();
  node.events();
  TraceFilter filter{.count = 4, .link = a};
  node.worker().post(Command::kTrace, filter);
  node.send(a, make_publish({.to = test_name(1)}));
  node.send(a, make_publish({.to = test_name(1), .fanout = 2}));
  node.send(a, make_publish({.to = test_name(2)}));
  node.send(a, make_control(FrameKind::kSubscribe, test_name(1)));
  node.send(b, make_publish({.to = test_name(2)}));  // another link
  node.send(a, make_publish({.to = test_name(1)}));  // the fifth: not asked for
  node.settle();
  std::vector<Traced> traces;
  for (const auto& [event, bytes] : node.events()) {
    if (event == Event::kTraced) {
      traces.push_back(head_of_event<Traced>(bytes));
      EXPECT_EQ(bytes.size(), sizeof(Traced) + kFrameHeaderBytes);
    }
  }
  ASSERT_EQ(traces.size(), 4u);
  EXPECT_EQ(traces[0].chosen, b);
  EXPECT_EQ(traces[0].copies, 1u);
  EXPECT_EQ(traces[0].candidates[static_cast<std::size_t>(LinkClass::kEdge)], 1u);
  EXPECT_EQ(traces[0].candidates[static_cast<std::size_t>(LinkClass::kRemote)], 1u);
  EXPECT_EQ(traces[0].drop_reason, 0xFF);
  EXPECT_EQ(traces[1].chosen, kNoLink);
  EXPECT_EQ(traces[1].copies, 2u);
  EXPECT_EQ(traces[2].drop_reason, static_cast<std::uint8_t>(DropReason::kNoRoute));
  EXPECT_EQ(traces[2].copies, 0u);
  EXPECT_TRUE(traces[3].punted);
  EXPECT_EQ(node.books(), "");
  EXPECT_EQ(node.take().size(), 4u);
}

TEST(Watch, CaptureIsCutFilteredAndBounded) {
  TestNode node({});
  const auto a = node.add_ethernet(0);
  const auto b = node.add_ethernet(1);
  node.subscribe(b, test_name(1));
  node.settle();
  node.events();
  TraceFilter filter{.count = 2, .snap_bytes = 120, .kind = static_cast<std::uint8_t>(FrameKind::kPublish), .match_name = true,
                     .destination = test_name(1)};
  node.worker().post(Command::kCapture, filter);
  const Bytes frame = make_publish({.to = test_name(1), .body_bytes = 3000});
  node.send(a, make_publish({.to = test_name(5)}));
  node.send(a, make_control(FrameKind::kSubscribe, test_name(1)));
  for (int i = 0; i < 3; ++i) {
    node.send(a, frame);
  }
  node.settle();
  std::vector<Bytes> captured;
  for (const auto& [event, bytes] : node.events()) {
    if (event == Event::kCaptured) {
      EXPECT_EQ(head_of_event<Captured>(bytes).frame_bytes, frame.size());
      EXPECT_EQ(head_of_event<Captured>(bytes).link, a);
      captured.push_back(tail_of_event<Captured>(bytes));
    }
  }
  ASSERT_EQ(captured.size(), 2u);
  EXPECT_EQ(captured[0], Bytes(frame.begin(), frame.begin() + 120));  // as it came, all hops left
  node.worker().post(Command::kCapture, TraceFilter{.count = 5, .drops_only = true});
  node.send(a, frame);
  node.send(a, make_publish({.to = test_name(5)}));
  node.settle();
  EXPECT_EQ(count_events(node.events(), Event::kCaptured), 1);
  EXPECT_EQ(node.books(), "");
  node.take();
}

TEST(Life, DrainStopsReadingAndGoesOnSending) {
  TestNode node({.mbufs = 16'384});
  const auto a = node.add_ethernet(0);
  for (int i = 0; i < 2000; ++i) {
    node.subscribe(node.add_ethernet(1), test_name(1));
    if (i % 200 == 0) {
      node.settle();
    }
  }
  node.settle();
  node.send(a, make_publish({.to = test_name(1), .fanout = 2}));
  node.step();
  EXPECT_EQ(node.worker().held(), 1u);  // a fan-out that goes on
  node.take_packets(1);
  node.worker().post(Command::kDrain);
  node.send(a, make_publish({.to = test_name(1), .fanout = 2}));
  for (int i = 0; i < 10; ++i) {
    node.step();
    node.take_packets(1);
  }
  EXPECT_EQ(node.worker().held(), 0u);
  EXPECT_EQ(node.total(&WorkerCounters::frames_in), 1u);
  EXPECT_EQ(node.total(&WorkerCounters::sent), 2000u);
  EXPECT_EQ(node.books(), "");
}

TEST(Life, SwappedTablesComeBack) {
  TestNode node({});
  const auto a = node.add_ethernet(0);
  const auto b = node.add_ethernet(1);
  node.subscribe(b, test_name(1));
  node.settle();
  node.events();
  auto empty = RouteTable::create(RouteSecret::from_seed(2), 100);
  ASSERT_TRUE(empty.has_value());
  node.worker().post(Command::kSwapTable, SwapTable{&*empty});
  node.send(a, make_publish({.to = test_name(1)}));
  node.settle();
  EXPECT_EQ(node.drops(DropReason::kNoRoute), 1u);
  auto events = node.events();
  ASSERT_GE(events.size(), 1u);
  ASSERT_EQ(events[0].first, Event::kTableRetired);
  node.worker().post(Command::kSwapTable, SwapTable{head_of_event<SwapTable>(events[0].second).table});
  node.send(a, make_publish({.to = test_name(1)}));
  node.settle();
  EXPECT_EQ(node.take().size(), 1u);
}

}  // namespace
}  // namespace slipway::test
