// How a node is put together, and its main loop.
#include <fmt/format.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <ctime>
#include <cstring>
#include <random>

#include "control_bounds.h"
#include "node/config.h"
#include "node/node.h"
#include "node/node_channel_manager.h"
#include "node/service.h"
#include "port/socket_features.h"

namespace slipway {

namespace {

constexpr std::uint64_t kMs = 1'000'000;
constexpr std::uint64_t kPortTickMs = 100;
constexpr std::uint64_t kWatchdogTickMs = 1'000;
constexpr std::uint64_t kFirstPollNs = 20'000;     // looking for workers that have applied something:
constexpr std::uint64_t kLongestPollNs = 1 * kMs;  //   soon, then ever later

constexpr std::uint64_t kServeCpuNs = 1 * kMs;     // of an application inside the node, between two looks at the links

std::uint64_t thread_cpu_ns() {
  timespec time{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
  return static_cast<std::uint64_t>(time.tv_sec) * 1'000'000'000 + static_cast<std::uint64_t>(time.tv_nsec);
}

std::uint64_t random64() {
  std::random_device device;
  return std::uint64_t{device()} << 32 | device();
}

// One descriptor a link, and some: the soft limit of 1,024 is not enough.
void raise_descriptor_limit(Log& log) {
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < limit.rlim_max) {
    limit.rlim_cur = std::min<rlim_t>(limit.rlim_max, kMaxLinks + 4096);
    setrlimit(RLIMIT_NOFILE, &limit);
    getrlimit(RLIMIT_NOFILE, &limit);
  }
  if (limit.rlim_cur < kMaxLinks) {
    log.write(LogLevel::kDebug, fmt::format("at most {} open files: fewer links than `limits.links` are possible; raise `ulimit -n`", limit.rlim_cur));
  }
}

}  // namespace

Node::Node(NodeSettings settings, std::string config_path, Log& log)
    : settings_(std::move(settings)), config_path_(std::move(config_path)), log_(log), link_bases_(kMaxLinks) {}

std::expected<std::unique_ptr<Node>, StartFault> Node::start(NodeSettings settings, std::string config_path, Log& log) {
  std::unique_ptr<Node> node(new Node(std::move(settings), std::move(config_path), log));
  if (auto assembled = node->assemble(); !assembled) {
    return std::unexpected(assembled.error());
  }
  return node;
}

std::expected<void, StartFault> Node::assemble() {
  auto loop = Loop::create();
  auto doorbell = Doorbell::create();
  if (!loop || !doorbell) {
    return std::unexpected(StartFault{ExitCode::kFailure, loop ? doorbell.error() : loop.error()});
  }
  loop_ = std::move(*loop);
  doorbell_ = std::move(*doorbell);
  resolver_ = std::make_unique<Resolver>(*loop_);
  begun_ms_ = now_ms();
  raise_descriptor_limit(log_);
  config_text_ = config_path_.empty() ? embedded_config() : read_text(config_path_);
  const bool sockets = std::ranges::any_of(settings_.workers, [](const auto& w) { return w.kind == WorkerKind::kSocket; });
  if (sockets) {
    if (const auto features = probe_socket_features(); !features) {
      return std::unexpected(StartFault{ExitCode::kWorkers, features.error()});
    }
  }
  links_.reset(new Links(*this, policy_of(settings_), settings_.limits.links, random64()));
  api_.reset(new Api(*this));
  http_ = std::make_unique<HttpServer>(*loop_, counters_, settings_.limits.api_connections,
                                       [this](const HttpRequest& request) { return api_->handle(request); });
  if (auto opened = open_addresses(); !opened) {
    return opened;
  }
  auto ports = NodePorts::open(settings_, log_);
  if (!ports) {
    return std::unexpected(StartFault{ExitCode::kDpdk, ports.error()});
  }
  ports_ = std::move(*ports);
  if (auto made = make_workers(); !made) {
    return made;
  }
  begin();
  if (auto started = channels_->start(); !started) {
    return std::unexpected(StartFault{ExitCode::kFailure, fmt::format("channels: {}", started.error())});
  }
  if (auto started = manager_->start(settings_, *channels_, local_node()); !started) {
    return std::unexpected(StartFault{ExitCode::kFailure, fmt::format("channel manager: {}", started.error())});
  }
  fleet_->flush();
  notify_ready(fmt::format("{} workers, {} ports", workers_->size(), ports_->ports().size()));
  return {};
}

LinkPolicy Node::policy_of(const NodeSettings& settings) const {
  LinkPolicy policy;
  policy.node_id = settings.node_id;
  policy.version = SLIPWAY_VERSION;
  policy.deployment = settings.deployment;
  policy.keepalive_ms = settings.keepalive_ms;
  policy.max_frame_bytes = settings.limits.frame_bytes;
  policy.max_subscriptions = settings.limits.subscriptions_per_link;
  policy.max_half_open = settings.limits.half_open_links;
  policy.queue_bytes = static_cast<std::uint32_t>(settings.limits.link_queue_bytes);
  policy.overflow = settings.overflow;
  return policy;
}

// Addresses first: that one is taken is the commonest fault, and nothing has been started yet.
std::expected<void, StartFault> Node::open_addresses() {
  for (const auto& listen : settings_.listen) {
    if (auto opened = open_listener(listen); !opened && listen.assumed) {
      log_.warn(fmt::format("no native links there: {}", opened.error()));
    } else if (!opened) {
      return std::unexpected(StartFault{ExitCode::kAddress, opened.error()});
    }
  }
  for (const auto& server : settings_.edge_servers) {
    if (auto opened = open_edge_listener(server, settings_); !opened) {
      return std::unexpected(StartFault{ExitCode::kAddress, opened.error()});
    }
  }
  controller_ = std::make_unique<NodeController>(*this);
  if (auto opened = controller_->open(settings_); !opened) {
    return std::unexpected(StartFault{ExitCode::kAddress, opened.error()});
  }
  channels_ = std::make_unique<NodeChannels>(local_node());
  if (auto opened = channels_->open(settings_.channels); !opened) {
    return std::unexpected(StartFault{ExitCode::kUsage, fmt::format("channels: {}", opened.error())});
  }
  manager_ = std::make_unique<NodeChannelManager>(*loop_, log_);
  if (auto opened = manager_->open(settings_); !opened) {
    return std::unexpected(StartFault{ExitCode::kAddress, opened.error()});
  }
  api_unix_path_ = settings_.api.unix_path.empty() ? default_api_path() : settings_.api.unix_path;
  auto api_unix = listen_api_unix(api_unix_path_);
  if (!api_unix && settings_.api.unix_path.empty() && !settings_.edge_servers.empty()) {
    log_.warn(fmt::format("control API: {}", api_unix.error()));
    api_unix_path_ = further_api_path(settings_.node_id);
    api_unix = listen_api_unix(api_unix_path_);
  }
  if (!api_unix) {
    return std::unexpected(StartFault{ExitCode::kAddress, fmt::format("control API: {}", api_unix.error())});
  }
  api_unix_fd_ = *api_unix;
  if (settings_.api.tcp) {
    auto api_tcp = listen_api_tcp(*settings_.api.tcp);
    if (!api_tcp) {
      return std::unexpected(StartFault{ExitCode::kAddress, fmt::format("control API: {}", api_tcp.error())});
    }
    api_tcp_fd_ = *api_tcp;
  }
  return {};
}

std::expected<void, StartFault> Node::make_workers() {
  const auto fail = [](std::string text) { return std::unexpected(StartFault{ExitCode::kWorkers, std::move(text)}); };
  auto database = SubscriptionDatabase::create(
      RouteSecret::random(), {.max_routes = settings_.limits.routes, .max_link_subscriptions = settings_.limits.subscriptions_per_link});
  if (!database) {
    return fail(database.error());
  }
  database_ = std::move(*database);
  WorkerGroupConfig group;
  group.anycast_order = settings_.anycast_upstream ? AnycastOrder::kUpstream : AnycastOrder::kNearest;
  group.anycast_policy = settings_.anycast_least_loaded ? AnycastPolicy::kLeastLoaded : AnycastPolicy::kRoundRobin;
  group.peers_full_mesh = settings_.full_mesh;
  group.node_budget_bytes = settings_.limits.node_bytes;
  group.control = doorbell_.get();
  std::size_t poll_index = 0;
  for (const auto& settings : settings_.workers) {
    auto table = database_->make_table();
    if (!table) {
      return fail(table.error());
    }
    tables_.push_back(std::make_unique<RouteTable>(std::move(*table)));
    if (auto attached = database_->attach(*tables_.back()); !attached) {
      return fail(attached.error());
    }
    WorkerConfig worker;
    worker.name = settings.name;
    worker.kind = settings.kind;
    worker.idle = settings.idle;
    worker.cpu = settings.cpu ? static_cast<int>(*settings.cpu) : -1;
    worker.with_sockets = settings.kind == WorkerKind::kSocket;
    if (settings.kind == WorkerKind::kPoll) {
      worker.ports = ports_->queues_of(static_cast<std::uint16_t>(group.workers.size()), poll_index++);
    }
    worker.pool = ports_->pool_of(worker.ports);
    worker.table = tables_.back().get();
    group.workers.push_back(std::move(worker));
  }
  auto workers = WorkerGroup::create(std::move(group));
  if (!workers) {
    return fail(workers.error());
  }
  workers_ = std::move(*workers);
  ports_->set_quiesce([this] { return workers_->wait_for_new_loops(1'000); });
  if (auto started = workers_->start(); !started) {
    return fail(started.error());
  }
  fleet_ = std::make_unique<Fleet>(*workers_, counters_);
  database_->set_post([this](const RouteUpdate& update) { fleet_->route(update); });
  subscriptions_.reset(new Subscriptions(*database_, links_->table(), counters_, *this, random64()));
  if (settings_.full_mesh) {
    subscriptions_->set_full_mesh();
  }
  fleet_->on_applied = [this](std::uint64_t done) { subscriptions_->applied(done); };
  fleet_->on_late = [this](std::uint64_t late, const std::string& worker) { subscriptions_->not_applied(late, worker); };
  return {};
}

// Everything is there: begin to take frames.
void Node::begin() {
  ports_->send = [this](std::uint16_t port, const std::vector<PacketBytes>& packets) {
    const auto* p = ports_->find(port);
    for (const auto& packet : packets) {
      if (p != nullptr && !p->workers.empty()) {
        fleet_->post(p->workers.front(), Command::kInjectPacket, InjectPacket{port}, packet);
      }
    }
  };
  ports_->changed = [this](std::uint16_t port, const std::vector<IpAddress>& hops) {
    links_->table().each([&](NodeLink& link) {
      if (link.record.transport == LinkTransport::kEthernet && link.record.port == port && ports_->goes_by(link.record, hops)) {
        links_->set_outer(link.record.index, ports_->outer_to(link.record));
      }
    });
  };
  (void)loop_->watch(doorbell_->fd(), fd_event::kReadable, [](std::uint32_t) {});  // disarm() takes the count back
  sigset_t signals;
  sigemptyset(&signals);
  for (const int signal : {SIGTERM, SIGINT, SIGHUP}) {
    sigaddset(&signals, signal);
  }
  signal_fd_ = signalfd(-1, &signals, SFD_NONBLOCK | SFD_CLOEXEC);
  (void)loop_->watch(signal_fd_, fd_event::kReadable, [this](std::uint32_t) { on_signal(); });
  for (auto& listener : listeners_) {
    start_listener(*listener);
  }
  controller_->start();
  for (const auto& route : settings_.routes) {
    manual_routes_.push_back({route.name, route.to, true});
  }
  for (const auto& connect : settings_.connect) {
    add_dialer(connect);
  }
  for (const auto& client : settings_.edge_clients) {
    if (auto added = add_edge_dialer(client, settings_); !added) {
      log_.error(fmt::format("no link to {}: {}", client.endpoint, added.error()));
    }
  }
  loop_->every(kLinkTickMs * kMs, [this] {
    tick_links();
    http_->tick(now_ms());
    resume_listeners();
  });
  if (!ports_->ports().empty()) {
    loop_->every(kPortTickMs * kMs, [this] { ports_->tick(now_ms()); });
    ports_->announce();
  }
  pulses_.resize(workers_->size());
  watchdog_ms_ = watchdog_interval_ms();
  loop_->every(kWatchdogTickMs * kMs, [this] { watchdog(); });
  loop_->every(Log::kWindowMs * kMs, [this] { log_.tick(); });
  fleet_->flush();
  links_->tick(now_ms());  // dials
  ready_after_ms_ = loop_->refresh_now() / kMs - begun_ms_;
  log_.info(fmt::format("node {} ready after {} ms: {} workers, {} ports, control API on {}", settings_.node_id, ready_after_ms_,
                        workers_->size(), ports_->ports().size(), api_unix_path_));
}

ExitCode Node::run() {
  std::uint64_t poll_ns = kFirstPollNs;
  while (!stopped_) {
    bool more = drain_events();
    loop_->refresh_now();
    if (rush_) {
      resume_listeners();
    }
    note_turn();
    for (LocalApplication* local : local_applications()) {
      more |= local != nullptr && local->turn();
    }
    subscriptions_->flush();
    const bool behind = !fleet_->behind().empty();
    more |= subscriptions_->pump(now_ms()) && !behind;
    fleet_->flush();
    fleet_->poll(now_ms());
    fleet_->flush();  // what answers have posted
    if (stopped_) {
      break;
    }
    doorbell_->arm();
    for (std::size_t i = 0; i < workers_->size() && !more; ++i) {
      more = !(*workers_)[i].events().empty();
    }
    if (more) {
      poll_ns = kFirstPollNs;
      loop_->turn(0);
    } else if (fleet_->waiting()) {
      poll_ns = loop_->turn(poll_ns) != 0 ? kFirstPollNs : std::min(poll_ns * 2, kLongestPollNs);
    } else {
      poll_ns = kFirstPollNs;
      loop_->turn();
    }
    doorbell_->disarm();
  }
  return ExitCode::kOk;
}

// What the node's own applications get of it.
LocalNode Node::local_node() {
  LocalNode out;
  out.loop = loop_.get();
  out.open_link = [this](const std::string& name) -> std::expected<LocalNode::Link, std::string> {
    auto link = links_->open_local(name, now_ms());
    if (!link) {
      return std::unexpected(link.error());
    }
    return LocalNode::Link{*link, links_->table().find(*link)->record.generation};
  };
  out.subscribe = [this](LocalNode::Link link, std::span<const std::byte> frame) { subscriptions_->on_frame(link.index, link.generation, frame); };
  out.publish = [this](LocalNode::Link link, std::span<const std::byte> frame) {
    for (std::size_t at = 0; at < frame.size(); at += kInjectPieceBytes) {
      const auto piece = frame.subspan(at, std::min(kInjectPieceBytes, frame.size() - at));
      fleet_->post(0, Command::kInjectPublish,
                   InjectPublish{link.index, link.generation, static_cast<std::uint32_t>(at), static_cast<std::uint32_t>(frame.size())}, piece);
    }
    serve_if_due();
  };
  out.behind = [this] { return !fleet_->behind().empty(); };
  out.between_steps = [this] { serve_if_due(); };
  out.log = [this](bool bad, std::string text) { log_.write(bad ? LogLevel::kWarn : LogLevel::kInfo, std::move(text)); };
  return out;
}

void Node::tick_links() {
  links_ticked_ms_ = now_ms();
  links_->tick(now_ms());
  subscriptions_->tick(now_ms());
}

// Nothing of an application runs in here: what comes for one waits for its turn.
void Node::serve_between() {
  loop_->refresh_now();
  drain_events();
  subscriptions_->flush();
  if (fleet_->behind().empty()) {
    (void)subscriptions_->pump(now_ms());
  }
  fleet_->flush();
  fleet_->poll(now_ms());
  fleet_->flush();
  if (now_ms() - links_ticked_ms_ >= kLinkTickMs) {
    tick_links();
    fleet_->flush();
  }
  note_turn();
}

void Node::serve_if_due() {
  if (thread_cpu_ns() - turn_cpu_ns_ >= kServeCpuNs) {
    serve_between();
  }
}

// CPU time, so that sleeping does not count, nor other programs' use of the CPU.
void Node::note_turn() {
  const std::uint64_t now = thread_cpu_ns();
  if (turn_cpu_ns_ != 0) {
    counters_.longest_turn_us = std::max(counters_.longest_turn_us, (now - turn_cpu_ns_) / 1'000);
  }
  turn_cpu_ns_ = now;
}

Node::~Node() {
  manager_.reset();
  channels_.reset();
  controller_.reset();
  http_.reset();
  for (auto& listener : listeners_) {
    close_listener(*listener);
  }
  if (!api_unix_path_.empty() && api_unix_fd_ >= 0) {
    unlink(api_unix_path_.c_str());
  }
  if (workers_) {
    workers_->stop();
  }
  for (auto& dialer : dialers_) {
    dial_ended(*dialer);
  }
  if (signal_fd_ >= 0) {
    loop_->unwatch(signal_fd_);
    ::close(signal_fd_);
  }
  if (loop_ && doorbell_) {
    loop_->unwatch(doorbell_->fd());
  }
  if (database_) {
    for (auto& table : tables_) {
      database_->detach(*table);
    }
  }
  subscriptions_.reset();
  fleet_.reset();
  workers_.reset();  // before their pools
  ports_.reset();
}

}  // namespace slipway
