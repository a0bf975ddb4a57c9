#include "link/links.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>

#include "port/ip_address.h"

namespace slipway {

namespace {

constexpr int kDebug = 0, kInfo = 1, kWarn = 2;

// What a peer calls itself may be shown anywhere: bounded, and nothing that moves a terminal's cursor.
std::string shown(std::string_view text) {
  std::string out(text.substr(0, kMaxLinkTextBytes));
  for (auto& c : out) {
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7F) {
      c = '?';
    }
  }
  return out;
}

bool known_class(std::uint8_t link_class) {
  return link_class == static_cast<std::uint8_t>(LinkClass::kEdge) || link_class == static_cast<std::uint8_t>(LinkClass::kPeer) ||
         link_class == static_cast<std::uint8_t>(LinkClass::kRemote);
}

std::uint32_t sooner(std::uint32_t a, std::uint32_t b) { return a == 0 ? b : b == 0 ? a : std::min(a, b); }

std::string close_text(CloseReason reason, std::int32_t error) {
  switch (reason) {
    case CloseReason::kPeerClosed: return "the peer closed it";
    case CloseReason::kError: return error == 0 ? "socket error" : fmt::format("socket error: {}", std::strerror(error));
    case CloseReason::kStreamLength: return "the peer broke the framing: a length below a frame header or above the limit";
    case CloseReason::kPartialTimeout: return "the peer began a frame and did not finish it in time";
    case CloseReason::kStalled: return "stalled: its queue was full for too long and it took nothing";
    case CloseReason::kAsked: return "closed by this node";
  }
  return "closed";
}

}  // namespace

Links::Links(LinkSink& sink, LinkPolicy policy, std::uint32_t max_links, std::uint64_t seed)
    : sink_(sink), policy_(std::move(policy)), table_(max_links, seed), jitter_(seed | 1) {}

// --- opening ------------------------------------------------------------------------------------------

std::expected<NodeLink*, std::string> Links::open(bool dialed, std::string transport, std::string peer, std::uint64_t now_ms) {
  if (!dialed && half_open_ >= policy_.max_half_open) {
    return std::unexpected(fmt::format("{} links are in the middle of their hello, the limit `limits.half_open_links`", half_open_));
  }
  auto link = table_.allocate();
  if (!link) {
    return link;
  }
  NodeLink& l = **link;
  l.transport = std::move(transport);
  l.peer = std::move(peer);
  l.we_dialed = dialed;
  l.opened_ms = l.heard_ms = now_ms;
  l.record.overflow = policy_.overflow;
  l.record.queue_bytes = policy_.queue_bytes;
  l.record.max_frame_bytes = kMaxControlFrameBytes;  // until the hello says more
  l.sent_seen = sink_.traffic(l.record.index).frames_sent;
  ++half_open_;
  return link;
}

std::expected<LinkIndex, std::string> Links::accept_stream(int fd, std::uint16_t owner, std::string transport, std::string peer,
                                                           std::uint64_t now_ms) {
  auto link = open(false, std::move(transport), std::move(peer), now_ms);
  if (!link) {
    return std::unexpected(link.error());
  }
  auto& record = (*link)->record;
  record.transport = LinkTransport::kStream;
  record.owner_worker = owner;
  sink_.open_stream(record, fd);
  sink_.post_link(record);
  return record.index;
}

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

std::expected<LinkIndex, std::string> Links::dialed_stream(std::uint32_t target, int fd, std::uint16_t owner, std::string transport,
                                                           std::uint64_t now_ms) {
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
  l.record.transport = LinkTransport::kStream;
  l.record.owner_worker = owner;
  t.link = l.record.index;
  t.state = LinkTarget::State::kGreeting;
  sink_.open_stream(l.record, fd);
  sink_.post_link(l.record);
  say_hello(l, now_ms);
  return l.record.index;
}

std::expected<LinkIndex, std::string> Links::dialed_datagram(std::uint32_t target, const LinkRecord& way, std::uint16_t own_udp_port,
                                                             std::string transport, std::uint64_t now_ms) {
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
  l.record.transport = way.transport;
  l.record.owner_worker = way.owner_worker;
  l.record.port = way.port;
  l.record.peer = way.peer;
  l.record.datagram_bytes = way.datagram_bytes;
  l.record.outer = way.outer;
  l.own_udp_port = own_udp_port;
  l.record.check_source_port = false;  // until the answer says whether it varies
  t.link = l.record.index;
  t.state = LinkTarget::State::kGreeting;
  sink_.post_link(l.record);
  say_hello(l, now_ms);
  return l.record.index;
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

// --- hello ------------------------------------------------------------------------------------------------

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
    drop(link, "the peer said hello on a link that this node made", kRefusalDrainMs, now_ms);
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
  sink_.log(kDebug, fmt::format("link {} up: {} {} as {}", link.record.index, link.transport, link.peer, link.node_id));
}

