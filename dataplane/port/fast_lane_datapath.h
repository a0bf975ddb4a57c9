#pragma once
// The short way through a DPDK port for what nearly every packet is: one whole frame in one buffer, over IPv4, from
// a link's peer to us. Both directions work on a pattern that was made beforehand, by a few wide loads and stores;
// whatever does not fit it in every bit is left, untouched, to ethernet_receive and ethernet_send, which decide.
// tests/dataplane/port checks that both ways agree on every packet. Owning worker only.

#include <immintrin.h>
#include <rte_mbuf.h>

#include <array>
#include <cstring>

#include "frame/frame.h"
#include "frame/shim.h"
#include "port/checksum.h"
#include "port/ethernet_datapath.h"
#include "port/mbuf.h"
#include "port/outer_datapath.h"

namespace slipway {

// The first 64 bytes of a plain packet on one port, and which of their bits must be so.
struct alignas(64) FastLane {
  std::array<std::byte, 64> want{};
  std::array<std::byte, 64> mask{};
  std::uint16_t ip_offset = 0;  // 0: this port has no IPv4 address, everything goes the general way
};

// What a plain packet of a link looks like: 16 bytes, four links to a cache line.
struct FastPeer {
  std::uint32_t link_id = 0;    // 0: no packet of this link is plain
  std::uint32_t address = 0;    // IPv4, as it lies
  std::uint16_t source_port = 0;  // as it lies; 0: any
  std::uint16_t port = 0;       // dataplane port
  std::uint32_t spare = 0;
};
static_assert(sizeof(FastPeer) == 16);

// Outer headers and shim of a link, ready to be stored; they end where the frame begins.
inline constexpr std::size_t kFastHeaderBytes = 96;
struct alignas(64) FastHeader {
  std::array<std::byte, kFastHeaderBytes> bytes{};
  std::uint32_t ip_sum = 0;         // of the IPv4 header without its length
  std::uint32_t udp_sum = 0;        // of the pseudo header without its length
  std::uint16_t length = 0;         // of the headers and the shim; 0: every frame goes the general way
  std::uint16_t largest_frame = 0;  // that fits one packet
  std::uint32_t peer_link_id = 0;
};
static_assert(sizeof(FastHeader) == 128);

[[nodiscard]] FastLane make_fast_lane(const EthernetPort& port);
[[nodiscard]] FastPeer make_fast_peer(const LinkRecord& link);
[[nodiscard]] FastHeader make_fast_header(const LinkRecord& link);

namespace fast_lane {
inline constexpr std::size_t kUdpBytes = 8;
inline constexpr std::size_t kIpBytes = 20;
inline constexpr std::size_t kAfterIp = kIpBytes + kUdpBytes + kShimBytes;  // from the IP header to the frame
}  // namespace fast_lane

// A received packet. Its link, and then the mbuf begins at the frame, ready for forwarding (FrameMeta, length before
// it); or kNoLink, and nothing has changed.
// cost: expected 8 ns a packet in the cache: six loads of headers, one of the peer, three stores.
[[nodiscard]] inline LinkIndex fast_receive(const FastLane& lane, std::uint16_t port, const FastPeer* peers, rte_mbuf* m) {
  using namespace fast_lane;
  constexpr std::uint64_t kOdd = RTE_MBUF_F_RX_VLAN_STRIPPED | RTE_MBUF_F_RX_IP_CKSUM_BAD | RTE_MBUF_F_RX_L4_CKSUM_BAD;
  const std::uint64_t flags = m->ol_flags;
  const std::uint32_t length = m->data_len;
  const std::uint32_t headers = lane.ip_offset + static_cast<std::uint32_t>(kAfterIp);
  if (lane.ip_offset == 0 || m->nb_segs != 1 || length < headers + kFrameHeaderBytes || (flags & kOdd) != 0) {
    return kNoLink;
  }
  std::byte* at = data_of(m);
  const auto differs = [at, &lane](std::size_t i) {
    const __m256i bytes = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(at + i));
    const __m256i want = _mm256_load_si256(reinterpret_cast<const __m256i*>(lane.want.data() + i));
    const __m256i mask = _mm256_load_si256(reinterpret_cast<const __m256i*>(lane.mask.data() + i));
    return _mm256_and_si256(_mm256_xor_si256(bytes, want), mask);
  };
  const __m256i difference = _mm256_or_si256(differs(0), differs(32));
  const std::byte* ip = at + lane.ip_offset;
  const std::byte* shim = ip + kIpBytes + kUdpBytes;
  const std::uint32_t frame_bytes = length - headers;
  const auto ip_bytes = static_cast<std::uint16_t>(length - lane.ip_offset);
  // Lengths: IP's and UDP's end where the packet does, and the shim says: one piece, whole, the last.
  const std::uint64_t pieces = std::uint64_t{frame_bytes} << 32 | std::uint64_t{shim_flag::kLast} << 56;
  const std::uint64_t tag = load_le<std::uint64_t>(shim + 22) | load_le<std::uint64_t>(shim + 30);
  const bool odd = !_mm256_testz_si256(difference, difference) || load_be16(ip + 2) != ip_bytes ||
                   load_be16(ip + 24) != ip_bytes - kIpBytes || load_le<std::uint64_t>(shim + 12) != pieces || tag != 0;
  const auto link_id = load_le<std::uint32_t>(shim);
  const LinkIndex link = link_index_of(link_id);
  const FastPeer& peer = peers[link];
  const auto source_port = load_le<std::uint16_t>(ip + kIpBytes);
  const bool stranger = peer.link_id != link_id || peer.address != load_le<std::uint32_t>(ip + 12) || peer.port != port ||
                        (peer.source_port != 0 && peer.source_port != source_port) || link_id == 0;
  if (odd || stranger) {
    return kNoLink;
  }
  if ((flags & RTE_MBUF_F_RX_L4_CKSUM_GOOD) == 0 && load_le<std::uint16_t>(ip + 26) != 0) {
    return kNoLink;  // a UDP checksum that nobody has looked at
  }
  if ((flags & RTE_MBUF_F_RX_IP_CKSUM_GOOD) == 0 && fold(add_words({ip, kIpBytes}, 0)) != 0xFFFF) {
    return kNoLink;
  }
  m->data_off = static_cast<std::uint16_t>(m->data_off + headers);
  m->data_len = static_cast<std::uint16_t>(frame_bytes);
  m->pkt_len = frame_bytes;
  m->ol_flags = flags & (RTE_MBUF_F_EXTERNAL | RTE_MBUF_F_INDIRECT);
  make_frame(m, link, false);
  return link;
}

