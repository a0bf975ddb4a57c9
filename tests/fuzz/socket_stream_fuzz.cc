// The deframer of streams, against the plainest reading of the same bytes: whatever the cuts, the same frames come
// out, bytes are consumed exactly once, and a bad length ends it at the same place.
// First byte: the limit of a frame; second: seed of the cuts.
#include <cstring>
#include <span>
#include <vector>

#include "port/socket_deframe_datapath.h"
#include "require.h"

using namespace slipway;

namespace {

struct Outcome {
  std::vector<std::vector<std::byte>> frames;  // with prefix
  std::size_t rest = 0;                        // bytes of a frame that has begun
  bool bad = false;
};

Outcome plain(std::span<const std::byte> bytes, std::uint32_t limit) {
  Outcome out;
  while (bytes.size() >= kStreamPrefixBytes) {
    const auto length = load_le<std::uint32_t>(bytes.data());
    if (length < kFrameHeaderBytes || length > limit) {
      out.bad = true;
      return out;
    }
    if (bytes.size() - kStreamPrefixBytes < length) {
      break;
    }
    out.frames.emplace_back(bytes.begin(), bytes.begin() + kStreamPrefixBytes + length);
    bytes = bytes.subspan(kStreamPrefixBytes + length);
  }
  out.rest = bytes.size();
  return out;
}

Outcome stepped(std::span<const std::byte> bytes, std::uint32_t limit, std::uint32_t seed) {
  Outcome out;
  DeframeState state;
  std::vector<std::byte> partial;
  while (!bytes.empty() && !out.bad) {
    seed = seed * 1664525 + 1013904223;
    const std::size_t cut = std::min<std::size_t>(bytes.size(), 1 + (seed >> 16) % ((seed & 1) != 0 ? 7 : 700));
    // An exact-size block: the sanitizer sees a read past the cut.
    const std::vector<std::byte> piece(bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(cut));
    bytes = bytes.subspan(cut);
    for (std::uint32_t at = 0; at < piece.size();) {
      const DeframeStep step = deframe_next(state, piece.data() + at, static_cast<std::uint32_t>(piece.size()) - at, limit);
      if (step.kind == DeframeKind::kBadLength) {
        out.bad = true;
        break;
      }
      FUZZ_REQUIRE(step.bytes > 0 && at + step.bytes <= piece.size());
      FUZZ_REQUIRE((step.kind == DeframeKind::kFrame || step.first) == partial.empty());
      partial.insert(partial.end(), piece.begin() + at, piece.begin() + at + step.bytes);
      at += step.bytes;
      if (step.kind == DeframeKind::kFrame || step.last) {
        FUZZ_REQUIRE(partial.size() == kStreamPrefixBytes + step.frame_bytes);
        out.frames.push_back(std::move(partial));
        partial.clear();
      }
    }
  }
  out.rest = partial.size();
  return out;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 2) {
    return 0;
  }
  const std::uint32_t limit = data[0] < 128 ? 104 + data[0] * 8u : static_cast<std::uint32_t>(kMaxFrameBytes);
  const auto bytes = std::as_bytes(std::span(data + 2, size - 2));
  const Outcome expected = plain(bytes, limit);
  const Outcome got = stepped(bytes, limit, data[1]);
  FUZZ_REQUIRE(got.bad == expected.bad);
  FUZZ_REQUIRE(got.frames == expected.frames);
  FUZZ_REQUIRE(got.bad || got.rest == expected.rest);
  return 0;
}
