// FramedContent, its authentication, PublicMessage and PrivateMessage as they lie on the wire
// (RFC 9420, 6). Signing, tagging and encrypting them is key_schedule/framing.h.
#pragma once

#include "message/commit.h"
#include "message/group_info.h"

namespace slipway::mls {

struct Sender {
  SenderType type = SenderType::kMember;
  uint32_t index = 0;  // leaf of a member; position in external_senders of an external sender

  template <class A, class Self>
  static void fields(A& a, Self& v) {
    a(v.type);
    switch (v.type) {
      case SenderType::kMember:
      case SenderType::kExternal: a(v.index); break;
      case SenderType::kNewMemberProposal:
      case SenderType::kNewMemberCommit: break;
      default:
        if constexpr (A::kReading) {
          a.fail(ErrorCode::kMalformed, "reading a Sender: unknown type");
        }
    }
  }
  friend bool operator==(const Sender&, const Sender&) = default;
};

struct ApplicationData {
  Bytes data;
  template <class A, class Self>
  static void fields(A& a, Self& v) { a(v.data); }
  friend bool operator==(const ApplicationData&, const ApplicationData&) = default;
};

struct FramedContent {
  Bytes group_id;
  uint64_t epoch = 0;
  Sender sender;
  Bytes authenticated_data;
  std::variant<ApplicationData, Proposal, Commit> body;

  ContentType content_type() const { return static_cast<ContentType>(body.index() + 1); }

  template <class A, class Self>
  static void fields(A& a, Self& v) {
    a(v.group_id, v.epoch, v.sender, v.authenticated_data);
    ContentType type = v.content_type();
    a(type);
    if constexpr (A::kReading) {
      switch (type) {
        case ContentType::kApplication: v.body.template emplace<0>(); break;
        case ContentType::kProposal: v.body.template emplace<1>(); break;
        case ContentType::kCommit: v.body.template emplace<2>(); break;
        default: a.fail(ErrorCode::kMalformed, "reading a FramedContent: unknown content type");
      }
    }
    std::visit([&a](auto& body) { a(body); }, v.body);
  }
  friend bool operator==(const FramedContent&, const FramedContent&) = default;
};

struct FramedContentAuthData {
  Bytes signature;
  Bytes confirmation_tag;  // commits only

  template <class A, class Self>
  static void fields(A& a, Self& v, ContentType type) {
    a.bounded(v.signature, &Limits::signature_bytes);
    if (type == ContentType::kCommit) {
      a.bounded(v.confirmation_tag, kMaxHashBytes);
    }
  }
  friend bool operator==(const FramedContentAuthData&, const FramedContentAuthData&) = default;
};

struct AuthenticatedContent {
  WireFormat wire_format = WireFormat::kPublicMessage;
  FramedContent content;
  FramedContentAuthData auth;

  template <class A, class Self>
  static void fields(A& a, Self& v) {
    a(v.wire_format, v.content);
    FramedContentAuthData::fields(a, v.auth, v.content.content_type());
  }
  friend bool operator==(const AuthenticatedContent&, const AuthenticatedContent&) = default;
};

struct PublicMessage {
  FramedContent content;
  FramedContentAuthData auth;
  Bytes membership_tag;  // sender member only

  template <class A, class Self>
  static void fields(A& a, Self& v) {
    a(v.content);
    FramedContentAuthData::fields(a, v.auth, v.content.content_type());
    if (v.content.sender.type == SenderType::kMember) {
      a.bounded(v.membership_tag, kMaxHashBytes);
    }
  }
  friend bool operator==(const PublicMessage&, const PublicMessage&) = default;
};

template <class S>
struct PrivateMessageT {
  typename S::String group_id;
  uint64_t epoch = 0;
  ContentType content_type = ContentType::kApplication;
  typename S::String authenticated_data;
  typename S::String encrypted_sender_data;
  typename S::String ciphertext;

  template <class A, class Self>
  static void fields(A& a, Self& v) {
    a(v.group_id, v.epoch, v.content_type);
    if constexpr (A::kReading) {
      if (v.content_type < ContentType::kApplication || v.content_type > ContentType::kCommit) {
        a.fail(ErrorCode::kMalformed, "reading a PrivateMessage: unknown content type");
      }
    }
    a(v.authenticated_data, v.encrypted_sender_data, v.ciphertext);
  }
  friend bool operator==(const PrivateMessageT&, const PrivateMessageT&) = default;
};
using PrivateMessage = PrivateMessageT<Owned>;
using PrivateMessageView = PrivateMessageT<Borrowed>;

}  // namespace slipway::mls
