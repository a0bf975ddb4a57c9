// Hellos of others: who may come, on what terms, and the answer. On datagrams a challenge comes first.
#include "link/links.h"

#include <fmt/format.h>

#include <algorithm>

#include "port/ip_address.h"

namespace slipway {

namespace {

bool known_class(std::uint8_t link_class) {
  return link_class == static_cast<std::uint8_t>(LinkClass::kEdge) || link_class == static_cast<std::uint8_t>(LinkClass::kPeer) ||
         link_class == static_cast<std::uint8_t>(LinkClass::kRemote);
}

}  // namespace

std::string Links::judge(const NodeLink* own, const HelloBody& hello, bool we_dialed, std::uint64_t now_ms) {
  if (!known_class(hello.link_class)) {
    return fmt::format("class {} does not exist: ask for edge (3), peer (2) or remote (1)", hello.link_class);
  }
  const auto link_class = static_cast<LinkClass>(hello.link_class);
  if (link_class == LinkClass::kEdge) {
    return {};
  }
  if (hello.node_id.empty()) {
    return "a node must say its node id";
  }
  if (hello.node_id == policy_.node_id) {
    return fmt::format("node id `{}` is this node's own: give each node another `slipway.node_id`", policy_.node_id);
  }
  if (link_class == LinkClass::kPeer && hello.deployment != policy_.deployment) {
    return fmt::format("this node belongs to deployment `{}`, not `{}`: set `slipway.deployment` alike on peers", policy_.deployment,
                       shown(hello.deployment));
  }
  // Two links between two nodes would carry every message of a channel twice. If both have dialed, the link of the
  // smaller node id stays; if the same one dialed again, it has lost the older link.
  NodeLink* twin = nullptr;
  table_.each([&](NodeLink& other) {
    if (&other != own && other.record.state == LinkState::kUp && other.record.link_class == link_class && other.node_id == hello.node_id) {
      twin = &other;
    }
  });
  if (twin != nullptr) {
    const bool ours_stays = policy_.node_id < hello.node_id;
    if (twin->we_dialed != we_dialed && twin->we_dialed == ours_stays) {
      return fmt::format("nodes {} and {} are linked already: one link is enough", policy_.node_id, shown(hello.node_id));
    }
    drop(*twin, "replaced by a newer link of the same node", 0, now_ms);
  }
  return {};
}

void Links::take_terms(NodeLink& link, const HelloBody& hello) {
  auto& record = link.record;
  record.link_class = static_cast<LinkClass>(hello.link_class);
  record.max_frame_bytes = hello.max_frame_bytes == 0 ? policy_.max_frame_bytes : std::min(hello.max_frame_bytes, policy_.max_frame_bytes);
  link.node_id = shown(hello.node_id);
  link.version = shown(hello.version);
  link.entropy_ports = hello.entropy_ports;
  link.keepalive_ms = policy_.keepalive_ms;
  link.peer_keepalive_ms = hello.keepalive_ms == 0 ? 0 : std::max(hello.keepalive_ms, kMinKeepaliveMs);
  if (record.transport != LinkTransport::kStream) {
    record.max_frame_bytes = std::min<std::uint32_t>(record.max_frame_bytes, kMaxDatagramFrameBytes);
    record.peer_link_id = hello.receive_link_id;
    record.check_source_port = !hello.entropy_ports;
    if (hello.datagram_bytes != 0) {
      record.datagram_bytes = static_cast<std::uint16_t>(std::min<std::uint32_t>(record.datagram_bytes, hello.datagram_bytes));
    }
  }
}

void Links::hello_heard(NodeLink& link, const HelloBody& hello, std::uint64_t now_ms) {
  if (link.we_dialed) {
    turn_away(link, "the peer said hello on a link that this node made", now_ms);
    return;
  }
  if (link.record.state == LinkState::kUp) {
    answer(link);  // our answer was lost
    return;
  }
  if (const auto why = judge(&link, hello, false, now_ms); !why.empty()) {
    refuse(link, why, now_ms);
    return;
  }
  take_terms(link, hello);
  bring_up(link, now_ms);
  // The answer invites frames: every worker must know the link before the first.
  sink_.after_applied([this, index = link.record.index, generation = link.record.generation] {
    if (NodeLink* up = table_.find(index, generation); up != nullptr && up->record.state == LinkState::kUp) {
      answer(*up);
      up->answered = true;
      sink_.link_up(*up);
    }
  });
}

HelloReplyBody Links::reply_of(const NodeLink& link) const {
  HelloReplyBody reply;
  reply.accepted = true;
  reply.version = policy_.version;
  reply.node_id = policy_.node_id;
  reply.link_class = static_cast<std::uint8_t>(link.record.link_class);
  reply.max_frame_bytes = policy_.max_frame_bytes;
  reply.keepalive_ms = policy_.keepalive_ms;
  reply.max_subscriptions = policy_.max_subscriptions;
  if (link.record.transport != LinkTransport::kStream) {
    reply.receive_link_id = link.record.id();
    reply.datagram_bytes = link.record.datagram_bytes;
    reply.max_frame_bytes = std::min<std::uint32_t>(reply.max_frame_bytes, kMaxDatagramFrameBytes);
    reply.entropy_ports = link.record.transport == LinkTransport::kEthernet;
  }
  return reply;
}

void Links::answer(NodeLink& link) { sink_.send(link.record, encode_link(reply_of(link))); }

void Links::bring_up(NodeLink& link, std::uint64_t now_ms) {
  link.record.state = LinkState::kUp;
  link.up_ms = link.heard_ms = link.spoke_ms = now_ms;
  --half_open_;
  sink_.post_link(link.record);
  sink_.log(link.record.link_class == LinkClass::kEdge ? kDebug : kInfo,
            fmt::format("link {} up: {} {}, {}", link.record.index, link.transport, link.peer, link.node_id));
}

void Links::refuse(NodeLink& link, const std::string& why, std::uint64_t now_ms) {
  HelloReplyBody reply;
  reply.error = why;
  reply.version = policy_.version;
  reply.node_id = policy_.node_id;
  sink_.send(link.record, encode_link(reply));
  turn_away(link, "refused: " + why, now_ms);
}

void Links::ready(NodeLink& link) {
  if (!link.peer_ready && link.answered && link.record.state == LinkState::kUp) {
    link.peer_ready = true;
    sink_.peer_ready(link);
  }
}

void Links::heard(LinkIndex index, std::uint32_t generation) {
  if (NodeLink* link = table_.find(index, generation)) {
    ready(*link);
  }
}

// --- hello by datagram --------------------------------------------------------------------------------------

Links::DatagramKey Links::key_of(const Hello& hello, const HelloBody& body) {
  return {hello.transport, hello.port, hello.from.address, body.entropy_ports ? std::uint16_t{0} : hello.from.port,
          body.entropy_ports ? body.receive_link_id : 0};
}

Links::DatagramKey Links::key_of(const NodeLink& link) {
  const auto& record = link.record;
  return {static_cast<std::uint8_t>(record.transport), record.port, record.peer.address,
          link.entropy_ports ? std::uint16_t{0} : record.peer.port, link.entropy_ports ? record.peer_link_id : 0};
}

void Links::on_hello(const Hello& heard, std::span<const std::byte> frame, std::uint64_t now_ms) {
  const auto body = decode_link(frame);
  const auto* hello = body ? std::get_if<HelloBody>(&*body) : nullptr;
  if (hello == nullptr) {
    return;
  }
  Hello from = heard;
  if (hello->entropy_ports && hello->receive_udp_port != 0) {
    from.from.port = hello->receive_udp_port;
  }
  if (!cookies_.good(hello->cookie, from.from, !hello->entropy_ports, now_ms)) {
    HelloReplyBody challenge;
    challenge.version = policy_.version;
    challenge.challenge = cookies_.make(from.from, !hello->entropy_ports, now_ms);
    sink_.answer(from, hello->receive_link_id, encode_link(challenge));
    return;
  }
  const auto refuse_here = [&](const std::string& why) {
    HelloReplyBody reply;
    reply.error = why;
    reply.version = policy_.version;
    reply.node_id = policy_.node_id;
    sink_.answer(from, hello->receive_link_id, encode_link(reply));
  };
  const auto key = key_of(from, *hello);
  if (const auto known = datagrams_.find(key); known != datagrams_.end()) {
    NodeLink* link = table_.find(known->second);
    if (link != nullptr && link->record.state == LinkState::kUp) {
      if (link->record.peer_link_id == hello->receive_link_id) {
        if (link->answered) {
          answer(*link);  // our answer was lost
        }
        return;
      }
      drop(*link, "the peer said hello anew", 0, now_ms);
    }
  }
  if (const auto why = judge(nullptr, *hello, false, now_ms); !why.empty()) {
    refuse_here(why);
    return;
  }
  const bool ethernet = from.transport == static_cast<std::uint8_t>(LinkTransport::kEthernet);
  auto link = open(false, ethernet ? "ethernet" : "udp", to_text(from.from), now_ms);
  if (!link) {
    refuse_here(link.error());
    return;
  }
  NodeLink& l = **link;
  l.record.transport = static_cast<LinkTransport>(from.transport);
  l.record.owner_worker = from.worker;
  l.record.port = from.port;
  l.record.peer = from.from;
  if (const auto way = sink_.find_way(l.record); !way) {
    refuse_here(way.error());
    --half_open_;
    table_.free(l.record.index);
    return;
  }
  datagrams_[key] = l.record.index;
  sink_.link_taken(l);
  hello_heard(l, *hello, now_ms);
}

}  // namespace slipway
