// HTTP/2 with gRPC, both sides of our own and bytes written by hand.

#include <gtest/gtest.h>

#include "transport_peer.h"

namespace slipway::test {
namespace {

std::string from_hex(std::string_view hex) {
  std::string out;
  int high = -1;
  for (const char c : hex) {
    const int digit = c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
    if (digit < 0) {
      continue;
    }
    if (high < 0) {
      high = digit;
    } else {
      out += static_cast<char>(high * 16 + digit);
      high = -1;
    }
  }
  return out;
}

std::string frame(std::uint8_t type, std::uint8_t flags, std::uint32_t stream, std::string_view payload) {
  std::string out;
  for (const int shift : {16, 8, 0}) {
    out += static_cast<char>(payload.size() >> shift);
  }
  out += static_cast<char>(type);
  out += static_cast<char>(flags);
  for (const int shift : {24, 16, 8, 0}) {
    out += static_cast<char>(stream >> shift);
  }
  return out.append(payload);
}

std::string grpc(std::string_view message, char flag = 0) {
  std::string out(1, flag);
  for (const int shift : {24, 16, 8, 0}) {
    out += static_cast<char>(message.size() >> shift);
  }
  return out.append(message);
}

struct Frame {
  std::uint8_t type;
  std::uint8_t flags;
  std::uint32_t stream;
  std::string payload;
};

std::vector<Frame> frames_of(std::string_view bytes) {
  std::vector<Frame> all;
  const auto at = [&](std::size_t i) { return static_cast<std::uint8_t>(bytes[i]); };
  while (bytes.size() >= 9) {
    const std::size_t length = static_cast<std::size_t>(at(0)) << 16 | static_cast<std::size_t>(at(1)) << 8 | at(2);
    if (bytes.size() < 9 + length) {
      break;
    }
    const std::uint32_t stream = static_cast<std::uint32_t>(at(5)) << 24 | static_cast<std::uint32_t>(at(6)) << 16 |
                                 static_cast<std::uint32_t>(at(7)) << 8 | at(8);
    all.push_back({at(3), at(4), stream, std::string(bytes.substr(9, length))});
    bytes.remove_prefix(9 + length);
  }
  EXPECT_TRUE(bytes.empty());
  return all;
}

// The reference client's first bytes, captured.
const std::string kClientStart = from_hex(
    "505249202a20485454502f322e300d0a0d0a534d0d0a0d0a"
    "000018 04 00 00000000 000200000000 000400200000 000500004000 000600004000"
    "000004 08 00 00000000 004f0001"
    "000057 01 04 00000001 8386418b089d5c0b8170dc69c7df0f04a36241a475d03a8abd761d275fb857be348f5d03a8bb8b67"
    "7310ac6aacb55e9c75545a3f4082497f864d833505b11f5f8b1d75d0620d263d4c4d65647a8949ea311802e169773f");

// The headers of that request alone, on any stream.
std::string request_on(std::uint32_t stream, std::uint8_t flags = 4) {
  const std::string block = kClientStart.substr(24 + 9 + 24 + 9 + 4 + 9);
  return frame(1, flags, stream, block);
}

class ServerTest : public testing::Test {
 protected:
  void start(std::shared_ptr<TransportConfig> config = server_config()) { ASSERT_TRUE(server.make(config)); }
  void start_open() {
    start();
    server.feed(kClientStart);
    ASSERT_EQ(server.opened.size(), 1u);
    (void)server.take();
  }
  Peer server;
};

TEST_F(ServerTest, AnswersTheReferenceClientsFirstBytesBeforeAnyData) {
  start();
  EXPECT_EQ(frames_of(server.take()).at(0).type, 4);  // SETTINGS may go at once
  server.feed(kClientStart, 1);
  ASSERT_EQ(server.opened, std::vector<std::int32_t>{1});
  const StreamHead* head = server.transport->head(1);
  ASSERT_NE(head, nullptr);
  EXPECT_EQ(head->path, "/dataplane.proto.v1.DataPlaneService/OpenChannel");
  EXPECT_EQ(head->authority, "127.0.0.1:46991");
  EXPECT_EQ(head->scheme, "http");
  const auto frames = frames_of(server.take());
  ASSERT_EQ(frames.size(), 2u);
  EXPECT_EQ(frames[0].type, 4);
  EXPECT_EQ(frames[0].flags, 1);  // SETTINGS ACK
  EXPECT_EQ(frames[1].type, 1);
  EXPECT_EQ(frames[1].flags, 4);  // END_HEADERS, the stream stays open
  EXPECT_EQ(frames[1].stream, 1u);
  EXPECT_EQ(static_cast<std::uint8_t>(frames[1].payload[0]), 0x88);  // :status 200
}

TEST_F(ServerTest, SettingsAreTheReferenceNodes) {
  start();
  const auto frames = frames_of(server.take());
  ASSERT_EQ(frames.size(), 2u);
  EXPECT_EQ(frames[0].payload, from_hex("000300000064 000400100000 000500400000 000600004000"));
  EXPECT_EQ(frames[1].type, 8);
  EXPECT_EQ(frames[1].payload, from_hex("000f0001"));  // connection window +983041
}

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

TEST_F(ServerTest, StreamsBeyondTheBoundAreRefused) {
  auto config = server_config();
  config->max_streams = 2;
  start(config);
  server.feed(kClientStart);
  (void)server.take();
  server.feed(request_on(3));
  server.feed(request_on(5));
  EXPECT_EQ(server.opened.size(), 2u);
  const auto frames = frames_of(server.take());
  EXPECT_TRUE(std::any_of(frames.begin(), frames.end(), [](const Frame& f) { return f.type == 3 && f.stream == 5; }));
  EXPECT_FALSE(server.failed);
}

TEST_F(ServerTest, MessagesInOneFrameAndAcrossFrames) {
  start_open();
  const std::string all = grpc("one") + grpc("") + grpc("three");
  server.feed(frame(0, 0, 1, all));
  EXPECT_EQ(server.messages, (std::vector<std::string>{"one", "", "three"}));
  server.messages.clear();
  for (const char c : all) {
    server.feed(frame(0, 0, 1, std::string(1, c)));
  }
  EXPECT_EQ(server.messages, (std::vector<std::string>{"one", "", "three"}));
  server.messages.clear();
  server.feed(frame(0, 8, 1, std::string(1, 3) + all + std::string(3, '\0')));  // padded
  EXPECT_EQ(server.messages.size(), 3u);
  EXPECT_FALSE(server.broken_order);
}

// How a bad message ends: headers of the end with grpc-status 0, then RST_STREAM(NO_ERROR), and the connection lives.
void expect_closed_cleanly(Peer& server, TransportFault fault) {
  ASSERT_EQ(server.closed.size(), 1u);
  EXPECT_EQ(server.closed[0].fault, fault);
  const auto frames = frames_of(server.take());
  std::vector<Frame> of_stream;
  std::copy_if(frames.begin(), frames.end(), std::back_inserter(of_stream), [](const Frame& f) { return f.stream == 1 && f.type != 8; });
  ASSERT_EQ(of_stream.size(), 2u);
  EXPECT_EQ(of_stream[0].type, 1);
  EXPECT_EQ(of_stream[0].flags, 5);  // END_HEADERS, END_STREAM
  EXPECT_NE(of_stream[0].payload.find('0'), std::string::npos);
  EXPECT_EQ(of_stream[1].type, 3);
  EXPECT_EQ(of_stream[1].payload, std::string(4, '\0'));
  EXPECT_FALSE(server.failed);
  server.feed(request_on(3));
  EXPECT_EQ(server.opened.size(), 2u);
}

TEST_F(ServerTest, CompressedMessage) {
  start_open();
  server.feed(frame(0, 0, 1, grpc("good") + grpc("bad", 1) + grpc("never")));
  EXPECT_EQ(server.messages, std::vector<std::string>{"good"});
  expect_closed_cleanly(server, TransportFault::kBadMessageFlag);
}

TEST_F(ServerTest, InvalidFlagByte) {
  start_open();
  server.feed(frame(0, 0, 1, grpc("bad", 'x')), 1);
  expect_closed_cleanly(server, TransportFault::kBadMessageFlag);
}

TEST_F(ServerTest, MessageOfMoreThanFourMebibytes) {
  start_open();
  server.feed(frame(0, 0, 1, from_hex("0000400001") + "begin"));
  expect_closed_cleanly(server, TransportFault::kMessageTooLarge);
}

TEST_F(ServerTest, MessageOfFourMebibytesIsTaken) {
  start_open();
  server.feed(frame(0, 0, 1, from_hex("0000400000")));
  for (int i = 0; i < 256; ++i) {
    server.feed(frame(0, 0, 1, std::string(16'384, 'm')));
    (void)server.take();
  }
  ASSERT_EQ(server.messages.size(), 1u);
  EXPECT_EQ(server.messages[0].size(), 4'194'304u);
}

TEST_F(ServerTest, StreamEndsInsideAMessage) {
  start_open();
  server.feed(frame(0, 1, 1, grpc("cut off").substr(0, 8)));
  ASSERT_EQ(server.closed.size(), 1u);
  EXPECT_EQ(server.closed[0].fault, TransportFault::kCutMessage);
  (void)server.take();
  EXPECT_EQ(server.transport->open_streams(), 0u);
}

TEST_F(ServerTest, NothingLargerThanThePeerTakesIsSent) {
  start_open();
  EXPECT_EQ(server.send(1, std::string(4'194'305, 'x')), WriteResult::kTooLarge);
  EXPECT_EQ(server.transport->counters().refused_too_large, 1u);
  EXPECT_EQ(server.send(1, std::string(4'194'304, 'x')), WriteResult::kQueued);
  EXPECT_EQ(server.send(9, "x"), WriteResult::kClosed);
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

TEST_F(ServerTest, GetIsStatusTwelve) {
  start();
  server.feed(kClientStart.substr(0, 24 + 9 + 24 + 13));
  server.feed(frame(1, 5, 1, from_hex("82 84 86 41 01 61")));  // GET / http, authority "a"
  ASSERT_EQ(server.closed.size(), 1u);
  EXPECT_EQ(server.closed[0].fault, TransportFault::kUnknownMethod);
  EXPECT_FALSE(server.failed);
}

TEST_F(ServerTest, Http1IsAnsweredInHttp1) {
  for (const std::size_t piece : {1u, 3u, 1000u}) {
    Peer peer;
    ASSERT_TRUE(peer.make(server_config()));
    peer.feed("GET / HTTP/1.1\r\nHost: x\r\n\r\n", piece);
    EXPECT_EQ(peer.fault, TransportFault::kHttp1);
    const std::string answer = peer.take();
    EXPECT_TRUE(answer.starts_with("HTTP/1.1 505 ")) << answer;
    EXPECT_TRUE(peer.transport->finished());
  }
}

TEST_F(ServerTest, OtherFirstBytes) {
  for (const auto& [bytes, fault] : {std::pair{std::string("\x16\x03\x01\x02\x00\x01", 6), TransportFault::kTlsToPlain},
                                     std::pair{std::string("PRI * HTTP/2.0\r\n\r\nSMx"), TransportFault::kNotHttp2},
                                     std::pair{std::string("\0\0\0\0", 4), TransportFault::kNotHttp2},
                                     std::pair{std::string("POST / HTTP/1.1\r\n"), TransportFault::kHttp1},
                                     std::pair{std::string("SSH-2.0-x\r\n"), TransportFault::kNotHttp2}}) {
    for (const std::size_t piece : {1u, 100u}) {
      Peer peer;
      ASSERT_TRUE(peer.make(server_config()));
      peer.feed(bytes, piece);
      EXPECT_EQ(peer.fault, fault) << bytes;
      EXPECT_FALSE(peer.transport->error().text.empty());
      (void)peer.take();
      EXPECT_TRUE(peer.transport->finished());
    }
  }
}

TEST_F(ServerTest, BrokenHttp2EndsTheConnectionWithGoaway) {
  for (const std::string& bad : {frame(0, 0, 0, "data on stream 0"), frame(0, 0, 77, "data on an idle stream"),
                                 frame(1, 4, 1, "\xff\xff\xff"), frame(6, 0, 0, "short"), frame(4, 0, 0, "12345"),
                                 frame(8, 0, 0, std::string(4, '\0')), frame(9, 4, 1, "lonely continuation"),
                                 frame(1, 4, 2, "even stream")}) {
    Peer peer;
    ASSERT_TRUE(peer.make(server_config()));
    peer.feed(kClientStart);
    (void)peer.take();
    peer.feed(bad, 1);
    const std::string out = peer.take();
    EXPECT_TRUE(peer.failed);
    EXPECT_EQ(peer.fault, TransportFault::kHttp2Protocol);
    ASSERT_EQ(peer.closed.size(), 1u);
    const auto frames = frames_of(out);
    EXPECT_TRUE(std::any_of(frames.begin(), frames.end(), [](const Frame& f) { return f.type == 7; }));
    EXPECT_TRUE(peer.transport->finished());
  }
}

TEST_F(ServerTest, FrameLargerThanAllowedIsRefused) {
  auto config = server_config();
  config->max_frame_bytes = 16'384;
  start(config);
  server.feed(kClientStart);
  (void)server.take();
  server.feed(frame(0, 0, 1, std::string(16'385, 'x')));
  (void)server.take();
  EXPECT_EQ(server.fault, TransportFault::kHttp2Protocol);
}

TEST_F(ServerTest, HeadersBeyondTheBoundAreRefusedAndTheConnectionLives) {
  start();
  server.feed(kClientStart.substr(0, 24 + 9 + 24 + 13));
  std::string block = from_hex("83 86 84 41 01 61");
  for (int i = 0; i < 200; ++i) {
    block += from_hex("00 01 78 7f 01") + std::string(128, 'v');  // x: 128 bytes
  }
  server.feed(frame(1, 0, 1, block.substr(0, 16'000)));
  server.feed(frame(9, 4, 1, block.substr(16'000)));
  EXPECT_TRUE(server.opened.empty());
  ASSERT_EQ(server.closed.size(), 1u);
  EXPECT_EQ(server.closed[0].fault, TransportFault::kHeadersTooLarge);
  (void)server.take();
  EXPECT_FALSE(server.failed);
}

// Floods: each kind of frame again and again, with and without the peer reading what we answer.
struct Flood {
  const char* name;
  std::string bytes;
  bool read;
};

class FloodTest : public testing::TestWithParam<Flood> {};

TEST_P(FloodTest, IsEndedAndMemoryStaysBounded) {
  Peer server;
  ASSERT_TRUE(server.make(server_config()));
  server.feed(kClientStart);
  (void)server.take();
  std::size_t most = 0;
  int sent = 0;
  for (; sent < 100'000 && !server.failed; ++sent) {
    server.feed(GetParam().bytes);
    if (GetParam().read) {
      (void)server.take();
    }
    most = std::max(most, server.memory.account().used_bytes());
    server.now.now_ns += 10'000;
  }
  EXPECT_TRUE(server.failed) << GetParam().name;
  EXPECT_EQ(server.fault, TransportFault::kFlood) << server.transport->error().text;
  EXPECT_LT(most, 1u << 20);
  EXPECT_LT(sent, 5'000);
  (void)server.take();
  EXPECT_TRUE(server.transport->finished());
}

INSTANTIATE_TEST_SUITE_P(Kinds, FloodTest,
                         testing::Values(Flood{"ping", frame(6, 0, 0, "12345678"), true}, Flood{"ping_unread", frame(6, 0, 0, "12345678"), false},
                                         Flood{"settings", frame(4, 0, 0, ""), true}, Flood{"settings_unread", frame(4, 0, 0, ""), false},
                                         Flood{"empty_data", frame(0, 0, 1, ""), true}, Flood{"priority", frame(2, 0, 1, std::string(5, '\1')), true},
                                         Flood{"window_update", frame(8, 0, 1, std::string("\0\0\0\1", 4)), true}),
                         [](const auto& of) { return of.param.name; });

TEST_F(ServerTest, RapidResetIsEnded) {
  start_open();
  std::size_t most = 0;
  std::uint32_t stream = 3;
  for (; stream < 20'000 && !server.failed; stream += 2) {
    server.feed(request_on(stream) + frame(3, 0, stream, std::string(4, '\x8')));
    (void)server.take();
    most = std::max(most, server.memory.account().used_bytes());
  }
  EXPECT_EQ(server.fault, TransportFault::kFlood) << server.transport->error().text;
  EXPECT_LT(stream, 2 * kEdgeResetBurst);
  EXPECT_LT(most, 1u << 20);
}

TEST_F(ServerTest, ManyDataFramesAreNoFlood) {
  start_open();
  for (int i = 0; i < 50'000; ++i) {
    server.feed(frame(0, 0, 1, grpc("m")) + (i % 8 == 0 ? frame(6, 0, 0, "12345678") : ""));
    (void)server.take();
  }
  EXPECT_FALSE(server.failed);
  EXPECT_EQ(server.messages.size(), 50'000u);
}

TEST_F(ServerTest, MemoryBoundEndsTheConnectionAndNothingElse) {
  Peer small(120'000);
  ASSERT_TRUE(small.make(server_config()));
  small.feed(kClientStart);
  for (int i = 0; i < 10'000 && !small.failed; ++i) {
    small.send(1, std::string(500, 'x'));
    small.drain_events();
  }
  EXPECT_EQ(small.fault, TransportFault::kNoMemory);
  EXPECT_LE(small.memory.account().used_bytes(), 120'000u);
  EXPECT_GT(small.memory.account().refusals(), 0u);
  small.transport.reset();
  EXPECT_EQ(small.memory.account().used_bytes(), 0u);
}

TEST_F(ServerTest, SilenceEndsInTime) {
  start();
  EXPECT_EQ(server.transport->next_deadline_ns(), server.now.now_ns + 10'000'000'000);
  server.now.now_ns += 9'999'000'000;
  server.transport->tick(server.now);
  server.drain_events();
  EXPECT_FALSE(server.failed);
  server.now.now_ns += 2'000'000;
  server.transport->tick(server.now);
  server.drain_events();
  EXPECT_EQ(server.fault, TransportFault::kHandshakeTimeout);
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
