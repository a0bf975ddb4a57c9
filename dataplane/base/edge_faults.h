#pragma once
// Why a message of an upstream application (or a frame on its way to one) was refused. One list makes the codec's enum
// (edge/proto_fault.h) and a drop reason for each (drop_reason.h): a fault has one name and one pair of sentences wherever it is seen.
//
// A fault closes the stream where upstream's own decoder would have (the bytes are not the protocol); everything else
// costs the one message, and nothing is sent back (upstream-node 10).

// X(enumerator without k, stable_name, closes, what happened, what to do)
#define SLIPWAY_EDGE_FAULTS(X) \
  /* Bytes that are no message. */ \
  X(CutShort, "edge_proto_cut_short", true, "a field runs past the end of the message", "The sender is broken.") \
  X(BadNumber, "edge_proto_bad_number", true, "a number longer than 64 bits", "The sender is broken.") \
  X(BadKey, "edge_proto_bad_key", true, "a field number 0 or an unknown wire type", "The sender is broken, or does not speak protobuf.") \
  X(BadGroup, "edge_proto_bad_group", true, "a group that ends where none began, or never", "The sender is broken.") \
  X(TooDeep, "edge_proto_too_deep", true, "too many groups inside one another", "The sender is broken or hostile.") \
  X(WireType, "edge_proto_wire_type", true, "a known field in another form", "The sender speaks SLIM before 2.0: upgrade it.") \
  X(NotUtf8, "edge_proto_not_utf8", true, "a text that is not UTF-8", "The sender is broken.") \
  X(TooBig, "edge_too_big", true, "a message above 4 MiB", "Send smaller messages.") \
  /* Messages that say too little (upstream-node 2.6). */ \
  X(NoMessageType, "edge_no_type", false, "a message of no known type", "Upgrade the older side.") \
  X(NoLinkType, "edge_no_link_type", false, "a link message that says nothing", "Upgrade the older side.") \
  X(LinkAgain, "edge_link_again", false, "a negotiation on a link that is negotiated", "Harmless; it is ignored.") \
  X(NoHeader, "edge_no_header", false, "a message without SLIM header", "The sender is broken.") \
  X(NoSource, "edge_no_source", false, "a header without source", "The sender is broken.") \
  X(NoSourceName, "edge_no_source_name", false, "a source without its encoded name", "The sender is broken.") \
  X(NoDestination, "edge_no_destination", false, "a header without destination", "The sender is broken.") \
  X(NoDestinationName, "edge_no_destination_name", false, "a destination without its encoded name", "The sender is broken.") \
  X(NoSession, "edge_no_session", false, "a publish without session header", "The sender is broken.") \
  /* Header MAC (upstream-node 4.5). */ \
  X(MacMissing, "edge_mac_missing", false, "no header MAC on a link that asks for it", "Set `require_header_mac` alike on both sides.") \
  X(MacWithoutKey, "edge_mac_without_key", false, "a header MAC on a link that has no key", "The sender is broken: both sides know whether they agreed on a key.") \
  X(MacLength, "edge_mac_length", false, "a header MAC that has not 32 bytes", "The sender is broken.") \
  X(MacWrong, "edge_mac_wrong", false, "a wrong header MAC", "Something between the two ends changes messages, or the sender is broken.") \
  /* Bounds. */ \
  X(ControlTooBig, "edge_control_too_big", false, "a subscription above 16 KiB", "Use a shorter identity token.") \
  X(FrameTooBig, "edge_frame_too_big", false, "a message whose frame would exceed 4 MiB", "Send smaller messages.") \
  X(TooScattered, "edge_too_scattered", false, "fields repeated or mixed beyond what any encoder writes", "The sender is broken or hostile.") \
  X(NoRoom, "edge_too_many_pieces", false, "more pieces than one message may have", "The sender sends its messages in too many small parts.") \
  /* Frames on their way to an upstream application. */ \
  X(FrameHeader, "edge_frame_header", false, "a frame whose header cannot be used", "The sender is no slipway, or another version.") \
  X(BodyType, "edge_body_type", false, "a frame whose body is of another kind than its header says", "The sender is broken.") \
  X(BodyRepeatsHeader, "edge_body_repeats_header", false, "a body with fields that belong into the frame header", "The sender is broken or hostile.") \
  X(NotForUpstream, "edge_not_for_upstream", false, "a frame of native links only", "The node is broken: please report it.") \
  X(TooBigForUpstream, "edge_outgoing_too_big", false, "a message that would exceed upstream's 4 MiB", "Send smaller messages.")
