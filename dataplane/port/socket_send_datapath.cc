// Streams out: queued frames become one gathered send a stream, what waits meanwhile the next.

#include <algorithm>
#include <cerrno>

#include "port/mbuf.h"
#include "port/socket_engine_impl.h"

namespace slipway {
namespace {

constexpr std::uint32_t kPrefix = kStreamPrefixBytes;
constexpr std::uint16_t kSendZcReportUsage = 1u << 3;       // newer than the system's headers
constexpr std::uint32_t kNotifCopied = 1u << 31;            // result of a notification: the kernel copied after all

// What one gathered send is made of. Frames that lie one behind the other in the slab become one vector: then a
// send costs the kernel one copy for a whole receive buffer.
struct Gather {
  iovec* vectors;
  std::uint32_t room;
  std::uint32_t used = 0;
  std::size_t bytes = 0;

  // False: no room.
  bool add(std::byte* at, std::size_t length) {
    if (used > 0) {
      iovec& last = vectors[used - 1];
      if (static_cast<std::byte*>(last.iov_base) + last.iov_len == at) {
        last.iov_len += length;
        bytes += length;
        return true;
      }
      if (used == room) {
        return false;
      }
    }
    vectors[used++] = {.iov_base = at, .iov_len = length};
    bytes += length;
    return true;
  }
};

// Adds a frame with its prefix, without its first `skip` bytes.
bool gather_frame(Gather& gather, rte_mbuf* frame, std::size_t skip) {
  std::byte* at = rte_pktmbuf_mtod(frame, std::byte*) - kPrefix;
  std::size_t length = frame->data_len + kPrefix;
  for (;;) {
    if (skip < length) {
      if (!gather.add(at + skip, length - skip)) {
        return false;
      }
      skip = 0;
    } else {
      skip -= length;
    }
    frame = frame->next;
    if (frame == nullptr) {
      return true;
    }
    at = rte_pktmbuf_mtod(frame, std::byte*);
    length = frame->data_len;
  }
}

}  // namespace

void SocketEngine::Impl::count_held(LinkIndex link, std::int64_t frames, std::int64_t bytes) {
  held_ += static_cast<std::uint64_t>(frames);
  counters_.held.add(static_cast<std::uint64_t>(frames));
  counters_.held_bytes.add(static_cast<std::uint64_t>(bytes));
  link_counters_[link].queued_frames.add(static_cast<std::uint64_t>(frames));
  link_counters_[link].queued_bytes.add(static_cast<std::uint64_t>(bytes));
}

void SocketEngine::Impl::drop_copy(LinkIndex link, rte_mbuf* frame, DropReason reason) {
  counters_.dropped_copies.add(1);
  counters_.drops[static_cast<std::size_t>(reason)].add(1);
  link_counters_[link].drops[static_cast<std::size_t>(reason)].add(1);
  rte_pktmbuf_free(frame);
}

// cost: 5 ns a copy
void SocketEngine::Impl::send(const LinkRecord& record, rte_mbuf* frame) {
  if (record.transport == LinkTransport::kDatagram) {
    return send_datagram(record, frame);
  }
  Stream& stream = streams_[record.index];
  if (stream.life != StreamLife::kOpen || stream.generation != record.generation) [[unlikely]] {
    return drop_copy(record.index, frame, DropReason::kLinkGone);
  }
  const FrameMeta& meta = frame_meta(frame);
  const std::uint32_t bytes = meta.frame_bytes + kPrefix;
  if (stream.congested) [[unlikely]] {
    if (stream.stalled) {
      return drop_copy(stream.link, frame, DropReason::kReceiverStalled);
    }
    // Paused senders add what was received when they were paused; more than that is a bound that broke.
    const bool far_above = stream.queued_bytes > 2 * (stream.queue_limit + kMaxFrameBytes) + slab_->size() * kSlabPieceBytes;
    if (far_above || (!meta.pausable && !meta.injected)) {
      return drop_copy(stream.link, frame, DropReason::kQueueFull);
    }
  }
  const bool pays = budget_.take(bytes);
  if (!pays) [[unlikely]] {
    if (!meta.pausable) {
      return drop_copy(stream.link, frame, DropReason::kNodeBudget);
    }
    budget_.force(bytes);
  }
  if (!stream.queue.push(chunks_, frame)) [[unlikely]] {
    budget_.give(bytes);
    return drop_copy(stream.link, frame, DropReason::kQueueFull);
  }
  stream.queued_bytes += bytes;
  ++stream.queued_frames;
  count_held(stream.link, 1, meta.frame_bytes);
  if (!stream.send_busy) {
    dirty_.push(streams_.data(), stream.link);
  }
  if (!stream.congested && above_high_water(stream)) [[unlikely]] {
    press(stream);
  }
  if (meta.pausable && (stream.congested || !pays)) [[unlikely]] {
    pause(meta.in_link, pays ? stream.link : kNoLink);
  }
}

void SocketEngine::Impl::flush() {
  assert_owner();
  const bool more = !ready_.empty() && !out_of_mbufs_;
  LinkIndex at = dirty_.front();
  while (at != kNoLink) {
    Stream& stream = streams_[at];
    at = StreamList<&Stream::dirty>::after(stream);
    if (more && stream.queued_bytes < kSendNowBytes) {
      continue;
    }
    dirty_.remove(streams_.data(), stream.link);
    start_send(stream);
  }
  if (datagrams_dirty_) {
    flush_datagrams();
  }
  if (leaves_rest()) {
    return;  // a submission brings what has come: wait() submits
  }
  if (io_uring_sq_ready(&ring_) > 0) {
    submit_and_reap_ready();
  }
  if (acks_due_ != 0) {
    acknowledge_edges();
  }
}

// cost: 2 ns a frame when frames continue each other's vectors
void SocketEngine::Impl::start_send(Stream& stream) {
  if (stream.edge != nullptr) {
    return start_edge_send(stream);
  }
  if (stream.send_busy || stream.queue.empty() || stream.life == StreamLife::kClosing) {
    return;
  }
  if (gather_used_ + kMaxGather > kGatherArena || messages_used_ == kMessageArena || io_uring_sq_space_left(&ring_) == 0) {
    submit();
  }
  Gather gather{.vectors = gather_.data() + gather_used_, .room = kMaxGather};
  std::size_t skip = stream.head_offset;
  for (FrameQueue::Cursor cursor(stream.queue); !cursor.done(); cursor.next()) {
    if (!gather_frame(gather, cursor.frame(), skip)) {
      break;
    }
    skip = 0;
  }
  msghdr& message = messages_[messages_used_++];
  message = {};
  message.msg_iov = gather.vectors;
  message.msg_iovlen = gather.used;
  gather_used_ += gather.used;

  io_uring_sqe* sqe = get_sqe();
  stream.send_zero_copy = stream.zero_copy && gather.bytes >= kZeroCopyBytes && stream.batches.count < ZeroCopyBatches::kMax;
  if (stream.send_zero_copy) {
    ZeroCopyBatches& batches = stream.batches;
    const std::uint32_t batch = (batches.begin + batches.count) % ZeroCopyBatches::kMax;
    batches.frames[batch] = 0;
    batches.finished[batch] = false;
    ++batches.count;
    io_uring_prep_sendmsg_zc(sqe, stream.fd, &message, MSG_NOSIGNAL);
    if (features_.zc_report_usage) {
      sqe->ioprio |= kSendZcReportUsage;
    }
    io_uring_sqe_set_data64(sqe, make_user_data(SocketOp::kSendZc, stream.link, batch));
  } else {
    io_uring_prep_sendmsg(sqe, stream.fd, &message, MSG_NOSIGNAL);
    io_uring_sqe_set_data64(sqe, make_user_data(SocketOp::kSend, stream.link));
  }
  stream.send_busy = true;
  ++operations_;
}

void SocketEngine::Impl::on_send(Stream& stream, const Completion& cqe) {
  if (stream.edge != nullptr) {
    return on_edge_send(stream, cqe);
  }
  stream.send_busy = false;
  --operations_;
  if (cqe.res > 0) {
    advance(stream, static_cast<std::uint64_t>(cqe.res));
  } else if (cqe.res < 0 && cqe.res != -EINTR && cqe.res != -EAGAIN && cqe.res != -ECANCELED) {
    doom(stream, CloseReason::kError, -cqe.res);
  }
  if (stream.life == StreamLife::kClosing) {
    return try_finish(stream);
  }
  if (!stream.queue.empty() && !stream.doomed) {
    dirty_.push(streams_.data(), stream.link);
  } else if (stream.life == StreamLife::kDraining) {
    drained(stream);
  }
}

void SocketEngine::Impl::on_send_zc(Stream& stream, const Completion& cqe, std::uint32_t batch) {
  if ((cqe.flags & IORING_CQE_F_NOTIF) == 0) {
    const bool notified_later = (cqe.flags & IORING_CQE_F_MORE) != 0;
    if (notified_later) {
      ++operations_;  // on_send() takes the send's own away
    } else {
      stream.batches.finished[batch] = true;
    }
    if (cqe.res == -EOPNOTSUPP || cqe.res == -ENOMEM || cqe.res == -ENOBUFS) {
      stream.zero_copy = false;  // sent again, copied
      on_send(stream, {.user_data = cqe.user_data, .res = -EAGAIN, .flags = 0});
    } else {
      on_send(stream, cqe);
    }
  } else {
    --operations_;
    stream.batches.finished[batch] = true;
    if ((static_cast<std::uint32_t>(cqe.res) & kNotifCopied) != 0) {
      stream.zero_copy = false;
    }
  }
  release_batches(stream);
}

void SocketEngine::Impl::release_batches(Stream& stream) {
  ZeroCopyBatches& batches = stream.batches;
  while (batches.count > 0 && batches.finished[batches.begin]) {
    for (std::uint32_t i = 0; i < batches.frames[batches.begin]; ++i) {
      rte_mbuf* frame = stream.zero_copy_frames.front();
      stream.zero_copy_frames.pop(chunks_);
      rte_pktmbuf_free(frame);
    }
    batches.begin = (batches.begin + 1) % ZeroCopyBatches::kMax;
    --batches.count;
  }
  if (stream.life == StreamLife::kClosing) {
    try_finish(stream);
  }
}

// The kernel may read the frame until the batch is told finished.
void SocketEngine::Impl::hold_for_zero_copy(Stream& stream, rte_mbuf* frame) {
  ZeroCopyBatches& batches = stream.batches;
  const std::uint32_t newest = (batches.begin + batches.count - 1) % ZeroCopyBatches::kMax;
  if (stream.zero_copy_frames.push(chunks_, frame)) {
    ++batches.frames[newest];
    return;
  }
  // No room to remember it: it must not be used again while the kernel reads it. The stream is closed instead of
  // taking that risk; its reference stays with the batch for as long as the process lives.
  doom(stream, CloseReason::kError, ENOBUFS);
}

void SocketEngine::Impl::end_run(Run& run) {
  if (run.count > 0) {
    slab_->drop_references(*run.piece, run.count);
  }
  run = {};
}

// What rte_pktmbuf_free() does, with short cuts for the common case, a frame of one segment that nobody else holds:
// its mbuf goes where the next received frame takes one from, without the way through the pool, and neighbours of
// one slab piece give their references back together.
void SocketEngine::Impl::release_sent(rte_mbuf* frame, Run& run) {
  if (frame->nb_segs != 1 || !is_sole_holder(frame) || frame->pool != options_.pool || RTE_MBUF_CLONED(frame) ||
      stash_count_ == kMbufStash) {
    rte_pktmbuf_free(frame);
    return;
  }
  if (RTE_MBUF_HAS_EXTBUF(frame)) {
    SlabPiece* piece = slab_->piece_of(frame);
    if (piece == nullptr) {
      rte_pktmbuf_free(frame);
      return;
    }
    if (piece != run.piece) {
      end_run(run);
      run.piece = piece;
    }
    ++run.count;
    frame->buf_addr = rte_mbuf_buf_addr(frame, frame->pool);
    frame->buf_iova = rte_mempool_virt2iova(frame) + (static_cast<std::byte*>(frame->buf_addr) - reinterpret_cast<std::byte*>(frame));
    frame->buf_len = rte_pktmbuf_data_room_size(frame->pool);
    frame->shinfo = nullptr;
    frame->ol_flags = 0;  // the reset keeps RTE_MBUF_F_EXTERNAL
  }
  rte_pktmbuf_reset(frame);
  stash_[stash_count_++] = frame;
}

// `bytes` more of the queue are gone. cost: 6 ns a frame nobody else holds, 8 ns a copy of a shared one (one atomic)
void SocketEngine::Impl::advance(Stream& stream, std::uint64_t bytes) {
  stream.sent_total += bytes;
  std::uint64_t left = bytes + stream.head_offset;
  std::int64_t frames = 0;
  std::int64_t frame_bytes = 0;
  Run run;
  while (!stream.queue.empty()) {
    rte_mbuf* frame = stream.queue.front();
    const std::uint64_t size = frame_meta(frame).frame_bytes + kPrefix;
    if (left < size) {
      if (stream.send_zero_copy && left > 0) {
        for (rte_mbuf* segment = frame; segment != nullptr; segment = segment->next) {
          rte_mbuf_refcnt_update(segment, 1);
        }
        hold_for_zero_copy(stream, frame);
      }
      break;
    }
    left -= size;
    stream.queue.pop(chunks_);
    ++frames;
    frame_bytes += frame_meta(frame).frame_bytes;
    if (stream.send_zero_copy) {
      hold_for_zero_copy(stream, frame);
    } else {
      release_sent(frame, run);
    }
  }
  end_run(run);
  stream.head_offset = static_cast<std::uint32_t>(left);
  const std::uint64_t gone = static_cast<std::uint64_t>(frame_bytes) + static_cast<std::uint64_t>(frames) * kPrefix;
  stream.queued_bytes -= gone;
  stream.queued_frames -= static_cast<std::uint32_t>(frames);
  budget_.give(gone);
  count_held(stream.link, -frames, -frame_bytes);
  counters_.sent.add(static_cast<std::uint64_t>(frames));
  counters_.bytes_sent.add(static_cast<std::uint64_t>(frame_bytes));
  link_counters_[stream.link].frames_sent.add(static_cast<std::uint64_t>(frames));
  link_counters_[stream.link].bytes_sent.add(static_cast<std::uint64_t>(frame_bytes));
  if (stream.congested && below_low_water(stream)) [[unlikely]] {
    relieve(stream);
  }
}

void SocketEngine::Impl::drop_queue(Stream& stream) {
  while (!stream.queue.empty()) {
    rte_mbuf* frame = stream.queue.front();
    stream.queue.pop(chunks_);
    const std::uint32_t bytes = frame_meta(frame).frame_bytes;
    budget_.give(bytes + kPrefix);
    count_held(stream.link, -1, -static_cast<std::int64_t>(bytes));
    drop_copy(stream.link, frame, stream.drop_reason);
  }
  stream.queued_bytes = 0;
  stream.queued_frames = 0;
  stream.head_offset = 0;
  dirty_.remove(streams_.data(), stream.link);
}

}  // namespace slipway
