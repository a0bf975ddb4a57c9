#include "channel_manager/manager_messages.h"

#include <protozero/pbf_writer.hpp>

#include "channel_manager/channel_manager_bounds.h"
#include "grpc_server/proto_read.h"

namespace slipway {
namespace {

using namespace proto_read;
using protozero::pbf_writer;

std::string channel_of(pbf_reader& field) { return text_of(field, kManagerNameBytes, "the channel's name"); }
std::string proof_of(pbf_reader& field) { return std::string(bytes_of(field, kManagerProofBytes, "the signed request")); }

}  // namespace

std::expected<CreateChannelRequest, std::string> decode_create_channel(std::span<const std::byte> message) {
  return decode_message(message, [](pbf_reader reader) {
    CreateChannelRequest out;
    while (reader.next()) {
      switch (reader.tag()) {
        case 1:
          out.channel_name = channel_of(reader);
          break;
        case 2:
          out.mls_enabled = number_of(reader, "`mls_enabled`") != 0;
          break;
        case 3:
          out.owner_callback_name = text_of(reader, kManagerNameBytes, "the owner's callback name");
          break;
        case 4:
          out.ttl_seconds = number_of(reader, "`ttl_seconds`");
          break;
        case 5:
          out.owner_proof = proof_of(reader);
          break;
        default:
          reader.skip();
      }
    }
    return out;
  });
}

std::expected<DeleteChannelRequest, std::string> decode_delete_channel(std::span<const std::byte> message) {
  return decode_message(message, [](pbf_reader reader) {
    DeleteChannelRequest out;
    while (reader.next()) {
      if (reader.tag() == 1) {
        out.channel_name = channel_of(reader);
      } else if (reader.tag() == 2) {
        out.owner_proof = proof_of(reader);
      } else {
        reader.skip();
      }
    }
    return out;
  });
}

std::expected<ParticipantRequest, std::string> decode_participant_request(std::span<const std::byte> message) {
  return decode_message(message, [](pbf_reader reader) {
    ParticipantRequest out;
    while (reader.next()) {
      if (reader.tag() == 1) {
        out.channel_name = channel_of(reader);
      } else if (reader.tag() == 2) {
        out.participant_name = text_of(reader, kManagerNameBytes, "the participant's name");
      } else if (reader.tag() == 3) {
        out.grant = proof_of(reader);
      } else {
        reader.skip();
      }
    }
    return out;
  });
}

std::expected<ListParticipantsRequest, std::string> decode_list_participants(std::span<const std::byte> message) {
  return decode_message(message, [](pbf_reader reader) {
    ListParticipantsRequest out;
    while (reader.next()) {
      if (reader.tag() == 1) {
        out.channel_name = channel_of(reader);
      } else {
        reader.skip();
      }
    }
    return out;
  });
}

std::expected<void, std::string> decode_list_channels(std::span<const std::byte> message) {
  const auto read = decode_message(message, [](pbf_reader reader) {
    while (reader.next()) {
      reader.skip();
    }
    return true;
  });
  if (!read) {
    return std::unexpected(read.error());
  }
  return {};
}

std::string encode_command_response(const std::optional<std::string>& error) {
  std::string out;
  pbf_writer message(out);
  if (!error) {
    message.add_bool(2, true);
  } else {
    message.add_string(3, *error);
  }
  return out;
}

std::string encode_channels(std::span<const ChannelInfo> channels) {
  std::string out;
  pbf_writer message(out);
  message.add_bool(1, true);
  for (const auto& channel : channels) {
    message.add_string(3, channel.channel_name);
  }
  for (const auto& channel : channels) {
    pbf_writer info(message, 4);
    info.add_string(1, channel.channel_name);
    if (channel.owner) {
      info.add_string(2, *channel.owner);
    }
    if (channel.expires_at_s) {
      info.add_uint64(3, *channel.expires_at_s);
    }
  }
  return out;
}

std::string encode_channels_error(std::string_view error) {
  std::string out;
  pbf_writer message(out);
  message.add_string(2, error.data(), error.size());
  return out;
}

std::string encode_participants(const std::expected<std::vector<std::string>, std::string>& participants) {
  std::string out;
  pbf_writer message(out);
  if (!participants) {
    message.add_string(2, participants.error());
    return out;
  }
  message.add_bool(1, true);
  for (const auto& name : *participants) {
    message.add_string(3, name);
  }
  return out;
}

std::string encode_approval_request(const ApprovalRequest& request) {
  std::string out;
  pbf_writer message(out);
  message.add_string(1, request.channel_name);
  message.add_string(2, request.participant_name);
  if (request.action != ParticipantAction::kUnspecified) {
    message.add_enum(3, static_cast<std::int32_t>(request.action));
  }
  if (request.requester) {
    message.add_string(4, *request.requester);
  }
  return out;
}

std::expected<ApprovalDecision, std::string> decode_approval_response(std::span<const std::byte> message) {
  return decode_message(message, [](pbf_reader reader) {
    std::optional<ApprovalDecision> out;
    while (reader.next()) {
      if (reader.tag() == 1) {
        out = ApprovalGranted{std::string(bytes_of(reader, kManagerProofBytes, "the grant"))};
      } else if (reader.tag() == 2) {
        out = ApprovalDenied{text_of(reader, kManagerMessageBytes, "the reason")};
      } else {
        reader.skip();
      }
    }
    if (!out) {
      refuse("response carries no decision");
    }
    return *std::move(out);
  });
}

}  // namespace slipway
