// The patterns of the short way, made when a port opens or a link changes.
#include <algorithm>

#include "port/ethernet_layout.h"
#include "port/fast_lane_datapath.h"

namespace slipway {
namespace {

void demand(FastLane& lane, std::size_t at, std::span<const std::byte> bytes, std::byte mask = std::byte{0xFF}) {
  std::ranges::copy(bytes, lane.want.begin() + static_cast<std::ptrdiff_t>(at));
  std::fill_n(lane.mask.begin() + static_cast<std::ptrdiff_t>(at), bytes.size(), mask);
}
void demand_be16(FastLane& lane, std::size_t at, std::uint16_t value, std::uint16_t mask = 0xFFFF) {
  store_be16(lane.want.data() + at, value & mask);
  store_be16(lane.mask.data() + at, mask);
}

}  // namespace

FastLane make_fast_lane(const EthernetPort& port) {
  FastLane lane;
  const auto own = std::ranges::find(port.own(), 4, &IpAddress::family);
  if (own == port.own().end()) {
    return lane;
  }
  demand(lane, 0, std::as_bytes(std::span(port.mac)));
  demand(lane, 6, std::array{std::byte{0}}, std::byte{1});  // no packet comes from a group
  std::size_t type_at = 12;
  if (port.vlan != 0) {
    demand_be16(lane, 12, wire::kTypeTag);
    demand_be16(lane, 14, port.vlan, 0x0FFF);
    type_at = 16;
  }
  demand_be16(lane, type_at, wire::kTypeIpv4);
  const std::size_t ip = type_at + 2;
  demand(lane, ip, std::array{std::byte{0x45}});
  demand_be16(lane, ip + 6, 0, 0x3FFF);  // neither a fragment's offset nor more of them
  demand(lane, ip + 9, std::array{std::byte{wire::kUdp}});
  demand(lane, ip + 16, std::as_bytes(std::span(own->bytes).first(4)));
  demand_be16(lane, ip + 22, port.udp_port);
  lane.port = port.number;
  lane.ip_offset = static_cast<std::uint32_t>(ip);
  lane.least_bytes = static_cast<std::uint32_t>(ip + fast_lane::kAfterIp + kFrameHeaderBytes);
  return lane;
}

FastPeer make_fast_peer(const LinkRecord& link) {
  if ((link.state != LinkState::kUp && link.state != LinkState::kClosing) || link.transport != LinkTransport::kEthernet || link.peer.family != 4) {
    return {};
  }
  FastPeer peer{.link_id = link.id(), .port = link.port};
  std::memcpy(&peer.address, link.peer.address.data(), sizeof peer.address);
  peer.source_port_mask = link.check_source_port ? std::uint16_t{0xFFFF} : std::uint16_t{0};
  peer.source_port = to_network(link.peer.port) & peer.source_port_mask;
  const std::uint8_t first = link.peer.address[0];
  return first == 0 || first == 127 || first >= 224 ? FastPeer{} : peer;
}

FastHeader make_fast_header(const EthernetPort& port, const LinkRecord& link) {
  FastHeader header;
  const OuterTemplate& outer = link.outer;
  const std::size_t length = outer.length + kShimBytes;
  if (link.state != LinkState::kUp || link.transport != LinkTransport::kEthernet || outer.length == 0 || outer.ipv6 != 0 || length > kFastHeaderBytes || link.datagram_bytes <= kShimBytes ||
      outer.udp_offset != outer.ip_offset + fast_lane::kIpBytes) {
    return header;
  }
  std::byte* at = header.bytes.data() + kFastHeaderBytes - length;
  std::memcpy(at, outer.bytes.data(), outer.length);
  store_shim(at + outer.length, {.link_id = link.peer_link_id, .flags = shim_flag::kLast});
  const std::byte* ip = at + outer.ip_offset;
  // The template's length and checksum fields are zero: they add nothing.
  header.ip_sum = fold(add_words({ip, fast_lane::kIpBytes}, 0));
  header.udp_sum = fold(pseudo_sum(ip, false, wire::kUdp, 0));
  header.length = static_cast<std::uint16_t>(length);
  header.largest_frame = static_cast<std::uint16_t>(std::min<std::uint32_t>(link.datagram_bytes - kShimBytes, link.max_frame_bytes));
  header.ip_by_device = port.tx_ipv4_checksum;
  header.udp_by_device = port.tx_udp_checksum;
  header.by_device = header.ip_by_device || header.udp_by_device;
  const std::uint64_t flags = (port.tx_ipv4_checksum ? RTE_MBUF_F_TX_IPV4 | RTE_MBUF_F_TX_IP_CKSUM : 0) |
                              (port.tx_udp_checksum ? RTE_MBUF_F_TX_IPV4 | RTE_MBUF_F_TX_UDP_CKSUM : 0);
  static_assert((RTE_MBUF_F_TX_IPV4 | RTE_MBUF_F_TX_IP_CKSUM | RTE_MBUF_F_TX_UDP_CKSUM) << 16 >> 16 == 0);
  header.ol_flags_top = static_cast<std::uint16_t>(flags >> 48);
  rte_mbuf lengths{};
  lengths.l2_len = outer.ip_offset;
  lengths.l3_len = fast_lane::kIpBytes;
  header.tx_offload = lengths.tx_offload;
  header.rearm = (std::uint64_t{1} << 16 | std::uint64_t{1} << 32 | std::uint64_t{port.device} << 48) - header.length;
  return header;
}

}  // namespace slipway
