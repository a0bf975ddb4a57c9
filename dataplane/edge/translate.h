#pragma once
// Upstream messages to native frames and back, without copying what is large: the result is a list of pieces, some in the
// caller's scratch memory, the others in the message that came in.
//
// Both ways are lossless: fields that nobody here knows survive, Content and metadata stay byte for byte, presence of
// fields is kept. Two differences are meant: a TTL over 255 is carried as 255, and what belongs to one hop (recv_from,
// forward_to, incoming_conn, header_mac) ends at the edge. Nothing allocates: workers may call all of it.

#include <cstddef>
#include <cstdint>
#include <expected>
#include <optional>
#include <span>

#include "edge/mac.h"
#include "edge/proto_message.h"

namespace slipway {

// Memory that a translation may use. What comes before the contents is copied into the scratch as long as it lasts, and small
// contents and metadata (up to kEdgeContentCopyBytes) too: small messages become one piece, others a front and what follows it. It pays
// to give the room of a buffer.
struct TranslateRoom {
  std::span<std::byte> scratch;  // at least kTranslateScratchBytes
  std::span<Piece> pieces;       // as many as the input has, and 16 more, are always enough for ordinary messages
};

struct Translated {
  std::size_t piece_count = 0;    // of room.pieces; the first begins at the first byte of the scratch
  std::size_t bytes = 0;          // of all pieces
  std::size_t scratch_bytes = 0;  // of the scratch that are used
  std::byte* mac = nullptr;       // in the scratch: the header MAC, or where the caller puts it
  std::size_t covered_bytes = 0;  // see EgressFields::covered
};

// A native frame, header and body, from a message that parse_message read and validate() accepted. The hop limit is the
// one that came: counting it down is the worker's.
[[nodiscard]] std::expected<Translated, EdgeFault> write_frame(const UpstreamMessage& message, const Pieces& bytes,
                                                               const TranslateRoom& room);

// What the node writes into a message that it hands on (upstream-node 5.8).
struct EgressFields {
  const HeaderMac* mac = nullptr;              // of the link it goes to; null: none is written (peers, links without key)
  std::optional<std::uint64_t> incoming_conn;  // the node's number for the link that it came from
  MacMemo* memo = nullptr;                     // of the worker; null: none
  // Not empty: the caller computes the MAC (mac_batch.h), of what is written here; Translated::covered_bytes says how much that
  // is. 0: the header was too long for that, and its MAC was computed at once.
  std::span<std::byte> covered;
};

// An upstream message from the body that parse_body read. For several receivers the body is read once and this is called
// for each.
[[nodiscard]] std::expected<Translated, EdgeFault> write_upstream(const UpstreamMessage& message, const Pieces& body,
                                                                  const EgressFields& fields, const TranslateRoom& room);

// One message from an upstream stream, all steps in upstream's order: parse, header MAC, rules, frame. Link messages are
// kLinkAgain: those of a greeting link go to the negotiation instead.
[[nodiscard]] std::expected<Translated, EdgeFault> frame_of_message(const Pieces& bytes, const MacRules& rules,
                                                                    const TranslateRoom& room);

// One frame for an upstream stream. `header` points at the frame's header; the body are the bytes behind it.
[[nodiscard]] std::expected<Translated, EdgeFault> message_of_frame(const std::byte* header, const Pieces& body,
                                                                    const EgressFields& fields, const TranslateRoom& room);

}  // namespace slipway
