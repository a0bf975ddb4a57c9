#include "node/node_approval.h"

#include <fmt/format.h>

#include <utility>

#include "app/app.h"
#include "channel_manager/app_approver.h"
#include "channel_manager/channel_manager_bounds.h"
#include "node/channel_identity.h"

namespace slipway {

// In the order in which they lean on each other.
struct NodeApproval::Impl {
  std::unique_ptr<LocalApplication> local;
  std::unique_ptr<App> app;
  std::unique_ptr<AppApprover> approver;
};

NodeApproval::NodeApproval() : impl_(std::make_unique<Impl>()) {}
NodeApproval::~NodeApproval() = default;

std::expected<std::unique_ptr<NodeApproval>, std::string> NodeApproval::create(LocalNode node, const ChannelSettings& settings) {
  std::unique_ptr<NodeApproval> out(new NodeApproval);
  Impl& in = *out->impl_;
  TextName name = settings.name;
  name.component[2] += "-approval";
  // By a secret another id than the moderator's; by tokens the same, and the name alone tells them apart: they never meet in a session.
  auto identity = channel_identity(settings, {.name = name, .subject = {}, .key = {}});
  if (!identity) {
    return std::unexpected(fmt::format("the identity of {}: {}", name.text(), identity.error()));
  }
  Loop& loop = *node.loop;
  auto local = LocalApplication::open(std::move(node), name.text());
  if (!local) {
    return std::unexpected(fmt::format("no link for {}: {}", name.text(), local.error()));
  }
  in.local = std::move(*local);
  auto app = App::create(loop, {.name = std::move(name), .identity = std::move(*identity)});
  if (!app) {
    return std::unexpected(app.error().message());
  }
  in.app = std::move(*app);
  if (auto used = in.app->use(in.local->connection()); !used) {
    return std::unexpected(used.error().message());
  }
  in.approver = std::make_unique<AppApprover>(*in.app, kApprovalMs);
  return out;
}

OwnerApprover& NodeApproval::approver() { return *impl_->approver; }

LocalApplication& NodeApproval::local() { return *impl_->local; }

}  // namespace slipway
