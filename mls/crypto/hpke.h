// HPKE (RFC 9180), base mode, single shot, and the export that external commits need; and
// EncryptWithLabel, DecryptWithLabel of RFC 9420 (5.1.3). Any thread.
#pragma once

#include <optional>

#include "crypto/kem_key.h"
#include "crypto/long_hash.h"
#include "crypto/secret.h"

namespace slipway::mls {

// Encap and Decap (4.1).
struct Encapsulated {
  PublicKeyBytes enc;
  Secret shared_secret;
};
Result<Encapsulated> kem_encap(const Suite& suite, View public_key, Random& random);
// With the ephemeral key given: for known-answer tests.
Result<Encapsulated> kem_encap_with(const Suite& suite, View public_key, const KemKey& ephemeral);
Result<Secret> kem_decap(const Suite& suite, const KemKey& key, View enc);

// KeySchedule in base mode (5.1).
struct HpkeContext {
  Secret key;
  Secret base_nonce;
  Secret exporter_secret;
};
HpkeContext hpke_key_schedule(const Suite& suite, View shared_secret, View info);

struct HpkeSealed {
  Bytes enc;
  Bytes ciphertext;  // tag behind
};
Result<HpkeSealed> hpke_seal(const Suite& suite, View public_key, View info, View aad,
                             View plaintext, Random& random);
Result<SecretBytes> hpke_open(const Suite& suite, const KemKey& key, View enc, View info, View aad,
                              View ciphertext);

// SendExportBase and ReceiveExportBase (6.2).
struct HpkeExported {
  Bytes enc;
  Secret secret;
};
Result<HpkeExported> hpke_export_to(const Suite& suite, View public_key, View info,
                                    std::string_view exporter_context, size_t size, Random& random);
Result<Secret> hpke_export_from(const Suite& suite, const KemKey& key, View enc, View info,
                                std::string_view exporter_context, size_t size);

// `label` without the "MLS 1.0 " that goes in front of it.
Result<HpkeSealed> encrypt_with_label(const Suite& suite, View public_key, std::string_view label,
                                      View context, View plaintext, Random& random);
// EncryptWithLabel to many recipients under one label and context: hashes the context once, which matters
// where it is a GroupInfo of a megabyte. Any thread; several threads may use one object if `random` allows.
class LabelSealer {
 public:
  LabelSealer(const Suite& suite, std::string_view label, View context);
  // With the context hashed before: see start_context_hash.
  LabelSealer(const Suite& suite, const HashValue& context_hash);
  Result<HpkeSealed> seal(View public_key, View plaintext, Random& random) const;
  // With the public-key work done before, which does not depend on the context.
  Result<HpkeSealed> seal(const Encapsulated& encapsulated, View plaintext) const;

 private:
  const Suite* suite_;
  InlineBytes<1 + 2 * kMaxHashBytes> key_schedule_context_;
};
Result<SecretBytes> decrypt_with_label(const Suite& suite, const KemKey& key,
                                       std::string_view label, View context, View enc,
                                       View ciphertext);
Result<SecretBytes> decrypt_with_label(const Suite& suite, const KemKey& key,
                                       const HashValue& context_hash, View enc, View ciphertext);
// The hash that a long context needs, in steps. The context stays where it is until it is done.
LongHash start_context_hash(const Suite& suite, std::string_view label, View context);

}  // namespace slipway::mls
