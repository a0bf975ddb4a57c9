// The messages against bytes written by hand from the .proto's field numbers.

#include "channel_manager/manager_messages.h"

#include <gtest/gtest.h>

#include <initializer_list>

#include "channel_manager/channel_manager_bounds.h"

namespace slipway::test {
namespace {

std::span<const std::byte> bytes(std::string_view text) { return std::as_bytes(std::span(text)); }

std::string field(int number, std::string_view text) {
  return std::string{static_cast<char>(number << 3 | 2), static_cast<char>(text.size())} + std::string(text);
}
std::string field(int number, int value) { return {static_cast<char>(number << 3), static_cast<char>(value)}; }

TEST(ManagerMessages, CreateChannelHasAllFields) {
  const auto full = decode_create_channel(bytes(field(5, "proof") + field(1, "org/ns/room") + field(2, 1) + field(3, "org/ns/me") + field(4, 60) + field(9, "new")));
  ASSERT_TRUE(full) << full.error();
  EXPECT_EQ(full->channel_name, "org/ns/room");
  EXPECT_TRUE(full->mls_enabled);
  EXPECT_EQ(full->owner_callback_name, "org/ns/me");
  EXPECT_EQ(full->ttl_seconds, 60u);
  EXPECT_EQ(full->owner_proof, "proof");
  const auto old = decode_create_channel(bytes(field(1, "org/ns/room")));
  ASSERT_TRUE(old);
  EXPECT_FALSE(old->mls_enabled || old->owner_callback_name || old->ttl_seconds || old->owner_proof);
  // Present and empty is not absent.
  EXPECT_EQ(decode_create_channel(bytes(field(5, "")))->owner_proof, "");
}

TEST(ManagerMessages, OtherRequests) {
  const auto deletion = decode_delete_channel(bytes(field(1, "c") + field(2, "p")));
  ASSERT_TRUE(deletion);
  EXPECT_EQ(deletion->channel_name + "," + *deletion->owner_proof, "c,p");
  const auto change = decode_participant_request(bytes(field(1, "c") + field(2, "p") + field(3, "g")));
  ASSERT_TRUE(change);
  EXPECT_EQ(change->channel_name + "," + change->participant_name + "," + *change->grant, "c,p,g");
  EXPECT_FALSE(decode_participant_request(bytes(field(1, "c")))->grant);
  EXPECT_EQ(decode_list_participants(bytes(field(1, "c")))->channel_name, "c");
  EXPECT_TRUE(decode_list_channels({}));
}

TEST(ManagerMessages, WhatIsNoMessageIsRefusedWithWords) {
  const std::string cut = field(1, "org/ns/room").substr(0, 5);
  EXPECT_FALSE(decode_create_channel(bytes(cut)));
  EXPECT_FALSE(decode_delete_channel(bytes(cut)));
  EXPECT_FALSE(decode_participant_request(bytes(cut)));
  EXPECT_FALSE(decode_list_participants(bytes(cut)));
  EXPECT_FALSE(decode_list_channels(bytes(cut)));
  EXPECT_EQ(decode_create_channel(bytes(field(1, 3))).error(), "the channel's name has the wrong form");
  EXPECT_EQ(decode_create_channel(bytes(field(4, "x"))).error(), "`ttl_seconds` has the wrong form");
  EXPECT_EQ(decode_create_channel(bytes(field(1, "\xff"))).error(), "the channel's name is not UTF-8");
  std::string large{"\x0a\xd0\x0f", 3};  // 2,000 bytes
  EXPECT_NE(decode_create_channel(bytes(large + std::string(2'000, 'a'))).error().find("at most"), std::string::npos);
}

TEST(ManagerMessages, CommandResponses) {
  EXPECT_EQ(encode_command_response(std::nullopt), field(2, 1));
  EXPECT_EQ(encode_command_response("no"), field(3, "no"));
}

TEST(ManagerMessages, ListsHaveBothForms) {
  const ChannelInfo rows[] = {{"a/b/c", "did:key:z1", 70}, {"a/b/d", std::nullopt, std::nullopt}};
  EXPECT_EQ(encode_channels(rows), field(1, 1) + field(3, "a/b/c") + field(3, "a/b/d") + field(4, field(1, "a/b/c") + field(2, "did:key:z1") + field(3, 70)) +
                                       field(4, field(1, "a/b/d")));
  EXPECT_EQ(encode_channels({}), field(1, 1));
  EXPECT_EQ(encode_channels_error("no"), field(2, "no"));
  EXPECT_EQ(encode_participants(std::vector<std::string>{"x", "y"}), field(1, 1) + field(3, "x") + field(3, "y"));
  EXPECT_EQ(encode_participants(std::unexpected("none")), field(2, "none"));
}

TEST(ManagerMessages, Approval) {
  EXPECT_EQ(encode_approval_request({"c", "p", ParticipantAction::kDelete, "me"}), field(1, "c") + field(2, "p") + field(3, 2) + field(4, "me"));
  EXPECT_EQ(encode_approval_request({"c", "p", ParticipantAction::kAdd, std::nullopt}), field(1, "c") + field(2, "p") + field(3, 1));
  EXPECT_EQ(std::get<ApprovalGranted>(*decode_approval_response(bytes(field(1, "grant")))).grant, "grant");
  EXPECT_EQ(std::get<ApprovalDenied>(*decode_approval_response(bytes(field(2, "no")))).reason, "no");
  EXPECT_EQ(std::get<ApprovalDenied>(*decode_approval_response(bytes(field(1, "grant") + field(2, "no")))).reason, "no") << "of a choice the last holds";
  EXPECT_EQ(decode_approval_response({}).error(), "response carries no decision");
}

}  // namespace
}  // namespace slipway::test
