// How the bytes of a snapshot begin, and what those of changes hold. Internal.
#pragma once

#include "group/receive.h"

namespace slipway::mls {

inline constexpr uint32_t kSnapshotMagic = 0x534d4c53;  // "SMLS"
inline constexpr uint8_t kSnapshotVersion = 1;
enum class SnapshotKind : uint8_t { kWhole = 1, kChanges = 2 };
enum class ChangeKind : uint8_t { kRatchet = 1, kWaiting = 2 };

}  // namespace slipway::mls
