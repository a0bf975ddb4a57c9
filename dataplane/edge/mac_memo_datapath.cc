#include <openssl/crypto.h>
#include <openssl/rand.h>
#include <xxhash.h>

#include <bit>
#include <cstring>
#include <random>

#include "edge/mac_memo.h"

namespace slipway {

static_assert(std::has_single_bit(kMacMemoEntries), "a hash becomes a slot by its low bits");

MacMemo::MacMemo() : entries_(std::make_unique_for_overwrite<Entry[]>(kMacMemoEntries)) {
  if (RAND_bytes(reinterpret_cast<unsigned char*>(secret_.data()), static_cast<int>(secret_.size())) != 1) {
    // The secret only keeps entries from being aimed at: results do not depend on it.
    std::random_device device;
    for (std::byte& b : secret_) {
      b = static_cast<std::byte>(device());
    }
  }
}

MacMemo::~MacMemo() {
  OPENSSL_cleanse(entries_.get(), kMacMemoEntries * sizeof(Entry));
  OPENSSL_cleanse(secret_.data(), secret_.size());
}

MacMemo::Found MacMemo::find(std::uint64_t link, std::span<const std::byte> header) {
  if (header.size() > kMacMemoHeaderBytes) {
    return {};
  }
  // The link is part of it: the same header goes to many links in a fan-out.
  const std::uint64_t hash =
      XXH3_64bits_withSecret(header.data(), header.size(), secret_.data(), secret_.size()) ^ link * 0x9E3779B97F4A7C15u;
  const std::size_t slot = hash % kMacMemoEntries;
  Entry& entry = entries_[slot];
  if (hashes_[slot] == hash && entry.link == link && entry.size == header.size() &&
      std::memcmp(entry.header.data(), header.data(), header.size()) == 0) {
    return {entry.mac.data(), true};
  }
  std::uint32_t& seen = seen_[hash % kSeen];
  const auto tag = static_cast<std::uint32_t>(hash >> 32);
  if (seen != tag) {
    seen = tag;
    return {};
  }
  hashes_[slot] = hash;
  entry.link = link;
  entry.size = static_cast<std::uint32_t>(header.size());
  std::memcpy(entry.header.data(), header.data(), header.size());
  return {entry.mac.data(), false};
}

}  // namespace slipway
