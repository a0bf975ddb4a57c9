// What runs for each piece of received bytes and for each message: no allocation outside the worker's pool, no copy
// but of short messages.

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cassert>

#include "edge/grpc_status.h"
#include "edge/h2_stream.h"

namespace slipway {
namespace {

constexpr std::string_view kPreface{NGHTTP2_CLIENT_MAGIC, NGHTTP2_CLIENT_MAGIC_LEN};

constexpr std::size_t kFrameHeadBytes = 9;

constexpr std::size_t kUnreadAnswerBytes = 64u << 10;

// Copying a piece this short costs less than a segment of its own.
constexpr std::size_t kShortPieceBytes = 128;

}  // namespace

void H2Session::feed(std::span<const std::byte> bytes, TransportTime now) {
  now_ = now;
  ended_heads_.clear();
  if (preface_seen_ < kPreface.size() && config_.role == TransportRole::kServer) {
    const std::size_t check = std::min(bytes.size(), kPreface.size() - preface_seen_);
    if (is_stranger_ || std::memcmp(bytes.data(), kPreface.data() + preface_seen_, check) != 0) {
      stranger(bytes);
      return;
    }
    std::memcpy(stranger_ + preface_seen_, bytes.data(), check);
    preface_seen_ = static_cast<std::uint8_t>(preface_seen_ + check);
  }
  if (failed()) {
    return;
  }
  const ssize_t taken = nghttp2_session_mem_recv(session_, reinterpret_cast<const std::uint8_t*>(bytes.data()), bytes.size());
  if (taken < 0) {
    if (taken == NGHTTP2_ERR_FLOODED) {
      fail(TransportFault::kFlood, "The peer sends pings or settings and does not read their acknowledgements.");
      nghttp2_session_terminate_session(session_, NGHTTP2_ENHANCE_YOUR_CALM);
    } else if (taken == NGHTTP2_ERR_NOMEM) {
      fail(TransportFault::kNoMemory, "No memory is left for this connection.");
    } else {
      fail(TransportFault::kHttp2Protocol, fmt::format("HTTP/2 failed: {}. {}", nghttp2_strerror(static_cast<int>(taken)), library_text_));
    }
    pump(true);
    return;
  }
  // A GOAWAY that nghttp2 wants to end the connection with shows itself when it is framed: at once, though the peer may
  // take nothing. Beyond some answers that it does not read, they stay in nghttp2, which bounds their number.
  if (nghttp2_session_get_outbound_queue_size(session_) > 0 && output_.bytes() < kEdgeOutputBytes + kUnreadAnswerBytes) {
    pump(true);
  }
  library_text_.clear();
}

// One token a frame that carries no message; what our own data makes the peer send is given back in send_data().
bool H2Session::charge(const nghttp2_frame_hd& hd) {
  ++counters_.frames_in;
  const bool data = hd.type == NGHTTP2_DATA && (hd.length > 0 || (hd.flags & NGHTTP2_FLAG_END_STREAM) != 0);
  if (data) {
    tokens_ = std::min(tokens_ + 1, kEdgeControlBurst);
    return true;
  }
  ++counters_.control_frames_in;
  if (now_.now_ns > tokens_ns_) {
    const std::uint64_t since_ns = tokens_ns_ == 0 ? 0 : now_.now_ns - tokens_ns_;
    const std::uint64_t fresh = std::min<std::uint64_t>(since_ns, 60'000'000'000) * kEdgeControlPerSecond / 1'000'000'000;
    if (fresh > 0 || tokens_ns_ == 0) {
      tokens_ = static_cast<std::uint32_t>(std::min<std::uint64_t>(tokens_ + fresh, kEdgeControlBurst));
      tokens_ns_ = now_.now_ns;
    }
  }
  const std::uint32_t cost = hd.type == NGHTTP2_RST_STREAM                                ? kEdgeControlBurst / kEdgeResetBurst
                             : hd.type == NGHTTP2_HEADERS || hd.type == NGHTTP2_SETTINGS ? 4
                                                                                         : 1;
  if (tokens_ < cost) {
    return false;
  }
  tokens_ -= cost;
  return true;
}

int H2Session::Callbacks::on_begin_frame(nghttp2_session*, const nghttp2_frame_hd* hd, void* self) {
  auto& session = *static_cast<H2Session*>(self);
  if (session.failed()) {
    return NGHTTP2_ERR_CALLBACK_FAILURE;  // an earlier frame of the same input ended the connection
  }
  if (session.charge(*hd)) {
    return 0;
  }
  session.fail(TransportFault::kFlood, "The peer sends more HTTP/2 control frames than a client of this service ever needs.");
  nghttp2_session_terminate_session(session.session_, NGHTTP2_ENHANCE_YOUR_CALM);
  return NGHTTP2_ERR_CALLBACK_FAILURE;
}

int H2Session::Callbacks::on_data(nghttp2_session*, std::uint8_t, std::int32_t id, const std::uint8_t* data, std::size_t bytes, void* self) {
  auto& session = *static_cast<H2Session*>(self);
  Stream* stream = session.find(id);
  if (stream == nullptr || stream->ended) {
    nghttp2_session_consume(session.session_, id, bytes);
    return 0;
  }
  session.on_data(*stream, {reinterpret_cast<const std::byte*>(data), bytes});
  return 0;
}

void H2Session::on_data(Stream& stream, std::span<const std::byte> bytes) {
  std::size_t prefixes = 0;
  std::size_t delivered = 0;
  const auto fault = grpc_deframe(stream.deframer, bytes, config_.max_message_bytes, prefixes,
                                  [&](std::span<const std::byte> part, bool begin, bool end) {
                                    events_.push_back({.kind = TransportEventKind::kMessage,
                                                       .begin = begin,
                                                       .end = end,
                                                       .stream = stream.id,
                                                       .message_bytes = stream.deframer.message_bytes,
                                                       .connection = connection_,
                                                       .bytes = part});
                                    delivered += part.size();
                                    counters_.messages_in += end ? 1 : 0;
                                  });
  counters_.message_bytes_in += delivered;
  if (fault == GrpcDeframeFault::kNone) {
    if (prefixes != 0) {
      nghttp2_session_consume(session_, stream.id, prefixes);
    }
    return;
  }
  nghttp2_session_consume(session_, stream.id, bytes.size() - delivered);
  if (config_.role == TransportRole::kServer) {
    finish_stream(stream.id, grpc_status::kOk, {},
                  fault == GrpcDeframeFault::kTooLarge ? TransportFault::kMessageTooLarge : TransportFault::kBadMessageFlag, false);
    return;
  }
  discard_queue(stream);
  report_closed(stream, fault == GrpcDeframeFault::kTooLarge ? TransportFault::kMessageTooLarge : TransportFault::kBadMessageFlag);
  nghttp2_submit_rst_stream(session_, NGHTTP2_FLAG_NONE, stream.id, NGHTTP2_CANCEL);
}

void H2Session::release(std::int32_t stream, std::size_t bytes) {
  // Also of a stream that is gone: the connection's window is open to all.
  nghttp2_session_consume(session_, stream, bytes);
}

// The prefix and the pieces: into one place if they are short and it is there, else copied and referenced one by one.
bool H2Session::append_message(OutputQueue& queue, std::span<const iovec> pieces, std::size_t total, bool copied, std::uint64_t token) {
  const std::uint32_t size = std::byteswap(static_cast<std::uint32_t>(total));
  if (copied) {
    if (std::byte* to = queue.append_room(kGrpcPrefixBytes + total); to != nullptr) {
      *to = std::byte{0};
      std::memcpy(to + 1, &size, sizeof size);
      to += kGrpcPrefixBytes;
      for (const iovec& piece : pieces) {
        std::memcpy(to, piece.iov_base, piece.iov_len);
        to += piece.iov_len;
      }
      return true;
    }
  }
  std::byte prefix[kGrpcPrefixBytes] = {};
  std::memcpy(prefix + 1, &size, sizeof size);
  bool done = queue.append_copy(prefix);
  for (std::size_t left = total; const iovec& piece : pieces) {
    const std::span bytes{static_cast<const std::byte*>(piece.iov_base), piece.iov_len};
    left -= bytes.size();
    if (!bytes.empty() && done) {
      done = copied || (bytes.size() <= kShortPieceBytes && left != 0) ? queue.append_copy(bytes) : queue.append_borrowed(bytes, left == 0, token);
    }
  }
  return done;
}

WriteResult H2Session::write_message(std::int32_t id, std::span<const iovec> pieces, std::uint64_t token) {
  Stream* stream = find(id);
  if (stream == nullptr || stream->ended || stream->finish || failed()) {
    return WriteResult::kClosed;
  }
  std::size_t total = 0;
  for (const iovec& piece : pieces) {
    total += piece.iov_len;
  }
  if (total > config_.max_message_bytes) {
    ++counters_.refused_too_large;
    return WriteResult::kTooLarge;
  }
  const std::size_t before = stream->queue.bytes();
  const bool copied = total <= kEdgeCopyBytes;
  const bool done = append_message(stream->queue, pieces, total, copied, token);
  queued_bytes_ += stream->queue.bytes() - before;
  if (!done) {
    discard_queue(*stream);
    fail(TransportFault::kNoMemory, "No memory is left to queue a message.");
    return WriteResult::kNoMemory;
  }
  ++counters_.messages_out;
  counters_.message_bytes_out += total;
  if (stream->deferred) {
    stream->deferred = false;
    nghttp2_session_resume_data(session_, id);
  }
  return copied ? WriteResult::kCopied : WriteResult::kQueued;
}

ssize_t H2Session::Callbacks::read(nghttp2_session*, std::int32_t, std::uint8_t*, std::size_t room, std::uint32_t* flags,
                                   nghttp2_data_source* source, void* self) {
  return static_cast<H2Session*>(self)->read_length(*static_cast<Stream*>(source->ptr), room, *flags);
}

ssize_t H2Session::read_length(Stream& stream, std::size_t room, std::uint32_t& flags) {
  const std::size_t bytes = std::min(stream.queue.bytes(), room);
  if (bytes == 0) {
    if (!stream.finish || stream.trailers_given) {
      stream.deferred = true;
      return NGHTTP2_ERR_DEFERRED;
    }
    flags |= NGHTTP2_DATA_FLAG_EOF;
    if (config_.role == TransportRole::kServer) {
      flags |= NGHTTP2_DATA_FLAG_NO_END_STREAM;
      return submit_trailers(stream) == 0 ? 0 : NGHTTP2_ERR_CALLBACK_FAILURE;
    }
    return 0;
  }
  flags |= NGHTTP2_DATA_FLAG_NO_COPY;
  return static_cast<ssize_t>(bytes);
}

int H2Session::Callbacks::send_data(nghttp2_session*, nghttp2_frame* frame, const std::uint8_t* header, std::size_t bytes,
                                    nghttp2_data_source* source, void* self) {
  auto& session = *static_cast<H2Session*>(self);
  auto& stream = *static_cast<Stream*>(source->ptr);
  assert(frame->data.padlen == 0 && bytes <= stream.queue.bytes());
  if (!session.output_.append_copy({reinterpret_cast<const std::byte*>(header), kFrameHeadBytes}) ||
      !session.output_.move_from(stream.queue, bytes)) {
    session.fail(TransportFault::kNoMemory, "No memory is left to send.");
    return NGHTTP2_ERR_CALLBACK_FAILURE;
  }
  session.queued_bytes_ -= bytes;
  ++session.counters_.data_frames_out;
  session.tokens_ = std::min(session.tokens_ + 2, kEdgeControlBurst);  // the windows that the peer opens for it
  return session.output_full() ? NGHTTP2_ERR_PAUSE : 0;
}

// `control`: also when the output is full. nghttp2 gives control frames first, and send_data() ends the round.
void H2Session::pump(bool control) {
  if (pumping_ || is_stranger_) {
    return;
  }
  pumping_ = true;
  while (control || !output_full()) {
    const std::uint8_t* data = nullptr;
    const ssize_t bytes = nghttp2_session_mem_send(session_, &data);
    if (bytes <= 0) {
      if (bytes < 0) {
        fail(TransportFault::kNoMemory, fmt::format("HTTP/2 cannot send: {}", nghttp2_strerror(static_cast<int>(bytes))));
      }
      break;
    }
    if (!output_.append_copy({reinterpret_cast<const std::byte*>(data), static_cast<std::size_t>(bytes)})) {
      fail(TransportFault::kNoMemory, "No memory is left to send.");
      break;
    }
  }
  pumping_ = false;
}

// The first bytes are not HTTP/2: say what they look like, and answer a person with a browser or curl.
void H2Session::stranger(std::span<const std::byte> bytes) {
  if (!is_stranger_) {
    is_stranger_ = true;
    stranger_bytes_ = preface_seen_;
  }
  const std::size_t taken = std::min(bytes.size(), sizeof(stranger_) - stranger_bytes_);
  std::memcpy(stranger_ + stranger_bytes_, bytes.data(), taken);
  stranger_bytes_ = static_cast<std::uint8_t>(stranger_bytes_ + taken);
  if (failed()) {
    return;
  }
  const std::string_view seen{reinterpret_cast<const char*>(stranger_), stranger_bytes_};
  const std::size_t letters = static_cast<std::size_t>(std::find_if(seen.begin(), seen.end(), [](char c) { return c < 'A' || c > 'Z'; }) - seen.begin());
  if (stranger_[0] == 0x16) {
    fail(TransportFault::kTlsToPlain, "The peer speaks TLS to a port without TLS: use http:// at the peer, or configure tls here.");
  } else if (letters == seen.size() && letters < 8) {
    return;  // may become an HTTP/1 request
  } else if (letters >= 3 && letters < seen.size() && seen[letters] == ' ' && !seen.starts_with("PRI ")) {
    static constexpr std::string_view kBody = "This port serves gRPC over HTTP/2 without upgrade.\n";
    const std::string answer = fmt::format(
        "HTTP/1.1 505 HTTP Version Not Supported\r\ncontent-type: text/plain\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{}",
        kBody.size(), kBody);
    if (output_.append_copy(std::as_bytes(std::span(answer)))) {
      fail(TransportFault::kHttp1, "The peer sent an HTTP/1 request to a port that serves gRPC over HTTP/2.");
    } else {
      fail(TransportFault::kNoMemory, "No memory is left to answer.");
    }
  } else {
    fail(TransportFault::kNotHttp2, "The first bytes are not HTTP/2's connection preface.");
  }
}

}  // namespace slipway
