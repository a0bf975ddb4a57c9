#include "edge_client/transport_socket.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <ctime>
#include <utility>

namespace slipway {

std::unique_ptr<TransportSocket> TransportSocket::create(Loop& loop, int fd, std::shared_ptr<const TransportConfig> config,
                                                         TransportMemory& memory, TransportSocketUser& user) {
  std::unique_ptr<TransportSocket> socket(new TransportSocket(loop, fd, user));
  const TransportOwner owner{.memory = &memory, .events = &socket->events_, .release = &on_release, .context = socket.get()};
  socket->transport_ = Transport::create(std::move(config), owner, socket->now());
  if (socket->transport_ == nullptr) {
    return nullptr;
  }
  socket->input_.resize(kEdgeClientReceiveBytes);
  if (socket->transport_->needs_room()) {
    socket->room_.resize(2 * kEdgeRoomBytes);
  }
  const int on = 1;
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);  // a Unix socket refuses it, and needs it not
  if (!loop.watch(fd, fd_event::kReadable, [self = socket.get()](std::uint32_t events) { self->on_descriptor(events); })) {
    return nullptr;
  }
  socket->schedule();
  return socket;
}

TransportSocket::~TransportSocket() {
  alive_.reset();
  loop_.cancel(timer_);
  if (fd_ >= 0) {
    loop_.unwatch(fd_);
    ::close(fd_);
  }
  transport_.reset();  // gives back what it was lent
}

TransportTime TransportSocket::now() { return {.now_ns = loop_.refresh_now(), .unix_s = std::time(nullptr)}; }

void TransportSocket::on_release(void*, std::uint64_t token) { delete[] reinterpret_cast<std::byte*>(static_cast<std::uintptr_t>(token)); }

std::int32_t TransportSocket::open_stream() {
  const std::int32_t stream = transport_->open_stream();
  schedule();
  return stream;
}

WriteResult TransportSocket::write(std::int32_t stream, std::span<const iovec> pieces) {
  std::size_t total = 0;
  for (const iovec& piece : pieces) {
    total += piece.iov_len;
  }
  std::unique_ptr<std::byte[]> copy(new std::byte[std::max<std::size_t>(total, 1)]);
  std::byte* to = copy.get();
  for (const iovec& piece : pieces) {
    to = std::copy_n(static_cast<const std::byte*>(piece.iov_base), piece.iov_len, to);
  }
  const iovec whole{copy.get(), total};
  const auto result = transport_->write_message(stream, {&whole, 1}, reinterpret_cast<std::uintptr_t>(copy.get()));
  if (result == WriteResult::kQueued) {
    (void)copy.release();  // until on_release()
  }
  schedule();
  return result;
}

WriteResult TransportSocket::write(std::int32_t stream, std::span<const std::byte> message) {
  const iovec piece{const_cast<std::byte*>(message.data()), message.size()};
  return write(stream, {&piece, 1});
}

void TransportSocket::finish_stream(std::int32_t stream, int grpc_status, std::string_view message) {
  transport_->finish_stream(stream, grpc_status, message);
  schedule();
}

void TransportSocket::drain() {
  transport_->drain();
  schedule();
}

void TransportSocket::close() {
  transport_->close(now());
  schedule();
}

// At the end of the turn: several calls make one send.
void TransportSocket::schedule() {
  if (std::exchange(scheduled_, true)) {
    return;
  }
  loop_.defer([this, alive = std::weak_ptr(alive_)] {
    if (!alive.expired()) {
      scheduled_ = false;
      settle();
    }
  });
}

void TransportSocket::on_descriptor(std::uint32_t events) {
  if ((events & fd_event::kWritable) != 0) {
    blocked_ = false;
  }
  if ((events & (fd_event::kReadable | fd_event::kTrouble)) != 0) {
    receive();
  }
  settle();
}

void TransportSocket::receive() {
  const std::size_t room = std::exchange(resting_, false) ? kEdgeClientRestedBytes : input_.size();
  for (std::size_t turn_bytes = 0; turn_bytes < kEdgeClientTurnBytes && !transport_->failed() && !resting_;) {
    const ssize_t got = recv(fd_, input_.data(), room, 0);
    if (got < 0 && errno == EINTR) {
      continue;
    }
    if (got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
      return;
    }
    if (got <= 0) {
      peer_closed_ = true;
      transport_->peer_closed();
      return;
    }
    const auto bytes = std::span<const std::byte>(input_).first(static_cast<std::size_t>(got));
    const std::size_t keep = std::min(bytes.size(), first_bytes_.size() - first_count_);
    std::copy_n(bytes.begin(), keep, first_bytes_.begin() + static_cast<std::ptrdiff_t>(first_count_));
    first_count_ += keep;
    feed(bytes);
    turn_bytes += bytes.size();
    if (bytes.size() < room) {
      return;
    }
  }
}

