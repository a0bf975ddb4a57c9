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
  lane.ip_offset = static_cast<std::uint16_t>(ip);
  return lane;
}

FastPeer make_fast_peer(const LinkRecord& link) {
  if (link.state == LinkState::kFree || link.transport != LinkTransport::kEthernet || link.peer.family != 4) {
    return {};
  }
  FastPeer peer{.link_id = link.id(), .port = link.port};
  std::memcpy(&peer.address, link.peer.address.data(), sizeof peer.address);
  peer.source_port = link.check_source_port ? to_network(link.peer.port) : std::uint16_t{0};
  const std::uint8_t first = link.peer.address[0];
  const bool nobody = first == 0 || first == 127 || first >= 224;
  // A peer at port 0 cannot be told from "any port".
  return nobody || (link.check_source_port && link.peer.port == 0) ? FastPeer{} : peer;
}

FastHeader make_fast_header(const LinkRecord& link) {
  FastHeader header;
  const OuterTemplate& outer = link.outer;
  const std::size_t length = outer.length + kShimBytes;
  if (outer.length == 0 || outer.ipv6 != 0 || length > kFastHeaderBytes || link.datagram_bytes <= kShimBytes ||
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
  header.largest_frame = static_cast<std::uint16_t>(link.datagram_bytes - kShimBytes);
  header.peer_link_id = link.peer_link_id;
  return header;
}

}  // namespace slipway
