// The patterns of the short way, made when a port opens or a link changes.
#include <algorithm>

#include "port/ethernet_layout.h"
#include "port/fast_lane_datapath.h"

namespace slipway {
namespace {

using fast_lane::Bytes32;

void put(Bytes32& to, std::size_t at, std::span<const std::byte> bytes) { std::ranges::copy(bytes, to.begin() + static_cast<std::ptrdiff_t>(at)); }
void put_number(Bytes32& to, std::size_t at, std::uint16_t value) { store_be16(to.data() + at, value); }

// Ethernet: to us, from nobody's group, with our tag, IPv4. Returns where the IP header begins.
std::size_t demand_front(FastLane& lane, const EthernetPort& port) {
  const auto demand = [&lane](std::size_t at, std::uint16_t value, std::uint16_t mask = 0xFFFF) {
    put_number(lane.front_want, at, value & mask);
    put_number(lane.front_mask, at, mask);
  };
  put(lane.front_want, 0, std::as_bytes(std::span(port.mac)));
  std::fill_n(lane.front_mask.begin(), port.mac.size(), std::byte{0xFF});
  lane.front_mask[6] = std::byte{1};  // no packet comes from a group
  std::size_t type_at = 12;
  if (port.vlan != 0) {
    demand(12, wire::kTypeTag);
    demand(14, port.vlan, 0x0FFF);
    type_at = 16;
  }
  demand(type_at, wire::kTypeIpv4);
  return type_at + 2;
}

}  // namespace

FastLane make_fast_lane(const EthernetPort& port) {
  FastLane lane;
  const auto own = std::ranges::find(port.own(), 4, &IpAddress::family);
  if (own == port.own().end()) {
    return lane;
  }
  const std::size_t ip = demand_front(lane, port);
  lane.ip_want[0] = std::byte{0x45};
  lane.ip_want[9] = std::byte{wire::kUdp};
  put_number(lane.ip_want, fast_lane::kPortMark, static_cast<std::uint16_t>(port.number + 1));
  put(lane.ip_want, 16, std::as_bytes(std::span(own->bytes).first(4)));
  put_number(lane.ip_want, 22, port.udp_port);
  lane.ip_less[1] = static_cast<std::uint16_t>(ip);                         // the IP header's total length
  lane.ip_less[12] = static_cast<std::uint16_t>(ip + fast_lane::kIpBytes);  // UDP's
  lane.shim_less[5] = static_cast<std::uint16_t>(ip + fast_lane::kAfterIp);
  lane.header_bytes = static_cast<std::uint32_t>(ip + fast_lane::kAfterIp);
  lane.least_bytes = lane.header_bytes + static_cast<std::uint32_t>(kFrameHeaderBytes);
  return lane;
}

FastPeer make_fast_peer(const LinkRecord& link) {
  const std::uint8_t first = link.peer.address[0];
  const bool reads = link.state == LinkState::kUp || link.state == LinkState::kClosing;
  if (!reads || link.transport != LinkTransport::kEthernet || link.peer.family != 4 || first == 0 || first == 127 || first >= 224) {
    return {};
  }
  FastPeer peer;
  put_number(peer.ip_want, fast_lane::kPortMark, static_cast<std::uint16_t>(link.port + 1));
  put(peer.ip_want, 12, std::as_bytes(std::span(link.peer.address).first(4)));
  if (link.check_source_port) {
    put_number(peer.ip_want, fast_lane::kSourcePort, link.peer.port);
    put_number(peer.ip_want, fast_lane::kSourcePortMask, 0xFFFF);
  }
  store_le(peer.ip_want.data() + fast_lane::kLinkId, link.id());
  return peer;
}

FastHeader make_fast_header(const EthernetPort& port, const LinkRecord& link, std::uint8_t slot) {
  FastHeader header;
  const OuterTemplate& outer = link.outer;
  const std::size_t length = outer.length + kShimBytes;
  const bool plain = outer.length != 0 && outer.ipv6 == 0 && length <= kFastHeaderBytes && outer.udp_offset == outer.ip_offset + fast_lane::kIpBytes;
  if (link.state != LinkState::kUp || link.transport != LinkTransport::kEthernet || !plain || link.datagram_bytes <= kShimBytes) {
    return header;
  }
  std::byte* at = header.bytes.data() + kFastHeaderBytes - length;
  std::memcpy(at, outer.bytes.data(), outer.length);
  store_shim(at + outer.length, {.link_id = link.peer_link_id, .flags = shim_flag::kLast});
  const std::byte* ip = at + outer.ip_offset;
  // The template's length and checksum fields are zero: they add nothing.
  header.ip_rest = static_cast<std::uint16_t>(~fold(add_words({ip, fast_lane::kIpBytes}, 0)));
  header.udp_sum = fold(pseudo_sum(ip, false, wire::kUdp, 0));
  header.length = static_cast<std::uint16_t>(length);
  header.fit = std::uint32_t{slot} << 24 | std::min<std::uint32_t>(link.datagram_bytes - kShimBytes, link.max_frame_bytes);
  header.by_device = static_cast<std::uint8_t>((port.tx_ipv4_checksum ? by_device::kIp : 0) | (port.tx_udp_checksum ? by_device::kUdp : 0));
  header.ol_flags = (port.tx_ipv4_checksum ? RTE_MBUF_F_TX_IPV4 | RTE_MBUF_F_TX_IP_CKSUM : 0) |
                    (port.tx_udp_checksum ? RTE_MBUF_F_TX_IPV4 | RTE_MBUF_F_TX_UDP_CKSUM : 0);
  return header;
}

}  // namespace slipway
