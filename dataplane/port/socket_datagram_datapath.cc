// Datagrams in: GRO batches to frames. Datagrams out: frames of one size, or the pieces of one frame, in one
// segmented send.

#include <netinet/in.h>
#include <netinet/udp.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "port/socket_address.h"
#include "port/socket_datagram_check_datapath.h"
#include "port/mbuf.h"
#include "port/socket_engine_impl.h"

namespace slipway {
namespace {


// What the kernel says beside a received message.
struct Ancillary {
  std::uint32_t segment_bytes = 0;  // 0: one datagram
  bool has_local = false;
  IpEndpoint local;
};

Ancillary read_ancillary(io_uring_recvmsg_out* out, msghdr* form) {
  Ancillary found;
  for (cmsghdr* c = io_uring_recvmsg_cmsg_firsthdr(out, form); c != nullptr; c = io_uring_recvmsg_cmsg_nexthdr(out, form, c)) {
    if (c->cmsg_level == IPPROTO_UDP && c->cmsg_type == UDP_GRO) {
      int bytes = 0;
      std::memcpy(&bytes, CMSG_DATA(c), sizeof bytes);
      found.segment_bytes = bytes > 0 ? static_cast<std::uint32_t>(bytes) : 0;
    } else if (c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_PKTINFO) {
      in_pktinfo info;
      std::memcpy(&info, CMSG_DATA(c), sizeof info);
      found.has_local = true;
      found.local = {.family = 4};  // an IPv6 socket tells the mapped address too
      std::memcpy(found.local.address.data(), &info.ipi_addr, 4);
    } else if (c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_PKTINFO && !found.has_local) {
      in6_pktinfo info;
      std::memcpy(&info, CMSG_DATA(c), sizeof info);
      found.has_local = true;
      found.local.family = 6;
      std::memcpy(found.local.address.data(), &info.ipi6_addr, 16);
    }
  }
  return found;
}

}  // namespace

// --- in ---------------------------------------------------------------------------------------------

void SocketEngine::Impl::give_datagram_buffer(std::uint16_t buffer) {
  io_uring_buf_ring_add(datagram_ring_, datagram_memory_.data() + buffer * kDatagramBufferBytes, kDatagramBufferBytes, buffer,
                        io_uring_buf_ring_mask(kDatagramBuffers), 0);
  io_uring_buf_ring_advance(datagram_ring_, 1);
}

void SocketEngine::Impl::on_datagram_recv(std::uint16_t number, const Completion& cqe) {
  DatagramPort& port = ports_[number];
  if ((cqe.flags & IORING_CQE_F_MORE) == 0) {
    port.recv_armed = false;
    --operations_;
  }
  if ((cqe.flags & IORING_CQE_F_BUFFER) != 0) {
    const auto buffer = static_cast<std::uint16_t>(cqe.flags >> IORING_CQE_BUFFER_SHIFT);
    if (cqe.res > 0 && port.open) {
      received_[received_end_++ % kDatagramBuffers] = {.buffer = buffer, .port = number, .bytes = static_cast<std::uint32_t>(cqe.res), .taken = 0};
    } else {
      give_datagram_buffer(buffer);
    }
  }
  if (!port.recv_armed) {
    if (!port.open && port.sends == 0 && port.fd >= 0) {
      close(port.fd);
      port.fd = -1;
    } else if (port.open) {
      const bool harmless = cqe.res >= 0 || cqe.res == -ENOBUFS || cqe.res == -EINTR || cqe.res == -EAGAIN || cqe.res == -ECONNREFUSED;
      (harmless ? datagrams_unarmed_ : datagrams_failed_) = true;
    }
  }
}

void SocketEngine::Impl::arm_datagrams() {
  if (received_begin_ != received_end_) {
    return;  // the buffers come back first
  }
  datagrams_unarmed_ = false;
  for (std::uint16_t i = 0; i < kMaxPorts; ++i) {
    arm_datagram(i);
  }
}

std::uint32_t SocketEngine::Impl::receive_datagrams(std::span<rte_mbuf*> out) {
  std::uint32_t count = 0;
  while (received_begin_ != received_end_) {
    ReceivedDatagrams& batch = received_[received_begin_ % kDatagramBuffers];
    std::byte* buffer = datagram_memory_.data() + batch.buffer * kDatagramBufferBytes;
    auto* header = io_uring_recvmsg_validate(buffer, static_cast<int>(batch.bytes), &recv_template_);
    if (header != nullptr && (header->flags & MSG_TRUNC) == 0 && header->namelen >= sizeof(sockaddr_in)) {
      const auto* payload = static_cast<const std::byte*>(io_uring_recvmsg_payload(header, &recv_template_));
      const std::uint32_t bytes = io_uring_recvmsg_payload_length(header, static_cast<int>(batch.bytes), &recv_template_);
      const Ancillary ancillary = read_ancillary(header, &recv_template_);
      const std::uint32_t segment = ancillary.segment_bytes == 0 ? bytes : ancillary.segment_bytes;
      const IpEndpoint from = endpoint_of(static_cast<const sockaddr*>(io_uring_recvmsg_name(header)));
      do {
        if (count == out.size()) {
          return count;
        }
        if (!refill_mbufs() || !refill_for_datagram()) {
          out_of_mbufs_ = true;
          return count;
        }
        const std::uint32_t piece = std::min(segment, bytes - batch.taken);
        rte_mbuf* frame = receive_datagram(batch.port, from, ancillary.has_local ? &ancillary.local : nullptr, {payload + batch.taken, piece});
        batch.taken += piece;
        if (frame != nullptr) {
          out[count++] = frame;
        }
      } while (batch.taken < bytes);
    } else {
      counters_.packets_in.add(1);
      counters_.packets_dropped.add(1);
      counters_.drops[static_cast<std::size_t>(DropReason::kShimMalformed)].add(1);
    }
    give_datagram_buffer(batch.buffer);
    ++received_begin_;
  }
  return count;
}

// One datagram; the frame that it is or completes, or nullptr.
rte_mbuf* SocketEngine::Impl::receive_datagram(std::uint16_t number, const IpEndpoint& from, const IpEndpoint* to, std::span<const std::byte> payload) {
  counters_.packets_in.add(1);
  const DatagramCheck check = check_datagram(payload, number, from, datagram_links_.data());
  if (check.verdict == DatagramVerdict::kHello) {
    punt_hello(number, from, to, payload.subspan(kShimBytes));
    return nullptr;
  }
  if (check.verdict == DatagramVerdict::kDrop) {
    counters_.packets_dropped.add(1);
    counters_.drops[static_cast<std::size_t>(check.reason)].add(1);
    link_counters_[check.link].drops[static_cast<std::size_t>(check.reason)].add(1);
    return nullptr;
  }
  rte_mbuf* frame = copy_datagram(payload.subspan(kShimBytes));
  LinkCounters& link = link_counters_[check.link];
  if (check.verdict == DatagramVerdict::kFragment) {
    frame = joiner_->add(check.link, check.shim, frame, now_ns_ / 1'000'000, counters_, link);
    join_accounting();
    if (frame == nullptr) {
      return nullptr;
    }
  } else {
    make_frame(frame, check.link, false);
  }
  counters_.frames_in.add(1);
  counters_.bytes_in.add(frame->pkt_len);
  link.frames_in.add(1);
  link.bytes_in.add(frame->pkt_len);
  return frame;
}

void SocketEngine::Impl::punt_hello(std::uint16_t number, const IpEndpoint& from, const IpEndpoint* to, std::span<const std::byte> frame) {
  Hello hello{.port = number, .transport = static_cast<std::uint8_t>(LinkTransport::kDatagram), .worker = options_.worker,
              .from = from, .to = ports_[number].local, .from_mac = {}};
  if (to != nullptr) {
    hello.to.address = to->address;
    hello.to.family = to->family;
  }
  if (post_event(Event::kHello, std::as_bytes(std::span(&hello, 1)), frame, false)) {
    counters_.packets_punted.add(1);
  } else {
    counters_.packets_dropped.add(1);
    counters_.drops[static_cast<std::size_t>(DropReason::kPuntFull)].add(1);
  }
}

// The stash holds enough for the longest datagram after this.
bool SocketEngine::Impl::refill_for_datagram() {
  if (stash_count_ >= kMbufsPerDatagram) [[likely]] {
    return true;
  }
  if (rte_pktmbuf_alloc_bulk(options_.pool, stash_.data() + stash_count_, kMbufsPerDatagram) != 0) {
    return false;
  }
  stash_count_ += kMbufsPerDatagram;
  return true;
}

rte_mbuf* SocketEngine::Impl::copy_datagram(std::span<const std::byte> bytes) {
  rte_mbuf* frame = stash_[--stash_count_];
  rte_mbuf* last = frame;
  for (std::size_t done = 0; done < bytes.size();) {
    if (done > 0) {
      rte_mbuf* more = stash_[--stash_count_];
      last->next = more;
      last = more;
      ++frame->nb_segs;
    }
    const std::size_t part = std::min(bytes.size() - done, kMbufDataBytes);
    std::memcpy(rte_pktmbuf_mtod(last, std::byte*), bytes.data() + done, part);
    last->data_len = static_cast<std::uint16_t>(part);
    frame->pkt_len += static_cast<std::uint32_t>(part);
    done += part;
  }
  return frame;
}

// --- out --------------------------------------------------------------------------------------------

void SocketEngine::Impl::send_datagram(const LinkRecord& record, rte_mbuf* frame) {
  DatagramPort& port = ports_[record.port];
  const LinkRecord& known = datagram_links_[record.index];
  if (!port.open || known.state == LinkState::kFree || known.generation != record.generation) [[unlikely]] {
    return drop_copy(record.index, frame, DropReason::kLinkGone);
  }
  if (frame_meta(frame).frame_bytes > kMaxDatagramFrameBytes) [[unlikely]] {
    return drop_copy(record.index, frame, DropReason::kTooBigForLink);
  }
  if (port.queue_end - port.queue_begin == kDatagramQueue) [[unlikely]] {
    return drop_copy(record.index, frame, DropReason::kQueueFull);
  }
  const std::uint32_t bytes = frame_meta(frame).frame_bytes;
  if (!budget_.take(bytes)) [[unlikely]] {
    return drop_copy(record.index, frame, DropReason::kNodeBudget);
  }
  datagram_queue_[record.port * kDatagramQueue + port.queue_end++ % kDatagramQueue] = {.frame = frame, .link = record.index};
  ++datagram_waiting_[record.index];
  count_held(record.index, 1, bytes);
  datagrams_dirty_ = true;
}

void SocketEngine::Impl::flush_datagrams() {
  datagrams_dirty_ = false;
  for (std::uint16_t i = 0; i < kMaxPorts; ++i) {
    DatagramPort& port = ports_[i];
    while (port.queue_begin != port.queue_end) {
      if (!start_datagram_send(port, i)) {
        break;  // goes on when a send completes
      }
    }
  }
}

// A frame of more than one datagram: its next pieces, as many as one send takes. The frame leaves the queue with its
// last piece; sends before that hold references of their own.
void SocketEngine::Impl::gather_pieces(DatagramPort& port, DatagramSend& send, const LinkRecord& link, rte_mbuf* frame, DatagramGather& gather) {
  const std::uint32_t room = link.datagram_bytes - static_cast<std::uint32_t>(kShimBytes);
  const std::uint32_t total = frame_meta(frame).frame_bytes;
  if (port.piece_offset == 0) {
    port.frame_number = datagram_frame_number_++;
  }
  const std::uint32_t most = port.segment ? kSegmentsPerSend : 1;
  while (port.piece_offset < total && send.packets < most &&
         (send.packets == 0 || (gather.bytes + link.datagram_bytes <= kSegmentedBytes && gather.used + frame->nb_segs + 1U <= kMaxVectors))) {
    const std::uint32_t piece = std::min(room, total - port.piece_offset);
    add_shim(send, gather,
             {.link_id = link.peer_link_id, .sending_worker = options_.worker, .counter = datagram_counter_++,
              .fragment_offset = port.piece_offset, .total_bytes = total,
              .flags = port.piece_offset + piece == total ? shim_flag::kLast : std::uint8_t{0}, .frame_number = port.frame_number});
    gather.add_bytes(frame, port.piece_offset, piece);
    port.piece_offset += piece;
    ++send.fragments;
  }
  send.frames[send.frame_count++] = frame;
  if (port.piece_offset < total) {
    for (rte_mbuf* segment = frame; segment != nullptr; segment = segment->next) {
      rte_mbuf_refcnt_update(segment, 1);
    }
    return;
  }
  port.piece_offset = 0;
  ++port.queue_begin;
  send.whole_frames = 1;
  send.whole_bytes = total;
}

// Whole frames of one link: one send takes those of equal length, and a shorter one at the end.
void SocketEngine::Impl::gather_wholes(DatagramPort& port, std::uint16_t number, DatagramSend& send, const LinkRecord& link, DatagramGather& gather) {
  const std::uint32_t most = port.segment ? kSegmentsPerSend : 1;
  std::uint32_t segment = 0;
  while (port.queue_begin != port.queue_end && send.packets < most) {
    const QueuedDatagram& queued = datagram_queue_[number * kDatagramQueue + port.queue_begin % kDatagramQueue];
    const std::uint32_t bytes = frame_meta(queued.frame).frame_bytes;
    const std::uint32_t datagram = bytes + static_cast<std::uint32_t>(kShimBytes);
    if (send.packets > 0 && (queued.link != send.link || datagram > segment || gather.bytes + datagram > kSegmentedBytes ||
                             gather.used + queued.frame->nb_segs + 1U > kMaxVectors)) {
      return;
    }
    add_shim(send, gather,
             {.link_id = link.peer_link_id, .sending_worker = options_.worker, .counter = datagram_counter_++, .fragment_offset = 0,
              .total_bytes = bytes, .flags = shim_flag::kLast, .frame_number = datagram_frame_number_++});
    gather.add_bytes(queued.frame, 0, bytes);
    send.frames[send.frame_count++] = queued.frame;
    ++send.whole_frames;
    send.whole_bytes += bytes;
    ++port.queue_begin;
    if (segment == 0) {
      segment = datagram;
    } else if (datagram < segment) {
      return;
    }
  }
}

void SocketEngine::Impl::add_shim(DatagramSend& send, DatagramGather& gather, const Shim& shim) {
  std::byte* at = send.shims[send.packets++].data();
  store_shim(at, shim);
  gather.add(at, kShimBytes);
}

bool SocketEngine::Impl::start_datagram_send(DatagramPort& port, std::uint16_t number) {
  if (free_send_ == kNoSend) {
    return false;
  }
  if (gather_used_ + kMaxVectors > kGatherArena || io_uring_sq_space_left(&ring_) == 0) {
    submit();
    if (free_send_ == kNoSend) {
      return false;
    }
  }
  const QueuedDatagram queued = datagram_queue_[number * kDatagramQueue + port.queue_begin % kDatagramQueue];
  const LinkRecord& link = datagram_links_[queued.link];
  const std::uint32_t slot = free_send_;
  DatagramSend& send = sends_[slot];
  free_send_ = send.next_free;
  send.frame_count = send.whole_frames = send.packets = send.fragments = 0;
  send.whole_bytes = 0;
  send.port = number;
  send.link = queued.link;

  DatagramGather gather{.vectors = gather_.data() + gather_used_};
  const std::uint32_t frame_bytes = frame_meta(queued.frame).frame_bytes;
  const bool cut = frame_bytes + kShimBytes > link.datagram_bytes;
  if (cut) {
    gather_pieces(port, send, link, queued.frame, gather);
  } else {
    gather_wholes(port, number, send, link, gather);
  }
  gather_used_ += gather.used;

  send.message = {};
  send.message.msg_name = &send.address;
  send.message.msg_namelen = to_socket_address(link.peer, port.ipv6, send.address);
  send.message.msg_iov = gather.vectors;
  send.message.msg_iovlen = gather.used;
  if (send.packets > 1) {
    const auto segment = static_cast<std::uint16_t>(cut ? link.datagram_bytes : frame_meta(send.frames[0]).frame_bytes + kShimBytes);
    send.message.msg_control = send.control;
    send.message.msg_controllen = CMSG_SPACE(sizeof segment);
    cmsghdr* c = CMSG_FIRSTHDR(&send.message);
    c->cmsg_level = IPPROTO_UDP;
    c->cmsg_type = UDP_SEGMENT;
    c->cmsg_len = CMSG_LEN(sizeof segment);
    std::memcpy(CMSG_DATA(c), &segment, sizeof segment);
  }
  ++port.sends;
  io_uring_sqe* sqe = get_sqe();
  io_uring_prep_sendmsg(sqe, port.fd, &send.message, MSG_NOSIGNAL);
  io_uring_sqe_set_data64(sqe, make_user_data(SocketOp::kDatagramSend, slot));
  ++operations_;
  return true;
}

void SocketEngine::Impl::on_datagram_send(std::uint32_t slot, const Completion& cqe) {
  DatagramSend& send = sends_[slot];
  DatagramPort& port = ports_[send.port];
  --operations_;
  --port.sends;
  LinkCounters& link = link_counters_[send.link];
  if (cqe.res >= 0) {
    counters_.packets_out.add(send.packets);
    counters_.fragments_out.add(send.fragments);
    counters_.sent.add(send.whole_frames);
    counters_.bytes_sent.add(send.whole_bytes);
    link.frames_sent.add(send.whole_frames);
    link.bytes_sent.add(send.whole_bytes);
  } else {
    counters_.dropped_copies.add(send.whole_frames);
    counters_.drops[static_cast<std::size_t>(DropReason::kSendFailed)].add(send.whole_frames);
    link.drops[static_cast<std::size_t>(DropReason::kSendFailed)].add(send.whole_frames);
    if (send.packets > 1 && (cqe.res == -EINVAL || cqe.res == -EIO || cqe.res == -EOPNOTSUPP)) {
      port.segment = false;  // the way out cannot segment: from here on one send a datagram
    }
  }
  count_held(send.link, -static_cast<std::int64_t>(send.whole_frames), -static_cast<std::int64_t>(send.whole_bytes));
  budget_.give(send.whole_bytes);
  for (std::uint32_t i = 0; i < send.frame_count; ++i) {
    rte_pktmbuf_free(send.frames[i]);
  }
  send.next_free = free_send_;
  free_send_ = slot;
  if (port.queue_begin != port.queue_end) {
    datagrams_dirty_ = true;
  }
  for (std::uint32_t i = 0; i < send.whole_frames; ++i) {
    datagram_done(send.link);
  }
  if (!port.open && port.sends == 0 && !port.recv_armed && port.fd >= 0) {
    close(port.fd);
    port.fd = -1;
  }
}

void SocketEngine::Impl::drop_datagram_queue(DatagramPort& port, DropReason reason) {
  const auto number = static_cast<std::size_t>(&port - ports_.data());
  while (port.queue_begin != port.queue_end) {
    const QueuedDatagram queued = datagram_queue_[number * kDatagramQueue + port.queue_begin++ % kDatagramQueue];
    const std::uint32_t bytes = frame_meta(queued.frame).frame_bytes;
    budget_.give(bytes);
    count_held(queued.link, -1, -static_cast<std::int64_t>(bytes));
    drop_copy(queued.link, queued.frame, reason);
    datagram_done(queued.link);
  }
  port.piece_offset = 0;
}

}  // namespace slipway
