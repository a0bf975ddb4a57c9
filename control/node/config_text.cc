// What the configuration looks like to people: the reference page, the embedded default, and what --check prints.
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <cstdlib>
#include <iterator>

#include "node/config.h"
#include "node/config_keys.h"

namespace slipway {

namespace {

std::string runtime_directory() {
  if (geteuid() == 0) {
    return "/run/slipway";
  }
  const char* directory = std::getenv("XDG_RUNTIME_DIR");
  return directory != nullptr && *directory != '\0' ? fmt::format("{}/slipway", directory)
                                                    : fmt::format("/tmp/slipway-{}", geteuid());
}

constexpr std::size_t kApiPathNodeIdBytes = 40;   // of a socket's path of 107
constexpr std::string_view kAuthTexts[] = {"", ", basic authentication", ", JWT", ", JWT from a file"};
static_assert(std::size(kAuthTexts) == static_cast<std::size_t>(EdgeAuthSettings::Kind::kStaticJwt) + 1);
constexpr std::string_view kIdleNames[] = {"spins", "pauses", "waits for interrupts"};

std::string_view class_name(LinkClass link_class) {
  switch (link_class) {
    case LinkClass::kLocal: return "local";
    case LinkClass::kRemote: return "remote";
    case LinkClass::kPeer: return "peer";
    case LinkClass::kEdge: return "edge";
  }
  return "";
}

}  // namespace

std::string default_api_path() { return runtime_directory() + "/control.sock"; }

std::string further_api_path(const std::string& node_id) {
  const bool plain = !node_id.empty() && std::ranges::all_of(node_id, [](unsigned char c) { return std::isalnum(c) != 0 || c == '-' || c == '_'; });
  return fmt::format("{}/control-{}.sock", runtime_directory(), plain && node_id.size() <= kApiPathNodeIdBytes ? node_id : std::to_string(getpid()));
}

std::string embedded_config() {
  return fmt::format(
      "slipway:\n"
      "  workers:\n"
      "    - {{name: w0, kind: socket}}\n"
      "  listen:\n"
      "    - tcp: 127.0.0.1:{0}\n"
      "    - udp: 127.0.0.1:{0}\n"
      "    - unix: {1}/native.sock\n",
      kNativePort, runtime_directory());
}

std::string describe_settings(const NodeSettings& settings) {
  std::string out;
  const auto line = [&out]<class... T>(fmt::format_string<T...> format, T&&... arguments) {
    fmt::format_to(std::back_inserter(out), format, std::forward<T>(arguments)...);
    out += '\n';
  };
  line("node {}{}, from {}", settings.node_id, settings.node_id_random ? " (random: set slipway.node_id)" : "", settings.source);
  for (const auto& worker : settings.workers) {
    const bool socket = worker.kind == WorkerKind::kSocket;
    line("worker {}: {}, {}, {} when idle", worker.name, socket ? "sockets" : "DPDK ports",
         worker.cpu ? fmt::format("on CPU {}", *worker.cpu) : "not pinned",
         socket ? "sleeps" : kIdleNames[static_cast<std::size_t>(worker.idle)]);
  }
  for (const auto& port : settings.ports) {
    std::string addresses;
    for (const auto& address : port.addresses) {
      addresses += " " + to_text(address);
    }
    line("port {}: {}, UDP {}, MTU {}{},{}", port.name, port.device, port.udp_port, port.mtu,
         port.vlan == 0 ? "" : fmt::format(", VLAN {}", port.vlan), addresses.empty() ? " no address" : addresses);
    for (const auto& route : port.routes) {
      line("  {} by {}", to_text(route.to), to_text(route.via));
    }
  }
  for (const auto& listen : settings.listen) {
    line("listens on {}{}", listen.address.text(), listen.worker.empty() ? "" : ", worker " + listen.worker);
  }
  for (const auto& server : settings.controller_servers) {
    line("upstream's control service on {}{}", server.endpoint, server.secure ? " with TLS" : "");
  }
  for (const auto& server : settings.channel_manager.servers) {
    line("upstream's channel manager on {}{}, {} operators{}", server.endpoint, server.secure ? " with TLS" : "", settings.channel_manager.operators.size(),
         settings.channel_manager.require_signatures ? ", only signed requests" : "");
  }
  for (const auto& server : settings.edge_servers) {
    line("serves upstream's applications and nodes on {}{}{}{}", server.endpoint, server.secure ? ", TLS" : ", no TLS",
         server.tls.ca.given() ? ", client certificates" : "", kAuthTexts[static_cast<std::size_t>(server.auth.kind)]);
  }
  for (const auto& client : settings.edge_clients) {
    line("connects to upstream's node {} as {}{}{}{}", client.endpoint, class_name(client.link_class), client.secure ? ", TLS" : ", no TLS",
         kAuthTexts[static_cast<std::size_t>(client.auth.kind)], client.proxy ? fmt::format(", through the proxy {}{}", client.proxy->text(), client.proxy_secure ? " over TLS" : "") : "");
  }
  for (const auto& connect : settings.connect) {
    line("connects to {} as {}{} (`{}`)", connect.address.text(), class_name(connect.link_class),
         connect.port.empty() ? "" : " through port " + connect.port, connect.name);
  }
  for (const auto& route : settings.routes) {
    line("static route {} over `{}`", route.name.text(), route.to);
  }
  if (const auto& channels = settings.channels; channels.on) {
    line("hosts channels as {}, {}; {}", channels.name.text(), channels.secret_file.empty() ? "JWT" : "shared secret",
         channels.store_file.empty() ? "they end with the node" : "kept in " + channels.store_file);
    for (const auto& hosted : channels.hosted) {
      line("  channel {}{}: {} participants", hosted.name.text(), hosted.mls ? " with MLS: the node is a member and could read" : " without MLS",
           hosted.participants.size());
    }
  }
  line("control API on unix://{}{}", settings.api.unix_path.empty() ? default_api_path() : settings.api.unix_path,
       settings.api.tcp ? " and http://" + to_text(*settings.api.tcp) : "");
  line("anycast: {}, {}; overflow: {}; keepalive {} ms; drain {} ms; log level {}",
       settings.anycast_upstream ? "upstream's order" : "nearest first", settings.anycast_least_loaded ? "least loaded" : "round robin",
       settings.overflow == OverflowPolicy::kStall ? "stall" : "pause", settings.keepalive_ms, settings.drain_ms, settings.log_level);
  for (const auto& key : settings.ignored) {
    line("accepted without effect: {}", key);
  }
  return out;
}

std::string config_reference() {
  std::string out =
      "# Configuration\n\n"
      "`slipwayd --config FILE` reads one YAML file; `--check` validates it and says what would run. Without `--config` the\n"
      "embedded default runs: one socket worker, native TCP and UDP on 127.0.0.1:46367, and a Unix socket.\n"
      "An unknown key is an error that names it and its line. A value that is nothing but `${env:NAME}` or `${file:PATH}` is\n"
      "replaced by what it names. Sizes are bytes, or written as 512KiB, 64MiB, 1GiB; durations as 10s, 1m30s, 500ms.\n\n"
      "This page is made from `config_keys.h`; a test compares them.\n";
  std::string_view section = "\n";
  for (const auto& key : kConfigKeys) {
    if (key.section != section) {
      section = key.section;
      out += fmt::format("\n## {}\n\n| key | value | default | meaning |\n|---|---|---|---|\n",
                         section.empty() ? "Top level" : fmt::format("`{}`", section));
    }
    out += fmt::format("| `{}` | {} | {} | {} |\n", key.key, key.type, key.default_text, key.text);
  }
  return out;
}

}  // namespace slipway
