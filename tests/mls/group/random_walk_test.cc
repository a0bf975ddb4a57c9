// Random walks: a seed gives a group, and a run of everything that can happen to it. After each step all
// members agree, an independent checker has been over the tree, and a stranger could join.
//
// SLIPWAY_MLS_WALKS sets how many seeds are run, SLIPWAY_MLS_WALK one seed to be played again.
#include <cstdlib>

#include "tree_oracle.h"
#include "world.h"

namespace slipway::mls {
namespace {

using testing::Client;
using testing::commit_options;
using testing::kNow_s;
using testing::SeededRandom;

constexpr size_t kDefaultWalks = 200;
constexpr size_t kSteps = 12;

struct Delayed {
  Bytes message;
  Bytes plaintext;
  Client* sender;
  uint64_t epoch;
  std::vector<Client*> to;
};

class Walk {
 public:
  explicit Walk(uint64_t seed) : random_(seed) {
    const CipherSuite suites[] = {CipherSuite::kX25519Aes128Sha256Ed25519,
                                  CipherSuite::kP256Aes128Sha256P256,
                                  CipherSuite::kX25519ChaCha20Sha256Ed25519};
    suite_ = find_suite(random_.chance(40) ? CipherSuite::kP521Aes256Sha512P521 : suites[random_.below(3)]);
    const size_t kind = random_.below(40);
    size_max_ = kind == 0 ? 50 : kind < 4 ? 20 : 8;
    Client& creator = new_client();
    creator.create();
    members_.push_back(&creator);
  }

  void run() {
    add_by_value(random_.below(2) + 1 + (size_max_ > 20 ? 30 : 0));
    for (size_t step = 0; step < kSteps && !::testing::Test::HasFatalFailure(); ++step) {
      do_step();
      if (::testing::Test::HasFatalFailure()) {
        return;
      }
      check_agreement();
      exchange_messages();
    }
    deliver_delayed();
  }

 private:
  Client& new_client() {
    clients_.push_back(
        std::make_unique<Client>(*suite_, random_, "client " + std::to_string(clients_.size())));
    Client& made = *clients_.back();
    made.proposal_types = {static_cast<ProposalType>(0xf001)};
    made.psks.external[to_bytes(as_view("psk"))] = Bytes(32, 7);
    return made;
  }
  Client& any() { return *members_[random_.below(members_.size())]; }
  MessageOptions message_options() {
    MessageOptions options;
    options.wire_format =
        random_.chance(2) ? WireFormat::kPublicMessage : WireFormat::kPrivateMessage;
    options.now_s = kNow_s;
    return options;
  }
  CommitOptions options() {
    CommitOptions made = commit_options();
    made.message = message_options();
    made.tree_in_welcome = !random_.chance(3);
    made.force_path = random_.chance(4);
    return made;
  }

  void do_step() {
    switch (random_.below(13)) {
      case 0:
      case 1: add_by_value(1 + random_.below(3)); break;
      case 2:
      case 3: remove_by_value(); break;
      case 4:
      case 5: commit_from(any(), options()); break;
      case 6:
      case 7: propose_some(); commit_from(any(), options()); break;
      case 8: join_externally(); break;
      case 9: resync(); break;
      case 10: change_extensions(); break;
      case 11: rotate_signer(); break;
      case 12: mixed(); break;
    }
  }

  void add_by_value(size_t count) {
    while (members_.size() + count > size_max_ && count > 1) {
      --count;
    }
    if (members_.size() + count > size_max_) {
      return remove_by_value();
    }
    CommitOptions made = options();
    std::vector<Client*> joiners;
    std::vector<PrivateKeyPackage> packages;
    for (size_t i = 0; i < count; ++i) {
      joiners.push_back(&new_client());
      packages.push_back(joiners.back()->make_package());
    }
    for (const PrivateKeyPackage& package : packages) {
      made.add.push_back(package.message);
    }
    commit_from(any(), made, joiners, packages);
  }

  void remove_by_value() {
    CommitOptions made = options();
    Client& committer = any();
    if (members_.size() > 1) {
      Client& gone = any();
      if (&gone != &committer) {
        made.remove.push_back(gone.group->own_leaf());
      }
    }
    commit_from(committer, made);
  }

