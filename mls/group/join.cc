// Joining a group: by Welcome (RFC 9420, 12.4.3.1) and by external commit (12.4.3.2).
#include <algorithm>

#include "crypto/aead.h"
#include "group/state.h"
#include "tree/tree_validator.h"

namespace slipway::mls {

namespace {

// A tree and GroupInfo that somebody else made, checked step by step. Both ways of joining do it.
class StateCheck {
 public:
  // `group` gets tree and context; what is checked against is its policy.
  StateCheck(GroupState& group, GroupInfo info, uint64_t now_s)
      : group_(group), info_(std::move(info)), now_s_(now_s) {}

  Status start(std::optional<View> tree, bool group_id_is_new);
  Result<bool> step(Budget& budget);
  const GroupInfo& info() const { return info_; }
  const GroupRules& rules() const { return rules_; }

 private:
  enum class Phase : uint8_t { kHashes, kSignature, kTree, kLeaves, kDone };
  Status check_signature();
  Status check_member(LeafIndex index);

  GroupState& group_;
  GroupInfo info_;
  uint64_t now_s_;
  GroupRules rules_;
  Phase phase_ = Phase::kHashes;
  LeafIndex next_leaf_ = 0;
  std::optional<TreeValidator> validator_;
  std::optional<TreeDiff> view_;
};

Status StateCheck::start(std::optional<View> tree, bool group_id_is_new) {
  const Limits& limits = group_.limits();
  const GroupContext& context = info_.group_context;
  if (context.version != ProtocolVersion::kMls10 || context.cipher_suite != group_.suite->id) {
    return fail(ErrorCode::kInvalidGroupInfo, "joining: version or suite of the GroupInfo differ");
  }
  if (context.group_id.empty() || context.group_id.size() > limits.group_id_bytes) {
    return fail(ErrorCode::kUnsupported, "joining: the group id has 0 or too many bytes");
  }
  if (group_id_is_new && group_.policy->group_exists(context.group_id)) {
    return fail(ErrorCode::kGroupExists, "joining: we are in a group of that id");
  }
  const Bytes* inside = find_extension(info_.extensions, ExtensionType::kRatchetTree);
  if (inside == nullptr && !tree) {
    return fail(ErrorCode::kInvalidGroupInfo, "joining: no ratchet tree, neither inside nor beside");
  }
  MLS_ASSIGN(group_.tree,
             RatchetTree::decode(*group_.suite, inside != nullptr ? View(*inside) : *tree, limits));
  MLS_ASSIGN(rules_, rules_of(context.extensions, limits));
  return check_group_extensions(group_, context.extensions, now_s_);
}

Status StateCheck::check_signature() {
  if (!equal(group_.tree.root_hash(), info_.group_context.tree_hash)) {
    return fail(ErrorCode::kTreeHashMismatch, "joining: the tree is not the one of the GroupInfo");
  }
  const LeafPtr& signer = group_.tree.leaf(info_.signer);
  if (signer == nullptr) {
    return fail(ErrorCode::kInvalidGroupInfo, "joining: the signer of the GroupInfo is no member");
  }
  MLS_TRY(validate_signature_public_key(*group_.suite, signer->signature_key()));
  const Bytes content = group_info_tbs(info_);
  return verify_once(*group_.suite, signer->signature_key(), kGroupInfoLabel, {content},
                     info_.signature);
}

Status StateCheck::check_member(LeafIndex index) {
  const LeafPtr& leaf = group_.tree.leaf(index);
  if (leaf == nullptr) {
    return {};
  }
  MLS_TRY(check_leaf(group_, rules_, {LeafUse::kWelcome, leaf.get(), index, now_s_}));
  if (!view_->all_credential_types([&](CredentialType type) { return leaf->supports(type); })) {
    return fail(ErrorCode::kInvalidLeafNode,
                "joining: a member does not support the credential type of another");
  }
  const View id = group_.policy->client_id(*leaf);
  if (id.empty()) {
    return {};
  }
  const uint32_t tag = key_tag(KeyKind::kSignature, id);
  const bool twice = group_.clients.any(tag, KeyKind::kSignature, [&](NodeIndex node) {
    return equal(id, group_.policy->client_id(*group_.tree.leaf(node_math::leaf_of(node))));
  });
  if (twice) {
    return fail(ErrorCode::kKeyReuse, "joining: one client is in the group twice");
  }
  group_.clients.insert(tag, KeyKind::kSignature, node_math::leaf_node(index));
  return {};
}

Result<bool> StateCheck::step(Budget& budget) {
  constexpr size_t kMemberCost = 2;
  while (phase_ != Phase::kDone) {
    if (budget.used_up()) {
      return false;
    }
    switch (phase_) {
      case Phase::kHashes: {
        if (!group_.tree.hash_some(budget.units())) {
          return false;
        }
        break;
      }
      case Phase::kSignature: {
        MLS_TRY(check_signature());
        budget.draw(Budget::kPublicKeyOp);
        validator_.emplace(group_.tree, info_.group_context.group_id, group_.config.parallel);
        view_.emplace(group_.tree);
        break;
      }
      case Phase::kTree: {
        MLS_ASSIGN(const bool done, validator_->step(budget));
        if (!done) {
          return false;
        }
        break;
      }
      case Phase::kLeaves: {
        for (; next_leaf_ < group_.tree.width(); ++next_leaf_) {
          if (budget.take(1, kMemberCost) == 0) {
            return false;
          }
          MLS_TRY(check_member(next_leaf_));
        }
        break;
      }
      case Phase::kDone: break;
    }
    phase_ = static_cast<Phase>(static_cast<uint8_t>(phase_) + 1);
  }
  return true;
}

}  // namespace

// ---- Welcome.

struct JoinBuild {
  std::unique_ptr<GroupState> group;
  std::optional<StateCheck> check;
  uint64_t now_s = 0;
  size_t package_index = 0;
  PrivateKeyPackage package;
  const Group* predecessor = nullptr;
  ResolvedPsks psks;
  GroupSecrets secrets;
  Secret member_secret;
  bool checked = false;
  bool done = false;

