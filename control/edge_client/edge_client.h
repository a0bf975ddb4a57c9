#pragma once
// A link to a SLIM node in upstream's protocol, as upstream's applications make it: gRPC or WebSocket, TLS, link negotiation,
// header MAC. Native frames go in and come out (dataplane/edge/translate.h): what uses it need not know protobuf.
//
//   EdgeClient::Handlers handlers;
//   handlers.on_up = [&] { client->send_frame(encode_subscribe(header, body)); };
//   handlers.on_frame = [&](std::span<const std::byte> frame) { ... };
//   handlers.on_closed = [&](const EdgeClientEnd& end) { ... };      // connect anew, or tell somebody
//   auto client = EdgeClient::open(*loop, {.endpoint = "http://127.0.0.1:46357"}, std::move(handlers));
//
// One connection, once: whoever wants another after on_closed() opens another. With the same `link_id` the node knows the link
// again. The steps are told one by one, so that a person can see how far it came.
//
// Thread: the loop's. Handlers run inside Loop::turn, never inside the call that caused them. They must not throw, and must
// not destroy the client (defer that: Loop::defer), except from on_closed(), which is the last call.

#include <cstdint>
#include <expected>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "edge/negotiation.h"
#include "edge/translate.h"
#include "edge_client/edge_client_bounds.h"
#include "edge_client/edge_endpoint.h"
#include "edge_client/transport_socket.h"
#include "loop/resolver.h"

namespace slipway {

// In the order in which they are taken. kTls is passed at once where there is none.
enum class EdgeStep : std::uint8_t { kResolve, kConnect, kTls, kHttp, kMethod, kNegotiation, kUp };
[[nodiscard]] std::string_view edge_step_name(EdgeStep step);  // "dns", "tcp", "tls", "http", "method", "negotiation", "up"

struct EdgeClientOptions {
  std::string endpoint;                   // edge_endpoint.h
  // TLS, where the endpoint has it.
  TlsSource ca;                           // trusted besides the system's
  TlsSource certificate;                  // of ours (mTLS), with its key
  TlsSource key;
  bool system_roots = true;
  bool skip_verify = false;
  std::string server_name;                // that the certificate must have; empty: the endpoint's host
  // Credentials.
  std::string authorization;              // value of that header, "Basic ..." or "Bearer ..."; empty: none
  std::vector<TransportHeader> headers;   // sent with the request; names in lower case
  // The link.
  LinkClass link_class = LinkClass::kEdge;
  std::string link_id;                    // the same again after a reconnect; empty: a new one
  std::string node_id;                    // what we call ourselves
  std::string deployment;
  bool strict_mac = true;                 // no link without key; messages without MAC are dropped
  bool enforce_pqc = false;
  // Bounds.
  std::uint32_t connect_ms = kEdgeClientConnectMs;      // for name and address, each
  std::uint32_t handshake_ms = kEdgeClientHandshakeMs;  // until the stream is open
  std::uint64_t negotiation_ms = kNegotiationTimeoutMs;
  std::uint64_t keepalive_ms = 0;                       // silence after which the node is pinged; 0: never
  std::size_t queue_bytes = kEdgeClientQueueBytes;      // that may wait to be sent
};

// How it ended: at which step, why, and what to try.
struct EdgeClientEnd {
  EdgeStep step = EdgeStep::kUp;   // that was not finished; kUp: the link was up
  bool asked = false;              // by close()
  bool rejected = false;           // the node refuses this client: trying again is useless
  TransportFault fault = TransportFault::kNone;
  std::int32_t grpc_status = -1;   // -1: none came
  int http_status = 0;             // 0: none came
  std::string text;
  std::string remedy;              // may be empty
};

enum class EdgeSend : std::uint8_t {
  kQueued,     // taken
  kQueueFull,  // not taken: on_writable() tells when to go on
  kNotUp,      // not taken: the link is not up
  kRefused,    // not taken: no frame for an upstream node, or too large; see last_fault()
};

struct EdgeClientCounters {
  std::uint64_t frames_sent = 0;
  std::uint64_t frames_received = 0;
  std::uint64_t refused = 0;          // received messages that were dropped: last_fault() is why the last was
};

class EdgeClient final : private TransportSocketUser {
 public:
  struct Handlers {
    std::function<void(EdgeStep)> on_step;   // this step is done
    std::function<void()> on_up;             // negotiated: frames may be sent
    // A native frame, header and body; the bytes are valid during the call.
    std::function<void(std::span<const std::byte>)> on_frame;
    std::function<void(EdgeFault)> on_refused;  // a received message was dropped
    std::function<void()> on_writable;          // after kQueueFull: there is room again
    std::function<void(const EdgeClientEnd&)> on_closed;
  };

