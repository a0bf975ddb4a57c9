// A worker that translates takes nothing from the heap: messages both ways, in one piece and in many, with MACs computed and
// remembered, and messages that are refused.

#include <gtest/gtest.h>

#include "allocation_count.h"
#include "golden.h"
#include "pieces_of.h"

namespace slipway {
namespace {

// One message there and back; nothing here but the translation may allocate.
bool there_and_back(const Pieces& bytes, const HeaderMac& mac, MacMemo* memo, Room& in, Room& out) {
  const auto frame = frame_of_message(bytes, {.mac = &mac, .memo = memo}, in.room());
  if (!frame) {
    return false;
  }
  // As a worker holds it: the header, and behind it the rest of the first piece and the others.
  std::array<Piece, 64> body;
  if (frame->piece_count > body.size()) {
    return false;
  }
  std::copy_n(in.pieces.begin(), frame->piece_count, body.begin());
  body[0] = body[0].subspan(kFrameHeaderBytes);
  const Pieces pieces{std::span<const Piece>(body).first(frame->piece_count)};
  const auto message = message_of_frame(in.scratch.data(), pieces, {.mac = &mac, .incoming_conn = 5, .memo = memo}, out.room());
  return message.has_value();
}

TEST(EdgeSteady, TranslatingTakesNothingFromTheHeap) {
  if (!test::kCountsAllocations) {
    GTEST_SKIP() << "a sanitizer owns malloc";
  }
  const HeaderMac mac = golden::header_mac();
  MacMemo memo;
  Bytes wrong = golden::kPublish;
  wrong[60] ^= std::byte{1};
  const CutMessage good[] = {whole(golden::kPublish), bytewise(golden::kPublish), whole(golden::kSubscribe), whole(golden::kAck)};
  const CutMessage bad[] = {whole(wrong), whole(golden::kNegotiationRequest), whole(Bytes(20, std::byte{0xFF}))};
  Room in(golden::kPublish.size());
  Room out(64);

  test::forget_allocations();
  test::count_allocations(true);
  bool as_expected = true;
  for (int round = 0; round < 200; ++round) {
    for (const CutMessage& cut : good) {
      as_expected = there_and_back(cut.pieces(), mac, round % 2 == 0 ? &memo : nullptr, in, out) && as_expected;
    }
    for (const CutMessage& cut : bad) {
      as_expected = !there_and_back(cut.pieces(), mac, &memo, in, out) && as_expected;
    }
  }
  test::count_allocations(false);
  EXPECT_TRUE(as_expected);
  EXPECT_EQ(test::allocations_counted().all, 0u);
}

}  // namespace
}  // namespace slipway
