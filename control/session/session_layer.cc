#include "session/session_layer.h"

#include <algorithm>

#include "session/session_bounds.h"

namespace slipway {

namespace {

std::unexpected<SessionError> refuse(SessionFault fault, std::string about) {
  return std::unexpected(SessionError{fault, std::move(about)});
}

bool sane(const TimerSettings& timers) {
  return timers.timeout_ms >= kMinIntervalMs && timers.timeout_ms <= kMaxIntervalMs && timers.max_retries <= kMaxRetries;
}

SessionLayer::Call check_metadata(const Metadata& metadata, const std::string& doing) {
  std::size_t bytes = 0;
  for (const auto& [key, value] : metadata) {
    bytes += key.size() + value.size();
    if (is_reserved_metadata(key)) {
      return refuse(SessionFault::kReservedMetadata, doing + " with metadata '" + key + "'");
    }
  }
  if (metadata.size() > kMaxMetadataEntries || bytes > kMaxMetadataBytes) {
    return refuse(SessionFault::kTooLarge, doing);
  }
  return {};
}

}  // namespace

SessionLayer::SessionLayer(LayerConfig config, RandomSource& random, SessionGroupFactory& groups)
    : config_(std::move(config)), random_(random), groups_(groups), anycast_(config_.local, actions_, refusals_, random, *this) {}

// --- making sessions -------------------------------------------------------------------------------------------

std::expected<SessionFacts, SessionError> SessionLayer::facts_of(SessionType type, const SessionConfig& config, const char* doing) {
  if (sessions_.size() + anycast_sessions_.size() >= kMaxSessions) {
    return refuse(SessionFault::kTooManySessions, doing);
  }
  if (config.reliability && !sane(*config.reliability)) {
    return refuse(SessionFault::kBadConfig, std::string(doing) + ": a timeout must be " + std::to_string(kMinIntervalMs) + " to " +
                                                std::to_string(kMaxIntervalMs) + " ms, retries at most " + std::to_string(kMaxRetries));
  }
  if (auto fits = check_metadata(config.metadata, doing); !fits) {
    return std::unexpected(std::move(fits.error()));
  }
  SessionFacts facts;
  facts.handle = SessionHandle{++last_handle_};
  facts.type = type;
  facts.local = config_.local;
  facts.direction = config_.direction;
  facts.reliability = config.reliability;
  if (config.reliability) {
    facts.control = *config.reliability;
  }
  facts.mls = config.mls;
  facts.metadata = config.metadata;
  do {
    facts.id = random_.next();
  } while (facts.id > kMaxSessionId || by_id_.contains(facts.id) ||
           std::ranges::any_of(anycast_sessions_, [&](const auto& entry) { return entry.second.first == facts.id; }));
  return facts;
}

SessionParts SessionLayer::parts_of(SessionFacts facts) {
  auto group = facts.mls ? groups_.make() : nullptr;
  std::uint64_t key = 0;
  while (config_.keep_sessions && key == 0) {
    key = std::uint64_t{random_.next()} << 32 | random_.next();
  }
  return {std::move(facts), actions_, refusals_, random_, std::move(group), key, config_.enforce_identity};
}

// Never kept over a restart: its messages are whole without it.
SessionParts SessionLayer::parts_of_line(SessionFacts facts) {
  return {std::move(facts), line_actions_, refusals_, random_, nullptr, 0, config_.enforce_identity};
}

SessionHandle SessionLayer::keep(std::unique_ptr<Session> session) {
  const SessionHandle handle = session->facts().handle;
  ++generation_;
  by_id_.emplace(session->facts().id, handle);
  sessions_.emplace(handle, Entry{std::move(session), std::nullopt});
  touched(handle);
  return handle;
}

std::expected<SessionHandle, SessionError> SessionLayer::create_unicast(TimeMs now, const FullName& peer, const SessionConfig& config,
                                                                        OperationId operation) {
  now = steady(now);
  if (peer.empty() || peer == config_.local) {
    return refuse(SessionFault::kBadName, "creating a session with " + peer.shown());
  }
  auto facts = facts_of(SessionType::kPointToPoint, config, "creating a unicast session");
  if (!facts) {
    return std::unexpected(std::move(facts.error()));
  }
  return keep(std::make_unique<Moderator>(now, parts_of(std::move(*facts)), peer, operation));
}

std::expected<SessionHandle, SessionError> SessionLayer::create_group(TimeMs now, const FullName& channel, const FullName& control,
                                                                      const SessionConfig& config) {
  now = steady(now);
  if (channel.empty() || control.empty() || channel == control || channel.id().is_null() || control.id().is_null()) {
    return refuse(SessionFault::kBadName, "creating a group on " + channel.shown());
  }
  auto facts = facts_of(SessionType::kMulticast, config, "creating a group");
  if (!facts) {
    return std::unexpected(std::move(facts.error()));
  }
  return keep(std::make_unique<Moderator>(now, parts_of(std::move(*facts)), channel, control));
}

std::expected<SessionHandle, SessionError> SessionLayer::create_anycast(TimeMs now, const SessionConfig& config) {
  steady(now);
  if (config.mls) {
    return refuse(SessionFault::kMlsOnAnycast, "creating an anycast session");
  }
  auto facts = facts_of(SessionType::kPointToPoint, config, "creating an anycast session");
  if (!facts) {
    return std::unexpected(std::move(facts.error()));
  }
  ++generation_;
  anycast_sessions_.emplace(facts->handle, std::pair{facts->id, AnycastConfig{config.reliability}});
  return facts->handle;
}

std::expected<SessionHandle, SessionError> SessionLayer::restore(TimeMs now, std::uint64_t key, const StoredSession& stored) {
  now = steady(now);
  auto record = decode_record(stored.record);
  auto progress = decode_progress(stored.progress);
  if (!record || !progress) {
    return std::unexpected(std::move(record ? progress.error() : record.error()));
  }
  const std::string about = "restoring the session on " + record->channel.shown();
  if (record->local.id() != config_.local.id() || record->is_moderator != (record->moderator == record->local)) {
    return refuse(SessionFault::kForeignRecord, about);
  }
  if (sessions_.size() + anycast_sessions_.size() >= kMaxSessions) {
    return refuse(SessionFault::kTooManySessions, about);
  }
  const auto [first, last] = by_id_.equal_range(record->session_id);
  if (std::any_of(first, last, [&](const auto& entry) { return sessions_.at(entry.second).session->moderator() == record->moderator; })) {
    return refuse(SessionFault::kClosed, about + ": it is open");
  }
  if (record->reliability && !sane(*record->reliability)) {
    return refuse(SessionFault::kBadRecord, about);
  }
  SessionFacts facts{.handle = SessionHandle{++last_handle_}, .type = record->type, .id = record->session_id, .local = record->local};
  facts.direction = record->direction;
  facts.reliability = record->reliability;
  facts.control = record->reliability.value_or(facts.control);
  facts.mls = record->mls;
  facts.metadata = record->metadata;
  SessionParts parts = parts_of(std::move(facts));
  parts.store_key = config_.keep_sessions ? key : 0;
  if (!record->is_moderator) {
    return keep(Participant::restore(now, std::move(parts), *record, *progress));
  }
  if (parts.group && record->group_created) {
    if (!stored.group) {
      return refuse(SessionFault::kBadRecord, about + ": its group is missing");
    }
    if (auto restored = parts.group->restore(*stored.group); !restored) {
      return refuse(SessionFault::kGroupRefused, about + ": " + restored.error());
    }
  }
  return keep(Moderator::restore(now, std::move(parts), *record, *progress));
}

bool SessionLayer::serve(const FullName& service) {
  if (served_.size() >= kMaxServedNames || service.empty()) {
    return false;
  }
  served_.push_back(service);
  return true;
}

void SessionLayer::stop_serving(const FullName& service) {
  std::erase_if(served_, [&](const FullName& name) { return name.same_service(service); });
}

// With an id it is meant for one instance, and that may be another.
bool SessionLayer::is_for_another(const FullName& destination) const {
  return !destination.id().is_null() && destination.id() != config_.local.id();
}

bool SessionLayer::serves(const FullName& name) const {
  return name.same_service(config_.local) || std::ranges::any_of(served_, [&](const FullName& n) { return n.same_service(name); });
}

// --- messages ----------------------------------------------------------------------------------------------------

bool SessionLayer::is_anycast(const SessionMessage& message) const {
  if (message.session_type != SessionType::kPointToPoint || (message.type != MessageType::kMsg && message.type != MessageType::kMsgAck)) {
    return false;
  }
  if (message.destination.id() == kAnycastId) {
    return true;
  }
  return std::ranges::any_of(anycast_sessions_, [&](const auto& entry) { return entry.second.first == message.session_id; }) ||
         (message.type == MessageType::kMsgAck && anycast_.open() > 0 && !by_id_.contains(message.session_id));
}

SessionHandle SessionLayer::session_for(const SessionMessage& message) const {
  SessionHandle best = SessionHandle::kNone;
  int best_rank = -1;
  const auto [first, last] = by_id_.equal_range(message.session_id);
  for (auto at = first; at != last; ++at) {
    const Session& session = *sessions_.at(at->second).session;
    // Two moderators may have drawn the same id: the one that knows the source is meant.
    const int rank = session.moderator() == message.source || session.roster().contains(message.source) ? 2 : session.is_moderator();
    if (rank > best_rank) {
      best = at->second;
      best_rank = rank;
    }
  }
  return best;
}

bool SessionLayer::answer_from_grave(const SessionMessage& message) {
  if (!is_command(message.type)) {
    return false;
  }
  for (const Tombstone& grave : tombstones_) {
    if (grave.session_id == message.session_id && grave.replies.has_seen(message)) {
      ++refusals_.replayed;
      if (const SessionMessage* again = grave.replies.reply_to(message)) {
        actions_.push_back(SendMessage{*again});
      }
      return true;
    }
  }
  return false;
}

void SessionLayer::on_message(TimeMs now, SessionMessage message) {
  now = steady(now);
  if (message.source == config_.local || message.source.empty()) {
    ++refusals_.malformed;
    return;
  }
  if (is_anycast(message)) {
    if (message.destination.id() == kAnycastId && !serves(message.destination)) {
      ++refusals_.unknown_session;
      return;
    }
    anycast_.on_message(now, std::move(message));
    return;
  }
  if (message.type == MessageType::kDiscoveryReply && payload_fits(message) && message.destination == config_.local &&
      anycast_.on_discovery_reply(now, message)) {
    carry_line_actions(now);
    return;
  }
  if (message.type == MessageType::kDiscoveryRequest) {
    on_discovery(message);
    return;
  }
  if (answer_from_grave(message)) {
    return;
  }
  if (message.type == MessageType::kJoinRequest && !message.authentic) {  // verified in every session, MLS or not
    ++refusals_.unauthenticated;
    return;
  }
  const SessionHandle handle = session_for(message);
  if (message.type == MessageType::kJoinRequest &&
      (handle == SessionHandle::kNone || !(sessions_.at(handle).session->moderator() == message.source))) {
    on_join_request(now, message);
    return;
  }
  if (handle == SessionHandle::kNone) {
    ++refusals_.unknown_session;
    return;
  }
  const bool line = anycast_.is_line(handle);
  if (line) {
    anycast_.on_line_heard(now, handle);
  }
  sessions_.at(handle).session->on_message(now, std::move(message));
  touched(handle);
  if (line) {
    carry_line_actions(now);
  }
}

std::optional<SessionLayer::DataWay> SessionLayer::data_way(const SessionMessage& message) const {
  if (message.type != MessageType::kMsg || message.source == config_.local || is_anycast(message) || by_id_.count(message.session_id) != 1) {
    return std::nullopt;  // of two sessions with one id the source decides, and may decide otherwise for the next message
  }
  const SessionHandle handle = by_id_.find(message.session_id)->second;
  if (anycast_.is_line(handle)) {
    return std::nullopt;  // delivered as something else
  }
  Session& session = *sessions_.at(handle).session;
  const MemberSlot slot = session.data_slot(message);
  if (slot == kNoSlot) {
    return std::nullopt;
  }
  return DataWay{handle, &session, slot, message.from_slipway, generation_};
}

// Stateless: an answer costs nothing to forget.
void SessionLayer::on_discovery(const SessionMessage& message) {
  if (!message.authentic) {
    ++refusals_.unauthenticated;
    return;
  }
  if (is_for_another(message.destination)) {
    ++refusals_.foreign_destination;
    return;
  }
  if (!payload_fits(message) || !serves(message.destination)) {
    ++refusals_.malformed;
    return;
  }
  SessionMessage answer;
  answer.session_type = message.session_type;
  answer.type = MessageType::kDiscoveryReply;
  answer.session_id = message.session_id;
  answer.message_id = message.message_id;
  answer.source = message.destination.with_id(config_.local.id());
  answer.destination = message.source;
  answer.payload = DiscoveryReply{};
  actions_.push_back(SendMessage{std::move(answer)});
}

void SessionLayer::on_join_request(TimeMs now, const SessionMessage& message) {
  if (is_for_another(message.destination)) {
    ++refusals_.foreign_destination;
    return;
  }
  const auto* join = std::get_if<JoinRequest>(&message.payload);
  const bool group = message.session_type == SessionType::kMulticast;
  if (join == nullptr || message.message_id == 0 || message.session_id > kMaxSessionId || !serves(message.destination) ||
      (message.session_type != SessionType::kPointToPoint && !group) || join->channel.has_value() != group || join->control.has_value() != group ||
      (group && (join->channel->empty() || join->control->empty() || *join->channel == *join->control)) || (join->timers && !sane(*join->timers))) {
    ++refusals_.malformed;
    return;
  }
  if (sessions_.size() + anycast_sessions_.size() >= kMaxSessions) {
    ++refusals_.no_room;
    return;
  }
  SessionFacts facts;
  facts.handle = SessionHandle{++last_handle_};
  facts.type = message.session_type;
  facts.id = message.session_id;
  facts.local = message.destination.with_id(config_.local.id());
  facts.direction = config_.direction;
  facts.reliability = join->timers;
  if (join->timers) {
    facts.control = *join->timers;
  }
  facts.mls = join->mls;
  for (const auto& [key, value] : message.metadata) {
    if (!is_reserved_metadata(key)) {
      facts.metadata.emplace(key, value);
    }
  }
  if (opens_line(message)) {
    if (!anycast_.room_for_line_in()) {
      ++refusals_.no_room;
      return;
    }
    const bool reliable = facts.reliability.has_value();
    if (auto participant = Participant::join(now, parts_of_line(std::move(facts)), message)) {
      anycast_.on_line_in(now, keep(std::move(participant)), message.source, reliable);
      carry_line_actions(now);
    }
    return;
  }
  if (auto participant = Participant::join(now, parts_of(std::move(facts)), message)) {
    const auto left = std::ranges::find_if(left_, [&](const LeftGroup& l) {
      return l.session_id == message.session_id && l.moderator == message.source.hashed();
    });
    if (left != left_.end()) {
      participant->go_on_from(left->last_data_id, std::move(left->heard));
      left_.erase(left);
    }
    keep(std::move(participant));
  }
}

// --- sessions behind lines -----------------------------------------------------------------------------------------

bool SessionLayer::opens_line(const SessionMessage& message) const {
  const auto mark = message.metadata.find(metadata_key::kAnycast);
  return message.session_type == SessionType::kPointToPoint && mark != message.metadata.end() && mark->second == "1" &&
         !std::get<JoinRequest>(message.payload).mls;
}

SessionLayer::Opened SessionLayer::open_line(TimeMs now, const FullName& instance, const AnycastConfig& config, OperationId operation) {
  auto facts = facts_of(SessionType::kPointToPoint, {.reliability = config.reliability}, "finding an instance");
  if (!facts) {
    return std::unexpected(std::move(facts.error()));
  }
  facts->metadata.emplace(metadata_key::kAnycast, "1");
  return keep(std::make_unique<Moderator>(now, parts_of_line(std::move(*facts)), instance, operation, true));
}

SessionLayer::Published SessionLayer::publish_on(TimeMs now, SessionHandle line, Outgoing content, OperationId operation) {
  const auto at = sessions_.find(line);
  if (at == sessions_.end()) {
    return refuse(SessionFault::kClosed, "publishing");
  }
  auto published = at->second.session->publish(now, std::move(content), operation);
  touched(line);
  return published;
}

void SessionLayer::close_line(TimeMs now, SessionHandle line, bool abandoned) {
  const auto at = sessions_.find(line);
  if (at == sessions_.end()) {
    return;
  }
  if (abandoned) {
    at->second.session->abandon(now);
  } else {
    (void)at->second.session->close(now, kNoOperation);
  }
  touched(line);
}

// Each may cause others.
void SessionLayer::carry_line_actions(TimeMs now) {
  while (!line_actions_.empty()) {
    for (Action& action : std::exchange(line_actions_, {})) {
      anycast_.on_line_action(now, action);
    }
  }
}

// --- time --------------------------------------------------------------------------------------------------------

TimeMs SessionLayer::steady(TimeMs now) {
  if (now < last_now_) {
    taken_back_ += last_now_ - now;
  }
  last_now_ = now;
  return now + taken_back_;
}

void SessionLayer::on_network(TimeMs now, bool there) {
  now = steady(now);
  std::vector<SessionHandle> all;
  for (const auto& [handle, entry] : sessions_) {
    all.push_back(handle);
  }
  for (const SessionHandle handle : all) {
    sessions_.at(handle).session->on_network(now, there);
    touched(handle);
  }
  anycast_.on_network(now, there);
  carry_line_actions(now);
}

void SessionLayer::advance(TimeMs now) {
  now = steady(now);
  std::vector<SessionHandle> due;
  for (const auto& [at, handle] : deadlines_) {
    if (at > now) {
      break;
    }
    due.push_back(handle);
  }
  for (const SessionHandle handle : due) {
    sessions_.at(handle).session->advance(now);
    touched(handle);
  }
  carry_line_actions(now);
  anycast_.advance(now);
  carry_line_actions(now);
  while (!tombstones_.empty() && tombstones_.front().until <= now) {
    tombstones_.pop_front();
  }
}

std::optional<TimeMs> SessionLayer::next_deadline() const {
  std::optional<TimeMs> best = anycast_.next_deadline();
  if (!deadlines_.empty()) {
    sooner(best, deadlines_.begin()->first);
  }
  if (!tombstones_.empty()) {
    sooner(best, tombstones_.front().until);
  }
  return best ? std::optional(*best > taken_back_ ? *best - taken_back_ : 0) : std::nullopt;
}

// The session had an event: its deadline may be another, or it may be over.
void SessionLayer::touched(SessionHandle handle) {
  const auto at = sessions_.find(handle);
  Entry& entry = at->second;
  const std::optional<TimeMs> deadline = entry.session->next_deadline();
  if (deadline != entry.deadline) {
    if (entry.deadline) {
      deadlines_.erase({*entry.deadline, handle});
    }
    if (deadline) {
      deadlines_.emplace(*deadline, handle);
    }
    entry.deadline = deadline;
  }
  if (!entry.session->closed()) {
    return;
  }
  const std::uint32_t id = entry.session->facts().id;
  tombstones_.push_back({id, entry.session->take_replies(), last_now_ + taken_back_ + kTombstoneMs});
  if (tombstones_.size() > kMaxTombstones) {
    tombstones_.pop_front();
  }
  Session& session = *entry.session;
  if (session.facts().is_group() && !session.is_moderator()) {
    left_.push_back({id, session.moderator().hashed(), session.sender().last_id(), session.take_memory()});
    if (left_.size() > kMaxLeftGroups) {
      left_.pop_front();
    }
  }
  ++generation_;
  const auto [first, last] = by_id_.equal_range(id);
  by_id_.erase(std::find_if(first, last, [handle](const auto& pair) { return pair.second == handle; }));
  sessions_.erase(at);
}

void SessionLayer::on_subscription(TimeMs now, SessionHandle session, const FullName& name, bool accepted) {
  now = steady(now);
  if (const auto at = sessions_.find(session); at != sessions_.end()) {
    at->second.session->on_subscription(now, name, accepted);
    touched(session);
  }
}

const Session* SessionLayer::find(SessionHandle session) const {
  const auto at = sessions_.find(session);
  return at == sessions_.end() ? nullptr : at->second.session.get();
}

std::vector<SessionHandle> SessionLayer::sessions() const {
  std::vector<SessionHandle> handles;
  for (const auto& [handle, entry] : sessions_) {
    if (!anycast_.is_line(handle)) {
      handles.push_back(handle);
    }
  }
  return handles;
}

// --- calls -------------------------------------------------------------------------------------------------------

template <class F>
auto SessionLayer::with(TimeMs now, SessionHandle handle, F&& call) -> decltype(call(std::declval<Session&>(), now)) {
  now = steady(now);
  const auto at = sessions_.find(handle);
  if (at == sessions_.end()) {
    return refuse(anycast_sessions_.contains(handle) ? SessionFault::kWrongKind : SessionFault::kUnknownSession, {});
  }
  auto result = call(*at->second.session, now);
  touched(handle);
  return result;
}

namespace {
// A change that waits for nobody is over within the call.
SessionLayer::Call settled(Session& session, TimeMs now, SessionLayer::Call result) {
  session.advance(now);
  return result;
}
}  // namespace

SessionLayer::Published SessionLayer::publish(TimeMs now, SessionHandle session, Outgoing content, OperationId operation) {
  return with(now, session, [&](Session& s, TimeMs t) { return s.publish(t, std::move(content), operation); });
}

std::optional<DataOut> SessionLayer::number_data(TimeMs now, SessionHandle session, std::size_t payload_bytes, std::size_t payload_type_bytes) {
  (void)steady(now);
  const auto at = sessions_.find(session);
  return at == sessions_.end() ? std::nullopt : at->second.session->number_data(payload_bytes, payload_type_bytes);  // moves no deadline
}

SessionLayer::Published SessionLayer::publish_to(TimeMs now, SessionHandle session, const FullName& member, Outgoing content,
                                                 OperationId operation) {
  return with(now, session, [&](Session& s, TimeMs t) { return s.publish_to(t, member, std::move(content), operation); });
}

SessionLayer::Published SessionLayer::publish_with_destination(TimeMs now, SessionHandle anycast, const FullName& destination,
                                                               Outgoing content, OperationId operation) {
  now = steady(now);
  const auto at = anycast_sessions_.find(anycast);
  if (at == anycast_sessions_.end()) {
    return refuse(sessions_.contains(anycast) ? SessionFault::kWrongKind : SessionFault::kUnknownSession, "publishing to " + destination.shown());
  }
  if (destination.empty() || !config_.direction.sends) {
    return refuse(destination.empty() ? SessionFault::kBadName : SessionFault::kNotSender, "publishing to " + destination.shown());
  }
  if (size_of(content.payload) > kMaxSessionPayloadBytes || content.payload_type.size() > kMaxPayloadTypeBytes) {
    return refuse(SessionFault::kTooLarge, "publishing to " + destination.shown());
  }
  if (auto fits = check_metadata(content.metadata, "publishing to " + destination.shown()); !fits) {
    return std::unexpected(std::move(fits.error()));
  }
  auto published = anycast_.publish(now, {anycast, at->second.first, at->second.second}, destination.service(), std::move(content), operation);
  carry_line_actions(now);
  return published;
}

SessionLayer::Published SessionLayer::answer_anycast(TimeMs now, const AppMessage& message, const SessionConfig& config, Outgoing content,
                                                     OperationId operation) {
  now = steady(now);
  if (!message.anycast || message.source.id().is_null()) {
    return refuse(SessionFault::kWrongKind, "answering " + message.source.shown());
  }
  if (size_of(content.payload) > kMaxSessionPayloadBytes || content.payload_type.size() > kMaxPayloadTypeBytes) {
    return refuse(SessionFault::kTooLarge, "answering " + message.source.shown());
  }
  if (auto fits = check_metadata(content.metadata, "answering " + message.source.shown()); !fits) {
    return std::unexpected(std::move(fits.error()));
  }
  Anycast::Sender sender{.id = message.session_id, .config = {config.reliability}};
  for (const auto& [handle, own] : anycast_sessions_) {
    if (own.first == message.session_id) {
      sender.session = handle;
    }
  }
  auto published = anycast_.answer(now, sender, message, std::move(content), operation);
  carry_line_actions(now);
  return published;
}

SessionLayer::Call SessionLayer::invite(TimeMs now, SessionHandle session, const FullName& name, OperationId operation) {
  return with(now, session, [&](Session& s, TimeMs t) { return settled(s, t, s.invite(t, name, operation)); });
}
SessionLayer::Call SessionLayer::remove(TimeMs now, SessionHandle session, const FullName& name, OperationId operation) {
  return with(now, session, [&](Session& s, TimeMs t) { return settled(s, t, s.remove(t, name, operation)); });
}
SessionLayer::Call SessionLayer::refresh_keys(TimeMs now, SessionHandle session, OperationId operation) {
  return with(now, session, [&](Session& s, TimeMs t) { return settled(s, t, s.refresh_keys(t, operation)); });
}
SessionLayer::Call SessionLayer::go_offline(TimeMs now, SessionHandle session, OperationId operation) {
  return with(now, session, [&](Session& s, TimeMs t) { return s.go_offline(t, operation); });
}
SessionLayer::Call SessionLayer::come_back(TimeMs now, SessionHandle session, OperationId operation) {
  return with(now, session, [&](Session& s, TimeMs t) { return s.come_back(t, operation); });
}

SessionLayer::Call SessionLayer::close(TimeMs now, SessionHandle session, OperationId operation) {
  if (const auto at = anycast_sessions_.find(session); at != anycast_sessions_.end()) {
    now = steady(now);
    anycast_.close(now, at->second.first);
    anycast_sessions_.erase(at);
    carry_line_actions(now);
    if (operation != kNoOperation) {
      actions_.push_back(Resolve{.session = session, .operation = operation});
    }
    actions_.push_back(SessionClosed{session, CloseReason::kByUs});
    return {};
  }
  return with(now, session, [&](Session& s, TimeMs t) { return s.close(t, operation); });
}

}  // namespace slipway
