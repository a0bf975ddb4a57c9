#pragma once
// What sessions say to each other, as values. Numbers and fields are upstream's (data_plane.proto: SessionHeader, Content,
// CommandPayload), field for field, so that a codec maps them without knowing any session's state.
//
// Not here because they belong to the way out and in: signatures (made after a message is final, checked before a session
// sees it: `authentic`), the hop limit and everything local to a link.

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "session/full_name.h"

namespace slipway {

// Milliseconds of a clock of the caller's choice. Only differences count.
using TimeMs = std::uint64_t;

using Bytes = std::vector<std::byte>;
using SharedBytes = std::shared_ptr<const Bytes>;  // null is empty
[[nodiscard]] inline std::size_t size_of(const SharedBytes& bytes) { return bytes ? bytes->size() : 0; }

enum class SessionType : std::uint8_t { kUnspecified = 0, kPointToPoint = 1, kMulticast = 2 };

enum class MessageType : std::uint8_t {
  kMsg = 1,
  kMsgAck = 2,
  kRtxRequest = 3,
  kRtxReply = 4,
  kDiscoveryRequest = 5,
  kDiscoveryReply = 6,
  kJoinRequest = 7,
  kJoinReply = 8,
  kLeaveRequest = 9,
  kLeaveReply = 10,
  kGroupUpdate = 11,
  kGroupWelcome = 12,
  kGroupClose = 13,
  kGroupProposal = 14,  // never sent; refused
  kGroupAck = 15,
  kGroupNack = 16,
  kHeartbeat = 17,
  kUpdateParticipantState = 18,
  kRejoinRequest = 19,
  kRejoinReply = 20,
};
// Commands are signed and protected against replay; the rest is data and its acknowledgements.
[[nodiscard]] constexpr bool is_command(MessageType type) { return type >= MessageType::kDiscoveryRequest; }
// These two carry application bytes: with MLS they are encrypted.
[[nodiscard]] constexpr bool carries_data(MessageType type) { return type == MessageType::kMsg || type == MessageType::kRtxReply; }
[[nodiscard]] std::string_view message_type_text(MessageType type);

inline constexpr std::uint32_t kOneReceiver = 1;     // fan-out: any one match
inline constexpr std::uint32_t kAllReceivers = 256;  // fan-out: all matches

// Message.metadata: not encrypted. Sorted by key, as it is signed.
using Metadata = std::map<std::string, std::string, std::less<>>;
namespace metadata_key {
inline constexpr std::string_view kPublishTo = "PUBLISH_TO";            // "TRUE": outside the order of its sender
inline constexpr std::string_view kLeaving = "LEAVING_SESSION";         // "TRUE": a member's own leave
inline constexpr std::string_view kLeaveReplySent = "LEAVE_REPLY_SENT"; // upstream-internal; refused from the network
inline constexpr std::string_view kDeleteGroup = "DELETE_GROUP";        // upstream-internal
inline constexpr std::string_view kPayloadSignature = "slim-payload-sig";
inline constexpr std::string_view kPeerSubject = "slim-peer-subject";
// Ours, on a moderator's commands and on heartbeats: the version of the roster, decimal. Upstream ignores it; without it
// a member that missed an update could keep a wrong roster unnoticed, and a late copy of an old command could undo a newer one.
inline constexpr std::string_view kRosterVersion = "slipway-roster";
// Ours, on a welcome: a data id, decimal, that the member was at or before in an earlier membership: it goes on behind it.
inline constexpr std::string_view kDataAfter = "slipway-data-after";
// Ours, on heartbeats where the moderator takes no data: the last data id used, decimal, so that it can say the above.
inline constexpr std::string_view kDataSent = "slipway-data-sent";
// Of a session, in the join request, "1": its messages are anycast. On such a session's messages: the anycast session's id and the
// message's, decimal, "id:id": a repetition is known by them, on whatever session it comes.
inline constexpr std::string_view kAnycast = "slim-anycast";
inline constexpr std::string_view kAnycastMessage = "slim-anycast-id";
// Ours, "TRUE" on an anycast message without a session: it is best effort, and acknowledged only to know whether somebody is there.
inline constexpr std::string_view kAnycastProbe = "slipway-anycast-probe";
inline constexpr std::string_view kTrue = "TRUE";
}  // namespace metadata_key
[[nodiscard]] bool is_reserved_metadata(std::string_view key);
[[nodiscard]] bool has_mark(const Metadata& metadata, std::string_view key);  // key = "TRUE"

// What a member does with data. Neither is a member too: it moderates or watches commands.
struct Direction {
  bool sends = true;
  bool receives = true;
  friend bool operator==(const Direction&, const Direction&) = default;
};
enum class MemberStatus : std::uint8_t { kOnline = 0, kOffline = 1 };
struct ParticipantInfo {
  FullName name;
  Direction settings;
  MemberStatus status = MemberStatus::kOnline;
  friend bool operator==(const ParticipantInfo&, const ParticipantInfo&) = default;
};

struct TimerSettings {
  std::uint32_t timeout_ms = 0;   // between two transmissions
  std::uint32_t max_retries = 0;  // transmissions after the first
  friend bool operator==(const TimerSettings&, const TimerSettings&) = default;
};
struct MlsSettings {
  std::uint32_t header_integrity_percent = 100;
  friend bool operator==(const MlsSettings&, const MlsSettings&) = default;
};
struct MlsPayload {
  std::uint32_t commit_id = 0;
  SharedBytes content;
};

struct AppPayload {
  std::string payload_type;
  SharedBytes blob;
};
struct DiscoveryRequest {};
struct DiscoveryReply {};
struct JoinRequest {
  std::optional<TimerSettings> timers;  // present iff data is reliable
  std::optional<FullName> channel;      // both names or none: a group or point to point
  std::optional<FullName> control;
  std::optional<MlsSettings> mls;       // present iff MLS is on
};
struct JoinReply {
  SharedBytes key_package;              // null iff MLS is off
  ParticipantInfo participant;
};
struct LeaveRequest {};
struct LeaveReply {};
enum class GroupOperation : std::uint8_t { kAdd = 0, kRemove = 1, kRejoin = 2 };
struct GroupUpdate {
  GroupOperation operation = GroupOperation::kAdd;
  ParticipantInfo participant;
  std::vector<ParticipantInfo> participants;  // a removal's list still holds the removed
  std::optional<MlsPayload> mls;
};
struct GroupWelcome {
  std::vector<ParticipantInfo> participants;
  std::optional<MlsPayload> mls;
};
struct GroupClose {
  std::vector<FullName> participants;
};
struct GroupAck {};
struct GroupNack {};
inline constexpr std::uint64_t kNoEpoch = ~std::uint64_t{0};  // a heartbeat's epoch without MLS
struct Heartbeat {
  std::uint64_t epoch = kNoEpoch;
};
struct UpdateParticipantState {
  FullName participant;
  MemberStatus new_state = MemberStatus::kOnline;
  std::uint64_t epoch = 0;              // 0 without MLS
};
struct RejoinRequest {
  FullName participant;
  SharedBytes key_package;
};
struct RejoinReply {
  std::uint32_t commit_id = 0;
  SharedBytes mls_content;
};

using Payload = std::variant<AppPayload, DiscoveryRequest, DiscoveryReply, JoinRequest, JoinReply, LeaveRequest, LeaveReply,
                             GroupUpdate, GroupWelcome, GroupClose, GroupAck, GroupNack, Heartbeat, UpdateParticipantState,
                             RejoinRequest, RejoinReply>;

struct SessionMessage {
  SessionType session_type = SessionType::kUnspecified;
  MessageType type = MessageType::kMsg;
  std::uint32_t session_id = 0;
  std::uint32_t message_id = 0;
  std::uint32_t fanout = kOneReceiver;
  bool error = false;          // SLIMHeader.error; in an RTX reply: the message is lost
  FullName source;
  FullName destination;
  std::string identity;        // token; set on the way out, and before encryption since the ciphertext covers it
  Metadata metadata;
  Payload payload;
  // Inbound only. Token and both signatures verified, and the source's id is the hash of the token's subject.
  bool authentic = false;
  // Inbound only: the header's version says that the sender is one of ours ("…+slipway"). A hint, not a proof: it may
  // decide how much is asked of a peer, never what a peer is allowed.
  bool from_slipway = false;
};
// The payload is the one that the type needs.
[[nodiscard]] bool payload_fits(const SessionMessage& message);

}  // namespace slipway
