// A new configuration for a running node: checked as a whole, compared, additions before removals. What cannot change
// while the node runs is named. A file that is refused, or an address that cannot be had, changes nothing.
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>

#include "node/config.h"
#include "node/edge_profiles.h"
#include "node/node.h"
#include "node/node_channel_manager.h"
#include "node/service.h"

namespace slipway {

ReloadRow Node::reload() {
  ReloadRow row;
  if (config_path_.empty()) {
    row.error = "the node runs the embedded default: there is no file to read again";
    ++counters_.reloads_failed;
    return row;
  }
  auto next = load_config(config_path_);
  if (!next) {
    row.error = next.error();
    ++counters_.reloads_failed;
    return row;
  }
  notify_reloading();
  if (next->node_id_random) {
    next->node_id = settings_.node_id;
    next->node_id_random = settings_.node_id_random;
  }
  if (auto applied = apply_settings(*next, row); !applied) {
    row = {};
    row.error = applied.error();
    ++counters_.reloads_failed;
  } else {
    row.ok = true;
    config_text_ = read_text(config_path_);
    ++counters_.reloads;
    log_.info(fmt::format("configuration reloaded: {} change{}{}", row.changed.size(), row.changed.size() == 1 ? "" : "s",
                          row.needs_restart.empty() ? "" : fmt::format("; a restart is needed for {}", fmt::join(row.needs_restart, ", "))));
  }
  notify_ready(row.ok ? "configuration reloaded" : "reload refused");
  return row;
}

std::expected<void, std::string> Node::apply_settings(const NodeSettings& next, ReloadRow& row) {
  const auto later = [&](std::string_view key, bool same) {
    if (!same) {
      row.needs_restart.emplace_back(key);
    }
  };
  const auto& now = settings_;
  later("slipway.node_id", now.node_id == next.node_id);
  later("slipway.deployment", now.deployment == next.deployment);
  later("slipway.huge_pages", now.huge_pages == next.huge_pages);
  later("slipway.workers", now.workers == next.workers);
  later("slipway.ports", now.ports == next.ports);
  later("slipway.anycast_order", now.anycast_upstream == next.anycast_upstream);
  later("slipway.anycast_choice", now.anycast_least_loaded == next.anycast_least_loaded);
  later("slipway.channels", now.channels.written == next.channels.written);
  later("channel-manager", now.channel_manager.on == next.channel_manager.on);
  later("services.*.peers", now.full_mesh == next.full_mesh);
  later("slipway.limits.node_bytes", now.limits.node_bytes == next.limits.node_bytes);
  later("slipway.limits.buffers", now.limits.buffers == next.limits.buffers);
  later("slipway.limits.routes", now.limits.routes == next.limits.routes);
  later("slipway.limits.subscriptions_per_link", now.limits.subscriptions_per_link == next.limits.subscriptions_per_link);
  // Whatever can be refused comes first: new listeners, and new addresses of the control API.
  const auto before = listeners_.size();
  const auto give_back = [&] {
    while (listeners_.size() > before) {
      close_listener(*listeners_.back());
      listeners_.pop_back();
    }
  };
  for (const auto& listen : next.listen) {
    const bool there = std::ranges::any_of(listeners_, [&](const auto& l) { return !l->edge && l->settings == listen; });
    if (there) {
      continue;
    }
    if (auto opened = open_listener(listen); !opened) {
      if (listen.assumed) {
        continue;
      }
      give_back();
      return opened;
    }
    row.changed.push_back(fmt::format("listens on {}", listen.address.text()));
  }
  // Certificates are read again, also where the entry is as it was.
  std::vector<std::pair<Listener*, std::shared_ptr<const EdgeProfile>>> renewed;
  for (const auto& server : next.edge_servers) {
    const auto same = [&](const auto& l) { return l->edge && l->edge->address == server.address; };
    if (const auto at = std::ranges::find_if(listeners_, same); at != listeners_.end()) {
      auto profile = make_edge_profile(server, next);
      if (!profile) {
        give_back();
        return std::unexpected(profile.error());
      }
      if (!(*(*at)->edge == server)) {
        row.changed.push_back(fmt::format("serves {} otherwise, from the next connection on", server.endpoint));
      }
      (*at)->edge = server;
      renewed.emplace_back(at->get(), std::move(*profile));
    } else if (auto opened = open_edge_listener(server, next); !opened) {
      give_back();
      return opened;
    } else {
      row.changed.push_back(fmt::format("listens on {}", server.endpoint));
    }
  }
  for (const auto& client : next.edge_clients) {
    if (auto profile = make_edge_profile(client, next); !profile) {
      give_back();
      return std::unexpected(profile.error());
    }
  }
  const bool stays = next.api.unix_path.empty() && now.api.unix_path.empty();
  const auto api_path = stays ? api_unix_path_ : next.api.unix_path.empty() ? default_api_path() : next.api.unix_path;
  const bool move_unix = api_path != api_unix_path_;
  const bool move_tcp = next.api.tcp != now.api.tcp;
  int new_unix = -1;
  if (move_unix) {
    auto fd = listen_api_unix(api_path);
    if (!fd) {
      give_back();
      return std::unexpected(fd.error());
    }
    new_unix = *fd;
  }
  int new_tcp = -1;
  if (move_tcp && next.api.tcp) {
    auto fd = listen_api_tcp(*next.api.tcp);
    if (!fd) {
      give_back();
      if (move_unix) {
        http_->stop_listening(new_unix);
        unlink(api_path.c_str());
      }
      return std::unexpected(fd.error());
    }
    new_tcp = *fd;
  }
  auto manager_change = manager_->prepare(next);
  const std::expected<void, std::string> reloaded = manager_change ? controller_->reload(next, row) : std::unexpected(manager_change.error());
  if (!reloaded) {
    give_back();
    if (move_unix) {
      http_->stop_listening(new_unix);
      unlink(api_path.c_str());
    }
    if (new_tcp >= 0) {
      http_->stop_listening(new_tcp);
    }
    return reloaded;
  }
  // From here on nothing fails.
  manager_->commit(**manager_change, next, row);
  for (auto& [listener, profile] : renewed) {
    listener->profile = std::move(profile);
  }
  for (auto i = before; i < listeners_.size(); ++i) {
    start_listener(*listeners_[i]);
  }
  if (move_unix) {
    http_->stop_listening(std::exchange(api_unix_fd_, new_unix));
    unlink(std::exchange(api_unix_path_, api_path).c_str());
    row.changed.push_back(fmt::format("control API on {}", api_path));
  }
  if (move_tcp) {
    if (const int old = std::exchange(api_tcp_fd_, new_tcp); old >= 0) {
      http_->stop_listening(old);
    }
    row.changed.push_back(next.api.tcp ? fmt::format("control API on http://{}", to_text(*next.api.tcp)) : "no control API over TCP");
  }
  apply_lists(next, row);
  return {};
}

// Links, routes and numbers: additions, then removals.
void Node::apply_lists(const NodeSettings& next, ReloadRow& row) {
  std::vector<Dialer*> gone;
  for (auto& dialer : dialers_) {
    const bool stays = dialer->assigned ? true
                       : dialer->edge ? std::ranges::find(next.edge_clients, *dialer->edge) != next.edge_clients.end()
                                    : std::ranges::find(next.connect, dialer->settings) != next.connect.end();
    if (!dialer->removed && !stays) {
      gone.push_back(dialer.get());
    }
  }
  for (const auto& client : next.edge_clients) {
    const auto has = [&](const auto& d) { return !d->removed && d->edge && *d->edge == client; };
    if (std::ranges::none_of(dialers_, has) && add_edge_dialer(client, next)) {
      row.changed.push_back(fmt::format("connects to {}", client.endpoint));
    }
  }
  for (const auto& connect : next.connect) {
    const auto has = [&](const auto& d) { return !d->removed && !d->edge && d->settings == connect; };
    if (std::ranges::none_of(dialers_, has)) {
      add_dialer(connect);
      row.changed.push_back(fmt::format("connects to `{}`", connect.name));
    }
  }
  const auto configured = [&](const ManualRoute& r) {
    return std::ranges::any_of(next.routes, [&](const auto& s) { return s.name == r.name && s.to == r.to; });
  };
  for (const auto& added : next.routes) {
    const auto same = [&](const ManualRoute& r) { return r.name == added.name && r.to == added.to; };
    if (std::ranges::none_of(manual_routes_, same)) {
      manual_routes_.push_back({added.name, added.to, true});
      if (const auto* link = link_of(added.to)) {
        (void)subscriptions_->add_static(link->record.index, added.name);
      }
      row.changed.push_back(fmt::format("static route {} over `{}`", added.name.text(), added.to));
    }
  }
  for (auto at = manual_routes_.begin(); at != manual_routes_.end();) {
    if (at->configured && !configured(*at)) {
      if (const auto* link = link_of(at->to)) {
        (void)subscriptions_->remove_static(link->record.index, at->name);
      }
      row.changed.push_back(fmt::format("no static route {} over `{}`", at->name.text(), at->to));
      at = manual_routes_.erase(at);
    } else {
      ++at;
    }
  }
  for (auto* dialer : gone) {
    row.changed.push_back(fmt::format("no longer connects to `{}`", dialer->settings.name));
    remove_dialer(*dialer);
  }
  std::erase_if(dialers_, [](const auto& d) { return d->removed; });
  for (auto at = listeners_.begin(); at != listeners_.end();) {
    const auto same = [&](const EdgeServerSettings& server) { return server.address == (*at)->edge->address; };
    const bool stays = (*at)->edge ? std::ranges::any_of(next.edge_servers, same)
                                   : std::ranges::find(next.listen, (*at)->settings) != next.listen.end();
    if (!stays) {
      row.changed.push_back(fmt::format("no longer listens on {}", (*at)->settings.address.text()));
      close_listener(**at);
      at = listeners_.erase(at);
    } else {
      ++at;
    }
  }
  const auto number = [&](std::string_view key, auto& now, const auto& then) {
    if (now != then) {
      row.changed.emplace_back(key);
      now = then;
    }
  };
  number("slipway.keepalive_ms", settings_.keepalive_ms, next.keepalive_ms);
  number("slipway.stop.drain_ms", settings_.drain_ms, next.drain_ms);
  number("slipway.overflow", settings_.overflow, next.overflow);
  number("slipway.limits.frame_bytes", settings_.limits.frame_bytes, next.limits.frame_bytes);
  number("slipway.limits.link_queue_bytes", settings_.limits.link_queue_bytes, next.limits.link_queue_bytes);
  number("slipway.limits.links", settings_.limits.links, next.limits.links);
  number("slipway.limits.half_open_links", settings_.limits.half_open_links, next.limits.half_open_links);
  number("slipway.limits.api_connections", settings_.limits.api_connections, next.limits.api_connections);
  number("slipway.log_level", settings_.log_level, next.log_level);
  number("slipway.controller_commands", settings_.controller_commands, next.controller_commands);
  settings_.listen = next.listen;
  settings_.connect = next.connect;
  settings_.edge_servers = next.edge_servers;
  settings_.controller_servers = next.controller_servers;
  settings_.channel_manager = next.channel_manager;
  settings_.edge_clients = next.edge_clients;
  settings_.enforce_pqc = next.enforce_pqc;
  settings_.routes = next.routes;
  settings_.api = next.api;
  settings_.ignored = next.ignored;
  links_->policy() = policy_of(settings_);
  links_->table().set_capacity(settings_.limits.links);
  http_->set_max_connections(settings_.limits.api_connections);
  log_.set_level(settings_.log_level);
  links_->tick(now_ms());
}

}  // namespace slipway
