// Secrets: bytes that are wiped when they are moved from, assigned over, or die.
#pragma once

#include <cstddef>
#include <memory>

#include "crypto/bytes.h"

namespace slipway::mls {

void wipe(MutableView bytes);
// In constant time for equal lengths; the length itself is no secret.
bool equal_secret(View a, View b);

// A secret of up to 72 bytes, held inline: hashes of 64 and P-521 keys of 66 fit. Move-only, so that
// each copy in memory is one that somebody asked for with clone(). Nothing prints or formats it.
class Secret {
 public:
  static constexpr size_t kCapacity = 72;

  Secret() = default;
  explicit Secret(View bytes);
  static Secret zeros(size_t size);
  ~Secret() { wipe_own(); }
  Secret(Secret&& other) noexcept { take(other); }
  Secret& operator=(Secret&& other) noexcept {
    if (this != &other) {
      wipe_own();
      take(other);
    }
    return *this;
  }
  Secret(const Secret&) = delete;
  Secret& operator=(const Secret&) = delete;

  Secret clone() const { return Secret(View(*this)); }
  void clear() { wipe_own(); }

  size_t size() const { return size_; }
  bool empty() const { return size_ == 0; }
  const uint8_t* data() const { return data_; }
  uint8_t* data() { return data_; }
  MutableView mutable_view() { return {data_, size_}; }
  operator View() const { return {data_, size_}; }  // NOLINT: it is one

  friend bool operator==(const Secret& a, const Secret& b) { return equal_secret(a, b); }

 private:
  void wipe_own();
  void take(Secret& other);

  uint8_t size_ = 0;
  uint8_t data_[kCapacity];
};

// Wipes what it gives back: for secrets whose length is not known beforehand.
template <class T>
struct WipingAllocator {
  using value_type = T;
  WipingAllocator() = default;
  template <class U>
  WipingAllocator(const WipingAllocator<U>&) {}  // NOLINT: as allocators are
  T* allocate(size_t n) { return std::allocator<T>().allocate(n); }
  void deallocate(T* p, size_t n) {
    wipe({reinterpret_cast<uint8_t*>(p), n * sizeof(T)});
    std::allocator<T>().deallocate(p, n);
  }
  friend bool operator==(const WipingAllocator&, const WipingAllocator&) { return true; }
};
using SecretBytes = std::vector<uint8_t, WipingAllocator<uint8_t>>;

// Wipes a buffer at the end of a scope, on every way out.
class WipeGuard {
 public:
  explicit WipeGuard(Bytes& bytes) : bytes_(bytes) {}
  ~WipeGuard() { wipe(bytes_); }
  WipeGuard(const WipeGuard&) = delete;
  WipeGuard& operator=(const WipeGuard&) = delete;

 private:
  Bytes& bytes_;
};

}  // namespace slipway::mls
