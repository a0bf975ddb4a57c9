#pragma once
// One byte-stream connection of an edge, either side, without its socket: bytes in, bytes out, events. Layers by
// configuration: [HTTP CONNECT tunnel] [TLS] then HTTP/2 with gRPC's one bidirectional method, or WebSocket.
//
// The owner reads from the socket and calls feed(); after any call it handles the new events; when wants_send() it
// sends what gather() gives and says with consumed() how much went; at next_deadline_ns() it calls tick(). When
// finished() it closes the socket. All calls by the owning thread; none blocks, reads a clock or throws.
//
// Received messages. On HTTP/2 without TLS their bytes lie in the input itself. With TLS, and on WebSocket, they lie in
// the room that the caller gives. Parts come as they arrive: who needs them whole puts them together. The peer may
// send as much as its windows allow, and these open by release() alone: call it for each byte of each kMessage event
// when that byte is no longer held (also after the stream has closed). On WebSocket there are no windows: stop reading.
//
// Sent messages. Short ones are copied. Of others the caller's memory is referenced until its token is told to the
// release function: when the bytes were sent and consumed(), or thrown away. pending_bytes() is what waits.

#include <sys/uio.h>

#include <cstddef>
#include <cstdint>
#include <expected>
#include <memory>
#include <span>
#include <string_view>

#include "edge/h2_session.h"
#include "edge/tls_stream.h"
#include "edge/transport_config.h"
#include "edge/transport_counters.h"
#include "edge/transport_events.h"
#include "edge/transport_memory.h"
#include "edge/transport_output.h"

namespace slipway {

class ProxyClient;
class WsSession;

struct TransportOwner {
  TransportMemory* memory = nullptr;
  TransportEvents* events = nullptr;
  std::uint64_t connection = 0;        // comes back in events
  ReleaseFunction release = nullptr;   // of borrowed messages; also called by the destructor
  void* context = nullptr;             // its first argument
};

struct FeedResult {
  std::size_t used = 0;       // bytes of the input that need not be given again
  std::size_t room_used = 0;  // bytes at the start of the room that events refer to
  bool again = false;         // more is there: call feed() once more with the rest of the input (may be empty) and new room
};

class Transport {
 public:
  // nullptr: no memory. A client has bytes to send at once.
  [[nodiscard]] static std::unique_ptr<Transport> create(std::shared_ptr<const TransportConfig> config, const TransportOwner& owner,
                                                         TransportTime now);
  // No send of gathered bytes may be under way.
  ~Transport();
  Transport(const Transport&) = delete;
  Transport& operator=(const Transport&) = delete;

  // --- in -------------------------------------------------------------------------------------------
  // `room`: at least kEdgeRoomBytes where needs_room(), else it may be empty. Messages in events refer to `bytes` and
  // `room`; everything else may be reused at once.
  FeedResult feed(std::span<const std::byte> bytes, std::span<std::byte> room, TransportTime now);
  [[nodiscard]] bool needs_room() const;
  void peer_closed();  // the socket's end, or its error
  void release(std::int32_t stream, std::size_t bytes);

  // --- out ------------------------------------------------------------------------------------------
  [[nodiscard]] bool wants_send() const;
  // Fills `out` with pieces to send, in order; returns how many. Nothing is taken: the same come again until
  // consumed(). They stay where they are until then.
  [[nodiscard]] std::size_t gather(std::span<iovec> out);
  void consumed(std::size_t bytes);
  // One message. `pieces` in order; see WriteResult for who owns the memory afterwards.
  WriteResult write_message(std::int32_t stream, std::span<const iovec> pieces, std::uint64_t token);
  [[nodiscard]] std::size_t pending_bytes() const;  // of all streams, framed or not
  [[nodiscard]] std::size_t pending_bytes(std::int32_t stream) const;  // of one, not framed yet: its window is shut

  // --- streams --------------------------------------------------------------------------------------
  // Client: opens the method; kStreamOpen or kStreamClosed follows. Below 0: not now. WebSocket: opens by itself.
  std::int32_t open_stream();
  // What the peer said at the opening, and of a stream that it ended, with a status, how: until the next feed().
  // nullptr: no such stream.
  [[nodiscard]] const StreamHead* head(std::int32_t stream) const;
  // Server: what is queued is sent, then the status. Client: half-close. WebSocket: close frame.
  void finish_stream(std::int32_t stream, int grpc_status, std::string_view message);
  void reset_stream(std::int32_t stream);  // at once; what is queued is thrown away

  // --- the connection -------------------------------------------------------------------------------
  void tick(TransportTime now);
  [[nodiscard]] std::uint64_t next_deadline_ns() const;  // ~0: none
  void drain();   // new streams are refused; open ones go on
  // Says so to the peer; finished() when that was sent, or after two seconds. What was not framed is thrown away.
  void close(TransportTime now);
  [[nodiscard]] bool failed() const { return error_.fault != TransportFault::kNone; }
  [[nodiscard]] const TransportError& error() const { return error_; }
  // Nothing is left to send and nothing will come: close the socket. Comes without kFailed too: after close(), after
  // the peer's own goodbye, after a GOAWAY when its last stream has ended.
  [[nodiscard]] bool finished() const;

  [[nodiscard]] std::size_t open_streams() const;
  [[nodiscard]] const TransportCounters& counters() const { return counters_; }
  // Of the node's or application's own TLS, not of a proxy's.
  [[nodiscard]] TlsInfo tls_info() const { return tls_ == nullptr || config_->tls == nullptr ? TlsInfo{} : tls_->info(); }
  [[nodiscard]] const TransportConfig& config() const { return *config_; }

 private:
  Transport(std::shared_ptr<const TransportConfig> config, const TransportOwner& owner, TransportTime now);
  bool start();
  bool start_proxy();
  bool start_layers();
  void feed_proxy(std::span<const std::byte>& bytes);
  void feed_tls_proxy(std::span<const std::byte>& bytes);
  void tunnel_answered(bool open);
  void feed_layers(std::span<const std::byte>& bytes, std::span<std::byte> room, FeedResult& result);
  void feed_tls_http2(std::span<const std::byte>& bytes, std::span<std::byte> room, FeedResult& result);
  void collect_errors();
  void fail(TransportFault fault, std::string text);
  void keep_alive();
  void age();
  [[nodiscard]] OutputQueue& wire() { return over_tls_ ? records_ : plain_; }
  [[nodiscard]] const OutputQueue& wire() const { return over_tls_ ? records_ : plain_; }
  [[nodiscard]] bool served() const;

  std::shared_ptr<const TransportConfig> config_;
  TransportOwner owner_;
  OutputStore store_;
  OutputQueue plain_;    // framed, before TLS
  OutputQueue records_;  // TLS records
  const bool over_tls_;  // at last, or from the start; what goes before it in clear is among the records
  std::unique_ptr<ProxyClient> proxy_;
  std::unique_ptr<TlsStream> tls_;
  std::unique_ptr<H2Session> h2_;
  std::unique_ptr<WsSession> ws_;
  TransportCounters counters_;
  TransportError error_;
  TransportTime now_;
  std::uint64_t started_ns_;
  std::uint64_t last_received_ns_;
  std::uint64_t pinged_ns_ = 0;     // 0: no ping is unanswered
  std::uint64_t closing_ns_ = 0;    // when the end began; 0: not yet
  std::uint64_t aged_ns_ = 0;       // when the age was reached
  bool goaway_final_ = false;
  bool peer_closed_ = false;
  bool closed_tls_ = false;
};

}  // namespace slipway
