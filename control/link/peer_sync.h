#pragma once
// Subscriptions carried to neighbouring nodes (upstream-node 5.6), over links of class peer.
//
// A name that a link of this node other than a peer's subscribes to is announced to all peers, once, under an id of
// our own; it is withdrawn when the last such link leaves it. What one peer announces is passed on to the others
// while its hop limit lasts, under its own id; an id that was passed on once is not taken a second time, so that
// announcements end in loops of nodes too. A peer that comes up is told everything, in slices; a peer that is lost
// takes back what it announced.
//
// Costs nothing until the first peer is up. State machine; control thread.

#include <array>
#include <cstdint>
#include <functional>
#include <map>
#include <set>
#include <span>
#include <string>
#include <unordered_map>
#include <vector>

#include "control_counters.h"
#include "frame/body.h"
#include "link/link_table.h"
#include "routing/subscription_database.h"

namespace slipway {

class PeerSync {
 public:
  using Words = std::array<std::string, 3>;
  using Send = std::function<void(const LinkRecord&, std::span<const std::byte>)>;
  PeerSync(SubscriptionDatabase& database, LinkTable& links, ControlCounters& counters, Send send, std::uint64_t seed);
  // Each peer is linked with each: what one announces is not passed on. Before the first link is up.
  void set_full_mesh() { full_mesh_ = true; }

  void link_up(const NodeLink& peer);
  void link_lost(LinkIndex peer);      // before its routes are removed
  void on_transition(const Transition& transition);

  // A Subscribe from a peer: whether it is new here; if not it is only acknowledged.
  [[nodiscard]] bool fresh(const Name& name, std::uint64_t id) const;
  // It was taken; passed on when enough hops are left.
  void announced(LinkIndex from, const Name& name, std::uint64_t id, std::uint8_t hop_limit);
  // text: of the name, which the database may not know any more.
  void withdrawn(LinkIndex from, const Name& name, std::uint64_t id, const Words& text);
  // Whether a message of a peer with so many hops left began with that peer, which is then done with the name.
  [[nodiscard]] bool first_hand(std::uint8_t hop_limit) const;
  void acknowledged(LinkIndex from, const SubscriptionAckBody& ack);

  // Goes on with what is too long for one turn. True: there is more.
  bool pump(std::uint64_t now_ms);
  void tick(std::uint64_t now_ms);     // sends again what datagrams have lost

  [[nodiscard]] std::size_t announced_names() const { return local_.size(); }
  [[nodiscard]] std::size_t relayed_names() const { return relayed_.size(); }

 private:
  struct NameOrder {
    bool operator()(const Name& a, const Name& b) const {
      return a.component != b.component ? a.component < b.component : a.id < b.id;
    }
  };
  struct Local {
    std::uint64_t id;
    std::uint8_t classes;    // of the links on it, peers aside
  };
  struct RelayKey {
    Name name;
    std::uint64_t id;
    bool operator<(const RelayKey& o) const { return id != o.id ? id < o.id : NameOrder{}(name, o.name); }
  };
  struct Relay {
    LinkIndex from;
    std::uint8_t hop_limit;  // with which it is passed on; below 2: it is not
  };
  struct Unanswered {
    FrameBytes frame;
    std::uint64_t sent_ms;
    std::uint32_t tries;
  };
  struct Peer {
    std::uint32_t generation;
    bool datagram;
    bool syncing_local = true;       // full synchronisation: where it stands
    bool syncing_relayed = true;
    Name local_next{};
    RelayKey relay_next{};
    bool local_started = false;
    bool relay_started = false;
    std::map<std::uint64_t, Unanswered> unanswered;  // datagram links only
  };

  bool build();
  [[nodiscard]] std::uint8_t own_hops() const;
  void set_classes(const Name& name, std::uint8_t classes, const Words& text);
  std::uint64_t new_id();
  struct Announcement {
    bool add;
    const Name& name;
    std::uint64_t id;
    std::uint8_t hop_limit;
    const Words& text;
  };
  void tell(LinkIndex link, Peer& peer, const Announcement& what);
  void tell_local(const Announcement& what);
  void tell_relayed(LinkIndex but, const Announcement& what);
  bool sync_slice(LinkIndex link, Peer& peer);
  static FrameBytes frame_of(const Announcement& what);

  SubscriptionDatabase& database_;
  LinkTable& links_;
  ControlCounters& counters_;
  Send send_;
  bool full_mesh_ = false;
  bool active_ = false;              // a peer has been up
  bool built_ = false;               // local_ holds every name of the database
  std::uint32_t build_page_ = 0;
  std::map<Name, Local, NameOrder> local_;
  std::map<RelayKey, Relay> relayed_;
  std::map<LinkIndex, Peer> peers_;
  std::uint64_t next_id_;
  std::uint64_t now_ms_ = 0;
};

}  // namespace slipway
