#include "port/dpdk_port.h"

#include <gtest/gtest.h>
#include <rte_ethdev.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <fstream>
#include <thread>

#include "dpdk_environment.h"
#include "mbuf_test.h"
#include "port/ethernet_datapath.h"

namespace slipway {
namespace {

using namespace test;
using namespace std::chrono_literals;

DpdkPortConfig config(const std::string& device) {
  return {.name = "p", .device = device, .addresses = {*parse_ip_prefix("10.1.0.1/24"), *parse_ip_prefix("fd00::1/64")}};
}

class Port : public MbufTest {
 protected:
  std::unique_ptr<DpdkPort> start(const DpdkPortConfig& wanted, std::uint16_t queues = 1) {
    auto port = DpdkPort::attach(0, wanted);
    EXPECT_TRUE(port.has_value()) << port.error();
    if (!port) {
      return nullptr;
    }
    const auto started = (*port)->start(pool_.get(), queues, queues);
    EXPECT_TRUE(started.has_value()) << started.error();
    return started ? std::move(*port) : nullptr;
  }
  static void send(const DpdkPort& port, const Bytes& packet) {
    rte_mbuf* mbuf = to_mbuf(packet);
    const std::uint16_t sent = rte_eth_tx_burst(port.ethernet().device, 0, &mbuf, 1);
    if (sent == 0) {
      rte_pktmbuf_free(mbuf);
    }
    ASSERT_EQ(sent, 1);
  }
  // The next packet, or nothing when none comes in time.
  static Bytes receive(const DpdkPort& port, std::chrono::milliseconds patience = 3s) {
    const auto end = std::chrono::steady_clock::now() + patience;
    do {
      rte_mbuf* mbuf = nullptr;
      if (rte_eth_rx_burst(port.ethernet().device, 0, &mbuf, 1) == 1) {
        Bytes bytes = to_bytes(mbuf);
        rte_pktmbuf_free(mbuf);
        return bytes;
      }
      std::this_thread::sleep_for(1ms);
    } while (std::chrono::steady_clock::now() < end);
    return {};
  }
  // Ticks until the event comes.
  static bool wait_for(DpdkPort& port, PortEvent event) {
    for (std::uint64_t now_ms = 0; now_ms < 5000; now_ms += 20) {
      const PortEvent seen = port.tick(clock_ms_ += 400);
      if (seen == event) {
        return true;
      }
      std::this_thread::sleep_for(20ms);
    }
    return false;
  }
  static inline std::uint64_t clock_ms_ = 0;
};

TEST_F(Port, RingLoopsPacketsBack) {
  auto port = start(config("net_ring0"));
  ASSERT_TRUE(port);
  EXPECT_EQ(port->driver(), "net_ring");
  EXPECT_TRUE(port->state().open.load());
  EXPECT_TRUE(port->link().up);
  EXPECT_EQ(port->ethernet().address_count, 3) << "and a link-local one";
  const Bytes packet = datagram({}, from_hex("01 02 03"));
  send(*port, packet);
  EXPECT_EQ(receive(*port), packet);
  EXPECT_EQ(port->stats().tx_packets, 1u);
  EXPECT_EQ(port->stats().rx_packets, 1u);
}

TEST_F(Port, NullGivesAndTakes) {
  auto port = start(config("net_null0,size=80"));
  ASSERT_TRUE(port);
  EXPECT_EQ(receive(*port).size(), 80u);
  send(*port, Bytes(100));
  EXPECT_EQ(port->stats().tx_packets, 1u);
}

TEST_F(Port, MemifLinksTwoEnds) {
  const std::string socket = "socket=/tmp/slipway-memif-" + std::to_string(getpid()) + ".sock,socket-abstract=no";
  auto server = start(config("net_memif0,role=server,id=0," + socket));
  ASSERT_TRUE(server);
  EXPECT_FALSE(server->link().up);
  auto client = start(config("net_memif1,role=client,id=0," + socket));
  ASSERT_TRUE(client);
  ASSERT_TRUE(wait_for(*server, PortEvent::kUp));
  ASSERT_TRUE(client->link().up || wait_for(*client, PortEvent::kUp));
  const Bytes packet = datagram({}, Bytes(1000, std::byte{5}));
  send(*client, packet);
  EXPECT_EQ(receive(*server), packet);
  EXPECT_TRUE(receive(*client, 10ms).empty()) << "and gives the server buffers";
  send(*server, packet);
  EXPECT_EQ(receive(*client), packet);
  client.reset();
  EXPECT_TRUE(wait_for(*server, PortEvent::kDown)) << "the other end went away";
  client = start(config("net_memif1,role=client,id=0," + socket));
  ASSERT_TRUE(client);
  EXPECT_TRUE(wait_for(*server, PortEvent::kUp)) << "and came back, without a restart";
  send(*client, packet);
  EXPECT_EQ(receive(*server), packet);
}

TEST_F(Port, SaysWhatIsWrong) {
  const auto error_of = [](const DpdkPortConfig& wanted) {
    auto port = DpdkPort::attach(0, wanted);
    return port ? std::string("none") : port.error();
  };
  EXPECT_NE(error_of(config("0000:ff:1f.7")).find("There is no PCI device 0000:ff:1f.7"), std::string::npos);
  EXPECT_NE(error_of(config("net_nosuch0")).find("does not make the virtual device `net_nosuch0`"), std::string::npos);
  EXPECT_NE(error_of(config("net_af_packet0,iface=nosuch")).find("no network interface nosuch"), std::string::npos);
  DpdkPortConfig wrong = config("net_null0");
  wrong.addresses.clear();
  EXPECT_NE(error_of(wrong).find("no address"), std::string::npos);
  wrong = config("net_null0");
  wrong.mtu = 100;
  EXPECT_NE(error_of(wrong).find("`mtu` is 100"), std::string::npos);
  wrong = config("net_null0");
  wrong.addresses = {*parse_ip_prefix("224.0.0.1/4")};
  EXPECT_NE(error_of(wrong).find("not the address of one host"), std::string::npos);
  wrong = config("net_pcap0,rx_pcap=/nonexistent.pcap,tx_pcap=/dev/null");
  EXPECT_NE(error_of(wrong), "none");
}

TEST_F(Port, RefusesAnMtuThatTheDriverCannotDo) {
  DpdkPortConfig wanted = config("net_null0");
  wanted.mtu = 9000;
  auto port = DpdkPort::attach(0, wanted);
  ASSERT_TRUE(port.has_value()) << port.error();
  const auto started = (*port)->start(pool_.get(), 1, 1);
  ASSERT_FALSE(started.has_value());
  EXPECT_NE(started.error().find("`mtu`"), std::string::npos) << started.error();
}

TEST_F(Port, TakesAsManyQueuesAsThereAre) {
  auto port = start(config("net_ring1"), 200);
  ASSERT_TRUE(port);
  EXPECT_EQ(port->rx_queues(), port->max_rx_queues());
  EXPECT_LT(port->rx_queues(), 200);
}

// --- golden: a capture file goes in, what is sent is compared with another -----------------------------

std::vector<Bytes> read_pcap(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  const std::string all((std::istreambuf_iterator<char>(file)), {});
  std::vector<Bytes> packets;
  for (std::size_t at = 24; at + 16 <= all.size();) {
    std::uint32_t bytes;
    std::memcpy(&bytes, all.data() + at + 8, 4);
    const auto* begin = reinterpret_cast<const std::byte*>(all.data()) + at + 16;
    packets.emplace_back(begin, begin + bytes);
    at += 16 + bytes;
  }
  return packets;
}

TEST_F(Port, AnswersAsRecorded) {
  const std::filesystem::path folder = SLIPWAY_VECTORS;
  const std::string sent = "/tmp/slipway-golden-" + std::to_string(getpid()) + ".pcap";
  DpdkPortConfig wanted = config("net_pcap0,rx_pcap=" + (folder / "requests.pcap").string() + ",tx_pcap=" + sent);
  auto port = start(wanted);
  ASSERT_TRUE(port);
  EthernetPort us = port->ethernet();
  us.mac = kOurMac;  // the capture's, whatever the driver made up
  us.addresses[2] = link_local_address(us.mac);
  std::vector<LinkRecord> links(kMaxLinks);
  auto link_counters = std::make_unique<LinkCounters[]>(kMaxLinks);
  WorkerCounters counters{};
  MbufJoiner joiner;
  EthernetReceived got;
  std::uint32_t hellos = 0;
  for (std::array<rte_mbuf*, kMaxBurst> burst;;) {
    const std::uint16_t count = rte_eth_rx_burst(us.device, 0, burst.data(), burst.size());
    if (count == 0) {
      break;
    }
    ethernet_receive(us, {links.data(), link_counters.get(), &counters, &joiner}, {burst.data(), count}, 0, got);
    ASSERT_EQ(rte_eth_tx_burst(us.device, 0, got.replies.data(), static_cast<std::uint16_t>(got.reply_count)), got.reply_count);
    rte_pktmbuf_free_bulk(got.learns.data(), got.learn_count);
    rte_pktmbuf_free_bulk(got.hellos.data(), got.hello_count);
    hellos += got.hello_count;
  }
  EXPECT_EQ(counters.packets_in.get(), read_pcap(folder / "requests.pcap").size());
  EXPECT_EQ(hellos, 2u);
  port.reset();
  const auto want = read_pcap(folder / "answers.pcap");
  const auto answers = read_pcap(sent);
  ASSERT_EQ(answers.size(), want.size());
  for (std::size_t i = 0; i < want.size(); ++i) {
    EXPECT_EQ(answers[i], want[i]) << "answer " << i;
  }
  std::filesystem::remove(sent);
}

// --- devices above interfaces of the kernel, in this program's own network namespace --------------------

class KernelPort : public Port {
 protected:
  void SetUp() override {
    if (!DpdkEnvironment::own_namespace) {
      GTEST_SKIP() << "no right to make a network namespace";
    }
    ASSERT_TRUE(make_pair());
  }
  void TearDown() override {
    if (DpdkEnvironment::own_namespace) {
      sh("ip link del slip0 2>/dev/null");
    }
    Port::TearDown();
  }
  static bool make_pair() {
    return sh("ip link add slip0 type veth peer name slip1 && ip link set slip0 up && ip link set slip1 up && ip addr add 10.1.0.9/24 dev slip0 && "
              "ip addr add fd00::9/64 dev slip0 nodad");
  }
};

// Answers whatever asks until a ping has come through.
void serve(DpdkPort& port, rte_mempool*, std::atomic<bool>& stop, WorkerCounters& counters) {
  std::vector<LinkRecord> links(kMaxLinks);
  auto link_counters = std::make_unique<LinkCounters[]>(kMaxLinks);
  MbufJoiner joiner;
  EthernetReceived got;
  while (!stop) {
    if (!port.state().open.load(std::memory_order_acquire)) {
      std::this_thread::sleep_for(1ms);
      continue;
    }
    std::array<rte_mbuf*, kMaxBurst> burst;
    const std::uint16_t count = rte_eth_rx_burst(port.ethernet().device, 0, burst.data(), burst.size());
    ethernet_receive(port.ethernet(), {links.data(), link_counters.get(), &counters, &joiner}, {burst.data(), count}, 0, got);
    const std::uint16_t sent = rte_eth_tx_burst(port.ethernet().device, 0, got.replies.data(), static_cast<std::uint16_t>(got.reply_count));
    rte_pktmbuf_free_bulk(got.replies.data() + sent, got.reply_count - sent);
    rte_pktmbuf_free_bulk(got.learns.data(), got.learn_count);
    rte_pktmbuf_free_bulk(got.hellos.data(), got.hello_count);
    if (count == 0) {
      std::this_thread::sleep_for(200us);
    }
  }
}

TEST_F(KernelPort, TheKernelResolvesAndPingsAnAfPacketPort) {
  auto port = start(config("net_af_packet0,iface=slip1"));
  ASSERT_TRUE(port);
  EXPECT_TRUE(port->ethernet().unfinished_checksums);
  std::atomic<bool> stop = false;
  WorkerCounters counters{};
  std::thread server([&] { serve(*port, pool_.get(), stop, counters); });
  EXPECT_TRUE(sh("ping -c 2 -W 3 -i 0.2 10.1.0.1 >/dev/null"));
  EXPECT_TRUE(sh("ping -c 2 -W 3 -i 0.2 -s 1400 10.1.0.1 >/dev/null"));
  EXPECT_TRUE(sh("ping -c 2 -W 3 -i 0.2 fd00::1 >/dev/null"));
  EXPECT_TRUE(sh("ip neigh show dev slip0 | grep -q 'fd00::1 .*lladdr'"));
  stop = true;
  server.join();
  EXPECT_GE(counters.packets_answered.get(), 8u);
}

TEST_F(KernelPort, AnInterfaceGoesDownAwayAndComesBack) {
  auto port = start(config("net_af_packet0,iface=slip1"));
  ASSERT_TRUE(port);
  int rests = 0;
  port->set_quiesce([&] { return ++rests > 0; });
  EXPECT_TRUE(port->link().up);
  ASSERT_TRUE(sh("ip link set slip0 down"));
  EXPECT_TRUE(wait_for(*port, PortEvent::kDown));
  EXPECT_FALSE(port->state().carrier.load());
  EXPECT_TRUE(port->state().open.load());
  ASSERT_TRUE(sh("ip link set slip0 up"));
  EXPECT_TRUE(wait_for(*port, PortEvent::kUp));
  ASSERT_TRUE(sh("ip link del slip0"));
  EXPECT_TRUE(wait_for(*port, PortEvent::kGone));
  EXPECT_EQ(rests, 1);
  EXPECT_FALSE(port->state().open.load());
  EXPECT_NE(port->last_error().find("went away"), std::string::npos);
  for (int i = 0; i < 5; ++i) {
    EXPECT_EQ(port->tick(clock_ms_ += 1000), PortEvent::kNone) << "nothing to have back";
  }
  ASSERT_TRUE(make_pair());
  EXPECT_TRUE(wait_for(*port, PortEvent::kBack));
  EXPECT_TRUE(port->state().open.load());
  EXPECT_EQ(port->last_error(), "");
  std::atomic<bool> stop = false;
  WorkerCounters counters{};
  std::thread server([&] { serve(*port, pool_.get(), stop, counters); });
  EXPECT_TRUE(sh("ping -c 1 -W 3 10.1.0.1 >/dev/null"));
  stop = true;
  server.join();
}

TEST_F(KernelPort, AWorkerThatDoesNotRestKeepsThePortFromBeingTakenDown) {
  auto port = start(config("net_af_packet0,iface=slip1"));
  ASSERT_TRUE(port);
  bool rested = false;
  port->set_quiesce([&] { return rested; });
  ASSERT_TRUE(sh("ip link del slip0"));
  EXPECT_EQ(port->tick(clock_ms_ += 400), PortEvent::kNone);
  EXPECT_FALSE(port->state().open.load());
  rested = true;
  EXPECT_EQ(port->tick(clock_ms_ += 400), PortEvent::kGone);
}

TEST_F(KernelPort, TapCarriesPackets) {
  if (access("/dev/net/tun", R_OK | W_OK) != 0) {
    GTEST_SKIP() << "no /dev/net/tun";
  }
  auto port = start(config("net_tap0,iface=sliptap"));
  ASSERT_TRUE(port);
  ASSERT_TRUE(sh("ip link set sliptap up && ip addr add 10.2.0.9/24 dev sliptap && ip neigh add 10.2.0.1 lladdr 02:00:00:00:00:77 dev sliptap"));
  std::thread ping([] { sh("ping -c 1 -W 1 10.2.0.1 >/dev/null"); });
  bool seen = false;
  for (int i = 0; i < 50 && !seen; ++i) {
    const Bytes packet = receive(*port, 200ms);
    seen = packet.size() == 98 && packet[12] == std::byte{0x08} && packet[13] == std::byte{0x00};
  }
  ping.join();
  EXPECT_TRUE(seen);
}

TEST_F(KernelPort, AfXdpAnswersPings) {
  auto port = DpdkPort::attach(0, config("net_af_xdp0,iface=slip1,force_copy=1"));
  if (!port) {
    GTEST_SKIP() << port.error();
  }
  // The driver of DPDK 22.11 keeps the buffers of its fill ring when it is closed: a pool of its own.
  auto pool = create_pool("xdp", kMbufs);
  ASSERT_TRUE(pool.has_value()) << pool.error();
  const auto started = (*port)->start(pool->get(), 1, 1);
  if (!started) {
    GTEST_SKIP() << started.error();
  }
  std::atomic<bool> stop = false;
  WorkerCounters counters{};
  std::thread server([&] { serve(**port, pool_.get(), stop, counters); });
  EXPECT_TRUE(sh("ping -c 2 -W 3 -i 0.2 10.1.0.1 >/dev/null"));
  EXPECT_TRUE(sh("ping -c 2 -W 3 -i 0.2 fd00::1 >/dev/null"));
  stop = true;
  server.join();
  port->reset();  // before its pool
}

}  // namespace
}  // namespace slipway
