#pragma once
// What the files of a worker share: its state as plain data, so that each stage is a free function over it.
// Only the worker's thread touches it, except the rings, the doorbells, `applied` and, for reading, the counters.

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "base/counters.h"
#include "base/link.h"
#include "base/mail.h"
#include "base/messages.h"
#include "bounds.h"
#include "port/budget.h"
#include "port/congestion.h"
#include "port/ethernet_datapath.h"
#include "port/fast_lane_datapath.h"
#include "port/mbuf.h"
#include "port/socket_engine.h"
#include "route/route_table.h"
#include "worker/handoff_ring.h"
#include "worker/mapped_array.h"
#include "worker/worker.h"

namespace slipway {

// What forwarding needs of a link, four to a cache line. The whole LinkRecord lies beside it.
struct LinkHot {
  std::uint32_t generation;
  std::uint32_t max_frame_bytes;
  std::uint16_t owner_worker;
  LinkState state;           // zero is kFree
  LinkTransport transport;
  std::uint8_t port_slot;    // kEthernet: which of this worker's ports sends; kNoSlot: hand over
  LinkClass link_class;
  bool native;
  bool unresolved;           // kEthernet: no template yet, frames wait

  static constexpr std::uint8_t kNoSlot = 0xFF;
};
static_assert(sizeof(LinkHot) == 16);

// A rate in tokens a second, refilled when it is asked. All zeroes is a full bucket.
struct TokenBucket {
  std::uint32_t spent;
  std::uint32_t filled_ms;

  bool take(std::uint32_t now_ms, std::uint32_t per_second, std::uint32_t burst) {
    const std::uint64_t fresh = std::uint64_t{now_ms - filled_ms} * per_second / 1000;
    if (fresh != 0) {
      spent = fresh < spent ? spent - static_cast<std::uint32_t>(fresh) : 0;
      filled_ms = now_ms;
    }
    if (spent >= burst) {
      return false;
    }
    ++spent;
    return true;
  }
  [[nodiscard]] std::uint32_t left(std::uint32_t burst) const { return spent < burst ? burst - spent : 0; }
};

// What is seldom looked at of a link: rates of what it may make the control thread do, and frames that wait.
struct LinkSide {
  TokenBucket punts;
  TokenBucket notices;
  std::uint16_t held_head;   // into HoldQueue::nodes; 0: none
  std::uint16_t held_tail;
  std::uint16_t held_count;
};

// Frames that wait for a next hop's link-layer address: one list a link, out of one bounded store.
struct HoldNode {
  rte_mbuf* frame = nullptr;
  std::uint64_t until_ns = 0;
  LinkIndex link = kNoLink;
  std::uint16_t next = 0;
};
// Senders that will be told together of what the rate of notices held back: the last frame of each, and how many.
struct OwedNotices {
  std::array<NoRoute, kMaxOwedNotices> of;
  std::uint32_t count = 0;
  std::uint64_t due_ns = 0;   // of all
};
struct HoldQueue {
  std::vector<HoldNode> nodes;  // node 0 is never used
  std::uint16_t free_head = 0;
  std::uint16_t count = 0;
};

// A fan-out that did not end within the burst that it came in.
struct PendingFanout {
  rte_mbuf* frame;
  FanoutPosition at;
  LinkIndex in_link;
  bool begun;
};
struct FanoutQueue {
  std::array<PendingFanout, kMaxPendingFanouts> ring;
  std::uint32_t head = 0;
  std::uint32_t count = 0;
  std::uint64_t flows = 0;  // a bit for each flow that waits: its later frames wait too, so that order is kept
};

// A publish of an application inside the node whose pieces are coming.
struct PartialPublish {
  rte_mbuf* first = nullptr;
  rte_mbuf* last = nullptr;
  bool failed = false;        // no buffers: the rest of it is thrown away
};

// Recording of frames that match a filter, for `trace` and `capture`.
struct Watch {
  TraceFilter filter;         // count 0: off
  std::uint32_t left = 0;
};

// What all workers of a node share: rings with one writer, flags with one writer, an atomic budget.
struct NodeShared {
  NodeShared(std::uint32_t worker_count, std::size_t budget_bytes) : budget(budget_bytes), workers(worker_count) {}

  CongestionTable congestion;
  NodeBudget budget;
  std::uint32_t workers;
  std::vector<std::unique_ptr<HandoffRing>> handoff;  // [from * workers + to]; none from a worker to itself
  std::vector<std::unique_ptr<Doorbell>> doorbells;   // by worker
  Doorbell* control = nullptr;
};

// One copy that waits in a port's transmit buffer: one packet, or the pieces that it was cut into.
struct TxCopy {
  std::uint16_t link;         // kNoLink: a packet that is no frame (answers, injected packets)
  std::uint16_t packets;
};
static_assert(kMaxLinks <= 1u << 16 && kMaxCutPackets < 1u << 16);
inline constexpr std::uint32_t kTxBufferPackets = 64 + kMaxCutPackets;

// One DPDK port of a worker: its queues, and the packets that wait for the end of the burst.
struct PortSlot {
  DpdkPort* port = nullptr;
  const EthernetPort* ethernet = nullptr;  // changes only while the port is closed
  FastLane lane;                           // of *ethernet, made anew when the port opens
  bool was_open = false;
  std::uint16_t number = 0;
  std::uint16_t rx_queue = WorkerPort::kNoQueue;
  std::uint16_t tx_queue = WorkerPort::kNoQueue;
  TokenBucket punts{};
  std::uint32_t packets = 0;               // in `packet`
  std::uint32_t copies = 0;                // in `copy`
  std::uint64_t strays = 0;                // of these, packets that are no frame
  std::uint64_t frame_bytes = 0;
  std::uint64_t fragments = 0;
  std::array<rte_mbuf*, kTxBufferPackets> packet;
  std::array<TxCopy, kTxBufferPackets> copy;
};

struct WorkerCore {
  WorkerCore(std::uint16_t id_, WorkerConfig config_, NodeShared* shared_);
  ~WorkerCore();
  WorkerCore(const WorkerCore&) = delete;
  WorkerCore& operator=(const WorkerCore&) = delete;

