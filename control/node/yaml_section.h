#pragma once
// One mapping of the configuration file, read by key. Keys are checked against config_keys.h; the first fault is kept
// in the ConfigReader and everything read after it is a default, so that callers read straight on and look once. Keys that
// are unknown or not served stand for themselves: all of them are told at once.

#include <yaml-cpp/yaml.h>

#include <cstdint>
#include <functional>
#include <initializer_list>
#include <string>
#include <string_view>
#include <vector>

namespace slipway {

inline constexpr std::size_t kMaxRefusedKeys = 32;

struct ConfigReader {
  std::string source;
  std::string fault;                  // empty: none so far
  std::vector<std::string> refused;   // unknown or unsupported, at most kMaxRefusedKeys
  std::vector<std::string> ignored;

  void refuse_line(int line, std::string_view what);
  void fail(const YAML::Node& at, std::string_view what);
  void fail_line(int line, std::string_view what);
  [[nodiscard]] bool ok() const { return fault.empty() && refused.empty(); }
  [[nodiscard]] std::string text() const;  // of everything that is wrong, one a line
};

int yaml_line(const YAML::Node& node);  // from 1

class YamlSection {
 public:
  // `path` as in config_keys.h. A null node is an empty section.
  YamlSection(ConfigReader& reader, YAML::Node node, std::string path);

  [[nodiscard]] bool has(std::string_view key) const;
  [[nodiscard]] int line() const;
  [[nodiscard]] int line_of(std::string_view key) const;

  std::string text(std::string_view key, std::string fallback);
  std::uint64_t number(std::string_view key, std::uint64_t low, std::uint64_t high, std::uint64_t fallback);
  std::uint64_t size(std::string_view key, std::uint64_t low, std::uint64_t high, std::uint64_t fallback);  // 8MiB
  std::uint64_t duration_ms(std::string_view key, std::uint64_t high, std::uint64_t fallback);              // 1m30s
  bool boolean(std::string_view key, bool fallback);
  // The position of the value among the choices.
  std::size_t choice(std::string_view key, std::initializer_list<std::string_view> choices, std::size_t fallback);
  YamlSection section(std::string_view key);
  void each(std::string_view key, const std::function<void(YamlSection)>& entry);          // a list of sections
  void each_text(std::string_view key, const std::function<void(std::string, const YAML::Node&)>& entry);
  void fail(std::string_view key, std::string_view what);
  void refuse(std::string_view key, std::string_view what);  // what this build does not serve
  ConfigReader& reader() { return reader_; }
  YAML::Node raw(std::string_view key) const;

 private:
  void check_keys();
  std::string scalar(std::string_view key, const YAML::Node& node);
  [[nodiscard]] std::string full(std::string_view key) const;

  ConfigReader& reader_;
  YAML::Node node_;
  std::string path_;
};

}  // namespace slipway
