#pragma once
// A group that behaves as MLS does and costs next to nothing: epochs, leaves, commits, welcomes, key packages that open once,
// ciphertexts that open once, keys of a few past epochs. It refuses what MLS refuses: other epochs, removed members,
// senders that were none in the message's epoch, headers that changed, ciphertexts seen before.
//
// Members share nothing but bytes. No secrecy: the "keys" lie in the messages in the clear.

#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <set>
#include <tuple>
#include <utility>
#include <vector>

#include "session/session_group.h"
#include "sim_random.h"

namespace slipway::sim {

// Who was in each epoch of each group, written down by whoever committed: what decryptions are checked against. Epochs are told
// apart by their secrets: a moderator that forgot its last commit makes another epoch of the same number.
class GroupLog {
 public:
  void note(std::uint64_t group, std::uint64_t secret, std::vector<Name> members) { log_[{group, secret}] = std::move(members); }
  [[nodiscard]] bool was_member(std::uint64_t group, std::uint64_t secret, const Name& name) const;
  // Whoever encrypts says which of its keys it takes: each serves once.
  void encrypted(std::uint64_t secret, std::uint64_t leaf, std::uint64_t generation);
  // Somebody decrypted what was not for it, or from who was none.
  void breach(const FullName& source, const Name& reader, std::uint64_t epoch);
  [[nodiscard]] const std::string& breaches() const { return breaches_; }

 private:
  std::map<std::pair<std::uint64_t, std::uint64_t>, std::vector<Name>> log_;
  std::set<std::tuple<std::uint64_t, std::uint64_t, std::uint64_t>> used_;
  std::string breaches_;
};

class FakeGroup final : public SessionGroup {
 public:
  static constexpr std::size_t kKeptEpochs = 4;

  // `refusals`: of the commits asked for, this share is refused for no reason; null: none.
  FakeGroup(const FullName& self, std::uint64_t seed, GroupLog* log = nullptr, const double* refusals = nullptr)
      : self_(self.hashed()), random_(seed), log_(log), refusals_(refusals) {}

  std::expected<void, std::string> create() override;
  std::expected<GroupCommit, std::string> add(std::span<const JoiningMember> members) override;
  std::expected<GroupCommit, std::string> remove(const FullName& member) override;
  std::expected<GroupCommit, std::string> replace(const JoiningMember& member) override;
  std::expected<GroupCommit, std::string> refresh() override;
  std::expected<SharedBytes, std::string> key_package() override;
  std::expected<void, std::string> join(const Bytes& welcome, std::span<const FullName> members) override;
  std::expected<CommitEffect, std::string> process(const Bytes& commit, std::span<const FullName> named) override;
  [[nodiscard]] std::uint64_t epoch() const override { return epochs_.empty() ? 0 : epochs_.back().number; }
  [[nodiscard]] SharedBytes save() override;
  std::expected<void, std::string> restore(const Bytes& saved) override;
  std::expected<void, std::string> protect(SessionMessage& message) override;
  std::expected<std::uint64_t, std::string> unprotect(SessionMessage& message) override;

 private:
  struct Leaf {
    Name name;
    std::uint64_t key;
  };
  struct Epoch {
    std::uint64_t number;
    std::uint64_t secret;
    std::vector<Leaf> leaves;
  };
  struct Change {
    std::vector<Leaf> out;
    std::vector<Leaf> in;
  };
  std::expected<GroupCommit, std::string> commit(Change change, bool welcome);
  void enter(Epoch epoch);
  void log();
  [[nodiscard]] bool refuses() { return refusals_ != nullptr && *refusals_ > 0 && random_.chance(*refusals_); }
  [[nodiscard]] const Leaf* leaf_of(const Epoch& epoch, const Name& name) const;

  Name self_;
  Random random_;
  GroupLog* log_;
  const double* refusals_;
  std::uint64_t group_id_ = 0;
  std::uint64_t own_key_ = 0;
  std::uint64_t generation_ = 0;
  bool removed_ = false;
  std::deque<Epoch> epochs_;                 // the last is current
  std::vector<std::uint64_t> key_packages_;  // given out, unused
  std::set<std::tuple<std::uint64_t, std::uint64_t, std::uint64_t>> opened_;  // epoch, leaf, generation
};

class FakeGroups final : public SessionGroupFactory {
 public:
  FakeGroups(const FullName& self, std::uint64_t seed, GroupLog* log = nullptr) : self_(self), random_(seed), log_(log) {}
  std::unique_ptr<SessionGroup> make() override { return std::make_unique<FakeGroup>(self_, random_.next64(), log_, &refusals); }

  double refusals = 0;  // of all its groups

 private:
  FullName self_;
  Random random_;
  GroupLog* log_;
};

}  // namespace slipway::sim
