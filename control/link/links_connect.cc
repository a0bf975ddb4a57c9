// Links that we make: targets, waits between attempts, our hello and its answer.
#include "link/links.h"

#include <fmt/format.h>

#include <algorithm>

namespace slipway {

std::uint32_t Links::add_target(LinkTarget target, std::uint64_t now_ms) {
  target.next_ms = now_ms;
  target.backoff_ms = target.backoff_first_ms;
  targets_.push_back(std::move(target));
  return static_cast<std::uint32_t>(targets_.size() - 1);
}

void Links::remove_target(std::uint32_t target, std::uint64_t now_ms) {
  auto& t = targets_[target];
  const auto link = t.link;
  t.state = LinkTarget::State::kRemoved;
  t.link = kNoLink;
  if (link != kNoLink) {
    close(link, "no longer configured", now_ms);
  }
}

void Links::back_off(LinkTarget& target, const std::string& why, std::uint64_t now_ms) {
  target.link = kNoLink;
  target.last_error = why;
  if (target.state == LinkTarget::State::kRemoved) {
    return;
  }
  target.state = LinkTarget::State::kWaiting;
  jitter_ = jitter_ * 6364136223846793005u + 1442695040888963407u;
  const auto spread = target.backoff_ms / 4;  // so that nodes that lost one peer do not return at one moment
  target.next_ms = now_ms + target.backoff_ms - spread / 2 + (spread == 0 ? 0 : (jitter_ >> 33) % spread);
  target.backoff_ms = std::min(target.backoff_ms * 2, target.backoff_max_ms);
  sink_.log(target.attempts <= 1 ? kInfo : kDebug,
            fmt::format("link `{}` to {}: {}; next try in {} ms", target.name, target.address, why, target.next_ms - now_ms));
}

void Links::dial_failed(std::uint32_t target, const std::string& why, std::uint64_t now_ms) {
  if (targets_[target].state == LinkTarget::State::kDialing) {
    back_off(targets_[target], why, now_ms);
  }
}

// What the two kinds of a link that we make have in common: `way` says how it goes.
std::expected<LinkIndex, std::string> Links::dialed(std::uint32_t target, const LinkRecord& way, std::string transport,
                                                    std::uint16_t own_udp_port, int fd, std::uint64_t now_ms) {
  auto& t = targets_[target];
  if (t.state != LinkTarget::State::kDialing) {
    return std::unexpected("no longer wanted");
  }
  auto link = open(true, std::move(transport), t.address, now_ms);
  if (!link) {
    back_off(t, link.error(), now_ms);
    return std::unexpected(link.error());
  }
  NodeLink& l = **link;
  l.target = target;
  l.own_udp_port = own_udp_port;
  l.record.transport = way.transport;
  l.record.owner_worker = way.owner_worker;
  l.record.port = way.port;
  l.record.peer = way.peer;
  l.record.datagram_bytes = way.datagram_bytes;
  l.record.outer = way.outer;
  l.record.check_source_port = false;  // until the answer says whether it varies
  t.link = l.record.index;
  t.state = LinkTarget::State::kGreeting;
  if (t.edge != nullptr) {
    l.record.native = false;
    l.edge = std::make_unique<EdgeState>();
    l.edge->profile = t.edge;
    sink_.open_edge(l.record, fd, *t.edge);
    sink_.post_link(l.record);
    return l.record.index;
  }
  if (fd >= 0) {
    sink_.open_stream(l.record, fd);
  }
  sink_.post_link(l.record);
  say_hello(l, now_ms);
  return l.record.index;
}

std::expected<LinkIndex, std::string> Links::dialed_stream(std::uint32_t target, int fd, std::uint16_t owner, std::string transport,
                                                           std::uint64_t now_ms) {
  LinkRecord way;
  way.transport = LinkTransport::kStream;
  way.owner_worker = owner;
  return dialed(target, way, std::move(transport), 0, fd, now_ms);
}

std::expected<LinkIndex, std::string> Links::dialed_datagram(std::uint32_t target, const LinkRecord& way, std::uint16_t own_udp_port,
                                                             std::string transport, std::uint64_t now_ms) {
  return dialed(target, way, std::move(transport), own_udp_port, -1, now_ms);
}

// On a datagram link peer_link_id is still 0, so that this leaves with link id 0: a hello.
void Links::say_hello(NodeLink& link, std::uint64_t now_ms) {
  const auto& target = targets_[link.target];
  HelloBody hello;
  hello.version = policy_.version;
  hello.node_id = policy_.node_id;
  hello.link_class = static_cast<std::uint8_t>(target.link_class);
  hello.max_frame_bytes = policy_.max_frame_bytes;
  hello.keepalive_ms = policy_.keepalive_ms;
  hello.deployment = policy_.deployment;
  if (link.record.transport != LinkTransport::kStream) {
    hello.receive_link_id = link.record.id();
    hello.datagram_bytes = link.record.datagram_bytes;
    hello.max_frame_bytes = std::min<std::uint32_t>(hello.max_frame_bytes, kMaxDatagramFrameBytes);
    hello.entropy_ports = link.record.transport == LinkTransport::kEthernet;
    hello.receive_udp_port = hello.entropy_ports ? link.own_udp_port : 0;
    hello.cookie = link.cookie;
  }
  link.hello_ms = now_ms;
  sink_.send(link.record, encode_link(hello));
}

void Links::answer_heard(NodeLink& link, const HelloReplyBody& reply, std::uint64_t now_ms) {
  if (!link.we_dialed || link.record.state != LinkState::kGreeting) {
    return;  // a second answer to a hello that was sent twice
  }
  if (!reply.challenge.empty()) {
    if (link.cookie != reply.challenge) {
      link.cookie = reply.challenge;
      say_hello(link, now_ms);
    }
    return;
  }
  if (!reply.accepted) {
    drop(link, fmt::format("the peer refused: {}", shown(reply.error)), 0, now_ms);
    return;
  }
  HelloBody terms;
  terms.version = reply.version;
  terms.node_id = reply.node_id;
  terms.link_class = static_cast<std::uint8_t>(targets_[link.target].link_class);
  terms.deployment = policy_.deployment;  // the answerer has compared them
  terms.receive_link_id = reply.receive_link_id;
  terms.max_frame_bytes = reply.max_frame_bytes;
  terms.datagram_bytes = reply.datagram_bytes;
  terms.keepalive_ms = reply.keepalive_ms;
  terms.entropy_ports = reply.entropy_ports;
  if (reply.link_class != terms.link_class) {
    turn_away(link, fmt::format("the peer made it class {}, asked for was {}", reply.link_class, terms.link_class), now_ms);
    return;
  }
  if (const auto why = judge(&link, terms, true, now_ms); !why.empty()) {
    turn_away(link, why, now_ms);
    return;
  }
  take_terms(link, terms);
  auto& target = targets_[link.target];
  target.state = LinkTarget::State::kUp;
  target.attempts = 0;
  target.backoff_ms = target.backoff_first_ms;
  target.last_error.clear();
  bring_up(link, now_ms);
  sink_.after_applied([this, index = link.record.index, generation = link.record.generation] {
    if (NodeLink* up = table_.find(index, generation); up != nullptr && up->record.state == LinkState::kUp) {
      up->answered = true;
      sink_.link_up(*up);
      ready(*up);
      // Tells the other end that its frames are taken from now on.
      sink_.send(up->record, encode_link(KeepaliveBody{.stamp = up->up_ms, .answer = false}));
    }
  });
}

}  // namespace slipway
