// The table of what groups must refuse. Each case starts from a good message, spoils one thing, and has a
// member forge the rest: signed and tagged again. The error is the one named, the snapshot is unchanged, and
// the good message still works.
#include "bad_input.h"

namespace slipway::mls {
namespace {

using testing::BadInput;
using testing::Client;
using testing::commit_options;
using testing::kNow_s;

TEST_F(BadInput, Framing) {
  make_good();
  Bytes longer = good_;
  longer.push_back(0);
  expect_refused("trailing byte", longer, ErrorCode::kMalformed);
  expect_refused("cut short", View(good_).first(good_.size() - 1), ErrorCode::kMalformed);
  Bytes version = good_;
  version[1] = 9;
  expect_refused("version", version, ErrorCode::kUnsupported);
  Bytes tag = good_;
  tag.back() ^= 1;
  expect_refused("membership tag", tag, ErrorCode::kBadMembershipTag);
  auto view = read_public(peek_message(good_)->body);
  const Bytes confirmation = to_bytes(view->auth.confirmation_tag);
  ContentView content = view->content;
  content.epoch += 1;
  expect_refused("future epoch", forge(a(), content, confirmation), ErrorCode::kEpochInFuture);
  content.epoch -= 2;
  expect_refused("past epoch", forge(a(), content, confirmation), ErrorCode::kEpochTooOld);
  content = view->content;
  content.group_id = as_view("other");
  expect_refused("other group", forge(a(), content, confirmation), ErrorCode::kUnknownGroup);
  content = view->content;
  content.sender.index = 100;
  expect_refused("no such leaf", forge(a(), content, confirmation), ErrorCode::kInvalidSender);
  content.sender.index = c().group->own_leaf();
  expect_refused("in another's name", forge(a(), content, confirmation), ErrorCode::kBadSignature);
  content = view->content;
  expect_refused("confirmation tag", forge(a(), content, Bytes(32, 0)),
                 ErrorCode::kBadConfirmationTag);
  expect_refused("a key package", b().make_package().message, ErrorCode::kWrongContentType);
  expect_good_still_works();
  expect_refused("twice", good_, ErrorCode::kEpochTooOld);
}

TEST_F(BadInput, Path) {
  make_good();
  const auto spoil = [&](const std::function<void(UpdatePath&)>& change) {
    return forge_commit(good_, [&](Commit& commit) { change(*commit.path); });
  };
  expect_refused("a node less", spoil([](UpdatePath& path) { path.nodes.pop_back(); }),
                 ErrorCode::kInvalidPath);
  expect_refused("a node more", spoil([](UpdatePath& path) { path.nodes.push_back(path.nodes[0]); }),
                 ErrorCode::kInvalidPath);
  expect_refused("a ciphertext less",
                 spoil([](UpdatePath& path) { path.nodes[0].encrypted_path_secret.clear(); }),
                 ErrorCode::kInvalidPath);
  expect_refused("a ciphertext more", spoil([](UpdatePath& path) {
                   auto& list = path.nodes[0].encrypted_path_secret;
                   list.push_back(list[0]);
                 }),
                 ErrorCode::kInvalidPath);
  expect_refused("a short key", spoil([](UpdatePath& path) { path.nodes[0].encryption_key.pop_back(); }),
                 ErrorCode::kInvalidKey);
  expect_refused("another key", spoil([&](UpdatePath& path) {
                   path.nodes[0].encryption_key =
                       to_bytes(KemKey::generate(*a().suite, random_)->public_key());
                 }),
                 ErrorCode::kParentHashMismatch);
  expect_refused("ciphertext", spoil([](UpdatePath& path) {
                   path.nodes[0].encrypted_path_secret[0].ciphertext[0] ^= 1;
                 }),
                 ErrorCode::kDecryptionFailed);
  expect_refused("leaf signature", spoil([](UpdatePath& path) { path.leaf_node.signature[5] ^= 1; }),
                 ErrorCode::kBadSignature);
  expect_refused("leaf source", spoil([&](UpdatePath& path) {
                   path.leaf_node.source = LeafNodeSource::kUpdate;
                   path.leaf_node.parent_hash.clear();
                   sign_again(path.leaf_node);
                 }),
                 ErrorCode::kInvalidLeafNode);
  expect_refused("parent hash", spoil([&](UpdatePath& path) {
                   path.leaf_node.parent_hash[0] ^= 1;
                   sign_again(path.leaf_node);
                 }),
                 ErrorCode::kParentHashMismatch);
  expect_refused("old leaf key", spoil([&](UpdatePath& path) {
                   path.leaf_node.encryption_key =
                       to_bytes(a().group->member(a().group->own_leaf())->encryption_key());
                   sign_again(path.leaf_node);
                 }),
                 ErrorCode::kKeyReuse);
  expect_refused("another's leaf key", spoil([&](UpdatePath& path) {
                   path.leaf_node.encryption_key =
                       to_bytes(c().group->member(c().group->own_leaf())->encryption_key());
                   sign_again(path.leaf_node);
                 }),
                 ErrorCode::kKeyReuse);
  expect_refused("another identity", spoil([&](UpdatePath& path) {
                   path.leaf_node.credential = basic_credential(as_view("mallory"));
                   sign_again(path.leaf_node);
                 }),
                 ErrorCode::kInvalidCredential);
  expect_refused("credential too large", spoil([&](UpdatePath& path) {
                   path.leaf_node.credential = basic_credential(Bytes(20'000, 'x'));
                   sign_again(path.leaf_node);
                 }),
                 ErrorCode::kTooLarge);
  expect_refused("credential type not listed", spoil([&](UpdatePath& path) {
                   path.leaf_node.capabilities.credentials = {CredentialType::kX509};
                   sign_again(path.leaf_node);
                 }),
                 ErrorCode::kInvalidLeafNode);
  expect_refused("no path", forge_commit(good_, [](Commit& commit) { commit.path.reset(); }),
                 ErrorCode::kMissingPath);
  expect_good_still_works();
}

TEST_F(BadInput, ProposalLists) {
  make_good();
  const LeafIndex self = a().group->own_leaf();
  const LeafIndex victim = c().group->own_leaf();
  const auto remove = [](LeafIndex leaf) { return make(RemoveProposal{leaf}); };
  expect_refused("removes itself", forge_list({remove(self)}), ErrorCode::kInvalidProposalList);
  expect_refused("removes twice", forge_list({remove(victim), remove(victim)}),
                 ErrorCode::kInvalidProposalList);
  expect_refused("removes nobody", forge_list({remove(77)}), ErrorCode::kInvalidProposal);
  expect_refused("Remove without path", forge_list({remove(victim)}, false), ErrorCode::kMissingPath);
  expect_refused("extensions without path", forge_list({make(GroupContextExtensionsProposal{})}, false),
                 ErrorCode::kMissingPath);
  expect_refused("extensions twice", forge_list({make(GroupContextExtensionsProposal{}),
                                                 make(GroupContextExtensionsProposal{})}),
                 ErrorCode::kInvalidProposalList);
  expect_refused("unsupported extension",
                 forge_list({make(GroupContextExtensionsProposal{
                     {{static_cast<ExtensionType>(0xf123), Bytes{}}}})}),
                 ErrorCode::kInvalidLeafNode);
  expect_refused("Update by value",
                 forge_list({make(UpdateProposal{a().group->member(self)->decode_all()})}),
                 ErrorCode::kInvalidProposalList);
  expect_refused("ExternalInit", forge_list({make(ExternalInitProposal{Bytes(32, 1)})}),
                 ErrorCode::kInvalidProposalList);
  const ReInitProposal reinit{Bytes{1}, ProtocolVersion::kMls10, a().suite->id, {}};
  expect_refused("ReInit with others", forge_list({make(reinit), remove(victim)}),
                 ErrorCode::kInvalidProposalList);
  expect_refused("unknown type", forge_list({make(UnknownProposal{static_cast<ProposalType>(0xf777), {}})}),
                 ErrorCode::kInvalidProposal);
  expect_refused("unknown reference", forge_commit(good_, [](Commit& commit) {
                   commit.proposals.push_back({Bytes(32, 3)});
                 }),
                 ErrorCode::kMissingProposal);
  PreSharedKeyId psk{.type = PskType::kExternal, .psk_id = Bytes{1}, .nonce = Bytes(32, 1)};
  expect_refused("unknown PSK", forge_list({make(PskProposal{psk})}), ErrorCode::kMissingPsk);
  expect_refused("PSK twice", forge_list({make(PskProposal{psk}), make(PskProposal{psk})}),
                 ErrorCode::kInvalidProposalList);
  psk.nonce.pop_back();
  expect_refused("short nonce", forge_list({make(PskProposal{psk})}), ErrorCode::kInvalidPsk);
  PreSharedKeyId branch{.type = PskType::kResumption,
                        .usage = ResumptionPskUsage::kBranch,
                        .group_id = to_bytes(a().group->group_id()),
                        .epoch = 1,
                        .nonce = Bytes(32, 1)};
  expect_refused("branch PSK", forge_list({make(PskProposal{branch})}), ErrorCode::kInvalidPsk);
  expect_good_still_works();
}

TEST_F(BadInput, Adds) {
  make_good();
  Client joiner(*find_suite(uint16_t{1}), random_, "joiner");
  const PrivateKeyPackage package = joiner.make_package();
  const auto add = [&](const std::function<void(KeyPackage&)>& spoil, bool sign = true) {
    KeyPackage changed = package.key_package;
    spoil(changed);
    if (sign) {
      EXPECT_TRUE(sign_leaf(*joiner.suite, joiner.signer, changed.leaf_node, {}, 0).has_value());
      changed.signature =
          to_bytes(*joiner.signer.sign(kKeyPackageLabel, {key_package_tbs(changed)}));
    }
    return forge_list({make(AddProposal{changed})});
  };
  expect_refused("suite", add([](KeyPackage& p) { p.cipher_suite = static_cast<CipherSuite>(2); }),
                 ErrorCode::kUnsupported);
  expect_refused("init key is leaf key",
                 add([](KeyPackage& p) { p.init_key = p.leaf_node.encryption_key; }),
                 ErrorCode::kKeyReuse);
  expect_refused("init key length", add([](KeyPackage& p) { p.init_key.pop_back(); }),
                 ErrorCode::kInvalidKey);
  expect_refused("signature", add([](KeyPackage& p) { p.signature[9] ^= 1; }, false),
                 ErrorCode::kBadSignature);
  expect_refused("leaf signature", add([](KeyPackage& p) { p.leaf_node.signature[9] ^= 1; }, false),
                 ErrorCode::kBadSignature);
  expect_refused("leaf source", add([](KeyPackage& p) { p.leaf_node.source = LeafNodeSource::kUpdate; }),
                 ErrorCode::kInvalidKeyPackage);
  expect_refused("expired", add([](KeyPackage& p) { p.leaf_node.lifetime = {1, 2}; }),
                 ErrorCode::kExpired);
  expect_refused("a member's key", add([&](KeyPackage& p) {
                   p.leaf_node.encryption_key =
                       to_bytes(c().group->member(c().group->own_leaf())->encryption_key());
                 }),
                 ErrorCode::kKeyReuse);
  expect_refused("extension not listed", add([](KeyPackage& p) {
                   p.leaf_node.extensions = {{static_cast<ExtensionType>(0xf123), Bytes{}}};
                 }),
                 ErrorCode::kInvalidLeafNode);
  expect_refused("one joiner twice",
                 forge_list({make(AddProposal{package.key_package}), make(AddProposal{package.key_package})}),
                 ErrorCode::kKeyReuse);
  expect_good_still_works();
}

TEST_F(BadInput, ApplicationMessages) {
  auto message = a().group->protect(as_view("good"));
  ASSERT_TRUE(message.has_value());
  for (size_t i = 0; i < message->size(); i += 7) {
    Bytes spoiled = *message;
    spoiled[i] ^= 0x40;
    auto result = b().group->process(spoiled, kNow_s);
    EXPECT_FALSE(result.has_value()) << "byte " << i;
  }
  EXPECT_EQ(a().group->unprotect(*message, good_, *std::make_unique<MessageInfo>()).error().code,
            ErrorCode::kOwnMessage);
  auto opened = b().group->process(*message, kNow_s);
  ASSERT_TRUE(opened.has_value()) << opened.error().text;
  expect_refused("twice", *message, ErrorCode::kGenerationGone);
  for (size_t i = 0; i < kDefaultLimits.generations_ahead + 1; ++i) {
    ASSERT_TRUE(a().group->protect(as_view("lost")).has_value());
  }
  auto ahead = a().group->protect(as_view("ahead"));
  ASSERT_TRUE(ahead.has_value());
  expect_refused("too far ahead", *ahead, ErrorCode::kGenerationTooFarAhead);
}

TEST_F(BadInput, WaitingProposalsAreBounded) {
  for (size_t i = 0; i < kDefaultLimits.proposals_per_sender; ++i) {
    auto proposal = a().group->propose_update();
    ASSERT_TRUE(proposal.has_value()) << proposal.error().text;
    ASSERT_TRUE(b().group->process(*proposal, kNow_s).has_value());
  }
  EXPECT_EQ(a().group->propose_update().error().code, ErrorCode::kTooMany);
}

TEST_F(BadInput, Welcomes) {
  Client joiner(*find_suite(uint16_t{1}), random_, "joiner");
  Client other(*find_suite(uint16_t{1}), random_, "other");
  const PrivateKeyPackage package = joiner.make_package();
  const PrivateKeyPackage unrelated = other.make_package();
  CommitOptions options = commit_options();
  options.add.push_back(package.message);
  options.tree_in_welcome = false;
  auto made = a().group->commit(options);
  ASSERT_TRUE(made.has_value());
  EXPECT_EQ(other.join(unrelated, made->welcome, made->tree).error().code, ErrorCode::kNotForMe);
  EXPECT_EQ(joiner.join(package, made->welcome).error().code, ErrorCode::kInvalidGroupInfo);
  const Bytes old_tree = a().group->export_tree();
  EXPECT_EQ(joiner.join(package, made->welcome, old_tree).error().code, ErrorCode::kTreeHashMismatch);
  Bytes spoiled = made->welcome;
  spoiled.back() ^= 1;
  EXPECT_EQ(joiner.join(package, spoiled, made->tree).error().code, ErrorCode::kDecryptionFailed);
  const Status joined = joiner.join(package, made->welcome, made->tree);
  EXPECT_TRUE(joined.has_value()) << joined.error().text;
}

}  // namespace
}  // namespace slipway::mls
