#pragma once
// Links from open to closed: hello both ways, classes, limits, keepalive, dead links, and calling again.
//
// A state machine: it does no I/O and reads no clock. Events and the time come in, what is to be done goes out
// through LinkSink. Control thread.
//
//   accepted stream:  open -> kGreeting -> hello heard -> record kUp on every worker -> answer sent -> up -> first
//                     frame heard: the other end is ready
//   made stream:      open -> kGreeting -> hello sent -> answer heard -> up -> keepalive sent: we are ready
//   datagram, taken:  hello with link id 0 -> challenge (nothing kept) -> hello with cookie -> as above
//   datagram, made:   record kGreeting -> hello -> challenge -> hello with cookie -> answer -> up
//   closing:          kClosing -> routes removed -> socket closed -> kFree on every worker -> index free again

#include <cstdint>
#include <deque>
#include <expected>
#include <functional>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/messages.h"
#include "frame/body.h"
#include "link/cookie.h"
#include "link/link_table.h"

namespace slipway {

// What the driver does for the state machine. All of it in order; nothing may call back into Links at once,
// except after_applied's function, later.
class LinkSink {
 public:
  virtual ~LinkSink() = default;
  virtual void open_stream(const LinkRecord& record, int fd) = 0;       // the descriptor to the owner; post_link follows
  virtual void open_edge(const LinkRecord& record, int fd, const EdgeProfile& profile) = 0;  // the same for an upstream link
  virtual void give_edge_key(const LinkRecord& record, const NegotiatedLink& agreed) = 0;    // to the owner; post_link follows
  virtual void post_link(const LinkRecord& record) = 0;                 // to every worker
  virtual void close_link(const NodeLink& link, std::uint32_t drain_ms) = 0;  // to the owner
  virtual void send(const LinkRecord& record, std::span<const std::byte> frame) = 0;
  // An answer to a hello that has no link: a shim with this link id, and the frame, to where the hello came from.
  virtual void answer(const Hello& hello, std::uint32_t link_id, std::span<const std::byte> frame) = 0;
  // Runs the function when every worker has applied what was posted so far.
  virtual void after_applied(std::move_only_function<void()> call) = 0;
  // Fills in what the way to record.peer needs (outer headers, datagram_bytes); an error if there is no way.
  virtual std::expected<void, std::string> find_way(LinkRecord& record) = 0;
  virtual void link_taken(const NodeLink& link) = 0;  // made by a hello in a datagram
  virtual void link_up(NodeLink& link) = 0;
  // The other end of a link that is up has taken it up too. Until then its worker may throw away what is no link frame.
  virtual void peer_ready(NodeLink& link) = 0;
  // Removes what the link subscribed; calls Links::forgotten(index) when nothing is left.
  virtual void link_lost(NodeLink& link) = 0;
  virtual void link_gone(const NodeLink& link) = 0;                         // the index is about to be free
  virtual void dial(std::uint32_t target) = 0;                          // make this connection now
  // Frames sent to and received from a link so far, over all workers.
  struct Traffic {
    std::uint64_t frames_sent = 0;
    std::uint64_t frames_in = 0;
  };
  virtual Traffic traffic(LinkIndex link) = 0;
  virtual std::vector<NameId> instances(const Name& name, std::size_t at_most, bool& truncated) = 0;
  virtual void no_route_told(const NodeLink& link, const NoRouteBody& notice) = 0;  // by a peer, of a frame of ours
  virtual void log(int level, std::string text) = 0;                    // 0 debug .. 3 error, as spdlog's less 1
};

struct LinkPolicy {
  std::string node_id;
  std::string version;
  std::string deployment;
  std::uint32_t keepalive_ms = 5'000;
  std::uint32_t max_frame_bytes = kMaxFrameBytes;
  std::uint32_t max_subscriptions = 0;
  std::uint32_t max_half_open = 256;
  std::uint32_t queue_bytes = kLinkQueueBytes;
  OverflowPolicy overflow = OverflowPolicy::kStall;
};

// An entry of `connect`.
struct LinkTarget {
  enum class State : std::uint8_t { kWaiting, kDialing, kGreeting, kUp, kRemoved };
  std::string name;
  std::string address;
  LinkClass link_class = LinkClass::kPeer;
  std::shared_ptr<const EdgeProfile> edge;  // an upstream node; null: a slipway
  std::uint32_t backoff_first_ms = 100;
  std::uint32_t backoff_max_ms = 10'000;
  State state = State::kWaiting;
  std::uint64_t next_ms = 0;       // kWaiting: when to dial
  std::uint32_t backoff_ms = 0;
  std::uint32_t attempts = 0;      // since it was last up
  LinkIndex link = kNoLink;
  std::string last_error;
  std::string peer_node_id;        // of an upstream peer that was up once: no second link to it is made
};

struct ClosedLink {
  LinkIndex index;
  std::string peer;
  std::string node_id;
  std::string reason;
  std::uint64_t closed_ms;
};

class Links {
 public:
  Links(LinkSink& sink, LinkPolicy policy, std::uint32_t max_links, std::uint64_t seed);

