#pragma once
// The node's side of the channels that it hosts (control/channel): who it is as an application, the link of that application,
// and the turns that it gets. Control thread.

#include <cstdint>
#include <expected>
#include <functional>
#include <memory>
#include <span>
#include <string>

#include "base/link.h"
#include "channel/channels.h"
#include "channel/sealed_store.h"
#include "node/channel_settings.h"

namespace slipway {

class Loop;

// What the node does for its application.
struct ChannelNode {
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

class NodeChannels {
 public:
  explicit NodeChannels(ChannelNode node);
  ~NodeChannels();
  NodeChannels(const NodeChannels&) = delete;
  NodeChannels& operator=(const NodeChannels&) = delete;

  // Reads keys and opens the store. Before anything accepts a frame.
  std::expected<void, std::string> open(const ChannelSettings& settings);
  // The workers run: the link comes up, and the channels of the file and of the store are there.
  std::expected<void, std::string> start();
  void stop();   // nothing new is taken

  void frame_in(LinkIndex link, std::uint32_t generation, std::span<const std::byte> frame);
  void answer_in(std::span<const std::byte> frame);   // a SubscriptionAck
  // Hands over what waits. True: there is more. Not from inside of anything of the node's.
  bool turn();

  [[nodiscard]] Channels* channels();   // null: this node hosts none
  [[nodiscard]] SealedStore* store();   // null: they end with the node

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace slipway
