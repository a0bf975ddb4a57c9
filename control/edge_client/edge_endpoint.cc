#include "edge_client/edge_endpoint.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

namespace slipway {
namespace {

constexpr std::string_view kForms = "http://HOST:PORT, https://HOST:PORT, grpc://HOST:PORT, unix://PATH, ws://HOST:PORT/PATH or wss://HOST:PORT/PATH";

struct Scheme {
  std::string_view name;
  bool secure;
  bool websocket;
  int port;
};
constexpr std::array kSchemes = {Scheme{"http", false, false, 80}, Scheme{"https", true, false, 443}, Scheme{"grpc", false, false, 46357},
                                 Scheme{"ws", false, true, 80}, Scheme{"wss", true, true, 443}};

// "[::1]" and "host" have none, "[::1]:80" and "host:80" have one.
bool has_port(std::string_view authority) {
  const auto colon = authority.rfind(':');
  const auto bracket = authority.rfind(']');
  return colon != std::string_view::npos && (bracket == std::string_view::npos || colon > bracket);
}

}  // namespace

std::expected<EdgeEndpoint, std::string> parse_edge_endpoint(std::string_view text) {
  const auto wrong = [&](std::string_view what) {
    return std::unexpected(fmt::format("'{}' is no endpoint of a SLIM node: {}; write {}", text, what, kForms));
  };
  const auto end = text.find("://");
  if (end == std::string_view::npos) {
    return wrong("it has no scheme");
  }
  EdgeEndpoint out;
  out.text = text;
  std::string_view rest = text.substr(end + 3);
  if (text.starts_with("unix://")) {
    rest = rest.substr(0, rest.find_first_of("?#"));
    auto socket = parse_endpoint(fmt::format("unix://{}{}", rest.starts_with('/') ? "" : "/", rest));  // as upstream has it
    if (!socket || rest.empty()) {
      return wrong(rest.empty() ? std::string("it has no path") : socket.error());
    }
    out.socket = std::move(*socket);
    out.authority = "localhost";
    return out;
  }
  const auto scheme = std::ranges::find(kSchemes, text.substr(0, end), &Scheme::name);
  if (scheme == kSchemes.end()) {
    return wrong("its scheme is not known");
  }
  out.secure = scheme->secure;
  out.websocket = scheme->websocket;
  if (const auto slash = rest.find('/'); slash != std::string_view::npos) {
    out.path = rest.substr(slash);
    rest = rest.substr(0, slash);
  }
  out.authority = has_port(rest) ? std::string(rest) : fmt::format("{}:{}", rest, scheme->port);
  auto socket = parse_endpoint("tcp://" + out.authority);
  if (!socket) {
    return wrong(socket.error());
  }
  out.socket = std::move(*socket);
  out.host = rest.substr(0, has_port(rest) ? rest.rfind(':') : rest.size());
  if (out.host.starts_with('[') && out.host.ends_with(']')) {
    out.host = out.host.substr(1, out.host.size() - 2);
  }
  return out;
}

}  // namespace slipway