// A frame to a link: true, and then the mbuf is the packet; or false, and nothing has changed. The caller knows that
// the link is kUp and the header was made of its record.
// cost: expected 8 ns a frame in the cache: three wide stores, eight small ones, the flow's hash.
[[nodiscard]] inline bool fast_send(const EthernetPort& port, const FastHeader& header, DatagramSender& sender, rte_mbuf* m) {
  using namespace fast_lane;
  const std::uint32_t frame_bytes = m->data_len;
  if (frame_bytes > header.largest_frame || m->nb_segs != 1 || rte_mbuf_refcnt_read(m) != 1 || !RTE_MBUF_DIRECT(m) ||
      m->data_off < kFastHeaderBytes) {
    return false;
  }
  std::byte* frame = data_of(m);
  const std::uint32_t flow = flow_hash(frame);
  const auto* from = reinterpret_cast<const __m256i*>(header.bytes.data());
  auto* to = reinterpret_cast<__m256i*>(frame - kFastHeaderBytes);
  static_assert(kFastHeaderBytes == 3 * sizeof(__m256i));
  _mm256_storeu_si256(to, _mm256_load_si256(from));
  _mm256_storeu_si256(to + 1, _mm256_load_si256(from + 1));
  _mm256_storeu_si256(to + 2, _mm256_load_si256(from + 2));
  std::byte* shim = frame - kShimBytes;
  std::byte* udp = shim - kUdpBytes;
  std::byte* ip = udp - kIpBytes;
  const std::uint16_t ip_bytes = to_network(static_cast<std::uint16_t>(frame_bytes + kAfterIp));
  const std::uint16_t udp_bytes = to_network(static_cast<std::uint16_t>(frame_bytes + kAfterIp - kIpBytes));
  store_le(ip + 2, ip_bytes);
  store_be16(udp, entropy_port(flow));
  store_le(udp + 4, udp_bytes);
  store_le(shim + 4, std::uint64_t{sender.worker} << 56 | (++sender.counter & ((std::uint64_t{1} << 56) - 1)));
  store_le(shim + 16, frame_bytes | std::uint32_t{shim_flag::kLast} << 24);
  store_le(shim + 20, ++sender.frame_number);
  m->data_off = static_cast<std::uint16_t>(m->data_off - header.length);
  m->data_len = static_cast<std::uint16_t>(frame_bytes + header.length);
  m->pkt_len = frame_bytes + header.length;
  m->port = port.device;
  m->ol_flags = 0;
  if (port.tx_ipv4_checksum || port.tx_udp_checksum) {
    m->l2_len = header.length - kAfterIp;
    m->l3_len = kIpBytes;
    m->ol_flags = RTE_MBUF_F_TX_IPV4 | (port.tx_ipv4_checksum ? RTE_MBUF_F_TX_IP_CKSUM : 0) |
                  (port.tx_udp_checksum ? RTE_MBUF_F_TX_UDP_CKSUM : 0);
  }
  if (!port.tx_ipv4_checksum) {
    store_le(ip + 10, static_cast<std::uint16_t>(~fold(std::uint64_t{header.ip_sum} + ip_bytes)));
  }
  if (port.tx_udp_checksum) {
    store_le(udp + 6, fold(std::uint64_t{header.udp_sum} + udp_bytes));  // of the pseudo header: the device adds the rest
  }
  return true;
}

}  // namespace slipway
