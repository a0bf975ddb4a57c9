#pragma once
// Frames that wait for the link-layer address of their next hop: a short list for each link, out of one bounded
// store of the worker, inside the node's budget. Called by the owning worker only; seldom: not the hot path.

#include "worker/worker_core.h"

namespace slipway {

void make_holds(WorkerCore& w);  // before the thread starts: the only allocation

// Takes over one reference. Dropped (held_too_many, node_budget) when there is no room.
void hold_frame(WorkerCore& w, LinkIndex to, rte_mbuf* frame);
// The next hop is resolved: sends what waits, in order.
void release_held(WorkerCore& w, LinkIndex to);
// The link goes away, or waited too long.
void drop_held(WorkerCore& w, LinkIndex to, DropReason reason);
// Housekeeping edge: drops what waited for kHoldMs (unresolved). Looks at every node that is in use.
void expire_held(WorkerCore& w);

}  // namespace slipway
