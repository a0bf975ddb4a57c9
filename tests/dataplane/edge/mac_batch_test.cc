// MACs computed together are those computed alone, whatever their number, their links and their past.

#include "edge/mac_batch.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <list>
#include <random>
#include <string>
#include <vector>

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

// As a node does with messages of streams whose names it knows by number: the covered bytes lie somewhere and are hashed there.
TEST(MacBatch, HashedInPlaceAndByTheNumberOfTheirNamesGivesTheSame) {
  const HeaderMac links[] = {golden::header_mac(), HeaderMac(golden::link_key(), "b"), HeaderMac(LinkKey{}, std::string(109, 'c'))};
  MacMemo memo;
  MacBatch batch(&memo);
  std::array<MacHabit, 4> habits;
  std::mt19937 random(4);
  struct Place {
    std::array<std::byte, kMacPrefixBytes + kMacHeaderBytes + MacBatch::kPadBytes> bytes;
  };
  for (int round = 0; round < 600; ++round) {
    std::list<Added> all;
    std::list<Place> places;
    while (!batch.full() && all.size() < 1 + random() % 40) {
      // Identities that begin with the same bytes, so that names and identity of one message may be the names of another.
      all.push_back({.header = Varied(random() % 3, random() % 300), .mac = &links[random() % std::size(links)]});
      Varied& header = all.back().header;
      const std::uint32_t stream = random() % 6;
      header.message.source.name.component[0] = stream;
      header.message.source.text[0].size = stream % 4;
      header.message.destination.id_present = stream % 2 != 0;
      const Piece piece(header.bytes);
      std::byte* const covered = places.emplace_back().bytes.data() + kMacPrefixBytes;
      const std::size_t size = HeaderMac::covered(header.message, Pieces({&piece, 1}), std::span<std::byte, kMacHeaderBytes>(covered, kMacHeaderBytes));
      batch.add_in_place(*all.back().mac, covered, size, all.back().result.data(), habits[random() % habits.size()], random() % 4 == 0 ? 0 : 1 + stream,
                         random() % 2 == 0);
    }
    batch.run();
    for (const Added& added : all) {
      EXPECT_EQ(added.result, added.header.alone(*added.mac));
    }
  }
}

TEST(EncodedCache, FindsWhatWasKeptUntilItsPlaceIsTaken) {
  EncodedCache cache;
  EncodedCache another;
  EXPECT_EQ(cache.find(0), nullptr);
  EncodedMessage& first = cache.make(400);
  EXPECT_EQ(cache.find(first.serial), nullptr) << "not kept yet";
  cache.keep(first, 450);
  const std::uint64_t serial = first.serial;
  EXPECT_EQ(cache.find(serial), &first);
  EXPECT_EQ(another.find(serial), nullptr);
  EncodedMessage& theirs = another.make(0);
  another.keep(theirs, 0);
  EXPECT_NE(theirs.serial, serial);
  for (std::size_t i = 1; i < kEncodedEntries; ++i) {
    EncodedMessage& entry = cache.make(400);
    cache.keep(entry, 450);
    EXPECT_NE(entry.serial, serial);
  }
  EXPECT_EQ(cache.find(serial), &first) << "so many small ones fit";
  std::size_t more = 0;
  for (; cache.find(serial) != nullptr && more < 10'000; ++more) {
    cache.keep(cache.make(400), 450);
  }
  EXPECT_LT(more, 4 * kEncodedEntries);
}

// Whatever sizes come, what is found has not been written over.
TEST(EncodedCache, WhatIsFoundIsWhole) {
  EncodedCache cache;
  struct Kept {
    std::uint64_t serial;
    std::size_t front_bytes;
    std::size_t covered_bytes;
    std::byte fill;
  };
  std::vector<Kept> all;
  std::mt19937 random(5);
  std::size_t found = 0;
  for (int i = 0; i < 5'000; ++i) {
    const bool large = random() % 8 == 0;
    const Kept kept{0, random() % (large ? kMbufDataBytes + 1 : 500), random() % (large ? kMacHeaderBytes + 1 : 500), static_cast<std::byte>(random())};
    EncodedMessage& entry = cache.make(kept.front_bytes);
    std::fill_n(entry.front, kept.front_bytes, kept.fill);
    std::fill_n(entry.covered - kMacPrefixBytes, kMacPrefixBytes + kept.covered_bytes + MacBatch::kPadBytes, kept.fill);
    if (random() % 10 == 0) {
      continue;  // it could not be used
    }
    cache.keep(entry, kept.covered_bytes);
    all.push_back(kept);
    all.back().serial = entry.serial;
    for (std::size_t back = 1; back <= 400 && back <= all.size(); back += 1 + random() % 40) {
      const Kept& old = all[all.size() - back];
      const EncodedMessage* const at = cache.find(old.serial);
      if (at == nullptr) {
        continue;
      }
      ++found;
      ASSERT_EQ(at->front_bytes, old.front_bytes);
      ASSERT_EQ(at->covered_bytes, old.covered_bytes);
      ASSERT_TRUE(std::all_of(at->front, at->front + old.front_bytes, [&](std::byte b) { return b == old.fill; }));
      ASSERT_TRUE(std::all_of(at->covered, at->covered + old.covered_bytes, [&](std::byte b) { return b == old.fill; }));
    }
  }
  EXPECT_GT(found, 5'000u);
}

}  // namespace
}  // namespace slipway
