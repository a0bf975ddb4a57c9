#pragma once
// A Transport (dataplane/edge) on a connected socket and an event loop, either side: reads, sends, keeps its timers, and
// gives whole messages. The control thread's servers and the clients of upstream's nodes are made of it.
//
// Thread: the loop's. The user's functions are called from within the loop's turn, never from within a call to this class. They
// may call anything here, but must not destroy the socket, except in on_closed(), which is the last call.
//
// Bounded: one message a stream is put together at a time, of at most the configuration's max_message_bytes; streams are
// bounded by its max_streams. What waits to be sent is the user's to bound: see pending_bytes().

#include <cstdint>
#include <memory>
#include <span>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "edge/transport.h"
#include "edge_client/edge_client_bounds.h"
#include "loop/loop.h"

namespace slipway {

struct StreamEnd {
  std::int32_t stream = 0;
  TransportFault fault = TransportFault::kNone;
  std::int32_t grpc_status = -1;   // -1: none came
  int http_status = 0;             // client: of the answer; 0: none came
  std::string_view grpc_message;   // valid during the call
};

class TransportSocketUser {
 public:
  virtual ~TransportSocketUser() = default;
  virtual void on_ready() {}                          // TLS is done and HTTP/2 is up; not on WebSocket
  virtual void on_stream_open(std::int32_t stream) = 0;
  // A whole message; the bytes are valid during the call.
  virtual void on_message(std::int32_t stream, std::span<const std::byte> message) = 0;
  virtual void on_half_closed(std::int32_t) {}        // server with `calls`: the peer has said all
  virtual void on_stream_closed(const StreamEnd& end) = 0;
  virtual void on_sent() {}                           // something that waited has left
  // The socket is closed. kNone: in good order.
  virtual void on_closed(const TransportError& error) = 0;
};

class TransportSocket {
 public:
  // Takes the descriptor: connected and non-blocking. nullptr: no memory; then the descriptor is closed.
  // `memory` and `user` outlive it.
  [[nodiscard]] static std::unique_ptr<TransportSocket> create(Loop& loop, int fd, std::shared_ptr<const TransportConfig> config,
                                                               TransportMemory& memory, TransportSocketUser& user);
  ~TransportSocket();  // closes at once, without on_closed()
  TransportSocket(const TransportSocket&) = delete;
  TransportSocket& operator=(const TransportSocket&) = delete;

  [[nodiscard]] std::int32_t open_stream();
  // A copy is queued and leaves at the end of the turn.
  WriteResult write(std::int32_t stream, std::span<const iovec> pieces);
  WriteResult write(std::int32_t stream, std::span<const std::byte> message);
  void finish_stream(std::int32_t stream, int grpc_status, std::string_view message);
  void drain();  // new streams are refused
  void close();  // says so to the other side; on_closed() follows, within two seconds

  // From inside of on_message: what has been read still comes, then nothing until the next turn, and less at a time.
  void rest() { resting_ = true; }
  [[nodiscard]] std::size_t pending_bytes() const { return transport_->pending_bytes(); }
  [[nodiscard]] TlsInfo tls_info() const { return transport_->tls_info(); }
  [[nodiscard]] bool ready() const { return ready_; }
  [[nodiscard]] const StreamHead* head(std::int32_t stream) const { return transport_->head(stream); }
  [[nodiscard]] std::size_t open_streams() const { return transport_->open_streams(); }
  // What the other side said first on the socket, whatever it is: for people who wonder what it is.
  [[nodiscard]] std::span<const std::byte> first_bytes() const { return {first_bytes_.data(), first_count_}; }

 private:
  TransportSocket(Loop& loop, int fd, TransportSocketUser& user) : loop_(loop), fd_(fd), user_(user) {}
  [[nodiscard]] TransportTime now();
  void on_descriptor(std::uint32_t events);
  void receive();
  void feed(std::span<const std::byte> bytes);
  void settle();  // may end with on_closed(): nothing of this object may be touched behind it
  void drain_events();
  void on_event(const TransportEvent& event);
  void take_part(const TransportEvent& event);
  void flush();
  void arm_timer();
  void schedule();
  static void on_release(void* self, std::uint64_t token);

  Loop& loop_;
  int fd_;
  TransportSocketUser& user_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
  TransportEvents events_;
  std::unique_ptr<Transport> transport_;
  std::vector<std::byte> input_;
  std::vector<std::byte> room_;
  std::unordered_map<std::int32_t, std::vector<std::byte>> partial_;
  TimerId timer_ = TimerId::kNone;
  std::uint64_t timer_at_ns_ = 0;
  std::size_t first_count_ = 0;
  std::array<std::byte, kFirstBytesKept> first_bytes_{};
  bool scheduled_ = false;
  bool blocked_ = false;
  bool resting_ = false;
  bool ready_ = false;
  bool peer_closed_ = false;
};

}  // namespace slipway
