#pragma once
// What a route table knows of a name: 96 bits of evidence, mixed from the 40 bytes of the name with a secret
// of this node. Names arrive as hashes that a peer chose; without the secret nobody can aim names at one
// bucket. Two names with equal evidence cannot both be held: the control thread refuses the second (2^-96).
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

// Evidence and, derived from it, where the name may lie: two buckets and one of eight filter bits.
struct RouteEvidence {
  std::uint64_t a = 0;
  std::uint32_t b = 0;

  [[nodiscard]] std::uint32_t home_hash() const { return static_cast<std::uint32_t>(a); }
  [[nodiscard]] std::uint32_t other_hash() const { return static_cast<std::uint32_t>(a >> 32); }
  [[nodiscard]] std::uint8_t tag() const { return static_cast<std::uint8_t>(b >> 24); }
  friend bool operator==(const RouteEvidence&, const RouteEvidence&) = default;
};

[[nodiscard]] RouteEvidence mix_name(const RouteSecret& secret, const Name& name);

// The filter bit of a name that lies outside its home bucket. The top bits: bucket numbers use the low ones.
[[nodiscard]] constexpr std::uint32_t filter_bit(std::uint32_t home_hash) { return home_hash >> 29; }

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
