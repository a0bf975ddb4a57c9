// Handshake messages of others: taking them apart, and staging a commit step by step. Internal.
#pragma once

#include "group/proposal_list.h"

namespace slipway::mls {

// A handshake message whose sender has been authenticated. Views lie in the message or in `buffer`.
struct OpenedHandshake {
  WireFormat wire_format{};
  ContentView content;
  AuthView auth;
  Bytes buffer;
  std::optional<FoundKey> key;  // of a PrivateMessage; to be accepted with a proposal
  std::variant<std::monostate, Proposal, Commit> body;
};
using HandshakeOrOwn = std::variant<OpenedHandshake, OwnMessage, OwnCommit>;

// Checks group, epoch, membership tag or AEAD, signature. `message` outlives the result.
Result<HandshakeOrOwn> open_handshake(GroupState& group, View message, const MessagePeek& peek);

// A proposal of an opened message, checked on its own; and keeping it.
Result<Candidate> take_proposal(GroupState& group, OpenedHandshake& opened, uint64_t now_s);
// kTooMany if no more proposals of that sender may wait.
Status check_room(const GroupState& group, const Sender& sender);
Status store_proposal(GroupState& group, Candidate candidate);
ReceivedProposal as_received(const Candidate& candidate);

// Checks a commit from end to end (12.4.2) and makes the next epoch of it.
class CommitReceiver {
 public:
  CommitReceiver(GroupState& group, OpenedHandshake opened, uint64_t now_s);

  Status start();
  Result<bool> step(Budget& budget);
  std::unique_ptr<StagedState> take() { return std::move(staged_); }

 private:
  enum class Phase : uint8_t { kProposals, kFirstHashes, kPath, kHashes, kKeys, kDone };

  bool external() const { return opened_.content.sender.type == SenderType::kNewMemberCommit; }
  const Commit& commit() const { return std::get<Commit>(opened_.body); }
  Result<Candidate> resolve(const ProposalOrRef& entry) const;
  Status check_path_leaf(const LeafPtr& leaf);
  Status merge_path();
  Status note_own_update();
  Result<Secret> open_secret();
  Status make_epoch();
  void summarise();

  GroupState* group_;
  OpenedHandshake opened_;
  uint64_t now_s_;
  std::optional<ProposalApplier> applier_;
  std::unique_ptr<StagedState> staged_;
  Phase phase_ = Phase::kProposals;
  LeafIndex committer_ = 0;
  std::vector<PathStep> steps_;
  std::vector<LeafIndex> sorted_joiners_;
  const OwnUpdate* own_update_ = nullptr;
  bool removes_me_ = false;
};

// Lists what a staged commit does to the members. `joiners` ascending.
void summarise_members(const TreeDiff& diff, std::span<const LeafIndex> joiners,
                       CommitSummary& summary);
void summarise_list(const ProposalList& list, CommitSummary& summary);

}  // namespace slipway::mls
