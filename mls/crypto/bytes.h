// Byte strings: owned, borrowed, and short ones without an allocation.
#pragma once

#include <algorithm>
#include <cassert>
#include <cstdint>
#include <cstring>
#include <span>
#include <string_view>
#include <vector>

namespace slipway::mls {

using Bytes = std::vector<uint8_t>;
using View = std::span<const uint8_t>;
using MutableView = std::span<uint8_t>;

inline View as_view(std::string_view text) {
  return {reinterpret_cast<const uint8_t*>(text.data()), text.size()};
}
inline std::string_view as_text(View bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}
inline Bytes to_bytes(View bytes) { return Bytes(bytes.begin(), bytes.end()); }

// For public values; secrets and tags are compared with equal_secret (crypto/secret.h).
inline bool equal(View a, View b) {
  return a.size() == b.size() && (a.empty() || std::memcmp(a.data(), b.data(), a.size()) == 0);
}

inline void append(Bytes& out, View bytes) { out.insert(out.end(), bytes.begin(), bytes.end()); }

// Up to N bytes held inline: hashes, public keys, nonces, signatures. Not for secrets.
template <size_t N>
class InlineBytes {
 public:
  static constexpr size_t kCapacity = N;

  InlineBytes() = default;
  explicit InlineBytes(View bytes) { assign(bytes); }
  // Bytes beyond the old size read as zero.
  static InlineBytes with_size(size_t size) {
    InlineBytes bytes;
    bytes.resize(size);
    return bytes;
  }

  void assign(View bytes) {
    assert(bytes.size() <= N);
    size_ = static_cast<uint8_t>(bytes.size());
    std::copy(bytes.begin(), bytes.end(), data_);
  }
  void resize(size_t size) {
    assert(size <= N);
    if (size > size_) {
      std::memset(data_ + size_, 0, size - size_);
    }
    size_ = static_cast<uint8_t>(size);
  }

  size_t size() const { return size_; }
  bool empty() const { return size_ == 0; }
  const uint8_t* data() const { return data_; }
  uint8_t* data() { return data_; }
  MutableView mutable_view() { return {data_, size_}; }
  operator View() const { return {data_, size_}; }  // NOLINT: it is one

  friend bool operator==(const InlineBytes& a, const InlineBytes& b) { return equal(a, b); }

 private:
  static_assert(N <= 255);
  uint8_t size_ = 0;
  uint8_t data_[N];
};

inline constexpr size_t kMaxHashBytes = 64;        // SHA-512
inline constexpr size_t kMaxPublicKeyBytes = 133;  // P-521, uncompressed
inline constexpr size_t kMaxSignatureBytes = 144;  // DER of P-521 takes 139
inline constexpr size_t kAeadNonceBytes = 12;      // all suites
inline constexpr size_t kAeadTagBytes = 16;        // all suites

using HashValue = InlineBytes<kMaxHashBytes>;
using PublicKeyBytes = InlineBytes<kMaxPublicKeyBytes>;
using Signature = InlineBytes<kMaxSignatureBytes>;

}  // namespace slipway::mls
