#include "table.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "frame/utf8.h"

namespace slipway::ctl {

void Table::add(std::vector<std::string> cells) {
  cells.resize(columns_.size());
  for (auto& cell : cells) {
    cell = cell.empty() ? "-" : safe_text(cell);
  }
  rows_.push_back(std::move(cells));
}

std::string Table::text() const {
  std::vector<std::size_t> widths;
  for (std::size_t c = 0; c < columns_.size(); ++c) {
    std::size_t width = shown_width(columns_[c].title);
    for (const auto& row : rows_) {
      width = std::max(width, shown_width(row[c]));
    }
    widths.push_back(width);
  }
  std::string out;
  const auto line = [&](auto cell_of) {
    std::string text;
    for (std::size_t c = 0; c < columns_.size(); ++c) {
      const std::string& cell = cell_of(c);
      const std::string padding(widths[c] - shown_width(cell), ' ');
      text += c == 0 ? "" : "  ";
      text += columns_[c].align == Align::kRight ? padding + cell : cell + padding;
    }
    text.erase(text.find_last_not_of(' ') + 1);
    out += text + "\n";
  };
  line([&](std::size_t c) -> const std::string& { return columns_[c].title; });
  for (const auto& row : rows_) {
    line([&](std::size_t c) -> const std::string& { return row[c]; });
  }
  return out;
}

std::string facts(const std::vector<std::pair<std::string, std::string>>& rows) {
  std::size_t width = 0;
  for (const auto& row : rows) {
    width = std::max(width, shown_width(row.first));
  }
  std::string out;
  for (const auto& [name, value] : rows) {
    out += name + std::string(width - shown_width(name) + 2, ' ') + (value.empty() ? "-" : safe_text(value)) + "\n";
  }
  return out;
}

std::string count_text(std::uint64_t count) {
  std::string digits = std::to_string(count);
  for (auto at = static_cast<std::ptrdiff_t>(digits.size()) - 3; at > 0; at -= 3) {
    digits.insert(static_cast<std::size_t>(at), ",");
  }
  return digits;
}

std::string bytes_text(std::uint64_t bytes) {
  constexpr std::array kUnits = {"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
  double value = static_cast<double>(bytes);
  std::size_t unit = 0;
  while (value >= 1024 && unit + 1 < kUnits.size()) {
    value /= 1024;
    ++unit;
  }
  return unit == 0 ? fmt::format("{} B", bytes) : fmt::format("{:.1f} {}", value, kUnits[unit]);
}

std::string duration_text(std::uint64_t ms) {
  const std::uint64_t seconds = ms / 1000;
  if (ms < 1000) {
    return fmt::format("{} ms", ms);
  }
  if (seconds < 60) {
    return fmt::format("{}.{} s", seconds, ms % 1000 / 100);
  }
  if (seconds < 3600) {
    return fmt::format("{}m {}s", seconds / 60, seconds % 60);
  }
  if (seconds < 86400) {
    return fmt::format("{}h {}m", seconds / 3600, seconds % 3600 / 60);
  }
  return fmt::format("{}d {}h", seconds / 86400, seconds % 86400 / 3600);
}

std::string rate_text(double per_second) {
  if (per_second >= 1e9) {
    return fmt::format("{:.2f} G/s", per_second / 1e9);
  }
  if (per_second >= 1e6) {
    return fmt::format("{:.2f} M/s", per_second / 1e6);
  }
  if (per_second >= 1e4) {
    return fmt::format("{:.1f} k/s", per_second / 1e3);
  }
  return fmt::format("{:.0f} /s", per_second);
}

std::string percent_text(double share) { return fmt::format("{:.1f} %", share * 100); }

std::string safe_text(std::string_view text) {
  const bool valid = is_utf8(text);
  std::string out;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte < 0x20 || byte == 0x7F || (byte >= 0x80 && !valid)) {
      out += fmt::format("\\x{:02x}", byte);
    } else {
      out += c;
    }
  }
  return out;
}

std::size_t shown_width(std::string_view text) {
  return static_cast<std::size_t>(std::count_if(text.begin(), text.end(), [](char c) { return (static_cast<unsigned char>(c) & 0xC0) != 0x80; }));
}

}  // namespace slipway::ctl
