// Texts of addresses.
#include <arpa/inet.h>
#include <fmt/format.h>
#include <sys/un.h>

#include <charconv>
#include <cstring>

#include "node/config.h"

namespace slipway {

namespace {

std::expected<std::uint32_t, std::string> whole_number(std::string_view text, std::uint32_t max, std::string_view what) {
  std::uint32_t value = 0;
  const auto [end, fault] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (fault != std::errc{} || end != text.data() + text.size() || value > max) {
    return std::unexpected(fmt::format("`{}` is no {}: write a number from 0 to {}", text, what, max));
  }
  return value;
}

}  // namespace

std::expected<IpEndpoint, std::string> parse_ip(std::string_view text) {
  if (text == "localhost") {
    text = "127.0.0.1";
  }
  const std::string address(text);
  IpEndpoint endpoint;
  if (inet_pton(AF_INET, address.c_str(), endpoint.address.data()) == 1) {
    endpoint.family = 4;
  } else if (inet_pton(AF_INET6, address.c_str(), endpoint.address.data()) == 1) {
    endpoint.family = 6;
  } else {
    return std::unexpected(fmt::format("`{}` is no IPv4 or IPv6 address: write it in numbers", text));
  }
  return endpoint;
}

std::expected<IpEndpoint, std::string> parse_ip_port(std::string_view text) {
  const auto colon = text.rfind(':');
  if (colon == std::string_view::npos) {
    return std::unexpected(fmt::format("`{}` has no port: write ADDRESS:PORT", text));
  }
  auto host = text.substr(0, colon);
  if (host.size() >= 2 && host.front() == '[' && host.back() == ']') {
    host = host.substr(1, host.size() - 2);
  } else if (host.find(':') != std::string_view::npos) {
    return std::unexpected(fmt::format("`{}`: put the IPv6 address in brackets, as in [::1]:46367", text));
  }
  auto endpoint = parse_ip(host);
  if (!endpoint) {
    return endpoint;
  }
  const auto port = whole_number(text.substr(colon + 1), 65535, "port");
  if (!port) {
    return std::unexpected(port.error());
  }
  endpoint->port = static_cast<std::uint16_t>(*port);
  return endpoint;
}

std::expected<AddressPrefix, std::string> parse_address_prefix(std::string_view text) {
  const auto slash = text.find('/');
  if (slash == std::string_view::npos) {
    return std::unexpected(fmt::format("`{}` has no prefix length: write ADDRESS/BITS, as in 10.0.0.1/24", text));
  }
  const auto address = parse_ip(text.substr(0, slash));
  if (!address) {
    return std::unexpected(address.error());
  }
  const auto bits = whole_number(text.substr(slash + 1), address->family == 4 ? 32 : 128, "prefix length");
  if (!bits) {
    return std::unexpected(bits.error());
  }
  return AddressPrefix{*address, static_cast<std::uint8_t>(*bits)};
}

std::expected<SocketAddress, std::string> parse_socket_address(std::string_view text) {
  const auto scheme_end = text.find("://");
  const auto scheme = scheme_end == std::string_view::npos ? std::string_view{} : text.substr(0, scheme_end);
  const auto rest = scheme_end == std::string_view::npos ? text : text.substr(scheme_end + 3);
  if (scheme == "unix") {
    if (rest.empty() || rest.size() >= sizeof(sockaddr_un::sun_path)) {
      return std::unexpected(fmt::format("`{}`: a socket path has 1 to {} bytes", text, sizeof(sockaddr_un::sun_path) - 1));
    }
    return SocketAddress{SocketKind::kUnix, {}, std::string(rest)};
  }
  if (scheme != "tcp" && scheme != "udp") {
    return std::unexpected(fmt::format("`{}`: write tcp://ADDRESS:PORT, udp://ADDRESS:PORT or unix://PATH", text));
  }
  const auto endpoint = parse_ip_port(rest);
  if (!endpoint) {
    return std::unexpected(endpoint.error());
  }
  return SocketAddress{scheme == "tcp" ? SocketKind::kTcp : SocketKind::kUdp, *endpoint, {}};
}

std::string ip_text(const IpEndpoint& endpoint) {
  char text[INET6_ADDRSTRLEN] = "none";
  if (endpoint.family != 0) {
    inet_ntop(endpoint.family == 4 ? AF_INET : AF_INET6, endpoint.address.data(), text, sizeof text);
  }
  return text;
}

std::string ip_port_text(const IpEndpoint& endpoint) {
  const auto address = ip_text(endpoint);
  return endpoint.family == 6 ? fmt::format("[{}]:{}", address, endpoint.port) : fmt::format("{}:{}", address, endpoint.port);
}

std::string SocketAddress::text() const {
  switch (kind) {
    case SocketKind::kUnix: return "unix://" + path;
    case SocketKind::kTcp: return "tcp://" + ip_port_text(ip);
    case SocketKind::kUdp: return "udp://" + ip_port_text(ip);
  }
  return {};
}

std::string AddressPrefix::text() const { return fmt::format("{}/{}", ip_text(address), bits); }

}  // namespace slipway
