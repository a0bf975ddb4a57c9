#pragma once
// Every bound of what session messages may hold on the wire.

#include <cstddef>
#include <cstdint>

#include "session/session_bounds.h"

namespace slipway {

inline constexpr std::size_t kMaxIdentityBytes = 8u << 10;        // a token in a header
inline constexpr std::size_t kMaxVersionBytes = 128;
inline constexpr std::size_t kMaxSignatureTextBytes = 256;        // a signature, or its base64
// Application bytes and what MLS adds: headers that it covers, a token, a signature, padding by an eighth.
inline constexpr std::size_t kMaxWireBlobBytes = kMaxSessionPayloadBytes + kMaxSessionPayloadBytes / 4 + (32u << 10);
// The session's own metadata may stand beside the application's.
inline constexpr std::size_t kMaxWireMetadataEntries = kMaxMetadataEntries + 8;
inline constexpr std::size_t kMaxWireMetadataBytes = kMaxMetadataBytes + 2'048;

static_assert(kMaxWireBlobBytes > kMaxCommandBytes);

}  // namespace slipway
