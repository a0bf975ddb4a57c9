#include "link/subscriptions.h"

#include <fmt/format.h>

#include <utility>

namespace slipway {

Subscriptions::Subscriptions(SubscriptionDatabase& database, LinkTable& links, ControlCounters& counters, SubscriptionSink& sink,
                             std::uint64_t seed)
    : database_(database), links_(links), counters_(counters), sink_(sink),
      peers_(database, links, counters,
             [&sink](const LinkRecord& record, std::span<const std::byte> frame) { sink.send(record, frame); }, seed) {}

void Subscriptions::on_frame(LinkIndex index, std::uint32_t generation, std::span<const std::byte> frame) {
  const NodeLink* link = links_.find(index, generation);
  if (link == nullptr || link->record.state != LinkState::kUp) {
    ++counters_.frames_stale;
    return;
  }
  const auto header = load_header(frame.data());
  if (header.kind == FrameKind::kSubscriptionAck) {
    if (const auto ack = decode_subscription_ack(frame)) {
      peers_.acknowledged(index, *ack);
    } else {
      ++counters_.frames_malformed;
    }
    return;
  }
  const auto body = decode_subscribe(frame);
  if (!body) {
    ++counters_.frames_malformed;  // without an id that can be trusted there is nobody to answer
    return;
  }
  on_subscribe(*link, header, *body);
}

void Subscriptions::on_subscribe(const NodeLink& link, const FrameHeader& header, const SubscribeBody& body) {
  const auto index = link.record.index;
  const auto generation = link.record.generation;
  const bool add = header.kind == FrameKind::kSubscribe;
  const bool from_peer = link.record.link_class == LinkClass::kPeer;
  if (add && from_peer && body.subscription_id != 0 && !peers_.fresh(header.destination, body.subscription_id)) {
    ++counters_.names_looped;
    answer(index, generation, body.subscription_id, true, "");
    return;
  }
  if (add && (waiting() >= kMaxPendingAcks || !sink_.worker_behind().empty())) {
    ++counters_.subscriptions_refused;
    answer(index, generation, body.subscription_id, false,
           fmt::format("the node is overloaded: worker {} is behind; try again", sink_.worker_behind()));
    return;
  }
  Subscription subscription;
  subscription.link = index;
  subscription.name = header.destination;
  subscription.text = {body.destination_text[0], body.destination_text[1], body.destination_text[2]};
  subscription.subscription_id = body.subscription_id;
  if (!add && from_peer && peers_.first_hand(header.hop_limit)) {
    subscription.subscription_id = database_.withdrawn_id(subscription);
  }
  auto change = add ? database_.subscribe(subscription) : database_.unsubscribe(subscription);
  if (!change) {
    ++counters_.subscriptions_refused;
    answer(index, generation, body.subscription_id, false, change.error());
    return;
  }
  ++(add ? counters_.subscriptions : counters_.unsubscriptions);
  propagate(link, header, body, *change);
  if (change->kind == Change::Kind::kNothing && waiting_.empty() && unflushed_.empty()) {
    answer(index, generation, body.subscription_id, true, "");
    return;
  }
  unflushed_.push_back({0, index, generation, body.subscription_id, std::move(*change)});
}

void Subscriptions::propagate(const NodeLink& link, const FrameHeader& header, const SubscribeBody& body, const Change& change) {
  if (link.record.link_class == LinkClass::kPeer) {
    if (change.kind == Change::Kind::kAdded) {
      peers_.announced(link.record.index, header.destination, body.subscription_id, header.hop_limit);
    } else if (change.kind == Change::Kind::kRemoved) {
      peers_.withdrawn(link.record.index, header.destination, change.subscription_id, change.text);
    }
  } else if (change.transition) {
    peers_.on_transition(*change.transition);
  }
}

void Subscriptions::answer(LinkIndex index, std::uint32_t generation, std::uint64_t id, bool success, const std::string& error) {
  const NodeLink* link = id == 0 ? nullptr : links_.find(index, generation);
  if (link != nullptr && link->record.state == LinkState::kUp) {
    ++counters_.acks_sent;
    // Upstream's node begins to wait for answers only after it has told all its peers: one that comes before is lost,
    // and its application waits for 5 s (upstream-node 5.6).
    if (link->edge != nullptr && link->record.link_class == LinkClass::kPeer) {
      if (late_acks_.empty() && due_acks_.empty()) {
        sink_.answer_soon();
      }
      late_acks_.push_back({index, generation, {id, success, error}});
      return;
    }
    sink_.send(link->record, encode_subscription_ack({id, success, error}));
  }
}

// Each answer waits for one call at least, and goes with the second.
void Subscriptions::answer_late() {
  for (const auto& late : due_acks_) {
    if (const NodeLink* link = links_.find(late.link, late.generation); link != nullptr && link->record.state == LinkState::kUp) {
      sink_.send(link->record, encode_subscription_ack(late.ack));
    }
  }
  due_acks_ = std::exchange(late_acks_, {});
  if (!due_acks_.empty()) {
    sink_.answer_soon();
  }
}

void Subscriptions::flush() {
  if (unflushed_.empty()) {
    return;
  }
  const auto ticket = sink_.ticket();
  for (auto& change : unflushed_) {
    change.ticket = ticket;
    waiting_.push_back(std::move(change));
  }
  unflushed_.clear();
}

void Subscriptions::applied(std::uint64_t ticket) {
  while (!waiting_.empty() && waiting_.front().ticket <= ticket) {
    const auto& done = waiting_.front();
    answer(done.link, done.generation, done.subscription_id, true, "");
    waiting_.pop_front();
  }
}

void Subscriptions::not_applied(std::uint64_t ticket, const std::string& worker) {
  std::vector<Waiting> late;
  while (!waiting_.empty() && waiting_.front().ticket <= ticket) {
    late.push_back(std::move(waiting_.front()));
    waiting_.pop_front();
  }
  for (auto at = late.rbegin(); at != late.rend(); ++at) {  // newest first: each undo finds what it left
    ++counters_.subscriptions_undone;
    if (const auto back = database_.undo(at->change); back && *back) {
      peers_.on_transition(**back);
    }
    if (const NodeLink* link = links_.find(at->link, at->generation);
        link != nullptr && link->record.link_class == LinkClass::kPeer && at->change.kind == Change::Kind::kAdded) {
      peers_.withdrawn(at->link, at->change.name, at->subscription_id, database_.text_parts(at->change.name));
    }
    answer(at->link, at->generation, at->subscription_id, false,
           fmt::format("worker {} did not apply the change in time; it was taken back", worker));
  }
  if (!late.empty()) {
    sink_.log(2, fmt::format("worker {} did not apply {} subscription changes within {} ms; they were taken back", worker, late.size(),
                             kApplyDeadlineMs));
  }
}

void Subscriptions::link_up(const NodeLink& link) {
  database_.add_link(link.record.index, link.record.link_class);
}

void Subscriptions::peer_ready(const NodeLink& link) {
  if (link.record.link_class == LinkClass::kPeer) {
    peers_.link_up(link);
  }
}

void Subscriptions::link_lost(LinkIndex link) {
  peers_.link_lost(link);
  leaving_.push_back(link);
  pump(0);
}

std::expected<void, std::string> Subscriptions::add_static(LinkIndex link, const TextName& name) {
  auto change = database_.add_static(link, name.hashed(), {name.component[0], name.component[1], name.component[2]});
  if (!change) {
    return std::unexpected(change.error());
  }
  if (change->transition) {
    peers_.on_transition(*change->transition);
  }
  return {};
}

std::expected<void, std::string> Subscriptions::remove_static(LinkIndex link, const TextName& name) {
  auto change = database_.remove_static(link, name.hashed());
  if (!change) {
    return std::unexpected(change.error());
  }
  if (change->transition) {
    peers_.on_transition(*change->transition);
  }
  return {};
}

bool Subscriptions::pump(std::uint64_t now_ms) {
  if (!sink_.worker_behind().empty()) {
    return true;
  }
  if (!leaving_.empty()) {
    const auto link = leaving_.front();
    if (database_.remove_link(link, kLostLinkSlice, [&](const Transition& transition) { peers_.on_transition(transition); })) {
      leaving_.pop_front();
      sink_.forgotten(link);
    }
  }
  const bool more = now_ms != 0 && peers_.pump(now_ms);
  return more || !leaving_.empty();
}

}  // namespace slipway
