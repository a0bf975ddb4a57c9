// Streams in: pieces of the receive slab become frames.
//
// The costs beside the stages are of bench/sockets under perf, 64-byte payloads (208-byte frames), 2-vCPU guest, November
// 2026. The whole engine came to 115 ns a copy at 1:1 (a bare relay of bytes: 65) and 50 to 60 at 1:16 (20 to 35).

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "port/mbuf.h"
#include "port/socket_engine_impl.h"

namespace slipway {
namespace {

constexpr std::uint32_t kPrefix = kStreamPrefixBytes;
constexpr std::uint32_t kHead = kPrefix + kFrameHeaderBytes;  // must lie in the first segment

}  // namespace

void SocketEngine::Impl::on_recv(Stream& stream, const Completion& cqe) {
  if ((cqe.flags & IORING_CQE_F_MORE) == 0) {
    stream.recv_armed = false;
    stream.recv_cancelled = false;
    --operations_;
  }
  std::uint32_t number = kNoPiece;
  if ((cqe.flags & IORING_CQE_F_BUFFER) != 0) {
    number = cqe.flags >> IORING_CQE_BUFFER_SHIFT;
    --lent_;
    if (cqe.res <= 0 || stream.life != StreamLife::kOpen) {
      slab_->put(number);
      number = kNoPiece;
    }
  }
  if (number != kNoPiece) {
    SlabPiece& piece = (*slab_)[number];
    piece.begin = 0;
    piece.end = static_cast<std::uint32_t>(cqe.res);
    // Frames may refer to a piece that is well filled while pieces are not short; else little data would pin much.
    piece.dense = piece.end >= kDenseBytes && slab_->free_count() >= slab_->size() / 4;
    piece.next = kNoPiece;
    rte_mbuf_ext_refcnt_set(&piece.shared, 1);
    if (stream.received_head == kNoPiece) {
      stream.received_head = number;
    } else {
      (*slab_)[stream.received_tail].next = number;
    }
    stream.received_tail = number;
    ++stream.received_count;
    if (!stream.held) {
      ++backlog_;
      ready_.push(streams_.data(), stream.link);
    }
  } else if (cqe.res == 0) {
    doom(stream, CloseReason::kPeerClosed, 0);
  } else if (cqe.res < 0 && cqe.res != -ENOBUFS && cqe.res != -ECANCELED && cqe.res != -EINTR && cqe.res != -EAGAIN) {
    doom(stream, CloseReason::kError, -cqe.res);
  }
  if (!stream.recv_armed) {
    if (stream.life == StreamLife::kClosing) {
      try_finish(stream);
    } else if (stream.doomed && stream.received_head == kNoPiece) {
      shut(stream, stream.close_reason, stream.close_error);
    } else {
      want_read(stream);
    }
  }
}

// Arms the receives that are wanted, as long as the kernel has pieces to put bytes into.
void SocketEngine::Impl::arm_streams() {
  while (!arming_.empty() && lent_ > 0) {
    Stream& stream = streams_[arming_.front()];
    arming_.remove(streams_.data(), stream.link);
    if (stream.recv_armed) {
      continue;
    }
    io_uring_sqe* sqe = get_sqe();
    io_uring_prep_recv_multishot(sqe, stream.fd, nullptr, 0, 0);
    sqe->flags |= IOSQE_BUFFER_SELECT;
    sqe->buf_group = 0;
    io_uring_sqe_set_data64(sqe, make_user_data(SocketOp::kRecv, stream.link));
    stream.recv_armed = true;
    ++operations_;
  }
}

// Before each piece: as many mbufs as it can need, so that nothing stops half-way through one.
bool SocketEngine::Impl::refill_mbufs() {
  if (stash_count_ >= kMbufsPerPiece) [[likely]] {
    return true;
  }
  constexpr std::uint32_t kMost = kMbufStash - kMbufsPerPiece;
  if (rte_pktmbuf_alloc_bulk(options_.pool, stash_.data() + stash_count_, kMost / 2) == 0) {
    stash_count_ += kMost / 2;
    return true;
  }
  if (rte_pktmbuf_alloc_bulk(options_.pool, stash_.data() + stash_count_, kMbufsPerPiece) == 0) {
    stash_count_ += kMbufsPerPiece;
    return true;
  }
  return false;
}

std::uint32_t SocketEngine::Impl::poll(std::uint64_t now_ns, std::span<rte_mbuf*> out) {
  assert_owner();
  now_ns_ = now_ns;
  // Here and not with their last frames: what the caller told the control thread of those comes before kLinkClosed.
  while (!ending_.empty()) {
    Stream& stream = streams_[ending_.front()];
    shut(stream, stream.close_reason, stream.close_error);
  }
  reap();
  if ((*ring_.sq.kflags & (IORING_SQ_TASKRUN | IORING_SQ_CQ_OVERFLOW)) != 0 && ready_.empty() && !leaves_rest()) {
    counters_.syscalls.add(1);
    io_uring_get_events(&ring_);
    reap();
  }
  if (congestion_.cleared() != cleared_seen_) {
    resume_streams();
  }
  if (now_ns >= next_tick_ns_) {
    tick(now_ns);
  }
  out_of_mbufs_ = false;
  std::uint32_t count = 0;
  if (received_begin_ != received_end_) {
    // Streams and datagrams take turns when both have something.
    count = receive_datagrams(ready_.empty() ? out : out.first((out.size() + 1) / 2));
  }
  if (!ready_.empty()) {
    count += receive_streams(out.subspan(count));
  }
  if (datagrams_unarmed_) {
    arm_datagrams();
  }
  lend_pieces();
  arm_streams();
  return count;
}

// One piece of each stream in turn.
std::uint32_t SocketEngine::Impl::receive_streams(std::span<rte_mbuf*> out) {
  std::uint32_t count = 0;
  while (!ready_.empty() && count < out.size()) {
    Stream& stream = streams_[ready_.front()];
    const std::uint32_t number = stream.received_head;
    const PieceEnd end = stream.edge == nullptr ? receive_piece(stream, (*slab_)[number], number, out, count)
                                                : receive_edge(stream, (*slab_)[number], number, out, count);
    if (end == PieceEnd::kOutFull) {
      break;
    }
    if (end == PieceEnd::kNoBuffer) {
      out_of_mbufs_ = true;
      break;
    }
    ready_.remove(streams_.data(), stream.link);
    if (end == PieceEnd::kNoBudget) {
      hold_received(stream);
      pause_stream(stream, kNoLink);
      continue;
    }
    if (end == PieceEnd::kControlWaits) {
      wait_for_control(stream);
      continue;
    }
    if (end == PieceEnd::kBad) {
      count_broken_frame(stream, DropReason::kStreamLength);
      shut(stream, CloseReason::kStreamLength, 0);
      continue;
    }
    pop_received(stream);
    if (stream.received_head != kNoPiece) {
      ready_.push(streams_.data(), stream.link);
    } else if (stream.doomed && !stream.recv_armed) {
      ending_.push(streams_.data(), stream.link);
    }
  }
  return count;
}

// cost: 9 ns a frame referenced at 1:1; about 33 when a fan-out of 16 has emptied the cache meanwhile
SocketEngine::Impl::PieceEnd SocketEngine::Impl::receive_piece(Stream& stream, SlabPiece& piece, std::uint32_t number,
                                                               std::span<rte_mbuf*> out, std::uint32_t& count) {
  std::byte* const data = slab_->data(number);
  std::uint32_t references = 0;
  std::uint64_t frames = 0;
  std::uint64_t bytes = 0;
  const bool hold_control = holds_control(stream);
  PieceEnd end = PieceEnd::kTaken;
  while (piece.begin < piece.end) {
    if (count == out.size()) {
      end = PieceEnd::kOutFull;
      break;
    }
    if (!refill_mbufs()) {
      end = PieceEnd::kNoBuffer;
      break;
    }
    if ((stream.partial != nullptr || piece.end - piece.begin < kPrefix) && !budget_.has(piece.end - piece.begin) && !stream.doomed) {
      end = PieceEnd::kNoBudget;
      break;
    }
    std::byte* const at = data + piece.begin;
    if (hold_control && next_is_control(stream, at, piece.end - piece.begin)) [[unlikely]] {
      end = PieceEnd::kControlWaits;
      break;
    }
    const DeframeStep step = deframe_next(stream.deframe, at, piece.end - piece.begin, stream.max_frame_bytes);
    if (step.kind == DeframeKind::kBadLength) {
      end = PieceEnd::kBad;
      break;
    }
    piece.begin += step.bytes;
    rte_mbuf* frame = nullptr;
    if (step.kind == DeframeKind::kFrame) [[likely]] {
      frame = whole_frame(piece, number, at, step.bytes, references);
    } else {
      add_to_partial(stream, piece, number, at, step, references);
      if (!step.last) {
        continue;
      }
      frame = finish_partial(stream);
    }
    frame_meta(frame) = {.in_link = stream.link, .frame_bytes = step.frame_bytes, .pausable = true};
    out[count++] = frame;
    ++frames;
    bytes += step.frame_bytes;
  }
  if (references > 0) {
    // Ours is still held, and no frame has left yet.
    rte_mbuf_ext_refcnt_update(&piece.shared, static_cast<std::int16_t>(references));
  }
  counters_.frames_in.add(frames);
  counters_.bytes_in.add(bytes);
  link_counters_[stream.link].frames_in.add(frames);
  link_counters_[stream.link].bytes_in.add(bytes);
  return end;
}

// Whether the frame that these bytes begin or go on with is for the control thread. As long as the byte that tells is
// not there, no: should that frame find no room in the end, it is dropped and counted.
bool SocketEngine::Impl::next_is_control(const Stream& stream, const std::byte* at, std::uint32_t bytes) {
  constexpr std::uint32_t kKindAt = kPrefix + 1;
  const std::uint32_t taken = stream.deframe.taken;
  if (taken <= kKindAt && kKindAt - taken >= bytes) {
    return false;
  }
  const std::byte kind = taken > kKindAt ? *rte_pktmbuf_mtod_offset(stream.partial, const std::byte*, kKindAt) : at[kKindAt - taken];
  return kind != static_cast<std::byte>(FrameKind::kPublish);
}

rte_mbuf* SocketEngine::Impl::whole_frame(SlabPiece& piece, std::uint32_t number, std::byte* at, std::uint32_t bytes,
                                          std::uint32_t& references) {
  rte_mbuf* frame = stash_[--stash_count_];
  if (piece.dense) {
    refer(frame, piece, number, at, bytes);
    ++references;
  } else {
    frame->data_off = RTE_PKTMBUF_HEADROOM - kPrefix;
    const std::uint32_t first = std::min<std::uint32_t>(bytes, kMbufDataBytes + kPrefix);
    std::memcpy(rte_pktmbuf_mtod(frame, std::byte*), at, first);
    frame->data_len = static_cast<std::uint16_t>(first);
    frame->pkt_len = first;
    rte_mbuf* last = frame;
    for (std::uint32_t done = first; done < bytes;) {
      rte_mbuf* more = stash_[--stash_count_];
      more->data_off = 0;
      const std::uint32_t part = std::min<std::uint32_t>(bytes - done, kMbufDataBytes);
      std::memcpy(rte_pktmbuf_mtod(more, std::byte*), at + done, part);
      more->data_len = static_cast<std::uint16_t>(part);
      last->next = more;
      last = more;
      ++frame->nb_segs;
      frame->pkt_len += part;
      done += part;
    }
  }
  frame->data_off = static_cast<std::uint16_t>(frame->data_off + kPrefix);
  frame->data_len = static_cast<std::uint16_t>(frame->data_len - kPrefix);
  frame->pkt_len -= kPrefix;
  return frame;
}

// The next bytes of a frame that spans pieces. Copied as long as the header is not whole in the first segment;
// after that referenced when that is worth it.
void SocketEngine::Impl::add_to_partial(Stream& stream, SlabPiece& piece, std::uint32_t number, std::byte* at,
                                        const DeframeStep& step, std::uint32_t& references) {
  std::uint32_t bytes = step.bytes;
  budget_.force(bytes);
  counters_.partial_bytes.add(bytes);
  stream.partial_bytes += bytes;
  if (step.first) {
    stream.partial_since_ns = now_ns_;
    partials_.push(streams_.data(), stream.link);
  }
  const bool worth = piece.dense && bytes >= kReferenceBytes;
  if (step.first && !worth) {
    rte_mbuf* frame = stash_[--stash_count_];
    frame->data_off = RTE_PKTMBUF_HEADROOM - kPrefix;
    stream.partial = frame;
    stream.partial_last = frame;
  }
  if (stream.partial != nullptr && stream.partial->pkt_len < kHead) {
    const std::uint32_t head = std::min(bytes, kHead - stream.partial->pkt_len);
    append_copy(stream.partial, stream.partial_last, at, head);
    at += head;
    bytes -= head;
  }
  if (bytes == 0) {
    return;
  }
  if (!worth || bytes < kReferenceBytes) {
    append_copy(stream.partial, stream.partial_last, at, bytes);
    return;
  }
  rte_mbuf* segment = stash_[--stash_count_];
  refer(segment, piece, number, at, bytes);
  ++references;
  if (stream.partial == nullptr) {
    stream.partial = segment;
  } else {
    stream.partial_last->next = segment;
    ++stream.partial->nb_segs;
    stream.partial->pkt_len += bytes;
  }
  stream.partial_last = segment;
}

// Makes `bytes` at `at` the data of an empty mbuf, without copying. The room before them belongs to others: none. The
// caller counts the reference.
void SocketEngine::Impl::refer(rte_mbuf* mbuf, SlabPiece& piece, std::uint32_t number, std::byte* at, std::uint32_t bytes) {
  const rte_iova_t iova = slab_->iova(number) + static_cast<std::uint64_t>(at - slab_->data(number));
  rte_pktmbuf_attach_extbuf(mbuf, at, iova, static_cast<std::uint16_t>(bytes), &piece.shared);
  mbuf->data_len = static_cast<std::uint16_t>(bytes);
  mbuf->pkt_len = bytes;
}

// Appends a copy to a chain. The caller has seen to it that there are mbufs enough.
void SocketEngine::Impl::append_copy(rte_mbuf* first, rte_mbuf*& last, const std::byte* at, std::uint32_t bytes) {
  while (bytes > 0) {
    std::uint32_t room = RTE_MBUF_DIRECT(last) ? rte_pktmbuf_tailroom(last) : 0;  // never behind bytes of others
    if (room == 0) {
      rte_mbuf* more = take_mbuf();
      more->data_off = 0;
      last->next = more;
      last = more;
      ++first->nb_segs;
      room = rte_pktmbuf_tailroom(more);
    }
    const std::uint32_t part = std::min(bytes, room);
    std::memcpy(rte_pktmbuf_mtod_offset(last, std::byte*, last->data_len), at, part);
    last->data_len = static_cast<std::uint16_t>(last->data_len + part);
    first->pkt_len += part;
    at += part;
    bytes -= part;
  }
}

rte_mbuf* SocketEngine::Impl::finish_partial(Stream& stream) {
  rte_mbuf* frame = stream.partial;
  frame->data_off = static_cast<std::uint16_t>(frame->data_off + kPrefix);
  frame->data_len = static_cast<std::uint16_t>(frame->data_len - kPrefix);
  frame->pkt_len -= kPrefix;
  stream.partial = nullptr;
  free_partial(stream);
  return frame;
}

// Ends the accounting of a partial frame, and frees it when it is still there.
void SocketEngine::Impl::free_partial(Stream& stream) {
  rte_pktmbuf_free(stream.partial);
  stream.partial = nullptr;
  stream.partial_last = nullptr;
  budget_.give(stream.partial_bytes);
  counters_.partial_bytes.add(-static_cast<std::uint64_t>(stream.partial_bytes));
  stream.partial_bytes = 0;
  partials_.remove(streams_.data(), stream.link);
}

// What came of it was never counted: one frame in, dropped, so that the books balance.
void SocketEngine::Impl::count_broken_frame(const Stream& stream, DropReason reason) {
  LinkCounters& link = link_counters_[stream.link];
  counters_.frames_in.add(1);
  counters_.dropped_frames.add(1);
  counters_.drops[static_cast<std::size_t>(reason)].add(1);
  link.frames_in.add(1);
  link.drops[static_cast<std::size_t>(reason)].add(1);
}

void SocketEngine::Impl::pop_received(Stream& stream) {
  const std::uint32_t number = stream.received_head;
  stream.received_head = (*slab_)[number].next;
  if (stream.received_head == kNoPiece) {
    stream.received_tail = kNoPiece;
  }
  --stream.received_count;
  if (!stream.held) {
    --backlog_;
  }
  slab_->drop_own(number);
}

// The node's budget is used up, or the control thread is busy: what was received waits too, and no longer counts against
// what others may receive.
void SocketEngine::Impl::hold_received(Stream& stream) {
  if (stream.held) {
    return;
  }
  stream.held = true;
  backlog_ -= stream.received_count;
  ready_.remove(streams_.data(), stream.link);
}

void SocketEngine::Impl::unhold_received(Stream& stream) {
  if (!stream.held) {
    return;
  }
  stream.held = false;
  backlog_ += stream.received_count;
  if (stream.received_head != kNoPiece) {
    ready_.push(streams_.data(), stream.link);
  }
}

void SocketEngine::Impl::drop_received(Stream& stream) {
  if (stream.edge != nullptr) {
    forget_edge_input(*stream.edge);
  }
  while (stream.received_head != kNoPiece) {
    pop_received(stream);
  }
  ready_.remove(streams_.data(), stream.link);
  free_partial(stream);
  stream.deframe = {};
}

}  // namespace slipway
