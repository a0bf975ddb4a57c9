#include "crypto/secret.h"

#include <gtest/gtest.h>

#include <new>

namespace slipway::mls {
namespace {

// Storage that is looked into after the object in it has died.
struct Storage {
  alignas(Secret) uint8_t bytes[sizeof(Secret)] = {};
  bool holds(uint8_t value) const {
    return std::find(std::begin(bytes), std::end(bytes), value) != std::end(bytes);
  }
};
const Bytes kPattern(Secret::kCapacity, 0xa5);

TEST(Secret, IsWipedWhenItDies) {
  Storage storage;
  auto* secret = new (storage.bytes) Secret{View(kPattern)};
  EXPECT_TRUE(storage.holds(0xa5));
  secret->~Secret();
  EXPECT_FALSE(storage.holds(0xa5));
}

TEST(Secret, IsWipedWhenMovedFrom) {
  Storage storage;
  auto* secret = new (storage.bytes) Secret{View(kPattern)};
  Secret other = std::move(*secret);
  EXPECT_FALSE(storage.holds(0xa5));
  EXPECT_TRUE(secret->empty());
  EXPECT_TRUE(equal(other, kPattern));
  secret->~Secret();
}

TEST(Secret, IsWipedWhenAssignedOver) {
  Storage storage;
  auto* secret = new (storage.bytes) Secret{View(kPattern)};
  Bytes shorter(3, 0x11);
  *secret = Secret(shorter);
  EXPECT_FALSE(storage.holds(0xa5));
  EXPECT_TRUE(equal(*secret, shorter));
  secret->~Secret();
}

TEST(Secret, ClearsAndClones) {
  Secret secret{View(kPattern)};
  Secret copy = secret.clone();
  secret.clear();
  EXPECT_TRUE(secret.empty());
  EXPECT_TRUE(equal(copy, kPattern));
  secret = Secret::zeros(5);
  EXPECT_TRUE(secret == Secret(Bytes(5)));
  EXPECT_FALSE(secret == Secret(Bytes(6)));
  EXPECT_FALSE(secret == Secret(Bytes{0, 0, 0, 0, 1}));
}

TEST(Secret, SurvivesMovingOntoItself) {
  Secret secret{View(kPattern)};
  Secret& alias = secret;
  secret = std::move(alias);
  EXPECT_TRUE(equal(secret, kPattern));
}

static_assert(!std::is_copy_constructible_v<Secret> && !std::is_copy_assignable_v<Secret>);
static_assert(Secret::kCapacity >= 66, "private keys of P-521");

TEST(WipeGuard, WipesOnTheWayOut) {
  Bytes bytes(32, 0x5a);
  { WipeGuard guard(bytes); }
  EXPECT_EQ(bytes, Bytes(32, 0));
}

}  // namespace
}  // namespace slipway::mls
