#pragma once
// The short way through a DPDK port for what nearly every packet is: one whole frame in one buffer, over IPv4, from
// a link's peer to us. Both directions work on a pattern that was made beforehand, by a few wide loads and stores;
// whatever does not fit it in every bit is left, untouched, to ethernet_receive and ethernet_send, which decide.
// tests/dataplane/worker checks that both ways agree on every packet. Owning worker only.
//
// Lengths are 32 or 64 bits wide here: g++ 12 takes narrower ones to the stack and back, and that costs a stall each.

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

namespace fast_lane {
inline constexpr std::size_t kUdpBytes = 8;
inline constexpr std::size_t kIpBytes = 20;
inline constexpr std::size_t kAfterIp = kIpBytes + kUdpBytes + kShimBytes;  // from the IP header to the frame
inline constexpr std::size_t kUntagged = 14 + kAfterIp;                     // from the packet to the frame
using Bytes32 = std::array<std::byte, 32>;

// Offsets from the IP header. Where a packet may hold anything, patterns keep what else they know.
inline constexpr std::size_t kPortMark = 4;          // the identification's place: the dataplane port's number, plus one
inline constexpr std::size_t kSourcePort = 20;
inline constexpr std::size_t kSourcePortMask = 26;   // the UDP checksum's place
inline constexpr std::size_t kLinkId = 28;           // the shim begins here
}  // namespace fast_lane

// What packets of one port look like, and which of their bits must be so.
struct alignas(64) FastLane {
  fast_lane::Bytes32 front_want{};            // from the first byte: Ethernet, a tag
  fast_lane::Bytes32 front_mask{};
  fast_lane::Bytes32 ip_want{};               // from the IP header to the shim's link id, without what a link knows
  std::array<std::uint16_t, 16> ip_less{};    // the packet's length minus this, in each place of a length, is that length
  std::array<std::uint16_t, 8> shim_less{};
  std::uint32_t header_bytes = 0;             // before the frame
  std::uint32_t least_bytes = 0xFFFFFFFF;     // of a packet that holds a frame header; all ones: nothing here is plain
};

// What a link adds to that: address and port of its peer, its id, its dataplane port. Two links to a cache line.
// Nothing of a link whose hello is not finished is plain: its pattern is all zero, which no packet fits.
struct alignas(32) FastPeer {
  fast_lane::Bytes32 ip_want{};
};

// Outer headers and shim of a link, ready to be stored; they end where the frame begins. Made of the link's record and
// the port that sends: of a link that is not kUp or not resolved nothing is plain.
inline constexpr std::size_t kFastHeaderBytes = 96;
struct alignas(64) FastHeader {
  std::array<std::byte, kFastHeaderBytes> bytes{};
  // The caller's number for the port in the top byte; below, the largest frame that fits one packet and the peer takes.
  // Zero bytes: every frame goes the general way.
  std::uint32_t fit = 0;
  std::uint64_t ol_flags = 0;       // of the mbuf: what the device fills in
  LinkCounters* counters = nullptr; // the caller's: where copies to this link are counted
  std::uint16_t ip_rest = 0;        // the IPv4 header's checksum if its length were zero
  std::uint16_t udp_sum = 0;        // of the pseudo header without its length
  std::uint8_t by_device = 0;       // checksums that the device fills in; IP's is made here otherwise, UDP goes without
  std::uint16_t length = 0;         // of the headers and the shim

  [[nodiscard]] std::uint8_t slot() const { return static_cast<std::uint8_t>(fit >> 24); }
  [[nodiscard]] std::uint32_t largest_frame() const { return fit & 0xFFFF; }
};
inline constexpr std::uint32_t kFitBytes = 0xFFFF;
static_assert(sizeof(FastHeader) == 128);
namespace by_device {
inline constexpr std::uint8_t kIp = 1;
inline constexpr std::uint8_t kUdp = 2;
}  // namespace by_device

[[nodiscard]] FastLane make_fast_lane(const EthernetPort& port);
[[nodiscard]] FastPeer make_fast_peer(const LinkRecord& link);
[[nodiscard]] FastHeader make_fast_header(const EthernetPort& port, const LinkRecord& link, std::uint8_t slot);

