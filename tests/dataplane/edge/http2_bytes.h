#pragma once
// HTTP/2 frames written and read by hand, for tests.

#include <gtest/gtest.h>

#include <string>
#include <string_view>
#include <vector>

namespace slipway::test {

inline std::string from_hex(std::string_view hex) {
  std::string out;
  int high = -1;
  for (const char c : hex) {
    const int digit = c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
    if (digit < 0) {
      continue;
    }
    if (high < 0) {
      high = digit;
    } else {
      out += static_cast<char>(high * 16 + digit);
      high = -1;
    }
  }
  return out;
}

inline std::string frame(std::uint8_t type, std::uint8_t flags, std::uint32_t stream, std::string_view payload) {
  std::string out;
  for (const int shift : {16, 8, 0}) {
    out += static_cast<char>(payload.size() >> shift);
  }
  out += static_cast<char>(type);
  out += static_cast<char>(flags);
  for (const int shift : {24, 16, 8, 0}) {
    out += static_cast<char>(stream >> shift);
  }
  return out.append(payload);
}

inline std::string grpc(std::string_view message, char flag = 0) {
  std::string out(1, flag);
  for (const int shift : {24, 16, 8, 0}) {
    out += static_cast<char>(message.size() >> shift);
  }
  return out.append(message);
}

struct Frame {
  std::uint8_t type;
  std::uint8_t flags;
  std::uint32_t stream;
  std::string payload;
};

inline std::vector<Frame> frames_of(std::string_view bytes) {
  std::vector<Frame> all;
  const auto at = [&](std::size_t i) { return static_cast<std::uint8_t>(bytes[i]); };
  while (bytes.size() >= 9) {
    const std::size_t length = static_cast<std::size_t>(at(0)) << 16 | static_cast<std::size_t>(at(1)) << 8 | at(2);
    if (bytes.size() < 9 + length) {
      break;
    }
    const std::uint32_t stream = static_cast<std::uint32_t>(at(5)) << 24 | static_cast<std::uint32_t>(at(6)) << 16 |
                                 static_cast<std::uint32_t>(at(7)) << 8 | at(8);
    all.push_back({at(3), at(4), stream, std::string(bytes.substr(9, length))});
    bytes.remove_prefix(9 + length);
  }
  EXPECT_TRUE(bytes.empty());
  return all;
}

// The reference client's first bytes, captured.
inline const std::string kClientStart = from_hex(
    "505249202a20485454502f322e300d0a0d0a534d0d0a0d0a"
    "000018 04 00 00000000 000200000000 000400200000 000500004000 000600004000"
    "000004 08 00 00000000 004f0001"
    "000057 01 04 00000001 8386418b089d5c0b8170dc69c7df0f04a36241a475d03a8abd761d275fb857be348f5d03a8bb8b67"
    "7310ac6aacb55e9c75545a3f4082497f864d833505b11f5f8b1d75d0620d263d4c4d65647a8949ea311802e169773f");

// The headers of that request alone, on any stream.
inline std::string request_on(std::uint32_t stream, std::uint8_t flags = 4) {
  const std::string block = kClientStart.substr(24 + 9 + 24 + 9 + 4 + 9);
  return frame(1, flags, stream, block);
}

}  // namespace slipway::test