  // Starts to connect. Error: options that make no sense, or a file that cannot be read; nothing was begun.
  [[nodiscard]] static std::expected<std::unique_ptr<EdgeClient>, std::string> open(Loop& loop, EdgeClientOptions options, Handlers handlers);
  ~EdgeClient() override;  // at once, without on_closed()
  EdgeClient(const EdgeClient&) = delete;
  EdgeClient& operator=(const EdgeClient&) = delete;

  // A Publish, Subscribe, Unsubscribe or SubscriptionAck as a native frame; it gets the link's MAC. Leaves at the end of the turn.
  EdgeSend send_frame(std::span<const std::byte> frame);
  // A message of upstream's as it is, without MAC.
  EdgeSend send_message(std::span<const std::byte> message);
  // From inside of on_frame: the rest of what has been read still comes, then nothing until the next turn.
  void rest() {
    if (socket_ != nullptr) {
      socket_->rest();
    }
  }
  // Ends the stream in good order; what is queued is sent first. on_closed() follows.
  void close();

  [[nodiscard]] bool up() const { return step_ == EdgeStep::kUp; }
  [[nodiscard]] EdgeStep step() const { return step_; }  // that is being taken
  [[nodiscard]] const EdgeEndpoint& endpoint() const { return endpoint_; }
  [[nodiscard]] const std::string& link_id() const { return options_.link_id; }
  [[nodiscard]] const NegotiatedLink& link() const { return negotiation_->link(); }  // when up
  [[nodiscard]] bool signs() const { return mac_.has_value(); }                      // when up: messages carry MACs
  [[nodiscard]] TlsInfo tls_info() const { return socket_ == nullptr ? TlsInfo{} : socket_->tls_info(); }
  [[nodiscard]] std::string address_text() const;  // that was connected to: "127.0.0.1:46357", or a path
  [[nodiscard]] std::size_t queued_bytes() const { return socket_ == nullptr ? 0 : socket_->pending_bytes(); }
  [[nodiscard]] EdgeFault last_fault() const { return last_fault_; }
  [[nodiscard]] const EdgeClientCounters& counters() const { return counters_; }

 private:
  EdgeClient(Loop& loop, EdgeClientOptions options, Handlers handlers, EdgeEndpoint endpoint);
  std::expected<void, std::string> make_config();

  // Connecting (edge_client_connect.cc).
  void start();
  void connect_next();
  void connect_ended(int error);
  void connected(int fd);
  void fail(std::string text, std::string remedy);
  void finish(EdgeClientEnd end);
  void pass(EdgeStep step);
  void arm(std::uint64_t ms, std::string text, std::string remedy);

  // The stream (edge_client.cc).
  void on_ready() override;
  void on_stream_open(std::int32_t stream) override;
  void on_message(std::int32_t stream, std::span<const std::byte> message) override;
  void on_stream_closed(const StreamEnd& end) override;
  void on_sent() override;
  void on_closed(const TransportError& error) override;
  void negotiate(NegotiationStep step);
  void take(std::span<const std::byte> message);
  EdgeSend queue(std::span<const Piece> pieces);

  Loop& loop_;
  EdgeClientOptions options_;
  Handlers handlers_;
  EdgeEndpoint endpoint_;
  std::shared_ptr<const TransportConfig> config_;
  TransportMemory memory_{kEdgeClientMemoryBytes};
  Resolver resolver_{loop_};
  OpensslKeySource keys_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);

  EdgeStep step_ = EdgeStep::kResolve;
  std::uint64_t question_ = 0;
  std::vector<HostAddress> addresses_;
  std::size_t next_address_ = 0;
  int connecting_fd_ = -1;
  std::string connect_trouble_;
  TimerId timer_ = TimerId::kNone;
  std::unique_ptr<TransportSocket> socket_;
  std::int32_t stream_ = -1;
  std::unique_ptr<NegotiationInitiator> negotiation_;
  std::optional<HeaderMac> mac_;
  MacRules rules_;
  std::optional<EdgeClientEnd> end_;   // why, once it is known; told when the socket is closed
  std::vector<std::byte> scratch_;
  std::vector<Piece> pieces_;
  std::vector<std::byte> frame_;
  EdgeFault last_fault_ = EdgeFault::kNone;
  EdgeClientCounters counters_;
  bool wants_room_ = false;
  bool finished_ = false;
};

}  // namespace slipway
