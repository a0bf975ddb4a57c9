#include "wire/header_protection.h"

#include <algorithm>
#include <array>

#include "wire/name_wire.h"
#include "wire/wire_fields.h"

namespace slipway {

std::string header_aad(const SessionMessage& m) {
  std::string out;
  out.reserve(256 + m.identity.size());
  ProtoOut proto(out);
  proto.number(wire_field::kAadVersion, 1);
  write_name(proto, wire_field::kAadSource, m.source);
  write_name(proto, wire_field::kAadDestination, m.destination);
  proto.text(wire_field::kAadIdentity, m.identity);
  proto.number(wire_field::kAadSessionType, static_cast<std::uint64_t>(m.session_type));
  proto.number(wire_field::kAadMessageType, static_cast<std::uint64_t>(m.type));
  proto.number(wire_field::kAadSessionId, m.session_id);
  proto.number(wire_field::kAadMessageId, m.message_id);
  if (const auto* app = std::get_if<AppPayload>(&m.payload)) {
    proto.text(wire_field::kAadPayloadType, app->payload_type);
  }
  return out;
}

std::string payload_signature_input(std::string_view aad, std::string_view content, const Metadata& metadata) {
  static constexpr std::string_view kDomain = "slim-payload-v1";
  static constexpr std::array<std::string_view, 5> kUnsigned{"traceparent", "tracestate", "baggage", metadata_key::kPayloadSignature,
                                                             metadata_key::kPeerSubject};
  std::string out(kDomain);
  const auto part = [&out](std::string_view bytes) {
    for (int shift = 56; shift >= 0; shift -= 8) {
      out.push_back(static_cast<char>(static_cast<std::uint64_t>(bytes.size()) >> shift));
    }
    out.append(bytes);
  };
  part(aad);
  part(content);
  for (const auto& [key, value] : metadata) {  // a map: in the order of the keys' bytes
    if (std::ranges::find(kUnsigned, std::string_view(key)) == kUnsigned.end()) {
      part(key);
      part(value);
    }
  }
  return out;
}

}  // namespace slipway
