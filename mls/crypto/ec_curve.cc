#include "crypto/ec_curve.h"

#include <openssl/obj_mac.h>

#include "crypto/thread_contexts.h"

namespace slipway::mls::internal {
namespace {

using Point = std::unique_ptr<EC_POINT, FreeWith<EC_POINT_clear_free>>;
using Number = std::unique_ptr<BIGNUM, FreeWith<BN_clear_free>>;

std::unexpected<Error> bad_point() {
  forget_library_errors();
  return fail(ErrorCode::kInvalidKey, "reading a NIST public key: not an uncompressed point of the curve");
}
std::unexpected<Error> library_failed() {
  forget_library_errors();
  return fail(ErrorCode::kCryptoFailure, "multiplying on a NIST curve: the library refused");
}

Number number(View bytes) {
  Number value(BN_new());
  if (!value || BN_bin2bn(bytes.data(), static_cast<int>(bytes.size()), value.get()) == nullptr) {
    return nullptr;
  }
  BN_set_flags(value.get(), BN_FLG_CONSTTIME);
  return value;
}

}  // namespace

EcCurve::EcCurve(int nid)
    : group_(EC_GROUP_new_by_curve_name(nid)),
      name_(OBJ_nid2sn(nid)),
      field_size_(nid == NID_X9_62_prime256v1 ? 32 : nid == NID_secp384r1 ? 48 : 66) {
  if (group_ == nullptr) {
    give_up("making a NIST curve");
  }
}

const EcCurve& EcCurve::p256() {
  static const EcCurve* const curve = new EcCurve(NID_X9_62_prime256v1);
  return *curve;
}
const EcCurve& EcCurve::p384() {
  static const EcCurve* const curve = new EcCurve(NID_secp384r1);
  return *curve;
}
const EcCurve& EcCurve::p521() {
  static const EcCurve* const curve = new EcCurve(NID_secp521r1);
  return *curve;
}

const EcCurve* EcCurve::of(KemId kem) {
  switch (kem) {
    case KemId::kP256: return &p256();
    case KemId::kP384: return &p384();
    case KemId::kP521: return &p521();
    default: return nullptr;
  }
}
const EcCurve* EcCurve::of(SignatureScheme scheme) {
  switch (scheme) {
    case SignatureScheme::kP256: return &p256();
    case SignatureScheme::kP384: return &p384();
    case SignatureScheme::kP521: return &p521();
    default: return nullptr;
  }
}

// The library takes infinity, compressed and hybrid points as well: length and first byte rule them out.
Status EcCurve::check_point(View encoded) const {
  if (encoded.size() != point_size() || encoded[0] != 0x04) {
    return bad_point();
  }
  Point point(EC_POINT_new(group_));
  if (!point || EC_POINT_oct2point(group_, point.get(), encoded.data(), encoded.size(),
                                   contexts().numbers.get()) != 1) {
    return bad_point();
  }
  return {};
}

bool EcCurve::is_scalar(View scalar) const {
  if (scalar.size() != field_size_) {
    return false;
  }
  Number value = number(scalar);
  return value && !BN_is_zero(value.get()) && BN_cmp(value.get(), EC_GROUP_get0_order(group_)) < 0;
}

Result<PublicKeyBytes> EcCurve::public_point(View scalar) const {
  if (!is_scalar(scalar)) {
    return fail(ErrorCode::kInvalidKey, "reading a NIST private key: wrong length, zero, or too large");
  }
  BN_CTX* scratch = contexts().numbers.get();
  Number value = number(scalar);
  Point point(EC_POINT_new(group_));
  auto encoded = PublicKeyBytes::with_size(point_size());
  if (!value || !point || EC_POINT_mul(group_, point.get(), value.get(), nullptr, nullptr, scratch) != 1 ||
      EC_POINT_point2oct(group_, point.get(), POINT_CONVERSION_UNCOMPRESSED, encoded.data(),
                         encoded.size(), scratch) != encoded.size()) {
    return library_failed();
  }
  return encoded;
}

Result<Secret> EcCurve::multiply(View scalar, View encoded) const {
  if (encoded.size() != point_size() || encoded[0] != 0x04) {
    return bad_point();
  }
  BN_CTX* scratch = contexts().numbers.get();
  Point point(EC_POINT_new(group_));
  if (!point ||
      EC_POINT_oct2point(group_, point.get(), encoded.data(), encoded.size(), scratch) != 1) {
    return bad_point();
  }
  Number value = number(scalar);
  Number x(BN_new());
  Secret out = Secret::zeros(field_size_);
  if (!value || !x ||
      EC_POINT_mul(group_, point.get(), nullptr, point.get(), value.get(), scratch) != 1 ||
      EC_POINT_get_affine_coordinates(group_, point.get(), x.get(), nullptr, scratch) != 1 ||
      BN_bn2binpad(x.get(), out.data(), static_cast<int>(out.size())) < 0) {
    return library_failed();
  }
  return out;
}

Result<Secret> random_private_key(const EcCurve* curve, size_t size, Random& random) {
  Secret candidate = Secret::zeros(size);
  // A candidate at or above the order is rare (at worst half of them, were the order just over a power of two): a
  // source that gives nothing else is broken.
  constexpr int kTries = 256;
  for (int tries = 0; tries < kTries; ++tries) {
    MLS_TRY(random.fill_secret(candidate.mutable_view()));
    if (curve == nullptr) {
      return candidate;
    }
    candidate.data()[0] &= curve->first_byte_mask();
    if (curve->is_scalar(candidate)) {
      return candidate;
    }
  }
  return fail(ErrorCode::kCryptoFailure, "generating a private key: the random source gives no scalar");
}

}  // namespace slipway::mls::internal
