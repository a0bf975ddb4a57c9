#include "node/node_channels.h"

#include <fmt/format.h>

#include <utility>

#include "channel/channel_host.h"
#include "channel/key_file.h"
#include "channel/sqlite_store.h"
#include "identity/kept_identity.h"
#include "node/channel_identity.h"

namespace slipway {

namespace {

constexpr std::string_view kIdentityName = "identity";  // in the store

IdentityBinding binding_of(const std::string& word) {
  return word == "off" ? IdentityBinding::kOff : word == "enforce" ? IdentityBinding::kEnforce : IdentityBinding::kWarn;
}

}  // namespace

struct NodeChannels::Impl {
  explicit Impl(LocalNode of) : node(std::move(of)) {}
  std::expected<Identity, std::string> make_identity();

  LocalNode node;
  ChannelSettings settings;
  Identity identity;
  std::unique_ptr<SqliteStore> store;
  std::unique_ptr<LocalApplication> local;
  std::unique_ptr<ChannelHost> host;   // ends before what it calls
};

NodeChannels::NodeChannels(LocalNode node) : impl_(std::make_unique<Impl>(std::move(node))) {}
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
  auto key = !settings.private_key_file.empty()  ? SigningKey::load(settings.private_key_file)
             : !kept_key(kept).empty()         ? SigningKey::import(kept_key(kept))
                                               : SigningKey::generate();
  if (!key) {
    return std::unexpected(fmt::format("the node's key{}{}: {}", settings.private_key_file.empty() ? "" : " in ", settings.private_key_file,
                                       key.error().message()));
  }
  std::optional<std::string> subject;
  if (!settings.subject.empty()) {
    subject = settings.subject;
  } else if (!kept_subject(kept).empty()) {
    subject = std::string(kept_subject(kept));
  }
  auto out = channel_identity(settings, {.name = settings.name, .subject = std::move(subject), .key = std::move(*key)});
  if (!out) {
    return out;
  }
  std::string keep = kept_identity(*out);
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
  auto local = LocalApplication::open(in.node, in.settings.name.text());
  if (!local) {
    return std::unexpected("no link for the node's channels: " + local.error());
  }
  in.local = std::move(*local);
  ChannelHostOptions options{.local_name = in.settings.name,
                             .identity = std::move(in.identity),
                             .binding = binding_of(in.settings.binding),
                             .limit = in.settings.limit,
                             .file_managed = in.settings.file_managed,
                             .hosted = in.settings.hosted,
                             .store = in.store.get(),
                             .between_steps = in.node.between_steps,
                             .log = in.node.log};
  auto host = ChannelHost::create(*in.node.loop, in.local->connection(), std::move(options));
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

LocalApplication* NodeChannels::local() { return impl_->local.get(); }

}  // namespace slipway
