// Keys: every suite with itself, and every kind of bad key.
#include <gtest/gtest.h>
#include <openssl/err.h>

#include "crypto/hpke.h"
#include "crypto/signature_key.h"

namespace slipway::mls {
namespace {

template <class R>
void expect_code(const R& result, ErrorCode code) {
  ASSERT_FALSE(result);
  EXPECT_EQ(ERR_peek_error(), 0u) << "left for a TLS connection on this thread to trip over";
  EXPECT_EQ(result.error().code, code) << result.error().text;
}

bool is_nist(const Suite& suite) {
  return suite.kem == KemId::kP256 || suite.kem == KemId::kP384 || suite.kem == KemId::kP521;
}

class Keys : public testing::TestWithParam<uint16_t> {
 protected:
  const Suite& suite_ = *find_suite(GetParam());
  Random& random_ = system_random();
};

class NistKeys : public Keys {};

TEST_P(Keys, KemKeysRoundTrip) {
  auto key = KemKey::generate(suite_, random_).value();
  EXPECT_EQ(key.public_key().size(), suite_.kem_public_key_size);
  EXPECT_EQ(key.private_key().size(), suite_.kem_private_key_size);
  auto again = KemKey::import(suite_, key.private_key()).value();
  EXPECT_TRUE(equal(again.public_key(), key.public_key()));
  EXPECT_TRUE(validate_kem_public_key(suite_, key.public_key()));
  auto peer = KemKey::generate(suite_, random_).value();
  EXPECT_TRUE(key.dh(suite_, peer.public_key()).value() == peer.dh(suite_, key.public_key()).value());
  EXPECT_TRUE(key.clone().dh(suite_, peer.public_key()).value() ==
              key.dh(suite_, peer.public_key()).value());
}

TEST_P(Keys, DerivedKemKeysDependOnTheirInput) {
  Bytes ikm(suite_.hash_size, 1), other(suite_.hash_size, 2);
  auto key = KemKey::derive(suite_, ikm).value();
  EXPECT_TRUE(equal(key.public_key(), KemKey::derive(suite_, ikm).value().public_key()));
  EXPECT_FALSE(equal(key.public_key(), KemKey::derive(suite_, other).value().public_key()));
}

TEST_P(Keys, HpkeOpensOnlyWhatWasSealedForIt) {
  auto key = KemKey::generate(suite_, random_).value();
  auto other = KemKey::generate(suite_, random_).value();
  Bytes context(70, 3), secret(suite_.hash_size, 4);
  auto sealed =
      encrypt_with_label(suite_, key.public_key(), "UpdatePathNode", context, secret, random_).value();
  EXPECT_EQ(sealed.enc.size(), suite_.kem_output_size);
  auto open = [&](const KemKey& with, std::string_view label, View about, View enc, View ciphertext) {
    return decrypt_with_label(suite_, with, label, about, enc, ciphertext);
  };
  EXPECT_TRUE(equal(open(key, "UpdatePathNode", context, sealed.enc, sealed.ciphertext).value(), secret));
  expect_code(open(other, "UpdatePathNode", context, sealed.enc, sealed.ciphertext),
              ErrorCode::kDecryptionFailed);
  expect_code(open(key, "Welcome", context, sealed.enc, sealed.ciphertext), ErrorCode::kDecryptionFailed);
  expect_code(open(key, "UpdatePathNode", secret, sealed.enc, sealed.ciphertext),
              ErrorCode::kDecryptionFailed);
  expect_code(open(key, "UpdatePathNode", context, sealed.enc, View(sealed.ciphertext).first(15)),
              ErrorCode::kDecryptionFailed);
  expect_code(open(key, "UpdatePathNode", context, View(sealed.enc).first(3), sealed.ciphertext),
              ErrorCode::kInvalidKey);
  expect_code(open(KemKey(), "UpdatePathNode", context, sealed.enc, sealed.ciphertext),
              ErrorCode::kInvalidArgument);
}

TEST_P(Keys, HpkeExportsAgree) {
  auto key = KemKey::generate(suite_, random_).value();
  auto sent = hpke_export_to(suite_, key.public_key(), {}, "context", suite_.hash_size, random_).value();
  auto received = hpke_export_from(suite_, key, sent.enc, {}, "context", suite_.hash_size).value();
  EXPECT_TRUE(sent.secret == received);
  EXPECT_FALSE(received == hpke_export_from(suite_, key, sent.enc, {}, "other", suite_.hash_size).value());
}

TEST_P(Keys, SignaturesVerifyOnlyWhatWasSigned) {
  auto key = SignatureKey::generate(suite_, random_).value();
  auto other = SignatureKey::generate(suite_, random_).value();
  EXPECT_EQ(key.public_key().size(), suite_.signature_public_key_size);
  auto again = SignatureKey::import(suite_, key.private_key()).value();
  EXPECT_TRUE(equal(again.public_key(), key.public_key()));
  auto verifier = SignaturePublicKey::import(suite_, key.public_key()).value();
  Bytes content(300, 5);
  for (const SignatureKey* signer : {&key, &again}) {
    Signature made = signer->sign("label", {content}).value();
    EXPECT_TRUE(verifier.verify("label", {View(content).first(7), View(content).subspan(7)}, made));
    EXPECT_TRUE(verify_once(suite_, key.public_key(), "label", {content}, made));
  }
  Signature made = key.clone().sign("label", {content}).value();
  EXPECT_TRUE(verifier.verify("label", {content}, made));
  expect_code(verifier.verify("lable", {content}, made), ErrorCode::kBadSignature);
  expect_code(verifier.verify("label", {View(content).first(299)}, made), ErrorCode::kBadSignature);
  expect_code(verifier.verify("label", {content}, View(made).first(made.size() - 1)),
              ErrorCode::kBadSignature);
  expect_code(verifier.verify("label", {content}, {}), ErrorCode::kBadSignature);
  expect_code(verify_once(suite_, other.public_key(), "label", {content}, made),
              ErrorCode::kBadSignature);
  EXPECT_TRUE(verify_once(suite_, key.public_key(), "label", {content}, made));
  for (size_t i = 0; i < made.size(); ++i) {
    Signature bad = made;
    bad.data()[i] ^= 1;
    EXPECT_FALSE(verifier.verify("label", {content}, bad)) << "byte " << i;
  }
}

TEST_P(Keys, EmptyKeyObjectsRefuse) {
  expect_code(SignatureKey().sign("label", {}), ErrorCode::kInvalidArgument);
  expect_code(SignaturePublicKey().verify("label", {}, {}), ErrorCode::kInvalidArgument);
}

// Each of these must be refused wherever a public key comes in.
void expect_bad_public_keys(const Suite& suite, const std::vector<Bytes>& kem_keys,
                            const std::vector<Bytes>& signature_keys) {
  auto own = KemKey::generate(suite, system_random()).value();
  for (const Bytes& bad : kem_keys) {
    expect_code(validate_kem_public_key(suite, bad), ErrorCode::kInvalidKey);
    expect_code(own.dh(suite, bad), ErrorCode::kInvalidKey);
    expect_code(hpke_seal(suite, bad, {}, {}, {}, system_random()), ErrorCode::kInvalidKey);
  }
  for (const Bytes& bad : signature_keys) {
    expect_code(validate_signature_public_key(suite, bad), ErrorCode::kInvalidKey);
    expect_code(SignaturePublicKey::import(suite, bad), ErrorCode::kInvalidKey);
    EXPECT_FALSE(verify_once(suite, bad, "label", {}, Bytes(64)));
  }
}

TEST_P(Keys, RefusesPublicKeysOfWrongLength) {
  auto cut_and_grown = [](View key) {
    std::vector<Bytes> bad = {{}, to_bytes(key), to_bytes(key), Bytes(1000, 4)};
    bad[1].pop_back();
    bad[2].push_back(0);
    return bad;
  };
  auto kem = KemKey::generate(suite_, random_).value();
  auto signature = SignatureKey::generate(suite_, random_).value();
  expect_bad_public_keys(suite_, cut_and_grown(kem.public_key()), cut_and_grown(signature.public_key()));
}

TEST_P(NistKeys, RefusesOtherFormsOfPoints) {
  auto bad_forms = [](View key) {
    size_t field = (key.size() - 1) / 2;
    bool odd = key.back() & 1;
    Bytes infinity = {0x00};
    Bytes long_infinity(key.size(), 0);
    Bytes compressed = to_bytes(key.first(1 + field));
    compressed[0] = odd ? 0x03 : 0x02;
    Bytes hybrid = to_bytes(key);
    hybrid[0] = odd ? 0x07 : 0x06;
    Bytes off_curve = to_bytes(key);
    off_curve.back() ^= 1;
    Bytes beyond_field(key.size(), 0xff);
    beyond_field[0] = 0x04;
    return std::vector<Bytes>{infinity, long_infinity, compressed, hybrid, off_curve, beyond_field};
  };
  auto kem = KemKey::generate(suite_, random_).value();
  auto signature = SignatureKey::generate(suite_, random_).value();
  expect_bad_public_keys(suite_, bad_forms(kem.public_key()), bad_forms(signature.public_key()));
}

TEST_P(Keys, RefusesBadPrivateKeys) {
  for (size_t size : {size_t{0}, suite_.kem_private_key_size - 1, suite_.kem_private_key_size + 1}) {
    expect_code(KemKey::import(suite_, Bytes(size, 1)), ErrorCode::kInvalidKey);
  }
  expect_code(SignatureKey::import(suite_, {}), ErrorCode::kInvalidKey);
  expect_code(SignatureKey::import(suite_, Bytes(suite_.signature_private_key_size + 1, 1)),
              ErrorCode::kInvalidKey);
  if (is_nist(suite_)) {
    for (uint8_t fill : {0x00, 0xff}) {  // zero; above the order
      expect_code(KemKey::import(suite_, Bytes(suite_.kem_private_key_size, fill)),
                  ErrorCode::kInvalidKey);
      expect_code(SignatureKey::import(suite_, Bytes(suite_.signature_private_key_size, fill)),
                  ErrorCode::kInvalidKey);
    }
  } else {
    expect_code(SignatureKey::import(suite_, Bytes(suite_.signature_private_key_size - 1, 1)),
                ErrorCode::kInvalidKey);
  }
}

TEST_P(NistKeys, TakesScalarsWithoutLeadingZeros) {
  Bytes padded(suite_.signature_private_key_size, 0);
  padded.back() = 7;
  auto key = SignatureKey::import(suite_, padded).value();
  auto same = SignatureKey::import(suite_, Bytes{7}).value();
  EXPECT_TRUE(equal(key.public_key(), same.public_key()));
  EXPECT_TRUE(equal(same.private_key(), padded));
}

// A source that has failed, or gives the same for ever.
class BrokenRandom final : public Random {
 public:
  explicit BrokenRandom(bool fails) : fails_(fails) {}
  Status fill_secret(MutableView out) override { return fill(out); }
  Status fill_public(MutableView out) override { return fill(out); }

