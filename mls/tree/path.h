// TreeKEM (RFC 9420, 7.4 to 7.6): path secrets, the node keys that follow from them, and what a member
// knows of the tree's private keys.
#pragma once

#include <optional>
#include <vector>

#include "crypto/hpke.h"
#include "crypto/parallel.h"
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
  void reserve(size_t count) { keys_.reserve(count); }
  void set(NodeIndex node, KemKey key);
  // Drops the keys of nodes that are blank or have another public key by now.
  void retain(const RatchetTree& tree);
  const std::vector<NodeKey>& keys() const { return keys_; }

 private:
  LeafIndex leaf_ = 0;
  std::vector<NodeKey> keys_;  // at most one for each level, in no order
};

// The secrets of a path from its lowest node upwards, and the node keys that follow from them, in steps.
class PathKeys {
 public:
  PathKeys() = default;
  // One secret for each of `count` nodes, and the commit secret behind the last.
  PathKeys(const Suite& suite, Secret first, size_t count);

  // The key that follows from the i-th secret. Any thread.
  Result<KemKey> make_key(size_t i) const;
  // Makes keys, at least one; true when there is one for each secret.
  Result<bool> step(Budget& budget, Parallel* parallel);

  std::vector<Secret> secrets;
  std::vector<KemKey> keys;
  Secret commit_secret;

 private:
  const Suite* suite_ = nullptr;
};

// A fresh path of the committer's (7.4).
struct OwnPath {
  std::vector<PathStep> steps;
  PathKeys derived;  // one secret and key for each step

  std::vector<PublicKeyBytes> public_keys() const;
};
// Its keys are still to be derived.
Result<OwnPath> start_own_path(const Suite& suite, std::vector<PathStep> steps, Random& random);

// Who gets which path secret: one ciphertext for each entry of each step's copath resolution, without the
// leaves in `joiners` (ascending), who find theirs in the Welcome.
struct PathRecipient {
  uint32_t step;
  NodeIndex node;
};
std::vector<PathRecipient> path_recipients(const TreeDiff& diff, std::span<const PathStep> steps,
                                           std::span<const LeafIndex> joiners);
inline constexpr std::string_view kUpdatePathNodeLabel = "UpdatePathNode";

// What a receiver gets out of a path: keys from the common ancestor with the sender upwards. In steps.
class OpenedPath {
 public:
  OpenedPath() = default;
  // `nodes` and their public keys, bottom up, from the one that the path secret is for.
  OpenedPath(const Suite& suite, Secret path_secret, std::vector<NodeIndex> nodes,
             std::vector<PublicKeyBytes> public_keys);

  // True when all keys are there. Each must fit its public key: kInvalidPath.
  Result<bool> step(Budget& budget, Parallel* parallel);
  std::vector<NodeKey> take_keys();
  Secret take_commit_secret() { return std::move(derived_.commit_secret); }

 private:
  PathKeys derived_;
  std::vector<NodeIndex> nodes_;
  std::vector<PublicKeyBytes> public_keys_;
};

// Counts of nodes and ciphertexts fit the tree exactly, and all keys are valid ones. `diff` has the
// proposals applied. kInvalidPath, kInvalidKey.
Status check_path_shape(const TreeDiff& diff, std::span<const PathStep> steps,
                        const UpdatePath& path, std::span<const LeafIndex> joiners);

// Decrypts the member's path secret; the keys above are still to be derived. The shape has been checked; `keys` are
// the member's after the proposals; `context` is the provisional GroupContext (12.4.2).
Result<OpenedPath> open_path(const TreeDiff& diff, const PrivatePath& keys,
                             std::span<const PathStep> steps, const UpdatePath& path,
                             std::span<const LeafIndex> joiners, View context);

// The public keys of a received path.
std::vector<PublicKeyBytes> path_public_keys(const UpdatePath& path);

}  // namespace slipway::mls
