#pragma once
// The one source of chance in a simulated run: SplitMix64. Small, fast, and the same everywhere.

#include <cstddef>
#include <cstdint>

#include "session/session_group.h"

namespace slipway::sim {

class Random final : public RandomSource {
 public:
  explicit Random(std::uint64_t seed) : state_(seed) {}

  std::uint64_t next64() {
    state_ += 0x9E3779B97F4A7C15u;
    std::uint64_t z = state_;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return z ^ (z >> 31);
  }
  std::uint32_t next() override { return static_cast<std::uint32_t>(next64() >> 32); }
  // In [0, end).
  std::uint64_t below(std::uint64_t end) { return end == 0 ? 0 : next64() % end; }
  // In [low, high].
  std::uint64_t between(std::uint64_t low, std::uint64_t high) { return low + below(high - low + 1); }
  bool chance(double probability) { return static_cast<double>(next64() >> 11) * 0x1p-53 < probability; }
  // A source of its own, so that its use changes nothing here.
  Random fork() { return Random(next64()); }

 private:
  std::uint64_t state_;
};

}  // namespace slipway::sim
