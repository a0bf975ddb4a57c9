#include "node/yaml_section.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <charconv>
#include <cstdlib>
#include <fstream>
#include <numeric>
#include <set>
#include <utility>

#include "node/config_keys.h"

namespace slipway {

namespace {

constexpr std::size_t kMaxReferencedFileBytes = 64u << 10;

// Levenshtein distance, for "did you mean".
std::size_t edit_distance(std::string_view a, std::string_view b) {
  std::vector<std::size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), std::size_t{0});
  for (std::size_t i = 1; i <= a.size(); ++i) {
    std::size_t diagonal = row[0];
    row[0] = i;
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const std::size_t above = row[j];
      row[j] = std::min({row[j] + 1, row[j - 1] + 1, diagonal + (a[i - 1] == b[j - 1] ? 0 : 1)});
      diagonal = above;
    }
  }
  return row[b.size()];
}

std::string shown(std::string_view section) { return section.empty() ? "the top level" : fmt::format("`{}`", section); }

std::string unknown_key(std::string_view section, const std::string& key) {
  std::string_view nearest;
  std::size_t best = std::max<std::size_t>(2, key.size() / 3) + 1;
  std::string known;
  for (const auto& entry : kConfigKeys) {
    if (entry.section != section) {
      continue;
    }
    known += fmt::format("{}{}", known.empty() ? "" : ", ", entry.key);
    if (const auto distance = edit_distance(key, entry.key); distance < best) {
      best = distance;
      nearest = entry.key;
    }
  }
  if (!nearest.empty()) {
    return fmt::format("unknown key `{}` in {}; did you mean `{}`?", key, shown(section), nearest);
  }
  for (const auto& entry : kConfigKeys) {
    if (entry.key == key && entry.section != section) {
      return fmt::format("unknown key `{}` in {}; it belongs to {}", key, shown(section), shown(entry.section));
    }
  }
  return fmt::format("unknown key `{}` in {}; known are: {}", key, shown(section), known);
}

// What begins with the first may have all keys of what begins with the second.
constexpr std::pair<std::string_view, std::string_view> kAlso[] = {
    {"services.*.peers.discovery.peers[]", "services.*.dataplane.clients[]"},
    {"services.*.dataplane.clients[].proxy.tls", "services.*.dataplane.clients[].tls"},
    {"services.*.controller.servers[]", "services.*.dataplane.servers[]"},
    {"channel-manager.api-server", "services.*.dataplane.servers[]"},
};

const ConfigKey* find_key(std::string_view section, std::string_view key) {
  const auto at = std::ranges::find_if(kConfigKeys, [&](const auto& k) { return k.section == section && k.key == key; });
  for (const auto& [own, other] : kAlso) {
    if (at == kConfigKeys.end() && section.starts_with(own)) {
      return find_key(std::string(other).append(section.substr(own.size())), key);
    }
  }
  return at == kConfigKeys.end() ? nullptr : &*at;
}

bool parse_unsigned(std::string_view text, std::uint64_t& value, std::string_view& rest) {
  const auto [end, fault] = std::from_chars(text.data(), text.data() + text.size(), value);
  rest = text.substr(static_cast<std::size_t>(end - text.data()));
  return fault == std::errc{};
}

bool multiply(std::uint64_t& value, std::uint64_t by) { return !__builtin_mul_overflow(value, by, &value); }

bool parse_size(std::string_view text, std::uint64_t& value) {
  std::string_view unit;
  if (!parse_unsigned(text, value, unit)) {
    return false;
  }
  while (!unit.empty() && unit.front() == ' ') {
    unit.remove_prefix(1);
  }
  if (unit.empty() || unit == "B") {
    return true;
  }
  return (unit == "KiB" && multiply(value, 1u << 10)) || (unit == "MiB" && multiply(value, 1u << 20)) ||
         (unit == "GiB" && multiply(value, 1u << 30));
}

