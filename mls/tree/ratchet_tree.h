// The public ratchet tree of a group in flat arrays (RFC 9420, 4, 7, 12.4.3.3): nodes, the cached tree
// hash of each node, an index of the public keys, and a few counts that keep commits from scanning.
//
// A RatchetTree changes in three ways only: it is decoded, it gets its hashes, and a TreeDiff is put
// on top of it (tree_diff.h). Everything else works on diffs, so a failed call leaves the tree as it
// was. A tree that does not change may be read by several threads and shared by several states.
#pragma once

#include <memory>
#include <optional>
#include <vector>

#include "base/budget.h"
#include "base/error.h"
#include "base/limits.h"
#include "crypto/hash.h"
#include "crypto/suite.h"
#include "message/reader.h"
#include "message/tree_node.h"
#include "tree/key_index.h"
#include "tree/leaf.h"
#include "tree/node_math.h"

namespace slipway::mls {

struct Parent {
  PublicKeyBytes encryption_key;
  HashValue parent_hash;                       // empty at the top of a path
  std::vector<LeafIndex> unmerged_leaves;      // ascending
};

class TreeDiff;

class RatchetTree {
 public:
  explicit RatchetTree(const Suite& suite) : suite_(&suite) {}

  // Decodes the vector of optional nodes. Checks what can be seen without keys: node types at their
  // places, last node not blank, unmerged leaves ascending, size. Hashes are still missing.
  static Result<RatchetTree> decode(const Suite& suite, View encoded, const Limits& limits);

  // Computes up to `budget` missing hashes after decode and takes them off `budget`; true when all
  // are there.
  bool hash_some(size_t& budget);

  const Suite& suite() const { return *suite_; }
  // Number of leaves of the full tree, a power of two; 0 if there is no leaf at all.
  uint32_t width() const { return static_cast<uint32_t>(leaves_.size()); }
  uint32_t node_count() const { return node_math::node_count(width()); }
  // Leaves that are not blank.
  uint32_t member_count() const { return member_count_; }
  // Index of the last leaf that is not blank; the tree is not empty.
  LeafIndex last_leaf() const { return last_leaf_; }

  // Null for a blank or absent node.
  const LeafPtr& leaf(LeafIndex leaf) const { return leaf < leaves_.size() ? leaves_[leaf] : no_leaf(); }
  const Parent* parent(NodeIndex node) const {
    return node / 2 < parents_.size() ? parents_[node / 2].get() : nullptr;
  }
  View tree_hash(NodeIndex node) const {
    return View(hashes_).subspan(node * suite_->hash_size, suite_->hash_size);
  }
  View root_hash() const { return tree_hash(node_math::root(width())); }

  // The vector of optional nodes, as in the ratchet_tree extension.
  size_t encoded_size() const;
  Bytes encode() const;

  // Puts a diff over this tree into it. The diff's hashes are complete. Cost follows the diff.
  void apply(TreeDiff&& diff);

  // Heap bytes of the arrays and nodes, credentials and extensions included.
  size_t memory_bytes() const;

 private:
  friend class TreeDiff;
  friend class TreeDecoder;

  struct CredentialUse {
    CredentialType type;
    uint32_t members;
  };

  static const LeafPtr& no_leaf();
  void resize(uint32_t width);
  void index_leaf(LeafIndex leaf);
  void unindex_leaf(LeafIndex leaf);
  void index_parent(NodeIndex node);
  void unindex_parent(NodeIndex node);

  const Suite* suite_;
  std::vector<LeafPtr> leaves_;
  std::vector<std::shared_ptr<const Parent>> parents_;
  Bytes hashes_;  // one after the other, by node
  KeyIndex keys_;
  uint32_t member_count_ = 0;
  LeafIndex last_leaf_ = 0;
  LeafIndex first_free_ = 0;                 // no blank leaf is left of it
  std::vector<CredentialUse> credentials_;   // types in use
  NodeIndex next_hash_ = 0;                  // while hashing after decode: position in its level
  uint32_t next_level_ = 0;
};

// Decodes a tree in steps, as RatchetTree::decode does in one go. All objects passed in stay where they are.
class TreeDecoder {
 public:
  TreeDecoder(const Suite& suite, const Limits& limits) : tree_(suite), limits_(&limits), reader_({}, limits) {}

  Status start(View encoded);
  // True when all is read and indexed.
  Result<bool> step(Budget& budget);
  RatchetTree take() { return std::move(tree_); }

 private:
  Status read_node();
  Status end_of_nodes();
  void count_leaf(LeafIndex leaf);

  RatchetTree tree_;
  const Limits* limits_;
  Reader reader_;
  NodeIndex next_node_ = 0;
  bool last_is_blank_ = true;
  bool read_ = false;
  LeafIndex next_counted_ = 0;
};

// The two inputs of the tree hash (7.8).
HashValue hash_leaf(const Suite& suite, LeafIndex index, const Leaf* leaf);
HashValue hash_parent(const Suite& suite, const Parent* parent, View left, View right);
// Without some unmerged leaves, for original sibling tree hashes (7.9).
HashValue hash_parent_without(const Suite& suite, const Parent* parent,
                              std::span<const LeafIndex> removed, View left, View right);
// Parent hash of `parent` (7.9).
HashValue hash_of_parent(const Suite& suite, const Parent& parent, View original_sibling_hash);

}  // namespace slipway::mls
