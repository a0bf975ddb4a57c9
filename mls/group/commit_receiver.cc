// Processing a commit (RFC 9420, 12.4.2).
#include <algorithm>

#include "group/receive.h"

namespace slipway::mls {

void summarise_members(const TreeDiff& diff, std::span<const LeafIndex> joiners,
                       CommitSummary& summary) {
  diff.for_each_changed_leaf([&](LeafIndex index, const LeafPtr& before, const LeafPtr& after) {
    const bool here = index < diff.width() && after != nullptr;
    const bool joined = here && std::ranges::binary_search(joiners, index);
    if (before != nullptr && here && !joined) {
      if (before != after) {
        summary.updated.push_back({index, before, after});
      }
      return;
    }
    if (before != nullptr) {
      summary.removed.push_back({index, before, nullptr});
    }
    if (here) {
      summary.added.push_back({index, nullptr, after});
    }
  });
  std::ranges::sort(summary.added, {}, &MemberChange::index);
  std::ranges::sort(summary.removed, {}, &MemberChange::index);
  std::ranges::sort(summary.updated, {}, &MemberChange::index);
}

void summarise_list(const ProposalList& list, CommitSummary& summary) {
  if (list.extensions != nullptr) {
    summary.extensions = *list.extensions;
  }
  summary.psks = list.psk_ids();
  if (list.reinit != nullptr) {
    summary.reinit = *list.reinit;
  }
  for (const uint32_t at : list.custom) {
    summary.custom.push_back(*list.all[at].proposal->as<UnknownProposal>());
  }
  for (const Candidate& candidate : list.all) {
    if (candidate.by_reference) {
      summary.proposal_refs.push_back(to_bytes(candidate.ref));
    }
  }
}

namespace {

bool ascending(View a, View b) { return std::ranges::lexicographical_compare(a, b); }

}  // namespace

CommitReceiver::CommitReceiver(GroupState& group, OpenedHandshake& opened, uint64_t now_s)
    : group_(&group),
      opened_(opened),
      now_s_(now_s),
      entries_(commit().proposals, group.limits()),
      waiting_(group.waiting),
      list_(group, member()) {
  std::ranges::sort(waiting_, ascending, &Candidate::ref);
}

std::optional<LeafIndex> CommitReceiver::member() const {
  return external() ? std::nullopt : std::optional(opened_.content.sender.index);
}

Result<Candidate> CommitReceiver::resolve(ProposalOrRef entry) const {
  if (const Bytes* ref = entry.reference()) {
    const auto found = std::ranges::lower_bound(waiting_, View(*ref), ascending, &Candidate::ref);
    if (found != waiting_.end() && equal(found->ref, *ref)) {
      return *found;
    }
    return fail(ErrorCode::kMissingProposal,
                "processing a commit: it refers to a proposal that we have not seen");
  }
  return make_candidate(std::make_shared<Proposal>(std::move(std::get<Proposal>(entry.value))),
                        opened_.content.sender);
}

Result<bool> CommitReceiver::decode_proposals(Budget& budget) {
  constexpr size_t kDecodeCost = 4;  // two dozen allocations
  for (; !entries_.at_end(); ++next_) {
    if (next_ >= group_->limits().proposals_per_commit) {
      return fail(ErrorCode::kTooMany, "processing a commit: more proposals than the limit");
    }
    if (budget.take(1, kDecodeCost) == 0) {
      return false;
    }
    ProposalOrRef entry;
    entries_(entry);
    MLS_TRY(entries_.status());
    MLS_ASSIGN(Candidate candidate, resolve(std::move(entry)));
    MLS_TRY(list_.add(std::move(candidate)));
  }
  return true;
}

Status CommitReceiver::start_applying() {
  ProposalList list;
  MLS_TRY(list_.finish(list));
  if (!external()) {
    committer_ = opened_.content.sender.index;
  }
  if (!commit().path && list.needs_path()) {
    return fail(ErrorCode::kMissingPath, "processing a commit: its proposals ask for a path");
  }
  for (const uint32_t at : list.removes) {
    removes_me_ |= list.all[at].proposal->as<RemoveProposal>()->removed == group_->self();
  }
  applier_.emplace(*group_, std::move(list), false, now_s_);
  MLS_TRY(note_own_update());
  staged_ = std::make_unique<StagedState>(group_->tree);
  staged_->token = group_->token;
  return {};
}

// If the commit takes up an Update of ours, our new leaf key is the one that waited with it.
Status CommitReceiver::note_own_update() {
  const ProposalList& list = applier_->list();
  for (const uint32_t at : list.updates) {
    if (list.all[at].sender.index != group_->self()) {
      continue;
    }
    const auto found = std::ranges::find(group_->own_updates, list.all[at].ref, &OwnUpdate::ref);
    if (found == group_->own_updates.end()) {
      return fail(ErrorCode::kInvalidCommit,
                  "processing a commit: it takes up an Update of ours whose key is gone");
    }
    own_update_.emplace();
    own_update_->leaf_key = found->leaf_key.clone();
    if (found->signer) {
      own_update_->signer = found->signer->clone();
    }
  }
  return {};
}

Result<bool> CommitReceiver::step(Budget& budget) {
  return run_phases(phase_, budget, [this](Budget& left) { return do_phase(left); }, &next_);
}

Result<bool> CommitReceiver::do_phase(Budget& budget) {
  switch (phase_) {
    case Phase::kDecode: return decode_proposals(budget);
    case Phase::kList: {
      MLS_TRY(start_applying());
      budget.draw(applier_->list().all.size() / 16);
      return true;
    }
    case Phase::kProposals: return applier_->step(budget);
    case Phase::kFirstHashes:
    case Phase::kHashes: return applier_->diff().hash_some(budget.units());
    case Phase::kPath: {
      if (commit().path) {
        MLS_TRY(merge_path());
        budget.draw(3 * Budget::kPublicKeyOp);
      }
      return true;
    }
    case Phase::kUniqueKeys: return applier_->diff().check_unique_keys(next_, budget);
    case Phase::kNeighbours: {
      if (!neighbours_) {
        neighbours_.emplace(*group_, applier_->diff());
      }
      return neighbours_->step(budget);
    }
    case Phase::kSummary: {
      summarise();
      budget.draw(staged_->summary.added.size() / 16);
      return true;
    }
    case Phase::kRelease: {
      if (!applier_->diff().index_keys(budget) || !applier_->release(budget)) {
        return false;
      }
      staged_->diff = std::move(applier_->diff());
      return true;
    }
    default: return removes_me_ ? true : do_late_phase(budget);
  }
}

// The new epoch, which only those see who stay.
Result<bool> CommitReceiver::do_late_phase(Budget& budget) {
  switch (phase_) {
    case Phase::kOpenPath: {
      if (commit().path) {
        MLS_TRY(decrypt_path());
        budget.draw(Budget::kPublicKeyOp);
      }
      return true;
    }
    case Phase::kPathKeys: {
      if (!commit().path) {
        return true;
      }
      MLS_ASSIGN(const bool done, opened_path_.step(budget, group_->config.parallel));
      if (done) {
        staged_->keys = opened_path_.take_keys();
      }
      return done;
    }
    case Phase::kTranscript: {
      if (!transcript_) {
        transcript_.emplace(confirmed_transcript_steps(*group_->suite, group_->now.interim_transcript_hash,
                                                       opened_.wire_format, opened_.content,
                                                       opened_.auth.signature));
      }
      return transcript_->step(budget);
    }
    default: {
      MLS_TRY(make_epoch());
      budget.draw(Budget::kPublicKeyOp);
      return true;
    }
  }
}

Status CommitReceiver::check_path_leaf(const LeafPtr& leaf) {
  if (leaf->source() != LeafNodeSource::kCommit) {
    return fail(ErrorCode::kInvalidLeafNode, "processing a path: its leaf was not made for a commit");
  }
  MLS_TRY(leaf->validate_keys(*group_->suite));
  const LeafUse use = external() ? LeafUse::kExternalCommit : LeafUse::kCommit;
  MLS_TRY(check_leaf(*group_, applier_->rules(), {use, leaf.get(), committer_, now_s_}));
  const LeafPtr& before = group_->tree.leaf(committer_);
  if (external()) {
    const ProposalList& list = applier_->list();
    if (!list.removes.empty()) {
      const auto* remove = list.all[list.removes[0]].proposal->as<RemoveProposal>();
      if (!group_->policy->same_client(*group_->tree.leaf(remove->removed), *leaf)) {
        return fail(ErrorCode::kInvalidCommit,
                    "processing an external commit: it removes another client than its sender's");
      }
    }
  } else {
    if (equal(before->encryption_key(), leaf->encryption_key())) {
      return fail(ErrorCode::kKeyReuse, "processing a path: its leaf has no new encryption key");
    }
    if (!group_->policy->valid_successor(*before, *leaf, now_s_)) {
      return fail(ErrorCode::kInvalidCredential,
                  "processing a path: the committer's credential may not follow the one before");
    }
  }
  return leaf->verify_signature(*group_->suite, group_->group_id(), committer_);
}

Status CommitReceiver::merge_path() {
  TreeDiff& diff = applier_->diff();
  const UpdatePath& path = *commit().path;
  const LeafPtr leaf = Leaf::from(path.leaf_node);
  if (external()) {
    MLS_ASSIGN(committer_, diff.add(leaf, group_->limits()));
  }
  sorted_joiners_ = applier_->joiners();
  std::ranges::sort(sorted_joiners_);
  steps_ = diff.filtered_direct_path(committer_);
  MLS_TRY(check_path_shape(diff, steps_, path, sorted_joiners_));
  MLS_TRY(check_path_leaf(leaf));
  diff.hash_all();  // what an external joiner's leaf changed, if anything
  const HashValue parent_hash = diff.merge_path(committer_, steps_, path_public_keys(path));
  if (!equal(parent_hash, leaf->parent_hash())) {
    return fail(ErrorCode::kParentHashMismatch,
                "processing a path: its leaf has another parent hash than the path");
  }
  diff.set_leaf(committer_, leaf);
  return {};
}

Status CommitReceiver::decrypt_path() {
  GroupContext provisional = group_->now.context;
  ++provisional.epoch;
  provisional.tree_hash = to_bytes(applier_->diff().root_hash());
  provisional.extensions = applier_->extensions();
  PrivatePath updated(group_->self());
  if (own_update_) {
    // The Update blanked everything above: no other key of ours is of use.
    updated.set(node_math::leaf_node(group_->self()), own_update_->leaf_key.clone());
  }
  MLS_ASSIGN(opened_path_,
             open_path(applier_->diff(), own_update_ ? updated : group_->keys, steps_,
                       *commit().path, sorted_joiners_, encode(provisional)));
  return {};
}

Status CommitReceiver::make_epoch() {
  const Suite& suite = *group_->suite;
  const TreeDiff& diff = applier_->diff();
  Secret commit_secret =
      commit().path ? opened_path_.take_commit_secret() : Secret::zeros(suite.hash_size);
  ResolvedPsks psks;
  MLS_TRY(resolve_psks(group_, group_->config.psks, applier_->list().psk_ids(), psks));
  Secret init_secret = group_->now.secrets.init_secret.clone();
  if (const ExternalInitProposal* init = applier_->list().external_init) {
    MLS_ASSIGN(const KemKey key, external_key(suite, group_->now.secrets.external_secret));
    MLS_ASSIGN(init_secret, hpke_export_from(suite, key, init->kem_output, {}, kExternalInitLabel,
                                             suite.hash_size));
  }
  GroupContext context = group_->now.context;
  ++context.epoch;
  context.tree_hash = to_bytes(diff.root_hash());
  context.confirmed_transcript_hash = to_bytes(transcript_->finish());
  context.extensions = applier_->extensions();
  NextEpoch next = next_epoch(suite, std::move(context), std::move(init_secret),
                              std::move(commit_secret), psks.fold(suite), diff.width(),
                              group_->limits());
  MLS_TRY(check_confirmation_tag(suite, next.state.secrets.confirmation_key,
                                 next.state.context.confirmed_transcript_hash,
                                 opened_.auth.confirmation_tag));
  staged_->next = std::move(next.state);
  if (own_update_) {
    staged_->keys.push_back(
        {node_math::leaf_node(group_->self()), own_update_->leaf_key.clone()});
    if (own_update_->signer) {
      staged_->signer = own_update_->signer->clone();
    }
  }
  return {};
}

void CommitReceiver::summarise() {
  CommitSummary& summary = staged_->summary;
  summary.epoch = group_->epoch() + 1;
  summary.sender = opened_.content.sender;
  summary.committer = committer_;
  summary.has_path = commit().path.has_value();
  summary.removes_me = removes_me_;
  summary.authenticated_data = to_bytes(opened_.content.authenticated_data);
  std::vector<LeafIndex> joiners = sorted_joiners_;
  if (joiners.empty()) {
    joiners = applier_->joiners();
  }
  if (external()) {
    joiners.push_back(committer_);
  }
  std::ranges::sort(joiners);
  summarise_members(applier_->diff(), joiners, summary);
  summarise_list(applier_->list(), summary);
}

}  // namespace slipway::mls
