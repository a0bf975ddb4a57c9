#pragma once
// Every key of the configuration file: the parser accepts these and no others, and CONFIG.md is made from this list.
// To add a key: one line here, one read in config.cc; a test checks that each key is read and that CONFIG.md is current.

#include <array>
#include <string_view>

namespace slipway {

struct ConfigKey {
  std::string_view section;   // "" is the top; "slipway.workers[]" an entry of a list
  std::string_view key;
  std::string_view type;      // "ignored": accepted because upstream accepts it, without effect here
  std::string_view default_text;
  std::string_view text;
};

inline constexpr auto kConfigKeys = std::to_array<ConfigKey>({
    {"", "tracing", "section", "", "Upstream's logging section."},
    {"", "runtime", "section", "", "Upstream's run-time section."},
    {"", "services", "section", "", "Upstream's services. Accepted only without servers, clients and peers: upstream's edge is not served by this build."},
    {"", "slipway", "section", "", "All that upstream's file has not."},

    {"tracing", "log_level", "trace, debug, info, warn, error or off", "info", "Log level, unless `slipway.log_level` says otherwise."},
    {"tracing", "display_thread_names", "ignored", "", "Accepted for upstream's sake."},
    {"tracing", "display_thread_ids", "ignored", "", "Accepted for upstream's sake."},
    {"tracing", "filters", "ignored", "", "Accepted for upstream's sake."},
    {"tracing", "opentelemetry", "ignored", "", "Accepted for upstream's sake; metrics are at `/metrics` of the control API."},

    {"runtime", "n_cores", "ignored", "", "Accepted for upstream's sake; see `slipway.workers`."},
    {"runtime", "thread_name", "ignored", "", "Accepted for upstream's sake."},
    {"runtime", "drain_timeout", "duration", "10s", "How long a stop may drain, unless `slipway.stop.drain_ms` says otherwise."},

    {"slipway", "node_id", "text", "random at each start", "What peers know this node by. Give one to every node that has peers."},
    {"slipway", "deployment", "text", "empty", "Peers must name the same deployment, or their links are refused."},
    {"slipway", "log_level", "trace, debug, info, warn, error or off", "info", "Can be changed while the node runs."},
    {"slipway", "huge_pages", "true or false", "true", "Use huge pages where there are any. Without them the node runs, slower on DPDK ports."},
    {"slipway", "workers", "list", "one socket worker; and one poll worker if there are `ports`", "The threads that forward."},
    {"slipway", "listen", "list", "TCP and UDP 127.0.0.1:46367", "Where native links are accepted."},
    {"slipway", "connect", "list", "empty", "Native links that this node makes, and makes again when they are lost."},
    {"slipway", "ports", "list", "empty", "DPDK ports."},
    {"slipway", "limits", "section", "", "Bounds."},
    {"slipway", "anycast_order", "nearest or upstream", "nearest", "nearest: local and edge alike, then peer, then remote. upstream: local, remote, peer, edge."},
    {"slipway", "anycast_choice", "round_robin or least_loaded", "round_robin", "Which receiver of a class gets an anycast."},
    {"slipway", "overflow", "stall or pause", "stall", "A receiver that takes nothing. stall: its newest frames are dropped, later it is closed. pause: its senders wait for ever, as upstream."},
    {"slipway", "routes", "list", "empty", "Static routes over links of `connect`."},
    {"slipway", "api", "section", "", "The control API."},
    {"slipway", "keepalive_ms", "number 0 .. 600000", "5000", "Silence after which a link is probed; after three times as long it is closed. 0: never."},
    {"slipway", "stop", "section", "", "How the node stops."},

    {"slipway.workers[]", "name", "text", "w0, w1, ...", "How `slipwayctl workers` calls it."},
    {"slipway.workers[]", "kind", "socket or poll", "socket", "socket: sockets, sleeps in io_uring. poll: DPDK ports."},
    {"slipway.workers[]", "cpu", "number 0 .. 1023", "not pinned", "The CPU that the thread is pinned to."},
    {"slipway.workers[]", "idle", "spin, pause or interrupt", "pause", "What a poll worker does without work: look again at once, pause ever longer, or wait for an interrupt. A socket worker sleeps."},

    {"slipway.listen[]", "tcp", "ADDRESS:PORT", "", "A native TCP listener. Each entry has exactly one of `tcp`, `udp`, `unix`."},
    {"slipway.listen[]", "udp", "ADDRESS:PORT", "", "A native UDP socket."},
    {"slipway.listen[]", "unix", "path", "", "A native Unix stream listener. A file left by a node that died is replaced."},
    {"slipway.listen[]", "worker", "name of a worker", "spread over the socket workers", "The worker of its links."},

    {"slipway.connect[]", "name", "text", "the address", "How routes and `slipwayctl links` call it."},
    {"slipway.connect[]", "to", "tcp://HOST:PORT, udp://HOST:PORT or unix://PATH", "", "Where the other node listens. A host that is a name is looked up for each attempt; its addresses take turns."},
    {"slipway.connect[]", "port", "name of a port", "a socket", "udp only: go through this DPDK port."},
    {"slipway.connect[]", "class", "peer, remote or edge", "peer", "peer: a replica of this deployment, subscriptions are synchronised. remote: another domain, static routes only. edge: as an application."},
    {"slipway.connect[]", "worker", "name of a worker", "spread over the socket workers", "The worker of the link."},
    {"slipway.connect[]", "backoff", "section", "", "Waits between attempts double from `first_ms` to `max_ms`."},
    {"slipway.connect[].backoff", "first_ms", "number 1 .. 600000", "100", "The first wait."},
    {"slipway.connect[].backoff", "max_ms", "number 1 .. 600000", "10000", "The longest wait."},

    {"slipway.ports[]", "name", "text", "p0, p1, ...", "How `slipwayctl ports` calls it."},
    {"slipway.ports[]", "device", "PCI address or vdev string", "", "For example 0000:03:00.0, or net_af_packet0,iface=veth0. A PCI device must be bound to a DPDK driver."},
    {"slipway.ports[]", "addresses", "list of ADDRESS/BITS", "", "The port's own IPv4 and IPv6 addresses; it answers ARP, neighbour discovery and echo for them."},
    {"slipway.ports[]", "vlan", "number 0 .. 4094", "0, untagged", "802.1Q tag."},
    {"slipway.ports[]", "mtu", "number 1280 .. 9600", "1500", "Of IP packets. Frames that are larger are cut and joined."},
    {"slipway.ports[]", "udp_port", "number 1 .. 65535", "46367", "Where native datagrams come in."},
    {"slipway.ports[]", "queues", "number 0 .. 32", "0: one for each poll worker", "Receive queues."},
    {"slipway.ports[]", "promiscuous", "true or false", "false", "Receive frames for other MAC addresses too, for devices that cannot filter."},
    {"slipway.ports[]", "routes", "list", "empty", "Networks that are reached by a gateway."},
    {"slipway.ports[].routes[]", "to", "ADDRESS/BITS", "", "The network; 0.0.0.0/0 and ::/0 are the default routes."},
    {"slipway.ports[].routes[]", "via", "ADDRESS", "", "The gateway, on one of the port's own networks."},

    {"slipway.limits", "node_bytes", "size 16MiB .. 64GiB", "256MiB", "Held by the node: partly received, queued, being joined."},
    {"slipway.limits", "link_queue_bytes", "size 64KiB .. 4GiB", "8MiB", "Queued towards one stream link."},
    {"slipway.limits", "frame_bytes", "size 4KiB .. 4MiB", "4MiB", "The largest frame."},
    {"slipway.limits", "buffers", "number 2048 .. 8388608", "16384", "Packet buffers of each memory node, about 2.4 KiB each."},
    {"slipway.limits", "links", "number 1 .. 16383", "16383", "Links at a time."},
    {"slipway.limits", "half_open_links", "number 1 .. 16383", "256", "Links at a time whose hello is not finished."},
    {"slipway.limits", "routes", "number 1 .. 16000000", "4000000", "Subscriptions held by the node."},
    {"slipway.limits", "subscriptions_per_link", "number 1 .. 16000000", "1000000", "The sender of one more is told."},
    {"slipway.limits", "api_connections", "number 1 .. 1024", "64", "Connections to the control API at a time."},

    {"slipway.routes[]", "name", "org/namespace/service[/id]", "", "The destination."},
    {"slipway.routes[]", "to", "name of a `connect` entry", "", "The link that leads there."},

    {"slipway.api", "unix", "path", "/run/slipway/control.sock for root, else $XDG_RUNTIME_DIR/slipway/control.sock", "The control API's socket. Who may open the file may control the node."},
    {"slipway.api", "tcp", "ADDRESS:PORT", "none", "Also over TCP. It has no authentication: loopback or a closed management network only."},

    {"slipway.stop", "drain_ms", "number 0 .. 600000", "10000", "How long a stop may send what is queued."},
});

}  // namespace slipway
