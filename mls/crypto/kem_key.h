// Keys of the DHKEMs of RFC 9180 (4.1, 7.1): X25519, X448, P-256, P-384, P-521.
//
// A key is its serialized bytes: the library's object for one costs little to make against a DH, and ten times as
// much memory to keep. Importing a private key computes its public key, which costs as much as a DH. Objects may move
// between threads; different threads may use one as long as nobody changes it.
#pragma once

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
  Secret private_key_;
  PublicKeyBytes public_key_;
};

// A DH with a fresh key that serves for nothing else, as an encapsulation needs it. kInvalidKey as KemKey::dh.
struct EphemeralDh {
  PublicKeyBytes public_key;
  Secret shared_secret;
};
Result<EphemeralDh> ephemeral_dh(const Suite& suite, View peer, Random& random);

}  // namespace slipway::mls
