#include "crypto/aead.h"

#include <climits>

#include "crypto/secret.h"
#include "crypto/thread_contexts.h"

namespace slipway::mls {
namespace {

bool sizes_fit(const Suite& suite, View key, View nonce, size_t text) {
  return key.size() == suite.aead_key_size && nonce.size() == kAeadNonceBytes &&
         text <= INT_MAX - kAeadTagBytes;
}

}  // namespace

Status aead_seal(const Suite& suite, View key, View nonce, std::initializer_list<View> aad,
                 View plaintext, MutableView out) {
  if (!sizes_fit(suite, key, nonce, plaintext.size()) ||
      out.size() != plaintext.size() + kAeadTagBytes) {
    return fail(ErrorCode::kInvalidArgument, "sealing: a length does not fit the suite");
  }
  EVP_CIPHER_CTX* context = internal::contexts().seal[static_cast<size_t>(suite.aead)].get();
  int written = 0;
  bool good = EVP_EncryptInit_ex2(context, nullptr, key.data(), nonce.data(), nullptr) == 1;
  for (View piece : aad) {
    good = good && (piece.empty() || EVP_EncryptUpdate(context, nullptr, &written, piece.data(),
                                                       static_cast<int>(piece.size())) == 1);
  }
  good = good && (plaintext.empty() ||
                  EVP_EncryptUpdate(context, out.data(), &written, plaintext.data(),
                                    static_cast<int>(plaintext.size())) == 1);
  uint8_t* tag = out.data() + plaintext.size();
  good = good && EVP_EncryptFinal_ex(context, tag, &written) == 1 &&
         EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_AEAD_GET_TAG, kAeadTagBytes, tag) == 1;
  if (!good) {
    wipe(out);
    internal::forget_library_errors();
    return fail(ErrorCode::kCryptoFailure, "sealing: the library refused");
  }
  return {};
}

Status aead_open(const Suite& suite, View key, View nonce, std::initializer_list<View> aad,
                 View ciphertext, MutableView out) {
  if (ciphertext.size() < kAeadTagBytes) {
    wipe(out);
    return fail(ErrorCode::kDecryptionFailed, "opening a ciphertext: shorter than its tag");
  }
  size_t size = ciphertext.size() - kAeadTagBytes;
  if (!sizes_fit(suite, key, nonce, size) || out.size() != size) {
    return fail(ErrorCode::kInvalidArgument, "opening a ciphertext: a length does not fit the suite");
  }
  EVP_CIPHER_CTX* context = internal::contexts().open[static_cast<size_t>(suite.aead)].get();
  int written = 0;
  // The library takes the tag as not const, but only reads it.
  void* tag = const_cast<uint8_t*>(ciphertext.data() + size);
  bool good = EVP_DecryptInit_ex2(context, nullptr, key.data(), nonce.data(), nullptr) == 1 &&
              EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_AEAD_SET_TAG, kAeadTagBytes, tag) == 1;
  for (View piece : aad) {
    good = good && (piece.empty() || EVP_DecryptUpdate(context, nullptr, &written, piece.data(),
                                                       static_cast<int>(piece.size())) == 1);
  }
  good = good && (size == 0 || EVP_DecryptUpdate(context, out.data(), &written, ciphertext.data(),
                                                 static_cast<int>(size)) == 1);
  uint8_t nothing[kAeadTagBytes];
  if (!good || EVP_DecryptFinal_ex(context, nothing, &written) != 1) {
    wipe(out);
    internal::forget_library_errors();
    return fail(ErrorCode::kDecryptionFailed, "opening a ciphertext: wrong key, or forged");
  }
  return {};
}

}  // namespace slipway::mls
