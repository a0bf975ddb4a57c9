// Upstream applications on the streams of a socket engine: a client of the edge codec at the far end of a real socket,
// the control thread's part played by the test.

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include <list>
#include <optional>

#include "edge/link_key.h"
#include "edge/negotiation.h"
#include "edge/tls_context.h"
#include "edge/translate.h"
#include "edge/transport.h"
#include "frame/body.h"
#include "port/edge_open.h"
#include "port/mbuf.h"
#include "socket_rig.h"
#include "../edge/tls_certificates.h"

namespace slipway::test {
namespace {

enum class Wire { kGrpc, kGrpcTls, kWebSocket };

struct Configs {
  std::shared_ptr<const TransportConfig> server;
  std::shared_ptr<const TransportConfig> client;
};

Configs make_configs(Wire wire) {
  TransportConfig server{.max_streams = 1};
  TransportConfig client{.role = TransportRole::kClient, .authority = "localhost:1"};
  if (wire == Wire::kWebSocket) {
    server.protocol = client.protocol = TransportProtocol::kWebSocket;
    server.path = client.path = "/";
    server.max_message_bytes = client.max_message_bytes = kMaxFrameBytes;
  }
  if (wire == Wire::kGrpcTls) {
    static const Certificate ca = make_certificate("ca", nullptr);
    static const Certificate own = make_certificate("localhost", &ca, "DNS:localhost");
    server.tls = *TlsContext::load({.server = true, .certificate = {.pem = own.pem}, .key = {.pem = own.key_pem}});
    client.tls = *TlsContext::load({.server = false, .ca = {.pem = ca.pem}, .system_roots = false});
    client.server_name = "localhost";
    client.scheme = "https";
  }
  return {std::make_shared<const TransportConfig>(server), std::make_shared<const TransportConfig>(client)};
}

// An application of upstream's: its transport, its side of the negotiation, its MAC.
class Application {
 public:
  Application(int fd, std::shared_ptr<const TransportConfig> config, std::uint64_t& clock) : fd_(fd), clock_(clock) {
    transport_ = Transport::create(std::move(config), {.memory = &memory_, .events = &events_, .release = &on_release, .context = this}, time());
  }
  ~Application() {
    transport_.reset();
    if (fd_ >= 0) {
      close(fd_);
    }
  }
  Application(const Application&) = delete;
  Application& operator=(const Application&) = delete;

  // Moves bytes both ways, as far as they go now.
  void turn() {
    if (fd_ < 0) {
      return;
    }
    if (reading) {
      std::byte buffer[16384];
      for (;;) {
        const ssize_t n = recv(fd_, buffer, sizeof buffer, MSG_DONTWAIT);
        if (n <= 0) {
          ended = ended || n == 0;
          break;
        }
        feed({buffer, static_cast<std::size_t>(n)});
      }
    }
    iovec pieces[64];
    for (;;) {
      std::size_t count = transport_->gather(pieces);
      take_events();
      if (count == 0) {
        break;
      }
      if (most_bytes != 0) {
        count = 1;
        pieces[0].iov_len = std::min(pieces[0].iov_len, most_bytes);
      }
      const ssize_t n = writev(fd_, pieces, static_cast<int>(count));
      if (n <= 0) {
        break;
      }
      transport_->consumed(static_cast<std::size_t>(n));
      if (most_bytes != 0) {
        break;
      }
    }
  }

