// Upstream connections, per piece received and per send: transport events to frames, frames to messages.

#include <algorithm>
#include <cstring>

#include "port/mbuf.h"
#include "port/socket_edge.h"

namespace slipway {
namespace {

constexpr std::uint32_t kPrefix = kStreamPrefixBytes;

DropReason reason_of(EdgeFault fault) {
  switch (fault) {
    case EdgeFault::kMacMissing:
    case EdgeFault::kMacWithoutKey:
    case EdgeFault::kMacLength:
    case EdgeFault::kMacWrong:
      return DropReason::kEdgeMac;
    case EdgeFault::kLinkAgain:
      return DropReason::kEdgeLinkAgain;
    case EdgeFault::kTooBig:
    case EdgeFault::kControlTooBig:
    case EdgeFault::kFrameTooBig:
    case EdgeFault::kTooScattered:
    case EdgeFault::kNoRoom:
    case EdgeFault::kTooBigForUpstream:
      return DropReason::kEdgeTooBig;
    case EdgeFault::kFrameHeader:
    case EdgeFault::kBodyType:
    case EdgeFault::kBodyRepeatsHeader:
    case EdgeFault::kNotForUpstream:
      return DropReason::kEdgeFrame;
    default:
      return edge_fault_text(fault).closes ? DropReason::kEdgeMalformed : DropReason::kEdgeInvalid;
  }
}

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
    acknowledge_now(stream);
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
          const PieceEnd end = take_edge_message(stream, event, out, count);
          if (end != PieceEnd::kTaken) {
            return end;
          }
        }
        edge.transport->release(event.stream, event.bytes.size());
        break;
      case TransportEventKind::kStreamClosed:
        if (event.fault == TransportFault::kAsked) {
          break;  // what is queued is still sent
        }
        if (event.stream == edge.channel || edge.client) {
          const bool plain = event.fault == TransportFault::kNone || event.fault == TransportFault::kPeerReset;
          end_edge(stream, plain ? CloseReason::kPeerClosed : CloseReason::kEdge, transport_fault_text(event.fault));
        } else if (edge.text.empty()) {
          edge.text = transport_fault_text(event.fault);  // of a request that was refused: should nothing better come
        }
        break;
      case TransportEventKind::kGoaway:
        break;
      case TransportEventKind::kFailed:
        end_edge(stream, event.fault == TransportFault::kPeerClosed ? CloseReason::kPeerClosed : CloseReason::kEdge,
                 edge.transport->error().text);
        break;
    }
    ++edge.next_event;
  }
  edge.events.clear();
  edge.next_event = 0;
  if (edges_->spare_events.capacity() == 0) {
    edge.events.swap(edges_->spare_events);
  }
  return PieceEnd::kTaken;
}