  LinkPolicy& policy() { return policy_; }
  LinkTable& table() { return table_; }
  [[nodiscard]] const LinkTable& table() const { return table_; }
  [[nodiscard]] const std::deque<ClosedLink>& recently_closed() const { return closed_; }
  [[nodiscard]] std::uint32_t half_open() const { return half_open_; }
  // False: as many links as may be are in the middle of their hello; who connects should wait.
  [[nodiscard]] bool may_accept() const { return half_open_ < policy_.max_half_open; }

  // --- streams that were accepted --------------------------------------------------------------------
  // The descriptor belongs to the link from here on; on an error it is still the caller's, who closes it.
  std::expected<LinkIndex, std::string> accept_stream(int fd, std::uint16_t owner, std::string transport, std::string peer,
                                                      std::uint64_t now_ms);

  std::expected<LinkIndex, std::string> accept_edge(int fd, std::uint16_t owner, std::string transport, std::string peer,
                                                    std::shared_ptr<const EdgeProfile> profile, std::uint64_t now_ms);

  // An application inside the node, on the control thread: up at once, ends by close().
  std::expected<LinkIndex, std::string> open_local(std::string name, std::uint64_t now_ms);

  // --- links that we make ----------------------------------------------------------------------------
  std::uint32_t add_target(LinkTarget target, std::uint64_t now_ms);   // dials at the next tick
  void remove_target(std::uint32_t target, std::uint64_t now_ms);      // closes its link
  [[nodiscard]] const std::vector<LinkTarget>& targets() const { return targets_; }
  void set_edge_profile(std::uint32_t target, std::shared_ptr<const EdgeProfile> profile) { targets_[target].edge = std::move(profile); }
  void dial_failed(std::uint32_t target, const std::string& why, std::uint64_t now_ms);
  std::expected<LinkIndex, std::string> dialed_stream(std::uint32_t target, int fd, std::uint16_t owner, std::string transport,
                                                      std::uint64_t now_ms);
  // `way`: transport, owner_worker, port, peer, datagram_bytes and outer are used. `own_udp_port`: of a DPDK port.
  std::expected<LinkIndex, std::string> dialed_datagram(std::uint32_t target, const LinkRecord& way, std::uint16_t own_udp_port,
                                                        std::string transport, std::uint64_t now_ms);

  // --- events ----------------------------------------------------------------------------------------
  void on_link_frame(LinkIndex link, std::uint32_t generation, std::span<const std::byte> frame, std::uint64_t now_ms);
  void on_hello(const Hello& hello, std::span<const std::byte> frame, std::uint64_t now_ms);
  void on_edge_open(const EdgeOpened& opened, std::uint64_t now_ms);
  void on_closed(const LinkClosed& closed, std::string_view text, std::uint64_t now_ms);
  void on_released(const LinkReleased& released);
  void on_stalled(const LinkStalled& stalled, bool is_stalled);
  void heard(LinkIndex link, std::uint32_t generation);  // a frame of this link came that is no link frame
  void forgotten(LinkIndex link);              // everything that it subscribed is removed
  void tick(std::uint64_t now_ms);

