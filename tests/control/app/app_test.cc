// Applications against a node of a few lines: every kind of session, one connection for several, losses of the node.

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <tuple>

#include "../client/fake_node.h"
#include "app/blocking.h"
#include "identity/shared_secret.h"
#include "turn_until.h"

namespace slipway {
namespace {

using std::chrono::milliseconds;
using namespace std::chrono_literals;

constexpr const char* kSecret = "a-shared-secret-of-at-least-32-bytes!!";

TextName named(const std::string& last) { return {{"org", "ns", last}, kNullId}; }

std::unique_ptr<BlockingApp> make_app(const std::string& last, std::shared_ptr<LoopThread> thread = nullptr, const char* secret = kSecret) {
  auto app = BlockingApp::create({.name = named(last), .identity = shared_secret_identity({.base = "org/ns/" + last, .secret = secret}).value()},
                                 std::move(thread));
  EXPECT_TRUE(app) << app.error().message();
  return std::move(*app);
}
std::unique_ptr<BlockingApp> connected(const std::string& last, const std::string& address, const char* secret = kSecret) {
  auto app = make_app(last, nullptr, secret);
  const auto id = app->connect({.address = address});
  EXPECT_TRUE(id) << id.error().message();
  return app;
}

template <class T>
T get(std::expected<T, AppError> result) {
  EXPECT_TRUE(result) << result.error().message();
  if (!result) {
    throw std::runtime_error(result.error().message());
  }
  return std::move(*result);
}
std::string text(const AppMessage& message) { return std::string(text_of(message.payload)); }

UnicastOptions unicast(const std::string& peer, bool mls) { return {.peer = named(peer), .timeout = 300ms, .max_retries = 100, .mls_enabled = mls}; }
MulticastOptions multicast(bool mls) { return {.channel = named("room"), .timeout = 300ms, .max_retries = 100, .mls_enabled = mls}; }

template <class Call>
SessionFault fault_of(const Call& call) {
  EXPECT_FALSE(call);
  return call ? SessionFault::kUnknownSession : call.error().session.value_or(SessionFault::kUnknownSession);
}

class Kinds : public testing::TestWithParam<bool> {
 protected:
  FakeNode node_;
};

TEST_P(Kinds, Unicast) {
  const auto alice = connected("alice", node_.tcp());
  const auto bob = connected("bob", node_.tcp());
  auto to_bob = get(alice->create_session(unicast("bob", GetParam())));
  auto from_alice = get(bob->listen_for_session());
  EXPECT_EQ(to_bob->encrypted(), GetParam());
  EXPECT_EQ(from_alice->id(), to_bob->id());
  EXPECT_EQ(from_alice->destination(), alice->name());
  EXPECT_EQ(to_bob->destination(), bob->name());
  EXPECT_TRUE(to_bob->is_creator());
  EXPECT_FALSE(from_alice->is_creator());
  for (int i = 0; i < 20; ++i) {
    auto said = get(to_bob->publish("question " + std::to_string(i), {.payload_type = "text", .metadata = {{"n", std::to_string(i)}}}));
    const AppMessage heard = get(from_alice->get_message());
    EXPECT_EQ(text(heard), "question " + std::to_string(i));
    EXPECT_EQ(heard.payload_type, "text");
    EXPECT_EQ(heard.source, alice->name());
    EXPECT_EQ(heard.metadata.at("n"), std::to_string(i));
    EXPECT_TRUE(get(said.wait()).undelivered.empty());
    (void)get(from_alice->publish_to(heard, "answer"));
    EXPECT_EQ(text(get(to_bob->get_message())), "answer");
  }
  EXPECT_EQ(fault_of(to_bob->publish_with_destination("x", named("bob"))), SessionFault::kWrongKind);
  EXPECT_EQ(fault_of(to_bob->invite(named("carol"))), SessionFault::kWrongKind);
  EXPECT_EQ(fault_of(to_bob->remove(named("bob"))), SessionFault::kWrongKind);
  EXPECT_EQ(fault_of(to_bob->go_offline()), SessionFault::kWrongKind);
  EXPECT_TRUE(to_bob->close());
  EXPECT_EQ(fault_of(from_alice->get_message()), SessionFault::kClosed);
  EXPECT_EQ(fault_of(to_bob->publish("late")), SessionFault::kClosed);
}

TEST_P(Kinds, MulticastOfFour) {
  const auto alice = connected("alice", node_.tcp());
  const auto room = get(alice->create_session(multicast(GetParam())));
  std::vector<std::unique_ptr<BlockingApp>> apps;
  std::vector<std::unique_ptr<BlockingSession>> members;
  for (const char* name : {"bob", "carol", "dave"}) {
    apps.push_back(connected(name, node_.tcp()));
    const auto invited = room->invite(named(name));
    ASSERT_TRUE(invited) << invited.error().message();
    members.push_back(get(apps.back()->listen_for_session()));
    EXPECT_EQ(members.back()->kind(), SessionKind::kMulticast);
  }
  EXPECT_EQ(room->participants().size(), 4u);
  auto said = get(room->publish("to all"));
  for (const auto& member : members) {
    EXPECT_EQ(text(get(member->get_message())), "to all");
  }
  EXPECT_TRUE(get(said.wait()).undelivered.empty());
  (void)get(members[0]->publish("of bob"));
  EXPECT_EQ(text(get(room->get_message())), "of bob");
  const AppMessage heard = get(members[1]->get_message());
  EXPECT_EQ(text(get(members[2]->get_message())), "of bob");
  (void)get(members[1]->publish_to(heard, "to bob alone"));
  const AppMessage alone = get(members[0]->get_message());
  EXPECT_EQ(text(alone), "to bob alone");
  EXPECT_TRUE(alone.directed);
  EXPECT_EQ(fault_of(members[0]->invite(named("x"))), SessionFault::kNotModerator);
  const auto removed = room->remove(named("carol"));
  ASSERT_TRUE(removed) << removed.error().message();
  EXPECT_EQ(fault_of(members[1]->get_message()), SessionFault::kClosed);
  (void)get(room->publish("without carol"));
  EXPECT_EQ(text(get(members[0]->get_message())), "without carol");
  EXPECT_EQ(fault_of(room->publish_with_destination("x", named("bob"))), SessionFault::kWrongKind);
  EXPECT_EQ(text(get(members[2]->get_message())), "without carol");
  if (GetParam()) {
    EXPECT_TRUE(room->refresh_keys());
    (void)get(room->publish("with new keys"));
    EXPECT_EQ(text(get(members[2]->get_message())), "with new keys");
  }
  EXPECT_TRUE(room->close());
  EXPECT_EQ(fault_of(members[2]->get_message()), SessionFault::kClosed);
}

// The node drops everybody: connections come back, names are subscribed again, nothing is lost or comes twice.
// Most messages go a short way, some do not; nobody sees which.
TEST(PlainData, EverythingInOrderAndAsItWasSent) {
  FakeNode node;
  const auto alice = connected("alice", node.tcp());
  const auto room = get(alice->create_session(MulticastOptions{.channel = named("room"), .mls_enabled = false}));
  std::vector<std::unique_ptr<BlockingApp>> apps;
  std::vector<std::unique_ptr<BlockingSession>> members;
  for (const char* name : {"bob", "carol"}) {
    apps.push_back(connected(name, node.tcp()));
    ASSERT_TRUE(room->invite(named(name)));
    members.push_back(get(apps.back()->listen_for_session()));
  }
  const std::string large(100'000, 'x');
  const auto body = [&](int i) { return i % 50 == 7 ? std::string() : std::to_string(i) + (i % 100 == 3 ? large : std::string()); };
  const auto type = [](int i) { return i % 7 == 1 ? std::string("gr\xC3\xBC\xC3\x9F") : i % 7 == 2 ? std::string("text") : std::string("msg"); };
  for (int i = 0; i < 300; ++i) {
    PublishOptions options{.payload_type = type(i)};
    if (i % 11 == 5) {
      options.metadata = {{"n", std::to_string(i)}};
    }
    ASSERT_TRUE(room->publish(body(i), options));
  }
  for (std::size_t m = 0; m < members.size(); ++m) {
    for (int i = 0; i < 300; ++i) {
      const AppMessage heard = get(members[m]->get_message());
      ASSERT_EQ(text(heard), body(i)) << i;
      EXPECT_EQ(heard.payload_type, type(i));
      EXPECT_EQ(heard.source, alice->name());
      EXPECT_EQ(heard.source.shown(), alice->name().shown());
      EXPECT_EQ(heard.destination, room->destination());
      EXPECT_EQ(heard.session_id, room->id());
      EXPECT_EQ(heard.message_id, static_cast<std::uint32_t>(i + 1));
      EXPECT_EQ(heard.metadata.size(), i % 11 == 5 ? 1u : 0u);
      EXPECT_FALSE(heard.directed);
    }
  }
  // To one member alone: no other way than before.
  ASSERT_TRUE(members[0]->publish("of bob"));
  const AppMessage of_bob = get(room->get_message());
  ASSERT_TRUE(room->publish_to(of_bob, "to bob alone"));
  ASSERT_TRUE(room->publish("to all"));
  EXPECT_TRUE(get(members[0]->get_message()).directed);
  EXPECT_EQ(text(get(members[0]->get_message())), "to all");
  EXPECT_EQ(text(get(members[1]->get_message())), "of bob");
  EXPECT_EQ(text(get(members[1]->get_message())), "to all");
  // Whoever was removed is heard no more, however well it was known.
  ASSERT_TRUE(room->publish("known"));
  EXPECT_EQ(text(get(members[0]->get_message())), "known");
  ASSERT_TRUE(room->remove(named("bob")));
  EXPECT_EQ(fault_of(members[0]->get_message()), SessionFault::kClosed);
  ASSERT_TRUE(room->publish("still"));
  EXPECT_EQ(text(get(members[1]->get_message())), "known");
  EXPECT_EQ(text(get(members[1]->get_message())), "still");
}

// Two applications on loops of the test: what one says in a turn comes to the other in few.
struct Pair {
  FakeNode node;
  std::unique_ptr<Loop> here = Loop::create().value(), there = Loop::create().value();
  std::unique_ptr<App> alice, bob;
  std::shared_ptr<AppSession> to_bob, from_alice;
  ConnectionId bobs{};

  Pair() {
    bool in = false;
    const auto make = [&](Loop& loop, const std::string& last) {
      return App::create(loop, {.name = named(last), .identity = shared_secret_identity({.base = "org/ns/" + last, .secret = kSecret}).value()}).value();
    };
    alice = make(*here, "alice");
    bob = make(*there, "bob");
    bob->on_session([this](std::shared_ptr<AppSession> session) { from_alice = std::move(session); });
    EXPECT_TRUE(alice->connect({.address = node.tcp()}));
    bobs = bob->connect({.address = node.tcp()}, [&](const auto& connected) { in = connected.has_value(); }).value();
    until([&] { return in; });
    EXPECT_TRUE(alice->create_session(UnicastOptions{.peer = named("bob"), .mls_enabled = false}, [this](auto session) { to_bob = session.value(); }));
    until([&] { return to_bob != nullptr && from_alice != nullptr; });
  }
  template <class Done>
  void until(Done done) {
    EXPECT_TRUE(turn_until(*here, [&] {
      there->turn(0);
      return done();
    }));
  }
  void say(const std::string& what) { ASSERT_TRUE(to_bob->publish(shared_bytes(what))); }
};
std::string numbered(int i, std::size_t bytes) { return std::to_string(i) + std::string(bytes, static_cast<char>('a' + i % 26)); }

// Whatever the handler does with connection and loop, the rest of the turn's messages are those that came.
class HandlersThat : public testing::TestWithParam<std::tuple<std::string, std::size_t>> {};

TEST_P(HandlersThat, MeddleWithTheConnection) {
  const auto& [what, bytes] = GetParam();
  constexpr int kMessages = 40;
  Pair pair;
  std::vector<std::string> heard;
  std::vector<SharedBytes> kept;
  const std::weak_ptr<Connection> connection = pair.bob->connection(pair.bobs);
  pair.from_alice->on_message([&](const AppMessage& message) {
    heard.push_back(text(message));
    kept.push_back(message.payload);
    if (heard.size() != 5) {
      return;
    }
    if (what == "closes") {
      connection.lock()->close();
    } else if (what == "disconnects") {
      EXPECT_TRUE(pair.bob->disconnect(pair.bobs));
    } else if (what == "turns") {
      for (int i = kMessages; i < 2 * kMessages; ++i) {
        pair.say(numbered(i, bytes));
      }
      pair.until([&] { return heard.size() > 6; });
    }
  });
  for (int i = 0; i < kMessages; ++i) {
    pair.say(numbered(i, bytes));
  }
  EXPECT_TRUE(turn_until(*pair.here, [&, turns = 0]() mutable { return ++turns > 5; }));  // it is all with the node, or with bob's kernel
  const std::size_t wanted = what == "turns" ? 2 * kMessages : what == "nothing" ? kMessages : 5;
  pair.until([&] { return heard.size() >= wanted; });
  for (int i = 0; i < 3; ++i) {
    pair.there->turn(0);
  }
  std::vector<std::string> as_sent;
  for (int i = 0; i < 2 * kMessages; ++i) {
    as_sent.push_back(numbered(i, bytes));
  }
  ASSERT_GE(heard.size(), wanted);
  if (what == "turns") {
    std::ranges::sort(heard);  // what comes in a turn inside of a callback comes before the rest of the turn outside
    std::ranges::sort(as_sent);
  }
  for (std::size_t i = 0; i < heard.size(); ++i) {
    EXPECT_EQ(heard[i], as_sent[i]) << i;
    if (what != "turns") {
      EXPECT_EQ(text_of(kept[i]), as_sent[i]) << i;  // nobody writes to what was given away
    }
  }
  EXPECT_EQ(connection.expired(), what == "disconnects");
}

INSTANTIATE_TEST_SUITE_P(All, HandlersThat,
                         testing::Combine(testing::Values(std::string("closes"), "disconnects", "turns", "nothing"),
                                          testing::Values(std::size_t{50}, std::size_t{1'000}, std::size_t{30'000})));

TEST_P(Kinds, TheNodeForgetsEverything) {
  const auto alice = connected("alice", node_.tcp());
  const auto bob = connected("bob", node_.tcp());
  auto to_bob = get(alice->create_session(unicast("bob", GetParam())));
  auto from_alice = get(bob->listen_for_session());
  std::vector<Publication> open;
  for (int i = 0; i < 60; ++i) {
    if (i % 20 == 10) {
      node_.drop_all();
    }
    open.push_back(get(to_bob->publish(std::to_string(i))));
  }
  for (int i = 0; i < 60; ++i) {
    EXPECT_EQ(text(get(from_alice->get_message())), std::to_string(i));
  }
  for (Publication& publication : open) {
    EXPECT_TRUE(get(publication.wait()).undelivered.empty());
  }
}

INSTANTIATE_TEST_SUITE_P(Mls, Kinds, testing::Bool(), [](const auto& which) { return which.param ? "on" : "off"; });

TEST(Anycast, AnyInstanceAnswers) {
  FakeNode node;
  const auto client = connected("client", node.tcp());
  const auto worker = connected("worker", node.tcp());
  const auto session = get(client->create_session(AnycastOptions{.timeout = 200ms, .max_retries = 20}));
  EXPECT_EQ(fault_of(session->publish("x")), SessionFault::kWrongKind);
  EXPECT_EQ(fault_of(session->invite(named("x"))), SessionFault::kWrongKind);
  auto sent = get(session->publish_with_destination("job", named("worker")));
  EXPECT_TRUE(get(sent.wait()).undelivered.empty());
  const auto asker = get(worker->listen_for_session());
  EXPECT_EQ(asker->kind(), SessionKind::kAnycast);
  const AppMessage job = get(asker->get_message());
  EXPECT_EQ(text(job), "job");
  EXPECT_TRUE(get(get(asker->publish_to(job, "done")).wait()).undelivered.empty());
  const AppMessage answer = get(session->get_message());
  EXPECT_EQ(text(answer), "done");
  EXPECT_EQ(answer.source, worker->name());
  (void)get(session->publish_with_destination("again", named("worker")));
  EXPECT_EQ(text(get(asker->get_message())), "again") << "the same session object for the same sender";
  EXPECT_EQ(fault_of(asker->publish_with_destination("x", named("client"))), SessionFault::kWrongKind);
  EXPECT_FALSE(client->create_session(AnycastOptions{.mls_enabled = true}));
}

TEST(Anycast, NobodyIsThere) {
  FakeNode node;
  const auto client = connected("client", node.tcp());
  const auto session = get(client->create_session(AnycastOptions{.timeout = 20ms, .max_retries = 1}));
  auto sent = get(session->publish_with_destination("job", named("nobody")));
  EXPECT_EQ(fault_of(sent.wait()), SessionFault::kNoAnswer);
}

// Two applications of one process on one connection: the node never sees what they say to each other.
TEST(OneConnection, ApplicationsFindEachOther) {
  FakeNode node;
  const auto thread = LoopThread::start().value();
  const auto alice = make_app("alice", thread);
  const auto bob = make_app("bob", thread);
  const auto carol = connected("carol", node.tcp());
  const ConnectionId id = get(alice->connect({.address = node.tcp()}));
  (void)get(bob->use(alice->connection(id)));
  auto room = get(alice->create_session(multicast(true)));
  const auto invited = room->invite(named("bob"));
  ASSERT_TRUE(invited) << invited.error().message();
  ASSERT_TRUE(room->invite(named("carol")));
  const auto in_bob = get(bob->listen_for_session());
  const auto in_carol = get(carol->listen_for_session());
  (void)get(room->publish("to both"));
  EXPECT_EQ(text(get(in_bob->get_message())), "to both");
  EXPECT_EQ(text(get(in_carol->get_message())), "to both");
  (void)get(in_carol->publish("of carol"));
  EXPECT_EQ(text(get(in_bob->get_message())), "of carol");
  EXPECT_EQ(text(get(room->get_message())), "of carol");
}

// Says that its tokens live two seconds: keys are renewed each second, and nobody who talks notices.
class BriefProvider final : public IdentityProvider {
 public:
  BriefProvider() : IdentityProvider("brief_AbCd1234", SigningKey::generate().value()) {}
  [[nodiscard]] std::uint64_t lifetime_s() const override { return 2; }
  std::expected<std::string, IdentityError> make_token(std::uint64_t now_s) override {
    return shared_secret_token(kSecret, subject(), now_s - 1, "twelve bytes", claims_json());
  }
};

// A welcome to each of many takes several turns; what is said meanwhile waits behind them, and comes in order.
TEST(Crowd, ComesInWhileItsModeratorTalks) {
  constexpr std::size_t kMembers = 40;
  FakeNode node;
  const auto loop = Loop::create().value();
  struct Member {
    std::unique_ptr<App> app;
    std::shared_ptr<AppSession> session;
    std::vector<int> heard;
  };
  std::size_t up = 0, in = 0, failed = 0;
  int said = 0;
  const auto make = [&](const std::string& last, App::Handlers handlers = {}) {
    auto app = App::create(*loop, {.name = named(last), .identity = shared_secret_identity({.base = "org/ns/" + last, .secret = kSecret}).value()},
                           std::move(handlers)).value();
    EXPECT_TRUE(app->connect({.address = node.tcp()}, [&](const auto& connected) { up += connected ? 1 : 0; }));
    return app;
  };
  std::vector<Member> members(kMembers);
  for (std::size_t i = 0; i < kMembers; ++i) {
    members[i].app = make("m" + std::to_string(i), {.on_session = [&members, i](std::shared_ptr<AppSession> session) {
                                                      members[i].session = std::move(session);
                                                      members[i].session->on_message([&members, i](const AppMessage& message) {
                                                        members[i].heard.push_back(std::stoi(text(message)));
                                                      });
                                                    },
                                                    .on_connection = {},
                                                    .on_writable = {}});
  }
  const auto alice = make("alice");
  ASSERT_TRUE(turn_until(*loop, [&] { return up == kMembers + 1; }));
  std::shared_ptr<AppSession> room;
  (void)alice->create_session(MulticastOptions{.channel = named("room"), .timeout = 2000ms, .max_retries = 100}, [&](auto made) { room = made.value(); });
  ASSERT_TRUE(turn_until(*loop, [&] { return room != nullptr; }));
  for (std::size_t i = 0; i < kMembers; ++i) {
    ASSERT_TRUE(room->invite(named("m" + std::to_string(i)), [&](const auto& outcome) { ++(outcome ? in : failed); }));
  }
  ASSERT_TRUE(turn_until(*loop, [&] {
    said += said < 1'000 && room->publish(shared_bytes(std::to_string(said)), {}) ? 1 : 0;
    return in + failed == kMembers;
  }));
  EXPECT_EQ(failed, 0u);
  ASSERT_TRUE(room->publish(shared_bytes(std::to_string(said)), {}));
  ASSERT_TRUE(turn_until(*loop, [&] {
    return std::ranges::all_of(members, [&](const Member& member) { return !member.heard.empty() && member.heard.back() == said; });
  }));
  for (const Member& member : members) {
    for (std::size_t i = 1; i < member.heard.size(); ++i) {
      ASSERT_EQ(member.heard[i], member.heard[i - 1] + 1);
    }
  }
}

TEST(Keys, AreRenewedBeforeTokensExpire) {
  FakeNode node;
  const auto verifier = shared_secret_identity({.base = "x", .secret = kSecret}).value().verifier;
  auto brief = get(BlockingApp::create({.name = named("brief"), .identity = {std::make_shared<BriefProvider>(), verifier}}));
  (void)get(brief->connect({.address = node.tcp()}));
  const auto bob = connected("bob", node.tcp());
  auto to_bob = get(brief->create_session(unicast("bob", true)));
  auto from_brief = get(bob->listen_for_session());
  const std::uint64_t first = to_bob->epoch();
  int said = 0;
  while (to_bob->epoch() < first + 3 || from_brief->epoch() < first + 3) {
    (void)get(to_bob->publish(std::to_string(said)));
    EXPECT_EQ(text(get(from_brief->get_message())), std::to_string(said));
    (void)get(from_brief->publish("back"));
    EXPECT_EQ(text(get(to_bob->get_message())), "back");
    ++said;
    std::this_thread::sleep_for(20ms);
  }
  EXPECT_GT(said, 3);
}

TEST(Names, AnotherServiceOfTheSameApplication) {
  FakeNode node;
  const auto alice = connected("alice", node.tcp());
  const auto bob = connected("bob", node.tcp());
  ASSERT_TRUE(bob->subscribe(named("bobby")));
  EXPECT_FALSE(bob->subscribe(named("bobby")));
  auto session = get(alice->create_session(unicast("bobby", true)));
  const auto heard = get(bob->listen_for_session());
  (void)get(session->publish("hello"));
  EXPECT_EQ(text(get(heard->get_message())), "hello");
}

// Two nodes that know nothing of each other: whoever is invited is looked for on both.
TEST(Names, AreLookedForOnEveryNode) {
  FakeNode here, there;
  const auto alice = connected("alice", here.tcp());
  (void)get(alice->connect({.address = there.tcp()}));
  const auto bob = connected("bob", there.tcp());
  const auto carol = connected("carol", here.tcp());
  for (const char* peer : {"bob", "carol"}) {
    auto session = get(alice->create_session(unicast(peer, true)));
    const auto heard = get((peer == std::string("bob") ? bob : carol)->listen_for_session());
    (void)get(session->publish("hello"));
    const AppMessage message = get(heard->get_message());
    EXPECT_EQ(text(message), "hello");
    (void)get(heard->publish_to(message, "and back"));
    EXPECT_EQ(text(get(session->get_message())), "and back");
  }
}

// An application that goes while calls are open answers all of them.
TEST(TheEnd, AnswersWhatIsOpen) {
  FakeNode node;
  const auto loop = Loop::create().value();
  const auto identity = shared_secret_identity({.base = "org/ns/a", .secret = kSecret}).value();
  auto app = get(App::create(*loop, {.name = named("a"), .identity = identity}));
  bool up = false;
  (void)app->connect({.address = node.tcp()}, [&](const auto& connected) { up = connected.has_value(); });
  while (!up) {
    loop->turn();
  }
  std::vector<std::string> answers;
  const auto note = [&](const char* what) {
    return [&answers, what](const auto& result) {
      EXPECT_FALSE(result);
      if (!result) {
        EXPECT_EQ(result.error().session, SessionFault::kClosed) << what << ": " << result.error().message();
      }
      answers.emplace_back(what);
    };
  };
  std::shared_ptr<AppSession> channel;
  (void)app->create_session(multicast(true), [&](auto created) { channel = created.value(); });
  while (!channel) {
    loop->turn();
  }
  bool closed = false;
  channel->on_event([&](const SessionEvent& event) { closed = closed || std::holds_alternative<SessionClosed>(event); });
  EXPECT_TRUE(channel->publish(shared_bytes("to nobody yet"), {}, note("publish")));
  EXPECT_TRUE(channel->invite(named("nobody"), note("invite")));
  EXPECT_TRUE(app->create_session(unicast("nobody", true), note("create")));
  EXPECT_TRUE(app->connect({.address = "tcp://127.0.0.1:1"}, note("connect")));
  EXPECT_TRUE(app->subscribe(named("other"), note("subscribe")));
  app.reset();
  EXPECT_EQ(answers.size(), 5u) << testing::PrintToString(answers);
  EXPECT_TRUE(closed);
  EXPECT_FALSE(channel->open());
  EXPECT_EQ(fault_of(channel->publish(shared_bytes("late"))), SessionFault::kClosed);
}

TEST(Refused, WhatCannotWork) {
  FakeNode node;
  const Identity identity = shared_secret_identity({.base = "x", .secret = kSecret}).value();
  EXPECT_EQ(BlockingApp::create({.name = named("x")}).error().fault, AppFault::kIdentity);
  EXPECT_EQ(BlockingApp::create({.name = {{"org", "", "x"}, kNullId}, .identity = identity}).error().fault, AppFault::kBadName);
  const auto app = connected("app", node.tcp());
  EXPECT_EQ(app->connect({.address = "carrier-pigeon://roof"}).error().fault, AppFault::kAddress);
  EXPECT_EQ(app->connect({.address = "tcp://127.0.0.1:1"}, 100ms).error().fault, AppFault::kTimeout);
  const auto self = app->create_session(UnicastOptions{.peer = TextName{{"org", "ns", "app"}, app->name().id()}});
  EXPECT_EQ(fault_of(self), SessionFault::kBadName);
  EXPECT_EQ(fault_of(app->create_session(UnicastOptions{.peer = named("nobody"), .timeout = 20ms, .max_retries = 1})), SessionFault::kNotFound);
  EXPECT_EQ(fault_of(app->create_session(UnicastOptions{.peer = named("b"), .timeout = 1ms})), SessionFault::kBadConfig);
  EXPECT_EQ(app->set_route(named("x"), ConnectionId{77}).error().fault, AppFault::kNotConnected);
  EXPECT_EQ(app->listen_for_session(10ms).error().fault, AppFault::kTimeout);
}

TEST(Refused, AnotherSecret) {
  FakeNode node;
  const auto bob = connected("bob", node.tcp());
  const auto mallory = connected("mallory", node.tcp(), "another-secret-of-at-least-32-bytes!!");
  EXPECT_EQ(fault_of(mallory->create_session(UnicastOptions{.peer = named("bob"), .timeout = 20ms, .max_retries = 2})), SessionFault::kNotFound);
  EXPECT_GE(bob->thread()->run([&] { return bob->app().counters().unverified; }), 1u);
}

// Others' tokens are from the future: they answer, and are not believed.
TEST(Refused, ByAClockThatIsBehind) {
  class Behind final : public IdentityVerifier {
   public:
    explicit Behind(std::shared_ptr<IdentityVerifier> right) : right_(std::move(right)) {}
    std::expected<VerifiedIdentity, IdentityError> verify(std::string_view token, std::uint64_t now_s, TokenAge age) override {
      return right_->verify(token, now_s - 600, age);
    }

   private:
    std::shared_ptr<IdentityVerifier> right_;
  };
  FakeNode node;
  const auto bob = connected("bob", node.tcp());
  Identity identity = shared_secret_identity({.base = "org/ns/alice", .secret = kSecret}).value();
  identity.verifier = std::make_shared<Behind>(identity.verifier);
  const auto alice = get(BlockingApp::create({.name = named("alice"), .identity = identity}));
  ASSERT_TRUE(alice->connect({.address = node.tcp()}));
  // Until the answer comes within the patience of a try: a machine may be slow.
  const auto expect_why = [](auto&& call) {
    std::string why;
    for (int i = 0; i < 300 && why.find("believed") == std::string::npos; ++i) {
      const auto result = call();
      EXPECT_EQ(fault_of(result), SessionFault::kNotFound);
      why = result ? "" : result.error().message();
    }
    EXPECT_NE(why.find("org/ns/bob"), std::string::npos);
    EXPECT_NE(why.find("was not believed: the token was made in the future: the clocks differ"), std::string::npos) << why;
  };
  expect_why([&] { return alice->create_session(UnicastOptions{.peer = named("bob"), .timeout = 100ms, .max_retries = 1}); });
  const auto room = get(alice->create_session(MulticastOptions{.channel = named("room"), .timeout = 100ms, .max_retries = 1}));
  expect_why([&] { return room->invite(named("bob")); });
  const auto nobody = room->invite(named("nobody"));
  EXPECT_EQ(fault_of(nobody), SessionFault::kNotFound);
  EXPECT_TRUE(nobody || nobody.error().message().find("believed") == std::string::npos);
  const AppCounters counters = alice->thread()->run([&] { return alice->app().counters(); });
  EXPECT_GE(counters.untimely, 2u);
  EXPECT_EQ(counters.untimely, counters.unverified);
}

TEST(Options, WhatTheyMean) {
  EXPECT_FALSE(config_of(UnicastOptions{}).reliability);
  EXPECT_TRUE(config_of(UnicastOptions{}).mls);
  EXPECT_FALSE(config_of(AnycastOptions{}).mls);
  EXPECT_EQ(config_of(MulticastOptions{.timeout = 250ms}).reliability, (TimerSettings{250, kDefaultRetries}));
  EXPECT_FALSE(config_of(UnicastOptions{.max_retries = 3}).reliability);
  EXPECT_NE(reliability_hint(UnicastOptions{.max_retries = 3}), "");
  EXPECT_EQ(reliability_hint(UnicastOptions{.timeout = 1s, .max_retries = 3}), "");
}

}  // namespace
}  // namespace slipway
