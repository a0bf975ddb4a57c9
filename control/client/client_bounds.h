#pragma once
// Every bound of the client library.

#include <cstddef>
#include <cstdint>

#include "bounds.h"

namespace slipway {

inline constexpr std::size_t kClientReceiveBytes = 256u << 10;  // one read of a stream
inline constexpr std::size_t kClientTurnBytes = 4u << 20;       // read from one link in one turn of the loop
inline constexpr std::size_t kClientFlushBytes = 64u << 10;     // written at once instead of at the end of the turn
inline constexpr std::size_t kClientQueueBytes = 8u << 20;      // waiting to be written, by default
inline constexpr std::size_t kClientLocalBytes = 8u << 20;      // waiting for applications of the same link
inline constexpr std::uint32_t kClientPendingAcks = 1024;       // subscriptions sent and not yet answered
inline constexpr std::uint32_t kClientMaxSubscriptions = 4u << 20;
inline constexpr std::uint32_t kClientMaxQueries = 1024;        // instance queries not yet answered

inline constexpr std::uint64_t kClientTickMs = 100;             // resolution of the timeouts below
inline constexpr std::uint64_t kClientAckMs = 2'000;            // then a subscription is sent again,
inline constexpr std::uint32_t kClientAckTries = 5;             //   so often, and then it has failed
inline constexpr std::uint64_t kClientHelloAgainMs = 250;       // datagrams: hello is repeated after this
inline constexpr std::uint32_t kClientDeadAfter = 3;            // keepalive times of silence until a link is given up

inline constexpr std::uint32_t kClientDatagramBytes = 1452;     // UDP payload: 1500 less IPv6 and UDP
inline constexpr std::uint32_t kClientLoopbackDatagramBytes = 16u << 10;
inline constexpr std::uint32_t kClientDatagramBatch = 64;       // datagrams of one system call

static_assert(kClientReceiveBytes >= kMaxControlFrameBytes + kStreamPrefixBytes);
static_assert(kClientFlushBytes <= kClientQueueBytes);

}  // namespace slipway
