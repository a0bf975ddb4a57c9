#pragma once
// Messages of upstream's channel-manager service and of the approval that owners are asked for (channel_manager.proto.v1,
// upstream-control 7) as values, to and from protobuf. Pure. Decoding throws nothing, takes fields in any order, skips those that
// it does not know, and bounds every text. Errors say what is wrong.

#include <cstddef>
#include <cstdint>
#include <expected>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace slipway {

struct CreateChannelRequest {
  std::string channel_name;
  bool mls_enabled = false;
  std::optional<std::string> owner_callback_name;
  std::optional<std::uint64_t> ttl_seconds;
  std::optional<std::string> owner_proof;
};
struct DeleteChannelRequest {
  std::string channel_name;
  std::optional<std::string> owner_proof;
};
// AddParticipant and DeleteParticipant.
struct ParticipantRequest {
  std::string channel_name;
  std::string participant_name;
  std::optional<std::string> grant;
};
struct ListParticipantsRequest {
  std::string channel_name;
};

[[nodiscard]] std::expected<CreateChannelRequest, std::string> decode_create_channel(std::span<const std::byte> message);
[[nodiscard]] std::expected<DeleteChannelRequest, std::string> decode_delete_channel(std::span<const std::byte> message);
[[nodiscard]] std::expected<ParticipantRequest, std::string> decode_participant_request(std::span<const std::byte> message);
[[nodiscard]] std::expected<ListParticipantsRequest, std::string> decode_list_participants(std::span<const std::byte> message);
[[nodiscard]] std::expected<void, std::string> decode_list_channels(std::span<const std::byte> message);

struct ChannelInfo {
  std::string channel_name;
  std::optional<std::string> owner;
  std::optional<std::uint64_t> expires_at_s;   // Unix
};

// No error: success.
[[nodiscard]] std::string encode_command_response(const std::optional<std::string>& error);
[[nodiscard]] std::string encode_channels(std::span<const ChannelInfo> channels);
[[nodiscard]] std::string encode_channels_error(std::string_view error);
[[nodiscard]] std::string encode_participants(const std::expected<std::vector<std::string>, std::string>& participants);

// What an owner is asked, and what it says. The grant is checked like any other.
enum class ParticipantAction : std::uint8_t { kUnspecified = 0, kAdd = 1, kDelete = 2 };
struct ApprovalRequest {
  std::string channel_name;
  std::string participant_name;
  ParticipantAction action = ParticipantAction::kUnspecified;
  std::optional<std::string> requester;
};
struct ApprovalGranted {
  std::string grant;
};
struct ApprovalDenied {
  std::string reason;
};
using ApprovalDecision = std::variant<ApprovalGranted, ApprovalDenied>;

[[nodiscard]] std::string encode_approval_request(const ApprovalRequest& request);
[[nodiscard]] std::expected<ApprovalDecision, std::string> decode_approval_response(std::span<const std::byte> message);

}  // namespace slipway
