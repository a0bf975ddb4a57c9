// Set-up and end of an HTTP/2 session, its streams and its pings.

#include "edge/h2_session.h"

#include <fmt/format.h>

#include <algorithm>
#include <cassert>
#include <new>

#include "edge/grpc_status.h"
#include "edge/h2_stream.h"

namespace slipway {
namespace {

struct OptionDeleter {
  void operator()(nghttp2_option* option) const { nghttp2_option_del(option); }
};

// Windows are opened by release() alone, closed streams are forgotten, and what a peer may make us keep is bounded.
const nghttp2_option* session_options() {
  static const std::unique_ptr<nghttp2_option, OptionDeleter> options = [] {
    nghttp2_option* o = nullptr;
    if (nghttp2_option_new(&o) != 0) {
      return std::unique_ptr<nghttp2_option, OptionDeleter>();
    }
    nghttp2_option_set_no_auto_window_update(o, 1);
    nghttp2_option_set_no_closed_streams(o, 1);
    nghttp2_option_set_max_outbound_ack(o, kMaxEdgeAcks);
    nghttp2_option_set_max_settings(o, 32);
    nghttp2_option_set_max_reserved_remote_streams(o, 0);
    return std::unique_ptr<nghttp2_option, OptionDeleter>(o);
  }();
  return options.get();
}

}  // namespace

H2Session::H2Session(const TransportConfig& config, OutputStore& store, OutputQueue& output, TransportEvents& events,
                     std::uint64_t connection, TransportCounters& counters)
    : config_(config), store_(store), output_(output), events_(events), counters_(counters), connection_(connection),
      tokens_(kEdgeControlBurst) {}

std::unique_ptr<H2Session> H2Session::create(const TransportConfig& config, OutputStore& store, OutputQueue& output,
                                             TransportEvents& events, std::uint64_t connection, TransportCounters& counters) {
  std::unique_ptr<H2Session> session(new (std::nothrow) H2Session(config, store, output, events, connection, counters));
  return session != nullptr && session->start() ? std::move(session) : nullptr;
}

bool H2Session::start() {
  const bool server = config_.role == TransportRole::kServer;
  const int made = server ? nghttp2_session_server_new3(&session_, Callbacks::all(), this, session_options(), store_.memory().nghttp2())
                          : nghttp2_session_client_new3(&session_, Callbacks::all(), this, session_options(), store_.memory().nghttp2());
  if (made != 0) {
    session_ = nullptr;
    return false;
  }
  const nghttp2_settings_entry settings[] = {
      server ? nghttp2_settings_entry{NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, config_.max_streams}
             : nghttp2_settings_entry{NGHTTP2_SETTINGS_ENABLE_PUSH, 0},
      {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, config_.stream_window()},
      {NGHTTP2_SETTINGS_MAX_FRAME_SIZE, config_.frame_bytes()},
      {NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, config_.max_header_bytes},
  };
  return nghttp2_submit_settings(session_, NGHTTP2_FLAG_NONE, settings, std::size(settings)) == 0 &&
         nghttp2_session_set_local_window_size(session_, NGHTTP2_FLAG_NONE, 0,
                                               static_cast<std::int32_t>(config_.connection_window())) == 0;
}

H2Session::~H2Session() {
  nghttp2_session_del(session_);
  while (streams_ != nullptr) {
    drop_stream(streams_);
  }
}

H2Session::Stream* H2Session::find(std::int32_t id) const {
  if (streams_ != nullptr && streams_->id == id) {
    return streams_;
  }
  return static_cast<Stream*>(nghttp2_session_get_stream_user_data(session_, id));
}

H2Session::Stream* H2Session::make_stream(std::int32_t id) {
  void* memory = store_.memory().allocate(sizeof(Stream));
  auto head = std::unique_ptr<StreamHead>(new (std::nothrow) StreamHead);
  if (memory == nullptr || head == nullptr) {
    store_.memory().release(memory);
    return nullptr;
  }
  auto* stream = new (memory) Stream(*this, id);
  stream->head = std::move(head);
  stream->next = streams_;
  if (streams_ != nullptr) {
    streams_->before = stream;
  }
  streams_ = stream;
  ++all_streams_;
  return stream;
}

void H2Session::drop_stream(Stream* stream) {
  (stream->before == nullptr ? streams_ : stream->before->next) = stream->next;
  if (stream->next != nullptr) {
    stream->next->before = stream->before;
  }
  queued_bytes_ -= stream->queue.bytes();
  if (stream->counted) {
    --open_streams_;
  }
  --all_streams_;
  stream->~Stream();
  store_.memory().release(stream);
}

void H2Session::discard_queue(Stream& stream) {
  const std::size_t bytes = stream.queue.bytes();
  if (stream.queue.discard(output_)) {
    queued_bytes_ -= bytes;
  } else {
    fail(TransportFault::kNoMemory, "no memory is left to end a stream");
  }
}

void H2Session::report_closed(Stream& stream, TransportFault fault) {
  stream.ended = true;
  if (!stream.open) {
    return;
  }
  stream.open = false;
  TransportEvent e = event(TransportEventKind::kStreamClosed, stream.id);
  e.fault = fault;
  e.grpc_status = stream.head != nullptr ? stream.head->grpc_status : -1;
  events_.push_back(e);
}

void H2Session::close_streams(TransportFault fault) {
  draining_ = true;
  for (Stream* stream = streams_; stream != nullptr; stream = stream->next) {
    report_closed(*stream, fault);
    discard_queue(*stream);
  }
}

void H2Session::fail(TransportFault fault, std::string text) {
  if (failed()) {
    return;
  }
  error_ = {fault, std::move(text)};
  close_streams(fault);
  TransportEvent e = event(TransportEventKind::kFailed, 0);
  e.fault = fault;
  events_.push_back(e);
}

int H2Session::submit_trailers(Stream& stream) {
  stream.trailers_given = true;
  const std::string status = std::to_string(stream.finish_status);
  const nghttp2_nv trailers[] = {h2_header("grpc-status", status), h2_header("grpc-message", stream.finish_message)};
  return nghttp2_submit_trailer(session_, stream.id, trailers, stream.finish_message.empty() ? 1 : 2);
}

void H2Session::finish_stream(std::int32_t id, int grpc_status, std::string_view message, TransportFault fault, bool flush) {
  Stream* stream = find(id);
  if (stream == nullptr || stream->finish || stream->trailers_given) {
    return;
  }
  stream->finish = true;
  stream->finish_status = grpc_status;
  stream->finish_message = grpc_message_encode(message);
  stream->reset_after = true;
  if (config_.role == TransportRole::kClient) {
    if (stream->deferred) {  // half-close: the server's messages and its status still come
      stream->deferred = false;
      nghttp2_session_resume_data(session_, id);
    }
    return;
  }
  report_closed(*stream, fault);
  if (!flush || stream->queue.empty()) {
    // Not by way of the data that waits: a peer that does not open its window would never see the trailers.
    discard_queue(*stream);
    submit_trailers(*stream);
  }
}

void H2Session::reset_stream(std::int32_t id) {
  Stream* stream = find(id);
  if (stream == nullptr) {
    return;
  }
  discard_queue(*stream);
  report_closed(*stream, TransportFault::kAsked);
  nghttp2_submit_rst_stream(session_, NGHTTP2_FLAG_NONE, id, NGHTTP2_CANCEL);
}

const StreamHead* H2Session::head(std::int32_t id) const {
  if (const Stream* stream = find(id); stream != nullptr) {
    return stream->head.get();
  }
  const auto ended = std::find_if(ended_heads_.begin(), ended_heads_.end(), [id](const auto& one) { return one.first == id; });
  return ended == ended_heads_.end() ? nullptr : ended->second.get();
}

std::size_t H2Session::pending_bytes(std::int32_t id) const {
  const Stream* stream = find(id);
  return stream == nullptr ? 0 : stream->queue.bytes();
}

void H2Session::ping() {
  if (nghttp2_submit_ping(session_, NGHTTP2_FLAG_NONE, nullptr) == 0) {
    ++pings_out_;
  }
}

void H2Session::shutdown_notice() { nghttp2_submit_shutdown_notice(session_); }

void H2Session::shutdown_final() {
  nghttp2_submit_goaway(session_, NGHTTP2_FLAG_NONE, nghttp2_session_get_last_proc_stream_id(session_), NGHTTP2_NO_ERROR, nullptr, 0);
}

void H2Session::terminate(std::uint32_t error_code) { nghttp2_session_terminate_session(session_, error_code); }

bool H2Session::over() const {
  return is_stranger_ ? failed() : nghttp2_session_want_read(session_) == 0 && nghttp2_session_want_write(session_) == 0;
}

// --- callbacks that are not per message -------------------------------------------------------------

int H2Session::Callbacks::on_error(nghttp2_session*, int, const char* text, std::size_t bytes, void* self) {
  static_cast<H2Session*>(self)->library_text_.assign(text, std::min<std::size_t>(bytes, 200));
  return 0;
}

int H2Session::Callbacks::on_stream_close(nghttp2_session*, std::int32_t id, std::uint32_t error, void* self) {
  auto& session = *static_cast<H2Session*>(self);
  Stream* stream = session.find(id);
  if (stream == nullptr) {
    return 0;
  }
  nghttp2_session_set_stream_user_data(session.session_, id, nullptr);
  session.discard_queue(*stream);
  if (stream->head != nullptr && stream->head->grpc_status >= 0) {
    session.report_closed(*stream, stream->head->grpc_status == 0 ? TransportFault::kNone : TransportFault::kPeerStatus);
  } else {
    session.report_closed(*stream, error == NGHTTP2_NO_ERROR ? TransportFault::kNone : TransportFault::kPeerReset);
  }
  if (stream->head != nullptr && stream->head->grpc_status >= 0) {
    session.ended_heads_.emplace_back(id, std::move(stream->head));  // bounded by the streams that were open
  }
  session.drop_stream(stream);
  return 0;
}

const nghttp2_session_callbacks* H2Session::Callbacks::all() {
  static const nghttp2_session_callbacks* const callbacks = [] {
    nghttp2_session_callbacks* c = nullptr;
    if (nghttp2_session_callbacks_new(&c) != 0) {
      std::abort();  // at the process's first connection: there is no memory for anything
    }
    nghttp2_session_callbacks_set_on_begin_frame_callback(c, on_begin_frame);
    nghttp2_session_callbacks_set_on_begin_headers_callback(c, on_begin_headers);
    nghttp2_session_callbacks_set_on_header_callback(c, on_header);
    nghttp2_session_callbacks_set_on_frame_recv_callback(c, on_frame);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(c, on_data);
    nghttp2_session_callbacks_set_on_stream_close_callback(c, on_stream_close);
    nghttp2_session_callbacks_set_on_frame_send_callback(c, on_frame_send);
    nghttp2_session_callbacks_set_send_data_callback(c, send_data);
    nghttp2_session_callbacks_set_error_callback2(c, on_error);
    return c;
  }();
  return callbacks;
}

}  // namespace slipway
