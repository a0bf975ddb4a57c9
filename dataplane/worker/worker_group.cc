// Makes the workers of a node, with what lies between them.
#include <algorithm>
#include <chrono>

#include <fmt/format.h>

#include "port/dpdk_port.h"
#include "worker/fence.h"
#include "worker/worker.h"
#include "worker/worker_core.h"

namespace slipway {

struct WorkerGroup::Shared {
  Shared(std::uint32_t worker_count, std::size_t budget_bytes) : node(worker_count, budget_bytes) {}
  NodeShared node;                               // outlives the workers
  std::vector<std::unique_ptr<Worker>> workers;
};

namespace {

std::expected<void, std::string> check(const WorkerGroupConfig& config) {
  if (config.workers.empty() || config.workers.size() > kMaxWorkers) {
    return std::unexpected(fmt::format("{} workers are configured; a node has 1 to {}", config.workers.size(), kMaxWorkers));
  }
  for (const WorkerConfig& worker : config.workers) {
    if (worker.pool == nullptr || worker.table == nullptr) {
      return std::unexpected(fmt::format("worker {} was given no buffer pool or no route table", worker.name));
    }
    if (worker.ports.empty() && !worker.with_sockets) {
      return std::unexpected(fmt::format("worker {} has neither ports nor sockets: give it a queue of a port or `sockets`", worker.name));
    }
    if (worker.kind == WorkerKind::kSocket && !worker.with_sockets) {
      return std::unexpected(fmt::format("socket worker {} has no sockets", worker.name));
    }
  }
  return {};
}

void add_ports(WorkerCore& core) {
  for (const WorkerPort& port : core.config.ports) {
    auto slot = std::make_unique<PortSlot>();
    slot->port = port.port;
    slot->ethernet = &port.port->ethernet();
    slot->number = port.number;
    slot->rx_queue = port.rx_queue;
    slot->tx_queue = port.tx_queue;
    if (port.tx_queue != WorkerPort::kNoQueue) {
      core.slot_of_port[port.number] = static_cast<std::uint8_t>(core.ports.size());
    }
    core.slots[core.ports.size()] = slot.get();
    core.ports.push_back(std::move(slot));
  }
}

std::expected<void, std::string> equip(WorkerCore& core, const WorkerGroupConfig& config) {
  if (!core.links.ok() || !core.records.ok() || !core.sides.ok() || !core.peers.ok() || !core.headers.ok() || !core.link_counters.ok()) {
    return std::unexpected(fmt::format("no address space for the link tables of worker {}; raise `ulimit -v`", core.config.name));
  }
  core.rules = {.order = config.anycast_order, .policy = config.anycast_policy};
  if (config.anycast_policy == AnycastPolicy::kLeastLoaded) {
    core.load = MappedArray<std::uint32_t>(kMaxLinks);
    core.rules.load = core.load.data();
  }
  core.rules_from_peer = core.rules;
  core.full_mesh = config.peers_full_mesh;
  if (config.peers_full_mesh) {
    core.rules_from_peer.classes = kAllButPeer;
  }
  core.punts_per_second = config.punts_per_second != 0 ? config.punts_per_second : kPuntsPerSecond;
  core.notices_per_second = config.notices_per_second != 0 ? config.notices_per_second : kNoticesPerSecond;
  add_ports(core);
  if (!core.config.with_sockets) {
    return {};
  }
  auto sockets = SocketEngine::create({.worker = static_cast<std::uint8_t>(core.id),
                                       .numa_node = core.config.ports.empty() ? -1 : core.config.ports.front().port->numa(),
                                       .pool = core.pool,
                                       .counters = &core.counters,
                                       .link_counters = core.link_counters.data(),
                                       .budget = &core.shared->budget,
                                       .congestion = &core.shared->congestion,
                                       .events = &core.events,
                                       .wake_fd = core.doorbell->fd()});
  if (!sockets) {
    return std::unexpected(fmt::format("making the sockets of worker {} failed: {}", core.config.name, sockets.error()));
  }
  core.sockets = std::move(*sockets);
  return {};
}

}  // namespace

std::expected<std::unique_ptr<WorkerGroup>, std::string> WorkerGroup::create(WorkerGroupConfig config) {
  if (auto checked = check(config); !checked) {
    return std::unexpected(checked.error());
  }
  const auto count = static_cast<std::uint32_t>(config.workers.size());
  auto shared = std::make_unique<Shared>(count, config.node_budget_bytes);
  NodeShared& node = shared->node;
  node.control = config.control;
  for (std::uint32_t i = 0; i < count; ++i) {
    auto doorbell = Doorbell::create();
    if (!doorbell) {
      return std::unexpected(doorbell.error());
    }
    node.doorbells.push_back(std::move(*doorbell));
  }
  for (std::uint32_t i = 0; i < count * count; ++i) {
    node.handoff.push_back(i / count == i % count ? nullptr : std::make_unique<HandoffRing>());
  }
  for (std::uint32_t i = 0; i < count; ++i) {
    auto core = std::make_unique<WorkerCore>(static_cast<std::uint16_t>(i), config.workers[i], &node);
    if (auto equipped = equip(*core, config); !equipped) {
      return std::unexpected(equipped.error());
    }
    shared->workers.push_back(std::unique_ptr<Worker>(new Worker(std::move(core))));
  }
  return std::unique_ptr<WorkerGroup>(new WorkerGroup(std::move(shared)));
}

WorkerGroup::WorkerGroup(std::unique_ptr<Shared> shared) : shared_(std::move(shared)) {}

WorkerGroup::~WorkerGroup() {
  stop();
  // What was on its way between workers when they stopped.
  for (const auto& ring : shared_->node.handoff) {
    HandoffEntry entry;
    while (ring != nullptr && ring->pop(&entry, 1) != 0) {
      rte_pktmbuf_free(entry.frame);
    }
  }
}

std::size_t WorkerGroup::size() const { return shared_->workers.size(); }
Worker& WorkerGroup::operator[](std::size_t id) { return *shared_->workers[id]; }
const Worker& WorkerGroup::operator[](std::size_t id) const { return *shared_->workers[id]; }

std::expected<void, std::string> WorkerGroup::start() {
  for (const auto& worker : shared_->workers) {
    if (auto started = worker->start(); !started) {
      stop();
      return started;
    }
  }
  return {};
}

void WorkerGroup::stop() {
  for (const auto& worker : shared_->workers) {
    worker->stop();
  }
}

bool WorkerGroup::wait_for_new_loops(std::uint64_t timeout_ms) {
  // The loop that runs now may have looked at its ports already: the end of the one after it proves that every
  // worker has seen what was written before this call.
  full_fence();
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::milliseconds(timeout_ms);
  for (const auto& worker : shared_->workers) {
    const std::uint64_t enough = worker->counters().loops.get() + 2;
    while (worker->running() && worker->counters().loops.get() < enough) {
      if (std::chrono::steady_clock::now() > deadline) {
        return false;
      }
      worker->wake();
      std::this_thread::sleep_for(std::chrono::microseconds(50));
    }
  }
  return true;
}

std::uint64_t WorkerGroup::in_handoff() const {
  std::uint64_t total = 0;
  for (const auto& ring : shared_->node.handoff) {
    total += ring != nullptr ? ring->size() : 0;
  }
  return total;
}

std::size_t WorkerGroup::budget_used_bytes() const { return shared_->node.budget.used(); }

}  // namespace slipway
