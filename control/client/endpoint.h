#pragma once
// Where a client's link goes: tcp://HOST:PORT, unix://PATH or udp://HOST:PORT. HOST is an IPv4 address, an IPv6 address in
// brackets, `localhost` (127.0.0.1), or a name, which is looked up anew for each attempt. The port may be left out: 46367.

#include <sys/socket.h>

#include <cstdint>
#include <expected>
#include <string>
#include <string_view>

#include "loop/resolver.h"

namespace slipway {

inline constexpr std::uint16_t kDefaultNativePort = 46367;

struct Endpoint {
  enum class Kind : std::uint8_t { kTcp, kUnix, kUdp };
  Kind kind = Kind::kTcp;
  std::string host;        // a name; then `address` is the one it had when it was last looked up
  std::uint16_t port = 0;  // kTcp, kUdp
  sockaddr_storage address{};
  socklen_t address_bytes = 0;
  std::string text;  // in full, as people write it

  [[nodiscard]] bool loopback() const;  // of this machine: datagrams may be large
};

// Pure. The error says what an address looks like.
std::expected<Endpoint, std::string> parse_endpoint(std::string_view text);

// One of the addresses that the endpoint's name has.
void set_address(Endpoint& endpoint, const HostAddress& host);
// For programs that wait: looks the name up, if it is one, and takes the best address.
std::expected<void, std::string> look_up(Endpoint& endpoint, std::uint64_t timeout_ms);

}  // namespace slipway
