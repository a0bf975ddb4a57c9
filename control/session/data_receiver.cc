#include "session/data_receiver.h"

#include <algorithm>
#include <utility>

#include "session/session_bounds.h"

namespace slipway {

// A gap outlives the sender's own tries by this much: as a rule the sender has reported the loss before we give it up.
static constexpr std::uint32_t kMoreTriesThanSender = 2;

DataStream& DataReceiver::stream_of(MemberSlot slot, const FullName& name, bool from_slipway) {
  if (slot >= sources_.size()) {
    sources_.resize(slot + 1);
  }
  auto& stream = sources_[slot].stream;
  if (!stream) {
    const StreamStart start = !facts_.is_group() ? StreamStart::kFromOne
                              : from_slipway     ? StreamStart::kProbe
                                                 : StreamStart::kFirstArrival;
    const TimerSettings timers = facts_.reliability.value_or(facts_.control);
    stream = std::make_unique<DataStream>(start, timers.timeout_ms, timers.max_retries + kMoreTriesThanSender);
    const auto before = std::ranges::find(departed_, name, &Source::name);
    if (from_slipway && before != departed_.end()) {
      stream->remember(*before->stream);
      departed_.erase(before);
    }
  }
  return *stream;
}

void DataReceiver::on_message(TimeMs now, MemberSlot slot, SessionMessage message, std::uint64_t epoch) {
  auto& content = std::get<AppPayload>(message.payload);
  DataStream& stream = stream_of(slot, message.source, message.from_slipway);
  sources_[slot].name = message.source;
  if (message.type == MessageType::kRtxReply && message.error) {
    if (facts_.reliability && message.message_id <= kMaxDataId) {
      stream.on_unavailable(now, message.message_id, effects_);
      carry_out(message.source);
    }
    return;
  }
  const bool directed = message.message_id > kMaxDataId || has_mark(message.metadata, metadata_key::kPublishTo);
  AppMessage incoming{.source = message.source,
                      .destination = message.destination,
                      .message_id = message.message_id,
                      .session_id = message.session_id,
                      .epoch = epoch,
                      .directed = directed,
                      .payload_type = content.payload_type.empty() ? "msg" : std::move(content.payload_type),
                      .metadata = message.metadata,
                      .payload = content.blob};
  if (!facts_.reliability) {
    out_.deliver(std::move(incoming));
    return;
  }
  if (directed) {
    take_directed(stream, message, std::move(incoming));
    return;
  }
  switch (stream.on_message(now, std::move(incoming), effects_)) {
    case DataStream::Verdict::kDuplicate: ++out_.refused().duplicate; [[fallthrough]];
    case DataStream::Verdict::kTaken: acknowledge(message, false); break;
    case DataStream::Verdict::kGivenUp: ++out_.refused().given_up; break;
    case DataStream::Verdict::kNoRoom: ++out_.refused().no_room; break;
  }
  carry_out(message.source);
}

void DataReceiver::take_directed(DataStream& stream, const SessionMessage& message, AppMessage incoming) {
  acknowledge(message, true);
  if (stream.first_time(message.message_id)) {
    out_.deliver(std::move(incoming));
  } else {
    ++out_.refused().duplicate;
  }
}

void DataReceiver::acknowledge(const SessionMessage& message, bool directed) {
  SessionMessage ack = out_.compose(MessageType::kMsgAck, message.message_id, message.source);
  if (directed) {
    ack.metadata.emplace(metadata_key::kPublishTo, metadata_key::kTrue);
  }
  ack.payload = AppPayload{};
  out_.send(std::move(ack));
}

void DataReceiver::carry_out(const FullName& source) {
  delivered_ += effects_.ready.size();
  for (AppMessage& message : effects_.ready) {
    out_.deliver(std::move(message));
  }
  for (const std::uint32_t id : effects_.requests) {
    SessionMessage request = out_.compose(MessageType::kRtxRequest, id, source);
    request.payload = AppPayload{};
    out_.send(std::move(request));
  }
  for (const auto& [first, count] : effects_.lost) {
    out_.lost(source, first, count);
  }
  effects_.ready.clear();
  effects_.requests.clear();
  effects_.lost.clear();
}

void DataReceiver::advance(TimeMs now) {
  for (Source& source : sources_) {
    if (source.stream) {
      source.stream->advance(now, effects_);
      carry_out(source.name);
    }
  }
}

std::optional<TimeMs> DataReceiver::next_deadline() {
  std::optional<TimeMs> best;
  if (!facts_.reliability) {
    return best;  // nothing is waited for
  }
  for (Source& source : sources_) {
    if (source.stream) {
      sooner(best, source.stream->next_deadline());
    }
  }
  return best;
}

void DataReceiver::forget(MemberSlot slot, const FullName& name, bool goes_on_counting) {
  Source gone = slot < sources_.size() ? std::exchange(sources_[slot], {}) : Source{};
  if (!gone.stream) {
    if (goes_on_counting && !last_id_before(name)) {
      keep_departed(name, [](DataStream& memory) { memory.remember(0); });  // others may have heard of it
    }
    return;
  }
  // What waits behind a gap was acknowledged: it is delivered, the gaps are lost.
  const std::uint32_t before = gone.stream->last_id().value_or(0);
  for (std::size_t i = gone.stream->waiting(); i > 0; --i) {
    gone.stream->on_unavailable(0, (before + static_cast<std::uint32_t>(i)) & kMaxDataId, effects_);
  }
  carry_out(gone.name);
  if (!goes_on_counting) {
    return;
  }
  keep_departed(gone.name, [&](DataStream& memory) { memory.remember(*gone.stream); });
}

template <class Fill>
void DataReceiver::keep_departed(const FullName& name, Fill fill) {
  auto memory = std::make_unique<DataStream>(StreamStart::kProbe, 0, 0);
  fill(*memory);
  std::erase_if(departed_, [&](const Source& source) { return source.name == name; });
  departed_.push_back({name, std::move(memory)});
  if (departed_.size() > kMaxSessionMembers) {
    departed_.pop_front();
  }
}

std::optional<std::uint32_t> DataReceiver::last_id_before(const FullName& name) const {
  const auto before = std::ranges::find(departed_, name, &Source::name);
  return before == departed_.end() ? std::nullopt : before->stream->floor();
}

DataReceiver::Departed DataReceiver::departed() const {
  Departed all;
  for (const Source& source : departed_) {
    if (const auto last = source.stream->floor()) {
      all.emplace_back(source.name, *last);
    }
  }
  return all;
}

void DataReceiver::remember(const Departed& departed) {
  for (const auto& [name, last_id] : departed) {
    auto stream = std::make_unique<DataStream>(StreamStart::kProbe, 0, 0);
    stream->remember(last_id);
    departed_.push_back({name, std::move(stream)});
  }
}

void DataReceiver::end() {
  for (MemberSlot slot = 0; slot < sources_.size(); ++slot) {
    if (sources_[slot].stream) {
      forget(slot, sources_[slot].name, true);
    }
  }
  sources_.clear();
}

std::optional<std::uint32_t> DataReceiver::last_id(MemberSlot slot) const {
  return slot < sources_.size() && sources_[slot].stream ? sources_[slot].stream->last_id() : std::nullopt;
}

void DataReceiver::continue_after(MemberSlot slot, const FullName& name, std::uint32_t last_id) {
  stream_of(slot, name, true).continue_after(last_id);
  sources_[slot].name = name;
}

std::size_t DataReceiver::waiting_most() const {
  std::size_t most = 0;
  for (const Source& source : sources_) {
    most = std::max(most, source.stream ? source.stream->waiting() : 0);
  }
  return most;
}

std::size_t DataReceiver::waiting_bytes_most() const {
  std::size_t most = 0;
  for (const Source& source : sources_) {
    most = std::max(most, source.stream ? source.stream->waiting_bytes() : 0);
  }
  return most;
}

}  // namespace slipway
