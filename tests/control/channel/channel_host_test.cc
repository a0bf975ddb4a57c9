// The node's channels with members in the same process: connections without sockets, a switch in place of the workers.
#include "channel/channel_host.h"

#include <gtest/gtest.h>

#include <map>
#include <set>

#include "identity/shared_secret.h"

namespace slipway {
namespace {

constexpr std::string_view kSecret = "a-shared-secret-of-at-least-32-bytes!!";

TextName name_of(const std::string& text) { return parse_name(text).value(); }

// What the workers do, for connections of this process.
class Switch {
 public:
  class Port final : public LocalWire {
   public:
    explicit Port(Switch& of) : switch_(of), connection(std::make_shared<LocalConnection>(*this)) {}
    void control(std::span<const std::byte> frame) override {
      const auto header = load_header(frame.data());
      const auto body = decode_subscribe(frame);
      ASSERT_TRUE(body);
      const bool refused = switch_.refuse;
      if (header.kind == FrameKind::kSubscribe && !refused) {
        names.insert(name_text(header.destination));
      } else {
        names.erase(name_text(header.destination));
      }
      connection->answer_in({body->subscription_id, !refused, refused ? "not wanted here" : ""});
    }
    void publish(std::span<const std::byte> frame) override {
      const auto header = load_header(frame.data());
      for (Port* port : switch_.ports) {
        if (port != this && port->takes(header.destination)) {
          port->connection->frame_in(frame);
          if (header.fanout == 1) {
            return;
          }
        }
      }
    }
    bool busy() override { return switch_.busy; }
    [[nodiscard]] bool takes(const Name& name) const {
      const std::string text = name_text(name);
      return names.contains(text) || (name.id.is_null() && std::ranges::any_of(names, [&](const auto& n) { return n.starts_with(service_text(name)); }));
    }
    static std::string service_text(const Name& name) { return hashed_text({name.component, kNullId}); }
    static std::string name_text(const Name& name) { return service_text(name) + "|" + id_text(name.id); }

   private:
    Switch& switch_;

   public:
    std::set<std::string> names;
    std::shared_ptr<LocalConnection> connection;
  };

  std::unique_ptr<Port> add() {
    auto port = std::make_unique<Port>(*this);
    ports.push_back(port.get());
    return port;
  }
  bool pump() {
    bool more = false;
    for (Port* port : std::vector(ports)) {
      more |= port->connection->pump([] { return std::uint64_t{0}; }, 1);
    }
    return more;
  }

  std::vector<Port*> ports;
  bool busy = false;
  bool refuse = false;
};

Identity identity_of(const std::string& name) {
  return *shared_secret_identity({.base = name, .secret = kSecret, .subject = name, .key = {}});
}

class Member {
 public:
  Member(Loop& loop, Switch& with, const std::string& name) : port(with.add()) {
    app = std::move(*App::create(loop, {.name = name_of(name), .identity = identity_of(name)},
                                 {.on_session = [this](std::shared_ptr<AppSession> session) { sessions.push_back(std::move(session)); }}));
    EXPECT_TRUE(app->use(port->connection));
  }
  std::unique_ptr<Switch::Port> port;
  std::unique_ptr<App> app;
  std::vector<std::shared_ptr<AppSession>> sessions;
};

class ChannelHostTest : public testing::Test {
 protected:
  void open(ChannelHostOptions options = {}) {
    options.local_name = name_of("org/node/moderator");
    options.identity = identity_of("org/node/moderator");
    options.limit = options.limit == 0 ? 3 : options.limit;
    options.between_steps = [this] { ++steps; };
    options.log = [this](bool, std::string text) { log += text + "\n"; };
    auto made = ChannelHost::create(*loop, port->connection, std::move(options));
    ASSERT_TRUE(made) << made.error();
    host = std::move(*made);
    host->on_event([this](const ChannelEvent& event) { events.push_back(event); });
  }
  // Turns until it is so; a minute at most.
  template <class F>
  void until(F&& f) {
    for (int i = 0; i < 60'000 && !f(); ++i) {
      if (!net.pump()) {
        loop->turn(1'000'000);
      } else {
        loop->turn(0);
      }
    }
    EXPECT_TRUE(f());
  }
  using Result = std::expected<void, ChannelError>;
  Result wait(const std::function<void(Channels::Done)>& call) {
    std::optional<Result> out;
    call([&](Result result) { out = std::move(result); });
    EXPECT_FALSE(out) << "never inside of the call";
    until([&] { return out.has_value(); });
    return out.value_or(Result());
  }
  Result create(const std::string& name, bool mls = true) {
    return wait([&](Channels::Done done) { host->create(name_of(name), {.mls = mls}, {"a test"}, std::move(done)); });
  }
  Result remove(const std::string& name) {
    return wait([&](Channels::Done done) { host->remove(name_of(name), {"a test"}, std::move(done)); });
  }
  Result invite(const std::string& name, const std::string& who) {
    return wait([&](Channels::Done done) { host->invite(name_of(name), name_of(who), {"a test"}, std::move(done)); });
  }
  Result take_out(const std::string& name, const std::string& who) {
    return wait([&](Channels::Done done) { host->remove_participant(name_of(name), name_of(who), {"a test"}, std::move(done)); });
  }

