#include "group/commit_build.h"

#include <algorithm>
#include <mutex>

#include "crypto/aead.h"

namespace slipway::mls {

namespace {

// Sealing runs on two threads; the caller's random source need not know.
class LockedRandom final : public Random {
 public:
  explicit LockedRandom(Random& random) : random_(random) {}
  Status fill_secret(MutableView out) override {
    const std::lock_guard lock(mutex_);
    return random_.fill_secret(out);
  }
  Status fill_public(MutableView out) override {
    const std::lock_guard lock(mutex_);
    return random_.fill_public(out);
  }

 private:
  Random& random_;
  std::mutex mutex_;
};

}  // namespace

CommitBuild::CommitBuild(GroupState& group, const CommitOptions& options)
    : group_(&group),
      token_(group.token),
      options_(options),
      authenticated_data_(to_bytes(options.message.authenticated_data)) {
  if (options_.leaf && options_.leaf->signer != nullptr) {
    leaf_signer_ = options_.leaf->signer->clone();
    options_.leaf->signer = nullptr;
  }
}

Result<PreSharedKeyId> CommitBuild::psk_id(PreSharedKeyId id) {
  id.nonce.resize(group_->suite->hash_size);
  MLS_TRY(group_->random->fill_public(id.nonce));
  return id;
}

Result<std::vector<Candidate>> CommitBuild::own_proposals() {
  std::vector<Candidate> made;
  const Sender sender{external_ ? SenderType::kNewMemberCommit : SenderType::kMember,
                      external_ ? 0 : group_->self()};
  const auto propose = [&](auto body) {
    Proposal proposal;
    proposal.body = std::move(body);
    made.push_back(make_candidate(std::make_shared<Proposal>(std::move(proposal)), sender));
  };
  const auto propose_psk = [&](PreSharedKeyId id) -> Status {
    MLS_ASSIGN(PreSharedKeyId with_nonce, psk_id(std::move(id)));
    propose(PskProposal{std::move(with_nonce)});
    return {};
  };
  if (external_) {
    propose(ExternalInitProposal{external_->kem_output});
  }
  if (options_.extensions) {
    propose(GroupContextExtensionsProposal{*options_.extensions});
  }
  for (const LeafIndex leaf : options_.remove) {
    propose(RemoveProposal{leaf});
  }
  for (const View message : options_.add) {
    MLS_ASSIGN(KeyPackage package, decode_key_package(message, group_->limits()));
    propose(AddProposal{std::move(package)});
  }
  for (const Bytes& id : options_.external_psks) {
    MLS_TRY(propose_psk({.type = PskType::kExternal, .psk_id = id}));
  }
  for (const uint64_t epoch : options_.resumption_psks) {
    MLS_TRY(propose_psk({.type = PskType::kResumption,
                         .usage = ResumptionPskUsage::kApplication,
                         .group_id = to_bytes(group_->group_id()),
                         .epoch = epoch}));
  }
  if (group_->predecessor) {
    MLS_TRY(propose_psk({.type = PskType::kResumption,
                         .usage = group_->predecessor->usage,
                         .group_id = group_->predecessor->group_id,
                         .epoch = group_->predecessor->epoch}));
  }
  if (options_.reinit) {
    propose(*options_.reinit);
  }
  for (const UnknownProposal& custom : options_.custom) {
    if (is_default(custom.type)) {
      return fail(ErrorCode::kInvalidArgument,
                  "making a commit: a custom proposal has a type of the RFC's own");
    }
    propose(custom);
  }
  return made;
}

Status CommitBuild::start() {
  MLS_TRY(group_->check_active());
  if (group_->pending) {
    return fail(ErrorCode::kPendingCommit, "making a commit: another one waits for its fate");
  }
  self_ = group_->self();
  wire_format_ = options_.message.wire_format.value_or(group_->policy->handshake_wire_format());
  MLS_ASSIGN(std::vector<Candidate> by_value, own_proposals());
  static const std::vector<Candidate> none;
  ProposalList list;
  MLS_TRY(make_own_list(*group_, std::move(by_value),
                        options_.include_waiting ? group_->waiting : none, list, left_out_));
  applier_.emplace(*group_, std::move(list), true, options_.now_s);
  return {};
}

Status CommitBuild::start_external(ExternalPart external) {
  external_ = std::move(external);
  wire_format_ = WireFormat::kPublicMessage;
  ProposalList list;
  MLS_ASSIGN(list.all, own_proposals());
  MLS_TRY(check_received_list(*group_, list, std::nullopt));
  applier_.emplace(*group_, std::move(list), false, options_.now_s);
  return {};
}

Result<bool> CommitBuild::step(Budget& budget) {
  while (phase_ != Phase::kDone) {
    if (budget.used_up()) {
      return false;
    }
    MLS_ASSIGN(const bool done, do_phase(budget));
    if (!done) {
      return false;
    }
    phase_ = static_cast<Phase>(static_cast<uint8_t>(phase_) + 1);
    next_ = 0;
  }
  return true;
}

Result<bool> CommitBuild::do_phase(Budget& budget) {
  switch (phase_) {
    case Phase::kProposals: return applier_->step(budget);
    case Phase::kFirstHashes:
    case Phase::kHashes: return diff().hash_some(budget.units());
    case Phase::kPath: {
      sorted_joiners_ = applier_->joiners();
      std::ranges::sort(sorted_joiners_);
      has_path_ = wants_path();
      if (has_path_) {
        MLS_TRY(merge_path());
        budget.draw((path_.steps.size() + 2) * Budget::kPublicKeyOp);
      }
      return true;
    }
    case Phase::kChecks: {
      MLS_TRY(check_own_leaf());
      if (has_path_) {
        MLS_TRY(prepare_path_seal());
      }
      return true;
    }
    case Phase::kSealPath: return seal_path(budget);
    case Phase::kEpoch: {
      MLS_TRY(make_epoch());
      budget.draw(Budget::kPublicKeyOp);
      return true;
    }
    case Phase::kGroupInfo: {
      if (!applier_->list().adds.empty()) {
        MLS_TRY(seal_group_info());
        budget.draw(Budget::kPublicKeyOp + encrypted_group_info_.size() / 256);
      }
      return true;
    }
    case Phase::kSealWelcome: return seal_welcome(budget);
    case Phase::kDone: break;
  }
  return true;
}

// ---- Path.

bool CommitBuild::wants_path() const {
  return external_ || options_.force_path || options_.leaf || leaf_signer_ ||
         group_->policy->path_always() || applier_->list().needs_path();
}

const SignatureKey& CommitBuild::new_signer() const {
  return leaf_signer_ ? *leaf_signer_ : group_->signer;
}

Result<LeafNode> CommitBuild::new_leaf() {
  LeafNode leaf;
  if (external_) {
    MLS_TRY(check_leaf_options(external_->leaf.capabilities, external_->leaf.extensions,
                               external_->leaf.credential));
    leaf.credential = external_->leaf.credential;
    leaf.capabilities = external_->leaf.capabilities;
    leaf.extensions = external_->leaf.extensions;
    leaf.signature_key = to_bytes(group_->signer.public_key());
  } else {
    const LeafNode before = group_->tree.leaf(self_)->decode_all();
    MLS_ASSIGN(leaf, changed_own_leaf(before, options_.leaf.value_or(LeafChange{})));
    leaf.signature_key = to_bytes(new_signer().public_key());
  }
  leaf.encryption_key = to_bytes(leaf_key_.public_key());
  leaf.source = LeafNodeSource::kCommit;
  return leaf;
}

Status CommitBuild::merge_path() {
  const Suite& suite = *group_->suite;
  MLS_ASSIGN(leaf_key_, KemKey::generate(suite, *group_->random));
  MLS_ASSIGN(LeafNode leaf, new_leaf());
  if (external_) {
    MLS_ASSIGN(self_, diff().add(Leaf::from(leaf), group_->limits()));
    diff().hash_all();
  }
  MLS_ASSIGN(path_, make_own_path(suite, diff().filtered_direct_path(self_), *group_->random));
  leaf.parent_hash = to_bytes(diff().merge_path(self_, path_.steps, path_.public_keys()));
  MLS_TRY(sign_leaf(suite, new_signer(), leaf, group_->group_id(), self_));
  leaf_ = Leaf::from(leaf);
  MLS_TRY(check_capabilities(applier_->rules(), *leaf_));
  diff().set_leaf(self_, leaf_);
  return {};
}

// Every Add and Update was held against all before it when it was applied, and path keys are fresh: only the
// own leaf can still be in somebody's way.
Status CommitBuild::check_own_leaf() {
  if (external_) {
    MLS_TRY(diff().check_unique_keys());
    return check_neighbours(*group_, diff());
  }
  if (leaf_ == nullptr) {
    return {};
  }
  if (diff().key_in_use(KeyKind::kSignature, leaf_->signature_key(), node_math::leaf_node(self_))) {
    return fail(ErrorCode::kKeyReuse, "making a commit: another member has our new signature key");
  }
  if (!TreeDiff(group_->tree).credential_in_use(leaf_->credential_type())) {
    return check_neighbours(*group_, diff());
  }
  return check_newcomer(*group_, diff(), KeyIndex(), self_, *leaf_);
}

Status CommitBuild::prepare_path_seal() {
  GroupContext provisional = group_->now.context;
  ++provisional.epoch;
  provisional.tree_hash = to_bytes(diff().root_hash());
  provisional.extensions = applier_->extensions();
  path_sealer_.emplace(*group_->suite, kUpdatePathNodeLabel, encode(provisional));
  recipients_ = path_recipients(diff(), path_.steps, sorted_joiners_);
  sealed_path_.resize(recipients_.size());
  return {};
}

Result<bool> CommitBuild::seal_path(Budget& budget) {
  LockedRandom random(*group_->random);
  while (next_ < recipients_.size()) {
    const size_t count = budget.take(recipients_.size() - next_, 2 * Budget::kPublicKeyOp);
    if (count == 0) {
      return false;
    }
    std::vector<Status> results(count);
    parallel_for(group_->config.parallel, count, [&](size_t i) {
      const PathRecipient& to = recipients_[next_ + i];
      auto sealed = path_sealer_->seal(diff().encryption_key(to.node), path_.path_secrets[to.step],
                                       random);
      if (sealed) {
        sealed_path_[next_ + i] = std::move(*sealed);
      } else {
        results[i] = fail(sealed.error());
      }
    });
    for (const Status& result : results) {
      MLS_TRY(result);
    }
    next_ += count;
  }
  return true;
}

// ---- The new epoch.

void CommitBuild::encode_commit() {
  Writer writer(commit_);
  size_t list = writer.begin_vector();
  for (const Candidate& candidate : applier_->list().all) {
    constexpr uint8_t kProposal = 1;
    constexpr uint8_t kReference = 2;
    if (candidate.by_reference) {
      writer(kReference, candidate.ref);
    } else {
      writer(kProposal, *candidate.proposal);
    }
  }
  writer.end_vector(list);
  writer.write_integer(has_path_, 1);
  if (!has_path_) {
    return;
  }
  writer.write_bytes(leaf_->encoded());
  list = writer.begin_vector();
  size_t at = 0;
  for (uint32_t step = 0; step < path_.steps.size(); ++step) {
    writer.write_vector(path_.keys[step].public_key());
    const size_t ciphertexts = writer.begin_vector();
    for (; at < recipients_.size() && recipients_[at].step == step; ++at) {
      writer(sealed_path_[at].enc, sealed_path_[at].ciphertext);
    }
    writer.end_vector(ciphertexts);
  }
  writer.end_vector(list);
}

ContentView CommitBuild::content() const {
  ContentView view = own_content(*group_, ContentType::kCommit, commit_, authenticated_data_);
  if (external_) {
    view.sender = {SenderType::kNewMemberCommit, 0};
  }
  return view;
}

Status CommitBuild::make_epoch() {
  const Suite& suite = *group_->suite;
  ResolvedPsks psks;
  MLS_TRY(resolve_psks(group_, group_->config.psks, applier_->list().psk_ids(), psks));
  encoded_psks_.clear();
  Writer psk_writer(encoded_psks_);
  psk_writer(psks.ids);
  encode_commit();
  MLS_ASSIGN(signature_, sign_own(*group_, group_->signer, wire_format_, content()));
  GroupContext context = group_->now.context;
  ++context.epoch;
  context.tree_hash = to_bytes(diff().root_hash());
  context.extensions = applier_->extensions();
  context.confirmed_transcript_hash = to_bytes(confirmed_transcript_hash(
      suite, group_->now.interim_transcript_hash, wire_format_, content(), signature_));
  Secret commit_secret =
      has_path_ ? std::move(path_.commit_secret) : Secret::zeros(suite.hash_size);
  Secret init_secret =
      external_ ? std::move(external_->init_secret) : group_->now.secrets.init_secret.clone();
  NextEpoch next = next_epoch(suite, std::move(context), std::move(init_secret),
                              std::move(commit_secret), psks.fold(suite), diff().width(),
                              group_->limits());
  staged_ = std::make_unique<StagedState>(group_->tree);
  staged_->token = token_;
  staged_->next = std::move(next.state);
  joiner_secret_ = std::move(next.joiner_secret);
  welcome_secret_ = std::move(next.welcome_secret);
  CommitSummary& summary = staged_->summary;
  summary.epoch = group_->epoch() + 1;
  summary.sender = content().sender;
  summary.committer = self_;
  summary.has_path = has_path_;
  summary.authenticated_data = authenticated_data_;
  std::vector<LeafIndex> joiners = sorted_joiners_;
  if (external_) {
    joiners.insert(std::ranges::lower_bound(joiners, self_), self_);
  }
  summarise_members(diff(), joiners, summary);
  summarise_list(applier_->list(), summary);
  return {};
}

// ---- Welcome.

Status CommitBuild::seal_group_info() {
  const Suite& suite = *group_->suite;
  if (options_.tree_in_welcome || options_.tree_in_result) {
    tree_ = diff().encode();
  }
  Bytes external_pub;
  if (options_.external_pub_in_welcome) {
    MLS_ASSIGN(const KemKey key, external_key(suite, staged_->next.secrets.external_secret));
    external_pub = to_bytes(key.public_key());
  }
  MLS_ASSIGN(encrypted_group_info_,
             make_group_info(staged_->next, options_.tree_in_welcome ? View(tree_) : View{},
                             external_pub, options_.group_info_extensions, self_, new_signer()));
  const size_t size = encrypted_group_info_.size();
  encrypted_group_info_.resize(size + kAeadTagBytes);
  const WelcomeKey key = make_welcome_key(suite, std::move(welcome_secret_));
  MLS_TRY(aead_seal(suite, key.key, key.nonce, {View{}}, View(encrypted_group_info_).first(size),
                    encrypted_group_info_));
  welcome_sealer_.emplace(suite, "Welcome", encrypted_group_info_);
  sealed_joiners_.resize(applier_->joiners().size());
  return {};
}

Result<HpkeSealed> CommitBuild::seal_for(size_t joiner, Random& random, Bytes& ref) const {
  const Suite& suite = *group_->suite;
  const ProposalList& list = applier_->list();
  const KeyPackage& package =
      list.all[list.adds[joiner]].proposal->as<AddProposal>()->key_package;
  ref = to_bytes(key_package_ref(suite, package));
  SecretBytes secrets;
  secrets.reserve(2 * (suite.hash_size + 2) + encoded_psks_.size());
  SecretWriter writer(secrets);
  writer.write_vector(joiner_secret_);
  writer.write_integer(has_path_, 1);
  if (has_path_) {
    const LeafIndex leaf = applier_->joiners()[joiner];
    const auto step = std::ranges::find_if(path_.steps, [&](const PathStep& candidate) {
      return node_math::covers(candidate.copath, leaf);
    });
    writer.write_vector(path_.path_secrets[static_cast<size_t>(step - path_.steps.begin())]);
  }
  writer.write_bytes(encoded_psks_);
  return welcome_sealer_->seal(package.init_key, secrets, random);
}

Result<bool> CommitBuild::seal_welcome(Budget& budget) {
  LockedRandom random(*group_->random);
  while (next_ < sealed_joiners_.size()) {
    const size_t count = budget.take(sealed_joiners_.size() - next_, 2 * Budget::kPublicKeyOp);
    if (count == 0) {
      return false;
    }
    std::vector<Status> results(count);
    parallel_for(group_->config.parallel, count, [&](size_t i) {
      SealedJoiner& joiner = sealed_joiners_[next_ + i];
      auto sealed = seal_for(next_ + i, random, joiner.ref);
      if (sealed) {
        joiner.secrets = std::move(*sealed);
      } else {
        results[i] = fail(sealed.error());
      }
    });
    for (const Status& result : results) {
      MLS_TRY(result);
    }
    next_ += count;
  }
  return true;
}

Bytes CommitBuild::write_welcome() const {
  Bytes out;
  out.reserve(encrypted_group_info_.size() + sealed_joiners_.size() * 256 + 64);
  Writer writer(out);
  writer(ProtocolVersion::kMls10, WireFormat::kWelcome, group_->suite->id);
  const size_t list = writer.begin_vector();
  for (const SealedJoiner& joiner : sealed_joiners_) {
    writer(joiner.ref, joiner.secrets.enc, joiner.secrets.ciphertext);
  }
  writer.end_vector(list);
  writer(encrypted_group_info_);
  return out;
}

Result<CommitResult> CommitBuild::finish(std::unique_ptr<StagedState>& staged) {
  CommitResult result;
  const EpochState& next = staged_->next;
  const AuthView auth{signature_, next.confirmation_tag};
  MLS_TRY(write_handshake(*group_, wire_format_, content(), auth, result.commit));
  if (!sealed_joiners_.empty()) {
    result.welcome = write_welcome();
    if (!options_.tree_in_welcome) {
      result.tree = std::move(tree_);
    }
  }
  result.epoch = next.context.epoch;
  result.added = applier_->joiners();
  result.left_out = std::move(left_out_);
  std::ranges::move(applier_->left_out(), std::back_inserter(result.left_out));
  if (has_path_) {
    staged_->keys.push_back({node_math::leaf_node(self_), std::move(leaf_key_)});
    for (size_t i = 0; i < path_.steps.size(); ++i) {
      staged_->keys.push_back({path_.steps[i].node, std::move(path_.keys[i])});
    }
    if (leaf_signer_) {
      staged_->signer = std::move(*leaf_signer_);
    }
  }
  staged_->diff = std::move(diff());
  staged = std::move(staged_);
  return result;
}

// ---- The group's calls.

CommitOperation::CommitOperation(std::unique_ptr<CommitBuild> build) : build_(std::move(build)) {}
CommitOperation::~CommitOperation() = default;
CommitOperation::CommitOperation(CommitOperation&&) noexcept = default;
CommitOperation& CommitOperation::operator=(CommitOperation&&) noexcept = default;

Result<bool> CommitOperation::step(size_t public_key_ops) {
  if (build_ == nullptr || build_->token() != build_->group()->token) {
    return fail(ErrorCode::kWrongState, "making a commit: the group has moved on meanwhile");
  }
  Budget budget = Budget::public_key_ops(public_key_ops);
  return build_->step(budget);
}

Result<CommitResult> CommitOperation::finish() {
  MLS_ASSIGN(const bool done, step(0));
  if (!done) {
    return fail(ErrorCode::kWrongState, "making a commit: steps are left to do");
  }
  const std::unique_ptr<CommitBuild> build = std::move(build_);
  GroupState& group = *build->group();
  if (group.pending) {
    return fail(ErrorCode::kPendingCommit, "making a commit: another one waits for its fate");
  }
  PendingCommit pending;
  MLS_ASSIGN(CommitResult result, build->finish(pending.staged));
  pending.fingerprint = commit_fingerprint(*group.suite, result.commit);
  group.pending = std::move(pending);
  group.changes.waiting = true;
  return result;
}

Result<CommitOperation> Group::start_commit(const CommitOptions& options) {
  auto build = std::make_unique<CommitBuild>(*state_, options);
  MLS_TRY(build->start());
  return CommitOperation(std::move(build));
}

Result<CommitResult> Group::commit(const CommitOptions& options) {
  MLS_ASSIGN(CommitOperation operation, start_commit(options));
  while (true) {
    MLS_ASSIGN(const bool done, operation.step(SIZE_MAX));
    if (done) {
      return operation.finish();
    }
  }
}

const CommitSummary* Group::pending_commit() const {
  return state_->pending ? &state_->pending->staged->summary : nullptr;
}

Status Group::accept_commit() {
  if (!state_->pending) {
    return fail(ErrorCode::kNoPendingCommit, "accepting a commit: none waits");
  }
  const std::unique_ptr<StagedState> staged = std::move(state_->pending->staged);
  apply_staged(*state_, std::move(*staged));
  return {};
}

Status Group::refuse_commit() {
  if (!state_->pending) {
    return fail(ErrorCode::kNoPendingCommit, "refusing a commit: none waits");
  }
  state_->pending.reset();
  state_->changes.waiting = true;
  return {};
}

Result<Bytes> commit_externally(GroupState& group, ExternalPart external,
                                const CommitOptions& options) {
  CommitBuild build(group, options);
  MLS_TRY(build.start_external(std::move(external)));
  Budget budget = Budget::unlimited();
  while (true) {
    MLS_ASSIGN(const bool done, build.step(budget));
    if (done) {
      break;
    }
  }
  std::unique_ptr<StagedState> staged;
  MLS_ASSIGN(CommitResult result, build.finish(staged));
  group.keys = PrivatePath(staged->summary.committer);
  apply_staged(group, std::move(*staged));
  group.past.clear();
  return std::move(result.commit);
}

}  // namespace slipway::mls
