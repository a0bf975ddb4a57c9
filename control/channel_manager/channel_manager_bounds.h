#pragma once
// Every bound of the channel-manager service.

#include <cstddef>
#include <cstdint>

#include "bounds.h"

namespace slipway {

inline constexpr std::size_t kManagerConnections = 16;            // at a time, over all listeners
inline constexpr std::uint32_t kManagerCalls = 4;                 // open on one connection
inline constexpr std::uint32_t kManagerMessageBytes = 1u << 20;   // requests, and answers
inline constexpr std::size_t kManagerMemoryBytes = 16u << 20;     // HTTP/2 and TLS state of all connections
inline constexpr std::size_t kManagerNameBytes = 3 * 256 + 2;     // of a channel's or participant's name, as text
inline constexpr std::size_t kManagerProofBytes = 16u << 10;      // of a signed request or a grant
inline constexpr std::size_t kManagerOperations = 256;            // under way, whether or not somebody still waits for them
inline constexpr std::size_t kManagerApprovals = 64;              // owners being asked
inline constexpr std::size_t kManagerOperators = 64;
inline constexpr std::size_t kUsedNonces = 100'000;               // remembered at a time
inline constexpr std::size_t kManagerOwners = 10'000;             // owned or ageing channels

inline constexpr std::uint64_t kSignedRequestAheadS = 24 * 60 * 60;  // how far ahead a signed request may end
inline constexpr std::uint64_t kApprovalMs = 60'000;                 // for an owner's answer
inline constexpr std::uint64_t kExpirySweepMs = 30'000;

static_assert(std::uint64_t{kManagerConnections} * kManagerCalls * kManagerMessageBytes <= kNodeBudgetBytes / 4,
              "all messages that may be half received at a time");
static_assert(kManagerProofBytes < kManagerMessageBytes, "a request has room for its proof");

}  // namespace slipway
