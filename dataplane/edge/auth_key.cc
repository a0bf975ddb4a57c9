#include "edge/auth_key.h"

#include <openssl/crypto.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/hmac.h>
#include <openssl/rsa.h>

#include <array>

#include "edge/did_key.h"

namespace slipway {
namespace {

struct Row {
  std::string_view name;
  const char* digest;  // nullptr: the algorithm has its own
};

constexpr std::array<Row, 12> kRows{{{"HS256", "SHA256"}, {"HS384", "SHA384"}, {"HS512", "SHA512"}, {"RS256", "SHA256"},
                                     {"RS384", "SHA384"}, {"RS512", "SHA512"}, {"PS256", "SHA256"}, {"PS384", "SHA384"},
                                     {"PS512", "SHA512"}, {"ES256", "SHA256"}, {"ES384", "SHA384"}, {"EdDSA", nullptr}}};

const Row& row(JwtAlgorithm algorithm) { return kRows[static_cast<std::size_t>(algorithm)]; }
bool is_hmac(JwtAlgorithm a) { return a <= JwtAlgorithm::kHs512; }
bool is_pss(JwtAlgorithm a) { return a >= JwtAlgorithm::kPs256 && a <= JwtAlgorithm::kPs512; }
std::size_t ec_bytes(JwtAlgorithm a) { return a == JwtAlgorithm::kEs256 ? 32 : a == JwtAlgorithm::kEs384 ? 48 : 0; }

struct FreeContext {
  void operator()(EVP_MD_CTX* context) const { EVP_MD_CTX_free(context); }
};
using ContextPtr = std::unique_ptr<EVP_MD_CTX, FreeContext>;
struct FreeSignature {
  void operator()(ECDSA_SIG* signature) const { ECDSA_SIG_free(signature); }
};
using SignaturePtr = std::unique_ptr<ECDSA_SIG, FreeSignature>;

const unsigned char* bytes_of(std::string_view text) { return reinterpret_cast<const unsigned char*>(text.data()); }

// A context ready for one signature or check.
ContextPtr context_for(JwtAlgorithm algorithm, EVP_PKEY* key, bool sign) {
  ContextPtr context(EVP_MD_CTX_new());
  EVP_PKEY_CTX* rules = nullptr;
  const char* digest = row(algorithm).digest;
  const int started = sign ? EVP_DigestSignInit_ex(context.get(), &rules, digest, nullptr, nullptr, key, nullptr)
                           : EVP_DigestVerifyInit_ex(context.get(), &rules, digest, nullptr, nullptr, key, nullptr);
  if (started != 1 || (is_pss(algorithm) && (EVP_PKEY_CTX_set_rsa_padding(rules, RSA_PKCS1_PSS_PADDING) != 1 ||
                                             EVP_PKEY_CTX_set_rsa_pss_saltlen(rules, RSA_PSS_SALTLEN_DIGEST) != 1))) {
    return nullptr;
  }
  return context;
}

// RFC 7518 3.4 has r and s side by side; OpenSSL has them in DER.
std::string der_of(std::span<const unsigned char> raw, std::size_t half) {
  if (raw.size() != 2 * half) {
    return {};
  }
  const SignaturePtr signature(ECDSA_SIG_new());
  BIGNUM* r = BN_bin2bn(raw.data(), static_cast<int>(half), nullptr);
  BIGNUM* s = BN_bin2bn(raw.data() + half, static_cast<int>(half), nullptr);
  if (signature == nullptr || r == nullptr || s == nullptr || ECDSA_SIG_set0(signature.get(), r, s) != 1) {
    BN_free(r);
    BN_free(s);
    return {};
  }
  unsigned char* der = nullptr;
  const int bytes = i2d_ECDSA_SIG(signature.get(), &der);
  std::string out(reinterpret_cast<char*>(der), bytes > 0 ? static_cast<std::size_t>(bytes) : 0);
  OPENSSL_free(der);
  return out;
}

std::string raw_of(std::string_view der, std::size_t half) {
  const unsigned char* at = bytes_of(der);
  const SignaturePtr signature(d2i_ECDSA_SIG(nullptr, &at, static_cast<long>(der.size())));
  std::string out(2 * half, '\0');
  auto* to = reinterpret_cast<unsigned char*>(out.data());
  if (signature == nullptr || BN_bn2binpad(ECDSA_SIG_get0_r(signature.get()), to, static_cast<int>(half)) < 0 ||
      BN_bn2binpad(ECDSA_SIG_get0_s(signature.get()), to + half, static_cast<int>(half)) < 0) {
    return {};
  }
  return out;
}

}  // namespace

std::optional<JwtAlgorithm> jwt_algorithm(std::string_view name) {
  for (std::size_t i = 0; i < kRows.size(); ++i) {
    if (kRows[i].name == name) {
      return static_cast<JwtAlgorithm>(i);
    }
  }
  return std::nullopt;
}

std::string_view jwt_algorithm_name(JwtAlgorithm algorithm) { return row(algorithm).name; }

AuthKey::AuthKey(JwtAlgorithm key_algorithm, std::string key_id, std::string shared_secret)
    : algorithm_(key_algorithm), id_(std::move(key_id)), secret_(std::move(shared_secret)) {}

AuthKey::AuthKey(JwtAlgorithm key_algorithm, std::string key_id, EVP_PKEY* key)
    : algorithm_(key_algorithm), id_(std::move(key_id)), key_(key) {}

AuthKey::~AuthKey() { OPENSSL_cleanse(secret_.data(), secret_.size()); }

std::optional<std::string> AuthKey::sign(std::string_view text) const {
  ERR_clear_error();
  if (is_hmac(algorithm_)) {
    std::string out(EVP_MAX_MD_SIZE, '\0');
    unsigned int bytes = 0;
    if (HMAC(EVP_get_digestbyname(row(algorithm_).digest), secret_.data(), static_cast<int>(secret_.size()), bytes_of(text), text.size(),
             reinterpret_cast<unsigned char*>(out.data()), &bytes) == nullptr) {
      return std::nullopt;
    }
    out.resize(bytes);
    return out;
  }
  const ContextPtr context = context_for(algorithm_, key_.get(), true);
  std::size_t bytes = 0;
  if (context == nullptr || EVP_DigestSign(context.get(), nullptr, &bytes, bytes_of(text), text.size()) != 1) {
    return std::nullopt;
  }
  std::string out(bytes, '\0');
  if (EVP_DigestSign(context.get(), reinterpret_cast<unsigned char*>(out.data()), &bytes, bytes_of(text), text.size()) != 1) {
    return std::nullopt;
  }
  out.resize(bytes);
  return ec_bytes(algorithm_) != 0 ? raw_of(out, ec_bytes(algorithm_)) : out;
}

bool AuthKey::verify(std::string_view text, std::span<const unsigned char> signature) const {
  if (is_hmac(algorithm_)) {
    const auto ours = sign(text);
    return ours && ours->size() == signature.size() && CRYPTO_memcmp(ours->data(), signature.data(), signature.size()) == 0;
  }
  std::string der;
  if (ec_bytes(algorithm_) != 0) {
    der = der_of(signature, ec_bytes(algorithm_));
    signature = {bytes_of(der), der.size()};
  }
  const ContextPtr context = context_for(algorithm_, key_.get(), false);
  const bool good = context != nullptr && !signature.empty() &&
                    EVP_DigestVerify(context.get(), signature.data(), signature.size(), bytes_of(text), text.size()) == 1;
  ERR_clear_error();
  return good;
}

std::string AuthKey::did_key() const {
  if (algorithm_ != JwtAlgorithm::kEdDsa || key_ == nullptr) {
    return {};
  }
  std::string bytes(32, '\0');
  std::size_t length = bytes.size();
  if (EVP_PKEY_get_raw_public_key(key_.get(), reinterpret_cast<unsigned char*>(bytes.data()), &length) != 1 || length != bytes.size()) {
    return {};
  }
  return did_key_of_ed25519(bytes);
}

std::string base64url_encode(std::string_view bytes) {
  static constexpr char kDigits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
  std::string out;
  out.reserve((bytes.size() * 4 + 2) / 3);
  unsigned bits = 0;
  int count = 0;
  for (const char c : bytes) {
    bits = (bits & 0xFF) << 8 | static_cast<unsigned char>(c);
    for (count += 8; count >= 6; count -= 6) {
      out += kDigits[bits >> (count - 6) & 63];
    }
  }
  if (count > 0) {
    out += kDigits[bits << (6 - count) & 63];
  }
  return out;
}

std::optional<std::string> base64url_decode(std::string_view text) {
  std::string out;
  out.reserve(text.size() * 3 / 4);
  unsigned bits = 0;
  int count = 0;
  for (const char c : text) {
    const int digit = c >= 'A' && c <= 'Z' ? c - 'A' : c >= 'a' && c <= 'z' ? c - 'a' + 26 : c >= '0' && c <= '9' ? c - '0' + 52
                      : c == '-' ? 62 : c == '_' ? 63 : -1;
    if (digit < 0) {
      return std::nullopt;
    }
    bits = (bits & 0x3FF) << 6 | static_cast<unsigned>(digit);
    count += 6;
    if (count >= 8) {
      count -= 8;
      out += static_cast<char>(bits >> count);
    }
  }
  // What is left over must be nothing but padding: one text for each value.
  if (count == 6 || (bits & ((1u << count) - 1)) != 0) {
    return std::nullopt;
  }
  return out;
}

}  // namespace slipway
