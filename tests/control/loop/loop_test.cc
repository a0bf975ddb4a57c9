// The event loop: order, cancellation from inside callbacks, time that the test passes in, wake-ups from threads.

#include "loop/loop.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <thread>

namespace slipway {
namespace {

struct Pair {
  std::array<int, 2> fd{-1, -1};
  Pair() { EXPECT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fd.data()), 0); }
  ~Pair() {
    close_one(0);
    close_one(1);
  }
  void close_one(int i) {
    if (fd[static_cast<std::size_t>(i)] >= 0) {
      close(std::exchange(fd[static_cast<std::size_t>(i)], -1));
    }
  }
  void say(int i, char c = 'x') { EXPECT_EQ(write(fd[static_cast<std::size_t>(i)], &c, 1), 1); }
};

class LoopTest : public testing::Test {
 protected:
  LoopTest() {
    auto made = Loop::create([this] { return time_ns; });
    EXPECT_TRUE(made);
    loop = std::move(*made);
  }
  std::uint64_t time_ns = 1'000;
  std::unique_ptr<Loop> loop;
};

TEST_F(LoopTest, TimersRunInOrderOfTheirTime) {
  std::string order;
  loop->after(300, [&] { order += 'c'; });
  loop->after(100, [&] { order += 'a'; });
  loop->after(100, [&] { order += 'b'; });
  loop->turn(0);
  EXPECT_EQ(order, "");
  time_ns += 99;
  loop->turn(0);
  EXPECT_EQ(order, "");
  time_ns += 1;
  loop->turn(0);
  EXPECT_EQ(order, "ab");
  time_ns += 1'000;
  loop->turn(0);
  EXPECT_EQ(order, "abc");
}

TEST_F(LoopTest, AZeroTimerStartedByATimerRunsInTheNextTurn) {
  int runs = 0;
  loop->after(0, [&] {
    ++runs;
    loop->after(0, [&] { ++runs; });
  });
  loop->turn(0);
  EXPECT_EQ(runs, 1);
  loop->turn(0);
  EXPECT_EQ(runs, 2);
}

TEST_F(LoopTest, APeriodicTimerThatWasLateRunsOnce) {
  int runs = 0;
  const auto timer = loop->every(10, [&] { ++runs; });
  time_ns += 95;
  loop->turn(0);
  loop->turn(0);
  EXPECT_EQ(runs, 1);
  time_ns += 10;
  loop->turn(0);
  EXPECT_EQ(runs, 2);
  loop->cancel(timer);
  time_ns += 100;
  loop->turn(0);
  EXPECT_EQ(runs, 2);
}

TEST_F(LoopTest, TimersCancelThemselvesAndEachOther) {
  int runs = 0;
  TimerId self{};
  self = loop->every(10, [&] {
    ++runs;
    loop->cancel(self);
  });
  TimerId other{};
  loop->after(5, [&] { loop->cancel(other); });
  other = loop->after(6, [&] { runs += 100; });
  time_ns += 50;
  loop->turn(0);
  time_ns += 50;
  loop->turn(0);
  EXPECT_EQ(runs, 1);
}

TEST_F(LoopTest, ManyCancelledTimersAreSwept) {
  int runs = 0;
  for (int i = 0; i < 100'000; ++i) {
    loop->cancel(loop->after(1'000'000, [&] { ++runs; }));
  }
  loop->after(10, [&] { ++runs; });
  time_ns += 10;
  loop->turn(0);
  EXPECT_EQ(runs, 1);
}

TEST_F(LoopTest, DescriptorsReportReadingWritingAndTrouble) {
  Pair pair;
  std::uint32_t seen = 0;
  ASSERT_TRUE(loop->watch(pair.fd[0], fd_event::kReadable, [&](std::uint32_t events) { seen = events; }));
  EXPECT_FALSE(loop->watch(pair.fd[0], fd_event::kReadable, [](std::uint32_t) {}));
  loop->turn(0);
  EXPECT_EQ(seen, 0u);
  pair.say(1);
  loop->turn(0);
  EXPECT_EQ(seen, fd_event::kReadable);
  loop->set_events(pair.fd[0], fd_event::kWritable);
  loop->turn(0);
  EXPECT_EQ(seen, fd_event::kWritable);
  loop->set_events(pair.fd[0], 0);
  seen = 0;
  loop->turn(0);
  EXPECT_EQ(seen, 0u);
  pair.close_one(1);
  loop->turn(0);
  EXPECT_NE(seen & fd_event::kTrouble, 0u);
  loop->unwatch(pair.fd[0]);
  EXPECT_FALSE(loop->watched(pair.fd[0]));
}

