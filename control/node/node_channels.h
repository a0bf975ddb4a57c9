#pragma once
// The node's side of the channels that it hosts (control/channel): who it is as an application, and what it keeps. Control
// thread.

#include <expected>
#include <memory>
#include <string>

#include "channel/channels.h"
#include "channel/sealed_store.h"
#include "node/channel_settings.h"
#include "node/local_application.h"

namespace slipway {

class NodeChannels {
 public:
  explicit NodeChannels(LocalNode node);
  ~NodeChannels();
  NodeChannels(const NodeChannels&) = delete;
  NodeChannels& operator=(const NodeChannels&) = delete;

  // Reads keys and opens the store. Before anything accepts a frame.
  std::expected<void, std::string> open(const ChannelSettings& settings);
  // The workers run: the link comes up, and the channels of the file and of the store are there.
  std::expected<void, std::string> start();
  void stop();   // nothing new is taken

  [[nodiscard]] LocalApplication* local();   // null: before start(), or this node hosts none

  [[nodiscard]] Channels* channels();   // null: this node hosts none
  [[nodiscard]] SealedStore* store();   // null: they end with the node

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace slipway
