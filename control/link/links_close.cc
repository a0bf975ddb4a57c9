// How a link ends, and when its index is free again.
#include "link/links.h"

#include <fmt/format.h>

#include <cstring>

namespace slipway {

namespace {

std::string close_text(CloseReason reason, std::int32_t error) {
  switch (reason) {
    case CloseReason::kPeerClosed: return "the peer closed it";
    case CloseReason::kError: return error == 0 ? "socket error" : fmt::format("socket error: {}", std::strerror(error));
    case CloseReason::kStreamLength: return "the peer broke the framing: a length below a frame header or above the limit";
    case CloseReason::kPartialTimeout: return "the peer began a frame and did not finish it in time";
    case CloseReason::kStalled: return "stalled: its queue was full for too long and it took nothing";
    case CloseReason::kAsked: return "closed by this node";
    case CloseReason::kEdge: return "its stream ended";
  }
  return "closed";
}

}  // namespace

void Links::close(LinkIndex index, const std::string& why, std::uint64_t now_ms) {
  NodeLink* link = table_.find(index);
  if (link == nullptr || link->record.state == LinkState::kClosing) {
    return;
  }
  if (link->record.state == LinkState::kUp && link->edge == nullptr && link->record.transport != LinkTransport::kControl) {
    sink_.send(link->record, encode_link(ByeBody{why}));
  }
  drop(*link, why, kRefusalDrainMs, now_ms);
}

void Links::turn_away(NodeLink& link, const std::string& why, std::uint64_t now_ms) {
  ++turned_away_;
  drop(link, why, kRefusalDrainMs, now_ms);
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
  // Applications come and go; that a node goes, or that a link is broken, is news.
  const bool news = was_up && (!link.left || link.record.link_class != LinkClass::kEdge);
  sink_.log(news ? kInfo : kDebug, fmt::format("link {} ({} {}{}{}) closed: {}", link.record.index, link.transport, link.peer,
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
    sink_.close_link(link, drain_ms);
  }
  const auto index = link.record.index;
  sink_.link_lost(link);
  if (NodeLink* still = table_.find(index)) {
    settle(*still);
  }
}

void Links::on_closed(const LinkClosed& closed, std::string_view text, std::uint64_t now_ms) {
  NodeLink* link = table_.find(closed.link, closed.generation);
  if (link == nullptr) {
    return;
  }
  link->closed = true;
  if (link->record.state != LinkState::kClosing) {
    link->left = closed.reason == CloseReason::kPeerClosed;
    drop(*link, text.empty() ? close_text(closed.reason, closed.error) : shown(text), 0, now_ms);
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
