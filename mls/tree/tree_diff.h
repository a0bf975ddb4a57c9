// Changes to a ratchet tree that have not been made yet. A diff lies over a RatchetTree, which it never
// touches, and shows the tree as it would be; it costs memory and time by what it changes, not by the
// size of the tree. Proposals and paths are applied to a diff; only when all has been checked is the diff
// put into the tree (RatchetTree::apply). An empty diff is the cheap way to ask a tree questions.
//
// The tree must outlive the diff and not change meanwhile. One thread at a time; several threads may read
// one diff whose hashes are complete.
#pragma once

#include <array>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "message/writer.h"
#include "tree/node_map.h"
#include "tree/ratchet_tree.h"

namespace slipway::mls {

// A node of a filtered direct path and its child off the path (4.1.2), bottom up.
struct PathStep {
  NodeIndex node;
  NodeIndex copath;
};

class TreeDiff {
 public:
  explicit TreeDiff(const RatchetTree& base);

  // ---- The tree as it would be.
  const RatchetTree& base() const { return *base_; }
  const Suite& suite() const { return base_->suite(); }
  uint32_t width() const { return width_; }
  uint32_t node_count() const { return node_math::node_count(width_); }
  NodeIndex root() const { return node_math::root(width_); }
  uint32_t member_count() const { return member_count_; }
  LeafIndex last_leaf() const { return last_leaf_; }
  const LeafPtr& leaf(LeafIndex leaf) const;
  const Parent* parent(NodeIndex node) const;
  bool is_blank(NodeIndex node) const;
  // Encryption key of a node that is not blank.
  View encryption_key(NodeIndex node) const;
  bool changed(NodeIndex node) const;

  // Resolution of a node (4.1.1), appended to `out` in order.
  void resolution(NodeIndex node, std::vector<NodeIndex>& out) const;
  bool resolution_is_empty(NodeIndex node) const;
  std::vector<PathStep> filtered_direct_path(LeafIndex leaf) const;

  // Whether another node than `except` holds the key.
  bool key_in_use(KeyKind kind, View key, NodeIndex except) const;
  // All keys of all changed nodes are unique in the tree: kKeyReuse (7.3). In steps, `next` counts from 0.
  Status check_unique_keys() const;
  Result<bool> check_unique_keys(size_t& next, Budget& budget) const;
  // Whether some leaf has a credential of that type.
  bool credential_in_use(CredentialType type) const;
  // Calls visit(type) for each credential type in use until it returns false.
  template <class Visit>
  bool all_credential_types(Visit&& visit) const {
    for (const auto& use : credentials_) {
      if (use.members > 0 && !visit(use.type)) {
        return false;
      }
    }
    return true;
  }

  // ---- Proposals (12.1). Each blanks, unmerges and resizes as the RFC says.
  // Takes the leftmost blank leaf. kTooMany if the tree would outgrow the limit.
  Result<LeafIndex> add(LeafPtr leaf, const Limits& limits);
  // The leaf is not blank.
  void update(LeafIndex index, LeafPtr leaf);
  void remove(LeafIndex index);

  // ---- Update path (7.5). Hashes are complete when this is called and missing afterwards. Blanks the
  // direct path, puts the keys (one for each step) and their parent hashes in place, and returns the
  // parent hash that belongs into the leaf, which is set after that.
  HashValue merge_path(LeafIndex index, std::span<const PathStep> steps,
                       std::span<const PublicKeyBytes> keys);
  void set_leaf(LeafIndex index, LeafPtr leaf);

  // ---- Hashes (7.8, 7.9).
  // Computes up to `budget` missing ones and takes them off `budget`; true when all are there.
  bool hash_some(size_t& budget);
  void hash_all();
  View tree_hash(NodeIndex node) const;
  View root_hash() const { return tree_hash(root()); }
  // Tree hash of a node as if the leaves in `removed` (ascending) had never been added.
  HashValue original_tree_hash(NodeIndex node, std::span<const LeafIndex> removed) const;

  // Makes the index of keys that the tree will have, if the changes are many, so that RatchetTree::apply has less to
  // do. The last thing that is done to a diff; true when it is done.
  bool index_keys(Budget& budget);

  // The whole tree as in the ratchet_tree extension.
  Bytes encode() const;
  size_t encoded_size() const;

  // The changes in bytes, for a snapshot, and back over the same base; hashes are complete afterwards.
  // kBadSnapshot.
  Bytes save() const;
  static Result<TreeDiff> restore(const RatchetTree& base, View saved, const Limits& limits);

  // Leaves that differ from the base: fn(index, old or null, new or null).
  template <class F>
  void for_each_changed_leaf(F&& fn) const {
    for (size_t i = 0; i < changes_.size(); ++i) {
      visit_change(i, fn);
    }
  }
  // The same one by one: fn is called if the i-th change is of a leaf.
  size_t change_count() const { return changes_.size(); }
  template <class F>
  void visit_change(size_t i, F&& fn) const {
    const Change& change = changes_[i];
    if (change.content && node_math::is_leaf(change.node)) {
      const LeafIndex index = node_math::leaf_of(change.node);
      fn(index, base_->leaf(index), change.leaf);
    }
  }

 private:
  friend class RatchetTree;

  struct Change {
    NodeIndex node = 0;
    bool content = false;     // leaf or parent below counts (null: blank), not the base's
    bool hash_valid = false;
    LeafPtr leaf;
    std::shared_ptr<Parent> parent;
    std::array<uint8_t, kMaxHashBytes> hash;
  };

  Change& change_of(NodeIndex node);
  const Change* find(NodeIndex node) const;
  // Marks the hashes of a node and its ancestors as missing.
  void mark_dirty(NodeIndex node);
  // Puts what is dirty in the order of its levels, bottom up.
  void order_dirty();
  void put_leaf(LeafIndex index, LeafPtr leaf);
  void put_parent(NodeIndex node, std::shared_ptr<Parent> parent);
  void blank_direct_path(LeafIndex index);
  void grow();
  void shrink();
  void count_credential(const Leaf* leaf, int by);
  void hash_node(NodeIndex node);
  Status restore_change(Reader& reader);

  const RatchetTree* base_;
  uint32_t width_;
  uint32_t member_count_;
  LeafIndex last_leaf_;
  LeafIndex first_free_;
  std::vector<RatchetTree::CredentialUse> credentials_;
  std::vector<Change> changes_;
  NodeMap where_;               // node -> position in changes_
  KeyIndex new_keys_;           // keys of changed nodes; may hold stale entries
  std::optional<KeyIndex> all_keys_;  // of the whole tree, once index_keys() has made it
  size_t next_indexed_ = 0;
  std::vector<NodeIndex> dirty_;
  size_t dirty_done_ = 0;       // while hashing in steps: so many of dirty_ are done
  bool dirty_ordered_ = false;
};

// Writes a tree as in the ratchet_tree extension, in steps. The tree does not change meanwhile.
class TreeEncoder {
 public:
  // Appends to `out`, which is complete once step() has said true.
  TreeEncoder(const TreeDiff& tree, Bytes& out);
  bool step(Budget& budget);

 private:
  void write_node(NodeIndex node);

  const TreeDiff* tree_;
  Writer writer_;
  size_t content_;
  NodeIndex next_node_ = 0;
  bool done_ = false;
};

}  // namespace slipway::mls
