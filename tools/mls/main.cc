// slipway-mls: looks into MLS bytes, runs test vectors, and is a client that other implementations can be run against.
#include <fmt/format.h>

#include <algorithm>
#include <cstdio>
#include <string>
#include <vector>

#include "bytes_text.h"
#include "client.h"
#include "describe.h"
#include "vectors/vectors.h"

namespace slipway::mls::tool {
namespace {

constexpr int kUsage = 2;

std::string help() {
  std::string names;
  for (const std::string_view kind : kinds()) {
    names += fmt::format("{}{}", names.empty() ? "" : ", ", kind);
  }
  return fmt::format(
      "slipway-mls decode [--json] [--as KIND] WHAT\n"
      "    Shows an MLS structure. WHAT: a file, - for standard input, or the bytes in hex or base64; the content of a\n"
      "    file may be hex or base64, too. KIND: {}; without --as it is told by the bytes.\n"
      "    Of a snapshot only what is public is shown.\n"
      "slipway-mls vectors DIR [--json]\n"
      "    Runs the test vectors of a folder (*.json). An entry of a suite that is not known here has failed.\n"
      "slipway-mls client\n"
      "    Answers one JSON request a line; see tools/mls/README.md.\n"
      "slipway-mls help\n"
      "Exit code: 0; 1 if something is wrong with the input or a vector failed; 2 for a wrong command line.\n",
      names);
}

int wrong(const std::string& text) {
  fmt::print(stderr, "slipway-mls: {}\n\n{}", text, help());
  return kUsage;
}

int decode(const std::vector<std::string>& words) {
  bool json = false;
  std::string kind = "auto";
  std::vector<std::string> what;
  for (size_t i = 0; i < words.size(); ++i) {
    if (words[i] == "--json") {
      json = true;
    } else if (words[i] == "--as") {
      if (++i == words.size() || std::find(kinds().begin(), kinds().end(), words[i]) == kinds().end()) {
        return wrong("--as needs a kind");
      }
      kind = words[i];
    } else {
      what.push_back(words[i]);
    }
  }
  if (what.size() != 1) {
    return wrong("decode needs one thing to decode");
  }
  const auto bytes = read_argument(what[0]);
  if (!bytes) {
    fmt::print(stderr, "slipway-mls: {}\n", bytes.error());
    return 1;
  }
  const auto result = describe(*bytes, kind);
  if (!result) {
    fmt::print(stderr, "slipway-mls: {}: {}\n", error_name(result.error().code), result.error().text);
    return 1;
  }
  fmt::print("{}", json ? result->dump(2, ' ', false, Json::error_handler_t::replace) + "\n" : to_text(*result));
  return 0;
}

Json to_json(const vectors::FileReport& report) {
  Json suites = Json::array();
  for (const vectors::SuiteCount& count : report.suites) {
    suites.push_back({{"suite", count.suite}, {"passed", count.passed}, {"failed", count.failed}});
  }
  return {{"file", report.file}, {"kind", report.kind}, {"suites", suites}, {"passed", report.passed()},
          {"failed", report.failed()}, {"messages", report.messages}};
}

int run_vectors(const std::vector<std::string>& words) {
  bool json = false;
  std::vector<std::string> folders;
  for (const std::string& word : words) {
    word == "--json" ? void(json = true) : folders.push_back(word);
  }
  if (folders.size() != 1) {
    return wrong("vectors needs one folder");
  }
  const auto reports = vectors::run_folder(folders[0]);
  size_t passed = 0;
  size_t failed = 0;
  Json files = Json::array();
  for (const vectors::FileReport& report : reports) {
    passed += report.passed();
    failed += report.failed();
    files.push_back(to_json(report));
    if (json) {
      continue;
    }
    for (const vectors::SuiteCount& count : report.suites) {
      fmt::print("{:<48} suite {:<5} {:>6} passed {:>6} failed\n", report.file, count.suite == 0 ? "-" : std::to_string(count.suite),
                 count.passed, count.failed);
    }
    for (const std::string& message : report.messages) {
      fmt::print("  {}\n", message);
    }
  }
  if (json) {
    fmt::print("{}\n", Json{{"files", files}, {"passed", passed}, {"failed", failed}}.dump());
  } else {
    fmt::print("{} passed, {} failed\n", passed, failed);
  }
  if (passed + failed == 0) {
    fmt::print(stderr, "slipway-mls: no *.json in {}\n", folders[0]);
    return 1;
  }
  return failed == 0 ? 0 : 1;
}

int run(const std::vector<std::string>& words) {
  if (words.empty()) {
    return wrong("a command is missing");
  }
  const std::vector<std::string> rest(words.begin() + 1, words.end());
  if (words[0] == "decode") {
    return decode(rest);
  }
  if (words[0] == "vectors") {
    return run_vectors(rest);
  }
  if (words[0] == "client" && rest.empty()) {
    return serve_client();
  }
  if (words[0] == "help" || words[0] == "--help" || words[0] == "-h") {
    fmt::print("{}", help());
    return 0;
  }
  return wrong("no such command: " + words[0]);
}

}  // namespace
}  // namespace slipway::mls::tool

int main(int argc, char** argv) { return slipway::mls::tool::run({argv + 1, argv + argc}); }
