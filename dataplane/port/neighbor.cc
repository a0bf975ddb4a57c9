#include "port/neighbor.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>

#include "bounds.h"

namespace slipway {

Neighbors::Neighbors(const EthernetPort& port, const std::vector<IpPrefix>& prefixes, const std::vector<StaticRoute>& routes,
                     const NeighborTimes& times)
    : port_(port), times_(times) {
  // Longest first; among equals the order of the configuration.
  for (const IpPrefix& prefix : prefixes) {
    prefixes_.insert(std::ranges::upper_bound(prefixes_, prefix.length, std::greater{}, &IpPrefix::length), prefix);
  }
  for (const StaticRoute& route : routes) {
    routes_.insert(std::ranges::upper_bound(routes_, route.to.length, std::greater{}, [](const StaticRoute& r) { return r.to.length; }), route);
  }
  add_link_local();
}

// The address that the port has and the configuration has not.
void Neighbors::add_link_local() {
  for (const IpAddress& own : port_.own()) {
    const bool configured = std::ranges::any_of(prefixes_, [&](const IpPrefix& prefix) { return prefix.address == own; });
    if (!configured) {  // the link-local address
      prefixes_.push_back({.address = own, .length = 64});
    }
  }
}

std::expected<Neighbors::Path, std::string> Neighbors::path_to(const IpAddress& peer) const {
  const auto on_link = [this](const IpAddress& address) -> const IpPrefix* {
    const auto found = std::ranges::find_if(prefixes_, [&](const IpPrefix& prefix) { return prefix.contains(address); });
    return found == prefixes_.end() ? nullptr : &*found;
  };
  if (!is_unicast(peer)) {
    return std::unexpected(fmt::format("{} is not the address of one host.", to_text(peer)));
  }
  if (const IpPrefix* prefix = on_link(peer)) {
    return Path{.next_hop = peer, .own = prefix->address};
  }
  for (const StaticRoute& route : routes_) {
    if (route.to.contains(peer)) {
      if (const IpPrefix* prefix = on_link(route.via)) {
        return Path{.next_hop = route.via, .own = prefix->address};
      }
      return std::unexpected(fmt::format("The gateway {} of the route to {} is in no prefix of the port; correct `via` or `addresses`.",
                                         to_text(route.via), to_text(route.to)));
    }
  }
  return std::unexpected(fmt::format("No prefix and no route of the port covers {}; add it to `routes`.", to_text(peer)));
}

bool Neighbors::want(const IpAddress& next_hop, std::uint64_t now_ms, Output& out) {
  const auto found = entries_.find(next_hop);
  if (found != entries_.end()) {
    ++found->second.wanted;
    return true;
  }
  if (entries_.size() >= kMaxNeighbors) {
    return false;
  }
  Entry& entry = entries_[next_hop];
  entry.address = next_hop;
  entry.wanted = 1;
  ask(entry, now_ms, out);
  return true;
}

void Neighbors::release(const IpAddress& next_hop) {
  const auto found = entries_.find(next_hop);
  if (found != entries_.end() && --found->second.wanted == 0) {
    entries_.erase(found);
  }
}

std::optional<MacAddress> Neighbors::mac_of(const IpAddress& next_hop) const {
  const auto found = entries_.find(next_hop);
  if (found == entries_.end() || !found->second.resolved) {
    return std::nullopt;
  }
  return found->second.mac;
}

OuterTemplate Neighbors::outer_to(const IpEndpoint& peer) const {
  const auto path = path_to(address_of(peer));
  if (!path) {
    return {};
  }
  const auto mac = mac_of(path->next_hop);
  return mac ? make_outer(port_, path->own, peer, *mac) : OuterTemplate{};
}

void Neighbors::ask(Entry& entry, std::uint64_t now_ms, Output& out) {
  const auto path = path_to(entry.address);
  if (!path) {
    entry.next_ms = now_ms + times_.slow_retry_ms;
    return;
  }
  if (entry.resolved && entry.tries >= times_.tries) {
    entry.resolved = false;
    entry.tries = 0;
    out.changed.push_back(entry.address);
  }
  out.packets.push_back(make_solicitation(port_, path->own, entry.address, entry.resolved ? &entry.mac : nullptr));
  ++entry.tries;
  entry.next_ms = now_ms + (entry.tries <= times_.tries ? times_.retry_ms : times_.slow_retry_ms);
}

void Neighbors::report_groups(Output& out) const {
  if (auto report = make_group_report(port_); !report.empty()) {
    out.packets.push_back(std::move(report));
  }
}

void Neighbors::announce(Output& out) const {
  report_groups(out);  // first: the questions that the announcements cause go to these groups
  for (const IpAddress& own : port_.own()) {
    out.packets.push_back(make_announcement(port_, own));
  }
}

void Neighbors::packet_in(std::span<const std::byte> packet, std::uint64_t now_ms, Output& out) {
  const NeighborSaid said = read_neighbor(port_, packet);
  if (said.address.family == 0) {
    return;
  }
  if (std::ranges::count(port_.own(), said.address) != 0) {
    out.conflicts.push_back(said);
    return;
  }
  const auto found = entries_.find(said.address);
  if (found == entries_.end() || found->second.tries == 0 || !said.solicited) {
    return;  // nobody asked
  }
  Entry& entry = found->second;
  const bool changed = !entry.resolved || entry.mac != said.mac;
  entry.mac = said.mac;
  entry.resolved = true;
  entry.tries = 0;
  entry.heard_ms = now_ms;
  entry.next_ms = now_ms + times_.fresh_ms;
  if (changed) {
    out.changed.push_back(entry.address);
  }
}

void Neighbors::tick(std::uint64_t now_ms, Output& out) {
  for (auto& [address, entry] : entries_) {
    if (entry.next_ms <= now_ms) {
      ask(entry, now_ms, out);
    }
  }
}

void Neighbors::restart(const EthernetPort& port, std::uint64_t now_ms, Output& out) {
  const bool moved = port.mac != port_.mac;
  std::erase_if(prefixes_, [this](const IpPrefix& prefix) { return prefix.address == link_local_address(port_.mac); });
  port_ = port;
  add_link_local();
  announce(out);
  for (auto& [address, entry] : entries_) {
    entry.tries = 0;
    if (moved && entry.resolved) {
      out.changed.push_back(address);  // templates carry our own MAC address
    }
    ask(entry, now_ms, out);
  }
}

std::vector<Neighbors::Entry> Neighbors::entries() const {
  std::vector<Entry> all;
  for (const auto& [address, entry] : entries_) {
    all.push_back(entry);
  }
  return all;
}

std::uint64_t Neighbors::next_tick_ms() const {
  std::uint64_t next = std::numeric_limits<std::uint64_t>::max();
  for (const auto& [address, entry] : entries_) {
    next = std::min(next, entry.next_ms);
  }
  return next;
}

}  // namespace slipway
