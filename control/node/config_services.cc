#include "node/config_services.h"

#include <fmt/format.h>

#include <algorithm>

#include "node/config.h"
#include "node/config_edge.h"

namespace slipway {

namespace {

constexpr std::uint64_t kMaxDurationMs = 30ull * 24 * 3600 * 1000;

// Of a key of which this build knows only the empty form.
void refuse_list(YamlSection& section, std::string_view key, std::string_view why) {
  const YAML::Node entries = section.raw(key);
  if (entries.IsDefined() && !entries.IsNull() && (entries.IsScalar() || entries.size() > 0)) {
    section.refuse(key, why);
  }
}

// `type: file` or `pem`, as upstream's sources have it. `both`: a certificate and its key; else CA certificates.
void read_source(YamlSection& tls, std::string_view name_of_it, bool both, TlsSource& certificate, TlsSource& key) {
  if (const auto type = word_of(tls, name_of_it, "type"); tls.has(name_of_it) && type != "none" && type != "file" && type != "pem") {
    tls.refuse(name_of_it, fmt::format("`type: {}` is not served by this build: write file, pem or none", type));
    return;
  }
  auto section = tls.section(name_of_it);
  const auto type = section.text("type", "none");
  if (type == "none") {
    return;
  }
  const bool file = type == "file";
  const auto read = [&](std::string_view name, TlsSource& source) {
    (file ? source.file : source.pem) = section.text(name, "");
    if (!source.given()) {
      section.reader().fail_line(section.line(), fmt::format("`{}` is missing", name));
    }
  };
  if (both) {
    read("cert", certificate);
    read("key", key);
  } else {
    read(file ? "path" : "data", certificate);
  }
}

}  // namespace

bool read_tls(YamlSection section, bool server, TlsOptions& tls) {
  tls.server = server;
  tls.min_version = tls.max_version = section.choice("tls_version", {"tls1.2", "tls1.3"}, 1) == 0 ? TlsVersion::k12 : TlsVersion::k13;
  read_source(section, "source", true, tls.certificate, tls.key);
  TlsSource none;
  read_source(section, server ? "client_ca" : "ca_source", false, tls.ca, none);
  if (!server) {
    tls.skip_verify = section.boolean("insecure_skip_verify", false);
    tls.system_roots = section.boolean("include_system_ca_certs_pool", true);
  }
  return !section.boolean("insecure", false);
}

namespace {

void read_edge_tls(YamlSection& entry, bool server, EdgeSettings& out) {
  out.secure = read_tls(entry.section("tls"), server, out.tls);
  if (out.websocket) {
    out.tls.alpn = "http/1.1";
  }
}

// The endpoint's scheme, taken off. Upstream chooses WebSocket by it.
std::string take_scheme(std::string_view& rest) {
  const auto end = rest.find("://");
  if (end == std::string_view::npos) {
    return {};
  }
  std::string scheme(rest.substr(0, end));
  rest.remove_prefix(end + 3);
  return scheme;
}

void read_endpoint(YamlSection& entry, bool server, EdgeSettings& out) {
  out.endpoint = entry.text("endpoint", "");
  std::string_view rest = out.endpoint;
  const auto scheme = take_scheme(rest);
  if (out.endpoint.empty()) {
    entry.reader().fail_line(entry.line(), "`endpoint` is missing");
    return;
  }
  if (scheme == "unix") {
    rest = rest.substr(0, rest.find_first_of("?#"));
    auto address = parse_socket_address("unix://" + std::string(rest));
    if (!address) {
      entry.fail("endpoint", address.error());
      return;
    }
    out.address = *address;
    return;
  }
  out.websocket = scheme == "ws" || scheme == "wss";
  const bool http = scheme == "http" || scheme == "https";
  if (!out.websocket && !(server ? scheme.empty() : http || scheme.empty())) {
    entry.fail("endpoint", fmt::format("`{}`: write {}", out.endpoint,
                                       server ? "ADDRESS:PORT, unix://PATH, ws://ADDRESS:PORT/PATH or wss://ADDRESS:PORT/PATH"
                                              : "http://HOST:PORT, https://HOST:PORT, unix://PATH, ws://HOST:PORT/PATH or wss://HOST:PORT/PATH"));
    return;
  }
  const auto slash = rest.find('/');
  if (slash != std::string_view::npos) {
    out.path = rest.substr(slash);
    rest = rest.substr(0, slash);
  }
  std::string host(rest);
  if (out.websocket && host.rfind(':') == std::string::npos) {
    host += scheme == "wss" ? ":443" : ":80";
  }
  out.host = host.substr(0, host.rfind(':'));
  if (out.host.starts_with('[') && out.host.ends_with(']')) {
    out.host = out.host.substr(1, out.host.size() - 2);
  }
  auto address = server ? parse_socket_address("tcp://" + host) : parse_connect_address("tcp://" + host);
  if (!address) {
    entry.fail("endpoint", address.error());
    return;
  }
  out.address = *address;
}

// What the scheme says about TLS and what `tls` says must agree.
void check_security(YamlSection& entry, const EdgeSettings& out) {
  if (out.address.kind == SocketKind::kUnix && out.secure) {
    entry.reader().fail_line(out.line, "a Unix socket has no TLS: write `tls: {insecure: true}`");
  } else if (out.endpoint.starts_with("wss://") && !out.secure) {
    entry.reader().fail_line(out.line, "`wss://` with `insecure: true`: write `ws://`");
  } else if (out.endpoint.starts_with("ws://") && out.secure) {
    entry.reader().fail_line(out.line, "`ws://` has no TLS: write `tls: {insecure: true}`, or `wss://`");
  } else if (out.secure && out.tls.server && !(out.tls.certificate.given() && out.tls.key.given())) {
    entry.reader().fail_line(out.line, "TLS needs a certificate: write `tls: {source: {type: file, cert: PATH, key: PATH}}`, or `tls: {insecure: true}`");
  }
}

}  // namespace

EdgeServerSettings read_edge_server(YamlSection& entry) {
  EdgeServerSettings server;
  server.line = entry.line();
  read_endpoint(entry, true, server);
  read_edge_tls(entry, true, server);
  read_edge_auth(entry, true, server.auth);
  auto keepalive = entry.section("keepalive");
  server.keepalive_time_ms = keepalive.duration_ms("time", kMaxDurationMs, kEdgeKeepaliveMs);
  server.keepalive_timeout_ms = keepalive.duration_ms("timeout", kMaxDurationMs, kEdgeKeepaliveTimeoutMs);
  server.max_age_ms = keepalive.duration_ms("max_connection_age", kMaxDurationMs, server.max_age_ms);
  server.max_frame_bytes = static_cast<std::uint32_t>(entry.number("max_frame_size", 1, 15, 4)) << 20;
  server.max_header_bytes = static_cast<std::uint32_t>(entry.number("max_header_list_size", 1024, 1u << 20, kMaxEdgeHeaderBytes));
  server.strict_mac = entry.boolean("require_header_mac", true);
  const auto older = entry.number("link_hmac_timeout_secs", 1, 600, 5);
  server.negotiation_timeout_ms = entry.number("negotiation_timeout_secs", 1, 600, older) * 1000;
  check_security(entry, server);
  return server;
}

namespace {

void add_server(YamlSection& entry, EdgeServerSettings server, std::vector<EdgeServerSettings>& to) {
  if (std::ranges::any_of(to, [&](const auto& s) { return s.address == server.address; })) {
    entry.reader().fail_line(server.line, fmt::format("{} is there twice", server.endpoint));
  }
  to.push_back(std::move(server));
}

void read_server(YamlSection entry, NodeSettings& out) { add_server(entry, read_edge_server(entry), out.edge_servers); }

// Upstream's tools speak gRPC alone to it.
void read_controller_server(YamlSection entry, NodeSettings& out) {
  auto server = read_edge_server(entry);
  if (server.websocket) {
    entry.fail("endpoint", "the control service is gRPC: write ADDRESS:PORT or unix://PATH");
  }
  add_server(entry, std::move(server), out.controller_servers);
}

void read_backoff(YamlSection section, EdgeClientSettings& client) {
  const bool exponential = section.choice("type", {"fixed_interval", "exponential"}, 0) == 1;
  if (exponential) {
    client.backoff_first_ms = static_cast<std::uint32_t>(section.number("base", 1, 600'000, 100));
    client.backoff_max_ms = static_cast<std::uint32_t>(section.duration_ms("max_delay", 600'000, 1'000));
    client.backoff_max_ms = std::max(client.backoff_max_ms, client.backoff_first_ms);
  } else {
    client.backoff_first_ms = client.backoff_max_ms =
        std::max<std::uint32_t>(1, static_cast<std::uint32_t>(section.duration_ms("interval", 600'000, 2'000)));
  }
}

EdgeClientSettings client_of(YamlSection& entry) {
  EdgeClientSettings client;
  client.line = entry.line();
  read_endpoint(entry, false, client);
  read_edge_tls(entry, false, client);
  if (client.endpoint.starts_with("http://") || client.endpoint.starts_with("ws://") || client.address.kind == SocketKind::kUnix) {
    client.secure = false;
  }
  read_edge_auth(entry, false, client.auth);
  constexpr LinkClass kClasses[] = {LinkClass::kEdge, LinkClass::kRemote, LinkClass::kPeer};
  client.link_class = kClasses[entry.choice("connection_type", {"edge", "remote", "peer"}, 0)];
  client.link_id = entry.text("link_id", "");
  client.origin = entry.text("origin", "");
  client.server_name = entry.text("server_name", "");
  if (const auto headers = entry.raw("headers"); entry.has("headers") && !headers.IsMap()) {
    entry.fail("headers", "must be a section of `name: value` lines");
  } else if (entry.has("headers")) {
    for (const auto& header : headers) {
      if (header.first.IsScalar() && header.second.IsScalar()) {
        client.headers.emplace_back(header.first.Scalar(), header.second.Scalar());
      }
    }
  }
  if (entry.has("keepalive")) {
    auto keepalive = entry.section("keepalive");
    client.keepalive_time_ms = keepalive.duration_ms("http2_keepalive", kMaxDurationMs, 60'000);
    client.keepalive_timeout_ms = keepalive.duration_ms("timeout", kMaxDurationMs, 10'000);
  }
  read_backoff(entry.section("backoff"), client);
  read_proxy(entry, client);
  client.strict_mac = entry.boolean("require_header_mac", true);
  return client;
}

template <class Read, class Entries>
void read_entries(YamlSection& dataplane, std::string_view key, Read read, Entries& entries) {
  const auto list = dataplane.raw(key);
  std::size_t at = 0;
  dataplane.each(key, [&](YamlSection entry) {
    const auto before = entries.size();
    read(entry);
    if (entries.size() > before) {
      entries.back().written = YAML::Dump(list[at]);
    }
    ++at;
  });
}

// Replicas of one deployment, each linked with each. Which of them this node dials is known once its own id is.
void read_peers(YamlSection peers, NodeSettings& out) {
  (void)peers.choice("topology", {"full_mesh"}, 0);
  if (!peers.has("discovery")) {
    return;
  }
  if (const auto type = word_of(peers, "discovery", "type"); type != "static") {
    peers.refuse("discovery", fmt::format("`type: {}` is not served by this build: write `type: static` and list the nodes in `peers`", type));
    return;
  }
  auto discovery = peers.section("discovery");
  (void)discovery.text("type", "static");
  out.full_mesh = true;
  read_entries(discovery, "peers", [&](YamlSection entry) {
    auto client = client_of(entry);
    client.link_class = LinkClass::kPeer;
    client.peer_node_id = entry.text("node_id", "");
    if (client.peer_node_id.empty()) {
      entry.reader().fail_line(entry.line(), "`node_id` is missing: what the other node calls itself");
    }
    out.edge_clients.push_back(std::move(client));
  }, out.edge_clients);
}

void read_service(YamlSection service, NodeSettings& out) {
  out.node_id = service.text("node_id", out.node_id);
  out.deployment = service.text("domain_name", out.deployment);
  auto dataplane = service.section("dataplane");
  read_entries(dataplane, "servers", [&](YamlSection entry) { read_server(std::move(entry), out); }, out.edge_servers);
  read_entries(dataplane, "clients", [&](YamlSection entry) { out.edge_clients.push_back(client_of(entry)); }, out.edge_clients);
  refuse_list(dataplane, "outbound_clients", "links that a controller assigns are not served by this build: remove the entries, and list the nodes in `clients`");
  out.enforce_pqc = dataplane.boolean("enforce_pqc", false);
  auto controller = service.section("controller");
  read_entries(controller, "servers", [&](YamlSection entry) { read_controller_server(std::move(entry), out); }, out.controller_servers);
  refuse_list(controller, "clients", "this node registers with no controller: remove the entries, and use slipwayctl or `slipway.routes`");
  refuse_list(controller, "outbound_clients", "this node registers with no controller: remove the entries");
  read_peers(service.section("peers"), out);
}

}  // namespace

std::string word_of(const YamlSection& section, std::string_view key, std::string_view word) {
  const auto inner = section.raw(key);
  if (inner.IsDefined() && inner.IsMap()) {
    for (const auto& entry : inner) {
      if (entry.first.IsScalar() && entry.first.Scalar() == word && entry.second.IsScalar()) {
        return entry.second.Scalar();
      }
    }
  }
  return {};
}

// The node with the smaller id dials, under a name that both know (upstream-node 5.6).
void settle_peers(NodeSettings& out) {
  std::erase_if(out.edge_clients, [&](const auto& client) { return !client.peer_node_id.empty() && client.peer_node_id <= out.node_id; });
  for (auto& client : out.edge_clients) {
    if (!client.peer_node_id.empty()) {
      client.link_id = fmt::format("{}:{}", out.node_id, client.peer_node_id);
    }
  }
}

std::expected<EdgeClientSettings, std::string> read_edge_client(const std::string& text) {
  ConfigReader reader{.source = "configuration", .fault = {}, .refused = {}, .ignored = {}};
  EdgeClientSettings client;
  try {
    const auto node = YAML::Load(text);
    YamlSection entry(reader, node, "services.*.dataplane.clients[]");
    client = client_of(entry);
    client.written = text;
  } catch (const YAML::Exception& fault) {
    return std::unexpected(fmt::format("the configuration cannot be read: {}", fault.what()));
  }
  if (!reader.ok()) {
    return std::unexpected(reader.text());
  }
  return client;
}

void read_services(ConfigReader& reader, const YAML::Node& services, NodeSettings& out) {
  if (!services.IsDefined() || services.IsNull()) {
    return;
  }
  if (!services.IsMap()) {
    reader.fail(services, "`services` must be a section");
    return;
  }
  for (const auto& service : services) {
    if (service.second.IsMap()) {
      read_service(YamlSection(reader, service.second, "services.*"), out);
    }
  }
}

}  // namespace slipway
