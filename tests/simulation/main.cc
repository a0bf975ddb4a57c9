// Runs seeds; `tools/simulate` builds and calls this. A failing seed is printed and replays alone:
//   simulate --first-seed K --seeds 1 --trace
// Runs share nothing: with --jobs so many threads take seeds in turn, and failures may be printed out of their order.
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <mutex>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "world.h"

namespace {

constexpr std::uint64_t kMostJobs = 256;
constexpr std::uint64_t kFailuresShown = 20;

struct Arguments {
  std::uint64_t seeds = 1'000;
  std::uint64_t first = 1;
  std::uint64_t jobs = 1;
  bool trace = false;
  bool mls = false;
  bool ok = true;
};

Arguments parse(int argc, char** argv) {
  Arguments arguments;
  for (int i = 1; i < argc; ++i) {
    const std::string_view word = argv[i];
    char* end = nullptr;
    if (word == "--trace") {
      arguments.trace = true;
    } else if (word == "--mls") {
      arguments.mls = true;
    } else if ((word == "--seeds" || word == "--first-seed" || word == "--jobs") && i + 1 < argc) {
      const std::uint64_t value = std::strtoull(argv[++i], &end, 10);
      (word == "--seeds" ? arguments.seeds : word == "--jobs" ? arguments.jobs : arguments.first) = value;
      arguments.ok = arguments.ok && *end == '\0';
    } else {
      arguments.ok = false;
    }
  }
  arguments.ok = arguments.ok && arguments.jobs >= 1 && arguments.jobs <= kMostJobs;
  return arguments;
}

// What all threads found.
class Tally {
 public:
  void add(std::uint64_t seed, const slipway::sim::Outcome& outcome) {
    const std::lock_guard lock(mutex_);
    total.events += outcome.events;
    total.published += outcome.published;
    total.delivered += outcome.delivered;
    total.reported_lost += outcome.reported_lost;
    total.joins += outcome.joins;
    if (!outcome.failure.empty() && ++failed <= kFailuresShown) {
      std::printf("seed %llu: %s\n", static_cast<unsigned long long>(seed), outcome.failure.c_str());
      std::fflush(stdout);
    }
  }

  slipway::sim::Outcome total;
  std::uint64_t failed = 0;

 private:
  std::mutex mutex_;
};

}  // namespace

int main(int argc, char** argv) {
  const Arguments arguments = parse(argc, argv);
  if (!arguments.ok) {
    std::fprintf(stderr, "usage: simulate [--seeds N] [--first-seed K] [--jobs N] [--mls] [--trace]\n");
    return 2;
  }
  const auto mls = arguments.mls ? slipway::sim::Mls::kReal : slipway::sim::Mls::kFake;
  const auto begun = std::chrono::steady_clock::now();
  Tally tally;
  std::atomic<std::uint64_t> next = 0;
  const auto work = [&] {
    for (std::uint64_t i = next++; i < arguments.seeds; i = next++) {
      tally.add(arguments.first + i, slipway::sim::World(arguments.first + i, arguments.trace, mls).run());
    }
  };
  {
    std::vector<std::jthread> others;
    for (std::uint64_t job = 1; job < arguments.jobs; ++job) {
      others.emplace_back(work);
    }
    work();
  }
  const slipway::sim::Outcome& total = tally.total;
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begun).count();
  std::printf("%.0f runs/s; %llu events, %llu messages published, %llu delivered, %llu reported lost, %llu joins\n",
              static_cast<double>(arguments.seeds) / seconds, static_cast<unsigned long long>(total.events),
              static_cast<unsigned long long>(total.published), static_cast<unsigned long long>(total.delivered),
              static_cast<unsigned long long>(total.reported_lost), static_cast<unsigned long long>(total.joins));
  std::printf("%llu seeds, %llu failed\n", static_cast<unsigned long long>(arguments.seeds), static_cast<unsigned long long>(tally.failed));
  return tally.failed == 0 ? 0 : 1;
}
