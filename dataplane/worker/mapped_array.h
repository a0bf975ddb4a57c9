#pragma once
// An array of zeroes that costs memory only where it is touched: tables by link index have room for all links, and
// most nodes have few. Made before the threads start.

#include <sys/mman.h>

#include <cstddef>
#include <span>
#include <type_traits>
#include <utility>

namespace slipway {

template <class T>
  requires std::is_trivially_destructible_v<T>
class MappedArray {
 public:
  MappedArray() = default;
  explicit MappedArray(std::size_t count) : count_(count) {
    void* at = mmap(nullptr, count * sizeof(T), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    items_ = at == MAP_FAILED ? nullptr : static_cast<T*>(at);
  }
  MappedArray(MappedArray&& from) noexcept : items_(std::exchange(from.items_, nullptr)), count_(from.count_) {}
  MappedArray& operator=(MappedArray&& from) noexcept {
    std::swap(items_, from.items_);
    std::swap(count_, from.count_);
    return *this;
  }
  ~MappedArray() {
    if (items_ != nullptr) {
      munmap(items_, count_ * sizeof(T));
    }
  }

  [[nodiscard]] bool ok() const { return items_ != nullptr; }  // false: the kernel gave no address space
  [[nodiscard]] T* data() const { return items_; }
  [[nodiscard]] std::size_t size() const { return count_; }
  [[nodiscard]] T& operator[](std::size_t i) const { return items_[i]; }
  [[nodiscard]] std::span<T> span() const { return {items_, count_}; }

 private:
  T* items_ = nullptr;
  std::size_t count_ = 0;
};

}  // namespace slipway
