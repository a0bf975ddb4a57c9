// Native frames: control/client does the work.

#include <algorithm>
#include <vector>

#include "app/app_bounds.h"
#include "app/connection.h"
#include "client/application.h"
#include "client/link.h"

namespace slipway {
namespace {

ConnectionState state_of(ClientLinkPhase phase) {
  switch (phase) {
    case ClientLinkPhase::kUp: return ConnectionState::kUp;
    case ClientLinkPhase::kWaiting: return ConnectionState::kWaiting;
    case ClientLinkPhase::kClosed: return ConnectionState::kClosed;
    default: return ConnectionState::kConnecting;
  }
}

class NativeConnection;

class NativePort final : public AppPort {
 public:
  NativePort(NativeConnection& connection, ClientLink& link, const TextName& name, Handlers handlers);
  ~NativePort() override;

  std::uint64_t subscribe(const TextName& name, Answer done) override { return application_.subscribe(name, std::move(done)); }
  void unsubscribe(std::uint64_t subscription) override { application_.unsubscribe(subscription); }
  SendStatus send(const FrameHeader& header, std::span<const std::byte> body, std::span<const std::byte> rest) override {
    switch (application_.publish_frame(header, body, rest)) {
      case PublishStatus::kQueued: return SendStatus::kQueued;
      case PublishStatus::kQueueFull: return SendStatus::kFull;
      case PublishStatus::kTooBig: return SendStatus::kTooBig;
      case PublishStatus::kNotConnected: break;
    }
    return SendStatus::kDown;
  }
  [[nodiscard]] std::size_t max_frame_bytes() const override {
    return link_.endpoint().kind == Endpoint::Kind::kUdp ? kMaxDatagramFrameBytes : kMaxFrameBytes;
  }
  void rest() override { link_.rest(); }
  [[nodiscard]] bool hold() override { return link_.hold(); }
  void tell(ConnectionState state, const std::string& why) const {
    if (on_state_) {
      on_state_(state, why);
    }
  }

 private:
  NativeConnection& connection_;
  ClientLink& link_;
  std::function<void(ConnectionState, const std::string&)> on_state_;
  ClientApplication application_;
};

class NativeConnection final : public Connection {
 public:
  explicit NativeConnection(const std::string& address) : Connection(address) {}

  std::expected<void, AppError> start(Loop& loop, const ConnectOptions& options) {
    auto link = ClientLink::open(loop, {.address = options.address, .client_name = options.client_name, .absent_max_ms = kAbsentNodeMs,
                                        .reconnect = options.reconnect,
                                        .retry_first = options.reconnect,
                                        .on_phase = [this](ClientLinkPhase phase, const std::string& why) { changed(phase, why); }});
    if (!link) {
      return std::unexpected(AppError(AppFault::kAddress, link.error()));
    }
    link_ = std::move(*link);
    return {};
  }
  std::unique_ptr<AppPort> attach(const TextName& name, AppPort::Handlers handlers) override {
    return std::make_unique<NativePort>(*this, *link_, name, std::move(handlers));
  }
  [[nodiscard]] ConnectionState state() const override { return state_of(link_->phase()); }
  [[nodiscard]] std::string trouble() const override { return link_->last_trouble(); }
  void close() override { link_->close(); }

  void add(NativePort* port) { ports_.push_back(port); }
  void remove(NativePort* port) { std::erase(ports_, port); }

 private:
  void changed(ClientLinkPhase phase, const std::string& why) {
    const auto ports = ports_;  // a callback may attach another
    for (const NativePort* port : ports) {
      if (std::ranges::find(ports_, port) != ports_.end()) {
        port->tell(state_of(phase), why);
      }
    }
  }

  std::vector<NativePort*> ports_;
  std::unique_ptr<ClientLink> link_;
};

NativePort::NativePort(NativeConnection& connection, ClientLink& link, const TextName& name, Handlers handlers)
    : connection_(connection),
      link_(link),
      on_state_(std::move(handlers.on_state)),
      application_(link, name,
                   {.on_message = [take = std::move(handlers.on_frame)](const ClientMessage& message) { take(message.frame()); },
                    .on_no_route = {},
                    .on_writable = std::move(handlers.on_writable),
                    .on_subscription_lost = std::move(handlers.on_subscription_lost),
                    .on_reuse = std::move(handlers.on_reuse)}) {
  connection_.add(this);
}

NativePort::~NativePort() { connection_.remove(this); }

}  // namespace

std::expected<std::shared_ptr<Connection>, AppError> open_native_connection(Loop& loop, const ConnectOptions& options) {
  auto connection = std::make_shared<NativeConnection>(options.address);
  if (auto started = connection->start(loop, options); !started) {
    return std::unexpected(started.error());
  }
  return connection;
}

}  // namespace slipway
