// The control service over real sockets, with a node of the test's own.

#include "controller/controller_server.h"

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <protozero/pbf_reader.hpp>
#include <protozero/pbf_writer.hpp>

#include "controller/controller_command.h"
#include "edge_client/transport_socket.h"
#include "turn_until.h"

namespace slipway::test {
namespace {

using protozero::pbf_reader;
using protozero::pbf_writer;

// A node with as many links and names as a test wants; notes what it is told.
struct FakeNode final : ControllerBackend {
  explicit FakeNode(Loop& l) : loop(l) {}
  Loop& loop;
  std::uint32_t links = 0;
  std::uint32_t names = 0;
  std::size_t config_bytes = 2;
  std::uint32_t asked = 0;
  std::vector<std::string> told;
  std::vector<std::string> own_links;
  std::vector<HeldRoute> own_routes;
  std::vector<std::move_only_function<void()>> applied;
  bool hold = false;  // workers do not apply

  ControllerPage<ControllerConnectionRow> controller_connections(std::uint32_t after, std::uint32_t at_most) override {
    ++asked;
    ControllerPage<ControllerConnectionRow> page;
    for (std::uint32_t i = after + 1; i <= links && page.rows.size() < at_most; ++i) {
      page.rows.push_back({.id = i, .link_class = LinkClass::kPeer, .outgoing = i % 2 == 1, .config = std::string(config_bytes, '{'),
                           .link_id = "l" + std::to_string(i), .node_id = {}});
    }
    const auto last = after + page.rows.size();
    page.next = last < links ? static_cast<std::uint32_t>(last) : 0;
    return page;
  }
  ControllerPage<ControllerRouteRow> controller_routes(std::uint32_t after, std::uint32_t at_most) override {
    ControllerPage<ControllerRouteRow> page;
    for (std::uint32_t i = after; i < names && page.rows.size() < at_most; ++i) {
      const auto name = parse_name("org/ns/s" + std::to_string(i) + "/0x9").value();
      page.rows.push_back({.name = {.text = name.component, .name = name.hashed(), .encoded = true}, .connections = {{}, {.id = 5, .link_class = LinkClass::kRemote}}});
    }
    const auto last = after + page.rows.size();
    page.next = last < names ? static_cast<std::uint32_t>(last) : 0;
    return page;
  }
  std::expected<void, std::string> note(std::string what, bool good = true) {
    told.push_back(what);
    return good ? std::expected<void, std::string>() : std::unexpected("no: " + what);
  }
  std::expected<void, std::string> controller_connect(const ControllerConnection& c) override { return note("connect " + c.link_id); }
  std::expected<void, std::string> controller_disconnect(const std::string& id) override { return note("disconnect " + id, id != "gone"); }
  std::expected<void, std::string> controller_route(bool add, const TextName& name, const std::string& id) override {
    return note(std::string(add ? "set " : "remove ") + name.text() + " " + id);
  }
  std::vector<std::string> controller_links() const override { return own_links; }
  std::vector<HeldRoute> controller_held_routes() const override { return own_routes; }
  void controller_applied(std::move_only_function<void()> call) override {
    applied.push_back(std::move(call));
    if (!hold) {
      apply();
    }
  }
  void apply() {
    loop.defer([this] {
      auto calls = std::move(applied);
      applied.clear();
      for (auto& call : calls) {
        call();
      }
    });
  }
  void controller_log(std::string text) override { told.push_back("log " + text); }
};

struct Client final : TransportSocketUser {
  std::unique_ptr<TransportSocket> socket;
  std::int32_t stream = -1;
  bool open = false;
  std::vector<std::string> messages;
  std::optional<std::int32_t> status;
  std::string status_text;
  bool closed = false;
  void on_ready() override { stream = socket->open_stream(); }
  void on_stream_open(std::int32_t) override { open = true; }
  void on_message(std::int32_t, std::span<const std::byte> m) override { messages.emplace_back(reinterpret_cast<const char*>(m.data()), m.size()); }
  void on_stream_closed(const StreamEnd& end) override {
    status = end.grpc_status;
    status_text = end.grpc_message;
  }
  void on_closed(const TransportError&) override { closed = true; }
};

std::string request(std::string_view id, std::uint32_t field, const std::string& payload = {}) {
  std::string out;
  pbf_writer message(out);
  message.add_string(1, id.data(), id.size());
  message.add_message(field, payload);
  return out;
}

struct Listed {
  std::string answered;
  std::size_t entries = 0;
  bool done = false;
};
Listed listed(const std::string& message, std::uint32_t field) {
  Listed out;
  pbf_reader reader(message);
  EXPECT_TRUE(reader.next(field));
  auto list = reader.get_message();
  while (list.next()) {
    if (list.tag() == 1) {
      out.answered = list.get_string();
    } else if (list.tag() == 3) {
      out.done = list.get_bool();
    } else {
      ++out.entries;
      list.skip();
    }
  }
  return out;
}

class ControllerTest : public ::testing::Test {
 protected:
  std::unique_ptr<Loop> loop = Loop::create().value();
  FakeNode node{*loop};
  ControllerServer server{*loop, node};
  TransportMemory memory{32u << 20};
  Client client;

