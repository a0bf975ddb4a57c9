// Counts what the process takes from the heap: at malloc, so that shared libraries are seen too, and at operator new by
// itself. A program that links support_dep has its calls counted while count_allocations(true) holds. Any thread.
#pragma once

#include <cstdint>

namespace slipway::test {

// Sanitizers bring a malloc of their own, which is left alone: nothing is counted, and a test skips.
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
inline constexpr bool kCountsAllocations = false;
#else
inline constexpr bool kCountsAllocations = true;
#endif

struct AllocationCount {
  std::uint64_t all = 0;     // malloc, calloc, realloc, and operator new, which calls them
  std::uint64_t by_new = 0;  // operator new: the program's own C++, not its C libraries
};

void count_allocations(bool on);
AllocationCount allocations_counted();
void forget_allocations();

}  // namespace slipway::test
