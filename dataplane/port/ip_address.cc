#include "port/ip_address.h"

#include <arpa/inet.h>
#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cstring>

namespace slipway {

bool IpPrefix::contains(const IpAddress& other) const {
  if (other.family != address.family || address.family == 0) {
    return false;
  }
  const std::uint32_t whole = length / 8;
  if (std::memcmp(address.bytes.data(), other.bytes.data(), whole) != 0) {
    return false;
  }
  const std::uint32_t rest = length % 8;
  return rest == 0 || ((address.bytes[whole] ^ other.bytes[whole]) >> (8 - rest)) == 0;
}

std::expected<IpAddress, std::string> parse_ip_address(std::string_view text) {
  const std::string copy(text);
  IpAddress address;
  if (inet_pton(AF_INET, copy.c_str(), address.bytes.data()) == 1) {
    address.family = 4;
  } else if (inet_pton(AF_INET6, copy.c_str(), address.bytes.data()) == 1) {
    address.family = 6;
  } else {
    return std::unexpected(fmt::format("`{}` is no IP address; write 10.1.0.2 or fd00::2.", text));
  }
  return address;
}

std::expected<IpPrefix, std::string> parse_ip_prefix(std::string_view text) {
  const auto slash = text.find('/');
  const auto address = parse_ip_address(text.substr(0, slash));
  if (!address) {
    return std::unexpected(address.error());
  }
  const unsigned most = address->byte_count() * 8;
  unsigned length = most;
  if (slash != std::string_view::npos) {
    const std::string_view digits = text.substr(slash + 1);
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), length);
    if (error != std::errc{} || end != digits.data() + digits.size() || length > most) {
      return std::unexpected(fmt::format("`{}`: the prefix length must be 0 to {}.", text, most));
    }
  }
  return IpPrefix{.address = *address, .length = static_cast<std::uint8_t>(length)};
}

std::string to_text(const IpAddress& address) {
  char buffer[INET6_ADDRSTRLEN] = "none";
  if (address.family != 0) {
    inet_ntop(address.family == 6 ? AF_INET6 : AF_INET, address.bytes.data(), buffer, sizeof buffer);
  }
  return buffer;
}

std::string to_text(const IpPrefix& prefix) { return fmt::format("{}/{}", to_text(prefix.address), prefix.length); }

std::string to_text(const IpEndpoint& endpoint) {
  const std::string address = to_text(address_of(endpoint));
  return endpoint.family == 6 ? fmt::format("[{}]:{}", address, endpoint.port) : fmt::format("{}:{}", address, endpoint.port);
}

std::string to_text(const MacAddress& mac) {
  return fmt::format("{:02x}:{:02x}:{:02x}:{:02x}:{:02x}:{:02x}", mac[0], mac[1], mac[2], mac[3], mac[4], mac[5]);
}

IpAddress address_of(const IpEndpoint& endpoint) { return {.bytes = endpoint.address, .family = endpoint.family}; }

IpEndpoint make_endpoint(const IpAddress& address, std::uint16_t port) {
  return {.address = address.bytes, .port = port, .family = address.family};
}

IpAddress solicited_node(const IpAddress& address) {
  IpAddress group{.bytes = {0xFF, 0x02, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xFF}, .family = 6};
  std::copy(address.bytes.begin() + 13, address.bytes.end(), group.bytes.begin() + 13);
  return group;
}

MacAddress multicast_mac(const IpAddress& multicast) {
  if (multicast.family == 4) {
    return {0x01, 0x00, 0x5E, static_cast<std::uint8_t>(multicast.bytes[1] & 0x7F), multicast.bytes[2], multicast.bytes[3]};
  }
  return {0x33, 0x33, multicast.bytes[12], multicast.bytes[13], multicast.bytes[14], multicast.bytes[15]};
}

IpAddress link_local_address(const MacAddress& mac) {
  return {.bytes = {0xFE, 0x80, 0, 0, 0, 0, 0, 0, static_cast<std::uint8_t>(mac[0] ^ 2), mac[1], mac[2], 0xFF, 0xFE, mac[3], mac[4], mac[5]},
          .family = 6};
}

bool is_unicast(const IpAddress& address) {
  if (address.family == 4) {
    return address.bytes[0] != 0 && address.bytes[0] != 127 && address.bytes[0] < 224;
  }
  static constexpr std::array<std::uint8_t, 16> kLoopback{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1};
  return address.family == 6 && address.bytes[0] != 0xFF && address.bytes != kLoopback && address.bytes != decltype(address.bytes){};
}

}  // namespace slipway
