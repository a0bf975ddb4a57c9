#pragma once
// The application by which the node asks owners of channels for their approval (control/channel_manager): `<local name>-approval`,
// inside the node like the one that hosts channels, with an identity of its own from the same secret or key. Control thread.

#include <expected>
#include <memory>
#include <span>
#include <string>

#include "channel_manager/owner_approver.h"
#include "node/channel_settings.h"
#include "node/node_channels.h"

namespace slipway {

class NodeApproval {
 public:
  static std::expected<std::unique_ptr<NodeApproval>, std::string> create(ChannelNode node, const ChannelSettings& settings);
  ~NodeApproval();
  NodeApproval(const NodeApproval&) = delete;
  NodeApproval& operator=(const NodeApproval&) = delete;

  [[nodiscard]] OwnerApprover& approver();
  // What comes for its link; false: it is for another.
  bool frame_in(LinkIndex link, std::uint32_t generation, std::span<const std::byte> frame);
  bool answer_in(LinkIndex link, std::span<const std::byte> frame);
  // Hands over what waits. True: there is more. Not from inside of anything of the node's.
  bool turn();

 private:
  NodeApproval();
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace slipway
