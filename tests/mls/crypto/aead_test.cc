#include "crypto/aead.h"

#include <gtest/gtest.h>

#include "crypto/hkdf.h"

namespace slipway::mls {
namespace {

class Aead : public testing::TestWithParam<uint16_t> {
 protected:
  const Suite& suite_ = *find_suite(GetParam());
  Bytes key_ = Bytes(suite_.aead_key_size, 1);
  Bytes nonce_ = Bytes(kAeadNonceBytes, 2);
  Bytes aad_ = {3, 4, 5};

  Bytes seal(View plaintext) {
    Bytes out(plaintext.size() + kAeadTagBytes);
    EXPECT_TRUE(aead_seal(suite_, key_, nonce_, {aad_}, plaintext, out));
    return out;
  }
  // Expects a refusal, and that nothing is left in the buffer.
  void expect_refused(View key, View nonce, View aad, View sealed) {
    Bytes out(sealed.size() - kAeadTagBytes, 0xee);
    Status status = aead_open(suite_, key, nonce, {aad}, sealed, out);
    ASSERT_FALSE(status);
    EXPECT_EQ(status.error().code, ErrorCode::kDecryptionFailed);
    EXPECT_EQ(out, Bytes(out.size(), 0));
  }
};

TEST_P(Aead, OpensWhatItSealed) {
  for (size_t size : {size_t{0}, size_t{1}, size_t{64}, size_t{5000}}) {
    Bytes plaintext(size, 0x77);
    Bytes sealed = seal(plaintext);
    Bytes out(size);
    ASSERT_TRUE(aead_open(suite_, key_, nonce_, {View(aad_).first(1), View(aad_).subspan(1)}, sealed, out));
    EXPECT_EQ(out, plaintext);
  }
}

TEST_P(Aead, WorksInPlace) {
  Bytes buffer(100 + kAeadTagBytes, 0x42);
  ASSERT_TRUE(aead_seal(suite_, key_, nonce_, {aad_}, View(buffer).first(100), buffer));
  EXPECT_EQ(buffer, seal(Bytes(100, 0x42)));
  ASSERT_TRUE(aead_open(suite_, key_, nonce_, {aad_}, buffer, MutableView(buffer).first(100)));
  EXPECT_TRUE(equal(View(buffer).first(100), Bytes(100, 0x42)));
}

TEST_P(Aead, GivesNoPlaintextOfAForgery) {
  Bytes sealed = seal(Bytes(40, 0x77));
  for (size_t i = 0; i < sealed.size(); ++i) {
    Bytes bad = sealed;
    bad[i] ^= 0x80;
    expect_refused(key_, nonce_, aad_, bad);
  }
  Bytes other_key = key_, other_nonce = nonce_, other_aad = aad_;
  other_key[0] ^= 1;
  other_nonce[0] ^= 1;
  other_aad[0] ^= 1;
  expect_refused(other_key, nonce_, aad_, sealed);
  expect_refused(key_, other_nonce, aad_, sealed);
  expect_refused(key_, nonce_, other_aad, sealed);
  Bytes out(40);
  EXPECT_TRUE(aead_open(suite_, key_, nonce_, {aad_}, sealed, out));
}

TEST_P(Aead, RefusesWhatIsShorterThanATag) {
  for (size_t size = 0; size < kAeadTagBytes; ++size) {
    Bytes sealed(size), out;
    Status status = aead_open(suite_, key_, nonce_, {}, sealed, out);
    ASSERT_FALSE(status);
    EXPECT_EQ(status.error().code, ErrorCode::kDecryptionFailed);
  }
}

TEST_P(Aead, RefusesKeysAndNoncesOfOtherLengths) {
  Bytes out(kAeadTagBytes);
  for (auto [key, nonce] : {std::pair{key_.size() - 1, nonce_.size()}, {key_.size() + 1, nonce_.size()},
                            {key_.size(), nonce_.size() - 1}, {key_.size(), nonce_.size() + 1}}) {
    Status status = aead_seal(suite_, Bytes(key), Bytes(nonce), {}, {}, out);
    ASSERT_FALSE(status);
    EXPECT_EQ(status.error().code, ErrorCode::kInvalidArgument);
  }
}

INSTANTIATE_TEST_SUITE_P(AllSuites, Aead, testing::Range<uint16_t>(1, 8));

TEST(Hkdf, TakesEmptyInputs) {
  const Suite& suite = *find_suite(CipherSuite{1});
  Secret from_nothing = hkdf_extract(suite, {}, {});
  Secret from_zeros = hkdf_extract(suite, Bytes(32), {});
  EXPECT_TRUE(from_nothing == from_zeros);  // HMAC pads its key with zeros
}

// RFC 5869, A.2: output longer than the hash, key and salt longer than a block.
TEST(Hkdf, ExpandsBeyondOneBlock) {
  Bytes ikm, salt, info;
  for (int i = 0; i < 80; ++i) {
    ikm.push_back(static_cast<uint8_t>(i));
    salt.push_back(static_cast<uint8_t>(0x60 + i));
    info.push_back(static_cast<uint8_t>(0xb0 + i));
  }
  Secret prk = hkdf_extract(KdfId::kSha256, salt, {ikm});
  Bytes okm(82);
  hkdf_expand(KdfId::kSha256, prk, {info}, okm);
  const Bytes start = {0xb1, 0x1e, 0x39, 0x8d, 0xc8, 0x03, 0x27, 0xa1};
  const Bytes end = {0x3e, 0x87, 0xc1, 0x4c, 0x01, 0xd5, 0xc1, 0xf3, 0x43, 0x4f, 0x1d, 0x87};
  EXPECT_TRUE(equal(View(okm).first(start.size()), start));
  EXPECT_TRUE(equal(View(okm).last(end.size()), end));
}

TEST(Hkdf, LabelsOfAnyLength) {
  const Suite& suite = *find_suite(CipherSuite{1});
  Bytes secret(32, 9);
  // 128 bytes take the way over the stack, 129 the other: both must agree with the plain encoding.
  for (size_t size : {size_t{55}, size_t{56}, size_t{128}, size_t{129}, size_t{400}}) {
    std::string label(size, 'x');
    std::string whole = "MLS 1.0 " + label;
    Bytes info = {0, 32};
    auto put = [&info](View bytes) {
      if (bytes.size() < 64) {
        info.push_back(static_cast<uint8_t>(bytes.size()));
      } else {
        info.push_back(static_cast<uint8_t>(0x40 | bytes.size() >> 8));
        info.push_back(static_cast<uint8_t>(bytes.size()));
      }
      append(info, bytes);
    };
    put(as_view(whole));
    put(Bytes(3, 7));
    Bytes wanted(32);
    hkdf_expand(KdfId::kSha256, secret, {info}, wanted);
    EXPECT_TRUE(equal(expand_with_label(suite, secret, label, Bytes(3, 7), 32), wanted)) << size;
  }
}

}  // namespace
}  // namespace slipway::mls