// One part of a message, often the whole. Returns kTaken, or why it must be given again.
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
      edges_->input[pieces++] = {rte_pktmbuf_mtod(m, const std::byte*), m->data_len};
    }
  }
  const Pieces message({edges_->input.data(), pieces});
  rte_mbuf* frame = nullptr;
  const PieceEnd end = edge.up ? frame_of_edge_message(stream, message, whole, frame) : greeting_of_edge(stream, message, frame);
  if (end != PieceEnd::kTaken) {
    return end;
  }
  if (frame != nullptr) {
    const std::uint32_t bytes = frame->pkt_len;
    store_le(rte_pktmbuf_mtod(frame, std::byte*) - kPrefix, bytes);
    frame_meta(frame) = {.in_link = stream.link, .frame_bytes = bytes, .pausable = true};
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

// The next part of a message that came in several: small ones are copied, larger ones of well filled pieces referenced.
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
  if (!piece.dense || bytes.size() < kReferenceBytes) {
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

// A message of a link that is up, as a native frame; none when it was dropped, which is counted here.
SocketEngine::Impl::PieceEnd SocketEngine::Impl::frame_of_edge_message(Stream& stream, const Pieces& message, bool whole,
                                                                       rte_mbuf*& frame) {
  EdgeStream& edge = *stream.edge;
  rte_mbuf* const first = take_mbuf();
  const std::span<std::byte> scratch{rte_pktmbuf_mtod(first, std::byte*), kMbufDataBytes};
  const MacRules rules{.mac = edge.key && edge.key->mac ? &*edge.key->mac : nullptr,
                       .checked = !edge.key || edge.key->checked,
                       .strict = edge.strict,
                       .memo = &edges_->memo};
  const auto translated = frame_of_message(message, rules, {scratch, edges_->output});
  if (!translated) {
    stash_[stash_count_++] = first;
    const EdgeFaultText& text = edge_fault_text(translated.error());
    count_broken_frame(stream, reason_of(translated.error()));
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
  first->data_len = static_cast<std::uint16_t>(pieces.front().size());
  first->pkt_len = first->data_len;
  if (!add_frame_body(stream, pieces.subspan(1), whole, first)) {
    rte_pktmbuf_free(first);
    return PieceEnd::kNoBuffer;
  }
  frame = first;
  return PieceEnd::kTaken;
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
    if (!write_edge_frame(stream)) {
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

// The first queued frame into the transport, or out of the queue with a reason. False: not now.
bool SocketEngine::Impl::write_edge_frame(Stream& stream) {
  EdgeStream& edge = *stream.edge;
  rte_mbuf* const frame = stream.queue.front();
  if (!refill_mbufs()) {
    out_of_mbufs_ = true;
    return false;
  }
  rte_mbuf* const scratch = take_mbuf();
  const auto* header = rte_pktmbuf_mtod(frame, const std::byte*);
  std::size_t count = 0;
  std::size_t skip = kFrameHeaderBytes;
  for (const rte_mbuf* m = frame; m != nullptr && count < kEdgePieces; m = m->next) {
    if (m->data_len > skip) {
      edges_->input[count++] = {rte_pktmbuf_mtod(m, const std::byte*) + skip, m->data_len - skip};
    }
    skip = 0;
  }
  const Pieces body({edges_->input.data(), count});
  const bool link = frame_kind(header) == static_cast<std::uint8_t>(FrameKind::kLink);
  std::span<const Piece> pieces = body.pieces();
  EdgeFault fault = EdgeFault::kNone;
  if (!link) {
    const bool signs = edge.key && edge.key->checked && edge.key->mac;
    const auto translated = message_of_frame(header, body, {.mac = signs ? &*edge.key->mac : nullptr, .incoming_conn = {}, .memo = &edges_->memo},
                                             {{rte_pktmbuf_mtod(scratch, std::byte*), kMbufDataBytes}, edges_->output});
    if (translated) {
      pieces = {edges_->output.data(), translated->piece_count};
    } else {
      fault = translated.error();
    }
  }
  const std::uint32_t bytes = frame_meta(frame).frame_bytes;
  stream.queue.pop(chunks_);
  WriteResult written = WriteResult::kClosed;
  if (fault == EdgeFault::kNone) {
    for (std::size_t i = 0; i < pieces.size(); ++i) {
      edges_->vectors[i] = {.iov_base = const_cast<std::byte*>(pieces[i].data()), .iov_len = pieces[i].size()};
    }
    written = edge.transport->write_message(edge.channel, {edges_->vectors.data(), pieces.size()}, reinterpret_cast<std::uint64_t>(scratch));
    if (written == WriteResult::kQueued) {
      scratch->next = frame;  // comes back, and goes, with it
      frame_meta(scratch).frame_bytes = bytes;
      return true;
    }
  }
  stash_[stash_count_++] = scratch;
  settle_edge_frame(stream, bytes);
  if (written == WriteResult::kCopied) {
    count_edge_sent(stream, bytes);
    rte_pktmbuf_free(frame);
  } else {
    const DropReason reason = fault != EdgeFault::kNone ? reason_of(fault)
                              : written == WriteResult::kTooLarge ? DropReason::kEdgeTooBig
                                                                  : DropReason::kLinkGone;
    drop_copy(stream.link, frame, reason);
  }
  return true;
}

// A frame that was held is no longer.
void SocketEngine::Impl::settle_edge_frame(Stream& stream, std::uint32_t frame_bytes) {
  stream.queued_bytes -= frame_bytes + kPrefix;
  --stream.queued_frames;
  budget_.give(frame_bytes + kPrefix);
  count_held(stream.link, -1, -static_cast<std::int64_t>(frame_bytes));
}

void SocketEngine::Impl::count_edge_sent(const Stream& stream, std::uint32_t frame_bytes) {
  counters_.sent.add(1);
  counters_.bytes_sent.add(frame_bytes);
  link_counters_[stream.link].frames_sent.add(1);
  link_counters_[stream.link].bytes_sent.add(frame_bytes);
}

// The transport no longer looks at a frame: it was sent, or thrown away.
void SocketEngine::Impl::edge_released(EdgeStream& edge, rte_mbuf* scratch) {
  Stream& stream = streams_[edge.link];
  const std::uint32_t bytes = frame_meta(scratch).frame_bytes;
  settle_edge_frame(stream, bytes);
  if (edge.dropping || edge.ending) {
    drop_copy(stream.link, scratch, stream.drop_reason);
    return;
  }
  count_edge_sent(stream, bytes);
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
