#include <openssl/crypto.h>
#include <openssl/rand.h>
#include <xxhash.h>

#include <bit>
#include <cstring>
#include <random>

#include "edge/mac_memo.h"

namespace slipway {

static_assert(std::has_single_bit(kMacMemoEntries));

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
  const std::uint64_t hash = XXH3_64bits_withSecret(header.data(), header.size(), secret_.data(), secret_.size());
  Entry& entry = entries_[(hash ^ link * 0x9E3779B97F4A7C15u) % kMacMemoEntries];
  if (entry.hash == hash && entry.link == link && entry.size == header.size() &&
      std::memcmp(entry.header.data(), header.data(), header.size()) == 0) {
    return {entry.mac.data(), true};
  }
  entry.hash = hash;
  entry.link = link;
  entry.size = static_cast<std::uint32_t>(header.size());
  std::memcpy(entry.header.data(), header.data(), header.size());
  return {entry.mac.data(), false};
}

}  // namespace slipway
