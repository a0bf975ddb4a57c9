#pragma once
// What one connection counts, and the time that it is told. Plain numbers: written by the owner alone.

#include <cstdint>

namespace slipway {

struct TransportTime {
  std::uint64_t now_ns = 0;   // any monotonic clock, the same in every call
  std::int64_t unix_s = 0;    // seconds since 1970: for credentials
};

struct TransportCounters {
  std::uint64_t messages_in = 0;
  std::uint64_t messages_out = 0;
  std::uint64_t message_bytes_in = 0;
  std::uint64_t message_bytes_out = 0;
  std::uint64_t wire_bytes_in = 0;
  std::uint64_t wire_bytes_out = 0;
  std::uint64_t frames_in = 0;          // HTTP/2 or WebSocket frames
  std::uint64_t data_frames_out = 0;
  std::uint64_t control_frames_in = 0;  // those that count against floods
  std::uint64_t streams_opened = 0;
  std::uint64_t streams_refused = 0;
  std::uint64_t refused_too_large = 0;  // messages not sent: too large for the peer
};

}  // namespace slipway
