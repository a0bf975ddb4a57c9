#include "frame/shim.h"

#include <algorithm>

namespace slipway {
namespace {
constexpr std::uint64_t kCounterMask = (std::uint64_t{1} << 56) - 1;
constexpr std::size_t kTagOffset = 22;
}  // namespace

ShimFault check_shim(std::span<const std::byte> datagram) {
  if (datagram.size() <= kShimBytes) {
    return ShimFault::kTooShort;
  }
  const Shim shim = load_shim(datagram.data());
  if ((shim.flags & ~shim_flag::kKnown) != 0) {
    return ShimFault::kFlags;
  }
  const std::uint64_t piece = datagram.size() - kShimBytes;
  const std::uint64_t end = shim.fragment_offset + piece;
  const bool last = (shim.flags & shim_flag::kLast) != 0;
  if (shim.total_bytes < kFrameHeaderBytes || end > shim.total_bytes || last != (end == shim.total_bytes) ||
      (shim.fragment_offset == 0 && piece < kFrameHeaderBytes)) {
    return ShimFault::kLength;
  }
  const std::byte* tag = datagram.data() + kTagOffset;
  if ((load_le<std::uint64_t>(tag) | load_le<std::uint64_t>(tag + 8)) != 0) {
    return ShimFault::kTag;
  }
  return ShimFault::kNone;
}

Shim load_shim(const std::byte* at) {
  const auto sequence = load_le<std::uint64_t>(at + 4);
  const auto length_and_flags = load_le<std::uint32_t>(at + 16);
  return {.link_id = load_le<std::uint32_t>(at),
          .sending_worker = static_cast<std::uint8_t>(sequence >> 56),
          .counter = sequence & kCounterMask,
          .fragment_offset = load_le<std::uint32_t>(at + 12),
          .total_bytes = length_and_flags & 0xFFFFFF,
          .flags = static_cast<std::uint8_t>(length_and_flags >> 24),
          .frame_number = load_le<std::uint16_t>(at + 20)};
}

void store_shim(std::byte* at, const Shim& shim) {
  store_le(at, shim.link_id);
  store_le(at + 4, std::uint64_t{shim.sending_worker} << 56 | (shim.counter & kCounterMask));
  store_le(at + 12, shim.fragment_offset);
  store_le(at + 16, (shim.total_bytes & 0xFFFFFF) | std::uint32_t{shim.flags} << 24);
  store_le(at + 20, shim.frame_number);
  std::memset(at + kTagOffset, 0, kShimBytes - kTagOffset);
}

}  // namespace slipway
