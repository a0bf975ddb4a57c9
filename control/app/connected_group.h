#pragma once
// A group that encrypts only while there is a way to the network. Each encryption uses up a key, and a receiver follows only so far
// ahead (upstream's: 1,024): repeating for seconds what cannot leave would lose it for good. The session repeats it later.

#include <functional>
#include <memory>
#include <utility>

#include "session/session_group.h"

namespace slipway {

class ConnectedGroup final : public SessionGroup {
 public:
  ConnectedGroup(std::unique_ptr<SessionGroup> group, const std::function<bool()>& connected)
      : group_(std::move(group)), connected_(connected) {}

  std::expected<void, std::string> create() override { return group_->create(); }
  std::expected<GroupCommit, std::string> add(std::span<const JoiningMember> members) override { return group_->add(members); }
  std::expected<GroupCommit, std::string> remove(const FullName& member) override { return group_->remove(member); }
  std::expected<GroupCommit, std::string> replace(const JoiningMember& member) override { return group_->replace(member); }
  std::expected<GroupCommit, std::string> refresh() override { return group_->refresh(); }
  std::expected<SharedBytes, std::string> key_package() override { return group_->key_package(); }
  std::expected<void, std::string> join(const Bytes& welcome, std::span<const FullName> members) override {
    return group_->join(welcome, members);
  }
  std::expected<CommitEffect, std::string> process(const Bytes& commit, std::span<const FullName> named) override {
    return group_->process(commit, named);
  }
  [[nodiscard]] std::uint64_t epoch() const override { return group_->epoch(); }
  [[nodiscard]] SharedBytes save() override { return group_->save(); }
  std::expected<void, std::string> restore(const Bytes& saved) override { return group_->restore(saved); }
  std::expected<void, std::string> protect(SessionMessage& message) override {
    if (!connected_()) {
      return std::unexpected("not connected");
    }
    return group_->protect(message);
  }
  std::expected<std::uint64_t, std::string> unprotect(SessionMessage& message) override { return group_->unprotect(message); }

 private:
  std::unique_ptr<SessionGroup> group_;
  const std::function<bool()>& connected_;
};

class ConnectedGroups final : public SessionGroupFactory {
 public:
  // `connected` is asked before each encryption.
  ConnectedGroups(SessionGroupFactory& groups, std::function<bool()> connected) : groups_(groups), connected_(std::move(connected)) {}
  std::unique_ptr<SessionGroup> make() override { return std::make_unique<ConnectedGroup>(groups_.make(), connected_); }

 private:
  SessionGroupFactory& groups_;
  std::function<bool()> connected_;
};

}  // namespace slipway
