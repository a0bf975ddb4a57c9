// Requests and their answers: how streams open, are refused and end.

#include <fmt/format.h>
#include <openssl/crypto.h>

#include <algorithm>

#include "edge/grpc_status.h"
#include "edge/h2_stream.h"

namespace slipway {
namespace {

void wipe(std::string& text) {
  OPENSSL_cleanse(text.data(), text.size());
  text.clear();
}

std::string_view view(const std::uint8_t* bytes, std::size_t count) { return {reinterpret_cast<const char*>(bytes), count}; }

}  // namespace

int H2Session::Callbacks::on_begin_headers(nghttp2_session*, const nghttp2_frame* frame, void* self) {
  auto& session = *static_cast<H2Session*>(self);
  if (frame->hd.type != NGHTTP2_HEADERS || frame->headers.cat != NGHTTP2_HCAT_REQUEST) {
    return 0;
  }
  if (session.all_streams_ >= session.config_.max_streams) {
    ++session.counters_.streams_refused;
    nghttp2_submit_rst_stream(session.session_, NGHTTP2_FLAG_NONE, frame->hd.stream_id, NGHTTP2_REFUSED_STREAM);
    return 0;
  }
  Stream* stream = session.make_stream(frame->hd.stream_id);
  if (stream == nullptr) {
    session.fail(TransportFault::kNoMemory, "no memory is left for a stream");
    return NGHTTP2_ERR_CALLBACK_FAILURE;
  }
  nghttp2_session_set_stream_user_data(session.session_, stream->id, stream);
  return 0;
}

int H2Session::Callbacks::on_header(nghttp2_session*, const nghttp2_frame* frame, const std::uint8_t* name, std::size_t name_bytes,
                                    const std::uint8_t* value, std::size_t value_bytes, std::uint8_t, void* self) {
  auto& session = *static_cast<H2Session*>(self);
  Stream* stream = session.find(frame->hd.stream_id);
  if (stream == nullptr || stream->ended || stream->head == nullptr) {
    return 0;
  }
  StreamHead& head = *stream->head;
  head.bytes += name_bytes + value_bytes + 32;  // as RFC 9113 6.5.2 counts a header list
  if (head.bytes > session.config_.max_header_bytes) {
    if (session.config_.role == TransportRole::kServer && !stream->answered) {
      session.refuse(*stream, 431, -1, {}, TransportFault::kHeadersTooLarge, {});
    } else {
      session.discard_queue(*stream);
      session.report_closed(*stream, TransportFault::kHeadersTooLarge);
      nghttp2_submit_rst_stream(session.session_, NGHTTP2_FLAG_NONE, stream->id, NGHTTP2_ENHANCE_YOUR_CALM);
    }
    return 0;
  }
  const std::string_view key = view(name, name_bytes);
  const std::string_view text = view(value, value_bytes);
  if (key == ":method") {
    head.method = text;
  } else if (key == ":path") {
    head.path = text;
  } else if (key == ":scheme") {
    head.scheme = text;
  } else if (key == ":authority") {
    head.authority = text;
  } else if (key == ":status") {
    head.http_status = parse_status(text);
  } else if (key == "authorization") {
    wipe(head.authorization);
    head.authorization = text;
  } else if (key == "grpc-status") {
    const std::int32_t status = parse_status(text);
    head.grpc_status = status < 0 ? grpc_status::kUnknown : status;
  } else if (key == "grpc-message") {
    head.grpc_message = grpc_message_decode(text);
  } else {
    head.headers.push_back({std::string(key), std::string(text)});
  }
  return 0;
}

int H2Session::Callbacks::on_frame(nghttp2_session*, const nghttp2_frame* frame, void* self) {
  auto& session = *static_cast<H2Session*>(self);
  const bool end = (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) != 0;
  switch (frame->hd.type) {
    case NGHTTP2_DATA:
      if (end) {
        if (Stream* stream = session.find(frame->hd.stream_id); stream != nullptr) {
          session.on_peer_end(*stream);
        }
      }
      break;
    case NGHTTP2_HEADERS:
      if (Stream* stream = session.find(frame->hd.stream_id); stream != nullptr) {
        if (frame->headers.cat == NGHTTP2_HCAT_REQUEST) {
          session.on_request(*stream);
        } else if (session.config_.role == TransportRole::kClient) {
          session.on_response(*stream, end);
        }
        // The callbacks above drop no stream: nghttp2 closes it later.
        if (end) {
          session.on_peer_end(*stream);
        }
      }
      break;
    case NGHTTP2_SETTINGS:
      if ((frame->hd.flags & NGHTTP2_FLAG_ACK) == 0 && !session.ready_) {
        session.ready_ = true;
        session.events_.push_back(session.event(TransportEventKind::kReady, 0));
      }
      break;
    case NGHTTP2_PING:
      if ((frame->hd.flags & NGHTTP2_FLAG_ACK) != 0 && session.pings_answered_ != session.pings_out_) {
        session.pings_answered_ = session.pings_out_;
      }
      break;
    case NGHTTP2_GOAWAY:
      session.events_.push_back(session.event(TransportEventKind::kGoaway, 0));
      if (frame->goaway.error_code != NGHTTP2_NO_ERROR) {
        const auto text = view(frame->goaway.opaque_data, std::min<std::size_t>(frame->goaway.opaque_data_len, 100));
        session.fail(TransportFault::kHttp2Protocol,
                     fmt::format("The peer ended the connection with HTTP/2 error {} ({}) {}", frame->goaway.error_code,
                                 nghttp2_http2_strerror(frame->goaway.error_code), grpc_message_encode(text)));
      }
      break;
    default:
      break;
  }
  return 0;
}

bool H2Session::accept(Stream& stream) {
  StreamHead& head = *stream.head;
  const bool served = config_.calls ? head.path.starts_with(config_.path) : head.path == config_.path;
  if (head.method != "POST" || !served) {
    refuse(stream, 200, grpc_status::kUnimplemented, {}, TransportFault::kUnknownMethod, {});
    return false;
  }
  if (config_.guard != nullptr) {
    AuthVerdict verdict = config_.guard->check(head.authorization, now_.unix_s);
    wipe(head.authorization);
    if (verdict.http_status != 200) {
      // Upstream's node sends the HTTP status alone, which its clients take for a stream that is open and then breaks.
      refuse(stream, verdict.http_status, grpc_status_of_http(verdict.http_status), verdict.reason, TransportFault::kNotAuthorized, verdict.challenge);
      return false;
    }
    head.subject = std::move(verdict.subject);
  }
  wipe(head.authorization);
  if (draining_) {
    refuse(stream, 200, grpc_status::kUnavailable, "the node is shutting down", TransportFault::kDraining, {});
    return false;
  }
  return true;
}

void H2Session::refuse(Stream& stream, int http_status, int grpc_code, std::string_view message, TransportFault fault,
                       std::string_view challenge) {
  ++counters_.streams_refused;
  wipe(stream.head->authorization);
  stream.ended = true;
  stream.answered = true;
  stream.trailers_given = true;
  stream.reset_after = true;
  const std::string status = std::to_string(http_status);
  const std::string code = std::to_string(grpc_code);
  const std::string text = grpc_message_encode(message);
  std::array<nghttp2_nv, 5> headers{h2_header(":status", status)};
  std::size_t count = 1;
  if (grpc_code >= 0) {
    headers[count++] = h2_header("content-type", "application/grpc");
    headers[count++] = h2_header("grpc-status", code);
    if (!text.empty()) {
      headers[count++] = h2_header("grpc-message", text);
    }
  }
  if (!challenge.empty()) {
    headers[count++] = h2_header("www-authenticate", challenge);
  }
  nghttp2_submit_response(session_, stream.id, headers.data(), count, nullptr);
  TransportEvent e = event(TransportEventKind::kStreamClosed, stream.id);
  e.fault = fault;
  events_.push_back(e);
}

void H2Session::on_request(Stream& stream) {
  if (stream.ended || stream.answered || !accept(stream)) {
    return;
  }
  // The answer's headers go before anything was received: clients send nothing until they have them.
  const nghttp2_nv headers[] = {h2_header(":status", "200"), h2_header("content-type", "application/grpc")};
  const nghttp2_data_provider source{.source = {.ptr = &stream}, .read_callback = Callbacks::read};
  if (nghttp2_submit_response(session_, stream.id, headers, std::size(headers), &source) != 0) {
    fail(TransportFault::kNoMemory, "no memory is left to answer a request");
    return;
  }
  stream.answered = true;
  stream.open = true;
  stream.counted = true;
  served_ = true;
  ++open_streams_;
  ++counters_.streams_opened;
  events_.push_back(event(TransportEventKind::kStreamOpen, stream.id));
}

void H2Session::on_response(Stream& stream, bool end) {
  StreamHead& head = *stream.head;
  if (stream.ended) {
    return;
  }
  if (!stream.answered && head.http_status >= 100 && head.http_status < 200) {
    head.http_status = 0;  // an interim answer: the real one follows
    return;
  }
  const bool first = !stream.answered;
  stream.answered = true;
  if (first && !end && head.http_status == 200 && head.grpc_status < 0) {
    ++counters_.streams_opened;
    events_.push_back(event(TransportEventKind::kStreamOpen, stream.id));
    return;
  }
  if (head.grpc_status < 0) {
    head.grpc_status = head.http_status == 200 ? (end ? grpc_status::kUnknown : -1) : grpc_status_of_http(head.http_status);
  }
  if (first || end) {
    const bool denied = head.http_status == 401 || head.http_status == 403;
    discard_queue(stream);
    report_closed(stream, denied ? TransportFault::kNotAuthorized
                                 : head.grpc_status == 0 && stream.deframer.inside_message() ? TransportFault::kCutMessage
                                 : head.grpc_status == 0 ? TransportFault::kNone : TransportFault::kPeerStatus);
    nghttp2_submit_rst_stream(session_, NGHTTP2_FLAG_NONE, stream.id, NGHTTP2_NO_ERROR);
  }
}

void H2Session::on_peer_end(Stream& stream) {
  stream.peer_ended = true;
  if (stream.ended) {
    return;
  }
  const TransportFault fault = stream.deframer.inside_message() ? TransportFault::kCutMessage : TransportFault::kNone;
  if (config_.role == TransportRole::kServer && config_.calls && fault == TransportFault::kNone) {
    events_.push_back(event(TransportEventKind::kHalfClosed, stream.id));
    return;
  }
  if (config_.role == TransportRole::kServer) {
    finish_stream(stream.id, grpc_status::kOk, {}, fault, false);
    return;
  }
  discard_queue(stream);  // END_STREAM without trailers
  report_closed(stream, fault == TransportFault::kNone ? TransportFault::kPeerReset : fault);
  nghttp2_submit_rst_stream(session_, NGHTTP2_FLAG_NONE, stream.id, NGHTTP2_NO_ERROR);
}

int H2Session::Callbacks::on_frame_send(nghttp2_session*, const nghttp2_frame* frame, void* self) {
  auto& session = *static_cast<H2Session*>(self);
  if (frame->hd.type == NGHTTP2_HEADERS && (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) != 0 &&
      session.config_.role == TransportRole::kServer) {
    Stream* stream = session.find(frame->hd.stream_id);
    if (stream != nullptr && stream->reset_after && !stream->peer_ended) {
      nghttp2_submit_rst_stream(session.session_, NGHTTP2_FLAG_NONE, stream->id, NGHTTP2_NO_ERROR);
    }
  } else if (frame->hd.type == NGHTTP2_GOAWAY && frame->goaway.error_code != NGHTTP2_NO_ERROR) {
    const std::uint32_t code = frame->goaway.error_code;
    session.fail(code == NGHTTP2_ENHANCE_YOUR_CALM ? TransportFault::kFlood : TransportFault::kHttp2Protocol,
                 fmt::format("The peer broke the rules of HTTP/2 ({}): {}", nghttp2_http2_strerror(code), session.library_text_));
  }
  return 0;
}

std::int32_t H2Session::open_stream() {
  if (failed() || draining_) {
    return -1;
  }
  std::vector<nghttp2_nv> headers{h2_header(":method", "POST"), h2_header(":scheme", config_.scheme),
                                  h2_header(":path", config_.path), h2_header(":authority", config_.authority),
                                  h2_header("te", "trailers"), h2_header("content-type", "application/grpc")};
  bool agent = false;
  for (const TransportHeader& header : config_.headers) {
    headers.push_back(h2_header(header.name, header.value));
    agent = agent || header.name == "user-agent";
    if (header.name == "authorization") {
      headers.back().flags = NGHTTP2_NV_FLAG_NO_INDEX;  // never in a compression table
    }
  }
  if (!agent) {
    headers.push_back(h2_header("user-agent", "slipway/0.1"));
  }
  Stream* stream = make_stream(0);
  if (stream == nullptr) {
    return -1;
  }
  const nghttp2_data_provider source{.source = {.ptr = stream}, .read_callback = Callbacks::read};
  const std::int32_t id = nghttp2_submit_request(session_, nullptr, headers.data(), headers.size(), &source, stream);
  if (id <= 0) {
    drop_stream(stream);
    return -1;
  }
  stream->id = id;
  stream->open = true;
  stream->counted = true;
  served_ = true;
  ++open_streams_;
  return id;
}

}  // namespace slipway
