#pragma once
// A SLIM node of upstream's protocol for tests, on the test's own loop: negotiates, acknowledges subscriptions, sends publishes
// back to whoever sent them (unlike a node), and can misbehave at each step.

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <list>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "edge/negotiation.h"
#include "edge/translate.h"
#include "edge_client/transport_socket.h"
#include "frame/body.h"
#include "loop/loop.h"

namespace slipway::test {

struct EdgeNodeOptions {
  std::shared_ptr<TransportConfig> config;   // default: gRPC without TLS
  NegotiationConfig negotiation{.node_id = "test-node"};
  bool negotiates = true;                    // false: silent once the stream is open
  bool closes_at_once = false;               // ends the stream with status 0 instead of an answer
  bool foreign_mac = false;                  // signs with another key
  bool acknowledges = true;
  std::string refuses;                       // subscriptions, with this text
  bool delivers = false;                     // publishes go to all other connections, as a node has it
  bool alters = false;                       // ... with another payload
};

class EdgeNode {
 public:
  EdgeNode(Loop& loop, EdgeNodeOptions options) : loop_(loop), options_(std::move(options)) {
    if (options_.config == nullptr) {
      options_.config = std::make_shared<TransportConfig>();
    }
    listener_ = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    sockaddr_in at{.sin_family = AF_INET, .sin_port = 0, .sin_addr = {htonl(INADDR_LOOPBACK)}, .sin_zero = {}};
    EXPECT_EQ(bind(listener_, reinterpret_cast<const sockaddr*>(&at), sizeof at), 0);
    EXPECT_EQ(listen(listener_, 16), 0);
    socklen_t bytes = sizeof at;
    getsockname(listener_, reinterpret_cast<sockaddr*>(&at), &bytes);
    port = ntohs(at.sin_port);
    EXPECT_TRUE(loop_.watch(listener_, fd_event::kReadable, [this](std::uint32_t) { accept(); }));
  }
  ~EdgeNode() {
    loop_.unwatch(listener_);
    close(listener_);
  }
  EdgeNode(const EdgeNode&) = delete;
  EdgeNode& operator=(const EdgeNode&) = delete;

  struct Connection final : TransportSocketUser {
    explicit Connection(EdgeNode& owner) : node(owner) {}
    void on_stream_open(std::int32_t id) override {
      stream = id;
      acceptor = std::make_unique<NegotiationAcceptor>(node.options_.negotiation, node.keys_, 0);
      if (node.options_.closes_at_once) {
        socket->finish_stream(id, 0, {});
      }
    }
    void on_message(std::int32_t id, std::span<const std::byte> bytes) override {
      const Piece piece = bytes;
      const Pieces message({&piece, 1});
      if (!up) {
        if (node.options_.negotiates) {
          negotiate(acceptor->take(message, 0));
        }
        return;
      }
      const auto written = frame_of_message(message, {.mac = mac ? &*mac : nullptr}, {scratch, pieces});
      if (!written) {
        node.refused.push_back(written.error());
        return;
      }
      FrameBytes frame;
      for (const Piece& part : std::span(pieces).first(written->piece_count)) {
        frame.insert(frame.end(), part.begin(), part.end());
      }
      node.frames.push_back(frame);
      const auto kind = static_cast<FrameKind>(frame_kind(frame.data()));
      if (kind == FrameKind::kSubscribe || kind == FrameKind::kUnsubscribe) {
        acknowledge(id, decode_subscribe(frame)->subscription_id);
      } else if (kind == FrameKind::kPublish) {
        if (node.options_.alters) {
          frame.back() = ~frame.back();
        }
        if (!node.options_.delivers) {
          send(id, frame);
          return;
        }
        for (auto& other : node.connections) {
          if (other.get() != this && other->up) {
            other->send(other->stream, frame);
          }
        }
      }
    }
    void acknowledge(std::int32_t id, std::uint64_t subscription) {
      const auto& why = node.options_.refuses;
      if (node.options_.acknowledges && subscription != 0) {
        send(id, encode_subscription_ack({.subscription_id = subscription, .success = why.empty(), .error = why}));
      }
    }
    void on_stream_closed(const StreamEnd&) override {}
    void on_closed(const TransportError& error) override {
      node.ended.push_back(error.fault);
      node.connections.remove_if([this](const auto& one) { return one.get() == this; });
    }
    void negotiate(NegotiationStep step) {
      if (!step.send.empty()) {
        (void)socket->write(stream, step.send);
      }
      if (step.state == NegotiationStep::State::kRefused) {
        socket->finish_stream(stream, static_cast<int>(step.close.status), step.close.message);
      } else if (step.state == NegotiationStep::State::kEstablished) {
        up = true;
        const auto& agreed = acceptor->link();
        if (agreed.key && agreed.signs()) {
          mac.emplace(*agreed.key, agreed.link_id);
          wrong_mac.emplace(*agreed.key, "another");
        }
      }
    }
    void send(std::int32_t id, const FrameBytes& frame) {
      const Piece body = std::span(frame).subspan(kFrameHeaderBytes);
      const auto& key = node.options_.foreign_mac ? wrong_mac : mac;
      const auto written = message_of_frame(frame.data(), Pieces({&body, 1}), {.mac = key ? &*key : nullptr, .incoming_conn = 7}, {scratch, pieces});
      ASSERT_TRUE(written);
      FrameBytes message;
      for (const Piece& part : std::span(pieces).first(written->piece_count)) {
        message.insert(message.end(), part.begin(), part.end());
      }
      (void)socket->write(id, message);
    }
    EdgeNode& node;
    std::unique_ptr<TransportSocket> socket;
    std::unique_ptr<NegotiationAcceptor> acceptor;
    std::optional<HeaderMac> mac;
    std::optional<HeaderMac> wrong_mac;
    std::vector<std::byte> scratch = std::vector<std::byte>(4096);
    std::vector<Piece> pieces = std::vector<Piece>(256);
    std::int32_t stream = -1;
    bool up = false;
  };

  std::uint16_t port = 0;
  std::vector<FrameBytes> frames;       // taken
  std::vector<EdgeFault> refused;       // messages that were dropped
  std::vector<TransportFault> ended;    // connections
  TransportMemory memory{64u << 20};
  std::list<std::unique_ptr<Connection>> connections;

 private:
  void accept() {
    const int fd = accept4(listener_, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd >= 0) {
      auto connection = std::make_unique<Connection>(*this);
      connection->socket = TransportSocket::create(loop_, fd, options_.config, memory, *connection);
      connections.push_back(std::move(connection));
    }
  }

  Loop& loop_;
  EdgeNodeOptions options_;
  OpensslKeySource keys_;
  int listener_;
};

}  // namespace slipway::test
