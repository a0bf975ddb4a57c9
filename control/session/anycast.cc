// Stateless messages: out, again, acknowledged; in, once each. What takes lines is handed to anycast_lines.cc.
#include "session/anycast.h"

#include <algorithm>
#include <iterator>

#include "session/session_bounds.h"

namespace slipway {

// --- out -----------------------------------------------------------------------------------------------------------

SessionMessage Anycast::compose(std::uint32_t session_id, const FullName& destination, Outgoing content) const {
  SessionMessage message;
  message.session_type = SessionType::kPointToPoint;
  message.session_id = session_id;
  message.source = local_;
  message.destination = destination.id().is_null() ? destination.with_id(kAnycastId) : destination;
  message.metadata = std::move(content.metadata);
  message.payload = AppPayload{std::move(content.payload_type), std::move(content.payload)};
  return message;
}

Anycast::Published Anycast::publish(TimeMs now, const Sender& sender, const FullName& service, Outgoing content, OperationId operation) {
  const Taker taker = taker_of(now, service);
  const std::size_t bytes = size_of(content.payload);
  SessionMessage message = compose(sender.id, service, std::move(content));
  const bool room = open_.size() < kMaxAnycastOpen && open_bytes_ + bytes <= kMaxAnycastBytes;
  if (sender.config.reliability ? !room : taker == Taker::kTheirs && !room) {
    return std::unexpected(SessionError{SessionFault::kWindowFull, "publishing to any " + service.shown()});
  }
  // Best effort: the first asks for an acknowledgement all the same, so that silence tells.
  if (!sender.config.reliability && (taker == Taker::kOurs || !room)) {
    return send_unacknowledged(std::move(message), operation);
  }
  return keep(now, sender, std::move(message), operation, taker);
}

Anycast::Published Anycast::answer(TimeMs now, const Sender& sender, const AppMessage& message, Outgoing content, OperationId operation) {
  const std::string about = "answering " + message.source.shown();
  if (const auto at = lines_.find(message.line); at != lines_.end() && at->second.peer == message.source && !at->second.closing) {
    OperationId inside = kNoOperation;
    if (operation != kNoOperation) {
      inside = ++last_operation_;
      on_lines_.emplace(inside, OnLine{.operation = operation});
    }
    at->second.last_used = now;
    auto published = sessions_.publish_on(now, message.line, std::move(content), inside);
    if (!published) {
      on_lines_.erase(inside);
    }
    return published;
  }
  if (message.line != SessionHandle::kNone && sender.session == SessionHandle::kNone) {
    return std::unexpected(SessionError{SessionFault::kPeerLeft, about + ": it closed the session that it asked on"});
  }
  if (sender.config.reliability && (open_.size() >= kMaxAnycastOpen || open_bytes_ + size_of(content.payload) > kMaxAnycastBytes)) {
    return std::unexpected(SessionError{SessionFault::kWindowFull, about});
  }
  // Whoever sent without a line can take without one.
  const Taker taker = message.line == SessionHandle::kNone ? Taker::kOurs : Taker::kTheirs;
  SessionMessage outgoing = compose(message.session_id, message.source, std::move(content));
  if (taker == Taker::kOurs && !sender.config.reliability) {
    return send_unacknowledged(std::move(outgoing), operation);
  }
  return keep(now, sender, std::move(outgoing), operation, taker);
}

Anycast::Published Anycast::send_unacknowledged(SessionMessage message, OperationId operation) {
  actions_.push_back(SendMessage{std::move(message)});
  if (operation != kNoOperation) {
    actions_.push_back(Resolve{.operation = operation});
  }
  return 0;
}

// What is not over when it is sent.
Anycast::Published Anycast::keep(TimeMs now, const Sender& sender, SessionMessage message, OperationId operation, Taker taker) {
  do {
    last_id_ = last_id_ == kMaxDataId ? 1 : last_id_ + 1;
  } while (open_.contains(last_id_));
  const std::uint32_t id = last_id_;
  message.message_id = id;
  open_bytes_ += size_of(std::get<AppPayload>(message.payload).blob);
  Open& open = open_.emplace(id, Open{.message = std::move(message), .sender = sender, .operation = operation}).first->second;
  const auto& timers = sender.config.reliability;
  open.tries_left = timers ? timers->max_retries : 0;
  open.next_try = now + (timers ? timers->timeout_ms : kQuestionTries * kQuestionMaxMs);
  if (taker == Taker::kTheirs) {
    schedule(id, open);
    want_line(now, id, open);
    return id;
  }
  send_to_ours(open);
  if (taker == Taker::kUnknown) {
    open.patient_until = now + kAnycastPatienceMs;
  }
  schedule(id, open);
  if (!timers && operation != kNoOperation) {  // it is sent; what follows is to find out who takes the next
    actions_.push_back(Resolve{.operation = std::exchange(open.operation, kNoOperation), .message_id = id});
  }
  return id;
}

void Anycast::send_to_ours(Open& open) {
  open.sent = true;
  SessionMessage message = open.message;
  if (!reliable(open)) {
    message.metadata.insert_or_assign(std::string(metadata_key::kAnycastProbe), std::string(metadata_key::kTrue));
  }
  actions_.push_back(SendMessage{std::move(message)});
}

void Anycast::finish(std::unordered_map<std::uint32_t, Open>::iterator at, std::optional<SessionError> error) {
  const Open& open = at->second;
  if (open.operation != kNoOperation) {
    actions_.push_back(Resolve{.operation = open.operation, .error = std::move(error), .message_id = at->first});
  }
  open_bytes_ -= size_of(std::get<AppPayload>(open.message.payload).blob);
  due_.clear(at->first);
  open_.erase(at);
}

void Anycast::give_up(std::uint32_t id) {
  if (const auto at = open_.find(id); at != open_.end()) {
    finish(at, SessionError{at->second.failure, "publishing to " + target_of(at->second.message).shown()});
  }
}

// --- in ------------------------------------------------------------------------------------------------------------

void Anycast::on_message(TimeMs now, SessionMessage message) {
  auto* content = std::get_if<AppPayload>(&message.payload);
  if (content == nullptr) {
    ++refusals_.malformed;
    return;
  }
  if (message.type == MessageType::kMsgAck) {
    const auto found = open_.find(message.message_id);
    if (found == open_.end() || found->second.message.session_id != message.session_id || !found->second.sent ||
        !found->second.message.destination.same_service(message.source)) {
      ++refusals_.unexpected_answer;
      return;
    }
    learn(now, target_of(found->second.message), Taker::kOurs);
    finish(found, std::nullopt);
    return;
  }
  if (message.type != MessageType::kMsg || message.message_id > kMaxDataId) {
    ++refusals_.wrong_kind;
    return;
  }
  if (size_of(content->blob) > kMaxSessionPayloadBytes) {
    ++refusals_.oversized;
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
    if (!first_time({message.source.hashed(), message.session_id}, message.message_id)) {
      ++refusals_.duplicate;
      return;
    }
  }
  const bool probe = has_mark(message.metadata, metadata_key::kAnycastProbe);
  message.metadata.erase(std::string(metadata_key::kAnycastProbe));
  actions_.push_back(DeliverMessage{SessionHandle::kNone,
                                    AppMessage{.source = message.source,
                                               .destination = message.destination,
                                               .message_id = probe ? 0 : message.message_id,
                                               .session_id = message.session_id,
                                               .anycast = true,
                                               .payload_type = content->payload_type.empty() ? "msg" : std::move(content->payload_type),
                                               .metadata = std::move(message.metadata),
                                               .payload = std::move(content->blob)}});
}

bool Anycast::first_time(const Key& from, std::uint32_t message_id) {
  const auto [at, added] = sources_.try_emplace(from);
  if (added) {
    source_order_.push_back(from);
    if (source_order_.size() > kAnycastSourcesKept) {
      sources_.erase(source_order_.front());
      source_order_.pop_front();
    }
  }
  std::deque<std::uint32_t>& seen = at->second;
  if (std::ranges::find(seen, message_id) != seen.end()) {
    return false;
  }
  seen.push_back(message_id);
  if (seen.size() > kAnycastIdsKept) {
    seen.pop_front();
  }
  return true;
}

// --- time ----------------------------------------------------------------------------------------------------------

void Anycast::schedule(std::uint32_t id, const Open& open) {
  due_.set(id, open.patient_until != 0 ? std::min(open.patient_until, open.next_try) : open.next_try);
}

void Anycast::on_due(TimeMs now, std::uint32_t id) {
  Open& open = open_.at(id);
  if (now >= open.next_try) {
    try_again(now, id, open);
    return;
  }
  open.patient_until = 0;
  schedule(id, open);
  want_line(now, id, open);
}

void Anycast::try_again(TimeMs now, std::uint32_t id, Open& open) {
  if (open.tries_left == 0) {
    give_up(id);
    return;
  }
  --open.tries_left;
  open.patient_until = 0;
  open.next_try = now + open.sender.config.reliability->timeout_ms;
  schedule(id, open);
  if (open.line != SessionHandle::kNone) {
    return;  // that session repeats it
  }
  // Whoever took what goes there may be gone: any of ours, or any of theirs.
  if (taker_of(now, target_of(open.message)) == Taker::kOurs) {
    learn(now, target_of(open.message), Taker::kUnknown);
  }
  send_to_ours(open);
  want_line(now, id, open);
}

std::optional<TimeMs> Anycast::next_deadline() const {
  std::optional<TimeMs> best = due_.next();
  sooner(best, questions_due_.next());
  sooner(best, lines_due_.next());
  return best;
}

void Anycast::advance(TimeMs now) {
  while (const auto handle = lines_due_.take_due(now)) {
    on_line_due(now, *handle);
  }
  while (const auto key = questions_due_.take_due(now)) {
    on_question_due(now, *key);
  }
  while (const auto id = due_.take_due(now)) {
    on_due(now, *id);
  }
}

void Anycast::close(TimeMs now, std::uint32_t session_id) {
  for (auto at = open_.begin(); at != open_.end();) {
    const auto next = std::next(at);
    if (at->second.message.session_id == session_id) {
      finish(at, SessionError{SessionFault::kClosed, "publishing to " + target_of(at->second.message).shown()});
    }
    at = next;
  }
  for (auto at = services_.begin(); at != services_.end();) {
    const auto next = std::next(at);
    if (at->first.session_id == session_id) {
      questions_due_.clear(at->first);
      const std::vector<SessionHandle> lines = std::move(at->second.lines);
      services_.erase(at);
      for (const SessionHandle handle : lines) {
        close_line(now, handle, false);
      }
    }
    at = next;
  }
}

}  // namespace slipway
