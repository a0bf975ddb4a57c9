#pragma once
// A node small enough to read, for the client's tests: hello, acknowledgements, matching by name, notices. It runs
// on a loop of its own in a thread of its own; tests change its behaviour through run().

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <atomic>
#include <future>
#include <map>
#include <set>
#include <thread>

#include "base/drop_reason.h"
#include "client/stream_wire.h"
#include "frame/body.h"
#include "frame/shim.h"
#include "loop/loop.h"

namespace slipway {

class FakeNode {
 public:
  struct Peer final : FrameSink {
    FakeNode* node = nullptr;
    std::unique_ptr<StreamWire> wire;   // stream peers
    sockaddr_in address{};              // datagram peers
    std::uint32_t link_id = 0;          // what the peer puts into its shims
    std::uint32_t their_id = 0;
    std::uint32_t datagram_bytes = 1400;
    std::map<std::uint32_t, std::vector<std::byte>> joining;  // by frame number
    std::map<std::uint32_t, std::size_t> joined_bytes;
    bool up = false;
    bool on_frame(std::span<const std::byte> frame) override {
      node->on_frame(*this, frame);
      return true;
    }
  };

  explicit FakeNode(const std::string& unix_path = "") {
    loop_ = std::move(*Loop::create());
    listen_tcp(0);
    listen_udp();
    if (!unix_path.empty()) {
      listen_unix(unix_path);
    }
    thread_ = std::thread([this] { loop_->run(); });
  }
  ~FakeNode() {
    loop_->post([this] { loop_->stop(); });
    thread_.join();
    for (const int fd : fds_) {
      close(fd);
    }
  }

  [[nodiscard]] std::string tcp() const { return "tcp://127.0.0.1:" + std::to_string(tcp_port_); }
  [[nodiscard]] std::string udp() const { return "udp://127.0.0.1:" + std::to_string(udp_port_); }

  // Runs a function on the node's thread and waits for it.
  template <class Call>
  auto run(Call call) {
    std::packaged_task<decltype(call(*this))()> task([&] { return call(*this); });
    auto result = task.get_future();
    loop_->post([&task] { task(); });
    return result.get();
  }
  void drop_all() {
    run([](FakeNode& node) {
      node.subscribers_.clear();
      for (auto& peer : node.peers_) {
        if (peer->wire) {
          node.loop_->unwatch(peer->wire->fd());
          peer->wire.reset();
        }
      }
    });
  }

  // What it does and saw; touched only through run().
  bool refuse = false;
  bool answer_subscriptions = true;
  std::string subscription_error;
  bool silent = false;
  bool reading = true;
  int drop_hellos = 0;          // of datagram peers, unanswered
  bool ask_cookie = true;
  int subscribes = 0;
  int unsubscribes = 0;
  int publishes = 0;
  std::vector<HelloBody> hellos;
  std::vector<std::unique_ptr<Peer>> peers_;

  void send(Peer& peer, std::span<const std::byte> frame) {
    if (silent) {
      return;
    }
    if (peer.wire) {
      std::memcpy(peer.wire->begin_frame(static_cast<std::uint32_t>(frame.size())), frame.data(), frame.size());
      peer.wire->end_frame();
      const auto status = peer.wire->flush();
      loop_->set_events(peer.wire->fd(), status == WireStatus::kBlocked ? fd_event::kReadable | fd_event::kWritable : fd_event::kReadable);
      return;
    }
    if (peer.their_id == 0) {
      return;
    }
    const std::size_t most = peer.datagram_bytes - kShimBytes;
    ++frame_number_;
    for (std::size_t offset = 0; offset < frame.size(); offset += most) {
      const std::size_t piece = std::min(most, frame.size() - offset);
      std::vector<std::byte> datagram(kShimBytes + piece);
      store_shim(datagram.data(), {.link_id = peer.their_id, .fragment_offset = static_cast<std::uint32_t>(offset), .total_bytes = static_cast<std::uint32_t>(frame.size()),
                                   .flags = offset + piece == frame.size() ? shim_flag::kLast : std::uint8_t{0}, .frame_number = frame_number_});
      std::memcpy(datagram.data() + kShimBytes, frame.data() + offset, piece);
      sendto(udp_fd_, datagram.data(), datagram.size(), 0, reinterpret_cast<sockaddr*>(&peer.address), sizeof peer.address);
    }
  }
  void send_raw(Peer& peer, std::string_view bytes) { ::send(peer.wire->fd(), bytes.data(), bytes.size(), MSG_NOSIGNAL); }

