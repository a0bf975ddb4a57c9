#include "node/node_channel_manager.h"

#include <fmt/format.h>

#include <ctime>
#include <utility>

namespace slipway {

namespace {

ManagerPolicy policy_of(const NodeSettings& settings) {
  const auto& manager = settings.channel_manager;
  return {.audience = manager.audience.empty() ? settings.channels.name.text() : manager.audience,
          .require_signatures = manager.require_signatures,
          .operators = manager.operators};
}

}  // namespace

NodeChannelManager::NodeChannelManager(Loop& loop, Log& log)
    : loop_(loop),
      log_(log),
      listeners_(loop, log, {.what = "channel manager",
                             .mark = "channel manager ",
                             .config = ChannelManagerServer::config,
                             .add = [this](int fd, auto config) { return server_->add(fd, std::move(config)); },
                             .connections = [this] { return server_->connections(); }}) {}

NodeChannelManager::~NodeChannelManager() = default;

std::expected<void, std::string> NodeChannelManager::open(const NodeSettings& settings) { return listeners_.open(settings.channel_manager.servers, settings); }

std::expected<void, std::string> NodeChannelManager::start(const NodeSettings& settings, NodeChannels& hosting, LocalNode node) {
  if (!settings.channel_manager.on) {
    return {};
  }
  auto approval = NodeApproval::create(std::move(node), settings.channels);
  if (!approval) {
    return std::unexpected(approval.error());
  }
  approval_ = std::move(*approval);
  Channels* channels = hosting.channels();
  manager_ = std::make_unique<ChannelManager>(*channels, hosting.store(), &approval_->approver(), policy_of(settings),
                                              [this](std::string text) { log_.info(std::move(text)); });
  if (auto loaded = manager_->load(static_cast<std::uint64_t>(std::time(nullptr))); !loaded) {
    return loaded;
  }
  channels->on_event([this](const ChannelEvent& event) { manager_->on_event(event); });
  server_ = std::make_unique<ChannelManagerServer>(loop_, *manager_);
  server_->start();
  listeners_.start();
  return {};
}

std::expected<std::unique_ptr<ControlListeners::Change>, std::string> NodeChannelManager::prepare(const NodeSettings& next) {
  // Whether there is one at all waits for a restart, as channels do.
  return listeners_.prepare(manager_ == nullptr ? std::vector<EdgeServerSettings>() : next.channel_manager.servers, next);
}

void NodeChannelManager::commit(ControlListeners::Change& change, const NodeSettings& next, ReloadRow& row) {
  listeners_.commit(change, row);
  if (manager_ != nullptr) {
    manager_->set_policy(policy_of(next));
  }
}

void NodeChannelManager::drain() {
  listeners_.close();
  if (server_ != nullptr) {
    server_->drain();
  }
}

}  // namespace slipway
