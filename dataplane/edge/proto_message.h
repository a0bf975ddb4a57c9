#pragma once
// One upstream message (dataplane.proto.v1.Message, upstream-node 2), read in place: the values that routing needs, and
// where everything else lies. Nothing is copied; ranges are offsets into the message that was read.
//
// Fields may come in any order and, as protobuf has it, more than once: the last value counts, and messages merge. Fields
// that no version knows are located like those that nobody here reads, and travel on byte for byte.
// The values are those that upstream's decoder would see. Worker threads and others: no state outside the arguments.

#include <array>
#include <cstdint>
#include <optional>
#include <span>

#include "edge/proto_fault.h"
#include "edge/proto_pieces.h"
#include "frame/frame.h"

namespace slipway {

enum class MessageKind : std::uint8_t { kNone, kSubscribe, kUnsubscribe, kPublish, kLink, kSubscriptionAck };

// In which message of the nest a stretch of kept bytes lies. Stretches of one level keep their order.
enum class KeptLevel : std::uint8_t {
  kMessage,          // metadata, unknown fields
  kVariant,          // fields of Publish and its like: msg, subscription_id; of an acknowledgement: all
  kSession,          // unknown fields of the session header
  kSessionWhole,     // the whole session header, for values that a frame header cannot hold
  kHeader,           // e2e_header_sig, unknown fields
  kIdentity,
  kVersion,
  kSource,           // str_name, unknown fields
  kSourceName,       // unknown fields of the encoded name
  kSourceId,         // unknown fields of its id
  kDestination,
  kDestinationName,
  kDestinationId,
  kCount,
};

struct KeptRun {
  Range range;
  KeptLevel level;
};

struct NameFields {
  Name name{.id = {.high = 0, .low = 0}};
  bool present = false;          // the Name itself
  bool encoded_present = false;  // Name.name
  bool id_present = false;       // EncodedName.name_id; absent means null to routing, but not to the header MAC
  bool text_present = false;     // Name.str_name
  std::array<Range, 3> text{};

  // What routes: an absent id is null.
  [[nodiscard]] Name routed() const { return id_present ? name : Name{name.component, kNullId}; }
  friend bool operator==(const NameFields&, const NameFields&) = default;
};

// SLIMHeader: of a Publish, Subscribe or Unsubscribe.
struct HeaderValues {
  NameFields source;
  NameFields destination;
  Range identity;
  Range version;
  std::uint32_t fanout = 0;
  std::uint32_t ttl = 0;
  std::optional<std::uint64_t> recv_from;
  std::optional<std::uint64_t> forward_to;
  std::optional<std::uint64_t> incoming_conn;
  std::optional<bool> error;
  std::optional<Range> header_mac;

  // What a reader of bodies looks at: there is a field that a frame header holds, or that belongs to one hop.
  bool has_header_fields = false;

  friend bool operator==(const HeaderValues&, const HeaderValues&) = default;
};

struct UpstreamValues : HeaderValues {
  MessageKind kind = MessageKind::kNone;
  bool has_header = false;

  // SessionHeader: of a Publish
  bool has_session = false;
  bool has_session_fields = false;
  bool session_in_body = false;  // a value does not fit a frame header
  std::int32_t session_type = 0;
  std::int32_t session_message_type = 0;
  std::uint32_t session_id = 0;
  std::uint32_t message_id = 0;

  // Subscribe, Unsubscribe, SubscriptionAck
  std::uint64_t subscription_id = 0;
  bool success = false;
  Range ack_error;

  bool has_link_type = false;  // Link

  friend bool operator==(const UpstreamValues&, const UpstreamValues&) = default;
};

struct UpstreamMessage : UpstreamValues {
  std::uint8_t run_count = 0;
  std::array<std::uint32_t, static_cast<std::size_t>(KeptLevel::kCount)> level_bytes{};
  std::array<KeptRun, kMaxKeptRuns> run_list;  // the first run_count count; the rest is not set

  UpstreamMessage() {}  // leaves run_list alone: it is large
  [[nodiscard]] std::span<const KeptRun> runs() const { return {run_list.data(), run_count}; }
  [[nodiscard]] std::uint32_t bytes_of(KeptLevel level) const { return level_bytes[static_cast<std::size_t>(level)]; }
};

// Reads any message of an upstream stream. On kNone *message is complete; validate() says whether it may be used.
// A fault that closes (edge_fault_text) is one that upstream's decoder would raise.
[[nodiscard]] EdgeFault parse_message(const Pieces& bytes, UpstreamMessage* message);

// Reads the body of a native frame and completes it from its header, which check_frame has accepted. The ranges are
// offsets into the body. A body must leave to the header what the header holds, and must not speak for a hop.
[[nodiscard]] EdgeFault parse_body(const FrameHeader& header, const Pieces& body, UpstreamMessage* message);

// The rules that hold for every message after the negotiation (upstream-node 2.6); kLinkAgain for a link message, which
// nobody expects then.
[[nodiscard]] EdgeFault validate(const UpstreamMessage& message);

}  // namespace slipway
