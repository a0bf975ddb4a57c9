// Every kernel that this processor can run against OpenSSL's compression function, and an example of RFC 4231.

#define OPENSSL_SUPPRESS_DEPRECATED
#include <openssl/sha.h>

#include <gtest/gtest.h>

#include <array>
#include <cstring>
#include <random>
#include <string_view>
#include <vector>

#include "edge/sha256_lanes.h"

namespace slipway {
namespace {

using State = std::array<std::uint32_t, kSha256Words>;

constexpr State kInitial = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};

State by_openssl(State state, const std::vector<std::byte>& blocks) {
  SHA256_CTX hash;
  std::memcpy(hash.h, state.data(), sizeof hash.h);
  for (std::size_t at = 0; at < blocks.size(); at += kSha256BlockBytes) {
    SHA256_Transform(&hash, reinterpret_cast<const unsigned char*>(blocks.data() + at));
  }
  std::memcpy(state.data(), hash.h, sizeof hash.h);
  return state;
}

// Of a key, as HMAC has it (RFC 2104): behind a block of it, combined with a byte.
State behind_key(const std::vector<std::byte>& key, std::byte with) {
  std::vector<std::byte> block(kSha256BlockBytes, with);
  for (std::size_t i = 0; i < key.size(); ++i) {
    block[i] ^= key[i];
  }
  return by_openssl(kInitial, block);
}

std::vector<std::byte> padded(std::vector<std::byte> bytes, std::size_t before) {
  const std::uint64_t bits = 8 * (before + bytes.size());
  bytes.push_back(std::byte{0x80});
  while (bytes.size() % kSha256BlockBytes != kSha256BlockBytes - sizeof bits) {
    bytes.push_back(std::byte{0});
  }
  for (int shift = 56; shift >= 0; shift -= 8) {
    bytes.push_back(static_cast<std::byte>(bits >> shift));
  }
  return bytes;
}

State outer_of(const State& inner, const State& outer) {
  std::vector<std::byte> hash;
  for (const std::uint32_t word : inner) {
    for (int shift = 24; shift >= 0; shift -= 8) {
      hash.push_back(static_cast<std::byte>(word >> shift));
    }
  }
  return by_openssl(outer, padded(hash, kSha256BlockBytes));
}

TEST(Sha256Lanes, MakesTheMacOfTheStandardsExample) {  // RFC 4231, 4.2
  const std::vector<std::byte> key(20, std::byte{0x0B});
  std::vector<std::byte> text;
  for (const char c : std::string_view("Hi There")) {
    text.push_back(static_cast<std::byte>(c));
  }
  const std::vector<std::byte> block = padded(text, kSha256BlockBytes);
  const State outer = behind_key(key, std::byte{0x5C});
  for (const Sha256Kernel& kernel : sha256_kernels()) {
    State state = behind_key(key, std::byte{0x36});
    const Sha256Lane lane{block.data(), 1, state.data(), outer.data()};
    kernel.run({&lane, 1});
    EXPECT_EQ(state, (State{0xb0344c61, 0xd8db3853, 0x5ca8afce, 0xaf0bf12b, 0x881dc200, 0xc9833da7, 0x26e9376c, 0x2e32cff7}));
  }
}

TEST(Sha256Lanes, AnyNumberOfMessagesOfAnyLengthFromAnyStates) {
  ASSERT_FALSE(sha256_kernels().empty());
  std::mt19937 random(1);
  for (const Sha256Kernel& kernel : sha256_kernels()) {
    for (int round = 0; round < 300; ++round) {
      const std::size_t count = random() % (2 * kernel.lanes + 3);
      std::vector<std::vector<std::byte>> blocks(count);
      std::vector<State> states(count);
      std::vector<State> outers(count);
      std::vector<State> expected(count);
      std::vector<Sha256Lane> lanes(count);
      for (std::size_t i = 0; i < count; ++i) {
        blocks[i].resize(random() % 12 * kSha256BlockBytes);
        for (std::byte& b : blocks[i]) {
          b = static_cast<std::byte>(random());
        }
        for (State* state : {&states[i], &outers[i]}) {
          for (std::uint32_t& word : *state) {
            word = random();
          }
        }
        expected[i] = outer_of(by_openssl(states[i], blocks[i]), outers[i]);
        lanes[i] = {blocks[i].data(), static_cast<std::uint32_t>(blocks[i].size() / kSha256BlockBytes), states[i].data(), outers[i].data()};
      }
      kernel.run(lanes);
      EXPECT_EQ(states, expected) << kernel.lanes << " lanes, " << count << " messages";
    }
  }
}

}  // namespace
}  // namespace slipway
