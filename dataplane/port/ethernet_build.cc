#include <algorithm>
#include <cstring>

#include "port/checksum.h"
#include "port/ethernet.h"
#include "port/ethernet_layout.h"
#include "port/outer_datapath.h"

namespace slipway {
namespace {

using namespace wire;

constexpr std::size_t kLeastPacketBytes = 60;  // Ethernet's, without its checksum

std::byte* put_mac(std::byte* at, const MacAddress& mac) {
  std::memcpy(at, mac.data(), mac.size());
  return at + mac.size();
}
std::byte* put_address(std::byte* at, const IpAddress& address) {
  std::memcpy(at, address.bytes.data(), address.byte_count());
  return at + address.byte_count();
}

// Ethernet header and the port's tag; returns where the payload begins.
std::byte* put_ethernet(std::byte* at, const EthernetPort& port, const MacAddress& to, std::uint16_t type) {
  at = put_mac(put_mac(at, to), port.mac);
  if (port.vlan != 0) {
    store_be16(at, kTypeTag);
    store_be16(at + 2, port.vlan);
    at += kTagBytes;
  }
  store_be16(at, type);
  return at + 2;
}

PacketBytes packet_of(std::size_t bytes) { return PacketBytes(std::max(bytes, kLeastPacketBytes)); }
std::size_t ethernet_bytes(const EthernetPort& port) { return kEthernetBytes + (port.vlan != 0 ? kTagBytes : 0); }

PacketBytes make_arp(const EthernetPort& port, const MacAddress& to, std::uint16_t operation, const IpAddress& own,
                     const MacAddress& target_mac, const IpAddress& target) {
  PacketBytes packet = packet_of(ethernet_bytes(port) + kArpBytes);
  std::byte* arp = put_ethernet(packet.data(), port, to, kTypeArp);
  store_be16(arp, 1);
  store_be16(arp + 2, kTypeIpv4);
  arp[4] = std::byte{6};
  arp[5] = std::byte{4};
  store_be16(arp + 6, operation);
  put_address(put_mac(put_address(put_mac(arp + 8, port.mac), own), target_mac), target);
  return packet;
}

PacketBytes make_neighbor(const EthernetPort& port, const MacAddress& to_mac, const IpAddress& to, const IpAddress& own, std::uint8_t type,
                          std::uint8_t flags, const IpAddress& target, std::uint8_t option) {
  constexpr std::size_t kL4Bytes = kNeighborBytes + kLinkOptionBytes;
  PacketBytes packet = packet_of(ethernet_bytes(port) + kIpv6Bytes + kL4Bytes);
  std::byte* ip = put_ethernet(packet.data(), port, to_mac, kTypeIpv6);
  ip[0] = std::byte{0x60};
  store_be16(ip + 4, kL4Bytes);
  ip[6] = std::byte{kIcmp6};
  ip[7] = std::byte{kNeighborHopLimit};
  std::byte* l4 = put_address(put_address(ip + 8, own), to);
  l4[0] = std::byte{type};
  l4[4] = std::byte{flags};
  std::byte* link = put_address(l4 + 8, target);
  link[0] = std::byte{option};
  link[1] = std::byte{1};
  put_mac(link + 2, port.mac);
  const auto sum = static_cast<std::uint16_t>(~fold(add_words({l4, kL4Bytes}, pseudo_sum(ip, true, kIcmp6, kL4Bytes))));
  std::memcpy(l4 + 2, &sum, sizeof sum);
  return packet;
}

}  // namespace

OuterTemplate make_outer(const EthernetPort& port, const IpAddress& own, const IpEndpoint& peer, const MacAddress& next_hop_mac) {
  OuterTemplate outer;
  auto* bytes = reinterpret_cast<std::byte*>(outer.bytes.data());
  const bool ipv6 = peer.family == 6;
  std::byte* ip = put_ethernet(bytes, port, next_hop_mac, ipv6 ? kTypeIpv6 : kTypeIpv4);
  if (ipv6) {
    ip[0] = std::byte{0x60};
    ip[6] = std::byte{kUdp};
    ip[7] = std::byte{kHopLimit};
    put_address(put_address(ip + 8, own), address_of(peer));
  } else {
    ip[0] = std::byte{0x45};
    ip[6] = std::byte{0x40};  // do not fragment: frames are cut to the MTU above IP
    ip[8] = std::byte{kHopLimit};
    ip[9] = std::byte{kUdp};
    put_address(put_address(ip + 12, own), address_of(peer));
  }
  std::byte* udp = ip + (ipv6 ? kIpv6Bytes : kIpv4Bytes);
  store_be16(udp, port.udp_port);
  store_be16(udp + 2, peer.port);
  outer.ipv6 = ipv6 ? 1 : 0;
  outer.ip_offset = static_cast<std::uint8_t>(ip - bytes);
  outer.udp_offset = static_cast<std::uint8_t>(udp - bytes);
  outer.length = static_cast<std::uint8_t>(udp - bytes + kUdpBytes);
  return outer;
}

PacketBytes make_datagram(const EthernetPort& port, const OuterTemplate& outer, std::span<const std::byte> payload) {
  PacketBytes packet = packet_of(outer.length + payload.size());
  write_outer(packet.data(), outer, port.udp_port, 0, static_cast<std::uint32_t>(payload.size()));
  std::ranges::copy(payload, packet.begin() + outer.length);
  std::byte* ip = packet.data() + outer.ip_offset;
  std::byte* udp = packet.data() + outer.udp_offset;
  const std::size_t udp_bytes = payload.size() + kUdpBytes;
  if (outer.ipv6 == 0) {
    write_ipv4_checksum(ip);
  }
  write_udp_checksum(udp, add_words({udp, udp_bytes}, pseudo_sum(ip, outer.ipv6 != 0, kUdp, static_cast<std::uint32_t>(udp_bytes))));
  return packet;
}

PacketBytes make_solicitation(const EthernetPort& port, const IpAddress& own, const IpAddress& target, const MacAddress* unicast) {
  if (target.family == 4) {
    return make_arp(port, unicast != nullptr ? *unicast : kBroadcast, kArpRequest, own, {}, target);
  }
  const IpAddress to = unicast != nullptr ? target : solicited_node(target);
  return make_neighbor(port, unicast != nullptr ? *unicast : multicast_mac(to), to, own, kSolicitation, 0, target, kOptionSource);
}

PacketBytes make_announcement(const EthernetPort& port, const IpAddress& own) {
  if (own.family == 4) {
    return make_arp(port, kBroadcast, kArpRequest, own, {}, own);
  }
  return make_neighbor(port, kAllNodesMac, kAllNodes, own, kAdvertisement, kFlagOverride, own, kOptionTarget);
}

PacketBytes make_group_report(const EthernetPort& port) {
  constexpr std::uint8_t kModeIsExclude = 2;  // of no sources: everything
  std::vector<IpAddress> groups;
  for (const IpAddress& own : port.own()) {
    const bool six = own.family == 6;
    if (six && std::ranges::count(groups, solicited_node(own)) == 0) {
      groups.push_back(solicited_node(own));
    }
  }
  if (groups.empty()) {
    return {};
  }
  const std::size_t l4_bytes = kGroupReportBytes + groups.size() * kGroupRecordBytes;
  PacketBytes packet = packet_of(ethernet_bytes(port) + kIpv6Bytes + kRouterAlertBytes + l4_bytes);
  std::byte* ip = put_ethernet(packet.data(), port, kReportRoutersMac, kTypeIpv6);
  ip[0] = std::byte{0x60};
  store_be16(ip + 4, static_cast<std::uint16_t>(kRouterAlertBytes + l4_bytes));
  ip[7] = std::byte{1};  // hop limit: this wire only. Next header 0: hop-by-hop
  std::byte* alert = put_address(put_address(ip + 8, link_local_address(port.mac)), kReportRouters);
  alert[0] = std::byte{kIcmp6};
  alert[2] = std::byte{5};  // router alert, 2 bytes: multicast listener discovery; then padding
  alert[3] = std::byte{2};
  alert[6] = std::byte{1};
  std::byte* l4 = alert + kRouterAlertBytes;
  l4[0] = std::byte{kGroupReport};
  store_be16(l4 + 6, static_cast<std::uint16_t>(groups.size()));
  std::byte* record = l4 + kGroupReportBytes;
  for (const IpAddress& group : groups) {
    record[0] = std::byte{kModeIsExclude};
    put_address(record + 4, group);
    record += kGroupRecordBytes;
  }
  const auto sum = static_cast<std::uint16_t>(~fold(add_words({l4, l4_bytes}, pseudo_sum(ip, true, kIcmp6, static_cast<std::uint32_t>(l4_bytes)))));
  std::memcpy(l4 + 2, &sum, sizeof sum);
  return packet;
}

NeighborSaid read_neighbor(const EthernetPort& port, std::span<const std::byte> bytes) {
  const Packet packet = parse_packet(port, bytes, bytes.size(), {});
  NeighborSaid said;
  if (packet.kind != PacketKind::kLearn) {
    return said;
  }
  const std::byte* ip = bytes.data() + packet.ip_offset;
  if (!packet.ipv6) {  // ARP
    said.solicited = load_be16(ip + 6) == kArpReply;
    std::memcpy(said.mac.data(), ip + 8, 6);
    std::memcpy(said.address.bytes.data(), ip + 14, 4);
    said.address.family = 4;
    return said;
  }
  const std::span<const std::byte> l4 = bytes.subspan(packet.l4_offset, load_be16(ip + 4));
  said.solicited = (l4[4] & std::byte{kFlagSolicited}) != std::byte{0};
  // Without an option the answer came from where the packet came from (RFC 4861 4.4, answers to unicast).
  std::memcpy(said.mac.data(), bytes.data() + 6, 6);
  for (std::size_t at = kNeighborBytes; at + kLinkOptionBytes <= l4.size();) {
    const std::size_t option_bytes = std::to_integer<std::size_t>(l4[at + 1]) * 8;
    if (option_bytes == 0 || at + option_bytes > l4.size()) {
      return said;
    }
    if (l4[at] == std::byte{kOptionTarget}) {
      std::memcpy(said.mac.data(), l4.data() + at + 2, 6);
    }
    at += option_bytes;
  }
  if ((said.mac[0] & 1) == 0) {
    std::memcpy(said.address.bytes.data(), l4.data() + 8, 16);
    said.address.family = 6;
  }
  return said;
}

}  // namespace slipway
