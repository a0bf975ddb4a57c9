#include "identity/identity.h"

#include <openssl/evp.h>

#include <algorithm>

#include "identity/identity_bounds.h"

namespace slipway {

std::expected<std::string_view, IdentityError> IdentityProvider::token(std::uint64_t now_s) {
  const std::uint64_t reuse_s = std::min(kTokenReuseS, lifetime_s() / 2);
  if (token_.empty() || now_s < token_made_s_ || now_s - token_made_s_ >= reuse_s) {
    auto made = make_token(now_s);
    if (!made) {
      return std::unexpected(made.error());
    }
    token_ = std::move(*made);
    token_made_s_ = now_s;
  }
  return token_;
}

std::string IdentityProvider::claims_json() const { return R"({"pubkey":")" + base64_encode(key_.public_key()) + R"("})"; }

std::string base64_encode(std::string_view bytes) {
  std::string text((bytes.size() + 2) / 3 * 4 + 1, '\0');
  const int size = EVP_EncodeBlock(reinterpret_cast<unsigned char*>(text.data()), reinterpret_cast<const unsigned char*>(bytes.data()),
                                   static_cast<int>(bytes.size()));
  text.resize(static_cast<std::size_t>(size));
  return text;
}

std::expected<std::string, IdentityError> base64_decode(std::string_view text) {
  const auto refused = std::unexpected(IdentityError{IdentityFault::kMalformedToken, "base64"});
  const std::size_t padding = text.ends_with("==") ? 2 : text.ends_with("=") ? 1 : 0;
  const auto is_digit = [](char c) {
    return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '+' || c == '/';
  };
  if (text.size() % 4 != 0 || text.size() > kMaxTokenBytes || !std::ranges::all_of(text.substr(0, text.size() - padding), is_digit)) {
    return refused;
  }
  std::string bytes(text.size() / 4 * 3 + 1, '\0');
  const int size = EVP_DecodeBlock(reinterpret_cast<unsigned char*>(bytes.data()), reinterpret_cast<const unsigned char*>(text.data()),
                                   static_cast<int>(text.size()));
  if (size < 0) {
    return refused;
  }
  bytes.resize(static_cast<std::size_t>(size) - padding);
  return bytes;
}

}  // namespace slipway
