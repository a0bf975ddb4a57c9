#pragma once
// One source's messages as they arrive, put into their order: what is missing is asked for, what was asked for in vain is
// reported lost, what came before is told from what is new.
//
// Ids count modulo 2^31. A stream begins at id 1 (point to point), at the first arrival (upstream's groups), or at the
// first arrival after asking the sender for what came right before it, until it says that there is nothing for us: without
// this a message whose first copy was lost, sent just before the first that arrived, would be taken for an old one.
//
// Bounds: kReorderWindow ids and kMaxReorderBytes wait. Beyond the window the oldest gaps are given up; what does not fit
// the bytes is refused, unacknowledged, so that its sender tries again.

#include <cstdint>
#include <deque>
#include <optional>
#include <utility>
#include <vector>

#include "session/session_actions.h"
#include "session/timer_line.h"

namespace slipway {

enum class StreamStart : std::uint8_t { kFromOne, kFirstArrival, kProbe };

// What a step of a stream wants done; the lists are the caller's to empty.
struct StreamEffects {
  std::vector<AppMessage> ready;                              // in order
  std::vector<std::uint32_t> requests;                        // ask for these
  std::vector<std::pair<std::uint32_t, std::uint32_t>> lost;  // first id, count
};

class DataStream {
 public:
  enum class Verdict : std::uint8_t {
    kTaken,
    kDuplicate,  // acknowledge again
    kGivenUp,    // reported lost before: do not acknowledge
    kNoRoom,     // do not acknowledge
  };

  // A gap is asked for `tries` times, `interval_ms` apart, and is then lost.
  DataStream(StreamStart start, std::uint32_t interval_ms, std::uint32_t tries)
      : start_(start), interval_ms_(interval_ms), tries_(tries), started_(start == StreamStart::kFromOne) {}

  Verdict on_message(TimeMs now, AppMessage message, StreamEffects& effects);
  // The sender has it no more, or it does not concern us.
  void on_unavailable(TimeMs now, std::uint32_t id, StreamEffects& effects);
  void advance(TimeMs now, StreamEffects& effects);
  [[nodiscard]] std::optional<TimeMs> next_deadline();
  // The source was here before: late copies of what it sent then are told from what is new. It goes on counting when it returns.
  void remember(const DataStream& earlier);
  // The same, of a source of which no more than its last id is known.
  void remember(std::uint32_t last_id) { floor_ = last_id; }
  // A stream of a restored session goes on behind this id.
  void continue_after(std::uint32_t last_id) { started_ = true, last_ = last_id; }

  // Directed messages have random ids: true the first time.
  bool first_time(std::uint32_t directed_id);

  [[nodiscard]] std::optional<std::uint32_t> last_id() const { return started_ ? std::optional(last_) : std::nullopt; }
  [[nodiscard]] std::optional<std::uint32_t> floor() const { return floor_; }
  [[nodiscard]] std::size_t waiting() const { return line_.size(); }
  [[nodiscard]] std::size_t waiting_bytes() const { return bytes_; }

 private:
  struct Place {
    std::optional<AppMessage> message;
    bool lost = false;
    bool answered = false;           // lost, as its sender says
    bool probe = false;              // asked for only to find out where the stream begins
    std::uint32_t tries_left = 0;
    TimeMs deadline = 0;
  };

  [[nodiscard]] std::uint32_t id_at(std::size_t index) const;
  [[nodiscard]] bool is_gap(std::uint32_t id, TimeMs deadline) const;
  [[nodiscard]] bool was_given_up(std::uint32_t id) const;
  [[nodiscard]] bool may_probe_before(std::uint32_t id) const;
  void begin(TimeMs now, std::uint32_t id, StreamEffects& effects);
  void open_gap(TimeMs now, Place& place, std::uint32_t id, StreamEffects& effects);
  void extend_front(TimeMs now, std::uint32_t id, StreamEffects& effects);
  void end_probe(const Place& front);
  void skip_to(std::uint32_t last, StreamEffects& effects);
  void release(TimeMs now, StreamEffects& effects);
  void report_lost(std::uint32_t id, std::uint32_t count, StreamEffects& effects);

  StreamStart start_;
  std::uint32_t interval_ms_;
  std::uint32_t tries_;
  bool started_;
  bool probing_ = false;             // the front of the line is a probe
  std::uint32_t probes_ = 0;
  std::uint32_t last_ = 0;           // everything up to here is delivered or lost
  std::deque<Place> line_;           // ids last_ + 1 and on; the last place is filled
  std::size_t bytes_ = 0;
  TimerLine<std::uint32_t> timers_;
  std::deque<std::pair<std::uint32_t, std::uint32_t>> given_up_;  // first id, count
  std::deque<std::uint32_t> directed_;
  std::optional<std::uint32_t> floor_;    // the last id of an earlier membership
  std::optional<std::uint32_t> unheard_;  // up to here nobody said what was for us
};

}  // namespace slipway
