#include <gtest/gtest.h>
#include <openssl/evp.h>
#include <openssl/pem.h>

#include <filesystem>
#include <fstream>

#include "../wire/session_golden.h"
#include "identity/command_guard.h"
#include "identity/identity_bounds.h"
#include "identity/jwt_identity.h"
#include "identity/shared_secret.h"

namespace slipway {
namespace {

using session_golden::load;
using session_golden::to_hex;

constexpr std::uint64_t kNow = 1'735'689'600;

SigningKey golden_key() { return SigningKey::import(load("key.private")).value(); }

Identity golden_identity() {
  return shared_secret_identity({.base = "", .secret = load("token.secret"), .subject = "alice_AbCd1234", .key = golden_key()}).value();
}

// Private and public PEM of a fresh key, in files.
class KeyFiles {
 public:
  explicit KeyFiles(const char* algorithm, const char* group = nullptr) {
    static int count = 0;
    base_ = (std::filesystem::path(testing::TempDir()) / ("identity-" + std::to_string(::getpid()) + "-" + std::to_string(++count))).string();
    EVP_PKEY* key = group ? EVP_PKEY_Q_keygen(nullptr, nullptr, algorithm, group) : EVP_PKEY_Q_keygen(nullptr, nullptr, algorithm);
    std::FILE* file = std::fopen(secret().c_str(), "w");
    PEM_write_PrivateKey(file, key, nullptr, nullptr, 0, nullptr, nullptr);
    std::fclose(file);
    file = std::fopen(open().c_str(), "w");
    PEM_write_PUBKEY(file, key);
    std::fclose(file);
    EVP_PKEY_free(key);
  }
  ~KeyFiles() {
    std::filesystem::remove(secret());
    std::filesystem::remove(open());
  }
  [[nodiscard]] std::string secret() const { return base_ + ".key"; }
  [[nodiscard]] std::string open() const { return base_ + ".pub"; }

