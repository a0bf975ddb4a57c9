// Runs test vectors of RFC 9420 (formats: tests/vectors/mls/README.md) through the code of the product.
//
// Not part of the installed library: tests and the command-line tool use it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace slipway::mls::vectors {

struct SuiteCount {
  uint16_t suite = 0;  // 0: the entry names none
  size_t passed = 0;
  size_t failed = 0;
};

struct FileReport {
  std::string file;  // without its folder
  std::string kind;  // e.g. "key-schedule"; empty if the name tells none
  std::vector<SuiteCount> suites;      // ascending
  std::vector<std::string> messages;   // why entries failed: "entry 3: joiner_secret differs"

  size_t passed() const;
  size_t failed() const;
};

// Runs every entry. What the file is for is told by its name, up to the extension. A file that cannot
// be read or is no array, a kind that is not known, or a suite that we lack: failures, not skips.
FileReport run_file(const std::string& path);

// All *.json of a folder, by name.
std::vector<FileReport> run_folder(const std::string& folder);

}  // namespace slipway::mls::vectors
