#pragma once
// What frames on their way to upstream applications become, kept from where it is known to where it is sent: messages that came
// from such an application leave as they came but for ttl and header MAC, and the copies of a fan-out differ in the MAC alone.
// Keyed by a number that the copies of one frame share (FrameMeta::encoded_serial). Belongs to one worker; forgets: who finds
// nothing translates.

#include <array>
#include <atomic>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <span>

#include "bounds.h"
#include "edge/mac.h"

namespace slipway {

// A message: its front, then the last tail_bytes of the frame.
struct EncodedMessage {
  std::uint64_t serial = 0;  // 0: empty
  std::uint32_t front_bytes = 0;
  std::uint32_t tail_bytes = 0;
  std::uint32_t mac_at = 0;  // in the front, where the MAC belongs
  std::uint32_t ttl_at = 0;  // in the front, where the frame's hop limit belongs, if it is below 128; 0: it is there already
  std::uint32_t covered_bytes = 0;                // as HeaderMac::covered() gives them; the ttl are the last four
  std::array<std::byte, kMacHeaderBytes> covered;
  std::array<std::byte, kMbufDataBytes> front;
};

class EncodedCache {
 public:
  EncodedCache() : entries_(std::make_unique<EncodedMessage[]>(kEncodedEntries)), next_(first_serial()) {}
  ~EncodedCache() = default;
  EncodedCache(const EncodedCache&) = delete;
  EncodedCache& operator=(const EncodedCache&) = delete;

  // Null: not kept, or no longer.
  [[nodiscard]] const EncodedMessage* find(std::uint64_t serial) const {
    const EncodedMessage& entry = entries_[serial % kEncodedEntries];
    return entry.serial == serial && serial != 0 ? &entry : nullptr;
  }
  // A place to be filled, with a serial that no worker has given before.
  [[nodiscard]] EncodedMessage& make() {
    EncodedMessage& entry = entries_[next_ % kEncodedEntries];
    entry.serial = next_++;
    return entry;
  }

 private:
  static std::uint64_t first_serial() {
    static std::atomic<std::uint64_t> caches{0};
    return (caches.fetch_add(1, std::memory_order_relaxed) + 1) << 40;
  }
  static_assert(std::has_single_bit(kEncodedEntries));

  std::unique_ptr<EncodedMessage[]> entries_;
  std::uint64_t next_;
};

}  // namespace slipway
