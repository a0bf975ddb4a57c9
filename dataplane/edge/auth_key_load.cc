// Reading keys: PEM, secrets, JWK and JWKS.

#include <fmt/format.h>
#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/param_build.h>
#include <openssl/pem.h>

#include <cerrno>
#include <cstring>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>

#include "edge/auth_key.h"

namespace slipway {
namespace {

using Json = nlohmann::json;

struct FreeKey {
  void operator()(EVP_PKEY* key) const { EVP_PKEY_free(key); }
};
using KeyPtr = std::unique_ptr<EVP_PKEY, FreeKey>;

constexpr std::size_t kMaxKeyFileBytes = 1u << 20;

std::expected<std::string, std::string> read_text(const AuthKeySource& source) {
  if (source.file.empty()) {
    return source.data;
  }
  std::ifstream file(source.file, std::ios::binary);
  if (!file) {
    return std::unexpected(fmt::format("Cannot read the key file {}: {}. Check the path and that it may be read.", source.file, std::strerror(errno)));
  }
  std::string text{std::istreambuf_iterator<char>(file), {}};
  if (text.size() > kMaxKeyFileBytes) {
    return std::unexpected(fmt::format("The key file {} is larger than {} bytes: is it a key?", source.file, kMaxKeyFileBytes));
  }
  return text;
}

// Whether the key is of the kind that the algorithm needs.
bool fits(EVP_PKEY* key, JwtAlgorithm algorithm) {
  char curve[32] = {};
  std::size_t length = 0;
  switch (algorithm) {
    case JwtAlgorithm::kEs256:
    case JwtAlgorithm::kEs384:
      return EVP_PKEY_is_a(key, "EC") == 1 && EVP_PKEY_get_group_name(key, curve, sizeof(curve), &length) == 1 &&
             std::string_view(curve) == (algorithm == JwtAlgorithm::kEs256 ? "prime256v1" : "secp384r1");
    case JwtAlgorithm::kEdDsa:
      return EVP_PKEY_is_a(key, "ED25519") == 1;
    default:
      return EVP_PKEY_is_a(key, "RSA") == 1 && EVP_PKEY_get_bits(key) >= 2048;
  }
}

std::string text_field(const Json& jwk, const char* name) {
  const auto found = jwk.find(name);
  return found != jwk.end() && found->is_string() ? found->get<std::string>() : std::string();
}

KeyPtr key_from(const char* kind, OSSL_PARAM_BLD* parts) {
  EVP_PKEY* key = nullptr;
  OSSL_PARAM* params = OSSL_PARAM_BLD_to_param(parts);
  EVP_PKEY_CTX* context = EVP_PKEY_CTX_new_from_name(nullptr, kind, nullptr);
  if (params == nullptr || context == nullptr || EVP_PKEY_fromdata_init(context) != 1 ||
      EVP_PKEY_fromdata(context, &key, EVP_PKEY_PUBLIC_KEY, params) != 1) {
    key = nullptr;
  }
  EVP_PKEY_CTX_free(context);
  OSSL_PARAM_free(params);
  ERR_clear_error();
  return KeyPtr(key);
}

KeyPtr public_key_of(const Json& jwk) {
  const std::string kind = text_field(jwk, "kty");
  std::unique_ptr<OSSL_PARAM_BLD, decltype([](OSSL_PARAM_BLD* b) { OSSL_PARAM_BLD_free(b); })> parts(OSSL_PARAM_BLD_new());
  if (kind == "RSA") {
    const auto n = base64url_decode(text_field(jwk, "n"));
    const auto e = base64url_decode(text_field(jwk, "e"));
    if (!n || !e || n->empty() || e->empty() || n->size() > 2048 || e->size() > 8) {
      return nullptr;
    }
    const auto number = [](const std::string& bytes) {
      return std::unique_ptr<BIGNUM, decltype([](BIGNUM* b) { BN_free(b); })>(
          BN_bin2bn(reinterpret_cast<const unsigned char*>(bytes.data()), static_cast<int>(bytes.size()), nullptr));
    };
    const auto modulus = number(*n);
    const auto exponent = number(*e);
    OSSL_PARAM_BLD_push_BN(parts.get(), OSSL_PKEY_PARAM_RSA_N, modulus.get());
    OSSL_PARAM_BLD_push_BN(parts.get(), OSSL_PKEY_PARAM_RSA_E, exponent.get());
    return key_from("RSA", parts.get());
  }
  const std::string curve = text_field(jwk, "crv");
  const auto x = base64url_decode(text_field(jwk, "x"));
  if (kind == "EC") {
    const auto y = base64url_decode(text_field(jwk, "y"));
    const std::size_t bytes = curve == "P-256" ? 32 : curve == "P-384" ? 48 : 0;
    if (bytes == 0 || !x || !y || x->size() != bytes || y->size() != bytes) {
      return nullptr;
    }
    const std::string point = "\x04" + *x + *y;
    OSSL_PARAM_BLD_push_utf8_string(parts.get(), OSSL_PKEY_PARAM_GROUP_NAME, bytes == 32 ? "prime256v1" : "secp384r1", 0);
    OSSL_PARAM_BLD_push_octet_string(parts.get(), OSSL_PKEY_PARAM_PUB_KEY, point.data(), point.size());
    return key_from("EC", parts.get());
  }
  if (kind == "OKP" && curve == "Ed25519" && x && x->size() == 32) {
    return KeyPtr(EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, nullptr, reinterpret_cast<const unsigned char*>(x->data()), 32));
  }
  return nullptr;
}

// The algorithm that a JWK is for: its own word, else what its kind allows, else `fallback`.
std::optional<JwtAlgorithm> algorithm_of(const Json& jwk, JwtAlgorithm fallback) {
  if (const std::string name = text_field(jwk, "alg"); !name.empty()) {
    return jwt_algorithm(name);
  }
  const std::string curve = text_field(jwk, "crv");
  return curve == "P-256" ? JwtAlgorithm::kEs256 : curve == "P-384" ? JwtAlgorithm::kEs384 : curve == "Ed25519" ? JwtAlgorithm::kEdDsa : fallback;
}

std::optional<AuthKey> key_of_jwk(const Json& jwk, JwtAlgorithm fallback) {
  if (!jwk.is_object()) {
    return std::nullopt;
  }
  const auto algorithm = algorithm_of(jwk, fallback);
  if (!algorithm) {
    return std::nullopt;
  }
  if (text_field(jwk, "kty") == "oct") {
    auto secret = base64url_decode(text_field(jwk, "k"));
    return *algorithm <= JwtAlgorithm::kHs512 && secret && !secret->empty()
               ? std::optional<AuthKey>(AuthKey(*algorithm, text_field(jwk, "kid"), std::move(*secret)))
               : std::nullopt;
  }
  KeyPtr key = public_key_of(jwk);
  if (key == nullptr || *algorithm <= JwtAlgorithm::kHs512 || !fits(key.get(), *algorithm)) {
    return std::nullopt;
  }
  return AuthKey(*algorithm, text_field(jwk, "kid"), key.release());
}

}  // namespace

