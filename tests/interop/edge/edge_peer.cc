// A small program that carries Transport over real sockets, for tests with other implementations:
//
//   edge-peer serve [options]                 listens on 127.0.0.1, prints "listening PORT", echoes messages;
//                                             "status:N:text" ends the stream so, "send:N" answers N bytes
//   edge-peer call PORT [options] MESSAGE...  sends the messages, prints "message LENGTH TEXT" for each answer, half-closes
//                                             after as many answers, prints "closed FAULT STATUS TEXT"
//
// Options: --websocket, --tls CERTIFICATE KEY (serve), --tls CA NAME (call), --client-ca FILE (serve),
// --basic USER:PASSWORD, --jwt SECRET, --header NAME VALUE, --path PATH, --proxy TARGET.

#include <arpa/inet.h>
#include <fmt/format.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <ctime>
#include <list>
#include <map>
#include <string>
#include <vector>

#include "edge/auth_basic.h"
#include "edge/auth_jwt.h"
#include "edge/transport.h"

namespace slipway {
namespace {

TransportTime now() {
  const auto since = std::chrono::steady_clock::now().time_since_epoch();
  return {.now_ns = static_cast<std::uint64_t>(std::chrono::nanoseconds(since).count()), .unix_s = std::time(nullptr)};
}

[[noreturn]] void fail(const std::string& text) {
  fmt::print(stderr, "edge-peer: {}\n", text);
  std::exit(1);
}

struct Connection {
  int fd = -1;
  std::unique_ptr<Transport> transport;
  std::map<std::int32_t, std::string> partial;
  std::map<std::uint64_t, std::string> held;  // messages whose memory is lent
  std::uint64_t next_token = 1;
};

class Peer {
 public:
  Peer(std::shared_ptr<TransportConfig> config, std::vector<std::string> to_send) : config_(std::move(config)), to_send_(std::move(to_send)) {}

  void add(int fd) {
    const int one = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    Connection& c = connections_.emplace_back();
    c.fd = fd;
    c.transport = Transport::create(config_, {.memory = &memory_, .events = &events_, .release = [](void* held, std::uint64_t token) {
                                                static_cast<Connection*>(held)->held.erase(token);
                                              }, .context = &c}, now());
    if (c.transport == nullptr) {
      fail("no memory");
    }
    (void)c.transport->open_stream();
  }

  // Until `listener` is gone (-1: until no connection is left).
  void run(int listener) {
    while (listener >= 0 || !connections_.empty()) {
      std::vector<pollfd> fds{{listener, POLLIN, 0}};
      for (Connection& c : connections_) {
        fds.push_back({c.fd, static_cast<short>(POLLIN | (c.transport->wants_send() ? POLLOUT : 0)), 0});
      }
      if (poll(fds.data(), fds.size(), 100) < 0) {
        fail("poll failed");
      }
      std::size_t at = 1;
      for (auto c = connections_.begin(); c != connections_.end(); ++at) {
        if ((fds[at].revents & (POLLIN | POLLHUP | POLLERR)) != 0) {
          receive(*c);
        }
        c->transport->tick(now());
        handle(*c);
        send(*c);
        if (c->transport->finished()) {
          if (c->transport->failed()) {
            fmt::print("failed {}\n", c->transport->error().text);
            std::fflush(stdout);
          }
          close(c->fd);
          c->transport.reset();
          c = connections_.erase(c);
        } else {
          ++c;
        }
      }
      if ((fds[0].revents & POLLIN) != 0) {
        add(accept(listener, nullptr, nullptr));
      }
    }
  }

