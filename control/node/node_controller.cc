#include "node/node_controller.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "node/config_services.h"
#include "node/node.h"

namespace slipway {

namespace {

constexpr std::uint32_t kShownLinks = 1'024;           // of one name, in one list
constexpr std::size_t kAssignedLinks = 256;
constexpr int kConfigDepth = 8;                        // of sections in the configuration of a connection

}  // namespace

NodeController::NodeController(Node& node)
    : node_(node),
      server_(*node.loop_, *this),
      listeners_(*node.loop_, node.log_, {.what = "control service",
                                          .mark = "control ",
                                          .config = controller_config,
                                          .add = [this](int fd, auto config) { return server_.add(fd, std::move(config)); },
                                          .connections = [this] { return server_.connections(); }}) {}

NodeController::~NodeController() = default;

std::expected<void, std::string> NodeController::open(const NodeSettings& settings) { return listeners_.open(settings.controller_servers, settings); }

void NodeController::start() { listeners_.start(); }

std::expected<void, std::string> NodeController::reload(const NodeSettings& next, ReloadRow& row) {
  auto change = listeners_.prepare(next.controller_servers, next);
  if (!change) {
    return std::unexpected(change.error());
  }
  listeners_.commit(**change, row);
  return {};
}

void NodeController::drain() {
  listeners_.close();
  server_.drain();
}

// --- what it shows -----------------------------------------------------------------------------------

ControllerConnectionRow NodeController::row_of(const NodeLink& link) const {
  ControllerConnectionRow row;
  row.id = link.record.index;
  row.link_class = link.record.link_class;
  row.outgoing = link.we_dialed;
  if (!link.node_id.empty()) {
    row.node_id = link.node_id;
  }
  if (link.edge != nullptr && !link.edge->link_id.empty()) {
    row.link_id = link.edge->link_id;
  }
  if (link.target != kNoTarget) {
    // The form without secrets.
    const auto& target = node_.links_->targets()[link.target];
    const bool tls = target.edge != nullptr && target.edge->transport->tls != nullptr;
    row.config = nlohmann::json{{"endpoint", target.address}, {"tls_required", tls}, {"auth_method", "none"}}.dump(
        -1, ' ', false, nlohmann::json::error_handler_t::replace);
  }
  return row;
}

ControllerPage<ControllerConnectionRow> NodeController::controller_connections(std::uint32_t after, std::uint32_t at_most) {
  ControllerPage<ControllerConnectionRow> page;
  std::as_const(node_.links_->table()).each([&](const NodeLink& link) {
    if (link.record.index <= after || link.record.state != LinkState::kUp || page.next != 0) {
      return;
    }
    if (page.rows.size() == at_most) {
      page.next = static_cast<std::uint32_t>(page.rows.back().id);
      return;
    }
    page.rows.push_back(row_of(link));
  });
  return page;
}

ControllerPage<ControllerRouteRow> NodeController::controller_routes(std::uint32_t after, std::uint32_t at_most) {
  ControllerPage<ControllerRouteRow> page;
  const auto listed = node_.database_->list(after, at_most);
  page.next = listed.next;
  for (const auto& row : listed.rows) {
    ControllerRouteRow out{.name = {.text = node_.database_->text_parts(row.name), .name = row.name, .encoded = true}, .connections = {}};
    for (const LinkIndex index : node_.database_->links_of_name(row.name, kShownLinks)) {
      if (const NodeLink* link = node_.links_->table().find(index); link != nullptr) {
        out.connections.push_back(row_of(*link));
      }
    }
    page.rows.push_back(std::move(out));
  }
  return page;
}

// --- what it changes ---------------------------------------------------------------------------------

const NodeLink* NodeController::find(const std::string& link_id) const {
  const NodeLink* found = nullptr;
  std::as_const(node_.links_->table()).each([&](const NodeLink& link) {
    if (link.edge != nullptr && link.record.state == LinkState::kUp && link.edge->link_id == link_id) {
      found = &link;
    }
  });
  return found;
}

std::expected<void, std::string> NodeController::allowed() const {
  if (node_.settings_.controller_commands) {
    return {};
  }
  return std::unexpected("commands are switched off at this node: write `slipway: {controller_commands: true}` into its configuration");
}

std::expected<void, std::string> NodeController::controller_connect(const ControllerConnection& connection) {
  if (auto may = allowed(); !may) {
    return may;
  }
  const auto same = [&](const LinkTarget& t) {
    return t.state != LinkTarget::State::kRemoved && t.edge != nullptr && t.edge->link_id == connection.link_id;
  };
  if (!connection.link_id.empty() && (find(connection.link_id) != nullptr || std::ranges::any_of(node_.links_->targets(), same))) {
    return {};
  }
  auto client = assigned_client(connection);
  if (!client) {
    return std::unexpected(client.error());
  }
  if (links_.size() >= kAssignedLinks) {
    return std::unexpected(fmt::format("this node makes at most {} links for its control service", kAssignedLinks));
  }
  if (auto added = node_.add_edge_dialer(*client, node_.settings_); !added) {
    return added;
  }
  node_.dialers_.back()->assigned = true;
  links_.push_back(node_.links_->targets()[node_.dialers_.back()->target].edge->link_id);
  node_.log_.info(fmt::format("control service: connects to {}", client->endpoint));
  return {};
}

std::expected<void, std::string> NodeController::controller_disconnect(const std::string& link_id) {
  if (auto may = allowed(); !may) {
    return may;
  }
  std::erase(links_, link_id);
  for (auto& dialer : node_.dialers_) {
    const auto& target = node_.links_->targets()[dialer->target];
    if (!dialer->removed && target.edge != nullptr && target.edge->link_id == link_id) {
      node_.log_.info(fmt::format("control service: no longer connects to {}", target.address));
      node_.remove_dialer(*dialer);
      std::erase_if(node_.dialers_, [](const auto& d) { return d->removed; });
      return {};
    }
  }
  if (const NodeLink* link = find(link_id); link != nullptr) {
    node_.links_->close(link->record.index, "closed by the control service", node_.now_ms());
    return {};
  }
  return std::unexpected(fmt::format("Connection with link_id {} not found", link_id));
}

std::expected<void, std::string> NodeController::controller_route(bool add, const TextName& name, const std::string& link_id) {
  if (auto may = allowed(); !may) {
    return may;
  }
  const auto known = std::ranges::find_if(routes_, [&](const auto& r) { return r.held.name == name && r.held.link_id == link_id; });
  if (add && known != routes_.end() && find(link_id) != nullptr) {
    return {};
  }
  const NodeLink* link = find(link_id);
  if (link == nullptr && (add || known == routes_.end())) {
    return std::unexpected(fmt::format("connection not found: {}", link_id));
  }
  const std::string to = link == nullptr               ? known->to
                         : link->target == kNoTarget ? std::to_string(link->record.index)
                                                     : node_.links_->targets()[link->target].name;
  auto done = node_.route(add, name, to);
  if (!add && known != routes_.end()) {
    routes_.erase(known);
    return {};
  }
  if (!done) {
    return std::unexpected(done.error().error);
  }
  if (add && known == routes_.end() && routes_.size() < kControllerItems) {
    routes_.push_back({{name, link_id}, to});
  }
  return {};
}

std::vector<ControllerBackend::HeldRoute> NodeController::controller_held_routes() const {
  std::vector<HeldRoute> out;
  for (const auto& route : routes_) {
    out.push_back(route.held);
  }
  return out;
}

void NodeController::controller_applied(std::move_only_function<void()> call) { node_.after_applied(std::move(call)); }

void NodeController::controller_log(std::string text) { node_.log_.write(LogLevel::kDebug, text); }

std::expected<EdgeClientSettings, std::string> assigned_client(const ControllerConnection& connection) {
  bool deep = false;  // what is nested without end would use up the stack later on
  const auto bounded = [&](int depth, nlohmann::json::parse_event_t, nlohmann::json&) {
    deep = deep || depth > kConfigDepth;
    return !deep;
  };
  const auto config = nlohmann::json::parse(connection.config, bounded, false);
  if (deep || !config.is_object()) {
    return std::unexpected("the connection's configuration is no JSON object");
  }
  auto entry = config;
  if (config.contains("tls_required")) {
    const auto endpoint = config.value("endpoint", nlohmann::json());
    if (!endpoint.is_string() || !config["tls_required"].is_boolean()) {
      return std::unexpected("the connection's configuration needs `endpoint` and `tls_required`");
    }
    if (const auto method = config.value("auth_method", nlohmann::json("none")); method != "none") {
      return std::unexpected(fmt::format("no local credentials configured for {}", endpoint.get<std::string>()));
    }
    entry = {{"endpoint", endpoint}, {"connection_type", "remote"}, {"tls", {{"insecure", !config["tls_required"].get<bool>()}}}};
  }
  if (!connection.link_id.empty()) {
    entry["link_id"] = connection.link_id;
  }
  for (auto at = entry.begin(); at != entry.end();) {
    at = at->is_null() ? entry.erase(at) : std::next(at);
  }
  return read_edge_client(entry.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace));
}

}  // namespace slipway
