#pragma once
// An HTTP CONNECT tunnel through a proxy, before the node's TLS and HTTP/2 begin (RFC 9110 section 9.3.6). Inner part of
// Transport.

#include <memory>
#include <span>
#include <string>
#include <utility>

#include "edge/transport_config.h"
#include "edge/transport_events.h"
#include "edge/transport_http_head.h"

namespace slipway {

class ProxyClient {
 public:
  enum class State { kMore, kOpen, kFault };
  explicit ProxyClient(const ProxyTunnel& tunnel);

  [[nodiscard]] std::string take_request() { return std::move(request_); }  // what to send first; empty: it was taken
  State feed(std::span<const std::byte> bytes, std::size_t& used);
  [[nodiscard]] const TransportError& error() const { return error_; }

 private:
  std::string target_;
  std::string request_;
  HttpHead head_;
  TransportError error_;
};

}  // namespace slipway
