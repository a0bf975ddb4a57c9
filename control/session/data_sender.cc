#include "session/data_sender.h"

#include <algorithm>

#include "session/session_bounds.h"

namespace slipway {

namespace {
std::size_t bytes_of(const Outgoing& content) { return size_of(content.payload); }
}  // namespace

// --- receivers -----------------------------------------------------------------------------------------------

void DataSender::add_receiver(TimeMs now, MemberSlot slot, const FullName& name, bool fresh) {
  if (slot >= receivers_.size()) {
    receivers_.resize(slot + 1);
  }
  remove_receiver(slot);
  Receiver& receiver = receivers_[slot];
  ++receiver_count_;
  receiver = {.name = name, .present = true, .online = true, .acked_at = now, .heard_at = now};
  std::uint32_t next = (last_id_ + 1) & kMaxDataId;
  for (const Kept& kept : ring_) {
    if (!kept.sent) {  // waited for somebody to send it to
      next = kept.id;
      break;
    }
  }
  receiver.first_id = fresh ? next : 0;
  send_unsent(now);
}

void DataSender::set_online(TimeMs now, MemberSlot slot, bool online) {
  if (slot >= receivers_.size() || !receivers_[slot].present || receivers_[slot].online == online) {
    return;
  }
  receivers_[slot].online = online;
  receivers_[slot].acked_at = now;
  if (!online) {
    lose_everywhere(slot, LossReason::kOffline);
  }
}

void DataSender::remove_receiver(MemberSlot slot) {
  if (slot < receivers_.size() && receivers_[slot].present) {
    lose_everywhere(slot, LossReason::kLeft);
    receivers_[slot] = {};
    --receiver_count_;
  }
}

void DataSender::heard_from(TimeMs now, MemberSlot slot) {
  if (slot < receivers_.size()) {
    receivers_[slot].heard_at = now;
  }
}

// --- publishing ----------------------------------------------------------------------------------------------

std::expected<std::uint32_t, SessionError> DataSender::publish(TimeMs now, Outgoing content, OperationId operation) {
  if (!reliable()) {
    const auto id = number();
    if (!id) {
      return std::unexpected(SessionError{SessionFault::kNotReady, "publishing"});
    }
    Kept kept{.id = *id, .operation = operation, .content = std::move(content)};
    out_.send_data(compose(kept, MessageType::kMsg, destination_), true);
    out_.resolve(operation, std::nullopt, kept.id);
    return kept.id;
  }
  if (!make_room(now, bytes_of(content))) {
    return std::unexpected(SessionError{SessionFault::kWindowFull, "publishing"});
  }
  last_id_ = (last_id_ + 1) & kMaxDataId;
  const std::uint32_t id = last_id_;
  bytes_ += bytes_of(content);
  ++open_;
  ring_.push_back({.id = id, .operation = operation, .content = std::move(content)});
  if (receiver_count_ > 0 && !destination_.empty()) {
    first_copy(now, ring_.back());
  }
  return id;
}

void DataSender::continue_after(std::uint32_t last_id) {
  last_id_ = last_id;
  for (Kept& kept : ring_) {
    kept.id = last_id_ = (last_id_ + 1) & kMaxDataId;
  }
}

std::optional<std::uint32_t> DataSender::number() {
  if (reliable() || destination_.empty() || receiver_count_ == 0) {
    return std::nullopt;
  }
  out_.note_data_to_all();
  return last_id_ = (last_id_ + 1) & kMaxDataId;
}

std::expected<std::uint32_t, SessionError> DataSender::publish_to(TimeMs now, MemberSlot slot, Outgoing content,
                                                                  OperationId operation) {
  if (slot >= receivers_.size() || !receivers_[slot].present) {
    return std::unexpected(SessionError{SessionFault::kNotMember, "publishing to one member"});
  }
  if (reliable() && (directed_.size() >= kMaxDirected || bytes_ + bytes_of(content) > kMaxSendBytes)) {
    return std::unexpected(SessionError{SessionFault::kWindowFull, "publishing to " + receivers_[slot].name.shown()});
  }
  content.metadata.insert_or_assign(std::string(metadata_key::kPublishTo), std::string(metadata_key::kTrue));
  Kept kept{.operation = operation, .content = std::move(content), .sent = true};
  do {
    kept.id = random_.next() | (kMaxDataId + 1);
  } while (kept.id == ~std::uint32_t{0} || find(kept.id) != nullptr);
  out_.send_data(compose(kept, MessageType::kMsg, receivers_[slot].name), false);
  const std::uint32_t id = kept.id;
  if (!reliable()) {
    out_.resolve(operation, std::nullopt, id);
    return id;
  }
  bytes_ += bytes_of(kept.content);
  ++open_;
  kept.sent_at = now;
  kept.tries_left = facts_.reliability->max_retries;
  Kept& stored = directed_.emplace_back(std::move(kept));
  if (!receivers_[slot].online) {
    stored.undelivered.push_back({receivers_[slot].name, LossReason::kOffline});
    resolve(stored);
    trim();
    return id;
  }
  owe(now, stored, slot);
  start_timer(now, stored);
  return id;
}

// Room for one more: acknowledged messages are kept only while there is room, stalled members are given up.
bool DataSender::make_room(TimeMs now, std::size_t bytes) {
  while (ring_.size() >= kSendWindow || bytes_ + bytes > kMaxSendBytes) {
    if (ring_.empty()) {
      return false;  // directed messages hold the bytes
    }
    Kept& oldest = ring_.front();
    if (oldest.open && (!oldest.sent || !give_up_on_stalled(now, oldest))) {
      return false;
    }
    bytes_ -= bytes_of(oldest.content);
    ring_.pop_front();
  }
  trim();
  return true;
}

bool DataSender::give_up_on_stalled(TimeMs now, Kept& kept) {
  if (!network_ || hasty(now)) {
    return false;
  }
  const TimeMs patience = TimeMs{kStalledIntervals} * facts_.reliability->timeout_ms;
  bool all_stalled = true;
  std::vector<MemberSlot> missing;
  kept.missing.for_each([&](MemberSlot slot) {
    const Receiver& receiver = receivers_[slot];
    all_stalled = all_stalled && now - std::max(receiver.acked_at, receiver.owes_since) >= patience;
    missing.push_back(slot);
  });
  if (!all_stalled) {
    return false;
  }
  for (const MemberSlot slot : missing) {
    lose(kept, slot, LossReason::kStalled);
  }
  return true;
}

void DataSender::first_copy(TimeMs now, Kept& kept) {
  kept.sent = true;
  kept.sent_at = now;
  kept.tries_left = facts_.reliability->max_retries;
  for (MemberSlot slot = 0; slot < receivers_.size(); ++slot) {
    const Receiver& receiver = receivers_[slot];
    if (receiver.present && receiver.online) {
      owe(now, kept, slot);
    } else if (receiver.present) {
      kept.undelivered.push_back({receiver.name, LossReason::kOffline});
    }
  }
  // Goes out even if all are offline: whoever is there after all learns what it misses.
  out_.send_data(compose(kept, MessageType::kMsg, destination_), true);
  if (kept.missing.empty()) {
    resolve(kept);
    return;
  }
  start_timer(now, kept);
}

void DataSender::send_unsent(TimeMs now) {
  if (destination_.empty()) {
    return;
  }
  for (Kept& kept : ring_) {
    if (!kept.sent) {
      first_copy(now, kept);
    }
  }
}

SessionMessage DataSender::compose(const Kept& kept, MessageType type, const FullName& to) const {
  SessionMessage message = out_.compose(type, kept.id, to);
  const bool to_channel = facts_.is_group() && to == destination_;
  message.fanout = to_channel ? kAllReceivers : kOneReceiver;
  message.metadata = kept.content.metadata;
  message.payload = AppPayload{kept.content.payload_type, kept.content.payload};
  return message;
}

// --- acknowledgements ----------------------------------------------------------------------------------------

DataSender::Kept* DataSender::find(std::uint32_t id) {
  if (id > kMaxDataId) {
    const auto at = std::ranges::find(directed_, id, &Kept::id);
    return at == directed_.end() ? nullptr : &*at;
  }
  if (ring_.empty()) {
    return nullptr;
  }
  const std::uint32_t index = (id - ring_.front().id) & kMaxDataId;
  return index < ring_.size() ? &ring_[index] : nullptr;
}

void DataSender::owe(TimeMs now, Kept& kept, MemberSlot slot) {
  Receiver& receiver = receivers_[slot];
  if (receiver.owes++ == 0) {
    receiver.owes_since = now;
  }
  kept.missing.insert(slot);
}

void DataSender::settle(Kept& kept, MemberSlot slot) {
  if (kept.missing.erase(slot)) {
    --receivers_[slot].owes;
    if (kept.missing.empty() && kept.open) {
      resolve(kept);
    }
  }
}

void DataSender::on_ack(TimeMs now, MemberSlot from, std::uint32_t id) {
  Kept* kept = find(id);
  if (kept == nullptr || !kept->open || !kept->missing.contains(from)) {
    ++out_.refused().unexpected_answer;
    return;
  }
  receivers_[from].acked_at = now;
  settle(*kept, from);
  trim();
}

void DataSender::on_rtx_request(MemberSlot from, const FullName& source, std::uint32_t id) {
  if (!reliable() || id > kMaxDataId) {
    ++out_.refused().wrong_kind;
    return;
  }
  const Kept* kept = find(id);
  // Not for a member's eyes what was sent before it came.
  const bool known = from < receivers_.size() && receivers_[from].present;
  const bool entitled = known && (receivers_[from].first_id == 0 || ((id - receivers_[from].first_id) & kMaxDataId) <= kMaxDataId / 2);
  if (kept == nullptr || !kept->sent || !entitled) {
    SessionMessage lost = out_.compose(MessageType::kRtxReply, id, source);
    lost.error = true;
    lost.payload = AppPayload{};
    out_.send_data(std::move(lost), false);
    return;
  }
  out_.send_data(compose(*kept, MessageType::kRtxReply, source), false);
}

void DataSender::lose(Kept& kept, MemberSlot slot, LossReason reason) {
  if (kept.missing.contains(slot)) {
    kept.undelivered.push_back({receivers_[slot].name, reason});
    settle(kept, slot);
  }
}

void DataSender::lose_everywhere(MemberSlot slot, LossReason reason) {
  for (Kept& kept : ring_) {
    lose(kept, slot, reason);
  }
  for (Kept& kept : directed_) {
    lose(kept, slot, reason);
  }
  trim();
}

void DataSender::resolve(Kept& kept, std::optional<SessionError> error) {
  kept.open = false;
  --open_;
  out_.resolve(kept.operation, std::move(error), kept.id, std::move(kept.undelivered));
  kept.undelivered.clear();
}

// --- time ----------------------------------------------------------------------------------------------------

bool DataSender::is_running(std::uint32_t id, TimeMs deadline) {
  const Kept* kept = find(id);
  return kept != nullptr && kept->open && kept->sent && kept->deadline == deadline;
}

// Forgets what is resolved: timers at the front of their line, and directed messages, which nobody may ask for again.
void DataSender::trim() {
  std::erase_if(directed_, [this](const Kept& kept) {
    if (!kept.open) {
      bytes_ -= bytes_of(kept.content);
    }
    return !kept.open;
  });
  timers_.trim([this](std::uint32_t id, TimeMs deadline) { return is_running(id, deadline); });
}

void DataSender::start_timer(TimeMs now, Kept& kept) {
  kept.deadline = now + (hasty(now) ? std::min(facts_.reliability->timeout_ms, kHastyIntervalMs) : facts_.reliability->timeout_ms);
  timers_.start(kept.deadline, kept.id);
}

void DataSender::on_network(TimeMs now, bool there) {
  if (!reliable()) {
    return;
  }
  network_ = there;
  if (!there) {
    return;
  }
  hasty_until_ = now + kHasteMs;
  for (Receiver& receiver : receivers_) {
    receiver.acked_at = now;
  }
  timers_ = {};
  for (Kept& kept : ring_) {
    if (kept.open && kept.sent) {
      start_timer(now, kept);
    }
  }
  for (Kept& kept : directed_) {
    if (kept.open) {
      start_timer(now, kept);
    }
  }
}

void DataSender::advance(TimeMs now) {
  const auto live = [this](std::uint32_t id, TimeMs deadline) { return is_running(id, deadline); };
  while (const auto id = timers_.pop_due(now, live)) {
    retransmit(now, *find(*id));
  }
  trim();
}

void DataSender::retransmit(TimeMs now, Kept& kept) {
  std::vector<MemberSlot> missing;
  kept.missing.for_each([&](MemberSlot slot) { missing.push_back(slot); });
  if (kept.tries_left == 0 && !hasty(now)) {
    for (const MemberSlot slot : missing) {
      if (receivers_[slot].heard_at <= kept.sent_at) {
        unreachable_.push_back(slot);
      }
      lose(kept, slot, LossReason::kNoAck);
    }
    return;
  }
  kept.tries_left -= hasty(now) ? 0 : 1;
  for (const MemberSlot slot : missing) {
    out_.send_data(compose(kept, MessageType::kMsg, receivers_[slot].name), false);
  }
  start_timer(now, kept);
}

void DataSender::drop_unsent(SessionFault fault) {
  while (!ring_.empty() && !ring_.back().sent) {  // only the newest can be unsent
    resolve(ring_.back(), SessionError{fault, "publishing"});
    bytes_ -= bytes_of(ring_.back().content);
    ring_.pop_back();
  }
}

void DataSender::close(SessionFault fault) {
  drop_unsent(fault);
  for (MemberSlot slot = 0; slot < receivers_.size(); ++slot) {
    lose_everywhere(slot, LossReason::kLeft);
  }
  ring_.clear();
  bytes_ = 0;
  trim();
}

}  // namespace slipway
