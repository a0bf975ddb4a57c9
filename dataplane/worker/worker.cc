#include "worker/worker.h"

#include <pthread.h>
#include <sched.h>

#include <rte_lcore.h>

#include <cerrno>
#include <cstring>
#include <future>

#include <fmt/format.h>

#include "port/dpdk_port.h"
#include "worker/hold.h"
#include "worker/loop.h"
#include "worker/worker_core.h"

namespace slipway {
namespace {

// Steps that must happen on the worker's own thread, before its first loop.
std::expected<void, std::string> settle(WorkerCore& w) {
  const WorkerConfig& config = w.config;
  pthread_setname_np(pthread_self(), config.name.substr(0, 15).c_str());
  if (config.cpu >= 0) {
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(static_cast<std::size_t>(config.cpu), &set);
    if (const int error = pthread_setaffinity_np(pthread_self(), sizeof set, &set); error != 0) {
      return std::unexpected(fmt::format("pinning worker {} to CPU {} failed: {}; choose a CPU that this process may use "
                                         "(taskset -p, the cgroup's cpuset)",
                                         config.name, config.cpu, std::strerror(error)));
    }
  }
  if (rte_lcore_id() == LCORE_ID_ANY && rte_thread_register() != 0) {
    return std::unexpected(fmt::format("registering worker {} with DPDK failed: there are already {} threads; use fewer workers",
                                       config.name, rte_lcore_count()));
  }
  if (w.sockets != nullptr && !w.sockets_started) {
    if (auto started = w.sockets->start(); !started) {
      return std::unexpected(fmt::format("starting the sockets of worker {} failed: {}", config.name, started.error()));
    }
    w.sockets_started = true;
  }
  return {};
}

void thread_main(WorkerCore& w, std::promise<std::expected<void, std::string>> ready) {
  auto settled = settle(w);
  const bool ok = settled.has_value();
  if (ok) {
    w.running.store(true, std::memory_order_release);
  }
  ready.set_value(std::move(settled));
  if (ok) {
    run_loop(w);
  }
  release_everything(w);
  w.running.store(false, std::memory_order_release);
  if (rte_lcore_id() != LCORE_ID_ANY) {
    rte_thread_unregister();
  }
}

}  // namespace

WorkerCore::WorkerCore(std::uint16_t id_, WorkerConfig config_, NodeShared* shared_)
    : id(id_),
      config(std::move(config_)),
      shared(shared_),
      doorbell(shared_->doorbells[id_].get()),
      pool(config.pool),
      table(config.table),
      links(kMaxLinks),
      records(kMaxLinks),
      sides(kMaxLinks),
      peers(kMaxLinks),
      headers(kMaxLinks),
      link_counters(kMaxLinks),
      budget(shared_->budget) {
  slot_of_port.fill(LinkHot::kNoSlot);
  sender.worker = static_cast<std::uint8_t>(id_);
  make_holds(*this);
}

WorkerCore::~WorkerCore() = default;

Worker::Worker(std::unique_ptr<WorkerCore> core) : core_(std::move(core)) {}

Worker::~Worker() {
  stop();
  release_everything(*core_);  // of a worker that was only stepped by hand
}

std::uint16_t Worker::id() const { return core_->id; }
const WorkerConfig& Worker::config() const { return core_->config; }

std::expected<void, std::string> Worker::start() {
  std::promise<std::expected<void, std::string>> ready;
  auto settled = ready.get_future();
  core_->stopping = false;
  core_->thread = std::thread(thread_main, std::ref(*core_), std::move(ready));
  auto result = settled.get();
  if (!result) {
    core_->thread.join();
  }
  return result;
}

void Worker::stop() {
  if (!core_->thread.joinable()) {
    return;
  }
  // A full ring empties: the worker applies commands in each loop.
  while (post(Command::kStop) == 0) {
    wake();
    std::this_thread::yield();
  }
  core_->thread.join();
}

bool Worker::running() const { return core_->running.load(std::memory_order_acquire); }

std::uint64_t Worker::append(Command command, std::span<const std::byte> record, std::span<const std::byte> tail) {
  if (!core_->commands.push(static_cast<std::uint16_t>(command), record, tail)) {
    return 0;
  }
  return ++posted_;
}

std::uint64_t Worker::post_bytes(Command command, std::span<const std::byte> record, std::span<const std::byte> tail) {
  const std::uint64_t number = append(command, record, tail);
  wake();
  return number;
}

void Worker::wake() { core_->doorbell->ring(); }
std::size_t Worker::command_room() const { return core_->commands.free_bytes(); }
std::uint64_t Worker::applied() const { return core_->applied.load(std::memory_order_acquire); }
MailRing& Worker::events() { return core_->events; }
const WorkerCounters& Worker::counters() const { return core_->counters; }
std::span<const LinkCounters> Worker::link_counters() const { return core_->link_counters.span(); }
const WorkerCounters& Worker::snapshot() const { return core_->snapshot; }
std::uint64_t Worker::held() const { return core_->counters.held.get() + core_->waiting_fanouts.load(std::memory_order_relaxed); }

std::string Worker::socket_features() const {
  if (core_->sockets == nullptr) {
    return {};
  }
  std::string text;
  for (const auto& feature : describe(core_->sockets->features())) {
    text += fmt::format("{}{}: {}", text.empty() ? "" : "; ", feature.name, feature.used ? "used" : feature.what);
  }
  return text;
}

std::size_t Worker::ring_bytes() const { return kCommandRingBytes + kEventRingBytes; }
std::size_t Worker::receive_bytes() const {
  return core_->sockets == nullptr ? 0 : std::size_t{core_->sockets->slab_pieces()} * kSlabPieceBytes;
}

std::uint32_t Worker::do_work(std::uint64_t now_ns) {
  if (core_->sockets != nullptr && !core_->sockets_started) {
    if (!core_->sockets->start()) {
      return 0;
    }
    core_->sockets_started = true;
  }
  return run_once(*core_, now_ns);
}

}  // namespace slipway
