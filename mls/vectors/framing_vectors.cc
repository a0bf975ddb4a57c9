// Procedures of message-protection and welcome.
#include "crypto/aead.h"
#include "crypto/hpke.h"
#include "key_schedule/epoch_secrets.h"
#include "key_schedule/framing.h"
#include "key_schedule/transcript.h"
#include "vectors/entry.h"

namespace slipway::mls::vectors {
namespace {

constexpr uint32_t kSenderLeaf = 1;
constexpr uint32_t kLeaves = 2;

// One epoch's keys, and what its members do with them.
struct Protection {
  const Suite& suite;
  GroupContext group;
  Bytes context;
  SignatureKey key;
  SignaturePublicKey public_key;
  Bytes encryption_secret, sender_data_secret, membership_key;

  explicit Protection(const Entry& entry)
      : suite(entry.suite()),
        group{.cipher_suite = suite.id,
              .group_id = entry.hex("group_id"),
              .epoch = entry.number("epoch"),
              .tree_hash = entry.hex("tree_hash"),
              .confirmed_transcript_hash = entry.hex("confirmed_transcript_hash"),
              .extensions = {}},
        context(encode(group)),
        key(expect_value("signature_priv", SignatureKey::import(suite, entry.hex("signature_priv")))),
        public_key(
            expect_value("signature_pub", SignaturePublicKey::import(suite, entry.hex("signature_pub")))),
        encryption_secret(entry.hex("encryption_secret")),
        sender_data_secret(entry.hex("sender_data_secret")),
        membership_key(entry.hex("membership_key")) {}

  SecretTree fresh_tree() const { return SecretTree(suite, Secret(encryption_secret), kLeaves); }

  // The content of a PublicMessage, all checks made.
  PublicMessageView open_public_message(View message) const {
    auto peek = expect_value("reading the message", peek_message(message));
    expect("not a PublicMessage", peek.wire_format == WireFormat::kPublicMessage);
    auto opened = expect_value("reading the PublicMessage", read_public(peek.body));
    expect_ok("membership tag", check_membership_tag(suite, opened, membership_key, context));
    expect_ok("signature", verify_content(public_key, peek.wire_format, opened.content,
                                          opened.auth.signature, context));
    return opened;
  }

