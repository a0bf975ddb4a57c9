#pragma once
// Nodes without I/O: the real state machines of links and subscriptions, a network of queues between them, a clock
// that is set by hand. What workers do (the hop limit, punting by link) is played.

#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "frame/body.h"
#include "link/links.h"
#include "link/subscriptions.h"
#include "routing/subscription_database.h"

namespace slipway {

class SimNode;

class SimNetwork {
 public:
  struct End {
    SimNode* node = nullptr;
    LinkIndex link = kNoLink;
    std::uint32_t generation = 0;
  };
  // A stream between two nodes; frames go both ways in order. Raw ends (a client of the test) have no node.
  int make_stream() {
    streams_.push_back({});
    return static_cast<int>(streams_.size() - 1);
  }
  struct Stream {
    End end[2];
    std::deque<FrameBytes> to_client;  // of an end without a node
    bool cut = false;
  };
  Stream& stream(int number) { return streams_[static_cast<std::size_t>(number)]; }
  void run();  // until nothing moves

  std::uint64_t now_ms = 1'000'000;
  std::vector<SimNode*> nodes;

 private:
  std::deque<Stream> streams_;
};

class SimNode final : public LinkSink, public SubscriptionSink {
 public:
  SimNode(SimNetwork& network, std::string id, std::string deployment = "")
      : network_(network),
        database(*SubscriptionDatabase::create(RouteSecret::from_seed(7), {.max_routes = 100'000, .max_link_subscriptions = 1'000})),
        links(*this, policy(id, deployment), 200, std::hash<std::string>{}(id)),
        subscriptions(*database, links.table(), counters, *this, std::hash<std::string>{}(id)) {
    network_.nodes.push_back(this);
  }
  ~SimNode() override { std::erase(network_.nodes, this); }

  static LinkPolicy policy(const std::string& id, const std::string& deployment) {
    LinkPolicy out;
    out.node_id = id;
    out.version = "1.0.0";
    out.deployment = deployment;
    out.keepalive_ms = 1'000;
    out.max_subscriptions = 1'000;
    out.max_half_open = 4;
    return out;
  }

  // --- what tests do
  int accept_client() {  // a stream whose other end is the test
    const int stream = network_.make_stream();
    auto link = links.accept_stream(stream * 2, 0, "tcp", "client", network_.now_ms);
    return link ? stream : -1;
  }
  // Dials `other` by stream, as configured targets do.
  std::uint32_t connect_to(SimNode& other, LinkClass link_class = LinkClass::kPeer) {
    dial_to_[static_cast<std::uint32_t>(links.targets().size())] = &other;
    LinkTarget target;
    target.name = other.links.policy().node_id;
    target.address = "tcp://" + target.name;
    target.link_class = link_class;
    return links.add_target(target, network_.now_ms);
  }
  void deliver(LinkIndex link, std::uint32_t generation, FrameBytes frame) {
    const auto kind = frame_kind(frame.data());
    ++frames_in[link];
    if (kind == static_cast<std::uint8_t>(FrameKind::kSubscribe) || kind == static_cast<std::uint8_t>(FrameKind::kUnsubscribe)) {
      const auto hops = frame_hop_limit(frame.data());
      if (hops <= 1) {
        return;
      }
      set_frame_hop_limit(frame.data(), hops - 1);
    }
    if (kind == static_cast<std::uint8_t>(FrameKind::kLink)) {
      links.on_link_frame(link, generation, frame, network_.now_ms);
    } else {
      links.heard(link, generation);
      subscriptions.on_frame(link, generation, frame);
    }
  }
  // One turn of the control thread. True when something was left to do.
  bool turn() {
    subscriptions.flush();
    const bool more = subscriptions.pump(network_.now_ms);
    std::vector<std::move_only_function<void()>> calls;
    if (!hold_applied) {
      std::swap(calls, calls_);
      if (tickets_ != told_) {
        told_ = tickets_;
        subscriptions.applied(told_);
      }
    }
    for (auto& call : calls) {
      call();
    }
    return more || !calls.empty();
  }
  void late(const std::string& worker) { subscriptions.not_applied(told_ = tickets_, worker); }
  void tick() {
    links.tick(network_.now_ms);
    subscriptions.tick(network_.now_ms);
  }
  [[nodiscard]] bool knows(const Name& name) const { return database->matches(name); }

