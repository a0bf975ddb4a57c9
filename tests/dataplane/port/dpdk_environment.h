#pragma once
// DPDK for a test program: started once, in a network namespace of its own where that is allowed.

#include <gtest/gtest.h>
#include <sched.h>

#include <cstdlib>
#include <memory>
#include <string>

#include "port/eal.h"
#include "port/pool.h"

namespace slipway::test {

class DpdkEnvironment : public ::testing::Environment {
 public:
  void SetUp() override {
    // Before DPDK makes its threads, so that all of them are inside.
    own_namespace = unshare(CLONE_NEWNET) == 0 && std::system("ip link set lo up") == 0;
    auto eal = Eal::start({.memory_bytes = 224u << 20, .huge_pages = HugePages::kNever});
    ASSERT_TRUE(eal.has_value()) << eal.error();
    eal_ = std::move(*eal);
  }
  void TearDown() override { eal_.reset(); }

  static inline bool own_namespace = false;

 private:
  std::unique_ptr<Eal> eal_;
};

// Runs a command; skips nothing and hides nothing.
inline bool sh(const std::string& command) { return std::system(command.c_str()) == 0; }

}  // namespace slipway::test
