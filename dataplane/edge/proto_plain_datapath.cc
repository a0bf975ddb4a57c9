#include "edge/proto_plain.h"

#include <algorithm>
#include <cstring>

#include "edge/proto_fields.h"
#include "edge/proto_reader.h"
#include "edge/proto_varint.h"

namespace slipway {
namespace {

using enum KeptLevel;

constexpr std::byte key_of(std::uint32_t field, WireType type) {
  return static_cast<std::byte>(field << 3 | static_cast<std::uint32_t>(type));
}

// The content of a length-delimited field; begin is null where another key came.
struct Nested {
  const std::byte* key = nullptr;
  const std::byte* begin = nullptr;
  const std::byte* end = nullptr;
  explicit operator bool() const { return begin != nullptr; }
};

// ASCII alone. Ends are read twice where the size is no multiple of the step.
bool all_ascii(const std::byte* begin, const std::byte* end) {
  const std::ptrdiff_t size = end - begin;
  std::uint64_t bits = 0;
  if (size >= 8) {
    const std::byte* at = begin;
    for (; end - at >= 32; at += 32) {
      bits |= load_le<std::uint64_t>(at) | load_le<std::uint64_t>(at + 8) | load_le<std::uint64_t>(at + 16) | load_le<std::uint64_t>(at + 24);
    }
    for (; end - at >= 8; at += 8) {
      bits |= load_le<std::uint64_t>(at);
    }
    bits |= load_le<std::uint64_t>(end - 8);
  } else if (size >= 4) {
    bits = load_le<std::uint32_t>(begin) | load_le<std::uint32_t>(end - 4);
  } else {
    for (const std::byte* at = begin; at != end; ++at) {
      bits |= static_cast<std::uint64_t>(*at);
    }
  }
  return (bits & kVarintHighBits) == 0;
}

class PlainReader {
 public:
  // Reads from `at`, which is offset `base` of the message, and touches nothing from `end` on. The message ends there too
  // unless its whole size is given: then only what nobody reads, the blob, may reach beyond `end`.
  PlainReader(const std::byte* at, const std::byte* end, std::uint32_t base, UpstreamMessage* out) : PlainReader(at, end, end - at, base, out) {}
  PlainReader(const std::byte* at, const std::byte* end, std::ptrdiff_t size, std::uint32_t base, UpstreamMessage* out, PlainNames* names = nullptr)
      : begin_(at), at_(at), end_(end), message_end_(at + size), base_(base), m_(*out), names_(names) {}
  [[nodiscard]] const PlainMarks& marks() const { return marks_; }

  // What was read, for the next one like it. Only where nothing but the blob can reach beyond one piece.
  void remember_shape(PlainShape* shape) const {
    if (++shape->others >= kTries && shape->others % kSeldom != 0) {
      return;
    }
    shape->size = 0;
    if (m_.kind != MessageKind::kPublish || blob_ == nullptr || blob_end_ != message_end_ || marks_.ttl_at == 0 || !m_.header_mac ||
        m_.identity.empty() || id_.size > kMostIdBytes || static_cast<std::size_t>(blob_ - begin_) > PlainShape::kMostBytes) {
      return;
    }
    shape->size = static_cast<std::uint32_t>(message_end_ - begin_);
    shape->blob_at = static_cast<std::uint32_t>(blob_ - begin_);
    ++shape->version;
    shape->id = id_;
    shape->marks = marks_;
    shape->message = m_;
    std::memcpy(shape->raw.data(), begin_, shape->blob_at);
  }

  bool read() {
    Nested variant;
    if (!take_variant(&variant) || !read_variant(variant)) {
      return false;
    }
    const std::byte* const behind = at_;
    while (at_ != message_end_) {
      if (!read_metadata()) {
        return false;
      }
    }
    keep(kMessage, behind, message_end_);
    return true;
  }

