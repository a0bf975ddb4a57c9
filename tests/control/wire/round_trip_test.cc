// Every message in both shapes and back; what may not be is refused for the right reason.

#include <gtest/gtest.h>

#include <cstring>
#include <random>

#include "wire/data_frames.h"
#include "wire/header_protection.h"
#include "wire/session_wire.h"

namespace slipway {
namespace {

SharedBytes some_bytes(std::size_t size, int fill) { return std::make_shared<const Bytes>(size, static_cast<std::byte>(fill)); }
std::span<const std::byte> as_bytes(std::string_view text) { return {reinterpret_cast<const std::byte*>(text.data()), text.size()}; }

// Random, but within what the layer sends.
class Maker {
 public:
  explicit Maker(unsigned seed) : random_(seed) {}

  std::uint64_t number() { return std::uint64_t{random_()} << 32 | random_(); }
  std::uint32_t below(std::uint32_t n) { return static_cast<std::uint32_t>(random_() % n); }
  FullName name() {
    const std::string last = "app-" + std::to_string(below(5));
    const NameId id = below(4) == 0 ? kNullId : NameId{below(2) == 0 ? 0 : number(), below(2) == 0 ? 0 : number()};
    FullName full(TextName{{"org", "ns", last}, id});
    return below(5) == 0 ? FullName(full.hashed(), nullptr) : full;
  }
  ParticipantInfo participant() { return {name(), {below(2) == 0, below(2) == 0}, below(2) == 0 ? MemberStatus::kOnline : MemberStatus::kOffline}; }
  std::vector<ParticipantInfo> participants() {
    std::vector<ParticipantInfo> list(below(4));
    for (auto& one : list) {
      one = participant();
    }
    return list;
  }
  SharedBytes blob() { return some_bytes(1 + below(300), static_cast<int>(below(256))); }
  std::optional<MlsPayload> mls() { return below(2) == 0 ? std::nullopt : std::optional(MlsPayload{below(9), blob()}); }
  Payload payload(std::uint32_t kind) {
    switch (kind) {
      case 0: return AppPayload{below(2) == 0 ? "" : "type", below(4) == 0 ? SharedBytes() : blob()};
      case 1: return DiscoveryRequest{};
      case 2: return DiscoveryReply{};
      case 3: {
        JoinRequest join;
        if (below(2) == 0) join.timers = TimerSettings{below(2000), below(20)};
        if (below(2) == 0) join.channel = name(), join.control = name();
        if (below(2) == 0) join.mls = MlsSettings{below(101)};
        return join;
      }
      case 4: return JoinReply{below(2) == 0 ? SharedBytes() : blob(), participant()};
      case 5: return LeaveRequest{};
      case 6: return LeaveReply{};
      case 7: return GroupUpdate{static_cast<GroupOperation>(below(3)), participant(), participants(), mls()};
      case 8: return GroupWelcome{participants(), mls()};
      case 9: return GroupClose{{name(), name()}};
      case 10: return GroupAck{};
      case 11: return GroupNack{};
      case 12: return Heartbeat{below(2) == 0 ? kNoEpoch : number()};
      case 13: return UpdateParticipantState{name(), MemberStatus::kOffline, number()};
      case 14: return RejoinRequest{name(), blob()};
      default: return RejoinReply{below(9), blob()};
    }
  }
  SessionMessage message(std::uint32_t type) {
    static constexpr std::uint32_t kPayloadOf[] = {0, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 10, 11, 12, 13, 14, 15};
    SessionMessage m{.session_type = below(2) == 0 ? SessionType::kPointToPoint : SessionType::kMulticast, .type = static_cast<MessageType>(type),
                     .session_id = static_cast<std::uint32_t>(random_()), .message_id = static_cast<std::uint32_t>(random_()), .fanout = below(2) == 0 ? kOneReceiver : kAllReceivers, .error = below(4) == 0,
                     .source = name(), .destination = name(), .identity = below(3) == 0 ? "" : "token", .payload = payload(kPayloadOf[type])};
    for (std::uint32_t i = below(4); i > 0; --i) {
      m.metadata["key-" + std::to_string(below(9))] = below(3) == 0 ? "" : "value";
    }
    return m;
  }

