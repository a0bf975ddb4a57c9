#include "test_node.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <rte_mbuf.h>
#include <rte_mempool.h>
#include <rte_ring.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstring>

#include <fmt/format.h>

#include "port/eal.h"
#include "port/ethernet.h"

namespace slipway::test {
namespace {

// Queues of a ring port: the same ring lies behind receive and transmit queue i, so the two are kept apart.
constexpr std::uint16_t kFirstTxQueue = 8;
constexpr std::uint16_t kQueues = 16;
constexpr std::size_t kOuterBytes = 14 + 20 + 8;
constexpr std::uint32_t kPeerIds = 0x40000;

class EalEnvironment : public ::testing::Environment {
 public:
  void SetUp() override {
    auto eal = Eal::start({.memory_bytes = 256u << 20, .huge_pages = HugePages::kNever});
    ASSERT_TRUE(eal.has_value()) << eal.error();
    eal_ = std::move(*eal);
  }

 private:
  std::unique_ptr<Eal> eal_;
};
[[maybe_unused]] const auto* const environment = ::testing::AddGlobalTestEnvironment(new EalEnvironment);

int unique_number() {
  static int number = 0;
  return ++number;
}

std::string ip_text(std::uint16_t port, std::uint32_t host) { return fmt::format("10.{}.{}.{}", port, host / 250, host % 250 + 1); }

IpAddress ip_of(std::uint16_t port, std::uint32_t host) {
  auto ip = parse_ip_address(ip_text(port, host));
  EXPECT_TRUE(ip.has_value());
  return *ip;
}

constexpr int kWriteDeadlineMs = 60'000;

void write_all(int fd, const Bytes& bytes) {
  std::size_t done = 0;
  while (done < bytes.size()) {
    const ssize_t n = write(fd, bytes.data() + done, bytes.size() - done);
    if (n < 0 && errno == EAGAIN) {  // a worker's thread that has not run for a while
      pollfd writable{.fd = fd, .events = POLLOUT, .revents = 0};
      ASSERT_EQ(poll(&writable, 1, kWriteDeadlineMs), 1) << "nobody reads";
      continue;
    }
    ASSERT_GT(n, 0) << std::strerror(errno);
    done += static_cast<std::size_t>(n);
  }
}

}  // namespace

Name test_name(std::uint64_t n, bool exact) {
  Name name{{0x1111, 0x2222, n * 0x9E3779B97F4A7C15u + 1}, kNullId};
  if (exact) {
    name.id = {.high = n + 1, .low = n + 2};
  }
  return name;
}

Bytes make_publish(const PublishSpec& spec) {
  Bytes frame(kFrameHeaderBytes + spec.body_bytes);
  store_header(frame.data(), {.hop_limit = spec.hops,
                              .fanout = spec.fanout,
                              .session_id = spec.session,
                              .message_id = spec.message,
                              .destination = spec.to,
                              .source = spec.from});
  for (std::size_t i = 0; i < spec.body_bytes; ++i) {
    frame[kFrameHeaderBytes + i] = static_cast<std::byte>(i * 31 + spec.message);
  }
  return frame;
}

Bytes make_control(FrameKind kind, const Name& name, std::size_t body_bytes, std::uint8_t hops) {
  Bytes frame(kFrameHeaderBytes + body_bytes);
  store_header(frame.data(), {.kind = kind, .hop_limit = hops, .destination = name});
  return frame;
}

std::uint32_t message_of(const Bytes& frame) { return load_header(frame.data()).message_id; }

TestNode::TestNode(const NodeSpec& spec) : spec_(spec) {
  const int number = unique_number();
  auto pool = create_pool(fmt::format("worker-test-{}", number), spec.mbufs);
  EXPECT_TRUE(pool.has_value()) << pool.error();
  pool_ = std::move(*pool);
  for (std::uint16_t p = 0; p < spec.ports; ++p) {
    DpdkPortConfig config{.name = fmt::format("port{}", p), .device = fmt::format("net_ring_t{}x{}", number, p)};
    config.addresses.push_back(*parse_ip_prefix(ip_text(p, 0) + "/16"));
    auto port = DpdkPort::attach(p, config);
    EXPECT_TRUE(port.has_value()) << port.error();
    auto started = (*port)->start(pool_.get(), kFirstTxQueue, kQueues);
    EXPECT_TRUE(started.has_value()) << started.error();
    (*port)->tick(0);
    EXPECT_TRUE((*port)->state().open && (*port)->state().carrier);
    ports_.push_back(std::move(*port));
    for (std::uint16_t q = 0; q < kQueues; ++q) {
      rings_.push_back(rte_ring_lookup(fmt::format("ETH_RXTX{}_{}", q, config.device).c_str()));
      EXPECT_NE(rings_.back(), nullptr);
    }
  }
  auto database = SubscriptionDatabase::create(RouteSecret::from_seed(1),
                                               {.max_routes = 100'000, .max_link_subscriptions = spec.max_link_subscriptions});
  EXPECT_TRUE(database.has_value()) << database.error();
  database_ = std::move(*database);
  control_ = std::move(*Doorbell::create());
  WorkerGroupConfig config{.anycast_order = spec.order,
                           .anycast_policy = spec.policy,
                           .peers_full_mesh = spec.peers_full_mesh,
                           .node_budget_bytes = spec.budget_bytes,
                           .punts_per_second = spec.punts_per_second,
                           .notices_per_second = spec.notices_per_second,
                           .control = control_.get()};
  tables_.resize(spec.workers.size());
  for (std::size_t i = 0; i < spec.workers.size(); ++i) {
    tables_[i] = std::move(*database_->make_table());
    EXPECT_TRUE(database_->attach(tables_[i]).has_value());
    WorkerConfig worker{.name = fmt::format("w{}", i),
                        .kind = spec.workers[i].sockets ? WorkerKind::kSocket : WorkerKind::kPoll,
                        .idle = spec.workers[i].idle,
                        .cpu = spec.workers[i].cpu,
                        .with_sockets = spec.workers[i].sockets,
                        .pool = pool_.get(),
                        .table = &tables_[i]};
    for (std::uint16_t p = 0; p < spec.ports; ++p) {
      const auto has = [p](const std::vector<std::uint16_t>& list) { return std::find(list.begin(), list.end(), p) != list.end(); };
      WorkerPort port{.port = ports_[p].get(), .number = p};
      port.rx_queue = has(spec.workers[i].rx_ports) ? static_cast<std::uint16_t>(i) : WorkerPort::kNoQueue;
      port.tx_queue = has(spec.workers[i].tx_ports) ? static_cast<std::uint16_t>(kFirstTxQueue + i) : WorkerPort::kNoQueue;
      if (port.rx_queue != WorkerPort::kNoQueue || port.tx_queue != WorkerPort::kNoQueue) {
        worker.ports.push_back(port);
      }
    }
    config.workers.push_back(worker);
  }
  auto group = WorkerGroup::create(std::move(config));
  EXPECT_TRUE(group.has_value()) << group.error();
  group_ = std::move(*group);
  database_->set_post([this](const RouteUpdate& update) {
    for (std::size_t i = 0; i < group_->size(); ++i) {
      EXPECT_NE(worker(i).post_quietly(Command::kRoute, update), 0u);
    }
  });
}

TestNode::~TestNode() {
  group_.reset();
  for (auto& [index, link] : links_) {
    if (link.peer_fd >= 0) {
      close(link.peer_fd);
    }
  }
  for (rte_ring* ring : rings_) {
    void* m = nullptr;
    while (rte_ring_dequeue(ring, &m) == 0) {
      rte_pktmbuf_free(static_cast<rte_mbuf*>(m));
    }
  }
  EXPECT_EQ(mbufs_out(), 0u) << "buffers that never came home";
  ports_.clear();
}

std::uint32_t TestNode::mbufs_out() const { return rte_mempool_in_use_count(pool_.get()); }

LinkIndex TestNode::add_ethernet(std::uint16_t port, std::uint16_t owner, LinkClass link_class) {
  const LinkIndex index = next_link_++;
  Link& link = links_[index];
  const EthernetPort& ethernet = ports_[port]->ethernet();
  const IpEndpoint peer = make_endpoint(ip_of(port, index), ethernet.udp_port);
  const MacAddress mac{2, 0, 0, static_cast<std::uint8_t>(port), static_cast<std::uint8_t>(index >> 8), static_cast<std::uint8_t>(index)};
  link.record = {.index = index,
                 .generation = generation_++,
                 .state = LinkState::kUp,
                 .link_class = link_class,
                 .transport = LinkTransport::kEthernet,
                 .owner_worker = owner,
                 .port = port,
                 .peer_link_id = kPeerIds + index,
                 .max_frame_bytes = kMaxDatagramFrameBytes,
                 .datagram_bytes = datagram_bytes(ethernet.mtu, 4),
                 .check_source_port = false,
                 .peer = peer,
                 .outer = make_outer(ethernet, ethernet.addresses[0], peer, mac)};
  database_->add_link(index, link_class);
  post_link(index);
  return index;
}

LinkIndex TestNode::add_stream(std::uint16_t owner, LinkClass link_class) {
  std::array<int, 2> fds{};
  EXPECT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds.data()), 0);
  for (const int fd : fds) {
    fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
  }
  const LinkIndex index = next_link_++;
  Link& link = links_[index];
  link.peer_fd = fds[1];
  link.record = {.index = index,
                 .generation = generation_++,
                 .state = LinkState::kUp,
                 .link_class = link_class,
                 .transport = LinkTransport::kStream,
                 .owner_worker = owner,
                 .max_frame_bytes = kMaxFrameBytes};
  database_->add_link(index, link_class);
  worker(owner).post(Command::kOpenStream, OpenStream{index, link.record.generation, fds[0], kMaxFrameBytes});
  post_link(index);
  return index;
}

LinkIndex TestNode::add_control(std::uint16_t owner) {
  const LinkIndex index = next_link_++;
  links_[index].record = {.index = index,
                          .generation = generation_++,
                          .state = LinkState::kUp,
                          .link_class = LinkClass::kLocal,
                          .transport = LinkTransport::kControl,
                          .owner_worker = owner,
                          .max_frame_bytes = kMaxLocalFrameBytes,
                          .native = false};
  database_->add_link(index, LinkClass::kLocal);
  post_link(index);
  return index;
}

void TestNode::post_link(LinkIndex link) {
  for (std::size_t i = 0; i < group_->size(); ++i) {
    EXPECT_NE(worker(i).post(Command::kLink, links_.at(link).record), 0u);
  }
}

void TestNode::remove(LinkIndex link) {
  while (!database_->remove_link(link, 100, [](const Transition&) {})) {
  }
  LinkRecord gone = links_.at(link).record;
  gone.state = LinkState::kFree;
  for (std::size_t i = 0; i < group_->size(); ++i) {
    worker(i).post(Command::kLink, gone);
  }
}

void TestNode::subscribe(LinkIndex link, const Name& name) {
  const auto change = database_->subscribe({.link = link, .name = name, .subscription_id = subscription_++});
  EXPECT_TRUE(change.has_value()) << change.error();
  names_[link].push_back(name);
}

void TestNode::unsubscribe(LinkIndex link, const Name& name) {
  // Records were made with running ids; the database says which one a link has on a name by trying.
  for (std::uint64_t id = 1; id < subscription_; ++id) {
    if (database_->unsubscribe({.link = link, .name = name, .subscription_id = id}).has_value()) {
      return;
    }
  }
  ADD_FAILURE() << "link " << link << " has no such subscription";
}

Bytes TestNode::packet_of(LinkIndex from, std::span<const std::byte> payload) {
  const LinkRecord& record = links_.at(from).record;
  const EthernetPort& ours = ports_[record.port]->ethernet();
  EthernetPort peer{.number = record.port, .udp_port = record.peer.port, .address_count = 1};
  std::memcpy(peer.mac.data(), record.outer.bytes.data(), 6);
  peer.addresses[0] = address_of(record.peer);
  if (record.outer.length == 0) {
    peer.mac = {2, 9, 9, 9, 9, 9};
  }
  const OuterTemplate outer = make_outer(peer, peer.addresses[0], make_endpoint(ours.addresses[0], ours.udp_port), ours.mac);
  return make_datagram(peer, outer, payload);
}

void TestNode::send_packet(std::uint16_t port, const Bytes& packet) {
  rte_mbuf* m = rte_pktmbuf_alloc(pool_.get());
  ASSERT_NE(m, nullptr);
  ASSERT_LE(packet.size(), rte_pktmbuf_tailroom(m));
  std::memcpy(rte_pktmbuf_append(m, static_cast<std::uint16_t>(packet.size())), packet.data(), packet.size());
  for (std::size_t w = 0; w < spec_.workers.size(); ++w) {
    const auto& list = spec_.workers[w].rx_ports;
    if (std::find(list.begin(), list.end(), port) != list.end()) {
      ASSERT_EQ(rte_ring_enqueue(rings_[port * kQueues + w], m), 0);
      return;
    }
  }
  FAIL() << "no worker receives from port " << port;
}

void TestNode::send(LinkIndex from, const Bytes& frame) {
  Link& link = links_.at(from);
  if (link.record.transport == LinkTransport::kStream) {
    Bytes bytes(kStreamPrefixBytes);
    store_le(bytes.data(), static_cast<std::uint32_t>(frame.size()));
    bytes.insert(bytes.end(), frame.begin(), frame.end());
    write_all(link.peer_fd, bytes);
    return;
  }
  const std::size_t room = link.record.datagram_bytes - kShimBytes;
  ++link.frame_number;
  for (std::size_t at = 0; at < frame.size(); at += room) {
    const std::size_t bytes = std::min(room, frame.size() - at);
    const bool last = at + bytes == frame.size();
    Bytes payload(kShimBytes + bytes);
    store_shim(payload.data(), {.link_id = link.record.id(),
                                .counter = ++link.counter,
                                .fragment_offset = static_cast<std::uint32_t>(at),
                                .total_bytes = static_cast<std::uint32_t>(frame.size()),
                                .flags = last ? shim_flag::kLast : std::uint8_t{0},
                                .frame_number = link.frame_number});
    std::memcpy(payload.data() + kShimBytes, frame.data() + at, bytes);
    send_packet(link.record.port, packet_of(from, payload));
  }
}

std::vector<Bytes> TestNode::take_packets(std::uint16_t port) {
  std::vector<Bytes> packets;
  for (std::uint16_t q = kFirstTxQueue; q < kQueues; ++q) {
    void* object = nullptr;
    while (rte_ring_dequeue(rings_[port * kQueues + q], &object) == 0) {
      auto* m = static_cast<rte_mbuf*>(object);
      Bytes bytes(rte_pktmbuf_pkt_len(m));
      const void* at = rte_pktmbuf_read(m, 0, rte_pktmbuf_pkt_len(m), bytes.data());
      if (at != bytes.data()) {
        std::memcpy(bytes.data(), at, bytes.size());
      }
      rte_pktmbuf_free(m);
      packets.push_back(std::move(bytes));
    }
  }
  return packets;
}

void TestNode::read_ports(std::vector<Delivered>& out) {
  for (std::uint16_t p = 0; p < spec_.ports; ++p) {
    for (const Bytes& packet : take_packets(p)) {
      if (packet.size() <= kOuterBytes + kShimBytes) {
        continue;
      }
      const std::span<const std::byte> datagram(packet.data() + kOuterBytes, packet.size() - kOuterBytes);
      EXPECT_EQ(check_shim(datagram), ShimFault::kNone);
      const Shim shim = load_shim(datagram.data());
      const LinkIndex index = shim.link_id - kPeerIds;
      ASSERT_TRUE(links_.contains(index)) << "a packet to nobody";
      Bytes& piece = links_.at(index).pieces[shim.frame_number];
      EXPECT_EQ(piece.size(), shim.fragment_offset);  // a ring keeps the order
      piece.insert(piece.end(), datagram.begin() + kShimBytes, datagram.end());
      if ((shim.flags & shim_flag::kLast) != 0) {
        EXPECT_EQ(piece.size(), shim.total_bytes);
        out.push_back({index, std::move(piece)});
        links_.at(index).pieces.erase(shim.frame_number);
      }
    }
  }
}

void TestNode::read_streams(std::vector<Delivered>& out) {
  for (auto& [index, link] : links_) {
    if (link.peer_fd < 0) {
      continue;
    }
    std::array<std::byte, 65536> buffer;
    ssize_t n = 0;
    while ((n = read(link.peer_fd, buffer.data(), buffer.size())) > 0) {
      link.received.insert(link.received.end(), buffer.begin(), buffer.begin() + n);
    }
    std::size_t at = 0;
    while (link.received.size() - at >= kStreamPrefixBytes) {
      const auto length = load_le<std::uint32_t>(link.received.data() + at);
      if (link.received.size() - at - kStreamPrefixBytes < length) {
        break;
      }
      const auto begin = link.received.begin() + static_cast<std::ptrdiff_t>(at + kStreamPrefixBytes);
      out.push_back({index, Bytes(begin, begin + length)});
      at += kStreamPrefixBytes + length;
    }
    link.received.erase(link.received.begin(), link.received.begin() + static_cast<std::ptrdiff_t>(at));
  }
}

std::vector<Delivered> TestNode::take() {
  std::vector<Delivered> out;
  read_ports(out);
  read_streams(out);
  return out;
}

std::uint32_t TestNode::step(std::size_t i) {
  now_ns_ += 10'000;
  return worker(i).do_work(now_ns_);
}

void TestNode::settle(int loops) {
  int quiet = 0;
  for (int i = 0; i < loops && quiet < 3; ++i) {
    std::uint32_t work = 0;
    for (std::size_t w = 0; w < group_->size(); ++w) {
      work += step(w);
    }
    quiet = work == 0 ? quiet + 1 : 0;
  }
}

void TestNode::wake_all() {
  for (std::size_t i = 0; i < group_->size(); ++i) {
    worker(i).wake();
  }
}

bool TestNode::all_applied() {
  for (std::size_t i = 0; i < group_->size(); ++i) {
    if (worker(i).applied() < worker(i).posted()) {
      return false;
    }
  }
  return true;
}

std::uint64_t TestNode::total(Counter WorkerCounters::*field) const {
  std::uint64_t sum = 0;
  for (std::size_t i = 0; i < group_->size(); ++i) {
    sum += ((*group_)[i].counters().*field).get();
  }
  return sum;
}

std::uint64_t TestNode::drops(DropReason reason) const {
  std::uint64_t sum = 0;
  for (std::size_t i = 0; i < group_->size(); ++i) {
    sum += (*group_)[i].counters().drops[static_cast<std::size_t>(reason)].get();
  }
  return sum;
}

std::vector<std::pair<Event, Bytes>> TestNode::events(std::size_t i) {
  std::vector<std::pair<Event, Bytes>> out;
  while (const auto record = worker(i).events().peek()) {
    out.emplace_back(static_cast<Event>(record->type), Bytes(record->bytes.begin(), record->bytes.end()));
    worker(i).events().pop();
  }
  return out;
}

std::string TestNode::books() const {
  std::string wrong;
  const auto equal = [&wrong](std::string_view what, std::uint64_t left, std::uint64_t right) {
    if (left != right) {
      wrong += fmt::format("{}: {} != {}; ", what, left, right);
    }
  };
  for (std::size_t i = 0; i < group_->size(); ++i) {
    const WorkerCounters& c = (*group_)[i].counters();
    equal(fmt::format("worker {} frames", i), c.frames_in.get() + c.injected.get(),
          c.forwarded.get() + c.punted.get() + c.consumed.get() + c.dropped_frames.get());
    equal(fmt::format("worker {} copies", i), c.copies_made.get() + c.handoff_in.get(),
          c.sent.get() + c.handoff_out.get() + c.dropped_copies.get() + c.held.get());
    std::uint64_t by_link = 0;
    std::uint64_t sent_by_link = 0;
    std::uint64_t bytes_by_link = 0;
    for (const LinkCounters& link : (*group_)[i].link_counters().first(next_link_)) {
      by_link += link.frames_in.get();
      sent_by_link += link.frames_sent.get();
      bytes_by_link += link.bytes_sent.get();
    }
    equal(fmt::format("worker {} frames by link", i), c.frames_in.get(), by_link);
    equal(fmt::format("worker {} sent by link", i), c.sent.get(), sent_by_link);
    equal(fmt::format("worker {} bytes sent by link", i), c.bytes_sent.get(), bytes_by_link);
    std::uint64_t reasons = 0;
    for (const Counter& reason : c.drops) {
      reasons += reason.get();
    }
    equal(fmt::format("worker {} drops by reason", i), reasons, c.dropped_frames.get() + c.dropped_copies.get() + c.packets_dropped.get());
  }
  equal("handoff", total(&WorkerCounters::handoff_out), total(&WorkerCounters::handoff_in) + group_->in_handoff());
  return wrong;
}

}  // namespace slipway::test

#ifdef __SANITIZE_THREAD__
// DPDK's ring driver and pools are not instrumented: the sanitizer does not see that they hand a buffer from the test's
// thread to a worker in order. What passes between workers goes through rings of ours and stays checked.
extern "C" const char* __tsan_default_suppressions() { return "race:slipway::test::TestNode::send_packet\n"; }
#endif
