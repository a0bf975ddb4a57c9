#pragma once
// What a worker does with frames: check, look up, choose, replicate. Called by the owning worker only.

#include <span>

#include "worker/worker_core.h"

namespace slipway {

// Takes over up to kMaxBurst whole frames from links (FrameMeta set, already counted in frames_in). When it returns
// each is punted, dropped, or forwarded: its copies are with ports, sockets and other workers, or its fan-out is in
// the queue of those that go on later.
void forward_burst(WorkerCore& w, std::span<rte_mbuf* const> frames);

// Goes on with fan-outs, oldest first, for at most kFanoutPerLoop copies a loop. Returns how many were made.
std::uint32_t continue_fanouts(WorkerCore& w);

// Whether another burst may be taken: each of its frames may need a place in the queue of fan-outs.
[[nodiscard]] inline bool room_for_burst(const WorkerCore& w) { return w.fanouts.count + kMaxBurst <= kMaxPendingFanouts; }

// Frees what is queued (stop): the frames were counted as forwarded, each becomes one dropped copy.
void drop_fanouts(WorkerCore& w);

}  // namespace slipway
