#pragma once
// A burst of a DPDK port: packets in to frames, frames out to packets. Called by the owning worker only.
//
// In:  parse and check (ethernet.h), answer what asks for us, find the link by the shim's link id, check it against
//      address and port, join pieces. What comes out is in the order of arrival, so that frames of one source,
//      destination and session keep theirs.
// Out: outer headers and shim before the frame, cut to the link's datagram_bytes.

#include <array>
#include <cstdint>
#include <span>

#include "base/counters.h"
#include "base/frame_meta.h"
#include "base/link.h"
#include "base/messages.h"
#include "port/ethernet.h"
#include "port/join_datapath.h"

struct rte_mbuf;
struct rte_mempool;

namespace slipway {

// What ethernet_receive makes of a burst. The caller owns every mbuf in it.
struct EthernetReceived {
  std::uint32_t frame_count = 0;
  std::uint32_t reply_count = 0;
  std::uint32_t learn_count = 0;
  std::uint32_t hello_count = 0;
  std::array<rte_mbuf*, kMaxBurst> frames;   // whole, from links: FrameMeta is filled in, data begins at the header
  std::array<rte_mbuf*, kMaxBurst> replies;  // packets to be sent out of the same port as they are
  std::array<rte_mbuf*, kMaxBurst> learns;   // packets for Event::kPuntedPacket: copy, then free
  std::array<rte_mbuf*, kMaxBurst> hellos;   // data begins at the frame header: for Event::kHello, copy, then free
  std::array<Hello, kMaxBurst> hello_from;   // `worker` is left to the caller
};

// Where a worker's receive stage looks and counts.
struct EthernetReceiver {
  const LinkRecord* links = nullptr;      // kMaxLinks, by LinkIndex
  LinkCounters* link_counters = nullptr;  // kMaxLinks
  WorkerCounters* counters = nullptr;
  MbufJoiner* joiner = nullptr;
};

// Takes over `count` (<= kMaxBurst) received packets. Counts packets_in, packets_answered, packets_dropped,
// fragments_in and drops by reason; the caller counts packets_punted for learns and hellos (or their drop), and the
// frames.
void ethernet_receive(const EthernetPort& port, const EthernetReceiver& receiver, std::span<rte_mbuf* const> packets,
                      std::uint64_t now_ms, EthernetReceived& out);

// A worker's numbering of what it sends on datagram links; one for all its ports.
struct DatagramSender {
  std::uint8_t worker = 0;          // Shim::sending_worker
  std::uint64_t counter = 0;        // a frame's number is the low 16 bits of its first packet's
};

// The most packets that one frame is cut into.
inline constexpr std::uint32_t kMaxCutPackets =
    (kMaxDatagramFrameBytes + (kMinDatagramBytes - kShimBytes) - 1) / (kMinDatagramBytes - kShimBytes);
static_assert(kMaxCutPackets <= kMaxPieces);

// Packets that a frame of so many bytes becomes on this link.
[[nodiscard]] inline std::uint32_t packets_of_frame(const LinkRecord& link, std::uint32_t frame_bytes) {
  const std::uint32_t piece = link.datagram_bytes - static_cast<std::uint32_t>(kShimBytes);
  return (frame_bytes + piece - 1) / piece;
}

// Makes the packets of one copy of `frame` for `link` (kUp, its next hop resolved, frame not above
// max_frame_bytes) into `out`, which has room for packets_of_frame(). Takes over one reference of `frame` (of each
// of its segments: rte_pktmbuf_refcnt_update); other references may exist, the bytes are then shared or copied, never
// written. Returns how many packets, or 0 when the pool is empty (nothing was made, the reference is freed:
// DropReason::kNoBuffer). UDP source ports carry entropy: peers must not check them.
//
// An unshared frame that fits one packet gets its headers in its own headroom; a shared one up to kCopyBytes of
// body is copied, above that a header mbuf is chained before it; what must be cut is copied piece by piece.
[[nodiscard]] std::uint32_t ethernet_send(const EthernetPort& port, const LinkRecord& link, DatagramSender& sender,
                                          rte_mbuf* frame, rte_mempool* pool, rte_mbuf** out);

}  // namespace slipway
