#include "channel/local_connection.h"

#include <algorithm>
#include <utility>

#include "channel/channel_bounds.h"

namespace slipway {

class LocalConnection::Port final : public AppPort {
 public:
  Port(LocalConnection& connection, const TextName& name, Handlers handlers)
      : connection_(connection), name_(name), hashed_(name.hashed()), handlers_(std::move(handlers)) {}
  ~Port() override {
    for (const auto& [id, subscription] : subscriptions_) {
      say(FrameKind::kUnsubscribe, id, subscription.name);
    }
    connection_.port_ = nullptr;
  }

  std::uint64_t subscribe(const TextName& name, Answer done) override {
    const std::uint64_t id = ++last_;
    subscriptions_[id] = {name, std::move(done)};
    say(FrameKind::kSubscribe, id, name);
    return id;
  }
  void unsubscribe(std::uint64_t id) override {
    if (const auto at = subscriptions_.find(id); at != subscriptions_.end()) {
      const TextName name = std::move(at->second.name);
      subscriptions_.erase(at);
      say(FrameKind::kUnsubscribe, id, name);
    }
  }
  SendStatus send(const FrameHeader& header, std::span<const std::byte> body, std::span<const std::byte> rest) override {
    return connection_.send(header, body, rest);
  }
  [[nodiscard]] std::size_t max_frame_bytes() const override { return kMaxFrameBytes; }

  void answered(const SubscriptionAckBody& answer) {
    const auto at = subscriptions_.find(answer.subscription_id);
    if (at == subscriptions_.end() || !at->second.done) {
      return;
    }
    const Answer done = std::exchange(at->second.done, {});
    if (answer.success) {
      done({});
    } else {
      subscriptions_.erase(at);
      done(std::unexpected(answer.error));
    }
  }
  void frame(std::span<const std::byte> frame) const { handlers_.on_frame(frame); }
  void writable() const {
    if (handlers_.on_writable) {
      handlers_.on_writable();
    }
  }
  [[nodiscard]] const Name& name() const { return hashed_; }

 private:
  struct Subscription {
    TextName name;
    Answer done;
  };
  void say(FrameKind kind, std::uint64_t id, const TextName& name) {
    FrameHeader header;
    header.kind = kind;
    header.source = hashed_;
    header.destination = name.hashed();
    SubscribeBody body;
    body.destination_text = name.component;
    body.source_text = name_.component;
    body.subscription_id = id;
    connection_.wire_.control(encode_subscribe(header, body));
  }

  LocalConnection& connection_;
  TextName name_;
  Name hashed_;
  Handlers handlers_;
  std::uint64_t last_ = 0;
  std::unordered_map<std::uint64_t, Subscription> subscriptions_;
};

LocalConnection::~LocalConnection() = default;

std::unique_ptr<AppPort> LocalConnection::attach(const TextName& name, AppPort::Handlers handlers) {
  auto port = std::make_unique<Port>(*this, name, std::move(handlers));
  port_ = port.get();
  return port;
}

SendStatus LocalConnection::send(const FrameHeader& header, std::span<const std::byte> body, std::span<const std::byte> rest) {
  const std::size_t bytes = kFrameHeaderBytes + body.size() + rest.size();
  if (closed_) {
    return SendStatus::kDown;
  }
  if (bytes > kMaxFrameBytes) {
    ++counters_.refused_out;
    return SendStatus::kTooBig;
  }
  if (out_bytes_ + bytes > kLocalOutBytes) {
    ++counters_.refused_out;
    was_full_ = true;
    return SendStatus::kFull;
  }
  FrameBytes frame(bytes);
  FrameHeader own = header;
  own.kind = FrameKind::kPublish;
  if (port_ != nullptr && own.source.id != port_->name().id) {
    own.source = port_->name();
  }
  store_header(frame.data(), own);
  std::ranges::copy(rest, std::ranges::copy(body, frame.begin() + kFrameHeaderBytes).out);
  out_bytes_ += bytes;
  out_.push_back({held_, std::move(frame)});
  send_out();
  return SendStatus::kQueued;
}

void LocalConnection::send_out() {
  while (!out_.empty() && out_.front().after <= released_ && !wire_.busy()) {
    out_bytes_ -= out_.front().frame.size();
    ++counters_.frames_out;
    wire_.publish(out_.front().frame);
    out_.pop_front();
  }
}

void LocalConnection::frame_in(std::span<const std::byte> frame) {
  if (in_bytes_ + frame.size() > kLocalInBytes) {
    ++counters_.dropped_in;
    return;
  }
  ++counters_.frames_in;
  in_bytes_ += frame.size();
  in_.emplace_back(frame.begin(), frame.end());
}

// One for each subscribe that waits: bounded by what the application asked.
void LocalConnection::answer_in(const SubscriptionAckBody& answer) { answers_.push_back(answer); }

bool LocalConnection::pump(const std::function<std::uint64_t()>& clock, std::uint64_t budget_ns) {
  send_out();
  if (was_full_ && out_bytes_ < kLocalOutBytes / 2 && port_ != nullptr) {
    was_full_ = false;
    port_->writable();
  }
  const std::uint64_t until = clock() + budget_ns;
  while (!answers_.empty() && port_ != nullptr) {
    const SubscriptionAckBody answer = std::move(answers_.front());
    answers_.pop_front();
    port_->answered(answer);
  }
  while (!in_.empty() && port_ != nullptr) {
    const FrameBytes frame = std::move(in_.front());
    in_.pop_front();
    in_bytes_ -= frame.size();
    port_->frame(frame);
    if (clock() >= until) {
      break;
    }
  }
  send_out();
  const bool may_send = !out_.empty() && out_.front().after <= released_;
  return !answers_.empty() || !in_.empty() || may_send;
}

}  // namespace slipway