  // Adds, removes, PSKs and a custom proposal in one commit, where a joiner may take a blanked leaf.
  void mixed() {
    Client& committer = any();
    CommitOptions made = options();
    Client& gone = any();
    if (&gone != &committer) {
      made.remove.push_back(gone.group->own_leaf());
    }
    made.external_psks.push_back(to_bytes(as_view("psk")));
    made.custom.push_back({static_cast<ProposalType>(0xf001), Bytes{1, 2, 3}});
    Client& joiner = new_client();
    std::vector<PrivateKeyPackage> packages;
    packages.push_back(joiner.make_package());
    made.add.push_back(packages[0].message);
    commit_from(committer, made, {&joiner}, packages);
  }

  // Proposals by reference; each is delivered to all but its sender, some twice.
  void propose_some() {
    const size_t count = 1 + random_.below(4);
    for (size_t i = 0; i < count; ++i) {
      Client& proposer = any();
      Result<Bytes> message = fail(ErrorCode::kWrongState, "");
      switch (random_.below(4)) {
        case 0:
        case 1: message = proposer.group->propose_update({}, message_options()); break;
        case 2: message = proposer.group->propose_remove(any().group->own_leaf(), message_options()); break;
        case 3:
          message = proposer.group->propose_external_psk(as_view("psk"), message_options());
          break;
      }
      ASSERT_TRUE(message.has_value()) << message.error().text;
      for (Client* member : members_) {
        if (member == &proposer) {
          auto own = member->group->process(*message, kNow_s);
          ASSERT_TRUE(own.has_value()) << own.error().text;
          EXPECT_TRUE(std::holds_alternative<OwnMessage>(*own));
          continue;
        }
        auto received = member->group->process(*message, kNow_s);
        ASSERT_TRUE(received.has_value()) << received.error().text;
        EXPECT_TRUE(std::holds_alternative<ReceivedProposal>(*received));
        if (random_.chance(4)) {
          (void)member->group->process(*message, kNow_s);
        }
      }
    }
  }

  void join_externally() {
    if (members_.size() >= size_max_) {
      return remove_by_value();
    }
    Client& joiner = new_client();
    external_commit(joiner, std::nullopt);
  }

  void resync() {
    Client& lost = any();
    if (members_.size() < 2) {
      return;
    }
    // A new signature key, as after a loss of state: the old leaf holds the old one.
    external_commit(lost, lost.group->own_leaf());
  }

  void external_commit(Client& joiner, std::optional<LeafIndex> remove) {
    Client* helper = &any();
    while (helper == &joiner) {
      helper = &any();
    }
    auto info = helper->group->group_info();
    ASSERT_TRUE(info.has_value());
    ExternalJoinOptions made;
    made.now_s = kNow_s;
    made.group_info = *info;
    made.signer = &joiner.signer;
    made.leaf = joiner.leaf_options();
    made.remove = remove;
    auto joined = Group::join_external(joiner.config, made);
    ASSERT_TRUE(joined.has_value()) << joined.error().text;
    for (Client* member : members_) {
      if (member != &joiner) {
        const Status followed = testing::follow(*member->group, joined->commit);
        ASSERT_TRUE(followed.has_value()) << followed.error().text;
      }
    }
    if (!remove) {
      members_.push_back(&joiner);
    }
    joiner.group = std::make_unique<Group>(std::move(joined->group));
    drop_delayed_for(joiner);
  }

  void change_extensions() {
    CommitOptions made = options();
    RequiredCapabilities required;
    required.credential_types = {CredentialType::kBasic};
    made.extensions = Extensions{{ExtensionType::kRequiredCapabilities, encode(required)}};
    commit_from(any(), made);
  }

  void rotate_signer() {
    Client& committer = any();
    auto fresh = SignatureKey::generate(*suite_, random_);
    ASSERT_TRUE(fresh.has_value());
    CommitOptions made = options();
    made.leaf.emplace();
    made.leaf->signer = &*fresh;
    commit_from(committer, made);
    committer.signer = std::move(*fresh);
  }

