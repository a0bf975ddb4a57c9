// Arithmetic of a complete binary tree kept in an array (RFC 9420, appendix C).
//
// Leaves have even node indices (leaf i is node 2i), parents odd ones. A tree is always full: its
// leaf count, the "width", is a power of two. All functions are pure and may be called from any
// thread. Callers pass indices that lie inside the tree; that is asserted, not reported.
#pragma once

#include <bit>
#include <cassert>
#include <cstdint>

namespace slipway::mls {

// Index of a node in the array.
using NodeIndex = uint32_t;
// Index of a leaf, counted from the left.
using LeafIndex = uint32_t;

namespace node_math {

constexpr NodeIndex leaf_node(LeafIndex leaf) { return leaf * 2; }
constexpr bool is_leaf(NodeIndex node) { return (node & 1) == 0; }
constexpr LeafIndex leaf_of(NodeIndex node) { return node / 2; }

// Height of the node above the leaves: 0 for a leaf.
constexpr uint32_t level(NodeIndex node) { return static_cast<uint32_t>(std::countr_one(node)); }

// Number of nodes of a tree of `width` leaves; 0 for the empty tree.
constexpr uint32_t node_count(uint32_t width) { return width == 0 ? 0 : 2 * width - 1; }

// The smallest full tree that holds `leaves` leaves.
constexpr uint32_t width_for(uint32_t leaves) { return leaves == 0 ? 0 : std::bit_ceil(leaves); }

constexpr NodeIndex root(uint32_t width) {
  assert(std::has_single_bit(width));
  return width - 1;
}

constexpr NodeIndex left(NodeIndex node) {
  assert(!is_leaf(node));
  return node ^ (1u << (level(node) - 1));
}

constexpr NodeIndex right(NodeIndex node) {
  assert(!is_leaf(node));
  return node ^ (3u << (level(node) - 1));
}

// Parent of a node that is not the root.
constexpr NodeIndex parent(NodeIndex node) {
  const uint32_t k = level(node);
  return (node | (1u << k)) & ~(1u << (k + 1));
}

// The other child of the node's parent. The node is not the root.
constexpr NodeIndex sibling(NodeIndex node) {
  return node ^ (1u << (level(node) + 1));
}

// First and last leaf below a node.
constexpr LeafIndex first_leaf(NodeIndex node) {
  return leaf_of(node - ((1u << level(node)) - 1));
}
constexpr LeafIndex last_leaf(NodeIndex node) {
  return leaf_of(node + ((1u << level(node)) - 1));
}

// Whether `leaf` lies below `node` or is it.
constexpr bool covers(NodeIndex node, LeafIndex leaf) {
  return leaf >= first_leaf(node) && leaf <= last_leaf(node);
}

// The child of `node` that is on the way down to `leaf`, which `node` covers.
constexpr NodeIndex child_towards(NodeIndex node, LeafIndex leaf) {
  return leaf_node(leaf) < node ? left(node) : right(node);
}

// The other child.
constexpr NodeIndex child_away_from(NodeIndex node, LeafIndex leaf) {
  return leaf_node(leaf) < node ? right(node) : left(node);
}

}  // namespace node_math
}  // namespace slipway::mls
