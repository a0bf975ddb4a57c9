// Upstream's protocol: control/edge_client makes one link; here are reconnects, subscriptions and what applications of one
// connection say to each other.

#include <algorithm>
#include <deque>
#include <unordered_map>
#include <utility>
#include <vector>

#include "app/app_bounds.h"
#include "app/connection.h"
#include "edge_client/edge_client.h"
#include "frame/body.h"
#include "session/full_name.h"
#include "wire/session_wire.h"

namespace slipway {
namespace {

constexpr std::uint64_t kMsNs = 1'000'000;
constexpr std::uint64_t kFirstBackoffMs = 50;
constexpr std::uint64_t kMaxBackoffMs = 5'000;

class UpstreamConnection;

class UpstreamPort final : public AppPort {
 public:
  UpstreamPort(UpstreamConnection& connection, TextName name, Handlers handlers);
  ~UpstreamPort() override;
  std::uint64_t subscribe(const TextName& name, Answer done) override;
  void unsubscribe(std::uint64_t subscription) override;
  SendStatus send(const FrameHeader& header, std::span<const std::byte> body, std::span<const std::byte> rest) override;
  [[nodiscard]] std::size_t max_frame_bytes() const override { return kMaxUpstreamMessageBytes; }
  void rest() override;

  Handlers handlers;
  TextName name;

 private:
  UpstreamConnection& connection_;
};

struct Subscription {
  TextName name;
  UpstreamPort* port;
  AppPort::Answer done;
  bool confirmed = false;
  std::uint32_t tries = 0;
};

class UpstreamConnection final : public Connection, public std::enable_shared_from_this<UpstreamConnection> {
 public:
  UpstreamConnection(Loop& loop, const ConnectOptions& options) : Connection(options.address), loop_(loop), reconnect_(options.reconnect) {
    edge_.endpoint = options.address;
    edge_.node_id = options.client_name.empty() ? "slipway-endpoint" : options.client_name;
    edge_.ca.file = options.ca_file;
    edge_.certificate.file = options.certificate_file;
    edge_.key.file = options.key_file;
    edge_.server_name = options.server_name;
    edge_.skip_verify = options.skip_verify;
    edge_.authorization = options.authorization;
    edge_.strict_mac = false;  // as upstream's applications: a node without keys is taken
    edge_.keepalive_ms = 20'000;
  }
  ~UpstreamConnection() override {
    loop_.cancel(timer_);
    loop_.cancel(retry_);
  }

  std::expected<void, AppError> connect() {
    EdgeClient::Handlers handlers;
    handlers.on_up = [this] { came_up(); };
    handlers.on_frame = [this](std::span<const std::byte> frame) { take(frame); };
    handlers.on_writable = [this] { tell_writable(); };
    handlers.on_closed = [this](const EdgeClientEnd& end) { lost(end); };
    auto opened = EdgeClient::open(loop_, edge_, std::move(handlers));
    if (!opened) {
      return std::unexpected(AppError(AppFault::kAddress, opened.error()));
    }
    client_ = std::move(*opened);
    edge_.link_id = client_->link_id();
    return {};
  }

  std::unique_ptr<AppPort> attach(const TextName& name, AppPort::Handlers handlers) override {
    return std::make_unique<UpstreamPort>(*this, name, std::move(handlers));
  }
  [[nodiscard]] ConnectionState state() const override { return state_; }
  [[nodiscard]] std::string trouble() const override { return trouble_; }
  void close() override {
    loop_.cancel(std::exchange(timer_, TimerId::kNone));
    if (client_) {
      client_->close();
    }
    set_state(ConnectionState::kClosed, "closed by this side");
  }

  void rest() {
    if (client_) {
      client_->rest();
    }
  }
  void add(UpstreamPort* port) { ports_.push_back(port); }
  void remove(UpstreamPort* port) {
    std::erase(ports_, port);
    for (LocalFrame& frame : local_) {
      if (frame.to == port) {
        frame.to = nullptr;
      }
    }
    std::vector<std::uint64_t> ids;
    for (auto& [id, subscription] : subscriptions_) {
      if (subscription.port == port) {
        ids.push_back(id);
      }
    }
    for (const std::uint64_t id : ids) {
      unsubscribe(id);
    }
  }

