#pragma once
// A client that waits: one application, one link and a loop of its own, for tools, tests and simple programs. Every
// call runs the loop until what it asks for has happened or its time is over. One thread. What arrives between
// calls is kept, in order, up to kBlockingMessages; beyond that the newest are thrown away and counted.

#include <deque>
#include <expected>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "client/application.h"
#include "client/link.h"
#include "loop/loop.h"

namespace slipway {

inline constexpr std::size_t kBlockingMessages = 65'536;

struct ReceivedMessage {
  std::vector<std::byte> frame;
  [[nodiscard]] ClientMessage message() const { return ClientMessage(frame); }
};

class BlockingClient {
 public:
  // Connects and says hello, again and again until timeout_ms; with retry_first = false only once. Error: why not.
  static std::expected<std::unique_ptr<BlockingClient>, std::string> connect(ClientLinkOptions options, const TextName& name,
                                                                           std::uint64_t timeout_ms = 5'000);

  ClientResult subscribe(const TextName& name, std::uint64_t timeout_ms = 5'000);
  ClientResult subscribe_self(std::uint64_t timeout_ms = 5'000) { return subscribe(name(), timeout_ms); }
  ClientResult unsubscribe(const TextName& name, std::uint64_t timeout_ms = 5'000);  // one that subscribe() was given

  // Waits while the queue is full or the link is down, at most timeout_ms.
  ClientResult publish(const TextName& to, Receivers receivers, std::string_view payload, std::uint64_t timeout_ms = 5'000);
  ClientResult publish(const Destination& to, std::string_view payload, std::uint64_t timeout_ms = 5'000);
  // Until everything that was published is in the kernel's hands.
  ClientResult flush(std::uint64_t timeout_ms = 5'000);

  // The oldest message; nothing if none came in time.
  std::optional<ReceivedMessage> receive(std::uint64_t timeout_ms);
  // The oldest notice that a publish of ours reached nobody; nothing if none came in time.
  std::optional<NoRouteNotice> no_route(std::uint64_t timeout_ms);
  std::expected<InstancesAnswer, std::string> instances(const TextName& service, std::uint64_t timeout_ms = 5'000);

  [[nodiscard]] const TextName& name() const { return application_->name(); }
  [[nodiscard]] ClientApplication& application() { return *application_; }
  [[nodiscard]] ClientLink& link() { return *link_; }
  [[nodiscard]] Loop& loop() { return *loop_; }
  [[nodiscard]] std::uint64_t overflowed() const { return overflowed_; }
  void run_for(std::uint64_t time_ms);  // turns the loop

 private:
  BlockingClient() = default;
  // Turns the loop until done() or the time is over; whether done.
  template <class Done>
  bool wait(std::uint64_t timeout_ms, Done done);

  std::unique_ptr<Loop> loop_;
  std::unique_ptr<ClientLink> link_;
  std::unique_ptr<ClientApplication> application_;
  std::deque<ReceivedMessage> messages_;
  std::deque<NoRouteNotice> notices_;
  std::vector<std::pair<TextName, std::uint64_t>> subscriptions_;
  std::uint64_t overflowed_ = 0;
};

}  // namespace slipway