 private:
  void receive(Connection& c) {
    std::vector<std::byte> input(32u << 10);
    const ssize_t got = recv(c.fd, input.data(), input.size(), MSG_DONTWAIT);
    if (got == 0 || (got < 0 && errno != EAGAIN)) {
      c.transport->peer_closed();
      handle(c);
      return;
    }
    std::vector<std::byte> room(kEdgeRoomBytes);
    bool again = true;
    for (std::size_t used = 0; again || used < static_cast<std::size_t>(std::max<ssize_t>(got, 0));) {
      const FeedResult result = c.transport->feed(std::span(input).first(static_cast<std::size_t>(std::max<ssize_t>(got, 0))).subspan(used), room, now());
      handle(c);
      used += result.used;
      again = result.again;
    }
  }

  void handle(Connection& c) {
    const TransportEvents batch = std::move(events_);
    events_.clear();
    for (const TransportEvent& e : batch) {
      if (e.kind == TransportEventKind::kMessage) {
        std::string& partial = c.partial[e.stream];
        partial.append(reinterpret_cast<const char*>(e.bytes.data()), e.bytes.size());
        c.transport->release(e.stream, e.bytes.size());
        if (e.end) {
          on_message(c, e.stream, std::move(partial));
          partial.clear();
        }
      } else if (e.kind == TransportEventKind::kStreamOpen && config_->role == TransportRole::kClient) {
        for (const std::string& text : to_send_) {
          write(c, e.stream, text.starts_with("fill:") ? std::string(std::stoul(text.substr(5)), 'f') : text);
        }
      } else if (e.kind == TransportEventKind::kStreamClosed) {
        const StreamHead* head = c.transport->head(e.stream);
        fmt::print("closed {} {} {}\n", static_cast<int>(e.fault), e.grpc_status, head == nullptr ? "" : head->grpc_message);
        std::fflush(stdout);
        if (config_->role == TransportRole::kClient) {
          c.transport->close(now());
        }
      }
    }
  }

  void on_message(Connection& c, std::int32_t stream, std::string text) {
    if (config_->role == TransportRole::kClient) {
      fmt::print("message {} {}\n", text.size(), text.substr(0, 60));
      std::fflush(stdout);
      if (++answers_ == to_send_.size()) {
        c.transport->finish_stream(stream, 0, "");
      }
    } else if (text.starts_with("status:")) {
      c.transport->finish_stream(stream, std::stoi(text.substr(7)), text.substr(text.find(':', 7) + 1));
    } else if (text.starts_with("send:")) {
      write(c, stream, std::string(std::stoul(text.substr(5)), 's'));
    } else {
      write(c, stream, std::move(text));
    }
  }

  void write(Connection& c, std::int32_t stream, std::string text) {
    const std::uint64_t token = c.next_token++;
    const std::string& kept = c.held.emplace(token, std::move(text)).first->second;
    const iovec piece{const_cast<char*>(kept.data()), kept.size()};
    if (c.transport->write_message(stream, {&piece, 1}, token) != WriteResult::kQueued) {
      c.held.erase(token);
    }
  }

