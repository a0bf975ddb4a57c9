// Upstream's `servers`, `clients` and `peers`: credentials, proxies, who dials whom.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cstdlib>

#include "node/config.h"

namespace slipway {
namespace {

std::expected<NodeSettings, std::string> dataplane(std::string_view kind, std::string_view entry) {
  return parse_config(fmt::format("services:\n  slim/0:\n    dataplane:\n      {}:\n        - {}\n", kind, entry), "test.yaml");
}

EdgeClientSettings client(std::string_view entry) {
  auto settings = dataplane("clients", entry);
  EXPECT_TRUE(settings) << (settings ? "" : settings.error());
  return settings ? settings->edge_clients.at(0) : EdgeClientSettings{};
}

std::string fault(std::string_view kind, std::string_view entry) {
  auto settings = dataplane(kind, entry);
  EXPECT_FALSE(settings) << entry;
  return settings ? "" : settings.error();
}

// No proxy of the environment of whoever runs the tests.
class ConfigEdge : public testing::Test {
 protected:
  ConfigEdge() {
    for (const auto* name : kVariables) {
      unsetenv(name);
    }
  }
  ~ConfigEdge() override {
    for (const auto* name : kVariables) {
      unsetenv(name);
    }
  }
  static constexpr const char* kVariables[] = {"http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY", "no_proxy", "NO_PROXY"};
};

TEST_F(ConfigEdge, JwtOfAServerAsUpstreamsExamplesWriteIt) {
  const auto settings = dataplane("servers", R"({endpoint: "0.0.0.0:46357", tls: {insecure: true}, auth: {type: jwt, duration: 1h,
          claims: {audiences: ["slim", "other"], iss: me, subject: slim},
          key: {type: decoding, algorithm: RS256, format: jwks, key: {file: /keys.json}}, subject_binding: enforce}})");
  ASSERT_TRUE(settings) << settings.error();
  const auto& auth = settings->edge_servers.at(0).auth;
  EXPECT_EQ(auth.kind, EdgeAuthSettings::Kind::kJwt);
  EXPECT_EQ(auth.key.algorithm, JwtAlgorithm::kRs256);
  EXPECT_EQ(auth.key.format, AuthKeyFormat::kJwks);
  EXPECT_EQ(auth.key.file, "/keys.json");
  EXPECT_EQ(auth.rules.audiences, (std::vector<std::string>{"slim", "other"}));
  EXPECT_EQ(auth.rules.issuer, "me");
  EXPECT_EQ(auth.rules.subject_binding, SubjectBinding::kEnforce);
}

