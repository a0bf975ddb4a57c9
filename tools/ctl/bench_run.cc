#include "bench_run.h"

#include <fmt/format.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <charconv>
#include <cmath>
#include <cstdio>
#include <memory>
#include <thread>
#include <vector>

#include "client/application.h"

namespace slipway::ctl {
namespace {

constexpr std::uint64_t kNs = 1'000'000'000;
constexpr std::uint64_t kMs = 1'000'000;
constexpr std::uint32_t kMaxMembers = 1'000;
// What a payload begins with: when it was due, and when it was sent.
constexpr std::size_t kStampBytes = 16;
constexpr std::uint32_t kBurst = 128;            // messages between two looks at the loop
constexpr std::size_t kQueueBytes = 256 << 10;   // deep queues would only show their own delay

std::uint64_t clock_ns(clockid_t clock) {
  timespec time{};
  clock_gettime(clock, &time);
  return static_cast<std::uint64_t>(time.tv_sec) * kNs + static_cast<std::uint64_t>(time.tv_nsec);
}
std::uint64_t now_ns() { return clock_ns(CLOCK_MONOTONIC); }

// Busy and all jiffies of the machine.
std::pair<double, double> machine_time() {
  double busy = 0;
  double all = 0;
  if (std::FILE* file = std::fopen("/proc/stat", "r")) {
    unsigned long long v[8] = {};
    if (std::fscanf(file, "cpu %llu %llu %llu %llu %llu %llu %llu %llu", &v[0], &v[1], &v[2], &v[3], &v[4], &v[5], &v[6], &v[7]) == 8) {
      for (int i = 0; i < 8; ++i) {
        all += static_cast<double>(v[i]);
        busy += i == 3 || i == 4 ? 0 : static_cast<double>(v[i]);  // idle, waiting for a disk
      }
    }
    std::fclose(file);
  }
  return {busy, all};
}

// State that both threads look at.
struct Shared {
  std::atomic<std::uint32_t> ready{0};      // sides that are connected and subscribed
  std::atomic<bool> failed{false};
  std::atomic<bool> start{false};
  std::atomic<bool> stop{false};            // senders have sent all; receivers may end
  std::atomic<std::uint64_t> sent{0};
  std::atomic<std::uint64_t> delivered{0};
  std::string failure[2];
};

struct Member {
  std::unique_ptr<ClientLink> link;
  std::unique_ptr<ClientApplication> application;
  std::unique_ptr<Destination> to;
  std::uint32_t outstanding = 0;  // request-reply
};

class Side {
 public:
  Side(const BenchPlan& plan, Shared& shared, int number, const TextName& target) : plan_(plan), shared_(shared), number_(number), target_(target) {}

 protected:
  // Connects `count` members; false: shared.failure says why.
  bool connect(std::uint32_t count, const char* service, const std::function<ClientApplication::Handlers(std::size_t)>& handlers) {
    auto loop = Loop::create();
    if (!loop) {
      return give_up(loop.error());
    }
    loop_ = std::move(*loop);
    for (std::uint32_t i = 0; i < count; ++i) {
      auto link = ClientLink::open(*loop_, {.address = plan_.node, .client_name = fmt::format("bench {} {}", service, i), .queue_bytes = kQueueBytes});
      if (!link) {
        return give_up(link.error());
      }
      members_.push_back({});
      members_.back().link = std::move(*link);
      members_.back().application = std::make_unique<ClientApplication>(*members_.back().link, TextName{.component = {"slipwayctl", target_.component[1], service}}, handlers(i));
    }
    return until(static_cast<std::uint64_t>(plan_.timeout_ms), [this] { return std::all_of(members_.begin(), members_.end(), [](const auto& m) { return m.link->up(); }); }) ||
           give_up(members_.front().link->last_trouble().empty() ? "the node did not answer in time" : members_.front().link->last_trouble());
  }
  template <class Done>
  bool until(std::uint64_t timeout_ms, Done done) {
    const std::uint64_t end = loop_->refresh_now() + timeout_ms * kMs;
    while (!done()) {
      if (loop_->refresh_now() >= end || shared_.failed || interrupted()) {
        return false;
      }
      loop_->turn(kMs);
    }
    return true;
  }
  bool give_up(const std::string& why) {
    shared_.failure[number_] = why;
    shared_.failed = true;
    return false;
  }
  void wait_for_start() {
    ++shared_.ready;
    while (!shared_.start && !shared_.failed && !interrupted()) {
      loop_->turn(kMs);
    }
    cpu_start_ = clock_ns(CLOCK_THREAD_CPUTIME_ID);
    wall_start_ = now_ns();
  }
  double busy() const {
    const auto wall = static_cast<double>(now_ns() - wall_start_);
    return wall > 0 ? static_cast<double>(clock_ns(CLOCK_THREAD_CPUTIME_ID) - cpu_start_) / wall : 0;
  }

