// The configuration file: values, defaults, and errors that name key and line.
#include "node/config.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>
#include <iterator>
#include <sstream>

#include "node/config_keys.h"

namespace slipway {
namespace {

NodeSettings good(std::string_view yaml) {
  auto settings = parse_config(yaml, "test.yaml");
  EXPECT_TRUE(settings) << (settings ? "" : settings.error());
  return settings.value_or(NodeSettings{});
}

std::string fault(std::string_view yaml) {
  auto settings = parse_config(yaml, "test.yaml");
  EXPECT_FALSE(settings) << yaml;
  return settings ? "" : settings.error();
}

TEST(Config, EmptyFileHasEveryDefault) {
  const auto settings = good("");
  ASSERT_EQ(settings.workers.size(), 1u);
  EXPECT_EQ(settings.workers[0].kind, WorkerKind::kSocket);
  ASSERT_EQ(settings.listen.size(), 2u);
  EXPECT_EQ(settings.listen[0].address.text(), "tcp://127.0.0.1:46367");
  EXPECT_EQ(settings.listen[1].address.text(), "udp://127.0.0.1:46367");
  EXPECT_TRUE(settings.node_id_random);
  EXPECT_FALSE(settings.node_id.empty());
  EXPECT_EQ(settings.limits, LimitSettings{});
  EXPECT_EQ(settings.keepalive_ms, 5000u);
  EXPECT_EQ(settings.drain_ms, 10000u);
  EXPECT_EQ(settings.overflow, OverflowPolicy::kStall);
}

TEST(Config, EmbeddedDefaultIsGood) {
  const auto settings = good(embedded_config());
  EXPECT_EQ(settings.listen.size(), 3u);
  EXPECT_TRUE(settings.ports.empty());
}

constexpr std::string_view kFull = R"(
tracing: {log_level: debug, display_thread_names: true, filters: [a]}
runtime: {n_cores: 4, drain_timeout: 1m30s}
services: {slim/0: {node_id: upstream-id, dataplane: {servers: []}}}
slipway:
  node_id: node-a
  deployment: lab
  log_level: warn
  huge_pages: false
  workers:
    - {name: s0, kind: socket, cpu: 1}
    - {name: poll0, kind: poll, cpu: 2, idle: interrupt}
  listen:
    - tcp: 0.0.0.0:5000
      worker: s0
    - udp: "[::1]:5001"
    - unix: /tmp/x.sock
  connect:
    - {name: b, to: "tcp://10.0.0.2:46367", class: peer, backoff: {first_ms: 50, max_ms: 60}}
    - {to: "udp://10.1.0.2:46367", port: nic, class: remote}
  ports:
    - name: nic
      device: net_null0
      addresses: [10.1.0.1/24, "fd00::1/64"]
      vlan: 7
      mtu: 9000
      udp_port: 5002
      queues: 2
      promiscuous: true
      routes:
        - {to: 0.0.0.0/0, via: 10.1.0.254}
  limits: {node_bytes: 512MiB, link_queue_bytes: 1048576, frame_bytes: 1MiB, buffers: 4096, links: 100,
           half_open_links: 10, routes: 1000, subscriptions_per_link: 50, api_connections: 5}
  anycast_order: upstream
  anycast_choice: least_loaded
  overflow: pause
  routes: [{name: org/ns/svc, to: b}]
  api: {unix: /tmp/api.sock, tcp: 127.0.0.1:46368}
  keepalive_ms: 1000
  stop: {drain_ms: 500}
)";

TEST(Config, EveryKeyIsRead) {
  const auto s = good(kFull);
  EXPECT_EQ(s.node_id, "node-a");
  EXPECT_EQ(s.deployment, "lab");
  EXPECT_EQ(s.log_level, "warn");
  EXPECT_FALSE(s.huge_pages);
  ASSERT_EQ(s.workers.size(), 2u);
  EXPECT_EQ(s.workers[1].kind, WorkerKind::kPoll);
  EXPECT_EQ(s.workers[1].idle, IdlePolicy::kInterrupt);
  EXPECT_EQ(s.workers[1].cpu, 2u);
  ASSERT_EQ(s.listen.size(), 3u);
  EXPECT_EQ(s.listen[0].worker, "s0");
  EXPECT_EQ(s.listen[1].address.text(), "udp://[::1]:5001");
  EXPECT_EQ(s.listen[2].address.text(), "unix:///tmp/x.sock");
  ASSERT_EQ(s.connect.size(), 2u);
  EXPECT_EQ(s.connect[0].backoff_max_ms, 60u);
  EXPECT_EQ(s.connect[1].name, "udp://10.1.0.2:46367");
  EXPECT_EQ(s.connect[1].link_class, LinkClass::kRemote);
  ASSERT_EQ(s.ports.size(), 1u);
  EXPECT_EQ(to_text(s.ports[0].addresses[1]), "fd00::1/64");
  EXPECT_EQ(s.ports[0].vlan, 7);
  EXPECT_EQ(s.ports[0].queues, 2);
  ASSERT_EQ(s.ports[0].routes.size(), 1u);
  EXPECT_EQ(to_text(s.ports[0].routes[0].via), "10.1.0.254");
  EXPECT_EQ(s.limits.node_bytes, 512u << 20);
  EXPECT_EQ(s.limits.link_queue_bytes, 1u << 20);
  EXPECT_EQ(s.limits.subscriptions_per_link, 50u);
  EXPECT_TRUE(s.anycast_upstream);
  EXPECT_TRUE(s.anycast_least_loaded);
  EXPECT_EQ(s.overflow, OverflowPolicy::kPause);
  ASSERT_EQ(s.routes.size(), 1u);
  EXPECT_EQ(s.routes[0].name.text(), "org/ns/svc");
  EXPECT_EQ(s.api.unix_path, "/tmp/api.sock");
  ASSERT_TRUE(s.api.tcp);
  EXPECT_EQ(s.api.tcp->port, 46368);
  EXPECT_EQ(s.keepalive_ms, 1000u);
  EXPECT_EQ(s.drain_ms, 500u);
  EXPECT_EQ(s.ignored.size(), 3u);  // two of tracing, n_cores
  EXPECT_NE(describe_settings(s).find("accepted without effect: line 3: runtime.n_cores"), std::string::npos);
}

TEST(Config, UpstreamSectionsGiveDefaults) {
  const auto s = good("tracing: {log_level: error}\nruntime: {drain_timeout: 2s}\nservices: {slim/0: {node_id: n7}}\n");
  EXPECT_EQ(s.log_level, "error");
  EXPECT_EQ(s.drain_ms, 2000u);
  EXPECT_EQ(s.node_id, "n7");
}

TEST(Config, UpstreamsServersAndClients) {
  const auto s = good(R"(
services:
  slim/0:
    node_id: n1
    domain_name: lab
    dataplane:
      servers:
        - endpoint: 0.0.0.0:46357
          tls: {insecure: true}
          require_header_mac: false
          keepalive: {time: 30s, max_connection_idle: 1h}
          auth: {type: basic, username: u, password: p}
        - endpoint: wss://0.0.0.0:443/slim
          tls: {source: {type: file, cert: /c.pem, key: /k.pem}, client_ca: {type: pem, data: x}, tls_version: tls1.2}
        - {endpoint: "unix:///tmp/s.sock", tls: {insecure: true}, http2_only: true}
      clients:
        - {endpoint: "http://far.example:46357", tls: {insecure: true}, connection_type: peer, backoff: {type: exponential, base: 50, max_delay: 2s}}
        - {endpoint: "https://10.0.0.1:46357", tls: {ca_source: {type: file, path: /ca.pem}}, headers: {x-a: b}}
)");
  EXPECT_EQ(s.deployment, "lab");
  ASSERT_EQ(s.edge_servers.size(), 3u);
  EXPECT_FALSE(s.edge_servers[0].secure);
  EXPECT_FALSE(s.edge_servers[0].strict_mac);
  EXPECT_EQ(s.edge_servers[0].keepalive_time_ms, 30'000u);
  EXPECT_EQ(s.edge_servers[0].keepalive_timeout_ms, 20'000u);
  EXPECT_EQ(s.edge_servers[0].auth.user, "u");
  EXPECT_TRUE(s.edge_servers[1].websocket && s.edge_servers[1].secure);
  EXPECT_EQ(s.edge_servers[1].path, "/slim");
  EXPECT_EQ(s.edge_servers[1].tls.certificate.file, "/c.pem");
  EXPECT_EQ(s.edge_servers[1].tls.ca.pem, "x");
  EXPECT_EQ(s.edge_servers[1].tls.max_version, TlsVersion::k12);
  EXPECT_EQ(s.edge_servers[2].address.kind, SocketKind::kUnix);
  ASSERT_EQ(s.edge_clients.size(), 2u);
  EXPECT_EQ(s.edge_clients[0].address.host, "far.example");
  EXPECT_EQ(s.edge_clients[0].link_class, LinkClass::kPeer);
  EXPECT_EQ(s.edge_clients[0].backoff_first_ms, 50u);
  EXPECT_EQ(s.edge_clients[0].backoff_max_ms, 2'000u);
  EXPECT_TRUE(s.edge_clients[1].secure);
  EXPECT_EQ(s.edge_clients[1].tls.ca.file, "/ca.pem");
  EXPECT_EQ(s.edge_clients[1].headers.size(), 1u);
  EXPECT_EQ(s.ignored.size(), 2u);
}

// Each key of the list, given a value that fits nothing, is refused by name: so each is read.
TEST(Config, EveryKeyOfTheListIsReadAndChecked) {
  for (const auto& key : kConfigKeys) {
    if (key.type == "ignored" || key.section.empty()) {
      continue;
    }
    std::string yaml;
    std::string section(key.section);
    if (const auto star = section.find('*'); star != std::string::npos) {
      section.replace(star, 1, "slim/0");
    }
    int depth = 0;
    const auto indent = [&] { return std::string(static_cast<std::size_t>(2 * depth), ' '); };
    std::istringstream parts(section);
    for (std::string part; std::getline(parts, part, '.'); ++depth) {
      if (part.ends_with("[]")) {
        yaml += fmt::format("{}{}:\n", indent(), part.substr(0, part.size() - 2));
        ++depth;
        yaml += fmt::format("{}-\n", indent());
      } else {
        yaml += fmt::format("{}{}:\n", indent(), part);
      }
    }
    yaml += fmt::format("{}{}: [[]]\n", indent(), key.key);
    const auto error = fault(yaml);
    EXPECT_FALSE(error.empty()) << key.section << "." << key.key;
  }
}

struct Fault {
  std::string_view yaml;
  std::string_view expected;  // is part of the error
};

TEST(Config, FaultsNameLineAndRemedy) {
  const Fault kFaults[] = {
      {"slipway:\n  listn: []\n", "test.yaml:2: unknown key `listn` in `slipway`; did you mean `listen`?"},
      {"slipwy: {}\n", "test.yaml:1: unknown key `slipwy` in the top level; did you mean `slipway`?"},
      {"slipway:\n  udp_port: 1\n", "it belongs to `slipway.ports[]`"},
      {"slipway:\n  qqqqqqqqqqqqqqqqq: 1\n", "known are: node_id"},
      {"slipway:\n  keepalive_ms: -1\n", "test.yaml:2: `slipway.keepalive_ms`: `-1` does not do: write a number from 0 to 600000"},
      {"slipway:\n  keepalive_ms: 1\n  keepalive_ms: 2\n", "test.yaml:3: `slipway.keepalive_ms` is there twice"},
      {"slipway:\n  overflow: explode\n", "write stall, pause"},
      {"slipway: 7\n", "test.yaml:1: `slipway` must be a section"},
      {"a: [\n", "not YAML"},
      {"slipway:\n  listen:\n    - tcp: 127.0.0.1\n", "test.yaml:3: `slipway.listen[].tcp`: `127.0.0.1` has no port"},
      {"slipway:\n  listen:\n    - tcp: example.org:1\n", "is no IP address"},
      {"slipway:\n  listen:\n    - tcp: ::1:5\n", "brackets"},
      {"slipway:\n  listen:\n    - tcp: 127.0.0.1:70000\n", "is no port"},
      {"slipway:\n  listen:\n    - {tcp: 127.0.0.1:1, udp: 127.0.0.1:1}\n", "exactly one of tcp, udp, unix"},
      {"slipway:\n  listen:\n    - {tcp: 127.0.0.1:1}\n    - {tcp: 127.0.0.1:1}\n", "test.yaml:4: tcp://127.0.0.1:1 is there twice"},
      {"slipway:\n  listen:\n    - {tcp: 127.0.0.1:1, worker: nobody}\n", "no worker is called `nobody`"},
      {"slipway:\n  listen: tcp\n", "must be a list"},
      {"slipway:\n  workers:\n    - {kind: poll}\n", "there are no `slipway.ports` to poll"},
      {"slipway:\n  workers:\n    - {kind: socket, idle: spin}\n", "always sleeps"},
      {"slipway:\n  workers:\n    - {name: a}\n    - {name: a}\n", "test.yaml:4: two workers are called `a`"},
      {"slipway:\n  workers: [{}]\n  ports:\n    - {device: net_null0}\n", "test.yaml:4: `slipway.ports` need a worker of `kind: poll`"},
      {"slipway:\n  ports:\n    - {name: x}\n", "test.yaml:3: `device` is missing"},
      {"slipway:\n  ports:\n    - {device: a, addresses: [10.0.0.1]}\n", "has no prefix length"},
      {"slipway:\n  ports:\n    - {device: a, addresses: [10.0.0.1/33]}\n", "the prefix length must be"},
      {"slipway:\n  ports:\n    - {device: a, routes: [{to: 0.0.0.0/0, via: 'fe80::1'}]}\n", "one IP version"},
      {"slipway:\n  connect:\n    - {class: peer}\n", "test.yaml:3: `to` is missing"},
      {"slipway:\n  connect:\n    - {to: 'http://1.2.3.4:5'}\n", "write tcp://"},
      {"slipway:\n  connect:\n    - {to: 'tcp://1.2.3.4:5', port: p0}\n", "only a udp:// link"},
      {"slipway:\n  connect:\n    - {to: 'udp://1.2.3.4:5', port: p0}\n", "no port is called `p0`"},
      {"slipway:\n  connect:\n    - {to: 'tcp://1.2.3.4:5', backoff: {first_ms: 100, max_ms: 10}}\n", "at least `first_ms`"},
      {"slipway:\n  routes:\n    - {name: a/b/c, to: x}\n", "test.yaml:3: `to`: no entry of `slipway.connect` is called `x`"},
      {"slipway:\n  routes:\n    - {name: a/b, to: x}\n", "test.yaml:3: `slipway.routes[].name`"},
      {"slipway:\n  limits: {node_bytes: 1TiB}\n", "write a size from"},
      {"slipway:\n  limits: {node_bytes: 16MiB, link_queue_bytes: 32MiB}\n", "must not be more than"},
      {"runtime: {drain_timeout: soon}\n", "write a duration"},
      {"runtime: {drain_timeout: 20000000000000000000s}\n", "write a duration"},
      {"services:\n  slim/0:\n    dataplane:\n      servers:\n        - endpoint: 0.0.0.0:46357\n",
       "test.yaml:5: TLS needs a certificate"},
      {"services:\n  slim/0:\n    dataplane:\n      servers:\n        - {endpoint: 'http://0.0.0.0:1', tls: {insecure: true}}\n", "test.yaml:5: `services.*.dataplane.servers[].endpoint`"},
      {"services:\n  slim/0:\n    dataplane:\n      servers:\n        - {endpoint: 'a.example:1', tls: {insecure: true}}\n", "test.yaml:5"},
      {"services:\n  slim/0:\n    dataplane:\n      servers:\n        - {endpoint: 'ws://0.0.0.0:1/x'}\n", "`ws://` has no TLS"},
      {"services:\n  slim/0:\n    dataplane:\n      servers:\n        - {endpoint: 0.0.0.0:1, tls: {insecure: true}, auth: {type: oidc, issuer_url: x}}\n", "test.yaml:5: `services.*.dataplane.servers[].auth`: `type: oidc` is not served"},
      {"services:\n  slim/0:\n    controller:\n      servers: [{endpoint: 0.0.0.0:46358}]\n", "test.yaml:4: TLS needs a certificate"},
      {"services:\n  slim/0:\n    controller:\n      servers: [{endpoint: 'ws://0.0.0.0:1', tls: {insecure: true}}]\n", "the control service is gRPC"},
      {"services:\n  slim/0:\n    controller:\n      servers: [{endpoint: 0.0.0.0:1, colour: red}]\n", "unknown key `colour`"},
      {"services:\n  slim/0:\n    controller:\n      clients: [{endpoint: 'http://c:50052'}]\n", "this node registers with no controller"},
      {"channel-manager:\n  audience: x\n", "test.yaml:2: `api-server` is missing"},
      {"channel-manager:\n  api-server: {endpoint: '127.0.0.1:1', tls: {insecure: true}}\n", "`channel-manager` needs `slipway.channels`"},
      {"channel-manager:\n  api-server: {endpoint: 'ws://127.0.0.1:1', tls: {insecure: true}}\n", "the channel manager is gRPC"},
      {"channel-manager:\n  persistence: {path: /x}\n", "channels are kept by `slipway.channels.store`"},
      {"channel-manager:\n  api-server: {endpoint: '127.0.0.1:1', tls: {insecure: true}}\n  operators: [bob]\n", "test.yaml:3: `bob` is no did:key"},
      {"services:\n  slim/0:\n    peers:\n      discovery: {type: kubernetes}\n", "test.yaml:4: `services.*.peers.discovery`"},
      {"slipway:\n  node_id: ${env:SLIPWAY_NO_SUCH_VARIABLE}\n", "no variable SLIPWAY_NO_SUCH_VARIABLE"},
      {"slipway:\n  node_id: ${file:/no/such/file}\n", "cannot read /no/such/file"},
  };
  for (const auto& [yaml, expected] : kFaults) {
    const auto error = fault(yaml);
    EXPECT_NE(error.find(expected), std::string::npos) << yaml << "\n  said: " << error << "\n  not:  " << expected;
  }
}

TEST(Config, AllThatIsNotServedIsToldAtOnce) {
  const auto error = fault("colour: red\nservices:\n  slim/0:\n    dataplane:\n      servers:\n        - {endpoint: 0.0.0.0:1, tls: {source: {type: spire, socket_path: x}}}\n"
                           "        - {endpoint: 0.0.0.0:2, tls: {insecure: true}, auth: {type: oidc, issuer_url: x}}\n"
                           "    controller:\n      clients: [{endpoint: 'http://c:50052'}]\n");
  EXPECT_EQ(error,
            "test.yaml:1: unknown key `colour` in the top level; known are: tracing, runtime, services, channel-manager, slipway\n"
            "test.yaml:6: `services.*.dataplane.servers[].tls.source`: `type: spire` is not served by this build: write file, pem or none\n"
            "test.yaml:7: `services.*.dataplane.servers[].auth`: `type: oidc` is not served by this build: write none, basic or jwt\n"
            "test.yaml:9: `services.*.controller.clients`: this node registers with no controller: remove the entries, and use slipwayctl or `slipway.routes`");
}

TEST(Config, EnvironmentIsSubstitutedForWholeValuesOnly) {
  setenv("SLIPWAY_TEST_ID", "from-env", 1);
  EXPECT_EQ(good("slipway: {node_id: '${env:SLIPWAY_TEST_ID}'}").node_id, "from-env");
  EXPECT_EQ(good("slipway: {node_id: 'x${env:SLIPWAY_TEST_ID}'}").node_id, "x${env:SLIPWAY_TEST_ID}");
}

TEST(Config, AliasBombIsRefused) {
  std::string yaml = "a: &a [x,x,x,x,x,x,x,x,x]\n";
  for (char c = 'b'; c < 'k'; ++c) {
    yaml += fmt::format("{0}: &{0} [*{1},*{1},*{1},*{1},*{1},*{1},*{1},*{1},*{1}]\n", c, static_cast<char>(c - 1));
  }
  EXPECT_NE(fault(yaml).find("values"), std::string::npos);
}

TEST(Config, ReferencePageIsCurrent) {
  std::ifstream file(CONFIG_PAGE);
  const std::string page{std::istreambuf_iterator<char>(file), {}};
  EXPECT_EQ(page, config_reference()) << "write the new page with: slipwayd --config-reference > control/node/CONFIG.md";
}

}  // namespace
}  // namespace slipway