  std::unique_ptr<Loop> loop = std::move(*Loop::create());
  Switch net;
  std::unique_ptr<Switch::Port> port = net.add();
  int steps = 0;
  std::string log;
  std::vector<ChannelEvent> events;
  std::unique_ptr<ChannelHost> host;
};

TEST_F(ChannelHostTest, LifeOfAChannelWithMls) {
  open();
  Member alice(*loop, net, "org/ns/alice");
  Member bob(*loop, net, "org/ns/bob");
  ASSERT_TRUE(create("org/ns/room"));
  ASSERT_TRUE(invite("org/ns/room", "org/ns/alice"));
  ASSERT_TRUE(invite("org/ns/room", "org/ns/bob"));
  until([&] { return alice.sessions.size() == 1 && bob.sessions.size() == 1; });
  EXPECT_TRUE(alice.sessions[0]->encrypted());
  EXPECT_GT(steps, 0) << "key operations are made in steps";
  const auto row = host->show(name_of("org/ns/room"));
  ASSERT_TRUE(row);
  EXPECT_EQ(row->epoch, 2u);
  EXPECT_TRUE(row->node_could_read);
  ASSERT_EQ(row->members.size(), 3u);
  EXPECT_TRUE(row->members[0].moderator);
  EXPECT_EQ(row->created_by, "a test");

  // Members talk past the node: nothing of it comes to its application.
  std::string heard;
  bob.sessions[0]->on_message([&](AppMessage message) { heard = text_of(message.payload); });
  const auto before = port->connection->counters().frames_in;
  ASSERT_TRUE(alice.sessions[0]->publish(shared_bytes("hello")));
  until([&] { return heard == "hello"; });
  EXPECT_EQ(port->connection->counters().frames_in, before);

  ASSERT_TRUE(take_out("org/ns/room", "org/ns/bob"));
  until([&] { return bob.sessions[0]->closed().has_value(); });
  ASSERT_TRUE(remove("org/ns/room"));
  until([&] { return alice.sessions[0]->closed().has_value(); });
  EXPECT_TRUE(host->list().empty());
  EXPECT_EQ(host->counters().created, 1u);
  EXPECT_EQ(host->counters().invited, 2u);
  EXPECT_EQ(host->counters().taken_out, 1u);
  EXPECT_EQ(host->counters().removed, 1u);
  std::vector<ChannelChange> changes;
  for (const auto& event : events) {
    changes.push_back(event.change);
  }
  EXPECT_EQ(changes.front(), ChannelChange::kCreated);
  EXPECT_EQ(changes.back(), ChannelChange::kRemoved);
  EXPECT_EQ(std::ranges::count(changes, ChannelChange::kMemberIn), 2);
  EXPECT_NE(log.find("could read"), std::string::npos);
}

TEST_F(ChannelHostTest, CallsThatMakeNoSenseAreRefused) {
  open();
  EXPECT_EQ(invite("org/ns/none", "org/ns/alice").error().fault, ChannelFault::kUnknown);
  EXPECT_EQ(remove("org/ns/none").error().fault, ChannelFault::kUnknown);
  EXPECT_EQ(host->show(name_of("org/ns/none")).error().fault, ChannelFault::kUnknown);
  ASSERT_TRUE(create("org/ns/a", false));
  EXPECT_EQ(create("org/ns/a").error().fault, ChannelFault::kExists);
  EXPECT_EQ(create("org/ns/a/0x1").error().fault, ChannelFault::kBadName);
  ASSERT_TRUE(create("org/ns/b"));
  ASSERT_TRUE(create("org/ns/c"));
  EXPECT_EQ(create("org/ns/d").error().fault, ChannelFault::kTooMany);
  EXPECT_EQ(take_out("org/ns/a", "org/ns/alice").error().session, SessionFault::kNotMember);
  EXPECT_FALSE(host->show(name_of("org/ns/a"))->mls);
  host->stop();
  EXPECT_EQ(create("org/ns/e").error().fault, ChannelFault::kStopping);
  EXPECT_EQ(host->counters().refused, 6u);
}

TEST_F(ChannelHostTest, ListedChannelsAreMadeAndTheirMembersInvitedUntilTheyAreThere) {
  ChannelHostOptions options;
  options.file_managed = true;
  options.hosted = {{name_of("org/ns/room"), false, {name_of("org/ns/alice")}}};
  open(std::move(options));
  EXPECT_EQ(create("org/ns/other").error().fault, ChannelFault::kFileManaged);
  EXPECT_EQ(invite("org/ns/room", "org/ns/bob").error().fault, ChannelFault::kFileManaged);
  EXPECT_TRUE(host->file_managed());
  Member alice(*loop, net, "org/ns/alice");
  until([&] { return alice.sessions.size() == 1; });
  until([&] { return host->show(name_of("org/ns/room"))->member_count == 2; });
  EXPECT_TRUE(host->list()[0].from_file);
  // Who leaves is let in again.
  ASSERT_TRUE(alice.sessions[0]->close());
  until([&] { return alice.sessions.size() == 2; });
}

TEST_F(ChannelHostTest, ARefusedNameIsTold) {
  net.refuse = true;
  open();
  until([&] { return log.find("not wanted here") != std::string::npos; });
}

TEST_F(ChannelHostTest, StrangersSessionsAreNotJoined) {
  open();
  Member alice(*loop, net, "org/ns/alice");
  until([&] { return !alice.port->names.empty(); });
  bool over = false;
  ASSERT_TRUE(alice.app->create_session(UnicastOptions{.peer = name_of("org/node/moderator"), .timeout = {}, .max_retries = {}, .mls_enabled = false, .metadata = {}},
                                        [&](auto made) {
                                          if (made) {
                                            (*made)->on_event([&](const SessionEvent& event) { over |= std::holds_alternative<SessionClosed>(event); });
                                          } else {
                                            over = true;
                                          }
                                        }));
  until([&] { return over; });
}

TEST(LocalConnection, HoldsWhatIsSentUntilTheStoreHasIt) {
  Switch net;
  const auto a = net.add();
  const auto b = net.add();
  std::vector<std::uint32_t> got;
  const auto one = a->connection->attach(name_of("org/ns/a/0x1"), {.on_frame = {}, .on_writable = {}, .on_state = {}, .on_subscription_lost = {}});
  const auto two = b->connection->attach(name_of("org/ns/b/0x2"), {.on_frame = [&](std::span<const std::byte> frame) { got.push_back(frame_session_id(frame.data())); },
                                                              .on_writable = {}, .on_state = {}, .on_subscription_lost = {}});
  two->subscribe(name_of("org/ns/b/0x2"), {});
  const auto send = [&](std::uint32_t number) {
    FrameHeader header;
    header.destination = name_of("org/ns/b/0x2").hashed();
    header.session_id = number;
    EXPECT_EQ(one->send(header, {}, {}), SendStatus::kQueued);
  };
  const auto pump = [&] {
    while (net.pump()) {
    }
  };
  send(1);
  const auto first = a->connection->hold();
  send(2);
  const auto second = a->connection->hold();
  send(3);
  pump();
  EXPECT_EQ(got, (std::vector<std::uint32_t>{1}));
  a->connection->release(first);
  pump();
  EXPECT_EQ(got, (std::vector<std::uint32_t>{1, 2}));
  net.busy = true;
  a->connection->release(second);
  EXPECT_TRUE(net.pump());
  EXPECT_EQ(got.size(), 2u);
  net.busy = false;
  pump();
  EXPECT_EQ(got, (std::vector<std::uint32_t>{1, 2, 3}));
}

}  // namespace
}  // namespace slipway