namespace fast_lane {
// A 16-bit number in network order.
[[nodiscard]] constexpr std::uint32_t network_of(std::uint32_t value) { return std::byteswap(value) >> 16; }

// Whether the 20 bytes of an IPv4 header, which are not all zero, sum up to all ones (RFC 1071): their sum as 64-bit
// words with the carries added is then a multiple of 0xFFFF, which one multiplication tells (an odd divisor's inverse
// modulo 2^64 takes its multiples, and nothing else, to small numbers).
[[nodiscard]] inline bool ip_sum_good(const std::byte* ip) {
  constexpr std::uint64_t kInverse = 0xFFFE'FFFE'FFFE'FFFFu;
  static_assert(kInverse * 0xFFFF == 1);
  auto sum = load_le<std::uint64_t>(ip);
  // Written out: g++ 12 makes twice as many instructions of _addcarry_u64. No carry is left over: the last word is short.
  asm("add %[second], %[sum]\n\tadc %[third], %[sum]\n\tadc $0, %[sum]"
      : [sum] "+&r"(sum)
      : [second] "r"(load_le<std::uint64_t>(ip + 8)), [third] "r"(std::uint64_t{load_le<std::uint32_t>(ip + 16)})
      : "cc");
  return sum * kInverse <= ~std::uint64_t{0} / 0xFFFF;
}

// One reference, one segment: they lie together, so that drivers can set them by one store.
[[nodiscard]] inline bool is_alone(const rte_mbuf* m) { return load_le<std::uint32_t>(&m->refcnt) == (1u | 1u << 16); }
static_assert(offsetof(rte_mbuf, nb_segs) == offsetof(rte_mbuf, refcnt) + 2);

inline void store_lengths(rte_mbuf* m, std::uint32_t bytes) {
  m->pkt_len = bytes;
  m->data_len = static_cast<std::uint16_t>(bytes);
}
inline __m256i load32(const void* at) { return _mm256_loadu_si256(static_cast<const __m256i*>(at)); }
}  // namespace fast_lane

// Looks at received packets. Made for a burst: its patterns then stay in registers.
// Differences are gathered and looked at once: one branch that is nearly always right instead of ten.
class FastCheck {
 public:
  FastCheck(const FastLane& lane, const FastPeer* peers)
      : front_want_(fast_lane::load32(&lane.front_want)),
        front_mask_(fast_lane::load32(&lane.front_mask)),
        ip_want_(fast_lane::load32(&lane.ip_want)),
        ip_less_(fast_lane::load32(&lane.ip_less)),
        shim_less_(_mm_load_si128(reinterpret_cast<const __m128i*>(&lane.shim_less))),
        peers_(peers),
        header_bytes_(lane.header_bytes),
        least_bytes_(lane.least_bytes) {}

  // Whether a packet that is long enough, its frame at frame_of(m), is plain; its link then. Changes nothing.
  [[nodiscard]] bool is_plain(const rte_mbuf* m, const std::byte* frame, std::uint64_t* link_of_it) const {
    constexpr std::uint64_t kOdd = RTE_MBUF_F_RX_VLAN_STRIPPED | RTE_MBUF_F_RX_IP_CKSUM_BAD | RTE_MBUF_F_RX_L4_CKSUM_BAD |
                                   RTE_MBUF_F_EXTERNAL | RTE_MBUF_F_INDIRECT;
    const std::uint64_t flags = m->ol_flags;
    if (!fast_lane::is_alone(m) || m->data_off < kFastHeaderBytes - fast_lane::kUntagged || (flags & kOdd) != 0) {
      return false;
    }
    const std::byte* ip = frame - fast_lane::kAfterIp;  // all by distances from one address: registers are few
    const std::uint64_t link = load_le<std::uint32_t>(ip + fast_lane::kLinkId) & (kMaxLinks - 1);
    const __m256i length = _mm256_set1_epi16(static_cast<short>(m->data_len));
    const __m256i wrong = _mm256_or_si256(front_differs(frame - header_bytes_), _mm256_or_si256(ip_differs(ip, length, peers_[link]), shim_differs(ip, length)));
    if (!_mm256_testz_si256(wrong, wrong)) {
      return false;
    }
    if ((flags & RTE_MBUF_F_RX_L4_CKSUM_GOOD) == 0 && load_le<std::uint16_t>(ip + 26) != 0) {
      return false;  // a UDP checksum that nobody has looked at
    }
    *link_of_it = link;
    return (flags & RTE_MBUF_F_RX_IP_CKSUM_GOOD) != 0 || fast_lane::ip_sum_good(ip);
  }
  [[nodiscard]] bool long_enough(const rte_mbuf* m) const { return m->data_len >= least_bytes_; }

