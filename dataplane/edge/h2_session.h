#pragma once
// HTTP/2 and gRPC of one connection, by nghttp2: bytes in, events and bytes out. Inner part of Transport, which says
// what each call means (transport.h). Owner thread.
//
// Received DATA is not copied: parts of messages lie in the bytes given to feed(). Sent messages are not copied
// either, except short ones: nghttp2 asks how much of a stream's queue may go, we move that much behind a 9-byte frame
// header. One DATA frame carries as many messages as fit.

#include <nghttp2/nghttp2.h>

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "edge/grpc_deframe_datapath.h"
#include "edge/transport_config.h"
#include "edge/transport_counters.h"
#include "edge/transport_events.h"
#include "edge/transport_memory.h"
#include "edge/transport_output.h"

namespace slipway {

// What the peer said when it opened a stream, or how it answered.
struct StreamHead {
  std::string method;
  std::string path;
  std::string scheme;
  std::string authority;
  std::string authorization;              // wiped once it was checked
  std::string subject;                    // of the credentials
  std::vector<TransportHeader> headers;   // all others
  std::size_t bytes = 0;
  int http_status = 0;                    // client
  std::int32_t grpc_status = -1;
  std::string grpc_message;               // percent-decoded
};

enum class WriteResult : std::uint8_t {
  kQueued,    // the caller's memory is in use until its token is released
  kCopied,    // the caller's memory is free again: the token is not released
  kTooLarge,  // for the peer; nothing was queued
  kClosed,    // no such stream, or it has ended
  kNoMemory,  // the connection fails
};

class H2Session {
 public:
  // `config` outlives it. nullptr: no memory.
  static std::unique_ptr<H2Session> create(const TransportConfig& config, OutputStore& store, OutputQueue& output,
                                           TransportEvents& events, std::uint64_t connection, TransportCounters& counters);
  ~H2Session();

  void feed(std::span<const std::byte> bytes, TransportTime now);
  // Frames into the output queue until it is full or nothing may go.
  void pump(bool control = false);

  std::int32_t open_stream();  // client; below 0: not now
  WriteResult write_message(std::int32_t stream, std::span<const iovec> pieces, std::uint64_t token);
  void release(std::int32_t stream, std::size_t bytes);
  void finish_stream(std::int32_t stream, int grpc_status, std::string_view message, TransportFault fault, bool flush);
  void reset_stream(std::int32_t stream);
  [[nodiscard]] const StreamHead* head(std::int32_t stream) const;
  [[nodiscard]] std::size_t pending_bytes(std::int32_t stream) const;
  [[nodiscard]] std::size_t pending_bytes() const { return queued_bytes_; }

  void ping();
  [[nodiscard]] std::uint32_t pings_unanswered() const { return pings_out_ - pings_answered_; }
  void drain() { draining_ = true; }  // new streams are refused
  void shutdown_notice();             // GOAWAY that lets streams in flight be
  void shutdown_final();              // GOAWAY with the last stream taken
  void terminate(std::uint32_t error_code);

  [[nodiscard]] std::size_t open_streams() const { return open_streams_; }
  [[nodiscard]] bool ready() const { return ready_; }
  [[nodiscard]] bool served() const { return served_; }  // a stream was opened at least once
  [[nodiscard]] const TransportError& error() const { return error_; }
  [[nodiscard]] bool failed() const { return error_.fault != TransportFault::kNone; }
  [[nodiscard]] bool wants_write() const { return !is_stranger_ && nghttp2_session_want_write(session_) != 0; }
  [[nodiscard]] bool over() const;    // nothing more to read or to write
  void fail(TransportFault fault, std::string text);
  void close_streams(TransportFault fault);  // the connection is gone: says so for each open one

 private:
  struct Stream;
  struct Callbacks;
  H2Session(const TransportConfig& config, OutputStore& store, OutputQueue& output, TransportEvents& events,
            std::uint64_t connection, TransportCounters& counters);

  bool start();
  Stream* find(std::int32_t id) const;
  Stream* make_stream(std::int32_t id);
  void drop_stream(Stream* stream);
  void on_request(Stream& stream);
  void on_response(Stream& stream, bool end);
  bool accept(Stream& stream);
  void refuse(Stream& stream, int http_status, int grpc_status, std::string_view message, TransportFault fault,
              std::string_view challenge);
  [[nodiscard]] static bool append_message(OutputQueue& queue, std::span<const iovec> pieces, std::size_t total, bool copied,
                                           std::uint64_t token);
  void on_data(Stream& stream, std::span<const std::byte> bytes);
  void on_peer_end(Stream& stream);
  void report_closed(Stream& stream, TransportFault fault);
  void send_trailers(Stream& stream);
  int submit_trailers(Stream& stream);
  bool charge(const nghttp2_frame_hd& hd);
  [[nodiscard]] bool output_full() const {
    return output_.bytes() >= kEdgeOutputBytes || output_.segments() >= kEdgeOutputSegments;
  }
  void stranger(std::span<const std::byte> bytes);
  void discard_queue(Stream& stream);
  ssize_t read_length(Stream& stream, std::size_t room, std::uint32_t& flags);
  TransportEvent event(TransportEventKind kind, std::int32_t stream) const {
    TransportEvent e{.kind = kind};
    e.stream = stream;
    e.connection = connection_;
    return e;
  }

  const TransportConfig& config_;
  OutputStore& store_;
  OutputQueue& output_;
  TransportEvents& events_;
  TransportCounters& counters_;
  std::uint64_t connection_;
  nghttp2_session* session_ = nullptr;
  Stream* streams_ = nullptr;  // all, newest first
  std::vector<std::pair<std::int32_t, std::unique_ptr<StreamHead>>> ended_heads_;  // of streams that ended since feed() began
  std::size_t open_streams_ = 0;
  std::size_t all_streams_ = 0;
  std::size_t queued_bytes_ = 0;
  TransportTime now_;
  TransportError error_;
  std::string library_text_;   // what nghttp2 said last about an error
  std::uint64_t tokens_ns_ = 0;
  std::uint32_t tokens_;       // control frames that the peer may still send
  std::uint32_t pings_out_ = 0;
  std::uint32_t pings_answered_ = 0;
  std::uint8_t preface_seen_ = 0;
  std::uint8_t stranger_bytes_ = 0;
  std::uint8_t stranger_[24];
  bool is_stranger_ = false;
  bool ready_ = false;
  bool served_ = false;
  bool draining_ = false;
  bool pumping_ = false;
};

}  // namespace slipway
