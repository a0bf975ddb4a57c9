#pragma once
// What a worker tells the control thread: frames and packets that are not forwarded, notices, and the records that
// must not be lost, for which a part of the event ring is kept free. Called by the owning worker only.

#include <type_traits>

#include "worker/worker_core.h"

namespace slipway {

// Must not be lost: may use the reserve. Counts events_lost when even that is full.
void tell_bytes(WorkerCore& w, Event event, std::span<const std::byte> record, std::span<const std::byte> tail);
template <class T>
  requires std::is_trivially_copyable_v<T>
void tell(WorkerCore& w, Event event, const T& record, std::span<const std::byte> tail = {}) {
  tell_bytes(w, event, std::as_bytes(std::span(&record, 1)), tail);
}

// Leaves the reserve alone; false when there is no room.
[[nodiscard]] bool tell_if_room(WorkerCore& w, Event event, std::span<const std::byte> record, std::span<const std::byte> tail);

// A frame that is no publish, or whose header is not in order. Takes it over: punted, or dropped with its reason.
void punt_or_drop(WorkerCore& w, rte_mbuf* frame);

// A copy for an application inside the node, which counts as sent when it is in the event ring. Takes it over. The rate at which a
// link may make the control thread work holds for these too, and punted frames come first.
void tell_local_frame(WorkerCore& w, LinkIndex to, rte_mbuf* frame);

// A publish from a link that nothing took: dropped and, if the sender is native, told. Beyond the rate of notices its
// frames are summed up, and told together kNoticeDelayMs later.
void drop_unmatched(WorkerCore& w, LinkIndex in_link, DropReason reason, rte_mbuf* frame);
void tell_owed_notices(WorkerCore& w);

// Packets of a DPDK port that are for the control thread. Take them over.
void punt_neighbor_packet(WorkerCore& w, PortSlot& slot, rte_mbuf* packet);
void punt_hello(WorkerCore& w, PortSlot& slot, Hello& hello, rte_mbuf* frame);

}  // namespace slipway
