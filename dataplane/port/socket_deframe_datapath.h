#pragma once
// Finds frames in the bytes of a stream: a 32-bit little-endian length, then that many bytes, again and again.
// No I/O, no buffers, no clock: bytes in, steps out. The caller keeps the bytes; the state holds only the prefix.
// Any thread; one state a stream.

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "bounds.h"
#include "frame/frame.h"

namespace slipway {

struct DeframeState {
  std::uint32_t taken = 0;  // bytes of the frame that has begun, prefix included; 0: between two frames
  std::uint32_t total = 0;  // prefix and frame; 0: the prefix is not complete
  std::byte prefix[kStreamPrefixBytes] = {};
};

enum class DeframeKind : std::uint8_t {
  kFrame,      // a whole frame lies in the input: prefix at `offset`, `bytes` with the prefix
  kPiece,      // the next bytes of a frame that does not (its prefix included)
  kBadLength,  // the stream is no stream of frames; nothing after this makes sense
};

struct DeframeStep {
  DeframeKind kind;
  bool first = false;            // kPiece: it begins a frame
  bool last = false;             // kPiece: it ends one
  std::uint32_t bytes = 0;       // consumed from the input
  std::uint32_t frame_bytes = 0; // header and body; 0: not known yet
};

[[nodiscard]] inline bool stream_length_ok(std::uint32_t frame_bytes, std::uint32_t max_frame_bytes) {
  return frame_bytes >= kFrameHeaderBytes && frame_bytes <= max_frame_bytes;
}

// The step for a frame that does not lie in `data` as a whole, or whose beginning came before.
[[nodiscard]] DeframeStep deframe_piece(DeframeState& state, const std::byte* data, std::uint32_t bytes,
                                        std::uint32_t max_frame_bytes);

// The next step for `bytes` (at least 1) bytes at `data`.
[[nodiscard]] inline DeframeStep deframe_next(DeframeState& state, const std::byte* data, std::uint32_t bytes,
                                              std::uint32_t max_frame_bytes) {
  if (state.taken == 0 && bytes >= kStreamPrefixBytes) [[likely]] {
    const auto frame_bytes = load_le<std::uint32_t>(data);
    if (!stream_length_ok(frame_bytes, max_frame_bytes)) [[unlikely]] {
      return {.kind = DeframeKind::kBadLength};
    }
    if (bytes - kStreamPrefixBytes >= frame_bytes) [[likely]] {
      return {.kind = DeframeKind::kFrame,
              .bytes = static_cast<std::uint32_t>(kStreamPrefixBytes) + frame_bytes,
              .frame_bytes = frame_bytes};
    }
  }
  return deframe_piece(state, data, bytes, max_frame_bytes);
}

}  // namespace slipway
