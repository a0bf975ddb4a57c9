// How streams come and go.
//
//   open -> (draining -> lingering ->) closing -> free
//
// Closing means: what was received is thrown away, operations are cancelled and waited for, what was queued is
// dropped, the socket is closed, and the zero-copy sends that the kernel still reads are waited for. kLinkClosed is
// posted at the start of that and kLinkReleased at its end.

#include <fcntl.h>
#include <netinet/in.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <new>

#include "port/socket_edge.h"

namespace slipway {
namespace {

constexpr std::uint64_t kNsPerMs = 1'000'000;

// Zero-copy sends pay towards other machines only: on the way to ourselves the kernel copies all the same.
bool leaves_machine(int fd) {
  sockaddr_storage peer{};
  socklen_t length = sizeof peer;
  if (getpeername(fd, reinterpret_cast<sockaddr*>(&peer), &length) != 0) {
    return false;
  }
  if (peer.ss_family == AF_INET) {
    return ntohl(reinterpret_cast<const sockaddr_in&>(peer).sin_addr.s_addr) >> 24 != 127;
  }
  if (peer.ss_family == AF_INET6) {
    const in6_addr& address = reinterpret_cast<const sockaddr_in6&>(peer).sin6_addr;
    return !IN6_IS_ADDR_LOOPBACK(&address) && !(IN6_IS_ADDR_V4MAPPED(&address) && address.s6_addr[12] == 127);
  }
  return false;
}

}  // namespace

void SocketEngine::Impl::open_stream(const OpenStream& open) {
  Stream& stream = streams_[open.link];
  assert(open.link > kNoLink && open.link < kMaxLinks && stream.life == StreamLife::kFree);
  new (&stream) Stream{};
  stream.fd = open.fd;
  stream.link = open.link;
  stream.generation = open.generation;
  stream.max_frame_bytes = static_cast<std::uint32_t>(std::min<std::size_t>(open.max_frame_bytes, kMaxFrameBytes));
  stream.life = StreamLife::kOpen;
  stream.zero_copy = options_.zero_copy && features_.sendmsg_zc && leaves_machine(open.fd);
  // The ring waits for readiness by itself; a non-blocking descriptor would make some kernels answer EAGAIN instead.
  fcntl(open.fd, F_SETFL, fcntl(open.fd, F_GETFL) & ~O_NONBLOCK);
  counters_.syscalls.add(3);
  congestion_.set(open.link, 0);
  ++open_streams_;
  if (open.edge != nullptr) {
    open_edge(stream, open.edge);
  }
}

void SocketEngine::Impl::set_stream(const LinkRecord& record) {
  Stream& stream = streams_[record.index];
  if (stream.life == StreamLife::kFree || stream.generation != record.generation) {
    return;
  }
  if (record.state == LinkState::kFree) {
    if (stream.life != StreamLife::kClosing) {
      shut(stream, CloseReason::kAsked, 0);
    }
    return;
  }
  stream.overflow = record.overflow;
  stream.queue_limit = record.queue_bytes;
  if (record.state == LinkState::kUp && stream.edge != nullptr) {
    edge_up(stream);
  }
  if (record.state == LinkState::kGreeting || record.state == LinkState::kUp) {
    stream.may_read = true;
    want_read(stream);
  }
}

void SocketEngine::Impl::want_read(Stream& stream) {
  const bool discards = stream.life == StreamLife::kLingering;
  const bool reads = stream.life == StreamLife::kOpen && stream.may_read && !stream.paused && !reading_stopped_;
  if (!stream.recv_armed && !stream.doomed && (reads || discards)) {
    arming_.push(streams_.data(), stream.link);
  }
}

void SocketEngine::Impl::stop_receiving(Stream& stream) {
  arming_.remove(streams_.data(), stream.link);
  if (stream.recv_armed && !stream.recv_cancelled) {
    stream.recv_cancelled = true;
    cancel(make_user_data(SocketOp::kRecv, stream.link));
  }
}

// The stream has ended or failed: what it had sent before is still taken, then it is closed.
void SocketEngine::Impl::doom(Stream& stream, CloseReason reason, std::int32_t error) {
  if (stream.life == StreamLife::kClosing || stream.doomed) {
    return;
  }
  stream.doomed = true;
  if (!stream.keeps_reason) {
    stream.close_reason = reason;
    stream.close_error = error;
  }
  stop_receiving(stream);
  unhold_received(stream);
  if (stream.received_head == kNoPiece && !stream.recv_armed) {
    shut(stream, reason, error);
  }
}

void SocketEngine::Impl::close_link(const CloseLink& close) {
  Stream& stream = streams_[close.link];
  if (stream.life == StreamLife::kFree || stream.generation != close.generation) {
    if (datagram_links_[close.link].state != LinkState::kFree && datagram_links_[close.link].generation == close.generation) {
      const LinkClosed record{.link = close.link, .generation = close.generation, .reason = CloseReason::kAsked, .error = 0};
      (void)post_event(Event::kLinkClosed, std::as_bytes(std::span(&record, 1)));
      release_datagram(close.link);
    }
    return;
  }
  if (stream.life != StreamLife::kOpen) {
    return;
  }
  if (close.drain_ms == 0 || stream.doomed) {
    return shut(stream, CloseReason::kAsked, 0);
  }
  stream.life = StreamLife::kDraining;
  stream.deadline_ns = now_ns_ + close.drain_ms * kNsPerMs;
  stop_receiving(stream);
  drop_received(stream);
  leaving_.push(streams_.data(), stream.link);
  if (stream.edge != nullptr) {
    stream.edge->finishing = true;
    stream.edge->finish_status = close.edge_status;
    stream.edge->finish_text = close.edge_text;
    dirty_.push(streams_.data(), stream.link);
  } else if (stream.queue.empty() && !stream.send_busy) {
    drained(stream);
  }
}

// All is sent. Closing now, with bytes of the peer unread, would reset the connection and might destroy what the
// peer has not read yet: our half is shut, and what still comes is thrown away until the peer's end.
void SocketEngine::Impl::drained(Stream& stream) {
  stream.life = StreamLife::kLingering;
  stream.deadline_ns = std::max(stream.deadline_ns, now_ns_ + kLingerNs);
  counters_.syscalls.add(1);
  shutdown(stream.fd, SHUT_WR);
  want_read(stream);
}

void SocketEngine::Impl::shut(Stream& stream, CloseReason reason, std::int32_t error) {
  if (stream.life == StreamLife::kClosing || stream.life == StreamLife::kFree) {
    return;
  }
  const bool asked = stream.life == StreamLife::kDraining || stream.life == StreamLife::kLingering;
  if (!stream.keeps_reason) {
    stream.close_reason = asked ? CloseReason::kAsked : reason;
    stream.close_error = asked ? 0 : error;
  }
  stream.life = StreamLife::kClosing;
  stop_receiving(stream);
  drop_received(stream);
  if (stream.send_busy) {
    const std::uint32_t newest = (stream.batches.begin + stream.batches.count - 1) % ZeroCopyBatches::kMax;
    cancel(stream.send_zero_copy ? make_user_data(SocketOp::kSendZc, stream.link, newest) : make_user_data(SocketOp::kSend, stream.link));
  }
  if (stream.congested) {
    stream.stalled = false;
    relieve(stream);
  }
  if (stream.paused) {
    stream.paused = false;
    blockers_[stream.link].clear_if([](LinkIndex) { return true; });
    waiting_.remove(streams_.data(), stream.link);
  }
  leaving_.remove(streams_.data(), stream.link);
  ending_.remove(streams_.data(), stream.link);
  stream.owes_closed = true;
  post_owed(stream);
  try_finish(stream);
}

void SocketEngine::Impl::try_finish(Stream& stream) {
  if (stream.recv_armed || stream.send_busy || stream.owes_released || stream.life != StreamLife::kClosing) {
    return;
  }
  if (stream.edge != nullptr) {
    destroy_edge(stream);
  }
  drop_queue(stream);
  if (stream.fd >= 0) {
    if (stream.batches.count > 0) {
      // The kernel gives zero-copy buffers back when the peer has them, or at once when the connection is reset.
      const linger reset{.l_onoff = 1, .l_linger = 0};
      setsockopt(stream.fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
    }
    counters_.syscalls.add(1);
    close(stream.fd);
    stream.fd = -1;
  }
  if (stream.batches.count > 0) {
    return;
  }
  --open_streams_;
  stream.owes_released = true;
  post_owed(stream);
}

// Posts what the control thread must learn, in order; what finds the ring full is tried again at ticks.
void SocketEngine::Impl::post_owed(Stream& stream) {
  if (stream.owes_closed) {
    const LinkClosed record{.link = stream.link, .generation = stream.generation, .reason = stream.close_reason, .error = stream.close_error};
    const std::string_view text = stream.edge != nullptr && stream.close_reason == CloseReason::kEdge ? stream.edge->text : std::string_view{};
    stream.owes_closed = !post_event(Event::kLinkClosed, std::as_bytes(std::span(&record, 1)), std::as_bytes(std::span(text)));
  }
  if (!stream.owes_closed && stream.owes_released) {
    const LinkReleased record{.link = stream.link, .generation = stream.generation};
    if (post_event(Event::kLinkReleased, std::as_bytes(std::span(&record, 1)))) {
      arming_.remove(streams_.data(), stream.link);
      leaving_.remove(streams_.data(), stream.link);
      stream.owes_released = false;
      stream.life = StreamLife::kFree;
      return;
    }
  }
  if (stream.owes_closed || stream.owes_released) {
    leaving_.push(streams_.data(), stream.link);
  }
}

void SocketEngine::Impl::check_leaving(std::uint64_t now_ns) {
  LinkIndex at = leaving_.front();
  while (at != kNoLink) {
    Stream& stream = streams_[at];
    at = StreamList<&Stream::leaving>::after(stream);
    if (stream.life == StreamLife::kClosing) {
      post_owed(stream);
    } else if (now_ns >= stream.deadline_ns) {
      shut(stream, CloseReason::kAsked, 0);
    }
  }
}

void SocketEngine::Impl::stop_reading() {
  assert_owner();
  reading_stopped_ = true;
  for (LinkIndex i = 1; i < kMaxLinks; ++i) {
    if (streams_[i].life == StreamLife::kOpen) {
      stop_receiving(streams_[i]);
    }
  }
  for (std::uint16_t i = 0; i < kMaxPorts; ++i) {
    if (ports_[i].recv_armed) {
      cancel(make_user_data(SocketOp::kDatagramRecv, i));
    }
  }
}

bool SocketEngine::Impl::close_all(std::uint32_t timeout_ms) {
  assert_owner();
  for (LinkIndex i = 1; i < kMaxLinks; ++i) {
    Stream& stream = streams_[i];
    if (stream.life != StreamLife::kFree) {
      stream.drop_reason = DropReason::kStopping;
      shut(stream, CloseReason::kAsked, 0);
    }
  }
  for (std::uint16_t i = 0; i < kMaxPorts; ++i) {
    close_port(i);
  }
  if (wake_armed_) {
    cancel(make_user_data(SocketOp::kWake, 0));
  }
  for (std::uint32_t waited_ms = 0; operations_ > 0 && waited_ms < timeout_ms; waited_ms += 10) {
    io_uring_cqe* cqe = nullptr;
    __kernel_timespec time{.tv_sec = 0, .tv_nsec = 10'000'000};
    counters_.syscalls.add(1);
    io_uring_submit_and_wait_timeout(&ring_, &cqe, 1, &time, nullptr);
    gather_used_ = 0;
    messages_used_ = 0;
    reap();
  }
  counters_.partial_bytes.add(-static_cast<std::uint64_t>(joined_bytes_));
  joiner_.reset();
  join_accounting();
  rte_pktmbuf_free_bulk(stash_.data(), stash_count_);
  stash_count_ = 0;
  slab_->collect();
  return operations_ == 0;
}

}  // namespace slipway
