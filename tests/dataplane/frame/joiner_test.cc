#include "frame/joiner.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <map>
#include <random>
#include <vector>

namespace slipway {
namespace {

Shim piece(std::uint32_t offset, std::uint32_t bytes, std::uint32_t total, std::uint16_t number = 1, std::uint8_t worker = 0) {
  return {.link_id = 1,
          .sending_worker = worker,
          .fragment_offset = offset,
          .total_bytes = total,
          .flags = offset + bytes == total ? shim_flag::kLast : std::uint8_t{0},
          .frame_number = number};
}

TEST(Joiner, JoinsInOrder) {
  Joiner joiner;
  auto result = joiner.add(1, piece(0, 1000, 2500), 1000, 0);
  EXPECT_EQ(result.outcome, JoinOutcome::kHeld);
  EXPECT_EQ(result.position, 0u);
  result = joiner.add(1, piece(1000, 1000, 2500), 1000, 1);
  EXPECT_EQ(result.outcome, JoinOutcome::kHeld);
  EXPECT_EQ(result.position, 1u);
  EXPECT_EQ(joiner.bytes(), 2000u);
  result = joiner.add(1, piece(2000, 500, 2500), 500, 2);
  EXPECT_EQ(result.outcome, JoinOutcome::kWhole);
  EXPECT_EQ(result.position, 2u);
  EXPECT_EQ(result.pieces, 3u);
  EXPECT_EQ(joiner.bytes(), 0u);
  EXPECT_EQ(joiner.frames(), 0u);
}

TEST(Joiner, TellsLinksWorkersAndNumbersApart) {
  Joiner joiner;
  EXPECT_EQ(joiner.add(1, piece(0, 600, 1200), 600, 0).outcome, JoinOutcome::kHeld);
  EXPECT_EQ(joiner.add(2, piece(600, 600, 1200), 600, 0).outcome, JoinOutcome::kHeld);
  EXPECT_EQ(joiner.add(1, piece(600, 600, 1200, 1, 1), 600, 0).outcome, JoinOutcome::kHeld);
  EXPECT_EQ(joiner.add(1, piece(600, 600, 1200, 2), 600, 0).outcome, JoinOutcome::kHeld);
  EXPECT_EQ(joiner.frames(), 4u);
  EXPECT_EQ(joiner.add(1, piece(600, 600, 1200), 600, 0).outcome, JoinOutcome::kWhole);
}

TEST(Joiner, RefusesASecondCopyOfAPieceAndStillJoins) {
  Joiner joiner;
  EXPECT_EQ(joiner.add(1, piece(0, 600, 1200), 600, 0).outcome, JoinOutcome::kHeld);
  const auto twice = joiner.add(1, piece(0, 600, 1200), 600, 0);
  EXPECT_EQ(twice.outcome, JoinOutcome::kRefused);
  EXPECT_EQ(twice.fault, JoinFault::kDuplicate);
  EXPECT_EQ(joiner.add(1, piece(600, 600, 1200), 600, 0).outcome, JoinOutcome::kWhole);
}

TEST(Joiner, OverlapPoisonsTheFrameUntilItsDeadline) {
  Joiner joiner;
  EXPECT_EQ(joiner.add(1, piece(0, 600, 2000), 600, 10).outcome, JoinOutcome::kHeld);
  const auto overlap = joiner.add(1, piece(599, 600, 2000), 600, 11);
  EXPECT_EQ(overlap.outcome, JoinOutcome::kPoisoned);
  EXPECT_EQ(overlap.fault, JoinFault::kConflict);
  EXPECT_EQ(joiner.bytes(), 0u);
  EXPECT_EQ(joiner.add(1, piece(600, 1400, 2000), 1400, 12).fault, JoinFault::kConflict);
  Joiner::Gone gone;
  EXPECT_FALSE(joiner.expire_one(109, gone));
  ASSERT_TRUE(joiner.expire_one(110, gone));
  EXPECT_EQ(gone.bytes, 0u);
  EXPECT_EQ(joiner.add(1, piece(600, 1400, 2000), 1400, 111).outcome, JoinOutcome::kHeld);
}

TEST(Joiner, DisagreementOnTheLengthPoisons) {
  Joiner joiner;
  EXPECT_EQ(joiner.add(1, piece(0, 600, 2000), 600, 0).outcome, JoinOutcome::kHeld);
  EXPECT_EQ(joiner.add(1, piece(600, 600, 2001), 600, 0).outcome, JoinOutcome::kPoisoned);
}

TEST(Joiner, RefusesSmallPiecesAndLargeFrames) {
  Joiner joiner;
  EXPECT_EQ(joiner.add(1, piece(0, kMinPieceBytes - 1, 2000), kMinPieceBytes - 1, 0).fault, JoinFault::kSmallPiece);
  EXPECT_EQ(joiner.add(1, piece(1990, 10, 2000), 10, 0).outcome, JoinOutcome::kHeld) << "the last piece may be small";
  EXPECT_EQ(joiner.add(1, piece(0, 1000, kMaxDatagramFrameBytes + 1), 1000, 0).fault, JoinFault::kTooBig);
}

TEST(Joiner, TheSmallestPiecesMakeTheLargestFrame) {
  Joiner joiner;
  for (std::uint32_t i = 0; i + 1 < kMaxPieces; ++i) {
    ASSERT_EQ(joiner.add(1, piece(i * 512, 512, kMaxDatagramFrameBytes), 512, 0).outcome, JoinOutcome::kHeld) << i;
  }
  EXPECT_EQ(joiner.add(1, piece(65536 - 512, 512, kMaxDatagramFrameBytes), 512, 0).outcome, JoinOutcome::kWhole);
}

TEST(Joiner, IsBoundedInFramesLinksAndBytes) {
  Joiner joiner({.frames = 8, .frames_per_link = 3, .bytes = 20'000});
  for (std::uint16_t i = 0; i < 3; ++i) {
    EXPECT_EQ(joiner.add(1, piece(0, 600, 2000, i), 600, 0).outcome, JoinOutcome::kHeld);
  }
  EXPECT_EQ(joiner.add(1, piece(0, 600, 2000, 9), 600, 0).fault, JoinFault::kLimit);
  for (std::uint16_t i = 0; i < 5; ++i) {
    EXPECT_EQ(joiner.add(2u + i, piece(0, 600, 2000, i), 600, 0).outcome, JoinOutcome::kHeld);
  }
  EXPECT_EQ(joiner.add(20, piece(0, 600, 2000), 600, 0).fault, JoinFault::kLimit) << "8 frames are being joined";
  EXPECT_EQ(joiner.add(2, piece(600, 15'500, 20'000, 0), 15'500, 0).outcome, JoinOutcome::kPoisoned) << "another length";
  EXPECT_EQ(joiner.add(3, piece(600, 15'900, 20'000, 0), 15'900, 0).fault, JoinFault::kLimit) << "20000 bytes";
}

TEST(Joiner, ForgetsALink) {
  Joiner joiner;
  (void)joiner.add(1, piece(0, 600, 2000, 1), 600, 0);
  (void)joiner.add(2, piece(0, 600, 2000, 1), 600, 0);
  (void)joiner.add(1, piece(0, 700, 2000, 2), 700, 0);
  Joiner::Gone gone;
  std::size_t bytes = 0;
  while (joiner.forget_one(1, gone)) {
    EXPECT_EQ(gone.link, 1u);
    bytes += gone.bytes;
  }
  EXPECT_EQ(bytes, 1300u);
  EXPECT_EQ(joiner.frames(), 1u);
  EXPECT_EQ(joiner.bytes(), 600u);
}

// Random frames cut at random, shuffled, doubled, lost and forged, against a model that keeps the bytes themselves.
class Model {
 public:
  explicit Model(std::uint64_t seed) : random_(seed), joiner_({.frames = 64, .frames_per_link = 16, .bytes = 2u << 20}) {}

  void run() {
    for (now_ms_ = 0; now_ms_ < 1500; now_ms_ += random_() % 3) {
      while (frames_.size() < 24) {
        make_frame();
      }
      send_one();
      expire();
      check();
      if (::testing::Test::HasFatalFailure()) {
        return;
      }
    }
    EXPECT_GT(whole_, 50u);
  }

 private:
  struct Cut {
    std::uint32_t offset;
    std::uint32_t bytes;
  };
  struct Frame {
    std::uint32_t link;
    Shim base;
    std::vector<std::uint8_t> bytes;
    std::vector<Cut> cuts;
  };

  void make_frame() {
    Frame frame;
    frame.link = 1 + random_() % 6;
    frame.base = {.sending_worker = static_cast<std::uint8_t>(random_() % 2), .frame_number = next_number_++};
    frame.bytes.resize(kMinPieceBytes + 1 + random_() % 9000);
    std::ranges::generate(frame.bytes, [this] { return static_cast<std::uint8_t>(random_()); });
    for (std::uint32_t at = 0; at < frame.bytes.size();) {
      const auto left = static_cast<std::uint32_t>(frame.bytes.size()) - at;
      const std::uint32_t bytes = std::min<std::uint32_t>(left, kMinPieceBytes + random_() % 1500);
      frame.cuts.push_back({at, bytes});
      at += bytes;
    }
    if (random_() % 4 != 0) {
      std::ranges::shuffle(frame.cuts, random_);
    }
    if (random_() % 5 == 0) {
      frame.cuts.push_back(frame.cuts[random_() % frame.cuts.size()]);
    }
    if (random_() % 10 == 0) {
      frame.cuts.pop_back();  // lost
    }
    if (random_() % 10 == 0 && frame.cuts.size() > 1) {
      frame.cuts[0].offset += frame.cuts[0].offset + frame.cuts[0].bytes < frame.bytes.size() ? 1 : 0;  // forged
    }
    frames_.push_back(std::move(frame));
  }

  void send_one() {
    const std::size_t which = random_() % frames_.size();
    Frame& frame = frames_[which];
    if (frame.cuts.empty()) {
      frames_.erase(frames_.begin() + static_cast<std::ptrdiff_t>(which));
      return;
    }
    const Cut cut = frame.cuts.front();
    frame.cuts.erase(frame.cuts.begin());
    Shim shim = frame.base;
    shim.fragment_offset = cut.offset;
    shim.total_bytes = static_cast<std::uint32_t>(frame.bytes.size());
    shim.flags = cut.offset + cut.bytes == frame.bytes.size() ? shim_flag::kLast : std::uint8_t{0};
    const auto result = joiner_.add(frame.link, shim, cut.bytes, now_ms_);
    const auto from = frame.bytes.begin() + cut.offset;
    take(result, frame, {from, from + cut.bytes});
  }

  void take(const JoinResult& result, const Frame& frame, std::vector<std::uint8_t> bytes) {
    auto& pieces = held_[result.slot];
    switch (result.outcome) {
      case JoinOutcome::kRefused:
        ASSERT_NE(result.fault, JoinFault::kNone);
        return;
      case JoinOutcome::kPoisoned:
        ASSERT_EQ(pieces.size(), result.pieces);
        pieces.clear();
        return;
      case JoinOutcome::kHeld:
      case JoinOutcome::kWhole:
        ASSERT_LE(result.position, pieces.size());
        pieces.insert(pieces.begin() + result.position, std::move(bytes));
        ASSERT_EQ(pieces.size(), result.pieces);
        break;
    }
    if (result.outcome == JoinOutcome::kWhole) {
      std::vector<std::uint8_t> joined;
      for (const auto& part : pieces) {
        joined.insert(joined.end(), part.begin(), part.end());
      }
      ASSERT_EQ(joined, frame.bytes);
      pieces.clear();
      ++whole_;
    }
  }

  void expire() {
    Joiner::Gone gone;
    while (joiner_.expire_one(now_ms_, gone)) {
      std::size_t bytes = 0;
      for (const auto& part : held_[gone.slot]) {
        bytes += part.size();
      }
      ASSERT_EQ(bytes, gone.bytes);
      held_[gone.slot].clear();
    }
  }

  void check() {
    std::size_t bytes = 0;
    for (const auto& [slot, pieces] : held_) {
      for (const auto& part : pieces) {
        bytes += part.size();
      }
    }
    ASSERT_EQ(bytes, joiner_.bytes());
    ASSERT_LE(joiner_.frames(), joiner_.limits().frames);
  }

  std::mt19937_64 random_;
  Joiner joiner_;
  std::uint64_t now_ms_ = 0;
  std::uint16_t next_number_ = 0;
  std::size_t whole_ = 0;
  std::vector<Frame> frames_;
  std::map<std::uint32_t, std::vector<std::vector<std::uint8_t>>> held_;
};

TEST(Joiner, AgreesWithAModelThatKeepsTheBytes) {
  const char* given = std::getenv("SLIPWAY_SEED");
  const std::uint64_t first = given != nullptr ? std::strtoull(given, nullptr, 10) : 1;
  for (std::uint64_t seed = first; seed < first + (given != nullptr ? 1 : 60); ++seed) {
    SCOPED_TRACE("SLIPWAY_SEED=" + std::to_string(seed));
    Model(seed).run();
    ASSERT_FALSE(HasFailure());
  }
}

}  // namespace
}  // namespace slipway
