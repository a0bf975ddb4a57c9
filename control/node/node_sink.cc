// What the state machines want done, carried out: records and frames to workers, answers to hellos.
#include <fmt/format.h>

#include <algorithm>

#include "control_bounds.h"
#include "frame/shim.h"
#include "node/node.h"
#include "node/node_channel_manager.h"
#include "port/edge_open.h"

namespace slipway {

void Node::open_stream(const LinkRecord& record, int fd) {
  fleet_->post(record.owner_worker, Command::kOpenStream,
               OpenStream{record.index, record.generation, fd, settings_.limits.frame_bytes, nullptr});
}

void Node::open_edge(const LinkRecord& record, int fd, const EdgeProfile& profile) {
  auto open = std::make_unique<EdgeOpen>();
  open->transport = profile.transport;
  open->tcp = profile.tcp;
  open->strict_mac = profile.negotiation.strict;
  fleet_->post(record.owner_worker, Command::kOpenStream,
               OpenStream{record.index, record.generation, fd, settings_.limits.frame_bytes, open.release()});
}

void Node::give_edge_key(const LinkRecord& record, const NegotiatedLink& agreed) {
  auto key = std::make_unique<EdgeKey>();
  if (agreed.key) {
    key->mac.emplace(*agreed.key, agreed.link_id);
  }
  key->checked = agreed.signs();
  fleet_->post(record.owner_worker, Command::kEdgeKey, GiveEdgeKey{record.index, record.generation, key.release()});
}

void Node::post_link(const LinkRecord& record) { fleet_->post_all(Command::kLink, record); }

void Node::close_link(const NodeLink& link, std::uint32_t drain_ms) {
  CloseLink close{.link = link.record.index, .generation = link.record.generation, .drain_ms = drain_ms};
  if (link.edge != nullptr) {
    close.edge_status = link.edge->close_status;
    close.edge_text = link.edge->close_text;
  }
  fleet_->post(link.record.owner_worker, Command::kCloseLink, close);
}

void Node::send(const LinkRecord& record, std::span<const std::byte> frame) {
  if (record.transport == LinkTransport::kControl) {
    for (LocalApplication* local : local_applications()) {
      if (local != nullptr && local->answer_in(record.index, frame)) {
        return;
      }
    }
    return;
  }
  fleet_->post(record.owner_worker, Command::kInjectFrame, InjectFrame{record.index, record.generation}, frame);
}

// Hello answers are whole frames in one datagram: nothing that a stranger sends makes us cut.
void Node::answer(const Hello& hello, std::uint32_t link_id, std::span<const std::byte> frame) {
  std::vector<std::byte> payload(kShimBytes + frame.size());
  store_shim(payload.data(), Shim{.link_id = link_id, .sending_worker = hello.worker, .total_bytes = static_cast<std::uint32_t>(frame.size())});
  std::ranges::copy(frame, payload.begin() + kShimBytes);
  if (hello.transport == static_cast<std::uint8_t>(LinkTransport::kEthernet)) {
    const auto packet = ports_->packet_to(hello.port, hello.from, hello.to, hello.from_mac, payload);
    const auto* port = ports_->find(hello.port);
    if (!packet.empty() && port != nullptr && !port->workers.empty()) {
      fleet_->post(port->workers.front(), Command::kInjectPacket, InjectPacket{hello.port}, packet);
    }
    return;
  }
  fleet_->post(hello.worker, Command::kInjectDatagram, InjectDatagram{hello.port, hello.from}, payload);
}

void Node::after_applied(std::move_only_function<void()> call) { fleet_->after_applied(std::move(call)); }

void Node::link_taken(const NodeLink& link) {
  ++counters_.links_opened;
  for (auto& listener : listeners_) {
    if (link.record.transport == LinkTransport::kDatagram && listener->settings.address.kind == SocketKind::kUdp &&
        listener->port == link.record.port) {
      ++listener->accepted;
    }
  }
}

void Node::link_up(NodeLink& link) {
  ++counters_.links_up;
  subscriptions_->link_up(link);
  if (link.target != kNoTarget) {
    set_static_routes(link, links_->targets()[link.target].name);
  }
}

void Node::peer_ready(NodeLink& link) { subscriptions_->peer_ready(link); }

void Node::set_static_routes(const NodeLink& link, const std::string& target) {
  for (const auto& route : manual_routes_) {
    if (route.to != target) {
      continue;
    }
    if (auto added = subscriptions_->add_static(link.record.index, route.name); !added) {
      log_.warn(fmt::format("static route {} over `{}`: {}", route.name.text(), target, added.error()));
    }
  }
}

void Node::link_lost(NodeLink& link) {
  ++counters_.links_closed;
  subscriptions_->link_lost(link.record.index);
}

void Node::link_gone(const NodeLink& link) {
  if (link.record.transport == LinkTransport::kEthernet) {
    ports_->forget_way(link.record);
  }
  link_bases_[link.record.index] = sum_of(link.record.index);
}

void Node::answer_soon() {
  loop_->after(kPeerAckDelayMs * 1'000'000, [this] { subscriptions_->answer_late(); });
}

void Node::forgotten(LinkIndex link) { links_->forgotten(link); }

LinkSink::Traffic Node::traffic(LinkIndex link) {
  Traffic out;
  for (std::size_t i = 0; i < workers_->size(); ++i) {
    const auto& counters = (*workers_)[i].link_counters()[link];
    out.frames_sent += counters.frames_sent.get();
    out.frames_in += counters.frames_in.get();
  }
  return out;
}

std::vector<NameId> Node::instances(const Name& name, std::size_t at_most, bool& truncated) {
  std::vector<NameId> out;
  const auto page = database_->instances(name, 0, static_cast<std::uint32_t>(at_most));
  for (const auto& row : page.rows) {
    if (!row.name.id.is_null()) {
      out.push_back(row.name.id);
    }
  }
  truncated = page.next != 0;
  return out;
}

void Node::no_route_told(const NodeLink& link, const NoRouteBody& notice) {
  ++counters_.no_route_heard;
  log_.write(LogLevel::kDebug, fmt::format("link {}: the peer has no route to {}", link.record.index, database_->text_of(notice.destination)));
}

void Node::log(int level, std::string text) { log_.write(static_cast<LogLevel>(level + 1), text); }

std::uint64_t Node::ticket() { return fleet_->ticket(now_ms()); }

std::string Node::worker_behind() { return fleet_->behind(); }

}  // namespace slipway