  int pair(bool add) {
    int ends[2];
    EXPECT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends), 0);
    accepted = server.add(ends[0], controller_config({}));
    EXPECT_EQ(accepted, add);
    return ends[1];
  }
  void connect() {
    auto config = std::make_shared<TransportConfig>();
    config->role = TransportRole::kClient;
    config->authority = "localhost";
    config->path = kControllerPath;
    client.socket = TransportSocket::create(*loop, pair(true), config, memory, client);
    ASSERT_TRUE(until([&] { return client.open; }));
  }
  template <class Done>
  [[nodiscard]] bool until(Done done) { return turn_until(*loop, done); }
  void say(const std::string& message) { (void)client.socket->write(client.stream, std::as_bytes(std::span(message))); }
  bool accepted = false;
};

TEST_F(ControllerTest, ListsConnectionsInChunksOfAHundred) {
  connect();
  say(request("empty", 6));
  ASSERT_TRUE(until([&] { return client.messages.size() == 1; }));
  EXPECT_EQ(listed(client.messages[0], 7).entries, 0u);
  EXPECT_TRUE(listed(client.messages[0], 7).done);
  client.messages.clear();
  node.links = 250;
  say(request("q1", 6));
  ASSERT_TRUE(until([&] { return client.messages.size() == 3; }));
  for (std::size_t i = 0; i < 3; ++i) {
    const auto chunk = listed(client.messages[i], 7);
    EXPECT_EQ(chunk.answered, "q1");
    EXPECT_EQ(chunk.entries, i < 2 ? 100u : 50u);
    EXPECT_EQ(chunk.done, i == 2);
  }
}

TEST_F(ControllerTest, ListsRoutesWithNamesAsTextAndHash) {
  connect();
  node.names = 101;
  say(request("r", 4));
  ASSERT_TRUE(until([&] { return client.messages.size() == 2; }));
  EXPECT_TRUE(listed(client.messages[1], 5).done);
  pbf_reader message(client.messages[0]);
  ASSERT_TRUE(message.next(5));
  auto list = message.get_message();
  ASSERT_TRUE(list.next(2));
  auto entry = list.get_message();
  ASSERT_TRUE(entry.next(1));
  std::string route;
  pbf_writer(route).add_message(1, entry.get_view());
  std::string command;
  pbf_writer(command).add_message(2, route);
  const auto said = request("x", 2, command);
  const auto read = decode_controller_request(std::as_bytes(std::span(said)));
  ASSERT_TRUE(read) << read.error();
  const auto& name = std::get<ConfigurationCommand>(read->payload).set.at(0).name;
  EXPECT_EQ(name.text, (std::array<std::string, 3>{"org", "ns", "s0"}));
  EXPECT_EQ(name.name, parse_name("org/ns/s0/0x9").value().hashed());
}

