#include "crypto/secret.h"

#include <openssl/crypto.h>

namespace slipway::mls {

void wipe(MutableView bytes) {
  if (!bytes.empty()) {
    OPENSSL_cleanse(bytes.data(), bytes.size());
  }
}

bool equal_secret(View a, View b) {
  return a.size() == b.size() && CRYPTO_memcmp(a.data(), b.data(), a.size()) == 0;
}

Secret::Secret(View bytes) : size_(static_cast<uint8_t>(bytes.size())) {
  assert(bytes.size() <= kCapacity);
  std::copy(bytes.begin(), bytes.end(), data_);
}

Secret Secret::zeros(size_t size) {
  assert(size <= kCapacity);
  Secret secret;
  secret.size_ = static_cast<uint8_t>(size);
  std::memset(secret.data_, 0, size);
  return secret;
}

void Secret::wipe_own() {
  if (size_ != 0) {
    OPENSSL_cleanse(data_, size_);
    size_ = 0;
  }
}

void Secret::take(Secret& other) {
  size_ = other.size_;
  std::memcpy(data_, other.data_, size_);
  other.wipe_own();
}

}  // namespace slipway::mls
