#pragma once
// A worker: one thread that forwards. It owns queues of DPDK ports, or one io_uring engine with sockets, or both;
// its own route table and link table; its counters. A poll worker and a socket worker are the same class and run
// the same loop:
//
//   commands -> frames from other workers -> bursts from ports and sockets -> forward -> flush -> sleep or not
//
// Who may call what is said at each function: "control" is the one thread that made the workers, "worker" is the
// thread that runs the loop (start() makes it; a test that steps do_work() by hand is that thread itself).
//
// Life: make ports and pools, WorkerGroup::create, start() each, post commands, drain and stop. Route tables
// belong to the caller and outlive the worker's run.

#include <array>
#include <atomic>
#include <cstdint>
#include <expected>
#include <memory>
#include <span>
#include <string>
#include <type_traits>
#include <vector>

#include "base/counters.h"
#include "base/link.h"
#include "base/mail.h"
#include "base/messages.h"
#include "bounds.h"
#include "route/route_table.h"
#include "worker/doorbell.h"

struct rte_mempool;

namespace slipway {

class DpdkPort;
struct WorkerCore;

enum class WorkerKind : std::uint8_t {
  kPoll,    // never sleeps unless its idle policy says so
  kSocket,  // sleeps in its io_uring when there is nothing to do
};

// What a poll worker does when its ports have nothing. A socket worker always sleeps in its ring.
enum class IdlePolicy : std::uint8_t {
  kSpin,       // looks again at once
  kPause,      // CPU pause instructions, then a ramp of short sleeps: cheap, wakes within kMaxNapUs
  kInterrupt,  // as kPause, then blocks on receive interrupts; naps where a driver has none
};

// One DPDK port as one worker uses it. A worker without a transmit queue of a port hands its copies over to the
// worker that LinkRecord.owner_worker names.
struct WorkerPort {
  static constexpr std::uint16_t kNoQueue = 0xFFFF;
  DpdkPort* port = nullptr;           // outlives the worker
  std::uint16_t number = 0;           // dataplane port: LinkRecord.port, Inject*.port
  std::uint16_t rx_queue = kNoQueue;  // at least one of the two
  std::uint16_t tx_queue = kNoQueue;
};

struct WorkerConfig {
  std::string name;                   // of the thread, at most 15 characters
  WorkerKind kind = WorkerKind::kSocket;
  IdlePolicy idle = IdlePolicy::kPause;
  int cpu = -1;                       // pinned there; -1: wherever the scheduler likes
  bool with_sockets = true;           // has an io_uring engine
  rte_mempool* pool = nullptr;        // frames and headers of this worker; private area kMbufPrivateBytes
  std::vector<WorkerPort> ports;
  RouteTable* table = nullptr;        // this worker's copy; the caller's, and used by the worker alone from start()
};

// What all workers of a node have in common.
struct WorkerGroupConfig {
  std::vector<WorkerConfig> workers;  // the id of a worker is its place here; at most kMaxWorkers
  AnycastOrder anycast_order = AnycastOrder::kNearest;
  AnycastPolicy anycast_policy = AnycastPolicy::kRoundRobin;
  bool peers_full_mesh = false;       // frames from peers are not sent on to peers
  std::size_t node_budget_bytes = kNodeBudgetBytes;
  std::uint32_t punts_per_second = 0;     // control frames of one link a second; 0: kPuntsPerSecond
  std::uint32_t notices_per_second = 0;   // Event::kNoRoute of one link a second; 0: kNoticesPerSecond
  Doorbell* control = nullptr;        // rung when events were posted and the control thread sleeps; may be null
};

class Worker {
 public:
  Worker(const Worker&) = delete;
  Worker& operator=(const Worker&) = delete;
  ~Worker();  // control, after stop()

  // --- control -------------------------------------------------------------------------------------
  [[nodiscard]] std::uint16_t id() const;
  [[nodiscard]] const WorkerConfig& config() const;

  // Runs the loop on a thread of its own until stop(). The error says which step was refused.
  std::expected<void, std::string> start();
  // Posts kStop, joins the thread, closes the sockets and frees what is held (counted `stopping`).
  // Sends nothing more: post kDrain and wait for held() == 0 before, when frames matter.
  void stop();
  [[nodiscard]] bool running() const;

