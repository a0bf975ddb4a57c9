// Making a commit (RFC 9420, 12.4.1), and the Welcome that goes with it (12.4.3.1), step by step. Internal.
#pragma once

#include "group/receive.h"

namespace slipway::mls {

struct CommitBuild {
 public:
  CommitBuild(GroupState& group, const CommitOptions& options);

  Status start();
  Status start_external(ExternalPart external);
  Result<bool> step(Budget& budget);
  // Hands out the messages and the next epoch, all made before. Changes nothing in the group but, for a
  // PrivateMessage, a generation of the handshake ratchet.
  Result<CommitResult> finish(std::unique_ptr<StagedState>& staged);

  GroupState* group() const { return group_; }
  const EpochToken& token() const { return token_; }

 private:
  // In this order. Each goes on where it stopped.
  enum class Phase : uint8_t {
    // commit_build.cc
    kDecode,
    kList,
    kProposals,
    kFirstHashes,
    kPathSecrets,
    kPathKeys,
    kPath,
    kHashes,
    kChecks,
    kSealPath,
    // commit_epoch.cc
    kEncode,
    kSign,
    kTranscript,
    kEpoch,
    kSummary,
    // commit_welcome.cc; without joiners nothing
    kTree,
    kGroupInfo,
    kSignGroupInfo,
    kSealGroupInfo,
    kContextHash,
    kSealWelcome,
    // commit_epoch.cc
    kTag,
    kMessage,
    kRelease,
    kDone
  };
  Result<bool> do_phase(Budget& budget);
  Result<bool> do_path_phase(Budget& budget);
  Result<bool> do_epoch_phase(Budget& budget);
  Result<bool> do_welcome_phase(Budget& budget);

  // Proposals.
  template <class Body>
  Status propose(Body body);
  Status propose_psk(PreSharedKeyId id);
  Status propose_before_adds();
  Result<bool> decode_adds(Budget& budget);
  Status propose_after_adds();
  Status make_list();
  // Path.
  bool wants_path() const;
  const SignatureKey& new_signer() const;
  Result<LeafNode> new_leaf();
  Status start_path();
  Status merge_path();
  Status check_own_leaf();
  Status do_key_work(size_t i, Random& random);
  Result<bool> make_path_keys(Budget& budget);
  void prepare_path_seal();
  Result<bool> seal_path(Budget& budget);
  // Commit and epoch.
  bool encode_proposals(Budget& budget);
  void encode_path();
  ContentView content() const;
  AuthView auth() const;
  Status make_epoch();
  void summarise();
  Status write_message();
  // Welcome.
  Status write_info();
  Status seal_info();
  Result<HpkeSealed> seal_for(size_t joiner, Random& random, Bytes& ref) const;
  Result<bool> seal_welcome(Budget& budget);
  TreeDiff& diff() { return applier_->diff(); }
  const std::vector<LeafIndex>& joiners() const { return applier_->joiners(); }

  GroupState* group_;
  EpochToken token_;
  CommitOptions options_;
  Bytes packages_;                 // of options_.add, whose views point here
  Bytes authenticated_data_;
  std::optional<SignatureKey> leaf_signer_;  // of options_.leaf, cloned
  std::optional<ExternalPart> external_;
  WireFormat wire_format_{};
  std::optional<ListMaker> list_;
  std::vector<HashValue> left_out_;
  std::optional<ProposalApplier> applier_;
  std::vector<LeafIndex> sorted_joiners_;
  Phase phase_ = Phase::kDecode;
  size_t next_ = 0;                // position within a phase
  std::optional<SignSteps> signing_;
  std::optional<LongHash> hashing_;

  // Path.
  bool has_path_ = false;
  LeafIndex self_ = 0;
  OwnPath path_;
  KemKey leaf_key_;
  LeafNode new_leaf_;
  LeafPtr leaf_;
  std::optional<LabelSealer> path_sealer_;
  std::vector<PathRecipient> recipients_;
  std::vector<Encapsulated> encapsulated_;
  std::vector<HpkeSealed> sealed_path_;

  // New epoch.
  Bytes commit_;
  size_t proposals_begin_ = 0;
  Signature signature_;
  HashValue confirmed_hash_;
  Bytes encoded_psks_;
  std::unique_ptr<StagedState> staged_;
  Secret joiner_secret_;
  Secret welcome_secret_;
  std::optional<FoundKey> message_key_;  // of a PrivateMessage
  Bytes message_;

  // Welcome.
  Bytes tree_;
  std::optional<TreeEncoder> tree_encoder_;
  Bytes group_info_;               // then encrypted in place
  std::optional<LabelSealer> welcome_sealer_;
  Bytes welcome_;
  size_t welcome_list_ = 0;        // where its list of joiners begins
};

}  // namespace slipway::mls
