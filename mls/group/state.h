// What a Group holds. Internal to the folder; group/group.h is the interface.
#pragma once

#include <array>
#include <memory>
#include <optional>
#include <vector>

#include "group/group.h"
#include "key_schedule/epoch_secrets.h"
#include "key_schedule/framing.h"
#include "key_schedule/psk.h"
#include "key_schedule/secret_tree.h"
#include "key_schedule/transcript.h"
#include "tree/path.h"
#include "tree/tree_diff.h"

namespace slipway::mls {

// All that is new with each epoch but the tree, which changes by a diff.
struct EpochState {
  GroupContext context;
  Bytes encoded_context;
  HashValue interim_transcript_hash;
  HashValue confirmation_tag;
  EpochSecrets secrets;  // without encryption_secret, which `messages` took over
  SecretTree messages;
};

// A proposal on its way into a commit, or waiting for one.
struct Candidate {
  std::shared_ptr<const Proposal> proposal;
  Sender sender;
  bool by_reference = false;
  HashValue ref;            // by_reference only
  LeafPtr leaf;             // Add, Update
  bool verified = false;    // all signatures in it are known to be good
  Bytes authenticated_data; // of the message that brought it
};

// Private side of an own Update that waits.
struct OwnUpdate {
  HashValue ref;
  KemKey leaf_key;
  std::optional<SignatureKey> signer;
};

// What is kept of an epoch that has ended: enough to read its application messages.
struct PastEpoch {
  uint64_t epoch = 0;
  Bytes encoded_context;
  Secret sender_data_secret;
  SecretTree messages;
  // Leaves that the commit which ended it changed, as they were before.
  std::vector<std::pair<LeafIndex, LeafPtr>> replaced;
};

struct ResumptionSecret {
  uint64_t epoch = 0;
  Secret psk;
};

// A successor group (11.2, 11.3) ties itself to its predecessor in its first commit.
struct PredecessorLink {
  ResumptionPskUsage usage{};
  Bytes group_id;
  uint64_t epoch = 0;
  Secret psk;
};

// Marks an epoch of one group: staged commits and operations hold the token they were made under, and are
// void when the group has another.
using EpochToken = std::shared_ptr<const int>;

struct StagedState {
  explicit StagedState(const RatchetTree& tree) : diff(tree) {}

  EpochToken token;
  CommitSummary summary;
  TreeDiff diff;
  EpochState next;                     // empty if the commit removes us
  std::vector<NodeKey> keys;           // new private keys, ours and of ancestors
  std::optional<SignatureKey> signer;  // if our leaf has a new signature key
};

struct PendingCommit {
  std::unique_ptr<StagedState> staged;
  HashValue fingerprint;  // how its echo is recognised
};
// Of a commit's MLSMessage. It ends in a tag over all of it, so that its end stands for the whole.
HashValue commit_fingerprint(const Suite& suite, View message);

// Signature keys of members who send, imported: one object is as large as a member's whole state, so only a
// few are kept.
class SenderKeyCache {
 public:
  // Null, with the error in `status`, if the key cannot be imported.
  // To verify one more message. `hasten`: GroupConfig::hasten_senders.
  const SignaturePublicKey* get(const Suite& suite, LeafIndex index, const LeafPtr& leaf, bool hasten,
                                Status& status);

 private:
  struct Entry {
    LeafPtr leaf;
    SignaturePublicKey key;
    size_t uses = 0;
  };
  static constexpr size_t kHastenAfter = 512;  // messages: by then it pays
  std::unique_ptr<std::array<Entry, 64>> entries_;  // once somebody has sent
};

// What changed since the last save, for Group::save_changes.
struct ChangeLog {
  static constexpr size_t kMaxRatchets = 512;
  struct Ratchet {
    uint64_t epoch;
    LeafIndex leaf;
    RatchetKind kind;
    friend bool operator==(const Ratchet&, const Ratchet&) = default;
  };
  std::vector<Ratchet> ratchets;
  bool waiting = false;  // proposals, own updates, the pending commit
  bool whole = true;     // everything

  void note(const Ratchet& ratchet);
  void clear();
};

struct GroupState {
  GroupState(const GroupConfig& configuration, const Suite& cipher_suite);

  GroupConfig config;
  Policy* policy;
  Random* random;
  const Suite* suite;
  RatchetTree tree;
  PrivatePath keys;
  SignatureKey signer;
  EpochState now;
  bool active = true;
  std::optional<ReInitProposal> reinit;
  std::vector<Candidate> waiting;
  std::vector<OwnUpdate> own_updates;
  std::optional<PendingCommit> pending;
  std::vector<PastEpoch> past;  // oldest first; a few
  std::vector<ResumptionSecret> resumption;  // the current epoch's last
  std::optional<PredecessorLink> predecessor;
  KeyIndex clients;  // of Policy::client_id, where that is not empty
  EpochToken token = std::make_shared<int>(0);
  SenderKeyCache sender_keys;
  ChangeLog changes;
  Bytes scratch;  // for unprotect

