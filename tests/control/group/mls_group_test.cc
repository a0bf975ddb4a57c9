// Sessions' groups over real MLS: members come, go and renew; what must be refused is; bytes have upstream's profile.
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <memory>
#include <string>

#include "group/mls_group.h"
#include "real_groups.h"

namespace slipway::testing {
namespace {

class TestIdentity final : public GroupIdentity {
 public:
  TestIdentity(std::string subject, mls::CipherSuite suite, mls::Random& random) : inner_(std::move(subject), suite, random) {}
  std::string token() override { return inner_.token() + (minted_++ == 0 ? "" : "," + std::to_string(minted_)); }
  [[nodiscard]] const mls::SignatureKey& signature_key() const override { return inner_.signature_key(); }
  std::expected<TokenClaims, std::string> verify(std::string_view token, TokenExpiry expiry) override {
    if (expiry == TokenExpiry::kEnforce && token.starts_with(expired)) {
      return std::unexpected("the token is expired: mint another");
    }
    return inner_.verify(token.substr(0, token.find(',')), expiry);
  }
  [[nodiscard]] std::uint64_t now_s() const override { return now; }

  std::string expired = "nobody";  // tokens that begin so
  std::uint64_t now = 1'700'000'000;

 private:
  sim::SimIdentity inner_;
  int minted_ = 0;
};

struct Member {
  std::string subject;
  FullName name;
  sim::MlsRandom random;
  TestIdentity identity;
  MlsGroup group;

  Member(const std::string& who, mls::CipherSuite suite, bool strict = false)
      : subject(who + "_AbCd1234"),
        name(TextName{{"org", "ns", who}, id_of_identity(subject)}),
        random(std::hash<std::string>{}(who)),
        identity(subject, suite, random),
        group(identity, {.strict_expiry = strict, .random = &random}) {}
};

class Groups : public ::testing::TestWithParam<mls::CipherSuite> {
 protected:
  Member alice{"alice", GetParam()};
  Member bob{"bob", GetParam()};
  Member carol{"carol", GetParam()};

  Member dave{"dave", GetParam()};
  const std::vector<FullName> all{alice.name, bob.name, carol.name, dave.name};

