// Header MACs: the golden ones, what they cover, and who must carry one (upstream-node 4.5).

#include "edge/mac.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <functional>

#include "golden.h"
#include "pieces_of.h"

namespace slipway {
namespace {

struct Parsed {
  explicit Parsed(const Bytes& bytes) : cut(whole(bytes)), pieces(cut.pieces()) {
    EXPECT_EQ(parse_message(pieces, &message), EdgeFault::kNone);
  }
  CutMessage cut;
  Pieces pieces;
  UpstreamMessage message;
};

TEST(HeaderMac, GoldenMessagesVerify) {
  const HeaderMac mac = golden::header_mac();
  for (const Bytes& bytes : {golden::kSubscribe, golden::kUnsubscribe, golden::kPublish, golden::kDelivered}) {
    const Parsed parsed(bytes);
    EXPECT_EQ(check_mac(parsed.message, parsed.pieces, {.mac = &mac}), EdgeFault::kNone);
    const CutMessage cut = bytewise(bytes);
    UpstreamMessage message;
    const Pieces pieces = cut.pieces();
    ASSERT_EQ(parse_message(pieces, &message), EdgeFault::kNone);
    EXPECT_EQ(check_mac(message, pieces, {.mac = &mac}), EdgeFault::kNone);
  }
}

TEST(HeaderMac, AnotherKeyOrLinkIsAnotherMac) {
  const Parsed parsed(golden::kPublish);
  const HeaderMac other_link(golden::link_key(), "another");
  EXPECT_EQ(check_mac(parsed.message, parsed.pieces, {.mac = &other_link}), EdgeFault::kMacWrong);
  const HeaderMac other_key(LinkKey{}, golden::kLinkId);
  EXPECT_EQ(check_mac(parsed.message, parsed.pieces, {.mac = &other_key}), EdgeFault::kMacWrong);
}

TEST(HeaderMac, EveryCoveredFieldCounts) {
  const HeaderMac mac = golden::header_mac();
  const std::pair<const char*, std::function<void(UpstreamMessage&)>> changes[] = {
      {"source component", [](auto& m) { m.source.name.component[1] ^= 1; }},
      {"destination component", [](auto& m) { m.destination.name.component[2] ^= 1; }},
      {"source id", [](auto& m) { m.source.name.id.low ^= 1; }},
      {"destination id", [](auto& m) { m.destination.name.id.high ^= 1; }},
      {"presence of the id", [](auto& m) { m.destination.id_present = false; }},
      {"presence of the encoded name", [](auto& m) { m.source.encoded_present = false; }},
      {"presence of the source", [](auto& m) { m.source.present = false; }},
      {"presence of the text", [](auto& m) { m.source.text_present = false; }},
      {"text", [](auto& m) { m.destination.text[0].size -= 1; }},
      {"identity", [](auto& m) { m.identity.size -= 1; }},
      {"fan-out", [](auto& m) { m.fanout = 2; }},
      {"recv_from", [](auto& m) { m.recv_from = 0; }},
      {"forward_to", [](auto& m) { m.forward_to = 0; }},
      {"error", [](auto& m) { m.error = false; }},
      {"ttl", [](auto& m) { m.ttl = 7; }},
  };
  for (const auto& [what, change] : changes) {
    Parsed parsed(golden::kPublish);
    change(parsed.message);
    EXPECT_EQ(check_mac(parsed.message, parsed.pieces, {.mac = &mac}), EdgeFault::kMacWrong) << what;
  }
}

TEST(HeaderMac, OptionalNumbersHaveTheirValueInThePreimage) {
  const HeaderMac mac = golden::header_mac();
  const Parsed parsed(golden::kPublish);
  std::array<std::byte, kHeaderMacBytes> one;
  std::array<std::byte, kHeaderMacBytes> two;
  UpstreamMessage m = parsed.message;
  for (auto* field : {&m.recv_from, &m.forward_to}) {
    *field = 1;
    mac.compute(m, parsed.pieces, one);
    *field = 2;
    mac.compute(m, parsed.pieces, two);
    EXPECT_NE(one, two);
    field->reset();
  }
  m.error = false;
  mac.compute(m, parsed.pieces, one);
  m.error = true;
  mac.compute(m, parsed.pieces, two);
  EXPECT_NE(one, two);
}

// Replaces one stretch of bytes by another of the same length.
Bytes replaced(Bytes bytes, std::string_view from_hex, std::string_view to_hex) {
  const Bytes from = golden::from_hex(from_hex);
  const Bytes to = golden::from_hex(to_hex);
  const auto at = std::ranges::search(bytes, from);
  EXPECT_FALSE(at.empty());
  EXPECT_EQ(from.size(), to.size());
  std::ranges::copy(to, at.begin());
  return bytes;
}

TEST(HeaderMac, WhatItDoesNotCover) {
  const HeaderMac mac = golden::header_mac();
  for (const Bytes& bytes : {
           replaced(golden::kPublish, "4800 5a20", "4805 5a20"),                        // incoming_conn
           replaced(golden::kPublish, "2a05 322e332e30", "2a05 332e342e36"),            // version
           replaced(golden::kSubscribe, "10 88ef99abc5e88c9111", "10 89ef99abc5e88c9111"),  // subscription_id
           replaced(golden::kPublish, "68656c6c6f", "78656c6c6f"),                      // payload
           replaced(golden::kPublish, "1208 0801 1001", "1208 0802 1002"),              // session header
       }) {
    const Parsed parsed(bytes);
    EXPECT_EQ(check_mac(parsed.message, parsed.pieces, {.mac = &mac}), EdgeFault::kNone);
  }
}

TEST(HeaderMac, AnIdentityLargerThanAnyBuffer) {
  // The same identity whole and in pieces; and the MAC changes with its last byte.
  std::string header("\x0a\x04\x0a\x02\x08\x07\x12\x04\x0a\x02\x08\x07\x1a\xf0\x2e", 15);
  header += std::string(6000, 'i');
  std::string text("\x1a\x85\x2f\x0a\xff\x2e", 6);
  text += header;
  text += std::string("\x12\x00", 2);
  ASSERT_EQ(text.size(), 6u + 6015 + 2);
  text[1] = static_cast<char>(0x80 | ((text.size() - 3) & 0x7F));
  text[2] = static_cast<char>((text.size() - 3) >> 7);
  const Bytes bytes = bytes_of(text);
  const HeaderMac mac = golden::header_mac();
  std::array<std::byte, kHeaderMacBytes> one;
  std::array<std::byte, kHeaderMacBytes> two;
  Parsed parsed(bytes);
  ASSERT_EQ(parsed.message.identity.size, 6000u);
  mac.compute(parsed.message, parsed.pieces, one);
  const CutMessage cut = bytewise(bytes);
  mac.compute(parsed.message, cut.pieces(), two);
  EXPECT_EQ(one, two);
  parsed.message.identity.size -= 1;
  mac.compute(parsed.message, parsed.pieces, two);
  EXPECT_NE(one, two);
}

TEST(MacMemo, RemembersAHeaderOfALinkAndNothingElse) {
  const HeaderMac mac = golden::header_mac();
  const HeaderMac copy = mac;
  const HeaderMac other(golden::link_key(), "another");
  MacMemo memo;
  const Parsed publish(golden::kPublish);
  const Parsed subscribe(golden::kSubscribe);
  std::array<std::byte, kHeaderMacBytes> expected;
  std::array<std::byte, kHeaderMacBytes> got;
  for (int round = 0; round < 4; ++round) {
    for (const HeaderMac* link : {&mac, &copy, &other}) {
      for (const Parsed* parsed : {&publish, &subscribe}) {
        link->compute(parsed->message, parsed->pieces, expected);
        link->compute(parsed->message, parsed->pieces, got, &memo);
        EXPECT_EQ(got, expected);
      }
    }
  }
  const std::array<std::byte, 4> header{};
  EXPECT_EQ(memo.find(77, header).mac, nullptr);  // once: not kept
  const auto second = memo.find(77, header);
  EXPECT_FALSE(second.hit);
  EXPECT_NE(second.mac, nullptr);
  EXPECT_TRUE(memo.find(77, header).hit);
  EXPECT_FALSE(memo.find(78, header).hit);
  EXPECT_FALSE(memo.find(77, std::span(header).first(3)).hit);
  const std::vector<std::byte> longest(kMacMemoHeaderBytes);
  const std::vector<std::byte> longer(kMacMemoHeaderBytes + 1);
  for (int round = 0; round < 3; ++round) {
    EXPECT_EQ(memo.find(77, longest).hit, round == 2);
    EXPECT_EQ(memo.find(77, longer).mac, nullptr);
  }
}

TEST(MacMemo, AChangedFieldIsNeverTakenForTheOneBefore) {
  const HeaderMac mac = golden::header_mac();
  MacMemo memo;
  const MacRules rules{.mac = &mac, .memo = &memo};
  Parsed parsed(golden::kPublish);
  for (int round = 0; round < 3; ++round) {
    EXPECT_EQ(check_mac(parsed.message, parsed.pieces, rules), EdgeFault::kNone);
  }
  parsed.message.ttl = 7;
  for (int round = 0; round < 3; ++round) {
    EXPECT_EQ(check_mac(parsed.message, parsed.pieces, rules), EdgeFault::kMacWrong);
  }
}

TEST(MacMemo, MoreHeadersThanItHolds) {
  const HeaderMac mac = golden::header_mac();
  MacMemo memo;
  Parsed parsed(golden::kPublish);
  std::array<std::byte, kHeaderMacBytes> expected;
  std::array<std::byte, kHeaderMacBytes> got;
  for (std::uint32_t i = 0; i < 8 * kMacMemoEntries; ++i) {
    parsed.message.fanout = i / 3 % (2 * kMacMemoEntries);
    mac.compute(parsed.message, parsed.pieces, expected);
    mac.compute(parsed.message, parsed.pieces, got, &memo);
    ASSERT_EQ(got, expected);
  }
}

// --- who must carry one ---

enum class Carried { kAbsent, kEmpty, kShort, kWrong, kRight };

struct Case {
  bool publish;
  Carried carried;
  bool key;
  bool strict;
  EdgeFault expected;
};

void apply(Carried carried, UpstreamMessage* message) {
  switch (carried) {
    case Carried::kAbsent:
      message->header_mac.reset();
      break;
    case Carried::kEmpty:
      message->header_mac->size = 0;
      break;
    case Carried::kShort:
      message->header_mac->size = 31;
      break;
    case Carried::kWrong:
      message->header_mac->at -= 1;
      break;
    case Carried::kRight:
      break;
  }
}

TEST(HeaderMac, TheTableOfUpstream) {
  using enum EdgeFault;
  using enum Carried;
  const Case cases[] = {
      {false, kAbsent, false, true, kMacMissing},   {false, kAbsent, true, true, kMacMissing},
      {false, kAbsent, false, false, kNone},        {false, kAbsent, true, false, kNone},
      {false, kEmpty, true, true, kMacMissing},     {false, kEmpty, true, false, kNone},
      {true, kAbsent, false, true, kMacMissing},    {true, kAbsent, false, false, kNone},
      {true, kEmpty, false, true, kMacMissing},     {true, kEmpty, false, false, kNone},
      {true, kRight, false, true, kMacWithoutKey},  {true, kRight, false, false, kMacWithoutKey},
      {false, kRight, false, true, kMacWithoutKey}, {false, kRight, false, false, kNone},
      {true, kAbsent, true, true, kMacMissing},     {true, kAbsent, true, false, kMacMissing},
      {true, kEmpty, true, true, kMacLength},       {true, kEmpty, true, false, kMacLength},
      {true, kShort, true, true, kMacLength},       {false, kShort, true, false, kMacLength},
      {true, kWrong, true, true, kMacWrong},        {true, kWrong, true, false, kMacWrong},
      {false, kWrong, true, true, kMacWrong},       {false, kWrong, true, false, kMacWrong},
      {true, kRight, true, true, kNone},            {true, kRight, true, false, kNone},
      {false, kRight, true, true, kNone},           {false, kRight, true, false, kNone},
  };
  const HeaderMac mac = golden::header_mac();
  for (const Case& c : cases) {
    Parsed parsed(c.publish ? golden::kPublish : golden::kSubscribe);
    apply(c.carried, &parsed.message);
    EXPECT_EQ(check_mac(parsed.message, parsed.pieces, {.mac = c.key ? &mac : nullptr, .strict = c.strict}), c.expected)
        << (c.publish ? "publish, " : "subscribe, ") << static_cast<int>(c.carried) << (c.key ? ", key" : "") << (c.strict ? ", strict" : "");
  }
}

TEST(HeaderMac, PeersAndOtherKindsOfMessagesCarryNone) {
  const HeaderMac mac = golden::header_mac();
  Parsed publish(golden::kPublish);
  publish.message.header_mac.reset();
  EXPECT_EQ(check_mac(publish.message, publish.pieces, {.mac = &mac, .checked = false}), EdgeFault::kNone);
  const Parsed ack(golden::kAck);
  EXPECT_EQ(check_mac(ack.message, ack.pieces, {.mac = &mac}), EdgeFault::kNone);
  const Parsed link(golden::kNegotiationRequest);
  EXPECT_EQ(check_mac(link.message, link.pieces, {.mac = &mac}), EdgeFault::kNone);
}

}  // namespace
}  // namespace slipway
