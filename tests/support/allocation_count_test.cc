// The counter itself: it sees malloc and operator new while it is on, and nothing otherwise.
#include "allocation_count.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <new>

namespace slipway::test {
namespace {

void* volatile kept;  // no compiler leaves such an allocation out

void take_both() {
  kept = std::malloc(100);
  std::free(kept);
  kept = ::operator new(100);
  ::operator delete(kept);
}

TEST(AllocationCount, SeesBothKindsWhileItIsOn) {
  if (!kCountsAllocations) {
    GTEST_SKIP() << "a sanitizer owns malloc";
  }
  forget_allocations();
  take_both();
  EXPECT_EQ(allocations_counted().all, 0u);
  count_allocations(true);
  take_both();
  count_allocations(false);
  take_both();
  EXPECT_EQ(allocations_counted().by_new, 1u);
  EXPECT_EQ(allocations_counted().all, 2u);
  forget_allocations();
  EXPECT_EQ(allocations_counted().all, 0u);
}

}  // namespace
}  // namespace slipway::test
