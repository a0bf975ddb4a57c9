// Names hash as upstream's do (its vectors), and text is parsed with errors that name the wrong part.
#include "frame/name.h"

#include <gtest/gtest.h>

#include <string>
#include <utility>

#include "bounds.h"

namespace slipway {
namespace {

TEST(NameHash, UpstreamVectors) {
  const std::pair<const char*, std::uint64_t> vectors[] = {
      {"", 0x95634172a60b7544},        {"a", 0x3ff5008a504a5280},      {"org", 0x873e580376ea963b},
      {"ns", 0xeef9769a4c6990d1},      {"default", 0x219303c7c93f9668}, {"agntcy", 0x169ca82eb17d6bc2},
      {"app", 0x86cb542776a5f6d5},     {"svc", 0xe8301a273f713c0e},    {"alice", 0x7b90bc8fa5b6b182},
      {"bob", 0x49ae1b437ae573c4},     {"Org", 0x83070743fdac18b4},    {"h\xc3\xa9llo", 0xb60158b35c4c2fd7},
      {"a-rather-long-component-name-over-32-bytes", 0xee1f1853f85a78ea},
  };
  for (const auto& [text, hash] : vectors) {
    EXPECT_EQ(hash_component(text), hash) << text;
  }
  EXPECT_NE(hash_component("org"), 0xc38126cd35e92b15u) << "the terminator byte is missing";
}

TEST(NameHash, LongComponentsHashAlikeOnBothPaths) {
  // 255 bytes are hashed from the stack, 256 from the heap: no two lengths may collide or crash.
  std::string text;
  std::uint64_t last = 0;
  for (std::size_t n = 250; n < 262; ++n) {
    text.assign(n, 'x');
    EXPECT_NE(hash_component(text), last);
    last = hash_component(text);
  }
}

TEST(NameHash, GoldenTraceName) {
  const Name bob = hash_name("org", "ns", "bob", {0, 0xb0b});
  EXPECT_EQ(bob.component, (std::array<std::uint64_t, 3>{0x873e580376ea963b, 0xeef9769a4c6990d1, 0x49ae1b437ae573c4}));
  EXPECT_EQ(bob.id, (NameId{0, 0xb0b}));
}

TEST(NameId, OfIdentityAsUpstream) {
  const std::pair<const char*, NameId> vectors[] = {
      {"org/ns/bob_xMhl1zmw", {0xe2f7aadd5b304c75, 0xcf02acb42a384b7f}},
      {"org/ns/bob_AbCdEfGh", {0xc17af1d80fe8f870, 0xab58ab8b688e5326}},
      {"alice_AbCdEfGh", {0x4feb6b4d9718cfe2, 0xe3653992a5903b24}},
      {"spiffe://domain.test/ns/default/sa/my-app", {0x977d7db04458fd4b, 0x52e0751aaa2e0471}},
      {"org/ns/moderator_AbCdEfGh/org/ns/room/data", {0x657d4bd987655df5, 0x41e9cc62c2c10085}},
      {"org/ns/moderator_AbCdEfGh/org/ns/room/control", {0xce3c587ec5113fb8, 0x684b35f1b6639cbc}},
  };
  for (const auto& [identity, id] : vectors) {
    EXPECT_EQ(id_of_identity(identity), id) << identity;
  }
  EXPECT_TRUE(kNullId.is_null());
  EXPECT_FALSE((NameId{0, 0}).is_null());
  EXPECT_FALSE((NameId{~std::uint64_t{0}, 0}).is_null());
}

TEST(NameText, RoundTrips) {
  for (const char* text : {"org/ns/bob", "org/ns/bob/00000000-0000-0000-0000-000000000b0b", "a/b/c/ffffffff-ffff-ffff-ffff-fffffffffffe"}) {
    const auto name = parse_name(text);
    ASSERT_TRUE(name.has_value()) << name.error();
    EXPECT_EQ(name->text(), text);
    EXPECT_EQ(name->hashed(), hash_name(name->component[0], name->component[1], name->component[2], name->id));
  }
  EXPECT_EQ(parse_name("  org / ns\t/ bob \n")->text(), "org/ns/bob");
  EXPECT_EQ(parse_name("o/n/s/0xB0b")->id, (NameId{0, 0xb0b}));
  EXPECT_EQ(parse_name("o/n/s/0x00112233445566778899aabbccddeeff")->id, (NameId{0x0011223344556677, 0x8899aabbccddeeff}));
  EXPECT_TRUE(parse_name("o/n/s/NULL_COMPONENT")->id.is_null());
  EXPECT_EQ(parse_name("o/n/s/ffffffff-ffff-ffff-ffff-ffffffffffff")->text(), "o/n/s");
}

TEST(NameText, ErrorsNameThePart) {
  const std::pair<std::string, const char*> bad[] = {
      {"", "no namespace"},            {"   ", "no namespace"},       {"org", "no namespace"},
      {"org/ns", "no service"},        {"/ns/s", "empty organization"}, {"org//s", "empty namespace"},
      {"org/ns/", "empty service"},    {"org/ns/  /0x1", "empty service"}, {"a/b/c/0x1/e", "more than four parts"},
      {"a/b/c/", "has the id ''"},     {"a/b/c/0x", "has the id '0x'"}, {"a/b/c/0x" + std::string(33, '1'), "neither a UUID"},
      {"a/b/c/12", "neither a UUID"},  {"a/b/c/0000000000000-0000-0000-000000000b0b", "neither a UUID"},
      {"a/b/c/0000000g-0000-0000-0000-000000000b0b", "neither a UUID"},
      {"a/" + std::string(kMaxComponentBytes + 1, 'x') + "/c", "the namespace of a name has 1025 bytes"},
  };
  for (const auto& [text, what] : bad) {
    const auto name = parse_name(text);
    ASSERT_FALSE(name.has_value()) << text;
    EXPECT_NE(name.error().find(what), std::string::npos) << text << " gave: " << name.error();
  }
  EXPECT_TRUE(parse_name("a/" + std::string(kMaxComponentBytes, 'x') + "/c").has_value());
}

TEST(NameText, HashedTextWhereNoTextIsKnown) {
  EXPECT_EQ(hashed_text({{1, 2, 3}, kNullId}), "#0000000000000001/#0000000000000002/#0000000000000003");
  EXPECT_EQ(hashed_text({{1, 2, 3}, {0, 7}}),
            "#0000000000000001/#0000000000000002/#0000000000000003/00000000-0000-0000-0000-000000000007");
}

}  // namespace
}  // namespace slipway
