#pragma once
// The text of names, beside their hashes: held once for each prefix, in one arena; organization and namespace, which
// most names of a deployment share, once for all that have them. Control thread.

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>

#include "bounds.h"
#include "routing/slab.h"

namespace slipway {

using NameText = std::array<std::string_view, 3>;  // all empty: the text is not known

class NameTexts {
 public:
  NameTexts() = default;
  // `seed`: secret of this node, so that nobody can choose texts that share one bucket of the index.
  NameTexts(std::size_t max_bytes, std::uint64_t seed);
  [[nodiscard]] bool valid() const { return units_.valid(); }
  [[nodiscard]] std::size_t bytes() const { return units_.bytes() + heads_.size() * kHeadIndexBytes; }

  // A reference to a copy; 0 when the text is unknown (all parts empty) or too long, or the arena is full.
  std::uint32_t add(const NameText& text);
  void remove(std::uint32_t reference);
  // Valid until that reference is removed.
  [[nodiscard]] NameText get(std::uint32_t reference) const;

 private:
  static constexpr std::size_t kUnit = 8;
  static constexpr std::size_t kHeadIndexBytes = 48;  // a node of the standard library's map and its share of buckets
  struct Unit {
    char bytes[kUnit];
  };
  // Organization and namespace, with the number of names that share them.
  struct Head {
    std::uint32_t users;
    std::uint16_t length[2];
  };
  // A name: its head, and the service behind it.
  struct Tail {
    std::uint32_t head;
    std::uint16_t length;
  } __attribute__((packed));
  static constexpr std::size_t kMaxUnits = (sizeof(Head) + 2 * kMaxComponentBytes) / kUnit + 1;

  static std::size_t units(std::size_t bytes) { return (bytes + kUnit - 1) / kUnit; }
  std::uint32_t take(std::size_t size);
  void give_back(std::uint32_t reference, std::size_t size);
  std::uint32_t take_head(std::string_view organization, std::string_view name_space);
  void release_head(std::uint32_t head);
  template <class T>
  [[nodiscard]] T load(std::uint32_t reference) const;
  template <class T>
  void store(std::uint32_t reference, const T& value);
  [[nodiscard]] NameText head_text(std::uint32_t head) const;
  [[nodiscard]] std::uint64_t head_hash(std::string_view organization, std::string_view name_space) const;

  Growable<Unit> units_;
  std::uint64_t seed_ = 0;
  std::unordered_map<std::uint64_t, std::uint32_t> heads_;  // by hash; of two with one hash the second is not shared
  std::array<std::uint32_t, kMaxUnits + 1> free_{};         // by size: first of a chain through the freed pieces
};

}  // namespace slipway
