#include "mls_floor.h"

#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/params.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstdlib>
#include <vector>

#include "harness.h"
#include "openssl_handles.h"

namespace slipway::bench {
namespace {

constexpr int kRounds = 5;
constexpr int kOperationsARound = 3;
constexpr std::size_t kSmallBytes = 256;
constexpr std::size_t kLargeBytes = 16 * 1024;
constexpr std::size_t kTagBytes = 16;

void must(bool good, const char* what) {
  if (!good) {
    std::fprintf(stderr, "measuring the floor: %s failed\n", what);
    std::exit(1);
  }
}

PkeyContext keygen_context(const char* type, bool nist) {
  PkeyContext context(EVP_PKEY_CTX_new_from_name(nullptr, type, nullptr));
  must(context && EVP_PKEY_keygen_init(context.get()) == 1, "key generation");
  if (nist) {
    must(EVP_PKEY_CTX_set_group_name(context.get(), "P-256") == 1, "choosing the curve");
  }
  return context;
}

Pkey generate(EVP_PKEY_CTX* context) {
  EVP_PKEY* key = nullptr;
  must(EVP_PKEY_keygen(context, &key) == 1, "key generation");
  return Pkey(key);
}

// Nanoseconds of one call: the median of the rounds.
template <class F>
double time_of(F&& operation) {
  std::array<double, kRounds> rounds{};
  for (double& round : rounds) {
    const std::uint64_t start = thread_cpu_ns();
    for (int i = 0; i < kOperationsARound; ++i) {
      operation();
    }
    round = static_cast<double>(thread_cpu_ns() - start) / kOperationsARound;
  }
  std::nth_element(rounds.begin(), rounds.begin() + kRounds / 2, rounds.end());
  return rounds[kRounds / 2];
}

}  // namespace

struct FloorMeter::Objects {
  bool nist;
  PkeyContext kem_keygen;
  Pkey own;
  Pkey peer;
  PkeyContext derive;
  Pkey signer;
  Digest sha256{EVP_MD_fetch(nullptr, "SHA256", nullptr)};
  DigestContext hash{EVP_MD_CTX_new()};
  DigestContext edwards_sign{EVP_MD_CTX_new()};
  DigestContext edwards_verify{EVP_MD_CTX_new()};
  PkeyContext ecdsa_sign;
  PkeyContext ecdsa_verify;
  Cipher aes{EVP_CIPHER_fetch(nullptr, "AES-128-GCM", nullptr)};
  CipherContext cipher{EVP_CIPHER_CTX_new()};
  Mac hmac{EVP_MAC_fetch(nullptr, "HMAC", nullptr)};
  MacContext mac{EVP_MAC_CTX_new(hmac.get())};
  std::vector<unsigned char> content = std::vector<unsigned char>(kLargeBytes, 0x5a);
  std::vector<unsigned char> sealed = std::vector<unsigned char>(kLargeBytes + kTagBytes);
  unsigned char out[256] = {};
  unsigned char key[32] = {1};

  explicit Objects(bool on_nist_curve) : nist(on_nist_curve) {
    kem_keygen = keygen_context(nist ? "EC" : "X25519", nist);
    own = generate(kem_keygen.get());
    peer = generate(kem_keygen.get());
    derive.reset(EVP_PKEY_CTX_new_from_pkey(nullptr, own.get(), nullptr));
    must(EVP_PKEY_derive_init(derive.get()) == 1 && EVP_PKEY_derive_set_peer(derive.get(), peer.get()) == 1, "DH");
    signer = generate(keygen_context(nist ? "EC" : "ED25519", nist).get());
    if (nist) {
      ecdsa_sign.reset(EVP_PKEY_CTX_new_from_pkey(nullptr, signer.get(), nullptr));
      ecdsa_verify.reset(EVP_PKEY_CTX_new_from_pkey(nullptr, signer.get(), nullptr));
      must(EVP_PKEY_sign_init(ecdsa_sign.get()) == 1 && EVP_PKEY_verify_init(ecdsa_verify.get()) == 1, "ECDSA");
    } else {
      must(EVP_DigestSignInit_ex(edwards_sign.get(), nullptr, nullptr, nullptr, nullptr, signer.get(), nullptr) == 1 &&
               EVP_DigestVerifyInit_ex(edwards_verify.get(), nullptr, nullptr, nullptr, nullptr, signer.get(), nullptr) == 1,
           "EdDSA");
    }
    OSSL_PARAM digest[] = {OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, const_cast<char*>("SHA256"), 0),
                           OSSL_PARAM_construct_end()};
    must(EVP_MAC_CTX_set_params(mac.get(), digest) == 1, "HMAC");
  }