  static JoiningMember joiner(Member& member) { return {member.name, *member.group.key_package()}; }
  void two() {
    ASSERT_TRUE(alice.group.create());
    const JoiningMember who = joiner(bob);
    const auto commit = alice.group.add({&who, 1});
    ASSERT_TRUE(commit) << commit.error();
    const auto joined = bob.group.join(*commit->welcome, all);
    ASSERT_TRUE(joined) << joined.error();
  }
  void three() {
    two();
    const JoiningMember who = joiner(carol);
    const auto commit = alice.group.add({&who, 1});
    ASSERT_TRUE(commit && bob.group.process(*commit->commit, all) && carol.group.join(*commit->welcome, all));
  }
  static SessionMessage say(Member& from, const std::string& text) {
    SessionMessage message;
    message.session_type = SessionType::kMulticast;
    message.session_id = 7;
    message.message_id = 1;
    message.source = from.name;
    message.destination = FullName(TextName{{"org", "ns", "chat"}, NameId{1, 2}});
    const auto* data = reinterpret_cast<const std::byte*>(text.data());
    message.payload = AppPayload{"msg", std::make_shared<const Bytes>(data, data + text.size())};
    return message;
  }
  static std::string text_of(const SessionMessage& message) {
    const auto& blob = std::get<AppPayload>(message.payload).blob;
    return {reinterpret_cast<const char*>(blob->data()), blob->size()};
  }
  static std::string start_of(const SharedBytes& bytes, std::size_t count) {
    std::string hex;
    for (std::size_t i = 0; i < count && i < bytes->size(); ++i) {
      std::array<char, 3> digits{};
      std::snprintf(digits.data(), digits.size(), "%02x", static_cast<unsigned>((*bytes)[i]));
      hex += digits.data();
    }
    return hex;
  }
};

TEST_P(Groups, MembersReadEachOtherAndNobodyTwice) {
  three();
  SessionMessage message = say(bob, "hello");
  ASSERT_TRUE(bob.group.protect(message));
  EXPECT_TRUE(message.identity.starts_with(bob.subject));
  EXPECT_EQ(start_of(std::get<AppPayload>(message.payload).blob, 5), "0001000220");  // PrivateMessage, a group id of 32 bytes
  SessionMessage at_alice = message;
  SessionMessage at_carol = message;
  ASSERT_EQ(alice.group.unprotect(at_alice), 2u);
  ASSERT_EQ(carol.group.unprotect(at_carol), 2u);
  EXPECT_EQ(text_of(at_alice), "hello");
  EXPECT_EQ(text_of(at_carol), "hello");
  EXPECT_FALSE(alice.group.unprotect(message));
  EXPECT_FALSE(bob.group.unprotect(message));
}

TEST_P(Groups, OtherHeadersOpenNothingAndUseNothingUp) {
  two();
  SessionMessage message = say(alice, "for bob");
  ASSERT_TRUE(alice.group.protect(message));
  const auto changed = [&](auto change) {
    SessionMessage copy = message;
    change(copy);
    return bob.group.unprotect(copy).has_value();
  };
  EXPECT_FALSE(changed([](SessionMessage& m) { m.message_id = 2; }));
  EXPECT_FALSE(changed([](SessionMessage& m) { m.session_id = 8; }));
  EXPECT_FALSE(changed([](SessionMessage& m) { m.type = MessageType::kRtxReply; }));
  EXPECT_FALSE(changed([](SessionMessage& m) { m.identity += "x"; }));
  EXPECT_FALSE(changed([this](SessionMessage& m) { m.source = carol.name; }));
  EXPECT_FALSE(changed([this](SessionMessage& m) { m.destination = bob.name; }));
  EXPECT_FALSE(changed([](SessionMessage& m) { std::get<AppPayload>(m.payload).payload_type = "other"; }));
  EXPECT_FALSE(changed([](SessionMessage& m) { std::get<AppPayload>(m.payload).blob = nullptr; }));
  EXPECT_TRUE(bob.group.unprotect(message));
}

TEST_P(Groups, AMemberCannotSpeakForAnother) {
  three();
  SessionMessage message = say(bob, "as carol");
  message.source = carol.name;
  ASSERT_TRUE(bob.group.protect(message));
  const auto opened = alice.group.unprotect(message);
  ASSERT_FALSE(opened);
  EXPECT_NE(opened.error().find("another member"), std::string::npos);
}

TEST_P(Groups, KeyPackagesOfOthersAreRefused) {
  ASSERT_TRUE(alice.group.create());
  const std::uint64_t epoch = alice.group.epoch();
  const JoiningMember forged{carol.name, *bob.group.key_package()};
  const auto refused = alice.group.add({&forged, 1});
  ASSERT_FALSE(refused);
  EXPECT_NE(refused.error().find("another identity"), std::string::npos);
  const JoiningMember none{bob.name, nullptr};
  EXPECT_FALSE(alice.group.add({&none, 1}));
  EXPECT_EQ(alice.group.epoch(), epoch);
}

TEST_P(Groups, SeveralComeInWithOneCommit) {
  two();
  const std::array<JoiningMember, 2> who{joiner(carol), joiner(dave)};
  const auto commit = alice.group.add(who);
  ASSERT_TRUE(commit);
  ASSERT_TRUE(bob.group.process(*commit->commit, all));
  ASSERT_TRUE(carol.group.join(*commit->welcome, all) && dave.group.join(*commit->welcome, all));
  SessionMessage message = say(dave, "all here");
  ASSERT_TRUE(dave.group.protect(message));
  SessionMessage copy = message;
  EXPECT_TRUE(bob.group.unprotect(message));
  EXPECT_TRUE(carol.group.unprotect(copy));
}

TEST_P(Groups, RemovedMembersReadNoMore) {
  three();
  const auto commit = alice.group.remove(bob.name);
  ASSERT_TRUE(commit);
  EXPECT_EQ(commit->welcome, nullptr);
  EXPECT_EQ(carol.group.process(*commit->commit, all), CommitEffect::kNewEpoch);
  EXPECT_EQ(bob.group.process(*commit->commit, all), CommitEffect::kRemovedSelf);
  SessionMessage message = say(alice, "without bob");
  ASSERT_TRUE(alice.group.protect(message));
  SessionMessage copy = message;
  EXPECT_FALSE(bob.group.unprotect(copy));
  EXPECT_TRUE(carol.group.unprotect(message));
  SessionMessage late = say(bob, "still here?");
  EXPECT_FALSE(bob.group.protect(late));
  const auto again = alice.group.remove(bob.name);
  ASSERT_TRUE(again);
  EXPECT_EQ(again->commit, nullptr);  // it has no leaf: nothing to do
}

TEST_P(Groups, ComesBackIntoStepByOneCommit) {
  three();
  ASSERT_TRUE(alice.group.refresh());  // bob and carol missed it
  const auto missed = alice.group.refresh();
  EXPECT_FALSE(bob.group.process(*missed->commit, all));
  const auto commit = alice.group.replace(joiner(bob));
  ASSERT_TRUE(commit) << commit.error();
  ASSERT_TRUE(bob.group.join(*commit->welcome, all));
  EXPECT_EQ(bob.group.epoch(), alice.group.epoch());
  SessionMessage message = say(bob, "back");
  ASSERT_TRUE(bob.group.protect(message));
  EXPECT_TRUE(alice.group.unprotect(message));
  EXPECT_FALSE(alice.group.replace(JoiningMember{FullName(TextName{{"org", "ns", "nobody"}, NameId{5, 5}}), *bob.group.key_package()}));
}

TEST_P(Groups, DataCrossesACommit) {
  two();
  SessionMessage message = say(bob, "late");
  ASSERT_TRUE(bob.group.protect(message));
  const auto first = alice.group.refresh();
  const auto second = alice.group.refresh();
  EXPECT_EQ(alice.group.unprotect(message), 1u);
  ASSERT_TRUE(bob.group.process(*first->commit, all) && bob.group.process(*second->commit, all));
  EXPECT_EQ(bob.group.epoch(), 3u);
}

TEST_P(Groups, OnlyTheModeratorCommits) {
  three();
  const auto commit = bob.group.refresh();
  ASSERT_TRUE(commit);
  const auto at_carol = carol.group.process(*commit->commit, all);
  ASSERT_FALSE(at_carol);
  EXPECT_NE(at_carol.error().find("no commit of the moderator"), std::string::npos);
  EXPECT_EQ(carol.group.epoch(), 2u);
}

TEST_P(Groups, ExpiredTokensKeepNobodyOutWhoWasIn) {
  two();
  alice.identity.expired = bob.identity.expired = carol.identity.expired = bob.subject;
  const JoiningMember who = joiner(carol);
  const auto commit = alice.group.add({&who, 1});
  ASSERT_TRUE(commit) << commit.error();
  EXPECT_TRUE(carol.group.join(*commit->welcome, all));
  SessionMessage message = say(bob, "an hour later");
  ASSERT_TRUE(bob.group.process(*commit->commit, all));
  ASSERT_TRUE(bob.group.protect(message));
  EXPECT_TRUE(alice.group.unprotect(message));
  ASSERT_TRUE(alice.group.remove(bob.name));
  const JoiningMember again = joiner(bob);
  const auto refused = alice.group.add({&again, 1});  // coming in with it is another matter
  ASSERT_FALSE(refused);
  EXPECT_NE(refused.error().find("expired"), std::string::npos);
}

TEST_P(Groups, StrictJoinersRefuseExpiredMembers) {
  two();
  Member strict{"strict", GetParam(), true};
  strict.identity.expired = bob.subject;
  const JoiningMember who = joiner(strict);
  const auto commit = alice.group.add({&who, 1});
  ASSERT_TRUE(commit);
  EXPECT_FALSE(strict.group.join(*commit->welcome, std::vector{alice.name, bob.name, strict.name}));
}

TEST_P(Groups, GoesOnAfterARestartThoughItsKeyIsAnother) {
  three();
  const SharedBytes kept = alice.group.save();
  SessionMessage before = say(alice, "before");
  ASSERT_TRUE(alice.group.protect(before));
  sim::MlsRandom random(99);
  TestIdentity identity(alice.subject, GetParam(), random);
  ASSERT_FALSE(std::ranges::equal(identity.signature_key().public_key(), alice.identity.signature_key().public_key()));
  MlsGroup again(identity, {.random = &random});
  ASSERT_TRUE(again.restore(*kept));
  EXPECT_EQ(again.epoch(), alice.group.epoch());
  const auto commit = again.refresh();
  ASSERT_TRUE(commit) << commit.error();
  ASSERT_EQ(bob.group.process(*commit->commit, all), CommitEffect::kNewEpoch);
  ASSERT_EQ(carol.group.process(*commit->commit, all), CommitEffect::kNewEpoch);
  SessionMessage after = say(alice, "after");
  ASSERT_TRUE(again.protect(after));
  EXPECT_TRUE(bob.group.unprotect(after));
  EXPECT_TRUE(bob.group.unprotect(before));
  SessionMessage back = say(carol, "back");
  ASSERT_TRUE(carol.group.protect(back));
  EXPECT_TRUE(again.unprotect(back));
  const auto removal = again.remove(bob.name);
  ASSERT_TRUE(removal);
  EXPECT_TRUE(carol.group.process(*removal->commit, all));
}

TEST_P(Groups, DamagedSnapshotsAndThoseOfOthersAreRefused) {
  two();
  const SharedBytes kept = alice.group.save();
  for (std::size_t size = 0; size < kept->size(); size += 37) {
    EXPECT_FALSE(carol.group.restore(Bytes(kept->begin(), kept->begin() + static_cast<std::ptrdiff_t>(size))));
  }
  EXPECT_EQ(carol.group.save(), nullptr);
  const auto other = GetParam() == mls::CipherSuite::kP256Aes128Sha256P256 ? mls::CipherSuite::kX25519Aes128Sha256Ed25519
                                                                          : mls::CipherSuite::kP256Aes128Sha256P256;
  Member stranger("alice", other);
  EXPECT_FALSE(stranger.group.restore(*kept));
}

TEST_P(Groups, WelcomeWithALeafThatIsOnNoListIsRefused) {
  two();
  const JoiningMember who = joiner(carol);
  const auto commit = alice.group.add({&who, 1});
  ASSERT_TRUE(commit);
  const auto refused = carol.group.join(*commit->welcome, std::vector{alice.name, carol.name});
  ASSERT_FALSE(refused);
  EXPECT_NE(refused.error().find("leaf 1"), std::string::npos) << refused.error();
  EXPECT_EQ(carol.group.group(), nullptr);
  EXPECT_TRUE(carol.group.join(*commit->welcome, std::vector{alice.name, bob.name, carol.name}));
}

TEST_P(Groups, WhoComesBackTakesNoLeafThatIsOnNoListEither) {
  three();
  const std::uint64_t epoch = bob.group.epoch();
  const auto commit = alice.group.replace(joiner(bob));
  ASSERT_TRUE(commit);
  const FullName other = carol.name.with_id(dave.name.id());
  for (const auto& list : {std::vector{alice.name, bob.name}, std::vector{alice.name, bob.name, other}, std::vector<FullName>{}}) {
    EXPECT_FALSE(bob.group.join(*commit->welcome, list));
    EXPECT_EQ(bob.group.epoch(), epoch);
  }
  ASSERT_TRUE(bob.group.join(*commit->welcome, all));
  EXPECT_EQ(bob.group.epoch(), alice.group.epoch());
}

TEST_P(Groups, CommitThatLetsInSomebodyWhoIsNotNamedIsRefused) {
  three();
  std::uint64_t epoch = bob.group.epoch();
  const auto refused = [&](const GroupCommit& commit, std::vector<FullName> named) {
    const auto followed = bob.group.process(*commit.commit, named);
    EXPECT_FALSE(followed);
    EXPECT_TRUE(followed || followed.error().find("belongs to nobody") != std::string::npos) << followed.error();
    EXPECT_EQ(bob.group.epoch(), epoch);
  };
  Member erin{"erin", GetParam()};
  const std::array<JoiningMember, 2> who{joiner(dave), joiner(erin)};
  const auto added = alice.group.add(who);
  ASSERT_TRUE(added);
  refused(*added, {});
  refused(*added, {dave.name});
  refused(*added, {erin.name, alice.name, bob.name, carol.name});
  refused(*added, {dave.name, erin.name.with_id(carol.name.id())});  // a name that is not its token's
  ASSERT_EQ(bob.group.process(*added->commit, std::vector{dave.name, erin.name}), CommitEffect::kNewEpoch);
  ASSERT_TRUE(carol.group.process(*added->commit, std::vector{erin.name, dave.name}));
  const auto replaced = alice.group.replace(joiner(carol));
  ASSERT_TRUE(replaced);
  ++epoch;
  refused(*replaced, {dave.name});
  ASSERT_TRUE(bob.group.process(*replaced->commit, std::vector{carol.name}));
  const auto removed = alice.group.remove(dave.name);  // lets nobody in
  ASSERT_TRUE(removed && bob.group.process(*removed->commit, {}));
  const auto refreshed = alice.group.refresh();
  ASSERT_TRUE(refreshed && bob.group.process(*refreshed->commit, {}));
}

TEST_P(Groups, RubbishIsRefusedAndChangesNothing) {
  two();
  const Bytes rubbish(100, std::byte{0x41});
  EXPECT_FALSE(bob.group.process(rubbish, all));
  EXPECT_FALSE(bob.group.join(rubbish, all));
  SessionMessage message = say(alice, std::string(100, 'A'));
  EXPECT_FALSE(bob.group.unprotect(message));
  EXPECT_EQ(bob.group.epoch(), 1u);
  MlsGroup empty(alice.identity, {});
  EXPECT_FALSE(empty.protect(message) || empty.unprotect(message) || empty.refresh() || empty.process(rubbish, all));
}

TEST_P(Groups, BytesHaveUpstreamsProfile) {
  const std::string suite = GetParam() == mls::CipherSuite::kP256Aes128Sha256P256 ? "0002" : "0001";
  EXPECT_EQ(start_of(bob.group.key_package().value(), 8), "000100050001" + suite);
  two();
  EXPECT_EQ(alice.group.group()->group_id().size(), 32u);
  EXPECT_TRUE(alice.group.group()->extensions().empty());
  const JoiningMember who = joiner(carol);
  const auto commit = alice.group.add({&who, 1});
  EXPECT_EQ(start_of(commit->commit, 5), "0001000120");  // PublicMessage
  EXPECT_EQ(start_of(commit->welcome, 6), "00010003" + suite);
  const auto& leaf = *alice.group.group()->member(1);
  EXPECT_EQ(mls::as_text(leaf.credential_content()).substr(0, bob.subject.size()), bob.subject);
  const mls::Capabilities capabilities = leaf.decode_all().capabilities;
  EXPECT_TRUE(capabilities.extensions.empty() && capabilities.proposals.empty());
  EXPECT_EQ(capabilities.credentials.size(), 1u);
}

TEST_P(Groups, StepsLetOthersIn) {
  int calls = 0;
  MlsGroup stepped(alice.identity, {.between_steps = [&calls] { ++calls; }, .step_operations = 1, .random = &alice.random});
  ASSERT_TRUE(stepped.create());
  const std::array<JoiningMember, 2> who{joiner(bob), joiner(carol)};
  ASSERT_TRUE(stepped.add(who));
  EXPECT_GT(calls, 1);
}

INSTANTIATE_TEST_SUITE_P(Suites, Groups,
                         ::testing::Values(mls::CipherSuite::kP256Aes128Sha256P256, mls::CipherSuite::kX25519Aes128Sha256Ed25519),
                         [](const auto& instance) { return "Suite" + std::to_string(static_cast<int>(instance.param)); });

TEST(Padding, FollowsUpstreamsSteps) {
  sim::MlsRandom random(1);
  sim::SimIdentity identity("a", mls::CipherSuite::kP256Aes128Sha256P256, random);
  MlsPolicy policy(identity, false);
  constexpr std::array<std::array<std::size_t, 2>, 12> kSizes{{{0, 32}, {31, 32}, {32, 64}, {64, 96}, {100, 128}, {128, 160},
                                                               {255, 256}, {256, 320}, {390, 448}, {1000, 1024}, {1024, 1280}, {4096, 5120}}};
  for (const auto& [size, padded] : kSizes) {
    EXPECT_EQ(size + policy.padding(mls::ContentType::kApplication, size), padded) << size;
  }
}

}  // namespace
}  // namespace slipway::testing
