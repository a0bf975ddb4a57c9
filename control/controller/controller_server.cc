#include "controller/controller_server.h"

#include <fmt/format.h>

#include <algorithm>
#include <deque>
#include <unordered_map>

#include "controller/controller_command.h"
#include "edge/grpc_status.h"
#include "edge/uuid.h"
#include "grpc_server/call_server.h"
#include "grpc_server/connection_list.h"

namespace slipway {
namespace {

std::span<const std::byte> bytes_of(const std::string& text) { return std::as_bytes(std::span(text)); }

// Takes entries until the chunk is full; returns how many.
template <class Row>
std::size_t chunk_of(std::span<const Row> rows) {
  std::size_t count = 0;
  for (std::size_t bytes = 0; count < rows.size() && bytes < kControllerChunkBytes; ++count) {
    bytes += encoded_bytes(rows[count]);
  }
  return count;
}

}  // namespace

std::shared_ptr<const TransportConfig> controller_config(const TransportConfig& listener) {
  // Tools say all that they have to say, end their side, and read on: as calls do.
  return call_config(listener, kControllerPath,
                     {.calls = kControllerStreams,
                      .message_bytes = kControllerMessageBytes,
                      .window_bytes = kControllerWindowBytes,
                      .handshake_ms = kControllerHandshakeMs});
}

// One connection, and what its streams wait for.
class ControllerServer::Connection final : public TransportSocketUser {
 public:
  explicit Connection(ControllerServer& server) : server_(server) {}

  std::unique_ptr<TransportSocket> socket;

  void on_stream_open(std::int32_t stream) override {
    if (const StreamHead* head = socket->head(stream); head != nullptr && head->path != kControllerPath) {
      socket->finish_stream(stream, grpc_status::kUnimplemented, "no such method");
      return;
    }
    streams_.try_emplace(stream);
  }

  void on_message(std::int32_t stream, std::span<const std::byte> message) override {
    const auto at = streams_.find(stream);
    if (at == streams_.end()) {
      return;
    }
    auto request = decode_controller_request(message);
    if (!request) {
      refuse(stream, grpc_status::kInvalidArgument, request.error());
      return;
    }
    if (at->second.waiting.size() >= kControllerRequests) {
      refuse(stream, grpc_status::kResourceExhausted, fmt::format("more than {} requests wait for their answers", kControllerRequests));
      return;
    }
    if (const auto* other = std::get_if<NotForNodes>(&request->payload); other != nullptr) {
      server_.backend_.controller_log(fmt::format("control service: message of kind {} passed over: a node does not take it", other->field));
      return;
    }
    at->second.waiting.push_back({.request = std::move(*request)});
    work();
  }

  void on_half_closed(std::int32_t stream) override {
    if (const auto at = streams_.find(stream); at != streams_.end()) {
      at->second.said_all = true;
      finish_answered();
    }
  }

  void on_stream_closed(const StreamEnd& end) override { streams_.erase(end.stream); }
  void on_sent() override { work(); }
  void on_closed(const TransportError&) override {
    streams_.clear();
    server_.connections_->end(this);  // ends this object
  }

 private:
  struct Waiting {
    ControllerRequest request;
    std::uint32_t after = 0;   // of a list: where it goes on
    bool begun = false;        // of a command: it was carried out, and waits for the workers
  };
  struct Stream {
    std::deque<Waiting> waiting;
    bool said_all = false;     // ends when all is answered
  };

  void refuse(std::int32_t stream, int status, const std::string& why) {
    streams_.erase(stream);
    socket->finish_stream(stream, status, why);
  }

  // Answers in order, one after the other on each stream, as long as what was answered is being read.
  void work() {
    for (bool more = true; more;) {
      more = false;
      for (auto& [id, stream] : streams_) {
        if (stream.waiting.empty() || stream.waiting.front().begun || socket->pending_bytes() >= kControllerQueueBytes) {
          continue;
        }
        if (answer(id, stream.waiting.front())) {
          stream.waiting.pop_front();
        }
        more = true;
      }
    }
    finish_answered();
  }

  void finish_answered() {
    std::erase_if(streams_, [this](const auto& entry) {
      const auto& [id, stream] = entry;
      const bool over = stream.said_all && stream.waiting.empty();
      if (over) {
        socket->finish_stream(id, 0, {});
      }
      return over;
    });
  }

  // True when this request is done with.
  bool answer(std::int32_t id, Waiting& waiting) {
    const auto& request = waiting.request;
    if (std::holds_alternative<ListRoutes>(request.payload)) {
      return list(id, waiting, server_.backend_.controller_routes(waiting.after, kControllerChunkEntries), encode_routes);
    }
    if (std::holds_alternative<ListConnections>(request.payload)) {
      return list(id, waiting, server_.backend_.controller_connections(waiting.after, kControllerChunkEntries), encode_connections);
    }
    command(id, waiting);
    return false;
  }

  // One page may take several messages.
  template <class Row, class Encode>
  bool list(std::int32_t id, Waiting& waiting, const ControllerPage<Row>& page, Encode encode) {
    std::span<const Row> rows = page.rows;
    do {
      const std::size_t count = chunk_of(rows);
      const bool done = count == rows.size() && page.next == 0;
      (void)socket->write(id, bytes_of(encode(random_uuid(), waiting.request.message_id, rows.first(count), done)));
      rows = rows.subspan(count);
    } while (!rows.empty());
    waiting.after = page.next;
    return page.next == 0;
  }

  void command(std::int32_t id, Waiting& waiting) {
    waiting.begun = true;
    auto outcome = carry_out(std::get<ConfigurationCommand>(waiting.request.payload), server_.backend_);
    auto answer = encode_command_ack(random_uuid(), waiting.request.message_id, outcome.connections, outcome.routes);
    server_.backend_.controller_applied([this, alive = std::weak_ptr(alive_), id, answer = std::move(answer)] {
      if (alive.expired()) {
        return;
      }
      if (const auto at = streams_.find(id); at != streams_.end() && !at->second.waiting.empty()) {
        (void)socket->write(id, bytes_of(answer));
        at->second.waiting.pop_front();
        work();
      }
    });
  }

  ControllerServer& server_;
  std::unordered_map<std::int32_t, Stream> streams_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

ControllerServer::ControllerServer(Loop& loop, ControllerBackend& backend)
    : backend_(backend), connections_(std::make_unique<ConnectionList<Connection>>(loop, kControllerConnections, kControllerMemoryBytes)) {}
ControllerServer::~ControllerServer() = default;

bool ControllerServer::add(int fd, std::shared_ptr<const TransportConfig> config) { return connections_->add(*this, fd, std::move(config)); }
std::size_t ControllerServer::connections() const { return connections_->size(); }
void ControllerServer::drain() { connections_->drain(); }

}  // namespace slipway
