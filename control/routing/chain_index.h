#pragma once
// A hash index over records that lie elsewhere and hold the chain's next number themselves. It grows by one chain
// for each record (linear hashing): no insert pays for all others. Single owner.
//
// `Access` says how to reach a record: next(number) -> std::uint32_t&, hash(number) -> std::uint64_t.

#include <bit>
#include <cstdint>

#include "route/route_key.h"
#include "routing/slab.h"

namespace slipway {

class ChainIndex {
 public:
  ChainIndex() = default;
  explicit ChainIndex(std::size_t max) : heads_(std::bit_ceil(max + kFirst)) {
    if (heads_.valid()) {
      heads_.resize(kFirst);
    }
  }
  [[nodiscard]] bool valid() const { return heads_.valid(); }
  [[nodiscard]] std::size_t bytes() const { return heads_.bytes(); }

  template <class Access>
  void insert(Access access, std::uint32_t number) {
    if (++count_ > heads_.size() && heads_.size() < heads_.max()) {
      grow(access);
    }
    std::uint32_t& head = heads_[range().at(static_cast<std::uint32_t>(access.hash(number)))];
    access.next(number) = head;
    head = number;
  }

  template <class Access>
  void erase(Access access, std::uint32_t number) {
    std::uint32_t* at = &heads_[range().at(static_cast<std::uint32_t>(access.hash(number)))];
    while (*at != number) {
      assert(*at != 0);
      at = &access.next(*at);
    }
    *at = access.next(number);
    access.next(number) = 0;
    --count_;
  }

  // The record with this hash for which `same(number)` holds, or 0.
  template <class Access, class Same>
  [[nodiscard]] std::uint32_t find(Access access, std::uint64_t hash, Same same) const {
    std::uint32_t number = heads_[range().at(static_cast<std::uint32_t>(hash))];
    while (number != 0 && !same(number)) {
      number = access.next(number);
    }
    return number;
  }

 private:
  static constexpr std::size_t kFirst = 64;

  [[nodiscard]] BucketRange range() const { return BucketRange::of(static_cast<std::uint32_t>(heads_.size())); }

  template <class Access>
  void grow(Access access) {
    const std::uint32_t from = range().next_split();
    heads_.resize(heads_.size() + 1);
    const BucketRange now = range();
    std::uint32_t number = heads_[from];
    heads_[from] = 0;
    while (number != 0) {
      const std::uint32_t next = access.next(number);
      std::uint32_t& head = heads_[now.at(static_cast<std::uint32_t>(access.hash(number)))];
      access.next(number) = head;
      head = number;
      number = next;
    }
  }

  Growable<std::uint32_t> heads_;
  std::size_t count_ = 0;
};

}  // namespace slipway
