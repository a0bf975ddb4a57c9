#include "edge/auth_basic.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/sha.h>

#include <array>

namespace slipway {

std::string basic_authorization(std::string_view user, std::string_view password) {
  std::string pair;
  pair.reserve(user.size() + 1 + password.size());
  pair.append(user).append(":").append(password);
  std::string text(4 * ((pair.size() + 2) / 3) + 1, '\0');
  const int bytes = EVP_EncodeBlock(reinterpret_cast<unsigned char*>(text.data()), reinterpret_cast<const unsigned char*>(pair.data()),
                                    static_cast<int>(pair.size()));
  text.resize(static_cast<std::size_t>(bytes));
  OPENSSL_cleanse(pair.data(), pair.size());
  std::string header = "Basic " + text;
  OPENSSL_cleanse(text.data(), text.size());
  return header;
}

BasicGuard::BasicGuard(std::string_view user, std::string_view password) : expected_(basic_authorization(user, password)), user_(user) {}

BasicGuard::~BasicGuard() { OPENSSL_cleanse(expected_.data(), expected_.size()); }

AuthVerdict BasicGuard::check(std::string_view authorization, std::int64_t) const {
  // Digests are compared, so that neither content nor length of the password shows in the time it takes.
  std::array<unsigned char, SHA256_DIGEST_LENGTH> ours, theirs;
  SHA256(reinterpret_cast<const unsigned char*>(expected_.data()), expected_.size(), ours.data());
  SHA256(reinterpret_cast<const unsigned char*>(authorization.data()), authorization.size(), theirs.data());
  if (CRYPTO_memcmp(ours.data(), theirs.data(), ours.size()) != 0) {
    return {.http_status = 401, .challenge = "Basic", .reason = authorization.empty() ? "the request has no credentials" : "wrong user name or password"};
  }
  return {.subject = user_};
}

}  // namespace slipway
