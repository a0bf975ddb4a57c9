#pragma once
// The application by which the node asks owners of channels for their approval (control/channel_manager): `<local name>-approval`,
// inside the node like the one that hosts channels, with an identity of its own from the same secret or key. Control thread.

#include <expected>
#include <memory>
#include <string>

#include "channel_manager/owner_approver.h"
#include "node/channel_settings.h"
#include "node/local_application.h"

namespace slipway {

class NodeApproval {
 public:
  static std::expected<std::unique_ptr<NodeApproval>, std::string> create(LocalNode node, const ChannelSettings& settings);
  ~NodeApproval();
  NodeApproval(const NodeApproval&) = delete;
  NodeApproval& operator=(const NodeApproval&) = delete;

  [[nodiscard]] OwnerApprover& approver();
  [[nodiscard]] LocalApplication& local();

 private:
  NodeApproval();
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace slipway
