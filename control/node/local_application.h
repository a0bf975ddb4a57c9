#pragma once
// An application inside of the node (control/channel/local_connection): its link, what comes for it, and the turns that it gets.
// Control thread.

#include <cstdint>
#include <expected>
#include <functional>
#include <memory>
#include <span>
#include <string>

#include "base/link.h"
#include "channel/local_connection.h"

namespace slipway {

class Loop;

// What the node does for its applications.
struct LocalNode {
  struct Link {
    LinkIndex index = kNoLink;
    std::uint32_t generation = 0;
  };
  Loop* loop = nullptr;
  std::function<std::expected<Link, std::string>(const std::string& name)> open_link;
  std::function<void(Link, std::span<const std::byte> frame)> subscribe;   // a Subscribe or Unsubscribe
  std::function<void(Link, std::span<const std::byte> frame)> publish;
  std::function<bool()> behind;            // a worker has far too much to do
  std::function<void()> between_steps;     // links and subscriptions are served
  std::function<void(bool bad, std::string text)> log;
};

// Outlives the application, which calls it through connection().
class LocalApplication final : private LocalWire {
 public:
  // The workers run. The error is the node's: no link is free.
  static std::expected<std::unique_ptr<LocalApplication>, std::string> open(LocalNode node, const std::string& name);

  [[nodiscard]] const std::shared_ptr<LocalConnection>& connection() const { return connection_; }
  // What comes for its link, frames and answers of the node; false: it is for another.
  bool frame_in(LinkIndex link, std::uint32_t generation, std::span<const std::byte> frame);
  bool answer_in(LinkIndex link, std::span<const std::byte> frame);
  // Hands over what waits. True: there is more. Not from inside of anything of the node's.
  bool turn();

 private:
  LocalApplication(LocalNode node, LocalNode::Link link)
      : node_(std::move(node)), link_(link), connection_(std::make_shared<LocalConnection>(static_cast<LocalWire&>(*this))) {}
  void control(std::span<const std::byte> frame) override { node_.subscribe(link_, frame); }
  void publish(std::span<const std::byte> frame) override { node_.publish(link_, frame); }
  bool busy() override { return node_.behind(); }

  LocalNode node_;
  LocalNode::Link link_;
  std::shared_ptr<LocalConnection> connection_;
  bool running_ = false;   // turn(): an application's key operation gives the node its turns, not itself
};

}  // namespace slipway
