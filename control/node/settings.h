#pragma once
// What the configuration file says, checked and with every default filled in. Plain values: any thread.
// The keys, their types and defaults are listed in config_keys.h, from which CONFIG.md is made.

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/link.h"
#include "edge/auth_jwt.h"
#include "edge/tls_context.h"
#include "edge/transport_config.h"
#include "frame/name.h"
#include "node/channel_settings.h"
#include "port/ip_address.h"
#include "worker/worker.h"

namespace slipway {

inline constexpr std::uint16_t kNativePort = 46367;  // native TCP and UDP
inline constexpr std::uint16_t kApiPort = 46368;     // control API over TCP, when configured

struct WorkerSettings {
  std::string name;
  WorkerKind kind = WorkerKind::kSocket;
  std::optional<std::uint32_t> cpu;       // nothing: not pinned
  IdlePolicy idle = IdlePolicy::kPause;  // of a poll worker
  int line = 0;
  friend bool operator==(const WorkerSettings& a, const WorkerSettings& b) {
    return a.name == b.name && a.kind == b.kind && a.cpu == b.cpu && a.idle == b.idle;
  }
};

enum class SocketKind : std::uint8_t { kTcp, kUdp, kUnix };

// Where a socket listens or connects. Who listens has a numeric address.
struct SocketAddress {
  SocketKind kind = SocketKind::kTcp;
  IpEndpoint ip;     // kTcp, kUdp; with a host: only the port
  std::string path;  // kUnix
  std::string host;  // a name, looked up for each attempt to connect; empty: `ip` it is

