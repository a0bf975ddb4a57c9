#pragma once
// Identities of applications that share a secret (upstream-session 4.2). Whoever has the secret may call itself anything:
// it keeps strangers out, members must trust each other.
//
//   token = id ":" seconds ":" nonce ":" claims ":" mac,  mac = HMAC-SHA256(secret, all before it)

#include <optional>
#include <string>
#include <string_view>

#include "crypto/secret.h"
#include "identity/identity.h"

namespace slipway {

struct SharedSecretOptions {
  std::string base;                 // the application's name as text; "_" and eight random characters go behind it
  std::string_view secret;          // at least 32 bytes; copied, and wiped at the end
  std::optional<std::string> subject;  // the whole id instead: keeps the application's address over a restart
  std::optional<SigningKey> key;    // default: a fresh one
};

// Both sides of it.
std::expected<Identity, IdentityError> shared_secret_identity(SharedSecretOptions options);

// Pure; for tests and tools. `claims` is JSON or empty, `nonce` 12 bytes.
[[nodiscard]] std::string shared_secret_token(std::string_view secret, std::string_view subject, std::uint64_t made_s,
                                              std::string_view nonce, std::string_view claims);

}  // namespace slipway
