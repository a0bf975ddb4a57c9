#pragma once
// Identities by JSON Web Tokens (upstream-session 4.4): signed with a key of ours, verified with the keys of those we trust.
//
// Two applications with the same subject have the same address and the same place in a group: give each its own.

#include <optional>
#include <string>
#include <vector>

#include "edge/auth_jwt.h"
#include "identity/identity.h"

namespace slipway {

struct JwtProviderOptions {
  AuthKeySource signing_key;           // a private key in PEM, or a secret with HS*
  std::string subject;                 // empty: the did:key of an Ed25519 signing key
  std::string issuer;                  // empty: none; with an empty subject the same did:key
  std::vector<std::string> audiences;  // only if the verifiers are configured for it: others refuse a token with audience
  std::uint64_t duration_s = 3'600;
  std::optional<SigningKey> key;       // of commands and groups; default: a fresh one
};
struct JwtVerifierOptions {
  std::vector<AuthKeySource> keys;     // of all who are trusted; ourselves too, if we are to meet our like
  JwtRules rules;
};

// Reads the key files.
std::expected<std::shared_ptr<IdentityProvider>, IdentityError> jwt_provider(JwtProviderOptions options);
std::expected<std::shared_ptr<IdentityVerifier>, IdentityError> jwt_verifier(JwtVerifierOptions options);

// A token that somebody else keeps fresh in a file. Its `pubkey` must be that of `key`, or nothing can be signed. Read again
// when it is about to expire.
struct StaticJwtOptions {
  std::string token_file;
  SigningKey key;
};
std::expected<std::shared_ptr<IdentityProvider>, IdentityError> static_jwt_provider(StaticJwtOptions options, std::uint64_t now_s);

}  // namespace slipway
