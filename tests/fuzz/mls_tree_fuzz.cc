// Ratchet trees from anywhere: decoded, hashed, validated, and changed by every operation that a proposal can
// bring, on a diff whose hashes must then be those of the tree that it becomes.
#include "require.h"
#include "tree/tree_validator.h"

using namespace slipway::mls;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const Suite& suite = *find_suite(CipherSuite{1});
  Limits limits;
  limits.tree_leaves = 64;
  auto tree = RatchetTree::decode(suite, {data, size}, limits);
  if (!tree) {
    return 0;
  }
  size_t hashes = SIZE_MAX;
  FUZZ_REQUIRE(tree->hash_some(hashes));
  const Bytes encoded = tree->encode();
  FUZZ_REQUIRE(equal(encoded, View(data, size)));
  TreeValidator validator(*tree, as_view("group"), nullptr);
  Budget budget = Budget::unlimited();
  const bool valid = validator.step(budget).has_value();
  TreeDiff diff(*tree);
  const LeafPtr last = diff.leaf(tree->last_leaf());
  (void)diff.add(last, limits);
  for (LeafIndex i = 0; i < tree->width() && valid; ++i) {
    if (diff.leaf(i) != nullptr && diff.member_count() > 1) {
      i % 2 == 0 ? diff.remove(i) : diff.update(i, diff.leaf(i));
    }
  }
  diff.hash_all();
  (void)diff.check_unique_keys();
  const Bytes changed = diff.encode();
  const Bytes root = to_bytes(diff.root_hash());
  tree->apply(std::move(diff));
  FUZZ_REQUIRE(tree->encode() == changed);
  FUZZ_REQUIRE(equal(tree->root_hash(), root));
  return 0;
}
