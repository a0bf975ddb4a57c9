// Procedures of tree-math, tree-operations, tree-validation and treekem.
#include "crypto/hkdf.h"
#include "crypto/signature_key.h"
#include "message/group_info.h"
#include "tree/path.h"
#include "tree/tree_validator.h"
#include "vectors/entry.h"

namespace slipway::mls::vectors {
namespace {

using namespace node_math;

void run_tree_math(const Entry& entry) {
  const auto width = static_cast<uint32_t>(entry.number("n_leaves"));
  const uint32_t nodes = node_count(width);
  expect("n_nodes", nodes == entry.number("n_nodes"));
  expect("root", root(width) == entry.number("root"));
  const auto left_of = entry.numbers_or_null("left");
  const auto right_of = entry.numbers_or_null("right");
  const auto parent_of = entry.numbers_or_null("parent");
  const auto sibling_of = entry.numbers_or_null("sibling");
  expect("lengths", left_of.size() == nodes && right_of.size() == nodes &&
                        parent_of.size() == nodes && sibling_of.size() == nodes);
  for (NodeIndex node = 0; node < nodes; ++node) {
    expect("left", left_of[node] == (is_leaf(node) ? Entry::kNull : left(node)));
    expect("right", right_of[node] == (is_leaf(node) ? Entry::kNull : right(node)));
    const bool top = node == root(width);
    expect("parent", parent_of[node] == (top ? Entry::kNull : parent(node)));
    expect("sibling", sibling_of[node] == (top ? Entry::kNull : sibling(node)));
  }
}

RatchetTree read_tree(const Entry& entry, const char* field) {
  RatchetTree tree =
      expect_value(field, RatchetTree::decode(entry.suite(), entry.hex(field), kDefaultLimits));
  size_t budget = SIZE_MAX;
  expect("hashes", tree.hash_some(budget));
  return tree;
}

void run_tree_operations(const Entry& entry) {
  RatchetTree tree = read_tree(entry, "tree_before");
  expect_equal("tree_before", tree.encode(), entry.hex("tree_before"));
  expect_equal("tree_hash_before", tree.root_hash(), entry.hex("tree_hash_before"));
  const auto proposal = expect_value("proposal", decode<Proposal>(entry.hex("proposal")));
  TreeDiff diff(tree);
  if (const auto* add = proposal.as<AddProposal>()) {
    expect_value("adding", diff.add(Leaf::from(add->key_package.leaf_node), kDefaultLimits));
  } else if (const auto* update = proposal.as<UpdateProposal>()) {
    diff.update(static_cast<LeafIndex>(entry.number("proposal_sender")),
                Leaf::from(update->leaf_node));
  } else if (const auto* remove = proposal.as<RemoveProposal>()) {
    diff.remove(remove->removed);
  }
  diff.hash_all();
  expect_equal("tree_after of the diff", diff.encode(), entry.hex("tree_after"));
  expect_equal("tree_hash_after of the diff", diff.root_hash(), entry.hex("tree_hash_after"));
  tree.apply(std::move(diff));
  expect_equal("tree_after", tree.encode(), entry.hex("tree_after"));
  expect_equal("tree_hash_after", tree.root_hash(), entry.hex("tree_hash_after"));
}

void run_tree_validation(const Entry& entry) {
  const RatchetTree tree = read_tree(entry, "tree");
  expect_equal("tree", tree.encode(), entry.hex("tree"));
  const TreeDiff view(tree);
  const auto resolutions = entry.number_lists("resolutions");
  for (NodeIndex node = 0; node < resolutions.size(); ++node) {
    std::vector<NodeIndex> found;
    view.resolution(node, found);
    expect("resolution", std::equal(found.begin(), found.end(), resolutions[node].begin(),
                                    resolutions[node].end()));
    expect("empty resolution", view.resolution_is_empty(node) == found.empty());
  }
  const auto hashes = entry.hex_list("tree_hashes");
  for (NodeIndex node = 0; node < hashes.size(); ++node) {
    expect_equal("tree hash", tree.tree_hash(node), hashes[node]);
  }
  const Bytes group_id = entry.hex("group_id");
  TreeValidator validator(tree, group_id, nullptr);
  Budget budget = Budget::unlimited();
  expect("validation", expect_value("validating", validator.step(budget)));
}

// ---- treekem

PrivatePath read_private(const RatchetTree& tree, const Entry& entry) {
  const Suite& suite = tree.suite();
  PrivatePath keys(static_cast<LeafIndex>(entry.number("index")));
  keys.set(leaf_node(keys.leaf()), expect_value("encryption_priv",
                                                KemKey::import(suite, entry.hex("encryption_priv"))));
  for (const Entry& secret : entry.objects("path_secrets")) {
    keys.set(static_cast<NodeIndex>(secret.number("node")),
             expect_value("path_secret",
                          KemKey::derive(suite, derive_secret(suite, secret.hex("path_secret"),
                                                              "node"))));
  }
  const size_t count = keys.keys().size();
  keys.retain(tree);
  expect("private keys fit the tree", keys.keys().size() == count);
  return keys;
}

struct TreeKem {
  explicit TreeKem(const Entry& entry) : tree(read_tree(entry, "ratchet_tree")) {
    context.cipher_suite = entry.suite().id;
    context.group_id = entry.hex("group_id");
    context.epoch = entry.number("epoch");
    context.confirmed_transcript_hash = entry.hex("confirmed_transcript_hash");
    for (const Entry& member : entry.objects("leaves_private")) {
      members.push_back(read_private(tree, member));
      signers.push_back(expect_value(
          "signature_priv", SignatureKey::import(entry.suite(), member.hex("signature_priv"))));
    }
  }

