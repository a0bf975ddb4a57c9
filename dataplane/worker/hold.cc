#include "worker/hold.h"

#include "worker/send_datapath.h"

namespace slipway {
namespace {

// Takes the oldest frame of a link out of the store.
rte_mbuf* take_oldest(WorkerCore& w, LinkIndex link) {
  LinkSide& side = w.sides[link];
  const std::uint16_t at = side.held_head;
  HoldNode& node = w.holds.nodes[at];
  rte_mbuf* frame = node.frame;
  side.held_head = node.next;
  if (--side.held_count == 0) {
    side.held_head = side.held_tail = 0;
  }
  const std::uint32_t bytes = rte_pktmbuf_pkt_len(frame);
  node = {.next = w.holds.free_head};
  w.holds.free_head = at;
  --w.holds.count;
  w.budget.give(bytes);
  w.counters.held.add(std::uint64_t{0} - 1);
  w.counters.held_bytes.add(std::uint64_t{0} - bytes);
  w.link_counters[link].queued_frames.add(std::uint64_t{0} - 1);
  w.link_counters[link].queued_bytes.add(std::uint64_t{0} - bytes);
  return frame;
}

}  // namespace

void make_holds(WorkerCore& w) {
  w.holds.nodes.resize(kMaxHeldFrames + 1);
  for (std::uint16_t i = 1; i < kMaxHeldFrames; ++i) {
    w.holds.nodes[i].next = static_cast<std::uint16_t>(i + 1);
  }
  w.holds.free_head = 1;
}

void hold_frame(WorkerCore& w, LinkIndex to, rte_mbuf* frame) {
  LinkSide& side = w.sides[to];
  const std::uint32_t bytes = rte_pktmbuf_pkt_len(frame);
  const bool full = side.held_count >= kMaxHeldPerLink || w.holds.free_head == 0;
  if (full || !w.budget.take(bytes)) {
    count_dropped_copy(w, to, full ? DropReason::kHeldTooMany : DropReason::kNodeBudget);
    rte_pktmbuf_free(frame);
    return;
  }
  const std::uint16_t at = w.holds.free_head;
  HoldNode& node = w.holds.nodes[at];
  w.holds.free_head = node.next;
  node = {.frame = frame, .until_ns = w.now_ns + kHoldMs * 1'000'000, .link = to, .next = 0};
  (side.held_count == 0 ? side.held_head : w.holds.nodes[side.held_tail].next) = at;
  side.held_tail = at;
  ++side.held_count;
  ++w.holds.count;
  w.counters.held.add(1);
  w.counters.held_bytes.add(bytes);
  w.link_counters[to].queued_frames.add(1);
  w.link_counters[to].queued_bytes.add(bytes);
}

void release_held(WorkerCore& w, LinkIndex to) {
  // Counted: a frame that found no room to be sent would otherwise come back to this list for ever.
  for (std::uint16_t left = w.sides[to].held_count; left != 0; --left) {
    send_copy(w, to, take_oldest(w, to));
  }
}

void drop_held(WorkerCore& w, LinkIndex to, DropReason reason) {
  while (w.sides[to].held_count != 0) {
    rte_mbuf* frame = take_oldest(w, to);
    count_dropped_copy(w, to, reason);
    rte_pktmbuf_free(frame);
  }
}

void expire_held(WorkerCore& w) {
  if (w.holds.count == 0) {
    return;
  }
  for (std::uint16_t i = 1; i <= kMaxHeldFrames && w.holds.count != 0; ++i) {
    const LinkIndex link = w.holds.nodes[i].link;
    if (w.holds.nodes[i].frame == nullptr) {
      continue;
    }
    while (w.sides[link].held_count != 0 && w.holds.nodes[w.sides[link].held_head].until_ns <= w.now_ns) {
      rte_mbuf* frame = take_oldest(w, link);
      count_dropped_copy(w, link, DropReason::kUnresolved);
      rte_pktmbuf_free(frame);
    }
  }
}

}  // namespace slipway
