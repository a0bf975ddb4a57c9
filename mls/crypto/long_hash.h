// A hash or HMAC over megabytes, some of it at a time: for operations that run in steps. Objects may move
// between threads; one at a time uses one.
#pragma once

#include <deque>
#include <memory>

#include "base/budget.h"
#include "crypto/hash.h"

namespace slipway::mls {

// Input in pieces, in order. Pieces longer than kCopied bytes are not copied: they stay where they are.
class LongInput {
 public:
  static constexpr size_t kCopied = 1024;
  void add(View piece);
  bool empty() const { return pieces_.empty(); }
  size_t size() const { return size_; }
  // What is left of the first piece; and taking some of it off.
  View front() const { return pieces_.front().view; }
  void drop(size_t size);

 private:
  struct Piece {
    Bytes owned;
    View view;
  };
  std::deque<Piece> pieces_;
  size_t size_ = 0;
};

class LongHash {
 public:
  explicit LongHash(KdfId algorithm);
  // HMAC.
  LongHash(KdfId algorithm, View key);
  ~LongHash();
  LongHash(LongHash&&) noexcept;
  LongHash& operator=(LongHash&&) noexcept;

  // As LongInput takes it.
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
