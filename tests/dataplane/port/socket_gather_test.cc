// When a worker's sleep gathers: in a steady stream, not for who waits for answers, and not when there is little to do.

#include "port/socket_gather.h"

#include <gtest/gtest.h>

namespace slipway {
namespace {

// Sleeps `sleeps` times, `apart_ns` apart, or gathered ones kGatherNs longer; `per_sleep` frames come during an ordinary
// one, `per_gathered` during one that gathers. Returns how many gathered.
struct Stream {
  WakeGatherer gatherer;
  std::uint64_t now_ns = 1'000'000'000;
  std::uint64_t frames = 0;

  int run(int sleeps, std::uint64_t apart_ns, std::uint64_t per_sleep, std::uint64_t per_gathered) {
    int gathered = 0;
    for (int i = 0; i < sleeps; ++i) {
      const bool gathers = gatherer.begin(now_ns, frames);
      gathered += gathers ? 1 : 0;
      now_ns += gathers ? WakeGatherer::kGatherNs + apart_ns : apart_ns;
      frames += gathers ? per_gathered : per_sleep;
    }
    return gathered;
  }
};

TEST(WakeGatherer, ASteadyStreamIsGathered) {
  Stream stream;
  EXPECT_GE(stream.run(1'000, 50'000, 1, 3), 900);
}

TEST(WakeGatherer, WhoWaitsForAnswersIsSeldomHeldUp) {
  Stream stream;
  EXPECT_LE(stream.run(10'000, 50'000, 1, 1), 10);
}

TEST(WakeGatherer, SleepsThatAreFarApartAreLeftAlone) {
  Stream stream;
  EXPECT_EQ(stream.run(1'000, 500'000, 1, 2), 0);
}

TEST(WakeGatherer, AStreamThatBecomesAConversationIsLeftAlone) {
  Stream stream;
  stream.run(1'000, 50'000, 1, 3);
  EXPECT_LE(stream.run(4'000, 50'000, 1, 1), 3);
}

}  // namespace
}  // namespace slipway
