#pragma once
// Every bound of the node's own channels, in one place.

#include <cstddef>
#include <cstdint>

#include "bounds.h"

namespace slipway {

inline constexpr std::uint32_t kDefaultMaxChannels = 1'024;        // `slipway.channels.limit`
inline constexpr std::uint32_t kMaxMaxChannels = 16'000;           // what it can be set to
inline constexpr std::size_t kMaxChannelWaiting = 1'024;           // invites and removals that are not through, a channel
inline constexpr std::uint64_t kInviteAgainMs = 2'000;             // somebody of the configuration file who was not there:
inline constexpr std::uint64_t kInviteAgainMaxMs = 30'000;         //   ever later
inline constexpr std::size_t kMaxAskerBytes = 256;                 // of who asked, as it is shown and stored

// --- the application inside the node -------------------------------------------------------------------
inline constexpr std::size_t kLocalInBytes = 16u << 20;            // frames that wait for the application; the newest are dropped
inline constexpr std::size_t kLocalOutBytes = 32u << 20;           // that it has sent and that wait for the store or for a worker
inline constexpr std::uint64_t kLocalTurnNs = 500'000;             // of the control thread's turn that its frames may take

// --- the store ---------------------------------------------------------------------------------------------
inline constexpr std::size_t kSealingKeyBytes = 32;                // AES-256
inline constexpr std::size_t kMaxStoreNameBytes = 512;
inline constexpr std::size_t kMaxStoreValueBytes = 64u << 20;      // a group of kMaxSessionMembers fits many times
inline constexpr std::size_t kMaxStoreWaitingBytes = 256u << 20;   // writes that are not on the disk yet

static_assert(kLocalOutBytes > 2 * kMaxFrameBytes);
static_assert(kMaxStoreWaitingBytes >= 2 * kMaxStoreValueBytes);

}  // namespace slipway
