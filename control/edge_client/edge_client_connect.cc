// From the endpoint's name to a connected socket, and how a client ends.

#include <arpa/inet.h>
#include <fmt/format.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "edge/uuid.h"
#include "edge_client/edge_advice.h"
#include "edge_client/edge_client.h"

namespace slipway {
namespace {

constexpr std::uint64_t kMs = 1'000'000;

}  // namespace

std::string_view edge_step_name(EdgeStep step) {
  static constexpr std::string_view kNames[] = {"dns", "tcp", "tls", "http", "method", "negotiation", "up"};
  return kNames[static_cast<std::size_t>(step)];
}

EdgeClient::EdgeClient(Loop& loop, EdgeClientOptions options, Handlers handlers, EdgeEndpoint endpoint)
    : loop_(loop), options_(std::move(options)), handlers_(std::move(handlers)), endpoint_(std::move(endpoint)),
      scratch_(kTranslateScratchBytes), pieces_(kEdgeClientPieces) {}

std::expected<std::unique_ptr<EdgeClient>, std::string> EdgeClient::open(Loop& loop, EdgeClientOptions options, Handlers handlers) {
  auto endpoint = parse_edge_endpoint(options.endpoint);
  if (!endpoint) {
    return std::unexpected(endpoint.error());
  }
  if (options.link_id.size() > kMaxLinkIdBytes) {
    return std::unexpected(fmt::format("the link id has {} bytes; at most {} are allowed", options.link_id.size(), kMaxLinkIdBytes));
  }
  std::unique_ptr<EdgeClient> client(new EdgeClient(loop, std::move(options), std::move(handlers), std::move(*endpoint)));
  if (auto made = client->make_config(); !made) {
    return std::unexpected(made.error());
  }
  loop.defer([self = client.get(), alive = std::weak_ptr(client->alive_)] {
    if (!alive.expired()) {
      self->start();
    }
  });
  return client;
}

std::expected<void, std::string> EdgeClient::make_config() {
  if (options_.link_id.empty()) {
    options_.link_id = random_uuid();
  }
  auto config = std::make_shared<TransportConfig>();
  config->role = TransportRole::kClient;
  config->protocol = endpoint_.websocket ? TransportProtocol::kWebSocket : TransportProtocol::kGrpc;
  config->path = endpoint_.websocket ? endpoint_.path : kOpenChannelPath;
  config->scheme = endpoint_.scheme();
  config->authority = endpoint_.authority;
  config->server_name = options_.server_name.empty() ? endpoint_.host : options_.server_name;
  config->headers = options_.headers;
  if (!options_.authorization.empty()) {
    config->headers.push_back({"authorization", options_.authorization});
  }
  config->max_message_bytes = endpoint_.websocket ? kMaxFrameBytes : kMaxGrpcMessageBytes;
  config->handshake_timeout_ms = 0;  // kept here, by step
  config->keepalive_time_ms = options_.keepalive_ms;
  if (endpoint_.secure) {
    auto tls = TlsContext::load({.server = false, .certificate = options_.certificate, .key = options_.key, .ca = options_.ca,
                                 .system_roots = options_.system_roots, .skip_verify = options_.skip_verify, .min_version = TlsVersion::k12,
                                 .max_version = TlsVersion::k13, .alpn = endpoint_.websocket ? "http/1.1" : "h2", .groups = {}});
    if (!tls) {
      return std::unexpected(tls.error());
    }
    config->tls = *tls;
  }
  config_ = std::move(config);
  return {};
}

EdgeClient::~EdgeClient() {
  alive_.reset();
  resolver_.cancel(question_);
  loop_.cancel(timer_);
  if (connecting_fd_ >= 0) {
    loop_.unwatch(connecting_fd_);
    ::close(connecting_fd_);
  }
}

void EdgeClient::arm(std::uint64_t ms, std::string text, std::string remedy) {
  loop_.cancel(timer_);
  timer_ = loop_.after(ms * kMs, [this, text = std::move(text), remedy = std::move(remedy)] {
    timer_ = TimerId::kNone;
    fail(text, remedy);
  });
}

void EdgeClient::pass(EdgeStep step) {
  if (step_ != step) {
    return;
  }
  step_ = static_cast<EdgeStep>(static_cast<std::uint8_t>(step) + 1);
  if (handlers_.on_step) {
    handlers_.on_step(step);
  }
}

void EdgeClient::start() {
  if (endpoint_.socket.host.empty()) {
    pass(EdgeStep::kResolve);
    connect_next();
    return;
  }
  arm(options_.connect_ms, fmt::format("`{}` was not resolved within {} ms", endpoint_.socket.host, options_.connect_ms),
      "is a server of /etc/resolv.conf reachable?");
  question_ = resolver_.resolve(endpoint_.socket.host, [this](Resolver::Answer answer) {
    question_ = 0;
    if (!answer) {
      fail(answer.error(), {});
      return;
    }
    addresses_ = std::move(*answer);
    pass(EdgeStep::kResolve);
    connect_next();
  });
}

// One address after the other until one takes us.
void EdgeClient::connect_next() {
  Endpoint& to = endpoint_.socket;
  if (!addresses_.empty()) {
    if (next_address_ >= addresses_.size()) {
      fail(connect_trouble_, "is a node running there, and does a firewall let us through?");
      return;
    }
    set_address(to, addresses_[next_address_]);
  } else if (next_address_ > 0) {
    fail(connect_trouble_, to.kind == Endpoint::Kind::kUnix ? "is a node running with that socket, and may we open it?"
                                                            : "is a node running there, and does a firewall let us through?");
    return;
  }
  ++next_address_;
  connecting_fd_ = socket(to.address.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (connecting_fd_ < 0) {
    connect_ended(errno);
    return;
  }
  if (connect(connecting_fd_, reinterpret_cast<const sockaddr*>(&to.address), to.address_bytes) == 0) {
    connect_ended(0);
    return;
  }
  const int error = errno;
  const auto ready = [this](std::uint32_t) {
    int result = 0;
    socklen_t bytes = sizeof result;
    getsockopt(connecting_fd_, SOL_SOCKET, SO_ERROR, &result, &bytes);
    loop_.unwatch(connecting_fd_);
    connect_ended(result);
  };
  if (error != EINPROGRESS || !loop_.watch(connecting_fd_, fd_event::kWritable, ready)) {
    connect_ended(error);
    return;
  }
  loop_.cancel(timer_);
  timer_ = loop_.after(options_.connect_ms * kMs, [this] {
    timer_ = TimerId::kNone;
    loop_.unwatch(connecting_fd_);
    connect_ended(ETIMEDOUT);
  });
}

void EdgeClient::connect_ended(int error) {
  loop_.cancel(std::exchange(timer_, TimerId::kNone));
  const int fd = std::exchange(connecting_fd_, -1);
  if (error == 0) {
    connected(fd);
    return;
  }
  if (fd >= 0) {
    ::close(fd);
  }
  connect_trouble_ = error == ETIMEDOUT ? fmt::format("{} did not answer within {} ms", address_text(), options_.connect_ms)
                                        : fmt::format("cannot connect to {}: {}", address_text(), std::strerror(error));
  connect_next();
}

void EdgeClient::connected(int fd) {
  pass(EdgeStep::kConnect);
  if (!endpoint_.secure) {
    pass(EdgeStep::kTls);
  }
  socket_ = TransportSocket::create(loop_, fd, config_, memory_, *this);
  if (socket_ == nullptr) {
    fail("no memory is left for a connection", {});
    return;
  }
  arm(options_.handshake_ms, fmt::format("the node did not finish this step within {} ms", options_.handshake_ms), {});
}

std::string EdgeClient::address_text() const {
  const Endpoint& to = endpoint_.socket;
  if (to.kind == Endpoint::Kind::kUnix) {
    return to.text.substr(std::string_view("unix://").size());
  }
  const bool v6 = to.address.ss_family == AF_INET6;
  char text[INET6_ADDRSTRLEN] = {};
  const void* at = v6 ? static_cast<const void*>(&reinterpret_cast<const sockaddr_in6*>(&to.address)->sin6_addr)
                      : &reinterpret_cast<const sockaddr_in*>(&to.address)->sin_addr;
  inet_ntop(v6 ? AF_INET6 : AF_INET, at, text, sizeof text);
  return v6 ? fmt::format("[{}]:{}", text, to.port) : fmt::format("{}:{}", text, to.port);
}

// This step failed. May destroy the client: callers do nothing more.
void EdgeClient::fail(std::string text, std::string remedy) {
  EdgeClientEnd end{.step = step_, .text = std::move(text), .remedy = std::move(remedy)};
  if (end.remedy.empty()) {
    end.remedy = edge_remedy(end, endpoint_, socket_ == nullptr ? std::span<const std::byte>() : socket_->first_bytes());
  }
  finish(std::move(end));
}

void EdgeClient::finish(EdgeClientEnd end) {
  if (std::exchange(finished_, true)) {
    return;
  }
  loop_.cancel(std::exchange(timer_, TimerId::kNone));
  resolver_.cancel(std::exchange(question_, 0));
  socket_.reset();
  if (handlers_.on_closed) {
    const auto told = std::move(handlers_.on_closed);
    told(end);
  }
}

}  // namespace slipway
