// Frames in and out of a link: dispatch, delivery, the end of a turn.

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <utility>

#include "base/drop_reason.h"
#include "client/application.h"
#include "client/datagram_wire.h"
#include "client/link.h"

namespace slipway {

bool ClientLink::on_frame(std::span<const std::byte> frame) {
  if (const auto fault = check_frame(frame); fault != FrameFault::kNone) {
    ++counters_.malformed;
    if (datagram_ == nullptr) {
      lose(fmt::format("{} sent a frame that makes no sense: {}", endpoint_.text, frame_fault_text(fault)));
    }
    return pending_loss_.empty();
  }
  ++counters_.frames_received;
  const auto kind = static_cast<FrameKind>(frame_kind(frame.data()));
  if (kind == FrameKind::kLink) {
    return on_link_frame(frame);
  }
  if (!up()) {
    ++counters_.malformed;
  } else if (kind == FrameKind::kPublish) {
    deliver(frame, nullptr);
  } else if (kind == FrameKind::kSubscriptionAck) {
    if (const auto ack = decode_subscription_ack(frame)) {
      on_ack(*ack);
    } else {
      ++counters_.malformed;
    }
  } else {
    ++counters_.unmatched;  // a node subscribes at nodes, not at clients
  }
  return pending_loss_.empty() && !resting_;
}

void ClientLink::on_reuse() {
  if (!std::exchange(held_, false)) {
    return;
  }
  for (const ClientApplication* application : applications_) {
    if (application->handlers_.on_reuse) {
      application->handlers_.on_reuse();
    }
  }
}

bool ClientLink::on_link_frame(std::span<const std::byte> frame) {
  auto body = decode_link(frame);
  if (!body) {
    ++counters_.malformed;
    return true;
  }
  if (auto* reply = std::get_if<HelloReplyBody>(&*body)) {
    return on_hello_reply(std::move(*reply));
  }
  if (!up()) {
    return true;
  }
  if (const auto* keepalive = std::get_if<KeepaliveBody>(&*body)) {
    if (keepalive->answer) {
      round_trip_ns_ = loop_.refresh_now() - std::min(keepalive->stamp, loop_.now_ns());
    } else {
      send_control(encode_link(KeepaliveBody{.stamp = keepalive->stamp, .answer = true}));
    }
  } else if (const auto* bye = std::get_if<ByeBody>(&*body)) {
    failures_ = 0;
    lose(fmt::format("{} closed the link: {}", endpoint_.text, bye->reason.empty() ? "no reason given" : bye->reason));
  } else if (const auto* no_route = std::get_if<NoRouteBody>(&*body)) {
    on_no_route(*no_route);
  } else if (auto* reply = std::get_if<InstancesReplyBody>(&*body)) {
    const auto found = queries_.find(reply->request);
    if (found != queries_.end()) {
      const auto done = std::move(found->second.done);
      queries_.erase(found);
      done(InstancesAnswer{.ids = std::move(reply->ids), .truncated = reply->truncated});
    }
  } else {
    ++counters_.malformed;
  }
  return pending_loss_.empty();
}

bool ClientLink::on_hello_reply(HelloReplyBody&& reply) {
  if (phase_ != ClientLinkPhase::kGreeting) {
    return true;  // an answer to a hello that was repeated
  }
  if (!reply.challenge.empty()) {
    if (datagram_ != nullptr && reply.challenge != cookie_) {
      cookie_ = std::move(reply.challenge);
      say_hello();
    }
    return true;
  }
  if (!reply.accepted) {
    lose(fmt::format("{} refused the link: {}", endpoint_.text, reply.error.empty() ? "no reason given" : reply.error));
    return false;
  }
  node_ = std::move(reply);
  const std::uint32_t theirs = node_.max_frame_bytes == 0 ? kMaxFrameBytes : node_.max_frame_bytes;
  max_out_bytes_ = std::min<std::uint32_t>(theirs, datagram_ != nullptr ? kMaxDatagramFrameBytes : kMaxFrameBytes);
  if (datagram_ != nullptr) {
    datagram_->set_peer(node_.receive_link_id, node_.datagram_bytes, node_.entropy_ports);
  }
  failures_ = 0;
  asked_ns_ = sent_ns_ = received_ns_ = loop_.now_ns();
  ++counters_.ups;
  set_phase(ClientLinkPhase::kUp, "");
  if (!pending_loss_.empty() || !up()) {
    return false;
  }
  pump_subscriptions();
  for (auto& [id, query] : queries_) {
    send_query(id, query);
  }
  if (someone_waits_) {
    schedule_flush();
  }
  return true;
}

void ClientLink::on_no_route(const NoRouteBody& body) {
  ++counters_.no_route_notices;
  counters_.no_route += 1 + body.more;
  NoRouteNotice notice{.reason = "unknown", .what = "the node dropped it", .destination = body.destination, .source = body.source,
                       .session_id = body.session_id, .message_id = body.message_id, .more = body.more};
  if (body.drop_reason < kDropReasonCount) {
    const auto& text = kDropReasonTexts[body.drop_reason];
    notice.reason = text.name;
    notice.what = text.what;
    notice.advice = text.advice;
  }
  for (const ClientApplication* application : applications_) {
    if (application->hashed_ == body.source) {
      if (application->handlers_.on_no_route) {
        application->handlers_.on_no_route(notice);
      }
      return;
    }
  }
}

void ClientLink::deliver(std::span<const std::byte> frame, const ClientApplication* except) {
  const Name destination = load_name(frame.data() + frame_offset::kDestination);
  if (frame_fanout(frame.data()) == 1) {
    const ClientApplication* application = routes_.choose(destination, except);
    if (application == nullptr) {
      ++counters_.unmatched;
    } else if (application->handlers_.on_message) {
      application->handlers_.on_message(ClientMessage(frame));
    }
    return;
  }
  // Copied: a callback may subscribe, unsubscribe or publish to all.
  receivers_.clear();
  routes_.all(destination, except, &receivers_);
  if (receivers_.empty()) {
    ++counters_.unmatched;
  } else if (receivers_.size() == 1) {
    const ClientApplication* application = receivers_[0];
    if (application->handlers_.on_message) {
      application->handlers_.on_message(ClientMessage(frame));
    }
  } else {
    const auto receivers = std::move(receivers_);
    receivers_ = {};
    for (const ClientApplication* application : receivers) {
      if (application->handlers_.on_message) {
        application->handlers_.on_message(ClientMessage(frame));
      }
    }
  }
}

void ClientLink::send_control(std::span<const std::byte> frame) {
  if (wire_ == nullptr) {
    return;
  }
  std::memcpy(wire_->begin_frame(static_cast<std::uint32_t>(frame.size())), frame.data(), frame.size());
  wire_->end_frame();
  schedule_flush();
}

void ClientLink::flush() {
  if (wire_ == nullptr || blocked_) {
    return;
  }
  if (wire_->queued_bytes() > 0) {
    sent_ns_ = loop_.now_ns();
    after_write(wire_->flush());
  } else {
    loop_.set_events(wire_->fd(), fd_event::kReadable);
  }
}

void ClientLink::after_write(WireStatus status) {
  if (status == WireStatus::kBroken) {
    lose(fmt::format("lost {}: {}", endpoint_.text, wire_->trouble()));
    return;
  }
  blocked_ = status == WireStatus::kBlocked;
  loop_.set_events(wire_->fd(), blocked_ ? fd_event::kReadable | fd_event::kWritable : fd_event::kReadable);
  if (someone_waits_ && queued_bytes() <= options_.queue_bytes / 2) {
    schedule_flush();  // the applications are told at the end of the turn
  }
}

void ClientLink::schedule_flush() {
  if (flush_scheduled_) {
    return;
  }
  flush_scheduled_ = true;
  loop_.defer([this, alive = std::weak_ptr(alive_)] {
    if (alive.expired()) {
      return;
    }
    flush_scheduled_ = false;
    deliver_local();
    if (up()) {
      pump_subscriptions();
    }
    flush();
    if (someone_waits_ && up() && queued_bytes() <= options_.queue_bytes / 2 && local_bytes_.size() <= kClientLocalBytes / 2) {
      someone_waits_ = false;
      tell_writable();
    }
  });
}

void ClientLink::tell_writable() {
  const auto applications = applications_;
  for (const ClientApplication* application : applications) {
    if (application->handlers_.on_writable) {
      application->handlers_.on_writable();
    }
  }
}

std::byte* ClientLink::begin_local(ClientApplication* from, std::uint32_t frame_bytes) {
  local_frames_.push_back({from, frame_bytes});
  local_bytes_.resize(local_bytes_.size() + frame_bytes);
  return local_bytes_.data() + local_bytes_.size() - frame_bytes;
}

void ClientLink::deliver_local() {
  if (local_frames_.empty()) {
    return;
  }
  // What the callbacks publish goes into fresh buffers, and is delivered in the next turn.
  const auto frames = std::exchange(local_frames_, {});
  const auto bytes = std::exchange(local_bytes_, {});
  const std::byte* at = bytes.data();
  for (const auto& [from, length] : frames) {
    ++counters_.frames_local;
    deliver({at, length}, from);
    at += length;
  }
}

}  // namespace slipway
