#include "port/neighbor.h"

#include <gtest/gtest.h>

#include "packets.h"
#include "port/checksum.h"

namespace slipway {
namespace {

using namespace test;

std::vector<IpPrefix> prefixes() { return {*parse_ip_prefix("10.1.0.1/24"), *parse_ip_prefix("fd00::1/64")}; }
std::vector<StaticRoute> routes() {
  return {{*parse_ip_prefix("0.0.0.0/0"), ip("10.1.0.254")}, {*parse_ip_prefix("10.9.0.0/16"), ip("10.1.0.253")}, {*parse_ip_prefix("fd09::/16"), ip("fd00::fe")},
          {*parse_ip_prefix("172.16.0.0/12"), ip("192.168.7.1")}};
}
Neighbors table() { return {test_port(), prefixes(), routes()}; }

Bytes reply4(const char* address, const MacAddress& mac = kPeerMac) { return arp(kOurMac, 2, mac, ip(address), ip("10.1.0.1")); }

TEST(Neighbors, ChoosesThePathByPrefixThenLongestRoute) {
  const Neighbors neighbors = table();
  EXPECT_EQ(neighbors.path_to(ip("10.1.0.77"))->next_hop, ip("10.1.0.77"));
  EXPECT_EQ(neighbors.path_to(ip("10.1.0.77"))->own, ip("10.1.0.1"));
  EXPECT_EQ(neighbors.path_to(ip("10.9.1.1"))->next_hop, ip("10.1.0.253"));
  EXPECT_EQ(neighbors.path_to(ip("8.8.8.8"))->next_hop, ip("10.1.0.254"));
  EXPECT_EQ(neighbors.path_to(ip("fd09::5"))->next_hop, ip("fd00::fe"));
  EXPECT_EQ(neighbors.path_to(ip("fd09::5"))->own, ip("fd00::1"));
  EXPECT_NE(neighbors.path_to(ip("fd10::5")).error().find("No prefix and no route"), std::string::npos);
  EXPECT_NE(neighbors.path_to(ip("172.16.0.1")).error().find("192.168.7.1"), std::string::npos);
  EXPECT_FALSE(neighbors.path_to(ip("224.0.0.1")).has_value());
}

TEST(Neighbors, AsksResolvesAndMakesTheTemplate) {
  Neighbors neighbors = table();
  Neighbors::Output out;
  ASSERT_TRUE(neighbors.want(ip("10.1.0.9"), 0, out));
  ASSERT_EQ(out.packets.size(), 1u);
  Bytes question = arp({0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF}, 1, kOurMac, ip("10.1.0.1"), ip("10.1.0.9"));
  question.resize(60);
  EXPECT_EQ(out.packets[0], question);
  EXPECT_EQ(neighbors.outer_to(make_endpoint(ip("10.1.0.9"), 5)).length, 0);
  neighbors.packet_in(reply4("10.1.0.9"), 5, out);
  ASSERT_EQ(out.changed, std::vector{ip("10.1.0.9")});
  EXPECT_EQ(neighbors.mac_of(ip("10.1.0.9")), kPeerMac);
  const OuterTemplate outer = neighbors.outer_to(make_endpoint(ip("10.1.0.9"), 5));
  EXPECT_EQ(outer.length, 42);
  EXPECT_EQ(std::memcmp(outer.bytes.data(), kPeerMac.data(), 6), 0);
}

TEST(Neighbors, SolicitsIpv6AtTheRightGroup) {
  Neighbors neighbors = table();
  Neighbors::Output out;
  ASSERT_TRUE(neighbors.want(ip("fd00::12:3456"), 0, out));
  ASSERT_EQ(out.packets.size(), 1u);
  const Bytes& asked = out.packets[0];
  EXPECT_EQ(std::memcmp(asked.data(), MacAddress{0x33, 0x33, 0xFF, 0x12, 0x34, 0x56}.data(), 6), 0);
  EthernetPort them{.mac = kPeerMac, .udp_port = 1, .address_count = 1};
  them.addresses[0] = ip("fd00::12:3456");
  const Packet packet = parse_packet(them, asked, asked.size(), {});
  ASSERT_EQ(packet.kind, PacketKind::kSolicit) << drop_reason_text(packet.reason).name;
  // Their answer resolves it.
  Bytes answer = asked;
  answer.resize(asked.size() + kAnswerRoomBytes);
  answer.resize(answer_in_place(them, packet, answer, asked.size()));
  neighbors.packet_in(answer, 3, out);
  EXPECT_EQ(neighbors.mac_of(ip("fd00::12:3456")), kPeerMac);
}

TEST(Neighbors, LearnsOnlyWhatItAsked) {
  Neighbors neighbors = table();
  Neighbors::Output out;
  neighbors.packet_in(reply4("10.1.0.9"), 0, out);
  EXPECT_EQ(neighbors.size(), 0u) << "never asked";
  ASSERT_TRUE(neighbors.want(ip("10.1.0.9"), 0, out));
  neighbors.packet_in(reply4("10.1.0.9"), 1, out);
  const MacAddress other{2, 6, 6, 6, 6, 6};
  neighbors.packet_in(reply4("10.1.0.9", other), 2, out);
  EXPECT_EQ(neighbors.mac_of(ip("10.1.0.9")), kPeerMac) << "already answered";
  neighbors.packet_in(neighbor(kOurMac, ip("fd00::9"), ip("fd00::1"), 136, 0x20, ip("fd00::9"), true), 2, out);
  EXPECT_FALSE(neighbors.mac_of(ip("fd00::9")).has_value());
}

TEST(Neighbors, RefreshesByUnicastAndFollowsANewMac) {
  Neighbors neighbors = table();
  Neighbors::Output out;
  ASSERT_TRUE(neighbors.want(ip("10.1.0.9"), 0, out));
  neighbors.packet_in(reply4("10.1.0.9"), 0, out);
  out = {};
  neighbors.tick(29'999, out);
  EXPECT_TRUE(out.packets.empty());
  neighbors.tick(30'000, out);
  ASSERT_EQ(out.packets.size(), 1u);
  EXPECT_EQ(std::memcmp(out.packets[0].data(), kPeerMac.data(), 6), 0) << "to that one only";
  const MacAddress moved{2, 7, 7, 7, 7, 7};
  neighbors.packet_in(reply4("10.1.0.9", moved), 30'001, out);
  EXPECT_EQ(out.changed.size(), 1u);
  EXPECT_EQ(neighbors.mac_of(ip("10.1.0.9")), moved);
  EXPECT_EQ(neighbors.next_tick_ms(), 60'001u);
}

TEST(Neighbors, LosesOneThatStaysSilentAndAsksOnSlowly) {
  Neighbors neighbors = table();
  Neighbors::Output out;
  ASSERT_TRUE(neighbors.want(ip("10.1.0.9"), 0, out));
  neighbors.packet_in(reply4("10.1.0.9"), 0, out);
  out = {};
  std::uint64_t lost_at = 0;
  for (std::uint64_t now = 30'000; now < 120'000; now += 100) {
    neighbors.tick(now, out);
    if (lost_at == 0 && !out.changed.empty()) {
      lost_at = now;
    }
  }
  EXPECT_EQ(lost_at, 33'000u) << "three questions to it alone";
  EXPECT_EQ(out.changed.size(), 1u);
  EXPECT_FALSE(neighbors.mac_of(ip("10.1.0.9")).has_value());
  EXPECT_LT(out.packets.size(), 20u) << "then slowly";
  EXPECT_EQ(out.packets.back()[0], std::byte{0xFF}) << "asking everybody";
  neighbors.packet_in(reply4("10.1.0.9"), 120'000, out);
  EXPECT_TRUE(neighbors.mac_of(ip("10.1.0.9")).has_value());
}

TEST(Neighbors, CountsWishesAndIsBounded) {
  Neighbors neighbors(test_port(), {*parse_ip_prefix("10.1.0.1/8")}, {});
  Neighbors::Output out;
  ASSERT_TRUE(neighbors.want(ip("10.1.0.9"), 0, out));
  ASSERT_TRUE(neighbors.want(ip("10.1.0.9"), 0, out));
  EXPECT_EQ(out.packets.size(), 1u);
  neighbors.release(ip("10.1.0.9"));
  EXPECT_EQ(neighbors.size(), 1u);
  neighbors.release(ip("10.1.0.9"));
  EXPECT_EQ(neighbors.size(), 0u);
  for (std::uint32_t i = 0; i < kMaxNeighbors; ++i) {
    IpAddress address = ip("10.2.0.0");
    address.bytes[2] = static_cast<std::uint8_t>(i >> 8);
    address.bytes[3] = static_cast<std::uint8_t>(i);
    ASSERT_TRUE(neighbors.want(address, 0, out));
  }
  EXPECT_FALSE(neighbors.want(ip("10.3.0.0"), 0, out));
  EXPECT_TRUE(neighbors.want(ip("10.2.0.0"), 0, out)) << "those that are there go on";
}

TEST(Neighbors, AnnouncesItselfAndSeesConflicts) {
  Neighbors neighbors = table();
  Neighbors::Output out;
  neighbors.announce(out);
  ASSERT_EQ(out.packets.size(), 3u);
  EXPECT_EQ(out.packets[0], make_group_report(test_port()));
  out.packets.erase(out.packets.begin());
  Bytes gratuitous = arp({0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF}, 1, kOurMac, ip("10.1.0.1"), ip("10.1.0.1"));
  gratuitous.resize(60);
  EXPECT_EQ(out.packets[0], gratuitous);
  EXPECT_EQ(out.packets[1][0], std::byte{0x33});
  neighbors.packet_in(arp({0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF}, 1, kPeerMac, ip("10.1.0.1"), ip("10.1.0.9")), 0, out);
  ASSERT_EQ(out.conflicts.size(), 1u);
  EXPECT_EQ(out.conflicts[0].mac, kPeerMac);
}

TEST(GroupReport, NamesEachSolicitedNodeGroupOnce) {
  EthernetPort port = test_port();
  port.vlan = 5;
  port.addresses = {ip("10.1.0.1"), ip("fd00::1:2:3"), ip("fe80::9"), ip("fd01::1:2:3")};
  port.address_count = 4;
  const auto packet = make_group_report(port);
  ASSERT_EQ(packet.size(), 18u + 40 + 8 + 8 + 2 * 20);
  const auto at = [&](std::size_t i) { return std::to_integer<unsigned>(packet[i]); };
  EXPECT_EQ(at(0) << 8 | at(5), 0x3316u);
  EXPECT_EQ(at(14) << 8 | at(15), 5u) << "tagged";
  const std::size_t ip_at = 18;
  EXPECT_EQ(at(ip_at + 6), 0u) << "hop-by-hop first";
  EXPECT_EQ(at(ip_at + 7), 1u);
  EXPECT_EQ(at(ip_at + 8) << 8 | at(ip_at + 9), 0xFE80u);
  EXPECT_EQ(at(ip_at + 40), 58u);
  EXPECT_EQ(at(ip_at + 42) << 8 | at(ip_at + 43), 0x0502u) << "router alert";
  const std::size_t l4 = ip_at + 48;
  EXPECT_EQ(at(l4), 143u);
  EXPECT_EQ(at(l4 + 7), 2u);
  EXPECT_EQ(at(l4 + 8), 2u);
  EXPECT_TRUE(std::equal(packet.begin() + static_cast<std::ptrdiff_t>(l4 + 12), packet.begin() + static_cast<std::ptrdiff_t>(l4 + 28),
                         reinterpret_cast<const std::byte*>(solicited_node(ip("fd00::1:2:3")).bytes.data())));
  const std::span<const std::byte> body = std::span(packet).subspan(l4);
  EXPECT_EQ(fold(add_words(body, pseudo_sum(packet.data() + ip_at, true, 58, static_cast<std::uint32_t>(body.size())))), 0xFFFF);
  port.address_count = 1;
  EXPECT_TRUE(make_group_report(port).empty());
}

TEST(Neighbors, AsksAgainAfterTheLinkWasDown) {
  Neighbors neighbors = table();
  Neighbors::Output out;
  ASSERT_TRUE(neighbors.want(ip("10.1.0.9"), 0, out));
  neighbors.packet_in(reply4("10.1.0.9"), 0, out);
  out = {};
  neighbors.restart(test_port(), 1000, out);
  EXPECT_EQ(out.packets.size(), 4u) << "the report of groups, two announcements and a question";
  EXPECT_TRUE(neighbors.mac_of(ip("10.1.0.9")).has_value()) << "used until it is known to be gone";
  const MacAddress moved{2, 7, 7, 7, 7, 7};
  neighbors.packet_in(reply4("10.1.0.9", moved), 1001, out);
  EXPECT_EQ(neighbors.mac_of(ip("10.1.0.9")), moved);
}

TEST(Neighbors, ADeviceThatComesBackWithAnotherMacChangesTheTemplates) {
  Neighbors neighbors = table();
  Neighbors::Output out;
  ASSERT_TRUE(neighbors.want(ip("10.1.0.9"), 0, out));
  neighbors.packet_in(reply4("10.1.0.9"), 0, out);
  out = {};
  EthernetPort port = test_port();
  port.mac = {2, 3, 3, 3, 3, 3};
  neighbors.restart(port, 1000, out);
  EXPECT_EQ(out.changed, std::vector{ip("10.1.0.9")});
  EXPECT_EQ(std::memcmp(out.packets.back().data() + 6, port.mac.data(), 6), 0);
  EXPECT_EQ(std::memcmp(neighbors.outer_to(make_endpoint(ip("10.1.0.9"), 5)).bytes.data() + 6, port.mac.data(), 6), 0);
}

}  // namespace
}  // namespace slipway
