// KeyPackage (RFC 9420, 10).
#pragma once

#include "message/leaf_node.h"

namespace slipway::mls {

struct KeyPackage {
  ProtocolVersion version = ProtocolVersion::kMls10;
  CipherSuite cipher_suite{};
  Bytes init_key;
  LeafNode leaf_node;
  Extensions extensions;
  Bytes signature;

  template <class A, class Self>
  static void signed_fields(A& a, Self& v) {
    a(v.version, v.cipher_suite);
    a.bounded(v.init_key, &Limits::public_key_bytes);
    a(v.leaf_node);
    extension_list(a, v.extensions);
  }
  template <class A, class Self>
  static void fields(A& a, Self& v) {
    signed_fields(a, v);
    a.bounded(v.signature, &Limits::signature_bytes);
  }
  friend bool operator==(const KeyPackage&, const KeyPackage&) = default;
};

inline constexpr std::string_view kKeyPackageLabel = "KeyPackageTBS";
Bytes key_package_tbs(const KeyPackage& key_package);
// KeyPackageRef over the encoded key package (5.2).
HashValue key_package_ref(const Suite& suite, const KeyPackage& key_package);

}  // namespace slipway::mls
