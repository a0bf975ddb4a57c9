// Errors of the MLS module: one type at every edge, one code for each named rejection of RFC 9420.
//
// A code says what a caller can do about it (buffer, drop, rejoin, ask again); the text says what
// was being done and to what. Texts are static, so that an error never carries a secret.
#pragma once

#include <cstdint>
#include <expected>
#include <string_view>
#include <utility>

namespace slipway::mls {

enum class ErrorCode : uint8_t {
  // Bytes.
  kMalformed,         // not the presentation language, or a value out of an enumeration (RFC 2.1)
  kTooLarge,          // larger than a bound of Limits; found before parsing or allocating
  kTooMany,           // more entries than a bound of Limits allows
  kDuplicateEntry,    // a list that must hold each type once holds one twice (13.4)
  kUnsupported,       // version, cipher suite, type or feature that is not ours
  // Keys and cryptography.
  kInvalidKey,        // wrong length, not on the curve, small order, private and public do not fit
  kDecryptionFailed,  // an AEAD did not open: wrong key or forged
  kBadSignature,
  kBadMembershipTag,
  kBadConfirmationTag,
  kKeyReuse,          // a key that must be new or unique is neither (7.3, 12.4.2)
  kCryptoFailure,     // the library or the random source failed: nothing that a peer sent
  // Which message is this?
  kUnknownGroup,      // group id of another group
  kEpochTooOld,       // before the current epoch and not (or no longer) kept
  kEpochInFuture,     // we have not seen the commit yet: buffer it
  kOwnMessage,        // sent by ourselves: there is no key for it any more
  kInvalidSender,     // blank leaf, out of range, or a sender type that may not send this
  kWrongContentType,  // e.g. application data in a PublicMessage (6.2)
  kGenerationTooFarAhead,
  kGenerationGone,    // duplicate, or older than what is kept
  // Tree (7, 12.4.3.1).
  kInvalidTree,       // shape: node types, trailing blank, unmerged leaves, indices
  kTreeHashMismatch,
  kParentHashMismatch,
  kInvalidLeafNode,   // leaf against group: source, capabilities, versions, extensions (7.3)
  kInvalidCredential, // refused by the caller's check
  kExpired,           // lifetime over or not begun
  // Proposals and commits (12).
  kInvalidProposal,
  kInvalidProposalList,
  kMissingProposal,   // referred to, but never seen: fetch it and try again
  kMissingPath,
  kInvalidCommit,
  kInvalidPath,       // node or ciphertext count does not fit the tree
  kPolicyRefused,     // refused by the caller's policy
  // Groups.
  kInvalidKeyPackage,
  kNotForMe,          // Welcome without an entry for any of my key packages
  kMissingPsk,        // unknown PSK; the key package is kept
  kInvalidPsk,        // a PSK id that may not be used here (8.4, 11.2, 11.3)
  kInvalidGroupInfo,
  kGroupExists,       // group id already in use
  kInactive,          // we have left, or the group was reinitialised
  kPendingCommit,     // an own commit waits for its fate
  kNoPendingCommit,
  kWrongState,        // the call does not fit the state of the object
  kInvalidArgument,   // the caller's mistake
  kBadSnapshot,
};

// Short stable name of a code, e.g. "bad_signature": for logs, counters and JSON.
std::string_view error_name(ErrorCode code);

struct Error {
  ErrorCode code = ErrorCode::kMalformed;
  const char* text = "";  // static storage; what was being done and to what

  friend bool operator==(const Error& a, ErrorCode b) { return a.code == b; }
};

template <class T>
using Result = std::expected<T, Error>;
using Status = std::expected<void, Error>;

// `return fail(ErrorCode::kMalformed, "reading a LeafNode: ...");`
inline std::unexpected<Error> fail(ErrorCode code, const char* text) {
  return std::unexpected(Error{code, text});
}
inline std::unexpected<Error> fail(const Error& error) { return std::unexpected(error); }

}  // namespace slipway::mls

// Passes an error up. MLS_ASSIGN declares or assigns: MLS_ASSIGN(auto leaf, decode<LeafNode>(bytes));
#define MLS_JOIN_(a, b) a##b
#define MLS_JOIN(a, b) MLS_JOIN_(a, b)
#define MLS_TRY(expression)                                                \
  do {                                                                     \
    if (auto mls_status_ = (expression); !mls_status_) {                   \
      return std::unexpected(mls_status_.error());                         \
    }                                                                      \
  } while (false)
#define MLS_ASSIGN(target, expression)                                     \
  auto MLS_JOIN(mls_result_, __LINE__) = (expression);                     \
  if (!MLS_JOIN(mls_result_, __LINE__)) {                                  \
    return std::unexpected(MLS_JOIN(mls_result_, __LINE__).error());       \
  }                                                                        \
  target = std::move(*MLS_JOIN(mls_result_, __LINE__))
