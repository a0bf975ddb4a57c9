#pragma once
// Where a SLIM node listens, as upstream's clients write it: http://HOST:PORT, https://HOST:PORT, grpc://HOST:PORT (as
// http), unix://PATH, ws://HOST:PORT/PATH, wss://HOST:PORT/PATH. Pure.

#include <expected>
#include <string>
#include <string_view>

#include "client/endpoint.h"

namespace slipway {

struct EdgeEndpoint {
  Endpoint socket;            // kTcp or kUnix
  bool secure = false;        // https, wss
  bool websocket = false;     // ws, wss
  std::string path = "/";     // of a WebSocket
  std::string host;           // as written, without brackets; empty for unix
  std::string authority;      // host:port; "localhost" for unix
  std::string text;           // as written

  [[nodiscard]] std::string_view scheme() const { return socket.kind == Endpoint::Kind::kUnix ? "unix" : secure ? "https" : "http"; }
};

// A port that is missing is HTTP's: 80, or 443 with TLS; of grpc:// it is 46357. The error says what an endpoint looks like.
[[nodiscard]] std::expected<EdgeEndpoint, std::string> parse_edge_endpoint(std::string_view text);

}  // namespace slipway
