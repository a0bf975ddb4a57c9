#include "node/config.h"

#include <fmt/format.h>
#include <yaml-cpp/yaml.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <random>
#include <system_error>

#include "node/config_channels.h"
#include "node/config_manager.h"
#include "node/config_services.h"
#include "node/yaml_section.h"

namespace slipway {

namespace {

constexpr std::size_t kMaxConfigBytes = 1u << 20;
constexpr std::size_t kMaxAliasWalk = 100'000;
constexpr std::size_t kMaxNodeIdBytes = 128;
constexpr auto kLogLevels = {"trace", "debug", "info", "warn", "error", "off"};

std::string random_node_id() {
  std::random_device device;
  return fmt::format("node-{:08x}{:08x}", device(), device());
}

std::string read_log_level(YamlSection& section, const std::string& fallback) {
  const auto at = section.choice("log_level", {"trace", "debug", "info", "warn", "error", "off"}, 6);
  return at < kLogLevels.size() ? kLogLevels.begin()[at] : fallback;
}

// An address, or the fault told and an empty one.
template <class T>
T read_parsed(YamlSection& section, std::string_view key, std::expected<T, std::string> (*parse)(std::string_view)) {
  if (!section.has(key)) {
    section.reader().fail_line(section.line(), fmt::format("`{}` is missing", key));
    return {};
  }
  auto value = parse(section.text(key, ""));
  if (!value) {
    section.fail(key, value.error());
    return {};
  }
  return *value;
}

// As parse_ip_prefix, but the length must be there: a port whose network is forgotten reaches nobody.
std::expected<IpPrefix, std::string> parse_prefix(std::string_view text) {
  if (text.find('/') == std::string_view::npos) {
    return std::unexpected(fmt::format("`{}` has no prefix length: write ADDRESS/BITS, as in 10.0.0.1/24", text));
  }
  return parse_ip_prefix(text);
}

void read_workers(YamlSection& slipway, NodeSettings& out) {
  slipway.each("workers", [&](YamlSection entry) {
    WorkerSettings worker;
    worker.line = entry.line();
    worker.name = entry.text("name", fmt::format("w{}", out.workers.size()));
    worker.kind = entry.choice("kind", {"socket", "poll"}, 0) == 0 ? WorkerKind::kSocket : WorkerKind::kPoll;
    if (entry.has("cpu")) {
      worker.cpu = static_cast<std::uint32_t>(entry.number("cpu", 0, 1023, 0));
    }
    constexpr IdlePolicy kPolicies[] = {IdlePolicy::kSpin, IdlePolicy::kPause, IdlePolicy::kInterrupt};
    worker.idle = kPolicies[entry.choice("idle", {"spin", "pause", "interrupt"}, 1)];
    if (entry.has("idle") && worker.kind == WorkerKind::kSocket) {
      entry.fail("idle", "a socket worker always sleeps when it has nothing to do; only a poll worker has a choice");
    }
    if (std::ranges::any_of(out.workers, [&](const auto& w) { return w.name == worker.name; })) {
      entry.reader().fail_line(worker.line, fmt::format("two workers are called `{}`", worker.name));
    }
    out.workers.push_back(std::move(worker));
  });
  if (out.workers.size() > kMaxWorkers) {
    slipway.fail("workers", fmt::format("at most {} workers", kMaxWorkers));
  }
}

void check_worker_name(YamlSection& entry, const NodeSettings& out, const std::string& name) {
  if (name.empty()) {
    return;
  }
  const auto at = std::ranges::find(out.workers, name, &WorkerSettings::name);
  if (at == out.workers.end()) {
    entry.fail("worker", fmt::format("no worker is called `{}`", name));
  } else if (at->kind != WorkerKind::kSocket) {
    entry.fail("worker", fmt::format("`{}` is a poll worker; sockets need a socket worker", name));
  }
}

void read_listen(YamlSection& slipway, NodeSettings& out) {
  slipway.each("listen", [&](YamlSection entry) {
    ListenSettings listen;
    listen.line = entry.line();
    const int kinds = entry.has("tcp") + entry.has("udp") + entry.has("unix");
    if (kinds != 1) {
      entry.reader().fail_line(listen.line, "an entry of `slipway.listen` has exactly one of tcp, udp, unix");
      return;
    }
    for (const auto* key : {"tcp", "udp", "unix"}) {
      if (entry.has(key)) {
        auto address = parse_socket_address(fmt::format("{}://{}", key, entry.text(key, "")));
        if (!address) {
          entry.fail(key, address.error());
          return;
        }
        listen.address = *address;
      }
    }
    listen.worker = entry.text("worker", "");
    check_worker_name(entry, out, listen.worker);
    if (std::ranges::any_of(out.listen, [&](const auto& l) { return l.address == listen.address; })) {
      entry.reader().fail_line(listen.line, fmt::format("{} is there twice", listen.address.text()));
    }
    out.listen.push_back(std::move(listen));
  });
}

void read_ports(YamlSection& slipway, NodeSettings& out) {
  slipway.each("ports", [&](YamlSection entry) {
    PortSettings port;
    port.line = entry.line();
    port.name = entry.text("name", fmt::format("p{}", out.ports.size()));
    port.device = entry.text("device", "");
    if (port.device.empty()) {
      entry.reader().fail_line(port.line, "`device` is missing: write a PCI address or a vdev string");
    }
    entry.each_text("addresses", [&](const std::string& text, const YAML::Node& at) {
      if (auto prefix = parse_prefix(text)) {
        port.addresses.push_back(*prefix);
      } else {
        entry.reader().fail(at, prefix.error());
      }
    });
    port.vlan = static_cast<std::uint16_t>(entry.number("vlan", 0, 4094, 0));
    port.mtu = static_cast<std::uint16_t>(entry.number("mtu", kMinPortMtu, kMaxPortMtu, 1500));
    port.udp_port = static_cast<std::uint16_t>(entry.number("udp_port", 1, 65535, kNativePort));
    port.queues = static_cast<std::uint16_t>(entry.number("queues", 0, kMaxWorkers, 0));
    port.promiscuous = entry.boolean("promiscuous", false);
    entry.each("routes", [&](YamlSection route) {
      const auto to = read_parsed(route, "to", parse_prefix);
      const auto via = read_parsed(route, "via", parse_ip_address);
      if (to.address.family != via.family) {
        route.reader().fail_line(route.line(), "`to` and `via` must be of one IP version");
      }
      port.routes.push_back({to, via});
    });
    const auto same = [&](const auto& p) { return p.name == port.name || p.device == port.device; };
    if (std::ranges::any_of(out.ports, same)) {
      entry.reader().fail_line(port.line, fmt::format("two ports have the name `{}` or the device `{}`", port.name, port.device));
    }
    out.ports.push_back(std::move(port));
  });
  if (out.ports.size() > kMaxPorts) {
    slipway.fail("ports", fmt::format("at most {} ports", kMaxPorts));
  }
}

void read_connect(YamlSection& slipway, NodeSettings& out) {
  slipway.each("connect", [&](YamlSection entry) {
    ConnectSettings connect;
    connect.line = entry.line();
    connect.address = read_parsed(entry, "to", parse_connect_address);
    connect.name = entry.text("name", connect.address.text());
    connect.port = entry.text("port", "");
    constexpr LinkClass kClasses[] = {LinkClass::kPeer, LinkClass::kRemote, LinkClass::kEdge};
    connect.link_class = kClasses[entry.choice("class", {"peer", "remote", "edge"}, 0)];
    connect.worker = entry.text("worker", "");
    check_worker_name(entry, out, connect.worker);
    auto backoff = entry.section("backoff");
    connect.backoff_first_ms = static_cast<std::uint32_t>(backoff.number("first_ms", 1, 600'000, 100));
    connect.backoff_max_ms = static_cast<std::uint32_t>(backoff.number("max_ms", 1, 600'000, 10'000));
    if (connect.backoff_max_ms < connect.backoff_first_ms) {
      backoff.fail("max_ms", "must be at least `first_ms`");
    }
    if (!connect.port.empty()) {
      if (connect.address.kind != SocketKind::kUdp) {
        entry.fail("port", "only a udp:// link goes through a DPDK port");
      } else if (std::ranges::none_of(out.ports, [&](const auto& p) { return p.name == connect.port; })) {
        entry.fail("port", fmt::format("no port is called `{}`", connect.port));
      }
    }
    if (std::ranges::any_of(out.connect, [&](const auto& c) { return c.name == connect.name; })) {
      entry.reader().fail_line(connect.line, fmt::format("two links are called `{}`", connect.name));
    }
    out.connect.push_back(std::move(connect));
  });
}

void read_limits(YamlSection section, LimitSettings& limits) {
  const auto number = [&](std::string_view key, std::uint64_t low, std::uint64_t high, std::uint32_t& value) {
    value = static_cast<std::uint32_t>(section.number(key, low, high, value));
  };
  limits.node_bytes = section.size("node_bytes", 16u << 20, std::uint64_t{64} << 30, limits.node_bytes);
  limits.link_queue_bytes = section.size("link_queue_bytes", 64u << 10, std::uint64_t{4095} << 20, limits.link_queue_bytes);
  limits.frame_bytes = static_cast<std::uint32_t>(section.size("frame_bytes", 4u << 10, kMaxFrameBytes, limits.frame_bytes));
  number("buffers", 2048, 8u << 20, limits.buffers);
  number("links", 1, kMaxLinks - 1, limits.links);
  number("half_open_links", 1, kMaxLinks - 1, limits.half_open_links);
  number("routes", 1, 16'000'000, limits.routes);
  number("subscriptions_per_link", 1, 16'000'000, limits.subscriptions_per_link);
  number("api_connections", 1, 1024, limits.api_connections);
  if (limits.link_queue_bytes > limits.node_bytes) {
    section.fail("link_queue_bytes", "must not be more than `slipway.limits.node_bytes`");
  }
}

void read_routes(YamlSection& slipway, NodeSettings& out) {
  slipway.each("routes", [&](YamlSection entry) {
    StaticRouteSettings route;
    route.line = entry.line();
    route.name = read_parsed(entry, "name", parse_name);
    route.to = entry.text("to", "");
    if (std::ranges::none_of(out.connect, [&](const auto& c) { return c.name == route.to; }) &&
        std::ranges::none_of(out.edge_clients, [&](const auto& c) { return c.endpoint == route.to; })) {
      entry.reader().fail_line(entry.line_of("to"), fmt::format("`to`: no entry of `slipway.connect` is called `{}`, and none of upstream's "
                                                                "`clients` has it as its endpoint", route.to));
    }
    out.routes.push_back(std::move(route));
  });
}

void read_api(YamlSection section, ApiSettings& api) {
  api.unix_path = section.text("unix", "");
  if (!api.unix_path.empty() && !parse_socket_address("unix://" + api.unix_path)) {
    section.fail("unix", "the path is too long for a socket");
  }
  if (section.has("tcp")) {
    api.tcp = read_parsed(section, "tcp", parse_ip_port);
  }
}

void read_slipway(YamlSection slipway, NodeSettings& out) {
  out.node_id = slipway.text("node_id", out.node_id);
  if (out.node_id.size() > kMaxNodeIdBytes) {
    slipway.fail("node_id", fmt::format("at most {} bytes", kMaxNodeIdBytes));
  }
  out.deployment = slipway.text("deployment", out.deployment);
  if (out.deployment.size() > kMaxNodeIdBytes) {
    slipway.fail("deployment", fmt::format("at most {} bytes", kMaxNodeIdBytes));
  }
  out.log_level = read_log_level(slipway, out.log_level);
  out.huge_pages = slipway.boolean("huge_pages", true);
  read_workers(slipway, out);
  read_ports(slipway, out);
  if (!slipway.has("workers")) {
    out.workers.push_back({.name = "w0"});
    if (!out.ports.empty()) {
      out.workers.push_back({.name = "w1", .kind = WorkerKind::kPoll, .idle = IdlePolicy::kPause});
    }
  }
  read_listen(slipway, out);
  if (!slipway.has("listen")) {
    for (const auto* address : {"tcp://127.0.0.1:46367", "udp://127.0.0.1:46367"}) {
      out.listen.push_back({.address = *parse_socket_address(address), .assumed = !out.edge_servers.empty()});
    }
  }
  read_connect(slipway, out);
  read_limits(slipway.section("limits"), out.limits);
  out.anycast_upstream = slipway.choice("anycast_order", {"nearest", "upstream"}, 0) == 1;
  out.anycast_least_loaded = slipway.choice("anycast_choice", {"round_robin", "least_loaded"}, 0) == 1;
  out.overflow = slipway.choice("overflow", {"stall", "pause"}, 0) == 1 ? OverflowPolicy::kPause : OverflowPolicy::kStall;
  read_routes(slipway, out);
  out.controller_commands = slipway.boolean("controller_commands", false);
  read_channels(slipway, out.channels);
  read_api(slipway.section("api"), out.api);
  out.keepalive_ms = static_cast<std::uint32_t>(slipway.number("keepalive_ms", 0, 600'000, out.keepalive_ms));
  auto stop = slipway.section("stop");
  out.drain_ms = static_cast<std::uint32_t>(stop.number("drain_ms", 0, 600'000, out.drain_ms));
}

void check_whole(ConfigReader& reader, const NodeSettings& out) {
  const auto has = [&](WorkerKind kind) {
    return std::ranges::any_of(out.workers, [&](const auto& w) { return w.kind == kind; });
  };
  if (!out.ports.empty() && !has(WorkerKind::kPoll)) {
    reader.fail_line(out.ports.front().line, "`slipway.ports` need a worker of `kind: poll` in `slipway.workers`");
  }
  if (out.ports.empty() && has(WorkerKind::kPoll)) {
    const auto at = std::ranges::find(out.workers, WorkerKind::kPoll, &WorkerSettings::kind);
    reader.fail_line(at->line, fmt::format("worker `{}` is of `kind: poll`, but there are no `slipway.ports` to poll", at->name));
  }
  const auto& manager = out.channel_manager;
  if (manager.on && !out.channels.on) {
    reader.fail_line(manager.line, "`channel-manager` needs `slipway.channels`: it is about the channels that this node hosts");
  } else if (manager.on && !manager.local_name.empty() && manager.local_name != out.channels.name.text()) {
    reader.fail_line(manager.line, fmt::format("`local-name` is {}, and the node is {} in `slipway.channels`", manager.local_name, out.channels.name.text()));
  }
  if (out.node_id.empty()) {
    for (const auto& client : out.edge_clients) {
      if (!client.peer_node_id.empty()) {
        reader.fail_line(client.line, "`peers` need a `node_id` of this node: which of two nodes connects goes by it");
      }
    }
  }
  const bool sockets = !out.listen.empty() || !out.edge_servers.empty() || !out.edge_clients.empty() || std::ranges::any_of(out.connect, [](const auto& c) { return c.port.empty(); });
  if (sockets && !has(WorkerKind::kSocket)) {
    const int line = !out.listen.empty()         ? out.listen.front().line
                     : !out.edge_servers.empty() ? out.edge_servers.front().line
                     : !out.edge_clients.empty() ? out.edge_clients.front().line
                                                 : out.connect.front().line;
    reader.fail_line(line, "sockets need a worker of `kind: socket` in `slipway.workers`");
  }
}

// Aliases make a small file a large tree: the walk is bounded.
std::size_t count_nodes(const YAML::Node& node, std::size_t budget) {
  if (budget == 0 || !node.IsDefined()) {
    return 1;
  }
  std::size_t seen = 1;
  if (node.IsMap() || node.IsSequence()) {
    for (const auto& entry : node) {
      if (seen >= budget) {
        break;
      }
      seen += count_nodes(node.IsMap() ? entry.second : entry, budget - seen);
    }
  }
  return seen;
}

}  // namespace

std::expected<NodeSettings, std::string> parse_config(std::string_view yaml, std::string_view source) {
  ConfigReader reader;
  reader.source = source;
  if (yaml.size() > kMaxConfigBytes) {
    return std::unexpected(fmt::format("{}: larger than {} bytes", source, kMaxConfigBytes));
  }
  NodeSettings out;
  out.source = source;
  try {
    const auto root = YAML::Load(std::string(yaml));
    if (count_nodes(root, kMaxAliasWalk) >= kMaxAliasWalk) {
      return std::unexpected(fmt::format("{}:1: more than {} values", source, kMaxAliasWalk));
    }
    YamlSection top(reader, root, "");
    auto tracing = top.section("tracing");
    out.log_level = read_log_level(tracing, "info");
    auto runtime = top.section("runtime");
    out.drain_ms = static_cast<std::uint32_t>(runtime.duration_ms("drain_timeout", 600'000, out.drain_ms));
    read_services(reader, top.raw("services"), out);
    read_channel_manager(top, out.channel_manager);
    read_slipway(top.section("slipway"), out);
    if (reader.ok()) {
      check_whole(reader, out);
    }
  } catch (const YAML::Exception& fault) {
    reader.fail_line(fault.mark.is_null() ? 1 : fault.mark.line + 1, fmt::format("not YAML: {}", fault.msg));
  }
  if (!reader.ok()) {
    return std::unexpected(reader.text());
  }
  if (out.node_id.empty()) {
    out.node_id = random_node_id();
    out.node_id_random = true;
  }
  settle_peers(out);
  out.ignored = std::move(reader.ignored);
  return out;
}

std::string read_text(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::string text(kMaxConfigBytes + 1, '\0');
  file.read(text.data(), static_cast<std::streamsize>(text.size()));
  text.resize(static_cast<std::size_t>(file.gcount()));
  return text;
}

std::expected<NodeSettings, std::string> load_config(const std::string& path) {
  std::error_code fault;
  if (!std::filesystem::is_regular_file(path, fault)) {
    return std::unexpected(fmt::format("cannot read the configuration file {}: {}", path, fault ? fault.message() : "it is no file"));
  }
  if (!std::ifstream(path, std::ios::binary)) {
    return std::unexpected(fmt::format("cannot read the configuration file {}: {}", path, std::strerror(errno)));
  }
  return parse_config(read_text(path), path);
}

}  // namespace slipway
