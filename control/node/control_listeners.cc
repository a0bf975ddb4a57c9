#include "node/control_listeners.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <utility>

#include "control_bounds.h"
#include "node/edge_profiles.h"
#include "node/sockets.h"

namespace slipway {

namespace {

constexpr std::uint32_t kControlSocketMode = 0660;  // who may open it controls the node

}  // namespace

ControlListeners::ControlListeners(Loop& loop, Log& log, ListeningService service) : loop_(loop), log_(log), service_(std::move(service)) {}

ControlListeners::~ControlListeners() { close(); }

std::expected<std::unique_ptr<ControlListeners::Listener>, std::string> ControlListeners::open_one(const EdgeServerSettings& server,
                                                                                                const NodeSettings& settings) {
  auto profile = make_edge_profile(server, settings);
  if (!profile) {
    return std::unexpected(profile.error());
  }
  auto fd = open_listening(server.address, kControlSocketMode);
  if (!fd) {
    return std::unexpected(fd.error());
  }
  auto listener = std::make_unique<Listener>();
  listener->settings = server;
  listener->config = service_.config(*(*profile)->transport);
  listener->fd = *fd;
  return listener;
}

std::expected<void, std::string> ControlListeners::open(const std::vector<EdgeServerSettings>& servers, const NodeSettings& settings) {
  for (const auto& server : servers) {
    auto listener = open_one(server, settings);
    if (!listener) {
      return std::unexpected(listener.error());
    }
    listeners_.push_back(std::move(*listener));
  }
  return {};
}

void ControlListeners::start() {
  for (auto& listener : listeners_) {
    watch(*listener);
  }
}

void ControlListeners::watch(Listener& listener) {
  if (auto watched = loop_.watch(listener.fd, fd_event::kReadable, [this, &listener](std::uint32_t) { accept(listener); }); !watched) {
    log_.warn(fmt::format("{}: {}", listener.settings.endpoint, watched.error()));
  }
}

void ControlListeners::accept(Listener& listener) {
  for (std::uint32_t i = 0; i < kAcceptBurst; ++i) {
    std::string peer;
    const int fd = accept_one(listener.fd, listener.settings.address.kind, peer);
    if (fd < 0) {
      return;
    }
    if (service_.add(fd, listener.config)) {
      ++listener.accepted;
    } else {
      ++listener.refused;
      log_.warn(fmt::format("{}: connection of {} refused: {} are open, which is the limit", listener.settings.endpoint, peer,
                                  service_.connections()));
    }
  }
}

void ControlListeners::close(Listener& listener) {
  if (listener.fd < 0) {
    return;
  }
  loop_.unwatch(listener.fd);
  if (listener.settings.address.kind == SocketKind::kUnix) {
    remove_socket_file(listener.fd, listener.settings.address.path);
  }
  ::close(std::exchange(listener.fd, -1));
}

ControlListeners::Change::~Change() {
  for (auto& listener : fresh) {
    owner->close(*listener);
  }
}

std::expected<std::unique_ptr<ControlListeners::Change>, std::string> ControlListeners::prepare(const std::vector<EdgeServerSettings>& servers,
                                                                                             const NodeSettings& next) {
  auto change = std::make_unique<Change>(*this);
  for (const auto& server : servers) {
    change->addresses.push_back(server.address);
    const auto at = std::ranges::find_if(listeners_, [&](const auto& l) { return l->settings.address == server.address; });
    if (at == listeners_.end()) {
      auto listener = open_one(server, next);
      if (!listener) {
        return std::unexpected(listener.error());
      }
      change->fresh.push_back(std::move(*listener));
    } else if (auto profile = make_edge_profile(server, next); !profile) {
      return std::unexpected(profile.error());
    } else {
      change->renewed.emplace_back(at->get(), service_.config(*(*profile)->transport));
    }
  }
  return change;
}

void ControlListeners::commit(Change& change, ReloadRow& row) {
  for (auto& [listener, config] : change.renewed) {
    listener->config = std::move(config);
  }
  std::erase_if(listeners_, [&](const auto& listener) {
    const bool stays = std::ranges::find(change.addresses, listener->settings.address) != change.addresses.end();
    if (!stays) {
      row.changed.push_back(fmt::format("no {} on {}", service_.what, listener->settings.endpoint));
      close(*listener);
    }
    return !stays;
  });
  for (auto& listener : std::exchange(change.fresh, {})) {
    row.changed.push_back(fmt::format("{} on {}", service_.what, listener->settings.endpoint));
    watch(*listener);
    listeners_.push_back(std::move(listener));
  }
}

void ControlListeners::close() {
  for (auto& listener : listeners_) {
    close(*listener);
  }
}

std::vector<ListenerRow> ControlListeners::rows() const {
  std::vector<ListenerRow> out;
  for (const auto& listener : listeners_) {
    out.push_back({.address = service_.mark + listener->settings.endpoint, .worker = {}, .port = 0, .accepted = listener->accepted,
                   .refused = listener->refused, .last_error = {}});
  }
  return out;
}

}  // namespace slipway
