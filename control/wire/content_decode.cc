// Payloads as they came: bounded, every field checked.

#include <optional>

#include "wire/wire_bounds.h"
#include "wire/wire_fields.h"
#include "wire/wire_reader.h"

namespace slipway::wire_read {
namespace {

namespace f = wire_field;

// A required name that a command speaks of.
FullName required(const std::optional<FullName>& name) {
  if (!name) {
    refuse(WireFault::kMissing);
  }
  return *name;
}

ParticipantInfo participant(pbf_reader reader) {
  ParticipantInfo info{.settings = {.sends = false, .receives = false}};
  std::optional<FullName> who;
  bool settings_seen = false;
  while (reader.next()) {
    switch (reader.tag()) {
      case 1: who = name(reader); break;
      case 2: {
        once(settings_seen);
        pbf_reader settings = inside(reader);
        while (settings.next()) {
          switch (settings.tag()) {
            case 1: info.settings.sends = flag(settings); break;
            case 2: info.settings.receives = flag(settings); break;
            default: settings.skip();
          }
        }
        break;
      }
      case 3: info.status = choice(reader, MemberStatus::kOffline); break;
      default: reader.skip();
    }
  }
  info.name = required(who);
  if (!settings_seen) {
    refuse(WireFault::kMissing);
  }
  return info;
}

void add_participant(pbf_reader& field, std::vector<ParticipantInfo>& list) {
  if (list.size() == kMaxSessionMembers) {
    refuse(WireFault::kTooLong);
  }
  list.push_back(participant(inside(field)));
}

MlsPayload mls_payload(pbf_reader reader) {
  MlsPayload mls;
  while (reader.next()) {
    switch (reader.tag()) {
      case 1: mls.commit_id = number32(reader); break;
      case 2: mls.content = blob(reader, kMaxCommandBytes); break;
      default: reader.skip();
    }
  }
  return mls;
}

JoinRequest join_request(pbf_reader reader) {
  JoinRequest join;
  while (reader.next()) {
    switch (reader.tag()) {
      case 1: {
        pbf_reader timers = inside(reader);
        TimerSettings& settings = join.timers.emplace();
        while (timers.next()) {
          switch (timers.tag()) {
            case 1: settings.timeout_ms = number32(timers); break;
            case 2: settings.max_retries = number32(timers); break;
            default: timers.skip();
          }
        }
        break;
      }
      case 2: join.channel = name(reader); break;
      case 3: join.control = name(reader); break;
      case 4: {
        pbf_reader mls = inside(reader);
        MlsSettings& settings = join.mls.emplace(MlsSettings{.header_integrity_percent = 0});
        while (mls.next()) {
          if (mls.tag() == 1) {
            settings.header_integrity_percent = number32(mls);
          } else {
            mls.skip();
          }
        }
        break;
      }
      default: reader.skip();
    }
  }
  return join;
}

JoinReply join_reply(pbf_reader reader) {
  JoinReply reply;
  bool seen = false;
  while (reader.next()) {
    switch (reader.tag()) {
      case 1: reply.key_package = blob(reader, kMaxCommandBytes); break;
      case 2:
        once(seen);
        reply.participant = participant(inside(reader));
        break;
      default: reader.skip();
    }
  }
  if (!seen) {
    refuse(WireFault::kMissing);
  }
  return reply;
}

GroupUpdate group_update(pbf_reader reader) {
  GroupUpdate update;
  bool seen = false;
  while (reader.next()) {
    switch (reader.tag()) {
      case 1: update.operation = choice(reader, GroupOperation::kRejoin); break;
      case 2:
        once(seen);
        update.participant = participant(inside(reader));
        break;
      case 3: add_participant(reader, update.participants); break;
      case 4: update.mls = mls_payload(inside(reader)); break;
      default: reader.skip();
    }
  }
  if (!seen) {
    refuse(WireFault::kMissing);
  }
  return update;
}

GroupWelcome group_welcome(pbf_reader reader) {
  GroupWelcome welcome;
  while (reader.next()) {
    switch (reader.tag()) {
      case 1: add_participant(reader, welcome.participants); break;
      case 2: welcome.mls = mls_payload(inside(reader)); break;
      default: reader.skip();
    }
  }
  return welcome;
}

GroupClose group_close(pbf_reader reader) {
  GroupClose close;
  while (reader.next()) {
    if (reader.tag() != 1) {
      reader.skip();
      continue;
    }
    if (close.participants.size() == kMaxSessionMembers) {
      refuse(WireFault::kTooLong);
    }
    close.participants.push_back(name(reader));
  }
  return close;
}

Heartbeat heartbeat(pbf_reader reader) {
  Heartbeat beat{.epoch = 0};
  while (reader.next()) {
    if (reader.tag() == 1) {
      beat.epoch = number(reader);
    } else {
      reader.skip();
    }
  }
  return beat;
}

UpdateParticipantState participant_state(pbf_reader reader) {
  UpdateParticipantState update;
  std::optional<FullName> who;
  while (reader.next()) {
    switch (reader.tag()) {
      case 1: who = name(reader); break;
      case 2: update.new_state = choice(reader, MemberStatus::kOffline); break;
      case 3: update.epoch = number(reader); break;
      default: reader.skip();
    }
  }
  update.participant = required(who);
  return update;
}

RejoinRequest rejoin_request(pbf_reader reader) {
  RejoinRequest request;
  std::optional<FullName> who;
  while (reader.next()) {
    switch (reader.tag()) {
      case 1: who = name(reader); break;
      case 2: request.key_package = blob(reader, kMaxCommandBytes); break;
      default: reader.skip();
    }
  }
  request.participant = required(who);
  return request;
}

Payload command(std::uint32_t which, pbf_reader reader) {
  const auto empty = [&reader](Payload payload) {
    while (reader.next()) {
      reader.skip();
    }
    return payload;
  };
  switch (which) {
    case f::kDiscoveryRequest: return empty(DiscoveryRequest{});
    case f::kDiscoveryReply: return empty(DiscoveryReply{});
    case f::kJoinRequest: return join_request(reader);
    case f::kJoinReply: return join_reply(reader);
    case f::kLeaveRequest: return empty(LeaveRequest{});
    case f::kLeaveReply: return empty(LeaveReply{});
    case f::kGroupUpdate: return group_update(reader);
    case f::kGroupWelcome: return group_welcome(reader);
    case f::kGroupClose: return group_close(reader);
    case f::kGroupAck: return empty(GroupAck{});
    case f::kGroupNack: return empty(GroupNack{});
    case f::kHeartbeat: return heartbeat(reader);
    case f::kUpdateParticipantState: return participant_state(reader);
    case f::kRejoinRequest: return rejoin_request(reader);
    case f::kRejoinReply: {
      MlsPayload mls = mls_payload(reader);
      return RejoinReply{mls.commit_id, std::move(mls.content)};
    }
    default: refuse(WireFault::kUnknownCommand);
  }
}

AppPayload app_payload(pbf_reader reader) {
  AppPayload app;
  while (reader.next()) {
    switch (reader.tag()) {
      case f::kPayloadType: app.payload_type = text(reader, kMaxPayloadTypeBytes); break;
      case f::kBlob: app.blob = blob(reader, kMaxWireBlobBytes); break;
      default: reader.skip();
    }
  }
  return app;
}

}  // namespace

Payload content(pbf_reader reader) {
  std::optional<Payload> payload;
  const auto set = [&payload](Payload value) {
    if (payload) {
      refuse(WireFault::kRepeated);
    }
    payload = std::move(value);
  };
  while (reader.next()) {
    if (reader.tag() == f::kApp) {
      set(app_payload(inside(reader)));
    } else if (reader.tag() == f::kCommand) {
      pbf_reader commands = inside(reader);
      while (commands.next()) {
        const std::uint32_t which = commands.tag();  // before the field is taken
        set(command(which, inside(commands)));
      }
    } else {
      reader.skip();
    }
  }
  if (!payload) {
    refuse(WireFault::kMissing);
  }
  return std::move(*payload);
}

}  // namespace slipway::wire_read
