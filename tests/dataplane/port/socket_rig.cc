#include "socket_rig.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <string>

#include <rte_eal.h>
#include <rte_lcore.h>

#include "port/mbuf.h"
#include "port/socket_address.h"

namespace slipway::test {
namespace {

// Once a process (practices 13).
class EalEnvironment : public testing::Environment {
 public:
  void SetUp() override {
    const std::string prefix = "--file-prefix=slipway-test-" + std::to_string(getpid());
    std::vector<std::string> args{"test", "--no-huge", "--no-shconf", "-m", "256", "--no-pci", "--no-telemetry", "--lcores", "0@(0-1),1@(0-1)",
                                  "--log-level=3", prefix};
    std::vector<char*> argv;
    for (std::string& arg : args) {
      argv.push_back(arg.data());
    }
    ASSERT_GE(rte_eal_init(static_cast<int>(argv.size()), argv.data()), 0);
  }
};
const auto* const kEal = testing::AddGlobalTestEnvironment(new EalEnvironment);

std::byte body_byte(std::uint32_t number, std::size_t i) { return static_cast<std::byte>((number * 131 + i * 7 + (i >> 8)) & 0xFF); }

void set_nonblocking(int fd) { fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK); }

}  // namespace

Bytes make_frame_bytes(std::uint32_t bytes, std::uint32_t number) {
  Bytes frame(bytes);
  store_header(frame.data(), {.fanout = 1, .message_id = number, .destination = {{1, 2, number}, {3, 4}}});
  for (std::size_t i = kFrameHeaderBytes; i < bytes; ++i) {
    frame[i] = body_byte(number, i);
  }
  return frame;
}

std::uint32_t number_of(std::span<const std::byte> frame) { return load_header(frame.data()).message_id; }

bool intact(std::span<const std::byte> frame) {
  if (check_frame(frame) != FrameFault::kNone) {
    return false;
  }
  const std::uint32_t number = number_of(frame);
  for (std::size_t i = kFrameHeaderBytes; i < frame.size(); ++i) {
    if (frame[i] != body_byte(number, i)) {
      return false;
    }
  }
  return true;
}

Bytes prefixed(const Bytes& frame) {
  Bytes out(frame.size() + kStreamPrefixBytes);
  store_le(out.data(), static_cast<std::uint32_t>(frame.size()));
  std::copy(frame.begin(), frame.end(), out.begin() + kStreamPrefixBytes);
  return out;
}

