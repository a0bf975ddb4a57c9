#pragma once
// The short way through a DPDK port for what nearly every packet is: one whole frame in one buffer, over IPv4, from
// a link's peer to us. Both directions work on a pattern that was made beforehand, by a few wide loads and stores;
// whatever does not fit it in every bit is left, untouched, to ethernet_receive and ethernet_send, which decide.
// tests/dataplane/port checks that both ways agree on every packet. Owning worker only.

#include <immintrin.h>
#include <rte_mbuf.h>

#include <array>
#include <cstddef>
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
  std::uint16_t port = 0;                  // dataplane port
  std::uint32_t ip_offset = 0;
  std::uint32_t least_bytes = 0xFFFFFFFF;  // of a packet that holds a frame header; all ones: nothing here is plain
};

// What a plain packet of a link looks like: 16 bytes, four links to a cache line. Nothing of a link whose hello is not
// finished is plain.
struct alignas(16) FastPeer {
  std::uint32_t link_id = 0;    // 0: no packet of this link is plain
  std::uint32_t address = 0;    // IPv4, as it lies
  std::uint16_t source_port = 0;  // as it lies, under the mask
  std::uint16_t source_port_mask = 0;
  std::uint16_t port = 0;       // dataplane port
  std::uint16_t spare = 0;
};
static_assert(sizeof(FastPeer) == 16);

// Outer headers and shim of a link, ready to be stored; they end where the frame begins. Made of the link's record and
// the port that sends: of a link that is not kUp or not resolved nothing is plain.
inline constexpr std::size_t kFastHeaderBytes = 96;
struct alignas(64) FastHeader {
  std::array<std::byte, kFastHeaderBytes> bytes{};
  std::uint64_t tx_offload = 0;     // likewise: where
  std::uint64_t rearm = 0;          // one reference, one segment, the device; less the headers' length, to add data_off to
  std::uint16_t ip_sum = 0;         // of the IPv4 header without its length
  std::uint16_t udp_sum = 0;        // of the pseudo header without its length
  std::uint16_t ol_flags_top = 0;   // of the mbuf, bits 48 and up: what the device fills in
  bool by_device : 1 = false;       // the device fills in some checksum:
  bool ip_by_device : 1 = false;    //   else it is made here
  bool udp_by_device : 1 = false;   //   else UDP goes without
  std::uint16_t length = 0;         // of the headers and the shim
  std::uint16_t largest_frame = 0;  // that fits one packet and the peer takes; 0: every frame goes the general way
  std::uint8_t slot = 0;            // the caller's: which of its ports
};
static_assert(sizeof(FastHeader) == 128);

[[nodiscard]] FastLane make_fast_lane(const EthernetPort& port);
[[nodiscard]] FastPeer make_fast_peer(const LinkRecord& link);
[[nodiscard]] FastHeader make_fast_header(const EthernetPort& port, const LinkRecord& link);

namespace fast_lane {
inline constexpr std::size_t kUdpBytes = 8;
inline constexpr std::size_t kIpBytes = 20;
inline constexpr std::size_t kAfterIp = kIpBytes + kUdpBytes + kShimBytes;  // from the IP header to the frame

// A 16-bit number in network order, in a whole register: g++ 12 takes 16-bit ones to the stack and back.
[[nodiscard]] constexpr std::uint64_t network_of(std::uint64_t value) { return std::byteswap(value) >> 48; }

// Whether the 20 bytes of an IPv4 header, which are not all zero, sum up to all ones (RFC 1071): their sum as 32-bit
// words is then a multiple of 0xFFFF, which one multiplication tells (an odd divisor's inverse modulo 2^64 takes its
// multiples, and nothing else, to small numbers).
[[nodiscard]] inline bool ip_sum_good(const std::byte* ip) {
  constexpr std::uint64_t kInverse = 0xFFFE'FFFE'FFFE'FFFFu;
  static_assert(kInverse * 0xFFFF == 1);
  std::uint64_t sum = 0;
  for (std::size_t i = 0; i < kIpBytes; i += 4) {
    sum += load_le<std::uint32_t>(ip + i);
  }
  return sum * kInverse <= ~std::uint64_t{0} / 0xFFFF;
}

// The mbuf's data_off, refcnt, nb_segs and port in one word: they lie together so that drivers can do the same.
[[nodiscard]] inline std::uint64_t load_rearm(const rte_mbuf* m) { return load_le<std::uint64_t>(&m->rearm_data); }
static_assert(offsetof(rte_mbuf, refcnt) == offsetof(rte_mbuf, rearm_data) + 2);
static_assert(offsetof(rte_mbuf, nb_segs) == offsetof(rte_mbuf, rearm_data) + 4);
static_assert(offsetof(rte_mbuf, port) == offsetof(rte_mbuf, rearm_data) + 6);
// pkt_len, data_len and vlan_tci likewise.
static_assert(offsetof(rte_mbuf, data_len) == offsetof(rte_mbuf, pkt_len) + 4);
static_assert(offsetof(rte_mbuf, vlan_tci) == offsetof(rte_mbuf, pkt_len) + 6);
inline void store_lengths(rte_mbuf* m, std::uint64_t bytes) { store_le(&m->pkt_len, bytes | bytes << 32); }
}  // namespace fast_lane

