// The ring itself: submission, completions, provided buffers, sleeping.

#include <sys/eventfd.h>
#include <poll.h>

#include <algorithm>
#include <cstring>

#include <fmt/format.h>

#include <rte_cycles.h>
#include <rte_pause.h>

#include "port/socket_engine_impl.h"

namespace slipway {

std::expected<void, std::string> SocketEngine::Impl::register_buffers(io_uring_buf_ring*& ring, std::uint32_t entries, std::uint16_t group) {
  const std::size_t bytes = entries * sizeof(io_uring_buf);
  void* at = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (at == MAP_FAILED) {
    return std::unexpected("no memory for a ring of receive buffers");
  }
  ring = static_cast<io_uring_buf_ring*>(at);
  io_uring_buf_reg reg{};
  reg.ring_addr = reinterpret_cast<std::uint64_t>(at);
  reg.ring_entries = entries;
  reg.bgid = group;
  if (const int rc = io_uring_register_buf_ring(&ring_, &reg, 0); rc != 0) {
    return std::unexpected(fmt::format("io_uring refuses a ring of {} receive buffers: {}", entries, std::strerror(-rc)));
  }
  io_uring_buf_ring_init(ring);
  return {};
}

void SocketEngine::Impl::submit() {
  counters_.syscalls.add(1);
  const int rc = io_uring_submit(&ring_);
  if (rc == -EBUSY || rc == -EAGAIN) {
    // The kernel keeps completions that the ring has no room for: take them, then go on.
    counters_.syscalls.add(1);
    io_uring_get_events(&ring_);
    reap();
    counters_.syscalls.add(1);
    io_uring_submit(&ring_);
  }
  // The kernel has copied vectors and message headers (IORING_FEAT_SUBMIT_STABLE).
  gather_used_ = 0;
  messages_used_ = 0;
}

void SocketEngine::Impl::submit_and_reap_ready() {
  counters_.syscalls.add(1);
  const int rc = io_uring_submit_and_get_events(&ring_);
  if (rc == -EBUSY || rc == -EAGAIN) {
    reap();
    counters_.syscalls.add(1);
    io_uring_submit_and_get_events(&ring_);
  }
  gather_used_ = 0;
  messages_used_ = 0;
}

io_uring_sqe* SocketEngine::Impl::get_sqe() {
  io_uring_sqe* sqe = io_uring_get_sqe(&ring_);
  while (sqe == nullptr) {
    submit();
    sqe = io_uring_get_sqe(&ring_);
  }
  return sqe;
}

void SocketEngine::Impl::cancel(std::uint64_t user_data) {
  io_uring_sqe* sqe = get_sqe();
  io_uring_prep_cancel64(sqe, user_data, 0);
  io_uring_sqe_set_data64(sqe, make_user_data(SocketOp::kCancel, 0));
  ++operations_;
}

void SocketEngine::Impl::on_completion(const Completion& cqe) {
  const auto op = static_cast<SocketOp>(cqe.user_data >> 56);
  const auto index = static_cast<std::uint32_t>(cqe.user_data);
  switch (op) {
    case SocketOp::kRecv:
      return on_recv(streams_[index], cqe);
    case SocketOp::kSend:
      return on_send(streams_[index], cqe);
    case SocketOp::kSendZc:
      return on_send_zc(streams_[index], cqe, static_cast<std::uint32_t>(cqe.user_data >> 32) & 0xFFFF);
    case SocketOp::kCancel:
      --operations_;
      return;
    case SocketOp::kWake:
      wake_armed_ = false;
      woken_ = true;
      return;
    case SocketOp::kDatagramRecv:
      return on_datagram_recv(static_cast<std::uint16_t>(index), cqe);
    case SocketOp::kDatagramSend:
      return on_datagram_send(index, cqe);
  }
}

void SocketEngine::Impl::reap() {
  for (;;) {
    io_uring_cqe* at = nullptr;
    unsigned head = 0;
    unsigned count = 0;
    std::array<Completion, 64> batch;
    io_uring_for_each_cqe(&ring_, head, at) {
      batch[count] = {.user_data = at->user_data, .res = at->res, .flags = at->flags};
      if (++count == batch.size()) {
        break;
      }
    }
    if (count == 0) {
      return;
    }
    io_uring_cq_advance(&ring_, count);
    for (unsigned i = 0; i < count; ++i) {
      on_completion(batch[i]);
    }
  }
}

// Lends free pieces to the kernel. A few for few streams, so that the same ones are used again while they are in the
// cache; never the last half of the slab, which paused and slow streams may need. What was received and not yet taken
// counts as lent: it is what may still come from senders after they were paused.
void SocketEngine::Impl::lend_pieces() {
  slab_->collect();
  const std::uint32_t most = std::min(kBufferRingEntries, slab_->size() / 2);
  const std::uint32_t target = std::min(most, std::max(kMinLent, 2 * open_streams_));
  if (lent_ + backlog_ >= target) {
    return;
  }
  int added = 0;
  while (lent_ + backlog_ < target) {
    const std::uint32_t piece = slab_->take();
    if (piece == kNoPiece) {
      break;
    }
    io_uring_buf_ring_add(piece_ring_, slab_->data(piece), kSlabPieceBytes, static_cast<unsigned short>(piece),
                          io_uring_buf_ring_mask(kBufferRingEntries), added);
    ++added;
    ++lent_;
  }
  io_uring_buf_ring_advance(piece_ring_, added);
}

bool SocketEngine::Impl::post_event(Event event, std::span<const std::byte> head, std::span<const std::byte> tail, bool important) {
  if (important || events_.free_bytes() > kEventReserve + head.size() + tail.size()) {
    if (events_.push(static_cast<std::uint16_t>(event), head, tail)) {
      return true;
    }
  }
  if (!important) {
    counters_.events_lost.add(1);
  }
  return false;
}

bool SocketEngine::Impl::wait(std::uint64_t timeout_ns) {
  assert_owner();
  acknowledge_edges();
  lend_pieces();
  arm_streams();
  const bool more = ((!ready_.empty() || received_begin_ != received_end_) && !out_of_mbufs_) || !ending_.empty();
  if (!wake_armed_ && options_.wake_fd >= 0) {
    io_uring_sqe* sqe = get_sqe();
    io_uring_prep_poll_add(sqe, options_.wake_fd, POLLIN);
    io_uring_sqe_set_data64(sqe, make_user_data(SocketOp::kWake, 0));
    wake_armed_ = true;
  }
  woken_ = false;
  if (out_of_mbufs_ || !arming_.empty()) {
    timeout_ns = std::min(timeout_ns, kRetryNs);
  } else if (has_deadlines()) {
    timeout_ns = std::min(timeout_ns, kTickNs);
  } else if (!edge_streams_.empty()) {
    timeout_ns = std::min(timeout_ns, kEdgeTickMs * 1'000'000);
  }
  if (more || !dirty_.empty() || uncongested_ || congestion_.cleared() != cleared_seen_) {
    timeout_ns = 0;
  }
  if (timeout_ns == 0) {
    gathered_ = false;
    submit_and_reap_ready();
    reap();
    return woken_;
  }
  const bool choice = !edge_streams_.empty() && timeout_ns > RestPolicy::kLongGatherNs;
  const Rest rest = choice ? rest_.begin(now_ns_, counters_.frames_in.get()) : Rest::kSleep;
  gathered_ = rest == Rest::kGather;
  rest_ns_ = now_ns_;
  rest_frames_ = counters_.frames_in.get();
  if (rest == Rest::kSpin) {
    const bool found = spin();
    rest_.spun(found);
    if (found) {
      return false;  // poll() takes it
    }
  }
  sleep(rest == Rest::kGather ? rest_.gather_ns() : timeout_ns, rest == Rest::kGather ? RestPolicy::kGatherEvents : 1);
  return woken_;
}

// Looks for completions without asking the kernel: it says in shared memory that it has some to hand over.
bool SocketEngine::Impl::spin() {
  if (io_uring_sq_ready(&ring_) > 0) {
    submit();
  }
  const std::uint64_t begin = rte_rdtsc();
  const std::uint64_t end = begin + RestPolicy::kSpinNs * rte_get_tsc_hz() / 1'000'000'000;
  std::uint64_t now = begin;
  bool found = false;
  while (!found && now < end) {
    rte_pause();
    found = io_uring_cq_ready(&ring_) > 0 || (IO_URING_READ_ONCE(*ring_.sq.kflags) & (IORING_SQ_TASKRUN | IORING_SQ_CQ_OVERFLOW)) != 0;
    now = rte_rdtsc();
  }
  spun_cycles_ += now - begin;
  return found;
}

void SocketEngine::Impl::sleep(std::uint64_t timeout_ns, unsigned completions) {
  io_uring_cqe* cqe = nullptr;
  __kernel_timespec time{.tv_sec = static_cast<long long>(timeout_ns / 1'000'000'000), .tv_nsec = static_cast<long long>(timeout_ns % 1'000'000'000)};
  counters_.syscalls.add(1);
  io_uring_submit_and_wait_timeout(&ring_, &cqe, completions, &time, nullptr);
  gather_used_ = 0;
  messages_used_ = 0;
  reap();
}

}  // namespace slipway
