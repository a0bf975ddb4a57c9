// Verification by table against the library's own: both must say the same of everything.
#include <gtest/gtest.h>
#include <openssl/ecdsa.h>
#include <openssl/obj_mac.h>

#include "crypto/p256_table.h"
#include "crypto/signature_key.h"

namespace slipway::mls::internal {
namespace {

using Number = std::unique_ptr<BIGNUM, FreeWith<BN_free>>;
using Digest = std::array<uint8_t, 32>;

class P256TableTest : public ::testing::Test {
 protected:
  P256TableTest() : key_(SignatureKey::generate(*find_suite(CipherSuite{2}), system_random()).value()), table_(P256Table::make(key_.public_key())) {
    library_.reset(EVP_PKEY_new());
    const Pkey any(EVP_EC_gen("P-256"));
    EVP_PKEY_copy_parameters(library_.get(), any.get());
    EVP_PKEY_set1_encoded_public_key(library_.get(), key_.public_key().data(), key_.public_key().size());
    secret_.reset(BN_bin2bn(key_.private_key().data(), static_cast<int>(key_.private_key().size()), nullptr));
  }

  // By both; they must agree.
  bool verify(View digest, View signature) {
    const PkeyContext context(EVP_PKEY_CTX_new_from_pkey(nullptr, library_.get(), nullptr));
    EXPECT_EQ(EVP_PKEY_verify_init(context.get()), 1);
    const bool expected = EVP_PKEY_verify(context.get(), signature.data(), signature.size(), digest.data(), digest.size()) == 1;
    forget_library_errors();
    EXPECT_EQ(table_->verify(digest, signature), expected);
    return expected;
  }

  const BIGNUM* order() const { return EC_GROUP_get0_order(group_.get()); }
  static Digest bytes_of(const BIGNUM* number) {
    Digest out{};
    EXPECT_EQ(BN_bn2binpad(number, out.data(), out.size()), 32);
    return out;
  }
  static Bytes der(const BIGNUM* r, const BIGNUM* s) {
    const std::unique_ptr<ECDSA_SIG, FreeWith<ECDSA_SIG_free>> signature(ECDSA_SIG_new());
    ECDSA_SIG_set0(signature.get(), BN_dup(r), BN_dup(s));
    Bytes out(static_cast<size_t>(i2d_ECDSA_SIG(signature.get(), nullptr)));
    uint8_t* at = out.data();
    i2d_ECDSA_SIG(signature.get(), &at);
    return out;
  }

  // A signature of a digest that depends on its first half: `digest_of(r)`, by s = (digest + r * secret) / k.
  template <class F>
  std::pair<Digest, Bytes> sign(F&& digest_of) {
    const std::unique_ptr<EC_POINT, FreeWith<EC_POINT_free>> point(EC_POINT_new(group_.get()));
    const Number k(BN_new());
    const Number r(BN_new());
    const Number s(BN_new());
    BN_rand_range(k.get(), order());
    EC_POINT_mul(group_.get(), point.get(), k.get(), nullptr, nullptr, numbers_.get());
    EC_POINT_get_affine_coordinates(group_.get(), point.get(), r.get(), nullptr, numbers_.get());
    BN_nnmod(r.get(), r.get(), order(), numbers_.get());
    const Number digest = digest_of(r.get());
    BN_mod_mul(s.get(), r.get(), secret_.get(), order(), numbers_.get());
    BN_mod_add(s.get(), s.get(), digest.get(), order(), numbers_.get());
    BN_mod_inverse(k.get(), k.get(), order(), numbers_.get());
    BN_mod_mul(s.get(), s.get(), k.get(), order(), numbers_.get());
    return {bytes_of(digest.get()), der(r.get(), s.get())};
  }
  std::pair<Digest, Bytes> sign_any() {
    return sign([](const BIGNUM*) {
      Number digest(BN_new());
      BN_rand(digest.get(), 256, BN_RAND_TOP_ANY, BN_RAND_BOTTOM_ANY);
      return digest;
    });
  }

