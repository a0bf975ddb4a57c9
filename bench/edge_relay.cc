#include "edge_relay.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <nghttp2/nghttp2.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <vector>

#include "edge/mac_batch.h"
#include "edge/proto_message.h"

namespace slipway::bench {
namespace {

constexpr std::size_t kReadBytes = 64u << 10;
constexpr std::size_t kSendBytes = 64u << 10;       // framed at a time
constexpr std::size_t kQueueBytes = 4u << 20;       // towards one subscriber: then the publisher is not read
constexpr std::int32_t kWindowBytes = 1 << 20;

class Relay;

// Reads the messages of a stream, and computes of each header the MAC that a node would compare and the one that it would send,
// as our node does: side by side, going on from where names were hashed.
class MacWork {
 public:
  MacWork() : macs_{HeaderMac(LinkKey{}, kLinkIds[0]), HeaderMac(LinkKey{}, kLinkIds[1])} {}
  void take(const std::uint8_t* data, std::size_t bytes) {
    input_.insert(input_.end(), data, data + bytes);
    std::size_t at = 0;
    while (input_.size() - at >= kPrefixBytes) {
      std::uint32_t size = 0;
      std::memcpy(&size, &input_[at + 1], sizeof size);
      size = std::byteswap(size);
      if (input_.size() - at - kPrefixBytes < size) {
        break;
      }
      add({reinterpret_cast<const std::byte*>(&input_[at + kPrefixBytes]), size});
      at += kPrefixBytes + size;
    }
    batch_.run();
    input_.erase(input_.begin(), input_.begin() + static_cast<std::ptrdiff_t>(at));
  }

 private:
  static constexpr std::size_t kPrefixBytes = 5;
  static constexpr std::array<std::string_view, 2> kLinkIds = {"00000000-0000-4000-8000-000000000000", "00000000-0000-4000-8000-000000000001"};

  void add(Piece bytes) {
    UpstreamMessage message;
    const Pieces pieces({&bytes, 1});
    if (parse_message(pieces, &message) != EdgeFault::kNone) {
      std::_Exit(1);
    }
    for (std::size_t i = 0; i < macs_.size(); ++i) {
      if (batch_.full()) {
        batch_.run();
      }
      batch_.add(macs_[i], message, pieces, result_[i].data(), habits_[i]);
    }
  }

  std::vector<std::uint8_t> input_;
  std::array<HeaderMac, 2> macs_;
  std::array<MacHabit, 2> habits_;
  std::array<std::array<std::byte, kHeaderMacBytes>, 2> result_;
  MacBatch batch_{nullptr};
};

struct Connection {
  Relay* relay = nullptr;
  int fd = -1;
  nghttp2_session* session = nullptr;
  std::int32_t stream = -1;
  bool publisher = false;
  bool deferred = false;
  bool blocked = false;
  bool dirty = false;
  std::vector<std::uint8_t> queue;   // DATA not framed yet, from `begin`
  std::size_t begin = 0;
  std::vector<std::uint8_t> output;  // framed and not sent yet, from `sent`
  std::size_t sent = 0;
};

class Relay {
 public:
  Relay(int listener, std::size_t subscribers, bool macs);
  [[noreturn]] void run();

 private:
  void accept_one(int listener);
  void read(Connection& connection);
  void write(Connection& connection);
  void watch(Connection& connection) const;
  [[nodiscard]] bool crowded() const;

  static int on_header_end(nghttp2_session* session, const nghttp2_frame* frame, void* connection);
  static int on_data(nghttp2_session*, std::uint8_t, std::int32_t, const std::uint8_t* data, std::size_t bytes, void* connection);
  static ssize_t next_data(nghttp2_session*, std::int32_t, std::uint8_t* to, std::size_t room, std::uint32_t* flags,
                           nghttp2_data_source* source, void*);

  int epoll_;
  nghttp2_session_callbacks* callbacks_ = nullptr;
  std::vector<std::unique_ptr<Connection>> connections_;
  std::array<std::uint8_t, kReadBytes> input_;
  std::unique_ptr<MacWork> macs_;
};

Relay::Relay(int listener, std::size_t subscribers, bool macs)
    : epoll_(epoll_create1(EPOLL_CLOEXEC)), macs_(macs ? std::make_unique<MacWork>() : nullptr) {
  nghttp2_session_callbacks_new(&callbacks_);
  nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks_, &Relay::on_header_end);
  nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks_, &Relay::on_data);
  while (connections_.size() <= subscribers) {
    accept_one(listener);
  }
  close(listener);
}

