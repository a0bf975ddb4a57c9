#pragma once
// Field numbers of the protobuf message whose remainder is a frame's body (upstream-node 2), and of what native
// links add to it. Private to body.cc and body_encode.cc.

#include <cstdint>

namespace slipway::body_field {

// Message
inline constexpr std::uint32_t kSubscribe = 1;
inline constexpr std::uint32_t kUnsubscribe = 2;
inline constexpr std::uint32_t kPublish = 3;
inline constexpr std::uint32_t kLink = 5;
inline constexpr std::uint32_t kSubscriptionAck = 6;

// Subscribe, Unsubscribe
inline constexpr std::uint32_t kHeader = 1;
inline constexpr std::uint32_t kSubscriptionId = 2;

// Publish (its header is field 1 too)
inline constexpr std::uint32_t kMsg = 3;
inline constexpr std::uint32_t kAppPayload = 1;
inline constexpr std::uint32_t kPayloadType = 1;
inline constexpr std::uint32_t kBlob = 2;

// SLIMHeader
inline constexpr std::uint32_t kSource = 1;
inline constexpr std::uint32_t kDestination = 2;
inline constexpr std::uint32_t kIdentity = 3;
inline constexpr std::uint32_t kVersion = 5;

// Name, StringName
inline constexpr std::uint32_t kStrName = 2;
inline constexpr std::uint32_t kStrComponent = 1;  // .. 3

// SubscriptionAck
inline constexpr std::uint32_t kAckId = 1;
inline constexpr std::uint32_t kAckSuccess = 2;
inline constexpr std::uint32_t kAckError = 3;

// Link: numbers that upstream leaves free
inline constexpr std::uint32_t kHello = 100;
inline constexpr std::uint32_t kHelloReply = 101;
inline constexpr std::uint32_t kKeepalive = 102;
inline constexpr std::uint32_t kBye = 103;
inline constexpr std::uint32_t kNoRoute = 104;
inline constexpr std::uint32_t kInstancesRequest = 105;
inline constexpr std::uint32_t kInstancesReply = 106;

// Hello and HelloReply share the numbers of what both say.
inline constexpr std::uint32_t kHelloVersion = 1;
inline constexpr std::uint32_t kHelloNodeId = 2;
inline constexpr std::uint32_t kHelloLinkClass = 3;
inline constexpr std::uint32_t kHelloReceiveLinkId = 4;
inline constexpr std::uint32_t kHelloMaxFrameBytes = 5;
inline constexpr std::uint32_t kHelloDatagramBytes = 6;
inline constexpr std::uint32_t kHelloKeepaliveMs = 7;
inline constexpr std::uint32_t kHelloEntropyPorts = 8;
inline constexpr std::uint32_t kHelloDeployment = 9;   // hello only
inline constexpr std::uint32_t kHelloCookie = 10;      // the cookie; in a reply the challenge
inline constexpr std::uint32_t kHelloAccepted = 11;    // reply only
inline constexpr std::uint32_t kHelloError = 12;       // reply only
inline constexpr std::uint32_t kHelloMaxSubscriptions = 13;  // reply only
inline constexpr std::uint32_t kHelloReceiveUdpPort = 14;    // hello only

inline constexpr std::uint32_t kKeepaliveStamp = 1;
inline constexpr std::uint32_t kKeepaliveAnswer = 2;
inline constexpr std::uint32_t kByeReason = 1;

inline constexpr std::uint32_t kNoRouteDropReason = 1;
inline constexpr std::uint32_t kNoRouteDestination = 2;  // 40 bytes, as in a frame header
inline constexpr std::uint32_t kNoRouteSource = 3;
inline constexpr std::uint32_t kNoRouteSessionId = 4;
inline constexpr std::uint32_t kNoRouteMessageId = 5;
inline constexpr std::uint32_t kNoRouteMore = 6;

inline constexpr std::uint32_t kInstancesRequestNumber = 1;  // in both
inline constexpr std::uint32_t kInstancesName = 2;           // 40 bytes
inline constexpr std::uint32_t kInstancesIds = 3;            // 16 bytes each: low half, high half
inline constexpr std::uint32_t kInstancesTruncated = 4;

inline constexpr std::size_t kNameBytes = 40;
inline constexpr std::size_t kIdBytes = 16;

}  // namespace slipway::body_field
