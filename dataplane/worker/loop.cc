// How long a worker runs, and how it rests.
#include "worker/loop.h"

#include <poll.h>
#include <sys/epoll.h>
#include <sys/prctl.h>

#include <rte_cycles.h>
#include <rte_ethdev.h>
#include <rte_interrupts.h>
#include <rte_pause.h>

#include <algorithm>

#include "port/dpdk_port.h"
#include "worker/forward_datapath.h"
#include "worker/hold.h"

namespace slipway {
namespace {

constexpr std::uint32_t kSpinLoops = 256;          // empty loops before the first nap
constexpr std::uint32_t kNapLoops = 64;            // naps before a worker blocks on interrupts
constexpr std::uint64_t kRestNs = 500'000'000;     // longest sleep: deadlines of the engine and ours are looked at
constexpr std::uint64_t kEdgeRestNs = 10'000'000;  // while frames wait for a next hop or for their pieces, or senders for a notice
constexpr std::uint64_t kGatedRestNs = 50'000;     // while a ring to another worker is full

// TSC cycles to nanoseconds without a division.
struct Clock {
  std::uint64_t base_tsc = rte_rdtsc();
  std::uint64_t ns_per_cycle_32 = (std::uint64_t{1'000'000'000} << 32) / rte_get_tsc_hz();

  [[nodiscard]] std::uint64_t ns(std::uint64_t tsc) const {
    __extension__ using Wide = unsigned __int128;
    return static_cast<std::uint64_t>((static_cast<Wide>(tsc - base_tsc) * ns_per_cycle_32) >> 32);
  }
};

// Everything that another thread may have given us, looked at after the doorbell was armed.
bool has_mail(const WorkerCore& w) {
  if (!w.commands.empty()) {
    return true;
  }
  for (std::uint32_t from = 0; from < w.shared->workers; ++from) {
    if (from != w.id && !w.shared->handoff[from * w.shared->workers + w.id]->empty()) {
      return true;
    }
  }
  return false;
}

std::uint64_t rest_ns(const WorkerCore& w) {
  if (w.gated) {
    return kGatedRestNs;
  }
  return w.holds.count != 0 || w.joiner.frames() != 0 || w.owed.count != 0 ? kEdgeRestNs : kRestNs;
}

// Interrupts of every receive queue, and the doorbell, in this thread's epoll set. False where a driver has none.
class PortInterrupts {
 public:
  explicit PortInterrupts(WorkerCore& w) : w_(w) {
    usable_ = w.config.idle == IdlePolicy::kInterrupt && add_doorbell();
    for (const auto& slot : w.ports) {
      if (!usable_ || slot->rx_queue == WorkerPort::kNoQueue) {
        continue;
      }
      usable_ = slot->port->has_rx_interrupts() && rte_eth_dev_rx_intr_ctl_q(slot->ethernet->device, slot->rx_queue, RTE_EPOLL_PER_THREAD,
                                                                             RTE_INTR_EVENT_ADD, nullptr) == 0;
    }
  }
  [[nodiscard]] bool usable() const { return usable_; }

  // Blocks until a packet, the doorbell, or the time. A queue that has packets already is not slept on.
  void wait(std::uint64_t timeout_ns) {
    bool ready = false;
    for (const auto& slot : w_.ports) {
      if (slot->rx_queue != WorkerPort::kNoQueue && slot->port->state().open.load(std::memory_order_acquire)) {
        ready |= rte_eth_dev_rx_intr_enable(slot->ethernet->device, slot->rx_queue) != 0;
        ready |= rte_eth_rx_queue_count(slot->ethernet->device, slot->rx_queue) > 0;
      }
    }
    if (!ready) {
      std::array<rte_epoll_event, 8> events;
      rte_epoll_wait(RTE_EPOLL_PER_THREAD, events.data(), static_cast<int>(events.size()),
                     static_cast<int>(std::max<std::uint64_t>(timeout_ns / 1'000'000, 1)));
    }
    for (const auto& slot : w_.ports) {
      if (slot->rx_queue != WorkerPort::kNoQueue && slot->port->state().open.load(std::memory_order_acquire)) {
        rte_eth_dev_rx_intr_disable(slot->ethernet->device, slot->rx_queue);
      }
    }
  }

 private:
  bool add_doorbell() {
    event_.epdata.event = EPOLLIN;
    return rte_epoll_ctl(RTE_EPOLL_PER_THREAD, EPOLL_CTL_ADD, w_.doorbell->fd(), &event_) == 0;
  }

  WorkerCore& w_;
  rte_epoll_event event_{};
  bool usable_ = false;
};

// A nap from which commands and frames of other workers wake us; packets do not, so it is short.
void nap(WorkerCore& w, std::uint64_t ns) {
  pollfd fd{.fd = w.doorbell->fd(), .events = POLLIN, .revents = 0};
  const timespec timeout{.tv_sec = static_cast<time_t>(ns / 1'000'000'000), .tv_nsec = static_cast<long>(ns % 1'000'000'000)};
  ppoll(&fd, 1, &timeout, nullptr);
}

// What an idle worker does after `empty` loops without work. True when it slept.
bool rest(WorkerCore& w, PortInterrupts& interrupts, std::uint32_t empty) {
  const bool socket_worker = w.sockets != nullptr && w.config.kind == WorkerKind::kSocket;
  if (!socket_worker && (w.config.idle == IdlePolicy::kSpin || empty < kSpinLoops)) {
    if (w.config.idle != IdlePolicy::kSpin) {
      for (std::uint32_t i = 0; i < std::min(empty / 16, 8u); ++i) {
        rte_pause();
      }
    }
    return false;
  }
  w.doorbell->arm();
  if (!has_mail(w)) {
    const std::uint32_t naps = empty - kSpinLoops;
    if (socket_worker && w.ports.empty()) {
      w.sockets->wait(rest_ns(w));
    } else if (socket_worker) {
      w.sockets->wait(std::min<std::uint64_t>(rest_ns(w), kMaxNapUs * 1'000));  // its ports have no interrupts in the ring
    } else if (w.ports.empty()) {
      nap(w, rest_ns(w));
    } else if (interrupts.usable() && naps >= kNapLoops && w.sockets == nullptr) {
      interrupts.wait(rest_ns(w));
    } else {
      nap(w, std::min<std::uint64_t>(1'000u << std::min(naps / 8, 8u), std::uint64_t{kMaxNapUs} * 1'000));
    }
  }
  w.doorbell->disarm();
  w.counters.wakeups.set(w.doorbell->times_woken());
  w.loops_until_edge = 1;  // sleeping loops are few: time passes faster than they count
  return true;
}

void account(WorkerCore& w, std::uint64_t cycles, bool busy, std::uint64_t slow_cycles) {
  (busy ? w.counters.busy_cycles : w.counters.idle_cycles).add(cycles);
  w.counters.longest_loop_cycles.raise_to(cycles);
  if (cycles > slow_cycles) [[unlikely]] {
    w.counters.slow_loops.add(1);
  }
}

}  // namespace

// One reading of the clock a loop: the end of one is the begin of the next.
void run_loop(WorkerCore& w) {
  prctl(PR_SET_TIMERSLACK, 1'000);  // naps are microseconds; the default slack is 50
  const Clock clock;
  PortInterrupts interrupts(w);
  const std::uint64_t slow_cycles = rte_get_tsc_hz() / 1'000'000 * kSlowLoopUs;
  std::uint32_t empty = 0;
  std::uint64_t before = rte_rdtsc();
  while (!w.stopping) {
    const std::uint32_t work = run_once(w, clock.ns(before));
    std::uint64_t after = rte_rdtsc();
    account(w, after - before, work != 0, slow_cycles);
    before = after;
    if (work != 0) {
      empty = 0;
      continue;
    }
    if (rest(w, interrupts, empty++)) {
      after = rte_rdtsc();
      const std::uint64_t awake = w.sockets != nullptr ? w.sockets->take_spun_cycles() : 0;
      w.counters.idle_cycles.add(awake);
      w.counters.sleep_cycles.add(after - before - awake);
      before = after;
    }
  }
}

void release_everything(WorkerCore& w) {
  if (w.released) {
    return;
  }
  w.released = true;
  drop_fanouts(w);
  rte_pktmbuf_free(w.publish.first);
  w.publish = {};
  for (LinkIndex link = 1; link <= w.highest_link && w.holds.count != 0; ++link) {
    drop_held(w, link, DropReason::kStopping);
  }
  for (LinkIndex link = 1; link <= w.highest_link && w.joiner.frames() != 0; ++link) {
    w.joiner.forget(link, w.counters, w.link_counters[link]);
  }
  if (w.sockets != nullptr && w.sockets_started) {  // else its ring belongs to nobody, and nothing was opened
    w.sockets->close_all();
  }
}

}  // namespace slipway
