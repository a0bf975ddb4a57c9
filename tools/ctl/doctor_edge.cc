// The steps of an application of upstream's: two connections, one that subscribes and one that publishes to it, because a node
// sends nothing back where it came from.

#include <fmt/format.h>

#include <array>
#include <optional>
#include <random>

#include "doctor.h"
#include "edge_client/edge_client.h"
#include "frame/body.h"

namespace slipway::ctl {
namespace {

constexpr std::uint64_t kMs = 1'000'000;
constexpr std::array kSteps = {
    DoctorStep{.name = "dns", .code = ExitCode::kDns, .found = {}, .remedy = {}},
    DoctorStep{.name = "tcp", .code = ExitCode::kTcp, .found = {}, .remedy = {}},
    DoctorStep{.name = "tls", .code = ExitCode::kTls, .found = {}, .remedy = {}},
    DoctorStep{.name = "http", .code = ExitCode::kHttp, .found = {}, .remedy = {}},
    DoctorStep{.name = "method", .code = ExitCode::kMethod, .found = {}, .remedy = {}},
    DoctorStep{.name = "negotiation", .code = ExitCode::kNegotiation, .found = {}, .remedy = {}},
    DoctorStep{.name = "mac", .code = ExitCode::kMac, .found = {}, .remedy = {}},
    DoctorStep{.name = "subscribe", .code = ExitCode::kSubscribe, .found = {}, .remedy = {}},
    DoctorStep{.name = "echo", .code = ExitCode::kEcho, .found = {}, .remedy = {}},
};

NameId random_id() {
  std::random_device device;
  return {.high = (std::uint64_t{device()} << 32 | device()) >> 1, .low = std::uint64_t{device()} << 32 | device()};
}

bool is_mac(EdgeFault fault) {
  return fault == EdgeFault::kMacMissing || fault == EdgeFault::kMacWithoutKey || fault == EdgeFault::kMacLength || fault == EdgeFault::kMacWrong;
}

// What options of this program a remedy means.
std::string with_options(const EdgeClientEnd& end) {
  const bool certificate = end.fault == TransportFault::kTlsCertificate;
  const bool credentials = end.http_status == 401 || end.grpc_status == 16;
  const auto* options = certificate                                    ? " (--ca FILE, --server-name NAME, or --insecure)"
                        : end.fault == TransportFault::kTlsRefused ? " (--cert FILE --key FILE)"
                        : credentials                                  ? " (--basic FILE or --token FILE)"
                                                                       : "";
  return end.remedy + options;
}

// One connection, and what came over it.
struct Side {
  std::unique_ptr<EdgeClient> client;
  std::optional<EdgeClientEnd> end;
  std::optional<SubscriptionAckBody> ack;
  std::vector<std::byte> payload;
  std::optional<EdgeFault> refused;
  bool received = false;
};

class Visit {
 public:
  Visit(const DoctorOptions& options, Loop& loop, DoctorReport& report)
      : options_(options), loop_(loop), steps_(report, loop), name_(parse_name(options.name).value()) {
    name_.id = random_id();
  }

  void run() {
    if (!connect() || !subscribe() || !echo()) {
      return;
    }
    leave();
  }

 private:
  EdgeClientOptions client_options() const {
    EdgeClientOptions out{.endpoint = options_.endpoint};
    out.ca.file = options_.ca_file;
    out.certificate.file = options_.certificate_file;
    out.key.file = options_.key_file;
    out.skip_verify = options_.insecure;
    out.server_name = options_.server_name;
    out.authorization = options_.authorization;
    out.strict_mac = options_.strict_mac;
    out.node_id = "slipwayctl-doctor";
    out.connect_ms = out.handshake_ms = options_.timeout_ms;
    out.negotiation_ms = options_.timeout_ms;
    return out;
  }

