// The stream of a client: negotiation, then frames both ways.

#include "edge_client/edge_client.h"

#include <fmt/format.h>

#include <utility>

#include "edge/grpc_status.h"
#include "edge_client/edge_advice.h"

namespace slipway {
namespace {

constexpr std::uint64_t kMs = 1'000'000;

// The stream alone ended; the connection is well.
bool of_stream(const StreamEnd& end) {
  switch (end.fault) {
    case TransportFault::kNone:
    case TransportFault::kPeerStatus:
    case TransportFault::kPeerReset:
    case TransportFault::kMessageTooLarge:
    case TransportFault::kBadMessageFlag:
    case TransportFault::kCutMessage:
      return true;
    default:
      return end.grpc_status >= 0;
  }
}

}  // namespace

void EdgeClient::on_ready() {
  pass(EdgeStep::kTls);
  pass(EdgeStep::kHttp);
  stream_ = socket_->open_stream();
}

void EdgeClient::on_sent() {
  if (step_ == EdgeStep::kTls && !socket_->tls_info().version.empty()) {
    pass(EdgeStep::kTls);
  }
  if (wants_room_ && socket_->pending_bytes() <= options_.queue_bytes / 2) {
    wants_room_ = false;
    if (handlers_.on_writable) {
      handlers_.on_writable();
    }
  }
}

void EdgeClient::on_stream_open(std::int32_t stream) {
  stream_ = stream;
  pass(EdgeStep::kTls);
  pass(EdgeStep::kHttp);
  pass(EdgeStep::kMethod);
  const std::uint64_t now_ms = loop_.now_ns() / kMs;
  negotiation_ = std::make_unique<NegotiationInitiator>(
      NegotiationConfig{.node_id = options_.node_id, .deployment_name = options_.deployment, .strict = options_.strict_mac,
                        .enforce_pqc = options_.enforce_pqc, .timeout_ms = options_.negotiation_ms},
      options_.link_class, options_.link_id, keys_, now_ms);
  loop_.cancel(timer_);
  timer_ = loop_.after(options_.negotiation_ms * kMs, [this] {
    timer_ = TimerId::kNone;
    negotiate(negotiation_->tick(loop_.now_ns() / kMs));
  });
  negotiate(negotiation_->start());
}

void EdgeClient::negotiate(NegotiationStep step) {
  if (!step.send.empty()) {
    (void)socket_->write(stream_, step.send);
  }
  if (step.state == NegotiationStep::State::kRefused) {
    end_ = EdgeClientEnd{.step = step_, .rejected = step.refusal != NegotiationRefusal::kTimeout, .text = step.text};
    end_->remedy = edge_remedy(*end_, endpoint_, {});
    socket_->close();
  } else if (step.state == NegotiationStep::State::kEstablished) {
    loop_.cancel(std::exchange(timer_, TimerId::kNone));
    const NegotiatedLink& agreed = negotiation_->link();
    if (agreed.key && agreed.signs()) {
      mac_.emplace(*agreed.key, agreed.link_id);
    }
    rules_ = {.mac = mac_ ? &*mac_ : nullptr, .checked = agreed.signs(), .strict = options_.strict_mac};
    pass(EdgeStep::kNegotiation);
    if (handlers_.on_up) {
      handlers_.on_up();
    }
  }
}

void EdgeClient::on_message(std::int32_t, std::span<const std::byte> message) {
  if (end_ || finished_) {
    return;
  }
  if (up()) {
    take(message);
    return;
  }
  if (negotiation_ != nullptr) {
    const Piece piece = message;
    negotiate(negotiation_->take(Pieces({&piece, 1}), loop_.now_ns() / kMs));
  }
}

void EdgeClient::take(std::span<const std::byte> message) {
  const Piece piece = message;
  const auto written = frame_of_message(Pieces({&piece, 1}), rules_, {scratch_, pieces_});
  if (!written) {
    last_fault_ = written.error();
    ++counters_.refused;
    if (handlers_.on_refused) {
      handlers_.on_refused(last_fault_);
    }
    if (edge_fault_text(last_fault_).closes) {
      end_ = EdgeClientEnd{.step = step_, .text = fmt::format("the node sent {}", edge_fault_text(last_fault_).what),
                           .remedy = std::string(edge_fault_text(last_fault_).advice)};
      socket_->close();
    }
    return;
  }
  ++counters_.frames_received;
  if (!handlers_.on_frame) {
    return;
  }
  if (written->piece_count == 1) {
    handlers_.on_frame(pieces_[0]);
    return;
  }
  frame_.clear();
  for (const Piece& part : std::span(pieces_).first(written->piece_count)) {
    frame_.insert(frame_.end(), part.begin(), part.end());
  }
  handlers_.on_frame(frame_);
}

EdgeSend EdgeClient::send_frame(std::span<const std::byte> frame) {
  if (check_frame(frame) != FrameFault::kNone) {
    last_fault_ = EdgeFault::kFrameHeader;
    return EdgeSend::kRefused;
  }
  const Piece body = frame.subspan(kFrameHeaderBytes);
  const auto written = message_of_frame(frame.data(), Pieces({&body, 1}), {.mac = mac_ ? &*mac_ : nullptr, .incoming_conn = {}}, {scratch_, pieces_});
  if (!written) {
    last_fault_ = written.error();
    return EdgeSend::kRefused;
  }
  const EdgeSend sent = queue(std::span(pieces_).first(written->piece_count));
  counters_.frames_sent += sent == EdgeSend::kQueued ? 1 : 0;
  return sent;
}

EdgeSend EdgeClient::send_message(std::span<const std::byte> message) {
  const Piece piece = message;
  return queue({&piece, 1});
}

EdgeSend EdgeClient::queue(std::span<const Piece> pieces) {
  if (!up() || end_ || finished_) {
    return EdgeSend::kNotUp;
  }
  if (socket_->pending_bytes() >= options_.queue_bytes) {
    wants_room_ = true;
    return EdgeSend::kQueueFull;
  }
  iovec out[kEdgeClientPieces];
  for (std::size_t i = 0; i < pieces.size(); ++i) {
    out[i] = {const_cast<std::byte*>(pieces[i].data()), pieces[i].size()};
  }
  switch (socket_->write(stream_, std::span<const iovec>(out, pieces.size()))) {
    case WriteResult::kQueued:
    case WriteResult::kCopied:
      return EdgeSend::kQueued;
    case WriteResult::kTooLarge:
      last_fault_ = EdgeFault::kTooBigForUpstream;
      return EdgeSend::kRefused;
    case WriteResult::kClosed:
    case WriteResult::kNoMemory:
      break;
  }
  return EdgeSend::kNotUp;
}

void EdgeClient::close() {
  if (finished_ || end_) {
    return;
  }
  end_ = EdgeClientEnd{.step = step_, .asked = true, .text = "closed by this side"};
  if (socket_ == nullptr) {
    loop_.defer([this, alive = std::weak_ptr(alive_)] {
      if (!alive.expired()) {
        finish(*end_);
      }
    });
  } else if (up() && stream_ >= 0) {
    socket_->finish_stream(stream_, grpc_status::kOk, {});  // the node ends the stream in answer
    loop_.cancel(timer_);
    timer_ = loop_.after(options_.handshake_ms * kMs, [this] {
      timer_ = TimerId::kNone;
      finish(*end_);
    });
  } else {
    socket_->close();
  }
}

void EdgeClient::on_stream_closed(const StreamEnd& ended) {
  if (!end_) {
    end_ = EdgeClientEnd{.step = step_, .fault = ended.fault, .grpc_status = ended.grpc_status, .http_status = ended.http_status,
                         .text = stream_end_text(ended, step_)};
    end_->rejected = ended.http_status == 401 || ended.http_status == 403 || ended.grpc_status == grpc_status::kPermissionDenied ||
                     ended.grpc_status == grpc_status::kUnauthenticated || ended.grpc_status == grpc_status::kUnimplemented;
    if (!of_stream(ended)) {
      end_.reset();  // the connection failed: on_closed() knows more
    } else {
      end_->remedy = edge_remedy(*end_, endpoint_, socket_->first_bytes());
    }
  }
  socket_->close();
}

void EdgeClient::on_closed(const TransportError& error) {
  if (step_ == EdgeStep::kTls && !socket_->tls_info().version.empty()) {
    pass(EdgeStep::kTls);
  }
  if (!end_) {
    end_ = EdgeClientEnd{.step = step_, .fault = error.fault,
                         .text = error.fault == TransportFault::kNone ? "the node closed the connection" : error.text};
    end_->remedy = edge_remedy(*end_, endpoint_, socket_->first_bytes());
  }
  finish(std::move(*end_));
}

}  // namespace slipway
