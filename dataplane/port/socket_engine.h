#pragma once
// The sockets of one worker: streams (TCP, Unix) with frames behind a 32-bit length, and datagram sockets (UDP)
// with frames behind a shim, all in one io_uring.
//
// Threads: create() by anybody; start() and everything after it by the owning worker's thread alone, the destructor
// after that thread has stopped (or by it). Frames that left poll() may be freed by any worker.
//
// Received frames. Small frames are copied into an mbuf of the pool (headroom RTE_PKTMBUF_HEADROOM). Larger ones
// reference the receive slab: an external buffer WHOSE HEADROOM IS ONLY THE 4 BYTES OF THE LENGTH PREFIX AND WHOSE
// TAILROOM IS ZERO, so that nobody writes into a neighbour's bytes; whoever wants to prepend outer headers looks at
// rte_pktmbuf_headroom() and takes a header mbuf when it is too small. Frames that span receive buffers are chains.
// The first segment always holds the whole frame header. The header may be written (hop limit) as long as the mbuf
// is not shared.
//
// What is counted here, and by nobody else:
//   frames_in, bytes_in (worker and link); packets_in, packets_punted, packets_dropped, fragments_in of
//   datagram sockets; sent, bytes_sent, frames_sent; packets_out, fragments_out; held, held_bytes, queued_*;
//   partial_bytes; pauses; syscalls; events_lost; and for each copy given to send(): either sent, or dropped_copies
//   with its reason, or held. A stream that breaks the framing or never ends a frame counts one frame in, dropped.
// The caller counts what it does with frames (forwarded, punted, copies_made, ...).
//
// Backpressure. A stream link's queue above its high-water mark sets kCongested in the CongestionTable, and the
// stream that a queued frame came from (FrameMeta.in_link, pausable) is no longer read until every receiver that it
// waits for is below its low-water mark. Frames that arrived before the pause are still queued; frames that cannot
// be paused are dropped (queue_full). Stalled receivers, budget and disconnects: see bounds.h.
//
// A stream whose next frame is for the control thread is not read either while that has no room (hold_control), or
// while the stream's own queue is congested: who does not take answers is not asked for more questions.

#include <cstdint>
#include <expected>
#include <memory>
#include <span>
#include <string>

#include "base/counters.h"
#include "base/frame_meta.h"
#include "base/link.h"
#include "base/mail.h"
#include "base/messages.h"
#include "port/budget.h"
#include "port/congestion.h"
#include "port/socket_features.h"

struct rte_mbuf;
struct rte_mempool;

namespace slipway {

struct SocketEngineOptions {
  std::uint8_t worker = 0;                  // our id: in shims and in Hello events
  int numa_node = -1;                       // of the receive slab; -1: any
  rte_mempool* pool = nullptr;              // private area kMbufPrivateBytes, data room kMbufDataBytes + headroom
  WorkerCounters* counters = nullptr;       // of the owning worker
  LinkCounters* link_counters = nullptr;    // kMaxLinks of them, of the owning worker
  NodeBudget* budget = nullptr;             // the node's
  CongestionTable* congestion = nullptr;    // the node's
  MailRing* events = nullptr;               // to the control thread; the owning worker is its writer
  int wake_fd = -1;                         // eventfd that ends wait(); not owned
  std::uint32_t slab_pieces = 512;          // receive buffers of kSlabPieceBytes: 16 MiB, resident as far as used
  std::uint32_t queue_frames = 0;           // frames queued towards one stream link; 0: an eighth of the pool
  bool zero_copy = true;                    // MSG_ZEROCOPY sends where they pay
  bool segment_offload = true;              // UDP GSO and GRO where the kernel has them
};

class SocketEngine {
 public:
  // Allocates everything that the engine ever uses. The error says what is missing and what to do.
  [[nodiscard]] static std::expected<std::unique_ptr<SocketEngine>, std::string> create(const SocketEngineOptions& options);
  ~SocketEngine();
  SocketEngine(const SocketEngine&) = delete;
  SocketEngine& operator=(const SocketEngine&) = delete;

