#include "edge/auth_jwt.h"

#include <fmt/format.h>
#include <openssl/crypto.h>
#include <strings.h>

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <cstring>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>

#include "bounds.h"

namespace slipway {
namespace {

using Json = nlohmann::json;

constexpr std::int64_t kLeewayS = 60;
constexpr std::string_view kBearer = "Bearer ";

AuthVerdict refuse(std::string reason) { return {.http_status = 401, .reason = std::move(reason)}; }

std::optional<Json> decode_object(std::string_view text) {
  const auto bytes = base64url_decode(text);
  if (!bytes) {
    return std::nullopt;
  }
  Json json = Json::parse(*bytes, nullptr, false);
  return json.is_object() ? std::optional<Json>(std::move(json)) : std::nullopt;
}

std::string text_claim(const Json& claims, const char* name) {
  const auto found = claims.find(name);
  return found != claims.end() && found->is_string() ? found->get<std::string>() : std::string();
}

// Empty: fine.
std::string check_claims(const Json& claims, const JwtRules& rules, std::int64_t unix_s) {
  const auto exp = claims.find("exp");
  if (exp == claims.end() || !exp->is_number()) {
    return "the token has no expiry (exp)";
  }
  const double expires = exp->get<double>();
  if (!std::isfinite(expires) || expires < static_cast<double>(unix_s - kLeewayS)) {
    return "the token has expired";
  }
  if (const auto aud = claims.find("aud"); aud != claims.end() && !aud->is_null()) {
    std::vector<std::string> of_token;
    for (const Json& one : aud->is_array() ? *aud : Json::array({*aud})) {
      if (one.is_string()) {
        of_token.push_back(one.get<std::string>());
      }
    }
    const bool meant = std::any_of(of_token.begin(), of_token.end(), [&](const std::string& one) {
      return std::find(rules.audiences.begin(), rules.audiences.end(), one) != rules.audiences.end();
    });
    if (!meant && !(of_token.empty() && aud->is_array() && rules.audiences.empty())) {
      return rules.audiences.empty() ? "the token has an audience and none is configured" : "the token is for another audience";
    }
  }
  if (!rules.issuer.empty() && claims.contains("iss") && text_claim(claims, "iss") != rules.issuer) {
    return "the token is from another issuer";
  }
  return {};
}

}  // namespace

JwtGuard::JwtGuard(std::vector<AuthKey> keys, JwtRules rules) : keys_(std::move(keys)), rules_(std::move(rules)) {}

AuthVerdict JwtGuard::check(std::string_view authorization, std::int64_t unix_s) const {
  if (authorization.size() <= kBearer.size() || strncasecmp(authorization.data(), kBearer.data(), kBearer.size()) != 0) {
    return refuse("the request has no bearer token");
  }
  const std::string_view token = authorization.substr(kBearer.size());
  const std::size_t first = token.find('.');
  const std::size_t second = first == std::string_view::npos ? first : token.find('.', first + 1);
  if (token.size() > kMaxJwtBytes || second == std::string_view::npos || token.find('.', second + 1) != std::string_view::npos) {
    return refuse("the bearer token is no signed JSON Web Token");
  }
  const auto header = decode_object(token.substr(0, first));
  const auto claims = decode_object(token.substr(first + 1, second - first - 1));
  const auto signature = base64url_decode(token.substr(second + 1));
  const auto algorithm = header ? jwt_algorithm(text_claim(*header, "alg")) : std::nullopt;
  if (!claims || !signature || !algorithm) {
    return refuse("the bearer token is no JSON Web Token with a supported algorithm");
  }
  const std::string key_id = text_claim(*header, "kid");
  const bool known_id = !key_id.empty() && std::any_of(keys_.begin(), keys_.end(), [&](const AuthKey& key) { return key.id() == key_id; });
  const std::string_view text = token.substr(0, second);
  const auto signed_by = std::find_if(keys_.begin(), keys_.end(), [&](const AuthKey& key) {
    return key.algorithm() == *algorithm && (!known_id || key.id() == key_id) &&
           key.verify(text, {reinterpret_cast<const unsigned char*>(signature->data()), signature->size()});
  });
  if (signed_by == keys_.end()) {
    return refuse("the token's signature fits no configured key");
  }
  if (std::string wrong = check_claims(*claims, rules_, unix_s); !wrong.empty()) {
    return refuse(std::move(wrong));
  }
  AuthVerdict verdict{.subject = text_claim(*claims, "sub")};
  if (rules_.subject_binding != SubjectBinding::kOff && verdict.subject != signed_by->id() && verdict.subject != signed_by->did_key()) {
    verdict.reason = "the token's subject is not that of the key that signed it";
    if (rules_.subject_binding == SubjectBinding::kEnforce) {
      return refuse(std::move(verdict.reason));
    }
  }
  return verdict;
}

JwtSigner::JwtSigner(AuthKey key, JwtClaims claims) : key_(std::move(key)), claims_(std::move(claims)) {}

std::expected<std::string, std::string> JwtSigner::authorization(std::int64_t unix_s) const {
  Json header{{"typ", "JWT"}, {"alg", jwt_algorithm_name(key_.algorithm())}};
  Json claims = Json::object();
  if (!claims_.custom_json.empty()) {
    claims = Json::parse(claims_.custom_json, nullptr, false);
    if (!claims.is_object()) {
      return std::unexpected("The custom claims are no JSON object.");
    }
  }
  if (!claims_.subject.empty()) {
    header["kid"] = claims_.subject;
    claims["sub"] = claims_.subject;
  }
  if (!claims_.issuer.empty()) {
    claims["iss"] = claims_.issuer;
  }
  if (!claims_.audiences.empty()) {
    claims["aud"] = claims_.audiences;
  }
  claims["iat"] = unix_s;
  claims["nbf"] = unix_s;
  claims["exp"] = unix_s + static_cast<std::int64_t>(claims_.duration_s);
  const auto text_of = [](const Json& json) { return base64url_encode(json.dump(-1, ' ', false, Json::error_handler_t::replace)); };
  const std::string text = text_of(header) + "." + text_of(claims);
  const auto signature = key_.sign(text);
  if (!signature || signature->empty()) {
    return std::unexpected(fmt::format("A token cannot be signed with {}.", jwt_algorithm_name(key_.algorithm())));
  }
  return std::string(kBearer) + text + "." + base64url_encode(*signature);
}

std::expected<std::string, std::string> static_token_authorization(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) {
    return std::unexpected(fmt::format("Cannot read the token file {}: {}.", path, std::strerror(errno)));
  }
  std::string token{std::istreambuf_iterator<char>(file), {}};
  while (!token.empty() && std::strchr(" \t\r\n", token.back()) != nullptr) {
    token.pop_back();
  }
  if (token.empty() || token.size() > kMaxJwtBytes || std::any_of(token.begin(), token.end(), [](char c) { return c <= ' ' || c > '~'; })) {
    return std::unexpected(fmt::format("The file {} has no token: one line of printable characters, at most {} bytes.", path, kMaxJwtBytes));
  }
  return std::string(kBearer) + token;
}

}  // namespace slipway
