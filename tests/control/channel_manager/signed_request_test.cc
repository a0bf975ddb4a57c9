// Signed requests and grants against ones that another implementation signed (make_vectors.py).

#include "channel_manager/signed_request.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "channel_manager/channel_manager_bounds.h"
#include "channel_manager/flat_json.h"
#include "edge/did_key.h"
#include "signed_vectors.h"

namespace slipway::test {
namespace {

using namespace signed_vectors;

std::string hex(std::string_view bytes) {
  std::string out;
  for (const char c : bytes) {
    constexpr std::string_view kHex = "0123456789abcdef";
    out += {kHex[static_cast<unsigned char>(c) >> 4], kHex[static_cast<unsigned char>(c) & 15]};
  }
  return out;
}

std::string with(const char* json, const char* key, const nlohmann::json& value) {
  auto object = nlohmann::json::parse(json);
  object[key] = value;
  return object.dump();
}
std::string without(const char* json, const char* key) {
  auto object = nlohmann::json::parse(json);
  object.erase(key);
  return object.dump();
}

template <class T>
std::string error_of(const std::expected<T, std::string>& result) {
  return result ? "no error" : result.error();
}

constexpr const char* kWrong = "the signature does not verify against the signer's key";

TEST(DidKey, IsTheKey) {
  const auto key = ed25519_of_did_key(kOwner);
  ASSERT_TRUE(key);
  EXPECT_EQ(hex(*key), kOwnerKeyHex);
  EXPECT_EQ(did_key_of_ed25519(*key), kOwner);
}

TEST(DidKey, OfOtherFormsIsRefused) {
  const std::string good = kOwner;
  for (const std::string& bad : {std::string(), std::string("did:key:z"), std::string("did:key:"), good.substr(1), good + "1", good.substr(0, good.size() - 1),
                                 std::string("did:key:") + good.substr(9), "did:web:z" + good.substr(9), good.substr(0, 9) + "0" + good.substr(10),
                                 good.substr(0, 9) + "1" + good.substr(9), "did:key:z" + std::string(10'000, 'z')}) {
    EXPECT_FALSE(ed25519_of_did_key(bad)) << bad;
  }
  // X25519, multicodec ec 01, of 32 bytes.
  EXPECT_FALSE(ed25519_of_did_key("did:key:z6LSbysY2xFMRpGMhb7tFTLMpeuPRaqaWM1yECx2AtzE3KCc"));
}

TEST(SignedCreation, VerifiesAndSaysWhatWasSigned) {
  const auto plain = verify_creation(kCreation);
  ASSERT_TRUE(plain) << plain.error();
  EXPECT_EQ(*plain, (SignedCreation{"org/ns/manager", "org/ns/room", kOwner, true, std::nullopt, std::nullopt, 2'000'000'300, "n-1"}));
  const auto full = verify_creation(kCreationFull);
  ASSERT_TRUE(full) << full.error();
  EXPECT_EQ(*full, (SignedCreation{"org/ns/manager", "org/ns/room", kOwner, false, 3600, "org/ns/owner-app", 2'000'000'300, "n-full"}));
}

TEST(SignedCreation, NullAndAbsentAreTheSame) {
  EXPECT_TRUE(verify_creation(with(kCreation, "ttl_seconds", nullptr)));
  EXPECT_TRUE(verify_creation(with(kCreation, "owner_callback_name", nullptr)));
  EXPECT_TRUE(verify_creation(with(kCreation, "comment", {{"nobody", "asked"}})));
}

TEST(SignedCreation, EveryChangedValueBreaksTheSignature) {
  const nlohmann::json changes{{"audience", "x"}, {"channel", "a/b/c"}, {"owner", kOther}, {"mls_enabled", false}, {"ttl_seconds", 1},
                               {"owner_callback_name", "a/b/c"}, {"not_after", 2'000'000'301}, {"nonce", "n-9"}};
  for (const auto& [key, value] : changes.items()) {
    EXPECT_EQ(error_of(verify_creation(with(kCreation, key.c_str(), value))), kWrong) << key;
  }
  EXPECT_EQ(error_of(verify_creation(without(kCreationFull, "ttl_seconds"))), kWrong);
  EXPECT_EQ(error_of(verify_creation(kCreationWrongTag)), kWrong);
}

TEST(SignedCreation, WhatIsMalformedIsToldSo) {
  for (const auto& [text, part] : std::vector<std::pair<std::string, std::string>>{
           {"", "not JSON"}, {"not json", "not JSON"}, {"[]", "array"}, {"null", "null"}, {"3", "value"}, {"{}", "missing"},
           {without(kCreation, "nonce"), "`nonce` is missing"}, {with(kCreation, "not_after", "2000000300"), "`not_after` has the wrong type"},
           {with(kCreation, "not_after", -1), "`not_after` has the wrong type"}, {with(kCreation, "not_after", 1.5), "`not_after` has the wrong type"},
           {with(kCreation, "not_after", nullptr), "`not_after` has the wrong type"}, {with(kCreation, "mls_enabled", 1), "`mls_enabled` has the wrong type"},
           {with(kCreation, "mls_enabled", "true"), "`mls_enabled` has the wrong type"}, {with(kCreation, "ttl_seconds", true), "`ttl_seconds` has the wrong type"},
           {with(kCreation, "channel", {"org/ns/room"}), "`channel` has the wrong type"},
           {with(kCreation, "owner_callback_name", ""), "owner_callback_name must be omitted rather than empty"},
           {with(kCreation, "signature", "###"), "signature"}, {with(kCreation, "audience", std::string("a\0b", 3)), "NUL"},
           {std::string(kCreation) + "x", "not JSON"}, {R"({"nonce":"a","nonce":"a"})", "twice"}, {std::string(kManagerProofBytes + 1, ' '), "at most"}}) {
    const auto error = error_of(verify_creation(text));
    EXPECT_TRUE(error.starts_with("malformed: ")) << error;
    EXPECT_NE(error.find(part), std::string::npos) << error;
  }
  EXPECT_EQ(error_of(verify_creation(with(kCreation, "owner", "bob"))), "unsupported owner identifier format: bob");
  EXPECT_EQ(error_of(verify_creation(with(kCreation, "signature", ""))), kWrong);
}

TEST(SignedDeletion, IsOfItsSignerAlone) {
  const auto good = verify_deletion(kOwner, kDeletion);
  ASSERT_TRUE(good) << good.error();
  EXPECT_EQ(*good, (SignedDeletion{"org/ns/manager", "org/ns/room", 2'000'000'300, "n-2"}));
  EXPECT_EQ(error_of(verify_deletion(kOther, kDeletion)), kWrong);
  EXPECT_EQ(error_of(verify_deletion("bob", kDeletion)), "unsupported owner identifier format: bob");
  EXPECT_EQ(error_of(verify_deletion(kOwner, with(kDeletion, "channel", "org/ns/hall"))), kWrong);
  EXPECT_EQ(error_of(verify_deletion(kOwner, with(kDeletion, "audience", "org/ns/other"))), kWrong);
}

TEST(SignedGrant, IsOfItsSignerAlone) {
  const auto good = verify_grant(kOwner, kGrant);
  ASSERT_TRUE(good) << good.error();
  EXPECT_EQ(*good, (Grant{"org/ns/room", "org/ns/bob", GrantAction::kAdd, "member", 2'000'000'300, "n-3"}));
  EXPECT_EQ(verify_grant(kOwner, kGrantDelete)->action, GrantAction::kDelete);
  EXPECT_EQ(verify_grant(kOwner, kGrantForever)->not_after_s, ~std::uint64_t{0});
  EXPECT_EQ(verify_grant(kOwner, kGrantUnicode)->invitee, "org/ns/j\u00fcrgen");
  EXPECT_EQ(error_of(verify_grant(kOwner, kGrantByOther)), kWrong);
  EXPECT_EQ(error_of(verify_grant(kOwner, with(kGrant, "action", "delete"))), kWrong);
  EXPECT_EQ(error_of(verify_grant(kOwner, with(kGrant, "invitee", "org/ns/eve"))), kWrong);
  EXPECT_EQ(error_of(verify_grant(kOwner, with(kGrant, "action", "promote"))), "malformed: `action` must be `add` or `delete`");
  EXPECT_EQ(error_of(verify_grant(kOwner, kGrantNul)), "malformed: fields must not contain NUL bytes");
}

TEST(FlatJson, DepthCostsNothing) {
  std::string deep = R"({"a":"x","b":)" + std::string(100'000, '[') + std::string(100'000, ']') + "}";
  std::string a;
  FlatField fields[] = {{"a", &a}};
  EXPECT_TRUE(read_flat_json(deep, fields));
  EXPECT_EQ(a, "x");
}

TEST(FlatJson, NamesInsideOfWhatIsPassedOverAreNotOurs) {
  std::string a;
  FlatField fields[] = {{"a", &a}};
  EXPECT_TRUE(read_flat_json(R"({"b":{"a":"inner","c":[{"a":1}]},"a":"outer"})", fields));
  EXPECT_EQ(a, "outer");
}

}  // namespace
}  // namespace slipway::test