  LeafIndex self() const { return keys.leaf(); }
  uint64_t epoch() const { return now.context.epoch; }
  View group_id() const { return now.context.group_id; }
  const Limits& limits() const { return config.limits; }
  // The member that stood at `index` in a kept epoch; null if none did.
  LeafPtr leaf_at(uint64_t epoch, LeafIndex index) const;
  PastEpoch* past_epoch(uint64_t epoch);
  Status check_active() const;
  // Puts the leaf's client, if it has one, into the index of clients.
  void index_client(LeafIndex leaf);
};

// The policy that has every default.
Policy& default_policy();

// ---- group/epoch.cc

struct ResolvedPsks {
  std::vector<PreSharedKeyId> ids;
  std::vector<Secret> secrets;
  Secret fold(const Suite& suite) const;
};
// Finds the secrets of the ids: in the group (if there is one), then in the caller's store. kMissingPsk.
Status resolve_psks(const GroupState* group, PskStore* store, std::vector<PreSharedKeyId> ids,
                    ResolvedPsks& out);
// Forms of ids that a Proposal in a commit may have: nonce of Nh bytes, no reinit or branch. kInvalidPsk.
Status check_psk_id(const Suite& suite, const PreSharedKeyId& id);

struct NextEpoch {
  EpochState state;
  Secret joiner_secret;
  Secret welcome_secret;
};
// The key schedule across a commit (8). `context` is the new one, complete.
NextEpoch next_epoch(const Suite& suite, GroupContext context, Secret init_secret,
                     Secret commit_secret, const Secret& psk_secret, uint32_t tree_width,
                     const Limits& limits);
// The state of an epoch whose secrets are known.
EpochState epoch_state(const Suite& suite, GroupContext context, EpochSecrets secrets,
                       uint32_t tree_width, const Limits& limits);

// Puts a staged commit in place. It was made under the group's current token.
void apply_staged(GroupState& group, StagedState&& staged);

// ---- group/leaf_rules.cc

// What a group's context asks of each leaf, decoded once.
struct GroupRules {
  const Extensions* extensions = nullptr;
  RequiredCapabilities required;
};
Result<GroupRules> rules_of(const Extensions& extensions, const Limits& limits);
// Leaf against the rules, and against the caller's policy (7.3). Not its signature, not its neighbours.
Status check_leaf(const GroupState& group, const GroupRules& rules, const LeafCheck& check);
// The part without policy and lifetime.
Status check_capabilities(const GroupRules& rules, const Leaf& leaf);
// Changed leaves of a diff against all others: credential types that each side supports, one leaf for each
// client. kInvalidLeafNode, kKeyReuse.
Status check_neighbours(const GroupState& group, const TreeDiff& diff);
// In steps. Group and diff stay as they are.
class NeighbourCheck {
 public:
  NeighbourCheck(const GroupState& group, const TreeDiff& diff)
      : group_(group), diff_(diff), before_(diff.base()) {}
  Result<bool> step(Budget& budget);

 private:
  Status check(LeafIndex index, const Leaf& leaf, Budget& budget);

  const GroupState& group_;
  const TreeDiff& diff_;
  TreeDiff before_;
  std::vector<CredentialType> asked_;
  KeyIndex fresh_;
  size_t next_ = 0;
};
// The same for one leaf that is about to enter a diff at `index`, of which clients in `fresh` came before.
Status check_newcomer(const GroupState& group, const TreeDiff& diff, const KeyIndex& fresh,
                      LeafIndex index, const Leaf& leaf);
inline constexpr LeafIndex kNoLeaf = 0xffffffff;
// Extensions that are to become the group's: known ones decode, external senders are acceptable.
Status check_group_extensions(const GroupState& group, const Extensions& extensions, uint64_t now_s);

// ---- group/send.cc

// Signs content as `wire_format` under the current epoch; the content's body is encoded.
Result<Signature> sign_own(const GroupState& group, const SignatureKey& signer,
                           WireFormat wire_format, const ContentView& content);
// Makes the MLSMessage of a handshake message of ours. Uses up a handshake key for PrivateMessage.
Status write_handshake(GroupState& group, WireFormat wire_format, const ContentView& content,
                       const AuthView& auth, Bytes& out);
ContentView own_content(const GroupState& group, ContentType type, View body, View authenticated_data);
// A fresh leaf of ours after `change`, with everything but key, source, parent hash and signature set.
Result<LeafNode> changed_own_leaf(const LeafNode& before, const LeafChange& change);
Status sign_leaf(const Suite& suite, const SignatureKey& signer, LeafNode& leaf, View group_id,
                 LeafIndex index);
Status check_leaf_options(const Capabilities& capabilities, const Extensions& extensions,
                          const Credential& credential);

// ---- group/group_info.cc

// GroupInfoTBS, with room for a signature behind it. Empty views are left out. `tree` and `external_pub` become
// extensions.
Result<Bytes> write_group_info(const EpochState& epoch, View tree, View external_pub,
                               const Extensions& more, LeafIndex signer_leaf);
void append_signature(Bytes& group_info, View signature);

// ---- group/commit_operation.cc

// Of a commit by which we join.
struct ExternalPart {
  Bytes kem_output;
  Secret init_secret;
  LeafOptions leaf;
};
// Makes, in one go, the external commit of a state that is no member yet, and makes it one.
Result<Bytes> commit_externally(GroupState& group, ExternalPart external,
                                const CommitOptions& options);

// One member's view for building others: used where files of this folder need a Group's inside.
struct GroupAccess {
  static GroupState& state(Group& group) { return *group.state_; }
  static const GroupState& state(const Group& group) { return *group.state_; }
  static Group make(std::unique_ptr<GroupState> state) { return Group(std::move(state)); }
};

}  // namespace slipway::mls
