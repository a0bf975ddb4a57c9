#pragma once
// Every bound of the control service that upstream's tools speak.

#include <cstddef>
#include <cstdint>

#include "bounds.h"

namespace slipway {

inline constexpr std::size_t kControllerConnections = 16;         // at a time, over all listeners
inline constexpr std::uint32_t kControllerStreams = 4;            // open on one connection
inline constexpr std::uint32_t kControllerMessageBytes = 1u << 20;  // received
inline constexpr std::uint32_t kControllerWindowBytes = 256u << 10;
inline constexpr std::size_t kControllerMemoryBytes = 32u << 20;  // HTTP/2 and TLS state of all connections
inline constexpr std::size_t kControllerRequests = 32;            // of one stream, not answered yet
inline constexpr std::size_t kControllerQueueBytes = 1u << 20;    // waiting on one connection: lists go on below it
inline constexpr std::size_t kControllerChunkEntries = 100;       // of a list, in one message
inline constexpr std::size_t kControllerChunkBytes = 256u << 10;  // ... and then it is full
inline constexpr std::size_t kControllerItems = 10'000;           // of one command, of each kind
inline constexpr std::size_t kControllerIdBytes = 256;            // of message ids and link ids
inline constexpr std::size_t kControllerConfigBytes = 64u << 10;  // of the configuration of one connection
inline constexpr std::uint64_t kControllerHandshakeMs = 10'000;

static_assert(std::uint64_t{kControllerConnections} * kControllerStreams * kControllerMessageBytes <= kNodeBudgetBytes / 4,
              "all messages that may be half received at a time");

}  // namespace slipway
