// The guide's code, run. The generated header is control/app/README.md's blocks.

#include <gtest/gtest.h>

#include <cassert>

#include "../client/fake_node.h"
#include "guide_blocks.h"

namespace {

constexpr const char* kSecret = "a-shared-secret-of-at-least-32-bytes!!";

class Guide : public testing::Test {
 protected:
  slipway::FakeNode node_;
};

TEST_F(Guide, Unicast) { unicast(node_.tcp(), kSecret); }
TEST_F(Guide, Multicast) { multicast(node_.tcp(), kSecret); }
TEST_F(Guide, Anycast) { anycast(node_.tcp(), kSecret); }
TEST_F(Guide, Callbacks) { callbacks(node_.tcp(), kSecret); }

}  // namespace
