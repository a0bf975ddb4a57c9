// Datagram sockets: two engines that talk over loopback, and plain sockets that talk badly.

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <random>

#include "frame/shim.h"
#include "port/socket_address.h"
#include "socket_rig.h"

namespace slipway::test {
namespace {

// Two rigs with one datagram link between them.
struct Two {
  explicit Two(bool ipv6, std::uint16_t datagram_bytes, bool offload) : a({.segment_offload = offload}), b({.segment_offload = offload}) {
    IpEndpoint at_a;
    IpEndpoint at_b;
    const int fd_a = udp_socket(ipv6, at_a);
    const int fd_b = udp_socket(ipv6, at_b);
    usable = fd_a >= 0 && fd_b >= 0;
    if (!usable) {
      return;
    }
    const std::uint16_t port_a = a.add_port(fd_a);
    const std::uint16_t port_b = b.add_port(fd_b);
    a.next_link = 10;
    b.next_link = 20;
    to_b = a.add_datagram_link(port_a, at_b, datagram_bytes);
    to_a = b.add_datagram_link(port_b, at_a, datagram_bytes);
    a.record(to_b).peer_link_id = b.record(to_a).id();
    b.record(to_a).peer_link_id = a.record(to_b).id();
    a.engine->set_link(a.record(to_b));
    b.engine->set_link(b.record(to_a));
    a.steps(2);
    b.steps(2);
  }
  bool run_until(const std::function<bool()>& done) {
    return b.run_until([&] {
      a.step();
      return done();
    });
  }
  Rig a;
  Rig b;
  LinkIndex to_b = 0;
  LinkIndex to_a = 0;
  bool usable = false;
};

struct Case {
  bool ipv6;
  std::uint16_t datagram_bytes;
  bool offload;
};
class SocketDatagram : public testing::TestWithParam<Case> {};

TEST_P(SocketDatagram, EverySizeIsCutAndJoined) {
  const Case c = GetParam();
  Two two(c.ipv6, c.datagram_bytes, c.offload);
  if (!two.usable) {
    GTEST_SKIP() << "no loopback address of this family";
  }
  const std::uint32_t room = c.datagram_bytes - kShimBytes;
  std::vector<std::uint32_t> sizes{104, 105, 300, 616, room - 1, room, room + 1, 2 * room - 1, 2 * room, 2 * room + 1, 2048, 2049, 4097, 30'000, 65'535, 65'536};
  std::uint32_t number = 0;
  for (const std::uint32_t size : sizes) {
    if (size < kFrameHeaderBytes || size > kMaxDatagramFrameBytes) {
      continue;
    }
    const Bytes frame = make_frame_bytes(size, ++number);
    two.a.send(two.to_b, frame);
    ASSERT_TRUE(two.run_until([&] { return two.b.received.size() == number; })) << size;
    ASSERT_EQ(two.b.received.back(), frame) << size;
  }
  two.a.steps(2);
  EXPECT_EQ(two.a.counters->sent.get(), number);
  EXPECT_EQ(two.a.counters->packets_out.get(), two.b.counters->packets_in.get());
  EXPECT_EQ(two.a.counters->fragments_out.get(), two.b.counters->fragments_in.get());
  EXPECT_EQ(two.b.counters->frames_in.get(), number);
  EXPECT_EQ(two.b.link_counters[two.to_a].frames_in.get(), number);
  EXPECT_EQ(two.b.counters->packets_dropped.get(), 0u);
}

TEST_P(SocketDatagram, BatchesOfManySizes) {
  const Case c = GetParam();
  Two two(c.ipv6, c.datagram_bytes, c.offload);
  if (!two.usable) {
    GTEST_SKIP() << "no loopback address of this family";
  }
  std::mt19937 random(11);
  constexpr std::uint32_t kCount = 600;
  std::vector<Bytes> frames;
  std::uint32_t size = 200;
  for (std::uint32_t i = 0; i < kCount; ++i) {
    if (i % 70 == 0) {
      size = 104 + random() % 600;  // runs of one length, as offloads like them
    }
    frames.push_back(make_frame_bytes(i % 97 == 0 ? 5000 : i % 13 == 0 ? 104 + random() % 900 : size, i));
  }
  const std::uint64_t before = two.a.counters->syscalls.get();
  for (std::uint32_t i = 0; i < kCount; ++i) {
    two.a.send(two.to_b, frames[i]);
    if (i % 100 == 99) {
      ASSERT_TRUE(two.run_until([&] { return two.b.received.size() == i + 1; })) << two.b.received.size();
    }
  }
  EXPECT_LT(two.a.counters->syscalls.get() - before, 100'000u);
  for (std::uint32_t i = 0; i < kCount; ++i) {
    ASSERT_EQ(number_of(two.b.received[i]), i);
    ASSERT_EQ(two.b.received[i], frames[i]);
  }
}

INSTANTIATE_TEST_SUITE_P(Kinds, SocketDatagram,
                         testing::Values(Case{false, 1400, true}, Case{true, 1400, true}, Case{false, 1400, false}, Case{false, 1024, true},
                                         Case{false, 9000, true}, Case{true, 65'000, true}, Case{false, 65'507, true}, Case{false, 65'507, false}));

// One engine, and a plain socket that sends what it likes.
struct Wild : testing::Test {
  Rig rig;
  IpEndpoint ours;
  IpEndpoint theirs;
  std::uint16_t port = rig.add_port(udp_socket(false, ours));
  int fd = udp_socket(false, theirs);
  LinkIndex link = rig.add_datagram_link(port, theirs);

  void SetUp() override { rig.steps(2); }
  void TearDown() override { close(fd); }
  void shoot(const Bytes& datagram, int from = -1) {
    sockaddr_storage to{};
    const socklen_t length = to_socket_address(ours, false, to);
    ASSERT_EQ(sendto(from < 0 ? fd : from, datagram.data(), datagram.size(), 0, reinterpret_cast<const sockaddr*>(&to), length),
              static_cast<ssize_t>(datagram.size()));
    const std::uint64_t seen = rig.counters->packets_in.get();
    ASSERT_TRUE(rig.run_until([&] { return rig.counters->packets_in.get() == seen + 1; }));
  }
  Bytes datagram(Shim shim, const Bytes& piece) {
    Bytes out(kShimBytes + piece.size());
    store_shim(out.data(), shim);
    std::copy(piece.begin(), piece.end(), out.begin() + kShimBytes);
    return out;
  }
  Shim whole_shim(const Bytes& frame) { return {.link_id = rig.record(link).id(), .total_bytes = static_cast<std::uint32_t>(frame.size())}; }
};

TEST_F(Wild, GoodOnesPassAndBadOnesAreNamed) {
  const Bytes frame = make_frame_bytes(300, 1);
  shoot(datagram(whole_shim(frame), frame));
  ASSERT_EQ(rig.received.size(), 1u);
  EXPECT_EQ(rig.received[0], frame);

  shoot(Bytes(kShimBytes));
  shoot(Bytes(3));
  shoot({});
  EXPECT_EQ(rig.drops(DropReason::kShimMalformed), 3u);
  Bytes tagged = datagram(whole_shim(frame), frame);
  tagged[25] = std::byte{1};
  shoot(tagged);
  EXPECT_EQ(rig.drops(DropReason::kShimTag), 1u);
  Shim shim = whole_shim(frame);
  shim.link_id = make_link_id(link, 999);
  shoot(datagram(shim, frame));
  shim.link_id = make_link_id(4000, 1);
  shoot(datagram(shim, frame));
  EXPECT_EQ(rig.drops(DropReason::kUnknownLink), 2u);
  IpEndpoint other;
  const int stranger = udp_socket(false, other);
  shoot(datagram(whole_shim(frame), frame), stranger);
  EXPECT_EQ(rig.drops(DropReason::kWrongSource), 1u);
  EXPECT_EQ(rig.link_counters[link].drops[static_cast<std::size_t>(DropReason::kWrongSource)].get(), 1u);
  rig.record(link).check_source_port = false;
  rig.engine->set_link(rig.record(link));
  shoot(datagram(whole_shim(frame), frame), stranger);
  close(stranger);
  EXPECT_EQ(rig.received.size(), 2u);
  EXPECT_EQ(rig.counters->packets_in.get(), rig.counters->packets_dropped.get() + rig.received.size());
}

TEST_F(Wild, HelloIsToldAndAnswered) {
  Bytes frame = make_frame_bytes(200, 1);
  frame[1] = static_cast<std::byte>(FrameKind::kLink);
  shoot(datagram({.link_id = 0, .total_bytes = 200}, frame));
  const auto events = rig.events();
  ASSERT_EQ(events.size(), 1u);
  ASSERT_EQ(events[0].type, Event::kHello);
  const auto hello = events[0].as<Hello>();
  EXPECT_EQ(hello.port, port);
  EXPECT_EQ(hello.worker, 3);
  EXPECT_EQ(hello.from, theirs);
  EXPECT_EQ(hello.to, ours);
  EXPECT_EQ(Bytes(events[0].bytes.begin() + sizeof(Hello), events[0].bytes.end()), frame);
  EXPECT_EQ(rig.counters->packets_punted.get(), 1u);

  shoot(datagram({.link_id = 0, .total_bytes = 200}, make_frame_bytes(200, 1)));  // a publish without a link
  EXPECT_EQ(rig.drops(DropReason::kUnknownLink), 1u);

  const Bytes answer = datagram({.link_id = 55, .total_bytes = 200}, frame);
  rig.engine->inject_datagram({.port = port, .to = theirs}, answer);
  Bytes got(2000);
  const ssize_t n = recv(fd, got.data(), got.size(), 0);
  ASSERT_EQ(n, static_cast<ssize_t>(answer.size()));
  got.resize(static_cast<std::size_t>(n));
  EXPECT_EQ(got, answer);
}

TEST_F(Wild, PiecesThatNeverBecomeAFrameTimeOut) {
  const Bytes frame = make_frame_bytes(3000, 1);
  Shim shim = whole_shim(frame);
  shim.flags = 0;
  shoot(datagram(shim, Bytes(frame.begin(), frame.begin() + 1300)));
  EXPECT_EQ(rig.counters->partial_bytes.get(), 1300u);
  EXPECT_EQ(rig.counters->fragments_in.get(), 1u);
  rig.advance_ms(kJoinDeadlineMs + 20);
  rig.steps(2);
  EXPECT_EQ(rig.drops(DropReason::kJoinTimeout), 1u);
  EXPECT_EQ(rig.counters->partial_bytes.get(), 0u);
}

TEST_F(Wild, LinkGoesWithItsPieces) {
  const Bytes frame = make_frame_bytes(3000, 1);
  Shim shim = whole_shim(frame);
  shim.flags = 0;
  shoot(datagram(shim, Bytes(frame.begin(), frame.begin() + 1300)));
  rig.send(link, frame);
  rig.close_link(link);
  rig.steps(5);
  const auto events = rig.events();
  ASSERT_EQ(events.size(), 2u);
  EXPECT_EQ(events[0].type, Event::kLinkClosed);
  EXPECT_EQ(events[1].type, Event::kLinkReleased);
  EXPECT_EQ(rig.counters->partial_bytes.get(), 0u);
  shoot(datagram(whole_shim(frame), frame));
  EXPECT_EQ(rig.drops(DropReason::kUnknownLink), 1u);
  rig.send(link, frame);
  EXPECT_EQ(rig.drops(DropReason::kLinkGone), 2u) << "the frame that was being joined, and the one sent too late";
}

TEST_F(Wild, RemovedRecordReleasesTheLink) {
  LinkRecord gone = rig.record(link);
  gone.state = LinkState::kFree;
  rig.engine->set_link(gone);
  rig.steps(2);
  const auto events = rig.events();
  ASSERT_EQ(events.size(), 1u);
  EXPECT_EQ(events[0].type, Event::kLinkReleased);
  EXPECT_EQ(events[0].as<LinkReleased>().generation, gone.generation);
}

TEST_F(Wild, ClosedPortDropsWhatIsQueuedAndIsOpenedAgain) {
  rig.send(link, make_frame_bytes(500, 1));
  rig.engine->close_port({.port = port});
  rig.steps(3);
  EXPECT_EQ(rig.drops(DropReason::kLinkGone), 1u);
  rig.engine->open_datagram({.port = port, .fd = udp_socket(false, ours)});
  rig.steps(2);
  const Bytes frame = make_frame_bytes(300, 2);
  shoot(datagram(whole_shim(frame), frame));
  EXPECT_EQ(rig.received.size(), 1u);
}

TEST_F(Wild, QueueIsBounded) {
  for (std::uint32_t i = 0; i < 6000; ++i) {
    rig.send(link, make_frame_bytes(110, i));
  }
  EXPECT_EQ(rig.drops(DropReason::kQueueFull), 6000u - 4096u);
  EXPECT_TRUE(rig.run_until([&] { return rig.engine->held_frames() == 0; }));
  EXPECT_EQ(rig.counters->sent.get(), 4096u);
}

TEST(SocketDatagramWildcard, HelloTellsOurAddress) {
  Rig rig;
  const int fd = socket(AF_INET6, SOCK_DGRAM | SOCK_NONBLOCK, 0);
  sockaddr_in6 any{};
  any.sin6_family = AF_INET6;
  socklen_t length = sizeof any;
  if (fd < 0 || bind(fd, reinterpret_cast<sockaddr*>(&any), sizeof any) != 0 || getsockname(fd, reinterpret_cast<sockaddr*>(&any), &length) != 0) {
    GTEST_SKIP() << "no IPv6";
  }
  rig.add_port(fd);
  rig.steps(2);
  IpEndpoint theirs;
  const int peer = udp_socket(false, theirs);
  Bytes frame = make_frame_bytes(200, 1);
  frame[1] = static_cast<std::byte>(FrameKind::kLink);
  Bytes datagram(kShimBytes + frame.size());
  store_shim(datagram.data(), {.link_id = 0, .total_bytes = 200});
  std::copy(frame.begin(), frame.end(), datagram.begin() + kShimBytes);
  IpEndpoint to{.address = {127, 0, 0, 2}, .port = ntohs(any.sin6_port), .family = 4};
  sockaddr_storage address{};
  const socklen_t bytes = to_socket_address(to, false, address);
  ASSERT_GT(sendto(peer, datagram.data(), datagram.size(), 0, reinterpret_cast<sockaddr*>(&address), bytes), 0);
  std::vector<Rig::SeenEvent> events;
  ASSERT_TRUE(rig.run_until([&] { return !(events = rig.events()).empty(); }));
  EXPECT_EQ(events[0].as<Hello>().to, to);
  EXPECT_EQ(events[0].as<Hello>().from, theirs);
  rig.engine->inject_datagram({.port = 0, .to = theirs}, datagram);  // an IPv4 peer of an IPv6 socket
  std::byte got[300];
  EXPECT_EQ(recv(peer, got, sizeof got, 0), static_cast<ssize_t>(datagram.size()));
  close(peer);
}

}  // namespace
}  // namespace slipway::test
