// Bytes as what happens to a session: messages of every type from anybody, calls, time. For the fuzzers of whole sessions.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "../control/session/harness.h"
#include "require.h"
#include "session/session_bounds.h"

namespace slipway::testing {

class EventBytes {
 public:
  EventBytes(const std::uint8_t* data, std::size_t size) : bytes_(data, size) {}
  [[nodiscard]] bool empty() const { return bytes_.empty(); }
  std::uint8_t byte() {
    if (bytes_.empty()) {
      return 0;
    }
    const std::uint8_t value = bytes_.front();
    bytes_ = bytes_.subspan(1);
    return value;
  }
  std::uint32_t below(std::uint32_t end) { return byte() % end; }
  std::uint32_t number() { return std::uint32_t{byte()} << 24 | std::uint32_t{byte()} << 16 | std::uint32_t{byte()} << 8 | byte(); }
  SharedBytes blob() {
    Bytes bytes(byte());
    for (std::byte& b : bytes) {
      b = std::byte{byte()};
    }
    return std::make_shared<const Bytes>(std::move(bytes));
  }

 private:
  std::span<const std::uint8_t> bytes_;
};

// A group of three with MLS, or two point to point, ready to be maltreated.
class SessionUnderFire {
 public:
  Wire wire;
  Endpoint& a = wire.add("alice", 1);
  Endpoint& b = wire.add("bob", 2);
  Endpoint& c = wire.add("carol", 3);
  FullName stranger = named("mallory", 9);
  std::uint32_t session_id = 0;
  OperationId operation = 100;

  SessionUnderFire(bool mls, bool group) {
    SessionHandle handle{};
    if (group) {
      handle = *a.layer.create_group(wire.now, data_channel(), control_channel(), reliable(mls));
      FUZZ_REQUIRE(a.layer.invite(wire.now, handle, b.name, 1));
      FUZZ_REQUIRE(a.layer.invite(wire.now, handle, c.name, 2));
    } else {
      handle = *a.layer.create_unicast(wire.now, b.name, reliable(mls), 1);
    }
    wire.run();
    FUZZ_REQUIRE(a.layer.find(handle) != nullptr && a.layer.find(handle)->participants().size() == (group ? 3 : 2));
    session_id = a.layer.find(handle)->facts().id;
  }

