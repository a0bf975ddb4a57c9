// The index of keys after commits of all sizes: each key of the tree is found at its node, and nowhere else; keys that
// are gone are free again. Commits of many changes make the new index beside the old one, in steps.
#include <gtest/gtest.h>

#include <map>
#include <random>
#include <string>

#include "tree/tree_diff.h"

namespace slipway::mls {
namespace {

using Keys = std::map<std::string, std::pair<KeyKind, NodeIndex>>;
constexpr NodeIndex kNoNode = 0xffffffff;

class UniqueKeys : public ::testing::Test {
 protected:
  Bytes key() {
    Bytes bytes(32);
    for (uint8_t& byte : bytes) {
      byte = static_cast<uint8_t>(random_());
    }
    return bytes;
  }
  LeafPtr new_leaf() {
    LeafNode leaf;
    leaf.encryption_key = key();
    leaf.signature_key = key();
    leaf.credential.type = CredentialType::kBasic;
    leaf.signature = Bytes(64, 1);
    return Leaf::from(leaf);
  }
  void add(TreeDiff& diff, size_t count) {
    for (size_t i = 0; i < count; ++i) {
      ASSERT_TRUE(diff.add(new_leaf(), kDefaultLimits).has_value());
    }
  }
  // Some leaf that is not blank.
  static LeafIndex member(const TreeDiff& diff, size_t seed) {
    auto leaf = static_cast<LeafIndex>(seed % diff.width());
    while (diff.leaf(leaf) == nullptr) {
      leaf = (leaf + 1) % diff.width();
    }
    return leaf;
  }
  void put_path(TreeDiff& diff, LeafIndex leaf) {
    diff.hash_all();
    const auto steps = diff.filtered_direct_path(leaf);
    std::vector<PublicKeyBytes> keys;
    for (size_t i = 0; i < steps.size(); ++i) {
      keys.emplace_back(View(key()));
    }
    diff.merge_path(leaf, steps, keys);
    diff.set_leaf(leaf, new_leaf());
  }

  static std::string text(View key) { return std::string(as_text(key)); }
  static Keys keys_of(const RatchetTree& tree) {
    Keys keys;
    for (NodeIndex node = 0; node < tree.node_count(); ++node) {
      if (node_math::is_leaf(node)) {
        if (const LeafPtr& leaf = tree.leaf(node_math::leaf_of(node)); leaf != nullptr) {
          keys[text(leaf->encryption_key())] = {KeyKind::kEncryption, node};
          keys[text(leaf->signature_key())] = {KeyKind::kSignature, node};
        }
      } else if (const Parent* parent = tree.parent(node)) {
        keys[text(parent->encryption_key)] = {KeyKind::kEncryption, node};
      }
    }
    return keys;
  }

  // Puts the diff into the tree, its index made in steps of `units`, and looks for all keys before and after.
  void apply(TreeDiff& diff, size_t units) {
    const Keys before = keys_of(tree_);
    diff.hash_all();
    ASSERT_TRUE(diff.check_unique_keys().has_value());
    const size_t changes = diff.change_count();
    size_t calls = 1;
    for (Budget budget(units); !diff.index_keys(budget); budget = Budget(units)) {
      ++calls;
    }
    if (changes >= 256) {
      EXPECT_GE(calls, changes / units) << "a step did more than its budget";
      ++large_;
    }
    tree_.apply(std::move(diff));
    const Keys now = keys_of(tree_);
    const TreeDiff view(tree_);
    for (const auto& [key, use] : now) {
      EXPECT_TRUE(view.key_in_use(use.first, as_view(key), kNoNode));
      EXPECT_FALSE(view.key_in_use(use.first, as_view(key), use.second)) << "in use at another node";
    }
    for (const auto& [key, use] : before) {
      EXPECT_EQ(view.key_in_use(use.first, as_view(key), kNoNode), now.contains(key));
    }
  }

  std::mt19937 random_{7};
  const Suite& suite_ = *find_suite(uint16_t{1});
  RatchetTree tree_{suite_};
  size_t large_ = 0;  // commits whose index was made in steps
};

TEST_F(UniqueKeys, ReusedOnesAreFoundAfterManyAdds) {
  TreeDiff first(tree_);
  add(first, 700);
  apply(first, 16);
  for (const LeafIndex victim : {LeafIndex{0}, LeafIndex{345}, LeafIndex{699}}) {
    const LeafNode of_victim = tree_.leaf(victim)->decode_all();
    LeafNode thief = new_leaf()->decode_all();
    thief.signature_key = of_victim.signature_key;
    TreeDiff signature(tree_);
    ASSERT_TRUE(signature.add(Leaf::from(thief), kDefaultLimits).has_value());
    EXPECT_EQ(signature.check_unique_keys().error().code, ErrorCode::kKeyReuse);
    thief = new_leaf()->decode_all();
    thief.encryption_key = of_victim.encryption_key;
    TreeDiff encryption(tree_);
    ASSERT_TRUE(encryption.add(Leaf::from(thief), kDefaultLimits).has_value());
    EXPECT_EQ(encryption.check_unique_keys().error().code, ErrorCode::kKeyReuse);
    // Who takes the place of the first holder may have them.
    TreeDiff again(tree_);
    again.remove(victim);
    ASSERT_EQ(again.add(Leaf::from(of_victim), kDefaultLimits).value(), victim);
    EXPECT_TRUE(again.check_unique_keys().has_value());
  }
  EXPECT_EQ(large_, 1u);
}

TEST_F(UniqueKeys, AfterCommitsOfAllSizes) {
  {
    TreeDiff first(tree_);
    add(first, 300);
    apply(first, 8);
  }
  for (size_t round = 0; round < 24 && !HasFatalFailure(); ++round) {
    TreeDiff diff(tree_);
    const size_t removed = random_() % 3 == 0 ? 250 : random_() % 40;
    for (size_t i = 0; i < removed && diff.member_count() > 20; ++i) {
      // Often from the right, so that the tree shrinks; it grows again in the same commit or a later one.
      diff.remove(round % 2 == 0 ? diff.last_leaf() : member(diff, random_()));
    }
    add(diff, random_() % 3 == 0 ? 330 : random_() % 40);
    for (size_t i = 0; i < random_() % 300; ++i) {
      diff.update(member(diff, random_()), new_leaf());
    }
    for (size_t i = 0; i < random_() % 4; ++i) {
      put_path(diff, member(diff, random_()));
    }
    apply(diff, 1 + random_() % 100);
  }
  EXPECT_GE(large_, 8u);
}

}  // namespace
}  // namespace slipway::mls
