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

CommitReceiver::CommitReceiver(GroupState& group, OpenedHandshake opened, uint64_t now_s)
    : group_(&group), opened_(std::move(opened)), now_s_(now_s) {}

Result<Candidate> CommitReceiver::resolve(const ProposalOrRef& entry) const {
  if (const Bytes* ref = entry.reference()) {
    for (const Candidate& candidate : group_->waiting) {
      if (equal(candidate.ref, *ref)) {
        return candidate;
      }
    }
    return fail(ErrorCode::kMissingProposal,
                "processing a commit: it refers to a proposal that we have not seen");
  }
  return make_candidate(std::make_shared<Proposal>(*entry.proposal()), opened_.content.sender);
}

Status CommitReceiver::start() {
  ProposalList list;
  list.all.reserve(commit().proposals.size());
  for (const ProposalOrRef& entry : commit().proposals) {
    MLS_ASSIGN(Candidate candidate, resolve(entry));
    list.all.push_back(std::move(candidate));
  }
  std::optional<LeafIndex> committer;
  if (!external()) {
    committer = committer_ = opened_.content.sender.index;
  }
  MLS_TRY(check_received_list(*group_, list, committer));
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
    own_update_ = &*found;
  }
  return {};
}

Result<bool> CommitReceiver::step(Budget& budget) {
  while (phase_ != Phase::kDone) {
    if (budget.used_up()) {
      return false;
    }
    bool done = true;
    switch (phase_) {
      case Phase::kProposals: {
        MLS_ASSIGN(done, applier_->step(budget));
        break;
      }
      case Phase::kFirstHashes:
      case Phase::kHashes: {
        done = applier_->diff().hash_some(budget.units());
        break;
      }
      case Phase::kPath: {
        if (commit().path) {
          MLS_TRY(merge_path());
          budget.draw(3 * Budget::kPublicKeyOp);
        }
        break;
      }
      case Phase::kKeys: {
        MLS_TRY(make_epoch());
        break;
      }
      case Phase::kDone: break;
    }
    if (!done) {
      return false;
    }
    phase_ = static_cast<Phase>(static_cast<uint8_t>(phase_) + 1);
  }
  return true;
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

Result<Secret> CommitReceiver::open_secret() {
  const Suite& suite = *group_->suite;
  if (!commit().path) {
    return Secret::zeros(suite.hash_size);
  }
  GroupContext provisional = group_->now.context;
  ++provisional.epoch;
  provisional.tree_hash = to_bytes(applier_->diff().root_hash());
  provisional.extensions = applier_->extensions();
  PrivatePath updated(group_->self());
  if (own_update_ != nullptr) {
    // The Update blanked everything above: no other key of ours is of use.
    updated.set(node_math::leaf_node(group_->self()), own_update_->leaf_key.clone());
  }
  MLS_ASSIGN(OpenedPath opened,
             open_path(applier_->diff(), own_update_ != nullptr ? updated : group_->keys, steps_,
                       *commit().path, sorted_joiners_, encode(provisional)));
  staged_->keys = std::move(opened.keys);
  return std::move(opened.commit_secret);
}

Status CommitReceiver::make_epoch() {
  const Suite& suite = *group_->suite;
  TreeDiff& diff = applier_->diff();
  MLS_TRY(diff.check_unique_keys());
  MLS_TRY(check_neighbours(*group_, diff));
  summarise();
  if (removes_me_) {
    staged_->diff = std::move(diff);
    return {};
  }
  MLS_ASSIGN(Secret commit_secret, open_secret());
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
  context.confirmed_transcript_hash = to_bytes(
      confirmed_transcript_hash(suite, group_->now.interim_transcript_hash, opened_.wire_format,
                                opened_.content, opened_.auth.signature));
  context.extensions = applier_->extensions();
  NextEpoch next = next_epoch(suite, std::move(context), std::move(init_secret),
                              std::move(commit_secret), psks.fold(suite), diff.width(),
                              group_->limits());
  MLS_TRY(check_confirmation_tag(suite, next.state.secrets.confirmation_key,
                                 next.state.context.confirmed_transcript_hash,
                                 opened_.auth.confirmation_tag));
  staged_->next = std::move(next.state);
  if (own_update_ != nullptr) {
    staged_->keys.push_back(
        {node_math::leaf_node(group_->self()), own_update_->leaf_key.clone()});
    if (own_update_->signer) {
      staged_->signer = own_update_->signer->clone();
    }
  }
  staged_->diff = std::move(diff);
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