  const BnContext numbers_{BN_CTX_new()};
  const std::unique_ptr<EC_GROUP, FreeWith<EC_GROUP_free>> group_{EC_GROUP_new_by_curve_name(NID_X9_62_prime256v1)};
  SignatureKey key_;
  std::unique_ptr<P256Table> table_;
  Pkey library_;
  Number secret_;
};

TEST_F(P256TableTest, TakesGoodSignaturesAndNoOthers) {
  ASSERT_NE(table_, nullptr);
  for (int i = 0; i < 200; ++i) {
    auto [digest, signature] = sign_any();
    EXPECT_TRUE(verify(digest, signature));
    digest[static_cast<size_t>(i) % digest.size()] ^= 1;
    EXPECT_FALSE(verify(digest, signature));
  }
}

TEST_F(P256TableTest, EveryByteOfASignatureCounts) {
  const auto [digest, signature] = sign_any();
  for (size_t i = 0; i < signature.size(); ++i) {
    for (const int bit : {0, 3, 7}) {
      Bytes other = signature;
      other[i] ^= static_cast<uint8_t>(1 << bit);
      EXPECT_FALSE(verify(digest, other)) << i;
    }
    EXPECT_FALSE(verify(digest, View(signature).first(i)));
  }
  Bytes longer = signature;
  longer.push_back(0);
  EXPECT_FALSE(verify(digest, longer));
  Bytes padded = signature;  // one more zero in front of r: BER, not DER
  padded[1] += 1;
  padded[3] += 1;
  padded.insert(padded.begin() + 4, 0);
  EXPECT_FALSE(verify(digest, padded));
  EXPECT_FALSE(verify(digest, Bytes(200, 0x30)));
}

TEST_F(P256TableTest, NumbersAtTheEdges) {
  const auto [digest, signature] = sign_any();
  std::vector<Number> edges;
  for (const BN_ULONG word : {0, 1, 2}) {
    for (const bool from_order : {false, true}) {
      for (const bool minus : {false, true}) {
        Number edge(from_order ? BN_dup(order()) : BN_new());
        minus ? BN_sub_word(edge.get(), word) : BN_add_word(edge.get(), word);
        if (!BN_is_negative(edge.get())) {  // DER of a signature has no negative numbers
          edges.push_back(std::move(edge));
        }
      }
    }
  }
  for (const Number& r : edges) {
    for (const Number& s : edges) {
      EXPECT_FALSE(verify(digest, der(r.get(), s.get())));
    }
  }
}

TEST_F(P256TableTest, SumsThatAreSpecial) {
  const auto times_secret = [this](const BIGNUM* r, bool negative) {
    Number product(BN_new());
    BN_mod_mul(product.get(), r, secret_.get(), order(), numbers_.get());
    if (negative) {
      BN_sub(product.get(), order(), product.get());
    }
    return product;
  };
  for (int i = 0; i < 10; ++i) {
    // Nothing of the generator; twice the same point; a point and its negative, which is infinity and no signature.
    const auto [zero, of_zero] = sign([](const BIGNUM*) { return Number(BN_new()); });
    EXPECT_TRUE(verify(zero, of_zero));
    const auto [same, of_same] = sign([&](const BIGNUM* r) { return times_secret(r, false); });
    EXPECT_TRUE(verify(same, of_same));
    const auto [negative, of_negative] = sign([&](const BIGNUM* r) { return times_secret(r, true); });
    EXPECT_FALSE(verify(negative, of_negative));
    Bytes with_one = of_negative;  // and with an s that is none of zero
    with_one.back() = 1;
    EXPECT_FALSE(verify(negative, with_one));
    // A digest not below the order.
    const auto [large, of_large] = sign([this](const BIGNUM*) {
      Number digest(BN_dup(order()));
      BN_add_word(digest.get(), 5);
      return digest;
    });
    EXPECT_TRUE(verify(large, of_large));
  }
}

TEST_F(P256TableTest, MadeOfPointsOnlyAndBounded) {
  EXPECT_EQ(P256Table::make({}), nullptr);
  Bytes point = to_bytes(key_.public_key());
  point[64] ^= 1;
  EXPECT_EQ(P256Table::make(point), nullptr);
  point.assign(65, 0);
  EXPECT_EQ(P256Table::make(point), nullptr);
  std::vector<std::unique_ptr<P256Table>> tables;
  while (auto table = P256Table::make(key_.public_key())) {
    tables.push_back(std::move(table));
    ASSERT_LE(tables.size(), P256Table::kMaxTables);
  }
  EXPECT_EQ(tables.size(), P256Table::kMaxTables - 1);  // and the one of this test
  tables.pop_back();
  EXPECT_NE(P256Table::make(key_.public_key()), nullptr);
}

TEST_F(P256TableTest, KeysWithOneSayTheSame) {
  for (const Suite& suite : all_suites()) {
    const SignatureKey key = SignatureKey::generate(suite, system_random()).value();
    const SignaturePublicKey known = SignaturePublicKey::import(suite, key.public_key()).value();
    const Signature signature = key.sign("label", {as_view("content")}).value();
    known.hasten();
    known.hasten();
    EXPECT_TRUE(known.verify("label", {as_view("content")}, signature));
    const Status refused = known.verify("label", {as_view("other")}, signature);
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().code, ErrorCode::kBadSignature);
  }
  SignaturePublicKey().hasten();
}

}  // namespace
}  // namespace slipway::mls::internal
