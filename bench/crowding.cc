#include "crowding.h"

#include <sched.h>

#include <algorithm>
#include <array>
#include <cstdint>

#include "harness.h"

namespace slipway::bench {
namespace {

constexpr std::uint64_t kSteps = 20'000;
constexpr int kTries = 5;

[[gnu::noinline]] void independent_steps() {
  std::uint64_t a = 1, b = 2, c = 3, d = 4;
  for (std::uint64_t i = 0; i < kSteps; ++i) {
    a = a * 3 + 1;
    b = (b << 1) ^ i;
    c += i;
    d ^= c + i;
    asm volatile("" : "+r"(a), "+r"(b), "+r"(c), "+r"(d));
  }
}

[[gnu::noinline]] void dependent_steps() {
  std::uint64_t a = 1;
  for (std::uint64_t i = 0; i < kSteps; ++i) {
    a = a * 3 + 1;
    asm volatile("" : "+r"(a));
  }
}

template <class Steps>
std::uint64_t time_of(Steps&& steps) {
  const std::uint64_t start = wall_ns();
  steps();
  return wall_ns() - start;
}

// The median of the one: tries that were interrupted do not count.
double crowding_here() {
  std::array<std::uint64_t, kTries> independent;
  std::uint64_t dependent = ~std::uint64_t{0};
  for (std::uint64_t& time : independent) {
    time = time_of(independent_steps);
    dependent = std::min(dependent, time_of(dependent_steps));
  }
  std::ranges::sort(independent);
  return static_cast<double>(independent[kTries / 2]) / static_cast<double>(dependent);
}

}  // namespace

double processor_crowding() {
  cpu_set_t before;
  if (sched_getaffinity(0, sizeof before, &before) != 0) {
    return 0;
  }
  double most = 0;
  for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
    cpu_set_t one;
    CPU_ZERO(&one);
    CPU_SET(cpu, &one);
    if (CPU_ISSET(cpu, &before) && sched_setaffinity(0, sizeof one, &one) == 0) {
      most = std::max(most, crowding_here());
    }
  }
  sched_setaffinity(0, sizeof before, &before);
  return most;
}

}  // namespace slipway::bench
