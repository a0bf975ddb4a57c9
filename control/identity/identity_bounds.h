#pragma once
// Every bound of identities and their tokens.

#include <cstddef>
#include <cstdint>

namespace slipway {

inline constexpr std::size_t kMinSharedSecretBytes = 32;
inline constexpr std::size_t kMaxSubjectBytes = 1'024;
inline constexpr std::size_t kMaxTokenBytes = 8u << 10;
inline constexpr std::uint64_t kSharedSecretLifetimeS = 3'600;  // upstream's: a token lives so long after it was made
inline constexpr std::uint64_t kClockLeadS = 5;                 // a token may be so much from the future
inline constexpr std::uint64_t kTokenBackdateS = 1;             // ours are stamped a little in the past for that reason
inline constexpr std::uint64_t kTokenReuseS = 30;               // a token goes into all messages of so long
inline constexpr std::size_t kVerifiedTokensKept = 256;         // tokens that need no second look before they expire
inline constexpr std::size_t kRandomSuffixChars = 8;            // behind the base name of a shared-secret identity

static_assert(kTokenReuseS < kSharedSecretLifetimeS / 2);

}  // namespace slipway
