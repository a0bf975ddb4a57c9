// Tunnels through an HTTP proxy, in clear and over TLS.

#include <gtest/gtest.h>

#include "edge/auth_basic.h"
#include "edge/tls_stream.h"
#include "tls_certificates.h"
#include "transport_peer.h"

namespace slipway::test {
namespace {

// The proxy's end of TLS.
class TlsEnd {
 public:
  explicit TlsEnd(std::shared_ptr<const TlsContext> context) : tls_(TlsStream::create(std::move(context), "", memory_, records_)) {}

  // What the records say, read in pieces of at most `piece` bytes.
  std::string open(std::string_view records, std::size_t piece = 1u << 14) {
    std::string out, room(piece, '\0');
    tls_->give(std::as_bytes(std::span(records)));
    while (const std::size_t got = tls_->read(std::as_writable_bytes(std::span(room)))) {
      out.append(room, 0, got);
    }
    EXPECT_EQ(tls_->left(), 0u);
    return out;
  }
  std::string seal(std::string_view text) {
    if (!text.empty()) {
      EXPECT_TRUE(tls_->write(std::as_bytes(std::span(text))));
    }
    return take();
  }
  std::string close() {
    tls_->close();
    return take();
  }
  [[nodiscard]] bool peer_closed() const { return tls_->peer_closed(); }

 private:
  std::string take() {
    std::string out(records_.bytes(), '\0');
    EXPECT_EQ(records_.peek(std::as_writable_bytes(std::span(out))), out.size());
    records_.consume(out.size());
    return out;
  }

  TransportMemory memory_{16u << 20};
  OutputStore store_{memory_, [](void*, std::uint64_t) {}, nullptr};
  OutputQueue records_{store_};
  std::unique_ptr<TlsStream> tls_;
};

class Proxy : public testing::Test {
 protected:
  const Certificate ca_ = make_certificate("test CA", nullptr);
  const Certificate node_ = make_certificate("node", &ca_, "DNS:localhost");
  const Certificate proxy_ = make_certificate("proxy", &ca_, "DNS:proxy");

