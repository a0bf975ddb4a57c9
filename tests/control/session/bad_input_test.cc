// Bad input as a table: every message type, at every state of either side, with every fault. Each is refused, counted by its reason, and
// leaves the state as it was; afterwards the session still works.
#include <gtest/gtest.h>

#include <set>

#include "harness.h"
#include "session/session_bounds.h"

namespace slipway::testing {
namespace {

using T = MessageType;

enum class State : std::uint8_t {
  kNothing,        // no session yet
  kAlone,          // moderator: nobody invited
  kDiscovering,    // moderator: no answer to the discovery yet
  kJoinSent,       // moderator: no answer to the join request yet
  kWelcomeSent,    // moderator: the welcome is not confirmed
  kModerating,     // moderator: set up
  kRemoving,       // moderator: a member was removed and has not answered
  kEnding,         // moderator: the close is not confirmed
  kJoining,        // participant: waits for the welcome
  kMember,         // participant: set up
  kAway,           // participant: offline by its own wish
  kLeaving,        // participant: its farewell is not answered
  kOver,           // participant: it left
};
constexpr int kStates = 13;
const char* state_text(State state) {
  static constexpr const char* kTexts[kStates] = {"nothing", "alone", "discovering", "join-sent", "welcome-sent", "moderating", "removing",
                                                  "ending", "joining", "member", "away", "leaving", "over"};
  return kTexts[static_cast<int>(state)];
}
bool is_moderators(State state) { return state >= State::kAlone && state <= State::kEnding; }

enum class Fault : std::uint8_t {
  kStranger,       // signed by somebody who never was in
  kRemoved,        // by somebody who was
  kForgedSource,   // in the name of the other side, with no signature of its
  kForeignSession, // right but for the session's id
  kForeignKind,    // point to point in a group, or the other way round
  kElsewhere,      // addressed to somebody else
  kNoPayload,      // the payload of another type
  kZeroId,         // commands must have one
  kOversized,      // data beyond the bound
  kGarbage,        // from the right one: keys, commits and ciphertexts that are none
  kWrongEpoch,     // what was said in an epoch that is over
};
constexpr int kFaults = 11;
const char* fault_text(Fault fault) {
  static constexpr const char* kTexts[kFaults] = {"stranger", "removed", "forged-source", "foreign-session", "foreign-kind", "elsewhere",
                                                  "no-payload", "zero-id", "oversized", "garbage", "wrong-epoch"};
  return kTexts[static_cast<int>(fault)];
}

std::map<std::string, std::uint64_t> counts(const SessionRefusals& r) {
  std::map<std::string, std::uint64_t> all;
#define X(field, text) all[#field] = r.field;
  SLIPWAY_SESSION_REFUSALS(X)
#undef X
  return all;
}

class BadInput : public ::testing::TestWithParam<std::tuple<int, bool, bool>> {
 protected:
  Wire wire;
  Endpoint& alice = wire.add("alice", 1);
  Endpoint& bob = wire.add("bob", 2);
  Endpoint& carol = wire.add("carol", 3);     // was in the group, and was removed
  Endpoint& mallory = wire.add("mallory", 9);
  const State state = static_cast<State>(std::get<0>(GetParam()));
  const bool group = std::get<1>(GetParam());
  const bool mls = std::get<2>(GetParam());
  SessionHandle handle{};
  std::uint32_t session_id = 0;
  std::vector<SessionMessage> old;            // of epochs that are over
  std::uint32_t next_id = 5'000;

  Endpoint& target() { return is_moderators(state) ? alice : bob; }
  Endpoint& other() { return is_moderators(state) ? bob : alice; }
  static auto loses(T type) {
    return [type](const SessionMessage& m) { return m.type == type; };
  }

