#include <rte_ether.h>

#include <cstring>

#include "port/checksum.h"
#include "port/ethernet_datapath.h"
#include "port/ethernet_layout.h"
#include "port/mbuf.h"

namespace slipway {
namespace {

void drop_packet(rte_mbuf* mbuf, DropReason reason, WorkerCounters& counters) {
  counters.packets_dropped.add(1);
  counters.drops[static_cast<std::size_t>(reason)].add(1);
  rte_pktmbuf_free(mbuf);
}

void drop_packet(rte_mbuf* mbuf, DropReason reason, WorkerCounters& counters, LinkCounters& link_counters) {
  link_counters.drops[static_cast<std::size_t>(reason)].add(1);
  drop_packet(mbuf, reason, counters);
}

PacketHints hints_of(const rte_mbuf* mbuf) {
  const std::uint64_t flags = mbuf->ol_flags;
  const std::uint64_t ip = flags & RTE_MBUF_F_RX_IP_CKSUM_MASK;
  const std::uint64_t l4 = flags & RTE_MBUF_F_RX_L4_CKSUM_MASK;
  return {
      .ip_good = ip == RTE_MBUF_F_RX_IP_CKSUM_GOOD,
      // NONE: the packet never was on a wire and its checksum needs no check (a guest on the same host).
      .l4_good = l4 == RTE_MBUF_F_RX_L4_CKSUM_GOOD || l4 == RTE_MBUF_F_RX_L4_CKSUM_NONE,
      .bad = ip == RTE_MBUF_F_RX_IP_CKSUM_BAD || l4 == RTE_MBUF_F_RX_L4_CKSUM_BAD,
      .stripped = (flags & RTE_MBUF_F_RX_VLAN_STRIPPED) != 0,
      .vlan = mbuf->vlan_tci,
  };
}

// The UDP checksum of a packet of several segments, which parse_packet could not see.
bool chain_sum_good(rte_mbuf* mbuf, const Packet& packet) {
  const std::byte* bytes = data_of(mbuf);
  const std::uint32_t udp_bytes = packet.payload_bytes + 8u;
  std::uint16_t sent;
  std::memcpy(&sent, bytes + packet.l4_offset + 6, sizeof sent);
  if (sent == 0) {
    return true;  // parse_packet lets only IPv4 have none
  }
  const std::uint64_t sum = sum_chain(mbuf, packet.l4_offset, udp_bytes);
  return fold(pseudo_sum(bytes + packet.ip_offset, packet.ipv6, wire::kUdp, udp_bytes) + sum) == 0xFFFF;
}

Packet parse(const EthernetPort& port, rte_mbuf* mbuf) {
  PacketHints hints = hints_of(mbuf);
  if (mbuf->nb_segs == 1 || hints.l4_good || hints.bad) {
    return parse_packet(port, head_of(mbuf), mbuf->pkt_len, hints);
  }
  hints.l4_good = true;
  Packet packet = parse_packet(port, head_of(mbuf), mbuf->pkt_len, hints);
  if (packet.kind == PacketKind::kDatagram && !chain_sum_good(mbuf, packet)) {
    packet.kind = PacketKind::kDrop;
    packet.reason = DropReason::kPacketChecksum;
  }
  return packet;
}

// The tag that the device took out is put back, since answers leave and copies are kept as packets came.
bool restore_tag(rte_mbuf** mbuf) {
  if (((*mbuf)->ol_flags & RTE_MBUF_F_RX_VLAN_STRIPPED) == 0) {
    return true;
  }
  (*mbuf)->ol_flags &= ~(RTE_MBUF_F_RX_VLAN_STRIPPED | RTE_MBUF_F_RX_VLAN);
  return rte_vlan_insert(mbuf) == 0;
}

void answer(const EthernetPort& port, rte_mbuf* mbuf, WorkerCounters& counters, EthernetReceived& out) {
  if (mbuf->nb_segs != 1 || !restore_tag(&mbuf)) {
    return drop_packet(mbuf, DropReason::kPacketProtocol, counters);
  }
  const Packet packet = parse_packet(port, head_of(mbuf), mbuf->data_len, {.ip_good = true});
  const std::size_t room = std::size_t{mbuf->data_len} + rte_pktmbuf_tailroom(mbuf);
  const std::size_t bytes = answer_in_place(port, packet, {data_of(mbuf), room}, mbuf->data_len);
  if (bytes == 0) {
    return drop_packet(mbuf, DropReason::kPacketProtocol, counters);
  }
  mbuf->data_len = static_cast<std::uint16_t>(bytes);
  mbuf->pkt_len = static_cast<std::uint32_t>(bytes);
  mbuf->ol_flags = 0;
  counters.packets_answered.add(1);
  out.replies[out.reply_count++] = mbuf;
}

DropReason reason_of(ShimFault fault) { return fault == ShimFault::kTag ? DropReason::kShimTag : DropReason::kShimMalformed; }

// Cuts the mbuf down to the piece of a frame: outer headers and shim go into the headroom, padding away.
void strip_to_piece(rte_mbuf* mbuf, const Packet& packet) {
  const std::uint32_t padding = mbuf->pkt_len - packet.payload_offset - packet.payload_bytes;
  if (padding != 0) {
    rte_pktmbuf_trim(mbuf, static_cast<std::uint16_t>(padding));
  }
  rte_pktmbuf_adj(mbuf, static_cast<std::uint16_t>(packet.payload_offset + kShimBytes));
  mbuf->ol_flags &= RTE_MBUF_F_EXTERNAL | RTE_MBUF_F_INDIRECT;
}

void greet(const EthernetPort& port, rte_mbuf* mbuf, const Packet& packet, const Shim& shim, WorkerCounters& counters,
           EthernetReceived& out) {
  const std::byte* bytes = data_of(mbuf);
  const std::uint32_t frame_bytes = packet.payload_bytes - static_cast<std::uint32_t>(kShimBytes);
  if (!shim.whole(frame_bytes) || mbuf->nb_segs != 1) {
    return drop_packet(mbuf, DropReason::kShimMalformed, counters);
  }
  if (frame_kind(bytes + packet.payload_offset + kShimBytes) != static_cast<std::uint8_t>(FrameKind::kLink)) {
    return drop_packet(mbuf, DropReason::kUnknownLink, counters);
  }
  if (frame_bytes > kMaxControlFrameBytes) {
    return drop_packet(mbuf, DropReason::kControlTooBig, counters);
  }
  Hello& hello = out.hello_from[out.hello_count];
  hello = {.port = port.number,
           .transport = static_cast<std::uint8_t>(LinkTransport::kEthernet),
           .worker = 0,
           .from = packet_source(packet, bytes),
           .to = packet_destination(packet, bytes),
           .from_mac = {}};
  std::memcpy(hello.from_mac.data(), bytes + 6, hello.from_mac.size());
  strip_to_piece(mbuf, packet);
  out.hellos[out.hello_count++] = mbuf;
}

bool from_peer(const EthernetPort& port, const LinkRecord& link, const Packet& packet, const std::byte* bytes) {
  if (link.transport != LinkTransport::kEthernet || link.port != port.number || link.peer.family != (packet.ipv6 ? 6 : 4)) {
    return false;
  }
  const std::byte* source = bytes + packet.ip_offset + (packet.ipv6 ? 8 : 12);
  return std::memcmp(source, link.peer.address.data(), packet.ipv6 ? 16 : 4) == 0 &&
         (!link.check_source_port || load_be16(bytes + packet.l4_offset) == link.peer.port);
}

void take_datagram(const EthernetPort& port, const EthernetReceiver& to, rte_mbuf* mbuf, const Packet& packet, std::uint64_t now_ms,
                   EthernetReceived& out) {
  WorkerCounters& counters = *to.counters;
  const std::byte* bytes = data_of(mbuf);
  // Headers, shim and the frame header of a first piece must lie in one segment; devices fill segments up.
  const std::size_t in_head = mbuf->data_len - std::size_t{packet.payload_offset};
  if (packet.payload_bytes <= kShimBytes || (packet.payload_bytes > in_head && in_head < kShimBytes + kFrameHeaderBytes)) {
    return drop_packet(mbuf, DropReason::kShimMalformed, counters);
  }
  const ShimFault fault = check_shim({bytes + packet.payload_offset, packet.payload_bytes});
  if (fault != ShimFault::kNone) {
    return drop_packet(mbuf, reason_of(fault), counters);
  }
  const Shim shim = load_shim(bytes + packet.payload_offset);
  if (shim.link_id == 0) {
    return greet(port, mbuf, packet, shim, counters, out);
  }
  const LinkIndex index = link_index_of(shim.link_id);
  const LinkRecord& link = to.links[index];
  if (link.state == LinkState::kFree || link.id() != shim.link_id) {
    return drop_packet(mbuf, DropReason::kUnknownLink, counters);
  }
  LinkCounters& link_counters = to.link_counters[index];
  if (!from_peer(port, link, packet, bytes)) {
    return drop_packet(mbuf, DropReason::kWrongSource, counters, link_counters);
  }
  strip_to_piece(mbuf, packet);
  if (shim.whole(mbuf->pkt_len)) {
    make_frame(mbuf, index, false);
    out.frames[out.frame_count++] = mbuf;
  } else if (rte_mbuf* frame = to.joiner->add(index, shim, mbuf, now_ms, counters, link_counters)) {
    out.frames[out.frame_count++] = frame;
  }
}

}  // namespace

// cost: see bench; three loops over a burst: prefetch, then parse and sort.
void ethernet_receive(const EthernetPort& port, const EthernetReceiver& receiver, std::span<rte_mbuf* const> packets, std::uint64_t now_ms,
                      EthernetReceived& out) {
  WorkerCounters& counters = *receiver.counters;
  out.frame_count = out.reply_count = out.learn_count = out.hello_count = 0;
  counters.packets_in.add(packets.size());
  for (rte_mbuf* mbuf : packets) {
    rte_prefetch0(rte_pktmbuf_mtod(mbuf, void*));
  }
  for (rte_mbuf* mbuf : packets) {
    const Packet packet = parse(port, mbuf);
    switch (packet.kind) {
      case PacketKind::kDatagram:
        take_datagram(port, receiver, mbuf, packet, now_ms, out);
        break;
      case PacketKind::kArp:
      case PacketKind::kSolicit:
      case PacketKind::kEcho4:
      case PacketKind::kEcho6:
        answer(port, mbuf, counters, out);
        break;
      case PacketKind::kLearn:
        if (mbuf->nb_segs != 1 || !restore_tag(&mbuf)) {
          drop_packet(mbuf, DropReason::kPacketProtocol, counters);
        } else {
          out.learns[out.learn_count++] = mbuf;
        }
        break;
      case PacketKind::kDrop:
        drop_packet(mbuf, packet.reason, counters);
        break;
    }
  }
}

}  // namespace slipway
