// Procedures of transcript-hashes, psk_secret, key-schedule and secret-tree.
#include "key_schedule/epoch_secrets.h"
#include "key_schedule/psk.h"
#include "key_schedule/transcript.h"
#include "vectors/entry.h"

namespace slipway::mls::vectors {
namespace {

void run_transcript_hashes(const Entry& entry) {
  const Suite& suite = entry.suite();
  auto content = expect_value("authenticated_content",
                              decode<AuthenticatedContent>(entry.hex("authenticated_content")));
  Bytes body;
  ContentView view = view_of(content.content, body);
  expect("authenticated_content holds no commit", view.type == ContentType::kCommit);
  HashValue confirmed =
      confirmed_transcript_hash(suite, entry.hex("interim_transcript_hash_before"), content.wire_format,
                                view, content.auth.signature);
  expect_equal("confirmed_transcript_hash_after", confirmed, entry.hex("confirmed_transcript_hash_after"));
  expect_ok("confirmation tag", check_confirmation_tag(suite, entry.hex("confirmation_key"), confirmed,
                                                       content.auth.confirmation_tag));
  expect_equal("interim_transcript_hash_after",
               interim_transcript_hash(suite, confirmed, content.auth.confirmation_tag),
               entry.hex("interim_transcript_hash_after"));
}

void run_psk_secret(const Entry& entry) {
  const Suite& suite = entry.suite();
  std::vector<PreSharedKeyId> ids;
  std::vector<Bytes> psks;
  for (const Entry& e : entry.objects("psks")) {
    PreSharedKeyId& id = ids.emplace_back();
    id.psk_id = e.hex("psk_id");
    id.nonce = e.hex("psk_nonce");
    psks.push_back(e.hex("psk"));
  }
  std::vector<PskInput> inputs;
  for (size_t i = 0; i < ids.size(); ++i) {
    inputs.push_back({&ids[i], psks[i]});
  }
  expect_equal("psk_secret", fold_psks(suite, inputs), entry.hex("psk_secret"));
}

void check_epoch_secrets(const EpochSecrets& secrets, const Entry& e) {
  expect_equal("init_secret", secrets.init_secret, e.hex("init_secret"));
  expect_equal("sender_data_secret", secrets.sender_data_secret, e.hex("sender_data_secret"));
  expect_equal("encryption_secret", secrets.encryption_secret, e.hex("encryption_secret"));
  expect_equal("exporter_secret", secrets.exporter_secret, e.hex("exporter_secret"));
  expect_equal("epoch_authenticator", secrets.epoch_authenticator, e.hex("epoch_authenticator"));
  expect_equal("external_secret", secrets.external_secret, e.hex("external_secret"));
  expect_equal("confirmation_key", secrets.confirmation_key, e.hex("confirmation_key"));
  expect_equal("membership_key", secrets.membership_key, e.hex("membership_key"));
  expect_equal("resumption_psk", secrets.resumption_psk, e.hex("resumption_psk"));
}

void run_key_schedule(const Entry& entry) {
  const Suite& suite = entry.suite();
  Secret init_secret(entry.hex("initial_init_secret"));
  uint64_t epoch = 0;
  for (const Entry& e : entry.objects("epochs")) {
    GroupContext context{.cipher_suite = suite.id,
                         .group_id = entry.hex("group_id"),
                         .epoch = epoch++,
                         .tree_hash = e.hex("tree_hash"),
                         .confirmed_transcript_hash = e.hex("confirmed_transcript_hash"),
                         .extensions = {}};
    Bytes encoded = encode(context);
    expect_equal("group_context", encoded, e.hex("group_context"));
    Secret joiner =
        make_joiner_secret(suite, std::move(init_secret), Secret(e.hex("commit_secret")), encoded);
    expect_equal("joiner_secret", joiner, e.hex("joiner_secret"));
    Secret member = make_member_secret(suite, joiner, e.hex("psk_secret"));
    expect_equal("welcome_secret", make_welcome_secret(suite, member), e.hex("welcome_secret"));
    EpochSecrets secrets = make_epoch_secrets(suite, std::move(member), encoded);
    check_epoch_secrets(secrets, e);
    KemKey external = expect_value("external key", external_key(suite, secrets.external_secret));
    expect_equal("external_pub", external.public_key(), e.hex("external_pub"));
    Entry exporter = e.object("exporter");
    expect_equal("exporter",
                 expect_value("exporting",
                              export_secret(suite, secrets.exporter_secret, exporter.text("label"),
                                            exporter.hex("context"), exporter.number("length"))),
                 exporter.hex("secret"));
    init_secret = std::move(secrets.init_secret);
  }
}

void check_key(const char* what, SecretTree& tree, uint32_t leaf, RatchetKind kind,
               uint32_t generation, View key, View nonce) {
  auto found = expect_value(what, tree.find(leaf, kind, generation));
  expect_equal(what, found.message_key.key, key);
  expect_equal(what, found.message_key.nonce, nonce);
  tree.accept(std::move(found));
  expect_error("a key must serve once", tree.find(leaf, kind, generation), ErrorCode::kGenerationGone);
}

// `tree` jumps from one given generation to the next, `ordered` takes each key on the way.
void check_leaf(SecretTree& tree, SecretTree& ordered, uint32_t leaf,
                const std::vector<Entry>& generations) {
  uint32_t next = 0;
  for (const Entry& e : generations) {
    auto generation = static_cast<uint32_t>(e.number("generation"));
    Bytes handshake_key = e.hex("handshake_key"), handshake_nonce = e.hex("handshake_nonce");
    Bytes application_key = e.hex("application_key"), application_nonce = e.hex("application_nonce");
    check_key("handshake key", tree, leaf, RatchetKind::kHandshake, generation, handshake_key,
              handshake_nonce);
    check_key("application key", tree, leaf, RatchetKind::kApplication, generation, application_key,
              application_nonce);
    MessageKey handshake, application;
    for (; next <= generation; ++next) {
      handshake = expect_value("next", ordered.next(leaf, RatchetKind::kHandshake));
      application = expect_value("next", ordered.next(leaf, RatchetKind::kApplication));
    }
    expect_equal("handshake key in order", handshake.key, handshake_key);
    expect_equal("handshake nonce in order", handshake.nonce, handshake_nonce);
    expect_equal("application key in order", application.key, application_key);
    expect_equal("application nonce in order", application.nonce, application_nonce);
  }
}

void run_secret_tree(const Entry& entry) {
  const Suite& suite = entry.suite();
  Entry e = entry.object("sender_data");
  SenderDataKey sender_data =
      make_sender_data_key(suite, e.hex("sender_data_secret"), e.hex("ciphertext"));
  expect_equal("sender data key", sender_data.key, e.hex("key"));
  expect_equal("sender data nonce", sender_data.nonce, e.hex("nonce"));

  auto leaves = entry.object_lists("leaves");
  auto count = static_cast<uint32_t>(leaves.size());
  SecretTree tree(suite, Secret(entry.hex("encryption_secret")), count);
  SecretTree ordered(suite, Secret(entry.hex("encryption_secret")), count);
  for (uint32_t leaf = 0; leaf < count; ++leaf) {
    check_leaf(tree, ordered, leaf, leaves[leaf]);
  }
}

}  // namespace

std::vector<Kind> key_schedule_kinds() {
  return {{"transcript-hashes", run_transcript_hashes},
          {"psk_secret", run_psk_secret},
          {"key-schedule", run_key_schedule},
          {"secret-tree", run_secret_tree}};
}

}  // namespace slipway::mls::vectors
