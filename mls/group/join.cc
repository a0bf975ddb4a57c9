// Joining a group: by Welcome (RFC 9420, 12.4.3.1) and by external commit (12.4.3.2).
#include <algorithm>

#include "base/phases.h"
#include "crypto/aead.h"
#include "group/state.h"
#include "tree/tree_validator.h"

namespace slipway::mls {

namespace {

// A tree and GroupInfo that somebody else made, checked step by step. Both ways of joining do it.
class StateCheck {
 public:
  // `group` gets the tree; what is checked against is its policy. `signed_part` is the GroupInfo's encoded form but
  // for the signature; it and `tree` stay where they are.
  StateCheck(GroupState& group, GroupInfo info, View signed_part, uint64_t now_s)
      : group_(group), info_(std::move(info)), signed_part_(signed_part), now_s_(now_s) {}

  Status start(std::optional<View> tree, bool group_id_is_new);
  Result<bool> step(Budget& budget);
  const GroupInfo& info() const { return info_; }
  const GroupRules& rules() const { return rules_; }

 private:
  enum class Phase : uint8_t { kDecode, kHashes, kSignature, kTree, kLeaves, kDone };
  Result<bool> do_phase(Budget& budget);
  Status start_signature();
  Status check_member(LeafIndex index);

  GroupState& group_;
  GroupInfo info_;
  View signed_part_;
  uint64_t now_s_;
  GroupRules rules_;
  Phase phase_ = Phase::kDecode;
  LeafIndex next_leaf_ = 0;
  std::optional<TreeDecoder> decoder_;
  std::optional<VerifySteps> verifying_;
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
  decoder_.emplace(*group_.suite, limits);
  MLS_TRY(decoder_->start(inside != nullptr ? View(*inside) : *tree));
  MLS_ASSIGN(rules_, rules_of(context.extensions, limits));
  return check_group_extensions(group_, context.extensions, now_s_);
}

Status StateCheck::start_signature() {
  if (!equal(group_.tree.root_hash(), info_.group_context.tree_hash)) {
    return fail(ErrorCode::kTreeHashMismatch, "joining: the tree is not the one of the GroupInfo");
  }
  const LeafPtr& signer = group_.tree.leaf(info_.signer);
  if (signer == nullptr) {
    return fail(ErrorCode::kInvalidGroupInfo, "joining: the signer of the GroupInfo is no member");
  }
  MLS_TRY(validate_signature_public_key(*group_.suite, signer->signature_key()));
  verifying_.emplace(*group_.suite, signer->signature_key(), kGroupInfoLabel,
                     std::vector<View>{signed_part_}, info_.signature);
  return {};
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
  return run_phases(phase_, budget, [this](Budget& left) { return do_phase(left); });
}

Result<bool> StateCheck::do_phase(Budget& budget) {
  switch (phase_) {
    case Phase::kDecode: {
      MLS_ASSIGN(const bool done, decoder_->step(budget));
      if (done) {
        group_.tree = decoder_->take();
      }
      return done;
    }
    case Phase::kHashes: return group_.tree.hash_some(budget.units());
    case Phase::kSignature: {
      if (!verifying_) {
        MLS_TRY(start_signature());
      }
      // A short one is verified with the leaves if that is faster.
      constexpr size_t kShortBytes = size_t{16} << 10;
      const bool with_leaves = group_.config.parallel != nullptr && signed_part_.size() <= kShortBytes;
      if (!with_leaves) {
        MLS_ASSIGN(const bool done, verifying_->step(budget));
        if (!done) {
          return false;
        }
      }
      validator_.emplace(group_.tree, info_.group_context.group_id, group_.config.parallel);
      view_.emplace(group_.tree);
      if (with_leaves) {
        validator_->verify_with_leaves(std::move(*verifying_));
      }
      verifying_.reset();
      return true;
    }
    case Phase::kTree: return validator_->step(budget);
    case Phase::kLeaves: {
      constexpr size_t kMemberCost = 2;
      for (; next_leaf_ < group_.tree.width(); ++next_leaf_) {
        if (budget.take(1, kMemberCost) == 0) {
          return false;
        }
        MLS_TRY(check_member(next_leaf_));
      }
      return true;
    }
    case Phase::kDone: break;
  }
  return true;
}

// The part of an encoded GroupInfo that its signature is over.
View signed_part_of(View encoded, const GroupInfo& info) {
  return encoded.first(encoded.size() - vector_size(info.signature.size()));
}

// Members of a successor group are members of the old one (11.2, 11.3), by the caller's notion of a client.
class SuccessorCheck {
 public:
  SuccessorCheck(const GroupState& old, const GroupState& group) : old_(old), group_(group) {}

