// A client of upstream's protocol against a node made of the same codec: every step passed, and every step failing.

#include "edge_client/edge_client.h"

#include <gtest/gtest.h>

#include "../../dataplane/edge/tls_certificates.h"
#include "edge/auth_basic.h"
#include "edge_client/edge_client_bounds.h"
#include "edge_node.h"
#include "turn_until.h"

namespace slipway::test {
namespace {

struct Tls {
  Certificate ca = make_certificate("ca", nullptr);
  Certificate own = make_certificate("localhost", &ca, "DNS:localhost,IP:127.0.0.1");
  Certificate client = make_certificate("client", &ca);
  std::shared_ptr<const TlsContext> server(bool wants_client = false) {
    TlsOptions options{.server = true, .certificate = {.file = {}, .pem = own.pem}, .key = {.file = {}, .pem = own.key_pem}, .ca = {}, .groups = {}};
    if (wants_client) {
      options.ca.pem = ca.pem;
    }
    return *TlsContext::load(options);
  }
};

Tls& tls() {
  static Tls one;
  return one;
}

class EdgeClientTest : public ::testing::Test {
 protected:
  std::unique_ptr<Loop> loop = Loop::create().value();
  std::unique_ptr<EdgeNode> node;
  std::unique_ptr<EdgeClient> client;
  std::vector<EdgeStep> steps;
  std::vector<FrameBytes> frames;
  std::vector<EdgeFault> refused;
  std::optional<EdgeClientEnd> end;
  int writable = 0;
  bool resting = false;  // after each frame

  void serve(EdgeNodeOptions options = {}) { node = std::make_unique<EdgeNode>(*loop, std::move(options)); }
  [[nodiscard]] std::string at(std::string_view scheme) const { return std::string(scheme) + "://127.0.0.1:" + std::to_string(node->port); }

