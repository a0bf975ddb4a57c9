// Text of names: kept, shared, freed and used again, against a map.
#include "routing/name_text.h"

#include <gtest/gtest.h>

#include <map>
#include <random>
#include <string>

namespace slipway {
namespace {

TEST(NameTexts, KeepsAndForgets) {
  NameTexts texts(1 << 20, 7);
  EXPECT_EQ(texts.add({}), 0u);
  EXPECT_EQ(texts.get(0), NameText{});
  const std::string longest(kMaxComponentBytes, 'x');
  const std::string too_long(kMaxComponentBytes + 1, 'x');
  EXPECT_EQ(texts.add({"a", too_long, "c"}), 0u);
  const auto big = texts.add({longest, longest, longest});
  ASSERT_NE(big, 0u);
  EXPECT_EQ(texts.get(big), (NameText{longest, longest, longest}));
  texts.remove(big);
  // An odd one: parts that run together differently are different texts.
  const auto one = texts.add({"ab", "c", "d"});
  const auto two = texts.add({"a", "bc", "d"});
  EXPECT_EQ(texts.get(one), (NameText{"ab", "c", "d"}));
  EXPECT_EQ(texts.get(two), (NameText{"a", "bc", "d"}));
}

TEST(NameTexts, AFullArenaRefuses) {
  NameTexts texts(256, 7);
  std::uint32_t added = 0;
  while (texts.add({"organization", "namespace", "service-" + std::to_string(added)}) != 0) {
    ASSERT_LT(++added, 100u);
  }
  EXPECT_GE(added, 5u);
}

TEST(NameTexts, RandomAgainstAMap) {
  for (std::uint64_t seed = 1; seed <= 5; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    std::mt19937_64 random(seed);
    NameTexts texts(4 << 20, seed);
    std::map<std::uint32_t, std::array<std::string, 3>> model;
    for (int i = 0; i < 50'000; ++i) {
      if (random() % 100 < 55) {
        const std::array<std::string, 3> parts = {"o" + std::to_string(random() % 5), std::string(random() % 20, 'n'),
                                                  std::string(random() % 60, 's') + std::to_string(i)};
        const auto reference = texts.add({parts[0], parts[1], parts[2]});
        ASSERT_NE(reference, 0u);
        ASSERT_TRUE(model.emplace(reference, parts).second);
      } else if (!model.empty()) {
        auto it = model.lower_bound(static_cast<std::uint32_t>(random() % (model.rbegin()->first + 1)));
        texts.remove(it->first);
        model.erase(it);
      }
    }
    for (const auto& [reference, parts] : model) {
      ASSERT_EQ(texts.get(reference), (NameText{parts[0], parts[1], parts[2]}));
    }
  }
}

}  // namespace
}  // namespace slipway
