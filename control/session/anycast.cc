#include "session/anycast.h"

#include <algorithm>
#include <iterator>

#include "session/session_bounds.h"

namespace slipway {

std::expected<std::uint32_t, SessionError> Anycast::publish(TimeMs now, std::uint32_t session_id, const AnycastConfig& config,
                                                            const FullName& destination, Outgoing content, OperationId operation) {
  if (open_.size() >= kMaxAnycastOpen && config.reliability) {
    return std::unexpected(SessionError{SessionFault::kWindowFull, "publishing to any " + destination.shown()});
  }
  SessionMessage message;
  message.session_type = SessionType::kPointToPoint;
  message.session_id = session_id;
  message.source = local_;
  message.destination = destination.id().is_null() ? destination.with_id(kAnycastId) : destination;
  message.metadata = std::move(content.metadata);
  message.payload = AppPayload{std::move(content.payload_type), std::move(content.payload)};
  if (!config.reliability) {
    actions_.push_back(SendMessage{std::move(message)});
    if (operation != kNoOperation) {
      actions_.push_back(Resolve{.operation = operation});
    }
    return 0;
  }
  do {
    last_id_ = last_id_ == kMaxDataId ? 1 : last_id_ + 1;
  } while (open_.contains(last_id_));
  message.message_id = last_id_;
  actions_.push_back(SendMessage{message});
  const TimerSettings timers = *config.reliability;
  deadlines_.emplace(now + timers.timeout_ms, last_id_);
  open_.emplace(last_id_, Open{std::move(message), operation, timers, timers.max_retries, now + timers.timeout_ms});
  return last_id_;
}

void Anycast::finish(std::unordered_map<std::uint32_t, Open>::iterator at, std::optional<SessionError> error) {
  const Open& open = at->second;
  if (open.operation != kNoOperation) {
    actions_.push_back(Resolve{.operation = open.operation, .error = std::move(error), .message_id = at->first});
  }
  deadlines_.erase({open.deadline, at->first});
  open_.erase(at);
}

void Anycast::on_message(SessionMessage message) {
  auto* content = std::get_if<AppPayload>(&message.payload);
  if (content == nullptr) {
    ++refusals_.malformed;
    return;
  }
  if (message.type == MessageType::kMsgAck) {
    const auto found = open_.find(message.message_id);
    if (found == open_.end() || found->second.message.session_id != message.session_id ||
        !found->second.message.destination.same_service(message.source)) {
      ++refusals_.unexpected_answer;
      return;
    }
    finish(found, std::nullopt);
    return;
  }
  if (message.type != MessageType::kMsg || message.message_id > kMaxDataId) {
    ++refusals_.wrong_kind;
    return;
  }
  if (message.message_id != 0) {
    SessionMessage ack;
    ack.session_type = SessionType::kPointToPoint;
    ack.type = MessageType::kMsgAck;
    ack.session_id = message.session_id;
    ack.message_id = message.message_id;
    // The service that was asked for: one application may serve several, and the sender matches the answer by it.
    ack.source = message.destination.with_id(local_.id());
    ack.destination = message.source;
    ack.payload = AppPayload{};
    actions_.push_back(SendMessage{std::move(ack)});
    if (!first_time(message)) {
      ++refusals_.duplicate;
      return;
    }
  }
  actions_.push_back(DeliverMessage{SessionHandle::kNone,
                                    AppMessage{.source = message.source,
                                               .destination = message.destination,
                                               .message_id = message.message_id,
                                               .session_id = message.session_id,
                                               .anycast = true,
                                               .payload_type = content->payload_type.empty() ? "msg" : std::move(content->payload_type),
                                               .metadata = std::move(message.metadata),
                                               .payload = std::move(content->blob)}});
}

bool Anycast::first_time(const SessionMessage& message) {
  const Key key{message.source.hashed(), message.session_id};
  const auto [at, added] = sources_.try_emplace(key);
  if (added) {
    source_order_.push_back(key);
    if (source_order_.size() > kAnycastSourcesKept) {
      sources_.erase(source_order_.front());
      source_order_.pop_front();
    }
  }
  std::deque<std::uint32_t>& seen = at->second;
  if (std::ranges::find(seen, message.message_id) != seen.end()) {
    return false;
  }
  seen.push_back(message.message_id);
  if (seen.size() > kAnycastIdsKept) {
    seen.pop_front();
  }
  return true;
}

std::optional<TimeMs> Anycast::next_deadline() const {
  return deadlines_.empty() ? std::nullopt : std::optional(deadlines_.begin()->first);
}

void Anycast::advance(TimeMs now) {
  while (!deadlines_.empty() && deadlines_.begin()->first <= now) {
    const auto at = open_.find(deadlines_.begin()->second);
    Open& open = at->second;
    if (open.tries_left == 0) {
      finish(at, SessionError{SessionFault::kNoAnswer, "publishing to " + open.message.destination.service().shown()});
      continue;
    }
    --open.tries_left;
    deadlines_.erase(deadlines_.begin());
    open.deadline = now + open.timers.timeout_ms;
    deadlines_.emplace(open.deadline, at->first);
    actions_.push_back(SendMessage{open.message});
  }
}

void Anycast::close(std::uint32_t session_id) {
  for (auto at = open_.begin(); at != open_.end();) {
    const auto next = std::next(at);
    if (at->second.message.session_id == session_id) {
      finish(at, SessionError{SessionFault::kClosed, "publishing to " + at->second.message.destination.service().shown()});
    }
    at = next;
  }
}

}  // namespace slipway
