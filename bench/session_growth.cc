#include "session_growth.h"

#include <fmt/format.h>
#include <stdio.h>
#include <unistd.h>

#include <algorithm>
#include <vector>

#include "app/app.h"
#include "harness.h"
#include "identity/shared_secret.h"
#include "mls_floor.h"
#include "session_process.h"

namespace slipway::bench {
namespace {

using namespace std::chrono_literals;

constexpr const char* kSecret = "a-shared-secret-of-at-least-32-bytes!!";
constexpr std::size_t kProcesses = 2;
constexpr std::uint64_t kPatience_ns = 60'000'000'000;  // without anybody coming in

struct MemberCounts {
  alignas(64) std::atomic<std::uint64_t> ready;
  std::atomic<std::uint64_t> joined;
  std::atomic<std::uint64_t> sent;
  std::atomic<std::uint64_t> received;
  std::atomic<std::uint64_t> bytes;
};

TextName named(const std::string& last) { return {{"bench", "growth", last}, kNullId}; }
std::string member_name(std::uint32_t number) { return fmt::format("m{}", number); }

std::unique_ptr<App> make_app(Loop& loop, const std::string& name, const std::string& address, App::Handlers handlers, std::atomic<std::uint64_t>& ready) {
  auto identity = shared_secret_identity({.base = "bench/growth/" + name, .secret = kSecret});
  auto app = App::create(loop, {.name = named(name), .identity = identity.value()}, std::move(handlers));
  if (!app || !(*app)->connect({.address = address}, [&ready](const auto& connected) { ready += connected ? 1 : 0; })) {
    die("an application cannot connect");
  }
  return std::move(*app);
}

// Each takes every so manieth, so that all have as much to do from the beginning.
[[noreturn]] void run_members(std::uint32_t first, std::uint32_t members, const std::string& address, MemberCounts& counts) {
  const auto loop = Loop::create().value();
  std::vector<std::unique_ptr<App>> apps;
  std::vector<std::shared_ptr<AppSession>> sessions;
  for (std::uint32_t i = first; i < members; i += kProcesses) {
    apps.push_back(make_app(*loop, member_name(i), address,
                            {.on_session = [&](std::shared_ptr<AppSession> session) {
                               sessions.push_back(std::move(session));
                               counts.joined += 1;
                             },
                             .on_connection = {},
                             .on_writable = {}},
                            counts.ready));
  }
  loop->every(20'000'000, [&] {
    std::uint64_t sent = 0, received = 0, bytes = 0;
    for (const auto& app : apps) {
      const AppCounters& c = app->counters();
      sent += c.sent;
      received += c.received;
      bytes += c.sent_bytes + c.received_bytes;
    }
    counts.sent = sent;
    counts.received = received;
    counts.bytes = bytes;
  });
  loop->run();
  std::_Exit(0);
}

// Commits add members in equal parts; each part sees the tree as it is then.
struct Operations {
  double sign = 0, verify = 0, keygen = 0, dh = 0;
  [[nodiscard]] double ns(const Primitives& p) const { return sign * p.sign + verify * p.verify + keygen * p.keygen + dh * p.dh; }
};

}  // namespace

Growth grow_channel(const std::string& address, std::uint32_t members) {
  void* memory = make_shared_bytes(kProcesses * sizeof(MemberCounts));
  auto* counts = static_cast<MemberCounts*>(memory);
  std::vector<std::unique_ptr<ServerProcess>> processes;
  for (std::uint32_t i = 0; i < kProcesses; ++i) {
    processes.push_back(std::make_unique<ServerProcess>([=] { run_members(i, members, address, counts[i]); }));
  }
  const auto sum = [&](std::atomic<std::uint64_t> MemberCounts::*field) {
    std::uint64_t all = 0;
    for (std::size_t i = 0; i < kProcesses; ++i) {
      all += (counts[i].*field).load();
    }
    return all;
  };
  const auto loop = Loop::create().value();
  std::uint64_t longest_turn = 0;
  Growth growth;
  std::uint64_t members_in = 0, start = wall_ns(), last = start;
  const auto until = [&](auto&& condition, const char* what) {
    last = wall_ns();
    while (!condition()) {
      const std::uint64_t before = thread_cpu_ns();
      loop->turn(20'000'000);
      longest_turn = std::max(longest_turn, thread_cpu_ns() - before);
      const std::uint64_t now = wall_ns(), joined = sum(&MemberCounts::joined);
      growth.longest_wait = std::max(growth.longest_wait, static_cast<double>(now - last) / 1e9);
      if (now > last + kPatience_ns) {
        die(fmt::format("a channel of {}: {}: {} are in after {:.0f} s, and nobody came in for {:.0f} s", members, what, joined,
                        static_cast<double>(now - start) / 1e9, kPatience_ns / 1e9));
      }
      if (joined == members_in) {
        continue;
      }
      members_in = joined;
      last = now;
      for (std::size_t i = 0; i < growth.quarters.size(); ++i) {
        if (growth.quarters[i] == 0 && members_in * growth.quarters.size() >= members * (i + 1)) {
          growth.quarters[i] = static_cast<double>(now - start) / 1e9;
          fmt::print(stderr, "session: {} of {} are in after {:.1f} s, longest turn so far {:.1f} ms\n", members_in, members, growth.quarters[i],
                     static_cast<double>(longest_turn) / 1e6);
        }
      }
    }
  };
  std::atomic<std::uint64_t> ready = 0;
  const auto app = make_app(*loop, "moderator", address, {}, ready);
  until([&] { return ready == 1 && sum(&MemberCounts::ready) == members; }, "connecting");
  std::shared_ptr<AppSession> channel;
  (void)app->create_session(MulticastOptions{.channel = named("channel"), .timeout = 5000ms, .max_retries = 20}, [&](auto made) { channel = made.value(); });
  until([&] { return channel != nullptr; }, "creating it");
  const auto members_cpu = [&] {
    std::uint64_t ns = 0;
    for (const auto& process : processes) {
      ns += process->cpu_ns();
    }
    return static_cast<double>(ns);
  };
  usleep(50'000);
  const AppCounters before = app->counters();
  const std::uint64_t before_sent = sum(&MemberCounts::sent), before_received = sum(&MemberCounts::received), before_bytes = sum(&MemberCounts::bytes);
  const double cpu = members_cpu();
  const auto own_cpu = static_cast<double>(thread_cpu_ns());
  start = wall_ns();
  longest_turn = 0;
  growth.longest_wait = 0;
  std::uint32_t answered = 0;
  for (std::uint32_t i = 0; i < members; ++i) {
    const auto invited = channel->invite(named(member_name(i)), [&, i](const std::expected<Outcome, AppError>& outcome) {
      if (!outcome) {
        die(fmt::format("inviting member {}: {}", i, outcome.error().message()));
      }
      ++answered;
    });
    if (!invited) {
      die(fmt::format("inviting member {}: {}", i, invited.error().message()));
    }
  }
  until([&] { return answered == members; }, "inviting");
  growth.seconds = static_cast<double>(wall_ns() - start) / 1e9;
  growth.commits = channel->epoch();
  growth.moderator_ms = (static_cast<double>(thread_cpu_ns()) - own_cpu) / 1e6;
  growth.longest_turn_ms = static_cast<double>(longest_turn) / 1e6;
  until([&] { return sum(&MemberCounts::joined) == members; }, "joining");
  usleep(50'000);
  growth.members_ms = (members_cpu() - cpu) / 1e6;
  const AppCounters& after = app->counters();
  const auto sent = static_cast<double>(after.sent - before.sent), received = static_cast<double>(after.received - before.received);
  const auto member_sent = static_cast<double>(sum(&MemberCounts::sent) - before_sent);
  const auto member_received = static_cast<double>(sum(&MemberCounts::received) - before_received);
  growth.messages = static_cast<std::uint64_t>(sent + received + member_sent + member_received);
  growth.bytes = after.sent_bytes + after.received_bytes - before.sent_bytes - before.received_bytes + sum(&MemberCounts::bytes) - before_bytes;

  // Two signatures a command, made and verified. Then the group's own.
  Operations moderator{.sign = 2 * sent, .verify = 2 * received};
  Operations others{.sign = 2 * member_sent, .verify = 2 * member_received};
  const double n = members;
  const double commits = std::max<double>(1, static_cast<double>(growth.commits));
  const double part = n / commits;
  moderator.sign += 2 * commits;                 // the commit and the group's state for those who join
  moderator.verify += 2 * n;                     // key package and leaf
  moderator.keygen += n;                         // sealing each one's secrets
  moderator.dh += n;
  others.keygen += 2 * n;                        // key packages
  others.sign += 2 * n;
  others.dh += n;                                // opening the welcome
  for (double in = 0; in + part / 2 < n; in += part) {
    others.verify += in * (1 + 2 * part);        // those inside: the commit, each new key package and leaf
    others.verify += part * (1 + 1 + in + part); // those who join: the state, all leaves
  }
  FloorMeter meter(2);
  const Primitives p = mean(meter.sample(), meter.sample());
  growth.moderator_floor_ms = moderator.ns(p) / 1e6;
  growth.members_floor_ms = others.ns(p) / 1e6;
  return growth;
}

double set_up_floor_ns(double commands) {
  FloorMeter meter(2);
  const Primitives p = mean(meter.sample(), meter.sample());
  // Two signatures a command on each side; key package (2 keys, 2 signatures), commit and group state (2 signatures), sealed and opened
  // secrets; key package and leaf at the creator, state and two leaves at the other.
  const Operations both{.sign = 2 * commands + 4, .verify = 2 * commands + 5, .keygen = 3, .dh = 2};
  return both.ns(p);
}

}  // namespace slipway::bench
