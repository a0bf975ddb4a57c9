#pragma once
// What frames on their way to upstream applications become, kept from where it is known to where it is sent: messages that came
// from such an application leave as they came but for ttl and header MAC, and the copies of a fan-out differ in the MAC alone.
// Keyed by a number that the copies of one frame share (FrameMeta::encoded_serial). Belongs to one worker; forgets: who finds
// nothing translates.
//
// Messages lie one behind the other in a ring of memory that stays in the processor's cache, and their MACs are hashed where they lie.

#include <array>
#include <atomic>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <span>

#include "bounds.h"
#include "edge/mac_batch.h"

namespace slipway {

// A message: its front, then the last tail_bytes of the frame.
struct EncodedMessage {
  std::uint64_t serial = 0;  // 0: empty
  std::uint32_t front_bytes = 0;
  std::uint32_t tail_bytes = 0;
  std::uint32_t mac_at = 0;  // in the front, where the MAC belongs
  std::uint32_t ttl_at = 0;  // in the front, where the frame's hop limit belongs, if it is below 128; 0: it is there already
  std::uint32_t covered_bytes = 0;  // as HeaderMac::covered() gives them; the ttl are the last four
  std::uint64_t names = 0;          // for MacBatch::add_in_place()
  std::uint64_t at = 0;             // in the ring, counted on from round to round
  std::byte* front = nullptr;
  std::byte* covered = nullptr;     // kMacHeaderBytes, and room for MacBatch::add_in_place()
};

class EncodedCache {
 public:
  EncodedCache()
      : slots_(std::make_unique<EncodedMessage[]>(kSlots)),
        ring_(std::make_unique_for_overwrite<std::byte[]>(kRingBytes + kLine)),
        base_(ring_.get() + (kLine - reinterpret_cast<std::uintptr_t>(ring_.get()) % kLine) % kLine),
        next_(first_serial()) {}
  ~EncodedCache() = default;
  EncodedCache(const EncodedCache&) = delete;
  EncodedCache& operator=(const EncodedCache&) = delete;

  // Null: not kept, or no longer. What was found stays while a batch of MACs is filled, whatever else is kept meanwhile.
  [[nodiscard]] EncodedMessage* find(std::uint64_t serial) {
    EncodedMessage& entry = slots_[serial % kSlots];
    return serial != 0 && entry.serial == serial && head_ - entry.at <= kRingBytes - kMacBatch * kMostBytes ? &entry : nullptr;
  }
  // A place to be filled, with a front of so many bytes, at most kMbufDataBytes; then keep(), or it is forgotten.
  [[nodiscard]] EncodedMessage& make(std::size_t front_bytes) {
    std::size_t place = head_ % kRingBytes;
    if (kRingBytes - place < kMostBytes) {
      head_ += kRingBytes - place;
      place = 0;
    }
    EncodedMessage& entry = slots_[next_ % kSlots];
    entry = {.front_bytes = static_cast<std::uint32_t>(front_bytes), .at = head_, .front = base_ + place};
    entry.covered = base_ + whole_lines(place + front_bytes + kMacPrefixBytes) + kUsualPrefixBytes;
    return entry;
  }
  // It is whole: covered_bytes of `covered` were written too. Its serial is one that no worker has given before.
  void keep(EncodedMessage& entry, std::size_t covered_bytes) {
    entry.covered_bytes = static_cast<std::uint32_t>(covered_bytes);
    entry.serial = next_++;
    head_ += whole_lines(static_cast<std::size_t>(entry.covered - entry.front) + covered_bytes + MacBatch::kPadBytes);
  }

 private:
  static constexpr std::size_t kLine = 64;
  static constexpr std::size_t kUsualPrefixBytes = 55;  // of links whose id is a UUID: their blocks begin with a line
  static constexpr std::size_t kSlots = 4 * kEncodedEntries;
  static constexpr std::size_t kRingBytes = kEncodedEntries * kMbufDataBytes;  // more messages than kEncodedEntries where they are small
  static constexpr std::size_t kMostBytes = kMbufDataBytes + kMacPrefixBytes + kMacHeaderBytes + MacBatch::kPadBytes + 3 * kLine;
  static_assert(std::has_single_bit(kSlots) && kRingBytes % kLine == 0 && kRingBytes > 2 * kMacBatch * kMostBytes);

  static std::size_t whole_lines(std::size_t bytes) { return (bytes + kLine - 1) / kLine * kLine; }
  static std::uint64_t first_serial() {
    static std::atomic<std::uint64_t> caches{0};
    return (caches.fetch_add(1, std::memory_order_relaxed) + 1) << 40;
  }

  std::unique_ptr<EncodedMessage[]> slots_;
  std::unique_ptr<std::byte[]> ring_;
  std::byte* base_;
  std::uint64_t head_ = 0;
  std::uint64_t next_;
};

}  // namespace slipway
