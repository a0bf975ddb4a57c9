#include "group/commit_build.h"

#include <algorithm>

#include "group/locked_random.h"

namespace slipway::mls {

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

// ---- Proposals.

template <class Body>
Status CommitBuild::propose(Body body) {
  Proposal proposal;
  proposal.body = std::move(body);
  const Sender sender{external_ ? SenderType::kNewMemberCommit : SenderType::kMember,
                      external_ ? 0 : group_->self()};
  return list_->add(make_candidate(std::make_shared<Proposal>(std::move(proposal)), sender));
}

Status CommitBuild::propose_psk(PreSharedKeyId id) {
  id.nonce.resize(group_->suite->hash_size);
  MLS_TRY(group_->random->fill_public(id.nonce));
  return propose(PskProposal{std::move(id)});
}

Status CommitBuild::propose_before_adds() {
  if (external_) {
    MLS_TRY(propose(ExternalInitProposal{external_->kem_output}));
  }
  if (options_.extensions) {
    MLS_TRY(propose(GroupContextExtensionsProposal{*options_.extensions}));
  }
  for (const LeafIndex leaf : options_.remove) {
    MLS_TRY(propose(RemoveProposal{leaf}));
  }
  return {};
}

Result<bool> CommitBuild::decode_adds(Budget& budget) {
  constexpr size_t kDecodeCost = 4;  // two dozen allocations
  for (; next_ < options_.add.size(); ++next_) {
    if (budget.take(1, kDecodeCost) == 0) {
      return false;
    }
    MLS_ASSIGN(KeyPackage package, decode_key_package(options_.add[next_], group_->limits()));
    MLS_TRY(propose(AddProposal{std::move(package)}));
  }
  return true;
}

Status CommitBuild::propose_after_adds() {
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
    MLS_TRY(propose(*options_.reinit));
  }
  for (const UnknownProposal& custom : options_.custom) {
    if (is_default(custom.type)) {
      return fail(ErrorCode::kInvalidArgument,
                  "making a commit: a custom proposal has a type of the RFC's own");
    }
    MLS_TRY(propose(custom));
  }
  return {};
}

Status CommitBuild::start() {
  MLS_TRY(group_->check_active());
  if (group_->pending) {
    return fail(ErrorCode::kPendingCommit, "making a commit: another one waits for its fate");
  }
  self_ = group_->self();
  wire_format_ = options_.message.wire_format.value_or(group_->policy->handshake_wire_format());
  // The caller's key packages need not outlive this call.
  size_t size = 0;
  for (const View message : options_.add) {
    size += message.size();
  }
  packages_.reserve(size);
  for (View& message : options_.add) {
    const size_t at = packages_.size();
    append(packages_, message);
    message = View(packages_).subspan(at);
  }
  list_.emplace(*group_, self_);
  return propose_before_adds();
}

Status CommitBuild::start_external(ExternalPart external) {
  external_ = std::move(external);
  wire_format_ = WireFormat::kPublicMessage;
  options_.include_waiting = false;
  list_.emplace(*group_, std::nullopt);
  return propose_before_adds();
}

Status CommitBuild::make_list() {
  MLS_TRY(propose_after_adds());
  static const std::vector<Candidate> none;
  ProposalList list;
  MLS_TRY(list_->finish(options_.include_waiting ? group_->waiting : none, list, left_out_));
  list_.reset();
  applier_.emplace(*group_, std::move(list), !external_, options_.now_s);
  return {};
}

// ---- Phases.

Result<bool> CommitBuild::step(Budget& budget) {
  return run_phases(phase_, budget, [this](Budget& left) { return do_phase(left); }, &next_);
}

Result<bool> CommitBuild::do_phase(Budget& budget) {
  switch (phase_) {
    case Phase::kDecode: return decode_adds(budget);
    case Phase::kList: {
      MLS_TRY(make_list());
      budget.draw(applier_->list().all.size() / 16);
      return true;
    }
    case Phase::kProposals: return applier_->step(budget);
    case Phase::kFirstHashes:
    case Phase::kHashes: return diff().hash_some(budget.units());
    case Phase::kPathSecrets:
    case Phase::kPathKeys:
    case Phase::kPath:
    case Phase::kChecks:
    case Phase::kSealPath: return do_path_phase(budget);
    case Phase::kEncode:
    case Phase::kSign:
    case Phase::kTranscript:
    case Phase::kEpoch:
    case Phase::kSummary:
    case Phase::kTag:
    case Phase::kMessage: return do_epoch_phase(budget);
    case Phase::kTree:
    case Phase::kGroupInfo:
    case Phase::kSignGroupInfo:
    case Phase::kSealGroupInfo:
    case Phase::kContextHash:
    case Phase::kSealWelcome: return applier_->list().adds.empty() ? true : do_welcome_phase(budget);
    case Phase::kRelease: return diff().index_keys(budget) && applier_->release(budget);
    case Phase::kDone: break;
  }
  return true;
}

