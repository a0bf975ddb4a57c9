#include "context.h"

#include <signal.h>

#include <cstdio>
#include <nlohmann/json.hpp>

namespace slipway::ctl {
namespace {

volatile sig_atomic_t signalled = 0;

}  // namespace

int fail(const Context& context, const Failure& failure) {
  if (context.json) {
    const nlohmann::json out = {{"error", failure.error}, {"try", failure.remedy}, {"exit_code", static_cast<int>(failure.code)}};
    std::fprintf(stderr, "%s\n", out.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace).c_str());
  } else {
    std::fprintf(stderr, "slipwayctl: %s\n", failure.error.c_str());
    if (!failure.remedy.empty()) {
      std::fprintf(stderr, "slipwayctl: try: %s\n", failure.remedy.c_str());
    }
  }
  return static_cast<int>(failure.code);
}

bool interrupted() { return signalled != 0; }

void catch_signals() {
  struct sigaction action {};
  action.sa_handler = [](int) { signalled = 1; };
  sigaction(SIGINT, &action, nullptr);  // no SA_RESTART: a waiting call returns
  sigaction(SIGTERM, &action, nullptr);
  signal(SIGPIPE, SIG_IGN);
}

}  // namespace slipway::ctl
