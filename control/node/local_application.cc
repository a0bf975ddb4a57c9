#include "node/local_application.h"

#include <utility>

#include "channel/channel_bounds.h"
#include "frame/frame.h"
#include "loop/loop.h"

namespace slipway {

std::expected<std::unique_ptr<LocalApplication>, std::string> LocalApplication::open(LocalNode node, const std::string& name) {
  const auto link = node.open_link(name);
  if (!link) {
    return std::unexpected(link.error());
  }
  return std::unique_ptr<LocalApplication>(new LocalApplication(std::move(node), *link));
}

bool LocalApplication::frame_in(LinkIndex link, std::uint32_t generation, std::span<const std::byte> frame) {
  if (link != link_.index || generation != link_.generation) {
    return false;
  }
  connection_->frame_in(frame);
  return true;
}

bool LocalApplication::answer_in(LinkIndex link, std::span<const std::byte> frame) {
  if (link != link_.index) {
    return false;
  }
  if (frame_kind(frame.data()) == static_cast<std::uint8_t>(FrameKind::kSubscriptionAck)) {
    if (const auto answer = decode_subscription_ack(frame)) {
      connection_->answer_in(*answer);
    }
  }
  return true;
}

bool LocalApplication::turn() {
  if (running_) {
    return false;
  }
  running_ = true;
  const bool more = connection_->pump([this] { return node_.loop->refresh_now(); }, kLocalTurnNs);
  running_ = false;
  return more;
}

}  // namespace slipway
