// Buffers of payloads: used again, never while somebody holds them, on whatever thread they are released.
#include "app/payload_buffers.h"

#include <gtest/gtest.h>

#include <deque>
#include <thread>
#include <vector>

#include "app/app_bounds.h"

namespace slipway {
namespace {

Bytes pattern(std::size_t size, unsigned seed) {
  Bytes bytes(size);
  for (std::size_t i = 0; i < size; ++i) {
    bytes[i] = static_cast<std::byte>(seed + i * 7);
  }
  return bytes;
}

TEST(PayloadBuffers, EqualWhatTheyWereCopiedFromWhateverTheSize) {
  for (unsigned round = 0; round < 3; ++round) {
    for (const std::size_t size : {std::size_t{0}, std::size_t{1}, kMinSpareBytes - 1, kMinSpareBytes, std::size_t{1'500}, kMaxSpareBytes,
                                   kMaxSpareBytes + 1, std::size_t{700}, std::size_t{100'000}}) {
      const Bytes wanted = pattern(size, round);
      const SharedBytes copy = copy_payload(wanted);
      EXPECT_EQ(*copy, wanted);
    }
  }
}

TEST(PayloadBuffers, AreUsedAgainOnceNobodyHoldsThem) {
  SharedBytes first = copy_payload(pattern(1'024, 1));
  const std::byte* const where = first->data();
  SharedBytes held = first;
  first.reset();
  const SharedBytes second = copy_payload(pattern(1'024, 2));
  EXPECT_NE(second->data(), where);
  EXPECT_EQ(*held, pattern(1'024, 1));
  held.reset();
  const SharedBytes third = copy_payload(pattern(1'000, 3));
  EXPECT_EQ(third->data(), where);
  EXPECT_EQ(*third, pattern(1'000, 3));
}

TEST(PayloadBuffers, OnePayloadThatIsKeptHoldsLittleMoreThanItself) {
  copy_payload(pattern(kMaxSpareBytes, 1)).reset();
  EXPECT_LE(copy_payload(pattern(64, 2))->capacity(), kMinSpareBytes);
  EXPECT_LE(copy_payload(pattern(kMinSpareBytes, 3))->capacity(), kMaxSpareBytes);
}

TEST(PayloadBuffers, MoreThanAreKeptComeAndGo) {
  for (unsigned round = 0; round < 4; ++round) {
    std::vector<SharedBytes> all;
    for (unsigned i = 0; i < 3 * kSpareBuffers; ++i) {
      all.push_back(copy_payload(pattern(1'024, i)));
    }
    for (unsigned i = 0; i < all.size(); ++i) {
      ASSERT_EQ(*all[i], pattern(1'024, i));
    }
  }
}

TEST(PayloadBuffers, MayBeReleasedOnAnotherThreadAndOutliveTheirs) {
  std::vector<SharedBytes> made;
  std::thread([&] {
    for (unsigned i = 0; i < 2 * kSpareBuffers; ++i) {
      made.push_back(copy_payload(pattern(900, i)));
    }
  }).join();
  std::vector<std::thread> readers;
  for (unsigned reader = 0; reader < 4; ++reader) {
    readers.emplace_back([made, reader]() mutable {
      for (unsigned i = 0; i < made.size(); ++i) {
        EXPECT_EQ(*made[i], pattern(900, i));
        made[i].reset();
        EXPECT_EQ(*copy_payload(pattern(800, reader)), pattern(800, reader));
      }
    });
  }
  made.clear();
  for (std::thread& reader : readers) {
    reader.join();
  }
}

TEST(PayloadBuffers, MayBeReleasedWhenTheThreadsOwnVariablesGo) {
  std::thread([] {
    thread_local std::deque<SharedBytes> kept;  // made before the buffers, so it goes after them
    kept.clear();
    for (unsigned i = 0; i < 10; ++i) {
      kept.push_back(copy_payload(pattern(1'024, i)));
    }
  }).join();
}

}  // namespace
}  // namespace slipway