  [[nodiscard]] std::byte* frame_of(rte_mbuf* m) const { return data_of(m) + header_bytes_; }
  [[nodiscard]] std::uint32_t frame_bytes_of(const rte_mbuf* m) const { return static_cast<std::uint32_t>(m->data_len - header_bytes_); }
 private:
  [[nodiscard]] __m256i front_differs(const std::byte* packet) const {
    return _mm256_and_si256(_mm256_xor_si256(fast_lane::load32(packet), front_want_), front_mask_);
  }
  // IP's and UDP's lengths end where the packet does; all else is the port's or the link's.
  [[nodiscard]] __m256i ip_differs(const std::byte* ip, __m256i packet_bytes, const FastPeer& peer) const {
    constexpr char kZero = -128;
    const __m256i kMask = _mm256_setr_epi8(-1, 0, -1, -1, 0, 0, 0x3F, -1, 0, -1, 0, 0, -1, -1, -1, -1,  //
                                           -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, 0, 0, -1, -1, -1, -1);
    // The lengths' bytes swapped; elsewhere zero.
    const __m256i kSwap = _mm256_setr_epi8(kZero, kZero, 3, 2, kZero, kZero, kZero, kZero, kZero, kZero, kZero, kZero, kZero, kZero, kZero, kZero,
                                           kZero, kZero, kZero, kZero, kZero, kZero, kZero, kZero, 9, 8, kZero, kZero, kZero, kZero, kZero, kZero);
    // The mask of the source port to its place; elsewhere zero.
    const __m256i kPortMask = _mm256_setr_epi8(kZero, kZero, kZero, kZero, kZero, kZero, kZero, kZero, kZero, kZero, kZero, kZero, kZero, kZero, kZero, kZero,
                                               kZero, kZero, kZero, kZero, 10, 11, kZero, kZero, kZero, kZero, kZero, kZero, kZero, kZero, kZero, kZero);
    const __m256i kAllButPort = _mm256_setr_epi8(-1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1,  //
                                                 -1, -1, -1, -1, 0, 0, -1, -1, -1, -1, 0, 0, -1, -1, -1, -1);
    const __m256i of_link = _mm256_load_si256(reinterpret_cast<const __m256i*>(&peer));
    const __m256i lengths = _mm256_shuffle_epi8(_mm256_sub_epi16(packet_bytes, ip_less_), kSwap);
    const __m256i known = _mm256_xor_si256(_mm256_xor_si256(of_link, ip_want_), lengths);
    const __m256i differs = _mm256_xor_si256(_mm256_and_si256(fast_lane::load32(ip), kMask), known);
    return _mm256_and_si256(differs, _mm256_or_si256(_mm256_shuffle_epi8(of_link, kPortMask), kAllButPort));
  }
  // The shim after its sequence: one piece, whole, the last; its tag is zero.
  [[nodiscard]] __m256i shim_differs(const std::byte* ip, __m256i packet_bytes) const {
    const std::byte* shim = ip + fast_lane::kLinkId;
    const __m128i kWant = _mm_setr_epi8(0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, shim_flag::kLast, 0, 0);
    const __m256i kMask = _mm256_setr_epi8(0, 0, 0, 0, 0, 0, -1, -1, -1, -1, -1, -1, -1, -1, 0, 0,  //
                                           -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1);
    constexpr int kTotalBytes = 1 << 5;  // the word at shim offset 16
    const __m128i lengths = _mm_sub_epi16(_mm256_castsi256_si128(packet_bytes), shim_less_);
    const __m256i want = _mm256_zextsi128_si256(_mm_blend_epi16(kWant, lengths, kTotalBytes));
    return _mm256_and_si256(_mm256_xor_si256(fast_lane::load32(shim + 6), want), kMask);
  }
  static_assert(kShimBytes == 6 + 32);

  __m256i front_want_;
  __m256i front_mask_;
  __m256i ip_want_;
  __m256i ip_less_;
  __m128i shim_less_;
  const FastPeer* peers_;
  std::uint64_t header_bytes_;
  std::uint32_t least_bytes_;
};

// A plain packet to a frame.
inline void open_packet(rte_mbuf* m, const std::byte* frame, std::uint32_t frame_bytes, LinkIndex link) {
  m->data_off = static_cast<std::uint16_t>(frame - static_cast<const std::byte*>(m->buf_addr));
  fast_lane::store_lengths(m, frame_bytes);
  m->ol_flags = 0;
  make_frame(m, link, false);
}

// A received packet. Its link, and then the mbuf is a frame; or kNoLink, and nothing has changed.
[[nodiscard]] inline LinkIndex fast_receive(const FastLane& lane, const FastPeer* peers, rte_mbuf* m) {
  const FastCheck check(lane, peers);
  std::uint64_t link = kNoLink;
  if (!check.long_enough(m) || !check.is_plain(m, check.frame_of(m), &link)) {
    return kNoLink;
  }
  open_packet(m, check.frame_of(m), check.frame_bytes_of(m), static_cast<LinkIndex>(link));
  return static_cast<LinkIndex>(link);
}

