// Connecting, hello, keepalive, losing a link and opening it again.

#include "client/link.h"

#include <fmt/format.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <random>
#include <utility>

#include "client/application.h"
#include "client/datagram_wire.h"
#include "client/stream_wire.h"

namespace slipway {
namespace {

constexpr std::uint64_t kMs = 1'000'000;

std::uint64_t random_u64() {
  std::random_device device;
  return std::uint64_t{device()} << 32 | device();
}

std::string default_client_name() { return fmt::format("{}[{}]", program_invocation_short_name, getpid()); }

}  // namespace

std::string_view phase_text(ClientLinkPhase phase) {
  switch (phase) {
    case ClientLinkPhase::kConnecting:
      return "connecting";
    case ClientLinkPhase::kGreeting:
      return "greeting";
    case ClientLinkPhase::kUp:
      return "up";
    case ClientLinkPhase::kWaiting:
      return "waiting to try again";
    case ClientLinkPhase::kClosed:
      return "closed";
  }
  return "unknown";
}

ClientLink::ClientLink(Loop& loop, ClientLinkOptions options, Endpoint endpoint)
    : loop_(loop), options_(std::move(options)), endpoint_(std::move(endpoint)), next_id_(random_u64()) {
  if (options_.client_name.empty()) {
    options_.client_name = default_client_name();
  }
  options_.max_frame_bytes = std::clamp<std::uint32_t>(options_.max_frame_bytes, kMaxControlFrameBytes, kMaxFrameBytes);
  if (endpoint_.kind == Endpoint::Kind::kUdp) {
    options_.max_frame_bytes = std::min<std::uint32_t>(options_.max_frame_bytes, kMaxDatagramFrameBytes);
  }
}

std::expected<std::unique_ptr<ClientLink>, std::string> ClientLink::open(Loop& loop, ClientLinkOptions options) {
  auto endpoint = parse_endpoint(options.address);
  if (!endpoint) {
    return std::unexpected(endpoint.error());
  }
  std::unique_ptr<ClientLink> link(new ClientLink(loop, std::move(options), std::move(*endpoint)));
  // Not at once: whoever opens a link sets up its applications first.
  loop.defer([link = link.get(), alive = std::weak_ptr(link->alive_)] {
    if (!alive.expired() && link->phase_ == ClientLinkPhase::kConnecting) {
      link->start_connect();
    }
  });
  return link;
}

ClientLink::~ClientLink() {
  options_.on_phase = nullptr;
  close();
  alive_.reset();
}

void ClientLink::close() {
  if (phase_ == ClientLinkPhase::kClosed) {
    return;
  }
  options_.reconnect = false;
  if (up() && !reading_) {
    send_control(encode_link(ByeBody{.reason = "closed by the application"}));
    (void)wire_->flush();
  }
  lose("closed by the application");
}

void ClientLink::set_phase(ClientLinkPhase phase, const std::string& why) {
  phase_ = phase;
  phase_since_ns_ = loop_.refresh_now();
  if (!why.empty()) {
    last_trouble_ = why;
  }
  if (options_.on_phase) {
    options_.on_phase(phase, why);
  }
}

void ClientLink::start_connect() {
  retry_timer_ = TimerId::kNone;
  set_phase(ClientLinkPhase::kConnecting, "");
  arm_tick();
  if (endpoint_.host.empty()) {
    connect_now();
    return;
  }
  question_ = resolver_.resolve(endpoint_.host, [this](Resolver::Answer addresses) {
    question_ = 0;
    if (!addresses) {
      lose(addresses.error());
      return;
    }
    set_address(endpoint_, (*addresses)[failures_ % addresses->size()]);  // the next one after each failure
    connect_now();
  });
}

void ClientLink::connect_now() {
  if (endpoint_.kind == Endpoint::Kind::kUdp) {
    open_datagram();
    return;
  }
  const int fd = socket(endpoint_.address.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd < 0) {
    lose(fmt::format("cannot open a socket for {}: {}", endpoint_.text, strerror(errno)));
    return;
  }
  connecting_fd_ = fd;
  if (connect(fd, reinterpret_cast<const sockaddr*>(&endpoint_.address), endpoint_.address_bytes) == 0) {
    connected(fd);
    return;
  }
  if (errno != EINPROGRESS) {
    lose(fmt::format("cannot connect to {}: {}; is slipwayd running there?", endpoint_.text, strerror(errno)));
    return;
  }
  const auto watched = loop_.watch(fd, fd_event::kWritable, [this, fd](std::uint32_t) {
    int error = 0;
    socklen_t bytes = sizeof error;
    getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &bytes);
    loop_.unwatch(fd);
    if (error != 0) {
      lose(fmt::format("cannot connect to {}: {}; is slipwayd running there?", endpoint_.text, strerror(error)));
    } else {
      connected(fd);
    }
  });
  if (!watched) {
    lose(watched.error());
  }
}