  void SetUp() override {
    if (!group && (state == State::kAlone || state == State::kRemoving || state == State::kAway)) {
      GTEST_SKIP() << "groups only";
    }
    if (state == State::kNothing) {
      session_id = 4'711;
      return;
    }
    switch (state) {
      case State::kDiscovering: wire.lose = loses(T::kDiscoveryReply); break;
      case State::kJoinSent: wire.lose = loses(T::kJoinReply); break;
      case State::kWelcomeSent:
      case State::kJoining: wire.lose = loses(T::kGroupWelcome); break;
      default: break;
    }
    const bool settled = !wire.lose && state != State::kAlone;
    handle = group ? *alice.layer.create_group(wire.now, data_channel(), control_channel(), reliable(mls))
                   : *alice.layer.create_unicast(wire.now, service_of("bob"), reliable(mls), 1);
    session_id = alice.layer.find(handle)->facts().id;
    if (group && settled) {
      come_and_go();
    }
    if (group && state != State::kAlone) {
      EXPECT_TRUE(alice.layer.invite(wire.now, handle, bob.name, 4));
    }
    wire.run();
    if (settled) {
      ASSERT_EQ(bob.opened.size(), 1u);
      finish_state();
    }
    wire.lose = [](const SessionMessage&) { return true; };  // from here on nobody hears what is answered
  }
  // Epochs that are over, with somebody in them who is out.
  void come_and_go() {
    EXPECT_TRUE(alice.layer.invite(wire.now, handle, carol.name, 2));
    wire.run();
    EXPECT_TRUE(alice.layer.publish(wire.now, handle, {.payload = bytes_of("old")}, kNoOperation));
    wire.run();
    EXPECT_TRUE(carol.layer.publish(wire.now, carol.opened[0], {.payload = bytes_of("carol's")}, kNoOperation));
    wire.run();
    EXPECT_TRUE(alice.layer.remove(wire.now, handle, carol.name, 3));
    wire.run();
    old = wire.log;
  }
  void finish_state() {
    switch (state) {
      case State::kRemoving:
        wire.lose = loses(T::kLeaveReply);
        EXPECT_TRUE(alice.layer.remove(wire.now, handle, bob.name, 5));
        break;
      case State::kEnding:
        wire.lose = loses(T::kGroupAck);
        EXPECT_TRUE(alice.layer.close(wire.now, handle, 5));
        break;
      case State::kAway: EXPECT_TRUE(bob.layer.go_offline(wire.now, bob.opened[0], 5)); break;
      case State::kLeaving:
        wire.lose = loses(T::kLeaveReply);
        EXPECT_TRUE(bob.layer.close(wire.now, bob.opened[0], 5));
        break;
      case State::kOver: EXPECT_TRUE(bob.layer.close(wire.now, bob.opened[0], 5)); break;
      default: break;
    }
    wire.run();
  }

  static Payload payload_of(T type, const FullName& source) {
    const ParticipantInfo self{source, {}, MemberStatus::kOnline};
    switch (type) {
      case T::kDiscoveryRequest: return DiscoveryRequest{};
      case T::kDiscoveryReply: return DiscoveryReply{};
      case T::kJoinRequest: return JoinRequest{};
      case T::kJoinReply: return JoinReply{bytes_of("no key package"), self};
      case T::kLeaveRequest: return LeaveRequest{};
      case T::kLeaveReply: return LeaveReply{};
      case T::kGroupUpdate: return GroupUpdate{GroupOperation::kAdd, self, {self}, MlsPayload{99, bytes_of("no commit")}};
      case T::kGroupWelcome: return GroupWelcome{{self}, MlsPayload{99, bytes_of("no welcome")}};
      case T::kGroupClose: return GroupClose{};
      case T::kGroupAck: return GroupAck{};
      case T::kGroupNack: return GroupNack{};
      case T::kHeartbeat: return Heartbeat{99};
      case T::kUpdateParticipantState: return UpdateParticipantState{source, MemberStatus::kOnline, 99};
      case T::kRejoinRequest: return RejoinRequest{source, bytes_of("no key package")};
      case T::kRejoinReply: return RejoinReply{99, bytes_of("no welcome")};
      default: return AppPayload{"msg", bytes_of("no ciphertext")};
    }
  }
  SessionMessage message(T type, const Endpoint& source) {
    SessionMessage m;
    m.session_type = group ? SessionType::kMulticast : SessionType::kPointToPoint;
    m.type = type;
    m.session_id = session_id;
    m.message_id = is_command(type) ? ++next_id : 3;
    m.source = source.name;
    m.destination = target().name;
    m.payload = payload_of(type, source.name);
    return m;
  }
  // Empty: the fault is none for this type here.
  std::optional<SessionMessage> faulty(T type, Fault fault) {
    SessionMessage m = message(type, fault == Fault::kStranger ? mallory : fault == Fault::kRemoved ? carol : other());
    wire.authentic = true;
    switch (fault) {
      case Fault::kStranger: break;
      case Fault::kRemoved:
        if (!group) {
          return std::nullopt;
        }
        break;
      case Fault::kForgedSource:
        // Without MLS upstream's peers are believed if so configured, and acknowledgements are bound to nobody: rules_test, README.
        if (!is_command(type) ? !mls || !carries_data(type) : !mls && type != T::kDiscoveryRequest && type != T::kJoinRequest) {
          return std::nullopt;
        }
        wire.authentic = false;
        break;
      case Fault::kForeignSession: m.session_id += 1; break;
      case Fault::kForeignKind: m.session_type = group ? SessionType::kPointToPoint : SessionType::kMulticast; break;
      case Fault::kElsewhere: m.destination = named("elsewhere", 77); break;
      case Fault::kNoPayload: m.payload = type == T::kGroupAck ? Payload(GroupNack{}) : Payload(GroupAck{}); break;
      case Fault::kZeroId:
        if (!is_command(type)) {
          return std::nullopt;
        }
        m.message_id = 0;
        break;
      case Fault::kOversized:
        if (!carries_data(type)) {
          return std::nullopt;
        }
        m.payload = AppPayload{"msg", std::make_shared<const Bytes>(kMaxSessionPayloadBytes + 1)};
        break;
      case Fault::kGarbage:
        if (!mls || !(carries_data(type) || type == T::kJoinReply || type == T::kGroupUpdate || type == T::kGroupWelcome || type == T::kRejoinReply)) {
          return std::nullopt;
        }
        if (auto* update = std::get_if<GroupUpdate>(&m.payload); update != nullptr && state == State::kMember && group) {
          update->mls->commit_id = dynamic_cast<const Participant*>(bob.layer.find(bob.opened[0]))->last_commit() + 1;  // later ones wait for it
        }
        break;
      case Fault::kWrongEpoch: return std::nullopt;  // below, with what was really said
    }
    return m;
  }
  // Discovery is stateless and anybody may ask; anybody may invite us to a session of its own; who says good-bye is told that it is out.
  bool is_none(T type, Fault fault, const SessionMessage& m) {
    const bool from_right = fault != Fault::kForgedSource && fault != Fault::kNoPayload && fault != Fault::kElsewhere;
    if (type == T::kDiscoveryRequest) {
      return from_right;
    }
    return type == T::kJoinRequest && from_right && fault != Fault::kZeroId && m.session_type == SessionType::kPointToPoint;  // a group's says its channels
  }

