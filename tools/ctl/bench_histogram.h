#pragma once
// Latencies in nanoseconds, log-linear: 64 steps for each power of two, so that a percentile is off by at most 1.6 %.

#include <array>
#include <bit>
#include <cstdint>

namespace slipway::ctl {

class Histogram {
 public:
  void add(std::uint64_t ns) {
    ++counts_[index_of(ns)];
    ++count_;
    sum_ += ns;
    largest_ = ns > largest_ ? ns : largest_;
  }
  [[nodiscard]] std::uint64_t count() const { return count_; }
  [[nodiscard]] std::uint64_t largest() const { return largest_; }
  [[nodiscard]] double mean() const { return count_ == 0 ? 0 : static_cast<double>(sum_) / static_cast<double>(count_); }
  // The value that `share` (0 to 1) of all do not exceed.
  [[nodiscard]] std::uint64_t percentile(double share) const {
    const auto wanted = static_cast<std::uint64_t>(share * static_cast<double>(count_));
    std::uint64_t seen = 0;
    for (std::size_t i = 0; i < counts_.size(); ++i) {
      seen += counts_[i];
      if (seen > wanted || (seen == count_ && count_ > 0)) {
        const auto upper = upper_of(i);
        return upper < largest_ ? upper : largest_;
      }
    }
    return largest_;
  }

 private:
  static constexpr std::size_t kSteps = 64;
  static constexpr std::size_t kPowers = 42;  // up to more than an hour
  static std::size_t index_of(std::uint64_t ns) {
    if (ns < kSteps) {
      return ns;
    }
    const auto power = static_cast<std::size_t>(std::bit_width(ns)) - 6;  // ns >> power lies in 32 .. 63
    const std::size_t index = power * (kSteps / 2) + (ns >> power) + 0;
    return index < kSteps / 2 * (kPowers + 2) ? index : kSteps / 2 * (kPowers + 2) - 1;
  }
  static std::uint64_t upper_of(std::size_t index) {
    if (index < kSteps) {
      return index;
    }
    const std::size_t power = index / (kSteps / 2) - 1;
    const std::uint64_t step = index - power * (kSteps / 2);
    return ((step + 1) << power) - 1;
  }

  std::array<std::uint64_t, kSteps / 2 * (kPowers + 2)> counts_{};
  std::uint64_t count_ = 0;
  std::uint64_t sum_ = 0;
  std::uint64_t largest_ = 0;
};

}  // namespace slipway::ctl