  void send(Connection& c) {
    for (;;) {
      iovec pieces[64];
      msghdr message{};
      message.msg_iov = pieces;
      message.msg_iovlen = c.transport->gather(pieces);
      handle(c);
      if (message.msg_iovlen == 0) {
        return;
      }
      const ssize_t sent = sendmsg(c.fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
      if (sent <= 0) {
        return;
      }
      c.transport->consumed(static_cast<std::size_t>(sent));
    }
  }

  std::shared_ptr<TransportConfig> config_;
  std::vector<std::string> to_send_;
  std::size_t answers_ = 0;
  TransportMemory memory_{256u << 20};
  TransportEvents events_;
  std::list<Connection> connections_;
};

struct Arguments {
  std::shared_ptr<TransportConfig> config = std::make_shared<TransportConfig>();
  TlsOptions tls;
  bool with_tls = false;
  std::vector<std::string> rest;
};

AuthKey secret(const std::string& text, bool sign) { return std::move(load_auth_keys({.data = text}, sign)->front()); }

void option(Arguments& out, const std::string& name, const auto& next) {
  TransportConfig& config = *out.config;
  const bool server = config.role == TransportRole::kServer;
  if (name == "--websocket") {
    config.protocol = TransportProtocol::kWebSocket;
    config.path = "/";
    config.max_message_bytes = kMaxWebSocketMessageBytes;
    out.tls.alpn = "http/1.1";
  } else if (name == "--tls") {
    out.with_tls = true;
    out.tls.server = server;
    config.scheme = "https";
    if (server) {
      out.tls.certificate.file = next();
      out.tls.key.file = next();
    } else {
      out.tls.ca.file = next();
      config.server_name = next();
    }
  } else if (name == "--client-ca") {
    out.tls.ca.file = next();
  } else if (name == "--basic") {
    const std::string pair = next();
    const std::string user = pair.substr(0, pair.find(':'));
    const std::string password = pair.substr(pair.find(':') + 1);
    if (server) {
      config.guard = std::make_shared<BasicGuard>(user, password);
    } else {
      config.headers.push_back({"authorization", basic_authorization(user, password)});
    }
  } else if (name == "--jwt") {
    if (server) {
      std::vector<AuthKey> keys;
      keys.push_back(secret(next(), false));
      config.guard = std::make_shared<JwtGuard>(std::move(keys), JwtRules{});
    } else {
      config.headers.push_back({"authorization", *JwtSigner(secret(next(), true), {.subject = "edge-peer"}).authorization(now().unix_s)});
    }
  } else if (name == "--header") {
    const std::string key = next();
    config.headers.push_back({key, next()});
  } else if (name == "--path") {
    config.path = next();
  } else if (name == "--proxy") {
    config.proxy = std::make_shared<ProxyTunnel>(ProxyTunnel{.target = next()});
  } else {
    out.rest.push_back(name);
  }
}

Arguments parse(int argc, char** argv, int from, TransportRole role) {
  Arguments out;
  out.config->role = role;
  for (int i = from; i < argc; ++i) {
    option(out, argv[i], [&]() -> std::string { return ++i < argc ? argv[i] : (fail("an option lacks its value"), ""); });
  }
  if (out.with_tls) {
    auto context = TlsContext::load(out.tls);
    if (!context) {
      fail(context.error());
    }
    out.config->tls = *context;
  }
  return out;
}

int serve(int argc, char** argv) {
  const Arguments arguments = parse(argc, argv, 2, TransportRole::kServer);
  const int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address{.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
  socklen_t length = sizeof(address);
  if (bind(listener, reinterpret_cast<sockaddr*>(&address), length) != 0 || listen(listener, 16) != 0 ||
      getsockname(listener, reinterpret_cast<sockaddr*>(&address), &length) != 0) {
    fail("cannot listen on 127.0.0.1");
  }
  fmt::print("listening {}\n", ntohs(address.sin_port));
  std::fflush(stdout);
  Peer(arguments.config, {}).run(listener);
  return 0;
}

int call(int argc, char** argv) {
  Arguments arguments = parse(argc, argv, 3, TransportRole::kClient);
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address{.sin_family = AF_INET, .sin_port = htons(static_cast<std::uint16_t>(std::atoi(argv[2]))), .sin_addr = {htonl(INADDR_LOOPBACK)}};
  if (connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof(address)) != 0) {
    fail("cannot connect");
  }
  arguments.config->authority = fmt::format("localhost:{}", argv[2]);
  Peer peer(arguments.config, arguments.rest);
  peer.add(fd);
  peer.run(-1);
  return 0;
}

}  // namespace
}  // namespace slipway

int main(int argc, char** argv) {
  const std::string_view verb = argc > 1 ? argv[1] : "";
  if (verb == "serve") {
    return slipway::serve(argc, argv);
  }
  if (verb == "call" && argc > 2) {
    return slipway::call(argc, argv);
  }
  slipway::fail("say `serve` or `call PORT`");
}