void Links::refuse(NodeLink& link, const std::string& why, std::uint64_t now_ms) {
  HelloReplyBody reply;
  reply.error = why;
  reply.version = policy_.version;
  reply.node_id = policy_.node_id;
  sink_.send(link.record, encode_link(reply));
  drop(link, "refused: " + why, kRefusalDrainMs, now_ms);
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
    drop(link, fmt::format("the peer made it class {}, asked for was {}", reply.link_class, terms.link_class), kRefusalDrainMs, now_ms);
    return;
  }
  if (const auto why = judge(&link, terms, true, now_ms); !why.empty()) {
    drop(link, why, kRefusalDrainMs, now_ms);
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
  hello_heard(l, *hello, now_ms);
}

// --- frames of a link -----------------------------------------------------------------------------------------

void Links::on_link_frame(LinkIndex index, std::uint32_t generation, std::span<const std::byte> frame, std::uint64_t now_ms) {
  NodeLink* link = table_.find(index, generation);
  if (link == nullptr || link->record.state == LinkState::kClosing) {
    return;
  }
  link->heard_ms = now_ms;
  const auto body = decode_link(frame);
  if (!body) {
    drop(*link, fmt::format("a link frame that makes no sense: {}", body.error()), kRefusalDrainMs, now_ms);
    return;
  }
  if (const auto* hello = std::get_if<HelloBody>(&*body)) {
    hello_heard(*link, *hello, now_ms);
    return;
  }
  if (const auto* reply = std::get_if<HelloReplyBody>(&*body)) {
    answer_heard(*link, *reply, now_ms);
    return;
  }
  if (const auto* bye = std::get_if<ByeBody>(&*body)) {
    drop(*link, fmt::format("the peer said goodbye: {}", shown(bye->reason)), 0, now_ms);
    return;
  }
  if (link->record.state != LinkState::kUp) {
    drop(*link, "the first frame must be a hello", kRefusalDrainMs, now_ms);
    return;
  }
  ready(*link);
  if (const auto* keepalive = std::get_if<KeepaliveBody>(&*body)) {
    keepalive_heard(*link, *keepalive, now_ms);
  } else if (const auto* query = std::get_if<InstancesRequestBody>(&*body)) {
    InstancesReplyBody reply;
    reply.request = query->request;
    reply.ids = sink_.instances(query->name, kInstancesInReply, reply.truncated);
    sink_.send(link->record, encode_link(reply));
  } else if (const auto* notice = std::get_if<NoRouteBody>(&*body)) {
    sink_.no_route_told(*link, *notice);
  }
}

void Links::keepalive_heard(NodeLink& link, const KeepaliveBody& body, std::uint64_t now_ms) {
  if (body.answer) {
    if (now_ms >= body.stamp) {
      link.round_trip_us = (now_ms - body.stamp) * 1000;
    }
    return;
  }
  sink_.send(link.record, encode_link(KeepaliveBody{.stamp = body.stamp, .answer = true}));
}

// --- time -------------------------------------------------------------------------------------------------------

void Links::tick(std::uint64_t now_ms) {
  for (std::uint32_t i = 0; i < targets_.size(); ++i) {
    auto& target = targets_[i];
    if (target.state == LinkTarget::State::kWaiting && now_ms >= target.next_ms) {
      target.state = LinkTarget::State::kDialing;
      ++target.attempts;
      sink_.dial(i);
    }
  }
  table_.each([&](NodeLink& link) { watch(link, now_ms); });
}

void Links::watch(NodeLink& link, std::uint64_t now_ms) {
  if (link.record.state == LinkState::kGreeting) {
    if (now_ms - link.opened_ms >= kHelloDeadlineMs) {
      drop(link, link.we_dialed ? "the peer did not answer the hello in time" : "no hello in time", 0, now_ms);
    } else if (link.we_dialed && link.record.transport != LinkTransport::kStream && now_ms - link.hello_ms >= kHelloRetryMs) {
      say_hello(link, now_ms);
    }
    return;
  }
  if (link.record.state != LinkState::kUp) {
    return;
  }
  if (!link.peer_ready && now_ms - link.up_ms >= kReadyMs) {
    ready(link);  // the frame that says so was lost on its way
  }
  const auto traffic = sink_.traffic(link.record.index);
  link.heard_ms = std::max(link.heard_ms, traffic.heard_ms);
  if (traffic.frames_sent != link.sent_seen) {
    link.sent_seen = traffic.frames_sent;
    link.spoke_ms = now_ms;
  }
  const auto silence = now_ms > link.heard_ms ? now_ms - link.heard_ms : 0;
  if (link.keepalive_ms != 0 && silence >= std::uint64_t{link.keepalive_ms} * kKeepaliveTries) {
    drop(link, fmt::format("dead: silent for {} ms", silence), 0, now_ms);
    return;
  }
  const bool probe = link.keepalive_ms != 0 && silence >= link.keepalive_ms && now_ms - link.probed_ms >= link.keepalive_ms;
  // The peer's own bound of silence, with room for the tick and the way.
  const bool show_life = link.peer_keepalive_ms != 0 && now_ms - link.spoke_ms + kLinkTickMs >= link.peer_keepalive_ms &&
                         now_ms - link.probed_ms + kLinkTickMs >= sooner(link.peer_keepalive_ms, link.keepalive_ms);
  if (probe || show_life) {
    link.probed_ms = link.spoke_ms = now_ms;
    sink_.send(link.record, encode_link(KeepaliveBody{.stamp = now_ms, .answer = false}));
  }
}

