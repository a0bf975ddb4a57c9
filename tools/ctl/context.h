#pragma once
// What every verb knows of its call.

#include <string>

#include "exit_code.h"

namespace slipway::ctl {

struct Context {
  std::string api;        // control API: unix:///PATH or tcp://HOST:PORT; empty: the default place
  std::string node;       // native address for pub, sub, bench
  bool json = false;
  int timeout_ms = 5'000;
};

// Prints a failure and returns its code as the process's.
int fail(const Context& context, const Failure& failure);
// Set by SIGINT and SIGTERM: verbs that go on end in good order.
[[nodiscard]] bool interrupted();
void catch_signals();

}  // namespace slipway::ctl