void ClientLink::connected(int fd) {
  connecting_fd_ = -1;
  if (endpoint_.kind == Endpoint::Kind::kTcp) {
    const int on = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  }
  wire_ = std::make_unique<StreamWire>(fd, options_.max_frame_bytes);
  const auto watched = loop_.watch(fd, fd_event::kReadable, [this](std::uint32_t events) { on_descriptor(events); });
  if (!watched) {
    lose(watched.error());
    return;
  }
  set_phase(ClientLinkPhase::kGreeting, "");
  say_hello();
}

void ClientLink::open_datagram() {
  const std::uint32_t datagram_bytes = endpoint_.loopback() ? kClientLoopbackDatagramBytes : kClientDatagramBytes;
  auto wire = DatagramWire::open(endpoint_, static_cast<std::uint32_t>(random_u64() | 1), datagram_bytes, options_.max_frame_bytes);
  if (!wire) {
    lose(wire.error());
    return;
  }
  datagram_ = wire->get();
  wire_ = std::move(*wire);
  cookie_.clear();
  const auto watched = loop_.watch(wire_->fd(), fd_event::kReadable, [this](std::uint32_t events) { on_descriptor(events); });
  if (!watched) {
    lose(watched.error());
    return;
  }
  set_phase(ClientLinkPhase::kGreeting, "");
  say_hello();
}

void ClientLink::say_hello() {
  HelloBody hello{.version = SLIPWAY_VERSION,
                  .node_id = options_.client_name,
                  .max_frame_bytes = options_.max_frame_bytes,
                  .keepalive_ms = options_.keepalive_ms,
                  .cookie = cookie_};
  if (datagram_ != nullptr) {
    hello.receive_link_id = datagram_->own_link_id();
    hello.datagram_bytes = datagram_->receive_bytes();
  }
  hello_sent_ns_ = loop_.refresh_now();
  send_control(encode_link(hello));
}

void ClientLink::on_descriptor(std::uint32_t events) {
  if ((events & fd_event::kWritable) != 0) {
    blocked_ = false;
    flush();
  }
  if (wire_ == nullptr || (events & (fd_event::kReadable | fd_event::kTrouble)) == 0) {
    return;
  }
  read();
}

void ClientLink::read() {
  received_ns_ = loop_.now_ns();
  resting_ = false;
  reading_ = true;
  const WireStatus status = wire_->receive(*this);
  reading_ = false;
  if (!pending_loss_.empty()) {
    tear_down(std::exchange(pending_loss_, {}));
  } else if (status == WireStatus::kBroken) {
    tear_down(fmt::format("lost {}: {}", endpoint_.text, wire_->trouble()));
  } else if (resting_) {
    read_on();
  }
}

// The socket does not tell of what has been read from it. At the end of the next turn, unless it has more before.
void ClientLink::read_on() {
  if (std::exchange(read_on_scheduled_, true)) {
    return;
  }
  loop_.defer_to_next_turn([this, alive = std::weak_ptr(alive_)] {
    if (alive.expired()) {
      return;
    }
    read_on_scheduled_ = false;
    if (resting_ && wire_ != nullptr) {
      read();
    }
  });
}

void ClientLink::lose(const std::string& why) {
  if (reading_) {
    if (pending_loss_.empty()) {
      pending_loss_ = why;
    }
  } else {
    tear_down(why);
  }
}

