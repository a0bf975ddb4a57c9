#pragma once
// tests/vectors/session/golden.txt, by name.

#include <gtest/gtest.h>

#include <fstream>
#include <map>
#include <string>
#include <string_view>

namespace slipway::session_golden {

inline std::string from_hex(std::string_view hex) {
  const auto digit = [](char c) { return c >= 'a' ? c - 'a' + 10 : c - '0'; };
  std::string bytes;
  for (std::size_t i = 0; i + 1 < hex.size(); i += 2) {
    bytes.push_back(static_cast<char>(digit(hex[i]) * 16 + digit(hex[i + 1])));
  }
  return bytes;
}

inline std::string to_hex(std::string_view bytes) {
  std::string hex;
  for (const char c : bytes) {
    hex.push_back("0123456789abcdef"[static_cast<unsigned char>(c) >> 4]);
    hex.push_back("0123456789abcdef"[c & 15]);
  }
  return hex;
}

// The bytes; a test without them means nothing.
inline std::string load(std::string_view name) {
  static const std::map<std::string, std::string, std::less<>> all = [] {
    std::map<std::string, std::string, std::less<>> map;
    std::ifstream file(SESSION_VECTORS "/golden.txt");
    std::string line;
    while (std::getline(file, line)) {
      const auto space = line.find(' ');
      if (!line.starts_with('#') && space != std::string::npos) {
        map.emplace(line.substr(0, space), from_hex(std::string_view(line).substr(space + 1)));
      }
    }
    return map;
  }();
  const auto found = all.find(name);
  if (found == all.end()) {
    ADD_FAILURE() << SESSION_VECTORS "/golden.txt has no " << name;
    return {};
  }
  return found->second;
}

}  // namespace slipway::session_golden
