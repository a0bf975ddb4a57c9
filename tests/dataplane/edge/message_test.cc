// What is read, what is refused and why: the bytes that are no message, and every rule of upstream-node 2.6 and 10.

#include "edge/proto_message.h"

#include <gtest/gtest.h>

#include <protozero/pbf_writer.hpp>

#include "edge/proto_fields.h"
#include "golden.h"
#include "pieces_of.h"

namespace slipway {
namespace {

using golden::from_hex;

// Whole and byte by byte must be the same.
EdgeFault parsed(const Bytes& bytes, UpstreamMessage* message) {
  const EdgeFault fault = parse_message(whole(bytes).pieces(), message);
  UpstreamMessage again;
  EXPECT_EQ(parse_message(bytewise(bytes).pieces(), &again), fault);
  EXPECT_EQ(again.kind, message->kind);
  return fault;
}
EdgeFault fault_of(const Bytes& bytes) {
  UpstreamMessage message;
  const EdgeFault fault = parsed(bytes, &message);
  return fault != EdgeFault::kNone ? fault : validate(message);
}
EdgeFault fault_of(std::string_view hex) { return fault_of(from_hex(hex)); }

TEST(ProtoMessage, GoldenPublish) {
  UpstreamMessage m;
  ASSERT_EQ(parsed(golden::kPublish, &m), EdgeFault::kNone);
  EXPECT_EQ(m.kind, MessageKind::kPublish);
  EXPECT_EQ(m.source.routed(), hash_name("org", "ns", "alice", {0, 0xa11}));
  EXPECT_EQ(m.destination.routed(), hash_name("org", "ns", "bob"));
  EXPECT_TRUE(m.destination.id_present);
  EXPECT_EQ(m.fanout, 1u);
  EXPECT_EQ(m.ttl, 8u);
  EXPECT_EQ(m.incoming_conn, 0u);
  EXPECT_FALSE(m.recv_from || m.forward_to || m.error);
  ASSERT_TRUE(m.header_mac);
  EXPECT_EQ(m.header_mac->size, 32u);
  EXPECT_EQ(m.session_id, 42u);
  EXPECT_EQ(validate(m), EdgeFault::kNone);
}

// --- bytes that are no message: the stream ends, as upstream ends it ---

TEST(ProtoMessage, BytesThatAreNoMessage) {
  const std::pair<std::string_view, EdgeFault> cases[] = {
      {"1a", EdgeFault::kCutShort},                                 // a key and nothing
      {"1a05 0a", EdgeFault::kCutShort},                            // a length beyond the end
      {"1a03 0a05 00", EdgeFault::kCutShort},                       // a length beyond the message that it is in
      {"3a80808080808080808002", EdgeFault::kBadNumber},            // a length of more than 64 bits
      {"3a80808080808080808080", EdgeFault::kBadNumber},
      {"38ffffffffffffffffff02", EdgeFault::kBadNumber},
      {"38ffffffffffffffffff", EdgeFault::kCutShort},
      {"00", EdgeFault::kBadKey},                                   // field 0
      {"02 00", EdgeFault::kBadKey},
      {"3e", EdgeFault::kBadKey},                                   // wire type 6
      {"3f", EdgeFault::kBadKey},                                   // wire type 7
      {"8080808080 01 00", EdgeFault::kBadKey},                     // a field number above 29 bits
      {"3c", EdgeFault::kBadGroup},                                 // a group that ends where none began
      {"3b", EdgeFault::kBadGroup},                                 // one that never ends
      {"3b 44", EdgeFault::kBadGroup},                              // one that ends as another
      {"3b 43 44", EdgeFault::kBadGroup},                           // only the inner one ends
      {"3d 000000", EdgeFault::kCutShort},                          // fixed32
      {"39 00000000000000", EdgeFault::kCutShort},                  // fixed64
      {"18 01", EdgeFault::kWireType},                              // publish as a number
      {"22 04 0a02 ffff", EdgeFault::kNotUtf8},                     // metadata key
      {"22 04 1202 c080", EdgeFault::kNotUtf8},                     // metadata value, overlong
      {"20 01", EdgeFault::kWireType},                              // metadata as a number
      {"0a04 0a02 1801", EdgeFault::kWireType},                     // identity as a number: SLIM 1.x has its fan-out there
      {"0a04 0a02 2200", EdgeFault::kWireType},                     // fan-out as text: SLIM 1.x has its identity there
      {"0a09 0a07 0a05 0a03 200100", EdgeFault::kWireType},         // name_id as a number: SLIM 1.x
      {"1a05 0a03 1a01ff", EdgeFault::kNotUtf8},                    // identity
      {"1a05 0a03 2a01ff", EdgeFault::kNotUtf8},                    // version
      {"1a05 0a03 5a05ff", EdgeFault::kCutShort},                   // header MAC
      {"1a09 0a07 0a05 1203 0a01ff", EdgeFault::kNotUtf8},          // str_name
      {"1a0b 0a09 1207 1205 1a03 eda080", EdgeFault::kNotUtf8},     // a surrogate
      {"1a07 1a05 0a03 0a01ff", EdgeFault::kNotUtf8},               // payload_type
      {"1a04 1a02 0801", EdgeFault::kWireType},                     // app_payload as a number
      {"1a0d 1a0b 1209 1a07 1205 1203 0a01ff", EdgeFault::kNotUtf8},  // join request, channel, text
      {"1a08 1a06 1204 6a02 0a00", EdgeFault::kWireType},           // heartbeat's epoch as text
      {"1a04 1202 0a00", EdgeFault::kWireType},                     // session_type as text
      {"3203 1a01ff", EdgeFault::kNotUtf8},                         // ack error
      {"3202 0a00", EdgeFault::kWireType},                          // ack id as text
      {"2a05 0a03 1201ff", EdgeFault::kNotUtf8},                    // link version
  };
  for (const auto& [hex, expected] : cases) {
    EXPECT_EQ(fault_of(hex), expected) << hex;
    EXPECT_TRUE(edge_fault_text(expected).closes) << hex;
  }
}

TEST(ProtoMessage, GroupsInsideOneAnother) {
  const auto nested = [](std::size_t depth) {
    Bytes bytes(depth, std::byte{0x3b});
    bytes.resize(2 * depth, std::byte{0x3c});
    bytes.insert(bytes.end(), golden::kAck.begin(), golden::kAck.end());
    return bytes;
  };
  EXPECT_EQ(fault_of(nested(kMaxUnknownGroups)), EdgeFault::kNone);
  EXPECT_EQ(fault_of(nested(kMaxUnknownGroups + 1)), EdgeFault::kTooDeep);
}

TEST(ProtoMessage, EveryTruncationOfAGoodMessageIsRefused) {
  for (const Bytes& message : {golden::kPublish, golden::kSubscribe, golden::kAckFailure, golden::kNegotiationRequest}) {
    for (std::size_t size = 1; size < message.size(); ++size) {
      EXPECT_EQ(fault_of(Bytes(message.begin(), message.begin() + static_cast<std::ptrdiff_t>(size))), EdgeFault::kCutShort) << size;
    }
  }
}

TEST(ProtoMessage, Utf8AtTheEdgesOfTheForms) {
  const auto identity = [](std::string_view text) {
    std::string data;
    protozero::pbf_writer message(data);
    {
      protozero::pbf_writer publish(message, proto_field::kPublish);
      protozero::pbf_writer header(publish, proto_field::kHeader);
      header.add_bytes(proto_field::kIdentity, text.data(), text.size());
    }
    UpstreamMessage m;
    return parsed(bytes_of(data), &m);
  };
  using namespace std::string_view_literals;
  for (const auto good : {"plain ASCII of more than eight bytes"sv, "\xc2\x80"sv, "\xdf\xbf"sv, "\xe0\xa0\x80"sv, "\xed\x9f\xbf"sv,
                          "\xee\x80\x80"sv, "\xef\xbf\xbf"sv, "\xf0\x90\x80\x80"sv, "\xf4\x8f\xbf\xbf"sv, "\0"sv, "1234567\xc3\xa9"sv}) {
    EXPECT_EQ(identity(good), EdgeFault::kNone) << testing::PrintToString(good);
  }
  for (const auto bad : {"\x80"sv, "\xbf"sv, "\xc0\x80"sv, "\xc1\xbf"sv, "\xc2"sv, "\xc2\x41"sv, "\xe0\x9f\xbf"sv, "\xed\xa0\x80"sv,
                         "\xe2\x82"sv, "\xf0\x8f\xbf\xbf"sv, "\xf4\x90\x80\x80"sv, "\xf5\x80\x80\x80"sv, "\xff"sv, "1234567\xe9"sv,
                         "12345678\xff"sv}) {
    EXPECT_EQ(identity(bad), EdgeFault::kNotUtf8) << testing::PrintToString(bad);
  }
}

// --- messages that say too little: dropped, the stream stays ---

TEST(ProtoMessage, TheRulesForEveryMessage) {
  const std::pair<std::string_view, EdgeFault> cases[] = {
      {"", EdgeFault::kNoMessageType},
      {"22 06 0a016b 120176", EdgeFault::kNoMessageType},     // metadata alone
      {"3a02 0801", EdgeFault::kNoMessageType},               // a member that no version knows
      {"2a00", EdgeFault::kNoLinkType},
      {"2a02 1200", EdgeFault::kNoLinkType},                  // a link type that no version knows
      {"2a02 0a00", EdgeFault::kLinkAgain},
      {"1a00", EdgeFault::kNoHeader},
      {"0a00", EdgeFault::kNoHeader},
      {"1200", EdgeFault::kNoHeader},
      {"1a02 0a00", EdgeFault::kNoSource},
      {"1a04 0a02 0a00", EdgeFault::kNoSourceName},
      {"1a06 0a04 0a02 1200", EdgeFault::kNoSourceName},      // a text alone is no name
      {"1a06 0a04 0a02 0a00", EdgeFault::kNoDestination},
      {"1a08 0a06 0a020a00 1200", EdgeFault::kNoDestinationName},
      {"0a08 0a06 0a020a00 1200", EdgeFault::kNoDestinationName},
      {"1a0a 0a08 0a020a00 12020a00", EdgeFault::kNoSession},
      {"0a0a 0a08 0a020a00 12020a00", EdgeFault::kNone},      // a Subscribe needs no more: no text, no id
      {"120a 0a08 0a020a00 12020a00", EdgeFault::kNone},
      {"1a0c 0a08 0a020a00 12020a00 1200", EdgeFault::kNone},  // a Publish needs neither text nor content
      {"3200", EdgeFault::kNone},                             // an acknowledgement has no rule
  };
  for (const auto& [hex, expected] : cases) {
    EXPECT_EQ(fault_of(hex), expected) << hex;
    EXPECT_FALSE(edge_fault_text(expected).closes) << hex;
  }
}

TEST(ProtoMessage, NumbersAreCutToTheirWidthAsUpstreamCutsThem) {
  // fan-out 2^32 + 1, ttl 2^35 + 9, error 2 (true), session_id 2^32, all in one Publish.
  UpstreamMessage m;
  ASSERT_EQ(parsed(from_hex("1a19 0a0f 20 8180808010 30 898080808001 50 02 1206 18 8080808010"), &m), EdgeFault::kNone);
  EXPECT_EQ(m.fanout, 1u);
  EXPECT_EQ(m.ttl, 9u);
  EXPECT_EQ(m.error, true);
  EXPECT_EQ(m.session_id, 0u);
}

TEST(ProtoMessage, AsManyStretchesAsThereMayBeAndOneMore) {
  // Unknown fields of the message and empty publishes in turn; then a publish whose header keeps an identity.
  const auto with_stretches = [](std::size_t stretches) {
    Bytes bytes;
    for (std::size_t i = 0; i < stretches; ++i) {
      const Bytes part = from_hex("3801 1a00");
      bytes.insert(bytes.end(), part.begin(), part.end());
    }
    const Bytes last = from_hex("1a11 0a0d 0a020a00 12020a00 1a0169 3008 1200");
    bytes.insert(bytes.end(), last.begin(), last.end());
    return bytes;
  };
  for (std::size_t stretches = kMaxKeptRuns - 7; stretches < kMaxKeptRuns; ++stretches) {
    EXPECT_EQ(fault_of(with_stretches(stretches)), EdgeFault::kNone) << stretches;
  }
  EXPECT_EQ(fault_of(with_stretches(kMaxKeptRuns)), EdgeFault::kTooScattered);
  EXPECT_EQ(fault_of(with_stretches(kMaxKeptRuns + 1)), EdgeFault::kTooScattered);
}

TEST(ProtoMessage, TheLimitOf4MiB) {
  // An acknowledgement with an unknown field of the size that is left.
  const auto with_size = [](std::size_t size) {
    Bytes bytes = golden::kAck;
    std::string filler;
    protozero::pbf_writer writer(filler);
    writer.add_bytes(15, std::string(size - bytes.size() - 5, 'x'));
    const Bytes tail = bytes_of(filler);
    bytes.insert(bytes.end(), tail.begin(), tail.end());
    EXPECT_EQ(bytes.size(), size);
    return bytes;
  };
  UpstreamMessage message;
  EXPECT_EQ(parse_message(whole(with_size(4u << 20)).pieces(), &message), EdgeFault::kNone);
  EXPECT_EQ(parse_message(whole(with_size((4u << 20) + 1)).pieces(), &message), EdgeFault::kTooBig);
}

TEST(EdgeFault, EveryFaultHasANameOfItsOwnAndSentences) {
  for (std::size_t i = 0; i < kEdgeFaultCount; ++i) {
    const auto& text = kEdgeFaultTexts[i];
    EXPECT_FALSE(text.name.empty() || text.what.empty() || text.advice.empty());
    for (std::size_t k = 0; k < i; ++k) {
      EXPECT_NE(kEdgeFaultTexts[k].name, text.name);
    }
  }
}

}  // namespace
}  // namespace slipway
