// Handshake messages of others: taking them apart, and staging a commit step by step. Internal.
#pragma once

#include "group/proposal_list.h"

namespace slipway::mls {

// A commit whose proposals are still encoded: they may be thousands.
struct CommitOutline {
  View proposals;
  std::optional<UpdatePath> path;

  template <class A, class Self>
  static void fields(A& a, Self& v) {
    a(v.proposals, v.path);
  }
};

// A handshake message whose sender has been authenticated. Views lie in the message or in `buffer`.
struct OpenedHandshake {
  WireFormat wire_format{};
  ContentView content;
  AuthView auth;
  Bytes buffer;
  std::optional<FoundKey> key;  // of a PrivateMessage; to be accepted with a proposal
  std::variant<std::monostate, Proposal, CommitOutline> body;
};

// Checks group, epoch, membership tag or AEAD, and signature, in steps.
class HandshakeOpener {
 public:
  // `message` stays where it is, also for what comes out.
  HandshakeOpener(GroupState& group, View message) : group_(&group), message_(message) {}

  // True when the sender is known to have sent it, or it is our own.
  Result<bool> step(Budget& budget);
  // Then one of these:
  std::optional<Incoming>& own() { return own_; }
  OpenedHandshake& opened() { return opened_; }

 private:
  enum class Phase : uint8_t { kRead, kTag, kSender, kSignature, kDone };
  Result<bool> do_phase(Budget& budget);
  Status read();
  Status open_private_message(View body);
  Status find_sender();

  GroupState* group_;
  View message_;
  Phase phase_ = Phase::kRead;
  View membership_tag_;
  std::optional<LongHash> tag_;
  std::optional<VerifySteps> verifying_;
  OpenedHandshake opened_;
  std::optional<Incoming> own_;
};

// A proposal of an opened message, checked on its own; and keeping it.
Result<Candidate> take_proposal(GroupState& group, OpenedHandshake& opened, uint64_t now_s);
// kTooMany if no more proposals of that sender may wait.
Status check_room(const GroupState& group, const Sender& sender);
Status store_proposal(GroupState& group, Candidate candidate);
ReceivedProposal as_received(const Candidate& candidate);

// Checks a commit from end to end (12.4.2) and makes the next epoch of it.
class CommitReceiver {
 public:
  // `opened` stays where it is.
  CommitReceiver(GroupState& group, OpenedHandshake& opened, uint64_t now_s);

  Result<bool> step(Budget& budget);
  std::unique_ptr<StagedState> take() { return std::move(staged_); }

 private:
  enum class Phase : uint8_t {
    kDecode,
    kList,
    kProposals,
    kFirstHashes,
    kPath,
    kHashes,
    kUniqueKeys,
    kNeighbours,
    kSummary,
    kOpenPath,
    kPathKeys,
    kTranscript,
    kEpoch,
    kRelease,
    kDone
  };

  bool external() const { return opened_.content.sender.type == SenderType::kNewMemberCommit; }
  const CommitOutline& commit() const { return std::get<CommitOutline>(opened_.body); }
  std::optional<LeafIndex> member() const;
  Result<bool> do_phase(Budget& budget);
  Result<bool> do_late_phase(Budget& budget);
  Result<bool> decode_proposals(Budget& budget);
  Result<Candidate> resolve(ProposalOrRef entry) const;
  Status start_applying();
  Status check_path_leaf(const LeafPtr& leaf);
  Status merge_path();
  Status note_own_update();
  Status decrypt_path();
  Status make_epoch();
  void summarise();

  GroupState* group_;
  OpenedHandshake& opened_;
  uint64_t now_s_;
  Reader entries_;
  std::vector<Candidate> waiting_;         // by reference, ascending; the group's may change meanwhile
  ListMaker list_;
  std::optional<ProposalApplier> applier_;
  std::unique_ptr<StagedState> staged_;
  Phase phase_ = Phase::kDecode;
  size_t next_ = 0;                        // position within a phase
  LeafIndex committer_ = 0;
  std::vector<PathStep> steps_;
  std::vector<LeafIndex> sorted_joiners_;
  std::optional<NeighbourCheck> neighbours_;
  OpenedPath opened_path_;
  std::optional<LongHash> transcript_;
  std::optional<OwnUpdate> own_update_;    // of ours that the commit takes up
  bool removes_me_ = false;
};

// Lists what a staged commit does to the members. `joiners` ascending.
void summarise_members(const TreeDiff& diff, std::span<const LeafIndex> joiners,
                       CommitSummary& summary);
void summarise_list(const ProposalList& list, CommitSummary& summary);

}  // namespace slipway::mls
