// The bounds of groups, keys that no group may hold, and external commits that are refused. As in the table of bad
// input: the error is the one named, the state is unchanged, and good messages still work.
#include "bad_input.h"

namespace slipway::mls {
namespace {

using testing::add_all;
using testing::BadInput;
using testing::Client;
using testing::commit_options;
using testing::follow;
using testing::kNow_s;
using testing::SeededRandom;

template <class Body>
Proposal proposal_of(Body body) {
  Proposal proposal;
  proposal.body = std::move(body);
  return proposal;
}

// ---- Keys.

// So many joiners that the index of keys is made in steps (tests/mls/tree/unique_keys_test.cc), by the committer and by
// who follows.
TEST_F(BadInput, KeysOfThoseWhoJoinedInOneLargeCommit) {
  constexpr size_t kJoiners = 300;
  std::vector<std::unique_ptr<Client>> crowd;
  std::vector<PrivateKeyPackage> packages;
  CommitOptions many = commit_options();
  for (size_t i = 0; i < kJoiners; ++i) {
    crowd.push_back(std::make_unique<Client>(*a().suite, random_, "joiner " + std::to_string(i)));
    packages.push_back(crowd.back()->make_package());
  }
  for (const PrivateKeyPackage& package : packages) {
    many.add.push_back(package.message);
  }
  auto made = a().group->commit(many);
  ASSERT_TRUE(made.has_value()) << made.error().text;
  ASSERT_TRUE(follow(*b().group, made->commit).has_value());
  ASSERT_TRUE(a().group->accept_commit().has_value());

  const PrivateKeyPackage again = crowd[kJoiners / 2]->make_package();  // its signature key is in the tree
  for (Client* member : {&a(), &b()}) {
    CommitOptions twice = commit_options();
    twice.add = {again.message};
    EXPECT_EQ(member->group->commit(twice).error().code, ErrorCode::kKeyReuse);
    twice.add = {packages.back().message};  // all its keys are
    EXPECT_EQ(member->group->commit(twice).error().code, ErrorCode::kKeyReuse);
  }
  make_good();
  expect_refused("signature key of a member", forge_list({proposal_of(AddProposal{again.key_package})}, false),
                 ErrorCode::kKeyReuse);
  expect_good_still_works();
}

// ---- Sizes.

TEST_F(BadInput, MessagesLargerThanTheLimits) {
  make_good();
  Bytes handshake = good_;
  handshake.resize(kDefaultLimits.handshake_message_bytes + 1);
  expect_refused("handshake message", handshake, ErrorCode::kTooLarge);
  const Bytes text(kDefaultLimits.application_message_bytes + 1, 'x');
  EXPECT_EQ(a().group->protect(text).error().code, ErrorCode::kTooLarge);
  // A peer with other limits sends it all the same.
  a().config.limits.application_message_bytes = text.size() + 1024;
  auto restored = Group::restore(a().config, a().group->save());
  ASSERT_TRUE(restored.has_value());
  auto large = restored->protect(text);
  ASSERT_TRUE(large.has_value());
  expect_refused("application message", *large, ErrorCode::kTooLarge);
  JoinOptions join;
  join.welcome = handshake;
  EXPECT_EQ(Group::join(b().config, join).error().code, ErrorCode::kTooLarge);
  ExternalJoinOptions external;
  external.group_info = handshake;
  EXPECT_EQ(Group::join_external(b().config, external).error().code, ErrorCode::kTooLarge);
  const Suite& suite = *b().suite;
  EXPECT_EQ(RatchetTree::decode(suite, handshake, kDefaultLimits).error().code, ErrorCode::kTooLarge);
  expect_good_still_works();
}

TEST_F(BadInput, TreesLargerThanTheLimit) {
  // 65,536 blank leaves and one that is not.
  const Bytes leaf = to_bytes(a().group->member(0)->encoded());
  Bytes encoded;
  Writer writer(encoded);
  const size_t list = writer.begin_vector();
  for (size_t node = 0; node < 2 * kDefaultLimits.tree_leaves; ++node) {
    writer.write_integer(0, 1);
  }
  writer.write_integer(1, 1);
  writer.write_integer(1, 1);
  writer.write_bytes(leaf);
  writer.end_vector(list);
  EXPECT_EQ(RatchetTree::decode(*a().suite, encoded, kDefaultLimits).error().code, ErrorCode::kTooMany);
  // The largest that may be is read.
  const size_t nodes_at = encoded.size() - leaf.size() - 2 - 2;
  encoded.erase(encoded.begin() + static_cast<ptrdiff_t>(nodes_at), encoded.begin() + static_cast<ptrdiff_t>(nodes_at) + 2);
  const size_t content = encoded.size() - 4;
  write_length_header(content, encoded.data());
  auto largest = RatchetTree::decode(*a().suite, encoded, kDefaultLimits);
  ASSERT_TRUE(largest.has_value()) << largest.error().text;
  EXPECT_EQ(largest->width(), kDefaultLimits.tree_leaves);
}

TEST(Bounds, MembersAndProposals) {
  SeededRandom random{11};
  const Suite& suite = *find_suite(uint16_t{1});
  Client a(suite, random, "a");
  Client b(suite, random, "b");
  a.config.limits.tree_leaves = 4;
  a.config.limits.proposals_per_commit = 6;
  a.create();
  add_all(a, {&b});
  std::vector<std::unique_ptr<Client>> others;
  std::vector<PrivateKeyPackage> packages;
  CommitOptions add = commit_options();
  for (int i = 0; i < 7; ++i) {
    others.push_back(std::make_unique<Client>(suite, random, "other " + std::to_string(i)));
    packages.push_back(others.back()->make_package());
  }
  for (int i = 0; i < 3; ++i) {
    add.add.push_back(packages[static_cast<size_t>(i)].message);
  }
  const SecretBytes before = a.group->save();
  EXPECT_EQ(a.group->commit(add).error().code, ErrorCode::kTooMany) << "five members";
  for (size_t i = 3; i < packages.size(); ++i) {
    add.add.push_back(packages[i].message);
  }
  EXPECT_EQ(a.group->commit(add).error().code, ErrorCode::kTooMany) << "seven proposals";
  EXPECT_TRUE(equal_secret(before, a.group->save()));
  // What others commit is held against the own limits.
  auto made = b.group->commit(add);
  ASSERT_TRUE(made.has_value()) << made.error().text;
  EXPECT_EQ(a.group->process(made->commit, kNow_s).error().code, ErrorCode::kTooMany);
  EXPECT_EQ(a.group->epoch(), 1u);
  ASSERT_TRUE(b.group->refuse_commit().has_value());
  auto update = b.group->commit(commit_options());
  ASSERT_TRUE(update.has_value());
  EXPECT_TRUE(follow(*a.group, update->commit).has_value());
}

TEST(Bounds, ProposalsOfAnEpoch) {
  SeededRandom random{12};
  Client a(*find_suite(uint16_t{1}), random, "a");
  a.proposal_types = {static_cast<ProposalType>(0xf001)};
  a.config.limits.proposals_per_sender = kDefaultLimits.proposals_per_epoch + 1;
  a.create();
  for (size_t i = 0; i < kDefaultLimits.proposals_per_epoch; ++i) {
    const UnknownProposal custom{a.proposal_types[0], {static_cast<uint8_t>(i), static_cast<uint8_t>(i >> 8)}};
    ASSERT_TRUE(a.group->propose_custom(custom).has_value()) << i;
  }
  EXPECT_EQ(a.group->propose_custom({a.proposal_types[0], {1, 2, 3}}).error().code, ErrorCode::kTooMany);
  EXPECT_EQ(a.group->waiting_proposals().size(), kDefaultLimits.proposals_per_epoch);
  auto made = a.group->commit(commit_options());
  EXPECT_TRUE(made.has_value());
}

TEST(Bounds, PsksOfACommit) {
  SeededRandom random{13};
  Client a(*find_suite(uint16_t{1}), random, "a");
  a.create();
  CommitOptions options = commit_options();
  for (size_t i = 0; i <= kDefaultLimits.psks_per_commit; ++i) {
    options.external_psks.push_back({static_cast<uint8_t>(i)});
    a.psks.external[options.external_psks.back()] = Bytes(32, 1);
  }
  EXPECT_EQ(a.group->commit(options).error().code, ErrorCode::kTooMany);
  options.external_psks.pop_back();
  EXPECT_TRUE(a.group->commit(options).has_value());
}

TEST_F(BadInput, SignaturesLongerThanAny) {
  make_good();
  auto view = read_public(peek_message(good_)->body);
  const GroupState& state = GroupAccess::state(*a().group);
  Bytes long_signature;
  ASSERT_TRUE(write_public(*a().suite, view->content,
                           {Bytes(kDefaultLimits.signature_bytes + 1, 1), view->auth.confirmation_tag},
                           state.now.secrets.membership_key, state.now.encoded_context, long_signature)
                  .has_value());
  expect_refused("of the message", long_signature, ErrorCode::kTooLarge);
  expect_refused("of the leaf", forge_commit(good_, [](Commit& commit) {
                   commit.path->leaf_node.signature.assign(kDefaultLimits.signature_bytes + 1, 1);
                 }),
                 ErrorCode::kTooLarge);
  expect_refused("empty", forge_commit(good_, [](Commit& commit) { commit.path->leaf_node.signature.clear(); }),
                 ErrorCode::kBadSignature);
  expect_good_still_works();
}

// ---- Keys.

// A key of that size whose point has small order: u = 1 on the Montgomery curves.
Bytes small_order(size_t size) {
  Bytes key(size, 0);
  key[0] = 1;
  return key;
}

// Ed25519 or Ed448 bytes that are no point.
Bytes no_point(const Suite& suite) {
  for (uint8_t y = 2;; ++y) {
    Bytes key(suite.signature_public_key_size, 0);
    key[0] = y;
    if (!check_signature_point(suite, key)) {
      return key;
    }
  }
}

class WeakKeys : public ::testing::TestWithParam<uint16_t> {};

TEST_P(WeakKeys, AreRefusedByGroups) {
  SeededRandom random{14};
  const Suite& suite = *find_suite(GetParam());
  Client a(suite, random, "a");
  Client b(suite, random, "b");
  a.create();
  const SecretBytes before = a.group->save();
  const auto expect_refused = [&](const char* what, const std::function<void(KeyPackage&)>& spoil) {
    SCOPED_TRACE(what);
    KeyPackage package = b.make_package().key_package;
    spoil(package);
    ASSERT_TRUE(sign_leaf(suite, b.signer, package.leaf_node, {}, 0).has_value());
    package.signature = to_bytes(*b.signer.sign(kKeyPackageLabel, {key_package_tbs(package)}));
    const Bytes message = encode_message(WireFormat::kKeyPackage, package);
    CommitOptions options = commit_options();
    options.add = {message};
    auto made = a.group->commit(options);
    ASSERT_FALSE(made.has_value());
    EXPECT_EQ(error_name(made.error().code), error_name(ErrorCode::kInvalidKey)) << made.error().text;
    EXPECT_EQ(a.group->propose_add(message, kNow_s).error().code, ErrorCode::kInvalidKey);
    EXPECT_TRUE(equal_secret(before, a.group->save()));
  };
  const size_t size = suite.kem_public_key_size;
  expect_refused("init key", [&](KeyPackage& p) { p.init_key = small_order(size); });
  expect_refused("zero init key", [&](KeyPackage& p) { p.init_key.assign(size, 0); });
  expect_refused("leaf key", [&](KeyPackage& p) { p.leaf_node.encryption_key = small_order(size); });
  expect_refused("signature key", [&](KeyPackage& p) {
    p.leaf_node.signature_key = small_order(suite.signature_public_key_size);
  });
  expect_refused("signature key that is no point",
                 [&](KeyPackage& p) { p.leaf_node.signature_key = no_point(suite); });
  // An external sender's key signs nothing that we could hold it against.
  for (const Bytes& key : {no_point(suite), small_order(suite.signature_public_key_size)}) {
    const ExternalSenders senders{{{key, basic_credential(as_view("outside"))}}};
    CommitOptions options = commit_options();
    options.extensions = Extensions{{ExtensionType::kExternalSenders, encode(senders)}};
    EXPECT_EQ(a.group->commit(options).error().code, ErrorCode::kInvalidKey);
  }
  EXPECT_TRUE(check_signature_point(suite, a.signer.public_key()).has_value());
  add_all(a, {&b});
}

INSTANTIATE_TEST_SUITE_P(EdwardsAndMontgomery, WeakKeys, ::testing::Values(1, 4));

TEST_F(BadInput, WeakKeysInPaths) {
  make_good();
  const size_t size = a().suite->kem_public_key_size;
  expect_refused("node", forge_commit(good_, [&](Commit& commit) {
                   commit.path->nodes.back().encryption_key = small_order(size);
                 }),
                 ErrorCode::kInvalidKey);
  expect_refused("leaf", forge_commit(good_, [&](Commit& commit) {
                   commit.path->leaf_node.encryption_key = small_order(size);
                   sign_again(commit.path->leaf_node);
                 }),
                 ErrorCode::kInvalidKey);
  expect_good_still_works();
}

// ---- External commits.

class ExternalCommits : public BadInput {
 protected:
  void SetUp() override {
    BadInput::SetUp();
    joiner_ = std::make_unique<Client>(*find_suite(uint16_t{1}), random_, "joiner");
    auto info = a().group->group_info();
    ASSERT_TRUE(info.has_value());
    info_ = *info;
    auto joined = join({});
    ASSERT_TRUE(joined.has_value()) << joined.error().text;
    good_ = joined->commit;
  }
  Result<ExternalJoin> join(std::optional<LeafIndex> remove, View info = {}) {
    ExternalJoinOptions options;
    options.now_s = kNow_s;
    options.group_info = info.empty() ? View(info_) : info;
    options.signer = &joiner_->signer;
    options.leaf = joiner_->leaf_options();
    options.remove = remove;
    return Group::join_external(joiner_->config, options);
  }
  // The good commit, spoiled and signed again by the joiner.
  Bytes forge_external(const std::function<void(Commit&)>& spoil) {
    auto view = read_public(peek_message(good_)->body);
    auto commit = decode<Commit>(view->content.body);
    spoil(*commit);
    const Bytes body = encode(*commit);
    ContentView content = view->content;
    content.body = body;
    auto signature = sign_content(joiner_->signer, WireFormat::kPublicMessage, content,
                                  a().group->group_context());
    Bytes out;
    EXPECT_TRUE(write_public(*a().suite, content, {*signature, view->auth.confirmation_tag}, {}, {}, out)
                    .has_value());
    return out;
  }
  void expect_list_refused(const char* what, Proposal more, ErrorCode code = ErrorCode::kInvalidProposalList) {
    expect_refused(what, forge_external([&](Commit& commit) { commit.proposals.push_back({std::move(more)}); }),
                   code);
  }

