// Upstream connections come and go, and their deadlines.

#include <netinet/in.h>
#include <netinet/tcp.h>

#include <algorithm>
#include <cstring>
#include <ctime>

#include "port/socket_edge.h"

namespace slipway {
namespace {

constexpr std::uint64_t kNsPerMs = 1'000'000;

template <std::size_t kSize>
void copy_text(std::array<char, kSize>& to, std::string_view from) {
  const std::size_t bytes = std::min(from.size(), kSize - 1);
  std::memcpy(to.data(), from.data(), bytes);
  to[bytes] = 0;
}

}  // namespace

// The wall clock is for credentials, which come with the request that opens the stream.
TransportTime SocketEngine::Impl::edge_time(const EdgeStream& edge) const {
  return {.now_ns = now_ns_, .unix_s = edge.channel < 0 ? std::time(nullptr) : 0};
}

void EdgeStream::on_release(void* edge, std::uint64_t token) {
  auto& self = *static_cast<EdgeStream*>(edge);
  self.engine->edge_released(self, reinterpret_cast<rte_mbuf*>(token));
}

void SocketEngine::Impl::open_edge(Stream& stream, EdgeOpen* given) {
  const std::unique_ptr<EdgeOpen> open(given);
  if (edges_ == nullptr) {
    edges_ = std::make_unique<EdgeWorker>();
  }
  auto edge = std::make_unique<EdgeStream>();
  edge->engine = this;
  edge->link = stream.link;
  edge->client = open->transport->role == TransportRole::kClient;
  edge->strict = open->strict_mac;
  edge->tcp = open->tcp;
  const TransportOwner owner{.memory = &edges_->memory, .events = &edge->events, .connection = stream.link,
                             .release = &EdgeStream::on_release, .context = edge.get()};
  edge->transport = Transport::create(open->transport, owner, edge_time(*edge));
  stream.zero_copy = false;
  stream.edge = edge.release();
  edge_streams_.push(streams_.data(), stream.link);
  if (stream.edge->transport == nullptr) {
    stream.edge->text = "the memory for upstream connections is used up";
    doom(stream, CloseReason::kEdge, 0);
  } else if (stream.edge->transport->wants_send()) {
    dirty_.push(streams_.data(), stream.link);
  }
}

void SocketEngine::Impl::give_edge_key(const GiveEdgeKey& give) {
  const std::unique_ptr<EdgeKey> key(give.key);
  Stream& stream = streams_[give.link];
  if (stream.life == StreamLife::kOpen && stream.generation == give.generation && stream.edge != nullptr) {
    stream.edge->key.emplace(*key);
  }
}

// The record says that the negotiation is done: what waited for that may come.
void SocketEngine::Impl::edge_up(Stream& stream) {
  if (stream.edge->up) {
    return;
  }
  stream.edge->up = true;
  cleared_seen_ = ~std::uint64_t{0};
  if (!stream.queue.empty()) {
    dirty_.push(streams_.data(), stream.link);
  }
}

void SocketEngine::Impl::tell_edge_open(const Stream& stream) {
  const EdgeStream& edge = *stream.edge;
  EdgeOpened record{.link = stream.link, .generation = stream.generation};
  const TlsInfo tls = edge.transport->tls_info();
  record.resumed = tls.resumed;
  copy_text(record.tls_version, tls.version);
  copy_text(record.tls_cipher, tls.cipher);
  copy_text(record.tls_subject, tls.peer_subject);
  if (const StreamHead* head = edge.transport->head(edge.channel); head != nullptr) {
    copy_text(record.subject, head->subject);
  }
  (void)post_event(Event::kEdgeOpen, std::as_bytes(std::span(&record, 1)));
}

// Nothing more is read. The transport says what it still has to say, then the socket is closed.
void SocketEngine::Impl::end_edge(Stream& stream, CloseReason reason, std::string_view text) {
  EdgeStream& edge = *stream.edge;
  if (edge.ending) {
    return;
  }
  edge.ending = true;
  if (edge.text.empty()) {
    edge.text = text.substr(0, kMaxEdgeTextBytes);
  }
  if (stream.life != StreamLife::kOpen) {
    return;
  }
  stream.life = StreamLife::kDraining;
  stream.keeps_reason = true;
  stream.close_reason = reason;
  stream.close_error = 0;
  stream.deadline_ns = now_ns_ + kEdgeEndMs * kNsPerMs;
  stop_receiving(stream);
  leaving_.push(streams_.data(), stream.link);
  dirty_.push(streams_.data(), stream.link);
}

// As upstream's node ends the stream of a sender that breaks the protocol: status 0, no message.
void SocketEngine::Impl::refuse_edge(Stream& stream, std::string_view text) {
  stream.edge->transport->finish_stream(stream.edge->channel, 0, {});
  end_edge(stream, CloseReason::kEdge, text);
}

// What the events of a stream refer to is about to go.
void SocketEngine::Impl::forget_edge_input(EdgeStream& edge) {
  edge.events.clear();
  edge.next_event = 0;
  edge.again = false;
  edge.assembled = false;
  if (edge.room_piece != kNoPiece) {
    slab_->drop_own(edge.room_piece);
    edge.room_piece = kNoPiece;
  }
}

// No send is under way any more. What the transport still holds was not sent.
void SocketEngine::Impl::destroy_edge(Stream& stream) {
  EdgeStream* const edge = stream.edge;
  edge->dropping = true;
  forget_edge_input(*edge);
  edge->transport.reset();
  edge_streams_.remove(streams_.data(), stream.link);
  stream.edge = nullptr;
  delete edge;
}

void SocketEngine::Impl::tick_edges(std::uint64_t now_ns) {
  next_edge_tick_ns_ = now_ns + kEdgeTickMs * kNsPerMs;
  LinkIndex at = edge_streams_.front();
  while (at != kNoLink) {
    Stream& stream = streams_[at];
    at = StreamList<&Stream::edges>::after(stream);
    EdgeStream& edge = *stream.edge;
    if (edge.transport == nullptr || edge.transport->next_deadline_ns() > now_ns || stream.life == StreamLife::kClosing) {
      continue;
    }
    edge.transport->tick(edge_time(edge));
    take_edge_events_aside(stream);
    if (edge.transport->wants_send()) {
      dirty_.push(streams_.data(), stream.link);
    }
  }
}

// Clients of upstream run with Nagle's algorithm: their next segment waits for the acknowledgement of the last one. It is sent
// behind the messages that the segment brought, which others wait for.
void SocketEngine::Impl::acknowledge_soon(const Stream& stream) {
  if (acks_due_ != 0 && ack_due_[acks_due_ - 1].link == stream.link && ack_due_[acks_due_ - 1].generation == stream.generation) {
    return;
  }
  if (acks_due_ == ack_due_.size()) {
    acknowledge_edges();
  }
  ack_due_[acks_due_++] = {stream.link, stream.generation};
}

void SocketEngine::Impl::acknowledge_edges() {
  for (const AckDue& due : std::span(ack_due_).first(acks_due_)) {
    const Stream& stream = streams_[due.link];
    if (stream.edge != nullptr && stream.generation == due.generation) {
      const int on = 1;
      counters_.syscalls.add(1);
      setsockopt(stream.fd, IPPROTO_TCP, TCP_QUICKACK, &on, sizeof on);
    }
  }
  acks_due_ = 0;
}

}  // namespace slipway
