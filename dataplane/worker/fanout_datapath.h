#pragma once
// One frame to many receivers. Copies share the buffer by reference; whoever needs other bytes before it (datagram
// and Ethernet links) makes its own header. A fan-out makes at most kFanoutPerLoop copies between two flushes and
// goes on in the next loop. Called by the owning worker only.

#include "frame/frame.h"
#include "worker/worker_core.h"

namespace slipway {

inline std::uint32_t flow_bit(const rte_mbuf* m) { return flow_hash(rte_pktmbuf_mtod(m, const std::byte*)) & 63; }

// While fan-outs wait, later fan-outs wait behind them, and so does any frame of a flow that waits.
inline bool must_wait(const WorkerCore& w, const rte_mbuf* m, bool all) {
  return all || (w.fanouts.flows >> flow_bit(m) & 1) != 0;
}

// Take the frame over. A frame without a receiver is dropped (no_route, only_ingress).
void begin_fanout(WorkerCore& w, rte_mbuf* frame, LinkIndex in_link, RouteMatch match);
void queue_fanout(WorkerCore& w, rte_mbuf* frame, LinkIndex in_link, RouteMatch match);

}  // namespace slipway
