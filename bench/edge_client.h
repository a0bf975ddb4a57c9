#pragma once
// One connection of the benchmark `edge` as an upstream application makes it: TCP, HTTP/2, the gRPC method, negotiation with
// a key, header MACs on what it sends. By the node's own codec, all connections on one thread and one epoll.
//
// Cheaper than an application on purpose, so that the node is what is measured: messages are signed ahead, what comes
// is counted and not looked into, and sends are gathered.

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "edge/negotiation.h"
#include "edge/transport.h"
#include "frame/frame.h"

namespace slipway::bench {

using Bytes = std::vector<std::byte>;

// A service of the benchmark and the one that subscribed to it.
struct Destination {
  std::string service;
  std::uint64_t id = ~std::uint64_t{0};  // both halves; all ones: null
  [[nodiscard]] Name name() const;
};

class Client;

// Waits for all its clients at once.
class ClientLoop {
 public:
  ClientLoop();
  ~ClientLoop();
  ClientLoop(const ClientLoop&) = delete;
  ClientLoop& operator=(const ClientLoop&) = delete;
  // Handles what is there; waits for it for at most this long.
  void turn(std::uint64_t wait_ns);
  // Until `done`; ends the program, naming `what`, when that takes longer than `seconds`.
  void until(const std::function<bool()>& done, const std::string& what, std::uint64_t seconds = 20);

 private:
  friend class Client;
  int epoll_ = -1;
  TransportMemory memory_{std::size_t{4} << 30};
  OpensslKeySource keys_;
  Bytes input_;
};

// Publishes to one destination, signed for one client's link. Each has an identity of its own, as messages under a
// shared secret have: nobody on the way may profit from having seen it before.
class SignedMessages {
 public:
  static constexpr std::size_t kCount = 32768;
  SignedMessages(const Client& client, const Destination& to, bool one, std::size_t payload_bytes);
  // In two pieces: what is before the payload, and the payload.
  [[nodiscard]] std::array<iovec, 2> next();

 private:
  Bytes heads_;
  std::vector<std::size_t> begins_;  // of heads_, one more than there are messages
  Bytes payload_;
  std::size_t at_ = 0;
};

class Client {
 public:
  // negotiates: as applications do; the bare relay wants none. no_delay: not as applications, which leave Nagle's algorithm on.
  Client(ClientLoop& loop, std::uint16_t port, bool negotiates, bool no_delay = false);
  ~Client();
  Client(const Client&) = delete;
  Client& operator=(const Client&) = delete;

  [[nodiscard]] bool up() const { return up_; }
  void subscribe(const Destination& to, std::uint64_t subscription);
  // Into the connection; leaves with the next flush().
  void publish(std::span<const iovec> pieces);
  void flush();
  // Not read from now on, or again.
  void set_reading(bool reading);
  [[nodiscard]] std::size_t pending_bytes() const { return transport_->pending_bytes(); }

  std::uint64_t received = 0;      // publishes, whole ones
  std::uint64_t acknowledged = 0;  // subscriptions
  std::uint64_t refused = 0;

  [[nodiscard]] const HeaderMac* mac() const { return mac_ ? &*mac_ : nullptr; }

 private:
  friend class ClientLoop;
  void ready(std::uint32_t events);
  void feed(std::span<const std::byte> bytes);
  void take_events();
  void take_part(const TransportEvent& event);
  void take_control();
  void send(Bytes message);
  void watch(bool writable);
  static void on_release(void*, std::uint64_t) {}

  ClientLoop& loop_;
  int fd_ = -1;
  bool negotiates_;
  bool up_ = false;
  bool blocked_ = false;   // the socket is full: on until it can be written again
  bool reading_ = true;
  bool control_ = false;   // the message that is coming is no publish
  bool fresh_ = false;     // ... and not a byte of it has come
  std::int32_t stream_ = -1;
  std::uint32_t watched_ = 0;
  Bytes message_;
  TransportEvents events_;
  std::optional<HeaderMac> mac_;
  std::unique_ptr<NegotiationInitiator> negotiation_;
  std::unique_ptr<Transport> transport_;
};

}  // namespace slipway::bench
