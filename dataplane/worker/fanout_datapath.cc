#include "worker/fanout_datapath.h"

#include <algorithm>
#include <cassert>

#include "worker/forward_datapath.h"
#include "worker/punt_datapath.h"
#include "worker/send_datapath.h"

namespace slipway {
namespace {

constexpr std::uint32_t kChunk = kMaxBurst;  // links collected at a time

inline ClassMask classes_for(const WorkerCore& w, LinkIndex in_link) {
  return w.links[in_link].link_class == LinkClass::kPeer ? w.rules_from_peer.classes : w.rules.classes;
}

void add_references(rte_mbuf* frame, std::uint32_t count) {
  for (rte_mbuf* segment = frame; segment != nullptr; segment = segment->next) {
    rte_mbuf_refcnt_update(segment, static_cast<std::int16_t>(count));
  }
}

// Up to w.fanout_left copies. The caller keeps its reference until at.finished; the last copy then takes it, so that a
// group of one receiver costs no more than a unicast.
// cost: expected, a copy: 1 ns for the link, 1-5 for a reference (send_small_copies needs none), and what the receiver's
// port or socket takes.
void make_copies(WorkerCore& w, rte_mbuf* frame, LinkIndex in_link, RouteMatch match, FanoutPosition& at) {
  std::array<LinkIndex, kChunk> links;
  const ClassMask classes = classes_for(w, in_link);
  while (!at.finished && w.fanout_left != 0) {
    const std::uint32_t want = std::min(kChunk, w.fanout_left);
    const std::uint32_t count = w.table->collect_links(match, in_link, classes, at, {links.data(), want});
    w.counters.copies_made.add(count);
    w.fanout_left -= count;
    // The last copy takes the caller's reference: of a group of one, and of small frames, it is the frame itself.
    const std::uint32_t last = at.finished && count != 0 ? 1 : 0;
    const std::uint32_t shared = count > last ? send_small_copies(w, frame, links.data(), count - last) : 0;
    if (shared != 0) {
      add_references(frame, shared);
    }
    for (std::uint32_t i = 0; i < shared; ++i) {
      send_copy(w, links[i], frame);
    }
    if (last != 0) {
      send_copy(w, links[count - 1], frame);
    } else if (at.finished) {
      rte_pktmbuf_free(frame);  // the links that were left have all gone: nobody took the last reference
    }
  }
}

}  // namespace

void begin_fanout(WorkerCore& w, rte_mbuf* frame, LinkIndex in_link, RouteMatch match) {
  const std::uint32_t total = w.table->link_count(match, classes_for(w, in_link));
  const bool only_ingress = !match.is_group() && match.link() == in_link;
  if (total == 0 || only_ingress) {
    drop_unmatched(w, in_link, match.found() ? DropReason::kOnlyIngress : DropReason::kNoRoute, frame);
    return;
  }
  w.counters.forwarded.add(1);
  w.last_chosen = kNoLink;
  PendingFanout job{.frame = frame, .at = {.start = w.fanout_counter++}, .in_link = in_link, .begun = true};
  make_copies(w, frame, in_link, match, job.at);
  if (!job.at.finished) {
    FanoutQueue& q = w.fanouts;
    q.flows |= std::uint64_t{1} << flow_bit(frame);
    q.ring[(q.head + q.count++) % kMaxPendingFanouts] = job;
  }
}

void queue_fanout(WorkerCore& w, rte_mbuf* frame, LinkIndex in_link, RouteMatch match) {
  FanoutQueue& q = w.fanouts;
  assert(q.count < kMaxPendingFanouts);  // room_for_burst
  if (!match.found()) {
    drop_unmatched(w, in_link, DropReason::kNoRoute, frame);
    return;
  }
  w.counters.forwarded.add(1);
  q.flows |= std::uint64_t{1} << flow_bit(frame);
  q.ring[(q.head + q.count++) % kMaxPendingFanouts] = {
      .frame = frame, .at = {.start = w.fanout_counter++}, .in_link = in_link, .begun = false};
}

namespace {

// A frame that waited has been counted as forwarded: if its receivers have left meanwhile, that is one copy which
// found its link gone.
void lose_waiting(WorkerCore& w, rte_mbuf* frame, DropReason reason) {
  w.counters.copies_made.add(1);
  count_dropped_copy(w, kNoLink, reason);
  rte_pktmbuf_free(frame);
}

// Routes may have changed since the last part: the name is looked up again. True when the job is done.
bool advance(WorkerCore& w, PendingFanout& job) {
  const std::byte* f = data_of(job.frame);
  const RouteMatch match = w.table->lookup_one(load_name(f + frame_offset::kDestination));
  if (frame_fanout(f) == 1) {  // it waited for its order's sake
    const AnycastRules& rules = w.links[job.in_link].link_class == LinkClass::kPeer ? w.rules_from_peer : w.rules;
    const LinkIndex to = match.found() ? w.table->choose_one(match, job.in_link, rules) : kNoLink;
    if (to == kNoLink) {
      lose_waiting(w, job.frame, DropReason::kLinkGone);
    } else {
      w.counters.copies_made.add(1);
      send_copy(w, to, job.frame);
    }
    --w.fanout_left;
    return true;
  }
  if (!match.found() && job.begun) {
    rte_pktmbuf_free(job.frame);
    return true;
  }
  const bool only_ingress = !match.is_group() && match.link() == job.in_link;
  if (!job.begun && (w.table->link_count(match, classes_for(w, job.in_link)) == 0 || only_ingress)) {
    lose_waiting(w, job.frame, DropReason::kLinkGone);
    return true;
  }
  job.begun = true;
  make_copies(w, job.frame, job.in_link, match, job.at);
  return job.at.finished;
}

}  // namespace

std::uint32_t continue_fanouts(WorkerCore& w) {
  FanoutQueue& q = w.fanouts;
  while (q.count != 0 && w.fanout_left != 0) {
    if (!advance(w, q.ring[q.head])) {
      break;
    }
    q.head = (q.head + 1) % kMaxPendingFanouts;
    if (--q.count == 0) {
      q.flows = 0;
    }
  }
  return kFanoutPerLoop - w.fanout_left;
}

void drop_fanouts(WorkerCore& w) {
  FanoutQueue& q = w.fanouts;
  for (; q.count != 0; --q.count) {
    lose_waiting(w, q.ring[q.head].frame, DropReason::kStopping);
    q.head = (q.head + 1) % kMaxPendingFanouts;
  }
  q.flows = 0;
}

}  // namespace slipway
