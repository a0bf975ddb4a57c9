#pragma once
// All links of the node as the control thread knows them, by index. An index that was used is given out again only
// when its owner has let go of everything (Event::kLinkReleased) and every worker has applied its removal; a
// generation with a random start tells the users of one index apart.
// Control thread.

#include <cstdint>
#include <expected>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/link.h"
#include "control_bounds.h"
#include "link/edge_profile.h"

namespace slipway {

inline constexpr std::uint32_t kNoTarget = ~std::uint32_t{0};

struct NodeLink {
  LinkRecord record;
  std::string transport;         // tcp, unix, udp, ethernet
  std::string peer;              // address, for people
  std::string node_id;           // as the peer says
  std::string version;
  std::string last_error;        // why it is closing
  std::uint16_t own_udp_port = 0;    // kEthernet links that we make: where answers must go
  std::uint32_t target = kNoTarget;  // the entry of `connect` that made it
  std::uint32_t keepalive_ms = 0;    // silence after which we probe; 0: never
  std::uint32_t peer_keepalive_ms = 0;   // silence after which the peer wants to hear something
  std::uint64_t opened_ms = 0;
  std::uint64_t up_ms = 0;
  std::uint64_t heard_ms = 0;        // last frame of the peer, as far as known
  std::uint64_t in_seen = 0;         // frames received when last looked at
  std::uint64_t probed_ms = 0;       // last probe
  std::uint64_t spoke_ms = 0;        // last time that something was sent, as far as known
  std::uint64_t sent_seen = 0;       // frames sent when last looked at
  std::uint64_t hello_ms = 0;        // last hello (datagram links that we make)
  std::uint64_t round_trip_us = 0;   // of the last probe
  std::vector<std::byte> cookie;     // of the peer's challenge
  std::unique_ptr<EdgeState> edge;   // an upstream application or node is at the other end; null: a slipway
  bool we_dialed = false;
  bool entropy_ports = false;        // of the peer
  bool stalled = false;
  bool left = false;                 // the peer ended it, in good order
  bool answered = false;             // our hello answer is on its way
  bool peer_ready = false;           // the other end has taken the link up too: it may be told of subscriptions
  // What is still to happen until the index is free again.
  bool close_asked = false;
  bool closed = false;
  bool released = false;
  bool forgotten = false;            // nothing that it subscribed is left
  bool free_posted = false;
  bool free_applied = false;
};

class LinkTable {
 public:
  // `seed`: random, so that link ids of one run do not fit another.
  LinkTable(std::uint32_t max_links, std::uint64_t seed);

  // A link in state kGreeting with index and generation, or the reason why there can be none.
  std::expected<NodeLink*, std::string> allocate();
  // Gives the index back.
  void free(LinkIndex index);

  [[nodiscard]] NodeLink* find(LinkIndex index);
  [[nodiscard]] const NodeLink* find(LinkIndex index) const;
  [[nodiscard]] NodeLink* find(LinkIndex index, std::uint32_t generation);  // nothing if it is another link by now
  [[nodiscard]] std::uint32_t size() const { return used_; }
  [[nodiscard]] std::uint32_t capacity() const { return max_links_; }
  void set_capacity(std::uint32_t max_links) { max_links_ = max_links < kMaxLinks ? max_links : kMaxLinks - 1; }
  // In order of index. The callback may free the link that it is given.
  void each(const std::function<void(NodeLink&)>& call);
  void each(const std::function<void(const NodeLink&)>& call) const;

 private:
  static constexpr std::uint32_t kGenerationMask = (1u << (32 - kLinkIndexBits)) - 1;

  std::uint32_t max_links_;
  std::uint32_t used_ = 0;
  LinkIndex highest_ = 0;               // ever used
  std::vector<LinkIndex> free_;         // given back, oldest first from head_
  std::size_t head_ = 0;
  std::vector<std::unique_ptr<NodeLink>> links_;
  std::vector<std::uint32_t> generations_;
};

}  // namespace slipway
