// The node's program: command line, configuration, start, run.
//
// Exit codes: 0 stopped as asked; 1 failure; 2 bad command line or configuration; 3 an address or socket cannot be
// had; 4 DPDK: memory, rights, device; 5 workers: io_uring, CPUs, memory for tables.
#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include <csignal>
#include <cstdio>
#include <cstdlib>

#include "edge/transport_memory.h"
#include "node/config.h"
#include "node/log.h"
#include "node/node.h"
#include "node/preflight.h"

namespace {

using namespace slipway;

// Handled by the control thread through a descriptor; blocked before any thread exists, so that each inherits it.
void block_signals() {
  sigset_t signals;
  sigemptyset(&signals);
  for (const int signal : {SIGTERM, SIGINT, SIGHUP}) {
    sigaddset(&signals, signal);
  }
  sigprocmask(SIG_BLOCK, &signals, nullptr);
  std::signal(SIGPIPE, SIG_IGN);
}

int run(NodeSettings settings, const std::string& path) {
  block_signals();
  Log log;
  log.set_level(settings.log_level);
  for (const auto& key : settings.ignored) {
    log.info(fmt::format("accepted without effect: {}", key));
  }
  auto node = Node::start(std::move(settings), path, log);
  if (!node) {
    log.error(fmt::format("cannot start: {}", node.error().text));
    return static_cast<int>(node.error().code);
  }
  return static_cast<int>((*node)->run());
}

}  // namespace

int main(int argc, char** argv) {
  if (!install_openssl_memory()) {  // TLS of upstream's wire is then unbounded: nothing that a node should run with
    std::fputs("slipwayd: cannot count OpenSSL's memory: a preloaded library uses OpenSSL first; start without it\n", stderr);
    return static_cast<int>(ExitCode::kFailure);
  }
  CLI::App app{"slipwayd: a SLIM node that bypasses the kernel"};
  app.footer("Without --config it runs the embedded default: one socket worker, native TCP and UDP on 127.0.0.1:46367, and a\n"
             "Unix socket. Example: slipwayd --config /etc/slipway/slipwayd.yaml --check");
  std::string path;
  bool check = false;
  bool reference = false;
  bool show_preflight = false;
  app.add_option("-c,--config", path, "Configuration file (YAML)");
  app.add_flag("--check", check, "Validate the configuration, say what would run, and exit");
  app.add_flag("--preflight", show_preflight, "Check whether this machine can run the configuration, and exit");
  app.add_flag("--config-reference", reference, "Print the reference of the configuration file, and exit");
  app.set_version_flag("--version", "slipwayd " SLIPWAY_VERSION);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& fault) {
    return app.exit(fault) == 0 ? 0 : static_cast<int>(ExitCode::kUsage);
  }
  if (reference) {
    std::fputs(config_reference().c_str(), stdout);
    return 0;
  }
  auto settings = path.empty() ? parse_config(embedded_config(), "embedded default") : load_config(path);
  if (!settings) {
    std::fputs(fmt::format("slipwayd: {}\n", settings.error()).c_str(), stderr);
    return static_cast<int>(ExitCode::kUsage);
  }
  if (check) {
    std::fputs(describe_settings(*settings).c_str(), stdout);
    return 0;
  }
  if (show_preflight) {
    std::string text;
    const bool good = preflight_text(preflight(*settings), text);
    std::fputs(text.c_str(), stdout);
    return good ? 0 : static_cast<int>(ExitCode::kFailure);
  }
  return run(std::move(*settings), path);
}
