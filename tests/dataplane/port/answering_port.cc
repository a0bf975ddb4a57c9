// A program for process tests: DPDK ports that answer ARP, neighbour discovery and pings, and resolve one neighbour,
// as a node does, without the node. It runs until SIGTERM and prints a line for each thing that happens.
//
//   answering_port DEVICE ADDRESSES NEIGHBOUR[,NEIGHBOUR] [DEVICE ADDRESSES NEIGHBOURS]...
//   answering_port 0000:00:04.0 10.1.0.1/24,fd00:1::1/64 10.1.0.9,fd00:1::9

#include <fmt/format.h>
#include <rte_ethdev.h>

#include <chrono>
#include <csignal>
#include <cstdio>
#include <memory>
#include <string_view>
#include <vector>

#include "port/dpdk_port.h"
#include "port/eal.h"
#include "port/ethernet_datapath.h"
#include "port/mbuf.h"
#include "port/neighbor.h"
#include "port/pool.h"

namespace slipway {
namespace {

volatile std::sig_atomic_t stopped = 0;

template <class... T>
void say(fmt::format_string<T...> format, T&&... arguments) {
  fmt::print(format, std::forward<T>(arguments)...);
  fmt::print("\n");
  std::fflush(stdout);
}

std::vector<std::string> split(std::string_view text) {
  std::vector<std::string> parts;
  while (!text.empty()) {
    const auto comma = std::min(text.find(','), text.size());
    parts.emplace_back(text.substr(0, comma));
    text.remove_prefix(std::min(comma + 1, text.size()));
  }
  return parts;
}

std::uint64_t now_ms() {
  return static_cast<std::uint64_t>(std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::steady_clock::now().time_since_epoch()).count());
}

struct Served {
  std::unique_ptr<DpdkPort> port;
  std::unique_ptr<Neighbors> neighbors;
  std::vector<IpAddress> wanted;
};

class Server {
 public:
  int run(std::span<char*> arguments) {
    std::vector<DpdkPortConfig> configs;
    for (std::size_t i = 0; i + 2 < arguments.size(); i += 3) {
      DpdkPortConfig config{.name = arguments[i], .device = arguments[i]};
      for (const auto& text : split(arguments[i + 1])) {
        config.addresses.push_back(*parse_ip_prefix(text));
      }
      configs.push_back(config);
    }
    bool pci = false;
    for (const auto& config : configs) {
      pci = pci || is_pci_address(config.device);
    }
    auto eal = Eal::start({.memory_bytes = pool_bytes(kMbufs) + configs.size() * kPortMemoryBytes, .pci = pci});
    if (!eal) {
      return fail(eal.error());
    }
    say("dpdk: {}", (*eal)->summary());
    auto pool = create_pool("answers", kMbufs);
    if (!pool) {
      return fail(pool.error());
    }
    pool_ = pool->get();
    for (std::size_t i = 0; i < configs.size(); ++i) {
      if (const auto opened = open(static_cast<std::uint16_t>(i), configs[i], arguments[i * 3 + 2]); !opened) {
        return fail(opened.error());
      }
    }
    say("ready");
    loop();
    for (auto& served : ports_) {
      const PortStats stats = served.port->stats();
      say("{}: received {} sent {} missed {} errors {}", served.port->config().name, stats.rx_packets, stats.tx_packets, stats.rx_missed,
          stats.rx_errors + stats.tx_errors);
    }
    ports_.clear();
    say("answered {} dropped {} mbufs missing {}", counters_.packets_answered.get(), counters_.packets_dropped.get(),
        kMbufs - rte_mempool_avail_count(pool_));
    return 0;
  }

 private:
  static constexpr std::uint32_t kMbufs = 8191;

  static int fail(const std::string& why) {
    say("{}", why);
    return 1;
  }

