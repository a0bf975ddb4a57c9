#pragma once
// JSON Web Tokens as credentials of a connection: made by clients, checked by servers (RFC 7519; upstream-node spec,
// transport-level authentication). A token that passed once is good for the stream's whole life.
//
// Checked: the signature, with each key that may have made it; exp, which must be there, with 60 s of leeway; aud and
// iss where they are configured and the token has them. A token with an audience is refused where none is configured.
// nbf and sub are not checked (but see SubjectBinding). All of this is what upstream's node does.

#include <cstdint>
#include <expected>
#include <string>
#include <string_view>
#include <vector>

#include "edge/auth_guard.h"
#include "edge/auth_key.h"

namespace slipway {

// Whether a token's subject must be its signing key's id or, for Ed25519, its did:key.
enum class SubjectBinding : std::uint8_t { kOff, kWarn, kEnforce };

struct JwtRules {
  std::vector<std::string> audiences;  // any of them; empty: tokens must have none
  std::string issuer;                  // empty: any
  SubjectBinding subject_binding = SubjectBinding::kOff;
};

class JwtGuard final : public AuthGuard {
 public:
  JwtGuard(std::vector<AuthKey> keys, JwtRules rules);
  // With SubjectBinding::kWarn a verdict of 200 may have a reason: what would be refused.
  [[nodiscard]] AuthVerdict check(std::string_view authorization, std::int64_t unix_s) const override;
  [[nodiscard]] bool takes_query_token() const override { return true; }

 private:
  std::vector<AuthKey> keys_;
  JwtRules rules_;
};

struct JwtClaims {
  std::string issuer;
  std::string subject;
  std::vector<std::string> audiences;
  std::string custom_json;           // an object whose members are added; empty: none
  std::uint64_t duration_s = 3600;
};

class JwtSigner {
 public:
  JwtSigner(AuthKey key, JwtClaims claims);
  // "Bearer <token>", valid from now for the duration. The error is for the log.
  [[nodiscard]] std::expected<std::string, std::string> authorization(std::int64_t unix_s) const;

 private:
  AuthKey key_;
  JwtClaims claims_;
};

// "Bearer <token>" of a token that somebody else keeps fresh in a file: read anew for each connection.
[[nodiscard]] std::expected<std::string, std::string> static_token_authorization(const std::string& file);

}  // namespace slipway
