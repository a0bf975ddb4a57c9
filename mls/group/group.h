// A member's view of one MLS group (RFC 9420): the public interface of the module.
//
// A Group takes bytes in and gives bytes out. It does no I/O, starts no thread and reads no clock. One thread
// at a time may call it; different groups are independent. Its rules:
//
// - A call that fails changes nothing, whatever the input. A message that does not open uses up no key.
// - A foreign commit is first staged, and can be read, before apply() makes it so.
// - An own commit is made, sent, and then either accepted or refused, as the delivery service says. Until then
//   the old epoch serves. A foreign commit that is applied instead discards it.
// - Proposals, sent or received, wait until a commit; all that are left vanish with the epoch.
// - After its epoch has ended, a message can still be read for Limits::past_epochs epochs.
// - commit, join, process and restore also exist as operations that run in steps: start, step(budget) until it
//   says true, finish. The group is unchanged until finish. A step does at most that many public-key
//   operations (or as much other work as takes about as long). The plain calls just loop. What the options
//   point to need not outlive start, but for JoinOptions::predecessor; the group must.
//
// Wherever `now_s` is asked for: seconds since 1970, for lifetimes only.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <span>

#include "group/events.h"
#include "group/key_package.h"
#include "group/policy.h"
#include "tree/ratchet_tree.h"

namespace slipway::mls {

class Group;
struct GroupState;
struct CommitBuild;
struct JoinBuild;
struct ProcessBuild;
struct RestoreBuild;

struct MessageOptions {
  View authenticated_data;
  std::optional<WireFormat> wire_format;  // of handshake messages; absent: the policy's
  uint64_t now_s = 0;                     // for the policy's checks of an Update
};

// Changes to the own leaf, made by an Update or by the path of a commit. What is absent stays.
struct LeafChange {
  std::optional<Credential> credential;
  std::optional<Capabilities> capabilities;
  std::optional<Extensions> extensions;
  const SignatureKey* signer = nullptr;  // a new signature key; cloned
};

struct CommitOptions {
  uint64_t now_s = 0;
  // Proposals by value, applied in the order of RFC 12.3 whatever their order here.
  std::vector<View> add;                 // key packages, as MLSMessage
  std::vector<LeafIndex> remove;
  std::vector<Bytes> external_psks;      // ids, known to the PskStore
  std::vector<uint64_t> resumption_psks; // epochs of this group
  std::optional<Extensions> extensions;  // of the GroupContext
  std::optional<ReInitProposal> reinit;  // alone, if at all
  std::vector<UnknownProposal> custom;
  // Waiting proposals by reference: all that are valid together; the rest is left out.
  bool include_waiting = true;
  bool force_path = false;
  std::optional<LeafChange> leaf;        // forces a path
  // Welcome.
  bool tree_in_welcome = true;           // else joiners need the tree beside it:
  bool tree_in_result = true;            // in CommitResult::tree, at a cost that grows with the group; or
                                         // take export_tree() after accept_commit(), once for many joiners
  bool external_pub_in_welcome = false;
  Extensions group_info_extensions;      // more of the GroupInfo in the Welcome
  MessageOptions message;
};

struct CommitResult {
  Bytes commit;                    // MLSMessage
  Bytes welcome;                   // MLSMessage; empty without joiners
  Bytes tree;                      // ratchet tree; empty unless asked for and needed
  uint64_t epoch = 0;              // that the commit leads to
  std::vector<LeafIndex> added;    // leaves of the joiners: those of CommitOptions::add come last, in order
  std::vector<HashValue> left_out; // waiting proposals that could not be part of it
};

class CommitOperation {
 public:
  ~CommitOperation();
  CommitOperation(CommitOperation&&) noexcept;
  CommitOperation& operator=(CommitOperation&&) noexcept;
  Result<bool> step(size_t public_key_ops);
  // The own commit now waits. Only after step() has returned true; kWrongState if the group has moved on.
  Result<CommitResult> finish();

 private:
  friend class Group;
  explicit CommitOperation(std::unique_ptr<CommitBuild> build);
  std::unique_ptr<CommitBuild> build_;
};

// Processing of a handshake message in steps: a commit that adds thousands takes a while to check.
class ProcessOperation {
 public:
  ~ProcessOperation();
  ProcessOperation(ProcessOperation&&) noexcept;
  ProcessOperation& operator=(ProcessOperation&&) noexcept;
  Result<bool> step(size_t public_key_ops);
  Result<Incoming> finish();

