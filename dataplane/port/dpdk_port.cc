#include "port/dpdk_port.h"

#include <fmt/format.h>
#include <net/if.h>
#include <rte_errno.h>
#include <rte_ethdev.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>

#include "port/eal.h"
#include "port/pool.h"

namespace slipway {

// DPDK calls these from its interrupt thread: they only leave a note for tick().
struct PortEventHook {
  static int call(std::uint16_t, rte_eth_event_type type, void* port, void*) {
    auto* self = static_cast<DpdkPort*>(port);
    if (type == RTE_ETH_EVENT_INTR_RMV) {
      self->removed_.store(true, std::memory_order_release);
    } else if (type == RTE_ETH_EVENT_INTR_RESET) {
      self->reset_asked_.store(true, std::memory_order_release);
    }
    return 0;
  }
};

namespace {

constexpr std::uint64_t kRetryMs = 1'000;  // between two attempts to have a lost device again
constexpr std::uint64_t kUdpRss = RTE_ETH_RSS_NONFRAG_IPV4_UDP | RTE_ETH_RSS_NONFRAG_IPV6_UDP;
constexpr std::uint32_t kRxOverheadBytes = 14 + 4 + 4;  // Ethernet, tag, and the checksum that some devices leave

std::expected<void, std::string> check(const DpdkPortConfig& config) {
  const auto wrong = [](std::string_view what) { return std::unexpected(fmt::format("{}.", what)); };
  const auto link_local = std::ranges::any_of(config.addresses, [](const IpPrefix& prefix) { return prefix.address.family == 6; });
  if (config.addresses.empty()) {
    return wrong("The port has no address; set `addresses`");
  }
  if (config.addresses.size() + (link_local ? 1 : 0) > kMaxPortAddresses) {
    return wrong(fmt::format("The port has {} addresses; {} are possible", config.addresses.size(), kMaxPortAddresses - 1));
  }
  if (const auto bad = std::ranges::find_if_not(config.addresses, [](const IpPrefix& p) { return is_unicast(p.address); });
      bad != config.addresses.end()) {
    return wrong(fmt::format("{} is not the address of one host", to_text(*bad)));
  }
  if (config.routes.size() > kMaxPortRoutes) {
    return wrong(fmt::format("The port has {} routes; {} are possible", config.routes.size(), kMaxPortRoutes));
  }
  if (config.mtu < kMinPortMtu || config.mtu > kMaxPortMtu) {
    return wrong(fmt::format("`mtu` is {}; {} to {} are possible", config.mtu, kMinPortMtu, kMaxPortMtu));
  }
  if (config.vlan > 4094) {
    return wrong(fmt::format("`vlan` is {}; 1 to 4094 are possible", config.vlan));
  }
  if (config.udp_port == 0) {
    return wrong("`udp_port` is 0");
  }
  return {};
}

}  // namespace

DpdkPort::DpdkPort(std::uint16_t number, DpdkPortConfig config) : number_(number), config_(std::move(config)), info_(new rte_eth_dev_info{}) {}

std::expected<std::unique_ptr<DpdkPort>, std::string> DpdkPort::attach(std::uint16_t number, const DpdkPortConfig& config) {
  if (auto checked = check(config); !checked) {
    return std::unexpected(checked.error());
  }
  auto port = std::unique_ptr<DpdkPort>(new DpdkPort(number, config));
  if (auto probed = port->probe(); !probed) {
    return std::unexpected(probed.error());
  }
  return port;
}

DpdkPort::~DpdkPort() {
  rest();
  if (attached_) {
    remove_device(device_);
  }
}

std::string DpdkPort::failed(std::string_view doing, int error) const {
  const std::string said = take_dpdk_error();
  return fmt::format("The {} device {} cannot {}: {}{}.", driver_, config_.device, doing, rte_strerror(-error),
                     said.empty() ? "" : fmt::format(" (DPDK says: {})", said));
}

std::expected<void, std::string> DpdkPort::probe() {
  auto device = probe_device(config_.device);
  if (!device) {
    return std::unexpected(device.error());
  }
  device_ = *device;
  attached_ = true;
  removed_ = false;
  reset_asked_ = false;
  if (const int error = rte_eth_dev_info_get(device_.id, info_.get()); error != 0) {
    return std::unexpected(failed("be asked what it can do", error));
  }
  driver_ = info_->driver_name;
  kernel_interface_ = kernel_interface_of(config_.device);
  kernel_index_ = kernel_interface_.empty() ? 0 : if_nametoindex(kernel_interface_.c_str());
  return {};
}

int DpdkPort::numa() const {
  const int node = rte_eth_dev_socket_id(device_.id);
  return node < 0 ? kAnyNuma : node;
}
std::uint16_t DpdkPort::max_rx_queues() const { return info_->max_rx_queues; }
std::uint16_t DpdkPort::max_tx_queues() const { return info_->max_tx_queues; }

std::expected<void, std::string> DpdkPort::start(rte_mempool* pool, std::uint16_t rx_queues, std::uint16_t tx_queues) {
  pool_ = pool;
  rx_queues_ = std::min(rx_queues, info_->max_rx_queues);
  tx_queues_ = std::min(tx_queues, info_->max_tx_queues);
  auto done = configure();
  if (done) {
    done = go();
  }
  if (!done) {
    last_error_ = done.error();
    return std::unexpected(last_error_);
  }
  return {};
}

void DpdkPort::choose_offloads() {
  const std::uint64_t rx = info_->rx_offload_capa;
  const std::uint64_t tx = info_->tx_offload_capa;
  rx_offloads_ = rx & (RTE_ETH_RX_OFFLOAD_IPV4_CKSUM | RTE_ETH_RX_OFFLOAD_UDP_CKSUM);
  if (config_.vlan != 0) {
    rx_offloads_ |= rx & RTE_ETH_RX_OFFLOAD_VLAN_STRIP;
  }
  if (config_.mtu + kRxOverheadBytes > kMbufDataBytes) {
    rx_offloads_ |= rx & RTE_ETH_RX_OFFLOAD_SCATTER;
  }
  tx_offloads_ = tx & (RTE_ETH_TX_OFFLOAD_IPV4_CKSUM | RTE_ETH_TX_OFFLOAD_UDP_CKSUM | RTE_ETH_TX_OFFLOAD_MULTI_SEGS);
  rss_ = rx_queues_ > 1 ? info_->flow_type_rss_offloads & kUdpRss : 0;
}

std::expected<void, std::string> DpdkPort::configure() {
  choose_offloads();
  if (rx_queues_ == 0 || tx_queues_ == 0) {
    return std::unexpected(fmt::format("The device {} has no queues.", config_.device));
  }
  const bool needs_chains = config_.mtu + kRxOverheadBytes > kMbufDataBytes;
  if (needs_chains && ((rx_offloads_ & RTE_ETH_RX_OFFLOAD_SCATTER) == 0 || (tx_offloads_ & RTE_ETH_TX_OFFLOAD_MULTI_SEGS) == 0)) {
    return std::unexpected(fmt::format("The driver {} has no packets of several buffers; set `mtu` to {} or less.", driver_,
                                       kMbufDataBytes - kRxOverheadBytes));
  }
  if (config_.mtu > info_->max_mtu && info_->max_mtu != 0) {
    return std::unexpected(fmt::format("The device {} allows an `mtu` of at most {}.", config_.device, info_->max_mtu));
  }
  rte_eth_conf conf{};
  conf.rxmode.mtu = config_.mtu;
  conf.rxmode.offloads = rx_offloads_;
  conf.txmode.offloads = tx_offloads_;
  conf.rxmode.mq_mode = rss_ != 0 ? RTE_ETH_MQ_RX_RSS : RTE_ETH_MQ_RX_NONE;
  conf.rx_adv_conf.rss_conf.rss_hf = rss_;
  // No link interrupt: with it DPDK only tells what the last interrupt left behind, and some devices (e1000e) miss
  // some. tick() asks the device.
  conf.intr_conf.rmv = (*info_->dev_flags & RTE_ETH_DEV_INTR_RMV) != 0 ? 1 : 0;
  conf.intr_conf.rxq = config_.rx_interrupts ? 1 : 0;
  int error = rte_eth_dev_configure(device_.id, rx_queues_, tx_queues_, &conf);
  if (error != 0 && config_.rx_interrupts) {  // wished for, not needed
    conf.intr_conf.rxq = 0;
    error = rte_eth_dev_configure(device_.id, rx_queues_, tx_queues_, &conf);
  }
  if (error != 0) {
    return std::unexpected(failed(fmt::format("be configured with {} and {} queues and an mtu of {}", rx_queues_, tx_queues_, config_.mtu), error));
  }
  rx_interrupts_ = conf.intr_conf.rxq != 0;
  return set_up_queues();
}

std::expected<void, std::string> DpdkPort::set_up_queues() {
  std::uint16_t rx_descriptors = config_.rx_descriptors;
  std::uint16_t tx_descriptors = config_.tx_descriptors;
  rte_eth_dev_adjust_nb_rx_tx_desc(device_.id, &rx_descriptors, &tx_descriptors);
  const int node = rte_eth_dev_socket_id(device_.id);
  const auto socket = static_cast<unsigned>(node < 0 ? SOCKET_ID_ANY : node);
  for (std::uint16_t i = 0; i < rx_queues_; ++i) {
    rte_eth_rxconf queue = info_->default_rxconf;
    queue.offloads = rx_offloads_;
    if (const int error = rte_eth_rx_queue_setup(device_.id, i, rx_descriptors, socket, &queue, pool_); error != 0) {
      return std::unexpected(failed(fmt::format("set up receive queue {} of {} descriptors", i, rx_descriptors), error));
    }
  }
  for (std::uint16_t i = 0; i < tx_queues_; ++i) {
    rte_eth_txconf queue = info_->default_txconf;
    queue.offloads = tx_offloads_;
    if (const int error = rte_eth_tx_queue_setup(device_.id, i, tx_descriptors, socket, &queue); error != 0) {
      return std::unexpected(failed(fmt::format("set up transmit queue {} of {} descriptors", i, tx_descriptors), error));
    }
  }
  return {};
}

void DpdkPort::fill_identity() {
  ethernet_ = {.number = number_,
               .device = device_.id,
               .vlan = config_.vlan,
               .udp_port = config_.udp_port,
               .mtu = config_.mtu,
               .tx_ipv4_checksum = (tx_offloads_ & RTE_ETH_TX_OFFLOAD_IPV4_CKSUM) != 0,
               .tx_udp_checksum = (tx_offloads_ & RTE_ETH_TX_OFFLOAD_UDP_CKSUM) != 0,
               .tx_chains = (tx_offloads_ & RTE_ETH_TX_OFFLOAD_MULTI_SEGS) != 0,
               .unfinished_checksums = driver_ == "net_af_packet" || driver_ == "net_af_xdp"};
  rte_ether_addr mac{};
  rte_eth_macaddr_get(device_.id, &mac);
  std::copy_n(mac.addr_bytes, ethernet_.mac.size(), ethernet_.mac.begin());
  bool ipv6 = false;
  for (const IpPrefix& prefix : config_.addresses) {
    ethernet_.addresses[ethernet_.address_count++] = prefix.address;
    ipv6 = ipv6 || prefix.address.family == 6;
  }
  const IpAddress local = link_local_address(ethernet_.mac);
  if (ipv6 && std::ranges::count(ethernet_.own(), local) == 0) {
    ethernet_.addresses[ethernet_.address_count++] = local;  // RFC 4291 2.1: every interface has one
  }
}

// Neighbour solicitations come to multicast addresses. Drivers differ in what they can filter; what is set last is
// what worked. A driver that knows none of the three does not filter.
void DpdkPort::filter_multicast() {
  std::vector<rte_ether_addr> groups;
  const auto add = [&groups](const MacAddress& mac) {
    rte_ether_addr& group = groups.emplace_back();
    std::copy(mac.begin(), mac.end(), group.addr_bytes);
  };
  for (const IpAddress& own : ethernet_.own()) {
    if (own.family == 6) {
      add(multicast_mac(solicited_node(own)));
    }
  }
  if (config_.promiscuous) {
    rte_eth_promiscuous_enable(device_.id);
    return;
  }
  if (!groups.empty() && rte_eth_dev_set_mc_addr_list(device_.id, groups.data(), static_cast<std::uint32_t>(groups.size())) != 0 &&
      rte_eth_allmulticast_enable(device_.id) != 0) {
    rte_eth_promiscuous_enable(device_.id);
  }
  (void)take_dpdk_error();
}

std::expected<void, std::string> DpdkPort::go() {
  if (const int error = rte_eth_dev_start(device_.id); error != 0) {
    return std::unexpected(failed("start", error));
  }
  started_ = true;
  rte_eth_dev_callback_register(device_.id, RTE_ETH_EVENT_INTR_RMV, PortEventHook::call, this);
  rte_eth_dev_callback_register(device_.id, RTE_ETH_EVENT_INTR_RESET, PortEventHook::call, this);
  fill_identity();
  filter_multicast();
  link_ = read_link();
  state_.carrier.store(link_.up, std::memory_order_relaxed);
  state_.open.store(true, std::memory_order_release);
  last_error_.clear();
  return {};
}

// Stops the device. No worker touches it any more.
void DpdkPort::rest() {
  state_.open.store(false, std::memory_order_release);
  state_.carrier.store(false, std::memory_order_relaxed);
  if (!started_) {
    return;
  }
  before_ = stats();
  rte_eth_dev_callback_unregister(device_.id, RTE_ETH_EVENT_INTR_RMV, PortEventHook::call, this);
  rte_eth_dev_callback_unregister(device_.id, RTE_ETH_EVENT_INTR_RESET, PortEventHook::call, this);
  rte_eth_dev_stop(device_.id);
  rte_eth_stats_reset(device_.id);
  started_ = false;
  link_ = {};
}

PortLink DpdkPort::read_link() const {
  rte_eth_link link{};
  if (rte_eth_link_get_nowait(device_.id, &link) != 0) {
    return {};
  }
  PortLink now{.up = link.link_status == RTE_ETH_LINK_UP,
               .mbps = link.link_speed == RTE_ETH_SPEED_NUM_UNKNOWN ? 0 : link.link_speed,
               .full_duplex = link.link_duplex == RTE_ETH_LINK_FULL_DUPLEX};
  if (!kernel_interface_.empty()) {
    // Drivers above a kernel interface say "up" whatever happens below.
    ifreq request{};
    kernel_interface_.copy(request.ifr_name, IFNAMSIZ - 1);
    const int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    const bool known = fd >= 0 && ioctl(fd, SIOCGIFFLAGS, &request) == 0;
    if (fd >= 0) {
      close(fd);
    }
    now.up = known && (request.ifr_flags & IFF_UP) != 0 && (request.ifr_flags & IFF_RUNNING) != 0;
  }
  return now;
}

bool DpdkPort::lost() const {
  if (removed_.load(std::memory_order_acquire)) {
    return true;
  }
  return !kernel_interface_.empty() && if_nametoindex(kernel_interface_.c_str()) != kernel_index_;
}

PortEvent DpdkPort::put_out_of_service() {
  state_.open.store(false, std::memory_order_release);
  state_.carrier.store(false, std::memory_order_relaxed);
  if (!quiesce_ || !quiesce_()) {
    return PortEvent::kNone;  // a worker may still be inside: try again with the next tick
  }
  rest();
  remove_device(device_);
  attached_ = false;
  last_error_ = fmt::format("The device {} went away.", config_.device);
  return PortEvent::kGone;
}

PortEvent DpdkPort::reset() {
  state_.open.store(false, std::memory_order_release);
  if (!quiesce_ || !quiesce_()) {
    return PortEvent::kNone;
  }
  reset_asked_ = false;
  rest();
  if (const int error = rte_eth_dev_reset(device_.id); error != 0) {
    last_error_ = failed("be reset", error);
    removed_ = true;  // have it anew
    return PortEvent::kGone;
  }
  auto done = configure();
  if (done) {
    done = go();
  }
  if (!done) {
    last_error_ = done.error();
    removed_ = true;
    return PortEvent::kGone;
  }
  return PortEvent::kBack;
}

PortEvent DpdkPort::tick(std::uint64_t now_ms) {
  if (attached_ && pool_ == nullptr) {
    return PortEvent::kNone;  // never started
  }
  if (attached_ && lost()) {
    retry_ms_ = now_ms + kRetryMs;
    return put_out_of_service();
  }
  if (attached_ && reset_asked_.load(std::memory_order_acquire)) {
    return reset();
  }
  if (!attached_) {
    if (now_ms < retry_ms_) {
      return PortEvent::kNone;
    }
    retry_ms_ = now_ms + kRetryMs;
    auto done = probe();
    if (done && (rx_queues_ > info_->max_rx_queues || tx_queues_ > info_->max_tx_queues)) {
      done = std::unexpected(std::string("The device came back with fewer queues; restart the node."));
    }
    if (done) {
      done = configure();
    }
    if (done) {
      done = go();
    }
    if (!done) {
      last_error_ = done.error();
      if (attached_) {
        rest();
        remove_device(device_);
        attached_ = false;
      }
      return PortEvent::kNone;
    }
    return PortEvent::kBack;
  }
  const PortLink now = read_link();
  const bool changed = now.up != link_.up;
  link_ = now;
  state_.carrier.store(now.up, std::memory_order_relaxed);
  return !changed ? PortEvent::kNone : now.up ? PortEvent::kUp : PortEvent::kDown;
}

PortStats DpdkPort::stats() const {
  PortStats sum = before_;
  rte_eth_stats now{};
  if (!started_ || rte_eth_stats_get(device_.id, &now) != 0) {
    return sum;
  }
  sum.rx_packets += now.ipackets;
  sum.rx_bytes += now.ibytes;
  sum.rx_missed += now.imissed;
  sum.rx_errors += now.ierrors;
  sum.rx_no_mbuf += now.rx_nombuf;
  sum.tx_packets += now.opackets;
  sum.tx_bytes += now.obytes;
  sum.tx_errors += now.oerrors;
  return sum;
}

std::vector<std::pair<std::string, std::uint64_t>> DpdkPort::extended_stats() const {
  std::vector<std::pair<std::string, std::uint64_t>> result;
  const int count = started_ ? rte_eth_xstats_get_names(device_.id, nullptr, 0) : 0;
  if (count <= 0) {
    return result;
  }
  std::vector<rte_eth_xstat_name> names(static_cast<std::size_t>(count));
  std::vector<rte_eth_xstat> values(static_cast<std::size_t>(count));
  if (rte_eth_xstats_get_names(device_.id, names.data(), static_cast<unsigned>(count)) != count ||
      rte_eth_xstats_get(device_.id, values.data(), static_cast<unsigned>(count)) != count) {
    return result;
  }
  for (const rte_eth_xstat& value : values) {
    if (value.value != 0 && value.id < names.size()) {
      result.emplace_back(names[value.id].name, value.value);
    }
  }
  return result;
}

std::string DpdkPort::offloads() const {
  std::string text;
  const auto add = [&text](bool has, std::string_view name) {
    if (has) {
      text += (text.empty() ? "" : ", ") + std::string(name);
    }
  };
  add((rx_offloads_ & RTE_ETH_RX_OFFLOAD_IPV4_CKSUM) != 0, "receive IPv4 checksum");
  add((rx_offloads_ & RTE_ETH_RX_OFFLOAD_UDP_CKSUM) != 0, "receive UDP checksum");
  add((rx_offloads_ & RTE_ETH_RX_OFFLOAD_VLAN_STRIP) != 0, "VLAN strip");
  add((rx_offloads_ & RTE_ETH_RX_OFFLOAD_SCATTER) != 0, "receive scatter");
  add((tx_offloads_ & RTE_ETH_TX_OFFLOAD_IPV4_CKSUM) != 0, "transmit IPv4 checksum");
  add((tx_offloads_ & RTE_ETH_TX_OFFLOAD_UDP_CKSUM) != 0, "transmit UDP checksum");
  add((tx_offloads_ & RTE_ETH_TX_OFFLOAD_MULTI_SEGS) != 0, "transmit chains");
  add(rss_ != 0, "RSS on UDP ports");
  return text.empty() ? "none" : text;
}

}  // namespace slipway
