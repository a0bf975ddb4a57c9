#include "allocation_count.h"

#include <atomic>
#include <cstdlib>
#include <new>

namespace {

std::atomic<bool> counting{false};
std::atomic<std::uint64_t> all{0};
std::atomic<std::uint64_t> by_new{0};

[[maybe_unused]] void note(std::atomic<std::uint64_t>& count) {
  if (counting.load(std::memory_order_relaxed)) {
    count.fetch_add(1, std::memory_order_relaxed);
  }
}

}  // namespace

#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
// The C library's own, under our names: every allocation of the process comes by here.
extern "C" {
void* __libc_malloc(std::size_t);
void* __libc_calloc(std::size_t, std::size_t);
void* __libc_realloc(void*, std::size_t);
void* malloc(std::size_t n) {
  note(all);
  return __libc_malloc(n);
}
void* calloc(std::size_t n, std::size_t m) {
  note(all);
  return __libc_calloc(n, m);
}
void* realloc(void* p, std::size_t n) {
  note(all);
  return __libc_realloc(p, n);
}
}

void* operator new(std::size_t n) {
  note(by_new);
  if (void* memory = std::malloc(n != 0 ? n : 1)) {
    return memory;
  }
  throw std::bad_alloc();
}
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t) noexcept { std::free(memory); }
#endif

namespace slipway::test {

void count_allocations(bool on) { counting = on; }
AllocationCount allocations_counted() { return {.all = all, .by_new = by_new}; }
void forget_allocations() { all = by_new = 0; }

}  // namespace slipway::test