  // Tells the peer, drains, closes.
  void close(LinkIndex link, const std::string& why, std::uint64_t now_ms);
  // Hellos and negotiations that were refused, and link frames that made no sense: each closed its link.
  [[nodiscard]] std::uint64_t turned_away() const { return turned_away_; }
  // Outer headers of a kEthernet link changed.
  void set_outer(LinkIndex link, const OuterTemplate& outer);

 private:
  static constexpr int kDebug = 0, kInfo = 1, kWarn = 2;  // of LinkSink::log
  // What a peer calls itself may be shown anywhere: bounded, and nothing that moves a terminal's cursor.
  static std::string shown(std::string_view text);
  std::expected<NodeLink*, std::string> open(bool dialed, std::string transport, std::string peer, std::uint64_t now_ms);
  std::expected<LinkIndex, std::string> dialed(std::uint32_t target, const LinkRecord& way, std::string transport,
                                               std::uint16_t own_udp_port, int fd, std::uint64_t now_ms);
  void edge_message(NodeLink& link, std::span<const std::byte> message, std::uint64_t now_ms);
  void edge_step(NodeLink& link, NegotiationStep step, std::uint64_t now_ms);
  void edge_agreed(NodeLink& link, std::vector<std::byte> reply, std::uint64_t now_ms);
  bool yields_to_twin(NodeLink& link, const std::string& node_id, std::uint64_t now_ms);
  [[nodiscard]] bool peer_is_linked(const LinkTarget& target);
  void send_edge(const NodeLink& link, std::span<const std::byte> message);
  void watch_edge(NodeLink& link, std::uint64_t now_ms);
  void say_hello(NodeLink& link, std::uint64_t now_ms);
  void hello_heard(NodeLink& link, const HelloBody& hello, std::uint64_t now_ms);
  void answer_heard(NodeLink& link, const HelloReplyBody& reply, std::uint64_t now_ms);
  void keepalive_heard(NodeLink& link, const KeepaliveBody& body, std::uint64_t now_ms);
  // Why a hello is refused, or empty. May close an older link of the same node.
  std::string judge(const NodeLink* own, const HelloBody& hello, bool we_dialed, std::uint64_t now_ms);
  void take_terms(NodeLink& link, const HelloBody& hello);
  void bring_up(NodeLink& link, std::uint64_t now_ms);
  void answer(NodeLink& link);
  void ready(NodeLink& link);
  HelloReplyBody reply_of(const NodeLink& link) const;
  void refuse(NodeLink& link, const std::string& why, std::uint64_t now_ms);
  // For what it said, or did not say, before it was up: counted.
  void turn_away(NodeLink& link, const std::string& why, std::uint64_t now_ms);
  void drop(NodeLink& link, const std::string& why, std::uint32_t drain_ms, std::uint64_t now_ms);
  void settle(NodeLink& link);
  void watch(NodeLink& link, std::uint64_t now_ms);
  void back_off(LinkTarget& target, const std::string& why, std::uint64_t now_ms);

  struct DatagramKey {
    std::uint8_t transport;
    std::uint16_t port;
    std::array<std::uint8_t, 16> address;
    std::uint16_t source_port;       // 0: it varies, the peer's link id tells
    std::uint32_t peer_link_id;
    auto operator<=>(const DatagramKey&) const = default;
  };
  static DatagramKey key_of(const Hello& hello, const HelloBody& body);
  static DatagramKey key_of(const NodeLink& link);

  LinkSink& sink_;
  LinkPolicy policy_;
  LinkTable table_;
  CookieJar cookies_;
  OpensslKeySource edge_keys_;
  std::vector<LinkTarget> targets_;
  std::map<DatagramKey, LinkIndex> datagrams_;  // links that were taken
  std::deque<ClosedLink> closed_;
  std::uint32_t half_open_ = 0;
  std::uint64_t turned_away_ = 0;
  std::uint64_t jitter_;
};

}  // namespace slipway