 private:
  std::string base_;
};

IdentityFault fault_of(const std::expected<VerifiedIdentity, IdentityError>& result) { return result ? IdentityFault::kCount : result.error().fault; }

TEST(SharedSecret, GoldenTokens) {
  const std::string nonce = session_golden::from_hex("000102030405060708090a0b");
  const std::string claims = R"({"pubkey":")" + base64_encode(load("key.public")) + R"("})";
  EXPECT_EQ(shared_secret_token(load("token.secret"), "alice_AbCd1234", kNow, nonce, claims), load("token.claims"));
  EXPECT_EQ(shared_secret_token(load("token.secret"), "alice_AbCd1234", kNow, nonce, ""), load("token.plain"));
  const Identity identity = golden_identity();
  EXPECT_EQ(to_hex(identity.provider->key().public_key()), to_hex(load("key.public")));
  EXPECT_EQ(id_text(identity.provider->id()), "74ecd689-241f-30cd-1dc5-3fd5de63a485");
  const auto who = identity.verifier->verify(load("token.claims"), kNow);
  ASSERT_TRUE(who);
  EXPECT_EQ(who->subject, "alice_AbCd1234");
  EXPECT_EQ(to_hex(who->public_key), to_hex(load("key.public")));
  EXPECT_EQ(who->expires_s, kNow + 3600);
  EXPECT_EQ(fault_of(identity.verifier->verify(load("token.plain"), kNow)), IdentityFault::kNoPublicKey);
}

TEST(SharedSecret, TimeAndForgery) {
  const Identity identity = golden_identity();
  const std::string token = load("token.claims");
  EXPECT_TRUE(identity.verifier->verify(token, kNow - 5));
  EXPECT_EQ(fault_of(identity.verifier->verify(token, kNow - 6)), IdentityFault::kFromTheFuture);
  EXPECT_TRUE(identity.verifier->verify(token, kNow + 3600));
  EXPECT_EQ(fault_of(identity.verifier->verify(token, kNow + 3601)), IdentityFault::kExpired);
  for (std::size_t i = 0; i < token.size(); ++i) {
    std::string forged = token;
    forged[i] = forged[i] == 'A' ? 'B' : 'A';
    EXPECT_FALSE(identity.verifier->verify(forged, kNow)) << i;
    EXPECT_FALSE(identity.verifier->verify(token.substr(0, i), kNow)) << i;
  }
  EXPECT_FALSE(identity.verifier->verify(token + ":", kNow));
  const Identity other = shared_secret_identity({.base = "x", .secret = "another-secret-of-at-least-32-bytes!!"}).value();
  EXPECT_EQ(fault_of(other.verifier->verify(token, kNow)), IdentityFault::kWrongSecret);
}

TEST(SharedSecret, MadeFromNamesAndRefused) {
  const std::string secret = "a-shared-secret-of-at-least-32-bytes!!";
  const auto identity = shared_secret_identity({.base = "org/ns/app", .secret = secret});
  ASSERT_TRUE(identity);
  EXPECT_TRUE(identity->provider->subject().starts_with("org/ns/app_"));
  EXPECT_EQ(identity->provider->subject().size(), 11u + kRandomSuffixChars);
  EXPECT_NE(identity->provider->subject(), shared_secret_identity({.base = "org/ns/app", .secret = secret})->provider->subject());
  EXPECT_EQ(shared_secret_identity({.base = "x", .secret = "short"}).error().fault, IdentityFault::kShortSecret);
  EXPECT_EQ(shared_secret_identity({.base = "a:b", .secret = secret}).error().fault, IdentityFault::kBadSubject);
  EXPECT_EQ(shared_secret_identity({.base = "", .secret = secret}).error().fault, IdentityFault::kBadSubject);
}

TEST(Token, IsReusedForAWhileOnly) {
  const Identity identity = golden_identity();
  const std::string first(identity.provider->token(kNow).value());
  EXPECT_EQ(identity.provider->token(kNow + kTokenReuseS - 1).value(), first);
  const std::string second(identity.provider->token(kNow + kTokenReuseS).value());
  EXPECT_NE(second, first);
  EXPECT_NE(identity.provider->token(kNow - 100).value(), second) << "the clock went back";
  EXPECT_TRUE(identity.verifier->verify(first, kNow));
}

TEST(Signature, GoldenAndForged) {
  const std::string key = load("key.public");
  EXPECT_TRUE(verify_signature(key, load("aad.1"), load("signature.aad.1")));
  EXPECT_FALSE(verify_signature(key, load("aad.3"), load("signature.aad.1")));
  EXPECT_FALSE(verify_signature(key.substr(1), load("aad.1"), load("signature.aad.1")));
  EXPECT_FALSE(verify_signature("", load("aad.1"), load("signature.aad.1")));
  const SigningKey own = golden_key();
  EXPECT_TRUE(verify_signature(key, "text", own.sign("text")));
  EXPECT_FALSE(verify_signature(key, "text", own.sign("Text")));
}

TEST(Signature, KeyFromAFile) {
  const KeyFiles good("EC", "P-256");
  const auto key = SigningKey::load(good.secret());
  ASSERT_TRUE(key) << key.error().message();
  EXPECT_TRUE(verify_signature(key->public_key(), "text", key->sign("text")));
  EXPECT_FALSE(SigningKey::load(KeyFiles("EC", "P-384").secret()));
  EXPECT_FALSE(SigningKey::load("/nowhere"));
  EXPECT_FALSE(SigningKey::load(good.open()));
}

SessionMessage discovery(const Identity& identity) {
  return {.session_type = SessionType::kPointToPoint, .type = MessageType::kDiscoveryRequest, .session_id = 0x12345678, .message_id = 0x9abcdef0,
          .source = FullName(TextName{{"agntcy", "ns", "App-A"}, identity.provider->id()}),
          .destination = FullName(TextName{{"agntcy", "ns", "App-B"}, kNullId}),
          .identity = std::string(identity.provider->token(kNow).value()), .metadata = {{"app-key", "app-value"}}, .payload = DiscoveryRequest{}};
}

std::string wire_of(const SessionMessage& message, const WireSignatures& signatures) {
  return encode_upstream(message, encode_content(message.payload), signatures);
}
IdentityFault verified(const std::string& bytes, const Identity& identity, IdentityBinding binding) {
  const auto read = decode_upstream({reinterpret_cast<const std::byte*>(bytes.data()), bytes.size()});
  EXPECT_TRUE(read);
  return fault_of(verify_command(*read, *identity.verifier, binding, kNow));
}

TEST(Command, BothSignaturesOfTheGoldenCommand) {
  const Identity identity = golden_identity();
  SessionMessage m = discovery(identity);
  m.identity = "tok";
  const std::string input = payload_signature_input(header_aad(m), encode_content(m.payload), m.metadata);
  EXPECT_TRUE(verify_signature(load("key.public"), input, load("payload-signature.metadata")));
  m.metadata.clear();
  EXPECT_TRUE(verify_signature(load("key.public"), payload_signature_input(header_aad(m), encode_content(m.payload), {}), load("payload-signature.plain")));
  m.identity = load("token.claims");
  EXPECT_TRUE(verify_signature(load("key.public"), header_aad(m), load("signature.aad.2")));
  // The same, as what comes in: a command of 2.x, which signs the headers alone.
  const std::string old = wire_of(m, {.header = load("signature.aad.2"), .payload = {}});
  EXPECT_EQ(verified(old, identity, IdentityBinding::kWarn), IdentityFault::kCount);
  EXPECT_EQ(verified(old, identity, IdentityBinding::kEnforce), IdentityFault::kBadSignature);
}

TEST(Command, SignedAndTamperedWith) {
  const Identity identity = golden_identity();
  const SessionMessage m = discovery(identity);
  const WireSignatures signatures = sign_command(m, encode_content(m.payload), identity.provider->key()).value();
  EXPECT_EQ(verified(wire_of(m, signatures), identity, IdentityBinding::kEnforce), IdentityFault::kCount);
  const auto changed = [&](void (*change)(SessionMessage&)) {
    SessionMessage copy = m;
    change(copy);
    return verified(wire_of(copy, signatures), identity, IdentityBinding::kWarn);
  };
  EXPECT_EQ(changed([](SessionMessage& c) { c.message_id ^= 1; }), IdentityFault::kBadSignature);
  EXPECT_EQ(changed([](SessionMessage& c) { c.payload = DiscoveryReply{}; }), IdentityFault::kBadSignature);
  EXPECT_EQ(changed([](SessionMessage& c) { c.metadata["app-key"] = "other"; }), IdentityFault::kBadSignature);
  EXPECT_EQ(changed([](SessionMessage& c) { c.metadata["traceparent"] = "added on the way"; }), IdentityFault::kCount);
  EXPECT_EQ(changed([](SessionMessage& c) { c.source = c.source.with_id({1, 2}); }), IdentityFault::kBadSubject);
  EXPECT_EQ(verified(wire_of(m, {.header = signatures.header, .payload = "not base64!"}), identity, IdentityBinding::kOff), IdentityFault::kBadSignature);
  EXPECT_EQ(verified(wire_of(m, {.header = {}, .payload = signatures.payload}), identity, IdentityBinding::kOff), IdentityFault::kBadSignature);
}

TEST(Jwt, GoldenToken) {
  const auto verifier = jwt_verifier({.keys = {{.algorithm = JwtAlgorithm::kHs256, .data = load("token.secret")}}});
  ASSERT_TRUE(verifier) << verifier.error().message();
  for (int again = 0; again < 2; ++again) {
    const auto who = (*verifier)->verify(load("token.jwt"), kNow);
    ASSERT_TRUE(who) << who.error().message();
    EXPECT_EQ(who->subject, "user-123");
    EXPECT_EQ(to_hex(who->public_key), to_hex(load("key.public")));
    EXPECT_EQ(id_text(who->id()), "476f8f15-8678-a469-ff55-57a41f98b187");
  }
  EXPECT_FALSE((*verifier)->verify(load("token.jwt"), 4'102'444'800 + 61));
}

TEST(Jwt, SignedWithAFileVerifiedWithAnother) {
  const KeyFiles files("EC", "P-256");
  const auto provider = jwt_provider({.signing_key = {.algorithm = JwtAlgorithm::kEs256, .file = files.secret()}, .subject = "worker-1",
                                      .issuer = "tests", .duration_s = 100});
  ASSERT_TRUE(provider) << provider.error().message();
  const auto verifier = jwt_verifier({.keys = {{.algorithm = JwtAlgorithm::kEs256, .file = files.open()}}});
  ASSERT_TRUE(verifier) << verifier.error().message();
  const std::string token = (*provider)->make_token(kNow).value();
  const auto who = (*verifier)->verify(token, kNow);
  ASSERT_TRUE(who) << who.error().message();
  EXPECT_EQ(who->subject, "worker-1");
  EXPECT_EQ(who->issuer, "tests");
  EXPECT_EQ(who->public_key, (*provider)->key().public_key());
  EXPECT_EQ(fault_of((*verifier)->verify(token, kNow + 161)), IdentityFault::kExpired);
  std::string forged = token;
  forged[forged.size() - 5] = forged[forged.size() - 5] == 'A' ? 'B' : 'A';
  EXPECT_EQ(fault_of((*verifier)->verify(forged, kNow)), IdentityFault::kWrongSecret);
  EXPECT_FALSE((*verifier)->verify("", kNow));
  EXPECT_FALSE((*verifier)->verify("a.b.c", kNow));
}

TEST(Jwt, SelfIssuedWithADidKey) {
  const KeyFiles files("ED25519");
  const auto provider = jwt_provider({.signing_key = {.algorithm = JwtAlgorithm::kEdDsa, .file = files.secret()}});
  ASSERT_TRUE(provider) << provider.error().message();
  EXPECT_TRUE((*provider)->subject().starts_with("did:key:z"));
  const auto verifier = jwt_verifier({.keys = {{.algorithm = JwtAlgorithm::kEdDsa, .file = files.open()}},
                                      .rules = {.subject_binding = SubjectBinding::kEnforce}});
  ASSERT_TRUE(verifier);
  const auto who = (*verifier)->verify((*provider)->make_token(kNow).value(), kNow);
  ASSERT_TRUE(who) << who.error().message();
  EXPECT_EQ(who->issuer, (*provider)->subject());
}

TEST(Jwt, TokensThatOthersKeepFresh) {
  const KeyFiles files("EC", "P-256");
  auto key = [] { return golden_key(); };
  const auto issuer = jwt_provider({.signing_key = {.algorithm = JwtAlgorithm::kEs256, .file = files.secret()}, .subject = "svc", .duration_s = 100, .key = key()});
  const std::string path = files.secret() + ".token";
  const auto put = [&](std::uint64_t now) { std::ofstream(path) << (*issuer)->make_token(now).value() << "\n"; };
  put(kNow);
  const auto provider = static_jwt_provider({.token_file = path, .key = key()}, kNow);
  ASSERT_TRUE(provider) << provider.error().message();
  const std::string first = (*provider)->make_token(kNow + 60).value();
  put(kNow + 80);
  EXPECT_NE((*provider)->make_token(kNow + 90).value(), first);
  EXPECT_EQ((*provider)->make_token(kNow + 500).error().fault, IdentityFault::kExpired);
  EXPECT_EQ(static_jwt_provider({.token_file = path, .key = SigningKey::generate().value()}, kNow).error().fault, IdentityFault::kNoPublicKey);
  std::filesystem::remove(path);
}

TEST(Base64, Strict) {
  for (const std::string& bytes : {std::string(), std::string("a"), std::string("ab"), std::string("abc"), std::string("\0\xff", 2)}) {
    EXPECT_EQ(base64_decode(base64_encode(bytes)).value(), bytes);
  }
  for (const char* bad : {"a", "a===", "ab=c", "ab c", "=====", "a\nb="}) {
    EXPECT_FALSE(base64_decode(bad)) << bad;
  }
}

}  // namespace
}  // namespace slipway
