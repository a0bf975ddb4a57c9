// What runs for each piece of received bytes, each message and each send.

#include <algorithm>

#include "edge/transport.h"
#include "edge/transport_proxy.h"
#include "edge/ws_session.h"

namespace slipway {

FeedResult Transport::feed(std::span<const std::byte> bytes, std::span<std::byte> room, TransportTime now) {
  FeedResult result;
  now_ = now;
  if (!bytes.empty()) {
    last_received_ns_ = now.now_ns;
  }
  const std::size_t given = bytes.size();
  if (proxy_ != nullptr) {
    feed_proxy(bytes);
  }
  if (proxy_ == nullptr && !failed()) {
    feed_layers(bytes, room, result);
  }
  collect_errors();
  if (failed()) {
    bytes = {};  // the rest is nobody's
    result.again = false;
  }
  result.used = given - bytes.size();
  counters_.wire_bytes_in += result.used;
  return result;
}

void Transport::feed_proxy(std::span<const std::byte>& bytes) {
  if (tls_ != nullptr) {
    feed_tls_proxy(bytes);
    return;
  }
  std::size_t used = 0;
  const ProxyClient::State state = proxy_->feed(bytes, used);
  bytes = bytes.subspan(used);
  if (state != ProxyClient::State::kMore) {
    tunnel_answered(state == ProxyClient::State::kOpen);
  }
}

// Byte by byte: what follows the proxy's answer is the node's.
void Transport::feed_tls_proxy(std::span<const std::byte>& bytes) {
  tls_->give(bytes);
  auto state = ProxyClient::State::kMore;
  while (state == ProxyClient::State::kMore) {
    std::byte one{};
    const std::size_t got = tls_->read({&one, 1});
    if (tls_->ready()) {
      const std::string request = proxy_->take_request();
      tls_->write(std::as_bytes(std::span(request)));
    }
    if (got == 0) {
      break;
    }
    std::size_t used = 0;
    state = proxy_->feed({&one, 1}, used);
  }
  bytes = bytes.last(tls_->left());
  if (state != ProxyClient::State::kMore) {
    tunnel_answered(state == ProxyClient::State::kOpen);
  } else if (tls_->peer_closed()) {
    peer_closed();
  }
}

void Transport::tunnel_answered(bool open) {
  if (!open) {
    fail(proxy_->error().fault, proxy_->error().text);
    return;
  }
  proxy_.reset();
  if (!start_layers()) {
    fail(TransportFault::kNoMemory, "No memory is left for TLS.");
  }
}

void Transport::feed_layers(std::span<const std::byte>& bytes, std::span<std::byte> room, FeedResult& result) {
  if (h2_ != nullptr && tls_ == nullptr) {
    if (!bytes.empty()) {
      h2_->feed(bytes, now_);
    }
    bytes = {};
    return;
  }
  if (tls_ != nullptr) {
    tls_->give(bytes);
  }
  if (h2_ != nullptr) {
    feed_tls_http2(bytes, room, result);
  } else {
    ByteSource source{.bytes = bytes, .tls = tls_.get()};
    result.room_used = ws_->feed(source, room, now_);
    bytes = tls_ != nullptr ? bytes.last(tls_->left()) : source.bytes;
    // Stopped for want of room: bytes wait here, in wslay or in TLS, that no new input will announce.
    result.again = !ws_->over() && room.size() - result.room_used < 4096;
  }
  if (tls_ != nullptr && tls_->peer_closed() && !peer_closed_) {
    peer_closed();
  }
}

void Transport::feed_tls_http2(std::span<const std::byte>& bytes, std::span<std::byte> room, FeedResult& result) {
  while (result.room_used < room.size()) {
    const auto free = room.subspan(result.room_used);
    const std::size_t got = tls_->read(free);
    if (got == 0) {
      break;
    }
    h2_->feed(free.first(got), now_);
    result.room_used += got;
    if (h2_->failed()) {
      break;
    }
  }
  bytes = bytes.last(tls_->left());
  result.again = result.room_used == room.size() && (tls_->pending() || !bytes.empty());
}

void Transport::release(std::int32_t stream, std::size_t bytes) {
  if (h2_ != nullptr && bytes != 0) {
    h2_->release(stream, bytes);
  }
}

bool Transport::wants_send() const {
  if (wire().bytes() > 0) {
    return true;
  }
  if (proxy_ != nullptr) {
    return false;
  }
  if (tls_ != nullptr && (!tls_->ready() || tls_->failed())) {
    return false;
  }
  return plain_.bytes() > 0 || (h2_ != nullptr && h2_->wants_write());
}

std::size_t Transport::gather(std::span<iovec> out) {
  if (proxy_ == nullptr) {
    if (h2_ != nullptr) {
      h2_->pump();
    }
    if (tls_ != nullptr) {
      tls_->encrypt(plain_, kEdgeOutputBytes);
      const bool over = failed() || (h2_ != nullptr ? h2_->over() : ws_->over());
      if (over && plain_.bytes() == 0 && !closed_tls_) {
        closed_tls_ = true;
        tls_->close();
      }
    }
    collect_errors();
  }
  return wire().gather(out);
}

void Transport::consumed(std::size_t bytes) {
  OutputQueue& queue = wire();
  queue.consume(bytes);
  counters_.wire_bytes_out += bytes;
  if (plain_.empty() && records_.empty() && (h2_ == nullptr || h2_->pending_bytes() == 0)) {
    store_.rest();
  }
}

WriteResult Transport::write_message(std::int32_t stream, std::span<const iovec> pieces, std::uint64_t token) {
  if (failed() || closing_ns_ != 0) {
    return WriteResult::kClosed;
  }
  WriteResult result = WriteResult::kClosed;
  if (h2_ != nullptr) {
    result = h2_->write_message(stream, pieces, token);
  } else if (stream == WsSession::kStream) {
    result = ws_->write_message(pieces, token);
  }
  if (result == WriteResult::kNoMemory) {
    collect_errors();
  }
  return result;
}

std::size_t Transport::pending_bytes() const {
  return plain_.bytes() + records_.bytes() + (h2_ != nullptr ? h2_->pending_bytes() : 0);
}

std::size_t Transport::pending_bytes(std::int32_t stream) const { return h2_ != nullptr ? h2_->pending_bytes(stream) : 0; }

}  // namespace slipway
