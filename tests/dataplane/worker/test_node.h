#pragma once
// A node without its control thread, for tests: EAL, ports on DPDK's ring driver, sockets by socketpair, the
// subscription database, and workers that the test steps by hand with a clock of its own.

#include <array>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "frame/frame.h"
#include "frame/shim.h"
#include "port/dpdk_port.h"
#include "port/pool.h"
#include "routing/subscription_database.h"
#include "worker/worker.h"

struct rte_ring;

namespace slipway::test {

using Bytes = std::vector<std::byte>;

// What came out of a link: the frame, and how many packets it took.
struct Delivered {
  LinkIndex link = kNoLink;
  Bytes frame;
};

struct WorkerSpec {
  bool sockets = false;
  std::vector<std::uint16_t> rx_ports;   // receives from these
  std::vector<std::uint16_t> tx_ports;   // and has a queue to send to these
  IdlePolicy idle = IdlePolicy::kPause;
  int cpu = -1;
};
struct NodeSpec {
  std::vector<WorkerSpec> workers{{.sockets = false, .rx_ports = {0, 1}, .tx_ports = {0, 1}}};
  std::uint16_t ports = 2;
  std::uint32_t mbufs = 4096;
  AnycastOrder order = AnycastOrder::kNearest;
  AnycastPolicy policy = AnycastPolicy::kRoundRobin;
  bool peers_full_mesh = false;
  std::uint32_t punts_per_second = 0;
  std::uint32_t notices_per_second = 0;
  std::size_t budget_bytes = kNodeBudgetBytes;
  std::uint32_t max_link_subscriptions = 100'000;
};

// A publish whose body is `body_bytes` long and carries `message` at its begin.
struct PublishSpec {
  Name to;
  Name from{{7, 7, 7}, {1, 1}};
  std::uint32_t fanout = 1;
  std::uint32_t message = 1;
  std::uint32_t session = 1;
  std::size_t body_bytes = 64;
  std::uint8_t hops = kDefaultHopLimit;
};
Bytes make_publish(const PublishSpec& spec);
Bytes make_control(FrameKind kind, const Name& name, std::size_t body_bytes = 32, std::uint8_t hops = kDefaultHopLimit);
std::uint32_t message_of(const Bytes& frame);
Name test_name(std::uint64_t n, bool exact = false);

class TestNode {
 public:
  explicit TestNode(const NodeSpec& spec);
  ~TestNode();  // checks that every mbuf came home

  // --- links ---
  LinkIndex add_ethernet(std::uint16_t port, std::uint16_t owner = 0, LinkClass link_class = LinkClass::kEdge);
  LinkIndex add_stream(std::uint16_t owner = 0, LinkClass link_class = LinkClass::kEdge);
  LinkIndex add_control(std::uint16_t owner = 0);  // an application inside the node
  LinkRecord& record(LinkIndex link) { return links_.at(link).record; }
  void post_link(LinkIndex link);                 // its record as it is now, to all workers
  void remove(LinkIndex link);                    // kFree on all workers; its subscriptions go first
  void subscribe(LinkIndex link, const Name& name);
  void unsubscribe(LinkIndex link, const Name& name);

  // --- traffic ---
  void send(LinkIndex from, const Bytes& frame);  // into the node, cut where it must be
  void send_packet(std::uint16_t port, const Bytes& packet);
  Bytes packet_of(LinkIndex from, std::span<const std::byte> payload);  // around a shim and a piece
  std::vector<Delivered> take();                  // what has come out of all links since
  std::vector<Bytes> take_packets(std::uint16_t port);
  int socket_of(LinkIndex link) { return links_.at(link).peer_fd; }

  // --- time and work ---
  std::uint32_t step(std::size_t worker = 0);     // one loop, 10 us later
  void settle(int loops = 200);                   // steps all workers until none has anything to do
  void pass_ms(std::uint64_t ms) { now_ns_ += ms * 1'000'000; }
  std::uint64_t now_ns() const { return now_ns_; }

  // --- workers on threads of their own ---
  void wake_all();
  [[nodiscard]] bool all_applied();

  // --- what it says of itself ---
  Worker& worker(std::size_t i = 0) { return (*group_)[i]; }
  WorkerGroup& group() { return *group_; }
  std::uint64_t drops(DropReason reason) const;
  std::uint64_t total(Counter WorkerCounters::*field) const;
  std::vector<std::pair<Event, Bytes>> events(std::size_t worker = 0);
  // Empty, or which equation does not hold. Call between loops.
  std::string books() const;
  rte_mempool* pool() { return pool_.get(); }
  SubscriptionDatabase& routes() { return *database_; }
  Doorbell& control_doorbell() { return *control_; }
  DpdkPort& port(std::uint16_t n) { return *ports_[n]; }
  std::uint32_t mbufs_out() const;                // of the pool, in use now

 private:
  struct Link {
    LinkRecord record;
    int peer_fd = -1;
    Bytes received;                    // of a stream, not yet a whole frame
    std::uint64_t counter = 0;
    std::uint16_t frame_number = 0;
    std::map<std::uint32_t, Bytes> pieces;   // by frame number: what came so far
  };
  void read_streams(std::vector<Delivered>& out);
  void read_ports(std::vector<Delivered>& out);

  NodeSpec spec_;
  MbufPool pool_;
  std::vector<std::unique_ptr<DpdkPort>> ports_;
  std::vector<rte_ring*> rings_;
  std::unique_ptr<SubscriptionDatabase> database_;
  std::vector<RouteTable> tables_;
  std::unique_ptr<Doorbell> control_;
  std::unique_ptr<WorkerGroup> group_;
  std::map<LinkIndex, Link> links_;
  std::map<LinkIndex, std::vector<Name>> names_;
  LinkIndex next_link_ = 1;
  std::uint32_t generation_ = 1;
  std::uint64_t now_ns_ = 1'000'000'000;
  std::uint64_t subscription_ = 1;
};

}  // namespace slipway::test
