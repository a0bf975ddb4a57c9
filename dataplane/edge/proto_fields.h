#pragma once
// Field numbers of dataplane.proto.v1 (upstream-node 2), for the code of this folder.

#include <cstdint>

namespace slipway::proto_field {

// Message: a oneof, and metadata beside it
inline constexpr std::uint32_t kSubscribe = 1;
inline constexpr std::uint32_t kUnsubscribe = 2;
inline constexpr std::uint32_t kPublish = 3;
inline constexpr std::uint32_t kMetadata = 4;
inline constexpr std::uint32_t kLink = 5;
inline constexpr std::uint32_t kSubscriptionAck = 6;

// Subscribe, Unsubscribe, Publish
inline constexpr std::uint32_t kHeader = 1;
inline constexpr std::uint32_t kSubscriptionId = 2;
inline constexpr std::uint32_t kSession = 2;
inline constexpr std::uint32_t kMsg = 3;

// SubscriptionAck
inline constexpr std::uint32_t kAckId = 1;
inline constexpr std::uint32_t kAckSuccess = 2;
inline constexpr std::uint32_t kAckError = 3;

// SLIMHeader
inline constexpr std::uint32_t kSource = 1;
inline constexpr std::uint32_t kDestination = 2;
inline constexpr std::uint32_t kIdentity = 3;
inline constexpr std::uint32_t kFanout = 4;
inline constexpr std::uint32_t kVersion = 5;
inline constexpr std::uint32_t kTtl = 6;
inline constexpr std::uint32_t kRecvFrom = 7;
inline constexpr std::uint32_t kForwardTo = 8;
inline constexpr std::uint32_t kIncomingConn = 9;
inline constexpr std::uint32_t kError = 10;
inline constexpr std::uint32_t kHeaderMac = 11;
inline constexpr std::uint32_t kE2eHeaderSig = 12;

// Name, EncodedName, NameId, StringName
inline constexpr std::uint32_t kName = 1;
inline constexpr std::uint32_t kStrName = 2;
inline constexpr std::uint32_t kComponent0 = 1;  // .. 3
inline constexpr std::uint32_t kNameId = 4;
inline constexpr std::uint32_t kId0 = 1;         // high half
inline constexpr std::uint32_t kId1 = 2;         // low half
inline constexpr std::uint32_t kStrComponent0 = 1;  // .. 3

// Content, ApplicationPayload
inline constexpr std::uint32_t kAppPayload = 1;
inline constexpr std::uint32_t kPayloadType = 1;
inline constexpr std::uint32_t kBlob = 2;

// SessionHeader
inline constexpr std::uint32_t kSessionType = 1;
inline constexpr std::uint32_t kSessionMessageType = 2;
inline constexpr std::uint32_t kSessionId = 3;
inline constexpr std::uint32_t kMessageId = 4;

// Link, LinkNegotiationPayload
inline constexpr std::uint32_t kLinkNegotiation = 1;
inline constexpr std::uint32_t kLinkId = 1;
inline constexpr std::uint32_t kSlimVersion = 2;
inline constexpr std::uint32_t kIsReply = 3;
inline constexpr std::uint32_t kEcdhPublicKey = 4;
inline constexpr std::uint32_t kConnectionType = 5;
inline constexpr std::uint32_t kNodeId = 6;
inline constexpr std::uint32_t kDeploymentName = 7;
inline constexpr std::uint32_t kKemPayload = 8;

}  // namespace slipway::proto_field