  std::unique_ptr<Client> joiner_;
  Bytes info_;
};

TEST_F(ExternalCommits, ListsThatAreRefused) {
  const Client other(*find_suite(uint16_t{1}), random_, "other");
  expect_refused("no ExternalInit", forge_external([](Commit& commit) { commit.proposals.clear(); }),
                 ErrorCode::kInvalidProposalList);
  expect_list_refused("two ExternalInits", proposal_of(ExternalInitProposal{Bytes(32, 9)}));
  expect_list_refused("an Add", proposal_of(AddProposal{other.make_package().key_package}));
  expect_list_refused("an Update", proposal_of(UpdateProposal{a().group->member(0)->decode_all()}));
  expect_list_refused("extensions", proposal_of(GroupContextExtensionsProposal{}));
  expect_list_refused("ReInit", proposal_of(ReInitProposal{Bytes{1}, ProtocolVersion::kMls10, a().suite->id, {}}));
  expect_list_refused("removes nobody", proposal_of(RemoveProposal{99}), ErrorCode::kInvalidProposal);
  auto other_client = join(c().group->own_leaf());
  ASSERT_TRUE(other_client.has_value()) << other_client.error().text;
  expect_refused("removes another client", other_client->commit, ErrorCode::kInvalidCommit);
  expect_refused("removes two", forge_external([&](Commit& commit) {
                   commit.proposals.push_back({proposal_of(RemoveProposal{c().group->own_leaf()})});
                   commit.proposals.push_back({proposal_of(RemoveProposal{d().group->own_leaf()})});
                 }),
                 ErrorCode::kInvalidProposalList);
  auto waiting = a().group->propose_remove(c().group->own_leaf());
  ASSERT_TRUE(waiting.has_value());
  ASSERT_TRUE(b().group->process(*waiting, kNow_s).has_value());
  const Bytes ref = to_bytes(b().group->waiting_proposals().back().ref);
  expect_refused("by reference", forge_external([&](Commit& commit) { commit.proposals.push_back({ref}); }),
                 ErrorCode::kInvalidProposalList);
  expect_good_still_works();
}

TEST_F(ExternalCommits, PathsAndKeysThatAreRefused) {
  expect_refused("no path", forge_external([](Commit& commit) { commit.path.reset(); }), ErrorCode::kMissingPath);
  expect_refused("another's signature key", forge_external([&](Commit& commit) {
                   commit.path->leaf_node.signature_key = to_bytes(c().signer.public_key());
                 }),
                 ErrorCode::kBadSignature);
  expect_refused("small-order signature key", forge_external([&](Commit& commit) {
                   commit.path->leaf_node.signature_key = small_order(32);
                 }),
                 ErrorCode::kInvalidKey);
  expect_refused("leaf signature", forge_external([](Commit& commit) { commit.path->leaf_node.signature[5] ^= 1; }),
                 ErrorCode::kBadSignature);
  expect_refused("too few nodes", forge_external([](Commit& commit) { commit.path->nodes.pop_back(); }),
                 ErrorCode::kInvalidPath);
  expect_refused("small-order KEM output", forge_external([](Commit& commit) {
                   ExternalInitProposal init{small_order(32)};
                   commit.proposals[0] = {proposal_of(std::move(init))};
                 }),
                 ErrorCode::kInvalidKey);
  expect_refused("another KEM output", forge_external([&](Commit& commit) {
                   auto other = KemKey::generate(*a().suite, random_);
                   ExternalInitProposal init{to_bytes(other->public_key())};
                   commit.proposals[0] = {proposal_of(std::move(init))};
                 }),
                 ErrorCode::kBadConfirmationTag);
  expect_good_still_works();
}

TEST_F(ExternalCommits, GroupInfosThatAreRefused) {
  auto without_key = a().group->group_info({.external_pub = false});
  ASSERT_TRUE(without_key.has_value());
  EXPECT_EQ(join({}, *without_key).error().code, ErrorCode::kInvalidGroupInfo);
  auto without_tree = a().group->group_info({.tree = false});
  ASSERT_TRUE(without_tree.has_value());
  EXPECT_EQ(join({}, *without_tree).error().code, ErrorCode::kInvalidGroupInfo);
  Bytes spoiled = info_;
  spoiled.back() ^= 1;
  EXPECT_EQ(join({}, spoiled).error().code, ErrorCode::kBadSignature);
  EXPECT_EQ(join(LeafIndex{77}).error().code, ErrorCode::kInvalidProposal);
  EXPECT_EQ(join({}, good_).error().code, ErrorCode::kWrongContentType);
  // Commits of joiners are for the clear only, and only commits are.
  auto view = read_public(peek_message(good_)->body);
  ContentView content = view->content;
  const Bytes proposal = encode(proposal_of(RemoveProposal{1}));
  content.type = ContentType::kProposal;
  content.body = proposal;
  Bytes out;
  EXPECT_EQ(write_public(*a().suite, content, {view->auth.signature, {}}, {}, {}, out).error().code,
            ErrorCode::kInvalidSender);
  expect_good_still_works();
}

}  // namespace
}  // namespace slipway::mls
