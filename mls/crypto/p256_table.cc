#include "crypto/p256_table.h"

#include <openssl/ecdsa.h>
#include <openssl/obj_mac.h>

namespace slipway::mls::internal {

namespace {

using Point = std::unique_ptr<EC_POINT, FreeWith<EC_POINT_free>>;
using EcdsaSignature = std::unique_ptr<ECDSA_SIG, FreeWith<ECDSA_SIG_free>>;
using Montgomery = std::unique_ptr<BN_MONT_CTX, FreeWith<BN_MONT_CTX_free>>;
using Number = std::unique_ptr<BIGNUM, FreeWith<BN_free>>;

constexpr size_t kPointBytes = 65;
constexpr size_t kMaxDerBytes = 72;

// The curve, and what dividing by its order takes. Lives as long as the process.
struct Curve {
  EC_GROUP* group = EC_GROUP_new_by_curve_name(NID_X9_62_prime256v1);
  Montgomery montgomery{BN_MONT_CTX_new()};
  Number order_less_two;

  Curve() {
    if (group == nullptr || !montgomery || BN_MONT_CTX_set(montgomery.get(), order(), contexts().numbers.get()) != 1) {
      give_up("making a NIST curve");
    }
    order_less_two.reset(BN_dup(order()));
    if (!order_less_two || BN_sub_word(order_less_two.get(), 2) != 1) {
      give_up("making a NIST curve");
    }
  }
  const BIGNUM* order() const { return EC_GROUP_get0_order(group); }
  // Below the order, above zero.
  bool is_scalar(const BIGNUM* value) const { return !BN_is_zero(value) && !BN_is_negative(value) && BN_cmp(value, order()) < 0; }
};

const Curve& curve() {
  static const Curve* const made = new Curve;
  return *made;
}

// DER and nothing else: what is written anew must be what was read.
EcdsaSignature read_signature(View der) {
  const uint8_t* at = der.data();
  if (der.empty() || der.size() > kMaxDerBytes) {
    return nullptr;
  }
  EcdsaSignature signature(d2i_ECDSA_SIG(nullptr, &at, static_cast<long>(der.size())));
  uint8_t again[kMaxDerBytes + 8];
  uint8_t* end = again;
  if (!signature || i2d_ECDSA_SIG(signature.get(), nullptr) != static_cast<int>(der.size()) ||
      i2d_ECDSA_SIG(signature.get(), &end) != static_cast<int>(der.size()) || !equal(der, {again, der.size()})) {
    return nullptr;
  }
  return signature;
}

// Scratch numbers of a BN_CTX, while it lives.
struct Scratch {
  BN_CTX* context = contexts().numbers.get();
  Scratch() { BN_CTX_start(context); }
  ~Scratch() { BN_CTX_end(context); }
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;
};

}  // namespace

std::atomic<size_t> P256Table::tables_{0};

std::unique_ptr<P256Table> P256Table::make(View encoded) {
  std::unique_ptr<P256Table> table(new P256Table);
  if (++tables_ > kMaxTables || encoded.size() != kPointBytes || encoded[0] != 0x04) {
    return nullptr;
  }
  BN_CTX* const numbers = contexts().numbers.get();
  const EC_GROUP* const plain = curve().group;
  const Point key(EC_POINT_new(plain));
  table->keyed_.reset(EC_GROUP_dup(plain));
  bool made = key && table->keyed_ && EC_POINT_oct2point(plain, key.get(), encoded.data(), encoded.size(), numbers) == 1 &&
              EC_GROUP_set_generator(table->keyed_.get(), key.get(), curve().order(), EC_GROUP_get0_cofactor(plain)) == 1;
  // Deprecated, since nobody needs it for the curve's own generator; for another nothing took its place.
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wdeprecated-declarations"
  made = made && EC_GROUP_precompute_mult(table->keyed_.get(), numbers) == 1;
#pragma GCC diagnostic pop
  forget_library_errors();
  return made ? std::move(table) : nullptr;
}

P256Table::~P256Table() { --tables_; }

// FIPS 186-4, 6.4: x(digest/s * G + r/s * Q) = r. Everything here is public, so nothing has to take constant time.
bool P256Table::verify(View digest, View der) const {
  const EcdsaSignature signature = read_signature(der);
  const Curve& at = curve();
  const BIGNUM* r = nullptr;
  const BIGNUM* s = nullptr;
  if (signature) {
    ECDSA_SIG_get0(signature.get(), &r, &s);
  }
  bool good = signature && at.is_scalar(r) && at.is_scalar(s) && digest.size() == 32;
  if (good) {
    const Scratch scratch;
    BN_CTX* const numbers = scratch.context;
    BIGNUM* const inverse = BN_CTX_get(numbers);
    BIGNUM* const of_generator = BN_CTX_get(numbers);
    BIGNUM* const of_key = BN_CTX_get(numbers);
    BIGNUM* const x = BN_CTX_get(numbers);
    const Point left(EC_POINT_new(at.group));
    const Point right(EC_POINT_new(at.group));
    good = x != nullptr && left && right && BN_bin2bn(digest.data(), static_cast<int>(digest.size()), of_generator) != nullptr &&
           BN_mod_exp_mont(inverse, s, at.order_less_two.get(), at.order(), numbers, at.montgomery.get()) == 1 &&
           BN_mod_mul(of_generator, of_generator, inverse, at.order(), numbers) == 1 && BN_mod_mul(of_key, r, inverse, at.order(), numbers) == 1 &&
           EC_POINT_mul(at.group, left.get(), of_generator, nullptr, nullptr, numbers) == 1 &&
           EC_POINT_mul(keyed_.get(), right.get(), of_key, nullptr, nullptr, numbers) == 1 &&
           EC_POINT_add(at.group, left.get(), left.get(), right.get(), numbers) == 1 &&
           EC_POINT_get_affine_coordinates(at.group, left.get(), x, nullptr, numbers) == 1 &&  // not of infinity
           BN_nnmod(x, x, at.order(), numbers) == 1 && BN_cmp(x, r) == 0;
  }
  if (!good) {
    forget_library_errors();
  }
  return good;
}

}  // namespace slipway::mls::internal
