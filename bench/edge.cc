// The node as upstream's applications see it, against upstream's own node (--reference PATH), or without one against the
// least that a server can do: a relay of the same bytes over nghttp2 and sockets.
//
// One client program (edge_client.h) drives the servers in turn, block by block, in one run, each free to use every processor,
// as it comes without configuration. (Upstream's node on a single processor has no threads to hand messages between, and
// costs half as much.) What is compared is CPU time of a server's whole process a delivered message. Identities are as large
// as upstream's and differ from message to message; every message carries its header MAC. Both nodes log warnings only.

#include <arpa/inet.h>
#include <fmt/format.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <fstream>

#include "crowding.h"
#include "edge_relay.h"
#include "edge_rows.h"
#include "harness.h"

namespace slipway::bench {
namespace {

constexpr std::array<Load, 5> kLoads = {{
    {"1:1 64 B", 1, 64, 0, 32, 512},
    {"1:1 1 KiB", 1, 1024, 0, 32, 512},
    {"1:1 16 KiB", 1, 16384, 0, 4, 64},
    {"1:16 64 B", 16, 64, 0, 16, 256},
    {"1:16 1 KiB", 16, 1024, 0, 16, 128},
}};
constexpr std::array<Load, 2> kPaced = {{
    {"paced 2,000/s", 1, 64, 2'000, 1, 1024},
    {"paced 20,000/s", 1, 64, 20'000, 1, 1024},
}};
constexpr std::array<double, 7> kBars = {8, 8, 4, 8, 8, 2, 3};
constexpr std::array<double, 7> kGoals = {12, 12, 8, 12, 12, 4, 6};
constexpr double kFloorBar = 0.5;  // twice the relay's CPU

// Starts servers, each with files of its own in one temporary folder.
class Starter {
 public:
  Starter(ClientLoop& loop, std::string reference) : loop_(loop), reference_(std::move(reference)) {}

  EdgeServer slipwayd() {
    const auto name = folder_.file(fmt::format("slipwayd-{}", ++count_));
    return node(slipwayd_path(), name, fmt::format("slipway:\n  log_level: warn\n  api: {{unix: {}.sock}}\n", name));
  }
  EdgeServer reference() { return node(reference_, folder_.file(fmt::format("reference-{}", ++count_)), ""); }
  EdgeServer relay(std::size_t subscribers, bool macs = false) {
    const int listener = socket(AF_INET, SOCK_STREAM, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t bytes = sizeof address;
    if (bind(listener, reinterpret_cast<sockaddr*>(&address), bytes) != 0 || listen(listener, 64) != 0 ||
        getsockname(listener, reinterpret_cast<sockaddr*>(&address), &bytes) != 0) {
      die("the relay cannot listen");
    }
    EdgeServer server{.port = ntohs(address.sin_port), .negotiates = false};
    server.process = std::make_unique<ServerProcess>([=] { run_edge_relay(listener, subscribers, macs); });
    close(listener);
    return server;
  }

 private:
  // The same file starts both; ours has one section more.
  EdgeServer node(const std::string& program, const std::string& name, const std::string& more) {
    EdgeServer server{.port = free_port()};
    std::ofstream(name + ".yaml") << fmt::format(
        "tracing: {{log_level: warn}}\nservices:\n  slim/0:\n    node_id: bench\n    dataplane:\n      servers:\n"
        "        - endpoint: 127.0.0.1:{}\n          tls: {{insecure: true}}\n{}", server.port, more);
    server.process = std::make_unique<ServerProcess>(std::vector<std::string>{program, "--config", name + ".yaml"}, name + ".log");
    wait_for_listener(server.port);
    const Client first(loop_, server.port, true);
    loop_.until([&] { return first.up(); }, fmt::format("{}: a first connection", program));
    return server;
  }

  ClientLoop& loop_;
  std::string reference_;
  TemporaryFolder folder_;
  int count_ = 0;
};

double quantile_us(std::vector<std::uint64_t>& times, double share) {
  std::ranges::sort(times);
  return times.empty() ? 0 : static_cast<double>(times[static_cast<std::size_t>(share * static_cast<double>(times.size() - 1))]) / 1000;
}

class Run {
 public:
  Run(const Options& options, std::string reference)
      : options_(options), with_reference_(!reference.empty()), starter_(loop_, std::move(reference)), report_{.bench = "edge"} {}

  int all() {
    throughput();
    if (!options_.quick || !options_.only.empty()) {
      latency();
      memory();
      if (options_.wants("flood")) {
        flood("ours", starter_.slipwayd());
        if (with_reference_) {
          flood("reference", starter_.reference());
        }
      }
      if (options_.wants("rush")) {
        crowd();
      }
    }
    report_.bar = with_reference_ ? kBars[0] : kFloorBar;
    print_bars();
    return print_report(report_, options_);
  }

 private:
  struct Bar {
    std::string row;
    double value;
    double bar;
    double goal;
    bool less;  // is better
  };

  EdgeServer other(std::size_t receivers) { return with_reference_ ? starter_.reference() : starter_.relay(receivers); }
  void figure(std::string name, double value) { report_.figures.emplace_back(std::move(name), value); }
  void bar(std::string row, double value, double least, double goal, bool less = false) {
    bars_.push_back({std::move(row), value, least, goal, less});
  }

  void throughput() {
    EdgeServer ours = starter_.slipwayd();
    for (const std::size_t receivers : {std::size_t{1}, std::size_t{16}}) {
      EdgeServer theirs = other(receivers);
      Flow a(loop_, ours, receivers, false);
      Flow b(loop_, theirs, receivers, false);
      for (std::size_t i = 0; i < kLoads.size(); ++i) {
        if (kLoads[i].receivers == receivers && options_.wants(kLoads[i].name)) {
          compare_load(kLoads[i], a, b, i);
        }
      }
      if (!with_reference_ && receivers == 1 && options_.wants(kLoads[0].name)) {
        explain_floor(a);
      }
    }
    if (options_.quick) {
      return;
    }
    EdgeServer theirs = other(1);
    Flow a(loop_, ours, 1, true);
    Flow b(loop_, theirs, 1, true);
    for (std::size_t i = 0; i < kPaced.size(); ++i) {
      if (options_.wants(kPaced[i].name)) {
        compare_load(kPaced[i], a, b, kLoads.size() + i);
      }
    }
  }

  // How much of what lies between us and the floor the header MACs are.
  void explain_floor(Flow& ours) {
    EdgeServer server = starter_.relay(1, true);
    Flow theirs(loop_, server, 1, false);
    const std::uint64_t ns = std::uint64_t{options_.block_ms} * 1'000'000;
    std::vector<double> ratios;
    theirs.run(kLoads[0], ns);
    for (std::uint32_t pair = 0; pair < std::max(options_.pairs / 2, 1u); ++pair) {
      const double mine = ours.run(kLoads[0], ns).cost_us();
      ratios.push_back(theirs.run(kLoads[0], ns).cost_us() / mine);
    }
    figure(fmt::format("{} CPU of a relay that reads messages and computes their MACs, over slipwayd's", kLoads[0].name), median(ratios));
  }

  void compare_load(const Load& load, Flow& ours, Flow& theirs, std::size_t index) {
    const std::uint64_t ns = std::uint64_t{options_.block_ms} * 1'000'000 * (load.rate != 0 ? 3 : 1);
    std::vector<double> ratios, a_us, b_us, a_rate, b_rate, a_client, a_share, crowding;
    ours.run(load, ns);
    theirs.run(load, ns);
    for (std::uint32_t pair = 0; pair < options_.pairs; ++pair) {
      Block a, b;
      crowding.push_back(processor_crowding());
      if (pair % 2 == 0) {
        a = ours.run(load, ns);
        b = theirs.run(load, ns);
      } else {
        b = theirs.run(load, ns);
        a = ours.run(load, ns);
      }
      ratios.push_back(b.cost_us() / a.cost_us());
      a_us.push_back(a.cost_us());
      b_us.push_back(b.cost_us());
      a_rate.push_back(a.rate());
      b_rate.push_back(b.rate());
      a_client.push_back(a.client_share());
      a_share.push_back(a.server_share());
    }
    Comparison comparison = summarize(load.name, ratios, 0);
    comparison.ours_ns = median(a_us) * 1000;
    comparison.reference_ns = median(b_us) * 1000;
    report_.comparisons.push_back(comparison);
    if (index < kLoads.size() && (!with_reference_ || kBars[index] == kBars[0])) {
      report_.decisive.emplace_back(load.name);
    }
    figure(fmt::format("{} slipwayd deliveries a second", load.name), median(a_rate));
    figure(fmt::format("{} {} deliveries a second", load.name, other_name()), median(b_rate));
    figure(fmt::format("{} slipwayd share of its CPU", load.name), median(a_share));
    figure(fmt::format("{} client share of its CPU", load.name), median(a_client));
    least_crowding_ = std::min(least_crowding_, *std::ranges::min_element(crowding));
    figure(fmt::format("{} processors shared with others (1: not)", load.name), median(crowding) / least_crowding_);
    if (with_reference_) {
      bar(fmt::format("CPU, {}: times less", load.name), comparison.ratio, kBars[index], kGoals[index]);
    } else if (index < kLoads.size()) {
      bar(fmt::format("CPU, {}: relay / ours", load.name), comparison.ratio, kFloorBar, 1);
    }
  }

  [[nodiscard]] const char* other_name() const { return with_reference_ ? "reference" : "relay"; }

  void latency() {
    if (!options_.wants("ping")) {
      return;
    }
    constexpr std::uint32_t kRounds = 500;
    constexpr std::uint32_t kTurns = 20;
    EdgeServer ours = starter_.slipwayd();
    PingPong a(loop_, ours);
    std::vector<std::uint64_t> times;
    std::vector<std::uint64_t> their_times;
    std::optional<EdgeServer> theirs;
    std::optional<PingPong> b;
    if (with_reference_) {
      theirs.emplace(starter_.reference());
      b.emplace(loop_, *theirs);
    }
    for (std::uint32_t i = 0; i < kTurns; ++i) {
      a.run(kRounds, times);
      if (b) {
        b->run(kRounds, their_times);
      }
    }
    figure("ping-pong slipwayd p50 us", quantile_us(times, 0.5));
    figure("ping-pong slipwayd p99.9 us", quantile_us(times, 0.999));
    bar("ping-pong p99.9, us", quantile_us(times, 0.999), 2000, 1000, true);
    if (b) {
      figure("ping-pong reference p50 us", quantile_us(their_times, 0.5));
      figure("ping-pong reference p99.9 us", quantile_us(their_times, 0.999));
      bar("ping-pong p50: times less", quantile_us(their_times, 0.5) / quantile_us(times, 0.5), 1.5, 2);
    }
  }

  void memory() {
    constexpr std::size_t kConnections = 1000;
    constexpr std::size_t kNames = 100'000;
    if (options_.wants("memory")) {
      EdgeServer ours = starter_.slipwayd();
      const double mine = connection_bytes(loop_, ours, kConnections);
      figure("memory of an idle connection, slipwayd, bytes", mine);
      if (with_reference_) {
        EdgeServer theirs = starter_.reference();
        const double their = connection_bytes(loop_, theirs, kConnections);
        figure("memory of an idle connection, reference, bytes", their);
        bar("memory of an idle connection: times less", their / mine, 2, 4);
      }
    }
    if (options_.wants("subscriptions")) {
      EdgeServer ours = starter_.slipwayd();
      const SubscriptionFigures mine = subscribe_many(loop_, ours, kNames, 10'000);
      figure("memory of a subscription, slipwayd, bytes", mine.bytes);
      figure("subscriptions a second up to 10,000 names, slipwayd", mine.early_rate);
      figure("subscriptions a second at 100,000 names, slipwayd", mine.late_rate);
      bar("subscriptions a second at 100,000 names", mine.late_rate, 30'000, 100'000);
      if (with_reference_) {
        EdgeServer theirs = starter_.reference();
        const SubscriptionFigures their = subscribe_many(loop_, theirs, kNames, 500);
        figure("memory of a subscription, reference, bytes", their.bytes);
        figure("subscriptions a second up to 10,000 names, reference", their.early_rate);
        figure("subscriptions a second at 100,000 names, reference", their.late_rate);
        bar("memory of a subscription: times less", their.bytes / mine.bytes, 2, 4);
      }
    }
  }

  void flood(const char* who, EdgeServer server) {
    const double share = others_share(loop_, server);
    figure(fmt::format("flood of a frozen receiver: share the others keep, {}", who), share);
    if (std::strcmp(who, "ours") == 0) {
      bar("flood of a frozen receiver: share the others keep", share, 0.9, 0.97);
    }
  }

  void crowd() {
    EdgeServer ours = starter_.slipwayd();
    const RushFigures figures = rush(loop_, ours, 1000);
    figure("rush of 1,000 connections: seconds until all are acknowledged", figures.all_acknowledged_s);
    bar("rush: seconds until all are acknowledged", figures.all_acknowledged_s, 2, 1, true);
    bar("rush: share that a 1:1 stream keeps", figures.stream_share, 0.9, 0.97);
  }

  void print_bars() const {
    fmt::print("{:<52} {:>10} {:>10} {:>10}\n", "bars", "measured", "bar", "goal");
    for (const Bar& b : bars_) {
      const auto meets = [&](double wanted) { return b.less ? b.value <= wanted : b.value >= wanted; };
      fmt::print("{:<52} {:>10.3g} {:>10.6g} {:>10.6g}  {}\n", b.row, b.value, b.bar, b.goal,
                 meets(b.goal) ? "goal" : meets(b.bar) ? "reached" : "missed");
    }
    fmt::print("\n");
  }

  Options options_;
  bool with_reference_;
  ClientLoop loop_;
  Starter starter_;
  Report report_;
  std::vector<Bar> bars_;
  double least_crowding_ = 1e9;  // that was seen
};

void raise_file_limit() {
  rlimit limit{};
  getrlimit(RLIMIT_NOFILE, &limit);
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_NOFILE, &limit);
}

int run(int argc, char** argv) {
  std::string reference;
  std::vector<char*> words;
  for (int i = 0; i < argc; ++i) {
    if (std::strcmp(argv[i], "--reference") == 0) {
      if (i + 1 >= argc || !std::filesystem::exists(argv[i + 1])) {
        die("--reference needs the path of upstream's node");
      }
      reference = std::filesystem::absolute(argv[++i]);
    } else {
      words.push_back(argv[i]);
    }
  }
  const Options options = parse_options(static_cast<int>(words.size()), words.data());
  raise_file_limit();
  prctl(PR_SET_TIMERSLACK, 1);  // loads are paced by the clock
  return Run(options, reference).all();
}

}  // namespace
}  // namespace slipway::bench

int main(int argc, char** argv) {
  signal(SIGPIPE, SIG_IGN);
  slipway::bench::name_bench("edge");
  return slipway::bench::run(argc, argv);
}
