#include "edge/semantic_version.h"

#include <algorithm>
#include <limits>

#include <cstdint>

namespace slipway {
namespace {

bool is_digit(char c) { return c >= '0' && c <= '9'; }

// A number that fits 64 bits and has no leading zero.
bool is_number(std::string_view text) {
  if (text.empty() || (text.size() > 1 && text[0] == '0')) {
    return false;
  }
  std::uint64_t value = 0;
  for (const char c : text) {
    const auto digit = static_cast<std::uint64_t>(c - '0');
    if (!is_digit(c) || value > (std::numeric_limits<std::uint64_t>::max() - digit) / 10) {
      return false;
    }
    value = value * 10 + digit;
  }
  return true;
}

// Identifiers with dots between them. Numeric ones of a pre-release have no leading zero; those of a build may.
bool are_identifiers(std::string_view text, bool leading_zeros) {
  for (;;) {
    const auto dot = text.find('.');
    const auto part = text.substr(0, dot);
    const bool letters = std::ranges::all_of(part, [](char c) {
      return is_digit(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '-';
    });
    if (part.empty() || !letters || (!leading_zeros && part.size() > 1 && part[0] == '0' && std::ranges::all_of(part, is_digit))) {
      return false;
    }
    if (dot == std::string_view::npos) {
      return true;
    }
    text.remove_prefix(dot + 1);
  }
}

}  // namespace

bool is_semantic_version(std::string_view text) {
  if (const auto plus = text.find('+'); plus != std::string_view::npos) {
    if (!are_identifiers(text.substr(plus + 1), true)) {
      return false;
    }
    text = text.substr(0, plus);
  }
  if (const auto dash = text.find('-'); dash != std::string_view::npos) {
    if (!are_identifiers(text.substr(dash + 1), false)) {
      return false;
    }
    text = text.substr(0, dash);
  }
  const auto first = text.find('.');
  const auto second = first == std::string_view::npos ? first : text.find('.', first + 1);
  return second != std::string_view::npos && is_number(text.substr(0, first)) &&
         is_number(text.substr(first + 1, second - first - 1)) && is_number(text.substr(second + 1));
}

}  // namespace slipway
