#include "crypto/hpke.h"

#include "crypto/aead.h"
#include "crypto/hpke_labels.h"
#include "crypto/vector_header.h"

namespace slipway::mls {
namespace {

using internal::labeled_expand;
using internal::labeled_extract;

constexpr std::string_view kPrefix = "MLS 1.0 ";

Secret extract_and_expand(const Suite& suite, View dh, View enc, View public_key) {
  View id = suite.kem_suite_id;
  Secret prk = labeled_extract(suite.kem_kdf, id, {}, "eae_prk", dh);
  // Nsecret is the size of the KEM's hash.
  return labeled_expand(suite.kem_kdf, id, prk, "shared_secret", {enc, public_key}, prk.size());
}

// EncryptContext of RFC 9420, 5.1.3, which becomes HPKE's info.
Bytes encrypt_context(std::string_view label, View context) {
  Bytes info;
  info.reserve(vector_size(kPrefix.size() + label.size()) + vector_size(context.size()));
  append(info, length_header(kPrefix.size() + label.size()));
  append(info, as_view(kPrefix));
  append(info, as_view(label));
  append(info, length_header(context.size()));
  append(info, context);
  return info;
}

Secret hpke_export(const Suite& suite, const HpkeContext& context, std::string_view exporter_context,
                   size_t size) {
  return labeled_expand(suite.kdf, suite.hpke_suite_id, context.exporter_secret, "sec",
                        {as_view(exporter_context)}, size);
}

}  // namespace

Result<Encapsulated> kem_encap_with(const Suite& suite, View public_key, const KemKey& ephemeral) {
  MLS_ASSIGN(Secret dh, ephemeral.dh(suite, public_key));
  Encapsulated out;
  out.enc.assign(ephemeral.public_key());
  out.shared_secret = extract_and_expand(suite, dh, out.enc, public_key);
  return out;
}

Result<Encapsulated> kem_encap(const Suite& suite, View public_key, Random& random) {
  MLS_ASSIGN(const EphemeralDh ephemeral, ephemeral_dh(suite, public_key, random));
  Encapsulated out;
  out.enc = ephemeral.public_key;
  out.shared_secret = extract_and_expand(suite, ephemeral.shared_secret, out.enc, public_key);
  return out;
}

Result<Secret> kem_decap(const Suite& suite, const KemKey& key, View enc) {
  if (key.empty()) {
    return fail(ErrorCode::kInvalidArgument, "decapsulating: no private key");
  }
  MLS_ASSIGN(Secret dh, key.dh(suite, enc));
  return extract_and_expand(suite, dh, enc, key.public_key());
}

namespace {

using KeyScheduleContext = InlineBytes<1 + 2 * kMaxHashBytes>;

// key_schedule_context: mode 0, hash of the empty psk_id, hash of the info.
KeyScheduleContext key_schedule_context(const Suite& suite, View info_hash) {
  const size_t hash_size = suite.hash_size;
  auto context = KeyScheduleContext::with_size(1 + 2 * hash_size);
  std::copy_n(View(suite.hpke_psk_id_hash).data(), hash_size, context.data() + 1);
  std::copy_n(info_hash.data(), hash_size, context.data() + 1 + hash_size);
  return context;
}

Secret hash_info(const Suite& suite, View info) {
  return labeled_extract(suite.kdf, suite.hpke_suite_id, {}, "info_hash", info);
}

struct SealingKey {
  Secret key;
  Secret nonce;
};
SealingKey sealing_key(const Suite& suite, View secret, View context) {
  View id = suite.hpke_suite_id;
  return {labeled_expand(suite.kdf, id, secret, "key", {context}, suite.aead_key_size),
          labeled_expand(suite.kdf, id, secret, "base_nonce", {context}, kAeadNonceBytes)};
}
Secret schedule_secret(const Suite& suite, View shared_secret) {
  return labeled_extract(suite.kdf, suite.hpke_suite_id, shared_secret, "secret", {});
}

Result<SecretBytes> open_with(const Suite& suite, const KemKey& key, const KeyScheduleContext& context,
                              View enc, View aad, View ciphertext) {
  if (ciphertext.size() < kAeadTagBytes) {
    return fail(ErrorCode::kDecryptionFailed, "opening an HPKE ciphertext: shorter than its tag");
  }
  MLS_ASSIGN(const Secret shared_secret, kem_decap(suite, key, enc));
  const SealingKey sealing = sealing_key(suite, schedule_secret(suite, shared_secret), context);
  SecretBytes plaintext(ciphertext.size() - kAeadTagBytes);
  MLS_TRY(aead_open(suite, sealing.key, sealing.nonce, {aad}, ciphertext, plaintext));
  return plaintext;
}

Result<HpkeSealed> seal_with(const Suite& suite, const Encapsulated& encapsulated,
                             const KeyScheduleContext& context, View aad, View plaintext) {
  const SealingKey sealing =
      sealing_key(suite, schedule_secret(suite, encapsulated.shared_secret), context);
  HpkeSealed sealed;
  sealed.enc = to_bytes(encapsulated.enc);
  sealed.ciphertext.resize(plaintext.size() + kAeadTagBytes);
  MLS_TRY(aead_seal(suite, sealing.key, sealing.nonce, {aad}, plaintext, sealed.ciphertext));
  return sealed;
}

}  // namespace

HpkeContext hpke_key_schedule(const Suite& suite, View shared_secret, View info) {
  const auto context = key_schedule_context(suite, hash_info(suite, info));
  const Secret secret = schedule_secret(suite, shared_secret);
  SealingKey sealing = sealing_key(suite, secret, context);
  HpkeContext out;
  out.key = std::move(sealing.key);
  out.base_nonce = std::move(sealing.nonce);
  out.exporter_secret =
      labeled_expand(suite.kdf, suite.hpke_suite_id, secret, "exp", {context}, suite.hash_size);
  return out;
}

Result<HpkeSealed> hpke_seal(const Suite& suite, View public_key, View info, View aad, View plaintext,
                             Random& random) {
  MLS_ASSIGN(const Encapsulated encapsulated, kem_encap(suite, public_key, random));
  return seal_with(suite, encapsulated, key_schedule_context(suite, hash_info(suite, info)), aad, plaintext);
}

Result<SecretBytes> hpke_open(const Suite& suite, const KemKey& key, View enc, View info, View aad,
                              View ciphertext) {
  return open_with(suite, key, key_schedule_context(suite, hash_info(suite, info)), enc, aad, ciphertext);
}

Result<HpkeExported> hpke_export_to(const Suite& suite, View public_key, View info,
                                    std::string_view exporter_context, size_t size, Random& random) {
  MLS_ASSIGN(Encapsulated encapsulated, kem_encap(suite, public_key, random));
  HpkeContext context = hpke_key_schedule(suite, encapsulated.shared_secret, info);
  HpkeExported out;
  out.enc = to_bytes(encapsulated.enc);
  out.secret = hpke_export(suite, context, exporter_context, size);
  return out;
}

Result<Secret> hpke_export_from(const Suite& suite, const KemKey& key, View enc, View info,
                                std::string_view exporter_context, size_t size) {
  MLS_ASSIGN(Secret shared_secret, kem_decap(suite, key, enc));
  HpkeContext context = hpke_key_schedule(suite, shared_secret, info);
  return hpke_export(suite, context, exporter_context, size);
}

Result<HpkeSealed> encrypt_with_label(const Suite& suite, View public_key, std::string_view label,
                                      View context, View plaintext, Random& random) {
  return LabelSealer(suite, label, context).seal(public_key, plaintext, random);
}

LabelSealer::LabelSealer(const Suite& suite, std::string_view label, View context)
    : suite_(&suite),
      key_schedule_context_(
          key_schedule_context(suite, hash_info(suite, encrypt_context(label, context)))) {}

LabelSealer::LabelSealer(const Suite& suite, const HashValue& context_hash)
    : suite_(&suite), key_schedule_context_(key_schedule_context(suite, context_hash)) {}

Result<HpkeSealed> LabelSealer::seal(View public_key, View plaintext, Random& random) const {
  MLS_ASSIGN(const Encapsulated encapsulated, kem_encap(*suite_, public_key, random));
  return seal(encapsulated, plaintext);
}

Result<HpkeSealed> LabelSealer::seal(const Encapsulated& encapsulated, View plaintext) const {
  return seal_with(*suite_, encapsulated, key_schedule_context_, {}, plaintext);
}

Result<SecretBytes> decrypt_with_label(const Suite& suite, const KemKey& key, std::string_view label,
                                       View context, View enc, View ciphertext) {
  return hpke_open(suite, key, enc, encrypt_context(label, context), {}, ciphertext);
}

Result<SecretBytes> decrypt_with_label(const Suite& suite, const KemKey& key,
                                       const HashValue& context_hash, View enc, View ciphertext) {
  return open_with(suite, key, key_schedule_context(suite, context_hash), enc, {}, ciphertext);
}

LongHash start_context_hash(const Suite& suite, std::string_view label, View context) {
  LongHash hashing(suite.kdf, View{});
  hashing.add(as_view(internal::kHpkeVersion)).add(suite.hpke_suite_id).add(as_view("info_hash"));
  hashing.add(length_header(kPrefix.size() + label.size())).add(as_view(kPrefix)).add(as_view(label));
  hashing.add(length_header(context.size())).add(context);
  return hashing;
}

}  // namespace slipway::mls