std::expected<std::vector<AuthKey>, std::string> load_auth_keys(const AuthKeySource& source, bool for_signing) {
  auto text = read_text(source);
  if (!text) {
    return std::unexpected(text.error());
  }
  const std::string name = source.file.empty() ? "given as text" : "in " + source.file;
  std::vector<AuthKey> keys;
  if (source.format != AuthKeyFormat::kPem) {
    if (for_signing) {
      return std::unexpected("Tokens are signed with a key in PEM or a secret (format: pem), not with a JWK.");
    }
    const Json json = Json::parse(*text, nullptr, false);
    OPENSSL_cleanse(text->data(), text->size());
    const Json list = source.format == AuthKeyFormat::kJwk ? Json::array({json}) : json.is_object() ? json.value("keys", Json()) : Json();
    if (list.is_array()) {
      for (const Json& jwk : list) {
        if (auto key = key_of_jwk(jwk, source.algorithm)) {
          keys.push_back(std::move(*key));
        }
      }
    }
    if (keys.empty()) {
      return std::unexpected(fmt::format("There is no usable key in the {} {}: each needs kty and its numbers, and an alg that is supported.",
                                         source.format == AuthKeyFormat::kJwk ? "JWK" : "JWKS", name));
    }
    return keys;
  }
  if (source.algorithm <= JwtAlgorithm::kHs512) {
    if (text->empty()) {
      return std::unexpected(fmt::format("The secret {} is empty.", name));
    }
    keys.emplace_back(source.algorithm, std::string(), std::move(*text));
    return keys;
  }
  ERR_clear_error();
  BIO* bio = BIO_new_mem_buf(text->data(), static_cast<int>(text->size()));
  const auto no_password = [](char*, int, int, void*) { return 0; };
  KeyPtr key(for_signing ? PEM_read_bio_PrivateKey(bio, nullptr, no_password, nullptr) : PEM_read_bio_PUBKEY(bio, nullptr, no_password, nullptr));
  BIO_free(bio);
  OPENSSL_cleanse(text->data(), text->size());
  ERR_clear_error();
  if (key == nullptr) {
    return std::unexpected(fmt::format("The key {} is no {} key in PEM{}.", name, for_signing ? "private" : "public",
                                       for_signing ? " that can be read without a password" : ""));
  }
  if (!fits(key.get(), source.algorithm)) {
    return std::unexpected(fmt::format("The key {} is not of the kind that {} needs (RSA keys: at least 2,048 bits).", name, jwt_algorithm_name(source.algorithm)));
  }
  keys.emplace_back(source.algorithm, std::string(), key.release());
  return keys;
}

}  // namespace slipway