// A worker's numbering as it goes into shims, for a burst: worker in the top byte, counter below. 2^56 packets are
// never sent.
struct FastSequence {
  std::uint64_t word;

  explicit FastSequence(const DatagramSender& s) : word(std::uint64_t{s.worker} << 56 | s.counter) {}
  void store(DatagramSender& s) const { s.counter = word & ((std::uint64_t{1} << 56) - 1); }
};

// Untagged, the headers take 80 bytes, the last 16 of which are the tag, all zero. On a frame that came the same way they
// begin on a cache line, no store crosses one, and the tag is there. Otherwise all 96 are stored, of which the first are
// not part of the packet.
template <bool in_place>
inline void put_header(std::byte* frame, const FastHeader& header) {
  static_assert(fast_lane::kUntagged == 80 && kFastHeaderBytes == 96);
  const auto copy = [frame, &header](std::size_t before) {
    const __m256i bytes = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(header.bytes.data() + kFastHeaderBytes - before));
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(frame - before), bytes);
  };
  if constexpr (in_place) {
    copy(80);
    copy(48);
  } else {
    copy(96);
    copy(64);
    copy(32);
  }
}

// Writes the headers before `frame`, which lies in `m`; the mbuf then is the packet. The frame is not above
// header.largest_frame(); there are kFastHeaderBytes before it. `in_place`: the mbuf is a plain packet still, and its
// headers and these both take kUntagged bytes: it then begins and ends where it did.
template <bool in_place>
inline void put_packet(const FastHeader& header, FastSequence& sequence, rte_mbuf* m, std::byte* frame, std::uint32_t frame_bytes) {
  using namespace fast_lane;
  const std::uint32_t flow = flow_hash(frame);
  put_header<in_place>(frame, header);
  std::byte* shim = frame - kShimBytes;
  std::byte* udp = shim - kUdpBytes;
  std::byte* ip = udp - kIpBytes;
  const std::uint32_t ip_bytes = network_of(frame_bytes + static_cast<std::uint32_t>(kAfterIp));
  const std::uint32_t udp_bytes = network_of(frame_bytes + static_cast<std::uint32_t>(kAfterIp - kIpBytes));
  store_le(ip + 2, static_cast<std::uint16_t>(ip_bytes));
  store_le(udp, static_cast<std::uint16_t>(flow | kEntropyPortWire));
  store_le(udp + 4, static_cast<std::uint16_t>(udp_bytes));
  ++sequence.word;
  store_le(shim + 4, sequence.word);
  store_le(shim + 16, frame_bytes | std::uint32_t{shim_flag::kLast} << 24);
  store_le(shim + 20, static_cast<std::uint16_t>(sequence.word));
  // RFC 1624: what the length adds to the sum is taken from the checksum, with the borrow.
  const std::int32_t rest = static_cast<std::int32_t>(header.ip_rest) - static_cast<std::int32_t>(ip_bytes);
  const auto ip_checksum = static_cast<std::uint16_t>(rest + (rest >> 31));
  if (header.by_device == 0) [[likely]] {
    store_le(ip + 10, ip_checksum);
  } else {
    const std::uint32_t udp_sum = header.udp_sum + udp_bytes;
    const auto pseudo = static_cast<std::uint16_t>(udp_sum + (udp_sum >> 16));  // the device adds the rest
    store_le(ip + 10, (header.by_device & by_device::kIp) != 0 ? std::uint16_t{0} : ip_checksum);
    store_le(udp + 6, (header.by_device & by_device::kUdp) != 0 ? pseudo : std::uint16_t{0});
    m->tx_offload = rte_mbuf_tx_offload(header.length - kAfterIp, kIpBytes, 0, 0, 0, 0, 0);
  }
  m->ol_flags = header.ol_flags;
  if constexpr (!in_place) {
    m->data_off = static_cast<std::uint16_t>(frame - static_cast<const std::byte*>(m->buf_addr) - header.length);
    store_lengths(m, frame_bytes + header.length);
  }
}

// A frame to a link: true, and then the mbuf is the packet; or false, and nothing has changed.
[[nodiscard]] inline bool fast_send(const FastHeader& header, FastSequence& sequence, rte_mbuf* m) {
  if (m->data_len > header.largest_frame() || !fast_lane::is_alone(m) || m->data_off < kFastHeaderBytes || !RTE_MBUF_DIRECT(m)) {
    return false;
  }
  put_packet<false>(header, sequence, m, data_of(m), m->data_len);
  return true;
}

}  // namespace slipway
