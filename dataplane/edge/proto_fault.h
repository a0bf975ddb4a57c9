#pragma once
// Why a message of an upstream application (or a frame on its way to one) was refused, as the codec says it. The list is
// base/edge_faults.h; each fault is a drop reason of its own.

#include <array>
#include <cstdint>
#include <string_view>

#include "base/drop_reason.h"
#include "base/edge_faults.h"

namespace slipway {

enum class EdgeFault : std::uint8_t {
  kNone,
#define SLIPWAY_X(enumerator, name, closes, what, advice) k##enumerator,
  SLIPWAY_EDGE_FAULTS(SLIPWAY_X)
#undef SLIPWAY_X
};

struct EdgeFaultText {
  std::string_view name;
  bool closes;               // the stream ends, as upstream's node ends it; otherwise only the message is lost
  std::string_view what;
  std::string_view advice;
};

inline constexpr auto kEdgeFaultTexts = std::to_array<EdgeFaultText>({
    {"none", false, "nothing", "Nothing."},
#define SLIPWAY_X(enumerator, name, closes, what, advice) {name, closes, what, advice},
    SLIPWAY_EDGE_FAULTS(SLIPWAY_X)
#undef SLIPWAY_X
});
inline constexpr std::size_t kEdgeFaultCount = kEdgeFaultTexts.size();

constexpr const EdgeFaultText& edge_fault_text(EdgeFault fault) { return kEdgeFaultTexts[static_cast<std::size_t>(fault)]; }

// fault: not kNone.
constexpr DropReason drop_reason_of(EdgeFault fault) {
  return static_cast<DropReason>(static_cast<std::size_t>(DropReason::kEdgeCutShort) + static_cast<std::size_t>(fault) - 1);
}
static_assert(drop_reason_of(EdgeFault::kCutShort) == DropReason::kEdgeCutShort);
static_assert(drop_reason_of(EdgeFault::kTooBigForUpstream) == DropReason::kEdgeTooBigForUpstream);

}  // namespace slipway
