// A list that stays in its encoded form and is decoded entry by entry while it is walked: a tree of
// thousands of nodes is read without an object for each.
#pragma once

#include "base/error.h"
#include "crypto/bytes.h"

namespace slipway::mls {

class Reader;
struct Limits;

// Content of a vector<T>, header taken off. Not checked until it is walked.
template <class T>
class ListView {
 public:
  ListView() = default;
  explicit ListView(View encoded, size_t limit = SIZE_MAX) : encoded_(encoded), limit_(limit) {}

  View encoded() const { return encoded_; }
  bool empty() const { return encoded_.empty(); }

  // f(T&& entry) for each; f returns Status, and the first error ends the walk. Defined in
  // message/codec.h.
  template <class F>
  Status for_each(F&& f, const Limits& limits) const;
  template <class F>
  Status for_each(F&& f) const;

 private:
  View encoded_;
  size_t limit_ = SIZE_MAX;
};

// A wire struct whose byte strings may be owned or borrowed is a template over one of these. The
// borrowed form lives no longer than the bytes that it was read from.
struct Owned {
  using String = Bytes;
  template <class T>
  using List = std::vector<T>;
};
struct Borrowed {
  using String = View;
  template <class T>
  using List = ListView<T>;
};

}  // namespace slipway::mls
