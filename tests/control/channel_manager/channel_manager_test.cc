// Every rule of upstream-control 7.1, with its text.

#include "channel_manager/channel_manager.h"

#include <gtest/gtest.h>

#include <protozero/pbf_reader.hpp>
#include <protozero/pbf_writer.hpp>

#include "channel_manager/channel_manager_bounds.h"
#include "fakes.h"
#include "signed_vectors.h"

namespace slipway::test {
namespace {

using namespace signed_vectors;
using protozero::pbf_reader;
using protozero::pbf_writer;

constexpr std::uint64_t kNow = 2'000'000'000;
constexpr const char* kRoom = "org/ns/room";
constexpr const char* kBob = "org/ns/bob";

struct FakeApprover final : OwnerApprover {
  struct Asked {
    std::string callback;
    ApprovalRequest request;
    Done done;
  };
  std::vector<Asked> asked;
  void ask(const TextName& callback, const ApprovalRequest& request, Done done) override { asked.push_back({callback.text(), request, std::move(done)}); }
};

struct Create {
  std::string channel = kRoom;
  bool mls = true;
  std::optional<std::string> callback = std::nullopt;
  std::optional<std::uint64_t> ttl = std::nullopt;
  std::optional<std::string> proof = std::nullopt;
  [[nodiscard]] std::string bytes() const {
    std::string out;
    pbf_writer message(out);
    message.add_string(1, channel);
    message.add_bool(2, mls);
    if (callback) {
      message.add_string(3, *callback);
    }
    if (ttl) {
      message.add_uint64(4, *ttl);
    }
    if (proof) {
      message.add_bytes(5, *proof);
    }
    return out;
  }
};

class ManagerTest : public ::testing::Test {
 protected:
  FakeChannels channels;
  FakeStore store;
  FakeApprover approver;
  ManagerPolicy policy{.audience = "org/ns/manager", .require_signatures = false, .operators = {kOperator}};
  std::unique_ptr<ChannelManager> manager = make();
  std::uint64_t now_s = kNow;
  std::string caller;

