// Bytes computed without this tree: ours must be the same, and must read back.

#include <gtest/gtest.h>
#include <openssl/evp.h>

#include <array>

#include "session_golden.h"
#include "wire/header_protection.h"
#include "wire/session_wire.h"

namespace slipway {
namespace {

using session_golden::load;
using session_golden::to_hex;

FullName named(const char* a, const char* b, const char* c, NameId id) { return FullName(TextName{{a, b, c}, id}); }
FullName numbered(const char* last, std::uint64_t id) { return named("a", "b", last, {0, id}); }
const FullName kA = named("agntcy", "ns", "App-A", {0x74ecd689241f30cdu, 0x1dc53fd5de63a485u});
const FullName kB = named("agntcy", "ns", "App-B", kNullId);

SharedBytes bytes(std::string_view text) {
  const auto* at = reinterpret_cast<const std::byte*>(text.data());
  return std::make_shared<const Bytes>(at, at + text.size());
}
std::span<const std::byte> as_bytes(std::string_view text) { return {reinterpret_cast<const std::byte*>(text.data()), text.size()}; }

std::string sha256(std::string_view text) {
  std::array<unsigned char, 32> digest;
  EVP_Digest(text.data(), text.size(), digest.data(), nullptr, EVP_sha256(), nullptr);
  return {reinterpret_cast<const char*>(digest.data()), digest.size()};
}

SessionMessage discovery() {
  return {.session_type = SessionType::kPointToPoint, .type = MessageType::kDiscoveryRequest, .session_id = 0x12345678,
          .message_id = 0x9abcdef0, .source = kA, .destination = kB, .identity = "tok", .payload = DiscoveryRequest{}};
}

// The command as a payload, without the Content around it.
std::string command(const Payload& payload) {
  const std::string content = encode_content(payload);
  std::size_t at = 1;
  while ((static_cast<unsigned char>(content[at]) & 0x80) != 0) {
    ++at;
  }
  return content.substr(at + 1);
}

ParticipantInfo participant(FullName name, bool both = true, MemberStatus status = MemberStatus::kOnline) {
  return {.name = std::move(name), .settings = {both, both}, .status = status};
}

TEST(Golden, Commands) {
  const std::vector<ParticipantInfo> both{participant(numbered("c", 1)), participant(numbered("d", 2))};
  const std::vector<std::pair<const char*, Payload>> cases{
      {"discovery_request", DiscoveryRequest{}},
      {"discovery_reply", DiscoveryReply{}},
      {"leave_request", LeaveRequest{}},
      {"leave_reply", LeaveReply{}},
      {"group_ack", GroupAck{}},
      {"group_nack", GroupNack{}},
      {"heartbeat.3", Heartbeat{3}},
      {"heartbeat.none", Heartbeat{kNoEpoch}},
      {"join_request.p2p", JoinRequest{.timers = TimerSettings{1000, 10}, .mls = MlsSettings{100}}},
      {"join_request.empty", JoinRequest{}},
      {"join_request.percent0", JoinRequest{.mls = MlsSettings{0}}},
      {"join_request.group",
       JoinRequest{.timers = TimerSettings{1000, 10}, .channel = numbered("e", 3), .control = numbered("e", 4), .mls = MlsSettings{100}}},
      {"join_reply.off", JoinReply{.participant = participant(kA)}},
      {"group_update.add", GroupUpdate{GroupOperation::kAdd, both[1], both, MlsPayload{2, bytes("\xde\xad")}}},
      {"group_update.remove", GroupUpdate{GroupOperation::kRemove, both[1], both, std::nullopt}},
      {"group_welcome", GroupWelcome{{}, MlsPayload{1, bytes("\xaa\xbb")}}},
      {"group_close", GroupClose{{numbered("c", 1), numbered("d", 2)}}},
      {"update_state", UpdateParticipantState{numbered("c", 0), MemberStatus::kOffline, 0}},
      {"rejoin_request", RejoinRequest{numbered("c", 1), bytes("\x01\x02")}},
      {"rejoin_reply", RejoinReply{4, bytes("\x01")}},
  };
  for (const auto& [name, payload] : cases) {
    EXPECT_EQ(to_hex(command(payload)), to_hex(load(std::string("command.") + name))) << name;
  }
}

TEST(Golden, Participants) {
  const auto one = [](const ParticipantInfo& info) { return command(GroupWelcome{{info}, std::nullopt}).substr(4); };
  EXPECT_EQ(to_hex(one(participant(numbered("c", 1)))), to_hex(load("participant.bidirectional")));
  EXPECT_EQ(to_hex(one(participant(numbered("c", 1), false))), to_hex(load("participant.none")));
  EXPECT_EQ(to_hex(one(participant(numbered("c", 1), true, MemberStatus::kOffline))), to_hex(load("participant.offline")));
}

TEST(Golden, Content) { EXPECT_EQ(to_hex(encode_content(AppPayload{"msg", bytes("hello")})), to_hex(load("content.hello"))); }

TEST(Golden, HeadersThatSignaturesCover) {
  SessionMessage m = discovery();
  EXPECT_EQ(to_hex(header_aad(m)), to_hex(load("aad.1")));
  m.identity = load("token.claims");
  EXPECT_EQ(to_hex(sha256(header_aad(m))), to_hex(load("aad.2.sha256")));
  m = {.session_type = SessionType::kMulticast, .type = MessageType::kMsg, .session_id = 0x12345678, .message_id = 1, .fanout = kAllReceivers,
       .source = kA, .destination = named("agntcy", "ns", "chat", {0xebe82331fb32a3e8u, 0x38173e9767224162u}), .identity = "tok",
       .payload = AppPayload{"msg", bytes("x")}};
  EXPECT_EQ(to_hex(header_aad(m)), to_hex(load("aad.3")));
}

TEST(Golden, PayloadSignatureInput) {
  const SessionMessage m = discovery();
  const std::string aad = header_aad(m);
  const std::string content = encode_content(m.payload);
  EXPECT_EQ(to_hex(sha256(payload_signature_input(aad, content, {}))), to_hex(load("payload-input.plain.sha256")));
  const Metadata metadata{{"app-key", "app-value"}, {"traceparent", "00-0-0-01"}, {"slim-payload-sig", "x"}, {"slim-peer-subject", "y"}};
  EXPECT_EQ(to_hex(sha256(payload_signature_input(aad, content, metadata))), to_hex(load("payload-input.metadata.sha256")));
}

TEST(Golden, MessagesOfTheOlderRelease) {
  const SessionMessage request = discovery();
  const WireSignatures signature{.header = load("signature.aad.1"), .payload = {}};
  EXPECT_EQ(to_hex(encode_upstream(request, encode_content(request.payload), signature, "2.3.0")), to_hex(load("message.discovery_request")));
  const SessionMessage ack{.session_type = SessionType::kMulticast, .type = MessageType::kMsgAck, .session_id = 7, .message_id = 1,
                           .source = numbered("d", 2), .destination = numbered("c", 1), .identity = "tok", .payload = AppPayload{}};
  EXPECT_EQ(to_hex(encode_upstream(ack, encode_content(ack.payload), {}, "2.3.0")), to_hex(load("message.msg_ack")));

  const std::string message = load("message.discovery_request");
  const auto read = decode_upstream(as_bytes(message));
  ASSERT_TRUE(read) << wire_fault_text(read.error());
  EXPECT_EQ(read->signatures.header, load("signature.aad.1"));
  EXPECT_EQ(read->signatures.payload, "");
  EXPECT_EQ(read->version, "2.3.0");
  EXPECT_FALSE(read->message.from_slipway);
  EXPECT_EQ(to_hex(header_aad(read->message)), to_hex(load("aad.1")));
  EXPECT_EQ(to_hex(read->content), "12020a00");
}

}  // namespace
}  // namespace slipway
