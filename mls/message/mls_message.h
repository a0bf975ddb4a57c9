// MLSMessage (RFC 9420, 6): what goes over the wire.
#pragma once

#include "message/framed_content.h"
#include "message/welcome.h"

namespace slipway::mls {

// All of a message, owned. What it holds is bounded as it is read; its size as a whole is peek_message's
// to check.
struct MlsMessage {
  ProtocolVersion version = ProtocolVersion::kMls10;
  std::variant<PublicMessage, PrivateMessage, Welcome, GroupInfo, KeyPackage> body;

  WireFormat wire_format() const { return static_cast<WireFormat>(body.index() + 1); }

  template <class A, class Self>
  static void fields(A& a, Self& v) {
    WireFormat format = v.wire_format();
    a(v.version, format);
    if constexpr (A::kReading) {
      if (v.version != ProtocolVersion::kMls10) {
        a.fail(ErrorCode::kUnsupported, "reading an MLSMessage: version is not mls10");
        return;
      }
      switch (format) {
        case WireFormat::kPublicMessage: v.body.template emplace<0>(); break;
        case WireFormat::kPrivateMessage: v.body.template emplace<1>(); break;
        case WireFormat::kWelcome: v.body.template emplace<2>(); break;
        case WireFormat::kGroupInfo: v.body.template emplace<3>(); break;
        case WireFormat::kKeyPackage: v.body.template emplace<4>(); break;
        default:
          a.fail(ErrorCode::kUnsupported, "reading an MLSMessage: unknown wire format");
          return;
      }
    }
    std::visit([&a](auto& body) { a(body); }, v.body);
  }
  friend bool operator==(const MlsMessage&, const MlsMessage&) = default;
};

// What an MLSMessage is, its header read and its size held against the bounds; `body` is the rest.
// A receiver begins here: without an allocation, whatever follows.
struct MessagePeek {
  WireFormat wire_format{};
  View body;
};
Result<MessagePeek> peek_message(View message, const Limits& limits = kDefaultLimits);

// The struct behind the header, if it is of that wire format: kWrongContentType if not.
Result<KeyPackage> decode_key_package(View message, const Limits& limits = kDefaultLimits);
Result<Welcome> decode_welcome(View message, const Limits& limits = kDefaultLimits);
Result<GroupInfo> decode_group_info(View message, const Limits& limits = kDefaultLimits);

// MLSMessage around one of the five structs.
template <class Body>
Bytes encode_message(WireFormat format, const Body& body) {
  Bytes out;
  Writer writer(out);
  writer(ProtocolVersion::kMls10, format, body);
  return out;
}

}  // namespace slipway::mls
