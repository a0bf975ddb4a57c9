#include "tree_oracle.h"

#include <functional>
#include <set>

#include "crypto/hash.h"
#include "message/tree_node.h"

namespace slipway::mls::testing {

namespace {

using OptionalNode = std::optional<Node>;
using Leaves = std::set<uint32_t>;

// A subtree, made of pointers.
struct Subtree {
  const OptionalNode* node = nullptr;
  uint32_t first = 0;  // leaves below
  uint32_t count = 1;
  Subtree* parent = nullptr;
  std::unique_ptr<Subtree> left;
  std::unique_ptr<Subtree> right;

  bool is_leaf() const { return count == 1; }
  bool blank() const { return node == nullptr || !node->has_value(); }
  const LeafNode& leaf() const { return std::get<0>((*node)->node); }
  const ParentNode& inner() const { return std::get<1>((*node)->node); }
};

class Oracle {
 public:
  Oracle(const Suite& suite, View encoded) : suite_(suite) {
    Reader reader(encoded);
    reader(nodes_);
    uint32_t width = 1;
    while (2 * width - 1 < nodes_.size()) {
      width *= 2;
    }
    root_ = build(0, width, nullptr);
  }

  TreeVerdict verdict() {
    TreeVerdict result;
    result.root_hash = tree_hash(*root_, {});
    std::set<const Subtree*> unlinked;
    collect_parents(*root_, unlinked);
    for (Subtree* leaf : leaves_) {
      if (!leaf->blank()) {
        climb(leaf, unlinked, result.complaint);
      }
    }
    if (!unlinked.empty() && result.complaint.empty()) {
      result.complaint = "a parent is not covered by a chain";
    }
    return result;
  }

 private:
  std::unique_ptr<Subtree> build(uint32_t first, uint32_t count, Subtree* parent) {
    auto tree = std::make_unique<Subtree>();
    tree->first = first;
    tree->count = count;
    tree->parent = parent;
    const uint32_t index = 2 * first + count - 1;
    if (index < nodes_.size()) {
      tree->node = &nodes_[index];
    }
    if (count > 1) {
      tree->left = build(first, count / 2, tree.get());
      tree->right = build(first + count / 2, count / 2, tree.get());
    } else {
      leaves_.push_back(tree.get());
    }
    return tree;
  }

  void collect_parents(const Subtree& tree, std::set<const Subtree*>& out) {
    if (tree.is_leaf()) {
      return;
    }
    if (!tree.blank()) {
      out.insert(&tree);
    }
    collect_parents(*tree.left, out);
    collect_parents(*tree.right, out);
  }

  // TreeHashInput, with some leaves taken out.
  Bytes tree_hash(const Subtree& tree, const Leaves& without) {
    Bytes input;
    Writer writer(input);
    if (tree.is_leaf()) {
      const bool present = !tree.blank() && !without.contains(tree.first);
      writer(uint8_t{1}, tree.first, static_cast<uint8_t>(present));
      if (present) {
        writer(tree.leaf());
      }
    } else {
      writer(uint8_t{2}, static_cast<uint8_t>(!tree.blank()));
      if (!tree.blank()) {
        ParentNode parent = tree.inner();
        std::erase_if(parent.unmerged_leaves, [&](uint32_t leaf) { return without.contains(leaf); });
        writer(parent);
      }
      writer(tree_hash(*tree.left, without), tree_hash(*tree.right, without));
    }
    return to_bytes(hash(suite_, View(input)));
  }

  void resolve(const Subtree& tree, std::set<const Subtree*>& out) {
    if (!tree.blank()) {
      out.insert(&tree);
      if (!tree.is_leaf()) {
        for (const uint32_t leaf : tree.inner().unmerged_leaves) {
          out.insert(leaves_[leaf]);
        }
      }
    } else if (!tree.is_leaf()) {
      resolve(*tree.left, out);
      resolve(*tree.right, out);
    }
  }

  // Follows the parent hashes up from a leaf as far as they go.
  void climb(Subtree* from, std::set<const Subtree*>& unlinked, std::string& complaint) {
    Subtree* below = from;
    while (true) {
      Subtree* child = below;
      Subtree* parent = child->parent;
      while (parent != nullptr && parent->blank()) {
        child = parent;
        parent = parent->parent;
      }
      if (parent == nullptr) {
        return;
      }
      const Bytes& claimed = below->is_leaf() ? below->leaf().parent_hash : below->inner().parent_hash;
      const Subtree& sibling = child == parent->left.get() ? *parent->right : *parent->left;
      const auto& unmerged = parent->inner().unmerged_leaves;
      Bytes input;
      Writer writer(input);
      writer(parent->inner().encryption_key, parent->inner().parent_hash,
             tree_hash(sibling, Leaves(unmerged.begin(), unmerged.end())));
      if (!equal(hash(suite_, View(input)), claimed)) {
        return;
      }
      std::set<const Subtree*> resolution;
      resolve(*child, resolution);
      std::set<const Subtree*> expected{below};
      for (const uint32_t leaf : unmerged) {
        if (leaf >= child->first && leaf < child->first + child->count) {
          expected.insert(leaves_[leaf]);
        }
      }
      if (resolution != expected) {
        complaint = "the resolution below a parent is not its unmerged leaves and the linked node";
        return;
      }
      if (unlinked.erase(parent) == 0) {
        complaint = "a parent is covered by two chains";
        return;
      }
      below = parent;
    }
  }

  const Suite& suite_;
  std::vector<OptionalNode> nodes_;
  std::vector<Subtree*> leaves_;
  std::unique_ptr<Subtree> root_;
};

}  // namespace

TreeVerdict check_encoded_tree(const Suite& suite, View encoded_tree) {
  return Oracle(suite, encoded_tree).verdict();
}

}  // namespace slipway::mls::testing
