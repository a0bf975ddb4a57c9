// Forwarding between sockets against nats-server, and against the least that a server can do.
//
// One client program drives all three servers with the same offered rate, window and batch, over TCP on loopback:
// a publisher and 16 subscribers on each. Patterns 1:1 and 1:16, payloads of 64 B and 1 KiB. Blocks alternate; what
// is compared is CPU seconds of the server's process for each delivered message. The relay is one thread that hands
// on what it reads, in frames of our size, to one or all subscribers: the floor that the kernel sets.

#include <arpa/inet.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <memory>

#include "harness.h"
#include "native_wire.h"
#include "server_process.h"

namespace slipway::bench {

namespace {

constexpr std::size_t kSubscribers = 16;
constexpr std::size_t kReadBytes = 256 << 10;
constexpr std::uint64_t kNs = 1'000'000'000;

int listening(std::uint16_t port) {
  const int fd = socket(AF_INET, SOCK_STREAM, 0);
  const int on = 1;
  setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  if (bind(fd, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0 || listen(fd, 64) != 0) {
    die("the relay cannot listen");
  }
  return fd;
}

// The floor. First the publisher connects, then its subscribers; what the former sends, each of the latter gets.
[[noreturn]] void relay(std::uint16_t port, std::size_t subscribers) {
  const int listener = listening(port);
  const int from = accept(listener, nullptr, nullptr);
  std::vector<int> to;
  const int on = 1;
  while (to.size() < subscribers) {
    to.push_back(accept(listener, nullptr, nullptr));
    setsockopt(to.back(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  }
  std::vector<char> buffer(kReadBytes);
  for (;;) {
    const ssize_t got = recv(from, buffer.data(), buffer.size(), 0);
    if (got <= 0) {
      std::_Exit(0);
    }
    for (const int fd : to) {
      for (ssize_t done = 0; done < got;) {
        const ssize_t sent = send(fd, buffer.data() + done, static_cast<std::size_t>(got - done), MSG_NOSIGNAL);
        if (sent <= 0) {
          std::_Exit(0);
        }
        done += sent;
      }
    }
  }
}

std::unique_ptr<ServerProcess> start_relay(std::uint16_t port, std::size_t subscribers) {
  return std::make_unique<ServerProcess>([=] { relay(port, subscribers); });
}

struct Load {
  const char* name;
  Pattern pattern;
  std::size_t payload;
  std::uint64_t rate;     // messages published a second
  std::uint32_t batch;    // in one write
  std::uint32_t window;   // published and not yet delivered to every subscriber
};

// The same for all servers. Rates leave every one of them idle for more than half of the time.
constexpr std::array<Load, 4> kLoads = {{
    {"1:1 64 B", Pattern::kOneToOne, 64, 400'000, 64, 1024},
    {"1:1 1 KiB", Pattern::kOneToOne, 1024, 100'000, 32, 512},
    {"1:16 64 B", Pattern::kOneToMany, 64, 60'000, 64, 1024},
    {"1:16 1 KiB", Pattern::kOneToMany, 1024, 12'000, 32, 512},
}};

// A server with its connections.
class Target {
 public:
  Target(Server server, ServerProcess& process, std::uint16_t port, std::vector<Pattern> patterns) : server_(server), process_(process) {
    publisher_ = connect_and_greet(server, port);
    epoll_ = epoll_create1(EPOLL_CLOEXEC);
    for (std::size_t i = 0; i < (patterns.back() == Pattern::kOneToMany ? kSubscribers : 1); ++i) {
      const int fd = connect_and_greet(server, port);
      for (const Pattern pattern : patterns) {
        if (pattern == Pattern::kOneToMany || i == 0) {
          subscribe(server, fd, pattern);
        }
      }
      fcntl(fd, F_SETFL, O_NONBLOCK);
      epoll_event event{.events = EPOLLIN, .data = {.u64 = i}};
      epoll_ctl(epoll_, EPOLL_CTL_ADD, fd, &event);
      subscribers_.push_back(fd);
    }
    fcntl(publisher_, F_SETFL, O_NONBLOCK);
    buffer_.resize(kReadBytes);
  }

  struct Block {
    std::uint64_t published = 0;
    std::uint64_t delivered = 0;
    std::uint64_t cpu_ns = 0;
    std::uint64_t wall_ns = 0;
    [[nodiscard]] double cost_us() const { return delivered == 0 ? 0 : static_cast<double>(cpu_ns) / static_cast<double>(delivered) / 1000; }
  };
  Block run(const Load& load, std::uint64_t ns) {
    const std::string one = publish_bytes(server_, load.pattern, load.payload);
    std::string batch;
    for (std::uint32_t i = 0; i < load.batch; ++i) {
      batch += one;
    }
    each_ = delivered_bytes(server_, load.pattern, load.payload);
    receivers_ = load.pattern == Pattern::kOneToOne ? 1 : kSubscribers;
    got_.assign(subscribers_.size(), 0);
    Block block;
    const std::uint64_t period = kNs * load.batch / load.rate;
    const std::uint64_t cpu = process_.cpu_ns();
    const std::uint64_t start = wall_ns();
    std::uint64_t due = start;
    while (wall_ns() < start + ns) {
      const std::uint64_t now = wall_ns();
      if (now < due) {
        receive(due - now);
      } else if (block.published + load.batch - slowest() > load.window) {
        receive(10'000'000);
      } else {
        publish(batch);
        block.published += load.batch;
        due = std::max(due + period, now > 20 * period ? now - 20 * period : 0);  // what is missed is made up for, in bounds
      }
    }
    const std::uint64_t give_up = wall_ns() + 5 * kNs;
    while (slowest() < block.published) {
      receive(10'000'000);
      if (wall_ns() > give_up) {
        die(fmt::format("{}: {} of {} messages came", load.name, slowest(), block.published));
      }
    }
    block.wall_ns = wall_ns() - start;
    block.cpu_ns = process_.cpu_ns() - cpu;
    block.delivered = block.published * receivers_;
    return block;
  }

 private:
  [[nodiscard]] std::uint64_t slowest() const {
    std::uint64_t least = ~std::uint64_t{0};
    for (std::size_t i = 0; i < receivers_; ++i) {
      least = std::min(least, got_[i] / each_);
    }
    return least;
  }
  void publish(const std::string& batch) {
    for (std::size_t done = 0; done < batch.size();) {
      const ssize_t sent = send(publisher_, batch.data() + done, batch.size() - done, MSG_NOSIGNAL);
      if (sent > 0) {
        done += static_cast<std::size_t>(sent);
      } else if (errno == EAGAIN) {
        receive(1'000'000);
      } else {
        die(fmt::format("a server closed the publisher's connection: {}", strerror(errno)));
      }
    }
  }
  void receive(std::uint64_t wait_ns) {
    std::array<epoll_event, kSubscribers> events;
    const timespec wait{.tv_sec = static_cast<time_t>(wait_ns / kNs), .tv_nsec = static_cast<long>(wait_ns % kNs)};
    const int count = epoll_pwait2(epoll_, events.data(), static_cast<int>(events.size()), &wait, nullptr);
    for (int i = 0; i < count; ++i) {
      const std::size_t subscriber = events[static_cast<std::size_t>(i)].data.u64;
      const ssize_t got = recv(subscribers_[subscriber], buffer_.data(), buffer_.size(), 0);
      if (got > 0) {
        got_[subscriber] += static_cast<std::uint64_t>(got);
      } else if (got == 0) {
        die("a server closed a subscriber's connection");
      }
    }
  }

  Server server_;
  ServerProcess& process_;
  int publisher_ = -1;
  int epoll_ = -1;
  std::vector<int> subscribers_;
  std::vector<std::uint64_t> got_;  // bytes
  std::vector<char> buffer_;
  std::size_t each_ = 1;
  std::size_t receivers_ = 1;
};

struct Servers {
  std::unique_ptr<TemporaryFolder> folder = std::make_unique<TemporaryFolder>();
  std::unique_ptr<ServerProcess> slipway, nats, relay_one, relay_many;
  std::unique_ptr<Target> ours, theirs, floor_one, floor_many;
};

Servers start_servers() {
  Servers s;
  const TemporaryFolder& folder = *s.folder;
  const std::uint16_t ports[] = {free_port(), free_port(), free_port(), free_port()};
  s.relay_one = start_relay(ports[2], 1);
  s.relay_many = start_relay(ports[3], kSubscribers);
  // Neither server asks its clients whether they live: deliveries are counted by bytes.
  std::ofstream(folder.file("slipwayd.yaml")) << fmt::format(
      "slipway:\n  node_id: bench\n  keepalive_ms: 0\n  log_level: warn\n  listen:\n    - tcp: 127.0.0.1:{}\n  api:\n    unix: {}\n", ports[0], folder.file("control.sock"));
  std::ofstream(folder.file("nats.conf")) << fmt::format("listen: 127.0.0.1:{}\nping_interval: \"1h\"\n", ports[1]);
  s.slipway = std::make_unique<ServerProcess>(std::vector<std::string>{slipwayd_path(), "--config", folder.file("slipwayd.yaml")}, folder.file("slipwayd.log"));
  s.nats = std::make_unique<ServerProcess>(std::vector<std::string>{"nats-server", "-c", folder.file("nats.conf")}, folder.file("nats.log"));
  s.ours = std::make_unique<Target>(Server::kSlipway, *s.slipway, ports[0], std::vector{Pattern::kOneToOne, Pattern::kOneToMany});
  s.theirs = std::make_unique<Target>(Server::kNats, *s.nats, ports[1], std::vector{Pattern::kOneToOne, Pattern::kOneToMany});
  s.floor_one = std::make_unique<Target>(Server::kRelay, *s.relay_one, ports[2], std::vector{Pattern::kOneToOne});
  s.floor_many = std::make_unique<Target>(Server::kRelay, *s.relay_many, ports[3], std::vector{Pattern::kOneToMany});
  return s;
}

// A pair counts if both servers got what was offered.
bool kept_up(const Target::Block& block, const Load& load) {
  const double offered = static_cast<double>(load.rate) * static_cast<double>(block.wall_ns) / static_cast<double>(kNs);
  return static_cast<double>(block.published) >= 0.95 * offered;
}

int run(const Options& options) {
  Servers s = start_servers();
  Report report{.bench = "native", .bar = 1.5};
  const std::uint64_t ns = std::uint64_t{options.block_ms} * 1'000'000;
  for (const Load& load : kLoads) {
    Target& floor = load.pattern == Pattern::kOneToOne ? *s.floor_one : *s.floor_many;
    s.ours->run(load, ns);
    s.theirs->run(load, ns);
    std::vector<double> ratios, ours, theirs, floors, to_floor, rates;
    std::uint32_t dropped = 0;
    std::uint64_t delivered = 0;
    for (std::uint32_t pair = 0; ratios.size() < options.pairs && pair < 2 * options.pairs; ++pair) {
      Target::Block a, b;
      if (pair % 2 == 0) {
        a = s.ours->run(load, ns);
        b = s.theirs->run(load, ns);
      } else {
        b = s.theirs->run(load, ns);
        a = s.ours->run(load, ns);
      }
      const Target::Block c = floor.run(load, ns);
      if (!kept_up(a, load) || !kept_up(b, load)) {
        ++dropped;
        continue;
      }
      ratios.push_back(b.cost_us() / a.cost_us());
      to_floor.push_back(a.cost_us() / c.cost_us());
      ours.push_back(a.cost_us());
      theirs.push_back(b.cost_us());
      floors.push_back(c.cost_us());
      rates.push_back(static_cast<double>(a.delivered) * 1e9 / static_cast<double>(a.wall_ns));
      delivered += a.delivered;
    }
    Comparison comparison = summarize(load.name, ratios, dropped);
    comparison.ours_ns = median(ours) * 1000;
    comparison.reference_ns = median(theirs) * 1000;
    report.comparisons.push_back(comparison);
    const auto figure = [&](const char* what, double value) { report.figures.emplace_back(fmt::format("{} {}", load.name, what), value); };
    figure("slipwayd us CPU a delivery", median(ours));
    figure("nats-server us CPU a delivery", median(theirs));
    figure("bare relay us CPU a delivery", median(floors));
    figure("slipwayd / relay", median(to_floor));
    figure("deliveries a second", median(rates));
    figure("deliveries counted", static_cast<double>(delivered));
  }
  s.ours.reset();
  s.slipway.reset();
  s.nats.reset();
  return print_report(report, options);
}

}  // namespace
}  // namespace slipway::bench

int main(int argc, char** argv) {
  signal(SIGPIPE, SIG_IGN);
  slipway::bench::name_bench("native");
  return slipway::bench::run(slipway::bench::parse_options(argc, argv));
}