 private:
  friend class Group;
  explicit ProcessOperation(std::unique_ptr<ProcessBuild> build);
  std::unique_ptr<ProcessBuild> build_;
};

struct JoinOptions {
  uint64_t now_s = 0;
  View welcome;                                          // MLSMessage
  std::span<const PrivateKeyPackage* const> key_packages;  // any of which it may be for
  const SignatureKey* signer = nullptr;                  // of the leaf in the key package; cloned
  std::optional<View> tree;                              // if it is not in the Welcome
  // The group that this one continues by reinitialisation or branches from (11.2, 11.3). A Welcome with such
  // a PSK is refused without it.
  const Group* predecessor = nullptr;
};

class JoinOperation {
 public:
  ~JoinOperation();
  JoinOperation(JoinOperation&&) noexcept;
  JoinOperation& operator=(JoinOperation&&) noexcept;
  Result<bool> step(size_t public_key_ops);
  Result<Group> finish();
  // Which of JoinOptions::key_packages the Welcome was for: to be deleted after success.
  size_t key_package_used() const;

 private:
  friend class Group;
  explicit JoinOperation(std::unique_ptr<JoinBuild> build);
  std::unique_ptr<JoinBuild> build_;
};

class RestoreOperation {
 public:
  ~RestoreOperation();
  RestoreOperation(RestoreOperation&&) noexcept;
  RestoreOperation& operator=(RestoreOperation&&) noexcept;
  Result<bool> step(size_t public_key_ops);
  Result<Group> finish();

 private:
  friend class Group;
  explicit RestoreOperation(std::unique_ptr<RestoreBuild> build);
  std::unique_ptr<RestoreBuild> build_;
};

struct CreateOptions {
  const Suite* suite = nullptr;
  Bytes group_id;                        // 1 to Limits::group_id_bytes bytes; empty: 32 random bytes
  Extensions extensions;                 // of the GroupContext
  const SignatureKey* signer = nullptr;  // cloned
  LeafOptions leaf;
  Lifetime lifetime;                     // of the own leaf, whose source is key_package
};

struct ExternalJoinOptions {
  uint64_t now_s = 0;
  View group_info;                       // MLSMessage, with external_pub
  std::optional<View> tree;              // if it is not in the GroupInfo
  const SignatureKey* signer = nullptr;  // cloned
  LeafOptions leaf;
  // Resync: the own former leaf, to be removed.
  std::optional<LeafIndex> remove;
  std::vector<Bytes> external_psks;
  View authenticated_data;
};
struct ExternalJoin;

struct GroupInfoOptions {
  bool tree = true;
  bool external_pub = true;
  Extensions extensions;
};

class Group {
 public:
  ~Group();
  Group(Group&&) noexcept;
  Group& operator=(Group&&) noexcept;

  // ---- Beginnings.
  static Result<Group> create(const GroupConfig& config, const CreateOptions& options);
  // kNotForMe, kMissingPsk (both leave the key package good), and every reason to refuse a group (12.4.3.1).
  static Result<Group> join(const GroupConfig& config, const JoinOptions& options);
  static Result<JoinOperation> start_join(const GroupConfig& config, const JoinOptions& options);
  // Joins by external commit (12.4.3.2). The commit must reach the group before any other of its epoch; if it
  // does not, drop the Group and try again with a newer GroupInfo.
  static Result<ExternalJoin> join_external(const GroupConfig& config,
                                            const ExternalJoinOptions& options);
  // A new group of the same members after a ReInit was applied (11.2), or of some of them (11.3). Its first
  // commit adds them, and ties the groups together by itself. For a reinitialisation, suite, group id and
  // extensions must be those of the ReInit proposal.
  static Result<Group> create_successor(const GroupConfig& config, const Group& predecessor,
                                        ResumptionPskUsage usage, const CreateOptions& options);

  // ---- State.
  const Suite& suite() const;
  View group_id() const;
  uint64_t epoch() const;
  const Extensions& extensions() const;
  View tree_hash() const;
  View confirmed_transcript_hash() const;
  View group_context() const;             // encoded
  LeafIndex own_leaf() const;
  uint32_t member_count() const;
  // Null for a blank leaf; indices run up to leaf_count().
  const LeafPtr& member(LeafIndex leaf) const;
  uint32_t leaf_count() const;
  const RatchetTree& tree() const;
  // False after we were removed, or after a ReInit.
  bool active() const;
  const std::optional<ReInitProposal>& reinit() const;
  // Waiting proposals.
  std::vector<ReceivedProposal> waiting_proposals() const;
  Status drop_proposal(View ref);
  bool has_pending_commit() const;

