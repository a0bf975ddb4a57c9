#include "route/route_key.h"

#include <sys/random.h>

#include <cstdlib>

#include "route/route_mix.h"

namespace slipway {

RouteSecret RouteSecret::random() {
  RouteSecret secret;
  // 128 bytes: below the size that a signal can interrupt, and the call cannot fail once the kernel is up.
  if (getrandom(secret.round_key.data(), sizeof secret.round_key, 0) != sizeof secret.round_key) {
    std::abort();
  }
  return secret;
}

RouteSecret RouteSecret::from_seed(std::uint64_t seed) {
  RouteSecret secret;
  for (auto& key : secret.round_key) {
    for (auto& word : key) {  // splitmix64
      seed += 0x9E3779B97F4A7C15u;
      std::uint64_t z = seed;
      z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9u;
      z = (z ^ z >> 27) * 0x94D049BB133111EBu;
      word = z ^ z >> 31;
    }
  }
  return secret;
}

RouteEvidence mix_name(const RouteSecret& secret, const Name& name) {
  return mix_blocks(
      secret,
      _mm_set_epi64x(static_cast<long long>(name.component[1]), static_cast<long long>(name.component[0])),
      _mm_set_epi64x(static_cast<long long>(name.id.high), static_cast<long long>(name.id.low)),
      _mm_set_epi64x(0, static_cast<long long>(name.component[2])));
}

}  // namespace slipway
