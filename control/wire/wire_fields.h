#pragma once
// Field numbers of upstream's data_plane.proto, as far as session messages use them. Private to this folder.

#include <cstdint>

namespace slipway::wire_field {

// Message
inline constexpr std::uint32_t kPublish = 3;
inline constexpr std::uint32_t kMetadata = 4;  // entries {key 1, value 2}

// Publish
inline constexpr std::uint32_t kHeader = 1;
inline constexpr std::uint32_t kSession = 2;
inline constexpr std::uint32_t kMsg = 3;

// SLIMHeader
inline constexpr std::uint32_t kSource = 1;
inline constexpr std::uint32_t kDestination = 2;
inline constexpr std::uint32_t kIdentity = 3;
inline constexpr std::uint32_t kFanout = 4;
inline constexpr std::uint32_t kVersion = 5;
inline constexpr std::uint32_t kTtl = 6;
inline constexpr std::uint32_t kError = 10;
inline constexpr std::uint32_t kHeaderSignature = 12;

// SessionHeader
inline constexpr std::uint32_t kSessionType = 1;
inline constexpr std::uint32_t kMessageType = 2;
inline constexpr std::uint32_t kSessionId = 3;
inline constexpr std::uint32_t kMessageId = 4;

// Name, EncodedName, NameId, StringName
inline constexpr std::uint32_t kEncoded = 1;
inline constexpr std::uint32_t kText = 2;
inline constexpr std::uint32_t kComponent = 1;  // .. 3
inline constexpr std::uint32_t kNameId = 4;
inline constexpr std::uint32_t kIdHigh = 1;
inline constexpr std::uint32_t kIdLow = 2;

// Content, ApplicationPayload
inline constexpr std::uint32_t kApp = 1;
inline constexpr std::uint32_t kCommand = 2;
inline constexpr std::uint32_t kPayloadType = 1;
inline constexpr std::uint32_t kBlob = 2;

// CommandPayload
inline constexpr std::uint32_t kDiscoveryRequest = 1;
inline constexpr std::uint32_t kDiscoveryReply = 2;
inline constexpr std::uint32_t kJoinRequest = 3;
inline constexpr std::uint32_t kJoinReply = 4;
inline constexpr std::uint32_t kLeaveRequest = 5;
inline constexpr std::uint32_t kLeaveReply = 6;
inline constexpr std::uint32_t kGroupUpdate = 7;
inline constexpr std::uint32_t kGroupWelcome = 8;
inline constexpr std::uint32_t kGroupClose = 9;
inline constexpr std::uint32_t kGroupAck = 11;  // 10 is a proposal, which nobody may send
inline constexpr std::uint32_t kGroupNack = 12;
inline constexpr std::uint32_t kHeartbeat = 13;
inline constexpr std::uint32_t kUpdateParticipantState = 14;
inline constexpr std::uint32_t kRejoinRequest = 15;
inline constexpr std::uint32_t kRejoinReply = 16;

// HeaderIntegrityAad
inline constexpr std::uint32_t kAadVersion = 1;
inline constexpr std::uint32_t kAadSource = 2;
inline constexpr std::uint32_t kAadDestination = 3;
inline constexpr std::uint32_t kAadIdentity = 4;
inline constexpr std::uint32_t kAadSessionType = 5;
inline constexpr std::uint32_t kAadMessageType = 6;
inline constexpr std::uint32_t kAadSessionId = 7;
inline constexpr std::uint32_t kAadMessageId = 8;
inline constexpr std::uint32_t kAadPayloadType = 9;

}  // namespace slipway::wire_field
