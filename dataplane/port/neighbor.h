#pragma once
// Next hops of one DPDK port: which router or host a peer is reached through, and that one's MAC address.
// ARP (RFC 826) for IPv4, neighbour discovery (RFC 4861) for IPv6. Used by the control thread.
//
// No I/O and no clock: packets and the time come in, packets to send and what changed go out. Bounded: at most
// kMaxNeighbors next hops, each asked for at a bounded rate. Learns only from answers to its own questions, so that
// nobody fills or turns the table by talking unasked. Entries are asked again, by unicast, before they grow old;
// one that stays silent is asked for by multicast and then is unresolved until it answers.

#include <cstdint>
#include <expected>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "port/ethernet.h"

namespace slipway {

struct NeighborTimes {
  std::uint64_t retry_ms = 1'000;       // between two questions
  std::uint32_t tries = 3;              // by multicast, quickly; after them one try each slow_retry_ms
  std::uint64_t slow_retry_ms = 10'000;
  std::uint64_t fresh_ms = 30'000;      // after an answer; then asked by unicast
};

class Neighbors {
 public:
  // `prefixes` are the port's addresses with their lengths, `routes` its static routes.
  Neighbors(const EthernetPort& port, const std::vector<IpPrefix>& prefixes, const std::vector<StaticRoute>& routes,
            const NeighborTimes& times = {});

  struct Output {
    std::vector<PacketBytes> packets;   // to be sent out of this port, as they are
    std::vector<IpAddress> changed;     // next hops that were resolved, lost, or moved to another MAC address
    std::vector<NeighborSaid> conflicts;  // others that claim an address of ours
  };

  // How packets to `peer` travel. The error names what is missing: no prefix or route covers it, or no address of
  // its family.
  struct Path {
    IpAddress next_hop;
    IpAddress own;      // our address to send from
  };
  [[nodiscard]] std::expected<Path, std::string> path_to(const IpAddress& peer) const;

  // Someone wants to reach `next_hop` (of a path_to): it is resolved and kept fresh until released as often.
  // False: the table is full.
  [[nodiscard]] bool want(const IpAddress& next_hop, std::uint64_t now_ms, Output& out);
  void release(const IpAddress& next_hop);
  // Nothing while it is not resolved.
  [[nodiscard]] std::optional<MacAddress> mac_of(const IpAddress& next_hop) const;

  // The outer headers towards `peer`; length 0 while its next hop is not resolved.
  [[nodiscard]] OuterTemplate outer_to(const IpEndpoint& peer) const;

  void announce(Output& out) const;  // at start, and after the link came up: who we are
  // The groups that this port wants; switches forget them, so it is to be said again each minute or so.
  void report_groups(Output& out) const;
  void packet_in(std::span<const std::byte> packet, std::uint64_t now_ms, Output& out);
  void tick(std::uint64_t now_ms, Output& out);
  // The link came up again, or the device came back as `port` says (maybe with another MAC address): announces us,
  // asks for every next hop again. What was known is used until it proves wrong.
  void restart(const EthernetPort& port, std::uint64_t now_ms, Output& out);

  struct Entry {
    IpAddress address;
    MacAddress mac{};
    bool resolved = false;
    std::uint32_t wanted = 0;      // how often
    std::uint32_t tries = 0;       // unanswered questions in a row
    std::uint64_t next_ms = 0;     // when to ask again
    std::uint64_t heard_ms = 0;    // last answer
  };
  [[nodiscard]] std::vector<Entry> entries() const;
  [[nodiscard]] std::size_t size() const { return entries_.size(); }
  [[nodiscard]] std::uint64_t next_tick_ms() const;  // UINT64_MAX: never

 private:
  struct Less {
    bool operator()(const IpAddress& a, const IpAddress& b) const {
      return a.family != b.family ? a.family < b.family : a.bytes < b.bytes;
    }
  };
  void add_link_local();
  void ask(Entry& entry, std::uint64_t now_ms, Output& out);

  EthernetPort port_;
  std::vector<IpPrefix> prefixes_;
  std::vector<StaticRoute> routes_;  // longest prefix first
  NeighborTimes times_;
  std::map<IpAddress, Entry, Less> entries_;
};

}  // namespace slipway