  std::expected<void, std::string> open(std::uint16_t number, const DpdkPortConfig& config, std::string_view wanted) {
    auto port = DpdkPort::attach(number, config);
    if (!port) {
      return std::unexpected(port.error());
    }
    if (auto started = (*port)->start(pool_, 1, 1); !started) {
      return started;
    }
    (*port)->set_quiesce([] { return true; });
    say("{}: driver {}, mac {}, {}, offloads: {}", config.name, (*port)->driver(), to_text((*port)->ethernet().mac),
        (*port)->link().up ? "up" : "down", (*port)->offloads());
    auto neighbors = std::make_unique<Neighbors>((*port)->ethernet(), config.addresses, config.routes);
    std::vector<IpAddress> addresses;
    for (const auto& text : split(wanted)) {
      addresses.push_back(*parse_ip_address(text));
    }
    ports_.push_back({std::move(*port), std::move(neighbors), addresses});
    Neighbors::Output out;
    ports_.back().neighbors->announce(out);
    for (const auto& address : addresses) {
      (void)ports_.back().neighbors->want(address, now_ms(), out);
    }
    carry_out(ports_.back(), out);
    return {};
  }

  void carry_out(Served& served, const Neighbors::Output& out) {
    for (const auto& packet : out.packets) {
      rte_mbuf* mbuf = rte_pktmbuf_alloc(pool_);
      std::memcpy(data_of(mbuf), packet.data(), packet.size());
      mbuf->data_len = static_cast<std::uint16_t>(packet.size());
      mbuf->pkt_len = mbuf->data_len;
      if (rte_eth_tx_burst(served.port->ethernet().device, 0, &mbuf, 1) == 0) {
        rte_pktmbuf_free(mbuf);
      }
    }
    for (const auto& address : out.changed) {
      const auto mac = served.neighbors->mac_of(address);
      say("neighbour {} {}", to_text(address), mac ? to_text(*mac) : "lost");
    }
  }

  void loop() {
    std::uint64_t next_tick_ms = 0;
    while (stopped == 0) {
      for (auto& served : ports_) {
        poll(served);
      }
      if (now_ms() < next_tick_ms) {
        continue;
      }
      next_tick_ms = now_ms() + 100;
      for (auto& served : ports_) {
        static constexpr std::array<const char*, 5> kTexts{"", "up", "down", "gone", "back"};
        const PortEvent event = served.port->tick(now_ms());
        Neighbors::Output out;
        if (event != PortEvent::kNone) {
          say("{}: {}", served.port->config().name, kTexts[static_cast<std::size_t>(event)]);
        }
        if (event == PortEvent::kUp || event == PortEvent::kBack) {
          served.neighbors->restart(served.port->ethernet(), now_ms(), out);
        }
        served.neighbors->tick(now_ms(), out);
        if (served.port->state().carrier.load()) {
          carry_out(served, out);
        }
      }
    }
  }

  void poll(Served& served) {
    const EthernetPort& port = served.port->ethernet();
    std::array<rte_mbuf*, kMaxBurst> burst;
    const std::uint16_t count = rte_eth_rx_burst(port.device, 0, burst.data(), burst.size());
    if (count == 0) {
      return;
    }
    ethernet_receive(port, {links_.data(), link_counters_.get(), &counters_, &joiner_}, {burst.data(), count}, now_ms(), got_);
    const std::uint16_t sent = rte_eth_tx_burst(port.device, 0, got_.replies.data(), static_cast<std::uint16_t>(got_.reply_count));
    rte_pktmbuf_free_bulk(got_.replies.data() + sent, got_.reply_count - sent);
    Neighbors::Output out;
    for (std::uint32_t i = 0; i < got_.learn_count; ++i) {
      served.neighbors->packet_in(head_of(got_.learns[i]), now_ms(), out);
    }
    carry_out(served, out);
    rte_pktmbuf_free_bulk(got_.learns.data(), got_.learn_count);
    rte_pktmbuf_free_bulk(got_.hellos.data(), got_.hello_count);
  }

  rte_mempool* pool_ = nullptr;
  std::vector<Served> ports_;
  std::vector<LinkRecord> links_{kMaxLinks};
  std::unique_ptr<LinkCounters[]> link_counters_ = std::make_unique<LinkCounters[]>(kMaxLinks);
  WorkerCounters counters_{};
  MbufJoiner joiner_;
  EthernetReceived got_;
};

}  // namespace
}  // namespace slipway

int main(int argc, char** argv) {
  std::signal(SIGTERM, [](int) { slipway::stopped = 1; });
  auto server = std::make_unique<slipway::Server>();
  return server->run(std::span(argv, static_cast<std::size_t>(argc)).subspan(1));
}
