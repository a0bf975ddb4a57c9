#include "tree/key_index.h"

#include <bit>
#include <cstring>
#include <random>

namespace slipway::mls {
namespace {

uint64_t process_seed() {
  static const uint64_t seed = [] {
    std::random_device device;
    return static_cast<uint64_t>(device()) << 32 | device();
  }();
  return seed;
}

__extension__ using Wide = unsigned __int128;

// Multiply and fold: each 8 bytes are mixed with all that came before.
uint64_t fold(uint64_t a, uint64_t b) {
  const auto product = static_cast<Wide>(a ^ 0x9e3779b97f4a7c15) * (b | 1);
  return static_cast<uint64_t>(product) ^ static_cast<uint64_t>(product >> 64);
}

}  // namespace

uint32_t key_tag(KeyKind kind, std::span<const uint8_t> key) {
  const uint64_t seed = process_seed();
  uint64_t state = seed ^ (key.size() * 2 + static_cast<uint64_t>(kind));
  size_t at = 0;
  for (; at + 8 <= key.size(); at += 8) {
    uint64_t word;
    std::memcpy(&word, key.data() + at, 8);
    state = fold(state ^ word, seed);
  }
  uint64_t tail = 0;
  std::memcpy(&tail, key.data() + at, key.size() - at);
  state = fold(state ^ tail, seed + 2);
  return static_cast<uint32_t>(state ^ state >> 32);
}

void KeyIndex::insert(uint32_t tag, KeyKind kind, NodeIndex node) {
  if ((used_ + erased_ + 1) * 4 > slots_.size() * 3) {
    rehash(std::bit_ceil((used_ + 1) * 2 < 16 ? size_t{16} : (used_ + 1) * 2));
  }
  const size_t mask = slots_.size() - 1;
  size_t at = tag & mask;
  while (slots_[at].ref != kEmpty && slots_[at].ref != kErased) {
    at = (at + 1) & mask;
  }
  if (slots_[at].ref == kErased) {
    --erased_;
  }
  slots_[at] = {tag, make_ref(kind, node)};
  ++used_;
}

void KeyIndex::erase(uint32_t tag, KeyKind kind, NodeIndex node) {
  if (slots_.empty()) {
    return;
  }
  const size_t mask = slots_.size() - 1;
  const uint32_t ref = make_ref(kind, node);
  for (size_t at = tag & mask; slots_[at].ref != kEmpty; at = (at + 1) & mask) {
    if (slots_[at].ref == ref && slots_[at].tag == tag) {
      slots_[at].ref = kErased;
      --used_;
      ++erased_;
      return;
    }
  }
}

void KeyIndex::clear() {
  slots_.clear();
  used_ = 0;
  erased_ = 0;
}

void KeyIndex::reserve(size_t count) {
  if (count * 4 > slots_.size() * 3) {
    rehash(std::bit_ceil(count * 2 < 16 ? size_t{16} : count * 2));
  }
}

void KeyIndex::rehash(size_t slots) {
  std::vector<Slot> old(slots);
  old.swap(slots_);
  used_ = 0;
  erased_ = 0;
  const size_t mask = slots_.size() - 1;
  for (const Slot& slot : old) {
    if (slot.ref == kEmpty || slot.ref == kErased) {
      continue;
    }
    size_t at = slot.tag & mask;
    while (slots_[at].ref != kEmpty) {
      at = (at + 1) & mask;
    }
    slots_[at] = slot;
    ++used_;
  }
}

}  // namespace slipway::mls
