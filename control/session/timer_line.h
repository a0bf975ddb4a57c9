#pragma once
// Timers of one constant length. Started in the order of their deadlines, they need no heap: a line is enough.
//
// Stopping is lazy. The owner says whether an entry still counts; the line forgets those that do not as they reach its
// front. The time that comes in never goes back.

#include <cstddef>
#include <deque>
#include <optional>

#include "session/session_message.h"

namespace slipway {

template <class Key>
class TimerLine {
 public:
  void start(TimeMs deadline, const Key& key) { line_.push_back({deadline, key}); }

  // live(key, deadline): this entry is the key's running timer.
  template <class Live>
  void trim(Live&& live) {
    while (!line_.empty() && !live(line_.front().key, line_.front().deadline)) {
      line_.pop_front();
    }
  }
  template <class Live>
  std::optional<Key> pop_due(TimeMs now, Live&& live) {
    trim(live);
    if (line_.empty() || line_.front().deadline > now) {
      return std::nullopt;
    }
    Key key = line_.front().key;
    line_.pop_front();
    return key;
  }
  // After trim: the front counts.
  [[nodiscard]] std::optional<TimeMs> next() const {
    return line_.empty() ? std::nullopt : std::optional(line_.front().deadline);
  }
  [[nodiscard]] std::size_t size() const { return line_.size(); }

 private:
  struct Entry {
    TimeMs deadline;
    Key key;
  };
  std::deque<Entry> line_;
};

inline void sooner(std::optional<TimeMs>& best, std::optional<TimeMs> other) {
  if (other && (!best || *other < *best)) {
    best = other;
  }
}

}  // namespace slipway
