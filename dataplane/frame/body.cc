// Decoding of bodies. protozero throws on malformed input and asserts on wrong wire types, so every field is
// taken by its tag and wire type together, and each public function turns exceptions into its error.

#include "frame/body.h"

#include <fmt/format.h>

#include <limits>
#include <optional>
#include <protozero/pbf_reader.hpp>

#include "frame/body_fields.h"
#include "frame/utf8.h"

namespace slipway {
namespace {

using protozero::pbf_reader;
using protozero::pbf_wire_type;
using protozero::tag_and_type;

constexpr auto kBytes = pbf_wire_type::length_delimited;
constexpr auto kVarint = pbf_wire_type::varint;

// What is wrong with a body; leaves the public functions as their error.
struct BodyFault {
  std::string text;
};

std::string_view view_of(pbf_reader& field) {
  const auto view = field.get_view();
  return {view.data(), view.size()};
}

std::string text_of(pbf_reader& field, std::size_t limit, std::string_view what) {
  const auto view = view_of(field);
  if (view.size() > limit) {
    throw BodyFault{fmt::format("its {} has {} bytes; at most {} are allowed", what, view.size(), limit)};
  }
  if (!is_utf8(view)) {
    throw BodyFault{fmt::format("its {} is not UTF-8", what)};
  }
  return std::string(view);
}

template <class T>
T number_of(pbf_reader& field, std::string_view what) {
  const std::uint64_t value = field.get_uint64();
  if (value > std::numeric_limits<T>::max()) {
    throw BodyFault{fmt::format("its {} is {}, which is out of range", what, value)};
  }
  return static_cast<T>(value);
}

// get_bool asserts on varints of several bytes, which a peer can send.
bool flag_of(pbf_reader& field) { return field.get_uint64() != 0; }

std::vector<std::byte> bytes_of(pbf_reader& field) {
  const auto view = view_of(field);
  const auto* at = reinterpret_cast<const std::byte*>(view.data());
  return {at, at + view.size()};
}

Name name_of(pbf_reader& field) {
  const auto view = view_of(field);
  if (view.size() != body_field::kNameBytes) {
    throw BodyFault{fmt::format("a name has {} bytes instead of {}", view.size(), body_field::kNameBytes)};
  }
  return load_name(reinterpret_cast<const std::byte*>(view.data()));
}

// Owned text is checked, a view is not.
void take_text(pbf_reader& field, std::string_view what, std::string* text) { *text = text_of(field, kMaxComponentBytes, what); }
void take_text(pbf_reader& field, std::string_view, std::string_view* text) { *text = view_of(field); }

template <class Text>
void read_string_name(pbf_reader name, std::array<Text, 3>* text) {
  while (name.next()) {
    if (name.tag_and_type() != tag_and_type(body_field::kStrName, kBytes)) {
      name.skip();
      continue;
    }
    pbf_reader parts(name.get_view());
    while (parts.next()) {
      const auto index = parts.tag() - body_field::kStrComponent;
      if (index < text->size() && parts.wire_type() == kBytes) {
        take_text(parts, "name component", &(*text)[index]);
      } else {
        parts.skip();
      }
    }
  }
}

template <class Body>
void read_header(pbf_reader header, Body* body) {
  while (header.next()) {
    switch (header.tag_and_type()) {
      case tag_and_type(body_field::kSource, kBytes):
        read_string_name(pbf_reader(header.get_view()), &body->source_text);
        break;
      case tag_and_type(body_field::kDestination, kBytes):
        read_string_name(pbf_reader(header.get_view()), &body->destination_text);
        break;
      case tag_and_type(body_field::kIdentity, kBytes):
        body->identity = view_of(header);
        break;
      case tag_and_type(body_field::kVersion, kBytes):
        if constexpr (requires { body->version; }) {
          body->version = text_of(header, kMaxComponentBytes, "version");
        } else {
          header.skip();
        }
        break;
      default:
        header.skip();
    }
  }
}

SubscribeBody read_subscribe(pbf_reader message, std::uint32_t field) {
  SubscribeBody body;
  while (message.next()) {
    if (message.tag_and_type() != tag_and_type(field, kBytes)) {
      message.skip();
      continue;
    }
    pbf_reader subscribe(message.get_view());
    while (subscribe.next()) {
      switch (subscribe.tag_and_type()) {
        case tag_and_type(body_field::kHeader, kBytes):
          read_header(pbf_reader(subscribe.get_view()), &body);
          break;
        case tag_and_type(body_field::kSubscriptionId, kVarint):
          body.subscription_id = subscribe.get_uint64();
          break;
        default:
          subscribe.skip();
      }
    }
  }
  return body;
}

SubscriptionAckBody read_subscription_ack(pbf_reader message) {
  SubscriptionAckBody body;
  bool found = false;
  while (message.next()) {
    if (message.tag_and_type() != tag_and_type(body_field::kSubscriptionAck, kBytes)) {
      message.skip();
      continue;
    }
    found = true;
    pbf_reader ack(message.get_view());
    while (ack.next()) {
      switch (ack.tag_and_type()) {
        case tag_and_type(body_field::kAckId, kVarint):
          body.subscription_id = ack.get_uint64();
          break;
        case tag_and_type(body_field::kAckSuccess, kVarint):
          body.success = flag_of(ack);
          break;
        case tag_and_type(body_field::kAckError, kBytes):
          body.error = text_of(ack, kMaxControlFrameBytes, "error");
          break;
        default:
          ack.skip();
      }
    }
  }
  if (!found) {
    throw BodyFault{"it holds no acknowledgement"};
  }
  return body;
}

// Fields that hello and its answer have in common; false: the field is not one of them.
template <class Body>
bool read_greeting_field(pbf_reader& field, Body* body) {
  switch (field.tag_and_type()) {
    case tag_and_type(body_field::kHelloVersion, kBytes):
      body->version = text_of(field, kMaxComponentBytes, "version");
      return true;
    case tag_and_type(body_field::kHelloNodeId, kBytes):
      body->node_id = text_of(field, kMaxComponentBytes, "node id");
      return true;
    case tag_and_type(body_field::kHelloLinkClass, kVarint):
      body->link_class = number_of<std::uint8_t>(field, "link class");
      return true;
    case tag_and_type(body_field::kHelloReceiveLinkId, kVarint):
      body->receive_link_id = number_of<std::uint32_t>(field, "link id");
      return true;
    case tag_and_type(body_field::kHelloMaxFrameBytes, kVarint):
      body->max_frame_bytes = number_of<std::uint32_t>(field, "frame limit");
      return true;
    case tag_and_type(body_field::kHelloDatagramBytes, kVarint):
      body->datagram_bytes = number_of<std::uint32_t>(field, "datagram limit");
      return true;
    case tag_and_type(body_field::kHelloKeepaliveMs, kVarint):
      body->keepalive_ms = number_of<std::uint32_t>(field, "keepalive time");
      return true;
    case tag_and_type(body_field::kHelloEntropyPorts, kVarint):
      body->entropy_ports = flag_of(field);
      return true;
    default:
      return false;
  }
}

HelloBody read_hello(pbf_reader fields) {
  HelloBody body;
  while (fields.next()) {
    if (read_greeting_field(fields, &body)) {
      continue;
    }
    switch (fields.tag_and_type()) {
      case tag_and_type(body_field::kHelloDeployment, kBytes):
        body.deployment = text_of(fields, kMaxComponentBytes, "deployment");
        break;
      case tag_and_type(body_field::kHelloCookie, kBytes):
        body.cookie = bytes_of(fields);
        break;
      case tag_and_type(body_field::kHelloReceiveUdpPort, kVarint):
        body.receive_udp_port = number_of<std::uint16_t>(fields, "UDP port");
        break;
      default:
        fields.skip();
    }
  }
  return body;
}

HelloReplyBody read_hello_reply(pbf_reader fields) {
  HelloReplyBody body;
  while (fields.next()) {
    if (read_greeting_field(fields, &body)) {
      continue;
    }
    switch (fields.tag_and_type()) {
      case tag_and_type(body_field::kHelloCookie, kBytes):
        body.challenge = bytes_of(fields);
        break;
      case tag_and_type(body_field::kHelloAccepted, kVarint):
        body.accepted = flag_of(fields);
        break;
      case tag_and_type(body_field::kHelloError, kBytes):
        body.error = text_of(fields, kMaxControlFrameBytes, "error");
        break;
      case tag_and_type(body_field::kHelloMaxSubscriptions, kVarint):
        body.max_subscriptions = number_of<std::uint32_t>(fields, "subscription limit");
        break;
      default:
        fields.skip();
    }
  }
  return body;
}

KeepaliveBody read_keepalive(pbf_reader fields) {
  KeepaliveBody body;
  while (fields.next()) {
    switch (fields.tag_and_type()) {
      case tag_and_type(body_field::kKeepaliveStamp, kVarint):
        body.stamp = fields.get_uint64();
        break;
      case tag_and_type(body_field::kKeepaliveAnswer, kVarint):
        body.answer = flag_of(fields);
        break;
      default:
        fields.skip();
    }
  }
  return body;
}

ByeBody read_bye(pbf_reader fields) {
  ByeBody body;
  while (fields.next()) {
    if (fields.tag_and_type() == tag_and_type(body_field::kByeReason, kBytes)) {
      body.reason = text_of(fields, kMaxControlFrameBytes, "reason");
    } else {
      fields.skip();
    }
  }
  return body;
}

NoRouteBody read_no_route(pbf_reader fields) {
  NoRouteBody body;
  while (fields.next()) {
    switch (fields.tag_and_type()) {
      case tag_and_type(body_field::kNoRouteDropReason, kVarint):
        body.drop_reason = number_of<std::uint8_t>(fields, "drop reason");
        break;
      case tag_and_type(body_field::kNoRouteDestination, kBytes):
        body.destination = name_of(fields);
        break;
      case tag_and_type(body_field::kNoRouteSource, kBytes):
        body.source = name_of(fields);
        break;
      case tag_and_type(body_field::kNoRouteSessionId, kVarint):
        body.session_id = number_of<std::uint32_t>(fields, "session id");
        break;
      case tag_and_type(body_field::kNoRouteMessageId, kVarint):
        body.message_id = number_of<std::uint32_t>(fields, "message id");
        break;
      case tag_and_type(body_field::kNoRouteMore, kVarint):
        body.more = fields.get_uint64();
        break;
      default:
        fields.skip();
    }
  }
  return body;
}

InstancesRequestBody read_instances_request(pbf_reader fields) {
  InstancesRequestBody body;
  while (fields.next()) {
    switch (fields.tag_and_type()) {
      case tag_and_type(body_field::kInstancesRequestNumber, kVarint):
        body.request = fields.get_uint64();
        break;
      case tag_and_type(body_field::kInstancesName, kBytes):
        body.name = name_of(fields);
        break;
      default:
        fields.skip();
    }
  }
  return body;
}

void append_ids(pbf_reader& fields, std::vector<NameId>* ids) {
  const auto view = view_of(fields);
  if (view.size() % body_field::kIdBytes != 0) {
    throw BodyFault{fmt::format("its ids have {} bytes, which is no multiple of {}", view.size(), body_field::kIdBytes)};
  }
  for (std::size_t at = 0; at < view.size(); at += body_field::kIdBytes) {
    ids->push_back({.high = load_le<std::uint64_t>(view.data() + at + 8), .low = load_le<std::uint64_t>(view.data() + at)});
  }
}

InstancesReplyBody read_instances_reply(pbf_reader fields) {
  InstancesReplyBody body;
  while (fields.next()) {
    switch (fields.tag_and_type()) {
      case tag_and_type(body_field::kInstancesRequestNumber, kVarint):
        body.request = fields.get_uint64();
        break;
      case tag_and_type(body_field::kInstancesIds, kBytes):
        append_ids(fields, &body.ids);
        break;
      case tag_and_type(body_field::kInstancesTruncated, kVarint):
        body.truncated = flag_of(fields);
        break;
      default:
        fields.skip();
    }
  }
  return body;
}

// One link message; nothing when the field is none of ours.
std::optional<LinkBody> read_link_field(pbf_reader& link) {
  switch (link.tag_and_type()) {
    case tag_and_type(body_field::kHello, kBytes):
      return read_hello(pbf_reader(link.get_view()));
    case tag_and_type(body_field::kHelloReply, kBytes):
      return read_hello_reply(pbf_reader(link.get_view()));
    case tag_and_type(body_field::kKeepalive, kBytes):
      return read_keepalive(pbf_reader(link.get_view()));
    case tag_and_type(body_field::kBye, kBytes):
      return read_bye(pbf_reader(link.get_view()));
    case tag_and_type(body_field::kNoRoute, kBytes):
      return read_no_route(pbf_reader(link.get_view()));
    case tag_and_type(body_field::kInstancesRequest, kBytes):
      return read_instances_request(pbf_reader(link.get_view()));
    case tag_and_type(body_field::kInstancesReply, kBytes):
      return read_instances_reply(pbf_reader(link.get_view()));
    default:
      link.skip();
      return std::nullopt;
  }
}

LinkBody read_link(pbf_reader message) {
  std::optional<LinkBody> body;
  while (message.next()) {
    if (message.tag_and_type() != tag_and_type(body_field::kLink, kBytes)) {
      message.skip();
      continue;
    }
    pbf_reader link(message.get_view());
    while (link.next()) {
      // A oneof: the last one counts.
      if (auto found = read_link_field(link)) {
        body = std::move(found);
      }
    }
  }
  if (!body) {
    throw BodyFault{"it holds no message that this version knows"};
  }
  return std::move(*body);
}

template <class Body>
void read_app_payload(pbf_reader fields, Body* body) {
  while (fields.next()) {
    switch (fields.tag_and_type()) {
      case tag_and_type(body_field::kPayloadType, kBytes):
        take_text(fields, "payload type", &body->payload_type);
        break;
      case tag_and_type(body_field::kBlob, kBytes): {
        const auto view = view_of(fields);
        body->payload = {reinterpret_cast<const std::byte*>(view.data()), view.size()};
        break;
      }
      default:
        fields.skip();
    }
  }
}

template <class Body>
Body read_publish(pbf_reader message) {
  Body body;
  while (message.next()) {
    if (message.tag_and_type() != tag_and_type(body_field::kPublish, kBytes)) {
      message.skip();
      continue;
    }
    pbf_reader publish(message.get_view());
    while (publish.next()) {
      if (publish.tag_and_type() == tag_and_type(body_field::kHeader, kBytes)) {
        read_header(pbf_reader(publish.get_view()), &body);
      } else if (publish.tag_and_type() == tag_and_type(body_field::kMsg, kBytes)) {
        pbf_reader content(publish.get_view());
        while (content.next()) {
          if (content.tag_and_type() == tag_and_type(body_field::kAppPayload, kBytes)) {
            read_app_payload(pbf_reader(content.get_view()), &body);
          } else {
            content.skip();
          }
        }
      } else {
        publish.skip();
      }
    }
  }
  return body;
}

// Runs a reader on the body of a frame whose size is checked first.
template <class Reader>
auto decode(std::span<const std::byte> frame, std::size_t limit, std::string_view what, Reader reader)
    -> std::expected<decltype(reader(pbf_reader())), std::string> {
  if (frame.size() < kFrameHeaderBytes || frame.size() > limit) {
    return std::unexpected(fmt::format("a {} frame of {} bytes: between {} and {} are allowed", what, frame.size(),
                                       kFrameHeaderBytes, limit));
  }
  try {
    return reader(pbf_reader(reinterpret_cast<const char*>(frame.data()) + kFrameHeaderBytes, frame.size() - kFrameHeaderBytes));
  } catch (const BodyFault& fault) {
    return std::unexpected(fmt::format("a {} frame cannot be used: {}", what, fault.text));
  } catch (const std::exception&) {
    return std::unexpected(fmt::format("a {} frame whose body is not valid protobuf", what));
  }
}

bool is_kind(std::span<const std::byte> frame, FrameKind kind) {
  return frame.size() >= kFrameHeaderBytes && frame_kind(frame.data()) == static_cast<std::uint8_t>(kind);
}

}  // namespace

std::expected<SubscribeBody, std::string> decode_subscribe(std::span<const std::byte> frame) {
  const bool removes = is_kind(frame, FrameKind::kUnsubscribe);
  const auto field = removes ? body_field::kUnsubscribe : body_field::kSubscribe;
  return decode(frame, kMaxControlFrameBytes, removes ? "unsubscribe" : "subscribe",
                [field](pbf_reader body) { return read_subscribe(body, field); });
}

std::expected<SubscriptionAckBody, std::string> decode_subscription_ack(std::span<const std::byte> frame) {
  return decode(frame, kMaxControlFrameBytes, "subscription acknowledgement", read_subscription_ack);
}

std::expected<LinkBody, std::string> decode_link(std::span<const std::byte> frame) {
  return decode(frame, kMaxControlFrameBytes, "link", read_link);
}

std::expected<PublishBody, std::string> decode_publish(std::span<const std::byte> frame) {
  return decode(frame, kMaxFrameBytes, "publish", read_publish<PublishBody>);
}

std::expected<PublishView, std::string> view_publish(std::span<const std::byte> frame) {
  return decode(frame, kMaxFrameBytes, "publish", read_publish<PublishView>);
}

}  // namespace slipway
