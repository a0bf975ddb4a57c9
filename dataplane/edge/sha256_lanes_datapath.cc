// One source for registers of 8 and 16 words: the compiler makes of it what the instruction sets have for rotating and combining.

#include "edge/sha256_lanes.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <utility>

#pragma GCC diagnostic ignored "-Wpsabi"  // vectors are handed to functions, all of which are inlined

namespace slipway {
namespace {

// FIPS 180-4, 4.2.2
constexpr std::array<std::uint32_t, 64> kRound = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5, 0xd807aa98, 0x12835b01, 0x243185be,
    0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174, 0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa,
    0x5cb0a9dc, 0x76f988da, 0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967, 0x27b70a85,
    0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85, 0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3,
    0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070, 0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f,
    0x682e6ff3, 0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2};

constexpr std::size_t kBlockWords = 16;

// A word of each of kLanes messages.
template <std::size_t kLanes>
struct Vector {
  typedef std::uint32_t Words __attribute__((vector_size(kLanes * sizeof(std::uint32_t))));
  typedef std::uint8_t Bytes __attribute__((vector_size(kLanes * sizeof(std::uint32_t))));
};
template <std::size_t kLanes>
using Words = typename Vector<kLanes>::Words;

template <int kBits, class V>
[[gnu::always_inline]] inline V rotated(const V& x) {
  return (x >> kBits) | (x << (32 - kBits));
}

template <class V, std::size_t... kAt>
[[gnu::always_inline]] inline V big_endian(const V& x, std::index_sequence<kAt...>) {
  const auto bytes = reinterpret_cast<typename Vector<sizeof(V) / sizeof(std::uint32_t)>::Bytes>(x);
  return reinterpret_cast<V>(__builtin_shufflevector(bytes, bytes, (kAt ^ (sizeof(std::uint32_t) - 1))...));
}

// Element i of a and of b, in turn, from the first or the second half of both.
template <bool kSecond, class V, std::size_t... kAt>
[[gnu::always_inline]] inline V interleaved(const V& a, const V& b, std::index_sequence<kAt...>) {
  constexpr std::size_t kCount = sizeof...(kAt);
  return __builtin_shufflevector(a, b, (kAt / 2 + (kSecond ? kCount / 2 : 0) + kAt % 2 * kCount)...);
}

// Rows to columns: so many rounds of shuffling as kLanes has bits.
template <std::size_t kLanes>
[[gnu::always_inline]] inline void transpose(Words<kLanes>* rows) {
  using Order = std::make_index_sequence<kLanes>;
  for (std::size_t round = 1; round < kLanes; round *= 2) {
    Words<kLanes> shuffled[kLanes];
#pragma GCC unroll 8
    for (std::size_t i = 0; i < kLanes / 2; ++i) {
      shuffled[2 * i] = interleaved<false>(rows[i], rows[i + kLanes / 2], Order{});
      shuffled[2 * i + 1] = interleaved<true>(rows[i], rows[i + kLanes / 2], Order{});
    }
    std::memcpy(rows, shuffled, sizeof shuffled);
  }
}

// FIPS 180-4, 6.2.2, of all lanes.
template <class V>
[[gnu::always_inline]] inline void compress(V* state, V* w) {
  V s[kSha256Words];
  std::memcpy(s, state, sizeof s);
#pragma GCC unroll 4
  for (std::size_t round = 0; round < 64; round += kBlockWords) {
#pragma GCC unroll 16
    for (std::size_t i = 0; i < kBlockWords; ++i) {
      if (round != 0) {
        const V& x = w[(i + 1) % kBlockWords];
        const V& y = w[(i + 14) % kBlockWords];
        w[i] += w[(i + 9) % kBlockWords] + (rotated<7>(x) ^ rotated<18>(x) ^ (x >> 3)) + (rotated<17>(y) ^ rotated<19>(y) ^ (y >> 10));
      }
      // The eight variables change places instead of values.
      const auto at = [i](std::size_t variable) { return (variable + 8 * kBlockWords - i) % kSha256Words; };
      const V& a = s[at(0)];
      const V& b = s[at(1)];
      const V& c = s[at(2)];
      const V& e = s[at(4)];
      const V& f = s[at(5)];
      const V& g = s[at(6)];
      V& h = s[at(7)];
      h += (rotated<6>(e) ^ rotated<11>(e) ^ rotated<25>(e)) + ((e & f) ^ (~e & g)) + kRound[round + i] + w[i];
      s[at(3)] += h;
      h += (rotated<2>(a) ^ rotated<13>(a) ^ rotated<22>(a)) + ((a & b) | (c & (a | b)));
    }
  }
  for (std::size_t i = 0; i < kSha256Words; ++i) {
    state[i] += s[i];
  }
}

// A state of each lane to words of all, and back. The vectors of a lane are at least as wide as a state.
template <std::size_t kLanes, class StateOf>
[[gnu::always_inline]] inline void load_states(std::size_t lanes, StateOf&& state_of, Words<kLanes>* state) {
  Words<kLanes> rows[kLanes] = {};
  for (std::size_t lane = 0; lane < lanes; ++lane) {
    std::memcpy(&rows[lane], state_of(lane), kSha256Words * sizeof(std::uint32_t));
  }
  transpose<kLanes>(rows);
  std::memcpy(state, rows, kSha256Words * sizeof(Words<kLanes>));
}
template <std::size_t kLanes>
[[gnu::always_inline]] inline void store_states(std::span<const Sha256Lane> lanes, const Words<kLanes>* state) {
  Words<kLanes> rows[kLanes] = {};
  std::memcpy(rows, state, kSha256Words * sizeof(Words<kLanes>));
  transpose<kLanes>(rows);
  for (std::size_t lane = 0; lane < lanes.size(); ++lane) {
    std::memcpy(lanes[lane].state, &rows[lane], kSha256Words * sizeof(std::uint32_t));
  }
}

// At most kLanes messages. Those with fewer blocks than others keep their state while those go on.
template <std::size_t kLanes>
[[gnu::always_inline]] inline void hash_some(std::span<const Sha256Lane> lanes) {
  using V = Words<kLanes>;
  V blocks{};
  std::uint32_t most = 0;
  for (std::size_t lane = 0; lane < lanes.size(); ++lane) {
    blocks[lane] = lanes[lane].blocks;
    most = std::max(most, lanes[lane].blocks);
  }
  V state[kSha256Words];
  load_states<kLanes>(lanes.size(), [&](std::size_t lane) { return lanes[lane].state; }, state);
  for (std::uint32_t block = 0; block < most; ++block) {
    V w[kBlockWords] = {};
    for (std::size_t part = 0; part < kBlockWords; part += kLanes) {
      for (std::size_t lane = 0; lane < lanes.size(); ++lane) {
        if (block < lanes[lane].blocks) {
          std::memcpy(&w[part + lane], lanes[lane].data + block * kSha256BlockBytes + part * sizeof(std::uint32_t), sizeof(V));
        }
      }
      transpose<kLanes>(w + part);
    }
    for (V& word : w) {
      word = big_endian(word, std::make_index_sequence<sizeof(V)>{});
    }
    V next[kSha256Words];
    std::memcpy(next, state, sizeof next);
    compress(next, w);
    const V goes_on = reinterpret_cast<V>(blocks > block);
    for (std::size_t i = 0; i < kSha256Words; ++i) {
      state[i] = (next[i] & goes_on) | (state[i] & ~goes_on);
    }
  }
  // One block more: the hash, and padding for what comes behind a key's block.
  constexpr std::uint32_t kBits = 8 * (kSha256BlockBytes + kSha256Words * sizeof(std::uint32_t));
  V w[kBlockWords] = {};
  std::memcpy(w, state, sizeof state);
  w[kSha256Words] += 0x80000000;
  w[kBlockWords - 1] += kBits;
  load_states<kLanes>(lanes.size(), [&](std::size_t lane) { return lanes[lane].outer; }, state);
  compress(state, w);
  store_states<kLanes>(lanes, state);
}

template <std::size_t kLanes>
[[gnu::always_inline]] inline void hash_all(std::span<const Sha256Lane> lanes) {
  while (!lanes.empty()) {
    const std::size_t count = std::min(lanes.size(), kLanes);
    hash_some<kLanes>(lanes.first(count));
    lanes = lanes.subspan(count);
  }
}

[[gnu::noinline]] void hash_eight(std::span<const Sha256Lane> lanes) { hash_all<8>(lanes); }
[[gnu::noinline]] [[gnu::target("avx512f,avx512bw,avx512vl")]] void hash_eight_wide(std::span<const Sha256Lane> lanes) { hash_all<8>(lanes); }
[[gnu::noinline]] [[gnu::target("avx512f,avx512bw,avx512vl")]] void hash_sixteen(std::span<const Sha256Lane> lanes) { hash_all<16>(lanes); }

constexpr std::array<Sha256Kernel, 2> kWide = {{{8, hash_eight_wide}, {16, hash_sixteen}}};  // rotate and combine three in one instruction
constexpr std::array<Sha256Kernel, 1> kOrdinary = {{{8, hash_eight}}};

}  // namespace

std::span<const Sha256Kernel> sha256_kernels() {
  static const bool wide = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl");
  return wide ? std::span<const Sha256Kernel>(kWide) : std::span<const Sha256Kernel>(kOrdinary);
}

}  // namespace slipway
