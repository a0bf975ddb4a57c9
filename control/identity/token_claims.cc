#include "identity/token_claims.h"

#include <nlohmann/json.hpp>

#include "edge/auth_key.h"

namespace slipway {
namespace {

using Json = nlohmann::json;

std::string text_of(const Json& object, const char* name) {
  const auto found = object.is_object() ? object.find(name) : object.end();
  return found != object.end() && found->is_string() ? found->get<std::string>() : std::string();
}

std::expected<std::string, IdentityError> public_key_of(const Json& claims) {
  std::string text = text_of(claims, "pubkey");
  if (const auto custom = claims.find("custom_claims"); text.empty() && custom != claims.end()) {
    text = text_of(*custom, "pubkey");
  }
  if (text.empty()) {
    return std::unexpected(IdentityError{IdentityFault::kNoPublicKey, {}});
  }
  return base64_decode(text);
}

}  // namespace

std::expected<std::string, IdentityError> public_key_of_claims(std::string_view json) {
  const Json claims = Json::parse(json, nullptr, false);
  if (!claims.is_object()) {
    return std::unexpected(IdentityError{json.empty() ? IdentityFault::kNoPublicKey : IdentityFault::kMalformedToken, {}});
  }
  return public_key_of(claims);
}

std::expected<VerifiedIdentity, IdentityError> identity_of_jwt(std::string_view token) {
  const auto malformed = std::unexpected(IdentityError{IdentityFault::kMalformedToken, {}});
  const std::size_t first = token.find('.');
  const std::size_t second = first == std::string_view::npos ? first : token.find('.', first + 1);
  if (second == std::string_view::npos) {
    return malformed;
  }
  const auto payload = base64url_decode(token.substr(first + 1, second - first - 1));
  const Json claims = payload ? Json::parse(*payload, nullptr, false) : Json();
  if (!claims.is_object()) {
    return malformed;
  }
  const auto exp = claims.find("exp");
  if (exp == claims.end() || !exp->is_number() || exp->get<double>() < 0 || exp->get<double>() > 1e15) {
    return malformed;
  }
  VerifiedIdentity identity{.subject = text_of(claims, "sub"), .issuer = text_of(claims, "iss"),
                            .public_key = {}, .expires_s = static_cast<std::uint64_t>(exp->get<double>())};
  if (identity.subject.empty()) {
    identity.subject = text_of(claims, "id");
  }
  auto key = public_key_of(claims);
  if (!key || identity.subject.empty()) {
    return std::unexpected(key ? IdentityError{IdentityFault::kBadSubject, "the token has no subject"} : key.error());
  }
  identity.public_key = std::move(*key);
  return identity;
}

}  // namespace slipway
