// Key packages and their private parts (RFC 9420, 10). Where they are published, how many are kept and
// which one is the last resort is the caller's affair; so is deleting a private part after its use.
#pragma once

#include "crypto/kem_key.h"
#include "crypto/signature_key.h"
#include "message/mls_message.h"

namespace slipway::mls {

// What a client says about itself in a leaf. Capabilities must not list default types (7.2); they should
// list the group's version, suite and the credential's type.
struct LeafOptions {
  Credential credential;
  Capabilities capabilities;
  Extensions extensions;
};

// Version 1.0, the given suites, the given credential types, nothing else.
Capabilities simple_capabilities(std::vector<CipherSuite> suites,
                                 std::vector<CredentialType> credentials = {CredentialType::kBasic});

// From an hour before now, because peers' clocks are slow too, to `seconds` after it.
Lifetime lifetime_from(uint64_t now_s, uint64_t seconds);

struct PrivateKeyPackage {
  KeyPackage key_package;
  Bytes message;   // MLSMessage to publish
  HashValue ref;   // KeyPackageRef
  KemKey init_key;
  KemKey leaf_key;

  // Secret bytes for the caller's store, and back. kBadSnapshot, or as import() says.
  SecretBytes save() const;
  static Result<PrivateKeyPackage> restore(View saved, const Limits& limits = kDefaultLimits);
  // From parts that were made elsewhere: kInvalidKey if the private keys do not fit.
  static Result<PrivateKeyPackage> import(View message, View init_key, View leaf_key,
                                          const Limits& limits = kDefaultLimits);
};

// The leaf carries `lifetime`. kInvalidArgument for options that peers would refuse.
Result<PrivateKeyPackage> make_key_package(const Suite& suite, const SignatureKey& signer,
                                           const LeafOptions& options, const Lifetime& lifetime,
                                           Random& random, Extensions extensions = {});

// All that can be checked without a group (10.1): version, suite, keys, both signatures; not the lifetime,
// not the credential. kInvalidKeyPackage, kUnsupported, kInvalidKey, kBadSignature.
Status check_key_package(const Suite& suite, const KeyPackage& key_package);

}  // namespace slipway::mls
