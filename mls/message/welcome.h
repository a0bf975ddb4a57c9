// Welcome and GroupSecrets (RFC 9420, 12.4.3.1).
#pragma once

#include "message/commit.h"

namespace slipway::mls {

struct EncryptedGroupSecrets {
  Bytes new_member;  // KeyPackageRef
  HpkeCiphertext encrypted_group_secrets;

  template <class A, class Self>
  static void fields(A& a, Self& v) {
    a.bounded(v.new_member, kMaxHashBytes);
    a(v.encrypted_group_secrets);
  }
  friend bool operator==(const EncryptedGroupSecrets&, const EncryptedGroupSecrets&) = default;
};

struct Welcome {
  CipherSuite cipher_suite{};
  std::vector<EncryptedGroupSecrets> secrets;
  Bytes encrypted_group_info;

  template <class A, class Self>
  static void fields(A& a, Self& v) {
    a(v.cipher_suite);
    a.bounded(v.secrets, &Limits::welcome_secrets);
    a(v.encrypted_group_info);
  }
  friend bool operator==(const Welcome&, const Welcome&) = default;
};

inline constexpr std::string_view kWelcomeLabel = "Welcome";  // of EncryptWithLabel, for the group secrets

// Encode with encode_secret().
struct GroupSecrets {
  SecretBytes joiner_secret;
  std::optional<SecretBytes> path_secret;
  std::vector<PreSharedKeyId> psks;

  template <class A, class Self>
  static void fields(A& a, Self& v) {
    a.bounded(v.joiner_secret, kMaxHashBytes);
    a(v.path_secret);
    a.bounded(v.psks, &Limits::psks_per_commit);
    if constexpr (A::kReading) {
      if (v.path_secret && v.path_secret->size() > kMaxHashBytes) {
        a.fail(ErrorCode::kTooLarge, "reading GroupSecrets: path secret longer than any hash");
      }
    }
  }
};

}  // namespace slipway::mls
