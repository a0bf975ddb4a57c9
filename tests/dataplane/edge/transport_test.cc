// HTTP/2 with gRPC, both sides of our own: messages, flow control, ends, time.

#include <gtest/gtest.h>

#include "http2_bytes.h"
#include "transport_peer.h"

namespace slipway::test {
namespace {

TEST(Client, FirstBytesAreTheReferenceClients) {
  Peer client;
  ASSERT_TRUE(client.make(client_config()));
  ASSERT_EQ(client.transport->open_stream(), 1);
  const std::string bytes = client.take();
  EXPECT_EQ(bytes.substr(0, 24), kClientStart.substr(0, 24));
  const auto frames = frames_of(std::string_view(bytes).substr(24));
  ASSERT_EQ(frames.size(), 3u);
  EXPECT_EQ(frames[0].payload, from_hex("000200000000 000400200000 000500004000 000600004000"));
  EXPECT_EQ(frames[1].payload, from_hex("004f0001"));
  EXPECT_EQ(frames[2].type, 1);
  EXPECT_EQ(frames[2].flags, 4);
  EXPECT_EQ(frames[2].stream, 1u);
}

class PairTest : public testing::TestWithParam<std::size_t> {
 protected:
  void SetUp() override {
    ASSERT_TRUE(server.make(server_config()));
    ASSERT_TRUE(client.make(client_config()));
    stream = client.transport->open_stream();
    ASSERT_EQ(stream, 1);
    exchange(client, server, GetParam());
    ASSERT_TRUE(client.ready && server.ready);
    ASSERT_EQ(client.opened, std::vector<std::int32_t>{1});
    ASSERT_EQ(server.opened, std::vector<std::int32_t>{1});
  }
  void TearDown() override {
    EXPECT_FALSE(server.broken_order);
    EXPECT_FALSE(client.broken_order);
    for (Peer* peer : {&server, &client}) {
      peer->transport.reset();
      EXPECT_TRUE(peer->held.empty());
      EXPECT_EQ(peer->memory.account().used_bytes(), 0u);
    }
  }
  Peer server, client;
  std::int32_t stream = 0;
};

TEST_P(PairTest, MessagesOfAllSizesBothWays) {
  std::mt19937 random(11);
  std::vector<std::string> sent;
  for (const std::size_t bytes : {0, 1, 64, 200, 511, 512, 513, 1024, 1025, 1500, 16'000, 16'384, 16'379, 16'380, 70'000}) {
    for (const std::size_t pieces : {1, 3}) {
      sent.push_back(random_text(random, bytes));
      const WriteResult result = client.send(stream, sent.back(), pieces);
      EXPECT_EQ(result, bytes <= kEdgeCopyBytes ? WriteResult::kCopied : WriteResult::kQueued);
      ASSERT_NE(server.send(stream, sent.back(), pieces), WriteResult::kClosed);
    }
  }
  exchange(client, server, GetParam());
  EXPECT_EQ(server.messages, sent);
  EXPECT_EQ(client.messages, sent);
  for (std::size_t i = 0; i < sent.size(); ++i) {
    EXPECT_EQ(server.told_bytes[i], sent[i].size());
  }
  EXPECT_TRUE(client.held.empty());
  EXPECT_EQ(client.transport->pending_bytes(), 0u);
  EXPECT_EQ(client.transport->counters().messages_out, sent.size());
  EXPECT_EQ(server.transport->counters().messages_in, sent.size());
}

TEST_P(PairTest, NodeEndsAStreamAfterWhatIsQueued) {
  server.send(stream, "last words");
  server.transport->finish_stream(stream, 7, "self-connection rejected: same node_id");
  exchange(client, server, GetParam());
  EXPECT_EQ(client.messages, std::vector<std::string>{"last words"});
  ASSERT_EQ(client.closed.size(), 1u);
  EXPECT_EQ(client.closed[0].status, 7);
  EXPECT_EQ(client.closed[0].message, "self-connection rejected: same node_id");
  EXPECT_EQ(client.closed[0].fault, TransportFault::kPeerStatus);
  EXPECT_EQ(client.transport->open_streams(), 0u);
  EXPECT_EQ(server.transport->open_streams(), 0u);
  EXPECT_FALSE(client.failed);
}

TEST_P(PairTest, HalfCloseIsAnsweredWithStatusZero) {
  client.send(stream, "bye");
  client.transport->finish_stream(stream, 0, "");
  exchange(client, server, GetParam());
  EXPECT_EQ(server.messages, std::vector<std::string>{"bye"});
  ASSERT_EQ(server.closed.size(), 1u);
  EXPECT_EQ(server.closed[0].fault, TransportFault::kNone);
  ASSERT_EQ(client.closed.size(), 1u);
  EXPECT_EQ(client.closed[0].fault, TransportFault::kNone);
  EXPECT_EQ(client.closed[0].status, 0);
  EXPECT_EQ(server.transport->open_streams(), 0u);
  EXPECT_EQ(client.transport->open_streams(), 0u);
}

TEST_P(PairTest, ResetEndsBothSides) {
  std::mt19937 random(3);
  server.release_windows = false;
  for (int i = 0; i < 40; ++i) {
    client.send(stream, random_text(random, 60'000), 2);
  }
  exchange(client, server, GetParam());
  EXPECT_FALSE(client.held.empty());
  client.transport->reset_stream(stream);
  exchange(client, server, GetParam());
  ASSERT_EQ(server.closed.size(), 1u);
  EXPECT_EQ(server.closed[0].fault, TransportFault::kPeerReset);
  EXPECT_TRUE(client.held.empty());
  EXPECT_EQ(client.send(stream, "x"), WriteResult::kClosed);
  // The connection's window comes back with what the caller lets go of.
  server.transport->release(stream, server.unreleased);
  server.release_windows = true;
  const std::int32_t next = client.transport->open_stream();
  ASSERT_EQ(next, 3);
  exchange(client, server, GetParam());
  server.messages.clear();
  server.partial.clear();
  const std::string large = random_text(random, 3u << 20);
  client.send(next, large);
  exchange(client, server, GetParam());
  ASSERT_EQ(server.messages.size(), 1u);
  EXPECT_EQ(server.messages[0], large);
}

TEST_P(PairTest, CloseSaysSo) {
  client.transport->close(client.now);
  exchange(client, server, GetParam());
  EXPECT_TRUE(server.goaway);
  ASSERT_EQ(client.closed.size(), 1u);
  EXPECT_EQ(client.closed[0].fault, TransportFault::kAsked);
  EXPECT_TRUE(client.transport->finished());
  server.transport->peer_closed();
  server.drain_events();
  ASSERT_EQ(server.closed.size(), 1u);
  EXPECT_TRUE(server.transport->finished());
}

INSTANTIATE_TEST_SUITE_P(Pieces, PairTest, testing::Values(1, 7, 0, 4096, 1u << 20),
                         [](const auto& of) { return of.param == 0 ? std::string("random") : std::to_string(of.param); });

TEST(Flow, WindowsOpenByReleaseAlone) {
  Peer server, client;
  ASSERT_TRUE(server.make(server_config()));
  ASSERT_TRUE(client.make(client_config()));
  const std::int32_t stream = client.transport->open_stream();
  exchange(client, server);
  server.release_windows = false;
  std::mt19937 random(1);
  for (int i = 0; i < 100; ++i) {
    client.send(stream, random_text(random, 40'000));
  }
  exchange(client, server);
  // The reference node's window, less the prefixes, which are released by themselves.
  EXPECT_LE(server.unreleased, std::size_t{1} << 20);
  EXPECT_GT(server.unreleased, (std::size_t{1} << 20) - 40'000);
  EXPECT_EQ(client.transport->pending_bytes(), 100 * 40'005u - server.unreleased - 5 * ((server.unreleased + 39'999) / 40'000));
  EXPECT_EQ(client.transport->pending_bytes(stream), client.transport->pending_bytes());
  EXPECT_FALSE(client.held.empty());
  server.release_windows = true;
  server.transport->release(stream, server.unreleased);
  exchange(client, server);
  EXPECT_EQ(server.messages.size(), 100u);
  EXPECT_EQ(client.transport->pending_bytes(), 0u);
  EXPECT_TRUE(client.held.empty());
}

TEST(Flow, ASlowReaderIsBoundedAndItsTokensComeBack) {
  Peer server, client;
  ASSERT_TRUE(server.make(server_config()));
  ASSERT_TRUE(client.make(client_config()));
  const std::int32_t stream = client.transport->open_stream();
  exchange(client, server);
  std::mt19937 random(1);
  for (int i = 0; i < 200; ++i) {
    server.send(stream, random_text(random, 40'000));
  }
  iovec pieces[8];
  EXPECT_EQ(server.transport->gather(pieces), 8u);
  // What is framed is bounded; the rest waits where the caller has it, and shows.
  EXPECT_EQ(server.transport->pending_bytes() / 100'000, 200 * 40'005 / 100'000u);
  EXPECT_LT(server.memory.account().used_bytes(), 200'000u);
  server.transport->reset_stream(stream);
  server.drain_events();
  EXPECT_LE(server.transport->pending_bytes(), kEdgeOutputBytes + 40'000);
  EXPECT_FALSE(server.held.empty());  // what was gathered may be under way
  (void)server.take();
  EXPECT_TRUE(server.held.empty());
  EXPECT_FALSE(server.broken_order);
}

TEST(Flow, AFailedConnectionSendsNoMoreMessagesAndIsNotWaitedFor) {
  Peer server, client;
  ASSERT_TRUE(server.make(server_config()));
  ASSERT_TRUE(client.make(client_config()));
  const std::int32_t stream = client.transport->open_stream();
  exchange(client, server);
  for (int i = 0; i < 40; ++i) {
    server.send(stream, std::string(40'000, 'm'));
  }
  iovec piece;
  ASSERT_EQ(server.transport->gather({&piece, 1}), 1u);  // and the peer takes nothing of it
  server.feed(frame(0, 0, 0, "data on stream 0") + frame(6, 0, 0, "12345678"));
  EXPECT_EQ(server.fault, TransportFault::kHttp2Protocol);
  EXPECT_LE(server.transport->pending_bytes(), kEdgeOutputBytes + 40'000);
  EXPECT_FALSE(server.transport->finished());
  EXPECT_LE(server.transport->next_deadline_ns(), server.now.now_ns + 2'100'000'000);
  server.now.now_ns += 2'100'000'000;
  server.transport->tick(server.now);
  EXPECT_TRUE(server.transport->finished());
}

TEST(Flow, NothingComesAfterAFailure) {
  Peer server;
  ASSERT_TRUE(server.make(server_config()));
  server.feed(kClientStart);
  server.feed(frame(7, 0, 0, std::string("\0\0\0\0\0\0\0\2", 8)) + frame(0, 0, 1, grpc("late")) + request_on(3));
  EXPECT_EQ(server.fault, TransportFault::kHttp2Protocol);
  EXPECT_TRUE(server.messages.empty());
  EXPECT_EQ(server.opened.size(), 1u);
}

TEST(Flow, CloseGivesTheTokensBack) {
  Peer server, client;
  ASSERT_TRUE(server.make(server_config()));
  ASSERT_TRUE(client.make(client_config()));
  const std::int32_t stream = client.transport->open_stream();
  exchange(client, server);
  for (int i = 0; i < 10; ++i) {
    server.send(stream, std::string(40'000, 'm'));
  }
  server.transport->close(server.now);
  EXPECT_TRUE(server.held.empty());
  exchange(client, server);
  EXPECT_TRUE(client.messages.empty());
  EXPECT_TRUE(client.goaway);
  EXPECT_TRUE(server.transport->finished());
}

TEST(Flow, ManyShortMessagesShareFrames) {
  Peer server, client;
  ASSERT_TRUE(server.make(server_config()));
  ASSERT_TRUE(client.make(client_config()));
  const std::int32_t stream = client.transport->open_stream();
  exchange(client, server);
  for (int i = 0; i < 1000; ++i) {
    EXPECT_EQ(client.send(stream, std::string(64, 'a')), WriteResult::kCopied);
  }
  exchange(client, server);
  EXPECT_EQ(server.messages.size(), 1000u);
  EXPECT_LE(client.transport->counters().data_frames_out, 1000u * 69 / 16'384 + 2);
}

TEST(Flow, SeveralStreamsOnOneConnection) {
  Peer server, client;
  auto config = server_config();
  config->max_streams = 3;
  ASSERT_TRUE(server.make(config));
  ASSERT_TRUE(client.make(client_config()));
  for (int i = 0; i < 3; ++i) {
    EXPECT_EQ(client.transport->open_stream(), 1 + 2 * i);
  }
  exchange(client, server);
  EXPECT_EQ(server.opened.size(), 3u);
  for (const std::int32_t stream : {5, 1, 3}) {
    client.send(stream, "to " + std::to_string(stream));
    server.send(stream, "from " + std::to_string(stream));
  }
  exchange(client, server);
  EXPECT_EQ(server.messages.size(), 3u);
  EXPECT_EQ(client.messages.size(), 3u);
  client.transport->reset_stream(3);
  exchange(client, server);
  EXPECT_EQ(server.transport->open_streams(), 2u);
  EXPECT_EQ(client.transport->open_stream(), 7);
  exchange(client, server);
  EXPECT_EQ(server.transport->open_streams(), 3u);
}

TEST(Refusals, UnknownMethodIsStatusTwelve) {
  Peer server, client;
  ASSERT_TRUE(server.make(server_config()));
  auto config = client_config();
  config->path = "/dataplane.proto.v1.DataPlaneService/Other";
  ASSERT_TRUE(client.make(config));
  client.transport->open_stream();
  exchange(client, server);
  ASSERT_EQ(client.closed.size(), 1u);
  EXPECT_EQ(client.closed[0].status, 12);
  ASSERT_EQ(server.closed.size(), 1u);
  EXPECT_EQ(server.closed[0].fault, TransportFault::kUnknownMethod);
  EXPECT_TRUE(server.opened.empty());
}

TEST(Refusals, DrainingIsStatusFourteen) {
  Peer server, client;
  ASSERT_TRUE(server.make(server_config()));
  ASSERT_TRUE(client.make(client_config()));
  server.transport->drain();
  client.transport->open_stream();
  exchange(client, server);
  ASSERT_EQ(client.closed.size(), 1u);
  EXPECT_EQ(client.closed[0].status, 14);
}

TEST(Keepalive, PingsAPeerThatIsSilentAndEndsOneThatIsGone) {
  Peer server, client;
  ASSERT_TRUE(server.make(server_config()));
  ASSERT_TRUE(client.make(client_config()));
  client.transport->open_stream();
  exchange(client, server);
  server.now.now_ns += 120'000'000'000;
  server.transport->tick(server.now);
  const std::string ping = server.take();
  ASSERT_EQ(frames_of(ping).size(), 1u);
  EXPECT_EQ(frames_of(ping)[0].type, 6);
  client.feed(ping);
  const std::string pong = client.take();
  server.now.now_ns += 1'000'000;
  server.feed(pong);
  server.now.now_ns += 19'000'000'000;
  server.transport->tick(server.now);
  EXPECT_FALSE(server.transport->failed());
  server.now.now_ns += 120'000'000'000;
  server.transport->tick(server.now);
  EXPECT_EQ(frames_of(server.take()).size(), 1u);
  EXPECT_EQ(server.transport->next_deadline_ns(), server.now.now_ns + 20'000'000'000);
  server.now.now_ns += 20'000'000'000;
  server.transport->tick(server.now);
  server.drain_events();
  EXPECT_EQ(server.fault, TransportFault::kKeepaliveTimeout);
  ASSERT_EQ(server.closed.size(), 1u);
}

TEST(Age, GoawayThenGrace) {
  Peer server, client;
  auto config = server_config();
  config->max_age_ms = 60'000;
  config->max_age_grace_ms = 10'000;
  config->keepalive_time_ms = 0;
  ASSERT_TRUE(server.make(config));
  ASSERT_TRUE(client.make(client_config()));
  const std::int32_t stream = client.transport->open_stream();
  exchange(client, server);
  const auto pass = [&](std::uint64_t ms) {
    server.now.now_ns += ms * 1'000'000;
    server.transport->tick(server.now);
    exchange(client, server);
  };
  pass(60'000);
  EXPECT_TRUE(client.goaway);
  server.send(stream, "still here");
  exchange(client, server);
  EXPECT_EQ(client.messages.size(), 1u);
  pass(1'000);
  EXPECT_TRUE(client.closed.empty());
  pass(9'000);
  ASSERT_EQ(server.closed.size(), 1u);
  EXPECT_TRUE(server.transport->finished());
}

}  // namespace
}  // namespace slipway::test
