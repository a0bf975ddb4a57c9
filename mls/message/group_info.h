// GroupContext (RFC 9420, 8.1) and GroupInfo (12.4.3).
#pragma once

#include "message/extension.h"

namespace slipway::mls {

struct GroupContext {
  ProtocolVersion version = ProtocolVersion::kMls10;
  CipherSuite cipher_suite{};
  Bytes group_id;
  uint64_t epoch = 0;
  Bytes tree_hash;
  Bytes confirmed_transcript_hash;
  Extensions extensions;

  template <class A, class Self>
  static void fields(A& a, Self& v) {
    a(v.version, v.cipher_suite, v.group_id, v.epoch);
    a.bounded(v.tree_hash, kMaxHashBytes);
    a.bounded(v.confirmed_transcript_hash, kMaxHashBytes);
    extension_list(a, v.extensions);
  }
  friend bool operator==(const GroupContext&, const GroupContext&) = default;
};

struct GroupInfo {
  GroupContext group_context;
  Extensions extensions;
  Bytes confirmation_tag;
  uint32_t signer = 0;
  Bytes signature;

  template <class A, class Self>
  static void signed_fields(A& a, Self& v) {
    a(v.group_context);
    extension_list(a, v.extensions);
    a.bounded(v.confirmation_tag, kMaxHashBytes);
    a(v.signer);
  }
  template <class A, class Self>
  static void fields(A& a, Self& v) {
    signed_fields(a, v);
    a.bounded(v.signature, &Limits::signature_bytes);
  }
  friend bool operator==(const GroupInfo&, const GroupInfo&) = default;
};

inline constexpr std::string_view kGroupInfoLabel = "GroupInfoTBS";
Bytes group_info_tbs(const GroupInfo& group_info);

}  // namespace slipway::mls
