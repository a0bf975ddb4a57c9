// Two engines on two threads: frames received by one are sent and freed by the other, pieces find their way home,
// and a receiver of one pauses a sender of the other. What is shared is what the engines share in a node.

#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <thread>

#include "port/mbuf.h"
#include "socket_rig.h"

namespace slipway::test {
namespace {

// One writer, one reader; as simple as can be.
class Handoff {
 public:
  bool push(rte_mbuf* frame) {
    const std::uint32_t end = end_.load(std::memory_order_relaxed);
    if (end - begin_.load(std::memory_order_acquire) == ring_.size()) {
      return false;
    }
    ring_[end % ring_.size()] = frame;
    end_.store(end + 1, std::memory_order_release);
    return true;
  }
  rte_mbuf* pop() {
    const std::uint32_t begin = begin_.load(std::memory_order_relaxed);
    if (begin == end_.load(std::memory_order_acquire)) {
      return nullptr;
    }
    rte_mbuf* frame = ring_[begin % ring_.size()];
    begin_.store(begin + 1, std::memory_order_release);
    return frame;
  }

 private:
  std::array<rte_mbuf*, 4096> ring_{};
  std::atomic<std::uint32_t> begin_{0};
  std::atomic<std::uint32_t> end_{0};
};

struct Ends {
  LinkIndex sender;    // the links' far ends are with the traffic threads
  LinkIndex receiver;
  int sender_fd;
  int receiver_fd;
};

// A worker's loop in small: what its stream receives goes to the other worker, what comes from there to its receiver.
void loop(Rig& rig, Handoff& out, Handoff& in, const Ends& ends, LinkIndex far_receiver, const std::atomic<bool>& stop) {
  std::vector<rte_mbuf*> waiting;
  std::array<rte_mbuf*, 32> burst;
  ASSERT_TRUE(rig.engine->start().has_value());
  rig.next_link = ends.sender;
  rig.add_stream(ends.sender_fd);
  rig.next_link = ends.receiver;
  rig.add_stream(ends.receiver_fd, 256 << 10);
  while (!stop.load(std::memory_order_relaxed) || !waiting.empty()) {
    rig.now_ns += 1;  // far slower than real time: nobody is stalled because a thread did not run
    while (rte_mbuf* frame = in.pop()) {
      ++rig.copies;
      rig.engine->send(rig.records.at(ends.receiver), frame);
    }
    if (waiting.empty()) {
      const std::uint32_t count = rig.engine->poll(rig.now_ns, burst);
      waiting.assign(burst.begin(), burst.begin() + count);
      if (count > 0 && rig.congestion->congested(far_receiver)) {
        rig.engine->pause(ends.sender, far_receiver);
      }
    }
    std::size_t handed = 0;
    while (handed < waiting.size() && out.push(waiting[handed])) {
      ++handed;
    }
    waiting.erase(waiting.begin(), waiting.begin() + static_cast<std::ptrdiff_t>(handed));
    rig.engine->flush();
    if (stop.load(std::memory_order_relaxed)) {
      for (rte_mbuf* frame : waiting) {
        rte_pktmbuf_free(frame);
      }
      waiting.clear();
    }
  }
  while (rte_mbuf* frame = in.pop()) {
    rte_pktmbuf_free(frame);
  }
  EXPECT_TRUE(rig.engine->close_all());
  rig.closed = true;
}

// Sends and receives on the far ends, counting frames in order.
void traffic(Peer& sender, Peer& receiver, std::uint32_t count, std::uint32_t bytes, std::atomic<int>& done) {
  std::uint32_t next = 0;
  std::uint32_t seen = 0;
  Bytes rest;
  while (seen < count) {
    if (rest.empty() && next < count) {
      rest = prefixed(make_frame_bytes(bytes, next++));
    }
    const std::size_t n = sender.write_some(rest);
    rest.erase(rest.begin(), rest.begin() + static_cast<std::ptrdiff_t>(n));
    receiver.read_some(50'000);
    for (const Bytes& frame : receiver.frames) {
      ASSERT_EQ(number_of(frame), seen++);
    }
    receiver.frames.clear();
    if (n == 0) {
      std::this_thread::yield();
    }
  }
  ++done;
}

TEST(SocketThreads, FramesArePassedAndFreedAcrossThreads) {
  NodeBudget budget;
  auto congestion = std::make_unique<CongestionTable>();
  Rig a({.budget = &budget, .congestion = congestion.get(), .start = false});
  Rig b({.budget = &budget, .congestion = congestion.get(), .start = false});
  const auto [in_a, sends_a] = make_pair_of(PairKind::kTcp);
  const auto [out_a, takes_a] = make_pair_of(PairKind::kTcp);
  const auto [in_b, sends_b] = make_pair_of(PairKind::kTcp);
  const auto [out_b, takes_b] = make_pair_of(PairKind::kUnix);
  const Ends ends_a{.sender = 1, .receiver = 2, .sender_fd = in_a, .receiver_fd = out_a};
  const Ends ends_b{.sender = 101, .receiver = 102, .sender_fd = in_b, .receiver_fd = out_b};
  Peer sender_a(sends_a);
  Peer receiver_a(takes_a);
  Peer sender_b(sends_b);
  Peer receiver_b(takes_b);
  Handoff to_b;
  Handoff to_a;
  std::atomic<bool> stop{false};
  std::atomic<int> done{0};
  std::thread worker_a([&] { loop(a, to_b, to_a, ends_a, ends_b.receiver, stop); });
  std::thread worker_b([&] { loop(b, to_a, to_b, ends_b, ends_a.receiver, stop); });
  std::thread far_a([&] { traffic(sender_a, receiver_b, 4'000, 1'500, done); });
  std::thread far_b([&] { traffic(sender_b, receiver_a, 4'000, 700, done); });
  far_a.join();
  far_b.join();
  stop = true;
  worker_a.join();
  worker_b.join();
  EXPECT_EQ(done.load(), 2);
}

}  // namespace
}  // namespace slipway::test
