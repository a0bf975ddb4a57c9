#pragma once
// The names of a header in the form in which every encoder writes them, read without a loop over fields: two names are most
// of the fields of a message. Anything else is left to the general reader. Private to the codec.

#include "edge/proto_message.h"
#include "edge/proto_varint.h"

namespace slipway {

// Bytes that must be readable behind a name: a number is loaded ten bytes at a time.
inline constexpr std::uint32_t kBeyondName = 10;

// Where the text of a name lies in it, from its key to its end; empty: there is none.
struct PlainName {
  Range text_field;
  bool has_values = false;   // a component or a half of an id
};

// Reads Name { name { components in order, name_id { halves in order } }, str_name { texts in order } }, each part of which
// may be missing, from `size` bytes at `begin`, which is offset `at` of the message. False: the name is of another form (or
// wrong), *out is of no use, and nothing is said about it.
bool read_plain_name(const std::byte* begin, std::uint32_t size, std::uint32_t at, NameFields* out, PlainName* plain);

}  // namespace slipway
