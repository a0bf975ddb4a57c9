#pragma once
// Varints of up to ten bytes, eight of them at a time. Private to the codec; x86-64-v3 has the instructions.

#include <immintrin.h>

#include <bit>
#include <cstddef>
#include <cstdint>

#include "frame/frame.h"

namespace slipway {

inline constexpr std::uint64_t kVarintHighBits = 0x8080808080808080u;

// At least ten bytes can be read at `at`. Returns the bytes that the number has, or 0: it is longer than 64 bits.
inline unsigned load_varint(const std::byte* at, std::uint64_t* value) {
  const auto word = load_le<std::uint64_t>(at);
  const std::uint64_t ends = ~word & kVarintHighBits;
  if (ends != 0) {
    *value = _pext_u64(word & (ends ^ (ends - 1)), ~kVarintHighBits);
    return static_cast<unsigned>(std::countr_zero(ends)) / 8 + 1;
  }
  const std::uint64_t low = _pext_u64(word, ~kVarintHighBits);
  const auto ninth = static_cast<std::uint8_t>(at[8]);
  *value = low | std::uint64_t{ninth & 0x7Fu} << 56;
  if (ninth < 0x80) {
    return 9;
  }
  const auto tenth = static_cast<std::uint8_t>(at[9]);
  *value |= std::uint64_t{tenth} << 63;
  return tenth > 1 ? 0 : 10;
}

// At least ten bytes can be written at `at`; more than the number has may be.
inline std::byte* store_varint(std::byte* at, std::uint64_t value) {
  if (value < 0x80) {
    *at = static_cast<std::byte>(value);
    return at + 1;
  }
  const unsigned bytes = (static_cast<unsigned>(std::bit_width(value)) + 6) / 7;
  std::uint64_t word = _pdep_u64(value, ~kVarintHighBits);
  if (bytes <= 8) {
    store_le(at, word | (kVarintHighBits & ((std::uint64_t{1} << (8 * (bytes - 1))) - 1)));
    return at + bytes;
  }
  store_le(at, word | kVarintHighBits);
  if (bytes == 9) {
    at[8] = static_cast<std::byte>(value >> 56);
  } else {
    at[8] = static_cast<std::byte>(value >> 56 | 0x80);
    at[9] = std::byte{1};
  }
  return at + bytes;
}

}  // namespace slipway
