#include "edge/transport_proxy.h"

#include <fmt/format.h>

namespace slipway {

ProxyClient::ProxyClient(const ProxyTunnel& tunnel) : target_(tunnel.target), head_(false, kMaxEdgeHeaderBytes) {
  request_ = fmt::format("CONNECT {0} HTTP/1.1\r\nHost: {0}\r\n", tunnel.target);
  for (const TransportHeader& header : tunnel.headers) {
    request_ += fmt::format("{}: {}\r\n", header.name, header.value);
  }
  if (!tunnel.authorization.empty()) {
    request_ += fmt::format("Proxy-Authorization: {}\r\n", tunnel.authorization);
  }
  request_ += "\r\n";
}

ProxyClient::State ProxyClient::feed(std::span<const std::byte> bytes, std::size_t& used) {
  const HttpHead::State state = head_.feed(bytes, used);
  if (state == HttpHead::State::kMore) {
    return State::kMore;
  }
  if (state == HttpHead::State::kFault) {
    error_ = {TransportFault::kProxyRefused, "The proxy does not answer in HTTP/1.1: check the proxy's url."};
    return State::kFault;
  }
  if (head_.status() >= 200 && head_.status() < 300) {
    return State::kOpen;
  }
  error_ = {TransportFault::kProxyRefused,
            fmt::format("The proxy refused a tunnel to {} with HTTP status {}.{}", target_, head_.status(),
                        head_.status() == 407 ? " Set proxy.username and proxy.password." : "")};
  return State::kFault;
}

}  // namespace slipway
