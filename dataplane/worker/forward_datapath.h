#pragma once
// What a worker does with frames: check, look up, choose, replicate. Called by the owning worker only.

#include <span>

#include "frame/frame.h"
#include "worker/worker_core.h"

namespace slipway {

// The publishes of a burst, in order of arrival: in order, with hops left, one hop taken.
struct Publishes {
  std::uint32_t count = 0;
  std::uint32_t header_bytes = 0;  // not 0: the mbufs are plain packets still (FastCheck), with so much before the frame
  std::array<rte_mbuf*, kMaxBurst> mbuf;
  std::array<const std::byte*, kMaxBurst> destination;  // of the frame's bytes
  std::array<LinkIndex, kMaxBurst> in_link;
  std::array<std::uint32_t, kMaxBurst> bytes;  // of the frame
  std::array<LinkIndex, kMaxBurst> to;         // the one receiver; kNoLink: all, or nobody

  [[nodiscard]] std::byte* frame(std::uint32_t i) const { return const_cast<std::byte*>(destination[i]) - frame_offset::kDestination; }
};

// Whether a header is that of a publish in order, with hops left, by two loads. What it refuses is looked at again
// by punt_or_drop, which names the fault.
[[nodiscard]] inline bool plain_publish(const std::byte* f) {
  // Version, kind, hop limit, session type as one number: version and kind are given, the hop limit is above 1.
  constexpr std::uint32_t kLeast = std::uint32_t{kFrameVersion} << 24 | static_cast<std::uint32_t>(FrameKind::kPublish) << 16 | 2u << 8;
  // Bytes 96 to 103: message type, spare, flags, spare.
  constexpr std::uint64_t kErrors = std::uint64_t{frame_flag::kErrorFalse | frame_flag::kErrorTrue} << 16;
  constexpr std::uint64_t kMustBeZero = 0xFFFFFFFF'0000FF00u | std::uint64_t{0xFFFF & ~frame_flag::kKnown} << 16;
  const std::uint32_t begin = std::byteswap(load_le<std::uint32_t>(f));
  const auto end = load_le<std::uint64_t>(f + frame_offset::kSessionMessageType);
  if (begin - kLeast > (kLeast | 0xFFFF) - kLeast) {
    return false;
  }
  return (end & (kMustBeZero | kErrors)) == 0 || ((end & kMustBeZero) == 0 && (end & kErrors) != kErrors);
}

// A link that is closing is still read to its end; nothing is sent to it.
[[nodiscard]] inline bool may_forward(LinkState state) { return state == LinkState::kUp || state == LinkState::kClosing; }

// Look up, choose, send. Takes the frames over, as forward_burst does.
void forward_publishes(WorkerCore& w, Publishes& p);

// Takes over up to kMaxBurst whole frames from links (FrameMeta set, already counted in frames_in). When it returns
// each is punted, dropped, or forwarded: its copies are with ports, sockets and other workers, or its fan-out is in
// the queue of those that go on later.
void forward_burst(WorkerCore& w, std::span<rte_mbuf* const> frames);

// Goes on with fan-outs, oldest first, for at most kFanoutPerLoop copies a loop. Returns how many were made.
std::uint32_t continue_fanouts(WorkerCore& w);

// Whether another burst may be taken: each of its frames may need a place in the queue of fan-outs.
[[nodiscard]] inline bool room_for_burst(const WorkerCore& w) { return w.fanouts.count + kMaxBurst <= kMaxPendingFanouts; }

// Frees what is queued (stop): the frames were counted as forwarded, each becomes one dropped copy.
void drop_fanouts(WorkerCore& w);

}  // namespace slipway
