#pragma once
// Why a message of an upstream application (or a frame on its way to one) was refused. One list makes the enum, the
// stable name, what must happen to the stream, and the sentences for an operator.
//
// A fault closes the stream where upstream's own decoder would have (the bytes are not the protocol); everything else
// costs the one message, and nothing is sent back (upstream-node 10).

#include <array>
#include <cstdint>
#include <string_view>

namespace slipway {

// X(enumerator, stable_name, closes, what happened, what to do)
#define SLIPWAY_EDGE_FAULTS(X)                                                                                                          \
  X(kNone, "none", false, "nothing", "Nothing.")                                                                                     \
  /* Bytes that are no message. */                                                                                                   \
  X(kCutShort, "proto_cut_short", true, "a field runs past the end of the message", "The sender is broken.")                              \
  X(kBadNumber, "proto_bad_number", true, "a number longer than 64 bits", "The sender is broken.")                                        \
  X(kBadKey, "proto_bad_key", true, "a field number 0 or an unknown wire type", "The sender is broken, or does not speak protobuf.")      \
  X(kBadGroup, "proto_bad_group", true, "a group that ends where none began, or never", "The sender is broken.")                          \
  X(kTooDeep, "proto_too_deep", true, "too many groups inside one another", "The sender is broken or hostile.")                           \
  X(kWireType, "proto_wire_type", true, "a known field in another form", "The sender speaks SLIM before 2.0: upgrade it.")                \
  X(kNotUtf8, "proto_not_utf8", true, "a text that is not UTF-8", "The sender is broken.")                                                \
  X(kTooBig, "upstream_too_big", true, "a message above 4 MiB", "Send smaller messages.")                                                 \
  /* Messages that say too little (upstream-node 2.6). */                                                                            \
  X(kNoMessageType, "upstream_no_type", false, "a message of no known type", "Upgrade the older side.")                                   \
  X(kNoLinkType, "upstream_no_link_type", false, "a link message that says nothing", "Upgrade the older side.")                           \
  X(kLinkAgain, "upstream_link_again", false, "a negotiation on a link that is negotiated", "Harmless; it is ignored.")                   \
  X(kNoHeader, "upstream_no_header", false, "a message without SLIM header", "The sender is broken.")                                     \
  X(kNoSource, "upstream_no_source", false, "a header without source", "The sender is broken.")                                           \
  X(kNoSourceName, "upstream_no_source_name", false, "a source without its encoded name", "The sender is broken.")                        \
  X(kNoDestination, "upstream_no_destination", false, "a header without destination", "The sender is broken.")                            \
  X(kNoDestinationName, "upstream_no_destination_name", false, "a destination without its encoded name", "The sender is broken.")         \
  X(kNoSession, "upstream_no_session", false, "a publish without session header", "The sender is broken.")                                \
  /* Header MAC (upstream-node 4.5). */                                                                                              \
  X(kMacMissing, "mac_missing", false, "no header MAC on a link that asks for it", "Set `require_header_mac` alike on both sides.")       \
  X(kMacWithoutKey, "mac_without_key", false, "a header MAC on a link that has no key", "The sender is broken: both sides know whether they agreed on a key.") \
  X(kMacLength, "mac_length", false, "a header MAC that has not 32 bytes", "The sender is broken.")                                       \
  X(kMacWrong, "mac_wrong", false, "a wrong header MAC", "Something between the two ends changes messages, or the sender is broken.")     \
  /* Bounds. */                                                                                                                      \
  X(kControlTooBig, "upstream_control_too_big", false, "a subscription above 16 KiB", "Use a shorter identity token.")                    \
  X(kFrameTooBig, "upstream_frame_too_big", false, "a message whose frame would exceed 4 MiB", "Send smaller messages.")                      \
  X(kTooScattered, "upstream_too_scattered", false, "fields repeated or mixed beyond what any encoder writes", "The sender is broken or hostile.") \
  X(kNoRoom, "translate_no_room", false, "more pieces than one message may have", "The sender sends its messages in too many small parts.") \
  /* Frames on their way to an upstream application. */                                                                              \
  X(kFrameHeader, "edge_frame_header", false, "a frame whose header cannot be used", "The sender is no slipway, or another version.")     \
  X(kBodyType, "edge_body_type", false, "a frame whose body is of another kind than its header says", "The sender is broken.")            \
  X(kBodyRepeatsHeader, "edge_body_repeats_header", false, "a body with fields that belong into the frame header", "The sender is broken or hostile.") \
  X(kNotForUpstream, "edge_not_for_upstream", false, "a frame of native links only", "The node is broken: please report it.")             \
  X(kTooBigForUpstream, "edge_too_big", false, "a message that would exceed upstream's 4 MiB", "Send smaller messages.")

enum class EdgeFault : std::uint8_t {
#define SLIPWAY_X(enumerator, name, closes, what, advice) enumerator,
  SLIPWAY_EDGE_FAULTS(SLIPWAY_X)
#undef SLIPWAY_X
};

struct EdgeFaultText {
  std::string_view name;
  bool closes;               // the stream ends, as upstream's node ends it; otherwise only the message is lost
  std::string_view what;
  std::string_view advice;
};

inline constexpr auto kEdgeFaultTexts = std::to_array<EdgeFaultText>({
#define SLIPWAY_X(enumerator, name, closes, what, advice) {name, closes, what, advice},
    SLIPWAY_EDGE_FAULTS(SLIPWAY_X)
#undef SLIPWAY_X
});
inline constexpr std::size_t kEdgeFaultCount = kEdgeFaultTexts.size();

constexpr const EdgeFaultText& edge_fault_text(EdgeFault fault) { return kEdgeFaultTexts[static_cast<std::size_t>(fault)]; }

}  // namespace slipway
