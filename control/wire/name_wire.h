#pragma once
// Names as upstream writes them: hashes, id, text. Private to this folder.

#include <string>

#include "session/full_name.h"
#include "wire/proto_out.h"
#include "wire/wire_fields.h"

namespace slipway {

// The text components; empty if there are none.
inline std::string encode_name_text(const FullName& name) {
  std::string out;
  if (name.text_components()) {
    ProtoOut proto(out);
    for (std::uint32_t i = 0; i < 3; ++i) {
      proto.text(wire_field::kComponent + i, (*name.text_components())[i]);
    }
  }
  return out;
}

// A whole Name. The id is always there: absent and null are different to upstream's maps.
inline std::string encode_name(const FullName& name) {
  const Name& hashed = name.hashed();
  std::string id;
  ProtoOut id_out(id);
  id_out.number(wire_field::kIdHigh, hashed.id.high);
  id_out.number(wire_field::kIdLow, hashed.id.low);
  std::string encoded;
  ProtoOut encoded_out(encoded);
  for (std::uint32_t i = 0; i < 3; ++i) {
    encoded_out.number(wire_field::kComponent + i, hashed.component[i]);
  }
  encoded_out.nested(wire_field::kNameId, id);
  std::string out;
  ProtoOut proto(out);
  proto.nested(wire_field::kEncoded, encoded);
  if (name.text_components()) {
    proto.nested(wire_field::kText, encode_name_text(name));
  }
  return out;
}

inline void write_name(ProtoOut& proto, std::uint32_t field, const FullName& name) { proto.nested(field, encode_name(name)); }

}  // namespace slipway
