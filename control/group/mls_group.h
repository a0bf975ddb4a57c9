#pragma once
// The MLS group of a session: session_group.h over mls/, with the profile that upstream's endpoints use (upstream-session 10).
//
// The moderator's leaf is made at `create`, which the session calls at its first invite, so that the token in it is fresh; each
// commit with a path carries a fresh token too. A token must be renewed before it expires, or upstream's receivers of 3.4 drop our
// data: call refresh_keys of the session at half of its validity at the latest.
//
// A ciphertext opens only with the headers that it was made with and from the name that its leaf's token belongs to. Headers are
// compared before any key is touched: a copy with other headers uses nothing up.

#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "group/group.h"
#include "group/group_identity.h"
#include "group/mls_policy.h"
#include "session/session_group.h"

namespace slipway {

struct MlsGroupOptions {
  // Refuse expired tokens of members that were there before us. Upstream does; then nobody can join an hour-old group.
  bool strict_expiry = false;
  // Commits, welcomes and their processing are done in steps of about so many public-key operations; between two steps this is
  // called, so that a thread with other duties can see to them. It must not call into the session or its group. The endpoint
  // library calls it between commands that it sends, too.
  std::function<void()> between_steps;
  std::size_t step_operations = 4;
  mls::Random* random = nullptr;      // null: the system's
  mls::Parallel* parallel = nullptr;  // null: one thread
  bool hasten_senders = false;        // members who send much are verified in half the time, at the price of a pause: mls/group/policy.h
};

class MlsGroup final : public SessionGroup {
 public:
  // The identity outlives the group.
  MlsGroup(GroupIdentity& identity, const MlsGroupOptions& options);

  std::expected<void, std::string> create() override;
  std::expected<GroupCommit, std::string> add(std::span<const JoiningMember> members) override;
  std::expected<GroupCommit, std::string> remove(const FullName& member) override;
  std::expected<GroupCommit, std::string> replace(const JoiningMember& member) override;
  std::expected<GroupCommit, std::string> refresh() override;
  std::expected<SharedBytes, std::string> key_package() override;
  std::expected<void, std::string> join(const Bytes& welcome, std::span<const FullName> members) override;
  std::expected<CommitEffect, std::string> process(const Bytes& commit, std::span<const FullName> named) override;
  [[nodiscard]] std::uint64_t epoch() const override { return group_ ? group_->epoch() : 0; }
  // Whole snapshots: as many bytes as the group is large. The own signature key is in there; after restore the first refresh puts the
  // identity's in its place, should that be another by now.
  [[nodiscard]] SharedBytes save() override;
  std::expected<void, std::string> restore(const Bytes& saved) override;
  std::expected<void, std::string> protect(SessionMessage& message) override;
  std::expected<std::uint64_t, std::string> unprotect(SessionMessage& message) override;

  // For those who look: null before create or join.
  [[nodiscard]] const mls::Group* group() const { return group_ ? &*group_ : nullptr; }

 private:
  struct Sender {
    mls::LeafPtr leaf;
    NameId id;
  };
  [[nodiscard]] mls::LeafOptions own_leaf();
  [[nodiscard]] mls::LeafChange fresh_leaf();
  // The first of them that belongs to nobody who is listed, or nothing.
  [[nodiscard]] std::optional<mls::LeafIndex> stranger_among(std::span<const mls::MemberChange> leaves, std::span<const FullName> listed);
  static std::unexpected<std::string> stranger(const std::string& doing, mls::LeafIndex leaf);
  [[nodiscard]] std::optional<mls::LeafIndex> leaf_of(NameId owner);
  [[nodiscard]] NameId owner_at(mls::LeafIndex index, const mls::LeafPtr& leaf);
  std::expected<void, std::string> check_joiner(const JoiningMember& member);
  std::expected<GroupCommit, std::string> commit(mls::CommitOptions options, const std::string& doing);
  template <class Operation>
  mls::Status run(Operation& operation);
  [[nodiscard]] std::unexpected<std::string> failed(const std::string& doing, const mls::Error& error);

  GroupIdentity& identity_;
  MlsGroupOptions options_;
  const mls::Suite* suite_;
  std::unique_ptr<MlsPolicy> policy_;  // the group points to it
  mls::GroupConfig config_;
  std::optional<mls::Group> group_;
  std::vector<std::unique_ptr<mls::PrivateKeyPackage>> key_packages_;  // given out, unused
  std::vector<Sender> senders_;                                        // by leaf: whom its token belongs to
  mls::Bytes scratch_;
};

class MlsGroups final : public SessionGroupFactory {
 public:
  MlsGroups(GroupIdentity& identity, MlsGroupOptions options) : identity_(identity), options_(std::move(options)) {}
  std::unique_ptr<SessionGroup> make() override { return std::make_unique<MlsGroup>(identity_, options_); }

 private:
  GroupIdentity& identity_;
  MlsGroupOptions options_;
};

}  // namespace slipway
