#pragma once
// Tables and values as people read them: aligned columns, units, and no control characters out of what peers said.

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace slipway::ctl {

enum class Align : std::uint8_t { kLeft, kRight };
struct Column {
  std::string title;
  Align align = Align::kLeft;
};

class Table {
 public:
  explicit Table(std::vector<Column> columns) : columns_(std::move(columns)) {}
  void add(std::vector<std::string> cells);  // as many as there are columns
  [[nodiscard]] bool empty() const { return rows_.empty(); }
  // One line a row, two spaces between columns, nothing behind the last. Empty cells show as "-".
  [[nodiscard]] std::string text() const;

 private:
  std::vector<Column> columns_;
  std::vector<std::vector<std::string>> rows_;
};

// Pairs of a name and what it is, one a line.
std::string facts(const std::vector<std::pair<std::string, std::string>>& rows);

std::string count_text(std::uint64_t count);           // 1234567 -> 1,234,567
std::string bytes_text(std::uint64_t bytes);           // 8388608 -> 8.0 MiB
std::string duration_text(std::uint64_t ms);           // 93784000 -> 1d 2h
std::string rate_text(double per_second);              // 1234567 -> 1.23 M/s
std::string percent_text(double share);                // 0.1234 -> 12.3 %
std::string safe_text(std::string_view text);          // control characters and invalid UTF-8 as \xNN
std::size_t shown_width(std::string_view text);        // columns that UTF-8 text takes, one a code point

}  // namespace slipway::ctl