  void dh() {
    std::size_t size = sizeof(out);
    must(EVP_PKEY_derive(derive.get(), out, &size) == 1, "DH");
  }
  void digest_of(std::size_t size) {
    must(EVP_DigestInit_ex2(hash.get(), sha256.get(), nullptr) == 1 &&
             EVP_DigestUpdate(hash.get(), content.data(), size) == 1 &&
             EVP_DigestFinal_ex(hash.get(), key, nullptr) == 1,
         "hashing");
  }
  std::size_t sign(std::size_t size) {
    std::size_t length = sizeof(out);
    if (nist) {
      digest_of(size);
      must(EVP_PKEY_sign(ecdsa_sign.get(), out, &length, key, 32) == 1, "ECDSA sign");
    } else {
      must(EVP_DigestSign(edwards_sign.get(), out, &length, content.data(), size) == 1, "EdDSA sign");
    }
    return length;
  }
  void verify(std::size_t size, std::size_t length) {
    if (nist) {
      digest_of(size);
      must(EVP_PKEY_verify(ecdsa_verify.get(), out, length, key, 32) == 1, "ECDSA verify");
    } else {
      must(EVP_DigestVerify(edwards_verify.get(), out, length, content.data(), size) == 1, "EdDSA verify");
    }
  }
  void expand() {
    std::size_t length = 0;
    must(EVP_MAC_init(mac.get(), key, 32, nullptr) == 1 && EVP_MAC_update(mac.get(), content.data(), 40) == 1 &&
             EVP_MAC_final(mac.get(), out, &length, sizeof(out)) == 1,
         "HMAC");
  }
  // With a new key each time, as MLS has it.
  void seal() {
    int size = 0;
    must(EVP_EncryptInit_ex2(cipher.get(), aes.get(), key, key + 16, nullptr) == 1 &&
             EVP_EncryptUpdate(cipher.get(), sealed.data(), &size, content.data(), kLargeBytes) == 1 &&
             EVP_EncryptFinal_ex(cipher.get(), sealed.data() + size, &size) == 1 &&
             EVP_CIPHER_CTX_ctrl(cipher.get(), EVP_CTRL_AEAD_GET_TAG, kTagBytes, sealed.data() + kLargeBytes) == 1,
         "sealing");
  }
  void open() {
    int size = 0;
    must(EVP_DecryptInit_ex2(cipher.get(), aes.get(), key, key + 16, nullptr) == 1 &&
             EVP_DecryptUpdate(cipher.get(), content.data(), &size, sealed.data(), kLargeBytes) == 1 &&
             EVP_CIPHER_CTX_ctrl(cipher.get(), EVP_CTRL_AEAD_SET_TAG, kTagBytes, sealed.data() + kLargeBytes) == 1 &&
             EVP_DecryptFinal_ex(cipher.get(), content.data() + size, &size) == 1,
         "opening");
  }
};

FloorMeter::FloorMeter(std::uint16_t suite) : objects_(std::make_unique<Objects>(suite == 2)) {}
FloorMeter::~FloorMeter() = default;

Primitives FloorMeter::sample(bool large_messages) {
  Objects& o = *objects_;
  Primitives p;
  p.dh = time_of([&] { o.dh(); });
  p.keygen = time_of([&] { (void)generate(o.kem_keygen.get()); });
  p.sign = time_of([&] { (void)o.sign(kSmallBytes); });
  const std::size_t length = o.sign(kSmallBytes);
  p.verify = time_of([&] { o.verify(kSmallBytes, length); });
  if (large_messages) {
    p.sign_16k = time_of([&] { (void)o.sign(kLargeBytes); });
    const std::size_t large = o.sign(kLargeBytes);
    p.verify_16k = time_of([&] { o.verify(kLargeBytes, large); });
    p.seal_16k = time_of([&] { o.seal(); });
    p.open_16k = time_of([&] { o.open(); });
  }
  p.expand = time_of([&] { o.expand(); });
  return p;
}

Primitives mean(const Primitives& a, const Primitives& b) {
  Primitives m;
  for (double Primitives::*field :
       {&Primitives::dh, &Primitives::keygen, &Primitives::sign, &Primitives::verify, &Primitives::expand,
        &Primitives::sign_16k, &Primitives::verify_16k, &Primitives::seal_16k, &Primitives::open_16k}) {
    m.*field = (a.*field + b.*field) / 2;
  }
  return m;
}

}  // namespace slipway::bench