  // To the end of a SLIM header at which the reader stands.
  bool read_header(const std::byte* end) {
    if (!read_names(end) ||
        !kept_text(proto_field::kIdentity, end, kIdentity, &m_.identity) ||
        !number32(proto_field::kFanout, &m_.fanout, end, &m_.has_header_fields) ||
        !kept_text(proto_field::kVersion, end, kVersion, &m_.version)) {
      return false;
    }
    const std::byte* key = at_;
    if (!number32(proto_field::kTtl, &m_.ttl, end, &m_.has_header_fields)) {
      return false;
    }
    marks_.ttl_at = one_byte_value(key);
    if (!optional_number(proto_field::kRecvFrom, &m_.recv_from, end) || !optional_number(proto_field::kForwardTo, &m_.forward_to, end)) {
      return false;
    }
    key = at_;
    if (!optional_number(proto_field::kIncomingConn, &m_.incoming_conn, end)) {
      return false;
    }
    marks_.incoming_conn_at = one_byte_value(key);
    if (!optional_number(proto_field::kError, &m_.error, end)) {
      return false;
    }
    Nested mac;
    Nested signature;
    if (!nested(proto_field::kHeaderMac, end, &mac)) {
      return false;
    }
    if (mac.end > end_) {
      return false;
    }
    if (mac) {
      m_.has_header_fields = true;
      m_.header_mac = range(mac.begin, mac.end);
      at_ = mac.end;
    }
    if (!nested(proto_field::kE2eHeaderSig, end, &signature)) {
      return false;
    }
    if (signature) {
      at_ = signature.end;
      keep(KeptLevel::kHeader, signature.key, signature.end);
    }
    return at_ == end;
  }

 private:
  static constexpr std::uint32_t kTries = 4;
  static constexpr std::uint32_t kSeldom = 32;
  static constexpr std::uint32_t kMostIdBytes = 5;

  // --- fields ---

  bool varint(std::uint64_t* value, const std::byte* end) {
    if (at_ == end || at_ >= end_) {
      return false;
    }
    if (static_cast<std::uint8_t>(*at_) < 0x80) {
      *value = static_cast<std::uint8_t>(*at_++);
      return true;
    }
    if (end_ - at_ < 10) {
      return false;
    }
    const unsigned bytes = load_varint(at_, value);
    at_ += bytes;
    return bytes != 0 && at_ <= end;
  }
  [[nodiscard]] bool stands_at(std::uint32_t field, WireType type, const std::byte* end) const {
    return at_ < end_ && at_ != end && *at_ == key_of(field, type);
  }
  // A number under the next key, if the next key is this one; *found is set then.
  bool number(std::uint32_t field, std::uint64_t* value, const std::byte* end, bool* found) {
    if (!stands_at(field, WireType::kVarint, end)) {
      return true;
    }
    ++at_;
    *found = true;
    return varint(value, end);
  }
  template <class T>
  bool number32(std::uint32_t field, T* value, const std::byte* end, bool* found) {
    std::uint64_t wide = 0;
    bool here = false;
    if (!number(field, &wide, end, &here)) {
      return false;
    }
    if (here) {
      *value = static_cast<T>(wide);
      *found = true;
    }
    return true;
  }
  template <class T>
  bool optional_number(std::uint32_t field, std::optional<T>* value, const std::byte* end) {
    std::uint64_t wide = 0;
    bool here = false;
    if (!number(field, &wide, end, &here)) {
      return false;
    }
    if (here) {
      m_.has_header_fields = true;
      if constexpr (std::is_same_v<T, bool>) {
        *value = wide != 0;
      } else {
        *value = wide;
      }
    }
    return true;
  }
  // The content of a field, if the next key is this one; the reader then stands before it.
  bool nested(std::uint32_t field, const std::byte* end, Nested* out) {
    if (!stands_at(field, WireType::kLength, end)) {
      return true;
    }
    out->key = at_++;
    std::uint64_t size = 0;
    if (!varint(&size, end) || size > static_cast<std::uint64_t>(end - at_)) {
      return false;
    }
    out->begin = at_;
    out->end = at_ + size;
    return true;
  }

