// The stages of a burst. Each is a loop over all its frames and calls no other stage.
#include "worker/forward_datapath.h"

#include <rte_prefetch.h>

#include "frame/frame.h"
#include "worker/fanout_datapath.h"
#include "worker/punt_datapath.h"
#include "worker/send_datapath.h"
#include "worker/watch.h"

namespace slipway {
namespace {

// The publishes of a burst, in order of arrival.
struct Publishes {
  std::uint32_t count = 0;
  std::array<rte_mbuf*, kMaxBurst> frame;
  std::array<const std::byte*, kMaxBurst> destination;
  std::array<LinkIndex, kMaxBurst> in_link;
  std::array<RouteMatch, kMaxBurst> match;
  std::array<LinkIndex, kMaxBurst> to;   // kNoLink: nobody
  std::array<bool, kMaxBurst> all;       // every receiver
};

// Whether a header is that of a publish in order, with hops left, by three loads. What it refuses is looked at again
// by check_frame, which names the fault.
inline bool plain_publish(const std::byte* f, std::uint32_t first_bytes) {
  constexpr std::uint32_t kVersionAndKind = kFrameVersion | static_cast<std::uint32_t>(FrameKind::kPublish) << 8;
  // Bytes 96 to 103: message type, spare, flags, spare.
  constexpr std::uint64_t kMustBeZero = 0xFFFFFFFF'0000FF00u | std::uint64_t{0xFFFF & ~frame_flag::kKnown} << 16;
  constexpr std::uint64_t kBothErrors = std::uint64_t{frame_flag::kErrorFalse | frame_flag::kErrorTrue} << 16;
  if (first_bytes < kFrameHeaderBytes) {
    return false;
  }
  const auto begin = load_le<std::uint32_t>(f);
  const auto end = load_le<std::uint64_t>(f + frame_offset::kSessionMessageType);
  return (begin & 0xFFFF) == kVersionAndKind && (begin >> 16 & 0xFF) > 1 && (end & kMustBeZero) == 0 &&
         (end & kBothErrors) != kBothErrors;
}

// Check, link state, hop limit, kind. cost: expected 3 ns a frame when its first line is in the cache.
void take_publishes(WorkerCore& w, std::span<rte_mbuf* const> frames, Publishes& p) {
  p.count = 0;
  for (rte_mbuf* m : frames) {
    std::byte* f = data_of(m);
    const LinkIndex in_link = frame_meta(m).in_link;
    const LinkState state = w.links[in_link].state;
    // A link that is closing is still read to its end; nothing is sent to it.
    if (!plain_publish(f, rte_pktmbuf_data_len(m)) || (state != LinkState::kUp && state != LinkState::kClosing)) [[unlikely]] {
      punt_or_drop(w, m);
      continue;
    }
    set_frame_hop_limit(f, static_cast<std::uint8_t>(frame_hop_limit(f) - 1));
    const std::uint32_t i = p.count++;
    p.frame[i] = m;
    p.destination[i] = f + frame_offset::kDestination;
    p.in_link[i] = in_link;
  }
}

inline const AnycastRules& rules_for(const WorkerCore& w, LinkIndex in_link) {
  return w.links[in_link].link_class == LinkClass::kPeer ? w.rules_from_peer : w.rules;
}

// One receiver or all. cost: expected 2 ns a frame for a single link, 4 for a group (its line was prefetched).
void choose(WorkerCore& w, Publishes& p) {
  for (std::uint32_t i = 0; i < p.count; ++i) {
    const bool one = load_le<std::uint32_t>(p.destination[i] - frame_offset::kDestination + frame_offset::kFanout) == 1;
    p.all[i] = !one;
    p.to[i] = one && p.match[i].found() ? w.table->choose_one(p.match[i], p.in_link[i], rules_for(w, p.in_link[i])) : kNoLink;
    rte_prefetch0(&w.records[p.to[i]]);
  }
}

void send_one(WorkerCore& w, rte_mbuf* m, LinkIndex in_link, RouteMatch match, LinkIndex to) {
  if (to == kNoLink) {
    drop_unmatched(w, in_link, match.found() ? DropReason::kOnlyIngress : DropReason::kNoRoute, m);
    return;
  }
  if (w.links[to].max_frame_bytes < rte_pktmbuf_pkt_len(m) && w.links[to].state == LinkState::kUp) [[unlikely]] {
    drop_unmatched(w, in_link, DropReason::kTooBigForLink, m);
    return;
  }
  w.counters.forwarded.add(1);
  w.counters.copies_made.add(1);
  w.last_chosen = to;
  if (w.rules.load != nullptr) {
    ++w.load[to];
  }
  send_copy(w, to, m);
}

// In order of arrival, so that a flow whose earlier frame waits in the queue of fan-outs follows it there.
// cost: expected 3 ns a frame, and what the receiver's port or socket takes.
void send_all(WorkerCore& w, Publishes& p) {
  for (std::uint32_t i = 0; i < p.count; ++i) {
    if (w.fanouts.count != 0 && must_wait(w, p.frame[i], p.all[i])) [[unlikely]] {
      queue_fanout(w, p.frame[i], p.in_link[i], p.match[i]);
    } else if (p.all[i]) {
      begin_fanout(w, p.frame[i], p.in_link[i], p.match[i]);
    } else {
      send_one(w, p.frame[i], p.in_link[i], p.match[i], p.to[i]);
    }
  }
}

void forward_stages(WorkerCore& w, std::span<rte_mbuf* const> frames) {
  Publishes p;
  take_publishes(w, frames, p);
  if (p.count == 0) {
    return;
  }
  w.table->lookup({p.destination.data(), p.count}, p.match.data());
  choose(w, p);
  send_all(w, p);
}

// One frame at a time: what became of it is what the counters say that has changed.
[[gnu::noinline]] void forward_watched(WorkerCore& w, std::span<rte_mbuf* const> frames) {
  for (rte_mbuf* const& frame : frames) {
    WatchNote note;
    watch_before(w, frame, note);
    forward_stages(w, {&frame, 1});
    watch_after(w, note);
  }
}

}  // namespace

void forward_burst(WorkerCore& w, std::span<rte_mbuf* const> frames) {
  if (w.watching) [[unlikely]] {
    forward_watched(w, frames);
    return;
  }
  forward_stages(w, frames);
}

}  // namespace slipway