 private:
  Status fill(MutableView out) {
    std::fill(out.begin(), out.end(), 0);
    return fails_ ? Status(fail(ErrorCode::kCryptoFailure, "broken")) : Status();
  }
  bool fails_;
};

TEST_P(Keys, SaysWhenTheRandomSourceIsBroken) {
  BrokenRandom failing(true), stuck(false);
  auto peer = KemKey::generate(suite_, random_).value();
  expect_code(KemKey::generate(suite_, failing), ErrorCode::kCryptoFailure);
  expect_code(SignatureKey::generate(suite_, failing), ErrorCode::kCryptoFailure);
  expect_code(hpke_seal(suite_, peer.public_key(), {}, {}, {}, failing), ErrorCode::kCryptoFailure);
  if (is_nist(suite_)) {
    expect_code(KemKey::generate(suite_, stuck), ErrorCode::kCryptoFailure);
    expect_code(SignatureKey::generate(suite_, stuck), ErrorCode::kCryptoFailure);
  }
}

INSTANTIATE_TEST_SUITE_P(AllSuites, Keys, testing::Range<uint16_t>(1, 8));
INSTANTIATE_TEST_SUITE_P(NistSuites, NistKeys, testing::Values<uint16_t>(2, 5, 7));

TEST(Suites, AreSeven) {
  EXPECT_EQ(all_suites().size(), 7u);
  EXPECT_EQ(find_suite(uint16_t{0}), nullptr);
  EXPECT_EQ(find_suite(uint16_t{8}), nullptr);
  EXPECT_EQ(find_suite(uint16_t{0x0a0a}), nullptr);
  for (uint16_t id = 1; id <= 7; ++id) {
    EXPECT_EQ(static_cast<uint16_t>(find_suite(id)->id), id);
  }
}

// --- Small order ---

Bytes from_hex(std::string_view text) {
  Bytes out;
  for (size_t i = 0; i < text.size(); i += 2) {
    out.push_back(static_cast<uint8_t>(std::stoi(std::string(text.substr(i, 2)), nullptr, 16)));
  }
  return out;
}
Bytes filled(size_t size, uint8_t first, uint8_t middle, uint8_t last) {
  Bytes out(size, middle);
  out.front() = first;
  out.back() = last;
  return out;
}
Bytes with_top_bit(Bytes key) {
  key.back() |= 0x80;
  return key;
}

std::vector<Bytes> small_order_x25519() {
  std::vector<Bytes> keys = {
      filled(32, 0, 0, 0), filled(32, 1, 0, 0),
      from_hex("e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800"),
      from_hex("5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157"),
      filled(32, 0xec, 0xff, 0x7f), filled(32, 0xed, 0xff, 0x7f), filled(32, 0xee, 0xff, 0x7f)};
  for (size_t i = 0, n = keys.size(); i < n; ++i) {
    keys.push_back(with_top_bit(keys[i]));
  }
  return keys;
}

std::vector<Bytes> special_448() {
  Bytes p(56, 0xff), p_less(56, 0xff), p_more(56, 0xff);
  p[28] = p_less[28] = 0xfe;
  p_less[0] = 0xfe;
  std::fill(p_more.begin(), p_more.begin() + 28, 0);
  return {filled(56, 0, 0, 0), filled(56, 1, 0, 0), p, p_less, p_more};
}

std::vector<Bytes> small_order_ed25519() {
  std::vector<Bytes> keys = {
      filled(32, 0, 0, 0), filled(32, 1, 0, 0),
      from_hex("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05"),
      from_hex("c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a"),
      filled(32, 0xec, 0xff, 0x7f), filled(32, 0xed, 0xff, 0x7f), filled(32, 0xee, 0xff, 0x7f)};
  for (size_t i = 0, n = keys.size(); i < n; ++i) {
    keys.push_back(with_top_bit(keys[i]));
  }
  return keys;
}

std::vector<Bytes> small_order_ed448() {
  std::vector<Bytes> keys;
  for (Bytes key : special_448()) {
    key.push_back(0);
    keys.push_back(key);
    keys.push_back(with_top_bit(key));
  }
  return keys;
}

// The library's DH refuses each: it gives zero. That also shows that each is of small order.
TEST(SmallOrder, KemKeysAreRefused) {
  expect_bad_public_keys(*find_suite(CipherSuite{1}), small_order_x25519(), {});
  expect_bad_public_keys(*find_suite(CipherSuite{4}), special_448(), {});
}

// A signature that needs no key: S = 0 and R a point of small order verify for some contents. That
// shows that the library does take these keys, and that the check is needed.
size_t forgeable(const Suite& suite, const std::vector<Bytes>& keys) {
  size_t count = 0;
  for (const Bytes& key : keys) {
    bool forged = false;
    for (uint8_t content = 0; content < 64 && !forged; ++content) {
      for (const Bytes& r : keys) {
        Bytes signature = r;
        signature.resize(2 * r.size());
        forged = forged || verify_once(suite, key, "label", {View(&content, 1)}, signature);
      }
    }
    count += forged;
  }
  return count;
}

TEST(SmallOrder, SignatureKeysAreRefusedThoughForgeriesVerify) {
  const Suite& suite = *find_suite(CipherSuite{1});
  expect_bad_public_keys(suite, {}, {});
  for (const Bytes& key : small_order_ed25519()) {
    expect_code(validate_signature_public_key(suite, key), ErrorCode::kInvalidKey);
    expect_code(SignaturePublicKey::import(suite, key), ErrorCode::kInvalidKey);
  }
  EXPECT_GE(forgeable(suite, small_order_ed25519()), 8u);

  const Suite& suite448 = *find_suite(CipherSuite{4});
  for (const Bytes& key : small_order_ed448()) {
    expect_code(validate_signature_public_key(suite448, key), ErrorCode::kInvalidKey);
    expect_code(SignaturePublicKey::import(suite448, key), ErrorCode::kInvalidKey);
  }
  EXPECT_GE(forgeable(suite448, small_order_ed448()), 2u);
}

}  // namespace
}  // namespace slipway::mls
