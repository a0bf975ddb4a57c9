#pragma once
// The last stage: one copy of a frame towards one link. Called by the owning worker only.

#include <cstdint>

#include "worker/worker_core.h"

namespace slipway {

// Takes over one reference of the frame, whatever comes of it: given to a socket, put into a port's transmit
// buffer, held for its next hop, handed to the link's owner, or dropped with its reason. The caller has counted the
// copy (copies_made or handoff_in).
void send_copy(WorkerCore& w, LinkIndex to, rte_mbuf* frame);

// The same for a frame of the control thread: it may go to a link whose hello is not finished.
void send_injected(WorkerCore& w, LinkIndex to, rte_mbuf* frame);

// Copies of a small frame in one buffer for those of `links` that a port of this worker reaches in the short way: each
// gets bytes of its own, which costs less than sharing them. The links that are left (all of them for another frame, or
// when buffers are short) are moved to the front. Returns how many. The frame stays the caller's, who has counted all
// the copies.
std::uint32_t send_small_copies(WorkerCore& w, rte_mbuf* frame, LinkIndex* links, std::uint32_t count);

// A packet that is no frame, as it is, out of one port.
void send_packet(WorkerCore& w, PortSlot& slot, rte_mbuf* packet);

// Gives what lies in the transmit buffers to the ports; what a port does not take is dropped (tx_full, port_down).
void flush_port(WorkerCore& w, PortSlot& slot);
void flush_ports(WorkerCore& w);

// Makes what was handed to other workers visible to them, and wakes those that sleep.
void publish_handoffs(WorkerCore& w);
// Takes over what other workers handed to this one. Returns how many copies.
std::uint32_t receive_handoffs(WorkerCore& w);

}  // namespace slipway
