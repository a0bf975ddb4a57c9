#pragma once
// The native client: a link to a node, shared by the applications of a process.
//
//   auto loop = Loop::create().value();
//   auto link = ClientLink::open(*loop, {.address = "tcp://127.0.0.1:46367"}).value();
//   ClientApplication app(*link, parse_name("org/ns/echo").value(), {.on_message = [](const ClientMessage& m) { ... }});
//   app.subscribe_self([](ClientResult result) { ... });
//   loop->run();
//
// Threads: a link, its applications and its loop belong to one thread; other threads reach them by Loop::post.
// Callbacks run inside Loop::turn, never inside the call that they answer. They must not throw, and must not destroy
// a link or an application of the link that called them (defer that: Loop::defer).
//
// Which application gets a message. A node never sends a frame back to the link it came from, so the applications
// of one link find each other here, by the node's own rules, before the node is asked:
//   to one (anycast, unicast): nearest first. A subscriber of the same link, other than the sender, gets it; with
//                              several, round robin. Only when there is none does it go to the node.
//   to all (channel):          both: every other subscriber of the same link, and the node.
// What the node sends to one subscriber of a name of which several applications of this link are members goes to one
// of them, round robin. An application never receives what it sent itself.
//
// A lost link is opened again by itself, waiting longer after each failure, and everything that is subscribed is
// subscribed again. Publishes are refused meanwhile (kNotConnected): nothing is sent late.

#include <cstdint>
#include <deque>
#include <expected>
#include <functional>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "client/client_bounds.h"
#include "client/endpoint.h"
#include "client/local_routes.h"
#include "client/wire.h"
#include "frame/body.h"
#include "frame/frame.h"
#include "loop/loop.h"

namespace slipway {

class ClientApplication;
class ClientLink;
class DatagramWire;

using ClientResult = std::expected<void, std::string>;  // the error is a sentence for people

enum class ClientLinkPhase : std::uint8_t {
  kConnecting,  // the transport
  kGreeting,    // hello was sent
  kUp,
  kWaiting,     // lost or refused; tries again when the wait is over
  kClosed,      // for good: by close(), or lost without `reconnect`
};
std::string_view phase_text(ClientLinkPhase phase);

struct ClientLinkOptions {
  std::string address;                             // endpoint.h
  std::string client_name;                         // how the node's `links` shows us; empty: program and process id
  std::uint32_t max_frame_bytes = kMaxFrameBytes;  // that we take; datagram links: at most kMaxDatagramFrameBytes
  std::size_t queue_bytes = kClientQueueBytes;     // waiting to be written, before publishes are refused
  std::uint32_t keepalive_ms = 5'000;              // silence after which the node is asked whether it lives
  std::uint32_t connect_ms = 3'000;                // for the transport, and again for the hello
  std::uint32_t backoff_first_ms = 50;             // before the second try; doubles up to
  std::uint32_t backoff_max_ms = 5'000;            //   this; each wait varies by a quarter
  std::uint32_t absent_max_ms = 5'000;             // and up to this where nobody answered at all: to ask an empty port costs little
  bool reconnect = true;
  bool retry_first = true;                         // false: a link that fails before it was ever up is closed for good
  // Each change of phase; `why` says what went wrong, or is empty.
  std::function<void(ClientLinkPhase phase, const std::string& why)> on_phase;
};

// The node dropped a publish of ours. One notice can stand for many: `more` further ones since the last notice.
struct NoRouteNotice {
  std::string_view reason;  // stable name of the drop reason
  std::string_view what;    // in words
  std::string_view advice;
  Name destination;
  Name source;
  std::uint32_t session_id = 0;
  std::uint32_t message_id = 0;
  std::uint64_t more = 0;
};

struct InstancesAnswer {
  std::vector<NameId> ids;
  bool truncated = false;  // there are more
};

struct ClientLinkCounters {
  std::uint64_t frames_sent = 0;      // given to the wire
  std::uint64_t frames_received = 0;
  std::uint64_t frames_local = 0;     // copies between applications of this link
  std::uint64_t unmatched = 0;        // received, but nobody subscribes to it (any more)
  std::uint64_t malformed = 0;        // received and not understood
  std::uint64_t refused = 0;          // publishes that were not taken
  std::uint64_t no_route_notices = 0;
  std::uint64_t no_route = 0;         // publishes that the notices stand for
  std::uint64_t ups = 0;              // times the link came up
};

class ClientLink final : private FrameSink {
 public:
  // Starts to connect; what goes wrong from here on is told to on_phase. Error: the address makes no sense.
  static std::expected<std::unique_ptr<ClientLink>, std::string> open(Loop& loop, ClientLinkOptions options);
  ~ClientLink();
  ClientLink(const ClientLink&) = delete;
  ClientLink& operator=(const ClientLink&) = delete;

