#include <algorithm>

#include "edge/proto_fields.h"
#include "edge/translate.h"
#include "edge/translate_writer.h"

namespace slipway {
namespace {

using enum KeptLevel;

struct NameKept {
  KeptLevel name;
  KeptLevel encoded;
  KeptLevel id;
};
constexpr NameKept kSourceKept{kSource, kSourceName, kSourceId};
constexpr NameKept kDestinationKept{kDestination, kDestinationName, kDestinationId};

std::uint32_t variant_field(MessageKind kind) {
  switch (kind) {
    case MessageKind::kSubscribe:
      return proto_field::kSubscribe;
    case MessageKind::kUnsubscribe:
      return proto_field::kUnsubscribe;
    case MessageKind::kSubscriptionAck:
      return proto_field::kSubscriptionAck;
    default:
      return proto_field::kPublish;
  }
}

// --- native frames -------------------------------------------------------------------------------------

FrameKind frame_kind_of(MessageKind kind) {
  switch (kind) {
    case MessageKind::kSubscribe:
      return FrameKind::kSubscribe;
    case MessageKind::kUnsubscribe:
      return FrameKind::kUnsubscribe;
    case MessageKind::kSubscriptionAck:
      return FrameKind::kSubscriptionAck;
    default:
      return FrameKind::kPublish;
  }
}

std::uint8_t byte_of(std::int32_t value) { return value >= 0 && value <= 0xFF ? static_cast<std::uint8_t>(value) : 0; }

FrameHeader header_of(const UpstreamMessage& m) {
  if (m.kind == MessageKind::kSubscriptionAck) {
    FrameHeader header{.kind = FrameKind::kSubscriptionAck, .hop_limit = 0, .flags = frame_flag::kNoNames};
    header.source.id = header.destination.id = NameId{0, 0};
    return header;
  }
  // All fields at once: then the compiler does not clear the whole first.
  return {.version = kFrameVersion,
          .kind = frame_kind_of(m.kind),
          .hop_limit = static_cast<std::uint8_t>(std::min<std::uint32_t>(m.ttl, 0xFF)),
          .session_type = byte_of(m.session_type),
          .fanout = m.fanout,
          .session_id = m.session_id,
          .message_id = m.message_id,
          .destination = m.destination.routed(),
          .source = m.source.routed(),
          .session_message_type = byte_of(m.session_message_type),
          .flags = static_cast<std::uint16_t>((m.source.id_present ? 0 : frame_flag::kSourceIdAbsent) |
                                              (m.destination.id_present ? 0 : frame_flag::kDestinationIdAbsent) |
                                              (!m.error ? 0 : *m.error ? frame_flag::kErrorTrue : frame_flag::kErrorFalse) |
                                              (m.session_in_body ? frame_flag::kSessionInBody : 0))};
}

std::uint32_t optional_nested(std::uint32_t content) { return content == 0 ? 0 : nested_bytes(content); }

// What is left of a name when the header has taken its hashes and id.
struct NameRest {
  std::uint32_t id;
  std::uint32_t encoded;
  std::uint32_t name;
};
NameRest rest_of(const UpstreamMessage& m, const NameKept& kept) {
  const std::uint32_t id = m.bytes_of(kept.id);
  const std::uint32_t encoded = optional_nested(id) + m.bytes_of(kept.encoded);
  return {id, encoded, optional_nested(encoded) + m.bytes_of(kept.name)};
}

bool write_rest(PieceWriter& out, const UpstreamMessage& m, std::uint32_t field, const NameRest& rest, const NameKept& kept) {
  if (rest.name == 0) {
    return true;
  }
  out.nested(field, rest.name);
  if (rest.encoded != 0) {
    out.nested(proto_field::kName, rest.encoded);
    if (rest.id != 0) {
      out.nested(proto_field::kNameId, rest.id);
    }
  }
  return out.level(m, kept.id) && out.level(m, kept.encoded) && out.level(m, kept.name);
}

struct FrameSizes {
  NameRest source;
  NameRest destination;
  std::uint32_t header;
  std::uint32_t session;
  std::uint32_t variant;
  std::size_t frame;
};
FrameSizes frame_sizes(const UpstreamMessage& m) {
  FrameSizes s{};
  s.source = rest_of(m, kSourceKept);
  s.destination = rest_of(m, kDestinationKept);
  s.header = optional_nested(s.source.name) + optional_nested(s.destination.name) + m.bytes_of(kIdentity) + m.bytes_of(kVersion) +
             m.bytes_of(KeptLevel::kHeader);
  s.session = m.bytes_of(m.session_in_body ? kSessionWhole : kSession);
  s.variant = optional_nested(s.header) + optional_nested(s.session) + m.bytes_of(kVariant);
  const bool written = s.variant != 0 || m.kind == MessageKind::kSubscriptionAck;
  s.frame = kFrameHeaderBytes + (written ? nested_bytes(s.variant) : 0) + m.bytes_of(kMessage);
  return s;
}

bool write_body(PieceWriter& out, const UpstreamMessage& m, const FrameSizes& sizes) {
  if (sizes.variant != 0 || m.kind == MessageKind::kSubscriptionAck) {
    out.nested(variant_field(m.kind), sizes.variant);
  }
  if (sizes.header != 0) {
    out.nested(proto_field::kHeader, sizes.header);
    if (!write_rest(out, m, proto_field::kSource, sizes.source, kSourceKept) ||
        !write_rest(out, m, proto_field::kDestination, sizes.destination, kDestinationKept) || !out.level(m, kIdentity) ||
        !out.level(m, kVersion) || !out.level(m, KeptLevel::kHeader)) {
      return false;
    }
  }
  if (sizes.session != 0) {
    out.nested(proto_field::kSession, sizes.session);
    if (!out.level(m, m.session_in_body ? kSessionWhole : kSession)) {
      return false;
    }
  }
  return out.level(m, kVariant) && out.level(m, kMessage);
}

// --- upstream messages ---------------------------------------------------------------------------------

struct NameSizes {
  std::uint32_t id;
  std::uint32_t encoded;
  std::uint32_t name;
};
NameSizes name_sizes(const UpstreamMessage& m, const NameFields& name, const NameKept& kept) {
  NameSizes s{};
  const auto& [component, id] = name.name;
  s.id = number_bytes(id.high) + number_bytes(id.low) + m.bytes_of(kept.id);
  s.encoded = number_bytes(component[0]) + number_bytes(component[1]) + number_bytes(component[2]) +
              (name.id_present ? nested_bytes(s.id) : 0) + m.bytes_of(kept.encoded);
  s.name = nested_bytes(s.encoded) + m.bytes_of(kept.name);
  return s;
}

bool write_name(PieceWriter& out, const UpstreamMessage& m, std::uint32_t field, const NameFields& name, const NameSizes& sizes,
                const NameKept& kept) {
  out.nested(field, sizes.name);
  out.nested(proto_field::kName, sizes.encoded);
  for (std::uint32_t i = 0; i < 3; ++i) {
    out.number(proto_field::kComponent0 + i, name.name.component[i]);
  }
  if (name.id_present) {
    out.nested(proto_field::kNameId, sizes.id);
    out.number(proto_field::kId0, name.name.id.high);
    out.number(proto_field::kId1, name.name.id.low);
  }
  return out.level(m, kept.id) && out.level(m, kept.encoded) && out.level(m, kept.name);
}

std::uint32_t session_bytes(const UpstreamMessage& m) {
  if (m.session_in_body) {
    return m.bytes_of(kSessionWhole);
  }
  return number_bytes(static_cast<std::uint64_t>(m.session_type)) + number_bytes(static_cast<std::uint64_t>(m.session_message_type)) +
         number_bytes(m.session_id) + number_bytes(m.message_id) + m.bytes_of(kSession);
}

bool write_session(PieceWriter& out, const UpstreamMessage& m) {
  out.nested(proto_field::kSession, session_bytes(m));
  if (m.session_in_body) {
    return out.level(m, kSessionWhole);
  }
  out.number(proto_field::kSessionType, static_cast<std::uint64_t>(m.session_type));
  out.number(proto_field::kSessionMessageType, static_cast<std::uint64_t>(m.session_message_type));
  out.number(proto_field::kSessionId, m.session_id);
  out.number(proto_field::kMessageId, m.message_id);
  return out.level(m, kSession);
}

struct MessageSizes {
  NameSizes source;
  NameSizes destination;
  std::uint32_t header;
  std::uint32_t variant;
  std::size_t message;
};
MessageSizes message_sizes(const UpstreamMessage& m, const EgressFields& fields) {
  MessageSizes s{};
  if (m.kind != MessageKind::kSubscriptionAck) {
    s.source = name_sizes(m, m.source, kSourceKept);
    s.destination = name_sizes(m, m.destination, kDestinationKept);
    s.header = nested_bytes(s.source.name) + nested_bytes(s.destination.name) + m.bytes_of(kIdentity) + number_bytes(m.fanout) +
               m.bytes_of(kVersion) + number_bytes(m.ttl) + (fields.incoming_conn ? 1 + varint_bytes(*fields.incoming_conn) : 0) +
               (m.error ? 2 : 0) + (fields.mac != nullptr ? nested_bytes(kHeaderMacBytes) : 0) + m.bytes_of(KeptLevel::kHeader);
    s.variant = nested_bytes(s.header) + (m.kind == MessageKind::kPublish ? nested_bytes(session_bytes(m)) : 0);
  }
  s.variant += m.bytes_of(kVariant);
  s.message = nested_bytes(s.variant) + m.bytes_of(kMessage);
  return s;
}

// In ascending order of fields, as upstream writes them.
bool write_header(PieceWriter& out, const UpstreamMessage& m, const Pieces& body, const EgressFields& fields,
                  const MessageSizes& sizes) {
  out.nested(proto_field::kHeader, sizes.header);
  if (!write_name(out, m, proto_field::kSource, m.source, sizes.source, kSourceKept) ||
      !write_name(out, m, proto_field::kDestination, m.destination, sizes.destination, kDestinationKept) ||
      !out.level(m, kIdentity)) {
    return false;
  }
  out.number(proto_field::kFanout, m.fanout);
  if (!out.level(m, kVersion)) {
    return false;
  }
  out.number(proto_field::kTtl, m.ttl);
  if (fields.incoming_conn) {
    out.present_number(proto_field::kIncomingConn, *fields.incoming_conn);
  }
  if (m.error) {
    out.present_number(proto_field::kError, *m.error ? 1 : 0);
  }
  if (fields.mac != nullptr) {
    out.nested(proto_field::kHeaderMac, kHeaderMacBytes);
    out.mac = out.take(kHeaderMacBytes);
    if (fields.covered.size() >= kMacHeaderBytes) {
      out.covered_bytes = HeaderMac::covered(m, body, fields.covered.first<kMacHeaderBytes>());
    }
    if (out.covered_bytes == 0) {
      fields.mac->compute(m, body, std::span<std::byte, kHeaderMacBytes>(out.mac, kHeaderMacBytes), fields.memo);
    }
  }
  return out.level(m, KeptLevel::kHeader);
}

std::expected<Translated, EdgeFault> finish(PieceWriter& out, bool ok) {
  std::expected<Translated, EdgeFault> done;  // filled in where it is returned: not copied just after it was written
  if (!ok || !out.finish(&*done)) {
    done = std::unexpected(EdgeFault::kNoRoom);
  }
  return done;
}

bool has_room(const TranslateRoom& room) { return room.scratch.size() >= kTranslateScratchBytes && !room.pieces.empty(); }

}  // namespace

std::expected<Translated, EdgeFault> write_frame(const UpstreamMessage& m, const Pieces& bytes, const TranslateRoom& room) {
  if (!has_room(room)) {
    return std::unexpected(EdgeFault::kNoRoom);
  }
  const FrameSizes sizes = frame_sizes(m);
  if (sizes.frame > kMaxFrameBytes) {
    return std::unexpected(EdgeFault::kFrameTooBig);
  }
  if (m.kind != MessageKind::kPublish && sizes.frame > kMaxControlFrameBytes) {
    return std::unexpected(EdgeFault::kControlTooBig);
  }
  PieceWriter out(bytes, room);
  store_header(out.take(kFrameHeaderBytes), header_of(m));
  return finish(out, write_body(out, m, sizes));
}

std::expected<Translated, EdgeFault> write_upstream(const UpstreamMessage& m, const Pieces& body, const EgressFields& fields,
                                                    const TranslateRoom& room) {
  if (!has_room(room)) {
    return std::unexpected(EdgeFault::kNoRoom);
  }
  const MessageSizes sizes = message_sizes(m, fields);
  if (sizes.message > kMaxUpstreamMessageBytes) {
    return std::unexpected(EdgeFault::kTooBigForUpstream);
  }
  PieceWriter out(body, room);
  out.nested(variant_field(m.kind), sizes.variant);
  bool ok = true;
  if (m.kind != MessageKind::kSubscriptionAck) {
    ok = write_header(out, m, body, fields, sizes);
    if (m.kind == MessageKind::kPublish) {
      ok = ok && write_session(out, m);
    }
  }
  return finish(out, ok && out.level(m, kVariant) && out.level(m, kMessage));
}

std::expected<Translated, EdgeFault> frame_of_message(const Pieces& bytes, const MacRules& rules, const TranslateRoom& room) {
  UpstreamMessage message;
  EdgeFault fault = parse_message(bytes, &message);
  if (fault == EdgeFault::kNone) {
    fault = check_mac(message, bytes, rules);
  }
  if (fault == EdgeFault::kNone) {
    fault = validate(message);
  }
  if (fault != EdgeFault::kNone) {
    return std::unexpected(fault);
  }
  return write_frame(message, bytes, room);
}

std::expected<Translated, EdgeFault> message_of_frame(const std::byte* header, const Pieces& body, const EgressFields& fields,
                                                      const TranslateRoom& room) {
  if (check_frame({header, kFrameHeaderBytes}) != FrameFault::kNone) {
    return std::unexpected(EdgeFault::kFrameHeader);
  }
  UpstreamMessage message;
  if (const EdgeFault fault = parse_body(load_header(header), body, &message); fault != EdgeFault::kNone) {
    return std::unexpected(fault);
  }
  return write_upstream(message, body, fields, room);
}

}  // namespace slipway
