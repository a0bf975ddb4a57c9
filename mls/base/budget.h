// How much one step of a long operation may do. The unit is about one microsecond of symmetric work; a
// public-key operation counts for many. Operations that can run in steps take a Budget, draw from it
// while they go on, and stop when it is used up.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>

namespace slipway::mls {

class Budget {
 public:
  // A public-key operation takes 40 to 300 us on the machines and suites that we know.
  static constexpr size_t kPublicKeyOp = 64;
  // Bytes that a unit hashes, and bytes that it copies, encodes or encrypts.
  static constexpr size_t kHashedBytes = 512;
  static constexpr size_t kCopiedBytes = 2048;

  static Budget unlimited() { return Budget(SIZE_MAX / 2); }
  static Budget public_key_ops(size_t ops) {
    return Budget(std::min(ops, SIZE_MAX / 4 / kPublicKeyOp) * kPublicKeyOp);
  }
  explicit Budget(size_t units) : units_(units) {}

  bool used_up() const { return units_ == 0; }
  void draw(size_t units) { units_ -= std::min(units, units_); }
  // How many of `wanted` items of that cost may be done now; at least one while anything is left, so
  // that every step gets on.
  size_t take(size_t wanted, size_t cost) {
    if (units_ == 0) {
      return 0;
    }
    const size_t items = std::min(wanted, std::max<size_t>(1, units_ / cost));
    draw(items * cost);
    return items;
  }
  // The same for bytes, of which `bytes_a_unit` cost one unit. Nothing to do is nothing taken.
  size_t take_bytes(size_t wanted, size_t bytes_a_unit) {
    const size_t most = units_ > SIZE_MAX / bytes_a_unit ? SIZE_MAX : units_ * bytes_a_unit;
    const size_t bytes = std::min(wanted, most);
    draw((bytes + bytes_a_unit - 1) / bytes_a_unit);
    return bytes;
  }
  size_t& units() { return units_; }

 private:
  size_t units_;
};

}  // namespace slipway::mls