  [[nodiscard]] bool is_ascii(const Nested& text) const { return text.end <= end_ && all_ascii(text.begin, text.end); }
  [[nodiscard]] Range range(const std::byte* from, const std::byte* to) const {
    return {base_ + static_cast<std::uint32_t>(from - begin_), static_cast<std::uint32_t>(to - from)};
  }
  // Where the value of the number field lies that was read from `key` on, if it is of one byte.
  [[nodiscard]] std::uint32_t one_byte_value(const std::byte* key) const { return at_ - key == 2 ? range(key + 1, at_).at : 0; }
  // At most one a level; whoever calls has seen that there is room for all.
  void keep(KeptLevel level, const std::byte* from, const std::byte* to) {
    if (from != to) {
      m_.level_bytes[static_cast<std::size_t>(level)] = static_cast<std::uint32_t>(to - from);
      m_.run_list[m_.run_count++] = {range(from, to), level};
    }
  }
  // A text under the next key, if the next key is this one; kept with its key.
  bool kept_text(std::uint32_t field, const std::byte* end, KeptLevel level, Range* text) {
    Nested content;
    if (!nested(field, end, &content)) {
      return false;
    }
    if (content) {
      *text = range(content.begin, content.end);
      at_ = content.end;
      keep(level, content.key, content.end);
      return is_ascii(content);
    }
    return true;
  }

  // --- messages ---

  bool take_variant(Nested* variant) {
    if (at_ == end_) {
      return false;
    }
    const auto field = static_cast<std::uint32_t>(*at_) >> 3;
    m_.kind = field == proto_field::kPublish     ? MessageKind::kPublish
              : field == proto_field::kSubscribe ? MessageKind::kSubscribe
                                                 : MessageKind::kUnsubscribe;
    return (m_.kind != MessageKind::kUnsubscribe || field == proto_field::kUnsubscribe) && nested(field, message_end_, variant) && *variant;
  }

  bool read_variant(const Nested& variant) {
    Nested header;
    if (!nested(proto_field::kHeader, variant.end, &header)) {
      return false;
    }
    if (header) {
      m_.has_header = true;
      if (!read_header(header.end)) {
        return false;
      }
    }
    const bool ok = m_.kind == MessageKind::kPublish ? read_publish(variant.end) : read_subscribe(variant.end);
    return ok && at_ == variant.end;
  }

  bool read_subscribe(const std::byte* end) {
    const std::byte* const key = at_;
    bool found = false;
    if (!number(proto_field::kSubscriptionId, &m_.subscription_id, end, &found)) {
      return false;
    }
    keep(kVariant, key, at_);
    return true;
  }

  bool read_publish(const std::byte* end) {
    Nested session;
    if (!nested(proto_field::kSession, end, &session)) {
      return false;
    }
    if (session && !read_session(session.end)) {
      return false;
    }
    Nested msg;
    if (!nested(proto_field::kMsg, end, &msg)) {
      return false;
    }
    if (msg) {
      keep(kVariant, msg.key, msg.end);
      return read_content(msg.end);
    }
    return true;
  }

  bool read_session(const std::byte* end) {
    m_.has_session = true;
    return number32(proto_field::kSessionType, &m_.session_type, end, &m_.has_session_fields) &&
           number32(proto_field::kSessionMessageType, &m_.session_message_type, end, &m_.has_session_fields) &&
           number32(proto_field::kSessionId, &m_.session_id, end, &m_.has_session_fields) && read_id(end) && at_ == end &&
           static_cast<std::uint32_t>(m_.session_type) <= 0xFF && static_cast<std::uint32_t>(m_.session_message_type) <= 0xFF;
  }

  bool read_id(const std::byte* end) {
    const std::byte* const key = at_;
    const bool ok = number32(proto_field::kMessageId, &m_.message_id, end, &m_.has_session_fields);
    id_ = key == at_ ? Range() : range(key + 1, at_);
    return ok;
  }

  // Content { app_payload { payload_type, blob } }
  bool read_content(const std::byte* end) {
    Nested app;
    if (!nested(proto_field::kAppPayload, end, &app)) {
      return false;
    }
    if (app) {
      Nested type;
      if (!nested(proto_field::kPayloadType, app.end, &type)) {
        return false;
      }
      if (type) {
        at_ = type.end;
        if (!is_ascii(type)) {
          return false;
        }
      }
      Nested blob;
      if (!nested(proto_field::kBlob, app.end, &blob)) {
        return false;
      }
      if (blob) {
        at_ = blob.end;
        blob_ = blob.begin;
        blob_end_ = blob.end;
      }
      if (at_ != app.end) {
        return false;
      }
    }
    return at_ == end;
  }

