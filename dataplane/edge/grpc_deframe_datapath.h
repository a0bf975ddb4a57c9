#pragma once
// Messages out of the bytes of one gRPC stream: a flag byte, a 32-bit big-endian length, the message; again and again
// (gRPC over HTTP/2, "Length-Prefixed-Message"). Bytes come in any pieces; parts of messages go out as they came.

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>

namespace slipway {

inline constexpr std::size_t kGrpcPrefixBytes = 5;

struct GrpcDeframer {
  std::uint32_t left = 0;          // of the message that has begun
  std::uint32_t message_bytes = 0;
  std::uint8_t prefix_bytes = 0;   // of the next prefix, 0..4
  bool begun = false;              // its prefix is complete and its end has not come
  std::byte prefix[kGrpcPrefixBytes] = {};

  [[nodiscard]] bool inside_message() const { return begun || prefix_bytes != 0; }
};

enum class GrpcDeframeFault : std::uint8_t { kNone, kBadFlag, kTooLarge };

// Calls on_part(bytes, begin, end) for each part. `prefixes` is increased by the bytes of prefixes that were taken.
template <class OnPart>
GrpcDeframeFault grpc_deframe(GrpcDeframer& state, std::span<const std::byte> in, std::uint32_t max_message_bytes,
                              std::size_t& prefixes, OnPart&& on_part) {
  while (!in.empty()) {
    bool first = false;
    if (!state.begun) {
      const std::size_t taken = std::min<std::size_t>(in.size(), kGrpcPrefixBytes - state.prefix_bytes);
      const std::byte* prefix = in.data();  // where all of it lies
      if (taken != kGrpcPrefixBytes) {
        std::memcpy(state.prefix + state.prefix_bytes, in.data(), taken);
        prefix = state.prefix;
      }
      state.prefix_bytes = static_cast<std::uint8_t>(state.prefix_bytes + taken);
      prefixes += taken;
      in = in.subspan(taken);
      if (prefix[0] != std::byte{0}) {
        return GrpcDeframeFault::kBadFlag;
      }
      if (state.prefix_bytes < kGrpcPrefixBytes) {
        return GrpcDeframeFault::kNone;
      }
      std::uint32_t message_bytes = 0;
      std::memcpy(&message_bytes, prefix + 1, sizeof message_bytes);
      state.message_bytes = std::byteswap(message_bytes);
      if (state.message_bytes > max_message_bytes) {
        return GrpcDeframeFault::kTooLarge;
      }
      state.prefix_bytes = 0;
      state.left = state.message_bytes;
      state.begun = true;
      first = true;
      if (in.empty() && state.left != 0) {
        on_part(in, true, false);
        return GrpcDeframeFault::kNone;
      }
    }
    const std::size_t part = std::min<std::size_t>(in.size(), state.left);
    state.left -= static_cast<std::uint32_t>(part);
    state.begun = state.left != 0;
    on_part(in.first(part), first, !state.begun);
    in = in.subspan(part);
  }
  return GrpcDeframeFault::kNone;
}

}  // namespace slipway