  std::uint64_t subscribe(UpstreamPort* port, const TextName& name, AppPort::Answer done) {
    const std::uint64_t id = ++last_id_;
    if (subscriptions_.size() >= kMaxUpstreamSubscriptions) {
      loop_.defer([done = std::move(done)] { done(std::unexpected("this connection holds as many subscriptions as it can")); });
      return id;
    }
    local_names_[name.hashed()].push_back(port);
    local_names_[Name{name.hashed().component, kNullId}].push_back(port);
    Subscription& subscription = subscriptions_.emplace(id, Subscription{name, port, std::move(done)}).first->second;
    if (state_ == ConnectionState::kUp) {
      ask(id, subscription);
    }
    return id;
  }

  void unsubscribe(std::uint64_t id) {
    const auto found = subscriptions_.find(id);
    if (found == subscriptions_.end()) {
      return;
    }
    const Subscription& subscription = found->second;
    for (const Name& name : {subscription.name.hashed(), Name{subscription.name.hashed().component, kNullId}}) {
      const auto at = local_names_.find(name);
      if (at != local_names_.end()) {
        if (const auto one = std::ranges::find(at->second, subscription.port); one != at->second.end()) {
          at->second.erase(one);
        }
        if (at->second.empty()) {
          local_names_.erase(at);
        }
      }
    }
    if (state_ == ConnectionState::kUp) {
      send_subscription(FrameKind::kUnsubscribe, id, subscription);
    }
    subscriptions_.erase(found);
  }

  SendStatus send(UpstreamPort* from, FrameHeader header, std::span<const std::byte> body, std::span<const std::byte> rest) {
    header.kind = FrameKind::kPublish;
    frame_.resize(kFrameHeaderBytes + body.size() + rest.size());
    store_header(frame_.data(), header);
    std::ranges::copy(rest, std::ranges::copy(body, frame_.begin() + kFrameHeaderBytes).out);
    const bool to_all = header.fanout != kOneReceiver;
    const bool local = give_locally(from, header.destination, to_all);
    if (local && !to_all) {
      return SendStatus::kQueued;
    }
    if (client_ == nullptr || state_ != ConnectionState::kUp) {
      return local ? SendStatus::kQueued : SendStatus::kDown;
    }
    switch (client_->send_frame(frame_)) {
      case EdgeSend::kQueued: return SendStatus::kQueued;
      case EdgeSend::kQueueFull: return SendStatus::kFull;
      case EdgeSend::kRefused: return SendStatus::kTooBig;
      case EdgeSend::kNotUp: break;
    }
    return SendStatus::kDown;
  }

 private:
  struct LocalFrame {
    UpstreamPort* to;
    std::vector<std::byte> bytes;
  };

  // frame_ to applications of this connection; whether there were any.
  bool give_locally(const UpstreamPort* from, const Name& destination, bool to_all) {
    const auto found = local_names_.find(destination);
    if (found == local_names_.end()) {
      return false;
    }
    std::vector<UpstreamPort*> receivers;
    for (UpstreamPort* port : found->second) {
      if (port != from && std::ranges::find(receivers, port) == receivers.end()) {
        receivers.push_back(port);
      }
    }
    if (receivers.empty()) {
      return false;
    }
    if (!to_all) {
      receivers = {receivers[turn_++ % receivers.size()]};
    }
    for (UpstreamPort* port : receivers) {
      if (local_.size() < kMaxWaitingFrames) {  // beyond it is lost, as on a full link
        local_.push_back({port, frame_});
      }
    }
    if (!local_scheduled_) {
      local_scheduled_ = true;
      loop_.defer([self = weak_from_this()] {
        if (const auto connection = self.lock()) {
          connection->deliver_local();
        }
      });
    }
    return true;
  }
  void deliver_local() {
    local_scheduled_ = false;
    std::deque<LocalFrame> frames = std::exchange(local_, {});
    while (!frames.empty()) {
      LocalFrame frame = std::move(frames.front());
      frames.pop_front();
      if (std::ranges::find(ports_, frame.to) != ports_.end()) {
        frame.to->handlers.on_frame(frame.bytes);
      }
    }
  }

