#include <cstring>

#include "port/checksum.h"
#include "port/ethernet.h"
#include "port/ethernet_layout.h"
#include "port/outer_datapath.h"

namespace slipway {
namespace {

using namespace wire;

std::uint8_t byte_at(const std::byte* at) { return std::to_integer<std::uint8_t>(*at); }

bool same(const std::byte* at, const MacAddress& mac) { return std::memcmp(at, mac.data(), mac.size()) == 0; }

bool is_own(const EthernetPort& port, const std::byte* at, std::uint8_t family) {
  const std::size_t bytes = family == 4 ? 4 : 16;
  for (const IpAddress& own : port.own()) {
    if (own.family == family && std::memcmp(own.bytes.data(), at, bytes) == 0) {
      return true;
    }
  }
  return false;
}

Packet drop(Packet packet, DropReason reason) {
  packet.kind = PacketKind::kDrop;
  packet.reason = reason;
  return packet;
}
Packet of_kind(Packet packet, PacketKind kind) {
  packet.kind = kind;
  return packet;
}

Packet parse_arp(const EthernetPort& port, std::span<const std::byte> head, Packet packet) {
  if (head.size() < packet.ip_offset + kArpBytes) {
    return drop(packet, DropReason::kPacketMalformed);
  }
  const std::byte* arp = head.data() + packet.ip_offset;
  static constexpr std::array<std::uint8_t, 6> kEthernetAndIpv4{0, 1, 0x08, 0x00, 6, 4};
  const std::byte* sender_mac = arp + 8;
  if (std::memcmp(arp, kEthernetAndIpv4.data(), kEthernetAndIpv4.size()) != 0 || (byte_at(sender_mac) & 1) != 0) {
    return drop(packet, DropReason::kPacketMalformed);
  }
  const std::uint16_t operation = load_be16(arp + 6);
  if (operation != kArpRequest && operation != kArpReply) {
    return drop(packet, DropReason::kPacketMalformed);
  }
  if (is_own(port, arp + 14, 4)) {
    // Somebody else speaks for an address of ours; our own packet that came back is nothing.
    return same(sender_mac, port.mac) ? drop(packet, DropReason::kPacketNotOurs) : of_kind(packet, PacketKind::kLearn);
  }
  if (!is_own(port, arp + 24, 4)) {
    return drop(packet, DropReason::kPacketNotOurs);
  }
  return of_kind(packet, operation == kArpRequest ? PacketKind::kArp : PacketKind::kLearn);
}

// A checksum over `bytes` with its pseudo header; a correct one sums up to ones.
bool l4_sum_good(const std::byte* ip, bool ipv6, std::uint8_t protocol, std::span<const std::byte> bytes, bool pseudo) {
  const std::uint64_t base = pseudo ? pseudo_sum(ip, ipv6, protocol, static_cast<std::uint32_t>(bytes.size())) : 0;
  return fold(add_words(bytes, base)) == 0xFFFF;
}

Packet parse_udp(const EthernetPort& port, std::span<const std::byte> head, Packet packet, std::size_t l4_bytes,
                 const PacketHints& hints) {
  if (l4_bytes < kUdpBytes || head.size() < packet.l4_offset + kUdpBytes) {
    return drop(packet, DropReason::kPacketMalformed);
  }
  const std::byte* udp = head.data() + packet.l4_offset;
  const std::byte* ip = head.data() + packet.ip_offset;
  const std::uint16_t udp_bytes = load_be16(udp + 4);
  if (udp_bytes < kUdpBytes || udp_bytes > l4_bytes) {
    return drop(packet, DropReason::kPacketMalformed);
  }
  if (load_be16(udp + 2) != port.udp_port) {
    return drop(packet, DropReason::kPacketUdpPort);
  }
  std::uint16_t sum;
  std::memcpy(&sum, udp + 6, sizeof sum);
  if (sum == 0) {
    if (packet.ipv6) {
      return drop(packet, DropReason::kPacketChecksum);  // RFC 8200 8.1: never absent
    }
  } else if (!hints.l4_good) {
    const bool whole = head.size() >= packet.l4_offset + std::size_t{udp_bytes};
    const bool good = (whole && l4_sum_good(ip, packet.ipv6, kUdp, {udp, udp_bytes}, true)) ||
                      (port.unfinished_checksums && sum == fold(pseudo_sum(ip, packet.ipv6, kUdp, udp_bytes)));
    if (!good) {
      return drop(packet, DropReason::kPacketChecksum);
    }
  }
  packet.payload_offset = static_cast<std::uint16_t>(packet.l4_offset + kUdpBytes);
  packet.payload_bytes = static_cast<std::uint16_t>(udp_bytes - kUdpBytes);
  return of_kind(packet, PacketKind::kDatagram);
}

Packet parse_icmp4(std::span<const std::byte> head, Packet packet, std::size_t l4_bytes) {
  if (l4_bytes < 8) {
    return drop(packet, DropReason::kPacketMalformed);
  }
  const bool echo = head.size() >= packet.l4_offset + l4_bytes && byte_at(head.data() + packet.l4_offset) == kEchoRequest4 &&
                    packet.l4_offset == packet.ip_offset + kIpv4Bytes;
  if (!echo) {
    return drop(packet, DropReason::kPacketProtocol);
  }
  if (!l4_sum_good(nullptr, false, 0, head.subspan(packet.l4_offset, l4_bytes), false)) {
    return drop(packet, DropReason::kPacketChecksum);
  }
  return of_kind(packet, PacketKind::kEcho4);
}

Packet parse_ipv4(const EthernetPort& port, std::span<const std::byte> head, std::size_t packet_bytes, Packet packet,
                  const PacketHints& hints) {
  const std::size_t at = packet.ip_offset;
  if (head.size() < at + kIpv4Bytes) {
    return drop(packet, DropReason::kPacketMalformed);
  }
  const std::byte* ip = head.data() + at;
  const std::size_t header_bytes = std::size_t{byte_at(ip)} % 16 * 4;
  const std::size_t total_bytes = load_be16(ip + 2);
  if (byte_at(ip) >> 4 != 4 || header_bytes < kIpv4Bytes || total_bytes < header_bytes || total_bytes > packet_bytes - at ||
      head.size() < at + header_bytes) {
    return drop(packet, DropReason::kPacketMalformed);
  }
  if (!hints.ip_good && fold(add_words({ip, header_bytes}, 0)) != 0xFFFF) {
    return drop(packet, DropReason::kPacketChecksum);
  }
  if (!same(head.data(), port.mac) || !is_own(port, ip + 16, 4)) {
    return drop(packet, DropReason::kPacketNotOurs);
  }
  if ((load_be16(ip + 6) & 0x3FFF) != 0) {
    return drop(packet, DropReason::kPacketFragment);
  }
  const std::uint8_t first = byte_at(ip + 12);
  if (first == 0 || first == 127 || first >= 224) {
    return drop(packet, DropReason::kPacketMalformed);  // nobody can be answered there
  }
  packet.l4_offset = static_cast<std::uint16_t>(at + header_bytes);
  const std::size_t l4_bytes = total_bytes - header_bytes;
  switch (byte_at(ip + 9)) {
    case kUdp:
      return parse_udp(port, head, packet, l4_bytes, hints);
    case kIcmp:
      return parse_icmp4(head, packet, l4_bytes);
    default:
      return drop(packet, DropReason::kPacketProtocol);
  }
}

// RFC 4861 7.1: what makes a solicitation or an advertisement valid.
Packet parse_neighbor(const EthernetPort& port, std::span<const std::byte> l4, const std::byte* ip, std::uint8_t type, Packet packet,
                      const std::byte* ethernet) {
  if (l4.size() < kNeighborBytes || byte_at(ip + 7) != kNeighborHopLimit || byte_at(&l4[1]) != 0) {
    return drop(packet, DropReason::kPacketMalformed);
  }
  const bool target_is_own = is_own(port, &l4[8], 6);
  if (type == kSolicitation) {
    const bool from_one = byte_at(ip + 8) != 0xFF;
    return target_is_own && from_one ? of_kind(packet, PacketKind::kSolicit) : drop(packet, DropReason::kPacketNotOurs);
  }
  if (target_is_own) {
    return same(ethernet + 6, port.mac) ? drop(packet, DropReason::kPacketNotOurs) : of_kind(packet, PacketKind::kLearn);
  }
  return is_own(port, ip + 24, 6) ? of_kind(packet, PacketKind::kLearn) : drop(packet, DropReason::kPacketNotOurs);
}

Packet parse_icmp6(const EthernetPort& port, std::span<const std::byte> head, Packet packet, std::size_t l4_bytes) {
  if (l4_bytes < 8) {
    return drop(packet, DropReason::kPacketMalformed);
  }
  if (head.size() < packet.l4_offset + l4_bytes) {
    return drop(packet, DropReason::kPacketProtocol);
  }
  const std::byte* ip = head.data() + packet.ip_offset;
  const std::span<const std::byte> l4 = head.subspan(packet.l4_offset, l4_bytes);
  const std::uint8_t type = byte_at(l4.data());
  if (type != kEchoRequest6 && type != kSolicitation && type != kAdvertisement) {
    return drop(packet, DropReason::kPacketProtocol);
  }
  if (!l4_sum_good(ip, true, kIcmp6, l4, true)) {
    return drop(packet, DropReason::kPacketChecksum);
  }
  if (type != kEchoRequest6) {
    return parse_neighbor(port, l4, ip, type, packet, head.data());
  }
  const bool ours = same(head.data(), port.mac) && is_own(port, ip + 24, 6);
  return ours ? of_kind(packet, PacketKind::kEcho6) : drop(packet, DropReason::kPacketNotOurs);
}

Packet parse_ipv6(const EthernetPort& port, std::span<const std::byte> head, std::size_t packet_bytes, Packet packet,
                  const PacketHints& hints) {
  const std::size_t at = packet.ip_offset;
  if (head.size() < at + kIpv6Bytes) {
    return drop(packet, DropReason::kPacketMalformed);
  }
  const std::byte* ip = head.data() + at;
  const std::size_t l4_bytes = load_be16(ip + 4);
  if (byte_at(ip) >> 4 != 6 || l4_bytes > packet_bytes - at - kIpv6Bytes) {
    return drop(packet, DropReason::kPacketMalformed);
  }
  packet.ipv6 = true;
  packet.l4_offset = static_cast<std::uint16_t>(at + kIpv6Bytes);
  const std::uint8_t next = byte_at(ip + 6);
  if (next == kIcmp6) {
    return byte_at(ip + 8) == 0xFF ? drop(packet, DropReason::kPacketMalformed) : parse_icmp6(port, head, packet, l4_bytes);
  }
  if (!same(head.data(), port.mac) || !is_own(port, ip + 24, 6)) {
    return drop(packet, DropReason::kPacketNotOurs);
  }
  if (next == kIpv6Fragment) {
    return drop(packet, DropReason::kPacketFragment);
  }
  if (next != kUdp) {
    return drop(packet, DropReason::kPacketProtocol);
  }
  IpAddress source{.family = 6};
  std::memcpy(source.bytes.data(), ip + 8, 16);
  return is_unicast(source) ? parse_udp(port, head, packet, l4_bytes, hints) : drop(packet, DropReason::kPacketMalformed);
}

void swap_bytes(std::byte* a, std::byte* b, std::size_t count) {
  for (std::size_t i = 0; i < count; ++i) {
    std::swap(a[i], b[i]);
  }
}

// A checksum after one 16-bit word that it covers changed (RFC 1624). Words as they lie.
void update_checksum(std::byte* at, std::uint16_t old_word, std::uint16_t new_word) {
  std::uint16_t sum;
  std::memcpy(&sum, at, sizeof sum);
  const std::uint64_t changed = std::uint64_t{static_cast<std::uint16_t>(~sum)} + static_cast<std::uint16_t>(~old_word) + new_word;
  sum = static_cast<std::uint16_t>(~fold(changed));
  // Both zeros of ones' complement are the same, except where all that is covered is zero: then only ones are right.
  sum = sum == 0 ? 0xFFFF : sum;
  std::memcpy(at, &sum, sizeof sum);
}

void answer_echo(std::byte* l4, std::uint8_t reply) {
  std::uint16_t before;
  std::memcpy(&before, l4, sizeof before);
  l4[0] = std::byte{reply};
  std::uint16_t after;
  std::memcpy(&after, l4, sizeof after);
  update_checksum(l4 + 2, before, after);
}

std::size_t answer_arp(const EthernetPort& port, const Packet& packet, std::byte* bytes) {
  std::byte* arp = bytes + packet.ip_offset;
  store_be16(arp + 6, kArpReply);
  std::byte ours[4];
  std::memcpy(ours, arp + 24, 4);
  std::memcpy(arp + 18, arp + 8, 10);  // the asker's addresses become the target's
  std::memcpy(arp + 8, port.mac.data(), 6);
  std::memcpy(arp + 14, ours, 4);
  return packet.ip_offset + kArpBytes;
}

std::size_t answer_solicit(const EthernetPort& port, const Packet& packet, std::byte* bytes) {
  std::byte* ip = bytes + packet.ip_offset;
  std::byte* l4 = bytes + packet.l4_offset;
  static constexpr std::array<std::uint8_t, 16> kNobody{};
  const bool to_all = std::memcmp(ip + 8, kNobody.data(), 16) == 0;  // the asker looks for duplicates
  std::memcpy(ip + 24, to_all ? reinterpret_cast<const std::byte*>(kAllNodes.bytes.data()) : ip + 8, 16);
  if (to_all) {
    std::memcpy(bytes, kAllNodesMac.data(), 6);
  }
  std::memcpy(ip + 8, l4 + 8, 16);
  store_be16(ip + 4, kNeighborBytes + kLinkOptionBytes);
  l4[0] = std::byte{kAdvertisement};
  l4[4] = std::byte{static_cast<std::uint8_t>((to_all ? 0 : kFlagSolicited) | kFlagOverride)};
  l4[24] = std::byte{kOptionTarget};
  l4[25] = std::byte{1};
  std::memcpy(l4 + 26, port.mac.data(), 6);
  l4[2] = l4[3] = std::byte{0};
  constexpr std::size_t kL4Bytes = kNeighborBytes + kLinkOptionBytes;
  const auto sum = static_cast<std::uint16_t>(~fold(add_words({l4, kL4Bytes}, pseudo_sum(ip, true, kIcmp6, kL4Bytes))));
  std::memcpy(l4 + 2, &sum, sizeof sum);
  return packet.l4_offset + kL4Bytes;
}

}  // namespace

Packet parse_packet(const EthernetPort& port, std::span<const std::byte> head, std::size_t packet_bytes, const PacketHints& hints) {
  Packet packet;
  if (head.size() < kEthernetBytes || head.size() > packet_bytes) {
    return drop(packet, DropReason::kPacketMalformed);
  }
  if (hints.bad) {
    return drop(packet, DropReason::kPacketChecksum);
  }
  std::uint16_t type = load_be16(head.data() + 12);
  std::uint16_t vlan = hints.stripped ? hints.vlan & 0x0FFF : 0;
  packet.ip_offset = kEthernetBytes;
  packet.tagged = hints.stripped;
  if (type == kTypeTag && !hints.stripped) {
    if (head.size() < kEthernetBytes + kTagBytes) {
      return drop(packet, DropReason::kPacketMalformed);
    }
    vlan = load_be16(head.data() + 14) & 0x0FFF;
    type = load_be16(head.data() + 16);
    packet.ip_offset += kTagBytes;
    packet.tagged = true;
  }
  if (vlan != port.vlan) {
    return drop(packet, DropReason::kPacketVlan);
  }
  if ((byte_at(head.data() + 6) & 1) != 0) {
    return drop(packet, DropReason::kPacketMalformed);  // no packet comes from a group
  }
  const bool to_us = same(head.data(), port.mac);
  switch (type) {
    case kTypeIpv4:
      return parse_ipv4(port, head, packet_bytes, packet, hints);
    case kTypeIpv6:
      return to_us || byte_at(head.data()) == 0x33 ? parse_ipv6(port, head, packet_bytes, packet, hints)
                                                   : drop(packet, DropReason::kPacketNotOurs);
    case kTypeArp:
      return to_us || same(head.data(), kBroadcast) ? parse_arp(port, head, packet) : drop(packet, DropReason::kPacketNotOurs);
    default:
      return drop(packet, DropReason::kPacketProtocol);
  }
}

std::size_t answer_in_place(const EthernetPort& port, const Packet& packet, std::span<std::byte> bytes, std::size_t packet_bytes) {
  if (bytes.size() < packet_bytes + kAnswerRoomBytes) {
    return 0;
  }
  std::byte* ip = bytes.data() + packet.ip_offset;
  std::memcpy(bytes.data(), bytes.data() + 6, 6);
  std::memcpy(bytes.data() + 6, port.mac.data(), 6);
  switch (packet.kind) {
    case PacketKind::kArp:
      return answer_arp(port, packet, bytes.data());
    case PacketKind::kSolicit:
      return answer_solicit(port, packet, bytes.data());
    case PacketKind::kEcho4: {
      swap_bytes(ip + 12, ip + 16, 4);
      ip[8] = std::byte{kHopLimit};
      write_ipv4_checksum(ip);
      answer_echo(bytes.data() + packet.l4_offset, kEchoReply4);
      return packet.ip_offset + std::size_t{load_be16(ip + 2)};
    }
    case PacketKind::kEcho6: {
      swap_bytes(ip + 8, ip + 24, 16);
      ip[7] = std::byte{kHopLimit};
      answer_echo(bytes.data() + packet.l4_offset, kEchoReply6);
      return packet.l4_offset + std::size_t{load_be16(ip + 4)};
    }
    default:
      return 0;
  }
}

IpEndpoint packet_source(const Packet& packet, const std::byte* bytes) {
  IpEndpoint endpoint{.port = load_be16(bytes + packet.l4_offset), .family = static_cast<std::uint8_t>(packet.ipv6 ? 6 : 4)};
  std::memcpy(endpoint.address.data(), bytes + packet.ip_offset + (packet.ipv6 ? 8 : 12), packet.ipv6 ? 16 : 4);
  return endpoint;
}

IpEndpoint packet_destination(const Packet& packet, const std::byte* bytes) {
  IpEndpoint endpoint{.port = load_be16(bytes + packet.l4_offset + 2), .family = static_cast<std::uint8_t>(packet.ipv6 ? 6 : 4)};
  std::memcpy(endpoint.address.data(), bytes + packet.ip_offset + (packet.ipv6 ? 24 : 16), packet.ipv6 ? 16 : 4);
  return endpoint;
}

}  // namespace slipway
