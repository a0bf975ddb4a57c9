#pragma once
// A socket engine that a test steps by hand: its own pool, counters, budget and clock; peers are the other ends of
// socket pairs or loopback connections. Frames go where `routes` says.

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <span>
#include <vector>

#include <rte_mempool.h>

#include "frame/frame.h"
#include "port/pool.h"
#include "port/socket_engine.h"

namespace slipway::test {

using Bytes = std::vector<std::byte>;

// A valid frame of `bytes` (header and body), told apart by `number`; its body depends on both.
Bytes make_frame_bytes(std::uint32_t bytes, std::uint32_t number);
std::uint32_t number_of(std::span<const std::byte> frame);
bool intact(std::span<const std::byte> frame);
// With the length before it.
Bytes prefixed(const Bytes& frame);

// The far end of a stream.
class Peer {
 public:
  explicit Peer(int fd) : fd_(fd) {}
  ~Peer() { close_now(); }
  Peer(const Peer&) = delete;
  Peer& operator=(const Peer&) = delete;
  [[nodiscard]] int fd() const { return fd_; }

  // As much as the socket takes now; returns how much.
  std::size_t write_some(std::span<const std::byte> bytes);
  // Reads what is there, at most `most` bytes; whole frames go to `frames`.
  std::size_t read_some(std::size_t most = ~std::size_t{0});
  [[nodiscard]] bool ended() const { return ended_; }
  void reset();      // closes with RST
  void close_now();

  std::vector<Bytes> frames;

 private:
  int fd_;
  bool ended_ = false;
  Bytes pending_;
};

enum class PairKind { kUnix, kTcp };
std::pair<int, int> make_pair_of(PairKind kind);  // both non-blocking
int udp_socket(bool ipv6, IpEndpoint& local);     // bound to loopback, non-blocking

struct RigOptions {
  std::uint32_t mbufs = 8192;
  std::uint32_t slab_pieces = 128;
  std::uint32_t queue_frames = 0;
  std::size_t budget_bytes = kNodeBudgetBytes;
  NodeBudget* budget = nullptr;           // shared with another rig
  CongestionTable* congestion = nullptr;
  bool segment_offload = true;
  bool start = true;                      // false: the thread that will own the engine starts it
};

class Rig {
 public:
  explicit Rig(const RigOptions& options = {});
  ~Rig();  // closes all and checks that every mbuf, every piece and every byte of the budget came home

  // Opens a link on `fd`; the record is kUp at once.
  LinkIndex add_stream(int fd, std::uint32_t queue_bytes = kLinkQueueBytes, OverflowPolicy overflow = OverflowPolicy::kStall);
  std::unique_ptr<Peer> add_peer(LinkIndex& link, PairKind kind = PairKind::kTcp, std::uint32_t queue_bytes = kLinkQueueBytes,
                                 OverflowPolicy overflow = OverflowPolicy::kStall);
  std::uint16_t add_port(int fd);
  LinkIndex add_datagram_link(std::uint16_t port, const IpEndpoint& peer, std::uint16_t datagram_bytes = 1400);
  LinkRecord& record(LinkIndex link) { return records.at(link); }
  void close_link(LinkIndex link, std::uint32_t drain_ms = 0);

  // One loop at the rig's time. Returns the frames that came.
  std::uint32_t step();
  void steps(int count);
  void advance_ms(std::uint64_t ms) { now_ns += ms * 1'000'000; }
  // Steps until `done`; false when 20,000 steps were not enough.
  bool run_until(const std::function<bool()>& done);
  void send(LinkIndex to, const Bytes& frame, bool pausable = false);
  void check_books() const;

  struct SeenEvent {
    Event type;
    Bytes bytes;
    template <class T>
    [[nodiscard]] T as() const {
      T record;
      std::memcpy(&record, bytes.data(), sizeof record);
      return record;
    }
  };
  std::vector<SeenEvent> events();   // all since the last call
  [[nodiscard]] std::uint64_t drops(DropReason reason) const { return counters->drops[static_cast<std::size_t>(reason)].get(); }

  std::uint64_t now_ns = 1'000'000'000;
  MbufPool pool;
  std::unique_ptr<WorkerCounters> counters;
  LinkCounters* link_counters;
  NodeBudget own_budget;
  NodeBudget* budget;
  std::unique_ptr<CongestionTable> own_congestion;
  CongestionTable* congestion;
  MailRing ring{kEventRingBytes};
  std::unique_ptr<SocketEngine> engine;
  std::map<LinkIndex, LinkRecord> records;
  std::map<LinkIndex, std::vector<LinkIndex>> routes;  // in to outs
  std::function<bool(rte_mbuf*)> on_frame;             // true: it took the frame over
  std::vector<Bytes> received;                         // frames without a route, copied
  std::uint64_t copies = 0;
  bool closed = false;                                 // its owner has called close_all()
  LinkIndex next_link = 1;
  std::uint16_t next_port = 0;
  std::vector<rte_mbuf*> burst{32};
};

}  // namespace slipway::test
