#include "node/node_channels.h"

#include <fmt/format.h>

#include <utility>

#include "channel/channel_bounds.h"
#include "channel/channel_host.h"
#include "channel/key_file.h"
#include "channel/local_connection.h"
#include "channel/sqlite_store.h"
#include "frame/frame.h"
#include "identity/jwt_identity.h"
#include "identity/shared_secret.h"

namespace slipway {

namespace {

constexpr std::string_view kIdentityName = "identity";   // in the store: scalar of the key, then the subject
constexpr std::size_t kScalarBytes = 32;

void wipe(std::string& text) { mls::wipe({reinterpret_cast<std::uint8_t*>(text.data()), text.size()}); }

IdentityBinding binding_of(const std::string& word) {
  return word == "off" ? IdentityBinding::kOff : word == "enforce" ? IdentityBinding::kEnforce : IdentityBinding::kWarn;
}

}  // namespace

struct NodeChannels::Impl final : LocalWire {
  explicit Impl(ChannelNode of) : node(std::move(of)) {}
  ~Impl() override { host.reset(); }  // before its connection, which calls us

  void control(std::span<const std::byte> frame) override { node.subscribe(link, frame); }
  void publish(std::span<const std::byte> frame) override { node.publish(link, frame); }
  bool busy() override { return node.behind(); }
  std::expected<Identity, std::string> make_identity();

  ChannelNode node;
  ChannelSettings settings;
  Identity identity;
  std::unique_ptr<SqliteStore> store;
  std::shared_ptr<LocalConnection> connection;
  std::unique_ptr<ChannelHost> host;
  ChannelNode::Link link;
  bool running = false;   // turn(): an application's key operation gives the node its turns, not itself
};

NodeChannels::NodeChannels(ChannelNode node) : impl_(std::make_unique<Impl>(std::move(node))) {}
NodeChannels::~NodeChannels() = default;

Channels* NodeChannels::channels() { return impl_->host.get(); }
SealedStore* NodeChannels::store() { return impl_->store.get(); }

// The same after a restart, where there is a store: members know the node by its id, and its leaves have its key.
std::expected<Identity, std::string> NodeChannels::Impl::make_identity() {
  std::string kept;
  if (store) {
    if (auto loaded = store->take_loaded(kIdentityName); !loaded.empty()) {
      kept = std::move(loaded.front().second);
    }
  }
  const std::string_view kept_subject = kept.size() > kScalarBytes ? std::string_view(kept).substr(kScalarBytes) : std::string_view();
  auto key = !settings.private_key_file.empty()  ? SigningKey::load(settings.private_key_file)
             : kept.size() >= kScalarBytes ? SigningKey::import(std::string_view(kept).substr(0, kScalarBytes))
                                           : SigningKey::generate();
  if (!key) {
    return std::unexpected(fmt::format("the node's key{}{}: {}", settings.private_key_file.empty() ? "" : " in ", settings.private_key_file,
                                       key.error().message()));
  }
  const mls::View scalar = key->mls_key().private_key();
  std::string keep(reinterpret_cast<const char*>(scalar.data()), scalar.size());
  Identity out;
  if (!settings.secret_file.empty()) {
    auto secret = read_secret_line(settings.secret_file);
    if (!secret) {
      return std::unexpected(secret.error());
    }
    SharedSecretOptions options{.base = settings.name.text(), .secret = *secret, .subject = {}, .key = std::move(*key)};
    if (!settings.subject.empty()) {
      options.subject = settings.subject;
    } else if (!kept_subject.empty()) {
      options.subject = std::string(kept_subject);
    }
    auto made = shared_secret_identity(std::move(options));
    wipe(*secret);
    if (!made) {
      return std::unexpected(fmt::format("the secret in {}: {}", settings.secret_file, made.error().message()));
    }
    out = std::move(*made);
  } else {
    auto provider = jwt_provider({.signing_key = settings.token_key,
                                  .subject = settings.token.subject,
                                  .issuer = settings.token.issuer,
                                  .audiences = settings.token.audiences,
                                  .duration_s = settings.token.duration_s,
                                  .key = std::move(*key)});
    auto verifier = jwt_verifier({.keys = {settings.verify_key}, .rules = settings.verify});
    if (!provider || !verifier) {
      return std::unexpected(fmt::format("`slipway.channels.identity.{}`: {}", provider ? "verify" : "token",
                                         provider ? verifier.error().message() : provider.error().message()));
    }
    out = {std::move(*provider), std::move(*verifier)};
  }
  keep += out.provider->subject();
  if (store && keep != kept) {
    store->put(kIdentityName, keep, {});
  }
  wipe(keep);
  wipe(kept);
  return out;
}

std::expected<void, std::string> NodeChannels::open(const ChannelSettings& settings) {
  if (!settings.on) {
    return {};
  }
  Impl& in = *impl_;
  in.settings = settings;
  if (!settings.store_file.empty()) {
    auto key = read_sealing_key(settings.key_file);
    if (!key) {
      return std::unexpected(key.error());
    }
    auto store = SqliteStore::open(*in.node.loop, settings.store_file, std::move(*key));
    if (!store) {
      return std::unexpected(store.error());
    }
    in.store = std::move(*store);
  }
  auto identity = in.make_identity();
  if (!identity) {
    return std::unexpected(identity.error());
  }
  in.identity = std::move(*identity);
  return {};
}

std::expected<void, std::string> NodeChannels::start() {
  Impl& in = *impl_;
  if (!in.settings.on) {
    return {};
  }
  auto link = in.node.open_link(in.settings.name.text());
  if (!link) {
    return std::unexpected("no link for the node's channels: " + link.error());
  }
  in.link = *link;
  in.connection = std::make_shared<LocalConnection>(in);
  ChannelHostOptions options{.local_name = in.settings.name,
                             .identity = std::move(in.identity),
                             .binding = binding_of(in.settings.binding),
                             .limit = in.settings.limit,
                             .file_managed = in.settings.file_managed,
                             .hosted = {},
                             .store = in.store.get(),
                             .between_steps = in.node.between_steps,
                             .log = in.node.log};
  for (const auto& hosted : in.settings.hosted) {
    options.hosted.push_back({hosted.name, hosted.mls, hosted.participants});
  }
  auto host = ChannelHost::create(*in.node.loop, in.connection, std::move(options));
  if (!host) {
    return std::unexpected(host.error());
  }
  in.host = std::move(*host);
  in.node.log(false, fmt::format("hosts channels as {}", in.host->local_name().text()));
  return {};
}

void NodeChannels::stop() {
  if (impl_->host) {
    impl_->host->stop();
  }
}

void NodeChannels::frame_in(LinkIndex link, std::uint32_t generation, std::span<const std::byte> frame) {
  if (impl_->connection && link == impl_->link.index && generation == impl_->link.generation) {
    impl_->connection->frame_in(frame);
  }
}

void NodeChannels::answer_in(std::span<const std::byte> frame) {
  if (!impl_->connection || frame_kind(frame.data()) != static_cast<std::uint8_t>(FrameKind::kSubscriptionAck)) {
    return;
  }
  if (const auto answer = decode_subscription_ack(frame)) {
    impl_->connection->answer_in(*answer);
  }
}

bool NodeChannels::turn() {
  Impl& in = *impl_;
  if (!in.connection || in.running) {
    return false;
  }
  in.running = true;
  const bool more = in.connection->pump([&in] { return in.node.loop->refresh_now(); }, kLocalTurnNs);
  in.running = false;
  return more;
}

}  // namespace slipway