Result<bool> CommitBuild::do_path_phase(Budget& budget) {
  if (phase_ == Phase::kPathSecrets) {
    sorted_joiners_ = applier_->joiners();
    std::ranges::sort(sorted_joiners_);
    has_path_ = wants_path();
  }
  if (phase_ == Phase::kChecks) {
    MLS_TRY(check_own_leaf());
  }
  if (!has_path_) {
    return true;
  }
  switch (phase_) {
    case Phase::kPathSecrets: {
      MLS_TRY(start_path());
      budget.draw((external_ ? Budget::kPublicKeyOp : 0) + recipients_.size() / 8);
      return true;
    }
    case Phase::kPathKeys: return make_path_keys(budget);
    case Phase::kPath: {
      MLS_TRY(merge_path());
      budget.draw(Budget::kPublicKeyOp);
      return true;
    }
    case Phase::kChecks: {
      prepare_path_seal();
      return true;
    }
    default: return seal_path(budget);
  }
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
  leaf.source = LeafNodeSource::kCommit;
  return leaf;
}

Status CommitBuild::start_path() {
  const Suite& suite = *group_->suite;
  MLS_ASSIGN(new_leaf_, new_leaf());
  if (external_) {
    MLS_ASSIGN(leaf_key_, KemKey::generate(suite, *group_->random));
    new_leaf_.encryption_key = to_bytes(leaf_key_.public_key());
    MLS_ASSIGN(self_, diff().add(Leaf::from(new_leaf_), group_->limits()));
    diff().hash_all();
  }
  MLS_ASSIGN(path_, start_own_path(suite, diff().filtered_direct_path(self_), *group_->random));
  path_.derived.keys.resize(path_.steps.size());
  recipients_ = path_recipients(diff(), path_.steps, sorted_joiners_);
  encapsulated_.resize(recipients_.size());
  sealed_path_.resize(recipients_.size());
  return {};
}

// All of the path's public-key work but the signatures, in no order: an encapsulation to each recipient, the keys of
// the path's nodes, the key of our leaf. What is encapsulated is used when the tree hash is known.
Status CommitBuild::do_key_work(size_t i, Random& random) {
  const Suite& suite = *group_->suite;
  if (i < recipients_.size()) {
    MLS_ASSIGN(encapsulated_[i], kem_encap(suite, diff().encryption_key(recipients_[i].node), random));
    return {};
  }
  i -= recipients_.size();
  if (i < path_.steps.size()) {
    MLS_ASSIGN(path_.derived.keys[i], path_.derived.make_key(i));
    return {};
  }
  MLS_ASSIGN(leaf_key_, KemKey::generate(suite, random));
  return {};
}

Result<bool> CommitBuild::make_path_keys(Budget& budget) {
  LockedRandom random(*group_->random);
  const size_t all = recipients_.size() + path_.steps.size() + (external_ ? 0 : 1);
  while (next_ < all) {
    size_t count = 0;
    while (next_ + count < all) {
      const size_t multiplications = next_ + count < recipients_.size() ? 2 : 1;
      if (budget.take(1, multiplications * Budget::kPublicKeyOp) == 0) {
        break;
      }
      ++count;
    }
    if (count == 0) {
      return false;
    }
    std::vector<Status> results(count);
    parallel_for(group_->config.parallel, count, [&](size_t i) { results[i] = do_key_work(next_ + i, random); });
    for (const Status& result : results) {
      MLS_TRY(result);
    }
    next_ += count;
  }
  return true;
}

Status CommitBuild::merge_path() {
  const Suite& suite = *group_->suite;
  LeafNode leaf = std::move(new_leaf_);
  leaf.encryption_key = to_bytes(leaf_key_.public_key());
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

void CommitBuild::prepare_path_seal() {
  GroupContext provisional = group_->now.context;
  ++provisional.epoch;
  provisional.tree_hash = to_bytes(diff().root_hash());
  provisional.extensions = applier_->extensions();
  path_sealer_.emplace(*group_->suite, kUpdatePathNodeLabel, encode(provisional));
}

Result<bool> CommitBuild::seal_path(Budget& budget) {
  constexpr size_t kSealCost = 8;
  constexpr size_t kWorthSharing = 8;  // fewer are done before another thread has begun
  while (next_ < recipients_.size()) {
    const size_t count = budget.take(recipients_.size() - next_, kSealCost);
    if (count == 0) {
      return false;
    }
    std::vector<Status> results(count);
    parallel_for(count < kWorthSharing ? nullptr : group_->config.parallel, count, [&](size_t i) {
      const size_t at = next_ + i;
      auto sealed = path_sealer_->seal(encapsulated_[at], path_.derived.secrets[recipients_[at].step]);
      if (sealed) {
        sealed_path_[at] = std::move(*sealed);
      } else {
        results[i] = fail(sealed.error());
      }
      encapsulated_[at].shared_secret.clear();
    });
    for (const Status& result : results) {
      MLS_TRY(result);
    }
    next_ += count;
  }
  return true;
}

}  // namespace slipway::mls
