// The approval call between two applications on a node of a few lines: an owner that answers as upstream's slim-rpc servers do.

#include "channel_manager/app_approver.h"

#include <gtest/gtest.h>

#include "../client/fake_node.h"
#include "identity/shared_secret.h"
#include "turn_until.h"

namespace slipway::test {
namespace {

constexpr const char* kSecret = "a-shared-secret-of-at-least-32-bytes!!";

class ApproverTest : public ::testing::Test {
 protected:
  FakeNode node;
  std::unique_ptr<Loop> loop = Loop::create().value();
  std::unique_ptr<App> manager = app("manager-approval");
  std::unique_ptr<App> owner;
  std::vector<AppMessage> heard;
  std::shared_ptr<AppSession> session;
  std::optional<ApprovalOutcome> outcome;
  const ApprovalRequest request{"org/ns/room", "org/ns/bob", ParticipantAction::kAdd, "alice"};

  std::unique_ptr<App> app(const std::string& last) {
    auto made = App::create(*loop, {.name = {{"org", "ns", last}, kNullId}, .identity = shared_secret_identity({.base = "org/ns/" + last, .secret = kSecret}).value()});
    EXPECT_TRUE(made) << made.error().message();
    bool up = false;
    EXPECT_TRUE((*made)->connect({.address = node.tcp()}, [&](auto connected) { up = connected.has_value(); }));
    EXPECT_TRUE(until([&] { return up; }));
    return std::move(*made);
  }
  template <class Done>
  [[nodiscard]] bool until(Done done) { return turn_until(*loop, done); }
  // Answers the first request, behind which its end comes.
  void serve(std::string bytes, Metadata metadata) {
    owner = app("owner");
    owner->on_session([this, bytes, metadata](std::shared_ptr<AppSession> invited) {
      session = invited;
      session->on_message([this, bytes, metadata](const AppMessage& message) {
        heard.push_back(message);
        if (heard.size() == 2) {
          auto marks = metadata;
          marks["rpc-id"] = message.metadata.at("rpc-id");
          (void)session->publish_to(message, shared_bytes(bytes), {.payload_type = "msg", .metadata = marks});
          (void)session->publish_to(message, shared_bytes({}), {.payload_type = "msg", .metadata = {{"rpc-id", marks["rpc-id"]}, {"slimrpc-code", "0"}}});
        }
      });
    });
  }
  void ask(AppApprover& approver, const char* whom = "owner") {
    approver.ask({{"org", "ns", whom}, kNullId}, request, [this](ApprovalOutcome said, std::uint64_t) { outcome = std::move(said); });
    ASSERT_TRUE(until([&] { return outcome.has_value(); }));
    EXPECT_EQ(approver.asking(), 0u);
  }
};

TEST_F(ApproverTest, AsksAsSlimRpcDoesAndTakesTheGrant) {
  serve("\x0a\x05grant", {});
  AppApprover approver(*manager, 60'000);
  ask(approver);
  ASSERT_TRUE(std::holds_alternative<ApprovalDecision>(*outcome)) << std::get<ApprovalFailed>(*outcome).why;
  EXPECT_EQ(std::get<ApprovalGranted>(std::get<ApprovalDecision>(*outcome)).grant, "grant");
  ASSERT_EQ(heard.size(), 2u);
  EXPECT_EQ(text_of(heard[0].payload), encode_approval_request(request));
  EXPECT_EQ(heard[0].payload_type, "msg");
  EXPECT_EQ(heard[0].metadata.at("service"), "channel_manager.proto.v1.ChannelOwnerApproval");
  EXPECT_EQ(heard[0].metadata.at("method"), "RequestApproval");
  EXPECT_EQ(heard[0].metadata.at("slimrpc-dir"), "req");
  EXPECT_GT(std::stod(heard[0].metadata.at("slimrpc-timeout")), 1'700'000'000);
  EXPECT_FALSE(heard[0].metadata.contains("slimrpc-code"));
  EXPECT_EQ(text_of(heard[1].payload), "");
  EXPECT_EQ(heard[1].metadata.at("slimrpc-code"), "0");
  EXPECT_EQ(heard[1].metadata.at("slimrpc-dir"), "req");
  EXPECT_EQ(heard[1].metadata.at("rpc-id"), heard[0].metadata.at("rpc-id"));
  EXPECT_TRUE(session->encrypted());
  EXPECT_TRUE(until([&] { return session->closed().has_value(); })) << "the session of the call is closed";
}

TEST_F(ApproverTest, ADenial) {
  serve("\x12\x02no", {});
  AppApprover approver(*manager, 60'000);
  ask(approver);
  ASSERT_TRUE(std::holds_alternative<ApprovalDecision>(*outcome));
  EXPECT_EQ(std::get<ApprovalDenied>(std::get<ApprovalDecision>(*outcome)).reason, "no");
}

TEST_F(ApproverTest, AnErrorOfTheOwner) {
  serve("no such method", {{"slimrpc-code", "12"}});
  AppApprover approver(*manager, 60'000);
  ask(approver);
  ASSERT_TRUE(std::holds_alternative<ApprovalFailed>(*outcome));
  EXPECT_EQ(std::get<ApprovalFailed>(*outcome).why, "approval call failed: status 12: no such method");
}

TEST_F(ApproverTest, AnEndWithoutAnAnswer) {
  serve("", {{"slimrpc-code", "0"}});
  AppApprover approver(*manager, 60'000);
  ask(approver);
  EXPECT_EQ(std::get<ApprovalFailed>(*outcome).why, "approval call failed: No response received");
}

TEST_F(ApproverTest, WhatIsNoDecision) {
  serve("\x1a\x01x", {});
  AppApprover approver(*manager, 60'000);
  ask(approver);
  EXPECT_EQ(std::get<ApprovalFailed>(*outcome).why, "malformed approval response: response carries no decision");
}

TEST_F(ApproverTest, AnOwnerThatSaysNothing) {
  owner = app("owner");
  AppApprover approver(*manager, 200);
  ask(approver);
  EXPECT_TRUE(std::holds_alternative<ApprovalTimedOut>(*outcome));
}

TEST_F(ApproverTest, EndsInTheMiddleOfAQuestion) {
  auto approver = std::make_unique<AppApprover>(*manager, 60'000);
  approver->ask({{"org", "ns", "nobody"}, kNullId}, request, [this](ApprovalOutcome said, std::uint64_t) { outcome = std::move(said); });
  approver.reset();
  for (int i = 0; i < 20; ++i) {
    loop->turn(1'000'000);
  }
  EXPECT_FALSE(outcome.has_value());
}

}  // namespace
}  // namespace slipway::test
