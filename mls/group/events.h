// What comes out of a group when a message is processed.
#pragma once

#include <memory>
#include <optional>
#include <variant>
#include <vector>

#include "message/framed_content.h"
#include "tree/leaf.h"

namespace slipway::mls {

// Where a decrypted message came from. The leaf is the sender's at that epoch, checked when it entered
// the tree; `identity` is what Policy::identity makes of it and lives as long as the leaf.
struct MessageInfo {
  uint64_t epoch = 0;
  uint32_t generation = 0;
  LeafIndex sender = 0;
  LeafPtr leaf;
  View identity;
  View authenticated_data;  // points into the message that was passed in
};

struct ApplicationMessage {
  Bytes plaintext;
  Bytes authenticated_data;
  uint64_t epoch = 0;
  uint32_t generation = 0;
  LeafIndex sender = 0;
  LeafPtr leaf;
  Bytes identity;
};

// A proposal that was checked on its own and now waits for a commit. Whether it fits together with others
// only a commit tells.
struct ReceivedProposal {
  HashValue ref;
  Sender sender;
  std::shared_ptr<const Proposal> proposal;
  Bytes authenticated_data;
};

// Something that we sent ourselves came back. There is no key for it and nothing to do.
struct OwnMessage {
  ContentType type{};
};
// The commit that waits for its fate came back: the delivery service took it. Call accept_commit().
struct OwnCommit {};

struct MemberChange {
  LeafIndex index = 0;
  LeafPtr before;  // null: was added
  LeafPtr after;   // null: was removed
};

// What a commit does, to be read before it is applied.
struct CommitSummary {
  uint64_t epoch = 0;  // the new one
  Sender sender;       // member, or new_member_commit
  LeafIndex committer = 0;
  bool has_path = false;
  std::vector<MemberChange> added;
  std::vector<MemberChange> removed;
  std::vector<MemberChange> updated;  // the committer's new leaf among them
  std::optional<Extensions> extensions;  // new GroupContext extensions
  std::vector<PreSharedKeyId> psks;
  std::optional<ReInitProposal> reinit;
  std::vector<UnknownProposal> custom;
  std::vector<Bytes> proposal_refs;   // of waiting proposals that it takes up
  bool removes_me = false;
  Bytes authenticated_data;
};

struct StagedState;  // the next epoch, in full; group/staged.h

// A foreign commit, checked from end to end but not applied. Dropping it changes nothing. It fits only the
// group that made it, in the epoch in which it did.
class StagedCommit {
 public:
  StagedCommit();
  explicit StagedCommit(std::unique_ptr<StagedState> state);
  ~StagedCommit();
  StagedCommit(StagedCommit&&) noexcept;
  StagedCommit& operator=(StagedCommit&&) noexcept;

  const CommitSummary& summary() const;

 private:
  friend class Group;
  std::unique_ptr<StagedState> state_;
};

using Incoming = std::variant<ApplicationMessage, ReceivedProposal, StagedCommit, OwnMessage, OwnCommit>;

}  // namespace slipway::mls
