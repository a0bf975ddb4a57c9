// Upstream connections, per piece received and per send: transport events to frames, frames to messages.

#include <algorithm>
#include <atomic>
#include <cstring>
#include <optional>

#include "edge/grpc_status.h"
#include "edge/proto_plain.h"
#include "port/mbuf.h"
#include "port/socket_edge.h"

namespace slipway {
namespace {

// Why a stream ended, with what the peer said where it gave a status.
std::string end_text(const Transport& transport, const TransportEvent& event) {
  const StreamHead* head = transport.head(event.stream);
  std::string text = transport_fault_text(event.fault);
  if (event.fault == TransportFault::kPeerStatus && event.grpc_status >= 0) {
    text += ", " + grpc_end_text(event.grpc_status, head == nullptr ? std::string_view() : std::string_view(head->grpc_message));
  }
  return text;
}

constexpr std::uint32_t kPrefix = kStreamPrefixBytes;

// Where the end of a stream or a connection is the fault of what came over it.
std::optional<DropReason> reason_of(TransportFault fault) {
  switch (fault) {
    case TransportFault::kMessageTooLarge:
      return DropReason::kEdgeTooBig;
    case TransportFault::kBadMessageFlag:
      return DropReason::kEdgeFlag;
    case TransportFault::kCutMessage:
      return DropReason::kEdgeStreamCut;
    case TransportFault::kFlood:
      return DropReason::kEdgeFlood;
    case TransportFault::kHttp2Protocol:
    case TransportFault::kTlsProtocol:
    case TransportFault::kWebSocketProtocol:
    case TransportFault::kWebSocketText:
      return DropReason::kEdgeProtocol;
    default:
      return std::nullopt;
  }
}

// Whether a message may go on with another ttl and MAC and all else as it came.
bool goes_on(const UpstreamMessage& m, const PlainMarks& marks) {
  return m.kind == MessageKind::kPublish && marks.ttl_at != 0 && !m.recv_from && !m.forward_to &&
         (!m.incoming_conn || marks.incoming_conn_at != 0) && m.bytes_of(KeptLevel::kVariant) != 0;
}

// A place for a message that may, with all but `covered` filled in; null: its front is too large or in several parts. Contents and
// metadata, which end a message, end its frame too.
EncodedMessage* make_front(EncodedCache& encoded, const UpstreamMessage& m, const PlainMarks& marks, const Pieces& bytes) {
  std::size_t front = bytes.size();
  for (const KeptRun& run : m.runs()) {
    if (run.level == KeptLevel::kVariant) {
      front = run.range.at;
    }
  }
  const Piece first = bytes.pieces()[0];
  if (front > std::min(kMbufDataBytes, first.size())) {
    return nullptr;
  }
  EncodedMessage& entry = encoded.make(front);
  std::memcpy(entry.front, first.data(), front);
  entry.tail_bytes = static_cast<std::uint32_t>(bytes.size() - front);
  entry.mac_at = m.header_mac->at;
  entry.ttl_at = marks.ttl_at;
  if (marks.incoming_conn_at != 0) {
    entry.front[marks.incoming_conn_at] = std::byte{0};  // of the hop before
  }
  return &entry;
}

void keep_covered(PlainNames& names, std::size_t bytes, std::span<const std::byte> covered, std::uint64_t number) {
  if (bytes > names.covered.size()) {
    names.bytes = 0;
    return;
  }
  std::memcpy(names.covered.data(), covered.data(), bytes);
  names.covered_bytes = static_cast<std::uint32_t>(bytes);
  names.number = number;
}

// In parts: of the whole at once the compiler makes one instruction that takes long to begin.
void clear(UpstreamMessage& message) {
  static_assert(sizeof(UpstreamValues) == 280, "a new value is to be cleared too");
  const UpstreamValues empty;
  const auto clear_all = [&](auto... field) { ((message.*field = empty.*field), ...); };
  using V = UpstreamValues;
  clear_all(&V::source, &V::destination, &V::identity, &V::version, &V::fanout, &V::ttl, &V::recv_from, &V::forward_to, &V::incoming_conn, &V::error,
            &V::header_mac, &V::has_header_fields, &V::kind, &V::has_header, &V::has_session, &V::has_session_fields, &V::session_in_body,
            &V::session_type, &V::session_message_type, &V::session_id, &V::message_id, &V::subscription_id, &V::success, &V::ack_error,
            &V::has_link_type);
  message.run_count = 0;
  message.level_bytes = {};
}

// In constant time.
bool same_mac(const std::byte* a, const std::byte* b) {
  std::uint64_t difference = 0;
  for (std::size_t i = 0; i < kHeaderMacBytes; i += 8) {
    difference |= load_le<std::uint64_t>(a + i) ^ load_le<std::uint64_t>(b + i);
  }
  return difference == 0;
}

// Bytes of messages that were taken: their windows open once for all that come in a row.
class Taken {
 public:
  explicit Taken(EdgeStream& edge) : edge_(edge) {}
  ~Taken() { release(); }
  Taken(const Taken&) = delete;
  Taken& operator=(const Taken&) = delete;
  void add(std::int32_t stream, std::size_t bytes) {
    if (stream != stream_) {
      release();
      stream_ = stream;
    }
    bytes_ += bytes;
  }