  void take(std::span<const std::byte> frame) {
    const auto kind = static_cast<FrameKind>(frame_kind(frame.data()));
    if (kind == FrameKind::kSubscriptionAck) {
      if (const auto ack = decode_subscription_ack(frame)) {
        answered(*ack);
      }
      return;
    }
    if (kind != FrameKind::kPublish) {
      return;
    }
    const auto found = local_names_.find(load_name(frame.data() + frame_offset::kDestination));
    if (found == local_names_.end()) {
      return;
    }
    std::vector<UpstreamPort*> receivers;
    for (UpstreamPort* port : found->second) {
      if (std::ranges::find(receivers, port) == receivers.end()) {
        receivers.push_back(port);
      }
    }
    if (frame_fanout(frame.data()) == kOneReceiver) {
      receivers = {receivers[turn_++ % receivers.size()]};
    }
    for (const UpstreamPort* port : receivers) {
      if (std::ranges::find(ports_, port) != ports_.end()) {
        port->handlers.on_frame(frame);
      }
    }
  }

  void answered(const SubscriptionAckBody& ack) {
    const auto found = subscriptions_.find(ack.subscription_id);
    if (found == subscriptions_.end() || found->second.confirmed) {
      return;
    }
    found->second.confirmed = ack.success;
    settle(found->first, ack.success ? std::expected<void, std::string>() : std::unexpected(ack.error));
  }
  // Tells whoever asked; what was refused is forgotten.
  void settle(std::uint64_t id, std::expected<void, std::string> result) {
    Subscription& subscription = subscriptions_.at(id);
    const auto done = std::exchange(subscription.done, {});
    UpstreamPort* const port = subscription.port;
    const TextName name = subscription.name;
    if (!result) {
      unsubscribe(id);
    }
    if (done) {
      done(result);
    } else if (!result && port->handlers.on_subscription_lost) {
      port->handlers.on_subscription_lost(name, result.error());
    }
  }

  void send_subscription(FrameKind kind, std::uint64_t id, const Subscription& subscription) {
    const FrameHeader header{.kind = kind, .destination = subscription.name.hashed(), .source = subscription.port->name.hashed()};
    const SubscribeBody body{.destination_text = subscription.name.component, .source_text = subscription.port->name.component,
                             .subscription_id = id, .version = std::string(kWireVersion)};
    (void)client_->send_frame(encode_subscribe(header, body));
  }
  void ask(std::uint64_t id, Subscription& subscription) {
    ++subscription.tries;
    send_subscription(FrameKind::kSubscribe, id, subscription);
    if (retry_ == TimerId::kNone) {
      retry_ = loop_.after(kSubscribeAgainMs * kMsNs, [this] { ask_again(); });
    }
  }
  void ask_again() {
    retry_ = TimerId::kNone;
    std::vector<std::uint64_t> failed;
    for (auto& [id, subscription] : subscriptions_) {
      if (subscription.confirmed || state_ != ConnectionState::kUp) {
        continue;
      }
      if (subscription.tries >= kSubscribeTries) {
        failed.push_back(id);
      } else {
        ask(id, subscription);
      }
    }
    for (const std::uint64_t id : failed) {
      if (subscriptions_.contains(id)) {
        settle(id, std::unexpected("the node did not answer the subscription"));
      }
    }
  }

