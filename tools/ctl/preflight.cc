// slipwayctl preflight: asks the slipwayd of this machine, whose binary knows what it needs, without starting a node.

#include <fcntl.h>
#include <fmt/format.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cstdio>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <sstream>

#include "verbs.h"

extern char** environ;

namespace slipway::ctl {
namespace {

// The slipwayd that belongs to this slipwayctl: beside it, or else in the search path.
std::string slipwayd_path() {
  std::error_code error;
  const auto beside = std::filesystem::read_symlink("/proc/self/exe", error).parent_path() / "slipwayd";
  return !error && access(beside.c_str(), X_OK) == 0 ? beside.string() : "slipwayd";
}

struct Outcome {
  int status = -1;  // exit code; -1: could not be started
  std::string output;
};

Outcome run_slipwayd(const std::vector<std::string>& words) {
  std::vector<char*> argv;
  for (const auto& word : words) {
    argv.push_back(const_cast<char*>(word.c_str()));
  }
  argv.push_back(nullptr);
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) {
    return {};
  }
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, ends[1], STDOUT_FILENO);
  posix_spawn_file_actions_adddup2(&actions, ends[1], STDERR_FILENO);
  pid_t pid = -1;
  const int failed = posix_spawnp(&pid, argv[0], &actions, nullptr, argv.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  close(ends[1]);
  Outcome out;
  std::array<char, 4096> buffer;
  for (ssize_t got = 0; failed == 0 && (got = read(ends[0], buffer.data(), buffer.size())) > 0;) {
    out.output.append(buffer.data(), static_cast<std::size_t>(got));
  }
  close(ends[0]);
  int status = 0;
  if (failed == 0 && waitpid(pid, &status, 0) == pid && WIFEXITED(status)) {
    out.status = WEXITSTATUS(status);
  }
  return out;
}

}  // namespace

// Lines are "ok|note|BAD NAME FOUND", each possibly followed by an indented "repair: COMMAND".
std::string preflight_json(const std::string& text, bool good) {
  nlohmann::json checks = nlohmann::json::array();
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    constexpr std::string_view kRepair = "repair: ";
    if (line.starts_with(' ')) {
      const auto at = line.find(kRepair);
      if (at != std::string::npos && !checks.empty()) {
        checks.back()["repair"] = line.substr(at + kRepair.size());
      }
      continue;
    }
    std::istringstream words(line);
    std::string result;
    std::string name;
    words >> result >> name >> std::ws;
    std::string found;
    std::getline(words, found);
    checks.push_back({{"name", name}, {"result", result == "BAD" ? "bad" : result}, {"found", found}, {"repair", ""}});
  }
  return nlohmann::json{{"good", good}, {"checks", checks}}.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
}

int verb_preflight(const Arguments& a) {
  std::vector<std::string> words = {slipwayd_path(), "--preflight"};
  if (!a.config.empty()) {
    words.insert(words.end(), {"--config", a.config});
  }
  const auto outcome = run_slipwayd(words);
  constexpr int kWrongConfiguration = 2;  // slipwayd's exit code
  if (outcome.status < 0 || outcome.status == 127) {
    return fail(a.context, {ExitCode::kNotFound, fmt::format("cannot run {}", words[0]), "install slipwayd beside slipwayctl, or put it in the search path"});
  }
  if (outcome.status == kWrongConfiguration) {
    auto error = outcome.output;
    while (error.ends_with('\n')) {
      error.pop_back();
    }
    return fail(a.context, {ExitCode::kUsage, error, "slipwayd --config FILE --check"});
  }
  const bool good = outcome.status == 0;
  const auto text = a.context.json ? preflight_json(outcome.output, good) : outcome.output;
  std::fwrite(text.data(), 1, text.size(), stdout);
  return static_cast<int>(good ? ExitCode::kOk : ExitCode::kCheckFailed);
}

}  // namespace slipway::ctl
