// Frame and shim: bytes as committed in tests/vectors/frame/golden.txt, round trips both ways, bad headers.
#include "frame/frame.h"

#include <gtest/gtest.h>

#include <fstream>
#include <map>
#include <memory>
#include <random>
#include <sstream>
#include <string>
#include <vector>

#include "frame/shim.h"

namespace slipway {
namespace {

struct Golden {
  std::string kind;
  std::map<std::string, std::uint64_t> field;
  std::vector<std::byte> bytes;
};

std::vector<Golden> load_golden() {
  std::ifstream file(FRAME_VECTORS "/golden.txt");
  EXPECT_TRUE(file.is_open()) << FRAME_VECTORS;
  std::vector<Golden> all;
  for (std::string line; std::getline(file, line);) {
    if (line.empty() || line[0] == '#') {
      continue;
    }
    Golden golden;
    std::istringstream words(line);
    words >> golden.kind;
    for (std::string word; words >> word;) {
      const auto equals = word.find('=');
      const std::string key = word.substr(0, equals);
      const std::string value = word.substr(equals + 1);
      if (key != "bytes") {
        golden.field[key] = std::stoull(value, nullptr, 16);
        continue;
      }
      for (std::size_t i = 0; i < value.size(); i += 2) {
        golden.bytes.push_back(static_cast<std::byte>(std::stoul(value.substr(i, 2), nullptr, 16)));
      }
    }
    all.push_back(std::move(golden));
  }
  return all;
}

FrameHeader header_of(Golden& g) {
  auto& f = g.field;
  const auto name = [&f](const std::string& which) {
    return Name{{f[which + "0"], f[which + "1"], f[which + "2"]}, {.high = f[which + "3"], .low = f[which + "4"]}};
  };
  return {.version = static_cast<std::uint8_t>(f["version"]),
          .kind = static_cast<FrameKind>(f["kind"]),
          .hop_limit = static_cast<std::uint8_t>(f["hop"]),
          .session_type = static_cast<std::uint8_t>(f["stype"]),
          .fanout = static_cast<std::uint32_t>(f["fanout"]),
          .session_id = static_cast<std::uint32_t>(f["session"]),
          .message_id = static_cast<std::uint32_t>(f["message"]),
          .destination = name("dst"),
          .source = name("src"),
          .session_message_type = static_cast<std::uint8_t>(f["mtype"]),
          .flags = static_cast<std::uint16_t>(f["flags"])};
}

Shim shim_of(Golden& g) {
  auto& f = g.field;
  return {.link_id = static_cast<std::uint32_t>(f["link"]),
          .sending_worker = static_cast<std::uint8_t>(f["worker"]),
          .counter = f["counter"],
          .fragment_offset = static_cast<std::uint32_t>(f["offset"]),
          .total_bytes = static_cast<std::uint32_t>(f["total"]),
          .flags = static_cast<std::uint8_t>(f["flags"]),
          .frame_number = static_cast<std::uint16_t>(f["number"])};
}

TEST(Golden, BytesAndFieldsBothWays) {
  std::map<std::string, int> seen;
  for (auto& golden : load_golden()) {
    ++seen[golden.kind];
    std::vector<std::byte> written(golden.bytes.size(), std::byte{0xEE});
    if (golden.kind == "frame") {
      ASSERT_EQ(golden.bytes.size(), kFrameHeaderBytes);
      store_header(written.data(), header_of(golden));
      EXPECT_EQ(load_header(golden.bytes.data()), header_of(golden));
    } else {
      ASSERT_EQ(golden.bytes.size(), kShimBytes);
      store_shim(written.data(), shim_of(golden));
      EXPECT_EQ(load_shim(golden.bytes.data()), shim_of(golden));
    }
    EXPECT_EQ(written, golden.bytes);
  }
  EXPECT_GE(seen["frame"], 8);
  EXPECT_GE(seen["shim"], 4);
}

std::vector<std::byte> valid_frame(std::size_t size = kFrameHeaderBytes) {
  std::vector<std::byte> frame(size);
  store_header(frame.data(), FrameHeader{});
  return frame;
}

TEST(Frame, RoundTripsOfRandomHeaders) {
  std::mt19937_64 random(7);
  for (int i = 0; i < 20'000; ++i) {
    // On an exact-size heap block and unaligned, so that a sanitizer sees a byte too many.
    const std::size_t shift = random() % 8;
    const auto block = std::make_unique<std::byte[]>(shift + kFrameHeaderBytes);
    std::byte* at = block.get() + shift;
    FrameHeader header;
    header.kind = static_cast<FrameKind>(1 + random() % 5);
    header.hop_limit = static_cast<std::uint8_t>(random());
    header.session_type = static_cast<std::uint8_t>(random());
    header.fanout = static_cast<std::uint32_t>(random());
    header.session_id = static_cast<std::uint32_t>(random());
    header.message_id = static_cast<std::uint32_t>(random());
    header.destination = {{random(), random(), random()}, {random(), random()}};
    header.source = {{random(), random(), random()}, {random(), random()}};
    header.session_message_type = static_cast<std::uint8_t>(random());
    header.flags = static_cast<std::uint16_t>(random() % 8 | (random() % 3) * frame_flag::kErrorFalse);
    header.flags &= frame_flag::kKnown;
    store_header(at, header);
    const bool both = (header.flags & frame_flag::kErrorFalse) != 0 && (header.flags & frame_flag::kErrorTrue) != 0;
    ASSERT_EQ(check_frame({at, kFrameHeaderBytes}), both ? FrameFault::kFlags : FrameFault::kNone);
    ASSERT_EQ(load_header(at), header);
    ASSERT_EQ(load_name(at + frame_offset::kDestination), header.destination);
    ASSERT_EQ(load_name(at + frame_offset::kSource), header.source);
    ASSERT_EQ(frame_hop_limit(at), header.hop_limit);
    ASSERT_EQ(frame_fanout(at), header.fanout);
    ASSERT_EQ(frame_session_id(at), header.session_id);
    set_frame_hop_limit(at, 3);
    ASSERT_EQ(load_header(at).hop_limit, 3);
  }
}

TEST(Frame, BadHeadersAreNamed) {
  EXPECT_EQ(check_frame({}), FrameFault::kTooShort);
  auto frame = valid_frame();
  EXPECT_EQ(check_frame(frame), FrameFault::kNone);
  EXPECT_EQ(check_frame({frame.data(), kFrameHeaderBytes - 1}), FrameFault::kTooShort);
  for (int version : {0, 2, 255}) {
    frame = valid_frame();
    frame[0] = static_cast<std::byte>(version);
    EXPECT_EQ(check_frame(frame), FrameFault::kVersion);
  }
  for (int kind : {0, 6, 255}) {
    frame = valid_frame();
    frame[1] = static_cast<std::byte>(kind);
    EXPECT_EQ(check_frame(frame), FrameFault::kKind);
  }
  for (int bit = 7; bit < 16; ++bit) {
    frame = valid_frame();
    store_le(frame.data() + frame_offset::kFlags, static_cast<std::uint16_t>(1u << bit));
    EXPECT_EQ(check_frame(frame), FrameFault::kFlags);
  }
  frame = valid_frame();
  store_le(frame.data() + frame_offset::kFlags, static_cast<std::uint16_t>(frame_flag::kErrorFalse | frame_flag::kErrorTrue));
  EXPECT_EQ(check_frame(frame), FrameFault::kFlags);
  for (const std::size_t spare : {97, 100, 101, 102, 103}) {
    frame = valid_frame();
    frame[spare] = std::byte{1};
    EXPECT_EQ(check_frame(frame), FrameFault::kSpare) << spare;
  }
  EXPECT_FALSE(frame_fault_text(FrameFault::kSpare).empty());
}

TEST(Frame, FlowHashFollowsSourceDestinationAndSessionOnly) {
  auto frame = valid_frame();
  const auto hash = flow_hash(frame.data());
  for (const std::size_t at : {frame_offset::kHopLimit, frame_offset::kMessageId, frame_offset::kSessionMessageType}) {
    frame[at] ^= std::byte{0xFF};
    EXPECT_EQ(flow_hash(frame.data()), hash);
  }
  for (const std::size_t at : {frame_offset::kSessionId, frame_offset::kDestination + 16, frame_offset::kDestination + 24,
                               frame_offset::kSource + 16, frame_offset::kSource + 24}) {
    frame = valid_frame();
    frame[at] ^= std::byte{0x5A};
    EXPECT_NE(flow_hash(frame.data()), hash) << at;
  }
}

std::vector<std::byte> datagram(const Shim& shim, std::size_t piece) {
  std::vector<std::byte> bytes(kShimBytes + piece);
  store_shim(bytes.data(), shim);
  return bytes;
}

TEST(Shim, WholeFramesAndPieces) {
  const Shim whole{.link_id = 9, .total_bytes = 200};
  EXPECT_EQ(check_shim(datagram(whole, 200)), ShimFault::kNone);
  EXPECT_TRUE(whole.whole(200));
  EXPECT_FALSE(whole.whole(199));
  EXPECT_EQ(check_shim(datagram({.fragment_offset = 0, .total_bytes = 300, .flags = 0}, 104)), ShimFault::kNone);
  EXPECT_EQ(check_shim(datagram({.fragment_offset = 104, .total_bytes = 300, .flags = 0}, 100)), ShimFault::kNone);
  EXPECT_EQ(check_shim(datagram({.fragment_offset = 204, .total_bytes = 300, .flags = shim_flag::kLast}, 96)), ShimFault::kNone);
}

TEST(Shim, BadOnesAreNamed) {
  const Shim good{.total_bytes = 104};
  EXPECT_EQ(check_shim({}), ShimFault::kTooShort);
  EXPECT_EQ(check_shim(datagram(good, 0)), ShimFault::kTooShort);
  EXPECT_EQ(check_shim(datagram({.total_bytes = 104, .flags = 4 | shim_flag::kLast}, 104)), ShimFault::kFlags);
  EXPECT_EQ(check_shim(datagram({.total_bytes = 103}, 103)), ShimFault::kLength) << "no room for a header";
  EXPECT_EQ(check_shim(datagram(good, 105)), ShimFault::kLength) << "more than the frame";
  EXPECT_EQ(check_shim(datagram({.total_bytes = 200}, 104)), ShimFault::kLength) << "last, but not at the end";
  EXPECT_EQ(check_shim(datagram({.total_bytes = 104, .flags = 0}, 104)), ShimFault::kLength) << "at the end, but not last";
  EXPECT_EQ(check_shim(datagram({.total_bytes = 300, .flags = 0}, 103)), ShimFault::kLength) << "a first piece without the header";
  EXPECT_EQ(check_shim(datagram({.fragment_offset = 0xFFFFFFFF, .total_bytes = 300}, 104)), ShimFault::kLength);
  for (std::size_t i = 22; i < kShimBytes; ++i) {
    auto bytes = datagram(good, 104);
    bytes[i] = std::byte{1};
    EXPECT_EQ(check_shim(bytes), ShimFault::kTag) << i;
  }
}

TEST(Shim, RoundTripsOfRandomShims) {
  std::mt19937_64 random(11);
  for (int i = 0; i < 20'000; ++i) {
    const Shim shim{.link_id = static_cast<std::uint32_t>(random()),
                    .sending_worker = static_cast<std::uint8_t>(random()),
                    .counter = random() >> 8,
                    .fragment_offset = static_cast<std::uint32_t>(random()),
                    .total_bytes = static_cast<std::uint32_t>(random() & 0xFFFFFF),
                    .flags = static_cast<std::uint8_t>(random()),
                    .frame_number = static_cast<std::uint16_t>(random())};
    const auto block = std::make_unique<std::byte[]>(kShimBytes);
    store_shim(block.get(), shim);
    ASSERT_EQ(load_shim(block.get()), shim);
  }
}

}  // namespace
}  // namespace slipway
