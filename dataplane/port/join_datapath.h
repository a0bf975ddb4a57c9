#pragma once
// Joins the pieces of cut frames into mbuf chains. One joiner a worker, for its DPDK and datagram ports; the rules
// are in frame/joiner.h. Called by the owning worker only.

#include <cstdint>
#include <memory>
#include <vector>

#include "base/counters.h"
#include "base/frame_meta.h"
#include "frame/joiner.h"

struct rte_mbuf;

namespace slipway {

class MbufJoiner {
 public:
  explicit MbufJoiner(const JoinLimits& limits = {});  // allocates
  MbufJoiner(const MbufJoiner&) = delete;
  MbufJoiner& operator=(const MbufJoiner&) = delete;
  ~MbufJoiner();  // frees what is held

  // A piece that check_shim accepted, of a link that exists; its data begins with the piece (the shim lies in the
  // headroom) and it may be a chain. Takes it over. Returns the whole frame, ready as base/frame_meta.h says, or
  // nullptr: held, or dropped (the packet's drop is counted here).
  [[nodiscard]] rte_mbuf* add(LinkIndex link, const Shim& shim, rte_mbuf* piece, std::uint64_t now_ms,
                              WorkerCounters& counters, LinkCounters& link_counters);

  // Drops frames past their deadline: each counts as a frame received and dropped (join_timeout). `link_counters`
  // is the worker's table, by LinkIndex. Call at the housekeeping edge.
  void expire(std::uint64_t now_ms, WorkerCounters& counters, LinkCounters* link_counters);
  // Drops what is held of a link that goes away: received and dropped (link_gone).
  void forget(LinkIndex link, WorkerCounters& counters, LinkCounters& link_counters);

  [[nodiscard]] std::size_t bytes() const { return joiner_.bytes(); }
  [[nodiscard]] std::uint32_t frames() const { return joiner_.frames(); }

 private:
  void free_slot(std::uint32_t slot);
  void drop_gone(const Joiner::Gone& gone, DropReason reason, WorkerCounters& counters, LinkCounters& link_counters);

  Joiner joiner_;
  std::unique_ptr<rte_mbuf*[]> pieces_;      // kMaxPieces for each slot, in the order of their offsets
  std::vector<std::uint8_t> piece_count_;    // of each slot
  std::size_t bytes_seen_ = 0;               // what of joiner_.bytes() is in partial_bytes
};
static_assert(kMaxPieces < 256);

}  // namespace slipway