  PrivateContentView open_private_message(View message, Bytes& buffer) const {
    auto peek = expect_value("reading the message", peek_message(message));
    expect("not a PrivateMessage", peek.wire_format == WireFormat::kPrivateMessage);
    auto view = expect_value("reading the PrivateMessage", read_private(peek.body));
    auto sender = expect_value("sender data", open_sender_data(suite, view, sender_data_secret));
    SecretTree tree = fresh_tree();
    auto found = expect_value("message key", tree.find(sender.leaf_index, ratchet_of(view.content_type),
                                                       sender.generation));
    auto opened =
        expect_value("decrypting", open_private(suite, view, sender, found.message_key, buffer));
    expect_ok("signature", verify_content(public_key, peek.wire_format, opened.content,
                                          opened.auth.signature, context));
    return opened;
  }
};

void check_content(const ContentView& content, ContentType type, View body) {
  expect("content type differs", content.type == type);
  expect("sender differs", content.sender == Sender{SenderType::kMember, kSenderLeaf});
  expect_equal("body", content.body, body);
}

void check_public(const Protection& p, ContentType type, View body, View given) {
  PublicMessageView opened = p.open_public_message(given);
  check_content(opened.content, type, body);
  Signature signature = expect_value(
      "signing", sign_content(p.key, WireFormat::kPublicMessage, opened.content, p.context));
  Bytes out;
  expect_ok("writing", write_public(p.suite, opened.content, {signature, opened.auth.confirmation_tag},
                                    p.membership_key, p.context, out));
  check_content(p.open_public_message(out).content, type, body);
}

void check_private(const Protection& p, ContentType type, View body, View given) {
  Bytes buffer;
  PrivateContentView opened = p.open_private_message(given, buffer);
  check_content(opened.content, type, body);
  Signature signature = expect_value(
      "signing", sign_content(p.key, WireFormat::kPrivateMessage, opened.content, p.context));
  SecretTree tree = p.fresh_tree();
  for (size_t padding : {0, 1, 77}) {
    MessageKey key = expect_value("next key", tree.next(kSenderLeaf, ratchet_of(type)));
    Bytes out, again;
    expect_ok("sealing", seal_private(p.suite, opened.content, {signature, opened.auth.confirmation_tag},
                                      p.sender_data_secret, key, padding, system_random(), out));
    PrivateContentView ours = p.open_private_message(out, again);
    check_content(ours.content, type, body);
    expect("padding differs", ours.padding == padding);
  }
}

void check_no_public_application(const Protection& p, View data) {
  ContentView content{p.group.group_id, p.group.epoch, {SenderType::kMember, kSenderLeaf}, {},
                      ContentType::kApplication, data};
  Signature signature = expect_value(
      "signing", sign_content(p.key, WireFormat::kPublicMessage, content, p.context));
  Bytes out;
  expect_error("application data must not be sent as PublicMessage",
               write_public(p.suite, content, {signature, {}}, p.membership_key, p.context, out),
               ErrorCode::kWrongContentType);
  PublicMessage forged{.content = {p.group.group_id, p.group.epoch, content.sender, {},
                                   ApplicationData{to_bytes(data)}},
                       .auth = {to_bytes(signature), {}},
                       .membership_tag = Bytes(p.suite.hash_size)};
  expect_error("application data must not be read as PublicMessage", read_public(encode(forged)),
               ErrorCode::kWrongContentType);
}

void run_message_protection(const Entry& entry) {
  Protection p(entry);
  expect_equal("signature_pub", p.key.public_key(), entry.hex("signature_pub"));
  Bytes proposal = entry.hex("proposal"), commit = entry.hex("commit");
  expect_value("proposal", decode<Proposal>(proposal));
  expect_value("commit", decode<Commit>(commit));
  check_public(p, ContentType::kProposal, proposal, entry.hex("proposal_pub"));
  check_public(p, ContentType::kCommit, commit, entry.hex("commit_pub"));
  check_private(p, ContentType::kProposal, proposal, entry.hex("proposal_priv"));
  check_private(p, ContentType::kCommit, commit, entry.hex("commit_priv"));
  check_private(p, ContentType::kApplication, entry.hex("application"), entry.hex("application_priv"));
  check_no_public_application(p, entry.hex("application"));
}

GroupSecrets open_group_secrets(const Suite& suite, const Welcome& welcome, View reference,
                                const KemKey& init_key) {
  for (const EncryptedGroupSecrets& secrets : welcome.secrets) {
    if (equal(secrets.new_member, reference)) {
      const HpkeCiphertext& sealed = secrets.encrypted_group_secrets;
      auto opened = expect_value("group secrets",
                                 decrypt_with_label(suite, init_key, "Welcome", welcome.encrypted_group_info,
                                                    sealed.kem_output, sealed.ciphertext));
      return expect_value("group secrets", decode<GroupSecrets>(opened));
    }
  }
  throw Failure("the welcome has no entry for the key package");
}

void run_welcome(const Entry& entry) {
  const Suite& suite = entry.suite();
  auto key_package = expect_value("key_package", decode_key_package(entry.hex("key_package")));
  auto welcome = expect_value("welcome", decode_welcome(entry.hex("welcome")));
  expect("suite of the welcome differs", welcome.cipher_suite == suite.id);
  auto init_key = expect_value("init_priv", KemKey::import(suite, entry.hex("init_priv")));
  expect_equal("init key", init_key.public_key(), key_package.init_key);
  auto leaf = key_package.leaf_node;
  expect_ok("leaf signature", verify_once(suite, leaf.signature_key, kLeafNodeLabel,
                                          {leaf_node_tbs(leaf, {}, 0)}, leaf.signature));
  expect_ok("key package signature",
            verify_once(suite, leaf.signature_key, kKeyPackageLabel, {key_package_tbs(key_package)},
                        key_package.signature));

  GroupSecrets secrets =
      open_group_secrets(suite, welcome, key_package_ref(suite, key_package), init_key);
  Secret member = make_member_secret(suite, secrets.joiner_secret, Secret::zeros(suite.hash_size));
  WelcomeKey key = make_welcome_key(suite, make_welcome_secret(suite, member));
  expect("group info too short", welcome.encrypted_group_info.size() >= kAeadTagBytes);
  Bytes plaintext(welcome.encrypted_group_info.size() - kAeadTagBytes);
  expect_ok("opening the group info",
            aead_open(suite, key.key, key.nonce, {}, welcome.encrypted_group_info, plaintext));
  auto info = expect_value("group info", decode<GroupInfo>(plaintext));
  expect_ok("group info signature", verify_once(suite, entry.hex("signer_pub"), kGroupInfoLabel,
                                                {group_info_tbs(info)}, info.signature));
  EpochSecrets epoch = make_epoch_secrets(suite, std::move(member), encode(info.group_context));
  expect_ok("confirmation tag",
            check_confirmation_tag(suite, epoch.confirmation_key,
                                   info.group_context.confirmed_transcript_hash, info.confirmation_tag));
}

}  // namespace

std::vector<Kind> framing_kinds() {
  return {{"message-protection", run_message_protection}, {"welcome", run_welcome}};
}

}  // namespace slipway::mls::vectors
