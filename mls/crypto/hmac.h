// HMAC on a digest context: half the cost of the library's own. For the files of this folder only.
#pragma once

#include "crypto/hash.h"
#include "crypto/thread_contexts.h"

namespace slipway::mls::internal {

// Input may come in pieces between construction and finish(). Without a context of its own it uses the
// thread's of that algorithm: one at a time.
class Hmac {
 public:
  Hmac(KdfId algorithm, View key);
  // On a context of the caller's, set up for that algorithm.
  Hmac(EVP_MD_CTX* context, KdfId algorithm, View key);
  ~Hmac() { wipe(pad_); }
  Hmac(const Hmac&) = delete;
  Hmac& operator=(const Hmac&) = delete;

  void update(View piece);
  // `out` has the digest's size.
  void finish(uint8_t* out);

 private:
  static constexpr size_t kMaxBlock = 128;
  void flip_pad(uint8_t with);

  EVP_MD_CTX* context_;
  size_t block_;
  std::array<uint8_t, kMaxBlock> pad_;
};

}  // namespace slipway::mls::internal
