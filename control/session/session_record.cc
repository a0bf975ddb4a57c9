#include "session/session_record.h"

#include <cstddef>
#include <memory>
#include <span>
#include <string_view>

#include "session/session_bounds.h"

namespace slipway {

namespace {

constexpr std::uint32_t kRecordMagic = 0x534c5352;    // "SLSR"
constexpr std::uint32_t kProgressMagic = 0x534c5350;  // "SLSP"
constexpr std::uint8_t kRecordFormat = 1;
constexpr std::size_t kMaxTextBytes = 64u << 10;

// Integers big-endian, texts behind their length.
class RecordWriter {
 public:
  explicit RecordWriter(std::uint32_t magic) {
    number(magic, 4);
    number(kRecordFormat, 1);
  }
  void number(std::uint64_t value, int bytes) {
    for (int shift = 8 * (bytes - 1); shift >= 0; shift -= 8) {
      bytes_.push_back(static_cast<std::byte>(value >> shift & 0xff));
    }
  }
  void flag(bool value) { number(value ? 1 : 0, 1); }
  void text(std::string_view value) {
    number(value.size(), 4);
    const auto* data = reinterpret_cast<const std::byte*>(value.data());
    bytes_.insert(bytes_.end(), data, data + value.size());
  }
  void name(const Name& value) {
    for (const std::uint64_t component : value.component) {
      number(component, 8);
    }
    number(value.id.high, 8);
    number(value.id.low, 8);
  }
  void name(const FullName& value) {
    name(value.hashed());
    flag(value.text_components() != nullptr);
    if (value.text_components()) {
      for (const std::string& component : *value.text_components()) {
        text(component);
      }
    }
  }
  void direction(const Direction& value) { number((value.sends ? 1u : 0u) | (value.receives ? 2u : 0u), 1); }
  [[nodiscard]] SharedBytes take() { return std::make_shared<const Bytes>(std::move(bytes_)); }

 private:
  Bytes bytes_;
};

// After the first thing that does not fit everything reads as zero and `ok` is false.
class RecordReader {
 public:
  RecordReader(const SharedBytes& bytes, std::uint32_t magic) : bytes_(bytes ? std::span<const std::byte>(*bytes) : std::span<const std::byte>{}) {
    ok_ = number(4) == magic && number(1) == kRecordFormat;
  }
  std::uint64_t number(int size) {
    if (!ok_ || bytes_.size() < static_cast<std::size_t>(size)) {
      ok_ = false;
      return 0;
    }
    std::uint64_t value = 0;
    for (int i = 0; i < size; ++i) {
      value = value << 8 | static_cast<std::uint64_t>(bytes_[static_cast<std::size_t>(i)]);
    }
    bytes_ = bytes_.subspan(static_cast<std::size_t>(size));
    return value;
  }
  std::uint32_t number32() { return static_cast<std::uint32_t>(number(4)); }
  bool flag() {
    const std::uint64_t value = number(1);
    ok_ = ok_ && value <= 1;
    return value == 1;
  }
  std::string text() {
    const std::size_t size = number32();
    if (!ok_ || size > kMaxTextBytes || size > bytes_.size()) {
      ok_ = false;
      return {};
    }
    std::string value(reinterpret_cast<const char*>(bytes_.data()), size);
    bytes_ = bytes_.subspan(size);
    return value;
  }
  Name name() {
    Name value;
    for (std::uint64_t& component : value.component) {
      component = number(8);
    }
    value.id.high = number(8);
    value.id.low = number(8);
    return value;
  }
  FullName full_name() {
    const Name hashed = name();
    if (!flag()) {
      return {hashed, nullptr};
    }
    FullName::Text components;
    for (std::string& component : components) {
      component = text();
    }
    return {hashed, std::make_shared<const FullName::Text>(std::move(components))};
  }
  Direction direction() {
    const std::uint64_t bits = number(1);
    ok_ = ok_ && bits <= 3;
    return {(bits & 1) != 0, (bits & 2) != 0};
  }
  // How many entries follow; the bytes must have room for so many.
  std::size_t count(std::size_t most) {
    const std::size_t value = number32();
    ok_ = ok_ && value <= most && value <= bytes_.size();
    return ok_ ? value : 0;
  }
  [[nodiscard]] bool ok() const { return ok_; }
  [[nodiscard]] bool done() const { return ok_ && bytes_.empty(); }

