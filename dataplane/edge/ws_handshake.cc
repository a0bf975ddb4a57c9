// The HTTP/1.1 upgrade of a WebSocket, both sides (RFC 6455 section 4).

#include <fmt/format.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/rand.h>

#include <algorithm>
#include <array>

#include "edge/grpc_status.h"
#include "edge/ws_session.h"

namespace slipway {
namespace {

std::string base64(std::span<const unsigned char> bytes) {
  std::string out(4 * ((bytes.size() + 2) / 3) + 1, '\0');
  const int length = EVP_EncodeBlock(reinterpret_cast<unsigned char*>(out.data()), bytes.data(), static_cast<int>(bytes.size()));
  out.resize(static_cast<std::size_t>(length));
  return out;
}

// What a server answers to a key: RFC 6455 section 1.3.
std::string accept_of(std::string_view key) {
  const std::string text = std::string(key) + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
  std::array<unsigned char, 20> digest;
  unsigned int bytes = 0;
  EVP_Digest(text.data(), text.size(), digest.data(), &bytes, EVP_sha1(), nullptr);
  return base64(digest);
}

// The value of `name` in a query, percent-decoded, and the query without it.
std::string take_query(std::string& query, std::string_view name) {
  std::string found;
  std::string rest;
  for (std::string_view left = query; !left.empty();) {
    const std::string_view pair = left.substr(0, left.find('&'));
    left.remove_prefix(std::min(left.size(), pair.size() + 1));
    if (pair.size() > name.size() && pair.starts_with(name) && pair[name.size()] == '=') {
      found = grpc_message_decode(pair.substr(name.size() + 1));
    } else if (!pair.empty()) {
      rest += (rest.empty() ? "" : "&") + std::string(pair);
    }
  }
  OPENSSL_cleanse(query.data(), query.size());
  query = rest;
  return found;
}

}  // namespace

void WsSession::start() {
  std::array<unsigned char, 16> nonce;
  if (RAND_bytes(nonce.data(), nonce.size()) != 1) {
    fail(TransportFault::kWebSocketHandshake, "No random bytes for a WebSocket key.");
    return;
  }
  key_ = base64(nonce);
  std::string request = fmt::format("GET {} HTTP/1.1\r\nHost: {}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: {}\r\n"
                                    "Sec-WebSocket-Version: 13\r\nUser-Agent: slipway/0.1\r\n",
                                    config_.path, config_.authority, key_);
  if (!config_.origin.empty()) {
    request += fmt::format("Origin: {}\r\n", config_.origin);
  }
  for (const TransportHeader& header : config_.headers) {
    request += fmt::format("{}: {}\r\n", header.name, header.value);
  }
  request += "\r\n";
  if (!output_.append_copy(std::as_bytes(std::span(request)))) {
    fail(TransportFault::kNoMemory, "No memory is left to send a request.");
  }
  OPENSSL_cleanse(request.data(), request.size());
}

bool WsSession::handshake(std::span<const std::byte> bytes, std::size_t& used) {
  const HttpHead::State state = http_->feed(bytes, used);
  if (state == HttpHead::State::kMore) {
    return true;
  }
  if (state == HttpHead::State::kFault) {
    if (config_.role == TransportRole::kServer) {
      answer(http_->too_large() ? 431 : 400, http_->too_large() ? "Request Header Fields Too Large" : "Bad Request", {},
             http_->too_large() ? TransportFault::kHeadersTooLarge : TransportFault::kWebSocketHandshake);
    } else {
      fail(TransportFault::kWebSocketHandshake, "The server does not answer in HTTP/1.1: is this a WebSocket endpoint?");
    }
    return false;
  }
  if (config_.role == TransportRole::kServer) {
    on_request();
  } else {
    on_response();
  }
  http_.reset();
  return !failed() && phase_ == Phase::kOpen;
}

void WsSession::answer(int status, std::string_view reason, std::string_view header, TransportFault fault) {
  ++counters_.streams_refused;
  const std::string text = fmt::format("HTTP/1.1 {} {}\r\n{}content-length: 0\r\nconnection: close\r\n\r\n", status, reason, header);
  if (!output_.append_copy(std::as_bytes(std::span(text)))) {
    fault = TransportFault::kNoMemory;
  }
  fail(fault, fmt::format("A WebSocket request was refused with HTTP status {}: {}.", status, transport_fault_text(fault)));
}

void WsSession::on_request() {
  std::string url = http_->url();
  const std::size_t mark = url.find('?');
  std::string query = mark == std::string::npos ? std::string() : url.substr(mark + 1);
  head_.path = url.substr(0, mark);
  head_.method = http_->method();
  head_.authority = http_->header("host");
  head_.scheme = config_.tls != nullptr ? "wss" : "ws";
  std::string authorization(http_->header("authorization"));
  if (config_.guard != nullptr && config_.guard->takes_query_token()) {
    std::string token = take_query(query, "token");
    if (authorization.empty() && !token.empty()) {
      authorization = "Bearer " + token;
    }
    OPENSSL_cleanse(token.data(), token.size());
  }
  const std::string key(http_->header("sec-websocket-key"));
  if (head_.method != "GET" || !http_->http11() || !http_->has_token("upgrade", "websocket") || !http_->has_token("connection", "upgrade") ||
      http_->header("sec-websocket-version") != "13" || key.size() != 24) {
    answer(400, "Bad Request", "sec-websocket-version: 13\r\n", TransportFault::kWebSocketHandshake);
    return;
  }
  if (head_.path != config_.path) {
    answer(404, "Not Found", {}, TransportFault::kUnknownMethod);
    return;
  }
  if (config_.guard != nullptr) {
    AuthVerdict verdict = config_.guard->check(authorization, now_.unix_s);
    OPENSSL_cleanse(authorization.data(), authorization.size());
    if (verdict.http_status != 200) {
      const std::string header = verdict.challenge.empty() ? std::string() : fmt::format("www-authenticate: {}\r\n", verdict.challenge);
      answer(verdict.http_status, verdict.http_status == 403 ? "Forbidden" : "Unauthorized", header, TransportFault::kNotAuthorized);
      return;
    }
    head_.subject = std::move(verdict.subject);
  }
  OPENSSL_cleanse(authorization.data(), authorization.size());
  if (draining_) {
    answer(503, "Service Unavailable", {}, TransportFault::kDraining);
    return;
  }
  for (TransportHeader& header : http_->headers()) {
    if (header.name == "authorization") {
      OPENSSL_cleanse(header.value.data(), header.value.size());
    } else {
      head_.headers.push_back(std::move(header));
    }
  }
  const std::string text = fmt::format("HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\nsec-websocket-accept: {}\r\n\r\n", accept_of(key));
  if (!output_.append_copy(std::as_bytes(std::span(text)))) {
    fail(TransportFault::kNoMemory, "No memory is left to answer a request.");
    return;
  }
  opened();
}

void WsSession::on_response() {
  head_.http_status = http_->status();
  if (head_.http_status != 101) {
    head_.grpc_status = grpc_status_of_http(head_.http_status);
    const bool denied = head_.http_status == 401 || head_.http_status == 403;
    fail(denied ? TransportFault::kNotAuthorized : TransportFault::kWebSocketHandshake,
         fmt::format("The server answered HTTP status {} to the WebSocket request.{}", head_.http_status,
                     denied ? " Check the credentials." : head_.http_status == 404 ? " Check the path of the endpoint." : ""));
    return;
  }
  if (!http_->has_token("upgrade", "websocket") || !http_->has_token("connection", "upgrade") ||
      http_->header("sec-websocket-accept") != accept_of(key_)) {
    fail(TransportFault::kWebSocketHandshake, "The server's answer is no valid WebSocket handshake.");
    return;
  }
  head_.headers = std::move(http_->headers());
  opened();
}

}  // namespace slipway
