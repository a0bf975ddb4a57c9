#pragma once
// A pool that must be full again at the end of each test, and bytes to mbufs and back.

#include <gtest/gtest.h>
#include <rte_mbuf.h>

#include "packets.h"
#include "port/mbuf.h"
#include "port/pool.h"

namespace slipway::test {

class MbufTest : public ::testing::Test {
 protected:
  static constexpr std::uint32_t kMbufs = 4095;

  static void SetUpTestSuite() {
    auto made = create_pool("test-" + std::to_string(++suites_), kMbufs);
    ASSERT_TRUE(made.has_value()) << made.error();
    pool_ = std::move(*made);
  }
  static void TearDownTestSuite() { pool_.reset(); }
  void TearDown() override { EXPECT_EQ(rte_mempool_avail_count(pool_.get()), kMbufs) << "an mbuf was lost or freed twice"; }

  // One mbuf, or a chain of segments of `segment_bytes`.
  static rte_mbuf* to_mbuf(std::span<const std::byte> bytes, std::size_t segment_bytes = kMbufDataBytes) {
    rte_mbuf* first = nullptr;
    rte_mbuf* last = nullptr;
    for (std::size_t at = 0; at < bytes.size() || first == nullptr;) {
      rte_mbuf* mbuf = rte_pktmbuf_alloc(pool_.get());
      const std::size_t part = std::min(segment_bytes, bytes.size() - at);
      std::memcpy(data_of(mbuf), bytes.data() + at, part);
      mbuf->data_len = static_cast<std::uint16_t>(part);
      mbuf->pkt_len = static_cast<std::uint32_t>(part);
      at += part;
      if (first == nullptr) {
        first = mbuf;
      } else {
        last->next = mbuf;
        ++first->nb_segs;
        first->pkt_len += static_cast<std::uint32_t>(part);
      }
      last = mbuf;
    }
    return first;
  }
  static Bytes to_bytes(const rte_mbuf* mbuf) {
    Bytes bytes(mbuf->pkt_len);
    if (!bytes.empty()) {
      copy_chain(mbuf, 0, mbuf->pkt_len, bytes.data());
    }
    return bytes;
  }
  // A frame: header of a publish, and a body that tells its place.
  static Bytes frame_bytes(std::size_t bytes, std::uint32_t seed = 1) {
    Bytes frame(bytes);
    FrameHeader header;
    header.session_id = seed;
    header.destination.component = {1, 2, 3 + seed};
    store_header(frame.data(), header);
    for (std::size_t i = kFrameHeaderBytes; i < bytes; ++i) {
      frame[i] = static_cast<std::byte>(i * 31 + (i >> 8) * 7 + seed);
    }
    return frame;
  }
  static rte_mbuf* to_frame(std::span<const std::byte> bytes, std::size_t segment_bytes = kMbufDataBytes) {
    rte_mbuf* mbuf = to_mbuf(bytes, segment_bytes);
    make_frame(mbuf, 1, false);
    return mbuf;
  }

  static inline MbufPool pool_;
  static inline int suites_ = 0;
};

}  // namespace slipway::test
