#include <array>
#include <functional>
#include <string>

#include "bounds.h"
#include "wire/wire_fields.h"
#include "wire/wire_reader.h"

namespace slipway::wire_read {
namespace {

namespace f = wire_field;

NameId read_id(pbf_reader reader) {
  NameId id{0, 0};
  while (reader.next()) {
    switch (reader.tag()) {
      case f::kIdHigh: id.high = number(reader); break;
      case f::kIdLow: id.low = number(reader); break;
      default: reader.skip();
    }
  }
  return id;
}

Name read_encoded(pbf_reader reader) {
  Name name;  // without an id any instance is meant
  bool id_seen = false;
  while (reader.next()) {
    switch (reader.tag()) {
      case f::kComponent:
      case f::kComponent + 1:
      case f::kComponent + 2: {
        const auto index = reader.tag() - f::kComponent;  // before the field is taken
        name.component[index] = number(reader);
        break;
      }
      case f::kNameId:
        once(id_seen);
        name.id = read_id(inside(reader));
        break;
      default: reader.skip();
    }
  }
  return name;
}

// The same few names come again and again: their text is read once and shared. Found by the bytes, all of which are compared.
constexpr std::size_t kTextsKept = 64;
constexpr std::size_t kLongestKept = 256;
struct KeptText {
  std::string bytes;
  std::shared_ptr<const FullName::Text> parts;
};

std::shared_ptr<const FullName::Text> parse_text(pbf_reader reader) {
  auto parts = std::make_shared<FullName::Text>();
  while (reader.next()) {
    const auto index = reader.tag() - f::kComponent;
    if (index < parts->size()) {
      (*parts)[index] = text(reader, kMaxComponentBytes);
    } else {
      reader.skip();
    }
  }
  return parts;
}

std::shared_ptr<const FullName::Text> read_text(std::string_view bytes) {
  thread_local std::array<KeptText, kTextsKept> kept;
  KeptText& place = kept[std::hash<std::string_view>{}(bytes) % kTextsKept];
  if (place.parts && place.bytes == bytes) {
    return place.parts;
  }
  auto parts = parse_text(pbf_reader(bytes.data(), bytes.size()));
  if (bytes.size() <= kLongestKept) {
    place = {std::string(bytes), parts};
  }
  return parts;
}

}  // namespace

FullName name(pbf_reader& field) {
  pbf_reader reader = inside(field);
  Name hashed;
  std::shared_ptr<const FullName::Text> parts;
  bool encoded_seen = false;
  bool text_seen = false;
  while (reader.next()) {
    switch (reader.tag()) {
      case f::kEncoded:
        once(encoded_seen);
        hashed = read_encoded(inside(reader));
        break;
      case f::kText:
        once(text_seen);
        parts = read_text(view(reader, std::numeric_limits<std::size_t>::max()));
        break;
      default: reader.skip();
    }
  }
  if (!encoded_seen) {
    refuse(WireFault::kMissing);
  }
  return {hashed, std::move(parts)};
}

std::shared_ptr<const FullName::Text> name_text_only(pbf_reader& field) {
  pbf_reader reader = inside(field);
  std::shared_ptr<const FullName::Text> parts;
  while (reader.next()) {
    if (reader.tag() == f::kText) {
      parts = read_text(view(reader, std::numeric_limits<std::size_t>::max()));
    } else {
      reader.skip();
    }
  }
  return parts;
}

}  // namespace slipway::wire_read