TEST_F(ControllerTest, GoesOnWithAListOnlyAsFastAsItIsRead) {
  connect();
  node.links = 5'000;
  node.config_bytes = 20'000;  // 100 MB in all
  say(request("big", 6));
  std::size_t seen = 0;
  std::size_t entries = 0;
  std::size_t most = 0;
  bool done = false;
  ASSERT_TRUE(until([&] {
    for (; seen < client.messages.size(); ++seen) {
      EXPECT_LE(client.messages[seen].size(), kControllerChunkBytes + 30'000);
      entries += listed(client.messages[seen], 7).entries;
      done = listed(client.messages[seen], 7).done;
      client.messages[seen].clear();
    }
    most = std::max(most, std::size_t{100} * node.asked - entries);
    return done;
  }));
  EXPECT_EQ(entries, 5'000u);
  EXPECT_LT(most, 500u) << "pages were made that nobody had room for";
}

TEST_F(ControllerTest, CarriesOutCommandsInOrderAndAnswersWhenWorkersHaveThem) {
  connect();
  node.hold = true;
  const auto route = encode_route(parse_name("org/ns/a").value(), "l1");
  const auto nameless = encode_route({}, "l1");
  const auto linkless = encode_route(parse_name("org/ns/a").value(), std::nullopt);
  std::string connection;
  pbf_writer(connection).add_string(1, "new");
  std::string command;
  pbf_writer writer(command);
  writer.add_message(3, route);
  writer.add_message(2, route);
  writer.add_message(2, nameless);
  writer.add_message(2, linkless);
  writer.add_message(1, connection);
  writer.add_string(4, "old");
  writer.add_string(4, "gone");
  say(request("c1", 2, command));
  ASSERT_TRUE(until([&] { return node.told.size() == 5; }));
  EXPECT_EQ(node.told, (std::vector<std::string>{"disconnect old", "disconnect gone", "connect new", "set org/ns/a l1", "remove org/ns/a l1"}));
  for (int i = 0; i < 10; ++i) {
    loop->turn(1'000'000);
  }
  EXPECT_TRUE(client.messages.empty()) << "answered before the workers had it";
  node.apply();
  ASSERT_TRUE(until([&] { return client.messages.size() == 1; }));
  pbf_reader message(client.messages[0]);
  ASSERT_TRUE(message.next(20));
  auto ack = message.get_message();
  std::vector<bool> good;
  std::vector<std::string> routes;
  while (ack.next()) {
    if (ack.tag() == 1) {
      EXPECT_EQ(ack.get_string(), "c1");
      continue;
    }
    auto part = ack.get_message();
    while (part.next()) {
      if (part.tag() == 2) {
        good.push_back(part.get_bool());
      } else if (part.tag() == 1) {
        routes.push_back(part.get_string());
      } else {
        part.skip();
      }
    }
  }
  EXPECT_EQ(good, (std::vector<bool>{true, false, true, true, false, false, true}));
  EXPECT_EQ(routes[3], route);  // echoed as it came
}

TEST_F(ControllerTest, ADesiredStateTakesAwayTheRest) {
  node.own_links = {"keep", "drop"};
  node.own_routes = {{parse_name("org/ns/keep").value(), "keep"}, {parse_name("org/ns/drop").value(), "keep"}};
  ConfigurationCommand command{.reconcile = true};
  command.connect = {{.link_id = "keep", .config = {}}, {.link_id = "", .config = {}}};
  const auto name = parse_name("org/ns/keep").value();
  command.set = {{.name = {.text = name.component, .name = name.hashed(), .encoded = true}, .link_id = "keep", .written = {}}};
  const auto outcome = carry_out(command, node);
  EXPECT_EQ(node.told, (std::vector<std::string>{"remove org/ns/drop keep", "disconnect drop", "connect keep", "set org/ns/keep keep"}));
  EXPECT_EQ(outcome.routes.size(), 2u);
  EXPECT_EQ(outcome.connections.size(), 2u);
}

TEST_F(ControllerTest, EndsStreamsThatSpeakSomethingElse) {
  connect();
  say("\xff\xff\xff");
  ASSERT_TRUE(until([&] { return client.status.has_value(); }));
  EXPECT_EQ(client.status, 3);
  EXPECT_FALSE(client.status_text.empty());
}

TEST_F(ControllerTest, BoundsWhatWaitsAndWhatIsOpen) {
  connect();
  node.hold = true;
  for (std::size_t i = 0; i <= kControllerRequests; ++i) {
    say(request("c", 2));
  }
  ASSERT_TRUE(until([&] { return client.status.has_value(); }));
  EXPECT_EQ(client.status, 8);
  std::vector<int> others;
  for (std::size_t i = server.connections(); i < kControllerConnections; ++i) {
    others.push_back(pair(true));
  }
  others.push_back(pair(false));
  EXPECT_EQ(server.connections(), kControllerConnections);
  for (const int fd : others) {
    close(fd);
  }
  EXPECT_TRUE(until([&] { return server.connections() == 1; }));
  client.socket.reset();
  EXPECT_TRUE(until([&] { return server.connections() == 0; }));
  node.apply();  // the answers of a connection that is gone
  for (int i = 0; i < 5; ++i) {
    loop->turn(1'000'000);
  }
}

TEST_F(ControllerTest, PassesOverWhatIsNotForNodes) {
  connect();
  say(request("x", 8));
  say(request("y", 6));
  ASSERT_TRUE(until([&] { return client.messages.size() == 1; }));
  ASSERT_EQ(node.told.size(), 1u);
  EXPECT_TRUE(node.told[0].starts_with("log "));
  server.drain();
  EXPECT_TRUE(until([&] { return client.closed; }));
}

TEST(ControllerMessages, RefusesWhatIsNoRequestAndBoundsWhatItKeeps) {
  const auto decode = [](const std::string& text) { return decode_controller_request(std::as_bytes(std::span(text))); };
  EXPECT_TRUE(decode(""));
  EXPECT_FALSE(decode(std::string("\x0a\x05""ab", 4)));
  EXPECT_FALSE(decode(request(std::string(kControllerIdBytes + 1, 'x'), 6)));
  EXPECT_FALSE(decode(request("\xff", 6)));
  std::string command;
  pbf_writer writer(command);
  for (std::size_t i = 0; i <= kControllerItems; ++i) {
    writer.add_string(4, "x");
  }
  EXPECT_FALSE(decode(request("x", 2, command)));
  std::string wrong;
  pbf_writer(wrong).add_uint64(2, 7);
  EXPECT_FALSE(decode(wrong));  // a command that is a number
}

}  // namespace
}  // namespace slipway::test
