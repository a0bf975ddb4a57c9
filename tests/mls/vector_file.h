// Runs one file of tests/vectors/mls in a test, and says how many entries of which suite passed.
#pragma once

#include <gtest/gtest.h>

#include <cstdio>
#include <string>

#include "vectors/vectors.h"

namespace slipway::mls {

inline void expect_vectors_pass(const std::string& file, size_t entries) {
  vectors::FileReport report = vectors::run_file(std::string(SLIPWAY_MLS_VECTORS "/") + file);
  for (const vectors::SuiteCount& count : report.suites) {
    std::printf("%s, suite %u: %zu passed, %zu failed\n", file.c_str(), count.suite, count.passed,
                count.failed);
    testing::Test::RecordProperty("suite_" + std::to_string(count.suite), std::to_string(count.passed));
  }
  for (const std::string& message : report.messages) {
    ADD_FAILURE() << file << ", " << message;
  }
  EXPECT_EQ(report.passed(), entries);
  EXPECT_EQ(report.failed(), 0u);
}

}  // namespace slipway::mls
