// Encoding of bodies. Fields that hold their default are left out, as proto3 does.

#include <protozero/pbf_writer.hpp>

#include "frame/body.h"
#include "frame/body_fields.h"

namespace slipway {
namespace {

using protozero::pbf_writer;

void add_text(pbf_writer& writer, std::uint32_t field, std::string_view text) {
  if (!text.empty()) {
    writer.add_bytes(field, text.data(), text.size());
  }
}
void add_opaque(pbf_writer& writer, std::uint32_t field, std::span<const std::byte> bytes) {
  add_text(writer, field, {reinterpret_cast<const char*>(bytes.data()), bytes.size()});
}
void add_number(pbf_writer& writer, std::uint32_t field, std::uint64_t value) {
  if (value != 0) {
    writer.add_uint64(field, value);
  }
}
void add_name(pbf_writer& writer, std::uint32_t field, const Name& name) {
  std::array<std::byte, body_field::kNameBytes> bytes;
  store_name(bytes.data(), name);
  add_opaque(writer, field, bytes);
}

void add_string_name(pbf_writer& header, std::uint32_t field, const std::array<std::string, 3>& text) {
  if (text[0].empty() && text[1].empty() && text[2].empty()) {
    return;
  }
  pbf_writer name(header, field);
  pbf_writer parts(name, body_field::kStrName);
  for (std::uint32_t i = 0; i < text.size(); ++i) {
    add_text(parts, body_field::kStrComponent + i, text[i]);
  }
}

FrameBytes frame_of(const FrameHeader& header, std::string_view body) {
  FrameBytes frame(kFrameHeaderBytes + body.size());
  store_header(frame.data(), header);
  if (!body.empty()) {
    std::memcpy(frame.data() + kFrameHeaderBytes, body.data(), body.size());
  }
  return frame;
}

FrameHeader unnamed(FrameKind kind) {
  FrameHeader header{.kind = kind, .hop_limit = 0, .flags = frame_flag::kNoNames};
  header.destination.id = header.source.id = NameId{0, 0};
  return header;
}

template <class Body>
void write_greeting(pbf_writer& writer, const Body& body) {
  add_text(writer, body_field::kHelloVersion, body.version);
  add_text(writer, body_field::kHelloNodeId, body.node_id);
  // Always written: its default in the structs is not zero.
  writer.add_uint64(body_field::kHelloLinkClass, body.link_class);
  add_number(writer, body_field::kHelloReceiveLinkId, body.receive_link_id);
  add_number(writer, body_field::kHelloMaxFrameBytes, body.max_frame_bytes);
  add_number(writer, body_field::kHelloDatagramBytes, body.datagram_bytes);
  add_number(writer, body_field::kHelloKeepaliveMs, body.keepalive_ms);
  add_number(writer, body_field::kHelloEntropyPorts, body.entropy_ports ? 1 : 0);
}

// The fields of one link message; returns the message's own field in Link.
std::uint32_t write_link(pbf_writer& writer, const HelloBody& body) {
  write_greeting(writer, body);
  add_text(writer, body_field::kHelloDeployment, body.deployment);
  add_opaque(writer, body_field::kHelloCookie, body.cookie);
  add_number(writer, body_field::kHelloReceiveUdpPort, body.receive_udp_port);
  return body_field::kHello;
}
std::uint32_t write_link(pbf_writer& writer, const HelloReplyBody& body) {
  write_greeting(writer, body);
  add_opaque(writer, body_field::kHelloCookie, body.challenge);
  add_number(writer, body_field::kHelloAccepted, body.accepted ? 1 : 0);
  add_text(writer, body_field::kHelloError, body.error);
  add_number(writer, body_field::kHelloMaxSubscriptions, body.max_subscriptions);
  return body_field::kHelloReply;
}
std::uint32_t write_link(pbf_writer& writer, const KeepaliveBody& body) {
  add_number(writer, body_field::kKeepaliveStamp, body.stamp);
  add_number(writer, body_field::kKeepaliveAnswer, body.answer ? 1 : 0);
  return body_field::kKeepalive;
}
std::uint32_t write_link(pbf_writer& writer, const ByeBody& body) {
  add_text(writer, body_field::kByeReason, body.reason);
  return body_field::kBye;
}
std::uint32_t write_link(pbf_writer& writer, const NoRouteBody& body) {
  add_number(writer, body_field::kNoRouteDropReason, body.drop_reason);
  add_name(writer, body_field::kNoRouteDestination, body.destination);
  add_name(writer, body_field::kNoRouteSource, body.source);
  add_number(writer, body_field::kNoRouteSessionId, body.session_id);
  add_number(writer, body_field::kNoRouteMessageId, body.message_id);
  add_number(writer, body_field::kNoRouteMore, body.more);
  return body_field::kNoRoute;
}
std::uint32_t write_link(pbf_writer& writer, const InstancesRequestBody& body) {
  add_number(writer, body_field::kInstancesRequestNumber, body.request);
  add_name(writer, body_field::kInstancesName, body.name);
  return body_field::kInstancesRequest;
}
std::uint32_t write_link(pbf_writer& writer, const InstancesReplyBody& body) {
  const std::size_t count = std::min(body.ids.size(), kMaxInstancesInReply);
  std::vector<std::byte> ids(count * body_field::kIdBytes);
  for (std::size_t i = 0; i < count; ++i) {
    store_le(ids.data() + i * body_field::kIdBytes, body.ids[i].low);
    store_le(ids.data() + i * body_field::kIdBytes + 8, body.ids[i].high);
  }
  add_number(writer, body_field::kInstancesRequestNumber, body.request);
  add_opaque(writer, body_field::kInstancesIds, ids);
  add_number(writer, body_field::kInstancesTruncated, body.truncated || count < body.ids.size() ? 1 : 0);
  return body_field::kInstancesReply;
}

template <class Body>
void write_publish_header(pbf_writer& publish, const Body& body) {
  std::string data;
  pbf_writer header(data);
  add_string_name(header, body_field::kSource, body.source_text);
  add_string_name(header, body_field::kDestination, body.destination_text);
  add_text(header, body_field::kIdentity, body.identity);
  if constexpr (requires { body.version; }) {
    add_text(header, body_field::kVersion, body.version);
  }
  add_text(publish, body_field::kHeader, data);
}

}  // namespace

FrameBytes encode_subscribe(const FrameHeader& header, const SubscribeBody& body) {
  std::string data;
  {
    pbf_writer message(data);
    pbf_writer subscribe(message, header.kind == FrameKind::kUnsubscribe ? body_field::kUnsubscribe : body_field::kSubscribe);
    write_publish_header(subscribe, body);
    add_number(subscribe, body_field::kSubscriptionId, body.subscription_id);
  }
  return frame_of(header, data);
}

FrameBytes encode_subscription_ack(const SubscriptionAckBody& body) {
  std::string data;
  {
    pbf_writer message(data);
    pbf_writer ack(message, body_field::kSubscriptionAck);
    ack.add_uint64(body_field::kAckId, body.subscription_id);  // also 0: an empty message would be left out
    add_number(ack, body_field::kAckSuccess, body.success ? 1 : 0);
    add_text(ack, body_field::kAckError, body.error);
  }
  return frame_of(unnamed(FrameKind::kSubscriptionAck), data);
}

FrameBytes encode_link(const LinkBody& body) {
  // Made apart: a nested writer leaves out a message without fields, and here its presence is what is said.
  std::string content;
  pbf_writer writer(content);
  std::string data;
  {
    pbf_writer message(data);
    pbf_writer link(message, body_field::kLink);
    const auto field = std::visit([&](const auto& one) { return write_link(writer, one); }, body);
    link.add_message(field, content);
  }
  return frame_of(unnamed(FrameKind::kLink), data);
}

PublishTemplate::PublishTemplate(const PublishBody& body) {
  {
    pbf_writer message(head_);
    pbf_writer publish(message, body_field::kPublish);
    write_publish_header(publish, body);
  }
  if (head_.size() <= 2) {
    head_.clear();  // an empty Publish says nothing
  }
  pbf_writer payload(type_);
  add_text(payload, body_field::kPayloadType, body.payload_type);
}

namespace {

std::size_t varint_bytes(std::size_t value) {
  std::size_t bytes = 1;
  while (value >= 0x80) {
    value >>= 7;
    ++bytes;
  }
  return bytes;
}

std::byte* put_length_field(std::byte* at, std::uint32_t field, std::size_t length) {
  *at++ = static_cast<std::byte>(field << 3 | 2);
  while (length >= 0x80) {
    *at++ = static_cast<std::byte>(length | 0x80);
    length >>= 7;
  }
  *at++ = static_cast<std::byte>(length);
  return at;
}

// Bytes of the nested messages around a payload: publish { msg { app_payload { type, blob } } }.
struct Nesting {
  std::size_t app_payload;
  std::size_t content;
  std::size_t publish;
  std::size_t all;
};
Nesting nesting_of(std::size_t type_bytes, std::size_t payload_bytes) {
  Nesting n{};
  n.app_payload = type_bytes + 1 + varint_bytes(payload_bytes) + payload_bytes;
  n.content = 1 + varint_bytes(n.app_payload) + n.app_payload;
  n.publish = 1 + varint_bytes(n.content) + n.content;
  n.all = 1 + varint_bytes(n.publish) + n.publish;
  return n;
}

}  // namespace

std::size_t PublishTemplate::body_bytes(std::size_t payload_bytes) const {
  return head_.size() + nesting_of(type_.size(), payload_bytes).all;
}

std::byte* PublishTemplate::write_before_payload(std::byte* at, std::size_t payload_bytes) const {
  const Nesting n = nesting_of(type_.size(), payload_bytes);
  std::memcpy(at, head_.data(), head_.size());
  at += head_.size();
  at = put_length_field(at, body_field::kPublish, n.publish);
  at = put_length_field(at, body_field::kMsg, n.content);
  at = put_length_field(at, body_field::kAppPayload, n.app_payload);
  std::memcpy(at, type_.data(), type_.size());
  at += type_.size();
  return put_length_field(at, body_field::kBlob, payload_bytes);
}

FrameBytes encode_publish(const FrameHeader& header, const PublishBody& body) {
  const PublishTemplate layout(body);
  FrameBytes frame(kFrameHeaderBytes + layout.body_bytes(body.payload.size()));
  store_header(frame.data(), header);
  std::byte* at = layout.write_before_payload(frame.data() + kFrameHeaderBytes, body.payload.size());
  if (!body.payload.empty()) {
    std::memcpy(at, body.payload.data(), body.payload.size());
  }
  return frame;
}

}  // namespace slipway