  // Says bye, writes what the socket takes at once, and closes.
  void close();

  [[nodiscard]] ClientLinkPhase phase() const { return phase_; }
  [[nodiscard]] bool up() const { return phase_ == ClientLinkPhase::kUp; }
  // Up, and every subscription has been answered.
  [[nodiscard]] bool settled() const { return up() && unanswered_ == 0 && to_send_.empty(); }
  [[nodiscard]] const std::string& last_trouble() const { return last_trouble_; }
  [[nodiscard]] const Endpoint& endpoint() const { return endpoint_; }
  [[nodiscard]] const HelloReplyBody& node() const { return node_; }  // what the node said, when up
  [[nodiscard]] const ClientLinkCounters& counters() const { return counters_; }
  [[nodiscard]] std::size_t queued_bytes() const { return wire_ ? wire_->queued_bytes() : 0; }
  [[nodiscard]] std::uint64_t round_trip_ns() const { return round_trip_ns_; }  // of the last keepalive; 0: none yet
  [[nodiscard]] Loop& loop() { return loop_; }

  // Writes now instead of at the end of the turn.
  void flush();

  // From inside of a callback: what else was received over a stream waits for the next turn. For those whom a message costs
  // milliseconds, so that the loop's other users get their share.
  void rest() { resting_ = reading_ && datagram_ == nullptr; }

  // From inside of on_message: true, the message's bytes stay as they are until on_reuse of the application is called, or the
  // application or the link is gone; false, they do not (datagrams, and what comes from this link's own applications).
  [[nodiscard]] bool hold() {
    held_ = held_ || (reading_ && datagram_ == nullptr);
    return reading_ && datagram_ == nullptr;
  }

  // Asks the node which instances of a service it knows. Asked again when unanswered, and fails after some seconds.
  void instances(const Name& service, std::function<void(std::expected<InstancesAnswer, std::string>)> done);

 private:
  friend class ClientApplication;

  enum class SubscriptionState : std::uint8_t { kQueued, kSent, kConfirmed, kRemoveQueued, kRemoveSent };
  struct Subscription {
    TextName name;
    TextName source;
    ClientApplication* application;  // null: it is gone
    std::function<void(ClientResult)> done;
    SubscriptionState state = SubscriptionState::kQueued;
    std::uint32_t tries = 0;
    std::uint64_t sent_ns = 0;
  };
  struct Query {
    Name service;
    std::function<void(std::expected<InstancesAnswer, std::string>)> done;
    std::uint32_t tries = 0;
    std::uint64_t sent_ns = 0;
  };
  struct Sent {
    std::uint64_t id;
    std::uint64_t sent_ns;
  };

  ClientLink(Loop& loop, ClientLinkOptions options, Endpoint endpoint);

  // Connecting and losing (link.cc).
  void start_connect();
  void connect_now();
  void connected(int fd);
  void open_datagram();
  void on_descriptor(std::uint32_t events);
  void read();
  void read_on();
  void say_hello();
  void set_phase(ClientLinkPhase phase, const std::string& why);
  void lose(const std::string& why);  // now, or when the wire has returned
  void tear_down(const std::string& why);
  void tick();
  void arm_tick();
  void check_keepalive(std::uint64_t now);