  FullName somebody(EventBytes& in) {
    const FullName* names[] = {&a.name, &b.name, &c.name, &stranger};
    return *names[in.below(4)];
  }
  ParticipantInfo participant(EventBytes& in) {
    const std::uint8_t bits = in.byte();
    return {somebody(in), {(bits & 1) != 0, (bits & 2) != 0}, (bits & 4) != 0 ? MemberStatus::kOffline : MemberStatus::kOnline};
  }
  std::vector<ParticipantInfo> participants(EventBytes& in) {
    std::vector<ParticipantInfo> all(in.below(6));
    for (ParticipantInfo& p : all) {
      p = participant(in);
    }
    return all;
  }
  std::optional<MlsPayload> mls(EventBytes& in) {
    return in.below(2) == 0 ? std::nullopt : std::optional(MlsPayload{in.below(16), in.blob()});
  }
  Payload payload(EventBytes& in, MessageType type) {
    switch (type) {
      case MessageType::kDiscoveryRequest: return DiscoveryRequest{};
      case MessageType::kDiscoveryReply: return DiscoveryReply{};
      case MessageType::kJoinRequest: {
        JoinRequest join;
        const std::uint8_t bits = in.byte();
        if ((bits & 1) != 0) {
          join.timers = TimerSettings{in.number() % 1'000, in.below(200)};
        }
        if ((bits & 2) != 0) {
          join.channel = data_channel();
        }
        if ((bits & 4) != 0) {
          join.control = (bits & 8) != 0 ? control_channel() : data_channel();
        }
        if ((bits & 16) != 0) {
          join.mls = MlsSettings{};
        }
        return join;
      }
      case MessageType::kJoinReply: return JoinReply{in.below(2) == 0 ? nullptr : in.blob(), participant(in)};
      case MessageType::kLeaveRequest: return LeaveRequest{};
      case MessageType::kLeaveReply: return LeaveReply{};
      case MessageType::kGroupUpdate: return GroupUpdate{static_cast<GroupOperation>(in.below(3)), participant(in), participants(in), mls(in)};
      case MessageType::kGroupWelcome: return GroupWelcome{participants(in), mls(in)};
      case MessageType::kGroupClose: return GroupClose{};
      case MessageType::kGroupAck: return GroupAck{};
      case MessageType::kGroupNack: return GroupNack{};
      case MessageType::kHeartbeat: return Heartbeat{in.below(2) == 0 ? kNoEpoch : in.below(16)};
      case MessageType::kUpdateParticipantState: return UpdateParticipantState{somebody(in), static_cast<MemberStatus>(in.below(2)), in.below(16)};
      case MessageType::kRejoinRequest: return RejoinRequest{somebody(in), in.blob()};
      case MessageType::kRejoinReply: return RejoinReply{in.below(16), in.blob()};
      default: return AppPayload{"msg", in.blob()};
    }
  }
  // One made up, or one that was sent before, perhaps changed.
  SessionMessage message(EventBytes& in) {
    if (in.below(3) == 0 && !wire.log.empty()) {
      SessionMessage again = wire.log[in.number() % wire.log.size()];
      if (in.below(4) == 0) {
        again.source = somebody(in);
      }
      return again;
    }
    SessionMessage m;
    m.session_type = static_cast<SessionType>(in.below(8) == 0 ? in.below(3) : 2 - (in.byte() & 1));
    m.type = static_cast<MessageType>(in.below(22));
    m.session_id = in.below(8) == 0 ? in.number() : session_id;
    m.message_id = in.below(2) == 0 ? in.below(32) : in.number();
    m.error = in.below(4) == 0;
    m.source = somebody(in);
    m.destination = somebody(in);
    if (in.below(3) == 0) {
      m.metadata.emplace(metadata_key::kLeaving, metadata_key::kTrue);
    }
    if (in.below(3) == 0) {
      m.metadata.emplace(metadata_key::kRosterVersion, std::to_string(in.below(32)));
    }
    m.payload = payload(in, in.below(16) == 0 ? static_cast<MessageType>(in.below(22)) : m.type);
    return m;
  }
  void call(EventBytes& in, Endpoint& target) {
    const auto handles = target.layer.sessions();
    if (handles.empty()) {
      return;
    }
    const SessionHandle handle = handles[in.below(static_cast<std::uint32_t>(handles.size()))];
    const TimeMs now = wire.now;
    const OperationId op = ++operation;
    switch (in.below(8)) {
      case 0: (void)target.layer.publish(now, handle, {.payload = in.blob()}, op); break;
      case 1: (void)target.layer.publish_to(now, handle, somebody(in), {.payload = in.blob()}, op); break;
      case 2: (void)target.layer.invite(now, handle, somebody(in), op); break;
      case 3: (void)target.layer.remove(now, handle, somebody(in), op); break;
      case 4: (void)target.layer.refresh_keys(now, handle, op); break;
      case 5: (void)target.layer.go_offline(now, handle, op); break;
      case 6: (void)target.layer.come_back(now, handle, op); break;
      default: (void)target.layer.close(now, handle, op); break;
    }
    wire.run();
  }
  // The process dies and begins again from what it kept, perhaps a write behind, perhaps from bytes that are damaged.
  void restart(EventBytes& in, Endpoint& target) {
    auto kept = in.below(2) == 0 ? target.kept : target.kept_before;
    target.crash();
    for (auto& [key, parts] : kept) {
      SharedBytes& part = in.below(2) == 0 ? parts.record : parts.progress;
      if (in.below(4) == 0 && part && !part->empty()) {
        Bytes damaged = *part;
        damaged[in.number() % damaged.size()] ^= std::byte{in.byte()};
        part = std::make_shared<const Bytes>(std::move(damaged));
      }
    }
    target.restore(wire.now, kept);
    wire.run();
  }
  void happen(EventBytes& in, Endpoint& target) {
    switch (in.below(9)) {
      case 8: restart(in, target); break;
      case 0: wire.pass(in.byte() * 100); break;
      case 1: call(in, target); break;
      case 2: {
        const std::uint8_t share = in.byte();  // of what is sent that gets lost
        wire.lose = [share, n = std::uint32_t{0}](const SessionMessage&) mutable { return (n++ * 37 & 0xff) < share; };
        break;
      }
      default: {
        wire.authentic = in.below(8) != 0;
        wire.from_slipway = in.below(4) != 0;
        wire.inject(target, message(in));
      }
    }
    bounded(target);
  }
  static void bounded(const Endpoint& target) {
    FUZZ_REQUIRE(target.layer.sessions().size() <= kMaxSessions && target.layer.tombstones() <= kMaxTombstones);
    for (const SessionHandle handle : target.layer.sessions()) {
      const Session& session = *target.layer.find(handle);
      FUZZ_REQUIRE(session.sender().kept_messages() <= kSendWindow + kMaxDirected);
      FUZZ_REQUIRE(session.receiver().waiting_most() <= kReorderWindow + kMaxProbes);
      FUZZ_REQUIRE(session.open_commands() <= kMaxOpenCommands && session.roster().size() <= kMaxSessionMembers);
    }
  }
  // Whatever happened: closing ends everything, each operation ended at most once.
  void end() {
    wire.lose = nullptr;
    for (Endpoint* e : {&a, &b, &c}) {
      for (const SessionHandle handle : e->layer.sessions()) {
        (void)e->layer.close(wire.now, handle, ++operation);
      }
    }
    wire.pass(3 * kDrainMs + 2'000'000);
    for (Endpoint* e : {&a, &b, &c}) {
      FUZZ_REQUIRE(e->layer.sessions().empty() && !e->layer.next_deadline());
      std::vector<OperationId> ended;
      for (const Resolve& resolve : e->resolved) {
        ended.push_back(resolve.operation);
      }
      std::ranges::sort(ended);
      FUZZ_REQUIRE(std::ranges::adjacent_find(ended) == ended.end());
    }
  }
};

inline int fuzz_session(const std::uint8_t* data, std::size_t size, bool moderator) {
  constexpr std::size_t kMaxEventBytes = 2'000;
  if (size > kMaxEventBytes) {
    return 0;
  }
  EventBytes in(data, size);
  const std::uint8_t bits = in.byte();
  SessionUnderFire fire((bits & 1) != 0, (bits & 2) != 0);
  while (!in.empty()) {
    fire.happen(in, moderator ? fire.a : fire.b);
  }
  fire.end();
  return 0;
}

}  // namespace slipway::testing