  std::string snapshot(Endpoint& e) {
    std::string text = std::to_string(e.got.size()) + " got, " + std::to_string(e.resolved.size()) + " resolved, " + std::to_string(e.opened.size()) +
                       " opened, " + std::to_string(e.closed.size()) + " closed, " + std::to_string(e.subscribed.size()) + " subscribed, " +
                       std::to_string(e.lost.size()) + " lost, " + std::to_string(e.presence.size()) + " presence, " +
                       std::to_string(e.layer.anycast().lines()) + " lines";
    for (const SessionHandle one : e.layer.sessions()) {
      const Session& session = *e.layer.find(one);
      text += "; session epoch " + std::to_string(session.epoch()) + (session.active() ? " active" : "") + (session.offline() ? " offline" : "") +
              " sent " + std::to_string(session.sender().last_id()) + " kept " + std::to_string(session.sender().kept_messages()) + " delivered " +
              std::to_string(session.receiver().delivered());
      for (const ParticipantInfo& info : session.participants()) {
        text += " " + info.name.shown() + (info.status == MemberStatus::kOnline ? "+" : "-");
      }
    }
    return text;
  }
  std::size_t commands(Endpoint& e) {
    std::size_t open = 0;
    for (const SessionHandle one : e.layer.sessions()) {
      open += e.layer.find(one)->open_commands();
    }
    return open;
  }

