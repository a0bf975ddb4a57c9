#include "key_schedule/epoch_secrets.h"

#include "crypto/hash.h"

namespace slipway::mls {

// The secrets taken by value die, wiped, with these functions.

Secret make_joiner_secret(const Suite& suite, Secret init_secret, Secret commit_secret,
                          View group_context) {
  Secret extracted = hkdf_extract(suite, init_secret, commit_secret);
  return expand_with_label(suite, extracted, "joiner", group_context, suite.hash_size);
}

Secret make_member_secret(const Suite& suite, View joiner_secret, View psk_secret) {
  return hkdf_extract(suite, joiner_secret, psk_secret);
}

Secret make_welcome_secret(const Suite& suite, View member_secret) {
  return derive_secret(suite, member_secret, "welcome");
}

EpochSecrets make_epoch_secrets(const Suite& suite, Secret member_secret, View group_context) {
  return epoch_secrets_of(
      suite, expand_with_label(suite, member_secret, "epoch", group_context, suite.hash_size));
}

EpochSecrets epoch_secrets_of(const Suite& suite, Secret epoch_secret) {
  return {
      .sender_data_secret = derive_secret(suite, epoch_secret, "sender data"),
      .encryption_secret = derive_secret(suite, epoch_secret, "encryption"),
      .exporter_secret = derive_secret(suite, epoch_secret, "exporter"),
      .epoch_authenticator = derive_secret(suite, epoch_secret, "authentication"),
      .external_secret = derive_secret(suite, epoch_secret, "external"),
      .confirmation_key = derive_secret(suite, epoch_secret, "confirm"),
      .membership_key = derive_secret(suite, epoch_secret, "membership"),
      .resumption_psk = derive_secret(suite, epoch_secret, "resumption"),
      .init_secret = derive_secret(suite, epoch_secret, "init"),
  };
}

WelcomeKey make_welcome_key(const Suite& suite, Secret welcome_secret) {
  return {expand_with_label(suite, welcome_secret, "key", {}, suite.aead_key_size),
          expand_with_label(suite, welcome_secret, "nonce", {}, kAeadNonceBytes)};
}

Result<KemKey> external_key(const Suite& suite, View external_secret) {
  return KemKey::derive(suite, external_secret);
}

Result<SecretBytes> export_secret(const Suite& suite, View exporter_secret, std::string_view label,
                                  View context, size_t size) {
  if (size > 255 * suite.hash_size) {
    return fail(ErrorCode::kInvalidArgument, "exporting a secret: more than 255 hash sizes");
  }
  Secret derived = derive_secret(suite, exporter_secret, label);
  SecretBytes out(size);
  expand_with_label_into(suite, derived, "exported", hash(suite, context), out);
  return out;
}

}  // namespace slipway::mls
