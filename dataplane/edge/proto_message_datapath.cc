// Reading messages. Cost is in README.md; the branches are one switch a message level.

#include <algorithm>

#include "edge/proto_fields.h"
#include "edge/proto_message.h"
#include "edge/proto_plain.h"
#include "edge/proto_reader.h"
#include "edge/proto_schema.h"

namespace slipway {
namespace {

using enum KeptLevel;

struct NameLevels {
  KeptLevel name;
  KeptLevel encoded;
  KeptLevel id;
};
constexpr NameLevels kSourceLevels{kSource, kSourceName, kSourceId};
constexpr NameLevels kDestinationLevels{kDestination, kDestinationName, kDestinationId};

class MessageReader {
 public:
  MessageReader(const Pieces& bytes, UpstreamMessage* out) : reader_(bytes), m_(*out) {}

  EdgeFault read() {
    ProtoField field;
    while (reader_.next(&field)) {
      const MessageKind kind = kind_of(field.number);
      const bool ok = kind != MessageKind::kNone                  ? variant(field, kind)
                      : field.number == proto_field::kMetadata ? checked(field, kMessage, ProtoSchema::kMetadataEntry)
                                                               : kept(field, kMessage);
      if (!ok) {
        break;
      }
    }
    return reader_.fault();
  }

 private:
  static MessageKind kind_of(std::uint32_t number) {
    switch (number) {
      case proto_field::kPublish:
        return MessageKind::kPublish;
      case proto_field::kSubscribe:
        return MessageKind::kSubscribe;
      case proto_field::kUnsubscribe:
        return MessageKind::kUnsubscribe;
      case proto_field::kLink:
        return MessageKind::kLink;
      case proto_field::kSubscriptionAck:
        return MessageKind::kSubscriptionAck;
      default:
        return MessageKind::kNone;
    }
  }

  // --- what is kept ---

  bool keep(KeptLevel level, std::uint32_t begin, std::uint32_t end) {
    m_.level_bytes[static_cast<std::size_t>(level)] += end - begin;
    if (m_.run_count != 0) {
      KeptRun& last = m_.run_list[m_.run_count - 1];
      if (last.level == level && last.range.end() == begin) {
        last.range.size += end - begin;
        return true;
      }
    }
    if (m_.run_count == kMaxKeptRuns) {
      return reader_.fail(EdgeFault::kTooScattered);
    }
    m_.run_list[m_.run_count++] = {{begin, end - begin}, level};
    return true;
  }
  // A field that is not read, with its key.
  bool kept(const ProtoField& field, KeptLevel level) {
    return reader_.skip(field) && keep(level, field.begin, reader_.at());
  }
  bool checked(const ProtoField& field, KeptLevel level, ProtoSchema schema) {
    return expect(field, WireType::kLength) && check_field(reader_, field, schema) && keep(level, field.begin, reader_.at());
  }
  bool kept_text(const ProtoField& field, KeptLevel level, Range* text) {
    *text = field.content;
    return expect(field, WireType::kLength) && reader_.utf8(field) && keep(level, field.begin, reader_.at());
  }

  // --- values ---

  bool expect(const ProtoField& field, WireType type) { return field.type == type || reader_.fail(EdgeFault::kWireType); }

  bool number(const ProtoField& field, std::uint64_t* value) {
    return expect(field, WireType::kVarint) && reader_.varint(value);
  }
  // Upstream's decoder cuts longer numbers to 32 bits.
  template <class T>
  bool number32(const ProtoField& field, T* value) {
    std::uint64_t wide;
    if (!number(field, &wide)) {
      return false;
    }
    *value = static_cast<T>(wide);
    return true;
  }
  template <class T>
  bool optional_number(const ProtoField& field, std::optional<T>* value) {
    std::uint64_t wide;
    if (!number(field, &wide)) {
      return false;
    }
    if constexpr (std::is_same_v<T, bool>) {
      *value = wide != 0;
    } else {
      *value = wide;
    }
    return true;
  }

  // --- levels ---

  // A oneof: another member takes the place of what was read of the one before; the same one again merges.
  bool variant(const ProtoField& field, MessageKind kind) {
    if (!expect(field, WireType::kLength)) {
      return false;
    }
    if (m_.kind != kind) {
      if (m_.kind != MessageKind::kNone) {
        forget_variant();
      }
      m_.kind = kind;
    }
    const auto outer = reader_.enter(field);
    const bool ok = kind == MessageKind::kPublish           ? publish()
                    : kind == MessageKind::kSubscriptionAck ? subscription_ack()
                    : kind == MessageKind::kLink            ? link()
                                                            : subscribe();
    return ok && reader_.leave(outer);
  }

