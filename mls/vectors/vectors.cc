#include "vectors/vectors.h"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "vectors/entry.h"

namespace slipway::mls::vectors {
namespace {

using Json = nlohmann::json;

const Json& json_of(const void* json) { return *static_cast<const Json*>(json); }

const Json& field_of(const void* json, const char* name) {
  const Json& object = json_of(json);
  auto at = object.is_object() ? object.find(name) : object.end();
  if (!object.is_object() || at == object.end()) {
    throw Failure(std::string("field ") + name + " is missing");
  }
  return *at;
}

int digit(char c) {
  if (c >= '0' && c <= '9') {
    return c - '0';
  }
  if (c >= 'a' && c <= 'f') {
    return c - 'a' + 10;
  }
  throw Failure("a field is not lower-case hex");
}

Bytes bytes_of(const Json& json) {
  if (json.is_null()) {
    return {};
  }
  const auto& text = json.get_ref<const std::string&>();
  if (text.size() % 2 != 0) {
    throw Failure("a field has an odd number of hex digits");
  }
  Bytes bytes;
  bytes.reserve(text.size() / 2);
  for (size_t i = 0; i < text.size(); i += 2) {
    bytes.push_back(static_cast<uint8_t>(digit(text[i]) << 4 | digit(text[i + 1])));
  }
  return bytes;
}

std::vector<Kind> all_kinds() {
  std::vector<Kind> kinds;
  for (auto part : {crypto_kinds, message_kinds, key_schedule_kinds, framing_kinds, tree_kinds, group_kinds}) {
    auto some = part();
    kinds.insert(kinds.end(), some.begin(), some.end());
  }
  return kinds;
}

SuiteCount& count_of(FileReport& report, const Json& entry) {
  uint16_t suite = entry.is_object() ? entry.value("cipher_suite", uint16_t{0}) : uint16_t{0};
  auto at = std::find_if(report.suites.begin(), report.suites.end(),
                         [suite](const SuiteCount& count) { return count.suite >= suite; });
  if (at == report.suites.end() || at->suite != suite) {
    at = report.suites.insert(at, SuiteCount{suite});
  }
  return *at;
}

void run_entries(const Json& file, Procedure run, FileReport& report) {
  size_t index = 0;
  for (const Json& json : file) {
    SuiteCount& count = count_of(report, json);
    try {
      run(Entry(&json));
      ++count.passed;
    } catch (const std::exception& failure) {
      ++count.failed;
      report.messages.push_back("entry " + std::to_string(index) + ": " + failure.what());
    }
    ++index;
  }
}

FileReport whole_file_failed(FileReport report, std::string why) {
  report.suites = {{0, 0, 1}};
  report.messages.push_back(std::move(why));
  return report;
}

}  // namespace

bool Entry::is_null(const char* field) const {
  const Json& object = json_of(json_);
  auto at = object.find(field);
  return at == object.end() || at->is_null();
}
uint64_t Entry::number(const char* field) const { return field_of(json_, field).get<uint64_t>(); }
std::string Entry::text(const char* field) const {
  return field_of(json_, field).get<std::string>();
}
Bytes Entry::hex(const char* field) const { return bytes_of(field_of(json_, field)); }
std::vector<uint64_t> Entry::numbers(const char* field) const {
  return field_of(json_, field).get<std::vector<uint64_t>>();
}
std::vector<uint64_t> Entry::numbers_or_null(const char* field) const {
  std::vector<uint64_t> out;
  for (const Json& item : field_of(json_, field)) {
    out.push_back(item.is_null() ? kNull : item.get<uint64_t>());
  }
  return out;
}
std::vector<std::vector<uint64_t>> Entry::number_lists(const char* field) const {
  return field_of(json_, field).get<std::vector<std::vector<uint64_t>>>();
}
std::vector<Bytes> Entry::hex_list(const char* field) const {
  std::vector<Bytes> out;
  for (const Json& item : field_of(json_, field)) {
    out.push_back(bytes_of(item));
  }
  return out;
}
bool Entry::is_null_at(const char* field, size_t index) const {
  return field_of(json_, field).at(index).is_null();
}
Entry Entry::object(const char* field) const { return Entry(&field_of(json_, field)); }
std::vector<Entry> Entry::objects(const char* field) const {
  std::vector<Entry> out;
  for (const Json& item : field_of(json_, field)) {
    out.emplace_back(&item);
  }
  return out;
}
std::vector<std::vector<Entry>> Entry::object_lists(const char* field) const {
  std::vector<std::vector<Entry>> out;
  for (const Json& list : field_of(json_, field)) {
    std::vector<Entry>& entries = out.emplace_back();
    for (const Json& item : list) {
      entries.emplace_back(&item);
    }
  }
  return out;
}
const Suite& Entry::suite() const {
  const Suite* suite = find_suite(static_cast<uint16_t>(number("cipher_suite")));
  if (suite == nullptr) {
    throw Failure("cipher suite " + std::to_string(number("cipher_suite")) + " is not supported");
  }
  return *suite;
}

void expect(const char* what, bool good) {
  if (!good) {
    throw Failure(what);
  }
}
void expect_equal(const char* what, View got, View wanted) {
  if (!equal(got, wanted)) {
    throw Failure(std::string(what) + " differs");
  }
}

size_t FileReport::passed() const {
  size_t sum = 0;
  for (const SuiteCount& count : suites) {
    sum += count.passed;
  }
  return sum;
}
size_t FileReport::failed() const {
  size_t sum = 0;
  for (const SuiteCount& count : suites) {
    sum += count.failed;
  }
  return sum;
}

FileReport run_file(const std::string& path) {
  std::filesystem::path file(path);
  FileReport report;
  report.file = file.filename().string();
  std::string stem = file.stem().string();
  Procedure run = nullptr;
  for (const Kind& kind : all_kinds()) {
    if (stem == kind.name) {
      report.kind = kind.name;
      run = kind.run;
    }
  }
  if (run == nullptr) {
    return whole_file_failed(std::move(report), "no procedure for vectors of this name");
  }
  std::ifstream input(path, std::ios::binary);
  Json json = Json::parse(input, nullptr, false);
  if (!json.is_array()) {
    return whole_file_failed(std::move(report), "cannot be read, or is not a JSON array");
  }
  run_entries(json, run, report);
  return report;
}

std::vector<FileReport> run_folder(const std::string& folder) {
  std::vector<std::string> paths;
  std::error_code ignored;  // an unreadable folder gives no reports
  for (const auto& entry : std::filesystem::directory_iterator(folder, ignored)) {
    if (entry.path().extension() == ".json") {
      paths.push_back(entry.path().string());
    }
  }
  std::sort(paths.begin(), paths.end());
  std::vector<FileReport> reports;
  for (const std::string& path : paths) {
    reports.push_back(run_file(path));
  }
  return reports;
}

}  // namespace slipway::mls::vectors
