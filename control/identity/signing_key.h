#pragma once
// The key pair of an application: it signs commands, and is the signature key of its MLS leaves (upstream-session 4.6, 5.2).
// The public half travels in every token, so whoever believes the token believes the signature.
//
// A key is used by one thread at a time; verify_signature may be called by any.

#include <expected>
#include <memory>
#include <string>
#include <string_view>

#include "crypto/signature_key.h"
#include "identity/identity_error.h"

namespace slipway {

class SigningKey {
 public:
  // A fresh P-256 pair.
  static std::expected<SigningKey, IdentityError> generate();
  // A P-256 scalar of 32 bytes.
  static std::expected<SigningKey, IdentityError> import(std::string_view private_key);
  // PEM, unencrypted: `openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256`. An application that keeps its key
  // keeps its place in groups over a restart.
  static std::expected<SigningKey, IdentityError> load(const std::string& file);

  SigningKey(SigningKey&&) noexcept;
  SigningKey& operator=(SigningKey&&) noexcept;
  ~SigningKey();

  // SEC1, uncompressed: 65 bytes.
  [[nodiscard]] const std::string& public_key() const { return public_key_; }
  // ECDSA with SHA-256, DER. Empty if the library has no memory.
  [[nodiscard]] std::string sign(std::string_view text) const;
  // The same pair for MLS.
  [[nodiscard]] const mls::SignatureKey& mls_key() const { return mls_; }

 private:
  SigningKey();
  struct Handle;
  std::unique_ptr<Handle> handle_;
  mls::SignatureKey mls_;
  std::string public_key_;
};

// 65 or 33 bytes: ECDSA P-256 with SHA-256, DER. 32 bytes: Ed25519, 64 bytes. Other keys verify nothing.
[[nodiscard]] bool verify_signature(std::string_view public_key, std::string_view text, std::string_view signature);

}  // namespace slipway