  void forget_variant() {
    static_cast<UpstreamValues&>(m_) = {};
    m_.level_bytes = {};
    std::uint8_t left = 0;
    for (const KeptRun run : m_.runs()) {
      if (run.level == kMessage) {
        m_.run_list[left++] = run;
        m_.level_bytes[static_cast<std::size_t>(kMessage)] += run.range.size;
      }
    }
    m_.run_count = left;
  }

  bool publish() {
    ProtoField field;
    while (reader_.next(&field)) {
      bool ok;
      switch (field.number) {
        case proto_field::kHeader:
          ok = header(field);
          break;
        case proto_field::kSession:
          ok = session(field);
          break;
        case proto_field::kMsg:
          ok = checked(field, kVariant, ProtoSchema::kContent);
          break;
        default:
          ok = kept(field, kVariant);
      }
      if (!ok) {
        return false;
      }
    }
    return true;
  }

  bool subscribe() {
    ProtoField field;
    while (reader_.next(&field)) {
      bool ok;
      if (field.number == proto_field::kHeader) {
        ok = header(field);
      } else if (field.number == proto_field::kSubscriptionId) {
        ok = number(field, &m_.subscription_id) && keep(kVariant, field.begin, reader_.at());
      } else {
        ok = kept(field, kVariant);
      }
      if (!ok) {
        return false;
      }
    }
    return true;
  }

  bool subscription_ack() {
    ProtoField field;
    while (reader_.next(&field)) {
      bool ok;
      switch (field.number) {
        case proto_field::kAckId:
          ok = number(field, &m_.subscription_id) && keep(kVariant, field.begin, reader_.at());
          break;
        case proto_field::kAckSuccess: {
          std::uint64_t value = 0;
          ok = number(field, &value) && keep(kVariant, field.begin, reader_.at());
          m_.success = value != 0;
          break;
        }
        case proto_field::kAckError:
          ok = kept_text(field, kVariant, &m_.ack_error);
          break;
        default:
          ok = kept(field, kVariant);
      }
      if (!ok) {
        return false;
      }
    }
    return true;
  }

  bool link() {
    ProtoField field;
    while (reader_.next(&field)) {
      if (field.number == proto_field::kLinkNegotiation) {
        m_.has_link_type = true;
        if (!checked(field, kVariant, ProtoSchema::kLinkNegotiation)) {
          return false;
        }
      } else if (!kept(field, kVariant)) {
        return false;
      }
    }
    return true;
  }

  bool session(const ProtoField& whole) {
    if (!expect(whole, WireType::kLength)) {
      return false;
    }
    m_.has_session = true;
    const auto outer = reader_.enter(whole);
    ProtoField field;
    while (reader_.next(&field)) {
      bool ok;
      bool known = true;
      switch (field.number) {
        case proto_field::kSessionType:
          ok = number32(field, &m_.session_type);
          break;
        case proto_field::kSessionMessageType:
          ok = number32(field, &m_.session_message_type);
          break;
        case proto_field::kSessionId:
          ok = number32(field, &m_.session_id);
          break;
        case proto_field::kMessageId:
          ok = number32(field, &m_.message_id);
          break;
        default:
          known = false;
          ok = kept(field, kSession);
      }
      m_.has_session_fields |= known;
      if (!ok) {
        return false;
      }
    }
    return reader_.leave(outer) && (whole.content.empty() || keep(kSessionWhole, whole.content.at, whole.content.end()));
  }

  bool header(const ProtoField& whole) {
    if (!expect(whole, WireType::kLength)) {
      return false;
    }
    const bool may_be_plain = !m_.has_header && m_.run_count + kPlainHeaderRuns <= kMaxKeptRuns;
    const Piece in_place = may_be_plain ? reader_.in_place(whole) : Piece();
    m_.has_header = true;
    if (!in_place.empty() && read_plain_header(in_place, reader_.readable_end(), whole.content.at, &m_)) {
      reader_.skip_content(whole);
      return true;
    }
    const auto outer = reader_.enter(whole);
    ProtoField field;
    while (reader_.next(&field)) {
      if (!header_field(field)) {
        return false;
      }
    }
    return reader_.leave(outer);
  }