 private:
  std::span<const std::byte> bytes_;
  bool ok_ = true;
};

std::unexpected<SessionError> bad_record() {
  return std::unexpected(SessionError{SessionFault::kBadRecord, "restoring a session"});
}

void write_settings(RecordWriter& out, const SessionRecord& record) {
  out.flag(record.reliability.has_value());
  if (record.reliability) {
    out.number(record.reliability->timeout_ms, 4);
    out.number(record.reliability->max_retries, 4);
  }
  out.flag(record.mls.has_value());
  if (record.mls) {
    out.number(record.mls->header_integrity_percent, 4);
  }
  out.number(record.metadata.size(), 4);
  for (const auto& [key, value] : record.metadata) {
    out.text(key);
    out.text(value);
  }
}

void read_settings(RecordReader& in, SessionRecord& record) {
  if (in.flag()) {
    const std::uint32_t timeout = in.number32();
    record.reliability = TimerSettings{timeout, in.number32()};
  }
  if (in.flag()) {
    record.mls = MlsSettings{in.number32()};
  }
  for (std::size_t i = in.count(kMaxMetadataBytes); i > 0 && in.ok(); --i) {
    std::string key = in.text();
    record.metadata.insert_or_assign(std::move(key), in.text());
  }
}

}  // namespace

SharedBytes encode(const SessionRecord& record) {
  RecordWriter out(kRecordMagic);
  out.flag(record.is_moderator);
  out.number(static_cast<std::uint8_t>(record.type), 1);
  out.number(record.session_id, 4);
  out.name(record.local);
  out.direction(record.direction);
  write_settings(out, record);
  out.name(record.moderator);
  out.name(record.channel);
  out.name(record.control);
  out.number(record.roster_version, 8);
  out.number(record.last_commit, 4);
  out.flag(record.subscribed);
  out.flag(record.group_created);
  out.number(record.members.size(), 4);
  for (const MemberRecord& member : record.members) {
    out.name(member.info.name);
    out.direction(member.info.settings);
    out.flag(member.info.status == MemberStatus::kOffline);
    out.flag(member.from_slipway);
    out.flag(member.confirmed);
    out.number(member.since_version, 8);
  }
  out.number(record.departed.size(), 4);
  for (const auto& [name, last_id] : record.departed) {
    out.name(name);
    out.number(last_id, 4);
  }
  return out.take();
}

SharedBytes encode(const SessionProgress& progress) {
  RecordWriter out(kProgressMagic);
  out.number(progress.sent, 4);
  out.number(progress.heard.size(), 4);
  for (const auto& [name, last_id] : progress.heard) {
    out.name(name);
    out.number(last_id, 4);
  }
  return out.take();
}

std::expected<SessionRecord, SessionError> decode_record(const SharedBytes& bytes) {
  RecordReader in(bytes, kRecordMagic);
  SessionRecord record;
  record.is_moderator = in.flag();
  record.type = static_cast<SessionType>(in.number(1));
  record.session_id = in.number32();
  record.local = in.full_name();
  record.direction = in.direction();
  read_settings(in, record);
  record.moderator = in.full_name();
  record.channel = in.full_name();
  record.control = in.full_name();
  record.roster_version = in.number(8);
  record.last_commit = in.number32();
  record.subscribed = in.flag();
  record.group_created = in.flag();
  for (std::size_t i = in.count(kMaxSessionMembers); i > 0 && in.ok(); --i) {
    MemberRecord& member = record.members.emplace_back();
    member.info.name = in.full_name();
    member.info.settings = in.direction();
    member.info.status = in.flag() ? MemberStatus::kOffline : MemberStatus::kOnline;
    member.from_slipway = in.flag();
    member.confirmed = in.flag();
    member.since_version = in.number(8);
  }
  for (std::size_t i = in.count(kMaxSessionMembers); i > 0 && in.ok(); --i) {
    FullName name = in.full_name();
    record.departed.emplace_back(std::move(name), in.number32());
  }
  const bool kind_known = record.type == SessionType::kPointToPoint || record.type == SessionType::kMulticast;
  if (!in.done() || !kind_known || record.session_id > kMaxSessionId || record.local.empty() || record.moderator.empty()) {
    return bad_record();
  }
  return record;
}

std::expected<SessionProgress, SessionError> decode_progress(const SharedBytes& bytes) {
  RecordReader in(bytes, kProgressMagic);
  SessionProgress progress;
  progress.sent = in.number32();
  for (std::size_t i = in.count(kMaxSessionMembers); i > 0 && in.ok(); --i) {
    const Name name = in.name();
    progress.heard.emplace_back(name, in.number32());
  }
  if (!in.done() || progress.sent > kMaxDataId) {
    return bad_record();
  }
  return progress;
}

}  // namespace slipway
