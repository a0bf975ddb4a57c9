// Checks a ratchet tree that somebody else made, as a joiner must (RFC 9420, 12.4.3.1): unmerged leaves,
// unique and valid keys, parent hashes (7.9.2) and the signature of each leaf. Credentials, capabilities
// and lifetimes are the group's to check. The tree has its hashes.
//
// It is the costliest work of the module: it runs in steps, and checks leaves on a lent thread as well.
#pragma once

#include "base/budget.h"
#include "crypto/parallel.h"
#include "crypto/signature_steps.h"
#include "tree/tree_diff.h"

namespace slipway::mls {

class TreeValidator {
 public:
  // Tree and group id must outlive the validator; `parallel` may be null.
  TreeValidator(const RatchetTree& tree, View group_id, Parallel* parallel)
      : tree_(&tree), view_(tree), group_id_(group_id), parallel_(parallel) {}

  // One more signature, verified in one go together with the first leaves: a lent thread has its share of it. Its
  // failure is reported before theirs.
  void verify_with_leaves(VerifySteps signature) { besides_ = std::move(signature); }

  // Does some of the work; true when all is done and right. After an error the tree is refused.
  // kInvalidTree, kInvalidKey, kKeyReuse, kParentHashMismatch, kBadSignature.
  Result<bool> step(Budget& budget);

 private:
  Status check_node(NodeIndex node);
  Status check_unmerged(NodeIndex node, const Parent& parent) const;
  Status check_parent_hash(NodeIndex node, const Parent& parent) const;
  bool linked(const Parent& parent, NodeIndex child, NodeIndex other) const;
  Status check_leaf(LeafIndex index) const;
  Status check_besides();
  Status check_leaves(LeafIndex count);

  const RatchetTree* tree_;
  TreeDiff view_;
  View group_id_;
  Parallel* parallel_;
  std::optional<VerifySteps> besides_;
  NodeIndex next_node_ = 0;
  LeafIndex next_leaf_ = 0;
};

}  // namespace slipway::mls
