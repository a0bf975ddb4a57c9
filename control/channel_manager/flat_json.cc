#include "channel_manager/flat_json.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <type_traits>

namespace slipway {
namespace {

using Json = nlohmann::json;

class Reader final : public nlohmann::json_sax<Json> {
 public:
  explicit Reader(std::span<FlatField> fields) : fields_(fields) {}

  std::string why;

  bool null() override {
    if (depth_ != 1 || field_ == nullptr) {
      return whole("null");
    }
    const bool may = std::holds_alternative<std::optional<std::string>*>(field_->to) || std::holds_alternative<std::optional<std::uint64_t>*>(field_->to);
    return may || wrong();
  }
  bool boolean(bool value) override { return take(value); }
  bool number_integer(number_integer_t) override { return take(std::monostate()); }  // below zero
  bool number_unsigned(number_unsigned_t value) override { return take(std::uint64_t{value}); }
  bool number_float(number_float_t, const string_t&) override { return take(std::monostate()); }
  bool string(string_t& value) override { return take(std::move(value)); }
  bool binary(binary_t&) override { return take(std::monostate()); }

  bool start_object(std::size_t) override { return open(true); }
  bool start_array(std::size_t) override { return open(false); }
  bool end_object() override { return close(); }
  bool end_array() override { return close(); }

  bool key(string_t& name) override {
    if (depth_ != 1) {
      return true;
    }
    const auto at = std::ranges::find(fields_, std::string_view(name), &FlatField::name);
    field_ = at == fields_.end() ? nullptr : &*at;
    if (field_ != nullptr && std::exchange(field_->seen, true)) {
      why = fmt::format("`{}` stands there twice", field_->name);
      return false;
    }
    return true;
  }

  bool parse_error(std::size_t position, const std::string&, const nlohmann::detail::exception&) override {
    why = fmt::format("not JSON at byte {}", position);
    return false;
  }

 private:
  bool whole(const char* what) {
    if (depth_ == 0) {
      why = fmt::format("{} where an object is expected", what);
      return false;
    }
    return true;
  }
  bool wrong() {
    why = fmt::format("`{}` has the wrong type", field_->name);
    return false;
  }

  template <class Value>
  bool take(Value value) {
    if (depth_ != 1 || field_ == nullptr) {
      return whole("a value");
    }
    const bool fits = std::visit(
        [&]<class To>(To* to) {
          constexpr bool kSame = std::is_same_v<To, Value> || std::is_same_v<To, std::optional<Value>>;
          if constexpr (kSame) {
            *to = std::move(value);
          }
          return kSame;
        },
        field_->to);
    return fits || wrong();
  }

  bool open(bool object) {
    if (depth_ == 0 && !object) {
      return whole("an array");
    }
    if (depth_ == 1 && field_ != nullptr) {
      return wrong();
    }
    ++depth_;
    return true;
  }
  bool close() {
    --depth_;
    return true;
  }

  std::span<FlatField> fields_;
  FlatField* field_ = nullptr;  // whose value comes next, at the first depth
  std::size_t depth_ = 0;
};

}  // namespace

std::expected<void, std::string> read_flat_json(std::string_view text, std::span<FlatField> fields) {
  Reader reader(fields);
  if (!Json::sax_parse(text.begin(), text.end(), &reader)) {
    return std::unexpected(reader.why.empty() ? "not JSON" : std::move(reader.why));
  }
  for (const auto& field : fields) {
    const bool may_be_absent = std::holds_alternative<std::optional<std::string>*>(field.to) || std::holds_alternative<std::optional<std::uint64_t>*>(field.to);
    if (!field.seen && !may_be_absent) {
      return std::unexpected(fmt::format("`{}` is missing", field.name));
    }
  }
  return {};
}

}  // namespace slipway
