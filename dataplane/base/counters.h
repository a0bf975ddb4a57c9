#pragma once
// Counters of one worker. Only the worker writes, by plain 64-bit loads and stores; anybody may read.
// One list makes the fields, their stable names and their texts, so that a counter on one surface is on all.
//
// The books. At the end of each loop of a worker, exactly:
//   frames_in + injected            = forwarded + punted + consumed + dropped_frames
//   copies_made + handoff_in        = sent + handoff_out + dropped_copies + held
// where `forwarded` frames made `copies_made` copies (at least one each), `held` is what lies in send queues,
// hold queues and transmit buffers now, and what is on its way between workers is
// sum(handoff_out) - sum(handoff_in). Packets have books of their own:
//   packets_in = datagrams accepted as (pieces of) frames + packets_answered + packets_punted + packets_dropped.
// A frame that is being joined or is partly received is not yet counted in frames_in; its bytes are in `partial_bytes`.

#include <array>
#include <atomic>
#include <cstdint>
#include <string_view>

#include "base/drop_reason.h"
#include "bounds.h"

namespace slipway {

// A 64-bit counter with one writer: relaxed load and store.
class Counter {
 public:
  void add(std::uint64_t n) {
#if defined(__x86_64__) && !defined(__SANITIZE_THREAD__)
    // The same as one instruction, which compilers do not make of it. An aligned 64-bit store is never seen in part.
    asm("addq %1, %0" : "+m"(value_) : "er"(n) : "cc");
#else
    value_.store(value_.load(std::memory_order_relaxed) + n, std::memory_order_relaxed);
#endif
  }
  void set(std::uint64_t n) { value_.store(n, std::memory_order_relaxed); }
  void raise_to(std::uint64_t n) {
    if (n > get()) {
      set(n);
    }
  }
  [[nodiscard]] std::uint64_t get() const { return value_.load(std::memory_order_relaxed); }

 private:
  std::atomic<std::uint64_t> value_{0};
};
static_assert(sizeof(Counter) == 8);

// X(field, what it counts). The stable name is the field's.
#define SLIPWAY_WORKER_COUNTERS(X)                                                             \
  X(loops, "loops of the worker")                                                              \
  X(bursts, "bursts that held at least one frame")                                             \
  X(frames_in, "whole frames received on links")                                               \
  X(bytes_in, "their bytes, header and body")                                                  \
  X(injected, "frames handed in by the control thread")                                        \
  X(forwarded, "publishes sent to at least one receiver")                                      \
  X(punted, "frames handed to the control thread")                                             \
  X(consumed, "frames that ended here by design")                                              \
  X(dropped_frames, "frames dropped before any copy was made")                                 \
  X(copies_made, "copies made of forwarded and injected frames, one a receiver")               \
  X(sent, "copies given to a port or accepted by a socket")                                    \
  X(bytes_sent, "their bytes, header and body")                                                \
  X(dropped_copies, "copies dropped on their way out")                                         \
  X(handoff_in, "copies taken over from other workers")                                        \
  X(handoff_out, "copies given to other workers")                                              \
  X(held, "copies held now in queues and buffers")                                             \
  X(held_bytes, "their bytes")                                                                 \
  X(partial_bytes, "bytes held now of frames not yet whole")                                   \
  X(packets_in, "packets received on DPDK and datagram ports")                                 \
  X(packets_answered, "ARP, neighbour and echo requests answered")                             \
  X(packets_punted, "packets handed to the control thread")                                    \
  X(packets_dropped, "packets dropped")                                                        \
  X(packets_out, "packets sent on DPDK and datagram ports")                                    \
  X(fragments_in, "datagrams that held a piece of a frame")                                    \
  X(fragments_out, "datagrams sent that held a piece of a frame")                              \
  X(pauses, "times a link was no longer read because a receiver's queue was full")             \
  X(wakeups, "times another thread woke this worker")                                          \
  X(commands, "commands of the control thread applied")                                        \
  X(events_lost, "events to the control thread that found its ring full")                      \
  X(syscalls, "system calls for sockets")                                                      \
  X(busy_cycles, "TSC cycles in loops that did work")                                          \
  X(idle_cycles, "TSC cycles in loops that found none")                                        \
  X(sleep_cycles, "TSC cycles asleep")                                                         \
  X(longest_loop_cycles, "TSC cycles of the longest loop")                                     \
  X(slow_loops, "loops longer than the stall threshold")

struct WorkerCounters {
#define SLIPWAY_X(field, text) Counter field;
  SLIPWAY_WORKER_COUNTERS(SLIPWAY_X)
#undef SLIPWAY_X
  std::array<Counter, kDropReasonCount> drops;          // frames, copies and packets, by reason
  std::array<Counter, kMaxBurst + 1> burst_fill;        // bursts that held i frames
};

// Counters of one link on one worker. A worker's table of them is an array whose pages exist once they are used.
struct alignas(64) LinkCounters {
  Counter frames_in;
  Counter bytes_in;
  Counter frames_sent;
  Counter bytes_sent;
  Counter queued_frames;  // now
  Counter queued_bytes;   // now
  Counter pauses;         // times its sender was paused
  std::array<Counter, kDropReasonCount> drops;
};

struct CounterText {
  std::string_view name;
  std::string_view text;
  Counter WorkerCounters::*field;
};
inline constexpr auto kWorkerCounterTexts = std::to_array<CounterText>({
#define SLIPWAY_X(field, text) {#field, text, &WorkerCounters::field},
    SLIPWAY_WORKER_COUNTERS(SLIPWAY_X)
#undef SLIPWAY_X
});

}  // namespace slipway
