#include "node/node_ports.h"

#include "control_bounds.h"

#include <fmt/format.h>
#include <rte_mempool.h>

#include <algorithm>
#include <set>

namespace slipway {

namespace {

void log_dpdk(Log& log, int level, std::string_view line) {
  log.write(level <= 4 ? LogLevel::kError : level == 5 ? LogLevel::kWarn : LogLevel::kDebug, fmt::format("DPDK: {}", line));
}

}  // namespace

std::expected<std::unique_ptr<NodePorts>, std::string> NodePorts::open(const NodeSettings& settings, Log& log) {
  std::unique_ptr<NodePorts> out(new NodePorts(log));
  out->buffers_ = settings.limits.buffers;
  EalOptions options;
  options.pci = std::ranges::any_of(settings.ports, [](const auto& p) { return is_pci_address(p.device); });
  options.huge_pages = settings.huge_pages ? HugePages::kAuto : HugePages::kNever;
  // One pool for each port at most, since a port may ask for its own memory node.
  options.memory_bytes = pool_bytes(settings.limits.buffers) * std::max<std::size_t>(1, settings.ports.size()) +
                         kPortMemoryBytes * (settings.ports.size() + 1);
  options.log = [&log](int level, std::string_view line) { log_dpdk(log, level, line); };
  auto eal = Eal::start(options);
  if (!eal) {
    return std::unexpected(eal.error());
  }
  out->eal_ = std::move(*eal);
  const auto poll_workers = static_cast<std::size_t>(std::ranges::count(settings.workers, WorkerKind::kPoll, &WorkerSettings::kind));
  if (auto pools = out->make_pools(settings); !pools) {
    return std::unexpected(pools.error());
  }
  for (const auto& port : settings.ports) {
    if (auto made = out->make_port(port, poll_workers); !made) {
      return std::unexpected(made.error());
    }
  }
  return out;
}

NodePorts::~NodePorts() {
  ports_.clear();
  pools_.clear();
}

std::expected<void, std::string> NodePorts::make_pools(const NodeSettings& settings) {
  auto pool = create_pool("slipway", settings.limits.buffers);
  if (!pool) {
    return std::unexpected(pool.error());
  }
  pools_.emplace(kAnyNuma, std::move(*pool));
  return {};
}

std::expected<void, std::string> NodePorts::make_port(const PortSettings& settings, std::size_t poll_workers) {
  DpdkPortConfig config;
  config.name = settings.name;
  config.device = settings.device;
  config.addresses = settings.addresses;
  config.routes = settings.routes;
  config.vlan = settings.vlan;
  config.mtu = settings.mtu;
  config.udp_port = settings.udp_port;
  config.promiscuous = settings.promiscuous;
  const auto wanted = static_cast<std::uint16_t>(settings.queues == 0 ? poll_workers : std::min<std::size_t>(settings.queues, poll_workers));
  config.rx_queues = wanted;
  config.tx_queues = static_cast<std::uint16_t>(poll_workers);
  const auto number = static_cast<std::uint16_t>(ports_.size());
  auto device = DpdkPort::attach(number, config);
  if (!device) {
    return std::unexpected(fmt::format("port {}: {}", settings.name, device.error()));
  }
  const int numa = (*device)->numa();
  if (numa > 0 && !pools_.contains(numa)) {
    auto pool = create_pool(fmt::format("slipway-{}", numa), buffers_, numa);
    if (!pool) {
      return std::unexpected(fmt::format("port {}: {}", settings.name, pool.error()));
    }
    pools_.emplace(numa, std::move(*pool));
  }
  rte_mempool* pool = pools_.contains(numa) ? pools_.at(numa).get() : pools_.at(kAnyNuma).get();
  if (auto started = (*device)->start(pool, config.rx_queues, config.tx_queues); !started) {
    return std::unexpected(fmt::format("port {}: {}", settings.name, started.error()));
  }
  auto neighbors = std::make_unique<Neighbors>((*device)->ethernet(), (*device)->config().addresses, settings.routes);
  ports_.push_back({settings, std::move(*device), std::move(neighbors), {}});
  return {};
}

NodePorts::Port* NodePorts::find(const std::string& name) {
  const auto at = std::ranges::find_if(ports_, [&](const Port& p) { return p.settings.name == name; });
  return at == ports_.end() ? nullptr : &*at;
}

std::vector<WorkerPort> NodePorts::queues_of(std::uint16_t worker, std::size_t poll_index) {
  std::vector<WorkerPort> out;
  for (std::uint16_t number = 0; number < ports_.size(); ++number) {
    auto& port = ports_[number];
    WorkerPort use{.port = port.device.get(), .number = number};
    if (poll_index < port.device->rx_queues()) {
      use.rx_queue = static_cast<std::uint16_t>(poll_index);
    }
    if (poll_index < port.device->tx_queues()) {
      use.tx_queue = static_cast<std::uint16_t>(poll_index);
      port.workers.push_back(worker);
    }
    if (use.rx_queue != WorkerPort::kNoQueue || use.tx_queue != WorkerPort::kNoQueue) {
      out.push_back(use);
    }
  }
  return out;
}

rte_mempool* NodePorts::pool_of(const std::vector<WorkerPort>& ports) const {
  for (const auto& port : ports) {
    if (const auto at = pools_.find(port.port->numa()); at != pools_.end()) {
      return at->second.get();
    }
  }
  return pools_.at(kAnyNuma).get();
}

void NodePorts::set_quiesce(const std::function<bool()>& quiesce) {
  for (auto& port : ports_) {
    port.device->set_quiesce(quiesce);
  }
}

void NodePorts::carry_out(std::uint16_t port, Neighbors::Output& output) {
  if (!output.packets.empty()) {
    send(port, output.packets);
  }
  if (!output.changed.empty()) {
    changed(port, output.changed);
  }
  for (const auto& other : output.conflicts) {
    log_.warn(fmt::format("port {}: {} claims our address {}; give one of the two another address", ports_[port].settings.name,
                          to_text(other.mac), to_text(other.address)));
  }
}

void NodePorts::announce() {
  for (std::uint16_t number = 0; number < ports_.size(); ++number) {
    Neighbors::Output output;
    ports_[number].neighbors->announce(output);
    carry_out(number, output);
  }
}

void NodePorts::packet_in(std::uint16_t number, std::span<const std::byte> packet, std::uint64_t now_ms) {
  if (number < ports_.size()) {
    Neighbors::Output output;
    ports_[number].neighbors->packet_in(packet, now_ms, output);
    carry_out(number, output);
  }
}

void NodePorts::tick(std::uint64_t now_ms) {
  const bool report = now_ms >= next_report_ms_;
  if (report) {
    next_report_ms_ = now_ms + kGroupReportMs;
  }
  for (std::uint16_t number = 0; number < ports_.size(); ++number) {
    auto& port = ports_[number];
    Neighbors::Output output;
    switch (port.device->tick(now_ms)) {
      case PortEvent::kUp:
      case PortEvent::kBack:
        log_.info(fmt::format("port {}: link up", port.settings.name));
        port.neighbors->restart(port.device->ethernet(), now_ms, output);
        break;
      case PortEvent::kDown:
        log_.warn(fmt::format("port {}: link down", port.settings.name));
        break;
      case PortEvent::kGone:
        log_.warn(fmt::format("port {}: the device is gone: {}", port.settings.name, port.device->last_error()));
        break;
      case PortEvent::kNone:
        break;
    }
    port.neighbors->tick(now_ms, output);
    if (report) {
      port.neighbors->report_groups(output);
    }
    carry_out(number, output);
  }
}

std::expected<void, std::string> NodePorts::find_way(LinkRecord& record, std::uint64_t now_ms) {
  Port* port = find(record.port);
  if (port == nullptr) {
    return std::unexpected("the port is gone");
  }
  const auto path = port->neighbors->path_to(address_of(record.peer));
  if (!path) {
    return std::unexpected(fmt::format("port {}: {}", port->settings.name, path.error()));
  }
  Neighbors::Output output;
  if (!port->neighbors->want(path->next_hop, now_ms, output)) {
    return std::unexpected(fmt::format("port {} resolves as many next hops as it can", port->settings.name));
  }
  record.outer = port->neighbors->outer_to(record.peer);
  record.datagram_bytes = datagram_bytes(port->device->ethernet().mtu, record.peer.family);
  if (std::ranges::find(port->workers, record.owner_worker) == port->workers.end() && !port->workers.empty()) {
    record.owner_worker = port->workers.front();
  }
  carry_out(record.port, output);
  return {};
}

void NodePorts::forget_way(const LinkRecord& record) {
  if (Port* port = find(record.port)) {
    if (const auto path = port->neighbors->path_to(address_of(record.peer))) {
      port->neighbors->release(path->next_hop);
    }
  }
}

OuterTemplate NodePorts::outer_to(const LinkRecord& record) const {
  return record.port < ports_.size() ? ports_[record.port].neighbors->outer_to(record.peer) : OuterTemplate{};
}

bool NodePorts::goes_by(const LinkRecord& record, const std::vector<IpAddress>& hops) const {
  if (record.port >= ports_.size()) {
    return false;
  }
  const auto path = ports_[record.port].neighbors->path_to(address_of(record.peer));
  return path && std::ranges::find(hops, path->next_hop) != hops.end();
}

PacketBytes NodePorts::packet_to(std::uint16_t number, const IpEndpoint& to, const IpEndpoint& own,
                                 const std::array<std::uint8_t, 6>& mac, std::span<const std::byte> payload) const {
  if (number >= ports_.size()) {
    return {};
  }
  const auto& ethernet = ports_[number].device->ethernet();
  return make_datagram(ethernet, make_outer(ethernet, address_of(own), to, mac), payload);
}

std::vector<NodePorts::PoolInfo> NodePorts::pools() const {
  std::vector<PoolInfo> out;
  for (const auto& [numa, pool] : pools_) {
    out.push_back({pool->name, pool->size, rte_mempool_avail_count(pool.get()), pool_bytes(pool->size)});
  }
  return out;
}

}  // namespace slipway