  bool header_field(const ProtoField& field) {
    switch (field.number) {
      case proto_field::kSource:
        return name(field, &m_.source, kSourceLevels);
      case proto_field::kDestination:
        return name(field, &m_.destination, kDestinationLevels);
      case proto_field::kIdentity:
        return kept_text(field, kIdentity, &m_.identity);
      case proto_field::kVersion:
        return kept_text(field, kVersion, &m_.version);
      case proto_field::kE2eHeaderSig:
        return expect(field, WireType::kLength) && kept(field, KeptLevel::kHeader);
      default:
        break;
    }
    if (field.number > proto_field::kE2eHeaderSig) {
      return kept(field, KeptLevel::kHeader);
    }
    m_.has_header_fields = true;
    switch (field.number) {
      case proto_field::kFanout:
        return number32(field, &m_.fanout);
      case proto_field::kTtl:
        return number32(field, &m_.ttl);
      case proto_field::kRecvFrom:
        return optional_number(field, &m_.recv_from);
      case proto_field::kForwardTo:
        return optional_number(field, &m_.forward_to);
      case proto_field::kIncomingConn:
        return optional_number(field, &m_.incoming_conn);
      case proto_field::kError:
        return optional_number(field, &m_.error);
      default:  // header_mac, the only one left
        m_.header_mac = field.content;
        return expect(field, WireType::kLength) && reader_.skip(field);
    }
  }

  bool name(const ProtoField& whole, NameFields* out, const NameLevels& levels) {
    if (!expect(whole, WireType::kLength)) {
      return false;
    }
    out->present = true;
    const auto outer = reader_.enter(whole);
    ProtoField field;
    while (reader_.next(&field)) {
      const bool ok = field.number == proto_field::kName      ? encoded_name(field, out, levels)
                      : field.number == proto_field::kStrName ? string_name(field, out, levels)
                                                              : kept(field, levels.name);
      if (!ok) {
        return false;
      }
    }
    return reader_.leave(outer);
  }

  bool encoded_name(const ProtoField& whole, NameFields* out, const NameLevels& levels) {
    if (!expect(whole, WireType::kLength)) {
      return false;
    }
    out->encoded_present = true;
    const auto outer = reader_.enter(whole);
    ProtoField field;
    while (reader_.next(&field)) {
      bool ok;
      const auto component = field.number - proto_field::kComponent0;
      if (component < 3) {
        m_.has_header_fields = true;
        ok = number(field, &out->name.component[component]);
      } else if (field.number == proto_field::kNameId) {
        ok = name_id(field, out, levels);
      } else {
        ok = kept(field, levels.encoded);
      }
      if (!ok) {
        return false;
      }
    }
    return reader_.leave(outer);
  }

  bool name_id(const ProtoField& whole, NameFields* out, const NameLevels& levels) {
    if (!expect(whole, WireType::kLength)) {
      return false;
    }
    out->id_present = true;
    const auto outer = reader_.enter(whole);
    ProtoField field;
    while (reader_.next(&field)) {
      bool ok;
      if (field.number == proto_field::kId0 || field.number == proto_field::kId1) {
        m_.has_header_fields = true;
        ok = number(field, field.number == proto_field::kId0 ? &out->name.id.high : &out->name.id.low);
      } else {
        ok = kept(field, levels.id);
      }
      if (!ok) {
        return false;
      }
    }
    return reader_.leave(outer);
  }

  bool string_name(const ProtoField& whole, NameFields* out, const NameLevels& levels) {
    if (!expect(whole, WireType::kLength)) {
      return false;
    }
    out->text_present = true;
    const auto outer = reader_.enter(whole);
    ProtoField field;
    while (reader_.next(&field)) {
      const auto component = field.number - proto_field::kStrComponent0;
      bool ok;
      if (component < 3) {
        out->text[component] = field.content;
        ok = expect(field, WireType::kLength) && reader_.utf8(field);
      } else {
        ok = reader_.skip(field);
      }
      if (!ok) {
        return false;
      }
    }
    return reader_.leave(outer) && keep(levels.name, whole.begin, reader_.at());
  }

