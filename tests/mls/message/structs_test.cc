// Every wire struct: round trip with unknown values, and every way to spoil one.
#include <gtest/gtest.h>

#include "message/mls_message.h"
#include "message/tree_node.h"

namespace slipway::mls {
namespace {

LeafNode sample_leaf(LeafNodeSource source) {
  LeafNode leaf;
  leaf.encryption_key = Bytes(32, 1);
  leaf.signature_key = Bytes(32, 2);
  leaf.credential = basic_credential(as_view("alice"));
  leaf.capabilities.versions = {ProtocolVersion::kMls10, ProtocolVersion{0x7a7a}};
  leaf.capabilities.cipher_suites = {CipherSuite{1}, CipherSuite{2}, CipherSuite{0xfe4c}};
  leaf.capabilities.extensions = {ExtensionType{0x0a0a}};
  leaf.capabilities.proposals = {ProposalType{0x1a1a}};
  leaf.capabilities.credentials = {CredentialType::kBasic, CredentialType{0x2a2a}};
  leaf.source = source;
  leaf.lifetime = source == LeafNodeSource::kKeyPackage ? Lifetime{100, UINT64_MAX} : Lifetime{};
  leaf.parent_hash = source == LeafNodeSource::kCommit ? Bytes(32, 3) : Bytes();
  leaf.extensions = {{ExtensionType{0x0a0a}, {1, 2, 3}}, {ExtensionType::kApplicationId, {4}}};
  leaf.signature = Bytes(64, 4);
  return leaf;
}

KeyPackage sample_key_package() {
  KeyPackage package;
  package.cipher_suite = CipherSuite{1};
  package.init_key = Bytes(32, 5);
  package.leaf_node = sample_leaf(LeafNodeSource::kKeyPackage);
  package.extensions = {{ExtensionType{0xff00}, Bytes(70, 6)}};
  package.signature = Bytes(64, 7);
  return package;
}

PreSharedKeyId resumption_id() {
  PreSharedKeyId id;
  id.type = PskType::kResumption;
  id.usage = ResumptionPskUsage::kBranch;
  id.group_id = {1, 2};
  id.epoch = 77;
  id.nonce = Bytes(32, 8);
  return id;
}
PreSharedKeyId external_id() {
  PreSharedKeyId id;
  id.psk_id = {9, 9};
  id.nonce = Bytes(32, 8);
  return id;
}

std::vector<Proposal> sample_proposals() {
  return {{AddProposal{sample_key_package()}},
          {UpdateProposal{sample_leaf(LeafNodeSource::kUpdate)}},
          {RemoveProposal{4}},
          {PskProposal{external_id()}},
          {PskProposal{resumption_id()}},
          {ReInitProposal{{1}, ProtocolVersion::kMls10, CipherSuite{3}, {}}},
          {ExternalInitProposal{Bytes(65, 1)}},
          {GroupContextExtensionsProposal{{{ExtensionType::kExternalSenders, {}}}}},
          {UnknownProposal{ProposalType{0xf001}, {1, 2, 3}}}};
}

Commit sample_commit() {
  Commit commit;
  for (Proposal& proposal : sample_proposals()) {
    commit.proposals.push_back({std::move(proposal)});
  }
  commit.proposals.push_back({Bytes(32, 0x99)});
  commit.path = UpdatePath{sample_leaf(LeafNodeSource::kCommit),
                           {{Bytes(32, 1), {{Bytes(32, 2), Bytes(48, 3)}, {Bytes(32, 4), Bytes(48, 5)}}},
                            {Bytes(32, 6), {}}}};
  return commit;
}

GroupInfo sample_group_info() {
  GroupInfo info;
  info.group_context = {.cipher_suite = CipherSuite{1},
                        .group_id = {1, 2, 3},
                        .epoch = 5,
                        .tree_hash = Bytes(32, 1),
                        .confirmed_transcript_hash = Bytes(32, 2),
                        .extensions = {{ExtensionType::kRequiredCapabilities, {0, 0, 0}}}};
  info.extensions = {{ExtensionType::kExternalPub, Bytes(33, 3)}};
  info.confirmation_tag = Bytes(32, 4);
  info.signer = 6;
  info.signature = Bytes(64, 5);
  return info;
}

FramedContent sample_content(Sender sender, std::variant<ApplicationData, Proposal, Commit> body) {
  return {.group_id = {1, 2}, .epoch = 9, .sender = sender, .authenticated_data = {8}, .body = std::move(body)};
}

PublicMessage sample_public(Sender sender, std::variant<ApplicationData, Proposal, Commit> body) {
  PublicMessage message{sample_content(sender, std::move(body)), {Bytes(64, 1), {}}, {}};
  if (message.content.content_type() == ContentType::kCommit) {
    message.auth.confirmation_tag = Bytes(32, 2);
  }
  if (sender.type == SenderType::kMember) {
    message.membership_tag = Bytes(32, 3);
  }
  return message;
}

std::vector<Bytes> sample_messages() {
  Proposal remove{RemoveProposal{1}};
  PrivateMessage priv{{1, 2}, 9, ContentType::kCommit, {3}, Bytes(28, 4), Bytes(100, 5)};
  Welcome welcome{CipherSuite{1}, {{Bytes(32, 1), {Bytes(32, 2), Bytes(80, 3)}}}, Bytes(200, 4)};
  return {
      encode(MlsMessage{.body = sample_public({SenderType::kMember, 3}, sample_commit())}),
      encode(MlsMessage{.body = sample_public({SenderType::kMember, 3}, ApplicationData{{1, 2}})}),
      encode(MlsMessage{.body = sample_public({SenderType::kExternal, 1}, remove)}),
      encode(MlsMessage{.body = sample_public({SenderType::kNewMemberProposal, 0}, remove)}),
      encode(MlsMessage{.body = sample_public({SenderType::kNewMemberCommit, 0}, sample_commit())}),
      encode(MlsMessage{.body = priv}),
      encode(MlsMessage{.body = welcome}),
      encode(MlsMessage{.body = sample_group_info()}),
      encode(MlsMessage{.body = sample_key_package()}),
  };
}

template <class T>
void expect_code(View input, ErrorCode code, const Limits& limits = kDefaultLimits) {
  auto result = decode<T>(input, limits);
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().code, code) << result.error().text;
}

TEST(Structs, MessagesRoundTrip) {
  for (const Bytes& message : sample_messages()) {
    auto decoded = decode<MlsMessage>(message);
    ASSERT_TRUE(decoded) << decoded.error().text;
    EXPECT_EQ(encode(*decoded), message);
  }
}

TEST(Structs, MessagesCutShortOrLongAreRefused) {
  for (const Bytes& message : sample_messages()) {
    for (size_t size = 0; size < message.size(); ++size) {
      ASSERT_FALSE(decode<MlsMessage>(View(message).first(size))) << size << " of " << message.size();
    }
    Bytes longer = message;
    longer.push_back(0);
    expect_code<MlsMessage>(longer, ErrorCode::kMalformed);
  }
}

TEST(Structs, UnknownValuesSurvive) {
  LeafNode leaf = sample_leaf(LeafNodeSource::kKeyPackage);
  EXPECT_EQ(decode<LeafNode>(encode(leaf)).value(), leaf);
  leaf.credential = {CredentialType{0x3a3a}, {1, 2, 3}};
  EXPECT_EQ(decode<LeafNode>(encode(leaf)).value(), leaf);
  Proposal unknown{UnknownProposal{ProposalType{0x0a0a}, {5}}};
  auto decoded = decode<Proposal>(encode(unknown)).value();
  EXPECT_EQ(decoded, unknown);
  EXPECT_EQ(decoded.type(), ProposalType{0x0a0a});
}

TEST(Structs, ProposalTypesMatchTheirBodies) {
  const ProposalType wanted[] = {ProposalType::kAdd, ProposalType::kUpdate, ProposalType::kRemove,
                                 ProposalType::kPsk, ProposalType::kPsk, ProposalType::kReInit,
                                 ProposalType::kExternalInit, ProposalType::kGroupContextExtensions,
                                 ProposalType{0xf001}};
  auto proposals = sample_proposals();
  for (size_t i = 0; i < proposals.size(); ++i) {
    EXPECT_EQ(proposals[i].type(), wanted[i]);
    EXPECT_EQ(decode<Proposal>(encode(proposals[i])).value(), proposals[i]);
  }
}

TEST(Structs, LeafViewsAgreeWithLeaves) {
  for (auto source : {LeafNodeSource::kKeyPackage, LeafNodeSource::kUpdate, LeafNodeSource::kCommit}) {
    LeafNode leaf = sample_leaf(source);
    Bytes encoded = encode(leaf);
    auto view = decode<LeafNodeView>(encoded).value();
    EXPECT_EQ(encode(view), encoded);
    EXPECT_TRUE(equal(view.signature, leaf.signature));
    Bytes context;
    leaf_node_tbs_context(source, as_view("group"), 7, context);
    Bytes joined = to_bytes(leaf_node_signed_part(encoded, view));
    append(joined, context);
    EXPECT_EQ(joined, leaf_node_tbs(leaf, as_view("group"), 7));
    EXPECT_EQ(context.empty(), source == LeafNodeSource::kKeyPackage);
  }
}

TEST(Structs, GroupSecretsRoundTrip) {
  GroupSecrets secrets;
  secrets.joiner_secret.assign(32, 1);
  secrets.path_secret.emplace(32, uint8_t{2});
  secrets.psks = {external_id(), resumption_id()};
  SecretBytes encoded = encode_secret(secrets);
  auto decoded = decode<GroupSecrets>(encoded).value();
  EXPECT_EQ(encode_secret(decoded), encoded);
  secrets.path_secret.emplace(65, uint8_t{2});
  expect_code<GroupSecrets>(encode_secret(secrets), ErrorCode::kTooLarge);
  secrets.path_secret.reset();
  secrets.psks.assign(65, external_id());
  expect_code<GroupSecrets>(encode_secret(secrets), ErrorCode::kTooMany);
}

// --- Enumerations ---

// Decodes with each value of the byte at `position`; those listed must pass, others be malformed.
template <class T>
void expect_only(Bytes encoded, size_t position, std::initializer_list<uint8_t> allowed) {
  for (int value = 0; value < 256; ++value) {
    encoded[position] = static_cast<uint8_t>(value);
    bool is_allowed = std::find(allowed.begin(), allowed.end(), value) != allowed.end();
    auto result = decode<T>(encoded);
    if (is_allowed) {
      EXPECT_TRUE(result) << value;
    } else {
      ASSERT_FALSE(result) << value;
      EXPECT_EQ(result.error().code, ErrorCode::kMalformed);
    }
  }
}

TEST(BadStructs, EnumerationsOutOfRange) {
  LeafNode leaf = sample_leaf(LeafNodeSource::kUpdate);
  leaf.extensions.clear();
  Bytes encoded = encode(leaf);
  size_t source = encoded.size() - vector_size(leaf.signature.size()) - 2;
  ASSERT_EQ(encoded[source], 2);
  expect_only<LeafNode>(encoded, source, {2});  // the other sources have more fields
  expect_only<LeafNodeView>(encoded, source, {2});

  expect_only<std::optional<Node>>(encode(std::optional<Node>(Node{leaf})), 1, {1});
  expect_only<std::optional<Node>>(encode(std::optional<Node>(Node{leaf})), 0, {1});
  expect_only<ProposalOrRef>(encode(ProposalOrRef{Bytes(2, 0x7f)}), 0, {2});
  expect_only<PreSharedKeyId>(encode(external_id()), 0, {1});
  expect_only<PreSharedKeyId>(encode(resumption_id()), 0, {2});
  expect_only<PreSharedKeyId>(encode(resumption_id()), 1, {1, 2, 3});
  expect_only<Sender>(encode(Sender{SenderType::kMember, 1}), 0, {1, 2});
  expect_only<Sender>(encode(Sender{SenderType::kNewMemberCommit, 0}), 0, {3, 4});
  FramedContent content = sample_content({SenderType::kMember, 3}, ApplicationData{{1}});
  Bytes framed = encode(content);
  expect_only<FramedContent>(framed, framed.size() - 3, {1});
  PrivateMessage priv{{}, 9, ContentType::kCommit, {}, {}, {}};
  expect_only<PrivateMessage>(encode(priv), 9, {1, 2, 3});
  expect_only<PrivateMessageView>(encode(priv), 9, {1, 2, 3});
}

TEST(BadStructs, MessageHeadersNotOurs) {
  for (Bytes message : sample_messages()) {
    Bytes bad = message;
    bad[1] = 2;  // version
    expect_code<MlsMessage>(bad, ErrorCode::kUnsupported);
    EXPECT_EQ(peek_message(bad).error().code, ErrorCode::kUnsupported);
    for (uint8_t format : {0, 6, 255}) {
      bad = message;
      bad[3] = format;
      expect_code<MlsMessage>(bad, ErrorCode::kUnsupported);
      EXPECT_EQ(peek_message(bad).error().code, ErrorCode::kUnsupported);
    }
  }
}

TEST(BadStructs, PeekFindsSizeAndKind) {
  Bytes message = encode(MlsMessage{.body = sample_key_package()});
  auto peek = peek_message(message).value();
  EXPECT_EQ(peek.wire_format, WireFormat::kKeyPackage);
  EXPECT_EQ(peek.body.size(), message.size() - 4);
  EXPECT_EQ(decode_key_package(message).value(), sample_key_package());
  EXPECT_EQ(decode_welcome(message).error().code, ErrorCode::kWrongContentType);
  EXPECT_EQ(decode_group_info(message).error().code, ErrorCode::kWrongContentType);
  Limits tight;
  tight.handshake_message_bytes = message.size() - 1;
  EXPECT_EQ(peek_message(message, tight).error().code, ErrorCode::kTooLarge);
  EXPECT_EQ(peek_message({}).error().code, ErrorCode::kMalformed);
  EXPECT_EQ(peek_message(View(message).first(3)).error().code, ErrorCode::kMalformed);
}

// --- Bounds ---

TEST(BadStructs, DuplicateExtensionTypes) {
  Extensions twice = {{ExtensionType{7}, {1}}, {ExtensionType{8}, {}}, {ExtensionType{7}, {2}}};
  LeafNode leaf = sample_leaf(LeafNodeSource::kUpdate);
  leaf.extensions = twice;
  expect_code<LeafNode>(encode(leaf), ErrorCode::kDuplicateEntry);
  KeyPackage package = sample_key_package();
  package.extensions = twice;
  expect_code<KeyPackage>(encode(package), ErrorCode::kDuplicateEntry);
  GroupInfo info = sample_group_info();
  info.extensions = twice;
  expect_code<GroupInfo>(encode(info), ErrorCode::kDuplicateEntry);
  info = sample_group_info();
  info.group_context.extensions = twice;
  expect_code<GroupInfo>(encode(info), ErrorCode::kDuplicateEntry);
  expect_code<Proposal>(encode(Proposal{GroupContextExtensionsProposal{twice}}),
                        ErrorCode::kDuplicateEntry);
  expect_code<Proposal>(encode(Proposal{ReInitProposal{{1}, ProtocolVersion::kMls10, {}, twice}}),
                        ErrorCode::kDuplicateEntry);
}

TEST(BadStructs, TooManyOrTooLarge) {
  LeafNode leaf = sample_leaf(LeafNodeSource::kUpdate);
  for (uint16_t i = 0; leaf.extensions.size() < 65; ++i) {
    leaf.extensions.push_back({ExtensionType{static_cast<uint16_t>(100 + i)}, {}});
  }
  expect_code<LeafNode>(encode(leaf), ErrorCode::kTooMany);
  leaf.extensions.pop_back();
  EXPECT_TRUE(decode<LeafNode>(encode(leaf)));

  leaf.capabilities.cipher_suites.assign(257, CipherSuite{1});
  expect_code<LeafNode>(encode(leaf), ErrorCode::kTooMany);
  leaf.capabilities.cipher_suites.pop_back();
  EXPECT_TRUE(decode<LeafNode>(encode(leaf)));

  leaf.credential = basic_credential(Bytes(16'385));
  expect_code<LeafNode>(encode(leaf), ErrorCode::kTooLarge);
  expect_code<LeafNodeView>(encode(leaf), ErrorCode::kTooLarge);
  leaf.credential = basic_credential(Bytes(16'384));
  EXPECT_TRUE(decode<LeafNode>(encode(leaf)));
  Limits wide;
  wide.credential_bytes = 20'000;
  leaf.credential = basic_credential(Bytes(20'000));
  EXPECT_TRUE(decode<LeafNode>(encode(leaf), wide));
  leaf.credential = basic_credential({});

  leaf.signature = Bytes(257);
  expect_code<LeafNode>(encode(leaf), ErrorCode::kTooLarge);
  leaf.signature = Bytes(256);
  EXPECT_TRUE(decode<LeafNode>(encode(leaf)));
  leaf.encryption_key = Bytes(257);
  expect_code<LeafNode>(encode(leaf), ErrorCode::kTooLarge);
}

TEST(BadStructs, TooManyProposalsNodesAndCiphertexts) {
  Limits tight;
  tight.proposals_per_commit = 9;
  expect_code<Commit>(encode(sample_commit()), ErrorCode::kTooMany, tight);
  tight = {};
  tight.path_nodes = 1;
  expect_code<Commit>(encode(sample_commit()), ErrorCode::kTooMany, tight);
  tight = {};
  tight.path_ciphertexts = 1;
  expect_code<Commit>(encode(sample_commit()), ErrorCode::kTooMany, tight);
  Commit many;
  many.proposals.assign(65'537, ProposalOrRef{Bytes(1, 1)});
  expect_code<Commit>(encode(many), ErrorCode::kTooMany);

  Welcome welcome{CipherSuite{1}, {2, {Bytes(32, 1), {Bytes(32, 2), Bytes(80, 3)}}}, {}};
  tight = {};
  tight.welcome_secrets = 1;
  expect_code<Welcome>(encode(welcome), ErrorCode::kTooMany, tight);
}

TEST(BadStructs, TreesLargerThanTheBound) {
  Bytes blanks;
  Writer writer(blanks);
  writer(Bytes(2 * 65'536 + 1));  // blank nodes are single zero bytes
  auto tree = decode<RatchetTreeView>(blanks).value();
  EXPECT_EQ(tree.nodes.for_each([](auto&&) { return Status(); }).error().code, ErrorCode::kTooMany);
}

TEST(Credentials, HoldIdentitiesAndCertificates) {
  std::vector<Bytes> chain = {Bytes(900, 1), Bytes(70, 2)};
  Credential credential = x509_credential(chain);
  EXPECT_EQ(decode<Credential>(encode(credential)).value(), credential);
  EXPECT_EQ(certificates_of(credential).value(), chain);
  EXPECT_EQ(certificates_of(basic_credential({})).error().code, ErrorCode::kInvalidArgument);
  Credential broken{CredentialType::kX509, {0x05, 1}};
  EXPECT_EQ(certificates_of(broken).error().code, ErrorCode::kMalformed);
  expect_code<Credential>(encode(broken), ErrorCode::kMalformed);
}

TEST(Extensions, AreFoundAndDecoded) {
  RequiredCapabilities required{{ExtensionType{9}}, {}, {CredentialType::kBasic}};
  Extensions extensions = {{ExtensionType::kRequiredCapabilities, encode(required)},
                           {ExtensionType::kExternalSenders, Bytes{0x01, 0x00}}};
  auto found = decode_extension<RequiredCapabilities>(extensions, ExtensionType::kRequiredCapabilities);
  EXPECT_EQ(found.value().value(), required);
  EXPECT_FALSE(decode_extension<ExternalPub>(extensions, ExtensionType::kExternalPub).value());
  EXPECT_EQ(decode_extension<ExternalSenders>(extensions, ExtensionType::kExternalSenders).error().code,
            ErrorCode::kMalformed);
}

TEST(Types, GreaseAndDefaults) {
  int grease = 0;
  for (int value = 0; value <= UINT16_MAX; ++value) {
    grease += is_grease(static_cast<uint16_t>(value));
  }
  EXPECT_EQ(grease, 15);
  EXPECT_TRUE(is_grease(0x0a0a) && is_grease(0xeaea) && !is_grease(0xfafa) && !is_grease(0x0a1a));
  EXPECT_TRUE(is_default(ExtensionType{5}) && !is_default(ExtensionType{6}) && !is_default(ExtensionType{0}));
  EXPECT_TRUE(is_default(ProposalType{7}) && !is_default(ProposalType{8}));
}

}  // namespace
}  // namespace slipway::mls
