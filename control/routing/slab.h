#pragma once
// Arrays of the control thread that grow without moving: address space is reserved once for the most there can
// be, the kernel backs what is touched. No copy at growth, so that the millionth subscription costs what the
// first did. Single owner.

#include <sys/mman.h>

#include <cassert>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <type_traits>
#include <utility>

namespace slipway {

template <class T>
class Growable {
  static_assert(std::is_trivially_copyable_v<T>);

 public:
  Growable() = default;
  explicit Growable(std::size_t max) : max_(max) {
    void* at = mmap(nullptr, max * sizeof(T), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    data_ = at == MAP_FAILED ? nullptr : static_cast<T*>(at);
  }
  Growable(Growable&& from) noexcept
      : data_(std::exchange(from.data_, nullptr)), max_(from.max_), size_(std::exchange(from.size_, 0)) {}
  Growable& operator=(Growable&& from) noexcept {
    std::swap(data_, from.data_);
    std::swap(max_, from.max_);
    std::swap(size_, from.size_);
    return *this;
  }
  ~Growable() {
    if (data_ != nullptr) {
      munmap(data_, max_ * sizeof(T));
    }
  }

  [[nodiscard]] bool valid() const { return data_ != nullptr; }
  [[nodiscard]] std::size_t size() const { return size_; }
  [[nodiscard]] std::size_t max() const { return max_; }
  [[nodiscard]] std::size_t bytes() const { return size_ * sizeof(T); }
  // Elements that were never written are zero.
  void resize(std::size_t size) {
    assert(size >= size_ && size <= max_);
    size_ = size;
  }
  T& operator[](std::size_t i) {
    assert(i < size_);
    return data_[i];
  }
  const T& operator[](std::size_t i) const {
    assert(i < size_);
    return data_[i];
  }

 private:
  T* data_ = nullptr;
  std::size_t max_ = 0;
  std::size_t size_ = 0;
};

// Records with numbers from 1 that are given out and taken back. 0 means none.
template <class T>
class Slab {
  static_assert(sizeof(T) >= sizeof(std::uint32_t));

 public:
  Slab() = default;
  explicit Slab(std::size_t max) : items_(max + 1) {
    if (items_.valid()) {
      items_.resize(1);
    }
  }
  [[nodiscard]] bool valid() const { return items_.valid(); }
  [[nodiscard]] bool full() const { return free_ == 0 && items_.size() == items_.max(); }
  [[nodiscard]] std::uint32_t in_use() const { return in_use_; }
  [[nodiscard]] std::uint32_t high_water() const { return static_cast<std::uint32_t>(items_.size()); }
  [[nodiscard]] std::size_t bytes() const { return items_.bytes(); }

  // The caller has asked full().
  std::uint32_t take() {
    ++in_use_;
    std::uint32_t index = free_;
    if (index != 0) {
      std::memcpy(&free_, &items_[index], sizeof free_);
    } else {
      index = static_cast<std::uint32_t>(items_.size());
      items_.resize(index + 1);
    }
    items_[index] = T{};
    return index;
  }
  void give_back(std::uint32_t index) {
    assert(index != 0 && in_use_ != 0);
    --in_use_;
    items_[index] = T{};
    std::memcpy(static_cast<void*>(&items_[index]), &free_, sizeof free_);
    free_ = index;
  }
  T& operator[](std::uint32_t index) { return items_[index]; }
  const T& operator[](std::uint32_t index) const { return items_[index]; }

 private:
  Growable<T> items_;
  std::uint32_t free_ = 0;
  std::uint32_t in_use_ = 0;
};

}  // namespace slipway
