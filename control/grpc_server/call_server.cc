#include "grpc_server/call_server.h"

#include <unordered_map>
#include <utility>

#include "grpc_server/connection_list.h"

namespace slipway {

class CallServer::Connection final : public TransportSocketUser {
 public:
  explicit Connection(CallServer& server) : server_(server) {}

  std::unique_ptr<TransportSocket> socket;

  void on_stream_open(std::int32_t stream) override { asked_.try_emplace(stream, false); }

  void on_message(std::int32_t stream, std::span<const std::byte> message) override {
    const auto at = asked_.find(stream);
    if (at == asked_.end()) {
      return;
    }
    if (std::exchange(at->second, true)) {
      finish(stream, grpc_status::kInvalidArgument, "the call has more than one request");
      return;
    }
    if (socket->pending_bytes() >= server_.limits_.queue_bytes) {
      finish(stream, grpc_status::kResourceExhausted, "answers of other calls wait on this connection: read them first");
      return;
    }
    const StreamHead* head = socket->head(stream);
    const std::string method = head == nullptr ? std::string() : head->path.substr(server_.path_.size());
    server_.service_.on_call(method, message, caller(head), Reply(self_, stream));
  }

  void on_half_closed(std::int32_t stream) override {
    if (const auto at = asked_.find(stream); at != asked_.end() && !at->second) {
      finish(stream, grpc_status::kInvalidArgument, "the call has no request");
    }
  }

  void on_stream_closed(const StreamEnd& end) override { asked_.erase(end.stream); }
  void on_closed(const TransportError&) override {
    server_.connections_->end(this);  // ends this object
  }

  void answer(std::int32_t stream, std::string_view message) {
    if (asked_.contains(stream)) {
      const bool written = socket->write(stream, std::as_bytes(std::span(message))) <= WriteResult::kCopied;
      finish(stream, written ? grpc_status::kOk : grpc_status::kInternal, written ? "" : "the answer cannot be sent");
    }
  }
  void finish(std::int32_t stream, int status, std::string_view why) {
    if (asked_.erase(stream) != 0) {
      socket->finish_stream(stream, status, why);
    }
  }

 private:
  [[nodiscard]] Caller caller(const StreamHead* head) const {
    if (head != nullptr && !head->subject.empty()) {
      return {.subject = head->subject};
    }
    auto uri = socket->tls_info().peer_uri;
    return {.subject = uri.starts_with("spiffe://") ? std::move(uri) : std::string()};
  }

  CallServer& server_;
  std::unordered_map<std::int32_t, bool> asked_;   // streams that wait; true: for the answer
  std::shared_ptr<Connection*> self_ = std::make_shared<Connection*>(this);
};

CallServer::Reply::~Reply() { fail(grpc_status::kInternal, "the call was given up"); }

void CallServer::Reply::answer(std::string_view message) {
  if (const auto connection = std::exchange(connection_, {}).lock(); connection != nullptr) {
    (*connection)->answer(stream_, message);
  }
}

void CallServer::Reply::fail(int grpc_status, std::string_view why) {
  if (const auto connection = std::exchange(connection_, {}).lock(); connection != nullptr) {
    (*connection)->finish(stream_, grpc_status, why);
  }
}

CallServer::CallServer(Loop& loop, Service& service, std::string path, const CallLimits& limits)
    : service_(service), path_(std::move(path)), limits_(limits),
      connections_(std::make_unique<ConnectionList<Connection>>(loop, limits.connections, limits.memory_bytes)) {}
CallServer::~CallServer() = default;

std::shared_ptr<const TransportConfig> call_config(const TransportConfig& listener, const std::string& path, const CallLimits& limits) {
  auto config = std::make_shared<TransportConfig>(listener);
  config->role = TransportRole::kServer;
  config->protocol = TransportProtocol::kGrpc;
  config->path = path;
  config->calls = true;
  config->max_message_bytes = limits.message_bytes;
  config->max_streams = limits.calls;
  config->stream_window_bytes = limits.window_bytes;
  config->connection_window_bytes = limits.window_bytes;
  config->handshake_timeout_ms = limits.handshake_ms;
  return config;
}

bool CallServer::add(int fd, std::shared_ptr<const TransportConfig> config) { return connections_->add(*this, fd, std::move(config)); }
std::size_t CallServer::connections() const { return connections_->size(); }
void CallServer::drain() { connections_->drain(); }

}  // namespace slipway
