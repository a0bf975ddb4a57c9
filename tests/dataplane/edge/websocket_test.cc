// WebSocket, both sides of our own and bytes written by hand.

#include <gtest/gtest.h>

#include "edge/auth_basic.h"
#include "edge/auth_jwt.h"
#include "edge/ws_session.h"
#include "tls_certificates.h"
#include "transport_peer.h"

namespace slipway::test {
namespace {

std::shared_ptr<TransportConfig> ws_server() {
  auto config = server_config();
  config->protocol = TransportProtocol::kWebSocket;
  config->path = "/";
  config->max_message_bytes = kMaxWebSocketMessageBytes;
  return config;
}

std::shared_ptr<TransportConfig> ws_client() {
  auto config = client_config();
  config->protocol = TransportProtocol::kWebSocket;
  config->path = "/";
  config->max_message_bytes = kMaxWebSocketMessageBytes;
  return config;
}

// RFC 6455 1.3's key and what it is answered with.
constexpr const char* kAccept = "sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";
std::string request(const std::string& target = "/", const std::string& more = "") {
  return "GET " + target + " HTTP/1.1\r\nHost: node:80\r\nUpgrade: websocket\r\nConnection: keep-alive, Upgrade\r\n"
         "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n" + more + "\r\n";
}

// A client's frame: masked.
std::string frame(std::uint8_t first, std::string_view payload, bool mask = true) {
  std::string out(1, static_cast<char>(first));
  const char bit = mask ? '\x80' : '\0';
  if (payload.size() < 126) {
    out += static_cast<char>(bit | static_cast<char>(payload.size()));
  } else {
    const int bytes = payload.size() < 65'536 ? 2 : 8;
    out += static_cast<char>(bit | (bytes == 2 ? 126 : 127));
    for (int i = bytes - 1; i >= 0; --i) {
      out += static_cast<char>(payload.size() >> (8 * i));
    }
  }
  if (!mask) {
    return out.append(payload);
  }
  const char key[] = {'k', 'e', 'y', '!'};
  out.append(key, 4);
  for (std::size_t i = 0; i < payload.size(); ++i) {
    out += static_cast<char>(payload[i] ^ key[i % 4]);
  }
  return out;
}

class WsServer : public testing::Test {
 protected:
  void start(std::shared_ptr<TransportConfig> config = ws_server()) { ASSERT_TRUE(server.make(std::move(config))); }
  void open() {
    start();
    server.feed(request(), 3);
    ASSERT_EQ(server.opened, std::vector<std::int32_t>{1});
    const std::string answer = server.take();
    ASSERT_TRUE(answer.starts_with("HTTP/1.1 101 ")) << answer;
    ASSERT_NE(answer.find(kAccept), std::string::npos) << answer;
  }
  void expect_failed(TransportFault fault, std::uint16_t close_code) {
    EXPECT_EQ(server.fault, fault) << server.transport->error().text;
    ASSERT_EQ(server.closed.size(), 1u);
    const std::string out = server.take();
    ASSERT_EQ(out.size(), 4u);
    EXPECT_EQ(out, std::string("\x88\x02", 2) + static_cast<char>(close_code >> 8) + static_cast<char>(close_code & 0xFF));
    EXPECT_TRUE(server.transport->finished());
  }
  Peer server;
};

TEST_F(WsServer, OneBinaryMessageIsOneMessage) {
  open();
  server.feed(frame(0x82, "first") + frame(0x82, "") + frame(0x82, std::string(70'000, 'x')), 0);
  EXPECT_EQ(server.messages, (std::vector<std::string>{"first", "", std::string(70'000, 'x')}));
  EXPECT_EQ(server.told_bytes, (std::vector<std::size_t>{5, 0, 70'000}));
  EXPECT_EQ(server.send(1, "answer"), WriteResult::kCopied);
  EXPECT_EQ(server.take(), std::string("\x82\x06") + "answer");  // not masked, FIN set
  EXPECT_EQ(server.send(1, std::string(3000, 'y'), 3), WriteResult::kQueued);
  EXPECT_EQ(server.take(), std::string("\x82\x7e\x0b\xb8", 4) + std::string(3000, 'y'));
  EXPECT_FALSE(server.broken_order);
  EXPECT_TRUE(server.held.empty());
}

TEST_F(WsServer, FragmentsArePutTogetherAndPingsComeBetween) {
  open();
  server.feed(frame(0x02, "one ") + frame(0x89, "are you there") + frame(0x00, "") + frame(0x80, "message") + frame(0x82, "next"), 1);
  EXPECT_EQ(server.messages, (std::vector<std::string>{"one message", "next"}));
  EXPECT_EQ(server.take(), std::string("\x8a\x0d") + "are you there");  // the ping's payload comes back
  EXPECT_FALSE(server.broken_order);
  EXPECT_FALSE(server.failed);
}

TEST_F(WsServer, FramesBehindTheRequestAreNotLost) {
  start();
  server.feed(request() + frame(0x82, "early"));
  EXPECT_EQ(server.messages, std::vector<std::string>{"early"});
}

TEST_F(WsServer, TextIsRefused) {
  open();
  server.feed(frame(0x81, "text"));
  expect_failed(TransportFault::kWebSocketText, 1003);
}

TEST_F(WsServer, UnmaskedClientFrame) {
  open();
  server.feed(frame(0x82, "bare", false));
  expect_failed(TransportFault::kWebSocketProtocol, 1002);
}

TEST_F(WsServer, BrokenFrames) {
  for (const std::string& bad : {frame(0x80, "continues nothing"), frame(0x02, "a") + frame(0x82, "inside"), frame(0xC2, "extension"),
                                 frame(0x83, "unknown"), frame(0x8B, "unknown control"), frame(0x09, "ping in parts"),
                                 frame(0x89, std::string(126, 'p')), std::string("\x82\xfe\x00\x05", 4) + "key!12345"}) {
    Peer peer;
    ASSERT_TRUE(peer.make(ws_server()));
    peer.feed(request() + bad, 1);
    EXPECT_EQ(peer.fault, TransportFault::kWebSocketProtocol) << static_cast<int>(bad[0]);
    (void)peer.take();
    EXPECT_TRUE(peer.transport->finished());
  }
}

TEST_F(WsServer, MessagesBeyondTheBound) {
  auto config = ws_server();
  config->max_message_bytes = 1000;
  start(config);
  server.feed(request());
  (void)server.take();
  server.feed(frame(0x02, std::string(600, 'a')));
  server.feed(frame(0x80, std::string(401, 'b')));
  expect_failed(TransportFault::kMessageTooLarge, 1009);
  Peer other;
  ASSERT_TRUE(other.make(config));
  other.feed(request() + std::string("\x82\xff\x7f\xff\xff\xff\xff\xff\xff\xff", 10) + "key!x");
  EXPECT_EQ(other.fault, TransportFault::kMessageTooLarge);
}

TEST_F(WsServer, PeerCloses) {
  open();
  server.feed(frame(0x88, std::string("\x03\xe8", 2) + "bye"));
  ASSERT_EQ(server.closed.size(), 1u);
  EXPECT_EQ(server.closed[0].fault, TransportFault::kNone);
  EXPECT_EQ(server.take(), std::string("\x88\x02\x03\xe8", 4));
  EXPECT_TRUE(server.transport->finished());
  EXPECT_EQ(server.send(1, "late"), WriteResult::kClosed);
}

TEST_F(WsServer, Refusals) {
  struct Case {
    std::string bytes;
    const char* status;
    TransportFault fault;
  };
  std::string plain = request();
  plain.replace(plain.find("Upgrade: websocket"), 18, "X-Nothing: at all ");
  std::string old = request();
  old.replace(old.find("Version: 13"), 11, "Version: 8 ");
  std::string http10 = request();
  http10.replace(http10.find("HTTP/1.1"), 8, "HTTP/1.0");
  for (const Case& c : {Case{request("/elsewhere"), "404", TransportFault::kUnknownMethod}, Case{plain, "400", TransportFault::kWebSocketHandshake},
                        Case{old, "400", TransportFault::kWebSocketHandshake}, Case{http10, "400", TransportFault::kWebSocketHandshake},
                        Case{"POST / HTTP/1.1\r\nHost: x\r\n\r\n", "400", TransportFault::kWebSocketHandshake},
                        Case{"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "400", TransportFault::kWebSocketHandshake},
                        Case{std::string(64, '\x01'), "400", TransportFault::kWebSocketHandshake},
                        Case{request("/", "x: " + std::string(20'000, 'y') + "\r\n"), "431", TransportFault::kHeadersTooLarge}}) {
    for (const std::size_t piece : {1u, 1u << 20}) {
      Peer peer;
      ASSERT_TRUE(peer.make(ws_server()));
      peer.feed(c.bytes, piece);
      EXPECT_EQ(peer.fault, c.fault) << c.bytes.substr(0, 40);
      const std::string answer = peer.take();
      EXPECT_TRUE(answer.starts_with(std::string("HTTP/1.1 ") + c.status)) << answer;
      EXPECT_TRUE(peer.transport->finished());
      EXPECT_TRUE(peer.opened.empty());
    }
  }
}

TEST_F(WsServer, QueryIsNotPartOfThePath) {
  start();
  server.feed(request("/?x=1&token=ignored"));
  EXPECT_EQ(server.opened.size(), 1u);
}

TEST_F(WsServer, Credentials) {
  auto config = ws_server();
  config->guard = std::make_shared<BasicGuard>("admin", "secret");
  start(config);
  server.feed(request());
  EXPECT_EQ(server.fault, TransportFault::kNotAuthorized);
  const std::string answer = server.take();
  EXPECT_TRUE(answer.starts_with("HTTP/1.1 401 ")) << answer;
  EXPECT_NE(answer.find("www-authenticate: Basic\r\n"), std::string::npos);
  Peer other;
  ASSERT_TRUE(other.make(config));
  other.feed(request("/", "Authorization: " + basic_authorization("admin", "secret") + "\r\n"));
  ASSERT_EQ(other.opened.size(), 1u);
  EXPECT_EQ(other.transport->head(1)->subject, "admin");
  for (const TransportHeader& header : other.transport->head(1)->headers) {
    EXPECT_NE(header.name, "authorization");
  }
}

TEST_F(WsServer, TokenInTheQuery) {
  const auto key = [](bool sign) { return std::move(load_auth_keys({.data = "shared"}, sign)->front()); };
  auto config = ws_server();
  std::vector<AuthKey> keys;
  keys.push_back(key(false));
  config->guard = std::make_shared<JwtGuard>(std::move(keys), JwtRules{});
  const std::string bearer = *JwtSigner(key(true), {.subject = "browser"}).authorization(server.now.unix_s);
  start(config);
  server.feed(request("/?a=b&token=" + bearer.substr(7) + "&c=d"));
  ASSERT_EQ(server.opened.size(), 1u);
  EXPECT_EQ(server.transport->head(1)->subject, "browser");
  EXPECT_EQ(server.transport->head(1)->path, "/");
  Peer other;
  ASSERT_TRUE(other.make(config));
  other.feed(request("/?token=" + bearer.substr(7), "Authorization: Bearer wrong\r\n"));  // the header counts
  EXPECT_EQ(other.fault, TransportFault::kNotAuthorized);
}

TEST_F(WsServer, FloodOfPingsIsEnded) {
  for (const bool read : {true, false}) {
    Peer peer;
    ASSERT_TRUE(peer.make(ws_server()));
    peer.feed(request());
    (void)peer.take();
    int sent = 0;
    for (; sent < 20'000 && !peer.failed; ++sent) {
      peer.feed(frame(0x89, std::string(125, 'p')));
      if (read) {
        (void)peer.take();
      }
    }
    EXPECT_EQ(peer.fault, TransportFault::kFlood);
    EXPECT_LT(sent, 5'000);
    EXPECT_LT(peer.memory.account().used_bytes(), 600'000u);
  }
}

TEST_F(WsServer, KeepaliveByPing) {
  open();
  server.now.now_ns += 120'000'000'000;
  server.transport->tick(server.now);
  EXPECT_EQ(server.take(), std::string("\x89\x00", 2));
  server.now.now_ns += 1'000'000;
  server.feed(frame(0x8a, ""));
  server.now.now_ns += 60'000'000'000;
  server.transport->tick(server.now);
  EXPECT_FALSE(server.transport->failed());
  server.now.now_ns += 60'000'000'000;
  server.transport->tick(server.now);
  server.now.now_ns += 20'000'000'000;
  server.transport->tick(server.now);
  server.drain_events();
  EXPECT_EQ(server.fault, TransportFault::kKeepaliveTimeout);
}

class WsPair : public testing::TestWithParam<std::tuple<std::size_t, bool>> {};

TEST_P(WsPair, MessagesBothWays) {
  const auto [piece, tls] = GetParam();
  Peer server, client;
  auto sc = ws_server();
  auto cc = ws_client();
  if (tls) {
    const Certificate ca = make_certificate("test CA", nullptr);
    const Certificate node = make_certificate("node", &ca, "DNS:localhost");
    sc->tls = *TlsContext::load({.server = true, .certificate = {.pem = node.pem}, .key = {.pem = node.key_pem}, .alpn = "http/1.1"});
    cc->tls = *TlsContext::load({.server = false, .ca = {.pem = ca.pem}, .system_roots = false, .alpn = "http/1.1"});
    cc->server_name = "localhost";
  }
  ASSERT_TRUE(server.make(sc));
  ASSERT_TRUE(client.make(cc));
  exchange(client, server, piece);
  ASSERT_EQ(server.opened.size(), 1u) << client.transport->error().text << server.transport->error().text;
  ASSERT_EQ(client.opened.size(), 1u);
  std::mt19937 random(2);
  std::vector<std::string> sent;
  for (const std::size_t bytes : {0, 1, 125, 126, 512, 1024, 1025, 4090, 4096, 16'384, 65'535, 65'536, 5'000'000}) {
    if (bytes > 100'000 && piece == 1) {
      continue;
    }
    sent.push_back(random_text(random, bytes));
    EXPECT_EQ(client.send(1, sent.back(), 3), WriteResult::kCopied);  // masked
    EXPECT_EQ(server.send(1, sent.back(), 2), bytes <= kEdgeCopyBytes ? WriteResult::kCopied : WriteResult::kQueued);
  }
  exchange(client, server, piece);
  EXPECT_EQ(server.messages, sent);
  EXPECT_EQ(client.messages, sent);
  EXPECT_FALSE(server.broken_order || client.broken_order);
  EXPECT_TRUE(server.held.empty());
  client.transport->finish_stream(1, 0, "");
  exchange(client, server, piece);
  ASSERT_EQ(server.closed.size(), 1u);
  EXPECT_TRUE(server.transport->finished());
  EXPECT_TRUE(client.transport->finished());
  for (Peer* peer : {&server, &client}) {
    peer->transport.reset();
    if (!tls) {
      EXPECT_EQ(peer->memory.account().used_bytes(), 0u);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Pieces, WsPair, testing::Combine(testing::Values(1, 0, 5000, 1u << 20), testing::Bool()), [](const auto& of) {
  return std::to_string(std::get<0>(of.param)) + (std::get<1>(of.param) ? "_tls" : "_plain");
});

TEST(WsClient, Request) {
  Peer client;
  auto config = ws_client();
  config->path = "/slim";
  config->origin = "http://app";
  config->headers = {{"X-Tenant", "a"}, {"Authorization", "Bearer t"}};
  ASSERT_TRUE(client.make(config));
  const std::string text = client.take();
  EXPECT_TRUE(text.starts_with("GET /slim HTTP/1.1\r\nHost: 127.0.0.1:46357\r\n")) << text;
  for (const char* line : {"\r\nUpgrade: websocket\r\n", "\r\nConnection: Upgrade\r\n", "\r\nSec-WebSocket-Version: 13\r\n", "\r\nOrigin: http://app\r\n",
                           "\r\nX-Tenant: a\r\n", "\r\nAuthorization: Bearer t\r\n"}) {
    EXPECT_NE(text.find(line), std::string::npos) << line;
  }
}

TEST(WsClient, BadAnswers) {
  for (const auto& [answer, fault] :
       {std::pair{"HTTP/1.1 401 Unauthorized\r\n\r\n", TransportFault::kNotAuthorized}, std::pair{"HTTP/1.1 404 Not Found\r\n\r\n", TransportFault::kWebSocketHandshake},
        std::pair{"HTTP/1.1 101 x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: AAAA\r\n\r\n", TransportFault::kWebSocketHandshake},
        std::pair{"SSH-2.0-server\r\n", TransportFault::kWebSocketHandshake}}) {
    Peer client;
    ASSERT_TRUE(client.make(ws_client()));
    client.feed(answer, 1);
    EXPECT_EQ(client.fault, fault) << answer;
  }
}

}  // namespace
}  // namespace slipway::test
