// Whole messages on their way out: headers, session, payload, metadata.

#include "wire/name_wire.h"
#include "wire/session_wire.h"
#include "wire/wire_fields.h"

namespace slipway {
namespace {

namespace f = wire_field;

// SLIMHeader. A native frame holds hashes, ids, fan-out, hop limit and the error mark in its own header.
std::string slim_header(const SessionMessage& m, const WireSignatures& signatures, std::string_view version, bool native) {
  std::string out;
  out.reserve(256 + m.identity.size() + signatures.header.size());
  ProtoOut proto(out);
  const auto name = [&](std::uint32_t field, const FullName& which) {
    if (!native) {
      write_name(proto, field, which);
    } else if (which.text_components()) {
      std::string text;
      ProtoOut(text).nested(f::kText, encode_name_text(which));
      proto.nested(field, text);
    }
  };
  name(f::kSource, m.source);
  name(f::kDestination, m.destination);
  proto.text(f::kIdentity, m.identity);
  if (!native) {
    proto.number(f::kFanout, m.fanout);
  }
  proto.text(f::kVersion, version);
  if (!native) {
    proto.number(f::kTtl, kDefaultHopLimit);
    if (m.error) {
      proto.present_number(f::kError, 1);
    }
  }
  proto.text(f::kHeaderSignature, signatures.header);
  return out;
}

std::string session_header(const SessionMessage& m) {
  std::string out;
  ProtoOut proto(out);
  proto.number(f::kSessionType, static_cast<std::uint64_t>(m.session_type));
  proto.number(f::kMessageType, static_cast<std::uint64_t>(m.type));
  proto.number(f::kSessionId, m.session_id);
  proto.number(f::kMessageId, m.message_id);
  return out;
}

void write_metadata_entry(ProtoOut& proto, std::string_view key, std::string_view value) {
  std::string entry;
  ProtoOut inner(entry);
  inner.text(1, key);
  inner.text(2, value);
  proto.nested(f::kMetadata, entry);
}

std::string encode(const SessionMessage& m, std::string_view content, const WireSignatures& signatures, std::string_view version, bool native) {
  const std::string header = slim_header(m, signatures, version, native);
  const std::string session = native ? std::string() : session_header(m);
  // Keys are one byte each.
  const auto nested = [](std::size_t size) { return 1 + ProtoOut::varint_bytes(size) + size; };
  const std::size_t publish = nested(header.size()) + (native ? 0 : nested(session.size())) + nested(content.size());
  std::string out;
  out.reserve(publish + 16 + (m.metadata.empty() && signatures.payload.empty() ? 0 : 256));
  ProtoOut proto(out);
  proto.begin(f::kPublish, publish);
  proto.nested(f::kHeader, header);
  if (!native) {
    proto.nested(f::kSession, session);
  }
  proto.nested(f::kMsg, content);
  for (const auto& [key, value] : m.metadata) {
    write_metadata_entry(proto, key, value);
  }
  if (!signatures.payload.empty()) {
    write_metadata_entry(proto, metadata_key::kPayloadSignature, signatures.payload);
  }
  return out;
}

}  // namespace

bool is_slipway_version(std::string_view version) { return version.ends_with("+slipway"); }

std::string encode_upstream(const SessionMessage& message, std::string_view content, const WireSignatures& signatures, std::string_view version) {
  return encode(message, content, signatures, version, false);
}

std::string encode_frame_body(const SessionMessage& message, std::string_view content, const WireSignatures& signatures, std::string_view version) {
  return encode(message, content, signatures, version, true);
}

FrameHeader frame_header_of(const SessionMessage& m) {
  return {.kind = FrameKind::kPublish,
          .session_type = static_cast<std::uint8_t>(m.session_type),
          .fanout = m.fanout,
          .session_id = m.session_id,
          .message_id = m.message_id,
          .destination = m.destination.hashed(),
          .source = m.source.hashed(),
          .session_message_type = static_cast<std::uint8_t>(m.type),
          .flags = m.error ? frame_flag::kErrorTrue : std::uint16_t{0}};
}

}  // namespace slipway
