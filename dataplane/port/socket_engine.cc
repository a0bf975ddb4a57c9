#include "port/socket_engine.h"

#include <netinet/in.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include <fmt/format.h>

#include "port/socket_edge.h"

namespace slipway {

SocketEngine::Impl::Impl(const SocketEngineOptions& options)
    : options_(options),
      counters_(*options.counters),
      link_counters_(options.link_counters),
      congestion_(*options.congestion),
      events_(*options.events),
      budget_(*options.budget) {}

SocketEngine::Impl::~Impl() {
  if (ring_open_) {
    io_uring_queue_exit(&ring_);
  }
  for (const DatagramPort& port : ports_) {
    if (port.fd >= 0) {
      close(port.fd);
    }
  }
  if (piece_ring_ != nullptr) {
    munmap(piece_ring_, kBufferRingEntries * sizeof(io_uring_buf));
  }
  if (datagram_ring_ != nullptr) {
    munmap(datagram_ring_, kDatagramBuffers * sizeof(io_uring_buf));
  }
}

std::expected<void, std::string> SocketEngine::Impl::init() {
  auto features = probe_socket_features();
  if (!features) {
    return std::unexpected(features.error());
  }
  features_ = *features;
  if (gather_.data() == nullptr || messages_.data() == nullptr || streams_.data() == nullptr || blockers_.data() == nullptr ||
      datagram_queue_.data() == nullptr || datagram_links_.data() == nullptr || datagram_waiting_.data() == nullptr ||
      datagram_leaving_.data() == nullptr || sends_.data() == nullptr || datagram_memory_.data() == nullptr) {
    return std::unexpected("no address space for a socket worker's tables: raise the limit (ulimit -v)");
  }
  const std::uint32_t pieces = std::clamp(options_.slab_pieces, 2 * kMinLent, 32768u);
  auto slab = SocketSlab::create(pieces, options_.numa_node);
  if (!slab) {
    return std::unexpected(slab.error());
  }
  slab_ = std::move(*slab);
  queue_frames_ = options_.queue_frames != 0 ? options_.queue_frames : std::max(options_.pool->size / 8, 64u);

  io_uring_params params{};
  params.flags = features_.setup_flags;
  params.cq_entries = kCompletionEntries;
  if (const int rc = io_uring_queue_init_params(kRingEntries, &ring_, &params); rc != 0) {
    return std::unexpected(io_uring_refusal(-rc, -1));
  }
  ring_open_ = true;
  if (auto made = register_buffers(piece_ring_, kBufferRingEntries, 0); !made) {
    return made;
  }
  if (auto made = register_buffers(datagram_ring_, kDatagramBuffers, kDatagramGroup); !made) {
    return made;
  }
  for (std::uint16_t i = 0; i < kDatagramBuffers; ++i) {
    give_datagram_buffer(i);
  }
  for (std::uint32_t i = 0; i < kDatagramSlots; ++i) {
    sends_[i].next_free = i + 1 < kDatagramSlots ? i + 1 : kNoSend;
  }
  free_send_ = 0;
  recv_template_.msg_namelen = kDatagramNameBytes;
  recv_template_.msg_controllen = kDatagramControlBytes;
  joiner_ = std::make_unique<MbufJoiner>();
  lend_pieces();
  return {};
}

std::expected<void, std::string> SocketEngine::Impl::start() {
  owner_ = std::this_thread::get_id();
  // liburing 2.3 declares io_uring_enable_rings() and does not export it.
  if (syscall(__NR_io_uring_register, ring_.ring_fd, IORING_REGISTER_ENABLE_RINGS, nullptr, 0) != 0) {
    return std::unexpected(fmt::format("io_uring cannot be started on the worker's thread: {}", std::strerror(errno)));
  }
  ring_.flags &= ~static_cast<unsigned>(IORING_SETUP_R_DISABLED);
  if (features_.registered_ring) {
    io_uring_register_ring_fd(&ring_);  // saves a look-up a call; goes on without
  }
  return {};
}

SocketEngine::SocketEngine(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
SocketEngine::~SocketEngine() = default;

std::expected<std::unique_ptr<SocketEngine>, std::string> SocketEngine::create(const SocketEngineOptions& options) {
  assert(options.pool != nullptr && options.counters != nullptr && options.link_counters != nullptr && options.budget != nullptr &&
         options.congestion != nullptr && options.events != nullptr);
  auto impl = std::make_unique<Impl>(options);
  if (auto made = impl->init(); !made) {
    return std::unexpected(made.error());
  }
  return std::unique_ptr<SocketEngine>(new SocketEngine(std::move(impl)));
}

std::expected<void, std::string> SocketEngine::start() { return impl_->start(); }
const SocketFeatures& SocketEngine::features() const { return impl_->features_; }

void SocketEngine::open_stream(const OpenStream& open) {
  impl_->assert_owner();
  impl_->open_stream(open);
}
void SocketEngine::open_datagram(const OpenDatagram& open) {
  impl_->assert_owner();
  impl_->open_datagram(open);
}
void SocketEngine::give_edge_key(const GiveEdgeKey& give) {
  impl_->assert_owner();
  impl_->give_edge_key(give);
}
void SocketEngine::set_link(const LinkRecord& record) {
  impl_->assert_owner();
  impl_->set_stream(record);
  impl_->set_datagram(record);
}
void SocketEngine::close_link(const CloseLink& close) {
  impl_->assert_owner();
  impl_->close_link(close);
}
void SocketEngine::close_port(const ClosePort& close) {
  impl_->assert_owner();
  impl_->close_port(close.port);
}
void SocketEngine::inject_datagram(const InjectDatagram& inject, std::span<const std::byte> payload) {
  impl_->assert_owner();
  impl_->inject_datagram(inject, payload);
}

std::uint32_t SocketEngine::poll(std::uint64_t now_ns, std::span<rte_mbuf*> out) { return impl_->poll(now_ns, out); }
void SocketEngine::send(const LinkRecord& record, rte_mbuf* frame) { impl_->send(record, frame); }
void SocketEngine::flush() { impl_->flush(); }
void SocketEngine::pause(LinkIndex from, LinkIndex receiver) { impl_->pause(from, receiver); }
void SocketEngine::hold_control(bool on) { impl_->hold_control(on); }
void SocketEngine::hold_control(LinkIndex from) { impl_->streams_[from].control_until_ns = impl_->next_tick_ns_; }
bool SocketEngine::take_uncongested() { return std::exchange(impl_->uncongested_, false); }
bool SocketEngine::wait(std::uint64_t timeout_ns) { return impl_->wait(timeout_ns); }
std::uint64_t SocketEngine::take_spun_cycles() { return std::exchange(impl_->spun_cycles_, 0); }
void SocketEngine::stop_reading() { impl_->stop_reading(); }
std::uint64_t SocketEngine::held_frames() const { return impl_->held_; }
bool SocketEngine::close_all(std::uint32_t timeout_ms) { return impl_->close_all(timeout_ms); }
std::uint32_t SocketEngine::slab_pieces() const { return impl_->slab_->size(); }
std::uint32_t SocketEngine::slab_free() const {
  impl_->slab_->collect();
  return impl_->slab_->free_count() + impl_->lent_;
}

}  // namespace slipway
