#pragma once
// The node's side of upstream's channel manager (control/channel_manager): where it listens, and the channels that it is about.
// Control thread.

#include <expected>
#include <memory>
#include <string>
#include <vector>

#include "api/rows.h"
#include "channel_manager/channel_manager.h"
#include "channel_manager/channel_manager_server.h"
#include "node/control_listeners.h"
#include "node/node_approval.h"
#include "node/node_channels.h"
#include "node/settings.h"

namespace slipway {

class NodeChannelManager {
 public:
  NodeChannelManager(Loop& loop, Log& log);
  ~NodeChannelManager();
  NodeChannelManager(const NodeChannelManager&) = delete;
  NodeChannelManager& operator=(const NodeChannelManager&) = delete;

  // Binds the addresses; nothing is accepted before start().
  std::expected<void, std::string> open(const NodeSettings& settings);
  // The node's channels are there. The error: what was remembered of them cannot be read.
  std::expected<void, std::string> start(const NodeSettings& settings, NodeChannels& channels, LocalNode node);
  // See ControlListeners: null where there is no such service.
  std::expected<std::unique_ptr<ControlListeners::Change>, std::string> prepare(const NodeSettings& next);
  void commit(ControlListeners::Change& change, const NodeSettings& next, ReloadRow& row);
  void drain();

  // The application that asks owners; null: there is none.
  [[nodiscard]] LocalApplication* local() { return approval_ == nullptr ? nullptr : &approval_->local(); }
  [[nodiscard]] std::vector<ListenerRow> listeners() const { return listeners_.rows(); }

 private:
  Loop& loop_;
  Log& log_;
  std::unique_ptr<NodeApproval> approval_;
  std::unique_ptr<ChannelManager> manager_;        // null: not served
  std::unique_ptr<ChannelManagerServer> server_;
  ControlListeners listeners_;
};

}  // namespace slipway
