#include "command_tree.h"

#include <fmt/format.h>

#include <cstdio>

#include "exit_code.h"
#include "verbs.h"

namespace slipway::ctl {
namespace {

// Adds verbs that share the tree's arguments.
class Tree {
 public:
  Tree(Arguments* arguments, std::function<int()>* run) : a(*arguments), run_(*run) {
    app_ = std::make_unique<CLI::App>("Looks at a slipway node, changes what it does, and sends messages through it.", "slipwayctl");
    app_->require_subcommand(1);
    app_->fallthrough();
    app_->set_help_all_flag("--help-all", "Help on everything");
    app_->footer("Example: slipwayctl status\nEach verb has help of its own: slipwayctl explain --help");
    app_->add_option("--api", a.context.api, "Control socket: unix:///PATH or tcp://HOST:PORT")->envname("SLIPWAY_API")->type_name("ADDRESS");
    app_->add_option("--node", a.context.node, "Native listener, for pub, sub, instances and bench: tcp://HOST:PORT, unix:///PATH or udp://HOST:PORT")
        ->envname("SLIPWAY_NODE")
        ->type_name("ADDRESS")
        ->default_val("tcp://127.0.0.1:46367");
    app_->add_flag("--json", a.context.json, "Answer in JSON with stable field names");
    timeout_ = app_->add_option("--timeout", timeout_seconds_, "How long to wait for an answer, in seconds")->type_name("SECONDS")->default_val("5")->check(CLI::Range(0.001, 3600.0));
    app_->parse_complete_callback([this] { a.context.timeout_ms = static_cast<int>(timeout_seconds_ * 1000); });
  }

  CLI::App* verb(CLI::App* parent, const char* name, const char* what, const char* example, int (*call)(const Arguments&)) {
    CLI::App* sub = parent->add_subcommand(name, what);
    sub->footer(std::string("Example: ") + example);
    if (call != nullptr) {
      sub->callback([this, call] { run_ = [this, call] { return call(a); }; });
    }
    return sub;
  }
  CLI::App* verb(const char* name, const char* what, const char* example, int (*call)(const Arguments&)) { return verb(app_.get(), name, what, example, call); }

  void connecting(CLI::App* one);
  void add_questions();
  void add_changes();
  void add_channels();
  void add_watching();
  void add_messages();
  void add_sessions();
  void add_own();
  std::unique_ptr<CLI::App> take(std::shared_ptr<Tree> self) {
    // The callbacks refer to this object: it lives as long as the tree.
    app_->final_callback([self] {});
    return std::move(app_);
  }