  // Frames in and out (link_frames.cc).
  bool on_frame(std::span<const std::byte> frame) override;
  void on_reuse() override;
  bool on_link_frame(std::span<const std::byte> frame);
  bool on_hello_reply(HelloReplyBody&& reply);
  void on_no_route(const NoRouteBody& body);
  void deliver(std::span<const std::byte> frame, const ClientApplication* except);
  void send_control(std::span<const std::byte> frame);
  void after_write(WireStatus status);
  void schedule_flush();
  void deliver_local();
  // Room for a frame towards applications of this link; the caller fills it at once.
  std::byte* begin_local(ClientApplication* from, std::uint32_t frame_bytes);
  void tell_writable();

  // Subscriptions and queries (link_subscriptions.cc).
  std::uint64_t subscribe(ClientApplication* application, const TextName& name, std::function<void(ClientResult)> done);
  void unsubscribe(std::uint64_t id, std::function<void(ClientResult)> done);
  void forget_application(ClientApplication* application);
  void pump_subscriptions();
  void send_subscription(std::uint64_t id, Subscription& subscription);
  void on_ack(const SubscriptionAckBody& ack);
  void requeue_subscriptions();
  void check_subscriptions(std::uint64_t now);
  void fail_subscription(std::uint64_t id, const std::string& why);
  void check_queries(std::uint64_t now);
  void send_query(std::uint64_t id, Query& query);

  Loop& loop_;
  ClientLinkOptions options_;
  Endpoint endpoint_;
  Resolver resolver_{loop_};
  std::uint64_t question_ = 0;   // of the resolver; 0: none is open
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);  // deferred calls look whether we still exist

  ClientLinkPhase phase_ = ClientLinkPhase::kConnecting;
  int connecting_fd_ = -1;
  std::unique_ptr<Wire> wire_;
  DatagramWire* datagram_ = nullptr;  // wire_, if it is one
  HelloReplyBody node_;
  std::vector<std::byte> cookie_;
  std::string last_trouble_;
  std::string pending_loss_;     // found while the wire was reading
  bool reading_ = false;
  bool held_ = false;            // somebody relies on bytes that were received
  bool resting_ = false;         // more was received than has been handed out, or may have been
  bool read_on_scheduled_ = false;
  bool flush_scheduled_ = false;
  bool blocked_ = false;         // the socket took no more
  bool someone_waits_ = false;   // a publish was refused: kQueueFull
  std::uint32_t failures_ = 0;
  std::uint32_t max_out_bytes_ = 0;
  std::uint64_t phase_since_ns_ = 0;
  std::uint64_t hello_sent_ns_ = 0;
  std::uint64_t received_ns_ = 0;
  std::uint64_t sent_ns_ = 0;
  std::uint64_t asked_ns_ = 0;
  std::uint64_t round_trip_ns_ = 0;
  TimerId tick_timer_ = TimerId::kNone;
  std::uint64_t tick_at_ns_ = 0;
  TimerId retry_timer_ = TimerId::kNone;

  std::vector<ClientApplication*> applications_;
  LocalRoutes routes_;
  std::vector<ClientApplication*> receivers_;  // of the channel message being delivered
  struct LocalFrame {
    ClientApplication* from;
    std::uint32_t bytes;
  };
  std::vector<LocalFrame> local_frames_;
  std::vector<std::byte> local_bytes_;

  std::uint64_t next_id_;
  std::unordered_map<std::uint64_t, Subscription> subscriptions_;
  std::deque<std::uint64_t> to_send_;
  std::deque<Sent> sent_;       // in the order of sending; some are answered already
  std::uint32_t unanswered_ = 0;
  std::unordered_map<std::uint64_t, Query> queries_;

  ClientLinkCounters counters_;
};

}  // namespace slipway
