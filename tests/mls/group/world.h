// Clients, groups and a seeded source of randomness for tests of groups.
#pragma once

#include <gtest/gtest.h>

#include <map>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "group/group.h"

namespace slipway::mls::testing {

inline constexpr uint64_t kNow_s = 1'700'000'000;

// Reproducible "random" bytes.
class SeededRandom final : public Random {
 public:
  explicit SeededRandom(uint64_t seed) : engine_(seed) {}
  Status fill_secret(MutableView out) override { return fill_public(out); }
  Status fill_public(MutableView out) override {
    for (uint8_t& byte : out) {
      byte = static_cast<uint8_t>(engine_());
    }
    return {};
  }
  // A number below `bound`.
  size_t below(size_t bound) { return static_cast<size_t>(engine_() % bound); }
  bool chance(size_t one_in) { return below(one_in) == 0; }

 private:
  std::mt19937_64 engine_;
};

class MapPsks final : public PskStore {
 public:
  std::optional<Secret> external_psk(View id) override {
    const auto found = external.find(to_bytes(id));
    return found == external.end() ? std::nullopt : std::optional<Secret>(Secret(found->second));
  }
  std::map<Bytes, Bytes> external;
};

// A client and, once it has one, its group.
struct Client {
  Client(const Suite& cipher_suite, Random& source, std::string client_name)
      : suite(&cipher_suite), random(&source), name(std::move(client_name)) {
    signer = std::move(*SignatureKey::generate(*suite, *random));
    config.random = random;
    config.psks = &psks;
    config.policy = &policy;
  }
  Client(const Client&) = delete;
  Client& operator=(const Client&) = delete;

  LeafOptions leaf_options() const {
    LeafOptions options;
    options.credential = basic_credential(as_view(name));
    options.capabilities = simple_capabilities({suite->id});
    options.capabilities.extensions = extension_types;
    options.capabilities.proposals = proposal_types;
    return options;
  }
  PrivateKeyPackage make_package() const {
    auto made = make_key_package(*suite, signer, leaf_options(), lifetime_from(kNow_s, 86400), *random);
    EXPECT_TRUE(made.has_value());
    return std::move(*made);
  }
  void create(Extensions extensions = {}) {
    CreateOptions options;
    options.suite = suite;
    options.signer = &signer;
    options.leaf = leaf_options();
    options.lifetime = lifetime_from(kNow_s, 86400);
    options.extensions = std::move(extensions);
    auto made = Group::create(config, options);
    ASSERT_TRUE(made.has_value()) << made.error().text;
    group = std::make_unique<Group>(std::move(*made));
  }
  Status join(const PrivateKeyPackage& package, View welcome, View tree = {},
              const Group* predecessor = nullptr) {
    const PrivateKeyPackage* packages[] = {&package};
    JoinOptions options;
    options.now_s = kNow_s;
    options.welcome = welcome;
    options.key_packages = packages;
    options.signer = &signer;
    options.predecessor = predecessor;
    if (!tree.empty()) {
      options.tree = tree;
    }
    auto joined = Group::join(config, options);
    if (!joined) {
      return fail(joined.error());
    }
    group = std::make_unique<Group>(std::move(*joined));
    return {};
  }

  const Suite* suite;
  Random* random;
  std::string name;
  SignatureKey signer;
  std::vector<ExtensionType> extension_types;
  std::vector<ProposalType> proposal_types;
  MapPsks psks;
  Policy policy;
  GroupConfig config;
  std::unique_ptr<Group> group;
};

inline CommitOptions commit_options() {
  CommitOptions options;
  options.now_s = kNow_s;
  return options;
}

// `committer` adds all of `joiners`, accepts its commit, and they join. Other members process it.
inline void add_all(Client& committer, const std::vector<Client*>& joiners,
                    const std::vector<Client*>& others = {}, CommitOptions options = commit_options()) {
  std::vector<PrivateKeyPackage> packages;
  for (const Client* joiner : joiners) {
    packages.push_back(joiner->make_package());
  }
  for (const PrivateKeyPackage& package : packages) {
    options.add.push_back(package.message);
  }
  auto made = committer.group->commit(options);
  ASSERT_TRUE(made.has_value()) << made.error().text;
  for (Client* other : others) {
    auto incoming = other->group->process(made->commit, kNow_s);
    ASSERT_TRUE(incoming.has_value()) << incoming.error().text;
    ASSERT_TRUE(other->group->apply(std::move(std::get<StagedCommit>(*incoming))).has_value());
  }
  ASSERT_TRUE(committer.group->accept_commit().has_value());
  for (size_t i = 0; i < joiners.size(); ++i) {
    const Status joined = joiners[i]->join(packages[i], made->welcome, made->tree);
    ASSERT_TRUE(joined.has_value()) << joined.error().text;
  }
}

// Processes a commit and applies it.
inline Status follow(Group& group, View commit) {
  MLS_ASSIGN(Incoming incoming, group.process(commit, kNow_s));
  auto* staged = std::get_if<StagedCommit>(&incoming);
  if (staged == nullptr) {
    return fail(ErrorCode::kWrongState, "following a commit: it was something else");
  }
  return group.apply(std::move(*staged));
}

}  // namespace slipway::mls::testing
