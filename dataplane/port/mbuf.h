#pragma once
// DPDK's mbuf header and the two or three things that everybody does with it. For datapath sources.

#include <rte_mbuf.h>

#include <cstddef>
#include <span>

#include "base/frame_meta.h"
#include "bounds.h"
#include "frame/frame.h"
#include "port/checksum.h"

namespace slipway {

[[nodiscard]] inline FrameMeta& frame_meta(rte_mbuf* mbuf) { return *static_cast<FrameMeta*>(rte_mbuf_to_priv(mbuf)); }

[[nodiscard]] inline std::byte* data_of(rte_mbuf* mbuf) { return rte_pktmbuf_mtod(mbuf, std::byte*); }
[[nodiscard]] inline std::span<const std::byte> head_of(rte_mbuf* mbuf) { return {data_of(mbuf), mbuf->data_len}; }

// Nobody else holds a reference to this segment: it may be written. Those who held one have done with it, which DPDK's
// own relaxed read of the count says on x86 alone.
[[nodiscard]] inline bool is_sole_holder(const rte_mbuf* segment) { return __atomic_load_n(&segment->refcnt, __ATOMIC_ACQUIRE) == 1; }

// Makes a chain that begins at a frame header into a frame: FrameMeta, and the length before it (base/frame_meta.h).
inline void make_frame(rte_mbuf* mbuf, LinkIndex in_link, bool pausable) {
  frame_meta(mbuf) = {.in_link = in_link, .frame_bytes = mbuf->pkt_len, .pausable = pausable};
  store_le(data_of(mbuf) - kStreamPrefixBytes, mbuf->pkt_len);
}

// Copies `bytes` bytes of a chain from `offset` to `to`. The caller knows that the chain has them.
inline void copy_chain(const rte_mbuf* mbuf, std::uint32_t offset, std::uint32_t bytes, std::byte* to) {
  while (offset >= mbuf->data_len) {
    offset -= mbuf->data_len;
    mbuf = mbuf->next;
  }
  while (bytes != 0) {
    const std::uint32_t part = bytes < mbuf->data_len - offset ? bytes : mbuf->data_len - offset;
    std::memcpy(to, rte_pktmbuf_mtod_offset(mbuf, const std::byte*, offset), part);
    to += part;
    bytes -= part;
    offset = 0;
    mbuf = mbuf->next;
  }
}

// The unfolded internet checksum of `bytes` bytes of a chain from `offset`. (DPDK 22.11's own goes wrong where a
// segment has an odd length.)
[[nodiscard]] inline std::uint64_t sum_chain(const rte_mbuf* mbuf, std::uint32_t offset, std::uint32_t bytes) {
  while (offset >= mbuf->data_len && mbuf->next != nullptr) {
    offset -= mbuf->data_len;
    mbuf = mbuf->next;
  }
  std::uint64_t sum = 0;
  for (bool odd = false; bytes != 0 && mbuf != nullptr; mbuf = mbuf->next, offset = 0) {
    const std::uint32_t part = bytes < mbuf->data_len - offset ? bytes : mbuf->data_len - offset;
    const std::uint16_t folded = fold(add_words({rte_pktmbuf_mtod_offset(mbuf, const std::byte*, offset), part}, 0));
    sum += odd ? std::byteswap(folded) : folded;
    odd = odd != ((part & 1) != 0);
    bytes -= part;
  }
  return sum;
}

}  // namespace slipway
