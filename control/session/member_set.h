#pragma once
// A set of members by their slot in the roster: the members that have not acknowledged a message.

#include <bit>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace slipway {

using MemberSlot = std::uint32_t;
inline constexpr MemberSlot kNoSlot = ~MemberSlot{0};

class MemberSet {
 public:
  void insert(MemberSlot slot) {
    std::uint64_t& word = word_of(slot);
    const std::uint64_t bit = std::uint64_t{1} << (slot % 64);
    count_ += (word & bit) == 0;
    word |= bit;
  }
  bool erase(MemberSlot slot) {
    if (!contains(slot)) {
      return false;
    }
    word_of(slot) &= ~(std::uint64_t{1} << (slot % 64));
    --count_;
    return true;
  }
  [[nodiscard]] bool contains(MemberSlot slot) const {
    if (slot < 64) {
      return (first_ >> slot & 1) != 0;
    }
    const std::size_t word = slot / 64 - 1;
    return word < more_.size() && (more_[word] >> (slot % 64) & 1) != 0;
  }
  [[nodiscard]] bool empty() const { return count_ == 0; }
  [[nodiscard]] std::size_t size() const { return count_; }
  void clear() {
    first_ = 0;
    more_.clear();
    count_ = 0;
  }
  template <class F>
  void for_each(F&& f) const {
    visit(first_, 0, f);
    for (std::size_t w = 0; w < more_.size(); ++w) {
      visit(more_[w], static_cast<MemberSlot>(64 * (w + 1)), f);
    }
  }

 private:
  std::uint64_t& word_of(MemberSlot slot) {
    if (slot < 64) {
      return first_;
    }
    const std::size_t word = slot / 64 - 1;
    if (word >= more_.size()) {
      more_.resize(word + 1);
    }
    return more_[word];
  }
  template <class F>
  static void visit(std::uint64_t word, MemberSlot base, F&& f) {
    for (; word != 0; word &= word - 1) {
      f(base + static_cast<MemberSlot>(std::countr_zero(word)));
    }
  }

  std::uint64_t first_ = 0;          // small sessions allocate nothing
  std::vector<std::uint64_t> more_;
  std::size_t count_ = 0;
};

}  // namespace slipway
