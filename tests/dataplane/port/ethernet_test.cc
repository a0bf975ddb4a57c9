#include "port/ethernet.h"

#include <gtest/gtest.h>

#include <random>

#include "packets.h"
#include "port/checksum.h"

namespace slipway {
namespace {

using namespace test;

Packet parse(const EthernetPort& port, std::span<const std::byte> bytes, const PacketHints& hints = {}) {
  const Exact exact(bytes);
  return parse_packet(port, exact.span(), bytes.size(), hints);
}
void expect_drop(const Packet& packet, DropReason reason) {
  EXPECT_EQ(packet.kind, PacketKind::kDrop);
  EXPECT_EQ(drop_reason_text(packet.reason).name, drop_reason_text(reason).name);
}

const Bytes kPayload = from_hex("00 01 02 03 04 05 06");

TEST(Checksum, IsRfc1071OnEveryLength) {
  std::mt19937 random(7);
  for (std::size_t bytes = 0; bytes < 200; ++bytes) {
    Bytes block(bytes);
    for (auto& b : block) {
      b = static_cast<std::byte>(random());
    }
    const Exact exact(block);
    const std::uint32_t slow = slow_sum(block);
    const std::uint16_t fast = to_network(fold(add_words(exact.span(), 0)));
    EXPECT_EQ(fast % 0xFFFF, slow % 0xFFFF) << bytes;
  }
}

TEST(Parse, TakesDatagramsOfBothFamiliesTaggedAndNot) {
  for (const std::uint16_t vlan : {0, 77}) {
    for (const bool v6 : {false, true}) {
      DatagramFields fields{.vlan = vlan};
      if (v6) {
        fields.from = ip("fd00::9");
        fields.to = ip("fd00::1");
      }
      const Bytes bytes = datagram(fields, kPayload);
      const Packet packet = parse(test_port(vlan), bytes);
      ASSERT_EQ(packet.kind, PacketKind::kDatagram) << drop_reason_text(packet.reason).name;
      EXPECT_EQ(packet.payload_bytes, kPayload.size());
      EXPECT_EQ(packet.payload_offset, bytes.size() - kPayload.size());
      EXPECT_EQ(packet.tagged, vlan != 0);
      EXPECT_EQ(packet_source(packet, bytes.data()), make_endpoint(fields.from, 50000));
      EXPECT_EQ(packet_destination(packet, bytes.data()), make_endpoint(fields.to, 46367));
    }
  }
}

TEST(Parse, IgnoresPaddingBehindThePacket) {
  Bytes bytes = datagram({}, kPayload);
  bytes.resize(90);
  const Packet packet = parse(test_port(), bytes);
  ASSERT_EQ(packet.kind, PacketKind::kDatagram);
  EXPECT_EQ(packet.payload_bytes, kPayload.size());
}

TEST(Parse, SurvivesEveryTruncationAndTakesNone) {
  const EthernetPort port = test_port();
  const Bytes all[] = {datagram({}, kPayload), datagram({.from = ip("fd00::9"), .to = ip("fd00::1")}, kPayload), echo(ip("10.1.0.9"), ip("10.1.0.1"), 20),
                       echo(ip("fd00::9"), ip("fd00::1"), 20), arp(kOurMac, 1, kPeerMac, ip("10.1.0.9"), ip("10.1.0.1")),
                       neighbor(kOurMac, ip("fd00::9"), ip("fd00::1"), 135, 0, ip("fd00::1"), true),
                       neighbor(kOurMac, ip("fd00::9"), ip("fd00::1"), 136, 0x60, ip("fd00::9"), true)};
  for (const Bytes& bytes : all) {
    ASSERT_NE(parse(port, bytes).kind, PacketKind::kDrop);
    for (std::size_t size = 0; size < bytes.size(); ++size) {
      EXPECT_EQ(parse(port, std::span(bytes).first(size)).kind, PacketKind::kDrop) << size;
    }
  }
}

TEST(Parse, EveryWrongBitIsNoticedOrHarmless) {
  const EthernetPort port = test_port();
  for (const bool v6 : {false, true}) {
    const Bytes good = v6 ? datagram({.from = ip("fd00::9"), .to = ip("fd00::1")}, kPayload) : datagram({}, kPayload);
    for (std::size_t bit = 14 * 8; bit < good.size() * 8; ++bit) {
      Bytes bytes = good;
      bytes[bit / 8] ^= static_cast<std::byte>(1 << bit % 8);
      const Packet packet = parse(port, bytes);
      // Class, flow label and hop limit of IPv6 are covered by no checksum.
      const bool uncovered = v6 && (bit / 8 < 18 || bit / 8 == 21);
      if (packet.kind == PacketKind::kDatagram && !uncovered) {
        ADD_FAILURE() << "bit " << bit << " v6 " << v6;
      }
    }
  }
}

TEST(Parse, NamesWhyItDrops) {
  const EthernetPort port = test_port();
  Bytes bytes = datagram({}, kPayload);
  bytes.back() ^= std::byte{1};
  expect_drop(parse(port, bytes), DropReason::kPacketChecksum);
  EXPECT_EQ(parse(port, bytes, {.l4_good = true}).kind, PacketKind::kDatagram) << "the device has the word";
  expect_drop(parse(port, datagram({}, kPayload), {.bad = true}), DropReason::kPacketChecksum);
  expect_drop(parse(port, datagram({.to = ip("10.1.0.2")}, kPayload)), DropReason::kPacketNotOurs);
  expect_drop(parse(port, datagram({.to_mac = {2, 2, 2, 2, 2, 2}}, kPayload)), DropReason::kPacketNotOurs);
  expect_drop(parse(port, datagram({.to_mac = {0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF}}, kPayload)), DropReason::kPacketNotOurs);
  expect_drop(parse(port, datagram({.destination_port = 53}, kPayload)), DropReason::kPacketUdpPort);
  expect_drop(parse(port, datagram({.vlan = 5}, kPayload)), DropReason::kPacketVlan);
  expect_drop(parse(test_port(5), datagram({}, kPayload)), DropReason::kPacketVlan);
  expect_drop(parse(port, datagram({.from = ip("224.0.0.1")}, kPayload)), DropReason::kPacketMalformed);
  expect_drop(parse(port, datagram({.from = ip("ff02::1"), .to = ip("fd00::1")}, kPayload)), DropReason::kPacketMalformed);
  bytes = datagram({}, kPayload);
  bytes[12] = std::byte{0x88};
  expect_drop(parse(port, bytes), DropReason::kPacketProtocol);
  bytes = datagram({}, kPayload);
  bytes[6] |= std::byte{1};
  expect_drop(parse(port, bytes), DropReason::kPacketMalformed);
}

TEST(Parse, DropsFragmentsOfBothFamilies) {
  for (const unsigned flags : {0x2000u, 0x0001u, 0x00FFu}) {
    Bytes bytes = datagram({}, kPayload);
    put16(bytes, 14 + 6, flags);
    put16(bytes, 14 + 10, 0);
    put16(bytes, 14 + 10, ~slow_sum(std::span(bytes).subspan(14, 20)) & 0xFFFF);
    expect_drop(parse(test_port(), bytes), DropReason::kPacketFragment);
  }
  Bytes bytes = datagram({.from = ip("fd00::9"), .to = ip("fd00::1")}, kPayload);
  bytes[14 + 6] = std::byte{44};
  expect_drop(parse(test_port(), bytes), DropReason::kPacketFragment);
}

TEST(Parse, UdpWithoutAChecksumIsForIpv4Only) {
  Bytes four = datagram({}, kPayload);
  put16(four, 14 + 20 + 6, 0);
  EXPECT_EQ(parse(test_port(), four).kind, PacketKind::kDatagram);
  Bytes six = datagram({.from = ip("fd00::9"), .to = ip("fd00::1")}, kPayload);
  put16(six, 14 + 40 + 6, 0);
  expect_drop(parse(test_port(), six), DropReason::kPacketChecksum);
}

TEST(Parse, TakesUnfinishedChecksumsOnlyWhereTheKernelLeavesThem) {
  for (const bool v6 : {false, true}) {
    const DatagramFields fields = v6 ? DatagramFields{.from = ip("fd00::9"), .to = ip("fd00::1")} : DatagramFields{};
    Bytes bytes = datagram(fields, kPayload);
    Bytes addresses;
    append(addresses, fields.from);
    append(addresses, fields.to);
    put16(bytes, 14u + (v6 ? 40 : 20) + 6, slow_sum(addresses, static_cast<std::uint32_t>(8 + kPayload.size() + 17)));
    EthernetPort port = test_port();
    expect_drop(parse(port, bytes), DropReason::kPacketChecksum);
    port.unfinished_checksums = true;
    EXPECT_EQ(parse(port, bytes).kind, PacketKind::kDatagram);
  }
}

TEST(Parse, AStrippedTagCounts) {
  const Bytes bytes = datagram({}, kPayload);
  EXPECT_EQ(parse(test_port(9), bytes, {.stripped = true, .vlan = 9}).kind, PacketKind::kDatagram);
  EXPECT_EQ(parse(test_port(9), bytes, {.stripped = true, .vlan = 0x2009}).kind, PacketKind::kDatagram) << "priority bits";
  expect_drop(parse(test_port(9), bytes, {.stripped = true, .vlan = 8}), DropReason::kPacketVlan);
}

Bytes answer(const EthernetPort& port, const Bytes& request, bool expected = true) {
  const Packet packet = parse(port, request);
  Bytes bytes = request;
  bytes.resize(request.size() + kAnswerRoomBytes);
  auto exact = std::make_unique<std::byte[]>(bytes.size());
  std::memcpy(exact.get(), bytes.data(), bytes.size());
  const std::size_t size = answer_in_place(port, packet, {exact.get(), bytes.size()}, request.size());
  EXPECT_EQ(size != 0, expected);
  return {exact.get(), exact.get() + size};
}

TEST(Answer, ArpRequestsForUsAndNoOthers) {
  for (const std::uint16_t vlan : {0, 12}) {
    const EthernetPort port = test_port(vlan);
    const Bytes request = arp({0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF}, 1, kPeerMac, ip("10.1.0.9"), ip("10.1.0.1"), vlan);
    ASSERT_EQ(parse(port, request).kind, PacketKind::kArp);
    Bytes reply;
    append_ethernet(reply, kPeerMac, kOurMac, vlan, 0x0806);
    append(reply, from_hex("0001 0800 06 04 0002"));
    append(reply, kOurMac);
    append(reply, ip("10.1.0.1"));
    append(reply, kPeerMac);
    append(reply, ip("10.1.0.9"));
    EXPECT_EQ(answer(port, request), reply);
  }
  expect_drop(parse(test_port(), arp({0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF}, 1, kPeerMac, ip("10.1.0.9"), ip("10.1.0.2"))), DropReason::kPacketNotOurs);
}

TEST(Answer, NeighborSolicitationsWithAndWithoutOptionAndForDuplicates) {
  const EthernetPort port = test_port();
  const IpAddress group = ip("ff02::1:ff00:1");
  const MacAddress group_mac{0x33, 0x33, 0xFF, 0, 0, 1};
  EXPECT_EQ(solicited_node(ip("fd00::1")), group);
  EXPECT_EQ(multicast_mac(group), group_mac);
  Bytes want;
  append_ethernet(want, kPeerMac, kOurMac, 0, 0x86DD);
  Bytes icmp = from_hex("88 00 0000 60 000000");
  append(icmp, ip("fd00::1"));
  append(icmp, from_hex("02 01"));
  append(icmp, kOurMac);
  append_ip(want, ip("fd00::1"), ip("fd00::9"), 58, icmp, 2, true, 255);
  EXPECT_EQ(answer(port, neighbor(group_mac, ip("fd00::9"), group, 135, 0, ip("fd00::1"), true)), want);
  EXPECT_EQ(answer(port, neighbor(kOurMac, ip("fd00::9"), ip("fd00::1"), 135, 0, ip("fd00::1"), false)), want);

  const Bytes to_all = answer(port, neighbor(group_mac, ip("::"), group, 135, 0, ip("fd00::1"), false));
  const Packet parsed = parse_packet(port, to_all, to_all.size(), {});
  EXPECT_EQ(parsed.reason, DropReason::kPacketNotOurs) << "our own advertisement, well-formed";
  EXPECT_EQ(std::to_integer<int>(to_all[0]), 0x33);
  EXPECT_EQ(std::to_integer<int>(to_all[14 + 40 + 4]), 0x20) << "override, not solicited";
  expect_drop(parse(port, neighbor(group_mac, ip("fd00::9"), group, 135, 0, ip("fd00::2"), true)), DropReason::kPacketNotOurs);
  expect_drop(parse(port, neighbor(group_mac, ip("fd00::9"), group, 135, 0, ip("fd00::1"), true, 254)), DropReason::kPacketMalformed);
}

TEST(Answer, EchoOfBothFamiliesWithRightChecksums) {
  for (const std::size_t bytes : {0, 1, 56, 1400}) {
    for (const auto& pair : std::array<std::array<const char*, 2>, 2>{{{"10.1.0.9", "10.1.0.1"}, {"fd00::9", "fd00::1"}}}) {
      const Bytes reply = answer(test_port(), echo(ip(pair[0]), ip(pair[1]), bytes));
      Bytes want = echo(ip(pair[1]), ip(pair[0]), bytes);
      const std::size_t l4 = ip(pair[0]).family == 6 ? 54 : 34;
      std::memcpy(want.data(), kPeerMac.data(), 6);
      std::memcpy(want.data() + 6, kOurMac.data(), 6);
      const bool v6 = l4 == 54;
      want[l4] = v6 ? std::byte{129} : std::byte{0};
      // The checksum by hand: type is in the high byte.
      const unsigned before = std::to_integer<unsigned>(want[l4 + 2]) << 8 | std::to_integer<unsigned>(want[l4 + 3]);
      std::uint32_t sum = (~before & 0xFFFF) + (~(v6 ? 0x8000u : 0x0800u) & 0xFFFF) + (v6 ? 0x8100u : 0);
      sum = (sum & 0xFFFF) + (sum >> 16);
      sum = (sum & 0xFFFF) + (sum >> 16);
      put16(want, l4 + 2, ~sum & 0xFFFF);
      EXPECT_EQ(reply, want) << bytes;
    }
  }
  expect_drop(parse(test_port(), echo(ip("10.1.0.9"), ip("10.1.0.2"), 8)), DropReason::kPacketNotOurs);
}

TEST(Answer, AnEchoOfNothingButZeros) {
  Bytes request;
  append_ethernet(request, kOurMac, kPeerMac, 0, 0x0800);
  Bytes icmp(64);
  icmp[0] = std::byte{8};
  append_ip(request, ip("10.1.0.9"), ip("10.1.0.1"), 1, icmp, 2, false);
  const Bytes reply = answer(test_port(), request);
  EXPECT_EQ(slow_sum(std::span(reply).subspan(34)), 0xFFFFu);
}

TEST(Answer, NeedsRoom) {
  const Bytes request = echo(ip("10.1.0.9"), ip("10.1.0.1"), 8);
  Bytes bytes = request;
  EXPECT_EQ(answer_in_place(test_port(), parse(test_port(), request), bytes, bytes.size()), 0u);
  EXPECT_EQ(bytes, request);
}

TEST(Learn, RepliesToUsAndThoseWhoClaimOurAddress) {
  const EthernetPort port = test_port();
  const NeighborSaid reply = read_neighbor(port, arp(kOurMac, 2, kPeerMac, ip("10.1.0.9"), ip("10.1.0.1")));
  EXPECT_EQ(reply.address, ip("10.1.0.9"));
  EXPECT_EQ(reply.mac, kPeerMac);
  EXPECT_TRUE(reply.solicited);
  const NeighborSaid claim = read_neighbor(port, arp({0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF}, 1, kPeerMac, ip("10.1.0.1"), ip("10.1.0.1")));
  EXPECT_EQ(claim.address, ip("10.1.0.1"));
  EXPECT_FALSE(claim.solicited);
  const NeighborSaid six = read_neighbor(port, neighbor(kOurMac, ip("fd00::9"), ip("fd00::1"), 136, 0x60, ip("fd00::9"), true));
  EXPECT_EQ(six.address, ip("fd00::9"));
  EXPECT_EQ(six.mac, kPeerMac);
  EXPECT_TRUE(six.solicited);
  EXPECT_EQ(read_neighbor(port, arp(kOurMac, 2, kPeerMac, ip("10.1.0.9"), ip("10.1.0.3"))).address.family, 0);
  EXPECT_EQ(read_neighbor(port, datagram({}, kPayload)).address.family, 0);
}

TEST(Build, OuterTemplateMakesAPacketThatTheOtherSideTakes) {
  for (const std::uint16_t vlan : {0, 12}) {
    for (const bool v6 : {false, true}) {
      const EthernetPort us = test_port(vlan);
      EthernetPort them{.mac = kPeerMac, .vlan = vlan, .udp_port = 7000, .address_count = 1};
      them.addresses[0] = ip(v6 ? "fd00::9" : "10.1.0.9");
      const OuterTemplate outer = make_outer(us, us.addresses[v6 ? 1 : 0], make_endpoint(them.addresses[0], 7000), kPeerMac);
      EXPECT_EQ(outer.length, 14 + (vlan != 0 ? 4 : 0) + (v6 ? 40 : 20) + 8);
      for (std::size_t bytes = 0; bytes < 70; ++bytes) {
        const Bytes payload(bytes, std::byte{0xA5});
        const Bytes made = make_datagram(us, outer, payload);
        EXPECT_GE(made.size(), 60u);
        const Packet packet = parse(them, made);
        ASSERT_EQ(packet.kind, PacketKind::kDatagram) << drop_reason_text(packet.reason).name;
        EXPECT_EQ(packet.payload_bytes, bytes);
        EXPECT_EQ(packet_source(packet, made.data()), make_endpoint(us.addresses[v6 ? 1 : 0], 46367));
      }
    }
  }
}

TEST(Text, AddressesAndPrefixes) {
  EXPECT_EQ(to_text(ip("10.1.0.1")), "10.1.0.1");
  EXPECT_EQ(to_text(make_endpoint(ip("fd00::1"), 7)), "[fd00::1]:7");
  EXPECT_EQ(to_text(*parse_ip_prefix("10.1.0.1/24")), "10.1.0.1/24");
  EXPECT_EQ(to_text(*parse_ip_prefix("fd00::1")), "fd00::1/128");
  EXPECT_TRUE(parse_ip_prefix("10.1.0.1/20")->contains(ip("10.1.15.255")));
  EXPECT_FALSE(parse_ip_prefix("10.1.0.1/20")->contains(ip("10.1.16.0")));
  EXPECT_TRUE(parse_ip_prefix("0.0.0.0/0")->contains(ip("9.9.9.9")));
  EXPECT_FALSE(parse_ip_prefix("0.0.0.0/0")->contains(ip("::1")));
  for (const char* wrong : {"10.1.0.1/33", "10.1.0/24", "fd00::1/129", "fd00::1/", "x", "", "10.1.0.1/-1"}) {
    EXPECT_FALSE(parse_ip_prefix(wrong).has_value()) << wrong;
  }
  EXPECT_EQ(to_text(link_local_address({0x52, 0x54, 0, 0x12, 0x34, 0x56})), "fe80::5054:ff:fe12:3456");
}

}  // namespace
}  // namespace slipway
