// Where links come from: listeners, and connections that the node makes.
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <ctime>

#include "control_bounds.h"
#include "node/edge_profiles.h"
#include "node/node.h"

namespace slipway {

namespace {
constexpr std::uint32_t kNativeSocketMode = 0666;   // who may connect is decided by the hello, as over TCP
constexpr std::uint32_t kApiSocketMode = 0660;      // who may open it controls the node
constexpr std::uint64_t kConnectDeadlineNs = 5'000'000'000;
constexpr std::uint16_t kSocketDatagramBytes = 1'452;            // UDP payload that fits 1,500 bytes over IPv6
constexpr std::uint16_t kLoopbackDatagramBytes = 16u << 10;
static_assert(kSocketDatagramBytes >= kMinDatagramBytes);

std::uint16_t datagram_bytes_towards(const IpEndpoint& peer) { return is_loopback(peer) ? kLoopbackDatagramBytes : kSocketDatagramBytes; }
// As `links` calls it: how the bytes travel, and what they say.
std::string edge_transport_name(const EdgeSettings& edge) {
  return fmt::format("{}{}", edge.websocket ? "ws" : "grpc", edge.address.kind == SocketKind::kUnix ? "+unix" : edge.secure ? "+tls" : "");
}
}  // namespace

std::uint16_t Node::worker_for(const std::string& name) {
  std::vector<std::uint16_t> sockets;
  for (std::size_t i = 0; i < settings_.workers.size(); ++i) {
    if (settings_.workers[i].kind == WorkerKind::kSocket) {
      if (settings_.workers[i].name == name) {
        return static_cast<std::uint16_t>(i);
      }
      sockets.push_back(static_cast<std::uint16_t>(i));
    }
  }
  return sockets.empty() ? 0 : sockets[next_worker_++ % sockets.size()];
}

// Dataplane ports: DPDK's from 0 up, datagram sockets from the top down.
std::expected<std::uint16_t, std::string> Node::free_port() const {
  for (std::uint16_t port = kMaxPorts - 1; port + 1u > settings_.ports.size(); --port) {
    const bool taken = std::ranges::any_of(listeners_, [&](const auto& l) { return l->settings.address.kind == SocketKind::kUdp && l->port == port; }) ||
                       std::ranges::any_of(dialers_, [&](const auto& d) { return d->port == port; });
    if (!taken) {
      return port;
    }
    if (port == 0) {
      break;
    }
  }
  return std::unexpected(fmt::format("a node has at most {} DPDK ports and UDP sockets", kMaxPorts));
}

std::expected<void, std::string> Node::open_listener(const ListenSettings& settings) {
  auto listener = std::make_unique<Listener>();
  listener->settings = settings;
  if (settings.address.kind == SocketKind::kUdp) {
    const auto port = free_port();
    if (!port) {
      return std::unexpected(port.error());
    }
    listener->port = *port;
    listener->worker = worker_for(settings.worker);
  }
  auto fd = open_listening(settings.address, kNativeSocketMode);
  if (!fd) {
    return std::unexpected(fd.error());
  }
  listener->fd = *fd;
  listeners_.push_back(std::move(listener));
  return {};
}

std::expected<void, std::string> Node::open_edge_listener(const EdgeServerSettings& server, const NodeSettings& settings) {
  auto profile = make_edge_profile(server, settings);
  if (!profile) {
    return std::unexpected(profile.error());
  }
  if (auto opened = open_listener({.address = server.address, .line = server.line}); !opened) {
    return opened;
  }
  listeners_.back()->edge = server;
  listeners_.back()->profile = std::move(*profile);
  return {};
}

void Node::start_listener(Listener& listener) {
  listener.paused = false;
  if (listener.settings.address.kind == SocketKind::kUdp) {
    const int fd = std::exchange(listener.fd, -1);
    if (fd >= 0) {
      fleet_->post(listener.worker, Command::kOpenDatagram, OpenDatagram{listener.port, fd});
    }
    return;
  }
  if (auto watched = loop_->watch(listener.fd, fd_event::kReadable, [this, &listener](std::uint32_t) { accept_links(listener); }); !watched) {
    listener.last_error = watched.error();
  }
}

void Node::resume_listeners() {
  if (!links_->may_accept()) {
    return;
  }
  rush_ = false;
  for (auto& listener : listeners_) {
    if (listener->paused) {
      start_listener(*listener);
    }
  }
}

void Node::close_listener(Listener& listener) {
  if (listener.fd >= 0) {
    loop_->unwatch(listener.fd);
    if (listener.settings.address.kind == SocketKind::kUnix) {
      remove_socket_file(listener.fd, listener.settings.address.path);
    }
    ::close(listener.fd);
    listener.fd = -1;
  } else if (fleet_ && listener.settings.address.kind == SocketKind::kUdp && !draining_) {
    links_->table().each([&](NodeLink& link) {
      if (link.record.transport == LinkTransport::kDatagram && link.record.port == listener.port) {
        links_->close(link.record.index, "its listener is no longer configured", now_ms());
      }
    });
    fleet_->post(listener.worker, Command::kClosePort, ClosePort{listener.port});
  }
}

void Node::accept_links(Listener& listener) {
  for (std::uint32_t i = 0; i < kAcceptBurst; ++i) {
    if (!links_->may_accept()) {
      // A rush: the others wait in the kernel until some of these have said who they are.
      loop_->unwatch(listener.fd);
      listener.paused = true;
      rush_ = true;
      return;
    }
    std::string peer;
    const int fd = accept_one(listener.fd, listener.settings.address.kind, peer);
    if (fd < 0) {
      if (errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == ENOBUFS) {
        listener.last_error = fmt::format("cannot accept: {}", std::strerror(errno));
        log_.warn(fmt::format("{}: {}; raise `ulimit -n` or lower `limits.links`", listener.settings.address.text(), listener.last_error));
        loop_->unwatch(listener.fd);
        listener.paused = true;
      }
      return;
    }
    const bool tcp = listener.settings.address.kind == SocketKind::kTcp;
    const auto worker = worker_for(listener.settings.worker);
    const auto link = listener.profile == nullptr
                          ? links_->accept_stream(fd, worker, tcp ? "tcp" : "unix", peer, now_ms())
                          : links_->accept_edge(fd, worker, edge_transport_name(*listener.edge), peer, listener.profile, now_ms());
    if (!link) {
      ::close(fd);
      ++listener.refused;
      ++counters_.links_refused;
      listener.last_error = link.error();
      log_.warn(fmt::format("{}: connection of {} refused: {}", listener.settings.address.text(), peer, link.error()));
      continue;
    }
    ++listener.accepted;
    ++counters_.links_opened;
  }
}

// --- connections that we make ----------------------------------------------------------------------------------------

void Node::add_dialer(const ConnectSettings& settings) {
  auto dialer = std::make_unique<Dialer>();
  dialer->settings = settings;
  LinkTarget target;
  target.name = settings.name;
  target.address = settings.address.text();
  target.link_class = settings.link_class;
  target.backoff_first_ms = settings.backoff_first_ms;
  target.backoff_max_ms = settings.backoff_max_ms;
  dialer->target = links_->add_target(std::move(target), now_ms());
  dialers_.push_back(std::move(dialer));
}

std::expected<void, std::string> Node::add_edge_dialer(const EdgeClientSettings& client, const NodeSettings& settings) {
  auto profile = make_edge_profile(client, settings);
  if (!profile) {
    return std::unexpected(profile.error());
  }
  auto dialer = std::make_unique<Dialer>();
  dialer->edge = client;
  dialer->settings.name = client.endpoint;
  dialer->settings.address = client.proxy.value_or(client.address);
  dialer->settings.link_class = client.link_class;
  LinkTarget target;
  target.name = client.endpoint;
  target.address = client.endpoint;
  target.link_class = client.link_class;
  dialer->profile = *profile;
  target.edge = std::move(*profile);
  target.backoff_first_ms = client.backoff_first_ms;
  target.backoff_max_ms = client.backoff_max_ms;
  dialer->target = links_->add_target(std::move(target), now_ms());
  dialers_.push_back(std::move(dialer));
  return {};
}

void Node::remove_dialer(Dialer& dialer) {
  dial_ended(dialer);
  links_->remove_target(dialer.target, now_ms());
  if (dialer.port && dialer.settings.port.empty()) {
    fleet_->post(dialer.worker, Command::kClosePort, ClosePort{*dialer.port});
    dialer.port.reset();
  }
  dialer.removed = true;
}

Node::Dialer* Node::dialer_of(std::uint32_t target) {
  const auto at = std::ranges::find_if(dialers_, [&](const auto& d) { return d->target == target && !d->removed; });
  return at == dialers_.end() ? nullptr : at->get();
}

void Node::dial(std::uint32_t target) {
  Dialer* dialer = dialer_of(target);
  if (dialer == nullptr || draining_) {
    return;
  }
  dialer->at = dialer->settings.address;
  if (dialer->at.host.empty()) {
    dial_now(*dialer);
    return;
  }
  resolver_->cancel(dialer->question);
  dialer->question = resolver_->resolve(dialer->at.host, [this, dialer](Resolver::Answer addresses) {
    dialer->question = 0;
    if (!addresses) {
      links_->dial_failed(dialer->target, addresses.error(), now_ms());
      return;
    }
    // Each attempt takes the next one, so that one of a name's addresses that does not answer is no obstacle.
    const auto& one = (*addresses)[(links_->targets()[dialer->target].attempts - 1) % addresses->size()];
    std::ranges::copy(one.bytes, dialer->at.ip.address.begin());
    dialer->at.ip.family = one.family == AF_INET6 ? 6 : 4;
    dial_now(*dialer);
  });
}

void Node::dial_now(Dialer& dialer) {
  if (dialer.at.kind == SocketKind::kUdp) {
    dial_datagram(dialer);
  } else {
    dial_stream(dialer);
  }
}

void Node::dial_ended(Dialer& dialer) {
  if (dialer.fd >= 0) {
    loop_->unwatch(dialer.fd);
    ::close(std::exchange(dialer.fd, -1));
  }
  loop_->cancel(std::exchange(dialer.deadline, TimerId::kNone));
  resolver_->cancel(std::exchange(dialer.question, 0));
}

void Node::dial_stream(Dialer& dialer) {
  dial_ended(dialer);
  auto fd = begin_connect(dialer.at);
  if (!fd) {
    links_->dial_failed(dialer.target, fd.error(), now_ms());
    return;
  }
  dialer.fd = *fd;
  dialer.deadline = loop_->after(kConnectDeadlineNs, [this, &dialer] {
    dialer.deadline = TimerId::kNone;
    dial_ended(dialer);
    links_->dial_failed(dialer.target, "connecting took too long; is a firewall between?", now_ms());
  });
  const auto watched = loop_->watch(*fd, fd_event::kWritable, [this, &dialer](std::uint32_t) {
    const int error = connect_result(dialer.fd);
    if (error != 0) {
      dial_ended(dialer);
      links_->dial_failed(dialer.target, fmt::format("connecting failed: {}", std::strerror(error)), now_ms());
      return;
    }
    const int connected = std::exchange(dialer.fd, -1);
    loop_->unwatch(connected);
    dial_ended(dialer);
    if (dialer.profile != nullptr) {
      auto profile = with_credentials(dialer.profile, std::time(nullptr));
      if (!profile) {
        ::close(connected);
        links_->dial_failed(dialer.target, profile.error(), now_ms());
        return;
      }
      links_->set_edge_profile(dialer.target, std::move(*profile));
    }
    const bool tcp = dialer.at.kind == SocketKind::kTcp;
    const std::string transport = dialer.edge ? edge_transport_name(*dialer.edge) : tcp ? "tcp" : "unix";
    if (links_->dialed_stream(dialer.target, connected, worker_for(dialer.settings.worker), transport, now_ms())) {
      ++counters_.links_opened;
    } else {
      ::close(connected);
    }
  });
  if (!watched) {
    dial_ended(dialer);
    links_->dial_failed(dialer.target, watched.error(), now_ms());
  }
}

void Node::dial_datagram(Dialer& dialer) {
  LinkRecord way;
  way.peer = dialer.at.ip;
  const auto fail = [&](const std::string& why) { links_->dial_failed(dialer.target, why, now_ms()); };
  if (!dialer.settings.port.empty()) {
    const auto* port = ports_->find(dialer.settings.port);
    way.transport = LinkTransport::kEthernet;
    way.port = static_cast<std::uint16_t>(port - ports_->ports().data());
    if (const auto found = ports_->find_way(way, now_ms()); !found) {
      return fail(found.error());
    }
  } else {
    if (dialer.port && dialer.family != way.peer.family) {
      fleet_->post(dialer.worker, Command::kClosePort, ClosePort{*dialer.port});
      dialer.port.reset();  // its name has an address of the other family now
    }
    if (!dialer.port) {
      const auto number = free_port();
      auto fd = number ? open_datagram_towards(way.peer) : std::unexpected(number.error());
      if (!fd) {
        return fail(fd.error());
      }
      dialer.port = *number;
      dialer.family = way.peer.family;
      dialer.worker = worker_for(dialer.settings.worker);
      fleet_->post(dialer.worker, Command::kOpenDatagram, OpenDatagram{*number, *fd});
    }
    way.transport = LinkTransport::kDatagram;
    way.port = *dialer.port;
    way.owner_worker = dialer.worker;
    way.datagram_bytes = datagram_bytes_towards(way.peer);
  }
  const bool ethernet = way.transport == LinkTransport::kEthernet;
  const std::uint16_t own_udp_port = ethernet ? ports_->find(dialer.settings.port)->settings.udp_port : 0;
  if (links_->dialed_datagram(dialer.target, way, own_udp_port, ethernet ? "ethernet" : "udp", now_ms())) {
    ++counters_.links_opened;
  } else if (ethernet) {
    ports_->forget_way(way);
  }
}

std::expected<void, std::string> Node::find_way(LinkRecord& record) {
  if (record.transport == LinkTransport::kEthernet) {
    return ports_->find_way(record, now_ms());
  }
  record.datagram_bytes = datagram_bytes_towards(record.peer);
  return {};
}

std::expected<int, std::string> Node::listen_api_unix(const std::string& path) {
  auto fd = open_listening({SocketKind::kUnix, {}, path}, kApiSocketMode);
  return fd ? http_->listen(*fd) : fd;
}

std::expected<int, std::string> Node::listen_api_tcp(const IpEndpoint& at) {
  auto fd = open_listening({SocketKind::kTcp, at, {}}, 0);
  return fd ? http_->listen(*fd) : fd;
}

}  // namespace slipway