// "1h30m", "10s", "500ms".
bool parse_duration(std::string_view text, std::uint64_t& total_ms) {
  total_ms = 0;
  bool any = false;
  while (!text.empty()) {
    std::uint64_t value = 0;
    std::string_view rest;
    if (!parse_unsigned(text, value, rest)) {
      return false;
    }
    struct Unit {
      std::string_view text;
      std::uint64_t ms;
    };
    constexpr Unit kUnits[] = {{"ms", 1}, {"s", 1000}, {"m", 60'000}, {"h", 3'600'000}, {"d", 86'400'000}};
    const auto* unit = std::ranges::find_if(kUnits, [&](const Unit& u) { return rest.starts_with(u.text); });
    if (unit == std::end(kUnits) || !multiply(value, unit->ms) || __builtin_add_overflow(total_ms, value, &total_ms)) {
      return false;
    }
    text = rest.substr(unit->text.size());
    while (!text.empty() && text.front() == ' ') {
      text.remove_prefix(1);
    }
    any = true;
  }
  return any;
}

}  // namespace

int yaml_line(const YAML::Node& node) {
  const auto mark = node.Mark();
  return mark.is_null() ? 1 : mark.line + 1;
}

void ConfigReader::fail_line(int line, std::string_view what) {
  if (fault.empty() && refused.empty()) {  // what follows may come of what was refused
    fault = fmt::format("{}:{}: {}", source, line, what);
  }
}

void ConfigReader::refuse_line(int line, std::string_view what) {
  if (refused.size() < kMaxRefusedKeys) {
    refused.push_back(fmt::format("{}:{}: {}", source, line, what));
  }
}

std::string ConfigReader::text() const {
  std::string out = fault;
  for (const auto& line : refused) {
    out += (out.empty() ? "" : "\n") + line;
  }
  return out;
}

void ConfigReader::fail(const YAML::Node& at, std::string_view what) { fail_line(yaml_line(at), what); }

YamlSection::YamlSection(ConfigReader& reader, YAML::Node node, std::string path)
    : reader_(reader), node_(std::move(node)), path_(std::move(path)) {
  if (!node_.IsDefined() || node_.IsNull()) {
    node_.reset(YAML::Node(YAML::NodeType::Undefined));
    return;
  }
  if (!node_.IsMap()) {
    reader_.fail(node_, fmt::format("{} must be a section of `key: value` lines", shown(path_)));
    node_.reset(YAML::Node(YAML::NodeType::Undefined));
    return;
  }
  check_keys();
}

void YamlSection::check_keys() {
  std::set<std::string> seen;
  for (const auto& entry : node_) {
    if (!entry.first.IsScalar()) {
      reader_.fail(entry.first, fmt::format("a key in {} must be a word", shown(path_)));
      return;
    }
    const auto key = entry.first.Scalar();
    const auto* known = find_key(path_, key);
    if (known == nullptr) {
      reader_.refuse_line(yaml_line(entry.first), unknown_key(path_, key));
    } else if (!seen.insert(key).second) {
      reader_.fail(entry.first, fmt::format("`{}` is there twice", full(key)));
    } else if (known->type == "ignored") {
      reader_.ignored.push_back(fmt::format("line {}: {}", yaml_line(entry.first), full(key)));
    }
  }
}

std::string YamlSection::full(std::string_view key) const {
  return path_.empty() ? std::string(key) : fmt::format("{}.{}", path_, key);
}

YAML::Node YamlSection::raw(std::string_view key) const {
  if (node_.IsDefined() && node_.IsMap()) {
    for (const auto& entry : node_) {  // by hand: a look-up by key would create nodes
      if (entry.first.IsScalar() && entry.first.Scalar() == key) {
        return entry.second;
      }
    }
  }
  return YAML::Node(YAML::NodeType::Undefined);
}

bool YamlSection::has(std::string_view key) const {
  const auto node = raw(key);
  return node.IsDefined() && !node.IsNull();
}

int YamlSection::line() const { return node_.IsDefined() ? yaml_line(node_) : 1; }

int YamlSection::line_of(std::string_view key) const {
  const auto node = raw(key);
  return node.IsDefined() ? yaml_line(node) : line();
}

void YamlSection::fail(std::string_view key, std::string_view what) {
  reader_.fail_line(line_of(key), fmt::format("`{}`: {}", full(key), what));
}

void YamlSection::refuse(std::string_view key, std::string_view what) {
  reader_.refuse_line(line_of(key), fmt::format("`{}`: {}", full(key), what));
}

// A value that is nothing but ${env:NAME} or ${file:PATH} is replaced by what it names.
std::string YamlSection::scalar(std::string_view key, const YAML::Node& node) {
  if (!node.IsScalar()) {
    fail(key, "must be one value");
    return {};
  }
  const std::string& text = node.Scalar();
  if (!text.starts_with("${") || !text.ends_with("}")) {
    return text;
  }
  const auto inner = text.substr(2, text.size() - 3);
  if (inner.starts_with("env:")) {
    const char* value = std::getenv(inner.c_str() + 4);
    if (value == nullptr) {
      fail(key, fmt::format("the environment has no variable {}", inner.substr(4)));
      return {};
    }
    return value;
  }
  if (inner.starts_with("file:")) {
    std::ifstream file(inner.substr(5), std::ios::binary);
    std::string value(kMaxReferencedFileBytes, '\0');
    file.read(value.data(), static_cast<std::streamsize>(value.size()));
    if (file.bad() || (!file.eof() && !file)) {
      fail(key, fmt::format("cannot read {}", inner.substr(5)));
      return {};
    }
    value.resize(static_cast<std::size_t>(file.gcount()));
    while (!value.empty() && (value.back() == '\n' || value.back() == '\r')) {
      value.pop_back();
    }
    return value;
  }
  fail(key, fmt::format("`{}`: write ${{env:NAME}} or ${{file:PATH}}", text));
  return {};
}

std::string YamlSection::text(std::string_view key, std::string fallback) {
  return has(key) ? scalar(key, raw(key)) : std::move(fallback);
}

std::uint64_t YamlSection::number(std::string_view key, std::uint64_t low, std::uint64_t high, std::uint64_t fallback) {
  if (!has(key)) {
    return fallback;
  }
  const auto text = scalar(key, raw(key));
  std::uint64_t value = 0;
  std::string_view rest;
  if (!parse_unsigned(text, value, rest) || !rest.empty() || value < low || value > high) {
    fail(key, fmt::format("`{}` does not do: write a number from {} to {}", text, low, high));
    return fallback;
  }
  return value;
}

std::uint64_t YamlSection::size(std::string_view key, std::uint64_t low, std::uint64_t high, std::uint64_t fallback) {
  if (!has(key)) {
    return fallback;
  }
  const auto text = scalar(key, raw(key));
  std::uint64_t value = 0;
  if (!parse_size(text, value) || value < low || value > high) {
    fail(key, fmt::format("`{}` does not do: write a size from {} to {} bytes, as a number or as 512KiB, 64MiB, 1GiB", text, low, high));
    return fallback;
  }
  return value;
}

std::uint64_t YamlSection::duration_ms(std::string_view key, std::uint64_t high, std::uint64_t fallback) {
  if (!has(key)) {
    return fallback;
  }
  const auto text = scalar(key, raw(key));
  std::uint64_t value = 0;
  if (!parse_duration(text, value) || value > high) {
    fail(key, fmt::format("`{}` does not do: write a duration up to {} s, as 10s, 1m30s or 500ms", text, high / 1000));
    return fallback;
  }
  return value;
}

bool YamlSection::boolean(std::string_view key, bool fallback) {
  if (!has(key)) {
    return fallback;
  }
  const auto text = scalar(key, raw(key));
  if (text != "true" && text != "false") {
    fail(key, fmt::format("`{}` does not do: write true or false", text));
  }
  return text == "true";
}

std::size_t YamlSection::choice(std::string_view key, std::initializer_list<std::string_view> choices, std::size_t fallback) {
  if (!has(key)) {
    return fallback;
  }
  const auto text = scalar(key, raw(key));
  const auto* at = std::ranges::find(choices, std::string_view(text));
  if (at == choices.end()) {
    fail(key, fmt::format("`{}` does not do: write {}", text, fmt::join(choices, ", ")));
    return fallback;
  }
  return static_cast<std::size_t>(at - choices.begin());
}

YamlSection YamlSection::section(std::string_view key) { return {reader_, raw(key), full(key)}; }

void YamlSection::each(std::string_view key, const std::function<void(YamlSection)>& entry) {
  if (!has(key)) {
    return;
  }
  const auto list = raw(key);
  if (!list.IsSequence()) {
    fail(key, "must be a list (lines that begin with `- `)");
    return;
  }
  for (const auto& item : list) {
    if (!item.IsMap()) {
      reader_.fail(item, fmt::format("an entry of `{}` must be a section of `key: value` lines", full(key)));
      return;
    }
    entry(YamlSection(reader_, item, full(key) + "[]"));
  }
}

void YamlSection::each_text(std::string_view key, const std::function<void(std::string, const YAML::Node&)>& entry) {
  if (!has(key)) {
    return;
  }
  const auto list = raw(key);
  if (!list.IsSequence()) {
    fail(key, "must be a list, as in [a, b]");
    return;
  }
  for (const auto& item : list) {
    if (const auto text = scalar(key, item); reader_.ok()) {
      entry(text, item);
    }
  }
}

}  // namespace slipway
