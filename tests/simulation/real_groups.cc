#include "real_groups.h"

#include <algorithm>
#include <charconv>
#include <cstring>
#include <map>
#include <utility>
#include <vector>

namespace slipway::sim {

mls::Status MlsRandom::fill_secret(mls::MutableView out) {
  for (std::size_t at = 0; at < out.size(); at += sizeof(std::uint64_t)) {
    const std::uint64_t value = random_.next64();
    std::memcpy(out.data() + at, &value, std::min(sizeof value, out.size() - at));
  }
  return {};
}

// subject:key in hex
SimIdentity::SimIdentity(std::string subject, mls::CipherSuite suite, mls::Random& random) : token_(std::move(subject)) {
  key_ = *mls::SignatureKey::generate(*mls::find_suite(suite), random);
  token_ += ':';
  for (const std::uint8_t byte : key_.public_key()) {
    constexpr std::string_view kDigits = "0123456789abcdef";
    token_ += kDigits[byte >> 4];
    token_ += kDigits[byte & 15];
  }
}

std::expected<TokenClaims, std::string> SimIdentity::verify(std::string_view token, TokenExpiry) {
  const auto colon = token.find(':');
  if (colon == std::string_view::npos) {
    return std::unexpected("no token");
  }
  TokenClaims claims{std::string(token.substr(0, colon)), {}};
  for (std::string_view digits = token.substr(colon + 1); digits.size() >= 2; digits.remove_prefix(2)) {
    std::uint8_t byte = 0;
    std::from_chars(digits.data(), digits.data() + 2, byte, 16);
    claims.public_key.push_back(byte);
  }
  return claims;
}

namespace {

// Writes down who is in each epoch that it makes; judges what it opens.
class WatchedGroup final : public SessionGroup {
 public:
  WatchedGroup(const Name& self, GroupIdentity& identity, mls::Random& random, GroupLog& log)
      : self_(self), identity_(identity), group_(identity, {.random = &random}), log_(log) {}

  std::expected<void, std::string> create() override { return noted(group_.create()); }
  std::expected<GroupCommit, std::string> add(std::span<const JoiningMember> members) override { return noted(group_.add(members)); }
  std::expected<GroupCommit, std::string> remove(const FullName& member) override { return noted(group_.remove(member)); }
  std::expected<GroupCommit, std::string> replace(const JoiningMember& member) override { return noted(group_.replace(member)); }
  std::expected<GroupCommit, std::string> refresh() override { return noted(group_.refresh()); }
  std::expected<SharedBytes, std::string> key_package() override { return group_.key_package(); }
  std::expected<void, std::string> join(const Bytes& welcome, std::span<const FullName> members) override {
    return entered(group_.join(welcome, members));
  }
  std::expected<CommitEffect, std::string> process(const Bytes& commit, std::span<const FullName> named) override {
    return entered(group_.process(commit, named));
  }
  [[nodiscard]] std::uint64_t epoch() const override { return group_.epoch(); }
  [[nodiscard]] SharedBytes save() override { return group_.save(); }
  std::expected<void, std::string> restore(const Bytes& saved) override { return entered(group_.restore(saved)); }
  std::expected<void, std::string> protect(SessionMessage& message) override { return group_.protect(message); }
  std::expected<std::uint64_t, std::string> unprotect(SessionMessage& message) override {
    auto opened = group_.unprotect(message);
    const auto secret = opened ? secrets_.find(*opened) : secrets_.end();  // not known of epochs from before a restart
    if (secret != secrets_.end() && (!log_.was_member(id(), secret->second, only_id(self_.id)) ||
                                     !log_.was_member(id(), secret->second, only_id(message.source.id())))) {
      log_.breach(message.source, self_, *opened);
    }
    return opened;
  }

 private:
  // A token says an id, not a service.
  static Name only_id(NameId id) { return {{}, id}; }
  [[nodiscard]] std::uint64_t id() const {
    return start_of(group_.group()->group_id());
  }
  static std::uint64_t start_of(mls::View bytes) {
    std::uint64_t start = 0;
    std::memcpy(&start, bytes.data(), std::min(sizeof start, bytes.size()));
    return start;
  }
  template <class Result>
  Result entered(Result result) {
    if (result && group_.group()->active()) {
      secrets_[group_.epoch()] = start_of(group_.group()->epoch_authenticator());
    }
    return result;
  }
  template <class Result>
  Result noted(Result result) {
    if (result) {
      std::vector<Name> members;
      const mls::Group& group = *group_.group();
      for (mls::LeafIndex leaf = 0; leaf < group.leaf_count(); ++leaf) {
        if (group.member(leaf)) {
          const auto claims = identity_.verify(mls::as_text(group.member(leaf)->credential_content()), TokenExpiry::kIgnore);
          members.push_back(only_id(id_of_identity(claims->subject)));
        }
      }
      log_.note(id(), start_of(group.epoch_authenticator()), std::move(members));
      return entered(std::move(result));
    }
    return result;
  }

  Name self_;
  GroupIdentity& identity_;
  MlsGroup group_;
  GroupLog& log_;
  std::map<std::uint64_t, std::uint64_t> secrets_;  // what tells an epoch from another of its number
};

}  // namespace

std::unique_ptr<SessionGroup> RealGroups::make() { return std::make_unique<WatchedGroup>(self_, identity_, random_, log_); }

}  // namespace slipway::sim
