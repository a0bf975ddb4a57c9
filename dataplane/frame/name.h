#pragma once
// SLIM names. A name is three text components, of which the dataplane sees only 64-bit hashes, and a
// 128-bit id that picks one instance (or is null: any instance, or the name of a service).
// Hashes and ids are upstream's, so that both sides route alike: a component's hash is XXH64, seed 0,
// over its UTF-8 bytes and one byte 0xFF; an application's id is XXH3-128 of its identity.
// Every function here is pure and may be called from any thread.

#include <array>
#include <cstdint>
#include <expected>
#include <string>
#include <string_view>

namespace slipway {

// A 128-bit instance or channel id. All ones is null ("no instance"); values from 2^128 - 51 are
// reserved by upstream and are never produced by id_of_identity.
struct NameId {
  std::uint64_t high = ~std::uint64_t{0};
  std::uint64_t low = ~std::uint64_t{0};

  [[nodiscard]] constexpr bool is_null() const { return (high & low) == ~std::uint64_t{0}; }
  friend constexpr bool operator==(const NameId&, const NameId&) = default;
  friend constexpr auto operator<=>(const NameId&, const NameId&) = default;
};
inline constexpr NameId kNullId{};

// A name as the dataplane sees it: 40 bytes, trivially copyable.
struct Name {
  std::array<std::uint64_t, 3> component{};
  NameId id;

  friend constexpr bool operator==(const Name&, const Name&) = default;
};
static_assert(sizeof(Name) == 40);

// A name as people see it. Text is kept beside the hash wherever people look.
struct TextName {
  std::array<std::string, 3> component;
  NameId id;

  [[nodiscard]] Name hashed() const;
  // "org/namespace/service", and "/<id as UUID>" behind it unless the id is null.
  [[nodiscard]] std::string text() const;
  friend bool operator==(const TextName&, const TextName&) = default;
};

std::uint64_t hash_component(std::string_view text);
Name hash_name(std::string_view organization, std::string_view name_space, std::string_view service,
               NameId id = kNullId);

// The id of an application whose identity provider calls it `identity` (upstream: App::new).
NameId id_of_identity(std::string_view identity);

// Parses "org/namespace/service" or "org/namespace/service/id", where id is a UUID-formatted value, up to
// 32 hex digits after "0x", or NULL_COMPONENT. White space around the whole and around parts is
// trimmed, as upstream does. The error names the part that is wrong and what to write instead.
std::expected<TextName, std::string> parse_name(std::string_view text);

// UUID form (8-4-4-4-12 hex digits), or "NULL_COMPONENT" for the null id.
std::string id_text(NameId id);

// How a name is shown where only hashes are known: "#<hex>/#<hex>/#<hex>[/id]".
std::string hashed_text(const Name& name);

}  // namespace slipway
