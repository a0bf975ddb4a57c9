#pragma once
// Where a client's link goes: tcp://HOST:PORT, unix://PATH or udp://HOST:PORT. HOST is a numeric IPv4 address, an
// IPv6 address in brackets, or `localhost` (127.0.0.1). The port may be left out: 46367.

#include <sys/socket.h>

#include <cstdint>
#include <expected>
#include <string>
#include <string_view>

namespace slipway {

inline constexpr std::uint16_t kDefaultNativePort = 46367;

struct Endpoint {
  enum class Kind : std::uint8_t { kTcp, kUnix, kUdp };
  Kind kind = Kind::kTcp;
  sockaddr_storage address{};
  socklen_t address_bytes = 0;
  std::string text;  // in full, as people write it

  [[nodiscard]] bool loopback() const;  // of this machine: datagrams may be large
};

// Pure. The error says what an address looks like.
std::expected<Endpoint, std::string> parse_endpoint(std::string_view text);

}  // namespace slipway
