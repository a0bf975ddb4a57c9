#include "base/error.h"

namespace slipway::mls {

std::string_view error_name(ErrorCode code) {
  switch (code) {
    case ErrorCode::kMalformed: return "malformed";
    case ErrorCode::kTooLarge: return "too_large";
    case ErrorCode::kTooMany: return "too_many";
    case ErrorCode::kDuplicateEntry: return "duplicate_entry";
    case ErrorCode::kUnsupported: return "unsupported";
    case ErrorCode::kInvalidKey: return "invalid_key";
    case ErrorCode::kDecryptionFailed: return "decryption_failed";
    case ErrorCode::kBadSignature: return "bad_signature";
    case ErrorCode::kBadMembershipTag: return "bad_membership_tag";
    case ErrorCode::kBadConfirmationTag: return "bad_confirmation_tag";
    case ErrorCode::kKeyReuse: return "key_reuse";
    case ErrorCode::kCryptoFailure: return "crypto_failure";
    case ErrorCode::kUnknownGroup: return "unknown_group";
    case ErrorCode::kEpochTooOld: return "epoch_too_old";
    case ErrorCode::kEpochInFuture: return "epoch_in_future";
    case ErrorCode::kOwnMessage: return "own_message";
    case ErrorCode::kInvalidSender: return "invalid_sender";
    case ErrorCode::kWrongContentType: return "wrong_content_type";
    case ErrorCode::kGenerationTooFarAhead: return "generation_too_far_ahead";
    case ErrorCode::kGenerationGone: return "generation_gone";
    case ErrorCode::kInvalidTree: return "invalid_tree";
    case ErrorCode::kTreeHashMismatch: return "tree_hash_mismatch";
    case ErrorCode::kParentHashMismatch: return "parent_hash_mismatch";
    case ErrorCode::kInvalidLeafNode: return "invalid_leaf_node";
    case ErrorCode::kInvalidCredential: return "invalid_credential";
    case ErrorCode::kExpired: return "expired";
    case ErrorCode::kInvalidProposal: return "invalid_proposal";
    case ErrorCode::kInvalidProposalList: return "invalid_proposal_list";
    case ErrorCode::kMissingProposal: return "missing_proposal";
    case ErrorCode::kMissingPath: return "missing_path";
    case ErrorCode::kInvalidCommit: return "invalid_commit";
    case ErrorCode::kInvalidPath: return "invalid_path";
    case ErrorCode::kPolicyRefused: return "policy_refused";
    case ErrorCode::kInvalidKeyPackage: return "invalid_key_package";
    case ErrorCode::kNotForMe: return "not_for_me";
    case ErrorCode::kMissingPsk: return "missing_psk";
    case ErrorCode::kInvalidPsk: return "invalid_psk";
    case ErrorCode::kInvalidGroupInfo: return "invalid_group_info";
    case ErrorCode::kGroupExists: return "group_exists";
    case ErrorCode::kInactive: return "inactive";
    case ErrorCode::kPendingCommit: return "pending_commit";
    case ErrorCode::kNoPendingCommit: return "no_pending_commit";
    case ErrorCode::kWrongState: return "wrong_state";
    case ErrorCode::kInvalidArgument: return "invalid_argument";
    case ErrorCode::kBadSnapshot: return "bad_snapshot";
  }
  return "unknown_error";
}

}  // namespace slipway::mls
