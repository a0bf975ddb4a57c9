#include "crypto/small_order.h"

#include <array>

namespace slipway::mls::internal {
namespace {

using Bytes32 = std::array<uint8_t, 32>;

// 2^255 - 19 + add, little-endian.
constexpr Bytes32 p25519_plus(int add) {
  Bytes32 value{};
  value.fill(0xff);
  value[0] = static_cast<uint8_t>(0xed + add);
  value[31] = 0x7f;
  return value;
}
constexpr Bytes32 small(uint8_t number) { return {number}; }

bool matches(View key, const Bytes32& value) {
  // The top bit is the sign of an Edwards point and is ignored in a Montgomery one.
  return std::equal(value.begin(), value.end() - 1, key.begin()) && (key[31] & 0x7f) == value[31];
}

// The order-8 points of Curve25519 (u) and of its Edwards form (y).
constexpr Bytes32 kU8a = {0xe0, 0xeb, 0x7a, 0x7c, 0x3b, 0x41, 0xb8, 0xae, 0x16, 0x56, 0xe3,
                          0xfa, 0xf1, 0x9f, 0xc4, 0x6a, 0xda, 0x09, 0x8d, 0xeb, 0x9c, 0x32,
                          0xb1, 0xfd, 0x86, 0x62, 0x05, 0x16, 0x5f, 0x49, 0xb8, 0x00};
constexpr Bytes32 kU8b = {0x5f, 0x9c, 0x95, 0xbc, 0xa3, 0x50, 0x8c, 0x24, 0xb1, 0xd0, 0xb1,
                          0x55, 0x9c, 0x83, 0xef, 0x5b, 0x04, 0x44, 0x5c, 0xc4, 0x58, 0x1c,
                          0x8e, 0x86, 0xd8, 0x22, 0x4e, 0xdd, 0xd0, 0x9f, 0x11, 0x57};
constexpr Bytes32 kY8a = {0x26, 0xe8, 0x95, 0x8f, 0xc2, 0xb2, 0x27, 0xb0, 0x45, 0xc3, 0xf4,
                          0x89, 0xf2, 0xef, 0x98, 0xf0, 0xd5, 0xdf, 0xac, 0x05, 0xd3, 0xc6,
                          0x33, 0x39, 0xb1, 0x38, 0x02, 0x88, 0x6d, 0x53, 0xfc, 0x05};
constexpr Bytes32 kY8b = {0xc7, 0x17, 0x6a, 0x70, 0x3d, 0x4d, 0xd8, 0x4f, 0xba, 0x3c, 0x0b,
                          0x76, 0x0d, 0x10, 0x67, 0x0f, 0x2a, 0x20, 0x53, 0xfa, 0x2c, 0x39,
                          0xcc, 0xc6, 0x4e, 0xc7, 0xfd, 0x77, 0x92, 0xac, 0x03, 0x7a};

bool is_any_of(View key, std::initializer_list<Bytes32> values) {
  return std::any_of(values.begin(), values.end(),
                     [key](const Bytes32& value) { return matches(key, value); });
}

// Is the little-endian 56-byte number 0, 1, p - 1, p or p + 1, with p = 2^448 - 2^224 - 1?
bool is_special_448(View number) {
  bool high_zero = std::all_of(number.begin() + 1, number.end(), [](uint8_t b) { return b == 0; });
  if (high_zero) {
    return number[0] <= 1;
  }
  auto all_ones = [number](size_t from, size_t to) {
    return std::all_of(number.begin() + static_cast<ptrdiff_t>(from),
                       number.begin() + static_cast<ptrdiff_t>(to), [](uint8_t b) { return b == 0xff; });
  };
  // p and p - 1: all ones, but bit 224 clear, and the lowest byte 0xff or 0xfe.
  if (all_ones(1, 28) && number[28] == 0xfe && all_ones(29, 56)) {
    return number[0] >= 0xfe;
  }
  // p + 1 = 2^448 - 2^224.
  return std::all_of(number.begin(), number.begin() + 28, [](uint8_t b) { return b == 0; }) &&
         all_ones(28, 56);
}

}  // namespace

bool is_small_order_x25519(View key) {
  return is_any_of(key, {small(0), small(1), kU8a, kU8b, p25519_plus(-1), p25519_plus(0), p25519_plus(1)});
}

bool is_small_order_ed25519(View key) {
  return is_any_of(key, {small(0), small(1), kY8a, kY8b, p25519_plus(-1), p25519_plus(0), p25519_plus(1)});
}

bool is_small_order_x448(View key) { return is_special_448(key); }

// The 57th byte holds the sign bit only.
bool is_small_order_ed448(View key) { return (key[56] & 0x7f) == 0 && is_special_448(key.first(56)); }

}  // namespace slipway::mls::internal