void Relay::accept_one(int listener) {
  auto connection = std::make_unique<Connection>();
  connection->relay = this;
  connection->fd = accept4(listener, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
  connection->publisher = connections_.empty();
  const int on = 1;
  setsockopt(connection->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  nghttp2_session_server_new(&connection->session, callbacks_, connection.get());
  const nghttp2_settings_entry window{NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, kWindowBytes};
  nghttp2_submit_settings(connection->session, NGHTTP2_FLAG_NONE, &window, 1);
  nghttp2_session_set_local_window_size(connection->session, NGHTTP2_FLAG_NONE, 0, kWindowBytes);
  epoll_event event{.events = EPOLLIN, .data = {.ptr = connection.get()}};
  epoll_ctl(epoll_, EPOLL_CTL_ADD, connection->fd, &event);
  write(*connection);
  connections_.push_back(std::move(connection));
}

void Relay::run() {
  for (;;) {
    std::array<epoll_event, 64> events;
    const int count = epoll_wait(epoll_, events.data(), static_cast<int>(events.size()), -1);
    for (int i = 0; i < count; ++i) {
      auto& connection = *static_cast<Connection*>(events[static_cast<std::size_t>(i)].data.ptr);
      if ((events[static_cast<std::size_t>(i)].events & EPOLLOUT) != 0) {
        connection.blocked = false;
        connection.dirty = true;
        watch(connection);
      }
      if ((events[static_cast<std::size_t>(i)].events & ~std::uint32_t{EPOLLOUT}) != 0) {
        read(connection);
      }
    }
    for (const auto& connection : connections_) {
      if (connection->dirty) {
        connection->dirty = false;
        write(*connection);
      }
    }
    watch(*connections_.front());
  }
}

bool Relay::crowded() const {
  for (const auto& connection : connections_) {
    if (connection->queue.size() - connection->begin > kQueueBytes) {
      return true;
    }
  }
  return false;
}

void Relay::watch(Connection& connection) const {
  const bool reads = !connection.publisher || !crowded();
  epoll_event event{.events = (reads ? EPOLLIN : 0u) | (connection.blocked ? EPOLLOUT : 0u), .data = {.ptr = &connection}};
  static std::uint32_t publisher_events = ~0u;
  if (connection.publisher) {  // looked at in every round
    if (event.events == publisher_events) {
      return;
    }
    publisher_events = event.events;
  }
  epoll_ctl(epoll_, EPOLL_CTL_MOD, connection.fd, &event);
}

void Relay::read(Connection& connection) {
  const ssize_t got = recv(connection.fd, input_.data(), input_.size(), 0);
  if (got <= 0) {
    if (got < 0 && errno == EAGAIN) {
      return;
    }
    std::_Exit(0);
  }
  if (nghttp2_session_mem_recv(connection.session, input_.data(), static_cast<std::size_t>(got)) < 0) {
    std::_Exit(1);
  }
  connection.dirty = connection.dirty || nghttp2_session_want_write(connection.session) != 0;
}

void Relay::write(Connection& connection) {
  while (!connection.blocked) {
    while (connection.output.size() < kSendBytes) {
      const std::uint8_t* data = nullptr;
      const ssize_t bytes = nghttp2_session_mem_send(connection.session, &data);
      if (bytes <= 0) {
        break;
      }
      connection.output.insert(connection.output.end(), data, data + bytes);
    }
    if (connection.output.empty()) {
      return;
    }
    const ssize_t sent = send(connection.fd, connection.output.data() + connection.sent, connection.output.size() - connection.sent, MSG_NOSIGNAL);
    if (sent < 0) {
      if (errno != EAGAIN) {
        std::_Exit(0);
      }
      connection.blocked = true;
      watch(connection);
      return;
    }
    connection.sent += static_cast<std::size_t>(sent);
    if (connection.sent == connection.output.size()) {
      connection.output.clear();
      connection.sent = 0;
    }
  }
}

int Relay::on_header_end(nghttp2_session* session, const nghttp2_frame* frame, void* user) {
  auto& connection = *static_cast<Connection*>(user);
  if (frame->hd.type != NGHTTP2_HEADERS) {
    return 0;
  }
  static constexpr char kStatus[] = ":status", kOk[] = "200", kType[] = "content-type", kGrpc[] = "application/grpc";
  const auto header = [](const char* name, std::size_t name_bytes, const char* value, std::size_t value_bytes) {
    return nghttp2_nv{reinterpret_cast<std::uint8_t*>(const_cast<char*>(name)), reinterpret_cast<std::uint8_t*>(const_cast<char*>(value)),
                      name_bytes, value_bytes, NGHTTP2_NV_FLAG_NONE};
  };
  const std::array<nghttp2_nv, 2> answer = {header(kStatus, sizeof kStatus - 1, kOk, sizeof kOk - 1),
                                            header(kType, sizeof kType - 1, kGrpc, sizeof kGrpc - 1)};
  nghttp2_data_provider provider{.source = {.ptr = &connection}, .read_callback = &Relay::next_data};
  connection.stream = frame->hd.stream_id;
  nghttp2_submit_response(session, frame->hd.stream_id, answer.data(), answer.size(), &provider);
  connection.dirty = true;
  return 0;
}

int Relay::on_data(nghttp2_session*, std::uint8_t, std::int32_t, const std::uint8_t* data, std::size_t bytes, void* user) {
  Relay& relay = *static_cast<Connection*>(user)->relay;
  if (relay.macs_ != nullptr) {
    relay.macs_->take(data, bytes);
  }
  for (const auto& to : relay.connections_) {
    if (to->publisher) {
      continue;
    }
    to->queue.insert(to->queue.end(), data, data + bytes);
    if (to->deferred) {
      to->deferred = false;
      nghttp2_session_resume_data(to->session, to->stream);
    }
    to->dirty = true;
  }
  return 0;
}

ssize_t Relay::next_data(nghttp2_session*, std::int32_t, std::uint8_t* to, std::size_t room, std::uint32_t*, nghttp2_data_source* source, void*) {
  auto& connection = *static_cast<Connection*>(source->ptr);
  const std::size_t bytes = std::min(room, connection.queue.size() - connection.begin);
  if (bytes == 0) {
    connection.deferred = true;
    return NGHTTP2_ERR_DEFERRED;
  }
  std::memcpy(to, connection.queue.data() + connection.begin, bytes);
  connection.begin += bytes;
  if (connection.begin == connection.queue.size()) {
    connection.queue.clear();
    connection.begin = 0;
  } else if (connection.begin >= kQueueBytes) {
    connection.queue.erase(connection.queue.begin(), connection.queue.begin() + static_cast<std::ptrdiff_t>(connection.begin));
    connection.begin = 0;
  }
  return static_cast<ssize_t>(bytes);
}

}  // namespace

void run_edge_relay(int listener, std::size_t subscribers, bool macs) { Relay(listener, subscribers, macs).run(); }

}  // namespace slipway::bench
