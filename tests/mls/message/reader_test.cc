#include "message/reader.h"

#include <gtest/gtest.h>

#include "message/codec.h"

namespace slipway::mls {
namespace {

ErrorCode length_error(Bytes input) {
  Reader reader(input);
  reader.read_length();
  return reader.status() ? ErrorCode{255} : reader.status().error().code;
}

TEST(Reader, RefusesPrefix11) {
  for (int first = 0xc0; first <= 0xff; ++first) {
    Bytes input(40, 0);
    input[0] = static_cast<uint8_t>(first);
    EXPECT_EQ(length_error(input), ErrorCode::kMalformed);
  }
}

TEST(Reader, RefusesHeadersLongerThanNeeded) {
  Bytes room(20'000);
  auto with_header = [&room](Bytes header) {
    append(header, room);
    return header;
  };
  EXPECT_EQ(length_error(with_header({0x40, 0x00})), ErrorCode::kMalformed);
  EXPECT_EQ(length_error(with_header({0x40, 0x3f})), ErrorCode::kMalformed);
  EXPECT_EQ(length_error(with_header({0x80, 0x00, 0x00, 0x00})), ErrorCode::kMalformed);
  EXPECT_EQ(length_error(with_header({0x80, 0x00, 0x3f, 0xff})), ErrorCode::kMalformed);
  EXPECT_EQ(length_error(with_header({0x40, 0x40})), ErrorCode{255});
  EXPECT_EQ(length_error(with_header({0x80, 0x00, 0x40, 0x00})), ErrorCode{255});
}

TEST(Reader, RefusesHeadersCutShort) {
  EXPECT_EQ(length_error({}), ErrorCode::kMalformed);
  EXPECT_EQ(length_error({0x40}), ErrorCode::kMalformed);
  EXPECT_EQ(length_error({0x80}), ErrorCode::kMalformed);
  EXPECT_EQ(length_error({0x80, 0x01}), ErrorCode::kMalformed);
  EXPECT_EQ(length_error({0x80, 0x01, 0x00}), ErrorCode::kMalformed);
}

TEST(Reader, RefusesVectorsLongerThanTheirParent) {
  EXPECT_EQ(length_error({0x01}), ErrorCode::kMalformed);
  EXPECT_EQ(length_error({0xbf, 0xff, 0xff, 0xff, 0x00}), ErrorCode::kMalformed);
  // The inner vector says three bytes; its parent ends after two, the input does not.
  Bytes input = {0x03, 0x03, 0xaa, 0xbb, 0xcc, 0xdd};
  Reader reader(input);
  std::vector<Bytes> list;
  reader(list);
  EXPECT_FALSE(reader.ok());
  EXPECT_TRUE(list.empty());
}

TEST(Reader, RefusesListsCutInsideAnEntry) {
  EXPECT_FALSE(decode<std::vector<uint16_t>>(Bytes{0x03, 0, 1, 0}));
  EXPECT_EQ(decode<std::vector<uint16_t>>(Bytes{0x04, 0, 1, 0, 2}).value(),
            (std::vector<uint16_t>{1, 2}));
}

TEST(Reader, BoundsListsBeforeTheyAllocate) {
  Bytes input = {0x06, 0, 1, 0, 2, 0, 3};
  auto read = [&input](size_t limit) {
    Reader reader(input);
    std::vector<uint16_t> list;
    reader.bounded(list, limit);
    EXPECT_LE(list.capacity(), limit);
    return reader.finish();
  };
  EXPECT_TRUE(read(3));
  EXPECT_EQ(read(2).error().code, ErrorCode::kTooMany);
  Reader reader(input);
  Bytes bytes;
  reader.bounded(bytes, 5);
  EXPECT_EQ(reader.status().error().code, ErrorCode::kTooLarge);
  EXPECT_TRUE(bytes.empty());
}

TEST(Reader, RefusesOptionalsOtherThan0And1) {
  EXPECT_FALSE(decode<std::optional<uint8_t>>(Bytes{0}).value().has_value());
  EXPECT_EQ(decode<std::optional<uint8_t>>(Bytes{1, 9}).value(), 9);
  for (int flag = 2; flag < 256; ++flag) {
    EXPECT_EQ(decode<std::optional<uint8_t>>(Bytes{static_cast<uint8_t>(flag), 9}).error().code,
              ErrorCode::kMalformed);
  }
}

TEST(Reader, KeepsTheFirstErrorAndReadsNothingAfterIt) {
  Bytes input = {0xff, 1, 2, 3, 4};
  Reader reader(input);
  Bytes bytes;
  uint32_t number = 7;
  reader(bytes, number);
  EXPECT_EQ(number, 0u);
  reader.fail(ErrorCode::kTooMany, "later");
  EXPECT_EQ(reader.finish().error().code, ErrorCode::kMalformed);
}

TEST(Reader, RefusesWhatIsLeftBehind) {
  EXPECT_EQ(decode<uint16_t>(Bytes{1, 2, 3}).error().code, ErrorCode::kMalformed);
}

TEST(Writer, ChoosesTheShortestHeader) {
  for (size_t size : {0, 1, 63, 64, 16'383, 16'384, 100'000}) {
    Bytes content(size, 0x33);
    Bytes direct = encode(content);
    EXPECT_EQ(direct.size(), vector_size(size));
    EXPECT_EQ(decode<Bytes>(direct).value(), content);
    // A list of bytes in one-byte entries takes the way of lengths known afterwards.
    Bytes later;
    Writer writer(later);
    size_t at = writer.begin_vector();
    writer.write_bytes(content);
    writer.end_vector(at);
    EXPECT_EQ(later, direct) << size;
  }
}

TEST(ListView, CountsAndChecksWhileItIsWalked) {
  Bytes encoded = {0, 1, 0, 2, 0, 3};
  size_t seen = 0;
  auto count = [&seen](uint16_t&&) {
    ++seen;
    return Status();
  };
  EXPECT_TRUE(ListView<uint16_t>(encoded, 3).for_each(count));
  EXPECT_EQ(seen, 3u);
  EXPECT_EQ(ListView<uint16_t>(encoded, 2).for_each(count).error().code, ErrorCode::kTooMany);
  EXPECT_EQ(ListView<uint16_t>(View(encoded).first(5)).for_each(count).error().code,
            ErrorCode::kMalformed);
  auto stop = [](uint16_t&&) -> Status { return fail(ErrorCode::kInvalidTree, "enough"); };
  EXPECT_EQ(ListView<uint16_t>(encoded).for_each(stop).error().code, ErrorCode::kInvalidTree);
}

}  // namespace
}  // namespace slipway::mls
