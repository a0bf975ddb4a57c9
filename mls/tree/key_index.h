// Finds the node that holds a public key. RFC 9420, section 7.3, wants every signature key and
// every encryption key of a tree (parents included) to be unique; a scan for each check would make
// N additions quadratic.
//
// The index holds no keys, only references into a tree: whoever looks one up compares the key
// with the node's. Hashes are seeded once per process, because peers choose the keys.
// Not synchronised: one thread at a time.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "tree/node_math.h"

namespace slipway::mls {

enum class KeyKind : uint8_t { kEncryption = 0, kSignature = 1 };

// Hash of a key of one kind, to be passed to the index.
uint32_t key_tag(KeyKind kind, std::span<const uint8_t> key);

class KeyIndex {
 public:
  void insert(uint32_t tag, KeyKind kind, NodeIndex node);
  void erase(uint32_t tag, KeyKind kind, NodeIndex node);
  void clear();
  // Makes room for `count` entries at once.
  void reserve(size_t count);
  size_t size() const { return used_; }
  size_t memory_bytes() const { return slots_.capacity() * sizeof(Slot); }

  // Calls `match(node)` for each entry of that kind with that tag until it returns true.
  template <class Match>
  bool any(uint32_t tag, KeyKind kind, Match&& match) const {
    if (slots_.empty()) {
      return false;
    }
    const size_t mask = slots_.size() - 1;
    for (size_t at = tag & mask;; at = (at + 1) & mask) {
      const Slot& slot = slots_[at];
      if (slot.ref == kEmpty) {
        return false;
      }
      if (slot.tag == tag && slot.ref != kErased && (slot.ref & 1) == static_cast<uint32_t>(kind) &&
          match(slot.ref >> 1)) {
        return true;
      }
    }
  }

 private:
  struct Slot {
    uint32_t tag = 0;
    uint32_t ref = kEmpty;  // node index and kind
  };
  static constexpr uint32_t kEmpty = 0xffffffff;
  static constexpr uint32_t kErased = 0xfffffffe;

  static uint32_t make_ref(KeyKind kind, NodeIndex node) {
    return node << 1 | static_cast<uint32_t>(kind);
  }
  void rehash(size_t slots);

  std::vector<Slot> slots_;  // a power of two, at most three quarters in use
  size_t used_ = 0;
  size_t erased_ = 0;
};

}  // namespace slipway::mls
