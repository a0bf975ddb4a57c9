// The key schedule (RFC 9420, 8): from one epoch's init secret to the next epoch's secrets.
//
// Each step takes by value the secrets that are used up in it, so that they are wiped when it returns.
// Pure functions: any thread. `group_context` is the encoded GroupContext of the new epoch.
#pragma once

#include "crypto/hkdf.h"
#include "crypto/kem_key.h"

namespace slipway::mls {

// What one epoch keeps. The secret tree takes encryption_secret over (key_schedule/secret_tree.h).
struct EpochSecrets {
  Secret sender_data_secret;
  Secret encryption_secret;
  Secret exporter_secret;
  Secret epoch_authenticator;
  Secret external_secret;
  Secret confirmation_key;
  Secret membership_key;
  Secret resumption_psk;
  Secret init_secret;  // of the next epoch's key schedule
};

// Used by the committer and by members: init_secret of the last epoch (or of an external init).
// Without a path, commit_secret is Nh zero bytes: Secret::zeros(suite.hash_size).
Secret make_joiner_secret(const Suite& suite, Secret init_secret, Secret commit_secret,
                          View group_context);
// What follows the joiner secret, for joiners too. `psk_secret` without PSKs is Nh zero bytes.
Secret make_member_secret(const Suite& suite, View joiner_secret, View psk_secret);
Secret make_welcome_secret(const Suite& suite, View member_secret);
EpochSecrets make_epoch_secrets(const Suite& suite, Secret member_secret, View group_context);
// The first epoch of a new group starts from a random epoch secret (11).
EpochSecrets epoch_secrets_of(const Suite& suite, Secret epoch_secret);

// Key and nonce that seal GroupInfo in a Welcome (12.4.3.1).
struct WelcomeKey {
  Secret key;
  Secret nonce;
};
WelcomeKey make_welcome_key(const Suite& suite, Secret welcome_secret);

// External key pair of the epoch (8.3): derive only when asked.
Result<KemKey> external_key(const Suite& suite, View external_secret);
// Context of external init's HPKE export.
inline constexpr std::string_view kExternalInitLabel = "MLS 1.0 external init secret";

// MLS-Exporter (8.5). Fails with kInvalidArgument for more than 255 hash sizes.
Result<SecretBytes> export_secret(const Suite& suite, View exporter_secret, std::string_view label,
                                  View context, size_t size);

}  // namespace slipway::mls
