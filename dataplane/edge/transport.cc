// A connection's life: its layers, deadlines and end. What runs for each piece of bytes is in transport_datapath.cc.

#include "edge/transport.h"

#include <algorithm>
#include <new>

#include "edge/transport_proxy.h"
#include "edge/ws_session.h"

namespace slipway {
namespace {

constexpr std::uint64_t kNsPerMs = 1'000'000;
constexpr std::uint64_t kCloseMs = 2'000;  // for the peer to take our last bytes and to say goodbye
constexpr std::uint64_t kGoawayMs = 1'000; // between the two GOAWAYs of a graceful end: streams on their way still come

}  // namespace

const char* transport_fault_text(TransportFault fault) {
  switch (fault) {
#define X(name, text)            \
  case TransportFault::name: \
    return text;
    SLIPWAY_TRANSPORT_FAULTS(X)
#undef X
  }
  return "unknown";
}

Transport::Transport(std::shared_ptr<const TransportConfig> config, const TransportOwner& owner, TransportTime now)
    : config_(std::move(config)), owner_(owner), store_(*owner.memory, owner.release, owner.context), plain_(store_),
      records_(store_), over_tls_(config_->tls != nullptr || (config_->proxy != nullptr && config_->proxy->tls != nullptr)), now_(now), started_ns_(now.now_ns), last_received_ns_(now.now_ns) {}

std::unique_ptr<Transport> Transport::create(std::shared_ptr<const TransportConfig> config, const TransportOwner& owner, TransportTime now) {
  if (!owner.memory->has_room()) {
    return nullptr;
  }
  std::unique_ptr<Transport> transport(new (std::nothrow) Transport(std::move(config), owner, now));
  return transport != nullptr && transport->start() ? std::move(transport) : nullptr;
}

Transport::~Transport() {
  h2_.reset();
  ws_.reset();
  tls_.reset();
}

bool Transport::start() {
  if (config_->protocol == TransportProtocol::kGrpc) {
    h2_ = H2Session::create(*config_, store_, plain_, *owner_.events, owner_.connection, counters_);
  } else {
    ws_ = WsSession::create(*config_, store_, plain_, *owner_.events, owner_.connection, counters_);
  }
  if (h2_ == nullptr && ws_ == nullptr) {
    return false;
  }
  return config_->proxy != nullptr ? start_proxy() : start_layers();
}

bool Transport::start_proxy() {
  proxy_ = std::make_unique<ProxyClient>(*config_->proxy);
  if (config_->proxy->tls == nullptr) {
    const std::string request = proxy_->take_request();
    return wire().append_copy(std::as_bytes(std::span(request)));
  }
  tls_ = TlsStream::create(config_->proxy->tls, config_->proxy->server_name, *owner_.memory, records_);
  if (tls_ == nullptr) {
    return false;
  }
  tls_->start();
  return true;
}

// What a client says first. A server waits.
bool Transport::start_layers() {
  if (config_->tls != nullptr) {
    tls_ = TlsStream::create(config_->tls, config_->server_name, *owner_.memory, records_, std::move(tls_));
    if (tls_ == nullptr) {
      return false;
    }
  }
  if (config_->role == TransportRole::kServer) {
    return true;
  }
  if (config_->tls != nullptr) {
    tls_->start();
  }
  if (ws_ != nullptr) {
    ws_->start();
  }
  return true;
}

bool Transport::needs_room() const { return over_tls_ || ws_ != nullptr; }

bool Transport::served() const { return h2_ != nullptr ? h2_->served() : ws_->served(); }

void Transport::fail(TransportFault fault, std::string text) {
  if (failed()) {
    return;
  }
  if (h2_ != nullptr) {
    h2_->fail(fault, text);  // tells streams and owner
  } else {
    ws_->fail(fault, text);
  }
  collect_errors();
}

void Transport::collect_errors() {
  if (!failed()) {
    if (h2_ != nullptr && h2_->failed()) {
      error_ = h2_->error();
    } else if (ws_ != nullptr && ws_->failed()) {
      error_ = ws_->error();
    } else if (tls_ != nullptr && tls_->failed()) {
      fail(tls_->error().fault, proxy_ == nullptr ? tls_->error().text : "Between here and the proxy (proxy.tls): " + tls_->error().text);
    }
  }
  if (closing_ns_ == 0 && (failed() || (h2_ != nullptr ? h2_->over() : ws_->over()))) {
    closing_ns_ = std::max<std::uint64_t>(now_.now_ns, 1);  // a peer that does not read our last bytes is not waited for
  }
}

void Transport::peer_closed() {
  peer_closed_ = true;
  if (closing_ns_ != 0 || (ws_ != nullptr && ws_->over())) {
    if (h2_ != nullptr) {
      h2_->close_streams(TransportFault::kPeerClosed);
    }
    return;
  }
  if (proxy_ != nullptr) {
    fail(TransportFault::kProxyRefused, "The proxy closed the connection without an answer.");
  } else if (tls_ != nullptr && !tls_->ready()) {
    fail(TransportFault::kPeerClosed, "The peer closed the connection during the TLS handshake.");
  } else {
    fail(TransportFault::kPeerClosed, "The peer closed the connection.");
  }
}

std::int32_t Transport::open_stream() { return h2_ == nullptr || failed() || closing_ns_ != 0 ? -1 : h2_->open_stream(); }

const StreamHead* Transport::head(std::int32_t stream) const {
  if (h2_ != nullptr) {
    return h2_->head(stream);
  }
  return stream == WsSession::kStream ? &ws_->head() : nullptr;
}

void Transport::finish_stream(std::int32_t stream, int grpc_status, std::string_view message) {
  if (h2_ != nullptr) {
    h2_->finish_stream(stream, grpc_status, message, TransportFault::kAsked, true);
  } else if (stream == WsSession::kStream) {
    ws_->close_stream(TransportFault::kAsked);
    close(now_);
  }
}

void Transport::reset_stream(std::int32_t stream) {
  if (h2_ != nullptr) {
    h2_->reset_stream(stream);
  } else if (stream == WsSession::kStream) {
    ws_->close_stream(TransportFault::kAsked);
    close(now_);
  }
}

std::size_t Transport::open_streams() const { return h2_ != nullptr ? h2_->open_streams() : ws_->open() ? 1 : 0; }

void Transport::drain() {
  if (h2_ != nullptr) {
    h2_->drain();
  } else {
    ws_->drain();
  }
}

void Transport::close(TransportTime now) {
  now_ = now;
  if (closing_ns_ != 0 || failed()) {
    return;
  }
  closing_ns_ = std::max<std::uint64_t>(now.now_ns, 1);
  if (h2_ != nullptr) {
    h2_->close_streams(TransportFault::kAsked);
    h2_->terminate(NGHTTP2_NO_ERROR);
  } else {
    ws_->close_stream(TransportFault::kAsked);
    ws_->close(1000);
  }
}

bool Transport::finished() const {
  if (peer_closed_) {
    return true;  // nobody is there to read
  }
  const bool over = failed() || (h2_ != nullptr ? h2_->over() : ws_->over());
  if (over && !wants_send()) {
    return true;
  }
  return closing_ns_ != 0 && now_.now_ns - closing_ns_ > kCloseMs * kNsPerMs;
}

void Transport::keep_alive() {
  const std::uint64_t time_ns = config_->keepalive_time_ms * kNsPerMs;
  const bool up = h2_ != nullptr ? h2_->ready() : ws_->open();
  if (time_ns == 0 || !up) {
    return;
  }
  const std::uint32_t unanswered = h2_ != nullptr ? h2_->pings_unanswered() : ws_->pings_unanswered();
  if (pinged_ns_ != 0 && unanswered == 0) {
    pinged_ns_ = 0;
  }
  if (pinged_ns_ != 0) {
    if (now_.now_ns - pinged_ns_ >= config_->keepalive_timeout_ms * kNsPerMs && last_received_ns_ <= pinged_ns_) {
      fail(TransportFault::kKeepaliveTimeout, "The peer answered no keepalive ping in time: it, or the network, is gone.");
    } else if (last_received_ns_ > pinged_ns_) {
      pinged_ns_ = 0;  // it lives, whatever became of the ping
    }
    return;
  }
  if (now_.now_ns - last_received_ns_ >= time_ns && (config_->keepalive_while_idle || open_streams() > 0)) {
    pinged_ns_ = now_.now_ns;
    if (h2_ != nullptr) {
      h2_->ping();
    } else {
      ws_->ping();
    }
  }
}

// After its age a connection takes no new streams: GOAWAY, later with the last stream's number, and at the end of the
// grace streams that are still open are ended so that their clients connect anew.
void Transport::age() {
  if (config_->max_age_ms == 0 || h2_ == nullptr || config_->role != TransportRole::kServer) {
    return;
  }
  if (aged_ns_ == 0) {
    if (now_.now_ns - started_ns_ >= config_->max_age_ms * kNsPerMs) {
      aged_ns_ = now_.now_ns;
      h2_->shutdown_notice();
    }
    return;
  }
  if (!goaway_final_ && now_.now_ns - aged_ns_ >= kGoawayMs * kNsPerMs) {
    goaway_final_ = true;
    h2_->shutdown_final();
  }
  if (goaway_final_ && (open_streams() == 0 || (config_->max_age_grace_ms != 0 &&
                                                now_.now_ns - aged_ns_ >= config_->max_age_grace_ms * kNsPerMs))) {
    close(now_);
  }
}

void Transport::tick(TransportTime now) {
  now_ = now;
  collect_errors();
  if (failed() || closing_ns_ != 0) {
    return;
  }
  if (!served() && config_->handshake_timeout_ms != 0 && now.now_ns - started_ns_ >= config_->handshake_timeout_ms * kNsPerMs) {
    fail(TransportFault::kHandshakeTimeout, tls_ != nullptr && !tls_->ready() ? "The TLS handshake did not end in time."
                                                                            : "No stream was opened on the connection in time.");
    return;
  }
  keep_alive();
  age();
  collect_errors();
}

std::uint64_t Transport::next_deadline_ns() const {
  std::uint64_t next = ~std::uint64_t{0};
  const auto at = [&next](std::uint64_t from_ns, std::uint64_t after_ms) { next = std::min(next, from_ns + after_ms * kNsPerMs); };
  if (closing_ns_ != 0) {
    at(closing_ns_, kCloseMs + 1);
    return next;
  }
  if (failed()) {
    return next;
  }
  if (!served() && config_->handshake_timeout_ms != 0) {
    at(started_ns_, config_->handshake_timeout_ms);
  }
  if (config_->keepalive_time_ms != 0 && (h2_ != nullptr ? h2_->ready() : ws_->open())) {
    if (pinged_ns_ != 0) {
      at(pinged_ns_, config_->keepalive_timeout_ms);
    } else {
      at(last_received_ns_, config_->keepalive_time_ms);
    }
  }
  if (config_->max_age_ms != 0 && h2_ != nullptr && config_->role == TransportRole::kServer) {
    if (aged_ns_ == 0) {
      at(started_ns_, config_->max_age_ms);
    } else if (!goaway_final_) {
      at(aged_ns_, kGoawayMs);
    } else if (config_->max_age_grace_ms != 0) {
      at(aged_ns_, config_->max_age_grace_ms);
    }
  }
  return next;
}

}  // namespace slipway
