#pragma once
// WebSocket of one connection, by libwslay's frame layer: the HTTP/1.1 upgrade, then one binary message for each SLIM
// message, without gRPC's prefix (RFC 6455; upstream-node spec, WebSocket). Inner part of Transport. Owner thread.
//
// Received bytes are copied once, unmasked, into the room that feed() is given. A server's messages are sent from
// the caller's memory; a client's are masked into output chunks.

#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "edge/h2_session.h"
#include "edge/tls_stream.h"
#include "edge/transport_config.h"
#include "edge/transport_counters.h"
#include "edge/transport_events.h"
#include "edge/transport_http_head.h"
#include "edge/transport_output.h"

struct wslay_frame_context;

namespace slipway {

// Where received bytes come from: decrypted by TLS, or as they are.
struct ByteSource {
  std::span<const std::byte> bytes;
  TlsStream* tls = nullptr;
  std::size_t read(std::span<std::byte> out);
};

class WsSession {
 public:
  static constexpr std::int32_t kStream = 1;  // the only one

  static std::unique_ptr<WsSession> create(const TransportConfig& config, OutputStore& store, OutputQueue& output,
                                           TransportEvents& events, std::uint64_t connection, TransportCounters& counters);
  ~WsSession();

  // Takes from the source as long as there is room; returns how many bytes of room were used.
  std::size_t feed(ByteSource& source, std::span<std::byte> room, TransportTime now);
  WriteResult write_message(std::span<const iovec> pieces, std::uint64_t token);
  void ping();
  void close(std::uint16_t code);  // a close frame; then over() once it was sent
  void start();                    // a client's request
  void drain() { draining_ = true; }

  [[nodiscard]] bool open() const { return phase_ == Phase::kOpen; }
  [[nodiscard]] bool served() const { return served_; }
  [[nodiscard]] bool failed() const { return error_.fault != TransportFault::kNone; }
  [[nodiscard]] bool over() const { return phase_ == Phase::kOver; }
  [[nodiscard]] const TransportError& error() const { return error_; }
  [[nodiscard]] const StreamHead& head() const { return head_; }
  [[nodiscard]] std::uint32_t pings_unanswered() const { return pings_unanswered_; }
  void fail(TransportFault fault, std::string text);
  void close_stream(TransportFault fault);

 private:
  enum class Phase : std::uint8_t { kHandshake, kOpen, kClosing, kOver };
  WsSession(const TransportConfig& config, OutputStore& store, OutputQueue& output, TransportEvents& events,
            std::uint64_t connection, TransportCounters& counters);
  bool handshake(std::span<const std::byte> bytes, std::size_t& used);
  void on_request();
  void on_response();
  void answer(int status, std::string_view reason, std::string_view header, TransportFault fault);
  void opened();
  bool receive(ByteSource& source, std::span<std::byte> room, std::size_t& used);
  bool on_frame_begin();
  void on_control_end();
  bool send_frame(std::uint8_t opcode, std::span<const std::byte> payload);
  bool charge();

  static ssize_t on_send(const std::uint8_t* data, std::size_t bytes, int flags, void* self);
  static ssize_t on_recv(std::uint8_t* buffer, std::size_t room, int flags, void* self);
  static int on_mask(std::uint8_t* buffer, std::size_t bytes, void* self);

  const TransportConfig& config_;
  OutputStore& store_;
  OutputQueue& output_;
  TransportEvents& events_;
  TransportCounters& counters_;
  std::uint64_t connection_;
  std::unique_ptr<HttpHead> http_;
  std::string key_;              // client: what the server's answer must prove
  wslay_frame_context* frames_ = nullptr;
  ByteSource* source_ = nullptr;  // while feed() runs
  StreamHead head_;
  TransportTime now_;
  TransportError error_;
  Phase phase_ = Phase::kHandshake;
  bool served_ = false;
  bool draining_ = false;
  bool told_open_ = false;

  // The frame and the message being received.
  bool in_frame_ = false;
  bool in_message_ = false;
  bool first_part_ = false;
  bool fin_ = false;
  std::uint8_t opcode_ = 0;
  std::uint64_t frame_left_ = 0;
  std::uint64_t message_total_ = 0;  // of the fragments so far
  std::uint32_t told_bytes_ = 0;     // message_bytes of its events
  std::uint8_t control_[125];
  std::uint8_t control_bytes_ = 0;

  // The frame being sent.
  bool borrow_ = false;              // payload is referenced
  bool borrow_last_ = false;
  std::uint64_t borrow_token_ = 0;
  std::uint32_t pings_unanswered_ = 0;
  std::uint32_t tokens_;
  std::uint64_t tokens_ns_ = 0;
};

}  // namespace slipway
