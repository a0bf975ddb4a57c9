// A whole link to an upstream application, as the node has it: bytes -> Transport -> negotiation -> header MAC -> translation ->
// native frames -> and back, in any pieces. The other side is a real client that the input drives: it negotiates, signs, subscribes
// and publishes, with messages of the input's own among its good ones, its bytes changed on the way, streams ended and time passing.
//
// Whatever comes: no bad access; memory within its bound; no frame before the link is negotiated; each frame is one that a worker
// takes; what the node makes of it for an application is a message that the application takes, its MAC included.

#include <algorithm>
#include <array>
#include <optional>

#include "../dataplane/edge/fixed_keys.h"
#include "../dataplane/edge/transport_peer.h"
#include "edge/negotiation.h"
#include "edge/translate.h"
#include "frame/body.h"
#include "require.h"

namespace {

using namespace slipway;
using test::Peer;
using State = NegotiationStep::State;

constexpr std::size_t kMemoryBytes = 8u << 20;
constexpr std::size_t kPendingBytes = 256u << 10;  // the node sends no more to who does not read

std::string text_of(const FrameBytes& bytes) { return {reinterpret_cast<const char*>(bytes.data()), bytes.size()}; }

class Input {
 public:
  Input(const std::uint8_t* data, std::size_t size) : left_(reinterpret_cast<const char*>(data), size) {}
  std::uint8_t byte() {
    if (left_.empty()) {
      return 0;
    }
    const auto value = static_cast<std::uint8_t>(left_[0]);
    left_.remove_prefix(1);
    return value;
  }
  std::uint64_t number() {
    std::uint64_t value = 0;
    for (int i = byte() % 9; i > 0; --i) {
      value = value << 8 | byte();
    }
    return value;
  }
  std::string_view bytes(std::size_t size) {
    const auto taken = left_.substr(0, size);
    left_.remove_prefix(taken.size());
    return taken;
  }
  [[nodiscard]] bool empty() const { return left_.empty(); }

 private:
  std::string_view left_;
};

FrameBytes joined(std::span<const Piece> pieces) {
  FrameBytes out;
  for (const Piece& piece : pieces) {
    out.insert(out.end(), piece.begin(), piece.end());
  }
  return out;
}

// A message in up to three pieces, each of exactly its size.
struct Scattered {
  Scattered(std::string_view message, std::size_t cut) {
    const std::size_t first = std::min(cut, message.size());
    const std::size_t second = std::min(cut * 3 + 1, message.size() - first);
    for (const auto part : {message.substr(0, first), message.substr(first, second), message.substr(first + second)}) {
      blocks.emplace_back(reinterpret_cast<const std::byte*>(part.data()), reinterpret_cast<const std::byte*>(part.data()) + part.size());
      blocks.back().shrink_to_fit();
    }
    for (const auto& block : blocks) {
      pieces.push_back(block);
    }
  }
  std::vector<FrameBytes> blocks;
  std::vector<Piece> pieces;
};

struct Translator {
  std::vector<std::byte> scratch = std::vector<std::byte>(kTranslateScratchBytes);
  std::vector<Piece> pieces = std::vector<Piece>(256);

  std::expected<FrameBytes, EdgeFault> frame(const Pieces& message, const MacRules& rules) {
    const auto written = frame_of_message(message, rules, {scratch, pieces});
    if (!written) {
      return std::unexpected(written.error());
    }
    FUZZ_REQUIRE(written->piece_count <= pieces.size());
    auto out = joined(std::span(pieces).first(written->piece_count));
    FUZZ_REQUIRE(out.size() == written->bytes && out.size() >= kFrameHeaderBytes);
    return out;
  }
  std::expected<FrameBytes, EdgeFault> message(const FrameBytes& frame, const HeaderMac* mac) {
    const Piece body = std::span(frame).subspan(kFrameHeaderBytes);
    const auto written = message_of_frame(frame.data(), Pieces({&body, 1}), {.mac = mac, .incoming_conn = 7}, {scratch, pieces});
    if (!written) {
      return std::unexpected(written.error());
    }
    return joined(std::span(pieces).first(written->piece_count));
  }
};

// What the control thread and a worker do with one connection.
class NodeSide {
 public:
  explicit NodeSide(std::shared_ptr<const TransportConfig> config, bool strict) : strict_(strict) {
    FUZZ_REQUIRE(peer.make(std::move(config)));
  }

