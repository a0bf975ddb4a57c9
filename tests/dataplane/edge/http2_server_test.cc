// The server side of HTTP/2 with gRPC against bytes written by hand: the golden first bytes, bad input, floods.

#include <gtest/gtest.h>

#include "http2_bytes.h"
#include "transport_peer.h"

namespace slipway::test {
namespace {

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

}  // namespace
}  // namespace slipway::test
