#pragma once
// Every bound of connections to SLIM nodes in upstream's protocol.

#include <cstddef>
#include <cstdint>

#include "bounds.h"

namespace slipway {

inline constexpr std::size_t kEdgeClientReceiveBytes = 64u << 10;  // one read of a socket
inline constexpr std::size_t kEdgeClientRestedBytes = 8u << 10;   //   after its reader wished for a rest
inline constexpr std::size_t kEdgeClientTurnBytes = 1u << 20;      // read from one socket in one turn of the loop
inline constexpr std::size_t kEdgeClientPieces = 256;              // of one message being translated
inline constexpr std::size_t kEdgeClientMemoryBytes = 32u << 20;   // HTTP/2 and TLS state of one connection, at most
inline constexpr std::size_t kEdgeClientQueueBytes = 8u << 20;     // waiting to be sent, by default
inline constexpr std::uint32_t kEdgeClientConnectMs = 5'000;       // for one address
inline constexpr std::uint32_t kEdgeClientHandshakeMs = 10'000;    // TLS, HTTP and the stream
inline constexpr std::size_t kFirstBytesKept = 16;                 // of what the other side said first

static_assert(kEdgeClientQueueBytes >= kMaxGrpcMessageBytes);

}  // namespace slipway