std::size_t Peer::write_some(std::span<const std::byte> bytes) {
  std::size_t done = 0;
  while (done < bytes.size()) {
    const ssize_t n = ::send(fd_, bytes.data() + done, bytes.size() - done, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (n <= 0) {
      break;
    }
    done += static_cast<std::size_t>(n);
  }
  return done;
}

std::size_t Peer::read_some(std::size_t most) {
  std::size_t total = 0;
  std::byte buffer[65536];
  while (total < most) {
    const ssize_t n = recv(fd_, buffer, std::min(most - total, sizeof buffer), MSG_DONTWAIT);
    if (n == 0 || (n < 0 && errno != EAGAIN)) {
      ended_ = true;
    }
    if (n <= 0) {
      break;
    }
    total += static_cast<std::size_t>(n);
    pending_.insert(pending_.end(), buffer, buffer + n);
  }
  std::size_t at = 0;
  while (pending_.size() - at >= kStreamPrefixBytes) {
    const std::size_t bytes = load_le<std::uint32_t>(pending_.data() + at);
    if (pending_.size() - at - kStreamPrefixBytes < bytes) {
      break;
    }
    at += kStreamPrefixBytes;
    frames.emplace_back(pending_.begin() + static_cast<std::ptrdiff_t>(at), pending_.begin() + static_cast<std::ptrdiff_t>(at + bytes));
    at += bytes;
  }
  pending_.erase(pending_.begin(), pending_.begin() + static_cast<std::ptrdiff_t>(at));
  return total;
}

void Peer::reset() {
  const linger now{.l_onoff = 1, .l_linger = 0};
  setsockopt(fd_, SOL_SOCKET, SO_LINGER, &now, sizeof now);
  close_now();
}

void Peer::close_now() {
  if (fd_ >= 0) {
    close(fd_);
    fd_ = -1;
  }
}

std::pair<int, int> make_pair_of(PairKind kind) {
  int fds[2] = {-1, -1};
  if (kind == PairKind::kUnix) {
    EXPECT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
  } else {
    const int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t length = sizeof address;
    EXPECT_EQ(bind(listener, reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
    EXPECT_EQ(listen(listener, 1), 0);
    EXPECT_EQ(getsockname(listener, reinterpret_cast<sockaddr*>(&address), &length), 0);
    fds[0] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    const int buffer = 256 << 10;  // the kernel holds little, whatever the machine's limits are
    setsockopt(listener, SOL_SOCKET, SO_RCVBUF, &buffer, sizeof buffer);
    setsockopt(listener, SOL_SOCKET, SO_SNDBUF, &buffer, sizeof buffer);
    setsockopt(fds[0], SOL_SOCKET, SO_RCVBUF, &buffer, sizeof buffer);
    setsockopt(fds[0], SOL_SOCKET, SO_SNDBUF, &buffer, sizeof buffer);
    EXPECT_EQ(connect(fds[0], reinterpret_cast<sockaddr*>(&address), length), 0);
    fds[1] = accept(listener, nullptr, nullptr);
    close(listener);
    const int one = 1;
    for (const int fd : fds) {
      setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    }
  }
  set_nonblocking(fds[0]);
  set_nonblocking(fds[1]);
  return {fds[0], fds[1]};
}

int udp_socket(bool ipv6, IpEndpoint& local) {
  const int fd = socket(ipv6 ? AF_INET6 : AF_INET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  IpEndpoint loopback;
  loopback.family = ipv6 ? 6 : 4;
  if (ipv6) {
    loopback.address[15] = 1;
  } else {
    loopback.address = {127, 0, 0, 1};
  }
  sockaddr_storage address{};
  socklen_t length = to_socket_address(loopback, ipv6, address);
  if (fd < 0 || bind(fd, reinterpret_cast<sockaddr*>(&address), length) != 0) {
    close(fd);
    return -1;
  }
  length = sizeof address;
  getsockname(fd, reinterpret_cast<sockaddr*>(&address), &length);
  local = endpoint_of(reinterpret_cast<const sockaddr*>(&address));
  return fd;
}

Rig::Rig(const RigOptions& options) : own_budget(options.budget_bytes) {
  static int serial = 0;
  auto made = create_pool("rig" + std::to_string(serial++), options.mbufs);
  EXPECT_TRUE(made.has_value()) << (made ? "" : made.error());
  pool = std::move(*made);
  counters = std::make_unique<WorkerCounters>();
  link_counters = static_cast<LinkCounters*>(mmap(nullptr, kMaxLinks * sizeof(LinkCounters), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
  budget = options.budget != nullptr ? options.budget : &own_budget;
  if (options.congestion == nullptr) {
    own_congestion = std::make_unique<CongestionTable>();
  }
  congestion = options.congestion != nullptr ? options.congestion : own_congestion.get();
  auto engine_made = SocketEngine::create({.worker = 3,
                                           .pool = pool.get(),
                                           .counters = counters.get(),
                                           .link_counters = link_counters,
                                           .budget = budget,
                                           .congestion = congestion,
                                           .events = &ring,
                                           .slab_pieces = options.slab_pieces,
                                           .queue_frames = options.queue_frames,
                                           .segment_offload = options.segment_offload});
  EXPECT_TRUE(engine_made.has_value()) << (engine_made ? "" : engine_made.error());
  engine = std::move(*engine_made);
  if (options.start) {
    EXPECT_TRUE(engine->start().has_value());
  }
}

Rig::~Rig() {
  if (!closed) {
    EXPECT_TRUE(engine->close_all());
  }
  EXPECT_EQ(engine->held_frames(), 0u);
  EXPECT_EQ(engine->slab_free(), engine->slab_pieces());
  check_books();
  EXPECT_EQ(counters->partial_bytes.get(), 0u);
  EXPECT_EQ(counters->held_bytes.get(), 0u);
  engine.reset();
  if (budget == &own_budget) {
    EXPECT_EQ(budget->used(), 0u);
  }
  EXPECT_EQ(rte_mempool_avail_count(pool.get()), pool->size);
  munmap(link_counters, kMaxLinks * sizeof(LinkCounters));
}

LinkIndex Rig::add_stream(int fd, std::uint32_t queue_bytes, OverflowPolicy overflow) {
  const LinkIndex link = next_link++;
  LinkRecord record{.index = link, .generation = 100 + link, .state = LinkState::kUp, .overflow = overflow,
                    .max_frame_bytes = kMaxFrameBytes, .queue_bytes = queue_bytes};
  engine->open_stream({.link = link, .generation = record.generation, .fd = fd, .max_frame_bytes = kMaxFrameBytes});
  engine->set_link(record);
  records[link] = record;
  return link;
}

std::unique_ptr<Peer> Rig::add_peer(LinkIndex& link, PairKind kind, std::uint32_t queue_bytes, OverflowPolicy overflow) {
  const auto [ours, theirs] = make_pair_of(kind);
  link = add_stream(ours, queue_bytes, overflow);
  return std::make_unique<Peer>(theirs);
}

std::uint16_t Rig::add_port(int fd) {
  engine->open_datagram({.port = next_port, .fd = fd});
  return next_port++;
}

LinkIndex Rig::add_datagram_link(std::uint16_t port, const IpEndpoint& peer, std::uint16_t datagram_bytes) {
  const LinkIndex link = next_link++;
  LinkRecord record{.index = link, .generation = 100 + link, .state = LinkState::kUp, .transport = LinkTransport::kDatagram, .port = port,
                    .peer_link_id = make_link_id(link, 7), .max_frame_bytes = kMaxDatagramFrameBytes, .datagram_bytes = datagram_bytes, .peer = peer};
  engine->set_link(record);
  records[link] = record;
  return link;
}

void Rig::close_link(LinkIndex link, std::uint32_t drain_ms) {
  engine->close_link({.link = link, .generation = records.at(link).generation, .drain_ms = drain_ms});
}

std::uint32_t Rig::step() {
  const std::uint32_t count = engine->poll(now_ns, burst);
  for (std::uint32_t i = 0; i < count; ++i) {
    rte_mbuf* frame = burst[i];
    const FrameMeta& meta = frame_meta(frame);
    EXPECT_EQ(meta.frame_bytes, frame->pkt_len);
    EXPECT_GE(frame->data_len, kFrameHeaderBytes);
    EXPECT_EQ(load_le<std::uint32_t>(data_of(frame) - kStreamPrefixBytes), meta.frame_bytes);
    rte_mbuf_sanity_check(frame, 1);
    if (on_frame && on_frame(frame)) {
      continue;
    }
    const auto route = routes.find(meta.in_link);
    if (route == routes.end()) {
      Bytes bytes(frame->pkt_len);
      copy_chain(frame, 0, frame->pkt_len, bytes.data());
      received.push_back(std::move(bytes));
      rte_pktmbuf_free(frame);
      continue;
    }
    for (std::size_t r = 1; r < route->second.size(); ++r) {
      for (rte_mbuf* segment = frame; segment != nullptr; segment = segment->next) {
        rte_mbuf_refcnt_update(segment, 1);
      }
    }
    for (const LinkIndex to : route->second) {
      ++copies;
      engine->send(records.at(to), frame);
    }
  }
  engine->flush();
  return count;
}

void Rig::steps(int count) {
  for (int i = 0; i < count; ++i) {
    step();
  }
}

bool Rig::run_until(const std::function<bool()>& done) {
  for (int i = 0; i < 20'000; ++i) {
    step();
    if (done()) {
      return true;
    }
    if (i > 1000) {
      usleep(50);  // the kernel works on its own time
    }
  }
  return false;
}

void Rig::send(LinkIndex to, const Bytes& frame, bool pausable) {
  rte_mbuf* first = rte_pktmbuf_alloc(pool.get());
  rte_mbuf* last = first;
  for (std::size_t done = 0; done < frame.size();) {
    if (done > 0) {
      last->next = rte_pktmbuf_alloc(pool.get());
      last = last->next;
      ++first->nb_segs;
    }
    const std::size_t part = std::min(frame.size() - done, kMbufDataBytes);
    std::memcpy(data_of(last), frame.data() + done, part);
    last->data_len = static_cast<std::uint16_t>(part);
    first->pkt_len += static_cast<std::uint32_t>(part);
    done += part;
  }
  make_frame(first, kNoLink, pausable);
  ++copies;
  engine->send(records.at(to), first);
}

void Rig::check_books() const {
  EXPECT_EQ(copies, counters->sent.get() + counters->dropped_copies.get() + counters->held.get());
  EXPECT_EQ(counters->held.get(), engine->held_frames());
}

std::vector<Rig::SeenEvent> Rig::events() {
  std::vector<SeenEvent> out;
  while (auto record = ring.peek()) {
    out.push_back({static_cast<Event>(record->type), Bytes(record->bytes.begin(), record->bytes.end())});
    ring.pop();
  }
  return out;
}

}  // namespace slipway::test
