#pragma once
// The application of a session verb: who it is, by a shared secret or by JSON Web Tokens, and which nodes it is connected to.

#include <memory>
#include <string>

#include "app/blocking.h"
#include "arguments.h"

namespace slipway::ctl {

struct Ready {
  std::unique_ptr<BlockingApp> app;  // null: failed, and said so
  int code = 0;                      // then the process's
};
// Connected to all its nodes, and its name is printed.
Ready start_application(const Arguments& a, const std::string& name);

// Prints the error; the exit code that fits it.
int failed(const Arguments& a, const AppError& error);
// A line of JSON, or the text if there is one.
void say(const Arguments& a, const std::string& json, const std::string& text);

}  // namespace slipway::ctl