 private:
  void listen_tcp(std::uint16_t port) {
    const int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    sockaddr_in address{.sin_family = AF_INET, .sin_port = htons(port), .sin_addr = {htonl(INADDR_LOOPBACK)}};
    EXPECT_EQ(bind(fd, reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
    socklen_t bytes = sizeof address;
    getsockname(fd, reinterpret_cast<sockaddr*>(&address), &bytes);
    tcp_port_ = ntohs(address.sin_port);
    listen_on(fd);
  }
  void listen_unix(const std::string& path) {
    const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);
    sockaddr_un address{.sun_family = AF_UNIX};
    std::memcpy(address.sun_path, path.c_str(), path.size() + 1);
    EXPECT_EQ(bind(fd, reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
    listen_on(fd);
  }
  void listen_on(int fd) {
    fds_.push_back(fd);
    EXPECT_EQ(listen(fd, 64), 0);
    EXPECT_TRUE(loop_->watch(fd, fd_event::kReadable, [this, fd](std::uint32_t) {
      const int got = accept4(fd, nullptr, nullptr, SOCK_NONBLOCK);
      if (got >= 0) {
        accept_stream(got);
      }
    }));
  }
  void accept_stream(int fd) {
    auto peer = std::make_unique<Peer>();
    peer->node = this;
    peer->wire = std::make_unique<StreamWire>(fd, kMaxFrameBytes);
    Peer* raw = peer.get();
    peers_.push_back(std::move(peer));
    EXPECT_TRUE(loop_->watch(fd, fd_event::kReadable, [this, raw](std::uint32_t events) {
      if ((events & fd_event::kWritable) != 0 && raw->wire->flush() == WireStatus::kOk) {
        loop_->set_events(raw->wire->fd(), fd_event::kReadable);
      }
      if (!reading) {
        loop_->set_events(raw->wire->fd(), 0);
        return;
      }
      if ((events & fd_event::kReadable) != 0 && raw->wire->receive(*raw) == WireStatus::kBroken) {
        loop_->unwatch(raw->wire->fd());
        forget(*raw);
        raw->wire.reset();
      }
    }));
  }

 public:
  void resume_reading() {
    reading = true;
    for (auto& peer : peers_) {
      if (peer->wire) {
        loop_->set_events(peer->wire->fd(), fd_event::kReadable);
      }
    }
  }

 private:
  void listen_udp() {
    udp_fd_ = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0);
    const int buffer = 4 << 20;
    setsockopt(udp_fd_, SOL_SOCKET, SO_RCVBUF, &buffer, sizeof buffer);
    fds_.push_back(udp_fd_);
    sockaddr_in address{.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    EXPECT_EQ(bind(udp_fd_, reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
    socklen_t bytes = sizeof address;
    getsockname(udp_fd_, reinterpret_cast<sockaddr*>(&address), &bytes);
    udp_port_ = ntohs(address.sin_port);
    EXPECT_TRUE(loop_->watch(udp_fd_, fd_event::kReadable, [this](std::uint32_t) {
      std::vector<std::byte> buffer_bytes(65536);
      sockaddr_in from{};
      socklen_t from_bytes = sizeof from;
      ssize_t got = 0;
      while ((got = recvfrom(udp_fd_, buffer_bytes.data(), buffer_bytes.size(), 0, reinterpret_cast<sockaddr*>(&from), &from_bytes)) > 0) {
        on_datagram({buffer_bytes.data(), static_cast<std::size_t>(got)}, from);
      }
    }));
  }
  void on_datagram(std::span<const std::byte> datagram, const sockaddr_in& from) {
    ASSERT_EQ(check_shim(datagram), ShimFault::kNone);
    const Shim shim = load_shim(datagram.data());
    const auto piece = datagram.subspan(kShimBytes);
    if (shim.link_id == 0) {
      on_datagram_hello(piece, from);
      return;
    }
    for (auto& peer : peers_) {
      if (peer->link_id != shim.link_id) {
        continue;
      }
      auto& bytes = peer->joining[shim.frame_number];
      bytes.resize(shim.total_bytes);
      std::memcpy(bytes.data() + shim.fragment_offset, piece.data(), piece.size());
      if ((peer->joined_bytes[shim.frame_number] += piece.size()) == shim.total_bytes) {
        const auto frame = std::move(bytes);
        peer->joining.erase(shim.frame_number);
        peer->joined_bytes.erase(shim.frame_number);
        on_frame(*peer, frame);
      }
      return;
    }
  }
  void on_datagram_hello(std::span<const std::byte> frame, const sockaddr_in& from) {
    const auto hello = std::get<HelloBody>(*decode_link(frame));
    hellos.push_back(hello);
    if (drop_hellos > 0) {
      --drop_hellos;
      return;
    }
    Peer answer;
    answer.node = this;
    answer.address = from;
    answer.their_id = hello.receive_link_id;
    if (ask_cookie && hello.cookie.empty()) {
      send(answer, encode_link(HelloReplyBody{.challenge = std::vector<std::byte>(16, std::byte{42})}));
      return;
    }
    auto peer = std::make_unique<Peer>();
    peer->node = this;
    peer->address = from;
    peer->their_id = hello.receive_link_id;
    peer->link_id = 1000 + static_cast<std::uint32_t>(peers_.size());
    peer->datagram_bytes = hello.datagram_bytes;
    peer->up = true;
    send(*peer, encode_link(HelloReplyBody{.accepted = !refuse, .node_id = "fake", .receive_link_id = peer->link_id, .max_frame_bytes = kMaxDatagramFrameBytes, .datagram_bytes = 1400}));
    peers_.push_back(std::move(peer));
  }

  void forget(const Peer& peer) {
    for (auto& [name, peers] : subscribers_) {
      std::erase(peers, &peer);
    }
  }
  void on_frame(Peer& peer, std::span<const std::byte> frame) {
    ASSERT_EQ(check_frame(frame), FrameFault::kNone);
    const auto header = load_header(frame.data());
    switch (header.kind) {
      case FrameKind::kLink:
        on_link(peer, frame);
        break;
      case FrameKind::kSubscribe:
      case FrameKind::kUnsubscribe:
        on_subscribe(peer, header, *decode_subscribe(frame));
        break;
      case FrameKind::kPublish:
        ++publishes;
        on_publish(peer, header, frame);
        break;
      default:
        ADD_FAILURE() << "an unexpected frame";
    }
  }
  void on_link(Peer& peer, std::span<const std::byte> frame) {
    const auto body = *decode_link(frame);
    if (const auto* hello = std::get_if<HelloBody>(&body)) {
      hellos.push_back(*hello);
      peer.up = !refuse;
      send(peer, encode_link(HelloReplyBody{.accepted = !refuse, .error = refuse ? "no room" : "", .node_id = "fake", .max_frame_bytes = kMaxFrameBytes, .keepalive_ms = 1000}));
    } else if (const auto* keepalive = std::get_if<KeepaliveBody>(&body)) {
      if (!keepalive->answer) {
        send(peer, encode_link(KeepaliveBody{.stamp = keepalive->stamp, .answer = true}));
      }
    } else if (const auto* request = std::get_if<InstancesRequestBody>(&body)) {
      InstancesReplyBody reply{.request = request->request};
      for (const auto& [name, peers] : subscribers_) {
        if (name.component == request->name.component && !name.id.is_null() && !peers.empty()) {
          reply.ids.push_back(name.id);
        }
      }
      send(peer, encode_link(reply));
    }
  }
  void on_subscribe(Peer& peer, const FrameHeader& header, const SubscribeBody& body) {
    const bool add = header.kind == FrameKind::kSubscribe;
    ++(add ? subscribes : unsubscribes);
    if (!answer_subscriptions) {
      return;
    }
    if (subscription_error.empty()) {
      auto& peers = subscribers_[header.destination];
      std::erase(peers, &peer);
      if (add) {
        peers.push_back(&peer);
      }
    }
    send(peer, encode_subscription_ack({body.subscription_id, subscription_error.empty(), subscription_error}));
  }
  void on_publish(Peer& peer, const FrameHeader& header, std::span<const std::byte> frame) {
    std::vector<Peer*> matches;
    for (auto& [name, peers] : subscribers_) {
      if (name.component == header.destination.component && (header.destination.id.is_null() || name.id == header.destination.id)) {
        for (Peer* one : peers) {
          if (one != &peer && std::find(matches.begin(), matches.end(), one) == matches.end()) {
            matches.push_back(one);
          }
        }
      }
    }
    if (matches.empty()) {
      send(peer, encode_link(NoRouteBody{.drop_reason = static_cast<std::uint8_t>(DropReason::kNoRoute), .destination = header.destination, .source = header.source,
                                         .session_id = header.session_id, .message_id = header.message_id, .more = 2}));
      return;
    }
    if (header.fanout == 1) {
      send(*matches[cursor_++ % matches.size()], frame);
    } else {
      for (Peer* one : matches) {
        send(*one, frame);
      }
    }
  }

  struct Less {
    bool operator()(const Name& a, const Name& b) const { return std::tie(a.component, a.id) < std::tie(b.component, b.id); }
  };
  std::unique_ptr<Loop> loop_;
  std::thread thread_;
  std::vector<int> fds_;
  int udp_fd_ = -1;
  std::uint16_t tcp_port_ = 0;
  std::uint16_t udp_port_ = 0;
  std::uint16_t frame_number_ = 0;
  std::size_t cursor_ = 0;
  std::map<Name, std::vector<Peer*>, Less> subscribers_;
};

}  // namespace slipway
