// Datagram sockets and their links: opening, closing, and the rare single datagram.

#include <netinet/in.h>
#include <netinet/udp.h>
#include <unistd.h>

#include <cerrno>

#include "port/socket_address.h"
#include "port/socket_engine_impl.h"

namespace slipway {
namespace {

constexpr int kReceiveBufferBytes = 4 << 20;  // a burst of the fastest sender while we forward something else

bool set_option(int fd, int level, int option, int value) { return setsockopt(fd, level, option, &value, sizeof value) == 0; }

bool is_wildcard(const IpEndpoint& endpoint) {
  for (const std::uint8_t byte : endpoint.address) {
    if (byte != 0) {
      return false;
    }
  }
  return true;
}

}  // namespace

void SocketEngine::Impl::open_datagram(const OpenDatagram& open) {
  assert(open.port < kMaxPorts && !ports_[open.port].open);
  DatagramPort& port = ports_[open.port];
  sockaddr_storage address{};
  socklen_t length = sizeof address;
  port = {};
  port.fd = open.fd;
  port.open = true;
  if (getsockname(open.fd, reinterpret_cast<sockaddr*>(&address), &length) == 0) {
    port.local = endpoint_of(reinterpret_cast<const sockaddr*>(&address));
    port.ipv6 = address.ss_family == AF_INET6;
  }
  port.segment = options_.segment_offload && features_.udp_gso;
  if (options_.segment_offload && features_.udp_gro) {
    set_option(open.fd, IPPROTO_UDP, UDP_GRO, 1);
  }
  if (!set_option(open.fd, SOL_SOCKET, SO_RCVBUFFORCE, kReceiveBufferBytes)) {
    set_option(open.fd, SOL_SOCKET, SO_RCVBUF, kReceiveBufferBytes);
  }
  if (is_wildcard(port.local)) {
    // A hello must tell which of our addresses it was sent to.
    set_option(open.fd, IPPROTO_IP, IP_PKTINFO, 1);
    if (port.ipv6) {
      set_option(open.fd, IPPROTO_IPV6, IPV6_RECVPKTINFO, 1);
    }
  }
  counters_.syscalls.add(6);
  arm_datagram(open.port);
}

void SocketEngine::Impl::arm_datagram(std::uint16_t number) {
  DatagramPort& port = ports_[number];
  if (!port.open || port.recv_armed || reading_stopped_) {
    return;
  }
  io_uring_sqe* sqe = get_sqe();
  io_uring_prep_recvmsg_multishot(sqe, port.fd, &recv_template_, 0);
  sqe->flags |= IOSQE_BUFFER_SELECT;
  sqe->buf_group = kDatagramGroup;
  io_uring_sqe_set_data64(sqe, make_user_data(SocketOp::kDatagramRecv, number));
  port.recv_armed = true;
  ++operations_;
}

void SocketEngine::Impl::close_port(std::uint16_t number) {
  DatagramPort& port = ports_[number];
  if (!port.open) {
    return;
  }
  port.open = false;
  drop_datagram_queue(port, DropReason::kLinkGone);
  if (port.recv_armed) {
    cancel(make_user_data(SocketOp::kDatagramRecv, number));
  }
  if (!port.recv_armed && port.sends == 0) {
    close(port.fd);
    port.fd = -1;
  }
}

void SocketEngine::Impl::set_datagram(const LinkRecord& record) {
  LinkRecord& known = datagram_links_[record.index];
  if (record.state == LinkState::kFree) {
    if (known.state != LinkState::kFree && known.generation == record.generation) {
      release_datagram(record.index);
    }
    return;
  }
  if (record.transport == LinkTransport::kDatagram) {
    known = record;
  }
}

// Nothing passes any more; kLinkReleased follows when no frame for it is queued or in flight.
void SocketEngine::Impl::release_datagram(LinkIndex link) {
  LinkRecord& known = datagram_links_[link];
  known.state = LinkState::kFree;
  joiner_->forget(link, counters_, link_counters_[link]);
  join_accounting();
  if (datagram_waiting_[link] > 0) {
    datagram_leaving_[link] = true;
    return;
  }
  const LinkReleased record{.link = link, .generation = known.generation};
  datagram_leaving_[link] = !post_event(Event::kLinkReleased, std::as_bytes(std::span(&record, 1)));
  if (datagram_leaving_[link]) {
    owed_datagram_releases_ = true;
  }
}

void SocketEngine::Impl::datagram_done(LinkIndex link) {
  if (--datagram_waiting_[link] == 0 && datagram_leaving_[link]) {
    release_datagram(link);
  }
}

// Releases that found the ring full.
void SocketEngine::Impl::post_owed_datagrams() {
  owed_datagram_releases_ = false;
  for (LinkIndex link = 1; link < kMaxLinks; ++link) {
    if (datagram_leaving_[link] && datagram_waiting_[link] == 0) {
      release_datagram(link);
    }
  }
}

// What is being joined counts against the budget (the joiner counts it as partial).
void SocketEngine::Impl::join_accounting() {
  const std::size_t now = joiner_ ? joiner_->bytes() : 0;
  if (now > joined_bytes_) {
    budget_.force(now - joined_bytes_);
  } else {
    budget_.give(joined_bytes_ - now);
  }
  joined_bytes_ = now;
}

// Hellos and their answers: rare, so a plain call.
void SocketEngine::Impl::inject_datagram(const InjectDatagram& inject, std::span<const std::byte> payload) {
  const DatagramPort& port = ports_[inject.port];
  sockaddr_storage address{};
  const socklen_t length = port.open ? to_socket_address(inject.to, port.ipv6, address) : 0;
  if (length == 0) {
    counters_.drops[static_cast<std::size_t>(DropReason::kSendFailed)].add(1);
    return;
  }
  counters_.syscalls.add(1);
  if (sendto(port.fd, payload.data(), payload.size(), MSG_DONTWAIT | MSG_NOSIGNAL, reinterpret_cast<const sockaddr*>(&address), length) < 0) {
    counters_.drops[static_cast<std::size_t>(DropReason::kSendFailed)].add(1);
    return;
  }
  counters_.packets_out.add(1);
}

}  // namespace slipway
