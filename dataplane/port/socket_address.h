#pragma once
// Socket addresses and IpEndpoint. An IPv4 peer of an IPv6 socket appears as its IPv4 self. Pure: any thread.

#include <netinet/in.h>
#include <sys/socket.h>

#include <cstring>

#include "base/link.h"

namespace slipway {

[[nodiscard]] inline IpEndpoint endpoint_of(const sockaddr* address) {
  IpEndpoint out;
  if (address->sa_family == AF_INET) {
    sockaddr_in v4;
    std::memcpy(&v4, address, sizeof v4);
    out.family = 4;
    out.port = ntohs(v4.sin_port);
    std::memcpy(out.address.data(), &v4.sin_addr, 4);
  } else if (address->sa_family == AF_INET6) {
    sockaddr_in6 v6;
    std::memcpy(&v6, address, sizeof v6);
    out.port = ntohs(v6.sin6_port);
    if (IN6_IS_ADDR_V4MAPPED(&v6.sin6_addr)) {
      out.family = 4;
      std::memcpy(out.address.data(), v6.sin6_addr.s6_addr + 12, 4);
    } else {
      out.family = 6;
      std::memcpy(out.address.data(), &v6.sin6_addr, 16);
    }
  }
  return out;
}

// For a socket of AF_INET6 when `ipv6`, else AF_INET. Returns the length; 0: the socket cannot reach the address.
[[nodiscard]] inline socklen_t to_socket_address(const IpEndpoint& endpoint, bool ipv6, sockaddr_storage& out) {
  if (!ipv6) {
    if (endpoint.family != 4) {
      return 0;
    }
    sockaddr_in v4{};
    v4.sin_family = AF_INET;
    v4.sin_port = htons(endpoint.port);
    std::memcpy(&v4.sin_addr, endpoint.address.data(), 4);
    std::memcpy(&out, &v4, sizeof v4);
    return sizeof v4;
  }
  sockaddr_in6 v6{};
  v6.sin6_family = AF_INET6;
  v6.sin6_port = htons(endpoint.port);
  if (endpoint.family == 4) {
    v6.sin6_addr.s6_addr[10] = 0xFF;
    v6.sin6_addr.s6_addr[11] = 0xFF;
    std::memcpy(v6.sin6_addr.s6_addr + 12, endpoint.address.data(), 4);
  } else {
    std::memcpy(&v6.sin6_addr, endpoint.address.data(), 16);
  }
  std::memcpy(&out, &v6, sizeof v6);
  return sizeof v6;
}

}  // namespace slipway
