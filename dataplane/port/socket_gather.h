#pragma once
// How a worker rests that found no work: asleep until the next completion; a little longer where that gathers work; or awake
// for a moment where the next message is about to come.
//
// A worker that is woken for every message of a steady stream spends more on waking than on messages; if it is not to be woken
// for two fifths of a millisecond, it finds several. Who waits for an answer gains nothing from that: whether it pays is tried, and
// left alone for a while where it does not. There messages come one by one and soon after another, and a look at the ring is
// cheaper, for both sides, than a sleep and a wake-up between processors: as long as that finds what it looks for.
// Owner thread only.

#include <cstdint>

namespace slipway {

enum class Rest : std::uint8_t { kSleep, kGather, kSpin };

class RestPolicy {
 public:
  static constexpr std::uint64_t kGatherNs = 400'000;  // the extra sleep
  static constexpr std::uint32_t kGatherEvents = 64;   // ... which ends earlier with so many completions
  static constexpr std::uint64_t kSpinNs = 50'000;     // awake at most

  // How the rest that begins now should be. now_ns: any clock that runs on; frames: received so far.
  [[nodiscard]] Rest begin(std::uint64_t now_ns, std::uint64_t frames) {
    const bool gathered = last_ == Rest::kGather;
    busy_ = now_ns - last_ns_ < (gathered ? 3 : 1) * kGatherNs ? busy_ + 1 : 0;
    if (gathered) {
      vain_gathers_ = frames - last_frames_ > 1 ? 0 : vain_gathers_ + 1;
      if (vain_gathers_ == kVainRests) {
        vain_gathers_ = 0;
        no_gathers_ = kPatience;
      }
    }
    last_ns_ = now_ns;
    last_frames_ = frames;
    last_ = choose();
    return last_;
  }
  // After a spin: whether it found something.
  void spun(bool found) {
    vain_spins_ = found ? 0 : vain_spins_ + 1;
    if (vain_spins_ == kVainRests) {
      vain_spins_ = 0;
      no_spins_ = kPatience;
    }
  }

 private:
  static constexpr std::uint32_t kBusyRests = 32;   // in a row, each soon after the one before
  static constexpr std::uint32_t kVainRests = 3;    // in a row that brought nothing
  static constexpr std::uint32_t kPatience = 4096;  // rests before it is tried again

  [[nodiscard]] Rest choose() {
    no_spins_ -= no_spins_ != 0 ? 1 : 0;
    if (no_gathers_ != 0) {
      --no_gathers_;
      return busy_ >= kBusyRests && no_spins_ == 0 ? Rest::kSpin : Rest::kSleep;
    }
    return busy_ >= kBusyRests ? Rest::kGather : Rest::kSleep;
  }

  std::uint64_t last_ns_ = 0;
  std::uint64_t last_frames_ = 0;
  std::uint32_t busy_ = 0;
  std::uint32_t vain_gathers_ = 0;
  std::uint32_t vain_spins_ = 0;
  std::uint32_t no_gathers_ = 0;
  std::uint32_t no_spins_ = 0;
  Rest last_ = Rest::kSleep;
};

}  // namespace slipway
