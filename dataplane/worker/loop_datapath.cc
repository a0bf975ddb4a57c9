// One loop of a worker: every source once, then flush, then the edge where the books are exact.
#include <rte_ethdev.h>

#include <algorithm>

#include "port/dpdk_port.h"
#include "worker/commands.h"
#include "worker/forward_datapath.h"
#include "worker/hold.h"
#include "worker/loop.h"
#include "worker/punt_datapath.h"
#include "worker/send_datapath.h"

namespace slipway {
namespace {

// The frames of a port by link; the socket engine counts its own. Bursts are mostly of one link, counted at once.
void count_in(WorkerCore& w, LinkIndex link, std::uint64_t frames, std::uint64_t bytes) {
  LinkCounters& counters = w.link_counters[link];
  counters.frames_in.add(frames);
  counters.bytes_in.add(bytes);
  w.counters.frames_in.add(frames);
  w.counters.bytes_in.add(bytes);
}

// cost: expected 1 ns a frame: sums of arrays, without branches.
void count_publishes(WorkerCore& w, const Publishes& p) {
  std::uint32_t total = 0;
  std::uint32_t others = 0;
  for (std::uint32_t i = 0; i < p.count; ++i) {
    total += p.bytes[i];
    others |= p.in_link[i] ^ p.in_link[0];
  }
  if (others == 0) [[likely]] {
    count_in(w, p.in_link[0], p.count, total);
    return;
  }
  for (std::uint32_t i = 0; i < p.count; ++i) {
    count_in(w, p.in_link[i], 1, p.bytes[i]);
  }
}

constexpr std::uint32_t kPrefetchAhead = 4;

void count_burst(WorkerCore& w, std::uint32_t frames) {
  w.counters.burst_fill[frames].add(1);
  w.counters.bursts.add(frames != 0 ? 1 : 0);
}

// Packets that are not plain: cut frames, IPv6, requests, control frames, what is broken.
[[gnu::noinline]] void receive_general(WorkerCore& w, PortSlot& slot, std::span<rte_mbuf* const> packets) {
  EthernetReceived in;
  const EthernetReceiver receiver{w.records.data(), w.link_counters.data(), &w.counters, &w.joiner};
  ethernet_receive(*slot.ethernet, receiver, packets, w.now_ms, in);
  for (std::uint32_t i = 0; i < in.frame_count; ++i) {
    count_in(w, frame_meta(in.frames[i]).in_link, 1, in.frames[i]->pkt_len);
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
  forward_burst(w, {in.frames.data(), in.frame_count});
}

inline bool takes(const FastCheck& check, const rte_mbuf* m, const std::byte* f, std::uint64_t* link) {
  return check.long_enough(m) && plain_publish(f) && check.is_plain(m, f, link);
}

// Takes packets as long as they are plain publishes of links that are up: one hop is taken from the frames, the mbufs
// are left as they are. Returns how many.
// cost: expected 5 ns a packet in the cache: 4 for its headers, 1 for the frame's.
[[gnu::always_inline]] inline std::uint32_t take_packets(const FastLane& lane, const FastPeer* peers, rte_mbuf* const* packets, std::uint64_t count,
                                                         Publishes& p) {
  const FastCheck check(lane, peers);
  std::uint64_t i = 0;
  for (; i < count; ++i) {
    rte_mbuf* m = packets[i];
    const char* ahead = rte_pktmbuf_mtod(packets[i + kPrefetchAhead], const char*);
    rte_prefetch0(ahead);  // CPUs that fetch lines in pairs bring the second with it
    rte_prefetch0(ahead + 128);
    std::byte* f = check.frame_of(m);
    std::uint64_t link = kNoLink;
    if (!takes(check, m, f, &link)) [[unlikely]] {
      break;
    }
    set_frame_hop_limit(f, static_cast<std::uint8_t>(frame_hop_limit(f) - 1));
    p.mbuf[i] = m;
    p.destination[i] = f + frame_offset::kDestination;
    p.in_link[i] = static_cast<LinkIndex>(link);
    p.bytes[i] = check.frame_bytes_of(m);
  }
  p.count = static_cast<std::uint32_t>(i);
  return p.count;
}

// Functions of their own: inlined, they had no registers left. The second is for CPUs with twice as many of them and
// with three operands to a bit operation.
[[gnu::noinline]] std::uint32_t take_plain(const FastLane& lane, const FastPeer* peers, rte_mbuf* const* packets, std::uint64_t count, Publishes& p) {
  return take_packets(lane, peers, packets, count, p);
}
[[gnu::noinline]] [[gnu::target("avx512f,avx512bw,avx512vl")]] std::uint32_t take_plain_wide(const FastLane& lane, const FastPeer* peers,
                                                                                         rte_mbuf* const* packets, std::uint64_t count, Publishes& p) {
  return take_packets(lane, peers, packets, count, p);
}
bool cpu_is_wide() { return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl"); }
const auto kTakePlain = cpu_is_wide() ? take_plain_wide : take_plain;

// How many packets, the first of which is not plain, come before the next plain one.
[[gnu::noinline]] std::uint32_t count_odd(const FastLane& lane, const FastPeer* peers, rte_mbuf* const* packets, std::uint32_t count) {
  const FastCheck check(lane, peers);
  std::uint32_t odd = 1;
  std::uint64_t link = kNoLink;
  while (odd < count && !takes(check, packets[odd], check.frame_of(packets[odd]), &link)) {
    ++odd;
  }
  return odd;
}

// Packets to publishes, in order of arrival: stretches of plain ones, and what lies between them.
void receive_packets(WorkerCore& w, PortSlot& slot, rte_mbuf* const* packets, std::uint32_t count) {
  Publishes p;
  p.header_bytes = slot.lane.header_bytes;
  const bool watching = w.watching;  // then all go the general way, which looks at each frame by itself
  for (std::uint32_t done = 0; done < count;) {
    const std::uint32_t plain = watching ? 0 : kTakePlain(slot.lane, w.peers.data(), packets + done, count - done, p);
    if (plain != 0) {
      w.counters.packets_in.add(plain);
      count_publishes(w, p);
      forward_publishes(w, p);
      done += plain;
    }
    if (done < count) {
      const std::uint32_t odd = watching ? count - done : count_odd(slot.lane, w.peers.data(), packets + done, count - done);
      receive_general(w, slot, {packets + done, odd});
      done += odd;
    }
  }
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
  std::array<rte_mbuf*, kMaxBurst + kPrefetchAhead> packets;
  const std::uint16_t received = rte_eth_rx_burst(slot.ethernet->device, slot.rx_queue, packets.data(), kMaxBurst);
  if (received == 0) {
    return 0;
  }
  for (std::uint32_t i = 0; i < kPrefetchAhead; ++i) {
    packets[received + i] = packets[0];  // so that fetching ahead needs no look at the end
    rte_prefetch0(rte_pktmbuf_mtod(packets[i], void*));
  }
  const std::uint64_t frames_before = w.counters.frames_in.get();
  receive_packets(w, slot, packets.data(), received);
  count_burst(w, static_cast<std::uint32_t>(std::min<std::uint64_t>(w.counters.frames_in.get() - frames_before, kMaxBurst)));
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
    w.sockets->hold_control(w.events.free_bytes() < kControlRoomBytes);
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
  if (w.owed.count != 0 && w.now_ns >= w.owed.due_ns) [[unlikely]] {
    tell_owed_notices(w);
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
