// Runs seeds; `tools/simulate` builds and calls this. A failing seed is printed and replays alone:
//   simulate --first-seed K --seeds 1 --trace
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <string_view>

#include "world.h"

namespace {

struct Arguments {
  std::uint64_t seeds = 1'000;
  std::uint64_t first = 1;
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
    } else if ((word == "--seeds" || word == "--first-seed") && i + 1 < argc) {
      const std::uint64_t value = std::strtoull(argv[++i], &end, 10);
      (word == "--seeds" ? arguments.seeds : arguments.first) = value;
      arguments.ok = arguments.ok && *end == '\0';
    } else {
      arguments.ok = false;
    }
  }
  return arguments;
}

}  // namespace

int main(int argc, char** argv) {
  const Arguments arguments = parse(argc, argv);
  if (!arguments.ok) {
    std::fprintf(stderr, "usage: simulate [--seeds N] [--first-seed K] [--mls] [--trace]\n");
    return 2;
  }
  constexpr std::uint64_t kFailuresShown = 20;
  slipway::sim::Outcome total;
  std::uint64_t failed = 0;
  const auto begun = std::chrono::steady_clock::now();
  for (std::uint64_t i = 0; i < arguments.seeds; ++i) {
    const std::uint64_t seed = arguments.first + i;
    const auto outcome = slipway::sim::World(seed, arguments.trace, arguments.mls ? slipway::sim::Mls::kReal : slipway::sim::Mls::kFake).run();
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
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begun).count();
  std::printf("%.0f runs/s; %llu events, %llu messages published, %llu delivered, %llu reported lost, %llu joins\n",
              static_cast<double>(arguments.seeds) / seconds, static_cast<unsigned long long>(total.events),
              static_cast<unsigned long long>(total.published), static_cast<unsigned long long>(total.delivered),
              static_cast<unsigned long long>(total.reported_lost), static_cast<unsigned long long>(total.joins));
  std::printf("%llu seeds, %llu failed\n", static_cast<unsigned long long>(arguments.seeds), static_cast<unsigned long long>(failed));
  return failed == 0 ? 0 : 1;
}