  void commit_from(Client& committer, const CommitOptions& made, std::vector<Client*> joiners = {},
                   const std::vector<PrivateKeyPackage>& packages = {}) {
    if (random_.chance(5)) {
      // A first try that the delivery service refuses.
      auto refused = committer.group->commit(made);
      ASSERT_TRUE(refused.has_value()) << refused.error().text;
      ASSERT_TRUE(committer.group->refuse_commit().has_value());
    }
    if (random_.chance(5)) {
      save_and_restore(committer);
    }
    auto result = committer.group->commit(made);
    ASSERT_TRUE(result.has_value()) << result.error().text;
    if (random_.chance(5)) {
      save_and_restore(committer);  // with the commit waiting
    }
    deliver(committer, *result);
    if (::testing::Test::HasFatalFailure()) {
      return;
    }
    for (size_t i = 0; i < joiners.size(); ++i) {
      const Status joined = joiners[i]->join(packages[i], result->welcome, result->tree);
      ASSERT_TRUE(joined.has_value()) << joined.error().text;
      members_.push_back(joiners[i]);
    }
  }

  void deliver(Client& committer, const CommitResult& result) {
    std::vector<Client*> left;
    for (Client* member : members_) {
      Group& group = *member->group;
      auto incoming = group.process(result.commit, kNow_s);
      ASSERT_TRUE(incoming.has_value()) << member->name << ": " << incoming.error().text;
      if (member == &committer) {
        ASSERT_TRUE(std::holds_alternative<OwnCommit>(*incoming));
        ASSERT_TRUE(group.accept_commit().has_value());
        continue;
      }
      if (random_.chance(6)) {
        incoming = group.process(result.commit, kNow_s);  // the first was dropped
        ASSERT_TRUE(incoming.has_value()) << incoming.error().text;
      }
      auto& staged = std::get<StagedCommit>(*incoming);
      const bool gone = staged.summary().removes_me;
      EXPECT_EQ(staged.summary().epoch, result.epoch);
      ASSERT_TRUE(group.apply(std::move(staged)).has_value());
      EXPECT_EQ(group.active(), !gone);
      if (gone) {
        left.push_back(member);
      } else if (random_.chance(6)) {
        auto again = group.process(result.commit, kNow_s);
        ASSERT_FALSE(again.has_value());
        EXPECT_EQ(again.error().code, ErrorCode::kEpochTooOld);
      }
    }
    for (Client* member : left) {
      drop_delayed_for(*member);
      std::erase(members_, member);
    }
  }

  void save_and_restore(Client& client) {
    const SecretBytes whole = client.group->save();
    std::vector<SecretBytes> changes;
    if (random_.chance(2)) {
      Bytes out;
      ASSERT_TRUE(client.group->protect(as_view("lost"), {}, out).has_value());
      changes.push_back(client.group->save_changes());
    }
    std::vector<View> views(changes.begin(), changes.end());
    auto restored = Group::restore(client.config, whole, views);
    ASSERT_TRUE(restored.has_value()) << restored.error().text;
    *client.group = std::move(*restored);
  }

  void check_agreement() {
    const Group& first = *members_[0]->group;
    auto exported = first.export_secret("test", as_view("context"), 32);
    ASSERT_TRUE(exported.has_value());
    const Bytes tree = first.export_tree();
    for (Client* member : members_) {
      const Group& group = *member->group;
      ASSERT_TRUE(equal(group.epoch_authenticator(), first.epoch_authenticator())) << member->name;
      ASSERT_TRUE(equal(group.tree_hash(), first.tree_hash()));
      ASSERT_EQ(group.export_tree(), tree);
      auto other = group.export_secret("test", as_view("context"), 32);
      ASSERT_TRUE(other.has_value());
      ASSERT_TRUE(equal_secret(*other, *exported));
      ASSERT_EQ(group.member_count(), members_.size());
    }
    const testing::TreeVerdict verdict = testing::check_encoded_tree(*suite_, tree);
    ASSERT_EQ(verdict.complaint, "");
    ASSERT_TRUE(equal(verdict.root_hash, first.tree_hash()));
    stranger_could_join(any());
  }

