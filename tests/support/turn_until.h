#pragma once
// Turns a loop until something is so, or for far longer than anything takes.

#include <cstdint>

#include "loop/loop.h"

namespace slipway {

inline constexpr std::uint64_t kTestPatienceNs = 60'000'000'000;
inline constexpr std::uint64_t kTestTurnNs = 10'000'000;

template <class Done>
[[nodiscard]] bool turn_until(Loop& loop, Done done) {
  const auto limit = loop.refresh_now() + kTestPatienceNs;
  while (!done() && loop.refresh_now() < limit) {
    loop.turn(kTestTurnNs);
  }
  return done();
}

}  // namespace slipway