  void open(EdgeClientOptions options) {
    options.system_roots = false;
    EdgeClient::Handlers handlers;
    handlers.on_step = [this](EdgeStep step) { steps.push_back(step); };
    handlers.on_frame = [this](std::span<const std::byte> frame) {
      frames.emplace_back(frame.begin(), frame.end());
      if (resting) {
        client->rest();
      }
    };
    handlers.on_refused = [this](EdgeFault fault) { refused.push_back(fault); };
    handlers.on_writable = [this] { ++writable; };
    handlers.on_closed = [this](const EdgeClientEnd& how) { end = how; };
    auto made = EdgeClient::open(*loop, std::move(options), std::move(handlers));
    ASSERT_TRUE(made) << made.error();
    client = std::move(*made);
  }
  template <class Done>
  [[nodiscard]] bool until(Done done) { return turn_until(*loop, done); }
  [[nodiscard]] bool up() {
    return until([&] { return client->up() || end.has_value(); }) && client->up();
  }
  [[nodiscard]] EdgeClientEnd ended() {
    EXPECT_TRUE(until([&] { return end.has_value(); }));
    return end.value_or(EdgeClientEnd{});
  }
  // A publish there and back, whole, signed both ways.
  void echo(std::size_t payload_bytes) {
    const std::vector<std::byte> payload(payload_bytes, std::byte{'x'});
    const auto me = parse_name("org/ns/me/0x7").value();
    const auto frame = encode_publish({.destination = parse_name("org/ns/other").value().hashed(), .source = me.hashed()},
                                      {.destination_text = {"org", "ns", "other"}, .source_text = me.component, .identity = "id", .payload_type = "msg", .payload = payload});
    const auto before = frames.size();
    ASSERT_EQ(client->send_frame(frame), EdgeSend::kQueued);
    ASSERT_TRUE(until([&] { return frames.size() > before || end; }));
    ASSERT_FALSE(end);
    const auto back = view_publish(frames.back());
    ASSERT_TRUE(back);
    EXPECT_TRUE(std::ranges::equal(back->payload, payload));
    EXPECT_EQ(load_header(frames.back().data()), load_header(frame.data()));
  }
};

constexpr EdgeStep kAll[] = {EdgeStep::kResolve, EdgeStep::kConnect, EdgeStep::kTls, EdgeStep::kHttp, EdgeStep::kMethod, EdgeStep::kNegotiation};

TEST_F(EdgeClientTest, SendsAndReceivesFramesOverGrpc) {
  serve();
  open({.endpoint = at("http"), .link_id = "link-7", .node_id = "me"});
  ASSERT_TRUE(up()) << end->text;
  EXPECT_TRUE(std::ranges::equal(steps, kAll));
  EXPECT_EQ(client->link().node_id, "test-node");
  EXPECT_EQ(client->link().link_id, "link-7");
  EXPECT_TRUE(client->signs());
  const auto name = parse_name("org/ns/me/0x7").value();
  client->send_frame(encode_subscribe({.kind = FrameKind::kSubscribe, .destination = name.hashed(), .source = name.hashed()},
                                      {.destination_text = name.component, .source_text = name.component, .subscription_id = 99, .identity = {}, .version = {}}));
  ASSERT_TRUE(until([&] { return !frames.empty(); }));
  EXPECT_EQ(decode_subscription_ack(frames[0])->subscription_id, 99u);
  for (const std::size_t bytes : {0u, 5u, 2'000u, 100'000u, 3'000'000u}) {
    echo(bytes);
  }
  EXPECT_TRUE(node->refused.empty());
  client->close();
  EXPECT_TRUE(ended().asked);
  ASSERT_TRUE(until([&] { return !node->ended.empty(); }));
  EXPECT_EQ(node->ended[0], TransportFault::kNone);
}

TEST_F(EdgeClientTest, SpeaksTlsWithClientCertificate) {
  auto config = std::make_shared<TransportConfig>();
  config->tls = tls().server(true);
  serve({.config = config});
  open({.endpoint = at("https"), .ca = {.file = {}, .pem = tls().ca.pem}, .certificate = {.file = {}, .pem = tls().client.pem},
        .key = {.file = {}, .pem = tls().client.key_pem}});
  ASSERT_TRUE(up()) << end->text;
  EXPECT_EQ(client->tls_info().version, "TLSv1.3");
  echo(10);
  echo(300'000);
}

TEST_F(EdgeClientTest, WhoeverRestsGetsOneReadATurn) {
  constexpr std::size_t kFrames = 600, kPayloadBytes = 1'000;
  for (const bool secure : {false, true}) {
    auto config = std::make_shared<TransportConfig>();
    if (secure) {
      config->tls = tls().server();
    }
    client.reset();
    serve({.config = config});
    open({.endpoint = at(secure ? "https" : "http"), .ca = {.file = {}, .pem = tls().ca.pem}});
    ASSERT_TRUE(up()) << end->text;
    resting = true;
    frames.clear();
    const auto me = parse_name("org/ns/me/0x7").value();
    for (std::size_t i = 0; i < kFrames; ++i) {
      FrameHeader header{.destination = parse_name("org/ns/other").value().hashed(), .source = me.hashed()};
      header.message_id = static_cast<std::uint32_t>(i);
      const std::vector<std::byte> payload(kPayloadBytes, std::byte{'x'});
      ASSERT_EQ(client->send_frame(encode_publish(header, {.destination_text = {"org", "ns", "other"}, .source_text = me.component, .identity = "id",
                                                           .payload_type = "msg", .payload = payload})),
                EdgeSend::kQueued);
    }
    std::size_t most = 0, before = 0;
    ASSERT_TRUE(until([&] {
      most = std::max(most, frames.size() - before);
      before = frames.size();
      return frames.size() == kFrames || end;
    }));
    EXPECT_LE(most, kEdgeClientReceiveBytes / kPayloadBytes + 1);
    for (std::size_t i = 0; i < frames.size(); ++i) {
      ASSERT_EQ(load_header(frames[i].data()).message_id, i);
    }
    resting = false;
  }
}

TEST_F(EdgeClientTest, SpeaksWebSocketWithAndWithoutTls) {
  for (const bool secure : {false, true}) {
    auto config = std::make_shared<TransportConfig>();
    config->protocol = TransportProtocol::kWebSocket;
    config->path = "/slim";
    config->max_message_bytes = kMaxFrameBytes;
    if (secure) {
      config->tls = tls().server();
    }
    client.reset();
    serve({.config = config});
    steps.clear();
    open({.endpoint = at(secure ? "wss" : "ws") + "/slim", .ca = {.file = {}, .pem = tls().ca.pem}});
    ASSERT_TRUE(up()) << end->text;
    EXPECT_TRUE(std::ranges::equal(steps, kAll));
    echo(10);
    echo(300'000);
  }
}

TEST_F(EdgeClientTest, UnixSocketPathsAndPortsAreParsed) {
  EXPECT_EQ(parse_edge_endpoint("unix:///run/x.sock?a")->socket.text, "unix:///run/x.sock");
  EXPECT_EQ(parse_edge_endpoint("unix://run/x.sock")->socket.text, "unix:///run/x.sock");
  EXPECT_EQ(parse_edge_endpoint("https://[::1]")->authority, "[::1]:443");
  EXPECT_EQ(parse_edge_endpoint("https://[::1]")->host, "::1");
  EXPECT_EQ(parse_edge_endpoint("grpc://node.example")->authority, "node.example:46357");
  EXPECT_EQ(parse_edge_endpoint("ws://h:5/a/b")->path, "/a/b");
  for (const auto* wrong : {"", "h:1", "ftp://h:1", "http://", "http://h:99999", "unix://", "http://h:1:2"}) {
    EXPECT_FALSE(parse_edge_endpoint(wrong)) << wrong;
  }
}

TEST_F(EdgeClientTest, SaysThatNobodyListens) {
  serve();
  const auto address = at("http");
  node.reset();
  open({.endpoint = address});
  EXPECT_EQ(ended().step, EdgeStep::kConnect);
  EXPECT_NE(end->text.find("refused"), std::string::npos) << end->text;
  EXPECT_FALSE(end->remedy.empty());
}

TEST_F(EdgeClientTest, SaysThatANameHasNoAddress) {
  open({.endpoint = "http://no-such-host.invalid:1", .connect_ms = 2'000});
  EXPECT_EQ(ended().step, EdgeStep::kResolve);
  EXPECT_NE(end->text.find("no-such-host.invalid"), std::string::npos) << end->text;
}

TEST_F(EdgeClientTest, TellsTlsFromNoTls) {
  serve();
  open({.endpoint = at("https")});
  EXPECT_EQ(ended().step, EdgeStep::kTls);
  EXPECT_NE(end->remedy.find("http://"), std::string::npos) << end->text << " / " << end->remedy;
  end.reset();
  auto config = std::make_shared<TransportConfig>();
  config->tls = tls().server();
  serve({.config = config});
  open({.endpoint = at("http")});
  EXPECT_EQ(ended().step, EdgeStep::kHttp);
  EXPECT_NE(end->remedy.find("https://"), std::string::npos) << end->text << " / " << end->remedy;
  end.reset();
  open({.endpoint = at("https")});  // knows no CA
  EXPECT_EQ(ended().step, EdgeStep::kTls);
  EXPECT_EQ(end->fault, TransportFault::kTlsCertificate);
  EXPECT_NE(end->remedy.find("CA"), std::string::npos);
  end.reset();
  open({.endpoint = at("https"), .ca = {.file = {}, .pem = tls().ca.pem}, .server_name = "other.example"});
  EXPECT_EQ(ended().fault, TransportFault::kTlsCertificate);
  EXPECT_FALSE(EdgeClient::open(*loop, {.endpoint = at("https"), .ca = {.file = "/nonexistent", .pem = {}}}, {}));
}

TEST_F(EdgeClientTest, SaysWhatTheMethodAnswered) {
  auto config = std::make_shared<TransportConfig>();
  config->path = "/another.Service/Method";
  serve({.config = config});
  open({.endpoint = at("http")});
  EXPECT_EQ(ended().step, EdgeStep::kMethod);
  EXPECT_EQ(end->grpc_status, 12);
  EXPECT_TRUE(end->rejected);
  end.reset();
  auto guarded = std::make_shared<TransportConfig>();
  guarded->guard = std::make_shared<BasicGuard>("user", "secret");
  serve({.config = guarded});
  open({.endpoint = at("http")});
  EXPECT_EQ(ended().step, EdgeStep::kMethod);
  EXPECT_EQ(end->http_status, 401);
  EXPECT_NE(end->remedy.find("credentials"), std::string::npos);
  end.reset();
  open({.endpoint = at("http"), .authorization = basic_authorization("user", "secret")});
  EXPECT_TRUE(up());
}

TEST_F(EdgeClientTest, SaysHowTheNegotiationFailed) {
  serve({.negotiates = false});
  open({.endpoint = at("http"), .negotiation_ms = 200});
  EXPECT_EQ(ended().step, EdgeStep::kNegotiation);
  EXPECT_FALSE(end->rejected);
  end.reset();
  serve({.closes_at_once = true});
  open({.endpoint = at("http")});
  EXPECT_EQ(ended().step, EdgeStep::kNegotiation);
  EXPECT_EQ(end->grpc_status, 0);
  end.reset();
  open({.endpoint = at("http"), .enforce_pqc = true});  // this OpenSSL may have no ML-KEM: either way it is no link
  EXPECT_EQ(ended().step, EdgeStep::kNegotiation);
}

TEST_F(EdgeClientTest, TellsTheTextOfAPeersRejection) {
  serve({.negotiation = {.node_id = "same"}});
  open({.endpoint = at("http"), .link_class = LinkClass::kPeer, .node_id = "me"});
  ASSERT_TRUE(up());
  EXPECT_FALSE(client->signs());
  end.reset();
  open({.endpoint = at("http"), .link_class = LinkClass::kPeer, .node_id = "same"});
  EXPECT_TRUE(ended().rejected);
  EXPECT_TRUE(end->text.find("own node_id") != std::string::npos || end->text.find("same node_id") != std::string::npos) << end->text;
}

TEST_F(EdgeClientTest, DropsWhatHasAWrongMac) {
  serve({.foreign_mac = true});
  open({.endpoint = at("http")});
  ASSERT_TRUE(up());
  const auto name = parse_name("org/ns/me").value();
  client->send_frame(encode_publish({.destination = name.hashed(), .source = name.hashed()},
                                    {.destination_text = name.component, .source_text = name.component, .identity = {}, .payload_type = {}, .payload = {}}));
  ASSERT_TRUE(until([&] { return !refused.empty() || end; }));
  EXPECT_EQ(refused[0], EdgeFault::kMacWrong);
  EXPECT_TRUE(frames.empty());
  EXPECT_TRUE(client->up());
}

TEST_F(EdgeClientTest, QueueIsBoundedAndOpensAgain) {
  serve();
  open({.endpoint = at("http"), .queue_bytes = 1u << 20});
  ASSERT_TRUE(up());
  const std::vector<std::byte> payload(400'000);
  const auto name = parse_name("org/ns/me").value();
  const auto frame = encode_publish({.destination = name.hashed(), .source = name.hashed()},
                                    {.destination_text = {}, .source_text = {}, .identity = {}, .payload_type = {}, .payload = payload});
  int taken = 0;
  EdgeSend last = EdgeSend::kQueued;
  while ((last = client->send_frame(frame)) == EdgeSend::kQueued) {
    ASSERT_LT(++taken, 20);
  }
  EXPECT_EQ(last, EdgeSend::kQueueFull);
  EXPECT_TRUE(until([&] { return writable == 1 && frames.size() == static_cast<std::size_t>(taken); }));
  EXPECT_EQ(client->send_frame(std::span(frame).first(50)), EdgeSend::kRefused);
}

TEST_F(EdgeClientTest, MayBeDestroyedAtAnyTimeAndFromItsLastCall) {
  serve();
  for (int turns = 0; turns < 12; ++turns) {
    open({.endpoint = at("http")});
    for (int i = 0; i < turns; ++i) {
      loop->turn(1'000'000);
    }
    client.reset();
    loop->turn(0);
  }
  EdgeClient::Handlers handlers;
  bool closed = false;
  handlers.on_closed = [&](const EdgeClientEnd&) {
    closed = true;
    client.reset();
  };
  client = EdgeClient::open(*loop, {.endpoint = at("http")}, std::move(handlers)).value();
  ASSERT_TRUE(up());
  node.reset();
  EXPECT_TRUE(until([&] { return closed; }));
  EXPECT_EQ(client, nullptr);
  EXPECT_FALSE(end);
}

}  // namespace
}  // namespace slipway::test
