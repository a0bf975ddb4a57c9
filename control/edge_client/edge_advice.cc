#include "edge_client/edge_advice.h"

#include <fmt/format.h>

#include <string_view>

#include "edge/grpc_status.h"

namespace slipway {
namespace {

std::string_view text_of(std::span<const std::byte> bytes) { return {reinterpret_cast<const char*>(bytes.data()), bytes.size()}; }

// The first bytes of a TLS record: an alert or a handshake of version 3.
bool is_tls(std::span<const std::byte> first) {
  return first.size() >= 2 && (first[0] == std::byte{0x15} || first[0] == std::byte{0x16}) && first[1] == std::byte{3};
}

std::string tls_remedy(const EdgeClientEnd& end, const EdgeEndpoint& endpoint) {
  switch (end.fault) {
    case TransportFault::kPlainToTls:
      return fmt::format("the port has no TLS: use {}://{}", endpoint.websocket ? "ws" : "http", endpoint.authority);
    case TransportFault::kTlsCertificate:
      return "trust the CA that signed the node's certificate, and expect the name that stands in it";
    case TransportFault::kTlsRefused:
      return "the node refuses our handshake: it may want a client certificate, or another TLS version";
    case TransportFault::kPeerClosed:
      return fmt::format("is the port for TLS? if not, use {}://{}", endpoint.websocket ? "ws" : "http", endpoint.authority);
    default:
      return "see the node's log; `openssl s_client -connect HOST:PORT` shows the handshake in detail";
  }
}

std::string http_remedy(const EdgeClientEnd& end, const EdgeEndpoint& endpoint, std::span<const std::byte> first) {
  if (is_tls(first) && !endpoint.secure) {
    return fmt::format("the port wants TLS: use {}://{}", endpoint.websocket ? "wss" : "https", endpoint.authority);
  }
  if (!endpoint.websocket && text_of(first).starts_with("HTTP/1")) {
    return "the port serves HTTP/1: it is a web server, a control API, or a WebSocket endpoint of a node (ws://)";
  }
  if (end.http_status == 404) {
    return "the node serves WebSocket on another path: see the endpoint in its configuration";
  }
  if (endpoint.websocket && end.fault == TransportFault::kPeerClosed) {
    return "is the port a gRPC port? then use http:// or https://";
  }
  return first.empty() ? "something listens there and says nothing: is it a SLIM node's data plane port (46357 by default), and is TLS wanted (https://)?"
                       : "what listens there does not speak HTTP/2: is it a SLIM node's data plane port (46357 by default)?";
}

std::string method_remedy(const EdgeClientEnd& end) {
  if (end.http_status == 401 || end.grpc_status == grpc_status::kUnauthenticated) {
    return "the node wants credentials, or other ones";
  }
  if (end.http_status == 403 || end.grpc_status == grpc_status::kPermissionDenied) {
    return "the node knows these credentials and does not let them in: see `auth` of the server in its configuration";
  }
  if (end.grpc_status == grpc_status::kUnimplemented) {
    return "the port serves gRPC but no SLIM data plane: is it a controller's (46358, 50051, 50052)? the data plane's is 46357 by default";
  }
  if (end.grpc_status == grpc_status::kUnavailable) {
    return "the node is shutting down, or a proxy does not reach it";
  }
  return "the answer's head did not come: does a proxy between hold it back until the first message?";
}

std::string negotiation_remedy(const EdgeClientEnd& end) {
  if (end.grpc_status == 0) {
    return "upstream's nodes end the stream so when they refuse a negotiation: see the node's log; do `require_header_mac` and `enforce_pqc` agree on both sides?";
  }
  return "the node's log says more; SLIM nodes negotiate since 1.3 and agree on keys since 2.0";
}

}  // namespace

std::string stream_end_text(const StreamEnd& end, EdgeStep step) {
  if (end.http_status != 0 && end.http_status != 200) {
    return fmt::format("the node answered HTTP {}", end.http_status);
  }
  if (end.grpc_status > 0) {
    return fmt::format("the node {} the stream with {}", step <= EdgeStep::kMethod ? "refused" : "ended",
                       grpc_end_text(end.grpc_status, end.grpc_message));
  }
  if (end.grpc_status == 0) {
    return step <= EdgeStep::kNegotiation ? "the node ended the stream before it answered" : "the node ended the stream";
  }
  return transport_fault_text(end.fault);
}

std::string edge_remedy(const EdgeClientEnd& end, const EdgeEndpoint& endpoint, std::span<const std::byte> first) {
  switch (end.step) {
    case EdgeStep::kTls:
      return tls_remedy(end, endpoint);
    case EdgeStep::kHttp:
      return http_remedy(end, endpoint, first);
    case EdgeStep::kMethod:
      return method_remedy(end);
    case EdgeStep::kNegotiation:
      return negotiation_remedy(end);
    case EdgeStep::kUp:
      return end.rejected ? "the node does not want this link: see its log" : "connect again";
    case EdgeStep::kResolve:
      return fmt::format("`getent hosts {}` shows what this machine makes of the name", endpoint.host);
    case EdgeStep::kConnect:
      break;
  }
  return {};
}

}  // namespace slipway
