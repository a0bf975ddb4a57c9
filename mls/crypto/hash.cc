#include "crypto/hash.h"

#include "crypto/hmac.h"
#include "crypto/vector_header.h"

namespace slipway::mls {
namespace internal {
namespace {

void check(int result) {
  if (result != 1) {
    give_up("hashing");
  }
}

EVP_MD_CTX* start(KdfId algorithm) {
  EVP_MD_CTX* context = contexts().digest[static_cast<size_t>(algorithm)].get();
  check(EVP_DigestInit_ex2(context, nullptr, nullptr));
  return context;
}

}  // namespace

Hmac::Hmac(KdfId algorithm, View key)
    : Hmac(contexts().digest[static_cast<size_t>(algorithm)].get(), algorithm, key) {}

Hmac::Hmac(EVP_MD_CTX* context, KdfId algorithm, View key)
    : context_(context),
      block_(algorithm == KdfId::kSha256 ? 64 : 128) {
  pad_.fill(0);
  if (key.size() > block_) {
    check(EVP_DigestInit_ex2(context_, nullptr, nullptr));
    check(EVP_DigestUpdate(context_, key.data(), key.size()));
    check(EVP_DigestFinal_ex(context_, pad_.data(), nullptr));
  } else {
    std::copy(key.begin(), key.end(), pad_.begin());
  }
  flip_pad(0x36);
  check(EVP_DigestInit_ex2(context_, nullptr, nullptr));
  check(EVP_DigestUpdate(context_, pad_.data(), block_));
}

void Hmac::flip_pad(uint8_t with) {
  for (size_t i = 0; i < block_; ++i) {
    pad_[i] ^= with;
  }
}

void Hmac::update(View piece) {
  if (!piece.empty()) {
    check(EVP_DigestUpdate(context_, piece.data(), piece.size()));
  }
}

void Hmac::finish(uint8_t* out) {
  std::array<uint8_t, kMaxHashBytes> inner;
  unsigned size = 0;
  check(EVP_DigestFinal_ex(context_, inner.data(), &size));
  flip_pad(0x36 ^ 0x5c);
  check(EVP_DigestInit_ex2(context_, nullptr, nullptr));
  check(EVP_DigestUpdate(context_, pad_.data(), block_));
  check(EVP_DigestUpdate(context_, inner.data(), size));
  check(EVP_DigestFinal_ex(context_, out, nullptr));
  wipe(inner);
}

}  // namespace internal

HashValue hash(KdfId algorithm, Pieces input) {
  EVP_MD_CTX* context = internal::start(algorithm);
  for (View piece : input) {
    if (!piece.empty()) {
      internal::check(EVP_DigestUpdate(context, piece.data(), piece.size()));
    }
  }
  auto out = HashValue::with_size(internal::digest_size(algorithm));
  internal::check(EVP_DigestFinal_ex(context, out.data(), nullptr));
  return out;
}

void hmac(KdfId algorithm, View key, Pieces input, MutableView out) {
  assert(out.size() == internal::digest_size(algorithm));
  internal::Hmac running(algorithm, key);
  for (View piece : input) {
    running.update(piece);
  }
  running.finish(out.data());
}

HashValue mac(const Suite& suite, View key, Pieces input) {
  auto out = HashValue::with_size(suite.hash_size);
  hmac(suite.kdf, key, input, out.mutable_view());
  return out;
}

HashValue ref_hash(const Suite& suite, std::string_view label, View value) {
  return hash(suite, {length_header(label.size()), as_view(label), length_header(value.size()), value});
}

}  // namespace slipway::mls