  Result<bool> step(Budget& budget) {
    for (; next_old_ < old_.tree.width(); ++next_old_) {
      if (budget.take(1, 1) == 0) {
        return false;
      }
      if (const LeafPtr& leaf = old_.tree.leaf(next_old_); leaf != nullptr) {
        credentials_.insert(tag_of(*leaf), KeyKind::kSignature, node_math::leaf_node(next_old_));
      }
    }
    for (; next_new_ < group_.tree.width(); ++next_new_) {
      if (budget.take(1, 1) == 0) {
        return false;
      }
      const LeafPtr& leaf = group_.tree.leaf(next_new_);
      if (leaf != nullptr && !known(*leaf, budget)) {
        return fail(ErrorCode::kInvalidTree, "joining a successor: a member was not in the old group");
      }
    }
    return true;
  }

 private:
  static uint32_t tag_of(const Leaf& leaf) {
    return key_tag(KeyKind::kSignature, leaf.credential_content());
  }
  // Mostly credential or client id are the same. What else the policy may know as one client, only a search tells.
  bool known(const Leaf& leaf, Budget& budget) const {
    const auto same = [&](NodeIndex node) {
      const LeafPtr& there = old_.tree.leaf(node_math::leaf_of(node));
      return there != nullptr && group_.policy->same_client(*there, leaf);
    };
    if (credentials_.any(tag_of(leaf), KeyKind::kSignature, same)) {
      return true;
    }
    const View id = group_.policy->client_id(leaf);
    if (!id.empty() && old_.clients.any(key_tag(KeyKind::kSignature, id), KeyKind::kSignature, same)) {
      return true;
    }
    constexpr size_t kSearchedAUnit = 16;
    budget.draw(old_.tree.width() / kSearchedAUnit);
    for (LeafIndex i = 0; i < old_.tree.width(); ++i) {
      if (same(node_math::leaf_node(i))) {
        return true;
      }
    }
    return false;
  }

  const GroupState& old_;
  const GroupState& group_;
  KeyIndex credentials_;
  LeafIndex next_old_ = 0;
  LeafIndex next_new_ = 0;
};

}  // namespace

// ---- Welcome.

struct JoinBuild {
  enum class Phase : uint8_t { kContextHash, kOpen, kCheck, kPlace, kPathKeys, kSuccessor, kEpoch, kDone };

  std::unique_ptr<GroupState> group;
  Phase phase = Phase::kContextHash;
  uint64_t now_s = 0;
  size_t package_index = 0;
  PrivateKeyPackage package;
  const Group* predecessor = nullptr;
  std::optional<Bytes> tree_beside;
  // Of the Welcome.
  Bytes kem_output;
  Bytes ciphertext;
  Bytes encrypted_info;
  Bytes encoded_info;
  std::optional<LongHash> hashing;
  ResolvedPsks psks;
  GroupSecrets secrets;
  Secret member_secret;
  std::optional<StateCheck> check;
  OpenedPath path;
  std::optional<SuccessorCheck> successor;

