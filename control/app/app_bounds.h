#pragma once
// Every bound of the endpoint library.

#include <cstddef>
#include <cstdint>

#include "bounds.h"
#include "session/session_bounds.h"

namespace slipway {

inline constexpr std::size_t kMaxUnreadMessages = 65'536;        // of a session that nobody reads
inline constexpr std::size_t kMaxUnreadBytes = 64u << 20;
inline constexpr std::size_t kMaxUnclaimedSessions = 1'024;      // opened by peers and not yet taken by the application
inline constexpr std::size_t kMaxAnycastPeers = 4'096;           // senders of anycast messages that have a session object
inline constexpr std::size_t kMaxConnections = 16;               // of one application
inline constexpr std::size_t kMaxRoutesSet = 65'536;             // by set_route
inline constexpr std::size_t kMaxWaysKept = 8'192;               // over which connection a peer was heard
inline constexpr std::size_t kDataLanes = 256;                   // sources of data whose headers are remembered
inline constexpr std::size_t kDataHeaders = 8;                   // destinations whose headers are kept encoded
inline constexpr std::size_t kSpareBuffers = 64;                 // for payloads, a thread;
inline constexpr std::size_t kMinSpareBytes = 512;               //   smaller ones are quick to allocate, and one that is kept must not
inline constexpr std::size_t kMaxSpareBytes = 2'048;             //   hold much more memory than its own
inline constexpr std::size_t kMaxWaitingFrames = 4'096;          // for a connection that takes no more
inline constexpr std::size_t kMaxWaitingBytes = 16u << 20;
inline constexpr std::uint64_t kCommandsTurnNs = 2'000'000;      // of a turn of the loop that signing and verifying commands may take
inline constexpr std::size_t kMaxPostponed = 4'096;              // actions that wait for their turn; with more, or more bytes of messages
inline constexpr std::size_t kMaxPostponedBytes = 16u << 20;     //   with them, all are carried out at once
inline constexpr std::size_t kUnbelievedKept = 32;                // who answered of late and was not believed, and why
inline constexpr std::size_t kMaxUpstreamSubscriptions = 65'536; // of one upstream connection
inline constexpr std::size_t kWireOverheadBytes = 64u << 10;     // headers, token, signature and padding of one message, at most
inline constexpr std::uint64_t kSubscribeAgainMs = 2'000;        // upstream connections: a subscription is asked for again,
inline constexpr std::uint32_t kSubscribeTries = 5;              //   so often, and then it has failed
inline constexpr std::uint32_t kDefaultRetries = 5;              // with a timeout and no number
inline constexpr std::uint32_t kAbsentNodeMs = 200;              // between two tries to connect while nothing listens there, at most
inline constexpr std::uint64_t kMinKeyRefreshS = 1;              // keys of groups are renewed at half the token's life

static_assert(kMaxUnreadBytes >= 2 * kMaxSessionPayloadBytes);
static_assert(kWireOverheadBytes < kMaxDatagramFrameBytes + 1);

}  // namespace slipway
