// Calls over a real socket: one request, one answer, several at a time.

#include "channel_manager/channel_manager_server.h"

#include <gtest/gtest.h>
#include <sys/socket.h>

#include <map>
#include <protozero/pbf_writer.hpp>

#include "channel_manager/channel_manager_bounds.h"
#include "edge_client/transport_socket.h"
#include "fakes.h"
#include "turn_until.h"

namespace slipway::test {
namespace {

using protozero::pbf_writer;

struct Client final : TransportSocketUser {
  std::unique_ptr<TransportSocket> socket;
  bool ready = false;
  bool closed = false;
  std::map<std::int32_t, std::vector<std::string>> messages;
  std::map<std::int32_t, std::pair<std::int32_t, std::string>> ended;

  void on_ready() override { ready = true; }
  void on_stream_open(std::int32_t) override {}
  void on_message(std::int32_t stream, std::span<const std::byte> m) override {
    messages[stream].emplace_back(reinterpret_cast<const char*>(m.data()), m.size());
  }
  void on_stream_closed(const StreamEnd& end) override { ended[end.stream] = {end.grpc_status, std::string(end.grpc_message)}; }
  void on_closed(const TransportError&) override { closed = true; }
};

class ServerTest : public ::testing::Test {
 protected:
  std::unique_ptr<Loop> loop = Loop::create().value();
  FakeChannels channels;
  ChannelManager manager{channels, nullptr, nullptr, {.audience = "org/ns/manager", .require_signatures = false, .operators = {}}, [](const std::string&) {}};
  ChannelManagerServer server{*loop, manager};
  TransportMemory memory{32u << 20};
  Client client;

  void connect(const std::string& method) {
    int ends[2];
    ASSERT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends), 0);
    ASSERT_TRUE(server.add(ends[0], server.config({})));
    auto config = std::make_shared<TransportConfig>();
    config->role = TransportRole::kClient;
    config->authority = "localhost";
    config->path = kChannelManagerPath + method;
    client.socket = TransportSocket::create(*loop, ends[1], config, memory, client);
    ASSERT_TRUE(until([&] { return client.ready; }));
  }
  template <class Done>
  [[nodiscard]] bool until(Done done) { return turn_until(*loop, done); }
  std::int32_t call(const std::string& request) {
    const auto stream = client.socket->open_stream();
    (void)client.socket->write(stream, std::as_bytes(std::span(request)));
    client.socket->finish_stream(stream, 0, {});
    return stream;
  }
  [[nodiscard]] bool over(std::int32_t stream) {
    return until([&] { return client.ended.contains(stream); });
  }
  static std::string create(const std::string& channel) {
    std::string out;
    pbf_writer(out).add_string(1, channel);
    return out;
  }
};

TEST_F(ServerTest, AnswersACallAndEndsIt) {
  connect("ListChannels");
  const auto stream = call("");
  ASSERT_TRUE(over(stream));
  EXPECT_EQ(client.ended[stream].first, 0);
  EXPECT_EQ(client.messages[stream], std::vector<std::string>{encode_channels({})});
}

TEST_F(ServerTest, AnswersAsTheyComeAndNotInOrder) {
  connect("CreateChannel");
  const auto slow = call(create("org/ns/a"));
  ASSERT_TRUE(until([&] { return channels.told.size() == 1; }));
  const auto quick = call(create("a"));
  ASSERT_TRUE(over(quick));
  EXPECT_FALSE(client.ended.contains(slow));
  channels.turn();
  ASSERT_TRUE(over(slow));
  EXPECT_EQ(client.messages[slow], std::vector<std::string>{encode_command_response(std::nullopt)});
}

TEST_F(ServerTest, UnknownMethodsAndServices) {
  connect("Reset");
  const auto stream = call("");
  ASSERT_TRUE(over(stream));
  EXPECT_EQ(client.ended[stream].first, grpc_status::kUnimplemented);
}

TEST_F(ServerTest, ACallWithoutARequestIsTold) {
  connect("ListChannels");
  const auto stream = client.socket->open_stream();
  client.socket->finish_stream(stream, 0, {});
  ASSERT_TRUE(over(stream));
  EXPECT_EQ(client.ended[stream], (std::pair<std::int32_t, std::string>(3, "the call has no request")));
}

TEST_F(ServerTest, ACallHasOneRequest) {
  connect("CreateChannel");
  const auto stream = client.socket->open_stream();
  for (const char* channel : {"org/ns/a", "org/ns/b"}) {
    const auto request = create(channel);
    (void)client.socket->write(stream, std::as_bytes(std::span(request)));
  }
  ASSERT_TRUE(over(stream));
  EXPECT_EQ(client.ended[stream].first, 3);
}

TEST_F(ServerTest, WhoGoesAwayIsNotWaitedFor) {
  connect("CreateChannel");
  (void)call(create("org/ns/a"));
  ASSERT_TRUE(until([&] { return channels.told.size() == 1; }));
  client.socket.reset();
  ASSERT_TRUE(until([&] { return server.connections() == 0; }));
  channels.turn();
  EXPECT_TRUE(channels.rows.contains("org/ns/a"));
}

TEST_F(ServerTest, MessagesAndConnectionsAreBounded) {
  connect("CreateChannel");
  const auto stream = call(std::string(kManagerMessageBytes + 1, 'a'));
  ASSERT_TRUE(until([&] { return client.closed || client.ended.contains(stream); }));
  EXPECT_TRUE(channels.told.empty());
  std::vector<int> others;
  bool refused = false;
  for (std::size_t i = 0; i <= kManagerConnections && !refused; ++i) {
    int ends[2];
    ASSERT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends), 0);
    refused = !server.add(ends[0], server.config({}));
    others.push_back(ends[1]);
  }
  EXPECT_TRUE(refused);
  for (const int fd : others) {
    close(fd);
  }
}

TEST_F(ServerTest, SaysGoodbye) {
  connect("ListChannels");
  server.start();
  server.drain();
  EXPECT_TRUE(until([&] { return client.closed; }));
}

TEST_F(ServerTest, SweepsAtTheStart) {
  std::string request = create("org/ns/a");
  pbf_writer(request).add_uint64(4, 1);
  manager.handle("CreateChannel", std::as_bytes(std::span(request)), {}, 1, [](const auto&) {});
  channels.turn();
  ASSERT_TRUE(channels.rows.contains("org/ns/a"));
  server.start();
  channels.turn();
  EXPECT_FALSE(channels.rows.contains("org/ns/a"));
}

}  // namespace
}  // namespace slipway::test