  // ---- Application messages. These allocate nothing but what `out` lacks in capacity.
  Status protect(View plaintext, View authenticated_data, Bytes& out);
  Result<Bytes> protect(View plaintext, View authenticated_data = {});
  // Refuses other messages with kWrongContentType.
  Status unprotect(View message, Bytes& plaintext, MessageInfo& info);

  // ---- Any message. kUnknownGroup, kEpochTooOld, kEpochInFuture tell what to do with one that is not for now.
  Result<Incoming> process(View message, uint64_t now_s);
  Result<ProcessOperation> start_process(View message, uint64_t now_s);
  // kWrongState if the group has moved on since. After a commit that removes us the group is inactive and
  // has no secrets.
  Status apply(StagedCommit&& commit);

  // ---- Proposals to others. Each is kept as waiting, too.
  Result<Bytes> propose_add(View key_package, uint64_t now_s, const MessageOptions& options = {});
  Result<Bytes> propose_update(const LeafChange& change = {}, const MessageOptions& options = {});
  Result<Bytes> propose_remove(LeafIndex leaf, const MessageOptions& options = {});
  Result<Bytes> propose_external_psk(View psk_id, const MessageOptions& options = {});
  Result<Bytes> propose_resumption_psk(uint64_t epoch, const MessageOptions& options = {});
  Result<Bytes> propose_extensions(Extensions extensions, const MessageOptions& options = {});
  Result<Bytes> propose_reinit(ReInitProposal reinit, const MessageOptions& options = {});
  Result<Bytes> propose_custom(UnknownProposal proposal, const MessageOptions& options = {});

  // ---- Own commits.
  Result<CommitResult> commit(const CommitOptions& options);
  Result<CommitOperation> start_commit(const CommitOptions& options);
  const CommitSummary* pending_commit() const;  // null if none waits
  Status accept_commit();
  Status refuse_commit();

  // ---- Secrets and exports.
  Result<SecretBytes> export_secret(std::string_view label, View context, size_t size) const;
  View epoch_authenticator() const;
  // Of the current or a kept former epoch.
  Result<Secret> resumption_psk(uint64_t epoch) const;
  Result<Bytes> group_info(const GroupInfoOptions& options = {}) const;  // MLSMessage
  Bytes export_tree() const;

  // ---- Snapshots: all that is needed to go on, in versioned bytes that hold secrets.
  // The whole state. save_changes() counts from here.
  SecretBytes save();
  // What changed since the last save() or save_changes(): after a sent or received message a few hundred bytes.
  // Must be stored before the message is sent. Apply in order on top of the whole.
  SecretBytes save_changes();
  static Result<Group> restore(const GroupConfig& config, View snapshot,
                               std::span<const View> changes = {});
  static Result<RestoreOperation> start_restore(const GroupConfig& config, View snapshot,
                                                std::span<const View> changes = {});

  size_t memory_bytes() const;  // of the public tree

 private:
  friend class JoinOperation;
  friend class CommitOperation;
  friend class ProcessOperation;
  friend class RestoreOperation;
  friend struct GroupAccess;
  explicit Group(std::unique_ptr<GroupState> state);
  std::unique_ptr<GroupState> state_;
};

struct ExternalJoin {
  Group group;
  Bytes commit;  // MLSMessage
};

// ---- Proposals from outside (12.1.8), as MLSMessage. `group_id` and `epoch` as in a GroupInfo.
struct ExternalProposalOptions {
  const Suite* suite = nullptr;
  View group_id;
  uint64_t epoch = 0;
  const SignatureKey* signer = nullptr;
  View authenticated_data;
};
// By the entry `sender_index` of the group's external_senders: Add, Remove, PSK, ReInit, extensions.
Result<Bytes> external_proposal(const ExternalProposalOptions& options, uint32_t sender_index,
                                const Proposal& proposal);
// By a client that asks to be added. The signer is that of the key package (an MLSMessage).
Result<Bytes> new_member_proposal(const ExternalProposalOptions& options, View key_package);

}  // namespace slipway::mls
