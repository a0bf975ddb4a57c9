// The native client against a small node in a thread: connecting, subscribing, delivery and its rules, trouble.

#include <gtest/gtest.h>

#include <filesystem>

#include "client/application.h"
#include "client/blocking.h"
#include "client/link.h"
#include "fake_node.h"
#include "turn_until.h"

namespace slipway {
namespace {

TextName named(const char* text) { return *parse_name(text); }

// A loop, a link and applications that note what they get.
class Side {
 public:
  struct App {
    std::unique_ptr<ClientApplication> application;
    std::vector<std::string> got;
    std::vector<std::string> sources;
    std::vector<NoRouteNotice> notices;
    std::vector<std::string> lost;
    int writable = 0;
  };

  explicit Side(ClientLinkOptions options) {
    loop = std::move(*Loop::create());
    options.on_phase = [this](ClientLinkPhase phase, const std::string& why) {
      phases.push_back(phase);
      if (!why.empty()) {
        whys.push_back(why);
      }
    };
    auto opened = ClientLink::open(*loop, std::move(options));
    EXPECT_TRUE(opened);
    link = std::move(*opened);
  }
  App& add(const char* name) {
    apps.push_back(std::make_unique<App>());
    App* app = apps.back().get();
    app->application = std::make_unique<ClientApplication>(
        *link, named(name),
        ClientApplication::Handlers{.on_message =
                                        [app](const ClientMessage& m) {
                                          app->got.emplace_back(m.payload_text());
                                          app->sources.push_back(m.source_text());
                                        },
                                    .on_no_route = [app](const NoRouteNotice& notice) { app->notices.push_back(notice); },
                                    .on_writable = [app] { ++app->writable; },
                                    .on_subscription_lost = [app](const TextName& lost, const std::string& why) { app->lost.push_back(lost.text() + ": " + why); }});
    return *app;
  }
  template <class Done>
  [[nodiscard]] bool until(Done done) { return turn_until(*loop, done); }
  bool wait_up() {
    return until([this] { return link->up(); });
  }
  ClientResult subscribe(App& app, const TextName& name) {
    std::optional<ClientResult> result;
    app.application->subscribe(name, [&](ClientResult r) { result = std::move(r); });
    EXPECT_TRUE(until([&] { return result.has_value(); }));
    return result.value_or(std::unexpected("no answer"));
  }
  void settle() {
    for (int i = 0; i < 3; ++i) {
      loop->turn(0);
    }
  }

  std::unique_ptr<Loop> loop;
  std::unique_ptr<ClientLink> link;
  std::vector<std::unique_ptr<App>> apps;
  std::vector<ClientLinkPhase> phases;
  std::vector<std::string> whys;