  // `told`: its steps are those of the report.
  bool open(Side& side, bool told) {
    EdgeClient::Handlers handlers;
    if (told) {
      handlers.on_step = [this, &side](EdgeStep step) { steps_.pass(edge_step_name(step), found(*side.client, step)); };
    }
    handlers.on_frame = [&side](std::span<const std::byte> frame) { take(side, frame); };
    handlers.on_refused = [&side](EdgeFault fault) { side.refused = fault; };
    handlers.on_closed = [&side](const EdgeClientEnd& end) { side.end = end; };
    auto client = EdgeClient::open(loop_, client_options(), std::move(handlers));
    if (!client) {
      steps_.fail(told ? "tls" : "echo", client.error(), "see the files given as --ca, --cert and --key");
      return false;
    }
    side.client = std::move(*client);
    return true;
  }

  static void take(Side& side, std::span<const std::byte> frame) {
    const auto kind = static_cast<FrameKind>(frame_kind(frame.data()));
    if (kind == FrameKind::kSubscriptionAck) {
      if (auto ack = decode_subscription_ack(frame)) {
        side.ack = std::move(*ack);
      }
    } else if (kind == FrameKind::kPublish) {
      if (const auto publish = view_publish(frame)) {
        side.payload.assign(publish->payload.begin(), publish->payload.end());
        side.received = true;
      }
    }
  }

  static std::string found(const EdgeClient& client, EdgeStep step) {
    const auto& endpoint = client.endpoint();
    switch (step) {
      case EdgeStep::kResolve:
        return endpoint.host.empty() ? "no name to look up" : endpoint.host;
      case EdgeStep::kConnect:
        return "connected to " + client.address_text();
      case EdgeStep::kTls: {
        const auto tls = client.tls_info();
        return tls.version.empty() ? "none" : fmt::format("{} {}, certificate {}", tls.version, tls.cipher, tls.peer_subject);
      }
      case EdgeStep::kHttp:
        return endpoint.websocket ? "WebSocket" : "HTTP/2";
      case EdgeStep::kMethod:
        return endpoint.websocket ? endpoint.path : kOpenChannelPath;
      case EdgeStep::kNegotiation: {
        const auto& link = client.link();
        return fmt::format("SLIM {}{}{}", link.version, link.node_id.empty() ? "" : ", node ", link.node_id);
      }
      case EdgeStep::kUp:
        break;
    }
    return {};
  }

  template <class Done>
  bool until(Done done) {
    const auto limit = loop_.refresh_now() + options_.timeout_ms * kMs;
    while (!done() && loop_.refresh_now() < limit) {
      loop_.turn(limit - loop_.now_ns());
    }
    return done();
  }

  bool connect() {
    if (!open(subscriber_, true)) {
      return false;
    }
    while (!subscriber_.end && !subscriber_.client->up()) {
      loop_.turn();  // the client keeps the time
    }
    if (subscriber_.end) {
      steps_.fail(edge_step_name(subscriber_.end->step), subscriber_.end->text, with_options(*subscriber_.end));
      return false;
    }
    const auto& link = subscriber_.client->link();
    steps_.pass("mac", !link.key ? "no key was agreed on: messages are not signed" : link.hybrid ? "X25519 and ML-KEM-768" : "X25519");
    return true;
  }

  bool lost(const Side& side, std::string_view step) {
    if (side.end) {
      steps_.fail(step, side.end->text, with_options(*side.end));
    }
    return side.end.has_value();
  }

