// Length headers of variable-size vectors (RFC 9420, 2.1.2), which labels need too.
#pragma once

#include "crypto/bytes.h"

namespace slipway::mls {

inline constexpr size_t kMaxVectorLength = (size_t{1} << 30) - 1;

// Bytes of a vector's length header.
constexpr size_t length_header_size(size_t length) {
  return length < (1u << 6) ? 1 : length < (1u << 14) ? 2 : 4;
}
// Bytes of a vector with its header.
constexpr size_t vector_size(size_t length) { return length_header_size(length) + length; }

// Writes the header to `out`, which has length_header_size(length) bytes; length is at most
// kMaxVectorLength.
inline void write_length_header(size_t length, uint8_t* out) {
  assert(length <= kMaxVectorLength);
  switch (length_header_size(length)) {
    case 1: out[0] = static_cast<uint8_t>(length); break;
    case 2:
      out[0] = static_cast<uint8_t>(0x40 | length >> 8);
      out[1] = static_cast<uint8_t>(length);
      break;
    default:
      out[0] = static_cast<uint8_t>(0x80 | length >> 24);
      out[1] = static_cast<uint8_t>(length >> 16);
      out[2] = static_cast<uint8_t>(length >> 8);
      out[3] = static_cast<uint8_t>(length);
  }
}

inline InlineBytes<4> length_header(size_t length) {
  auto header = InlineBytes<4>::with_size(length_header_size(length));
  write_length_header(length, header.data());
  return header;
}

}  // namespace slipway::mls