  const BenchPlan& plan_;
  Shared& shared_;
  int number_;
  TextName target_;
  std::unique_ptr<Loop> loop_;
  std::vector<Member> members_;
  std::uint64_t cpu_start_ = 0;
  std::uint64_t wall_start_ = 0;
};

class ReceiverSide : public Side {
 public:
  using Side::Side;
  Histogram latency;
  Histogram from_sending;
  std::uint64_t last_ns = 0;
  double busy_share = 0;

  void run() {
    if (!connect(plan_.receivers, "sink", [this](std::size_t i) {
          return ClientApplication::Handlers{.on_message = [this, i](const ClientMessage& message) { on_message(i, message); }};
        })) {
      return;
    }
    std::uint32_t subscribed = 0;
    for (auto& member : members_) {
      TextName name = target_;
      if (!plan_.channel) {
        name.id = member.application->name().id;
      }
      member.application->subscribe(name, [this, &subscribed](ClientResult result) {
        if (result) {
          ++subscribed;
        } else {
          give_up(result.error());
        }
      });
    }
    if (!until(static_cast<std::uint64_t>(plan_.timeout_ms), [&] { return subscribed == members_.size(); })) {
      give_up("the node did not confirm the subscriptions in time");
      return;
    }
    wait_for_start();
    while (!shared_.stop && !shared_.failed && !interrupted()) {
      loop_->turn(20 * kMs);
      shared_.delivered.store(delivered_, std::memory_order_relaxed);
    }
    busy_share = busy();
    // What is still on its way: until nothing came for a while.
    constexpr std::uint64_t kQuietNs = 300 * kMs;
    const std::uint64_t per_message = plan_.channel ? plan_.receivers : 1;
    std::uint64_t quiet_since = now_ns();
    for (std::uint64_t seen = delivered_; delivered_ < shared_.sent * per_message && now_ns() - quiet_since < kQuietNs && !interrupted();) {
      loop_->turn(10 * kMs);
      if (delivered_ != seen) {
        seen = delivered_;
        quiet_since = now_ns();
      }
    }
    shared_.delivered = delivered_;
  }

 private:
  void on_message(std::size_t i, const ClientMessage& message) {
    const auto payload = message.payload();
    if (payload.size() < kStampBytes) {
      return;
    }
    ++delivered_;
    if (plan_.request_reply) {
      (void)members_[i].application->publish_frame({.destination = message.source()}, message.body());
      return;
    }
    const std::uint64_t now = now_ns();
    latency.add(now - std::min(now, load_le<std::uint64_t>(payload.data())));
    from_sending.add(now - std::min(now, load_le<std::uint64_t>(payload.data() + 8)));
    last_ns = now;
  }
  std::uint64_t delivered_ = 0;
};

class SenderSide : public Side {
 public:
  using Side::Side;
  Histogram latency;  // request-reply
  Histogram from_sending;
  std::uint64_t sent = 0;
  std::uint64_t answers = 0;
  std::uint64_t refused = 0;
  std::uint64_t late = 0;
  std::uint64_t first_ns = 0;
  std::uint64_t last_ns = 0;
  std::uint64_t nobody = 0;
  double busy_share = 0;

