// Trees of the vectors with one byte changed: whatever it is, somebody notices before a join.
#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>
#include <random>

#include "tree/tree_validator.h"

namespace slipway::mls {
namespace {

Bytes from_hex(const std::string& text) {
  Bytes bytes;
  for (size_t i = 0; i + 1 < text.size(); i += 2) {
    bytes.push_back(static_cast<uint8_t>(std::stoi(text.substr(i, 2), nullptr, 16)));
  }
  return bytes;
}

bool accepted(const Suite& suite, View encoded, View group_id) {
  auto tree = RatchetTree::decode(suite, encoded, kDefaultLimits);
  if (!tree) {
    return false;
  }
  size_t hashes = SIZE_MAX;
  tree->hash_some(hashes);
  TreeValidator validator(*tree, group_id, nullptr);
  Budget budget = Budget::unlimited();
  return validator.step(budget).has_value();
}

TEST(SpoiledTree, EveryByteMatters) {
  std::ifstream file(SLIPWAY_MLS_VECTORS "/tree-validation.json");
  const auto entries = nlohmann::json::parse(file);
  std::mt19937 random(1);
  size_t tried = 0;
  for (const auto& entry : entries) {
    const Suite* suite = find_suite(entry["cipher_suite"].get<uint16_t>());
    const Bytes good = from_hex(entry["tree"]);
    const Bytes group_id = from_hex(entry["group_id"]);
    ASSERT_TRUE(accepted(*suite, good, group_id));
    for (int i = 0; i < 30; ++i, ++tried) {
      Bytes spoiled = good;
      const size_t at = random() % spoiled.size();
      spoiled[at] ^= static_cast<uint8_t>(1u << random() % 8);
      EXPECT_FALSE(accepted(*suite, spoiled, group_id)) << "byte " << at;
    }
    EXPECT_FALSE(accepted(*suite, View(good).first(good.size() - 1), group_id));
  }
  EXPECT_GE(tried, 1000u);
}

}  // namespace
}  // namespace slipway::mls