  static std::shared_ptr<const TlsContext> server_of(const Certificate& one) {
    return *TlsContext::load({.server = true, .certificate = {.pem = one.pem}, .key = {.pem = one.key_pem}});
  }
  std::shared_ptr<const TlsContext> client_tls() const {
    return *TlsContext::load({.server = false, .ca = {.pem = ca_.pem}, .system_roots = false});
  }
};

TEST_F(Proxy, TunnelThenHttp2) {
  for (const std::size_t piece : {1u, 1000u}) {
    Peer server, client;
    auto config = client_config();
    config->proxy = std::make_shared<ProxyTunnel>(ProxyTunnel{.target = "node:46357", .authorization = basic_authorization("u", "p"), .headers = {{"X-A", "b"}}});
    ASSERT_TRUE(client.make(config));
    ASSERT_TRUE(server.make(server_config()));
    client.transport->open_stream();
    EXPECT_EQ(client.take(), "CONNECT node:46357 HTTP/1.1\r\nHost: node:46357\r\nX-A: b\r\nProxy-Authorization: Basic dTpw\r\n\r\n");
    EXPECT_FALSE(client.transport->wants_send());
    client.feed("HTTP/1.1 200 Connection established\r\nVia: x\r\n\r\n", piece);
    exchange(client, server, piece);
    EXPECT_EQ(server.opened.size(), 1u);
    EXPECT_EQ(client.opened.size(), 1u);
  }
}

TEST_F(Proxy, TunnelThenTls) {
  auto sc = server_config();
  sc->tls = server_of(node_);
  auto cc = client_config();
  cc->tls = client_tls();
  cc->server_name = "localhost";
  cc->proxy = std::make_shared<ProxyTunnel>(ProxyTunnel{.target = "localhost:46357"});
  Peer server, client;
  ASSERT_TRUE(client.make(cc));
  ASSERT_TRUE(server.make(sc));
  const std::int32_t stream = client.transport->open_stream();
  EXPECT_TRUE(client.take().starts_with("CONNECT localhost:46357 "));
  client.feed("HTTP/1.1 200 OK\r\n\r\n");
  exchange(client, server);
  ASSERT_EQ(server.opened.size(), 1u);
  client.send(stream, "through");
  exchange(client, server);
  EXPECT_EQ(server.messages, std::vector<std::string>{"through"});
}

TEST_F(Proxy, Refusals) {
  for (const auto& [answer, word] : {std::pair{"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n", "proxy.username"},
                                     std::pair{"HTTP/1.0 503 No\r\n\r\n", "503"}, std::pair{"\x16\x03\x01", "proxy's url"}}) {
    Peer client;
    auto config = client_config();
    config->proxy = std::make_shared<ProxyTunnel>(ProxyTunnel{.target = "node:46357"});
    ASSERT_TRUE(client.make(config));
    client.transport->open_stream();
    (void)client.take();
    client.feed(answer, 1);
    EXPECT_EQ(client.fault, TransportFault::kProxyRefused);
    EXPECT_NE(client.transport->error().text.find(word), std::string::npos) << client.transport->error().text;
    EXPECT_TRUE(client.transport->finished());
  }
}

// The node with TLS of its own and without; bytes in pieces of one and many.
TEST_F(Proxy, TlsToTheProxyItself) {
  for (const bool node_has_tls : {false, true}) {
    for (const std::size_t piece : {1u, 5000u}) {
      auto sc = server_config();
      auto cc = client_config();
      if (node_has_tls) {
        sc->tls = server_of(node_);
        cc->tls = client_tls();
        cc->server_name = "localhost";
      }
      cc->proxy = std::make_shared<ProxyTunnel>(ProxyTunnel{.target = "localhost:46357", .tls = client_tls(), .server_name = "proxy", .authorization = {}, .headers = {}});
      TlsEnd proxy(server_of(proxy_));
      Peer server, client;
      ASSERT_TRUE(client.make(cc));
      ASSERT_TRUE(server.make(sc));
      const std::int32_t stream = client.transport->open_stream();
      std::string asked;
      for (int i = 0; i < 4 && asked.empty(); ++i) {
        asked = proxy.open(client.take());
        client.feed(proxy.seal(""), piece);
      }
      EXPECT_EQ(asked, "CONNECT localhost:46357 HTTP/1.1\r\nHost: localhost:46357\r\n\r\n");
      // What a node in clear says first may come in one record with the proxy's answer.
      std::string answer = "HTTP/1.1 200 OK\r\n\r\n" + (node_has_tls ? "" : server.take());
      const std::string text = "through " + std::string(100'000, 'x');
      bool sent = false;
      for (int quiet = 0; quiet < 3;) {
        client.feed(proxy.seal(answer), piece);
        const std::string on = proxy.open(client.take());
        server.feed(on, piece);
        answer = server.take();
        quiet = on.empty() && answer.empty() ? quiet + 1 : 0;
        if (quiet == 1 && !sent) {
          EXPECT_EQ(client.send(stream, text), WriteResult::kQueued);
          sent = true;
        }
      }
      ASSERT_EQ(server.opened.size(), 1u);
      EXPECT_EQ(server.messages, std::vector<std::string>{text});
      EXPECT_EQ(client.transport->tls_info().version.empty(), !node_has_tls);
      EXPECT_FALSE(client.failed || client.broken_order || server.broken_order);

      client.transport->close(client.now);
      server.feed(proxy.open(client.take()), piece);
      EXPECT_TRUE(proxy.peer_closed());
    }
  }
}

TEST_F(Proxy, TlsToTheProxyThatFails) {
  const auto fault_of = [&](const std::shared_ptr<const TlsContext>& context, const std::string& name, std::string_view answer) {
    auto cc = client_config();
    cc->proxy = std::make_shared<ProxyTunnel>(ProxyTunnel{.target = "node:1", .tls = client_tls(), .server_name = name, .authorization = {}, .headers = {}});
    TlsEnd proxy(context);
    Peer client;
    EXPECT_TRUE(client.make(cc));
    client.transport->open_stream();
    for (int i = 0; i < 4 && !client.failed; ++i) {
      const std::string asked = proxy.open(client.take());
      client.feed(answer.empty() && !asked.empty() ? proxy.close() : proxy.seal(asked.empty() ? "" : answer));
    }
    (void)client.take();  // an alert
    EXPECT_TRUE(client.transport->finished());
    return client.transport->error().text;
  };
  EXPECT_NE(fault_of(server_of(proxy_), "elsewhere", "x").find("proxy.tls"), std::string::npos);
  EXPECT_NE(fault_of(server_of(proxy_), "proxy", "HTTP/1.1 407 No\r\n\r\n").find("proxy.username"), std::string::npos);
  EXPECT_NE(fault_of(server_of(proxy_), "proxy", "").find("proxy closed the connection"), std::string::npos);
}

}  // namespace
}  // namespace slipway::test
