// TreeKEM (RFC 9420, 7.4 to 7.6): path secrets, the node keys that follow from them, and what a member
// knows of the tree's private keys.
#pragma once

#include <optional>
#include <vector>

#include "crypto/hpke.h"
#include "message/commit.h"
#include "tree/tree_diff.h"

namespace slipway::mls {

struct NodeKey {
  NodeIndex node;
  KemKey key;
};

// The private keys that one member holds: of its leaf and of ancestors. Never part of the public tree.
class PrivatePath {
 public:
  PrivatePath() = default;
  explicit PrivatePath(LeafIndex leaf) : leaf_(leaf) {}

  LeafIndex leaf() const { return leaf_; }
  const KemKey* find(NodeIndex node) const;
  void set(NodeIndex node, KemKey key);
  // Drops the keys of nodes that are blank or have another public key by now.
  void retain(const RatchetTree& tree);
  const std::vector<NodeKey>& keys() const { return keys_; }

 private:
  LeafIndex leaf_ = 0;
  std::vector<NodeKey> keys_;  // at most one for each level, in no order
};

// A fresh path of the committer's (7.4).
struct OwnPath {
  std::vector<PathStep> steps;
  std::vector<Secret> path_secrets;  // one for each step
  std::vector<KemKey> keys;          // one for each step
  Secret commit_secret;

  std::vector<PublicKeyBytes> public_keys() const;
};
Result<OwnPath> make_own_path(const Suite& suite, std::vector<PathStep> steps, Random& random);

// Who gets which path secret: one ciphertext for each entry of each step's copath resolution, without the
// leaves in `joiners` (ascending), who find theirs in the Welcome.
struct PathRecipient {
  uint32_t step;
  NodeIndex node;
};
std::vector<PathRecipient> path_recipients(const TreeDiff& diff, std::span<const PathStep> steps,
                                           std::span<const LeafIndex> joiners);
inline constexpr std::string_view kUpdatePathNodeLabel = "UpdatePathNode";

// What a receiver gets out of a path: keys from the common ancestor with the sender upwards.
struct OpenedPath {
  std::vector<NodeKey> keys;
  Secret commit_secret;
};

// Derives keys from the path secret of `nodes[0]` upwards. Each must fit its public key: kInvalidPath.
Result<OpenedPath> derive_path(const Suite& suite, Secret path_secret,
                               std::span<const NodeIndex> nodes,
                               std::span<const View> public_keys);

// Counts of nodes and ciphertexts fit the tree exactly, and all keys are valid ones. `diff` has the
// proposals applied. kInvalidPath, kInvalidKey.
Status check_path_shape(const TreeDiff& diff, std::span<const PathStep> steps,
                        const UpdatePath& path, std::span<const LeafIndex> joiners);

// Decrypts the member's path secret and derives the keys above. The shape has been checked; `keys` are
// the member's after the proposals; `context` is the provisional GroupContext (12.4.2).
Result<OpenedPath> open_path(const TreeDiff& diff, const PrivatePath& keys,
                             std::span<const PathStep> steps, const UpdatePath& path,
                             std::span<const LeafIndex> joiners, View context);

// The public keys of a received path.
std::vector<PublicKeyBytes> path_public_keys(const UpdatePath& path);

}  // namespace slipway::mls
