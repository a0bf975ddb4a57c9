#include "message_floor.h"

#include <openssl/evp.h>

#include <vector>

#include "openssl_handles.h"
#include "server_process.h"

namespace slipway::bench {
namespace {

// Besides the payload: what FramedContentTBS holds (headers of the message as authenticated data with both names and the token, the
// group's context), and the authenticated data and the signature of a PrivateMessage. Measured on our own messages.
constexpr std::size_t kSignedBytes = 640;
constexpr std::size_t kSealedBytes = 80;
constexpr std::size_t kSealedHeaderBytes = 480;
constexpr std::size_t kTagBytes = 16;

void must(bool good, const char* what) {
  if (!good) {
    die(std::string("the floor: ") + what + " failed");
  }
}

}  // namespace

struct MessageFloor::Objects {
  Pkey key{EVP_PKEY_Q_keygen(nullptr, nullptr, "EC", "P-256")};
  PkeyContext signer{EVP_PKEY_CTX_new_from_pkey(nullptr, key.get(), nullptr)};
  PkeyContext verifier{EVP_PKEY_CTX_new_from_pkey(nullptr, key.get(), nullptr)};
  Digest sha256{EVP_MD_fetch(nullptr, "SHA256", nullptr)};
  DigestContext hash{EVP_MD_CTX_new()};
  Cipher aes{EVP_CIPHER_fetch(nullptr, "AES-128-GCM", nullptr)};
  CipherContext cipher{EVP_CIPHER_CTX_new()};
  std::vector<unsigned char> content, sealed, headers = std::vector<unsigned char>(kSealedHeaderBytes, 0x11);
  unsigned char digest[32] = {}, secret[32] = {1};
  unsigned char signature[256] = {};
  std::size_t signature_bytes = 0;

  explicit Objects(std::size_t payload_bytes) : content(payload_bytes + kSignedBytes, 0x5a), sealed(payload_bytes + kSealedBytes + kTagBytes) {
    must(EVP_PKEY_sign_init(signer.get()) == 1 && EVP_PKEY_verify_init(verifier.get()) == 1, "ECDSA");
    sign();
    seal();
  }
  [[nodiscard]] int plain_bytes() const { return static_cast<int>(sealed.size() - kTagBytes); }
  void hash_content() {
    must(EVP_DigestInit_ex2(hash.get(), sha256.get(), nullptr) == 1 && EVP_DigestUpdate(hash.get(), content.data(), content.size()) == 1 &&
             EVP_DigestFinal_ex(hash.get(), digest, nullptr) == 1,
         "hashing");
  }
  void sign() {
    hash_content();
    signature_bytes = sizeof signature;
    must(EVP_PKEY_sign(signer.get(), signature, &signature_bytes, digest, sizeof digest) == 1, "signing");
  }
  void verify() {
    hash_content();
    must(EVP_PKEY_verify(verifier.get(), signature, signature_bytes, digest, sizeof digest) == 1, "verifying");
  }
  void seal() {
    int size = 0;
    must(EVP_EncryptInit_ex2(cipher.get(), aes.get(), secret, secret + 16, nullptr) == 1 &&
             EVP_EncryptUpdate(cipher.get(), nullptr, &size, headers.data(), static_cast<int>(headers.size())) == 1 &&
             EVP_EncryptUpdate(cipher.get(), sealed.data(), &size, sealed.data(), plain_bytes()) == 1 &&
             EVP_EncryptFinal_ex(cipher.get(), sealed.data() + size, &size) == 1 &&
             EVP_CIPHER_CTX_ctrl(cipher.get(), EVP_CTRL_AEAD_GET_TAG, kTagBytes, sealed.data() + plain_bytes()) == 1,
         "sealing");
  }
  void open() {
    int size = 0;
    opened.resize(sealed.size());
    must(EVP_DecryptInit_ex2(cipher.get(), aes.get(), secret, secret + 16, nullptr) == 1 &&
             EVP_DecryptUpdate(cipher.get(), nullptr, &size, headers.data(), static_cast<int>(headers.size())) == 1 &&
             EVP_DecryptUpdate(cipher.get(), opened.data(), &size, sealed.data(), plain_bytes()) == 1 &&
             EVP_CIPHER_CTX_ctrl(cipher.get(), EVP_CTRL_AEAD_SET_TAG, kTagBytes, sealed.data() + plain_bytes()) == 1 &&
             EVP_DecryptFinal_ex(cipher.get(), opened.data() + size, &size) == 1,
         "opening");
  }
  std::vector<unsigned char> opened;
};

MessageFloor::MessageFloor(std::size_t payload_bytes) : objects_(std::make_unique<Objects>(payload_bytes)) {}
MessageFloor::~MessageFloor() = default;

void MessageFloor::send() {
  objects_->sign();
  objects_->seal();
}
void MessageFloor::receive() {
  objects_->open();
  objects_->verify();
}

}  // namespace slipway::bench
