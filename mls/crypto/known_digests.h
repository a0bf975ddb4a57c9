// EdDSA over megabytes in bounded pieces. For the files of this folder only.
//
// The library signs and verifies with EdDSA in one call, which hashes the whole message once or twice: some ms a
// megabyte. Here it runs in a library context of our own, whose hash functions look at what they are given: a
// short beginning and then the very message that was announced. Is the hash of both known, the call goes on with
// it. Otherwise the call fails and leaves the beginning here; the hash is made in steps, and the call tried again.
// Signing takes three attempts, verifying two. The library computes all else, and no attempt but the last gives
// out anything.
#pragma once

#include <openssl/types.h>

#include <optional>
#include <vector>

#include "base/budget.h"
#include "crypto/secret.h"
#include "crypto/thread_contexts.h"

namespace slipway::mls::internal {

class KnownDigests {
 public:
  // `message` stays where it is.
  explicit KnownDigests(View message) : message_(message) {}

  // The library context that such calls must run in: kept for the process. Null if it cannot be made.
  static OSSL_LIB_CTX* library();

  // While this lives, calls of this thread in library() find the known hashes.
  class Use {
   public:
    explicit Use(KnownDigests& known);
    ~Use();
    Use(const Use&) = delete;
    Use& operator=(const Use&) = delete;
  };

  // Whether a call failed because it lacks a hash.
  bool lacks_one() const { return wanted_.has_value(); }
  // Goes on with the hash that is lacking; true when it is known.
  bool hash_some(Budget& budget);

  // ---- For the hash functions.
  bool is_message(View input) const {
    return input.data() == message_.data() && input.size() == message_.size();
  }
  // Puts the state after `beginning` and message into `context`. False if it is not known: noted as lacking.
  bool recall(const EVP_MD* algorithm, View beginning, EVP_MD_CTX* context);
  static KnownDigests* in_use();

 private:
  struct Known {
    const EVP_MD* algorithm;
    SecretBytes beginning;  // may hold a part of a private key
    MdContext state;
  };

  View message_;
  std::vector<Known> known_;
  std::optional<Known> wanted_;
  size_t hashed_ = 0;  // bytes of the message, for wanted_
};

}  // namespace slipway::mls::internal
