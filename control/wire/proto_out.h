#pragma once
// Writes canonical proto3 into a string: fields in the order of the calls, defaults left out. Nested messages are made first
// and written with their size, so nothing moves afterwards. Private to this folder.

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace slipway {

class ProtoOut {
 public:
  explicit ProtoOut(std::string& to) : to_(to) {}

  // Left out when zero.
  void number(std::uint32_t field, std::uint64_t value) {
    if (value != 0) {
      present_number(field, value);
    }
  }
  void present_number(std::uint32_t field, std::uint64_t value) {
    char bytes[20];
    char* end = put(put(bytes, std::uint64_t{field} << 3), value);
    to_.append(bytes, end);
  }
  // Left out when empty.
  void text(std::uint32_t field, std::string_view value) {
    if (!value.empty()) {
      nested(field, value);
    }
  }
  void bytes(std::uint32_t field, std::span<const std::byte> value) { text(field, view(value)); }
  // Written also when empty: a message that is there.
  void nested(std::uint32_t field, std::string_view value) {
    begin(field, value.size());
    to_.append(value);
  }
  // Key and size; the caller appends so many bytes.
  void begin(std::uint32_t field, std::size_t size) {
    char bytes[20];
    char* end = put(put(bytes, std::uint64_t{field} << 3 | 2), size);
    to_.append(bytes, end);
  }

  [[nodiscard]] static std::string_view view(std::span<const std::byte> bytes) {
    return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
  }
  [[nodiscard]] static std::size_t varint_bytes(std::uint64_t value) {
    std::size_t bytes = 1;
    for (; value > 0x7F; value >>= 7) {
      ++bytes;
    }
    return bytes;
  }
  // Of a length-delimited field with a one-byte key that is left out when empty.
  [[nodiscard]] static std::size_t text_bytes(std::size_t size) { return size == 0 ? 0 : 1 + varint_bytes(size) + size; }

 private:
  static char* put(char* at, std::uint64_t value) {
    for (; value > 0x7F; value >>= 7) {
      *at++ = static_cast<char>(value | 0x80);
    }
    *at++ = static_cast<char>(value);
    return at;
  }
  std::string& to_;
};

}  // namespace slipway