// --- the end --------------------------------------------------------------------------------------------------------

void Links::close(LinkIndex index, const std::string& why, std::uint64_t now_ms) {
  NodeLink* link = table_.find(index);
  if (link == nullptr || link->record.state == LinkState::kClosing) {
    return;
  }
  if (link->record.state == LinkState::kUp) {
    sink_.send(link->record, encode_link(ByeBody{why}));
  }
  drop(*link, why, kRefusalDrainMs, now_ms);
}

void Links::drop(NodeLink& link, const std::string& why, std::uint32_t drain_ms, std::uint64_t now_ms) {
  if (link.record.state == LinkState::kClosing) {
    return;
  }
  const bool was_up = link.record.state == LinkState::kUp;
  if (!was_up) {
    --half_open_;
  }
  link.last_error = why;
  link.record.state = LinkState::kClosing;
  sink_.log(was_up ? kInfo : kDebug, fmt::format("link {} ({} {}{}{}) closed: {}", link.record.index, link.transport, link.peer,
                                                 link.node_id.empty() ? "" : ", ", link.node_id, why));
  closed_.push_back({link.record.index, link.peer, link.node_id, why, now_ms});
  if (closed_.size() > kRecentLinks) {
    closed_.pop_front();
  }
  if (link.record.transport != LinkTransport::kStream && !link.we_dialed) {
    if (const auto at = datagrams_.find(key_of(link)); at != datagrams_.end() && at->second == link.record.index) {
      datagrams_.erase(at);
    }
  }
  if (link.target != kNoTarget) {
    back_off(targets_[link.target], why, now_ms);
  }
  sink_.post_link(link.record);
  if (link.record.transport != LinkTransport::kStream) {
    link.closed = true;  // there is no socket of its own to wait for
  } else if (!link.closed && !link.close_asked) {
    link.close_asked = true;
    sink_.close_link(link.record, drain_ms);
  }
  const auto index = link.record.index;
  sink_.link_lost(link);
  if (NodeLink* still = table_.find(index)) {
    settle(*still);
  }
}

void Links::on_closed(const LinkClosed& closed, std::uint64_t now_ms) {
  NodeLink* link = table_.find(closed.link, closed.generation);
  if (link == nullptr) {
    return;
  }
  link->closed = true;
  if (link->record.state != LinkState::kClosing) {
    drop(*link, close_text(closed.reason, closed.error), 0, now_ms);
  } else {
    settle(*link);
  }
}

void Links::on_released(const LinkReleased& released) {
  if (NodeLink* link = table_.find(released.link, released.generation)) {
    link->released = true;
    settle(*link);
  }
}

void Links::forgotten(LinkIndex index) {
  if (NodeLink* link = table_.find(index)) {
    link->forgotten = true;
    settle(*link);
  }
}

// The record is freed when the socket is closed and no route leads there; the index when all workers know it.
void Links::settle(NodeLink& link) {
  if (link.record.state == LinkState::kClosing && link.closed && link.forgotten && !link.free_posted) {
    link.free_posted = true;
    LinkRecord gone = link.record;
    gone.state = LinkState::kFree;
    sink_.post_link(gone);
    sink_.after_applied([this, index = link.record.index, generation = link.record.generation] {
      if (NodeLink* last = table_.find(index, generation)) {
        last->free_applied = true;
        settle(*last);
      }
    });
  }
  if (link.free_applied && link.released) {
    sink_.link_gone(link);
    table_.free(link.record.index);
  }
}

void Links::on_stalled(const LinkStalled& stalled, bool is_stalled) {
  if (NodeLink* link = table_.find(stalled.link, stalled.generation)) {
    link->stalled = is_stalled;
    sink_.log(kWarn, fmt::format("link {} ({} {}) {}", stalled.link, link->peer, link->node_id,
                                 is_stalled ? fmt::format("takes nothing: {} bytes wait; its newest frames are dropped", stalled.queued_bytes)
                                            : std::string("takes frames again")));
  }
}

void Links::set_outer(LinkIndex index, const OuterTemplate& outer) {
  NodeLink* link = table_.find(index);
  if (link != nullptr && link->record.state != LinkState::kClosing) {
    link->record.outer = outer;
    sink_.post_link(link->record);
  }
}

}  // namespace slipway
