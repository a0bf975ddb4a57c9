#include "bytes_text.h"

#include <cstdio>
#include <filesystem>
#include <memory>

namespace slipway::mls::tool {
namespace {

bool is_space(char c) { return c == ' ' || c == '\t' || c == '\n' || c == '\r'; }

int hex_digit(char c) {
  if (c >= '0' && c <= '9') {
    return c - '0';
  }
  if (c >= 'a' && c <= 'f') {
    return c - 'a' + 10;
  }
  return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

int base64_digit(char c) {
  if (c >= 'A' && c <= 'Z') {
    return c - 'A';
  }
  if (c >= 'a' && c <= 'z') {
    return c - 'a' + 26;
  }
  if (c >= '0' && c <= '9') {
    return c - '0' + 52;
  }
  return c == '+' || c == '-' ? 62 : c == '/' || c == '_' ? 63 : -1;
}

std::string read_all(std::FILE* file) {
  std::string content;
  char chunk[65536];
  size_t size = 0;
  while ((size = std::fread(chunk, 1, sizeof(chunk), file)) > 0) {
    content.append(chunk, size);
  }
  return content;
}

}  // namespace

std::string to_hex(View bytes) {
  static constexpr char kDigits[] = "0123456789abcdef";
  std::string text;
  text.reserve(2 * bytes.size());
  for (const uint8_t byte : bytes) {
    text += kDigits[byte >> 4];
    text += kDigits[byte & 15];
  }
  return text;
}

std::optional<Bytes> from_hex(std::string_view text) {
  Bytes bytes;
  int high = -1;
  for (const char c : text) {
    if (is_space(c)) {
      continue;
    }
    const int digit = hex_digit(c);
    if (digit < 0) {
      return std::nullopt;
    }
    if (high < 0) {
      high = digit;
    } else {
      bytes.push_back(static_cast<uint8_t>(high << 4 | digit));
      high = -1;
    }
  }
  return high < 0 ? std::optional(std::move(bytes)) : std::nullopt;
}

std::optional<Bytes> from_base64(std::string_view text) {
  Bytes bytes;
  uint32_t bits = 0;
  int count = 0;
  bool padded = false;
  for (const char c : text) {
    if (is_space(c)) {
      continue;
    }
    if (c == '=') {
      padded = true;
      continue;
    }
    const int digit = base64_digit(c);
    if (digit < 0 || padded) {
      return std::nullopt;
    }
    bits = bits << 6 | static_cast<uint32_t>(digit);
    if (++count % 4 != 1) {
      const int left = 6 - 2 * ((count + 3) % 4);
      bytes.push_back(static_cast<uint8_t>(bits >> left));
    }
  }
  return count % 4 != 1 ? std::optional(std::move(bytes)) : std::nullopt;
}

Bytes bytes_of(std::string_view content) {
  if (auto bytes = from_hex(content)) {
    return std::move(*bytes);
  }
  if (auto bytes = from_base64(content)) {
    return std::move(*bytes);
  }
  return to_bytes(as_view(content));
}

std::expected<Bytes, std::string> read_argument(const std::string& argument) {
  if (argument == "-") {
    return bytes_of(read_all(stdin));
  }
  std::error_code error;
  if (std::filesystem::is_regular_file(argument, error)) {
    const std::unique_ptr<std::FILE, int (*)(std::FILE*)> file(std::fopen(argument.c_str(), "rb"), &std::fclose);
    if (file == nullptr) {
      return std::unexpected("reading " + argument + ": it cannot be opened; check who may read it");
    }
    return bytes_of(read_all(file.get()));
  }
  if (auto bytes = from_hex(argument)) {
    return std::move(*bytes);
  }
  if (auto bytes = from_base64(argument)) {
    return std::move(*bytes);
  }
  return std::unexpected("reading " + argument + ": neither a file, nor hex, nor base64");
}

}  // namespace slipway::mls::tool