 private:
  void release() {
    if (bytes_ != 0 && edge_.transport != nullptr) {
      edge_.transport->release(stream_, bytes_);
    }
    bytes_ = 0;
  }

  EdgeStream& edge_;
  std::int32_t stream_ = -1;
  std::size_t bytes_ = 0;
};

bool lies_in(const rte_mbuf* mbuf, const std::byte* at) {
  const auto* begin = rte_pktmbuf_mtod(mbuf, const std::byte*);
  return at >= begin && at < begin + mbuf->data_len;
}

void append(rte_mbuf* frame, rte_mbuf*& last, rte_mbuf* segment) {
  last->next = segment;
  last = segment;
  ++frame->nb_segs;
  frame->pkt_len += segment->data_len;
}

}  // namespace

// --- in ----------------------------------------------------------------------------------------------------------------

SocketEngine::Impl::PieceEnd SocketEngine::Impl::receive_edge(Stream& stream, SlabPiece& piece, std::uint32_t number,
                                                              std::span<rte_mbuf*> out, std::uint32_t& count) {
  EdgeStream& edge = *stream.edge;
  for (;;) {
    const PieceEnd end = take_edge_events(stream, out, count);
    if (end != PieceEnd::kTaken) {
      return end;
    }
    if (edge.room_piece != kNoPiece) {
      slab_->drop_own(edge.room_piece);
      edge.room_piece = kNoPiece;
    }
    if (edge.ending || edge.transport == nullptr) {
      piece.begin = piece.end;
      return PieceEnd::kTaken;
    }
    if (piece.begin == piece.end && !edge.again) {
      break;
    }
    std::span<std::byte> room;
    if (edge.transport->needs_room()) {
      edge.room_piece = slab_->take();
      if (edge.room_piece == kNoPiece) {
        return PieceEnd::kNoBuffer;
      }
      rte_mbuf_ext_refcnt_set(&(*slab_)[edge.room_piece].shared, 1);
      room = {slab_->data(edge.room_piece), kSlabPieceBytes};
    }
    if (edge.events.capacity() == 0) {
      edge.events.swap(edges_->spare_events);
    }
    const std::span<const std::byte> bytes{slab_->data(number) + piece.begin, piece.end - piece.begin};
    edge.fed = ++edges_->feeds;
    const FeedResult fed = edge.transport->feed(bytes, room, edge_time(edge));
    piece.begin += static_cast<std::uint32_t>(fed.used);
    edge.again = fed.again;
    if (!room.empty()) {
      (*slab_)[edge.room_piece].dense = fed.room_used >= kDenseBytes && slab_->free_count() >= slab_->size() / 4;
    }
  }
  if (edge.transport->wants_send()) {
    dirty_.push(streams_.data(), stream.link);
  }
  if (edge.tcp && piece.end < kSlabPieceBytes) {
    acknowledge_soon(stream);
  }
  return PieceEnd::kTaken;
}

// Events that came of anything but received bytes. Messages among them wait for the next piece's turn.
void SocketEngine::Impl::take_edge_events_aside(Stream& stream) {
  std::uint32_t none = 0;
  (void)take_edge_events(stream, {}, none);
}

SocketEngine::Impl::PieceEnd SocketEngine::Impl::take_edge_events(Stream& stream, std::span<rte_mbuf*> out, std::uint32_t& count) {
  EdgeStream& edge = *stream.edge;
  Taken taken(edge);
  while (edge.next_event < edge.events.size()) {
    const TransportEvent event = edge.events[edge.next_event];
    switch (event.kind) {
      case TransportEventKind::kReady:
        if (edge.client) {
          (void)edge.transport->open_stream();
        }
        break;
      case TransportEventKind::kStreamOpen:
        edge.channel = event.stream;
        tell_edge_open(stream);
        break;
      case TransportEventKind::kMessage:
        if (event.stream == edge.channel && !edge.ending) {
          const PieceEnd end = take_edge_message(stream, edge.events[edge.next_event], out, count);
          if (end != PieceEnd::kTaken) {
            return end;
          }
        }
        taken.add(event.stream, event.bytes.size());
        break;
      case TransportEventKind::kStreamClosed:
        if (event.fault == TransportFault::kAsked) {
          break;  // what is queued is still sent
        }
        if (event.stream == edge.channel || edge.client) {
          count_edge_end(stream, event.fault);
          const bool plain = event.fault == TransportFault::kNone || event.fault == TransportFault::kPeerReset;
          end_edge(stream, plain ? CloseReason::kPeerClosed : CloseReason::kEdge, end_text(*edge.transport, event));
        } else if (edge.text.empty()) {
          edge.text = transport_fault_text(event.fault);  // of a request that was refused: should nothing better come
        }
        break;
      case TransportEventKind::kHalfClosed:
      case TransportEventKind::kGoaway:
        break;
      case TransportEventKind::kFailed:
        count_edge_end(stream, event.fault);
        end_edge(stream, event.fault == TransportFault::kPeerClosed ? CloseReason::kPeerClosed : CloseReason::kEdge,
                 edge.transport->error().text);
        break;
    }
    ++edge.next_event;
  }
  edge.events.clear();
  edge.next_event = 0;
  edge.fed = ++edges_->feeds;  // nobody takes later events for these
  if (edges_->spare_events.capacity() == 0) {
    edge.events.swap(edges_->spare_events);
  }
  return PieceEnd::kTaken;
}

void SocketEngine::Impl::count_edge_end(const Stream& stream, TransportFault fault) {
  if (const auto reason = reason_of(fault); reason && !stream.edge->ending) {
    count_broken_frame(stream, *reason);
  }
}

// One part of a message, often the whole. Returns kTaken, or why it must be given again. event: where it lies, not to be looked at once
// others may have come.
SocketEngine::Impl::PieceEnd SocketEngine::Impl::take_edge_message(Stream& stream, const TransportEvent& event,
                                                                   std::span<rte_mbuf*> out, std::uint32_t& count) {
  EdgeStream& edge = *stream.edge;
  if (stream.life != StreamLife::kOpen) {
    return PieceEnd::kTaken;
  }
  if (event.end && count == out.size()) {
    return PieceEnd::kOutFull;
  }
  if (!refill_mbufs()) {
    return PieceEnd::kNoBuffer;
  }
  if (edge.greeted && !edge.up) {
    return PieceEnd::kControlWaits;
  }
  const bool whole = event.begin && event.end;
  if (!whole && !edge.assembled) {
    if (!budget_.has(event.bytes.size()) && !stream.doomed) {
      return PieceEnd::kNoBudget;
    }
    add_edge_part(stream, event);
    edge.assembled = event.end;
  }
  if (!event.end) {
    return PieceEnd::kTaken;
  }
  std::size_t pieces = 0;
  if (whole) {
    edges_->input[pieces++] = event.bytes;
  } else {
    for (const rte_mbuf* m = stream.partial; m != nullptr && pieces < kEdgePieces; m = m->next) {
      if (m->data_len != 0) {  // the first is empty where the first part is referenced
        edges_->input[pieces++] = {rte_pktmbuf_mtod(m, const std::byte*), m->data_len};
      }
    }
  }
  const Pieces message({edges_->input.data(), pieces});
  rte_mbuf* frame = nullptr;
  std::uint64_t serial = 0;
  const PieceEnd end = edge.up ? frame_of_edge_message(stream, message, whole, frame, serial) : greeting_of_edge(stream, message, frame);
  if (end != PieceEnd::kTaken) {
    return end;
  }
  if (frame != nullptr) {
    const std::uint32_t bytes = frame->pkt_len;
    store_le(rte_pktmbuf_mtod(frame, std::byte*) - kPrefix, bytes);
    frame_meta(frame) = {.in_link = stream.link, .frame_bytes = bytes, .pausable = true, .encoded_serial = serial};
    out[count++] = frame;
    counters_.frames_in.add(1);
    counters_.bytes_in.add(bytes);
    link_counters_[stream.link].frames_in.add(1);
    link_counters_[stream.link].bytes_in.add(bytes);
  }
  edge.assembled = false;
  if (!whole) {
    free_partial(stream);
  }
  return PieceEnd::kTaken;
}

// The next part of a message that came in several: small ones, and those of small messages, are copied, larger ones of well filled
// pieces referenced.
void SocketEngine::Impl::add_edge_part(Stream& stream, const TransportEvent& event) {
  std::span<const std::byte> bytes = event.bytes;
  if (event.begin) {
    stream.partial_since_ns = now_ns_;
    partials_.push(streams_.data(), stream.link);
    stream.partial = take_mbuf();
    stream.partial->data_off = 0;
    stream.partial_last = stream.partial;
  }
  budget_.force(bytes.size());
  counters_.partial_bytes.add(bytes.size());
  stream.partial_bytes += static_cast<std::uint32_t>(bytes.size());
  SlabPiece& piece = (*slab_)[slab_->number_of(bytes.data())];
  if (!piece.dense || bytes.size() < kReferenceBytes || EdgeAhead::is_small(event)) {
    append_copy(stream.partial, stream.partial_last, bytes.data(), static_cast<std::uint32_t>(bytes.size()));
    return;
  }
  rte_mbuf* segment = take_mbuf();
  refer_to_piece(segment, bytes);
  append(stream.partial, stream.partial_last, segment);
}

void SocketEngine::Impl::refer_to_piece(rte_mbuf* mbuf, std::span<const std::byte> bytes) {
  const std::uint32_t number = slab_->number_of(bytes.data());
  SlabPiece& piece = (*slab_)[number];
  refer(mbuf, piece, number, const_cast<std::byte*>(bytes.data()), static_cast<std::uint32_t>(bytes.size()));
  rte_mbuf_ext_refcnt_update(&piece.shared, 1);
}

// The first message of a connection, whatever it is, for the control thread: a frame of kind link with the message as body.
SocketEngine::Impl::PieceEnd SocketEngine::Impl::greeting_of_edge(Stream& stream, const Pieces& message, rte_mbuf*& frame) {
  EdgeStream& edge = *stream.edge;
  if (message.size() > kMaxNegotiationBytes) {
    count_broken_frame(stream, DropReason::kControlTooBig);
    refuse_edge(stream, "a first message above 16 KiB, which is no negotiation");
    return PieceEnd::kTaken;
  }
  edge.greeted = true;
  frame = take_mbuf();
  rte_mbuf* last = frame;
  store_header(rte_pktmbuf_mtod(frame, std::byte*), {.kind = FrameKind::kLink, .hop_limit = 0, .fanout = 0,
                                                     .destination = {.id = {0, 0}}, .source = {.id = {0, 0}}, .flags = frame_flag::kNoNames});
  frame->data_len = kFrameHeaderBytes;
  frame->pkt_len = kFrameHeaderBytes;
  message.each({0, static_cast<std::uint32_t>(message.size())}, [&](Piece part) {
    append_copy(frame, last, part.data(), static_cast<std::uint32_t>(part.size()));
    return true;
  });
  return PieceEnd::kTaken;
}

MacRules SocketEngine::Impl::edge_rules(const EdgeStream& edge) const {
  return {.mac = edge.key && edge.key->mac ? &*edge.key->mac : nullptr,
          .checked = !edge.key || edge.key->checked,
          .strict = edge.strict,
          .memo = &edges_->memo};
}

// Reads messages from the next event on, which ends `next`, and compares their MACs together.
void SocketEngine::Impl::read_edge_ahead(EdgeStream& edge, const Pieces& next) {
  EdgeAhead& ahead = edges_->ahead;
  const MacRules rules = edge_rules(edge);
  ahead.fed = edge.fed;
  ahead.first = edge.next_event;
  ahead.events = 1;
  ahead.count = 0;
  ahead.joined_bytes = EdgeAhead::kTooMany;
  ahead.slot[0] = 0;
  read_edge_message(edge, rules, next);
  for (std::size_t at = edge.next_event + 1; at < edge.events.size() && ahead.count < kMacBatch && ahead.events < EdgeAhead::kEvents; ++at) {
    const TransportEvent& event = edge.events[at];
    std::uint8_t& slot = ahead.slot[ahead.events++];
    slot = EdgeAhead::kNone;
    if (event.kind != TransportEventKind::kMessage || event.stream != edge.channel) {
      continue;
    }
    const bool whole = event.begin && event.end;
    const Piece bytes = whole ? event.bytes : ahead.join(event);
    if (event.end && (whole || !bytes.empty())) {
      slot = static_cast<std::uint8_t>(ahead.count);
      read_edge_message(edge, rules, Pieces({&bytes, 1}));
    }
  }
  compare_edge_macs();
}

// Its MAC is left to the batch.
void SocketEngine::Impl::read_edge_message(EdgeStream& edge, const MacRules& rules, const Pieces& bytes) {
  EdgeAhead& ahead = edges_->ahead;
  const std::uint32_t i = ahead.count++;
  UpstreamMessage& message = ahead.message[i];
  clear(message);
  ahead.serial[i] = 0;
  ahead.alike[i] = 0;
  ahead.compare[i] = false;
  ahead.fault[i] = EdgeFault::kNone;
  PlainMarks marks;
  PlainNames& names = edges_->names[edge.link % kEdgeNames];
  const bool plain = !bytes.pieces().empty() && read_plain(bytes.pieces()[0], bytes.size(), &message, &marks, &names);
  if (!plain) {
    marks = {};
    clear(message);
    ahead.fault[i] = parse_message(bytes, &message);
  } else if (names.alike && bytes.pieces().size() == 1) {
    ahead.alike[i] = names.shape.version;
    ahead.blob_at[i] = names.shape.blob_at;
  }
  if (ahead.fault[i] == EdgeFault::kNone) {
    ahead.fault[i] = check_mac_presence(message, rules, &ahead.compare[i]);
  }
  if (!ahead.compare[i]) {
    return;
  }
  bytes.copy(*message.header_mac, ahead.received[i].data());
  std::span<std::byte> room = edges_->batch.room(*rules.mac);
  EncodedMessage* const entry = !room.empty() && plain && goes_on(message, marks) ? make_front(edges_->encoded, message, marks, bytes) : nullptr;
  if (entry != nullptr) {
    room = {entry->covered, kMacHeaderBytes};
  }
  const std::span known = plain && names.same ? std::span(names.covered).first(names.covered_bytes) : std::span<std::byte>();
  const std::size_t covered = room.empty() ? 0 : HeaderMac::covered(message, bytes, room.first<kMacHeaderBytes>(), known);
  if (covered == 0) {
    edges_->batch.add(*rules.mac, message, bytes, ahead.expected[i].data(), edge.mac_in);
    return;
  }
  if (plain && names.same && names.covered_bytes == 0) {
    keep_covered(names, HeaderMac::covered_names(message, bytes), room, ++edges_->name_numbers);
  }
  if (entry == nullptr) {
    edges_->batch.add_written(*rules.mac, covered, ahead.expected[i].data(), edge.mac_in);
    return;
  }
  entry->names = known.empty() ? 0 : names.number;
  edges_->encoded.keep(*entry, covered);
  ahead.serial[i] = entry->serial;
  edges_->batch.add_in_place(*rules.mac, entry->covered, covered, ahead.expected[i].data(), edge.mac_in, entry->names, true);
}

void SocketEngine::Impl::compare_edge_macs() {
  EdgeAhead& ahead = edges_->ahead;
  edges_->batch.run();
  for (std::uint32_t i = 0; i < ahead.count; ++i) {
    if (ahead.compare[i] && !same_mac(ahead.expected[i].data(), ahead.received[i].data())) {
      ahead.fault[i] = EdgeFault::kMacWrong;
    } else if (ahead.fault[i] == EdgeFault::kNone) {
      ahead.fault[i] = validate(ahead.message[i]);
    }
  }
}

// A message of a link that is up, as a native frame; none when it was dropped, which is counted here.
SocketEngine::Impl::PieceEnd SocketEngine::Impl::frame_of_edge_message(Stream& stream, const Pieces& message, bool whole,
                                                                       rte_mbuf*& frame, std::uint64_t& serial) {
  EdgeStream& edge = *stream.edge;
  const EdgeAhead& ahead = edges_->ahead;
  if (!ahead.holds(edge.fed, edge.next_event)) {
    read_edge_ahead(edge, message);
  }
  const std::uint32_t slot = ahead.slot[edge.next_event - ahead.first];
  rte_mbuf* const first = take_mbuf();
  const std::span<std::byte> scratch{rte_pktmbuf_mtod(first, std::byte*), kMbufDataBytes};
  const EdgeFault fault = ahead.fault[slot];
  if (fault == EdgeFault::kNone && ahead.alike[slot] != 0 && message.pieces().size() == 1) {
    if (const std::uint32_t bytes = frame_like_last(edge, slot, message.pieces()[0], scratch.data()); bytes != 0) {
      first->data_len = static_cast<std::uint16_t>(bytes);
      first->pkt_len = bytes;
      frame = first;
      serial = ahead.serial[slot];
      return PieceEnd::kTaken;
    }
  }
  const auto translated = fault != EdgeFault::kNone ? std::expected<Translated, EdgeFault>(std::unexpected(fault))
                                                    : write_frame(ahead.message[slot], message, {scratch, edges_->output});
  serial = ahead.serial[slot];
  if (!translated) {
    stash_[stash_count_++] = first;
    const EdgeFaultText& text = edge_fault_text(translated.error());
    count_broken_frame(stream, drop_reason_of(translated.error()));
    if (text.closes) {
      refuse_edge(stream, text.what);
    }
    return PieceEnd::kTaken;
  }
  const bool control = frame_kind(scratch.data()) != static_cast<std::uint8_t>(FrameKind::kPublish);
  if (control && holds_control(stream)) {
    stash_[stash_count_++] = first;
    return PieceEnd::kControlWaits;
  }
  const std::span<const Piece> pieces{edges_->output.data(), translated->piece_count};
  if (ahead.alike[slot] != 0 && pieces.size() == 1) {
    remember_frame(edge, slot, message.size(), pieces[0]);
  }
  first->data_len = static_cast<std::uint16_t>(pieces.front().size());
  first->pkt_len = first->data_len;
  if (!add_frame_body(stream, pieces.subspan(1), whole, first)) {
    rte_pktmbuf_free(first);
    return PieceEnd::kNoBuffer;
  }
  frame = first;
  return PieceEnd::kTaken;
}

// The frame of a message that is like another; returns its bytes; 0: that one's is not known.
std::uint32_t SocketEngine::Impl::frame_like_last(const EdgeStream& edge, std::uint32_t slot, Piece message, std::byte* to) {
  const EdgeFrameShape& shape = edges_->frames[edge.link % kEdgeNames];
  if (shape.version != edges_->ahead.alike[slot]) {
    return 0;
  }
  const UpstreamMessage& m = edges_->ahead.message[slot];
  const std::size_t blob_in = edges_->ahead.blob_at[slot];
  const std::size_t blob = message.size() - blob_in;
  const std::size_t identity_at = shape.identity_end - m.identity.size;
  const std::size_t blob_at = shape.bytes - blob;
  std::memcpy(to, shape.frame.data(), identity_at);
  std::memcpy(to + identity_at, message.data() + m.identity.at, m.identity.size);
  std::memcpy(to + shape.identity_end, shape.frame.data() + shape.identity_end, blob_at - shape.identity_end);
  std::memcpy(to + blob_at, message.data() + blob_in, blob);
  set_frame_hop_limit(to, static_cast<std::uint8_t>(m.ttl));
  store_le(to + frame_offset::kMessageId, m.message_id);
  return shape.bytes;
}

// Behind the identity lie, in a frame without more, what is kept of version, header and contents (write_frame).
void SocketEngine::Impl::remember_frame(const EdgeStream& edge, std::uint32_t slot, std::size_t message_bytes, Piece frame) {
  EdgeFrameShape& shape = edges_->frames[edge.link % kEdgeNames];
  const UpstreamMessage& m = edges_->ahead.message[slot];
  const std::size_t end = frame.size() - m.bytes_of(KeptLevel::kVariant) - m.bytes_of(KeptLevel::kHeader) - m.bytes_of(KeptLevel::kVersion);
  const std::size_t blob_at = frame.size() - (message_bytes - edges_->ahead.blob_at[slot]);
  if (blob_at > shape.frame.size() || end < kFrameHeaderBytes + m.identity.size) {
    return;
  }
  shape.version = edges_->ahead.alike[slot];
  shape.bytes = static_cast<std::uint32_t>(frame.size());
  shape.identity_end = static_cast<std::uint32_t>(end);
  std::memcpy(shape.frame.data(), frame.data(), blob_at);
}

// What does not lie at the start of the frame's first mbuf: in its scratch, in the slab, or in the partial message.
bool SocketEngine::Impl::add_frame_body(Stream& stream, std::span<const Piece> pieces, bool whole, rte_mbuf* frame) {
  rte_mbuf* last = frame;
  rte_mbuf* source = whole ? nullptr : stream.partial;
  const auto* scratch = rte_pktmbuf_mtod(frame, const std::byte*);
  for (const Piece& piece : pieces) {
    const bool in_scratch = piece.data() >= scratch && piece.data() < scratch + kMbufDataBytes;
    if (!in_scratch && !whole) {
      while (!lies_in(source, piece.data())) {  // pieces come in the order of the message
        source = source->next;
      }
    }
    const bool referable = !in_scratch && (!whole || (piece.size() >= kReferenceBytes && (*slab_)[slab_->number_of(piece.data())].dense));
    rte_mbuf* const segment = take_mbuf();
    if (segment == nullptr) {
      return false;
    }
    if (referable && whole) {
      refer_to_piece(segment, piece);
      append(frame, last, segment);
    } else if (referable) {
      rte_pktmbuf_attach(segment, source);
      segment->data_off = static_cast<std::uint16_t>(piece.data() - static_cast<const std::byte*>(segment->buf_addr));
      segment->data_len = static_cast<std::uint16_t>(piece.size());
      segment->pkt_len = segment->data_len;
      segment->next = nullptr;
      segment->nb_segs = 1;
      append(frame, last, segment);
    } else {
      segment->data_off = 0;
      append(frame, last, segment);
      append_copy(frame, last, piece.data(), static_cast<std::uint32_t>(piece.size()));
    }
  }
  return true;
}

// --- out ---------------------------------------------------------------------------------------------------------------

// Moves frames into the transport as far as it should hold any, then sends what it frames.
void SocketEngine::Impl::start_edge_send(Stream& stream) {
  EdgeStream& edge = *stream.edge;
  if (stream.send_busy || stream.life == StreamLife::kClosing || edge.transport == nullptr) {
    return;
  }
  Transport& transport = *edge.transport;
  while (!stream.queue.empty() && edge.channel >= 0 && !edge.ending && transport.pending_bytes() < kEdgePendingBytes) {
    if (!write_edge_frames(stream)) {
      break;
    }
  }
  if (edge.finishing && !edge.finish_sent && (stream.queue.empty() || edge.channel < 0)) {
    edge.finish_sent = true;
    if (edge.channel >= 0) {
      transport.finish_stream(edge.channel, edge.finish_status, kEdgeCloseTexts[edge.finish_text]);
    } else {
      transport.close(edge_time(edge));
    }
  }
  if (gather_used_ + kMaxGather > kGatherArena || messages_used_ == kMessageArena || io_uring_sq_space_left(&ring_) == 0) {
    submit();
  }
  iovec* const vectors = gather_.data() + gather_used_;
  const std::size_t used = transport.gather({vectors, kMaxGather});
  take_edge_events_aside(stream);
  if (used == 0) {
    if (stream.life == StreamLife::kDraining && edge_is_idle(stream)) {
      drained(stream);
    }
    return;
  }
  msghdr& message = messages_[messages_used_++];
  message = {};
  message.msg_iov = vectors;
  message.msg_iovlen = used;
  gather_used_ += static_cast<std::uint32_t>(used);
  io_uring_sqe* sqe = get_sqe();
  io_uring_prep_sendmsg(sqe, stream.fd, &message, MSG_NOSIGNAL);
  io_uring_sqe_set_data64(sqe, make_user_data(SocketOp::kSend, stream.link));
  stream.send_zero_copy = false;
  stream.send_busy = true;
  ++operations_;
}

// Whether nothing is left that could be sent now or later.
bool SocketEngine::Impl::edge_is_idle(const Stream& stream) const {
  const EdgeStream& edge = *stream.edge;
  const bool frames = !edge.ending && edge.channel >= 0 && !stream.queue.empty();
  return !frames && !(edge.finishing && !edge.finish_sent) && !edge.transport->wants_send() &&
         (edge.ending || edge.transport->pending_bytes() == 0);
}

// Queued frames into the transport, or out of the queue with a reason, as many as are signed together. False: not now.
bool SocketEngine::Impl::write_edge_frames(Stream& stream) {
  EdgeWorker& worker = *edges_;
  std::size_t bytes = stream.edge->transport->pending_bytes();
  std::size_t count = 0;
  std::size_t used = 0;
  while (count < kMacBatch && !stream.queue.empty() && bytes < kEdgePendingBytes) {
    rte_mbuf* const frame = stream.queue.front();
    if (used + frame->nb_segs + 16 > worker.output.size()) {
      break;
    }
    if (!refill_mbufs()) {
      out_of_mbufs_ = true;
      break;
    }
    stream.queue.pop(chunks_);
    EdgeOutgoing& out = worker.outgoing[count++];
    out = {.frame = frame, .scratch = take_mbuf(), .fault = EdgeFault::kNone, .pieces = {}};
    encode_edge_frame(*stream.edge, out, std::span(worker.output).subspan(used));
    used += out.pieces.size();
    bytes += frame_meta(frame).frame_bytes;
  }
  worker.batch.run();
  std::size_t copied = 0;
  for (std::size_t i = 0; i < count; ++i) {
    if (give_edge_frame(stream, worker.outgoing[i])) {
      worker.outgoing[copied++] = worker.outgoing[i];
    }
  }
  settle_edge_copies(stream, std::span(worker.outgoing).first(copied));
  return count != 0;
}

// What a frame becomes on this link; its MAC comes with the batch.
void SocketEngine::Impl::encode_edge_frame(EdgeStream& edge, EdgeOutgoing& out, std::span<Piece> room) {
  EdgeWorker& worker = *edges_;
  const auto* header = rte_pktmbuf_mtod(out.frame, const std::byte*);
  const std::span<std::byte> scratch{rte_pktmbuf_mtod(out.scratch, std::byte*), kMbufDataBytes};
  const HeaderMac* const mac = edge.key && edge.key->checked && edge.key->mac ? &*edge.key->mac : nullptr;
  const std::atomic_ref serial(frame_meta(out.frame).encoded_serial);
  if (mac != nullptr) {
    if (EncodedMessage* found = worker.encoded.find(serial.load(std::memory_order_relaxed)); found != nullptr) {
      if (send_as_kept(edge, *mac, *found, out, scratch, room)) {
        return;
      }
    }
  }
  std::size_t count = 0;
  std::size_t skip = kFrameHeaderBytes;
  for (const rte_mbuf* m = out.frame; m != nullptr && count < kEdgePieces; m = m->next) {
    if (m->data_len > skip) {
      worker.input[count++] = {rte_pktmbuf_mtod(m, const std::byte*) + skip, m->data_len - skip};
    }
    skip = 0;
  }
  const Pieces body({worker.input.data(), count});
  if (frame_kind(header) == static_cast<std::uint8_t>(FrameKind::kLink)) {
    std::ranges::copy(body.pieces(), room.begin());
    out.pieces = room.first(count);
    return;
  }
  const std::span<std::byte> covered = mac != nullptr ? worker.batch.room(*mac) : std::span<std::byte>();
  const auto translated = message_of_frame(header, body, {.mac = mac, .incoming_conn = {}, .memo = &worker.memo, .covered = covered}, {scratch, room});
  if (!translated) {
    out.fault = translated.error();
    return;
  }
  out.pieces = room.first(translated->piece_count);
  if (translated->covered_bytes == 0) {
    return;
  }
  // Others will want the same, if it has other references now.
  if (rte_mbuf_refcnt_read(out.frame) > 1 && translated->piece_count == 1 && frame_fanout(header) != 1) {
    EncodedMessage& entry = worker.encoded.make(translated->bytes);
    std::memcpy(entry.covered, covered.data(), translated->covered_bytes);
    std::memcpy(entry.front, scratch.data(), translated->bytes);
    entry.mac_at = static_cast<std::uint32_t>(translated->mac - scratch.data());
    worker.encoded.keep(entry, translated->covered_bytes);
    serial.store(entry.serial, std::memory_order_relaxed);
  }
  worker.batch.add_written(*mac, translated->covered_bytes, translated->mac, edge.mac_out);
}

// False: it cannot be used. Short messages, of which the transport takes a copy, are made ready where they are kept.
bool SocketEngine::Impl::send_as_kept(EdgeStream& edge, const HeaderMac& mac, EncodedMessage& kept, EdgeOutgoing& out,
                                      std::span<std::byte> scratch, std::span<Piece> room) {
  const std::uint8_t hop_limit = frame_hop_limit(rte_pktmbuf_mtod(out.frame, const std::byte*));
  if (edges_->batch.room(mac).empty() || (kept.ttl_at != 0 && hop_limit >= 0x80)) {
    return false;
  }
  std::byte* front = kept.front;
  if (kept.front_bytes + kept.tail_bytes > kEdgeCopyBytes) {
    front = scratch.data();
    std::memcpy(front, kept.front, kept.front_bytes);
  }
  if (kept.ttl_at != 0) {
    front[kept.ttl_at] = static_cast<std::byte>(hop_limit);
    store_le(kept.covered + kept.covered_bytes - sizeof(std::uint32_t), std::uint32_t{hop_limit});
  }
  edges_->batch.add_in_place(mac, kept.covered, kept.covered_bytes, front + kept.mac_at, edge.mac_out, kept.names, false);
  std::size_t count = 0;
  room[count++] = {front, kept.front_bytes};
  std::size_t skip = kept.tail_bytes == 0 ? ~std::size_t{0} : frame_meta(out.frame).frame_bytes - kept.tail_bytes;
  for (const rte_mbuf* m = out.frame; m != nullptr && kept.tail_bytes != 0; m = m->next) {
    if (m->data_len > skip) {
      room[count++] = {rte_pktmbuf_mtod(m, const std::byte*) + skip, m->data_len - skip};
      skip = 0;
    } else {
      skip -= m->data_len;
    }
  }
  out.pieces = room.first(count);
  return true;
}

// True: the transport has a copy, and the frame is to be settled.
bool SocketEngine::Impl::give_edge_frame(Stream& stream, const EdgeOutgoing& out) {
  EdgeStream& edge = *stream.edge;
  const std::uint32_t bytes = frame_meta(out.frame).frame_bytes;
  WriteResult written = WriteResult::kClosed;
  if (out.fault == EdgeFault::kNone) {
    for (std::size_t i = 0; i < out.pieces.size(); ++i) {
      edges_->vectors[i] = {.iov_base = const_cast<std::byte*>(out.pieces[i].data()), .iov_len = out.pieces[i].size()};
    }
    written = edge.transport->write_message(edge.channel, {edges_->vectors.data(), out.pieces.size()}, reinterpret_cast<std::uint64_t>(out.scratch));
    if (written == WriteResult::kQueued) {
      out.scratch->next = out.frame;  // comes back, and goes, with it
      frame_meta(out.scratch).frame_bytes = bytes;
      return false;
    }
  }
  stash_[stash_count_++] = out.scratch;
  if (written == WriteResult::kCopied) {
    return true;
  }
  settle_edge_frames(stream, 1, bytes);
  const DropReason reason = out.fault != EdgeFault::kNone ? drop_reason_of(out.fault)
                            : written == WriteResult::kTooLarge ? DropReason::kEdgeTooBig
                                                                : DropReason::kLinkGone;
  drop_copy(stream.link, out.frame, reason);
  return false;
}

void SocketEngine::Impl::settle_edge_copies(Stream& stream, std::span<const EdgeOutgoing> sent) {
  std::uint64_t bytes = 0;
  Run run;
  for (const EdgeOutgoing& out : sent) {
    bytes += frame_meta(out.frame).frame_bytes;
    release_sent(out.frame, run);
  }
  end_run(run);
  settle_edge_frames(stream, static_cast<std::uint32_t>(sent.size()), bytes);
  count_edge_sent(stream, sent.size(), bytes);
}

// Frames that were held are no longer.
void SocketEngine::Impl::settle_edge_frames(Stream& stream, std::uint32_t frames, std::uint64_t frame_bytes) {
  const std::uint64_t gone = frame_bytes + std::uint64_t{frames} * kPrefix;
  stream.queued_bytes -= gone;
  stream.queued_frames -= frames;
  budget_.give(gone);
  count_held(stream.link, -static_cast<std::int64_t>(frames), -static_cast<std::int64_t>(frame_bytes));
}

void SocketEngine::Impl::count_edge_sent(const Stream& stream, std::uint64_t frames, std::uint64_t frame_bytes) {
  counters_.sent.add(frames);
  counters_.bytes_sent.add(frame_bytes);
  link_counters_[stream.link].frames_sent.add(frames);
  link_counters_[stream.link].bytes_sent.add(frame_bytes);
}

// The transport no longer looks at a frame: it was sent, or thrown away.
void SocketEngine::Impl::edge_released(EdgeStream& edge, rte_mbuf* scratch) {
  Stream& stream = streams_[edge.link];
  const std::uint32_t bytes = frame_meta(scratch).frame_bytes;
  settle_edge_frames(stream, 1, bytes);
  if (edge.dropping || edge.ending) {
    drop_copy(stream.link, scratch, stream.drop_reason);
    return;
  }
  count_edge_sent(stream, 1, bytes);
  rte_pktmbuf_free(scratch);
}

void SocketEngine::Impl::on_edge_send(Stream& stream, const Completion& cqe) {
  EdgeStream& edge = *stream.edge;
  stream.send_busy = false;
  --operations_;
  if (cqe.res > 0) {
    stream.sent_total += static_cast<std::uint64_t>(cqe.res);
    edge.transport->consumed(static_cast<std::size_t>(cqe.res));
    if (stream.congested && below_low_water(stream)) [[unlikely]] {
      relieve(stream);
    }
  } else if (cqe.res < 0 && cqe.res != -EINTR && cqe.res != -EAGAIN && cqe.res != -ECANCELED) {
    doom(stream, CloseReason::kError, -cqe.res);
  }
  if (stream.life == StreamLife::kClosing) {
    return try_finish(stream);
  }
  if (stream.doomed) {
    return;
  }
  if (!edge_is_idle(stream)) {
    dirty_.push(streams_.data(), stream.link);
  } else if (stream.life == StreamLife::kDraining) {
    drained(stream);
  }
}

}  // namespace slipway
