// Reads the presentation language of RFC 9420 (2.1), strictly: a vector lies inside its parent, its
// header is the shortest form, an optional is 0 or 1, and lists are bounded before they allocate.
//
// Errors stick: after the first, every read gives zeros and empty vectors, so that field lists need
// no checks; whoever made the Reader asks for status() at the end. decode() in message/codec.h does.
#pragma once

#include <array>
#include <optional>
#include <type_traits>
#include <vector>

#include "base/error.h"
#include "base/limits.h"
#include "crypto/secret.h"
#include "message/list_view.h"

namespace slipway::mls {

class Reader {
 public:
  static constexpr bool kReading = true;

  // `limits` must outlive the Reader.
  explicit Reader(View input, const Limits& limits = kDefaultLimits)
      : position_(input.data()), end_(input.data() + input.size()), limits_(&limits) {}

  // Fields in order: integers and enumerations (big-endian), byte strings and lists (as vectors with
  // a length header), std::array of bytes (bare), optionals, and structs with a field list.
  template <class... T>
  void operator()(T&... fields) {
    (read(fields), ...);
  }
  // The same with an upper bound on bytes or entries.
  template <class T>
  void bounded(T& field, size_t Limits::*limit) {
    read_bounded(field, limits_->*limit);
  }
  template <class T>
  void bounded(T& field, size_t limit) {
    read_bounded(field, limit);
  }

  uint64_t read_integer(size_t size);
  // Header of 1, 2 or 4 bytes (2.1.2); fails unless that many bytes follow.
  size_t read_length();
  View read_vector() { return read_bytes(read_length()); }
  View read_bytes(size_t size);

  bool ok() const { return !error_; }
  bool at_end() const { return position_ == end_; }
  size_t remaining() const { return static_cast<size_t>(end_ - position_); }
  // What is not read yet; to know how much a field took, compare before and after.
  View rest() const { return {position_, remaining()}; }
  const Limits& limits() const { return *limits_; }

  void fail(ErrorCode code, const char* text);
  Status status() const;
  // Also fails if bytes are left.
  Status finish();

 private:
  template <class T>
  void read(T& field);
  template <class T>
  void read_bounded(T& field, size_t limit);
  template <class T>
  void read_list(std::vector<T>& list, size_t limit);

  const uint8_t* position_;
  const uint8_t* end_;
  const Limits* limits_;
  std::optional<Error> error_;
};

namespace internal {
template <class T>
inline constexpr bool kIsList = false;
template <class T>
inline constexpr bool kIsList<std::vector<T>> = !std::is_same_v<T, uint8_t>;
template <class T>
inline constexpr bool kIsOptional = false;
template <class T>
inline constexpr bool kIsOptional<std::optional<T>> = true;
template <class T>
inline constexpr bool kIsByteArray = false;
template <size_t N>
inline constexpr bool kIsByteArray<std::array<uint8_t, N>> = true;
template <class T>
inline constexpr bool kIsListView = false;
template <class T>
inline constexpr bool kIsListView<ListView<T>> = true;
template <class T>
inline constexpr bool kIsByteString = std::is_same_v<T, Bytes> || std::is_same_v<T, View> ||
                                      std::is_same_v<T, SecretBytes>;
template <class T>
inline constexpr bool kIsNumber =
    (std::is_integral_v<T> && !std::is_same_v<T, bool>) || std::is_enum_v<T>;
}  // namespace internal

template <class T>
void Reader::read(T& field) {
  if constexpr (internal::kIsNumber<T>) {
    field = static_cast<T>(read_integer(sizeof(T)));
  } else if constexpr (internal::kIsByteString<T> || internal::kIsList<T> ||
                       internal::kIsListView<T>) {
    read_bounded(field, SIZE_MAX);
  } else if constexpr (internal::kIsByteArray<T>) {
    View bytes = read_bytes(field.size());
    field.fill(0);
    std::copy(bytes.begin(), bytes.end(), field.begin());
  } else if constexpr (internal::kIsOptional<T>) {
    field.reset();
    switch (read_integer(1)) {
      case 0: break;
      case 1: read(field.emplace()); break;
      default: fail(ErrorCode::kMalformed, "reading an optional: neither 0 nor 1");
    }
  } else {
    std::remove_const_t<T>::fields(*this, field);
  }
}

template <class T>
void Reader::read_bounded(T& field, size_t limit) {
  if constexpr (internal::kIsList<T>) {
    read_list(field, limit);
  } else {
    View bytes = read_vector();
    if constexpr (internal::kIsListView<T>) {
      field = T(bytes, limit);  // entries are counted and checked when they are walked
    } else {
      if (bytes.size() > limit) {
        fail(ErrorCode::kTooLarge, "reading a byte string: longer than its bound");
        bytes = {};
      }
      if constexpr (std::is_same_v<T, View>) {
        field = bytes;
      } else {
        field.assign(bytes.begin(), bytes.end());
      }
    }
  }
}

template <class T>
void Reader::read_list(std::vector<T>& list, size_t limit) {
  list.clear();
  size_t length = read_length();
  if constexpr (internal::kIsNumber<T>) {
    if (length % sizeof(T) != 0) {
      fail(ErrorCode::kMalformed, "reading a list of numbers: cut inside an entry");
      return;
    }
    if (length / sizeof(T) > limit) {
      fail(ErrorCode::kTooMany, "reading a list: more entries than its bound");
      return;
    }
    list.reserve(length / sizeof(T));
  }
  // The list's entries must end exactly where it does: read them with the end drawn in.
  const uint8_t* parent_end = end_;
  end_ = position_ + length;
  while (ok() && !at_end()) {
    if (list.size() >= limit) {
      fail(ErrorCode::kTooMany, "reading a list: more entries than its bound");
      break;
    }
    read(list.emplace_back());
  }
  end_ = parent_end;
  if (!ok()) {
    list.clear();
    position_ = end_;
  }
}

}  // namespace slipway::mls