TEST_F(LoopTest, AnUnwatchedDescriptorIsNotCalledInTheSameTurn) {
  Pair a, b;
  int calls = 0;
  const auto watch_both = [&](int self, int other) {
    ASSERT_TRUE(loop->watch(self, fd_event::kReadable, [&, self, other](std::uint32_t) {
      ++calls;
      loop->unwatch(self);
      loop->unwatch(other);
    }));
  };
  watch_both(a.fd[0], b.fd[0]);
  watch_both(b.fd[0], a.fd[0]);
  a.say(1);
  b.say(1);
  loop->turn(0);
  loop->turn(0);
  EXPECT_EQ(calls, 1);
}

TEST_F(LoopTest, ADescriptorNumberUsedAgainIsAnotherWatch) {
  Pair a;
  int old_calls = 0;
  int new_calls = 0;
  ASSERT_TRUE(loop->watch(a.fd[0], fd_event::kReadable, [&](std::uint32_t) { ++old_calls; }));
  Pair b;
  ASSERT_TRUE(loop->watch(b.fd[0], fd_event::kReadable, [&](std::uint32_t) {
    // Whichever of the two is called first replaces the other under its own number.
    loop->unwatch(a.fd[0]);
    ASSERT_TRUE(loop->watch(a.fd[0], 0, [&](std::uint32_t) { ++new_calls; }));
  }));
  b.say(1);
  loop->turn(0);
  EXPECT_EQ(old_calls, 0);
  EXPECT_EQ(new_calls, 0);
}

TEST_F(LoopTest, DeferredCallsRunAtTheEndAndTheirOwnInTheNextTurn) {
  std::string order;
  loop->after(0, [&] {
    loop->defer([&] {
      order += 'd';
      loop->defer([&] { order += 'e'; });
    });
    order += 't';
  });
  loop->turn(0);
  EXPECT_EQ(order, "td");
  loop->turn(Loop::kForever);  // must not sleep: something is deferred
  EXPECT_EQ(order, "tde");
}

TEST_F(LoopTest, DeferredToTheNextTurnRunsAtItsEnd) {
  std::string order;
  loop->defer_to_next_turn([&] { order += 'd'; });
  loop->turn(0);
  EXPECT_EQ(order, "");
  loop->after(0, [&] { order += 't'; });
  loop->turn(Loop::kForever);  // must not sleep
  EXPECT_EQ(order, "td");
}

TEST(LoopThreads, PostWakesAndKeepsOrder) {
  auto loop = std::move(*Loop::create());
  constexpr int kPosts = 20'000;
  std::vector<int> got;
  std::thread poster([&] {
    for (int i = 0; i < kPosts; ++i) {
      while (!loop->post([&got, i] { got.push_back(i); })) {
        std::this_thread::yield();
      }
    }
    while (!loop->post([&] { loop->stop(); })) {
      std::this_thread::yield();
    }
  });
  loop->run();
  poster.join();
  ASSERT_EQ(got.size(), static_cast<std::size_t>(kPosts));
  EXPECT_TRUE(std::is_sorted(got.begin(), got.end()));
}

TEST(LoopThreads, WakeEndsASleepWithoutLosingAny) {
  auto loop = std::move(*Loop::create());
  std::atomic<int> asked{0};
  int wakes = 0;
  loop->on_wake([&] {
    ++wakes;
    if (asked.load() == 1000) {
      loop->stop();
    }
  });
  std::thread waker([&] {
    for (int i = 0; i < 1000; ++i) {
      asked.fetch_add(1);
      loop->wake();
    }
  });
  loop->run();  // ends only if the last wake was seen
  waker.join();
  EXPECT_GE(wakes, 1);
}

TEST(LoopThreads, TheRealClockRunsTimers) {
  auto loop = std::move(*Loop::create());
  bool ran = false;
  const auto start = loop->now_ns();
  loop->after(2'000'000, [&] {
    ran = true;
    loop->stop();
  });
  loop->run();
  EXPECT_TRUE(ran);
  EXPECT_GE(loop->now_ns() - start, 2'000'000u);
}

TEST(LoopBounds, PostedCallsAreBounded) {
  auto loop = std::move(*Loop::create());
  std::size_t ran = 0;
  for (std::size_t i = 0; i < Loop::kMaxPosted; ++i) {
    ASSERT_TRUE(loop->post([&] { ++ran; }));
  }
  EXPECT_FALSE(loop->post([&] { ++ran; }));
  loop->turn(0);
  EXPECT_EQ(ran, Loop::kMaxPosted);
  EXPECT_TRUE(loop->post([&] { ++ran; }));
}

}  // namespace
}  // namespace slipway
