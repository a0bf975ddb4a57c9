#pragma once
// How far the header MACs of a stream are the same: they cover the link's id, then the names of source and destination, then
// what differs from message to message. A worker remembers where the hash stands behind the last whole block of names, and
// goes on from there: a third of the blocks of a usual header. It changes no result: an entry is used only for the same link and
// the very same bytes. Names are kept when they come a second time.
//
// One worker owns it. Room for kStreams streams; a new one takes the place of another.

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

#include "edge/sha256_lanes.h"

namespace slipway {

class HeaderMac;

class HashedNames {
 public:
  HashedNames() : entries_(std::make_unique_for_overwrite<Entry[]>(kStreams)) {}
  ~HashedNames();  // wipes: the states are as secret as half a key
  HashedNames(const HashedNames&) = delete;
  HashedNames& operator=(const HashedNames&) = delete;

  // bytes: what is hashed behind the key: prefix and header. Returns how many of them, whole blocks, are in *state; of none it
  // is the key's. *last: of one direction of a link, 0 at first: where its last names were found, which are looked at first.
  [[nodiscard]] std::uint32_t begin(const HeaderMac& mac, std::span<const std::byte> bytes, std::span<std::uint32_t, kSha256Words> state,
                                    std::uint32_t* last);

 private:
  static constexpr std::size_t kStreams = 1024;
  static constexpr std::size_t kMostBlocks = 6;
  struct Entry {
    std::uint64_t link;
    std::uint32_t bytes;
    std::array<std::uint32_t, kSha256Words> state;
    std::array<std::byte, kMostBlocks * kSha256BlockBytes> names;
  };
  [[nodiscard]] bool holds(std::size_t slot, const HeaderMac& mac, std::span<const std::byte> bytes) const;
  void keep(std::size_t slot, const HeaderMac& mac, std::span<const std::byte> names);
  static std::size_t names_end(const std::byte* header);

  // Apart from the entries: of what came once, only its hash is here.
  std::array<std::uint64_t, kStreams> seen_{};
  std::array<bool, kStreams> kept_{};
  std::unique_ptr<Entry[]> entries_;
};

}  // namespace slipway
