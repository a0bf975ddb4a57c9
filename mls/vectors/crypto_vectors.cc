// Procedures of crypto-basics and hpke-rfc9180-base.
#include "crypto/aead.h"
#include "crypto/hkdf.h"
#include "crypto/hpke.h"
#include "crypto/signature_key.h"
#include "vectors/entry.h"

namespace slipway::mls::vectors {
namespace {

void run_derivations(const Suite& suite, const Entry& entry) {
  Entry e = entry.object("ref_hash");
  expect_equal("ref_hash", ref_hash(suite, e.text("label"), e.hex("value")), e.hex("out"));

  e = entry.object("expand_with_label");
  SecretBytes expanded(e.number("length"));
  expand_with_label_into(suite, e.hex("secret"), e.text("label"), e.hex("context"), expanded);
  expect_equal("expand_with_label", expanded, e.hex("out"));

  e = entry.object("derive_secret");
  expect_equal("derive_secret", derive_secret(suite, e.hex("secret"), e.text("label")), e.hex("out"));

  e = entry.object("derive_tree_secret");
  expect_equal("derive_tree_secret",
               derive_tree_secret(suite, e.hex("secret"), e.text("label"),
                                  static_cast<uint32_t>(e.number("generation")), e.number("length")),
               e.hex("out"));
}

void run_signature(const Suite& suite, const Entry& e) {
  Bytes content = e.hex("content");
  std::string label = e.text("label");
  auto key = expect_value("importing priv", SignatureKey::import(suite, e.hex("priv")));
  expect_equal("public key of priv", key.public_key(), e.hex("pub"));
  auto kept = expect_value("importing pub", SignaturePublicKey::import(suite, e.hex("pub")));
  expect_ok("verifying signature", kept.verify(label, {content}, e.hex("signature")));
  expect_ok("verifying signature once",
            verify_once(suite, e.hex("pub"), label, {content}, e.hex("signature")));
  Signature made = expect_value("signing", key.sign(label, {content}));
  expect_ok("verifying our signature", kept.verify(label, {content}, made));
  Bytes other = content;
  other.push_back(0);
  expect_error("other content must not verify", kept.verify(label, {other}, made),
               ErrorCode::kBadSignature);
}

void run_encryption(const Suite& suite, const Entry& e) {
  Bytes context = e.hex("context");
  std::string label = e.text("label");
  auto key = expect_value("importing priv", KemKey::import(suite, e.hex("priv")));
  expect_equal("public key of priv", key.public_key(), e.hex("pub"));
  expect_equal("plaintext",
               expect_value("decrypting", decrypt_with_label(suite, key, label, context,
                                                             e.hex("kem_output"), e.hex("ciphertext"))),
               e.hex("plaintext"));
  HpkeSealed sealed = expect_value(
      "encrypting", encrypt_with_label(suite, e.hex("pub"), label, context, e.hex("plaintext"),
                                       system_random()));
  expect_equal("our plaintext",
               expect_value("decrypting ours", decrypt_with_label(suite, key, label, context, sealed.enc,
                                                                  sealed.ciphertext)),
               e.hex("plaintext"));
}

void run_crypto_basics(const Entry& entry) {
  const Suite& suite = entry.suite();
  run_derivations(suite, entry);
  run_signature(suite, entry.object("sign_with_label"));
  run_encryption(suite, entry.object("encrypt_with_label"));
}

// A suite with these three algorithms of HPKE.
const Suite& hpke_suite(const Entry& entry) {
  for (const Suite& suite : all_suites()) {
    if (static_cast<uint64_t>(suite.kem) == entry.number("kem_id") &&
        static_cast<uint64_t>(suite.kdf) == entry.number("kdf_id") &&
        static_cast<uint64_t>(suite.aead) == entry.number("aead_id")) {
      return suite;
    }
  }
  throw Failure("no cipher suite has this KEM, KDF and AEAD");
}

KemKey derived_key(const Suite& suite, const Entry& entry, const char* ikm, const char* pk,
                   const char* sk) {
  auto key = expect_value("DeriveKeyPair", KemKey::derive(suite, entry.hex(ikm)));
  expect_equal(pk, key.public_key(), entry.hex(pk));
  expect_equal(sk, key.private_key(), entry.hex(sk));
  return key;
}

void run_hpke(const Entry& entry) {
  const Suite& suite = hpke_suite(entry);
  expect("mode is not base", entry.number("mode") == 0);
  KemKey ephemeral = derived_key(suite, entry, "ikmE", "pkEm", "skEm");
  KemKey receiver = derived_key(suite, entry, "ikmR", "pkRm", "skRm");

  auto sent = expect_value("Encap", kem_encap_with(suite, receiver.public_key(), ephemeral));
  expect_equal("enc", sent.enc, entry.hex("enc"));
  expect_equal("shared_secret", sent.shared_secret, entry.hex("shared_secret"));
  expect_equal("shared_secret of Decap",
               expect_value("Decap", kem_decap(suite, receiver, entry.hex("enc"))),
               entry.hex("shared_secret"));

  Bytes info = entry.hex("info");
  HpkeContext context = hpke_key_schedule(suite, sent.shared_secret, info);
  expect_equal("key", context.key, entry.hex("key"));
  expect_equal("base_nonce", context.base_nonce, entry.hex("base_nonce"));
  expect_equal("exporter_secret", context.exporter_secret, entry.hex("exporter_secret"));

  for (const Entry& e : entry.objects("encryptions")) {
    Bytes plaintext = e.hex("pt");
    Bytes sealed(plaintext.size() + kAeadTagBytes);
    expect_ok("sealing", aead_seal(suite, context.key, e.hex("nonce"), {e.hex("aad")}, plaintext, sealed));
    expect_equal("ct", sealed, e.hex("ct"));
    if (e.number("sequence_number") == 0) {
      expect_equal("nonce of sequence number 0", context.base_nonce, e.hex("nonce"));
      expect_equal("pt", expect_value("opening", hpke_open(suite, receiver, entry.hex("enc"), info,
                                                           e.hex("aad"), e.hex("ct"))),
                   plaintext);
    }
  }
  for (const Entry& e : entry.objects("exports")) {
    Bytes exporter_context = e.hex("exporter_context");
    expect_equal("exported_value",
                 expect_value("exporting",
                              hpke_export_from(suite, receiver, entry.hex("enc"), info,
                                               as_text(exporter_context), e.number("L"))),
                 e.hex("exported_value"));
  }
}

}  // namespace

std::vector<Kind> crypto_kinds() {
  return {{"crypto-basics", run_crypto_basics}, {"hpke-rfc9180-base", run_hpke}};
}

}  // namespace slipway::mls::vectors
