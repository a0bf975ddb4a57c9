#include "crypto/suite.h"

#include <openssl/err.h>

#include <cstdio>
#include <cstdlib>

#include "crypto/hpke_labels.h"
#include "crypto/thread_contexts.h"

namespace slipway::mls {
namespace internal {

void give_up(const char* what) {
  std::fprintf(stderr, "mls: %s failed: out of memory, or the cryptographic library is broken\n", what);
  std::abort();
}

void forget_library_errors() { ERR_clear_error(); }

namespace {

struct Algorithms {
  std::array<const EVP_MD*, 4> digests{};
  std::array<const EVP_CIPHER*, 4> ciphers{};

  Algorithms() {
    digests = {nullptr, EVP_MD_fetch(nullptr, "SHA256", nullptr),
               EVP_MD_fetch(nullptr, "SHA384", nullptr), EVP_MD_fetch(nullptr, "SHA512", nullptr)};
    ciphers = {nullptr, EVP_CIPHER_fetch(nullptr, "AES-128-GCM", nullptr),
               EVP_CIPHER_fetch(nullptr, "AES-256-GCM", nullptr),
               EVP_CIPHER_fetch(nullptr, "ChaCha20-Poly1305", nullptr)};
    for (size_t i = 1; i < 4; ++i) {
      if (digests[i] == nullptr || ciphers[i] == nullptr) {
        give_up("fetching the algorithms of the cipher suites");
      }
    }
  }
};

// Lives as long as the process: contexts of other threads may outlast static destruction.
const Algorithms& algorithms() {
  static const Algorithms* const kept = new Algorithms;
  return *kept;
}

}  // namespace

const EVP_MD* digest_of(KdfId algorithm) {
  return algorithms().digests[static_cast<size_t>(algorithm)];
}

size_t digest_size(KdfId algorithm) {
  switch (algorithm) {
    case KdfId::kSha256: return 32;
    case KdfId::kSha384: return 48;
    case KdfId::kSha512: return 64;
  }
  return 0;
}

const EVP_CIPHER* cipher_of(AeadId algorithm) {
  return algorithms().ciphers[static_cast<size_t>(algorithm)];
}

ThreadContexts::ThreadContexts() {
  for (size_t i = 1; i < 4; ++i) {
    digest[i].reset(EVP_MD_CTX_new());
    seal[i].reset(EVP_CIPHER_CTX_new());
    open[i].reset(EVP_CIPHER_CTX_new());
    if (!digest[i] || !seal[i] || !open[i] ||
        EVP_DigestInit_ex2(digest[i].get(), algorithms().digests[i], nullptr) != 1 ||
        EVP_EncryptInit_ex2(seal[i].get(), algorithms().ciphers[i], nullptr, nullptr, nullptr) != 1 ||
        EVP_DecryptInit_ex2(open[i].get(), algorithms().ciphers[i], nullptr, nullptr, nullptr) != 1) {
      give_up("making a thread's contexts");
    }
  }
  signature.reset(EVP_MD_CTX_new());
  numbers.reset(BN_CTX_new());
  if (!signature || !numbers) {
    give_up("making a thread's contexts");
  }
}

ThreadContexts& contexts() {
  static thread_local ThreadContexts kept;
  return kept;
}

EVP_PKEY_CTX* key_maker(PkeyContext& kept, const char* type) {
  if (!kept) {
    kept.reset(EVP_PKEY_CTX_new_from_name(nullptr, type, nullptr));
    if (kept && EVP_PKEY_fromdata_init(kept.get()) != 1) {
      kept.reset();
    }
  }
  return kept.get();
}

}  // namespace internal

namespace {

struct KemSizes {
  size_t output, public_key, private_key;
};
constexpr KemSizes kem_sizes(KemId kem) {
  switch (kem) {
    case KemId::kP256: return {65, 65, 32};
    case KemId::kP384: return {97, 97, 48};
    case KemId::kP521: return {133, 133, 66};
    case KemId::kX25519: return {32, 32, 32};
    case KemId::kX448: return {56, 56, 56};
  }
  return {};
}
constexpr KdfId kem_hash(KemId kem) {
  switch (kem) {
    case KemId::kP256:
    case KemId::kX25519: return KdfId::kSha256;
    case KemId::kP384: return KdfId::kSha384;
    case KemId::kP521:
    case KemId::kX448: return KdfId::kSha512;
  }
  return KdfId::kSha256;
}
struct SignatureSizes {
  size_t public_key, private_key;
};
constexpr SignatureSizes signature_sizes(SignatureScheme scheme) {
  switch (scheme) {
    case SignatureScheme::kEd25519: return {32, 32};
    case SignatureScheme::kEd448: return {57, 57};
    case SignatureScheme::kP256: return {65, 32};
    case SignatureScheme::kP384: return {97, 48};
    case SignatureScheme::kP521: return {133, 66};
  }
  return {};
}

template <size_t N>
void append_id(InlineBytes<N>& out, uint16_t id) {
  size_t at = out.size();
  out.resize(at + 2);
  out.data()[at] = static_cast<uint8_t>(id >> 8);
  out.data()[at + 1] = static_cast<uint8_t>(id);
}

Suite make_suite(CipherSuite id, const char* name, KemId kem, KdfId kdf, AeadId aead,
                 SignatureScheme signature) {
  Suite suite{.id = id, .name = name, .kem = kem, .kem_kdf = kem_hash(kem), .kdf = kdf, .aead = aead,
              .signature = signature};
  suite.hash_size = internal::digest_size(kdf);
  suite.aead_key_size = aead == AeadId::kAes128Gcm ? 16 : 32;
  KemSizes sizes = kem_sizes(kem);
  suite.kem_output_size = sizes.output;
  suite.kem_public_key_size = sizes.public_key;
  suite.kem_private_key_size = sizes.private_key;
  suite.signature_public_key_size = signature_sizes(signature).public_key;
  suite.signature_private_key_size = signature_sizes(signature).private_key;

  suite.kem_suite_id.assign(as_view("KEM"));
  append_id(suite.kem_suite_id, static_cast<uint16_t>(kem));
  suite.hpke_suite_id.assign(as_view("HPKE"));
  append_id(suite.hpke_suite_id, static_cast<uint16_t>(kem));
  append_id(suite.hpke_suite_id, static_cast<uint16_t>(kdf));
  append_id(suite.hpke_suite_id, static_cast<uint16_t>(aead));
  Secret psk_id_hash = internal::labeled_extract(kdf, suite.hpke_suite_id, {}, "psk_id_hash", {});
  suite.hpke_psk_id_hash.assign(psk_id_hash);
  return suite;
}

const std::array<Suite, 7>& table() {
  using K = KemId;
  using A = AeadId;
  using S = SignatureScheme;
  using C = CipherSuite;
  static const std::array<Suite, 7> kTable = {
      make_suite(C::kX25519Aes128Sha256Ed25519, "MLS_128_DHKEMX25519_AES128GCM_SHA256_Ed25519",
                 K::kX25519, KdfId::kSha256, A::kAes128Gcm, S::kEd25519),
      make_suite(C::kP256Aes128Sha256P256, "MLS_128_DHKEMP256_AES128GCM_SHA256_P256", K::kP256,
                 KdfId::kSha256, A::kAes128Gcm, S::kP256),
      make_suite(C::kX25519ChaCha20Sha256Ed25519,
                 "MLS_128_DHKEMX25519_CHACHA20POLY1305_SHA256_Ed25519", K::kX25519, KdfId::kSha256,
                 A::kChaCha20Poly1305, S::kEd25519),
      make_suite(C::kX448Aes256Sha512Ed448, "MLS_256_DHKEMX448_AES256GCM_SHA512_Ed448", K::kX448,
                 KdfId::kSha512, A::kAes256Gcm, S::kEd448),
      make_suite(C::kP521Aes256Sha512P521, "MLS_256_DHKEMP521_AES256GCM_SHA512_P521", K::kP521,
                 KdfId::kSha512, A::kAes256Gcm, S::kP521),
      make_suite(C::kX448ChaCha20Sha512Ed448, "MLS_256_DHKEMX448_CHACHA20POLY1305_SHA512_Ed448",
                 K::kX448, KdfId::kSha512, A::kChaCha20Poly1305, S::kEd448),
      make_suite(C::kP384Aes256Sha384P384, "MLS_256_DHKEMP384_AES256GCM_SHA384_P384", K::kP384,
                 KdfId::kSha384, A::kAes256Gcm, S::kP384),
  };
  return kTable;
}

}  // namespace

const Suite* find_suite(CipherSuite id) {
  size_t number = static_cast<size_t>(id);
  return number >= 1 && number <= table().size() ? &table()[number - 1] : nullptr;
}

std::span<const Suite> all_suites() { return table(); }

}  // namespace slipway::mls