  void work(std::size_t cut) {
    if (acceptor == nullptr && !peer.opened.empty()) {
      acceptor = std::make_unique<NegotiationAcceptor>(NegotiationConfig{.node_id = "node", .strict = strict_}, keys, now_ms());
    }
    const auto messages = std::exchange(peer.messages, {});
    for (const auto& message : messages) {
      if (ended) {
        return;
      }
      FUZZ_REQUIRE(acceptor != nullptr);  // no message without a stream
      const Scattered scattered(message, cut);
      up ? forward(Pieces(scattered.pieces)) : negotiate(acceptor->take(Pieces(scattered.pieces), now_ms()));
    }
    if (acceptor != nullptr && !up && !ended) {
      negotiate(acceptor->tick(now_ms()));
    }
  }

  Peer peer{kMemoryBytes};
  FixedKeySource keys{kAcceptorFirst};
  std::unique_ptr<NegotiationAcceptor> acceptor;
  std::optional<HeaderMac> mac;
  bool up = false;
  bool ended = false;
  std::uint64_t frames = 0;

 private:
  [[nodiscard]] std::uint64_t now_ms() const { return peer.now.now_ns / 1'000'000; }
  [[nodiscard]] std::int32_t stream() const { return peer.opened.front(); }
  void end(int status, std::string_view text) {
    ended = true;
    peer.transport->finish_stream(stream(), status, text);
    peer.drain_events();
  }

  void negotiate(NegotiationStep step) {
    if (!step.send.empty()) {
      (void)peer.send(stream(), text_of(step.send));
    }
    if (step.state == State::kRefused) {
      end(static_cast<int>(step.close.status), step.close.message);
    } else if (step.state == State::kEstablished) {
      up = true;
      const auto& agreed = acceptor->link();
      FUZZ_REQUIRE(agreed.key || !strict_);
      if (agreed.key && agreed.signs()) {
        mac.emplace(*agreed.key, agreed.link_id);
      }
    }
  }

  void forward(const Pieces& message) {
    const MacRules rules{.mac = mac ? &*mac : nullptr, .checked = acceptor->link().signs(), .strict = strict_};
    const auto frame = translator_.frame(message, rules);
    if (!frame) {
      if (edge_fault_text(frame.error()).closes) {
        end(0, {});
      }
      return;
    }
    ++frames;
    FUZZ_REQUIRE(check_frame(*frame) == FrameFault::kNone);
    const auto back = translator_.message(*frame, mac ? &*mac : nullptr);
    if (!back) {
      FUZZ_REQUIRE(back.error() == EdgeFault::kTooBigForUpstream || back.error() == EdgeFault::kTooScattered);
      return;
    }
    const Piece whole = *back;
    const Pieces pieces({&whole, 1});
    UpstreamMessage parsed;
    FUZZ_REQUIRE(parse_message(pieces, &parsed) == EdgeFault::kNone);
    FUZZ_REQUIRE(validate(parsed) == EdgeFault::kNone);
    FUZZ_REQUIRE(!parsed.recv_from && !parsed.forward_to);
    FUZZ_REQUIRE(check_mac(parsed, pieces, rules) == EdgeFault::kNone || parsed.kind == MessageKind::kSubscriptionAck);
    if (peer.transport->pending_bytes() < kPendingBytes) {
      (void)peer.send(stream(), text_of(*back));
    }
  }

  bool strict_;
  Translator translator_;
};

// An application of upstream's, good as long as the input lets it be.
class AppSide {
 public:
  explicit AppSide(std::shared_ptr<const TransportConfig> config) {
    FUZZ_REQUIRE(peer.make(std::move(config)));
    stream = std::max(1, peer.transport->open_stream());
  }

