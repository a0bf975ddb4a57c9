#pragma once
// Sleeping a little longer where it gathers work. A worker that is woken for every message of a steady stream spends more on
// waking than on messages; if it is not to be woken for a tenth of a millisecond, it finds several.
// Who waits for an answer gains nothing from that: whether it pays is tried, and left alone for a while where it does not.
// Owner thread only.

#include <cstdint>

namespace slipway {

class WakeGatherer {
 public:
  static constexpr std::uint64_t kGatherNs = 100'000;  // the extra sleep
  static constexpr std::uint32_t kGatherEvents = 64;    // ... which ends earlier with so many completions

  // Whether the sleep that begins now should gather. now_ns: any clock that runs on; frames: received so far.
  [[nodiscard]] bool begin(std::uint64_t now_ns, std::uint64_t frames) {
    const std::uint64_t since_ns = now_ns - last_ns_;
    busy_ = since_ns < (gathered_ ? 4 : 1) * kGatherNs ? busy_ + 1 : 0;
    if (gathered_) {
      vain_ = frames - last_frames_ > 1 ? 0 : vain_ + 1;
      if (vain_ == kVainSleeps) {
        vain_ = 0;
        rest_ = kRestSleeps;
      }
    }
    last_ns_ = now_ns;
    last_frames_ = frames;
    gathered_ = false;
    if (rest_ != 0) {
      --rest_;
      return false;
    }
    gathered_ = busy_ >= kBusySleeps;
    return gathered_;
  }

 private:
  static constexpr std::uint32_t kBusySleeps = 32;    // in a row, each soon after the one before
  static constexpr std::uint32_t kVainSleeps = 3;     // in a row that gathered nothing
  static constexpr std::uint32_t kRestSleeps = 4096;  // before it is tried again

  std::uint64_t last_ns_ = 0;
  std::uint64_t last_frames_ = 0;
  std::uint32_t busy_ = 0;
  std::uint32_t vain_ = 0;
  std::uint32_t rest_ = 0;
  bool gathered_ = false;  // the last sleep did: it was longer for that
};

}  // namespace slipway
