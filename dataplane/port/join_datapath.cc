#include "port/join_datapath.h"

#include <algorithm>

#include "port/mbuf.h"

namespace slipway {
namespace {

DropReason reason_of(JoinFault fault) {
  switch (fault) {
    case JoinFault::kDuplicate:
      return DropReason::kJoinDuplicate;
    case JoinFault::kConflict:
      return DropReason::kJoinConflict;
    case JoinFault::kTooBig:
      return DropReason::kFrameTooBig;
    case JoinFault::kSmallPiece:
      return DropReason::kShimMalformed;
    default:
      return DropReason::kJoinLimit;
  }
}

void count(DropReason reason, WorkerCounters& counters, LinkCounters& link_counters) {
  const auto i = static_cast<std::size_t>(reason);
  counters.drops[i].add(1);
  link_counters.drops[i].add(1);
}

// A frame of which pieces had been accepted: it was received, and dropped.
void count_frame(DropReason reason, WorkerCounters& counters, LinkCounters& link_counters) {
  counters.frames_in.add(1);
  counters.dropped_frames.add(1);
  link_counters.frames_in.add(1);
  count(reason, counters, link_counters);
}

// The pieces, in order, as one frame.
rte_mbuf* chain(std::span<rte_mbuf* const> pieces) {
  rte_mbuf* first = pieces[0];
  rte_mbuf* last = rte_pktmbuf_lastseg(first);
  std::uint32_t segments = first->nb_segs;
  for (rte_mbuf* piece : pieces.subspan(1)) {
    last->next = piece;
    last = rte_pktmbuf_lastseg(piece);
    segments += piece->nb_segs;
    first->pkt_len += piece->pkt_len;
  }
  first->nb_segs = static_cast<std::uint16_t>(segments);
  return first;
}

}  // namespace

MbufJoiner::MbufJoiner(const JoinLimits& limits)
    : joiner_(limits),
      pieces_(std::make_unique_for_overwrite<rte_mbuf*[]>(std::size_t{joiner_.limits().frames} * kMaxPieces)),
      piece_count_(joiner_.limits().frames) {}

MbufJoiner::~MbufJoiner() {
  for (std::uint32_t slot = 0; slot < piece_count_.size(); ++slot) {
    free_slot(slot);
  }
}

void MbufJoiner::free_slot(std::uint32_t slot) {
  rte_mbuf** pieces = &pieces_[std::size_t{slot} * kMaxPieces];
  for (std::uint32_t i = 0; i < piece_count_[slot]; ++i) {
    rte_pktmbuf_free(pieces[i]);
  }
  piece_count_[slot] = 0;
}

rte_mbuf* MbufJoiner::add(LinkIndex link, const Shim& shim, rte_mbuf* piece, std::uint64_t now_ms, WorkerCounters& counters,
                          LinkCounters& link_counters) {
  const JoinResult result = joiner_.add(link, shim, piece->pkt_len, now_ms);
  counters.partial_bytes.set(counters.partial_bytes.get() + joiner_.bytes() - bytes_seen_);
  bytes_seen_ = joiner_.bytes();
  if (result.outcome == JoinOutcome::kRefused || result.outcome == JoinOutcome::kPoisoned) {
    rte_pktmbuf_free(piece);
    counters.packets_dropped.add(1);
    count(reason_of(result.fault), counters, link_counters);
    if (result.outcome == JoinOutcome::kPoisoned) {
      free_slot(result.slot);
      count_frame(DropReason::kJoinConflict, counters, link_counters);
    }
    return nullptr;
  }
  counters.fragments_in.add(1);
  rte_mbuf** pieces = &pieces_[std::size_t{result.slot} * kMaxPieces];
  std::copy_backward(pieces + result.position, pieces + result.pieces - 1, pieces + result.pieces);
  pieces[result.position] = piece;
  if (result.outcome == JoinOutcome::kHeld) {
    piece_count_[result.slot] = static_cast<std::uint8_t>(result.pieces);
    return nullptr;
  }
  piece_count_[result.slot] = 0;
  rte_mbuf* frame = chain({pieces, result.pieces});
  make_frame(frame, link, false);
  return frame;
}

void MbufJoiner::drop_gone(const Joiner::Gone& gone, DropReason reason, WorkerCounters& counters, LinkCounters& link_counters) {
  free_slot(gone.slot);
  counters.partial_bytes.set(counters.partial_bytes.get() - gone.bytes);
  bytes_seen_ = joiner_.bytes();
  if (gone.bytes != 0) {  // else it was poisoned, and counted then
    count_frame(reason, counters, link_counters);
  }
}

void MbufJoiner::expire(std::uint64_t now_ms, WorkerCounters& counters, LinkCounters* link_counters) {
  Joiner::Gone gone;
  while (joiner_.expire_one(now_ms, gone)) {
    drop_gone(gone, DropReason::kJoinTimeout, counters, link_counters[gone.link]);
  }
}

void MbufJoiner::forget(LinkIndex link, WorkerCounters& counters, LinkCounters& link_counters) {
  Joiner::Gone gone;
  while (joiner_.forget_one(link, gone)) {
    drop_gone(gone, DropReason::kLinkGone, counters, link_counters);
  }
}

}  // namespace slipway