  [[nodiscard]] std::string text() const;  // tcp://127.0.0.1:46367, unix:///run/x.sock
  friend bool operator==(const SocketAddress&, const SocketAddress&) = default;
};

struct ListenSettings {
  SocketAddress address;
  std::string worker;     // empty: spread over the socket workers
  int line = 0;
  bool assumed = false;   // the file does not say it, and is of a node of upstream's: it runs without it too
  friend bool operator==(const ListenSettings& a, const ListenSettings& b) {
    return a.address == b.address && a.worker == b.worker;
  }
};

struct ConnectSettings {
  std::string name;       // how static routes and `links` call it
  SocketAddress address;
  std::string port;       // udp only: the DPDK port to send through; empty: a socket
  LinkClass link_class = LinkClass::kPeer;
  std::string worker;
  std::uint32_t backoff_first_ms = 100;
  std::uint32_t backoff_max_ms = 10'000;
  int line = 0;
  friend bool operator==(const ConnectSettings& a, const ConnectSettings& b) {
    return a.name == b.name && a.address == b.address && a.port == b.port && a.link_class == b.link_class &&
           a.worker == b.worker && a.backoff_first_ms == b.backoff_first_ms && a.backoff_max_ms == b.backoff_max_ms;
  }
};

// `auth`: what a server asks of who connects, or what a client has to show.
struct EdgeAuthSettings {
  enum class Kind : std::uint8_t { kNone, kBasic, kJwt, kStaticJwt };
  Kind kind = Kind::kNone;
  std::string user;           // kBasic
  std::string password;
  AuthKeySource key;          // kJwt
  JwtRules rules;             //   of a server
  JwtClaims claims;           //   of a client
  std::string token_file;     // kStaticJwt, clients only
};

// What the entries of upstream's `servers` and `clients` have in common.
struct EdgeSettings {
  std::string endpoint;       // as written
  SocketAddress address;
  std::string host;           // of the endpoint as written, a name or an address without brackets; empty: a Unix socket
  bool websocket = false;
  std::string path = "/";     // of a WebSocket
  bool secure = false;
  TlsOptions tls;
  EdgeAuthSettings auth;
  bool strict_mac = true;     // `require_header_mac`
  std::uint64_t keepalive_time_ms = 0;
  std::uint64_t keepalive_timeout_ms = 0;
  std::string written;        // the whole entry: another text is another entry
  int line = 0;
  friend bool operator==(const EdgeSettings& a, const EdgeSettings& b) { return a.written == b.written; }
};
struct EdgeServerSettings : EdgeSettings {
  std::uint32_t max_frame_bytes = 0;   // HTTP/2; 0: the transport's own choice
  std::uint32_t max_header_bytes = 0;  // 0: the transport's own choice
  std::uint64_t max_age_ms = 7'200'000;
  std::uint64_t negotiation_timeout_ms = 5'000;
};
struct EdgeClientSettings : EdgeSettings {
  LinkClass link_class = LinkClass::kEdge;
  std::string link_id;        // empty: chosen at start
  std::string peer_node_id;   // of an entry of `peers`: what the other node calls itself; empty: an entry of `clients`
  std::optional<SocketAddress> proxy;  // the connection is made to this HTTP proxy, and by a tunnel to `address`
  ProxyTunnel tunnel;         //   what is asked of it; target and TLS are filled in when the profile is made
  bool proxy_secure = false;
  TlsOptions proxy_tls;
  std::string server_name;
  std::string origin;
  std::vector<std::pair<std::string, std::string>> headers;
  std::uint32_t backoff_first_ms = 2'000;
  std::uint32_t backoff_max_ms = 2'000;
};

struct PortSettings {
  std::string name;
  std::string device;       // PCI address or vdev string
  std::vector<IpPrefix> addresses;
  std::uint16_t vlan = 0;   // 0: untagged
  std::uint16_t mtu = 1500;
  std::uint16_t udp_port = kNativePort;
  std::uint16_t queues = 0; // receive queues; 0: one for each poll worker
  bool promiscuous = false;
  std::vector<StaticRoute> routes;
  int line = 0;
  friend bool operator==(const PortSettings& a, const PortSettings& b);
};

struct LimitSettings {
  std::uint64_t node_bytes = kNodeBudgetBytes;
  std::uint64_t link_queue_bytes = kLinkQueueBytes;
  std::uint32_t frame_bytes = kMaxFrameBytes;
  std::uint32_t buffers = 16'384;
  std::uint32_t links = kMaxLinks - 1;
  std::uint32_t half_open_links = 256;
  std::uint32_t routes = 4'000'000;
  std::uint32_t subscriptions_per_link = 1'000'000;
  std::uint32_t api_connections = 64;
  friend bool operator==(const LimitSettings&, const LimitSettings&) = default;
};

struct ApiSettings {
  std::string unix_path;             // empty: the default place for this user
  std::optional<IpEndpoint> tcp;
  friend bool operator==(const ApiSettings&, const ApiSettings&) = default;
};

struct StaticRouteSettings {
  TextName name;
  std::string to;                    // name of a `connect` entry
  int line = 0;
  friend bool operator==(const StaticRouteSettings& a, const StaticRouteSettings& b) {
    return a.name == b.name && a.to == b.to;
  }
};

// Upstream's service of channels, over those that the node hosts.
struct ChannelManagerSettings {
  bool on = false;
  std::vector<EdgeServerSettings> servers;   // one
  std::string local_name;                    // as upstream's file has it; empty: not given
  std::string audience;                      // what signed requests must be for; empty: the node's name as an application
  bool require_signatures = false;
  std::vector<std::string> operators;        // did:keys that may delete any channel
  int line = 0;
};

struct NodeSettings {
  std::string source;                // file name, or "embedded default"
  std::string node_id;               // never empty
  bool node_id_random = false;       // not configured: another one after each start
  std::string deployment;
  std::string log_level = "info";
  std::vector<WorkerSettings> workers;
  std::vector<ListenSettings> listen;
  std::vector<ConnectSettings> connect;
  std::vector<EdgeServerSettings> edge_servers;   // upstream's `dataplane.servers`
  std::vector<EdgeClientSettings> edge_clients;   // upstream's `dataplane.clients`
  std::vector<EdgeServerSettings> controller_servers;  // upstream's `controller.servers`
  bool controller_commands = false;                    // whether they may change links and routes
  ChannelManagerSettings channel_manager;              // upstream's `channel-manager`
  bool enforce_pqc = false;
  bool full_mesh = false;            // upstream's `peers`: each peer has a link to each other, so nothing is passed on between them
  std::vector<PortSettings> ports;
  LimitSettings limits;
  bool anycast_upstream = false;     // false: nearest class first
  bool anycast_least_loaded = false; // false: round robin
  OverflowPolicy overflow = OverflowPolicy::kStall;
  std::vector<StaticRouteSettings> routes;
  ApiSettings api;
  std::uint32_t keepalive_ms = 5'000;
  std::uint32_t drain_ms = 10'000;
  ChannelSettings channels;
  bool huge_pages = true;            // false: do not use them even where there are some
  std::vector<std::string> ignored;  // keys that were accepted and do nothing here, with their lines
};

}  // namespace slipway
