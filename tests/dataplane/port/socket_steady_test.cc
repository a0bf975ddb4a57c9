// In steady state the engine allocates nothing: 10,000 frames of each kind and size, counted.

#include <gtest/gtest.h>

#include <rte_malloc.h>
#include <rte_mbuf.h>

#include "allocation_count.h"
#include "socket_rig.h"

namespace slipway::test {
namespace {

std::uint64_t dpdk_allocations() {
  rte_malloc_socket_stats stats{};
  rte_malloc_get_socket_stats(0, &stats);
  return stats.alloc_count;
}

// One loop with the counter on; what the test itself does is not counted.
void counted_step(Rig& rig) {
  count_allocations(true);
  rig.step();
  count_allocations(false);
}

void run_counted(Rig& rig, const std::function<bool()>& done) {
  for (int i = 0; i < 200'000 && !done(); ++i) {
    counted_step(rig);
  }
}

class Steady : public testing::TestWithParam<std::uint32_t> {};

TEST_P(Steady, StreamsAllocateNothing) {
  if (!kCountsAllocations) {
    GTEST_SKIP() << "a sanitizer owns malloc";
  }
  Rig rig({.mbufs = 16384});
  LinkIndex in = 0;
  auto sender = rig.add_peer(in);
  std::vector<std::unique_ptr<Peer>> receivers;
  for (int i = 0; i < 4; ++i) {
    LinkIndex out = 0;
    receivers.push_back(rig.add_peer(out, i % 2 == 0 ? PairKind::kTcp : PairKind::kUnix));
    rig.routes[in].push_back(out);
  }
  const Bytes wire = prefixed(make_frame_bytes(GetParam(), 1));
  Bytes rest;
  std::uint32_t written = 0;
  constexpr std::uint32_t kCount = 10'000;
  const std::uint64_t dpdk_before = dpdk_allocations();
  const auto pump = [&](std::uint32_t end) {
    run_counted(rig, [&] {
      while (written < end || !rest.empty()) {
        if (rest.empty()) {
          rest = wire;
          ++written;
        }
        const std::size_t n = sender->write_some(rest);
        rest.erase(rest.begin(), rest.begin() + static_cast<std::ptrdiff_t>(n));
        if (!rest.empty()) {
          break;
        }
      }
      for (auto& receiver : receivers) {
        receiver->read_some();
        receiver->frames.clear();
      }
      return rig.counters->sent.get() == 4ull * end;
    });
  };
  pump(200);  // first touches
  forget_allocations();
  pump(kCount);
  EXPECT_EQ(allocations_counted().all, 0u);
  EXPECT_EQ(dpdk_allocations(), dpdk_before);
  EXPECT_EQ(rig.counters->sent.get(), 4u * kCount);
}

INSTANTIATE_TEST_SUITE_P(Sizes, Steady, testing::Values(104u, 168u, 1'200u, 10'000u, 70'000u));

TEST(Steady, DatagramsAllocateNothing) {
  if (!kCountsAllocations) {
    GTEST_SKIP() << "a sanitizer owns malloc";
  }
  for (const std::uint32_t bytes : {200u, 1'300u, 9'000u}) {
    Rig rig;
    IpEndpoint at_in;
    IpEndpoint at_out;
    const std::uint16_t in_port = rig.add_port(udp_socket(false, at_in));
    const std::uint16_t out_port = rig.add_port(udp_socket(false, at_out));
    const LinkIndex in = rig.add_datagram_link(in_port, at_out);
    const LinkIndex out = rig.add_datagram_link(out_port, at_in);
    rig.record(out).peer_link_id = rig.record(in).id();
    rig.engine->set_link(rig.record(out));
    std::uint64_t arrived = 0;
    rig.on_frame = [&](rte_mbuf* frame) {
      rte_pktmbuf_free(frame);
      ++arrived;
      return true;
    };
    const Bytes frame = make_frame_bytes(bytes, 1);
    const auto pump = [&](std::uint64_t end) {
      while (arrived < end) {
        for (int i = 0; i < 20; ++i) {
          rig.send(out, frame);
        }
        const std::uint64_t target = arrived + 20;
        run_counted(rig, [&] { return arrived == target; });
        ASSERT_EQ(arrived, target);
      }
    };
    pump(200);
    forget_allocations();
    pump(10'000);
    EXPECT_EQ(allocations_counted().all, 0u);
  }
}

}  // namespace
}  // namespace slipway::test
