#pragma once
// The node: everything assembled, run by one control thread.
//
//   start: settings -> addresses bound -> DPDK, pools, ports -> tables, workers -> accepting -> "ready"
//   turn:  events of workers -> state machines -> commands to workers -> answers to what all have applied
//   stop:  no more accepting -> workers drain -> farewells -> workers stop -> ports given back
//
// What fails at start fails before anything accepts a frame: one sentence, an exit code, nothing half-started.

#include <array>
#include <cstdint>
#include <deque>
#include <expected>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "api/api.h"
#include "api/http_server.h"
#include "control_counters.h"
#include "link/links.h"
#include "link/subscriptions.h"
#include "loop/loop.h"
#include "loop/resolver.h"
#include "node/fleet.h"
#include "node/log.h"
#include "node/node_channel_manager.h"
#include "node/node_channels.h"
#include "node/node_controller.h"
#include "node/node_ports.h"
#include "node/settings.h"
#include "node/sockets.h"
#include "routing/subscription_database.h"
#include "worker/doorbell.h"
#include "worker/worker.h"

namespace slipway {

// Exit codes of slipwayd. README.md lists them.
enum class ExitCode : int { kOk = 0, kFailure = 1, kUsage = 2, kAddress = 3, kDpdk = 4, kWorkers = 5 };

struct StartFault {
  ExitCode code = ExitCode::kFailure;
  std::string text;  // one sentence: what, and what to do
};

class NodeChannelManager;

class Node : private LinkSink, private SubscriptionSink, private ApiBackend {
 public:
  // `config_path`: read again by reload(); empty: the embedded default.
  static std::expected<std::unique_ptr<Node>, StartFault> start(NodeSettings settings, std::string config_path, Log& log);
  ~Node() override;
  Node(const Node&) = delete;
  Node& operator=(const Node&) = delete;

  // Runs until a signal or the API stops it.
  ExitCode run();

 private:
  friend class NodeController;
  // One address that accepts native links.
  struct Listener {
    ListenSettings settings;
    std::optional<EdgeServerSettings> edge;         // for upstream's applications and nodes
    std::shared_ptr<const EdgeProfile> profile;     // of edge
    int fd = -1;                     // streams; a datagram socket belongs to its worker
    std::uint16_t port = 0;          // dataplane port of a datagram socket
    std::uint16_t worker = 0;        // of a datagram socket
    std::uint64_t accepted = 0;
    std::uint64_t refused = 0;
    std::string last_error;
    bool paused = false;             // out of descriptors, or too many links have not said hello: tried again later
  };
  // What an entry of `connect` needs beside its state in Links.
  struct Dialer {
    ConnectSettings settings;
    std::optional<EdgeClientSettings> edge;         // to an upstream node; settings then has its name and address
    std::shared_ptr<const EdgeProfile> profile;     //   and this is how it is spoken to, but for credentials
    std::uint32_t target = 0;
    int fd = -1;                     // a stream that is being connected
    TimerId deadline = TimerId::kNone;
    std::uint64_t question = 0;      // of the resolver; 0: none is open
    SocketAddress at;                // settings.address, its name looked up
    std::optional<std::uint16_t> port;  // of its datagram socket
    std::uint8_t family = 0;         // of that
    std::uint16_t worker = 0;
    bool removed = false;
    bool assigned = false;           // by the control service, not by the configuration
  };
  struct Watcher {                   // a trace or capture that runs
    std::shared_ptr<ResponseStream> stream;
    std::uint64_t left = 0;
    std::uint64_t bytes_left = 0;
    TimerId deadline = TimerId::kNone;
  };
  struct LinkBase {                  // what an index had counted before this link had it
    std::uint64_t frames_in = 0, bytes_in = 0, frames_sent = 0, bytes_sent = 0, pauses = 0;
    DropArray drops{};
  };
  struct ManualRoute {
    TextName name;
    std::string to;
    bool configured = false;
  };

  Node(NodeSettings settings, std::string config_path, Log& log);

