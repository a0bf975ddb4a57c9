// The proposals of one commit: which go together (RFC 9420, 12.2), and applying them to a diff of the tree
// (12.3). The same code serves those who make a commit and those who receive one.
#pragma once

#include "base/phases.h"
#include "crypto/parallel.h"
#include "group/state.h"

namespace slipway::mls {

struct ProposalList {
  std::vector<Candidate> all;  // in the order of the commit
  // Positions in `all`.
  std::vector<uint32_t> adds;
  std::vector<uint32_t> updates;
  std::vector<uint32_t> removes;
  std::vector<uint32_t> psks;
  std::vector<uint32_t> custom;
  const Extensions* extensions = nullptr;
  const ReInitProposal* reinit = nullptr;
  const ExternalInitProposal* external_init = nullptr;

  // 12.4: whether a commit of these must have a path.
  bool needs_path() const;
  std::vector<PreSharedKeyId> psk_ids() const;
  void sort_out();  // fills all but `all`
};

// Parses the leaf that an Add or Update brings along.
Candidate make_candidate(std::shared_ptr<const Proposal> proposal, const Sender& sender);

// The list of a commit, made proposal by proposal (12.2).
class ListChecker;
class ListMaker {
 public:
  // `committer` is absent for an external commit.
  ListMaker(const GroupState& group, std::optional<LeafIndex> committer);
  ~ListMaker();
  // What does not go with those before fails.
  Status add(Candidate candidate);
  // The list as it is received.
  Status finish(ProposalList& list);
  // An own list: of `waiting` all that goes with it comes first. The rest is left out.
  Status finish(const std::vector<Candidate>& waiting, ProposalList& list,
                std::vector<HashValue>& left_out);

 private:
  const GroupState& group_;
  std::unique_ptr<ListChecker> checker_;
  std::vector<Candidate> added_;
};

// Checks one proposal on its own, against the present tree, as it arrives (12.1). `by_value`s are checked
// together with their commit instead.
Status check_single(const GroupState& group, const Candidate& candidate, uint64_t now_s);

// All signatures in a candidate: key package and leaf. Any thread.
Status verify_candidate(const GroupState& group, const Candidate& candidate);

// Applies a list to a diff, step by step.
class ProposalApplier {
 public:
  // With `forgiving`, waiting proposals that turn out not to fit are left out; otherwise they fail the list.
  ProposalApplier(const GroupState& group, ProposalList list, bool forgiving, uint64_t now_s);

  // True when all is applied and checked, but for what a path may still add to: unique keys, neighbours.
  Result<bool> step(Budget& budget);

  const ProposalList& list() const { return list_; }
  TreeDiff& diff() { return diff_; }
  const GroupRules& rules() const { return rules_; }
  // Leaves of the joiners, in the order of list().adds.
  const std::vector<LeafIndex>& joiners() const { return joiners_; }
  std::vector<HashValue>& left_out() { return left_out_; }
  // Frees the proposals, which nobody looks at any more; true when all are gone.
  bool release(Budget& budget);
  // Extensions of the GroupContext afterwards.
  const Extensions& extensions() const { return *rules_.extensions; }

 private:
  enum class Phase : uint8_t { kVerify, kExtensions, kUpdates, kRemoves, kAdds, kSupport, kDone };

  Result<bool> do_phase(Budget& budget);
  Result<bool> verify_some(Budget& budget);
  template <class Apply>
  Result<bool> each(const std::vector<uint32_t>& positions, Budget& budget, Apply&& apply);
  Status take_extensions();
  Status apply_update(const Candidate& candidate);
  Status apply_add(const Candidate& candidate);
  Status check_support(const Leaf& leaf) const;
  Result<bool> check_all_support(Budget& budget);
  // What the whole list is checked for at its end, for one leaf: whether it may be part of it.
  Status check_fits(LeafIndex index, const Leaf& leaf);
  void drop_left_out();

  const GroupState* group_;
  ProposalList list_;
  bool forgiving_;
  uint64_t now_s_;
  TreeDiff diff_;
  GroupRules rules_;
  std::vector<LeafIndex> joiners_;
  std::vector<HashValue> left_out_;
  std::vector<uint32_t> dropped_;  // positions in list_.all
  std::vector<uint32_t> unverified_;
  KeyIndex fresh_clients_;  // forgiving_ only
  Phase phase_ = Phase::kVerify;
  size_t next_ = 0;
  std::unique_ptr<uint8_t[]> larger_block_;
};

}  // namespace slipway::mls
