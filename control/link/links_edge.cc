// Links to upstream's applications and nodes: the negotiation in place of our hello. Their liveness is the transport's
// affair, which pings them; what they subscribe and publish is as on any link.
#include "link/links.h"

#include <fmt/format.h>

#include "port/edge_open.h"

namespace slipway {

namespace {

constexpr std::uint8_t kPermissionDenied = 7;  // of gRPC

std::string_view text_of(const auto& field) { return {field.data(), strnlen(field.data(), field.size())}; }

}  // namespace

std::expected<LinkIndex, std::string> Links::accept_edge(int fd, std::uint16_t owner, std::string transport, std::string peer,
                                                         std::shared_ptr<const EdgeProfile> profile, std::uint64_t now_ms) {
  auto link = open(false, std::move(transport), std::move(peer), now_ms);
  if (!link) {
    return std::unexpected(link.error());
  }
  NodeLink& l = **link;
  l.record.transport = LinkTransport::kStream;
  l.record.owner_worker = owner;
  l.record.native = false;
  l.edge = std::make_unique<EdgeState>();
  l.edge->profile = std::move(profile);
  sink_.open_edge(l.record, fd, *l.edge->profile);
  sink_.post_link(l.record);
  return l.record.index;
}

// The stream is open: the negotiation's time begins.
void Links::on_edge_open(const EdgeOpened& opened, std::uint64_t now_ms) {
  NodeLink* link = table_.find(opened.link, opened.generation);
  if (link == nullptr || link->edge == nullptr || link->record.state != LinkState::kGreeting) {
    return;
  }
  EdgeState& edge = *link->edge;
  link->heard_ms = now_ms;
  const auto version = text_of(opened.tls_version);
  edge.tls = version.empty() ? std::string() : fmt::format("{} {}", version, text_of(opened.tls_cipher));
  edge.certificate = shown(text_of(opened.tls_subject));
  edge.user = shown(text_of(opened.subject));
  if (!link->we_dialed) {
    edge.acceptor = std::make_unique<NegotiationAcceptor>(edge.profile->negotiation, edge_keys_, now_ms);
    return;
  }
  edge.initiator = std::make_unique<NegotiationInitiator>(edge.profile->negotiation, targets_[link->target].link_class,
                                                          edge.profile->link_id, edge_keys_, now_ms);
  edge_step(*link, edge.initiator->start(), now_ms);
}

void Links::edge_message(NodeLink& link, std::span<const std::byte> message, std::uint64_t now_ms) {
  EdgeState& edge = *link.edge;
  if (link.record.state != LinkState::kGreeting) {
    return;
  }
  const Piece piece = message;
  const Pieces pieces({&piece, 1});
  if (!link.we_dialed) {
    if (edge.acceptor == nullptr) {  // the event that the stream is open was lost
      edge.acceptor = std::make_unique<NegotiationAcceptor>(edge.profile->negotiation, edge_keys_, now_ms);
    }
    edge_step(link, edge.acceptor->take(pieces, now_ms), now_ms);
  } else if (edge.initiator != nullptr) {
    edge_step(link, edge.initiator->take(pieces, now_ms), now_ms);
  }
}

void Links::edge_step(NodeLink& link, NegotiationStep step, std::uint64_t now_ms) {
  switch (step.state) {
    case NegotiationStep::State::kWaiting:
      if (!step.send.empty()) {
        send_edge(link, step.send);
      }
      return;
    case NegotiationStep::State::kRefused:
      if (!step.send.empty()) {
        send_edge(link, step.send);
      }
      link.edge->close_status = static_cast<std::uint8_t>(step.close.status);
      link.edge->close_text = step.refusal == NegotiationRefusal::kSelf         ? kEdgeCloseSelf
                              : step.refusal == NegotiationRefusal::kDeployment ? kEdgeCloseDeployment
                                                                                : std::uint8_t{0};
      turn_away(link, fmt::format("negotiation: {}", step.text), now_ms);
      return;
    case NegotiationStep::State::kEstablished:
      edge_agreed(link, std::move(step.send), now_ms);
      return;
  }
}

// A second link between two peers would bring every message of a channel twice. A native link stays; of others the one
// that the other node makes: upstream's node ends at its start when a link of its own is refused. If it dialed again, it
// has lost the older link. Status 7 is upstream's way to say that a peer need not come again. True: the new link goes.
bool Links::yields_to_twin(NodeLink& link, const std::string& node_id, std::uint64_t now_ms) {
  NodeLink* twin = nullptr;
  table_.each([&](NodeLink& other) {
    if (&other != &link && other.record.state == LinkState::kUp && other.record.link_class == LinkClass::kPeer && other.node_id == node_id) {
      twin = &other;
    }
  });
  if (twin == nullptr) {
    return false;
  }
  NodeLink& gone = link.we_dialed || twin->edge == nullptr ? link : *twin;
  if (gone.edge != nullptr) {
    gone.edge->close_status = kPermissionDenied;
    gone.edge->close_text = kEdgeCloseTwin;
  }
  drop(gone, fmt::format("nodes {} and {} have another link", policy_.node_id, node_id), &gone == &link ? kRefusalDrainMs : 0, now_ms);
  return &gone == &link;
}

bool Links::peer_is_linked(const LinkTarget& target) {
  bool linked = false;
  if (!target.peer_node_id.empty()) {
    table_.each([&](NodeLink& link) {
      linked |= link.record.state == LinkState::kUp && link.record.link_class == LinkClass::kPeer && link.node_id == target.peer_node_id;
    });
  }
  return linked;
}

// The key goes to the owner, then the record to all, and the reply, which invites messages, when all have the record.
void Links::edge_agreed(NodeLink& link, std::vector<std::byte> reply, std::uint64_t now_ms) {
  EdgeState& edge = *link.edge;
  const NegotiatedLink& agreed = link.we_dialed ? edge.initiator->link() : edge.acceptor->link();
  link.node_id = shown(agreed.node_id);
  if (agreed.link_class == LinkClass::kPeer && !link.node_id.empty()) {
    if (link.target != kNoTarget) {
      targets_[link.target].peer_node_id = link.node_id;
    }
    if (yields_to_twin(link, link.node_id, now_ms)) {
      return;
    }
  }
  link.version = shown(agreed.version);
  link.record.link_class = agreed.link_class;
  link.record.max_frame_bytes = policy_.max_frame_bytes;
  edge.link_id = shown(agreed.link_id);
  edge.mac = agreed.key.has_value() && agreed.signs();
  edge.key_agreement = !agreed.key ? "none" : agreed.hybrid ? "x25519+mlkem768" : "x25519";
  sink_.give_edge_key(link.record, agreed);
  if (link.target != kNoTarget) {
    auto& target = targets_[link.target];
    target.state = LinkTarget::State::kUp;
    target.attempts = 0;
    target.backoff_ms = target.backoff_first_ms;
    target.last_error.clear();
  }
  bring_up(link, now_ms);
  sink_.link_up(link);  // a node that was dialed sends what it knows right behind its reply
  sink_.after_applied([this, index = link.record.index, generation = link.record.generation, reply = std::move(reply)] {
    if (NodeLink* up = table_.find(index, generation); up != nullptr && up->record.state == LinkState::kUp) {
      if (!reply.empty()) {
        send_edge(*up, reply);
      }
      up->answered = true;
      ready(*up);  // its messages wait in its stream until the worker has the record
    }
  });
}

// A message of upstream's as it is: the worker puts it on the stream.
void Links::send_edge(const NodeLink& link, std::span<const std::byte> message) {
  std::vector<std::byte> frame(kFrameHeaderBytes + message.size());
  store_header(frame.data(), {.kind = FrameKind::kLink, .hop_limit = 0, .fanout = 0, .destination = {.id = {0, 0}},
                              .source = {.id = {0, 0}}, .flags = frame_flag::kNoNames});
  std::copy(message.begin(), message.end(), frame.begin() + kFrameHeaderBytes);
  sink_.send(link.record, frame);
}

// Until the stream is open the transport keeps the time.
void Links::watch_edge(NodeLink& link, std::uint64_t now_ms) {
  EdgeState& edge = *link.edge;
  if (link.record.state == LinkState::kGreeting) {
    if (edge.acceptor != nullptr) {
      edge_step(link, edge.acceptor->tick(now_ms), now_ms);
    } else if (edge.initiator != nullptr) {
      edge_step(link, edge.initiator->tick(now_ms), now_ms);
    }
    return;
  }
  const auto traffic = sink_.traffic(link.record.index);
  if (traffic.frames_in != link.in_seen) {
    link.in_seen = traffic.frames_in;
    link.heard_ms = now_ms;
  }
}

}  // namespace slipway
