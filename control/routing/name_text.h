#pragma once
// The text of names, beside their hashes: held once for each prefix, in one arena. Control thread.

#include <array>
#include <cstdint>
#include <string>
#include <string_view>

#include "bounds.h"
#include "routing/slab.h"

namespace slipway {

using NameText = std::array<std::string_view, 3>;  // all empty: the text is not known

class NameTexts {
 public:
  NameTexts() = default;
  explicit NameTexts(std::size_t max_bytes);
  [[nodiscard]] bool valid() const { return units_.valid(); }
  [[nodiscard]] std::size_t bytes() const { return units_.bytes(); }

  // A reference to a copy; 0 when the text is unknown (all parts empty) or too long, or the arena is full.
  std::uint32_t add(const NameText& text);
  void remove(std::uint32_t reference);
  // Valid until that reference is removed.
  [[nodiscard]] NameText get(std::uint32_t reference) const;

 private:
  static constexpr std::size_t kUnit = 8;
  static constexpr std::size_t kHeader = 3 * sizeof(std::uint16_t);
  static constexpr std::size_t kMaxUnits = (kHeader + 3 * kMaxComponentBytes + kUnit - 1) / kUnit;
  struct Unit {
    char bytes[kUnit];
  };
  static std::size_t units_for(const NameText& text) {
    return (kHeader + text[0].size() + text[1].size() + text[2].size() + kUnit - 1) / kUnit;
  }

  Growable<Unit> units_;
  std::array<std::uint32_t, kMaxUnits + 1> free_{};  // by size: first of a chain through the freed pieces
};

}  // namespace slipway