  // Validates the whole tree as a joiner, without the group noticing.
  void stranger_could_join(Client& helper) {
    Client stranger(*suite_, random_, "stranger");
    stranger.proposal_types = {static_cast<ProposalType>(0xf001)};
    auto info = helper.group->group_info();
    ASSERT_TRUE(info.has_value());
    ExternalJoinOptions made;
    made.now_s = kNow_s;
    made.group_info = *info;
    made.signer = &stranger.signer;
    made.leaf = stranger.leaf_options();
    auto joined = Group::join_external(stranger.config, made);
    ASSERT_TRUE(joined.has_value()) << joined.error().text;
  }

  // Some messages come at once, some late and out of order, some twice, some never.
  void exchange_messages() {
    const size_t count = random_.below(4);
    for (size_t i = 0; i < count; ++i) {
      Client& sender = any();
      Delayed message;
      message.plaintext.resize(random_.below(100));
      (void)random_.fill_public(message.plaintext);
      message.sender = &sender;
      message.epoch = sender.group->epoch();
      ASSERT_TRUE(
          sender.group->protect(message.plaintext, as_view("aad"), message.message).has_value());
      for (Client* member : members_) {
        if (member != &sender) {
          message.to.push_back(member);
        }
      }
      if (!random_.chance(5)) {
        delayed_.push_back(std::move(message));
      }
    }
    while (delayed_.size() > 4) {
      deliver_one(random_.below(delayed_.size()));
      if (::testing::Test::HasFatalFailure()) {
        return;
      }
    }
  }

  void deliver_delayed() {
    while (!delayed_.empty() && !::testing::Test::HasFatalFailure()) {
      deliver_one(delayed_.size() - 1);
    }
  }

  void deliver_one(size_t index) {
    const Delayed message = std::move(delayed_[index]);
    delayed_.erase(delayed_.begin() + static_cast<ptrdiff_t>(index));
    for (Client* member : message.to) {
      Bytes plaintext;
      MessageInfo info;
      const Status opened = member->group->unprotect(message.message, plaintext, info);
      if (member->group->epoch() > message.epoch + kDefaultLimits.past_epochs) {
        ASSERT_FALSE(opened.has_value());
        EXPECT_EQ(opened.error().code, ErrorCode::kEpochTooOld);
        continue;
      }
      ASSERT_TRUE(opened.has_value()) << opened.error().text;
      EXPECT_EQ(plaintext, message.plaintext);
      EXPECT_EQ(as_text(info.identity), message.sender->name);
      EXPECT_EQ(as_text(info.authenticated_data), "aad");
      const Status again = member->group->unprotect(message.message, plaintext, info);
      ASSERT_FALSE(again.has_value());
      EXPECT_EQ(again.error().code, ErrorCode::kGenerationGone);
    }
  }

  void drop_delayed_for(Client& client) {
    for (Delayed& message : delayed_) {
      std::erase(message.to, &client);
    }
  }

  SeededRandom random_;
  const Suite* suite_;
  size_t size_max_;
  std::vector<std::unique_ptr<Client>> clients_;
  std::vector<Client*> members_;
  std::vector<Delayed> delayed_;
};

uint64_t number_from(const char* variable, uint64_t otherwise) {
  const char* text = std::getenv(variable);
  return text != nullptr ? std::strtoull(text, nullptr, 10) : otherwise;
}

TEST(RandomWalk, MembersAgree) {
  const uint64_t only = number_from("SLIPWAY_MLS_WALK", 0);
  const uint64_t count = number_from("SLIPWAY_MLS_WALKS", kDefaultWalks);
  const uint64_t from = only != 0 ? only : 1;
  const uint64_t to = only != 0 ? only : count;
  for (uint64_t seed = from; seed <= to; ++seed) {
    SCOPED_TRACE("SLIPWAY_MLS_WALK=" + std::to_string(seed));
    Walk walk(seed);
    walk.run();
    if (::testing::Test::HasFailure()) {
      return;
    }
  }
}

}  // namespace
}  // namespace slipway::mls