  Status start(const GroupConfig& config, const JoinOptions& options);
  Status find_entry(const JoinOptions& options, const Welcome& welcome,
                    const EncryptedGroupSecrets*& entry);
  Status open_secrets(const Welcome& welcome, const EncryptedGroupSecrets& entry);
  Status check_psks();
  Status check_successor() const;
  Status place_keys();
  Status finish();
};

Status JoinBuild::find_entry(const JoinOptions& options, const Welcome& welcome,
                             const EncryptedGroupSecrets*& entry) {
  for (const EncryptedGroupSecrets& candidate : welcome.secrets) {
    for (size_t i = 0; i < options.key_packages.size(); ++i) {
      if (equal(options.key_packages[i]->ref, candidate.new_member)) {
        package_index = i;
        entry = &candidate;
        return {};
      }
    }
  }
  return fail(ErrorCode::kNotForMe, "joining: the Welcome is for none of our key packages");
}

Status JoinBuild::start(const GroupConfig& config, const JoinOptions& options) {
  MLS_ASSIGN(const Welcome welcome, decode_welcome(options.welcome, config.limits));
  const EncryptedGroupSecrets* entry = nullptr;
  MLS_TRY(find_entry(options, welcome, entry));
  const PrivateKeyPackage& mine = *options.key_packages[package_index];
  const Suite* suite = find_suite(welcome.cipher_suite);
  if (suite == nullptr || mine.key_package.cipher_suite != welcome.cipher_suite) {
    return fail(ErrorCode::kUnsupported, "joining: the suite is not that of our key package");
  }
  if (options.signer == nullptr || options.signer->suite() != suite->id ||
      !equal(options.signer->public_key(), mine.key_package.leaf_node.signature_key)) {
    return fail(ErrorCode::kInvalidArgument,
                "joining: the signature key is not that of the key package");
  }
  package.key_package = mine.key_package;
  package.init_key = mine.init_key.clone();
  package.leaf_key = mine.leaf_key.clone();
  now_s = options.now_s;
  predecessor = options.predecessor;
  group = std::make_unique<GroupState>(config, *suite);
  group->signer = options.signer->clone();
  MLS_TRY(open_secrets(welcome, *entry));
  WelcomeKey key = make_welcome_key(*suite, make_welcome_secret(*suite, member_secret));
  if (welcome.encrypted_group_info.size() < kAeadTagBytes) {
    return fail(ErrorCode::kDecryptionFailed, "joining: the GroupInfo is shorter than its tag");
  }
  Bytes encoded(welcome.encrypted_group_info.size() - kAeadTagBytes);
  MLS_TRY(aead_open(*suite, key.key, key.nonce, {View{}}, welcome.encrypted_group_info, encoded));
  MLS_ASSIGN(GroupInfo info, decode<GroupInfo>(encoded, config.limits));
  check.emplace(*group, std::move(info), now_s);
  MLS_TRY(check_psks());
  return check->start(options.tree, true);
}

Status JoinBuild::open_secrets(const Welcome& welcome, const EncryptedGroupSecrets& entry) {
  const Suite& suite = *group->suite;
  MLS_ASSIGN(const SecretBytes opened,
             decrypt_with_label(suite, package.init_key, "Welcome", welcome.encrypted_group_info,
                                entry.encrypted_group_secrets.kem_output,
                                entry.encrypted_group_secrets.ciphertext));
  MLS_ASSIGN(secrets, decode<GroupSecrets>(opened, group->limits()));
  if (secrets.joiner_secret.size() != suite.hash_size ||
      (secrets.path_secret && secrets.path_secret->size() != suite.hash_size)) {
    return fail(ErrorCode::kMalformed, "joining: a secret in the Welcome has a wrong length");
  }
  for (const PreSharedKeyId& id : secrets.psks) {
    if (id.nonce.size() != suite.hash_size) {
      return fail(ErrorCode::kInvalidPsk, "joining: the nonce of a PSK has a wrong length");
    }
    if (std::ranges::count(secrets.psks, id) > 1) {
      return fail(ErrorCode::kInvalidPsk, "joining: one PSK twice");
    }
  }
  const GroupState* known = predecessor != nullptr ? &GroupAccess::state(*predecessor) : nullptr;
  MLS_TRY(resolve_psks(known, group->config.psks, secrets.psks, psks));
  member_secret = make_member_secret(suite, secrets.joiner_secret, psks.fold(suite));
  return {};
}

// Usages reinit and branch (11.2, 11.3): one such PSK, in epoch 1, of the group that we were told of.
Status JoinBuild::check_psks() {
  const GroupContext& context = check->info().group_context;
  const PreSharedKeyId* link = nullptr;
  for (const PreSharedKeyId& id : psks.ids) {
    if (id.type != PskType::kResumption || id.usage == ResumptionPskUsage::kApplication) {
      continue;
    }
    if (link != nullptr) {
      return fail(ErrorCode::kInvalidPsk, "joining: more than one PSK of usage reinit or branch");
    }
    link = &id;
  }
  if (link == nullptr) {
    if (predecessor != nullptr) {
      return fail(ErrorCode::kInvalidPsk, "joining: the group does not continue the one given");
    }
    return {};
  }
  if (predecessor == nullptr) {
    return fail(ErrorCode::kInvalidPsk,
                "joining: the group continues another one, which was not given");
  }
  const GroupState& old = GroupAccess::state(*predecessor);
  if (context.epoch != 1 || !equal(link->group_id, old.group_id()) || link->epoch != old.epoch()) {
    return fail(ErrorCode::kInvalidPsk,
                "joining: the PSK is not of the given group's last epoch, or the epoch is not 1");
  }
  if (link->usage == ResumptionPskUsage::kBranch) {
    if (context.cipher_suite != old.suite->id || context.version != old.now.context.version) {
      return fail(ErrorCode::kInvalidGroupInfo, "joining a branch: version or suite differ");
    }
    return {};
  }
  if (!old.reinit || old.reinit->version != context.version ||
      old.reinit->cipher_suite != context.cipher_suite ||
      old.reinit->group_id != context.group_id || old.reinit->extensions != context.extensions) {
    return fail(ErrorCode::kInvalidGroupInfo,
                "joining a reinitialised group: it is not the one that the ReInit announced");
  }
  return {};
}

// Members of the new group are members of the old one (11.2, 11.3), by the caller's notion of a client.
Status JoinBuild::check_successor() const {
  if (predecessor == nullptr) {
    return {};
  }
  const GroupState& old = GroupAccess::state(*predecessor);
  const auto known = [&](const Leaf& leaf) {
    for (LeafIndex i = 0; i < old.tree.width(); ++i) {
      const LeafPtr& there = old.tree.leaf(i);
      if (there != nullptr && group->policy->same_client(*there, leaf)) {
        return true;
      }
    }
    return false;
  };
  for (LeafIndex i = 0; i < group->tree.width(); ++i) {
    const LeafPtr& leaf = group->tree.leaf(i);
    if (leaf != nullptr && !known(*leaf)) {
      return fail(ErrorCode::kInvalidTree, "joining a successor: a member was not in the old group");
    }
  }
  if (psks.ids.size() == 1 && psks.ids[0].usage == ResumptionPskUsage::kReInit &&
      group->tree.member_count() != old.tree.member_count()) {
    return fail(ErrorCode::kInvalidTree,
                "joining a reinitialised group: it has not all members of the old one");
  }
  return {};
}

// Our leaf, and the private keys that the Welcome gives us.
Status JoinBuild::place_keys() {
  const Suite& suite = *group->suite;
  const Bytes own = encode(package.key_package.leaf_node);
  std::optional<LeafIndex> index;
  for (LeafIndex i = 0; i < group->tree.width() && !index; ++i) {
    const LeafPtr& leaf = group->tree.leaf(i);
    if (leaf != nullptr && equal(leaf->encoded(), own)) {
      index = i;
    }
  }
  if (!index) {
    return fail(ErrorCode::kInvalidTree, "joining: our leaf is not in the tree as we published it");
  }
  const Leaf& leaf = *group->tree.leaf(*index);
  for (const Extension& extension : check->info().group_context.extensions) {
    if (!leaf.supports(extension.type)) {
      return fail(ErrorCode::kInvalidLeafNode, "joining: we do not support an extension of the group");
    }
  }
  group->keys = PrivatePath(*index);
  group->keys.set(node_math::leaf_node(*index), std::move(package.leaf_key));
  if (!secrets.path_secret) {
    return {};
  }
  std::vector<NodeIndex> nodes;
  std::vector<View> public_keys;
  const NodeIndex root = node_math::root(group->tree.width());
  for (NodeIndex node = node_math::leaf_node(*index); node != root;) {
    node = node_math::parent(node);
    if (!node_math::covers(node, check->info().signer)) {
      continue;
    }
    if (const Parent* parent = group->tree.parent(node)) {
      nodes.push_back(node);
      public_keys.push_back(parent->encryption_key);
    } else if (nodes.empty()) {
      return fail(ErrorCode::kInvalidPath, "joining: a path secret for a node that is blank");
    }
  }
  if (nodes.empty()) {
    return fail(ErrorCode::kInvalidPath, "joining: a path secret, but no node that it is for");
  }
  MLS_ASSIGN(OpenedPath opened,
             derive_path(suite, Secret(*secrets.path_secret), nodes, public_keys));
  for (NodeKey& key : opened.keys) {
    group->keys.set(key.node, std::move(key.key));
  }
  return {};
}

Status JoinBuild::finish() {
  const Suite& suite = *group->suite;
  MLS_TRY(place_keys());
  MLS_TRY(check_successor());
  const GroupInfo& info = check->info();
  const Bytes context = encode(info.group_context);
  group->now = epoch_state(suite, info.group_context,
                           make_epoch_secrets(suite, std::move(member_secret), context),
                           group->tree.width(), group->limits());
  if (!equal_secret(group->now.confirmation_tag, info.confirmation_tag)) {
    return fail(ErrorCode::kBadConfirmationTag,
                "joining: the confirmation tag does not fit the epoch's secrets");
  }
  group->resumption.push_back({group->epoch(), group->now.secrets.resumption_psk.clone()});
  return {};
}

JoinOperation::JoinOperation(std::unique_ptr<JoinBuild> build) : build_(std::move(build)) {}
JoinOperation::~JoinOperation() = default;
JoinOperation::JoinOperation(JoinOperation&&) noexcept = default;
JoinOperation& JoinOperation::operator=(JoinOperation&&) noexcept = default;

Result<bool> JoinOperation::step(size_t public_key_ops) {
  if (build_ == nullptr) {
    return fail(ErrorCode::kWrongState, "joining: finished before");
  }
  if (build_->done) {
    return true;
  }
  Budget budget = Budget::public_key_ops(public_key_ops);
  if (!build_->checked) {
    MLS_ASSIGN(build_->checked, build_->check->step(budget));
  }
  if (!build_->checked || budget.used_up()) {
    return false;
  }
  MLS_TRY(build_->finish());
  build_->done = true;
  return true;
}

Result<Group> JoinOperation::finish() {
  if (build_ == nullptr || !build_->done) {
    return fail(ErrorCode::kWrongState, "joining: steps are left to do");
  }
  const std::unique_ptr<JoinBuild> build = std::move(build_);
  return GroupAccess::make(std::move(build->group));
}

size_t JoinOperation::key_package_used() const { return build_ ? build_->package_index : 0; }

Result<JoinOperation> Group::start_join(const GroupConfig& config, const JoinOptions& options) {
  auto build = std::make_unique<JoinBuild>();
  MLS_TRY(build->start(config, options));
  return JoinOperation(std::move(build));
}

Result<Group> Group::join(const GroupConfig& config, const JoinOptions& options) {
  MLS_ASSIGN(JoinOperation operation, start_join(config, options));
  while (true) {
    MLS_ASSIGN(const bool done, operation.step(SIZE_MAX));
    if (done) {
      return operation.finish();
    }
  }
}

// ---- External commit.

Result<ExternalJoin> Group::join_external(const GroupConfig& config,
                                          const ExternalJoinOptions& options) {
  MLS_ASSIGN(GroupInfo info, decode_group_info(options.group_info, config.limits));
  const Suite* suite = find_suite(info.group_context.cipher_suite);
  if (suite == nullptr || options.signer == nullptr || options.signer->suite() != suite->id) {
    return fail(ErrorCode::kUnsupported, "joining: the suite is not ours, or not the signature key's");
  }
  auto group = std::make_unique<GroupState>(config, *suite);
  group->signer = options.signer->clone();
  StateCheck check(*group, std::move(info), options.now_s);
  MLS_TRY(check.start(options.tree, !options.remove));
  Budget budget = Budget::unlimited();
  MLS_ASSIGN(const bool checked, check.step(budget));
  (void)checked;  // with an unlimited budget, it is done or it fails
  const GroupInfo& good = check.info();
  MLS_ASSIGN(const auto external_pub,
             decode_extension<ExternalPub>(good.extensions, ExtensionType::kExternalPub,
                                           config.limits));
  if (!external_pub) {
    return fail(ErrorCode::kInvalidGroupInfo, "joining: the GroupInfo has no external public key");
  }
  MLS_TRY(validate_kem_public_key(*suite, external_pub->external_pub));
  ExternalPart external;
  MLS_ASSIGN(HpkeExported exported,
             hpke_export_to(*suite, external_pub->external_pub, {}, kExternalInitLabel,
                            suite->hash_size, *group->random));
  external.kem_output = std::move(exported.enc);
  external.init_secret = std::move(exported.secret);
  external.leaf = options.leaf;
  group->now.context = good.group_context;
  group->now.encoded_context = encode(good.group_context);
  group->now.interim_transcript_hash = interim_transcript_hash(
      *suite, good.group_context.confirmed_transcript_hash, good.confirmation_tag);
  CommitOptions commit;
  commit.now_s = options.now_s;
  if (options.remove) {
    commit.remove.push_back(*options.remove);
  }
  commit.external_psks = options.external_psks;
  commit.message.authenticated_data = options.authenticated_data;
  MLS_ASSIGN(Bytes message, commit_externally(*group, std::move(external), commit));
  return ExternalJoin{Group(std::move(group)), std::move(message)};
}

}  // namespace slipway::mls