  std::unique_ptr<ChannelManager> make() { return std::make_unique<ChannelManager>(channels, &store, &approver, policy, [](const std::string&) {}); }
  void settle() {
    while (!channels.waiting.empty() || !store.waiting.empty()) {
      store.turn();
      channels.turn();
    }
  }
  // The bytes of the answer, or "status N: ..."; "waits" while there is none.
  std::shared_ptr<std::string> begin(std::string_view method, const std::string& request) {
    auto out = std::make_shared<std::string>("waits");
    manager->handle(method, std::as_bytes(std::span(request)), caller, now_s, [out](std::expected<std::string, ManagerCallError> answer) {
      *out = answer ? *answer : "status " + std::to_string(answer.error().grpc_status) + ": " + answer.error().why;
    });
    return out;
  }
  static std::string verdict(const std::string& answer) {
    pbf_reader reader(answer);
    std::string error;
    bool success = false;
    while (reader.next()) {
      if (reader.tag() == 2) {
        success = reader.get_bool();
      } else {
        error = reader.get_string();
      }
    }
    EXPECT_NE(success, !error.empty());
    return success ? "ok" : error;
  }
  std::string call(std::string_view method, const std::string& request) {
    auto out = begin(method, request);
    settle();
    return *out == "waits" ? *out : verdict(*out);
  }
  std::string create(const Create& request) { return call("CreateChannel", request.bytes()); }
  std::string remove(const std::string& channel, const std::optional<std::string>& proof = std::nullopt) {
    std::string out;
    pbf_writer message(out);
    message.add_string(1, channel);
    if (proof) {
      message.add_bytes(2, *proof);
    }
    return call("DeleteChannel", out);
  }
  static std::string participant(const std::string& channel, const std::string& name, const std::optional<std::string>& grant) {
    std::string out;
    pbf_writer message(out);
    message.add_string(1, channel);
    message.add_string(2, name);
    if (grant) {
      message.add_bytes(3, *grant);
    }
    return out;
  }
  std::string add(const std::optional<std::string>& grant = std::nullopt, const std::string& name = kBob, const std::string& channel = kRoom) {
    return call("AddParticipant", participant(channel, name, grant));
  }
  std::string take(const std::optional<std::string>& grant = std::nullopt) { return call("DeleteParticipant", participant(kRoom, kBob, grant)); }
  std::string owned() { return create({.proof = kCreation}); }
  std::string asked_channels() {
    settle();
    std::string out;
    for (const auto& line : channels.told) {
      out += line + "; ";
    }
    channels.told.clear();
    return out;
  }
};

TEST_F(ManagerTest, WithoutOwnersItIsOpen) {
  EXPECT_EQ(create({}), "ok");
  EXPECT_EQ(add(), "ok");
  EXPECT_EQ(take(), "ok");
  EXPECT_EQ(remove(kRoom), "ok");
  EXPECT_EQ(asked_channels(), "create org/ns/room mls by channel manager; invite org/ns/bob to org/ns/room by channel manager; "
                              "take org/ns/bob from org/ns/room by channel manager; remove org/ns/room by channel manager; ");
  EXPECT_TRUE(store.disk.empty());
}

TEST_F(ManagerTest, TheTextsOfChannels) {
  EXPECT_EQ(add(), "channel org/ns/room not found");
  EXPECT_EQ(remove(kRoom), "channel org/ns/room not found");
  EXPECT_EQ(remove("x"), "channel x not found");
  EXPECT_EQ(create({}), "ok");
  EXPECT_EQ(create({}), "channel org/ns/room already exists");
  EXPECT_EQ(create({.channel = "org/ns"}), "invalid channel name: invalid name format: org/ns");
  EXPECT_EQ(create({.channel = ""}), "invalid channel name: invalid name format: ");
  EXPECT_EQ(create({.channel = "org/ns/room/0x1"}), "invalid channel name: invalid name format: org/ns/room/0x1");
  EXPECT_EQ(create({.channel = " org/ns/other"}), "invalid channel name: invalid name format:  org/ns/other");
  EXPECT_EQ(add(std::nullopt, "bob"), "invalid participant name: invalid name format: bob");
  EXPECT_EQ(create({.channel = "org/ns/new", .ttl = 0}), "ttl-seconds must be positive");
  channels.refuse = ChannelError{.fault = ChannelFault::kSession, .about = "nobody answers"};
  EXPECT_TRUE(create({.channel = "org/ns/new"}).starts_with("failed to create channel org/ns/new"));
  EXPECT_TRUE(add().starts_with("failed to invite participant org/ns/bob to channel org/ns/room: nobody answers"));
  EXPECT_TRUE(take().starts_with("failed to remove participant org/ns/bob from channel org/ns/room: nobody answers"));
  EXPECT_NE(remove(kRoom), "ok");
}

TEST_F(ManagerTest, ChannelsOfTheFileAreNotChanged) {
  EXPECT_EQ(create({}), "ok");
  channels.from_file = true;
  for (const auto& verdict : {create({.channel = "org/ns/new"}), remove(kRoom), add(), take()}) {
    EXPECT_EQ(verdict, "channel manager is running in config mode; modify the config file and restart to change channels or participants");
  }
}

TEST_F(ManagerTest, WhoSignsIsTheOwner) {
  caller = "somebody else";
  EXPECT_EQ(owned(), "ok");
  EXPECT_EQ(manager->owner(kRoom), kOwner);
  EXPECT_EQ(create({.channel = "org/ns/free"}), "ok");
  EXPECT_EQ(manager->owner("org/ns/free"), std::nullopt);
}

TEST_F(ManagerTest, AProofIsForItsRequestAlone) {
  constexpr const char* kMismatch = "signed create request does not match this request";
  EXPECT_EQ(create({.channel = "org/ns/hall", .proof = kCreation}), kMismatch);
  EXPECT_EQ(create({.mls = false, .proof = kCreation}), kMismatch);
  EXPECT_EQ(create({.ttl = 60, .proof = kCreation}), kMismatch);
  EXPECT_EQ(create({.callback = "org/ns/me", .proof = kCreation}), kMismatch);
  EXPECT_EQ(create({.mls = false, .callback = "org/ns/owner-app", .proof = kCreationFull}), kMismatch);
  EXPECT_EQ(create({.proof = kCreationElsewhere}), R"(signed create request is for "org/ns/\"other\"", not this channel manager ("org/ns/manager"))");
  EXPECT_EQ(create({.proof = kCreationLong}), "signed create request is valid for too long: not_after may be at most 24 hours ahead");
  EXPECT_EQ(create({.proof = kCreationOld}), "signed create request has expired");
  EXPECT_EQ(create({.proof = "{}"}), "invalid signed create request: malformed: `audience` is missing");
  EXPECT_EQ(create({.proof = ""}), "invalid signed create request: malformed: not JSON at byte 1");
  EXPECT_EQ(create({.proof = kCreationWrongTag}), "invalid signed create request: the signature does not verify against the signer's key");
  EXPECT_EQ(asked_channels(), "") << "nothing was begun";
  EXPECT_EQ(create({.mls = false, .callback = "org/ns/owner-app", .ttl = 3600, .proof = kCreationFull}), "ok");
  EXPECT_EQ(asked_channels(), "create org/ns/room by channel manager; ");
  now_s = 2'000'000'001;
  channels.rows.clear();
  EXPECT_EQ(create({.proof = kCreationLong}), "ok") << "24 hours ahead by now";
}

TEST_F(ManagerTest, AProofIsGoodOnceEvenAfterDeletion) {
  EXPECT_EQ(owned(), "ok");
  EXPECT_EQ(remove(kRoom, kDeletion), "ok");
  EXPECT_EQ(owned(), "signed create request has already been used");
  EXPECT_EQ(create({.ttl = 60, .proof = kCreationShort}), "ok");
  EXPECT_EQ(remove(kRoom, kDeletion), "signed delete request has already been used");
}

TEST_F(ManagerTest, WhatWasRefusedIsNotUsedUp) {
  EXPECT_EQ(create({.mls = false, .proof = kCreation}), "signed create request does not match this request");
  EXPECT_EQ(owned(), "ok");
  EXPECT_EQ(take(kGrant), "grant does not authorize this change");
  EXPECT_EQ(add(kGrant), "ok");
}

TEST_F(ManagerTest, CallbackNames) {
  EXPECT_EQ(create({.callback = "org/ns/me"}), "owner-callback-name needs a signed create request: a channel with no owner has no one to ask");
  EXPECT_EQ(create({.callback = "me", .proof = kCreation}), "invalid owner callback name: invalid name format: me");
}

TEST_F(ManagerTest, OnlyTheOwnerOrAnOperatorDeletes) {
  EXPECT_EQ(owned(), "ok");
  EXPECT_EQ(remove(kRoom), "channel org/ns/room can only be deleted with a request signed by its owner");
  EXPECT_EQ(remove(kRoom, kDeletionByOther), "invalid signed delete request: the signature does not verify against the signer's key");
  EXPECT_EQ(remove(kRoom, kDeletionOfAnother), "signed delete request is for a different channel");
  EXPECT_EQ(remove(kRoom, "x"), "invalid signed delete request: malformed: not JSON at byte 1");
  now_s = kNow + 301;
  EXPECT_EQ(remove(kRoom, kDeletion), "signed delete request has expired");
  now_s = kNow - 90'000;
  EXPECT_EQ(remove(kRoom, kDeletion), "signed delete request is valid for too long: not_after may be at most 24 hours ahead");
  now_s = kNow;
  manager->set_policy({.audience = "org/ns/another", .require_signatures = false, .operators = {}});
  EXPECT_EQ(remove(kRoom, kDeletion), R"(signed delete request is for "org/ns/manager", not this channel manager ("org/ns/another"))");
  EXPECT_EQ(remove(kRoom, kDeletionByOperator), "invalid signed delete request: the signature does not verify against the signer's key");
  manager->set_policy(policy);
  EXPECT_EQ(remove(kRoom, kDeletionByOperator), "ok");
  EXPECT_EQ(manager->owner(kRoom), std::nullopt);
}

TEST_F(ManagerTest, ChangesOfAnOwnedChannelNeedAGrant) {
  EXPECT_EQ(owned(), "ok");
  EXPECT_EQ(add(), "channel org/ns/room requires a grant from its owner");
  EXPECT_EQ(add(kGrantByOther), "invalid grant: the signature does not verify against the signer's key");
  EXPECT_EQ(add(kGrant, "org/ns/eve"), "grant does not authorize this change");
  EXPECT_EQ(add(kGrantDelete), "grant does not authorize this change");
  EXPECT_EQ(add(kGrantOld), "grant has expired");
  EXPECT_EQ(add(kGrantNul), "invalid grant: malformed: fields must not contain NUL bytes");
  EXPECT_EQ(add(kGrant), "ok");
  EXPECT_EQ(add(kGrant), "grant has already been used");
  EXPECT_EQ(add(kGrantForever), "ok") << "the bound of 24 hours is of requests, not of grants";
  EXPECT_EQ(take(kGrantAgain), "grant does not authorize this change");
  EXPECT_EQ(take(kGrantDelete), "ok");
  EXPECT_EQ(take(kGrantDelete), "grant has already been used");
  EXPECT_EQ(asked_channels(), "create org/ns/room mls by channel manager; invite org/ns/bob to org/ns/room by channel manager; "
                              "invite org/ns/bob to org/ns/room by channel manager; take org/ns/bob from org/ns/room by channel manager; ");
}

TEST_F(ManagerTest, AGrantForAnotherChannelOfTheSameOwnerIsNotForThis) {
  EXPECT_EQ(owned(), "ok");
  EXPECT_EQ(create({.channel = "org/ns/hall"}), "ok");
  EXPECT_EQ(add(kGrant, kBob, "org/ns/hall"), "ok") << "no owner: open, and the grant is not looked at";
  EXPECT_EQ(add(kGrant), "ok");
}

TEST_F(ManagerTest, WithSignaturesRequired) {
  EXPECT_EQ(create({.channel = "org/ns/hall"}), "ok");
  policy.require_signatures = true;
  manager->set_policy(policy);
  EXPECT_EQ(create({}), "this channel manager requires a create request signed by the channel's owner");
  EXPECT_EQ(add(std::nullopt, kBob, "org/ns/hall"), "channel org/ns/hall has no owner to sign for changes, and this channel manager refuses unsigned ones");
  EXPECT_EQ(remove("org/ns/hall"), "channel org/ns/hall has no owner: only a delete request signed by an operator can delete it");
  EXPECT_EQ(remove("org/ns/hall", kDeletionOfAnother), "invalid signed delete request: the signature does not verify against the signer's key");
  EXPECT_EQ(owned(), "ok");
  EXPECT_EQ(add(kGrant), "ok");
  policy.operators.clear();
  manager->set_policy(policy);
  EXPECT_EQ(remove("org/ns/hall", kDeletionOfAnother),
            "channel org/ns/hall has no owner and this channel manager has no operators, so it can't be deleted");
}

// --- approval ----------------------------------------------------------------------------------------

class ApprovalTest : public ManagerTest {
 protected:
  void SetUp() override {
    ASSERT_EQ(create({.mls = false, .callback = "org/ns/owner-app", .ttl = 3600, .proof = kCreationFull}), "ok");
    caller = "spiffe://example.org/alice";
    answer = begin("AddParticipant", participant(kRoom, kBob, std::nullopt));
    settle();
    ASSERT_EQ(*answer, "waits");
    ASSERT_EQ(approver.asked.size(), 1u);
  }
  std::string say(ApprovalOutcome outcome, std::uint64_t at_s = kNow + 5) {
    approver.asked[0].done(std::move(outcome), at_s);
    settle();
    return verdict(*answer);
  }
  std::shared_ptr<std::string> answer;
};

TEST_F(ApprovalTest, TheOwnerIsAskedWhatIsToBeDone) {
  EXPECT_EQ(approver.asked[0].callback, "org/ns/owner-app");
  const auto& request = approver.asked[0].request;
  EXPECT_EQ(request.channel_name + " " + request.participant_name, "org/ns/room org/ns/bob");
  EXPECT_EQ(request.action, ParticipantAction::kAdd);
  EXPECT_EQ(request.requester, "spiffe://example.org/alice");
  EXPECT_EQ(say(ApprovalGranted{kGrant}), "ok");
}

TEST_F(ApprovalTest, WhatTheOwnerSignedIsCheckedLikeAnyGrant) {
  EXPECT_EQ(say(ApprovalGranted{kGrantByOther}), "invalid grant: the signature does not verify against the signer's key");
}
TEST_F(ApprovalTest, AnotherGrantOfTheOwnerIsNoApproval) { EXPECT_EQ(say(ApprovalGranted{kGrantDelete}), "grant does not authorize this change"); }
TEST_F(ApprovalTest, AGrantMayEndWhileTheOwnerThinks) { EXPECT_EQ(say(ApprovalGranted{kGrant}, kNow + 301), "grant has expired"); }
TEST_F(ApprovalTest, Denied) { EXPECT_EQ(say(ApprovalDenied{"not today"}), "channel owner denied the request: not today"); }
TEST_F(ApprovalTest, InTime) { EXPECT_EQ(say(ApprovalTimedOut{}), "channel owner did not answer the approval request in time"); }
TEST_F(ApprovalTest, NotReached) { EXPECT_EQ(say(ApprovalFailed{"nobody there"}), "could not ask the channel owner for approval: nobody there"); }

TEST_F(ApprovalTest, AChannelThatIsGoneMeanwhileIsNotChanged) {
  EXPECT_EQ(remove(kRoom, kDeletion), "ok");
  EXPECT_EQ(say(ApprovalGranted{kGrant}), "channel org/ns/room not found");
}

TEST_F(ApprovalTest, TheOwnerOfAChannelThatWasMadeAnewDecidesThere) {
  EXPECT_EQ(remove(kRoom, kDeletion), "ok");
  EXPECT_EQ(create({}), "ok");
  EXPECT_EQ(say(ApprovalGranted{kGrant}), "channel org/ns/room not found") << "it has no owner now, so nobody was to be asked";
}

TEST_F(ApprovalTest, IsBounded) {
  for (std::size_t i = 1; i < kManagerApprovals; ++i) {
    (void)begin("AddParticipant", participant(kRoom, kBob, std::nullopt));
  }
  EXPECT_EQ(add(), "could not ask the channel owner for approval: 64 other requests wait for theirs");
  EXPECT_EQ(say(ApprovalTimedOut{}), "channel owner did not answer the approval request in time");
  EXPECT_EQ(add(), "waits");
}

TEST_F(ApprovalTest, AManagerThatEndsAnswersNobody) {
  manager.reset();
  approver.asked[0].done(ApprovalTimedOut{}, kNow);
  EXPECT_EQ(*answer, "waits");
}

// --- ends, restarts, races -----------------------------------------------------------------------------

TEST_F(ManagerTest, AChannelEndsAtTheFirstSweepBehindItsEnd) {
  EXPECT_EQ(create({.ttl = 60, .proof = kCreationShort}), "ok");
  manager->sweep(kNow + 59);
  settle();
  EXPECT_TRUE(channels.rows.contains(kRoom));
  manager->sweep(kNow + 60);
  settle();
  EXPECT_FALSE(channels.rows.contains(kRoom));
  EXPECT_EQ(manager->counters().expired, 1u);
  EXPECT_EQ(store.disk.size(), 1u) << "the nonce stays";
  EXPECT_EQ(create({.channel = kRoom}), "ok");
  EXPECT_EQ(manager->owner(kRoom), std::nullopt);
  manager->sweep(kNow + 90);
  settle();
  EXPECT_TRUE(channels.rows.contains(kRoom));
}

TEST_F(ManagerTest, AnEndWithoutAnOwner) {
  EXPECT_EQ(create({.ttl = ~std::uint64_t{0}}), "ok");
  manager->sweep(~std::uint64_t{0} - 1);
  settle();
  EXPECT_TRUE(channels.rows.contains(kRoom));
  EXPECT_EQ(add(), "ok");
}

TEST_F(ManagerTest, OwnersEndsAndNoncesOutliveTheProcess) {
  EXPECT_EQ(create({.ttl = 60, .proof = kCreationShort}), "ok");
  EXPECT_EQ(add(kGrant), "ok");
  manager = make();
  ASSERT_TRUE(manager->load(kNow + 10));
  EXPECT_EQ(add(), "channel org/ns/room requires a grant from its owner");
  EXPECT_EQ(add(kGrant), "grant has already been used");
  manager->sweep(kNow + 60);
  settle();
  EXPECT_FALSE(channels.rows.contains(kRoom));
}

TEST_F(ManagerTest, AnOwnerIsOnDiskBeforeTheChannelIsThere) {
  auto answer = begin("CreateChannel", Create{.proof = kCreation}.bytes());
  store.turn();
  EXPECT_EQ(store.disk.size(), 2u);
  EXPECT_TRUE(channels.rows.empty());
  settle();
  EXPECT_EQ(verdict(*answer), "ok");
}

TEST_F(ManagerTest, WhatCannotBeStoredIsRefused) {
  store.broken = "disk full";
  EXPECT_EQ(owned(), "could not record the signed create request's use: disk full");
  EXPECT_EQ(create({.ttl = 60}), "failed to record state of channel org/ns/room: disk full");
  EXPECT_EQ(asked_channels(), "");
  store.broken.clear();
  EXPECT_EQ(owned(), "ok");
}

TEST_F(ManagerTest, AnOwnerOfAChannelThatCouldNotBeMadeIsForgotten) {
  channels.refuse = ChannelError{.fault = ChannelFault::kTooMany, .about = {}};
  EXPECT_TRUE(owned().starts_with("failed to create channel org/ns/room"));
  channels.refuse.reset();
  EXPECT_EQ(create({}), "ok");
  EXPECT_EQ(manager->owner(kRoom), std::nullopt);
}

TEST_F(ManagerTest, OfTwoCreationsOfOneNameOneIsRefused) {
  auto first = begin("CreateChannel", Create{.proof = kCreation}.bytes());
  auto second = begin("CreateChannel", Create{.ttl = 60, .proof = kCreationShort}.bytes());
  settle();
  EXPECT_EQ(verdict(*first), "ok");
  EXPECT_EQ(verdict(*second), "channel org/ns/room already exists");
}

TEST_F(ManagerTest, AChannelThatSomebodyElseDeletedIsForgotten) {
  EXPECT_EQ(owned(), "ok");
  channels.rows.clear();
  manager->on_event({.change = ChannelChange::kRemoved, .channel = parse_name(kRoom).value(), .member = {}});
  EXPECT_EQ(create({}), "ok");
  EXPECT_EQ(manager->owner(kRoom), std::nullopt);
}

TEST_F(ManagerTest, LateWordOfADeletionDoesNotTakeTheNextOwner) {
  EXPECT_EQ(owned(), "ok");
  manager->on_event({.change = ChannelChange::kRemoved, .channel = parse_name(kRoom).value(), .member = {}});
  EXPECT_EQ(manager->owner(kRoom), kOwner);
}

// --- lists and form --------------------------------------------------------------------------------------

TEST_F(ManagerTest, Lists) {
  EXPECT_EQ(create({.ttl = 60, .proof = kCreationShort}), "ok");
  EXPECT_EQ(create({.channel = "org/ns/hall"}), "ok");
  const ChannelInfo rows[] = {{"org/ns/hall", std::nullopt, std::nullopt}, {kRoom, kOwner, kNow + 60}};
  EXPECT_EQ(*begin("ListChannels", ""), encode_channels(rows));
  std::string request;
  pbf_writer(request).add_string(1, kRoom);
  channels.rows[kRoom].members.push_back({.name = parse_name("org/ns/bob/00000000-0000-0000-0000-000000000009").value()});
  EXPECT_EQ(*begin("ListParticipants", request), encode_participants(std::vector<std::string>{"org/ns/bob/00000000-0000-0000-0000-000000000009"}));
  channels.rows.clear();
  EXPECT_EQ(*begin("ListParticipants", request), encode_participants(std::unexpected("channel org/ns/room not found")));
}

TEST_F(ManagerTest, WhatIsNoRequestEndsWithAStatus) {
  for (const char* method : {"CreateChannel", "DeleteChannel", "AddParticipant", "DeleteParticipant", "ListChannels", "ListParticipants"}) {
    EXPECT_TRUE(begin(method, "\x0a\x05x")->starts_with("status 3: ")) << method;
  }
  EXPECT_EQ(manager->counters().malformed, 6u);
  EXPECT_TRUE(begin("Reset", "")->starts_with("status 12: "));
}

TEST_F(ManagerTest, RequestsUnderWayAreBounded) {
  EXPECT_EQ(create({}), "ok");
  for (std::size_t i = 0; i < kManagerOperations; ++i) {
    (void)begin("AddParticipant", participant(kRoom, kBob, std::nullopt));
  }
  EXPECT_TRUE(begin("ListChannels", "")->starts_with("status 8: "));
  settle();
  EXPECT_FALSE(begin("ListChannels", "")->starts_with("status"));
}

}  // namespace
}  // namespace slipway::test
