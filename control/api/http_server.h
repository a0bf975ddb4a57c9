#pragma once
// HTTP/1.1 on the control thread's loop, over Unix and TCP sockets: bounded connections, requests and answers.
// A response is whole, now or later, or a stream that its producer writes to until it ends or the reader leaves.
// Control thread.

#include <cstdint>
#include <expected>
#include <functional>
#include <list>
#include <memory>
#include <string>
#include <string_view>

#include "api/http_request.h"
#include "control_counters.h"
#include "loop/loop.h"

namespace slipway {

// Where a streamed response goes. Held by the producer; outlives the connection.
class ResponseStream {
 public:
  // False: the reader is gone, or too slow (this piece is lost, the stream goes on).
  bool write(std::string_view bytes);
  void end();
  [[nodiscard]] bool open() const { return open_; }
  // Runs once when the stream ends, for whatever reason.
  std::function<void()> on_end;

 private:
  friend class HttpServer;
  std::function<bool(std::string_view)> push_;
  std::function<void()> finish_;
  bool open_ = true;
};

struct HttpResponse;

// An answer that comes later. Held by whoever makes it; outlives the connection.
class LaterResponse {
 public:
  // Once. Nothing happens if the reader has left.
  void give(HttpResponse response);
  [[nodiscard]] bool wanted() const { return wanted_; }

 private:
  friend class HttpServer;
  std::function<void(HttpResponse)> give_;
  std::unique_ptr<HttpResponse> early_;    // given before the server knew that it comes later
  bool wanted_ = true;
};

struct HttpResponse {
  int status = 200;
  std::string type = "application/json";
  std::string body;
  std::shared_ptr<ResponseStream> stream;  // instead of a body
  std::shared_ptr<LaterResponse> later;    // instead of everything
};

class HttpServer {
 public:
  using Handler = std::function<HttpResponse(const HttpRequest&)>;
  HttpServer(Loop& loop, ControlCounters& counters, std::uint32_t max_connections, Handler handler);
  ~HttpServer();
  HttpServer(const HttpServer&) = delete;
  HttpServer& operator=(const HttpServer&) = delete;

  // A listening, non-blocking socket; the server's from here on. Its number, for stop_listening().
  std::expected<int, std::string> listen(int fd);
  void stop_listening(int fd);
  [[nodiscard]] std::size_t connections() const { return connections_.size(); }
  void set_max_connections(std::uint32_t n) { max_connections_ = n; }
  void tick(std::uint64_t now_ms);  // requests and connections that take too long

 private:
  struct Connection;
  void accept(int listener);
  void readable(Connection& connection);
  void serve(Connection& connection, const HttpRequest& request);
  void respond(Connection& connection, HttpResponse response, bool keep_alive);
  void fault(Connection& connection, int status, std::string_view why);
  void flush(Connection& connection);
  void close(Connection& connection);

  Loop& loop_;
  ControlCounters& counters_;
  std::uint32_t max_connections_;
  Handler handler_;
  std::list<std::unique_ptr<Connection>> connections_;
  std::vector<int> listeners_;
};

}  // namespace slipway
