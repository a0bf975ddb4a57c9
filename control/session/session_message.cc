#include "session/session_message.h"

#include <algorithm>
#include <array>

#include "session/large_channels.h"
#include "session/roster_delta.h"

namespace slipway {

std::string_view message_type_text(MessageType type) {
  static constexpr std::array<std::string_view, 21> kText{
      "unspecified", "message", "ack", "rtx-request", "rtx-reply", "discovery-request", "discovery-reply",
      "join-request", "join-reply", "leave-request", "leave-reply", "group-update", "group-welcome", "group-close",
      "group-proposal", "group-ack", "group-nack", "heartbeat", "update-participant-state", "rejoin-request", "rejoin-reply"};
  const auto i = static_cast<std::size_t>(type);
  return i < kText.size() ? kText[i] : "unknown";
}

bool is_reserved_metadata(std::string_view key) {
  static constexpr std::array kReserved{metadata_key::kPublishTo,   metadata_key::kLeaving,          metadata_key::kLeaveReplySent,
                                        metadata_key::kDeleteGroup, metadata_key::kPayloadSignature, metadata_key::kPeerSubject,
                                        metadata_key::kRosterVersion, metadata_key::kDataAfter,         metadata_key::kDataSent,
                                        metadata_key::kAnycastProbe,
                                        kRosterAddedKey,
                                        kAllOursKey};
  return std::ranges::find(kReserved, key) != kReserved.end();
}

bool has_mark(const Metadata& metadata, std::string_view key) {
  const auto found = metadata.find(key);
  return found != metadata.end() && found->second == metadata_key::kTrue;
}

namespace {
template <class T>
bool is(const SessionMessage& m) {
  return std::holds_alternative<T>(m.payload);
}
}  // namespace

bool payload_fits(const SessionMessage& m) {
  switch (m.type) {
    case MessageType::kMsg:
    case MessageType::kMsgAck:
    case MessageType::kRtxRequest:
    case MessageType::kRtxReply: return is<AppPayload>(m);
    case MessageType::kDiscoveryRequest: return is<DiscoveryRequest>(m);
    case MessageType::kDiscoveryReply: return is<DiscoveryReply>(m);
    case MessageType::kJoinRequest: return is<JoinRequest>(m);
    case MessageType::kJoinReply: return is<JoinReply>(m);
    case MessageType::kLeaveRequest: return is<LeaveRequest>(m);
    case MessageType::kLeaveReply: return is<LeaveReply>(m);
    case MessageType::kGroupUpdate: return is<GroupUpdate>(m);
    case MessageType::kGroupWelcome: return is<GroupWelcome>(m);
    case MessageType::kGroupClose: return is<GroupClose>(m);
    case MessageType::kGroupAck: return is<GroupAck>(m);
    case MessageType::kGroupNack: return is<GroupNack>(m);
    case MessageType::kHeartbeat: return is<Heartbeat>(m);
    case MessageType::kUpdateParticipantState: return is<UpdateParticipantState>(m);
    case MessageType::kRejoinRequest: return is<RejoinRequest>(m);
    case MessageType::kRejoinReply: return is<RejoinReply>(m);
    case MessageType::kGroupProposal: return false;
  }
  return false;
}

}  // namespace slipway
