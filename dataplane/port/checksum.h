#pragma once
// The internet checksum (RFC 1071), on bytes as they lie: results are stored with a memcpy, without swapping.
// Pure functions: any thread.

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>

namespace slipway {

static_assert(std::endian::native == std::endian::little);

[[nodiscard]] constexpr std::uint16_t to_network(std::uint16_t value) { return std::byteswap(value); }

[[nodiscard]] inline std::uint16_t load_be16(const std::byte* at) {
  std::uint16_t value;
  std::memcpy(&value, at, sizeof value);
  return std::byteswap(value);
}
inline void store_be16(std::byte* at, std::uint16_t value) {
  value = std::byteswap(value);
  std::memcpy(at, &value, sizeof value);
}

// Adds the 16-bit words of `bytes` to `sum`; an odd last byte is padded with a zero.
[[nodiscard]] inline std::uint64_t add_words(std::span<const std::byte> bytes, std::uint64_t sum) {
  const std::byte* at = bytes.data();
  std::size_t left = bytes.size();
  std::uint64_t high = 0;
  for (; left >= 8; at += 8, left -= 8) {
    std::uint64_t word;
    std::memcpy(&word, at, sizeof word);
    sum += word & 0xFFFFFFFF;
    high += word >> 32;
  }
  sum += high;
  if (left >= 4) {
    std::uint32_t word;
    std::memcpy(&word, at, sizeof word);
    sum += word;
    at += 4;
    left -= 4;
  }
  if (left >= 2) {
    std::uint16_t word;
    std::memcpy(&word, at, sizeof word);
    sum += word;
    at += 2;
    left -= 2;
  }
  return left == 0 ? sum : sum + std::to_integer<std::uint64_t>(*at);
}

[[nodiscard]] inline std::uint16_t fold(std::uint64_t sum) {
  sum = (sum & 0xFFFFFFFF) + (sum >> 32);
  sum = (sum & 0xFFFF) + (sum >> 16 & 0xFFFF) + (sum >> 32);
  sum = (sum & 0xFFFF) + (sum >> 16);
  return static_cast<std::uint16_t>((sum & 0xFFFF) + (sum >> 16));
}

// Of the pseudo header that UDP and ICMPv6 cover: two addresses, which lie one behind the other in an IP header.
[[nodiscard]] inline std::uint64_t pseudo_sum(const std::byte* ip, bool ipv6, std::uint8_t protocol, std::uint32_t l4_bytes) {
  const std::span<const std::byte> addresses = ipv6 ? std::span(ip + 8, 32) : std::span(ip + 12, 8);
  return add_words(addresses, std::uint64_t{to_network(static_cast<std::uint16_t>(l4_bytes))} +
                                  to_network(static_cast<std::uint16_t>(l4_bytes >> 16)) + to_network(protocol));
}

}  // namespace slipway