void TransportSocket::feed(std::span<const std::byte> bytes) {
  for (bool again = true; again || !bytes.empty();) {
    const FeedResult result = transport_->feed(bytes, room_, now());
    drain_events();
    bytes = bytes.subspan(result.used);
    again = result.again;
    if (!again && result.used == 0) {
      return;
    }
  }
}

void TransportSocket::settle() {
  const TransportTime time = now();
  if (transport_->next_deadline_ns() <= time.now_ns) {
    transport_->tick(time);
  }
  do {
    drain_events();
    flush();
  } while (!events_.empty());
  if (!transport_->finished()) {
    arm_timer();
    return;
  }
  loop_.cancel(std::exchange(timer_, TimerId::kNone));
  loop_.unwatch(fd_);
  ::close(std::exchange(fd_, -1));
  const TransportError error = transport_->error();
  user_.on_closed(error);
}

void TransportSocket::drain_events() {
  TransportEvents batch;
  std::swap(batch, events_);
  for (const TransportEvent& event : batch) {
    on_event(event);
  }
  batch.clear();
  if (events_.empty()) {
    std::swap(batch, events_);  // its memory serves again
  }
}

void TransportSocket::on_event(const TransportEvent& event) {
  switch (event.kind) {
    case TransportEventKind::kReady:
      ready_ = true;
      user_.on_ready();
      break;
    case TransportEventKind::kStreamOpen:
      user_.on_stream_open(event.stream);
      break;
    case TransportEventKind::kMessage:
      take_part(event);
      break;
    case TransportEventKind::kStreamClosed: {
      partial_.erase(event.stream);
      const StreamHead* head = transport_->head(event.stream);
      user_.on_stream_closed({.stream = event.stream, .fault = event.fault, .grpc_status = event.grpc_status,
                              .http_status = head == nullptr ? 0 : head->http_status,
                              .grpc_message = head == nullptr ? std::string_view() : std::string_view(head->grpc_message)});
      break;
    }
    case TransportEventKind::kHalfClosed:
      user_.on_half_closed(event.stream);
      break;
    case TransportEventKind::kGoaway:
    case TransportEventKind::kFailed:
      break;  // finished() says when it is over
  }
}

// A message that came in one part is given as it lies there.
void TransportSocket::take_part(const TransportEvent& event) {
  if (event.begin && event.end) {
    user_.on_message(event.stream, event.bytes);
  } else {
    auto& whole = partial_[event.stream];
    if (event.begin) {
      whole.clear();
    }
    whole.insert(whole.end(), event.bytes.begin(), event.bytes.end());
    if (event.end) {
      const auto message = std::move(whole);
      partial_.erase(event.stream);
      user_.on_message(event.stream, message);
    }
  }
  transport_->release(event.stream, event.bytes.size());
}

void TransportSocket::flush() {
  bool sent = false;
  while (!blocked_ && !peer_closed_) {
    iovec pieces[64];
    const std::size_t count = transport_->gather(pieces);
    if (count == 0) {
      break;
    }
    msghdr message{};
    message.msg_iov = pieces;
    message.msg_iovlen = count;
    const ssize_t bytes = sendmsg(fd_, &message, MSG_NOSIGNAL);
    if (bytes < 0 && errno == EINTR) {
      continue;
    }
    if (bytes < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
      blocked_ = true;
    } else if (bytes < 0) {
      peer_closed_ = true;
      transport_->peer_closed();
    } else {
      transport_->consumed(static_cast<std::size_t>(bytes));
      sent = true;
    }
  }
  if (fd_ >= 0) {
    // Of one that failed only the last words are sent.
    loop_.set_events(fd_, (transport_->failed() ? 0 : fd_event::kReadable) | (blocked_ ? fd_event::kWritable : 0));
  }
  if (sent) {
    user_.on_sent();
  }
}

void TransportSocket::arm_timer() {
  const std::uint64_t at_ns = transport_->next_deadline_ns();
  if (timer_ != TimerId::kNone && timer_at_ns_ <= at_ns) {
    return;  // it looks again when it runs
  }
  loop_.cancel(std::exchange(timer_, TimerId::kNone));
  if (at_ns == ~std::uint64_t{0}) {
    return;
  }
  timer_at_ns_ = at_ns;
  timer_ = loop_.after(at_ns > loop_.now_ns() ? at_ns - loop_.now_ns() : 0, [this] {
    timer_ = TimerId::kNone;
    settle();
  });
}

}  // namespace slipway
