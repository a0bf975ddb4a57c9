#include "port/socket_deframe_datapath.h"

#include <algorithm>

namespace slipway {

DeframeStep deframe_piece(DeframeState& state, const std::byte* data, std::uint32_t bytes, std::uint32_t max_frame_bytes) {
  const bool first = state.taken == 0;
  if (state.total == 0) {
    const std::uint32_t have = state.taken;
    const std::uint32_t copied = std::min<std::uint32_t>(bytes, static_cast<std::uint32_t>(kStreamPrefixBytes) - have);
    std::memcpy(state.prefix + have, data, copied);
    if (have + copied < kStreamPrefixBytes) {
      state.taken += copied;
      return {.kind = DeframeKind::kPiece, .first = first, .bytes = copied};
    }
    const auto frame_bytes = load_le<std::uint32_t>(state.prefix);
    if (!stream_length_ok(frame_bytes, max_frame_bytes)) {
      return {.kind = DeframeKind::kBadLength};
    }
    state.total = static_cast<std::uint32_t>(kStreamPrefixBytes) + frame_bytes;
  }
  const std::uint32_t piece = std::min(bytes, state.total - state.taken);
  const auto frame_bytes = state.total - static_cast<std::uint32_t>(kStreamPrefixBytes);
  state.taken += piece;
  const bool last = state.taken == state.total;
  if (last) {
    state.taken = 0;
    state.total = 0;
  }
  return {.kind = DeframeKind::kPiece, .first = first, .last = last, .bytes = piece, .frame_bytes = frame_bytes};
}

}  // namespace slipway