  // Set before the thread starts.
  const std::uint16_t id;
  const WorkerConfig config;
  NodeShared* const shared;
  Doorbell* const doorbell;
  rte_mempool* const pool;
  AnycastRules rules;
  AnycastRules rules_from_peer;         // for frames that a peer sent
  bool full_mesh = false;               // the two differ
  std::uint32_t punts_per_second = kPuntsPerSecond;
  std::uint32_t notices_per_second = kNoticesPerSecond;
  std::unique_ptr<SocketEngine> sockets;
  std::vector<std::unique_ptr<PortSlot>> ports;
  std::array<PortSlot*, kMaxPorts> slots{};          // the same, by FastHeader::slot
  std::array<std::uint8_t, kMaxPorts> slot_of_port;  // by dataplane port number; LinkHot::kNoSlot: none

  // The worker's own.
  RouteTable* table;
  MappedArray<LinkHot> links;
  MappedArray<LinkRecord> records;
  MappedArray<LinkSide> sides;
  MappedArray<FastPeer> peers;
  MappedArray<FastHeader> headers;
  MappedArray<LinkCounters> link_counters;
  MappedArray<std::uint32_t> load;      // least-loaded: copies sent to each link lately
  WorkerCounters counters;
  WorkerCounters snapshot;
  BudgetShare budget;
  MbufJoiner joiner;
  DatagramSender sender;
  HoldQueue holds;
  OwedNotices owed;
  FanoutQueue fanouts;
  PartialPublish publish;
  Watch trace;
  Watch capture;
  std::uint64_t now_ns = 0;
  std::uint32_t now_ms = 0;
  std::uint32_t loops_until_edge = kHousekeepingLoops;
  std::uint32_t fanout_left = 0;        // copies of fan-outs that this loop may still make
  std::uint32_t fanout_counter = 0;     // rotates who is served first
  LinkIndex last_chosen = kNoLink;      // of the last frame with one receiver: for traces
  LinkIndex highest_link = 0;
  bool watching = false;                // trace or capture is on
  bool draining = false;
  bool stopping = false;
  bool released = false;
  bool gated = false;                   // streams were not read in this loop: a ring to another worker is filling
  std::uint32_t snapshot_request = 0;
  bool snapshot_wanted = false;
  std::uint32_t handoff_dirty = 0;      // bit of each worker that was handed something in this loop
  bool sockets_started = false;

  // Shared with the control thread.
  MailRing commands{kCommandRingBytes};
  MailRing events{kEventRingBytes};
  alignas(64) std::atomic<std::uint64_t> applied{0};
  std::atomic<std::uint64_t> waiting_fanouts{0};
  std::atomic<bool> running{false};
  std::thread thread;
};
static_assert(kMaxWorkers <= 32, "handoff_dirty has a bit for each worker");

// Puts the packets of one copy, which lie behind those of the slot already, into its books.
inline void note_copy(WorkerCore& w, PortSlot& slot, LinkIndex to, std::uint32_t frame_bytes, std::uint32_t packets) {
  slot.packets += packets;
  slot.copy[slot.copies++] = {static_cast<std::uint16_t>(to), static_cast<std::uint16_t>(packets)};
  slot.frame_bytes += frame_bytes;
  LinkCounters& counters = w.link_counters[to];
  counters.frames_sent.add(1);  // taken back if the port refuses it
  counters.bytes_sent.add(frame_bytes);
}

inline void count_drop(WorkerCore& w, DropReason reason, std::uint64_t n = 1) {
  w.counters.drops[static_cast<std::size_t>(reason)].add(n);
}
// A frame of which no copy was made.
inline void drop_frame(WorkerCore& w, LinkIndex in_link, DropReason reason, rte_mbuf* frame) {
  count_drop(w, reason);
  w.counters.dropped_frames.add(1);
  w.link_counters[in_link].drops[static_cast<std::size_t>(reason)].add(1);
  rte_pktmbuf_free(frame);
}
// A copy that was on its way to a link (copies_made or handoff_in counted it). The frame stays the caller's.
inline void count_dropped_copy(WorkerCore& w, LinkIndex to, DropReason reason) {
  count_drop(w, reason);
  w.counters.dropped_copies.add(1);
  w.link_counters[to].drops[static_cast<std::size_t>(reason)].add(1);
}
}  // namespace slipway
