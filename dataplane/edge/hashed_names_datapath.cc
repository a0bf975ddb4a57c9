#include "edge/hashed_names.h"

#include <openssl/crypto.h>
#include <xxhash.h>

#include <algorithm>
#include <bit>
#include <cstring>

#include "edge/mac.h"
#include "frame/frame.h"

namespace slipway {

HashedNames::~HashedNames() {
  static_assert(std::has_single_bit(kStreams), "a hash becomes a slot by its low bits");
  for (std::size_t slot = 0; slot < kStreams; ++slot) {
    if (kept_[slot]) {
      OPENSSL_cleanse(&entries_[slot], sizeof(Entry));
    }
  }
}

// Behind the two names, as HeaderMac::covered() writes them.
std::size_t HashedNames::names_end(const std::byte* header) {
  constexpr std::size_t kHashes = sizeof(Name::component);
  std::size_t at = 0;
  const auto present = [&] { return header[at++] != std::byte{0}; };
  for (int name = 0; name < 2; ++name) {
    if (!present()) {
      continue;
    }
    if (present()) {
      at += kHashes;
      at += present() ? sizeof(NameId) : 0;
    }
    if (present()) {
      for (int component = 0; component < 3; ++component) {
        at += sizeof(std::uint32_t) + load_le<std::uint32_t>(header + at);
      }
    }
  }
  return at;
}

// Whether the bytes begin with those of an entry.
bool HashedNames::holds(std::size_t slot, const HeaderMac& mac, std::span<const std::byte> bytes) const {
  const Entry& entry = entries_[slot];
  return kept_[slot] && entry.link == mac.serial_ && entry.bytes <= bytes.size() && std::memcmp(entry.names.data(), bytes.data(), entry.bytes) == 0;
}

std::uint32_t HashedNames::begin(const HeaderMac& mac, std::span<const std::byte> bytes, std::span<std::uint32_t, kSha256Words> state,
                                 std::uint32_t* last) {
  std::size_t slot = *last;
  if (!holds(slot, mac, bytes)) {
    std::memcpy(state.data(), mac.inner_key_.data(), state.size_bytes());
    const std::size_t most = std::min(mac.prefix_bytes_ + names_end(bytes.data() + mac.prefix_bytes_), kMostBlocks * kSha256BlockBytes);
    const std::span names = bytes.first(most / kSha256BlockBytes * kSha256BlockBytes);
    const std::uint64_t hash = XXH3_64bits(names.data(), names.size()) ^ mac.serial_ * 0x9E3779B97F4A7C15u;
    slot = hash % kStreams;
    if (seen_[slot] != hash || names.empty()) {
      seen_[slot] = hash;
      kept_[slot] = false;
      return 0;
    }
    *last = static_cast<std::uint32_t>(slot);
    if (!holds(slot, mac, names)) {
      keep(slot, mac, names);
    }
  }
  const Entry& entry = entries_[slot];
  std::memcpy(state.data(), entry.state.data(), state.size_bytes());
  return entry.bytes;
}

void HashedNames::keep(std::size_t slot, const HeaderMac& mac, std::span<const std::byte> names) {
  Entry& entry = entries_[slot];
  kept_[slot] = true;
  entry.link = mac.serial_;
  entry.bytes = static_cast<std::uint32_t>(names.size());
  entry.state = mac.inner_key_;
  HeaderMac::hash_blocks(entry.state, names);
  std::memcpy(entry.names.data(), names.data(), names.size());
}

}  // namespace slipway
