#include "api/http_server.h"

#include <fmt/format.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <utility>
#include <vector>

#include "control_bounds.h"

namespace slipway {

namespace {

const char* status_text(int status) {
  switch (status) {
    case 200: return "OK";
    case 202: return "Accepted";
    case 400: return "Bad Request";
    case 404: return "Not Found";
    case 405: return "Method Not Allowed";
    case 408: return "Request Timeout";
    case 409: return "Conflict";
    case 413: return "Content Too Large";
    case 414: return "URI Too Long";
    case 431: return "Request Header Fields Too Large";
    case 501: return "Not Implemented";
    case 503: return "Service Unavailable";
    default: return "Error";
  }
}

}  // namespace

bool ResponseStream::write(std::string_view bytes) { return open_ && push_ && push_(bytes); }

void ResponseStream::end() {
  if (!open_) {
    return;
  }
  open_ = false;
  if (finish_) {
    std::exchange(finish_, nullptr)();
  }
  if (on_end) {
    std::exchange(on_end, nullptr)();
  }
}

void LaterResponse::give(HttpResponse response) {
  if (!wanted_) {
    return;
  }
  if (!give_) {
    early_ = std::make_unique<HttpResponse>(std::move(response));
    return;
  }
  wanted_ = false;
  std::exchange(give_, nullptr)(std::move(response));
}

struct HttpServer::Connection {
  int fd = -1;
  HttpRequestParser parser;
  std::string in;                           // bytes behind the request that is being answered
  std::string out;
  std::size_t written = 0;
  std::uint64_t since_ms = 0;               // begin of the request, or of the wait for one
  std::shared_ptr<ResponseStream> stream;   // the answer that goes on
  std::shared_ptr<LaterResponse> later;     // the answer that is waited for
  bool close_after = false;
  bool closed = false;
};

HttpServer::HttpServer(Loop& loop, ControlCounters& counters, std::uint32_t max_connections, Handler handler)
    : loop_(loop), counters_(counters), max_connections_(max_connections), handler_(std::move(handler)) {}

HttpServer::~HttpServer() {
  while (!listeners_.empty()) {
    stop_listening(listeners_.back());
  }
  while (!connections_.empty()) {
    close(*connections_.front());
  }
}

std::expected<int, std::string> HttpServer::listen(int fd) {
  if (auto watched = loop_.watch(fd, fd_event::kReadable, [this, fd](std::uint32_t) { accept(fd); }); !watched) {
    ::close(fd);
    return std::unexpected(watched.error());
  }
  listeners_.push_back(fd);
  return fd;
}

void HttpServer::stop_listening(int fd) {
  if (std::erase(listeners_, fd) != 0) {
    loop_.unwatch(fd);
    ::close(fd);
  }
}

void HttpServer::accept(int listener) {
  for (std::uint32_t i = 0; i < kAcceptBurst; ++i) {
    const int fd = accept4(listener, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0) {
      return;
    }
    if (connections_.size() >= max_connections_) {
      ++counters_.api_refused;
      ::close(fd);
      continue;
    }
    auto made = std::make_unique<Connection>();
    Connection* connection = made.get();
    connection->fd = fd;
    connection->since_ms = loop_.now_ns() / 1'000'000;
    const auto watched = loop_.watch(fd, fd_event::kReadable, [this, connection](std::uint32_t events) {
      if ((events & fd_event::kWritable) != 0) {
        flush(*connection);
      }
      if (!connection->closed && (events & (fd_event::kReadable | fd_event::kTrouble)) != 0) {
        readable(*connection);
      }
      if (connection->closed) {
        close(*connection);
      }
    });
    if (!watched) {
      ::close(fd);
      continue;
    }
    connections_.push_back(std::move(made));
  }
}

void HttpServer::readable(Connection& connection) {
  std::array<char, 16384> buffer;
  const auto got = recv(connection.fd, buffer.data(), buffer.size(), 0);
  if (got < 0 && (errno == EAGAIN || errno == EINTR)) {
    return;
  }
  if (got <= 0) {
    connection.closed = true;
    return;
  }
  if (connection.stream || connection.later || connection.in.size() + static_cast<std::size_t>(got) > kMaxRequestHeadBytes + kMaxRequestBodyBytes) {
    if (!connection.stream && !connection.later) {
      connection.closed = true;
    }
    return;  // nobody speaks while an answer is on its way
  }
  connection.in.append(buffer.data(), static_cast<std::size_t>(got));
  while (!connection.in.empty() && !connection.stream && !connection.later && !connection.close_after && !connection.closed) {
    if (!connection.parser.begun()) {
      connection.since_ms = loop_.now_ns() / 1'000'000;
    }
    std::size_t used = 0;
    const auto state = connection.parser.feed(connection.in, used);
    connection.in.erase(0, used);
    if (state == HttpRequestParser::State::kMore) {
      break;
    }
    if (state == HttpRequestParser::State::kFault) {
      fault(connection, connection.parser.fault_status(), connection.parser.fault());
      break;
    }
    serve(connection, connection.parser.take());
    connection.since_ms = loop_.now_ns() / 1'000'000;
  }
}

void HttpServer::fault(Connection& connection, int status, std::string_view why) {
  ++counters_.api_errors;
  std::string text;
  for (const char c : why) {
    text += c == '"' || c == '\\' || static_cast<unsigned char>(c) < 0x20 ? ' ' : c;
  }
  respond(connection, {.status = status, .body = fmt::format("{{\"error\":\"{}\",\"try\":\"send a plain HTTP/1.1 request\"}}\n", text)},
          false);
}

void HttpServer::serve(Connection& connection, const HttpRequest& request) {
  ++counters_.api_requests;
  auto response = handler_(request);
  if (auto later = std::exchange(response.later, nullptr); later && !later->early_) {
    connection.later = std::move(later);
    connection.later->give_ = [this, &connection](HttpResponse answer) {
      connection.later.reset();
      counters_.api_errors += answer.status >= 400 ? 1 : 0;
      respond(connection, std::move(answer), false);
    };
    return;
  } else if (later) {
    response = std::move(*later->early_);
  }
  if (response.status >= 400) {
    ++counters_.api_errors;
  }
  respond(connection, std::move(response), request.keep_alive);
}

void HttpServer::respond(Connection& connection, HttpResponse response, bool keep_alive) {
  const bool stream = response.stream != nullptr;
  connection.close_after = !keep_alive || stream;
  connection.out += fmt::format("HTTP/1.1 {} {}\r\nContent-Type: {}\r\n{}Connection: {}\r\nCache-Control: no-store\r\n\r\n", response.status,
                                status_text(response.status), response.type,
                                stream ? "Transfer-Encoding: chunked\r\n" : fmt::format("Content-Length: {}\r\n", response.body.size()),
                                connection.close_after ? "close" : "keep-alive");
  connection.out += response.body;
  if (stream) {
    connection.stream = response.stream;
    connection.stream->push_ = [this, &connection](std::string_view bytes) {
      if (bytes.empty()) {
        return true;  // an empty chunk would end the stream
      }
      if (connection.out.size() - connection.written + bytes.size() > kMaxResponseQueueBytes) {
        return false;
      }
      connection.out += fmt::format("{:x}\r\n", bytes.size());
      connection.out += bytes;
      connection.out += "\r\n";
      flush(connection);
      return true;
    };
    connection.stream->finish_ = [this, &connection] {
      connection.out += "0\r\n\r\n";
      connection.stream->push_ = nullptr;
      connection.stream.reset();
      flush(connection);
    };
    if (!connection.stream->open_) {  // its producer has ended it already
      std::exchange(connection.stream->finish_, nullptr)();
      return;
    }
  }
  flush(connection);
}

void HttpServer::flush(Connection& connection) {
  while (connection.written < connection.out.size()) {
    const auto sent = send(connection.fd, connection.out.data() + connection.written, connection.out.size() - connection.written, MSG_NOSIGNAL);
    if (sent < 0 && errno == EINTR) {
      continue;
    }
    if (sent < 0 && errno == EAGAIN) {
      if (connection.written > connection.out.size() / 2) {
        connection.out.erase(0, connection.written);
        connection.written = 0;
      }
      loop_.set_events(connection.fd, fd_event::kReadable | fd_event::kWritable);
      return;
    }
    if (sent <= 0) {
      connection.out.clear();
      connection.written = 0;
      connection.closed = true;  // taken away by the watch's callback or the next tick
      return;
    }
    connection.written += static_cast<std::size_t>(sent);
    connection.since_ms = loop_.now_ns() / 1'000'000;
  }
  connection.out.clear();
  connection.written = 0;
  loop_.set_events(connection.fd, fd_event::kReadable);
  if (connection.close_after && !connection.stream) {
    shutdown(connection.fd, SHUT_WR);
    connection.closed = true;
  }
}

void HttpServer::close(Connection& connection) {
  connection.closed = true;
  if (connection.stream) {
    auto stream = std::exchange(connection.stream, nullptr);
    stream->push_ = nullptr;
    stream->finish_ = nullptr;
    stream->end();
  }
  if (connection.later) {
    connection.later->wanted_ = false;
    connection.later->give_ = nullptr;
  }
  loop_.unwatch(connection.fd);
  ::close(connection.fd);
  std::erase_if(connections_, [&](const auto& c) { return c.get() == &connection; });
}

void HttpServer::tick(std::uint64_t now_ms) {
  std::vector<Connection*> late;
  for (const auto& connection : connections_) {
    const auto waited = now_ms > connection->since_ms ? now_ms - connection->since_ms : 0;
    const bool idle = !connection->stream && !connection->later && waited >= (connection->parser.begun() ? kRequestDeadlineMs : kIdleApiMs);
    const bool stuck = !connection->out.empty() && waited >= kIdleApiMs;
    if (connection->closed || idle || stuck) {
      late.push_back(connection.get());
    }
  }
  for (auto* connection : late) {
    close(*connection);
  }
}

}  // namespace slipway