  // An entry: its key and its value, both texts.
  bool read_metadata() {
    Nested entry;
    if (!nested(proto_field::kMetadata, message_end_, &entry) || !entry) {
      return false;
    }
    for (const std::uint32_t field : {1u, 2u}) {
      Nested text;
      if (!nested(field, entry.end, &text)) {
        return false;
      }
      if (text) {
        at_ = text.end;
        if (!is_ascii(text)) {
          return false;
        }
      }
    }
    return at_ == entry.end;
  }

  bool read_names(const std::byte* end) {
    if (names_ == nullptr) {
      return read_new_names(end);
    }
    const std::byte* const first = at_;
    const std::size_t most = static_cast<std::size_t>(std::min(end, end_) - first);
    names_->same = names_->bytes != 0 && names_->bytes <= most && range(first, first).at == names_->at &&
                   std::memcmp(first, names_->raw.data(), names_->bytes) == 0;
    if (names_->same) {
      names_->others = 0;
      recall_names();
      return true;
    }
    if (!read_new_names(end)) {
      return false;
    }
    // Of connections whose names change all the time few are remembered.
    if (++names_->others < kTries || names_->others % kSeldom == 0) {
      remember_names(first);
    }
    return true;
  }
  bool read_new_names(const std::byte* end) {
    return read_name(proto_field::kSource, end, &m_.source, kSource) && read_name(proto_field::kDestination, end, &m_.destination, kDestination);
  }
  void recall_names() {
    at_ += names_->bytes;
    m_.source = names_->source;
    m_.destination = names_->destination;
    m_.has_header_fields = names_->header_fields;
    for (std::uint8_t i = 0; i < names_->run_count; ++i) {
      const KeptRun& run = names_->runs[i];
      m_.run_list[m_.run_count++] = run;
      m_.level_bytes[static_cast<std::size_t>(run.level)] = run.range.size;
    }
  }
  // Of a message that had nothing before its names. Without a destination the next field could still be one.
  void remember_names(const std::byte* first) {
    const auto bytes = static_cast<std::size_t>(at_ - first);
    names_->bytes = 0;
    names_->shape.size = 0;
    if (!m_.destination.present || bytes > PlainNames::kMostBytes || m_.run_count > names_->runs.size()) {
      return;
    }
    names_->at = range(first, first).at;
    names_->bytes = static_cast<std::uint32_t>(bytes);
    names_->header_fields = m_.has_header_fields;
    names_->run_count = m_.run_count;
    std::copy_n(m_.run_list.begin(), m_.run_count, names_->runs.begin());
    names_->source = m_.source;
    names_->destination = m_.destination;
    std::memcpy(names_->raw.data(), first, bytes);
    names_->covered_bytes = 0;
  }

  bool read_name(std::uint32_t field, const std::byte* end, NameFields* out, KeptLevel level) {
    Nested whole;
    if (!nested(field, end, &whole)) {
      return false;
    }
    if (!whole) {
      return true;
    }
    out->present = true;
    Nested encoded;
    if (!nested(proto_field::kName, whole.end, &encoded) || (encoded && !read_encoded(encoded.end, out))) {
      return false;
    }
    Nested text;
    if (!nested(proto_field::kStrName, whole.end, &text) || (text && !read_text(text, out))) {
      return false;
    }
    if (text) {
      keep(level, text.key, text.end);
    }
    return at_ == whole.end;
  }

  bool read_encoded(const std::byte* end, NameFields* out) {
    out->encoded_present = true;
    for (std::uint32_t i = 0; i < 3; ++i) {
      if (!number(proto_field::kComponent0 + i, &out->name.component[i], end, &m_.has_header_fields)) {
        return false;
      }
    }
    Nested id;
    if (!nested(proto_field::kNameId, end, &id)) {
      return false;
    }
    if (id) {
      out->id_present = true;
      if (!number(proto_field::kId0, &out->name.id.high, id.end, &m_.has_header_fields) ||
          !number(proto_field::kId1, &out->name.id.low, id.end, &m_.has_header_fields) || at_ != id.end) {
        return false;
      }
    }
    return at_ == end;
  }

