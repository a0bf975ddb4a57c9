// Upstream messages to frames and back: the golden conversation, losslessness, what a node writes, what it refuses.

#include "edge/translate.h"

#include <gtest/gtest.h>

#include <protozero/pbf_writer.hpp>

#include "edge/proto_fields.h"
#include "frame/body.h"
#include "golden.h"
#include "pieces_of.h"

namespace slipway {
namespace {

using protozero::pbf_writer;

// --- golden conversation ---

TEST(TranslateGolden, PublishIsDeliveredAsUpstreamDeliversIt) {
  const HeaderMac mac = golden::header_mac();
  const auto frame = frame_of(whole(golden::kPublish), {.mac = &mac});
  ASSERT_TRUE(frame);
  const FrameHeader header = load_header(frame->data());
  EXPECT_EQ(check_frame(*frame), FrameFault::kNone);
  EXPECT_EQ(header.kind, FrameKind::kPublish);
  EXPECT_EQ(header.hop_limit, 8);
  EXPECT_EQ(header.fanout, 1u);
  EXPECT_EQ(header.session_id, 42u);
  EXPECT_EQ(header.message_id, 1u);
  EXPECT_EQ(header.session_type, 1);
  EXPECT_EQ(header.session_message_type, 1);
  EXPECT_EQ(header.source, hash_name("org", "ns", "alice", {0, 0xa11}));
  EXPECT_EQ(header.destination, hash_name("org", "ns", "bob"));
  EXPECT_EQ(header.flags, 0);

  Bytes counted = *frame;
  set_frame_hop_limit(counted.data(), 7);
  const auto delivered = message_of(counted, {.mac = &mac, .incoming_conn = 5});
  ASSERT_TRUE(delivered);
  EXPECT_EQ(*delivered, golden::kDelivered);  // even in its bytes, since upstream writes fields in ascending order
}

TEST(TranslateGolden, SubscribeUnsubscribeAndAcknowledgementComeBackAsTheyWere) {
  const HeaderMac mac = golden::header_mac();
  for (const Bytes& message : {golden::kSubscribe, golden::kUnsubscribe, golden::kAck, golden::kAckFailure}) {
    const auto frame = frame_of(whole(message), {.mac = &mac});
    ASSERT_TRUE(frame);
    EXPECT_EQ(check_frame(*frame), FrameFault::kNone);
    const bool ack = frame_kind(frame->data()) == static_cast<std::uint8_t>(FrameKind::kSubscriptionAck);
    const auto back = message_of(*frame, ack ? EgressFields{} : EgressFields{.mac = &mac, .incoming_conn = 0});
    ASSERT_TRUE(back);
    EXPECT_EQ(*back, message);
  }
}

TEST(TranslateGolden, TheControlThreadReadsSubscriptionsAndAcknowledgements) {
  const auto subscribe = frame_of(whole(golden::kSubscribe));
  ASSERT_TRUE(subscribe);
  const auto body = decode_subscribe(*subscribe);
  ASSERT_TRUE(body);
  EXPECT_EQ(body->subscription_id, 0x1122334455667788u);
  EXPECT_EQ(body->identity, "id-bob");
  EXPECT_EQ(body->version, "2.3.0");
  EXPECT_EQ(body->destination_text[2], "bob");
  EXPECT_EQ(load_header(subscribe->data()).destination, hash_name("org", "ns", "bob", {0, 0xb0b}));

  const auto unsubscribe = frame_of(whole(golden::kUnsubscribe));
  ASSERT_TRUE(unsubscribe);
  const auto removed = decode_subscribe(*unsubscribe);
  ASSERT_TRUE(removed);
  EXPECT_EQ(removed->subscription_id, 0x1122334455667788u);

  const auto ack = frame_of(whole(golden::kAckFailure));
  ASSERT_TRUE(ack);
  const auto decoded = decode_subscription_ack(*ack);
  ASSERT_TRUE(decoded);
  EXPECT_FALSE(decoded->success);
  EXPECT_EQ(decoded->error, "subscription not found");
  EXPECT_EQ(decoded->subscription_id, 0x1122334455667788u);
}

TEST(TranslateGolden, AFrameOfOurAcknowledgementIsUpstreams) {
  const auto message = message_of(encode_subscription_ack({.subscription_id = 0x1122334455667788, .success = true}));
  ASSERT_TRUE(message);
  EXPECT_EQ(*message, golden::kAck);
}

TEST(TranslateGolden, AFrameOfOurEndpointHasThePiecesThatUpstreamAsksFor) {
  FrameHeader header;
  header.source = hash_name("org", "ns", "alice", {0, 0xa11});
  header.destination = hash_name("org", "ns", "bob");
  header.session_type = header.session_message_type = 1;
  header.session_id = 42;
  header.message_id = 1;
  header.hop_limit = 7;
  const Bytes payload = bytes_of("hello");
  const FrameBytes frame = encode_publish(header, {.destination_text = {"org", "ns", "bob"},
                                                   .source_text = {"org", "ns", "alice"},
                                                   .identity = "id-alice",
                                                   .payload_type = "msg",
                                                   .payload = payload});
  const HeaderMac mac = golden::header_mac();
  const auto message = message_of(frame, {.mac = &mac, .incoming_conn = 5});
  ASSERT_TRUE(message);
  const auto again = frame_of(whole(*message), {.mac = &mac});
  ASSERT_TRUE(again);
  EXPECT_EQ(load_header(again->data()), header);
  const auto view = view_publish(*again);
  ASSERT_TRUE(view);
  EXPECT_EQ(view->payload_type, "msg");
  EXPECT_EQ(Bytes(view->payload.begin(), view->payload.end()), payload);
  EXPECT_EQ(view->identity, "id-alice");
}

// --- pieces ---

TEST(TranslatePieces, EveryCutOfAMessageGivesTheSameFrameAndBack) {
  const HeaderMac mac = golden::header_mac();
  const auto expected = frame_of(whole(golden::kPublish), {.mac = &mac});
  ASSERT_TRUE(expected);
  for (std::size_t cut = 0; cut <= golden::kPublish.size(); ++cut) {
    const auto frame = frame_of(CutMessage(golden::kPublish, {cut}), {.mac = &mac});
    ASSERT_TRUE(frame);
    EXPECT_EQ(*frame, *expected) << cut;
  }
  EXPECT_EQ(frame_of(bytewise(golden::kPublish), {.mac = &mac}), expected);

  const EgressFields fields{.mac = &mac, .incoming_conn = 0};
  const Bytes body = body_of(*expected);
  for (std::size_t cut = 0; cut <= body.size(); ++cut) {
    EXPECT_EQ(message_of(*expected, fields, CutMessage(body, {cut})), golden::kPublish) << cut;
  }
  EXPECT_EQ(message_of(*expected, fields, bytewise(body)), golden::kPublish);
}

// A publish with a payload of some size, in upstream's order of fields, metadata behind it.
Bytes publish_with(std::size_t payload_bytes, std::string_view identity, std::size_t metadata_entries) {
  std::string data;
  pbf_writer message(data);
  {
    pbf_writer publish(message, proto_field::kPublish);
    {
      pbf_writer header(publish, proto_field::kHeader);
      for (const auto field : {proto_field::kSource, proto_field::kDestination}) {
        pbf_writer name(header, field);
        pbf_writer encoded(name, proto_field::kName);
        encoded.add_uint64(1, 0xFFFFFFFFFFFFFFFF);
        encoded.add_uint64(2, 2);
      }
      header.add_bytes(proto_field::kIdentity, identity.data(), identity.size());
      header.add_uint32(proto_field::kTtl, 8);
    }
    {
      pbf_writer session(publish, proto_field::kSession);
      session.add_uint32(proto_field::kSessionId, 7);
    }
    pbf_writer content(publish, proto_field::kMsg);
    pbf_writer app(content, 1);
    app.add_bytes(2, std::string(payload_bytes, 'x'));
  }
  for (std::size_t i = 0; i < metadata_entries; ++i) {
    pbf_writer entry(message, proto_field::kMetadata);
    entry.add_string(1, "key" + std::to_string(i));
    entry.add_string(2, "value");
  }
  return bytes_of(data);
}

TEST(TranslatePieces, ASmallMessageIsOnePieceInTheScratch) {
  const Bytes message = publish_with(64, "identity", 2);
  const CutMessage cut = whole(message);
  Room room(1);
  const auto done = frame_of_message(cut.pieces(), {.checked = false}, room.room());
  ASSERT_TRUE(done);
  EXPECT_EQ(done->piece_count, 1u);
  EXPECT_EQ(done->scratch_bytes, done->bytes);
  EXPECT_EQ(room.pieces[0].data(), room.scratch.data());
}

TEST(TranslatePieces, ALargePayloadIsReferencedAndMetadataBehindItBelongsToTheSamePiece) {
  const Bytes message = publish_with(100'000, "identity", 3);
  const CutMessage cut = whole(message);
  Room room(1);
  const auto done = frame_of_message(cut.pieces(), {.checked = false}, room.room());
  ASSERT_TRUE(done);
  ASSERT_EQ(done->piece_count, 2u);
  EXPECT_EQ(room.pieces[0].data(), room.scratch.data());
  EXPECT_EQ(room.pieces[1].data() + room.pieces[1].size(), cut.list()[0].data() + cut.list()[0].size());

  const Bytes frame = room.joined(*done);
  const Bytes body = body_of(frame);
  const CutMessage body_cut = whole(body);
  Room back(1);
  const auto again = message_of_frame(frame.data(), body_cut.pieces(), {}, back.room());
  ASSERT_TRUE(again);
  EXPECT_EQ(again->piece_count, 2u);
  EXPECT_EQ(back.joined(*again), message);
}

TEST(TranslatePieces, PiecesOfDifferentOwnersAreNeverMadeOne) {
  // One buffer, given as two pieces that touch: each must stay a piece of its own.
  const Bytes message = publish_with(50'000, "i", 0);
  const std::array<Piece, 2> touching{Piece(message).first(20'000), Piece(message).subspan(20'000)};
  Room room(2);
  const auto done = frame_of_message(Pieces(touching), {.checked = false}, room.room());
  ASSERT_TRUE(done);
  ASSERT_EQ(done->piece_count, 3u);
  EXPECT_EQ(room.pieces[2].data(), message.data() + 20'000);
}

TEST(TranslatePieces, TheFrontOfAMessageIsOnePieceWhereTheScratchHoldsIt) {
  const Bytes message = publish_with(100'000, std::string(1200, 'j'), 1);
  const CutMessage cut = whole(message);
  Room room(1, kMbufDataBytes);
  const auto done = frame_of_message(cut.pieces(), {.checked = false}, room.room());
  ASSERT_TRUE(done);
  EXPECT_EQ(done->piece_count, 2u);
  EXPECT_EQ(room.pieces[0].size(), done->scratch_bytes);
  EXPECT_EQ(message_of(room.joined(*done)), message);
}

TEST(TranslatePieces, AnIdentityLongerThanTheScratchIsReferenced) {
  const std::string identity(3000, 'j');
  const Bytes message = publish_with(100, identity, 0);
  const CutMessage cut = whole(message);
  Room room(1);
  const auto done = frame_of_message(cut.pieces(), {.checked = false}, room.room());
  ASSERT_TRUE(done);
  EXPECT_EQ(done->piece_count, 3u);
  EXPECT_EQ(message_of(room.joined(*done)), message);
}

TEST(TranslatePieces, TooLittleRoomIsRefused) {
  const Bytes message = publish_with(100'000, "identity", 0);
  const CutMessage cut = bytewise(message);
  Room room(4);
  EXPECT_EQ(frame_of_message(cut.pieces(), {.checked = false}, room.room()).error(), EdgeFault::kNoRoom);
  Room narrow(1, kTranslateScratchBytes - 1);
  EXPECT_EQ(frame_of_message(whole(message).pieces(), {.checked = false}, narrow.room()).error(), EdgeFault::kNoRoom);
}

// --- fields ---

struct HeaderText {
  std::string name = "\x0a\x02\x08\x07";  // Name { name { component_0: 7 } }
  std::string more;                       // behind the names
};
Bytes message_with_header(const HeaderText& text, std::uint32_t kind = proto_field::kPublish, std::string_view session = "",
                          std::string_view rest = "", std::string_view behind = "") {
  std::string data;
  pbf_writer message(data);
  {
    pbf_writer variant(message, kind);
    std::string header;
    pbf_writer fields(header);
    fields.add_message(proto_field::kSource, text.name);
    fields.add_message(proto_field::kDestination, text.name);
    variant.add_message(proto_field::kHeader, header + text.more);
    if (kind == proto_field::kPublish) {
      variant.add_message(proto_field::kSession, session.data(), session.size());
    }
  }
  // Appended to the variant: a second one merges.
  if (!rest.empty()) {
    message.add_message(kind, rest.data(), rest.size());
  }
  data += behind;
  return bytes_of(data);
}

TEST(TranslateFields, TtlAbove255IsCarriedAs255) {
  const auto frame = frame_of(whole(message_with_header({.more = "\x30\xac\x02"})));  // 300
  ASSERT_TRUE(frame);
  EXPECT_EQ(frame_hop_limit(frame->data()), 255);
  const auto zero = frame_of(whole(message_with_header({})));
  ASSERT_TRUE(zero);
  EXPECT_EQ(frame_hop_limit(zero->data()), 0);
}

TEST(TranslateFields, AbsentIdIsNullForRoutesAndAbsentAgainBehindTheNode) {
  const Bytes message = message_with_header({});
  const auto frame = frame_of(whole(message));
  ASSERT_TRUE(frame);
  const FrameHeader header = load_header(frame->data());
  EXPECT_TRUE(header.destination.id.is_null());
  EXPECT_EQ(header.flags, frame_flag::kDestinationIdAbsent | frame_flag::kSourceIdAbsent);
  EXPECT_EQ(message_of(*frame), message);
}

TEST(TranslateFields, ErrorKeepsItsPresence) {
  for (const auto& [bytes, flag] : {std::pair{std::string("\x50\x00", 2), frame_flag::kErrorFalse}, {"\x50\x01", frame_flag::kErrorTrue}}) {
    const Bytes message = message_with_header({.more = bytes});
    const auto frame = frame_of(whole(message));
    ASSERT_TRUE(frame);
    EXPECT_EQ(load_header(frame->data()).flags & (frame_flag::kErrorFalse | frame_flag::kErrorTrue), flag);
    EXPECT_EQ(message_of(*frame), message);
  }
}

TEST(TranslateFields, FieldsOfOneHopEndHere) {
  const auto frame = frame_of(whole(message_with_header({.more = "\x38\x05\x40\x06\x48\x07\x5a\x03xyz"})));
  ASSERT_TRUE(frame);
  EXPECT_EQ(message_of(*frame), message_with_header({}));
}

TEST(TranslateFields, ASessionValueThatNoHeaderHoldsTravelsInTheBody) {
  // session_type 300; session_message_type -1, ten bytes long; session_id and message_id
  const std::string session("\x08\xac\x02\x10\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01\x18\x2a\x20\x01", 18);
  const Bytes message = message_with_header({}, proto_field::kPublish, session);
  const auto frame = frame_of(whole(message));
  ASSERT_TRUE(frame);
  const FrameHeader header = load_header(frame->data());
  EXPECT_TRUE(header.flags & frame_flag::kSessionInBody);
  EXPECT_EQ(header.session_id, 42u);
  EXPECT_EQ(message_of(*frame), message);
}

TEST(TranslateFields, UnknownFieldsSurviveOnEveryLevel) {
  const std::string unknown("\xa2\x06\x02hi\xa8\x06\x05", 8);  // field 100 "hi", field 101: 5
  std::string name;
  {
    pbf_writer w(name);
    w.add_message(1, "\x08\x07\x22\x0b\x10\x09" + unknown + "\x08" + unknown.substr(0, 0));
  }
  // name { component_0: 7, name_id { id_1: 9, unknown }, unknown }, str_name { "a", unknown }, unknown
  std::string id = "\x10\x09" + unknown;
  std::string encoded = "\x08\x07\x22" + std::string(1, static_cast<char>(id.size())) + id + unknown;
  std::string text = "\x0a\x01" "a" + unknown;
  name = "\x0a" + std::string(1, static_cast<char>(encoded.size())) + encoded + "\x12" +
         std::string(1, static_cast<char>(text.size())) + text + unknown;
  const Bytes message = message_with_header({.name = name, .more = "\x30\x08" + unknown}, proto_field::kPublish, "\x18\x2a" + unknown,
                                            unknown, unknown);
  const auto frame = frame_of(whole(message));
  ASSERT_TRUE(frame);
  const auto back = message_of(*frame);
  ASSERT_TRUE(back);
  // Both Publishes of the input are one now; otherwise nothing moved.
  std::size_t found = 0;
  const std::string back_text(reinterpret_cast<const char*>(back->data()), back->size());
  for (auto at = back_text.find(unknown); at != std::string::npos; at = back_text.find(unknown, at + 1)) {
    ++found;
  }
  EXPECT_EQ(found, 12u);  // two names with four each, header, session, publish, message
  const auto again = frame_of(whole(*back));
  EXPECT_EQ(again, frame);
}

TEST(TranslateFields, RepeatedFieldsMergeAndTheLastValueCounts) {
  // Header twice: ttl 8, then 3; the second has an identity.
  const std::string second("\x0a\x06\x30\x03\x1a\x02me", 8);
  const Bytes message = message_with_header({.more = "\x30\x08\x20\x05"}, proto_field::kPublish, "", second);
  const auto frame = frame_of(whole(message));
  ASSERT_TRUE(frame);
  EXPECT_EQ(frame_hop_limit(frame->data()), 3);
  EXPECT_EQ(frame_fanout(frame->data()), 5u);
  const auto back = message_of(*frame);
  ASSERT_TRUE(back);
  EXPECT_EQ(frame_of(whole(*back)), frame);
}

TEST(TranslateFields, TheLastMemberOfTheOneofCounts) {
  const Bytes publish = message_with_header({.more = "\x30\x08\x1a\x02no"});
  const Bytes subscribe = message_with_header({.more = "\x30\x05"}, proto_field::kSubscribe);
  Bytes both = publish;
  both.insert(both.end(), subscribe.begin(), subscribe.end());
  const auto frame = frame_of(whole(both));
  ASSERT_TRUE(frame);
  EXPECT_EQ(frame_kind(frame->data()), static_cast<std::uint8_t>(FrameKind::kSubscribe));
  EXPECT_EQ(message_of(*frame), subscribe);
}

// --- refusals ---

TEST(TranslateRefusals, AFrameWhoseBodySpeaksForTheHeaderOrAHop) {
  const auto frame = frame_of(whole(message_with_header({})));
  ASSERT_TRUE(frame);
  for (const std::string_view field : {std::string_view("\x20\x02"), std::string_view("\x30\x09"), std::string_view("\x38\x01"), std::string_view("\x40\x01"), std::string_view("\x48\x01"), std::string_view("\x50\x01"), std::string_view("\x5a\x01x"),
                                       std::string_view("\x0a\x04\x0a\x02\x08\x01"), std::string_view("\x12\x06\x0a\x04\x22\x02\x08\x01"),
                                       std::string_view("\x0a\x04\x0a\x02\x22\x00", 6)}) {
    std::string body;
    {
      pbf_writer message(body);
      pbf_writer publish(message, proto_field::kPublish);
      publish.add_message(proto_field::kHeader, field.data(), field.size());
    }
    Bytes forged(frame->begin(), frame->begin() + kFrameHeaderBytes);
    const Bytes tail = bytes_of(body);
    forged.insert(forged.end(), tail.begin(), tail.end());
    const auto message = message_of(forged);
    ASSERT_FALSE(message) << testing::PrintToString(field);
    EXPECT_EQ(message.error(), EdgeFault::kBodyRepeatsHeader);
  }
}

TEST(TranslateRefusals, FramesThatNoUpstreamApplicationMaySee) {
  const FrameBytes link = encode_link(KeepaliveBody{.stamp = 1});
  EXPECT_EQ(message_of(link).error(), EdgeFault::kNotForUpstream);

  auto frame = frame_of(whole(golden::kSubscribe));
  ASSERT_TRUE(frame);
  (*frame)[1] = static_cast<std::byte>(FrameKind::kPublish);
  EXPECT_EQ(message_of(*frame).error(), EdgeFault::kBodyType);
  (*frame)[0] = std::byte{9};
  EXPECT_EQ(message_of(*frame).error(), EdgeFault::kFrameHeader);

  // A content that upstream's decoder refuses would end the receiver's stream.
  FrameHeader header;
  const FrameBytes bad = encode_publish(header, {.payload_type = "\xff\xfe"});
  EXPECT_EQ(message_of(bad).error(), EdgeFault::kNotUtf8);
}

TEST(TranslateRefusals, SizesOnBothSidesOfEachLimit) {
  const std::size_t overhead = publish_with(3u << 20, "i", 0).size() - (3u << 20);
  const Bytes largest = publish_with(kMaxUpstreamMessageBytes - overhead, "i", 0);
  ASSERT_EQ(largest.size(), kMaxUpstreamMessageBytes);
  UpstreamMessage message;
  EXPECT_EQ(parse_message(whole(largest).pieces(), &message), EdgeFault::kNone);
  Bytes larger = largest;
  larger.push_back(std::byte{0});
  EXPECT_EQ(frame_of(whole(larger)).error(), EdgeFault::kTooBig);

  // A frame's header can be longer than what it takes out of a message.
  const Bytes three = publish_with(3u << 20, "i", 0);
  const auto three_frame = frame_of(whole(three));
  ASSERT_TRUE(three_frame);
  const std::size_t growth = three_frame->size() - three.size();
  const auto fits = frame_of(whole(publish_with(kMaxFrameBytes - overhead - growth, "i", 0)));
  ASSERT_TRUE(fits);
  EXPECT_EQ(fits->size(), kMaxFrameBytes);
  EXPECT_TRUE(message_of(*fits));
  EXPECT_EQ(frame_of(whole(publish_with(kMaxFrameBytes - overhead - growth + 1, "i", 0))).error(), EdgeFault::kFrameTooBig);

  // What a node adds may exceed upstream's limit: names of 33 bytes come out of 24 in the frame.
  FrameHeader header{.hop_limit = 8, .session_id = ~0u, .message_id = ~0u};
  header.source = header.destination = {{~0ull, ~0ull, ~0ull}, {}};
  const Bytes payload(kMaxFrameBytes - kFrameHeaderBytes - 20, std::byte{1});
  const HeaderMac mac = golden::header_mac();
  EXPECT_EQ(message_of(encode_publish(header, {.payload = payload}), {.mac = &mac}).error(), EdgeFault::kTooBigForUpstream);

  const std::string identity(kMaxControlFrameBytes, 'x');
  const Bytes subscribe = message_with_header({.more = "\x1a\x80\x80\x01" + identity}, proto_field::kSubscribe);
  EXPECT_EQ(frame_of(whole(subscribe)).error(), EdgeFault::kControlTooBig);
}

TEST(TranslateRefusals, ScatteredBeyondReason) {
  std::string more;
  for (int i = 0; i < 200; ++i) {
    more += "\x30\x08\x1a\x01x";  // ttl and identity, again and again
  }
  EXPECT_EQ(frame_of(whole(message_with_header({.more = more}))).error(), EdgeFault::kTooScattered);
}

}  // namespace
}  // namespace slipway
