// What groups can do, one thing a test.
#include <atomic>
#include <thread>

#include "group/state.h"
#include "world.h"

namespace slipway::mls {
namespace {

using testing::add_all;
using testing::Client;
using testing::commit_options;
using testing::follow;
using testing::kNow_s;
using testing::SeededRandom;

class GroupTest : public ::testing::Test {
 protected:
  Client& client(const std::string& name, CipherSuite suite = CipherSuite::kX25519Aes128Sha256Ed25519) {
    clients_.push_back(std::make_unique<Client>(*find_suite(suite), random_, name));
    return *clients_.back();
  }
  // `from` sends, `to` reads.
  void expect_talk(Client& from, Client& to) {
    auto message = from.group->protect(as_view("hello"), as_view("aad"));
    ASSERT_TRUE(message.has_value()) << message.error().text;
    auto incoming = to.group->process(*message, kNow_s);
    ASSERT_TRUE(incoming.has_value()) << incoming.error().text;
    const auto& received = std::get<ApplicationMessage>(*incoming);
    EXPECT_EQ(as_text(received.plaintext), "hello");
    EXPECT_EQ(as_text(received.identity), from.name);
  }

  SeededRandom random_{1};
  std::vector<std::unique_ptr<Client>> clients_;
};

TEST_F(GroupTest, EverySuiteHoldsAConversation) {
  for (const Suite& suite : all_suites()) {
    SCOPED_TRACE(suite.name);
    Client& a = client("a", suite.id);
    Client& b = client("b", suite.id);
    Client& c = client("c", suite.id);
    a.create();
    add_all(a, {&b});
    add_all(b, {&c}, {&a});
    CommitOptions update = commit_options();
    update.force_path = true;
    auto made = c.group->commit(update);
    ASSERT_TRUE(made.has_value()) << made.error().text;
    ASSERT_TRUE(follow(*a.group, made->commit).has_value());
    ASSERT_TRUE(follow(*b.group, made->commit).has_value());
    ASSERT_TRUE(c.group->accept_commit().has_value());
    expect_talk(a, c);
    expect_talk(c, b);
  }
}

TEST_F(GroupTest, SendersAreHastened) {
  Client& a = client("a", CipherSuite::kP256Aes128Sha256P256);
  Client& b = client("b", CipherSuite::kP256Aes128Sha256P256);
  b.config.hasten_senders = true;
  a.create();
  add_all(a, {&b});
  for (int i = 0; i < 600; ++i) {
    expect_talk(a, b);
    if (i % 150 == 0) {  // a commit replaces the leaf, not its key
      CommitOptions update = commit_options();
      update.force_path = true;
      auto made = a.group->commit(update);
      ASSERT_TRUE(made.has_value()) << made.error().text;
      ASSERT_TRUE(follow(*b.group, made->commit).has_value());
      ASSERT_TRUE(a.group->accept_commit().has_value());
    }
  }
  auto forged = a.group->protect(as_view("hello"), as_view("aad")).value();
  forged.back() ^= 1;
  EXPECT_FALSE(b.group->process(forged, kNow_s));
  expect_talk(a, b);
}

TEST_F(GroupTest, OwnCommitIsRecognisedAcceptedOrRefused) {
  Client& a = client("a");
  Client& b = client("b");
  a.create();
  add_all(a, {&b});
  auto first = a.group->commit(commit_options());
  ASSERT_TRUE(first.has_value());
  EXPECT_EQ(a.group->commit(commit_options()).error().code, ErrorCode::kPendingCommit);
  ASSERT_TRUE(a.group->refuse_commit().has_value());
  EXPECT_EQ(a.group->refuse_commit().error().code, ErrorCode::kNoPendingCommit);
  auto second = a.group->commit(commit_options());
  ASSERT_TRUE(second.has_value());
  auto echo = a.group->process(second->commit, kNow_s);
  ASSERT_TRUE(echo.has_value());
  EXPECT_TRUE(std::holds_alternative<OwnCommit>(*echo));
  // Somebody else's commit wins.
  auto other = b.group->commit(commit_options());
  ASSERT_TRUE(other.has_value());
  ASSERT_TRUE(follow(*a.group, other->commit).has_value());
  EXPECT_FALSE(a.group->has_pending_commit());
  ASSERT_TRUE(b.group->accept_commit().has_value());
  expect_talk(a, b);
}

TEST_F(GroupTest, StagedCommitIsOfItsEpoch) {
  Client& a = client("a");
  Client& b = client("b");
  a.create();
  add_all(a, {&b});
  auto one = a.group->commit(commit_options());
  ASSERT_TRUE(one.has_value());
  auto staged = b.group->process(one->commit, kNow_s);
  auto again = b.group->process(one->commit, kNow_s);
  ASSERT_TRUE(staged.has_value() && again.has_value());
  EXPECT_EQ(std::get<StagedCommit>(*staged).summary().committer, a.group->own_leaf());
  ASSERT_TRUE(b.group->apply(std::move(std::get<StagedCommit>(*staged))).has_value());
  EXPECT_EQ(b.group->apply(std::move(std::get<StagedCommit>(*again))).error().code,
            ErrorCode::kWrongState);
}

TEST_F(GroupTest, MissingProposalCanBeFetchedLater) {
  Client& a = client("a");
  Client& b = client("b");
  Client& c = client("c");
  a.create();
  add_all(a, {&b, &c});
  auto proposal = b.group->propose_update();
  ASSERT_TRUE(proposal.has_value());
  ASSERT_TRUE(a.group->process(*proposal, kNow_s).has_value());
  auto made = a.group->commit(commit_options());
  ASSERT_TRUE(made.has_value());
  EXPECT_EQ(c.group->process(made->commit, kNow_s).error().code, ErrorCode::kMissingProposal);
  ASSERT_TRUE(c.group->process(*proposal, kNow_s).has_value());
  ASSERT_TRUE(follow(*c.group, made->commit).has_value());
  ASSERT_TRUE(follow(*b.group, made->commit).has_value());
  ASSERT_TRUE(a.group->accept_commit().has_value());
  expect_talk(b, c);
}

TEST_F(GroupTest, RemovedMemberLeavesWithoutSecrets) {
  Client& a = client("a");
  Client& b = client("b");
  a.create();
  add_all(a, {&b});
  CommitOptions options = commit_options();
  options.remove.push_back(b.group->own_leaf());
  auto made = a.group->commit(options);
  ASSERT_TRUE(made.has_value());
  ASSERT_TRUE(follow(*b.group, made->commit).has_value());
  EXPECT_FALSE(b.group->active());
  EXPECT_EQ(b.group->protect(as_view("x")).error().code, ErrorCode::kInactive);
  EXPECT_TRUE(b.group->epoch_authenticator().empty());
  auto restored = Group::restore(b.config, b.group->save());
  ASSERT_TRUE(restored.has_value()) << restored.error().text;
  EXPECT_FALSE(restored->active());
}

TEST_F(GroupTest, ReInitialisesAndBranches) {
  Client& a = client("a");
  Client& b = client("b");
  a.create();
  add_all(a, {&b});
  // Branch.
  Client& a2 = client("a");
  Client& b2 = client("b");
  CreateOptions create;
  create.suite = a2.suite;
  create.signer = &a2.signer;
  create.leaf = a2.leaf_options();
  create.lifetime = lifetime_from(kNow_s, 86400);
  auto branch = Group::create_successor(a2.config, *a.group, ResumptionPskUsage::kBranch, create);
  ASSERT_TRUE(branch.has_value()) << branch.error().text;
  const PrivateKeyPackage package = b2.make_package();
  CommitOptions options = commit_options();
  options.add.push_back(package.message);
  auto made = branch->commit(options);
  ASSERT_TRUE(made.has_value()) << made.error().text;
  ASSERT_TRUE(branch->accept_commit().has_value());
  const Status alone = b2.join(package, made->welcome);
  EXPECT_FALSE(alone.has_value());
  const Status joined = b2.join(package, made->welcome, {}, b.group.get());
  ASSERT_TRUE(joined.has_value()) << joined.error().text;
  EXPECT_TRUE(equal(b2.group->epoch_authenticator(), branch->epoch_authenticator()));
  // Reinitialisation, to another suite.
  CommitOptions end = commit_options();
  end.reinit = ReInitProposal{to_bytes(as_view("next")), ProtocolVersion::kMls10,
                              CipherSuite::kP256Aes128Sha256P256, {}};
  auto last = a.group->commit(end);
  ASSERT_TRUE(last.has_value()) << last.error().text;
  ASSERT_TRUE(follow(*b.group, last->commit).has_value());
  ASSERT_TRUE(a.group->accept_commit().has_value());
  EXPECT_FALSE(a.group->active());
  EXPECT_EQ(b.group->commit(commit_options()).error().code, ErrorCode::kInactive);
  Client& a3 = client("a", CipherSuite::kP256Aes128Sha256P256);
  Client& b3 = client("b", CipherSuite::kP256Aes128Sha256P256);
  create.suite = a3.suite;
  create.signer = &a3.signer;
  create.leaf = a3.leaf_options();
  create.group_id = to_bytes(as_view("next"));
  auto next = Group::create_successor(a3.config, *a.group, ResumptionPskUsage::kReInit, create);
  ASSERT_TRUE(next.has_value()) << next.error().text;
  const PrivateKeyPackage package3 = b3.make_package();
  options.add = {package3.message};
  auto start = next->commit(options);
  ASSERT_TRUE(start.has_value()) << start.error().text;
  const Status third = b3.join(package3, start->welcome, {}, b.group.get());
  EXPECT_TRUE(third.has_value()) << third.error().text;
}

TEST_F(GroupTest, OutsidersPropose) {
  Client& a = client("a");
  Client& b = client("b");
  Client& c = client("c");
  Client& outside = client("outside");
  ExternalSenders senders{{{to_bytes(outside.signer.public_key()), basic_credential(as_view("outside"))}}};
  a.create({{ExtensionType::kExternalSenders, encode(senders)}});
  add_all(a, {&b});
  ExternalProposalOptions from;
  from.suite = a.suite;
  from.group_id = a.group->group_id();
  from.epoch = a.group->epoch();
  from.signer = &outside.signer;
  Proposal remove;
  remove.body = RemoveProposal{b.group->own_leaf()};
  auto removal = external_proposal(from, 0, remove);
  ASSERT_TRUE(removal.has_value());
  auto unknown = external_proposal(from, 1, remove);
  ASSERT_TRUE(unknown.has_value());
  EXPECT_EQ(a.group->process(*unknown, kNow_s).error().code, ErrorCode::kInvalidSender);
  ASSERT_TRUE(a.group->process(*removal, kNow_s).has_value());
  from.signer = &c.signer;
  const PrivateKeyPackage package = c.make_package();
  auto request = new_member_proposal(from, package.message);
  ASSERT_TRUE(request.has_value());
  auto received = a.group->process(*request, kNow_s);
  ASSERT_TRUE(received.has_value()) << received.error().text;
  EXPECT_EQ(a.group->waiting_proposals().size(), 2u);
  auto made = a.group->commit(commit_options());
  ASSERT_TRUE(made.has_value()) << made.error().text;
  ASSERT_TRUE(a.group->accept_commit().has_value());
  ASSERT_TRUE(c.join(package, made->welcome).has_value());
  EXPECT_EQ(a.group->member_count(), 2u);
  expect_talk(c, a);
}

TEST_F(GroupTest, ConflictingWaitingProposalsAreLeftOut) {
  Client& a = client("a");
  Client& b = client("b");
  Client& c = client("c");
  a.create();
  add_all(a, {&b, &c});
  auto update = b.group->propose_update();
  ASSERT_TRUE(update.has_value());
  ASSERT_TRUE(a.group->process(*update, kNow_s).has_value());
  ASSERT_TRUE(a.group->propose_remove(b.group->own_leaf()).has_value());
  ASSERT_TRUE(a.group->propose_update().has_value());  // one's own cannot be committed
  auto made = a.group->commit(commit_options());
  ASSERT_TRUE(made.has_value()) << made.error().text;
  EXPECT_EQ(made->left_out.size(), 2u);
  EXPECT_EQ(a.group->pending_commit()->removed.size(), 1u);
}

// The endpoint profile of a broker that knows suites 1 and 2: handshakes in the clear, application data
// encrypted, tree in the Welcome, no path for Adds, each client once, credentials that may change.
class BrokerPolicy final : public Policy {
 public:
  View client_id(const Leaf& leaf) override {
    const View content = leaf.credential_content();
    const auto end = std::find(content.begin(), content.end(), '/');
    return content.first(static_cast<size_t>(end - content.begin()));
  }
  bool valid_successor(const Leaf& before, const Leaf& after, uint64_t) override {
    return equal(client_id(before), client_id(after));
  }
  View identity(const Leaf& leaf) override { return client_id(leaf); }
  WireFormat handshake_wire_format() override { return WireFormat::kPublicMessage; }
  bool check_lifetime(LeafUse) override { return false; }
  size_t padding(ContentType, size_t size) override { return (32 - size % 32) % 32; }
};

TEST_F(GroupTest, BrokerProfileByConfigurationAlone) {
  BrokerPolicy policy;
  Client& a = client("alice/1", CipherSuite::kP256Aes128Sha256P256);
  Client& b = client("bob/1", CipherSuite::kP256Aes128Sha256P256);
  Client& impostor = client("bob/2", CipherSuite::kP256Aes128Sha256P256);
  for (const auto& each : clients_) {
    each->config.policy = &policy;
  }
  a.create();
  const PrivateKeyPackage package = b.make_package();
  CommitOptions add = commit_options();
  add.add.push_back(package.message);
  auto made = a.group->commit(add);
  ASSERT_TRUE(made.has_value());
  EXPECT_FALSE(a.group->pending_commit()->has_path);
  EXPECT_EQ(peek_message(made->commit)->wire_format, WireFormat::kPublicMessage);
  ASSERT_TRUE(a.group->accept_commit().has_value());
  ASSERT_TRUE(b.join(package, made->welcome).has_value());
  // The same client twice; then rejoining: Remove and Add in one commit.
  const PrivateKeyPackage second = impostor.make_package();
  CommitOptions twice = commit_options();
  twice.add.push_back(second.message);
  EXPECT_EQ(a.group->commit(twice).error().code, ErrorCode::kKeyReuse);
  twice.remove.push_back(b.group->own_leaf());
  auto rejoin = a.group->commit(twice);
  ASSERT_TRUE(rejoin.has_value()) << rejoin.error().text;
  ASSERT_TRUE(a.group->accept_commit().has_value());
  ASSERT_TRUE(impostor.join(second, rejoin->welcome).has_value());
  // A new credential of the same client by a path.
  CommitOptions refresh = commit_options();
  refresh.leaf.emplace();
  refresh.leaf->credential = basic_credential(as_view("alice/2"));
  auto refreshed = a.group->commit(refresh);
  ASSERT_TRUE(refreshed.has_value()) << refreshed.error().text;
  ASSERT_TRUE(follow(*impostor.group, refreshed->commit).has_value());
  ASSERT_TRUE(a.group->accept_commit().has_value());
  Bytes plaintext;
  MessageInfo info;
  auto message = a.group->protect(as_view("data"), as_view("header"));
  ASSERT_TRUE(message.has_value());
  ASSERT_TRUE(impostor.group->unprotect(*message, plaintext, info).has_value());
  EXPECT_EQ(as_text(info.identity), "alice");
  EXPECT_EQ(as_text(info.authenticated_data), "header");
}

// Two threads by turns, as a caller might lend them.
class TwoThreads final : public Parallel {
 public:
  void run(size_t count, Piece piece, void* context) override {
    std::atomic<size_t> next{0};
    const auto work = [&] {
      for (size_t i = next++; i < count; i = next++) {
        piece(context, i);
      }
    };
    std::thread other(work);
    work();
    other.join();
  }
};

TEST_F(GroupTest, LongOperationsInStepsAndOnTwoThreads) {
  TwoThreads threads;
  Client& a = client("a");
  a.config.random = nullptr;
  a.config.parallel = &threads;
  a.create();
  std::vector<PrivateKeyPackage> packages;
  CommitOptions options = commit_options();
  for (int i = 0; i < 40; ++i) {
    packages.push_back(client("m" + std::to_string(i)).make_package());
  }
  for (const PrivateKeyPackage& package : packages) {
    options.add.push_back(package.message);
  }
  auto operation = a.group->start_commit(options);
  ASSERT_TRUE(operation.has_value());
  EXPECT_EQ(operation->finish().error().code, ErrorCode::kWrongState);
  size_t steps = 0;
  for (bool done = false; !done; ++steps) {
    auto step = operation->step(4);
    ASSERT_TRUE(step.has_value()) << step.error().text;
    done = *step;
    EXPECT_EQ(a.group->epoch(), 0u);
    EXPECT_FALSE(a.group->has_pending_commit());
  }
  EXPECT_GT(steps, 20u);
  auto made = operation->finish();
  ASSERT_TRUE(made.has_value()) << made.error().text;
  ASSERT_TRUE(a.group->accept_commit().has_value());
  Client& b = *clients_[1];
  b.config.parallel = &threads;
  const PrivateKeyPackage* mine[] = {&packages[0]};
  JoinOptions join;
  join.now_s = kNow_s;
  join.welcome = made->welcome;
  join.key_packages = mine;
  join.signer = &b.signer;
  auto joining = Group::start_join(b.config, join);
  ASSERT_TRUE(joining.has_value()) << joining.error().text;
  for (bool done = false; !done;) {
    auto step = joining->step(4);
    ASSERT_TRUE(step.has_value()) << step.error().text;
    done = *step;
  }
  auto joined = joining->finish();
  ASSERT_TRUE(joined.has_value()) << joined.error().text;
  b.group = std::make_unique<Group>(std::move(*joined));
  expect_talk(a, b);
}

// A short GroupInfo is verified together with the leaves of its tree.
TEST_F(GroupTest, GroupInfoOnTwoThreads) {
  TwoThreads threads;
  Client& a = client("a");
  a.create();
  testing::add_all(a, {&client("b")});
  const auto info = a.group->group_info();
  ASSERT_TRUE(info.has_value());
  Client& c = client("c");
  c.config.random = nullptr;
  c.config.parallel = &threads;
  ExternalJoinOptions options;
  options.now_s = kNow_s;
  options.signer = &c.signer;
  options.leaf = c.leaf_options();
  Bytes spoiled = *info;
  spoiled.back() ^= 1;
  options.group_info = spoiled;
  EXPECT_EQ(Group::join_external(c.config, options).error().code, ErrorCode::kBadSignature);
  options.group_info = *info;
  const auto joined = Group::join_external(c.config, options);
  ASSERT_TRUE(joined.has_value()) << joined.error().text;
  ASSERT_TRUE(testing::follow(*a.group, joined->commit).has_value());
  EXPECT_TRUE(equal(a.group->epoch_authenticator(), joined->group.epoch_authenticator()));
}

TEST_F(GroupTest, CheapSaveAfterASentMessage) {
  Client& a = client("a");
  Client& b = client("b");
  a.create();
  add_all(a, {&b});
  const SecretBytes whole = a.group->save();
  auto one = a.group->protect(as_view("one"));
  const SecretBytes first = a.group->save_changes();
  auto two = a.group->protect(as_view("two"));
  const SecretBytes second = a.group->save_changes();
  EXPECT_LT(first.size(), 1024u);
  EXPECT_LT(second.size(), 1024u);
  const View changes[] = {first, second};
  auto restored = Group::restore(a.config, whole, changes);
  ASSERT_TRUE(restored.has_value()) << restored.error().text;
  auto three = restored->protect(as_view("three"));
  ASSERT_TRUE(one && two && three);
  Bytes plaintext;
  MessageInfo info;
  ASSERT_TRUE(b.group->unprotect(*three, plaintext, info).has_value());
  EXPECT_EQ(info.generation, 2u);
  ASSERT_TRUE(b.group->unprotect(*one, plaintext, info).has_value());
  SecretBytes broken = whole;
  broken[broken.size() / 2] ^= 1;
  EXPECT_EQ(Group::restore(a.config, broken).error().code, ErrorCode::kBadSnapshot);
}

// ---- Deletion (mls secrets' lifetimes): what has been used up does not occur in any later snapshot.

bool occurs(const SecretBytes& haystack, View needle) {
  return !needle.empty() && std::search(haystack.begin(), haystack.end(), needle.begin(),
                                        needle.end()) != haystack.end();
}

struct Condemned {
  std::string what;
  Bytes bytes;
  uint64_t gone_from;  // epoch
};

class DeletionTest : public GroupTest {
 protected:
  void condemn(const char* what, View bytes, uint64_t gone_from) {
    condemned_.push_back({what, to_bytes(bytes), gone_from});
  }
  // Notes every secret of the present epoch with the epoch in which it must be gone.
  void condemn_all(Group& group) {
    const GroupState& state = GroupAccess::state(group);
    const EpochSecrets& secrets = state.now.secrets;
    const uint64_t next = state.epoch() + 1;
    condemn("init_secret", secrets.init_secret, next);
    condemn("exporter_secret", secrets.exporter_secret, next);
    condemn("external_secret", secrets.external_secret, next);
    condemn("membership_key", secrets.membership_key, next);
    condemn("confirmation_key", secrets.confirmation_key, next);
    condemn("epoch_authenticator", secrets.epoch_authenticator, next);
    condemn("sender_data_secret", secrets.sender_data_secret,
            next + state.limits().past_epochs);
    condemn("resumption_psk", secrets.resumption_psk, next + state.limits().resumption_epochs);
  }
  void condemn_keys(Group& group, NodeIndex node) {
    const KemKey* key = GroupAccess::state(group).keys.find(node);
    if (key != nullptr) {
      condemn("node key", key->private_key(), group.epoch() + 1);
    }
  }
  // The application ratchet's present secret, which the next message uses up.
  void condemn_ratchet(Group& group) {
    const GroupState& state = GroupAccess::state(group);
    if (state.now.messages.next_generation(state.self(), RatchetKind::kApplication) == 0) {
      return;
    }
    SecretBytes saved;
    SecretWriter writer(saved);
    state.now.messages.save_ratchet(state.self(), RatchetKind::kApplication, writer);
    Reader reader(saved);
    uint32_t leaf = 0;
    RatchetKind kind{};
    uint64_t generation = 0;
    View secret;
    reader(leaf, kind, generation, secret);
    ASSERT_TRUE(reader.ok());
    condemn("ratchet secret", secret, 0);
  }
  void expect_gone(Group& group) {
    const SecretBytes snapshot = group.save();
    for (const Condemned& secret : condemned_) {
      if (secret.gone_from <= group.epoch()) {
        EXPECT_FALSE(occurs(snapshot, secret.bytes)) << secret.what << " in epoch " << group.epoch();
      }
    }
  }

  std::vector<Condemned> condemned_;
};

TEST_F(DeletionTest, NothingUsedUpIsInASnapshot) {
  Client& a = client("a");
  Client& b = client("b");
  Client& c = client("c");
  a.create();
  add_all(a, {&b, &c});
  for (int round = 0; round < 8; ++round) {
    condemn_all(*a.group);
    condemn_keys(*a.group, node_math::leaf_node(a.group->own_leaf()));
    condemn_keys(*a.group, node_math::root(a.group->leaf_count()));
    for (int i = 0; i < 3; ++i) {
      condemn_ratchet(*a.group);
      expect_talk(a, b);
      expect_gone(*a.group);
    }
    CommitOptions update = commit_options();
    update.force_path = true;
    auto made = a.group->commit(update);
    ASSERT_TRUE(made.has_value()) << made.error().text;
    ASSERT_TRUE(a.group->accept_commit().has_value());
    ASSERT_TRUE(follow(*b.group, made->commit).has_value());
    ASSERT_TRUE(follow(*c.group, made->commit).has_value());
    expect_gone(*a.group);
    expect_gone(*b.group);  // the shared secrets of the epoch
  }
  EXPECT_GT(condemned_.size(), 80u);
}

}  // namespace
}  // namespace slipway::mls
