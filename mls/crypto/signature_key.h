// Signature keys and SignWithLabel, VerifyWithLabel (RFC 9420, 5.1.2).
//
// A key object keeps its imported key and a context: import once, use often, by one thread at a time.
// verify_once serves where a key is used once (leaves of a tree) and may be called by any thread.
// Content comes in pieces, so that nobody has to join a tree to a header before signing them.
#pragma once

#include <memory>

#include "base/error.h"
#include "crypto/hash.h"
#include "crypto/random.h"

namespace slipway::mls {

struct SignatureContext;  // imported key and operation context, in signature_key.cc

// Length, form, on the curve, not of small order (forgeries verify under small-order Ed25519 and Ed448
// keys): kInvalidKey. To be called where a key enters a tree, a key package or external_senders.
Status validate_signature_public_key(const Suite& suite, View public_key);

// The same, and whether an Ed25519 or Ed448 key decodes to a point at all (RFC 8032, 5.1.3, 5.2.3). No signature
// verifies under one that does not, so where one is verified anyway the check above is enough; this one costs
// 20 to 60 us.
Status check_signature_point(const Suite& suite, View public_key);

class SignaturePublicKey {
 public:
  SignaturePublicKey() = default;  // holds nothing
  // Validates as above.
  static Result<SignaturePublicKey> import(const Suite& suite, View public_key);

  explicit operator bool() const { return context_ != nullptr; }
  // kBadSignature if it does not verify. `label` without the "MLS 1.0 " that goes in front of it.
  Status verify(std::string_view label, Pieces content, View signature) const;
  // For a key that verifies much: from now on in less than half the time. P-256 only, and of at most 64 keys of a process, with
  // 150 KiB each; of others nothing. Takes as long as 500 verifications: 26 ms.
  void hasten() const;

 private:
  std::shared_ptr<SignatureContext> context_;
};

// The same with the bare key, on an object kept per thread. The key is checked for form and curve,
// not for small order: validate_signature_public_key does that.
Status verify_once(const Suite& suite, View public_key, std::string_view label, Pieces content,
                   View signature);

class SignatureKey {
 public:
  SignatureKey() = default;  // holds nothing
  static Result<SignatureKey> generate(const Suite& suite, Random& random);
  // Big-endian scalar of the field size (leading zeros may be missing, as some peers store them), or
  // the native seed of Ed25519 and Ed448.
  static Result<SignatureKey> import(const Suite& suite, View private_key);

  bool empty() const { return private_key_.empty(); }
  explicit operator bool() const { return !empty(); }
  View public_key() const { return public_key_; }
  View private_key() const { return private_key_; }
  CipherSuite suite() const { return suite_; }
  // Another object for another thread; shares the imported key.
  SignatureKey clone() const;

  Result<Signature> sign(std::string_view label, Pieces content) const;

 private:
  friend class SignSteps;
  Result<Signature> sign_digest(View digest) const;  // NIST curves

  CipherSuite suite_{};
  Secret private_key_;
  PublicKeyBytes public_key_;
  std::shared_ptr<SignatureContext> context_;
};

}  // namespace slipway::mls
