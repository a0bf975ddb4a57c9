#pragma once
// What workers tell each other of receivers that are slow: one byte a link, written by the worker that owns the
// link, read by workers that send to it. One table a node.
//
// A worker that hands a frame to another worker, or takes one from a stream, looks here; when the receiver is
// congested, it pauses the stream that the frame came from (SocketEngine::pause) and goes on reading it when
// the receiver is no longer congested.

#include <array>
#include <atomic>
#include <cstdint>

#include "base/link.h"

namespace slipway {

namespace congestion_flag {
inline constexpr std::uint8_t kCongested = 1 << 0;  // the queue is above its high-water mark: senders wait
inline constexpr std::uint8_t kStalled = 1 << 1;    // ... and takes nothing: senders go on, its newest frames are dropped
}  // namespace congestion_flag

class CongestionTable {
 public:
  // Owner of the link.
  void set(LinkIndex link, std::uint8_t flags) {
    const std::uint8_t before = state_[link].load(std::memory_order_relaxed);
    if (before == flags) {
      return;
    }
    state_[link].store(flags, std::memory_order_release);
    if ((before & ~flags & congestion_flag::kCongested) != 0) {
      cleared_.fetch_add(1, std::memory_order_release);
    }
  }

  // Any thread.
  [[nodiscard]] std::uint8_t flags(LinkIndex link) const { return state_[link].load(std::memory_order_relaxed); }
  [[nodiscard]] bool congested(LinkIndex link) const { return (flags(link) & congestion_flag::kCongested) != 0; }

  // Grows each time that some link stops being congested: whoever has paused streams looks at them again.
  [[nodiscard]] std::uint64_t cleared() const { return cleared_.load(std::memory_order_acquire); }

 private:
  alignas(64) std::atomic<std::uint64_t> cleared_{0};
  alignas(64) std::array<std::atomic<std::uint8_t>, kMaxLinks> state_{};
};

}  // namespace slipway