// The first look: one segment, long enough, and the first 64 bytes as they should be.
[[nodiscard]] inline bool looks_plain(const FastLane& lane, const rte_mbuf* m) {
  constexpr std::uint64_t kOdd = RTE_MBUF_F_RX_VLAN_STRIPPED | RTE_MBUF_F_RX_IP_CKSUM_BAD | RTE_MBUF_F_RX_L4_CKSUM_BAD;
  if (m->data_len < lane.least_bytes || m->nb_segs != 1 || (m->ol_flags & kOdd) != 0) {
    return false;
  }
  const auto* at = rte_pktmbuf_mtod(m, const std::byte*);
  const auto differs = [at, &lane](std::size_t i) {
    const __m256i bytes = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(at + i));
    const __m256i want = _mm256_load_si256(reinterpret_cast<const __m256i*>(lane.want.data() + i));
    const __m256i mask = _mm256_load_si256(reinterpret_cast<const __m256i*>(lane.mask.data() + i));
    return _mm256_and_si256(_mm256_xor_si256(bytes, want), mask);
  };
  const __m256i difference = _mm256_or_si256(differs(0), differs(32));
  return _mm256_testz_si256(difference, difference) != 0;
}

// A received packet. Its link, and then the mbuf begins at the frame, but neither FrameMeta nor the length before it
// is written: whoever hands the mbuf on calls make_frame(m, link, false). Or kNoLink, and nothing has changed.
// Differences are gathered and looked at once: one branch that is nearly always right instead of ten.
// All lengths are 64 bits wide: narrower ones, spilled to the stack and loaded back wider, cost a stall each.
[[nodiscard]] inline LinkIndex fast_receive_bare(const FastLane& lane, const FastPeer* peers, rte_mbuf* m) {
  using namespace fast_lane;
  if (!looks_plain(lane, m)) {
    return kNoLink;
  }
  const std::byte* at = data_of(m);
  const std::byte* ip = at + lane.ip_offset;
  const std::byte* shim = ip + kIpBytes + kUdpBytes;
  // The peer: its link id and address, and its port where that is fixed.
  const std::uint64_t link_id = load_le<std::uint32_t>(shim);
  const std::uint64_t link = link_id & (kMaxLinks - 1);
  const FastPeer& peer = peers[link];
  std::uint64_t wrong = load_le<std::uint64_t>(&peer.link_id) ^ (link_id | std::uint64_t{load_le<std::uint32_t>(ip + 12)} << 32);
  wrong |= static_cast<std::uint64_t>(peer.port ^ lane.port);
  wrong |= peer.source_port ^ (std::uint64_t{load_le<std::uint16_t>(ip + kIpBytes)} & peer.source_port_mask);
  if (wrong != 0 || link == kNoLink) {
    return kNoLink;
  }
  // Lengths: IP's and UDP's end where the packet does, and the shim says: one piece, whole, the last; its tag is zero.
  const std::uint64_t ip_bytes = std::uint64_t{m->data_len} - lane.ip_offset;
  const std::uint64_t frame_bytes = ip_bytes - kAfterIp;
  wrong = load_le<std::uint64_t>(shim + 12) ^ (frame_bytes << 32 | std::uint64_t{shim_flag::kLast} << 56);
  wrong |= load_le<std::uint64_t>(shim + 22) | load_le<std::uint64_t>(shim + 30);
  wrong |= load_le<std::uint16_t>(ip + 2) ^ network_of(ip_bytes);
  wrong |= load_le<std::uint16_t>(ip + 24) ^ network_of(ip_bytes - kIpBytes);
  if (wrong != 0) {
    return kNoLink;
  }
  if ((m->ol_flags & RTE_MBUF_F_RX_L4_CKSUM_GOOD) == 0 && load_le<std::uint16_t>(ip + 26) != 0) {
    return kNoLink;  // a UDP checksum that nobody has looked at
  }
  if ((m->ol_flags & RTE_MBUF_F_RX_IP_CKSUM_GOOD) == 0 && !ip_sum_good(ip)) {
    return kNoLink;
  }
  m->data_off = static_cast<std::uint16_t>(m->data_off + lane.ip_offset + kAfterIp);
  store_lengths(m, frame_bytes);
  m->ol_flags &= RTE_MBUF_F_EXTERNAL | RTE_MBUF_F_INDIRECT;
  return static_cast<LinkIndex>(link);
}

// The same, and the mbuf is a whole frame.
[[nodiscard]] inline LinkIndex fast_receive(const FastLane& lane, const FastPeer* peers, rte_mbuf* m) {
  const LinkIndex link = fast_receive_bare(lane, peers, m);
  if (link != kNoLink) {
    make_frame(m, link, false);
  }
  return link;
}

// A worker's numbering as it goes into shims, for a burst: one addition a packet.
struct FastSequence {
  std::uint64_t word;         // worker in the top byte, counter below; 2^56 packets are never sent
  std::uint64_t frame_number; // the low 16 bits