  // --- assembly.cc
  std::expected<void, StartFault> assemble();
  std::expected<void, StartFault> open_addresses();
  std::expected<void, StartFault> make_workers();
  void begin();
  std::uint16_t worker_for(const std::string& name);
  [[nodiscard]] std::uint64_t now_ms() const { return loop_->now_ns() / 1'000'000; }

  // --- listeners.cc
  std::expected<void, std::string> open_listener(const ListenSettings& settings);
  std::expected<void, std::string> open_edge_listener(const EdgeServerSettings& server, const NodeSettings& settings);
  void start_listener(Listener& listener);
  void close_listener(Listener& listener);
  void accept_links(Listener& listener);
  void resume_listeners();
  std::expected<std::uint16_t, std::string> free_port() const;
  void add_dialer(const ConnectSettings& settings);
  std::expected<void, std::string> add_edge_dialer(const EdgeClientSettings& client, const NodeSettings& settings);
  void remove_dialer(Dialer& dialer);
  void dial_now(Dialer& dialer);
  void dial_stream(Dialer& dialer);
  void dial_datagram(Dialer& dialer);
  void dial_ended(Dialer& dialer);
  Dialer* dialer_of(std::uint32_t target);

  // --- events.cc
  bool drain_events();
  // From inside of a long operation of the node's own applications: workers are heard, links and subscriptions served.
  void serve_between();
  void serve_if_due();
  void note_turn();
  [[nodiscard]] LocalNode local_node();
  // Those that there are; the others are null.
  [[nodiscard]] std::array<LocalApplication*, 2> local_applications() const { return {manager_->local(), channels_->local()}; }
  void tick_links();
  void on_event(std::size_t worker, const MailRing::Record& record);
  void on_punted(std::span<const std::byte> record);
  void on_no_route(const NoRoute& event);
  void on_traced(std::span<const std::byte> record);
  void on_captured(std::span<const std::byte> record);
  void end_watch(Watcher& watcher, Command command);
  void watchdog();
  void begin_stop(std::optional<std::uint32_t> drain_ms, const std::string& why);
  void drain_step();
  void on_signal();

  // --- LinkSink, SubscriptionSink (sink.cc)
  void open_stream(const LinkRecord& record, int fd) override;
  void open_edge(const LinkRecord& record, int fd, const EdgeProfile& profile) override;
  void give_edge_key(const LinkRecord& record, const NegotiatedLink& agreed) override;
  void post_link(const LinkRecord& record) override;
  void close_link(const NodeLink& link, std::uint32_t drain_ms) override;
  void send(const LinkRecord& record, std::span<const std::byte> frame) override;
  void answer(const Hello& hello, std::uint32_t link_id, std::span<const std::byte> frame) override;
  void after_applied(std::move_only_function<void()> call) override;
  std::expected<void, std::string> find_way(LinkRecord& record) override;
  void link_taken(const NodeLink& link) override;
  void link_up(NodeLink& link) override;
  void peer_ready(NodeLink& link) override;
  void link_lost(NodeLink& link) override;
  void link_gone(const NodeLink& link) override;
  void dial(std::uint32_t target) override;
  Traffic traffic(LinkIndex link) override;
  std::vector<NameId> instances(const Name& name, std::size_t at_most, bool& truncated) override;
  void no_route_told(const NodeLink& link, const NoRouteBody& notice) override;
  void log(int level, std::string text) override;
  std::uint64_t ticket() override;
  std::string worker_behind() override;
  void forgotten(LinkIndex link) override;
  void answer_soon() override;
  void set_static_routes(const NodeLink& link, const std::string& target);
  const NodeLink* link_of(const std::string& to) const;

