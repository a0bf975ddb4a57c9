#include "key_schedule/secret_tree.h"

#include <gtest/gtest.h>

namespace slipway::mls {
namespace {

constexpr auto kApp = RatchetKind::kApplication;
constexpr auto kHandshake = RatchetKind::kHandshake;

class SecretTreeTest : public testing::TestWithParam<uint16_t> {
 protected:
  const Suite& suite_ = *find_suite(GetParam());

  SecretTree make(uint32_t leaves = 8, const Limits& limits = kDefaultLimits) {
    return SecretTree(suite_, Secret(Bytes(suite_.hash_size, 0x21)), leaves, limits);
  }
  static bool take(SecretTree& tree, uint32_t leaf, RatchetKind kind, uint32_t generation) {
    auto found = tree.find(leaf, kind, generation);
    if (found) {
      tree.accept(std::move(*found));
      return true;
    }
    return false;
  }
  static void expect_error(SecretTree& tree, uint32_t leaf, uint32_t generation, ErrorCode code) {
    auto found = tree.find(leaf, kApp, generation);
    ASSERT_FALSE(found);
    EXPECT_EQ(found.error().code, code);
  }
  static SecretBytes snapshot(const SecretTree& tree) {
    SecretBytes out;
    SecretWriter writer(out);
    tree.save(writer);
    return out;
  }
  Result<SecretTree> restore(View bytes, const Limits& limits = kDefaultLimits) {
    Reader reader(bytes);
    auto tree = SecretTree::restore(suite_, reader, limits);
    EXPECT_TRUE(!tree || reader.at_end());
    return tree;
  }
  // The same keys from here on, in every leaf?
  static void expect_same(SecretTree& a, SecretTree& b) {
    for (uint32_t leaf = 0; leaf < a.leaf_count(); ++leaf) {
      for (auto kind : {kHandshake, kApp}) {
        EXPECT_EQ(a.next_generation(leaf, kind), b.next_generation(leaf, kind));
        auto from_a = a.next(leaf, kind), from_b = b.next(leaf, kind);
        EXPECT_TRUE(from_a->key == from_b->key && from_a->nonce == from_b->nonce);
      }
    }
  }
};

TEST_P(SecretTreeTest, BothSidesGetTheSameKeys) {
  for (uint32_t leaves : {1u, 2u, 3u, 8u, 37u}) {
    SecretTree sender = make(leaves), receiver = make(leaves);
    for (uint32_t generation = 0; generation < 3; ++generation) {
      for (uint32_t leaf = leaves; leaf-- > 0;) {
        for (auto kind : {kHandshake, kApp}) {
          MessageKey sent = sender.next(leaf, kind).value();
          FoundKey found = receiver.find(leaf, kind, generation).value();
          EXPECT_EQ(sent.generation, generation);
          EXPECT_TRUE(found.message_key.key == sent.key && found.message_key.nonce == sent.nonce);
          EXPECT_EQ(sent.key.size(), suite_.aead_key_size);
          receiver.accept(std::move(found));
        }
      }
    }
  }
}

TEST_P(SecretTreeTest, LookingAKeyUpUsesNothing) {
  SecretTree tree = make(), untouched = make();
  ASSERT_TRUE(tree.find(3, kApp, 1000));
  ASSERT_TRUE(tree.find(3, kApp, 0));
  EXPECT_EQ(tree.skipped_keys(), 0u);
  expect_same(tree, untouched);
  // A skipped key too stays until it is accepted.
  ASSERT_TRUE(take(tree, 3, kApp, 9));
  size_t held = tree.skipped_keys();
  ASSERT_TRUE(tree.find(3, kApp, 5));
  EXPECT_EQ(tree.skipped_keys(), held);
  ASSERT_TRUE(take(tree, 3, kApp, 5));
  EXPECT_EQ(tree.skipped_keys(), held - 1);
}

TEST_P(SecretTreeTest, OutOfOrderEachKeyOnce) {
  SecretTree sender = make(), receiver = make();
  std::vector<MessageKey> sent;
  for (int i = 0; i < 6; ++i) {
    sent.push_back(sender.next(5, kApp).value());
  }
  for (uint32_t generation : {4u, 0u, 5u, 2u, 1u, 3u}) {
    FoundKey found = receiver.find(5, kApp, generation).value();
    EXPECT_TRUE(found.message_key.key == sent[generation].key);
    EXPECT_TRUE(found.message_key.nonce == sent[generation].nonce);
    receiver.accept(std::move(found));
    expect_error(receiver, 5, generation, ErrorCode::kGenerationGone);
  }
  EXPECT_EQ(receiver.skipped_keys(), 0u);
}

TEST_P(SecretTreeTest, TooFarAheadChangesNothing) {
  SecretTree tree = make(), untouched = make();
  expect_error(tree, 2, 1025, ErrorCode::kGenerationTooFarAhead);
  expect_error(tree, 2, UINT32_MAX, ErrorCode::kGenerationTooFarAhead);
  EXPECT_TRUE(tree.find(2, kApp, 1024));
  expect_same(tree, untouched);
}

TEST_P(SecretTreeTest, LeavesOutOfRange) {
  SecretTree tree = make(5);
  expect_error(tree, 5, 0, ErrorCode::kInvalidSender);
  expect_error(tree, 7, 0, ErrorCode::kInvalidSender);
  expect_error(tree, UINT32_MAX, 0, ErrorCode::kInvalidSender);
  EXPECT_EQ(tree.next(5, kApp).error().code, ErrorCode::kInvalidSender);
  SecretTree nothing;
  EXPECT_EQ(nothing.find(0, kApp, 0).error().code, ErrorCode::kInvalidSender);
}

TEST_P(SecretTreeTest, OldestSkippedKeysGoFirst) {
  Limits limits;
  limits.skipped_per_ratchet = 4;
  limits.skipped_per_epoch = 6;
  SecretTree tree = make(8, limits);
  ASSERT_TRUE(take(tree, 0, kApp, 10));  // of 0..9 the last four stay
  EXPECT_EQ(tree.skipped_keys(), 4u);
  expect_error(tree, 0, 5, ErrorCode::kGenerationGone);
  EXPECT_TRUE(tree.find(0, kApp, 6));
  ASSERT_TRUE(take(tree, 1, kApp, 4));   // four more: two of leaf 0 make room
  EXPECT_EQ(tree.skipped_keys(), 6u);
  expect_error(tree, 0, 7, ErrorCode::kGenerationGone);
  EXPECT_TRUE(tree.find(0, kApp, 8));
  EXPECT_TRUE(tree.find(1, kApp, 0));
  EXPECT_TRUE(take(tree, 0, kApp, 11));  // the ratchet itself goes on
}

TEST_P(SecretTreeTest, SkippedKeysStayBoundedForever) {
  Limits limits;
  limits.skipped_per_ratchet = 16;
  limits.skipped_per_epoch = 40;
  SecretTree tree = make(8, limits);
  for (uint32_t round = 1; round < 300; ++round) {
    for (uint32_t leaf = 0; leaf < 8; ++leaf) {
      ASSERT_TRUE(take(tree, leaf, kApp, 9 * round));
      if (round % 3 == 0) {
        take(tree, leaf, kApp, 9 * round - 1);
      }
      ASSERT_LE(tree.skipped_keys(), limits.skipped_per_epoch);
    }
  }
  EXPECT_LT(snapshot(tree).size(), 16'000u);
}

TEST_P(SecretTreeTest, SnapshotsGoOn) {
  SecretTree tree = make(37);
  for (uint32_t leaf : {0u, 5u, 36u}) {
    ASSERT_TRUE(take(tree, leaf, kApp, 7));
    ASSERT_TRUE(take(tree, leaf, kHandshake, 1));
    ASSERT_TRUE(take(tree, leaf, kApp, 3));
  }
  SecretBytes saved = snapshot(tree);
  SecretTree again = restore(saved).value();
  EXPECT_EQ(again.skipped_keys(), tree.skipped_keys());
  expect_error(again, 5, 3, ErrorCode::kGenerationGone);
  EXPECT_TRUE(again.find(5, kApp, 2)->message_key.key == tree.find(5, kApp, 2)->message_key.key);
  expect_same(tree, again);
}

TEST_P(SecretTreeTest, OneRatchetIsSavedCheaply) {
  SecretTree tree = make(1000);
  SecretBytes base = snapshot(tree);
  ASSERT_TRUE(take(tree, 600, kApp, 2));
  tree.next(600, kApp).value();
  SecretBytes change;
  SecretWriter writer(change);
  tree.save_ratchet(600, kApp, writer);
  EXPECT_LT(change.size(), 400u);

  SecretTree again = restore(base).value();
  for (int twice = 0; twice < 2; ++twice) {  // a newer save of the same ratchet replaces it
    Reader reader(change);
    ASSERT_TRUE(again.restore_ratchet(reader));
    EXPECT_TRUE(reader.at_end());
    EXPECT_EQ(again.skipped_keys(), 2u);
  }
  EXPECT_EQ(again.next_generation(600, kApp), 4u);
  SecretTree after = restore(snapshot(again)).value();
  EXPECT_EQ(after.skipped_keys(), 2u);
  EXPECT_TRUE(take(after, 600, kApp, 1));
  expect_same(tree, again);
}

TEST_P(SecretTreeTest, DamagedSnapshotsAreRefused) {
  SecretTree tree = make(6);
  ASSERT_TRUE(take(tree, 2, kApp, 3));
  SecretBytes saved = snapshot(tree);
  for (size_t size = 0; size < saved.size(); ++size) {
    EXPECT_FALSE(restore(View(saved).first(size))) << size;
  }
  // Any one bit: refused, or another tree, but never a crash.
  for (size_t bit = 0; bit < 8 * saved.size(); ++bit) {
    SecretBytes bad = saved;
    bad[bit / 8] ^= static_cast<uint8_t>(1u << bit % 8);
    Reader reader(bad);
    auto restored = SecretTree::restore(suite_, reader);
    if (restored) {
      take(*restored, 2, kApp, 1);
      take(*restored, 5, kApp, 4);
      snapshot(*restored);
    }
  }
}

TEST_P(SecretTreeTest, TighterBoundsCostOldKeysOnRestore) {
  SecretTree tree = make();
  ASSERT_TRUE(take(tree, 1, kApp, 50));
  ASSERT_TRUE(take(tree, 2, kApp, 50));
  Limits limits;
  limits.skipped_per_ratchet = 20;
  limits.skipped_per_epoch = 30;
  SecretTree again = restore(snapshot(tree), limits).value();
  EXPECT_EQ(again.skipped_keys(), 30u);
  EXPECT_TRUE(again.find(2, kApp, 49));
  expect_error(again, 2, 29, ErrorCode::kGenerationGone);
}

TEST_P(SecretTreeTest, LastGenerationIsTheLast) {
  SecretTree tree = make(2);
  tree.next(0, kApp).value();
  SecretBytes change;
  SecretWriter writer(change);
  tree.save_ratchet(0, kApp, writer);
  // Leaf index and kind, then the generation in eight bytes.
  for (size_t i = 5; i < 13; ++i) {
    change[i] = i < 9 ? 0 : 0xff;
  }
  Reader reader(change);
  ASSERT_TRUE(tree.restore_ratchet(reader));
  EXPECT_EQ(tree.next_generation(0, kApp), uint64_t{UINT32_MAX});
  EXPECT_TRUE(tree.find(0, kApp, UINT32_MAX));
  EXPECT_EQ(tree.next(0, kApp)->generation, UINT32_MAX);
  EXPECT_EQ(tree.next(0, kApp).error().code, ErrorCode::kWrongState);
  expect_error(tree, 0, UINT32_MAX, ErrorCode::kGenerationGone);
}

// What the key schedule deletes must be gone from all that is kept.
TEST_P(SecretTreeTest, UsedSecretsAreGone) {
  SecretTree tree = make(4);
  auto occurs = [&tree](View secret) {
    SecretBytes saved = snapshot(tree);
    return std::search(saved.begin(), saved.end(), secret.begin(), secret.end()) != saved.end();
  };
  Secret root(Bytes(suite_.hash_size, 0x21));
  EXPECT_TRUE(occurs(root));
  Secret left = expand_with_label(suite_, root, "tree", as_view("left"), suite_.hash_size);
  Secret right = expand_with_label(suite_, root, "tree", as_view("right"), suite_.hash_size);
  Secret leaf0 = expand_with_label(suite_, left, "tree", as_view("left"), suite_.hash_size);
  Secret leaf1 = expand_with_label(suite_, left, "tree", as_view("right"), suite_.hash_size);
  Secret ratchet = expand_with_label(suite_, leaf0, "application", {}, suite_.hash_size);
  FoundKey found = tree.find(0, kApp, 1).value();
  EXPECT_FALSE(occurs(root) || occurs(left) || occurs(leaf0));
  EXPECT_TRUE(occurs(right) && occurs(leaf1) && occurs(ratchet));
  Secret key = found.message_key.key.clone();
  Secret skipped_key = found.skipped[0].load(suite_).key.clone();
  tree.accept(std::move(found));
  EXPECT_FALSE(occurs(ratchet) || occurs(key));
  EXPECT_TRUE(occurs(skipped_key));
  ASSERT_TRUE(take(tree, 0, kApp, 0));
  EXPECT_FALSE(occurs(skipped_key));
}

INSTANTIATE_TEST_SUITE_P(SomeSuites, SecretTreeTest, testing::Values<uint16_t>(1, 4, 7));

}  // namespace
}  // namespace slipway::mls
