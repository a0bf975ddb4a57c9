#include "edge/proto_name.h"

#include "edge/proto_fields.h"
#include "edge/proto_reader.h"

namespace slipway {
namespace {

constexpr std::byte key_of(std::uint32_t field, WireType type) {
  return static_cast<std::byte>(field << 3 | static_cast<std::uint32_t>(type));
}

// A number under the next key, if the next key is this one.
bool take_number(const std::byte*& at, const std::byte* end, std::uint32_t field, std::uint64_t* value, bool* has_values) {
  if (at == end || *at != key_of(field, WireType::kVarint)) {
    return true;
  }
  *has_values = true;
  const unsigned bytes = load_varint(at + 1, value);
  at += 1 + bytes;
  return bytes != 0 && at <= end;
}

// The content of a nested field under the next key, of less than 128 bytes; empty pointers: another key.
struct Nested {
  const std::byte* begin = nullptr;
  const std::byte* end = nullptr;
};
bool take_nested(const std::byte*& at, const std::byte* end, std::uint32_t field, Nested* nested) {
  if (at == end || *at != key_of(field, WireType::kLength)) {
    return true;
  }
  if (end - at < 2 || static_cast<std::uint8_t>(at[1]) >= 0x80) {
    return false;
  }
  nested->begin = at + 2;
  nested->end = nested->begin + static_cast<std::uint8_t>(at[1]);
  at = nested->end;
  return at <= end;
}

bool read_encoded(const Nested& encoded, NameFields* out, bool* has_values) {
  const std::byte* at = encoded.begin;
  for (std::uint32_t i = 0; i < 3; ++i) {
    if (!take_number(at, encoded.end, proto_field::kComponent0 + i, &out->name.component[i], has_values)) {
      return false;
    }
  }
  Nested id;
  if (!take_nested(at, encoded.end, proto_field::kNameId, &id) || at != encoded.end) {
    return false;
  }
  if (id.begin == nullptr) {
    return true;
  }
  out->id_present = true;
  at = id.begin;
  return take_number(at, id.end, proto_field::kId0, &out->name.id.high, has_values) &&
         take_number(at, id.end, proto_field::kId1, &out->name.id.low, has_values) && at == id.end;
}

// ASCII alone, checked for keys and lengths too: they are below 128 here.
bool is_ascii(const std::byte* at, const std::byte* end) {
  std::uint64_t bits = 0;
  for (; end - at >= 8; at += 8) {
    bits |= load_le<std::uint64_t>(at);
  }
  for (; at != end; ++at) {
    bits |= static_cast<std::uint64_t>(*at);
  }
  return (bits & kVarintHighBits) == 0;
}

bool read_text(const Nested& text, const std::byte* begin, std::uint32_t base, NameFields* out) {
  if (!is_ascii(text.begin, text.end)) {
    return false;
  }
  const std::byte* at = text.begin;
  for (std::uint32_t i = 0; i < 3; ++i) {
    Nested part;
    if (!take_nested(at, text.end, proto_field::kStrComponent0 + i, &part)) {
      return false;
    }
    if (part.begin != nullptr) {
      out->text[i] = {base + static_cast<std::uint32_t>(part.begin - begin), static_cast<std::uint32_t>(part.end - part.begin)};
    }
  }
  return at == text.end;
}

}  // namespace

bool read_plain_name(const std::byte* begin, std::uint32_t size, std::uint32_t base, NameFields* out, PlainName* plain) {
  const std::byte* const end = begin + size;
  const std::byte* at = begin;
  out->present = true;
  Nested encoded;
  if (!take_nested(at, end, proto_field::kName, &encoded)) {
    return false;
  }
  if (encoded.begin != nullptr) {
    out->encoded_present = true;
    if (!read_encoded(encoded, out, &plain->has_values)) {
      return false;
    }
  }
  Nested text;
  const std::byte* const text_begin = at;
  if (!take_nested(at, end, proto_field::kStrName, &text) || at != end) {
    return false;
  }
  if (text.begin != nullptr) {
    out->text_present = true;
    plain->text_field = {base + static_cast<std::uint32_t>(text_begin - begin), static_cast<std::uint32_t>(end - text_begin)};
    return read_text(text, begin, base, out);
  }
  return true;
}

}  // namespace slipway