  bool subscribe() {
    const FrameHeader header{.kind = FrameKind::kSubscribe, .destination = name_.hashed(), .source = name_.hashed()};
    subscription_ = random_id().low | 1;
    subscriber_.client->send_frame(encode_subscribe(header, {.destination_text = name_.component, .source_text = name_.component,
                                                             .subscription_id = subscription_, .identity = {}, .version = SLIPWAY_VERSION}));
    const bool answered = until([&] { return subscriber_.ack || subscriber_.end; });
    if (lost(subscriber_, "subscribe")) {
      return false;
    }
    if (!answered) {
      steps_.fail("subscribe", fmt::format("no acknowledgement within {} ms", options_.timeout_ms),
                  "a node that does not accept our header MAC says nothing: see its log, and `require_header_mac` on its side");
      return false;
    }
    if (!subscriber_.ack->success) {
      steps_.fail("subscribe", "refused: " + subscriber_.ack->error, "see the node's limits on subscriptions, and its log");
      return false;
    }
    steps_.pass("subscribe", name_.text());
    return true;
  }

  bool echo() {
    if (!open(publisher_, false)) {
      return false;
    }
    while (!publisher_.end && !publisher_.client->up()) {
      loop_.turn();
    }
    if (publisher_.end) {
      steps_.fail("echo", fmt::format("the second connection failed at {}: {}", edge_step_name(publisher_.end->step), publisher_.end->text),
                  with_options(*publisher_.end));
      return false;
    }
    TextName from = name_;
    from.id = random_id();
    std::vector<std::byte> payload(32);
    std::random_device device;
    for (auto& byte : payload) {
      byte = static_cast<std::byte>(device());
    }
    const std::uint64_t sent_ns = loop_.refresh_now();
    publisher_.client->send_frame(encode_publish({.destination = name_.hashed(), .source = from.hashed()},
                                                 {.destination_text = name_.component, .source_text = from.component, .identity = {},
                                                  .payload_type = "doctor", .payload = payload}));
    const bool came = until([&] { return subscriber_.received || subscriber_.refused || subscriber_.end || publisher_.end; });
    if (lost(subscriber_, "echo") || lost(publisher_, "echo")) {
      return false;
    }
    if (subscriber_.refused) {
      const auto& fault = edge_fault_text(*subscriber_.refused);
      steps_.fail(is_mac(*subscriber_.refused) ? "mac" : "echo", fmt::format("the node delivers {}", fault.what), std::string(fault.advice));
      return false;
    }
    if (!came) {
      steps_.fail("echo", fmt::format("a message to our own name did not arrive within {} ms", options_.timeout_ms),
                  "`slipwayctl explain " + name_.text() + "` says on a slipway why; on an upstream node: does it accept our header MAC?");
      return false;
    }
    if (subscriber_.payload != payload) {
      steps_.fail("echo", "another payload came than was sent", "is somebody else using this name? give another with --name");
      return false;
    }
    steps_.pass("echo", fmt::format("there and back in {:.2f} ms", static_cast<double>(loop_.refresh_now() - sent_ns) / 1e6));
    return true;
  }

  void leave() {
    subscriber_.ack.reset();
    const FrameHeader header{.kind = FrameKind::kUnsubscribe, .destination = name_.hashed(), .source = name_.hashed()};
    subscriber_.client->send_frame(encode_subscribe(header, {.destination_text = name_.component, .source_text = name_.component,
                                                             .subscription_id = subscription_, .identity = {}, .version = SLIPWAY_VERSION}));
    (void)until([&] { return subscriber_.ack || subscriber_.end; });
    subscriber_.client->close();
    publisher_.client->close();
    (void)until([&] { return subscriber_.end && publisher_.end; });
  }

  const DoctorOptions& options_;
  Loop& loop_;
  DoctorSteps steps_;
  TextName name_;
  std::uint64_t subscription_ = 0;
  Side subscriber_;
  Side publisher_;
};

}  // namespace

DoctorReport doctor_edge(const DoctorOptions& options) {
  DoctorReport report{.endpoint = options.endpoint, .steps = {kSteps.begin(), kSteps.end()}};
  auto loop = Loop::create();
  if (!loop) {
    report.steps.front().result = DoctorStep::Result::kBad;
    report.steps.front().found = loop.error();
    return report;
  }
  Visit(options, **loop, report).run();
  return report;
}

}  // namespace slipway::ctl