 private:
  Arguments& a;
  std::function<int()>& run_;
  std::unique_ptr<CLI::App> app_;
  CLI::Option* timeout_ = nullptr;
  double timeout_seconds_ = 5;
};

void Tree::add_questions() {
  verb("status", "The node in a few lines: state, links, frames, drops", "slipwayctl status", verb_status);
  verb("ports", "DPDK ports with carrier, counters and neighbours; listeners", "slipwayctl ports", verb_ports);
  auto* links = verb("links", "Who is connected, by what, how busy, how far behind; who was lately", "slipwayctl links --json", verb_links);
  links->add_option("--after", a.after, "Only links with a larger number");
  links->add_option("--limit", a.limit, "At most so many");
  auto* routes = verb("routes", "Names and how many links of each class subscribed to them", "slipwayctl routes org/ns/service", verb_routes);
  routes->add_option("name", a.name, "Only this service's names")->type_name("NAME");
  routes->add_option("--link", a.link, "Only what this link subscribed to");
  routes->add_option("--after", a.after, "Go on where the last listing ended");
  routes->add_option("--limit", a.limit, "At most so many");
  auto* explain = verb("explain", "What would happen to a message for a name: every match, the choice and why, the rule that would drop it",
                       "slipwayctl explain org/ns/service --from 3", verb_explain);
  explain->add_option("name", a.name, "Destination")->required()->type_name("NAME");
  explain->add_option("--from", a.from, "As if it came from this link")->type_name("LINK");
  explain->add_option("--hop-limit", a.hop_limit, "As if it arrived with this hop limit")->check(CLI::Range(1, 255));
  verb("drops", "What was dropped: how many, why, on which link, and what to do", "slipwayctl drops", verb_drops);
  verb("books", "Whether every frame is accounted for; exit code 7 if not", "slipwayctl books", verb_books);
  verb("workers", "Each worker's load: busy share, cycles a frame, burst fill, longest loop", "slipwayctl workers", verb_workers);
  verb("memory", "Where the memory is: pools, budget, route tables, bytes a route", "slipwayctl memory", verb_memory);
  verb("config", "What the node runs, and from which file", "slipwayctl config", verb_config);
  verb("version", "The node's version; this program's is slipwayctl --version", "slipwayctl version", verb_version);
}

void Tree::add_changes() {
  auto* stop = verb("stop", "Stops the node in good order", "slipwayctl stop --drain-ms 2000", verb_stop);
  stop->add_option("--drain-ms", a.drain_ms, "How long it may take to send what it holds; default: as configured")->check(CLI::Range(0, 600'000));
  verb("reload", "Reads the configuration again and applies what changed; no frame is lost", "slipwayctl reload", verb_reload);
  auto* route = verb("route", "Static routes", "slipwayctl route add org/ns/service --to uplink", nullptr);
  route->require_subcommand(1);
  for (const bool add : {true, false}) {
    auto* one = verb(route, add ? "add" : "del", add ? "Sends a name's messages to a node even if it did not subscribe" : "Takes a static route away",
                     add ? "slipwayctl route add org/ns/service --to uplink" : "slipwayctl route del org/ns/service --to uplink", add ? verb_route_add : verb_route_del);
    one->add_option("name", a.name, "Name")->required()->type_name("NAME");
    one->add_option("--to", a.to, "Name of a `connect` entry, or number of a link")->required();
  }
  add_channels();
  auto* level = verb("log-level", "Changes how much the node logs, until it restarts", "slipwayctl log-level debug", verb_log_level);
  level->add_option("level", a.level, "trace, debug, info, warn, error or off")->required()->check(CLI::IsMember({"trace", "debug", "info", "warn", "error", "off"}));
  auto* close = verb("close", "Closes a link; its client may come back", "slipwayctl close 12", verb_close);
  close->add_option("link", a.link, "Number of the link")->required()->type_name("LINK");
}

void Tree::add_channels() {
  auto* channel = verb("channel", "Channels that the node hosts: it moderates them, and with MLS it could read", "slipwayctl channel list", nullptr);
  channel->require_subcommand(1);
  verb(channel, "list", "All channels: members, epoch, who made them", "slipwayctl channel list --json", verb_channel_list);
  const auto named = [&](const char* name, const char* what, const char* example, int (*call)(const Arguments&)) {
    auto* one = verb(channel, name, what, example, call);
    one->add_option("channel", a.name, "Channel: organization/namespace/name")->required()->type_name("NAME");
    return one;
  };
  named("show", "One channel and its members", "slipwayctl channel show org/ns/room", verb_channel_show);
  auto* create = named("create", "Makes a channel; nobody but the node is in it yet", "slipwayctl channel create org/ns/room", verb_channel_create);
  create->add_flag("--no-mls", a.no_mls, "Without encryption between the members");
  named("delete", "Tells the members, and ends it", "slipwayctl channel delete org/ns/room", verb_channel_delete);
  for (const bool in : {true, false}) {
    auto* one = in ? named("invite", "Lets an application in, and waits until it is", "slipwayctl channel invite org/ns/room org/ns/alice", verb_channel_invite)
                   : named("remove", "Takes an application out, and waits until it has left", "slipwayctl channel remove org/ns/room org/ns/alice", verb_channel_remove);
    one->add_option("participant", a.participant, "Application: organization/namespace/name, and /ID for one instance")->required()->type_name("NAME");
  }
}

void Tree::add_watching() {
  const auto filters = [this](CLI::App* one) {
    one->add_option("name", a.name, "Only messages for this name")->type_name("NAME");
    one->add_option("-n,--count", a.count, "End after so many frames; default 10");
    one->add_option("--link", a.link, "Only frames of this link");
    one->add_option("--kind", a.kind, "Only this kind")->check(CLI::IsMember({"publish", "subscribe", "unsubscribe", "ack", "link"}));
    one->add_flag("--drops", a.drops_only, "Only frames that are dropped");
    one->add_option("--seconds", a.seconds, "End after so long; default 60");
  };
  filters(verb("trace", "Shows the next frames that match, with what each step did and the verdict", "slipwayctl trace org/ns/service -n 5", verb_trace));
  auto* capture = verb("capture", "Writes frames that match to a pcapng file", "slipwayctl capture -o frames.pcapng --drops -n 100", verb_capture);
  filters(capture);
  capture->add_option("-o,--output", a.output, "File, or - for standard output")->required()->type_name("FILE");
  capture->add_option("--snap", a.snap_bytes, "Bytes kept of each frame; default 256")->check(CLI::Range(104, 65535));
  capture->add_option("--bytes", a.limit_bytes, "End when the file is so large");
  auto* top = verb("top", "Live rates of workers and links", "slipwayctl top --interval 0.5", verb_top);
  top->add_option("-n,--count", a.count, "End after so many looks");
  top->add_option("--interval", a.interval, "Seconds between two looks")->default_val("1")->check(CLI::Range(0.05, 3600.0));
}

void Tree::add_messages() {
  auto* pub = verb("pub", "Sends messages; exit code 8 if the node says that nobody received them", "slipwayctl pub org/ns/service 'hello'", verb_pub);
  pub->add_option("name", a.name, "To whom: org/ns/service is any one instance, org/ns/service/ID that one")->required()->type_name("NAME");
  pub->add_option("payload", a.payload, "The message");
  pub->add_flag("--all", a.all, "To all subscribers (a channel) instead of one");
  pub->add_option("-n,--count", a.count, "Send it so many times; default 1");
  pub->add_option("--rate", a.rate, "Messages a second; default: at once")->check(CLI::Range(0.001, 1e7));
  pub->add_option("--size", a.size, "A payload of so many bytes instead of a text")->check(CLI::Range(1, 4'000'000));
  pub->add_flag("--lines", a.lines, "Send each line of standard input");
  pub->add_option("--from", a.from_name, "Send as this application")->type_name("NAME");
  pub->add_option("--wait-ms", a.wait_ms, "How long to wait for the notice that nobody received it")->default_val("200")->check(CLI::Range(0, 60'000));
  auto* sub = verb("sub", "Subscribes and prints what comes", "slipwayctl sub org/ns/service", verb_sub);
  sub->add_option("names", a.names, "What to subscribe to. Without an id it is an instance of that service, with an id of its own")->required()->type_name("NAME...");
  sub->add_flag("--exact", a.exact, "Subscribe to names as they are, also without an id");
  sub->add_option("-n,--count", a.count, "End after so many messages");
  sub->add_option("--seconds", a.seconds, "End after so long; with -n: exit code 6 if fewer came");
  sub->add_flag("--raw", a.raw, "Print payloads only, a line each");
  sub->add_flag("--echo", a.echo, "Send each message back to who sent it");
  auto* instances = verb("instances", "Which instances of a service the node knows; exit code 5 if none", "slipwayctl instances org/ns/service", verb_instances);
  instances->add_option("name", a.name, "Service")->required()->type_name("NAME");
  auto* bench = verb("bench", "Measures messages and latencies through a node", "slipwayctl bench 1:16 --size 1024 --rate 50000 --duration 10", verb_bench);
  bench->add_option("pattern", a.pattern, "1:1, 1:N (a channel), N:1 or request")->default_val("1:1");
  bench->add_option("--size", a.size, "Payload bytes; default 64")->check(CLI::Range(16, 4'000'000));
  bench->add_option("-n,--count", a.messages, "Send so many messages in all, instead of for a time");
  bench->add_option("--duration", a.duration, "Send for so many seconds")->default_val("5")->check(CLI::Range(0.01, 86'400.0));
  bench->add_option("--rate", a.rate, "Messages a second in all; latencies then count from when each was due. Default: as fast as it goes")->check(CLI::Range(0.001, 1e8));
  bench->add_option("--window", a.window, "request: unanswered requests at a time")->default_val("1")->check(CLI::Range(1, 100'000));
  bench->add_flag("--anycast", a.anycast, "1:N: each message to one of the N, not to all");
  bench->add_flag("--csv", a.csv, "A header and a line of comma-separated values");
}

// TLS and credentials, where the address has them.
void Tree::connecting(CLI::App* one) {
  one->add_option("--ca", a.ca_file, "Trust this CA too")->type_name("FILE");
  one->add_option("--cert", a.certificate_file, "Our certificate, for nodes that want one")->type_name("FILE");
  one->add_option("--key", a.key_file, "Its key")->type_name("FILE");
  one->add_option("--server-name", a.server_name, "The name that the node's certificate must have; default: the endpoint's host");
  one->add_flag("--insecure", a.insecure, "Take any certificate");
  one->add_option("--basic", a.basic_file, "Credentials: a file that holds USER:PASSWORD")->type_name("FILE");
  one->add_option("--token", a.token_file, "Credentials: a file that holds a JSON Web Token")->type_name("FILE");
}

void Tree::add_sessions() {
  auto* session = verb("session", "Applications with sessions: acknowledged, encrypted by MLS unless told otherwise", "slipwayctl session listen org/ns/echo --answer 'echo: '", nullptr);
  session->require_subcommand(1);
  const auto common = [this](CLI::App* one) {
    one->add_option("--secret-file", a.secret_file, "File with the secret that the applications share, at least 32 bytes; default: SLIPWAY_SECRET")->type_name("FILE");
    one->add_option("--jwt-key", a.jwt_key, "Instead: a private key in PEM that signs the application's tokens")->type_name("FILE");
    one->add_option("--jwt-trust", a.jwt_trust, "A public key in PEM whose tokens are believed; several times for several")->type_name("FILE")->allow_extra_args(false);
    one->add_option("--jwt-algorithm", a.jwt_algorithm, "Of these keys")->default_val("ES256");
    one->add_option("--jwt-subject", a.jwt_subject, "Whom the tokens name; default: the own name. No two applications may have the same");
    one->add_option("--jwt-issuer", a.jwt_issuer, "Who issues them, and must have issued others'");
    one->add_option("--jwt-audience", a.jwt_audiences, "Whom they are for; several times for several")->allow_extra_args(false);
    one->add_option("--jwt-seconds", a.jwt_seconds, "How long a token lives; sessions outlive it")->default_val("3600")->check(CLI::Range(2, 31'536'000));
    one->add_option("--also", a.also, "Another node to connect to; several times for several")->type_name("ADDRESS")->allow_extra_args(false);
    connecting(one);
    one->add_flag("--quiet", a.quiet, "Count messages instead of printing them");
    one->add_flag("--raw", a.raw, "Print payloads only, a line each");
  };
  auto* listen = verb(session, "listen", "Takes sessions and prints what comes; --node also takes http://HOST:PORT, for a node of upstream's", "slipwayctl session listen org/ns/bob", verb_session_listen);
  common(listen);
  listen->add_option("name", a.name, "Own name")->required()->type_name("NAME");
  listen->add_option("--answer", a.answer, "Answer each message with this and the message; what begins with it is not answered");
  listen->add_option("--until", a.until, "End when this message comes");
  listen->add_flag("--once", a.once, "End with the first session that ends");
  listen->add_option("-n,--count", a.count, "End after so many messages");
  listen->add_option("--seconds", a.seconds, "End after so long; with -n: exit code 6 if fewer came");
  listen->add_option("--wait-ms", a.wait_ms, "How long to stay for the last acknowledgements")->default_val("200")->check(CLI::Range(0, 60'000));
  const auto sending = [&](CLI::App* one) {
    common(one);
    one->add_option("--from", a.from_name, "Own name")->type_name("NAME");
    one->add_option("-n,--count", a.count, "Send it so many times; default 1");
    one->add_option("--size", a.size, "A payload of so many bytes instead of a text")->check(CLI::Range(1, 3'000'000));
    one->add_flag("--lines", a.lines, "Send each line of standard input");
    one->add_option("--answers", a.answers, "Wait for so many answers to each message");
    one->add_option("--last", a.last, "Say this at the end");
    one->add_flag("--best-effort", a.best_effort, "Without acknowledgements");
    one->add_option("--ack-ms", a.ack_ms, "Time between two transmissions of what is not acknowledged")->default_val("1000")->check(CLI::Range(10, 600'000));
    one->add_option("--retries", a.retries, "How many after the first")->default_val("10")->check(CLI::Range(0, 100));
    one->add_flag("--no-mls", a.no_mls, "Without encryption");
  };
  auto* send = verb(session, "send", "Sends in a session with one application; exit code 8 if it was not reached", "slipwayctl session send org/ns/bob hello --answers 1", verb_session_send);
  sending(send);
  send->add_option("name", a.name, "To whom")->required()->type_name("NAME");
  send->add_option("payload", a.payload, "The message");
  send->add_flag("--anycast", a.anycast, "Each message to any instance of the service, without setting a session up");
  auto* invite = verb(session, "invite", "Makes a channel, invites members, sends to all of them", "slipwayctl session invite org/ns/room org/ns/bob org/ns/carol --payload hello", verb_session_invite);
  sending(invite);
  invite->add_option("channel", a.name, "Name of the channel")->required()->type_name("NAME");
  invite->add_option("members", a.names, "Whom to invite")->required()->type_name("NAME...");
  invite->add_option("--payload", a.payload, "The message");
}

void Tree::add_own() {
  auto* doctor = verb("doctor", "Connects to any SLIM node as an application would, and says which step fails and why; exit codes 10 to 18 name the step",
                      "slipwayctl doctor https://node.example:46357 --ca ca.pem", verb_doctor);
  doctor->add_option("endpoint", a.endpoint, "http://, https://, grpc://, ws:// or wss://HOST:PORT, unix://PATH; tcp:// or udp://HOST:PORT for a native listener")
      ->required()
      ->type_name("ENDPOINT");
  connecting(doctor);
  doctor->add_option("--name", a.name, "Service as whose instance we subscribe; default slipway/doctor/probe")->type_name("NAME");
  doctor->add_flag("--no-mac", a.no_mac, "Accept a link without header MACs");
  doctor->add_flag("--native", a.native, "unix:// leads to a native listener");
  auto* preflight = verb("preflight", "Whether this machine can run a node: huge pages, rights, devices, CPUs, io_uring; names the command that repairs each; exit code 7 if something is missing",
                         "slipwayctl preflight --config /etc/slipway/slipwayd.yaml", verb_preflight);
  preflight->add_option("-c,--config", a.config, "For this configuration; default: the embedded one")->type_name("FILE");
  auto* completion = verb("completion", "Prints a completion script for a shell", "slipwayctl completion bash > /etc/bash_completion.d/slipwayctl", nullptr);
  completion->add_option("shell", a.shell, "bash, zsh or fish")->required()->check(CLI::IsMember({"bash", "zsh", "fish"}));
  completion->callback([this] {
    run_ = [this] {
      Arguments other;
      std::function<int()> unused;
      const auto script = completion_script(*make_command_tree(&other, &unused), a.shell);
      std::fwrite(script.data(), 1, script.size(), stdout);
      return 0;
    };
  });
  auto* man = verb("man", "Prints the manual page", "slipwayctl man | man -l -", nullptr);
  man->callback([this] {
    run_ = [] {
      Arguments other;
      std::function<int()> unused;
      const auto page = manual_page(*make_command_tree(&other, &unused));
      std::fwrite(page.data(), 1, page.size(), stdout);
      return 0;
    };
  });
}

}  // namespace

std::unique_ptr<CLI::App> make_command_tree(Arguments* arguments, std::function<int()>* run) {
  auto tree = std::make_shared<Tree>(arguments, run);
  tree->add_questions();
  tree->add_changes();
  tree->add_watching();
  tree->add_messages();
  tree->add_sessions();
  tree->add_own();
  auto app = tree->take(tree);
  app->set_version_flag("--version", "slipwayctl " SLIPWAY_VERSION);
  return app;
}

}  // namespace slipway::ctl
