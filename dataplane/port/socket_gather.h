#pragma once
// How a worker rests that found no work: asleep until the next completion; a little longer where that gathers work; or awake
// for a moment where the next message is about to come.
//
// A worker that is woken for every message of a steady stream spends more on waking than on messages; if it is not to be woken
// for two fifths of a millisecond (three fifths where many come), it finds several. That pays where they come all the same. Who waits for an answer before it
// sends the next only comes more slowly: then gathering is left alone for a while, a longer one each time that it was tried in vain.
// A stream that falls silent says nothing about either. Where messages come one by one and soon after another, a look at the ring is
// cheaper, for both sides, than a sleep and a wake-up between processors: as long as that finds what it looks for.
// Owner thread only.

#include <algorithm>
#include <cstdint>

namespace slipway {

enum class Rest : std::uint8_t { kSleep, kGather, kSpin };

class RestPolicy {
 public:
  static constexpr std::uint64_t kGatherNs = 400'000;      // the extra sleep: what it may add to the way of a message
  static constexpr std::uint64_t kLongGatherNs = 600'000;  // ... where kManyFrames come in kGatherNs: 15,000 a second
  static constexpr std::uint64_t kManyFrames = 6;
  static constexpr std::uint32_t kGatherEvents = 64;       // it ends earlier with so many completions
  static constexpr std::uint64_t kSpinNs = 50'000;         // awake at most

  // How the rest that begins now should be. now_ns: any clock that runs on; frames: received so far.
  [[nodiscard]] Rest begin(std::uint64_t now_ns, std::uint64_t frames) {
    const std::uint64_t took_ns = now_ns - last_ns_;
    const std::uint64_t brought = frames - last_frames_;
    const bool gathered = last_ == Rest::kGather;
    const bool soon = took_ns < (gathered ? 3 * gather_ns_ : kGatherNs);
    // No gathering takes so long: somebody else had the processor, which says nothing about the stream.
    const bool disturbed = gathered && brought != 0 && !soon && ++disturbed_ <= kMostDisturbed;
    if (!disturbed) {
      busy_ = soon && (brought != 0 || !gathered) ? busy_ + 1 : 0;
      disturbed_ = soon ? 0 : disturbed_;
    }
    if (gathered && brought != 0 && !disturbed) {
      judge(took_ns, brought);
    }
    last_ns_ = now_ns;
    last_frames_ = frames;
    if (busy_ == 0 || no_gathers_ == kBusyRests) {
      since_ns_ = now_ns;
      since_frames_ = frames;
    }
    last_ = choose();
    return last_;
  }
  // How long the last gathering was to be.
  [[nodiscard]] std::uint64_t gather_ns() const { return gather_ns_; }
  // After a spin: whether it found something.
  void spun(bool found) {
    vain_spins_ = found ? 0 : vain_spins_ + 1;
    if (vain_spins_ == kVainSpins) {
      vain_spins_ = 0;
      no_spins_ = kMostPatience;
    }
  }

 private:
  static constexpr std::uint32_t kBusyRests = 32;       // in a row, each soon after the one before
  static constexpr std::uint32_t kVainGathers = 2;      // in a row
  static constexpr std::uint32_t kVainSpins = 3;
  static constexpr std::uint32_t kMostDisturbed = 3;    // in a row: more are judged like others
  static constexpr std::uint32_t kLeastPatience = 128;  // rests before it is tried again
  static constexpr std::uint32_t kMostPatience = 8192;

  static std::uint64_t per_second(std::uint64_t frames, std::uint64_t ns) { return frames * 1'000'000'000 / (ns + 1); }

  // A gathering that brought something: did it come as fast as when nobody gathered? One that brought far more made up for
  // something, and is not what to expect.
  void judge(std::uint64_t took_ns, std::uint64_t brought) {
    const std::uint64_t rate = per_second(brought, took_ns);
    if (brought > 1 && 2 * rate >= usual_per_second_) {
      usual_per_second_ = usual_per_second_ == 0 ? rate : std::min(rate, usual_per_second_ + usual_per_second_ / 4);
      vain_gathers_ = 0;
      patience_ = kLeastPatience;
    } else if (++vain_gathers_ == kVainGathers) {
      vain_gathers_ = 0;
      no_gathers_ = patience_;
      patience_ = std::min(8 * patience_, kMostPatience);
    }
  }

  [[nodiscard]] Rest choose() {
    no_spins_ -= no_spins_ != 0 ? 1 : 0;
    if (no_gathers_ != 0) {
      --no_gathers_;
      return busy_ >= kBusyRests && no_spins_ == 0 ? Rest::kSpin : Rest::kSleep;
    }
    if (busy_ < kBusyRests) {
      return Rest::kSleep;
    }
    if (last_ != Rest::kGather) {
      usual_per_second_ = per_second(last_frames_ - since_frames_, last_ns_ - since_ns_);
    }
    gather_ns_ = usual_per_second_ >= per_second(kManyFrames, kGatherNs) ? kLongGatherNs : kGatherNs;
    return Rest::kGather;
  }

  std::uint64_t last_ns_ = 0;
  std::uint64_t last_frames_ = 0;
  std::uint64_t since_ns_ = 0;          // the last rests that were no gatherings began here
  std::uint64_t since_frames_ = 0;
  std::uint64_t usual_per_second_ = 0;  // frames came so fast
  std::uint64_t gather_ns_ = kGatherNs;
  std::uint32_t busy_ = 0;
  std::uint32_t disturbed_ = 0;         // gatherings in a row
  std::uint32_t vain_gathers_ = 0;
  std::uint32_t vain_spins_ = 0;
  std::uint32_t no_gathers_ = 0;
  std::uint32_t no_spins_ = 0;
  std::uint32_t patience_ = kLeastPatience;
  Rest last_ = Rest::kSleep;
};

}  // namespace slipway