  ProtoReader reader_;
  UpstreamMessage& m_;
};

EdgeFault read(const Pieces& bytes, bool try_plain, UpstreamMessage* m) {
  if (try_plain && !bytes.pieces().empty()) {
    if (read_plain(bytes.pieces()[0], bytes.size(), m)) {
      return EdgeFault::kNone;
    }
    *static_cast<UpstreamValues*>(m) = {};
    m->level_bytes = {};
    m->run_count = 0;
  }
  return MessageReader(bytes, m).read();
}

constexpr bool fits_byte(std::int32_t value) { return value >= 0 && value <= 0xFF; }

MessageKind kind_of_frame(FrameKind kind) {
  switch (kind) {
    case FrameKind::kPublish:
      return MessageKind::kPublish;
    case FrameKind::kSubscribe:
      return MessageKind::kSubscribe;
    case FrameKind::kUnsubscribe:
      return MessageKind::kUnsubscribe;
    case FrameKind::kSubscriptionAck:
      return MessageKind::kSubscriptionAck;
    case FrameKind::kLink:
      return MessageKind::kLink;
  }
  return MessageKind::kNone;
}

// False: the body holds an id that the header says is absent.
bool complete_name(const Name& name, bool id_absent, NameFields* out) {
  if (id_absent && out->id_present) {
    return false;
  }
  out->present = true;
  out->encoded_present = true;
  out->id_present = !id_absent;
  out->name = name;
  return true;
}

EdgeFault complete(const FrameHeader& header, UpstreamMessage* m) {
  m->session_in_body = (header.flags & frame_flag::kSessionInBody) != 0;
  if (m->has_header_fields || (m->has_session_fields && !m->session_in_body) ||
      !complete_name(header.source, (header.flags & frame_flag::kSourceIdAbsent) != 0, &m->source) ||
      !complete_name(header.destination, (header.flags & frame_flag::kDestinationIdAbsent) != 0, &m->destination)) {
    return EdgeFault::kBodyRepeatsHeader;
  }
  m->has_header = true;
  m->fanout = header.fanout;
  m->ttl = header.hop_limit;
  if ((header.flags & (frame_flag::kErrorFalse | frame_flag::kErrorTrue)) != 0) {
    m->error = (header.flags & frame_flag::kErrorTrue) != 0;
  }
  if (m->kind == MessageKind::kPublish) {
    m->has_session = true;
    if (!m->session_in_body) {
      m->session_type = header.session_type;
      m->session_message_type = header.session_message_type;
      m->session_id = header.session_id;
      m->message_id = header.message_id;
    }
  }
  return EdgeFault::kNone;
}

EdgeFault validate_name(const NameFields& name, EdgeFault missing, EdgeFault unnamed) {
  return !name.present ? missing : !name.encoded_present ? unnamed : EdgeFault::kNone;
}

}  // namespace

EdgeFault parse_message(const Pieces& bytes, UpstreamMessage* message) {
  if (bytes.size() > kMaxUpstreamMessageBytes) {
    return EdgeFault::kTooBig;
  }
  const EdgeFault fault = read(bytes, true, message);
  message->session_in_body = !fits_byte(message->session_type) || !fits_byte(message->session_message_type);
  return fault;
}

EdgeFault parse_body(const FrameHeader& header, const Pieces& body, UpstreamMessage* message) {
  if (body.size() > kMaxFrameBytes - kFrameHeaderBytes) {
    return EdgeFault::kTooBig;
  }
  const MessageKind kind = kind_of_frame(header.kind);
  if (kind == MessageKind::kNone || kind == MessageKind::kLink) {
    return EdgeFault::kNotForUpstream;
  }
  const bool whole_session = (header.flags & frame_flag::kSessionInBody) != 0;
  if (const EdgeFault fault = read(body, !whole_session, message); fault != EdgeFault::kNone) {
    return fault;
  }
  // An encoder leaves out a message of which nothing is left.
  if (message->kind != kind && (message->kind != MessageKind::kNone || kind == MessageKind::kSubscriptionAck)) {
    return EdgeFault::kBodyType;
  }
  message->kind = kind;
  if (kind == MessageKind::kSubscriptionAck) {
    return EdgeFault::kNone;
  }
  if ((header.flags & frame_flag::kNoNames) != 0) {
    return EdgeFault::kFrameHeader;
  }
  return complete(header, message);
}

EdgeFault validate(const UpstreamMessage& m) {
  switch (m.kind) {
    case MessageKind::kNone:
      return EdgeFault::kNoMessageType;
    case MessageKind::kLink:
      return m.has_link_type ? EdgeFault::kLinkAgain : EdgeFault::kNoLinkType;
    case MessageKind::kSubscriptionAck:
      return EdgeFault::kNone;
    default:
      break;
  }
  if (!m.has_header) {
    return EdgeFault::kNoHeader;
  }
  if (const auto fault = validate_name(m.source, EdgeFault::kNoSource, EdgeFault::kNoSourceName); fault != EdgeFault::kNone) {
    return fault;
  }
  if (const auto fault = validate_name(m.destination, EdgeFault::kNoDestination, EdgeFault::kNoDestinationName);
      fault != EdgeFault::kNone) {
    return fault;
  }
  return m.kind == MessageKind::kPublish && !m.has_session ? EdgeFault::kNoSession : EdgeFault::kNone;
}

}  // namespace slipway
