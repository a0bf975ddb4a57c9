#include "base/mail.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <thread>
#include <vector>

#include "base/counters.h"
#include "base/messages.h"

namespace slipway {
namespace {

std::vector<std::byte> pattern(std::size_t bytes, std::uint32_t seed) {
  std::vector<std::byte> out(bytes);
  for (std::size_t i = 0; i < bytes; ++i) {
    out[i] = static_cast<std::byte>(seed * 31 + i * 7);
  }
  return out;
}

TEST(MailRing, KeepsRecordsOfEverySizeInOrderAcrossItsEnd) {
  MailRing ring(4 * kMaxMailBytes);
  std::uint32_t next_in = 0;
  std::uint32_t next_out = 0;
  for (int round = 0; round < 2000; ++round) {
    const auto bytes = pattern((next_in * 977) % kMaxMailBytes, next_in);
    const std::size_t cut = bytes.size() / 3;
    while (ring.push(static_cast<std::uint16_t>(next_in % 50), std::span(bytes).first(cut), std::span(bytes).subspan(cut))) {
      ++next_in;
      break;
    }
    if (round % 2 == 1 || ring.free_bytes() < 2 * kMaxMailBytes) {
      const auto record = ring.peek();
      ASSERT_TRUE(record.has_value());
      const auto expected = pattern((next_out * 977) % kMaxMailBytes, next_out);
      ASSERT_EQ(record->type, next_out % 50);
      ASSERT_TRUE(std::ranges::equal(record->bytes, expected));
      ring.pop();
      ++next_out;
    }
  }
  EXPECT_GT(next_out, 900u);
}

TEST(MailRing, RefusesWhenFullAndWritesNothing) {
  MailRing ring(4 * kMaxMailBytes);
  const auto bytes = pattern(1000, 1);
  std::size_t pushed = 0;
  while (ring.push(1, bytes)) {
    ++pushed;
  }
  EXPECT_EQ(pushed, 4 * kMaxMailBytes / 1008);
  for (std::size_t i = 0; i < pushed; ++i) {
    ASSERT_TRUE(ring.peek().has_value());
    ring.pop();
  }
  EXPECT_FALSE(ring.peek().has_value());
  EXPECT_TRUE(ring.empty());
}

TEST(MailRing, TwoThreadsSeeEveryRecordOnceAndInOrder) {
  MailRing ring(4 * kMaxMailBytes);
  constexpr std::uint32_t kRecords = 200'000;
  std::thread writer([&ring] {
    for (std::uint32_t i = 0; i < kRecords;) {
      const auto bytes = pattern(i % 120, i);
      if (ring.push(7, std::as_bytes(std::span(&i, 1)), bytes)) {
        ++i;
      } else {
        std::this_thread::yield();
      }
    }
  });
  for (std::uint32_t i = 0; i < kRecords;) {
    const auto record = ring.peek();
    if (!record) {
      std::this_thread::yield();
      continue;
    }
    std::uint32_t number = 0;
    ASSERT_EQ(record->bytes.size(), sizeof number + i % 120);
    std::memcpy(&number, record->bytes.data(), sizeof number);
    ASSERT_EQ(number, i);
    const auto expected = pattern(i % 120, i);
    ASSERT_TRUE(std::ranges::equal(record->bytes.subspan(sizeof number), expected));
    ring.pop();
    ++i;
  }
  writer.join();
}

TEST(DropReasons, NamesAreStableFormAndEveryTextSaysSomething) {
  std::vector<std::string_view> seen;
  for (const auto& text : kDropReasonTexts) {
    EXPECT_FALSE(text.what.empty());
    EXPECT_TRUE(text.advice.ends_with('.')) << text.name;
    EXPECT_EQ(text.name.find_first_not_of("abcdefghijklmnopqrstuvwxyz0123456789_"), std::string_view::npos) << text.name;
    EXPECT_EQ(std::find(seen.begin(), seen.end(), text.name), seen.end()) << text.name;
    seen.push_back(text.name);
  }
}

TEST(Messages, AreCopiedAsTheyLie) {
  static_assert(std::is_trivially_copyable_v<LinkRecord>);
  static_assert(std::is_trivially_copyable_v<Traced> && std::is_trivially_copyable_v<NoRoute> && std::is_trivially_copyable_v<Hello>);
  EXPECT_EQ(link_index_of(make_link_id(77, 5)), 77u);
}

}  // namespace
}  // namespace slipway
