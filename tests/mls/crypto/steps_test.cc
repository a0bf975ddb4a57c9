// Work over long content in steps gives what the plain calls give, and each step keeps to its budget.
#include <gtest/gtest.h>

#include "crypto/hash.h"
#include "crypto/long_hash.h"
#include "crypto/random.h"
#include "crypto/signature_steps.h"

namespace slipway::mls {
namespace {

constexpr size_t kLong = 1'000'000;

Bytes long_content() {
  Bytes content(kLong);
  for (size_t i = 0; i < content.size(); ++i) {
    content[i] = static_cast<uint8_t>(i * 7 + i / 251);
  }
  return content;
}

// Steps of `units` until done; how many it took, 0 after an error.
template <class Operation>
size_t run(Operation& operation, size_t units, ErrorCode* error = nullptr) {
  for (size_t steps = 1;; ++steps) {
    Budget budget(units);
    const Result<bool> done = operation.step(budget);
    if (!done) {
      if (error != nullptr) {
        *error = done.error().code;
      }
      return 0;
    }
    if (*done) {
      return steps;
    }
    EXPECT_TRUE(budget.used_up());
  }
}

class Steps : public ::testing::TestWithParam<uint16_t> {
 protected:
  const Suite& suite_ = *find_suite(GetParam());
  const Bytes content_ = long_content();
};

TEST_P(Steps, HashAndHmac) {
  const View all = content_;
  const Bytes key(32, 5);
  for (const bool keyed : {false, true}) {
    LongHash hashing = keyed ? LongHash(suite_.kdf, key) : LongHash(suite_.kdf);
    hashing.add(all.first(3)).add(all.subspan(3, 500'000)).add({}).add(all.subspan(500'003));
    size_t steps = 1;
    for (Budget budget(64); !hashing.step(budget); budget = Budget(64)) {
      ++steps;
    }
    EXPECT_GE(steps, kLong / (64 * Budget::kHashedBytes));
    EXPECT_EQ(hashing.finish(), keyed ? mac(suite_, key, {all}) : hash(suite_, all));
  }
}

TEST_P(Steps, SignaturesVerify) {
  const SignatureKey key = *SignatureKey::generate(suite_, system_random());
  const View all = content_;
  const std::vector<View> pieces = {all.first(10), all.subspan(10)};
  SignSteps signing(key, "Test", pieces);
  const size_t steps = run(signing, 64);
  EXPECT_GE(steps, kLong / (64 * Budget::kHashedBytes));
  const View signature = signing.signature();
  EXPECT_TRUE(verify_once(suite_, key.public_key(), "Test", {all}, signature).has_value());
  if (suite_.signature == SignatureScheme::kEd25519 || suite_.signature == SignatureScheme::kEd448) {
    EXPECT_EQ(signing.signature(), *key.sign("Test", {all}));  // EdDSA has one signature only
  }
  VerifySteps verifying(suite_, key.public_key(), "Test", pieces, signature);
  EXPECT_GE(run(verifying, 64), kLong / (64 * Budget::kHashedBytes));
  Bytes spoiled = to_bytes(signature);
  spoiled[20] ^= 1;
  ErrorCode error{};
  VerifySteps forged(suite_, key.public_key(), "Test", pieces, spoiled);
  EXPECT_EQ(run(forged, 64, &error), 0u);
  EXPECT_EQ(error, ErrorCode::kBadSignature);
  VerifySteps relabelled(suite_, key.public_key(), "Other", pieces, signature);
  EXPECT_EQ(run(relabelled, 64, &error), 0u);
  EXPECT_EQ(error, ErrorCode::kBadSignature);
}

TEST_P(Steps, ShortAndEmptyContent) {
  const SignatureKey key = *SignatureKey::generate(suite_, system_random());
  for (const std::vector<View>& pieces : {std::vector<View>{}, {as_view("short")}}) {
    SignSteps signing(key, "Test", pieces);
    EXPECT_GT(run(signing, 1), 0u);
    VerifySteps verifying(suite_, key.public_key(), "Test", pieces, signing.signature());
    EXPECT_GT(run(verifying, 1), 0u);
  }
}

INSTANTIATE_TEST_SUITE_P(AllSuites, Steps, ::testing::Range<uint16_t>(1, 8));

}  // namespace
}  // namespace slipway::mls
