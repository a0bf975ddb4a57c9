// Whole messages on their way in.

#include "wire/session_wire.h"
#include "wire/wire_fields.h"
#include "wire/wire_reader.h"

namespace slipway {
namespace {

namespace f = wire_field;
using wire_read::once;
using wire_read::pbf_reader;
using wire_read::refuse;

struct Seen {
  bool publish = false;
  bool header = false;
  bool session = false;
  bool content = false;
  bool source = false;
  bool destination = false;
};

void set_types(SessionMessage& m, std::uint64_t session_type, std::uint64_t message_type) {
  if (session_type > static_cast<std::uint64_t>(SessionType::kMulticast) || message_type == 0 ||
      message_type > static_cast<std::uint64_t>(MessageType::kRejoinReply)) {
    refuse(WireFault::kBadType);
  }
  m.session_type = static_cast<SessionType>(session_type);
  m.type = static_cast<MessageType>(message_type);
}

// Decodes one message; `native`: names' hashes, session and fan-out are known from the frame's header.
struct Decoder {
  WireMessage out;
  Seen seen;
  bool native;

  void slim_name(pbf_reader& field, bool& name_seen, FullName& name) {
    once(name_seen);
    name = native ? FullName(name.hashed(), wire_read::name_text_only(field)) : wire_read::name(field);
  }

  void slim_header(pbf_reader reader) {
    SessionMessage& m = out.message;
    while (reader.next()) {
      switch (reader.tag()) {
        case f::kSource: slim_name(reader, seen.source, m.source); break;
        case f::kDestination: slim_name(reader, seen.destination, m.destination); break;
        case f::kIdentity: m.identity = wire_read::text(reader, kMaxIdentityBytes); break;
        case f::kVersion: out.version = wire_read::text(reader, kMaxVersionBytes); break;
        case f::kHeaderSignature: out.signatures.header = wire_read::view(reader, kMaxSignatureTextBytes); break;
        case f::kFanout:
          if (!native) {
            m.fanout = wire_read::number32(reader);
            break;
          }
          refuse(WireFault::kRepeated);
        case f::kError:
          if (!native) {
            m.error = wire_read::flag(reader);
            break;
          }
          refuse(WireFault::kRepeated);
        default: reader.skip();
      }
    }
  }

  void session_header(pbf_reader reader) {
    std::uint64_t session_type = 0;
    std::uint64_t message_type = 0;
    while (reader.next()) {
      switch (reader.tag()) {
        case f::kSessionType: session_type = wire_read::number(reader); break;
        case f::kMessageType: message_type = wire_read::number(reader); break;
        case f::kSessionId: out.message.session_id = wire_read::number32(reader); break;
        case f::kMessageId: out.message.message_id = wire_read::number32(reader); break;
        default: reader.skip();
      }
    }
    set_types(out.message, session_type, message_type);
  }

  void publish(pbf_reader reader) {
    while (reader.next()) {
      switch (reader.tag()) {
        case f::kHeader:
          once(seen.header);
          slim_header(wire_read::inside(reader));
          break;
        case f::kSession:
          once(seen.session);
          session_header(wire_read::inside(reader));
          break;
        case f::kMsg: {
          once(seen.content);
          out.content = wire_read::view(reader, kMaxWireBlobBytes + kMaxPayloadTypeBytes + 16);
          out.message.payload = wire_read::content(pbf_reader(out.content.data(), out.content.size()));
          break;
        }
        default: reader.skip();
      }
    }
  }

  void metadata_entry(pbf_reader reader) {
    std::string_view key;
    std::string_view value;
    while (reader.next()) {
      switch (reader.tag()) {
        case 1: key = wire_read::text(reader, kMaxWireMetadataBytes); break;
        case 2: value = wire_read::text(reader, kMaxWireMetadataBytes); break;
        default: reader.skip();
      }
    }
    if (key == metadata_key::kPayloadSignature) {
      if (value.size() > kMaxSignatureTextBytes) {
        refuse(WireFault::kTooLong);
      }
      out.signatures.payload = value;
      return;
    }
    if (key == metadata_key::kPeerSubject) {
      return;  // only a receiver may say who it was
    }
    metadata_bytes += key.size() + value.size();
    if (metadata_bytes > kMaxWireMetadataBytes || out.message.metadata.size() == kMaxWireMetadataEntries) {
      refuse(WireFault::kTooLong);
    }
    out.message.metadata.insert_or_assign(std::string(key), std::string(value));
  }

  void message(pbf_reader reader) {
    while (reader.next()) {
      switch (reader.tag()) {
        case f::kPublish:
          once(seen.publish);
          publish(wire_read::inside(reader));
          break;
        case f::kMetadata: metadata_entry(wire_read::inside(reader)); break;
        default: reader.skip();
      }
    }
  }

  void finish() {
    if (!native) {
      if (!seen.publish) {
        refuse(WireFault::kNotPublish);
      }
      if (!seen.session) {
        refuse(WireFault::kNoSession);
      }
      if (!seen.source || !seen.destination) {
        refuse(WireFault::kMissing);
      }
    }
    if (!seen.content && is_command(out.message.type)) {
      refuse(WireFault::kMissing);
    }
    out.message.from_slipway = is_slipway_version(out.version);
  }

  std::size_t metadata_bytes = 0;
};

std::expected<WireMessage, WireFault> run(Decoder& decoder, std::span<const std::byte> bytes) {
  try {
    decoder.message(pbf_reader(reinterpret_cast<const char*>(bytes.data()), bytes.size()));
    decoder.finish();
    return std::move(decoder.out);
  } catch (const wire_read::Refused& refused) {
    return std::unexpected(refused.fault);
  } catch (const protozero::exception&) {
    return std::unexpected(WireFault::kNotProtobuf);
  }
}

}  // namespace

std::expected<WireMessage, WireFault> decode_upstream(std::span<const std::byte> message) {
  Decoder decoder{.out = {}, .seen = {}, .native = false};
  return run(decoder, message);
}

std::expected<WireMessage, WireFault> decode_frame(std::span<const std::byte> frame) {
  const FrameHeader header = load_header(frame.data());
  if (header.kind != FrameKind::kPublish) {
    return std::unexpected(WireFault::kNotPublish);
  }
  if ((header.flags & frame_flag::kSessionInBody) != 0) {
    return std::unexpected(WireFault::kBadType);  // a number that no session uses
  }
  Decoder decoder{.out = {}, .seen = {}, .native = true};
  SessionMessage& m = decoder.out.message;
  if (header.session_message_type == 0 && header.session_type == 0) {
    return std::unexpected(WireFault::kNoSession);
  }
  try {
    set_types(m, header.session_type, header.session_message_type);
  } catch (const wire_read::Refused& refused) {
    return std::unexpected(refused.fault);
  }
  m.session_id = header.session_id;
  m.message_id = header.message_id;
  m.fanout = header.fanout;
  m.error = (header.flags & frame_flag::kErrorTrue) != 0;
  m.source = FullName(header.source, nullptr);
  m.destination = FullName(header.destination, nullptr);
  return run(decoder, frame.subspan(kFrameHeaderBytes));
}

}  // namespace slipway
