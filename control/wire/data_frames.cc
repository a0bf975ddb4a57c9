#include "wire/data_frames.h"

#include "wire/name_wire.h"
#include "wire/wire_fields.h"
#include "wire/wire_reader.h"

namespace slipway {
namespace {

namespace f = wire_field;

constexpr char key_of(std::uint32_t field) { return static_cast<char>(field << 3 | 2); }
std::size_t nested_bytes(std::size_t size) { return 1 + ProtoOut::varint_bytes(size) + size; }

// Takes length-delimited fields with one-byte keys off the front.
struct Cursor {
  std::string_view left;

  // The field must come next.
  bool take(std::uint32_t field, std::string_view& content) {
    if (left.empty() || left.front() != key_of(field)) {
      return false;
    }
    std::size_t size = 0;
    std::size_t at = 1;
    for (int shift = 0;; shift += 7, ++at) {
      if (at >= left.size() || shift > 21) {
        return false;
      }
      const auto byte = static_cast<std::uint8_t>(left[at]);
      size |= std::size_t{byte & 0x7Fu} << shift;
      if (byte < 0x80) {
        break;
      }
    }
    ++at;
    if (left.size() - at < size) {
      return false;
    }
    content = left.substr(at, size);
    left.remove_prefix(at + size);
    return true;
  }
};

}  // namespace

std::optional<DataView> view_data(std::span<const std::byte> body) {
  Cursor outer{ProtoOut::view(body)};
  std::string_view content;
  DataView view;
  if (!outer.take(f::kPublish, content) || !outer.left.empty()) {
    return std::nullopt;
  }
  Cursor publish{content};
  if (!publish.take(f::kHeader, view.header) || !publish.take(f::kMsg, content) || !publish.left.empty()) {
    return std::nullopt;
  }
  Cursor message{content};
  if (!message.take(f::kApp, content) || !message.left.empty()) {
    return std::nullopt;
  }
  Cursor app{content};
  if (app.take(f::kPayloadType, view.payload_type) &&
      (view.payload_type.size() > kMaxPayloadTypeBytes || !wire_read::is_ascii(view.payload_type))) {
    return std::nullopt;
  }
  if ((!app.left.empty() && !app.take(f::kBlob, view.blob)) || !app.left.empty() || view.blob.size() > kMaxWireBlobBytes) {
    return std::nullopt;
  }
  return view;
}

std::string_view DataHeader::of(const FullName& source, const FullName& destination, std::string_view identity) {
  // Text by its place: it is shared and never changes.
  const auto same = [](const FullName& a, const FullName& b) { return a.text_components() == b.text_components() && a == b; };
  if (bytes_.empty() || identity != identity_ || !same(source, source_) || !same(destination, destination_)) {
    source_ = source;
    destination_ = destination;
    identity_ = identity;
    bytes_.clear();
    ProtoOut proto(bytes_);
    for (const auto& [field, name] : {std::pair{f::kSource, &source_}, std::pair{f::kDestination, &destination_}}) {
      if (name->text_components()) {
        std::string text;
        ProtoOut(text).nested(f::kText, encode_name_text(*name));
        proto.nested(field, text);
      }
    }
    proto.text(f::kIdentity, identity);
    proto.text(f::kVersion, kWireVersion);
  }
  return bytes_;
}

void encode_data_lead(std::string& to, std::string_view header, std::string_view payload_type, std::size_t blob_bytes) {
  const std::size_t app = ProtoOut::text_bytes(payload_type.size()) + ProtoOut::text_bytes(blob_bytes);
  const std::size_t content = nested_bytes(app);
  ProtoOut proto(to);
  proto.begin(f::kPublish, nested_bytes(header.size()) + nested_bytes(content));
  proto.nested(f::kHeader, header);
  proto.begin(f::kMsg, content);
  proto.begin(f::kApp, app);
  proto.text(f::kPayloadType, payload_type);
  if (blob_bytes != 0) {
    proto.begin(f::kBlob, blob_bytes);
  }
}

}  // namespace slipway
