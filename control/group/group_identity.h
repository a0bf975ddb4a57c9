#pragma once
// What a group asks of identity: our own token and key, and what the tokens of others say. The endpoint library and the node
// plug in what their configuration names (shared secret, JWT, keys); tests plug in what they like.
//
// Calls come from the thread that called the group, inside that call, and do not call back into it.

#include <cstdint>
#include <expected>
#include <string>
#include <string_view>
#include <vector>

#include "crypto/signature_key.h"

namespace slipway {

struct TokenClaims {
  std::string subject;                   // the id of the names that it may use is id_of_identity(subject)
  std::vector<std::uint8_t> public_key;  // raw: 65 bytes (P-256) or 32 (Ed25519)
};

enum class TokenExpiry : std::uint8_t {
  kEnforce,
  kIgnore,  // it was checked when its owner came in: age alone takes nobody's voice
};

class GroupIdentity {
 public:
  virtual ~GroupIdentity() = default;
  // Our token, not expired, with the public part of `signature_key` in it. May be the same for a while.
  virtual std::string token() = 0;
  // One made now, for a leaf, which keeps it for long.
  virtual std::string fresh_token() { return token(); }
  // One for all sessions; P-256 makes suite 2, Ed25519 suite 1.
  [[nodiscard]] virtual const mls::SignatureKey& signature_key() const = 0;
  // Issuer, signature and, if asked for, time. The error goes to people: which check failed, and what to do.
  virtual std::expected<TokenClaims, std::string> verify(std::string_view token, TokenExpiry expiry) = 0;
  // Seconds since 1970, for lifetimes.
  [[nodiscard]] virtual std::uint64_t now_s() const = 0;
};

}  // namespace slipway
