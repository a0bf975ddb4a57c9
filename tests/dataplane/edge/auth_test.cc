// Credentials of connections: user and password, JSON Web Tokens with every algorithm and kind of key, and how HTTP/2
// and WebSocket requests are refused.

#include <gtest/gtest.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <unistd.h>

#include <cstdio>
#include <fstream>

#include "edge/auth_basic.h"
#include "edge/auth_jwt.h"
#include "tls_certificates.h"
#include "transport_peer.h"

namespace slipway::test {
namespace {

constexpr std::int64_t kNow = 1'700'000'000;

struct KeyText {
  std::string private_pem;
  std::string public_pem;
  std::shared_ptr<EVP_PKEY> key;
};

KeyText make_key(EVP_PKEY* fresh) {
  KeyText out;
  out.key = {fresh, EVP_PKEY_free};
  out.private_pem = pem_of([&](BIO* bio) { PEM_write_bio_PrivateKey(bio, fresh, nullptr, nullptr, 0, nullptr, nullptr); });
  out.public_pem = pem_of([&](BIO* bio) { PEM_write_bio_PUBKEY(bio, fresh); });
  return out;
}

const KeyText& key_for(JwtAlgorithm algorithm) {
  static const KeyText rsa = make_key(EVP_RSA_gen(2048));
  static const KeyText p256 = make_key(EVP_EC_gen("P-256"));
  static const KeyText p384 = make_key(EVP_EC_gen("P-384"));
  static const KeyText ed25519 = make_key(EVP_PKEY_Q_keygen(nullptr, nullptr, "ED25519"));
  static const KeyText secret{"a shared secret", "a shared secret", nullptr};
  return algorithm <= JwtAlgorithm::kHs512 ? secret
         : algorithm == JwtAlgorithm::kEs256 ? p256
         : algorithm == JwtAlgorithm::kEs384 ? p384
         : algorithm == JwtAlgorithm::kEdDsa ? ed25519
                                             : rsa;
}

AuthKey load_one(JwtAlgorithm algorithm, const std::string& text, bool sign, AuthKeyFormat format = AuthKeyFormat::kPem) {
  auto keys = load_auth_keys({.algorithm = algorithm, .format = format, .data = text}, sign);
  EXPECT_TRUE(keys) << (keys ? "" : keys.error());
  return std::move(keys->front());
}

JwtGuard guard_for(JwtAlgorithm algorithm, JwtRules rules = {}) {
  std::vector<AuthKey> keys;
  keys.push_back(load_one(algorithm, key_for(algorithm).public_pem, false));
  return JwtGuard(std::move(keys), std::move(rules));
}

std::string sign(JwtAlgorithm algorithm, JwtClaims claims = {}, std::int64_t now = kNow) {
  const auto token = JwtSigner(load_one(algorithm, key_for(algorithm).private_pem, true), std::move(claims)).authorization(now);
  EXPECT_TRUE(token) << (token ? "" : token.error());
  return token.value_or("");
}

class EveryAlgorithm : public testing::TestWithParam<int> {
 protected:
  JwtAlgorithm algorithm() const { return static_cast<JwtAlgorithm>(GetParam()); }
};

TEST_P(EveryAlgorithm, SignsAndVerifies) {
  const JwtGuard guard = guard_for(algorithm());
  const std::string token = sign(algorithm(), {.issuer = "me", .subject = "application-1"});
  const AuthVerdict verdict = guard.check(token, kNow);
  EXPECT_EQ(verdict.http_status, 200) << verdict.reason;
  EXPECT_EQ(verdict.subject, "application-1");
  for (std::size_t at = 8; at < token.size(); at += 7) {  // no byte may change
    std::string bad = token;
    bad[at] = bad[at] == 'A' ? 'B' : 'A';
    EXPECT_EQ(guard.check(bad, kNow).http_status, 401) << at;
  }
  EXPECT_EQ(guard.check(token.substr(0, token.size() - 4), kNow).http_status, 401);
}

TEST_P(EveryAlgorithm, OtherAlgorithmsAreNotBelieved) {
  const std::string token = sign(algorithm());
  for (int other = 0; other < 12; ++other) {
    if (other != GetParam()) {
      EXPECT_EQ(guard_for(static_cast<JwtAlgorithm>(other)).check(token, kNow).http_status, 401) << other;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Jwt, EveryAlgorithm, testing::Range(0, 12), [](const auto& of) {
  return std::string(jwt_algorithm_name(static_cast<JwtAlgorithm>(of.param)));
});

// RFC 7515 A.1: HS256 over a known key and text.
TEST(Jwt, Rfc7515Example) {
  const std::string jwk =
      R"({"kty":"oct","k":"AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow"})";
  std::vector<AuthKey> keys;
  keys.push_back(load_one(JwtAlgorithm::kHs256, jwk, false, AuthKeyFormat::kJwk));
  const JwtGuard guard(std::move(keys), {.issuer = "joe"});
  const std::string token =
      "Bearer eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290"
      "Ijp0cnVlfQ.dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
  EXPECT_EQ(guard.check(token, 1'300'819'380).http_status, 200);
  EXPECT_EQ(guard.check(token, 1'300'819'380 + 60).http_status, 200);
  EXPECT_EQ(guard.check(token, 1'300'819'380 + 61).http_status, 401);
}

// RFC 8037 A.4: Ed25519, and its did:key.
TEST(Jwt, Rfc8037Example) {
  const AuthKey key = load_one(JwtAlgorithm::kEdDsa, R"({"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"})", false,
                               AuthKeyFormat::kJwk);
  const auto signature = base64url_decode("hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg");
  ASSERT_TRUE(signature);
  EXPECT_TRUE(key.verify("eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc",
                         {reinterpret_cast<const unsigned char*>(signature->data()), signature->size()}));
  EXPECT_EQ(key.did_key(), "did:key:z6MktwupdmLXVVqTzCw4i46r4uGyosGXRnR3XjN4Zq7oMMsw");
}

std::string number(EVP_PKEY* key, const char* name) {
  BIGNUM* value = nullptr;
  EXPECT_EQ(EVP_PKEY_get_bn_param(key, name, &value), 1);
  std::string bytes(static_cast<std::size_t>(BN_num_bytes(value)), '\0');
  BN_bn2bin(value, reinterpret_cast<unsigned char*>(bytes.data()));
  BN_free(value);
  return bytes;
}

std::string jwks() {
  const auto padded = [](std::string bytes, std::size_t size) { return base64url_encode(std::string(size - bytes.size(), '\0') + bytes); };
  EVP_PKEY* rsa = key_for(JwtAlgorithm::kRs256).key.get();
  EVP_PKEY* ec = key_for(JwtAlgorithm::kEs384).key.get();
  std::string ed(32, '\0');
  std::size_t bytes = 32;
  EVP_PKEY_get_raw_public_key(key_for(JwtAlgorithm::kEdDsa).key.get(), reinterpret_cast<unsigned char*>(ed.data()), &bytes);
  return R"({"keys":[{"kty":"unknown"},17,{"kty":"RSA","kid":"r","alg":"PS256","n":")" + base64url_encode(number(rsa, "n")) + R"(","e":")" +
         base64url_encode(number(rsa, "e")) + R"("},{"kty":"EC","crv":"P-384","kid":"e","x":")" + padded(number(ec, "qx"), 48) +
         R"(","y":")" + padded(number(ec, "qy"), 48) + R"("},{"kty":"OKP","crv":"Ed25519","kid":"d","x":")" + base64url_encode(ed) + R"("}]})";
}

TEST(Jwt, KeySets) {
  auto keys = load_auth_keys({.format = AuthKeyFormat::kJwks, .data = jwks()}, false);
  ASSERT_TRUE(keys) << keys.error();
  ASSERT_EQ(keys->size(), 3u);
  const JwtGuard guard(std::move(*keys), {});
  for (const JwtAlgorithm algorithm : {JwtAlgorithm::kPs256, JwtAlgorithm::kEs384, JwtAlgorithm::kEdDsa}) {
    EXPECT_EQ(guard.check(sign(algorithm), kNow).http_status, 200) << jwt_algorithm_name(algorithm);
  }
  EXPECT_EQ(guard.check(sign(JwtAlgorithm::kRs256), kNow).http_status, 401);  // the key is for PS256
  EXPECT_EQ(guard.check(sign(JwtAlgorithm::kEdDsa, {.subject = "d"}), kNow).http_status, 200);
  EXPECT_EQ(guard.check(sign(JwtAlgorithm::kEdDsa, {.subject = "e"}), kNow).http_status, 401);  // names another key
  EXPECT_EQ(guard.check(sign(JwtAlgorithm::kEdDsa, {.subject = "of nobody"}), kNow).http_status, 200);
}

TEST(Jwt, SubjectBinding) {
  const auto guard = [](SubjectBinding binding) {
    return JwtGuard(std::move(*load_auth_keys({.format = AuthKeyFormat::kJwks, .data = jwks()}, false)), {.subject_binding = binding});
  };
  const std::string did = load_one(JwtAlgorithm::kEdDsa, key_for(JwtAlgorithm::kEdDsa).public_pem, false).did_key();
  const JwtGuard strict = guard(SubjectBinding::kEnforce);
  EXPECT_EQ(strict.check(sign(JwtAlgorithm::kEdDsa, {.subject = "d"}), kNow).http_status, 200);
  EXPECT_EQ(strict.check(sign(JwtAlgorithm::kEdDsa, {.subject = did}), kNow).http_status, 200);
  EXPECT_EQ(strict.check(sign(JwtAlgorithm::kEdDsa, {.subject = "somebody"}), kNow).http_status, 401);
  const AuthVerdict warned = guard(SubjectBinding::kWarn).check(sign(JwtAlgorithm::kEdDsa, {.subject = "somebody"}), kNow);
  EXPECT_EQ(warned.http_status, 200);
  EXPECT_FALSE(warned.reason.empty());
}

TEST(Jwt, Claims) {
  const auto check = [](JwtRules rules, JwtClaims claims, std::int64_t at = kNow) {
    return guard_for(JwtAlgorithm::kHs256, std::move(rules)).check(sign(JwtAlgorithm::kHs256, std::move(claims)), at).http_status;
  };
  EXPECT_EQ(check({}, {}, kNow + 3600 + 60), 200);
  EXPECT_EQ(check({}, {}, kNow + 3600 + 61), 401);
  EXPECT_EQ(check({}, {}, kNow - 10'000), 200);  // nbf is not looked at
  EXPECT_EQ(check({.audiences = {"a", "b"}}, {.audiences = {"x", "b"}}), 200);
  EXPECT_EQ(check({.audiences = {"a"}}, {.audiences = {"x"}}), 401);
  EXPECT_EQ(check({}, {.audiences = {"x"}}), 401);
  EXPECT_EQ(check({.audiences = {"a"}}, {}), 200);
  EXPECT_EQ(check({.audiences = {"a"}}, {.custom_json = R"({"aud":"a","exp":1})"}), 200);
  EXPECT_EQ(check({.issuer = "me"}, {.issuer = "me"}), 200);
  EXPECT_EQ(check({.issuer = "me"}, {.issuer = "you"}), 401);
  EXPECT_FALSE(JwtSigner(load_one(JwtAlgorithm::kHs256, "s", true), {.custom_json = "[]"}).authorization(kNow));
}

TEST(Jwt, MalformedTokens) {
  const JwtGuard guard = guard_for(JwtAlgorithm::kHs256);
  const std::string good = sign(JwtAlgorithm::kHs256);
  const std::string text = good.substr(7);
  EXPECT_EQ(guard.check("bearer " + text, kNow).http_status, 200);
  const std::string none = base64url_encode(R"({"alg":"none"})") + "." + base64url_encode(R"({"exp":9999999999})") + ".";
  for (const std::string& bad : std::vector<std::string>{std::string(), std::string("Bearer"), std::string("Bearer "), "Basic " + text, "Bearer " + text + ".x",
                                 "Bearer " + text + "=", "Bearer ..", "Bearer a.b.c", "Bearer " + none,
                                 "Bearer " + std::string(kMaxJwtBytes, 'a') + "." + text, "Bearer " + text.substr(0, text.rfind('.'))}) {
    const AuthVerdict verdict = guard.check(bad, kNow);
    EXPECT_EQ(verdict.http_status, 401) << bad.substr(0, 80);
    EXPECT_FALSE(verdict.reason.empty());
  }
  // Signed, but not claims.
  const AuthKey key = load_one(JwtAlgorithm::kHs256, key_for(JwtAlgorithm::kHs256).private_pem, true);
  for (const std::string_view claims : {"[]", "17", "{", R"({"exp":"soon"})", "{}", R"({"exp":1e999})", R"({"exp":null})"}) {
    const std::string signed_text = base64url_encode(R"({"alg":"HS256"})") + "." + base64url_encode(claims);
    EXPECT_EQ(guard.check("Bearer " + signed_text + "." + base64url_encode(*key.sign(signed_text)), kNow).http_status, 401) << claims;
  }
}

TEST(Jwt, Base64Url) {
  for (const std::string& bytes : {std::string(), std::string("f"), std::string("fo"), std::string("foo"), std::string("\xff\xfe\xfd\x00", 4)}) {
    EXPECT_EQ(base64url_decode(base64url_encode(bytes)), bytes);
  }
  EXPECT_EQ(base64url_encode("\xfb\xff"), "-_8");
  for (const char* bad : {"a", "ab=", "a b", "+/", "-_9", "AAAAA"}) {
    EXPECT_FALSE(base64url_decode(bad)) << bad;
  }
}

TEST(AuthKeys, ErrorsSayWhatToDo) {
  const auto error = [](const AuthKeySource& source, bool for_signing = false) {
    const auto keys = load_auth_keys(source, for_signing);
    return keys ? std::string("loaded") : keys.error();
  };
  EXPECT_NE(error({.file = "/nowhere/key.pem"}).find("/nowhere/key.pem"), std::string::npos);
  EXPECT_NE(error({.algorithm = JwtAlgorithm::kRs256, .data = "no key"}).find("public key in PEM"), std::string::npos);
  EXPECT_NE(error({.algorithm = JwtAlgorithm::kRs256, .data = key_for(JwtAlgorithm::kEs256).public_pem}).find("RS256"), std::string::npos);
  EXPECT_NE(error({.algorithm = JwtAlgorithm::kEs384, .data = key_for(JwtAlgorithm::kEs256).public_pem}).find("ES384"), std::string::npos);
  EXPECT_NE(error({.algorithm = JwtAlgorithm::kHs256}).find("empty"), std::string::npos);
  EXPECT_NE(error({.format = AuthKeyFormat::kJwk, .data = jwks()}, true).find("PEM"), std::string::npos);
  for (const char* bad : {"", "{", "[]", "{}", R"({"keys":{}})", R"({"keys":[]})", R"({"keys":[{"kty":"RSA","n":"AQ","e":"AQ","alg":"RS256"}]})",
                          R"({"keys":[{"kty":"EC","crv":"P-256","x":"AQ","y":"AQ"}]})", R"({"keys":[{"kty":"oct","k":"","alg":"HS256"}]})",
                          R"({"keys":[{"kty":"oct","k":"AQAB","alg":"RS256"}]})"}) {
    EXPECT_NE(error({.format = AuthKeyFormat::kJwks, .data = bad}).find("no usable key"), std::string::npos) << bad;
  }
}

TEST(StaticToken, IsReadFromItsFile) {
  const std::string file = testing::TempDir() + "slipway-token-" + std::to_string(getpid());
  std::ofstream(file) << "abc.def.ghi\n";
  EXPECT_EQ(static_token_authorization(file).value_or(""), "Bearer abc.def.ghi");
  std::ofstream(file) << "two\nlines";
  EXPECT_FALSE(static_token_authorization(file));
  std::remove(file.c_str());
  EXPECT_FALSE(static_token_authorization(file));
}

TEST(Basic, ExactMatchOnly) {
  EXPECT_EQ(basic_authorization("Aladdin", "open sesame"), "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==");
  const BasicGuard guard("admin", "pass:word");
  EXPECT_EQ(guard.check(basic_authorization("admin", "pass:word"), 0).http_status, 200);
  EXPECT_EQ(guard.check(basic_authorization("admin", "pass:word"), 0).subject, "admin");
  for (const std::string& bad : {std::string(), std::string("Basic"), basic_authorization("admin", "pass:wor"), basic_authorization("admin", ""),
                                 std::string("Bearer x")}) {
    const AuthVerdict verdict = guard.check(bad, 0);
    EXPECT_EQ(verdict.http_status, 401);
    EXPECT_EQ(verdict.challenge, "Basic");
  }
}

TEST(OnHttp2, WrongCredentialsAre401AndRightOnesPass) {
  for (const bool right : {false, true}) {
    Peer server, client;
    auto sc = server_config();
    sc->guard = std::make_shared<BasicGuard>("admin", "secret");
    auto cc = client_config();
    cc->headers.push_back({"authorization", basic_authorization("admin", right ? "secret" : "guess")});
    ASSERT_TRUE(server.make(sc));
    ASSERT_TRUE(client.make(cc));
    client.transport->open_stream();
    exchange(client, server);
    EXPECT_EQ(server.opened.size(), right ? 1u : 0u);
    if (right) {
      EXPECT_EQ(server.transport->head(1)->subject, "admin");
      EXPECT_TRUE(server.transport->head(1)->authorization.empty());
      continue;
    }
    ASSERT_EQ(client.closed.size(), 1u);
    EXPECT_EQ(client.closed[0].fault, TransportFault::kNotAuthorized);
    EXPECT_EQ(client.closed[0].status, 16);
    ASSERT_EQ(server.closed.size(), 1u);
    EXPECT_EQ(server.closed[0].fault, TransportFault::kNotAuthorized);
    EXPECT_EQ(server.transport->open_streams(), 0u);
  }
}

}  // namespace
}  // namespace slipway::test
