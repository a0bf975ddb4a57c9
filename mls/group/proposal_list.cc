#include "group/proposal_list.h"

#include <algorithm>

#include "tree/node_map.h"

namespace slipway::mls {

bool ProposalList::needs_path() const {
  return all.empty() || !updates.empty() || !removes.empty() || external_init != nullptr ||
         extensions != nullptr;
}

std::vector<PreSharedKeyId> ProposalList::psk_ids() const {
  std::vector<PreSharedKeyId> ids;
  for (const uint32_t at : psks) {
    ids.push_back(all[at].proposal->as<PskProposal>()->psk);
  }
  return ids;
}

void ProposalList::sort_out() {
  adds.clear();
  updates.clear();
  removes.clear();
  psks.clear();
  custom.clear();
  extensions = nullptr;
  reinit = nullptr;
  external_init = nullptr;
  for (uint32_t i = 0; i < all.size(); ++i) {
    const Proposal& proposal = *all[i].proposal;
    if (proposal.as<AddProposal>() != nullptr) {
      adds.push_back(i);
    } else if (proposal.as<UpdateProposal>() != nullptr) {
      updates.push_back(i);
    } else if (proposal.as<RemoveProposal>() != nullptr) {
      removes.push_back(i);
    } else if (proposal.as<PskProposal>() != nullptr) {
      psks.push_back(i);
    } else if (proposal.as<UnknownProposal>() != nullptr) {
      custom.push_back(i);
    } else if (const auto* list = proposal.as<GroupContextExtensionsProposal>()) {
      extensions = &list->extensions;
    } else if (const auto* re = proposal.as<ReInitProposal>()) {
      reinit = re;
    } else if (const auto* init = proposal.as<ExternalInitProposal>()) {
      external_init = init;
    }
  }
}

Candidate make_candidate(std::shared_ptr<const Proposal> proposal, const Sender& sender) {
  Candidate candidate;
  if (const auto* add = proposal->as<AddProposal>()) {
    candidate.leaf = Leaf::from(add->key_package.leaf_node);
  } else if (const auto* update = proposal->as<UpdateProposal>()) {
    candidate.leaf = Leaf::from(update->leaf_node);
  }
  candidate.proposal = std::move(proposal);
  candidate.sender = sender;
  return candidate;
}

namespace {

std::unexpected<Error> bad_list(const char* text) {
  return fail(ErrorCode::kInvalidProposalList, text);
}

}  // namespace

// Takes proposals one by one and refuses what does not go with those that it has taken.
class ListChecker {
 public:
  ListChecker(const GroupState& group, std::optional<LeafIndex> committer)
      : group_(group), committer_(committer) {}

  Status admit(const Candidate& candidate) {
    if (reinit_) {
      return bad_list("checking proposals: ReInit does not stand alone");
    }
    MLS_TRY(committer_ ? admit_for_member(candidate) : admit_for_joiner(candidate));
    ++count_;
    return {};
  }

  Status finish() const {
    if (!committer_ && !external_init_) {
      return bad_list("checking proposals: an external commit has no ExternalInit");
    }
    return {};
  }

 private:
  Status admit_for_member(const Candidate& candidate) {
    const Proposal& proposal = *candidate.proposal;
    if (proposal.as<UpdateProposal>() != nullptr) {
      if (!candidate.by_reference || candidate.sender.type != SenderType::kMember ||
          candidate.sender.index == *committer_) {
        return bad_list("checking proposals: an Update by the committer");
      }
      return touch(candidate.sender.index);
    }
    if (const auto* remove = proposal.as<RemoveProposal>()) {
      if (remove->removed == *committer_) {
        return bad_list("checking proposals: the committer removes itself");
      }
      return touch(remove->removed);
    }
    if (const auto* psk = proposal.as<PskProposal>()) {
      return admit_psk(psk->psk);
    }
    if (proposal.as<GroupContextExtensionsProposal>() != nullptr) {
      if (extensions_) {
        return bad_list("checking proposals: GroupContextExtensions twice");
      }
      extensions_ = true;
    } else if (proposal.as<ReInitProposal>() != nullptr) {
      if (count_ > 0) {
        return bad_list("checking proposals: ReInit does not stand alone");
      }
      reinit_ = true;
    } else if (proposal.as<ExternalInitProposal>() != nullptr) {
      return bad_list("checking proposals: ExternalInit in a member's commit");
    }
    return {};
  }

