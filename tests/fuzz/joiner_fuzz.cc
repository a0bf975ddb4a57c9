// The joiner against a model of what a caller holds: whatever pieces come, in whatever order, positions and counts fit,
// a whole frame has all its bytes once and in order, and nothing is held beyond the bounds.
// Eight bytes a piece: link, worker and number, offset, length, total, time.

#include <map>
#include <vector>

#include "frame/joiner.h"
#include "require.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace slipway;
  struct Part {
    std::uint32_t offset;
    std::uint32_t bytes;
  };
  Joiner joiner({.frames = 8, .frames_per_link = 4, .bytes = 40'000, .frame_bytes = 20'000});
  std::map<std::uint32_t, std::vector<Part>> held;
  std::uint64_t now_ms = 0;
  for (; size >= 8; data += 8, size -= 8) {
    now_ms += data[7] & 31;
    const std::uint32_t total = 104 + (data[5] * 256u + data[6]) % 20'400;
    const std::uint32_t offset = (data[2] * 64u) % total;
    std::uint32_t bytes = 1 + (data[3] * 256u + data[4]) % 3000;
    bytes = bytes > total - offset || (data[7] & 128) != 0 ? total - offset : bytes;
    const Shim shim{.link_id = 0, .sending_worker = static_cast<std::uint8_t>(data[1] & 1), .fragment_offset = offset, .total_bytes = total,
                    .flags = offset + bytes == total ? shim_flag::kLast : std::uint8_t{0}, .frame_number = static_cast<std::uint16_t>(data[1] >> 5)};
    const JoinResult result = joiner.add(1 + (data[0] & 3), shim, bytes, now_ms);
    auto& parts = held[result.slot];
    if (result.outcome == JoinOutcome::kRefused) {
      FUZZ_REQUIRE(result.fault != JoinFault::kNone);
    } else if (result.outcome == JoinOutcome::kPoisoned) {
      FUZZ_REQUIRE(parts.size() == result.pieces);
      parts.clear();
    } else {
      FUZZ_REQUIRE(result.position <= parts.size());
      parts.insert(parts.begin() + result.position, {offset, bytes});
      FUZZ_REQUIRE(parts.size() == result.pieces && parts.size() <= kMaxPieces);
      if (result.outcome == JoinOutcome::kWhole) {
        std::uint32_t next = 0;
        for (const Part& part : parts) {
          FUZZ_REQUIRE(part.offset == next);
          next += part.bytes;
        }
        FUZZ_REQUIRE(next == total);
        parts.clear();
      }
    }
    Joiner::Gone gone;
    while ((data[7] & 64) != 0 ? joiner.forget_one(1 + (data[0] & 3), gone) : joiner.expire_one(now_ms, gone)) {
      std::size_t sum = 0;
      for (const Part& part : held[gone.slot]) {
        sum += part.bytes;
      }
      FUZZ_REQUIRE(sum == gone.bytes);
      held[gone.slot].clear();
    }
    std::size_t sum = 0;
    for (const auto& [slot, all] : held) {
      for (const Part& part : all) {
        sum += part.bytes;
      }
    }
    FUZZ_REQUIRE(sum == joiner.bytes() && sum <= joiner.limits().bytes && joiner.frames() <= 8);
  }
  return 0;
}
