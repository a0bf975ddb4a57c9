#pragma once
// A gRPC service of calls with one request and one answer, on the loop, by the codec of dataplane/edge. Who may connect is the
// transport's affair (TLS, credentials). Connections, calls and messages are bounded by what the configuration says. A call whose
// client goes away is carried out none the less; its answer is thrown away. Control thread.

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "edge/grpc_status.h"
#include "edge/transport_config.h"
#include "loop/loop.h"

namespace slipway {

template <class Connection>
class ConnectionList;

struct CallLimits {
  std::size_t connections = 16;           // at a time, over all listeners
  std::uint32_t calls = 32;               // open on one connection
  std::uint32_t message_bytes = 1u << 20; // of a request
  std::uint32_t window_bytes = 256u << 10;
  std::size_t memory_bytes = 32u << 20;   // HTTP/2 and TLS state of all connections
  std::size_t queue_bytes = 1u << 20;     // answers that wait on one connection: no further call is taken above it
  std::uint64_t handshake_ms = 10'000;
};

// Who calls, as far as the transport proves it: the subject of the credentials, else the SPIFFE id of the client's certificate.
struct Caller {
  std::string subject;   // empty: nobody in particular
};

// The service's own path and bounds on what a listener's configuration says of TLS and credentials.
[[nodiscard]] std::shared_ptr<const TransportConfig> call_config(const TransportConfig& listener, const std::string& path, const CallLimits& limits);

class CallServer {
  class Connection;

 public:
  // Answers once; thrown away without an answer it tells the client so. May outlive the connection and the server.
  class Reply {
   public:
    Reply(Reply&& other) noexcept = default;
    Reply& operator=(Reply&& other) noexcept = delete;
    ~Reply();
    void answer(std::string_view message);
    void fail(int grpc_status, std::string_view why);

   private:
    friend class Connection;
    Reply(std::weak_ptr<Connection*> connection, std::int32_t stream) : connection_(std::move(connection)), stream_(stream) {}
    std::weak_ptr<Connection*> connection_;
    std::int32_t stream_;
  };

  class Service {
   public:
    virtual ~Service() = default;
    // `method`: behind the service's path. The bytes are valid during the call. Must not destroy the server.
    virtual void on_call(std::string_view method, std::span<const std::byte> request, const Caller& caller, Reply reply) = 0;
  };

  // `path`: "/package.Service/".
  CallServer(Loop& loop, Service& service, std::string path, const CallLimits& limits);
  ~CallServer();
  CallServer(const CallServer&) = delete;
  CallServer& operator=(const CallServer&) = delete;

  // A connection that was accepted; non-blocking. False: the limit is reached, or memory; it is closed.
  bool add(int fd, std::shared_ptr<const TransportConfig> config);
  [[nodiscard]] std::size_t connections() const;
  void drain();  // goodbye to all; new calls are refused

 private:
  Service& service_;
  std::string path_;
  CallLimits limits_;
  std::unique_ptr<ConnectionList<Connection>> connections_;
};

}  // namespace slipway
