// Every kernel that this processor can run against OpenSSL's compression function, and FIPS 180-4's own example.

#define OPENSSL_SUPPRESS_DEPRECATED
#include <openssl/sha.h>

#include <gtest/gtest.h>

#include <array>
#include <cstring>
#include <random>
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

TEST(Sha256Lanes, HashesTheExampleOfTheStandard) {
  std::array<std::byte, kSha256BlockBytes> block{std::byte{'a'}, std::byte{'b'}, std::byte{'c'}, std::byte{0x80}};
  block.back() = std::byte{24};
  for (const Sha256Kernel& kernel : sha256_kernels()) {
    State state = kInitial;
    const Sha256Lane lane{block.data(), 1, state.data()};
    kernel.run({&lane, 1});
    EXPECT_EQ(state, (State{0xba7816bf, 0x8f01cfea, 0x414140de, 0x5dae2223, 0xb00361a3, 0x96177a9c, 0xb410ff61, 0xf20015ad}));
  }
}

TEST(Sha256Lanes, AnyNumberOfMessagesOfAnyLengthFromAnyState) {
  ASSERT_FALSE(sha256_kernels().empty());
  std::mt19937 random(1);
  for (const Sha256Kernel& kernel : sha256_kernels()) {
    for (int round = 0; round < 300; ++round) {
      const std::size_t count = random() % (2 * kernel.lanes + 3);
      std::vector<std::vector<std::byte>> blocks(count);
      std::vector<State> states(count);
      std::vector<State> expected(count);
      std::vector<Sha256Lane> lanes(count);
      for (std::size_t i = 0; i < count; ++i) {
        blocks[i].resize(random() % 12 * kSha256BlockBytes);
        for (std::byte& b : blocks[i]) {
          b = static_cast<std::byte>(random());
        }
        for (std::uint32_t& word : states[i]) {
          word = random();
        }
        expected[i] = by_openssl(states[i], blocks[i]);
        lanes[i] = {blocks[i].data(), static_cast<std::uint32_t>(blocks[i].size() / kSha256BlockBytes), states[i].data()};
      }
      kernel.run(lanes);
      EXPECT_EQ(states, expected) << kernel.lanes << " lanes, " << count << " messages";
    }
  }
}

}  // namespace
}  // namespace slipway
