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
  // Where the last names of one direction of a link were found.
  struct Last {
    std::uint32_t slot = 0;    // looked at first
    std::uint64_t version = 0; // of that entry, if `names` is not 0
    std::uint64_t names = 0;   // a number that stands for the names; 0: of names without one
  };
  HashedNames() : entries_(std::make_unique_for_overwrite<Entry[]>(kStreams)) {}
  ~HashedNames();  // wipes: the states are as secret as half a key
  HashedNames(const HashedNames&) = delete;
  HashedNames& operator=(const HashedNames&) = delete;

  // bytes: what is hashed behind the key: prefix and header; names: the number of its names, or 0. Returns how many of the bytes, whole
  // blocks, are in *state; of none it is the key's.
  [[nodiscard]] std::uint32_t begin(const HeaderMac& mac, std::span<const std::byte> bytes, std::uint64_t names,
                                    std::span<std::uint32_t, kSha256Words> state, Last* last);
  // The same without a look at the bytes. 0: not known by number alone, begin() says.
  [[nodiscard]] std::uint32_t recall(const HeaderMac& mac, std::uint64_t names, std::span<std::uint32_t, kSha256Words> state, const Last& last) const {
    const Entry& entry = entries_[last.slot];
    if (names == 0 || last.names != names || !kept_[last.slot] || entry.version != last.version) {
      return 0;
    }
    return resume(entry, mac, state);
  }

 private:
  static constexpr std::size_t kStreams = 1024;
  static constexpr std::size_t kMostBlocks = 6;
  struct Entry {
    std::uint64_t link;
    std::uint64_t version;  // no two are the same
    std::uint32_t bytes;
    std::array<std::uint32_t, kSha256Words> state;
    std::array<std::byte, kMostBlocks * kSha256BlockBytes> names;
  };
  [[nodiscard]] bool holds(std::size_t slot, const HeaderMac& mac, std::span<const std::byte> bytes) const;
  // From an entry whose names these are; 0 if it is another link's.
  [[nodiscard]] static std::uint32_t resume(const Entry& entry, const HeaderMac& mac, std::span<std::uint32_t, kSha256Words> state);
  void keep(std::size_t slot, const HeaderMac& mac, std::span<const std::byte> names);
  static std::size_t names_end(const std::byte* header);

  // Apart from the entries: of what came once, only its hash is here.
  std::uint64_t versions_ = 0;
  std::array<std::uint64_t, kStreams> seen_{};
  std::array<bool, kStreams> kept_{};
  std::unique_ptr<Entry[]> entries_;
};

}  // namespace slipway
