#include "edge_client.h"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>

#include "edge/translate.h"
#include "frame/body.h"
#include "harness.h"
#include "server_process.h"

namespace slipway::bench {
namespace {

constexpr std::size_t kInputBytes = 256u << 10;
constexpr std::size_t kIdentityBytes = 236;  // of a shared-secret token as upstream's applications make it
constexpr std::byte kPublishTag{0x1A};       // Message.publish
constexpr std::size_t kMostPieces = 256;     // of one send

TransportTime now() { return {.now_ns = wall_ns(), .unix_s = 1'700'000'000}; }

std::shared_ptr<const TransportConfig> client_config() {
  static const auto config = std::make_shared<const TransportConfig>(
      TransportConfig{.role = TransportRole::kClient, .authority = "localhost:1", .keepalive_time_ms = 0});
  return config;
}

std::array<std::string, 3> text_of(const Destination& at) { return {"organization", "namespace", at.service}; }

Bytes upstream_message(const Bytes& frame, const HeaderMac* mac) {
  const Piece body = std::span(frame).subspan(kFrameHeaderBytes);
  std::array<std::byte, kMbufDataBytes> scratch;
  std::array<Piece, 32> pieces;
  const auto written = message_of_frame(frame.data(), Pieces({&body, 1}), {.mac = mac, .incoming_conn = 0}, {scratch, pieces});
  if (!written) {
    die(std::string(edge_fault_text(written.error()).what));
  }
  Bytes message;
  for (const Piece& piece : std::span(pieces).first(written->piece_count)) {
    message.insert(message.end(), piece.begin(), piece.end());
  }
  return message;
}

std::string identity_of(std::size_t number) {
  std::string identity = fmt::format("{:08x}", number);
  identity.resize(kIdentityBytes, 'i');
  return identity;
}

}  // namespace

Name Destination::name() const { return hash_name("organization", "namespace", service, {id, id}); }

// --- loop ----------------------------------------------------------------------------------------------------------------

ClientLoop::ClientLoop() : epoll_(epoll_create1(EPOLL_CLOEXEC)), input_(kInputBytes) {}
ClientLoop::~ClientLoop() { close(epoll_); }

void ClientLoop::turn(std::uint64_t wait_ns) {
  std::array<epoll_event, 64> events;
  const timespec wait{.tv_sec = static_cast<time_t>(wait_ns / 1'000'000'000), .tv_nsec = static_cast<long>(wait_ns % 1'000'000'000)};
  const int count = epoll_pwait2(epoll_, events.data(), static_cast<int>(events.size()), &wait, nullptr);
  for (int i = 0; i < count; ++i) {
    static_cast<Client*>(events[static_cast<std::size_t>(i)].data.ptr)->ready(events[static_cast<std::size_t>(i)].events);
  }
}

void ClientLoop::until(const std::function<bool()>& done, const std::string& what, std::uint64_t seconds) {
  const std::uint64_t give_up = wall_ns() + seconds * 1'000'000'000;
  while (!done()) {
    turn(10'000'000);
    if (wall_ns() > give_up) {
      die(fmt::format("{}: not within {} s", what, seconds));
    }
  }
}

// --- messages --------------------------------------------------------------------------------------------------------------

SignedMessages::SignedMessages(const Client& client, const Destination& to, bool one, std::size_t payload_bytes)
    : payload_(payload_bytes, std::byte{'p'}) {
  begins_.push_back(0);
  for (std::size_t i = 0; i < kCount; ++i) {
    const PublishBody body{.destination_text = text_of(to),
                           .source_text = text_of({.service = "publisher"}),
                           .identity = identity_of(i),
                           .payload_type = "msg",
                           .payload = payload_};
    const Bytes frame = encode_publish({.session_type = 1, .fanout = one ? 1u : 256u, .session_id = 0x12345678, .message_id = static_cast<std::uint32_t>(i + 1),
                                        .destination = to.name(), .source = Destination{.service = "publisher", .id = 77}.name(),
                                        .session_message_type = 1}, body);
    const Bytes message = upstream_message(frame, client.mac());
    const auto head = message.end() - static_cast<std::ptrdiff_t>(payload_bytes);
    if (!std::equal(head, message.end(), payload_.begin())) {
      die("a message does not end with its payload");
    }
    heads_.insert(heads_.end(), message.begin(), head);
    begins_.push_back(heads_.size());
  }
}

std::array<iovec, 2> SignedMessages::next() {
  const std::size_t i = at_++ % kCount;
  return {iovec{heads_.data() + begins_[i], begins_[i + 1] - begins_[i]}, iovec{payload_.data(), payload_.size()}};
}

// --- client ----------------------------------------------------------------------------------------------------------------

Client::Client(ClientLoop& loop, std::uint16_t port, bool negotiates, bool no_delay) : loop_(loop), negotiates_(negotiates) {
  fd_ = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  const int on = no_delay ? 1 : 0;
  setsockopt(fd_, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  if (fd_ < 0 || (connect(fd_, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0 && errno != EINPROGRESS)) {
    die(fmt::format("cannot connect: {}; `ulimit -n` may be too low", std::strerror(errno)));
  }
  transport_ = Transport::create(client_config(), {.memory = &loop.memory_, .events = &events_, .release = &Client::on_release, .context = this}, now());
  epoll_event event{.events = 0, .data = {.ptr = this}};
  epoll_ctl(loop_.epoll_, EPOLL_CTL_ADD, fd_, &event);
  watched_ = 0;
  blocked_ = true;
  watch(true);
}

Client::~Client() {
  transport_.reset();
  close(fd_);
}

void Client::watch(bool writable) {
  const std::uint32_t events = (reading_ ? EPOLLIN : 0u) | (writable ? EPOLLOUT : 0u);
  if (events != watched_) {
    epoll_event event{.events = events, .data = {.ptr = this}};
    epoll_ctl(loop_.epoll_, EPOLL_CTL_MOD, fd_, &event);
    watched_ = events;
  }
}

void Client::set_reading(bool reading) {
  reading_ = reading;
  watch(blocked_);
}

void Client::ready(std::uint32_t events) {
  if ((events & EPOLLOUT) != 0) {
    blocked_ = false;
  }
  if (reading_ && (events & (EPOLLIN | EPOLLERR | EPOLLHUP)) != 0) {
    const ssize_t got = recv(fd_, loop_.input_.data(), loop_.input_.size(), 0);
    if (got > 0) {
      feed({loop_.input_.data(), static_cast<std::size_t>(got)});
    } else if (got == 0 || errno != EAGAIN) {
      die(fmt::format("the server closed a connection{}{}", got == 0 ? "" : ": ", got == 0 ? "" : std::strerror(errno)));
    }
  }
  flush();
}

void Client::flush() {
  std::array<iovec, kMostPieces> pieces;
  while (!blocked_) {
    const std::size_t count = transport_->gather(pieces);
    if (count == 0) {
      break;
    }
    const msghdr message{.msg_name = nullptr, .msg_namelen = 0, .msg_iov = pieces.data(), .msg_iovlen = count, .msg_control = nullptr, .msg_controllen = 0, .msg_flags = 0};
    const ssize_t sent = sendmsg(fd_, &message, MSG_NOSIGNAL);
    if (sent > 0) {
      transport_->consumed(static_cast<std::size_t>(sent));
    } else if (errno == EAGAIN || errno == ENOTCONN) {
      blocked_ = true;
    } else {
      die(fmt::format("a connection broke: {}", std::strerror(errno)));
    }
  }
  watch(blocked_);
}

void Client::feed(std::span<const std::byte> bytes) {
  for (bool again = true; again || !bytes.empty();) {
    const FeedResult fed = transport_->feed(bytes, {}, now());
    take_events();
    bytes = bytes.subspan(fed.used);
    again = fed.again;
  }
}

void Client::take_events() {
  for (std::size_t i = 0; i < events_.size(); ++i) {
    const TransportEvent event = events_[i];
    switch (event.kind) {
      case TransportEventKind::kReady:
        (void)transport_->open_stream();
        break;
      case TransportEventKind::kStreamOpen:
        stream_ = event.stream;
        if (negotiates_) {
          static std::uint64_t links = 0;
          negotiation_ = std::make_unique<NegotiationInitiator>(NegotiationConfig{.node_id = "bench"}, LinkClass::kEdge,
                                                                fmt::format("00000000-0000-4000-8000-{:012x}", ++links), loop_.keys_, 0);
          send(negotiation_->start().send);
        } else {
          mac_.emplace(LinkKey{}, "00000000-0000-4000-8000-000000000000");  // that its messages are as long as the others'
          up_ = true;
        }
        break;
      case TransportEventKind::kMessage:
        take_part(event);
        transport_->release(event.stream, event.bytes.size());
        break;
      case TransportEventKind::kHalfClosed:
      case TransportEventKind::kGoaway:
        break;
      case TransportEventKind::kStreamClosed:
      case TransportEventKind::kFailed:
        die(fmt::format("the server ended a stream: {}{}", transport_fault_text(event.fault), transport_->error().text));
    }
  }
  events_.clear();
}

void Client::take_part(const TransportEvent& event) {
  fresh_ = fresh_ || event.begin;
  if (fresh_ && !event.bytes.empty()) {
    fresh_ = false;
    control_ = event.bytes.front() != kPublishTag;
    message_.clear();
  }
  if (control_) {
    message_.insert(message_.end(), event.bytes.begin(), event.bytes.end());
  }
  if (!event.end) {
    return;
  }
  if (control_) {
    take_control();
  } else {
    ++received;
  }
}

void Client::take_control() {
  const Piece piece = message_;
  if (!up_) {
    const NegotiationStep step = negotiation_->take(Pieces({&piece, 1}), 0);
    if (step.state != NegotiationStep::State::kEstablished || !negotiation_->link().key) {
      die(fmt::format("the negotiation failed: {}", step.text));
    }
    mac_.emplace(*negotiation_->link().key, negotiation_->link().link_id);
    up_ = true;
    return;
  }
  UpstreamMessage message;
  if (parse_message(Pieces({&piece, 1}), &message) == EdgeFault::kNone && message.kind == MessageKind::kSubscriptionAck) {
    ++(message.success ? acknowledged : refused);
  }
}

void Client::send(Bytes message) {
  // Short ones are copied, so the memory need not stay.
  const iovec piece{message.data(), message.size()};
  if (message.size() > kEdgeCopyBytes || transport_->write_message(stream_, {&piece, 1}, 0) != WriteResult::kCopied) {
    die("a control message could not be sent");
  }
}

void Client::subscribe(const Destination& to, std::uint64_t subscription) {
  const SubscribeBody body{.destination_text = text_of(to), .source_text = text_of(to), .subscription_id = subscription,
                           .identity = identity_of(subscription), .version = "3.4.6"};
  send(upstream_message(encode_subscribe({.kind = FrameKind::kSubscribe, .fanout = 1, .destination = to.name(), .source = to.name()}, body), mac()));
}

void Client::publish(std::span<const iovec> pieces) {
  const WriteResult result = transport_->write_message(stream_, pieces, 0);
  if (result != WriteResult::kCopied && result != WriteResult::kQueued) {
    die("a message could not be sent");
  }
}

}  // namespace slipway::bench
