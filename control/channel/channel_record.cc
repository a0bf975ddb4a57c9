#include "channel/channel_record.h"

#include "frame/frame.h"

namespace slipway {
namespace {

constexpr char kVersion = 1;
constexpr std::size_t kAboutBytes = 1 + 1 + 1 + 8;       // version, MLS, of the file, time; then who
constexpr std::size_t kSessionBytes = 1 + 8 + 4;         // version, key, length of the record; then record and progress

std::uint64_t number_at(std::string_view value, std::size_t at) {
  return load_le<std::uint64_t>(reinterpret_cast<const std::byte*>(value.data()) + at);
}
void put_number(std::string& out, std::uint64_t number, std::size_t bytes) {
  for (std::size_t i = 0; i < bytes; ++i) {
    out += static_cast<char>(number >> (8 * i) & 0xFF);
  }
}
bool is_truth(char c) { return c == 0 || c == 1; }

}  // namespace

SharedBytes shared_copy(std::string_view bytes) {
  const auto* at = reinterpret_cast<const std::byte*>(bytes.data());
  return std::make_shared<const Bytes>(at, at + bytes.size());
}

std::string_view view_of(const SharedBytes& bytes) {
  return bytes ? std::string_view(reinterpret_cast<const char*>(bytes->data()), bytes->size()) : std::string_view();
}

std::string encode_about(const ChannelAbout& about) {
  std::string out;
  put_number(out, static_cast<unsigned char>(kVersion), 1);
  put_number(out, about.mls ? 1 : 0, 1);
  put_number(out, about.from_file ? 1 : 0, 1);
  put_number(out, about.created_s, 8);
  return out + about.created_by;
}

std::optional<ChannelAbout> decode_about(std::string_view value) {
  if (value.size() < kAboutBytes || value[0] != kVersion || !is_truth(value[1]) || !is_truth(value[2])) {
    return std::nullopt;
  }
  return ChannelAbout{value[1] == 1, value[2] == 1, number_at(value, 3), std::string(value.substr(kAboutBytes))};
}

std::string encode_session(std::uint64_t key, const StoredSession& parts) {
  const std::string_view record = view_of(parts.record);
  std::string out;
  put_number(out, static_cast<unsigned char>(kVersion), 1);
  put_number(out, key, 8);
  put_number(out, record.size(), 4);
  out += record;
  out += view_of(parts.progress);
  return out;
}

std::optional<ChannelSession> decode_session(std::string_view value) {
  if (value.size() < kSessionBytes || value[0] != kVersion) {
    return std::nullopt;
  }
  const auto record_bytes = load_le<std::uint32_t>(reinterpret_cast<const std::byte*>(value.data()) + 9);
  const std::string_view rest = value.substr(kSessionBytes);
  if (record_bytes > rest.size()) {
    return std::nullopt;
  }
  return ChannelSession{number_at(value, 1), {.record = shared_copy(rest.substr(0, record_bytes)), .progress = shared_copy(rest.substr(record_bytes)), .group = nullptr}};
}

}  // namespace slipway