  void work(bool honest) {
    if (!peer.opened.empty()) {
      stream = peer.opened.front();
    }
    const auto messages = std::exchange(peer.messages, {});
    for (const auto& message : messages) {
      const Piece piece = std::as_bytes(std::span(message));
      const Pieces pieces({&piece, 1});
      if (initiator != nullptr && initiator->state() == State::kWaiting) {
        const auto step = initiator->take(pieces, 0);
        if (step.state == State::kEstablished && initiator->link().key && initiator->link().signs()) {
          mac.emplace(*initiator->link().key, initiator->link().link_id);
        }
      } else if (honest && initiator != nullptr && initiator->state() == State::kEstablished) {
        FUZZ_REQUIRE(translator.frame(pieces, {.mac = mac ? &*mac : nullptr, .checked = initiator->link().signs()}).has_value());
      }
    }
  }
  void negotiate(LinkClass link_class) {
    if (initiator == nullptr) {
      initiator = std::make_unique<NegotiationInitiator>(NegotiationConfig{.node_id = "app"}, link_class, "link", keys, 0);
      (void)peer.send(stream, text_of(initiator->start().send));
    }
  }
  // A frame that a native sender could make, in upstream's words and signed; then a byte of it changed, or none.
  void say(const FrameBytes& frame, Input& input) {
    auto message = translator.message(frame, mac ? &*mac : nullptr);
    if (!message) {
      return;
    }
    for (int changes = input.byte() % 3; changes > 0 && !message->empty(); --changes) {
      (*message)[input.number() % message->size()] ^= static_cast<std::byte>(input.byte());
    }
    (void)peer.send(stream, text_of(*message), 1 + input.byte() % 3);
  }

