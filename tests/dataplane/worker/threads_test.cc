// What workers share, on real threads: the handoff ring, the mail rings, doorbells, and whole socket workers that
// sleep, wake each other and stop. Made for the thread sanitizer; passes without it too.
#include <gtest/gtest.h>

#include <poll.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <thread>

#include "base/mail.h"
#include "test_node.h"
#include "worker/handoff_ring.h"

namespace slipway::test {
namespace {

constexpr std::uint32_t kMany = 200'000;

TEST(Rings, HandoffKeepsOrderAndLosesNothing) {
  HandoffRing ring;
  std::vector<std::uint64_t> payload(kMany);
  std::thread producer([&] {
    for (std::uint32_t i = 0; i < kMany;) {
      payload[i] = i * 3;  // what an entry points to is visible with it
      if (ring.push(reinterpret_cast<rte_mbuf*>(&payload[i]), i)) {
        ++i;
      } else {
        std::this_thread::yield();
      }
      if (i % 7 == 0) {
        ring.publish();
      }
    }
    ring.publish();
  });
  std::uint32_t next = 0;
  std::array<HandoffEntry, 32> entries;
  while (next < kMany) {
    const std::uint32_t n = ring.pop(entries.data(), entries.size());
    for (std::uint32_t i = 0; i < n; ++i) {
      ASSERT_EQ(entries[i].link_id, next);
      ASSERT_EQ(*reinterpret_cast<std::uint64_t*>(entries[i].frame), std::uint64_t{next} * 3);
      ++next;
    }
    if (n == 0) {
      std::this_thread::yield();
    }
  }
  producer.join();
  EXPECT_TRUE(ring.empty());
  EXPECT_EQ(ring.size(), 0u);
}

// A sleeper that arms, looks again and sleeps, against a producer that works, then rings: no wake-up is lost.
TEST(Doorbells, NoWakeupIsLost) {
  auto bell = std::move(*Doorbell::create());
  std::atomic<std::uint32_t> work{0};
  constexpr std::uint32_t kRounds = 20'000;
  std::thread producer([&] {
    for (std::uint32_t i = 0; i < kRounds; ++i) {
      work.store(i + 1, std::memory_order_release);
      bell->ring();
      while (i % 16 == 0 && work.load(std::memory_order_acquire) != 0) {  // sometimes waits until it is taken
        std::this_thread::yield();
      }
    }
  });
  std::uint32_t seen = 0;
  while (seen < kRounds) {
    bell->arm();
    if (work.load(std::memory_order_acquire) == 0) {
      pollfd fd{.fd = bell->fd(), .events = POLLIN, .revents = 0};
      ASSERT_GT(poll(&fd, 1, 10'000), 0) << "slept through " << seen;
    }
    bell->disarm();
    seen = std::max(seen, work.exchange(0, std::memory_order_acq_rel));
  }
  producer.join();
}

// A sleeper that goes on between a waker's promise and its write finds the count later, and takes it: nothing is left behind
// that would end every sleep.
TEST(Doorbells, ASleepLastsWhenNobodyRings) {
  constexpr std::uint32_t kRounds = 1'000;
  auto bell = std::move(*Doorbell::create());
  std::atomic<std::uint32_t> begun{0};
  std::atomic<std::uint32_t> rung{0};
  std::thread producer([&] {
    for (std::uint32_t i = 1; i <= kRounds; ++i) {
      begun.wait(i - 1);
      bell->ring();
      rung.store(i);
      rung.notify_one();
    }
  });
  for (std::uint32_t i = 1; i <= kRounds; ++i) {
    bell->arm();
    begun.store(i);
    begun.notify_one();
    const std::uint64_t woken = bell->times_woken();
    for (std::uint32_t look = 0; look < i && bell->times_woken() == woken; ++look) {
    }
    bell->disarm();  // about when the producer rings
    rung.wait(i - 1);
    bell->arm();
    bell->disarm();
    bell->arm();
    pollfd fd{.fd = bell->fd(), .events = POLLIN, .revents = 0};
    EXPECT_EQ(poll(&fd, 1, 0), 0) << "in round " << i;
    bell->disarm();
  }
  producer.join();
}

void wait_until(const std::function<bool()>& done, const char* what) {
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(60);
  while (!done()) {
    ASSERT_LT(std::chrono::steady_clock::now(), deadline) << what;
    std::this_thread::sleep_for(std::chrono::microseconds(100));
  }
}

TEST(Running, WorkersForwardToEachOtherSleepAndStop) {
  TestNode node({.workers = {{.sockets = true}, {.sockets = true}}, .ports = 0, .mbufs = 16'384});
  std::vector<LinkIndex> links;
  for (std::uint16_t i = 0; i < 6; ++i) {
    links.push_back(node.add_stream(i % 2));
  }
  ASSERT_TRUE(node.group().start().has_value());
  node.subscribe(links[0], test_name(1));
  node.subscribe(links[1], test_name(1));
  for (const auto link : links) {
    node.subscribe(link, test_name(2));
  }
  node.wake_all();
  wait_until([&] { return node.all_applied(); }, "commands are applied");
  constexpr std::uint32_t kFrames = 3000;
  std::size_t got = 0;
  std::size_t want = 0;
  for (std::uint32_t i = 1; i <= kFrames; ++i) {
    const bool channel = i % 4 == 0;
    node.send(links[2 + i % 4], make_publish({.to = test_name(channel ? 2 : 1), .fanout = channel ? 256u : 1u, .message = i, .body_bytes = i % 900}));
    want += channel ? links.size() - 1 : 1;
    if (i % 8 == 0) {
      got += node.take().size();
    }
    if (i % 500 == 0) {  // long enough for both to fall asleep
      wait_until([&] { return (got += node.take().size()) == want; }, "frames arrive");
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
    if (i % 700 == 0) {  // routes change while frames flow
      node.subscribe(links[0], test_name(100 + i));
      node.wake_all();
    }
  }
  wait_until([&] { return (got += node.take().size()) == want; }, "frames arrive");
  EXPECT_TRUE(node.group().wait_for_new_loops(10'000));
  EXPECT_GT(node.total(&WorkerCounters::wakeups), 0u);
  EXPECT_GT(node.total(&WorkerCounters::sleep_cycles), 0u);
  node.group().stop();
  EXPECT_EQ(node.books(), "");
  EXPECT_EQ(node.total(&WorkerCounters::sent), want);
}

TEST(Running, PollWorkersNapAndWakeForCommands) {
  for (const auto idle : {IdlePolicy::kSpin, IdlePolicy::kPause, IdlePolicy::kInterrupt}) {
    TestNode node({.workers = {{.rx_ports = {0}, .tx_ports = {0, 1}, .idle = idle}, {.rx_ports = {1}, .tx_ports = {1}, .idle = idle}}});
    const auto a = node.add_ethernet(0, 0);
    const auto b = node.add_ethernet(1, 1);
    node.subscribe(b, test_name(1));
    ASSERT_TRUE(node.group().start().has_value());
    wait_until([&] { return node.all_applied(); }, "commands are applied");
    std::size_t got = 0;
    for (std::size_t i = 1; i <= 200; ++i) {
      node.send(a, make_publish({.to = test_name(1)}));
      wait_until([&] { return (got += node.take().size()) == i; }, "a frame arrives");
      if (i % 50 == 0) {
        std::this_thread::sleep_for(std::chrono::milliseconds(20));
      }
    }
    node.group().stop();
    EXPECT_EQ(node.books(), "");
    EXPECT_EQ(node.total(&WorkerCounters::sleep_cycles) != 0, idle != IdlePolicy::kSpin);
    EXPECT_GT(node.total(&WorkerCounters::idle_cycles), 0u);
    EXPECT_GT(node.total(&WorkerCounters::busy_cycles), 0u);
    EXPECT_GT(node.total(&WorkerCounters::longest_loop_cycles), 0u);
  }
}

TEST(Running, StartSaysWhyAWorkerCannotBePinned) {
  TestNode node({.workers = {{.rx_ports = {0}, .tx_ports = {0}, .cpu = 1023}}, .ports = 1});
  const auto started = node.group().start();
  ASSERT_FALSE(started.has_value());
  EXPECT_NE(started.error().find("CPU 1023"), std::string::npos) << started.error();
  EXPECT_FALSE(node.worker().running());
}

}  // namespace
}  // namespace slipway::test
