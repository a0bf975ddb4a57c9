#pragma once
// Inside of mix_name, for the files of this folder that are compiled with AES instructions.

#include <immintrin.h>

#include "route/route_key.h"

namespace slipway {

// cost: 7 AES rounds' latency is hidden by the burst; 2 ns a name at burst 32 (measured).
// Two rounds stand between blocks and three behind the last, so that no difference that a peer can choose in one
// block is cancelled in the next, and every bit of the evidence depends on every bit of the name.
inline RouteEvidence mix_blocks(const RouteSecret& secret, __m128i first_two, __m128i id, __m128i third) {
  const auto key = [&secret](int i) { return _mm_load_si128(reinterpret_cast<const __m128i*>(&secret.round_key[i])); };
  __m128i s = _mm_xor_si128(first_two, key(0));
  s = _mm_aesenc_si128(s, key(1));
  s = _mm_aesenc_si128(s, key(2));
  s = _mm_xor_si128(s, id);
  s = _mm_aesenc_si128(s, key(3));
  s = _mm_aesenc_si128(s, key(4));
  s = _mm_xor_si128(s, third);
  s = _mm_aesenc_si128(s, key(5));
  s = _mm_aesenc_si128(s, key(6));
  s = _mm_aesenc_si128(s, key(7));
  return {static_cast<std::uint64_t>(_mm_cvtsi128_si64(s))};
}

// `at`: the 40 bytes of a name in a frame.
inline RouteEvidence mix_wire(const RouteSecret& secret, const std::byte* at) {
  return mix_blocks(secret, _mm_loadu_si128(reinterpret_cast<const __m128i*>(at)),
                    _mm_loadu_si128(reinterpret_cast<const __m128i*>(at + 24)),
                    _mm_loadl_epi64(reinterpret_cast<const __m128i*>(at + 16)));
}

}  // namespace slipway