  Bytes context_for(const TreeDiff& diff) {
    context.tree_hash = to_bytes(diff.root_hash());
    return encode(context);
  }

  RatchetTree tree;
  GroupContext context;
  std::vector<PrivatePath> members;
  std::vector<SignatureKey> signers;
};

// Checks a path as a receiver does, and lets all other members open it.
void process_path(TreeKem& kem, LeafIndex sender, const UpdatePath& path, View commit_secret,
                  View tree_hash_after) {
  TreeDiff diff(kem.tree);
  const auto steps = diff.filtered_direct_path(sender);
  expect_ok("shape of the path", check_path_shape(diff, steps, path, {}));
  const HashValue parent_hash = diff.merge_path(sender, steps, path_public_keys(path));
  expect_equal("parent hash", parent_hash, path.leaf_node.parent_hash);
  const LeafPtr leaf = Leaf::from(path.leaf_node);
  expect_ok("leaf", leaf->verify_signature(kem.tree.suite(), kem.context.group_id, sender));
  diff.set_leaf(sender, leaf);
  diff.hash_all();
  if (!tree_hash_after.empty()) {
    expect_equal("tree_hash_after", diff.root_hash(), tree_hash_after);
  }
  expect_ok("unique keys", diff.check_unique_keys());
  const Bytes context = kem.context_for(diff);
  for (const PrivatePath& member : kem.members) {
    if (member.leaf() == sender) {
      continue;
    }
    OpenedPath opened =
        expect_value("opening the path", open_path(diff, member, steps, path, {}, context));
    Budget budget = Budget::unlimited();
    expect("path keys", expect_value("deriving the keys", opened.step(budget, nullptr)));
    expect_equal("commit secret", opened.take_commit_secret(), commit_secret);
  }
}

UpdatePath make_path(TreeKem& kem, size_t member, Secret& commit_secret) {
  const Suite& suite = kem.tree.suite();
  const LeafIndex self = kem.members[member].leaf();
  TreeDiff diff(kem.tree);
  OwnPath own = expect_value(
      "making a path", start_own_path(suite, diff.filtered_direct_path(self), system_random()));
  Budget budget = Budget::unlimited();
  expect("path keys", expect_value("deriving the keys", own.derived.step(budget, nullptr)));
  UpdatePath path;
  path.leaf_node = kem.tree.leaf(self)->decode_all();
  const KemKey leaf_key = expect_value("leaf key", KemKey::generate(suite, system_random()));
  path.leaf_node.encryption_key = to_bytes(leaf_key.public_key());
  path.leaf_node.source = LeafNodeSource::kCommit;
  path.leaf_node.parent_hash = to_bytes(diff.merge_path(self, own.steps, own.public_keys()));
  const Bytes content = leaf_node_tbs(path.leaf_node, kem.context.group_id, self);
  path.leaf_node.signature =
      to_bytes(expect_value("signing", kem.signers[member].sign(kLeafNodeLabel, {content})));
  diff.set_leaf(self, Leaf::from(path.leaf_node));
  diff.hash_all();
  const LabelSealer sealer(suite, kUpdatePathNodeLabel, kem.context_for(diff));
  path.nodes.resize(own.steps.size());
  for (size_t i = 0; i < own.steps.size(); ++i) {
    path.nodes[i].encryption_key = to_bytes(own.derived.keys[i].public_key());
  }
  for (const PathRecipient& to : path_recipients(diff, own.steps, {})) {
    HpkeSealed sealed = expect_value(
        "sealing",
        sealer.seal(diff.encryption_key(to.node), own.derived.secrets[to.step], system_random()));
    path.nodes[to.step].encrypted_path_secret.push_back(
        {std::move(sealed.enc), std::move(sealed.ciphertext)});
  }
  commit_secret = std::move(own.derived.commit_secret);
  return path;
}

void check_opened_secrets(TreeKem& kem, const Entry& update, LeafIndex sender,
                          const UpdatePath& path) {
  const auto secrets = update.hex_list("path_secrets");
  TreeDiff diff(kem.tree);
  const auto steps = diff.filtered_direct_path(sender);
  for (const PrivatePath& member : kem.members) {
    if (member.leaf() == sender) {
      continue;
    }
    const auto mine = std::find_if(steps.begin(), steps.end(), [&](const PathStep& step) {
      return covers(step.copath, member.leaf());
    });
    expect("path above the member", mine != steps.end());
    const KemKey key = expect_value(
        "key of the path secret",
        KemKey::derive(kem.tree.suite(),
                       derive_secret(kem.tree.suite(), secrets.at(member.leaf()), "node")));
    expect_equal("path_secret", key.public_key(),
                 path.nodes[static_cast<size_t>(mine - steps.begin())].encryption_key);
  }
}

void run_treekem(const Entry& entry) {
  TreeKem kem(entry);
  for (const Entry& update : entry.objects("update_paths")) {
    const auto path = expect_value("update_path", decode<UpdatePath>(update.hex("update_path")));
    const auto sender = static_cast<LeafIndex>(update.number("sender"));
    check_opened_secrets(kem, update, sender, path);
    process_path(kem, sender, path, update.hex("commit_secret"), update.hex("tree_hash_after"));
  }
  for (size_t member = 0; member < kem.members.size(); ++member) {
    Secret commit_secret;
    const UpdatePath path = make_path(kem, member, commit_secret);
    process_path(kem, kem.members[member].leaf(), path, commit_secret, {});
  }
}

}  // namespace

std::vector<Kind> tree_kinds() {
  return {{"tree-math", run_tree_math},
          {"tree-operations", run_tree_operations},
          {"tree-validation", run_tree_validation},
          {"treekem", run_treekem}};
}

}  // namespace slipway::mls::vectors