  // What is counted, by reason.
  std::map<std::string, std::uint64_t> refused_of(SessionMessage m, const std::string& what, bool told_off) {
    Endpoint& t = target();
    const std::string before = snapshot(t);
    const std::size_t open = commands(t);
    const auto counted = counts(t.layer.refusals());
    wire.inject(t, std::move(m));
    EXPECT_EQ(snapshot(t), before) << what;
    if (!told_off) {
      EXPECT_EQ(commands(t), open) << what;
    }
    std::map<std::string, std::uint64_t> more;
    for (const auto& [reason, count] : counts(t.layer.refusals())) {
      if (count != counted.at(reason)) {
        more[reason] = count - counted.at(reason);
      }
    }
    return more;
  }
};

TEST_P(BadInput, IsRefusedCountedAndChangesNothing) {
  std::map<std::string, std::set<std::string>> reasons;
  for (int fault = 0; fault < kFaults; ++fault) {
    for (int type = 1; type <= 20; ++type) {
      const auto m = faulty(static_cast<T>(type), static_cast<Fault>(fault));
      if (!m || is_none(static_cast<T>(type), static_cast<Fault>(fault), *m)) {
        continue;
      }
      const std::string what = std::string(fault_text(static_cast<Fault>(fault))) + " " + std::string(message_type_text(static_cast<T>(type)));
      const bool outsider = fault == static_cast<int>(Fault::kStranger) || fault == static_cast<int>(Fault::kRemoved);
      // A commit that makes no sense shows that we are behind: then we ask to be let in again.
      const bool asks = static_cast<T>(type) == T::kGroupUpdate && fault == static_cast<int>(Fault::kGarbage);
      const auto more = refused_of(*m, what, asks || (outsider && is_moderators(state)));
      EXPECT_EQ(more.size(), 1u) << what << " is to be counted once, by one reason";
      for (const auto& [reason, count] : more) {
        EXPECT_EQ(count, 1u) << what << " " << reason;
        reasons[fault_text(static_cast<Fault>(fault))].insert(reason);
      }
    }
  }
  const auto only = [&](Fault fault, std::set<std::string> allowed) {
    for (const std::string& reason : reasons[fault_text(fault)]) {
      EXPECT_TRUE(allowed.contains(reason)) << fault_text(fault) << ": " << reason;
    }
  };
  only(Fault::kForgedSource, {"unauthenticated", "undecipherable", "unknown_session", "wrong_state", "offline", "not_a_member", "malformed"});
  only(Fault::kForeignSession, {"unknown_session", "malformed"});
  only(Fault::kForeignKind, {"wrong_kind", "malformed", "unknown_session"});
  only(Fault::kElsewhere, {"foreign_destination", "malformed", "unknown_session", "unexpected_answer"});
  only(Fault::kNoPayload, {"malformed", "unknown_session"});
  only(Fault::kZeroId, {"malformed", "unknown_session"});
}

// Everything that was ever said to this side, said again: answered again at most.
TEST_P(BadInput, RepeatedAsItWas) {
  const std::vector<SessionMessage> said = wire.log;
  Endpoint& t = target();
  for (std::size_t i = 0; i < said.size(); ++i) {
    const SessionMessage& m = said[i];
    if (carries_data(m.type) && i < old.size()) {
      continue;  // said before it came: below
    }
    const bool to_it = m.destination == t.name || (m.destination.id().is_null() && m.destination.same_service(t.name)) || m.destination == data_channel() ||
                       m.destination == control_channel();
    // A discovery may be asked again; a late first join request of a session that is over would be a new one but for its grave.
    if (!to_it || m.source == t.name || m.type == T::kDiscoveryRequest) {
      continue;
    }
    if (state == State::kDiscovering || state == State::kJoinSent || state == State::kWelcomeSent || state == State::kJoining ||
        state == State::kRemoving || state == State::kEnding || state == State::kLeaving) {
      // What was lost on its first way is new.
      if (m.type == T::kDiscoveryReply || m.type == T::kJoinReply || m.type == T::kGroupWelcome || m.type == T::kGroupAck || m.type == T::kLeaveReply) {
        continue;
      }
    }
    const std::string what = "repeated " + std::string(message_type_text(m.type));
    const auto more = refused_of(m, what, false);
    EXPECT_EQ(more.size(), 1u) << what;
  }
}

// What was said in epochs before, and what somebody encrypted who is out by now.
TEST_P(BadInput, OfAnEpochThatIsOver) {
  Endpoint& t = target();
  for (const SessionMessage& m : old) {
    if (m.source == t.name || m.type == T::kDiscoveryRequest || m.type == T::kJoinRequest || (!mls && carries_data(m.type))) {
      continue;  // without MLS nothing tells when data was said
    }
    SessionMessage again = m;
    if (is_command(m.type)) {
      again.message_id = ++next_id;  // not known by its number
    }
    again.destination = t.name;
    const std::string what = "old " + std::string(message_type_text(m.type)) + " of " + m.source.shown();
    const bool outsider = m.source == carol.name;
    const auto more = refused_of(again, what, outsider && is_moderators(state));
    EXPECT_EQ(more.size(), 1u) << what;
  }
}

INSTANTIATE_TEST_SUITE_P(AtEveryState, BadInput, ::testing::Combine(::testing::Range(0, kStates), ::testing::Bool(), ::testing::Bool()),
                         [](const auto& at) {
                           std::string name = std::string(state_text(static_cast<State>(std::get<0>(at.param)))) +
                                              (std::get<1>(at.param) ? "_group" : "_pair") + (std::get<2>(at.param) ? "_mls" : "_plain");
                           std::ranges::replace(name, '-', '_');
                           return name;
                         });

}  // namespace
}  // namespace slipway::testing
