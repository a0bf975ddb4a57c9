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
  // Writes the messages, and hands the next epoch out. Changes nothing in the group but, for a
  // PrivateMessage, a generation of the handshake ratchet.
  Result<CommitResult> finish(std::unique_ptr<StagedState>& staged);

  GroupState* group() const { return group_; }
  const EpochToken& token() const { return token_; }

 private:
  enum class Phase : uint8_t {
    kProposals,
    kFirstHashes,
    kPath,
    kHashes,
    kChecks,
    kSealPath,
    kEpoch,
    kGroupInfo,
    kSealWelcome,
    kDone
  };

  Result<std::vector<Candidate>> own_proposals();
  Result<PreSharedKeyId> psk_id(PreSharedKeyId id);
  Result<bool> do_phase(Budget& budget);
  bool wants_path() const;
  const SignatureKey& new_signer() const;
  Result<LeafNode> new_leaf();
  Status merge_path();
  Status check_own_leaf();
  Status prepare_path_seal();
  Result<bool> seal_path(Budget& budget);
  void encode_commit();
  Status make_epoch();
  Status seal_group_info();
  Result<bool> seal_welcome(Budget& budget);
  Result<HpkeSealed> seal_for(size_t joiner, Random& random, Bytes& ref) const;
  Bytes write_welcome() const;
  ContentView content() const;
  TreeDiff& diff() { return applier_->diff(); }

  GroupState* group_;
  EpochToken token_;
  CommitOptions options_;
  Bytes authenticated_data_;
  std::optional<SignatureKey> leaf_signer_;  // of options_.leaf, cloned
  std::optional<ExternalPart> external_;
  WireFormat wire_format_{};
  std::vector<HashValue> left_out_;
  std::optional<ProposalApplier> applier_;
  std::vector<LeafIndex> sorted_joiners_;
  Phase phase_ = Phase::kProposals;
  size_t next_ = 0;

  // Path.
  bool has_path_ = false;
  LeafIndex self_ = 0;
  OwnPath path_;
  KemKey leaf_key_;
  LeafPtr leaf_;
  std::optional<LabelSealer> path_sealer_;
  std::vector<PathRecipient> recipients_;
  std::vector<HpkeSealed> sealed_path_;

  // New epoch.
  Bytes commit_;
  Signature signature_;
  Bytes encoded_psks_;
  std::unique_ptr<StagedState> staged_;
  Secret joiner_secret_;
  Secret welcome_secret_;

  // Welcome.
  Bytes tree_;
  Bytes encrypted_group_info_;
  std::optional<LabelSealer> welcome_sealer_;
  struct SealedJoiner {
    Bytes ref;
    HpkeSealed secrets;
  };
  std::vector<SealedJoiner> sealed_joiners_;
};

}  // namespace slipway::mls
