#include "tree/path.h"

#include <algorithm>

#include "crypto/hkdf.h"

namespace slipway::mls {

using namespace node_math;

namespace {

Result<KemKey> node_key(const Suite& suite, View path_secret) {
  return KemKey::derive(suite, derive_secret(suite, path_secret, "node"));
}

// Resolution of a copath node without the joiners.
void recipients_of(const TreeDiff& diff, NodeIndex copath, std::span<const LeafIndex> joiners,
                   std::vector<NodeIndex>& out) {
  out.clear();
  diff.resolution(copath, out);
  if (!joiners.empty()) {
    std::erase_if(out, [&](NodeIndex node) {
      return is_leaf(node) && std::ranges::binary_search(joiners, leaf_of(node));
    });
  }
}

}  // namespace

const KemKey* PrivatePath::find(NodeIndex node) const {
  const auto found = std::ranges::find(keys_, node, &NodeKey::node);
  return found == keys_.end() ? nullptr : &found->key;
}

void PrivatePath::set(NodeIndex node, KemKey key) {
  const auto found = std::ranges::find(keys_, node, &NodeKey::node);
  if (found != keys_.end()) {
    found->key = std::move(key);
  } else {
    keys_.push_back({node, std::move(key)});
  }
}

void PrivatePath::retain(const RatchetTree& tree) {
  std::erase_if(keys_, [&](const NodeKey& entry) {
    if (is_leaf(entry.node)) {
      const LeafPtr& leaf = tree.leaf(leaf_of(entry.node));
      return leaf == nullptr || !equal(leaf->encryption_key(), entry.key.public_key());
    }
    const Parent* parent = tree.parent(entry.node);
    return parent == nullptr || !equal(parent->encryption_key, entry.key.public_key());
  });
}

std::vector<PublicKeyBytes> OwnPath::public_keys() const {
  std::vector<PublicKeyBytes> result;
  result.reserve(keys.size());
  for (const KemKey& key : keys) {
    result.emplace_back(key.public_key());
  }
  return result;
}

Result<OwnPath> make_own_path(const Suite& suite, std::vector<PathStep> steps, Random& random) {
  OwnPath path;
  path.steps = std::move(steps);
  Secret secret = Secret::zeros(suite.hash_size);
  MLS_TRY(random.fill_secret(secret.mutable_view()));
  for (size_t i = 0; i < path.steps.size(); ++i) {
    MLS_ASSIGN(KemKey key, node_key(suite, secret));
    path.keys.push_back(std::move(key));
    Secret next = derive_secret(suite, secret, "path");
    path.path_secrets.push_back(std::move(secret));
    secret = std::move(next);
  }
  path.commit_secret = std::move(secret);
  return path;
}

std::vector<PathRecipient> path_recipients(const TreeDiff& diff, std::span<const PathStep> steps,
                                           std::span<const LeafIndex> joiners) {
  std::vector<PathRecipient> all;
  std::vector<NodeIndex> nodes;
  for (uint32_t i = 0; i < steps.size(); ++i) {
    recipients_of(diff, steps[i].copath, joiners, nodes);
    for (const NodeIndex node : nodes) {
      all.push_back({i, node});
    }
  }
  return all;
}

Result<OpenedPath> derive_path(const Suite& suite, Secret path_secret,
                               std::span<const NodeIndex> nodes,
                               std::span<const View> public_keys) {
  OpenedPath opened;
  for (size_t i = 0; i < nodes.size(); ++i) {
    MLS_ASSIGN(KemKey key, node_key(suite, path_secret));
    if (!equal(key.public_key(), public_keys[i])) {
      return fail(ErrorCode::kInvalidPath, "opening a path: a public key does not fit its secret");
    }
    opened.keys.push_back({nodes[i], std::move(key)});
    path_secret = derive_secret(suite, path_secret, "path");
  }
  opened.commit_secret = std::move(path_secret);
  return opened;
}

Status check_path_shape(const TreeDiff& diff, std::span<const PathStep> steps,
                        const UpdatePath& path, std::span<const LeafIndex> joiners) {
  if (path.nodes.size() != steps.size()) {
    return fail(ErrorCode::kInvalidPath, "checking a path: wrong number of nodes");
  }
  std::vector<NodeIndex> nodes;
  for (size_t i = 0; i < steps.size(); ++i) {
    recipients_of(diff, steps[i].copath, joiners, nodes);
    if (path.nodes[i].encrypted_path_secret.size() != nodes.size()) {
      return fail(ErrorCode::kInvalidPath, "checking a path: wrong number of ciphertexts");
    }
    MLS_TRY(validate_kem_public_key(diff.suite(), path.nodes[i].encryption_key));
  }
  return {};
}

Result<OpenedPath> open_path(const TreeDiff& diff, const PrivatePath& keys,
                             std::span<const PathStep> steps, const UpdatePath& path,
                             std::span<const LeafIndex> joiners, View context) {
  const auto mine = std::ranges::find_if(
      steps, [&](const PathStep& step) { return covers(step.copath, keys.leaf()); });
  if (mine == steps.end()) {
    return fail(ErrorCode::kInvalidPath, "opening a path: it does not pass above this member");
  }
  const auto first = static_cast<size_t>(mine - steps.begin());
  std::vector<NodeIndex> recipients;
  recipients_of(diff, mine->copath, joiners, recipients);
  for (size_t i = 0; i < recipients.size(); ++i) {
    const KemKey* key = keys.find(recipients[i]);
    if (key == nullptr || !equal(key->public_key(), diff.encryption_key(recipients[i]))) {
      continue;
    }
    const HpkeCiphertext& sealed = path.nodes[first].encrypted_path_secret[i];
    MLS_ASSIGN(SecretBytes secret, decrypt_with_label(diff.suite(), *key, kUpdatePathNodeLabel,
                                                      context, sealed.kem_output,
                                                      sealed.ciphertext));
    if (secret.size() != diff.suite().hash_size) {
      return fail(ErrorCode::kInvalidPath, "opening a path: the path secret has a wrong length");
    }
    std::vector<NodeIndex> nodes;
    std::vector<View> public_keys;
    for (size_t step = first; step < steps.size(); ++step) {
      nodes.push_back(steps[step].node);
      public_keys.push_back(path.nodes[step].encryption_key);
    }
    return derive_path(diff.suite(), Secret(secret), nodes, public_keys);
  }
  return fail(ErrorCode::kInvalidPath, "opening a path: no ciphertext is for a key that we hold");
}

std::vector<PublicKeyBytes> path_public_keys(const UpdatePath& path) {
  std::vector<PublicKeyBytes> keys;
  keys.reserve(path.nodes.size());
  for (const UpdatePathNode& node : path.nodes) {
    keys.emplace_back(node.encryption_key);
  }
  return keys;
}

}  // namespace slipway::mls
