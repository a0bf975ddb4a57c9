// slipwayctl: parses the command line, runs one verb, ends with its exit code.

#include <cstdio>

#include "command_tree.h"
#include "context.h"

int main(int argc, char** argv) {
  using namespace slipway::ctl;
  Arguments arguments;
  std::function<int()> run;
  const auto tree = make_command_tree(&arguments, &run);
  try {
    tree->parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    // Help and version are no errors; all else is wrong usage.
    return tree->exit(error) == 0 ? 0 : static_cast<int>(ExitCode::kUsage);
  }
  catch_signals();
  const int code = run ? run() : static_cast<int>(ExitCode::kUsage);
  if (std::fflush(stdout) != 0 && code == 0) {
    return static_cast<int>(ExitCode::kFailed);
  }
  return code;
}