void ClientLink::tear_down(const std::string& why) {
  const bool absent = phase_ == ClientLinkPhase::kConnecting || (phase_ == ClientLinkPhase::kGreeting && datagram_ != nullptr);
  resolver_.cancel(std::exchange(question_, 0));
  if (connecting_fd_ >= 0) {
    loop_.unwatch(connecting_fd_);
    ::close(std::exchange(connecting_fd_, -1));
  }
  if (wire_ != nullptr) {
    on_reuse();
    loop_.unwatch(wire_->fd());
    wire_.reset();
    datagram_ = nullptr;
  }
  blocked_ = false;
  max_out_bytes_ = 0;
  loop_.cancel(std::exchange(tick_timer_, TimerId::kNone));
  loop_.cancel(std::exchange(retry_timer_, TimerId::kNone));
  requeue_subscriptions();
  if (!options_.reconnect || (!options_.retry_first && counters_.ups == 0)) {
    set_phase(ClientLinkPhase::kClosed, why);
    return;
  }
  std::uint64_t wait_ms = options_.backoff_first_ms;
  for (std::uint32_t i = 0; i < failures_ && wait_ms < options_.backoff_max_ms; ++i) {
    wait_ms *= 2;
  }
  wait_ms = std::min<std::uint64_t>(wait_ms, absent ? std::min(options_.absent_max_ms, options_.backoff_max_ms) : options_.backoff_max_ms);
  wait_ms = wait_ms * (75 + random_u64() % 51) / 100;  // many clients of one node must not come back at once
  ++failures_;
  retry_timer_ = loop_.after(wait_ms * kMs, [this] { start_connect(); });
  set_phase(ClientLinkPhase::kWaiting, why);
  arm_tick();
}

// Ticks are short while something is awaited, and as long as the keepalive allows otherwise.
void ClientLink::arm_tick() {
  const bool waits = !up() || unanswered_ > 0 || !queries_.empty();
  const std::uint64_t quiet_ms = options_.keepalive_ms > 0 ? std::max<std::uint64_t>(options_.keepalive_ms / 4, kClientTickMs) : 1'000;
  const std::uint64_t other_ms = node_.keepalive_ms > 0 ? std::max<std::uint64_t>(node_.keepalive_ms / 4, kClientTickMs) : quiet_ms;
  const std::uint64_t delay = (waits ? kClientTickMs : std::min(quiet_ms, other_ms)) * kMs;
  if (tick_timer_ != TimerId::kNone) {
    if (tick_at_ns_ <= loop_.now_ns() + delay) {
      return;
    }
    loop_.cancel(tick_timer_);
  }
  tick_at_ns_ = loop_.now_ns() + delay;
  tick_timer_ = loop_.after(delay, [this] {
    tick_timer_ = TimerId::kNone;
    tick();
  });
}

void ClientLink::tick() {
  const std::uint64_t now = loop_.now_ns();
  if (phase_ == ClientLinkPhase::kClosed) {
    return;
  }
  check_queries(now);
  if (phase_ == ClientLinkPhase::kConnecting || phase_ == ClientLinkPhase::kGreeting) {
    if (now - phase_since_ns_ > options_.connect_ms * kMs) {
      lose(phase_ == ClientLinkPhase::kConnecting
               ? fmt::format("cannot connect to {}: no answer within {} ms", endpoint_.text, options_.connect_ms)
               : fmt::format("{} did not answer our hello within {} ms; is it a slipwayd?", endpoint_.text, options_.connect_ms));
      return;
    }
    if (datagram_ != nullptr && now - hello_sent_ns_ > kClientHelloAgainMs * kMs) {
      say_hello();
    }
  }
  if (up()) {
    check_keepalive(now);
    check_subscriptions(now);
    if (datagram_ != nullptr) {
      datagram_->expire(now / kMs);
    }
  }
  if (phase_ != ClientLinkPhase::kClosed) {
    arm_tick();
  }
}

void ClientLink::check_keepalive(std::uint64_t now) {
  const std::uint64_t ours = options_.keepalive_ms * kMs;
  const std::uint64_t theirs = node_.keepalive_ms * kMs;
  if (ours > 0 && now - received_ns_ > kClientDeadAfter * ours) {
    lose(fmt::format("{} has been silent for {} ms", endpoint_.text, (now - received_ns_) / kMs));
    return;
  }
  const bool ask = ours > 0 && now - received_ns_ >= ours / 2 && now - asked_ns_ >= ours / 2;
  const bool show = theirs > 0 && now - sent_ns_ >= theirs / 2;
  if (ask || show) {
    asked_ns_ = now;
    send_control(encode_link(KeepaliveBody{.stamp = now}));
  }
}

}  // namespace slipway