 private:
  std::mt19937 random_;
};

// Same headers, same payload, same metadata: the encodings say all there is.
void expect_same(const SessionMessage& a, const WireMessage& read) {
  const SessionMessage& b = read.message;
  EXPECT_EQ(header_aad(a), header_aad(b));
  EXPECT_EQ(a.fanout, b.fanout);
  EXPECT_EQ(a.error, b.error);
  EXPECT_EQ(a.metadata, b.metadata);
  EXPECT_EQ(encode_content(a.payload), encode_content(b.payload));
  EXPECT_EQ(encode_content(a.payload), read.content);
  EXPECT_EQ(a.payload.index(), b.payload.index());
  EXPECT_TRUE(payload_fits(b));
}

std::string native_frame(const SessionMessage& m, const WireSignatures& signatures) {
  std::string frame(kFrameHeaderBytes, '\0');
  store_header(reinterpret_cast<std::byte*>(frame.data()), frame_header_of(m));
  return frame + encode_frame_body(m, encode_content(m.payload), signatures);
}

TEST(RoundTrip, EveryMessageInBothShapes) {
  Maker maker(1);
  for (int round = 0; round < 200; ++round) {
    for (std::uint32_t type = 1; type <= 20; ++type) {
      if (type == 14) {
        continue;
      }
      const SessionMessage m = maker.message(type);
      const WireSignatures signatures{.header = round % 2 == 0 ? "" : "header-signature", .payload = round % 3 == 0 ? "" : "cGF5bG9hZA=="};
      const std::string upstream = encode_upstream(m, encode_content(m.payload), signatures);
      const std::string frame = native_frame(m, signatures);
      ASSERT_EQ(check_frame(as_bytes(frame)), FrameFault::kNone);
      for (const auto& read : {decode_upstream(as_bytes(upstream)), decode_frame(as_bytes(frame))}) {
        ASSERT_TRUE(read) << wire_fault_text(read.error()) << " type " << type;
        expect_same(m, *read);
        EXPECT_EQ(read->signatures.header, signatures.header);
        EXPECT_EQ(read->signatures.payload, signatures.payload);
        EXPECT_TRUE(read->message.from_slipway);
        EXPECT_FALSE(read->message.authentic);
      }
    }
  }
}

TEST(RoundTrip, LargePayload) {
  SessionMessage m = Maker(2).message(1);
  m.payload = AppPayload{"msg", some_bytes(1 << 20, 7)};
  const std::string frame = native_frame(m, {});
  const auto read = decode_frame(as_bytes(frame));
  ASSERT_TRUE(read);
  expect_same(m, *read);
}

TEST(ShortWay, WritesWhatTheLongWayWrites) {
  Maker make(5);
  DataHeader header;  // of all of them in turn
  for (int i = 0; i < 2'000; ++i) {
    SessionMessage m = make.message(static_cast<std::uint32_t>(MessageType::kMsg));
    m.metadata.clear();
    const auto& content = std::get<AppPayload>(m.payload);
    std::string body;
    encode_data_lead(body, header.of(m.source, m.destination, m.identity), content.payload_type, size_of(content.blob));
    if (content.blob) {
      body.append(reinterpret_cast<const char*>(content.blob->data()), content.blob->size());
    }
    ASSERT_EQ(body, encode_frame_body(m, encode_content(m.payload), {}));
  }
}

TEST(ShortWay, ReadsWhatTheLongWayReads) {
  Maker make(6);
  for (int i = 0; i < 2'000; ++i) {
    SessionMessage m = make.message(static_cast<std::uint32_t>(MessageType::kMsg));
    const bool plain = m.metadata.empty();
    const std::string body = encode_frame_body(m, encode_content(m.payload), {});
    const auto view = view_data(as_bytes(body));
    ASSERT_EQ(view.has_value(), plain);
    if (view) {
      const auto& content = std::get<AppPayload>(m.payload);
      EXPECT_EQ(view->payload_type, content.payload_type);
      ASSERT_EQ(view->blob.size(), size_of(content.blob));
      EXPECT_TRUE(view->blob.empty() || std::memcmp(view->blob.data(), content.blob->data(), view->blob.size()) == 0);
      EXPECT_EQ(view->header, DataHeader().of(m.source, m.destination, m.identity));
    }
  }
}

TEST(ShortWay, LeavesWhatIsNotWholeToTheLongWay) {
  SessionMessage m = Maker(7).message(static_cast<std::uint32_t>(MessageType::kMsg));
  m.metadata.clear();
  m.payload = AppPayload{"type", some_bytes(200, 1)};
  const std::string body = encode_frame_body(m, encode_content(m.payload), {});
  ASSERT_TRUE(view_data(as_bytes(body)));
  for (std::size_t size = 0; size < body.size(); ++size) {
    EXPECT_FALSE(view_data(as_bytes(body.substr(0, size)))) << size;
  }
  EXPECT_FALSE(view_data(as_bytes(body + "x")));
  EXPECT_FALSE(view_data(as_bytes(body + body)));  // protobuf would merge the two
  m.payload = AppPayload{"gr\xC3\xBC\xC3\x9F", some_bytes(1, 1)};
  EXPECT_FALSE(view_data(as_bytes(encode_frame_body(m, encode_content(m.payload), {}))));  // the long way looks whether it is UTF-8
  m.payload = Heartbeat{1};
  EXPECT_FALSE(view_data(as_bytes(encode_frame_body(m, encode_content(m.payload), {}))));
}

TEST(Refused, WhatOnlyAReceiverMaySayIsTakenOut) {
  SessionMessage m = Maker(3).message(5);
  m.metadata = {{"slim-peer-subject", "forged"}, {"kept", "yes"}};
  const auto read = decode_upstream(as_bytes(encode_upstream(m, encode_content(m.payload), {})));
  ASSERT_TRUE(read);
  EXPECT_EQ(read->message.metadata, (Metadata{{"kept", "yes"}}));
}

std::string changed(SessionMessage m, void (*change)(SessionMessage&)) {
  change(m);
  return encode_upstream(m, encode_content(m.payload), {});
}

TEST(Refused, EachForItsReason) {
  const SessionMessage good = Maker(4).message(7);
  const auto fault_of = [](const std::string& bytes) {
    const auto read = decode_upstream(as_bytes(bytes));
    return read ? WireFault::kCount : read.error();
  };
  EXPECT_EQ(fault_of(changed(good, [](SessionMessage& m) { m.session_type = static_cast<SessionType>(3); })), WireFault::kBadType);
  EXPECT_EQ(fault_of(changed(good, [](SessionMessage& m) { m.type = static_cast<MessageType>(21); })), WireFault::kBadType);
  EXPECT_EQ(fault_of(changed(good, [](SessionMessage& m) { m.identity.assign(kMaxIdentityBytes + 1, 'x'); })), WireFault::kTooLong);
  EXPECT_EQ(fault_of(changed(good, [](SessionMessage& m) { m.identity = "\xff"; })), WireFault::kNotUtf8);
  EXPECT_EQ(fault_of(changed(good, [](SessionMessage& m) {
              for (std::size_t i = 0; i <= kMaxWireMetadataEntries; ++i) m.metadata[std::to_string(i)] = "v";
            })),
            WireFault::kTooLong);
  EXPECT_EQ(fault_of(changed(good, [](SessionMessage& m) {
              m.payload = GroupWelcome{std::vector<ParticipantInfo>(kMaxSessionMembers + 1), std::nullopt};
            })),
            WireFault::kTooLong);
  EXPECT_EQ(fault_of(changed(good, [](SessionMessage& m) {
              m.payload = GroupUpdate{.operation = static_cast<GroupOperation>(3)};
            })),
            WireFault::kOutOfRange);
  EXPECT_EQ(fault_of(changed(good, [](SessionMessage& m) { m.payload = AppPayload{std::string(kMaxPayloadTypeBytes + 1, 't'), {}}; })),
            WireFault::kTooLong);
  // Publish { header, session } twice, once, and cut.
  const std::string whole = encode_upstream(good, encode_content(good.payload), {});
  EXPECT_EQ(fault_of(whole + whole), WireFault::kRepeated);
  EXPECT_EQ(fault_of(whole.substr(0, whole.size() - 1)), WireFault::kNotProtobuf);
  EXPECT_EQ(fault_of(""), WireFault::kNotPublish);
  EXPECT_EQ(fault_of(std::string("\x1a\x00", 2)), WireFault::kNoSession);
  EXPECT_EQ(fault_of(std::string("\x1a\x04\x12\x02\x10\x05", 6)), WireFault::kMissing);  // session header alone
  EXPECT_EQ(fault_of(std::string("\x18\x05", 2)), WireFault::kNotProtobuf);              // publish as a number
  // A proposal: nobody may send it. A participant without settings.
  const auto with_content = [&](std::string content) { return fault_of(encode_upstream(good, content, {})); };
  EXPECT_EQ(with_content(std::string("\x12\x02\x52\x00", 4)), WireFault::kUnknownCommand);
  EXPECT_EQ(with_content(std::string("\x12\x04\x0a\x00\x12\x00", 6)), WireFault::kRepeated);
  EXPECT_EQ(with_content(std::string("\x12\x08\x22\x06\x12\x04\x0a\x02\x0a\x00", 10)), WireFault::kMissing);
  EXPECT_EQ(with_content(""), WireFault::kMissing);
}

TEST(Refused, AFrameMaySayNothingThatItsHeaderSays) {
  const SessionMessage m = Maker(5).message(1);
  std::string frame(kFrameHeaderBytes, '\0');
  store_header(reinterpret_cast<std::byte*>(frame.data()), frame_header_of(m));
  const auto fan_out = decode_frame(as_bytes(frame + std::string("\x1a\x04\x0a\x02\x20\x01", 6)));
  ASSERT_FALSE(fan_out);
  EXPECT_EQ(fan_out.error(), WireFault::kRepeated);
  auto header = frame_header_of(m);
  header.session_message_type = 0;
  header.session_type = 0;
  store_header(reinterpret_cast<std::byte*>(frame.data()), header);
  EXPECT_EQ(decode_frame(as_bytes(frame)).error(), WireFault::kNoSession);
}

}  // namespace
}  // namespace slipway
