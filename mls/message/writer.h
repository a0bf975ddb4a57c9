// Writes the presentation language of RFC 9420 (2.1), appending to a buffer of the caller's, whose
// capacity is kept between uses. Takes the same field lists as the Reader.
#pragma once

#include "crypto/vector_header.h"
#include "message/reader.h"

namespace slipway::mls {

// Buffer: Bytes, or SecretBytes for structs that hold secrets.
template <class Buffer>
class BasicWriter {
 public:
  static constexpr bool kReading = false;

  explicit BasicWriter(Buffer& out) : out_(out) {}

  template <class... T>
  void operator()(const T&... fields) {
    (write(fields), ...);
  }
  // A sender's own lists are bounded where they are made.
  template <class T, class L>
  void bounded(const T& field, L) {
    write(field);
  }

  void write_integer(uint64_t value, size_t size) {
    for (size_t i = size; i-- > 0;) {
      out_.push_back(static_cast<uint8_t>(value >> (8 * i)));
    }
  }
  void write_length(size_t length) {
    size_t at = out_.size();
    out_.resize(at + length_header_size(length));
    write_length_header(length, out_.data() + at);
  }
  void write_vector(View bytes) {
    write_length(bytes.size());
    write_bytes(bytes);
  }
  void write_bytes(View bytes) { out_.insert(out_.end(), bytes.begin(), bytes.end()); }

  // A vector whose length is known when it is written: note begin_vector(), write, end_vector().
  size_t begin_vector() {
    out_.resize(out_.size() + kReservedHeader);
    return out_.size();
  }
  void end_vector(size_t content) {
    size_t length = out_.size() - content;
    size_t spare = kReservedHeader - length_header_size(length);
    if (spare != 0) {
      std::memmove(out_.data() + content - spare, out_.data() + content, length);
      out_.resize(out_.size() - spare);
    }
    write_length_header(length, out_.data() + content - kReservedHeader);
  }

  size_t size() const { return out_.size(); }

 private:
  static constexpr size_t kReservedHeader = 4;

  template <class T>
  void write(const T& field) {
    if constexpr (internal::kIsNumber<T>) {
      write_integer(static_cast<uint64_t>(field), sizeof(T));
    } else if constexpr (internal::kIsList<T>) {
      size_t content = begin_vector();
      for (const auto& entry : field) {
        write(entry);
      }
      end_vector(content);
    } else if constexpr (internal::kIsListView<T>) {
      write_vector(field.encoded());
    } else if constexpr (internal::kIsByteArray<T>) {
      write_bytes(field);
    } else if constexpr (internal::kIsOptional<T>) {
      write_integer(field.has_value(), 1);
      if (field) {
        write(*field);
      }
    } else if constexpr (std::is_convertible_v<const T&, View>) {
      write_vector(field);
    } else {
      T::fields(*this, field);
    }
  }

  Buffer& out_;
};

using Writer = BasicWriter<Bytes>;
using SecretWriter = BasicWriter<SecretBytes>;

}  // namespace slipway::mls
