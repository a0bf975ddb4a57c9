// In steady state a worker allocates nothing: 10,000 frames of each kind and size, over Ethernet, streams and
// handoff, counted at malloc, at operator new (which calls it) and at DPDK's heap.
#include <gtest/gtest.h>

#include <rte_malloc.h>

#include "allocation_count.h"
#include "test_node.h"

namespace slipway::test {
namespace {

constexpr int kFrames = 10'000;

std::uint64_t dpdk_allocations() {
  rte_malloc_socket_stats stats{};
  rte_malloc_get_socket_stats(0, &stats);
  return stats.alloc_count;
}

// All workers once, with the counters on: what the test itself does is not counted.
void counted_steps(TestNode& node) {
  for (std::size_t w = 0; w < node.group().size(); ++w) {
    count_allocations(true);
    node.step(w);
    count_allocations(false);
  }
}

struct Kind {
  const char* name;
  FrameKind kind;
  std::uint32_t fanout;
  bool stream;       // from a stream, else from an Ethernet link
  std::size_t body_bytes;
};
void PrintTo(const Kind& kind, std::ostream* os) { *os << kind.name << " of " << kind.body_bytes; }

class Steady : public ::testing::TestWithParam<Kind> {};

TEST_P(Steady, NothingIsAllocated) {
  const Kind& kind = GetParam();
  if (!kCountsAllocations) {
    GTEST_SKIP() << "the sanitizer's allocator is not ours to count";
  }
  TestNode node({.workers = {{.rx_ports = {0, 1}, .tx_ports = {0, 1}}, {.sockets = true}},
                 .mbufs = 16'384,
                 .punts_per_second = 1'000'000'000});
  const auto ethernet = node.add_ethernet(0, 0);
  const auto stream = node.add_stream(1);
  const auto to_ethernet = node.add_ethernet(1, 0);
  const auto to_stream = node.add_stream(1);
  for (const auto link : {to_ethernet, to_stream}) {
    node.subscribe(link, test_name(1));
    node.subscribe(link, test_name(2, true));
  }
  node.settle();
  const auto from = kind.stream ? stream : ethernet;
  const Name to = test_name(kind.fanout == 1 ? 1 : 2, kind.fanout != 1);
  const Bytes frame = kind.kind == FrameKind::kPublish ? make_publish({.to = to, .fanout = kind.fanout, .body_bytes = kind.body_bytes})
                                                       : make_control(kind.kind, test_name(3), kind.body_bytes);
  const std::uint64_t packets = frame.size() / 1300 + 1;  // what a burst, and a socket, takes
  const auto run = [&](int frames) {
    for (int sent = 0; sent < frames;) {
      for (std::uint64_t in_burst = 0; in_burst < 16 && sent < frames; in_burst += packets, ++sent) {
        node.send(from, frame);
      }
      for (int i = 0; i < 4; ++i) {
        counted_steps(node);
      }
      node.take();
      node.events(0);
      node.events(1);
    }
    for (int i = 0; i < 50; ++i) {
      counted_steps(node);
      node.take();
    }
  };
  run(500);  // warm: pages, caches of the C library and the kernel's rings
  forget_allocations();
  const std::uint64_t dpdk_before = dpdk_allocations();
  const std::uint64_t before = node.total(&WorkerCounters::frames_in);
  run(kFrames);
  EXPECT_EQ(allocations_counted().all, 0u);
  EXPECT_EQ(dpdk_allocations(), dpdk_before);
  EXPECT_EQ(node.total(&WorkerCounters::frames_in) - before, std::uint64_t{kFrames});
  EXPECT_EQ(node.books(), "");
}

std::vector<Kind> kinds() {
  std::vector<Kind> all;
  for (const bool stream : {false, true}) {
    for (const std::size_t body : {0u, 64u, 512u, 513u, 1400u, 16'000u}) {
      all.push_back({"unicast", FrameKind::kPublish, 1, stream, body});
      all.push_back({"channel", FrameKind::kPublish, 256, stream, body});
    }
    for (const auto control : {FrameKind::kSubscribe, FrameKind::kUnsubscribe, FrameKind::kSubscriptionAck, FrameKind::kLink}) {
      all.push_back({"control", control, 1, stream, 200});
    }
  }
  return all;
}
INSTANTIATE_TEST_SUITE_P(Kinds, Steady, ::testing::ValuesIn(kinds()));

TEST(SteadyRefused, NothingIsAllocatedForWhatIsDropped) {
  if (!kCountsAllocations) {
    GTEST_SKIP() << "the sanitizer's allocator is not ours to count";
  }
  TestNode node({});
  const auto a = node.add_ethernet(0);
  node.subscribe(a, test_name(1));
  const auto held = node.add_ethernet(1);
  node.record(held).outer.length = 0;
  node.post_link(held);
  node.subscribe(held, test_name(2));
  node.settle();
  Bytes broken = make_publish({.to = test_name(9)});
  broken[0] = std::byte{9};
  for (int i = 0; i < kFrames / 5; ++i) {
    node.send(a, make_publish({.to = test_name(1)}));            // only_ingress
    node.send(a, make_publish({.to = test_name(9)}));            // no_route
    node.send(a, make_publish({.to = test_name(2)}));            // held, then too many
    node.send(a, make_publish({.to = test_name(1), .hops = 1})); // hop_limit
    node.send(a, broken);
    counted_steps(node);
    node.events();
  }
  EXPECT_EQ(allocations_counted().all, 0u);
  EXPECT_EQ(node.books(), "");
}

}  // namespace
}  // namespace slipway::test
