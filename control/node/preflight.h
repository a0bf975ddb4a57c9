#pragma once
// Whether this machine can run the node, and what repairs it where it cannot: `slipwayd --preflight`, `slipwayctl
// preflight`, and the node's own errors. Reads /proc and /sys, makes and removes a ring. Any thread.

#include <string>
#include <vector>

#include "node/settings.h"

namespace slipway {

enum class CheckResult { kGood, kNotice, kBad };  // kNotice: runs, but slower or with less

struct Check {
  std::string name;      // stable: io_uring, huge_pages, ...
  CheckResult result = CheckResult::kGood;
  std::string found;     // what is there
  std::string repair;    // a command, where something is to be repaired
};

// Reads files below `root` instead of / (tests).
std::vector<Check> preflight(const NodeSettings& settings, const std::string& root = "");
// One line a check; true when nothing is bad.
bool preflight_text(const std::vector<Check>& checks, std::string& out);

}  // namespace slipway
