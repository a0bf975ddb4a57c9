#pragma once
// Packets on a DPDK port, as functions on bytes: what a received packet is, the answer to a request for us, and
// the packets that the control thread makes. No DPDK, so that all of it runs on plain memory in tests and fuzzers.
//
// RFC 894 and 2464 (Ethernet), IEEE 802.1Q, RFC 791, 768, 826 (ARP), 792, 8200, 4443, 4861 (neighbour discovery).
// A port answers for its own addresses only; there is no kernel behind it.

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "base/drop_reason.h"
#include "base/link.h"
#include "bounds.h"
#include "port/ip_address.h"

namespace slipway {

// What a worker knows of a DPDK port. Does not change while the port is open.
struct EthernetPort {
  std::uint16_t number = 0;        // dataplane port
  std::uint16_t device = 0;        // ethdev
  MacAddress mac{};
  std::uint16_t vlan = 0;          // 802.1Q id of every packet; 0: untagged
  std::uint16_t udp_port = 0;      // on which links are served
  std::uint16_t mtu = 1500;        // bytes of an IP packet
  std::uint8_t address_count = 0;
  bool tx_ipv4_checksum = false;   // the device fills in checksums on the way out
  bool tx_udp_checksum = false;
  bool tx_chains = false;          // the device sends chains of mbufs
  // Packets of the local kernel may come with a checksum that nobody has finished (af_packet, af_xdp on a veth):
  // the sum of the pseudo header alone is then accepted.
  bool unfinished_checksums = false;
  std::array<IpAddress, kMaxPortAddresses> addresses{};

  [[nodiscard]] std::span<const IpAddress> own() const { return {addresses.data(), address_count}; }
};

enum class PacketKind : std::uint8_t {
  kDatagram,  // UDP to our port
  kArp,       // request for one of our addresses
  kSolicit,   // neighbour solicitation for one of our addresses
  kEcho4,     // ICMP echo request to one of our addresses
  kEcho6,
  kLearn,     // ARP reply, neighbour advertisement, or somebody who claims an address of ours: for the control thread
  kDrop,
};

struct Packet {
  PacketKind kind = PacketKind::kDrop;
  DropReason reason = DropReason::kPacketMalformed;  // of kDrop
  bool ipv6 = false;
  bool tagged = false;
  std::uint16_t ip_offset = 0;      // from the packet's first byte
  std::uint16_t l4_offset = 0;      // UDP or ICMP
  std::uint16_t payload_offset = 0; // kDatagram: the shim
  std::uint16_t payload_bytes = 0;
};

// What the device has found out about a packet's checksums and tag.
struct PacketHints {
  bool ip_good = false;       // header checksum of IPv4
  bool l4_good = false;
  bool bad = false;           // either is wrong
  bool stripped = false;      // the device took the 802.1Q tag out:
  std::uint16_t vlan = 0;     //   its id
};

// `head` is the contiguous begin of a packet of `packet_bytes`. Where a checksum covers bytes beyond `head` the
// caller says in the hints that it is good, having checked it itself. Reads nothing outside `head`.
[[nodiscard]] Packet parse_packet(const EthernetPort& port, std::span<const std::byte> head, std::size_t packet_bytes,
                                  const PacketHints& hints);

// Turns a request (kArp, kSolicit, kEcho4, kEcho6) of `packet_bytes`, which lies whole at the begin of `bytes`, into
// its answer, in place. Returns the answer's length, or 0 when there is none to give. An answer is at most
// kAnswerRoomBytes longer than its request; `bytes` has that room, or there is no answer.
inline constexpr std::size_t kAnswerRoomBytes = 8;
[[nodiscard]] std::size_t answer_in_place(const EthernetPort& port, const Packet& packet, std::span<std::byte> bytes,
                                          std::size_t packet_bytes);

// Addresses of a kDatagram, from the packet that parse_packet saw. Ports in host order.
[[nodiscard]] IpEndpoint packet_source(const Packet& packet, const std::byte* bytes);
[[nodiscard]] IpEndpoint packet_destination(const Packet& packet, const std::byte* bytes);

// --- packets made by the control thread --------------------------------------------------------------

using PacketBytes = std::vector<std::byte>;

// Ethernet to UDP towards `peer` whose next hop has `next_hop_mac`, from our address `own` and udp_port.
[[nodiscard]] OuterTemplate make_outer(const EthernetPort& port, const IpAddress& own, const IpEndpoint& peer,
                                       const MacAddress& next_hop_mac);
// One whole packet with a UDP payload (hello answers before a link exists), checksums filled in.
[[nodiscard]] PacketBytes make_datagram(const EthernetPort& port, const OuterTemplate& outer,
                                        std::span<const std::byte> payload);

// "Who has target?" ARP for IPv4, neighbour solicitation for IPv6. With a MAC address it goes to that alone
// (refreshing an entry), else to all (ARP) or to the target's solicited-node group.
[[nodiscard]] PacketBytes make_solicitation(const EthernetPort& port, const IpAddress& own, const IpAddress& target,
                                            const MacAddress* unicast);
// Tells everyone that we have `own`: gratuitous ARP, or an unsolicited neighbour advertisement.
[[nodiscard]] PacketBytes make_announcement(const EthernetPort& port, const IpAddress& own);

// Tells switches that listen to such (MLD snooping) which multicast groups this port wants: the solicited-node groups of
// its IPv6 addresses, without which nobody could resolve it through them. RFC 3810, a report without a query. Empty:
// the port has no IPv6 address.
[[nodiscard]] PacketBytes make_group_report(const EthernetPort& port);

// What an ARP reply or a neighbour advertisement says; a packet of kind kLearn. family 0: nothing of use.
struct NeighborSaid {
  IpAddress address;
  MacAddress mac{};
  bool solicited = false;   // it answers somebody's question, maybe ours
};
[[nodiscard]] NeighborSaid read_neighbor(const EthernetPort& port, std::span<const std::byte> packet);

// Largest UDP payload of one packet of this port towards an address of this family.
[[nodiscard]] constexpr std::uint16_t datagram_bytes(std::uint16_t mtu, std::uint8_t family) {
  return static_cast<std::uint16_t>(mtu - (family == 6 ? 40 : 20) - 8);
}

}  // namespace slipway
