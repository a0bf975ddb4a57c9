#include "frame/name.h"

#include <fmt/format.h>
#include <xxhash.h>

#include "bounds.h"

namespace slipway {
namespace {

constexpr std::array<std::string_view, 3> kPartNames = {"organization", "namespace", "service"};
constexpr std::string_view kNullText = "NULL_COMPONENT";
// Ids from 2^128 - kReservedIds upwards are reserved; a hash that falls there is reduced by this modulus.
constexpr std::uint64_t kReservedIds = 51;

std::string_view trim(std::string_view text) {
  constexpr std::string_view kSpace = " \t\r\n";
  const auto first = text.find_first_not_of(kSpace);
  if (first == std::string_view::npos) {
    return {};
  }
  return text.substr(first, text.find_last_not_of(kSpace) - first + 1);
}

int hex_value(char c) {
  if (c >= '0' && c <= '9') {
    return c - '0';
  }
  if (c >= 'a' && c <= 'f') {
    return c - 'a' + 10;
  }
  return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

// Hex digits into 128 bits; false when a character is no digit or there are more than 32 or none.
bool parse_hex(std::string_view digits, NameId* id) {
  if (digits.empty() || digits.size() > 32) {
    return false;
  }
  NameId value{0, 0};
  for (const char c : digits) {
    const int digit = hex_value(c);
    if (digit < 0) {
      return false;
    }
    value.high = value.high << 4 | value.low >> 60;
    value.low = value.low << 4 | static_cast<std::uint64_t>(digit);
  }
  *id = value;
  return true;
}

bool parse_id(std::string_view text, NameId* id) {
  if (text == kNullText) {
    *id = kNullId;
    return true;
  }
  if (text.starts_with("0x")) {
    return parse_hex(text.substr(2), id);
  }
  if (text.size() != 36) {
    return false;
  }
  std::string digits;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const bool dash = i == 8 || i == 13 || i == 18 || i == 23;
    if (dash != (text[i] == '-')) {
      return false;
    }
    if (!dash) {
      digits.push_back(text[i]);
    }
  }
  return parse_hex(digits, id);
}

}  // namespace

std::uint64_t hash_component(std::string_view text) {
  // The terminator byte comes from upstream's hashing of a string; without it every hash differs.
  constexpr char kTerminator = static_cast<char>(0xFF);
  if (text.size() < 256) {
    std::array<char, 256> buffer;
    std::copy(text.begin(), text.end(), buffer.begin());
    buffer[text.size()] = kTerminator;
    return XXH64(buffer.data(), text.size() + 1, 0);
  }
  std::string buffer(text);
  buffer.push_back(kTerminator);
  return XXH64(buffer.data(), buffer.size(), 0);
}

Name hash_name(std::string_view organization, std::string_view name_space, std::string_view service, NameId id) {
  return {{hash_component(organization), hash_component(name_space), hash_component(service)}, id};
}

NameId id_of_identity(std::string_view identity) {
  const XXH128_hash_t hash = XXH3_128bits(identity.data(), identity.size());
  constexpr std::uint64_t kMax = ~std::uint64_t{0};
  NameId id{hash.high64, hash.low64};
  if (id.high == kMax && id.low >= kMax - (kReservedIds - 1)) {
    id = {0, id.low - (kMax - (kReservedIds - 1))};  // modulo 2^128 - 51
  }
  return id;
}

Name TextName::hashed() const { return hash_name(component[0], component[1], component[2], id); }

std::string TextName::text() const {
  auto text = fmt::format("{}/{}/{}", component[0], component[1], component[2]);
  return id.is_null() ? text : text + "/" + id_text(id);
}

std::string id_text(NameId id) {
  if (id.is_null()) {
    return std::string(kNullText);
  }
  return fmt::format("{:08x}-{:04x}-{:04x}-{:04x}-{:012x}", id.high >> 32, id.high >> 16 & 0xFFFF, id.high & 0xFFFF,
                     id.low >> 48, id.low & 0xFFFFFFFFFFFF);
}

std::string hashed_text(const Name& name) {
  auto text = fmt::format("#{:016x}/#{:016x}/#{:016x}", name.component[0], name.component[1], name.component[2]);
  return name.id.is_null() ? text : text + "/" + id_text(name.id);
}

std::expected<TextName, std::string> parse_name(std::string_view text) {
  constexpr std::string_view kForm = "a name is organization/namespace/service or organization/namespace/service/id";
  std::string_view rest = trim(text);
  TextName name;
  for (std::size_t i = 0; i < kPartNames.size(); ++i) {
    const auto slash = rest.find('/');
    const bool last = i + 1 == kPartNames.size();
    if (slash == std::string_view::npos && !last) {
      return std::unexpected(fmt::format("name '{}' has no {}: {}", text, kPartNames[i + 1], kForm));
    }
    const auto part = trim(rest.substr(0, slash));
    if (part.empty()) {
      return std::unexpected(fmt::format("name '{}' has an empty {}: {}", text, kPartNames[i], kForm));
    }
    if (part.size() > kMaxComponentBytes) {
      return std::unexpected(
          fmt::format("the {} of a name has {} bytes; at most {} are allowed", kPartNames[i], part.size(), kMaxComponentBytes));
    }
    name.component[i] = part;
    if (slash == std::string_view::npos) {
      return name;
    }
    rest.remove_prefix(slash + 1);
  }
  const auto id = trim(rest);
  if (id.find('/') != std::string_view::npos) {
    return std::unexpected(fmt::format("name '{}' has more than four parts: {}", text, kForm));
  }
  if (!parse_id(id, &name.id)) {
    return std::unexpected(
        fmt::format("name '{}' has the id '{}', which is neither a UUID, nor 0x with 1 to 32 hex digits, nor {}", text, id, kNullText));
  }
  return name;
}

}  // namespace slipway
