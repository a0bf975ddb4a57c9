#pragma once
// What the control API shows, as plain values: the node fills them in, json.cc writes them. Field names here are the
// stable names of the JSON (README.md).

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/counters.h"
#include "control_counters.h"

namespace slipway {

using DropArray = std::array<std::uint64_t, kDropReasonCount>;

struct VersionRow {
  std::string name = "slipwayd";
  std::string version;
  std::string dpdk;
  std::uint32_t frame_version = 0;
};

struct StatusRow {
  std::string node_id;
  std::string version;
  std::string state;         // running, draining
  std::string config;        // file, or "embedded default"
  std::string log_level;
  std::int64_t pid = 0;
  std::uint64_t uptime_ms = 0;
  std::uint64_t ready_ms = 0;    // from start to ready
  std::uint32_t workers = 0;
  std::uint32_t ports = 0;
  std::uint32_t links_up = 0;
  std::uint32_t links_greeting = 0;
  std::uint32_t links_closing = 0;
  std::uint32_t links_stalled = 0;
  std::uint32_t links_limit = 0;
  std::uint32_t routes = 0;      // subscriptions held
  std::uint64_t frames_in = 0;
  std::uint64_t injected = 0;    // frames of the node's own: answers, keepalives
  std::uint64_t punted = 0;      // to the control thread: subscriptions, keepalives
  std::uint64_t forwarded = 0;   // its own included
  std::uint64_t sent = 0;
  std::uint64_t dropped = 0;     // frames and copies
  std::uint64_t held = 0;
  std::uint64_t budget_used_bytes = 0;
  std::uint64_t budget_limit_bytes = 0;
  bool huge_pages = false;
  std::vector<std::string> warnings;
};

struct NeighborRow {
  std::string address;
  std::string mac;
  bool resolved = false;
};
struct PortRow {
  std::uint32_t port = 0;
  std::string name;
  std::string device;
  std::string driver;
  std::string mac;
  std::vector<std::string> addresses;
  std::uint32_t vlan = 0;
  std::uint32_t mtu = 0;
  std::uint32_t udp_port = 0;
  std::uint32_t rx_queues = 0;
  std::uint32_t tx_queues = 0;
  bool open = false;
  bool up = false;
  std::uint32_t mbps = 0;
  std::string offloads;
  std::string last_error;
  std::vector<std::pair<std::string, std::uint64_t>> counters;   // rx_packets, rx_missed, ...
  std::vector<std::pair<std::string, std::uint64_t>> extended;   // the driver's own
  std::vector<NeighborRow> neighbors;
};
struct ListenerRow {
  std::string address;
  std::string worker;            // empty: spread
  std::uint32_t port = 0;        // dataplane port of a datagram socket
  std::uint64_t accepted = 0;
  std::uint64_t refused = 0;
  std::string last_error;
};

struct LinkRow {
  std::uint32_t link = 0;
  std::uint32_t id = 0;          // with the generation, as shims carry it
  std::string state;             // greeting, up, closing
  std::string link_class;        // local, edge, peer, remote
  std::string transport;         // tcp, unix, udp, ethernet
  std::string peer;
  std::string node_id;
  std::string version;
  std::string worker;
  std::string port;              // of kEthernet
  std::string name;              // of the `connect` entry
  bool dialed = false;
  bool stalled = false;
  std::uint64_t age_ms = 0;
  std::uint64_t idle_ms = 0;
  std::uint64_t round_trip_us = 0;
  std::uint32_t subscriptions = 0;
  std::uint32_t max_frame_bytes = 0;
  std::uint32_t datagram_bytes = 0;
  std::uint64_t frames_in = 0;
  std::uint64_t bytes_in = 0;
  std::uint64_t frames_sent = 0;
  std::uint64_t bytes_sent = 0;
  std::uint64_t queued_frames = 0;
  std::uint64_t queued_bytes = 0;
  std::uint64_t pauses = 0;
  std::string last_error;
  DropArray drops{};
  // Of a link to upstream's applications and nodes: what was negotiated.
  bool edge = false;
  bool mac = false;              // header MACs are made and checked
  std::string key_agreement;     // x25519, x25519+mlkem768, none; empty: not yet
  std::string link_id;
  std::string tls;               // version and cipher; empty: none
  std::string certificate;       // subject of the peer's
  std::string user;              // whom its credentials name
};
struct ConnectRow {
  std::string name;
  std::string address;
  std::string link_class;
  std::string state;             // waiting, dialing, greeting, up
  std::uint32_t attempts = 0;
  std::uint64_t next_ms = 0;     // until the next attempt
  std::uint32_t link = 0;
  std::string last_error;
};
struct ClosedLinkRow {
  std::uint32_t link = 0;
  std::string peer;
  std::string node_id;
  std::string reason;
  std::uint64_t ago_ms = 0;
};
struct LinksPage {
  std::vector<LinkRow> links;
  std::vector<ConnectRow> connect;
  std::vector<ClosedLinkRow> recent;
  std::uint32_t next = 0;
};

struct RouteRow {
  std::string name;
  std::uint32_t local = 0;
  std::uint32_t edge = 0;
  std::uint32_t peer = 0;
  std::uint32_t remote = 0;
  std::uint32_t link = 0;        // when it is the only one
};
struct RoutesPage {
  std::vector<RouteRow> routes;
  std::uint32_t total = 0;
  std::uint32_t next = 0;
};

struct ExplainMatchRow {
  std::uint32_t link = 0;
  std::string peer;
  std::string node_id;
  std::string link_class;
  std::uint32_t ids = 0;
  bool is_ingress = false;
  bool class_allowed = true;
  bool candidate = false;
};
struct ExplainRow {
  std::string name;
  std::uint32_t from = 0;
  std::uint32_t total = 0;
  std::vector<ExplainMatchRow> matches;
  std::string anycast;
  std::string multicast;
  std::string drop;              // empty: nothing would drop it
};

struct DropLinkRow {
  std::uint32_t link = 0;
  std::string peer;
  std::uint64_t count = 0;
};
struct DropRow {
  std::size_t reason = 0;        // DropReason
  std::uint64_t count = 0;
  std::vector<std::pair<std::string, std::uint64_t>> workers;
  std::vector<DropLinkRow> links;   // most first, a few
};

struct BooksRow {
  std::string worker;            // "total" for the sum
  std::uint64_t frames_in = 0, injected = 0, forwarded = 0, punted = 0, consumed = 0, dropped_frames = 0;
  std::uint64_t copies_made = 0, handoff_in = 0, sent = 0, handoff_out = 0, dropped_copies = 0, held = 0;
  std::uint64_t waiting = 0;     // frames taken in of which not all copies are made yet
  std::int64_t frames_difference = 0;   // 0 when the books balance
  std::int64_t copies_difference = 0;
};
struct BooksPage {
  bool balanced = false;
  std::vector<BooksRow> workers;
  BooksRow total;
};

struct WorkerRow {
  std::uint32_t id = 0;
  std::string name;
  std::string kind;              // socket, poll
  std::int32_t cpu = -1;
  bool running = false;
  double busy_share = 0;         // of all cycles since start
  double cycles_per_frame = 0;   // busy cycles by frames in and injected
  double frames_per_burst = 0;
  double longest_loop_us = 0;
  std::uint64_t commands_waiting = 0;
  std::string sockets;           // what is used of io_uring
  std::vector<std::uint64_t> counters;      // in the order of kWorkerCounterTexts
  std::vector<std::uint64_t> burst_fill;
  DropArray drops{};
};

struct PoolRow {
  std::string name;
  std::uint64_t buffers = 0;
  std::uint64_t free = 0;
  std::uint64_t bytes = 0;
};
struct MemoryRow {
  std::uint64_t resident_bytes = 0;
  std::uint64_t accounted_bytes = 0;   // all below that is there once: what may become resident
  std::uint64_t ring_bytes = 0;        // between the control thread and the workers
  std::uint64_t receive_bytes = 0;     // receive buffers of sockets
  bool receive_in_heap = false;        // they are part of dpdk_heap_bytes
  std::uint64_t dpdk_heap_bytes = 0;
  bool huge_pages = false;
  std::string dpdk;
  std::vector<PoolRow> pools;
  std::uint64_t budget_used_bytes = 0;
  std::uint64_t budget_limit_bytes = 0;
  std::uint32_t routes = 0;            // subscriptions held, and how many the node may hold
  std::uint32_t route_limit = 0;
  std::uint32_t names = 0;             // entries that they take in a table: ids and services
  std::uint64_t table_bytes = 0;       // of one worker's copy
  std::uint64_t table_copies = 0;
  std::uint64_t database_bytes = 0;
  std::uint64_t text_bytes = 0;
  double table_bytes_per_route = 0;
  double bytes_per_route = 0;
};

struct ConfigRow {
  std::string source;
  std::vector<std::string> running;    // what runs, a line each
  std::string text;                    // the file as it was read
};

struct ReloadRow {
  bool ok = false;
  std::string error;
  std::vector<std::string> changed;
  std::vector<std::string> needs_restart;
};

}  // namespace slipway
