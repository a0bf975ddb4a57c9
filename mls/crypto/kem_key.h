// Keys of the DHKEMs of RFC 9180 (4.1, 7.1): X25519, X448, P-256, P-384, P-521.
//
// A public key is its serialized bytes: taking them in costs next to nothing against a DH, so there
// is no object to keep. A private key costs as much to import as a DH on the X curves: keep the
// object. Objects may move between threads; different threads may use one as long as nobody changes
// it.
#pragma once

#include <memory>

#include "base/error.h"
#include "crypto/bytes.h"
#include "crypto/random.h"
#include "crypto/secret.h"
#include "crypto/suite.h"

namespace slipway::mls {

// Length, form (uncompressed only), on the curve, not infinity, not of small order: kInvalidKey.
// To be called where a public key enters a tree or a key package.
Status validate_kem_public_key(const Suite& suite, View public_key);

class KemKey {
 public:
  KemKey() = default;  // holds nothing
  static Result<KemKey> generate(const Suite& suite, Random& random);
  // DeriveKeyPair (RFC 9180, 7.1.3); `ikm` of any length.
  static Result<KemKey> derive(const Suite& suite, View ikm);
  // SerializePrivateKey's form. Computes the public key.
  static Result<KemKey> import(const Suite& suite, View private_key);

  bool empty() const { return private_key_.empty(); }
  explicit operator bool() const { return !empty(); }
  View public_key() const { return public_key_; }
  View private_key() const { return private_key_; }
  KemKey clone() const;

  // DH with a peer's serialized public key, which is checked as above except for small order, for
  // which the result would be zero and the call fails (RFC 9180, 7.1.4). kInvalidKey.
  Result<Secret> dh(const Suite& suite, View peer) const;

 private:
  struct FreeKey {
    void operator()(EVP_PKEY* key) const;
  };
  Secret private_key_;
  PublicKeyBytes public_key_;
  std::unique_ptr<EVP_PKEY, FreeKey> key_;  // X curves only: import costs a multiplication
};

}  // namespace slipway::mls
