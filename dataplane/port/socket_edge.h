#pragma once
// One upstream application or node on a stream of a socket worker: its transport and translation. Inner part of the
// engine (socket_edge.cc, socket_edge_datapath.cc). Owner thread only.
//
// To the rest of the engine it is a stream like any other: what comes in are native frames, what is queued to go out are
// native frames. Between the queue and the socket lies the transport: a frame that went in there is still held, and
// counted sent when its bytes were taken by the kernel, unless it was short and copied.

#include <array>
#include <cstdint>
#include <cstring>
#include <memory>
#include <string>

#include "edge/encoded_cache.h"
#include "edge/mac_batch.h"
#include "edge/mac_memo.h"
#include "edge/proto_plain.h"
#include "edge/translate.h"
#include "edge/transport.h"
#include "port/edge_open.h"
#include "port/socket_engine_impl.h"

namespace slipway {

inline constexpr std::uint32_t kEdgeNames = 32;     // connections whose last names are remembered
inline constexpr std::uint32_t kEdgePieces = 4096;  // of one message: 4 MiB in DATA frames of 1 KiB

// Messages of one connection's events, read and their MACs compared ahead, as many as are hashed side by side. Small ones that came
// in parts are put together for that.
struct EdgeAhead {
  static constexpr std::uint32_t kEvents = 64;  // looked at: among whole messages lie parts of others
  static constexpr std::uint8_t kNone = 0xFF;
  static constexpr std::uint32_t kTooMany = 0xFFFFFFFF;
  std::uint64_t fed = 0;    // EdgeStream::fed of whose events these are
  std::uint32_t first = 0;  // the first event
  std::array<std::uint8_t, kEvents> slot;  // of each event's message below
  std::uint32_t events = 0;
  std::uint32_t count = 0;

  std::uint32_t joined_bytes = kTooMany;  // of the message under way; kTooMany: none, or it is not small
  std::array<std::byte, kMbufDataBytes> joined;

  // A message of which this is a part is known to fit one mbuf.
  [[nodiscard]] static bool is_small(const TransportEvent& event) { return event.message_bytes != 0 && event.message_bytes <= kMbufDataBytes; }
  // Takes the next part of a message in several. Returns all of it if it is small and this ends it, else nothing.
  [[nodiscard]] Piece join(const TransportEvent& event) {
    if (event.begin) {
      joined_bytes = is_small(event) ? 0 : kTooMany;
    }
    if (joined_bytes > joined.size() || event.bytes.size() > joined.size() - joined_bytes) {
      joined_bytes = kTooMany;
      return {};
    }
    if (!event.bytes.empty()) {
      std::memcpy(joined.data() + joined_bytes, event.bytes.data(), event.bytes.size());
    }
    joined_bytes += static_cast<std::uint32_t>(event.bytes.size());
    return event.end ? Piece(joined).first(joined_bytes) : Piece();
  }
  [[nodiscard]] bool holds(std::uint64_t of, std::uint32_t event) const { return fed == of && event - first < events && slot[event - first] != kNone; }
  std::array<EdgeFault, kMacBatch> fault;
  std::array<bool, kMacBatch> compare;
  std::array<std::uint64_t, kMacBatch> alike;   // PlainShape::version of a message that was read by its shape; 0: it was not
  std::array<std::uint32_t, kMacBatch> blob_at;  // ... and PlainShape::blob_at
  std::array<std::uint64_t, kMacBatch> serial;  // of EncodedCache; 0: it cannot go on as it came
  std::array<std::array<std::byte, kHeaderMacBytes>, kMacBatch> expected;
  std::array<std::array<std::byte, kHeaderMacBytes>, kMacBatch> received;
  std::array<UpstreamMessage, kMacBatch> message;
};

// The frame of a message of some shape: others of this shape differ in the same fields.
struct EdgeFrameShape {
  std::uint64_t version = 0;  // PlainShape::version
  std::uint32_t bytes = 0;    // of the frame; it is one piece, in one mbuf
  std::uint32_t identity_end = 0;
  std::array<std::byte, PlainShape::kMostBytes> frame;  // up to the blob, which ends it
};

// A frame on its way into the transport.
struct EdgeOutgoing {
  rte_mbuf* frame;
  rte_mbuf* scratch;
  EdgeFault fault;
  std::span<const Piece> pieces;
};

// What the edges of one worker share.
struct EdgeWorker {
  TransportMemory memory{kEdgeMemoryBytes};
  TransportEvents spare_events;                 // room that is lent to the connection that is being read
  MacMemo memo;
  MacBatch batch{&memo};
  EncodedCache encoded;
  std::array<PlainNames, kEdgeNames> names;     // of connections by their link
  std::array<EdgeFrameShape, kEdgeNames> frames;  // of what `names` has
  std::uint64_t name_numbers = 0;               // PlainNames::number: given so far
  std::uint64_t feeds = 0;
  EdgeAhead ahead;
  std::array<EdgeOutgoing, kMacBatch> outgoing;
  std::array<Piece, kEdgePieces> input;         // of the message or body that is being translated
  std::array<Piece, kEdgePieces + 16 * kMacBatch> output;
  std::array<iovec, kEdgePieces + 16 * kMacBatch> vectors;
};

struct EdgeStream {
  SocketEngine::Impl* engine = nullptr;
  LinkIndex link = kNoLink;
  bool client = false;
  bool strict = true;
  bool tcp = false;
  bool up = false;          // its link is: negotiated
  bool greeted = false;     // the first message has gone to the control thread; the next waits until the link is up
  bool assembled = false;   // the last part of the message under way is in `partial`
  bool again = false;       // the transport holds bytes that no new input announces
  bool ending = false;      // its stream is over: what is to be said is sent, then the socket is closed
  bool finishing = false;   // asked to close: when the queue is empty the stream is ended with this status
  bool finish_sent = false;
  bool dropping = false;    // being destroyed: what comes back was not sent
  std::uint8_t finish_status = 0;
  std::uint8_t finish_text = 0;
  std::int32_t channel = -1;            // the stream that carries the link
  std::uint32_t room_piece = kNoPiece;  // where decrypted bytes lie that events refer to
  std::uint32_t next_event = 0;         // of events: not yet taken
  TransportEvents events;
  std::uint64_t fed = 0;                // changes with each feed(): which events these are
  MacHabit mac_in;
  MacHabit mac_out;
  std::optional<EdgeKey> key;
  std::string text;                     // why it ended
  std::unique_ptr<Transport> transport; // last: goes first, and gives frames back

  static void on_release(void* edge, std::uint64_t token);
};

}  // namespace slipway