  void came_up() {
    backoff_ms_ = kFirstBackoffMs;
    set_state(ConnectionState::kUp, {});
    for (auto& [id, subscription] : subscriptions_) {
      subscription.confirmed = false;
      subscription.tries = 0;
      ask(id, subscription);
    }
  }
  void lost(const EdgeClientEnd& end) {
    std::string why = end.remedy.empty() ? end.text : end.text + "; " + end.remedy;
    loop_.defer([gone = std::shared_ptr<EdgeClient>(std::move(client_))] {});
    if (state_ == ConnectionState::kClosed) {
      return;
    }
    if (!reconnect_ || end.rejected) {
      set_state(ConnectionState::kClosed, why);
      return;
    }
    set_state(ConnectionState::kWaiting, why);
    const std::uint64_t wait_ms = end.step == EdgeStep::kConnect ? std::min<std::uint64_t>(backoff_ms_, kAbsentNodeMs) : backoff_ms_;
    timer_ = loop_.after(wait_ms * kMsNs, [this] {
      timer_ = TimerId::kNone;
      set_state(ConnectionState::kConnecting, {});
      if (auto again = connect(); !again) {
        set_state(ConnectionState::kClosed, again.error().message());
      }
    });
    backoff_ms_ = std::min(backoff_ms_ * 2, kMaxBackoffMs);
  }
  void set_state(ConnectionState state, const std::string& why) {
    state_ = state;
    if (!why.empty()) {
      trouble_ = why;
    }
    each_port([&](const UpstreamPort& port) {
      if (port.handlers.on_state) {
        port.handlers.on_state(state, why);
      }
    });
  }
  void tell_writable() {
    each_port([](const UpstreamPort& port) {
      if (port.handlers.on_writable) {
        port.handlers.on_writable();
      }
    });
  }
  template <class F>
  void each_port(F&& call) {
    const auto ports = ports_;  // a callback may attach another
    for (const UpstreamPort* port : ports) {
      if (std::ranges::find(ports_, port) != ports_.end()) {
        call(*port);
      }
    }
  }

  Loop& loop_;
  bool reconnect_;
  EdgeClientOptions edge_;
  std::unique_ptr<EdgeClient> client_;
  ConnectionState state_ = ConnectionState::kConnecting;
  std::string trouble_;
  std::uint64_t backoff_ms_ = kFirstBackoffMs;
  TimerId timer_ = TimerId::kNone;
  TimerId retry_ = TimerId::kNone;
  std::vector<UpstreamPort*> ports_;
  std::unordered_map<std::uint64_t, Subscription> subscriptions_;
  // Exact names, and services under the null id; an application stands there once for each subscription.
  std::unordered_map<Name, std::vector<UpstreamPort*>, NameHash> local_names_;
  std::uint64_t last_id_ = 0;
  std::size_t turn_ = 0;
  std::vector<std::byte> frame_;
  std::deque<LocalFrame> local_;
  bool local_scheduled_ = false;
};

UpstreamPort::UpstreamPort(UpstreamConnection& connection, TextName own_name, Handlers own_handlers)
    : handlers(std::move(own_handlers)), name(std::move(own_name)), connection_(connection) {
  connection_.add(this);
}
UpstreamPort::~UpstreamPort() { connection_.remove(this); }
std::uint64_t UpstreamPort::subscribe(const TextName& which, Answer done) { return connection_.subscribe(this, which, std::move(done)); }
void UpstreamPort::unsubscribe(std::uint64_t subscription) { connection_.unsubscribe(subscription); }
void UpstreamPort::rest() { connection_.rest(); }
SendStatus UpstreamPort::send(const FrameHeader& header, std::span<const std::byte> body, std::span<const std::byte> rest) {
  return connection_.send(this, header, body, rest);
}

}  // namespace

std::expected<std::shared_ptr<Connection>, AppError> open_upstream_connection(Loop& loop, const ConnectOptions& options) {
  auto connection = std::make_shared<UpstreamConnection>(loop, options);
  if (auto started = connection->connect(); !started) {
    return std::unexpected(started.error());
  }
  return connection;
}

}  // namespace slipway