  // First call of the owning thread: the ring belongs to it from here on.
  [[nodiscard]] std::expected<void, std::string> start();
  [[nodiscard]] const SocketFeatures& features() const;

  // --- commands of the control thread, between bursts -----------------------------------------------
  // The descriptor is the engine's from here on, also when opening fails (then kLinkClosed and kLinkReleased follow).
  // Reading starts when set_link() has made the link kGreeting or kUp.
  void open_stream(const OpenStream& open);
  void open_datagram(const OpenDatagram& open);
  // What the negotiation of an edge agreed on; set_link() with the record that is kUp follows.
  void give_edge_key(const GiveEdgeKey& give);
  // Every record of a kStream or kDatagram link that this worker owns. kFree closes what close_link() has not.
  void set_link(const LinkRecord& record);
  // What is queued is sent, for at most drain_ms; nothing is read any more. Then kLinkClosed (kAsked) and, when no
  // buffer and no operation of the link is left, kLinkReleased.
  void close_link(const CloseLink& close);
  void close_port(const ClosePort& close);
  // A datagram as it is (shim and frame), to an address that has no link yet.
  void inject_datagram(const InjectDatagram& inject, std::span<const std::byte> payload);

  // --- the loop -------------------------------------------------------------------------------------
  // Reaps completions, keeps deadlines, and gives up to out.size() whole frames, FrameMeta set (in_link, frame_bytes,
  // pausable). `now_ns`: any monotonic clock, the same in every call. No system call unless the kernel has
  // completions to hand over.
  std::uint32_t poll(std::uint64_t now_ns, std::span<rte_mbuf*> out);

  // Takes one reference of the frame (all segments), whatever comes of it. A stream link sends the length prefix that
  // lies before the frame; a datagram link puts a shim before it and cuts it to record.datagram_bytes. The caller
  // has checked the record's generation and state.
  void send(const LinkRecord& record, rte_mbuf* frame);

  // Hands what was queued to the kernel: one system call for all links, none when nothing waits. While received
  // frames still wait for poll(), short queues wait too, so that sends are long. What a gathering (RestPolicy) brought is handed
  // over by wait(): a call before would bring the next messages one by one.
  void flush();

  // The stream `from` is not read until `receiver` is no longer congested. send() does this itself for streams of
  // this engine; callers need it when they hand a frame to another worker whose link is congested.
  void pause(LinkIndex from, LinkIndex receiver);

  // While on, frames that are no publish stay in their streams, in order with all that comes behind them: the control
  // thread has no room. Datagrams are not held. The second form: the same for one stream, for at most 10 ms.
  void hold_control(bool on);
  void hold_control(LinkIndex from);

  // Whether a link of this engine stopped being congested since the last call: then the caller wakes the workers
  // that sleep, since streams of theirs may wait for it.
  [[nodiscard]] bool take_uncongested();

  // Sleeps in the ring until a completion, a deadline of the engine, the wake descriptor, or `timeout_ns`; submits what
  // is waiting. Where answers come soon one after another it looks for them awake at first (RestPolicy). Returns at once when there
  // is something to do. The caller has set the flag that makes others write the wake descriptor, and has looked at its rings again
  // after that. True: the wake descriptor was written.
  bool wait(std::uint64_t timeout_ns);
  // TSC cycles that wait() was awake since the last call.
  [[nodiscard]] std::uint64_t take_spun_cycles();

  // Stop reading for good (drain of the whole node); go on sending.
  void stop_reading();
  // Copies that lie in send queues or are in flight.
  [[nodiscard]] std::uint64_t held_frames() const;
  // Closes everything at once: what is held is dropped (`stopping`), and operations are waited for, at most `timeout_ms`
  // of real time. Then no buffer of pool or slab is held by the engine. False: the kernel did not give all back.
  bool close_all(std::uint32_t timeout_ms = 2000);

  // Receive slab, for `memory` and tests: pieces in all, and those that no frame references.
  [[nodiscard]] std::uint32_t slab_pieces() const;
  [[nodiscard]] std::uint32_t slab_free() const;

 private:
  friend struct EdgeStream;
  class Impl;
  explicit SocketEngine(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace slipway
