#include <cstring>

#include "port/ethernet_datapath.h"
#include "port/ethernet_layout.h"
#include "port/mbuf.h"
#include "port/outer_datapath.h"

namespace slipway {
namespace {

// What all packets of one frame have in common.
struct Cut {
  const EthernetPort& port;
  const LinkRecord& link;
  std::uint32_t flow;
  std::uint32_t total_bytes;
  std::uint16_t frame_number;
};

Shim next_shim(DatagramSender& sender, const Cut& cut, std::uint32_t offset, std::uint32_t bytes) {
  return {.link_id = cut.link.peer_link_id,
          .sending_worker = sender.worker,
          .counter = ++sender.counter,
          .fragment_offset = offset,
          .total_bytes = cut.total_bytes,
          .flags = offset + bytes == cut.total_bytes ? shim_flag::kLast : std::uint8_t{0},
          .frame_number = cut.frame_number};
}

void finish_ipv4(const EthernetPort& port, rte_mbuf* mbuf, std::byte* ip, std::byte* udp) {
  if (port.tx_ipv4_checksum) {
    mbuf->ol_flags |= RTE_MBUF_F_TX_IPV4 | RTE_MBUF_F_TX_IP_CKSUM;
  } else {
    write_ipv4_checksum(ip);
  }
  if (port.tx_udp_checksum) {
    mbuf->ol_flags |= RTE_MBUF_F_TX_IPV4 | RTE_MBUF_F_TX_UDP_CKSUM;
    const std::uint16_t sum = fold(pseudo_sum(ip, false, wire::kUdp, load_be16(udp + 4)));
    std::memcpy(udp + 6, &sum, sizeof sum);
  }
  // Without a device that does it UDP over IPv4 goes without a checksum (RFC 768), as tunnels do.
}

// IPv6 has no header checksum and UDP must have one: in software it costs a pass over the packet.
void finish_ipv6(const EthernetPort& port, rte_mbuf* mbuf, std::byte* ip, std::byte* udp) {
  const std::uint32_t udp_bytes = load_be16(udp + 4);
  const std::uint64_t pseudo = pseudo_sum(ip, true, wire::kUdp, udp_bytes);
  if (port.tx_udp_checksum) {
    mbuf->ol_flags |= RTE_MBUF_F_TX_IPV6 | RTE_MBUF_F_TX_UDP_CKSUM;
    const std::uint16_t sum = fold(pseudo);
    std::memcpy(udp + 6, &sum, sizeof sum);
    return;
  }
  write_udp_checksum(udp, pseudo + sum_chain(mbuf, static_cast<std::uint32_t>(udp - data_of(mbuf)), udp_bytes));
}

// Puts outer headers and shim before what the mbuf holds: a piece of the frame, or all of it.
void prepend(const Cut& cut, rte_mbuf* mbuf, const Shim& shim) {
  const OuterTemplate& outer = cut.link.outer;
  const std::uint32_t payload_bytes = mbuf->pkt_len + static_cast<std::uint32_t>(kShimBytes);
  const auto room = static_cast<std::uint16_t>(outer.length + kShimBytes);
  mbuf->data_off = static_cast<std::uint16_t>(mbuf->data_off - room);
  mbuf->data_len = static_cast<std::uint16_t>(mbuf->data_len + room);
  mbuf->pkt_len += room;
  std::byte* at = data_of(mbuf);
  store_shim(at + outer.length, shim);
  write_outer(at, outer, entropy_port(cut.flow), cut.flow, payload_bytes);
  mbuf->port = cut.port.device;
  mbuf->ol_flags = 0;
  mbuf->l2_len = outer.ip_offset;
  mbuf->l3_len = static_cast<std::uint64_t>(outer.udp_offset - outer.ip_offset);
  if (outer.ipv6 != 0) {
    finish_ipv6(cut.port, mbuf, at + outer.ip_offset, at + outer.udp_offset);
  } else {
    finish_ipv4(cut.port, mbuf, at + outer.ip_offset, at + outer.udp_offset);
  }
}

// Every byte of the chain is this holder's alone, lies in DPDK's memory, and there is room before it.
bool can_write(const EthernetPort& port, rte_mbuf* frame, std::uint32_t headroom_bytes) {
  if (rte_pktmbuf_headroom(frame) < headroom_bytes || (frame->nb_segs > 1 && !port.tx_chains)) {
    return false;
  }
  for (const rte_mbuf* segment = frame; segment != nullptr; segment = segment->next) {
    if (!is_sole_holder(segment) || !RTE_MBUF_DIRECT(segment)) {
      return false;
    }
  }
  return true;
}

// The shared bytes can follow a header of our own: all of them in DPDK's memory, where devices can read.
bool can_share(const EthernetPort& port, const rte_mbuf* frame) {
  if (!port.tx_chains || frame->pkt_len <= kCopyBytes + kFrameHeaderBytes) {
    return false;
  }
  for (const rte_mbuf* segment = frame; segment != nullptr; segment = segment->next) {
    if (!RTE_MBUF_DIRECT(segment)) {
      return false;
    }
  }
  return true;
}

// One segment, or a chain where the MTU is larger than a buffer (start() allows that only with tx_chains).
rte_mbuf* copy_piece(rte_mempool* pool, const rte_mbuf* frame, std::uint32_t offset, std::uint32_t bytes) {
  rte_mbuf* first = nullptr;
  rte_mbuf* last = nullptr;
  for (std::uint32_t done = 0; done < bytes;) {
    rte_mbuf* mbuf = rte_pktmbuf_alloc(pool);
    if (mbuf == nullptr) {
      rte_pktmbuf_free(first);
      return nullptr;
    }
    const std::uint32_t part = bytes - done < kMbufDataBytes ? bytes - done : static_cast<std::uint32_t>(kMbufDataBytes);
    copy_chain(frame, offset + done, part, data_of(mbuf));
    mbuf->data_len = static_cast<std::uint16_t>(part);
    done += part;
    if (first == nullptr) {
      first = mbuf;
      first->pkt_len = bytes;
    } else {
      last->next = mbuf;
      ++first->nb_segs;
    }
    last = mbuf;
  }
  return first;
}

// A header mbuf that takes over this holder's reference of the frame.
rte_mbuf* put_header_before(rte_mempool* pool, rte_mbuf* frame) {
  rte_mbuf* header = rte_pktmbuf_alloc(pool);
  if (header != nullptr) {
    header->data_off = static_cast<std::uint16_t>(kMbufHeadroomBytes);
    header->next = frame;
    header->nb_segs = static_cast<std::uint16_t>(frame->nb_segs + 1);
    header->pkt_len = frame->pkt_len;
  }
  return header;
}

// One packet. Null when the pool is empty; the frame is then freed.
rte_mbuf* one_packet(const EthernetPort& port, const LinkRecord& link, rte_mbuf* frame, rte_mempool* pool) {
  if (can_write(port, frame, link.outer.length + static_cast<std::uint32_t>(kShimBytes))) {
    return frame;
  }
  if (can_share(port, frame)) {
    rte_mbuf* header = put_header_before(pool, frame);
    if (header == nullptr) {
      rte_pktmbuf_free(frame);
    }
    return header;
  }
  rte_mbuf* copy = copy_piece(pool, frame, 0, frame->pkt_len);
  rte_pktmbuf_free(frame);
  return copy;
}

std::uint32_t cut_frame(const Cut& cut, DatagramSender& sender, rte_mbuf* frame, rte_mempool* pool, rte_mbuf** out) {
  const std::uint32_t most = cut.link.datagram_bytes - static_cast<std::uint32_t>(kShimBytes);
  std::uint32_t count = 0;
  for (std::uint32_t offset = 0; offset < cut.total_bytes; offset += most, ++count) {
    const std::uint32_t bytes = most < cut.total_bytes - offset ? most : cut.total_bytes - offset;
    rte_mbuf* mbuf = copy_piece(pool, frame, offset, bytes);
    if (mbuf == nullptr) {
      rte_pktmbuf_free_bulk(out, count);
      rte_pktmbuf_free(frame);
      return 0;
    }
    prepend(cut, mbuf, next_shim(sender, cut, offset, bytes));
    out[count] = mbuf;
  }
  rte_pktmbuf_free(frame);
  return count;
}

}  // namespace

std::uint32_t ethernet_send(const EthernetPort& port, const LinkRecord& link, DatagramSender& sender, rte_mbuf* frame, rte_mempool* pool,
                            rte_mbuf** out) {
  const Cut cut{.port = port,
                .link = link,
                .flow = flow_hash(data_of(frame)),
                .total_bytes = frame->pkt_len,
                .frame_number = static_cast<std::uint16_t>(sender.counter + 1)};
  if (cut.total_bytes + kShimBytes > link.datagram_bytes) {
    return cut_frame(cut, sender, frame, pool, out);
  }
  rte_mbuf* mbuf = one_packet(port, link, frame, pool);
  if (mbuf == nullptr) {
    return 0;
  }
  prepend(cut, mbuf, next_shim(sender, cut, 0, cut.total_bytes));
  out[0] = mbuf;
  return 1;
}

}  // namespace slipway
