// Sessions as applications pay for them: CPU time of all application processes a message, the node's apart.
//
// One sender and sixteen receivers, each a process of its own, over TCP to one node. With MLS the other arm is what the same processes
// need for the cryptography alone, at the same pace: one signature and one seal, and for each receiver one verification of the same
// bytes and one open (message_floor.h), suite 2. Without MLS it is the bare native client in the same processes. Blocks alternate.

#include <fmt/format.h>
#include <signal.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>

#include "harness.h"
#include "session_growth.h"
#include "session_process.h"

namespace slipway::bench {
namespace {

constexpr std::uint64_t kNs = 1'000'000'000;

struct Row {
  const char* name;
  Flow flow;
  Flow other;             // kCount: the floor
  std::uint32_t bytes;
  std::uint32_t rate;     // messages a second: leaves two processors idle for half of the time or more
  std::uint32_t batch;    // published at once
  double limit;
};
constexpr std::array<Row, 16> kRows = {{
    {"MLS 1:1 64 B", Flow::kUnicast, Flow::kCount, 64, 2'000, 8, 1.3},
    {"MLS 1:1 1 KiB", Flow::kUnicast, Flow::kCount, 1'024, 2'000, 8, 1.3},
    {"MLS 1:1 16 KiB", Flow::kUnicast, Flow::kCount, 16'384, 1'600, 8, 1.4},
    {"MLS reliable 1:1 64 B", Flow::kUnicastReliable, Flow::kCount, 64, 2'000, 8, 1.6},
    {"MLS reliable 1:1 1 KiB", Flow::kUnicastReliable, Flow::kCount, 1'024, 2'000, 8, 1.6},
    {"MLS reliable 1:1 16 KiB", Flow::kUnicastReliable, Flow::kCount, 16'384, 1'600, 8, 1.6},
    {"MLS 1:16 64 B", Flow::kChannel, Flow::kCount, 64, 320, 8, 1.3},
    {"MLS 1:16 1 KiB", Flow::kChannel, Flow::kCount, 1'024, 320, 8, 1.3},
    {"MLS 1:16 16 KiB", Flow::kChannel, Flow::kCount, 16'384, 240, 8, 1.4},
    {"MLS reliable 1:16 64 B", Flow::kChannelReliable, Flow::kCount, 64, 320, 8, 1.6},
    {"MLS reliable 1:16 1 KiB", Flow::kChannelReliable, Flow::kCount, 1'024, 320, 8, 1.6},
    {"MLS reliable 1:16 16 KiB", Flow::kChannelReliable, Flow::kCount, 16'384, 240, 8, 1.6},
    {"plain 1:1 64 B", Flow::kPlain, Flow::kBare, 64, 40'000, 32, 1.5},
    {"plain 1:1 1 KiB", Flow::kPlain, Flow::kBare, 1'024, 40'000, 32, 1.5},
    {"plain 1:16 64 B", Flow::kPlainChannel, Flow::kBareChannel, 64, 4'000, 32, 1.5},
    {"plain 1:16 1 KiB", Flow::kPlainChannel, Flow::kBareChannel, 1'024, 4'000, 32, 1.5},
}};
constexpr double kBar = 1.3;

class Node {
 public:
  Node() : port_(free_port()) {
    std::ofstream(folder_.file("slipwayd.yaml")) << fmt::format(
        "slipway:\n  node_id: bench\n  log_level: warn\n  listen:\n    - tcp: 127.0.0.1:{}\n  api:\n    unix: {}\n", port_, folder_.file("control.sock"));
    start();
  }

  [[nodiscard]] std::string address() const { return fmt::format("tcp://127.0.0.1:{}", port_); }
  [[nodiscard]] std::uint64_t cpu_ns() const { return process_->cpu_ns(); }
  void kill_at_once() { process_->kill_at_once(); }
  void start() {
    process_ = std::make_unique<ServerProcess>(std::vector<std::string>{slipwayd_path(), "--config", folder_.file("slipwayd.yaml")},
                                               folder_.file("slipwayd.log"));
    wait_for_listener(port_);
  }

 private:
  std::uint16_t port_;
  TemporaryFolder folder_;
  std::unique_ptr<ServerProcess> process_;
};

class Run {
 public:
  explicit Run(const Options& options) : options_(options), counts_(make_shared_counts()) {
    report_.bench = "session";
    report_.bar = kBar;
    report_.less = true;
    sender_ = std::make_unique<AppProcess>(AppProcess::kSenderIndex, node_.address(), counts_);
    for (std::size_t i = 0; i < kMaxReceivers; ++i) {
      receivers_.push_back(std::make_unique<AppProcess>(static_cast<int>(i), node_.address(), counts_));
    }
  }

  int all() {
    for (const Row& row : kRows) {
      if (options_.wants(row.name) && (!options_.quick || row.other == Flow::kCount || row.bytes == 64)) {
        compare_row(row);
      }
    }
    if (options_.wants("round trip")) {
      round_trip();
    }
    if (options_.wants("set-up")) {
      set_up();
    }
    if (!options_.quick || !options_.only.empty()) {
      if (options_.wants("killed node")) {
        killed_node();
      }
      if (options_.wants("stalled")) {
        stalled_member();
      }
      for (const std::uint32_t members : {50u, 1'000u}) {
        if (options_.wants(fmt::format("growth {}", members))) {
          growth(members);
        }
      }
    }
    if (report_.comparisons.empty()) {
      for (const auto& [name, value] : report_.figures) {
        fmt::print("{:<52} {:.6g}\n", name, value);
      }
      return 0;
    }
    return print_report(report_, options_);
  }

 private:
  struct Cost {
    double cpu_us = 0;   // a message
    double node_us = 0;
    double share = 0;    // that came
  };
  void figure(std::string name, double value) { report_.figures.emplace_back(std::move(name), value); }

  static std::size_t receivers_of(Flow flow) { return to_all(flow) ? kMaxReceivers : 1; }
  [[nodiscard]] std::uint64_t cpu_ns(std::size_t receivers) const {
    std::uint64_t ns = sender_->cpu_ns();
    for (std::size_t i = 0; i < receivers; ++i) {
      ns += receivers_[i]->cpu_ns();
    }
    return ns;
  }
  [[nodiscard]] std::uint64_t received(std::size_t receivers) const {
    std::uint64_t all = 0;
    for (std::size_t i = 0; i < receivers; ++i) {
      all += counts_->receiver[i].received.load(std::memory_order_acquire);
    }
    return all;
  }
  void tell(AppProcess& process, const Order& order) {
    process.order(order);
    process.wait();
  }
  void open(Flow flow) {
    if (!opened_[static_cast<std::size_t>(flow)]) {
      opened_[static_cast<std::size_t>(flow)] = true;
      tell(*sender_, {.task = Task::kOpen, .flow = flow, .count = kMaxReceivers});
    }
  }

  Order load(const Row& row, Flow flow, std::uint64_t ns) const {
    const auto count = static_cast<std::uint32_t>(std::max<std::uint64_t>(row.rate * ns / kNs / row.batch, 2) * row.batch);
    return {.flow = flow, .count = count, .bytes = row.bytes, .batch = row.batch, .window = 8 * row.batch, .period_ns = kNs * row.batch / row.rate};
  }
  Cost send_block(const Order& order) {
    const std::size_t receivers = receivers_of(order.flow);
    const std::uint64_t before = received(receivers);
    const std::uint64_t node = node_.cpu_ns();
    const std::uint64_t start = cpu_ns(receivers);
    tell(*sender_, order);
    const std::uint64_t wanted = before + std::uint64_t{order.count} * receivers;
    for (int i = 0; i < 2'000 && received(receivers) < wanted; ++i) {
      usleep(500);
    }
    const double messages = order.count;
    return {.cpu_us = static_cast<double>(cpu_ns(receivers) - start) / messages / 1000,
            .node_us = static_cast<double>(node_.cpu_ns() - node) / messages / 1000,
            .share = static_cast<double>(received(receivers) - before) / (messages * static_cast<double>(receivers))};
  }
  Cost floor_block(Order order) {
    const std::size_t receivers = receivers_of(order.flow);
    order.task = Task::kFloor;
    const std::uint64_t start = cpu_ns(receivers);
    sender_->order(order);
    for (std::size_t i = 0; i < receivers; ++i) {
      receivers_[i]->order(order);
    }
    sender_->wait();
    for (std::size_t i = 0; i < receivers; ++i) {
      receivers_[i]->wait();
    }
    return {.cpu_us = static_cast<double>(cpu_ns(receivers) - start) / order.count / 1000, .share = 1};
  }

  void compare_row(const Row& row) {
    const std::uint64_t ns = std::uint64_t{options_.block_ms} * 1'500'000;
    open(row.flow);
    const auto ours = [&] { return send_block(load(row, row.flow, ns)); };
    const auto theirs = [&] { return row.other == Flow::kCount ? floor_block(load(row, row.flow, ns)) : send_block(load(row, row.other, ns)); };
    ours();
    theirs();
    std::vector<double> ratios, a_us, b_us, node_us;
    std::uint32_t dropped = 0;
    for (std::uint32_t pair = 0; ratios.size() < options_.pairs && pair < 2 * options_.pairs; ++pair) {
      Cost a, b;
      if (pair % 2 == 0) {
        a = ours();
        b = theirs();
      } else {
        b = theirs();
        a = ours();
      }
      if (a.share < 1 || b.share < 1) {
        ++dropped;
        continue;
      }
      ratios.push_back(a.cpu_us / b.cpu_us);
      a_us.push_back(a.cpu_us);
      b_us.push_back(b.cpu_us);
      node_us.push_back(a.node_us);
    }
    Comparison comparison = summarize(row.name, ratios, dropped);
    comparison.ours_ns = median(a_us) * 1000;
    comparison.reference_ns = median(b_us) * 1000;
    comparison.limit = row.limit;
    report_.comparisons.push_back(comparison);
    figure(fmt::format("{}: the node's CPU a message, us", row.name), median(node_us));
  }

  double time_us(double share) {
    std::vector<std::uint32_t> times(counts_->time_us.begin(), counts_->time_us.begin() + counts_->time_count.load());
    std::ranges::sort(times);
    return times.empty() ? 0 : times[static_cast<std::size_t>(share * static_cast<double>(times.size() - 1))];
  }

  void round_trip() {
    open(Flow::kEcho);
    const std::uint32_t rounds = options_.quick ? 1'000 : 5'000;
    tell(*sender_, {.task = Task::kPing, .flow = Flow::kEcho, .count = rounds, .bytes = 64});
    figure("reliable round trip with MLS, 64 B, p50 us", time_us(0.5));
    figure("reliable round trip with MLS, 64 B, p99 us", time_us(0.99));
  }

  void set_up() {
    const std::uint32_t rounds = options_.quick ? 20 : 200;
    const Order once{.task = Task::kSetUp, .flow = Flow::kUnicast, .count = 1};
    tell(*sender_, once);
    std::uint64_t bytes = counts_->bytes, messages = counts_->messages;
    tell(*sender_, once);
    bytes = counts_->bytes - bytes;
    messages = counts_->messages - messages;
    const std::uint64_t start = cpu_ns(1);
    tell(*sender_, {.task = Task::kSetUp, .flow = Flow::kUnicast, .count = rounds});
    const double cpu_us = static_cast<double>(cpu_ns(1) - start) / rounds / 1000;
    const double floor_us = set_up_floor_ns(static_cast<double>(messages)) / 1000;
    figure("set-up of a unicast session with MLS and its closing, p50 us (opening)", time_us(0.5));
    figure("  p99 us (opening)", time_us(0.99));
    figure("  CPU of both applications, us", cpu_us);
    figure("  public-key operations alone, us", floor_us);
    figure("  CPU / public-key operations", cpu_us / floor_us);
    figure("  session messages, both ways", static_cast<double>(messages));
    figure("  bytes, both ways", static_cast<double>(bytes));
  }

  // From the moment that the node listens again to the first message that arrives.
  void killed_node() {
    open(Flow::kUnicastReliable);
    std::vector<double> back;
    std::uint64_t published = counts_->published, disorder = counts_->receiver[0].out_of_order, undelivered = counts_->undelivered;
    std::uint64_t before = received(1);
    for (const std::uint32_t outage_ms : {100u, 500u, 1'500u, 4'000u, 300u, 1'000u, 2'500u}) {
      sender_->order({.flow = Flow::kUnicastReliable, .count = 400 + outage_ms * 400 / 1000, .bytes = 64, .batch = 1, .window = 0, .period_ns = kNs / 400});
      usleep(300'000);
      node_.kill_at_once();
      usleep(outage_ms * 1000);
      const std::uint64_t then = received(1);
      node_.start();
      const std::uint64_t start = wall_ns();
      while (received(1) == then) {
        usleep(200);
        if (wall_ns() - start > 30 * kNs) {
          die("traffic did not come back within 30 s");
        }
      }
      back.push_back(static_cast<double>(wall_ns() - start) / 1e9);
      sender_->wait();
      figure(fmt::format("killed node: away {:.1f} s, traffic back after, s", outage_ms / 1000.0), back.back());
    }
    published = counts_->published - published;
    figure("killed node: the longest, s (bar 0.5)", std::ranges::max(back));
    figure("killed node: published", static_cast<double>(published));
    figure("killed node: not delivered", static_cast<double>(published) - static_cast<double>(received(1) - before));
    figure("killed node: twice, or out of order", static_cast<double>(counts_->receiver[0].out_of_order - disorder));
    figure("killed node: reported as lost", static_cast<double>(counts_->undelivered - undelivered));
  }

  // Deliveries a second of the other fifteen, without and with one that is stopped.
  void stalled_member() {
    open(Flow::kImpatient);
    const auto others_rate = [&] {
      const Order order{.flow = Flow::kImpatient, .count = 1'600, .bytes = 64, .batch = 8, .window = 0, .period_ns = kNs * 8 / 400};
      const std::uint64_t before = received(kMaxReceivers - 1);
      const std::uint64_t wanted = before + std::uint64_t{order.count} * (kMaxReceivers - 1);
      sender_->order(order);
      const std::uint64_t start = wall_ns();
      while (received(kMaxReceivers - 1) < wanted && wall_ns() - start < 60 * kNs) {
        usleep(500);
      }
      const double rate = static_cast<double>(received(kMaxReceivers - 1) - before) * 1e9 / static_cast<double>(wall_ns() - start);
      return rate;
    };
    const double without = others_rate();
    sender_->wait();
    kill(receivers_.back()->pid(), SIGSTOP);
    const double with = others_rate();
    kill(receivers_.back()->pid(), SIGCONT);
    sender_->wait();
    figure("stalled member of 16: deliveries a second of the others before", without);
    figure("stalled member of 16: with it", with);
    figure("stalled member of 16: share that the others keep (bar 0.97)", with / without);
  }

  void growth(std::uint32_t members) {
    const Growth g = grow_channel(node_.address(), members);
    const auto say = [&](const std::string& what, double value) { figure(fmt::format("growth to {}: {}", members, what), value); };
    say("seconds", g.seconds);
    for (std::size_t i = 0; i < g.quarters.size(); ++i) {
      say(fmt::format("seconds until {} were in", members * (i + 1) / g.quarters.size()), g.quarters[i]);
    }
    say("longest time in which nobody came in, s", g.longest_wait);
    say("commits", static_cast<double>(g.commits));
    say("messages sent and received by all", static_cast<double>(g.messages));
    say("bytes sent and received by all", static_cast<double>(g.bytes));
    say("CPU of the moderator, ms", g.moderator_ms);
    say("CPU of the moderator / public-key operations", g.moderator_ms / g.moderator_floor_ms);
    say("longest turn of the moderator's loop, ms of CPU", g.longest_turn_ms);
    say("CPU of all members, ms", g.members_ms);
    say("CPU of all members / public-key operations", g.members_ms / g.members_floor_ms);
  }

  Options options_;
  SharedCounts* counts_;
  Node node_;
  std::unique_ptr<AppProcess> sender_;
  std::vector<std::unique_ptr<AppProcess>> receivers_;
  std::array<bool, static_cast<std::size_t>(Flow::kCount)> opened_{};
  Report report_;
};

void raise_file_limit() {
  rlimit limit{};
  getrlimit(RLIMIT_NOFILE, &limit);
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_NOFILE, &limit);
}

}  // namespace
}  // namespace slipway::bench

int main(int argc, char** argv) {
  signal(SIGPIPE, SIG_IGN);
  slipway::bench::name_bench("session");
  const auto options = slipway::bench::parse_options(argc, argv);
  slipway::bench::raise_file_limit();
  return slipway::bench::Run(options).all();
}
