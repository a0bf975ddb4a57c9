#pragma once
// How one connection speaks: which layers, its limits, and for clients what they ask for. Shared by all connections
// of a listener or of a client entry; a reload makes a new one for new connections. Defaults are upstream's.

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "bounds.h"
#include "edge/auth_guard.h"

namespace slipway {

class TlsContext;

enum class TransportRole : std::uint8_t { kServer, kClient };
enum class TransportProtocol : std::uint8_t { kGrpc, kWebSocket };

inline constexpr const char* kOpenChannelPath = "/dataplane.proto.v1.DataPlaneService/OpenChannel";

struct TransportHeader {
  std::string name;   // lower case for gRPC
  std::string value;
};

// A tunnel through an HTTP proxy, before anything else is said (RFC 9110, CONNECT).
struct ProxyTunnel {
  std::string target;         // host:port of the node
  std::shared_ptr<const TlsContext> tls;  // to the proxy itself; the node's own TLS then goes through it. Absent: cleartext
  std::string server_name;                // of the proxy, as TransportConfig::server_name
  std::string authorization;  // value of proxy-authorization; empty: none
  std::vector<TransportHeader> headers;
};

struct TransportConfig {
  TransportRole role = TransportRole::kServer;
  TransportProtocol protocol = TransportProtocol::kGrpc;
  std::shared_ptr<const TlsContext> tls;  // absent: cleartext

  // The gRPC method; for WebSocket the path of the endpoint.
  std::string path = kOpenChannelPath;

  // gRPC server: `path` ends in '/' and is a service, each of whose methods is taken (StreamHead::path says which), and a stream
  // stays open when the peer has said all (kHalfClosed), until it is finished: calls of one request and one answer.
  bool calls = false;

  // --- server ---------------------------------------------------------------------------------------
  std::shared_ptr<const AuthGuard> guard;  // absent: everybody may

  // --- client ---------------------------------------------------------------------------------------
  std::string scheme = "http";     // of the request: http, https, unix
  std::string authority;           // host:port; "localhost" over a Unix socket
  std::string origin;              // WebSocket: Origin header, empty: none
  std::string server_name;         // TLS: for SNI and the certificate; empty: no SNI, and the certificate's name is not checked
  std::vector<TransportHeader> headers;      // sent with the request, before authorization
  std::shared_ptr<const ProxyTunnel> proxy;  // absent: none

  // --- limits ---------------------------------------------------------------------------------------
  std::uint32_t max_message_bytes = kMaxGrpcMessageBytes;  // received and sent; WebSocket: kMaxWebSocketMessageBytes
  std::uint32_t max_streams = kMaxEdgeStreams;             // server: open at once on one connection
  std::uint32_t stream_window_bytes = 0;                   // received and not yet released; 0: the role's default
  std::uint32_t connection_window_bytes = 0;
  std::uint32_t max_frame_bytes = 0;                       // HTTP/2 frames we take, 16 KiB to 16 MiB - 1
  std::uint32_t max_header_bytes = kMaxEdgeHeaderBytes;

  // --- time, in milliseconds; 0: never --------------------------------------------------------------
  std::uint64_t handshake_timeout_ms = kEdgeHandshakeMs;      // from the connection's start to its first open stream
  std::uint64_t keepalive_time_ms = kEdgeKeepaliveMs;         // silence after which a ping is sent
  std::uint64_t keepalive_timeout_ms = kEdgeKeepaliveTimeoutMs;  // and how long its answer may take
  bool keepalive_while_idle = true;                           // also without an open stream
  std::uint64_t max_age_ms = 0;                               // then a graceful GOAWAY
  std::uint64_t max_age_grace_ms = 0;                         // then open streams are ended; 0: they stay

  // The role's default where a field says 0.
  [[nodiscard]] std::uint32_t stream_window() const {
    return stream_window_bytes != 0 ? stream_window_bytes : role == TransportRole::kServer ? 1u << 20 : 2u << 20;
  }
  [[nodiscard]] std::uint32_t connection_window() const {
    return connection_window_bytes != 0 ? connection_window_bytes : role == TransportRole::kServer ? 1u << 20 : 5u << 20;
  }
  [[nodiscard]] std::uint32_t frame_bytes() const {
    return max_frame_bytes != 0 ? max_frame_bytes : role == TransportRole::kServer ? 4u << 20 : 16u << 10;
  }
};

}  // namespace slipway
