#include "worker/send_datapath.h"

#include <rte_ethdev.h>

#include "port/dpdk_port.h"
#include "worker/hold.h"
#include "worker/punt_datapath.h"

namespace slipway {
namespace {

// Across workers a receiver's queue is seen only by its flags: a stream that feeds a congested one is paused here,
// what cannot be paused is dropped here, before it takes a place in the ring.
bool refused_by_congestion(WorkerCore& w, LinkIndex to, std::uint8_t flags, const FrameMeta& meta) {
  if ((flags & congestion_flag::kStalled) != 0) {
    count_dropped_copy(w, to, DropReason::kReceiverStalled);
    return true;
  }
  if ((flags & congestion_flag::kCongested) == 0) {
    return false;
  }
  if (!meta.pausable) {
    count_dropped_copy(w, to, DropReason::kQueueFull);
    return true;
  }
  const LinkHot& from = w.links[meta.in_link];
  if (w.sockets != nullptr && from.owner_worker == w.id && from.transport == LinkTransport::kStream) {
    w.sockets->pause(meta.in_link, to);
  }
  return false;
}

// cost: expected 4 ns a copy (one entry of 16 bytes), and one cache line of the ring moved for four copies.
void hand_over(WorkerCore& w, LinkIndex to, const LinkHot& link, rte_mbuf* frame) {
  const std::uint32_t owner = link.owner_worker;
  if (owner == w.id || owner >= w.shared->workers) {
    count_dropped_copy(w, to, DropReason::kPortDown);  // ours, and we have no queue of that port
    rte_pktmbuf_free(frame);
    return;
  }
  const std::uint8_t flags = w.shared->congestion.flags(to);
  if (flags != 0 && refused_by_congestion(w, to, flags, frame_meta(frame))) {
    rte_pktmbuf_free(frame);
    return;
  }
  HandoffRing& ring = *w.shared->handoff[w.id * w.shared->workers + owner];
  if (!ring.push(frame, make_link_id(to, link.generation))) {
    count_dropped_copy(w, to, DropReason::kHandoffFull);
    rte_pktmbuf_free(frame);
    return;
  }
  w.handoff_dirty |= 1u << owner;
  w.counters.handoff_out.add(1);
}

// cost: 6 ns a copy for the headers (fast_send), 2 for the books; the general way 40.
void queue_on_port(WorkerCore& w, LinkIndex to, PortSlot& slot, rte_mbuf* frame) {
  if (slot.packets == kTxBufferPackets) [[unlikely]] {
    flush_port(w, slot);
  }
  const std::uint32_t frame_bytes = frame->pkt_len;
  FastSequence sequence(w.sender);
  if (fast_send(w.headers[to], sequence, frame)) [[likely]] {
    sequence.store(w.sender);
    slot.packet[slot.packets] = frame;
    note_copy(w, slot, to, frame_bytes, 1);
    return;
  }
  const LinkRecord& record = w.records[to];
  if (slot.packets + packets_of_frame(record, frame_bytes) > kTxBufferPackets) {
    flush_port(w, slot);
  }
  const std::uint32_t made = ethernet_send(*slot.ethernet, record, w.sender, frame, w.pool, slot.packet.data() + slot.packets);
  if (made == 0) {
    count_dropped_copy(w, to, DropReason::kNoBuffer);
    return;
  }
  note_copy(w, slot, to, frame_bytes, made);
  slot.fragments += made > 1 ? made : 0;
}

void send_up(WorkerCore& w, LinkIndex to, const LinkHot& link, rte_mbuf* frame) {
  if (rte_pktmbuf_pkt_len(frame) > link.max_frame_bytes) {
    count_dropped_copy(w, to, DropReason::kTooBigForLink);
    rte_pktmbuf_free(frame);
    return;
  }
  if (link.transport == LinkTransport::kEthernet) {
    if (link.port_slot == LinkHot::kNoSlot) {
      hand_over(w, to, link, frame);
    } else if (link.unresolved) {
      hold_frame(w, to, frame);
    } else {
      queue_on_port(w, to, *w.ports[link.port_slot], frame);
    }
    return;
  }
  if (link.transport == LinkTransport::kControl) [[unlikely]] {
    tell_local_frame(w, to, frame);
    return;
  }
  if (link.owner_worker != w.id) {
    hand_over(w, to, link, frame);
    return;
  }
  w.sockets->send(w.records[to], frame);
}

// Not everything was taken: whole copies before the cut were sent, the others are dropped, each with all its packets.
[[gnu::noinline]] void drop_unsent(WorkerCore& w, PortSlot& slot, std::uint32_t sent) {
  const DropReason reason = slot.port->state().carrier.load(std::memory_order_relaxed) ? DropReason::kTxFull : DropReason::kPortDown;
  std::uint32_t end = 0;
  for (std::uint32_t i = 0; i < slot.copies; ++i) {
    const TxCopy& copy = slot.copy[i];
    end += copy.packets;
    if (end <= sent || copy.link == kNoLink) {
      continue;
    }
    // Its last packet is ours still, and every packet's shim says how long the frame is.
    const std::uint32_t frame_bytes = load_shim(data_of(slot.packet[end - 1]) + w.records[copy.link].outer.length).total_bytes;
    count_dropped_copy(w, copy.link, reason);
    LinkCounters& counters = w.link_counters[copy.link];
    counters.frames_sent.add(std::uint64_t{0} - 1);
    counters.bytes_sent.add(std::uint64_t{0} - frame_bytes);
    ++slot.strays;  // not sent: neither is it counted
    slot.frame_bytes -= frame_bytes;
    slot.fragments -= copy.packets > 1 ? copy.packets : 0;
  }
  rte_pktmbuf_free_bulk(slot.packet.data() + sent, slot.packets - sent);
}

}  // namespace

void send_copy(WorkerCore& w, LinkIndex to, rte_mbuf* frame) {
  const LinkHot& link = w.links[to];
  if (link.state != LinkState::kUp) [[unlikely]] {
    count_dropped_copy(w, to, DropReason::kLinkGone);
    rte_pktmbuf_free(frame);
    return;
  }
  send_up(w, to, link, frame);
}

// cost: expected 25 ns a copy of 168 bytes: 6 for the headers, 5 for a buffer, 4 for the bytes, 2 for the books, the rest
// the driver's, which gives the buffer back.
std::uint32_t send_small_copies(WorkerCore& w, rte_mbuf* frame, LinkIndex* links, std::uint32_t count) {
  const std::uint32_t bytes = frame->data_len;
  std::array<rte_mbuf*, kMaxBurst> copies;
  if (frame->nb_segs != 1 || bytes > kCopyBytes + kFrameHeaderBytes || count > copies.size() ||
      rte_pktmbuf_alloc_bulk(w.pool, copies.data(), count) != 0) {
    return count;
  }
  static_assert(kCopyBytes + kFrameHeaderBytes <= kMbufDataBytes && RTE_PKTMBUF_HEADROOM >= kFastHeaderBytes);
  FastSequence sequence(w.sender);
  std::uint32_t left = 0;
  for (std::uint32_t i = 0; i < count; ++i) {
    const LinkIndex to = links[i];
    const FastHeader& header = w.headers[to];
    if (bytes > header.largest_frame()) {
      links[left++] = to;
      continue;
    }
    PortSlot& slot = *w.slots[header.slot()];
    if (slot.packets == kTxBufferPackets) [[unlikely]] {
      flush_port(w, slot);
    }
    rte_mbuf* copy = copies[i - left];
    std::byte* at = data_of(copy);
    std::memcpy(at, data_of(frame), bytes);
    put_packet<false>(header, sequence, copy, at, bytes);
    slot.packet[slot.packets] = copy;
    note_copy(w, slot, to, bytes, 1);
  }
  sequence.store(w.sender);
  if (left != 0) {
    rte_pktmbuf_free_bulk(copies.data() + (count - left), left);
  }
  return left;
}

void send_injected(WorkerCore& w, LinkIndex to, rte_mbuf* frame) {
  const LinkHot& link = w.links[to];
  if (link.state == LinkState::kFree) {
    count_dropped_copy(w, to, DropReason::kLinkGone);
    rte_pktmbuf_free(frame);
    return;
  }
  send_up(w, to, link, frame);
}

void send_packet(WorkerCore& w, PortSlot& slot, rte_mbuf* packet) {
  if (slot.tx_queue == WorkerPort::kNoQueue) {
    rte_pktmbuf_free(packet);
    return;
  }
  if (slot.packets == kTxBufferPackets) {
    flush_port(w, slot);
  }
  slot.packet[slot.packets++] = packet;
  slot.copy[slot.copies++] = {kNoLink, 1};
  ++slot.strays;
}

// cost: the driver's, and five adds a burst.
void flush_port(WorkerCore& w, PortSlot& slot) {
  if (slot.packets == 0) {
    return;
  }
  std::uint32_t sent = 0;
  const PortState& state = slot.port->state();
  if (state.open.load(std::memory_order_acquire) && state.carrier.load(std::memory_order_relaxed)) {
    // A driver may take a part and have room again at once; it is asked again as long as it takes something.
    while (sent < slot.packets) {
      const std::uint16_t took = rte_eth_tx_burst(slot.ethernet->device, slot.tx_queue, slot.packet.data() + sent,
                                                  static_cast<std::uint16_t>(slot.packets - sent));
      if (took == 0) {
        break;
      }
      sent += took;
    }
  }
  if (sent < slot.packets) [[unlikely]] {
    drop_unsent(w, slot, sent);
  }
  w.counters.sent.add(slot.copies - slot.strays);
  w.counters.bytes_sent.add(slot.frame_bytes);
  w.counters.fragments_out.add(slot.fragments);
  w.counters.packets_out.add(sent);
  slot.packets = 0;
  slot.copies = 0;
  slot.strays = 0;
  slot.frame_bytes = 0;
  slot.fragments = 0;
}

void flush_ports(WorkerCore& w) {
  for (const auto& slot : w.ports) {
    flush_port(w, *slot);
  }
}

void publish_handoffs(WorkerCore& w) {
  std::uint32_t dirty = w.handoff_dirty;
  w.handoff_dirty = 0;
  while (dirty != 0) {
    const std::uint32_t to = static_cast<std::uint32_t>(__builtin_ctz(dirty));
    dirty &= dirty - 1;
    if (w.shared->handoff[w.id * w.shared->workers + to]->publish()) {
      w.shared->doorbells[to]->ring();
    }
  }
}

std::uint32_t receive_handoffs(WorkerCore& w) {
  std::uint32_t total = 0;
  std::array<HandoffEntry, kMaxBurst> entries;
  for (std::uint32_t from = 0; from < w.shared->workers; ++from) {
    if (from == w.id) {
      continue;
    }
    HandoffRing& ring = *w.shared->handoff[from * w.shared->workers + w.id];
    // A ring is emptied as fast as one worker can fill it, so that it does not overflow while we do other things.
    for (std::uint32_t round = 0; round < kHandoffRoom / kMaxBurst; ++round) {
      const std::uint32_t count = ring.pop(entries.data(), kMaxBurst);
      for (std::uint32_t i = 0; i < count; ++i) {
        rte_mbuf* frame = entries[i].frame;
        const LinkIndex to = link_index_of(entries[i].link_id);
        if (w.links[to].state != LinkState::kUp || make_link_id(to, w.links[to].generation) != entries[i].link_id) {
          count_dropped_copy(w, to, DropReason::kLinkGone);
          rte_pktmbuf_free(frame);
          continue;
        }
        if (w.links[to].transport == LinkTransport::kEthernet && w.links[to].port_slot == LinkHot::kNoSlot) {
          count_dropped_copy(w, to, DropReason::kPortDown);
          rte_pktmbuf_free(frame);
          continue;
        }
        send_copy(w, to, frame);
      }
      w.counters.handoff_in.add(count);
      total += count;
      if (count < kMaxBurst) {
        break;
      }
    }
  }
  return total;
}

}  // namespace slipway