  Peer peer{kMemoryBytes};
  FixedKeySource keys{kInitiatorFirst};
  std::unique_ptr<NegotiationInitiator> initiator;
  std::optional<HeaderMac> mac;
  Translator translator;
  std::int32_t stream;
};

FrameBytes frame_of(Input& input) {
  const std::uint8_t kind = input.byte() % 3;
  Name to = hash_name("org", "ns", std::string(1, static_cast<char>('a' + input.byte() % 4)), {.high = input.number(), .low = input.number()});
  const FrameHeader header{.kind = kind == 0   ? FrameKind::kPublish
                                   : kind == 1 ? FrameKind::kSubscribe
                                               : FrameKind::kUnsubscribe,
                           .hop_limit = input.byte(),
                           .session_type = kind == 0 ? input.byte() : std::uint8_t{0},
                           .fanout = static_cast<std::uint32_t>(input.number()),
                           .session_id = kind == 0 ? static_cast<std::uint32_t>(input.number()) : 0,
                           .message_id = kind == 0 ? static_cast<std::uint32_t>(input.number()) : 0,
                           .destination = to,
                           .source = to};
  const std::array<std::string, 3> text{"org", "ns", "a"};
  if (kind != 0) {
    return encode_subscribe(header, {.destination_text = text, .source_text = text, .subscription_id = input.number(), .identity = "id", .version = "1.0.0"});
  }
  const std::vector<std::byte> payload(input.number() % 9'000, static_cast<std::byte>(input.byte()));
  return encode_publish(header, {.destination_text = text, .source_text = text, .identity = "id", .payload_type = "t", .payload = payload});
}

struct Link {
  Link(bool websocket, bool strict) : node(config(TransportRole::kServer, websocket), strict), app(config(TransportRole::kClient, websocket)) {}
  static std::shared_ptr<TransportConfig> config(TransportRole role, bool websocket) {
    auto out = std::make_shared<TransportConfig>();
    out->role = role;
    out->authority = "fuzz";
    out->max_streams = 1;
    if (websocket) {
      out->protocol = TransportProtocol::kWebSocket;
      out->path = "/";
      out->max_message_bytes = kMaxFrameBytes;
    }
    return out;
  }
  // False: nothing was to be carried.
  bool to_node(std::size_t limit, std::size_t cut) {
    const auto bytes = app.peer.take(limit);
    node.peer.feed(bytes, cut);
    node.work(cut);
    return !bytes.empty();
  }
  bool to_app(std::size_t limit, std::size_t cut) {
    const auto bytes = node.peer.take(limit);
    app.peer.feed(bytes, cut);
    app.work(honest);
    return !bytes.empty();
  }
  // Until both are silent.
  void settle(std::size_t cut) {
    for (int round = 0; round < 50; ++round) {
      const bool there = to_node(1u << 20, cut);
      const bool back = to_app(1u << 20, cut);
      if (!there && !back) {
        return;
      }
    }
  }

  NodeSide node;
  AppSide app;
  bool honest = true;  // no byte was changed on the way, and none was added
};

void step(Link& link, Input& input) {
  const std::uint8_t command = input.byte() % 16;
  const std::size_t cut = 1 + input.byte() * 7u;
  switch (command) {
    case 0:
      link.app.negotiate(static_cast<LinkClass>(1 + input.byte() % 3));
      link.settle(cut);
      break;
    case 1: {  // a message of the input's own
      const auto bytes = input.bytes(input.byte() * (input.byte() % 4));
      (void)link.app.peer.send(link.app.stream, std::string(bytes));
      break;
    }
    case 2:
      link.to_node(1 + input.number() % 100'000, cut);
      break;
    case 3:
      link.to_app(1 + input.number() % 100'000, cut);
      break;
    case 4: {  // bytes changed on the way
      std::string bytes = link.app.peer.take(1 + input.number() % 10'000);
      if (!bytes.empty()) {
        bytes[input.number() % bytes.size()] ^= static_cast<char>(input.byte());
        link.honest = false;
      }
      link.node.peer.feed(bytes, cut);
      link.node.work(cut);
      break;
    }
    case 5:  // bytes that nobody sent
      link.honest = false;
      link.node.peer.feed(input.bytes(input.byte()), cut);
      link.node.work(cut);
      break;
    case 6:
      link.app.peer.transport->finish_stream(link.app.stream, 0, {});
      break;
    case 7:
      link.app.peer.transport->reset_stream(link.app.stream);
      break;
    case 8:
      link.app.peer.release_windows = !link.app.peer.release_windows;  // a reader that reads no more: not for good
      break;
    case 9: {
      const std::uint64_t more_ns = input.byte() * 1'000'000'000ull;
      link.node.peer.now.now_ns += more_ns;
      link.node.peer.transport->tick(link.node.peer.now);
      link.node.peer.drain_events();
      link.node.work(cut);
      break;
    }
    case 10:
      if (const auto stream = link.app.peer.transport->open_stream(); stream > 0) {
        (void)link.app.peer.send(stream, "x");
      }
      break;
    case 11:
      link.node.peer.transport->close(link.node.peer.now);
      break;
    default:
      link.app.say(frame_of(input), input);
      if (command >= 14) {
        link.settle(cut);
      }
      break;
  }
  link.app.peer.drain_events();
  link.node.peer.drain_events();
  FUZZ_REQUIRE(link.node.peer.memory.account().used_bytes() <= kMemoryBytes);
  FUZZ_REQUIRE(!link.node.peer.broken_order);
  FUZZ_REQUIRE(link.node.frames == 0 || link.node.up);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  Input input(data, size);
  const auto shape = input.byte();
  Link link((shape & 1) != 0, (shape & 2) == 0);
  if ((shape & 4) != 0) {
    link.settle(1u << 20);  // a WebSocket has no stream before its handshake
    link.app.negotiate(LinkClass::kEdge);
    link.settle(1u << 20);
    FUZZ_REQUIRE(link.node.up && link.app.mac);
  }
  for (int steps = 0; steps < 100 && !input.empty(); ++steps) {
    step(link, input);
  }
  link.node.peer.transport.reset();
  FUZZ_REQUIRE(link.node.peer.held.empty() && link.node.peer.memory.account().used_bytes() == 0);
  return 0;
}
