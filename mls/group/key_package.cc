#include "group/key_package.h"

#include <algorithm>

#include "group/state.h"

namespace slipway::mls {

Capabilities simple_capabilities(std::vector<CipherSuite> suites,
                                 std::vector<CredentialType> credentials) {
  Capabilities capabilities;
  capabilities.versions = {ProtocolVersion::kMls10};
  capabilities.cipher_suites = std::move(suites);
  capabilities.credentials = std::move(credentials);
  return capabilities;
}

Lifetime lifetime_from(uint64_t now_s, uint64_t seconds) {
  constexpr uint64_t kSlowClock_s = 3600;
  return {now_s > kSlowClock_s ? now_s - kSlowClock_s : 0, now_s + seconds};
}

Status check_leaf_options(const Capabilities& capabilities, const Extensions& extensions,
                          const Credential& credential) {
  const auto lists_default = [](const auto& types) {
    return std::ranges::any_of(types, [](auto type) { return is_default(type); });
  };
  if (lists_default(capabilities.extensions) || lists_default(capabilities.proposals)) {
    return fail(ErrorCode::kInvalidArgument,
                "making a leaf: capabilities must not list default types (RFC 9420, 7.2)");
  }
  if (std::ranges::find(capabilities.credentials, credential.type) ==
      capabilities.credentials.end()) {
    return fail(ErrorCode::kInvalidArgument,
                "making a leaf: capabilities do not list the credential's own type");
  }
  if (has_duplicate_types(extensions)) {
    return fail(ErrorCode::kInvalidArgument, "making a leaf: one extension type twice");
  }
  for (const Extension& extension : extensions) {
    if (!is_default(extension.type) &&
        std::ranges::find(capabilities.extensions, extension.type) ==
            capabilities.extensions.end()) {
      return fail(ErrorCode::kInvalidArgument,
                  "making a leaf: capabilities do not list the type of an extension of the leaf");
    }
  }
  return {};
}

Status sign_leaf(const Suite& suite, const SignatureKey& signer, LeafNode& leaf, View group_id,
                 LeafIndex index) {
  if (!signer || signer.suite() != suite.id) {
    return fail(ErrorCode::kInvalidArgument, "signing a leaf: the signature key is of another suite");
  }
  const Bytes content = leaf_node_tbs(leaf, group_id, index);
  MLS_ASSIGN(const Signature signature, signer.sign(kLeafNodeLabel, {content}));
  leaf.signature = to_bytes(signature);
  return {};
}

Result<PrivateKeyPackage> make_key_package(const Suite& suite, const SignatureKey& signer,
                                           const LeafOptions& options, const Lifetime& lifetime,
                                           Random& random, Extensions extensions) {
  MLS_TRY(check_leaf_options(options.capabilities, options.extensions, options.credential));
  if (has_duplicate_types(extensions)) {
    return fail(ErrorCode::kInvalidArgument, "making a key package: one extension type twice");
  }
  PrivateKeyPackage made;
  MLS_ASSIGN(made.init_key, KemKey::generate(suite, random));
  MLS_ASSIGN(made.leaf_key, KemKey::generate(suite, random));
  KeyPackage& package = made.key_package;
  package.cipher_suite = suite.id;
  package.init_key = to_bytes(made.init_key.public_key());
  package.extensions = std::move(extensions);
  LeafNode& leaf = package.leaf_node;
  leaf.encryption_key = to_bytes(made.leaf_key.public_key());
  leaf.signature_key = to_bytes(signer.public_key());
  leaf.credential = options.credential;
  leaf.capabilities = options.capabilities;
  leaf.source = LeafNodeSource::kKeyPackage;
  leaf.lifetime = lifetime;
  leaf.extensions = options.extensions;
  MLS_TRY(sign_leaf(suite, signer, leaf, {}, 0));
  const Bytes content = key_package_tbs(package);
  MLS_ASSIGN(const Signature signature, signer.sign(kKeyPackageLabel, {content}));
  package.signature = to_bytes(signature);
  made.message = encode_message(WireFormat::kKeyPackage, package);
  made.ref = key_package_ref(suite, package);
  return made;
}

Status check_key_package(const Suite& suite, const KeyPackage& package) {
  if (package.version != ProtocolVersion::kMls10 || package.cipher_suite != suite.id) {
    return fail(ErrorCode::kUnsupported,
                "checking a key package: its version or cipher suite is not the group's");
  }
  if (package.leaf_node.source != LeafNodeSource::kKeyPackage) {
    return fail(ErrorCode::kInvalidKeyPackage,
                "checking a key package: its leaf was not made for a key package");
  }
  if (equal(package.init_key, package.leaf_node.encryption_key)) {
    return fail(ErrorCode::kKeyReuse,
                "checking a key package: init key and encryption key are the same");
  }
  MLS_TRY(validate_kem_public_key(suite, package.init_key));
  MLS_TRY(validate_kem_public_key(suite, package.leaf_node.encryption_key));
  MLS_TRY(validate_signature_public_key(suite, package.leaf_node.signature_key));
  const Bytes leaf_content = leaf_node_tbs(package.leaf_node, {}, 0);
  const Status leaf_status = verify_once(suite, package.leaf_node.signature_key, kLeafNodeLabel, {leaf_content},
                                         package.leaf_node.signature);
  if (!leaf_status) {
    MLS_TRY(check_signature_point(suite, package.leaf_node.signature_key));  // which may be the reason
    return leaf_status;
  }
  const Bytes content = key_package_tbs(package);
  return verify_once(suite, package.leaf_node.signature_key, kKeyPackageLabel, {content},
                     package.signature);
}

Result<PrivateKeyPackage> PrivateKeyPackage::import(View message, View init_key, View leaf_key,
                                                    const Limits& limits) {
  PrivateKeyPackage made;
  MLS_ASSIGN(made.key_package, decode_key_package(message, limits));
  const Suite* suite = find_suite(made.key_package.cipher_suite);
  if (suite == nullptr) {
    return fail(ErrorCode::kUnsupported, "importing a key package: unknown cipher suite");
  }
  MLS_ASSIGN(made.init_key, KemKey::import(*suite, init_key));
  MLS_ASSIGN(made.leaf_key, KemKey::import(*suite, leaf_key));
  if (!equal(made.init_key.public_key(), made.key_package.init_key) ||
      !equal(made.leaf_key.public_key(), made.key_package.leaf_node.encryption_key)) {
    return fail(ErrorCode::kInvalidKey, "importing a key package: private keys do not fit it");
  }
  made.message = to_bytes(message);
  made.ref = key_package_ref(*suite, made.key_package);
  return made;
}

namespace {

constexpr uint8_t kSavedKeyPackageVersion = 1;

struct SavedKeyPackage {
  uint8_t version = kSavedKeyPackageVersion;
  Bytes message;
  SecretBytes init_key;
  SecretBytes leaf_key;

  template <class A, class Self>
  static void fields(A& a, Self& v) {
    a(v.version, v.message, v.init_key, v.leaf_key);
  }
};

}  // namespace

SecretBytes PrivateKeyPackage::save() const {
  SavedKeyPackage saved;
  saved.message = message;
  saved.init_key.assign(init_key.private_key().begin(), init_key.private_key().end());
  saved.leaf_key.assign(leaf_key.private_key().begin(), leaf_key.private_key().end());
  return encode_secret(saved);
}

Result<PrivateKeyPackage> PrivateKeyPackage::restore(View saved, const Limits& limits) {
  auto parts = decode<SavedKeyPackage>(saved, limits);
  if (!parts || parts->version != kSavedKeyPackageVersion) {
    return fail(ErrorCode::kBadSnapshot, "restoring a key package: not bytes that save() made");
  }
  return import(parts->message, parts->init_key, parts->leaf_key, limits);
}

}  // namespace slipway::mls
