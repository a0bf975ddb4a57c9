#pragma once
// Packets for tests, written out field by field, independent of the code under test.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

#include "port/ethernet.h"

namespace slipway::test {

using Bytes = std::vector<std::byte>;

// "00 11 22" and the like; spaces are ignored.
inline Bytes from_hex(std::string_view text) {
  Bytes out;
  int high = -1;
  for (const char c : text) {
    const int digit = c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
    if (digit < 0) {
      continue;
    }
    if (high < 0) {
      high = digit;
    } else {
      out.push_back(static_cast<std::byte>(high * 16 + digit));
      high = -1;
    }
  }
  return out;
}

inline void append(Bytes& to, std::span<const std::byte> bytes) { to.insert(to.end(), bytes.begin(), bytes.end()); }
inline void append16(Bytes& to, unsigned value) {
  to.push_back(static_cast<std::byte>(value >> 8));
  to.push_back(static_cast<std::byte>(value));
}
inline void append(Bytes& to, const IpAddress& address) { append(to, std::as_bytes(std::span(address.bytes).first(address.byte_count()))); }
inline void append(Bytes& to, const MacAddress& mac) { append(to, std::as_bytes(std::span(mac))); }
inline void put16(Bytes& bytes, std::size_t at, unsigned value) {
  bytes[at] = static_cast<std::byte>(value >> 8);
  bytes[at + 1] = static_cast<std::byte>(value);
}

// RFC 1071, two bytes at a time.
inline std::uint32_t slow_sum(std::span<const std::byte> bytes, std::uint32_t sum = 0) {
  for (std::size_t i = 0; i < bytes.size(); i += 2) {
    sum += std::to_integer<std::uint32_t>(bytes[i]) << 8 | (i + 1 < bytes.size() ? std::to_integer<std::uint32_t>(bytes[i + 1]) : 0);
    sum = (sum & 0xFFFF) + (sum >> 16);
  }
  return sum;
}

inline IpAddress ip(const char* text) { return *parse_ip_address(text); }

inline constexpr MacAddress kOurMac{0x02, 0, 0, 0, 0, 0x01};
inline constexpr MacAddress kPeerMac{0x02, 0, 0, 0, 0, 0x99};

inline EthernetPort test_port(std::uint16_t vlan = 0) {
  EthernetPort port{.number = 3, .mac = kOurMac, .vlan = vlan, .udp_port = 46367, .address_count = 2};
  port.addresses[0] = ip("10.1.0.1");
  port.addresses[1] = ip("fd00::1");
  return port;
}

struct DatagramFields {
  IpAddress from = ip("10.1.0.9");
  IpAddress to = ip("10.1.0.1");
  MacAddress to_mac = kOurMac;
  std::uint16_t vlan = 0;
  std::uint16_t source_port = 50000;
  std::uint16_t destination_port = 46367;
};

inline void append_ethernet(Bytes& packet, const MacAddress& to, const MacAddress& from, std::uint16_t vlan, unsigned type) {
  append(packet, to);
  append(packet, from);
  if (vlan != 0) {
    append16(packet, 0x8100);
    append16(packet, vlan);
  }
  append16(packet, type);
}

// Everything behind the Ethernet header, with right checksums.
inline void append_ip(Bytes& packet, const IpAddress& from, const IpAddress& to, std::uint8_t protocol, Bytes l4, std::size_t checksum_at,
                      bool pseudo, std::uint8_t hop_limit = 64) {
  const bool v6 = to.family == 6;
  Bytes addresses;
  append(addresses, from);
  append(addresses, to);
  std::uint32_t sum = pseudo ? slow_sum(addresses, static_cast<std::uint32_t>(l4.size()) + protocol) : 0;
  sum = slow_sum(l4, sum);
  put16(l4, checksum_at, ~sum & 0xFFFF);
  if (v6) {
    append16(packet, 0x6000);
    append16(packet, 0);
    append16(packet, static_cast<unsigned>(l4.size()));
    packet.push_back(static_cast<std::byte>(protocol));
    packet.push_back(static_cast<std::byte>(hop_limit));
    append(packet, addresses);
  } else {
    Bytes header = from_hex("45 00 00 00 00 00 40 00 40 00 00 00");
    put16(header, 2, static_cast<unsigned>(20 + l4.size()));
    header[8] = static_cast<std::byte>(hop_limit);
    header[9] = static_cast<std::byte>(protocol);
    append(header, addresses);
    put16(header, 10, ~slow_sum(header) & 0xFFFF);
    append(packet, header);
  }
  append(packet, l4);
}

inline Bytes datagram(const DatagramFields& fields, std::span<const std::byte> payload) {
  Bytes packet;
  append_ethernet(packet, fields.to_mac, kPeerMac, fields.vlan, fields.to.family == 6 ? 0x86DD : 0x0800);
  Bytes udp;
  append16(udp, fields.source_port);
  append16(udp, fields.destination_port);
  append16(udp, static_cast<unsigned>(8 + payload.size()));
  append16(udp, 0);
  append(udp, payload);
  append_ip(packet, fields.from, fields.to, 17, udp, 6, true);
  return packet;
}

inline Bytes echo(const IpAddress& from, const IpAddress& to, std::size_t payload_bytes, std::uint16_t vlan = 0) {
  const bool v6 = to.family == 6;
  Bytes packet;
  append_ethernet(packet, kOurMac, kPeerMac, vlan, v6 ? 0x86DD : 0x0800);
  Bytes icmp = from_hex(v6 ? "80 00 00 00 12 34 00 01" : "08 00 00 00 12 34 00 01");
  for (std::size_t i = 0; i < payload_bytes; ++i) {
    icmp.push_back(static_cast<std::byte>(i * 7));
  }
  append_ip(packet, from, to, v6 ? 58 : 1, icmp, 2, v6);
  return packet;
}

inline Bytes arp(const MacAddress& to, unsigned operation, const MacAddress& sender_mac, const IpAddress& sender, const IpAddress& target,
                 std::uint16_t vlan = 0) {
  Bytes packet;
  append_ethernet(packet, to, sender_mac, vlan, 0x0806);
  append(packet, from_hex("0001 0800 06 04"));
  append16(packet, operation);
  append(packet, sender_mac);
  append(packet, sender);
  append(packet, MacAddress{});
  append(packet, target);
  return packet;
}

inline Bytes neighbor(const MacAddress& to_mac, const IpAddress& from, const IpAddress& to, unsigned type, unsigned flags, const IpAddress& target,
                      bool option, std::uint8_t hop_limit = 255, std::uint16_t vlan = 0) {
  Bytes packet;
  append_ethernet(packet, to_mac, kPeerMac, vlan, 0x86DD);
  Bytes icmp{static_cast<std::byte>(type), std::byte{0}, std::byte{0}, std::byte{0}, static_cast<std::byte>(flags), std::byte{0}, std::byte{0}, std::byte{0}};
  append(icmp, target);
  if (option) {
    icmp.push_back(static_cast<std::byte>(type == 135 ? 1 : 2));
    icmp.push_back(std::byte{1});
    append(icmp, kPeerMac);
  }
  append_ip(packet, from, to, 58, icmp, 2, true, hop_limit);
  return packet;
}

// Bytes in a heap block of exactly their size, so that a sanitizer sees any step outside.
class Exact {
 public:
  explicit Exact(std::span<const std::byte> bytes) : size_(bytes.size()), bytes_(new std::byte[bytes.size()]) {
    std::ranges::copy(bytes, bytes_.get());
  }
  [[nodiscard]] std::span<const std::byte> span() const { return {bytes_.get(), size_}; }

 private:
  std::size_t size_;
  std::unique_ptr<std::byte[]> bytes_;
};

}  // namespace slipway::test
