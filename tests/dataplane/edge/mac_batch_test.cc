// MACs computed together are those computed alone, whatever their number, their links and their past.

#include "edge/mac_batch.h"

#include <gtest/gtest.h>

#include <list>
#include <random>
#include <string>

#include "edge/encoded_cache.h"
#include "golden.h"
#include "pieces_of.h"

namespace slipway {
namespace {

using Mac = std::array<std::byte, kHeaderMacBytes>;

// A golden publish whose TTL and identity vary with `number`; identities of up to `most` bytes follow the message.
struct Varied {
  Varied(std::uint32_t number, std::size_t identity_bytes) : bytes(golden::kPublish) {
    const CutMessage before = whole(bytes);
    EXPECT_EQ(parse_message(before.pieces(), &message), EdgeFault::kNone);
    message.identity = {static_cast<std::uint32_t>(bytes.size()), static_cast<std::uint32_t>(identity_bytes)};
    for (std::size_t i = 0; i < identity_bytes; ++i) {
      bytes.push_back(static_cast<std::byte>(number + i));
    }
    message.ttl = number;
  }
  [[nodiscard]] Mac alone(const HeaderMac& mac) const {
    const Piece piece(bytes);
    Mac result;
    mac.compute(message, Pieces({&piece, 1}), result);
    return result;
  }
  Bytes bytes;
  UpstreamMessage message;
};

struct Added {
  Varied header;
  const HeaderMac* mac;
  Mac result{};
};

void add(MacBatch& batch, Added& added, MacHabit& habit) {
  const Piece piece(added.header.bytes);
  batch.add(*added.mac, added.header.message, Pieces({&piece, 1}), added.result.data(), habit);
}

TEST(MacBatch, AnyNumberGivesWhatEachGivesAlone) {
  const HeaderMac links[] = {golden::header_mac(), HeaderMac(golden::link_key(), "b"), HeaderMac(LinkKey{}, std::string(109, 'c')),
                             HeaderMac(golden::link_key(), std::string(110, 'd')), HeaderMac(golden::link_key(), std::string(1000, 'e'))};
  MacBatch batch(nullptr);
  std::array<MacHabit, 2> habits;
  std::mt19937 random(1);
  for (std::size_t jobs = 1; jobs <= MacBatch::kJobs; ++jobs) {
    for (int round = 0; round < 20; ++round) {
      std::list<Added> all;
      for (std::size_t i = 0; i < jobs; ++i) {
        ASSERT_FALSE(batch.full());
        all.push_back({.header = Varied(random(), random() % 1500), .mac = &links[random() % std::size(links)]});
        add(batch, all.back(), habits[random() % 2]);
      }
      batch.run();
      for (const Added& added : all) {
        EXPECT_EQ(added.result, added.header.alone(*added.mac));
      }
    }
  }
}

TEST(MacBatch, WhatIsRememberedIsRight) {
  const HeaderMac mac = golden::header_mac();
  const HeaderMac other(golden::link_key(), "other");
  MacMemo memo;
  MacBatch batch(&memo);
  MacHabit habit;
  std::mt19937 random(2);
  for (int round = 0; round < 500; ++round) {
    std::list<Added> all;
    while (!batch.full() && all.size() < 1 + random() % 40) {
      // Few headers, so that they come again in this batch and in later ones; now and then new ones.
      const std::uint32_t number = random() % 8 == 0 ? random() : random() % 5;
      all.push_back({.header = Varied(number, 200), .mac = random() % 2 == 0 ? &mac : &other});
      add(batch, all.back(), habit);
    }
    batch.run();
    for (const Added& added : all) {
      EXPECT_EQ(added.result, added.header.alone(*added.mac));
    }
  }
}

// Names of many lengths that come again, alone or in turn, and others that differ from them in one byte.
TEST(MacBatch, NamesThatWereHashedBeforeGiveTheSame) {
  const HeaderMac links[] = {golden::header_mac(), HeaderMac(golden::link_key(), "b"), HeaderMac(LinkKey{}, std::string(109, 'c'))};
  MacBatch batch(nullptr);
  std::array<MacHabit, 3> habits;
  std::mt19937 random(3);
  for (int round = 0; round < 400; ++round) {
    std::list<Added> all;
    while (!batch.full() && all.size() < 1 + random() % 40) {
      all.push_back({.header = Varied(random(), random() % 300), .mac = &links[random() % std::size(links)]});
      UpstreamMessage& message = all.back().header.message;
      const std::uint32_t stream = random() % 8;
      message.source.text[0].size = stream;  // what is covered need not be a name that routes
      message.source.name.component[0] = random() % 4 == 0 ? random() : stream;
      message.destination.text_present = stream % 3 != 0;
      message.destination.id_present = stream % 2 != 0;
      if (stream == 7) {
        message.source.text[1] = {0, static_cast<std::uint32_t>(std::min<std::size_t>(all.back().header.bytes.size(), 350))};
      }
      add(batch, all.back(), habits[random() % habits.size()]);
    }
    batch.run();
    for (const Added& added : all) {
      EXPECT_EQ(added.result, added.header.alone(*added.mac));
    }
  }
}

TEST(MacBatch, TheMemoIsSeldomAskedWhereNothingRepeats) {
  MacHabit habit;
  for (int i = 0; i < 64; ++i) {
    EXPECT_TRUE(habit.asks());
    habit.told(false);
  }
  int asked = 0;
  for (int i = 0; i < 640; ++i) {
    asked += habit.asks() ? 1 : 0;
  }
  EXPECT_EQ(asked, 10);
  habit.told(true);
  EXPECT_TRUE(habit.asks());
}

TEST(MacBatch, CoveredBytesThatWereKeptGiveTheSame) {
  const HeaderMac links[] = {golden::header_mac(), HeaderMac(golden::link_key(), "b"), HeaderMac(golden::link_key(), std::string(1000, 'e'))};
  const Varied header(3, 100);
  const Piece piece(header.bytes);
  std::array<std::byte, kMacHeaderBytes> covered;
  const std::size_t size = HeaderMac::covered(header.message, Pieces({&piece, 1}), covered);
  ASSERT_NE(size, 0u);
  MacBatch batch(nullptr);
  MacHabit habit;
  std::array<Mac, std::size(links)> results;
  for (std::size_t i = 0; i < std::size(links); ++i) {
    batch.add(links[i], {covered.data(), size}, results[i].data(), habit);
  }
  batch.run();
  for (std::size_t i = 0; i < std::size(links); ++i) {
    EXPECT_EQ(results[i], header.alone(links[i]));
  }
}

TEST(EncodedCache, FindsWhatWasKeptUntilItsPlaceIsTaken) {
  EncodedCache cache;
  EncodedCache another;
  EXPECT_EQ(cache.find(0), nullptr);
  EncodedMessage& first = cache.make();
  const std::uint64_t serial = first.serial;
  EXPECT_EQ(cache.find(serial), &first);
  EXPECT_EQ(another.find(serial), nullptr);
  EXPECT_NE(another.make().serial, serial);
  for (std::size_t i = 1; i < kEncodedEntries; ++i) {
    EXPECT_NE(cache.make().serial, serial);
  }
  EXPECT_EQ(cache.find(serial), &first);
  EXPECT_NE(cache.make().serial, serial);
  EXPECT_EQ(cache.find(serial), nullptr);
}

}  // namespace
}  // namespace slipway
