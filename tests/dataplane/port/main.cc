#include <gtest/gtest.h>

#include "dpdk_environment.h"

int main(int argc, char** argv) {
  ::testing::InitGoogleTest(&argc, argv);
  ::testing::AddGlobalTestEnvironment(new slipway::test::DpdkEnvironment);
  return RUN_ALL_TESTS();
}
