#pragma once
// Keys for JSON Web Tokens: PEM, a shared secret, a JWK or a set of them (RFC 7515, 7517, 7518, 8037), from a file or
// from text. What upstream's configuration takes: HS256/384/512, RS256/384/512, PS256/384/512, ES256/384, EdDSA.
//
// load_auth_keys() reads files: control thread. Keys may then be used from any thread.

#include <openssl/evp.h>

#include <cstdint>
#include <expected>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace slipway {

enum class JwtAlgorithm : std::uint8_t {
  kHs256, kHs384, kHs512, kRs256, kRs384, kRs512, kPs256, kPs384, kPs512, kEs256, kEs384, kEdDsa,
};
[[nodiscard]] std::optional<JwtAlgorithm> jwt_algorithm(std::string_view name);
[[nodiscard]] std::string_view jwt_algorithm_name(JwtAlgorithm algorithm);

enum class AuthKeyFormat : std::uint8_t { kPem, kJwk, kJwks };

struct AuthKeySource {
  JwtAlgorithm algorithm = JwtAlgorithm::kHs256;  // of a JWKS: where a key does not say its own
  AuthKeyFormat format = AuthKeyFormat::kPem;     // kPem with HS*: the secret itself, every byte of it
  std::string file;
  std::string data;                               // used when there is no file
};

// One key with the one algorithm that it is used with: what a token says about its algorithm is never believed.
class AuthKey {
 public:
  AuthKey(JwtAlgorithm key_algorithm, std::string key_id, std::string shared_secret);
  AuthKey(JwtAlgorithm key_algorithm, std::string key_id, EVP_PKEY* key);  // takes the key
  AuthKey(AuthKey&&) noexcept = default;
  AuthKey& operator=(AuthKey&&) noexcept = default;
  ~AuthKey();

  [[nodiscard]] JwtAlgorithm algorithm() const { return algorithm_; }
  [[nodiscard]] const std::string& id() const { return id_; }  // kid; empty: none
  [[nodiscard]] bool verify(std::string_view text, std::span<const unsigned char> signature) const;
  [[nodiscard]] std::optional<std::string> sign(std::string_view text) const;
  // "did:key:z..." of an Ed25519 key; empty for others.
  [[nodiscard]] std::string did_key() const;

 private:
  struct Free {
    void operator()(EVP_PKEY* key) const { EVP_PKEY_free(key); }
  };
  JwtAlgorithm algorithm_;
  std::string id_;
  std::string secret_;
  std::unique_ptr<EVP_PKEY, Free> key_;
};

// The keys that tokens are checked with, at least one; or the one that they are signed with (a private key in PEM, or a
// secret). The error names the file and says what to do.
[[nodiscard]] std::expected<std::vector<AuthKey>, std::string> load_auth_keys(const AuthKeySource& source, bool for_signing);

// Unpadded URL-safe base64 (RFC 7515 section 2); nothing: not valid.
[[nodiscard]] std::string base64url_encode(std::string_view bytes);
[[nodiscard]] std::optional<std::string> base64url_decode(std::string_view text);

}  // namespace slipway
