#pragma once
// Reads protobuf fields with their bounds. protozero throws on what is malformed and asserts on wire types that were not
// checked, so every field is taken by number and type together, and a known number with a foreign type is a fault. What is
// thrown here never leaves this folder.

#include <concepts>
#include <cstdint>
#include <cstring>
#include <limits>
#include <protozero/pbf_reader.hpp>
#include <string_view>

#include "frame/utf8.h"
#include "session/session_message.h"
#include "wire/wire_fault.h"

namespace slipway::wire_read {

using protozero::pbf_reader;

struct Refused {
  WireFault fault;
};
[[noreturn]] inline void refuse(WireFault fault) { throw Refused{fault}; }

inline std::string_view view(pbf_reader& field, std::size_t limit) {
  if (field.wire_type() != protozero::pbf_wire_type::length_delimited) {
    refuse(WireFault::kNotProtobuf);
  }
  const auto data = field.get_view();
  if (data.size() > limit) {
    refuse(WireFault::kTooLong);
  }
  return {data.data(), data.size()};
}

// Nearly all text is, and this is eight times as quick.
inline bool is_ascii(std::string_view text) {
  std::uint64_t seen = 0;
  std::size_t i = 0;
  for (std::uint64_t eight = 0; text.size() - i >= sizeof eight; i += sizeof eight) {
    std::memcpy(&eight, text.data() + i, sizeof eight);
    seen |= eight;
  }
  for (; i < text.size(); ++i) {
    seen |= static_cast<std::uint8_t>(text[i]);
  }
  return (seen & 0x8080'8080'8080'8080u) == 0;
}

inline std::string_view text(pbf_reader& field, std::size_t limit) {
  const auto data = view(field, limit);
  if (!is_ascii(data) && !is_utf8(data)) {
    refuse(WireFault::kNotUtf8);
  }
  return data;
}

inline pbf_reader inside(pbf_reader& field) {
  const auto data = view(field, std::numeric_limits<std::size_t>::max());
  return pbf_reader(data.data(), data.size());
}

inline std::uint64_t number(pbf_reader& field) {
  if (field.wire_type() != protozero::pbf_wire_type::varint) {
    refuse(WireFault::kNotProtobuf);
  }
  return field.get_uint64();
}

// Protobuf takes a longer number for a shorter field by its low bits; peers never send one, so it is refused.
inline std::uint32_t number32(pbf_reader& field) {
  const auto value = number(field);
  if (value > std::numeric_limits<std::uint32_t>::max()) {
    refuse(WireFault::kOutOfRange);
  }
  return static_cast<std::uint32_t>(value);
}

template <class Enum>
Enum choice(pbf_reader& field, Enum last) {
  const auto value = number(field);
  if (value > static_cast<std::uint64_t>(last)) {
    refuse(WireFault::kOutOfRange);
  }
  return static_cast<Enum>(value);
}

inline bool flag(pbf_reader& field) { return number(field) != 0; }

inline SharedBytes blob(pbf_reader& field, std::size_t limit) {
  const auto data = view(field, limit);
  const auto* at = reinterpret_cast<const std::byte*>(data.data());
  return std::make_shared<const Bytes>(at, at + data.size());
}

// Marks a part that may come once.
inline void once(bool& seen) {
  if (seen) {
    refuse(WireFault::kRepeated);
  }
  seen = true;
}

// In name_decode.cc and content_decode.cc.
FullName name(pbf_reader& field);
// The text of a Name whose hashes are known from elsewhere; null if it has none.
std::shared_ptr<const FullName::Text> name_text_only(pbf_reader& field);
Payload content(pbf_reader reader);

}  // namespace slipway::wire_read
