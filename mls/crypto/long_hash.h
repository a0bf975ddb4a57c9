// A hash or HMAC over megabytes, some of it at a time: for operations that run in steps. Objects may move
// between threads; one at a time uses one.
#pragma once

#include <memory>

#include "base/budget.h"
#include "crypto/hash.h"

namespace slipway::mls {

class LongHash {
 public:
  explicit LongHash(KdfId algorithm);
  // HMAC.
  LongHash(KdfId algorithm, View key);
  ~LongHash();
  LongHash(LongHash&&) noexcept;
  LongHash& operator=(LongHash&&) noexcept;

  // Input, in order. Pieces longer than kCopied bytes are not copied: they stay where they are until done.
  static constexpr size_t kCopied = 1024;
  LongHash& add(View piece);

  // True when all that was added is hashed.
  bool step(Budget& budget);
  // Once, after step() has said true.
  HashValue finish();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace slipway::mls
