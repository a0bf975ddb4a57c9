#include "edge/link_key.h"

#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>

#include <algorithm>
#include <cstring>

namespace slipway {
namespace {

constexpr std::string_view kInfo = "SLIM-DP-inter-node-hmac-v1";
constexpr std::string_view kHybridInfo = "SLIM-DP-inter-node-hmac-v1-pq";

struct FreePkey {
  void operator()(EVP_PKEY* key) const { EVP_PKEY_free(key); }
};
using Pkey = std::unique_ptr<EVP_PKEY, FreePkey>;
struct FreeContext {
  void operator()(EVP_PKEY_CTX* context) const { EVP_PKEY_CTX_free(context); }
};
using Context = std::unique_ptr<EVP_PKEY_CTX, FreeContext>;

std::unexpected<std::string> refused(std::string_view doing) {
  // Errors left behind would be taken for those of a later call.
  ERR_clear_error();
  return std::unexpected(std::string(doing) + ": the cryptographic library refused");
}

const unsigned char* raw(std::span<const std::byte> bytes) { return reinterpret_cast<const unsigned char*>(bytes.data()); }
unsigned char* raw_out(std::span<std::byte> bytes) { return reinterpret_cast<unsigned char*>(bytes.data()); }

bool hmac_sha256(std::span<const std::byte> key, std::span<const std::byte> data, Secret32* out) {
  unsigned int size = 0;
  return HMAC(EVP_sha256(), key.data(), static_cast<int>(key.size()), raw(data), data.size(), raw_out(out->writable()), &size) != nullptr &&
         size == kSecretBytes;
}

}  // namespace

struct X25519Pair::State {
  Pkey key;
};

X25519Pair::X25519Pair(std::unique_ptr<State> state, const X25519Public& key) : state_(std::move(state)), public_(key) {}
X25519Pair::~X25519Pair() = default;
X25519Pair::X25519Pair(X25519Pair&&) noexcept = default;
X25519Pair& X25519Pair::operator=(X25519Pair&&) noexcept = default;

std::expected<X25519Pair, std::string> X25519Pair::generate() {
  Pkey key(EVP_PKEY_Q_keygen(nullptr, nullptr, "X25519"));
  X25519Public public_key;
  std::size_t size = public_key.size();
  if (!key || EVP_PKEY_get_raw_public_key(key.get(), raw_out(public_key), &size) != 1) {
    return refused("making an X25519 key");
  }
  return X25519Pair(std::make_unique<State>(std::move(key)), public_key);
}

std::expected<X25519Pair, std::string> X25519Pair::from_private(const Secret32& secret) {
  Pkey key(EVP_PKEY_new_raw_private_key_ex(nullptr, "X25519", nullptr, raw(secret.bytes()), kSecretBytes));
  X25519Public public_key;
  std::size_t size = public_key.size();
  if (!key || EVP_PKEY_get_raw_public_key(key.get(), raw_out(public_key), &size) != 1) {
    return refused("taking an X25519 key");
  }
  return X25519Pair(std::make_unique<State>(std::move(key)), public_key);
}

std::expected<Secret32, std::string> X25519Pair::agree(std::span<const std::byte> peer_public) const {
  if (peer_public.size() != kX25519Bytes) {
    return std::unexpected("agreeing on a link key: the other side's X25519 key has " + std::to_string(peer_public.size()) +
                           " bytes instead of 32");
  }
  const Pkey peer(EVP_PKEY_new_raw_public_key_ex(nullptr, "X25519", nullptr, raw(peer_public), peer_public.size()));
  const Context context(EVP_PKEY_CTX_new_from_pkey(nullptr, state_->key.get(), nullptr));
  Secret32 secret;
  std::size_t size = kSecretBytes;
  if (!peer || !context || EVP_PKEY_derive_init(context.get()) != 1 || EVP_PKEY_derive_set_peer(context.get(), peer.get()) != 1 ||
      EVP_PKEY_derive(context.get(), raw_out(secret.writable()), &size) != 1) {
    return refused("agreeing on a link key with the other side's X25519 key, which may be of low order");
  }
  static constexpr std::array<std::byte, kSecretBytes> kZeros{};
  if (CRYPTO_memcmp(secret.bytes().data(), kZeros.data(), kSecretBytes) == 0) {
    return std::unexpected<std::string>("agreeing on a link key: the other side's X25519 key is of low order");
  }
  return secret;
}

std::expected<Secret32, std::string> derive_link_key(const Secret32& x25519, const Secret32* ml_kem, std::string_view link_id) {
  std::array<std::byte, 2 * kSecretBytes> material;
  std::memcpy(material.data(), x25519.bytes().data(), kSecretBytes);
  if (ml_kem != nullptr) {
    std::memcpy(material.data() + kSecretBytes, ml_kem->bytes().data(), kSecretBytes);
  }
  // HKDF by RFC 5869: 32 bytes are one block of its output.
  const std::string_view info = ml_kem != nullptr ? kHybridInfo : kInfo;
  std::array<std::byte, kHybridInfo.size() + 1> block;
  std::memcpy(block.data(), info.data(), info.size());
  block[info.size()] = std::byte{1};
  Secret32 extracted;
  Secret32 key;
  const bool ok = hmac_sha256(std::as_bytes(std::span(link_id)), std::span(material).first(ml_kem != nullptr ? 64 : 32), &extracted) &&
                  hmac_sha256(extracted.bytes(), std::span(block).first(info.size() + 1), &key);
  OPENSSL_cleanse(material.data(), material.size());
  if (!ok) {
    return refused("deriving a link key");
  }
  return key;
}

}  // namespace slipway
