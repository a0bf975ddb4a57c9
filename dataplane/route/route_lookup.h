#pragma once
// Inside of this folder: what the two ways to look a burst up, plain and wide, share. Internal linkage throughout, so
// that no linker can take a copy made for a wider CPU in place of a narrower one.

#include <immintrin.h>

#include <bit>

#include "route/route_table.h"

namespace slipway {
namespace {

constexpr unsigned kShortBits = RouteEvidence::kShortBits;
constexpr unsigned kFilterShift = RouteTable::kSlots * kShortBits;
static_assert(kFilterShift + kFilterBits == 64);
constexpr std::uint64_t kShortFields = (std::uint64_t{1} << kFilterShift) - 1;
constexpr std::uint64_t kShortOnes = kShortFields / ((1u << kShortBits) - 1);  // the lowest bit of each field
constexpr std::uint64_t kShortTops = kShortOnes << (kShortBits - 1);

// Bit i: slot i holds this evidence. At most one: the control thread refuses a second.
inline unsigned match_mask(const RouteTable::Bucket& bucket, RouteEvidence evidence) {
  static_assert(RouteTable::kSlots == 5);
  const __m256i first = _mm256_cmpeq_epi64(_mm256_load_si256(reinterpret_cast<const __m256i*>(bucket.evidence)),
                                           _mm256_set1_epi64x(static_cast<long long>(evidence.bits)));
  return static_cast<unsigned>(_mm256_movemask_pd(_mm256_castsi256_pd(first))) |
         static_cast<unsigned>(bucket.evidence[4] == evidence.bits) << 4;
}

// What the bucket says of a name: its match, or none. No branch on what the line holds.
inline RouteMatch match_in(const RouteTable::Bucket& bucket, RouteEvidence evidence) {
  const unsigned mask = match_mask(bucket, evidence);
  const std::uint32_t value = bucket.value[std::countr_zero(mask | 1u << (RouteTable::kSlots - 1))];
  return RouteMatch(value & (0u - static_cast<std::uint32_t>(mask != 0)));
}

// 1: a name with this evidence may be in this bucket. An empty slot looks like a name whose short form is 0.
inline std::uint32_t may_hold(RouteTable::Summary summary, RouteEvidence evidence) {
  const std::uint64_t fields = (summary ^ evidence.short_form() * kShortOnes) & kShortFields;
  return static_cast<std::uint32_t>(((fields - kShortOnes) & ~fields & kShortTops) != 0);  // one field is zero
}

// 1: a name with this home bucket and evidence may lie in its other bucket.
inline std::uint32_t may_be_away(RouteTable::Summary summary, RouteEvidence evidence) {
  const std::uint64_t bits = filter_bits(evidence.home_hash());
  return static_cast<std::uint32_t>((~(summary >> kFilterShift) & bits) == 0);
}

inline void prefetch(const void* at) { _mm_prefetch(static_cast<const char*>(at), _MM_HINT_T0); }

}  // namespace
}  // namespace slipway
