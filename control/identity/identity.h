#pragma once
// Who an application is, and how it believes others (upstream-session 4).
//
// A provider makes tokens: short texts that say a subject and the public key of this application's signatures, and that
// others verify. A verifier reads the tokens of others. Subject and name belong together: the id in an application's name
// is a hash of its subject, so nobody can take another's place.
//
// Time is an argument: Unix seconds. One thread at a time for a provider or a verifier; several applications of one process
// may share a verifier on the same thread.

#include <cstdint>
#include <expected>
#include <memory>
#include <string>
#include <string_view>

#include "frame/name.h"
#include "identity/identity_error.h"
#include "identity/signing_key.h"

namespace slipway {

struct VerifiedIdentity {
  std::string subject;
  std::string issuer;        // of a JWT; may be empty
  std::string public_key;    // bytes: 65 P-256, 32 Ed25519
  std::uint64_t expires_s = 0;

  [[nodiscard]] NameId id() const { return id_of_identity(subject); }
};

class IdentityProvider {
 public:
  virtual ~IdentityProvider() = default;
  IdentityProvider(const IdentityProvider&) = delete;
  IdentityProvider& operator=(const IdentityProvider&) = delete;

  [[nodiscard]] const std::string& subject() const { return subject_; }
  [[nodiscard]] NameId id() const { return id_of_identity(subject_); }
  [[nodiscard]] const SigningKey& key() const { return key_; }
  // How long a token lives that is made now.
  [[nodiscard]] virtual std::uint64_t lifetime_s() const = 0;
  // A fresh one: for what is kept for long, as the leaf of a group.
  virtual std::expected<std::string, IdentityError> make_token(std::uint64_t now_s) = 0;
  // For headers: made anew every kTokenReuseS, or earlier if it lives less than twice that.
  std::expected<std::string_view, IdentityError> token(std::uint64_t now_s);

 protected:
  IdentityProvider(std::string subject, SigningKey key) : subject_(std::move(subject)), key_(std::move(key)) {}
  // {"pubkey":"<base64>"}: what tokens say besides who.
  [[nodiscard]] std::string claims_json() const;

 private:
  std::string subject_;
  SigningKey key_;
  std::string token_;
  std::uint64_t token_made_s_ = 0;
};

enum class TokenAge : std::uint8_t {
  kValid,  // it must not have expired
  kAny,    // it may have: of somebody who came in with it while it was valid
};

class IdentityVerifier {
 public:
  IdentityVerifier() = default;
  virtual ~IdentityVerifier() = default;
  IdentityVerifier(const IdentityVerifier&) = delete;
  IdentityVerifier& operator=(const IdentityVerifier&) = delete;

  virtual std::expected<VerifiedIdentity, IdentityError> verify(std::string_view token, std::uint64_t now_s, TokenAge age = TokenAge::kValid) = 0;
};

// What an application is made from.
struct Identity {
  std::shared_ptr<IdentityProvider> provider;
  std::shared_ptr<IdentityVerifier> verifier;
};

// Standard base64 with padding, as public keys and signatures are written.
[[nodiscard]] std::string base64_encode(std::string_view bytes);
[[nodiscard]] std::expected<std::string, IdentityError> base64_decode(std::string_view text);

}  // namespace slipway