  ~Side() { apps.clear(); }
};

std::string unix_path() { return std::filesystem::temp_directory_path() / ("slipway-client-test-" + std::to_string(getpid())); }

class ClientOver : public testing::TestWithParam<const char*> {
 protected:
  ClientOver() : path(unix_path()) {
    std::filesystem::remove(path);
    node = std::make_unique<FakeNode>(path);
  }
  ~ClientOver() override {
    node.reset();
    std::filesystem::remove(path);
  }
  std::string address() const {
    const std::string kind = GetParam();
    return kind == "tcp" ? node->tcp() : kind == "udp" ? node->udp() : "unix://" + path;
  }
  std::string path;
  std::unique_ptr<FakeNode> node;
};

TEST_P(ClientOver, SubscribesPublishesAndReceives) {
  Side a({.address = address(), .client_name = "side a"});
  Side b({.address = address()});
  auto& sender = a.add("org/ns/sender");
  auto& receiver = b.add("org/ns/receiver");
  ASSERT_TRUE(b.wait_up());
  ASSERT_TRUE(b.subscribe(receiver, receiver.application->name()));
  ASSERT_TRUE(a.wait_up());
  EXPECT_EQ(node->run([](FakeNode& n) { return n.hellos.back().node_id; }), "side a");
  EXPECT_EQ(a.link->node().node_id, "fake");

  const Destination anycast(*sender.application, named("org/ns/receiver"), Receivers::kOne, "text/plain");
  const Destination unicast(*sender.application, receiver.application->name(), Receivers::kOne, {}, false);
  EXPECT_EQ(sender.application->publish(anycast, "one", 3, 4), PublishStatus::kQueued);
  EXPECT_EQ(sender.application->publish(unicast, ""), PublishStatus::kQueued);
  a.settle();
  ASSERT_TRUE(b.until([&] { return receiver.got.size() == 2; }));
  EXPECT_EQ(receiver.got, (std::vector<std::string>{"one", ""}));
  EXPECT_EQ(receiver.sources[0], sender.application->name().text());
  EXPECT_EQ(receiver.sources[1], hashed_text(sender.application->hashed_name()));
  EXPECT_EQ(a.link->counters().frames_sent, 2u);
}

// What was read and not handed out is not forgotten, though the socket has nothing to tell.
TEST_P(ClientOver, WhoeverRestsGetsTheRestInTheNextTurns) {
  const bool stream = std::string(GetParam()) != "udp";
  constexpr std::size_t kMessages = 50;
  Side a({.address = address()});
  Side b({.address = address()});
  auto& sender = a.add("org/ns/sender");
  std::vector<std::string> got;
  ClientApplication receiver(*b.link, named("org/ns/receiver"),
                             {.on_message = [&](const ClientMessage& m) { got.emplace_back(m.payload_text()), b.link->rest(); },
                              .on_no_route = {}, .on_writable = {}, .on_subscription_lost = {}});
  bool subscribed = false;
  receiver.subscribe(named("org/ns/receiver"), [&](ClientResult result) { subscribed = result.has_value(); });
  ASSERT_TRUE(b.until([&] { return subscribed; }));
  ASSERT_TRUE(a.wait_up());
  const Destination to(*sender.application, named("org/ns/receiver"), Receivers::kOne, {}, false);
  std::vector<std::string> sent;
  for (std::size_t i = 0; i < kMessages; ++i) {
    sent.push_back(std::to_string(i));
    ASSERT_EQ(sender.application->publish(to, sent.back()), PublishStatus::kQueued);
  }
  a.settle();
  std::size_t most = 0;
  ASSERT_TRUE(b.until([&, before = std::size_t{0}]() mutable {
    most = std::max(most, got.size() - before);
    before = got.size();
    return got.size() == kMessages;
  }));
  EXPECT_EQ(got, sent);
  if (stream) {
    EXPECT_LE(most, 2u);  // one read, and one of what was left over
  }
  b.link->rest();  // outside of a callback it means nothing
  ASSERT_EQ(sender.application->publish(to, "more"), PublishStatus::kQueued);
  a.settle();
  EXPECT_TRUE(b.until([&] { return got.back() == "more"; }));
}

// What is held stays as it is until the client says that it goes: before it reads again, and when the link is lost.
TEST_P(ClientOver, WhatIsHeldStaysUntilItIsUsedAgain) {
  const bool stream = std::string(GetParam()) != "udp";
  Side a({.address = address()});
  Side b({.address = address()});
  auto& sender = a.add("org/ns/sender");
  std::vector<std::pair<std::string_view, std::string>> held;  // where it lies, and what it was
  std::size_t got = 0, checked = 0, reuses = 0;
  ClientApplication receiver(*b.link, named("org/ns/receiver"),
                             {.on_message =
                                  [&](const ClientMessage& m) {
                                    ++got;
                                    EXPECT_EQ(b.link->hold(), stream);
                                    if (stream) {
                                      held.emplace_back(m.payload_text(), m.payload_text());
                                    }
                                  },
                              .on_no_route = {},
                              .on_writable = {},
                              .on_subscription_lost = {},
                              .on_reuse =
                                  [&] {
                                    ++reuses;
                                    for (const auto& [there, was] : held) {
                                      EXPECT_EQ(there, was);
                                      ++checked;
                                    }
                                    held.clear();
                                  }});
  bool subscribed = false;
  receiver.subscribe(named("org/ns/receiver"), [&](ClientResult result) { subscribed = result.has_value(); });
  ASSERT_TRUE(b.until([&] { return subscribed; }));
  ASSERT_TRUE(a.wait_up());
  const Destination to(*sender.application, named("org/ns/receiver"), Receivers::kOne, {}, false);
  EXPECT_FALSE(b.link->hold());  // outside of a callback
  std::size_t sent = 0;
  for (const std::size_t bytes : {10u, 5'000u, 60'000u, 300u, 150'000u, 1u}) {
    if (!stream && bytes > 300) {
      continue;  // a burst of datagrams may be lost
    }
    for (char c = 'a'; c < 'f'; ++c, ++sent) {
      ASSERT_EQ(sender.application->publish(to, std::string(bytes, c)), PublishStatus::kQueued);
    }
    a.settle();
    ASSERT_TRUE(a.until([&] { return a.link->queued_bytes() == 0; }));
    ASSERT_TRUE(b.until([&] { return got == sent; }));
  }
  if (stream) {
    EXPECT_FALSE(held.empty());
    EXPECT_GT(reuses, 0u);
  }
  b.link->close();
  EXPECT_TRUE(held.empty());
  EXPECT_EQ(checked, stream ? sent : 0u);
}

// What applications of one link send each other lies nowhere for longer than the call.
TEST(ClientMatching, WhatComesFromTheSameLinkIsNotHeld) {
  FakeNode node;
  Side side({.address = node.tcp()});
  auto& sender = side.add("org/ns/sender");
  ASSERT_TRUE(side.wait_up());
  std::optional<bool> held;
  ClientApplication receiver(*side.link, named("org/ns/receiver"), {.on_message = [&](const ClientMessage&) { held = side.link->hold(); },
                                                                    .on_no_route = {}, .on_writable = {}, .on_subscription_lost = {}, .on_reuse = {}});
  receiver.subscribe(named("org/ns/receiver"));
  const Destination to(*sender.application, named("org/ns/receiver"), Receivers::kOne, {}, false);
  ASSERT_EQ(sender.application->publish(to, "near"), PublishStatus::kQueued);
  ASSERT_TRUE(side.until([&] { return held.has_value(); }));
  EXPECT_FALSE(*held);
}

TEST_P(ClientOver, FramesOfManySizes) {
  Side a({.address = address()});
  Side b({.address = address()});
  auto& sender = a.add("org/ns/sender");
  auto& receiver = b.add("org/ns/receiver");
  ASSERT_TRUE(b.wait_up() && a.wait_up());
  ASSERT_TRUE(b.subscribe(receiver, named("org/ns/receiver")));
  const Destination to(*sender.application, named("org/ns/receiver"), Receivers::kOne, {}, false);
  const bool datagrams = std::string(GetParam()) == "udp";
  for (const std::size_t bytes : {1u, 500u, 1200u, 1300u, 1400u, 3000u, 20'000u, 65'000u, 70'000u, 1'000'000u, 4'194'000u}) {
    const bool fits = !datagrams || bytes < 65'400;
    std::string payload(bytes, 'a');
    payload.back() = 'z';
    const auto status = sender.application->publish(to, payload);
    ASSERT_EQ(status, fits ? PublishStatus::kQueued : PublishStatus::kTooBig) << bytes;
    if (fits) {
      a.settle();
      const auto before = receiver.got.size();
      // Both loops turn: a large frame does not fit the socket's buffers at once.
      ASSERT_TRUE(b.until([&] {
        a.loop->turn(0);
        return receiver.got.size() > before;
      })) << bytes;
      EXPECT_EQ(receiver.got.back(), payload);
    }
  }
  EXPECT_EQ(sender.application->publish(to, std::string(kMaxFrameBytes, 'x')), PublishStatus::kTooBig);
}

TEST_P(ClientOver, TheSenderIsToldWhenNobodySubscribes) {
  Side a({.address = address()});
  auto& sender = a.add("org/ns/sender");
  ASSERT_TRUE(a.wait_up());
  sender.application->publish(Destination(*sender.application, named("org/ns/nobody"), Receivers::kOne), "x", 11, 12);
  ASSERT_TRUE(a.until([&] { return !sender.notices.empty(); }));
  const auto& notice = sender.notices[0];
  EXPECT_EQ(notice.reason, "no_route");
  EXPECT_EQ(notice.destination, named("org/ns/nobody").hashed());
  EXPECT_EQ(notice.session_id, 11u);
  EXPECT_EQ(notice.message_id, 12u);
  EXPECT_EQ(notice.more, 2u);
  EXPECT_FALSE(notice.advice.empty());
  EXPECT_EQ(a.link->counters().no_route, 3u);
}

TEST_P(ClientOver, InstancesAreAskedFor) {
  Side b({.address = address()});
  auto& one = b.add("org/ns/svc");
  auto& two = b.add("org/ns/svc");
  ASSERT_TRUE(b.wait_up());
  ASSERT_TRUE(b.subscribe(one, one.application->name()));
  ASSERT_TRUE(b.subscribe(two, two.application->name()));
  std::optional<std::expected<InstancesAnswer, std::string>> answer;
  b.link->instances(named("org/ns/svc").hashed(), [&](auto a) { answer = std::move(a); });
  ASSERT_TRUE(b.until([&] { return answer.has_value(); }));
  ASSERT_TRUE(*answer);
  EXPECT_EQ((*answer)->ids.size(), 2u);
  EXPECT_FALSE((*answer)->truncated);
}

TEST_P(ClientOver, UnsubscribeIsAnsweredAndEndsDelivery) {
  Side b({.address = address()});
  auto& app = b.add("org/ns/svc");
  ASSERT_TRUE(b.wait_up());
  std::optional<ClientResult> up, down, twice;
  const auto id = app.application->subscribe(named("org/ns/other"), [&](ClientResult r) { up = r; });
  ASSERT_TRUE(b.until([&] { return up.has_value(); }));
  app.application->unsubscribe(id, [&](ClientResult r) { down = r; });
  app.application->unsubscribe(id, [&](ClientResult r) { twice = r; });
  ASSERT_TRUE(b.until([&] { return down.has_value() && twice.has_value(); }));
  EXPECT_TRUE(*up);
  EXPECT_TRUE(*down);
  EXPECT_FALSE(*twice);
  EXPECT_EQ(node->run([](FakeNode& n) { return n.unsubscribes; }), 1);
  EXPECT_TRUE(b.link->settled());
}

INSTANTIATE_TEST_SUITE_P(Transports, ClientOver, testing::Values("tcp", "unix", "udp"), [](const auto& i) { return i.param; });

TEST(ClientMatching, AnycastPrefersApplicationsOfTheSameLink) {
  FakeNode node;
  Side a({.address = node.tcp()});
  Side far({.address = node.tcp()});
  auto& sender = a.add("org/ns/svc");
  auto& near_one = a.add("org/ns/svc");
  auto& near_two = a.add("org/ns/svc");
  auto& far_one = far.add("org/ns/svc");
  ASSERT_TRUE(a.wait_up() && far.wait_up());
  for (auto* app : {&sender, &near_one, &near_two}) {
    ASSERT_TRUE(a.subscribe(*app, app->application->name()));
  }
  ASSERT_TRUE(far.subscribe(far_one, far_one.application->name()));
  const Destination anycast(*sender.application, named("org/ns/svc"), Receivers::kOne);
  for (int i = 0; i < 10; ++i) {
    ASSERT_EQ(sender.application->publish(anycast, "x"), PublishStatus::kQueued);
  }
  a.settle();
  EXPECT_EQ(near_one.got.size(), 5u);
  EXPECT_EQ(near_two.got.size(), 5u);
  EXPECT_TRUE(sender.got.empty());
  EXPECT_EQ(node.run([](FakeNode& n) { return n.publishes; }), 0);
  // An exact id that is not here goes to the node; one that is here does not.
  sender.application->publish(Destination(*sender.application, far_one.application->name(), Receivers::kOne), "far");
  sender.application->publish(Destination(*sender.application, near_two.application->name(), Receivers::kOne), "near");
  a.settle();
  ASSERT_TRUE(far.until([&] { return far_one.got.size() == 1; }));
  EXPECT_EQ(near_two.got.back(), "near");
  EXPECT_EQ(node.run([](FakeNode& n) { return n.publishes; }), 1);
}

TEST(ClientMatching, AChannelReachesBothSidesAndNeverTheSender) {
  FakeNode node;
  Side a({.address = node.tcp()});
  Side far({.address = node.tcp()});
  auto& sender = a.add("org/ns/one");
  auto& near_one = a.add("org/ns/two");
  auto& far_one = far.add("org/ns/three");
  auto& far_two = far.add("org/ns/four");
  ASSERT_TRUE(a.wait_up() && far.wait_up());
  const auto channel = named("org/ns/room/0x1234");
  ASSERT_TRUE(a.subscribe(sender, channel));
  ASSERT_TRUE(a.subscribe(near_one, channel));
  ASSERT_TRUE(far.subscribe(far_one, channel));
  ASSERT_TRUE(far.subscribe(far_two, channel));
  EXPECT_EQ(sender.application->publish(Destination(*sender.application, channel, Receivers::kAll), "hi"), PublishStatus::kQueued);
  a.settle();
  ASSERT_TRUE(far.until([&] { return !far_one.got.empty() && !far_two.got.empty(); }));
  EXPECT_EQ(near_one.got, std::vector<std::string>{"hi"});
  EXPECT_EQ(far_one.got, std::vector<std::string>{"hi"});
  EXPECT_TRUE(sender.got.empty());
}

TEST(ClientMatching, WhatTheNodeSendsToOneIsSpreadOverTheApplications) {
  FakeNode node;
  Side a({.address = node.tcp()});
  Side b({.address = node.tcp()});
  auto& sender = a.add("org/ns/sender");
  auto& one = b.add("org/ns/svc");
  auto& two = b.add("org/ns/svc");
  ASSERT_TRUE(a.wait_up() && b.wait_up());
  ASSERT_TRUE(b.subscribe(one, one.application->name()));
  ASSERT_TRUE(b.subscribe(two, two.application->name()));
  const Destination anycast(*sender.application, named("org/ns/svc"), Receivers::kOne);
  for (int i = 0; i < 20; ++i) {
    sender.application->publish(anycast, "x");
  }
  a.settle();
  ASSERT_TRUE(b.until([&] { return one.got.size() + two.got.size() == 20; }));
  EXPECT_EQ(one.got.size(), 10u);
}

TEST(ClientMatching, LocalRoutesCountCrossingSubscriptions) {
  LocalRoutes routes;
  auto* a = reinterpret_cast<ClientApplication*>(16);
  auto* b = reinterpret_cast<ClientApplication*>(32);
  const auto service = named("o/n/s").hashed();
  const auto instance = named("o/n/s/0x1").hashed();
  routes.add(instance, a);
  routes.add(service, a);
  routes.add(instance, a);
  EXPECT_EQ(routes.choose(service, nullptr), a);
  EXPECT_EQ(routes.choose(service, a), nullptr);
  EXPECT_FALSE(routes.has_other(instance, a));
  routes.add(instance, b);
  EXPECT_EQ(routes.choose(instance, a), b);
  EXPECT_TRUE(routes.has_other(service, a));
  routes.remove(instance, a);
  EXPECT_EQ(routes.choose(instance, b), a);
  routes.remove(instance, a);
  EXPECT_EQ(routes.choose(instance, b), nullptr);
  EXPECT_EQ(routes.choose(service, b), a);  // its null-id subscription is left
  routes.remove(service, a);
  routes.remove(instance, b);
  EXPECT_EQ(routes.names(), 0u);
}

TEST(ClientTrouble, ALostLinkComesBackAndSubscribesAgain) {
  FakeNode node;
  Side a({.address = node.tcp()});
  Side b({.address = node.tcp()});
  auto& sender = a.add("org/ns/sender");
  auto& receiver = b.add("org/ns/receiver");
  ASSERT_TRUE(a.wait_up() && b.wait_up());
  ASSERT_TRUE(b.subscribe(receiver, receiver.application->name()));
  ASSERT_TRUE(b.subscribe(receiver, named("org/ns/room/0x1")));
  node.drop_all();
  ASSERT_TRUE(b.until([&] { return b.link->counters().ups == 2 && b.link->settled(); }));
  ASSERT_TRUE(a.until([&] { return a.link->counters().ups == 2; }));
  EXPECT_EQ(node.run([](FakeNode& n) { return n.subscribes; }), 4);
  ASSERT_FALSE(b.whys.empty());
  EXPECT_NE(b.whys[0].find("closed the connection"), std::string::npos);
  sender.application->publish(Destination(*sender.application, named("org/ns/receiver"), Receivers::kOne), "again");
  a.settle();
  ASSERT_TRUE(b.until([&] { return receiver.got == std::vector<std::string>{"again"}; }));
}

TEST(ClientTrouble, ASubscriptionThatIsRefusedAfterAReconnectIsReported) {
  FakeNode node;
  Side b({.address = node.tcp()});
  auto& app = b.add("org/ns/receiver");
  ASSERT_TRUE(b.wait_up());
  ASSERT_TRUE(b.subscribe(app, named("org/ns/x")));
  node.run([](FakeNode& n) { n.subscription_error = "the limit of subscriptions is reached"; });
  node.drop_all();
  ASSERT_TRUE(b.until([&] { return !app.lost.empty(); }));
  EXPECT_EQ(app.lost[0], "org/ns/x: the limit of subscriptions is reached");
  const auto refused = b.subscribe(app, named("org/ns/y"));
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error(), "the limit of subscriptions is reached");
}

TEST(ClientTrouble, NothingListens) {
  Side a({.address = "tcp://127.0.0.1:1"});
  ASSERT_TRUE(a.until([&] { return a.whys.size() >= 3; }));  // it keeps trying
  EXPECT_NE(a.whys[0].find("cannot connect to tcp://127.0.0.1:1: Connection refused"), std::string::npos) << a.whys[0];
  Side u({.address = "udp://127.0.0.1:1", .reconnect = false});
  ASSERT_TRUE(u.until([&] { return u.link->phase() == ClientLinkPhase::kClosed; }));
  EXPECT_NE(u.whys[0].find("nothing listens"), std::string::npos) << u.whys[0];
  Side x({.address = "unix:///nonexistent/slipway.sock", .reconnect = false});
  ASSERT_TRUE(x.until([&] { return x.link->phase() == ClientLinkPhase::kClosed; }));
  EXPECT_NE(x.whys[0].find("No such file"), std::string::npos) << x.whys[0];
}

TEST(ClientTrouble, AFirstFailureCanBeFinalAndALaterOneNot) {
  Side never({.address = "tcp://127.0.0.1:1", .retry_first = false});
  ASSERT_TRUE(never.until([&] { return never.link->phase() == ClientLinkPhase::kClosed; }));
  FakeNode node;
  Side once({.address = node.tcp(), .retry_first = false});
  ASSERT_TRUE(once.wait_up());
  node.drop_all();
  ASSERT_TRUE(once.until([&] { return once.link->counters().ups == 2; }));
}

TEST(ClientTrouble, ARefusedHelloSaysWhy) {
  FakeNode node;
  node.run([](FakeNode& n) { n.refuse = true; });
  Side a({.address = node.tcp(), .reconnect = false});
  ASSERT_TRUE(a.until([&] { return a.link->phase() == ClientLinkPhase::kClosed; }));
  EXPECT_NE(a.whys[0].find("refused the link: no room"), std::string::npos);
}

TEST(ClientTrouble, ASilentNodeIsGivenUp) {
  FakeNode node;
  Side a({.address = node.tcp(), .keepalive_ms = 100});
  ASSERT_TRUE(a.wait_up());
  ASSERT_TRUE(a.until([&] { return a.link->round_trip_ns() > 0; }));  // keepalives are answered
  node.run([](FakeNode& n) { n.silent = true; });
  ASSERT_TRUE(a.until([&] { return !a.whys.empty(); }));
  EXPECT_NE(a.whys[0].find("silent"), std::string::npos);
  node.run([](FakeNode& n) { n.silent = false; });
  ASSERT_TRUE(a.until([&] { return a.link->up(); }));
}

TEST(ClientTrouble, ANodeThatNeverAnswersTheHello) {
  FakeNode node;
  node.run([](FakeNode& n) { n.silent = true; });
  Side a({.address = node.tcp(), .connect_ms = 150, .reconnect = false});
  ASSERT_TRUE(a.until([&] { return a.link->phase() == ClientLinkPhase::kClosed; }));
  EXPECT_NE(a.whys[0].find("did not answer our hello"), std::string::npos);
}

TEST(ClientTrouble, DatagramHellosThatGetLostAreRepeated) {
  FakeNode node;
  node.run([](FakeNode& n) { n.drop_hellos = 2; });
  Side a({.address = node.udp()});
  ASSERT_TRUE(a.wait_up());
  const auto hellos = node.run([](FakeNode& n) { return n.hellos; });
  ASSERT_GE(hellos.size(), 4u);
  EXPECT_TRUE(hellos[0].cookie.empty());
  EXPECT_EQ(hellos.back().cookie.size(), 16u);
  EXPECT_EQ(a.phases, (std::vector{ClientLinkPhase::kConnecting, ClientLinkPhase::kGreeting, ClientLinkPhase::kUp}));
}

TEST(ClientTrouble, AnUnansweredSubscriptionIsSentAgain) {
  FakeNode node;
  node.run([](FakeNode& n) { n.answer_subscriptions = false; });
  Side a({.address = node.udp()});
  auto& app = a.add("org/ns/x");
  ASSERT_TRUE(a.wait_up());
  std::optional<ClientResult> result;
  app.application->subscribe_self([&](ClientResult r) { result = r; });
  ASSERT_TRUE(a.until([&] { return node.run([](FakeNode& n) { return n.subscribes; }) == 1; }));
  EXPECT_FALSE(a.link->settled());
  node.run([](FakeNode& n) { n.answer_subscriptions = true; });
  ASSERT_TRUE(a.until([&] { return result.has_value(); }));
  EXPECT_TRUE(*result);
  EXPECT_EQ(node.run([](FakeNode& n) { return n.subscribes; }), 2);
}

TEST(ClientTrouble, ASlowNodePushesBackAndNothingIsLost) {
  FakeNode node;
  Side a({.address = node.tcp(), .queue_bytes = 256 << 10});
  auto& sender = a.add("org/ns/sender");
  ASSERT_TRUE(a.wait_up());
  node.run([](FakeNode& n) { n.reading = false; });
  const Destination to(*sender.application, named("org/ns/nobody"), Receivers::kOne, {}, false);
  const std::string payload(10'000, 'x');
  int taken = 0;
  while (sender.application->publish(to, payload) == PublishStatus::kQueued) {
    ++taken;
    a.loop->turn(0);
    ASSERT_LT(taken, 100'000);
    ASSERT_LE(a.link->queued_bytes(), (256u << 10) + 20'000u);
  }
  EXPECT_GT(taken, 26);
  EXPECT_EQ(sender.application->publish(to, payload), PublishStatus::kQueueFull);
  a.settle();
  EXPECT_EQ(sender.writable, 0);
  node.run([](FakeNode& n) { n.resume_reading(); });
  ASSERT_TRUE(a.until([&] { return sender.writable == 1; }));
  ASSERT_EQ(sender.application->publish(to, payload), PublishStatus::kQueued);
  ASSERT_TRUE(a.until([&] { return node.run([](FakeNode& n) { return n.publishes; }) == taken + 1; }));
  EXPECT_GE(a.link->counters().refused, 2u);
}

TEST(ClientTrouble, GarbageFromTheNodeEndsTheLink) {
  FakeNode node;
  for (const std::string_view garbage : {std::string_view("\x05\x00\x00\x00", 4), std::string_view("\xFF\xFF\xFF\xFF", 4), std::string_view("HTTP/1.1 400 Bad Request\r\n")}) {
    Side a({.address = node.tcp(), .reconnect = false});
    ASSERT_TRUE(a.wait_up());
    node.run([&](FakeNode& n) { n.send_raw(*n.peers_.back(), garbage); });
    ASSERT_TRUE(a.until([&] { return a.link->phase() == ClientLinkPhase::kClosed; }));
    EXPECT_NE(a.whys[0].find("sent a frame of"), std::string::npos);
  }
  // A frame of a right length that makes no sense.
  Side a({.address = node.tcp(), .reconnect = false});
  ASSERT_TRUE(a.wait_up());
  node.run([&](FakeNode& n) { n.send_raw(*n.peers_.back(), std::string("\x68\x00\x00\x00", 4) + std::string(104, '\7')); });
  ASSERT_TRUE(a.until([&] { return a.link->phase() == ClientLinkPhase::kClosed; }));
  EXPECT_EQ(a.link->counters().malformed, 1u);
}

TEST(ClientTrouble, PublishingWithoutALinkIsRefused) {
  Side a({.address = "tcp://127.0.0.1:1"});
  auto& one = a.add("org/ns/one");
  auto& two = a.add("org/ns/two");
  EXPECT_EQ(one.application->publish(Destination(*one.application, named("org/ns/x"), Receivers::kOne), "x"), PublishStatus::kNotConnected);
  // Between applications of the link no node is needed.
  two.application->subscribe_self();
  EXPECT_EQ(one.application->publish(Destination(*one.application, named("org/ns/two"), Receivers::kOne), "x"), PublishStatus::kQueued);
  a.settle();
  EXPECT_EQ(two.got.size(), 1u);
}

TEST(ClientTrouble, AClosedLinkSaysBye) {
  FakeNode node;
  auto a = std::make_unique<Side>(ClientLinkOptions{.address = node.tcp()});
  ASSERT_TRUE(a->wait_up());
  a->link->close();
  EXPECT_EQ(a->link->phase(), ClientLinkPhase::kClosed);
  a->settle();
  a.reset();
}

TEST(ClientTrouble, AnApplicationThatGoesAwayIsUnsubscribed) {
  FakeNode node;
  Side a({.address = node.tcp()});
  auto& app = a.add("org/ns/one");
  ASSERT_TRUE(a.wait_up());
  ASSERT_TRUE(a.subscribe(app, named("org/ns/a")));
  ASSERT_TRUE(a.subscribe(app, named("org/ns/b")));
  a.apps.clear();
  ASSERT_TRUE(a.until([&] { return node.run([](FakeNode& n) { return n.unsubscribes; }) == 2 && a.link->settled(); }));
}

TEST(ClientMany, ThousandsOfSubscriptionsAreAnsweredInOrderOfAWindow) {
  FakeNode node;
  Side a({.address = node.tcp()});
  auto& app = a.add("org/ns/one");
  ASSERT_TRUE(a.wait_up());
  int answered = 0;
  for (int i = 0; i < 5'000; ++i) {
    app.application->subscribe(named(("org/ns/svc" + std::to_string(i)).c_str()), [&](ClientResult r) { answered += r ? 1 : 0; });
  }
  ASSERT_TRUE(a.until([&] { return answered == 5'000; }));
  EXPECT_EQ(node.run([](FakeNode& n) { return n.subscribes; }), 5'000);
}

TEST(Blocking, EverythingOnce) {
  FakeNode node;
  auto receiver = BlockingClient::connect({.address = node.tcp()}, named("org/ns/receiver"));
  ASSERT_TRUE(receiver) << receiver.error();
  auto sender = BlockingClient::connect({.address = node.udp()}, named("org/ns/sender"));
  ASSERT_TRUE(sender) << sender.error();
  ASSERT_TRUE((*receiver)->subscribe_self());
  const auto instances = (*sender)->instances(named("org/ns/receiver"));
  ASSERT_TRUE(instances);
  EXPECT_EQ(instances->ids, std::vector<NameId>{(*receiver)->name().id});
  ASSERT_TRUE((*sender)->publish(named("org/ns/receiver"), Receivers::kOne, "hello"));
  ASSERT_TRUE((*sender)->flush());
  const auto message = (*receiver)->receive(10'000);
  ASSERT_TRUE(message);
  EXPECT_EQ(message->message().payload_text(), "hello");
  EXPECT_FALSE((*receiver)->receive(0));
  ASSERT_TRUE((*receiver)->unsubscribe((*receiver)->name()));
  EXPECT_FALSE((*receiver)->unsubscribe((*receiver)->name()));
  ASSERT_TRUE((*sender)->publish(named("org/ns/receiver"), Receivers::kOne, "nobody there"));
  const auto notice = (*sender)->no_route(10'000);
  ASSERT_TRUE(notice);
  EXPECT_EQ(notice->reason, "no_route");
}

TEST(Blocking, ConnectFailsWithAReason) {
  const auto refused = BlockingClient::connect({.address = "tcp://127.0.0.1:1", .reconnect = false}, named("o/n/s"));
  ASSERT_FALSE(refused);
  EXPECT_NE(refused.error().find("is slipwayd running"), std::string::npos);
  const auto nobody = BlockingClient::connect({.address = "tcp://no-such-host.invalid", .reconnect = false}, named("o/n/s"), 60'000);
  ASSERT_FALSE(nobody);
  EXPECT_NE(nobody.error().find("`no-such-host.invalid` cannot be resolved"), std::string::npos) << nobody.error();
  const auto nonsense = BlockingClient::connect({.address = "localhost:1"}, named("o/n/s"));
  ASSERT_FALSE(nonsense);
  EXPECT_NE(nonsense.error().find("tcp://HOST:PORT"), std::string::npos);
}

TEST(EndpointText, EveryFormAndEveryFault) {
  struct Good {
    const char* text;
    const char* full;
    bool loopback;
  };
  for (const auto& [text, full, loopback] : {Good{"tcp://127.0.0.1", "tcp://127.0.0.1:46367", true}, Good{"tcp://localhost:1", "tcp://127.0.0.1:1", true},
                                             Good{"udp://[::1]:99", "udp://[::1]:99", true}, Good{"udp://[fe80::1]", "udp://[fe80::1]:46367", false},
                                             Good{"tcp://10.1.2.3:65535", "tcp://10.1.2.3:65535", false}, Good{"unix:///run/x", "unix:///run/x", true}}) {
    const auto parsed = parse_endpoint(text);
    ASSERT_TRUE(parsed) << parsed.error();
    EXPECT_EQ(parsed->text, full);
    EXPECT_EQ(parsed->loopback(), loopback);
  }
  for (const char* bad : {"", "127.0.0.1:1", "http://x", "tcp://", "tcp://ex ample.org:1", "tcp://-x:1", "tcp://1.2.3.256:5", "tcp://1.2.3.4:0", "tcp://1.2.3.4:65536", "tcp://1.2.3.4:x", "tcp://1.2.3.4:",
                          "tcp://::1:5", "tcp://[::1", "tcp://[::1]5", "tcp://1.2.3:4"}) {
    const auto parsed = parse_endpoint(bad);
    ASSERT_FALSE(parsed) << bad;
    EXPECT_NE(parsed.error().find("an address is"), std::string::npos);
  }
  EXPECT_FALSE(parse_endpoint("unix://" + std::string(200, 'x')));
  auto named = parse_endpoint("udp://node-1.example.org:77");
  ASSERT_TRUE(named);
  EXPECT_EQ(named->host, "node-1.example.org");
  EXPECT_EQ(named->text, "udp://node-1.example.org:77");
  set_address(*named, {.family = AF_INET, .bytes = {127, 0, 0, 2}});
  EXPECT_TRUE(named->loopback());
  EXPECT_EQ(ntohs(reinterpret_cast<const sockaddr_in&>(named->address).sin_port), 77);
  set_address(*named, {.family = AF_INET6, .bytes = {0xFE, 0x80}});
  EXPECT_EQ(named->address_bytes, sizeof(sockaddr_in6));
}

}  // namespace
}  // namespace slipway
