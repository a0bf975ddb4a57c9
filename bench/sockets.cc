// What the socket engine costs above the kernel: frames of one stream to 1 or 16 others over TCP loopback, against a
// relay that only copies bytes from one socket to the others (recv, send, send, ...), which is what the kernel's part
// costs whoever does it. CPU time of the relaying thread a delivered copy; both arms in one run, block by block, with
// the same frames, window and load thread. The ratio is the bare relay's cost by ours: 1 would be free of charge.

#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include <fmt/format.h>

#include "frame/frame.h"
#include "harness.h"
#include "port/eal.h"
#include "port/mbuf.h"
#include "port/pool.h"
#include "port/socket_engine.h"

namespace slipway::bench {
namespace {

constexpr std::uint32_t kWindowFrames = 2048;  // published and not yet seen by all receivers
constexpr std::uint32_t kBatchFrames = 64;     // of one write of the publisher

std::pair<int, int> connection() {
  const int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t length = sizeof address;
  const int ours = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (bind(listener, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0 || listen(listener, 1) != 0 ||
      getsockname(listener, reinterpret_cast<sockaddr*>(&address), &length) != 0 || connect(ours, reinterpret_cast<sockaddr*>(&address), length) != 0) {
    std::perror("bench: loopback connection");
    std::exit(1);
  }
  const int theirs = accept(listener, nullptr, nullptr);
  close(listener);
  const int one = 1;
  setsockopt(ours, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
  setsockopt(theirs, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
  return {ours, theirs};
}

// A publisher and its receivers, for one arm; driven by the load thread while the arm runs.
struct Sockets {
  int in = -1;              // the relay's ends
  std::vector<int> out;
  int publisher = -1;       // the load's ends
  std::vector<int> receivers;

  explicit Sockets(std::uint32_t fanout) {
    std::tie(in, publisher) = connection();
    for (std::uint32_t i = 0; i < fanout; ++i) {
      const auto [ours, theirs] = connection();
      out.push_back(ours);
      receivers.push_back(theirs);
    }
  }
};

struct Load {
  Sockets& sockets;
  std::vector<std::byte> batch;   // kBatchFrames frames
  std::uint64_t wire_bytes;       // of one frame
  std::vector<std::byte> buffer = std::vector<std::byte>(1 << 20);
  std::uint64_t published = 0;    // bytes
  std::vector<std::uint64_t> seen = std::vector<std::uint64_t>(sockets.out.size());  // bytes, by receiver

  // One round: publishes what the window allows, takes what has come. False: nothing to do.
  bool round(bool publish) {
    bool any = false;
    const std::uint64_t slowest = *std::ranges::min_element(seen);
    if (publish && published - slowest + batch.size() <= kWindowFrames * wire_bytes) {
      const std::size_t at = published % batch.size();
      const ssize_t n = send(sockets.publisher, batch.data() + at, batch.size() - at, MSG_DONTWAIT | MSG_NOSIGNAL);
      if (n > 0) {
        published += static_cast<std::uint64_t>(n);
        any = true;
      }
    }
    for (std::size_t i = 0; i < seen.size(); ++i) {
      if (seen[i] < published) {
        const ssize_t n = recv(sockets.receivers[i], buffer.data(), buffer.size(), MSG_DONTWAIT);
        if (n > 0) {
          seen[i] += static_cast<std::uint64_t>(n);
          any = true;
        }
      }
    }
    return any;
  }
  [[nodiscard]] bool idle() const { return *std::ranges::min_element(seen) == published; }
};

// recv, then send to each: no frames, no queues, no order to keep.
struct BareRelay {
  Sockets& sockets;
  std::vector<std::byte> buffer = std::vector<std::byte>(256 << 10);
  std::uint64_t bytes = 0;

  void turn() {
    pollfd in{sockets.in, POLLIN, 0};
    if (poll(&in, 1, 5) <= 0) {
      return;
    }
    const ssize_t n = recv(sockets.in, buffer.data(), buffer.size(), MSG_DONTWAIT);
    if (n <= 0) {
      return;
    }
    for (const int fd : sockets.out) {
      for (ssize_t done = 0; done < n;) {
        const ssize_t sent = send(fd, buffer.data() + done, static_cast<std::size_t>(n - done), MSG_NOSIGNAL);
        if (sent <= 0) {
          return;
        }
        done += sent;
        bytes += static_cast<std::uint64_t>(sent);
      }
    }
  }
};

struct EngineRelay {
  WorkerCounters counters;
  LinkCounters* link_counters = static_cast<LinkCounters*>(mmap(nullptr, kMaxLinks * sizeof(LinkCounters), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
  NodeBudget budget;
  CongestionTable congestion;
  MailRing events{kEventRingBytes};
  std::unique_ptr<SocketEngine> engine;
  std::vector<LinkRecord> records;
  std::array<rte_mbuf*, kMaxBurst> burst;

  EngineRelay(const Sockets& sockets, rte_mempool* pool) {
    auto made = SocketEngine::create({.pool = pool, .counters = &counters, .link_counters = link_counters, .budget = &budget, .congestion = &congestion, .events = &events});
    if (!made || !(*made)->start()) {
      std::fprintf(stderr, "bench: %s\n", made ? "the ring cannot be started" : made.error().c_str());
      std::exit(1);
    }
    engine = std::move(*made);
    add(sockets.in);
    for (const int fd : sockets.out) {
      add(fd);
    }
  }
  ~EngineRelay() {
    engine->close_all();
    engine.reset();
    munmap(link_counters, kMaxLinks * sizeof(LinkCounters));
  }
  void add(int fd) {
    const LinkRecord record{.index = static_cast<LinkIndex>(records.size() + 1), .generation = 1, .state = LinkState::kUp, .max_frame_bytes = kMaxFrameBytes};
    engine->open_stream({.link = record.index, .generation = 1, .fd = fd, .max_frame_bytes = kMaxFrameBytes});
    engine->set_link(record);
    records.push_back(record);
  }
  void turn() {
    const std::uint64_t now = wall_ns();
    std::uint32_t total = 0;
    for (int i = 0; i < 8; ++i) {
      const std::uint32_t count = engine->poll(now, burst);
      for (std::uint32_t f = 0; f < count; ++f) {
        const auto copies = static_cast<std::int16_t>(records.size() - 2);
        if (copies > 0) {
          for (rte_mbuf* segment = burst[f]; segment != nullptr; segment = segment->next) {
            rte_mbuf_refcnt_update(segment, copies);
          }
        }
        for (std::size_t to = 1; to < records.size(); ++to) {
          engine->send(records[to], burst[f]);
        }
      }
      total += count;
      if (count < kMaxBurst) {
        break;
      }
    }
    engine->flush();
    if (total == 0) {
      engine->wait(5'000'000);
    }
  }
};

struct Measured {
  double us_a_copy = 0;
  double copies = 0;
};

// Runs one arm for a block with its load, then lets it run dry.
template <class Turn, class Copies>
Measured measure(Load& load, std::uint64_t ns, Turn turn, Copies copies) {
  std::atomic<bool> stop{false};
  std::atomic<bool> dry{false};
  std::thread thread([&] {
    pthread_setname_np(pthread_self(), "load");
    while (!stop.load(std::memory_order_relaxed)) {
      if (!load.round(true)) {
        std::this_thread::yield();
      }
    }
    while (!load.idle()) {
      if (!load.round(false)) {
        std::this_thread::yield();
      }
    }
    dry = true;
  });
  const std::uint64_t cpu = thread_cpu_ns();
  const double before = copies();
  const std::uint64_t end = wall_ns() + ns;
  while (wall_ns() < end) {
    turn();
  }
  const double us = static_cast<double>(thread_cpu_ns() - cpu) / 1e3;
  const double done = copies() - before;
  stop = true;
  while (!dry) {
    turn();
  }
  thread.join();
  return {us / done, done};
}

void run_case(Report& report, const Options& options, rte_mempool* pool, std::uint32_t fanout, std::uint32_t payload) {
  const std::uint32_t frame_bytes = kFrameHeaderBytes + 40 + payload;  // 40: what the rest of the message takes
  std::vector<std::byte> batch;
  for (std::uint32_t i = 0; i < kBatchFrames; ++i) {
    std::vector<std::byte> frame(kStreamPrefixBytes + frame_bytes);
    store_le(frame.data(), frame_bytes);
    store_header(frame.data() + kStreamPrefixBytes, {.message_id = i, .destination = {{1, 2, 3}, {}}});
    batch.insert(batch.end(), frame.begin(), frame.end());
  }
  const std::uint64_t wire = kStreamPrefixBytes + frame_bytes;
  Sockets bare_sockets(fanout);
  Sockets engine_sockets(fanout);
  BareRelay bare{bare_sockets};
  EngineRelay ours(engine_sockets, pool);
  Load bare_load{bare_sockets, batch, wire};
  Load our_load{engine_sockets, batch, wire};

  std::vector<double> ratios;
  std::vector<double> our_us;
  std::vector<double> bare_us;
  const std::uint64_t ns = std::uint64_t{options.block_ms} * 1'000'000;
  const std::uint64_t syscalls = ours.counters.syscalls.get();
  for (std::uint32_t pair = 0; pair <= options.pairs; ++pair) {
    const Measured b = measure(bare_load, ns, [&] { bare.turn(); }, [&] { return static_cast<double>(bare.bytes) / static_cast<double>(wire); });
    const Measured o = measure(our_load, ns, [&] { ours.turn(); }, [&] { return static_cast<double>(ours.counters.sent.get()); });
    if (pair > 0) {
      ratios.push_back(b.us_a_copy / o.us_a_copy);
      our_us.push_back(o.us_a_copy);
      bare_us.push_back(b.us_a_copy);
    }
  }
  const std::string name = fmt::format("1:{} {} B", fanout, payload);
  Comparison c = summarize(name, ratios, 0);
  c.ours_ns = median(our_us) * 1e3;
  c.reference_ns = median(bare_us) * 1e3;
  report.comparisons.push_back(c);
  report.figures.emplace_back(name + ", ours, us a copy", median(our_us));
  report.figures.emplace_back(name + ", bare relay, us a copy", median(bare_us));
  report.figures.emplace_back(name + ", our system calls a copy",
                              static_cast<double>(ours.counters.syscalls.get() - syscalls) / static_cast<double>(ours.counters.sent.get()));
  close(bare_sockets.in);
  close(bare_sockets.publisher);
  close(engine_sockets.publisher);
  for (std::uint32_t i = 0; i < fanout; ++i) {
    close(bare_sockets.out[i]);
    close(bare_sockets.receivers[i]);
    close(engine_sockets.receivers[i]);
  }
}

int run(int argc, char** argv) {
  const Options options = parse_options(argc, argv);
  auto eal = Eal::start({.memory_bytes = pool_bytes(kDefaultMbufs)});
  if (!eal) {
    std::fprintf(stderr, "bench: %s\n", eal.error().c_str());
    return 1;
  }
  Report report;
  report.bench = "sockets";
  {
    auto pool = create_pool("bench", kDefaultMbufs);
    if (!pool) {
      std::fprintf(stderr, "bench: %s\n", pool.error().c_str());
      return 1;
    }
    for (const std::uint32_t fanout : {1u, 16u}) {
      for (const std::uint32_t payload : {64u, 1024u}) {
        run_case(report, options, pool->get(), fanout, payload);
      }
    }
  }
  return print_report(report, options);
}

}  // namespace
}  // namespace slipway::bench

int main(int argc, char** argv) { return slipway::bench::run(argc, argv); }
