#pragma once
// What a worker knows of a link. The control thread decides and posts whole records; each worker has a copy.

#include <array>
#include <cstdint>

#include "bounds.h"

namespace slipway {

using LinkIndex = std::uint32_t;  // 1 .. kMaxLinks - 1; 0: no link
inline constexpr LinkIndex kNoLink = 0;

// The order of the values is upstream's order of preference for anycast (upstream-node 6.3).
enum class LinkClass : std::uint8_t { kLocal = 0, kRemote = 1, kPeer = 2, kEdge = 3 };
inline constexpr std::size_t kLinkClasses = 4;

enum class LinkState : std::uint8_t {
  kFree,       // no such link
  kGreeting,   // open, hello not finished: only link frames pass
  kUp,
  kClosing,    // nothing is sent to it any more
};

enum class LinkTransport : std::uint8_t {
  kStream,      // a socket of one worker; frames behind a length prefix
  kDatagram,    // a datagram socket of one worker; frames behind a shim
  kEthernet,    // a DPDK port; frames behind Ethernet, IP, UDP and a shim
  kControl,     // the control thread: an application inside the node; frames go up the event ring
};

enum class OverflowPolicy : std::uint8_t {
  kStall,  // pause senders; a receiver that takes nothing is stalled: drop its newest, disconnect after a while
  kPause,  // pause senders, for ever (upstream's behaviour)
};

// An IP address and port as packets carry them. IPv4 is held in the first 4 bytes.
struct IpEndpoint {
  std::array<std::uint8_t, 16> address{};
  std::uint16_t port = 0;     // host order
  std::uint8_t family = 0;    // 4, 6, or 0: none
  std::uint8_t spare = 0;
  friend bool operator==(const IpEndpoint&, const IpEndpoint&) = default;
};

// Ethernet to UDP of a link on a DPDK port, ready to be copied before a shim. Lengths, checksums and the UDP
// source port are filled in for each packet.
inline constexpr std::size_t kMaxOuterBytes = 14 + 4 + 40 + 8;
struct OuterTemplate {
  std::array<std::uint8_t, kMaxOuterBytes> bytes{};
  std::uint8_t length = 0;        // 0: the next hop is not resolved
  std::uint8_t ip_offset = 0;     // of the IP header
  std::uint8_t udp_offset = 0;
  std::uint8_t ipv6 = 0;
};

// The link id that peers put into their shims: the index, and a generation that changes with every use of it.
inline constexpr std::uint32_t kLinkIndexBits = 14;
static_assert(kMaxLinks == 1u << kLinkIndexBits);
constexpr std::uint32_t make_link_id(LinkIndex index, std::uint32_t generation) { return generation << kLinkIndexBits | index; }
constexpr LinkIndex link_index_of(std::uint32_t link_id) { return link_id & (kMaxLinks - 1); }

struct LinkRecord {
  LinkIndex index = kNoLink;
  std::uint32_t generation = 0;      // of the index; 18 bits, never 0 for a link that exists
  LinkState state = LinkState::kFree;
  LinkClass link_class = LinkClass::kEdge;
  LinkTransport transport = LinkTransport::kStream;
  OverflowPolicy overflow = OverflowPolicy::kStall;
  std::uint16_t owner_worker = 0;    // whose socket it is; for kEthernet: who sends where a worker has no queue of its own
  std::uint16_t port = 0;            // kDatagram, kEthernet: dataplane port
  std::uint32_t peer_link_id = 0;    // what our shims carry
  std::uint32_t max_frame_bytes = 0; // largest frame that the peer takes
  std::uint32_t queue_bytes = kLinkQueueBytes;
  std::uint16_t datagram_bytes = 0;  // largest UDP payload on this link: shim and piece
  bool check_source_port = true;     // false: the peer's UDP source port carries entropy
  bool native = true;                // a slipway speaks at the other end: it may be told of unroutable publishes
  IpEndpoint peer;                   // kDatagram, kEthernet
  OuterTemplate outer;               // kEthernet

  [[nodiscard]] std::uint32_t id() const { return make_link_id(index, generation); }
};

}  // namespace slipway
