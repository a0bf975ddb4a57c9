#pragma once
// IPv4 and IPv6 addresses and prefixes as ports use them, and their text.
// Pure functions: any thread.

#include <array>
#include <cstdint>
#include <expected>
#include <string>
#include <string_view>

#include "base/link.h"

namespace slipway {

using MacAddress = std::array<std::uint8_t, 6>;

// IPv4 lies in the first 4 bytes, as in IpEndpoint; the rest is zero.
struct IpAddress {
  std::array<std::uint8_t, 16> bytes{};
  std::uint8_t family = 0;  // 4, 6, or 0: none
  friend bool operator==(const IpAddress&, const IpAddress&) = default;

  [[nodiscard]] std::uint32_t byte_count() const { return family == 4 ? 4 : family == 6 ? 16 : 0; }
};

struct IpPrefix {
  IpAddress address;          // as configured: host bits are kept
  std::uint8_t length = 0;    // bits

  [[nodiscard]] bool contains(const IpAddress& other) const;
};

// A static route of a port: packets to `to` go to the router `via`, which is in a prefix of the port.
struct StaticRoute {
  IpPrefix to;
  IpAddress via;
};

[[nodiscard]] std::expected<IpAddress, std::string> parse_ip_address(std::string_view text);
// "10.1.0.2/24", "fd00::2/64"; without a length the whole address is the prefix.
[[nodiscard]] std::expected<IpPrefix, std::string> parse_ip_prefix(std::string_view text);
[[nodiscard]] std::string to_text(const IpAddress& address);
[[nodiscard]] std::string to_text(const IpPrefix& prefix);
[[nodiscard]] std::string to_text(const IpEndpoint& endpoint);  // "10.1.0.2:46367", "[fd00::2]:46367"
[[nodiscard]] std::string to_text(const MacAddress& mac);

[[nodiscard]] IpAddress address_of(const IpEndpoint& endpoint);
[[nodiscard]] IpEndpoint make_endpoint(const IpAddress& address, std::uint16_t port);

// RFC 4291 2.7.1: the multicast address at which neighbours solicit `address`; RFC 2464 7: its MAC address.
[[nodiscard]] IpAddress solicited_node(const IpAddress& address);
[[nodiscard]] MacAddress multicast_mac(const IpAddress& multicast);
// RFC 4291 appendix A: the link-local address made from a MAC address.
[[nodiscard]] IpAddress link_local_address(const MacAddress& mac);
// Multicast, broadcast, unspecified or loopback: never a peer's.
[[nodiscard]] bool is_unicast(const IpAddress& address);

}  // namespace slipway
