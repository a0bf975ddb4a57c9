// Nodes of a ratchet tree on the wire (RFC 9420, 7.1, 12.4.3.3): ParentNode, Node, optional<Node>.
#pragma once

#include "message/leaf_node.h"

namespace slipway::mls {

template <class S>
struct ParentNodeT {
  typename S::String encryption_key;
  typename S::String parent_hash;
  typename S::template List<uint32_t> unmerged_leaves;

  template <class A, class Self>
  static void fields(A& a, Self& v) {
    a.bounded(v.encryption_key, &Limits::public_key_bytes);
    a.bounded(v.parent_hash, kMaxHashBytes);
    a.bounded(v.unmerged_leaves, &Limits::tree_leaves);
  }
  friend bool operator==(const ParentNodeT&, const ParentNodeT&) = default;
};
using ParentNode = ParentNodeT<Owned>;
using ParentNodeView = ParentNodeT<Borrowed>;

template <class S>
struct NodeT {
  std::variant<LeafNodeT<S>, ParentNodeT<S>> node;

  bool is_leaf() const { return node.index() == 0; }

  template <class A, class Self>
  static void fields(A& a, Self& v) {
    uint8_t type = v.is_leaf() ? 1 : 2;
    a(type);
    if constexpr (A::kReading) {
      if (type == 2) {
        v.node.template emplace<1>();
      } else {
        v.node.template emplace<0>();
        if (type != 1) {
          a.fail(ErrorCode::kMalformed, "reading a Node: neither leaf nor parent");
        }
      }
    }
    std::visit([&a](auto& node) { a(node); }, v.node);
  }
};
using Node = NodeT<Owned>;
using NodeView = NodeT<Borrowed>;

// The ratchet_tree extension. Its shape (positions, trailing blanks) is the tree's to check.
// To read one, decode a RatchetTreeView and walk `nodes`; it holds no object for each node.
struct RatchetTreeView {
  ListView<std::optional<NodeView>> nodes;

  template <class A, class Self>
  static void fields(A& a, Self& v) {
    if constexpr (A::kReading) {
      a.bounded(v.nodes, 2 * a.limits().tree_leaves);
    } else {
      a(v.nodes);
    }
  }
};

}  // namespace slipway::mls
