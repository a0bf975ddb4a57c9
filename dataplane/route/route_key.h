#pragma once
// What a route table knows of a name: 64 bits of evidence, mixed from the 40 bytes of the name with a secret of this
// node. Names arrive as hashes that a peer chose; without the secret nobody can aim names at one bucket, or at the
// evidence of another name. Two names with equal evidence cannot both be held: the control thread refuses the second
// (2^-64 a pair: one in 30 million nodes of a million names has such a pair). A name that nobody holds is taken for
// another once in 2^64 lookups.
// Pure functions: any thread. The secret is made once a node and shared by all its tables.

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <span>

#include "frame/name.h"

namespace slipway {

// Eight AES round keys. All tables of a node and its control thread use the same.
struct RouteSecret {
  alignas(16) std::array<std::array<std::uint64_t, 2>, 8> round_key{};

  static RouteSecret random();                        // from the kernel's generator
  static RouteSecret from_seed(std::uint64_t seed);   // for tests and benchmarks that repeat a run
};

// Evidence and, derived from it, where the name may lie: two buckets, its filter bits in the first, its short form in
// either. Bucket numbers use the low bits of the two hashes, the others their top bits.
struct RouteEvidence {
  static constexpr unsigned kShortBits = 10;

  std::uint64_t bits = 0;

  [[nodiscard]] constexpr std::uint32_t home_hash() const { return static_cast<std::uint32_t>(bits); }
  [[nodiscard]] constexpr std::uint32_t other_hash() const { return static_cast<std::uint32_t>(bits >> 32); }
  [[nodiscard]] constexpr std::uint32_t short_form() const { return static_cast<std::uint32_t>(bits >> (64 - kShortBits)); }
  [[nodiscard]] constexpr std::uint8_t tag() const { return static_cast<std::uint8_t>(bits >> 56); }
  friend constexpr bool operator==(const RouteEvidence&, const RouteEvidence&) = default;
};

[[nodiscard]] RouteEvidence mix_name(const RouteSecret& secret, const Name& name);

// A name outside its home bucket sets these two (or one) of the fourteen filter bits there.
inline constexpr unsigned kFilterBits = 14;
[[nodiscard]] constexpr std::uint16_t filter_bits(std::uint32_t home_hash) {
  const std::uint32_t first = (home_hash >> 28) * 7 >> 3;  // 0 to 13, two of them from one value of sixteen
  const std::uint32_t second = (home_hash >> 24 & 15) * 7 >> 3;
  return static_cast<std::uint16_t>(1u << first | 1u << second);
}

// Linear hashing: the table grows one bucket at a time. Of `buckets`, those below `buckets - 2^level` and
// their images have been split; high_mask is 2^(level+1) - 1.
struct BucketRange {
  std::uint32_t buckets = 0;
  std::uint32_t high_mask = 0;

  static constexpr BucketRange of(std::uint32_t buckets) {
    return {buckets, std::bit_ceil(buckets) - 1};
  }
  // The bucket whose names the next new bucket takes over in part.
  [[nodiscard]] constexpr std::uint32_t next_split() const { return buckets - std::bit_floor(buckets); }
  [[nodiscard]] constexpr std::uint32_t at(std::uint32_t hash) const {
    // Arithmetic, for compilers that would make it a branch that random hashes mispredict.
    const std::uint32_t high = hash & high_mask;
    const std::uint32_t too_high = 0u - static_cast<std::uint32_t>(high >= buckets);
    return high & ~(too_high & (high_mask ^ high_mask >> 1));
  }
};

}  // namespace slipway
