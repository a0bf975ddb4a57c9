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

std::uint32_t HashedNames::resume(const Entry& entry, const HeaderMac& mac, std::span<std::uint32_t, kSha256Words> state) {
  if (entry.link != mac.serial_) {
    return 0;
  }
  std::memcpy(state.data(), entry.state.data(), state.size_bytes());
  return entry.bytes;
}

std::uint32_t HashedNames::begin(const HeaderMac& mac, std::span<const std::byte> bytes, std::uint64_t names,
                                 std::span<std::uint32_t, kSha256Words> state, Last* last) {
  std::size_t slot = last->slot;
  if (!holds(slot, mac, bytes)) {
    std::memcpy(state.data(), mac.inner_key_.data(), state.size_bytes());
    const std::size_t most = std::min(mac.prefix_bytes_ + names_end(bytes.data() + mac.prefix_bytes_), kMostBlocks * kSha256BlockBytes);
    const std::span whole = bytes.first(most / kSha256BlockBytes * kSha256BlockBytes);
    const std::uint64_t hash = XXH3_64bits(whole.data(), whole.size()) ^ mac.serial_ * 0x9E3779B97F4A7C15u;
    slot = hash % kStreams;
    if (seen_[slot] != hash || whole.empty()) {
      seen_[slot] = hash;
      kept_[slot] = false;
      return 0;
    }
    if (!holds(slot, mac, whole)) {
      keep(slot, mac, whole);
    }
  }
  // Names say themselves where they end: where the bytes are the entry's, they are names here too, and those of all with this number.
  *last = {.slot = static_cast<std::uint32_t>(slot), .version = entries_[slot].version, .names = names};
  return resume(entries_[slot], mac, state);
}

void HashedNames::keep(std::size_t slot, const HeaderMac& mac, std::span<const std::byte> names) {
  Entry& entry = entries_[slot];
  kept_[slot] = true;
  entry.link = mac.serial_;
  entry.version = ++versions_;
  entry.bytes = static_cast<std::uint32_t>(names.size());
  entry.state = mac.inner_key_;
  HeaderMac::hash_blocks(entry.state, names);
  std::memcpy(entry.names.data(), names.data(), names.size());
}

}  // namespace slipway