  Status start(const GroupConfig& config, const JoinOptions& options);
  Status read_welcome(const JoinOptions& options, const Limits& limits, CipherSuite& suite);
  Status find_entry(const JoinOptions& options, const Limits& limits, View entries);
  Result<bool> step(Budget& budget);
  Result<bool> do_phase(Budget& budget);
  Status open();
  Status open_secrets();
  Status check_psks();
  Status check_member_count() const;
  Status place_keys();
  Status start_path();
  Status make_epoch();
};

// The entry of the first key package of ours that has one. All entries are looked at, so that a Welcome is well
// formed for all of its joiners or for none.
Status JoinBuild::find_entry(const JoinOptions& options, const Limits& limits, View entries) {
  Reader reader(entries, limits);
  bool found = false;
  for (size_t count = 0; !reader.at_end(); ++count) {
    if (count >= limits.welcome_secrets) {
      return fail(ErrorCode::kTooMany, "joining: more joiners in the Welcome than the limit");
    }
    View ref;
    View enc;
    View sealed;
    reader.bounded(ref, kMaxHashBytes);
    reader.bounded(enc, &Limits::public_key_bytes);
    reader(sealed);
    MLS_TRY(reader.status());
    for (size_t i = 0; !found && i < options.key_packages.size(); ++i) {
      if (equal(options.key_packages[i]->ref, ref)) {
        package_index = i;
        kem_output = to_bytes(enc);
        ciphertext = to_bytes(sealed);
        found = true;
      }
    }
  }
  if (!found) {
    return fail(ErrorCode::kNotForMe, "joining: the Welcome is for none of our key packages");
  }
  return {};
}

Status JoinBuild::read_welcome(const JoinOptions& options, const Limits& limits, CipherSuite& suite) {
  MLS_ASSIGN(const MessagePeek peek, peek_message(options.welcome, limits));
  if (peek.wire_format != WireFormat::kWelcome) {
    return fail(ErrorCode::kWrongContentType, "joining: the message is no Welcome");
  }
  Reader reader(peek.body, limits);
  View entries;
  View info;
  reader(suite, entries, info);
  MLS_TRY(reader.finish());
  MLS_TRY(find_entry(options, limits, entries));
  encrypted_info = to_bytes(info);
  return {};
}

Status JoinBuild::start(const GroupConfig& config, const JoinOptions& options) {
  CipherSuite id{};
  MLS_TRY(read_welcome(options, config.limits, id));
  const PrivateKeyPackage& mine = *options.key_packages[package_index];
  const Suite* suite = find_suite(id);
  if (suite == nullptr || mine.key_package.cipher_suite != id) {
    return fail(ErrorCode::kUnsupported, "joining: the suite is not that of our key package");
  }
  if (options.signer == nullptr || options.signer->suite() != suite->id ||
      !equal(options.signer->public_key(), mine.key_package.leaf_node.signature_key)) {
    return fail(ErrorCode::kInvalidArgument,
                "joining: the signature key is not that of the key package");
  }
  if (encrypted_info.size() < kAeadTagBytes) {
    return fail(ErrorCode::kDecryptionFailed, "joining: the GroupInfo is shorter than its tag");
  }
  if (options.tree) {
    if (options.tree->size() > config.limits.handshake_message_bytes) {
      return fail(ErrorCode::kTooLarge, "joining: the ratchet tree is larger than the limit");
    }
    tree_beside = to_bytes(*options.tree);
  }
  package.key_package = mine.key_package;
  package.init_key = mine.init_key.clone();
  package.leaf_key = mine.leaf_key.clone();
  now_s = options.now_s;
  predecessor = options.predecessor;
  group = std::make_unique<GroupState>(config, *suite);
  group->signer = options.signer->clone();
  hashing.emplace(start_context_hash(*suite, kWelcomeLabel, encrypted_info));
  return {};
}

Result<bool> JoinBuild::step(Budget& budget) {
  return run_phases(phase, budget, [this](Budget& left) { return do_phase(left); });
}

Result<bool> JoinBuild::do_phase(Budget& budget) {
  switch (phase) {
    case Phase::kContextHash: return hashing->step(budget);
    case Phase::kOpen: {
      MLS_TRY(open());
      budget.draw(Budget::kPublicKeyOp + encoded_info.size() / Budget::kCopiedBytes);
      return true;
    }
    case Phase::kCheck: return check->step(budget);
    case Phase::kPlace: {
      MLS_TRY(place_keys());
      constexpr size_t kComparedAUnit = 32;
      budget.draw(group->tree.width() / kComparedAUnit);
      return true;
    }
    case Phase::kPathKeys: {
      if (!secrets.path_secret) {
        return true;
      }
      MLS_ASSIGN(const bool done, path.step(budget, group->config.parallel));
      if (done) {
        for (NodeKey& key : path.take_keys()) {
          group->keys.set(key.node, std::move(key.key));
        }
      }
      return done;
    }
    case Phase::kSuccessor: {
      if (predecessor == nullptr) {
        return true;
      }
      if (!successor) {
        MLS_TRY(check_member_count());
        successor.emplace(GroupAccess::state(*predecessor), *group);
      }
      return successor->step(budget);
    }
    case Phase::kEpoch: {
      MLS_TRY(make_epoch());
      budget.draw(Budget::kPublicKeyOp);
      return true;
    }
    case Phase::kDone: break;
  }
  return true;
}

Status JoinBuild::open() {
  const Suite& suite = *group->suite;
  MLS_TRY(open_secrets());
  const WelcomeKey key = make_welcome_key(suite, make_welcome_secret(suite, member_secret));
  encoded_info.resize(encrypted_info.size() - kAeadTagBytes);
  MLS_TRY(aead_open(suite, key.key, key.nonce, {View{}}, encrypted_info, encoded_info));
  encrypted_info = {};
  MLS_ASSIGN(GroupInfo info, decode<GroupInfo>(encoded_info, group->limits()));
  const View signed_part = signed_part_of(encoded_info, info);
  check.emplace(*group, std::move(info), signed_part, now_s);
  MLS_TRY(check_psks());
  return check->start(tree_beside ? std::optional<View>(*tree_beside) : std::nullopt, true);
}

Status JoinBuild::open_secrets() {
  const Suite& suite = *group->suite;
  MLS_ASSIGN(const SecretBytes opened, decrypt_with_label(suite, package.init_key, hashing->finish(),
                                                          kem_output, ciphertext));
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

Status JoinBuild::check_member_count() const {
  const GroupState& old = GroupAccess::state(*predecessor);
  if (psks.ids.size() == 1 && psks.ids[0].usage == ResumptionPskUsage::kReInit &&
      group->tree.member_count() != old.tree.member_count()) {
    return fail(ErrorCode::kInvalidTree,
                "joining a reinitialised group: it has not all members of the old one");
  }
  return {};
}

// Our leaf, and the private keys that the Welcome gives us.
Status JoinBuild::place_keys() {
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
  return secrets.path_secret ? start_path() : Status();
}

Status JoinBuild::start_path() {
  std::vector<NodeIndex> nodes;
  std::vector<PublicKeyBytes> public_keys;
  const NodeIndex root = node_math::root(group->tree.width());
  for (NodeIndex node = node_math::leaf_node(group->self()); node != root;) {
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
  path = OpenedPath(*group->suite, Secret(*secrets.path_secret), std::move(nodes), std::move(public_keys));
  return {};
}

Status JoinBuild::make_epoch() {
  const Suite& suite = *group->suite;
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
  Budget budget = Budget::public_key_ops(public_key_ops);
  return build_->step(budget);
}

Result<Group> JoinOperation::finish() {
  if (build_ == nullptr || build_->phase != JoinBuild::Phase::kDone) {
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
  // Four bytes of version and wire format come first.
  const View signed_part = signed_part_of(options.group_info.subspan(4), info);
  StateCheck check(*group, std::move(info), signed_part, options.now_s);
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
