#include "identity/signing_key.h"

#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/param_build.h>
#include <openssl/pem.h>

#include <array>
#include <cstdio>
#include <functional>

namespace slipway {
namespace {

constexpr std::size_t kScalarBytes = 32;
constexpr std::size_t kMaxDerBytes = 80;

struct Free {
  void operator()(EVP_PKEY* key) const { EVP_PKEY_free(key); }
  void operator()(EVP_PKEY_CTX* context) const { EVP_PKEY_CTX_free(context); }
  void operator()(EVP_MD_CTX* context) const { EVP_MD_CTX_free(context); }
  void operator()(BIGNUM* number) const { BN_clear_free(number); }
  void operator()(OSSL_PARAM_BLD* build) const { OSSL_PARAM_BLD_free(build); }
  void operator()(OSSL_PARAM* params) const { OSSL_PARAM_free(params); }
  void operator()(std::FILE* file) const { std::fclose(file); }
};
template <class T>
using Owned = std::unique_ptr<T, Free>;
using Key = Owned<EVP_PKEY>;

// Fetched once: EVP_sha256() alone looks it up again for each signature. Never freed.
const EVP_MD* sha256() {
  static const EVP_MD* const fetched = EVP_MD_fetch(nullptr, "SHA256", nullptr);
  return fetched;
}

constexpr std::size_t kKeysKept = 64;  // a thread
struct KeptKey {
  std::string bytes;
  Key key;
  Owned<EVP_MD_CTX> context;
};

const mls::Suite& suite() { return *mls::find_suite(mls::CipherSuite::kP256Aes128Sha256P256); }

std::unexpected<IdentityError> bad_key(std::string about = {}) {
  return std::unexpected(IdentityError{IdentityFault::kBadKey, std::move(about)});
}
const unsigned char* bytes_of(std::string_view text) { return reinterpret_cast<const unsigned char*>(text.data()); }

// `scalar` empty: the public half alone.
Key p256_key(std::string_view point, std::string_view scalar) {
  const Owned<OSSL_PARAM_BLD> build(OSSL_PARAM_BLD_new());
  const Owned<BIGNUM> number(scalar.empty() ? nullptr : BN_bin2bn(bytes_of(scalar), static_cast<int>(scalar.size()), nullptr));
  const Owned<EVP_PKEY_CTX> context(EVP_PKEY_CTX_new_from_name(nullptr, "EC", nullptr));
  EVP_PKEY* key = nullptr;
  if (!build || !context || OSSL_PARAM_BLD_push_utf8_string(build.get(), OSSL_PKEY_PARAM_GROUP_NAME, "P-256", 0) != 1 ||
      OSSL_PARAM_BLD_push_octet_string(build.get(), OSSL_PKEY_PARAM_PUB_KEY, point.data(), point.size()) != 1 ||
      (number && OSSL_PARAM_BLD_push_BN(build.get(), OSSL_PKEY_PARAM_PRIV_KEY, number.get()) != 1)) {
    return nullptr;
  }
  const Owned<OSSL_PARAM> params(OSSL_PARAM_BLD_to_param(build.get()));
  if (!params || EVP_PKEY_fromdata_init(context.get()) != 1 ||
      EVP_PKEY_fromdata(context.get(), &key, scalar.empty() ? EVP_PKEY_PUBLIC_KEY : EVP_PKEY_KEYPAIR, params.get()) != 1) {
    return nullptr;
  }
  return Key(key);
}

}  // namespace

struct SigningKey::Handle {
  Key key;
  Owned<EVP_MD_CTX> context{EVP_MD_CTX_new()};
};

SigningKey::SigningKey() : handle_(std::make_unique<Handle>()) {}
SigningKey::SigningKey(SigningKey&&) noexcept = default;
SigningKey& SigningKey::operator=(SigningKey&&) noexcept = default;
SigningKey::~SigningKey() = default;

std::expected<SigningKey, IdentityError> SigningKey::generate() {
  const auto made = mls::SignatureKey::generate(suite(), mls::system_random());
  if (!made) {
    return bad_key("no key could be made");
  }
  return import(mls::as_text(made->private_key()));
}

std::expected<SigningKey, IdentityError> SigningKey::import(std::string_view private_key) {
  auto imported = mls::SignatureKey::import(suite(), mls::as_view(private_key));
  if (private_key.size() != kScalarBytes || !imported) {
    return bad_key();
  }
  SigningKey key;
  key.public_key_ = mls::as_text(imported->public_key());
  key.mls_ = std::move(*imported);
  key.handle_->key = p256_key(key.public_key_, private_key);
  if (!key.handle_->key || !key.handle_->context) {
    return bad_key();
  }
  return key;
}

std::expected<SigningKey, IdentityError> SigningKey::load(const std::string& path) {
  const Owned<std::FILE> file(std::fopen(path.c_str(), "re"));
  if (!file) {
    return bad_key(path + " cannot be read");
  }
  const Key key(PEM_read_PrivateKey(file.get(), nullptr, nullptr, const_cast<char*>("")));
  BIGNUM* scalar = nullptr;
  if (!key || EVP_PKEY_get_bn_param(key.get(), OSSL_PKEY_PARAM_PRIV_KEY, &scalar) != 1) {
    return bad_key(path);
  }
  const Owned<BIGNUM> owned(scalar);
  auto bytes = mls::Secret::zeros(kScalarBytes);
  if (BN_bn2binpad(scalar, bytes.data(), kScalarBytes) != static_cast<int>(kScalarBytes)) {
    return bad_key(path);
  }
  std::array<char, 32> group{};
  if (EVP_PKEY_get_group_name(key.get(), group.data(), group.size(), nullptr) != 1 || std::string_view(group.data()) != "prime256v1") {
    return bad_key(path + " holds a key of another curve");
  }
  return import(mls::as_text(bytes));
}

std::string SigningKey::sign(std::string_view text) const {
  std::string signature(kMaxDerBytes, '\0');
  std::size_t size = signature.size();
  EVP_MD_CTX* const context = handle_->context.get();
  if (EVP_MD_CTX_reset(context) != 1 || EVP_DigestSignInit(context, nullptr, sha256(), nullptr, handle_->key.get()) != 1 ||
      EVP_DigestSign(context, reinterpret_cast<unsigned char*>(signature.data()), &size, bytes_of(text), text.size()) != 1) {
    return {};
  }
  signature.resize(size);
  return signature;
}

bool verify_signature(std::string_view public_key, std::string_view text, std::string_view signature) {
  constexpr std::size_t kEd25519Bytes = 32;
  constexpr std::size_t kCompressedBytes = 33;
  constexpr std::size_t kUncompressedBytes = 65;
  const bool edwards = public_key.size() == kEd25519Bytes;
  if (!edwards && public_key.size() != kCompressedBytes && public_key.size() != kUncompressedBytes) {
    return false;
  }
  // Each command has two signatures, and the same few members speak again and again: taking a key in (its curve, its point) costs
  // half as much as a verification. Found by the key's bytes, all of which are compared.
  thread_local std::array<KeptKey, kKeysKept> kept;
  KeptKey& place = kept[std::hash<std::string_view>{}(public_key) % kKeysKept];
  if (!place.key || place.bytes != public_key) {
    place = {};
    place.key = edwards ? Key(EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, nullptr, bytes_of(public_key), public_key.size()))
                        : p256_key(public_key, {});
    place.bytes = public_key;
    place.context.reset(EVP_MD_CTX_new());
  }
  EVP_MD_CTX* const context = place.context.get();
  return place.key && context != nullptr && EVP_MD_CTX_reset(context) == 1 &&
         EVP_DigestVerifyInit(context, nullptr, edwards ? nullptr : sha256(), nullptr, place.key.get()) == 1 &&
         EVP_DigestVerify(context, bytes_of(signature), signature.size(), bytes_of(text), text.size()) == 1;
}

}  // namespace slipway
