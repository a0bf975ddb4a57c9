#include "tree/path.h"

#include <algorithm>

#include "crypto/hkdf.h"

namespace slipway::mls {

using namespace node_math;

namespace {

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

PathKeys::PathKeys(const Suite& suite, Secret first, size_t count) : suite_(&suite) {
  secrets.reserve(count);
  keys.reserve(count);
  for (size_t i = 0; i < count; ++i) {
    Secret next = derive_secret(suite, first, "path");
    secrets.push_back(std::move(first));
    first = std::move(next);
  }
  commit_secret = std::move(first);
}

Result<KemKey> PathKeys::make_key(size_t i) const {
  return KemKey::derive(*suite_, derive_secret(*suite_, secrets[i], "node"));
}

Result<bool> PathKeys::step(Budget& budget, Parallel* parallel) {
  while (keys.size() < secrets.size()) {
    const size_t done = keys.size();
    const size_t count = budget.take(secrets.size() - done, Budget::kPublicKeyOp);
    if (count == 0) {
      return false;
    }
    keys.resize(done + count);
    std::vector<Status> results(count);
    parallel_for(parallel, count, [&](size_t i) {
      auto key = make_key(done + i);
      if (key) {
        keys[done + i] = std::move(*key);
      } else {
        results[i] = fail(key.error());
      }
    });
    for (const Status& result : results) {
      MLS_TRY(result);
    }
  }
  return true;
}

std::vector<PublicKeyBytes> OwnPath::public_keys() const {
  std::vector<PublicKeyBytes> result;
  result.reserve(derived.keys.size());
  for (const KemKey& key : derived.keys) {
    result.emplace_back(key.public_key());
  }
  return result;
}

Result<OwnPath> start_own_path(const Suite& suite, std::vector<PathStep> steps, Random& random) {
  Secret first = Secret::zeros(suite.hash_size);
  MLS_TRY(random.fill_secret(first.mutable_view()));
  const size_t count = steps.size();
  return OwnPath{std::move(steps), PathKeys(suite, std::move(first), count)};
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

OpenedPath::OpenedPath(const Suite& suite, Secret path_secret, std::vector<NodeIndex> nodes,
                       std::vector<PublicKeyBytes> public_keys)
    : derived_(suite, std::move(path_secret), nodes.size()),
      nodes_(std::move(nodes)),
      public_keys_(std::move(public_keys)) {}

Result<bool> OpenedPath::step(Budget& budget, Parallel* parallel) {
  const size_t before = derived_.keys.size();
  MLS_ASSIGN(const bool done, derived_.step(budget, parallel));
  for (size_t i = before; i < derived_.keys.size(); ++i) {
    if (!equal(derived_.keys[i].public_key(), public_keys_[i])) {
      return fail(ErrorCode::kInvalidPath, "opening a path: a public key does not fit its secret");
    }
  }
  return done;
}

std::vector<NodeKey> OpenedPath::take_keys() {
  std::vector<NodeKey> keys;
  keys.reserve(nodes_.size());
  for (size_t i = 0; i < nodes_.size(); ++i) {
    keys.push_back({nodes_[i], std::move(derived_.keys[i])});
  }
  return keys;
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
    std::vector<PublicKeyBytes> public_keys;
    for (size_t step = first; step < steps.size(); ++step) {
      nodes.push_back(steps[step].node);
      public_keys.emplace_back(path.nodes[step].encryption_key);
    }
    return OpenedPath(diff.suite(), Secret(secret), std::move(nodes), std::move(public_keys));
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