  void say(std::span<const std::byte> message) {
    const iovec piece{const_cast<std::byte*>(message.data()), message.size()};
    kept_.emplace_back(message.begin(), message.end());
    const iovec own{kept_.back().data(), piece.iov_len};
    (void)transport_->write_message(channel, {&own, 1}, 1);
  }
  void negotiate() {
    initiator = std::make_unique<NegotiationInitiator>(NegotiationConfig{.node_id = "app"}, LinkClass::kEdge, "link-1", keys_, 0);
    say(initiator->start().send);
  }
  // A native frame in upstream's words, with the header MAC of the link. spoil: this text of it is another behind the MAC's back.
  void say_frame(const Bytes& frame, bool sign = true, std::string_view spoil = {}) {
    const Piece body = std::span(frame).subspan(kFrameHeaderBytes);
    std::vector<std::byte> scratch(4096);
    std::vector<Piece> out(64);
    const auto written = message_of_frame(frame.data(), Pieces({&body, 1}), {.mac = sign ? &*mac : nullptr, .incoming_conn = {}}, {scratch, out});
    ASSERT_TRUE(written);
    Bytes message;
    for (const Piece& piece : std::span(out).first(written->piece_count)) {
      message.insert(message.end(), piece.begin(), piece.end());
    }
    if (!spoil.empty()) {
      *std::ranges::search(message, std::as_bytes(std::span(spoil))).begin() ^= std::byte{1};
    }
    say(message);
  }
  // A received message as a native frame, its MAC checked.
  [[nodiscard]] Bytes frame_of(const Bytes& message) const {
    const Piece piece = message;
    std::vector<std::byte> scratch(4096);
    std::vector<Piece> out(64);
    const auto frame = frame_of_message(Pieces({&piece, 1}), {.mac = mac ? &*mac : nullptr}, {scratch, out});
    EXPECT_TRUE(frame) << edge_fault_text(frame ? EdgeFault::kNone : frame.error()).what;
    Bytes bytes;
    for (const Piece& part : std::span(out).first(frame ? frame->piece_count : 0)) {
      bytes.insert(bytes.end(), part.begin(), part.end());
    }
    return bytes;
  }
  void half_close() { transport_->finish_stream(channel, 0, {}); }
  void close_now() { close(std::exchange(fd_, -1)); }
  void raw(std::string_view bytes) { (void)!write(fd_, bytes.data(), bytes.size()); }
  [[nodiscard]] Transport& transport() { return *transport_; }

  std::int32_t channel = -1;
  bool reading = true;
  std::size_t most_bytes = 0;  // of one turn(); 0: all
  bool ended = false;
  int status = -1;
  std::vector<Bytes> messages;
  std::unique_ptr<NegotiationInitiator> initiator;
  std::optional<HeaderMac> mac;

