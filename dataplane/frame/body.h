#pragma once
// Bodies of the frames that are not publishes: subscriptions, their acknowledgements, and what the two ends of a
// native link say to each other. Parsed by the control thread and by clients, never by a worker.
//
// A body is upstream's protobuf message (dataplane.proto.v1.Message) without what the frame header holds. Link
// frames use fields of Link that upstream leaves free (100 and up), since no upstream application sees them.
// Decoding takes any field order, skips unknown fields, bounds every string by kMaxControlFrameBytes, and never
// throws. Pure functions: any thread.

#include <array>
#include <cstdint>
#include <expected>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "frame/frame.h"

namespace slipway {

using FrameBytes = std::vector<std::byte>;

// Subscribe and Unsubscribe. The names' hashes and ids are in the frame header; their text is here.
struct SubscribeBody {
  std::array<std::string, 3> destination_text;  // empty strings: the sender gave no text
  std::array<std::string, 3> source_text;
  std::uint64_t subscription_id = 0;            // 0: no acknowledgement is wanted
  std::string identity;                         // opaque token
  std::string version;                          // of the sender, informational
};

struct SubscriptionAckBody {
  std::uint64_t subscription_id = 0;
  bool success = false;
  std::string error;  // why not; empty on success
};

// First frame of the side that connects. On a datagram link it travels with link id 0, first without a cookie;
// the answer then is a challenge, and only a hello that repeats the challenge's cookie makes a link.
struct HelloBody {
  std::string version;            // semantic version of the sender's software
  std::string node_id;            // of a node; of a client: any name that people recognise it by
  std::uint8_t link_class = 3;    // LinkClass that the sender wants to be: kEdge 3, kPeer 2, kRemote 1
  std::uint32_t receive_link_id = 0;   // datagram links: what the answerer must put into its shims
  std::uint32_t max_frame_bytes = 0;   // largest frame that the sender takes on this link
  std::uint32_t datagram_bytes = 0;    // datagram links: largest UDP payload that the sender takes
  std::uint32_t keepalive_ms = 0;      // silence after which the sender wants to hear something; 0: never
  bool entropy_ports = false;          // datagram links: the sender's UDP source port varies
  std::uint16_t receive_udp_port = 0;   // with entropy_ports: where answers must go, since the source port is no address
  std::string deployment;              // peers of one deployment must agree on it; may be empty
  std::vector<std::byte> cookie;
};
struct HelloReplyBody {
  bool accepted = false;
  std::string error;              // why not, and what to do
  std::string version;
  std::string node_id;
  std::uint8_t link_class = 3;    // the class that the answerer gives the link (the one asked for, or it refuses)
  std::uint32_t receive_link_id = 0;
  std::uint32_t max_frame_bytes = 0;
  std::uint32_t datagram_bytes = 0;
  std::uint32_t keepalive_ms = 0;
  std::uint32_t max_subscriptions = 0;
  bool entropy_ports = false;
  std::vector<std::byte> challenge;  // not empty: say hello again with this as the cookie
};
struct KeepaliveBody {
  std::uint64_t stamp = 0;        // comes back in the answer
  bool answer = false;
};
struct ByeBody {
  std::string reason;             // the link is about to be closed by its sender
};
// The sender of a publish is told that nothing matched it. Never sent for control frames or acknowledgements.
struct NoRouteBody {
  std::uint8_t drop_reason = 0;   // DropReason
  Name destination;
  Name source;
  std::uint32_t session_id = 0;
  std::uint32_t message_id = 0;
  std::uint64_t more = 0;         // further frames dropped likewise since the last notice (rate limit)
};
// Which instances of a service are known to the node. A reply holds as many as fit a control frame.
inline constexpr std::size_t kMaxInstancesInReply = 960;
struct InstancesRequestBody {
  std::uint64_t request = 0;
  Name name;                      // its id is ignored
};
struct InstancesReplyBody {
  std::uint64_t request = 0;
  std::vector<NameId> ids;
  bool truncated = false;         // there are more than fit
};

using LinkBody = std::variant<HelloBody, HelloReplyBody, KeepaliveBody, ByeBody, NoRouteBody, InstancesRequestBody, InstancesReplyBody>;

// Whole frames, header and body. `header` gives kind, names, hop limit and the rest.
FrameBytes encode_subscribe(const FrameHeader& header, const SubscribeBody& body);
FrameBytes encode_subscription_ack(const SubscriptionAckBody& body);
FrameBytes encode_link(const LinkBody& body);

// From a whole frame whose header check_frame accepted and whose kind fits. The error says what is wrong.
std::expected<SubscribeBody, std::string> decode_subscribe(std::span<const std::byte> frame);
std::expected<SubscriptionAckBody, std::string> decode_subscription_ack(std::span<const std::byte> frame);
std::expected<LinkBody, std::string> decode_link(std::span<const std::byte> frame);

// A publish of our own endpoints: body {msg {app_payload {payload_type, blob}}} and header text, as upstream's.
struct PublishBody {
  std::array<std::string, 3> destination_text;
  std::array<std::string, 3> source_text;
  std::string identity;
  std::string payload_type;
  std::span<const std::byte> payload;
};
FrameBytes encode_publish(const FrameHeader& header, const PublishBody& body);

// The same without a copy: everything is a view into the frame. Text is not checked to be UTF-8.
struct PublishView {
  std::array<std::string_view, 3> destination_text;
  std::array<std::string_view, 3> source_text;
  std::string_view identity;
  std::string_view payload_type;
  std::span<const std::byte> payload;
};
std::expected<PublishView, std::string> view_publish(std::span<const std::byte> frame);

// The body of a publish with everything but its payload made ahead, for senders of many: a message then costs one
// copy of the template and of the payload into the caller's buffer.
class PublishTemplate {
 public:
  explicit PublishTemplate(const PublishBody& body);  // its payload is ignored
  // Bytes of the whole body with a payload of this size.
  [[nodiscard]] std::size_t body_bytes(std::size_t payload_bytes) const;
  // Writes all that comes before the payload, which ends the body; returns where the payload goes.
  std::byte* write_before_payload(std::byte* at, std::size_t payload_bytes) const;

 private:
  std::string head_;  // publish { header }: merges with what follows
  std::string type_;  // the payload_type field
};
// The payload is a view into the frame.
std::expected<PublishBody, std::string> decode_publish(std::span<const std::byte> frame);

}  // namespace slipway
