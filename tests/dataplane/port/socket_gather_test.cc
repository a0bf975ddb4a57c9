// How a worker rests: gathering in a steady stream, awake where answers come soon, asleep when there is little to do.

#include "port/socket_gather.h"

#include <gtest/gtest.h>

namespace slipway {
namespace {

// What comes of how the worker rests: frames every `apart_ns` whoever gathers, or, of somebody who waits for an answer, one
// `apart_ns` after the worker has dealt with the one before. Spins find what they look for when `answers` says so.
struct Stream {
  RestPolicy policy;
  std::uint64_t now_ns = 1'000'000'000;
  std::uint64_t frames = 0;
  int gathered = 0;
  int spun = 0;

  void run(int rests, std::uint64_t apart_ns, bool waits, bool answers = true) {
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
      const std::uint64_t took_ns = gathers ? policy.gather_ns() + apart_ns : apart_ns;
      now_ns += took_ns;
      frames += waits ? 1 : took_ns / apart_ns;
    }
  }
  void rest_in_silence(int rests, std::uint64_t apart_ns) {
    for (int i = 0; i < rests; ++i) {
      now_ns += policy.begin(now_ns, frames) == Rest::kGather ? policy.gather_ns() : apart_ns;
    }
  }
};

TEST(RestPolicy, ASteadyStreamIsGathered) {
  Stream stream;
  stream.run(1'000, 50'000, false);
  EXPECT_GE(stream.gathered, 900);
  EXPECT_EQ(stream.spun, 0);
}

TEST(RestPolicy, AStreamOfManyIsGatheredForLonger) {
  Stream many;
  many.run(200, 50'000, false);
  EXPECT_EQ(many.policy.gather_ns(), RestPolicy::kLongGatherNs);
  Stream few;
  few.run(200, 100'000, false);
  EXPECT_GE(few.gathered, 160);
  EXPECT_EQ(few.policy.gather_ns(), RestPolicy::kGatherNs);
}

// A gathering that took far too long, with what came meanwhile, and then all that the sender makes up for at once.
TEST(RestPolicy, SomebodyElseOnTheProcessorDoesNotEndTheGathering) {
  RestPolicy policy;
  std::uint64_t now_ns = 1'000'000'000;
  std::uint64_t frames = 0;
  int gathered = 0;
  for (int i = 0; i < 1'000; ++i) {
    const bool gathers = policy.begin(now_ns, frames) == Rest::kGather;
    gathered += gathers ? 1 : 0;
    const int turn = gathered > 20 ? gathered % 20 : 10;
    const std::uint64_t took_ns = !gathers ? 50'000 : turn == 0 ? 10'000'000 : policy.gather_ns() + 50'000;
    now_ns += took_ns;
    frames += turn == 0 ? 3 : turn == 1 ? 150 : took_ns / 50'000;
  }
  EXPECT_GE(gathered, 900);
}

TEST(RestPolicy, WhoWaitsForAnswersOnABusyMachineIsSeldomHeldUp) {
  RestPolicy policy;
  std::uint64_t now_ns = 1'000'000'000;
  std::uint64_t frames = 0;
  int gathered = 0;
  for (int i = 0; i < 10'000; ++i) {
    const Rest rest = policy.begin(now_ns, frames);
    gathered += rest == Rest::kGather ? 1 : 0;
    if (rest == Rest::kSpin) {
      policy.spun(true);
    }
    now_ns += rest == Rest::kGather ? 5'000'000 : 50'000;
    frames += 1;
  }
  EXPECT_LE(gathered, 40);
}

TEST(RestPolicy, AStreamThatFellSilentIsGatheredAtOnceWhenItGoesOn) {
  Stream stream;
  for (int turn = 0; turn < 20; ++turn) {
    stream.run(200, 50'000, false);
    EXPECT_GE(stream.gathered, 160) << turn;
    stream.rest_in_silence(20, 10'000'000);
  }
}

TEST(RestPolicy, AStreamThatSlowsDownIsGatheredAgainSoon) {
  Stream stream;
  stream.run(200, 20'000, false);
  stream.run(1'000, 130'000, false);
  EXPECT_GE(stream.gathered, 750);
}

TEST(RestPolicy, WhoWaitsForAnswersIsSeldomHeldUpAndFindsTheWorkerAwake) {
  Stream stream;
  stream.run(10'000, 50'000, true);
  EXPECT_LE(stream.gathered, 10);
  EXPECT_GE(stream.spun, 9'000);
}

TEST(RestPolicy, SeveralWhoWaitForAnswersAreSeldomHeldUp) {
  RestPolicy policy;
  std::uint64_t now_ns = 1'000'000'000;
  std::uint64_t frames = 0;
  int gathered = 0;
  for (int i = 0; i < 10'000; ++i) {
    const Rest rest = policy.begin(now_ns, frames);
    gathered += rest == Rest::kGather ? 1 : 0;
    if (rest == Rest::kSpin) {
      policy.spun(true);
    }
    now_ns += rest == Rest::kGather ? policy.gather_ns() + 40'000 : 40'000;
    frames += rest == Rest::kGather ? 4 : 1;  // four conversations
  }
  EXPECT_LE(gathered, 10);
}

TEST(RestPolicy, SpinsThatFindNothingEnd) {
  Stream stream;
  stream.run(10'000, 150'000, true, false);
  EXPECT_LE(stream.spun, 10);
}

TEST(RestPolicy, RestsThatAreFarApartAreLeftAlone) {
  Stream stream;
  stream.run(1'000, 500'000, false);
  EXPECT_EQ(stream.gathered + stream.spun, 0);
}

TEST(RestPolicy, AStreamThatBecomesAConversationIsLeftAlone) {
  Stream stream;
  stream.run(1'000, 50'000, false);
  stream.run(4'000, 50'000, true);
  EXPECT_LE(stream.gathered, 8);
}

}  // namespace
}  // namespace slipway
