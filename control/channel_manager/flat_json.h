#pragma once
// Reads a JSON object whose values are texts, numbers and booleans into variables, as strictly as upstream's reader: every field
// once, of its type, and there unless it may be absent (absent or null); fields that nobody asked for are passed over. Nothing
// is built on the way, so depth and size of what is passed over cost nothing. Pure.

#include <cstdint>
#include <expected>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <variant>

namespace slipway {

struct FlatField {
  std::string_view name;
  std::variant<std::string*, std::uint64_t*, bool*, std::optional<std::string>*, std::optional<std::uint64_t>*> to;
  bool seen = false;
};

[[nodiscard]] std::expected<void, std::string> read_flat_json(std::string_view text, std::span<FlatField> fields);

}  // namespace slipway
