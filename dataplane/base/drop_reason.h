#pragma once
// Why a frame (or a packet, or one copy of a frame) was dropped. One list makes the enum, the counter, the
// stable name on every surface, and the sentence that tells an operator what to do.
// What is wrong with single messages of upstream applications follows from edge_faults.h.
// To add a reason: one line here; every surface shows it, and tests/dataplane/base checks names and texts.

#include <array>
#include <cstdint>
#include <string_view>

#include "base/edge_faults.h"

namespace slipway {

// X(enumerator, stable_name, what happened, what to do)
#define SLIPWAY_DROP_REASONS(X)                                                                                                        \
  X(kPacketMalformed, "packet_malformed", "an Ethernet, IP or UDP header is cut short or contradicts itself", "Capture on the port and look at the sender: it does not speak IP correctly.") \
  X(kPacketProtocol, "packet_protocol", "neither ARP, neighbour discovery, ICMP echo nor UDP", "Usually harmless background traffic; filter it at the switch if it is much.")                   \
  X(kPacketVlan, "packet_vlan", "the 802.1Q tag is not the one this port is configured for", "Set `vlan` of the port, or fix the switch port's tagging.")                                   \
  X(kPacketNotOurs, "packet_not_ours", "addressed to another MAC or IP address", "Check the port's `addresses`, and the peer's routes and neighbour entries.")                              \
  X(kPacketChecksum, "packet_checksum", "a wrong IP or UDP checksum", "Check the cable and the sender's checksum offload.")                                                                  \
  X(kPacketFragment, "packet_fragment", "an IP fragment; frames are cut above IP, never by it", "Make the MTU of the sender's link no larger than the path's.")                             \
  X(kPacketUdpPort, "packet_udp_port", "UDP to a port on which nothing listens", "Point the sender at the port's `udp_port`.")                                                               \
  X(kShimMalformed, "shim_malformed", "a datagram whose shim is short, has unknown flags, or lengths that do not agree", "The sender is no slipway, or another version: compare `version` on both sides.") \
  X(kShimTag, "shim_tag", "a tag on a link that has no key", "Both ends must agree on link authentication.")                                                                             \
  X(kUnknownLink, "unknown_link", "the shim names a link that does not exist (any more)", "Normal after a restart until the peer says hello again; otherwise the datagrams are forged.")    \
  X(kWrongSource, "wrong_source", "a datagram for a link, from another address than the link's", "Someone forges datagrams, or the peer moved: it must say hello again.")                  \
  X(kJoinTimeout, "join_timeout", "not all fragments of a frame came in time", "Fragments are lost on the way: look for drops on the path, or raise the MTU.")                               \
  X(kJoinConflict, "join_conflict", "fragments of one frame overlap or disagree on its length", "The sender is broken or forged.")                                                           \
  X(kJoinDuplicate, "join_duplicate", "a fragment that had come before", "Harmless when rare: the network doubles packets; if it is much, look for a loop below IP.")\
  X(kJoinLimit, "join_limit", "too many frames or bytes are being joined", "Raise `limits.node_bytes`, or use a stream link for large frames.")                                              \
  X(kFrameShort, "frame_short", "shorter than a frame header", "The sender is no slipway, or another version.")                                                                          \
  X(kFrameVersion, "frame_version", "a frame version that this node does not know", "Upgrade the older side.")                                                                           \
  X(kFrameKind, "frame_kind", "a frame kind that does not exist, or must not come this way", "Upgrade the older side; otherwise the sender is broken.")                                      \
  X(kFrameFlags, "frame_flags", "unknown or contradictory flags, or a spare field in use", "Upgrade the older side.")                                                                     \
  X(kFrameTooBig, "frame_too_big", "larger than the limit of the link it came from", "Send smaller messages, or raise the limit on both sides.")                                             \
  X(kControlTooBig, "control_too_big", "a subscription or link frame above 16 KiB", "The sender is broken.")                                                                             \
  X(kLinkNotReady, "link_not_ready", "a frame before the link's hello was finished", "The peer must wait for the hello's answer.")                                                         \
  X(kLinkRefused, "link_refused", "a hello or negotiation that was refused, or something else in its place; the link is closed", "`links` lists why it was closed: versions, keys, classes or deployments do not fit, or the other side does not speak SLIM.") \
  X(kHopLimit, "hop_limit", "the hop limit was used up", "There is a loop, or more nodes in line than the sender's hop limit allows: `explain` the name on each node.")                      \
  X(kNoRoute, "no_route", "no link subscribed to the destination", "`slipwayctl explain NAME` tells what is known; start the receiver, or check the name's spelling.")                       \
  X(kOnlyIngress, "only_ingress", "the only subscriber is the link that the frame came from", "A node never sends back: applications that share a link must match locally.")               \
  X(kTooBigForLink, "too_big_for_link", "too large for the link towards the receiver", "Use a stream link (TCP or Unix) to that receiver, or send smaller messages.")                        \
  X(kLinkGone, "link_gone", "the receiver's link closed while the frame was on its way", "Normal when a receiver leaves; it subscribes again when it returns.")                             \
  X(kReceiverStalled, "receiver_stalled", "the receiver's queue is full and it takes no bytes", "`links` names the receiver: it hangs or is too slow for its rate.")                       \
  X(kQueueFull, "queue_full", "the receiver's queue is full and the sender's port cannot be paused", "The receiver is slower than the traffic sent to it from datagram ports.")              \
  X(kNodeBudget, "node_budget", "the node holds as many bytes as `limits.node_bytes` allows", "Raise it, or find the slow receivers in `links`.")                                         \
  X(kNoBuffer, "no_buffer", "the buffer pool is empty", "Raise `limits.buffers`.")                                                                                                     \
  X(kHandoffFull, "handoff_full", "the ring to another worker is full", "That worker is overloaded: see `workers`; add workers or move ports.")                                          \
  X(kPuntFull, "punt_full", "the ring to the control thread is full", "A flood of subscriptions or hellos: `links` shows from whom.")                                                      \
  X(kPuntLimit, "punt_limit", "a link sends more control frames than its rate allows", "The peer subscribes too fast, or is hostile.")                                                  \
  X(kTxFull, "tx_full", "the port's transmit queue is full", "The port is slower than the traffic: add queues or ports.")                                                                 \
  X(kPortDown, "port_down", "the port has no carrier", "Check the cable, the switch and `ports`.")                                                                                         \
  X(kUnresolved, "unresolved", "the next hop's link-layer address is not known", "Is the peer or the gateway up, and in the same VLAN? See `ports`.")                                        \
  X(kHeldTooMany, "held_too_many", "too many frames already wait for the next hop's link-layer address", "As for `unresolved`; the wait is normal for a moment at start.")                    \
  X(kStreamLength, "stream_length", "a length prefix below a frame header or above the limit; the stream is closed", "The sender is no slipway, or sends frames above `limits.frame_bytes`.") \
  X(kPartialTimeout, "partial_timeout", "a stream began a frame and did not finish it in time; the stream is closed", "The sender hangs or the network is broken.")                        \
  X(kSendFailed, "send_failed", "the socket refused the datagram", "See `last error` in `links`.")                                                                                       \
  X(kStopping, "stopping", "still held when the drain deadline of a stop passed", "Raise `stop.drain_ms` if receivers need longer.") \
  X(kEdgeStreamCut, "edge_stream_cut", "a message of an upstream application whose stream ended in the middle of it", "Normal when the sender is killed; otherwise see `last error` in `links`.") \
  X(kEdgeFlag, "edge_flag", "a gRPC message that is compressed, or whose flag byte is none; its stream is closed", "Switch compression off at the sender.") \
  X(kEdgeProtocol, "edge_protocol", "a connection of an upstream application that broke the rules of TLS, HTTP/2 or WebSocket; it is closed", "See `last error` in `links`: the sender, or what is between, is broken.") \
  X(kEdgeFlood, "edge_flood", "a connection of an upstream application that sends headers, settings, pings or resets faster than allowed; it is closed", "The sender is broken or hostile: `links` names it.")

// An enumerator of an enum class hides nothing, but g++ 12 says that kFrameVersion does.
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wshadow"
enum class DropReason : std::uint8_t {
#define SLIPWAY_X(enumerator, name, what, advice) enumerator,
  SLIPWAY_DROP_REASONS(SLIPWAY_X)
#undef SLIPWAY_X
#define SLIPWAY_X(enumerator, name, closes, what, advice) kEdge##enumerator,
  SLIPWAY_EDGE_FAULTS(SLIPWAY_X)
#undef SLIPWAY_X
};
#pragma GCC diagnostic pop

struct DropReasonText {
  std::string_view name;
  std::string_view what;
  std::string_view advice;
};

inline constexpr auto kDropReasonTexts = std::to_array<DropReasonText>({
#define SLIPWAY_X(enumerator, name, what, advice) {name, what, advice},
    SLIPWAY_DROP_REASONS(SLIPWAY_X)
#undef SLIPWAY_X
#define SLIPWAY_X(enumerator, name, closes, what, advice) {name, what, advice},
    SLIPWAY_EDGE_FAULTS(SLIPWAY_X)
#undef SLIPWAY_X
});
inline constexpr std::size_t kDropReasonCount = kDropReasonTexts.size();

constexpr const DropReasonText& drop_reason_text(DropReason reason) {
  return kDropReasonTexts[static_cast<std::size_t>(reason)];
}

}  // namespace slipway