  Status admit_for_joiner(const Candidate& candidate) {
    const Proposal& proposal = *candidate.proposal;
    if (candidate.by_reference) {
      return bad_list("checking proposals: an external commit refers to a proposal");
    }
    if (proposal.as<ExternalInitProposal>() != nullptr) {
      if (external_init_) {
        return bad_list("checking proposals: ExternalInit twice");
      }
      external_init_ = true;
      return {};
    }
    if (const auto* remove = proposal.as<RemoveProposal>()) {
      if (removed_) {
        return bad_list("checking proposals: an external commit removes two members");
      }
      removed_ = true;
      return touch(remove->removed);
    }
    if (const auto* psk = proposal.as<PskProposal>()) {
      return admit_psk(psk->psk);
    }
    return bad_list("checking proposals: a type that an external commit may not have");
  }

  // Update and Remove: once for each member.
  Status touch(LeafIndex leaf) {
    if (leaf >= group_.tree.width() || group_.tree.leaf(leaf) == nullptr) {
      return fail(ErrorCode::kInvalidProposal, "checking proposals: the member is not in the tree");
    }
    if (touched_.find(leaf) != NodeMap::kNone) {
      return bad_list("checking proposals: two Updates or Removes of one member");
    }
    touched_.insert(leaf, 0);
    return {};
  }

  Status admit_psk(const PreSharedKeyId& id) {
    if (psks_.size() >= group_.limits().psks_per_commit) {
      return fail(ErrorCode::kTooMany, "checking proposals: more PSKs than the limit");
    }
    const bool links = group_.predecessor && id.type == PskType::kResumption &&
                       id.usage == group_.predecessor->usage;
    if (!links) {
      MLS_TRY(check_psk_id(*group_.suite, id));
    }
    if (std::ranges::find(psks_, id) != psks_.end()) {
      return bad_list("checking proposals: one PSK twice");
    }
    psks_.push_back(id);
    return {};
  }

