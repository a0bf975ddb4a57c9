// The payload of a message: application bytes or one of the commands.

#include "wire/header_protection.h"
#include "wire/name_wire.h"
#include "wire/wire_fields.h"

namespace slipway {
namespace {

namespace f = wire_field;

std::string_view view(const SharedBytes& bytes) {
  return bytes ? ProtoOut::view(*bytes) : std::string_view();
}

std::string participant(const ParticipantInfo& info) {
  std::string settings;
  ProtoOut flags(settings);
  flags.number(1, info.settings.sends ? 1 : 0);
  flags.number(2, info.settings.receives ? 1 : 0);
  std::string out;
  ProtoOut proto(out);
  write_name(proto, 1, info.name);
  proto.nested(2, settings);
  proto.number(3, static_cast<std::uint64_t>(info.status));
  return out;
}

void participants(ProtoOut& proto, std::uint32_t field, const std::vector<ParticipantInfo>& list) {
  for (const ParticipantInfo& info : list) {
    proto.nested(field, participant(info));
  }
}

std::string mls_payload(std::uint32_t commit_id, const SharedBytes& content) {
  std::string out;
  ProtoOut proto(out);
  proto.number(1, commit_id);
  proto.text(2, view(content));
  return out;
}

// What is inside of each command; empty for those that say all by being there.
struct CommandBody {
  std::string out;
  ProtoOut proto{out};

  void operator()(const JoinRequest& join) {
    if (join.timers) {
      std::string timers;
      ProtoOut inner(timers);
      inner.number(1, join.timers->timeout_ms);
      inner.number(2, join.timers->max_retries);
      proto.nested(1, timers);
    }
    if (join.channel) {
      write_name(proto, 2, *join.channel);
    }
    if (join.control) {
      write_name(proto, 3, *join.control);
    }
    if (join.mls) {
      std::string mls;
      ProtoOut(mls).number(1, join.mls->header_integrity_percent);
      proto.nested(4, mls);
    }
  }
  void operator()(const JoinReply& reply) {
    if (reply.key_package) {
      proto.nested(1, view(reply.key_package));
    }
    proto.nested(2, participant(reply.participant));
  }
  void operator()(const GroupUpdate& update) {
    proto.number(1, static_cast<std::uint64_t>(update.operation));
    proto.nested(2, participant(update.participant));
    participants(proto, 3, update.participants);
    if (update.mls) {
      proto.nested(4, mls_payload(update.mls->commit_id, update.mls->content));
    }
  }
  void operator()(const GroupWelcome& welcome) {
    participants(proto, 1, welcome.participants);
    if (welcome.mls) {
      proto.nested(2, mls_payload(welcome.mls->commit_id, welcome.mls->content));
    }
  }
  void operator()(const GroupClose& close) {
    for (const FullName& name : close.participants) {
      write_name(proto, 1, name);
    }
  }
  void operator()(const Heartbeat& heartbeat) { proto.number(1, heartbeat.epoch); }
  void operator()(const UpdateParticipantState& update) {
    write_name(proto, 1, update.participant);
    proto.number(2, static_cast<std::uint64_t>(update.new_state));
    proto.number(3, update.epoch);
  }
  void operator()(const RejoinRequest& request) {
    write_name(proto, 1, request.participant);
    proto.text(2, view(request.key_package));
  }
  void operator()(const RejoinReply& reply) { out = mls_payload(reply.commit_id, reply.mls_content); }
  template <class Empty>
  void operator()(const Empty&) {}
};

struct CommandField {
  std::uint32_t operator()(const AppPayload&) const { return 0; }
  std::uint32_t operator()(const DiscoveryRequest&) const { return f::kDiscoveryRequest; }
  std::uint32_t operator()(const DiscoveryReply&) const { return f::kDiscoveryReply; }
  std::uint32_t operator()(const JoinRequest&) const { return f::kJoinRequest; }
  std::uint32_t operator()(const JoinReply&) const { return f::kJoinReply; }
  std::uint32_t operator()(const LeaveRequest&) const { return f::kLeaveRequest; }
  std::uint32_t operator()(const LeaveReply&) const { return f::kLeaveReply; }
  std::uint32_t operator()(const GroupUpdate&) const { return f::kGroupUpdate; }
  std::uint32_t operator()(const GroupWelcome&) const { return f::kGroupWelcome; }
  std::uint32_t operator()(const GroupClose&) const { return f::kGroupClose; }
  std::uint32_t operator()(const GroupAck&) const { return f::kGroupAck; }
  std::uint32_t operator()(const GroupNack&) const { return f::kGroupNack; }
  std::uint32_t operator()(const Heartbeat&) const { return f::kHeartbeat; }
  std::uint32_t operator()(const UpdateParticipantState&) const { return f::kUpdateParticipantState; }
  std::uint32_t operator()(const RejoinRequest&) const { return f::kRejoinRequest; }
  std::uint32_t operator()(const RejoinReply&) const { return f::kRejoinReply; }
};

std::string app_content(const AppPayload& app) {
  const std::string_view blob = view(app.blob);
  const std::size_t inner = ProtoOut::text_bytes(app.payload_type.size()) + ProtoOut::text_bytes(blob.size());
  std::string out;
  out.reserve(inner + 8);
  ProtoOut proto(out);
  proto.begin(f::kApp, inner);
  proto.text(f::kPayloadType, app.payload_type);
  proto.text(f::kBlob, blob);
  return out;
}

}  // namespace

std::string encode_content(const Payload& payload) {
  if (const auto* app = std::get_if<AppPayload>(&payload)) {
    return app_content(*app);
  }
  CommandBody body;
  std::visit(body, payload);
  std::string command;
  ProtoOut(command).nested(std::visit(CommandField{}, payload), body.out);
  std::string out;
  ProtoOut(out).nested(f::kCommand, command);
  return out;
}

}  // namespace slipway
