#pragma once
// The head of one HTTP/1.1 request or response out of bytes in any pieces, bounded: for WebSocket handshakes and proxy
// tunnels. By libhttp-parser. The bytes behind the head are the caller's.

#include <http_parser.h>

#include <cstddef>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "edge/transport_config.h"

namespace slipway {

class HttpHead {
 public:
  enum class State { kMore, kComplete, kFault };
  HttpHead(bool request, std::size_t max_bytes);

  // Takes bytes up to the end of the head; `used` says how many.
  State feed(std::span<const std::byte> bytes, std::size_t& used);

  [[nodiscard]] std::string_view method() const { return http_method_str(static_cast<http_method>(parser_.method)); }
  [[nodiscard]] const std::string& url() const { return url_; }
  [[nodiscard]] int status() const { return static_cast<int>(parser_.status_code); }
  [[nodiscard]] bool http11() const { return parser_.http_major == 1 && parser_.http_minor >= 1; }
  [[nodiscard]] bool too_large() const { return too_large_; }
  [[nodiscard]] std::size_t bytes() const { return bytes_; }
  [[nodiscard]] const std::vector<TransportHeader>& headers() const { return headers_; }  // names in lower case
  [[nodiscard]] std::vector<TransportHeader>& headers() { return headers_; }
  // Of the first header with that name; empty: none.
  [[nodiscard]] std::string_view header(std::string_view name) const;
  // Whether the comma-separated values of the headers with that name have the token, in any case.
  [[nodiscard]] bool has_token(std::string_view name, std::string_view token) const;

 private:
  http_parser parser_;
  std::size_t max_bytes_;
  std::size_t bytes_ = 0;
  std::string url_;
  std::vector<TransportHeader> headers_;
  bool in_value_ = true;
  bool complete_ = false;
  bool too_large_ = false;
};

}  // namespace slipway
