// One loop of a worker: every source once, then flush, then the edge where the books are exact.
#include <rte_ethdev.h>

#include "port/dpdk_port.h"
#include "worker/commands.h"
#include "worker/forward_datapath.h"
#include "worker/hold.h"
#include "worker/loop.h"
#include "worker/punt_datapath.h"
#include "worker/send_datapath.h"

namespace slipway {
namespace {

// Frames of a port; the socket engine counts its own. Bursts are mostly runs of one link.
// cost: expected 2 ns a frame.
void count_in(WorkerCore& w, std::span<rte_mbuf* const> frames) {
  std::uint64_t total = 0;
  for (std::size_t i = 0; i < frames.size();) {
    const LinkIndex in_link = frame_meta(frames[i]).in_link;
    const std::size_t begin = i;
    std::uint64_t bytes = 0;
    for (; i < frames.size() && frame_meta(frames[i]).in_link == in_link; ++i) {
      bytes += rte_pktmbuf_pkt_len(frames[i]);
    }
    LinkCounters& link = w.link_counters[in_link];
    link.frames_in.add(i - begin);
    link.bytes_in.add(bytes);
    link.last_in_ms.set(w.now_ms);
    total += bytes;
  }
  w.counters.frames_in.add(frames.size());
  w.counters.bytes_in.add(total);
}

void count_burst(WorkerCore& w, std::uint32_t frames) {
  w.counters.burst_fill[frames].add(1);
  w.counters.bursts.add(frames != 0 ? 1 : 0);
}

// Packets that are not plain: cut frames, IPv6, requests, what is broken. Frames go behind those that are there.
[[gnu::noinline]] void receive_general(WorkerCore& w, PortSlot& slot, std::span<rte_mbuf* const> packets,
                                       std::array<rte_mbuf*, kMaxBurst>& frames, std::uint32_t& count) {
  EthernetReceived in;
  const EthernetReceiver receiver{w.records.data(), w.link_counters.data(), &w.counters, &w.joiner};
  ethernet_receive(*slot.ethernet, receiver, packets, w.now_ms, in);
  for (std::uint32_t i = 0; i < in.frame_count; ++i) {
    frames[count++] = in.frames[i];
  }
  for (std::uint32_t i = 0; i < in.reply_count; ++i) {
    send_packet(w, slot, in.replies[i]);
  }
  for (std::uint32_t i = 0; i < in.learn_count; ++i) {
    punt_neighbor_packet(w, slot, in.learns[i]);
  }
  for (std::uint32_t i = 0; i < in.hello_count; ++i) {
    punt_hello(w, slot, in.hello_from[i], in.hellos[i]);
  }
}

// Packets to frames, in order of arrival. cost: see fast_receive.
std::uint32_t packets_to_frames(WorkerCore& w, PortSlot& slot, std::span<rte_mbuf* const> packets,
                                std::array<rte_mbuf*, kMaxBurst>& frames) {
  for (rte_mbuf* m : packets) {
    const char* at = rte_pktmbuf_mtod(m, const char*);
    rte_prefetch0(at);
    rte_prefetch0(at + 64);
    rte_prefetch0(at + 128);
  }
  std::uint32_t count = 0;
  std::uint32_t plain = 0;
  std::size_t odd = 0;  // packets before this one that are not plain
  for (std::size_t i = 0; i < packets.size(); ++i) {
    if (fast_receive(slot.lane, slot.number, w.peers.data(), packets[i]) == kNoLink) {
      ++odd;
      continue;
    }
    if (odd != 0) {
      receive_general(w, slot, packets.subspan(i - odd, odd), frames, count);
      odd = 0;
    }
    frames[count++] = packets[i];
    ++plain;
  }
  w.counters.packets_in.add(plain);
  if (odd != 0) {
    receive_general(w, slot, packets.last(odd), frames, count);
  }
  return count;
}

// A port that went away and came back may have another MAC address.
bool is_open(PortSlot& slot) {
  const bool open = slot.port->state().open.load(std::memory_order_acquire);
  if (open != slot.was_open) [[unlikely]] {
    slot.was_open = open;
    slot.lane = open ? make_fast_lane(*slot.ethernet) : FastLane{};
  }
  return open;
}

std::uint32_t receive_port(WorkerCore& w, PortSlot& slot) {
  if (slot.rx_queue == WorkerPort::kNoQueue || !room_for_burst(w) || !is_open(slot)) {
    return 0;
  }
  std::array<rte_mbuf*, kMaxBurst> packets;
  const std::uint16_t received = rte_eth_rx_burst(slot.ethernet->device, slot.rx_queue, packets.data(), kMaxBurst);
  if (received == 0) {
    return 0;
  }
  std::array<rte_mbuf*, kMaxBurst> frames;
  const std::uint32_t count = packets_to_frames(w, slot, {packets.data(), received}, frames);
  count_burst(w, count);
  if (count != 0) {
    count_in(w, {frames.data(), count});
    forward_burst(w, {frames.data(), count});
  }
  return received;
}

// While a ring to another worker is filling, streams are left to wait in the kernel: their frames must not be lost.
bool handoff_has_room(const WorkerCore& w) {
  for (std::uint32_t to = 0; to < w.shared->workers; ++to) {
    if (to != w.id && w.shared->handoff[w.id * w.shared->workers + to]->room(kHandoffRoom) < kHandoffRoom) {
      return false;
    }
  }
  return true;
}

std::uint32_t receive_sockets(WorkerCore& w) {
  std::uint32_t total = 0;
  w.gated = !handoff_has_room(w) || !room_for_burst(w);
  if (w.gated) {
    w.sockets->poll(w.now_ns, {});  // completions of what is being sent
    return 0;
  }
  std::array<rte_mbuf*, kMaxBurst> frames;
  // Several bursts between two flushes: a send then gathers more. The queue of fan-outs bounds them.
  for (std::uint32_t burst = 0; burst < kSocketBursts && room_for_burst(w); ++burst) {
    const std::uint32_t count = w.sockets->poll(w.now_ns, {frames.data(), kMaxBurst});
    if (count != 0) {
      count_burst(w, count);
      forward_burst(w, {frames.data(), count});
      total += count;
    }
    if (count < kMaxBurst) {
      break;
    }
  }
  return total;
}

// What is not needed in every loop.
void housekeeping(WorkerCore& w) {
  w.loops_until_edge = kHousekeepingLoops;
  if (w.joiner.frames() != 0) {
    w.joiner.expire(w.now_ms, w.counters, w.link_counters.data());
  }
  expire_held(w);
  if (w.load.ok()) {
    for (LinkIndex link = 1; link <= w.highest_link; ++link) {
      w.load[link] = w.load[link] / 2;
    }
  }
}

// Streams of theirs may wait for a receiver of ours that is no longer congested.
void wake_others(WorkerCore& w) {
  for (std::uint32_t other = 0; other < w.shared->workers; ++other) {
    if (other != w.id) {
      w.shared->doorbells[other]->ring();
    }
  }
}

void copy_counters(const WorkerCounters& from, WorkerCounters& to) {
  for (const CounterText& text : kWorkerCounterTexts) {
    (to.*text.field).set((from.*text.field).get());
  }
  for (std::size_t i = 0; i < from.drops.size(); ++i) {
    to.drops[i].set(from.drops[i].get());
  }
  for (std::size_t i = 0; i < from.burst_fill.size(); ++i) {
    to.burst_fill[i].set(from.burst_fill[i].get());
  }
}

// The books are exact here: transmit buffers are empty, and every copy is counted somewhere.
void end_of_loop(WorkerCore& w) {
  w.counters.loops.add(1);
  w.waiting_fanouts.store(w.fanouts.count, std::memory_order_relaxed);
  if (w.snapshot_wanted) [[unlikely]] {
    w.snapshot_wanted = false;
    copy_counters(w.counters, w.snapshot);
    tell(w, Event::kSnapshotDone, Snapshot{w.snapshot_request});
  }
  if (w.shared->control != nullptr && !w.events.empty()) {
    w.shared->control->ring();
  }
}

}  // namespace

std::uint32_t run_once(WorkerCore& w, std::uint64_t now_ns) {
  w.now_ns = now_ns;
  w.now_ms = static_cast<std::uint32_t>(now_ns / 1'000'000);
  w.fanout_left = kFanoutPerLoop;
  std::uint32_t work = apply_commands(w);
  if (w.shared->workers > 1) {
    work += receive_handoffs(w);
  }
  if (w.fanouts.count != 0) [[unlikely]] {
    if (handoff_has_room(w)) {
      work += continue_fanouts(w);
    }
    work += 1;
  }
  if (!w.draining) {
    for (const auto& slot : w.ports) {
      work += receive_port(w, *slot);
    }
  }
  if (w.sockets != nullptr) {
    work += receive_sockets(w);
    w.sockets->flush();
    if (w.sockets->take_uncongested()) {
      wake_others(w);
    }
  }
  flush_ports(w);
  if (w.handoff_dirty != 0) {
    publish_handoffs(w);
  }
  if (--w.loops_until_edge == 0) {
    housekeeping(w);
  }
  end_of_loop(w);
  return work;
}

}  // namespace slipway