  // Appends a command and wakes the worker if it sleeps. Its number (from 1), or 0 when the ring is full.
  template <class T>
    requires std::is_trivially_copyable_v<T>
  std::uint64_t post(Command command, const T& record, std::span<const std::byte> tail = {}) {
    return post_bytes(command, std::as_bytes(std::span(&record, 1)), tail);
  }
  std::uint64_t post(Command command) { return post_bytes(command, {}, {}); }
  // The same without waking, for many in a row: call wake() after the last.
  template <class T>
    requires std::is_trivially_copyable_v<T>
  std::uint64_t post_quietly(Command command, const T& record, std::span<const std::byte> tail = {}) {
    return append(command, std::as_bytes(std::span(&record, 1)), tail);
  }
  // The same for a record that was kept as bytes.
  std::uint64_t append_quietly(Command command, std::span<const std::byte> record, std::span<const std::byte> tail) {
    return append(command, record, tail);
  }
  void wake();
  [[nodiscard]] std::uint64_t posted() const { return posted_; }
  // Free room for commands; each takes its bytes, rounded up to 8, and 8 more.
  [[nodiscard]] std::size_t command_room() const;

  // Commands applied so far. A change is in force on this worker when applied() >= the number that post() gave.
  [[nodiscard]] std::uint64_t applied() const;
  // What the worker tells: read with peek() and pop().
  [[nodiscard]] MailRing& events();

  // What happened so far; any thread, relaxed. Exact at the end of each loop only: for books use the snapshot.
  [[nodiscard]] const WorkerCounters& counters() const;
  [[nodiscard]] std::span<const LinkCounters> link_counters() const;  // kMaxLinks, by LinkIndex
  // The copy that the last Command::kSnapshot made. Valid from its Event::kSnapshotDone to the next kSnapshot.
  [[nodiscard]] const WorkerCounters& snapshot() const;
  // Frames and copies that lie in queues now.
  [[nodiscard]] std::uint64_t held() const;

  // Memory of its own beside the pools and tables: its rings to and from the control thread, and the receive buffers of
  // its sockets (inside DPDK's heap where there are huge pages). Addresses; resident as far as used.
  [[nodiscard]] std::size_t ring_bytes() const;
  [[nodiscard]] std::size_t receive_bytes() const;

  // What the socket engine uses of the kernel's io_uring and what it does without, for people. Empty: no sockets.
  [[nodiscard]] std::string socket_features() const;

  // --- worker --------------------------------------------------------------------------------------
  // One loop at this time (any steady clock, nanoseconds): commands, one burst from each source, flush. Returns
  // how much was done: 0 means idle. Never sleeps.
  std::uint32_t do_work(std::uint64_t now_ns);

 private:
  friend class WorkerGroup;
  explicit Worker(std::unique_ptr<WorkerCore> core);
  std::uint64_t post_bytes(Command command, std::span<const std::byte> record, std::span<const std::byte> tail);
  std::uint64_t append(Command command, std::span<const std::byte> record, std::span<const std::byte> tail);

  std::unique_ptr<WorkerCore> core_;
  std::uint64_t posted_ = 0;
};

// All workers of a node, with the rings between them and what they share. Control thread.
class WorkerGroup {
 public:
  // Makes rings, tables of links and counters, and socket engines; starts nothing.
  static std::expected<std::unique_ptr<WorkerGroup>, std::string> create(WorkerGroupConfig config);
  WorkerGroup(const WorkerGroup&) = delete;
  WorkerGroup& operator=(const WorkerGroup&) = delete;
  ~WorkerGroup();  // stops what runs

  [[nodiscard]] std::size_t size() const;
  [[nodiscard]] Worker& operator[](std::size_t id);
  [[nodiscard]] const Worker& operator[](std::size_t id) const;

  std::expected<void, std::string> start();  // all; on an error none runs
  void stop();                               // all

  // Waits until every running worker has begun a loop after this call: then none uses what was taken from it before
  // (a closed port). For DpdkPort::set_quiesce. False: one did not in time.
  bool wait_for_new_loops(std::uint64_t timeout_ms);

  // Frames on their way between workers now: sum(handoff_out) - sum(handoff_in), exact when no worker runs.
  [[nodiscard]] std::uint64_t in_handoff() const;
  // Bytes that the node's budget has given out.
  [[nodiscard]] std::size_t budget_used_bytes() const;

 private:
  struct Shared;
  explicit WorkerGroup(std::unique_ptr<Shared> shared);
  std::unique_ptr<Shared> shared_;
};

}  // namespace slipway
