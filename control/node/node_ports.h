#pragma once
// The node's DPDK: environment, buffer pools, ports, and the next hops of each port. Control thread.

#include <cstdint>
#include <expected>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "node/log.h"
#include "node/settings.h"
#include "port/dpdk_port.h"
#include "port/eal.h"
#include "port/neighbor.h"
#include "port/pool.h"

namespace slipway {

class NodePorts {
 public:
  // Environment, pools and ports, in this order; on an error what was begun is given back.
  static std::expected<std::unique_ptr<NodePorts>, std::string> open(const NodeSettings& settings, Log& log);
  ~NodePorts();  // after the workers
  NodePorts(const NodePorts&) = delete;
  NodePorts& operator=(const NodePorts&) = delete;

  struct Port {
    PortSettings settings;
    std::unique_ptr<DpdkPort> device;
    std::unique_ptr<Neighbors> neighbors;
    std::vector<std::uint16_t> workers;  // with a transmit queue; the first sends what the control thread makes
  };
  [[nodiscard]] const std::vector<Port>& ports() const { return ports_; }
  Port* find(std::uint16_t number) { return number < ports_.size() ? &ports_[number] : nullptr; }
  Port* find(const std::string& name);

  // The worker's part of each port: queues by the place of the worker among the poll workers.
  [[nodiscard]] std::vector<WorkerPort> queues_of(std::uint16_t worker, std::size_t poll_index);
  [[nodiscard]] rte_mempool* pool_of(const std::vector<WorkerPort>& ports) const;
  void set_quiesce(const std::function<bool()>& quiesce);

  // How packets get out and who is told of changed next hops; set before tick().
  std::function<void(std::uint16_t port, const std::vector<PacketBytes>&)> send;
  std::function<void(std::uint16_t port, const std::vector<IpAddress>& changed)> changed;
  void announce();                                             // at start: who we are
  void packet_in(std::uint16_t port, std::span<const std::byte> packet, std::uint64_t now_ms);
  void tick(std::uint64_t now_ms);

  // A link towards `record.peer` through its port: outer headers (length 0 until the next hop is known), datagram_bytes,
  // owner_worker. Keeps the next hop fresh until forget_way().
  std::expected<void, std::string> find_way(LinkRecord& record, std::uint64_t now_ms);
  void forget_way(const LinkRecord& record);
  [[nodiscard]] OuterTemplate outer_to(const LinkRecord& record) const;
  // Whether the next hop of the record is one of these.
  [[nodiscard]] bool goes_by(const LinkRecord& record, const std::vector<IpAddress>& hops) const;
  // A whole packet back to where a hello came from.
  [[nodiscard]] PacketBytes packet_to(std::uint16_t port, const IpEndpoint& to, const IpEndpoint& own,
                                      const std::array<std::uint8_t, 6>& mac, std::span<const std::byte> payload) const;

  [[nodiscard]] const Eal& eal() const { return *eal_; }
  struct PoolInfo {
    std::string name;
    std::uint64_t buffers;
    std::uint64_t free;
    std::uint64_t bytes;
  };
  [[nodiscard]] std::vector<PoolInfo> pools() const;

 private:
  explicit NodePorts(Log& log) : log_(log) {}
  std::expected<void, std::string> make_pools(const NodeSettings& settings);
  std::expected<void, std::string> make_port(const PortSettings& settings, std::size_t poll_workers);
  void carry_out(std::uint16_t port, Neighbors::Output& output);

  Log& log_;
  std::unique_ptr<Eal> eal_;
  std::map<int, MbufPool> pools_;          // by memory node; kAnyNuma where no port asks for one
  std::uint32_t buffers_ = 0;
  std::vector<Port> ports_;
  std::uint64_t next_report_ms_ = 0;
};

}  // namespace slipway
