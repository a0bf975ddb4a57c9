// What the node shows of itself through the control API.
#include <fmt/format.h>
#include <rte_cycles.h>
#include <rte_version.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>

#include "control_bounds.h"
#include "node/config.h"
#include "node/node.h"
#include "node/node_channel_manager.h"

namespace slipway {

namespace {

constexpr std::size_t kDropLinks = 8;  // links named under one drop reason

std::string class_name(LinkClass link_class) {
  switch (link_class) {
    case LinkClass::kLocal: return "local";
    case LinkClass::kRemote: return "remote";
    case LinkClass::kPeer: return "peer";
    case LinkClass::kEdge: return "edge";
  }
  return "";
}

std::string state_name(LinkState state) {
  switch (state) {
    case LinkState::kFree: return "free";
    case LinkState::kGreeting: return "greeting";
    case LinkState::kUp: return "up";
    case LinkState::kClosing: return "closing";
  }
  return "";
}

std::string target_state(LinkTarget::State state) {
  switch (state) {
    case LinkTarget::State::kWaiting: return "waiting";
    case LinkTarget::State::kDialing: return "dialing";
    case LinkTarget::State::kGreeting: return "greeting";
    case LinkTarget::State::kUp: return "up";
    case LinkTarget::State::kRemoved: return "removed";
  }
  return "";
}

std::uint64_t resident_bytes() {
  std::ifstream file("/proc/self/statm");
  std::uint64_t total = 0;
  std::uint64_t resident = 0;
  file >> total >> resident;
  return resident * static_cast<std::uint64_t>(sysconf(_SC_PAGESIZE));
}

double ratio(std::uint64_t a, std::uint64_t b) { return b == 0 ? 0.0 : static_cast<double>(a) / static_cast<double>(b); }

}  // namespace

VersionRow Node::version() { return {.version = SLIPWAY_VERSION, .dpdk = rte_version(), .frame_version = kFrameVersion}; }

StatusRow Node::status() {
  StatusRow row;
  row.node_id = settings_.node_id;
  row.version = SLIPWAY_VERSION;
  row.state = draining_ ? "draining" : "running";
  row.config = settings_.source;
  row.log_level = log_.level();
  row.pid = getpid();
  row.uptime_ms = now_ms() - begun_ms_;
  row.ready_ms = ready_after_ms_;
  row.workers = static_cast<std::uint32_t>(workers_->size());
  row.ports = static_cast<std::uint32_t>(ports_->ports().size());
  row.links_limit = links_->table().capacity();
  links_->table().each([&](const NodeLink& link) {
    row.links_up += link.record.state == LinkState::kUp;
    row.links_greeting += link.record.state == LinkState::kGreeting;
    row.links_closing += link.record.state == LinkState::kClosing;
    row.links_stalled += link.stalled;
  });
  row.routes = database_->routes();
  for (std::size_t i = 0; i < workers_->size(); ++i) {
    const auto& c = (*workers_)[i].counters();
    row.frames_in += c.frames_in.get();
    row.injected += c.injected.get();
    row.punted += c.punted.get();
    row.forwarded += c.forwarded.get();
    row.sent += c.sent.get();
    row.dropped += c.dropped_frames.get() + c.dropped_copies.get();
    row.held += (*workers_)[i].held();
  }
  row.budget_used_bytes = workers_->budget_used_bytes();
  row.budget_limit_bytes = settings_.limits.node_bytes;
  row.huge_pages = ports_->eal().huge_pages();
  if (settings_.node_id_random && !settings_.connect.empty()) {
    row.warnings.push_back("the node id is random: set `slipway.node_id`, so that peers know this node again");
  }
  if (const auto why = unhealthy(); !why.empty()) {
    row.warnings.push_back(why);
  }
  if (row.links_stalled != 0) {
    row.warnings.push_back(fmt::format("{} receivers take nothing: see `links`", row.links_stalled));
  }
  for (const auto& target : links_->targets()) {
    if (target.state == LinkTarget::State::kWaiting && !target.last_error.empty()) {
      row.warnings.push_back(fmt::format("link `{}` is down: {}", target.name, target.last_error));
    }
  }
  return row;
}

std::vector<PortRow> Node::ports() {
  std::vector<PortRow> out;
  for (const auto& port : ports_->ports()) {
    const auto& device = *port.device;
    PortRow row;
    row.port = device.ethernet().number;
    row.name = port.settings.name;
    row.device = port.settings.device;
    row.driver = device.driver();
    row.mac = to_text(device.ethernet().mac);
    for (const auto& address : device.config().addresses) {
      row.addresses.push_back(to_text(address));
    }
    row.vlan = port.settings.vlan;
    row.mtu = device.ethernet().mtu;
    row.udp_port = port.settings.udp_port;
    row.rx_queues = device.rx_queues();
    row.tx_queues = device.tx_queues();
    row.open = device.state().open.load(std::memory_order_relaxed);
    row.up = device.state().carrier.load(std::memory_order_relaxed);
    row.mbps = device.link().mbps;
    row.offloads = device.offloads();
    row.last_error = device.last_error();
    const auto stats = device.stats();
    row.counters = {{"rx_packets", stats.rx_packets}, {"rx_bytes", stats.rx_bytes},   {"rx_missed", stats.rx_missed},
                    {"rx_errors", stats.rx_errors},   {"rx_no_mbuf", stats.rx_no_mbuf}, {"tx_packets", stats.tx_packets},
                    {"tx_bytes", stats.tx_bytes},     {"tx_errors", stats.tx_errors}};
    row.extended = device.extended_stats();
    for (const auto& entry : port.neighbors->entries()) {
      row.neighbors.push_back({to_text(entry.address), entry.resolved ? to_text(entry.mac) : "", entry.resolved});
    }
    out.push_back(std::move(row));
  }
  return out;
}

std::vector<ListenerRow> Node::listeners() {
  std::vector<ListenerRow> out;
  for (const auto& listener : listeners_) {
    const bool udp = listener->settings.address.kind == SocketKind::kUdp;
    out.push_back({.address = listener->edge ? listener->edge->endpoint : listener->settings.address.text(),
                   .worker = udp ? (*workers_)[listener->worker].config().name : listener->settings.worker,
                   .port = listener->port,
                   .accepted = listener->accepted,
                   .refused = listener->refused,
                   .last_error = listener->last_error});
  }
  std::ranges::move(controller_->listeners(), std::back_inserter(out));
  std::ranges::move(manager_->listeners(), std::back_inserter(out));
  return out;
}

Node::LinkBase Node::sum_of(LinkIndex link) const {
  LinkBase sum;
  for (std::size_t i = 0; i < workers_->size(); ++i) {
    const auto& c = (*workers_)[i].link_counters()[link];
    sum.frames_in += c.frames_in.get();
    sum.bytes_in += c.bytes_in.get();
    sum.frames_sent += c.frames_sent.get();
    sum.bytes_sent += c.bytes_sent.get();
    sum.pauses += c.pauses.get();
    for (std::size_t r = 0; r < kDropReasonCount; ++r) {
      sum.drops[r] += c.drops[r].get();
    }
  }
  return sum;
}

LinkRow Node::row_of(const NodeLink& link) {
  const auto& record = link.record;
  LinkRow row;
  row.link = record.index;
  row.id = record.id();
  row.state = state_name(record.state);
  row.link_class = class_name(record.link_class);
  row.transport = link.transport;
  row.peer = record.transport == LinkTransport::kStream || record.transport == LinkTransport::kControl ? link.peer : to_text(record.peer);
  row.node_id = link.node_id;
  row.version = link.version;
  row.worker = (*workers_)[record.owner_worker].config().name;
  if (record.transport == LinkTransport::kEthernet && record.port < ports_->ports().size()) {
    row.port = ports_->ports()[record.port].settings.name;
  }
  row.name = link.target == kNoTarget ? "" : links_->targets()[link.target].name;
  row.dialed = link.we_dialed;
  row.stalled = link.stalled;
  row.age_ms = now_ms() - link.opened_ms;
  const bool heard_now = traffic(record.index).frames_in != link.in_seen;
  row.idle_ms = heard_now || now_ms() < link.heard_ms ? 0 : now_ms() - link.heard_ms;
  row.round_trip_us = link.round_trip_us;
  row.subscriptions = database_->link_subscriptions(record.index);
  row.max_frame_bytes = record.max_frame_bytes;
  row.datagram_bytes = record.datagram_bytes;
  row.last_error = link.last_error;
  if (link.edge != nullptr) {
    row.edge = true;
    row.mac = link.edge->mac;
    row.key_agreement = link.edge->key_agreement;
    row.link_id = link.edge->link_id;
    row.tls = link.edge->tls;
    row.certificate = link.edge->certificate;
    row.user = link.edge->user;
  }
  const auto sum = sum_of(record.index);
  const auto& base = link_bases_[record.index];
  row.frames_in = sum.frames_in - base.frames_in;
  row.bytes_in = sum.bytes_in - base.bytes_in;
  row.frames_sent = sum.frames_sent - base.frames_sent;
  row.bytes_sent = sum.bytes_sent - base.bytes_sent;
  row.pauses = sum.pauses - base.pauses;
  for (std::size_t r = 0; r < kDropReasonCount; ++r) {
    row.drops[r] = sum.drops[r] - base.drops[r];
  }
  for (std::size_t i = 0; i < workers_->size(); ++i) {
    const auto& c = (*workers_)[i].link_counters()[record.index];
    row.queued_frames += c.queued_frames.get();
    row.queued_bytes += c.queued_bytes.get();
  }
  return row;
}

LinksPage Node::links(std::uint32_t after, std::uint32_t at_most) {
  LinksPage page;
  links_->table().each([&](const NodeLink& link) {
    if (link.record.index <= after || page.next != 0) {
      return;
    }
    if (page.links.size() >= at_most) {
      page.next = page.links.back().link;
      return;
    }
    page.links.push_back(row_of(link));
  });
  for (const auto& target : links_->targets()) {
    if (target.state != LinkTarget::State::kRemoved) {
      const auto wait = target.state == LinkTarget::State::kWaiting && target.next_ms > now_ms() ? target.next_ms - now_ms() : 0;
      page.connect.push_back({target.name, target.address, class_name(target.link_class), target_state(target.state), target.attempts, wait,
                              target.link, target.last_error});
    }
  }
  for (const auto& closed : links_->recently_closed()) {
    page.recent.push_back({closed.index, closed.peer, closed.node_id, closed.reason, now_ms() - closed.closed_ms});
  }
  return page;
}

RoutesPage Node::routes(std::uint32_t after, std::uint32_t at_most, std::optional<std::uint32_t> link, const std::optional<TextName>& prefix) {
  const auto listed = link     ? database_->names_of_link(*link, after, at_most)
                      : prefix ? database_->instances(prefix->hashed(), after, at_most)
                               : database_->list(after, at_most);
  RoutesPage page;
  page.total = database_->routes();
  page.next = listed.next;
  for (const auto& row : listed.rows) {
    const auto of = [&](LinkClass c) { return row.links[static_cast<std::size_t>(c)]; };
    page.routes.push_back({row.text, of(LinkClass::kLocal), of(LinkClass::kEdge), of(LinkClass::kPeer), of(LinkClass::kRemote), row.only_link});
  }
  return page;
}

std::expected<ExplainRow, ApiFault> Node::explain(const TextName& name, std::uint32_t from, std::uint32_t hop_limit) {
  if (from != kNoLink && links_->table().find(from) == nullptr) {
    return std::unexpected(ApiFault{404, fmt::format("there is no link {}", from), "see `slipwayctl links`"});
  }
  ExplainQuery query;
  query.name = name.hashed();
  query.text = name.text();
  query.from = from;
  query.order = settings_.anycast_upstream ? AnycastOrder::kUpstream : AnycastOrder::kNearest;
  query.policy = settings_.anycast_least_loaded ? AnycastPolicy::kLeastLoaded : AnycastPolicy::kRoundRobin;
  query.hop_limit = static_cast<std::uint8_t>(hop_limit);
  if (const auto* in = from == kNoLink ? nullptr : links_->table().find(from); settings_.full_mesh && in != nullptr && in->record.link_class == LinkClass::kPeer) {
    query.classes = kAllButPeer;
  }
  const auto found = database_->explain(query);
  ExplainRow row{name.text(), from, found.total, {}, found.anycast, found.multicast, found.drop};
  for (const auto& match : found.matches) {
    const NodeLink* link = links_->table().find(match.link);
    row.matches.push_back({match.link, link == nullptr ? "" : link->peer, link == nullptr ? "" : link->node_id, class_name(match.link_class),
                           match.ids, match.is_ingress, match.class_allowed, match.candidate});
  }
  return row;
}

std::vector<DropRow> Node::drops() {
  std::vector<DropRow> out;
  for (std::size_t reason = 0; reason < kDropReasonCount; ++reason) {
    DropRow row{.reason = reason};
    for (std::size_t i = 0; i < workers_->size(); ++i) {
      const auto count = (*workers_)[i].counters().drops[reason].get();
      row.count += count;
      if (count != 0) {
        row.workers.emplace_back((*workers_)[i].config().name, count);
      }
    }
    if (const auto count = links_->turned_away(); reason == static_cast<std::size_t>(DropReason::kLinkRefused) && count != 0) {
      row.count += count;
      row.workers.emplace_back("control", count);
    }
    if (row.count == 0) {
      continue;
    }
    links_->table().each([&](const NodeLink& link) {
      std::uint64_t count = 0;
      for (std::size_t i = 0; i < workers_->size(); ++i) {
        count += (*workers_)[i].link_counters()[link.record.index].drops[reason].get();
      }
      count -= link_bases_[link.record.index].drops[reason];
      if (count != 0) {
        row.links.push_back({link.record.index, link.peer, count});
      }
    });
    std::ranges::sort(row.links, [](const auto& a, const auto& b) { return a.count > b.count; });
    row.links.resize(std::min(row.links.size(), kDropLinks));
    out.push_back(std::move(row));
  }
  return out;
}

std::vector<WorkerRow> Node::workers() {
  std::vector<WorkerRow> out;
  const double cycles_per_us = static_cast<double>(rte_get_tsc_hz()) / 1e6;
  for (std::size_t i = 0; i < workers_->size(); ++i) {
    const auto& worker = (*workers_)[i];
    const auto& c = worker.counters();
    WorkerRow row;
    row.id = worker.id();
    row.name = worker.config().name;
    row.kind = worker.config().kind == WorkerKind::kSocket ? "socket" : "poll";
    row.cpu = worker.config().cpu;
    row.running = worker.running();
    const auto busy = c.busy_cycles.get();
    row.busy_share = ratio(busy, busy + c.idle_cycles.get() + c.sleep_cycles.get());
    row.cycles_per_frame = ratio(busy, c.frames_in.get() + c.injected.get() + c.handoff_in.get());
    row.frames_per_burst = ratio(c.frames_in.get(), c.bursts.get());
    row.longest_loop_us = static_cast<double>(c.longest_loop_cycles.get()) / cycles_per_us;
    row.commands_waiting = fleet_->commands_waiting(i);
    row.sockets = worker.socket_features();
    for (const auto& text : kWorkerCounterTexts) {
      row.counters.push_back((c.*text.field).get());
    }
    for (const auto& fill : c.burst_fill) {
      row.burst_fill.push_back(fill.get());
    }
    for (std::size_t r = 0; r < kDropReasonCount; ++r) {
      row.drops[r] = c.drops[r].get();
    }
    out.push_back(std::move(row));
  }
  return out;
}

MemoryRow Node::memory() {
  MemoryRow row;
  row.resident_bytes = resident_bytes();
  row.dpdk_heap_bytes = ports_->eal().memory_bytes();
  row.huge_pages = ports_->eal().huge_pages();
  row.dpdk = ports_->eal().summary();
  for (const auto& pool : ports_->pools()) {
    row.pools.push_back({pool.name, pool.buffers, pool.free, pool.bytes});
  }
  row.budget_used_bytes = workers_->budget_used_bytes();
  row.budget_limit_bytes = settings_.limits.node_bytes;
  const auto routing = database_->memory();
  row.routes = routing.routes;
  row.route_limit = routing.route_limit;
  row.names = routing.names;
  row.table_bytes = routing.table_bytes;
  row.table_copies = tables_.size();
  row.database_bytes = routing.database_bytes;
  row.text_bytes = routing.text_bytes;
  row.table_bytes_per_route = routing.table_bytes_per_route;
  row.bytes_per_route = routing.bytes_per_route;
  for (std::size_t i = 0; i < workers_->size(); ++i) {
    row.ring_bytes += (*workers_)[i].ring_bytes();
    row.receive_bytes += (*workers_)[i].receive_bytes();
  }
  row.receive_in_heap = row.huge_pages;
  row.accounted_bytes = row.dpdk_heap_bytes + (row.receive_in_heap ? 0 : row.receive_bytes) + row.ring_bytes +
                        row.table_bytes * row.table_copies + row.database_bytes;
  return row;
}

ConfigRow Node::config() {
  ConfigRow row{settings_.source, {}, config_text_};
  std::string lines = describe_settings(settings_);
  for (std::size_t at = 0; at < lines.size();) {
    const auto end = lines.find('\n', at);
    row.running.push_back(lines.substr(at, end - at));
    at = end + 1;
  }
  return row;
}

ControlCounters Node::control_counters() {
  auto out = counters_;
  out.log_lines_folded = log_.folded();
  out.links_turned_away = links_->turned_away();
  return out;
}

}  // namespace slipway
