// Slow receivers: high and low water, paused senders, stalls; and the deadlines of streams.

#include <algorithm>

#include <sys/ioctl.h>
#include <linux/sockios.h>

#include "port/socket_engine_impl.h"

namespace slipway {
namespace {
constexpr std::uint64_t kNsPerMs = 1'000'000;
// The budget counts as free again when this much of it is: else senders would start and stop for every frame.
constexpr std::size_t kBudgetFreeBytes = 256u << 10;
// How much of the time between two looks counts against a receiver: of a longer one this thread did not run for most,
// and neither, on a machine that busy, did others.
constexpr std::uint64_t kMostWatchedNs = 2 * kTickNs;
}  // namespace

void SocketEngine::Impl::pause(LinkIndex from, LinkIndex receiver) {
  Stream& stream = streams_[from];
  if (stream.life == StreamLife::kOpen && from != kNoLink) {
    pause_stream(stream, receiver);
  }
}

void SocketEngine::Impl::pause_stream(Stream& stream, LinkIndex blocker) {
  blockers_[stream.link].set(blocker);
  if (stream.paused) {
    return;
  }
  stop_for_a_while(stream);
  // A receiver that was relieved between the caller's look and now must not be waited for for ever.
  if (blocker != kNoLink && !congestion_.congested(blocker)) {
    cleared_seen_ = ~std::uint64_t{0};
  }
}

void SocketEngine::Impl::stop_for_a_while(Stream& stream) {
  stream.paused = true;
  waiting_.push(streams_.data(), stream.link);
  counters_.pauses.add(1);
  link_counters_[stream.link].pauses.add(1);
  stop_receiving(stream);
}

// Its next frame is for the control thread, and must wait: so must all behind it, lest the order change.
void SocketEngine::Impl::wait_for_control(Stream& stream) {
  hold_received(stream);
  stream.control_waits = true;
  if (!stream.paused) {
    stop_for_a_while(stream);
  }
}

void SocketEngine::Impl::hold_control(bool on) {
  if (hold_control_ && !on) {
    cleared_seen_ = ~std::uint64_t{0};  // the next poll looks at who waits
  }
  hold_control_ = on;
}

// Looks at all paused streams: called when some receiver of the node was relieved, and at ticks for the budget.
void SocketEngine::Impl::resume_streams() {
  cleared_seen_ = congestion_.cleared();
  const bool budget_free = budget_.has(kBudgetFreeBytes);
  LinkIndex at = waiting_.front();
  while (at != kNoLink) {
    Stream& stream = streams_[at];
    at = StreamList<&Stream::waiting>::after(stream);
    const bool none = blockers_[stream.link].clear_if(
        [&](LinkIndex link) { return link == kNoLink ? budget_free : !congestion_.congested(link); });
    stream.control_waits = stream.control_waits && holds_control(stream);
    if (stream.control_waits) {
      continue;
    }
    if (budget_free || none) {
      unhold_received(stream);
    }
    if (none) {
      stream.paused = false;
      waiting_.remove(streams_.data(), stream.link);
      want_read(stream);
    }
  }
}

// What the peer took: what the kernel took less what it still holds. Sends end only when a large part of the socket's
// buffer is free again, so that without this a slow peer would look like one that hangs.
std::int64_t SocketEngine::Impl::peer_progress(const Stream& stream) {
  int unsent = 0;
  counters_.syscalls.add(1);
  if (ioctl(stream.fd, SIOCOUTQ, &unsent) != 0) {
    unsent = 0;
  }
  return static_cast<std::int64_t>(stream.sent_total) - unsent;
}

void SocketEngine::Impl::press(Stream& stream) {
  stream.congested = true;
  stream.progress = peer_progress(stream);
  stream.progress_ns = watched_ns_;
  stream.window_progress = stream.progress;
  stream.window_ns = watched_ns_;
  congestion_.set(stream.link, congestion_flag::kCongested);
  pressed_.push(streams_.data(), stream.link);
}

void SocketEngine::Impl::relieve(Stream& stream) {
  if (!stream.congested) {
    return;
  }
  if (stream.stalled) {
    stream.stalled = false;
    const LinkStalled record{.link = stream.link, .generation = stream.generation, .queued_bytes = stream.queued_bytes};
    (void)post_event(Event::kUnstalled, std::as_bytes(std::span(&record, 1)), {}, false);
  }
  stream.congested = false;
  congestion_.set(stream.link, 0);
  uncongested_ = true;
  pressed_.remove(streams_.data(), stream.link);
}

// The receiver takes nothing: its senders go on, its newest frames are dropped from here on.
void SocketEngine::Impl::stall(Stream& stream, std::uint64_t now_ns) {
  stream.stalled = true;
  stream.stalled_ns = now_ns;
  congestion_.set(stream.link, congestion_flag::kStalled);
  uncongested_ = true;
  const LinkStalled record{.link = stream.link, .generation = stream.generation, .queued_bytes = stream.queued_bytes};
  (void)post_event(Event::kStalled, std::as_bytes(std::span(&record, 1)), {}, false);
}

void SocketEngine::Impl::check_pressed(std::uint64_t now_ns) {
  LinkIndex at = pressed_.front();
  while (at != kNoLink) {
    Stream& stream = streams_[at];
    at = StreamList<&Stream::pressed>::after(stream);
    if (stream.stalled) {
      if (now_ns - stream.stalled_ns >= kStallDisconnectMs * kNsPerMs) {
        stream.drop_reason = DropReason::kReceiverStalled;
        shut(stream, CloseReason::kStalled, 0);
      }
      continue;
    }
    if (stream.overflow == OverflowPolicy::kPause) {
      continue;
    }
    // A peer that we have offered nothing has not refused it.
    const std::int64_t progress = peer_progress(stream);
    if (progress > stream.progress || !stream.send_busy) {
      stream.progress = progress;
      stream.progress_ns = watched_ns_;
    }
    if (watched_ns_ - stream.progress_ns >= kStallNoByteMs * kNsPerMs) {
      stall(stream, now_ns);
    } else if (watched_ns_ - stream.window_ns >= kStallWindowMs * kNsPerMs) {
      if (stream.progress - stream.window_progress < static_cast<std::int64_t>(kStallWindowBytes)) {
        stall(stream, now_ns);
      }
      stream.window_progress = stream.progress;
      stream.window_ns = watched_ns_;
    }
  }
}

bool SocketEngine::Impl::has_deadlines() const {
  return !partials_.empty() || !pressed_.empty() || !waiting_.empty() || !leaving_.empty() || joined_bytes_ > 0 ||
         datagrams_failed_ || owed_datagram_releases_;
}

void SocketEngine::Impl::tick(std::uint64_t now_ns) {
  next_tick_ns_ = now_ns + kTickNs;
  watched_ns_ += std::min(now_ns - ticked_ns_, kMostWatchedNs);
  ticked_ns_ = now_ns;
  while (!partials_.empty()) {
    Stream& stream = streams_[partials_.front()];
    if (now_ns - stream.partial_since_ns < kPartialDeadlineMs * kNsPerMs) {
      break;
    }
    if (stream.paused && (!stream.held || stream.control_waits)) {
      // We do not read it because of a slow receiver, or are slow ourselves: that is not its sender's fault.
      stream.partial_since_ns = now_ns;
      partials_.remove(streams_.data(), stream.link);
      partials_.push(streams_.data(), stream.link);
      continue;
    }
    count_broken_frame(stream, DropReason::kPartialTimeout);
    shut(stream, CloseReason::kPartialTimeout, 0);
  }
  if (!pressed_.empty()) {
    check_pressed(now_ns);
  }
  if (!waiting_.empty()) {
    resume_streams();
  }
  if (!leaving_.empty()) {
    check_leaving(now_ns);
  }
  if (joined_bytes_ > 0) {
    joiner_->expire(now_ns / kNsPerMs, counters_, link_counters_);
    join_accounting();
  }
  if (datagrams_failed_) {
    datagrams_failed_ = false;
    datagrams_unarmed_ = true;
  }
  if (owed_datagram_releases_) {
    post_owed_datagrams();
  }
  if (!edge_streams_.empty() && now_ns >= next_edge_tick_ns_) {
    tick_edges(now_ns);
  }
}

}  // namespace slipway
