#pragma once
// One DPDK port of any driver: a PCI device bound to a DPDK driver, or a virtual device. Set up, watched and taken
// down by the control thread; workers only use what ethernet() and state() give, and their queues.
//
// Life: attach() takes the device and says what it can do; start() sets up queues and goes on the wire; tick() now
// and then watches the link, and takes a device that went away and came back into service again, without a
// restart; the destructor gives the device back.

#include <array>
#include <atomic>
#include <cstdint>
#include <expected>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "port/dpdk_probe.h"
#include "port/ethernet.h"

struct rte_mempool;
struct rte_eth_dev_info;

namespace slipway {

struct DpdkPortConfig {
  std::string name;                   // for people
  std::string device;                 // "0000:03:00.0", or a vdev: "net_af_packet0,iface=veth1"
  std::vector<IpPrefix> addresses;    // at least one
  std::vector<StaticRoute> routes;
  std::uint16_t vlan = 0;             // 1 .. 4094; 0: untagged
  std::uint16_t mtu = 1500;
  std::uint16_t udp_port = 46367;
  std::uint16_t rx_queues = 1;        // spread by RSS on UDP ports; start() says how many the device gave
  std::uint16_t tx_queues = 1;
  std::uint16_t rx_descriptors = 512;
  std::uint16_t tx_descriptors = 512;
  bool promiscuous = false;           // needed only where the device cannot filter multicast (found out by itself)
  bool rx_interrupts = false;         // a worker wants to sleep on them
};

// What workers look at before each burst. Written by the control thread.
struct alignas(64) PortState {
  std::atomic<bool> open{false};      // false: do not touch the queues
  std::atomic<bool> carrier{false};   // false: transmitting is pointless (DropReason::kPortDown)
};

struct PortStats {
  std::uint64_t rx_packets = 0;
  std::uint64_t rx_bytes = 0;
  std::uint64_t rx_missed = 0;        // dropped by the device: no descriptor free
  std::uint64_t rx_errors = 0;
  std::uint64_t rx_no_mbuf = 0;
  std::uint64_t tx_packets = 0;
  std::uint64_t tx_bytes = 0;
  std::uint64_t tx_errors = 0;
};

struct PortLink {
  bool up = false;
  std::uint32_t mbps = 0;             // 0: unknown
  bool full_duplex = true;
};

enum class PortEvent : std::uint8_t { kNone, kUp, kDown, kGone, kBack };

class DpdkPort {
 public:
  // Takes the device. The error is one sentence that says why it cannot be had and what to do.
  static std::expected<std::unique_ptr<DpdkPort>, std::string> attach(std::uint16_t number, const DpdkPortConfig& config);
  DpdkPort(const DpdkPort&) = delete;
  DpdkPort& operator=(const DpdkPort&) = delete;
  ~DpdkPort();  // no worker uses the port any more

  [[nodiscard]] int numa() const;               // of the device; kAnyNuma (pool.h) when it has none
  [[nodiscard]] std::uint16_t max_rx_queues() const;
  [[nodiscard]] std::uint16_t max_tx_queues() const;

  // Sets up the queues asked for, or as many as there are, and starts. rx_queues() and tx_queues() say how many
  // there are afterwards. The pool outlives the port.
  std::expected<void, std::string> start(rte_mempool* pool, std::uint16_t rx_queues, std::uint16_t tx_queues);

  // Called when the queues must rest (the device is reset or went away): returns when every worker has seen
  // state().open == false, false when one has not in time. Without it the port is not taken back after a loss.
  void set_quiesce(std::function<bool()> quiesce) { quiesce_ = std::move(quiesce); }

  // Watches link and device; call every 100 ms or so. `now_ms`: any steady clock.
  PortEvent tick(std::uint64_t now_ms);

  [[nodiscard]] const EthernetPort& ethernet() const { return ethernet_; }
  [[nodiscard]] const PortState& state() const { return state_; }
  [[nodiscard]] const DpdkPortConfig& config() const { return config_; }
  [[nodiscard]] std::uint16_t rx_queues() const { return rx_queues_; }
  [[nodiscard]] std::uint16_t tx_queues() const { return tx_queues_; }
  [[nodiscard]] bool has_rx_interrupts() const { return rx_interrupts_; }
  [[nodiscard]] const std::string& driver() const { return driver_; }
  [[nodiscard]] PortLink link() const { return link_; }
  [[nodiscard]] PortStats stats() const;
  // Counters of the driver, by its own names; those that are not zero.
  [[nodiscard]] std::vector<std::pair<std::string, std::uint64_t>> extended_stats() const;
  [[nodiscard]] std::string offloads() const;         // for people: what the device does for us
  [[nodiscard]] const std::string& last_error() const { return last_error_; }  // why it is not in service

 private:
  DpdkPort(std::uint16_t number, DpdkPortConfig config);
  std::expected<void, std::string> probe();
  std::expected<void, std::string> configure();
  std::expected<void, std::string> set_up_queues();
  std::expected<void, std::string> go();
  void fill_identity();
  void choose_offloads();
  std::string failed(std::string_view doing, int error) const;
  PortEvent put_out_of_service();
  PortEvent reset();
  void rest();
  [[nodiscard]] bool lost() const;
  [[nodiscard]] PortLink read_link() const;
  void filter_multicast();

  std::uint16_t number_;
  DpdkPortConfig config_;
  EthernetPort ethernet_;
  PortState state_;
  std::function<bool()> quiesce_;
  rte_mempool* pool_ = nullptr;
  ProbedDevice device_;
  std::unique_ptr<rte_eth_dev_info> info_;
  std::string driver_;
  std::string last_error_;
  std::string kernel_interface_;      // of a vdev that sits on one
  unsigned kernel_index_ = 0;
  std::uint16_t rx_queues_ = 0;
  std::uint16_t tx_queues_ = 0;
  bool attached_ = false;
  bool started_ = false;
  bool rx_interrupts_ = false;
  std::uint64_t rx_offloads_ = 0;
  std::uint64_t tx_offloads_ = 0;
  std::uint64_t rss_ = 0;
  PortLink link_;
  PortStats before_;                  // what the device had counted before it was lost
  std::uint64_t retry_ms_ = 0;
  // Set by DPDK's interrupt thread.
  std::atomic<bool> removed_{false};
  std::atomic<bool> reset_asked_{false};
  friend struct PortEventHook;
};

}  // namespace slipway
