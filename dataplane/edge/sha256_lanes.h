#pragma once
// HMAC-SHA256 of several messages side by side, each from states of its own. With wide registers a processor hashes
// sixteen blocks, one of each of sixteen messages, in little more time than it needs for seven one after the other.
//
// Why here and not from a library: OpenSSL hashes one message at a time, and intel-ipsec-mb, which hashes many, begins each at its
// key. Header MACs of one stream all begin with the same names, a third of what they cover, and are to go on from there.
//
// Pure functions: no state, no allocation; neither branches nor addresses depend on what is hashed. Callers pad (FIPS 180-4, 5.1.1).

#include <cstddef>
#include <cstdint>
#include <span>

namespace slipway {

inline constexpr std::size_t kSha256BlockBytes = 64;
inline constexpr std::size_t kSha256Words = 8;

struct Sha256Lane {
  const std::byte* data;       // its blocks, one behind the other
  std::uint32_t blocks;
  std::uint32_t* state;        // kSha256Words: behind the first half of the key and what came before the blocks; then the MAC
  const std::uint32_t* outer;  // kSha256Words: behind the second half of the key
};

struct Sha256Kernel {
  std::size_t lanes;                             // hashed in the time of one
  void (*run)(std::span<const Sha256Lane> lanes);  // any number of them
};

// Those that this processor can run.
[[nodiscard]] std::span<const Sha256Kernel> sha256_kernels();

}  // namespace slipway