  // --- ApiBackend (views.cc, actions.cc, reload.cc)
  VersionRow version() override;
  StatusRow status() override;
  std::vector<PortRow> ports() override;
  std::vector<ListenerRow> listeners() override;
  LinksPage links(std::uint32_t after, std::uint32_t at_most) override;
  RoutesPage routes(std::uint32_t after, std::uint32_t at_most, std::optional<std::uint32_t> link,
                    const std::optional<TextName>& prefix) override;
  std::expected<ExplainRow, ApiFault> explain(const TextName& name, std::uint32_t from, std::uint32_t hop_limit) override;
  std::vector<DropRow> drops() override;
  BooksPage books() override;
  std::vector<WorkerRow> workers() override;
  MemoryRow memory() override;
  ConfigRow config() override;
  ControlCounters control_counters() override;
  std::string unhealthy() override;
  Channels* channels() override { return channels_->channels(); }
  void stop(std::optional<std::uint32_t> drain_ms) override;
  ReloadRow reload() override;
  std::expected<void, ApiFault> set_log_level(const std::string& level) override;
  std::expected<void, ApiFault> route(bool add, const TextName& name, const std::string& to) override;
  std::expected<void, ApiFault> close_link(std::uint32_t link) override;
  std::expected<std::shared_ptr<ResponseStream>, ApiFault> trace(const WatchRequest& request) override;
  std::expected<std::shared_ptr<ResponseStream>, ApiFault> capture(const WatchRequest& request) override;
  std::expected<std::shared_ptr<ResponseStream>, ApiFault> watch(const WatchRequest& request, Watcher& watcher, Command command);

  LinkRow row_of(const NodeLink& link);
  LinkBase sum_of(LinkIndex link) const;
  std::expected<int, std::string> listen_api_unix(const std::string& path);
  std::expected<int, std::string> listen_api_tcp(const IpEndpoint& at);
  std::expected<void, std::string> apply_settings(const NodeSettings& next, ReloadRow& row);
  void apply_lists(const NodeSettings& next, ReloadRow& row);
  LinkPolicy policy_of(const NodeSettings& settings) const;

  NodeSettings settings_;
  std::string config_path_;
  std::string config_text_;
  Log& log_;
  ControlCounters counters_;
  std::unique_ptr<Loop> loop_;
  std::unique_ptr<Resolver> resolver_;
  std::unique_ptr<Doorbell> doorbell_;
  std::unique_ptr<NodePorts> ports_;
  std::unique_ptr<SubscriptionDatabase> database_;
  std::vector<std::unique_ptr<RouteTable>> tables_;
  std::unique_ptr<WorkerGroup> workers_;
  std::unique_ptr<Fleet> fleet_;
  std::unique_ptr<Links> links_;
  std::unique_ptr<Subscriptions> subscriptions_;
  std::unique_ptr<Api> api_;
  std::unique_ptr<HttpServer> http_;
  std::unique_ptr<NodeController> controller_;
  std::unique_ptr<NodeChannels> channels_;
  std::unique_ptr<NodeChannelManager> manager_;   // of channels_
  std::vector<std::unique_ptr<Listener>> listeners_;
  std::vector<std::unique_ptr<Dialer>> dialers_;
  std::vector<ManualRoute> manual_routes_;
  std::vector<LinkBase> link_bases_;      // by LinkIndex
  Watcher trace_;
  Watcher capture_;
  std::uint16_t next_worker_ = 0;
  int api_unix_fd_ = -1;
  int api_tcp_fd_ = -1;
  std::string api_unix_path_;
  int signal_fd_ = -1;
  std::uint32_t snapshot_request_ = 0;
  std::uint32_t snapshots_done_ = 0;      // workers that have answered the last request

  struct Pulse {
    std::uint64_t loops = 0;
    std::uint32_t missed = 0;
  };
  std::vector<Pulse> pulses_;
  std::uint64_t watchdog_ms_ = 0;
  std::uint64_t fed_ms_ = 0;
  std::uint64_t turn_cpu_ns_ = 0;         // CPU time of this thread when links were last served
  std::uint64_t links_ticked_ms_ = 0;

  bool draining_ = false;
  bool rush_ = false;   // listeners wait for links to finish their hello
  bool said_goodbye_ = false;
  bool stopped_ = false;
  std::uint64_t drain_until_ms_ = 0;
  std::uint64_t begun_ms_ = 0;
  std::uint64_t ready_after_ms_ = 0;
};

}  // namespace slipway