  explicit FastSequence(const DatagramSender& s) : word(std::uint64_t{s.worker} << 56 | s.counter), frame_number(s.frame_number) {}
  void store(DatagramSender& s) const {
    s.counter = word & ((std::uint64_t{1} << 56) - 1);
    s.frame_number = static_cast<std::uint16_t>(frame_number);
  }
};

// Untagged, the headers take 80 bytes: on a frame that came the same way these begin on a cache line, and no store
// crosses one. Otherwise all 96, of which the first are not part of the packet.
inline void put_header(std::byte* frame, const FastHeader& header) {
  constexpr std::size_t kUntagged = 14 + fast_lane::kAfterIp;
  static_assert(kUntagged == 80 && kFastHeaderBytes == 96);
  const auto copy = [frame, &header](std::size_t before) {
    const auto* from = reinterpret_cast<const __m256i*>(header.bytes.data() + kFastHeaderBytes - before);
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(frame - before), _mm256_loadu_si256(from));
  };
  if (header.length == kUntagged) [[likely]] {
    copy(80);
    copy(48);
    _mm_storeu_si128(reinterpret_cast<__m128i*>(frame - 16), _mm_load_si128(reinterpret_cast<const __m128i*>(header.bytes.data() + 80)));
  } else {
    copy(96);
    copy(64);
    copy(32);
  }
}

// A frame to a link: true, and then the mbuf is the packet; or false, and nothing has changed.
[[nodiscard]] inline bool fast_send(const FastHeader& header, FastSequence& sequence, rte_mbuf* m) {
  using namespace fast_lane;
  const std::uint64_t frame_bytes = m->data_len;
  const std::uint64_t rearm = load_rearm(m);
  const std::uint64_t data_off = rearm & 0xFFFF;
  constexpr std::uint64_t kAlone = std::uint64_t{1} << 16 | std::uint64_t{1} << 32;  // one reference, one segment
  if (frame_bytes > header.largest_frame || (rearm & 0x0000'FFFF'FFFF'0000) != kAlone || !RTE_MBUF_DIRECT(m) ||
      data_off < kFastHeaderBytes) {
    return false;
  }
  std::byte* frame = static_cast<std::byte*>(m->buf_addr) + data_off;
  const std::uint64_t flow = flow_hash(frame);
  put_header(frame, header);
  std::byte* shim = frame - kShimBytes;
  std::byte* udp = shim - kUdpBytes;
  std::byte* ip = udp - kIpBytes;
  const std::uint64_t ip_bytes = network_of(frame_bytes + kAfterIp);
  const std::uint64_t udp_bytes = network_of(frame_bytes + kAfterIp - kIpBytes);
  store_le(ip + 2, static_cast<std::uint16_t>(ip_bytes));
  store_le(udp, static_cast<std::uint16_t>(network_of(entropy_port(static_cast<std::uint32_t>(flow)))));
  store_le(udp + 4, static_cast<std::uint16_t>(udp_bytes));
  store_le(shim + 4, ++sequence.word);
  store_le(shim + 16, static_cast<std::uint32_t>(frame_bytes | std::uint64_t{shim_flag::kLast} << 24));
  store_le(shim + 20, static_cast<std::uint16_t>(++sequence.frame_number));
  // Sums of two 16-bit numbers: one carry at most, and adding it makes no other.
  const std::uint64_t ip_sum = header.ip_sum + ip_bytes;
  const auto ip_checksum = static_cast<std::uint16_t>(~(ip_sum + (ip_sum >> 16)));
  if (!header.by_device) [[likely]] {
    store_le(ip + 10, ip_checksum);
  } else {
    const std::uint64_t udp_sum = header.udp_sum + udp_bytes;
    const auto pseudo = static_cast<std::uint16_t>(udp_sum + (udp_sum >> 16));  // the device adds the rest
    store_le(ip + 10, header.ip_by_device ? std::uint16_t{0} : ip_checksum);
    store_le(udp + 6, header.udp_by_device ? pseudo : std::uint16_t{0});
  }
  store_le(&m->rearm_data, header.rearm + data_off);
  store_lengths(m, frame_bytes + header.length);
  m->ol_flags = std::uint64_t{header.ol_flags_top} << 48;
  m->tx_offload = header.tx_offload;
  return true;
}

// As many frames as leave one behind the other by one port in the short way: frame i to link to[i]. Returns how many
// from the first on; the next one is left as it was.
[[gnu::noinline]] inline std::uint32_t fast_send_run(const FastHeader* headers, DatagramSender& sender, rte_mbuf* const* frames,
                                                     const LinkIndex* to, std::uint64_t count) {
  FastSequence sequence(sender);
  const std::uint8_t slot = headers[to[0]].slot;
  std::uint64_t i = 0;
  for (; i < count; ++i) {
    const FastHeader& header = headers[to[i]];
    if (header.slot != slot || !fast_send(header, sequence, frames[i])) {
      break;
    }
  }
  sequence.store(sender);
  return static_cast<std::uint32_t>(i);
}

}  // namespace slipway
