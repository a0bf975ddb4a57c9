#include "tree/tree_validator.h"

#include <algorithm>

#include "crypto/kem_key.h"

namespace slipway::mls {

using namespace node_math;

namespace {

// Resolution of a node, given up (false) when it has more than `limit` entries.
bool short_resolution(const TreeDiff& tree, NodeIndex node, size_t limit,
                      std::vector<NodeIndex>& out) {
  if (is_leaf(node)) {
    if (!tree.is_blank(node)) {
      out.push_back(node);
    }
    return out.size() <= limit;
  }
  if (const Parent* parent = tree.parent(node)) {
    out.push_back(node);
    if (out.size() + parent->unmerged_leaves.size() > limit) {
      return false;
    }
    for (const LeafIndex leaf : parent->unmerged_leaves) {
      out.push_back(leaf_node(leaf));
    }
    return true;
  }
  if (first_leaf(node) > tree.last_leaf()) {
    return true;
  }
  return short_resolution(tree, left(node), limit, out) &&
         short_resolution(tree, right(node), limit, out);
}

}  // namespace

Result<bool> TreeValidator::step(Budget& budget) {
  constexpr size_t kNodeCost = 4;  // some index look-ups, and a hash for a parent
  for (; next_node_ < tree_->node_count(); ++next_node_) {
    if (budget.take(1, kNodeCost) == 0) {
      return false;
    }
    MLS_TRY(check_node(next_node_));
  }
  while (next_leaf_ < tree_->width()) {
    const size_t count =
        budget.take(tree_->width() - next_leaf_, Budget::kPublicKeyOp);
    if (count == 0) {
      return false;
    }
    MLS_TRY(check_leaves(static_cast<LeafIndex>(count)));
  }
  return true;
}

Status TreeValidator::check_node(NodeIndex node) {
  if (view_.is_blank(node)) {
    return {};
  }
  if (view_.key_in_use(KeyKind::kEncryption, view_.encryption_key(node), node)) {
    return fail(ErrorCode::kKeyReuse, "validating a tree: an encryption key is in it twice");
  }
  if (is_leaf(node)) {
    if (view_.key_in_use(KeyKind::kSignature, view_.leaf(leaf_of(node))->signature_key(), node)) {
      return fail(ErrorCode::kKeyReuse, "validating a tree: two leaves have one signature key");
    }
    return {};
  }
  const Parent& parent = *view_.parent(node);
  MLS_TRY(validate_kem_public_key(tree_->suite(), parent.encryption_key));
  MLS_TRY(check_unmerged(node, parent));
  return check_parent_hash(node, parent);
}

Status TreeValidator::check_unmerged(NodeIndex node, const Parent& parent) const {
  for (const LeafIndex leaf : parent.unmerged_leaves) {
    if (leaf >= tree_->width() || tree_->leaf(leaf) == nullptr) {
      return fail(ErrorCode::kInvalidTree, "validating a tree: an unmerged leaf is blank");
    }
    // It is enough to ask the next parent on the way down; that one is asked about those below it.
    for (NodeIndex below = child_towards(node, leaf); !is_leaf(below);
         below = child_towards(below, leaf)) {
      if (const Parent* between = view_.parent(below)) {
        if (!std::ranges::binary_search(between->unmerged_leaves, leaf)) {
          return fail(ErrorCode::kInvalidTree,
                      "validating a tree: a node between does not list an unmerged leaf");
        }
        break;
      }
    }
  }
  return {};
}

Status TreeValidator::check_parent_hash(NodeIndex node, const Parent& parent) const {
  if (!linked(parent, left(node), right(node)) && !linked(parent, right(node), left(node))) {
    return fail(ErrorCode::kParentHashMismatch,
                "validating a tree: no node below a parent has its parent hash");
  }
  return {};
}

// Whether the one node below `child` that has to know the parent's hash does (7.9.2).
bool TreeValidator::linked(const Parent& parent, NodeIndex child, NodeIndex other) const {
  const auto& unmerged = parent.unmerged_leaves;
  const auto from = std::ranges::lower_bound(unmerged, first_leaf(child));
  const auto to = std::upper_bound(from, unmerged.end(), last_leaf(child));
  const auto unmerged_here = static_cast<size_t>(to - from);
  std::vector<NodeIndex> resolution;
  if (!short_resolution(view_, child, unmerged_here + 1, resolution) ||
      resolution.size() != unmerged_here + 1) {
    return false;
  }
  // All of the resolution but one node must be the parent's unmerged leaves.
  NodeIndex candidate = 0;
  size_t candidates = 0;
  for (const NodeIndex node : resolution) {
    if (!is_leaf(node) || !std::binary_search(from, to, leaf_of(node))) {
      candidate = node;
      ++candidates;
    }
  }
  if (candidates != 1) {
    return false;
  }
  const View claimed = is_leaf(candidate) ? tree_->leaf(leaf_of(candidate))->parent_hash()
                                          : View(tree_->parent(candidate)->parent_hash);
  if (claimed.empty()) {
    return false;
  }
  const HashValue sibling = view_.original_tree_hash(other, unmerged);
  return equal(claimed, hash_of_parent(tree_->suite(), parent, sibling));
}

Status TreeValidator::check_leaf(LeafIndex index) const {
  const Leaf* leaf = tree_->leaf(index).get();
  if (leaf == nullptr) {
    return {};
  }
  MLS_TRY(leaf->validate_keys(tree_->suite()));
  return leaf->verify_signature(tree_->suite(), group_id_, index);
}

Status TreeValidator::check_besides() {
  Budget budget = Budget::unlimited();
  MLS_TRY(besides_->step(budget));
  return {};
}

Status TreeValidator::check_leaves(LeafIndex count) {
  const size_t besides = besides_ ? 1 : 0;
  std::vector<Status> results(besides + count);
  parallel_for(parallel_, besides + count, [&](size_t i) {
    results[i] = i < besides ? check_besides() : check_leaf(next_leaf_ + static_cast<LeafIndex>(i - besides));
  });
  besides_.reset();
  next_leaf_ += count;
  for (const Status& result : results) {
    MLS_TRY(result);
  }
  return {};
}

}  // namespace slipway::mls
