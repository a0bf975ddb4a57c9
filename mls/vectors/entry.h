// What a vector's procedure works with: one entry of a file, and the list of procedures. Keeps the JSON
// library out of the other files of this folder.
#pragma once

#include <stdexcept>
#include <string>
#include <vector>

#include "base/error.h"
#include "crypto/bytes.h"
#include "crypto/suite.h"

namespace slipway::mls::vectors {

// Ends an entry as failed. Never leaves this folder.
struct Failure : std::runtime_error {
  using std::runtime_error::runtime_error;
};

// A JSON object. Access to a field that is missing or of another kind throws Failure.
class Entry {
 public:
  explicit Entry(const void* json) : json_(json) {}

  bool is_null(const char* field) const;  // or absent
  uint64_t number(const char* field) const;
  std::string text(const char* field) const;
  Bytes hex(const char* field) const;
  std::vector<uint64_t> numbers(const char* field) const;
  // As numbers(), with null as kNull; for arrays of numbers or null.
  static constexpr uint64_t kNull = UINT64_MAX;
  std::vector<uint64_t> numbers_or_null(const char* field) const;
  std::vector<std::vector<uint64_t>> number_lists(const char* field) const;
  // Arrays of hex strings; null becomes an empty string.
  std::vector<Bytes> hex_list(const char* field) const;
  bool is_null_at(const char* field, size_t index) const;
  Entry object(const char* field) const;
  std::vector<Entry> objects(const char* field) const;
  std::vector<std::vector<Entry>> object_lists(const char* field) const;

  // The entry's `cipher_suite`; Failure if we lack it.
  const Suite& suite() const;

 private:
  const void* json_;
};

// Throw Failure, naming what was compared.
void expect_equal(const char* what, View got, View wanted);
void expect(const char* what, bool good);
template <class T>
T expect_value(const char* what, Result<T> result) {
  if (!result) {
    throw Failure(std::string(what) + ": " + result.error().text);
  }
  return std::move(*result);
}
inline void expect_ok(const char* what, const Status& status) {
  if (!status) {
    throw Failure(std::string(what) + ": " + status.error().text);
  }
}
// Fails unless the call failed with that code.
template <class R>
void expect_error(const char* what, const R& result, ErrorCode code) {
  expect(what, !result && result.error().code == code);
}

using Procedure = void (*)(const Entry& entry);
struct Kind {
  const char* name;  // of files, without extension
  Procedure run;
};
// Each file of this folder gives its kinds.
std::vector<Kind> crypto_kinds();
std::vector<Kind> message_kinds();
std::vector<Kind> key_schedule_kinds();
std::vector<Kind> framing_kinds();
std::vector<Kind> tree_kinds();
std::vector<Kind> group_kinds();

}  // namespace slipway::mls::vectors
