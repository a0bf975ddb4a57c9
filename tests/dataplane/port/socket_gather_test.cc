// How a worker rests: gathering in a steady stream, awake where answers come soon, asleep when there is little to do.

#include "port/socket_gather.h"

#include <gtest/gtest.h>

namespace slipway {
namespace {

// Rests so many times, `apart_ns` apart, or kGatherNs longer when it gathers; `per_sleep` frames come during an ordinary rest,
// `per_gathered` during one that gathers. Spins find what they look for when `answers` says so.
struct Stream {
  RestPolicy policy;
  std::uint64_t now_ns = 1'000'000'000;
  std::uint64_t frames = 0;
  int gathered = 0;
  int spun = 0;

  void run(int rests, std::uint64_t apart_ns, std::uint64_t per_sleep, std::uint64_t per_gathered, bool answers = true) {
    gathered = 0;
    spun = 0;
    for (int i = 0; i < rests; ++i) {
      const Rest rest = policy.begin(now_ns, frames);
      const bool gathers = rest == Rest::kGather;
      gathered += gathers ? 1 : 0;
      if (rest == Rest::kSpin) {
        ++spun;
        policy.spun(answers);
      }
      now_ns += gathers ? RestPolicy::kGatherNs + apart_ns : apart_ns;
      frames += gathers ? per_gathered : per_sleep;
    }
  }
};

TEST(RestPolicy, ASteadyStreamIsGathered) {
  Stream stream;
  stream.run(1'000, 50'000, 1, 3);
  EXPECT_GE(stream.gathered, 900);
  EXPECT_EQ(stream.spun, 0);
}

TEST(RestPolicy, WhoWaitsForAnswersIsSeldomHeldUpAndFindsTheWorkerAwake) {
  Stream stream;
  stream.run(10'000, 50'000, 1, 1);
  EXPECT_LE(stream.gathered, 10);
  EXPECT_GE(stream.spun, 9'000);
}

TEST(RestPolicy, SpinsThatFindNothingEnd) {
  Stream stream;
  stream.run(10'000, 150'000, 1, 1, false);
  EXPECT_LE(stream.spun, 10);
}

TEST(RestPolicy, RestsThatAreFarApartAreLeftAlone) {
  Stream stream;
  stream.run(1'000, 500'000, 1, 2);
  EXPECT_EQ(stream.gathered + stream.spun, 0);
}

TEST(RestPolicy, AStreamThatBecomesAConversationIsLeftAlone) {
  Stream stream;
  stream.run(1'000, 50'000, 1, 3);
  stream.run(4'000, 50'000, 1, 1);
  EXPECT_LE(stream.gathered, 3);
}

}  // namespace
}  // namespace slipway
