// TLS below HTTP/2: handshakes, certificates and what goes wrong with them.

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdio>
#include <fstream>

#include "edge/transport_memory.h"
#include "tls_certificates.h"
#include "transport_peer.h"

namespace slipway::test {
namespace {

// Before anything else here uses OpenSSL.
const bool memory_installed = install_openssl_memory();

class TlsTest : public testing::Test {
 protected:
  TlsOptions server_options() const {
    return {.server = true, .certificate = {.pem = node.pem}, .key = {.pem = node.key_pem}};
  }
  TlsOptions client_options() const { return {.server = false, .ca = {.pem = ca.pem}, .system_roots = false}; }

  static std::shared_ptr<const TlsContext> load(const TlsOptions& options) {
    auto context = TlsContext::load(options);
    EXPECT_TRUE(context) << (context ? "" : context.error());
    return context ? *context : nullptr;
  }

  void start(const TlsOptions& for_server, const TlsOptions& for_client, const std::string& name = "localhost") {
    start(load(for_server), load(for_client), name);
  }
  void start(std::shared_ptr<const TlsContext> for_server, std::shared_ptr<const TlsContext> for_client, const std::string& name = "localhost") {
    auto sc = server_config();
    sc->tls = std::move(for_server);
    auto cc = client_config();
    cc->scheme = "https";
    cc->server_name = name;
    cc->tls = std::move(for_client);
    server = std::make_unique<Peer>();
    client = std::make_unique<Peer>();
    ASSERT_TRUE(server->make(sc));
    ASSERT_TRUE(client->make(cc));
    stream = client->transport->open_stream();
  }
  void expect_talk(std::size_t piece) {
    exchange(*client, *server, piece);
    ASSERT_EQ(server->opened.size(), 1u) << server->transport->error().text << client->transport->error().text;
    std::mt19937 random(5);
    std::vector<std::string> sent;
    for (const std::size_t bytes : {0, 3, 600, 16'000, 16'384, 50'000, 1'500'000}) {
      if (piece == 1 && bytes > 100'000) {
        continue;
      }
      sent.push_back(random_text(random, bytes));
      client->send(stream, sent.back(), 3);
      server->send(stream, sent.back(), 2);
    }
    exchange(*client, *server, piece);
    EXPECT_EQ(server->messages, sent);
    EXPECT_EQ(client->messages, sent);
    EXPECT_TRUE(client->held.empty() && server->held.empty());
    EXPECT_FALSE(client->broken_order || server->broken_order);
  }

  Certificate ca = make_certificate("test CA", nullptr);
  Certificate node = make_certificate("node", &ca, "DNS:localhost,IP:127.0.0.1");
  Certificate other_ca = make_certificate("other CA", nullptr);
  std::unique_ptr<Peer> server, client;
  std::int32_t stream = 0;
};

TEST_F(TlsTest, MessagesBothWaysInPiecesOfAnySize) {
  for (const std::size_t piece : {1u, 0u, 1000u, 1u << 20}) {
    start(server_options(), client_options());
    expect_talk(piece);
    const TlsInfo info = server->transport->tls_info();
    EXPECT_EQ(info.version, "TLSv1.3");
    EXPECT_EQ(info.alpn, "h2");
    EXPECT_EQ(client->transport->tls_info().alpn, "h2");
    EXPECT_EQ(client->transport->tls_info().peer_subject, "CN=node");
  }
}

TEST_F(TlsTest, Tls12WhereBothAllowIt) {
  auto for_server = server_options();
  auto for_client = client_options();
  for_server.min_version = TlsVersion::k12;
  for_client.min_version = TlsVersion::k12;
  for_client.max_version = TlsVersion::k12;
  start(for_server, for_client);
  expect_talk(0);
  EXPECT_EQ(client->transport->tls_info().version, "TLSv1.2");
}

TEST_F(TlsTest, Tls12IsRefusedByDefault) {
  auto for_client = client_options();
  for_client.min_version = TlsVersion::k12;
  for_client.max_version = TlsVersion::k12;
  start(server_options(), for_client);
  exchange(*client, *server);
  EXPECT_EQ(server->fault, TransportFault::kTlsProtocol);
  EXPECT_NE(server->transport->error().text.find("tls_version"), std::string::npos);
  EXPECT_EQ(client->fault, TransportFault::kTlsRefused);
}

TEST_F(TlsTest, ByAddressToo) {
  start(server_options(), client_options(), "127.0.0.1");
  expect_talk(1u << 20);
}

TEST_F(TlsTest, WrongNameIsRefused) {
  start(server_options(), client_options(), "elsewhere.example");
  exchange(*client, *server);
  EXPECT_EQ(client->fault, TransportFault::kTlsCertificate);
  EXPECT_NE(client->transport->error().text.find("server_name"), std::string::npos) << client->transport->error().text;
  EXPECT_TRUE(server->opened.empty());
  EXPECT_TRUE(client->transport->finished());
}

TEST_F(TlsTest, UnknownAuthorityIsRefused) {
  auto for_client = client_options();
  for_client.ca.pem = other_ca.pem;
  start(server_options(), for_client);
  exchange(*client, *server);
  EXPECT_EQ(client->fault, TransportFault::kTlsCertificate);
  EXPECT_NE(client->transport->error().text.find("ca_source"), std::string::npos) << client->transport->error().text;
  EXPECT_EQ(server->fault, TransportFault::kTlsRefused) << server->transport->error().text;
}

TEST_F(TlsTest, ExpiredCertificateIsRefused) {
  const Certificate old = make_certificate("node", &ca, "DNS:localhost", -86'400, -3600);
  auto for_server = server_options();
  for_server.certificate.pem = old.pem;
  for_server.key.pem = old.key_pem;
  start(for_server, client_options());
  exchange(*client, *server);
  EXPECT_EQ(client->fault, TransportFault::kTlsCertificate);
  EXPECT_NE(client->transport->error().text.find("expired"), std::string::npos) << client->transport->error().text;
}

TEST_F(TlsTest, SkipVerifyTakesAnything) {
  auto for_client = client_options();
  for_client.ca = {};
  for_client.skip_verify = true;
  start(server_options(), for_client, "elsewhere.example");
  expect_talk(1u << 20);
}

TEST_F(TlsTest, MutualTls) {
  const Certificate application = make_certificate("application", &ca);
  auto for_server = server_options();
  for_server.ca.pem = ca.pem;
  auto for_client = client_options();
  for_client.certificate.pem = application.pem;
  for_client.key.pem = application.key_pem;
  start(for_server, for_client);
  expect_talk(0);
  EXPECT_EQ(server->transport->tls_info().peer_subject, "CN=application");
}

TEST_F(TlsTest, MutualTlsWithoutACertificateIsRefused) {
  auto for_server = server_options();
  for_server.ca.pem = ca.pem;
  start(for_server, client_options());
  exchange(*client, *server);
  EXPECT_EQ(server->fault, TransportFault::kTlsCertificate);
  EXPECT_NE(server->transport->error().text.find("gave no certificate"), std::string::npos);
  EXPECT_EQ(client->fault, TransportFault::kTlsRefused);
  EXPECT_TRUE(server->opened.empty());
}

TEST_F(TlsTest, MutualTlsWithAForeignCertificateIsRefused) {
  const Certificate stranger = make_certificate("stranger", &other_ca);
  auto for_server = server_options();
  for_server.ca.pem = ca.pem;
  auto for_client = client_options();
  for_client.certificate.pem = stranger.pem;
  for_client.key.pem = stranger.key_pem;
  start(for_server, for_client);
  exchange(*client, *server);
  EXPECT_EQ(server->fault, TransportFault::kTlsCertificate);
  EXPECT_NE(server->transport->error().text.find("client_ca"), std::string::npos) << server->transport->error().text;
}

TEST_F(TlsTest, SessionsAreResumed) {
  const auto for_server = load(server_options());
  const auto for_client = load(client_options());
  start(for_server, for_client);
  expect_talk(1u << 20);
  EXPECT_FALSE(client->transport->tls_info().resumed);
  start(for_server, for_client);
  expect_talk(1u << 20);
  EXPECT_TRUE(client->transport->tls_info().resumed);
  EXPECT_TRUE(server->transport->tls_info().resumed);
  start(load(server_options()), for_client);  // a reload: other ticket keys, a full handshake
  expect_talk(1u << 20);
  EXPECT_FALSE(client->transport->tls_info().resumed);
}

TEST_F(TlsTest, ChainWithIntermediate) {
  // The CA signs with an intermediate that the server has to send: made as a CA, then signed anew.
  Certificate intermediate = make_certificate("intermediate", nullptr);
  X509_set_issuer_name(intermediate.x509.get(), X509_get_subject_name(ca.x509.get()));
  X509_sign(intermediate.x509.get(), ca.key.get(), EVP_sha256());
  intermediate.pem = pem_of([&](BIO* bio) { PEM_write_bio_X509(bio, intermediate.x509.get()); });
  const Certificate leaf = make_certificate("node", &intermediate, "DNS:localhost");
  auto for_server = server_options();
  for_server.certificate.pem = leaf.pem + intermediate.pem;
  for_server.key.pem = leaf.key_pem;
  start(for_server, client_options());
  expect_talk(1u << 20);
}

TEST_F(TlsTest, CleartextToTlsIsNamed) {
  for (const std::string& bytes : {std::string("GET / HTTP/1.1\r\nHost: x\r\n\r\n"), std::string("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")}) {
    start(server_options(), client_options());
    server->feed(bytes, 1);
    EXPECT_EQ(server->fault, TransportFault::kPlainToTls) << server->transport->error().text;
    EXPECT_NE(server->transport->error().text.find("https"), std::string::npos);
    (void)server->take();
    EXPECT_TRUE(server->transport->finished());
  }
}

TEST_F(TlsTest, GarbageInsteadOfRecords) {
  std::mt19937 random(17);
  for (int i = 0; i < 50; ++i) {
    start(server_options(), client_options());
    server->feed("\x16\x03\x01" + random_text(random, 600), 0);
    EXPECT_TRUE(server->failed || !server->transport->finished());
    start(server_options(), client_options());
    exchange(*client, *server);
    ASSERT_EQ(server->opened.size(), 1u);
    server->feed("\x17\x03\x03" + std::string("\x01\x00", 2) + random_text(random, 256), 0);
    EXPECT_EQ(server->fault, TransportFault::kTlsProtocol);
    ASSERT_EQ(server->closed.size(), 1u);
  }
}

TEST_F(TlsTest, PeerThatGoesAwayDuringTheHandshake) {
  start(server_options(), client_options());
  server->feed(client->take());
  server->transport->peer_closed();
  server->drain_events();
  EXPECT_EQ(server->fault, TransportFault::kPeerClosed);
  EXPECT_TRUE(server->transport->finished());
}

TEST_F(TlsTest, HandshakeThatNeverEnds) {
  start(server_options(), client_options());
  server->now.now_ns += 10'001'000'000;
  server->transport->tick(server->now);
  server->drain_events();
  EXPECT_EQ(server->fault, TransportFault::kHandshakeTimeout);
}

TEST_F(TlsTest, CloseNotify) {
  start(server_options(), client_options());
  expect_talk(1u << 20);
  client->transport->close(client->now);
  exchange(*client, *server);
  EXPECT_TRUE(client->transport->finished());
  EXPECT_TRUE(server->transport->finished());
  ASSERT_EQ(server->closed.size(), 1u);
}

TEST_F(TlsTest, MemoryIsCountedAndBounded) {
  ASSERT_TRUE(memory_installed);
  const auto context = load(server_options());
  auto config = server_config();
  config->tls = context;
  {
    Peer counted;
    ASSERT_TRUE(counted.make(config));
    EXPECT_GT(counted.memory.account().used_bytes(), 20'000u);
  }
  start(context, load(client_options()));
  Peer small(60'000);
  if (small.make(config)) {
    small.feed(client->take());
    EXPECT_TRUE(small.failed);
    EXPECT_EQ(small.fault, TransportFault::kNoMemory) << small.transport->error().text;
  }
  EXPECT_GT(small.memory.account().refusals(), 0u);
}

TEST_F(TlsTest, LoadErrorsSayWhatToDo) {
  const auto error_of = [](const TlsOptions& options) {
    const auto context = TlsContext::load(options);
    return context ? std::string("loaded") : context.error();
  };
  auto options = server_options();
  options.certificate = {.file = "/nowhere/node.pem"};
  EXPECT_NE(error_of(options).find("/nowhere/node.pem"), std::string::npos);
  options = server_options();
  options.certificate = {.pem = "no certificate"};
  EXPECT_NE(error_of(options).find("no valid certificate"), std::string::npos);
  options = server_options();
  options.key = {.pem = ca.key_pem};
  EXPECT_NE(error_of(options).find("does not belong"), std::string::npos);
  options = server_options();
  options.key = {};
  EXPECT_NE(error_of(options).find("private key"), std::string::npos);
  options = server_options();
  options.certificate = {};
  EXPECT_NE(error_of(options).find("needs a certificate"), std::string::npos);
  options = server_options();
  options.groups = "X25519MLKEM768-not";
  EXPECT_NE(error_of(options).find("X25519MLKEM768-not"), std::string::npos);
}

TEST_F(TlsTest, FilesAreRead) {
  const std::string folder = testing::TempDir() + "slipway-tls-" + std::to_string(getpid());
  const auto write = [&](const char* name, const std::string& text) {
    std::ofstream(folder + name) << text;
    return folder + name;
  };
  auto for_server = server_options();
  for_server.certificate = {.file = write(".crt", node.pem)};
  for_server.key = {.file = write(".key", node.key_pem)};
  auto for_client = client_options();
  for_client.ca = {.file = write(".ca", ca.pem)};
  start(for_server, for_client);
  expect_talk(1u << 20);
  for (const char* name : {".crt", ".key", ".ca"}) {
    std::remove((folder + name).c_str());
  }
}

}  // namespace
}  // namespace slipway::test
