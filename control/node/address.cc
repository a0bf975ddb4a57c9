// Texts of addresses.
#include <fmt/format.h>
#include <sys/un.h>

#include <algorithm>
#include <charconv>
#include <cstring>

#include "loop/resolver.h"
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
  const auto address = parse_ip_address(host == "localhost" ? "127.0.0.1" : host);
  if (!address) {
    return std::unexpected(address.error());
  }
  const auto port = whole_number(text.substr(colon + 1), 65535, "port");
  if (!port) {
    return std::unexpected(port.error());
  }
  return make_endpoint(*address, static_cast<std::uint16_t>(*port));
}

std::expected<SocketAddress, std::string> parse_socket_address(std::string_view text) {
  const auto scheme_end = text.find("://");
  const auto scheme = scheme_end == std::string_view::npos ? std::string_view{} : text.substr(0, scheme_end);
  const auto rest = scheme_end == std::string_view::npos ? text : text.substr(scheme_end + 3);
  if (scheme == "unix") {
    if (rest.empty() || rest.size() >= sizeof(sockaddr_un::sun_path)) {
      return std::unexpected(fmt::format("`{}`: a socket path has 1 to {} bytes", text, sizeof(sockaddr_un::sun_path) - 1));
    }
    return SocketAddress{SocketKind::kUnix, {}, std::string(rest), {}};
  }
  if (scheme != "tcp" && scheme != "udp") {
    return std::unexpected(fmt::format("`{}`: write tcp://ADDRESS:PORT, udp://ADDRESS:PORT or unix://PATH", text));
  }
  const auto endpoint = parse_ip_port(rest);
  if (!endpoint) {
    return std::unexpected(endpoint.error());
  }
  return SocketAddress{scheme == "tcp" ? SocketKind::kTcp : SocketKind::kUdp, *endpoint, {}, {}};
}

std::expected<SocketAddress, std::string> parse_connect_address(std::string_view text) {
  auto numeric = parse_socket_address(text);
  const bool tcp = text.starts_with("tcp://");
  if (numeric || (!tcp && !text.starts_with("udp://"))) {
    return numeric;
  }
  const auto rest = text.substr(6);
  const auto colon = rest.rfind(':');
  const auto host = rest.substr(0, colon);
  if (colon == std::string_view::npos || !is_host_name(host)) {
    return numeric;
  }
  const auto port = whole_number(rest.substr(colon + 1), 65535, "port");
  if (!port || *port == 0) {
    return std::unexpected(port ? fmt::format("`{}`: port 0 is none to connect to", text) : port.error());
  }
  SocketAddress out{tcp ? SocketKind::kTcp : SocketKind::kUdp, {}, {}, std::string(host)};
  out.ip.port = static_cast<std::uint16_t>(*port);
  return out;
}

std::string SocketAddress::text() const {
  const auto at = [&] { return host.empty() ? to_text(ip) : fmt::format("{}:{}", host, ip.port); };
  switch (kind) {
    case SocketKind::kUnix: return "unix://" + path;
    case SocketKind::kTcp: return "tcp://" + at();
    case SocketKind::kUdp: return "udp://" + at();
  }
  return {};
}

bool operator==(const PortSettings& a, const PortSettings& b) {
  const auto same_prefix = [](const IpPrefix& x, const IpPrefix& y) { return x.address == y.address && x.length == y.length; };
  const auto same_route = [&](const StaticRoute& x, const StaticRoute& y) { return same_prefix(x.to, y.to) && x.via == y.via; };
  return a.name == b.name && a.device == b.device && a.vlan == b.vlan && a.mtu == b.mtu && a.udp_port == b.udp_port &&
         a.queues == b.queues && a.promiscuous == b.promiscuous && std::ranges::equal(a.addresses, b.addresses, same_prefix) &&
         std::ranges::equal(a.routes, b.routes, same_route);
}

}  // namespace slipway