  void run() {
    if (!connect(plan_.senders, "source", [this](std::size_t i) {
          return ClientApplication::Handlers{.on_message = [this, i](const ClientMessage& message) { on_answer(i, message); },
                                             .on_no_route = [this](const NoRouteNotice& notice) { nobody += 1 + notice.more; }};
        })) {
      return;
    }
    std::uint32_t subscribed = 0;
    for (auto& member : members_) {
      member.to = std::make_unique<Destination>(*member.application, target_, plan_.channel ? Receivers::kAll : Receivers::kOne, std::string_view{}, false);
      member.application->subscribe_self([&subscribed](ClientResult result) { subscribed += result ? 1 : 0; });
    }
    if (!until(static_cast<std::uint64_t>(plan_.timeout_ms), [&] { return subscribed == members_.size(); })) {
      give_up("the node did not confirm the senders' subscriptions in time");
      return;
    }
    payload_.assign(std::max<std::size_t>(plan_.size, kStampBytes), std::byte{'x'});
    wait_for_start();
    if (shared_.failed) {
      return;
    }
    send_all();
    busy_share = busy();
    until(2'000, [this] { return std::all_of(members_.begin(), members_.end(), [](const auto& m) { return m.link->queued_bytes() == 0; }); });
    if (plan_.request_reply) {
      until(2'000, [this] { return answers >= sent; });
    }
    shared_.sent = sent;
    until(200, [] { return false; });  // notices that nobody received
    shared_.stop = true;
  }

 private:
  void send_all() {
    first_ns = now_ns();
    const auto end = first_ns + static_cast<std::uint64_t>(plan_.seconds * static_cast<double>(kNs));
    while (!interrupted()) {
      const std::uint64_t now = now_ns();
      const bool enough = plan_.messages > 0 ? sent >= plan_.messages : now >= end;
      if (enough) {
        break;
      }
      // With a rate, message number i is due at first + i / rate, whether or not we come to send it then: what a
      // message waits for us counts into its latency (no coordinated omission).
      std::uint64_t allowed = plan_.messages > 0 ? plan_.messages - sent : ~std::uint64_t{0};
      if (plan_.rate > 0) {
        const auto due = static_cast<std::uint64_t>(static_cast<double>(now - first_ns) * plan_.rate / static_cast<double>(kNs)) + 1;
        allowed = std::min(allowed, due > sent ? due - sent : 0);
      }
      const std::uint64_t done = send_some(allowed);
      sent += done;
      if (done > 0 && done == allowed && plan_.rate == 0) {
        loop_->turn(0);
      } else {
        loop_->turn(wait_ns(end, done > 0 || allowed == 0));
      }
    }
  }
  // How long there is nothing to do: until the next message is due, or until room or an answer is reported.
  std::uint64_t wait_ns(std::uint64_t end, bool by_rate) {
    const std::uint64_t now = now_ns();
    std::uint64_t wait = end > now ? std::min(end - now, 100 * kMs) : 0;
    if (plan_.rate > 0 && by_rate) {
      const auto due = first_ns + static_cast<std::uint64_t>(static_cast<double>(sent) / plan_.rate * static_cast<double>(kNs));
      wait = std::min(wait, due > now ? due - now : 0);
    } else if (plan_.rate == 0 && by_rate) {
      wait = 0;
    }
    return wait;
  }
  std::uint64_t send_some(std::uint64_t allowed) {
    std::uint64_t done = 0;
    std::uint32_t stuck = 0;
    while (done < allowed && done < kBurst && stuck < members_.size()) {
      Member& member = members_[next_++ % members_.size()];
      if (plan_.request_reply && member.outstanding >= plan_.window) {
        ++stuck;
        continue;
      }
      const std::uint64_t now = now_ns();
      const std::uint64_t due = plan_.rate > 0 ? first_ns + static_cast<std::uint64_t>(static_cast<double>(sent + done) / plan_.rate * static_cast<double>(kNs)) : now;
      store_le(payload_.data(), due);
      store_le(payload_.data() + 8, now);
      if (member.application->publish(*member.to, payload_) != PublishStatus::kQueued) {
        ++refused;
        ++stuck;
        continue;
      }
      late += now > due + kMs ? 1 : 0;
      ++member.outstanding;
      ++done;
      stuck = 0;
    }
    return done;
  }
  void on_answer(std::size_t i, const ClientMessage& message) {
    const auto payload = message.payload();
    if (payload.size() < kStampBytes) {
      return;
    }
    const std::uint64_t now = now_ns();
    latency.add(now - std::min(now, load_le<std::uint64_t>(payload.data())));
    from_sending.add(now - std::min(now, load_le<std::uint64_t>(payload.data() + 8)));
    last_ns = now;
    ++answers;
    --members_[i].outstanding;
  }

  std::vector<std::byte> payload_;
  std::size_t next_ = 0;
};

}  // namespace

std::expected<BenchPlan, Failure> bench_plan(const std::string& pattern) {
  const auto wrong = [&] { return std::unexpected(Failure{ExitCode::kUsage, fmt::format("'{}' is no pattern", pattern), fmt::format("1:1, 1:N, N:1 (N up to {}) or request", kMaxMembers)}); };
  BenchPlan plan;
  if (pattern == "request") {
    plan.request_reply = true;
    return plan;
  }
  const auto colon = pattern.find(':');
  if (colon == std::string::npos) {
    return wrong();
  }
  const auto read = [&](std::string_view text, std::uint32_t* value) {
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), *value);
    return error == std::errc{} && end == text.data() + text.size() && *value >= 1 && *value <= kMaxMembers;
  };
  if (!read(std::string_view(pattern).substr(0, colon), &plan.senders) || !read(std::string_view(pattern).substr(colon + 1), &plan.receivers) ||
      (plan.senders > 1 && plan.receivers > 1)) {
    return wrong();
  }
  plan.channel = plan.receivers > 1;
  return plan;
}

std::expected<BenchResult, Failure> bench_run(const BenchPlan& plan) {
  Shared shared;
  // A name of its own for each run, so that runs do not meet.
  TextName target{.component = {"slipwayctl", fmt::format("bench-{}-{}", getpid(), now_ns()), "sink"}};
  if (plan.channel) {
    target.id = id_of_identity(target.component[1]);
  }
  ReceiverSide receivers(plan, shared, 0, target);
  SenderSide senders(plan, shared, 1, target);
  std::thread receiving([&] { receivers.run(); });
  std::thread sending([&] { senders.run(); });
  while (shared.ready < 2 && !shared.failed && !interrupted()) {
    usleep(1000);
  }
  const auto [busy_before, all_before] = machine_time();
  shared.start = true;
  sending.join();
  const auto [busy_after, all_after] = machine_time();
  shared.stop = true;
  receiving.join();
  if (shared.failed) {
    const auto& why = shared.failure[0].empty() ? shared.failure[1] : shared.failure[0];
    return std::unexpected(Failure{ExitCode::kNotReachable, why, "--node ADDRESS names the node's native listener"});
  }
  BenchResult result{.plan = plan};
  result.sent = senders.sent;
  result.expected = senders.sent * (plan.channel ? plan.receivers : 1);
  result.delivered = plan.request_reply ? senders.answers : shared.delivered.load();
  result.refused = senders.refused;
  result.late = senders.late;
  result.nobody = senders.nobody;
  const std::uint64_t last = plan.request_reply ? senders.last_ns : receivers.last_ns;
  result.seconds = last > senders.first_ns ? static_cast<double>(last - senders.first_ns) / static_cast<double>(kNs) : 0;
  result.sender_busy = senders.busy_share;
  result.receiver_busy = receivers.busy_share;
  result.machine_busy = all_after > all_before ? (busy_after - busy_before) / (all_after - all_before) : 0;
  result.latency = plan.request_reply ? senders.latency : receivers.latency;
  result.from_sending = plan.request_reply ? senders.from_sending : receivers.from_sending;
  judge(&result);
  return result;
}

void judge(BenchResult* r) {
  constexpr double kFull = 0.90;
  const double reached = r->seconds > 0 ? static_cast<double>(r->sent) / r->seconds : 0;
  if (r->plan.rate > 0 && reached >= 0.98 * r->plan.rate) {
    r->limited_by = "rate";
    r->why = "the rate that was asked for was kept";
  } else if (r->receiver_busy >= kFull) {
    r->limited_by = "receiver_cpu";
    r->why = fmt::format("the receiving side of this benchmark had no more CPU ({:.0f} % of a core)", r->receiver_busy * 100);
  } else if (r->plan.request_reply && r->sender_busy < kFull) {
    r->limited_by = "window";
    r->why = fmt::format("each requester waits with {} unanswered request{}; --window N allows more", r->plan.window, r->plan.window == 1 ? "" : "s");
  } else if (r->sender_busy >= kFull) {
    r->limited_by = "sender_cpu";
    r->why = fmt::format("the sending side of this benchmark had no more CPU ({:.0f} % of a core)", r->sender_busy * 100);
  } else if (r->machine_busy >= kFull) {
    r->limited_by = "machine_cpu";
    r->why = fmt::format("all CPUs of this machine were busy ({:.0f} %): senders, node and receivers share them", r->machine_busy * 100);
  } else {
    r->limited_by = "node_backpressure";
    r->why = fmt::format("the node took bytes slower than they were offered (the senders' queues were full {} times)", r->refused);
  }
}

}  // namespace slipway::ctl
