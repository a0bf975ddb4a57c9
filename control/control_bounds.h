#pragma once
// Every bound of the control thread, in one place. The dataplane's are in bounds.h.

#include <cstddef>
#include <cstdint>

#include "bounds.h"

namespace slipway {

// --- links -------------------------------------------------------------------------------------------
inline constexpr std::uint64_t kHelloDeadlineMs = 5'000;       // from open to the end of the hello
inline constexpr std::uint64_t kReadyMs = 1'000;               // without a sign from the other end: it is ready all the same
inline constexpr std::uint64_t kHelloRetryMs = 500;            // datagram links: between two hellos
inline constexpr std::uint64_t kLinkTickMs = 200;              // how often links are looked at
inline constexpr std::uint32_t kKeepaliveTries = 3;            // silence of so many intervals: the link is dead
inline constexpr std::uint32_t kMinKeepaliveMs = 100;          // a peer that asks for less gets this
inline constexpr std::uint32_t kRefusalDrainMs = 1'000;        // time for a refusal or a farewell to leave
inline constexpr std::size_t kMaxLinkTextBytes = 256;          // node ids, versions and reasons of peers
inline constexpr std::size_t kRecentLinks = 64;                // closed links that `links` still shows
inline constexpr std::uint64_t kCookieSeconds = 15;            // a cookie is good for one to two of these
inline constexpr std::uint32_t kAcceptBurst = 64;              // connections taken in one turn of the loop
inline constexpr std::uint32_t kLostLinkSlice = 4'096;         // subscriptions of a lost link removed in one turn

// --- subscriptions ------------------------------------------------------------------------------------
inline constexpr std::uint32_t kInstancesInReply = 500;        // ids in one answer to an instances query
inline constexpr std::size_t kMaxPendingAcks = 1u << 20;       // acknowledgements that wait for workers
inline constexpr std::uint64_t kPeerAckDelayMs = 1;               // answers to upstream's peers go after one to two of these
inline constexpr std::uint8_t kFullMeshSyncHops = 2;           //   where each peer is linked with each: one hop
inline constexpr std::uint8_t kStandaloneSyncHops = 8;         // upstream: hop limit of what a node announces
inline constexpr std::uint32_t kSyncSlice = 1'024;             // names of a full synchronisation in one turn

// --- ports ---------------------------------------------------------------------------------------------
inline constexpr std::uint64_t kGroupReportMs = 60'000;        // switches that snoop forget a group after some 260 s

// --- control API ----------------------------------------------------------------------------------------
inline constexpr std::size_t kMaxRequestHeadBytes = 16u << 10;
inline constexpr std::size_t kMaxRequestBodyBytes = 256u << 10;
inline constexpr std::uint64_t kRequestDeadlineMs = 10'000;    // from the first byte of a request to its last
inline constexpr std::uint64_t kIdleApiMs = 60'000;            // a connection without a request
inline constexpr std::size_t kMaxResponseQueueBytes = 16u << 20;  // a stream whose reader is slower loses records
inline constexpr std::uint32_t kMaxListed = 10'000;            // entries of one listing; `after` pages on
inline constexpr std::uint32_t kMaxTraceFrames = 100'000;

static_assert(kKeepaliveTries >= 2, "one lost keepalive must not cost a link");
static_assert(kInstancesInReply * 26 + 512 <= kMaxControlFrameBytes, "an instances answer fits one control frame");

}  // namespace slipway