TEST_F(ConfigEdge, CredentialsOfAClient) {
  setenv("SLIPWAY_TEST_SECRET", "a-secret", 1);
  const auto made = client(R"({endpoint: "https://far:1", auth: {type: jwt, duration: 5m, claims: {aud: [slim], sub: me,
          custom_claims: {role: 'a "b"', level: 7, on: true, quoted: "7", list: [x, 1]}},
          key: {type: encoding, algorithm: HS256, key: {data: "${env:SLIPWAY_TEST_SECRET}"}}}})").auth;
  EXPECT_EQ(made.kind, EdgeAuthSettings::Kind::kJwt);
  EXPECT_EQ(made.key.data, "a-secret");
  EXPECT_EQ(made.claims.duration_s, 300u);
  EXPECT_EQ(made.claims.subject, "me");
  EXPECT_EQ(made.claims.audiences, std::vector<std::string>{"slim"});
  EXPECT_EQ(made.claims.custom_json, R"({"role":"a \"b\"","level":7,"on":true,"quoted":"7","list":["x",1]})");
  const auto read = client(R"({endpoint: "http://far:1", auth: {type: static_jwt, file: /token, duration: 1m}})").auth;
  EXPECT_EQ(read.kind, EdgeAuthSettings::Kind::kStaticJwt);
  EXPECT_EQ(read.token_file, "/token");
  EXPECT_EQ(client(R"({endpoint: "http://far:1", auth: {type: none}})").auth.kind, EdgeAuthSettings::Kind::kNone);
}

TEST_F(ConfigEdge, WhatIsNotServedSaysWhatToDo) {
  const auto server = [](std::string_view auth) { return fmt::format("{{endpoint: 0.0.0.0:1, tls: {{insecure: true}}, auth: {}}}", auth); };
  const auto jwt = [&](std::string_view rest) { return server(fmt::format("{{type: jwt, {}}}", rest)); };
  EXPECT_NE(fault("servers", server("{type: spire, socket_path: /x}")).find("write none, basic or jwt"), std::string::npos);
  EXPECT_NE(fault("servers", server("{type: static_jwt, file: /x}")).find("write none, basic or jwt"), std::string::npos);
  EXPECT_NE(fault("servers", "{endpoint: 0.0.0.0:1, tls: {source: {type: spire, socket_path: x}}}").find("`type: spire` is not served"), std::string::npos);
  EXPECT_NE(fault("clients", "{endpoint: 'http://a:1', auth: {type: oidc}}").find("jwt or static_jwt"), std::string::npos);
  EXPECT_NE(fault("servers", jwt("key: {type: autoresolve}")).find("format: jwks"), std::string::npos);
  EXPECT_NE(fault("servers", jwt("policy: {cel: 'true'}, key: {type: decoding}")).find("policies in Rego or CEL"), std::string::npos);
  EXPECT_NE(fault("servers", jwt("key: {type: encoding, algorithm: HS256, key: {data: x}}")).find("write decoding"), std::string::npos);
  EXPECT_NE(fault("servers", jwt("key: {type: decoding, algorithm: none, key: {data: x}}")).find("write HS256"), std::string::npos);
  EXPECT_NE(fault("servers", jwt("key: {type: decoding, algorithm: HS256, key: {data: x, file: y}}")).find("exactly one of"), std::string::npos);
  EXPECT_NE(fault("clients", "{endpoint: 'http://a:1', auth: {type: static_jwt}}").find("`file` is missing"), std::string::npos);
  EXPECT_NE(fault("clients", "{endpoint: 'http://a:1', proxy: {url: 'https://p:1', tls: {insecure: true}}}").find("contradicts"), std::string::npos);
  EXPECT_NE(fault("clients", "{endpoint: 'http://a:1', proxy: {url: 'socks5://p:1'}}").find("write http://HOST:PORT or https://HOST:PORT"), std::string::npos);
  EXPECT_NE(fault("clients", "{endpoint: 'unix:///a', proxy: {url: 'http://p:1'}}").find("Unix socket"), std::string::npos);
}

TEST_F(ConfigEdge, TheHostIsWhatTheCertificateMustName) {
  EXPECT_EQ(client("{endpoint: 'https://localhost:5'}").host, "localhost");
  EXPECT_EQ(client("{endpoint: 'https://127.0.0.1:5'}").host, "127.0.0.1");
  EXPECT_EQ(client("{endpoint: 'https://[::1]:5'}").host, "::1");
  EXPECT_EQ(client("{endpoint: 'wss://far/path', websocket_auth_query_param: token}").host, "far");
  EXPECT_EQ(client("{endpoint: 'unix:///run/x.sock'}").host, "");
}

TEST_F(ConfigEdge, ProxyOfTheFile) {
  const auto settings = client("{endpoint: 'https://far:46357', proxy: {url: 'http://u:p@proxy:3128/', headers: {x-a: b}}}");
  ASSERT_TRUE(settings.proxy);
  EXPECT_EQ(settings.proxy->host, "proxy");
  EXPECT_EQ(settings.proxy->ip.port, 3128);
  EXPECT_EQ(settings.tunnel.authorization, "Basic dTpw");
  ASSERT_EQ(settings.tunnel.headers.size(), 1u);
  EXPECT_EQ(settings.tunnel.headers[0].value, "b");
  EXPECT_EQ(client("{endpoint: 'https://far:1', proxy: {url: 'http://proxy', username: a, password: b}}").tunnel.authorization, "Basic YTpi");
}

TEST_F(ConfigEdge, ProxyOverTls) {
  const auto settings = client("{endpoint: 'https://far:1', tls: {insecure_skip_verify: true}, proxy: {url: 'https://proxy', tls: {ca_source: {type: file, path: /ca}, tls_version: tls1.2}}}");
  EXPECT_TRUE(settings.proxy_secure);
  EXPECT_EQ(settings.proxy->ip.port, 443);
  EXPECT_EQ(settings.tunnel.server_name, "proxy");
  EXPECT_EQ(settings.proxy_tls.ca.file, "/ca");
  EXPECT_EQ(settings.proxy_tls.alpn, "http/1.1");
  EXPECT_EQ(settings.proxy_tls.max_version, TlsVersion::k12);
  EXPECT_FALSE(settings.proxy_tls.skip_verify) << "that is of the node's own";
  EXPECT_FALSE(client("{endpoint: 'https://far:1', proxy: {url: 'http://proxy'}}").proxy_secure);
}

TEST_F(ConfigEdge, ProxyOfTheEnvironment) {
  setenv("https_proxy", "http://secure:1", 1);
  setenv("ALL_PROXY", "any:2", 1);
  EXPECT_EQ(client("{endpoint: 'https://far:1'}").proxy->host, "secure");
  EXPECT_EQ(client("{endpoint: 'http://far:1'}").proxy->host, "any");
  setenv("https_proxy", "https://secure:1", 1);
  EXPECT_TRUE(client("{endpoint: 'https://far:1'}").proxy_secure);
  setenv("no_proxy", "localhost, .inner.example,127.0.0.0/8, ::1", 1);
  for (const auto* without : {"https://localhost:1", "https://a.inner.example:1", "https://inner.example:1", "https://127.1.2.3:1", "https://[::1]:1"}) {
    EXPECT_FALSE(client(fmt::format("{{endpoint: '{}'}}", without)).proxy) << without;
  }
  for (const auto* with : {"https://notlocalhost:1", "https://sinner.example:1", "https://128.0.0.1:1", "https://[::2]:1"}) {
    EXPECT_TRUE(client(fmt::format("{{endpoint: '{}'}}", with)).proxy) << with;
  }
  EXPECT_FALSE(client("{endpoint: 'unix:///run/x.sock'}").proxy);
  setenv("no_proxy", "*", 1);
  EXPECT_FALSE(client("{endpoint: 'https://far:1'}").proxy);
}

constexpr std::string_view kPeers = R"(services:
  slim/0:
    node_id: {}
    peers:
      topology: full_mesh
      discovery:
        type: static
        peers:
          - {{node_id: n-1, endpoint: "http://127.0.0.1:1", tls: {{insecure: true}}}}
          - {{node_id: n-2, endpoint: "http://127.0.0.1:2", tls: {{insecure: true}}, auth: {{type: basic, username: u, password: p}}}}
          - {{node_id: n-3, endpoint: "http://127.0.0.1:3", tls: {{insecure: true}}}}
)";

TEST_F(ConfigEdge, OfTwoPeersTheSmallerIdDials) {
  const auto settings = parse_config(fmt::format(kPeers, "n-1"), "test.yaml");
  ASSERT_TRUE(settings) << settings.error();
  EXPECT_TRUE(settings->full_mesh);
  ASSERT_EQ(settings->edge_clients.size(), 2u);
  EXPECT_EQ(settings->edge_clients[0].link_id, "n-1:n-2");
  EXPECT_EQ(settings->edge_clients[0].link_class, LinkClass::kPeer);
  EXPECT_EQ(settings->edge_clients[0].auth.user, "u");
  EXPECT_EQ(settings->edge_clients[1].link_id, "n-1:n-3");
  EXPECT_EQ(parse_config(fmt::format(kPeers, "n-2"), "test.yaml")->edge_clients.size(), 1u);
  EXPECT_TRUE(parse_config(fmt::format(kPeers, "n-3"), "test.yaml")->edge_clients.empty());
}

TEST_F(ConfigEdge, PeersNeedIds) {
  const auto without = parse_config("services:\n  slim/0:\n    peers: {discovery: {type: static, peers: [{node_id: a, endpoint: 'http://127.0.0.1:1'}]}}\n", "test.yaml");
  ASSERT_FALSE(without);
  EXPECT_NE(without.error().find("need a `node_id` of this node"), std::string::npos);
  const auto nobody = parse_config("services:\n  slim/0:\n    node_id: x\n    peers: {discovery: {type: static, peers: [{endpoint: 'http://127.0.0.1:1'}]}}\n", "test.yaml");
  ASSERT_FALSE(nobody);
  EXPECT_NE(nobody.error().find("`node_id` is missing"), std::string::npos);
}

}  // namespace
}  // namespace slipway
