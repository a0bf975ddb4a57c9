// A small hash map from node index to a position, for the changes that a diff holds over a tree.
// A commit touches some dozen nodes of a tree of thousands; a bulk addition touches most of them.
#pragma once

#include <cstdint>
#include <vector>

#include "tree/node_math.h"

namespace slipway::mls {

class NodeMap {
 public:
  static constexpr uint32_t kNone = 0xffffffff;

  uint32_t find(NodeIndex node) const {
    if (used_ == 0) {
      return kNone;
    }
    for (uint32_t at = hash(node) & mask();; at = (at + 1) & mask()) {
      if (slots_[at].node == node) {
        return slots_[at].value;
      }
      if (slots_[at].node == kNone) {
        return kNone;
      }
    }
  }

  // The node is not in the map yet.
  void insert(NodeIndex node, uint32_t value) {
    if ((used_ + 1) * 2 > slots_.size()) {
      grow();
    }
    place(node, value);
    ++used_;
  }

  void clear() {
    slots_.clear();
    used_ = 0;
  }

 private:
  struct Slot {
    NodeIndex node = kNone;
    uint32_t value = 0;
  };

  static uint32_t hash(NodeIndex node) { return (node * 0x9e3779b1u) ^ (node >> 7); }
  uint32_t mask() const { return static_cast<uint32_t>(slots_.size()) - 1; }

  void place(NodeIndex node, uint32_t value) {
    uint32_t at = hash(node) & mask();
    while (slots_[at].node != kNone) {
      at = (at + 1) & mask();
    }
    slots_[at] = {node, value};
  }

  void grow() {
    std::vector<Slot> old(slots_.empty() ? 64 : slots_.size() * 2);
    old.swap(slots_);
    for (const Slot& slot : old) {
      if (slot.node != kNone) {
        place(slot.node, slot.value);
      }
    }
  }

  std::vector<Slot> slots_;
  uint32_t used_ = 0;
};

}  // namespace slipway::mls
