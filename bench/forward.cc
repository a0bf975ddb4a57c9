// Forwarding against the least that a program on the same ports can do: receive, swap the MAC addresses, send.
//
// Both arms run on one thread, alternate in blocks, and use the same two ports, pool and burst. Every received frame
// gets whole new headers and the next name of a shuffled array of all names, written before the timed code in both
// arms alike (a receive callback of the port, whose time is taken out), so that no arm meets the same frame twice;
// the reference arm reads the lines that forwarding reads. The names seen are counted: fewer than the table holds is
// a failure.
//
// memif: two pairs of shared-memory ports, the far ends driven by this thread outside the timed code.
#include <rte_cycles.h>
#include <rte_ethdev.h>
#include <rte_mempool.h>

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <memory>
#include <numeric>
#include <random>
#include <vector>

#include <fmt/format.h>

#include "frame/frame.h"
#include "frame/shim.h"
#include "harness.h"
#include "port/dpdk_port.h"
#include "port/eal.h"
#include "port/ethernet.h"
#include "port/mbuf.h"
#include "port/pool.h"
#include "routing/subscription_database.h"
#include "worker/worker.h"

namespace slipway::bench {
namespace {

constexpr std::size_t kBodyBytes = 64;
constexpr std::size_t kOuterBytes = 14 + 20 + 8;
constexpr std::size_t kPacketBytes = kOuterBytes + kShimBytes + kFrameHeaderBytes + kBodyBytes;
constexpr std::uint32_t kMbufs = 16'384;
constexpr std::uint32_t kReceivers = 16;
constexpr std::uint64_t kInstances = 1'000;  // of a service

template <class T>
T must(std::expected<T, std::string> value) {
  if (!value) {
    fmt::print(stderr, "forward: {}\n", value.error());
    std::exit(1);
  }
  return std::move(*value);
}
void must(const std::expected<void, std::string>& value) {
  if (!value) {
    fmt::print(stderr, "forward: {}\n", value.error());
    std::exit(1);
  }
}

// Writes what a peer would send: headers, shim and frame header, with the next name.
struct Source {
  std::array<std::byte, kPacketBytes> packet;
  std::vector<Name> names;               // shuffled
  std::vector<std::uint64_t> seen;       // a bit for each
  std::size_t next = 0;
  std::uint64_t cycles = 0;              // spent in here, to be taken out
  std::uint64_t tsc_cost = 0;            // of reading the clock

  void write(rte_mbuf* m) {
    std::byte* at = data_of(m);
    std::memcpy(at, packet.data(), packet.size());
    store_name(at + kOuterBytes + kShimBytes + frame_offset::kDestination, names[next]);
    seen[next / 64] |= std::uint64_t{1} << next % 64;
    next = next + 1 < names.size() ? next + 1 : 0;
  }
  [[nodiscard]] std::size_t distinct() const {
    return std::accumulate(seen.begin(), seen.end(), std::size_t{0}, [](std::size_t n, std::uint64_t w) { return n + static_cast<std::size_t>(__builtin_popcountll(w)); });
  }
  void use(std::vector<Name> list) {
    std::shuffle(list.begin(), list.end(), std::mt19937_64(7));
    names = std::move(list);
    seen.assign(names.size() / 64 + 1, 0);
    next = 0;
  }
};

std::uint16_t on_receive(std::uint16_t, std::uint16_t, rte_mbuf** packets, std::uint16_t count, std::uint16_t, void* context) {
  auto& source = *static_cast<Source*>(context);
  const std::uint64_t begin = rte_rdtsc();
  for (std::uint16_t i = 0; i < count; ++i) {
    source.write(packets[i]);
  }
  asm volatile("lfence" ::: "memory");  // what was begun in here ends in here
  source.cycles += rte_rdtsc() - begin + source.tsc_cost;
  return count;
}

std::uint64_t clock_cost() {
  std::uint64_t best = ~std::uint64_t{0};
  for (int i = 0; i < 1000; ++i) {
    const std::uint64_t begin = rte_rdtsc();
    best = std::min(best, rte_rdtsc() - begin);
  }
  return best;
}

// The two ports that both arms use, and a worker on them.
struct Bench {
  std::unique_ptr<DpdkPort> in;
  std::unique_ptr<DpdkPort> out;
  MbufPool pool;
  Source source;
  // memif only: the far ends.
  std::unique_ptr<DpdkPort> feed;
  std::unique_ptr<DpdkPort> drain;