 private:
  [[nodiscard]] TransportTime time() const { return {.now_ns = clock_, .unix_s = 1'700'000'000}; }
  static void on_release(void*, std::uint64_t) {}
  void feed(std::span<const std::byte> bytes) {
    for (bool again = true; again || !bytes.empty();) {
      std::vector<std::byte> room(transport_->needs_room() ? kEdgeRoomBytes : 0);
      const FeedResult fed = transport_->feed(bytes, room, time());
      take_events();
      bytes = bytes.subspan(fed.used);
      again = fed.again;
      if (!again && fed.used == 0 && fed.room_used == 0) {
        break;
      }
    }
  }
  void take_events() {
    const auto batch = std::exchange(events_, {});
    for (const TransportEvent& event : batch) {
      if (event.kind == TransportEventKind::kReady && channel < 0) {
        (void)transport_->open_stream();
      } else if (event.kind == TransportEventKind::kStreamOpen) {
        channel = event.stream;
      } else if (event.kind == TransportEventKind::kStreamClosed) {
        status = event.grpc_status;
      } else if (event.kind == TransportEventKind::kMessage) {
        if (event.begin) {
          messages.emplace_back();
        }
        messages.back().insert(messages.back().end(), event.bytes.begin(), event.bytes.end());
        transport_->release(event.stream, event.bytes.size());
        if (event.end && initiator != nullptr && initiator->state() == NegotiationStep::State::kWaiting) {
          const Piece piece = messages.back();
          (void)initiator->take(Pieces({&piece, 1}), 0);
          if (initiator->state() == NegotiationStep::State::kEstablished) {
            mac.emplace(*initiator->link().key, initiator->link().link_id);
          }
          messages.pop_back();
        }
      }
    }
  }

  int fd_;
  std::uint64_t& clock_;
  TransportMemory memory_{64u << 20};
  TransportEvents events_;
  std::list<Bytes> kept_;
  OpensslKeySource keys_;
  std::unique_ptr<Transport> transport_;
};

class SocketEdge : public testing::TestWithParam<Wire> {
 protected:
  // A connection as the control thread would make it; not negotiated yet.
  void connect(bool strict = true, PairKind kind = PairKind::kTcp) {
    const Configs configs = make_configs(GetParam());
    const auto [ours, theirs] = make_pair_of(kind);
    link = rig.next_link++;
    LinkRecord record{.index = link, .generation = 100 + link, .state = LinkState::kGreeting, .max_frame_bytes = kMaxFrameBytes, .native = false};
    rig.engine->open_stream({.link = link, .generation = record.generation, .fd = ours, .max_frame_bytes = kMaxFrameBytes,
                             .edge = new EdgeOpen{.transport = configs.server, .tcp = kind == PairKind::kTcp, .strict_mac = strict}});
    rig.engine->set_link(record);
    rig.records[link] = record;
    app = std::make_unique<Application>(theirs, configs.client, rig.now_ns);
  }
  bool until(const std::function<bool()>& done) {
    return rig.run_until([&] {
      app->turn();
      return done();
    });
  }
  void negotiate() {
    ASSERT_TRUE(until([&] { return app->channel >= 0; }));
    app->negotiate();
    ASSERT_TRUE(until([&] { return !rig.received.empty(); }));
    const Bytes greeting = std::move(rig.received.front());
    rig.received.clear();
    ASSERT_EQ(frame_kind(greeting.data()), static_cast<std::uint8_t>(FrameKind::kLink));
    const Piece piece = std::span(greeting).subspan(kFrameHeaderBytes);
    NegotiationAcceptor acceptor({.node_id = "node"}, keys, 0);
    const NegotiationStep step = acceptor.take(Pieces({&piece, 1}), 0);
    ASSERT_EQ(step.state, NegotiationStep::State::kEstablished) << step.text;
    auto* key = new EdgeKey;
    key->mac.emplace(*acceptor.link().key, acceptor.link().link_id);
    LinkRecord& record = rig.records[link];
    rig.engine->give_edge_key({.link = link, .generation = record.generation, .key = key});
    record.state = LinkState::kUp;
    rig.engine->set_link(record);
    Bytes reply(kFrameHeaderBytes);
    store_header(reply.data(), {.kind = FrameKind::kLink, .hop_limit = 0, .fanout = 0, .flags = frame_flag::kNoNames});
    reply.insert(reply.end(), step.send.begin(), step.send.end());
    rig.send(link, reply);
    ASSERT_TRUE(until([&] { return app->mac.has_value(); }));
  }
  static Bytes publish(std::size_t payload_bytes, std::uint32_t number, std::uint32_t fanout = 1) {
    std::vector<std::byte> payload(payload_bytes);
    for (std::size_t i = 0; i < payload_bytes; ++i) {
      payload[i] = static_cast<std::byte>(number * 31 + i * 7 + (i >> 8));
    }
    const PublishBody body{.destination_text = {"org", "ns", "bob"}, .source_text = {"org", "ns", "alice"}, .identity = "token",
                           .payload_type = "msg", .payload = payload};
    return encode_publish({.session_type = 1, .fanout = fanout, .session_id = 7, .message_id = number, .destination = {{1, 2, 3}, {4, 5}},
                           .source = {{6, 7, 8}, {9, 10}}, .session_message_type = 1}, body);
  }
  static void expect_same(const Bytes& got, const Bytes& sent) {
    ASSERT_EQ(check_frame(got), FrameFault::kNone);
    FrameHeader a = load_header(got.data());
    const FrameHeader b = load_header(sent.data());
    EXPECT_EQ(a, b);
    const auto x = decode_publish(got);
    const auto y = decode_publish(sent);
    ASSERT_TRUE(x && y);
    EXPECT_EQ(x->destination_text, y->destination_text);
    EXPECT_EQ(x->source_text, y->source_text);
    EXPECT_EQ(x->identity, y->identity);
    EXPECT_EQ(x->payload_type, y->payload_type);
    EXPECT_TRUE(std::ranges::equal(x->payload, y->payload));
  }

  Rig rig;
  LinkIndex link = kNoLink;
  OpensslKeySource keys;
  std::unique_ptr<Application> app;
};

const std::size_t kSizes[] = {0, 10, 300, 512, 513, 1024, 1900, 2100, 16'000, 40'000, 200'000, 3'000'000};

TEST_P(SocketEdge, MessagesOfEverySizeComeInAsFrames) {
  connect();
  negotiate();
  for (std::uint32_t i = 0; i < std::size(kSizes); ++i) {
    app->say_frame(publish(kSizes[i], i));
  }
  ASSERT_TRUE(until([&] { return rig.received.size() == std::size(kSizes); })) << rig.received.size();
  for (std::uint32_t i = 0; i < std::size(kSizes); ++i) {
    expect_same(rig.received[i], publish(kSizes[i], i));
  }
}

// What is alike from message to message is not read or written again: identity, hop limit, number and payload are each one's own.
TEST_P(SocketEdge, MessagesThatAreAlikeComeInAsTheirOwnFrames) {
  connect();
  negotiate();
  std::vector<Bytes> sent;
  for (std::uint32_t i = 0; i < 300; ++i) {
    const std::uint32_t kind = i / 50 % 3;  // streams of the same sizes but for names, of others, and of other sizes
    const std::string identity(kind == 2 ? 100 : 236, static_cast<char>('a' + i % 26));
    const Bytes payload(kind == 1 ? 1'100 : 64, static_cast<std::byte>(i));
    const std::string service = kind == 0 && i % 2 == 0 ? "other" : "agent";
    const PublishBody body{.destination_text = {"org", "ns", service}, .source_text = {"org", "ns", "bench"}, .identity = identity, .payload_type = "msg", .payload = payload};
    sent.push_back(encode_publish({.hop_limit = static_cast<std::uint8_t>(1 + i % 120), .session_type = 1, .fanout = 1, .session_id = 7, .message_id = 100 + i * 7,
                                   .destination = hash_name("org", "ns", service), .source = hash_name("org", "ns", "bench", {1, 1}),
                                   .session_message_type = 1}, body));
    app->say_frame(sent.back());
    if (i % 40 == 0) {
      app->turn();
      rig.step();
    }
  }
  ASSERT_TRUE(until([&] { return rig.received.size() == sent.size(); })) << rig.received.size();
  for (std::size_t i = 0; i < sent.size(); ++i) {
    expect_same(rig.received[i], sent[i]);
  }
}

// Small messages that lie across DATA frames and receive buffers are read together with those beside them.
TEST_P(SocketEdge, MessagesInPartsAreReadAmongTheOthers) {
  constexpr std::size_t kPayloads[] = {1'024, 1'024, 1'024, 0, 0, 1, 1'300, 1'024, 1'024, 1'900, 5'000};
  connect();
  negotiate();
  std::vector<Bytes> expected;
  std::uint64_t spoilt = 0;
  std::uint32_t number = 0;
  for (const std::size_t most_bytes : {std::size_t{701}, std::size_t{7'919}, std::size_t{0}}) {
    app->most_bytes = most_bytes;
    for (std::uint32_t i = 0; i < 160; ++i, ++number) {
      const Bytes frame = publish(kPayloads[i / 4 % std::size(kPayloads)], number);
      if (number % 9 == 5) {
        app->say_frame(frame, true, "token");
        ++spoilt;
      } else {
        app->say_frame(frame);
        expected.push_back(frame);
      }
    }
    ASSERT_TRUE(until([&] { return rig.received.size() == expected.size() && rig.drops(DropReason::kEdgeMacWrong) == spoilt; }))
        << rig.received.size() << " of " << expected.size() << ", " << rig.drops(DropReason::kEdgeMacWrong) << " of " << spoilt;
  }
  for (std::size_t i = 0; i < expected.size(); ++i) {
    expect_same(rig.received[i], expected[i]);
  }
  rig.check_books();
}

TEST_P(SocketEdge, FramesOfEverySizeGoOutAsMessages) {
  connect();
  negotiate();
  for (std::uint32_t i = 0; i < std::size(kSizes); ++i) {
    rig.send(link, publish(kSizes[i], i));
  }
  ASSERT_TRUE(until([&] { return app->messages.size() == std::size(kSizes) && rig.engine->held_frames() == 0; })) << app->messages.size();
  for (std::uint32_t i = 0; i < std::size(kSizes); ++i) {
    expect_same(app->frame_of(app->messages[i]), publish(kSizes[i], i));
  }
}

TEST_P(SocketEdge, AThousandMessagesThereAndBack) {
  connect();
  negotiate();
  rig.routes[link] = {link};
  for (std::uint32_t i = 0; i < 1'000; ++i) {
    app->say_frame(publish(64 + i % 700, i));
    if (i % 50 == 0) {
      app->turn();
      rig.step();
    }
  }
  ASSERT_TRUE(until([&] { return app->messages.size() == 1'000; })) << app->messages.size();
  for (std::uint32_t i = 0; i < 1'000; ++i) {
    expect_same(app->frame_of(app->messages[i]), publish(64 + i % 700, i));
  }
}

TEST_P(SocketEdge, AFanOutReachesEachUnderItsOwnKey) {
  constexpr std::size_t kReceivers = 5;
  connect();
  negotiate();
  const auto sender = std::exchange(app, nullptr);
  const LinkIndex from = link;
  std::vector<std::unique_ptr<Application>> receivers;
  for (std::size_t i = 0; i < kReceivers; ++i) {
    connect();
    negotiate();
    rig.routes[from].push_back(link);
    receivers.push_back(std::exchange(app, nullptr));
  }
  for (std::uint32_t i = 0; i < 600; ++i) {
    sender->say_frame(publish(i % 200 == 199 ? 40'000 : 64 + 3 * i, i, 256));
  }
  ASSERT_TRUE(rig.run_until([&] {
    sender->turn();
    bool all = true;
    for (const auto& receiver : receivers) {
      receiver->turn();
      all = all && receiver->messages.size() == 600;
    }
    return all;
  }));
  for (const auto& receiver : receivers) {
    for (std::uint32_t i = 0; i < 600; ++i) {
      expect_same(receiver->frame_of(receiver->messages[i]), publish(i % 200 == 199 ? 40'000 : 64 + 3 * i, i, 256));
    }
  }
}

TEST_P(SocketEdge, AMissingMacCostsTheMessageAndNotTheLink) {
  connect();
  negotiate();
  app->say_frame(publish(10, 1), false);
  app->say_frame(publish(10, 2));
  ASSERT_TRUE(until([&] { return !rig.received.empty(); }));
  EXPECT_EQ(load_header(rig.received.front().data()).message_id, 2u);
  EXPECT_EQ(rig.drops(DropReason::kEdgeMacMissing), 1u);
}

TEST_P(SocketEdge, BytesThatAreNoMessageEndTheStreamWithStatusZero) {
  connect();
  negotiate();
  rig.events();
  app->say(Bytes{std::byte{0x1A}, std::byte{0x7F}});  // a publish that runs past its end
  ASSERT_TRUE(until([&] { return app->ended; }));
  EXPECT_EQ(rig.drops(DropReason::kEdgeCutShort), 1u);
  if (GetParam() != Wire::kWebSocket) {
    EXPECT_EQ(app->status, 0);
  }
  app->close_now();
  bool told = false;
  ASSERT_TRUE(rig.run_until([&] {
    for (const auto& event : rig.events()) {
      told = told || (event.type == Event::kLinkClosed && event.as<LinkClosed>().reason == CloseReason::kEdge);
    }
    rig.advance_ms(20);
    return told;
  }));
}

TEST_P(SocketEdge, NothingPassesBeforeTheNegotiationIsDone) {
  connect();
  ASSERT_TRUE(until([&] { return app->channel >= 0; }));
  app->negotiate();
  Bytes early = publish(10, 1);
  app->mac.emplace(LinkKey{}, "other");
  app->say_frame(early);  // an impatient application
  ASSERT_TRUE(until([&] { return rig.received.size() == 1; }));
  for (int i = 0; i < 50; ++i) {
    app->turn();
    rig.step();
  }
  EXPECT_EQ(rig.received.size(), 1u);
  EXPECT_EQ(frame_kind(rig.received.front().data()), static_cast<std::uint8_t>(FrameKind::kLink));
}

TEST_P(SocketEdge, TheControlThreadEndsAStreamWithAStatus) {
  if (GetParam() == Wire::kWebSocket) {
    GTEST_SKIP() << "WebSocket carries no gRPC status";
  }
  connect();
  negotiate();
  for (std::uint32_t i = 0; i < 20; ++i) {
    rig.send(link, publish(20'000, i));
  }
  rig.engine->close_link({.link = link, .generation = rig.records[link].generation, .drain_ms = 5'000, .edge_status = 7, .edge_text = kEdgeCloseSelf});
  ASSERT_TRUE(until([&] { return app->ended; }));
  EXPECT_EQ(app->messages.size(), 20u);  // what was queued came first
  EXPECT_EQ(app->status, 7);
}

TEST_P(SocketEdge, AReceiverThatDoesNotReadIsBoundedAndLosesNothing) {
  connect();
  negotiate();
  app->reading = false;
  for (std::uint32_t i = 0; i < 200; ++i) {
    rig.send(link, publish(16'000, i), true);
    app->turn();
    rig.step();
  }
  EXPECT_GT(rig.engine->held_frames(), 0u);
  app->reading = true;
  ASSERT_TRUE(until([&] { return app->messages.size() == 200 && rig.engine->held_frames() == 0; })) << app->messages.size();
}

TEST_P(SocketEdge, AnApplicationThatGoesTakesItsLinkAlong) {
  connect();
  negotiate();
  app->say_frame(publish(2'000'000, 1));  // and is in the middle of a message
  app->turn();
  rig.step();
  rig.events();
  app->close_now();
  bool closed = false;
  bool released = false;
  ASSERT_TRUE(rig.run_until([&] {
    for (const auto& event : rig.events()) {
      closed = closed || event.type == Event::kLinkClosed;
      released = released || event.type == Event::kLinkReleased;
    }
    return closed && released;
  }));
}

TEST_P(SocketEdge, GarbageEndsTheConnectionWithASentence) {
  connect();
  app->raw("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
  std::string text;
  ASSERT_TRUE(rig.run_until([&] {
    for (const auto& event : rig.events()) {
      if (event.type == Event::kLinkClosed && event.bytes.size() > sizeof(LinkClosed)) {
        text.assign(reinterpret_cast<const char*>(event.bytes.data()) + sizeof(LinkClosed), event.bytes.size() - sizeof(LinkClosed));
      }
    }
    rig.advance_ms(20);
    return !text.empty();
  }));
  EXPECT_GT(text.size(), 10u) << text;
}

TEST_P(SocketEdge, ASilentConnectionIsClosedInTime) {
  connect();
  rig.events();
  bool closed = false;
  ASSERT_TRUE(rig.run_until([&] {
    rig.advance_ms(50);
    for (const auto& event : rig.events()) {
      closed = closed || event.type == Event::kLinkClosed;
    }
    return closed;
  }));
}

INSTANTIATE_TEST_SUITE_P(Wires, SocketEdge, testing::Values(Wire::kGrpc, Wire::kGrpcTls, Wire::kWebSocket), [](const auto& wire) {
  return wire.param == Wire::kGrpc ? "Grpc" : wire.param == Wire::kGrpcTls ? "GrpcTls" : "WebSocket";
});

}  // namespace
}  // namespace slipway::test
