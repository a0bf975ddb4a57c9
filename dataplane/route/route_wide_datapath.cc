// Looking a burst up with AVX-512 and VAES: eight names at a time up to where each reads its own line. The same steps as
// lookup_plain, and the same answers.
#include <algorithm>
#include <array>
#include <bit>
#include <cassert>

#include "route/route_lookup.h"

// By function and not by file: what this file takes from headers stays fit for any CPU.
#define SLIPWAY_WIDE __attribute__((target("avx512f,avx512vl,vaes")))

namespace slipway {
namespace {

constexpr std::size_t kWide = 8;
static_assert(kMaxBurst % kWide == 0);

struct WideKeys {
  __m512i key[8];
};

// Sixteen bytes of each of names 0, 2, 4 and 6 from here.
SLIPWAY_WIDE inline __m512i every_second(const std::byte* const* names, std::size_t offset) {
  const auto at = [](const std::byte* p) { return reinterpret_cast<const __m128i*>(p); };
  __m512i v = _mm512_castsi128_si512(_mm_loadu_si128(at(names[0] + offset)));
  v = _mm512_inserti32x4(v, _mm_loadu_si128(at(names[2] + offset)), 1);
  v = _mm512_inserti32x4(v, _mm_loadu_si128(at(names[4] + offset)), 2);
  return _mm512_inserti32x4(v, _mm_loadu_si128(at(names[6] + offset)), 3);
}

// mix_wire of names 0, 2, 4 and 6 from here.
SLIPWAY_WIDE inline __m512i mix_wide(const WideKeys& keys, const std::byte* const* names) {
  __m512i s = _mm512_xor_si512(every_second(names, 0), keys.key[0]);
  s = _mm512_aesenc_epi128(s, keys.key[1]);
  s = _mm512_aesenc_epi128(s, keys.key[2]);
  s = _mm512_xor_si512(s, every_second(names, 24));
  s = _mm512_aesenc_epi128(s, keys.key[3]);
  s = _mm512_aesenc_epi128(s, keys.key[4]);
  s = _mm512_mask_xor_epi64(s, 0x55, s, every_second(names, 16));  // eight bytes of each
  s = _mm512_aesenc_epi128(s, keys.key[5]);
  s = _mm512_aesenc_epi128(s, keys.key[6]);
  return _mm512_aesenc_epi128(s, keys.key[7]);
}

// BucketRange::at for the low halves of eight words.
SLIPWAY_WIDE inline __m512i buckets_at(const BucketRange& range, __m512i hash) {
  const __m512i high = _mm512_and_si512(hash, _mm512_set1_epi64(range.high_mask));
  const __mmask8 too_high = _mm512_cmpge_epu64_mask(high, _mm512_set1_epi64(range.buckets));
  return _mm512_mask_and_epi64(high, too_high, high, _mm512_set1_epi64(range.high_mask >> 1));
}

SLIPWAY_WIDE inline __m512i all(std::uint64_t value) { return _mm512_set1_epi64(static_cast<long long>(value)); }

// may_hold for eight summaries and names.
SLIPWAY_WIDE inline __mmask8 may_hold_wide(__mmask8 in_use, __m512i summary, __m512i evidence) {
  static_assert(RouteTable::kSlots == 5);
  __m512i form = _mm512_srli_epi64(evidence, 64 - kShortBits);
  form = _mm512_or_si512(form, _mm512_slli_epi64(form, kShortBits));
  form = _mm512_or_si512(form, _mm512_or_si512(_mm512_slli_epi64(form, 2 * kShortBits), _mm512_slli_epi64(form, 3 * kShortBits)));
  const __m512i fields = _mm512_and_si512(_mm512_xor_si512(summary, form), all(kShortFields));
  const __m512i zero = _mm512_andnot_si512(fields, _mm512_sub_epi64(fields, all(kShortOnes)));
  return _mm512_mask_test_epi64_mask(in_use, zero, all(kShortTops));
}

// filter_bits of eight names, as they stand in a summary.
SLIPWAY_WIDE inline __m512i filter_bits_wide(__m512i evidence) {
  const auto bit = [&](unsigned shift) SLIPWAY_WIDE {
    const __m512i sixteenth = _mm512_and_si512(_mm512_srli_epi64(evidence, shift), all(15));
    const __m512i number = _mm512_srli_epi64(_mm512_sub_epi64(_mm512_slli_epi64(sixteenth, 3), sixteenth), 3);
    return _mm512_sllv_epi64(all(std::uint64_t{1} << kFilterShift), number);
  };
  return _mm512_or_si512(bit(28), bit(24));
}

// may_be_away for eight summaries and names.
SLIPWAY_WIDE inline __mmask8 may_be_away_wide(__mmask8 in_use, __m512i summary, __m512i evidence) {
  const __m512i missing = _mm512_andnot_si512(summary, filter_bits_wide(evidence));
  return _mm512_mask_testn_epi64_mask(in_use, missing, missing);
}

// match_in: the whole line in one compare, of which the slots count.
SLIPWAY_WIDE inline RouteMatch match_in_wide(const RouteTable::Bucket& bucket, std::uint64_t evidence) {
  const unsigned mask = _mm512_mask_cmpeq_epi64_mask((1u << RouteTable::kSlots) - 1, _mm512_load_si512(&bucket), all(evidence));
  const std::uint32_t value = bucket.value[std::countr_zero(mask | 1u << (RouteTable::kSlots - 1))];
  return RouteMatch(value & (0u - static_cast<std::uint32_t>(mask != 0)));
}

}  // namespace

bool RouteTable::cpu_is_wide() {
  return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("vaes");
}

SLIPWAY_WIDE void RouteTable::lookup_wide(std::span<const std::byte* const> destinations, RouteMatch* matches) const {
  const std::size_t count = destinations.size();
  assert(count <= kMaxBurst && count != 0);
  const std::size_t padded = (count + kWide - 1) / kWide * kWide;
  std::array<const std::byte*, kMaxBurst> names;
  std::copy(destinations.begin(), destinations.end(), names.begin());
  std::fill(names.begin() + static_cast<std::ptrdiff_t>(count), names.begin() + static_cast<std::ptrdiff_t>(padded), names[0]);
  WideKeys keys;
  for (std::size_t i = 0; i < std::size(keys.key); ++i) {
    keys.key[i] = _mm512_broadcast_i32x4(_mm_load_si128(reinterpret_cast<const __m128i*>(&secret_.round_key[i])));
  }
  alignas(64) std::array<std::uint64_t, kMaxBurst> evidence;
  alignas(64) std::array<std::uint64_t, kMaxBurst> home;
  alignas(64) std::array<std::uint64_t, kMaxBurst> other;
  const BucketRange range = range_;
  for (std::size_t g = 0; g < padded; g += kWide) {
    const __m512i even = mix_wide(keys, names.data() + g);
    const __m512i odd = mix_wide(keys, names.data() + g + 1);
    const __m512i eight = _mm512_unpacklo_epi64(even, odd);
    _mm512_store_si512(&evidence[g], eight);
    _mm512_store_si512(&home[g], buckets_at(range, eight));
    _mm512_store_si512(&other[g], buckets_at(range, _mm512_srli_epi64(eight, 32)));
    for (std::size_t i = g; i < g + kWide; ++i) {
      prefetch(summaries_ + home[i]);
    }
  }
  // Lists are written eight at a time before they are counted.
  std::array<std::uint64_t, kMaxBurst + kWide> read_name;
  std::array<std::uint64_t, kMaxBurst + kWide> read_bucket;
  std::array<std::uint64_t, kMaxBurst + kWide> again;
  std::size_t to_read = 0;
  std::size_t elsewhere = 0;
  std::uint32_t away_names = 0;
  static_assert(kMaxBurst <= 32);
  for (std::size_t g = 0; g < padded; g += kWide) {
    const auto in_use = static_cast<__mmask8>(count - g >= kWide ? 0xFF : (1u << (count - g)) - 1);
    const __m512i at_home = _mm512_load_si512(&home[g]);
    const __m512i summary = _mm512_i64gather_epi64(at_home, summaries_, sizeof(Summary));
    const __m512i eight = _mm512_load_si512(&evidence[g]);
    const __mmask8 here = may_hold_wide(in_use, summary, eight);
    const __mmask8 away = may_be_away_wide(in_use, summary, eight);
    const auto only_away = static_cast<__mmask8>(away & ~here);
    const __m512i number = _mm512_add_epi64(_mm512_setr_epi64(0, 1, 2, 3, 4, 5, 6, 7), _mm512_set1_epi64(static_cast<long long>(g)));
    _mm512_storeu_si512(&read_name[to_read], _mm512_maskz_compress_epi64(here, number));
    _mm512_storeu_si512(&read_bucket[to_read], _mm512_maskz_compress_epi64(here, at_home));
    _mm512_storeu_si512(&again[elsewhere], _mm512_maskz_compress_epi64(only_away, number));
    to_read += static_cast<std::size_t>(std::popcount(static_cast<unsigned>(here)));
    elsewhere += static_cast<std::size_t>(std::popcount(static_cast<unsigned>(only_away)));
    away_names |= static_cast<std::uint32_t>(away) << g;
    _mm256_mask_storeu_epi32(matches + g, in_use, _mm256_setzero_si256());
  }
  for (std::size_t k = 0; k < to_read; ++k) {
    prefetch(buckets_ + read_bucket[k]);
  }
  for (std::size_t k = 0; k < elsewhere; ++k) {
    const std::size_t i = again[k];
    const std::uint32_t there = may_hold(summaries_[other[i]], {evidence[i]});
    read_name[to_read] = i;
    read_bucket[to_read] = other[i];
    to_read += there;
    prefetch(buckets_ + (other[i] & (std::uint64_t{0} - there)));
  }
  std::size_t unsure = 0;
  for (std::size_t k = 0; k < to_read; ++k) {
    const std::size_t i = read_name[k];
    matches[i] = match_in_wide(buckets_[read_bucket[k]], evidence[i]);
    prefetch(lines_ + (matches[i].is_group() ? matches[i].line() : 0));
    again[unsure] = i;
    unsure += static_cast<std::size_t>(!matches[i].found()) & (away_names >> i & 1);
  }
  for (std::size_t k = 0; k < unsure; ++k) {
    const std::size_t i = again[k];
    matches[i] = match_in(buckets_[other[i]], {evidence[i]});
  }
}

}  // namespace slipway
