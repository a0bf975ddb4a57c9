#pragma once
// Writes the headers of one packet from a link's template: lengths, source port, flow label. Checksums are left
// zero for the caller, who knows what the device does.

#include <bit>
#include <cstring>

#include "base/link.h"
#include "port/checksum.h"

namespace slipway {

// UDP source ports that carry entropy: the dynamic range of RFC 6335, so that none is a known service.
// On the wire it is the low half of the flow, byte for byte, with these bits.
inline constexpr std::uint32_t kEntropyPortWire = 0x00C0;
[[nodiscard]] constexpr std::uint16_t entropy_port(std::uint32_t flow) {
  return std::byteswap(static_cast<std::uint16_t>(flow | kEntropyPortWire));
}

// `at` has outer.length bytes before the UDP payload of payload_bytes.
inline void write_outer(std::byte* at, const OuterTemplate& outer, std::uint16_t source_port, std::uint32_t flow,
                        std::uint32_t payload_bytes) {
  std::memcpy(at, outer.bytes.data(), outer.length);
  std::byte* ip = at + outer.ip_offset;
  std::byte* udp = at + outer.udp_offset;
  const auto udp_bytes = static_cast<std::uint16_t>(payload_bytes + 8);
  store_be16(udp, source_port);
  store_be16(udp + 4, udp_bytes);
  if (outer.ipv6 != 0) {
    store_be16(ip + 4, udp_bytes);
    // The flow label (RFC 6437) spreads packets where routers do not look at ports.
    ip[1] = static_cast<std::byte>(flow >> 16 & 0x0F);
    store_be16(ip + 2, static_cast<std::uint16_t>(flow));
  } else {
    store_be16(ip + 2, static_cast<std::uint16_t>(udp_bytes + 20));
  }
}

// The template's IPv4 header is summed with its length: 20 bytes, no options.
inline void write_ipv4_checksum(std::byte* ip) {
  ip[10] = ip[11] = std::byte{0};
  const auto sum = static_cast<std::uint16_t>(~fold(add_words({ip, 20}, 0)));
  std::memcpy(ip + 10, &sum, sizeof sum);
}

// `sum` covers pseudo header, UDP header with a zero checksum, and payload. Zero means "none" and is sent as ones.
inline void write_udp_checksum(std::byte* udp, std::uint64_t sum) {
  auto value = static_cast<std::uint16_t>(~fold(sum));
  value = value == 0 ? 0xFFFF : value;
  std::memcpy(udp + 6, &value, sizeof value);
}

}  // namespace slipway
