// Bodies: what is written is read back; hostile bytes give an error or a body, never anything else.

#include "frame/body.h"

#include <gtest/gtest.h>

#include <random>

#include "frame/utf8.h"

namespace slipway {
namespace {

FrameHeader named_header(FrameKind kind) {
  return {.kind = kind,
          .destination = hash_name("org", "ns", "svc", id_of_identity("a")),
          .source = hash_name("org", "ns", "client", id_of_identity("b"))};
}

std::span<const std::byte> payload_of(std::string_view text) {
  return {reinterpret_cast<const std::byte*>(text.data()), text.size()};
}

TEST(Body, SubscribeAndUnsubscribeComeBack) {
  const SubscribeBody body{.destination_text = {"org", "ns", "svc"},
                           .source_text = {"org", "ns", "héllo"},
                           .subscription_id = 0xFEDCBA9876543210,
                           .identity = std::string("\xFF\x00token", 7),
                           .version = "3.4.0"};
  for (const auto kind : {FrameKind::kSubscribe, FrameKind::kUnsubscribe}) {
    const auto header = named_header(kind);
    const auto frame = encode_subscribe(header, body);
    ASSERT_EQ(check_frame(frame), FrameFault::kNone);
    EXPECT_EQ(load_header(frame.data()), header);
    const auto back = decode_subscribe(frame);
    ASSERT_TRUE(back) << back.error();
    EXPECT_EQ(back->destination_text, body.destination_text);
    EXPECT_EQ(back->source_text, body.source_text);
    EXPECT_EQ(back->subscription_id, body.subscription_id);
    EXPECT_EQ(back->identity, body.identity);
    EXPECT_EQ(back->version, body.version);
  }
}

TEST(Body, SubscribeWithNothingSaid) {
  const auto frame = encode_subscribe(named_header(FrameKind::kSubscribe), {});
  const auto back = decode_subscribe(frame);
  ASSERT_TRUE(back) << back.error();
  EXPECT_EQ(back->subscription_id, 0u);
  EXPECT_TRUE(back->destination_text[0].empty());
}

// A body is upstream's message without the routed fields: these bytes were written out by hand from the schema.
TEST(Body, SubscribeIsUpstreamsProtobuf) {
  const auto frame = encode_subscribe(named_header(FrameKind::kSubscribe), {.destination_text = {"a", "b", "c"}, .subscription_id = 5});
  const std::string expected = "\x0a\x11" "\x0a\x0d" "\x12\x0b\x12\x09\x0a\x01" "a\x12\x01" "b\x1a\x01" "c\x10\x05";
  EXPECT_EQ(std::string(reinterpret_cast<const char*>(frame.data()) + kFrameHeaderBytes, frame.size() - kFrameHeaderBytes), expected);
}

TEST(Body, AcknowledgementComesBack) {
  for (const SubscriptionAckBody& body : {SubscriptionAckBody{7, true, ""}, SubscriptionAckBody{~0ull, false, "subscription not found"}}) {
    const auto frame = encode_subscription_ack(body);
    ASSERT_EQ(check_frame(frame), FrameFault::kNone);
    EXPECT_EQ(frame_kind(frame.data()), static_cast<std::uint8_t>(FrameKind::kSubscriptionAck));
    EXPECT_NE(frame_flags(frame.data()) & frame_flag::kNoNames, 0);
    const auto back = decode_subscription_ack(frame);
    ASSERT_TRUE(back) << back.error();
    EXPECT_EQ(back->subscription_id, body.subscription_id);
    EXPECT_EQ(back->success, body.success);
    EXPECT_EQ(back->error, body.error);
  }
}

template <class Body>
Body through_link(const Body& body) {
  const auto frame = encode_link(body);
  EXPECT_EQ(check_frame(frame), FrameFault::kNone);
  EXPECT_EQ(frame_kind(frame.data()), static_cast<std::uint8_t>(FrameKind::kLink));
  EXPECT_LE(frame.size(), kMaxControlFrameBytes);
  const auto back = decode_link(frame);
  EXPECT_TRUE(back) << back.error();
  const Body* same = back ? std::get_if<Body>(&*back) : nullptr;
  EXPECT_NE(same, nullptr);
  return same != nullptr ? *same : Body{};
}

TEST(Body, HelloComesBack) {
  const HelloBody body{.version = "0.1.0", .node_id = "node-7", .link_class = 2, .receive_link_id = 0xFFFFFFFF,
                       .max_frame_bytes = 4u << 20, .datagram_bytes = 1432, .keepalive_ms = 15'000, .entropy_ports = true,
                       .receive_udp_port = 46367, .deployment = "blue", .cookie = {std::byte{0}, std::byte{255}}};
  const auto back = through_link(body);
  EXPECT_EQ(back.version, body.version);
  EXPECT_EQ(back.node_id, body.node_id);
  EXPECT_EQ(back.link_class, body.link_class);
  EXPECT_EQ(back.receive_link_id, body.receive_link_id);
  EXPECT_EQ(back.max_frame_bytes, body.max_frame_bytes);
  EXPECT_EQ(back.datagram_bytes, body.datagram_bytes);
  EXPECT_EQ(back.keepalive_ms, body.keepalive_ms);
  EXPECT_EQ(back.entropy_ports, body.entropy_ports);
  EXPECT_EQ(back.receive_udp_port, body.receive_udp_port);
  EXPECT_EQ(back.deployment, body.deployment);
  EXPECT_EQ(back.cookie, body.cookie);
  EXPECT_EQ(through_link(HelloBody{.link_class = 0}).link_class, 0);
}

TEST(Body, HelloReplyComesBack) {
  const HelloReplyBody body{.accepted = true, .error = "none", .version = "0.1.0", .node_id = "n", .link_class = 1, .receive_link_id = 9,
                            .max_frame_bytes = 1000, .datagram_bytes = 500, .keepalive_ms = 3, .max_subscriptions = 10'000,
                            .entropy_ports = true, .challenge = std::vector<std::byte>(32, std::byte{7})};
  const auto back = through_link(body);
  EXPECT_EQ(back.accepted, body.accepted);
  EXPECT_EQ(back.error, body.error);
  EXPECT_EQ(back.version, body.version);
  EXPECT_EQ(back.node_id, body.node_id);
  EXPECT_EQ(back.link_class, body.link_class);
  EXPECT_EQ(back.receive_link_id, body.receive_link_id);
  EXPECT_EQ(back.max_frame_bytes, body.max_frame_bytes);
  EXPECT_EQ(back.datagram_bytes, body.datagram_bytes);
  EXPECT_EQ(back.keepalive_ms, body.keepalive_ms);
  EXPECT_EQ(back.max_subscriptions, body.max_subscriptions);
  EXPECT_EQ(back.entropy_ports, body.entropy_ports);
  EXPECT_EQ(back.challenge, body.challenge);
}

TEST(Body, SmallLinkMessagesComeBack) {
  const auto keepalive = through_link(KeepaliveBody{.stamp = 1ull << 63, .answer = true});
  EXPECT_EQ(keepalive.stamp, 1ull << 63);
  EXPECT_TRUE(keepalive.answer);
  EXPECT_EQ(through_link(KeepaliveBody{}).stamp, 0u);
  EXPECT_EQ(through_link(ByeBody{.reason = "stopping"}).reason, "stopping");
  EXPECT_EQ(through_link(ByeBody{}).reason, "");
}

TEST(Body, NoRouteComesBack) {
  const NoRouteBody body{.drop_reason = 22, .destination = hash_name("a", "b", "c", {1, 2}), .source = hash_name("d", "e", "f"),
                         .session_id = 3, .message_id = 4, .more = 5};
  const auto back = through_link(body);
  EXPECT_EQ(back.drop_reason, body.drop_reason);
  EXPECT_EQ(back.destination, body.destination);
  EXPECT_EQ(back.source, body.source);
  EXPECT_EQ(back.session_id, body.session_id);
  EXPECT_EQ(back.message_id, body.message_id);
  EXPECT_EQ(back.more, body.more);
}

TEST(Body, InstancesComeBackAndAreCutToAFrame) {
  const auto request = through_link(InstancesRequestBody{.request = 9, .name = hash_name("a", "b", "c")});
  EXPECT_EQ(request.request, 9u);
  EXPECT_EQ(request.name, hash_name("a", "b", "c"));

  InstancesReplyBody reply{.request = 9};
  for (std::uint64_t i = 0; i < kMaxInstancesInReply; ++i) {
    reply.ids.push_back({i, ~i});
  }
  auto back = through_link(reply);
  EXPECT_EQ(back.ids, reply.ids);
  EXPECT_FALSE(back.truncated);
  reply.ids.push_back({1, 1});
  back = through_link(reply);
  EXPECT_EQ(back.ids.size(), kMaxInstancesInReply);
  EXPECT_TRUE(back.truncated);
}

TEST(Body, PublishOfEverySizeOfLength) {
  for (const std::size_t bytes : {0u, 1u, 100u, 110u, 120u, 121u, 122u, 123u, 124u, 125u, 126u, 127u, 128u, 129u, 16370u, 16384u, 70000u}) {
    const std::string payload(bytes, 'x');
    const PublishBody body{.destination_text = {"o", "n", "s"}, .identity = "me", .payload_type = "text/plain", .payload = payload_of(payload)};
    const auto header = named_header(FrameKind::kPublish);
    const auto frame = encode_publish(header, body);
    EXPECT_EQ(load_header(frame.data()), header);
    const auto back = decode_publish(frame);
    ASSERT_TRUE(back) << back.error();
    EXPECT_EQ(back->destination_text, body.destination_text);
    EXPECT_EQ(back->identity, "me");
    EXPECT_EQ(back->payload_type, "text/plain");
    ASSERT_EQ(back->payload.size(), bytes);
    EXPECT_EQ(std::memcmp(back->payload.data(), payload.data(), bytes), 0);
    EXPECT_GE(back->payload.data(), frame.data());  // a view into the frame
    const auto view = view_publish(frame);
    ASSERT_TRUE(view) << view.error();
    EXPECT_EQ(view->payload.data(), back->payload.data());
    EXPECT_EQ(view->payload.size(), bytes);
    EXPECT_EQ(view->payload_type, "text/plain");
    EXPECT_EQ(view->destination_text[2], "s");
    EXPECT_EQ(view->identity, "me");
  }
}

TEST(Body, AFrameAboveTheBoundIsRefused) {
  auto frame = encode_subscribe(named_header(FrameKind::kSubscribe), {.identity = std::string(kMaxControlFrameBytes, 'x')});
  EXPECT_FALSE(decode_subscribe(frame));
  EXPECT_FALSE(decode_link(frame));
  EXPECT_FALSE(decode_subscription_ack(frame));
  EXPECT_FALSE(decode_subscribe({frame.data(), kFrameHeaderBytes - 1}));
}

TEST(Body, TextMustBeUtf8AndBounded) {
  const auto header = named_header(FrameKind::kSubscribe);
  auto back = decode_subscribe(encode_subscribe(header, {.destination_text = {"\xC0\x80", "n", "s"}}));
  ASSERT_FALSE(back);
  EXPECT_NE(back.error().find("UTF-8"), std::string::npos);
  back = decode_subscribe(encode_subscribe(header, {.destination_text = {std::string(kMaxComponentBytes + 1, 'x'), "n", "s"}}));
  ASSERT_FALSE(back);
  EXPECT_NE(back.error().find("1025"), std::string::npos);
}

TEST(Body, Utf8) {
  for (const char* good : {"", "plain", "h\xC3\xA9llo", "\xE2\x82\xAC", "\xF0\x9F\x9A\xA2", "\xEF\xBF\xBF", "\xF4\x8F\xBF\xBF"}) {
    EXPECT_TRUE(is_utf8(good)) << good;
  }
  for (const char* bad : {"\x80", "\xC3", "\xC0\xAF", "\xC1\xBF", "\xE0\x80\xAF", "\xED\xA0\x80", "\xF0\x80\x80\xAF", "\xF4\x90\x80\x80", "\xF5\x80\x80\x80", "a\xFF", "\xE2\x82"}) {
    EXPECT_FALSE(is_utf8(bad));
  }
}

TEST(Body, EmptyOrUnknownLinkMessagesAreErrors) {
  FrameBytes frame = encode_link(KeepaliveBody{.stamp = 1});
  frame.resize(kFrameHeaderBytes);
  EXPECT_FALSE(decode_link(frame));
  EXPECT_FALSE(decode_subscription_ack(frame));
}

TEST(Body, WrongWireTypesAndLongVarintsAreSkippedOrRefused) {
  FrameBytes frame = encode_link(KeepaliveBody{.stamp = 1});
  frame.resize(kFrameHeaderBytes);
  // link { keepalive { stamp: fixed32, answer: a varint of ten bytes, stamp: length 3 } }
  for (const int b : {0x2A, 0x18, 0xB2, 0x06, 0x15, 0x0D, 1, 2, 3, 4, 0x10, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x01, 0x0A, 3, 1, 2, 3, 0x08}) {
    frame.push_back(static_cast<std::byte>(b));
  }
  frame.pop_back();
  const auto back = decode_link(frame);
  ASSERT_TRUE(back) << back.error();
  EXPECT_TRUE(std::get<KeepaliveBody>(*back).answer);
  EXPECT_EQ(std::get<KeepaliveBody>(*back).stamp, 0u);
}

// Every truncation and many random mutations of every kind of body: an answer, and no read outside the block
// (the copy is exactly as large as the frame, so that the address sanitizer would see it).
TEST(Body, MutationsNeverEscape) {
  std::vector<FrameBytes> seeds = {
      encode_subscribe(named_header(FrameKind::kSubscribe), {.destination_text = {"org", "ns", "svc"}, .subscription_id = 1, .identity = "i", .version = "1"}),
      encode_subscription_ack({1, false, "no"}),
      encode_link(HelloBody{.version = "1", .node_id = "n", .cookie = std::vector<std::byte>(8)}),
      encode_link(HelloReplyBody{.accepted = true, .challenge = std::vector<std::byte>(8)}),
      encode_link(NoRouteBody{.drop_reason = 1}),
      encode_link(InstancesReplyBody{.ids = {{1, 2}, {3, 4}}}),
      encode_publish(named_header(FrameKind::kPublish), {.payload_type = "t", .payload = payload_of("payload")})};
  const auto try_all = [](std::span<const std::byte> bytes) {
    const std::vector<std::byte> exact(bytes.begin(), bytes.end());
    (void)decode_subscribe(exact);
    (void)decode_subscription_ack(exact);
    (void)decode_link(exact);
    (void)decode_publish(exact);
    (void)view_publish(exact);
  };
  std::size_t tried = 0;
  std::mt19937_64 random(20260101);
  for (const auto& seed : seeds) {
    for (std::size_t length = 0; length <= seed.size(); ++length, ++tried) {
      try_all(std::span(seed).first(length));
    }
    for (int round = 0; round < 3000; ++round, ++tried) {
      auto mutated = seed;
      for (int flips = 0; flips < 3; ++flips) {
        mutated[kFrameHeaderBytes + random() % (mutated.size() - kFrameHeaderBytes)] = static_cast<std::byte>(random());
      }
      try_all(mutated);
    }
  }
  EXPECT_GT(tried, 20'000u);
}

}  // namespace
}  // namespace slipway
