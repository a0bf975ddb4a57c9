// Frames that a link brings, and how long it may be silent.
#include "link/links.h"

#include <fmt/format.h>

#include <algorithm>

namespace slipway {

namespace {

std::uint32_t sooner(std::uint32_t a, std::uint32_t b) { return a == 0 ? b : b == 0 ? a : std::min(a, b); }

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
  const auto traffic = sink_.traffic(l.record.index);
  l.sent_seen = traffic.frames_sent;
  l.in_seen = traffic.frames_in;
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

std::expected<LinkIndex, std::string> Links::open_local(std::string name, std::uint64_t now_ms) {
  auto link = open(true, "control", std::move(name), now_ms);
  if (!link) {
    return std::unexpected(link.error());
  }
  NodeLink& l = **link;
  l.record.transport = LinkTransport::kControl;
  l.record.link_class = LinkClass::kLocal;
  l.record.native = false;  // it is not told of what nobody took: sessions notice
  l.record.max_frame_bytes = kMaxLocalFrameBytes;
  bring_up(l, now_ms);
  sink_.link_up(l);
  return l.record.index;
}

std::string Links::shown(std::string_view text) {
  std::string out(text.substr(0, kMaxLinkTextBytes));
  for (auto& c : out) {
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7F) {
      c = '?';
    }
  }
  return out;
}

// --- frames of a link -----------------------------------------------------------------------------------------

void Links::on_link_frame(LinkIndex index, std::uint32_t generation, std::span<const std::byte> frame, std::uint64_t now_ms) {
  NodeLink* link = table_.find(index, generation);
  if (link == nullptr || link->record.state == LinkState::kClosing) {
    return;
  }
  link->heard_ms = now_ms;
  if (link->edge != nullptr) {
    edge_message(*link, frame.subspan(kFrameHeaderBytes), now_ms);
    return;
  }
  const auto body = decode_link(frame);
  if (!body) {
    turn_away(*link, fmt::format("a link frame that makes no sense: {}", body.error()), now_ms);
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
    link->left = true;
    drop(*link, fmt::format("the peer said goodbye: {}", shown(bye->reason)), 0, now_ms);
    return;
  }
  if (link->record.state != LinkState::kUp) {
    turn_away(*link, "the first frame must be a hello", now_ms);
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
      if (peer_is_linked(target)) {
        target.next_ms = now_ms + target.backoff_max_ms;
        continue;
      }
      target.state = LinkTarget::State::kDialing;
      ++target.attempts;
      sink_.dial(i);
    }
  }
  table_.each([&](NodeLink& link) { watch(link, now_ms); });
}

void Links::watch(NodeLink& link, std::uint64_t now_ms) {
  if (link.edge != nullptr) {
    watch_edge(link, now_ms);
    return;
  }
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
  if (traffic.frames_in != link.in_seen) {
    link.in_seen = traffic.frames_in;
    link.heard_ms = now_ms;
  }
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

}  // namespace slipway
