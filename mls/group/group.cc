#include "group/group.h"

#include "group/state.h"

namespace slipway::mls {

Group::Group(std::unique_ptr<GroupState> state) : state_(std::move(state)) {}
Group::~Group() = default;
Group::Group(Group&&) noexcept = default;
Group& Group::operator=(Group&&) noexcept = default;

namespace {

Status check_create_options(const GroupConfig& config, const CreateOptions& options) {
  if (options.suite == nullptr || options.signer == nullptr ||
      options.signer->suite() != options.suite->id) {
    return fail(ErrorCode::kInvalidArgument,
                "creating a group: suite and a signature key of that suite are needed");
  }
  if (options.group_id.size() > config.limits.group_id_bytes) {
    return fail(ErrorCode::kUnsupported, "creating a group: the group id is too long");
  }
  return check_leaf_options(options.leaf.capabilities, options.leaf.extensions,
                            options.leaf.credential);
}

// The one leaf of a new group.
Status place_creator(GroupState& group, const CreateOptions& options) {
  const Suite& suite = *group.suite;
  MLS_ASSIGN(KemKey leaf_key, KemKey::generate(suite, *group.random));
  LeafNode leaf;
  leaf.encryption_key = to_bytes(leaf_key.public_key());
  leaf.signature_key = to_bytes(options.signer->public_key());
  leaf.credential = options.leaf.credential;
  leaf.capabilities = options.leaf.capabilities;
  leaf.extensions = options.leaf.extensions;
  leaf.source = LeafNodeSource::kKeyPackage;
  leaf.lifetime = options.lifetime;
  MLS_TRY(sign_leaf(suite, *options.signer, leaf, {}, 0));
  LeafPtr placed = Leaf::from(leaf);
  MLS_TRY(check_group_extensions(group, options.extensions, options.lifetime.not_before));
  MLS_ASSIGN(const GroupRules rules, rules_of(options.extensions, group.limits()));
  MLS_TRY(check_capabilities(rules, *placed));
  TreeDiff diff(group.tree);
  MLS_ASSIGN(const LeafIndex index, diff.add(std::move(placed), group.limits()));
  diff.hash_all();
  group.tree.apply(std::move(diff));
  group.keys = PrivatePath(index);
  group.keys.set(node_math::leaf_node(index), std::move(leaf_key));
  return {};
}

}  // namespace

Result<Group> Group::create(const GroupConfig& config, const CreateOptions& options) {
  MLS_TRY(check_create_options(config, options));
  const Suite& suite = *options.suite;
  auto group = std::make_unique<GroupState>(config, suite);
  group->signer = options.signer->clone();
  MLS_TRY(place_creator(*group, options));
  GroupContext context;
  context.cipher_suite = suite.id;
  context.group_id = options.group_id;
  if (context.group_id.empty()) {
    constexpr size_t kRandomGroupIdBytes = 32;
    context.group_id.resize(kRandomGroupIdBytes);
    MLS_TRY(group->random->fill_public(context.group_id));
  }
  context.tree_hash = to_bytes(group->tree.root_hash());
  context.extensions = options.extensions;
  Secret epoch_secret = Secret::zeros(suite.hash_size);
  MLS_TRY(group->random->fill_secret(epoch_secret.mutable_view()));
  group->now = epoch_state(suite, std::move(context), epoch_secrets_of(suite, std::move(epoch_secret)),
                           group->tree.width(), config.limits);
  group->resumption.push_back({0, group->now.secrets.resumption_psk.clone()});
  group->index_client(group->self());
  return Group(std::move(group));
}

Result<Group> Group::create_successor(const GroupConfig& config, const Group& predecessor,
                                      ResumptionPskUsage usage, const CreateOptions& options) {
  const GroupState& old = *predecessor.state_;
  if (usage == ResumptionPskUsage::kApplication) {
    return fail(ErrorCode::kInvalidArgument,
                "creating a successor: the usage is reinitialisation or branching");
  }
  if (usage == ResumptionPskUsage::kReInit) {
    if (!old.reinit) {
      return fail(ErrorCode::kWrongState, "creating a successor: the group was not reinitialised");
    }
    if (options.suite == nullptr || options.suite->id != old.reinit->cipher_suite ||
        old.reinit->version != ProtocolVersion::kMls10 ||
        options.group_id != old.reinit->group_id || options.extensions != old.reinit->extensions) {
      return fail(ErrorCode::kInvalidArgument,
                  "creating a successor: suite, group id and extensions must be the ReInit's");
    }
  } else {
    MLS_TRY(old.check_active());
    if (options.suite != old.suite) {
      return fail(ErrorCode::kInvalidArgument,
                  "creating a branch: its suite must be that of the group");
    }
  }
  MLS_ASSIGN(Group group, create(config, options));
  MLS_ASSIGN(Secret psk, predecessor.resumption_psk(old.epoch()));
  group.state_->predecessor =
      PredecessorLink{usage, to_bytes(old.group_id()), old.epoch(), std::move(psk)};
  return group;
}

const Suite& Group::suite() const { return *state_->suite; }
View Group::group_id() const { return state_->group_id(); }
uint64_t Group::epoch() const { return state_->epoch(); }
const Extensions& Group::extensions() const { return state_->now.context.extensions; }
View Group::tree_hash() const { return state_->now.context.tree_hash; }
View Group::confirmed_transcript_hash() const {
  return state_->now.context.confirmed_transcript_hash;
}
View Group::group_context() const { return state_->now.encoded_context; }
LeafIndex Group::own_leaf() const { return state_->self(); }
uint32_t Group::member_count() const { return state_->tree.member_count(); }
const LeafPtr& Group::member(LeafIndex leaf) const { return state_->tree.leaf(leaf); }
uint32_t Group::leaf_count() const { return state_->tree.width(); }
const RatchetTree& Group::tree() const { return state_->tree; }
bool Group::active() const { return state_->active; }
const std::optional<ReInitProposal>& Group::reinit() const { return state_->reinit; }
bool Group::has_pending_commit() const { return state_->pending.has_value(); }
size_t Group::memory_bytes() const { return state_->tree.memory_bytes(); }

Result<SecretBytes> Group::export_secret(std::string_view label, View context, size_t size) const {
  MLS_TRY(state_->check_active());
  return mls::export_secret(*state_->suite, state_->now.secrets.exporter_secret, label, context,
                            size);
}

View Group::epoch_authenticator() const { return state_->now.secrets.epoch_authenticator; }

Result<Secret> Group::resumption_psk(uint64_t epoch) const {
  for (const ResumptionSecret& entry : state_->resumption) {
    if (entry.epoch == epoch) {
      return entry.psk.clone();
    }
  }
  return fail(ErrorCode::kMissingPsk, "getting a resumption PSK: that epoch is not kept");
}

Result<Bytes> Group::group_info(const GroupInfoOptions& options) const {
  const GroupState& group = *state_;
  MLS_TRY(group.check_active());
  Bytes external_pub;
  if (options.external_pub) {
    MLS_ASSIGN(const KemKey key, external_key(*group.suite, group.now.secrets.external_secret));
    external_pub = to_bytes(key.public_key());
  }
  const Bytes tree = options.tree ? group.tree.encode() : Bytes{};
  MLS_ASSIGN(Bytes info, write_group_info(group.now, tree, external_pub, options.extensions, group.self()));
  MLS_ASSIGN(const Signature signature, group.signer.sign(kGroupInfoLabel, {info}));
  append_signature(info, signature);
  Bytes out;
  out.reserve(info.size() + 4);
  Writer writer(out);
  writer(ProtocolVersion::kMls10, WireFormat::kGroupInfo);
  writer.write_bytes(info);
  return out;
}

Bytes Group::export_tree() const { return state_->tree.encode(); }

}  // namespace slipway::mls