  const GroupState& group_;
  std::optional<LeafIndex> committer_;
  NodeMap touched_;
  std::vector<PreSharedKeyId> psks_;
  size_t count_ = 0;
  bool extensions_ = false;
  bool reinit_ = false;
  bool external_init_ = false;
  bool removed_ = false;
};

namespace {

Status ask_policy(const GroupState& group, const Candidate& candidate, ProposalStage stage) {
  if (!group.policy->check_proposal({stage, candidate.proposal.get(), candidate.sender})) {
    return fail(ErrorCode::kPolicyRefused, "checking a proposal: the policy refused it");
  }
  return {};
}

}  // namespace

namespace {

// In which order waiting proposals are tried: Removes win over Updates, later Updates over earlier ones, and
// a ReInit stands back.
int rank_of(const Candidate& candidate) {
  const Proposal& proposal = *candidate.proposal;
  return proposal.as<RemoveProposal>() != nullptr   ? 0
         : proposal.as<UpdateProposal>() != nullptr ? 1
         : proposal.as<ReInitProposal>() != nullptr ? 3
                                                    : 2;
}

}  // namespace

ListMaker::ListMaker(const GroupState& group, std::optional<LeafIndex> committer)
    : group_(group), checker_(std::make_unique<ListChecker>(group, committer)) {}
ListMaker::~ListMaker() = default;

Status ListMaker::add(Candidate candidate) {
  MLS_TRY(checker_->admit(candidate));
  MLS_TRY(ask_policy(group_, candidate, ProposalStage::kCommit));
  added_.push_back(std::move(candidate));
  return {};
}

Status ListMaker::finish(ProposalList& list) {
  MLS_TRY(checker_->finish());
  list.all = std::move(added_);
  list.sort_out();
  return {};
}

Status ListMaker::finish(const std::vector<Candidate>& waiting, ProposalList& list,
                       std::vector<HashValue>& left_out) {
  MLS_TRY(checker_->finish());
  std::vector<size_t> order(waiting.size());
  for (size_t i = 0; i < order.size(); ++i) {
    order[i] = i;
  }
  std::ranges::sort(order, [&](size_t a, size_t b) {
    const int rank_a = rank_of(waiting[a]);
    const int rank_b = rank_of(waiting[b]);
    return rank_a != rank_b ? rank_a < rank_b : rank_a == 1 ? a > b : a < b;
  });
  std::vector<size_t> taken;
  for (const size_t i : order) {
    if (ask_policy(group_, waiting[i], ProposalStage::kCommit) && checker_->admit(waiting[i])) {
      taken.push_back(i);
    } else {
      left_out.push_back(waiting[i].ref);
    }
  }
  std::ranges::sort(taken);
  list.all.clear();
  list.all.reserve(taken.size() + added_.size());
  for (const size_t i : taken) {
    list.all.push_back(waiting[i]);
  }
  std::ranges::move(added_, std::back_inserter(list.all));
  added_.clear();
  if (list.all.size() > group_.limits().proposals_per_commit) {
    return fail(ErrorCode::kTooMany, "making a commit: more proposals than the limit");
  }
  list.sort_out();
  return {};
}

Status verify_candidate(const GroupState& group, const Candidate& candidate) {
  if (const auto* add = candidate.proposal->as<AddProposal>()) {
    return check_key_package(*group.suite, add->key_package);
  }
  if (candidate.leaf == nullptr) {
    return {};
  }
  if (candidate.leaf->source() != LeafNodeSource::kUpdate) {
    return fail(ErrorCode::kInvalidLeafNode, "checking an Update: its leaf was not made for one");
  }
  MLS_TRY(candidate.leaf->validate_keys(*group.suite));
  return candidate.leaf->verify_signature(*group.suite, group.group_id(), candidate.sender.index);
}

namespace {

Status check_update(const GroupState& group, const GroupRules& rules, const Candidate& candidate,
                    uint64_t now_s) {
  const LeafIndex index = candidate.sender.index;
  const LeafPtr& before = group.tree.leaf(index);
  if (candidate.sender.type != SenderType::kMember || before == nullptr) {
    return fail(ErrorCode::kInvalidProposal, "checking an Update: its sender is no member");
  }
  if (equal(before->encryption_key(), candidate.leaf->encryption_key())) {
    return fail(ErrorCode::kKeyReuse, "checking an Update: it brings no new encryption key");
  }
  MLS_TRY(check_leaf(group, rules, {LeafUse::kUpdate, candidate.leaf.get(), index, now_s}));
  if (!group.policy->valid_successor(*before, *candidate.leaf, now_s)) {
    return fail(ErrorCode::kInvalidCredential,
                "checking an Update: its credential may not follow the one before");
  }
  return {};
}

Status check_reinit(const ReInitProposal& reinit, const Limits& limits) {
  if (reinit.version < ProtocolVersion::kMls10) {
    return fail(ErrorCode::kInvalidProposal, "checking a ReInit: an older version");
  }
  if (reinit.group_id.empty() || reinit.group_id.size() > limits.group_id_bytes) {
    return fail(ErrorCode::kInvalidProposal, "checking a ReInit: group id of 0 or too many bytes");
  }
  return {};
}

template <class Check>
Status check_members(const GroupState& group, Check&& check) {
  for (LeafIndex i = 0; i < group.tree.width(); ++i) {
    if (const LeafPtr& leaf = group.tree.leaf(i); leaf != nullptr) {
      MLS_TRY(check(*leaf));
    }
  }
  return {};
}

}  // namespace

Status check_single(const GroupState& group, const Candidate& candidate, uint64_t now_s) {
  const Proposal& proposal = *candidate.proposal;
  MLS_ASSIGN(const GroupRules rules, rules_of(group.now.context.extensions, group.limits()));
  if (proposal.as<AddProposal>() != nullptr) {
    return check_leaf(group, rules, {LeafUse::kKeyPackage, candidate.leaf.get(), {}, now_s});
  }
  if (proposal.as<UpdateProposal>() != nullptr) {
    return check_update(group, rules, candidate, now_s);
  }
  if (const auto* remove = proposal.as<RemoveProposal>()) {
    if (remove->removed >= group.tree.width() || group.tree.leaf(remove->removed) == nullptr) {
      return fail(ErrorCode::kInvalidProposal, "checking a Remove: there is no such member");
    }
    return {};
  }
  if (const auto* psk = proposal.as<PskProposal>()) {
    return check_psk_id(*group.suite, psk->psk);
  }
  if (const auto* reinit = proposal.as<ReInitProposal>()) {
    return check_reinit(*reinit, group.limits());
  }
  if (proposal.as<ExternalInitProposal>() != nullptr) {
    return fail(ErrorCode::kInvalidProposal,
                "checking a proposal: ExternalInit outside an external commit");
  }
  if (const auto* list = proposal.as<GroupContextExtensionsProposal>()) {
    MLS_TRY(check_group_extensions(group, list->extensions, now_s));
    MLS_ASSIGN(const GroupRules new_rules, rules_of(list->extensions, group.limits()));
    return check_members(group, [&](const Leaf& leaf) { return check_capabilities(new_rules, leaf); });
  }
  return check_members(group, [&](const Leaf& leaf) -> Status {
    if (!leaf.supports(proposal.type())) {
      return fail(ErrorCode::kInvalidProposal,
                  "checking a proposal: a member does not support its type");
    }
    return {};
  });
}

// ---- Applying.

ProposalApplier::ProposalApplier(const GroupState& group, ProposalList list, bool forgiving,
                                 uint64_t now_s)
    : group_(&group),
      list_(std::move(list)),
      forgiving_(forgiving),
      now_s_(now_s),
      diff_(group.tree) {
  for (uint32_t i = 0; i < list_.all.size(); ++i) {
    if (!list_.all[i].verified && list_.all[i].leaf != nullptr) {
      unverified_.push_back(i);
    }
  }
}

Result<bool> ProposalApplier::verify_some(Budget& budget) {
  while (next_ < unverified_.size()) {
    const size_t count = budget.take(unverified_.size() - next_, 2 * Budget::kPublicKeyOp);
    if (count == 0) {
      return false;
    }
    std::vector<Status> results(count);
    parallel_for(group_->config.parallel, count, [&](size_t i) {
      results[i] = verify_candidate(*group_, list_.all[unverified_[next_ + i]]);
    });
    for (const Status& result : results) {
      MLS_TRY(result);
    }
    next_ += count;
  }
  return true;
}

Status ProposalApplier::take_extensions() {
  const Extensions* extensions = &group_->now.context.extensions;
  if (list_.extensions != nullptr) {
    MLS_TRY(check_group_extensions(*group_, *list_.extensions, now_s_));
    extensions = list_.extensions;
  }
  if (list_.reinit != nullptr) {
    MLS_TRY(check_reinit(*list_.reinit, group_->limits()));
  }
  MLS_ASSIGN(rules_, rules_of(*extensions, group_->limits()));
  return {};
}

Status ProposalApplier::apply_update(const Candidate& candidate) {
  MLS_TRY(check_update(*group_, rules_, candidate, now_s_));
  if (forgiving_) {
    const NodeIndex node = node_math::leaf_node(candidate.sender.index);
    if (diff_.key_in_use(KeyKind::kEncryption, candidate.leaf->encryption_key(), node) ||
        diff_.key_in_use(KeyKind::kSignature, candidate.leaf->signature_key(), node)) {
      return fail(ErrorCode::kKeyReuse, "applying an Update: one of its keys is in the tree");
    }
    MLS_TRY(check_fits(candidate.sender.index, *candidate.leaf));
  }
  diff_.update(candidate.sender.index, candidate.leaf);
  return {};
}

Status ProposalApplier::apply_add(const Candidate& candidate) {
  const bool own = candidate.sender.type == SenderType::kMember && forgiving_ &&
                   !candidate.by_reference;
  MLS_TRY(check_leaf(*group_, rules_,
                     {own ? LeafUse::kOwnAdd : LeafUse::kKeyPackage, candidate.leaf.get(), {}, now_s_}));
  constexpr NodeIndex kNoNode = 0xffffffff;
  if (diff_.key_in_use(KeyKind::kEncryption, candidate.leaf->encryption_key(), kNoNode) ||
      diff_.key_in_use(KeyKind::kSignature, candidate.leaf->signature_key(), kNoNode)) {
    return fail(ErrorCode::kKeyReuse, "applying an Add: one of its keys is in the tree");
  }
  if (forgiving_) {
    MLS_TRY(check_fits(kNoLeaf, *candidate.leaf));
  }
  MLS_ASSIGN(const LeafIndex index, diff_.add(candidate.leaf, group_->limits()));
  joiners_.push_back(index);
  if (const View id = group_->policy->client_id(*candidate.leaf); forgiving_ && !id.empty()) {
    fresh_clients_.insert(key_tag(KeyKind::kSignature, id), KeyKind::kSignature,
                          node_math::leaf_node(index));
  }
  return {};
}

Status ProposalApplier::check_fits(LeafIndex index, const Leaf& leaf) {
  MLS_TRY(check_newcomer(*group_, diff_, fresh_clients_, index, leaf));
  return check_support(leaf);
}

Status ProposalApplier::check_support(const Leaf& leaf) const {
  if (list_.extensions != nullptr) {
    MLS_TRY(check_capabilities(rules_, leaf));
  }
  for (const uint32_t at : list_.custom) {
    if (!leaf.supports(list_.all[at].proposal->type())) {
      return fail(ErrorCode::kInvalidProposal,
                  "applying proposals: a member does not support a proposal's type");
    }
  }
  return {};
}

void ProposalApplier::drop_left_out() {
  std::ranges::sort(dropped_);
  for (const uint32_t at : dropped_) {
    left_out_.push_back(list_.all[at].ref);
  }
  if (dropped_.empty()) {
    return;
  }
  std::vector<Candidate> kept;
  kept.reserve(list_.all.size() - dropped_.size());
  for (uint32_t i = 0; i < list_.all.size(); ++i) {
    if (!std::ranges::binary_search(dropped_, i)) {
      kept.push_back(std::move(list_.all[i]));
    }
  }
  list_.all = std::move(kept);
  dropped_.clear();
  list_.sort_out();
}

bool ProposalApplier::release(Budget& budget) {
  constexpr size_t kReleaseCost = 2;  // an Add owns a dozen allocations
  // The C library joins what was freed when somebody next asks for a larger block: after each step, so that it is
  // not all at once.
  constexpr size_t kLargerBytes = 4096;
  larger_block_ = std::make_unique<uint8_t[]>(kLargerBytes);
  while (!list_.all.empty()) {
    if (budget.take(1, kReleaseCost) == 0) {
      return false;
    }
    list_.all.pop_back();
  }
  return true;
}

Result<bool> ProposalApplier::step(Budget& budget) {
  return run_phases(phase_, budget, [this](Budget& left) { return do_phase(left); }, &next_);
}

// Applies each of `positions`; what does not fit is dropped or fails the list.
template <class Apply>
Result<bool> ProposalApplier::each(const std::vector<uint32_t>& positions, Budget& budget, Apply&& apply) {
  constexpr size_t kApplyCost = 6;  // index look-ups, a copy of some nodes
  for (; next_ < positions.size(); ++next_) {
    if (budget.take(1, kApplyCost) == 0) {
      return false;
    }
    const Candidate& candidate = list_.all[positions[next_]];
    const Status status = apply(candidate);
    if (!status) {
      if (!forgiving_ || !candidate.by_reference) {
        return fail(status.error());
      }
      dropped_.push_back(positions[next_]);
    }
  }
  return true;
}

Result<bool> ProposalApplier::do_phase(Budget& budget) {
  switch (phase_) {
    case Phase::kVerify: return verify_some(budget);
    case Phase::kExtensions: {
      MLS_TRY(take_extensions());
      return true;
    }
    case Phase::kUpdates:
      return each(list_.updates, budget, [this](const Candidate& c) { return apply_update(c); });
    case Phase::kRemoves:
      return each(list_.removes, budget, [this](const Candidate& c) -> Status {
        diff_.remove(c.proposal->as<RemoveProposal>()->removed);
        return {};
      });
    case Phase::kAdds: {
      MLS_ASSIGN(const bool done, each(list_.adds, budget, [this](const Candidate& c) { return apply_add(c); }));
      if (done) {
        drop_left_out();
      }
      return done;
    }
    case Phase::kSupport: return check_all_support(budget);
    case Phase::kDone: break;
  }
  return true;
}

Result<bool> ProposalApplier::check_all_support(Budget& budget) {
  if (list_.extensions == nullptr && list_.custom.empty()) {
    return true;
  }
  for (; next_ < diff_.width(); ++next_) {
    if (budget.take(1, 1) == 0) {
      return false;
    }
    if (const LeafPtr& leaf = diff_.leaf(static_cast<LeafIndex>(next_)); leaf != nullptr) {
      MLS_TRY(check_support(*leaf));
    }
  }
  return true;
}

}  // namespace slipway::mls
