#include "node/node_approval.h"

#include <fmt/format.h>

#include <utility>

#include "app/app.h"
#include "channel/channel_bounds.h"
#include "channel/key_file.h"
#include "channel/local_connection.h"
#include "channel_manager/app_approver.h"
#include "channel_manager/channel_manager_bounds.h"
#include "frame/frame.h"
#include "identity/jwt_identity.h"
#include "identity/shared_secret.h"

namespace slipway {

namespace {

// Another one than the moderator's: both are members of sessions, and a member is known by its id.
std::expected<Identity, std::string> identity_of(const ChannelSettings& settings, const TextName& name) {
  if (settings.secret_file.empty()) {
    auto provider = jwt_provider({.signing_key = settings.token_key, .subject = settings.token.subject, .issuer = settings.token.issuer,
                                  .audiences = settings.token.audiences, .duration_s = settings.token.duration_s, .key = {}});
    auto verifier = jwt_verifier({.keys = {settings.verify_key}, .rules = settings.verify});
    if (!provider || !verifier) {
      return std::unexpected(provider ? verifier.error().message() : provider.error().message());
    }
    return Identity{std::move(*provider), std::move(*verifier)};
  }
  auto secret = read_secret_line(settings.secret_file);
  if (!secret) {
    return std::unexpected(secret.error());
  }
  auto made = shared_secret_identity({.base = name.text(), .secret = *secret, .subject = {}, .key = {}});
  mls::wipe({reinterpret_cast<std::uint8_t*>(secret->data()), secret->size()});
  if (!made) {
    return std::unexpected(made.error().message());
  }
  return std::move(*made);
}

}  // namespace

struct NodeApproval::Impl final : LocalWire {
  ~Impl() override {  // before their connection, which calls us
    approver.reset();
    app.reset();
  }

  void control(std::span<const std::byte> frame) override { node.subscribe(link, frame); }
  void publish(std::span<const std::byte> frame) override { node.publish(link, frame); }
  bool busy() override { return node.behind(); }

  ChannelNode node;
  ChannelNode::Link link;
  std::shared_ptr<LocalConnection> connection;
  std::unique_ptr<App> app;
  std::unique_ptr<AppApprover> approver;
  bool running = false;
};

NodeApproval::NodeApproval() : impl_(std::make_unique<Impl>()) {}
NodeApproval::~NodeApproval() = default;

std::expected<std::unique_ptr<NodeApproval>, std::string> NodeApproval::create(ChannelNode node, const ChannelSettings& settings) {
  std::unique_ptr<NodeApproval> out(new NodeApproval);
  Impl& in = *out->impl_;
  in.node = std::move(node);
  TextName name = settings.name;
  name.component[2] += "-approval";
  auto identity = identity_of(settings, name);
  if (!identity) {
    return std::unexpected(fmt::format("the identity of {}: {}", name.text(), identity.error()));
  }
  auto link = in.node.open_link(name.text());
  if (!link) {
    return std::unexpected(fmt::format("no link for {}: {}", name.text(), link.error()));
  }
  in.link = *link;
  in.connection = std::make_shared<LocalConnection>(in);
  auto app = App::create(*in.node.loop, {.name = std::move(name), .identity = std::move(*identity)});
  if (!app) {
    return std::unexpected(app.error().message());
  }
  in.app = std::move(*app);
  if (auto used = in.app->use(in.connection); !used) {
    return std::unexpected(used.error().message());
  }
  in.approver = std::make_unique<AppApprover>(*in.app, kApprovalMs);
  return out;
}

OwnerApprover& NodeApproval::approver() { return *impl_->approver; }

bool NodeApproval::frame_in(LinkIndex link, std::uint32_t generation, std::span<const std::byte> frame) {
  if (link != impl_->link.index || generation != impl_->link.generation) {
    return false;
  }
  impl_->connection->frame_in(frame);
  return true;
}

bool NodeApproval::answer_in(LinkIndex link, std::span<const std::byte> frame) {
  if (link != impl_->link.index) {
    return false;
  }
  if (frame_kind(frame.data()) == static_cast<std::uint8_t>(FrameKind::kSubscriptionAck)) {
    if (const auto answer = decode_subscription_ack(frame)) {
      impl_->connection->answer_in(*answer);
    }
  }
  return true;
}

bool NodeApproval::turn() {
  Impl& in = *impl_;
  if (in.running) {
    return false;
  }
  in.running = true;
  const bool more = in.connection->pump([&in] { return in.node.loop->refresh_now(); }, kLocalTurnNs);
  in.running = false;
  return more;
}

}  // namespace slipway
