#include "edge/secret32.h"

#include <openssl/crypto.h>

#include <algorithm>

namespace slipway {

Secret32::Secret32(std::span<const std::byte, kSecretBytes> bytes) { std::ranges::copy(bytes, bytes_.begin()); }
Secret32::~Secret32() { OPENSSL_cleanse(bytes_.data(), bytes_.size()); }

}  // namespace slipway
