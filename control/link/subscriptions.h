#pragma once
// Subscribe, Unsubscribe and their acknowledgements (upstream-node 5): from a frame that a worker punted to a change
// of the database and, when every worker has applied it, the answer. A change that some worker does not apply in
// time is taken back and answered with a failure that names the worker.
//
// State machine; control thread.

#include <cstdint>
#include <deque>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "control_counters.h"
#include "frame/body.h"
#include "link/link_table.h"
#include "link/peer_sync.h"
#include "routing/subscription_database.h"

namespace slipway {

class SubscriptionSink {
 public:
  virtual ~SubscriptionSink() = default;
  virtual void send(const LinkRecord& record, std::span<const std::byte> frame) = 0;
  // A number that grows, for all that was posted to workers so far: applied() or not_applied() comes back with it.
  virtual std::uint64_t ticket() = 0;
  // A worker that is far behind with its commands; empty: none is.
  virtual std::string worker_behind() = 0;
  virtual void forgotten(LinkIndex link) = 0;   // nothing that it subscribed is left
  virtual void answer_soon() = 0;               // calls Subscriptions::answer_late() kPeerAckDelayMs from now
  virtual void log(int level, std::string text) = 0;
};

class Subscriptions {
 public:
  Subscriptions(SubscriptionDatabase& database, LinkTable& links, ControlCounters& counters, SubscriptionSink& sink,
                std::uint64_t seed);

  // A Subscribe, Unsubscribe or SubscriptionAck of a link. Its hop limit is what is left.
  void on_frame(LinkIndex link, std::uint32_t generation, std::span<const std::byte> frame);
  // After a burst of frames: what they changed gets its ticket.
  void flush();
  void applied(std::uint64_t ticket);
  void not_applied(std::uint64_t ticket, const std::string& worker);
  void answer_late();

  void set_full_mesh() { peers_.set_full_mesh(); }
  void link_up(const NodeLink& link);
  void peer_ready(const NodeLink& link);   // it can be told what we know
  void link_lost(LinkIndex link);     // ends with SubscriptionSink::forgotten, at once or after some pump()s

  std::expected<void, std::string> add_static(LinkIndex link, const TextName& name);
  std::expected<void, std::string> remove_static(LinkIndex link, const TextName& name);

  // Goes on with what is too long for one turn. True: there is more.
  bool pump(std::uint64_t now_ms);
  void tick(std::uint64_t now_ms) { peers_.tick(now_ms); }

  [[nodiscard]] std::size_t waiting() const { return waiting_.size() + unflushed_.size(); }
  [[nodiscard]] const PeerSync& peers() const { return peers_; }

 private:
  struct Waiting {
    std::uint64_t ticket;
    LinkIndex link;
    std::uint32_t generation;
    std::uint64_t subscription_id;
    Change change;
  };
  struct LateAck {
    LinkIndex link;
    std::uint32_t generation;
    SubscriptionAckBody ack;
  };
  void on_subscribe(const NodeLink& link, const FrameHeader& header, const SubscribeBody& body);
  void answer(LinkIndex link, std::uint32_t generation, std::uint64_t id, bool success, const std::string& error);
  void propagate(const NodeLink& link, const FrameHeader& header, const SubscribeBody& body, const Change& change);

  SubscriptionDatabase& database_;
  LinkTable& links_;
  ControlCounters& counters_;
  SubscriptionSink& sink_;
  PeerSync peers_;
  std::deque<Waiting> waiting_;
  std::vector<Waiting> unflushed_;
  std::deque<LinkIndex> leaving_;
  std::vector<LateAck> late_acks_;   // have waited for less than kPeerAckDelayMs
  std::vector<LateAck> due_acks_;
};

}  // namespace slipway
