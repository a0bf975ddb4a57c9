// What the applications of a link subscribe to, and its answers; queries for instances.
//
// A subscription is asked for until it is answered or has been asked kClientAckTries times; at most
// kClientPendingAcks are unanswered at a time, so that a client with very many does not flood the node.

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "client/application.h"
#include "client/link.h"

namespace slipway {
namespace {

constexpr std::uint64_t kAckNs = kClientAckMs * 1'000'000;

}  // namespace

std::uint64_t ClientLink::subscribe(ClientApplication* application, const TextName& name, std::function<void(ClientResult)> done) {
  if (++next_id_ == 0) {
    ++next_id_;  // 0 asks for no answer
  }
  const std::uint64_t id = next_id_;
  if (subscriptions_.size() >= kClientMaxSubscriptions) {
    loop_.defer([done = std::move(done)] {
      if (done) {
        done(std::unexpected(fmt::format("this link holds {} subscriptions, which is the most it can", kClientMaxSubscriptions)));
      }
    });
    return id;
  }
  routes_.add(name.hashed(), application);
  subscriptions_.emplace(id, Subscription{.name = name, .source = application->name_, .application = application, .done = std::move(done)});
  to_send_.push_back(id);
  schedule_flush();
  return id;
}

void ClientLink::unsubscribe(std::uint64_t id, std::function<void(ClientResult)> done) {
  const auto found = subscriptions_.find(id);
  const bool going = found != subscriptions_.end() &&
                     (found->second.state == SubscriptionState::kRemoveQueued || found->second.state == SubscriptionState::kRemoveSent);
  if (found == subscriptions_.end() || going) {
    loop_.defer([done = std::move(done)] {
      if (done) {
        done(std::unexpected(std::string("there is no such subscription (any more)")));
      }
    });
    return;
  }
  Subscription& subscription = found->second;
  if (subscription.application != nullptr) {
    routes_.remove(subscription.name.hashed(), subscription.application);
  }
  const auto state = subscription.state;
  if (state == SubscriptionState::kQueued || state == SubscriptionState::kSent) {
    loop_.defer([asked = std::move(subscription.done)] {
      if (asked) {
        asked(std::unexpected(std::string("unsubscribed before the node had answered")));
      }
    });
  }
  if (state == SubscriptionState::kQueued || !up()) {
    subscriptions_.erase(found);  // the node does not know of it; to_send_ skips numbers that are gone
    loop_.defer([done = std::move(done)] {
      if (done) {
        done({});
      }
    });
    return;
  }
  if (state == SubscriptionState::kSent) {
    --unanswered_;
  }
  subscription.application = nullptr;
  subscription.done = std::move(done);
  subscription.state = SubscriptionState::kRemoveQueued;
  subscription.tries = 0;
  to_send_.push_back(id);
  schedule_flush();
}

void ClientLink::forget_application(ClientApplication* application) {
  std::erase(applications_, application);
  std::vector<std::uint64_t> ids;
  for (const auto& [id, subscription] : subscriptions_) {
    if (subscription.application == application) {
      ids.push_back(id);
    }
  }
  for (const std::uint64_t id : ids) {
    const auto found = subscriptions_.find(id);
    found->second.done = nullptr;  // it belongs to what goes away
    unsubscribe(id, {});
  }
  for (auto& frame : local_frames_) {
    if (frame.from == application) {
      frame.from = nullptr;  // only compared with
    }
  }
}

void ClientLink::pump_subscriptions() {
  while (!to_send_.empty() && unanswered_ < kClientPendingAcks && queued_bytes() < options_.queue_bytes) {
    const std::uint64_t id = to_send_.front();
    to_send_.pop_front();
    const auto found = subscriptions_.find(id);
    if (found == subscriptions_.end()) {
      continue;
    }
    auto& subscription = found->second;
    if (subscription.state == SubscriptionState::kQueued || subscription.state == SubscriptionState::kRemoveQueued) {
      ++unanswered_;
      send_subscription(id, subscription);
    }
  }
  if (unanswered_ > 0) {
    arm_tick();
  }
}

void ClientLink::send_subscription(std::uint64_t id, Subscription& subscription) {
  const bool remove = subscription.state == SubscriptionState::kRemoveQueued || subscription.state == SubscriptionState::kRemoveSent;
  subscription.state = remove ? SubscriptionState::kRemoveSent : SubscriptionState::kSent;
  subscription.sent_ns = loop_.now_ns();
  ++subscription.tries;
  sent_.push_back({id, subscription.sent_ns});
  const FrameHeader header{.kind = remove ? FrameKind::kUnsubscribe : FrameKind::kSubscribe,
                           .destination = subscription.name.hashed(),
                           .source = subscription.source.hashed()};
  send_control(encode_subscribe(header, {.destination_text = subscription.name.component,
                                         .source_text = subscription.source.component,
                                         .subscription_id = id,
                                         .version = SLIPWAY_VERSION}));
}

void ClientLink::on_ack(const SubscriptionAckBody& ack) {
  const auto found = subscriptions_.find(ack.subscription_id);
  if (found == subscriptions_.end()) {
    return;  // the answer to one that was asked for twice
  }
  Subscription& subscription = found->second;
  const bool removed = subscription.state == SubscriptionState::kRemoveSent;
  if (!removed && subscription.state != SubscriptionState::kSent) {
    return;
  }
  if (!removed && !ack.success) {
    fail_subscription(ack.subscription_id, ack.error.empty() ? "the node refused it" : ack.error);
  } else {
    --unanswered_;
    const auto done = std::exchange(subscription.done, nullptr);
    if (removed) {
      subscriptions_.erase(found);
    } else {
      subscription.state = SubscriptionState::kConfirmed;
    }
    if (done) {
      done(ack.success ? ClientResult{} : std::unexpected(ack.error));
    }
  }
  if (!to_send_.empty()) {
    schedule_flush();
  }
}

// One that is waiting for its answer gets none any more.
void ClientLink::fail_subscription(std::uint64_t id, const std::string& why) {
  const auto found = subscriptions_.find(id);
  const Subscription subscription = std::move(found->second);
  subscriptions_.erase(found);
  --unanswered_;
  if (subscription.application != nullptr) {
    routes_.remove(subscription.name.hashed(), subscription.application);
  }
  if (subscription.done) {
    subscription.done(std::unexpected(why));
  } else if (subscription.application != nullptr && subscription.application->handlers_.on_subscription_lost) {
    subscription.application->handlers_.on_subscription_lost(subscription.name, why);
  }
}

// The link is gone, and with it what the node knew.
void ClientLink::requeue_subscriptions() {
  unanswered_ = 0;
  sent_.clear();
  std::vector<std::uint64_t> again;
  std::vector<std::function<void(ClientResult)>> removed;
  for (auto it = subscriptions_.begin(); it != subscriptions_.end();) {
    auto& subscription = it->second;
    if (subscription.state == SubscriptionState::kRemoveQueued || subscription.state == SubscriptionState::kRemoveSent) {
      removed.push_back(std::move(subscription.done));
      it = subscriptions_.erase(it);
      continue;
    }
    subscription.state = SubscriptionState::kQueued;
    subscription.tries = 0;
    again.push_back(it->first);
    ++it;
  }
  std::sort(again.begin(), again.end());
  to_send_.assign(again.begin(), again.end());
  for (const auto& done : removed) {
    if (done) {
      loop_.defer([done] { done({}); });
    }
  }
}

void ClientLink::check_subscriptions(std::uint64_t now) {
  while (!sent_.empty() && now - sent_.front().sent_ns >= kAckNs) {
    const Sent old = sent_.front();
    sent_.pop_front();
    const auto found = subscriptions_.find(old.id);
    if (found == subscriptions_.end() || found->second.sent_ns != old.sent_ns) {
      continue;
    }
    Subscription& subscription = found->second;
    if (subscription.state != SubscriptionState::kSent && subscription.state != SubscriptionState::kRemoveSent) {
      continue;
    }
    if (subscription.tries < kClientAckTries) {
      send_subscription(old.id, subscription);
    } else {
      fail_subscription(old.id, fmt::format("{} did not answer within {} s", endpoint_.text, kClientAckTries * kClientAckMs / 1000));
    }
  }
}

void ClientLink::instances(const Name& service, std::function<void(std::expected<InstancesAnswer, std::string>)> done) {
  if (queries_.size() >= kClientMaxQueries) {
    loop_.defer([done = std::move(done)] { done(std::unexpected(fmt::format("{} queries are waiting for an answer already", kClientMaxQueries))); });
    return;
  }
  if (++next_id_ == 0) {
    ++next_id_;
  }
  Query& query = queries_[next_id_];
  query.service = {service.component, kNullId};
  query.done = std::move(done);
  query.sent_ns = loop_.refresh_now();
  if (up()) {
    send_query(next_id_, query);
  }
  arm_tick();
}

void ClientLink::send_query(std::uint64_t id, Query& query) {
  query.sent_ns = loop_.now_ns();
  ++query.tries;
  send_control(encode_link(InstancesRequestBody{.request = id, .name = query.service}));
}

void ClientLink::check_queries(std::uint64_t now) {
  std::vector<std::uint64_t> failed;
  for (auto& [id, query] : queries_) {
    if (now - query.sent_ns < kAckNs) {
      continue;
    }
    // While the link is down the tries count too: a query is worth nothing late.
    if (query.tries >= kClientAckTries) {
      failed.push_back(id);
    } else if (up()) {
      send_query(id, query);
    } else {
      query.sent_ns = now;
      ++query.tries;
    }
  }
  for (const std::uint64_t id : failed) {
    const auto found = queries_.find(id);
    const auto done = std::move(found->second.done);
    queries_.erase(found);
    done(std::unexpected(fmt::format("{} did not answer: the link is {}", endpoint_.text, phase_text(phase_))));
  }
}

}  // namespace slipway
