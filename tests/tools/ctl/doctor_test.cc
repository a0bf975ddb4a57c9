// slipwayctl doctor against a node that fails where the test says: each step, what is said of it, and the exit code.

#include "doctor.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <thread>

#include "../../control/edge_client/edge_node.h"
#include "../../dataplane/edge/tls_certificates.h"
#include "edge/auth_basic.h"

namespace slipway::ctl {
namespace {

using slipway::test::EdgeNode;
using slipway::test::EdgeNodeOptions;
using testing::HasSubstr;

// The node has its own thread, as doctor waits in its own loop.
class Server {
 public:
  explicit Server(EdgeNodeOptions options) : loop_(Loop::create().value()), node_(std::make_unique<EdgeNode>(*loop_, std::move(options))) {
    port = node_->port;
    thread_ = std::thread([this] {
      while (!stop_) {
        loop_->turn(5'000'000);
      }
      node_->connections.clear();
    });
  }
  ~Server() {
    stop_ = true;
    thread_.join();
  }
  std::uint16_t port;

 private:
  std::unique_ptr<Loop> loop_;
  std::unique_ptr<EdgeNode> node_;
  std::atomic<bool> stop_{false};
  std::thread thread_;
};

DoctorReport visit(EdgeNodeOptions options, const char* scheme = "http", DoctorOptions how = {}) {
  const Server server(std::move(options));
  how.endpoint = std::string(scheme) + "://127.0.0.1:" + std::to_string(server.port);
  how.timeout_ms = how.timeout_ms == 5'000 ? 10'000 : how.timeout_ms;
  return doctor_edge(how);
}

void expect_failure(const DoctorReport& report, std::string_view step, ExitCode code, const char* found) {
  const auto* failed = report.failed();
  ASSERT_NE(failed, nullptr) << render_doctor(report);
  EXPECT_EQ(failed->name, step) << render_doctor(report);
  EXPECT_EQ(failed->code, code);
  EXPECT_THAT(failed->found, HasSubstr(found));
  EXPECT_FALSE(failed->remedy.empty()) << render_doctor(report);
  EXPECT_THAT(render_doctor(report), HasSubstr("try: "));
  EXPECT_THAT(doctor_json(report), HasSubstr("\"failed\":\"" + std::string(step) + "\""));
}

TEST(Doctor, FindsNothingWrongWithANodeThatIsWell) {
  const auto report = visit({.delivers = true});
  EXPECT_EQ(report.failed(), nullptr) << render_doctor(report);
  EXPECT_EQ(report.steps.size(), 9u);
  for (const auto& step : report.steps) {
    EXPECT_EQ(step.result, DoctorStep::Result::kOk) << step.name;
    EXPECT_FALSE(step.found.empty()) << step.name;
  }
  EXPECT_THAT(doctor_json(report), HasSubstr("\"good\":true"));
}

TEST(Doctor, NamesTheStepThatFails) {
  expect_failure(doctor_edge({.endpoint = "http://no-such-host.invalid:1", .timeout_ms = 2'000}), "dns", ExitCode::kDns, "no-such-host.invalid");
  expect_failure(doctor_edge({.endpoint = "unix:///nonexistent/socket"}), "tcp", ExitCode::kTcp, "/nonexistent/socket");
  expect_failure(visit({}, "https"), "tls", ExitCode::kTls, "TLS");
  expect_failure(visit({.negotiates = false}, "http", {.timeout_ms = 200}), "negotiation", ExitCode::kNegotiation, "in time");
  expect_failure(visit({.closes_at_once = true}), "negotiation", ExitCode::kNegotiation, "ended the stream");
  expect_failure(visit({.acknowledges = false}, "http", {.timeout_ms = 200}), "subscribe", ExitCode::kSubscribe, "no acknowledgement");
  expect_failure(visit({.refuses = "too many names"}), "subscribe", ExitCode::kSubscribe, "too many names");
  expect_failure(visit({}, "http", {.timeout_ms = 200}), "echo", ExitCode::kEcho, "did not arrive");
  expect_failure(visit({.delivers = true, .alters = true}), "echo", ExitCode::kEcho, "another payload");
  expect_failure(visit({.foreign_mac = true, .delivers = true}), "mac", ExitCode::kMac, "MAC");
}

TEST(Doctor, NamesTheOptionsThatWouldHelp) {
  auto guarded = std::make_shared<TransportConfig>();
  guarded->guard = std::make_shared<BasicGuard>("user", "secret");
  const auto refused = visit({.config = guarded});
  expect_failure(refused, "method", ExitCode::kMethod, "401");
  EXPECT_THAT(refused.failed()->remedy, HasSubstr("--basic"));
  EXPECT_EQ(visit({.config = guarded, .delivers = true}, "http", {.authorization = basic_authorization("user", "secret")}).failed(), nullptr);

  auto other = std::make_shared<TransportConfig>();
  other->path = "/controller.proto.v1.ControllerService/OpenControlChannel";
  expect_failure(visit({.config = other}), "method", ExitCode::kMethod, "UNIMPLEMENTED");

  const auto ca = test::make_certificate("ca", nullptr);
  const auto own = test::make_certificate("localhost", &ca, "DNS:localhost");
  auto secure = std::make_shared<TransportConfig>();
  secure->tls = *TlsContext::load({.server = true, .certificate = {.file = {}, .pem = own.pem}, .key = {.file = {}, .pem = own.key_pem}, .ca = {}, .groups = {}});
  const auto stranger = visit({.config = secure}, "https");
  expect_failure(stranger, "tls", ExitCode::kTls, "ertificate");
  EXPECT_THAT(stranger.failed()->remedy, HasSubstr("--ca"));
  EXPECT_EQ(visit({.config = secure, .delivers = true}, "https", {.insecure = true}).failed(), nullptr);
  expect_failure(visit({.config = secure}, "http"), "http", ExitCode::kHttp, "");
  expect_failure(doctor_edge({.endpoint = "https://127.0.0.1:1", .ca_file = "/nonexistent"}), "tls", ExitCode::kTls, "/nonexistent");
}

}  // namespace
}  // namespace slipway::ctl
