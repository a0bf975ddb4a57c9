// Arithmetic on the NIST curves, for keys that are cheaper as points than as the library's key objects:
// importing one of those costs up to half a DH. For the files of this folder only.
#pragma once

#include <openssl/ec.h>

#include "base/error.h"
#include "crypto/bytes.h"
#include "crypto/random.h"
#include "crypto/secret.h"
#include "crypto/suite.h"

namespace slipway::mls::internal {

class EcCurve {
 public:
  // Curves live as long as the process.
  static const EcCurve& p256();
  static const EcCurve& p384();
  static const EcCurve& p521();
  // Null for a KEM or scheme on another kind of curve.
  static const EcCurve* of(KemId kem);
  static const EcCurve* of(SignatureScheme scheme);

  explicit EcCurve(int nid);

  const char* group_name() const { return name_; }
  size_t field_size() const { return field_size_; }
  size_t point_size() const { return 1 + 2 * field_size_; }

  // Uncompressed form only, on the curve; infinity has no such form.
  Status check_point(View encoded) const;
  // Field-size, above zero and below the order.
  bool is_scalar(View scalar) const;
  // Bits of a scalar's first byte that may be set: the order of P-521 begins with 0x01.
  uint8_t first_byte_mask() const { return field_size_ == 66 ? 0x01 : 0xff; }
  // The public point of a private scalar. kInvalidKey if it is none.
  Result<PublicKeyBytes> public_point(View scalar) const;
  // x coordinate of scalar times point, at field size. In constant time in the scalar.
  Result<Secret> multiply(View scalar, View point) const;

 private:
  EC_GROUP* group_;
  const char* name_;
  size_t field_size_;
};

// A private key of `size` random bytes: below the order on a NIST curve, any on the others (`curve` null).
Result<Secret> random_private_key(const EcCurve* curve, size_t size, Random& random);

}  // namespace slipway::mls::internal