  // --- LinkSink
  void open_stream(const LinkRecord& record, int fd) override {
    auto& end = network_.stream(fd / 2).end[fd % 2];
    end = {this, record.index, record.generation};
    stream_of_[record.index] = fd;
  }
  void open_edge(const LinkRecord&, int, const EdgeProfile&) override { ADD_FAILURE() << "these nodes have native links only"; }
  void give_edge_key(const LinkRecord&, const NegotiatedLink&) override {}
  void post_link(const LinkRecord& record) override {
    records[record.index] = record;
    if (record.state == LinkState::kFree) {
      if (record.transport != LinkTransport::kStream) {
        pending_.push_back([this, record] { links.on_released({record.index, record.generation}); });
      }
    }
  }
  void close_link(const NodeLink& link, std::uint32_t) override {
    const LinkRecord& record = link.record;
    const int fd = stream_of_[record.index];
    auto& stream = network_.stream(fd / 2);
    // The worker closes, tells, and releases; the other end sees the end of the stream.
    pending_.push_back([this, record, &stream, fd] {
      stream.cut = true;
      links.on_closed({record.index, record.generation, CloseReason::kAsked, 0}, {}, network_.now_ms);
      links.on_released({record.index, record.generation});
      const auto& other = stream.end[1 - fd % 2];
      if (other.node != nullptr) {
        other.node->links.on_closed({other.link, other.generation, CloseReason::kPeerClosed, 0}, {}, network_.now_ms);
        other.node->links.on_released({other.link, other.generation});
      }
    });
  }
  void send(const LinkRecord& record, std::span<const std::byte> frame) override {
    ++frames_sent[record.index];
    FrameBytes copy(frame.begin(), frame.end());
    if (record.transport != LinkTransport::kStream) {
      datagrams.emplace_back(record, std::move(copy));
      return;
    }
    const int fd = stream_of_[record.index];
    auto& stream = network_.stream(fd / 2);
    const auto other = stream.end[1 - fd % 2];
    if (other.node == nullptr) {
      stream.to_client.push_back(std::move(copy));
      return;
    }
    pending_.push_back([&stream, other, moved = std::move(copy)]() mutable {
      if (!stream.cut) {
        other.node->deliver(other.link, other.generation, std::move(moved));
      }
    });
  }
  void answer(const Hello& hello, std::uint32_t link_id, std::span<const std::byte> frame) override {
    answers.push_back({hello, link_id, FrameBytes(frame.begin(), frame.end())});
  }
  void after_applied(std::move_only_function<void()> call) override { calls_.push_back(std::move(call)); }
  std::expected<void, std::string> find_way(LinkRecord& record) override {
    record.datagram_bytes = 1'400;
    return way_fault.empty() ? std::expected<void, std::string>{} : std::unexpected(way_fault);
  }
  void link_up(NodeLink& link) override { subscriptions.link_up(link); }
  void peer_ready(NodeLink& link) override { subscriptions.peer_ready(link); }
  void link_lost(NodeLink& link) override { subscriptions.link_lost(link.record.index); }
  void link_gone(const NodeLink&) override { ++gone; }
  void dial(std::uint32_t target) override {
    ++dials;
    SimNode* other = dial_to_.contains(target) ? dial_to_[target] : nullptr;
    if (other == nullptr || !reachable) {
      links.dial_failed(target, "connecting failed: Connection refused", network_.now_ms);
      return;
    }
    const int stream = network_.make_stream();
    // Both ends are known before anything is sent.
    if (!other->links.accept_stream(stream * 2 + 1, 0, "tcp", "dialer", network_.now_ms)) {
      links.dial_failed(target, "refused", network_.now_ms);
      return;
    }
    (void)links.dialed_stream(target, stream * 2, 0, "tcp", network_.now_ms);
  }
  void link_taken(const NodeLink& link) override { taken.push_back(link.record.index); }
  Traffic traffic(LinkIndex link) override { return {frames_sent[link], frames_in[link]}; }
  std::vector<NameId> instances(const Name&, std::size_t, bool& truncated) override {
    truncated = true;
    return {{.high = 1, .low = 2}};
  }
  void no_route_told(const NodeLink&, const NoRouteBody&) override { ++notices; }
  void log(int, std::string text) override { lines.push_back(std::move(text)); }
  // --- SubscriptionSink
  std::uint64_t ticket() override { return ++tickets_; }
  std::string worker_behind() override { return behind; }
  void answer_soon() override { answers_wait = true; }
  void forgotten(LinkIndex link) override { links.forgotten(link); }

