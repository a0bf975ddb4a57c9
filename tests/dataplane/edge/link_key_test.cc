// Key agreement against the vectors of upstream-node 4.4.

#include "edge/link_key.h"

#include <gtest/gtest.h>

#include "edge/semantic_version.h"
#include "fixed_keys.h"
#include "golden.h"

namespace slipway {
namespace {

using golden::from_hex;

golden::Bytes vector_of(std::span<const std::byte> bytes) { return {bytes.begin(), bytes.end()}; }

TEST(LinkKey, ClassicalVector) {
  const auto initiator = X25519Pair::from_private(counting_secret(kInitiatorFirst));
  const auto acceptor = X25519Pair::from_private(counting_secret(kAcceptorFirst));
  ASSERT_TRUE(initiator && acceptor);
  EXPECT_EQ(vector_of(initiator->public_key()), from_hex("07a37cbc142093c8b755dc1b10e86cb426374ad16aa853ed0bdfc0b2b86d1c7c"));
  EXPECT_EQ(vector_of(acceptor->public_key()), from_hex("5869aff450549732cbaaed5e5df9b30a6da31cb0e5742bad5ad4a1a768f1a67b"));
  const auto secret = initiator->agree(acceptor->public_key());
  ASSERT_TRUE(secret);
  EXPECT_EQ(vector_of(secret->bytes()), from_hex("a84dc7c3c8f058b1b2dc4cd1e9b5dc0a7987f88b6a9564cde3391fc421159e77"));
  const auto other = acceptor->agree(initiator->public_key());
  ASSERT_TRUE(other);
  EXPECT_EQ(vector_of(other->bytes()), vector_of(secret->bytes()));
  const auto key = derive_link_key(*secret, nullptr, golden::kLinkId);
  ASSERT_TRUE(key);
  EXPECT_EQ(vector_of(key->bytes()), golden::kLinkKey);
}

TEST(LinkKey, HybridVector) {
  const auto initiator = X25519Pair::from_private(counting_secret(kInitiatorFirst));
  const auto acceptor = X25519Pair::from_private(counting_secret(kAcceptorFirst));
  ASSERT_TRUE(initiator && acceptor);
  const auto secret = initiator->agree(acceptor->public_key());
  ASSERT_TRUE(secret);
  Secret32 kem;
  std::ranges::fill(kem.writable(), std::byte{0xAA});
  const auto key = derive_link_key(*secret, &kem, golden::kLinkId);
  ASSERT_TRUE(key);
  EXPECT_EQ(vector_of(key->bytes()), from_hex("123f696ec7d9ecb9254db45e98903a9e09a05019ad8e88d14cf878d0bfb6d58a"));
}

TEST(LinkKey, KeysOfLowOrderOrOtherLengthAreRefused) {
  const auto pair = X25519Pair::generate();
  ASSERT_TRUE(pair);
  EXPECT_FALSE(pair->agree(golden::Bytes(32)));                                          // 0
  golden::Bytes one(32);
  one[0] = std::byte{1};
  EXPECT_FALSE(pair->agree(one));
  EXPECT_FALSE(pair->agree(from_hex("e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800")));  // order 8
  EXPECT_FALSE(pair->agree(golden::Bytes(31, std::byte{9})));
  EXPECT_FALSE(pair->agree({}));
}

TEST(LinkKey, EveryPairIsNew) {
  const auto a = X25519Pair::generate();
  const auto b = X25519Pair::generate();
  ASSERT_TRUE(a && b);
  EXPECT_NE(a->public_key(), b->public_key());
}

TEST(LinkKey, MlKemOfTheLibraryAgreesWithItself) {
  const auto kem = openssl_ml_kem();
  if (!kem) {
    GTEST_SKIP() << "the OpenSSL in use has no ML-KEM-768";
  }
  const auto pair = kem->generate();
  ASSERT_TRUE(pair);
  EXPECT_EQ(pair->public_key.size(), kMlKemPublicBytes);
  const auto encapsulated = kem->encapsulate(pair->public_key);
  ASSERT_TRUE(encapsulated);
  EXPECT_EQ(encapsulated->ciphertext.size(), kMlKemCiphertextBytes);
  const auto secret = kem->decapsulate(*pair->private_key, encapsulated->ciphertext);
  ASSERT_TRUE(secret);
  EXPECT_EQ(vector_of(secret->bytes()), vector_of(encapsulated->secret.bytes()));
  EXPECT_FALSE(kem->encapsulate(golden::Bytes(kMlKemPublicBytes, std::byte{0xFF})));
}

TEST(SemanticVersion, WhatTheRuleSays) {
  for (const std::string_view good : {"0.0.0", "1.2.3", "2.0.0-alpha.8", "3.4.6+build.007", "1.0.0-0.x-y", "1.0.0-a+b",
                                      "18446744073709551615.0.0", "1.0.0--"}) {
    EXPECT_TRUE(is_semantic_version(good)) << good;
  }
  for (const std::string_view bad : {"", "x", "2.3", "v2.3.0", "1.2.3.4", "01.2.3", "1.2.3-", "1.2.3-01", "1.2.3-a..b", "1.2.3+",
                                     "1.2.3+a_b", "1..3", " 1.2.3", "1.2.3 ", "18446744073709551616.0.0", "-1.0.0"}) {
    EXPECT_FALSE(is_semantic_version(bad)) << bad;
  }
}

}  // namespace
}  // namespace slipway