  std::unique_ptr<SubscriptionDatabase> database;
  RouteTable table;
  std::unique_ptr<WorkerGroup> group;
  std::uint64_t base_tsc = rte_rdtsc();
  double ns_per_cycle = 1e9 / static_cast<double>(rte_get_tsc_hz());
};

LinkRecord link_on(const DpdkPort& port, LinkIndex index) {
  const EthernetPort& e = port.ethernet();
  IpAddress ip = e.addresses[0];
  ip.bytes[3] = static_cast<std::uint8_t>(index + 1);
  const IpEndpoint peer = make_endpoint(ip, e.udp_port);
  return {.index = index,
          .generation = 77,
          .state = LinkState::kUp,
          .transport = LinkTransport::kEthernet,
          .port = e.number,
          .peer_link_id = index,
          .max_frame_bytes = kMaxDatagramFrameBytes,
          .datagram_bytes = datagram_bytes(e.mtu, 4),
          .check_source_port = false,
          .peer = peer,
          .outer = make_outer(e, e.addresses[0], peer, {2, 0, 0, 0, 0, static_cast<std::uint8_t>(index)})};
}

std::unique_ptr<DpdkPort> make_port(std::uint16_t number, const std::string& device, rte_mempool* pool) {
  DpdkPortConfig config{.name = fmt::format("port{}", number), .device = device};
  config.addresses.push_back(must(parse_ip_prefix(fmt::format("10.{}.0.1/16", number))));
  auto port = must(DpdkPort::attach(number, config));
  must(port->start(pool, 1, 1));
  return port;
}

constexpr LinkIndex kSender = 1;
constexpr LinkIndex kFirstReceiver = 2;

// A worker whose table holds `names`, each subscribed to by `links_per_name` links (all of them: a channel).
void make_worker(Bench& b, const std::vector<Name>& names, std::uint32_t links_per_name) {
  b.group.reset();
  b.database.reset();
  b.table = RouteTable();
  const auto routes = static_cast<std::uint32_t>(names.size() * links_per_name + 1000);
  b.database = must(SubscriptionDatabase::create(RouteSecret::random(), {.max_routes = std::max(routes, 1u << 16), .max_link_subscriptions = routes}));
  b.table = must(b.database->make_table());
  must(b.database->attach(b.table));
  for (LinkIndex l = kSender; l < kFirstReceiver + kReceivers; ++l) {
    b.database->add_link(l, LinkClass::kEdge);
  }
  b.database->set_post([&b](const RouteUpdate& update) { b.table.apply(update); });
  std::uint32_t turn = 0;
  for (const Name& name : names) {
    for (std::uint32_t k = 0; k < links_per_name; ++k) {
      if (const auto change = b.database->subscribe({.link = kFirstReceiver + turn++ % kReceivers, .name = name}); !change) {
        must(std::expected<void, std::string>(std::unexpected(change.error())));
      }
    }
  }
  WorkerConfig worker{.name = "bench", .kind = WorkerKind::kPoll, .with_sockets = false, .pool = b.pool.get(), .table = &b.table};
  worker.ports = {{.port = b.in.get(), .number = 0, .rx_queue = 0}, {.port = b.out.get(), .number = 1, .tx_queue = 0}};
  WorkerGroupConfig config;
  config.workers.push_back(worker);
  b.group = must(WorkerGroup::create(std::move(config)));
  const LinkRecord sender = link_on(*b.in, kSender);
  (*b.group)[0].post(Command::kLink, sender);
  for (std::uint32_t i = 0; i < kReceivers; ++i) {
    (*b.group)[0].post(Command::kLink, link_on(*b.out, kFirstReceiver + i));
  }
  // What the sender's packets look like.
  const EthernetPort& ours = b.in->ethernet();
  EthernetPort peer{.udp_port = sender.peer.port, .address_count = 1};
  peer.mac = {2, 0, 0, 0, 0, 9};
  peer.addresses[0] = address_of(sender.peer);
  const OuterTemplate outer = make_outer(peer, peer.addresses[0], make_endpoint(ours.addresses[0], ours.udp_port), ours.mac);
  std::vector<std::byte> payload(kShimBytes + kFrameHeaderBytes + kBodyBytes);
  store_shim(payload.data(), {.link_id = sender.id(), .total_bytes = static_cast<std::uint32_t>(kFrameHeaderBytes + kBodyBytes)});
  store_header(payload.data() + kShimBytes, {.fanout = links_per_name == kReceivers ? 256u : 1u, .source = {{1, 2, 3}, {4, 5}}});
  const PacketBytes packet = make_datagram(peer, outer, payload);
  std::memcpy(b.source.packet.data(), packet.data(), kPacketBytes);
  // Checksums over the name cannot hold for every name: UDP over IPv4 may go without.
  std::memset(b.source.packet.data() + 14 + 20 + 6, 0, 2);
  b.source.use(names);
}

// --- the two arms: one call handles one burst and returns how many frames it sent ------------------

std::uint32_t forward_once(Bench& b) {
  Worker& worker = (*b.group)[0];
  const std::uint64_t before = worker.counters().sent.get();
  worker.do_work(static_cast<std::uint64_t>(static_cast<double>(rte_rdtsc() - b.base_tsc) * b.ns_per_cycle));
  return static_cast<std::uint32_t>(worker.counters().sent.get() - before);
}

std::uint64_t lines_sum = 0;

std::uint32_t swap_once(Bench& b) {
  std::array<rte_mbuf*, kMaxBurst> packets;
  const std::uint16_t count = rte_eth_rx_burst(b.in->ethernet().device, 0, packets.data(), kMaxBurst);
  std::uint64_t sum = 0;
  for (std::uint16_t i = 0; i < count; ++i) {
    std::byte* at = data_of(packets[i]);
    std::array<std::byte, 6> mac;
    std::memcpy(mac.data(), at, 6);
    std::memcpy(at, at + 6, 6);
    std::memcpy(at + 6, mac.data(), 6);
    sum += load_le<std::uint64_t>(at + kOuterBytes + kShimBytes + frame_offset::kDestination + 16) + load_le<std::uint64_t>(at + kOuterBytes + kShimBytes + frame_offset::kSessionMessageType);
  }
  lines_sum += sum;
  const std::uint16_t sent = rte_eth_tx_burst(b.out->ethernet().device, 0, packets.data(), count);
  rte_pktmbuf_free_bulk(packets.data() + sent, count - sent);
  return count;
}

// memif: the far end puts a burst in, the timed code runs, the far end takes what came out.
void feed(Bench& b) {
  std::array<rte_mbuf*, kMaxBurst> packets;
  if (rte_pktmbuf_alloc_bulk(b.pool.get(), packets.data(), kMaxBurst) != 0) {
    return;
  }
  for (rte_mbuf* m : packets) {
    m->data_len = kPacketBytes;
    m->pkt_len = kPacketBytes;
    b.source.write(m);
  }
  const std::uint16_t sent = rte_eth_tx_burst(b.feed->ethernet().device, 0, packets.data(), kMaxBurst);
  rte_pktmbuf_free_bulk(packets.data() + sent, kMaxBurst - sent);
}
void drain(Bench& b) {
  std::array<rte_mbuf*, 2 * kMaxBurst> packets;
  std::uint16_t count = 0;
  while ((count = rte_eth_rx_burst(b.drain->ethernet().device, 0, packets.data(), packets.size())) != 0) {
    rte_pktmbuf_free_bulk(packets.data(), count);
  }
}

struct Timed {
  double ns_per_frame = 0;
  bool undisturbed = false;
};

// One block: nanoseconds a frame, without what the source took.
template <class Once>
Timed run_block(Bench& b, std::uint64_t ns, Once&& once) {
  const std::uint64_t wall = wall_ns();
  const std::uint64_t cpu = thread_cpu_ns();
  std::uint64_t frames = 0;
  std::uint64_t cycles = 0;
  do {
    for (int i = 0; i < 64; ++i) {
      if (b.feed != nullptr) {
        feed(b);
      }
      b.source.cycles = 0;
      const std::uint64_t begin = rte_rdtsc();
      frames += once(b);
      cycles += rte_rdtsc() - begin - b.source.cycles - b.source.tsc_cost;
      if (b.drain != nullptr) {
        drain(b);
      }
    }
  } while (wall_ns() - wall < ns);
  const auto wall_used = static_cast<double>(wall_ns() - wall);
  const auto cpu_used = static_cast<double>(thread_cpu_ns() - cpu);
  return {frames == 0 ? 0 : static_cast<double>(cycles) * b.ns_per_cycle / static_cast<double>(frames), cpu_used >= 0.95 * wall_used};
}

Comparison compare_arms(Bench& b, const std::string& name, const Options& options) {
  const std::uint64_t ns = std::uint64_t{options.block_ms} * 1'000'000;
  std::vector<double> ratios;
  std::vector<double> ours;
  std::vector<double> theirs;
  std::uint32_t dropped = 0;
  run_block(b, ns, forward_once);
  run_block(b, ns, swap_once);
  for (std::uint32_t i = 0; i < 20 * options.pairs && ratios.size() < options.pairs; ++i) {
    Timed f;
    Timed s;
    if (i % 2 == 0) {
      f = run_block(b, ns, forward_once);
      s = run_block(b, ns, swap_once);
    } else {
      s = run_block(b, ns, swap_once);
      f = run_block(b, ns, forward_once);
    }
    if (!f.undisturbed || !s.undisturbed || f.ns_per_frame == 0) {
      ++dropped;
      continue;
    }
    ratios.push_back(s.ns_per_frame / f.ns_per_frame);
    ours.push_back(f.ns_per_frame);
    theirs.push_back(s.ns_per_frame);
  }
  Comparison result = summarize(name, std::move(ratios), dropped);
  result.ours_ns = median(ours);
  result.reference_ns = median(theirs);
  return result;
}

// Services of kInstances instances, or services of one each.
std::vector<Name> make_names(std::size_t count) {
  std::vector<Name> names(count);
  for (std::size_t i = 0; i < count; ++i) {
    const std::uint64_t service = i / kInstances;
    names[i] = {{0xA5, 0x5A, service * 0x9E3779B97F4A7C15u + 1}, {.high = i * 0xD6E8FEB86659FD93u, .low = i + 1}};
  }
  return names;
}

// Forwarding must really have happened, and to every name.
void check(Bench& b, const std::string& name, std::size_t names, std::uint32_t copies) {
  const WorkerCounters& c = (*b.group)[0].counters();
  const std::uint64_t lost = c.frames_in.get() - c.forwarded.get();
  const std::uint64_t unsent = c.copies_made.get() - c.sent.get();
  if (b.source.distinct() < names) {
    fmt::print(stderr, "forward: {}: only {} of {} names were seen\n", name, b.source.distinct(), names);
    std::exit(1);
  }
  if (lost * 10'000 > c.frames_in.get() || unsent * 10'000 > c.copies_made.get() || c.copies_made.get() + kMaxPendingFanouts * copies < c.forwarded.get() * copies) {
    fmt::print(stderr, "forward: {}: {} frames and {} copies of {} were not sent\n", name, lost, unsent, c.copies_made.get());
    std::exit(1);
  }
}

Comparison run(Bench& b, const std::string& name, std::size_t name_count, std::uint32_t links_per_name, const Options& options) {
  const std::vector<Name> names = make_names(name_count);
  make_worker(b, names, links_per_name);
  fmt::print(stderr, "forward: {}: {} names, table {} MiB\n", name, name_count, b.database->memory().table_bytes >> 20);
  Comparison result = compare_arms(b, name, options);
  // A block may be too short to name them all: go on, untimed, until each was seen.
  while (b.source.distinct() < name_count) {
    run_block(b, 50'000'000, forward_once);
  }
  check(b, name, name_count, links_per_name == kReceivers ? kReceivers : 1);
  return result;
}

void open_null(Bench& b) {
  const std::string arguments = fmt::format(",size={}", kPacketBytes);
  b.in = make_port(0, "net_null0" + arguments, b.pool.get());
  b.out = make_port(1, "net_null1" + arguments, b.pool.get());
  rte_eth_add_rx_callback(b.in->ethernet().device, 0, on_receive, &b.source);
}

// Both ends of a pair live here and meet over a socket file; the connection is made by DPDK's interrupt thread.
bool open_memif(Bench& b) {
  const std::string file = fmt::format("/tmp/slipway-bench-{}", getpid());
  const auto device = [&file](int n, int pair, const char* role) {
    return fmt::format("net_memif{},id=0,role={},socket={}.{},socket-abstract=no,rsize=9", n, role, file, pair);
  };
  b.in = make_port(0, device(0, 0, "server"), b.pool.get());
  b.out = make_port(1, device(1, 1, "server"), b.pool.get());
  b.feed = make_port(2, device(2, 0, "client"), b.pool.get());
  b.drain = make_port(3, device(3, 1, "client"), b.pool.get());
  for (int i = 0; i < 300; ++i) {
    bool up = true;
    for (DpdkPort* port : {b.in.get(), b.out.get(), b.feed.get(), b.drain.get()}) {
      port->tick(static_cast<std::uint64_t>(i) * 100);
      up &= port->state().carrier;
    }
    if (up) {
      return true;
    }
    rte_delay_us_sleep(10'000);
  }
  return false;
}

void close_ports(Bench& b) {
  b.group.reset();
  b.feed.reset();
  b.drain.reset();
  b.in.reset();
  b.out.reset();
}

int main_of(int argc, char** argv) {
  const Options options = parse_options(argc, argv);
  auto eal = must(Eal::start({.memory_bytes = 192u << 20}));
  Bench b;
  b.pool = must(create_pool("bench", kMbufs));
  b.source.tsc_cost = clock_cost();
  Report report{.bench = "forward", .bar = 0.40};
  const auto measure = [&](const std::string& name, std::size_t names, std::uint32_t links_per_name) {
    if (options.wants(name)) {
      report.comparisons.push_back(run(b, name, names, links_per_name, options));
    }
  };
  open_null(b);
  measure("null, 64 k names", 65'536, 1);
  measure("null, 1 M names", 1'000'000, 1);
  if (!options.quick) {
    measure("null, 10 M names", 10'000'000, 1);
  }
  measure("null, anycast of 8", 65'536, 8);
  measure("null, channel of 16", 4'096, kReceivers);
  close_ports(b);
  const std::string memif = "memif, 64 k names";
  if (options.wants(memif) && !open_memif(b)) {
    fmt::print(stderr, "forward: memif did not connect; its comparison is left out\n");
  } else {
    measure(memif, 65'536, 1);
  }
  close_ports(b);
  if (options.only.empty()) {
    report.decisive = {"null, 64 k names", "memif, 64 k names"};
  } else {
    report.bar = 0;  // the bar is for the whole
  }
  return print_report(report, options);
}

}  // namespace
}  // namespace slipway::bench

int main(int argc, char** argv) { return slipway::bench::main_of(argc, argv); }
