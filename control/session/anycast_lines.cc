// Lines: sessions with instances that take no stateless messages. Who is there is asked for, the load is spread over those found,
// what a silent one had goes to another.
#include <algorithm>
#include <charconv>
#include <tuple>

#include "session/anycast.h"
#include "session/session_bounds.h"

namespace slipway {

namespace {

std::string anycast_mark(std::uint32_t session_id, std::uint32_t message_id) {
  return std::to_string(session_id) + ":" + std::to_string(message_id);
}

// Session and message; empty: not such a mark.
std::optional<std::pair<std::uint32_t, std::uint32_t>> parse_mark(std::string_view text) {
  std::pair<std::uint32_t, std::uint32_t> ids;
  const char* const end = text.data() + text.size();
  const auto first = std::from_chars(text.data(), end, ids.first);
  if (first.ec != std::errc() || first.ptr == end || *first.ptr != ':') {
    return std::nullopt;
  }
  const auto second = std::from_chars(first.ptr + 1, end, ids.second);
  return second.ec == std::errc() && second.ptr == end && ids.second != 0 ? std::optional(ids) : std::nullopt;
}

}  // namespace

// --- who takes what ------------------------------------------------------------------------------------------------

Anycast::Taker Anycast::taker_of(TimeMs now, const FullName& target) const {
  const auto at = learned_.find(target.hashed());
  return at == learned_.end() || now >= at->second.until ? Taker::kUnknown : at->second.taker;
}

void Anycast::learn(TimeMs now, const FullName& target, Taker taker) {
  const auto [at, added] = learned_.insert_or_assign(target.hashed(), Learned{taker, now + kTakerKnownMs});
  if (added) {
    learned_order_.push_back(target.hashed());
    if (learned_order_.size() > kMaxTakersKnown) {
      learned_.erase(learned_order_.front());
      learned_order_.pop_front();
    }
  }
}

void Anycast::want_line(TimeMs now, std::uint32_t id, Open& open) {
  const Key key{target_of(open.message).hashed(), open.sender.id};
  auto at = services_.find(key);
  if (at == services_.end()) {
    if (services_.size() >= kMaxAnycastServices) {
      return;
    }
    at = services_.emplace(key, Service{.target = target_of(open.message), .sender = open.sender}).first;
  }
  Service& service = at->second;
  if (std::ranges::find(service.waiting, id) == service.waiting.end()) {
    service.waiting.push_back(id);
  }
  hand_out(now, key);
}

bool Anycast::may_ask(const Service& service) const {
  const auto opening = [this](SessionHandle handle) { return !lines_.at(handle).ready; };
  if (service.question != 0 || std::ranges::any_of(service.lines, opening)) {
    return false;
  }
  if (service.lines.empty()) {
    return !service.waiting.empty();
  }
  const bool crowded = !service.waiting.empty() && service.fruitless == 0 && service.lines.size() < kMaxLinesOut;
  return crowded || service.since_question >= kAskEvery << std::min(service.fruitless, kAskRarer);
}

void Anycast::ask(TimeMs now, const Key& key, Service& service) {
  do {
    service.question = random_.next();
  } while (service.question == 0);
  service.asked = 0;
  service.since_question = 0;
  send_question(now, key, service);
}

void Anycast::send_question(TimeMs now, const Key& key, Service& service) {
  SessionMessage question;
  question.session_type = SessionType::kPointToPoint;
  question.type = MessageType::kDiscoveryRequest;
  question.session_id = key.session_id;
  question.message_id = service.question;
  question.source = local_;
  question.destination = service.target;
  question.payload = DiscoveryRequest{};
  actions_.push_back(SendMessage{std::move(question)});
  const auto& timers = service.sender.config.reliability;
  questions_due_.set(key, now + std::clamp<TimeMs>(timers ? timers->timeout_ms : kQuestionMaxMs, kQuestionMinMs, kQuestionMaxMs));
}

void Anycast::on_question_due(TimeMs now, const Key& key) {
  Service& service = services_.at(key);
  std::erase_if(service.waiting, [this](std::uint32_t id) { return !open_.contains(id); });
  if (++service.asked < kQuestionTries && !service.waiting.empty()) {
    send_question(now, key, service);
    return;
  }
  service.question = 0;
  if (service.lines.empty()) {
    // Those that are reliable come again with their next try.
    for (const std::uint32_t id : std::exchange(service.waiting, {})) {
      if (!reliable(open_.at(id))) {
        give_up(id);
      }
    }
  }
  tidy(key);
}

bool Anycast::on_discovery_reply(TimeMs now, const SessionMessage& message) {
  for (auto at = services_.lower_bound(Key{Name{}, message.session_id}); at != services_.end() && at->first.session_id == message.session_id; ++at) {
    Service& service = at->second;
    const FullName& instance = message.source;
    if (service.question == 0 || service.question != message.message_id || !instance.same_service(service.target) || instance.id().is_null() ||
        (!service.target.id().is_null() && !(instance == service.target))) {
      continue;
    }
    if (!message.authentic) {
      ++refusals_.unauthenticated;
      return true;
    }
    service.question = 0;
    questions_due_.clear(at->first);
    const Key key = at->first;
    if (message.from_slipway) {
      found_ours(now, service);
    } else {
      found_theirs(now, key, service, instance);
    }
    hand_out(now, key);
    return true;
  }
  return false;
}

// They take messages without a line.
void Anycast::found_ours(TimeMs now, Service& service) {
  learn(now, service.target, Taker::kOurs);
  for (const std::uint32_t id : std::exchange(service.waiting, {})) {
    const auto at = open_.find(id);
    if (at == open_.end()) {
      continue;
    }
    if (!at->second.sent) {
      send_to_ours(at->second);
    }
    if (!reliable(at->second)) {
      finish(at, std::nullopt);
    }
  }
}

// --- lines of ours ---------------------------------------------------------------------------------------------------

void Anycast::found_theirs(TimeMs now, const Key& key, Service& service, const FullName& instance) {
  learn(now, service.target, Taker::kTheirs);
  if (std::ranges::any_of(service.lines, [&](SessionHandle handle) { return lines_.at(handle).peer == instance; })) {
    ++service.fruitless;
    return;
  }
  if (!make_room_for_line(now, service)) {
    ++service.fruitless;
    return;
  }
  const OperationId operation = ++last_operation_;
  const auto opened = sessions_.open_line(now, instance, service.sender.config, operation);
  if (!opened) {
    return;  // too many sessions: those that wait come again with their next try
  }
  on_lines_.emplace(operation, OnLine{.opening = true});
  const auto& timers = service.sender.config.reliability;
  const Line& line = lines_
                         .emplace(*opened, Line{.peer = instance,
                                                .service = key,
                                                .reliable = timers.has_value(),
                                                .timeout_ms = timers ? timers->timeout_ms : kQuestionMaxMs,
                                                .last_used = now,
                                                .awaited_since = now})
                         .first->second;
  service.lines.push_back(*opened);
  service.fruitless = 0;
  watch(*opened, line);
}

// Of those that nothing is expected from, the one that was used longest ago goes.
bool Anycast::make_room_for_line(TimeMs now, Service& service) {
  if (lines_.size() - lines_in_ >= kMaxAnycastLines) {
    return false;
  }
  if (service.lines.size() < kMaxLinesOut) {
    return true;
  }
  const auto oldest = std::ranges::min_element(service.lines, {}, [this](SessionHandle handle) {
    const Line& line = lines_.at(handle);
    return std::pair(line.unacknowledged > 0 || !line.ready, line.last_used);
  });
  const Line& line = lines_.at(*oldest);
  if (line.unacknowledged > 0 || !line.ready || now < line.last_used + kLineRestMs) {
    return false;
  }
  close_line(now, *oldest, false);
  return true;
}

// What waits goes to the least busy lines; if there are too few, or it is time to look for more, somebody is asked for.
void Anycast::hand_out(TimeMs now, const Key& key) {
  const auto at = services_.find(key);
  if (at == services_.end()) {
    return;
  }
  Service& service = at->second;
  while (!service.waiting.empty()) {
    const std::uint32_t id = service.waiting.front();
    const auto open = open_.find(id);
    if (open != open_.end()) {
      const SessionHandle handle = pick_line(service);
      if (handle == SessionHandle::kNone || !publish_on(now, handle, id, open->second)) {
        break;
      }
      ++service.since_question;
    }
    service.waiting.pop_front();
  }
  if (may_ask(service)) {
    ask(now, key, service);
  }
  tidy(key);
}

SessionHandle Anycast::pick_line(const Service& service) const {
  SessionHandle best = SessionHandle::kNone;
  std::pair<std::uint32_t, TimeMs> least{kLineShare, 0};
  for (const SessionHandle handle : service.lines) {
    const Line& line = lines_.at(handle);
    if (line.ready && line.unacknowledged < kLineShare && std::pair(line.unacknowledged, line.last_used) < least) {
      best = handle;
      least = {line.unacknowledged, line.last_used};
    }
  }
  return best;
}

bool Anycast::publish_on(TimeMs now, SessionHandle handle, std::uint32_t id, Open& open) {
  const auto& content = std::get<AppPayload>(open.message.payload);
  Outgoing copy{content.payload_type, content.blob, open.message.metadata};
  copy.metadata.insert_or_assign(std::string(metadata_key::kAnycastMessage), anycast_mark(open.sender.id, id));
  const OperationId operation = ++last_operation_;
  on_lines_.emplace(operation, OnLine{.message_id = id});
  if (!sessions_.publish_on(now, handle, std::move(copy), operation)) {
    on_lines_.erase(operation);
    return false;
  }
  Line& line = lines_.at(handle);
  line.last_used = now;
  open.line = handle;
  if (line.reliable) {
    if (++line.unacknowledged == 1) {
      line.awaited_since = now;
    }
    open.next_try = now + line.timeout_ms;
    schedule(id, open);
  }
  watch(handle, line);
  return true;
}

void Anycast::on_line_result(TimeMs now, SessionHandle handle, Resolve& result) {
  const auto found = on_lines_.find(result.operation);
  if (found == on_lines_.end()) {
    return;
  }
  const OnLine what = found->second;
  on_lines_.erase(found);
  const bool well = !result.error && result.undelivered.empty();
  if (what.operation != kNoOperation) {  // an answer
    if (!well && !result.error) {
      result.error = SessionError{SessionFault::kNoAnswer, "answering " + result.undelivered.front().member.shown()};
    }
    actions_.push_back(Resolve{.operation = what.operation, .error = std::move(result.error), .message_id = result.message_id});
    return;
  }
  const auto line = lines_.find(handle);
  const Key key = line == lines_.end() ? Key{} : line->second.service;
  if (what.opening) {
    if (line != lines_.end() && well) {
      line->second.ready = true;
      line->second.awaited_since = 0;
      line->second.silences = 0;
      line->second.last_used = now;
      watch(handle, line->second);
    }
  } else {
    if (line != lines_.end() && line->second.unacknowledged > 0 && --line->second.unacknowledged == 0) {
      line->second.awaited_since = 0;
      if (!line->second.closing) {
        watch(handle, line->second);
      }
    }
    const auto at = open_.find(what.message_id);
    if (at != open_.end() && at->second.line == handle) {
      at->second.line = SessionHandle::kNone;
      if (well) {
        finish(at, std::nullopt);
      } else if (!reliable(at->second)) {
        give_up(what.message_id);
      } else {
        want_line(now, what.message_id, at->second);  // its tries are counted by time
      }
    }
  }
  hand_out(now, key);
}

// --- lines of either side --------------------------------------------------------------------------------------------

void Anycast::on_line_in(TimeMs now, SessionHandle session, const FullName& peer, bool reliable) {
  ++lines_in_;
  const Line& line = lines_.emplace(session, Line{.peer = peer, .in = true, .reliable = reliable, .last_used = now}).first->second;
  watch(session, line);
}

void Anycast::on_line_heard(TimeMs now, SessionHandle session) {
  if (const auto at = lines_.find(session); at != lines_.end()) {
    at->second.silences = 0;
    if (at->second.awaited_since != 0) {
      at->second.awaited_since = now;
    }
  }
}

void Anycast::on_line_action(TimeMs now, Action& action) {
  if (std::holds_alternative<SendMessage>(action)) {
    actions_.push_back(std::move(action));
  } else if (auto* delivery = std::get_if<DeliverMessage>(&action)) {
    on_line_message(now, delivery->session, std::move(delivery->message));
  } else if (auto* result = std::get_if<Resolve>(&action)) {
    on_line_result(now, result->session, *result);
  } else if (auto* lost = std::get_if<MessagesLost>(&action)) {
    const auto line = lines_.find(lost->session);
    const auto service = line == lines_.end() ? services_.end() : services_.find(line->second.service);
    if (service != services_.end()) {
      lost->session = service->second.sender.session;
      actions_.push_back(std::move(action));
    }
  } else if (const auto* presence = std::get_if<Presence>(&action)) {
    if (presence->change == PresenceChange::kOffline) {
      close_line(now, presence->session, true);
    }
  } else if (const auto* opened = std::get_if<SessionOpened>(&action)) {
    if (const auto line = lines_.find(opened->session); line != lines_.end()) {
      line->second.ready = true;
    }
  } else if (const auto* closed = std::get_if<SessionClosed>(&action)) {
    on_line_closed(now, closed->session);
  }
}

// As what an anycast session hears, once each.
void Anycast::on_line_message(TimeMs now, SessionHandle handle, AppMessage message) {
  const auto at = lines_.find(handle);
  if (at == lines_.end()) {
    return;
  }
  Line& line = at->second;
  line.last_used = now;
  const std::uint32_t id = message.message_id;
  Key from{message.source.hashed(), message.session_id};
  message.anycast = true;
  message.line = handle;
  message.session_id = 0;
  message.message_id = line.reliable ? id : 0;
  std::uint32_t known_by = id;
  const auto mark = message.metadata.find(metadata_key::kAnycastMessage);
  const auto ids = mark == message.metadata.end() ? std::nullopt : parse_mark(mark->second);
  if (mark != message.metadata.end()) {
    message.metadata.erase(mark);
  }
  if (!line.in) {
    if (!services_.contains(line.service)) {
      ++refusals_.wrong_state;  // our session is closed
      return;
    }
    message.session_id = line.service.session_id;
  } else if (ids) {
    std::tie(message.session_id, known_by) = *ids;
    from.session_id = ids->first;
    message.message_id = line.reliable ? known_by : 0;
  }
  if (!first_time(from, known_by)) {
    ++refusals_.duplicate;
    return;
  }
  actions_.push_back(DeliverMessage{SessionHandle::kNone, std::move(message)});
}

void Anycast::on_line_closed(TimeMs now, SessionHandle handle) {
  const auto at = lines_.find(handle);
  if (at == lines_.end()) {
    return;
  }
  const Key key = at->second.service;
  const bool failed = !at->second.in && !at->second.ready;
  lines_in_ -= at->second.in;
  lines_.erase(at);
  lines_due_.clear(handle);
  const auto service = services_.find(key);
  if (service == services_.end()) {
    return;
  }
  std::erase(service->second.lines, handle);
  if (failed) {
    for (const std::uint32_t id : service->second.waiting) {
      if (const auto open = open_.find(id); open != open_.end()) {
        open->second.failure = SessionFault::kJoinUnanswered;
      }
    }
  }
  hand_out(now, key);
}

void Anycast::close_line(TimeMs now, SessionHandle handle, bool abandoned) {
  const auto at = lines_.find(handle);
  if (at == lines_.end() || at->second.closing) {
    return;
  }
  at->second.closing = true;
  lines_due_.clear(handle);
  if (const auto service = services_.find(at->second.service); service != services_.end()) {
    std::erase(service->second.lines, handle);
    service->second.fruitless = 0;
  }
  sessions_.close_line(now, handle, abandoned);
}

void Anycast::watch(SessionHandle handle, const Line& line) {
  const bool awaited = line.awaited_since != 0;
  lines_due_.set(handle, awaited ? line.awaited_since + silence_ms(line) : line.last_used + (line.in ? kLineInIdleMs : kLineIdleMs));
}

TimeMs Anycast::silence_ms(const Line& line) const { return line.ready ? line.timeout_ms : std::max<TimeMs>(line.timeout_ms, kLineSetupMs); }

void Anycast::on_line_due(TimeMs now, SessionHandle handle) {
  Line& line = lines_.at(handle);
  if (line.awaited_since != 0 && !network_) {
    line.awaited_since = now;
  } else if (line.awaited_since != 0 && now >= line.awaited_since + silence_ms(line)) {
    const auto service = services_.find(line.service);
    const bool others = service != services_.end() && std::ranges::any_of(service->second.lines, [&](SessionHandle other) {
      return other != handle && lines_.at(other).ready;
    });
    if (!line.ready || others || ++line.silences >= kLineSilences) {
      close_line(now, handle, true);
      return;
    }
    line.awaited_since = now;
  } else if (line.awaited_since == 0 && now >= line.last_used + (line.in ? kLineInIdleMs : kLineIdleMs)) {
    close_line(now, handle, false);
    return;
  }
  watch(handle, line);
}

void Anycast::on_network(TimeMs now, bool there) {
  network_ = there;
  for (auto& [handle, line] : lines_) {
    if (there && line.awaited_since != 0) {
      line.awaited_since = now;
    }
  }
}

void Anycast::tidy(const Key& key) {
  const auto at = services_.find(key);
  if (at != services_.end() && at->second.waiting.empty() && at->second.lines.empty() && at->second.question == 0) {
    questions_due_.clear(key);
    services_.erase(at);
  }
}

}  // namespace slipway
