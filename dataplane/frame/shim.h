#pragma once
// What belongs to one datagram link: 38 bytes before the frame, made anew on each hop.
//
//   offset  size  field
//        0     4  link id, chosen by the receiver of the datagram; 0: no link yet (only kLink frames)
//        4     8  sequence: sending worker in the top 8 bits, its counter in the lower 56
//       12     4  fragment offset into the frame, in bytes
//       16     3  total length of the frame, in bytes
//       19     1  fragment flags
//       20     2  frame number, per sending worker: joins the fragments of one frame
//       22    16  tag; zero until links are authenticated, and anything else is refused
//
// Little-endian, memcpy loads and stores. Pure functions: any thread.

#include <cstddef>
#include <cstdint>
#include <span>

#include "frame/frame.h"

namespace slipway {

namespace shim_flag {
inline constexpr std::uint8_t kKeyPhase = 1 << 0;
inline constexpr std::uint8_t kLast = 1 << 1;  // this datagram holds the end of the frame
inline constexpr std::uint8_t kKnown = kKeyPhase | kLast;
}  // namespace shim_flag

struct Shim {
  std::uint32_t link_id = 0;
  std::uint8_t sending_worker = 0;
  std::uint64_t counter = 0;        // 56 bits
  std::uint32_t fragment_offset = 0;
  std::uint32_t total_bytes = 0;    // 24 bits
  std::uint8_t flags = shim_flag::kLast;
  std::uint16_t frame_number = 0;

  [[nodiscard]] bool whole(std::size_t payload_bytes) const {
    return fragment_offset == 0 && (flags & shim_flag::kLast) != 0 && payload_bytes == total_bytes;
  }
  friend bool operator==(const Shim&, const Shim&) = default;
};

enum class ShimFault : std::uint8_t { kNone, kTooShort, kFlags, kLength, kTag };

// Checks a UDP payload (shim and piece of a frame): lengths agree, known flags, a zero tag.
// A first piece holds at least the frame header, so that whoever joins can look at it.
[[nodiscard]] ShimFault check_shim(std::span<const std::byte> datagram);

// The caller has at least kShimBytes.
[[nodiscard]] Shim load_shim(const std::byte* at);
void store_shim(std::byte* at, const Shim& shim);  // writes kShimBytes, tag zero

}  // namespace slipway
