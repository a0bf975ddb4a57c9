#include <gtest/gtest.h>

#include "dpdk_environment.h"

// DPDK's af_xdp driver does not give its memory area back to libxdp when a port is closed.
extern "C" const char* __lsan_default_suppressions();
extern "C" const char* __lsan_default_suppressions() { return "leak:xsk_umem__create"; }

int main(int argc, char** argv) {
  ::testing::InitGoogleTest(&argc, argv);
  ::testing::AddGlobalTestEnvironment(new slipway::test::DpdkEnvironment);
  return RUN_ALL_TESTS();
}