  // Keys and lengths of short texts are below 128 too: one look at all of it.
  bool read_text(const Nested& text, NameFields* out) {
    out->text_present = true;
    if (!is_ascii(text)) {
      return false;
    }
    for (std::uint32_t i = 0; i < 3; ++i) {
      Nested part;
      if (!nested(proto_field::kStrComponent0 + i, text.end, &part)) {
        return false;
      }
      if (part) {
        out->text[i] = range(part.begin, part.end);
        at_ = part.end;
      }
    }
    return at_ == text.end;
  }

  const std::byte* const begin_;
  const std::byte* at_;
  const std::byte* const end_;
  const std::byte* const message_end_;
  const std::uint32_t base_;
  UpstreamMessage& m_;
  PlainNames* const names_;
  PlainMarks marks_;
  Range id_;
  const std::byte* blob_ = nullptr;
  const std::byte* blob_end_ = nullptr;
};

bool same(const std::byte* a, const std::byte* b, std::size_t from, std::size_t to) { return std::memcmp(a + from, b + from, to - from) == 0; }

}  // namespace

// What is compared says where each field lies; what is not compared are the values of some, which may be any of their size.
bool PlainShape::read(Piece bytes, std::size_t message_bytes, UpstreamMessage* out) const {
  const std::byte* const at = bytes.data();
  const Range& identity = message.identity;
  if (message_bytes != size || bytes.size() < blob_at || !same(at, raw.data(), 0, identity.at)) {
    return false;
  }
  const Range& mac = *message.header_mac;
  const std::byte ttl = at[marks.ttl_at];
  if (!same(at, raw.data(), identity.end(), marks.ttl_at) || ttl >= std::byte{0x80} || !same(at, raw.data(), marks.ttl_at + 1, mac.at)) {
    return false;
  }
  std::uint64_t number = 0;
  for (std::uint32_t i = 0; i < id.size; ++i) {
    const std::byte part = at[id.at + i];
    if ((part >= std::byte{0x80}) != (i + 1 < id.size)) {
      return false;
    }
    number |= static_cast<std::uint64_t>(part & std::byte{0x7F}) << 7 * i;
  }
  const std::uint32_t behind_mac = id.empty() ? blob_at : id.at;
  if (!same(at, raw.data(), mac.end(), behind_mac) || !same(at, raw.data(), id.empty() ? blob_at : id.end(), blob_at) ||
      !all_ascii(at + identity.at, at + identity.end())) {
    return false;
  }
  static_cast<UpstreamValues&>(*out) = message;
  out->level_bytes = message.level_bytes;
  out->run_count = message.run_count;
  std::copy_n(message.run_list.begin(), message.run_count, out->run_list.begin());
  out->ttl = static_cast<std::uint32_t>(ttl);
  out->message_id = id.empty() ? message.message_id : static_cast<std::uint32_t>(number);
  return true;
}

bool read_plain(Piece bytes, std::size_t size, UpstreamMessage* message, PlainMarks* marks, PlainNames* names) {
  if (names != nullptr && size != 0 && names->shape.size == size && names->shape.read(bytes, size, message)) {
    names->shape.others = 0;
    names->same = true;
    names->alike = true;
    if (marks != nullptr) {
      *marks = names->shape.marks;
    }
    return true;
  }
  PlainReader reader(bytes.data(), bytes.data() + bytes.size(), static_cast<std::ptrdiff_t>(size), 0, message, names);
  const bool done = reader.read();
  if (names != nullptr) {
    names->alike = false;
    if (done && names->same) {
      reader.remember_shape(&names->shape);
    }
  }
  if (marks != nullptr) {
    *marks = reader.marks();
  }
  return done;
}

bool read_plain_header(Piece header, const std::byte* readable_end, std::uint32_t at, UpstreamMessage* message) {
  const auto runs = message->run_count;
  const auto level_bytes = message->level_bytes;
  if (PlainReader(header.data(), readable_end, at, message).read_header(header.data() + header.size())) {
    return true;
  }
  static_cast<HeaderValues&>(*message) = {};
  message->run_count = runs;
  message->level_bytes = level_bytes;
  return false;
}

}  // namespace slipway