  bool run_pending() {
    auto now = std::exchange(pending_, {});
    for (auto& call : now) {
      call();
    }
    return !now.empty();
  }

  struct Answer {
    Hello hello;
    std::uint32_t link_id;
    FrameBytes frame;
  };

 private:
  SimNetwork& network_;

 public:
  ControlCounters counters;
  std::unique_ptr<SubscriptionDatabase> database;
  std::map<LinkIndex, LinkRecord> records;
  std::map<LinkIndex, std::uint64_t> frames_sent;
  std::map<LinkIndex, std::uint64_t> frames_in;
  std::vector<LinkIndex> taken;  // by datagram
  std::vector<Answer> answers;
  std::vector<std::pair<LinkRecord, FrameBytes>> datagrams;
  std::vector<std::string> lines;
  std::string behind;
  bool answers_wait = false;  // for peers of upstream's kind, of which there are none here
  std::string way_fault;
  bool hold_applied = false;
  bool reachable = true;
  int dials = 0;
  int gone = 0;
  int notices = 0;

 private:
  std::map<LinkIndex, int> stream_of_;
  std::map<std::uint32_t, SimNode*> dial_to_;
  std::vector<std::move_only_function<void()>> calls_;
  std::vector<std::move_only_function<void()>> pending_;
  std::uint64_t tickets_ = 0;
  std::uint64_t told_ = 0;

 public:
  Links links;
  Subscriptions subscriptions;
};

inline void SimNetwork::run() {
  bool more = true;
  for (int i = 0; more && i < 10'000; ++i) {
    more = false;
    for (auto* node : nodes) {
      more |= node->turn();
      more |= node->run_pending();
    }
  }
}

// The test as a client of a node.
class SimClient {
 public:
  SimClient(SimNetwork& network, SimNode& node) : network_(network), node_(node), stream_(node.accept_client()) {}
  [[nodiscard]] bool accepted() const { return stream_ >= 0; }
  SimNetwork::End& end() { return network_.stream(stream_).end[0]; }
  [[nodiscard]] bool closed() { return network_.stream(stream_).cut; }
  void send(FrameBytes frame) {
    if (!closed()) {
      node_.deliver(end().link, end().generation, std::move(frame));
    }
    network_.run();
  }
  void hello(std::string id = "app", std::uint8_t link_class = 3, std::string deployment = "") {
    HelloBody body;
    body.version = "1";
    body.node_id = std::move(id);
    body.link_class = link_class;
    body.deployment = std::move(deployment);
    send(encode_link(body));
  }
  void subscribe(const TextName& name, std::uint64_t id, bool add = true, std::uint8_t hops = kDefaultHopLimit) {
    FrameHeader header;
    header.kind = add ? FrameKind::kSubscribe : FrameKind::kUnsubscribe;
    header.hop_limit = hops;
    header.destination = header.source = name.hashed();
    SubscribeBody body;
    body.destination_text = body.source_text = name.component;
    body.subscription_id = id;
    send(encode_subscribe(header, body));
  }
  void leave() {
    auto at = end();
    node_.links.on_closed({at.link, at.generation, CloseReason::kPeerClosed, 0}, {}, network_.now_ms);
    node_.links.on_released({at.link, at.generation});
    network_.run();
  }
  // The next frame of the node; empty when there is none.
  FrameBytes next() {
    network_.run();
    auto& queue = network_.stream(stream_).to_client;
    if (queue.empty()) {
      return {};
    }
    auto frame = std::move(queue.front());
    queue.pop_front();
    return frame;
  }
  template <class T>
  T next_link() {
    const auto frame = next();
    if (frame.empty()) {
      return {};
    }
    auto body = decode_link(frame);
    return body && std::holds_alternative<T>(*body) ? std::get<T>(*body) : T{};
  }
  SubscriptionAckBody next_ack() {
    const auto frame = next();
    if (frame.empty() || frame_kind(frame.data()) != static_cast<std::uint8_t>(FrameKind::kSubscriptionAck)) {
      return {};
    }
    return decode_subscription_ack(frame).value_or(SubscriptionAckBody{});
  }

 private:
  SimNetwork& network_;
  SimNode& node_;
  int stream_;
};

}  // namespace slipway
