// The guide's code, run. The generated header is control/app/README.md's blocks.

#include <gtest/gtest.h>

#include <cassert>
#include <filesystem>
#include <fstream>

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
TEST_F(Guide, Restore) {
  std::string folder = (std::filesystem::temp_directory_path() / "slipway-guide-XXXXXX").string();
  ASSERT_NE(mkdtemp(folder.data()), nullptr);
  const auto before = std::filesystem::current_path();
  std::filesystem::current_path(folder);
  std::ofstream("alice.key") << std::string(32, 'k');
  std::filesystem::permissions("alice.key", std::filesystem::perms::owner_read | std::filesystem::perms::owner_write);
  restore(node_.tcp(), kSecret);
  std::filesystem::current_path(before);
  std::filesystem::remove_all(folder);
}
TEST_F(Guide, Callbacks) { callbacks(node_.tcp(), kSecret); }

}  // namespace
