#include "edge/ws_session.h"

#include <fmt/format.h>
#include <openssl/rand.h>
#include <wslay/wslay.h>

#include <algorithm>
#include <cstring>
#include <new>

namespace slipway {
namespace {

// What wslay_frame_context_init() takes from the heap; libwslay has no memory hook, so it is counted here.
constexpr std::size_t kFrameContextBytes = 4352;
constexpr std::uint16_t kNormalClosure = 1000;
constexpr std::size_t kShortPieceBytes = 128;

}  // namespace

std::size_t ByteSource::read(std::span<std::byte> out) {
  if (tls != nullptr) {
    return tls->read(out);
  }
  const std::size_t taken = std::min(out.size(), bytes.size());
  std::memcpy(out.data(), bytes.data(), taken);
  bytes = bytes.subspan(taken);
  return taken;
}

WsSession::WsSession(const TransportConfig& config, OutputStore& store, OutputQueue& output, TransportEvents& events,
                     std::uint64_t connection, TransportCounters& counters)
    : config_(config), store_(store), output_(output), events_(events), counters_(counters), connection_(connection),
      tokens_(kEdgeControlBurst) {}

std::unique_ptr<WsSession> WsSession::create(const TransportConfig& config, OutputStore& store, OutputQueue& output,
                                             TransportEvents& events, std::uint64_t connection, TransportCounters& counters) {
  std::unique_ptr<WsSession> session(new (std::nothrow) WsSession(config, store, output, events, connection, counters));
  if (session == nullptr || !store.memory().account().take(kFrameContextBytes)) {
    return nullptr;
  }
  const wslay_frame_callbacks callbacks{.send_callback = on_send, .recv_callback = on_recv, .genmask_callback = on_mask};
  if (wslay_frame_context_init(&session->frames_, &callbacks, session.get()) != 0) {
    session->frames_ = nullptr;
    store.memory().account().give(kFrameContextBytes);
    return nullptr;
  }
  session->http_ = std::make_unique<HttpHead>(config.role == TransportRole::kServer, config.max_header_bytes);
  return session;
}

WsSession::~WsSession() {
  if (frames_ != nullptr) {
    wslay_frame_context_free(frames_);
    store_.memory().account().give(kFrameContextBytes);
  }
}

void WsSession::opened() {
  phase_ = Phase::kOpen;
  served_ = true;
  told_open_ = true;
  ++counters_.streams_opened;
  for (const TransportEventKind kind : {TransportEventKind::kReady, TransportEventKind::kStreamOpen}) {
    TransportEvent e{.kind = kind};
    e.stream = kind == TransportEventKind::kReady ? 0 : kStream;
    e.connection = connection_;
    events_.push_back(e);
  }
}

void WsSession::close_stream(TransportFault fault) {
  if (!told_open_) {
    return;
  }
  told_open_ = false;
  TransportEvent e{.kind = TransportEventKind::kStreamClosed};
  e.stream = kStream;
  e.fault = fault;
  e.connection = connection_;
  events_.push_back(e);
}

void WsSession::fail(TransportFault fault, std::string text) {
  if (failed()) {
    return;
  }
  error_ = {fault, std::move(text)};
  phase_ = Phase::kOver;
  close_stream(fault);
  TransportEvent e{.kind = TransportEventKind::kFailed};
  e.fault = fault;
  e.connection = connection_;
  events_.push_back(e);
}

std::size_t WsSession::feed(ByteSource& source, std::span<std::byte> room, TransportTime now) {
  now_ = now;
  source_ = &source;
  while (phase_ == Phase::kHandshake) {
    // One byte at a time where TLS decrypts, so that nothing behind the head is taken.
    std::byte byte;
    std::size_t used = 0;
    if (source.tls == nullptr) {
      const bool more = handshake(source.bytes, used);
      source.bytes = source.bytes.subspan(used);
      if (!more || phase_ == Phase::kHandshake) {
        break;
      }
    } else if (source.read({&byte, 1}) == 0 || !handshake({&byte, 1}, used)) {
      break;
    }
  }
  std::size_t room_used = 0;
  while (phase_ == Phase::kOpen || phase_ == Phase::kClosing) {
    if (!receive(source, room, room_used)) {
      break;
    }
  }
  if (phase_ == Phase::kOver && source.tls == nullptr) {
    source.bytes = {};
  }
  source_ = nullptr;
  return room_used;
}

// One step of wslay: part of a frame. False: no more input, or no room, or the end.
bool WsSession::receive(ByteSource& source, std::span<std::byte> room, std::size_t& used) {
  (void)source;
  constexpr std::size_t kMostAtOnce = 4096;  // wslay's buffer
  if (room.size() - used < kMostAtOnce) {
    return false;
  }
  wslay_frame_iocb part{};
  const ssize_t got = wslay_frame_recv(frames_, &part);
  if (got < 0) {
    if (got == WSLAY_ERR_WANT_READ) {
      return false;
    }
    close(1002);
    fail(TransportFault::kWebSocketProtocol, "The peer sent an invalid WebSocket frame.");
    return false;
  }
  if (!in_frame_) {
    opcode_ = part.opcode;
    fin_ = part.fin != 0;
    frame_left_ = part.payload_length;
    if (part.rsv != 0 || (part.mask != 0) != (config_.role == TransportRole::kServer)) {
      close(1002);
      fail(TransportFault::kWebSocketProtocol, part.rsv != 0 ? "The peer uses a WebSocket extension that was not agreed on."
                                                             : "The peer's WebSocket frames are masked wrongly.");
      return false;
    }
    in_frame_ = true;
    if (!on_frame_begin()) {
      return false;
    }
  }
  frame_left_ -= part.data_length;
  const bool frame_end = frame_left_ == 0;
  if (wslay_is_ctrl_frame(opcode_)) {
    std::memcpy(control_ + control_bytes_, part.data, part.data_length);
    control_bytes_ = static_cast<std::uint8_t>(control_bytes_ + part.data_length);
    if (frame_end) {
      in_frame_ = false;
      on_control_end();
    }
    return phase_ != Phase::kOver;
  }
  if (phase_ == Phase::kOpen) {
    if (part.data_length > 0) {
      std::memcpy(room.data() + used, part.data, part.data_length);
    }
    TransportEvent e{.kind = TransportEventKind::kMessage};
    e.begin = first_part_;
    e.end = frame_end && fin_;
    e.stream = kStream;
    e.message_bytes = told_bytes_;
    e.connection = connection_;
    e.bytes = room.subspan(used, part.data_length);
    if (e.begin || e.end || part.data_length > 0) {
      events_.push_back(e);
      first_part_ = false;
    }
    used += part.data_length;
    counters_.message_bytes_in += part.data_length;
    counters_.messages_in += e.end ? 1 : 0;
  }
  if (frame_end) {
    in_frame_ = false;
    in_message_ = !fin_;
  }
  return true;
}

// RFC 6455 5.4: control frames may come between the fragments of a message, other messages may not.
bool WsSession::on_frame_begin() {
  ++counters_.frames_in;
  const bool control = wslay_is_ctrl_frame(opcode_) != 0;
  if ((control || frame_left_ == 0) && !charge()) {
    close(1008);
    fail(TransportFault::kFlood, "The peer sends more WebSocket control or empty frames than a client of this service ever needs.");
    return false;
  }
  if (control) {
    control_bytes_ = 0;
    return true;
  }
  if (opcode_ == WSLAY_TEXT_FRAME) {
    close(1003);
    fail(TransportFault::kWebSocketText, "The peer sent a WebSocket text message: messages here are binary.");
    return false;
  }
  if ((opcode_ == WSLAY_CONTINUATION_FRAME) != in_message_ || opcode_ > WSLAY_BINARY_FRAME) {
    close(1002);
    fail(TransportFault::kWebSocketProtocol, "The peer sent WebSocket frames in an order that is not allowed.");
    return false;
  }
  if (!in_message_) {
    in_message_ = true;
    first_part_ = true;
    message_total_ = 0;
    told_bytes_ = fin_ && frame_left_ <= config_.max_message_bytes ? static_cast<std::uint32_t>(frame_left_) : 0;
  }
  message_total_ += frame_left_;
  if (frame_left_ > config_.max_message_bytes || message_total_ > config_.max_message_bytes) {
    close(1009);
    fail(TransportFault::kMessageTooLarge, fmt::format("The peer sent a message of more than {} bytes.", config_.max_message_bytes));
    return false;
  }
  return true;
}

void WsSession::on_control_end() {
  const std::span payload(reinterpret_cast<const std::byte*>(control_), control_bytes_);
  if (opcode_ == WSLAY_PING) {
    // A peer that does not read its answers gets no more of them.
    if (output_.bytes() < kEdgeOutputBytes && !send_frame(WSLAY_PONG, payload)) {
      fail(TransportFault::kNoMemory, "No memory is left to answer a ping.");
    }
  } else if (opcode_ == WSLAY_PONG) {
    pings_unanswered_ = 0;
  } else if (opcode_ == WSLAY_CONNECTION_CLOSE) {
    const std::uint16_t code = control_bytes_ >= 2 ? static_cast<std::uint16_t>(control_[0] << 8 | control_[1]) : kNormalClosure;
    close(kNormalClosure);
    const bool asked = code == kNormalClosure || code == 1001;
    close_stream(asked ? TransportFault::kNone : TransportFault::kPeerStatus);
    phase_ = Phase::kOver;
  } else {
    close(1002);
    fail(TransportFault::kWebSocketProtocol, "The peer sent a WebSocket frame of an unknown kind.");
  }
}

bool WsSession::charge() {
  ++counters_.control_frames_in;
  if (tokens_ns_ == 0 || now_.now_ns - tokens_ns_ >= 1'000'000'000 / kEdgeControlPerSecond) {
    const std::uint64_t since_ns = tokens_ns_ == 0 ? 0 : std::min<std::uint64_t>(now_.now_ns - tokens_ns_, 60'000'000'000);
    tokens_ = static_cast<std::uint32_t>(std::min<std::uint64_t>(tokens_ + since_ns * kEdgeControlPerSecond / 1'000'000'000, kEdgeControlBurst));
    tokens_ns_ = now_.now_ns;
  }
  if (tokens_ == 0) {
    return false;
  }
  --tokens_;
  return true;
}

bool WsSession::send_frame(std::uint8_t opcode, std::span<const std::byte> payload) {
  wslay_frame_iocb frame{};
  frame.fin = 1;
  frame.opcode = opcode;
  frame.mask = config_.role == TransportRole::kClient ? 1 : 0;
  frame.payload_length = payload.size();
  frame.data = reinterpret_cast<const std::uint8_t*>(payload.data());
  frame.data_length = payload.size();
  borrow_ = false;
  return wslay_frame_send(frames_, &frame) == static_cast<ssize_t>(payload.size());
}

WriteResult WsSession::write_message(std::span<const iovec> pieces, std::uint64_t token) {
  if (phase_ != Phase::kOpen) {
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
  const bool masked = config_.role == TransportRole::kClient;
  const bool copied = masked || total <= kEdgeCopyBytes;
  wslay_frame_iocb frame{};
  frame.fin = 1;
  frame.opcode = WSLAY_BINARY_FRAME;
  frame.mask = masked ? 1 : 0;
  frame.payload_length = total;
  borrow_ = false;
  bool done = wslay_frame_send(frames_, &frame) == 0;  // the header alone
  for (std::size_t left = total; const iovec& piece : pieces) {
    left -= piece.iov_len;
    if (piece.iov_len == 0 || !done) {
      continue;
    }
    borrow_ = !copied && (piece.iov_len > kShortPieceBytes || left == 0);
    borrow_last_ = left == 0;
    borrow_token_ = token;
    frame.data = static_cast<const std::uint8_t*>(piece.iov_base);
    frame.data_length = piece.iov_len;
    done = wslay_frame_send(frames_, &frame) == static_cast<ssize_t>(piece.iov_len);
  }
  if (!done) {
    fail(TransportFault::kNoMemory, "No memory is left to queue a message.");
    return WriteResult::kNoMemory;
  }
  ++counters_.messages_out;
  ++counters_.data_frames_out;
  counters_.message_bytes_out += total;
  return copied ? WriteResult::kCopied : WriteResult::kQueued;
}

ssize_t WsSession::on_send(const std::uint8_t* data, std::size_t bytes, int, void* context) {
  auto& self = *static_cast<WsSession*>(context);
  const std::span piece(reinterpret_cast<const std::byte*>(data), bytes);
  const bool done = self.borrow_ ? self.output_.append_borrowed(piece, self.borrow_last_, self.borrow_token_) : self.output_.append_copy(piece);
  return done ? static_cast<ssize_t>(bytes) : -1;
}

ssize_t WsSession::on_recv(std::uint8_t* buffer, std::size_t room, int, void* context) {
  auto& self = *static_cast<WsSession*>(context);
  const std::size_t got = self.source_->read({reinterpret_cast<std::byte*>(buffer), room});
  return got == 0 ? -1 : static_cast<ssize_t>(got);
}

int WsSession::on_mask(std::uint8_t* buffer, std::size_t bytes, void*) {
  return RAND_bytes(buffer, static_cast<int>(bytes)) == 1 ? 0 : -1;
}

void WsSession::ping() {
  if (phase_ == Phase::kOpen && send_frame(WSLAY_PING, {})) {
    ++pings_unanswered_;
  }
}

void WsSession::close(std::uint16_t code) {
  if (phase_ != Phase::kOpen) {
    return;
  }
  const std::byte payload[2] = {static_cast<std::byte>(code >> 8), static_cast<std::byte>(code)};
  if (!send_frame(WSLAY_CONNECTION_CLOSE, payload)) {
    fail(TransportFault::kNoMemory, "No memory is left to close.");
    return;
  }
  phase_ = Phase::kClosing;
}

}  // namespace slipway
