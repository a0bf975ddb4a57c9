// ML-KEM-768 of the OpenSSL that is loaded, if it has one. Every function used here is in OpenSSL 3.0; what may be missing
// is the algorithm.

#include <openssl/err.h>
#include <openssl/evp.h>

#include "edge/link_key.h"

namespace slipway {
namespace {

constexpr const char* kName = "ML-KEM-768";

struct FreePkey {
  void operator()(EVP_PKEY* key) const { EVP_PKEY_free(key); }
};
using Pkey = std::unique_ptr<EVP_PKEY, FreePkey>;
struct FreeContext {
  void operator()(EVP_PKEY_CTX* context) const { EVP_PKEY_CTX_free(context); }
};
using Context = std::unique_ptr<EVP_PKEY_CTX, FreeContext>;

std::unexpected<std::string> refused(std::string_view doing) {
  ERR_clear_error();
  return std::unexpected(std::string(doing) + ": the cryptographic library refused");
}

unsigned char* raw_out(std::span<std::byte> bytes) { return reinterpret_cast<unsigned char*>(bytes.data()); }
const unsigned char* raw(std::span<const std::byte> bytes) { return reinterpret_cast<const unsigned char*>(bytes.data()); }

struct OpensslPrivate final : MlKem::Private {
  explicit OpensslPrivate(Pkey k) : key(std::move(k)) {}
  Pkey key;
};

class OpensslMlKem final : public MlKem {
 public:
  std::expected<Pair, std::string> generate() override {
    Pkey key(EVP_PKEY_Q_keygen(nullptr, nullptr, kName));
    std::vector<std::byte> public_key(kMlKemPublicBytes);
    std::size_t size = public_key.size();
    if (!key || EVP_PKEY_get_raw_public_key(key.get(), raw_out(public_key), &size) != 1 || size != kMlKemPublicBytes) {
      return refused("making an ML-KEM-768 key");
    }
    return Pair{std::make_unique<OpensslPrivate>(std::move(key)), std::move(public_key)};
  }

  std::expected<Encapsulated, std::string> encapsulate(std::span<const std::byte> peer_public) override {
    const Pkey peer(EVP_PKEY_new_raw_public_key_ex(nullptr, kName, nullptr, raw(peer_public), peer_public.size()));
    const Context context(peer ? EVP_PKEY_CTX_new_from_pkey(nullptr, peer.get(), nullptr) : nullptr);
    Encapsulated result{.ciphertext = std::vector<std::byte>(kMlKemCiphertextBytes)};
    std::size_t ciphertext_bytes = result.ciphertext.size();
    std::size_t secret_bytes = kSecretBytes;
    if (!context || EVP_PKEY_encapsulate_init(context.get(), nullptr) != 1 ||
        EVP_PKEY_encapsulate(context.get(), raw_out(result.ciphertext), &ciphertext_bytes, raw_out(result.secret.writable()),
                             &secret_bytes) != 1 ||
        ciphertext_bytes != kMlKemCiphertextBytes || secret_bytes != kSecretBytes) {
      return refused("encapsulating to the other side's ML-KEM-768 key");
    }
    return result;
  }

  std::expected<Secret32, std::string> decapsulate(const Private& key, std::span<const std::byte> ciphertext) override {
    const auto& own = static_cast<const OpensslPrivate&>(key);
    const Context context(EVP_PKEY_CTX_new_from_pkey(nullptr, own.key.get(), nullptr));
    Secret32 secret;
    std::size_t size = kSecretBytes;
    if (!context || EVP_PKEY_decapsulate_init(context.get(), nullptr) != 1 ||
        EVP_PKEY_decapsulate(context.get(), raw_out(secret.writable()), &size, raw(ciphertext), ciphertext.size()) != 1 ||
        size != kSecretBytes) {
      return refused("decapsulating the other side's ML-KEM-768 ciphertext");
    }
    return secret;
  }
};

}  // namespace

std::unique_ptr<MlKem> openssl_ml_kem() {
  EVP_KEM* const kem = EVP_KEM_fetch(nullptr, kName, nullptr);
  if (kem == nullptr) {
    ERR_clear_error();
    return nullptr;
  }
  EVP_KEM_free(kem);
  return std::make_unique<OpensslMlKem>();
}

}  // namespace slipway
