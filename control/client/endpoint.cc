#include "client/endpoint.h"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <netinet/in.h>
#include <sys/un.h>

#include <charconv>
#include <cstring>

namespace slipway {
namespace {

constexpr std::string_view kForm = "an address is tcp://HOST:PORT, udp://HOST:PORT or unix:///PATH, where HOST is an IP address or a name";

std::unexpected<std::string> wrong(std::string_view text, std::string_view what) {
  return std::unexpected(fmt::format("'{}' is no address: {}; {}", text, what, kForm));
}

// "host:port", "[v6]:port", "host", "[v6]".
std::expected<void, std::string> parse_host(std::string_view text, std::string_view rest, Endpoint* endpoint) {
  std::string host;
  std::string_view port_text;
  if (rest.starts_with('[')) {
    const auto end = rest.find(']');
    if (end == std::string_view::npos) {
      return wrong(text, "the bracket is not closed");
    }
    host = rest.substr(1, end - 1);
    port_text = rest.substr(end + 1);
    if (!port_text.empty() && port_text.front() != ':') {
      return wrong(text, "after the bracket comes a colon and a port");
    }
  } else {
    const auto colon = rest.find(':');
    if (colon != std::string_view::npos && rest.find(':', colon + 1) != std::string_view::npos) {
      return wrong(text, "an IPv6 address is written in brackets");
    }
    host = rest.substr(0, colon);
    port_text = colon == std::string_view::npos ? std::string_view{} : rest.substr(colon);
  }
  std::uint16_t port = kDefaultNativePort;
  if (!port_text.empty()) {
    port_text.remove_prefix(1);
    const auto [end, error] = std::from_chars(port_text.data(), port_text.data() + port_text.size(), port);
    if (error != std::errc{} || end != port_text.data() + port_text.size() || port == 0) {
      return wrong(text, "the port is a number from 1 to 65535");
    }
  }
  if (host == "localhost") {
    host = "127.0.0.1";
  }
  auto* v4 = reinterpret_cast<sockaddr_in*>(&endpoint->address);
  auto* v6 = reinterpret_cast<sockaddr_in6*>(&endpoint->address);
  const bool is_v6 = host.find(':') != std::string::npos;
  if (inet_pton(is_v6 ? AF_INET6 : AF_INET, host.c_str(), is_v6 ? static_cast<void*>(&v6->sin6_addr) : &v4->sin_addr) != 1) {
    if (is_v6 || !is_host_name(host)) {
      return wrong(text, fmt::format("'{}' is neither an IP address nor a host's name", host));
    }
    endpoint->host = host;
  }
  endpoint->port = port;
  if (!endpoint->host.empty()) {
    // Looked up when it is needed.
  } else if (is_v6) {
    v6->sin6_family = AF_INET6;
    v6->sin6_port = htons(port);
    endpoint->address_bytes = sizeof *v6;
  } else {
    v4->sin_family = AF_INET;
    v4->sin_port = htons(port);
    endpoint->address_bytes = sizeof *v4;
  }
  const char* scheme = endpoint->kind == Endpoint::Kind::kTcp ? "tcp" : "udp";
  endpoint->text = is_v6 ? fmt::format("{}://[{}]:{}", scheme, host, port) : fmt::format("{}://{}:{}", scheme, host, port);
  return {};
}

}  // namespace

bool Endpoint::loopback() const {
  if (address.ss_family == AF_INET) {
    return ntohl(reinterpret_cast<const sockaddr_in*>(&address)->sin_addr.s_addr) >> 24 == 127;
  }
  if (address.ss_family == AF_INET6) {
    return IN6_IS_ADDR_LOOPBACK(&reinterpret_cast<const sockaddr_in6*>(&address)->sin6_addr);
  }
  return address.ss_family == AF_UNIX;
}

std::expected<Endpoint, std::string> parse_endpoint(std::string_view text) {
  Endpoint endpoint;
  const auto colon = text.find("://");
  if (colon == std::string_view::npos) {
    return wrong(text, "it has no scheme");
  }
  const auto scheme = text.substr(0, colon);
  const auto rest = text.substr(colon + 3);
  if (rest.empty()) {
    return wrong(text, "nothing follows the scheme");
  }
  if (scheme == "unix") {
    auto* local = reinterpret_cast<sockaddr_un*>(&endpoint.address);
    if (rest.size() >= sizeof local->sun_path) {
      return wrong(text, fmt::format("a socket's path has at most {} bytes", sizeof local->sun_path - 1));
    }
    endpoint.kind = Endpoint::Kind::kUnix;
    local->sun_family = AF_UNIX;
    std::memcpy(local->sun_path, rest.data(), rest.size());
    endpoint.address_bytes = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + rest.size() + 1);
    endpoint.text = text;
    return endpoint;
  }
  if (scheme != "tcp" && scheme != "udp") {
    return wrong(text, fmt::format("'{}' is not a scheme that is known", scheme));
  }
  endpoint.kind = scheme == "tcp" ? Endpoint::Kind::kTcp : Endpoint::Kind::kUdp;
  if (auto parsed = parse_host(text, rest, &endpoint); !parsed) {
    return std::unexpected(parsed.error());
  }
  return endpoint;
}

void set_address(Endpoint& endpoint, const HostAddress& host) {
  endpoint.address = {};
  if (host.family == AF_INET6) {
    auto* v6 = reinterpret_cast<sockaddr_in6*>(&endpoint.address);
    v6->sin6_family = AF_INET6;
    v6->sin6_port = htons(endpoint.port);
    std::memcpy(&v6->sin6_addr, host.bytes, sizeof v6->sin6_addr);
    endpoint.address_bytes = sizeof *v6;
  } else {
    auto* v4 = reinterpret_cast<sockaddr_in*>(&endpoint.address);
    v4->sin_family = AF_INET;
    v4->sin_port = htons(endpoint.port);
    std::memcpy(&v4->sin_addr, host.bytes, sizeof v4->sin_addr);
    endpoint.address_bytes = sizeof *v4;
  }
}

std::expected<void, std::string> look_up(Endpoint& endpoint, std::uint64_t timeout_ms) {
  if (endpoint.host.empty()) {
    return {};
  }
  auto loop = Loop::create();
  if (!loop) {
    return std::unexpected(loop.error());
  }
  Resolver resolver(**loop);
  std::expected<void, std::string> result = std::unexpected(fmt::format("`{}` was not resolved within {} ms; is a server of /etc/resolv.conf reachable?",
                                                                        endpoint.host, timeout_ms));
  bool done = false;
  resolver.resolve(endpoint.host, [&](Resolver::Answer answer) {
    done = true;
    result = {};
    if (answer) {
      set_address(endpoint, answer->front());
    } else {
      result = std::unexpected(answer.error());
    }
  });
  const auto end = (*loop)->refresh_now() + timeout_ms * 1'000'000;
  while (!done && (*loop)->refresh_now() < end) {
    (*loop)->turn(end - (*loop)->now_ns());
  }
  return result;
}

}  // namespace slipway
