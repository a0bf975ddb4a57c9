#pragma once
// A bounded ring of frames from one worker to another. One thread pushes, one pops, neither waits. An entry names
// the receiver beside the buffer, not inside it: a frame that many links share crosses once for each of them.

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>

#include "base/link.h"
#include "bounds.h"

struct rte_mbuf;

namespace slipway {

struct HandoffEntry {
  rte_mbuf* frame;          // one reference of it changes owner
  std::uint32_t link_id;    // index and generation of the receiver
  std::uint32_t spare;
};
static_assert(sizeof(HandoffEntry) == 16);

class HandoffRing {
 public:
  static constexpr std::uint32_t kMask = kHandoffRingFrames - 1;
  static_assert((kHandoffRingFrames & kMask) == 0);

  HandoffRing() : entries_(std::make_unique_for_overwrite<HandoffEntry[]>(kHandoffRingFrames)) {}

  // Producer. False: full, nothing was taken. The entry is visible to the consumer after publish().
  [[nodiscard]] bool push(rte_mbuf* frame, std::uint32_t link_id) {
    if (head_ - tail_seen_ == kHandoffRingFrames) {
      tail_seen_ = tail_.load(std::memory_order_acquire);
      if (head_ - tail_seen_ == kHandoffRingFrames) {
        return false;
      }
    }
    entries_[head_++ & kMask] = {frame, link_id, 0};
    return true;
  }
  // Producer: entries that fit now, at least.
  [[nodiscard]] std::uint32_t room(std::uint32_t wanted) {
    if (kHandoffRingFrames - (head_ - tail_seen_) < wanted) {
      tail_seen_ = tail_.load(std::memory_order_acquire);
    }
    return kHandoffRingFrames - (head_ - tail_seen_);
  }
  // Producer, once a burst. True when there was something new.
  bool publish() {
    if (published_.load(std::memory_order_relaxed) == head_) {
      return false;
    }
    published_.store(head_, std::memory_order_release);
    return true;
  }

  // Consumer. Up to `max` entries, oldest first.
  std::uint32_t pop(HandoffEntry* out, std::uint32_t max) {
    const std::uint32_t tail = tail_.load(std::memory_order_relaxed);
    if (head_seen_ == tail) {
      head_seen_ = published_.load(std::memory_order_acquire);
    }
    std::uint32_t count = head_seen_ - tail;
    count = count < max ? count : max;
    for (std::uint32_t i = 0; i < count; ++i) {
      out[i] = entries_[(tail + i) & kMask];
    }
    if (count != 0) {
      tail_.store(tail + count, std::memory_order_release);
    }
    return count;
  }
  // Any thread; exact for the consumer.
  [[nodiscard]] bool empty() const {
    return tail_.load(std::memory_order_relaxed) == published_.load(std::memory_order_acquire);
  }
  // Any thread; exact when neither side runs.
  [[nodiscard]] std::uint32_t size() const {
    return published_.load(std::memory_order_acquire) - tail_.load(std::memory_order_acquire);
  }

 private:
  std::unique_ptr<HandoffEntry[]> entries_;
  // Each side's own position and its copy of the other's share a line that only that side writes.
  alignas(64) std::uint32_t head_ = 0;
  std::uint32_t tail_seen_ = 0;
  std::atomic<std::uint32_t> published_{0};
  alignas(64) std::atomic<std::uint32_t> tail_{0};
  std::uint32_t head_seen_ = 0;
};

}  // namespace slipway
