#include "session/data_stream.h"

#include <algorithm>

#include "session/session_bounds.h"

namespace slipway {

namespace {
constexpr std::uint32_t kHalf = 1u << 30;
std::uint32_t distance(std::uint32_t from, std::uint32_t to) { return (to - from) & kMaxDataId; }
bool at_or_before(std::uint32_t id, std::optional<std::uint32_t> mark) { return mark && (id == *mark || distance(*mark, id) > kHalf); }
}  // namespace

std::uint32_t DataStream::id_at(std::size_t index) const {
  return (last_ + 1 + static_cast<std::uint32_t>(index)) & kMaxDataId;
}

bool DataStream::was_given_up(std::uint32_t id) const {
  return std::ranges::any_of(given_up_, [id](const auto& range) { return distance(range.first, id) < range.second; });
}

void DataStream::report_lost(std::uint32_t id, std::uint32_t count, StreamEffects& effects) {
  if (!effects.lost.empty() && distance(effects.lost.back().first, id) == effects.lost.back().second) {
    effects.lost.back().second += count;
  } else {
    effects.lost.emplace_back(id, count);
  }
  if (!given_up_.empty() && distance(given_up_.back().first, id) == given_up_.back().second) {
    given_up_.back().second += count;
    return;
  }
  given_up_.emplace_back(id, count);
  if (given_up_.size() > kLostRangesKept) {
    given_up_.pop_front();
  }
}

void DataStream::open_gap(TimeMs now, Place& place, std::uint32_t id, StreamEffects& effects) {
  place.tries_left = tries_;
  place.deadline = now + interval_ms_;
  timers_.start(place.deadline, id);
  effects.requests.push_back(id);
}

void DataStream::remember(const DataStream& earlier) {
  floor_ = earlier.started_ ? std::optional(earlier.last_) : earlier.floor_;
  directed_ = earlier.directed_;
}

bool DataStream::may_probe_before(std::uint32_t id) const { return id > 1 && probes_ < kMaxProbes && floor_ != id - 1; }

void DataStream::begin(TimeMs now, std::uint32_t id, StreamEffects& effects) {
  started_ = true;
  last_ = (id - 1) & kMaxDataId;
  if (start_ == StreamStart::kProbe && may_probe_before(id)) {
    probing_ = true;
    last_ = id - 2;
    line_.push_front({.probe = true});
    probes_ = 1;
    open_gap(now, line_.front(), id - 1, effects);
  }
}

// While the beginning is not known: the sender repeated something older, so that it does concern us.
void DataStream::extend_front(TimeMs now, std::uint32_t id, StreamEffects& effects) {
  line_.front().probe = false;
  while (last_ != ((id - 1) & kMaxDataId)) {
    line_.push_front({});
    last_ = (last_ - 1) & kMaxDataId;
    ++probes_;
    if (last_ != ((id - 1) & kMaxDataId)) {  // the last of them is what came
      open_gap(now, line_.front(), (last_ + 1) & kMaxDataId, effects);
    }
  }
  if (may_probe_before(id)) {
    line_.push_front({.probe = true});
    last_ = (last_ - 1) & kMaxDataId;
    ++probes_;
    open_gap(now, line_.front(), (last_ + 1) & kMaxDataId, effects);
  } else {
    probing_ = false;
  }
}

// Gives up the gaps up to and including `last`; what arrived between them is ready.
void DataStream::skip_to(std::uint32_t last, StreamEffects& effects) {
  while (last_ != last) {
    if (line_.empty()) {
      report_lost((last_ + 1) & kMaxDataId, distance(last_, last), effects);
      last_ = last;
      return;
    }
    Place& front = line_.front();
    last_ = (last_ + 1) & kMaxDataId;
    if (front.message) {
      bytes_ -= size_of(front.message->payload);
      effects.ready.push_back(std::move(*front.message));
    } else if (!front.lost && !front.probe) {
      report_lost(last_, 1, effects);
    }
    end_probe(front);
    line_.pop_front();
  }
}

// The front is about to go. A probe that was answered says that nothing before it is for us; of one that was not, and of
// all before it, nothing is known: what comes of it later was neither delivered before nor can be now.
void DataStream::end_probe(const Place& front) {
  if (front.probe && !front.message && !front.answered) {
    unheard_ = last_;
  }
  probing_ = probing_ && !front.probe;
}

DataStream::Verdict DataStream::on_message(TimeMs now, AppMessage message, StreamEffects& effects) {
  const std::uint32_t id = message.message_id;
  if (!started_ && at_or_before(id, floor_)) {
    return Verdict::kDuplicate;
  }
  if (!started_) {
    begin(now, id, effects);
  }
  std::uint32_t ahead = distance(last_, id);
  if (ahead == 0 || ahead > kHalf) {
    const std::uint32_t behind = distance(id, last_) + 1;
    const bool before_floor = at_or_before(id, floor_);
    if (!probing_ || before_floor || probes_ + behind > kMaxProbes) {
      const bool never_heard = !before_floor && (probing_ || at_or_before(id, unheard_));
      return was_given_up(id) || never_heard ? Verdict::kGivenUp : Verdict::kDuplicate;
    }
    extend_front(now, id, effects);
    ahead = distance(last_, id);
  }
  if (ahead > kReorderWindow) {
    skip_to((id - kReorderWindow) & kMaxDataId, effects);
    ahead = kReorderWindow;
  }
  const std::size_t size = size_of(message.payload);
  if (ahead > 1 && bytes_ + size > kMaxReorderBytes) {
    release(now, effects);
    return Verdict::kNoRoom;
  }
  while (line_.size() < ahead) {
    Place& place = line_.emplace_back();
    if (line_.size() < ahead) {
      open_gap(now, place, id_at(line_.size() - 1), effects);
    }
  }
  Place& place = line_[ahead - 1];
  if (place.message) {
    return Verdict::kDuplicate;
  }
  bytes_ += size;
  place.message = std::move(message);
  place.lost = false;
  release(now, effects);
  return Verdict::kTaken;
}

void DataStream::release(TimeMs now, StreamEffects& effects) {
  while (!line_.empty()) {
    Place& front = line_.front();
    if (!front.message && !front.lost) {
      break;
    }
    if (front.probe && front.message) {  // it was for us: so may be the one before
      front.probe = false;
      const std::uint32_t id = id_at(0);
      if (may_probe_before(id)) {
        line_.push_front({.probe = true});
        last_ = (last_ - 1) & kMaxDataId;
        ++probes_;
        open_gap(now, line_.front(), id - 1, effects);
        return;
      }
      probing_ = false;
    }
    last_ = (last_ + 1) & kMaxDataId;
    if (front.message) {
      bytes_ -= size_of(front.message->payload);
      effects.ready.push_back(std::move(*front.message));
    } else if (!front.probe) {
      report_lost(last_, 1, effects);
    }
    end_probe(front);
    line_.pop_front();
  }
}

void DataStream::on_unavailable(TimeMs now, std::uint32_t id, StreamEffects& effects) {
  const std::uint32_t ahead = distance(last_, id);
  if (!started_ || ahead == 0 || ahead > line_.size() || line_[ahead - 1].message) {
    return;
  }
  line_[ahead - 1].lost = line_[ahead - 1].answered = true;
  release(now, effects);
}

bool DataStream::is_gap(std::uint32_t id, TimeMs deadline) const {
  const std::uint32_t ahead = distance(last_, id);
  if (ahead == 0 || ahead > line_.size()) {
    return false;
  }
  const Place& place = line_[ahead - 1];
  return !place.message && !place.lost && place.deadline == deadline;
}

void DataStream::advance(TimeMs now, StreamEffects& effects) {
  const auto live = [this](std::uint32_t id, TimeMs deadline) { return is_gap(id, deadline); };
  while (const auto id = timers_.pop_due(now, live)) {
    Place& place = line_[distance(last_, *id) - 1];
    if (place.tries_left == 0) {
      place.lost = true;
      release(now, effects);
      continue;
    }
    --place.tries_left;
    place.deadline = now + interval_ms_;
    timers_.start(place.deadline, *id);
    effects.requests.push_back(*id);
  }
}

std::optional<TimeMs> DataStream::next_deadline() {
  timers_.trim([this](std::uint32_t id, TimeMs deadline) { return is_gap(id, deadline); });
  return timers_.next();
}

bool DataStream::first_time(std::uint32_t directed_id) {
  if (std::ranges::find(directed_, directed_id) != directed_.end()) {
    return false;
  }
  directed_.push_back(directed_id);
  if (directed_.size() > kDirectedIdsKept) {
    directed_.pop_front();
  }
  return true;
}

}  // namespace slipway
