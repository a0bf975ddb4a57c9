#include "api/json.h"

#include <cmath>
#include <nlohmann/json.hpp>

namespace slipway {

namespace {

Json drops_json(const DropArray& drops) {
  Json out = Json::object();
  for (std::size_t i = 0; i < drops.size(); ++i) {
    if (drops[i] != 0) {
      out[std::string(kDropReasonTexts[i].name)] = drops[i];
    }
  }
  return out;
}

Json pairs_json(const std::vector<std::pair<std::string, std::uint64_t>>& pairs) {
  Json out = Json::object();
  for (const auto& [key, value] : pairs) {
    out[key] = value;
  }
  return out;
}

template <class T>
Json list_json(const std::vector<T>& rows) {
  Json out = Json::array();
  for (const auto& row : rows) {
    out.push_back(to_json_value(row));
  }
  return out;
}

double rounded(double value) { return std::isfinite(value) ? std::round(value * 1e6) / 1e6 : 0.0; }

}  // namespace

Json to_json_value(const VersionRow& r) {
  return {{"name", r.name}, {"version", r.version}, {"dpdk", r.dpdk}, {"frame_version", r.frame_version}};
}

Json to_json_value(const StatusRow& r) {
  return {{"node_id", r.node_id},
          {"version", r.version},
          {"state", r.state},
          {"config", r.config},
          {"log_level", r.log_level},
          {"pid", r.pid},
          {"uptime_ms", r.uptime_ms},
          {"ready_ms", r.ready_ms},
          {"workers", r.workers},
          {"ports", r.ports},
          {"links", {{"up", r.links_up}, {"greeting", r.links_greeting}, {"closing", r.links_closing}, {"stalled", r.links_stalled}, {"limit", r.links_limit}}},
          {"routes", r.routes},
          {"frames_in", r.frames_in},
          {"injected", r.injected},
          {"punted", r.punted},
          {"forwarded", r.forwarded},
          {"sent", r.sent},
          {"dropped", r.dropped},
          {"held", r.held},
          {"budget", {{"used_bytes", r.budget_used_bytes}, {"limit_bytes", r.budget_limit_bytes}}},
          {"huge_pages", r.huge_pages},
          {"warnings", r.warnings}};
}

Json to_json_value(const PortRow& r) {
  Json neighbors = Json::array();
  for (const auto& n : r.neighbors) {
    neighbors.push_back({{"address", n.address}, {"mac", n.mac}, {"resolved", n.resolved}});
  }
  return {{"port", r.port},
          {"name", r.name},
          {"device", r.device},
          {"driver", r.driver},
          {"mac", r.mac},
          {"addresses", r.addresses},
          {"vlan", r.vlan},
          {"mtu", r.mtu},
          {"udp_port", r.udp_port},
          {"rx_queues", r.rx_queues},
          {"tx_queues", r.tx_queues},
          {"open", r.open},
          {"up", r.up},
          {"mbps", r.mbps},
          {"offloads", r.offloads},
          {"last_error", r.last_error},
          {"counters", pairs_json(r.counters)},
          {"extended", pairs_json(r.extended)},
          {"neighbors", neighbors}};
}

Json to_json_value(const ListenerRow& r) {
  return {{"address", r.address}, {"worker", r.worker}, {"port", r.port}, {"accepted", r.accepted}, {"refused", r.refused}, {"last_error", r.last_error}};
}

Json to_json_value(const LinkRow& r) {
  Json edge = nullptr;
  if (r.edge) {
    edge = {{"mac", r.mac}, {"key_agreement", r.key_agreement}, {"link_id", r.link_id}, {"tls", r.tls}, {"certificate", r.certificate}, {"user", r.user}};
  }
  return {{"link", r.link},
          {"id", r.id},
          {"state", r.state},
          {"class", r.link_class},
          {"transport", r.transport},
          {"peer", r.peer},
          {"node_id", r.node_id},
          {"version", r.version},
          {"worker", r.worker},
          {"port", r.port},
          {"name", r.name},
          {"dialed", r.dialed},
          {"stalled", r.stalled},
          {"age_ms", r.age_ms},
          {"idle_ms", r.idle_ms},
          {"round_trip_us", r.round_trip_us},
          {"subscriptions", r.subscriptions},
          {"max_frame_bytes", r.max_frame_bytes},
          {"datagram_bytes", r.datagram_bytes},
          {"frames_in", r.frames_in},
          {"bytes_in", r.bytes_in},
          {"frames_sent", r.frames_sent},
          {"bytes_sent", r.bytes_sent},
          {"queued_frames", r.queued_frames},
          {"queued_bytes", r.queued_bytes},
          {"pauses", r.pauses},
          {"drops", drops_json(r.drops)},
          {"edge", edge},
          {"last_error", r.last_error}};
}

Json to_json_value(const LinksPage& p) {
  Json connect = Json::array();
  for (const auto& r : p.connect) {
    connect.push_back({{"name", r.name}, {"address", r.address}, {"class", r.link_class}, {"state", r.state}, {"attempts", r.attempts},
                       {"next_ms", r.next_ms}, {"link", r.link}, {"last_error", r.last_error}});
  }
  Json recent = Json::array();
  for (const auto& r : p.recent) {
    recent.push_back({{"link", r.link}, {"peer", r.peer}, {"node_id", r.node_id}, {"reason", r.reason}, {"ago_ms", r.ago_ms}});
  }
  return {{"links", list_json(p.links)}, {"connect", connect}, {"recent", recent}, {"next", p.next}};
}

Json to_json_value(const RoutesPage& p) {
  Json routes = Json::array();
  for (const auto& r : p.routes) {
    routes.push_back({{"name", r.name}, {"local", r.local}, {"edge", r.edge}, {"peer", r.peer}, {"remote", r.remote}, {"link", r.link}});
  }
  return {{"routes", routes}, {"total", p.total}, {"next", p.next}};
}

Json to_json_value(const ExplainRow& r) {
  Json matches = Json::array();
  for (const auto& m : r.matches) {
    matches.push_back({{"link", m.link}, {"peer", m.peer}, {"node_id", m.node_id}, {"class", m.link_class}, {"ids", m.ids},
                       {"is_ingress", m.is_ingress}, {"class_allowed", m.class_allowed}, {"candidate", m.candidate}});
  }
  return {{"name", r.name}, {"from", r.from}, {"total", r.total}, {"matches", matches}, {"anycast", r.anycast},
          {"multicast", r.multicast}, {"drop", r.drop.empty() ? Json(nullptr) : Json(r.drop)}};
}

Json to_json_value(const DropRow& r) {
  const auto& text = kDropReasonTexts[r.reason];
  Json links = Json::array();
  for (const auto& l : r.links) {
    links.push_back({{"link", l.link}, {"peer", l.peer}, {"count", l.count}});
  }
  return {{"reason", text.name}, {"count", r.count}, {"what", text.what}, {"advice", text.advice},
          {"workers", pairs_json(r.workers)}, {"links", links}};
}

Json to_json_value(const BooksRow& r) {
  return {{"worker", r.worker},
          {"frames",
           {{"in", r.frames_in}, {"injected", r.injected}, {"forwarded", r.forwarded}, {"punted", r.punted}, {"consumed", r.consumed},
            {"dropped", r.dropped_frames}, {"waiting", r.waiting}, {"difference", r.frames_difference}}},
          {"copies",
           {{"made", r.copies_made}, {"handoff_in", r.handoff_in}, {"sent", r.sent}, {"handoff_out", r.handoff_out},
            {"dropped", r.dropped_copies}, {"held", r.held}, {"difference", r.copies_difference}}}};
}

Json to_json_value(const BooksPage& p) {
  return {{"balanced", p.balanced}, {"total", to_json_value(p.total)}, {"workers", list_json(p.workers)}};
}

Json to_json_value(const WorkerRow& r) {
  Json counters = Json::object();
  for (std::size_t i = 0; i < r.counters.size() && i < kWorkerCounterTexts.size(); ++i) {
    counters[std::string(kWorkerCounterTexts[i].name)] = r.counters[i];
  }
  return {{"id", r.id},
          {"name", r.name},
          {"kind", r.kind},
          {"cpu", r.cpu},
          {"running", r.running},
          {"busy_share", rounded(r.busy_share)},
          {"cycles_per_frame", rounded(r.cycles_per_frame)},
          {"frames_per_burst", rounded(r.frames_per_burst)},
          {"longest_loop_us", rounded(r.longest_loop_us)},
          {"commands_waiting", r.commands_waiting},
          {"sockets", r.sockets},
          {"counters", counters},
          {"burst_fill", r.burst_fill},
          {"drops", drops_json(r.drops)}};
}

Json to_json_value(const MemoryRow& r) {
  Json pools = Json::array();
  for (const auto& p : r.pools) {
    pools.push_back({{"name", p.name}, {"buffers", p.buffers}, {"free", p.free}, {"bytes", p.bytes}});
  }
  return {{"resident_bytes", r.resident_bytes},
          {"accounted_bytes", r.accounted_bytes},
          {"workers", {{"ring_bytes", r.ring_bytes}, {"receive_bytes", r.receive_bytes}, {"receive_in_heap", r.receive_in_heap}}},
          {"dpdk", {{"heap_bytes", r.dpdk_heap_bytes}, {"huge_pages", r.huge_pages}, {"summary", r.dpdk}}},
          {"pools", pools},
          {"budget", {{"used_bytes", r.budget_used_bytes}, {"limit_bytes", r.budget_limit_bytes}}},
          {"routing",
           {{"routes", r.routes},
            {"route_limit", r.route_limit},
            {"names", r.names},
            {"table_bytes", r.table_bytes},
            {"table_copies", r.table_copies},
            {"database_bytes", r.database_bytes},
            {"text_bytes", r.text_bytes},
            {"table_bytes_per_route", rounded(r.table_bytes_per_route)},
            {"bytes_per_route", rounded(r.bytes_per_route)}}}};
}

Json to_json_value(const ConfigRow& r) { return {{"source", r.source}, {"running", r.running}, {"text", r.text}}; }

Json to_json_value(const ReloadRow& r) {
  return {{"ok", r.ok}, {"changed", r.changed}, {"needs_restart", r.needs_restart}};
}

Json to_json_value(const ChannelRow& r) {
  Json out{{"name", r.name.text()},
           {"state", r.state},
           {"mls", r.mls},
           {"node_could_read", r.node_could_read},
           {"epoch", r.epoch},
           {"session", r.session_id},
           {"members_count", r.member_count},
           {"waiting", r.waiting},
           {"created_by", r.created_by},
           {"created", r.created_s},
           {"from_file", r.from_file},
           {"restored", r.restored}};
  if (!r.members.empty()) {
    Json members = Json::array();
    for (const auto& member : r.members) {
      members.push_back({{"name", member.name.text()}, {"online", member.online}, {"moderator", member.moderator}});
    }
    out["members"] = std::move(members);
  }
  return out;
}

Json to_json_value(const ChannelCounters& c) {
  return {{"created", c.created},     {"removed", c.removed},     {"invited", c.invited}, {"invites_failed", c.invites_failed},
          {"taken_out", c.taken_out}, {"removals_failed", c.removals_failed}, {"refused", c.refused}, {"stored", c.stored},
          {"store_failed", c.store_failed}};
}

}  // namespace slipway
