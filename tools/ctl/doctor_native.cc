// The steps of a native client: the same as an upstream application's, with a hello in place of HTTP and negotiation.

#include <fmt/format.h>

#include <array>

#include "client/blocking.h"
#include "client/endpoint.h"
#include "doctor.h"

namespace slipway::ctl {
namespace {

constexpr std::array kSteps = {
    DoctorStep{.name = "dns", .code = ExitCode::kDns, .found = {}, .remedy = {}},
    DoctorStep{.name = "tcp", .code = ExitCode::kTcp, .found = {}, .remedy = {}},
    DoctorStep{.name = "hello", .code = ExitCode::kNegotiation, .found = {}, .remedy = {}},
    DoctorStep{.name = "subscribe", .code = ExitCode::kSubscribe, .found = {}, .remedy = {}},
    DoctorStep{.name = "echo", .code = ExitCode::kEcho, .found = {}, .remedy = {}},
};

std::expected<std::unique_ptr<BlockingClient>, std::string> connect(const DoctorOptions& options, const TextName& name, ClientLinkPhase& reached) {
  ClientLinkOptions link{.address = options.endpoint, .client_name = "slipwayctl-doctor"};
  link.connect_ms = options.timeout_ms;
  link.reconnect = false;
  link.retry_first = false;
  link.on_phase = [&reached](ClientLinkPhase phase, const std::string&) {
    if (phase == ClientLinkPhase::kConnecting || phase == ClientLinkPhase::kGreeting || phase == ClientLinkPhase::kUp) {
      reached = phase;
    }
  };
  return BlockingClient::connect(std::move(link), name, 2 * std::uint64_t{options.timeout_ms} + 500);
}

void run(const DoctorOptions& options, DoctorReport& report, Loop& loop) {
  DoctorSteps steps(report, loop);
  auto endpoint = parse_endpoint(options.endpoint).value();
  const bool named = !endpoint.host.empty();
  if (auto found = look_up(endpoint, options.timeout_ms); !found) {
    steps.fail("dns", found.error(), "is the name right, and a server of /etc/resolv.conf reachable?");
    return;
  }
  steps.pass("dns", named ? endpoint.host : "no name to look up");
  auto name = parse_name(options.name).value();
  ClientLinkPhase reached = ClientLinkPhase::kConnecting;
  auto subscriber = connect(options, name, reached);
  if (reached != ClientLinkPhase::kConnecting) {
    steps.pass("tcp", "connected to " + endpoint.text);
  }
  if (!subscriber) {
    if (reached == ClientLinkPhase::kConnecting) {
      steps.fail("tcp", subscriber.error(), "is slipwayd running there, and does a firewall let us through?");
    } else {
      steps.fail("hello", subscriber.error(), "is it a slipway's native listener (46367 by default)? upstream's protocol is http:// or https://");
    }
    return;
  }
  const auto& node = (*subscriber)->link().node();
  steps.pass("hello", fmt::format("slipway {}{}{}", node.version, node.node_id.empty() ? "" : ", node ", node.node_id));
  if (auto subscribed = (*subscriber)->subscribe_self(options.timeout_ms); !subscribed) {
    steps.fail("subscribe", subscribed.error(), "see the node's limits on subscriptions, and its log");
    return;
  }
  steps.pass("subscribe", (*subscriber)->name().text());
  auto publisher = connect(options, name, reached);
  if (!publisher) {
    steps.fail("echo", "the second connection failed: " + publisher.error(), {});
    return;
  }
  if (auto sent = (*publisher)->publish((*subscriber)->name(), Receivers::kOne, "doctor", options.timeout_ms); !sent) {
    steps.fail("echo", sent.error(), {});
    return;
  }
  (void)(*publisher)->flush(options.timeout_ms);
  const auto message = (*subscriber)->receive(options.timeout_ms);
  if (!message) {
    steps.fail("echo", fmt::format("a message to our own name did not arrive within {} ms", options.timeout_ms),
               "`slipwayctl explain " + (*subscriber)->name().text() + "` says why");
    return;
  }
  steps.pass("echo", "there and back");
}

}  // namespace

bool is_native(const DoctorOptions& options) {
  return options.native || options.endpoint.starts_with("tcp://") || options.endpoint.starts_with("udp://");
}

DoctorReport doctor_native(const DoctorOptions& options) {
  DoctorReport report{.endpoint = options.endpoint, .steps = {kSteps.begin(), kSteps.end()}};
  auto loop = Loop::create();
  if (loop) {
    run(options, report, **loop);
  } else {
    report.steps.front().result = DoctorStep::Result::kBad;
    report.steps.front().found = loop.error();
  }
  return report;
}

}  // namespace slipway::ctl
